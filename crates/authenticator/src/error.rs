//! Why a device signs nothing.

use api::{ApprovalId, DatasetId, ProjectId};
use proof::CardError;

/// Why a device does not sign.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// What the hub shows does not fit together, or was made by somebody whom the card does not know.
    #[error("request {request} does not hold: {why}")]
    Request {
        /// Which request.
        request: ApprovalId,
        /// What is wrong with it.
        why: String,
    },
    /// The card is none, or may not follow the one that was seen.
    #[error("the card of project {project} does not hold")]
    Card {
        /// Whose card.
        project: ProjectId,
        /// What is wrong with it.
        source: CardError,
    },
    /// Somebody else's words signed the card, or they signed it for another hub.
    #[error("the card of project {project} is not one that your words signed for this hub")]
    OthersCard {
        /// Whose card.
        project: ProjectId,
    },
    /// The hub put another card in force than the one that was approved.
    #[error(
        "the hub put another card of project {project} in force than the one that you approved"
    )]
    OtherCard {
        /// Whose card.
        project: ProjectId,
    },
    /// What somebody offers is not what it should be.
    #[error("the offer of project {project} does not hold: {why}")]
    Offer {
        /// Which project.
        project: ProjectId,
        /// What is wrong with it.
        why: String,
    },
    /// A dataset goes into a project of an owner's, or is nothing that is copied.
    #[error("dataset {dataset} is not exported: {why}")]
    Export {
        /// Which dataset.
        dataset: DatasetId,
        /// Why not.
        why: &'static str,
    },
    /// The card leaves this device out.
    #[error("this device is not certified in the card of project {project}")]
    NotCertified {
        /// Whose card.
        project: ProjectId,
    },
    /// The hub shows older content than it showed before.
    #[error("the hub shows content {now} of dataset {dataset}, but showed content {then} before")]
    OlderContent {
        /// Of which dataset.
        dataset: DatasetId,
        /// The number that it shows.
        now: u32,
        /// The number that was seen.
        then: u32,
    },
    /// The hub shows two contents under one number.
    #[error("the hub shows another content {number} of dataset {dataset} than before")]
    OtherContent {
        /// Of which dataset.
        dataset: DatasetId,
        /// The number of both.
        number: u32,
    },
    /// A dataset that is not as its owner's device expects it.
    #[error("dataset {dataset} does not open here: {why}")]
    Dataset {
        /// Which.
        dataset: DatasetId,
        /// What is wrong with it.
        why: String,
    },
    /// Nobody said what it is for.
    #[error("whoever asks does not say what for")]
    NoPurpose,
    /// The card asks for the signature of a wallet that the words do not hold.
    #[error("the card asks for the signature of {address} as well, which is another wallet")]
    OtherWallet {
        /// The wallet.
        address: String,
    },
    /// Grants and starts name the vaults that they are for, and the card lists none.
    #[error("the card of project {project} lists no vault program that may open it")]
    NoVaultProgram {
        /// Whose card.
        project: ProjectId,
    },
    /// What would be signed cannot be made or shown.
    #[error("{what}: {why}")]
    Unmakable {
        /// What it was to be.
        what: &'static str,
        /// Why not.
        why: String,
    },
}

impl Refusal {
    /// Something that cannot be made, and why.
    pub(crate) fn unmakable(what: &'static str, why: impl std::fmt::Display) -> Self {
        Self::Unmakable { what, why: why.to_string() }
    }

    /// What to do next, where that is the same on every device.
    #[must_use]
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Card { .. } => {
                Some("approve nothing before you know why: the hub may show an old card")
            }
            Self::OthersCard { .. } => {
                Some("these words belong to somebody else, or the hub shows another card")
            }
            Self::OtherCard { .. } => {
                Some("what it holds may have gone to a key that you do not know: ask its operator")
            }
            Self::Offer { .. } => Some("refuse it, and ask whoever gave it for another one"),
            Self::NotCertified { .. } => {
                Some("approve on one that is, or certify this one: `chorion device add`")
            }
            Self::OlderContent { .. } => {
                Some("it may run on an old backup, or hide something: ask its operator")
            }
            Self::OtherContent { .. } => {
                Some("two contents were signed under one number: ask the hub's operator")
            }
            Self::NoPurpose => Some("ask them to launch it again with --purpose"),
            Self::OtherWallet { .. } => {
                Some("this version signs with the account of the words alone")
            }
            Self::NoVaultProgram { .. } => {
                Some("take those of a signed release list: `chorion approve update`")
            }
            Self::Request { .. }
            | Self::Dataset { .. }
            | Self::Export { .. }
            | Self::Unmakable { .. } => None,
        }
    }
}
