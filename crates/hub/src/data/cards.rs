//! Signed project cards.

use api::{Bytes, Digest, ProjectId, SignedStatement};
use sqlx::FromRow;

use super::{Connection, parsed, small};
use crate::HubError;

/// A card as it is kept.
#[derive(Debug, Clone)]
pub(crate) struct KeptCard {
    /// Its number.
    pub(crate) number: u32,
    /// The digest of its text.
    pub(crate) digest: Digest,
    /// The card.
    pub(crate) signed: SignedStatement,
}

/// Keeps a card.
pub(crate) async fn insert(
    at: &mut Connection,
    project: ProjectId,
    card: &KeptCard,
) -> Result<(), HubError> {
    sqlx::query(
        "INSERT INTO cards (project, number, digest, statement, signature, signer)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(project.to_string())
    .bind(i64::from(card.number))
    .bind(card.digest.to_string())
    .bind(&card.signed.statement)
    .bind(&card.signed.signature.0)
    .bind(&card.signed.signer.0)
    .execute(at)
    .await?;
    Ok(())
}

/// The card in force.
pub(crate) async fn in_force(
    at: &mut Connection,
    project: ProjectId,
) -> Result<Option<KeptCard>, HubError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT number, digest, statement, signature, signer FROM cards
         WHERE project = $1 ORDER BY number DESC LIMIT 1",
    )
    .bind(project.to_string())
    .fetch_optional(at)
    .await?;
    row.map(Row::card).transpose()
}

/// The card with this digest, in force or not: datasets name the one they were wrapped under.
pub(crate) async fn find(
    at: &mut Connection,
    project: ProjectId,
    digest: Digest,
) -> Result<Option<KeptCard>, HubError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT number, digest, statement, signature, signer FROM cards
         WHERE project = $1 AND digest = $2",
    )
    .bind(project.to_string())
    .bind(digest.to_string())
    .fetch_optional(at)
    .await?;
    row.map(Row::card).transpose()
}

#[derive(FromRow)]
struct Row {
    number: i64,
    digest: String,
    statement: String,
    signature: Vec<u8>,
    signer: Vec<u8>,
}

impl Row {
    fn card(self) -> Result<KeptCard, HubError> {
        Ok(KeptCard {
            number: small(self.number)?,
            digest: parsed(&self.digest)?,
            signed: SignedStatement {
                statement: self.statement,
                signature: Bytes(self.signature),
                signer: Bytes(self.signer),
            },
        })
    }
}
