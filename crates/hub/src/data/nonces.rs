//! Nonces of accepted calls: a call counts once, also across a restart.
//!
//! Every signed call waits for its nonce to be on the disk, so calls that arrive together share one statement and one
//! sync: a task gathers what waits and answers all of it. A nonce is kept until its signature is too old to be accepted.
//! The same task notes now and then that a key is in use, because it is the one place that every call passes.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use api::KeyId;
use tokio::sync::{mpsc, oneshot};

use super::Db;
use crate::HubError;

/// How many nonces at most go into one transaction.
const BATCH: usize = 256;
/// How long the first nonce waits for others, where the last one was not alone.
const GATHER: Duration = Duration::from_millis(1);
/// How often what has expired is swept, in microseconds of the callers' clock.
const SWEEP_MICROS: i64 = 60_000_000;

/// How old the note that a key is in use may become, in microseconds.
const USE_MICROS: i64 = 600_000_000;
/// Of how many keys the last note is remembered; beyond that all are noted anew.
const USES: usize = 10_000;

struct Entry {
    key: KeyId,
    nonce: String,
    now: i64,
    expires: i64,
    answer: oneshot::Sender<Result<bool, HubError>>,
}

/// The log of nonces.
#[derive(Debug, Clone)]
pub(crate) struct NonceLog {
    waiting: mpsc::Sender<Entry>,
}

impl NonceLog {
    /// Starts the task that writes; it ends when the last handle is gone.
    pub(crate) fn start(db: Db) -> Self {
        let (waiting, entries) = mpsc::channel(BATCH);
        tokio::spawn(write(db, entries));
        Self { waiting }
    }

    /// Keeps the nonce and says whether it is new. On the disk when this returns.
    pub(crate) async fn is_new(
        &self,
        key: KeyId,
        nonce: String,
        now: i64,
        expires: i64,
    ) -> Result<bool, HubError> {
        let (answer, answered) = oneshot::channel();
        let entry = Entry { key, nonce, now, expires, answer };
        let closed = |_| HubError::internal("the hub is stopping", "the log of nonces is closed");
        self.waiting.send(entry).await.map_err(|e| closed(e.to_string()))?;
        answered.await.map_err(|e| closed(e.to_string()))?
    }
}

async fn write(db: Db, mut entries: mpsc::Receiver<Entry>) {
    let mut swept = i64::MIN;
    let mut noted = HashMap::new();
    let mut batch = Vec::with_capacity(BATCH);
    let mut crowded = false;
    while entries.recv_many(&mut batch, BATCH).await > 0 {
        if crowded {
            // Those that were answered together come back together: the first of them waits for the others, so that they
            // share a sync again, instead of having one to itself while they wait for the next.
            tokio::time::sleep(GATHER).await;
            while batch.len() < BATCH
                && let Ok(entry) = entries.try_recv()
            {
                batch.push(entry);
            }
        }
        crowded = batch.len() > 1;
        let now = batch.iter().map(|entry| entry.now).max().unwrap_or_default();
        let sweep = now.saturating_sub(swept) >= SWEEP_MICROS;
        let mut uses = to_note(&noted, &batch);
        match write_batch(&db, &batch, &mut uses, sweep.then_some(now)).await {
            Ok(outcomes) => {
                if noted.len() + uses.len() > USES {
                    noted.clear();
                }
                noted.extend(uses);
                if sweep {
                    swept = now;
                }
                for (entry, new) in batch.drain(..).zip(outcomes) {
                    let _the_caller_went_away = entry.answer.send(Ok(new));
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

/// The keys of a batch whose last note is too old, and when each called.
fn to_note(noted: &HashMap<KeyId, i64>, batch: &[Entry]) -> HashMap<KeyId, i64> {
    let old = |entry: &&Entry| {
        noted.get(&entry.key).is_none_or(|at| entry.now.saturating_sub(*at) >= USE_MICROS)
    };
    batch.iter().filter(old).map(|entry| (entry.key, entry.now)).collect()
}

/// Writes nonces and uses, and takes out of `uses` the keys of no account: a key that brings itself is one with its next call.
async fn write_batch(
    db: &Db,
    batch: &[Entry],
    uses: &mut HashMap<KeyId, i64>,
    sweep: Option<i64>,
) -> Result<Vec<bool>, HubError> {
    let outcomes = keep(db, batch).await?;
    if uses.is_empty() && sweep.is_none() {
        return Ok(outcomes);
    }
    let mut tx = db.write().await?;
    let mut strangers = Vec::new();
    for (key, now) in &*uses {
        let noted =
            sqlx::query("UPDATE account_keys SET used = max(coalesce(used, 0), $2) WHERE id = $1")
                .bind(key.to_string())
                .bind(now)
                .execute(&mut *tx)
                .await?;
        if noted.rows_affected() == 0 {
            strangers.push(*key);
            continue;
        }
        sqlx::query(
            "UPDATE accounts SET used = max(coalesce(used, 0), $2)
             WHERE id = (SELECT account FROM account_keys WHERE id = $1)",
        )
        .bind(key.to_string())
        .bind(now)
        .execute(&mut *tx)
        .await?;
    }
    uses.retain(|key, _| !strangers.contains(key));
    if let Some(now) = sweep {
        sqlx::query("DELETE FROM nonces WHERE expires < $1").bind(now).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(outcomes)
}

/// Keeps a batch of nonces by one statement, which is a transaction of its own, and says which of them are new.
async fn keep(db: &Db, batch: &[Entry]) -> Result<Vec<bool>, HubError> {
    let rows: Vec<_> =
        batch.iter().map(|entry| (entry.key.to_string(), &entry.nonce, entry.expires)).collect();
    let rows = serde_json::to_string(&rows)
        .map_err(|cause| HubError::internal("nonces do not serialize", cause))?;
    let kept: Vec<(String, String)> = sqlx::query_as(
        "INSERT INTO nonces (key, nonce, expires)
         SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each($1) WHERE true
         ON CONFLICT DO NOTHING RETURNING key, nonce",
    )
    .bind(rows)
    .fetch_all(&mut *db.write_aside().await?)
    .await?;
    // The same nonce twice in a batch is new once.
    let mut new: HashSet<(String, String)> = kept.into_iter().collect();
    let is_new = |entry: &Entry| new.remove(&(entry.key.to_string(), entry.nonce.clone()));
    Ok(batch.iter().map(is_new).collect())
}
