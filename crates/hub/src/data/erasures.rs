//! Erasures that not every facility has confirmed yet.

use api::{Digest, Time};

use super::{Connection, micros};
use crate::HubError;

/// Remembers that these blobs are to be erased.
pub(crate) async fn insert(
    at: &mut Connection,
    hashes: &[Digest],
    now: Time,
) -> Result<(), HubError> {
    for hash in hashes {
        sqlx::query("INSERT INTO erasures (hash, at) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(hash.0.as_slice())
            .bind(micros(now))
            .execute(&mut *at)
            .await?;
    }
    Ok(())
}

/// Forgets them: every facility has them on its own list.
pub(crate) async fn remove(at: &mut Connection, hashes: &[Digest]) -> Result<(), HubError> {
    for hash in hashes {
        sqlx::query("DELETE FROM erasures WHERE hash = $1")
            .bind(hash.0.as_slice())
            .execute(&mut *at)
            .await?;
    }
    Ok(())
}

/// Some of them, after `after`.
pub(crate) async fn some(
    at: &mut Connection,
    after: &[u8],
    limit: i64,
) -> Result<Vec<Digest>, HubError> {
    let hashes: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT hash FROM erasures WHERE hash > $1 ORDER BY hash LIMIT $2")
            .bind(after)
            .bind(limit)
            .fetch_all(at)
            .await?;
    let digest = |hash: Vec<u8>| {
        hash.try_into()
            .map(Digest)
            .map_err(|_| HubError::internal("a row of erasures does not read", "not a hash"))
    };
    hashes.into_iter().map(digest).collect()
}
