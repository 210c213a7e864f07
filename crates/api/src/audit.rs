//! The audit list and the store's state, as operators and members see them.

use serde::{Deserialize, Serialize};

use crate::{DatasetId, Digest, EventId, RequestId, Time};

/// How an act ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is about to be done: on the disk before it begins.
    Intended,
    /// It was done.
    Done,
    /// It was refused.
    Refused,
    /// It was tried and failed.
    Failed,
}

/// One act: who did what to which thing, why, and how it ended. It never holds data, names or keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// Who: `account:ID`, `key:ID`, `vault:ID`, `hub`, or `nobody` for an unsigned call.
    pub actor: String,
    /// The act: `key.release`, `dataset.delete`, `project.transfer.accept`, …
    pub act: String,
    /// The thing: `dataset:ID`, `project:ID`, …
    pub object: String,
    /// What for, where the caller says so.
    pub purpose: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it was refused or failed: an error code.
    pub reason: Option<String>,
    /// The call.
    pub request_id: Option<RequestId>,
    /// Its leaf in the log (`spec/audit-log.md`); absent only where the hub lost it, which a caller takes as an alarm.
    pub leaf: Option<EventLeaf>,
}

/// Where an event stands in the log, and what opens the commitment that stands there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EventLeaf {
    /// Which leaf.
    pub index: u64,
    /// The salt of the commitment.
    pub salt: Digest,
    /// The pseudonym of the one who owned the thing then: the same for everything that is theirs.
    pub owner: Option<Digest>,
    /// The digest of the purpose, under a salt of its own.
    pub purpose: Option<Digest>,
    /// That salt; forgotten with the purpose when the project is deleted.
    pub purpose_salt: Option<Digest>,
    /// The approval that it was done on.
    pub approval: Option<Digest>,
    /// The evidence that a vault showed before.
    pub evidence: Option<Digest>,
    /// The signed statement that it is about: a manifest, a card, a receipt.
    pub statement: Option<Digest>,
}

/// `GET /audit/log`: where the log stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogState {
    /// The log's key, as a C2SP vkey.
    pub key: String,
    /// The newest checkpoint, a C2SP signed note.
    pub checkpoint: String,
    /// The pseudonym under which leaves name the caller's account.
    pub you: Digest,
}

/// A checkpoint with a witness's name under it: `PUT /audit/log/cosignatures`, and what is shown of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Cosigned {
    /// The witness's key, as a C2SP vkey.
    pub witness: String,
    /// The note.
    pub note: String,
}

/// A facility, as `GET /store` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FacilityStatus {
    /// Its id.
    pub id: String,
    /// Where it is.
    pub location: String,
    /// `healthy`, `behind`, `missing`, `read_only`, `full`, `draining`.
    pub state: String,
    /// How many blobs it holds.
    pub blobs: u64,
    /// Their size.
    pub bytes: u64,
    /// How much more it can take, where that is known.
    pub free_bytes: Option<u64>,
}

/// `GET /store`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StoreStatus {
    /// How many facilities must have synced before a write is acknowledged.
    pub write_quorum: u32,
    /// The facilities.
    pub facilities: Vec<FacilityStatus>,
}

/// `POST /store/facilities`: a facility to add.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddFacility {
    /// A directory of the hub's machine, or `s3://BUCKET/PREFIX?…`. It carries no secret.
    pub address: String,
}

/// `POST /store/drain`: a facility that is to leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrainFacility {
    /// Its id.
    pub facility: String,
    /// It is lost for good: nothing is copied, and what only it held is gone.
    pub lost: bool,
}

/// `POST /store/scrub`: what one pass over everything found and did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScrubOutcome {
    /// How many copies were read and hashed.
    pub copies_checked: u64,
    /// Their size.
    pub bytes_checked: u64,
    /// Copies whose bytes were wrong.
    pub corrupt: u64,
    /// Copies that were not there.
    pub missing: u64,
    /// Files that belong nowhere.
    pub misplaced: u64,
    /// Copies written anew from another facility.
    pub healed: u64,
    /// Blobs of which no facility has a good copy: their hashes.
    pub lost: Vec<Digest>,
    /// How long it took.
    pub elapsed_ms: u64,
}

/// `GET /health`, unsigned: alive, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// The hub's id.
    pub hub: String,
    /// The program's version.
    pub version: String,
    /// Its clock.
    #[schema(value_type = String, format = DateTime)]
    pub time: Time,
}

/// What the audit log says of keys that were released: a checkpoint, and the leaves below it that announced them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseLog {
    /// The checkpoint, a C2SP signed note.
    pub checkpoint: String,
    /// One leaf for each key.
    pub leaves: Vec<ReleaseLeaf>,
}

/// The leaf of the audit log that announced the release of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseLeaf {
    /// Whose key.
    pub dataset: DatasetId,
    /// Which leaf.
    pub leaf: u64,
}
