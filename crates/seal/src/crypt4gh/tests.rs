//! The reference tool's files, and what is done to files on the way.

use super::*;

const FILE: &[u8] = include_bytes!("../../../../vectors/crypt4gh/two-blocks.c4gh");
const BARE: &str = include_str!("../../../../vectors/crypt4gh/bare.sec");
const SCRYPT: &str = include_str!("../../../../vectors/crypt4gh/scrypt.sec");
const PBKDF2: &str = include_str!("../../../../vectors/crypt4gh/pbkdf2.sec");
const HEADER_BYTES: usize = 124;
const SEALED_BLOCK: usize = 65_564;

fn plaintext() -> Vec<u8> {
    let all: String = (0..2800).map(|i| format!("@r{i}\nGATTACA\n+\nFFFFFFF\n")).collect();
    all.into_bytes()
}

fn key() -> SecretKey {
    match KeyFile::read(BARE).unwrap() {
        KeyFile::Bare(key) => key,
        KeyFile::Locked(_) => panic!("the key is bare"),
    }
}

fn open(file: &[u8]) -> Result<Vec<u8>, String> {
    let mut reader = Reader::new(file, &key()).map_err(|e| e.to_string())?;
    let mut out = Vec::new();
    reader.read_to_end(&mut out).map_err(|e| e.to_string())?;
    Ok(out)
}

/// Gives a few bytes at a time, as pipes do.
struct Slow<'a>(&'a [u8]);

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let few = buffer.len().min(1000);
        self.0.read(&mut buffer[..few])
    }
}

#[test]
fn a_file_of_the_reference_tool_opens_to_what_it_was_made_from() {
    assert_eq!(open(FILE).unwrap(), plaintext());
    let mut out = Vec::new();
    Reader::new(Slow(FILE), &key()).unwrap().read_to_end(&mut out).unwrap();
    assert_eq!(out, plaintext());
}

#[test]
fn a_locked_key_opens_with_its_passphrase_alone() {
    for text in [SCRYPT, PBKDF2] {
        let KeyFile::Locked(locked) = KeyFile::read(text).unwrap() else {
            panic!("the key is locked")
        };
        assert_eq!(*locked.unlock(b"Gattaca").unwrap().0, *key().0);
        assert!(matches!(locked.unlock(b"gattaca"), Err(Crypt4ghError::Passphrase)));
    }
    assert!(matches!(KeyFile::read("GATTACA"), Err(Crypt4ghError::Key(_))));
    assert!(!format!("{:?}", KeyFile::read(BARE)).contains("102"));
}

#[test]
fn a_key_that_a_file_is_not_for_says_so() {
    let other = SecretKey(Zeroizing::new([7; 32]));
    let error = Reader::new(FILE, &other).unwrap_err();
    assert_eq!(error.to_string(), "none of its 1 header packets is for this key");
}

#[test]
fn a_flipped_bit_is_found_wherever_it_lies() {
    for at in (0..FILE.len()).step_by(613).chain(0..HEADER_BYTES + 20) {
        let mut flipped = FILE.to_vec();
        flipped[at] ^= 0x08;
        assert!(open(&flipped).is_err(), "a bit at {at}");
    }
}

#[test]
fn a_block_that_is_cut_and_a_nonce_that_comes_again_are_refused() {
    assert!(open(&FILE[..FILE.len() - 1]).is_err());
    assert!(open(&FILE[..HEADER_BYTES + 5]).is_err());
    let block = &FILE[HEADER_BYTES..HEADER_BYTES + SEALED_BLOCK];
    let doubled = [&FILE[..HEADER_BYTES], block, block].concat();
    assert_eq!(
        open(&doubled).unwrap_err(),
        "a nonce is used twice, so its writer protects nothing"
    );
    let after_the_last = [FILE, block].concat();
    assert!(open(&after_the_last).is_err());
}

#[test]
fn hostile_headers_are_refused_before_they_cost_anything() {
    let mut many = FILE[..16].to_vec();
    many[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(open(&many).is_err());
    let mut long = FILE[..20].to_vec();
    long[16..20].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(
        open(&long).unwrap_err(),
        "its header is not right: a packet has a length that cannot be"
    );
    assert_eq!(open(b"GATTACA").unwrap_err(), "it does not begin as Crypt4GH files do");
}
