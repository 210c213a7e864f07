//! Approvals of kind `boot`: a vault that an owner's project needs attested starts when that owner said so, once.

use std::collections::BTreeSet;

use api::{
    BootGiven, Custodian, NoticeKind, ProjectId, SignedApproval, Task, TaskId, TaskState, Time,
};
use proof::{Act, Approval, open_statement};

use super::approvals::{owner_card, spend};
use super::caller::{Caller, object};
use crate::HubError;
use crate::data::audit::Bound;
use crate::data::notices::NewNotice;
use crate::data::tasks::Kept;
use crate::data::{self, Connection};
use crate::policy::Action;
use crate::state::Hub;

/// The projects of owners that a task reads or writes.
pub(crate) async fn owners(
    at: &mut Connection,
    kept: &Kept,
) -> Result<BTreeSet<ProjectId>, HubError> {
    let inputs = data::tasks::inputs(at, kept.task.id).await?;
    let mut datasets: Vec<_> = inputs.into_iter().map(|input| input.dataset).collect();
    if let Some(session) = kept.task.session
        && let Some(session) = data::sessions::find(at, session).await?
    {
        datasets.push(session.session.result);
    }
    let mut projects = BTreeSet::new();
    for dataset in datasets {
        let Some(found) = data::datasets::find(at, dataset).await? else { continue };
        if found.dataset.custodian == Custodian::Owner {
            projects.insert(found.dataset.project);
        }
    }
    Ok(projects)
}

/// Those of them that are no trials: each has to let the task's vault start.
async fn needed(at: &mut Connection, kept: &Kept) -> Result<BTreeSet<ProjectId>, HubError> {
    let mut projects = BTreeSet::new();
    for project in owners(at, kept).await? {
        if !owner_card(at, project).await?.0.test {
            projects.insert(project);
        }
    }
    Ok(projects)
}

/// The approvals with which the vault of a task may start, where every owner gave one; nothing while one is missing, and then that
/// owner is told.
pub(crate) async fn ready(
    at: &mut Connection,
    kept: &Kept,
    now: Time,
) -> Result<Option<Vec<BootGiven>>, HubError> {
    let given = data::boots::of_task(at, kept.task.id).await?;
    let mut ready = true;
    for project in needed(at, kept).await? {
        let over = given.iter().find(|(of, _)| *of == project).is_none_or(|(_, given)| {
            open_statement::<Approval>(&given.approval.approval)
                .is_ok_and(|(approval, _)| approval.expires <= now)
        });
        if over {
            ready = false;
            tell(at, kept.task.id, project, now).await?;
        }
    }
    Ok(ready.then(|| given.into_iter().map(|(_, given)| given).collect()))
}

async fn tell(
    at: &mut Connection,
    task: TaskId,
    project: ProjectId,
    now: Time,
) -> Result<(), HubError> {
    let Some((account, _)) = data::projects::maker(at, project).await? else { return Ok(()) };
    let once = format!("boot:{task}:{project}");
    let notice = NewNotice {
        account,
        kind: NoticeKind::ApprovalAsked,
        subject: object("task", task),
        project: Some(project),
        once: Some(&once),
        at: now,
    };
    data::notices::tell(at, &notice).await
}

/// Takes an owner's approval of a boot.
pub(crate) async fn give(
    hub: &Hub,
    caller: &Caller,
    id: TaskId,
    body: SignedApproval,
) -> Result<Task, HubError> {
    let mut tx = hub.db.write().await?;
    let kept = data::tasks::find(&mut tx, id).await?;
    let kept = kept.ok_or_else(|| HubError::not_found("task", id))?;
    let said = open_statement::<Approval>(&body.approval).ok();
    // Whose task it is not learns nothing of it, whatever is sent.
    let project = said.as_ref().map_or(kept.project, |(approval, _)| approval.project);
    let standing = super::projects::standing(&mut tx, caller, project).await?;
    caller.may(Action::ApprovalAnswer, standing, "task", id, Some(project))?;
    if !needed(&mut tx, &kept).await?.contains(&project) {
        return Err(HubError::conflict(format!(
            "task {id} needs no approval of its boot by the owner of project {project}"
        ))
        .hint("trials and what others hold need none"));
    }
    if kept.task.state != TaskState::Queued {
        return Err(HubError::conflict(format!("task {id} waits for no vault")));
    }
    let names = |act: &Act| matches!(act, Act::Boot(boot) if boot.task == id);
    let digest = spend(&mut tx, caller, project, Some(&body), names).await?;
    let (_, card) = owner_card(&mut tx, project).await?;
    data::boots::put(&mut tx, id, project, &BootGiven { approval: body, card }).await?;
    let event = caller.event("approval.boot", object("task", id), Some(project));
    let bound = Bound { approval: Some(digest), ..Bound::default() };
    data::events::record_bound(&mut tx, &event, &bound).await?;
    tx.commit().await?;
    hub.engine.wake();
    Ok(kept.task)
}
