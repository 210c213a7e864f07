//! The published known answers of HPKE with post-quantum KEMs, through the code that wraps; and what a recipient's key is.

use hpke::aead::{Aead, AesGcm128, AesGcm256, ChaCha20Poly1305};
use hpke::kdf::{HkdfSha256, HkdfSha384, Kdf, KdfShake256, KdfTurboShake128, KdfTurboShake256};
use hpke::kem::{MlKem768, MlKem1024, X25519HkdfSha256, XWing};
use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Known {
    mode: u8,
    kem_id: u16,
    kdf_id: u16,
    aead_id: u16,
    info: String,
    #[serde(rename = "ikmE")]
    randomness: String,
    #[serde(rename = "skRm")]
    secret: String,
    #[serde(rename = "pkRm")]
    public: String,
    enc: String,
    encryptions: Vec<Encryption>,
}

#[derive(Deserialize)]
struct Encryption {
    aad: String,
    ct: String,
    pt: String,
}

fn hex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
}

impl Known {
    /// Wraps with the published randomness and opens with the published secret, comparing both with what was published.
    fn holds<A: Aead, D: Kdf, K: Kem>(&self) {
        assert_eq!(self.mode, 0);
        let first = &self.encryptions[0];
        let published = [hex(&self.enc), hex(&first.ct)].concat();
        let (info, aad) = (hex(&self.info), hex(&first.aad));
        let made = hpke_seal::<A, D, K>(
            &hex(&self.public),
            &info,
            &aad,
            &hex(&first.pt),
            &hex(&self.randomness),
        );
        assert_eq!(made.unwrap(), published, "KEM {:#06x}", self.kem_id);
        let opened = hpke_open::<A, D, K>(&hex(&self.secret), &info, &aad, &published);
        assert_eq!(*opened.unwrap(), hex(&first.pt), "KEM {:#06x}", self.kem_id);

        let mut altered = published;
        altered[7] ^= 1;
        assert!(hpke_open::<A, D, K>(&hex(&self.secret), &info, &aad, &altered).is_err());
    }
}

#[test]
fn the_published_known_answers_hold() {
    let text = include_str!("../../../../vectors/hpke/hpke-pq-test-vectors.json");
    let known: Vec<Known> = serde_json::from_str(text).unwrap();
    let mut beyond = Vec::new();
    for case in &known {
        match (case.kem_id, case.kdf_id, case.aead_id) {
            (0x647A, 0x01, 3) => case.holds::<ChaCha20Poly1305, HkdfSha256, XWing>(),
            (0x647A, 0x11, 3) => case.holds::<ChaCha20Poly1305, KdfShake256, XWing>(),
            (0x41, 0x01, 1) => case.holds::<AesGcm128, HkdfSha256, MlKem768>(),
            (0x42, 0x02, 2) => case.holds::<AesGcm256, HkdfSha384, MlKem1024>(),
            (0x42, 0x13, 1) => case.holds::<AesGcm128, KdfTurboShake256, MlKem1024>(),
            (0x20, 0x12, 3) => case.holds::<ChaCha20Poly1305, KdfTurboShake128, X25519HkdfSha256>(),
            (kem, ..) => beyond.push(kem),
        }
    }
    // What this build has no code for: ML-KEM-512, the hybrids with P-256 and P-384, and P-256, P-384 and X448 alone.
    beyond.sort_unstable();
    assert_eq!(beyond, [0x10, 0x11, 0x21, 0x40, 0x50, 0x50, 0x51]);
    assert_eq!(known.len(), 13);
}

#[test]
fn a_key_wrapped_to_a_recipient_opens_with_its_secret_alone() {
    let (anna, bert) = (RecipientSecret::generate().unwrap(), RecipientSecret::generate().unwrap());
    let key = DatasetKey::generate().unwrap();
    let wrapped = wrap_to(&anna.public(), b"place", &key).unwrap();
    assert_eq!(wrapped.len(), WRAPPED_BYTES);
    assert_eq!(unwrap(&anna, b"place", &wrapped).unwrap().expose(), key.expose());
    assert!(matches!(unwrap(&bert, b"place", &wrapped), Err(WrapError::DoesNotOpen)));
    assert!(matches!(unwrap(&anna, b"other", &wrapped), Err(WrapError::DoesNotOpen)));
}

#[test]
fn a_flipped_bit_anywhere_in_a_wrapped_key_keeps_it_shut() {
    let anna = RecipientSecret::from_seed([5; 32]);
    let wrapped = wrap_to(&anna.public(), b"place", &DatasetKey::from_bytes([6; 32])).unwrap();
    for at in (0..WRAPPED_BYTES).step_by(13).chain([WRAPPED_BYTES - 1]) {
        let mut altered = wrapped.clone();
        altered[at] ^= 0x80;
        assert!(unwrap(&anna, b"place", &altered).is_err(), "byte {at}");
    }
}

#[test]
fn two_wrappings_of_one_key_share_no_bytes_worth_naming() {
    let anna = RecipientSecret::from_seed([5; 32]).public();
    let key = DatasetKey::from_bytes([6; 32]);
    let (a, b) = (wrap_to(&anna, b"", &key).unwrap(), wrap_to(&anna, b"", &key).unwrap());
    assert_ne!(a[..ENCAPSULATION_BYTES], b[..ENCAPSULATION_BYTES]);
    assert_ne!(a[ENCAPSULATION_BYTES..], b[ENCAPSULATION_BYTES..]);
}

#[test]
fn a_public_string_reads_back_and_a_secret_prints_nothing() {
    let secret = RecipientSecret::from_seed([9; 32]);
    let public = secret.public();
    let text = public.to_string();
    assert!(text.starts_with("chorion1"));
    assert_eq!(text.len(), 1_960);
    assert_eq!(text.parse::<RecipientKey>().unwrap(), public);
    assert_eq!(RecipientKey::from_bytes(&public.to_bytes()).unwrap(), public);
    assert_eq!(format!("{secret:?}"), "RecipientSecret(..)");
    assert_eq!(format!("{public:?}").len(), "RecipientKey(".len() + 16 + "…)".len());
}
