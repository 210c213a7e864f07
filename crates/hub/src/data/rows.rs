//! Whole rows as JSON and back, for what must outlive the database: descriptions beside the wrapped keys, and what a backup
//! keeps apart. A number is a number, a text a text, and bytes are `{"hex": "…"}`.

use data_encoding::HEXLOWER;
use serde_json::{Map, Value, json};
use sqlx::error::DatabaseError;
use sqlx::{AssertSqlSafe, Column, Row as _, TypeInfo as _, ValueRef as _};

use super::Connection;
use crate::HubError;

/// A row: columns and their values.
pub(crate) type Row = Map<String, Value>;

/// Every row of a table for which a condition on `$1` holds.
pub(crate) async fn read(
    at: &mut Connection,
    table: &'static str,
    condition: &'static str,
    value: &str,
) -> Result<Vec<Row>, HubError> {
    let query = format!("SELECT * FROM {table} WHERE {condition}");
    let rows = sqlx::query(AssertSqlSafe(query)).bind(value).fetch_all(at).await?;
    let mut read = Vec::with_capacity(rows.len());
    for row in rows {
        let mut columns = Row::new();
        for column in row.columns() {
            let (place, name) = (column.ordinal(), column.name());
            let raw = row.try_get_raw(place)?;
            let value = if raw.is_null() {
                Value::Null
            } else {
                match raw.type_info().name() {
                    "INTEGER" => json!(row.try_get_unchecked::<i64, _>(place)?),
                    "BLOB" => {
                        let bytes = row.try_get_unchecked::<Vec<u8>, _>(place)?;
                        json!({ "hex": HEXLOWER.encode(&bytes) })
                    }
                    _ => json!(row.try_get_unchecked::<String, _>(place)?),
                }
            };
            columns.insert(name.to_owned(), value);
        }
        read.push(columns);
    }
    Ok(read)
}

/// Puts rows into a table; one whose key is there already is left as it is. Gives how many were put.
pub(crate) async fn write(
    at: &mut Connection,
    table: &'static str,
    rows: &[Row],
) -> Result<u64, HubError> {
    let mut written = 0;
    for row in rows {
        let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        if row.is_empty() || !row.keys().all(|name| is_name(name)) {
            return Err(damaged(table));
        }
        let names = row.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let places = (1..=row.len()).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ");
        let query =
            format!("INSERT INTO {table} ({names}) VALUES ({places}) ON CONFLICT DO NOTHING");
        let mut insert = sqlx::query(AssertSqlSafe(query));
        for value in row.values() {
            insert = match value {
                Value::Null => insert.bind(None::<String>),
                Value::String(text) => insert.bind(text.as_str()),
                Value::Number(number) => {
                    insert.bind(number.as_i64().ok_or_else(|| damaged(table))?)
                }
                Value::Object(bytes) => {
                    let hex = bytes.get("hex").and_then(Value::as_str).unwrap_or("-");
                    let bytes = HEXLOWER.decode(hex.as_bytes()).map_err(|_| damaged(table))?;
                    insert.bind(bytes)
                }
                _ => return Err(damaged(table)),
            };
        }
        match insert.execute(&mut *at).await {
            Ok(done) => written += done.rows_affected(),
            // A description may be a little older than that of what it belongs to.
            Err(error)
                if error
                    .as_database_error()
                    .is_some_and(DatabaseError::is_foreign_key_violation) =>
            {
                tracing::warn!(table, "a row was left out: what it belongs to is not there");
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(written)
}

fn damaged(table: &'static str) -> HubError {
    HubError::internal("a description of rows does not read", format!("a row of {table}"))
}
