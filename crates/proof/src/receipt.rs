//! The receipt that closes every task (`spec/receipt.md`), signed by the key that the vault's evidence binds.

use api::{Custodian, DatasetId, Digest, TaskId, TaskKind, Time};
use serde::{Deserialize, Serialize};

use crate::{EvidenceKind, Statement};

/// What released a dataset key to the vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Released {
    /// The hub's policy, under platform custody.
    Policy,
}

/// A dataset that went in or came out, at one version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptOutput {
    /// Which dataset.
    pub dataset: DatasetId,
    /// The digest of its manifest.
    pub manifest: Digest,
}

/// A receipt without log fields: this version is for hubs that keep no Merkle log, and says so by its kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The hub.
    pub hub: String,
    /// The task.
    pub task: TaskId,
    /// What it did.
    pub kind: TaskKind,
    /// Who holds the keys of its inputs.
    pub custodian: Custodian,
    /// What released them.
    pub released: Released,
    /// How the vault proved what it is.
    pub evidence: EvidenceKind,
    /// The digest of that evidence.
    pub evidence_digest: Digest,
    /// The app's digest; `null` for tasks of the vault itself.
    pub app: Option<Digest>,
    /// What it read.
    pub inputs: Vec<ReceiptOutput>,
    /// What it wrote.
    pub outputs: Vec<ReceiptOutput>,
    /// Whether the outputs are all there.
    pub complete: bool,
    /// When the vault claimed the task.
    pub started: Time,
    /// When it was done.
    pub ended: Time,
}

impl Statement for Receipt {
    const KIND: &'static str = "chorion receipt v1 without log";
}
