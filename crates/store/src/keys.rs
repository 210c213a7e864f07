//! Wrapped keys, in two places, so that deleting data can mean destroying them.
//!
//! They are kept apart from the database and from the blobs, because whoever keeps an old copy of a wrapped key keeps the
//! data: the key store has no log, no history and no backup that outlives a destruction. Each dataset has one file in each
//! of two places; what is put is in both, synced, before a put returns. [`KeyStore::destroy`] overwrites and removes both
//! files and leaves a mark, so that a place which was away cannot bring them back. The store sees opaque bytes only
//! (`spec/store.md` section 6).

mod about;
mod place;
mod record;
mod snapshot;
mod writer;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt, io,
    path::PathBuf,
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use data_encoding::HEXLOWER;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::{
    blocking,
    disk::{Disk, RealDisk},
    held,
};
pub use about::{KeptKey, KeyPlace};
use place::{KIND, Place};
use record::{DATASET_KEY, DESCRIPTION, MAX_PAYLOAD_BYTES, OBJECT_KEY, RECORD_KEY, Records, Slot};
pub use snapshot::{KeyNames, is_whole_key_file, key_names, read_key_file};
use writer::{Request, Writer};

/// The id of a dataset: the 16 bytes of its UUID.
pub type DatasetId = [u8; 16];

/// The id of a sealed object, 16 bytes.
pub type ObjectKeyId = [u8; 16];

/// A wrapped data key: nonce 12, ciphertext 32, tag 16.
pub const WRAPPED_KEY_BYTES: usize = 60;

/// Why the key store did not do what it was told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyStoreError {
    /// The dataset has no keys here.
    #[error("there are no keys of dataset {dataset}")]
    NoDataset {
        /// The dataset, in hex.
        dataset: String,
    },
    /// The dataset has keys, and not this one.
    #[error("dataset {dataset} has no key of {of}")]
    NoKey {
        /// The dataset, in hex.
        dataset: String,
        /// The object or the epoch.
        of: String,
    },
    /// These keys were destroyed; they do not come back, and none can be put in their place.
    #[error("the keys of {of} in dataset {dataset} were destroyed")]
    Destroyed {
        /// The dataset, in hex.
        dataset: String,
        /// All of it, an object, or an epoch.
        of: String,
    },
    /// One of the two places is not there, so nothing can be put; what the other holds can be read.
    #[error("the key store has no place at {place}: {why}")]
    PlaceAway {
        /// Where it was expected.
        place: PathBuf,
        /// What was found instead.
        why: String,
    },
    /// A disk failed.
    #[error("the key store could not {act} at {place}")]
    Io {
        /// The place.
        place: PathBuf,
        /// What it was doing.
        act: &'static str,
        /// What the disk said.
        source: io::Error,
    },
    /// The wrapped bytes are longer than a record holds.
    #[error("a wrapped key of {bytes} bytes is longer than the {MAX_PAYLOAD_BYTES} a record holds")]
    TooLong {
        /// The length.
        bytes: usize,
    },
    /// The key store was closed while this was waiting.
    #[error("the key store is closed")]
    Closed,
}

/// All wrapped keys of one dataset.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct WrappedKeys {
    /// The dataset key as its custodian wrapped it, by epoch.
    pub dataset_keys: BTreeMap<u32, Vec<u8>>,
    /// The data key of each object, wrapped under the dataset key.
    pub objects: HashMap<ObjectKeyId, [u8; WRAPPED_KEY_BYTES]>,
}

impl fmt::Debug for WrappedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (epochs, objects) = (self.dataset_keys.len(), self.objects.len());
        write!(f, "WrappedKeys({epochs} epochs, {objects} objects)")
    }
}

/// Where a destruction has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destroyed {
    /// Places where the keys are gone.
    pub gone_from: Vec<PathBuf>,
    /// Places that were away; there it happens as soon as they come back.
    pub waiting_for: Vec<PathBuf>,
}

/// How a place is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlaceStatus {
    /// Where it is.
    pub location: PathBuf,
    /// Why it cannot be used, if it cannot.
    pub away: Option<String>,
    /// Datasets that have a file there.
    pub datasets: u64,
}

/// How the key store is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyStoreStatus {
    /// The identity both places share.
    pub id: Uuid,
    /// The two places.
    pub places: [PlaceStatus; 2],
}

/// What checking every file found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct CheckReport {
    /// Datasets that were checked.
    pub datasets: u64,
    /// Files that were written anew from the other place.
    pub healed: u64,
    /// Datasets, in hex, whose files were damaged in both places: keys may be lost.
    pub damaged_in_both: Vec<String>,
    /// Datasets, in hex, that are not whole in both places because one could not be read or written.
    pub in_one_place: Vec<String>,
}

/// The key store. Cloning gives another handle on the same one; the last one to be dropped waits for what is being written.
#[derive(Clone)]
pub struct KeyStore {
    shared: Arc<Shared>,
    running: Arc<Running>,
}

struct Shared {
    id: Uuid,
    cache: Mutex<Cache>,
    destroyed: Mutex<HashSet<DatasetId>>,
}

/// Datasets that were used a short while ago. Only the writer puts in and takes out.
#[derive(Default)]
struct Cache {
    datasets: HashMap<DatasetId, Loaded>,
    tick: u64,
}

struct Loaded {
    dataset: Arc<Dataset>,
    tick: u64,
}

/// A dataset's keys as both places hold them.
struct Dataset {
    records: Mutex<Records>,
}

struct Running {
    requests: Option<mpsc::Sender<Request>>,
    writer: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the writer of the key store ended in a panic");
        }
    }
}

impl KeyStore {
    /// Makes a key store in two directories that are empty or not there yet, and opens it.
    ///
    /// # Errors
    /// If a directory holds anything, or cannot be written.
    pub async fn create(places: [PathBuf; 2]) -> Result<Self, KeyStoreError> {
        Self::create_on(places.map(|place| (Arc::new(RealDisk) as Arc<dyn Disk>, place))).await
    }

    /// Opens a key store, brings interrupted acts to their end, and heals each place from the other. With one place away
    /// it opens for reading and destroying.
    ///
    /// # Errors
    /// If neither directory is a place of a key store, or they belong to different ones, or are the same.
    pub async fn open(places: [PathBuf; 2]) -> Result<Self, KeyStoreError> {
        Self::open_on(places.map(|place| (Arc::new(RealDisk) as Arc<dyn Disk>, place))).await
    }

    /// Makes a new second place for a key store that lost one, in a directory that is empty or not there yet. The next
    /// [`open`](Self::open) with both fills it.
    ///
    /// # Errors
    /// If the first is not a place of a key store, or the second holds anything.
    pub async fn replace_place(survivor: PathBuf, new: PathBuf) -> Result<(), KeyStoreError> {
        blocking(move || {
            let survivor = Place::new(Arc::new(RealDisk), survivor);
            let found = survivor.identity().map_err(|error| away(&survivor.root, error))?;
            match KIND.create(&RealDisk, &new, found.store) {
                Ok(_) => Ok(()),
                Err(error) => Err(away(&new, error)),
            }
        })
        .await
    }

    pub(crate) async fn create_on(
        places: [(Arc<dyn Disk>, PathBuf); 2],
    ) -> Result<Self, KeyStoreError> {
        let made = places.clone();
        blocking(move || {
            let store = Uuid::now_v7();
            for (disk, root) in &made {
                KIND.create(&**disk, root, Some(store)).map_err(|error| away(root, error))?;
            }
            Ok(())
        })
        .await?;
        Self::open_on(places).await
    }

    pub(crate) async fn open_on(
        places: [(Arc<dyn Disk>, PathBuf); 2],
    ) -> Result<Self, KeyStoreError> {
        let places = places.map(|(disk, root)| Place::new(disk, root));
        blocking(move || {
            let id = the_store_of(&places)?;
            let shared =
                Arc::new(Shared { id, cache: Mutex::default(), destroyed: Mutex::default() });
            let (requests, waiting) = mpsc::channel(writer::BATCH_REQUESTS);
            let mut writer = Writer::new(places, waiting, Arc::clone(&shared));
            let checked = writer.check();
            if !checked.damaged_in_both.is_empty() || !checked.in_one_place.is_empty() {
                tracing::error!(?checked, "the key store is not whole");
            } else if checked.healed > 0 {
                tracing::warn!(?checked, "the key store was healed");
            }
            let writer = std::thread::Builder::new()
                .name("key store".into())
                .spawn(move || writer.run())
                .expect("a thread starts because the process is within its limit of threads");
            let running = Running { requests: Some(requests), writer: Some(writer) };
            Ok(Self { shared, running: Arc::new(running) })
        })
        .await
    }

    /// Keeps a dataset key as its custodian wrapped it, and returns once both places have synced it. Another wrapping of
    /// the same epoch replaces the one before, of which no byte stays.
    ///
    /// # Errors
    /// If either place does not take it, or the epoch or the dataset was destroyed.
    pub async fn put_dataset_key(
        &self,
        dataset: DatasetId,
        epoch: u32,
        wrapped: Vec<u8>,
    ) -> Result<(), KeyStoreError> {
        if wrapped.len() > MAX_PAYLOAD_BYTES {
            return Err(KeyStoreError::TooLong { bytes: wrapped.len() });
        }
        let puts = vec![(Slot::epoch(epoch), wrapped)];
        self.ask(|answer| Request::Put { dataset, puts, answer }).await
    }

    /// Keeps the wrapped data key of one object, and returns once both places have synced it. Puts that wait at the same
    /// time share their syncs.
    ///
    /// # Errors
    /// If either place does not take it, or the object's key or the dataset was destroyed.
    pub async fn put_wrapped_key(
        &self,
        dataset: DatasetId,
        object: ObjectKeyId,
        wrapped: [u8; WRAPPED_KEY_BYTES],
    ) -> Result<(), KeyStoreError> {
        self.put_wrapped_keys(dataset, &[(object, wrapped)]).await
    }

    /// As [`put_wrapped_key`](Self::put_wrapped_key), for many objects of one dataset; all of them or, after an error,
    /// perhaps some.
    ///
    /// # Errors
    /// As for one.
    pub async fn put_wrapped_keys(
        &self,
        dataset: DatasetId,
        keys: &[(ObjectKeyId, [u8; WRAPPED_KEY_BYTES])],
    ) -> Result<(), KeyStoreError> {
        let puts = keys.iter().map(|(object, key)| (Slot::object(*object), key.to_vec())).collect();
        self.ask(|answer| Request::Put { dataset, puts, answer }).await
    }

    /// Every wrapped key of a dataset.
    ///
    /// # Errors
    /// [`KeyStoreError::NoDataset`], [`KeyStoreError::Destroyed`], or what a disk says.
    pub async fn wrapped_keys(&self, dataset: DatasetId) -> Result<WrappedKeys, KeyStoreError> {
        let found = self.dataset(dataset).await?;
        let mut keys = WrappedKeys::default();
        for (slot, record) in &*held(&found.records) {
            let Some(payload) = &record.payload else { continue };
            match slot.kind {
                DATASET_KEY => {
                    let [a, b, c, d, ..] = slot.id;
                    keys.dataset_keys.insert(u32::from_be_bytes([a, b, c, d]), payload.clone());
                }
                OBJECT_KEY => {
                    if let Some(kept) = KeptKey::read(payload) {
                        keys.objects.insert(slot.id, kept.wrapped);
                    }
                }
                _ => {}
            }
        }
        Ok(keys)
    }

    /// The wrapped data key of one object.
    ///
    /// # Errors
    /// [`KeyStoreError::NoKey`], and as for [`wrapped_keys`](Self::wrapped_keys).
    pub async fn wrapped_key(
        &self,
        dataset: DatasetId,
        object: ObjectKeyId,
    ) -> Result<[u8; WRAPPED_KEY_BYTES], KeyStoreError> {
        let payload = self.payload(dataset, Slot::object(object)).await?;
        let kept = KeptKey::read(&payload).ok_or_else(|| KeyStoreError::NoKey {
            dataset: HEXLOWER.encode(&dataset),
            of: name_of(Slot::object(object)),
        })?;
        Ok(kept.wrapped)
    }

    /// The dataset key of one epoch, as its custodian wrapped it.
    ///
    /// # Errors
    /// [`KeyStoreError::NoKey`], and as for [`wrapped_keys`](Self::wrapped_keys).
    pub async fn dataset_key(
        &self,
        dataset: DatasetId,
        epoch: u32,
    ) -> Result<Vec<u8>, KeyStoreError> {
        self.payload(dataset, Slot::epoch(epoch)).await
    }

    /// Destroys every key of a dataset, for ever: both files are overwritten, synced and removed, and a mark keeps them
    /// from coming back. A dataset without keys is marked too.
    ///
    /// # Errors
    /// If no place could be told, or one that is there could not carry it out; the mark then stands, and the next
    /// [`check`](Self::check) or opening carries on.
    pub async fn destroy(&self, dataset: DatasetId) -> Result<Destroyed, KeyStoreError> {
        self.ask(|answer| Request::Destroy { dataset, answer }).await
    }

    /// Destroys the keys of single objects, for ever. Both files are written anew without them, and the old ones
    /// overwritten.
    ///
    /// # Errors
    /// If no place could carry it out, or one that is there failed.
    pub async fn destroy_objects(
        &self,
        dataset: DatasetId,
        objects: &[ObjectKeyId],
    ) -> Result<Destroyed, KeyStoreError> {
        let slots = objects.iter().map(|object| Slot::object(*object)).collect();
        self.ask(|answer| Request::Remove { dataset, slots, answer }).await
    }

    /// Destroys the dataset key of one epoch, for ever, and with it every superseded wrapping that the files still held:
    /// after objects were wrapped anew under a later epoch, nothing wrapped under this one is left.
    ///
    /// # Errors
    /// As for [`destroy_objects`](Self::destroy_objects).
    pub async fn destroy_epoch(
        &self,
        dataset: DatasetId,
        epoch: u32,
    ) -> Result<Destroyed, KeyStoreError> {
        let slots = vec![Slot::epoch(epoch)];
        self.ask(|answer| Request::Remove { dataset, slots, answer }).await
    }

    /// Every dataset that has keys here, in the order of their ids.
    ///
    /// # Errors
    /// If neither place can be listed.
    pub async fn datasets(&self) -> Result<Vec<DatasetId>, KeyStoreError> {
        self.ask(|answer| Request::Datasets { answer }).await
    }

    /// Reads every file in both places, heals one from the other, and carries on with destructions that were waiting for
    /// a place. Puts wait meanwhile.
    ///
    /// # Errors
    /// [`KeyStoreError::Closed`].
    pub async fn check(&self) -> Result<CheckReport, KeyStoreError> {
        self.ask(|answer| Request::Check { answer }).await
    }

    /// How the two places are.
    ///
    /// # Errors
    /// [`KeyStoreError::Closed`].
    pub async fn status(&self) -> Result<KeyStoreStatus, KeyStoreError> {
        self.ask(|answer| Request::Status { answer }).await
    }

    async fn payload(&self, dataset: DatasetId, slot: Slot) -> Result<Vec<u8>, KeyStoreError> {
        let found = self.dataset(dataset).await?;
        let records = held(&found.records);
        match records.get(&slot).map(|record| &record.payload) {
            Some(Some(payload)) => Ok(payload.clone()),
            Some(None) => Err(destroyed(dataset, name_of(slot))),
            None => {
                Err(KeyStoreError::NoKey { dataset: HEXLOWER.encode(&dataset), of: name_of(slot) })
            }
        }
    }

    /// The dataset from memory, or read by the writer, which alone knows what it is just adding.
    async fn dataset(&self, dataset: DatasetId) -> Result<Arc<Dataset>, KeyStoreError> {
        if held(&self.shared.destroyed).contains(&dataset) {
            return Err(destroyed(dataset, "everything".into()));
        }
        let found = held(&self.shared.cache).find(&dataset);
        // An empty one is just being begun.
        if let Some(found) = found.filter(|found| !held(&found.records).is_empty()) {
            return Ok(found);
        }
        self.ask(|answer| Request::Load { dataset, answer }).await
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, KeyStoreError>>) -> Request,
    ) -> Result<T, KeyStoreError> {
        let (answer, answered) = oneshot::channel();
        let requests = self.running.requests.as_ref().ok_or(KeyStoreError::Closed)?;
        requests.send(request(answer)).await.map_err(|_| KeyStoreError::Closed)?;
        answered.await.map_err(|_| KeyStoreError::Closed)?
    }
}

impl Cache {
    fn find(&mut self, dataset: &DatasetId) -> Option<Arc<Dataset>> {
        self.tick += 1;
        let tick = self.tick;
        self.datasets.get_mut(dataset).map(|loaded| {
            loaded.tick = tick;
            Arc::clone(&loaded.dataset)
        })
    }
}

/// The key store that both places belong to, as far as they are there.
fn the_store_of(places: &[Place; 2]) -> Result<Uuid, KeyStoreError> {
    let [one, other] = places;
    match (one.identity(), other.identity()) {
        (Ok(a), Ok(b)) if a.id == b.id => Err(KeyStoreError::PlaceAway {
            place: other.root.clone(),
            why: format!("it is the same place as {}", one.root.display()),
        }),
        (Ok(a), Ok(b)) if a.store != b.store => Err(KeyStoreError::PlaceAway {
            place: other.root.clone(),
            why: format!("it belongs to another key store than {}", one.root.display()),
        }),
        (Ok(found), _) => found.store.ok_or_else(|| KeyStoreError::PlaceAway {
            place: one.root.clone(),
            why: "its identity names no key store".into(),
        }),
        (Err(_), Ok(found)) => found.store.ok_or_else(|| KeyStoreError::PlaceAway {
            place: other.root.clone(),
            why: "its identity names no key store".into(),
        }),
        (Err(error), Err(_)) => Err(away(&one.root, error)),
    }
}

fn away(place: &std::path::Path, error: crate::identity::IdentityError) -> KeyStoreError {
    KeyStoreError::PlaceAway { place: place.to_owned(), why: error.in_words() }
}

fn destroyed(dataset: DatasetId, of: String) -> KeyStoreError {
    KeyStoreError::Destroyed { dataset: HEXLOWER.encode(&dataset), of }
}

fn name_of(slot: Slot) -> String {
    match (slot.kind, slot.id) {
        (DATASET_KEY, [a, b, c, d, ..]) => format!("epoch {}", u32::from_be_bytes([a, b, c, d])),
        (OBJECT_KEY, id) => format!("object {}", HEXLOWER.encode(&id)),
        (DESCRIPTION, _) => "its description".to_owned(),
        (RECORD_KEY, id) => format!("record {}", HEXLOWER.encode(&id)),
        (kind, id) => format!("kind {kind}, {}", HEXLOWER.encode(&id)),
    }
}

#[cfg(test)]
mod tests;
