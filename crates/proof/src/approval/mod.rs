//! Approvals (`spec/approval.md`): the one message by which an owner lets something happen.
//!
//! An approval is a statement, so it has one spelling and nothing optional. What all kinds carry stands in [`Approval`], what
//! one kind adds in its [`Act`]. The device that signs builds it from what it checked itself, shows the sentences that
//! [`Approval::sentences`] computes from it, and signs those bytes; nobody sends it a text to show. Texts that the hub must
//! not read (purpose, settings) stand in it as digests of salted documents, which device and vault hold in clear.

mod act;
#[cfg(test)]
pub(crate) mod example;
mod sentence;
#[cfg(test)]
mod tests;

use api::{AccountId, Digest, KeyId, ProjectId, Purpose, SignedApproval, Time};
use serde::{Deserialize, Serialize};

pub use act::{
    Act, Boot, CodeUpdate, CustodianChange, Delete, Export, Input, KeyChange, Mode, Output,
    Program, RunApp, RunQuery, Share, StandingGrant, Transfer, VaultKeys, Writer,
};
pub use sentence::Private;

use crate::statement::canonical;
use crate::{
    BadTypedData, EthereumAddress, EthereumSignature, OwnerCard, PublicKey, SigningKey, Statement,
    StatementError, TypedData, open_statement, phrase, sha256, sign_statement,
};

/// For how long an approval counts unless a person says otherwise.
pub const APPROVAL_SECONDS: i64 = 15 * 60;
/// For how long one may count at most.
pub const MOST_APPROVAL_SECONDS: i64 = 24 * 60 * 60;
/// For how long a standing grant may count at most.
pub const MOST_GRANT_SECONDS: i64 = 30 * 24 * 60 * 60;
/// How often a standing grant may be used at most.
pub const MOST_GRANT_USES: u32 = 10_000;
/// How far two clocks may differ.
const SKEW_SECONDS: i64 = 60;

/// An approval, signed by a device's approval key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// The hub's id.
    pub hub: String,
    /// The project whose owner approves.
    pub project: ProjectId,
    /// The owner's card key, 32 bytes.
    pub owner: api::Bytes,
    /// The digest of the card in force, which certifies the device.
    pub card: Digest,
    /// The commitment to the purpose ([`commitment`]).
    pub purpose: Digest,
    /// On whose behalf it was asked for.
    pub requester: AccountId,
    /// 32 random bytes: this approval and no other.
    pub nonce: Digest,
    /// From when it counts.
    pub not_before: Time,
    /// Until when.
    pub expires: Time,
    /// The digest of the last checkpoint of the hub's log that the device saw; `null` where it saw none.
    pub checkpoint: Option<Digest>,
    /// What is approved.
    pub act: Act,
}

impl Statement for Approval {
    const KIND: &'static str = "chorion approval v1";
}

impl Statement for Purpose {
    const KIND: &'static str = "chorion purpose v1";
}

/// What stands in an approval for a purpose.
pub fn commitment(purpose: &Purpose) -> Digest {
    sha256(canonical(purpose).as_bytes())
}

/// Why an approval does not count.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApprovalError {
    /// It is no approval in its one spelling, or its signature is wrong.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// No device of the card signed it.
    #[error("the approval is signed by key {signer}, which the card does not certify as a device")]
    Device {
        /// Who signed it.
        signer: KeyId,
    },
    /// It speaks of something else.
    #[error("the approval is for another {what}")]
    Other {
        /// Of what: `hub`, `project`, `owner`, `card`, `task`, `vault key`, …
        what: &'static str,
    },
    /// It is over, or not yet in force.
    #[error("the approval counts from {from} to {to}, and it is {now}")]
    Time {
        /// From when it counts.
        from: Time,
        /// Until when.
        to: Time,
        /// The reader's clock.
        now: Time,
    },
    /// It says something that no approval says.
    #[error("the approval does not hold: {why}")]
    Form {
        /// What is wrong with it.
        why: &'static str,
    },
    /// The second signature is missing, wrong, or nobody asked for it.
    #[error("the approval's second signature does not hold: {why}")]
    Second {
        /// What is wrong with it.
        why: &'static str,
    },
}

impl From<BadTypedData> for ApprovalError {
    fn from(_: BadTypedData) -> Self {
        Self::Second { why: "the approval has no form that a wallet signs" }
    }
}

/// An approval whose signatures were checked against a card: [`Approval::open`] alone makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    approval: Approval,
    digest: Digest,
    device: PublicKey,
}

impl Verified {
    /// What was approved.
    pub const fn approval(&self) -> &Approval {
        &self.approval
    }

    /// The digest of the signed text.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The device that signed it.
    pub const fn device(&self) -> PublicKey {
        self.device
    }

    /// Refuses it outside of its time. Clocks may differ by a minute at the beginning; at the end there is no grace.
    pub fn in_force(&self, now: Time) -> Result<&Self, ApprovalError> {
        let Approval { not_before: from, expires: to, .. } = self.approval;
        let early = now.as_second() + SKEW_SECONDS < from.as_second();
        if early || now >= to { Err(ApprovalError::Time { from, to, now }) } else { Ok(self) }
    }
}

impl Approval {
    /// The text that is signed.
    pub fn text(&self) -> String {
        canonical(self)
    }

    /// The digest of that text, which keys are released for and receipts name.
    pub fn digest(&self) -> Digest {
        sha256(self.text().as_bytes())
    }

    /// Six words of the digest.
    pub fn phrase(&self) -> String {
        phrase(&self.digest())
    }

    /// What an Ethereum wallet signs as the second signer (`spec/typed-data.md`).
    pub fn typed_data(&self) -> Result<TypedData, BadTypedData> {
        TypedData::of_statement(&self.text())
    }

    /// Signs it with a device's approval key.
    pub fn sign(&self, device: &SigningKey, second: Option<EthereumSignature>) -> SignedApproval {
        SignedApproval {
            approval: sign_statement(self, device),
            second: second.map(|signature| api::Bytes(signature.to_bytes().to_vec())),
        }
    }

    /// The approval inside, if a device of this card signed it, the second signer did where the card names one, and it
    /// speaks of the card's hub, project and owner. `card` must be the card in force, checked by the caller.
    pub fn open(signed: &SignedApproval, card: &OwnerCard) -> Result<Verified, ApprovalError> {
        let (approval, signer) = open_statement::<Self>(&signed.approval)?;
        if card.device(&signer).is_none() {
            return Err(ApprovalError::Device { signer: signer.id() });
        }
        let other = |what| Err(ApprovalError::Other { what });
        if approval.hub != card.hub {
            return other("hub");
        }
        if approval.project != card.project {
            return other("project");
        }
        if approval.owner != card.owner {
            return other("owner");
        }
        if approval.card != card.digest() {
            return other("card");
        }
        approval.check()?;
        match (&card.second_signer, &signed.second) {
            (None, None) => {}
            (None, Some(_)) => {
                return Err(ApprovalError::Second { why: "the card asks for none" });
            }
            (Some(_), None) => return Err(ApprovalError::Second { why: "it is missing" }),
            (Some(address), Some(bytes)) => {
                let wrong = |why| ApprovalError::Second { why };
                let address: EthereumAddress =
                    address.parse().map_err(|_| wrong("the card's second signer is no address"))?;
                let signature = EthereumSignature::from_bytes(&bytes.0)
                    .map_err(|_| wrong("it is no signature of Ethereum"))?;
                let digest = approval.typed_data()?.digest()?;
                if signature.recover(&digest) != Ok(address) {
                    return Err(wrong("another account signed it"));
                }
            }
        }
        let digest = approval.digest();
        Ok(Verified { approval, digest, device: signer })
    }

    /// Refuses what no approval may say, whoever signed it.
    pub fn check(&self) -> Result<(), ApprovalError> {
        let wrong = |why| Err(ApprovalError::Form { why });
        let seconds = self.expires.as_second() - self.not_before.as_second();
        if seconds <= 0 || seconds > MOST_APPROVAL_SECONDS {
            return wrong("it counts for longer than a day, or for no time at all");
        }
        if self.hub.is_empty() || self.hub.len() > 200 {
            return wrong("the hub's id is none");
        }
        self.act.check(self.not_before)
    }
}
