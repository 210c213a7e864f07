//! A project that its owner holds goes into other hands: another person's, other words of the same one, another custodian's.

use serde::{Deserialize, Serialize};

use crate::{DatasetId, ProjectId, Release, SignedApproval, SignedStatement};

/// `POST /projects/{id}/handover`: an approval of kind `key_change`, `transfer` or `custodian_change`, and the next card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BeginHandover {
    /// The owner's approval.
    pub approval: SignedApproval,
    /// The next card as the owner of before signs it, with the key of the words.
    pub card: SignedStatement,
}

/// `PUT /projects/{id}/handover`: dataset keys, each wrapped to whoever holds them next, at its own place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HandoverKeys {
    /// The keys, 100 at most. The project's own key has the project's id for a dataset.
    pub keys: Vec<Release>,
}

/// `POST /projects/{id}/handover/finish` and `POST /transfers/{id}/take`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FinishHandover {
    /// The next card as its own owner signs it; `null` where the hub signs it, for it holds the key from then on.
    pub card: Option<SignedStatement>,
}

/// How far a hand-over is. Until it is finished nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Handover {
    /// Which project.
    pub project: ProjectId,
    /// The owner's approval.
    pub approval: SignedApproval,
    /// The next card as the owner of before signed it.
    pub card: SignedStatement,
    /// How many keys have to be wrapped anew: one for each dataset, and the project's own.
    pub total: u64,
    /// Those that are not yet here, 100 at most at once; the project's own under the project's id.
    pub missing: Vec<DatasetId>,
}

/// `PUT /projects/{id}/card`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutCard {
    /// The next card.
    pub card: SignedStatement,
    /// The owner's approval of kind `code_update`, where the card lists other measurements than the one before; `null` elsewhere.
    pub approval: Option<SignedApproval>,
}

/// `POST /datasets/{id}/export`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportDataset {
    /// The owner's approval of kind `export`: it names what goes, and the dataset that it becomes.
    pub approval: SignedApproval,
}
