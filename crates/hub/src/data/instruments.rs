//! Instruments, and who is signed on at them.

use api::{Account, AccountId, Instrument, InstrumentId, Shift, SignOn, Time};
use sqlx::FromRow;

use super::{Connection, micros, parsed, parsed_or_none, time, time_or_none};
use crate::HubError;

/// Keeps a new instrument.
pub(crate) async fn insert(at: &mut Connection, instrument: &Instrument) -> Result<(), HubError> {
    sqlx::query(
        "INSERT INTO accounts (id, name, operator, created, kind) VALUES ($1, $2, 0, $3, 'instrument')",
    )
    .bind(instrument.id.to_string())
    .bind(&instrument.name)
    .bind(micros(instrument.created))
    .execute(at)
    .await?;
    Ok(())
}

/// The instrument of that id, revoked or not.
pub(crate) async fn find(
    at: &mut Connection,
    id: InstrumentId,
) -> Result<Option<Instrument>, HubError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT a.id, a.name, a.created, a.disabled,
                EXISTS (SELECT 1 FROM account_keys WHERE account = a.id) AS enrolled
         FROM accounts a WHERE a.id = $1 AND a.kind = 'instrument'",
    )
    .bind(id.to_string())
    .fetch_optional(at)
    .await?;
    row.map(Row::instrument).transpose()
}

/// Instruments in the order of their ids, after `after`.
pub(crate) async fn list(
    at: &mut Connection,
    after: &str,
    limit: i64,
) -> Result<Vec<Instrument>, HubError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT a.id, a.name, a.created, a.disabled,
                EXISTS (SELECT 1 FROM account_keys WHERE account = a.id) AS enrolled
         FROM accounts a WHERE a.kind = 'instrument' AND a.id > $1 ORDER BY a.id LIMIT $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(at)
    .await?;
    rows.into_iter().map(Row::instrument).collect()
}

/// The account that stands for an instrument, if this is one: what its one-time code enrols.
pub(crate) async fn account(
    at: &mut Connection,
    id: AccountId,
) -> Result<Option<Account>, HubError> {
    let found = find(at, InstrumentId::from_bytes(id.to_bytes())).await?;
    Ok(found.map(|instrument| Account {
        id,
        name: instrument.name,
        operator: false,
        created: instrument.created,
        disabled: instrument.revoked,
        belongs: None,
    }))
}

/// Signs a technician on, in place of whoever was.
pub(crate) async fn sign_on(
    at: &mut Connection,
    instrument: InstrumentId,
    technician: AccountId,
    until: Time,
) -> Result<(), HubError> {
    sqlx::query(
        "INSERT INTO sign_ons (instrument, technician, until) VALUES ($1, $2, $3)
         ON CONFLICT (instrument) DO UPDATE SET technician = excluded.technician, until = excluded.until",
    )
    .bind(instrument.to_string())
    .bind(technician.to_string())
    .bind(micros(until))
    .execute(at)
    .await?;
    Ok(())
}

/// Signs off whoever is signed on; says whether somebody was.
pub(crate) async fn sign_off(
    at: &mut Connection,
    instrument: InstrumentId,
) -> Result<bool, HubError> {
    let done = sqlx::query("DELETE FROM sign_ons WHERE instrument = $1")
        .bind(instrument.to_string())
        .execute(at)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Who is signed on now.
pub(crate) async fn signed_on(
    at: &mut Connection,
    instrument: InstrumentId,
    now: Time,
) -> Result<SignOn, HubError> {
    let row: Option<(String, String, i64)> = sqlx::query_as(
        "SELECT a.id, a.name, s.until FROM sign_ons s JOIN accounts a ON a.id = s.technician
         WHERE s.instrument = $1 AND s.until > $2 AND a.disabled IS NULL",
    )
    .bind(instrument.to_string())
    .bind(micros(now))
    .fetch_optional(at)
    .await?;
    let Some((technician, name, until)) = row else {
        return Ok(SignOn { technician: None, name: None, until: None });
    };
    Ok(SignOn {
        technician: parsed_or_none(Some(technician))?,
        name: Some(name),
        until: Some(time(until)?),
    })
}

/// Instruments at which this account is signed on now, in the order of their ids, after `after`.
pub(crate) async fn shifts(
    at: &mut Connection,
    technician: AccountId,
    now: Time,
    after: &str,
    limit: i64,
) -> Result<Vec<Shift>, HubError> {
    let rows: Vec<(String, String, i64)> = sqlx::query_as(
        "SELECT s.instrument, i.name, s.until FROM sign_ons s JOIN accounts i ON i.id = s.instrument
         WHERE s.technician = $1 AND s.until > $2 AND s.instrument > $3 ORDER BY s.instrument LIMIT $4",
    )
    .bind(technician.to_string())
    .bind(micros(now))
    .bind(after)
    .bind(limit)
    .fetch_all(at)
    .await?;
    rows.into_iter()
        .map(|(instrument, name, until)| {
            Ok(Shift { instrument: parsed(&instrument)?, name, until: time(until)? })
        })
        .collect()
}

/// Signs this account off there, if it is the one that is signed on; gives what ended.
pub(crate) async fn end_shift(
    at: &mut Connection,
    technician: AccountId,
    instrument: InstrumentId,
    now: Time,
) -> Result<Option<Shift>, HubError> {
    let row: Option<(String, i64)> = sqlx::query_as(
        "DELETE FROM sign_ons WHERE instrument = $1 AND technician = $2 AND until > $3
         RETURNING (SELECT name FROM accounts WHERE id = sign_ons.instrument), until",
    )
    .bind(instrument.to_string())
    .bind(technician.to_string())
    .bind(micros(now))
    .fetch_optional(at)
    .await?;
    row.map(|(name, until)| Ok(Shift { instrument, name, until: time(until)? })).transpose()
}

#[derive(FromRow)]
struct Row {
    id: String,
    name: String,
    created: i64,
    disabled: Option<i64>,
    enrolled: bool,
}

impl Row {
    fn instrument(self) -> Result<Instrument, HubError> {
        Ok(Instrument {
            id: parsed(&self.id)?,
            name: self.name,
            enrolled: self.enrolled,
            created: time(self.created)?,
            revoked: time_or_none(self.disabled)?,
        })
    }
}
