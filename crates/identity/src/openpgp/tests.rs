//! OpenPGP without GnuPG: our own messages, and everything that must be refused. GnuPG judges in `tests/judges.rs`.

use proptest::prelude::*;

use super::*;
use crate::{Heap, Identity, Words};

const NOW: u32 = 1_800_000_000;

fn keys(entropy: u8) -> OpenPgpKeys {
    let words = Words::from_entropy(&[entropy; 16], &Heap).unwrap();
    Identity::from_words(words, "", &Heap).unwrap().openpgp(None)
}

/// Made once: words take two thousand rounds to become a seed.
static OURS: std::sync::LazyLock<OpenPgpKeys> = std::sync::LazyLock::new(|| keys(1));

fn certificate(keys: &OpenPgpKeys) -> Certificate {
    Certificate::read(&keys.certificate(), NOW).unwrap()
}

#[test]
fn our_certificate_reads_back_in_armor_and_bare() {
    let ours = keys(1);
    for bytes in [ours.certificate(), ours.armored_certificate().into_bytes()] {
        let read = Certificate::read(&bytes, NOW).unwrap();
        assert_eq!(read.fingerprint(), ours.fingerprint());
        assert_eq!(read.user_id(), Some(ours.user_id.as_str()));
    }
    assert_eq!(ours.certificate(), keys(1).certificate(), "the same bytes each time");
    assert_ne!(ours.fingerprint(), keys(2).fingerprint());
}

#[test]
fn a_name_of_ones_own_leaves_the_fingerprint() {
    let words = Words::from_entropy(&[1; 16], &Heap).unwrap();
    let named = Identity::from_words(words, "", &Heap).unwrap().openpgp(Some("Anna <a@b.example>"));
    assert_eq!(named.fingerprint(), keys(1).fingerprint());
    assert_eq!(certificate(&named).user_id(), Some("Anna <a@b.example>"));
}

#[test]
fn our_signatures_verify_for_their_data_and_maker_alone() {
    let ours = keys(1);
    let good = Verdict::Good { fingerprint: ours.fingerprint(), made: NOW };
    let from = [certificate(&keys(2)), certificate(&ours)];
    let detached = Message::read(&ours.sign_detached(b"GATTACA", NOW)).unwrap();
    let verdicts = detached.verify_detached(b"GATTACA", &from, NOW).unwrap();
    assert_eq!(verdicts, std::slice::from_ref(&good));
    let other = detached.verify_detached(b"GATTACC", &from, NOW).unwrap();
    assert!(matches!(other[..], [Verdict::Bad { .. }]), "{other:?}");
    let unknown = detached.verify_detached(b"GATTACA", &from[..1], NOW).unwrap();
    assert!(matches!(unknown[..], [Verdict::UnknownKey { .. }]), "{unknown:?}");
    let early = detached.verify_detached(b"GATTACA", &from, NOW - 1).unwrap();
    assert!(matches!(early[..], [Verdict::Bad { .. }]), "{early:?}");

    let inline = Message::read(&ours.sign_inline(b"GATTACA", NOW)).unwrap();
    let opened = inline.open(None, &from, NOW).unwrap();
    assert_eq!((opened.data.as_slice(), opened.encrypted), (&b"GATTACA"[..], false));
    assert_eq!(opened.signatures, [good]);
}

#[test]
fn a_flipped_bit_in_a_signature_makes_no_good_one() {
    let ours = keys(1);
    let from = [certificate(&ours)];
    let signed = ours.sign_detached(b"GATTACA", NOW);
    for bit in 0..signed.len() * 8 {
        let mut changed = signed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let Ok(message) = Message::read(&changed) else { continue };
        let Ok(verdicts) = message.verify_detached(b"GATTACA", &from, NOW) else { continue };
        let unhashed_issuer = verdicts.iter().any(|v| matches!(v, Verdict::Good { .. }));
        // The issuer in the unhashed part is a hint and covered by nothing: the hashed fingerprint outweighs it.
        let in_hint = {
            let area = signed.len() - 2 * 34 - 2 - 10..signed.len() - 2 * 34 - 2;
            area.contains(&(bit / 8)) || area.start - 2 <= bit / 8 && bit / 8 < area.start
        };
        assert!(!unhashed_issuer || in_hint, "bit {bit} changed nothing");
    }
}

#[test]
fn encryption_without_a_key_or_integrity_is_not_opened() {
    let message = Message::read(&packet::write(packet::PROTECTED, &[1; 60])).unwrap();
    assert_eq!(message.open(None, &[], NOW).unwrap_err(), OpenPgpError::Encrypted);
    assert_eq!(message.open(Some(&keys(1)), &[], NOW).unwrap_err(), OpenPgpError::NotForThisKey);
    let message = Message::read(&packet::write(packet::ENCRYPTED, &[1; 60])).unwrap();
    assert_eq!(message.open(Some(&keys(1)), &[], NOW).unwrap_err(), OpenPgpError::NoIntegrity);
}

#[test]
fn layers_of_compression_end() {
    let mut bytes = packet::write(packet::LITERAL, b"b\0\0\0\0\0x");
    for layer in 0..20 {
        let opened = Message::read(&bytes).unwrap().open(None, &[], NOW);
        assert_eq!(opened.is_ok(), layer < 16, "layer {layer}");
        bytes = packet::write(packet::COMPRESSED, &[&[0], &bytes[..]].concat());
    }
}

#[test]
fn broken_armor_is_named() {
    let text = keys(1).armored_certificate();
    assert!(dearmor(&text).is_ok());
    assert_eq!(
        dearmor(&text.replacen("xj", "xk", 1).replacen('A', "B", 3)).unwrap_err(),
        OpenPgpError::Armor("its check does not match")
    );
    let cut = text.split_once("-----END").unwrap().0;
    assert_eq!(dearmor(cut).unwrap_err(), OpenPgpError::Armor("its end is missing"));
    assert!(matches!(dearmor("hello"), Err(OpenPgpError::NotA(_))));
}

#[test]
fn keys_show_their_fingerprint_alone() {
    let shown = format!("{:?}", keys(1));
    assert_eq!(shown, format!("OpenPgpKeys({}, ..)", HEXLOWER.encode(&keys(1).fingerprint())));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        crate::fuzzing::openpgp(&bytes);
    }

    #[test]
    fn armor_gives_back_what_was_put_in(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let text = armor(Armored::Message, &bytes);
        prop_assert_eq!(dearmor(&text).unwrap(), (Armored::Message, bytes));
    }

    #[test]
    fn a_damaged_certificate_is_never_another_key(at in 0_usize..400, to: u8) {
        let ours = &*OURS;
        let mut bytes = ours.certificate();
        let at = at % bytes.len();
        bytes[at] = to;
        if let Ok(read) = Certificate::read(&bytes, NOW) {
            let signed = Message::read(&ours.sign_detached(b"x", NOW)).unwrap();
            let verdicts = signed.verify_detached(b"x", std::slice::from_ref(&read), NOW).unwrap();
            let good = matches!(verdicts[..], [Verdict::Good { .. }]);
            prop_assert!(!good || read.fingerprint() == ours.fingerprint());
        }
    }
}
