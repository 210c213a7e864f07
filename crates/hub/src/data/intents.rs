//! Releases of keys, announced before they happen: the leaf of the intent is on the disk before a custodian is asked, and
//! the leaf of the outcome before the key leaves.
//!
//! An [`Intent`] can be made by a commit alone, and [`crate::app::datasets::release_to`] takes one, so no key is released
//! that was not announced. Announcements and outcomes that come together share one transaction and one sync.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use api::{EventId, Outcome, Time};
use tokio::sync::{mpsc, oneshot};

use super::audit::{self, Bound};
use super::events::{self, NewEvent};
use super::{Connection, Db, word};
use crate::HubError;

/// The act of a dataset key's release.
pub(crate) const RELEASE: &str = "key.release";
/// The act of a project key's release.
pub(crate) const PROJECT_RELEASE: &str = "project.release";
/// Every act that is announced.
pub(super) const ACTS: [&str; 2] = [RELEASE, PROJECT_RELEASE];
/// Why a release that was announced did not happen, where its caller went away or the hub was stopped in between.
pub(super) const INTERRUPTED: &str = "interrupted";
/// How many announcements and outcomes at most go into one transaction.
const BATCH: usize = 256;

/// A release that was announced within a transaction, which is not on the disk yet.
#[derive(Debug)]
pub(crate) struct Announced(Open);

/// A release without an outcome.
#[derive(Debug)]
struct Open {
    id: EventId,
    leaf: u64,
    event: NewEvent,
    bound: Bound,
}

impl Open {
    fn intent(self, waiting: mpsc::Sender<Entry>) -> Intent {
        Intent { leaf: self.leaf, open: Some(self), waiting }
    }

    /// What ends it where nobody else does.
    fn interrupted(mut self) -> Entry {
        self.event.outcome = Outcome::Failed;
        self.event.reason = Some(INTERRUPTED.to_owned());
        let (answer, _nobody_waits) = oneshot::channel();
        Entry::Close { open: self, answer }
    }
}

/// A release that was announced, on the disk. One that is dropped without an outcome, because its caller went away, was
/// interrupted, and the log says so.
#[derive(Debug)]
pub(crate) struct Intent {
    leaf: u64,
    open: Option<Open>,
    waiting: mpsc::Sender<Entry>,
}

impl Intent {
    /// Which leaf announces it.
    pub(crate) const fn leaf(&self) -> u64 {
        self.leaf
    }
}

impl Drop for Intent {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            // Where there is no room the next start writes it.
            let _there_is_room = self.waiting.try_send(open.interrupted()).is_ok();
        }
    }
}

/// Announces a release within the caller's transaction.
pub(crate) async fn announce(
    at: &mut Connection,
    event: NewEvent,
    bound: Bound,
) -> Result<Announced, HubError> {
    let event = NewEvent { outcome: Outcome::Intended, reason: None, ..event };
    let id = EventId::generate();
    let leaf = events::keep(at, id, &event, &bound).await?;
    audit::open_intent(at, id).await?;
    Ok(Announced(Open { id, leaf, event, bound }))
}

#[derive(Debug)]
enum Entry {
    Announce { event: NewEvent, bound: Bound, answer: oneshot::Sender<Result<Intent, HubError>> },
    Close { open: Open, answer: oneshot::Sender<Result<(), HubError>> },
}

/// Where releases are announced and get their outcomes, in groups.
#[derive(Debug, Clone)]
pub(crate) struct Releases {
    waiting: mpsc::Sender<Entry>,
    groups: Arc<AtomicU64>,
}

impl Releases {
    /// Starts the task that writes; it ends when the last handle is gone.
    pub(crate) fn start(db: Db) -> Self {
        let (waiting, entries) = mpsc::channel(BATCH);
        let groups = Arc::new(AtomicU64::new(0));
        tokio::spawn(write(db, entries, waiting.downgrade(), Arc::clone(&groups)));
        Self { waiting, groups }
    }

    /// How many transactions were written so far, each with one sync.
    pub(crate) fn groups(&self) -> u64 {
        self.groups.load(Ordering::Relaxed)
    }

    /// Announces a release. On the disk when this returns.
    pub(crate) async fn intend(&self, event: NewEvent, bound: Bound) -> Result<Intent, HubError> {
        let (answer, answered) = oneshot::channel();
        self.send(Entry::Announce { event, bound, answer }).await?;
        answered.await.map_err(|e| closed(e.to_string()))?
    }

    /// Puts the transaction on the disk, and with it what it announced.
    pub(crate) async fn commit(
        &self,
        tx: super::Write,
        announced: Vec<Announced>,
    ) -> Result<Vec<Intent>, HubError> {
        tx.commit().await?;
        let intent = |Announced(open)| open.intent(self.waiting.clone());
        Ok(announced.into_iter().map(intent).collect())
    }

    /// Says how an announced release ended. On the disk when this returns; where it fails the key must not leave.
    pub(crate) async fn close(
        &self,
        mut intent: Intent,
        failure: Option<&HubError>,
        now: Time,
    ) -> Result<(), HubError> {
        let Some(mut open) = intent.open.take() else {
            return Err(closed("the release has an outcome already".to_owned()));
        };
        open.event.at = now;
        (open.event.outcome, open.event.reason) = match failure {
            None => (Outcome::Done, None),
            Some(error) => (Outcome::Failed, Some(word(error.code()))),
        };
        let (answer, answered) = oneshot::channel();
        self.send(Entry::Close { open, answer }).await?;
        answered.await.map_err(|e| closed(e.to_string()))?
    }

    async fn send(&self, entry: Entry) -> Result<(), HubError> {
        self.waiting.send(entry).await.map_err(|e| closed(e.to_string()))
    }
}

fn closed(cause: String) -> HubError {
    HubError::internal("the hub is stopping", format!("the log of releases is closed: {cause}"))
}

async fn write(
    db: Db,
    mut entries: mpsc::Receiver<Entry>,
    waiting: mpsc::WeakSender<Entry>,
    groups: Arc<AtomicU64>,
) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        if batch.is_empty() && entries.recv_many(&mut batch, BATCH).await == 0 {
            return;
        }
        let written = write_batch(&db, &batch).await;
        groups.fetch_add(1, Ordering::Relaxed);
        let mut unheard = Vec::new();
        match written {
            Ok(leaves) => {
                for (entry, (id, leaf)) in batch.drain(..).zip(leaves) {
                    match entry {
                        Entry::Announce { event, bound, answer } => {
                            let open = Open { id, leaf, event, bound };
                            // Whoever hears of it ends it, or drops it; where nobody waits any more, nobody would.
                            let Some(waiting) = waiting.upgrade() else { continue };
                            if let Err(Ok(mut intent)) = answer.send(Ok(open.intent(waiting))) {
                                unheard.extend(intent.open.take().map(Open::interrupted));
                            }
                        }
                        Entry::Close { answer, .. } => {
                            let _the_caller_went_away = answer.send(Ok(())).is_ok();
                        }
                    }
                }
            }
            Err(error) => {
                for entry in batch.drain(..) {
                    let _the_caller_went_away = match entry {
                        Entry::Announce { answer, .. } => answer.send(Err(error.clone())).is_ok(),
                        Entry::Close { answer, .. } => answer.send(Err(error.clone())).is_ok(),
                    };
                }
            }
        }
        batch = unheard;
    }
}

/// Writes a group; gives the event and the leaf of each.
async fn write_batch(db: &Db, batch: &[Entry]) -> Result<Vec<(EventId, u64)>, HubError> {
    let mut tx = db.write().await?;
    let mut leaves = Vec::with_capacity(batch.len());
    for entry in batch {
        let leaf = match entry {
            Entry::Announce { event, bound, .. } => {
                let Announced(open) = announce(&mut tx, event.clone(), *bound).await?;
                (open.id, open.leaf)
            }
            Entry::Close { open, .. } => {
                let id = EventId::generate();
                let leaf = events::keep(&mut tx, id, &open.event, &open.bound).await?;
                audit::close_intent(&mut tx, open.id).await?;
                (id, leaf)
            }
        };
        leaves.push(leaf);
    }
    tx.commit().await?;
    Ok(leaves)
}
