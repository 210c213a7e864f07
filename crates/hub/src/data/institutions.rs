//! Who an institution's people are here.

use api::{AccountId, Time};

use super::{Connection, is_taken, micros, parsed};
use crate::HubError;

/// The account in force of an institution's subject.
pub(crate) async fn find(
    at: &mut Connection,
    issuer: &str,
    subject: &str,
) -> Result<Option<AccountId>, HubError> {
    let row: Option<String> = sqlx::query_scalar(
        "SELECT p.account FROM institution_people p JOIN accounts a ON a.id = p.account
         WHERE p.issuer = $1 AND p.subject = $2 AND a.disabled IS NULL",
    )
    .bind(issuer)
    .bind(subject)
    .fetch_optional(at)
    .await?;
    row.as_deref().map(parsed).transpose()
}

/// Whether somebody of an institution is this account.
pub(crate) async fn knows(
    at: &mut Connection,
    issuer: &str,
    account: AccountId,
) -> Result<bool, HubError> {
    Ok(sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM institution_people WHERE issuer = $1 AND account = $2)",
    )
    .bind(issuer)
    .bind(account.to_string())
    .fetch_one(at)
    .await?)
}

/// Links an institution's subject to an account. Says no if it is linked already, to whomever.
pub(crate) async fn link(
    at: &mut Connection,
    issuer: &str,
    subject: &str,
    account: AccountId,
    now: Time,
) -> Result<bool, HubError> {
    let done = sqlx::query(
        "INSERT INTO institution_people (issuer, subject, account, created) VALUES ($1, $2, $3, $4)",
    )
    .bind(issuer)
    .bind(subject)
    .bind(account.to_string())
    .bind(micros(now))
    .execute(at)
    .await;
    match done {
        Ok(_) => Ok(true),
        Err(error) if is_taken(&error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
