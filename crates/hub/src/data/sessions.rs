//! App sessions. Where one stands is what its task says; what it reads is what its task reads.

use api::{AppSession, Bytes, Digest, ListOrder, ProjectId, Sealed, SessionId, SessionInput};
use sqlx::FromRow;

use super::members::Viewer;
use super::{Connection, from_word, micros, parsed, tasks, time, time_or_none};
use crate::HubError;

/// The name of an app's own package among the inputs of its task.
pub(crate) const PACKAGE: &str = "package";

/// A session with what only the hub uses.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    /// As it is shown.
    pub(crate) session: AppSession,
    /// The launch's settings, sealed under the result's key.
    pub(crate) settings: Sealed,
    /// By which call it was made.
    pub(crate) made_by: Digest,
}

/// Keeps a session; a unique violation means that the id is taken.
pub(crate) async fn insert(at: &mut Connection, kept: &Kept) -> Result<(), sqlx::Error> {
    let session = &kept.session;
    sqlx::query(
        "INSERT INTO sessions (id, app, app_name, app_version, app_digest, owner, project, result, task, settings,
             made_by, created)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(session.id.to_string())
    .bind(session.app.to_string())
    .bind(&session.app_name)
    .bind(&session.app_version)
    .bind(session.app_digest.to_string())
    .bind(session.owner.to_string())
    .bind(session.project.to_string())
    .bind(session.result.to_string())
    .bind(session.task.to_string())
    .bind(&kept.settings.0)
    .bind(kept.made_by.to_string())
    .bind(micros(session.created))
    .execute(at)
    .await?;
    Ok(())
}

/// The session, whoever asks.
pub(crate) async fn find(at: &mut Connection, id: SessionId) -> Result<Option<Kept>, HubError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT s.*, t.state, t.reason, t.started, t.ended
         FROM sessions s JOIN tasks t ON t.id = s.task JOIN projects p ON p.id = s.project
         WHERE s.id = $1 AND p.deleting IS NULL",
    )
    .bind(id.to_string())
    .fetch_optional(&mut *at)
    .await?;
    match row {
        Some(row) => row.kept(at).await.map(Some),
        None => Ok(None),
    }
}

/// The statement that lists sessions, onwards from `$3` on this side of it.
macro_rules! listing {
    ($side:literal, $order:literal) => {
        concat!(
            "SELECT s.*, t.state, t.reason, t.started, t.ended
             FROM sessions s JOIN tasks t ON t.id = s.task JOIN projects p ON p.id = s.project
             LEFT JOIN members m ON m.project = p.id AND m.account = $1
             WHERE (p.owner = $1 OR m.right IS NOT NULL) AND p.deleting IS NULL
                 AND ($5 IS NULL OR EXISTS (SELECT 1 FROM key_projects WHERE key = $5 AND project = p.id))
                 AND ($2 IS NULL OR s.project = $2) AND ($3 = '' OR s.id ",
            $side,
            " $3) ORDER BY s.id ",
            $order,
            " LIMIT $4"
        )
    };
}

/// Sessions whose results go into projects of the account, in the order of their ids or against it, onwards from `after`.
pub(crate) async fn list(
    at: &mut Connection,
    viewer: Viewer,
    project: Option<ProjectId>,
    order: ListOrder,
    after: &str,
    limit: i64,
) -> Result<Vec<AppSession>, HubError> {
    let rows: Vec<Row> = sqlx::query_as(match order {
        ListOrder::Oldest => listing!(">", "ASC"),
        ListOrder::Newest => listing!("<", "DESC"),
    })
    .bind(viewer.account.to_string())
    .bind(project.map(|id| id.to_string()))
    .bind(after)
    .bind(limit)
    .bind(viewer.key())
    .fetch_all(&mut *at)
    .await?;
    let mut sessions = Vec::with_capacity(rows.len());
    for row in rows {
        sessions.push(row.kept(at).await?.session);
    }
    Ok(sessions)
}

#[derive(FromRow)]
struct Row {
    id: String,
    app: String,
    app_name: String,
    app_version: String,
    app_digest: String,
    owner: String,
    project: String,
    result: String,
    task: String,
    settings: Vec<u8>,
    made_by: String,
    created: i64,
    state: String,
    reason: Option<String>,
    started: Option<i64>,
    ended: Option<i64>,
}

impl Row {
    async fn kept(self, at: &mut Connection) -> Result<Kept, HubError> {
        let task = parsed(&self.task)?;
        let inputs = tasks::inputs(at, task)
            .await?
            .into_iter()
            .filter(|input| input.name != PACKAGE)
            .map(|input| SessionInput { name: input.name, dataset: input.dataset })
            .collect();
        Ok(Kept {
            settings: Bytes(self.settings),
            made_by: parsed(&self.made_by)?,
            session: AppSession {
                id: parsed(&self.id)?,
                app: parsed(&self.app)?,
                app_name: self.app_name,
                app_version: self.app_version,
                app_digest: parsed(&self.app_digest)?,
                owner: parsed(&self.owner)?,
                inputs,
                project: parsed(&self.project)?,
                result: parsed(&self.result)?,
                state: from_word(self.state)?,
                reason: self.reason,
                task,
                created: time(self.created)?,
                started: time_or_none(self.started)?,
                ended: time_or_none(self.ended)?,
            },
        })
    }
}
