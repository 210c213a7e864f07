//! Indexes of searchable fields: their versions, how far each is, and the hashes.

use api::{FieldIndex, IndexMode, IndexState, OrganizationId, SearchField, Time};
use cases::Token;
use sqlx::FromRow;

use super::{Connection, from_word, micros, parsed, small, time, unsigned, word};
use crate::HubError;

/// So many rows go into one statement, which costs more than a row does.
pub(super) const MOST_IN_ONE: usize = 500;

/// A version of an index.
#[derive(Debug, Clone)]
pub(crate) struct KeptIndex {
    /// Its row.
    pub(crate) id: i64,
    /// The organization.
    pub(crate) organization: OrganizationId,
    /// The row of cases up to which what was there before is hashed.
    pub(crate) cursor: i64,
    /// What is shown of it.
    pub(crate) shown: FieldIndex,
}

/// Begins a version.
pub(crate) async fn insert(
    at: &mut Connection,
    organization: OrganizationId,
    field: SearchField,
    version: u32,
    mode: IndexMode,
    now: Time,
) -> Result<(), HubError> {
    let total = super::cases::count(at, organization).await?;
    let bits = match mode {
        IndexMode::Exact => None,
        IndexMode::Beacon { bits } => Some(i64::from(bits)),
    };
    sqlx::query(
        "INSERT INTO case_indexes (organization, field, version, bits, state, total, since)
         VALUES ($1, $2, $3, $4, 'building', $5, $6)",
    )
    .bind(organization.to_string())
    .bind(word(field))
    .bind(i64::from(version))
    .bind(bits)
    .bind(total)
    .bind(micros(now))
    .execute(at)
    .await?;
    Ok(())
}

/// Every version of an organization's indexes, in the order they were begun.
pub(crate) async fn of_organization(
    at: &mut Connection,
    id: OrganizationId,
) -> Result<Vec<KeptIndex>, HubError> {
    let rows: Vec<Row> =
        sqlx::query_as("SELECT * FROM case_indexes WHERE organization = $1 ORDER BY id")
            .bind(id.to_string())
            .fetch_all(at)
            .await?;
    rows.into_iter().map(Row::kept).collect()
}

/// The versions that are being built or end, of all organizations.
pub(crate) async fn unfinished(at: &mut Connection) -> Result<Vec<KeptIndex>, HubError> {
    let rows: Vec<Row> =
        sqlx::query_as("SELECT * FROM case_indexes WHERE state <> 'live' ORDER BY id")
            .fetch_all(at)
            .await?;
    rows.into_iter().map(Row::kept).collect()
}

/// One version.
pub(crate) async fn find(at: &mut Connection, id: i64) -> Result<Option<KeptIndex>, HubError> {
    let row: Option<Row> = sqlx::query_as("SELECT * FROM case_indexes WHERE id = $1")
        .bind(id)
        .fetch_optional(at)
        .await?;
    row.map(Row::kept).transpose()
}

/// Says how far a version is.
pub(crate) async fn advance(
    at: &mut Connection,
    id: i64,
    cursor: i64,
    more: usize,
) -> Result<(), HubError> {
    let more = i64::try_from(more).unwrap_or(i64::MAX);
    sqlx::query("UPDATE case_indexes SET cursor = $2, done = done + $3 WHERE id = $1")
        .bind(id)
        .bind(cursor)
        .bind(more)
        .execute(at)
        .await?;
    Ok(())
}

/// Whether a version is the one that answers.
pub(crate) async fn is_live(at: &mut Connection, id: i64) -> Result<bool, HubError> {
    let of = "SELECT EXISTS (SELECT 1 FROM case_indexes WHERE id = $1 AND state = 'live')";
    Ok(sqlx::query_scalar(of).bind(id).fetch_one(at).await?)
}

/// Makes a version the one that answers; the older ones of its field end.
pub(crate) async fn go_live(
    at: &mut Connection,
    index: &KeptIndex,
    now: Time,
) -> Result<(), HubError> {
    end(at, index.organization, index.shown.field, Some(index.id), now).await?;
    sqlx::query("UPDATE case_indexes SET state = 'live', since = $2 WHERE id = $1")
        .bind(index.id)
        .bind(micros(now))
        .execute(at)
        .await?;
    Ok(())
}

/// Has every version that counts built anew from the first row: their hashes are not there.
pub(crate) async fn begin_anew(at: &mut Connection) -> Result<(), HubError> {
    sqlx::query(
        "UPDATE case_indexes SET state = 'building', cursor = 0, done = 0,
             total = (SELECT count(*) FROM cases WHERE cases.organization = case_indexes.organization)
         WHERE state <> 'ending'",
    )
    .execute(at)
    .await?;
    Ok(())
}

/// Ends the versions of a field, but for those from `but` on.
pub(crate) async fn end(
    at: &mut Connection,
    organization: OrganizationId,
    field: SearchField,
    but: Option<i64>,
    now: Time,
) -> Result<u64, HubError> {
    let done = sqlx::query(
        "UPDATE case_indexes SET state = 'ending', since = $4, done = 0,
             total = (SELECT count(*) FROM case_hashes WHERE idx = case_indexes.id)
         WHERE organization = $1 AND field = $2 AND ($3 IS NULL OR id < $3) AND state <> 'ending'",
    )
    .bind(organization.to_string())
    .bind(word(field))
    .bind(but)
    .bind(micros(now))
    .execute(at)
    .await?;
    Ok(done.rows_affected())
}

/// A hash of a value of a case: of which version of which index, and in which row.
pub(crate) type Hash = (i64, Token, i64);

/// Keeps hashes of values of cases, many in one statement: each of these costs more than what it writes.
pub(crate) async fn put_hashes(at: &mut Connection, hashes: &[Hash]) -> Result<(), HubError> {
    for some in hashes.chunks(MOST_IN_ONE) {
        let mut query =
            sqlx::QueryBuilder::new("INSERT OR IGNORE INTO case_hashes (idx, hash, number) ");
        query.push_values(some, |mut row, (index, token, number)| {
            row.push_bind(*index).push_bind(token.as_bytes()).push_bind(*number);
        });
        query.build().execute(&mut *at).await?;
    }
    Ok(())
}

/// Takes the hashes of a case away.
pub(crate) async fn remove_hashes_of(at: &mut Connection, number: i64) -> Result<(), HubError> {
    sqlx::query("DELETE FROM case_hashes WHERE number = $1").bind(number).execute(at).await?;
    Ok(())
}

/// Deletes some hashes of a version that ends; says how many.
pub(crate) async fn remove_some(
    at: &mut Connection,
    index: i64,
    most: i64,
) -> Result<usize, HubError> {
    let done = sqlx::query(
        "DELETE FROM case_hashes WHERE idx = $1 AND (hash, number) IN
             (SELECT hash, number FROM case_hashes WHERE idx = $1 LIMIT $2)",
    )
    .bind(index)
    .bind(most)
    .execute(at)
    .await?;
    Ok(usize::try_from(done.rows_affected()).unwrap_or(usize::MAX))
}

/// Removes a version that has no hashes any more.
pub(crate) async fn remove(at: &mut Connection, id: i64) -> Result<(), HubError> {
    sqlx::query("DELETE FROM case_indexes WHERE id = $1").bind(id).execute(at).await?;
    Ok(())
}

#[derive(FromRow)]
struct Row {
    id: i64,
    organization: String,
    field: String,
    version: i64,
    bits: Option<i64>,
    state: String,
    cursor: i64,
    done: i64,
    total: i64,
    since: i64,
}

impl Row {
    fn kept(self) -> Result<KeptIndex, HubError> {
        let field = from_word(self.field)?;
        let mode = match self.bits {
            None => IndexMode::Exact,
            Some(bits) => IndexMode::Beacon {
                bits: u8::try_from(bits)
                    .map_err(|e| HubError::internal("an index has no such number of bits", e))?,
            },
        };
        let state: IndexState = from_word(self.state)?;
        Ok(KeptIndex {
            id: self.id,
            organization: parsed(&self.organization)?,
            cursor: self.cursor,
            shown: FieldIndex {
                field,
                version: small(self.version)?,
                mode,
                state,
                done: unsigned(self.done)?,
                total: unsigned(self.total)?,
                since: time(self.since)?,
                leaks: cases::leaks(field, mode),
            },
        })
    }
}
