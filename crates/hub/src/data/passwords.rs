//! Sign-in names and the digests of passwords.

use api::{AccountId, Time};
use sqlx::FromRow;

use super::{Connection, is_taken, micros, parsed, small};
use crate::HubError;

/// A password as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    /// How much memory it took to make, in KiB.
    pub(crate) memory_kib: u32,
    /// How often that memory was passed.
    pub(crate) passes: u32,
    /// What was mixed in.
    pub(crate) salt: Vec<u8>,
    /// The Argon2id digest.
    pub(crate) digest: Vec<u8>,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kept(..)")
    }
}

/// The account that signs in by this name, if it is in force, and its password, if it has one.
pub(crate) async fn find(
    at: &mut Connection,
    name: &str,
) -> Result<Option<(AccountId, Option<Kept>)>, HubError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT n.account, p.memory_kib, p.passes, p.salt, p.digest
         FROM sign_in_names n JOIN accounts a ON a.id = n.account
         LEFT JOIN passwords p ON p.account = n.account
         WHERE n.name = $1 AND a.disabled IS NULL AND a.kind = 'person'",
    )
    .bind(name)
    .fetch_optional(at)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let kept = match (row.memory_kib, row.passes, row.salt, row.digest) {
        (Some(memory), Some(passes), Some(salt), Some(digest)) => {
            Some(Kept { memory_kib: small(memory)?, passes: small(passes)?, salt, digest })
        }
        _ => None,
    };
    Ok(Some((parsed(&row.account)?, kept)))
}

/// The password of an account, if it has one.
pub(crate) async fn kept(
    at: &mut Connection,
    account: AccountId,
) -> Result<Option<Kept>, HubError> {
    let row: Option<(i64, i64, Vec<u8>, Vec<u8>)> =
        sqlx::query_as("SELECT memory_kib, passes, salt, digest FROM passwords WHERE account = $1")
            .bind(account.to_string())
            .fetch_optional(at)
            .await?;
    row.map(|(memory, passes, salt, digest)| {
        Ok(Kept { memory_kib: small(memory)?, passes: small(passes)?, salt, digest })
    })
    .transpose()
}

/// By which name an account signs in.
pub(crate) async fn name_of(
    at: &mut Connection,
    account: AccountId,
) -> Result<Option<String>, HubError> {
    Ok(sqlx::query_scalar("SELECT name FROM sign_in_names WHERE account = $1")
        .bind(account.to_string())
        .fetch_optional(at)
        .await?)
}

/// Whether the account has a password.
pub(crate) async fn has(at: &mut Connection, account: AccountId) -> Result<bool, HubError> {
    Ok(sqlx::query_scalar("SELECT count(*) > 0 FROM passwords WHERE account = $1")
        .bind(account.to_string())
        .fetch_one(at)
        .await?)
}

/// Gives the account this sign-in name instead of the one it had. Says no if it is another account's.
pub(crate) async fn set_name(
    at: &mut Connection,
    account: AccountId,
    name: &str,
) -> Result<bool, HubError> {
    let done = sqlx::query(
        "INSERT INTO sign_in_names (name, account) VALUES ($1, $2)
         ON CONFLICT (account) DO UPDATE SET name = excluded.name",
    )
    .bind(name)
    .bind(account.to_string())
    .execute(at)
    .await;
    match done {
        Ok(_) => Ok(true),
        Err(error) if is_taken(&error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Keeps the account's password.
pub(crate) async fn set(
    at: &mut Connection,
    account: AccountId,
    kept: &Kept,
    now: Time,
) -> Result<(), HubError> {
    sqlx::query(
        "INSERT INTO passwords (account, memory_kib, passes, salt, digest, changed)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (account) DO UPDATE SET memory_kib = excluded.memory_kib, passes = excluded.passes,
             salt = excluded.salt, digest = excluded.digest, changed = excluded.changed",
    )
    .bind(account.to_string())
    .bind(i64::from(kept.memory_kib))
    .bind(i64::from(kept.passes))
    .bind(&kept.salt)
    .bind(&kept.digest)
    .bind(micros(now))
    .execute(at)
    .await?;
    Ok(())
}

#[derive(FromRow)]
struct Row {
    account: String,
    memory_kib: Option<i64>,
    passes: Option<i64>,
    salt: Option<Vec<u8>>,
    digest: Option<Vec<u8>>,
}
