//! The receipt that closes every task (`spec/receipt.md`), signed by the key that the vault's evidence binds.

use api::{
    ClaimedKey, ClaimedTask, Custodian, DatasetId, Digest, ReleaseLeaf, ReleaseLog,
    SignedStatement, TaskId, TaskKind, Time,
};
use serde::{Deserialize, Serialize};

use crate::log::{Checkpoint, SignedNote, origin_of};
use crate::{EvidenceKind, PublicKey, Statement, StatementError, open_statement};

/// What released a dataset key to the vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Released {
    /// The hub's policy, under platform custody.
    Policy,
    /// A lease that the organization's own key service gave, under organization custody.
    Lease,
}

/// Who holds the keys of what was claimed, as the cards of its inputs say, and what released those that the hub released.
pub fn released_by(claimed: &ClaimedTask) -> (Custodian, Released) {
    let is_organizations = claimed.inputs.iter().any(|input| {
        open_statement::<crate::Card>(&input.card)
            .is_ok_and(|(card, _)| card.custodian == Custodian::Organization)
    });
    if is_organizations {
        (Custodian::Organization, Released::Lease)
    } else {
        (Custodian::Platform, Released::Policy)
    }
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

/// What the audit log said of every release to a vault, for its receipt (`spec/audit-log.md` section 6).
///
/// Those of the claim, and those that came with owners' approvals. `None` if a checkpoint is none, is another hub's, or ends before a leaf that it
/// must have. The log's key is not known here: whoever has the receipt verifies the rest.
pub fn receipt_log(claimed: &ClaimedTask, approved: &[&ReleaseLog]) -> Option<ReleaseLog> {
    let keys = claimed.inputs.iter().map(|input| &input.key);
    let keys = keys.chain(claimed.result.iter().map(|result| &result.key));
    let leaves: Vec<ReleaseLeaf> = keys
        .filter_map(|key| match key {
            ClaimedKey::Released(release) => Some(release),
            ClaimedKey::Awaited(_) => None,
        })
        .map(|release| Some(ReleaseLeaf { dataset: release.dataset, leaf: release.leaf? }))
        .collect::<Option<_>>()?;
    let first = ReleaseLog { checkpoint: claimed.checkpoint.clone(), leaves };
    let mut newest: Option<(u64, &str)> = None;
    let mut leaves = Vec::new();
    for log in std::iter::once(&first).chain(approved.iter().copied()) {
        let note: SignedNote = log.checkpoint.parse().ok()?;
        let checkpoint = Checkpoint::parse(note.text()).ok()?;
        if checkpoint.origin != origin_of(&claimed.hub)
            || log.leaves.iter().any(|leaf| leaf.leaf >= checkpoint.size)
        {
            return None;
        }
        if newest.is_none_or(|(size, _)| checkpoint.size >= size) {
            newest = Some((checkpoint.size, log.checkpoint.as_str()));
        }
        leaves.extend(log.leaves.iter().cloned());
    }
    newest.map(|(_, checkpoint)| ReleaseLog { checkpoint: checkpoint.to_owned(), leaves })
}

/// The receipt of a task whose keys the hub's policy released.
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
    /// What the log said when the keys were released.
    pub log: ReleaseLog,
    /// Whether the outputs are all there.
    pub complete: bool,
    /// When the vault claimed the task.
    pub started: Time,
    /// When it was done.
    pub ended: Time,
}

impl Statement for Receipt {
    const KIND: &'static str = "chorion receipt v1";
}

/// The receipt of a task that owners' approvals released keys to: a closed set of its own, so that one released by policy
/// can never pass for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnerReceipt {
    /// The hub.
    pub hub: String,
    /// The task.
    pub task: TaskId,
    /// What it did.
    pub kind: TaskKind,
    /// The digests of the approvals that released keys, in the order of their projects.
    pub approvals: Vec<Digest>,
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
    /// What the log said when the keys were released.
    pub log: ReleaseLog,
    /// Whether the outputs are all there.
    pub complete: bool,
    /// When the vault claimed the task.
    pub started: Time,
    /// When it was done.
    pub ended: Time,
}

impl Statement for OwnerReceipt {
    const KIND: &'static str = "chorion owner receipt v1";
}

/// A receipt of either kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum AnyReceipt {
    /// Released by the hub's policy.
    Policy(Receipt),
    /// Released by owners' approvals.
    Owner(OwnerReceipt),
}

impl AnyReceipt {
    /// The receipt inside, and who signed it: whether that is the vault's key is the caller's question.
    pub fn open(signed: &SignedStatement) -> Result<(Self, PublicKey), StatementError> {
        match open_statement::<OwnerReceipt>(signed) {
            Ok((receipt, signer)) => Ok((Self::Owner(receipt), signer)),
            Err(StatementError::Kind { .. }) => {
                open_statement::<Receipt>(signed).map(|(r, signer)| (Self::Policy(r), signer))
            }
            Err(other) => Err(other),
        }
    }
}

/// What a receipt of either kind says of the task.
#[derive(Debug, Clone, Copy)]
pub struct ReceiptFacts<'a> {
    /// The hub.
    pub hub: &'a str,
    /// The task.
    pub task: TaskId,
    /// What it did.
    pub kind: TaskKind,
    /// How the vault proved what it is.
    pub evidence: EvidenceKind,
    /// The digest of that evidence.
    pub evidence_digest: Digest,
    /// The app's digest.
    pub app: Option<Digest>,
    /// What it read.
    pub inputs: &'a [ReceiptOutput],
    /// What it wrote.
    pub outputs: &'a [ReceiptOutput],
    /// What the log said when the keys were released.
    pub log: &'a ReleaseLog,
    /// Whether the outputs are all there.
    pub complete: bool,
}

impl AnyReceipt {
    /// What either kind says.
    pub fn facts(&self) -> ReceiptFacts<'_> {
        macro_rules! facts {
            ($receipt:expr) => {
                ReceiptFacts {
                    hub: &$receipt.hub,
                    task: $receipt.task,
                    kind: $receipt.kind,
                    evidence: $receipt.evidence,
                    evidence_digest: $receipt.evidence_digest,
                    app: $receipt.app,
                    inputs: &$receipt.inputs,
                    outputs: &$receipt.outputs,
                    log: &$receipt.log,
                    complete: $receipt.complete,
                }
            };
        }
        match self {
            Self::Policy(receipt) => facts!(receipt),
            Self::Owner(receipt) => facts!(receipt),
        }
    }
}
