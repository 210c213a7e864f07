//! What a fuzzer feeds: one plain function per target, each with an oracle of its own.
//!
//! `fuzz/` calls them under libFuzzer; `cargo test` runs them over random bytes and damaged true ones.

use std::sync::LazyLock;

use crate::openpgp::{Certificate, Message, OpenPgpKeys, Verdict, dearmor};
use crate::{Heap, Identity, IdentityFile, Words, nearest};

const NOW: u32 = 1_800_000_000;

static KEYS: LazyLock<OpenPgpKeys> = LazyLock::new(|| {
    let words = Words::from_entropy(&[3; 16], &Heap).expect("the heap gives memory");
    Identity::from_words(words, "", &Heap).expect("no passphrase is too long").openpgp(None)
});

/// Any bytes as OpenPGP: nothing panics, and nobody's signature comes out of nothing.
pub fn openpgp(data: &[u8]) {
    let certificate = Certificate::read(data, NOW);
    if let Ok(text) = str::from_utf8(data)
        && let Ok((kind, bytes)) = dearmor(text)
    {
        let again = crate::openpgp::armor(kind, &bytes);
        assert_eq!(dearmor(&again), Ok((kind, bytes)), "armor changes what is in it");
    }
    let Ok(message) = Message::read(data) else { return };
    let ours = Certificate::read(&KEYS.certificate(), NOW);
    let from: Vec<Certificate> = certificate.into_iter().chain(ours).collect();
    let fingerprint = KEYS.fingerprint();
    let is_ours = |verdict: &Verdict| matches!(verdict, Verdict::Good { fingerprint: f, .. } if *f == fingerprint);
    if let Ok(opened) = message.open(Some(&KEYS), &from, NOW) {
        assert!(!opened.signatures.iter().any(is_ours), "a signature of ours was made up");
    }
    if let Ok(verdicts) = message.verify_detached(b"data", &from, NOW) {
        assert!(!verdicts.iter().any(is_ours), "a signature of ours was made up");
    }
}

/// Any text as words and as an identity file: words that are read are the words that were typed.
pub fn words(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(words) = Words::parse(text, &Heap) {
        let typed: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
        assert_eq!(*words.expose_text(), typed.join(" "), "other words were read than typed");
    }
    for word in text.split_whitespace().take(4) {
        assert!(nearest(word).len() <= 3);
    }
    // The cost is read, not paid: a fuzzer would spend its life in Argon2id.
    if let Ok(file) = IdentityFile::read(text) {
        assert!(file.cost().is_ok(), "a file that was read has no cost");
    }
}
