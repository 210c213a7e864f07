//! What a fuzzer feeds: one plain function per target, each with an oracle of its own.
//!
//! `fuzz/` calls them under libFuzzer; `cargo test` runs them over random bytes and damaged true ones.

use api::{Bytes, ProjectId, SignedApproval, SignedStatement};

use crate::{Approval, OwnerCard, ProjectCard, SigningKey, Statement, open_statement};

fn signed(text: &str) -> (SignedStatement, SigningKey) {
    let key = SigningKey::from_seed(&[1; 32]);
    let statement = SignedStatement {
        statement: text.to_owned(),
        signature: Bytes(key.sign(text.as_bytes()).0.to_vec()),
        signer: Bytes(key.public().to_bytes().to_vec()),
    };
    (statement, key)
}

/// Any text as an approval under a true signature: what is read is written again as it was, and shows itself.
pub fn approval(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let (statement, _) = signed(text);
    let Ok((read, _)) = open_statement::<Approval>(&statement) else { return };
    assert_eq!(read.text(), text, "an approval has two spellings");
    let typed = read.typed_data().map(|typed| typed.digest());
    assert!(!matches!(typed, Ok(Err(_))), "a form for wallets has no digest");
    // Without its purpose nothing is drawn.
    assert!(read.sentences(&crate::Private::default()).is_err());
    let mut card = OwnerCard {
        hub: read.hub.clone(),
        project: read.project,
        number: 1,
        previous: None,
        owner: read.owner,
        recipient: Bytes(vec![1; 1216]),
        test: false,
        devices: Vec::new(),
        second_signer: None,
        writers: Vec::new(),
        measurements: Vec::new(),
    };
    card.writers.push(statement.signer.clone());
    let signed = SignedApproval { approval: statement, second: None };
    assert!(Approval::open(&signed, &card).is_err(), "a writer approved");
}

/// Any text as a card under a true signature: what is read is sound, and its signer is its owner.
pub fn card(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let (statement, key) = signed(text);
    let project = text
        .split("\"project\":\"")
        .nth(1)
        .and_then(|rest| rest.get(..36))
        .and_then(|id| id.parse().ok())
        .unwrap_or(ProjectId::from_bytes([5; 16]));
    let Ok((read, signer)) = ProjectCard::open(&statement, project) else { return };
    assert!(read.may_follow(&read).is_ok(), "a card does not follow itself");
    if let ProjectCard::Owner(card) = read {
        assert_eq!(card.owner.0, key.public().to_bytes());
        assert_eq!(signer, key.public());
        assert!(card.check().is_ok() && text.starts_with(OwnerCard::KIND));
        assert_eq!(card.digest(), crate::sha256(text.as_bytes()));
    }
}
