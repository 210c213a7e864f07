//! Other programs judge what comes of the words: openssl the certificate, ssh-keygen the signature.

#![expect(clippy::unwrap_used, reason = "a test that meets something unexpected ends there")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use identity::{Heap, Identity, Words};

fn person() -> Identity {
    let words = Words::from_entropy(&[0x5a; 16], &Heap).unwrap();
    Identity::from_words(words, "", &Heap).unwrap()
}

/// Runs a judge in `folder`: what it printed, if it ends well.
fn judge(folder: &Path, program: &str, arguments: &[&str], input: &str) -> Result<String, String> {
    fs::write(folder.join("input"), input).unwrap();
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::from(fs::File::open(folder.join("input")).unwrap()))
        .output()
        .unwrap_or_else(|error| panic!("{program} is not here ({error}): testing/setup.sh test"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        Ok(said)
    } else {
        Err(format!("{said}{}", String::from_utf8_lossy(&output.stderr)))
    }
}

#[test]
fn openssl_verifies_the_client_certificate_and_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = person().client_certificate();
    fs::write(folder.path().join("client.pem"), certificate.pem()).unwrap();
    fs::write(folder.path().join("client.key"), certificate.expose_pkcs8()).unwrap();
    let said = |arguments: &[&str]| judge(folder.path(), "openssl", arguments, "").unwrap();
    let verified = said(&[
        "verify",
        "-x509_strict",
        "-check_ss_sig",
        "-purpose",
        "sslclient",
        "-CAfile",
        "client.pem",
        "client.pem",
    ]);
    assert_eq!(verified, "client.pem: OK\n");
    let public = said(&["x509", "-in", "client.pem", "-noout", "-pubkey"]);
    assert_eq!(said(&["pkey", "-inform", "DER", "-in", "client.key", "-pubout"]), public);
    let shown = said(&[
        "x509",
        "-in",
        "client.pem",
        "-noout",
        "-dates",
        "-subject",
        "-ext",
        "extendedKeyUsage",
    ]);
    assert!(shown.contains("notAfter=Dec 31 23:59:59 9999 GMT"), "{shown}");
    assert!(shown.contains("TLS Web Client Authentication"), "{shown}");
    assert_eq!(certificate.der(), person().client_certificate().der(), "the same bytes each time");
}

#[test]
fn ssh_keygen_verifies_the_ssh_signature_and_no_other_message() {
    let folder = tempfile::tempdir().unwrap();
    let key = person().ssh();
    fs::write(folder.path().join("signers"), format!("anna {}\n", key.public_line())).unwrap();
    fs::write(folder.path().join("signature"), key.sign("file", b"GATTACA\n")).unwrap();
    let arguments =
        ["-Y", "verify", "-f", "signers", "-I", "anna", "-n", "file", "-s", "signature"];
    let verified = judge(folder.path(), "ssh-keygen", &arguments, "GATTACA\n").unwrap();
    assert!(verified.starts_with("Good \"file\" signature for anna"), "{verified}");
    assert!(judge(folder.path(), "ssh-keygen", &arguments, "GATTACC\n").is_err());
}
