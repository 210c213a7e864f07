//! Event rows: who did what to which thing. An act, its event and the event's leaf in the audit log are written in one
//! transaction, so there is no event without a leaf and no act without either.

use api::{
    AccountId, Digest, Event, EventId, EventLeaf, OrganizationId, Outcome, ProjectId, RequestId,
    Time,
};
use proof::log::{LeafFields, commitment, pseudonym, purpose_digest};
use sqlx::FromRow;

use super::audit::{self, Bound};
use super::{Connection, Db, from_word, micros, parsed, parsed_or_none, time, word};
use crate::HubError;

/// How many events of a time before the log get their leaves in one transaction.
const BACKFILL: i64 = 1000;
/// The name under which it is remembered that every event has a leaf.
const BEGUN: &str = "audit log begun";

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
    record_bound(at, event, &Bound::default()).await
}

/// Writes it with the digests that it is bound to.
pub(crate) async fn record_bound(
    at: &mut Connection,
    event: &NewEvent,
    bound: &Bound,
) -> Result<(), HubError> {
    keep(at, EventId::generate(), event, bound).await.map(|_leaf| ())
}

/// Writes an event that is an organization's and about no project of it.
pub(crate) async fn record_for(
    at: &mut Connection,
    organization: OrganizationId,
    event: &NewEvent,
) -> Result<(), HubError> {
    let bound = Bound { organization: Some(organization), ..Bound::default() };
    record_bound(at, event, &bound).await
}

/// Writes an event and its leaf; says which leaf it is.
pub(super) async fn keep(
    at: &mut Connection,
    id: EventId,
    event: &NewEvent,
    bound: &Bound,
) -> Result<u64, HubError> {
    sqlx::query(
        "INSERT INTO events (id, at, actor, act, object, project, purpose, outcome, reason, request_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(id.to_string())
    .bind(micros(event.at))
    .bind(&event.actor)
    .bind(event.act)
    .bind(&event.object)
    .bind(event.project.map(|id| id.to_string()))
    .bind(&event.purpose)
    .bind(word(event.outcome))
    .bind(&event.reason)
    .bind(event.request.map(|id| id.to_string()))
    .execute(&mut *at)
    .await?;
    let told = Event {
        id,
        at: time(micros(event.at))?,
        actor: event.actor.clone(),
        act: event.act.to_owned(),
        object: event.object.clone(),
        purpose: event.purpose.clone(),
        outcome: event.outcome,
        reason: event.reason.clone(),
        request_id: event.request,
        leaf: None,
    };
    if let Some(organization) = bound.organization {
        sqlx::query("INSERT INTO organization_events (organization, event) VALUES ($1, $2)")
            .bind(organization.to_string())
            .bind(id.to_string())
            .execute(&mut *at)
            .await?;
    }
    append(at, told, event.project, bound).await
}

/// Appends the leaf of an event that stands here.
async fn append(
    at: &mut Connection,
    mut event: Event,
    project: Option<ProjectId>,
    bound: &Bound,
) -> Result<u64, HubError> {
    let place = audit::place(at, project).await?;
    // What is about no project is its actor's own affair: a key, a sign-in, an account.
    let account =
        place.owner.or_else(|| event.actor.strip_prefix("account:").and_then(|id| id.parse().ok()));
    let purpose_salt = event.purpose.is_some().then(salt).transpose()?;
    let purpose = event.purpose.as_deref().zip(purpose_salt.as_ref());
    event.leaf = Some(EventLeaf {
        index: place.index,
        salt: salt()?,
        owner: account.map(|account| pseudonym(&place.pseudonyms, account)),
        purpose: purpose.map(|(words, salt)| purpose_digest(salt, words)),
        purpose_salt,
        approval: bound.approval,
        evidence: bound.evidence,
        statement: bound.statement,
    });
    let fields = LeafFields::of(&event);
    let (Some(fields), Some(leaf)) = (fields, &event.leaf) else {
        return Err(HubError::internal("an event has no leaf", "its purpose has no digest"));
    };
    audit::append(at, event.id, account, leaf, commitment(&fields)).await?;
    Ok(place.index)
}

fn salt() -> Result<Digest, HubError> {
    let mut salt = [0; 32];
    seal::fill_random(&mut salt)
        .map_err(|e| HubError::internal("the system gives no randomness for a salt", e))?;
    Ok(Digest(salt))
}

/// Gives leaves to events of a time before there was a log.
async fn begin(db: &Db) -> Result<(), HubError> {
    loop {
        let mut tx = db.write().await?;
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, at, actor, act, object, project, purpose, outcome, reason, request_id FROM events
             WHERE id NOT IN (SELECT event FROM audit_leaves) ORDER BY id LIMIT $1",
        )
        .bind(BACKFILL)
        .fetch_all(&mut *tx)
        .await?;
        let done = rows.is_empty();
        for row in rows {
            let project = parsed_or_none(row.project.clone())?;
            append(&mut tx, row.event()?, project, &Bound::default()).await?;
        }
        if done {
            super::meta::insert(&mut tx, BEGUN, "every event has a leaf").await?;
        }
        tx.commit().await?;
        if done {
            return Ok(());
        }
    }
}

/// Begins the log where there is none yet, and gives an outcome to releases that a stop interrupted. A key leaves when its
/// outcome is on the disk, so what has none did not leave.
pub(crate) async fn repair(db: &Db, now: Time) -> Result<(), HubError> {
    if super::meta::find(&mut *db.read().await?, BEGUN).await?.is_none() {
        begin(db).await?;
    }
    let mut tx = db.write().await?;
    for id in audit::open_intents(&mut tx).await? {
        let row: Option<Row> = sqlx::query_as(
            "SELECT id, at, actor, act, object, project, purpose, outcome, reason, request_id FROM events
             WHERE id = $1",
        )
        .bind(id.to_string())
        .fetch_optional(&mut *tx)
        .await?;
        audit::close_intent(&mut tx, id).await?;
        let Some(row) = row else { continue };
        let project = parsed_or_none(row.project.clone())?;
        let intent = row.event()?;
        let outcome = NewEvent {
            at: now,
            actor: intent.actor,
            act: super::intents::ACTS
                .iter()
                .chain(&crate::app::organization_keys::ACTS)
                .copied()
                .find(|act| *act == intent.act)
                .unwrap_or(super::intents::RELEASE),
            object: intent.object,
            project,
            purpose: intent.purpose,
            outcome: Outcome::Failed,
            reason: Some(super::intents::INTERRUPTED.to_owned()),
            request: intent.request_id,
        };
        record(&mut tx, &outcome).await?;
    }
    tx.commit().await?;
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
    /// Those of projects that this account owns, of what it owned when they were written, and of what it did.
    OwnedBy(AccountId),
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
        "SELECT id, at, actor, act, object, project, purpose, outcome, reason, request_id FROM events
         WHERE id > $1
           AND ($2 IS NULL OR object = $2)
           AND ($3 IS NULL OR project IN (SELECT id FROM projects WHERE owner = $3)
             OR id IN (SELECT event FROM audit_leaves WHERE account = $3)
             OR actor = 'account:' || $3)
         ORDER BY id LIMIT $4",
    )
    .bind(after)
    .bind(object)
    .bind(owner)
    .bind(limit)
    .fetch_all(&mut *at)
    .await?;
    with_leaves(at, rows).await
}

/// The newest events of a project that the account owns, the newest first.
pub(crate) async fn newest(
    at: &mut Connection,
    owner: AccountId,
    project: ProjectId,
    most: usize,
) -> Result<Vec<Event>, HubError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, at, actor, act, object, project, purpose, outcome, reason, request_id FROM events
         WHERE project = $1 AND EXISTS (SELECT 1 FROM projects WHERE id = $1 AND owner = $2)
         ORDER BY id DESC LIMIT $3",
    )
    .bind(project.to_string())
    .bind(owner.to_string())
    .bind(i64::try_from(most).unwrap_or(i64::MAX))
    .fetch_all(&mut *at)
    .await?;
    with_leaves(at, rows).await
}

/// These events, each with its leaf.
async fn with_leaves(at: &mut Connection, rows: Vec<Row>) -> Result<Vec<Event>, HubError> {
    let mut events = rows.into_iter().map(Row::event).collect::<Result<Vec<Event>, HubError>>()?;
    let ids: Vec<EventId> = events.iter().map(|event| event.id).collect();
    let leaves = audit::leaves_of(at, &ids).await?;
    for (event, leaf) in events.iter_mut().zip(leaves) {
        event.leaf = leaf;
    }
    Ok(events)
}

/// A stretch of time: from its first moment on, and before its end.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Period {
    /// Its first moment.
    pub(crate) from: Option<Time>,
    /// The moment that ends it.
    pub(crate) to: Option<Time>,
}

/// What an account did as a member that is about no project: an operator's acts are the hub's.
macro_rules! own_acts {
    () => {
        "(project IS NULL AND EXISTS (
             SELECT 1 FROM organization_members m JOIN accounts a ON a.id = m.account
             WHERE m.organization = $2 AND events.actor = 'account:' || m.account
               AND events.at >= m.joined AND a.operator = 0))"
    };
}

/// Events of an organization in the order they were written, after `after`: of its projects, of its membership, and what
/// its members did about their own accounts since they joined. What callers said they did it for is left out, because
/// these are words of theirs.
pub(crate) async fn of_organization(
    at: &mut Connection,
    id: OrganizationId,
    period: Period,
    after: &str,
    limit: i64,
) -> Result<Vec<Event>, HubError> {
    let rows: Vec<Row> = sqlx::query_as(concat!(
        "SELECT id, at, actor, act, object, project, NULL AS purpose, outcome, reason, request_id FROM events
         WHERE id > $1
           AND ($3 IS NULL OR at >= $3) AND ($4 IS NULL OR at < $4)
           AND (project IN (SELECT project FROM organization_projects WHERE organization = $2)
             OR id IN (SELECT event FROM organization_events WHERE organization = $2)
             OR ",
        own_acts!(),
        ") ORDER BY id LIMIT $5",
    ))
    .bind(after)
    .bind(id.to_string())
    .bind(period.from.map(micros))
    .bind(period.to.map(micros))
    .bind(limit)
    .fetch_all(&mut *at)
    .await?;
    let mut events = with_leaves(at, rows).await?;
    // Without the words their salt would only let them be tried; the leaf opens without either.
    for leaf in events.iter_mut().filter_map(|event| event.leaf.as_mut()) {
        leaf.purpose_salt = None;
    }
    Ok(events)
}

/// Before an account leaves: what it did about itself while it was a member stays the organization's.
pub(crate) async fn keep_acts_of_leaver(
    at: &mut Connection,
    id: OrganizationId,
    account: AccountId,
) -> Result<(), HubError> {
    sqlx::query(concat!(
        "INSERT OR IGNORE INTO organization_events (organization, event)
         SELECT $2, id FROM events WHERE actor = 'account:' || $1 AND ",
        own_acts!(),
    ))
    .bind(account.to_string())
    .bind(id.to_string())
    .execute(at)
    .await?;
    Ok(())
}

/// Takes away what callers wrote about a project that is gone; the acts stay.
pub(crate) async fn forget_purposes(
    at: &mut Connection,
    project: ProjectId,
) -> Result<(), HubError> {
    sqlx::query("UPDATE events SET purpose = NULL WHERE project = $1")
        .bind(project.to_string())
        .execute(&mut *at)
        .await?;
    audit::forget_purposes(at, project).await
}

#[derive(FromRow)]
struct Row {
    id: String,
    at: i64,
    actor: String,
    act: String,
    object: String,
    project: Option<String>,
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
            leaf: None,
        })
    }
}
