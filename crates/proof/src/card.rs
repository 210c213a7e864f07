//! The project card (`spec/card.md`): who holds the key of a project, stated so that the hub cannot choose.

use api::{Bytes, Custodian, Digest, ProjectId, SignedStatement};
use serde::{Deserialize, Serialize};

use crate::{PublicKey, Statement, StatementError, digest_of, open_statement, phrase};

/// A project card. The digest of the signed text stands in the context of every dataset key wrapped under it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// The hub's id.
    pub hub: String,
    /// The project.
    pub project: ProjectId,
    /// Who holds the key.
    pub custodian: Custodian,
    /// To which X-Wing public key dataset keys are wrapped, 1216 bytes.
    pub recipient: Bytes,
    /// Rises by one with each card; a lower number than one seen before is refused.
    pub number: u32,
    /// A project for trying things out, marked at its creation and never later: unattested vaults may open it.
    pub test: bool,
    /// Ed25519 keys whose manifests count besides the signer's: empty means that the hub's policy says who may write,
    /// which an owner's card never leaves to it.
    pub writers: Vec<Bytes>,
}

impl Statement for Card {
    const KIND: &'static str = "chorion project card v1";
}

/// Why a card does not count.
#[derive(Debug, thiserror::Error)]
pub enum CardError {
    /// It is no card in its one spelling, or the signature is wrong.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// It is signed by somebody else.
    #[error("the card of project {project} is signed by {signer}, not by the key that was pinned")]
    Signer {
        /// The project it speaks of.
        project: ProjectId,
        /// The key that signed it.
        signer: api::KeyId,
    },
    /// It speaks of another project.
    #[error("the card speaks of project {card}, not of {asked}")]
    Project {
        /// The project on the card.
        card: ProjectId,
        /// The project that was asked for.
        asked: ProjectId,
    },
    /// It is older than one that was seen.
    #[error("the card of project {project} has number {number}, and number {seen} was seen before")]
    Older {
        /// The project.
        project: ProjectId,
        /// The number on the card.
        number: u32,
        /// The highest number seen.
        seen: u32,
    },
    /// It names another custodian or another key than the one that a person confirmed.
    #[error("the card of project {project} names another {what} than the one that was confirmed")]
    Changed {
        /// The project.
        project: ProjectId,
        /// `custodian` or `key`.
        what: &'static str,
    },
}

impl Card {
    /// The card inside `signed`, if it speaks of `project`; the signer is the caller's to judge.
    pub fn open(
        signed: &SignedStatement,
        project: ProjectId,
    ) -> Result<(Self, PublicKey), CardError> {
        let (card, signer) = open_statement::<Self>(signed)?;
        if card.project != project {
            return Err(CardError::Project { card: card.project, asked: project });
        }
        Ok((card, signer))
    }

    /// Whether `self` may follow `seen`, the card that a person confirmed for this project.
    pub fn may_follow(&self, seen: &Self) -> Result<(), CardError> {
        let project = self.project;
        if self.number < seen.number {
            return Err(CardError::Older { project, number: self.number, seen: seen.number });
        }
        if self.custodian != seen.custodian {
            return Err(CardError::Changed { project, what: "custodian" });
        }
        if self.recipient != seen.recipient {
            return Err(CardError::Changed { project, what: "key" });
        }
        Ok(())
    }

    /// The digest and the six words that people compare.
    pub fn fingerprint(signed: &SignedStatement) -> (Digest, String) {
        let digest = digest_of(signed);
        (digest, phrase(&digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SigningKey, sign_statement};

    fn card() -> Card {
        Card {
            hub: "h".into(),
            project: ProjectId::generate(),
            custodian: Custodian::Platform,
            recipient: Bytes(vec![1; 1216]),
            number: 3,
            test: false,
            writers: vec![],
        }
    }

    #[test]
    fn a_card_of_another_project_is_refused() {
        let key = SigningKey::from_seed(&[1; 32]);
        let signed = sign_statement(&card(), &key);
        assert!(matches!(
            Card::open(&signed, ProjectId::generate()),
            Err(CardError::Project { .. })
        ));
    }

    #[test]
    fn a_pinned_card_is_followed_by_a_higher_number_with_the_same_key_only() {
        let seen = card();
        assert!(Card { number: 4, ..seen.clone() }.may_follow(&seen).is_ok());
        assert!(seen.may_follow(&seen).is_ok());
        assert!(matches!(
            Card { number: 2, ..seen.clone() }.may_follow(&seen),
            Err(CardError::Older { .. })
        ));
        let other_key = Card { recipient: Bytes(vec![2; 1216]), number: 4, ..seen.clone() };
        assert!(matches!(other_key.may_follow(&seen), Err(CardError::Changed { what: "key", .. })));
        let other_custodian = Card { custodian: Custodian::Owner, number: 4, ..seen.clone() };
        assert!(matches!(
            other_custodian.may_follow(&seen),
            Err(CardError::Changed { what: "custodian", .. })
        ));
    }
}
