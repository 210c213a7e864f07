//! `vectors/approval`: approvals and cards, one failure per file. `UPDATE=1` writes them from the cases below; every file
//! that is there is read, whoever made it.

use std::path::PathBuf;

use api::{Bytes, SignedApproval, SignedStatement, Time};
use serde::{Deserialize, Serialize};

use super::super::example::{all, approval, at, run};
use super::super::*;
use crate::ProjectCard;
use crate::card::owner::tests::{card, key};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    /// What the file shows.
    comment: String,
    /// The card to check against.
    card: SignedStatement,
    /// The approval.
    approval: SignedApproval,
    /// The reader's clock.
    now: Time,
    /// Nothing if it counts, else the sentence of the refusal.
    error: Option<String>,
    /// The six words of an approval that counts.
    phrase: Option<String>,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../vectors/approval")
}

/// What a reader does: the card, the approval, the time.
fn read(vector: &Vector) -> Result<String, String> {
    let project = card().project;
    let (found, _) = ProjectCard::open(&vector.card, project).map_err(|e| e.to_string())?;
    let ProjectCard::Owner(found) = found else { return Err("a hub's card".into()) };
    let verified = Approval::open(&vector.approval, &found).map_err(|e| e.to_string())?;
    verified.in_force(vector.now).map_err(|e| e.to_string())?;
    Ok(verified.approval().phrase())
}

fn by(text: &str, seed: u8) -> SignedStatement {
    SignedStatement {
        statement: text.to_owned(),
        signature: Bytes(key(seed).sign(text.as_bytes()).0.to_vec()),
        signer: Bytes(key(seed).public().to_bytes().to_vec()),
    }
}

fn cases() -> Vec<(String, Vector)> {
    let good_card = sign_statement(&card(), &key(1));
    let vector = |comment: &str, approval: SignedStatement| Vector {
        comment: comment.to_owned(),
        card: good_card.clone(),
        approval: SignedApproval { approval, second: None },
        now: at(1_500),
        error: None,
        phrase: None,
    };
    let mut cases: Vec<(String, Vector)> = all()
        .into_iter()
        .map(|a| {
            let kind = a.act.kind();
            (format!("{kind}-valid"), vector("counts", by(&a.text(), 2)))
        })
        .collect();
    let app = approval(Act::App(run()));
    let text = app.text();
    let changed = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        by(&text.replacen(from, to, 1), 2)
    };
    let mut flipped = by(&text, 2);
    flipped.signature.0[0] ^= 1;
    let mut tight = vector("the end is not counted in", by(&text, 2));
    tight.now = app.expires;
    let mut early = vector("more than a minute before its time", by(&text, 2));
    early.now = at(900);
    let mut other_card = vector("the card is signed by a device", by(&text, 2));
    other_card.card = sign_statement(&card(), &key(2));
    let mut later = vector("a later card leaves the device out", by(&text, 2));
    let mut revoked = card();
    (revoked.number, revoked.previous) = (2, Some(card().digest()));
    revoked.devices.clear();
    later.card = sign_statement(&revoked, &key(1));
    let mut unasked = vector("a second signature that the card asks nobody for", by(&text, 2));
    unasked.approval.second = Some(Bytes(vec![1; 65]));
    let more = [
        ("signature-flipped", vector("one bit of the signature", flipped)),
        ("signed-by-owner", vector("the card key is no device", by(&text, 1))),
        ("signed-by-writer", vector("a writer is no device", by(&text, 3))),
        ("signed-by-vault", vector("the vault's own receipt key", by(&text, 8))),
        ("unknown-field", vector("a field more", changed("\"hub\":", "\"extra\":1,\"hub\":"))),
        ("missing-field", vector("no requester", changed("\"checkpoint\":null,", ""))),
        (
            "doubled-field",
            vector("a field twice", changed("\"hub\":\"hub\"", "\"hub\":\"hub\",\"hub\":\"hub\"")),
        ),
        ("space", vector("a space between tokens", changed("\"hub\":", "\"hub\": "))),
        (
            "escaped",
            vector(
                "a letter written as an escape",
                changed("\"hub\":\"hub\"", "\"hub\":\"\\u0068ub\""),
            ),
        ),
        ("other-kind-line", vector("another version", changed("approval v1", "approval v2"))),
        (
            "time-with-offset",
            vector(
                "a time in another zone",
                changed("1970-01-01T00:16:40Z", "1970-01-01T01:16:40+01:00"),
            ),
        ),
        ("other-hub", vector("another hub", changed("\"hub\":\"hub\"", "\"hub\":\"hub2\""))),
        ("other-card", {
            let other = Approval { card: sha256(b"other"), ..app.clone() };
            vector("another card", by(&other.text(), 2))
        }),
        ("two-days", {
            let long = Approval { expires: at(200_000), ..app };
            vector("counts for longer than a day", by(&long.text(), 2))
        }),
        (
            "two-acts",
            vector(
                "two kinds at once",
                changed("\"act\":{", "\"act\":{\"delete\":{\"dataset\":null},"),
            ),
        ),
        ("expired", tight),
        ("not-yet", early),
        ("card-by-device", other_card),
        ("device-revoked", later),
        ("second-unasked", unasked),
    ];
    cases.extend(more.map(|(name, vector)| (name.to_owned(), vector)));
    cases
}

#[test]
fn every_vector_reads_as_it_says() {
    let folder = folder();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(&folder).unwrap();
        for (name, mut vector) in cases() {
            match read(&vector) {
                Ok(phrase) => vector.phrase = Some(phrase),
                Err(error) => vector.error = Some(error),
            }
            assert_eq!(name.ends_with("-valid"), vector.error.is_none(), "{name}");
            let text = serde_json::to_string_pretty(&vector).unwrap();
            std::fs::write(folder.join(format!("{name}.json")), text + "\n").unwrap();
        }
    }
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "json") {
            continue;
        }
        let vector: Vector =
            serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let expected = match (&vector.error, &vector.phrase) {
            (Some(error), None) => Err(error.clone()),
            (None, Some(phrase)) => Ok(phrase.clone()),
            _ => panic!("{} says neither or both", path.display()),
        };
        assert_eq!(read(&vector), expected, "{}", path.display());
        count += 1;
    }
    assert!(count >= 32, "{count} vectors");
}
