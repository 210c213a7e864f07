//! Other programs judge what comes of the words: openssl the certificate, ssh-keygen and GnuPG signatures and
//! messages, eth-account who signed for Ethereum.

#![expect(clippy::unwrap_used, reason = "a test that meets something unexpected ends there")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use identity::openpgp::{Certificate, Message, OpenPgpError, Verdict};
use identity::{Heap, Identity, Words};
use proof::TypedData;
use serde_json::json;

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

/// A person with GnuPG: a home of its own, and an agent that ends with it.
struct Gnu {
    home: tempfile::TempDir,
}

impl Gnu {
    fn new() -> Self {
        // The path of the agent's socket has 108 bytes at most, so the home lies in /tmp itself.
        Self { home: tempfile::tempdir_in("/tmp").unwrap() }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.home.path().join(name)
    }

    fn runs(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new("gpg")
            .env("GNUPGHOME", self.home.path())
            .env("LC_ALL", "C")
            .args(["--batch", "--yes", "--no-tty", "--quiet", "--status-fd", "1"])
            .args(["--pinentry-mode", "loopback", "--passphrase", "", "--trust-model", "always"])
            .args(arguments)
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("gpg is not here ({error}): testing/setup.sh test"));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            Ok(said)
        } else {
            Err(format!("{said}{}", String::from_utf8_lossy(&output.stderr)))
        }
    }

    fn works(&self, arguments: &[&str]) -> String {
        self.runs(arguments).unwrap_or_else(|said| panic!("gpg {arguments:?}: {said}"))
    }
}

impl Drop for Gnu {
    fn drop(&mut self) {
        let ended = Command::new("gpgconf")
            .env("GNUPGHOME", self.home.path())
            .args(["--kill", "all"])
            .output();
        drop(ended);
    }
}

fn now() -> u32 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u32::try_from(since.as_secs()).unwrap()
}

#[test]
fn gnupg_imports_our_certificate_verifies_our_signatures_and_encrypts_to_us() {
    let gnu = Gnu::new();
    let keys = person().openpgp(None);
    let fingerprint = data_encoding::HEXUPPER.encode(&keys.fingerprint());
    fs::write(gnu.path("our.asc"), keys.armored_certificate()).unwrap();
    let imported = gnu.works(&["--import", "our.asc"]);
    assert!(imported.contains(&format!("IMPORT_OK 1 {fingerprint}")), "{imported}");
    let listed = gnu.works(&["--with-colons", "--check-sigs", &fingerprint]);
    let fields = |kind: &str| -> Vec<Vec<&str>> {
        let lines = listed.lines().filter(|line| line.starts_with(kind));
        lines.map(|line| line.split(':').collect()).collect()
    };
    assert_eq!(fields("pub:")[0][5], "1735689600", "the creation time is the constant");
    assert_eq!(fields("sub:")[0][11], "e", "the subkey is for encryption");
    let signatures = fields("sig:");
    assert_eq!(signatures.len(), 2, "{listed}");
    assert!(
        signatures.iter().all(|fields| fields[1] == "!"),
        "both self-signatures are good: {listed}"
    );

    fs::write(gnu.path("data"), "GATTACA\n").unwrap();
    fs::write(gnu.path("data.sig"), keys.sign_detached(b"GATTACA\n", now())).unwrap();
    let verified = gnu.works(&["--verify", "data.sig", "data"]);
    assert!(verified.contains(&format!("VALIDSIG {fingerprint}")), "{verified}");
    fs::write(gnu.path("other"), "GATTACC\n").unwrap();
    assert!(gnu.runs(&["--verify", "data.sig", "other"]).is_err());
    fs::write(gnu.path("inline"), keys.sign_inline(b"GATTACA\n", now())).unwrap();
    gnu.works(&["--output", "taken", "--decrypt", "inline"]);
    assert_eq!(fs::read(gnu.path("taken")).unwrap(), b"GATTACA\n");

    // Small and large (which comes in parts), text and noise, with each compression, named and hidden recipient.
    let large: Vec<u8> =
        (0..300_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    fs::write(gnu.path("large"), &large).unwrap();
    for (name, plain) in [("data", b"GATTACA\n".to_vec()), ("large", large)] {
        for how in [
            &["--recipient", &fingerprint][..],
            &["--hidden-recipient", &fingerprint, "--compress-algo", "zip"],
            &["--recipient", &fingerprint, "--compress-algo", "none", "--armor"],
        ] {
            gnu.works(&[how, &["--output", "sealed", "--encrypt", name]].concat());
            let sealed = fs::read(gnu.path("sealed")).unwrap();
            let opened = Message::read(&sealed).unwrap().open(Some(&keys), &[], now()).unwrap();
            assert!(opened.encrypted && opened.signatures.is_empty());
            assert!(*opened.data == plain, "{name} {how:?} opens to something else");
        }
    }
    let sealed = fs::read(gnu.path("sealed")).unwrap();
    let stranger = Identity::from_words(Words::from_entropy(&[9; 16], &Heap).unwrap(), "", &Heap);
    let refused =
        Message::read(&sealed).unwrap().open(Some(&stranger.unwrap().openpgp(None)), &[], now());
    assert_eq!(refused.unwrap_err(), OpenPgpError::NotForThisKey);
}

#[test]
fn what_gnupg_signs_is_verified_and_a_changed_byte_is_not() {
    let gnu = Gnu::new();
    let keys = person().openpgp(None);
    gnu.works(&["--quick-gen-key", "Bert <bert@example.org>", "ed25519", "sign", "never"]);
    gnu.works(&["--armor", "--output", "bert.asc", "--export", "bert"]);
    let bert = Certificate::read(&fs::read(gnu.path("bert.asc")).unwrap(), now()).unwrap();
    assert_eq!(bert.user_id(), Some("Bert <bert@example.org>"));
    fs::write(gnu.path("our.pgp"), keys.certificate()).unwrap();
    gnu.works(&["--import", "our.pgp"]);
    let is_good = |verdicts: &[Verdict]| matches!(verdicts, [Verdict::Good { fingerprint, .. }] if *fingerprint == bert.fingerprint());

    fs::write(gnu.path("data"), "GATTACA\n").unwrap();
    gnu.works(&["--output", "data.sig", "--detach-sign", "data"]);
    let detached = Message::read(&fs::read(gnu.path("data.sig")).unwrap()).unwrap();
    let judge =
        |data: &[u8]| detached.verify_detached(data, std::slice::from_ref(&bert), now()).unwrap();
    assert!(is_good(&judge(b"GATTACA\n")), "{:?}", judge(b"GATTACA\n"));
    assert!(matches!(judge(b"GATTACC\n")[..], [Verdict::Bad { .. }]));

    gnu.works(&["--output", "inline", "--sign", "data"]);
    let inline = Message::read(&fs::read(gnu.path("inline")).unwrap()).unwrap();
    let opened = inline.open(None, std::slice::from_ref(&bert), now()).unwrap();
    assert!(is_good(&opened.signatures) && *opened.data == b"GATTACA\n", "{opened:?}");

    let ours = data_encoding::HEXUPPER.encode(&keys.fingerprint());
    gnu.works(&["--output", "both", "--sign", "--encrypt", "--recipient", &ours, "data"]);
    let both = fs::read(gnu.path("both")).unwrap();
    let opened = Message::read(&both)
        .unwrap()
        .open(Some(&keys), std::slice::from_ref(&bert), now())
        .unwrap();
    assert!(is_good(&opened.signatures) && opened.encrypted, "{opened:?}");

    // Any changed byte: it does not open, or is no message any more; never other data.
    for at in 0..both.len() {
        let mut changed = both.clone();
        changed[at] ^= 0x10;
        let opened = Message::read(&changed)
            .and_then(|m| m.open(Some(&keys), std::slice::from_ref(&bert), now()));
        assert!(opened.is_err(), "byte {at} of {}", both.len());
    }

    // A revoked key's signature does not count any more.
    let fingerprint = data_encoding::HEXUPPER.encode(&bert.fingerprint());
    let revocation = gnu.path("openpgp-revocs.d").join(format!("{fingerprint}.rev"));
    let text = fs::read_to_string(revocation).unwrap().replace(":-----BEGIN", "-----BEGIN");
    fs::write(gnu.path("revocation"), text).unwrap();
    gnu.works(&["--import", "revocation"]);
    gnu.works(&["--output", "revoked.asc", "--armor", "--export", "bert"]);
    let revoked = Certificate::read(&fs::read(gnu.path("revoked.asc")).unwrap(), now()).unwrap();
    let verdicts = detached.verify_detached(b"GATTACA\n", &[revoked], now()).unwrap();
    assert_eq!(verdicts, [Verdict::Bad { because: "its key was revoked" }]);
}

#[test]
fn an_independent_ethereum_library_recovers_who_signed_messages_and_typed_data() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let python = root.join("target/venv/bin/python");
    if !python.exists() {
        assert!(std::env::var_os("CI").is_none(), "target/venv is not here: testing/setup.sh test");
        eprintln!("skipped: not here: target/venv, which testing/setup.sh test makes");
        return;
    }
    let account = person().ethereum().unwrap();
    let member = |kind: &str, name: &str| json!({"type": kind, "name": name});
    let documents = [
        // Every kind of type, and structs that need one another.
        json!({
            "types": {
                "EIP712Domain": [member("string", "name"), member("uint256", "chainId"), member("bytes32", "salt")],
                "All": [
                    member("uint8", "small"), member("int256", "negative"), member("uint256", "large"),
                    member("bool", "truth"), member("address", "who"), member("bytes", "bytes"),
                    member("bytes4", "four"), member("string", "text"), member("Inner[]", "many"),
                    member("uint16[2]", "two"), member("string[]", "none"),
                ],
                "Inner": [member("Leaf", "leaf"), member("int8", "number")],
                "Leaf": [member("string", "name")],
            },
            "primaryType": "All",
            "domain": {"name": "Trial", "chainId": 1, "salt": format!("0x{}", "ab".repeat(32))},
            "message": {
                "small": 255, "negative": -5, "large": u64::MAX, "truth": true,
                "who": account.address().to_string(), "bytes": "0x00ff", "four": "0x01020304",
                "text": "GATTACA é", "two": [1, 65535], "none": [],
                "many": [{"leaf": {"name": "a"}, "number": -128}, {"leaf": {"name": ""}, "number": 127}],
            },
        }),
    ];
    // An approval of every kind, as a wallet that is the second signer sees it.
    let mut documents = Vec::from(documents);
    for entry in fs::read_dir(root.join("vectors/approval")).unwrap() {
        let path = entry.unwrap().path();
        if path.to_str().unwrap().ends_with("-valid.json") {
            let vector: serde_json::Value =
                serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            let text = vector["approval"]["approval"]["statement"].as_str().unwrap();
            documents.push(TypedData::of_statement(text).unwrap().to_json());
        }
    }
    assert_eq!(documents.len(), 13, "twelve kinds of approval, and one document of all types");
    let hex = |bytes: &[u8]| format!("0x{}", data_encoding::HEXLOWER.encode(bytes));
    let mut cases = Vec::new();
    for message in [&b""[..], b"GATTACA", &[0xff; 300]] {
        let signature = account.sign_message(message).to_bytes();
        cases.push(json!({"message": hex(message), "signature": hex(&signature)}));
    }
    for document in documents {
        let digest = TypedData::read(&document.to_string()).unwrap().digest().unwrap();
        let signature = account.sign_digest(&digest);
        assert_eq!(signature.recover(&digest), Ok(account.address()));
        cases.push(json!({"typed": document, "signature": hex(&signature.to_bytes())}));
    }
    let folder = tempfile::tempdir().unwrap();
    let script = root.join("testing/peers/ethereum.py");
    let said = judge(
        folder.path(),
        python.to_str().unwrap(),
        &[script.to_str().unwrap()],
        &json!(cases).to_string(),
    );
    let expected = format!("{}\n", account.address()).repeat(cases.len());
    assert_eq!(said.unwrap(), expected);
}
