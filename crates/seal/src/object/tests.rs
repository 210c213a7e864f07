use super::*;

#[test]
fn an_object_opens_to_what_was_sealed() {
    let key = DataKey::from_bytes([7; 32]);
    let id = ObjectId::generate().unwrap();
    for length in [0, 1, SEGMENT_BYTES - 1, SEGMENT_BYTES, SEGMENT_BYTES + 1, 3 * SEGMENT_BYTES] {
        let plaintext = vec![0x41; length];
        let (sealed, _) = seal_object(&key, id, &plaintext).unwrap();
        assert_eq!(sealed.len() as u64, sealed_bytes(length as u64));
        assert_eq!(plain_bytes(sealed.len() as u64).unwrap(), length as u64);
        assert_eq!(open_object(&key, id, &sealed).unwrap(), plaintext);
    }
}
