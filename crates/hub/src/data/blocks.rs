//! Blocks, and the counters of callers that are worth remembering over a restart.

use api::Block;
use sqlx::FromRow;

use super::{Connection, micros, parsed, parsed_or_none, small, time, time_or_none};
use crate::HubError;

/// A block as it is kept, in force or over.
#[derive(Debug)]
pub(crate) struct KeptBlock {
    /// Whom it blocks.
    pub(crate) subject: String,
    /// The block.
    pub(crate) block: Block,
}

/// Counters of a caller.
#[derive(Debug, FromRow)]
pub(crate) struct KeptLimit {
    /// Whose.
    pub(crate) subject: String,
    /// Thousandths of tokens in its bucket.
    pub(crate) milli_tokens: i64,
    /// Thousandths of its strikes.
    pub(crate) milli_strikes: i64,
    /// When that was so, in microseconds.
    pub(crate) at: i64,
}

/// Every block that is kept.
pub(crate) async fn all(at: &mut Connection) -> Result<Vec<KeptBlock>, HubError> {
    let rows: Vec<Row> =
        sqlx::query_as("SELECT subject, id, since, until, times, reason, by FROM blocks")
            .fetch_all(at)
            .await?;
    rows.into_iter().map(Row::block).collect()
}

/// Keeps a block, instead of an earlier one of the same caller.
pub(crate) async fn set(at: &mut Connection, block: &Block) -> Result<(), HubError> {
    sqlx::query(
        "INSERT INTO blocks (subject, id, since, until, times, reason, by)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (subject) DO UPDATE SET id = excluded.id, since = excluded.since,
             until = excluded.until, times = excluded.times, reason = excluded.reason, by = excluded.by",
    )
    .bind(&block.subject)
    .bind(block.id.to_string())
    .bind(micros(block.since))
    .bind(block.until.map(micros))
    .bind(i64::from(block.times))
    .bind(&block.reason)
    .bind(block.by.map(|id| id.to_string()))
    .execute(at)
    .await?;
    Ok(())
}

/// Forgets a caller's block.
pub(crate) async fn remove(at: &mut Connection, subject: &str) -> Result<(), HubError> {
    sqlx::query("DELETE FROM blocks WHERE subject = $1").bind(subject).execute(at).await?;
    Ok(())
}

/// Every caller whose counters are kept.
pub(crate) async fn limits(at: &mut Connection) -> Result<Vec<KeptLimit>, HubError> {
    Ok(sqlx::query_as("SELECT subject, milli_tokens, milli_strikes, at FROM limits")
        .fetch_all(at)
        .await?)
}

/// Keeps a caller's counters.
pub(crate) async fn set_limit(at: &mut Connection, kept: &KeptLimit) -> Result<(), HubError> {
    sqlx::query(
        "INSERT INTO limits (subject, milli_tokens, milli_strikes, at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (subject) DO UPDATE SET milli_tokens = excluded.milli_tokens,
             milli_strikes = excluded.milli_strikes, at = excluded.at",
    )
    .bind(&kept.subject)
    .bind(kept.milli_tokens)
    .bind(kept.milli_strikes)
    .bind(kept.at)
    .execute(at)
    .await?;
    Ok(())
}

/// Forgets a caller's counters.
pub(crate) async fn remove_limit(at: &mut Connection, subject: &str) -> Result<(), HubError> {
    sqlx::query("DELETE FROM limits WHERE subject = $1").bind(subject).execute(at).await?;
    Ok(())
}

/// Forgets counters and blocks that were over before `before`.
pub(crate) async fn sweep(at: &mut Connection, before: i64) -> Result<(), HubError> {
    sqlx::query("DELETE FROM limits WHERE at < $1").bind(before).execute(&mut *at).await?;
    sqlx::query("DELETE FROM blocks WHERE until < $1").bind(before).execute(at).await?;
    Ok(())
}

#[derive(FromRow)]
struct Row {
    subject: String,
    id: String,
    since: i64,
    until: Option<i64>,
    times: i64,
    reason: String,
    by: Option<String>,
}

impl Row {
    fn block(self) -> Result<KeptBlock, HubError> {
        let block = Block {
            id: parsed(&self.id)?,
            subject: self.subject.clone(),
            reason: self.reason,
            by: parsed_or_none(self.by)?,
            since: time(self.since)?,
            until: time_or_none(self.until)?,
            times: small(self.times)?,
        };
        Ok(KeptBlock { subject: self.subject, block })
    }
}
