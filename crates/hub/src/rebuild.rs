//! A lost database made anew from what outlives it: the descriptions and placed keys of the key store, and the facilities.
//!
//! What comes back is what reading needs: accounts and their keys, organizations, projects, cards, members, datasets, manifests,
//! objects, apps, sessions, receipts, what an organization's own key wrapped, and cases with the fields that are searched, whose hashes
//! are made anew from what is sealed. What does not: who read which case, the audit log (a new one begins, under a new key, because the old
//! one cannot be continued), notices, passwords, passkeys, tasks under way, shares by owners. A database from a backup has more of
//! it; this is for when there is none.

use std::collections::HashMap;
use std::path::Path;

use api::{DatasetId, ExecutionState, NoticeKind, ObjectRef, Time};
use proof::{Manifest, ObjectSet, open_statement};
use store::{BlobHash, KeptKey, KeyPlace, KeyStore, KeyStoreError, Store, StoreOptions};
use uuid::Uuid;

use crate::app::descriptions::{Description, FORMAT, KINDS};
use crate::data::notices::NewNotice;
use crate::data::{self, Connection, Db};
use crate::open::{self, DATABASE};
use crate::{HubConfig, HubError, StartError};

/// How many blobs are asked for at once.
const ASKED: usize = 1000;

/// What a rebuilt index has.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Rebuilt {
    /// The hub's id, as it was.
    pub hub: String,
    /// Organizations that hold a key themselves.
    pub organizations: u64,
    /// Accounts.
    pub accounts: u64,
    /// Projects.
    pub projects: u64,
    /// Datasets.
    pub datasets: u64,
    /// Objects of them.
    pub objects: u64,
    /// Objects whose key is there and whose bytes no facility that answers has.
    pub objects_without_bytes: u64,
    /// Cases.
    pub cases: u64,
    /// Datasets that are not all there: their objects are not those that the manifest in force lists.
    pub incomplete: Vec<DatasetId>,
    /// Files of the key store, in hex, that say nothing of what they are: their keys are kept, and nothing more is known.
    pub undescribed: Vec<String>,
}

/// Makes the database of `config` anew. It must not be there; the key files, the key store and at least one facility must.
///
/// # Errors
/// [`StartError`] says what is lacking. Nothing is changed then, and the same call can be made again.
pub async fn rebuild_index(config: &HubConfig) -> Result<Rebuilt, StartError> {
    let (data, lock) = open::locked(&config.data)?;
    let database = data.join(DATABASE);
    if database.exists() {
        return Err(StartError::DatabaseThere { path: database });
    }
    let card_key = open::card_key_that_is_there(config, &data)?;
    let keys = open::key_store_that_is_there(&data).await?;
    let store = open_facilities(config, &data).await?;

    let making = data.join(format!("{DATABASE}.rebuilding"));
    open::clear(&making)?;
    let db = Db::open(&making).await?;
    let mut found = Rebuilt::default();
    let described = describe(&keys, &mut found).await?;
    if !is_of(&described, &card_key) {
        return Err(StartError::KeyFile {
            key_file: open::key_file(config, &data)?,
            why: "it belongs to another hub than the key store".to_owned(),
        });
    }
    write(&db, &keys, &store, &described, &mut found).await?;
    db.forget().await?;
    db.close().await;
    // What the log of old signed cannot be continued: the next start begins another, under another key.
    let log_key = open::key_file(config, &data)?.with_file_name("log.key");
    if log_key.exists() {
        let aside = log_key.with_file_name(format!("log.key.before-{}", Time::now().as_second()));
        let failed = |source| StartError::File { act: "rename", path: log_key.clone(), source };
        std::fs::rename(&log_key, aside).map_err(failed)?;
    }
    // A log that the lost one left would be read as this one's.
    open::clear(&database)?;
    let failed = |source| StartError::File { act: "rename", path: making.clone(), source };
    std::fs::rename(&making, &database).map_err(failed)?;
    std::fs::File::open(&data).and_then(|directory| directory.sync_all()).map_err(failed)?;
    store.settle().await;
    drop(lock);
    Ok(found)
}

async fn open_facilities(config: &HubConfig, data: &Path) -> Result<Store, StartError> {
    let mut facilities = Vec::new();
    for address in open::addresses(config, data)? {
        // An empty directory is no facility of old, and one that is made here would be read as one that lost everything.
        if address.directory().is_some_and(|path| !path.join("facility.json").exists()) {
            return Err(StartError::NoFacility { address: address.to_string() });
        }
        facilities.push(address.open_or_create().await.map_err(open::in_store)?);
    }
    Store::open(facilities, StoreOptions::default()).await.map_err(open::in_store)
}

/// Every description, organizations first, then accounts, then projects, then datasets.
async fn describe(keys: &KeyStore, found: &mut Rebuilt) -> Result<Vec<Description>, StartError> {
    let mut described = Vec::new();
    for id in keys.datasets().await.map_err(open::in_store)? {
        let text = match keys.description(id).await {
            Ok(text) => text,
            Err(KeyStoreError::Destroyed { .. } | KeyStoreError::NoDataset { .. }) => continue,
            Err(error) => return Err(open::in_store(error)),
        };
        let read = text.and_then(|text| serde_json::from_slice::<Description>(&text).ok());
        let subject = Uuid::from_bytes(id).to_string();
        match read.filter(|read| read.format == FORMAT && read.subject == subject) {
            Some(read) => described.push(read),
            None => found.undescribed.push(Uuid::from_bytes(id).simple().to_string()),
        }
    }
    described.sort_by_key(|read| KINDS.iter().position(|kind| *kind == read.kind));
    Ok(described)
}

/// Whether the platform's cards, if there are any, are signed by this key.
fn is_of(described: &[Description], card_key: &proof::SigningKey) -> bool {
    let platform = |read: &&Description| {
        read.rows.get("projects").and_then(|rows| rows.first()).is_some_and(|row| {
            row.get("custodian").and_then(serde_json::Value::as_str) == Some("platform")
        })
    };
    let hex = data_encoding::HEXLOWER.encode(&card_key.public().to_bytes());
    let signed = |read: &Description| {
        let cards = read.rows.get("cards").map(Vec::as_slice).unwrap_or_default();
        cards.iter().any(|card| {
            card.get("signer").and_then(|bytes| bytes.get("hex")).and_then(|hex| hex.as_str())
                == Some(hex.as_str())
        })
    };
    described.iter().find(platform).is_none_or(signed)
}

async fn write(
    db: &Db,
    keys: &KeyStore,
    store: &Store,
    described: &[Description],
    found: &mut Rebuilt,
) -> Result<(), StartError> {
    let Some(first) = described.first() else { return Err(StartError::NothingDescribed) };
    found.hub.clone_from(&first.hub);
    let mut tx = db.write().await?;
    data::meta::insert(&mut tx, "hub", &found.hub).await?;
    let (mut unplaced, mut datasets) = (Unplaced::new(), Vec::new());
    for read in described {
        if read.kind == "cases" {
            found.cases += cases_of(&mut tx, keys, read).await?;
            continue;
        }
        read.write(&mut tx).await?;
        match read.kind.as_str() {
            "organization" => found.organizations += 1,
            "account" => found.accounts += 1,
            "project" => found.projects += 1,
            _ => {
                let id: DatasetId = data::parsed(&read.subject)?;
                objects_of(&mut tx, keys, store, id, &mut unplaced, found).await?;
                datasets.push(id);
            }
        }
    }
    // No hash is kept outside the database: an index begins anew, and answers when it is whole.
    data::case_indexes::begin_anew(&mut tx).await?;
    find_unplaced(&mut tx, store, unplaced, found).await?;
    for id in datasets {
        close(&mut tx, id, found).await?;
    }
    for account in data::notices::everybody(&mut tx).await? {
        let notice = NewNotice {
            account,
            kind: NoticeKind::HubRestored,
            subject: format!("hub:{}", found.hub),
            project: None,
            once: None,
            at: Time::now(),
        };
        data::notices::tell(&mut tx, &notice).await?;
    }
    tx.commit().await.map_err(HubError::from)?;
    Ok(())
}

/// The cases of a sheet, but for those whose key was destroyed; gives how many.
async fn cases_of(
    at: &mut Connection,
    keys: &KeyStore,
    read: &Description,
) -> Result<u64, StartError> {
    let id: Uuid = data::parsed(&read.subject)?;
    let kept = keys.record_keys(id.into_bytes()).await.map_err(open::in_store)?;
    let mut read = read.clone();
    read.put_keys(&kept.into_iter().collect());
    read.write(at).await?;
    let there = read.rows.get("cases").map_or(0, Vec::len);
    Ok(u64::try_from(there).unwrap_or(u64::MAX))
}

/// Objects whose key does not say which blob it opens, written by a program that did not keep it: the dataset of each.
type Unplaced = HashMap<[u8; 16], DatasetId>;

/// The objects of a dataset whose row is there.
async fn objects_of(
    at: &mut Connection,
    keys: &KeyStore,
    store: &Store,
    id: DatasetId,
    unplaced: &mut Unplaced,
    found: &mut Rebuilt,
) -> Result<(), StartError> {
    let Some(kept) = data::datasets::find(at, id).await? else {
        // Its owner or its project is not there.
        found.incomplete.push(id);
        return Ok(());
    };
    found.datasets += 1;
    let mut placed = Vec::new();
    for (object, KeptKey { place, .. }) in
        keys.kept_keys(id.to_bytes()).await.map_err(open::in_store)?
    {
        match place {
            Some(place) if place.epoch == kept.dataset.epoch => placed.push((object, place)),
            Some(_older) => {}
            None => {
                unplaced.insert(object, id);
            }
        }
    }
    for some in placed.chunks(ASKED) {
        let hashes: Vec<BlobHash> = some.iter().map(|(_, place)| place.hash).collect();
        let there = store.contains_many(&hashes).await.map_err(open::in_store)?;
        found.objects_without_bytes += there.iter().filter(|is_there| !**is_there).count() as u64;
        for (object, place) in some {
            // The row is made also for a blob whose facility is away: it may come back.
            keep(at, id, *object, *place, found).await?;
        }
    }
    Ok(())
}

async fn keep(
    at: &mut Connection,
    id: DatasetId,
    object: [u8; 16],
    place: KeyPlace,
    found: &mut Rebuilt,
) -> Result<(), StartError> {
    found.objects += 1;
    let kept = data::objects::Kept {
        object: ObjectRef(object),
        epoch: place.epoch,
        hash: api::Digest(*place.hash.as_bytes()),
        bytes: place.bytes,
    };
    Ok(data::objects::restore(at, id, kept).await?)
}

/// Finds the blobs of objects whose keys do not name them: a sealed object says in its prefix which one it is.
async fn find_unplaced(
    at: &mut Connection,
    store: &Store,
    mut unplaced: Unplaced,
    found: &mut Rebuilt,
) -> Result<(), StartError> {
    for shard in 0..=u8::MAX {
        if unplaced.is_empty() {
            break;
        }
        let names = store.names(shard).await.map_err(open::in_store)?;
        let digests: Vec<_> = names.iter().map(|name| api::Digest(*name.as_bytes())).collect();
        for name in data::objects::unknown(at, &digests).await? {
            let hash = BlobHash::from_bytes(name.0);
            let Ok(bytes) = store.get(&hash).await else { continue };
            let Ok(prefix) = seal::Prefix::read(&bytes) else { continue };
            let object = *prefix.id().as_bytes();
            let Some(id) = unplaced.remove(&object) else { continue };
            let Some(kept) = data::datasets::find(at, id).await? else { continue };
            let place = KeyPlace { epoch: kept.dataset.epoch, hash, bytes: bytes.len() as u64 };
            keep(at, id, object, place, found).await?;
        }
    }
    found.objects_without_bytes += unplaced.len() as u64;
    Ok(())
}

/// Counts a dataset's objects and compares them with its manifest.
async fn close(at: &mut Connection, id: DatasetId, found: &mut Rebuilt) -> Result<(), StartError> {
    let Some(kept) = data::datasets::find(at, id).await? else { return Ok(()) };
    data::datasets::recount(at, id).await?;
    let manifest = data::manifests::find(at, id, kept.dataset.manifest_number).await?;
    let manifest = manifest.and_then(|kept| open_statement::<Manifest>(&kept.signed).ok());
    let set: ObjectSet = data::objects::set_of(at, id, kept.dataset.epoch).await?;
    let is_whole = manifest.as_ref().is_some_and(|(manifest, _)| {
        manifest.objects <= set.len() && manifest.sealed_bytes <= set.sealed_bytes()
    });
    if manifest.is_some() && !is_whole {
        found.incomplete.push(id);
    }
    // What a task was doing is gone with its row.
    if kept.dataset.execution == ExecutionState::Processing {
        let (state, reason) = if is_whole {
            (ExecutionState::Complete, None)
        } else {
            (ExecutionState::Failed, Some("the task that made it was lost with the database"))
        };
        data::datasets::set_execution(at, id, state, reason, Time::now()).await?;
    }
    Ok(())
}
