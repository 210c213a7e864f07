//! What a vault says of itself before keys go to it: with a report of its security processor, or that it can prove nothing.
//!
//! Two types, so that one can never pass for the other. Both are signed by the vault's receipt key and bind it, and its key to receive,
//! to one task. Whether a report counts is for whoever releases a key to appraise (`spec/evidence.md`): here it is bytes.

use api::{BootGiven, Bytes, Digest, SignedStatement, TaskId, Time};
use serde::{Deserialize, Serialize};

use crate::{Act, Approval, PublicKey, Statement, StatementError, open_statement, sha256};

/// How a vault proved what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceKind {
    /// By nothing: its memory is open to the machine's administrator. NOT CONFIDENTIAL.
    Unattested,
    /// By a report of AMD SEV-SNP, for whoever appraises it.
    Snp,
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

/// The statement of a vault in an SEV-SNP guest, signed by its receipt key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnpEvidence {
    /// Says in the signed text itself what this is.
    pub kind: EvidenceKind,
    /// The task it wants.
    pub task: TaskId,
    /// The X-Wing public key to which dataset keys are wrapped for it, 1216 bytes.
    pub recipient: Bytes,
    /// The approvals of its boot: [`boot_nonce`] of them is the nonce in the report's `REPORT_DATA`.
    pub boots: Vec<BootGiven>,
    /// The report, whose `REPORT_DATA` binds that nonce and both keys.
    pub report: Bytes,
    /// What the host gave to verify it with, DER. Nothing of it is proved.
    pub certificates: Vec<Bytes>,
    /// The program's version.
    pub program: String,
    /// When it was made.
    pub at: Time,
}

impl Statement for SnpEvidence {
    const KIND: &'static str = "chorion snp evidence v1";
}

/// The nonce of a report: SHA-256 over a label and the challenge of every approval of the boot, in their order. What is no such
/// approval makes none.
pub fn boot_nonce(boots: &[BootGiven]) -> Option<Digest> {
    let mut text = b"chorion boot v1\0".to_vec();
    for boot in boots {
        match open_statement::<Approval>(&boot.approval.approval) {
            Ok((Approval { act: Act::Boot(boot), .. }, _)) => text.extend(boot.challenge.0),
            _ => return None,
        }
    }
    Some(sha256(&text))
}

/// Either.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnyEvidence {
    /// Of a vault that proves nothing.
    Unattested(UnattestedEvidence),
    /// Of one that shows a report.
    Snp(Box<SnpEvidence>),
}

impl AnyEvidence {
    /// The evidence inside and the receipt key that signed it.
    pub fn open(signed: &SignedStatement) -> Result<(Self, PublicKey), StatementError> {
        let other = |kind| StatementError::Form { kind, why: "it says that it is another".into() };
        if signed.statement.starts_with(SnpEvidence::KIND) {
            let (evidence, key) = open_statement::<SnpEvidence>(signed)?;
            return match evidence.kind {
                EvidenceKind::Snp => Ok((Self::Snp(Box::new(evidence)), key)),
                EvidenceKind::Unattested => Err(other(SnpEvidence::KIND)),
            };
        }
        let (evidence, key) = open_statement::<UnattestedEvidence>(signed)?;
        match evidence.kind {
            EvidenceKind::Unattested => Ok((Self::Unattested(evidence), key)),
            EvidenceKind::Snp => Err(other(UnattestedEvidence::KIND)),
        }
    }

    /// How it proves what it is.
    pub const fn kind(&self) -> EvidenceKind {
        match self {
            Self::Unattested(_) => EvidenceKind::Unattested,
            Self::Snp(_) => EvidenceKind::Snp,
        }
    }

    /// The task that it wants.
    pub const fn task(&self) -> TaskId {
        match self {
            Self::Unattested(evidence) => evidence.task,
            Self::Snp(evidence) => evidence.task,
        }
    }

    /// The key to which dataset keys are wrapped for it.
    pub const fn recipient(&self) -> &Bytes {
        match self {
            Self::Unattested(evidence) => &evidence.recipient,
            Self::Snp(evidence) => &evidence.recipient,
        }
    }

    /// When it was made.
    pub const fn at(&self) -> Time {
        match self {
            Self::Unattested(evidence) => evidence.at,
            Self::Snp(evidence) => evidence.at,
        }
    }
}
