//! What is true of this hub.

use super::Connection;
use crate::HubError;

/// The value kept under `name`.
pub(crate) async fn find(at: &mut Connection, name: &str) -> Result<Option<String>, HubError> {
    Ok(sqlx::query_scalar("SELECT value FROM meta WHERE name = $1")
        .bind(name)
        .fetch_optional(at)
        .await?)
}

/// Keeps a value under a name that has none yet.
pub(crate) async fn insert(at: &mut Connection, name: &str, value: &str) -> Result<(), HubError> {
    sqlx::query("INSERT INTO meta (name, value) VALUES ($1, $2)")
        .bind(name)
        .bind(value)
        .execute(at)
        .await?;
    Ok(())
}

/// Keeps a value under a name, instead of the one before.
pub(crate) async fn set(at: &mut Connection, name: &str, value: &str) -> Result<(), HubError> {
    sqlx::query(
        "INSERT INTO meta (name, value) VALUES ($1, $2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )
    .bind(name)
    .bind(value)
    .execute(at)
    .await?;
    Ok(())
}
