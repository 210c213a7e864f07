//! Members of projects besides the owner.

use api::{AccountId, KeyId, Member, ProjectId, Right};
use sqlx::FromRow;

use super::{Connection, from_word, parsed, word};
use crate::HubError;

/// Whose projects a list is about: those of an account, or the part of them that a limited key finds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Viewer {
    /// The account.
    pub(crate) account: AccountId,
    /// The key, if it is limited to some projects.
    pub(crate) key: Option<KeyId>,
}

impl Viewer {
    /// The key as statements compare it with `key_projects`.
    pub(super) fn key(&self) -> Option<String> {
        self.key.map(|key| key.to_string())
    }
}

/// What an account is to a project: the owner's right is the highest, `None` is a stranger or a project that is not there.
/// A project that is being deleted is there for its owner alone, who may finish it.
pub(crate) async fn right_of(
    at: &mut Connection,
    project: ProjectId,
    account: AccountId,
) -> Result<Option<Right>, HubError> {
    let right: Option<String> = sqlx::query_scalar(
        "SELECT CASE WHEN p.owner = $2 THEN 'owner' ELSE m.right END
         FROM projects p LEFT JOIN members m ON m.project = p.id AND m.account = $2
         WHERE p.id = $1 AND (p.owner = $2 OR (m.right IS NOT NULL AND p.deleting IS NULL))",
    )
    .bind(project.to_string())
    .bind(account.to_string())
    .fetch_optional(at)
    .await?;
    right.map(from_word).transpose()
}

/// Sets what a member may do.
pub(crate) async fn set(
    at: &mut Connection,
    project: ProjectId,
    account: AccountId,
    right: Right,
) -> Result<(), HubError> {
    sqlx::query(
        "INSERT INTO members (project, account, right) VALUES ($1, $2, $3)
         ON CONFLICT (project, account) DO UPDATE SET right = excluded.right",
    )
    .bind(project.to_string())
    .bind(account.to_string())
    .bind(word(right))
    .execute(at)
    .await?;
    Ok(())
}

/// Removes a member; says whether there was one.
pub(crate) async fn remove(
    at: &mut Connection,
    project: ProjectId,
    account: AccountId,
) -> Result<bool, HubError> {
    let done = sqlx::query("DELETE FROM members WHERE project = $1 AND account = $2")
        .bind(project.to_string())
        .bind(account.to_string())
        .execute(at)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Members in the order of their accounts, the owner among them, after `after`.
pub(crate) async fn list(
    at: &mut Connection,
    project: ProjectId,
    after: &str,
    limit: i64,
) -> Result<Vec<Member>, HubError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT a.id AS account, a.name, held.right FROM (
             SELECT owner AS account, 'owner' AS right FROM projects WHERE id = $1
             UNION ALL SELECT account, right FROM members WHERE project = $1
         ) held JOIN accounts a ON a.id = held.account
         WHERE a.id > $2 ORDER BY a.id LIMIT $3",
    )
    .bind(project.to_string())
    .bind(after)
    .bind(limit)
    .fetch_all(at)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Member {
                account: parsed(&row.account)?,
                name: row.name,
                right: from_word(row.right)?,
            })
        })
        .collect()
}

#[derive(FromRow)]
struct Row {
    account: String,
    name: String,
    right: String,
}
