//! Datasets.

use api::{
    AccountId, Bytes, Dataset, DatasetId, DatasetKind, DeliveryState, Digest, ExecutionState,
    KeyId, ListOrder, ProjectId, QualityState, Sealed, TaskId, Time,
};
use sqlx::FromRow;

use super::members::Viewer;
use super::{
    Connection, from_word, micros, parsed, parsed_or_none, signed, small, time, unsigned, word,
};
use crate::HubError;

/// A dataset with what only the hub uses.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    /// As it is shown, with its name still sealed.
    pub(crate) dataset: Dataset,
    /// Sealed settings.
    pub(crate) settings: Option<Sealed>,
    /// By which call it was made.
    pub(crate) made_by: Digest,
    /// Whether the manifest in force is of a run that goes on arriving.
    pub(crate) arriving: bool,
}

impl Kept {
    /// Whether it has a manifest that closed it.
    pub(crate) const fn is_closed(&self) -> bool {
        self.dataset.manifest_number > 0 && !self.arriving
    }
}

/// A dataset about to be kept; the rest of it is as everything begins.
#[derive(Debug)]
pub(crate) struct NewDataset<'a> {
    /// Its id.
    pub(crate) id: DatasetId,
    /// What it is.
    pub(crate) kind: DatasetKind,
    /// Its project.
    pub(crate) project: ProjectId,
    /// Whose account it counts for.
    pub(crate) owner: AccountId,
    /// The key that signed the call.
    pub(crate) writer: KeyId,
    /// Its sealed name.
    pub(crate) label: &'a Sealed,
    /// Its sealed settings.
    pub(crate) settings: Option<&'a Sealed>,
    /// The run or the first input.
    pub(crate) parent: Option<DatasetId>,
    /// The session that makes it.
    pub(crate) session: Option<api::SessionId>,
    /// The task that makes it.
    pub(crate) task: Option<TaskId>,
    /// How many reads.
    pub(crate) reads: Option<u64>,
    /// The card its key is wrapped under.
    pub(crate) card_digest: Digest,
    /// The digest of the call's body.
    pub(crate) made_by: Digest,
    /// Now.
    pub(crate) created: Time,
}

/// What a list is narrowed to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Narrowed {
    /// Datasets of this kind.
    pub(crate) kind: Option<DatasetKind>,
    /// Datasets of this project.
    pub(crate) project: Option<ProjectId>,
    /// Datasets made from this one.
    pub(crate) parent: Option<DatasetId>,
    /// In which direction.
    pub(crate) order: ListOrder,
}

/// Keeps a new dataset; a unique violation means that the id is taken.
pub(crate) async fn insert(at: &mut Connection, new: &NewDataset<'_>) -> Result<(), sqlx::Error> {
    let reads = new.reads.map(i64::try_from).transpose().unwrap_or(Some(i64::MAX));
    sqlx::query(
        "INSERT INTO datasets (id, kind, project, owner, writer, label, settings, execution, quality, delivery,
             parent, session, task, reads, epoch, card_digest, made_by, created, changed)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 0, $15, $16, $17, $17)",
    )
    .bind(new.id.to_string())
    .bind(word(new.kind))
    .bind(new.project.to_string())
    .bind(new.owner.to_string())
    .bind(new.writer.to_string())
    .bind(&new.label.0)
    .bind(new.settings.map(|settings| settings.0.as_slice()))
    .bind(word(ExecutionState::Receiving))
    .bind(word(QualityState::Unknown))
    .bind(word(DeliveryState::Pending))
    .bind(new.parent.map(|id| id.to_string()))
    .bind(new.session.map(|id| id.to_string()))
    .bind(new.task.map(|id| id.to_string()))
    .bind(reads)
    .bind(new.card_digest.to_string())
    .bind(new.made_by.to_string())
    .bind(micros(new.created))
    .execute(at)
    .await?;
    Ok(())
}

/// The dataset, whoever asks; nothing for one that is not there or is being deleted.
pub(crate) async fn find(at: &mut Connection, id: DatasetId) -> Result<Option<Kept>, HubError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT d.*, p.custodian FROM datasets d JOIN projects p ON p.id = d.project
         WHERE d.id = $1 AND d.deleting IS NULL AND p.deleting IS NULL",
    )
    .bind(id.to_string())
    .fetch_optional(at)
    .await?;
    row.map(Row::kept).transpose()
}

/// The statement that lists datasets, onwards from `$5` on this side of it.
macro_rules! listing {
    ($side:literal, $order:literal) => {
        concat!(
            "SELECT d.*, p.custodian
             FROM datasets d JOIN projects p ON p.id = d.project
             LEFT JOIN members m ON m.project = p.id AND m.account = $1
             WHERE (p.owner = $1 OR m.right IS NOT NULL) AND d.deleting IS NULL AND p.deleting IS NULL
                 AND ($7 IS NULL OR EXISTS (SELECT 1 FROM key_projects WHERE key = $7 AND project = p.id))
                 AND ($2 IS NULL OR d.kind = $2) AND ($3 IS NULL OR d.project = $3)
                 AND ($4 IS NULL OR d.parent = $4) AND ($5 = '' OR d.id ",
            $side,
            " $5) ORDER BY d.id ",
            $order,
            " LIMIT $6"
        )
    };
}

/// Datasets that `account` may know of, in the order of their ids or against it, onwards from `after`.
pub(crate) async fn list(
    at: &mut Connection,
    viewer: Viewer,
    narrowed: Narrowed,
    after: &str,
    limit: i64,
) -> Result<Vec<Kept>, HubError> {
    let rows: Vec<Row> = sqlx::query_as(match narrowed.order {
        ListOrder::Oldest => listing!(">", "ASC"),
        ListOrder::Newest => listing!("<", "DESC"),
    })
    .bind(viewer.account.to_string())
    .bind(narrowed.kind.map(word))
    .bind(narrowed.project.map(|id| id.to_string()))
    .bind(narrowed.parent.map(|id| id.to_string()))
    .bind(after)
    .bind(limit)
    .bind(viewer.key())
    .fetch_all(at)
    .await?;
    rows.into_iter().map(Row::kept).collect()
}

/// The key that made a dataset.
pub(crate) async fn writer(at: &mut Connection, id: DatasetId) -> Result<Option<KeyId>, HubError> {
    let writer: Option<String> = sqlx::query_scalar("SELECT writer FROM datasets WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(at)
        .await?;
    parsed_or_none(writer)
}

/// Says where a dataset stands, and why.
pub(crate) async fn set_execution(
    at: &mut Connection,
    id: DatasetId,
    state: ExecutionState,
    reason: Option<&str>,
    now: Time,
) -> Result<(), HubError> {
    sqlx::query("UPDATE datasets SET execution = $2, reason = $3, changed = $4 WHERE id = $1")
        .bind(id.to_string())
        .bind(word(state))
        .bind(reason)
        .bind(micros(now))
        .execute(at)
        .await?;
    Ok(())
}

/// Says what a person judged.
pub(crate) async fn set_quality(
    at: &mut Connection,
    id: DatasetId,
    state: QualityState,
    now: Time,
) -> Result<(), HubError> {
    sqlx::query("UPDATE datasets SET quality = $2, changed = $3 WHERE id = $1")
        .bind(id.to_string())
        .bind(word(state))
        .bind(micros(now))
        .execute(at)
        .await?;
    Ok(())
}

/// Says whether it was handed on.
pub(crate) async fn set_delivery(
    at: &mut Connection,
    id: DatasetId,
    state: DeliveryState,
    now: Time,
) -> Result<(), HubError> {
    sqlx::query("UPDATE datasets SET delivery = $2, changed = $3 WHERE id = $1")
        .bind(id.to_string())
        .bind(word(state))
        .bind(micros(now))
        .execute(at)
        .await?;
    Ok(())
}

/// How many datasets a project has, and their sealed bytes.
pub(crate) async fn size_of_project(
    at: &mut Connection,
    project: ProjectId,
) -> Result<(u64, u64), HubError> {
    let (count, bytes): (i64, i64) = sqlx::query_as(
        "SELECT count(*), coalesce(sum(sealed_bytes), 0) FROM datasets WHERE project = $1 AND deleting IS NULL",
    )
    .bind(project.to_string())
    .fetch_one(at)
    .await?;
    Ok((unsigned(count)?, unsigned(bytes)?))
}

/// Puts a manifest in force: its number, the reads where its writer counted them, and whether the run goes on arriving.
pub(crate) async fn set_manifest(
    at: &mut Connection,
    id: DatasetId,
    number: u32,
    reads: Option<u64>,
    arriving: bool,
    now: Time,
) -> Result<(), HubError> {
    sqlx::query(
        "UPDATE datasets SET manifest_number = $2, reads = coalesce($3, reads), changed = $4, arriving = $5
         WHERE id = $1",
    )
    .bind(id.to_string())
    .bind(number)
    .bind(reads.map(signed).transpose()?)
    .bind(micros(now))
    .bind(arriving)
    .execute(at)
    .await?;
    Ok(())
}

/// Datasets that a task made, besides the one that it was about.
pub(crate) async fn made_by_task(at: &mut Connection, task: TaskId) -> Result<Vec<Kept>, HubError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT d.*, p.custodian FROM datasets d JOIN projects p ON p.id = d.project
         WHERE d.task = $1 AND d.deleting IS NULL AND p.deleting IS NULL ORDER BY d.id",
    )
    .bind(task.to_string())
    .fetch_all(at)
    .await?;
    rows.into_iter().map(Row::kept).collect()
}

/// Empties a dataset that the next vault of its task fills anew: no manifest is in force, and its objects count no more.
pub(crate) async fn empty(at: &mut Connection, id: DatasetId, now: Time) -> Result<(), HubError> {
    sqlx::query("DELETE FROM manifests WHERE dataset = $1")
        .bind(id.to_string())
        .execute(&mut *at)
        .await?;
    sqlx::query("DELETE FROM objects WHERE dataset = $1")
        .bind(id.to_string())
        .execute(&mut *at)
        .await?;
    sqlx::query(
        "UPDATE datasets SET objects = 0, sealed_bytes = 0, manifest_number = 0, execution = $2, changed = $3
         WHERE id = $1",
    )
    .bind(id.to_string())
    .bind(word(ExecutionState::Receiving))
    .bind(micros(now))
    .execute(at)
    .await?;
    Ok(())
}

/// Marks whole samples and reports that an earlier demultiplexing made of this run; says which.
pub(crate) async fn supersede(
    at: &mut Connection,
    run: DatasetId,
    by: TaskId,
    now: Time,
) -> Result<Vec<DatasetId>, HubError> {
    let ids: Vec<String> = sqlx::query_scalar(
        "UPDATE datasets SET execution = $4, changed = $5
         WHERE parent = $1 AND session IS NULL AND task IS NOT NULL AND task <> $2 AND execution = $3
         RETURNING id",
    )
    .bind(run.to_string())
    .bind(by.to_string())
    .bind(word(ExecutionState::Complete))
    .bind(word(ExecutionState::Superseded))
    .bind(micros(now))
    .fetch_all(at)
    .await?;
    ids.iter().map(|id| parsed(id)).collect()
}

/// Marks the dataset as being deleted: from now on it takes nothing and shows nothing.
pub(crate) async fn begin_deletion(
    at: &mut Connection,
    id: DatasetId,
    now: Time,
) -> Result<(), HubError> {
    sqlx::query("UPDATE datasets SET deleting = coalesce(deleting, $2) WHERE id = $1")
        .bind(id.to_string())
        .bind(micros(now))
        .execute(at)
        .await?;
    Ok(())
}

/// Datasets whose deletion began and did not end; those of a project being deleted are its own.
pub(crate) async fn being_deleted(at: &mut Connection) -> Result<Vec<DatasetId>, HubError> {
    let ids: Vec<String> =
        sqlx::query_scalar("SELECT id FROM datasets WHERE deleting IS NOT NULL ORDER BY id")
            .fetch_all(at)
            .await?;
    ids.iter().map(|id| parsed(id)).collect()
}

/// Every dataset of a project, also those being deleted.
pub(crate) async fn of_project(
    at: &mut Connection,
    project: ProjectId,
) -> Result<Vec<DatasetId>, HubError> {
    let ids: Vec<String> =
        sqlx::query_scalar("SELECT id FROM datasets WHERE project = $1 ORDER BY id")
            .bind(project.to_string())
            .fetch_all(at)
            .await?;
    ids.iter().map(|id| parsed(id)).collect()
}

/// Removes the dataset and every row that belongs to it.
pub(crate) async fn remove(at: &mut Connection, id: DatasetId) -> Result<(), HubError> {
    sqlx::query("DELETE FROM datasets WHERE id = $1").bind(id.to_string()).execute(at).await?;
    Ok(())
}

/// A dataset that is being written anew: what holds once the new manifest is there.
#[derive(Debug, Clone)]
pub(crate) struct Reseal {
    /// The task that writes it.
    pub(crate) task: TaskId,
    /// The epoch to come.
    pub(crate) epoch: u32,
    /// The card that its new key is wrapped under.
    pub(crate) card_digest: Digest,
    /// The name under the new key.
    pub(crate) label: Sealed,
    /// The settings under the new key.
    pub(crate) settings: Option<Sealed>,
}

/// The epoch to come of a dataset, if a vault writes it anew.
pub(crate) async fn reseal(at: &mut Connection, id: DatasetId) -> Result<Option<Reseal>, HubError> {
    let row: Option<ResealRow> = sqlx::query_as(
        "SELECT task, epoch, card_digest, label, settings FROM reseals WHERE dataset = $1",
    )
    .bind(id.to_string())
    .fetch_optional(at)
    .await?;
    row.map(|row| {
        Ok(Reseal {
            task: parsed(&row.task)?,
            epoch: small(row.epoch)?,
            card_digest: parsed(&row.card_digest)?,
            label: Bytes(row.label),
            settings: row.settings.map(Bytes),
        })
    })
    .transpose()
}

#[derive(FromRow)]
struct ResealRow {
    task: String,
    epoch: i64,
    card_digest: String,
    label: Vec<u8>,
    settings: Option<Vec<u8>>,
}

/// Opens the epoch to come.
pub(crate) async fn begin_reseal(
    at: &mut Connection,
    id: DatasetId,
    reseal: &Reseal,
) -> Result<(), HubError> {
    sqlx::query(
        "INSERT INTO reseals (dataset, task, epoch, card_digest, label, settings)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (dataset) DO UPDATE SET task = excluded.task, epoch = excluded.epoch,
             card_digest = excluded.card_digest, label = excluded.label, settings = excluded.settings",
    )
    .bind(id.to_string())
    .bind(reseal.task.to_string())
    .bind(reseal.epoch)
    .bind(reseal.card_digest.to_string())
    .bind(&reseal.label.0)
    .bind(reseal.settings.as_ref().map(|settings| settings.0.as_slice()))
    .execute(at)
    .await?;
    Ok(())
}

/// Gives up the epoch to come.
pub(crate) async fn end_reseal(at: &mut Connection, id: DatasetId) -> Result<(), HubError> {
    sqlx::query("DELETE FROM reseals WHERE dataset = $1").bind(id.to_string()).execute(at).await?;
    Ok(())
}

/// Puts the epoch to come in force, with its objects counted. What is of an older epoch is then to be destroyed.
pub(crate) async fn swap_epoch(
    at: &mut Connection,
    id: DatasetId,
    to: &Reseal,
    now: Time,
) -> Result<(), HubError> {
    sqlx::query(
        "UPDATE datasets SET epoch = $2, card_digest = $3, label = $4, settings = $5, changed = $6,
             objects = (SELECT count(*) FROM objects WHERE dataset = $1 AND epoch = $2),
             sealed_bytes = (SELECT coalesce(sum(bytes), 0) FROM objects WHERE dataset = $1 AND epoch = $2)
         WHERE id = $1",
    )
    .bind(id.to_string())
    .bind(to.epoch)
    .bind(to.card_digest.to_string())
    .bind(&to.label.0)
    .bind(to.settings.as_ref().map(|settings| settings.0.as_slice()))
    .bind(micros(now))
    .execute(&mut *at)
    .await?;
    end_reseal(at, id).await
}

/// Every dataset.
pub(crate) async fn everything(at: &mut Connection) -> Result<Vec<DatasetId>, HubError> {
    let ids: Vec<String> =
        sqlx::query_scalar("SELECT id FROM datasets ORDER BY id").fetch_all(at).await?;
    ids.iter().map(|id| parsed(id)).collect()
}

/// Counts the objects of the epoch in force anew.
pub(crate) async fn recount(at: &mut Connection, id: DatasetId) -> Result<(), HubError> {
    sqlx::query(
        "UPDATE datasets SET
             objects = (SELECT count(*) FROM objects o WHERE o.dataset = $1 AND o.epoch = datasets.epoch),
             sealed_bytes = (SELECT coalesce(sum(bytes), 0) FROM objects o
                             WHERE o.dataset = $1 AND o.epoch = datasets.epoch)
         WHERE id = $1",
    )
    .bind(id.to_string())
    .execute(at)
    .await?;
    Ok(())
}

/// Datasets that hold objects which count no more: of an older epoch, or of one to come that was given up.
pub(crate) async fn with_remains(at: &mut Connection) -> Result<Vec<DatasetId>, HubError> {
    let ids: Vec<String> = sqlx::query_scalar(
        "SELECT d.id FROM datasets d WHERE d.deleting IS NULL AND EXISTS (
             SELECT 1 FROM objects o LEFT JOIN reseals r ON r.dataset = o.dataset AND r.epoch = o.epoch
             WHERE o.dataset = d.id AND o.epoch <> d.epoch AND r.dataset IS NULL)
         ORDER BY d.id",
    )
    .fetch_all(at)
    .await?;
    ids.iter().map(|id| parsed(id)).collect()
}

#[derive(FromRow)]
struct Row {
    id: String,
    kind: String,
    project: String,
    custodian: String,
    owner: String,
    label: Vec<u8>,
    settings: Option<Vec<u8>>,
    execution: String,
    reason: Option<String>,
    quality: String,
    delivery: String,
    parent: Option<String>,
    session: Option<String>,
    task: Option<String>,
    reads: Option<i64>,
    epoch: i64,
    card_digest: String,
    objects: i64,
    sealed_bytes: i64,
    manifest_number: i64,
    made_by: String,
    arriving: bool,
    created: i64,
    changed: i64,
}

impl Row {
    fn kept(self) -> Result<Kept, HubError> {
        Ok(Kept {
            settings: self.settings.map(Bytes),
            made_by: parsed(&self.made_by)?,
            arriving: self.arriving,
            dataset: Dataset {
                id: parsed(&self.id)?,
                kind: from_word(self.kind)?,
                project: parsed(&self.project)?,
                custodian: from_word(self.custodian)?,
                owner: parsed(&self.owner)?,
                label: Bytes(self.label),
                name: None,
                execution: from_word(self.execution)?,
                reason: self.reason,
                quality: from_word(self.quality)?,
                delivery: from_word(self.delivery)?,
                parent: parsed_or_none(self.parent)?,
                session: parsed_or_none(self.session)?,
                task: parsed_or_none(self.task)?,
                reads: self.reads.map(unsigned).transpose()?,
                epoch: small(self.epoch)?,
                card_digest: parsed(&self.card_digest)?,
                objects: unsigned(self.objects)?,
                sealed_bytes: unsigned(self.sealed_bytes)?,
                manifest_number: small(self.manifest_number)?,
                created: time(self.created)?,
                changed: time(self.changed)?,
            },
        })
    }
}
