//! Offers to hand over a project.

use api::{AccountId, Time, Transfer, TransferId, TransferState};
use sqlx::FromRow;

use super::members::Viewer;
use super::{Connection, from_word, micros, parsed, time, word};
use crate::HubError;

/// Keeps an offer; a unique violation means that the project has an open one.
pub(crate) async fn insert(at: &mut Connection, transfer: &Transfer) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO transfers (id, project, giver, taker, reseal, state, created)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(transfer.id.to_string())
    .bind(transfer.project.to_string())
    .bind(transfer.from.to_string())
    .bind(transfer.to.to_string())
    .bind(transfer.reseal)
    .bind(word(transfer.state))
    .bind(micros(transfer.created))
    .execute(at)
    .await?;
    Ok(())
}

/// The offer, if `account` gives or takes.
pub(crate) async fn find(
    at: &mut Connection,
    id: TransferId,
    account: AccountId,
) -> Result<Option<Transfer>, HubError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT id, project, giver, taker, reseal, state, created FROM transfers
         WHERE id = $1 AND (giver = $2 OR taker = $2)",
    )
    .bind(id.to_string())
    .bind(account.to_string())
    .fetch_optional(at)
    .await?;
    row.map(Row::transfer).transpose()
}

/// Offers that `account` gives or takes, in the order of their ids, after `after`.
pub(crate) async fn list(
    at: &mut Connection,
    viewer: Viewer,
    after: &str,
    limit: i64,
) -> Result<Vec<Transfer>, HubError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, project, giver, taker, reseal, state, created FROM transfers
         WHERE (giver = $1 OR taker = $1) AND id > $2
             AND ($4 IS NULL OR EXISTS (SELECT 1 FROM key_projects WHERE key = $4 AND project = transfers.project))
         ORDER BY id LIMIT $3",
    )
    .bind(viewer.account.to_string())
    .bind(after)
    .bind(limit)
    .bind(viewer.key())
    .fetch_all(at)
    .await?;
    rows.into_iter().map(Row::transfer).collect()
}

/// Ends an open offer; says whether it was open.
pub(crate) async fn end(
    at: &mut Connection,
    id: TransferId,
    state: TransferState,
    now: Time,
) -> Result<bool, HubError> {
    let done = sqlx::query(
        "UPDATE transfers SET state = $2, ended = $3 WHERE id = $1 AND state = 'offered'",
    )
    .bind(id.to_string())
    .bind(word(state))
    .bind(micros(now))
    .execute(at)
    .await?;
    Ok(done.rows_affected() == 1)
}

#[derive(FromRow)]
struct Row {
    id: String,
    project: String,
    giver: String,
    taker: String,
    reseal: bool,
    state: String,
    created: i64,
}

impl Row {
    fn transfer(self) -> Result<Transfer, HubError> {
        Ok(Transfer {
            id: parsed(&self.id)?,
            project: parsed(&self.project)?,
            from: parsed(&self.giver)?,
            to: parsed(&self.taker)?,
            reseal: self.reseal,
            state: from_word(self.state)?,
            created: time(self.created)?,
        })
    }
}
