//! The project card (`spec/card.md`): who holds the key of a project, stated so that the hub cannot choose.
//!
//! The hub signs the card of a project whose key it may release ([`Card`]); an owner signs their own ([`OwnerCard`]). Whoever
//! seals or checks asks [`ProjectCard`], which is either, and never mistakes one for the other.

mod handover;
pub(crate) mod owner;

use api::{Bytes, Custodian, Digest, ProjectId, SignedStatement};
use serde::{Deserialize, Serialize};

pub use owner::{CardDevice, OwnerCard};

use crate::{PublicKey, Statement, StatementError, digest_of, open_statement, phrase};

/// The card of a project in platform custody. The digest of the signed text stands in the context of every dataset key wrapped under it.
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
    /// It says something that no card says.
    #[error("the card of project {project} does not hold: {why}")]
    Form {
        /// The project.
        project: ProjectId,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// A project's card, whoever holds its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ProjectCard {
    /// The hub signed it.
    Hub(Card),
    /// The owner signed it.
    Owner(OwnerCard),
}

impl ProjectCard {
    /// The card inside `signed`, if it speaks of `project`. An owner's card is signed by the owner key that it names;
    /// whether that, or the hub's key, is the one to go by is the caller's to judge.
    pub fn open(
        signed: &SignedStatement,
        project: ProjectId,
    ) -> Result<(Self, PublicKey), CardError> {
        let (card, signer) = match open_statement::<OwnerCard>(signed) {
            Ok((card, signer)) => {
                card.check()?;
                if signer != card.owner_key()? {
                    return Err(CardError::Signer { project, signer: signer.id() });
                }
                (Self::Owner(card), signer)
            }
            Err(StatementError::Kind { .. }) => {
                let (card, signer) = open_statement::<Card>(signed)?;
                if card.custodian == Custodian::Owner {
                    let why = "a project that its owner holds has another kind of card";
                    return Err(CardError::Form { project, why });
                }
                (Self::Hub(card), signer)
            }
            Err(other) => return Err(other.into()),
        };
        if card.project() != project {
            return Err(CardError::Project { card: card.project(), asked: project });
        }
        Ok((card, signer))
    }

    /// The hub's id.
    pub fn hub(&self) -> &str {
        match self {
            Self::Hub(card) => &card.hub,
            Self::Owner(card) => &card.hub,
        }
    }

    /// The project.
    pub const fn project(&self) -> ProjectId {
        match self {
            Self::Hub(card) => card.project,
            Self::Owner(card) => card.project,
        }
    }

    /// Who holds the key.
    pub const fn custodian(&self) -> Custodian {
        match self {
            Self::Hub(card) => card.custodian,
            Self::Owner(_) => Custodian::Owner,
        }
    }

    /// The X-Wing public key to which dataset keys are wrapped.
    pub fn recipient(&self) -> &[u8] {
        match self {
            Self::Hub(card) => &card.recipient.0,
            Self::Owner(card) => &card.recipient.0,
        }
    }

    /// Its number.
    pub const fn number(&self) -> u32 {
        match self {
            Self::Hub(card) => card.number,
            Self::Owner(card) => card.number,
        }
    }

    /// Whether it is a project for trying things out.
    pub const fn is_test(&self) -> bool {
        match self {
            Self::Hub(card) => card.test,
            Self::Owner(card) => card.test,
        }
    }

    /// Whether `self` may follow `seen`, the card that a person confirmed for this project.
    pub fn may_follow(&self, seen: &Self) -> Result<(), CardError> {
        match (self, seen) {
            (Self::Hub(card), Self::Hub(seen)) => card.may_follow(seen),
            (Self::Owner(card), Self::Owner(seen)) => card.may_follow(seen),
            _ if self.number() < seen.number() => Err(CardError::Older {
                project: self.project(),
                number: self.number(),
                seen: seen.number(),
            }),
            _ => Err(CardError::Changed { project: self.project(), what: "custodian" }),
        }
    }

    /// The digest and the six words that people compare.
    pub fn fingerprint(signed: &SignedStatement) -> (Digest, String) {
        let digest = digest_of(signed);
        (digest, phrase(&digest))
    }
}

impl Card {
    /// Whether `self` may follow `seen`, the card that a person confirmed for this project.
    fn may_follow(&self, seen: &Self) -> Result<(), CardError> {
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
            ProjectCard::open(&signed, ProjectId::generate()),
            Err(CardError::Project { .. })
        ));
        // A hub that signs a card of its own kind for an owner's project.
        let claims = Card { custodian: Custodian::Owner, ..card() };
        let signed = sign_statement(&claims, &key);
        assert!(matches!(ProjectCard::open(&signed, claims.project), Err(CardError::Form { .. })));
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
