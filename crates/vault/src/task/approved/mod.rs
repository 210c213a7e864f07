//! What owners released: a vault waits for their approvals, judges each by itself, uses it up, and only then opens a key.
//!
//! The hub brings approvals and keys; nothing it says of them is believed. An approval counts here when a device signed it
//! that the owner's card certifies, when that card follows the one under which the dataset's key was wrapped, and when it
//! names this task, this program, these inputs at these versions, these outputs and both keys of this vault
//! (`spec/approval.md`, section 6). The keys come sealed to this vault for the digest of that very approval.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use api::{
    ApprovalState, ClaimedKey, ClaimedTask, DatasetId, DatasetKind, Digest, GiveApproval, KeyPlace,
    ProjectId, QueryRequest, ReleaseLog, TaskApproval, TaskKind, Time,
};
use dataset::OpenDataset;
use proof::{
    Act, Approval, ApprovalError, Output, OwnerCard, Program, ProjectCard, RunApp, Verified,
    commitment, digest_of, sha256,
};

use super::evidence::Own;
use super::hub::SharedHub;
use super::{TaskConfig, TaskError, VaultKeys};

/// The least time between two questions whether an owner has answered; the hub itself keeps each open for some seconds.
const ASK: Duration = Duration::from_millis(100);
/// For how long a vault waits: a little longer than a request is open.
const PATIENCE: Duration = Duration::from_secs(proof::APPROVAL_SECONDS.unsigned_abs() + 30);

/// What owners' devices released for this task.
#[derive(Debug, Default)]
pub(super) struct Approved {
    opened: HashMap<DatasetId, OpenDataset>,
    verified: Vec<Verified>,
    logs: Vec<ReleaseLog>,
}

/// Every place whose key is an owner's to release.
fn awaited(claimed: &ClaimedTask) -> Vec<KeyPlace> {
    let keys = claimed.inputs.iter().map(|input| &input.key);
    let keys = keys.chain(claimed.result.as_ref().map(|result| &result.key));
    keys.filter_map(|key| match key {
        ClaimedKey::Awaited(place) => Some(*place),
        ClaimedKey::Released(_) => None,
    })
    .collect()
}

/// The projects whose owners release keys for this task.
pub(super) fn projects(claimed: &ClaimedTask) -> BTreeSet<ProjectId> {
    awaited(claimed).iter().map(|place| place.project).collect()
}

/// Whether owners release keys for this task.
pub(super) fn is_awaited(claimed: &ClaimedTask) -> bool {
    !awaited(claimed).is_empty()
}

impl Approved {
    /// Waits until every owner has answered, and opens what they released.
    pub(super) fn wait(
        hub: &SharedHub,
        config: &TaskConfig,
        keys: &VaultKeys,
        claimed: &ClaimedTask,
        own: &Own,
    ) -> Result<Self, TaskError> {
        let places = awaited(claimed);
        let mut this = Self::default();
        let since = Instant::now();
        let mut waiting = projects(claimed);
        while !waiting.is_empty() {
            let asked = Instant::now();
            for found in hub.approvals(config.task)? {
                if !waiting.contains(&found.project) {
                    continue;
                }
                match found.state {
                    ApprovalState::Refused => {
                        let reason = found.reason.map(|why| format!(": {why}")).unwrap_or_default();
                        return Err(TaskError::Refused { reason });
                    }
                    ApprovalState::Expired => return Err(TaskError::Unanswered),
                    ApprovalState::Pending | ApprovalState::Approved | ApprovalState::Used => {}
                }
                let TaskApproval {
                    project,
                    given: Some(given),
                    card: Some(card),
                    handovers,
                    log,
                    ..
                } = found
                else {
                    continue;
                };
                // A key whose release no log announces is not used.
                this.logs.push(log.ok_or(TaskError::Log)?);
                let of_project: Vec<KeyPlace> =
                    places.iter().filter(|place| place.project == project).copied().collect();
                let judge =
                    Judge { config, keys, claimed, handovers: &handovers, own, now: Time::now() };
                let verified = judge.judge(&given, &card, project)?;
                this.open(keys, &given, &verified, &of_project)?;
                this.verified.push(verified);
                waiting.remove(&project);
            }
            if waiting.is_empty() {
                break;
            }
            if since.elapsed() > PATIENCE {
                return Err(TaskError::Unanswered);
            }
            // A hub that kept the question open is asked again at once: an answer that comes now is not to wait. Once one of several
            // owners has answered, the hub answers at once.
            let pause = if this.verified.is_empty() { ASK } else { ASK * 5 };
            std::thread::sleep(pause.saturating_sub(asked.elapsed()));
        }
        this.verified.sort_by_key(|verified| verified.approval().project);
        Ok(this)
    }

    /// Uses the approval up, then opens the keys that came for it.
    fn open(
        &mut self,
        keys: &VaultKeys,
        given: &GiveApproval,
        verified: &Verified,
        places: &[KeyPlace],
    ) -> Result<(), TaskError> {
        if !keys.spend(verified.approval().nonce) {
            return Err(TaskError::Approval(ApprovalError::Other {
                what: "use: it was used before",
            }));
        }
        for place in places {
            let dataset = place.dataset;
            let release = given.keys.iter().find(|release| release.place() == *place).ok_or(
                TaskError::Mismatch { dataset, what: "the approval and the released keys" },
            )?;
            let open = OpenDataset::from_approved(release, keys.recipient(), verified.digest())?;
            self.opened.insert(dataset, open);
        }
        Ok(())
    }

    /// The key of a dataset, opened.
    pub(super) fn key(&self, place: &KeyPlace) -> Result<OpenDataset, TaskError> {
        let dataset = place.dataset;
        let open = self.opened.get(&dataset).cloned();
        open.ok_or(TaskError::Mismatch { dataset, what: "the task and the released keys" })
    }

    /// What the hub's log said of these releases, for the receipt.
    pub(super) fn logs(&self) -> Vec<&ReleaseLog> {
        self.logs.iter().collect()
    }

    /// The digests of the approvals, for the receipt.
    pub(super) fn digests(&self) -> Vec<Digest> {
        self.verified.iter().map(Verified::digest).collect()
    }

    fn runs(&self) -> impl Iterator<Item = &RunApp> {
        self.verified.iter().filter_map(|verified| match &verified.approval().act {
            Act::App(run) => Some(run),
            _ => None,
        })
    }

    /// Refuses settings that are not those which the owners saw.
    pub(super) fn settings(&self, clear: Option<&[u8]>) -> Result<(), TaskError> {
        let digest = clear.map(sha256);
        self.all(|run| run.settings == digest, "settings")
    }

    /// Refuses a query that is not the one which the owners saw, or an answer that would go to another key. Gives how large the
    /// answer may be; nothing where no owner said.
    pub(super) fn query(
        &self,
        request: &QueryRequest,
        recipient: Digest,
    ) -> Result<Option<u64>, TaskError> {
        let other = |what| Err(TaskError::Approval(ApprovalError::Other { what }));
        let mut most = None;
        for verified in &self.verified {
            let Act::Query(query) = &verified.approval().act else { return other("kind of act") };
            if query.query != sha256(request.document().as_bytes()) {
                return other("query");
            }
            if query.recipient != recipient {
                return other("recipient");
            }
            if verified.approval().purpose != commitment(&request.purpose) {
                return other("purpose");
            }
            most = Some(most.unwrap_or(u64::MAX).min(query.most_answer_bytes));
        }
        Ok(most)
    }

    /// Refuses an app whose manifest is not the one that the owners saw.
    pub(super) fn manifest(&self, canonical: &[u8]) -> Result<(), TaskError> {
        let shown = |run: &RunApp| matches!(&run.program, Program::App { manifest, .. } if manifest.as_bytes() == canonical);
        self.all(shown, "app manifest")
    }

    /// Refuses to write into a project, or under a card, that an owner did not name.
    pub(super) fn may_write(&self, project: ProjectId, card: Digest) -> Result<(), TaskError> {
        let named = |run: &RunApp| {
            run.outputs.iter().any(|output| output.project == project && output.card == card)
        };
        self.all(named, "output")
    }

    fn all(&self, holds: impl Fn(&RunApp) -> bool, what: &'static str) -> Result<(), TaskError> {
        if self.runs().all(holds) {
            Ok(())
        } else {
            Err(TaskError::Approval(ApprovalError::Other { what }))
        }
    }
}

/// What an approval must say to count here.
pub(super) struct Judge<'a> {
    pub(super) config: &'a TaskConfig,
    pub(super) keys: &'a VaultKeys,
    pub(super) claimed: &'a ClaimedTask,
    /// What lets the card follow one of an owner of before.
    pub(super) handovers: &'a [api::SignedStatement],
    /// What this vault showed.
    pub(super) own: &'a Own,
    pub(super) now: Time,
}

impl Judge<'_> {
    /// The approval, if it lets this vault do this task with the datasets of `project`.
    pub(super) fn judge(
        &self,
        given: &GiveApproval,
        card: &api::SignedStatement,
        project: ProjectId,
    ) -> Result<Verified, TaskError> {
        let other = |what| TaskError::Approval(ApprovalError::Other { what });
        let card = self.card(card, project)?;
        let verified = Approval::open(&given.approval, &card)?;
        verified.in_force(self.now)?;
        let approval = verified.approval();
        if approval.hub != self.claimed.hub {
            return Err(other("hub"));
        }
        let is_query = self.claimed.task.kind == TaskKind::Query;
        let (task, inputs, outputs, vault) = match &approval.act {
            Act::App(run) if !is_query => (run.task, &run.inputs, &run.outputs, &run.vault),
            Act::Query(query) if is_query => {
                (query.task, &query.inputs, &query.outputs, &query.vault)
            }
            _ => return Err(other("kind of act")),
        };
        if task != self.config.task {
            return Err(other("task"));
        }
        let receipt_key = self.keys.receipt_key().public().to_bytes();
        if vault.receipt_key.0 != receipt_key
            || vault.recipient.0 != self.keys.recipient().public().fingerprint()
        {
            return Err(other("vault key"));
        }
        // An approval for another vault, or for one that proves more or less than this one, is not for it.
        if !self.own.is(&vault.mode) {
            return Err(other("evidence"));
        }
        match self.own {
            Own::Unattested(_) if !card.test => return Err(TaskError::NotATest),
            Own::Unattested(_) => {}
            Own::Snp { measurement, .. } => {
                if !card.measurements.iter().any(|listed| listed.0 == *measurement) {
                    return Err(other("measurement"));
                }
            }
        }
        if let Act::App(run) = &approval.act
            && !self.is_program(&run.program)
        {
            return Err(other("app"));
        }
        let named: BTreeSet<_> =
            inputs.iter().map(|i| (i.name.as_str(), i.dataset, i.manifest)).collect();
        if named != self.inputs() || named.len() != inputs.len() {
            return Err(other("input"));
        }
        if !self.outputs(outputs) {
            return Err(other("output"));
        }
        Ok(verified)
    }

    /// The card, if it follows the one under which this task's datasets of the project were wrapped: the same owner.
    fn card(
        &self,
        signed: &api::SignedStatement,
        project: ProjectId,
    ) -> Result<OwnerCard, TaskError> {
        let held = |source| TaskError::OwnerCard { project, source };
        let (card, _owner) = ProjectCard::open(signed, project).map_err(held)?;
        for input in &self.claimed.inputs {
            if input.key.place().project == project {
                let (under, _) = ProjectCard::open(&input.card, project).map_err(held)?;
                card.follows(&under, self.handovers).map_err(held)?;
            }
        }
        match card {
            ProjectCard::Owner(card) => Ok(card),
            ProjectCard::Hub(_) => {
                Err(TaskError::Approval(ApprovalError::Other { what: "custodian" }))
            }
        }
    }

    fn is_program(&self, program: &Program) -> bool {
        let claimed = self.claimed.app.as_ref().map(|app| app.digest);
        match (program, self.claimed.task.kind) {
            (Program::App { digest, .. }, TaskKind::App) => claimed == Some(*digest),
            (Program::Demultiplex {}, TaskKind::Demultiplex)
            | (Program::Reseal {}, TaskKind::Reseal) => claimed.is_none(),
            _ => false,
        }
    }

    fn inputs(&self) -> BTreeSet<(&str, DatasetId, Digest)> {
        let read = self.claimed.inputs.iter().filter(|input| input.kind != DatasetKind::App);
        read.map(|i| (i.name.as_str(), i.key.place().dataset, digest_of(&i.manifest))).collect()
    }

    fn outputs(&self, outputs: &[Output]) -> bool {
        let is_owners = |output: &Output| output.custodian == api::Custodian::Owner;
        match (&self.claimed.result, self.claimed.task.kind) {
            (Some(result), _) => {
                let place = result.key.place();
                let awaited = matches!(result.key, ClaimedKey::Awaited(_));
                matches!(outputs, [output] if output.dataset == Some(place.dataset)
                    && output.project == place.project
                    && output.card == place.card_digest
                    && is_owners(output) == awaited)
            }
            (None, TaskKind::Demultiplex) => outputs.iter().all(|output| output.dataset.is_none()),
            (None, _) => {
                let subject = Some(self.claimed.task.subject);
                matches!(outputs, [output] if output.dataset == subject && is_owners(output))
            }
        }
    }
}

#[cfg(test)]
mod tests;
