//! Every flipped bit, every cut, every mix of segments: the answer is an error, and the right one.

#![expect(
    clippy::cast_possible_truncation,
    reason = "lengths here are small, and bytes are the remainder"
)]

use proptest::prelude::*;

use super::*;

const LENGTHS: [usize; 9] = [
    0,
    1,
    15,
    16,
    SEGMENT_BYTES - 1,
    SEGMENT_BYTES,
    SEGMENT_BYTES + 1,
    2 * SEGMENT_BYTES,
    2 * SEGMENT_BYTES + 17,
];

fn key() -> DataKey {
    DataKey::from_bytes([7; 32])
}

fn id() -> ObjectId {
    ObjectId::from_bytes(*b"an object's name")
}

fn sealed(length: usize) -> Vec<u8> {
    let plaintext: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
    seal_object(&key(), id(), &plaintext).unwrap().0
}

/// Opens one segment after the other, as a reader of ranges would.
fn open_by_segments(sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    let prefix = &sealed[..sealed.len().min(PREFIX_BYTES)];
    let opener = ObjectOpener::new(&key(), id(), prefix, sealed.len() as u64)?;
    let mut plaintext = Vec::new();
    for index in (0..opener.segments()).rev() {
        let Range { start, end } = opener.segment_range(index);
        let mut segment = Vec::new();
        opener.open_segment(index, &sealed[start as usize..end as usize], &mut segment)?;
        assert!(opener.length_is_proved(), "the last segment was opened first");
        plaintext.splice(..0, segment);
    }
    Ok(plaintext)
}

#[test]
fn an_object_opens_to_what_was_sealed() {
    for length in LENGTHS {
        let sealed = sealed(length);
        assert_eq!(sealed.len() as u64, sealed_bytes(length as u64));
        assert_eq!(plain_bytes(sealed.len() as u64).unwrap(), length as u64);
        let plaintext = open_object(&key(), id(), &sealed).unwrap();
        assert!(plaintext.iter().enumerate().all(|(at, byte)| *byte == (at % 251) as u8));
        assert_eq!(plaintext.len(), length);
        assert!(open_by_segments(&sealed).unwrap() == plaintext);
    }
}

#[test]
fn any_prefix_of_an_object_is_refused() {
    let whole = sealed(2 * SEGMENT_BYTES + 17);
    let boundaries = [0, 7, 8, 127, 128]
        .into_iter()
        .chain((0..3).map(|index| PREFIX_BYTES + index * SEALED_SEGMENT_BYTES))
        .flat_map(|at| {
            [
                at.saturating_sub(17),
                at.saturating_sub(16),
                at.saturating_sub(1),
                at,
                at + 1,
                at + 15,
                at + 16,
                at + 17,
            ]
        });
    for length in boundaries.chain([whole.len() - 1]).filter(|length| *length < whole.len()) {
        let cut = &whole[..length];
        let error = open_object(&key(), id(), cut).expect_err("a cut object opened");
        let tail = length.saturating_sub(PREFIX_BYTES) % SEALED_SEGMENT_BYTES;
        let right = match error {
            OpenError::NotSealed => length == 0,
            OpenError::CutShort { sealed_bytes } => {
                sealed_bytes == length as u64 && (length < PREFIX_BYTES || tail < TAG_BYTES)
            }
            OpenError::BrokenSegment { index } => {
                tail >= TAG_BYTES
                    && index as usize == (length - PREFIX_BYTES) / SEALED_SEGMENT_BYTES
            }
            _ => false,
        };
        assert!(right, "{length} bytes: {error:?}");
        assert!(open_by_segments(cut).is_err(), "{length} bytes, by segments");
    }
}

#[test]
fn an_object_too_large_for_the_store_is_not_sealed() {
    let most = plain_bytes(MAX_OBJECT_BYTES as u64).unwrap() as usize;
    assert_eq!(seal_object(&key(), id(), &vec![0; most]).unwrap().0.len(), MAX_OBJECT_BYTES);
    let error = seal_object(&key(), id(), &vec![0; most + 1]).unwrap_err();
    assert!(matches!(error, SealError::TooLong { most: said, .. } if said == most as u64));
}

#[test]
fn a_buffer_used_again_holds_one_object_and_nothing_of_the_last() {
    let (mut sealed_in, mut opened_in) = (Vec::new(), Vec::new());
    for length in [3 * SEGMENT_BYTES, 5, 0, SEGMENT_BYTES + 1] {
        let plaintext = vec![0x5A; length];
        seal_object_into(&key(), id(), &plaintext, &mut sealed_in).unwrap();
        assert_eq!(sealed_in.len() as u64, sealed_bytes(length as u64));
        open_object_into(&key(), id(), &sealed_in, &mut opened_in).unwrap();
        assert!(opened_in == plaintext);
        *sealed_in.last_mut().unwrap() ^= 1;
        opened_in.push(1);
        open_object_into(&key(), id(), &sealed_in, &mut opened_in).unwrap_err();
        assert!(opened_in.is_empty());
        opened_in.push(1);
        open_object_into(&DataKey::from_bytes([0; 32]), id(), &sealed_in, &mut opened_in)
            .unwrap_err();
        assert!(opened_in.is_empty());
    }
}

#[test]
fn the_commitment_is_that_of_the_prefix_and_new_each_time() {
    let (a, of_a) = seal_object(&key(), id(), b"same").unwrap();
    let (b, of_b) = seal_object(&key(), id(), b"same").unwrap();
    assert_eq!(Prefix::read(&a).unwrap().commitment(), of_a);
    assert_ne!(of_a, of_b);
    assert_ne!(a[PREFIX_BYTES..], b[PREFIX_BYTES..], "the salt makes every sealing another");
}

#[test]
fn a_segment_is_opened_only_in_its_place_and_at_its_length() {
    let whole = sealed(2 * SEGMENT_BYTES + 17);
    let opener =
        ObjectOpener::new(&key(), id(), &whole[..PREFIX_BYTES], whole.len() as u64).unwrap();
    let at = |index| {
        let Range { start, end } = opener.segment_range(index);
        &whole[start as usize..end as usize]
    };
    let mut out = b"kept".to_vec();
    assert!(matches!(
        opener.open_segment(0, at(1), &mut out),
        Err(OpenError::BrokenSegment { index: 0 })
    ));
    assert!(matches!(
        opener.open_segment(2, at(1), &mut out),
        Err(OpenError::SegmentLength { index: 2, .. })
    ));
    assert!(matches!(
        opener.open_segment(0, &at(0)[1..], &mut out),
        Err(OpenError::SegmentLength { .. })
    ));
    assert!(matches!(
        opener.open_segment(3, at(2), &mut out),
        Err(OpenError::NoSuchSegment { index: 3, segments: 3 })
    ));
    assert!(opener.segment_range(3).is_empty());
    assert_eq!(out, b"kept");
    assert!(!opener.length_is_proved());
    opener.open_segment(2, at(2), &mut out).unwrap();
    assert!(opener.length_is_proved());
    assert_eq!(out.len(), 4 + 17);
}

#[test]
fn a_false_length_is_found_by_the_last_segment() {
    // Somebody reports the object as one segment shorter than it is: the claim stands until the "last" segment is opened.
    let whole = sealed(2 * SEGMENT_BYTES + 17);
    let short = &whole[..PREFIX_BYTES + SEALED_SEGMENT_BYTES + 40];
    let opener = ObjectOpener::new(&key(), id(), short, short.len() as u64).unwrap();
    assert_eq!(opener.plain_len(), SEGMENT_BYTES as u64 + 24);
    let mut out = Vec::new();
    let first = &short[PREFIX_BYTES..PREFIX_BYTES + SEALED_SEGMENT_BYTES];
    opener.open_segment(0, first, &mut out).unwrap();
    assert!(!opener.length_is_proved());
    let last = &short[PREFIX_BYTES + SEALED_SEGMENT_BYTES..];
    assert!(opener.open_segment(1, last, &mut out).is_err());
    assert!(!opener.length_is_proved());
}

#[test]
fn an_id_is_32_digits() {
    let id = id();
    assert_eq!(id.to_string(), "616e206f626a6563742773206e616d65");
    assert_eq!(id.to_string().parse(), Ok(id));
    assert_eq!(id.to_string().to_uppercase().parse(), Ok(id));
    for text in ["", "61", "+16e206f626a6563742773206e616d65", "g16e206f626a6563742773206e616d65"] {
        assert_eq!(text.parse::<ObjectId>(), Err(NotAnObjectId));
    }
    let made = ObjectId::generate().unwrap();
    assert_eq!((made.as_bytes()[6] >> 4, made.as_bytes()[8] >> 6), (4, 2), "laid out as a UUID");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_flipped_bit_anywhere_is_refused(length in prop::sample::select(&LENGTHS[..]), at: prop::sample::Index, bit in 0..8u32) {
        let mut altered = sealed(length);
        let at = at.index(altered.len());
        altered[at] ^= 1 << bit;
        let error = open_object(&key(), id(), &altered).expect_err("an altered object opened");
        let right = match error {
            OpenError::NotSealed => at < 7,
            OpenError::UnknownVersion { .. } => at == 7,
            OpenError::UnknownSuite { .. } => at == 8 || at == 9,
            OpenError::UnknownSegmentSize { .. } => at == 10,
            OpenError::ReservedSet => (11..16).contains(&at) || (96..128).contains(&at),
            OpenError::OtherObject { .. } => (16..32).contains(&at),
            OpenError::WrongKey { .. } => (32..96).contains(&at),
            OpenError::BrokenSegment { index } => {
                at >= PREFIX_BYTES && index as usize == (at - PREFIX_BYTES) / SEALED_SEGMENT_BYTES
            }
            _ => false,
        };
        prop_assert!(right, "byte {at}: {error:?}");
        prop_assert!(open_by_segments(&altered).is_err());
    }

    #[test]
    fn a_cut_or_extended_object_is_refused(length in prop::sample::select(&LENGTHS[..]), at: prop::sample::Index, more in 1..70_000usize) {
        let whole = sealed(length);
        prop_assert!(open_object(&key(), id(), &whole[..at.index(whole.len())]).is_err());
        let mut extended = whole;
        extended.resize(extended.len() + more, 0);
        let error = open_object(&key(), id(), &extended).expect_err("an extended object opened");
        let right = matches!(error, OpenError::BrokenSegment { .. } | OpenError::CutShort { .. });
        prop_assert!(right, "{error:?}");
    }

    #[test]
    fn segments_in_another_order_are_refused(order in prop::collection::vec(0..4usize, 0..6)) {
        prop_assume!(order != [0, 1, 2, 3]);
        let whole = sealed(3 * SEGMENT_BYTES + 9);
        let slots: Vec<_> = whole[PREFIX_BYTES..].chunks(SEALED_SEGMENT_BYTES).collect();
        let mixed = [&whole[..PREFIX_BYTES]].into_iter().chain(order.iter().map(|index| slots[*index])).collect::<Vec<_>>().concat();
        prop_assert!(open_object(&key(), id(), &mixed).is_err());
        prop_assert!(open_by_segments(&mixed).is_err());
    }

    #[test]
    fn another_key_or_id_is_refused(other_key: [u8; 32], other_id: [u8; 16]) {
        prop_assume!(other_key != [7; 32] && other_id != *id().as_bytes());
        let whole = sealed(100);
        let error = open_object(&DataKey::from_bytes(other_key), id(), &whole).unwrap_err();
        let right = matches!(error, OpenError::WrongKey { object } if object == id());
        prop_assert!(right, "{error:?}");
        let asked = ObjectId::from_bytes(other_id);
        let error = open_object(&key(), asked, &whole).unwrap_err();
        let right = matches!(error, OpenError::OtherObject { asked: a, found } if a == asked && found == id());
        prop_assert!(right, "{error:?}");
    }

    #[test]
    fn a_length_has_one_reading(plain in 0..(1_u64 << 48)) {
        prop_assert_eq!(plain_bytes(sealed_bytes(plain)).unwrap(), plain);
    }

    #[test]
    fn a_sealed_length_is_some_plain_length_or_none(sealed in 0..(1_u64 << 40)) {
        if let Ok(plain) = plain_bytes(sealed) {
            prop_assert_eq!(sealed_bytes(plain), sealed);
        }
    }

    #[test]
    fn lengths_past_the_largest_object_are_refused(sealed in sealed_bytes((1 << 48) - 1)..=u64::MAX) {
        prop_assume!(sealed != sealed_bytes((1 << 48) - 1));
        prop_assert!(plain_bytes(sealed).is_err());
        let _saturates = sealed_bytes(sealed);
    }
}

/// AES-256-GCM of another implementation, as a browser has one, over every segment of an object.
fn another_cipher(segments: &SegmentKey) -> impl Fn(u64, &[u8], bool) -> Vec<u8> + use<> {
    use aes_gcm::aead::{Aead, KeyInit};
    let both = segments.expose();
    let cipher = aes_gcm::Aes256Gcm::new_from_slice(&both[..32]).unwrap();
    let base: [u8; 12] = both[32..].try_into().unwrap();
    move |index, bytes, seals| {
        let mut nonce = base;
        for (byte, of_index) in nonce[4..].iter_mut().zip(index.to_be_bytes()) {
            *byte ^= of_index;
        }
        let nonce = nonce.into();
        if seals { cipher.encrypt(&nonce, bytes) } else { cipher.decrypt(&nonce, bytes) }.unwrap()
    }
}

#[test]
fn segments_that_another_cipher_sealed_open_here_and_the_other_way_round() {
    for length in LENGTHS {
        let plaintext: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        let (key, id) = (DataKey::generate().unwrap(), ObjectId::generate().unwrap());
        let (prefix, commitment, segments) = SegmentKey::create(&key, id).unwrap();
        let cipher = another_cipher(&segments);
        let mut sealed = prefix.to_vec();
        // The last segment is always shorter, and may be empty.
        let full = plaintext.len() / SEGMENT_BYTES;
        for index in 0..=full {
            let end = ((index + 1) * SEGMENT_BYTES).min(plaintext.len());
            sealed.extend(cipher(index as u64, &plaintext[index * SEGMENT_BYTES..end], true));
        }
        assert_eq!(open_object(&key, id, &sealed).unwrap(), plaintext);
        assert_eq!(Prefix::read(&sealed).unwrap().commitment(), commitment);

        let (sealed, _) = seal_object(&key, id, &plaintext).unwrap();
        let cipher = another_cipher(&SegmentKey::open(&key, id, &sealed).unwrap());
        let mut opened = Vec::new();
        for (index, slot) in sealed[PREFIX_BYTES..].chunks(SEALED_SEGMENT_BYTES).enumerate() {
            opened.extend(cipher(index as u64, slot, false));
        }
        assert_eq!(opened, plaintext);
        let other = DataKey::generate().unwrap();
        assert!(matches!(SegmentKey::open(&other, id, &sealed), Err(OpenError::WrongKey { .. })));
        let another = ObjectId::generate().unwrap();
        assert!(matches!(
            SegmentKey::open(&key, another, &sealed),
            Err(OpenError::OtherObject { .. })
        ));
    }
}
