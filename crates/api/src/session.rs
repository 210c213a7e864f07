//! App sessions and the tasks that vaults run for them.

use serde::{Deserialize, Serialize};

use crate::{
    AccountId, App, AppId, Bytes, DatasetId, DatasetKind, Digest, ProjectId, Release, Sealed,
    SessionId, SignedStatement, TaskId, Time,
};

/// Where an app session or a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// Waits for an engine.
    Queued,
    /// A vault has claimed it.
    Running,
    /// Done; its receipt is there.
    Complete,
    /// Ended without its outputs; the reason says why.
    Failed,
    /// Stopped by a person.
    Cancelled,
}

/// What a task does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// A run becomes samples.
    Demultiplex,
    /// An app turns inputs into a result.
    App,
    /// A dataset is written anew under a new key.
    Reseal,
    /// A typed query is answered.
    Query,
}

impl TaskKind {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Demultiplex => "demultiplex",
            Self::App => "app",
            Self::Reseal => "reseal",
            Self::Query => "query",
        }
    }
}

/// One input of an app session: some files of a dataset under the name the app's manifest gives them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionInput {
    /// The input's name in the app's manifest.
    pub name: String,
    /// From which dataset.
    pub dataset: DatasetId,
}

/// `POST /appsessions`: launches an app.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Launch {
    /// The id, chosen by the caller so that a repeated call is the same call.
    pub id: SessionId,
    /// Which app; `63686f72-696f-6e20-7175-6572792f3100` asks a query of the one input.
    pub app: AppId,
    /// Its inputs.
    pub inputs: Vec<SessionInput>,
    /// Into which project the result goes.
    pub project: ProjectId,
    /// The session key, wrapped to the output project's card: it seals the settings below, and becomes the result's dataset key.
    pub wrapped_key: Bytes,
    /// The id of the result to be, chosen by the caller: the context of the wrapped key.
    pub result: DatasetId,
    /// The digest of the output project's card.
    pub card_digest: Digest,
    /// `LaunchSettings`, or `QueryRequest` for a query, sealed under the session key with purpose `launch settings`.
    pub settings: Sealed,
    /// The result's name, sealed under the session key with purpose `dataset name`.
    pub label: Sealed,
}

/// What a person seals for an app: which files, and the form's values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaunchSettings {
    /// Values of the form, by field name.
    pub params: std::collections::BTreeMap<String, String>,
    /// Patterns that choose files of an input dataset (`*.bam`), by input name; all files of the manifest's type if absent.
    pub files: std::collections::BTreeMap<String, Vec<String>>,
    /// What it is for, where an owner is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<crate::Purpose>,
}

/// An app session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AppSession {
    /// Its id.
    pub id: SessionId,
    /// Which app.
    pub app: AppId,
    /// The app's name, for lists.
    pub app_name: String,
    /// The app's version, for lists.
    pub app_version: String,
    /// The digest that the vault checked.
    pub app_digest: Digest,
    /// Who launched it.
    pub owner: AccountId,
    /// Its inputs.
    pub inputs: Vec<SessionInput>,
    /// Into which project the result goes.
    pub project: ProjectId,
    /// The result: there once the session is complete.
    pub result: DatasetId,
    /// Where it stands.
    pub state: TaskState,
    /// Why it failed, in words that carry no data.
    pub reason: Option<String>,
    /// The task that runs it.
    pub task: TaskId,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub created: Time,
    /// When a vault claimed it.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started: Option<Time>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended: Option<Time>,
}

/// A task as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// What it does.
    pub kind: TaskKind,
    /// Where it stands.
    pub state: TaskState,
    /// The dataset it is about: the run, the first input, the dataset to re-seal.
    pub subject: DatasetId,
    /// The app session, for kind `app`.
    pub session: Option<SessionId>,
    /// On whose behalf.
    pub owner: AccountId,
    /// Why it failed, in words that carry no data.
    pub reason: Option<String>,
    /// How far it is, 0 to 100, as the vault last said.
    pub percent: u8,
    /// The signed receipt, once it has ended in a vault.
    pub receipt: Option<SignedStatement>,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub created: Time,
    /// When a vault claimed it.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started: Option<Time>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended: Option<Time>,
}

/// `POST /tasks/{id}/claim`: a vault shows what it is and takes the task. Signed by the vault's receipt key.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimTask {
    /// The one-time ticket that the engine gave this vault.
    pub ticket: String,
    /// The vault's evidence, signed by its receipt key (`proof::evidence`): it binds both keys.
    pub evidence: SignedStatement,
}

/// What a vault gets when policy lets it have the task.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimedTask {
    /// The task.
    pub task: Task,
    /// The hub, for receipts.
    pub hub: String,
    /// Each input: the released key, wrapped to the vault, and the manifest to check against.
    pub inputs: Vec<ClaimedInput>,
    /// The app's package, for kind `app`.
    pub app: Option<App>,
    /// For kind `app`: the result to make, its key released to the vault.
    pub result: Option<ClaimedResult>,
    /// `RunSettings` or `RequeueSettings`, sealed under the run's key, for kind `demultiplex`.
    pub settings: Option<Sealed>,
    /// Which of the two `settings` is.
    pub requeue: bool,
    /// Whether the run goes on arriving: what is made of it so far is a result for the task after this one.
    pub early: bool,
    /// A checkpoint of the audit log that has the leaf of every release above, for the receipt: a C2SP signed note.
    pub checkpoint: String,
}

/// Where a vault gets a dataset's key from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClaimedKey {
    /// The custodian released it to the vault's X-Wing key.
    Released(Release),
    /// The owner's device releases it with an approval: `GET /tasks/{id}/approvals` has it then.
    Awaited(KeyPlace),
}

/// Which dataset, in which project, under which card, which epoch: the place that a key opens for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyPlace {
    /// Which dataset.
    pub dataset: DatasetId,
    /// Its project.
    pub project: ProjectId,
    /// The card that its key is wrapped under.
    pub card_digest: Digest,
    /// The key epoch.
    pub epoch: u32,
}

impl ClaimedKey {
    /// The place of the key.
    pub const fn place(&self) -> KeyPlace {
        match self {
            Self::Released(release) => release.place(),
            Self::Awaited(place) => *place,
        }
    }
}

impl Release {
    /// The place of the key.
    pub const fn place(&self) -> KeyPlace {
        KeyPlace {
            dataset: self.dataset,
            project: self.project,
            card_digest: self.card_digest,
            epoch: self.epoch,
        }
    }
}

/// An input of a claimed task.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimedInput {
    /// The input's name in the app's manifest; `run`, `dataset` or `package` for the others.
    pub name: String,
    /// What the dataset is.
    pub kind: DatasetKind,
    /// Its key, or who will release it.
    pub key: ClaimedKey,
    /// Its signed manifest.
    pub manifest: SignedStatement,
    /// The signed card its key is wrapped under.
    pub card: SignedStatement,
    /// Its name, sealed under its key with purpose `dataset name`.
    pub label: Sealed,
}

/// The result that an app task makes.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimedResult {
    /// The result's key, or who will release it.
    pub key: ClaimedKey,
    /// `LaunchSettings`, sealed under it with purpose `launch settings`.
    pub settings: Sealed,
}

/// `POST /tasks/{id}/progress`: the vault is alive.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskProgress {
    /// 0 to 100.
    pub percent: u8,
}

/// `POST /tasks/{id}/end`: the receipt closes the task.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndTask {
    /// Whether the outputs are there.
    pub complete: bool,
    /// Why not, in words that carry no data.
    pub reason: Option<String>,
    /// The receipt, signed by the vault's receipt key (`proof::receipt`).
    pub receipt: SignedStatement,
}

/// `POST /tasks/{id}/reseal`: the new key of a dataset that is written anew.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BeginReseal {
    /// The epoch of the new key: the dataset's plus one.
    pub epoch: u32,
    /// The digest of the card in force, to whose recipient the key is wrapped.
    pub card_digest: Digest,
    /// The new dataset key.
    pub wrapped_key: Bytes,
    /// The name, sealed under the new key.
    pub label: Sealed,
    /// The settings, sealed under the new key, where the dataset has some.
    pub settings: Option<Sealed>,
}
