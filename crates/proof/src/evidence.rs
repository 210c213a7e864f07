//! What a vault without SEV-SNP says of itself. A type of its own, so that it can never pass for an attestation.

use api::{Bytes, TaskId, Time};
use serde::{Deserialize, Serialize};

use crate::Statement;

/// How a vault proved what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceKind {
    /// By nothing: its memory is open to the machine's administrator. NOT CONFIDENTIAL.
    Unattested,
}

/// The statement of an unattested vault, signed by its receipt key: it binds both keys of the vault to one task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnattestedEvidence {
    /// Says in the signed text itself what this is.
    pub kind: EvidenceKind,
    /// The task it wants.
    pub task: TaskId,
    /// The X-Wing public key to which dataset keys are wrapped for it, 1216 bytes.
    pub recipient: Bytes,
    /// The program's version.
    pub program: String,
    /// When it was made.
    pub at: Time,
}

impl Statement for UnattestedEvidence {
    const KIND: &'static str = "chorion unattested evidence v1";
}
