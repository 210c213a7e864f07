//! Key files: locked and unlocked, and everything that must not open.

use super::*;

const QUICK: Cost = Cost { memory_kib: 64, passes: 1, lanes: 1 };

fn secret() -> RecipientSecret {
    RecipientSecret::from_seed([3; 32])
}

#[test]
fn a_bare_secret_reads_back_and_names_its_fingerprint() {
    let text = write_bare(&secret());
    assert!(text.contains("not protected by a passphrase"));
    assert!(text.contains(&hex(&secret().public().fingerprint())));
    let Ok(KeyFile::Bare(read)) = KeyFile::read(&text) else { panic!("not bare") };
    assert_eq!(read.expose_seed(), secret().expose_seed());
}

#[test]
fn a_locked_secret_opens_with_its_passphrase_alone() {
    let text = write_locked(&secret(), b"correct horse", QUICK).unwrap();
    let Ok(KeyFile::Locked(locked)) = KeyFile::read(&text) else { panic!("not locked") };
    assert_eq!(locked.cost(), QUICK);
    assert_eq!(locked.unlock(b"correct horse").unwrap().expose_seed(), secret().expose_seed());
    for wrong in [&b""[..], b"correct horse ", b"Correct horse"] {
        assert_eq!(locked.unlock(wrong).unwrap_err(), KeyFileError::WrongPassphrase);
    }
    let again = write_locked(&secret(), b"correct horse", QUICK).unwrap();
    assert_ne!(text, again, "each writing has a salt of its own");
    assert_eq!(format!("{locked:?}"), format!("LockedSecret({QUICK:?})"));
}

#[test]
fn a_cost_beyond_the_bounds_is_not_paid() {
    for cost in [
        Cost { memory_kib: Cost::MOST.memory_kib + 1, ..QUICK },
        Cost { passes: Cost::MOST.passes + 1, ..QUICK },
        Cost { lanes: Cost::MOST.lanes + 1, ..QUICK },
        Cost { passes: 0, ..QUICK },
        Cost { memory_kib: 0, ..QUICK },
    ] {
        assert_eq!(
            write_locked(&secret(), b"x", cost).unwrap_err(),
            KeyFileError::BadCost,
            "{cost:?}"
        );
    }
}

#[test]
fn every_changed_letter_of_the_key_line_is_noticed() {
    let text = write_bare(&secret());
    let line = text.rfind(MARK).unwrap() + MARK.len();
    for at in line..text.len() - 1 {
        let mut changed = text.as_bytes().to_vec();
        changed[at] = if changed[at] == b'a' { b'b' } else { b'a' };
        let changed = String::from_utf8(changed).unwrap();
        assert_eq!(KeyFile::read(&changed).unwrap_err(), KeyFileError::BadCheck, "letter {at}");
    }
}
