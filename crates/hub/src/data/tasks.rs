//! Tasks of vaults: the queue, who claimed what, and how it ended.

use api::{
    AccountId, Bytes, DatasetId, Digest, KeyId, ProjectId, Sealed, SessionId, SignedStatement,
    Task, TaskId, TaskKind, TaskState, Time,
};
use proof::EvidenceKind;
use sqlx::FromRow;

use super::members::Viewer;
use super::{
    Connection, from_word, micros, parsed, parsed_or_none, small, time, time_or_none, word,
};
use crate::HubError;

/// A task with what only the hub uses.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    /// As it is shown.
    pub(crate) task: Task,
    /// Whose members see it.
    pub(crate) project: ProjectId,
    /// The key that queued it; not kept for tasks of earlier versions.
    pub(crate) key: Option<KeyId>,
    /// Sealed settings of its own.
    pub(crate) settings: Option<Sealed>,
    /// Whether a person asked for the demultiplexing again.
    pub(crate) requeue: bool,
    /// Whether it began before the run was closed.
    pub(crate) early: bool,
    /// The SHA-256 of the ticket that waits to be used.
    pub(crate) ticket: Option<Digest>,
    /// The key of the vault that claimed it.
    pub(crate) vault_key: Option<KeyId>,
    /// The digest of that vault's evidence.
    pub(crate) evidence: Option<Digest>,
    /// How that vault proved what it is; not kept of tasks of earlier versions.
    pub(crate) evidence_kind: Option<EvidenceKind>,
    /// How often a vault was lost.
    pub(crate) lost: u32,
    /// When the vault was last heard of.
    pub(crate) heard: Option<Time>,
}

/// On whose behalf a task runs.
pub(crate) async fn owner(at: &mut Connection, id: TaskId) -> Result<AccountId, HubError> {
    let owner: String = sqlx::query_scalar("SELECT owner FROM tasks WHERE id = $1")
        .bind(id.to_string())
        .fetch_one(at)
        .await?;
    parsed(&owner)
}

/// A task about to wait.
#[derive(Debug)]
pub(crate) struct NewTask<'a> {
    /// Its id.
    pub(crate) id: TaskId,
    /// What it does.
    pub(crate) kind: TaskKind,
    /// The dataset it is about.
    pub(crate) subject: DatasetId,
    /// The app session.
    pub(crate) session: Option<SessionId>,
    /// Whose members see it.
    pub(crate) project: ProjectId,
    /// On whose behalf.
    pub(crate) owner: AccountId,
    /// The key that queued it: what it is limited to, the task is too.
    pub(crate) key: KeyId,
    /// Sealed settings of its own.
    pub(crate) settings: Option<&'a Sealed>,
    /// Whether a person asked for the demultiplexing again.
    pub(crate) requeue: bool,
    /// Whether it begins before the run is closed.
    pub(crate) early: bool,
    /// What it reads, by name, in order.
    pub(crate) inputs: &'a [(String, DatasetId)],
    /// Now.
    pub(crate) created: Time,
}

/// What a task reads.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    /// Its name.
    pub(crate) name: String,
    /// Which dataset.
    pub(crate) dataset: DatasetId,
    /// The digest of the manifest that the vault was given.
    pub(crate) manifest: Option<Digest>,
}

/// Lets a task wait.
pub(crate) async fn insert(at: &mut Connection, new: &NewTask<'_>) -> Result<(), HubError> {
    sqlx::query(
        "INSERT INTO tasks (id, kind, state, subject, session, project, owner, settings, requeue, created,
             by_key, early)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(new.id.to_string())
    .bind(word(new.kind))
    .bind(word(TaskState::Queued))
    .bind(new.subject.to_string())
    .bind(new.session.map(|id| id.to_string()))
    .bind(new.project.to_string())
    .bind(new.owner.to_string())
    .bind(new.settings.map(|settings| settings.0.as_slice()))
    .bind(new.requeue)
    .bind(micros(new.created))
    .bind(new.key.to_string())
    .bind(new.early)
    .execute(&mut *at)
    .await?;
    for (position, (name, dataset)) in (0_i64..).zip(new.inputs) {
        sqlx::query(
            "INSERT INTO task_inputs (task, position, name, dataset) VALUES ($1, $2, $3, $4)",
        )
        .bind(new.id.to_string())
        .bind(position)
        .bind(name)
        .bind(dataset.to_string())
        .execute(&mut *at)
        .await?;
    }
    Ok(())
}

/// The task, whoever asks.
pub(crate) async fn find(at: &mut Connection, id: TaskId) -> Result<Option<Kept>, HubError> {
    let row: Option<Row> = sqlx::query_as("SELECT * FROM tasks WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(at)
        .await?;
    row.map(Row::kept).transpose()
}

/// What the task reads, in order.
pub(crate) async fn inputs(at: &mut Connection, id: TaskId) -> Result<Vec<Input>, HubError> {
    let rows: Vec<(String, String, Option<String>)> = sqlx::query_as(
        "SELECT name, dataset, manifest FROM task_inputs WHERE task = $1 ORDER BY position",
    )
    .bind(id.to_string())
    .fetch_all(at)
    .await?;
    rows.into_iter()
        .map(|(name, dataset, manifest)| {
            Ok(Input { name, dataset: parsed(&dataset)?, manifest: parsed_or_none(manifest)? })
        })
        .collect()
}

/// Adds what the task reads besides.
pub(crate) async fn add_input(
    at: &mut Connection,
    id: TaskId,
    name: &str,
    dataset: DatasetId,
) -> Result<(), HubError> {
    sqlx::query(
        "INSERT INTO task_inputs (task, position, name, dataset)
         SELECT $1, count(*), $2, $3 FROM task_inputs WHERE task = $1",
    )
    .bind(id.to_string())
    .bind(name)
    .bind(dataset.to_string())
    .execute(at)
    .await?;
    Ok(())
}

/// Early demultiplexings of a run that are complete, the latest first.
pub(crate) async fn early_of(at: &mut Connection, run: DatasetId) -> Result<Vec<TaskId>, HubError> {
    let ids: Vec<String> = sqlx::query_scalar(
        "SELECT id FROM tasks WHERE subject = $1 AND early AND state = $2 ORDER BY id DESC",
    )
    .bind(run.to_string())
    .bind(word(TaskState::Complete))
    .fetch_all(at)
    .await?;
    ids.iter().map(|id| parsed(id)).collect()
}

/// An early demultiplexing that still waits when the run is closed is an ordinary one.
pub(crate) async fn set_not_early(at: &mut Connection, id: TaskId) -> Result<(), HubError> {
    sqlx::query("UPDATE tasks SET early = 0 WHERE id = $1")
        .bind(id.to_string())
        .execute(at)
        .await?;
    Ok(())
}

/// Remembers which manifest of an input the vault was given.
pub(crate) async fn set_input_manifest(
    at: &mut Connection,
    id: TaskId,
    dataset: DatasetId,
    manifest: Digest,
) -> Result<(), HubError> {
    sqlx::query("UPDATE task_inputs SET manifest = $3 WHERE task = $1 AND dataset = $2")
        .bind(id.to_string())
        .bind(dataset.to_string())
        .bind(manifest.to_string())
        .execute(at)
        .await?;
    Ok(())
}

/// Whether the task reads this dataset.
pub(crate) async fn reads(
    at: &mut Connection,
    id: TaskId,
    dataset: DatasetId,
) -> Result<bool, HubError> {
    let found: Option<i64> =
        sqlx::query_scalar("SELECT 1 FROM task_inputs WHERE task = $1 AND dataset = $2 LIMIT 1")
            .bind(id.to_string())
            .bind(dataset.to_string())
            .fetch_optional(at)
            .await?;
    Ok(found.is_some())
}

/// Tasks that `account` may know of, in the order of their ids, after `after`, of one subject if named.
pub(crate) async fn list(
    at: &mut Connection,
    viewer: Viewer,
    subject: Option<DatasetId>,
    after: &str,
    limit: i64,
) -> Result<Vec<Kept>, HubError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT t.* FROM tasks t JOIN projects p ON p.id = t.project
         LEFT JOIN members m ON m.project = p.id AND m.account = $1
         WHERE (p.owner = $1 OR m.right IS NOT NULL) AND p.deleting IS NULL
             AND ($5 IS NULL OR EXISTS (SELECT 1 FROM key_projects WHERE key = $5 AND project = p.id))
             AND ($2 IS NULL OR t.subject = $2) AND t.id > $3
         ORDER BY t.id LIMIT $4",
    )
    .bind(viewer.account.to_string())
    .bind(subject.map(|id| id.to_string()))
    .bind(after)
    .bind(limit)
    .bind(viewer.key())
    .fetch_all(at)
    .await?;
    rows.into_iter().map(Row::kept).collect()
}

/// Tasks in one state, the oldest first.
pub(crate) async fn in_state(
    at: &mut Connection,
    state: TaskState,
    limit: i64,
) -> Result<Vec<Kept>, HubError> {
    let rows: Vec<Row> =
        sqlx::query_as("SELECT * FROM tasks WHERE state = $1 ORDER BY id LIMIT $2")
            .bind(word(state))
            .bind(limit)
            .fetch_all(at)
            .await?;
    rows.into_iter().map(Row::kept).collect()
}

/// The organizations that hold the keys of what a task reads or writes.
pub(crate) async fn organizations(
    at: &mut Connection,
    id: TaskId,
) -> Result<Vec<api::OrganizationId>, HubError> {
    let ids: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT o.organization FROM organization_projects o
         JOIN projects p ON p.id = o.project AND p.custodian = 'organization'
         WHERE p.id IN (SELECT project FROM tasks WHERE id = $1
                        UNION SELECT d.project FROM task_inputs i JOIN datasets d ON d.id = i.dataset
                              WHERE i.task = $1)",
    )
    .bind(id.to_string())
    .fetch_all(at)
    .await?;
    ids.iter().map(|id| parsed(id)).collect()
}

/// Tasks that wait or run and are about this dataset, read it or write it.
pub(crate) async fn unfinished_of(
    at: &mut Connection,
    dataset: DatasetId,
) -> Result<Vec<Kept>, HubError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT t.* FROM tasks t WHERE t.state IN ($2, $3) AND (t.subject = $1
             OR EXISTS (SELECT 1 FROM task_inputs i WHERE i.task = t.id AND i.dataset = $1)
             OR EXISTS (SELECT 1 FROM datasets d WHERE d.task = t.id AND d.id = $1))
         ORDER BY t.id",
    )
    .bind(dataset.to_string())
    .bind(word(TaskState::Queued))
    .bind(word(TaskState::Running))
    .fetch_all(at)
    .await?;
    rows.into_iter().map(Row::kept).collect()
}

/// Gives a waiting task a new ticket, of which the hash is kept; says how many vaults it lost before, or nothing if it does
/// not wait any more.
pub(crate) async fn set_ticket(
    at: &mut Connection,
    id: TaskId,
    ticket: Digest,
) -> Result<Option<u32>, HubError> {
    let lost: Option<i64> = sqlx::query_scalar(
        "UPDATE tasks SET ticket = $2 WHERE id = $1 AND state = $3 RETURNING lost",
    )
    .bind(id.to_string())
    .bind(ticket.to_string())
    .bind(word(TaskState::Queued))
    .fetch_optional(at)
    .await?;
    lost.map(small).transpose()
}

/// Whether a vault was given a ticket for this task and may still claim it.
pub(crate) async fn is_expected(at: &mut Connection, id: TaskId) -> Result<bool, HubError> {
    Ok(sqlx::query_scalar(
        "SELECT count(*) > 0 FROM tasks WHERE id = $1 AND ticket IS NOT NULL AND state IN ($2, $3)",
    )
    .bind(id.to_string())
    .bind(word(TaskState::Queued))
    .bind(word(TaskState::Running))
    .fetch_one(at)
    .await?)
}

/// A vault takes the task against the ticket; says whether ticket and state were right. The ticket stays, for the same vault
/// to make the same claim again when the answer was lost.
pub(crate) async fn claim(
    at: &mut Connection,
    id: TaskId,
    ticket: Digest,
    vault_key: KeyId,
    (evidence, kind): (Digest, EvidenceKind),
    now: Time,
) -> Result<bool, HubError> {
    let done = sqlx::query(
        "UPDATE tasks SET state = $3, vault_key = $4, evidence = $5, started = $6, heard = $6, evidence_kind = $8
         WHERE id = $1 AND ticket = $2 AND state = $7",
    )
    .bind(id.to_string())
    .bind(ticket.to_string())
    .bind(word(TaskState::Running))
    .bind(vault_key.to_string())
    .bind(evidence.to_string())
    .bind(micros(now))
    .bind(word(TaskState::Queued))
    .bind(word(kind))
    .execute(at)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The vault was heard of.
pub(crate) async fn set_progress(
    at: &mut Connection,
    id: TaskId,
    percent: u8,
    now: Time,
) -> Result<(), HubError> {
    sqlx::query(
        "UPDATE tasks SET percent = max(percent, $2), heard = $3 WHERE id = $1 AND state = $4",
    )
    .bind(id.to_string())
    .bind(percent)
    .bind(micros(now))
    .bind(word(TaskState::Running))
    .execute(at)
    .await?;
    Ok(())
}

/// Lets a task whose vault is gone wait again; `lost` says whether that counts.
pub(crate) async fn set_waiting_again(
    at: &mut Connection,
    id: TaskId,
    lost: bool,
) -> Result<(), HubError> {
    sqlx::query(
        "UPDATE tasks SET state = $2, ticket = NULL, vault_key = NULL, evidence = NULL, started = NULL,
             evidence_kind = NULL, heard = NULL, percent = 0, lost = lost + $3 WHERE id = $1",
    )
    .bind(id.to_string())
    .bind(word(TaskState::Queued))
    .bind(lost)
    .execute(at)
    .await?;
    Ok(())
}

/// Removes the tasks about a dataset that goes away: its own, and the one that made it as an app's result.
pub(crate) async fn remove_of(at: &mut Connection, dataset: DatasetId) -> Result<(), HubError> {
    sqlx::query(
        "DELETE FROM tasks WHERE (subject = $1 AND session IS NULL)
             OR session IN (SELECT id FROM sessions WHERE result = $1)",
    )
    .bind(dataset.to_string())
    .execute(at)
    .await?;
    Ok(())
}

/// Ends a task that waits or runs; says whether it did.
pub(crate) async fn end(
    at: &mut Connection,
    id: TaskId,
    state: TaskState,
    reason: Option<&str>,
    receipt: Option<&SignedStatement>,
    now: Time,
) -> Result<bool, HubError> {
    let done = sqlx::query(
        "UPDATE tasks SET state = $2, reason = $3, statement = $4, signature = $5, signer = $6, ended = $7,
             ticket = NULL, percent = CASE WHEN $2 = $8 THEN 100 ELSE percent END
         WHERE id = $1 AND state IN ($9, $10)",
    )
    .bind(id.to_string())
    .bind(word(state))
    .bind(reason)
    .bind(receipt.map(|signed| signed.statement.as_str()))
    .bind(receipt.map(|signed| signed.signature.0.as_slice()))
    .bind(receipt.map(|signed| signed.signer.0.as_slice()))
    .bind(micros(now))
    .bind(word(TaskState::Complete))
    .bind(word(TaskState::Queued))
    .bind(word(TaskState::Running))
    .execute(at)
    .await?;
    Ok(done.rows_affected() == 1)
}

#[derive(FromRow)]
struct Row {
    id: String,
    kind: String,
    state: String,
    subject: String,
    session: Option<String>,
    project: String,
    owner: String,
    by_key: Option<String>,
    reason: Option<String>,
    percent: i64,
    settings: Option<Vec<u8>>,
    requeue: bool,
    early: bool,
    ticket: Option<String>,
    vault_key: Option<String>,
    evidence: Option<String>,
    evidence_kind: Option<String>,
    lost: i64,
    statement: Option<String>,
    signature: Option<Vec<u8>>,
    signer: Option<Vec<u8>>,
    created: i64,
    started: Option<i64>,
    heard: Option<i64>,
    ended: Option<i64>,
}

impl Row {
    fn kept(self) -> Result<Kept, HubError> {
        let receipt = match (self.statement, self.signature, self.signer) {
            (Some(statement), Some(signature), Some(signer)) => Some(SignedStatement {
                statement,
                signature: Bytes(signature),
                signer: Bytes(signer),
            }),
            _ => None,
        };
        Ok(Kept {
            project: parsed(&self.project)?,
            key: parsed_or_none(self.by_key)?,
            task: Task {
                id: parsed(&self.id)?,
                kind: from_word(self.kind)?,
                state: from_word(self.state)?,
                subject: parsed(&self.subject)?,
                session: parsed_or_none(self.session)?,
                owner: parsed(&self.owner)?,
                reason: self.reason,
                percent: u8::try_from(self.percent.clamp(0, 100)).unwrap_or(100),
                receipt,
                created: time(self.created)?,
                started: time_or_none(self.started)?,
                ended: time_or_none(self.ended)?,
            },
            settings: self.settings.map(Bytes),
            requeue: self.requeue,
            early: self.early,
            ticket: parsed_or_none(self.ticket)?,
            vault_key: parsed_or_none(self.vault_key)?,
            evidence: parsed_or_none(self.evidence)?,
            evidence_kind: self.evidence_kind.map(from_word).transpose()?,
            lost: small(self.lost)?,
            heard: time_or_none(self.heard)?,
        })
    }
}
