//! Nonces of accepted calls: a call counts once, also across a restart.
//!
//! Every signed call waits for its nonce to be on the disk, so calls that arrive together share one transaction and one
//! sync: a task gathers what waits and answers all of it. A nonce is kept until its signature is too old to be accepted.

use api::KeyId;
use tokio::sync::{mpsc, oneshot};

use super::Db;
use crate::HubError;

/// How many nonces at most go into one transaction.
const BATCH: usize = 256;
/// How often what has expired is swept, in microseconds of the callers' clock.
const SWEEP_MICROS: i64 = 60_000_000;

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
    let mut batch = Vec::with_capacity(BATCH);
    while entries.recv_many(&mut batch, BATCH).await > 0 {
        let now = batch.iter().map(|entry| entry.now).max().unwrap_or_default();
        let sweep = now.saturating_sub(swept) >= SWEEP_MICROS;
        match write_batch(&db, &batch, sweep.then_some(now)).await {
            Ok(outcomes) => {
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

async fn write_batch(db: &Db, batch: &[Entry], sweep: Option<i64>) -> Result<Vec<bool>, HubError> {
    let mut tx = db.write().await?;
    let mut outcomes = Vec::with_capacity(batch.len());
    for entry in batch {
        let done = sqlx::query(
            "INSERT INTO nonces (key, nonce, expires) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        )
        .bind(entry.key.to_string())
        .bind(&entry.nonce)
        .bind(entry.expires)
        .execute(&mut *tx)
        .await?;
        outcomes.push(done.rows_affected() == 1);
    }
    if let Some(now) = sweep {
        sqlx::query("DELETE FROM nonces WHERE expires < $1").bind(now).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(outcomes)
}
