//! Passkeys: public keys that sign people in, never calls.

use api::{AccountId, Time};
use sqlx::FromRow;
use uuid::Uuid;

use super::{Connection, is_taken, micros, parsed, small, time, time_or_none};
use crate::HubError;

/// A passkey of an account.
#[derive(Debug, Clone)]
pub(crate) struct Passkey {
    /// What pages call it by.
    pub(crate) id: Uuid,
    /// Whom it signs in.
    pub(crate) account: AccountId,
    /// What the authenticator calls it by.
    pub(crate) credential: Vec<u8>,
    /// The host name it was made for.
    pub(crate) host: String,
    /// The public key, as the authenticator wrote it.
    pub(crate) public_key: Vec<u8>,
    /// Its counter at the last sign-in.
    pub(crate) counter: u32,
    /// Where it lies, in its owner's words.
    pub(crate) name: String,
    /// Since when.
    pub(crate) created: Time,
    /// When it was last used.
    pub(crate) used: Option<Time>,
}

/// Keeps a new one. Says no if the credential is known already.
pub(crate) async fn insert(at: &mut Connection, passkey: &Passkey) -> Result<bool, HubError> {
    let done = sqlx::query(
        "INSERT INTO passkeys (id, account, credential, host, public_key, counter, name, created)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(passkey.id.to_string())
    .bind(passkey.account.to_string())
    .bind(&passkey.credential)
    .bind(&passkey.host)
    .bind(&passkey.public_key)
    .bind(i64::from(passkey.counter))
    .bind(&passkey.name)
    .bind(micros(passkey.created))
    .execute(at)
    .await;
    match done {
        Ok(_) => Ok(true),
        Err(error) if is_taken(&error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The passkey that an authenticator calls so, if its account is in force.
pub(crate) async fn find(
    at: &mut Connection,
    credential: &[u8],
) -> Result<Option<Passkey>, HubError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT p.id, p.account, p.credential, p.host, p.public_key, p.counter, p.name, p.created, p.used
         FROM passkeys p JOIN accounts a ON a.id = p.account
         WHERE p.credential = $1 AND a.disabled IS NULL AND a.kind = 'person'",
    )
    .bind(credential)
    .fetch_optional(at)
    .await?;
    row.map(Row::passkey).transpose()
}

/// The passkeys of an account, the oldest first.
pub(crate) async fn list(
    at: &mut Connection,
    account: AccountId,
) -> Result<Vec<Passkey>, HubError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, account, credential, host, public_key, counter, name, created, used
         FROM passkeys WHERE account = $1 ORDER BY created, id",
    )
    .bind(account.to_string())
    .fetch_all(at)
    .await?;
    rows.into_iter().map(Row::passkey).collect()
}

/// Notes a sign-in, if the counter is still the one that was looked at: of two sign-ins with a copied key one counts.
pub(crate) async fn note_use(
    at: &mut Connection,
    id: Uuid,
    before: u32,
    counter: u32,
    now: Time,
) -> Result<bool, HubError> {
    let done =
        sqlx::query("UPDATE passkeys SET counter = $3, used = $4 WHERE id = $1 AND counter = $2")
            .bind(id.to_string())
            .bind(i64::from(before))
            .bind(i64::from(counter))
            .bind(micros(now))
            .execute(at)
            .await?;
    Ok(done.rows_affected() == 1)
}

/// Removes a passkey of an account; says whether it was there.
pub(crate) async fn remove(
    at: &mut Connection,
    account: AccountId,
    id: Uuid,
) -> Result<bool, HubError> {
    let done = sqlx::query("DELETE FROM passkeys WHERE id = $1 AND account = $2")
        .bind(id.to_string())
        .bind(account.to_string())
        .execute(at)
        .await?;
    Ok(done.rows_affected() == 1)
}

#[derive(FromRow)]
struct Row {
    id: String,
    account: String,
    credential: Vec<u8>,
    host: String,
    public_key: Vec<u8>,
    counter: i64,
    name: String,
    created: i64,
    used: Option<i64>,
}

impl Row {
    fn passkey(self) -> Result<Passkey, HubError> {
        Ok(Passkey {
            id: parsed(&self.id)?,
            account: parsed(&self.account)?,
            credential: self.credential,
            host: self.host,
            public_key: self.public_key,
            counter: small(self.counter)?,
            name: self.name,
            created: time(self.created)?,
            used: time_or_none(self.used)?,
        })
    }
}
