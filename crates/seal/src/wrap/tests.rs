//! Wrapped keys: bound to their place, and refused anywhere else.

use proptest::prelude::*;

use super::*;

fn place() -> ObjectContext {
    ObjectContext {
        dataset: [1; 16],
        epoch: 1,
        object: ObjectId::from_bytes([2; 16]),
        commitment: Commitment::from_bytes([3; 32]),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_wrapped_key_opens_in_its_place_and_in_no_other(
        under: [u8; 32], key: [u8; 32], dataset: [u8; 16], epoch: u32, object: [u8; 16], commitment: [u8; 32],
        change in 0..5usize, bit in 0..8u32,
    ) {
        let context = ObjectContext {
            dataset,
            epoch,
            object: ObjectId::from_bytes(object),
            commitment: Commitment::from_bytes(commitment),
        };
        let wrapped = wrap_data_key(&DatasetKey::from_bytes(under), &context, &DataKey::from_bytes(key)).unwrap();
        let opened = unwrap_data_key(&DatasetKey::from_bytes(under), &context, &wrapped).unwrap();
        prop_assert_eq!(opened.expose(), &key);

        let (mut moved, mut other, flip) = (context, under, 1_u8 << bit);
        match change {
            0 => moved.dataset[3] ^= flip,
            1 => moved.epoch ^= 1 << bit,
            2 => moved.object = { let mut id = object; id[9] ^= flip; ObjectId::from_bytes(id) },
            3 => moved.commitment = { let mut c = commitment; c[30] ^= flip; Commitment::from_bytes(c) },
            _ => other[17] ^= flip,
        }
        prop_assert!(matches!(
            unwrap_data_key(&DatasetKey::from_bytes(other), &moved, &wrapped),
            Err(WrapError::DoesNotOpen)
        ));
    }

    #[test]
    fn a_flipped_bit_keeps_a_wrapped_key_shut(at in 0..WRAPPED_BYTES, bit in 0..8u32) {
        let under = DatasetKey::from_bytes([4; 32]);
        let mut wrapped = wrap_data_key(&under, &place(), &DataKey::from_bytes([5; 32])).unwrap();
        wrapped[at] ^= 1 << bit;
        prop_assert!(matches!(unwrap_data_key(&under, &place(), &wrapped), Err(WrapError::DoesNotOpen)));
    }
}

#[test]
fn a_data_key_does_not_open_as_a_dataset_key() {
    // Even under the same 32 bytes and with contexts of the same length, the labels keep the two apart.
    let wrapped =
        wrap_data_key(&DatasetKey::from_bytes([4; 32]), &place(), &DataKey::from_bytes([5; 32]));
    let context =
        DatasetContext { dataset: [1; 16], project: [2; 16], card_digest: [3; 32], epoch: 1 };
    let opened =
        unwrap_dataset_key(&KeyEncryptionKey::from_bytes([4; 32]), &context, &wrapped.unwrap());
    assert!(matches!(opened, Err(WrapError::DoesNotOpen)));
}

#[test]
fn a_wrapped_key_of_another_length_is_not_tried() {
    for length in [0, 12, 59, 61, 1_168] {
        let result = unwrap_data_key(&DatasetKey::from_bytes([4; 32]), &place(), &vec![0; length]);
        assert!(
            matches!(result, Err(WrapError::Length { found, expected: 60 }) if found == length)
        );
    }
}
