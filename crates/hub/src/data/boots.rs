//! Owners' approvals that vaults may start.

use api::{BootGiven, ProjectId, TaskId};

use super::{Connection, damaged, parsed};
use crate::HubError;

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("a type of the wire serializes because it holds texts")
}

/// Keeps one; a later one takes its place.
pub(crate) async fn put(
    at: &mut Connection,
    task: TaskId,
    project: ProjectId,
    given: &BootGiven,
) -> Result<(), HubError> {
    sqlx::query(
        "INSERT INTO boots (task, project, approval, card) VALUES ($1, $2, $3, $4)
         ON CONFLICT (task, project) DO UPDATE SET approval = $3, card = $4",
    )
    .bind(task.to_string())
    .bind(project.to_string())
    .bind(json(&given.approval))
    .bind(json(&given.card))
    .execute(at)
    .await?;
    Ok(())
}

/// Those of a task, in the order of their projects.
pub(crate) async fn of_task(
    at: &mut Connection,
    task: TaskId,
) -> Result<Vec<(ProjectId, BootGiven)>, HubError> {
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT project, approval, card FROM boots WHERE task = $1 ORDER BY project",
    )
    .bind(task.to_string())
    .fetch_all(at)
    .await?;
    rows.iter()
        .map(|(project, approval, card)| {
            let approval = serde_json::from_str(approval).map_err(damaged)?;
            let card = serde_json::from_str(card).map_err(damaged)?;
            Ok((parsed(project)?, BootGiven { approval, card }))
        })
        .collect()
}

/// They were handed to a vault: another needs others.
pub(crate) async fn forget(at: &mut Connection, task: TaskId) -> Result<(), HubError> {
    sqlx::query("DELETE FROM boots WHERE task = $1").bind(task.to_string()).execute(at).await?;
    Ok(())
}
