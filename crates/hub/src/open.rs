//! Opens everything that lasts: directories, key files, database, store and key store, in an order that a stop at any
//! point leaves startable.
//!
//! The platform's key file and the keys that sign cards and the audit log lie outside the data directory and every facility, in
//! `DATA.keys/` beside it unless the operator names another place: a thief of the data, or of its backups, holds nothing
//! that opens it. A start that would put them inside is refused, and so is one that would make new ones for old data.

use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use custody::{Custodian, Custodians, PlatformCustodian};
use data_encoding::HEXLOWER;
use proof::SigningKey;
use seal::recipient::RecipientKey;
use store::{Facility, FacilityAddress, FacilityId, KeyStore, Store, StoreOptions};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::data::{self, Db};
use crate::tls::write_new;
use crate::{HubConfig, StartError};

/// The database's file in the data directory.
pub(crate) const DATABASE: &str = "hub.db";
/// The name under which the log's key is remembered.
const LOG_KEY: &str = "audit log key";

/// What lasts, opened.
pub(crate) struct Opened {
    /// The hub's id.
    pub(crate) id: String,
    /// The data directory, as the disk names it.
    pub(crate) data: PathBuf,
    /// Where the keys of sealed snapshots lie.
    pub(crate) snapshot_keys: PathBuf,
    pub(crate) db: Db,
    pub(crate) store: Store,
    pub(crate) keys: KeyStore,
    pub(crate) custodians: Custodians,
    pub(crate) card_key: SigningKey,
    pub(crate) log_key: SigningKey,
    /// Keeps a second hub off the same data for as long as it is open.
    pub(crate) lock: File,
}

/// Opens what `config` names, or makes it at the first start.
pub(crate) async fn open(config: &HubConfig) -> Result<Opened, StartError> {
    let data = directory(&config.data)?;
    let facilities = addresses(config, &data)?;
    let database = data.join(DATABASE);
    let first_start = !database.exists();
    if first_start && has_key_store(&data) {
        // A new database would make this another hub, whose keys open nothing that is here.
        return Err(StartError::DatabaseMissing { path: database });
    }

    let key_file = key_file(config, &data)?;
    let directories = facilities.iter().filter_map(FacilityAddress::directory);
    for inside in std::iter::once(data.as_path()).chain(directories) {
        if key_file.starts_with(inside) {
            let inside = inside.to_owned();
            return Err(StartError::KeyFileInside { key_file, inside });
        }
    }
    let lock = lock(&data)?;
    let platform = platform(&key_file, &data, first_start)?;
    let card_key = signing_key(&key_file.with_file_name("card.key"), &data, first_start)?;

    let db = Db::open(&database).await?;
    let id = remembered(&db, "hub", || Uuid::now_v7().to_string()).await?;
    the_same_key(&db, "platform recipient", &fingerprint(platform.recipient()), &key_file).await?;
    the_same_key(&db, "card key", &card_key.public().id().to_string(), &key_file).await?;
    // A hub of a version without a log begins one now; one that has a log never gets another key for it.
    let begins = data::meta::find(&mut *db.read().await?, LOG_KEY).await?.is_none();
    let log_key = signing_key(&key_file.with_file_name("log.key"), &data, begins)?;
    the_same_key(&db, LOG_KEY, &log_key.public().id().to_string(), &key_file).await?;
    let pseudonyms = seed(&key_file)?;
    remembered(&db, data::audit::PSEUDONYM_KEY, || HEXLOWER.encode(&*pseudonyms)).await?;

    let store = store(&db, facilities).await?;
    let keys = key_store(&data).await?;
    let platform: Arc<dyn Custodian> = Arc::new(platform);
    let owner: Arc<dyn Custodian> = Arc::new(custody::OwnerCustodian);
    let custodians = Custodians::new([platform, owner]);
    let snapshot_keys = crate::backup::keys_beside(&key_file);
    Ok(Opened { id, data, snapshot_keys, db, store, keys, custodians, card_key, log_key, lock })
}

/// Where the facilities are that the configuration names.
pub(crate) fn addresses(
    config: &HubConfig,
    data: &Path,
) -> Result<Vec<FacilityAddress>, StartError> {
    if config.facilities.is_empty() {
        return Ok(vec![data.join("facility-a").into(), data.join("facility-b").into()]);
    }
    let resolved = |address: &FacilityAddress| match address.directory() {
        Some(path) => resolved(path).map(FacilityAddress::from),
        None => Ok(address.clone()),
    };
    config.facilities.iter().map(resolved).collect()
}

/// Where the platform's key file is, or would be.
pub(crate) fn key_file(config: &HubConfig, data: &Path) -> Result<PathBuf, StartError> {
    match &config.key_file {
        Some(path) => resolved(path),
        None => Ok(beside(data).join("platform.key")),
    }
}

/// The data directory, locked.
pub(crate) fn locked(path: &Path) -> Result<(PathBuf, File), StartError> {
    let data = directory(path)?;
    let lock = lock(&data)?;
    Ok((data, lock))
}

/// Takes away what is left of a database: its file, its log, its index of the log.
pub(crate) fn clear(database: &Path) -> Result<(), StartError> {
    for end in ["", "-wal", "-shm"] {
        let mut path = database.as_os_str().to_owned();
        path.push(end);
        let path = PathBuf::from(path);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(StartError::File { act: "remove", path, source });
            }
            _ => {}
        }
    }
    Ok(())
}

/// The key that signs cards, beside a platform's key that is there too; neither is made.
pub(crate) fn card_key_that_is_there(
    config: &HubConfig,
    data: &Path,
) -> Result<SigningKey, StartError> {
    let key_file = key_file(config, data)?;
    platform(&key_file, data, false)?;
    signing_key(&key_file.with_file_name("card.key"), data, false)
}

/// The directory, made for this user alone if it is not there, by the name the disk gives it.
pub(crate) fn directory(path: &Path) -> Result<PathBuf, StartError> {
    let failed = |act, source| StartError::File { act, path: path.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|e| failed("make", e))?;
    path.canonicalize().map_err(|e| failed("read", e))
}

/// The lock of the data directory, which the system takes back when its holder ends, however it ends.
fn lock(data: &Path) -> Result<File, StartError> {
    let path = data.join("lock");
    let failed = |source| StartError::File { act: "lock", path: path.clone(), source };
    let file = File::create(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StartError::Locked { data: data.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// A path by the names the disk gives to what of it exists, so that no link hides where it leads.
fn resolved(path: &Path) -> Result<PathBuf, StartError> {
    let failed = |source| StartError::File { act: "find", path: path.to_owned(), source };
    let absolute = std::path::absolute(path).map_err(failed)?;
    let mut missing = Vec::new();
    let mut there = absolute.as_path();
    loop {
        match there.canonicalize() {
            Ok(mut found) => {
                found.extend(missing.iter().rev());
                return Ok(found);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (Some(name), Some(parent)) = (there.file_name(), there.parent()) else {
                    return Err(failed(error));
                };
                missing.push(name);
                there = parent;
            }
            Err(error) => return Err(failed(error)),
        }
    }
}

/// `DATA.keys`, beside the data directory.
fn beside(data: &Path) -> PathBuf {
    let mut name = data.file_name().unwrap_or_default().to_owned();
    name.push(".keys");
    data.with_file_name(name)
}

fn platform(path: &Path, data: &Path, first_start: bool) -> Result<PlatformCustodian, StartError> {
    let refused = |error: custody::KeyFileError| match error {
        custody::KeyFileError::Mode { path, mode } => {
            StartError::KeyFileOpen { key_file: path, mode }
        }
        custody::KeyFileError::Io { path, act: _, source } => {
            StartError::File { act: "use", path, source }
        }
        other => StartError::KeyFile { key_file: path.to_owned(), why: other.to_string() },
    };
    if path.exists() {
        return PlatformCustodian::open(path).map_err(refused);
    }
    if !first_start {
        return Err(missing(path, data));
    }
    make_parent(path)?;
    PlatformCustodian::create(path).map_err(refused)
}

/// 32 random bytes, for the file at `path`.
fn seed(path: &Path) -> Result<Zeroizing<[u8; 32]>, StartError> {
    let mut seed = Zeroizing::new([0; 32]);
    seal::fill_random(&mut *seed)
        .map_err(|e| StartError::KeyFile { key_file: path.to_owned(), why: e.to_string() })?;
    Ok(seed)
}

/// A key that signs, for cards or for the log: 32 bytes in hex.
fn signing_key(path: &Path, data: &Path, first_start: bool) -> Result<SigningKey, StartError> {
    let file = |act| {
        let path = path.to_owned();
        move |source| StartError::File { act, path, source }
    };
    if !path.exists() {
        if !first_start {
            return Err(missing(path, data));
        }
        make_parent(path)?;
        let text = Zeroizing::new(HEXLOWER.encode(&*seed(path)?));
        write_new(path, 0o600, text.as_bytes()).map_err(file("write"))?;
    }
    let mode = std::fs::metadata(path).map_err(file("read"))?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(StartError::KeyFileOpen { key_file: path.to_owned(), mode });
    }
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(file("read"))?);
    let bytes = Zeroizing::new(HEXLOWER.decode(text.trim_end().as_bytes()).unwrap_or_default());
    let seed = bytes.as_slice().try_into().map_err(|_length| StartError::KeyFile {
        key_file: path.to_owned(),
        why: "it is not 64 hex digits".to_owned(),
    })?;
    Ok(SigningKey::from_seed(seed))
}

fn missing(path: &Path, data: &Path) -> StartError {
    StartError::KeyFileMissing { key_file: path.to_owned(), data: data.to_owned() }
}

fn make_parent(path: &Path) -> Result<(), StartError> {
    path.parent().map_or(Ok(()), |parent| directory(parent).map(|_| ()))
}

fn fingerprint(key: &RecipientKey) -> String {
    HEXLOWER.encode(&key.fingerprint())
}

/// The value kept under `name`, made at the first start.
async fn remembered(
    db: &Db,
    name: &str,
    make: impl FnOnce() -> String,
) -> Result<String, StartError> {
    let mut tx = db.write().await?;
    if let Some(value) = data::meta::find(&mut tx, name).await? {
        return Ok(value);
    }
    let value = make();
    data::meta::insert(&mut tx, name, &value).await?;
    tx.commit().await.map_err(crate::HubError::from)?;
    Ok(value)
}

/// Refuses a key file that is not the one this database was made with.
async fn the_same_key(db: &Db, name: &str, value: &str, key_file: &Path) -> Result<(), StartError> {
    if remembered(db, name, || value.to_owned()).await? == value {
        return Ok(());
    }
    Err(StartError::KeyFile {
        key_file: key_file.to_owned(),
        why: "it belongs to another hub than the data directory".to_owned(),
    })
}

/// The store over the facilities that are named, with those that were added while a hub ran and without those that left.
async fn store(db: &Db, mut named: Vec<FacilityAddress>) -> Result<Store, StartError> {
    let mut reader = db.read().await?;
    let added = data::meta::with_prefix(&mut reader, data::meta::FACILITY_ADDED).await?;
    let leaving = data::meta::with_prefix(&mut reader, data::meta::FACILITY_DRAINING).await?;
    let left = data::meta::with_prefix(&mut reader, data::meta::FACILITY_LEFT).await?;
    drop(reader);
    for (_, address) in added {
        let address = address.parse::<FacilityAddress>().map_err(in_store)?;
        if named.iter().all(|other| other.to_string() != address.to_string()) {
            named.push(address);
        }
    }
    let is_among = |of: &[(String, String)], prefix: &str, address: &FacilityAddress| {
        of.iter().any(|(name, _)| *name == format!("{prefix}{address}"))
    };
    let (mut facilities, mut draining) = (Vec::new(), Vec::new());
    for address in named {
        if is_among(&left, data::meta::FACILITY_LEFT, &address) {
            tracing::warn!(%address, "this facility has left the store: take it off the command line");
            continue;
        }
        let facility = facility(db, &address).await?;
        if is_among(&leaving, data::meta::FACILITY_DRAINING, &address) {
            draining.push(facility.id());
        }
        facilities.push(facility);
    }
    let store = Store::open(facilities, StoreOptions::default()).await.map_err(in_store)?;
    for id in draining {
        store.begin_drain(id).map_err(in_store)?;
    }
    Ok(store)
}

/// The facility at an address. One that was used before and is not there is waited for, never made anew: an empty
/// directory may be a disk that is not mounted.
async fn facility(db: &Db, address: &FacilityAddress) -> Result<Arc<dyn Facility>, StartError> {
    let name = format!("{}{address}", data::meta::FACILITY);
    let known = data::meta::find(&mut *db.read().await?, &name).await?;
    if let Some(id) = known {
        let id: Uuid = data::parsed(&id)?;
        return address.expect(FacilityId::from_uuid(id)).await.map_err(in_store);
    }
    let facility = address.open_or_create().await.map_err(in_store)?;
    let id = facility.id().as_uuid().to_string();
    remembered(db, &name, || id).await?;
    Ok(facility)
}

/// The two places of the key store.
pub(crate) fn key_places(data: &Path) -> [PathBuf; 2] {
    ["a", "b"].map(|place| data.join("keys").join(place))
}

fn has_key_store(data: &Path) -> bool {
    key_places(data).iter().any(|place| place.join("keystore.json").exists())
}

/// The key store, which is not made.
pub(crate) async fn key_store_that_is_there(data: &Path) -> Result<KeyStore, StartError> {
    if !has_key_store(data) {
        return Err(StartError::NoKeyStore { data: data.to_owned() });
    }
    KeyStore::open(key_places(data)).await.map_err(in_store)
}

async fn key_store(data: &Path) -> Result<KeyStore, StartError> {
    directory(&data.join("keys"))?;
    let places = key_places(data);
    if places.iter().any(|place| place.exists()) {
        KeyStore::open(places).await.map_err(in_store)
    } else {
        KeyStore::create(places).await.map_err(in_store)
    }
}

pub(crate) fn in_store(source: impl std::error::Error + Send + Sync + 'static) -> StartError {
    StartError::Store { source: Box::new(source) }
}
