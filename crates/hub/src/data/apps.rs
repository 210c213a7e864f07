//! Registered apps.

use api::{App, AppId, Digest};
use sqlx::FromRow;

use super::members::Viewer;
use super::{Connection, micros, parsed, time};
use crate::HubError;

/// Keeps an app; a unique violation means that the id is taken.
pub(crate) async fn insert(
    at: &mut Connection,
    app: &App,
    made_by: Digest,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO apps (id, name, version, title, digest, package, manifest, owner, made_by, created)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(app.id.to_string())
    .bind(&app.name)
    .bind(&app.version)
    .bind(&app.title)
    .bind(app.digest.to_string())
    .bind(app.package.to_string())
    .bind(&app.manifest)
    .bind(app.owner.to_string())
    .bind(made_by.to_string())
    .bind(micros(app.created))
    .execute(at)
    .await?;
    Ok(())
}

/// The app and by which call it was made, whoever asks.
pub(crate) async fn find(
    at: &mut Connection,
    id: AppId,
) -> Result<Option<(App, Digest)>, HubError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT a.* FROM apps a JOIN datasets d ON d.id = a.package JOIN projects p ON p.id = d.project
         WHERE a.id = $1 AND d.deleting IS NULL AND p.deleting IS NULL",
    )
    .bind(id.to_string())
    .fetch_optional(at)
    .await?;
    row.map(Row::app).transpose()
}

/// Apps whose package lies in a project of this account, in the order of their ids, after `after`.
pub(crate) async fn list(
    at: &mut Connection,
    viewer: Viewer,
    after: &str,
    limit: i64,
) -> Result<Vec<App>, HubError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT a.* FROM apps a JOIN datasets d ON d.id = a.package JOIN projects p ON p.id = d.project
         LEFT JOIN members m ON m.project = p.id AND m.account = $1
         WHERE (p.owner = $1 OR m.right IS NOT NULL) AND d.deleting IS NULL AND p.deleting IS NULL
             AND ($4 IS NULL OR EXISTS (SELECT 1 FROM key_projects WHERE key = $4 AND project = p.id))
             AND a.id > $2
         ORDER BY a.id LIMIT $3",
    )
    .bind(viewer.account.to_string())
    .bind(after)
    .bind(limit)
    .bind(viewer.key())
    .fetch_all(at)
    .await?;
    rows.into_iter().map(|row| row.app().map(|(app, _)| app)).collect()
}

#[derive(FromRow)]
struct Row {
    id: String,
    name: String,
    version: String,
    title: String,
    digest: String,
    package: String,
    manifest: String,
    owner: String,
    made_by: String,
    created: i64,
}

impl Row {
    fn app(self) -> Result<(App, Digest), HubError> {
        let app = App {
            id: parsed(&self.id)?,
            name: self.name,
            version: self.version,
            title: self.title,
            digest: parsed(&self.digest)?,
            package: parsed(&self.package)?,
            manifest: self.manifest,
            owner: parsed(&self.owner)?,
            created: time(self.created)?,
        };
        Ok((app, parsed(&self.made_by)?))
    }
}
