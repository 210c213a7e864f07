//! What a fuzzer feeds: one plain function with oracles of its own. `fuzz/` calls it under libFuzzer, a test over random bytes.

use api::Digest;

use super::{
    Checkpoint, SignatureKind, SignedNote, Tile, TilePath, Tiles, VerifierKey, entries_of,
    entry_bundle, verify_consistency, verify_inclusion,
};
use crate::SigningKey;

/// Any bytes as a note, a key, a path, a tile or a proof: nothing panics, what is read is written again the same, and
/// nothing counts that nobody signed.
///
/// # Panics
/// One of these is not so.
pub fn log(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data) {
        if let Ok(note) = text.parse::<SignedNote>() {
            assert_eq!(note.to_string(), text, "a note has one spelling");
            let key = SigningKey::from_seed(&[1; 32]).public();
            for kind in [SignatureKind::Log, SignatureKind::Witness] {
                let key = VerifierKey::new("chorion/audit/hub", kind, key)
                    .expect("the name has no space and no plus");
                assert!(note.checkpoint(&key).is_err() && note.cosigned(&key).is_err());
            }
        }
        if let Ok(checkpoint) = Checkpoint::parse(text) {
            assert_eq!(checkpoint.text(), text, "a checkpoint has one spelling");
        }
        if let Ok(key) = text.parse::<VerifierKey>() {
            assert_eq!(key.to_string(), text, "a key has one spelling");
        }
        if let Ok(path) = text.parse::<TilePath>() {
            assert_eq!(path.to_string(), text, "a path has one spelling");
        }
    }
    let Some((numbers, rest)) = data.split_first_chunk::<16>() else { return };
    let (a, b) = numbers.split_at(8);
    let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let (a, b) = (number(a), number(b));
    let proof: Vec<Digest> = rest.as_chunks::<32>().0.iter().copied().map(Digest).collect();
    let (some, other) = (Digest([1; 32]), Digest([2; 32]));
    assert!(!verify_inclusion(a, b, &some, &other, &proof));
    assert!(!verify_consistency(a, b, &some, &other, &proof));
    let width = u16::try_from(proof.len().min(256)).unwrap_or_default();
    let tile = Tile { level: 0, index: a >> 16, width };
    let taken = Tiles::default().insert(&tile, rest);
    assert_eq!(taken.is_ok(), rest.len() == usize::from(width) * 32);
    let tile = Tile { width: u16::try_from(rest.len() / 34).unwrap_or_default(), ..tile };
    if let Ok(entries) = entries_of(&tile, rest) {
        assert_eq!(entry_bundle(&entries), rest, "a bundle has one spelling");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_taken_calmly(data: Vec<u8>, flip: usize) {
            log(&data);
            let key = SigningKey::from_seed(&[9; 32]);
            let checkpoint =
                Checkpoint { origin: "chorion/audit/hub".into(), size: 9, root: Digest([1; 32]) };
            let mut note = checkpoint.sign(&key).to_string().into_bytes();
            let at = flip % note.len();
            note[at] ^= 1;
            log(&note);
        }
    }
}
