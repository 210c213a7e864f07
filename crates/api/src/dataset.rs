//! Datasets: what one dataset key opens. A run, a sample, an app result and an app's package are datasets.

use serde::{Deserialize, Serialize};

use crate::{
    AccountId, Bytes, Custodian, DatasetId, Digest, ObjectRef, ProjectId, Sealed, SessionId,
    SignedStatement, TaskId, Time,
};

/// What a dataset is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DatasetKind {
    /// A run folder.
    Run,
    /// The reads of one sample.
    Sample,
    /// What an app made in one session.
    Result,
    /// An app's package.
    App,
}

impl DatasetKind {
    /// The word on the wire and in sentences.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Sample => "sample",
            Self::Result => "result",
            Self::App => "app",
        }
    }
}

/// Where the making of a dataset stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionState {
    /// Its objects are arriving.
    Receiving,
    /// Closed by a signed manifest that the hub compared; a task of it is waiting or running.
    Processing,
    /// Whole.
    Complete,
    /// Stopped growing, was aborted or lacks its completion mark: a person decides.
    NeedsAttention,
    /// Given up, by a person or by a task that failed.
    Failed,
    /// A later demultiplexing made a newer one of it.
    Superseded,
}

/// What was said of its quality.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum QualityState {
    /// Nobody has judged it.
    Unknown,
    /// Good.
    Passed,
    /// Not good.
    Failed,
}

/// Whether it was handed on to whom it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// Not yet.
    Pending,
    /// Held back by a person.
    OnHold,
    /// Handed on.
    Delivered,
}

/// A dataset as lists and pages show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Dataset {
    /// Its id.
    pub id: DatasetId,
    /// What it is.
    pub kind: DatasetKind,
    /// To which project it belongs.
    pub project: ProjectId,
    /// Who holds its key.
    pub custodian: Custodian,
    /// Whose account made it: for a run, who started it.
    pub owner: AccountId,
    /// Its name, sealed under its dataset key.
    pub label: Sealed,
    /// Its name in clear, where the custodian lets the hub open it for the caller.
    pub name: Option<String>,
    /// Where it stands.
    pub execution: ExecutionState,
    /// Why it needs attention or failed, in words that carry no data.
    pub reason: Option<String>,
    /// What was said of its quality.
    pub quality: QualityState,
    /// Whether it was handed on.
    pub delivery: DeliveryState,
    /// The run or the first input it was made from.
    pub parent: Option<DatasetId>,
    /// The app session that made it, for results.
    pub session: Option<SessionId>,
    /// The task that made it.
    pub task: Option<TaskId>,
    /// How many reads (pairs count twice), for samples.
    pub reads: Option<u64>,
    /// The key epoch: raised by each re-seal.
    pub epoch: u32,
    /// The digest of the card under which its key is wrapped.
    pub card_digest: Digest,
    /// How many sealed objects.
    pub objects: u64,
    /// Their size.
    pub sealed_bytes: u64,
    /// The number of the manifest in force; 0 while there is none.
    pub manifest_number: u32,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub created: Time,
    /// The last change of state.
    #[schema(value_type = String, format = DateTime)]
    pub changed: Time,
}

/// `POST /datasets`: a run by a broker or a person, an app by its author, samples and results by the vault that makes them.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateDataset {
    /// The id, chosen by the caller so that a repeated call is the same call.
    pub id: DatasetId,
    /// What it is.
    pub kind: DatasetKind,
    /// Into which project.
    pub project: ProjectId,
    /// The digest of the card to whose custodian the key is wrapped; refused if it is not the card in force.
    pub card_digest: Digest,
    /// The dataset key, wrapped to the card's recipient (`seal::recipient`, context of this dataset, epoch 0).
    pub wrapped_key: Bytes,
    /// The name, sealed under the dataset key with purpose `dataset name`.
    pub label: Sealed,
    /// What the vault needs to know and the hub need not: sealed JSON, purpose `dataset settings`. For a run: `RunSettings`.
    pub settings: Option<Sealed>,
    /// The run or the first input.
    pub parent: Option<DatasetId>,
    /// How many reads, for samples.
    pub reads: Option<u64>,
}

/// What a broker seals into a run's `settings` for the task that demultiplexes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSettings {
    /// Where each `Sample_Project` goes.
    pub projects: std::collections::BTreeMap<String, ProjectId>,
    /// Where samples go whose `Sample_Project` is none of `projects`. If absent, such a name is an error before work starts,
    /// and samples without a `Sample_Project` stay in the run's own project.
    pub default_project: Option<ProjectId>,
    /// Demultiplex when the run closes.
    pub demultiplex: bool,
}

/// What the hub answers when W facilities and both places of the key store hold an object: it is safe to forget it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Acknowledged {
    /// Which object.
    pub object: ObjectRef,
    /// The SHA-256 of its sealed bytes.
    pub hash: Digest,
    /// Their number.
    pub sealed_bytes: u64,
}

/// A sealed object of a dataset, with the wrapped key that opens it under the dataset key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SealedObject {
    /// Which object.
    pub object: ObjectRef,
    /// The SHA-256 of its sealed bytes.
    pub hash: Digest,
    /// Their number.
    pub sealed_bytes: u64,
    /// The key epoch it is sealed under.
    pub epoch: u32,
    /// Its data key under the dataset key, 60 bytes (`seal::wrap`).
    pub wrapped_key: Bytes,
}

/// `POST /datasets/{id}/objects/have`: which of these arrived?
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HaveQuery {
    /// At most 1000 objects.
    pub objects: Vec<ObjectRef>,
}

/// The answer: those that are acknowledged.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HaveAnswer {
    /// The acknowledged ones among those asked for.
    pub objects: Vec<Acknowledged>,
}

/// `POST /datasets/{id}/manifest`: closes or replaces the dataset's content.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutManifest {
    /// The manifest as its writer signed it (`proof::manifest`).
    pub manifest: SignedStatement,
    /// How many reads, where that is known only now: for samples.
    #[serde(default)]
    pub reads: Option<u64>,
}

/// `POST /datasets/{id}/release`: wrap the dataset key to this recipient, if the custodian agrees.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseRequest {
    /// The X-Wing public key to wrap to, 1216 bytes.
    pub recipient: Bytes,
    /// What for: `download`, `list`, …; stands in the audit list.
    pub purpose: String,
}

/// A dataset key, wrapped to the recipient that was named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Which dataset.
    pub dataset: DatasetId,
    /// Its project: part of the context.
    pub project: ProjectId,
    /// The card digest: part of the context.
    pub card_digest: Digest,
    /// The key epoch: part of the context.
    pub epoch: u32,
    /// The key (`seal::recipient` with `DatasetContext` as info).
    pub wrapped_key: Bytes,
    /// Which leaf of the audit log announced it: it was on the disk before the key left. `null` where no hub released the
    /// key, as in the state of an import, whose key was made here.
    pub leaf: Option<u64>,
}

/// A file of a dataset, where the custodian lets the hub open the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// The path inside the dataset.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// The SHA-256 of its content.
    pub sha256: Digest,
}

/// `POST /runs/{id}/close`: a person decides about a run that grows no more.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CloseRun {
    /// `complete`: take it as it is; `failed`: give it up.
    pub as_state: ExecutionState,
}

/// `POST /runs/{id}/attention`: the broker says that the folder grows no more.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunAttention {
    /// Why, in words that carry no data: one of the broker's fixed sentences.
    pub reason: String,
}

/// `POST /runs/{id}/requeue`: demultiplex again without sending again.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Requeue {
    /// `RequeueSettings`, sealed under the run's dataset key with purpose `requeue settings`.
    pub settings: Sealed,
}

/// What a person seals for a second demultiplexing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequeueSettings {
    /// The sample sheet to use instead of the run's own.
    pub sample_sheet: Option<String>,
    /// Where each `Sample_Project` goes.
    pub projects: std::collections::BTreeMap<String, ProjectId>,
    /// As in [`RunSettings`].
    pub default_project: Option<ProjectId>,
}
