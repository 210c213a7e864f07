//! What is true of this hub.

use super::Connection;
use crate::HubError;

/// With an address: the id of the facility that was there.
pub(crate) const FACILITY: &str = "facility ";
/// With an address: a facility that was added while the hub ran, as it was written.
pub(crate) const FACILITY_ADDED: &str = "facility added ";
/// With an address: a facility that is to leave; its id.
pub(crate) const FACILITY_DRAINING: &str = "facility draining ";
/// With an address: one that left, whatever the command line says.
pub(crate) const FACILITY_LEFT: &str = "facility left ";

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

/// Forgets what was kept under a name.
pub(crate) async fn remove(at: &mut Connection, name: &str) -> Result<(), HubError> {
    sqlx::query("DELETE FROM meta WHERE name = $1").bind(name).execute(at).await?;
    Ok(())
}

/// Every name with this beginning, and its value.
pub(crate) async fn with_prefix(
    at: &mut Connection,
    prefix: &str,
) -> Result<Vec<(String, String)>, HubError> {
    Ok(sqlx::query_as(
        "SELECT name, value FROM meta WHERE substr(name, 1, length($1)) = $1 ORDER BY name",
    )
    .bind(prefix)
    .fetch_all(at)
    .await?)
}

/// Ends what waits for an answer from somebody: one-time codes, machines that ask for a key, sign-ins, sign-ons. A database
/// from a backup may have some that were answered or ended since.
pub(crate) async fn end_what_waits(at: &mut Connection) -> Result<(), HubError> {
    for table in ["codes", "device_codes", "browsers", "sign_ons"] {
        sqlx::query(sqlx::AssertSqlSafe(format!("DELETE FROM {table}"))).execute(&mut *at).await?;
    }
    Ok(())
}
