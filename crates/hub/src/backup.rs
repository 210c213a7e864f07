//! Backups of a hub: made while it serves, checked, brought back on an empty machine.
//!
//! ```text
//! BACKUP/backup.json    what it is, and the SHA-256 of the other two; written last
//! BACKUP/hub.db         the database, without the wrapped keys that it relays for owners
//! BACKUP/keys.sealed    the key store, the certificate authority, and those keys: a sealed object around a tar
//! ```
//!
//! Whoever keeps an old copy of a wrapped key keeps the data, so `keys.sealed` is sealed under a key of its own, which lies beside
//! the platform's key and is destroyed 35 days after it was made: by the hub as it runs, and by the next backup. From
//! then on nothing that was deleted opens, in whatever copy of the backup. Sealed objects are in no backup: that is what
//! facilities are for. The platform's key files are in none either: whoever has both opens everything.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use api::{CaseId, Time};
use data_encoding::HEXLOWER;
use jiff::SignedDuration;
use proof::Hasher;
use seal::{DataKey, ObjectId, Opener, Sealer, secret_line};
use serde::{Deserialize, Serialize};
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode};
use store::KeyStore;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::app::descriptions;
use crate::app::restored::RESTORED;
use crate::data::{self, Db, rows};
use crate::open::{self, DATABASE};
use crate::tls::write_new;
use crate::{HubConfig, StartError};

/// After how many days the key of a backup's wrapped keys is destroyed.
const DAYS: i64 = 35;
const FORMAT: &str = "chorion.backup/1";
const ABOUT: &str = "backup.json";
const SEALED: &str = "keys.sealed";
const MARK: &str = "chorion-snapshot1";
/// Wrapped keys that the database relays: apart from it, with the other wrapped keys.
const SHARES: &str = "dataset_shares.json";
/// The longest member that is read into memory: a file of wrapped keys has about a hundred bytes an object.
const MOST_BYTES: u64 = 1 << 30;

/// What a backup says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    format: String,
    id: Uuid,
    hub: String,
    created: Time,
    /// The version of the program that made it.
    version: String,
    /// The last migration of the database.
    schema: i64,
    database: Part,
    keys: Part,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    bytes: u64,
    sha256: String,
}

/// A backup as it was found or made.
#[derive(Debug, Clone, Serialize)]
pub struct BackupReport {
    /// Its id.
    pub id: Uuid,
    /// The hub's.
    pub hub: String,
    /// When it was made.
    pub created: Time,
    /// From when on its wrapped keys open no more.
    pub ends: Time,
    /// Datasets, projects and accounts in the key store.
    pub key_files: u64,
    /// Those whose keys were destroyed.
    pub destroyed: u64,
    /// The size of the database.
    pub database_bytes: u64,
}

/// Where the keys of sealed snapshots lie, beside the platform's key.
pub(crate) fn keys_beside(key_file: &Path) -> PathBuf {
    key_file.with_file_name("snapshots")
}

/// When a backup of this id was made: its id says so.
fn made(id: Uuid) -> Option<Time> {
    let (seconds, nanos) = id.get_timestamp()?.to_unix();
    Time::new(i64::try_from(seconds).ok()?, i32::try_from(nanos).ok()?).ok()
}

fn ends(created: Time) -> Time {
    created.checked_add(SignedDuration::from_hours(24 * DAYS)).unwrap_or(Time::MAX)
}

/// The keys of snapshots that are there, and when each was made.
fn keys_in(directory: &Path) -> io::Result<Vec<(PathBuf, Time)>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let id = stem.parse::<Uuid>().ok().filter(|_| path.extension().is_some_and(|e| e == "key"));
        if let Some(created) = id.and_then(made) {
            found.push((path, created));
        }
    }
    Ok(found)
}

/// When the newest backup of a hub was made, of those whose wrapped keys still open.
///
/// # Errors
/// If its key file cannot be found.
pub fn newest_backup(config: &HubConfig) -> Result<Option<Time>, StartError> {
    let data = existing(&config.data)?;
    let key_file = open::key_file(config, &data)?;
    if !key_file.exists() {
        return Err(StartError::KeyFileMissing { key_file, data });
    }
    Ok(newest(&keys_beside(&key_file)))
}

/// When the newest backup was made, as far as the keys of snapshots tell.
pub(crate) fn newest(directory: &Path) -> Option<Time> {
    keys_in(directory).ok()?.into_iter().map(|(_, created)| created).max()
}

/// Until when what is destroyed now can still be in a snapshot.
pub(crate) fn last_end(directory: &Path, now: Time) -> Option<Time> {
    newest(directory).map(ends).filter(|end| *end > now)
}

/// Destroys the keys of snapshots whose time is over: overwritten, synced, removed. Gives how many.
pub(crate) fn destroy_ended(directory: &Path, now: Time) -> io::Result<u64> {
    let mut destroyed = 0;
    for (path, created) in keys_in(directory)? {
        if ends(created) > now {
            continue;
        }
        let mut file = OpenOptions::new().write(true).open(&path)?;
        let bytes = usize::try_from(file.metadata()?.len()).unwrap_or(0);
        file.write_all(&vec![0; bytes])?;
        file.sync_all()?;
        fs::remove_file(&path)?;
        destroyed += 1;
    }
    if destroyed > 0 {
        File::open(directory)?.sync_all()?;
    }
    Ok(destroyed)
}

/// Makes a backup of the hub of `config` in `to`, which must not be there yet. The hub may serve meanwhile.
///
/// # Errors
/// [`StartError`] says what cannot be read or written. What was begun has no `backup.json`, and counts as no backup.
pub async fn backup_create(config: &HubConfig, to: &Path) -> Result<BackupReport, StartError> {
    let data = existing(&config.data)?;
    let key_file = open::key_file(config, &data)?;
    open::card_key_that_is_there(config, &data)?;
    let failed = |act, path: &Path| {
        let path = path.to_owned();
        move |source| StartError::File { act, path, source }
    };
    let snapshots = keys_beside(&key_file);
    let snapshots = open::directory(&snapshots)?;
    destroy_ended(&snapshots, Time::now()).map_err(failed("clear", &snapshots))?;
    DirBuilder::new().mode(0o700).create(to).map_err(failed("make", to))?;

    let id = Uuid::now_v7();
    let created = made(id).unwrap_or_else(Time::now);
    let key = draw_key(&snapshots, id, created)?;

    // The database first: for every row in it the keys that are copied afterwards have its key, or say it was destroyed.
    let database = to.join(DATABASE);
    let (hub, schema, shares) = copy_database(&data.join(DATABASE), &database).await?;
    let sealed = to.join(SEALED);
    let counts = seal_keys(&data, &sealed, &key, id, &shares)
        .map_err(|why| backup(to, format!("was not made: {why}")))?;
    let about = About {
        format: FORMAT.to_owned(),
        id,
        hub,
        created,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        schema,
        database: part(&database).map_err(failed("read", &database))?,
        keys: part(&sealed).map_err(failed("read", &sealed))?,
    };
    let text = serde_json::to_vec_pretty(&about).map_err(|e| backup(to, e.to_string()))?;
    let file = to.join(ABOUT);
    write_new(&file, 0o600, &text).map_err(failed("write", &file))?;
    File::open(to).and_then(|directory| directory.sync_all()).map_err(failed("sync", to))?;
    Ok(report(&about, counts))
}

/// Checks a backup: every byte, the database's own check, and, while the key is there, every file of wrapped keys.
///
/// # Errors
/// [`StartError::Backup`] says what is wrong with it.
pub async fn backup_verify(config: &HubConfig, from: &Path) -> Result<BackupReport, StartError> {
    let data = std::path::absolute(&config.data).map_err(|source| StartError::File {
        act: "find",
        path: config.data.clone(),
        source,
    })?;
    let key_file = open::key_file(config, &data)?;
    let (about, opened) = verify(&keys_beside(&key_file), from).await?;
    Ok(report(&about, opened.counts()))
}

/// Brings a backup back into an empty data directory. The next start deletes again what was deleted since, and tells people.
///
/// # Errors
/// [`StartError`] says why not. Nothing is in the data directory's place then, or what is there is not started.
pub async fn backup_restore(config: &HubConfig, from: &Path) -> Result<BackupReport, StartError> {
    let (data, lock) = open::locked(&config.data)?;
    let database = data.join(DATABASE);
    if database.exists() {
        return Err(StartError::DatabaseThere { path: database });
    }
    // Wrapped keys without the key that wraps them are of no use: said before anything is written.
    open::card_key_that_is_there(config, &data)?;
    let key_file = open::key_file(config, &data)?;
    let (about, opened) = verify(&keys_beside(&key_file), from).await?;
    let counts = opened.counts();
    let failed = |act, path: &Path| {
        let path = path.to_owned();
        move |source| StartError::File { act, path, source }
    };

    let making = data.join(format!("{DATABASE}.restoring"));
    open::clear(&making)?;
    open::clear(&database)?;
    fs::copy(from.join(DATABASE), &making).map_err(failed("write", &making))?;
    let db = Db::open(&making).await?;
    let mut tx = db.write().await?;
    data::meta::set(&mut tx, RESTORED, &about.id.to_string()).await?;
    let shares: Vec<rows::Row> = serde_json::from_slice(&opened.shares)
        .map_err(|e| backup(from, format!("has shares that do not read: {e}")))?;
    rows::write(&mut tx, "dataset_shares", &shares).await?;
    tx.commit().await.map_err(crate::HubError::from)?;
    db.forget().await?;
    db.close().await;

    open::directory(&data.join("keys"))?;
    let keys = KeyStore::restore(open::key_places(&data), opened.destroyed, opened.files).await;
    keys_of_cases(&making, &keys.map_err(open::in_store)?).await?;
    let tls = open::directory(&data.join("tls"))?;
    let (authority, key) = (opened.authority.as_deref(), opened.authority_key.as_deref());
    for (name, mode, bytes) in
        [("ca.pem", 0o644, authority), ("ca.key", 0o600, key.map(Vec::as_slice))]
    {
        if let Some(bytes) = bytes {
            let path = tls.join(name);
            write_new(&path, mode, bytes).map_err(failed("write", &path))?;
        }
    }
    // Last: from here on it is a data directory that starts.
    fs::rename(&making, &database).map_err(failed("rename", &making))?;
    File::open(&data).and_then(|directory| directory.sync_all()).map_err(failed("sync", &data))?;
    drop(lock);
    Ok(report(&about, counts))
}

/// Puts the wrapped keys of cases back into their rows. One that has none there was deleted, and the next start takes its row away.
async fn keys_of_cases(database: &Path, keys: &KeyStore) -> Result<(), StartError> {
    let db = Db::open(database).await?;
    let mut tx = db.write().await?;
    for sheet in data::cases::sheets_without_keys(&mut tx).await? {
        let sheet = descriptions::sheet(sheet);
        let kept = match keys.record_keys(sheet.into_bytes()).await {
            Ok(kept) => kept,
            Err(store::KeyStoreError::NoDataset { .. }) => continue,
            Err(error) => return Err(open::in_store(error)),
        };
        for (case, key) in kept {
            data::cases::restore_key(&mut tx, CaseId::from_bytes(case), &key).await?;
        }
    }
    tx.commit().await.map_err(crate::HubError::from)?;
    db.forget().await?;
    db.close().await;
    Ok(())
}

fn backup(path: &Path, why: impl Into<String>) -> StartError {
    StartError::Backup { path: path.to_owned(), why: why.into() }
}

fn report(about: &About, (key_files, destroyed): (u64, u64)) -> BackupReport {
    BackupReport {
        id: about.id,
        hub: about.hub.clone(),
        created: about.created,
        ends: ends(about.created),
        key_files,
        destroyed,
        database_bytes: about.database.bytes,
    }
}

fn existing(data: &Path) -> Result<PathBuf, StartError> {
    let data = data.canonicalize().map_err(|source| StartError::File {
        act: "find",
        path: data.to_owned(),
        source,
    })?;
    let database = data.join(DATABASE);
    if database.exists() { Ok(data) } else { Err(StartError::DatabaseMissing { path: database }) }
}

/// A new key for a snapshot, on the disk before it is used.
fn draw_key(directory: &Path, id: Uuid, created: Time) -> Result<DataKey, StartError> {
    let path = directory.join(format!("{id}.key"));
    let key = DataKey::generate()
        .map_err(|e| StartError::KeyFile { key_file: path.clone(), why: e.to_string() })?;
    let line = secret_line::write(MARK, key.expose());
    let ends = ends(created);
    let text = Zeroizing::new(format!(
        "# Opens the wrapped keys of backup {id}, made {created:.0}.\n\
         # The hub destroys it after {ends:.0}. Keep no copy longer: what was deleted until then opens with it.\n{}\n",
        &*line
    ));
    let failed = |source| StartError::File { act: "write", path: path.clone(), source };
    write_new(&path, 0o600, text.as_bytes()).map_err(failed)?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
    Ok(key)
}

fn read_key(directory: &Path, about: &About, from: &Path) -> Result<DataKey, StartError> {
    let path = directory.join(format!("{}.key", about.id));
    let text = match fs::read_to_string(&path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let ends = ends(about.created);
            let why = if ends <= Time::now() {
                format!(
                    "opens no more: the key of its wrapped keys was to be destroyed after {ends:.0}"
                )
            } else {
                format!("cannot be opened: its key {} is missing", path.display())
            };
            return Err(backup(from, why));
        }
        Err(source) => return Err(StartError::File { act: "read", path, source }),
    };
    let bytes = secret_line::read(MARK, &text)
        .map_err(|e| StartError::KeyFile { key_file: path.clone(), why: e.to_string() })?;
    let bytes = bytes.as_slice().try_into().map_err(|_| StartError::KeyFile {
        key_file: path,
        why: "it does not hold 32 bytes".to_owned(),
    })?;
    Ok(DataKey::from_bytes(bytes))
}

/// A consistent copy of a database that is in use, without the wrapped keys in it; gives the hub's id, the last migration,
/// and those keys.
async fn copy_database(from: &Path, to: &Path) -> Result<(String, i64, Vec<u8>), StartError> {
    let refused = |path: &Path| {
        let path = path.to_owned();
        move |source| StartError::Database { path, source }
    };
    let options = SqliteConnectOptions::new().filename(from).busy_timeout(data::BUSY);
    let mut source = SqliteConnection::connect_with(&options).await.map_err(refused(from))?;
    let name = to.to_str().ok_or_else(|| backup(to, "has a name that is not UTF-8"))?;
    sqlx::query("VACUUM INTO $1").bind(name).execute(&mut source).await.map_err(refused(to))?;
    source.close().await.map_err(refused(from))?;

    let options = SqliteConnectOptions::new()
        .filename(to)
        .journal_mode(SqliteJournalMode::Delete)
        .pragma("secure_delete", "ON");
    let mut copy = SqliteConnection::connect_with(&options).await.map_err(refused(to))?;
    let shares = rows::read(&mut copy, "dataset_shares", "$1 = ''", "").await?;
    let shares = serde_json::to_vec(&shares).map_err(|e| backup(to, e.to_string()))?;
    for strip in [
        "DELETE FROM dataset_shares",
        "UPDATE approvals SET keys = NULL",
        // What is being deleted does not come back; the keys of other cases do, with the key store, but for those that are not there yet.
        "DELETE FROM case_hashes WHERE number IN (SELECT number FROM cases WHERE key IS NULL)",
        "DELETE FROM cases WHERE key IS NULL",
        "CREATE TEMP TABLE behind AS SELECT subject FROM undescribed WHERE kind = 'cases'",
        "UPDATE cases SET key = NULL WHERE printf('ca5e5000-0000-4000-8000-%012d', number / 500)
             NOT IN (SELECT subject FROM behind)",
        "DELETE FROM undescribed WHERE kind = 'cases' AND subject NOT IN (SELECT subject FROM behind)",
        "DROP TABLE behind",
        "VACUUM",
    ] {
        sqlx::query(strip).execute(&mut copy).await.map_err(refused(to))?;
    }
    let hub = data::meta::find(&mut copy, "hub").await?.unwrap_or_default();
    let schema = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations");
    let schema = schema.fetch_one(&mut copy).await.map_err(refused(to))?;
    copy.close().await.map_err(refused(to))?;
    File::open(to).and_then(|file| file.sync_all()).map_err(|source| StartError::File {
        act: "sync",
        path: to.to_owned(),
        source,
    })?;
    Ok((hub, schema, shares))
}

/// Seals the key store of `data` into `to`; gives how many files it has and how many marks of destruction.
fn seal_keys(
    data: &Path,
    to: &Path,
    key: &DataKey,
    id: Uuid,
    shares: &[u8],
) -> Result<(u64, u64), Box<dyn std::error::Error>> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    let sealer = Sealer::new(key, ObjectId::from_bytes(id.into_bytes()), BufWriter::new(file))?;
    let mut tar = tar::Builder::new(sealer);
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        header.set_cksum();
        tar.append_data(&mut header, name, bytes)
    };
    let places = open::key_places(data);
    let names = store::key_names(&places)?;
    let mut files = 0;
    for dataset in &names.datasets {
        // One that was destroyed meanwhile has no file, and its mark may be younger than the list: it is read again below.
        if let Some(bytes) = store::read_key_file(&places, dataset)? {
            files += 1;
            add(&format!("keys/{}", HEXLOWER.encode(dataset)), &bytes)?;
        }
    }
    let destroyed = store::key_names(&places)?.destroyed;
    for dataset in &destroyed {
        add(&format!("destroyed/{}", HEXLOWER.encode(dataset)), &[])?;
    }
    for name in ["ca.pem", "ca.key"] {
        match fs::read(data.join("tls").join(name)) {
            Ok(bytes) => add(&format!("tls/{name}"), &Zeroizing::new(bytes))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    add(SHARES, shares)?;
    let (writer, _) = tar.into_inner()?.finish()?;
    writer.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    Ok((files, destroyed.len() as u64))
}

/// What is sealed in a backup.
#[derive(Default)]
struct OpenedKeys {
    files: Vec<(store::DatasetId, Vec<u8>)>,
    destroyed: Vec<store::DatasetId>,
    authority: Option<Vec<u8>>,
    authority_key: Option<Zeroizing<Vec<u8>>>,
    shares: Vec<u8>,
}

impl OpenedKeys {
    fn counts(&self) -> (u64, u64) {
        (self.files.len() as u64, self.destroyed.len() as u64)
    }
}

async fn verify(snapshots: &Path, from: &Path) -> Result<(About, OpenedKeys), StartError> {
    let text = fs::read(from.join(ABOUT)).map_err(|source| StartError::File {
        act: "read",
        path: from.join(ABOUT),
        source,
    })?;
    let about: About = serde_json::from_slice(&text)
        .map_err(|e| backup(from, format!("has no readable {ABOUT}: {e}")))?;
    if about.format != FORMAT {
        return Err(backup(from, format!("is of format {}, not {FORMAT}", about.format)));
    }
    if about.schema > data::newest_schema() {
        return Err(backup(
            from,
            format!("was made by a newer program ({}): use that one", about.version),
        ));
    }
    for (name, said) in [(DATABASE, &about.database), (SEALED, &about.keys)] {
        let path = from.join(name);
        let found = part(&path).map_err(|source| StartError::File { act: "read", path, source })?;
        if found != *said {
            return Err(backup(from, format!("is damaged: {name} is not what it was")));
        }
    }
    check_database(&from.join(DATABASE), from).await?;
    let key = read_key(snapshots, &about, from)?;
    let opened = open_keys(&from.join(SEALED), &key, about.id)
        .map_err(|why| backup(from, format!("has wrapped keys that do not open: {why}")))?;
    Ok((about, opened))
}

async fn check_database(path: &Path, from: &Path) -> Result<(), StartError> {
    let refused = |source| StartError::Database { path: path.to_owned(), source };
    let options = SqliteConnectOptions::new().filename(path).read_only(true).immutable(true);
    let mut copy = SqliteConnection::connect_with(&options).await.map_err(refused)?;
    let said: String =
        sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut copy).await.map_err(refused)?;
    copy.close().await.map_err(refused)?;
    if said == "ok" { Ok(()) } else { Err(backup(from, format!("has a damaged database: {said}"))) }
}

fn open_keys(
    path: &Path,
    key: &DataKey,
    id: Uuid,
) -> Result<OpenedKeys, Box<dyn std::error::Error>> {
    let file = BufReader::new(File::open(path)?);
    let mut opener = Opener::new(key, ObjectId::from_bytes(id.into_bytes()), file)?;
    let mut found = OpenedKeys::default();
    {
        let mut tar = tar::Archive::new(&mut opener);
        for entry in tar.entries()? {
            let mut entry = entry?;
            let name = entry.path()?.to_str().unwrap_or_default().to_owned();
            if entry.size() > MOST_BYTES {
                return Err(format!("{name} is longer than a file of wrapped keys is").into());
            }
            let mut bytes = Zeroizing::new(Vec::new());
            entry.read_to_end(&mut bytes)?;
            let id = |hex: &str| -> Result<store::DatasetId, String> {
                let bytes = HEXLOWER.decode(hex.as_bytes()).map_err(|e| format!("{name}: {e}"))?;
                bytes.try_into().map_err(|_| format!("{name} is of no dataset"))
            };
            match name.split_once('/') {
                Some(("keys", hex)) => {
                    let id = id(hex)?;
                    if !store::is_whole_key_file(&id, &bytes) {
                        return Err(format!("{name} is not whole").into());
                    }
                    found.files.push((id, bytes.to_vec()));
                }
                Some(("destroyed", hex)) => found.destroyed.push(id(hex)?),
                Some(("tls", "ca.pem")) => found.authority = Some(bytes.to_vec()),
                Some(("tls", "ca.key")) => found.authority_key = Some(bytes),
                None if name == SHARES => found.shares = bytes.to_vec(),
                _ => return Err(format!("{name} is nothing that a backup has").into()),
            }
        }
    }
    // The tar has ended; whether the sealed object has, and is whole, shows only here.
    io::copy(&mut opener, &mut io::sink())?;
    Ok(found)
}

fn part(path: &Path) -> io::Result<Part> {
    let mut file = File::open(path)?;
    let (mut hasher, mut bytes, mut buffer) = (Hasher::new(), 0, vec![0; 1 << 20]);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(Part { bytes, sha256: hasher.finish().to_string() });
        }
        hasher.update(&buffer[..read]);
        bytes += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_snapshot_is_destroyed_after_35_days_and_not_before() {
        let root = tempfile::tempdir().unwrap();
        let id = Uuid::now_v7();
        let created = made(id).unwrap();
        draw_key(root.path(), id, created).unwrap();
        let path = root.path().join(format!("{id}.key"));
        // A second name shows whether the bytes were overwritten, or the first name taken away and no more.
        let second = root.path().join("a second name");
        fs::hard_link(&path, &second).unwrap();
        let day = |days: i64| created.checked_add(SignedDuration::from_hours(24 * days)).unwrap();
        assert_eq!(last_end(root.path(), day(0)), Some(day(DAYS)));
        assert_eq!(destroy_ended(root.path(), day(DAYS - 1)).unwrap(), 0);
        assert!(fs::read_to_string(&second).unwrap().contains(MARK));
        assert_eq!(destroy_ended(root.path(), day(DAYS)).unwrap(), 1);
        assert!(!path.exists());
        assert!(fs::read(&second).unwrap().iter().all(|byte| *byte == 0));
        assert_eq!(last_end(root.path(), day(DAYS)), None);
    }
}
