//! The vectors of `vectors/identity`, which another implementation made from the pages of `spec/`.

#![expect(clippy::unwrap_used, reason = "a test that meets something unexpected ends there")]

use std::fs;
use std::path::Path;

use data_encoding::HEXLOWER;
use identity::{Heap, Identity, IdentityFile, IdentityFileError, Words};
use proof::TypedData;
use serde_json::Value;

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/identity")
}

fn cases(kind: &str) -> Vec<(String, Value)> {
    let mut cases = Vec::new();
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let case: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            if case["kind"] == kind {
                cases.push((path.file_stem().unwrap().to_string_lossy().into_owned(), case));
            }
        }
    }
    cases
}

#[test]
fn every_person_has_the_keys_and_certificates_of_the_vector() {
    let cases = cases("person");
    assert_eq!(cases.len(), 2);
    for (name, case) in cases {
        let field = |field: &str| case[field].as_str().unwrap();
        let words = Words::parse(field("words"), &Heap).unwrap();
        assert_eq!(HEXLOWER.encode(words.expose_entropy()), field("entropy"), "{name}");
        let person = Identity::from_words(words, field("passphrase"), &Heap).unwrap();
        let account = person.ethereum().unwrap();
        let openpgp = person.openpgp(None);
        let found = [
            ("card", HEXLOWER.encode(&person.card_key().public().to_bytes())),
            ("sealing", HEXLOWER.encode(&person.sealing().public().to_bytes())),
            ("ethereum", account.address().to_string()),
            (
                "message_signature",
                HEXLOWER.encode(&account.sign_message(field("message").as_bytes()).to_bytes()),
            ),
            ("openpgp_fingerprint", HEXLOWER.encode(&openpgp.fingerprint())),
            ("openpgp_certificate", HEXLOWER.encode(&openpgp.certificate())),
            ("x509", HEXLOWER.encode(person.client_certificate().der())),
            ("ssh", person.ssh().public_line()),
        ];
        for (what, found) in found {
            assert_eq!(found, field(what), "{name}: {what}");
        }
    }
}

#[test]
fn every_identity_file_ends_as_its_vector_says() {
    let cases = cases("identity file");
    assert_eq!(cases.len(), 12);
    for (name, case) in cases {
        let field = |field: &str| case[field].as_str().unwrap();
        let found = match IdentityFile::read(field("text")) {
            Err(_) => "unreadable",
            Ok(file) => match file.unlock(field("passphrase").as_bytes(), &Heap) {
                Err(_) => "does not open",
                Ok(opened) => match opened.person("", &Heap) {
                    Ok(person) => {
                        let entropy = HEXLOWER.encode(person.words().expose_entropy());
                        assert_eq!(entropy, field("entropy"), "{name}");
                        "opens"
                    }
                    Err(IdentityFileError::OtherWordsPassphrase) => "other person",
                    Err(error) => panic!("{name}: {error}"),
                },
            },
        };
        assert_eq!(found, field("expect"), "{name}");
    }
}

#[test]
fn a_statement_has_the_typed_data_and_digest_of_the_vector() {
    for (name, case) in cases("typed data") {
        let typed = TypedData::of_statement(case["statement"].as_str().unwrap()).unwrap();
        assert_eq!(HEXLOWER.encode(&typed.digest().unwrap()), case["digest"], "{name}");
        assert_eq!(typed.to_json(), case["document"], "{name}");
        let read = TypedData::read(&case["document"].to_string()).unwrap();
        assert_eq!(HEXLOWER.encode(&read.digest().unwrap()), case["digest"], "{name}");
    }
}
