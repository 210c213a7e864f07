//! What an owner's device is asked for, and what it answers: the hub relays both and opens neither.

use serde::{Deserialize, Serialize};

use crate::{
    AccountId, App, ApprovalId, Bytes, DatasetId, DatasetKind, Digest, ProjectId, Release,
    ReleaseLog, Sealed, SessionId, SignedStatement, TaskId, TaskKind, Time,
};

/// What something is for, in a person's words; salted, so that its digest tells nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Purpose {
    /// 32 random bytes.
    pub salt: Digest,
    /// The words.
    pub text: String,
}

/// An approval as it was signed: by a device, and by an Ethereum wallet where the card asks for that too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignedApproval {
    /// The approval (`proof::Approval`), signed by a device's approval key.
    pub approval: SignedStatement,
    /// The EIP-712 signature of the card's second signer, 65 bytes; `null` where the card names none.
    pub second: Option<Bytes>,
}

/// Where a request for an approval stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalState {
    /// Waits for the owner.
    Pending,
    /// The owner approved it; its vault has not fetched it yet.
    Approved,
    /// Its vault has it. It counts no second time.
    Used,
    /// The owner does not want it.
    Refused,
    /// Nobody answered in time, or its vault is gone.
    Expired,
}

/// A request for an approval, as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalRequest {
    /// Its id.
    pub id: ApprovalId,
    /// Whose owner is asked.
    pub project: ProjectId,
    /// The task that waits for it.
    pub task: TaskId,
    /// What that task does.
    pub kind: TaskKind,
    /// On whose behalf, as the hub says.
    pub requester: AccountId,
    /// Where it stands.
    pub state: ApprovalState,
    /// Why it was refused, in words that carry no data.
    pub reason: Option<String>,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub created: Time,
    /// Until when an answer is taken.
    #[schema(value_type = String, format = DateTime)]
    pub expires: Time,
}

/// A dataset that a waiting task reads or writes, with everything that says which one it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AskedDataset {
    /// The input's name in the app's manifest; `result` for what the task writes.
    pub name: String,
    /// What the dataset is.
    pub kind: DatasetKind,
    /// Its key: for a dataset of the owner who is asked, wrapped to that owner; `null` for one in other custody.
    pub key: Option<Release>,
    /// Which dataset.
    pub dataset: DatasetId,
    /// Its project.
    pub project: ProjectId,
    /// Its signed manifest; `null` for what is yet to be written.
    pub manifest: Option<SignedStatement>,
    /// The signed card in force when it was made.
    pub card: SignedStatement,
    /// The approval that made a vault's key a writer of it, where its manifest is signed by one.
    pub written_under: Option<WrittenUnder>,
    /// Its name, sealed under its key with purpose `dataset name`.
    pub label: Sealed,
}

/// `GET /approvals/{id}`: what a device needs to judge a request by itself. Nothing in it is to be believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalDetail {
    /// The request.
    pub request: ApprovalRequest,
    /// The card in force.
    pub card: SignedStatement,
    /// The first card of each later owner, as the owner before signed it: they let a card follow one of another owner.
    pub handovers: Vec<SignedStatement>,
    /// The vault's evidence.
    pub evidence: SignedStatement,
    /// The app, for tasks that run one.
    pub app: Option<App>,
    /// The app session, for those.
    pub session: Option<SessionId>,
    /// What the task reads, the app's package included.
    pub inputs: Vec<AskedDataset>,
    /// What an app writes.
    pub result: Option<AskedDataset>,
    /// The sealed settings: under the result's key for an app, under the input's for the other kinds.
    pub settings: Option<Sealed>,
}

/// An approval of kind `boot`, and the card that certifies the device which signed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BootGiven {
    /// The approval.
    pub approval: SignedApproval,
    /// The card in force when it was given.
    pub card: SignedStatement,
}

/// `POST /approvals/{id}/approve`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GiveApproval {
    /// The approval.
    pub approval: SignedApproval,
    /// The dataset keys that it lists, each sealed to the vault's key for this approval (`spec/approval.md`).
    pub keys: Vec<Release>,
}

/// `POST /approvals/{id}/refuse`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefuseApproval {
    /// Why, in words that carry no data: 1 to 64 small letters, digits, spaces, hyphens and dots.
    pub reason: String,
}

/// `GET /tasks/{id}/approvals`, asked by the vault that waits: every approval that its task needs, as far as it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskApproval {
    /// Which request.
    pub id: ApprovalId,
    /// Whose owner was asked.
    pub project: ProjectId,
    /// Where it stands.
    pub state: ApprovalState,
    /// Why it was refused, for whoever asked.
    pub reason: Option<String>,
    /// The owner's answer: the hub gives it to this vault and to no other.
    pub given: Option<GiveApproval>,
    /// The card in force when it was given, which certifies the device that signed it.
    pub card: Option<SignedStatement>,
    /// The first card of each later owner, as the owner before signed it: they let a card follow one of another owner.
    pub handovers: Vec<SignedStatement>,
    /// What the audit log says of the release, once the keys are here.
    pub log: Option<ReleaseLog>,
}

/// Under which approval a vault wrote a dataset, and the card that certified its device then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WrittenUnder {
    /// The approval: it names the vault's receipt key and the dataset.
    pub approval: SignedApproval,
    /// The card that the approval names.
    pub card: SignedStatement,
}

/// `GET /datasets/{id}/key` and `GET /projects/{id}/key`: a key that its owner alone can open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OwnerKey {
    /// The key, wrapped to the owner.
    pub release: Release,
    /// The card in force.
    pub card: SignedStatement,
    /// The first card of each later owner, as the owner before signed it: they let a card follow one of another owner.
    pub handovers: Vec<SignedStatement>,
    /// The approval that made a vault's key a writer of it, where its manifest is signed by one.
    pub written_under: Option<WrittenUnder>,
}

/// `POST /datasets/{id}/share`: an approval of kind `share`, with the key for whom it names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ShareDataset {
    /// The approval.
    pub approval: SignedApproval,
    /// The dataset key, wrapped to the other person's X-Wing key.
    pub key: Release,
}
