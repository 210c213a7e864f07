//! Accounts.

use api::{Account, AccountId, Belongs, Time};
use sqlx::FromRow;

use super::{Connection, from_word, micros, parsed, time, time_or_none};
use crate::HubError;

/// Keeps a new account.
pub(crate) async fn insert(at: &mut Connection, account: &Account) -> Result<(), HubError> {
    sqlx::query("INSERT INTO accounts (id, name, operator, created) VALUES ($1, $2, $3, $4)")
        .bind(account.id.to_string())
        .bind(&account.name)
        .bind(account.operator)
        .bind(micros(account.created))
        .execute(at)
        .await?;
    Ok(())
}

/// The account of that id, disabled or not; those that stand for instruments are found in `instruments`.
pub(crate) async fn find(at: &mut Connection, id: AccountId) -> Result<Option<Account>, HubError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT a.*, m.organization, m.role
         FROM accounts a LEFT JOIN organization_members m ON m.account = a.id
         WHERE a.id = $1 AND a.kind = 'person'",
    )
    .bind(id.to_string())
    .fetch_optional(at)
    .await?;
    row.map(Row::account).transpose()
}

/// Accounts in the order of their ids, after `after`.
pub(crate) async fn list(
    at: &mut Connection,
    after: &str,
    limit: i64,
) -> Result<Vec<Account>, HubError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT a.*, m.organization, m.role
         FROM accounts a LEFT JOIN organization_members m ON m.account = a.id
         WHERE a.id > $1 AND a.kind = 'person' ORDER BY a.id LIMIT $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(at)
    .await?;
    rows.into_iter().map(Row::account).collect()
}

/// Disables an account: none of its keys signs any more. Says whether it was not disabled before.
pub(crate) async fn disable(
    at: &mut Connection,
    id: AccountId,
    now: Time,
) -> Result<bool, HubError> {
    let done = sqlx::query("UPDATE accounts SET disabled = $2 WHERE id = $1 AND disabled IS NULL")
        .bind(id.to_string())
        .bind(micros(now))
        .execute(at)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Whether the account is there, a person's, and not disabled.
pub(crate) async fn is_in_force(at: &mut Connection, id: AccountId) -> Result<bool, HubError> {
    Ok(sqlx::query_scalar(
        "SELECT count(*) > 0 FROM accounts WHERE id = $1 AND disabled IS NULL AND kind = 'person'",
    )
    .bind(id.to_string())
    .fetch_one(at)
    .await?)
}

/// How many accounts that run this hub are not disabled and have a way in: a key in force that is not limited, or a password
/// or a passkey for a browser.
pub(crate) async fn working_operators(at: &mut Connection, now: Time) -> Result<i64, HubError> {
    Ok(sqlx::query_scalar(
        "SELECT count(*) FROM accounts a WHERE operator = 1 AND disabled IS NULL AND kind = 'person' AND (
             EXISTS (SELECT 1 FROM account_keys k WHERE k.account = a.id AND k.revoked IS NULL
                     AND k.scope IS NULL AND k.kind = 'person' AND (k.expires IS NULL OR k.expires > $1))
             OR EXISTS (SELECT 1 FROM passwords p WHERE p.account = a.id)
             OR EXISTS (SELECT 1 FROM passkeys p WHERE p.account = a.id))",
    )
    .bind(micros(now))
    .fetch_one(at)
    .await?)
}

/// Notes that an account was used.
pub(super) async fn note_use(
    at: &mut Connection,
    id: AccountId,
    now: Time,
) -> Result<(), HubError> {
    sqlx::query("UPDATE accounts SET used = max(coalesce(used, 0), $2) WHERE id = $1")
        .bind(id.to_string())
        .bind(micros(now))
        .execute(at)
        .await?;
    Ok(())
}

/// Where an account belongs, from the two columns that say it.
pub(super) fn belongs(
    organization: Option<String>,
    role: Option<String>,
) -> Result<Option<Belongs>, HubError> {
    let Some((organization, role)) = organization.zip(role) else { return Ok(None) };
    Ok(Some(Belongs { organization: parsed(&organization)?, role: from_word(role)? }))
}

#[derive(FromRow)]
struct Row {
    id: String,
    name: String,
    operator: bool,
    created: i64,
    disabled: Option<i64>,
    organization: Option<String>,
    role: Option<String>,
}

impl Row {
    fn account(self) -> Result<Account, HubError> {
        Ok(Account {
            id: parsed(&self.id)?,
            name: self.name,
            operator: self.operator,
            created: time(self.created)?,
            disabled: time_or_none(self.disabled)?,
            belongs: belongs(self.organization, self.role)?,
        })
    }
}
