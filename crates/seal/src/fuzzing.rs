//! What a fuzzer feeds: one plain function per target, each with an oracle of its own.
//!
//! `fuzz/` calls them under libFuzzer; `cargo test` runs them over a small corpus and seeded mutations of it.

use crate::file::{self, FileError};
use crate::key_file::{Cost, KeyFile};
use crate::object::{PREFIX_BYTES, Prefix, SEGMENT_BYTES};
use crate::recipient::{RecipientKey, RecipientSecret};
use crate::{
    DataKey, ObjectId, ObjectOpener, OpenError, Opener, open_object, plain_bytes, sealed_bytes,
};

const PLAINTEXT_BYTES: usize = SEGMENT_BYTES + 100;

fn key() -> DataKey {
    DataKey::from_bytes([0x17; 32])
}

const fn id() -> ObjectId {
    ObjectId::from_bytes([0x42; 16])
}

/// The object that the body target starts from: two segments, the same in every run.
fn object() -> Vec<u8> {
    let (prefix, body) = Prefix::create_with_salt(&key(), id(), [0x99; 32]);
    let mut sealed = Vec::new();
    body.seal_whole(&prefix, &[b'A'; PLAINTEXT_BYTES], &mut sealed);
    sealed
}

/// Any bytes as a prefix: what is read is exactly what stands there, and a length has one reading.
pub fn prefix(data: &[u8]) {
    if let Ok(prefix) = Prefix::read(data) {
        assert_eq!(prefix.to_bytes(), data[..PREFIX_BYTES], "two prefixes read as one");
    }
    if let Some(bytes) = data.first_chunk()
        && let Ok(plain) = plain_bytes(u64::from_be_bytes(*bytes))
    {
        assert_eq!(sealed_bytes(plain), u64::from_be_bytes(*bytes), "a length has two readings");
    }
}

/// Any bytes as the beginning of an offline file, as a public string, and as a key file.
///
/// Nothing panics, what opens could be inspected, and a public string that is read is the only one for its key.
pub fn header(data: &[u8]) {
    let secret = RecipientSecret::from_seed([0x23; 32]);
    let inspected = file::inspect(&mut &*data);
    let opened = file::open_file(&mut &*data, &mut std::io::sink(), &secret, &mut |_| ());
    if opened.is_ok() {
        assert!(inspected.is_ok(), "a file opened that could not be inspected");
    }
    if let Err(FileError::NotForThisKey { recipients }) = opened {
        assert!((1..=file::MAX_RECIPIENTS).contains(&recipients));
    }
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(key) = text.parse::<RecipientKey>() {
        assert_eq!(key.to_string(), text, "two public strings read as one key");
    }
    if let Ok(KeyFile::Locked(locked)) = KeyFile::read(text) {
        // The cost is read, not paid: a fuzzer would spend its life in Argon2id.
        let Cost { .. } = locked.cost();
    }
}

/// Bytes as edits of a sealed object, four each (place 3, change 1), the first byte saying how much is cut off the end.
///
/// What changed is refused whichever way it is opened, what did not change opens.
pub fn body(data: &[u8]) {
    let whole = object();
    let mut altered = whole.clone();
    if let Some((cut, edits)) = data.split_first() {
        altered.truncate(altered.len() - usize::from(*cut));
        for edit in edits.chunks_exact(4) {
            let place = u32::from_be_bytes([0, edit[0], edit[1], edit[2]]) as usize;
            let place = place % (altered.len() + 1);
            match altered.get_mut(place) {
                Some(byte) => *byte ^= edit[3],
                None => altered.push(edit[3]),
            }
        }
    }
    let at_once = open_object(&key(), id(), &altered);
    let (streamed, given) = stream(&altered);
    let by_segments = segments(&altered);
    if altered == whole {
        let expected = vec![b'A'; PLAINTEXT_BYTES];
        assert!(at_once.is_ok_and(|plaintext| plaintext == expected));
        assert!(streamed.is_ok() && given == expected);
        assert!(by_segments.is_ok_and(|plaintext| plaintext == expected));
    } else {
        assert!(at_once.is_err(), "an altered object opened");
        assert!(streamed.is_err(), "an altered stream opened");
        assert!(by_segments.is_err(), "an altered object opened by segments");
        assert!(given.iter().all(|byte| *byte == b'A'), "a stream gave what was never sealed");
    }
}

/// Bytes as a key file of Crypt4GH, and as edits of a file for a known reader, four each as in [`body`].
///
/// What opens is what was sealed, or its beginning: the format does not promise more.
#[cfg(not(target_arch = "wasm32"))]
pub fn crypt4gh(data: &[u8]) {
    use crate::crypt4gh::{KeyFile, Reader};
    use std::io::Read;
    const FILE: &[u8] = include_bytes!("../../../vectors/crypt4gh/two-blocks.c4gh");
    const KEY: &str = include_str!("../../../vectors/crypt4gh/bare.sec");
    if let Ok(text) = str::from_utf8(data) {
        let _any_answer_will_do = KeyFile::read(text);
    }
    let Ok(KeyFile::Bare(key)) = KeyFile::read(KEY) else { panic!("the key is bare") };
    let open = |file: &[u8]| {
        let mut plaintext = Vec::new();
        let read = Reader::new(file, &key).map(|mut reader| reader.read_to_end(&mut plaintext));
        (read.is_ok_and(|read| read.is_ok()), plaintext)
    };
    let (_, whole) = open(FILE);
    let mut altered = FILE.to_vec();
    for edit in data.chunks_exact(4) {
        let place = u32::from_be_bytes([0, edit[0], edit[1], edit[2]]) as usize % altered.len();
        altered[place] ^= edit[3];
    }
    let (opened, plaintext) = open(&altered);
    assert!(whole.starts_with(&plaintext), "a file gave what was never sealed");
    assert!(!opened || altered == FILE, "an altered file opened");
}

fn stream(sealed: &[u8]) -> (Result<u64, OpenError>, Vec<u8>) {
    let mut given = Vec::new();
    let result = Opener::new(&key(), id(), sealed)
        .and_then(|mut opener| opener.write_to(&mut given, &mut |_| ()));
    (result, given)
}

fn segments(sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    let opener = ObjectOpener::new(&key(), id(), sealed, sealed.len() as u64)?;
    let mut plaintext = Vec::new();
    for index in 0..opener.segments() {
        let range = opener.segment_range(index);
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        opener.open_segment(
            index,
            &sealed[place(range.start)..place(range.end)],
            &mut plaintext,
        )?;
    }
    Ok(plaintext)
}

#[cfg(test)]
mod tests;
