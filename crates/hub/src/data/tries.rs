//! Sign-ins half-way: what was sent out and must come back, by the SHA-256 of what comes back.

use api::{Digest, Time};

use super::{Connection, micros};
use crate::HubError;

/// What was sent out and must come back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent<'a> {
    /// The SHA-256 of what must come back.
    pub(crate) hash: Digest,
    /// For what it was sent.
    pub(crate) kind: &'a str,
    /// The SHA-256 of the cookie of the browser that began.
    pub(crate) browser: Digest,
}

/// Keeps a sign-in half-way. Says no if `most` are kept already.
pub(crate) async fn begin(
    at: &mut Connection,
    sent: Sent<'_>,
    body: &str,
    expires: Time,
    most: i64,
) -> Result<bool, HubError> {
    let done = sqlx::query(
        "INSERT INTO sign_in_tries (hash, kind, browser, body, expires)
         SELECT $1, $2, $3, $4, $5 WHERE (SELECT count(*) FROM sign_in_tries) < $6",
    )
    .bind(sent.hash.to_string())
    .bind(sent.kind)
    .bind(sent.browser.to_string())
    .bind(body)
    .bind(micros(expires))
    .bind(most)
    .execute(at)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Takes a sign-in half-way up again, once: what was kept with it, if it is in time and from the same browser.
pub(crate) async fn take(
    at: &mut Connection,
    sent: Sent<'_>,
    now: Time,
) -> Result<Option<String>, HubError> {
    Ok(sqlx::query_scalar(
        "DELETE FROM sign_in_tries WHERE hash = $1 AND kind = $2 AND browser = $3 AND expires > $4
         RETURNING body",
    )
    .bind(sent.hash.to_string())
    .bind(sent.kind)
    .bind(sent.browser.to_string())
    .bind(micros(now))
    .fetch_optional(at)
    .await?)
}

/// Forgets sign-ins that were never finished.
pub(crate) async fn sweep(at: &mut Connection, now: Time) -> Result<(), HubError> {
    sqlx::query("DELETE FROM sign_in_tries WHERE expires <= $1")
        .bind(micros(now))
        .execute(at)
        .await?;
    Ok(())
}
