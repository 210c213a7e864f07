//! Vectors of the standard (Web Authentication Level 3, section 16), and an authenticator in software for all that they lack.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use data_encoding::HEXLOWER;
use proptest::prelude::*;

use super::*;

fn hex(text: &str) -> Vec<u8> {
    HEXLOWER.decode(text.as_bytes()).unwrap()
}

/// Section 16.3, ES256 with self attestation: the person was verified at registration, and not at the sign-in after it.
mod published {
    pub(super) const CHALLENGE: &str =
        "7869c2b772d4b58eba9378cf8f29e26cf935aa77df0da89fa99c0bdc0a76f7e5";
    pub(super) const CREDENTIAL: &str =
        "455ef34e2043a87db3d4afeb39bbcb6cc32df9347c789a865ecdca129cbef58c";
    pub(super) const CLIENT_DATA: &str = "7b2274797065223a22776562617574686e2e637265617465222c226368616c6c656e6765223a2265476e4374334c55745936366b336a506a796e6962506b31716e666644616966715a774c33417032392d55222c226f726967696e223a2268747470733a2f2f6578616d706c652e6f7267222c2263726f73734f726967696e223a66616c73652c22657874726144617461223a22636c69656e74446174614a534f4e206d617920626520657874656e6465642077697468206164646974696f6e616c206669656c647320696e20746865206675747572652c207375636820617320746869733a205539685458764b453255526b4d6e625f307859485667227d";
    pub(super) const ATTESTATION: &str = "a363666d74667061636b65646761747453746d74a263616c672663736967584630440220067a20754ab925005dbf378097c92120031581c73228d1fb4f5b881bcd7da98302207fc7b147558c7c0eba3af18bd9d121fa3d3a26d17fe3f220272178f473b6006d68617574684461746158a4bfabc37432958b063360d3ad6461c9c4735ae7f8edd46592a5e0f01452b2e4b55d00000000df850e09db6afbdfab51697791506cfc0020455ef34e2043a87db3d4afeb39bbcb6cc32df9347c789a865ecdca129cbef58ca5010203262001215820eb151c8176b225cc651559fecf07af450fd85802046656b34c18f6cf193843c5225820927b8aa427a2be1b8834d233a2d34f61f13bfd44119c325d5896e183fee484f2";
    pub(super) const SIGN_IN_CHALLENGE: &str =
        "4478a10b1352348dd160c1353b0d469b5db19eb91c27f7dfa6fed39fe26af20b";
    pub(super) const SIGN_IN_DATA: &str =
        "bfabc37432958b063360d3ad6461c9c4735ae7f8edd46592a5e0f01452b2e4b50900000000";
    pub(super) const SIGN_IN_CLIENT_DATA: &str = "7b2274797065223a22776562617574686e2e676574222c226368616c6c656e6765223a225248696843784e534e493352594d45314f7731476d3132786e726b634a5f6666707637546e2d4a71386773222c226f726967696e223a2268747470733a2f2f6578616d706c652e6f7267222c2263726f73734f726967696e223a66616c73652c22657874726144617461223a22636c69656e74446174614a534f4e206d617920626520657874656e6465642077697468206164646974696f6e616c206669656c647320696e20746865206675747572652c207375636820617320746869733a206754623533727a36456853576f6d58477a696d433151227d";
    pub(super) const SIGNATURE: &str = "304402203310b9431903c401f1be2bdc8d23a4007682dbbddcf846994947b7f465daf84002204e94dd00047b316061b3b99772b7efd95994a83ef584b3b6b825ea3550251b66";
    /// Section 16.2, ES256 without attestation: the person was there and was not verified.
    pub(super) const UNVERIFIED_CHALLENGE: &str =
        "00c30fb78531c464d2b6771dab8d7b603c01162f2fa486bea70f283ae556e130";
    pub(super) const UNVERIFIED_CLIENT_DATA: &str = "7b2274797065223a22776562617574686e2e637265617465222c226368616c6c656e6765223a22414d4d507434557878475453746e63647134313759447742466938767049612d7077386f4f755657345441222c226f726967696e223a2268747470733a2f2f6578616d706c652e6f7267222c2263726f73734f726967696e223a66616c73652c22657874726144617461223a22636c69656e74446174614a534f4e206d617920626520657874656e6465642077697468206164646974696f6e616c206669656c647320696e20746865206675747572652c207375636820617320746869733a20426b5165446a646354427258426941774a544c453551227d";
    pub(super) const UNVERIFIED_ATTESTATION: &str = "a363666d74646e6f6e656761747453746d74a068617574684461746158a4bfabc37432958b063360d3ad6461c9c4735ae7f8edd46592a5e0f01452b2e4b559000000008446ccb9ab1db374750b2367ff6f3a1f0020f91f391db4c9b2fde0ea70189cba3fb63f579ba6122b33ad94ff3ec330084be4a5010203262001215820afefa16f97ca9b2d23eb86ccb64098d20db90856062eb249c33a9b672f26df61225820930a56b87a2fca66334b03458abf879717c12cc68ed73290af2e2664796b9220";
}

fn published_asked(challenge: &[u8]) -> Asked<'_> {
    Asked { challenge, origin: "https://example.org", host: "example.org" }
}

#[test]
fn the_published_registration_counts_and_one_without_a_verified_person_does_not() {
    let challenge = hex(published::CHALLENGE);
    let asked = published_asked(&challenge);
    let (client_data, object) = (hex(published::CLIENT_DATA), hex(published::ATTESTATION));
    assert_eq!(challenge_of(&client_data).unwrap(), challenge);
    let made = register(&asked, &client_data, &object).unwrap();
    assert_eq!(HEXLOWER.encode(&made.credential), published::CREDENTIAL);
    assert_eq!(made.counter, 0);

    let challenge = hex(published::UNVERIFIED_CHALLENGE);
    let refused = register(
        &published_asked(&challenge),
        &hex(published::UNVERIFIED_CLIENT_DATA),
        &hex(published::UNVERIFIED_ATTESTATION),
    );
    assert_eq!(refused, Err(PasskeyError::NotVerified));
}

#[test]
fn the_published_signature_verifies_and_its_sign_in_is_refused_for_the_person_alone() {
    let challenge = hex(published::CHALLENGE);
    let asked = published_asked(&challenge);
    let made =
        register(&asked, &hex(published::CLIENT_DATA), &hex(published::ATTESTATION)).unwrap();
    let (data, client_data) = (hex(published::SIGN_IN_DATA), hex(published::SIGN_IN_CLIENT_DATA));
    let mut signed = data.clone();
    signed.extend_from_slice(digest(&SHA256, &client_data).as_ref());
    let (key, _) = cbor::read(&made.public_key).unwrap();
    let key = cose::Key::parse(&key).unwrap();
    key.verify(&signed, &hex(published::SIGNATURE)).unwrap();
    signed[0] ^= 1;
    assert_eq!(key.verify(&signed, &hex(published::SIGNATURE)), Err(PasskeyError::Signature));

    let challenge = hex(published::SIGN_IN_CHALLENGE);
    let asked = published_asked(&challenge);
    let signature = hex(published::SIGNATURE);
    let refused = verify(&asked, &made.public_key, 0, &client_data, &data, &signature);
    assert_eq!(refused, Err(PasskeyError::NotVerified));
}

const CHALLENGE: &[u8] = &[7; 32];
const ORIGIN: &str = "https://hub.example:8470";
const HOST: &str = "hub.example";
const ASKED: Asked<'_> = Asked { challenge: CHALLENGE, origin: ORIGIN, host: HOST };

enum Signer {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// An authenticator, of which a test can change every answer.
struct Authenticator {
    signer: Signer,
    flags: u8,
    counter: u32,
    host: &'static str,
    kind: &'static str,
    origin: &'static str,
    cross_origin: bool,
    challenge: Vec<u8>,
    after: Vec<u8>,
}

impl Authenticator {
    fn new(signer: Signer) -> Self {
        Self {
            signer,
            flags: PRESENT | VERIFIED,
            counter: 1,
            host: HOST,
            kind: "webauthn.get",
            origin: ORIGIN,
            cross_origin: false,
            challenge: CHALLENGE.to_vec(),
            after: Vec::new(),
        }
    }

    fn ecdsa() -> Self {
        Self::new(Signer::Ecdsa(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap()))
    }

    fn ed25519() -> Self {
        Self::new(Signer::Ed25519(Ed25519KeyPair::generate().unwrap()))
    }

    fn public_key(&self) -> Vec<u8> {
        match &self.signer {
            Signer::Ecdsa(pair) => {
                let point = pair.public_key().as_ref();
                [&hex("a5010203262001215820")[..], &point[1..33], &hex("225820"), &point[33..]]
                    .concat()
            }
            Signer::Ed25519(pair) => {
                [&hex("a4010103272006215820")[..], pair.public_key().as_ref()].concat()
            }
        }
    }

    fn client_data(&self) -> Vec<u8> {
        serde_json::to_vec(&serde_json::json!({
            "type": self.kind, "challenge": BASE64URL_NOPAD.encode(&self.challenge),
            "origin": self.origin, "crossOrigin": self.cross_origin,
        }))
        .unwrap()
    }

    fn data(&self, credential: Option<&[u8]>) -> Vec<u8> {
        let mut data = digest(&SHA256, self.host.as_bytes()).as_ref().to_vec();
        data.push(self.flags | if credential.is_some() { HAS_CREDENTIAL } else { 0 });
        data.extend_from_slice(&self.counter.to_be_bytes());
        if let Some(id) = credential {
            data.extend_from_slice(&[0; 16]);
            data.extend_from_slice(&u16::try_from(id.len()).unwrap().to_be_bytes());
            data.extend_from_slice(id);
            data.extend_from_slice(&self.public_key());
        }
        data.extend_from_slice(&self.after);
        data
    }

    fn attestation(&self) -> Vec<u8> {
        let data = self.data(Some(b"an id"));
        let length = u8::try_from(data.len()).unwrap();
        [
            &hex("a363666d74646e6f6e656761747453746d74a0686175746844617461")[..],
            &[0x58, length],
            &data,
        ]
        .concat()
    }

    fn verify(&self, kept: u32) -> Result<u32, PasskeyError> {
        let (data, client_data) = (self.data(None), self.client_data());
        let mut signed = data.clone();
        signed.extend_from_slice(digest(&SHA256, &client_data).as_ref());
        let signature = match &self.signer {
            Signer::Ecdsa(pair) => {
                pair.sign(&SystemRandom::new(), &signed).unwrap().as_ref().to_vec()
            }
            Signer::Ed25519(pair) => pair.sign(&signed).as_ref().to_vec(),
        };
        verify(&ASKED, &self.public_key(), kept, &client_data, &data, &signature)
    }
}

#[test]
fn keys_of_both_curves_register_and_sign_in() {
    for mut authenticator in [Authenticator::ecdsa(), Authenticator::ed25519()] {
        assert_eq!(authenticator.verify(0), Ok(1));
        authenticator.kind = "webauthn.create";
        let made =
            register(&ASKED, &authenticator.client_data(), &authenticator.attestation()).unwrap();
        assert_eq!(made.credential, b"an id");
        assert_eq!(made.public_key, authenticator.public_key());
    }
}

#[test]
fn an_answer_to_anything_but_what_was_asked_is_refused() {
    type Change = fn(&mut Authenticator);
    let cases: &[(&str, Change)] = &[
        ("another challenge", |a| a.challenge[0] ^= 1),
        ("another site", |a| a.origin = "https://hub.example.evil:8470"),
        ("another port", |a| a.origin = "https://hub.example:8471"),
        ("without TLS", |a| a.origin = "http://hub.example:8470"),
        ("inside another site", |a| a.cross_origin = true),
        ("a registration", |a| a.kind = "webauthn.create"),
        ("another host", |a| a.host = "example"),
    ];
    for (name, change) in cases {
        let mut authenticator = Authenticator::ecdsa();
        change(&mut authenticator);
        let refused = authenticator.verify(0);
        assert!(matches!(refused, Err(PasskeyError::Other(_))), "{name}: {refused:?}");
    }
}

#[test]
fn somebody_who_was_not_recognised_does_not_sign_in() {
    for flags in [0, PRESENT, VERIFIED] {
        let mut authenticator = Authenticator::ecdsa();
        authenticator.flags = flags;
        assert_eq!(authenticator.verify(0), Err(PasskeyError::NotVerified), "{flags:#04x}");
    }
    let mut authenticator = Authenticator::ecdsa();
    authenticator.flags |= BACKED_UP;
    assert!(matches!(authenticator.verify(0), Err(PasskeyError::Form(_))));
    authenticator.flags |= BACKUP_ELIGIBLE;
    assert_eq!(authenticator.verify(0), Ok(1));
}

#[test]
fn a_counter_that_does_not_grow_is_a_copy_and_none_at_all_is_fine() {
    let mut authenticator = Authenticator::ed25519();
    authenticator.counter = 8;
    assert_eq!(authenticator.verify(7), Ok(8));
    for kept in [8, 9, u32::MAX] {
        assert_eq!(authenticator.verify(kept), Err(PasskeyError::Copied { kept, shown: 8 }));
    }
    authenticator.counter = 0;
    assert_eq!(authenticator.verify(0), Ok(0));
    assert_eq!(authenticator.verify(1), Err(PasskeyError::Copied { kept: 1, shown: 0 }));
}

#[test]
fn what_stands_after_the_data_is_an_announced_map_or_nothing() {
    let mut authenticator = Authenticator::ecdsa();
    authenticator.after = hex("a0");
    assert!(matches!(authenticator.verify(0), Err(PasskeyError::Form(_))));
    authenticator.flags |= HAS_EXTENSIONS;
    assert_eq!(authenticator.verify(0), Ok(1));
    authenticator.after = hex("a000");
    assert!(matches!(authenticator.verify(0), Err(PasskeyError::Form(_))));
    authenticator.after = hex("00");
    assert!(matches!(authenticator.verify(0), Err(PasskeyError::Form(_))));
}

#[test]
fn every_prefix_of_a_registration_is_refused() {
    let mut authenticator = Authenticator::ecdsa();
    authenticator.kind = "webauthn.create";
    let (client_data, object) = (authenticator.client_data(), authenticator.attestation());
    for length in 0..object.len() {
        assert!(register(&ASKED, &client_data, &object[..length]).is_err(), "{length}");
    }
    let longer = [&object[..], &[0]].concat();
    assert!(register(&ASKED, &client_data, &longer).is_err());
}

proptest! {
    #[test]
    fn a_flipped_bit_of_a_sign_in_never_counts(at in 0_usize..10_000, bit in 0_u8..8) {
        let authenticator = Authenticator::ed25519();
        let (mut data, mut client_data) = (authenticator.data(None), authenticator.client_data());
        let mut signed = data.clone();
        signed.extend_from_slice(digest(&SHA256, &client_data).as_ref());
        let Signer::Ed25519(pair) = &authenticator.signer else { unreachable!() };
        let mut signature = pair.sign(&signed).as_ref().to_vec();
        let parts: [&mut Vec<u8>; 3] = [&mut data, &mut client_data, &mut signature];
        let mut at = at % parts.iter().map(|part| part.len()).sum::<usize>();
        for part in parts {
            if at < part.len() {
                part[at] ^= 1 << bit;
                break;
            }
            at -= part.len();
        }
        let key = authenticator.public_key();
        prop_assert!(verify(&ASKED, &key, 0, &client_data, &data, &signature).is_err());
    }

    #[test]
    fn no_bytes_bring_the_parser_down(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut authenticator = Authenticator::ecdsa();
        authenticator.kind = "webauthn.create";
        let client_data = authenticator.client_data();
        prop_assert!(register(&ASKED, &client_data, &bytes).is_err());
        drop(challenge_of(&bytes));
        let _ = verify(&ASKED, &bytes, 0, &client_data, &bytes, &bytes);
    }
}
