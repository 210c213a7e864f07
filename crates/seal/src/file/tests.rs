//! Offline files: who opens them, and what no stranger can do to a header.

#![expect(clippy::cast_possible_truncation, reason = "lengths here are small")]

use proptest::prelude::*;

use super::*;
use crate::SEGMENT_BYTES;

fn secret(seed: u8) -> RecipientSecret {
    RecipientSecret::from_seed([seed; 32])
}

fn seal(plaintext: &[u8], to: &[&RecipientSecret]) -> Vec<u8> {
    let to: Vec<_> = to.iter().map(|secret| secret.public()).collect();
    let mut sealed = Vec::new();
    let told = seal_file(&mut &*plaintext, &mut sealed, &to, &mut |_| ()).unwrap();
    assert_eq!(
        (told.plain_bytes, told.sealed_bytes),
        (plaintext.len() as u64, sealed.len() as u64)
    );
    sealed
}

fn open(sealed: &[u8], with: &RecipientSecret) -> Result<Vec<u8>, FileError> {
    let mut out = Vec::new();
    open_file(&mut &*sealed, &mut out, with, &mut |_| ()).map(|_| out)
}

#[test]
fn single_segments_open_in_any_order_and_only_with_the_key() {
    let plaintext: Vec<u8> = (0..3 * SEGMENT_BYTES + 5).map(|n| (n % 251) as u8).collect();
    let sealed = seal(&plaintext, &[&secret(1)]);
    let total = sealed.len() as u64;
    let opener = FileOpener::new(&mut &*sealed, total, &secret(1)).unwrap();
    assert_eq!(
        (opener.object().plain_len(), opener.object().segments()),
        (plaintext.len() as u64, 4)
    );
    for index in [2, 0, 3, 1] {
        let range = opener.segment_range(index);
        let packed = &sealed[range.start as usize..range.end as usize];
        let mut out = Vec::new();
        opener.object().open_segment(index, packed, &mut out).unwrap();
        let from = index as usize * SEGMENT_BYTES;
        assert!(out == plaintext[from..plaintext.len().min(from + SEGMENT_BYTES)]);
    }
    assert!(opener.object().length_is_proved());
    let other = FileOpener::new(&mut &*sealed, total, &secret(2));
    assert!(matches!(other, Err(FileError::NotForThisKey { .. })));
}

#[test]
fn each_recipient_opens_a_file_and_nobody_else_does() {
    let plaintext = vec![b'A'; 2 * SEGMENT_BYTES + 3];
    let sealed = seal(&plaintext, &[&secret(1), &secret(2), &secret(3)]);
    for seed in 1..=3 {
        assert!(open(&sealed, &secret(seed)).unwrap() == plaintext);
    }
    assert!(matches!(open(&sealed, &secret(4)), Err(FileError::NotForThisKey { recipients: 3 })));
}

#[test]
fn a_file_has_one_to_256_recipients() {
    let mut out = Vec::new();
    for count in [0, MAX_RECIPIENTS + 1] {
        let to = vec![secret(1).public(); count];
        let error = seal_file(&mut &b""[..], &mut out, &to, &mut |_| ()).unwrap_err();
        assert!(matches!(error, SealError::Recipients { found, .. } if found == count));
        assert!(out.is_empty());
    }
    let mut to = vec![secret(1).public(); MAX_RECIPIENTS - 1];
    to.push(secret(2).public());
    seal_file(&mut &b"GATTACA"[..], &mut out, &to, &mut |_| ()).unwrap();
    assert_eq!(open(&out, &secret(2)).unwrap(), b"GATTACA");
    assert_eq!(inspect(&mut out.as_slice()).unwrap().header_bytes, 299_056);
}

#[test]
fn a_file_says_what_it_claims_without_a_key() {
    let sealed = seal(&[0; 1000], &[&secret(1), &secret(2)]);
    let said = inspect(&mut sealed.as_slice()).unwrap();
    assert_eq!(said.recipients, Some(2));
    assert_eq!(said.plain_bytes(sealed.len() as u64).unwrap(), 1000);
    let bare = &sealed[said.header_bytes as usize..];
    let said_of_bare = inspect(&mut &*bare).unwrap();
    assert_eq!((said_of_bare.recipients, said_of_bare.header_bytes), (None, 0));
    assert_eq!(said_of_bare.prefix, said.prefix);
    assert!(matches!(open(bare, &secret(1)), Err(FileError::BareObject)));
    assert!(inspect(&mut &b"a text of no great length, but longer than a lead"[..]).is_err());
}

#[test]
fn several_threads_seal_and_open_what_one_does() {
    struct Sink(std::sync::Mutex<Vec<u8>>);
    impl WriteAt for Sink {
        fn write_all_at(&self, bytes: &[u8], offset: u64) -> std::io::Result<()> {
            let mut all = self.0.lock().unwrap();
            let end = offset as usize + bytes.len();
            if all.len() < end {
                all.resize(end, 0);
            }
            all[offset as usize..end].copy_from_slice(bytes);
            Ok(())
        }
    }
    let workers = Workers { threads: 2.try_into().unwrap(), progress: &|_| () };
    for length in [0, 5, 40 * SEGMENT_BYTES, 40 * SEGMENT_BYTES + 9] {
        let plaintext = vec![b'C'; length];
        let sink = Sink(std::sync::Mutex::default());
        let source = plaintext.as_slice();
        seal_file_parallel((&source, length as u64), &sink, &[secret(1).public()], workers)
            .unwrap();
        let sealed = sink.0.into_inner().unwrap();
        assert!(open(&sealed, &secret(1)).unwrap() == plaintext);
        let sink = Sink(std::sync::Mutex::default());
        let source = sealed.as_slice();
        let opened = open_file_parallel((&source, sealed.len() as u64), &sink, &secret(1), workers);
        assert_eq!(opened.unwrap(), length as u64);
        assert!(sink.0.into_inner().unwrap() == plaintext);
        let cut = &sealed[..sealed.len() - 1];
        let sink = Sink(std::sync::Mutex::default());
        assert!(open_file_parallel((&cut, cut.len() as u64), &sink, &secret(1), workers).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_flipped_bit_anywhere_in_a_file_is_refused(at: prop::sample::Index, bit in 0..8u32) {
        let mut sealed = seal(b"GATTACA", &[&secret(1), &secret(2)]);
        let at = at.index(sealed.len());
        sealed[at] ^= 1 << bit;
        prop_assert!(open(&sealed, &secret(1)).is_err(), "byte {at}");
    }

    #[test]
    fn any_beginning_of_a_file_is_refused(at: prop::sample::Index) {
        let sealed = seal(b"GATTACA", &[&secret(1)]);
        prop_assert!(open(&sealed[..at.index(sealed.len())], &secret(1)).is_err());
    }
}
