//! The trait, its contract, and the registry of those that this hub offers.

use std::fmt;
use std::sync::Arc;

use seal::recipient::RecipientKey;
use seal::wrap::DatasetContext;
use seal::{NoRandomness, WrapError};

use crate::{Appraised, Opened};

/// Why a key is released. A custodian decides on these alone; the caller has written the event before it asks.
#[derive(Debug, Clone, Copy)]
pub enum Grounds<'a> {
    /// The hub's policy allows this account the key, for a purpose that stands in the audit list.
    Policy {
        /// What for.
        purpose: &'a str,
    },
    /// A vault showed evidence for its task; the key goes to the recipient that this evidence binds, and no other.
    Vault(&'a Appraised),
}

/// Who holds the dataset keys of a project.
///
/// # Contract
/// 1. What [`adopt`](Self::adopt) gives back opens nothing without the custodian, and opens for one context only: another
///    dataset, project, card digest or epoch is refused as [`CustodyError::DoesNotOpen`].
/// 2. `adopt` accepts only what was wrapped to [`recipient`](Self::recipient) for that context, as far as the custodian can
///    know: an owner's has no key to look with. Adopting the same key twice may give other bytes; both stay good.
/// 3. [`release`](Self::release) wraps to the recipient it was given and no other, with the context as HPKE `info`. On
///    [`Grounds::Vault`] it refuses every recipient that the evidence does not bind.
/// 4. [`rewrap`](Self::rewrap) keeps the key and changes the context; the old bytes go on opening for the old context
///    until the key store has destroyed them, which is the caller's to see to.
/// 5. [`open_for_hub`](Self::open_for_hub) is `None` for a custodian whose data the hub never reads.
/// 6. Bytes of another custodian are refused as [`CustodyError::OtherCustodian`], before any key is touched; cut,
///    lengthened or changed bytes are refused and never panic.
/// 7. [`keep`](Self::keep) keeps the key of an [`Opened`] for the context that it was opened for, as `adopt` would have: so a dataset goes
///    from one custody that the hub reads into another, with nothing of it rewritten.
/// 8. No key stands in an error, a `Debug` text or a log line, and every copy is wiped when it is dropped.
///
/// The calls are async because a later custodian asks a key management service, or the owner's own device.
#[async_trait::async_trait]
pub trait Custodian: Send + Sync + fmt::Debug {
    /// Which custodian this is.
    fn kind(&self) -> api::Custodian;

    /// The X-Wing key to which outsiders wrap dataset keys, where one stands in the cards of all its projects; `None` where
    /// each project's card names its own.
    fn recipient(&self) -> Option<&RecipientKey>;

    /// Takes a dataset key that was wrapped to [`recipient`](Self::recipient), and gives it as it is kept at rest.
    ///
    /// # Errors
    /// [`CustodyError::DoesNotOpen`] if it was wrapped to another key or for another context.
    async fn adopt(&self, context: &DatasetContext, sent: &[u8]) -> Result<Vec<u8>, CustodyError>;

    /// Wraps the key to `to`.
    ///
    /// # Errors
    /// [`CustodyError::OtherRecipient`] if the grounds do not cover that recipient; what stands under the contract.
    async fn release(
        &self,
        context: &DatasetContext,
        kept: &[u8],
        to: &RecipientKey,
        grounds: Grounds<'_>,
    ) -> Result<Vec<u8>, CustodyError>;

    /// Gives the same key as it is kept for another context, or under the custodian's newest key for the same one.
    ///
    /// # Errors
    /// What stands under the contract.
    async fn rewrap(
        &self,
        from: &DatasetContext,
        kept: &[u8],
        to: &DatasetContext,
    ) -> Result<Vec<u8>, CustodyError>;

    /// Gives a key back as it was wrapped by whoever sent it, for the one who can open it; `None` where what is kept is the
    /// custodian's own affair.
    ///
    /// # Errors
    /// What stands under the contract.
    fn relay(
        &self,
        _context: &DatasetContext,
        _kept: &[u8],
    ) -> Result<Option<Vec<u8>>, CustodyError> {
        Ok(None)
    }

    /// Opens the key for what the hub itself may read, or gives `None` where it may read nothing.
    ///
    /// # Errors
    /// What stands under the contract.
    async fn open_for_hub(
        &self,
        context: &DatasetContext,
        kept: &[u8],
    ) -> Result<Option<Opened>, CustodyError>;

    /// Keeps a key that another custodian of this hub opened, for the context that it was opened for.
    ///
    /// # Errors
    /// [`CustodyError::OwnersAlone`] where only an owner's device wraps; what stands under the contract.
    async fn keep(&self, opened: &Opened) -> Result<Vec<u8>, CustodyError>;
}

/// Whose layout kept bytes have, by their first two; nothing for bytes that no custodian keeps.
#[must_use]
pub fn kept_by(kept: &[u8]) -> Option<api::Custodian> {
    match kept {
        [1, 1, ..] => Some(api::Custodian::Platform),
        [1, 2, ..] => Some(api::Custodian::Organization),
        [1, 3, ..] => Some(api::Custodian::Owner),
        _ => None,
    }
}

/// Why a custodian did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CustodyError {
    /// This hub offers no such custodian.
    #[error("this hub does not offer custody by the {}", words(*kind))]
    NotOffered {
        /// Which.
        kind: api::Custodian,
    },
    /// The wrapped key opens nothing here: another recipient, another context, or changed bytes.
    #[error("the wrapped key does not open for this dataset, project, card and epoch")]
    DoesNotOpen(#[source] WrapError),
    /// The bytes at rest are of another custodian, or of none.
    #[error("the wrapped key is not one that custody by the {} keeps", words(*kind))]
    OtherCustodian {
        /// The custodian that was asked.
        kind: api::Custodian,
    },
    /// It is wrapped under a key that is not in the key file.
    #[error(
        "the wrapped key names epoch {epoch} of platform key {id}, which the key file does not hold"
    )]
    UnknownKey {
        /// The platform key it names, in hex.
        id: String,
        /// Its epoch.
        epoch: u32,
    },
    /// The lease on the organization's keys has ended, or the customer has taken the key away.
    #[error("the lease on the organization's keys has ended")]
    LeaseEnded,
    /// An organization key of that version is not in use.
    #[error("the organization has no {} key of version {version} in use", purpose.as_str())]
    UnknownVersion {
        /// What it would be for.
        purpose: api::KeyPurpose,
        /// Its version.
        version: u32,
    },
    /// The salt of a field's index did not come from the customer's store of secrets.
    #[error("field {field} has no salt for version {version} of its index")]
    NoSalt {
        /// The field.
        field: String,
        /// The version of its index.
        version: u32,
        /// What the store said, if it was asked.
        #[source]
        cause: Option<Arc<crate::kms::KmsError>>,
    },
    /// Only the owner's device opens it, and it answers no hub.
    #[error("the key is the owner's alone: only the owner's device releases it")]
    OwnersAlone,
    /// The evidence binds another recipient than the one the key was to go to.
    #[error("the vault's evidence binds another recipient")]
    OtherRecipient,
    /// No randomness for a nonce.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

/// What a wrapping that failed means to whoever asked a custodian.
pub(crate) fn refused(error: WrapError) -> CustodyError {
    match error {
        WrapError::Random(none) => CustodyError::Random(none),
        other => CustodyError::DoesNotOpen(other),
    }
}

const fn words(kind: api::Custodian) -> &'static str {
    kind.as_str()
}

/// The custodians that this hub offers, one of each kind at most.
#[derive(Clone, Debug, Default)]
pub struct Custodians {
    offered: Vec<Arc<dyn Custodian>>,
}

impl Custodians {
    /// These, of which a later one of the same kind replaces an earlier one.
    #[must_use]
    pub fn new(custodians: impl IntoIterator<Item = Arc<dyn Custodian>>) -> Self {
        let mut offered: Vec<Arc<dyn Custodian>> = Vec::new();
        for custodian in custodians {
            offered.retain(|other| other.kind() != custodian.kind());
            offered.push(custodian);
        }
        Self { offered }
    }

    /// The custodian of that kind.
    ///
    /// # Errors
    /// [`CustodyError::NotOffered`] names the kind.
    pub fn get(&self, kind: api::Custodian) -> Result<&Arc<dyn Custodian>, CustodyError> {
        self.offered
            .iter()
            .find(|custodian| custodian.kind() == kind)
            .ok_or(CustodyError::NotOffered { kind })
    }

    /// Every one that is offered, with the key to which outsiders wrap.
    pub fn offered(&self) -> impl Iterator<Item = api::CustodianKey> + '_ {
        self.offered.iter().map(|custodian| api::CustodianKey {
            custodian: custodian.kind(),
            recipient: custodian.recipient().map(|key| api::Bytes(key.to_bytes())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_custodian_that_is_not_offered_is_named_in_the_refusal() {
        let none = Custodians::default();
        let refusal = none.get(api::Custodian::Owner).unwrap_err();
        assert_eq!(refusal.to_string(), "this hub does not offer custody by the owner");
        assert!(none.get(api::Custodian::Organization).is_err());
        assert_eq!(none.offered().count(), 0);
    }
}
