//! Runs: what a person or a broker says about one that grows no more, and demultiplexing it again.

use api::{
    CloseRun, Dataset, DatasetId, DatasetKind, ExecutionState, NoticeKind, Requeue, RunAttention,
    Task, TaskKind,
};

use super::caller::object;
use super::datasets::{permitted, show};
use super::{Caller, tasks};
use crate::HubError;
use crate::data::datasets::Kept;
use crate::data::notices::NewNotice;
use crate::data::{self, Connection};
use crate::policy::Action;
use crate::state::Hub;

/// The longest reason: one of the broker's fixed sentences.
const MOST_REASON_BYTES: usize = 200;

/// The run, if the caller may do `action` to it; another kind of dataset is not found under this name.
pub(super) async fn run(
    at: &mut Connection,
    caller: &Caller,
    id: DatasetId,
    action: Action,
) -> Result<Kept, HubError> {
    let kept = permitted(at, caller, id, action).await?;
    if kept.dataset.kind == DatasetKind::Run {
        Ok(kept)
    } else {
        Err(HubError::not_found("run", id))
    }
}

/// A reason that may stand in the clear: short, printable, one line.
pub(super) fn reason(text: &str) -> Result<&str, HubError> {
    if text.len() <= MOST_REASON_BYTES && !text.chars().any(char::is_control) {
        Ok(text)
    } else {
        Err(HubError::bad_request(format!(
            "the reason is not one line of {MOST_REASON_BYTES} bytes"
        ))
        .hint("it stands in the clear: say what happened, without data"))
    }
}

/// A run that is still arriving grows no more: a person decides.
pub(crate) async fn attention(
    hub: &Hub,
    caller: &Caller,
    id: DatasetId,
    body: RunAttention,
) -> Result<Dataset, HubError> {
    let why = reason(&body.reason)?;
    let mut tx = hub.db.write().await?;
    let kept = run(&mut tx, caller, id, Action::RunAttention).await?;
    match kept.dataset.execution {
        ExecutionState::Receiving | ExecutionState::NeedsAttention => {}
        state => return Err(wrong_state(id, state, "needs no attention")),
    }
    let state = ExecutionState::NeedsAttention;
    data::datasets::set_execution(&mut tx, id, state, Some(why), caller.at).await?;
    let project = Some(kept.dataset.project);
    let event = caller.event("run.attention", object("dataset", id), project);
    data::events::record(&mut tx, &event).await?;
    if kept.dataset.execution == ExecutionState::Receiving {
        let notice = NewNotice {
            account: kept.dataset.owner,
            kind: NoticeKind::RunNeedsAttention,
            subject: object("dataset", id),
            project,
            once: None,
            at: caller.at,
        };
        data::notices::tell(&mut tx, &notice).await?;
    }
    tx.commit().await?;
    show(hub, caller, id).await
}

/// Takes a run as it is, or gives it up. One without a manifest may be taken too: its broker then closes what is there.
pub(crate) async fn close(
    hub: &Hub,
    caller: &Caller,
    id: DatasetId,
    body: CloseRun,
) -> Result<Dataset, HubError> {
    let mut tx = hub.db.write().await?;
    let kept = run(&mut tx, caller, id, Action::RunClose).await?;
    let (state, why) = match body.as_state {
        ExecutionState::Complete => (ExecutionState::Complete, "taken as it is, by a person"),
        ExecutionState::Failed => (ExecutionState::Failed, "given up, by a person"),
        other => {
            let word = data::word(other);
            return Err(HubError::bad_request(format!("a run is not closed as {word}"))
                .hint("`complete` takes it as it is, `failed` gives it up"));
        }
    };
    match kept.dataset.execution {
        ExecutionState::Receiving | ExecutionState::NeedsAttention => {}
        state => return Err(wrong_state(id, state, "is closed already")),
    }
    data::datasets::set_execution(&mut tx, id, state, Some(why), caller.at).await?;
    let event = caller.event("run.close", object("dataset", id), Some(kept.dataset.project));
    data::events::record(&mut tx, &event).await?;
    tx.commit().await?;
    show(hub, caller, id).await
}

/// Demultiplexes a closed run again, with other settings.
pub(crate) async fn requeue(
    hub: &Hub,
    caller: &Caller,
    id: DatasetId,
    body: Requeue,
) -> Result<Task, HubError> {
    let mut tx = hub.db.write().await?;
    let kept = run(&mut tx, caller, id, Action::RunRequeue).await?;
    if !kept.is_closed() {
        return Err(HubError::conflict(format!("run {id} is not closed yet"))
            .hint("it can be demultiplexed once its manifest is there"));
    }
    for other in data::tasks::unfinished_of(&mut tx, id).await? {
        if !matches!(other.task.kind, TaskKind::App | TaskKind::Query) {
            return Err(HubError::conflict(format!("task {} works on run {id}", other.task.id))
                .hint("wait until it has ended"));
        }
    }
    let task =
        tasks::queue_demultiplex(hub, &mut tx, caller, &kept.dataset, Some(&body.settings)).await?;
    let state = ExecutionState::Processing;
    data::datasets::set_execution(&mut tx, id, state, None, caller.at).await?;
    let event = caller.event("run.requeue", object("dataset", id), Some(kept.dataset.project));
    data::events::record(&mut tx, &event).await?;
    let queued = data::tasks::find(&mut tx, task).await?;
    tx.commit().await?;
    hub.engine.wake();
    queued.map(|kept| kept.task).ok_or_else(|| HubError::not_found("task", task))
}

fn wrong_state(id: DatasetId, state: ExecutionState, what: &str) -> HubError {
    let word = data::word(state);
    HubError::conflict(format!("run {id} is {word} and {what}"))
}
