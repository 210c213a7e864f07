//! Requests for owners' approvals, and what came of them.

use api::{
    AccountId, ApprovalId, ApprovalRequest, ApprovalState, DatasetId, Digest, KeyId, ProjectId,
    Release, SignedApproval, SignedStatement, TaskId, Time,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::FromRow;

use super::members::Viewer;
use super::{Connection, damaged, from_word, micros, parsed, parsed_or_none, time, word};
use crate::HubError;

/// A request with what only the hub uses.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    /// As it is shown.
    pub(crate) request: ApprovalRequest,
    /// The vault that waits for it.
    pub(crate) vault_key: KeyId,
    /// That vault's evidence.
    pub(crate) evidence: SignedStatement,
    /// The approval, and the card that it was checked against.
    pub(crate) approved: Option<(SignedApproval, SignedStatement)>,
    /// Its digest.
    pub(crate) digest: Option<Digest>,
    /// The keys that came with it, until the task has ended.
    pub(crate) keys: Option<Vec<Release>>,
}

/// A request about to wait.
#[derive(Debug)]
pub(crate) struct NewApproval<'a> {
    /// Its id.
    pub(crate) id: ApprovalId,
    /// The task.
    pub(crate) task: TaskId,
    /// Whose owner is asked.
    pub(crate) project: ProjectId,
    /// The vault that waits.
    pub(crate) vault_key: KeyId,
    /// Its evidence.
    pub(crate) evidence: &'a SignedStatement,
    /// Now.
    pub(crate) created: Time,
    /// Until when an answer is taken.
    pub(crate) expires: Time,
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("a type of the wire serializes because it holds texts")
}

fn from_json<T: DeserializeOwned>(text: Option<String>) -> Result<Option<T>, HubError> {
    text.map(|text| serde_json::from_str(&text)).transpose().map_err(damaged)
}

/// Lets a request wait. The same vault's claim again leaves the one that waits.
pub(crate) async fn insert(at: &mut Connection, new: &NewApproval<'_>) -> Result<(), HubError> {
    sqlx::query(
        "INSERT INTO approvals (id, task, project, vault_key, evidence, state, created, expires)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (task, project, vault_key) DO NOTHING",
    )
    .bind(new.id.to_string())
    .bind(new.task.to_string())
    .bind(new.project.to_string())
    .bind(new.vault_key.to_string())
    .bind(json(new.evidence))
    .bind(word(ApprovalState::Pending))
    .bind(micros(new.created))
    .bind(micros(new.expires))
    .execute(at)
    .await?;
    Ok(())
}

const COLUMNS: &str =
    "a.id, a.task, a.project, a.vault_key, a.evidence, a.state, a.reason, a.approval, a.card,
    a.digest, a.keys, a.created, a.expires, t.kind, t.owner AS requester";

/// A request, whoever asks.
pub(crate) async fn find(at: &mut Connection, id: ApprovalId) -> Result<Option<Kept>, HubError> {
    let query =
        format!("SELECT {COLUMNS} FROM approvals a JOIN tasks t ON t.id = a.task WHERE a.id = $1");
    let row: Option<Row> =
        sqlx::query_as(sqlx::AssertSqlSafe(query)).bind(id.to_string()).fetch_optional(at).await?;
    row.map(Row::kept).transpose()
}

/// Requests to `viewer` as the owner of projects, oldest first, after `after`.
pub(crate) async fn list(
    at: &mut Connection,
    viewer: Viewer,
    after: &str,
    limit: i64,
) -> Result<Vec<Kept>, HubError> {
    let query = format!(
        "SELECT {COLUMNS} FROM approvals a JOIN tasks t ON t.id = a.task JOIN projects p ON p.id = a.project
         WHERE p.owner = $1 AND p.deleting IS NULL AND $4 IS NULL AND a.id > $2 ORDER BY a.id LIMIT $3"
    );
    let rows: Vec<Row> = sqlx::query_as(sqlx::AssertSqlSafe(query))
        .bind(viewer.account.to_string())
        .bind(after)
        .bind(limit)
        .bind(viewer.key())
        .fetch_all(at)
        .await?;
    rows.into_iter().map(Row::kept).collect()
}

/// How an owner's list stands: how many requests are in each state, and which is the newest of them.
pub(crate) type Standing = Vec<(String, i64, String)>;

/// How the list of `viewer` stands: another whenever a request came, was answered, used or ended.
pub(crate) async fn standing(at: &mut Connection, viewer: Viewer) -> Result<Standing, HubError> {
    Ok(sqlx::query_as(
        "SELECT a.state, COUNT(*), MAX(a.id) FROM approvals a JOIN projects p ON p.id = a.project
         WHERE p.owner = $1 AND p.deleting IS NULL AND $2 IS NULL GROUP BY a.state ORDER BY a.state",
    )
    .bind(viewer.account.to_string())
    .bind(viewer.key())
    .fetch_all(at)
    .await?)
}

/// What one vault of a task waits for, in the order of projects.
pub(crate) async fn of_vault(
    at: &mut Connection,
    task: TaskId,
    vault_key: KeyId,
) -> Result<Vec<Kept>, HubError> {
    let query = format!(
        "SELECT {COLUMNS} FROM approvals a JOIN tasks t ON t.id = a.task
         WHERE a.task = $1 AND a.vault_key = $2 ORDER BY a.project"
    );
    let rows: Vec<Row> = sqlx::query_as(sqlx::AssertSqlSafe(query))
        .bind(task.to_string())
        .bind(vault_key.to_string())
        .fetch_all(at)
        .await?;
    rows.into_iter().map(Row::kept).collect()
}

/// The approval under which a vault wrote into a project: its key is one task's alone.
pub(crate) async fn of_writer(
    at: &mut Connection,
    project: ProjectId,
    vault_key: KeyId,
) -> Result<Option<(SignedApproval, SignedStatement)>, HubError> {
    let query = format!(
        "SELECT {COLUMNS} FROM approvals a JOIN tasks t ON t.id = a.task
         WHERE a.project = $1 AND a.vault_key = $2 AND a.approval IS NOT NULL"
    );
    let row: Option<Row> = sqlx::query_as(sqlx::AssertSqlSafe(query))
        .bind(project.to_string())
        .bind(vault_key.to_string())
        .fetch_optional(at)
        .await?;
    Ok(row.map(Row::kept).transpose()?.and_then(|kept| kept.approved))
}

/// Remembers by which approval a dataset's writer counts.
pub(crate) async fn set_writer(
    at: &mut Connection,
    dataset: DatasetId,
    manifest: Digest,
    (approval, card): (&SignedApproval, &SignedStatement),
) -> Result<(), HubError> {
    sqlx::query(
        "INSERT INTO dataset_writers (dataset, manifest, approval, card) VALUES ($1, $2, $3, $4)
         ON CONFLICT (dataset, manifest) DO UPDATE SET approval = $3, card = $4",
    )
    .bind(dataset.to_string())
    .bind(manifest.to_string())
    .bind(json(approval))
    .bind(json(card))
    .execute(at)
    .await?;
    Ok(())
}

/// By which approval the writer of a dataset's manifest counts.
pub(crate) async fn writer(
    at: &mut Connection,
    dataset: DatasetId,
    manifest: Digest,
) -> Result<Option<(SignedApproval, SignedStatement)>, HubError> {
    let row: Option<(String, String)> = sqlx::query_as(
        "SELECT approval, card FROM dataset_writers WHERE dataset = $1 AND manifest = $2",
    )
    .bind(dataset.to_string())
    .bind(manifest.to_string())
    .fetch_optional(at)
    .await?;
    let Some((approval, card)) = row else { return Ok(None) };
    let approval: Option<SignedApproval> = from_json(Some(approval))?;
    let card: Option<SignedStatement> = from_json(Some(card))?;
    Ok(approval.zip(card))
}

/// Keeps a dataset's key as its owner wrapped it to somebody.
pub(crate) async fn share(
    at: &mut Connection,
    dataset: DatasetId,
    account: AccountId,
    key: &Release,
    approval: &SignedApproval,
    now: Time,
) -> Result<(), HubError> {
    sqlx::query(
        "INSERT INTO dataset_shares (dataset, account, key, approval, created) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (dataset, account) DO UPDATE SET key = $3, approval = $4, created = $5",
    )
    .bind(dataset.to_string())
    .bind(account.to_string())
    .bind(json(key))
    .bind(json(approval))
    .bind(micros(now))
    .execute(at)
    .await?;
    Ok(())
}

/// A dataset's key as it was wrapped to somebody, if it was.
pub(crate) async fn shared(
    at: &mut Connection,
    dataset: DatasetId,
    account: AccountId,
) -> Result<Option<Release>, HubError> {
    let key: Option<String> =
        sqlx::query_scalar("SELECT key FROM dataset_shares WHERE dataset = $1 AND account = $2")
            .bind(dataset.to_string())
            .bind(account.to_string())
            .fetch_optional(at)
            .await?;
    from_json(key)
}

/// Answers a request that waits; says whether it did.
pub(crate) async fn approve(
    at: &mut Connection,
    id: ApprovalId,
    (approval, card): (&SignedApproval, &SignedStatement),
    digest: Digest,
    keys: &[Release],
    now: Time,
) -> Result<bool, HubError> {
    let done = sqlx::query(
        "UPDATE approvals SET state = $2, approval = $3, card = $4, digest = $5, keys = $6, answered = $7
         WHERE id = $1 AND state = $8 AND expires > $7",
    )
    .bind(id.to_string())
    .bind(word(ApprovalState::Approved))
    .bind(json(approval))
    .bind(json(card))
    .bind(digest.to_string())
    .bind(json(&keys))
    .bind(micros(now))
    .bind(word(ApprovalState::Pending))
    .execute(at)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Moves a request that waits to `state`; says whether it did.
pub(crate) async fn end(
    at: &mut Connection,
    id: ApprovalId,
    state: ApprovalState,
    reason: Option<&str>,
    now: Time,
) -> Result<bool, HubError> {
    let done = sqlx::query(
        "UPDATE approvals SET state = $2, reason = $3, answered = $4 WHERE id = $1 AND state = $5",
    )
    .bind(id.to_string())
    .bind(word(state))
    .bind(reason)
    .bind(micros(now))
    .bind(word(ApprovalState::Pending))
    .execute(at)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// An approval was handed to its vault.
pub(crate) async fn set_used(at: &mut Connection, id: ApprovalId) -> Result<(), HubError> {
    sqlx::query("UPDATE approvals SET state = $2 WHERE id = $1 AND state = $3")
        .bind(id.to_string())
        .bind(word(ApprovalState::Used))
        .bind(word(ApprovalState::Approved))
        .execute(at)
        .await?;
    Ok(())
}

/// Uses a nonce up; says whether it was new.
pub(crate) async fn use_nonce(
    at: &mut Connection,
    project: ProjectId,
    nonce: Digest,
) -> Result<bool, HubError> {
    let done = sqlx::query(
        "INSERT INTO approval_nonces (project, nonce) VALUES ($1, $2) ON CONFLICT DO NOTHING",
    )
    .bind(project.to_string())
    .bind(nonce.to_string())
    .execute(at)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The vault of a task is gone, or its work is done: what waits expires, and released keys are forgotten.
pub(crate) async fn close_task(at: &mut Connection, task: TaskId) -> Result<(), HubError> {
    sqlx::query(
        "UPDATE approvals SET keys = NULL, state = CASE WHEN state IN ($2, $3) THEN $4 ELSE state END
         WHERE task = $1",
    )
    .bind(task.to_string())
    .bind(word(ApprovalState::Pending))
    .bind(word(ApprovalState::Approved))
    .bind(word(ApprovalState::Expired))
    .execute(at)
    .await?;
    Ok(())
}

/// Whether somebody was asked for a task's keys and gave none: refused, or did not answer in time.
pub(crate) async fn none_came(at: &mut Connection, task: TaskId) -> Result<bool, HubError> {
    let found: i64 =
        sqlx::query_scalar("SELECT count(*) FROM approvals WHERE task = $1 AND state IN ($2, $3)")
            .bind(task.to_string())
            .bind(word(ApprovalState::Refused))
            .bind(word(ApprovalState::Expired))
            .fetch_one(at)
            .await?;
    Ok(found > 0)
}

/// Whether somebody is asked for a task's keys and has not answered yet.
pub(crate) async fn is_awaited(at: &mut Connection, task: TaskId) -> Result<bool, HubError> {
    let found: i64 =
        sqlx::query_scalar("SELECT count(*) FROM approvals WHERE task = $1 AND state = $2")
            .bind(task.to_string())
            .bind(word(ApprovalState::Pending))
            .fetch_one(at)
            .await?;
    Ok(found > 0)
}

/// Lets what nobody answered in time expire.
pub(crate) async fn expire(at: &mut Connection, now: Time) -> Result<(), HubError> {
    sqlx::query("UPDATE approvals SET state = $2 WHERE state = $1 AND expires <= $3")
        .bind(word(ApprovalState::Pending))
        .bind(word(ApprovalState::Expired))
        .bind(micros(now))
        .execute(at)
        .await?;
    Ok(())
}

/// Ends whatever waits or was not fetched yet, everywhere: the database is from a backup.
pub(crate) async fn expire_all(at: &mut Connection) -> Result<(), HubError> {
    sqlx::query("UPDATE approvals SET keys = NULL, state = $3 WHERE state IN ($1, $2)")
        .bind(word(ApprovalState::Pending))
        .bind(word(ApprovalState::Approved))
        .bind(word(ApprovalState::Expired))
        .execute(at)
        .await?;
    Ok(())
}

/// Ends whatever waits in a project or was not fetched yet: its card has changed.
pub(crate) async fn expire_project(at: &mut Connection, id: ProjectId) -> Result<(), HubError> {
    sqlx::query(
        "UPDATE approvals SET keys = NULL, state = $4 WHERE project = $1 AND state IN ($2, $3)",
    )
    .bind(id.to_string())
    .bind(word(ApprovalState::Pending))
    .bind(word(ApprovalState::Approved))
    .bind(word(ApprovalState::Expired))
    .execute(at)
    .await?;
    Ok(())
}

#[derive(FromRow)]
struct Row {
    id: String,
    task: String,
    project: String,
    vault_key: String,
    evidence: String,
    state: String,
    reason: Option<String>,
    approval: Option<String>,
    card: Option<String>,
    digest: Option<String>,
    keys: Option<String>,
    created: i64,
    expires: i64,
    kind: String,
    requester: String,
}

impl Row {
    fn kept(self) -> Result<Kept, HubError> {
        let approval: Option<SignedApproval> = from_json(self.approval)?;
        let card: Option<SignedStatement> = from_json(self.card)?;
        Ok(Kept {
            request: ApprovalRequest {
                id: parsed(&self.id)?,
                project: parsed(&self.project)?,
                task: parsed(&self.task)?,
                kind: from_word(self.kind)?,
                requester: parsed(&self.requester)?,
                state: from_word(self.state)?,
                reason: self.reason,
                created: time(self.created)?,
                expires: time(self.expires)?,
            },
            vault_key: parsed(&self.vault_key)?,
            evidence: serde_json::from_str(&self.evidence).map_err(damaged)?,
            approved: approval.zip(card),
            digest: parsed_or_none(self.digest)?,
            keys: from_json(self.keys)?,
        })
    }
}
