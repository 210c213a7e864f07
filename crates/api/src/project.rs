//! Projects: who holds the key, who belongs to it, and how it changes hands.

use serde::{Deserialize, Serialize};

use crate::{AccountId, Bytes, OrganizationId, ProjectId, Sealed, Time, TransferId};

/// Who releases the dataset keys of a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Custodian {
    /// The operator's key: the hub can read when policy allows the caller.
    Platform,
    /// An organization's own key management service.
    Organization,
    /// The owner's twelve words: the hub never reads.
    Owner,
}

impl Custodian {
    /// The word on the wire and on pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Organization => "organization",
            Self::Owner => "owner",
        }
    }
}

/// What a member may do. Browse is not read: metadata without opening.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Right {
    /// Sees names, states and counts.
    Browse,
    /// Also opens data.
    Read,
    /// Also sends runs and launches apps into the project.
    Create,
    /// Also changes and deletes datasets.
    Write,
    /// Also adds and removes members.
    Admin,
    /// Everything, transfer and deletion of the project included.
    Owner,
}

/// A project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// Who holds the key.
    pub custodian: Custodian,
    /// The account that owns it.
    pub owner: AccountId,
    /// The organization that it belongs to, if it belongs to one.
    #[serde(default)]
    pub organization: Option<OrganizationId>,
    /// Its name, sealed under the project's own key.
    pub label: Sealed,
    /// Its name in clear, where the custodian lets the hub open it for the caller.
    pub name: Option<String>,
    /// The caller's right.
    pub right: Right,
    /// The number of the card in force.
    pub card_number: u32,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub created: Time,
    /// The moment until which the operator could read what it holds, if it was moved in by re-wrap alone.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub readable_by_operator_until: Option<Time>,
}

/// `POST /projects`. The caller makes the project's key and wraps it to the custodian.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateProject {
    /// The id, chosen by the caller so that a repeated call is the same call.
    pub id: ProjectId,
    /// Who shall hold the key.
    pub custodian: Custodian,
    /// The project's key, wrapped to the custodian (`seal::recipient`, context: the project as its own dataset, epoch 0, zero card digest).
    pub wrapped_key: Bytes,
    /// The name, sealed under that key with purpose `project name`.
    pub label: Sealed,
    /// The first card, signed by the owner (`proof::OwnerCard`), for a project that its owner holds; `null` for others.
    #[serde(default)]
    pub card: Option<SignedStatement>,
    /// The caller's organization, if it shall be the organization's.
    #[serde(default)]
    pub organization: Option<OrganizationId>,
}

/// A card with its signature, as `proof::card` makes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignedStatement {
    /// The exact bytes that were signed: canonical JSON, as text.
    pub statement: String,
    /// The Ed25519 signature, 64 bytes.
    pub signature: Bytes,
    /// The signer's Ed25519 public key, 32 bytes.
    pub signer: Bytes,
}

/// A member of a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Who.
    pub account: AccountId,
    /// By what name.
    pub name: String,
    /// What they may do.
    pub right: Right,
}

/// `PUT /projects/{id}/members/{account}`.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetMember {
    /// What they may do from now on; `owner` comes by transfer alone.
    pub right: Right,
}

/// Where an offer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TransferState {
    /// Waits for the other account.
    Offered,
    /// The project has changed hands.
    Accepted,
    /// The other account does not want it.
    Refused,
    /// The owner took the offer back.
    Withdrawn,
}

/// An offer to hand over a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    /// Its id.
    pub id: TransferId,
    /// Which project.
    pub project: ProjectId,
    /// From whom.
    pub from: AccountId,
    /// To whom.
    pub to: AccountId,
    /// Whether its datasets are written anew under new keys on acceptance.
    pub reseal: bool,
    /// Where it stands.
    pub state: TransferState,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub created: Time,
}

/// `POST /projects/{id}/transfer`.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OfferTransfer {
    /// To whom.
    pub to: AccountId,
    /// Write every dataset anew under new keys when it is accepted, so that no key kept by the old owner opens it.
    pub reseal: bool,
}

/// `DELETE /projects/{id}` and `DELETE /datasets/{id}`: names the thing once more.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfirmDeletion {
    /// The id of the thing, typed or copied by the person; the command line asks for its name and checks that itself.
    pub confirm: String,
    /// The owner's approval of kind `delete`, where a person holds the key; `null` elsewhere.
    #[serde(default)]
    pub approval: Option<crate::SignedApproval>,
}

/// What a deletion destroyed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Deletion {
    /// How many datasets.
    pub datasets: u64,
    /// How many sealed objects.
    pub objects: u64,
    /// Their size.
    pub sealed_bytes: u64,
    /// Facilities that were away and will erase when they come back.
    pub facilities_pending: Vec<String>,
    /// Until when the wrapped keys can still be in a sealed snapshot of the key store, whose own key ends then; absent where
    /// no snapshot has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub snapshots_until: Option<Time>,
}
