//! A vault's life: booting → attested → open → halted. A state is a value, and the next one takes it: there is no way back, and no
//! key is open in any but one. Each step is a leaf of the hub's log: the claim, the release of each key, the receipt.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU8;
use std::sync::{Arc, mpsc};

use api::{ClaimTask, ClaimedTask, Digest, EndTask, ProjectId, ReleaseLog, TaskKind, Time};
use proof::{OwnerReceipt, Receipt, digest_of, receipt_log, released_by, sign_statement};

use super::ahead::Ahead;
use super::approved::{self, Approved};
use super::evidence::{self, Own};
use super::hub::SharedHub;
use super::{
    HEARTBEAT, Made, TaskConfig, TaskError, VaultKeys, Work, demultiplex, heard_of, query, reseal,
    run_app, tell,
};
use crate::device::Device;

/// It has keys of its own, and nobody has seen them.
pub(super) struct Booting<'a> {
    pub(super) hub: SharedHub,
    pub(super) config: &'a TaskConfig,
    pub(super) keys: &'a VaultKeys,
}

/// It showed its evidence and has its task, and not one key of it that an owner holds.
pub(super) struct Attested<'a> {
    boot: Booting<'a>,
    own: Own,
    evidence: Digest,
    claimed: ClaimedTask,
    /// What the hub's log says of the keys that are here.
    log: ReleaseLog,
    started: Time,
}

/// Keys are open.
pub(super) struct Open<'a> {
    attested: Attested<'a>,
    approved: Approved,
}

/// Keys are gone; what is left is to say what came of it.
pub(super) struct Halted<'a> {
    attested: Attested<'a>,
    approvals: Vec<Digest>,
    made: Made,
    result: Result<(), TaskError>,
}

impl<'a> Booting<'a> {
    /// Shows evidence and takes the task.
    pub(super) fn attest(self, device: Option<&dyn Device>) -> Result<Attested<'a>, TaskError> {
        let Booting { hub, config, keys } = &self;
        let started = Time::now();
        let shown = evidence::show(config.task, keys, &config.boots, device, started)?;
        let evidence = digest_of(&shown.signed);
        let claim = ClaimTask { ticket: config.ticket.to_string(), evidence: shown.signed };
        let claimed = hub.claim(config.task, &claim)?;
        // Without it there is no receipt, so nothing is opened.
        let log = receipt_log(&claimed, &[]).ok_or(TaskError::Log)?;
        Ok(Attested { boot: self, own: shown.own, evidence, claimed, log, started })
    }
}

impl<'a> Attested<'a> {
    /// The projects whose owners release keys for the task.
    pub(super) fn owners(&self) -> BTreeSet<ProjectId> {
        approved::projects(&self.claimed)
    }

    /// Has what the task will read brought, sealed, by a thread that nobody waits for.
    fn fetch_ahead(&self) -> Arc<Ahead> {
        let ahead = Arc::new(Ahead::of(Arc::clone(&self.boot.hub)));
        let (fetching, inputs) = (Arc::clone(&ahead), self.claimed.inputs.clone());
        std::thread::spawn(move || fetching.fetch(&inputs));
        ahead
    }

    /// Ends before anything is opened.
    pub(super) fn halt(self, error: TaskError) -> Box<Halted<'a>> {
        let (approvals, made) = (Vec::new(), Made::default());
        Box::new(Halted { attested: self, approvals, made, result: Err(error) })
    }

    /// Waits for what owners release, and opens it; ends where they do not.
    pub(super) fn open(mut self) -> Result<Open<'a>, Box<Halted<'a>>> {
        let ahead = approved::is_awaited(&self.claimed).then(|| self.fetch_ahead());
        let Booting { hub, config, keys } = &self.boot;
        let waited = heard_of(
            HEARTBEAT,
            mpsc::channel(),
            || tell(hub, config.task, 0),
            || Approved::wait(hub, config, keys, &self.claimed, &self.own),
        );
        if let Some(ahead) = ahead {
            ahead.over();
            self.boot.hub = ahead;
        }
        let opened = waited.and_then(|approved| {
            let log = receipt_log(&self.claimed, &approved.logs()).ok_or(TaskError::Log)?;
            Ok((approved, log))
        });
        match opened {
            Ok((approved, log)) => {
                self.log = log;
                Ok(Open { attested: self, approved })
            }
            Err(error) => Err(self.halt(error)),
        }
    }
}

impl<'a> Open<'a> {
    /// Does the task. The keys of datasets end with the state.
    pub(super) fn work(self) -> Halted<'a> {
        let Open { attested, approved } = self;
        let Booting { hub, config, keys } = &attested.boot;
        let approvals = approved.digests();
        let kind = attested.claimed.task.kind;
        let mut made = Made::default();
        let (news, words) = mpsc::channel();
        let work = Work {
            hub: Arc::clone(hub),
            keys,
            config,
            claimed: attested.claimed.clone(),
            approved,
            percent: AtomicU8::new(0),
            news: news.clone(),
        };
        let result = heard_of(
            HEARTBEAT,
            (news, words),
            || work.tell(),
            || match kind {
                TaskKind::Demultiplex => demultiplex::run(&work, &mut made),
                TaskKind::App => run_app::run(&work, &mut made),
                TaskKind::Reseal => reseal::run(&work, &mut made),
                TaskKind::Query => query::run(&work, &mut made),
            },
        );
        drop(work);
        Halted { attested, approvals, made, result }
    }
}

impl Halted<'_> {
    /// Signs the receipt and ends the task with it.
    pub(super) fn end(self) -> Result<(), TaskError> {
        let Halted { attested, approvals, made, result } = self;
        let Attested { boot, own, evidence: evidence_digest, claimed, log, started } = attested;
        let by_owners = approved::is_awaited(&claimed);
        let (complete, ended) = (result.is_ok(), Time::now());
        let (custodian, released) = released_by(&claimed);
        let Made { inputs, outputs, app } = made;
        let (hub, kind) = (claimed.hub, claimed.task.kind);
        let (task, evidence) = (boot.config.task, own.kind());
        let key = boot.keys.receipt_key();
        let receipt = if by_owners {
            let receipt = OwnerReceipt {
                hub,
                task,
                kind,
                approvals,
                evidence,
                evidence_digest,
                app,
                inputs,
                outputs,
                log,
                complete,
                started,
                ended,
            };
            sign_statement(&receipt, key)
        } else {
            let receipt = Receipt {
                hub,
                task,
                kind,
                custodian,
                released,
                evidence,
                evidence_digest,
                app,
                inputs,
                outputs,
                log,
                complete,
                started,
                ended,
            };
            sign_statement(&receipt, key)
        };
        let reason = result.as_ref().err().map(ToString::to_string);
        boot.hub.end(task, &EndTask { complete, reason, receipt })?;
        result
    }
}
