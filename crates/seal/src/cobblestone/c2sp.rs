//! The published vectors of chunked-encryption (16 KiB segments, 24-byte salt), through the code that sealed objects use.

use std::io::Read;

use flate2::read::ZlibDecoder;
use serde::Deserialize;

use super::{Body, BodyFault, Geometry, Shape};
use crate::primitives::{hkdf_expand_sha512, sha256};
use crate::{ObjectId, OpenError, Opener, Sealer};

const SALT_BYTES: usize = 24;
const PREFIX_BYTES: usize = SALT_BYTES + 32;
const SHAPE: Shape = Shape {
    label: b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM",
    geometry: Geometry { prefix_bytes: PREFIX_BYTES, segment_bytes: 16_384 },
};

#[derive(Deserialize)]
struct Vectors {
    #[serde(rename = "testGroups")]
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    tests: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    tc_id: u32,
    comment: String,
    key: String,
    ctx: String,
    ct: String,
    base_nonce: Option<String>,
    aead_key: Option<String>,
    msg_length: Option<usize>,
    msg_sha512: Option<String>,
    result: String,
    flags: Vec<String>,
}

fn hex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
}

fn sha512_hex(bytes: &[u8]) -> String {
    use sha2::Digest;
    data_encoding::HEXLOWER.encode(&sha2::Sha512::digest(bytes))
}

fn cases() -> Vec<Case> {
    let text =
        include_str!("../../../../vectors/c2sp/c2sp_chunked_encryption_aes_256_gcm_test.json");
    let vectors: Vectors = serde_json::from_str(text).unwrap();
    vectors.groups.into_iter().flat_map(|group| group.tests).collect()
}

impl Case {
    fn sealed(&self) -> Vec<u8> {
        let mut sealed = Vec::new();
        ZlibDecoder::new(hex(&self.ct).as_slice()).read_to_end(&mut sealed).unwrap();
        sealed
    }

    /// The body's keys; `None` where the header is refused before any segment is looked at.
    fn body(&self, sealed: &[u8]) -> Option<Body> {
        // A key of another length cannot be said in our types.
        let key = <[u8; 32]>::try_from(hex(&self.key)).ok()?;
        let (salt, rest) = sealed.split_at_checked(SALT_BYTES)?;
        let body = Body::derive(SHAPE, &key, salt, &hex(&self.ctx));
        body.is_committed_to(rest.first_chunk()?).then_some(body)
    }
}

#[test]
fn every_published_case_ends_as_published_read_whole() {
    let mut refused = 0;
    for case in cases() {
        let name = format!("case {}: {}", case.tc_id, case.comment);
        let sealed = case.sealed();
        let body = case.body(&sealed);
        assert_eq!(body.is_none(), case.flags.iter().any(|flag| flag == "HeaderFailure"), "{name}");
        let opened = body.map(|body| {
            let mut plaintext = b"what was there before".to_vec();
            body.open_whole(&sealed, &mut plaintext).map(|()| plaintext)
        });
        match (case.result.as_str(), opened) {
            ("valid", Some(Ok(plaintext))) => {
                assert_eq!(Some(plaintext.len()), case.msg_length, "{name}");
                assert_eq!(Some(sha512_hex(&plaintext)), case.msg_sha512, "{name}");
            }
            ("invalid", Some(Err(BodyFault::Length(_) | BodyFault::Segment(_))) | None) => {
                refused += 1;
            }
            (published, opened) => panic!("{name}: published as {published}, gave {opened:?}"),
        }
    }
    assert_eq!((cases().len(), refused), (35, 25));
}

#[test]
fn every_published_case_ends_as_published_read_as_a_stream() {
    for case in cases() {
        let name = format!("case {}: {}", case.tc_id, case.comment);
        let sealed = case.sealed();
        let Some(body) = case.body(&sealed) else { continue };
        let mut given = Vec::new();
        let id = ObjectId::from_bytes([0; 16]);
        let result =
            Opener::begin(body, id, &sealed[PREFIX_BYTES..]).write_to(&mut given, &mut |_| ());
        if case.result == "valid" {
            assert_eq!(result.unwrap(), given.len() as u64, "{name}");
            assert_eq!(Some(sha512_hex(&given)), case.msg_sha512, "{name}");
        } else {
            assert!(
                matches!(result, Err(OpenError::BrokenSegment { .. } | OpenError::CutShort { .. })),
                "{name}: {result:?}"
            );
            assert!(
                given.len() <= case.msg_length.unwrap_or(0),
                "{name}: unverified bytes were given"
            );
        }
    }
}

#[test]
fn what_opens_seals_again_to_the_published_bytes() {
    for case in cases().iter().filter(|case| case.result == "valid") {
        let sealed = case.sealed();
        let mut plaintext = Vec::new();
        case.body(&sealed).unwrap().open_whole(&sealed, &mut plaintext).unwrap();
        let mut whole = vec![0xFF; 99];
        case.body(&sealed).unwrap().seal_whole(&sealed[..PREFIX_BYTES], &plaintext, &mut whole);
        assert!(whole == sealed, "case {}: sealed whole", case.tc_id);
        let body = case.body(&sealed).unwrap();
        let mut sealer = Sealer::begin(&sealed[..PREFIX_BYTES], body, Vec::new()).unwrap();
        sealer.read_from(&mut plaintext.as_slice(), &mut |_| ()).unwrap();
        assert!(sealer.finish().unwrap().0 == sealed, "case {}: sealed as a stream", case.tc_id);
    }
}

#[test]
fn the_derivation_gives_the_published_key_and_nonce() {
    let mut compared = 0;
    for case in cases() {
        let (Some(key), Some(nonce)) = (&case.aead_key, &case.base_nonce) else { continue };
        let sealed = case.sealed();
        let body_key = <[u8; 32]>::try_from(hex(&case.key)).unwrap();
        let mut material = [0; 44];
        let salt = &sealed[..SALT_BYTES];
        hkdf_expand_sha512(&body_key, &[SHAPE.label, &[0], salt, &hex(&case.ctx)], &mut material);
        assert_eq!(material[..32], hex(key), "case {}", case.tc_id);
        assert_eq!(case.body(&sealed).unwrap().base_nonce, *hex(nonce), "case {}", case.tc_id);
        compared += 1;
    }
    assert_eq!(compared, 25);
    // The file is the one that was published.
    let text =
        include_bytes!("../../../../vectors/c2sp/c2sp_chunked_encryption_aes_256_gcm_test.json");
    assert_eq!(data_encoding::HEXLOWER.encode(&sha256(text)[..8]), "0f8e35568d59649f");
}

#[test]
fn no_two_segments_share_a_nonce() {
    let body = Body::derive(SHAPE, &[3; 32], &[1; 24], b"");
    let far =
        [0, 1, 255, 256, 65_535, 65_536, (1 << 24) - 1, 1 << 24, (1 << 32) - 2, (1 << 32) - 1];
    let mut nonces: Vec<_> = (0..4096).chain(far).map(|index| body.nonce(index)).collect();
    nonces.sort_unstable();
    nonces.dedup();
    assert_eq!(nonces.len(), 4096 + far.len() - 4);
}
