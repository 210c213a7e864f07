//! The list of organizations with keys of their own, accounts, projects and datasets whose description beside the wrapped keys is older
//! than their rows. Triggers keep it (`migrations/0022_descriptions.sql`); what changes an organization's keys adds them itself.

use super::Connection;
use crate::HubError;

/// Something to describe.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Undescribed {
    /// Its id.
    pub(crate) subject: String,
    /// `organization`, `account`, `project` or `dataset`.
    pub(crate) kind: String,
    /// How often it changed since it was described.
    pub(crate) changes: i64,
}

/// Something changed: it is to be described.
pub(crate) async fn add(
    at: &mut Connection,
    subject: &str,
    kind: &'static str,
) -> Result<(), HubError> {
    sqlx::query(
        "INSERT INTO undescribed (subject, kind, changes) VALUES ($1, $2, 1)
         ON CONFLICT (subject) DO UPDATE SET changes = undescribed.changes + 1",
    )
    .bind(subject)
    .bind(kind)
    .execute(at)
    .await?;
    Ok(())
}

/// Some of what is to be described.
pub(crate) async fn some(at: &mut Connection, limit: i64) -> Result<Vec<Undescribed>, HubError> {
    Ok(sqlx::query_as("SELECT subject, kind, changes FROM undescribed ORDER BY subject LIMIT $1")
        .bind(limit)
        .fetch_all(at)
        .await?)
}

/// Takes off the list what was described, unless it changed since it was read.
pub(crate) async fn described(at: &mut Connection, what: &Undescribed) -> Result<(), HubError> {
    sqlx::query("DELETE FROM undescribed WHERE subject = $1 AND changes = $2")
        .bind(&what.subject)
        .bind(what.changes)
        .execute(at)
        .await?;
    Ok(())
}
