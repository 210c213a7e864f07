//! Projects.

use api::{AccountId, Bytes, Custodian, Digest, Project, ProjectId, Right, Time};
use sqlx::FromRow;

use super::members::Viewer;
use super::{
    Connection, from_word, micros, parsed, parsed_or_none, small, time, time_or_none, word,
};
use crate::HubError;

/// A project about to be kept.
#[derive(Debug)]
pub(crate) struct NewProject<'a> {
    /// Its id.
    pub(crate) id: ProjectId,
    /// Who holds the key.
    pub(crate) custodian: Custodian,
    /// The account that owns it.
    pub(crate) owner: AccountId,
    /// Its sealed name.
    pub(crate) label: &'a [u8],
    /// The digest of the call's body.
    pub(crate) made_by: Digest,
    /// Now.
    pub(crate) created: Time,
}

/// Keeps a new project; a unique violation means that the id is taken.
pub(crate) async fn insert(
    at: &mut Connection,
    project: &NewProject<'_>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO projects (id, custodian, owner, label, made_by, created)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(project.id.to_string())
    .bind(word(project.custodian))
    .bind(project.owner.to_string())
    .bind(project.label)
    .bind(project.made_by.to_string())
    .bind(micros(project.created))
    .execute(at)
    .await?;
    Ok(())
}

/// Who owns a project and by which call it was made, whoever asks.
pub(crate) async fn maker(
    at: &mut Connection,
    id: ProjectId,
) -> Result<Option<(AccountId, Digest)>, HubError> {
    let row: Option<(String, String)> =
        sqlx::query_as("SELECT owner, made_by FROM projects WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(at)
            .await?;
    row.map(|(owner, made_by)| Ok((parsed(&owner)?, parsed(&made_by)?))).transpose()
}

/// Who holds the keys of a project, whoever asks; nothing for one that is not there or is being deleted.
pub(crate) async fn custodian(
    at: &mut Connection,
    id: ProjectId,
) -> Result<Option<Custodian>, HubError> {
    let word: Option<String> =
        sqlx::query_scalar("SELECT custodian FROM projects WHERE id = $1 AND deleting IS NULL")
            .bind(id.to_string())
            .fetch_optional(at)
            .await?;
    word.map(from_word).transpose()
}

/// The project as `account` sees it: the right is its own. Nothing for a stranger.
pub(crate) async fn find(
    at: &mut Connection,
    id: ProjectId,
    account: AccountId,
) -> Result<Option<Project>, HubError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT p.id, p.custodian, p.owner, p.label, p.created, p.readable_until,
                (SELECT organization FROM organization_projects WHERE project = p.id) AS organization,
                CASE WHEN p.owner = $2 THEN 'owner' ELSE m.right END AS right,
                (SELECT max(number) FROM cards WHERE project = p.id) AS card_number
         FROM projects p LEFT JOIN members m ON m.project = p.id AND m.account = $2
         WHERE p.id = $1 AND (p.owner = $2 OR m.right IS NOT NULL) AND p.deleting IS NULL",
    )
    .bind(id.to_string())
    .bind(account.to_string())
    .fetch_optional(at)
    .await?;
    row.map(Row::project).transpose()
}

/// Projects of which `account` is the owner or a member, in the order of their ids, after `after`.
pub(crate) async fn list(
    at: &mut Connection,
    viewer: Viewer,
    after: &str,
    limit: i64,
) -> Result<Vec<Project>, HubError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT p.id, p.custodian, p.owner, p.label, p.created, p.readable_until,
                (SELECT organization FROM organization_projects WHERE project = p.id) AS organization,
                CASE WHEN p.owner = $1 THEN 'owner' ELSE m.right END AS right,
                (SELECT max(number) FROM cards WHERE project = p.id) AS card_number
         FROM projects p LEFT JOIN members m ON m.project = p.id AND m.account = $1
         WHERE (p.owner = $1 OR m.right IS NOT NULL) AND p.deleting IS NULL
             AND ($4 IS NULL OR EXISTS (SELECT 1 FROM key_projects WHERE key = $4 AND project = p.id)) AND p.id > $2
         ORDER BY p.id LIMIT $3",
    )
    .bind(viewer.account.to_string())
    .bind(after)
    .bind(limit)
    .bind(viewer.key())
    .fetch_all(at)
    .await?;
    rows.into_iter().map(Row::project).collect()
}

/// Gives the project to another account.
pub(crate) async fn set_owner(
    at: &mut Connection,
    id: ProjectId,
    owner: AccountId,
) -> Result<(), HubError> {
    sqlx::query("UPDATE projects SET owner = $2 WHERE id = $1")
        .bind(id.to_string())
        .bind(owner.to_string())
        .execute(at)
        .await?;
    Ok(())
}

/// The project's key is held by another custodian from here on.
pub(crate) async fn set_custodian(
    at: &mut Connection,
    id: ProjectId,
    custodian: Custodian,
) -> Result<(), HubError> {
    sqlx::query("UPDATE projects SET custodian = $2 WHERE id = $1")
        .bind(id.to_string())
        .bind(word(custodian))
        .execute(at)
        .await?;
    Ok(())
}

/// Marks the project as being deleted: from now on it takes nothing and shows nothing.
pub(crate) async fn begin_deletion(
    at: &mut Connection,
    id: ProjectId,
    now: Time,
) -> Result<(), HubError> {
    sqlx::query("UPDATE projects SET deleting = coalesce(deleting, $2) WHERE id = $1")
        .bind(id.to_string())
        .bind(micros(now))
        .execute(at)
        .await?;
    Ok(())
}

/// Every project.
pub(crate) async fn all(at: &mut Connection) -> Result<Vec<ProjectId>, HubError> {
    let ids: Vec<String> =
        sqlx::query_scalar("SELECT id FROM projects ORDER BY id").fetch_all(at).await?;
    ids.iter().map(|id| parsed(id)).collect()
}

/// Projects whose deletion began and did not end.
pub(crate) async fn being_deleted(at: &mut Connection) -> Result<Vec<ProjectId>, HubError> {
    let ids: Vec<String> =
        sqlx::query_scalar("SELECT id FROM projects WHERE deleting IS NOT NULL ORDER BY id")
            .fetch_all(at)
            .await?;
    ids.iter().map(|id| parsed(id)).collect()
}

/// Removes the project and every row that belongs to it.
pub(crate) async fn remove(at: &mut Connection, id: ProjectId) -> Result<(), HubError> {
    sqlx::query("DELETE FROM projects WHERE id = $1").bind(id.to_string()).execute(at).await?;
    Ok(())
}

#[derive(FromRow)]
struct Row {
    id: String,
    custodian: String,
    owner: String,
    label: Vec<u8>,
    created: i64,
    readable_until: Option<i64>,
    right: String,
    card_number: i64,
    organization: Option<String>,
}

impl Row {
    fn project(self) -> Result<Project, HubError> {
        let right: Right = from_word(self.right)?;
        Ok(Project {
            id: parsed(&self.id)?,
            custodian: from_word(self.custodian)?,
            owner: parsed(&self.owner)?,
            organization: parsed_or_none(self.organization)?,
            label: Bytes(self.label),
            name: None,
            right,
            card_number: small(self.card_number)?,
            created: time(self.created)?,
            readable_by_operator_until: time_or_none(self.readable_until)?,
        })
    }
}
