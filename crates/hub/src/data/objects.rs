//! Sealed objects that were acknowledged.
//!
//! An object counts once its row is on the disk, after the store and the key store have synced theirs. One row a
//! transaction would let the disk's syncs set the pace, so [`ObjectLog`] gathers the rows that wait and commits them together.

use std::collections::HashMap;

use api::{Acknowledged, DatasetId, Digest, ErrorCode, ObjectRef};
use proof::ObjectSet;
use sqlx::FromRow;
use tokio::sync::{mpsc, oneshot};

use super::{Connection, Db, is_taken, signed, small, unsigned};
use crate::HubError;

/// How many rows at most go into one transaction.
const BATCH: usize = 512;

/// An object as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Which object.
    pub(crate) object: ObjectRef,
    /// The epoch it is sealed under.
    pub(crate) epoch: u32,
    /// The SHA-256 of its sealed bytes.
    pub(crate) hash: Digest,
    /// Their number.
    pub(crate) bytes: u64,
}

impl Kept {
    /// What the sender is told.
    pub(crate) const fn acknowledged(&self) -> Acknowledged {
        Acknowledged { object: self.object, hash: self.hash, sealed_bytes: self.bytes }
    }
}

/// One object of a dataset.
pub(crate) async fn find(
    at: &mut Connection,
    dataset: DatasetId,
    object: ObjectRef,
) -> Result<Option<Kept>, HubError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT object, epoch, hash, bytes FROM objects WHERE dataset = $1 AND object = $2",
    )
    .bind(dataset.to_string())
    .bind(object.0.as_slice())
    .fetch_optional(at)
    .await?;
    row.map(Row::kept).transpose()
}

/// Those of these names that no row bears.
pub(crate) async fn unknown(
    at: &mut Connection,
    names: &[Digest],
) -> Result<Vec<Digest>, HubError> {
    let mut unknown = Vec::new();
    for name in names {
        let found: Option<i64> = sqlx::query_scalar("SELECT 1 FROM objects WHERE hash = $1")
            .bind(name.0.as_slice())
            .fetch_optional(&mut *at)
            .await?;
        if found.is_none() {
            unknown.push(*name);
        }
    }
    Ok(unknown)
}

/// Objects of one epoch in the order of their ids, after `after`.
pub(crate) async fn list(
    at: &mut Connection,
    dataset: DatasetId,
    epoch: u32,
    after: &[u8],
    limit: i64,
) -> Result<Vec<Kept>, HubError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT object, epoch, hash, bytes FROM objects
         WHERE dataset = $1 AND epoch = $2 AND object > $3 ORDER BY object LIMIT $4",
    )
    .bind(dataset.to_string())
    .bind(epoch)
    .bind(after)
    .bind(limit)
    .fetch_all(at)
    .await?;
    rows.into_iter().map(Row::kept).collect()
}

/// All objects of one epoch, as senders digest them.
pub(crate) async fn set_of(
    at: &mut Connection,
    dataset: DatasetId,
    epoch: u32,
) -> Result<ObjectSet, HubError> {
    let mut set = ObjectSet::default();
    for kept in list(at, dataset, epoch, &[], i64::MAX).await? {
        set.insert(kept.object, kept.hash, kept.bytes);
    }
    Ok(set)
}

/// Every object of a dataset, whatever its epoch.
pub(crate) async fn all(at: &mut Connection, dataset: DatasetId) -> Result<Vec<Kept>, HubError> {
    let rows: Vec<Row> =
        sqlx::query_as("SELECT object, epoch, hash, bytes FROM objects WHERE dataset = $1")
            .bind(dataset.to_string())
            .fetch_all(at)
            .await?;
    rows.into_iter().map(Row::kept).collect()
}

/// Keeps the row of an object that was acknowledged before the database was lost.
pub(crate) async fn restore(
    at: &mut Connection,
    dataset: DatasetId,
    kept: Kept,
) -> Result<(), HubError> {
    sqlx::query(
        "INSERT INTO objects (dataset, object, epoch, hash, bytes) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT DO NOTHING",
    )
    .bind(dataset.to_string())
    .bind(kept.object.0.as_slice())
    .bind(kept.epoch)
    .bind(kept.hash.0.as_slice())
    .bind(signed(kept.bytes)?)
    .execute(at)
    .await?;
    Ok(())
}

/// Removes the row of one object, whose key and bytes are gone.
pub(crate) async fn remove(
    at: &mut Connection,
    dataset: DatasetId,
    object: ObjectRef,
) -> Result<(), HubError> {
    sqlx::query("DELETE FROM objects WHERE dataset = $1 AND object = $2")
        .bind(dataset.to_string())
        .bind(object.0.as_slice())
        .execute(at)
        .await?;
    Ok(())
}

/// Removes the rows of one epoch, whose keys and bytes are gone.
pub(crate) async fn remove_epoch(
    at: &mut Connection,
    dataset: DatasetId,
    epoch: u32,
) -> Result<(), HubError> {
    sqlx::query("DELETE FROM objects WHERE dataset = $1 AND epoch = $2")
        .bind(dataset.to_string())
        .bind(epoch)
        .execute(at)
        .await?;
    Ok(())
}

#[derive(FromRow)]
struct Row {
    object: Vec<u8>,
    epoch: i64,
    hash: Vec<u8>,
    bytes: i64,
}

impl Row {
    fn kept(self) -> Result<Kept, HubError> {
        let damaged =
            |_bytes| HubError::internal("a row of objects does not read", "not an id or a hash");
        Ok(Kept {
            object: ObjectRef(self.object.try_into().map_err(damaged)?),
            epoch: small(self.epoch)?,
            hash: Digest(self.hash.try_into().map_err(damaged)?),
            bytes: unsigned(self.bytes)?,
        })
    }
}

struct Entry {
    dataset: DatasetId,
    kept: Kept,
    answer: oneshot::Sender<Result<(), HubError>>,
}

/// Keeps rows of objects, those that come together in one transaction.
#[derive(Debug, Clone)]
pub(crate) struct ObjectLog {
    waiting: mpsc::Sender<Entry>,
}

impl ObjectLog {
    /// Starts the task that writes; it ends when the last handle is gone.
    pub(crate) fn start(db: Db) -> Self {
        let (waiting, entries) = mpsc::channel(BATCH);
        tokio::spawn(write(db, entries));
        Self { waiting }
    }

    /// Keeps the row; on the disk when this returns. The same row again is a success.
    ///
    /// A conflict is another body under this id, or a blob that belongs to another dataset; not found, a dataset that
    /// went away meanwhile.
    pub(crate) async fn keep(&self, dataset: DatasetId, kept: Kept) -> Result<(), HubError> {
        let (answer, answered) = oneshot::channel();
        let closed = |_| HubError::internal("the hub is stopping", "the log of objects is closed");
        self.waiting
            .send(Entry { dataset, kept, answer })
            .await
            .map_err(|e| closed(e.to_string()))?;
        answered.await.map_err(|e| closed(e.to_string()))?
    }
}

async fn write(db: Db, mut entries: mpsc::Receiver<Entry>) {
    let mut batch = Vec::with_capacity(BATCH);
    while entries.recv_many(&mut batch, BATCH).await > 0 {
        match write_batch(&db, &batch).await {
            Ok(outcomes) => {
                for (entry, outcome) in batch.drain(..).zip(outcomes) {
                    let _the_caller_went_away = entry.answer.send(outcome);
                }
            }
            Err(error) => {
                for entry in batch.drain(..) {
                    let _the_caller_went_away = entry.answer.send(Err(error.clone()));
                }
            }
        }
    }
}

async fn write_batch(db: &Db, batch: &[Entry]) -> Result<Vec<Result<(), HubError>>, HubError> {
    let mut tx = db.write().await?;
    let mut outcomes = Vec::with_capacity(batch.len());
    let mut grown: HashMap<(DatasetId, u32), (u64, u64)> = HashMap::new();
    for entry in batch {
        let outcome = insert(&mut tx, entry).await;
        if let Ok(true) = outcome {
            let (objects, bytes) = grown.entry((entry.dataset, entry.kept.epoch)).or_default();
            *objects += 1;
            *bytes += entry.kept.bytes;
        }
        outcomes.push(outcome.map(|_is_new| ()));
    }
    for ((dataset, epoch), (objects, bytes)) in grown {
        sqlx::query(
            "UPDATE datasets SET objects = objects + $3, sealed_bytes = sealed_bytes + $4
             WHERE id = $1 AND epoch = $2",
        )
        .bind(dataset.to_string())
        .bind(epoch)
        .bind(signed(objects)?)
        .bind(signed(bytes)?)
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    Ok(outcomes)
}

/// Keeps one row; says whether it is new.
async fn insert(at: &mut Connection, entry: &Entry) -> Result<bool, HubError> {
    let Entry { dataset, kept, .. } = entry;
    let done = sqlx::query(
        "INSERT INTO objects (dataset, object, epoch, hash, bytes)
         SELECT id, $2, $3, $4, $5 FROM datasets WHERE id = $1 AND deleting IS NULL
         ON CONFLICT (dataset, object) DO NOTHING",
    )
    .bind(dataset.to_string())
    .bind(kept.object.0.as_slice())
    .bind(kept.epoch)
    .bind(kept.hash.0.as_slice())
    .bind(signed(kept.bytes)?)
    .execute(&mut *at)
    .await;
    match done {
        Ok(done) if done.rows_affected() == 1 => Ok(true),
        Ok(_) => match find(at, *dataset, kept.object).await? {
            Some(before) if before == *kept => Ok(false),
            Some(_) => Err(other_bytes(kept.object)),
            None => Err(HubError::not_found("dataset", dataset)),
        },
        Err(error) if is_taken(&error) => Err(HubError::new(
            ErrorCode::Conflict,
            format!("the bytes of object {} belong to another dataset", kept.object),
        )
        .hint("seal it anew under a new key and a new id: a sealed object belongs to one dataset")),
        Err(error) => Err(error.into()),
    }
}

/// Another body came under the id of an object that is there.
pub(crate) fn other_bytes(object: ObjectRef) -> HubError {
    HubError::conflict(format!("object {object} is there with other bytes"))
        .hint("a sealed object never changes: seal new content as a new object under a new key")
}
