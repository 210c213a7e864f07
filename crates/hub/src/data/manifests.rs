//! Signed manifests of datasets.

use api::{Bytes, DatasetId, Digest, SignedStatement, Time};
use sqlx::FromRow;

use super::{Connection, micros, parsed};
use crate::HubError;

/// A manifest as it was signed, with its digest.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    /// The digest that the next one names.
    pub(crate) digest: Digest,
    /// The statement.
    pub(crate) signed: SignedStatement,
}

/// Keeps a manifest; a unique violation means that the number is taken.
pub(crate) async fn insert(
    at: &mut Connection,
    manifest: &proof::Manifest,
    kept: &Kept,
    now: Time,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO manifests (dataset, number, epoch, digest, statement, signature, signer, created)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(manifest.dataset.to_string())
    .bind(manifest.number)
    .bind(manifest.epoch)
    .bind(kept.digest.to_string())
    .bind(&kept.signed.statement)
    .bind(&kept.signed.signature.0)
    .bind(&kept.signed.signer.0)
    .bind(micros(now))
    .execute(at)
    .await?;
    Ok(())
}

/// The manifest of that number.
pub(crate) async fn find(
    at: &mut Connection,
    dataset: DatasetId,
    number: u32,
) -> Result<Option<Kept>, HubError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT digest, statement, signature, signer FROM manifests WHERE dataset = $1 AND number = $2",
    )
    .bind(dataset.to_string())
    .bind(number)
    .fetch_optional(at)
    .await?;
    row.map(Row::kept).transpose()
}

/// Every manifest of an epoch, the first one first.
pub(crate) async fn of_epoch(
    at: &mut Connection,
    dataset: DatasetId,
    epoch: u32,
) -> Result<Vec<Kept>, HubError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT digest, statement, signature, signer FROM manifests
         WHERE dataset = $1 AND epoch = $2 ORDER BY number",
    )
    .bind(dataset.to_string())
    .bind(epoch)
    .fetch_all(at)
    .await?;
    rows.into_iter().map(Row::kept).collect()
}

#[derive(FromRow)]
struct Row {
    digest: String,
    statement: String,
    signature: Vec<u8>,
    signer: Vec<u8>,
}

impl Row {
    fn kept(self) -> Result<Kept, HubError> {
        Ok(Kept {
            digest: parsed(&self.digest)?,
            signed: SignedStatement {
                statement: self.statement,
                signature: Bytes(self.signature),
                signer: Bytes(self.signer),
            },
        })
    }
}
