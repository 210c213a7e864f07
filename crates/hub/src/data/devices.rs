//! Requests of devices, by the hash of their short code, and wrong codes.

use api::{AccountId, Bytes, DevicePending, DeviceState, Digest, KeyId, Time};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::FromRow;

use super::{Connection, from_word, micros, parsed, time, word};
use crate::HubError;

/// A request as it is kept.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    /// The hash of its code.
    pub(crate) hash: Digest,
    /// The key that asks.
    pub(crate) key: KeyId,
    /// Its bytes.
    pub(crate) public_key: Bytes,
    /// Where the request stands.
    pub(crate) state: DeviceState,
    /// What it asks, as a person sees it.
    pub(crate) asks: DevicePending,
}

/// From where a stranger asks, as it is counted.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    /// The place.
    pub(crate) place: String,
    /// The network around it.
    pub(crate) network: String,
}

/// Forgets what has expired, requests and wrong codes alike.
pub(crate) async fn sweep(
    at: &mut Connection,
    now: Time,
    guesses_before: Time,
) -> Result<(), HubError> {
    sqlx::query("DELETE FROM device_codes WHERE expires <= $1")
        .bind(micros(now))
        .execute(&mut *at)
        .await?;
    sqlx::query("DELETE FROM code_guesses WHERE at <= $1")
        .bind(micros(guesses_before))
        .execute(at)
        .await?;
    Ok(())
}

/// How many requests of strangers wait: in all, and from one place.
pub(crate) async fn waiting(at: &mut Connection, place: &str) -> Result<(i64, i64), HubError> {
    Ok(sqlx::query_as(
        "SELECT count(*), count(CASE WHEN place = $1 THEN 1 END) FROM device_codes
         WHERE state = 'pending' AND place IS NOT NULL",
    )
    .bind(place)
    .fetch_one(at)
    .await?)
}

/// Forgets the oldest request that waits from the network from which most wait.
pub(crate) async fn forget_one(at: &mut Connection) -> Result<(), HubError> {
    sqlx::query(
        "DELETE FROM device_codes WHERE hash = (
             SELECT hash FROM device_codes WHERE state = 'pending' AND network = (
                 SELECT network FROM device_codes WHERE state = 'pending' AND place IS NOT NULL
                 GROUP BY network ORDER BY count(*) DESC, min(created) LIMIT 1)
             ORDER BY created LIMIT 1)",
    )
    .execute(at)
    .await?;
    Ok(())
}

/// Keeps a request, in place of an earlier one of the same key.
pub(crate) async fn insert(
    at: &mut Connection,
    kept: &Kept,
    asker: Option<&Asker>,
) -> Result<(), HubError> {
    sqlx::query("DELETE FROM device_codes WHERE key = $1")
        .bind(kept.key.to_string())
        .execute(&mut *at)
        .await?;
    sqlx::query(
        "INSERT INTO device_codes (hash, key, public_key, machine, address, asks, key_limit, state, created, expires,
             place, network)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(kept.hash.to_string())
    .bind(kept.key.to_string())
    .bind(&kept.public_key.0)
    .bind(&kept.asks.machine)
    .bind(&kept.asks.address)
    .bind(json(&kept.asks.asks))
    .bind(kept.asks.limit.as_ref().map(json))
    .bind(word(kept.state))
    .bind(micros(kept.asks.created))
    .bind(micros(kept.asks.expires))
    .bind(asker.map(|asker| asker.place.as_str()))
    .bind(asker.map(|asker| asker.network.as_str()))
    .execute(at)
    .await?;
    Ok(())
}

/// The request of this code, if it can still be answered.
pub(crate) async fn pending(
    at: &mut Connection,
    hash: Digest,
    now: Time,
) -> Result<Option<Kept>, HubError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT hash, key, public_key, machine, address, asks, key_limit, state, created, expires
         FROM device_codes WHERE hash = $1 AND expires > $2 AND state = 'pending'",
    )
    .bind(hash.to_string())
    .bind(micros(now))
    .fetch_optional(at)
    .await?;
    row.map(Row::kept).transpose()
}

/// The request that this key made, answered or not.
pub(crate) async fn of_key(
    at: &mut Connection,
    key: KeyId,
    now: Time,
) -> Result<Option<Kept>, HubError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT hash, key, public_key, machine, address, asks, key_limit, state, created, expires
             FROM device_codes WHERE key = $1 AND expires > $2",
    )
    .bind(key.to_string())
    .bind(micros(now))
    .fetch_optional(at)
    .await?;
    row.map(Row::kept).transpose()
}

/// Writes down how a request was answered. Says no if it was answered before.
pub(crate) async fn answer(
    at: &mut Connection,
    hash: Digest,
    state: DeviceState,
    now: Time,
) -> Result<bool, HubError> {
    let done = sqlx::query(
        "UPDATE device_codes SET state = $2 WHERE hash = $1 AND state = 'pending' AND expires > $3",
    )
    .bind(hash.to_string())
    .bind(word(state))
    .bind(micros(now))
    .execute(at)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// How many wrong codes an account has named since.
pub(crate) async fn guesses(
    at: &mut Connection,
    account: AccountId,
    since: Time,
) -> Result<i64, HubError> {
    Ok(sqlx::query_scalar("SELECT count(*) FROM code_guesses WHERE account = $1 AND at > $2")
        .bind(account.to_string())
        .bind(micros(since))
        .fetch_one(at)
        .await?)
}

/// Counts a wrong code.
pub(crate) async fn guessed(
    at: &mut Connection,
    account: AccountId,
    now: Time,
) -> Result<(), HubError> {
    sqlx::query("INSERT INTO code_guesses (account, at) VALUES ($1, $2)")
        .bind(account.to_string())
        .bind(micros(now))
        .execute(at)
        .await?;
    Ok(())
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("it serializes because it holds texts and ids")
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, HubError> {
    serde_json::from_str(text)
        .map_err(|e| HubError::internal("a row of the hub's database does not read", e))
}

#[derive(FromRow)]
struct Row {
    hash: String,
    key: String,
    public_key: Vec<u8>,
    machine: String,
    address: Option<String>,
    asks: String,
    key_limit: Option<String>,
    state: String,
    created: i64,
    expires: i64,
}

impl Row {
    fn kept(self) -> Result<Kept, HubError> {
        Ok(Kept {
            hash: parsed(&self.hash)?,
            key: parsed(&self.key)?,
            public_key: Bytes(self.public_key),
            state: from_word(self.state)?,
            asks: DevicePending {
                machine: self.machine,
                address: self.address,
                asks: read(&self.asks)?,
                limit: self.key_limit.as_deref().map(read).transpose()?,
                created: time(self.created)?,
                expires: time(self.expires)?,
            },
        })
    }
}
