//! Projects on their way into other hands, and the keys that wait with them.

use api::{BeginHandover, DatasetId, Digest, ProjectId, SignedStatement, TransferId};
use sqlx::FromRow;

use super::{Connection, damaged, parsed, parsed_or_none, small};
use crate::HubError;

/// A hand-over as it is kept.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    /// What was begun.
    pub(crate) body: BeginHandover,
    /// The approval's digest.
    pub(crate) digest: Digest,
    /// The offer, where it is another person's.
    pub(crate) transfer: Option<TransferId>,
}

/// A dataset key as whoever is next will hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeptKey {
    /// Which dataset; the project itself for its own key.
    pub(crate) dataset: DatasetId,
    /// Which key epoch.
    pub(crate) epoch: u32,
    /// Under which card.
    pub(crate) card: Digest,
    /// As the next custodian keeps it at rest.
    pub(crate) kept: Vec<u8>,
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("a type of the wire serializes because it holds texts")
}

/// Begins one; an earlier one of the project, and its keys, are gone.
pub(crate) async fn begin(
    at: &mut Connection,
    project: ProjectId,
    kept: &Kept,
) -> Result<(), HubError> {
    forget(at, project).await?;
    sqlx::query(
        "INSERT INTO handovers (project, approval, digest, card, transfer) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(project.to_string())
    .bind(json(&kept.body.approval))
    .bind(kept.digest.to_string())
    .bind(json(&kept.body.card))
    .bind(kept.transfer.map(|id| id.to_string()))
    .execute(at)
    .await?;
    Ok(())
}

/// The one that was begun, if there is one.
pub(crate) async fn find(
    at: &mut Connection,
    project: ProjectId,
) -> Result<Option<Kept>, HubError> {
    let row: Option<(String, String, String, Option<String>)> =
        sqlx::query_as("SELECT approval, digest, card, transfer FROM handovers WHERE project = $1")
            .bind(project.to_string())
            .fetch_optional(at)
            .await?;
    let Some((approval, digest, card, transfer)) = row else { return Ok(None) };
    Ok(Some(Kept {
        body: BeginHandover {
            approval: serde_json::from_str(&approval).map_err(damaged)?,
            card: serde_json::from_str(&card).map_err(damaged)?,
        },
        digest: parsed(&digest)?,
        transfer: parsed_or_none(transfer)?,
    }))
}

/// Ends it, with its keys.
pub(crate) async fn forget(at: &mut Connection, project: ProjectId) -> Result<(), HubError> {
    for table in ["handover_keys", "handovers"] {
        sqlx::query(sqlx::AssertSqlSafe(format!("DELETE FROM {table} WHERE project = $1")))
            .bind(project.to_string())
            .execute(&mut *at)
            .await?;
    }
    Ok(())
}

/// Keeps a key beside it.
pub(crate) async fn put_key(
    at: &mut Connection,
    project: ProjectId,
    key: &KeptKey,
) -> Result<(), HubError> {
    sqlx::query(
        "INSERT INTO handover_keys (project, dataset, epoch, card, kept) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (project, dataset) DO UPDATE SET epoch = $3, card = $4, kept = $5",
    )
    .bind(project.to_string())
    .bind(key.dataset.to_string())
    .bind(i64::from(key.epoch))
    .bind(key.card.to_string())
    .bind(&key.kept)
    .execute(at)
    .await?;
    Ok(())
}

/// Every key beside it.
pub(crate) async fn keys(
    at: &mut Connection,
    project: ProjectId,
) -> Result<Vec<KeptKey>, HubError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT dataset, epoch, card, kept FROM handover_keys WHERE project = $1 ORDER BY dataset",
    )
    .bind(project.to_string())
    .fetch_all(at)
    .await?;
    rows.into_iter().map(Row::key).collect()
}

/// The first card of each later owner, as the owner before signed it.
pub(crate) async fn of_project(
    at: &mut Connection,
    project: ProjectId,
) -> Result<Vec<SignedStatement>, HubError> {
    let rows: Vec<String> = sqlx::query_scalar(
        "SELECT handover FROM cards WHERE project = $1 AND handover IS NOT NULL ORDER BY number",
    )
    .bind(project.to_string())
    .fetch_all(at)
    .await?;
    rows.iter().map(|text| serde_json::from_str(text).map_err(damaged)).collect()
}

/// Says of a card which signature of the owner before let it follow.
pub(crate) async fn set_handover(
    at: &mut Connection,
    project: ProjectId,
    number: u32,
    handover: &SignedStatement,
) -> Result<(), HubError> {
    sqlx::query("UPDATE cards SET handover = $3 WHERE project = $1 AND number = $2")
        .bind(project.to_string())
        .bind(i64::from(number))
        .bind(json(handover))
        .execute(at)
        .await?;
    Ok(())
}

/// What the owner before shared is shared no more.
pub(crate) async fn forget_shares(at: &mut Connection, project: ProjectId) -> Result<(), HubError> {
    sqlx::query(
        "DELETE FROM dataset_shares WHERE dataset IN (SELECT id FROM datasets WHERE project = $1)",
    )
    .bind(project.to_string())
    .execute(at)
    .await?;
    Ok(())
}

#[derive(FromRow)]
struct Row {
    dataset: String,
    epoch: i64,
    card: String,
    kept: Vec<u8>,
}

impl Row {
    fn key(self) -> Result<KeptKey, HubError> {
        Ok(KeptKey {
            dataset: parsed(&self.dataset)?,
            epoch: small(self.epoch)?,
            card: parsed(&self.card)?,
            kept: self.kept,
        })
    }
}
