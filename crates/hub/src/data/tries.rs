//! Challenges that were answered, by their SHA-256, until their time is over: each counts once.

use api::{Digest, Time};

use super::{Connection, micros};
use crate::HubError;

/// Notes that a challenge was answered. Says no if it was before.
pub(crate) async fn use_up(
    at: &mut Connection,
    hash: Digest,
    expires: Time,
) -> Result<bool, HubError> {
    let done = sqlx::query(
        "INSERT INTO answered_challenges (hash, expires) VALUES ($1, $2) ON CONFLICT DO NOTHING",
    )
    .bind(hash.to_string())
    .bind(micros(expires))
    .execute(at)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Forgets those whose time is over.
pub(crate) async fn sweep(at: &mut Connection, now: Time) -> Result<(), HubError> {
    sqlx::query("DELETE FROM answered_challenges WHERE expires <= $1")
        .bind(micros(now))
        .execute(at)
        .await?;
    Ok(())
}
