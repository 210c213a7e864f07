//! The database: SQL and nothing else, one file per noun.
//!
//! `SQLite` in WAL mode. Readers have a pool; writing has one connection, and every writing transaction takes the write lock
//! at its start (`BEGIN IMMEDIATE`), because a reader that turns into a writer half-way is refused at once, and
//! two writers that queue here never meet there. `secure_delete` overwrites what is deleted, and [`Db::forget`] empties
//! the write-ahead log, so that a deleted row is in no file.
//!
//! Functions take a connection, so that the caller decides what belongs in one transaction. Texts use `$1` placeholders.

pub(crate) mod accounts;
pub(crate) mod approvals;
pub(crate) mod apps;
pub(crate) mod audit;
pub(crate) mod blocks;
pub(crate) mod boots;
pub(crate) mod browsers;
pub(crate) mod cards;
pub(crate) mod case_indexes;
pub(crate) mod cases;
pub(crate) mod codes;
pub(crate) mod counts;
pub(crate) mod datasets;
pub(crate) mod devices;
pub(crate) mod erasures;
pub(crate) mod events;
pub(crate) mod handovers;
pub(crate) mod institutions;
pub(crate) mod instruments;
pub(crate) mod intents;
pub(crate) mod keys;
pub(crate) mod manifests;
pub(crate) mod members;
pub(crate) mod meta;
pub(crate) mod nonces;
pub(crate) mod notices;
pub(crate) mod objects;
pub(crate) mod organization_keys;
pub(crate) mod organizations;
pub(crate) mod passkeys;
pub(crate) mod passwords;
pub(crate) mod projects;
pub(crate) mod rows;
pub(crate) mod seen;
pub(crate) mod sessions;
pub(crate) mod tasks;
pub(crate) mod transfers;
pub(crate) mod tries;
pub(crate) mod undescribed;
pub(crate) mod uses;

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use api::Time;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Sqlite, SqliteConnection, Transaction};

use self::seen::Seen;
use crate::{HubError, StartError};

/// How many readers at once.
const READERS: u32 = 8;
/// How long a statement waits for a lock that another process holds (a backup, `sqlite3` in a shell).
pub(crate) const BUSY: Duration = Duration::from_secs(10);

/// The steps that bring a database of any earlier version to this program's.
static MIGRATIONS: Migrator = sqlx::migrate!();

/// The last of them.
pub(crate) fn newest_schema() -> i64 {
    MIGRATIONS.iter().map(|step| step.version).max().unwrap_or(0)
}

/// The database.
#[derive(Debug, Clone)]
pub(crate) struct Db {
    readers: SqlitePool,
    writer: SqlitePool,
    seen: Seen,
}

impl Db {
    /// Opens the database at `path`, makes it if it is not there, and brings it to this program's version.
    pub(crate) async fn open(path: &Path) -> Result<Self, StartError> {
        let database = |source| StartError::Database { path: path.to_owned(), source };
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .busy_timeout(BUSY)
            .foreign_keys(true)
            .pragma("secure_delete", "ON")
            .pragma("trusted_schema", "OFF");
        // A connection to a file does not go away, so nobody asks one whether it is still there.
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .test_before_acquire(false)
            .connect_with(
                options.clone().create_if_missing(true).synchronous(SqliteSynchronous::Full),
            )
            .await
            .map_err(database)?;
        MIGRATIONS.run(&writer).await.map_err(|source| match source {
            // A migration that ran and is not among this program's.
            MigrateError::VersionMissing(found) if found > newest_schema() => {
                StartError::NewerDatabase { path: path.to_owned(), found, known: newest_schema() }
            }
            source => StartError::Migration { path: path.to_owned(), source },
        })?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .test_before_acquire(false)
            .connect_with(options.pragma("query_only", "ON"))
            .await
            .map_err(database)?;
        Ok(Self { readers, writer, seen: Seen::new() })
    }

    /// A connection that reads what is committed.
    pub(crate) async fn read(&self) -> Result<PoolConnection<Sqlite>, HubError> {
        Ok(self.readers.acquire().await?)
    }

    /// A transaction that writes; nothing of it stays unless it is committed.
    pub(crate) async fn write(&self) -> Result<Write, HubError> {
        let tx = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        self.seen.begin();
        Ok(Write { tx: Some(tx), db: self.clone(), committing: false })
    }

    /// What was read and is still so.
    pub(crate) const fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Empties the write-ahead log into the database, so that what was deleted stands nowhere. Readers that still look at
    /// an older state are waited for, as long as a busy lock is.
    pub(crate) async fn forget(&self) -> Result<(), HubError> {
        let mut writer = self.writer.acquire().await?;
        let (busy, _, _): (i64, i64, i64) =
            sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut *writer).await?;
        if busy == 0 {
            Ok(())
        } else {
            Err(HubError::conflict("a reader of the database keeps its log from being emptied")
                .hint("send the same call again"))
        }
    }

    /// Closes every connection, and with them the log.
    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// A transaction that writes. While it is open nothing that is read is remembered ([`Seen`]).
#[derive(Debug)]
pub(crate) struct Write {
    tx: Option<Transaction<'static, Sqlite>>,
    db: Db,
    committing: bool,
}

impl Write {
    /// Keeps what was written.
    pub(crate) async fn commit(mut self) -> Result<(), sqlx::Error> {
        let Some(tx) = self.tx.take() else { return Ok(()) };
        self.committing = true;
        let done = tx.commit().await;
        self.committing = false;
        done
    }

    /// Takes back what was written.
    pub(crate) async fn rollback(mut self) -> Result<(), sqlx::Error> {
        match self.tx.take() {
            Some(tx) => tx.rollback().await,
            None => Ok(()),
        }
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        if !self.committing {
            // Committed, or it never will be: the connection is not given back before this.
            return self.db.seen.end();
        }
        // Its caller went away half-way. Whether it is kept is known when the connection has done what it was told.
        // Without a runtime the hub is ending, and nobody reads any more.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let db = self.db.clone();
        runtime.spawn(async move {
            if let Ok(mut writer) = db.writer.acquire().await
                && sqlx::query("SELECT 1").execute(&mut *writer).await.is_ok()
            {
                db.seen.end();
            }
        });
    }
}

impl Deref for Write {
    type Target = SqliteConnection;

    #[expect(
        clippy::expect_used,
        reason = "only `commit` takes it, and takes all of `self` with it"
    )]
    fn deref(&self) -> &SqliteConnection {
        self.tx.as_ref().expect("a transaction lasts as long as what holds it")
    }
}

impl DerefMut for Write {
    #[expect(
        clippy::expect_used,
        reason = "only `commit` takes it, and takes all of `self` with it"
    )]
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        self.tx.as_mut().expect("a transaction lasts as long as what holds it")
    }
}

/// A moment as it is kept.
pub(crate) fn micros(time: Time) -> i64 {
    time.as_microsecond()
}

/// A moment that was kept.
pub(crate) fn time(micros: i64) -> Result<Time, HubError> {
    Time::from_microsecond(micros).map_err(damaged)
}

/// A moment that was kept, where there is one.
pub(crate) fn time_or_none(micros: Option<i64>) -> Result<Option<Time>, HubError> {
    micros.map(time).transpose()
}

/// An id, digest or object reference that was kept as its text.
pub(crate) fn parsed<T>(text: &str) -> Result<T, HubError>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    text.parse().map_err(damaged)
}

/// As [`parsed`], where there is one.
pub(crate) fn parsed_or_none<T>(text: Option<String>) -> Result<Option<T>, HubError>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    text.as_deref().map(parsed).transpose()
}

/// An enumeration of the wire as its word.
pub(crate) fn word(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => unreachable!("an enumeration of the wire without fields is one word"),
    }
}

/// An enumeration of the wire from the word that was kept.
pub(crate) fn from_word<T: DeserializeOwned>(word: String) -> Result<T, HubError> {
    serde_json::from_value(serde_json::Value::String(word)).map_err(damaged)
}

/// A number that is never negative, as the database keeps it.
pub(crate) fn signed(number: u64) -> Result<i64, HubError> {
    i64::try_from(number).map_err(|_| HubError::bad_request(format!("{number} is too large")))
}

/// A number that was kept and is never negative.
pub(crate) fn unsigned(number: i64) -> Result<u64, HubError> {
    u64::try_from(number).map_err(damaged)
}

/// A small number that was kept and is never negative.
pub(crate) fn small(number: i64) -> Result<u32, HubError> {
    u32::try_from(number).map_err(damaged)
}

fn damaged(cause: impl std::error::Error + Send + Sync + 'static) -> HubError {
    HubError::internal("a row of the hub's database does not read", cause)
}

/// Whether an error says that a row of that key is there already.
pub(crate) fn is_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

/// The connection inside a transaction or a pool's connection: what the functions of this module take.
pub(crate) type Connection = SqliteConnection;
