//! What browsers and institutions send at a sign-in: no bytes bring the parsers down, and none count without a signature.
#![no_main]

use credential::id_token::{self, Expected, Keys};
use credential::passkey::{self, Asked};
use libfuzzer_sys::fuzz_target;

const CLIENT_DATA: &[u8] =
    br#"{"type":"webauthn.create","challenge":"AA","origin":"https://hub.example"}"#;

fuzz_target!(|data: &[u8]| {
    let asked = Asked { challenge: &[0], origin: "https://hub.example", host: "hub.example" };
    drop(passkey::challenge_of(data));
    drop(passkey::register(&asked, CLIENT_DATA, data));
    assert!(passkey::verify(&asked, data, 0, CLIENT_DATA, data, data).is_err());
    if let (Ok(keys), Ok(token)) = (Keys::parse(data), str::from_utf8(data)) {
        let expected =
            Expected { issuer: "https://a.example", client_id: "hub", nonce: "n", now: 0 };
        assert!(id_token::verify(token, &keys, &expected).is_err());
    }
});
