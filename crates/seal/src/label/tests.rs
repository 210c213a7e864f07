//! Labels: what was sealed for one purpose opens for that purpose alone.

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_label_opens_for_its_purpose_alone(key: [u8; 32], text in proptest::collection::vec(any::<u8>(), 0..200)) {
        let key = DatasetKey::from_bytes(key);
        let sealed = seal_label(&key, "sample name", &text).unwrap();
        prop_assert_eq!(sealed.len(), text.len() + LABEL_OVERHEAD_BYTES);
        prop_assert_eq!(open_label(&key, "sample name", &sealed).unwrap(), text);
        prop_assert!(matches!(open_label(&key, "sample", &sealed), Err(WrapError::DoesNotOpen)));
        prop_assert!(open_label(&DatasetKey::from_bytes([0; 32]), "sample name", &sealed).is_err());
    }

    #[test]
    fn a_flipped_bit_keeps_a_label_shut(at in 0..(LABEL_OVERHEAD_BYTES + 7), bit in 0..8u32) {
        let key = DatasetKey::from_bytes([1; 32]);
        let mut sealed = seal_label(&key, "note", b"GATTACA").unwrap();
        sealed[at] ^= 1 << bit;
        prop_assert!(matches!(open_label(&key, "note", &sealed), Err(WrapError::DoesNotOpen)));
    }
}

#[test]
fn a_label_is_bounded_both_ways() {
    let key = DatasetKey::from_bytes([1; 32]);
    let long = vec![b'A'; MAX_LABEL_BYTES + 1];
    assert!(matches!(seal_label(&key, "note", &long), Err(WrapError::LabelLength { .. })));
    let most = seal_label(&key, "note", &long[1..]).unwrap();
    assert_eq!(open_label(&key, "note", &most).unwrap().len(), MAX_LABEL_BYTES);
    for length in [0, LABEL_OVERHEAD_BYTES - 1, LABEL_OVERHEAD_BYTES + MAX_LABEL_BYTES + 1] {
        assert!(matches!(
            open_label(&key, "note", &vec![0; length]),
            Err(WrapError::Length { .. })
        ));
    }
}
