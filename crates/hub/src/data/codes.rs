//! One-time codes, by their hash alone.

use api::{AccountId, Digest, Time};

use super::{Connection, micros, parsed};
use crate::HubError;

/// Keeps the hash of a new code; without an account it enrols a first operator.
pub(crate) async fn insert(
    at: &mut Connection,
    hash: Digest,
    account: Option<AccountId>,
    expires: Time,
) -> Result<(), HubError> {
    sqlx::query("INSERT INTO codes (hash, account, expires) VALUES ($1, $2, $3)")
        .bind(hash.to_string())
        .bind(account.map(|id| id.to_string()))
        .bind(micros(expires))
        .execute(at)
        .await?;
    Ok(())
}

/// Uses up a code: gives for whom it is, `None` inside for a first operator, or nothing if there is no such code in time.
pub(crate) async fn take(
    at: &mut Connection,
    hash: Digest,
    now: Time,
) -> Result<Option<Option<AccountId>>, HubError> {
    let row: Option<(Option<String>,)> =
        sqlx::query_as("DELETE FROM codes WHERE hash = $1 AND expires > $2 RETURNING account")
            .bind(hash.to_string())
            .bind(micros(now))
            .fetch_optional(at)
            .await?;
    row.map(|(account,)| account.as_deref().map(parsed).transpose()).transpose()
}

/// Whether there is such a code in time, for a person who was invited.
pub(crate) async fn is_for_somebody(
    at: &mut Connection,
    hash: Digest,
    now: Time,
) -> Result<bool, HubError> {
    Ok(sqlx::query_scalar(
        "SELECT count(*) > 0 FROM codes c JOIN accounts a ON a.id = c.account
         WHERE c.hash = $1 AND c.expires > $2 AND a.kind = 'person'",
    )
    .bind(hash.to_string())
    .bind(micros(now))
    .fetch_one(at)
    .await?)
}

/// Forgets codes that have expired, and those for a first operator.
pub(crate) async fn sweep(at: &mut Connection, now: Time) -> Result<(), HubError> {
    sqlx::query("DELETE FROM codes WHERE expires <= $1 OR account IS NULL")
        .bind(micros(now))
        .execute(at)
        .await?;
    Ok(())
}

/// Forgets the codes of an account.
pub(crate) async fn remove_for(at: &mut Connection, account: AccountId) -> Result<(), HubError> {
    sqlx::query("DELETE FROM codes WHERE account = $1")
        .bind(account.to_string())
        .execute(at)
        .await?;
    Ok(())
}
