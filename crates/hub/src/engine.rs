//! Starts vaults for tasks that wait, watches over them, and does what is left to do behind the calls.
//!
//! A task waits in the database, so a stop of the hub loses none: at the next start it still waits, and one that was
//! running is waited for as long as its vault may still be heard of. Each vault gets a ticket of its own, made when it is
//! started, on its standard input; only the ticket's hash is kept, and it counts once. A vault that ends without having
//! ended its task, or is silent for too long, is lost: its task waits once more, then it has failed.

mod local;
mod upkeep;

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use api::{BootGiven, DatasetId, ProjectId, TaskId, TaskKind, TaskState};
use data_encoding::HEXLOWER;
use proof::sha256;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::HubError;
use crate::data::Connection;
use crate::state::Hub;
use crate::{app, data};
pub(crate) use local::Local;
#[cfg(test)]
pub(crate) use upkeep::bring_to_an_end;
pub(crate) use upkeep::scrubbed_percent;

/// How long a vault may be silent. It tells how far it is every 20 s, whatever its task does, and tries each call for 90 s.
pub(crate) const SILENCE_SECONDS: i64 = 120;
/// How long an owner's vault may take to end, or to say that it is ready for another task, once its receipt is there.
const PARTING_SECONDS: i64 = 15;
/// How often the queue is looked at when nobody wakes the engine.
const LOOK: Duration = Duration::from_secs(10);

/// What starts a vault for one task and ends when that vault is done with it.
#[async_trait::async_trait]
pub(crate) trait Start: Send + Sync + 'static {
    /// Has a vault do the task with this ticket, to its end. When `stop` is cancelled the vault is ended first.
    async fn run(&self, task: TaskId, ticket: Ticket, stop: CancellationToken);
}

/// A one-time ticket, and the owners' approvals of the start. It does not print, and what is kept of it is its hash.
pub(crate) struct Ticket {
    text: String,
    boots: Vec<BootGiven>,
    /// The owners' projects for whose next task the vault may stay; none where it ends with this one.
    stays_for: BTreeSet<ProjectId>,
}

impl Ticket {
    /// A new one: 32 random bytes in hex.
    fn generate() -> Result<Self, HubError> {
        let mut bytes = [0; 32];
        seal::fill_random(&mut bytes)
            .map_err(|e| HubError::internal("no ticket could be made", e))?;
        Ok(Self { text: HEXLOWER.encode(&bytes), boots: Vec::new(), stays_for: BTreeSet::new() })
    }

    /// A known one.
    #[cfg(test)]
    pub(crate) fn of(text: &str) -> Self {
        Self { text: text.to_owned(), boots: Vec::new(), stays_for: BTreeSet::new() }
    }

    /// A known one, with which a vault may stay for an owner's project.
    #[cfg(test)]
    pub(crate) fn of_owner(text: &str, owner: ProjectId) -> Self {
        Self { stays_for: BTreeSet::from([owner]), ..Self::of(text) }
    }

    /// The text, for the vault alone.
    pub(crate) fn expose(&self) -> &str {
        &self.text
    }

    /// The owners' approvals of the start, as JSON in one line; nothing where none was needed.
    pub(crate) fn boots(&self) -> Option<String> {
        if self.boots.is_empty() {
            return None;
        }
        serde_json::to_string(&self.boots).ok()
    }

    /// The owners' projects for whose next task the vault may stay.
    pub(crate) const fn stays_for(&self) -> &BTreeSet<ProjectId> {
        &self.stays_for
    }
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ticket(..)")
    }
}

/// How vaults are started here, and which of them run.
#[derive(Debug, Default)]
pub(crate) struct Engine {
    /// The program that is started as `PROGRAM vault run …`; none runs here if absent.
    pub(crate) program: Option<PathBuf>,
    /// How many may run at once.
    pub(crate) at_once: usize,
    wake: Notify,
    answered: Notify,
    running: Mutex<HashMap<TaskId, CancellationToken>>,
}

impl Engine {
    /// An engine that starts `program`, at most `at_once` times at once.
    pub(crate) fn new(program: Option<PathBuf>, at_once: usize) -> Self {
        Self { program, at_once, ..Self::default() }
    }

    /// Something may wait, or have ended: look now.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// An owner has answered: vaults that wait look now.
    pub(crate) fn owner_answered(&self) {
        self.answered.notify_waiters();
    }

    /// What a vault waits on that has no answer yet.
    pub(crate) const fn answers(&self) -> &Notify {
        &self.answered
    }

    /// Tasks were cancelled: end their vaults.
    pub(crate) fn stop_cancelled(&self) {
        self.wake();
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<TaskId, CancellationToken>> {
        // Every change under this lock is one insertion or removal, so a panic leaves it whole.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts what goes on behind the calls of this hub, which answers at `url` under the certificate authority in `ca`: the
/// queue, if there is a program to start; the end of what a stop interrupted; the scrubber.
pub(crate) fn start(hub: &Hub, url: String, ca: PathBuf) {
    upkeep::start(hub);
    if let Some(program) = hub.engine.program.clone() {
        let work = hub.data.join("vaults");
        let at_most = hub.engine.at_once;
        start_with(hub, Arc::new(Local::new(program, url, ca, work, at_most)));
    }
}

/// Starts the queue with what starts vaults.
pub(crate) fn start_with(hub: &Hub, start: Arc<dyn Start>) {
    let hub = hub.clone();
    hub.background.clone().spawn(async move {
        loop {
            if let Err(error) = look(&hub, &start).await {
                let cause = error.causes();
                tracing::error!(cause, "the queue of tasks was not looked at: {error}");
            }
            tokio::select! {
                () = hub.engine.wake.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
                () = hub.stopping.cancelled() => return,
            }
        }
    });
}

/// Ends vaults whose task has ended, gives up those that are silent, and starts as many as there is room for.
async fn look(hub: &Hub, start: &Arc<dyn Start>) -> Result<(), HubError> {
    let mut reader = hub.db.read().await?;
    let running = data::tasks::in_state(&mut reader, TaskState::Running, i64::MAX).await?;
    let waiting = data::tasks::in_state(&mut reader, TaskState::Queued, i64::MAX).await?;
    let now = hub.now();
    let mut attended: Vec<TaskId> = hub.engine.running().keys().copied().collect();
    attended.retain(|id| !running.iter().chain(&waiting).any(|kept| kept.task.id == *id));
    for id in attended {
        // An owner's, whose receipt has just come, says itself that it is done, and may stay for another task.
        let parting = match data::tasks::find(&mut reader, id).await? {
            Some(kept) if kept.task.state == TaskState::Complete => {
                let since = kept.task.ended.map(|at| now.duration_since(at).as_secs());
                since.is_some_and(|since| since <= PARTING_SECONDS)
                    && !app::boots::owners(&mut reader, &kept).await?.is_empty()
            }
            _ => false,
        };
        if !parting && let Some(stop) = hub.engine.running().get(&id) {
            stop.cancel();
        }
    }
    drop(reader);
    for kept in &running {
        let heard = kept.heard.or(kept.task.started).unwrap_or(kept.task.created);
        let (id, silent) = (kept.task.id, now.duration_since(heard).as_secs());
        let attended = hub.engine.running().get(&id).cloned();
        match attended {
            // Its vault is ended first, and the task is given up when that is over.
            Some(stop) if silent > SILENCE_SECONDS => stop.cancel(),
            None if silent > SILENCE_SECONDS => spawn_lost(hub, id, kept.lost),
            _ => {}
        }
    }
    let mut reader = hub.db.read().await?;
    let mut at_work = Vec::new();
    for kept in &running {
        at_work.push(Footprint::of(&mut reader, kept).await?);
    }
    for kept in waiting {
        let id = kept.task.id;
        if hub.engine.running().len() >= hub.engine.at_once {
            break;
        }
        let footprint = Footprint::of(&mut reader, &kept).await?;
        let in_the_way = at_work.iter().any(|other| footprint.meets(other));
        // One that has to wait keeps its place: what was queued after it and would meet it waits too. A re-seal that
        // overtook would take the key away under which an earlier task's settings are sealed.
        at_work.push(footprint);
        if in_the_way || hub.engine.running().contains_key(&id) {
            continue;
        }
        // One whose keys an organization has taken away is left where it is, and goes on by itself when they are back.
        if !app::tasks::keys_serve(hub, id).await? {
            continue;
        }
        let mut tx = hub.db.write().await?;
        // An owner whose project is no trial lets each vault start; without that it could get no key.
        let Some(boots) = app::boots::ready(&mut tx, &kept, now).await? else {
            tx.commit().await?;
            continue;
        };
        // One that was let start was let start for this task alone.
        let stays_for = match boots.is_empty() {
            true => app::boots::owners(&mut tx, &kept).await?,
            false => BTreeSet::new(),
        };
        let ticket = Ticket { boots, stays_for, ..Ticket::generate()? };
        let hash = sha256(ticket.expose().as_bytes());
        let lost = data::tasks::set_ticket(&mut tx, id, hash).await?;
        data::boots::forget(&mut tx, id).await?;
        tx.commit().await?;
        if let Some(lost) = lost {
            spawn(hub, Arc::clone(start), id, lost, ticket);
        }
    }
    Ok(())
}

/// What a task reads, for those that must not meet.
struct Footprint {
    kind: TaskKind,
    datasets: Vec<DatasetId>,
}

impl Footprint {
    async fn of(at: &mut Connection, kept: &data::tasks::Kept) -> Result<Self, HubError> {
        let inputs = data::tasks::inputs(at, kept.task.id).await?;
        let datasets = inputs.into_iter().map(|input| input.dataset).collect();
        Ok(Self { kind: kept.task.kind, datasets })
    }

    /// Whether the two may not run at once: one writes anew what the other reads, or both demultiplex one run.
    fn meets(&self, other: &Self) -> bool {
        let apart = self.kind == TaskKind::Reseal
            || other.kind == TaskKind::Reseal
            || (self.kind == TaskKind::Demultiplex && other.kind == TaskKind::Demultiplex);
        apart && self.datasets.iter().any(|id| other.datasets.contains(id))
    }
}

/// Gives up a vault that no process here belongs to. `lost` is how many were lost before it: another look at the queue may
/// have given up the same one meanwhile, and one vault counts once.
fn spawn_lost(hub: &Hub, id: TaskId, lost: u32) {
    hub.engine.running().insert(id, hub.stopping.child_token());
    let hub = hub.clone();
    hub.background.clone().spawn(async move {
        if let Err(error) =
            app::tasks::lost(&hub, id, lost, "its vault was not heard of any more").await
        {
            let cause = error.causes();
            tracing::error!(task = %id, cause, "a lost task was not given up: {error}");
        }
        hub.engine.running().remove(&id);
        hub.engine.wake();
    });
}

fn spawn(hub: &Hub, start: Arc<dyn Start>, id: TaskId, lost: u32, ticket: Ticket) {
    let stop = hub.stopping.child_token();
    hub.engine.running().insert(id, stop.clone());
    let hub = hub.clone();
    hub.background.clone().spawn(async move {
        start.run(id, ticket, stop).await;
        // A hub that stops takes its vaults with it; their tasks wait for the next start, and no vault counts as lost.
        let ended = if hub.stopping.is_cancelled() {
            app::tasks::wait_again(&hub, id).await
        } else {
            app::tasks::lost(&hub, id, lost, "its vault ended without a receipt").await
        };
        if let Err(error) = ended {
            tracing::error!(task = %id, cause = error.causes(), "a task was not given up: {error}");
        }
        // Not before: a task that is in no process and not yet given up would be started a second time.
        hub.engine.running().remove(&id);
        hub.engine.wake();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dataset_that_is_written_anew_is_read_by_no_other_task_meanwhile() {
        let (one, two) = (DatasetId::generate(), DatasetId::generate());
        let task = |kind, datasets: &[DatasetId]| Footprint { kind, datasets: datasets.to_vec() };
        let (app, run, anew) = (TaskKind::App, TaskKind::Demultiplex, TaskKind::Reseal);
        for (a, b, expected) in [
            (task(app, &[one, two]), task(app, &[one]), false),
            (task(app, &[one]), task(run, &[one]), false),
            (task(run, &[one]), task(run, &[one]), true),
            (task(run, &[one]), task(run, &[two]), false),
            (task(app, &[two, one]), task(anew, &[one]), true),
            (task(run, &[one]), task(anew, &[one]), true),
            (task(app, &[two]), task(anew, &[one]), false),
        ] {
            assert_eq!((a.meets(&b), b.meets(&a)), (expected, expected));
        }
    }
}
