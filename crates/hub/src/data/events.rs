//! Event rows: who did what to which thing. An act and its event are written in one transaction.

use api::{Event, EventId, Outcome, ProjectId, RequestId, Time};
use sqlx::FromRow;

use super::{Connection, from_word, micros, parsed, parsed_or_none, time, word};
use crate::HubError;

/// An event that is about to be written.
#[derive(Debug, Clone)]
pub(crate) struct NewEvent {
    /// When.
    pub(crate) at: Time,
    /// Who, as `account:ID`, `vault:TASK`, `hub` or `nobody`.
    pub(crate) actor: String,
    /// The act.
    pub(crate) act: &'static str,
    /// The thing, as `kind:id`.
    pub(crate) object: String,
    /// The project whose owner sees it.
    pub(crate) project: Option<ProjectId>,
    /// What for, where the caller says so.
    pub(crate) purpose: Option<String>,
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// Why it was refused or failed: an error code.
    pub(crate) reason: Option<String>,
    /// The call.
    pub(crate) request: Option<RequestId>,
}

/// Writes it.
pub(crate) async fn record(at: &mut Connection, event: &NewEvent) -> Result<(), HubError> {
    sqlx::query(
        "INSERT INTO events (id, at, actor, act, object, project, purpose, outcome, reason, request_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(EventId::generate().to_string())
    .bind(micros(event.at))
    .bind(&event.actor)
    .bind(event.act)
    .bind(&event.object)
    .bind(event.project.map(|id| id.to_string()))
    .bind(&event.purpose)
    .bind(word(event.outcome))
    .bind(&event.reason)
    .bind(event.request.map(|id| id.to_string()))
    .execute(at)
    .await?;
    Ok(())
}

/// A call that was refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// When.
    pub(crate) at: Time,
    /// Who.
    pub(crate) actor: String,
    /// What it wanted to do.
    pub(crate) act: String,
    /// To what.
    pub(crate) object: String,
    /// The project whose owner sees it.
    pub(crate) project: Option<ProjectId>,
    /// The error code.
    pub(crate) code: String,
}

/// The refusal of that call, if there was one.
pub(crate) async fn refusal(
    at: &mut Connection,
    call: RequestId,
) -> Result<Option<Refusal>, HubError> {
    let row: Option<RefusalRow> = sqlx::query_as(
        "SELECT at, actor, act, object, project, reason FROM events
         WHERE request_id = $1 AND outcome = 'refused'",
    )
    .bind(call.to_string())
    .fetch_optional(at)
    .await?;
    row.map(RefusalRow::refusal).transpose()
}

#[derive(FromRow)]
struct RefusalRow {
    at: i64,
    actor: String,
    act: String,
    object: String,
    project: Option<String>,
    reason: Option<String>,
}

impl RefusalRow {
    fn refusal(self) -> Result<Refusal, HubError> {
        Ok(Refusal {
            at: time(self.at)?,
            actor: self.actor,
            act: self.act,
            object: self.object,
            project: parsed_or_none(self.project)?,
            code: self.reason.unwrap_or_default(),
        })
    }
}

/// Whose events a list shows.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scope {
    /// All.
    Everything,
    /// Those of projects that this account owns.
    OwnedBy(api::AccountId),
}

/// Events in the order they were written, after `after`, of one object if named.
pub(crate) async fn list(
    at: &mut Connection,
    scope: Scope,
    object: Option<&str>,
    after: &str,
    limit: i64,
) -> Result<Vec<Event>, HubError> {
    let owner = match scope {
        Scope::Everything => None,
        Scope::OwnedBy(account) => Some(account.to_string()),
    };
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, at, actor, act, object, purpose, outcome, reason, request_id FROM events
         WHERE id > $1
           AND ($2 IS NULL OR object = $2)
           AND ($3 IS NULL OR project IN (SELECT id FROM projects WHERE owner = $3))
         ORDER BY id LIMIT $4",
    )
    .bind(after)
    .bind(object)
    .bind(owner)
    .bind(limit)
    .fetch_all(at)
    .await?;
    rows.into_iter().map(Row::event).collect()
}

/// Takes away what callers wrote about a project that is gone; the acts stay.
pub(crate) async fn forget_purposes(
    at: &mut Connection,
    project: ProjectId,
) -> Result<(), HubError> {
    sqlx::query("UPDATE events SET purpose = NULL WHERE project = $1")
        .bind(project.to_string())
        .execute(at)
        .await?;
    Ok(())
}

#[derive(FromRow)]
struct Row {
    id: String,
    at: i64,
    actor: String,
    act: String,
    object: String,
    purpose: Option<String>,
    outcome: String,
    reason: Option<String>,
    request_id: Option<String>,
}

impl Row {
    fn event(self) -> Result<Event, HubError> {
        Ok(Event {
            id: parsed(&self.id)?,
            at: time(self.at)?,
            actor: self.actor,
            act: self.act,
            object: self.object,
            purpose: self.purpose,
            outcome: from_word(self.outcome)?,
            reason: self.reason,
            request_id: parsed_or_none(self.request_id)?,
        })
    }
}
