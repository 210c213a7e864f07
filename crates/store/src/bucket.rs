//! A facility that is a prefix in an S3-compatible object store.
//!
//! ```text
//! PREFIX/facility.json            who this is
//! PREFIX/holder.json              which process uses it
//! PREFIX/objects/ab/cd/<hash>     the blobs
//! PREFIX/quarantine/<name>.<uuid> copies that were not what their name says
//! PREFIX/tombstones/<uuid>[.begun] names that are erased; `begun` until the blobs are gone
//! ```
//!
//! The names are those of a directory, so that one can be copied into the other with any tool. What a directory gets from
//! a disk comes from the service here: a put is atomic and durable when it is answered, so there is nothing to sync, and a
//! `tmp/` is not needed. What a disk has and a bucket has not is a lock: whoever opens a facility writes itself down as its
//! holder, and a process that finds another one there stops (`spec/store.md` section 7).

mod address;

use std::{
    collections::{BTreeSet, HashSet},
    io,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use object_store::{
    Error, ObjectStore, ObjectStoreExt as _, PutMode, PutPayload, WriteMultipart, path::Path as Key,
};
use serde::{Deserialize, Serialize};
use tokio::sync::RwLock;
use uuid::Uuid;

use crate::{
    blob::{BlobHash, MAX_BLOB_BYTES},
    facility::{
        Facility, FacilityError, FacilityId, FacilityState, FacilityStatus, Listed, Listing, Stray,
    },
    held,
    identity::Identity,
    tombstone,
};
pub use address::{BucketAddress, BucketAddressError};

const FILE: &str = "facility.json";
const FORMAT: &str = "chorion.facility/1";
const HOLDER: &str = "holder.json";
const HOLDER_FORMAT: &str = "chorion.holder/1";

/// How long a look at the holder serves for writes. What says "not found" looks every time.
const CONFIRMED_FOR: Duration = Duration::from_secs(5);
/// From this size on a blob goes up in parts, side by side. S3 takes parts from 5 MiB on.
const PART_BYTES: usize = 8 * 1024 * 1024;
/// How many small objects are asked for at once.
const AT_ONCE: usize = 16;
/// Counting takes one request for a thousand blobs, so a count serves for this many times as long as it took.
const COUNT_SERVES: u32 = 100;

/// A facility in a bucket.
pub struct BucketFacility {
    place: Arc<Place>,
}

struct Place {
    id: FacilityId,
    location: String,
    bucket: Arc<dyn ObjectStore>,
    prefix: Key,
    /// Nothing while the bucket is away.
    open: tokio::sync::Mutex<Option<Arc<Opened>>>,
    /// Puts hold it to read, an erasure for a moment to write: whatever was begun before an erasure has ended when blobs are
    /// deleted, and what comes after it is refused.
    order: RwLock<()>,
    counted: Mutex<Option<Counted>>,
}

/// A prefix that was found to be the right one, and taken.
struct Opened {
    holder: Uuid,
    erased: Mutex<HashSet<BlobHash>>,
    /// Names whose tombstone failed halfway: it may or may not be found at the next opening, so no put of them counts.
    doubtful: Mutex<HashSet<BlobHash>>,
    /// When the last look began that found the holder to be this process.
    confirmed: Mutex<Instant>,
    /// One look at a time: those who wait for it share what it saw.
    looking: tokio::sync::Mutex<()>,
}

/// What was counted, when, and how long it took.
#[derive(Clone, Copy)]
struct Counted {
    blobs: u64,
    bytes: u64,
    quarantined: u64,
    at: Instant,
    took: Duration,
    /// Changed since.
    is_old: bool,
}

/// Which process uses the facility.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Holder {
    format: String,
    facility: Uuid,
    holder: Uuid,
    since: String,
}

impl BucketFacility {
    /// Makes a new facility under a prefix that holds nothing, and opens it. Of two programs that do this at once one wins.
    ///
    /// # Errors
    /// If there is something under the prefix, or the service does not answer.
    pub async fn create(address: &BucketAddress) -> Result<Self, FacilityError> {
        Self::create_in(client(address)?, address.prefix(), address.to_string()).await
    }

    /// Opens an existing facility.
    ///
    /// # Errors
    /// [`FacilityError::Missing`] if there is no facility under this prefix; nothing is ever made here.
    pub async fn open(address: &BucketAddress) -> Result<Self, FacilityError> {
        Self::open_in(client(address)?, address.prefix(), address.to_string()).await
    }

    /// The facility that should be at this address. If it is away, every act says so until it comes back; if another one
    /// is there, it is left alone.
    ///
    /// # Errors
    /// If the address cannot be used at all: its files cannot be read.
    pub async fn expect(address: &BucketAddress, id: FacilityId) -> Result<Self, FacilityError> {
        let facility = Self::new(client(address)?, address.prefix(), address.to_string(), id);
        if let Err(error) = facility.place.opened().await {
            tracing::warn!(facility = %id, %error, "the facility is away");
        }
        Ok(facility)
    }

    /// Whether anything lies under the prefix.
    ///
    /// # Errors
    /// If the service does not answer.
    pub async fn is_used(address: &BucketAddress) -> Result<bool, FacilityError> {
        is_used(&*client(address)?, &address.prefix(), &address.to_string()).await
    }

    pub(crate) async fn create_in(
        bucket: Arc<dyn ObjectStore>,
        prefix: Key,
        location: String,
    ) -> Result<Self, FacilityError> {
        if is_used(&*bucket, &prefix, &location).await? {
            return Err(missing(&location, "it is not empty"));
        }
        let identity = Identity {
            format: FORMAT.into(),
            id: Uuid::now_v7(),
            created: jiff::Timestamp::now().to_string(),
            store: None,
        };
        let text = serde_json::to_vec_pretty(&identity)
            .map_err(|error| missing(&location, &error.to_string()))?;
        let key = under(&prefix, FILE);
        // Conditional: of two who find the prefix empty, one makes the facility.
        let put = bucket.put_opts(&key, PutPayload::from(text), PutMode::Create.into()).await;
        put.map_err(|error| missing(&location, &in_words(&error)))?;
        Self::open_in(bucket, prefix, location).await
    }

    pub(crate) async fn open_in(
        bucket: Arc<dyn ObjectStore>,
        prefix: Key,
        location: String,
    ) -> Result<Self, FacilityError> {
        let found = identity(&*bucket, &prefix, &location).await?;
        let facility = Self::new(bucket, prefix, location, FacilityId::from_uuid(found));
        facility.place.opened().await?;
        Ok(facility)
    }

    fn new(bucket: Arc<dyn ObjectStore>, prefix: Key, location: String, id: FacilityId) -> Self {
        let place = Place {
            id,
            location,
            bucket,
            prefix,
            open: tokio::sync::Mutex::new(None),
            order: RwLock::new(()),
            counted: Mutex::new(None),
        };
        Self { place: Arc::new(place) }
    }

    /// Runs an act to its end even if the caller goes away: half an act would leave what nobody waits for.
    async fn to_the_end<T: Send + 'static>(
        &self,
        act: impl Future<Output = Result<T, FacilityError>> + Send + 'static,
    ) -> Result<T, FacilityError> {
        match tokio::spawn(act).await {
            Ok(done) => done,
            Err(stopped) => match stopped.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(FacilityError::Closed { facility: self.place.id }),
            },
        }
    }
}

#[async_trait]
impl Facility for BucketFacility {
    fn id(&self) -> FacilityId {
        self.place.id
    }

    fn location(&self) -> String {
        self.place.location.clone()
    }

    async fn put(&self, hash: BlobHash, bytes: Bytes) -> Result<(), FacilityError> {
        let place = Arc::clone(&self.place);
        self.to_the_end(async move {
            let opened = place.opened().await?;
            let _order = place.order.read().await;
            place.refuse_erased(&opened, &hash)?;
            place.confirm_for_writing(&opened).await?;
            let act = || format!("write blob {hash}");
            let key = place.object(&hash);
            place.write(&key, bytes).await.map_err(|error| place.failed(act(), error))?;
            place.changed();
            Ok(())
        })
        .await
    }

    async fn get(&self, hash: &BlobHash) -> Result<Option<Bytes>, FacilityError> {
        let opened = self.place.opened().await?;
        let key = self.place.object(hash);
        self.place.read(&opened, &key, || format!("read blob {hash}")).await
    }

    async fn contains(&self, hash: &BlobHash) -> Result<bool, FacilityError> {
        let opened = self.place.opened().await?;
        match self.place.bucket.head(&self.place.object(hash)).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => self.place.confirm(&opened).await.map(|()| false),
            Err(error) => Err(self.place.failed(format!("look for blob {hash}"), error)),
        }
    }

    async fn erase(&self, hashes: &[BlobHash]) -> Result<(), FacilityError> {
        let (place, hashes) = (Arc::clone(&self.place), hashes.to_vec());
        self.to_the_end(async move { place.erase(&hashes).await }).await
    }

    async fn discard(&self, hashes: &[BlobHash]) -> Result<(), FacilityError> {
        let (place, hashes) = (Arc::clone(&self.place), hashes.to_vec());
        self.to_the_end(async move {
            let opened = place.opened().await?;
            place.confirm_for_writing(&opened).await?;
            let done = place.delete_blobs(&hashes).await;
            done.map_err(|error| place.failed("take blobs away".into(), error))
        })
        .await
    }

    async fn erased(&self) -> Result<Vec<BlobHash>, FacilityError> {
        let opened = self.place.opened().await?;
        self.place.confirm_for_writing(&opened).await?;
        let erased = held(&opened.erased).iter().copied().collect();
        Ok(erased)
    }

    async fn erased_count(&self) -> Result<u64, FacilityError> {
        let opened = self.place.opened().await?;
        self.place.confirm_for_writing(&opened).await?;
        let count = held(&opened.erased).len();
        Ok(count as u64)
    }

    async fn list(&self, shard: u8) -> Result<Listing, FacilityError> {
        let place = &self.place;
        let opened = place.opened().await?;
        let objects = under(&place.prefix, "objects");
        let mut listing = Listing::default();
        let failed = |error| place.failed(format!("list shard {shard:02x}"), error);
        let mut prefixes = vec![under(&objects, &format!("{shard:02x}"))];
        if shard == 0 {
            // What lies in no shard is found from above.
            let top = place.bucket.list_with_delimiter(Some(&objects)).await.map_err(failed)?;
            for found in &top.objects {
                listing.strays.push(stray(&objects, &found.location));
            }
            prefixes.extend(
                top.common_prefixes
                    .into_iter()
                    .filter(|prefix| !prefix.filename().is_some_and(crate::directory::is_hex_pair)),
            );
        }
        for prefix in prefixes {
            let mut found = place.bucket.list(Some(&prefix));
            while let Some(found) = found.try_next().await.map_err(failed)? {
                let hash = found.location.filename().and_then(|name| name.parse().ok());
                match hash {
                    Some(hash) if found.location == place.object(&hash) => {
                        listing.blobs.push(Listed { hash, bytes: found.size });
                    }
                    _ => listing.strays.push(stray(&objects, &found.location)),
                }
            }
        }
        // A prefix that was emptied meanwhile would have listed less than there is.
        place.confirm(&opened).await?;
        listing.blobs.sort_unstable();
        listing.strays.sort_unstable();
        Ok(listing)
    }

    async fn quarantine(&self, hash: &BlobHash) -> Result<(), FacilityError> {
        let (place, hash) = (Arc::clone(&self.place), *hash);
        self.to_the_end(async move { place.set_aside(place.object(&hash)).await }).await
    }

    async fn read_stray(&self, stray: &Stray) -> Result<Option<Bytes>, FacilityError> {
        let opened = self.place.opened().await?;
        let key = self.place.stray(stray)?;
        self.place.read(&opened, &key, || format!("read {key}")).await
    }

    async fn quarantine_stray(&self, stray: &Stray) -> Result<(), FacilityError> {
        let (place, key) = (Arc::clone(&self.place), self.place.stray(stray)?);
        self.to_the_end(async move { place.set_aside(key).await }).await
    }

    async fn status(&self) -> FacilityStatus {
        match self.place.count().await {
            Ok(count) => FacilityStatus {
                blobs: count.blobs,
                bytes: count.bytes,
                quarantined: count.quarantined,
                ..self.place.status(FacilityState::Healthy, None)
            },
            Err(error) => self.place.status(FacilityState::Missing, Some(told(&error))),
        }
    }
}

impl Place {
    fn object(&self, hash: &BlobHash) -> Key {
        let name = hash.to_string();
        let (one, two) = (&name[..2], &name[2..4]);
        [one, two, &name].iter().fold(under(&self.prefix, "objects"), |key, part| under(&key, part))
    }

    fn stray(&self, stray: &Stray) -> Result<Key, FacilityError> {
        let text = format!("{}/{}", under(&self.prefix, "objects"), stray.path);
        Key::parse(text).map_err(|error| self.failed("name a stray".into(), error.into()))
    }

    /// The facility as it stands open, or an attempt to open it: identity, holder, and every erasure carried out that a
    /// crash may have left half done.
    async fn opened(&self) -> Result<Arc<Opened>, FacilityError> {
        let mut open = self.open.lock().await;
        if let Some(opened) = &*open {
            return Ok(Arc::clone(opened));
        }
        self.is_ours().await?;
        let began = Instant::now();
        let holder = Holder {
            format: HOLDER_FORMAT.into(),
            facility: *self.id.as_uuid(),
            holder: Uuid::now_v7(),
            since: jiff::Timestamp::now().to_string(),
        };
        let failed = |error| self.failed("put itself in order when it was opened".into(), error);
        let text = serde_json::to_vec(&holder)
            .map_err(|error| failed(Error::Generic { store: "holder", source: Box::new(error) }))?;
        let key = under(&self.prefix, HOLDER);
        self.bucket.put(&key, PutPayload::from(text)).await.map_err(failed)?;
        let erased = self.recover().await.map_err(failed)?;
        let opened = Arc::new(Opened {
            holder: holder.holder,
            erased: Mutex::new(erased),
            doubtful: Mutex::default(),
            confirmed: Mutex::new(began),
            looking: tokio::sync::Mutex::new(()),
        });
        *open = Some(Arc::clone(&opened));
        *held(&self.counted) = None;
        Ok(opened)
    }

    /// Whether the identity is the one that is expected.
    async fn is_ours(&self) -> Result<(), FacilityError> {
        let found = identity(&*self.bucket, &self.prefix, &self.location).await?;
        if found == *self.id.as_uuid() {
            return Ok(());
        }
        Err(missing(&self.location, &format!("it belongs to {found}, not to {}", self.id)))
    }

    /// Every name that is erased; what an erasure that was interrupted left is taken away now.
    async fn recover(&self) -> Result<HashSet<BlobHash>, Error> {
        let dir = under(&self.prefix, "tombstones");
        let keys: Vec<Key> =
            self.bucket.list(Some(&dir)).map_ok(|found| found.location).try_collect().await?;
        let tombstones: Vec<(Key, Bytes)> = stream::iter(keys)
            .map(|key| async move {
                let bytes = self.bucket.get(&key).await?.bytes().await?;
                Ok::<_, Error>((key, bytes))
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let mut erased = HashSet::new();
        for (key, bytes) in tombstones {
            let (names, is_whole) = tombstone::decode(&bytes);
            if !is_whole {
                tracing::warn!(facility = %self.id, %key, "a tombstone is damaged");
            }
            if key.as_ref().ends_with(BEGUN) {
                self.carry_out(&names, &key, bytes).await?;
            }
            erased.extend(names);
        }
        Ok(erased)
    }

    async fn erase(&self, hashes: &[BlobHash]) -> Result<(), FacilityError> {
        let opened = self.opened().await?;
        self.confirm_for_writing(&opened).await?;
        let new: BTreeSet<BlobHash> = {
            let erased = held(&opened.erased);
            hashes.iter().copied().filter(|hash| !erased.contains(hash)).collect()
        };
        {
            // From here on a put of these names is refused, and those that were begun before have ended.
            let _order = self.order.write().await;
            held(&opened.doubtful).extend(&new);
        }
        let failed = |error| self.failed("write a tombstone".into(), error);
        let name = Uuid::now_v7();
        let begun = under(&under(&self.prefix, "tombstones"), &format!("{name}{BEGUN}"));
        // Also of names that are known: something under one of them may have come back.
        let all: BTreeSet<BlobHash> = hashes.iter().copied().collect();
        if all.is_empty() {
            return Ok(());
        }
        if new.is_empty() {
            return self
                .delete_blobs(hashes)
                .await
                .map_err(|error| self.failed("erase".into(), error));
        }
        let bytes = Bytes::from(tombstone::encode(&new));
        self.bucket.put(&begun, bytes.clone().into()).await.map_err(failed)?;
        held(&opened.erased).extend(&new);
        {
            let mut doubtful = held(&opened.doubtful);
            new.iter().for_each(|hash| {
                doubtful.remove(hash);
            });
        }
        self.changed();
        let all: Vec<BlobHash> = all.into_iter().collect();
        let done = self.carry_out(&all, &begun, bytes).await;
        done.map_err(|error| self.failed("take away what is erased".into(), error))
    }

    /// Deletes the blobs of a tombstone, then gives it the name of one that is done.
    async fn carry_out(&self, names: &[BlobHash], begun: &Key, bytes: Bytes) -> Result<(), Error> {
        self.delete_blobs(names).await?;
        let done = Key::from(begun.as_ref().trim_end_matches(BEGUN));
        self.bucket.put(&done, bytes.into()).await?;
        self.bucket.delete(begun).await
    }

    /// Deletes blobs and what was set aside under their names.
    async fn delete_blobs(&self, names: &[BlobHash]) -> Result<(), Error> {
        let texts: HashSet<String> = names.iter().map(BlobHash::to_string).collect();
        let dir = under(&self.prefix, "quarantine");
        let mut keys: Vec<Key> = names.iter().map(|hash| self.object(hash)).collect();
        let mut aside = self.bucket.list(Some(&dir));
        while let Some(found) = aside.try_next().await? {
            let name = found.location.filename().and_then(|name| name.split('.').next());
            if name.is_some_and(|name| texts.contains(name)) {
                keys.push(found.location);
            }
        }
        let keys = stream::iter(keys.into_iter().map(Ok)).boxed();
        let mut deleted = self.bucket.delete_stream(keys);
        while let Some(one) = deleted.next().await {
            match one {
                Ok(_) | Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.changed();
        Ok(())
    }

    /// Copies an object to the quarantine, then deletes it.
    async fn set_aside(&self, key: Key) -> Result<(), FacilityError> {
        let opened = self.opened().await?;
        self.confirm_for_writing(&opened).await?;
        let name = key.filename().unwrap_or("unnamed");
        let aside =
            under(&under(&self.prefix, "quarantine"), &format!("{name}.{}", Uuid::now_v7()));
        let failed = |error| self.failed(format!("quarantine {key}"), error);
        match self.bucket.copy(&key, &aside).await {
            Ok(()) => {}
            Err(Error::NotFound { .. }) => return self.confirm(&opened).await,
            Err(error) => return Err(failed(error)),
        }
        match self.bucket.delete(&key).await {
            Ok(()) | Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(failed(error)),
        }
        self.changed();
        Ok(())
    }

    /// Writes an object, a large one in parts side by side. It has its name only when all of it is there.
    async fn write(&self, key: &Key, bytes: Bytes) -> Result<(), Error> {
        if bytes.len() <= PART_BYTES {
            return self.bucket.put(key, bytes.into()).await.map(|_| ());
        }
        let upload = self.bucket.put_multipart(key).await?;
        let mut parts = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        parts.put(bytes);
        // Ends the upload at the service too where a part fails.
        parts.finish().await.map(|_| ())
    }

    /// Reads an object. That it is not there is believed only after the facility has been confirmed. No more is read than a
    /// blob may have, and one byte: what is longer is no blob, whatever its end says.
    async fn read(
        &self,
        opened: &Arc<Opened>,
        key: &Key,
        act: impl Fn() -> String,
    ) -> Result<Option<Bytes>, FacilityError> {
        let found = match self.bucket.get(key).await {
            Ok(found) => found,
            Err(Error::NotFound { .. }) => return self.confirm(opened).await.map(|()| None),
            Err(error) => return Err(self.failed(act(), error)),
        };
        let size = found.meta.size;
        let expected = usize::try_from(size).unwrap_or(usize::MAX).min(MAX_BLOB_BYTES + 1);
        let mut bytes = BytesMut::with_capacity(expected);
        let mut body = found.into_stream();
        while let Some(more) = body.try_next().await.map_err(|error| self.failed(act(), error))? {
            bytes.extend_from_slice(&more);
            if bytes.len() > MAX_BLOB_BYTES {
                break;
            }
        }
        Ok(Some(bytes.freeze()))
    }

    fn refuse_erased(&self, opened: &Opened, hash: &BlobHash) -> Result<(), FacilityError> {
        if held(&opened.erased).contains(hash) || held(&opened.doubtful).contains(hash) {
            return Err(FacilityError::Erased { facility: self.id, hash: *hash });
        }
        Ok(())
    }

    /// Confirms by a look that began after this call that the facility is there and this process holds it. Callers who wait
    /// for a look share it.
    async fn confirm(&self, opened: &Arc<Opened>) -> Result<(), FacilityError> {
        let asked = Instant::now();
        let _looking = opened.looking.lock().await;
        if *held(&opened.confirmed) >= asked {
            return Ok(());
        }
        let began = Instant::now();
        let key = under(&self.prefix, HOLDER);
        let act = || format!("read its `{HOLDER}`");
        let why = match self.bucket.get(&key).await {
            Ok(found) => {
                let text = found.bytes().await.map_err(|error| self.failed(act(), error))?;
                match serde_json::from_slice::<Holder>(&text) {
                    Ok(found) if found.holder == opened.holder => {
                        *held(&opened.confirmed) = began;
                        return Ok(());
                    }
                    Ok(found) if found.facility == *self.id.as_uuid() => {
                        format!("another process took it over at {}", found.since)
                    }
                    _ => format!("its `{HOLDER}` is not ours"),
                }
            }
            Err(Error::NotFound { .. }) => format!("there is no `{HOLDER}` in it"),
            Err(error) => return Err(self.failed(act(), error)),
        };
        // It may be emptied, restored, or another's. What it is now is found by opening it again; a process that was
        // taken over stays away, so that two never take turns.
        if !why.starts_with("another") {
            *self.open.lock().await = None;
        }
        Err(missing(&self.location, &why))
    }

    /// Confirms for a write: a look that is a few seconds old will do, since a bucket is not unmounted by accident.
    async fn confirm_for_writing(&self, opened: &Arc<Opened>) -> Result<(), FacilityError> {
        let confirmed = *held(&opened.confirmed);
        if confirmed.elapsed() < CONFIRMED_FOR { Ok(()) } else { self.confirm(opened).await }
    }

    fn changed(&self) {
        if let Some(counted) = &mut *held(&self.counted) {
            counted.is_old = true;
        }
    }

    async fn count(&self) -> Result<Counted, FacilityError> {
        let opened = self.opened().await?;
        let known = *held(&self.counted);
        if let Some(known) = known
            && (!known.is_old || known.at.elapsed() < known.took * COUNT_SERVES)
        {
            return self.confirm(&opened).await.map(|()| known);
        }
        let began = Instant::now();
        let failed = |error| self.failed("count its blobs".into(), error);
        let (mut blobs, mut bytes, mut quarantined) = (0, 0, 0);
        let mut found = self.bucket.list(Some(&under(&self.prefix, "objects")));
        while let Some(found) = found.try_next().await.map_err(failed)? {
            blobs += 1;
            bytes += found.size;
        }
        let mut aside = self.bucket.list(Some(&under(&self.prefix, "quarantine")));
        while aside.try_next().await.map_err(failed)?.is_some() {
            quarantined += 1;
        }
        self.confirm(&opened).await?;
        let took = began.elapsed();
        // On a store that is counted in an instant it is counted anew each time.
        let took = if took < Duration::from_millis(500) { Duration::ZERO } else { took };
        let counted =
            Counted { blobs, bytes, quarantined, at: Instant::now(), took, is_old: false };
        *held(&self.counted) = Some(counted);
        Ok(counted)
    }

    fn status(&self, state: FacilityState, why: Option<String>) -> FacilityStatus {
        FacilityStatus {
            id: self.id,
            location: self.location.clone(),
            state,
            why,
            blobs: 0,
            bytes: 0,
            quarantined: 0,
            free_bytes: None,
            behind: 0,
        }
    }

    /// Says what the service's answer means for this facility.
    fn failed(&self, act: String, error: Error) -> FacilityError {
        let is_write =
            !act.starts_with("read") && !act.starts_with("look") && !act.starts_with("list");
        match &error {
            Error::PermissionDenied { .. } if is_write => {
                FacilityError::ReadOnly { facility: self.id }
            }
            // MinIO, Ceph and Garage say it with this status; AWS has no end.
            _ if in_words(&error).contains("507") => FacilityError::Full { facility: self.id },
            _ => FacilityError::Io { facility: self.id, act, source: io::Error::other(error) },
        }
    }
}

/// What a tombstone's name ends with until its blobs are gone.
const BEGUN: &str = ".begun";

fn under(key: &Key, part: &str) -> Key {
    key.clone().join(part)
}

fn stray(objects: &Key, location: &Key) -> Stray {
    let path =
        location.as_ref().strip_prefix(objects.as_ref()).unwrap_or_else(|| location.as_ref());
    let path = path.trim_start_matches('/').to_owned();
    Stray { hash: location.filename().and_then(|name| name.parse().ok()), path }
}

fn missing(location: &str, why: &str) -> FacilityError {
    FacilityError::Missing { location: location.to_owned(), why: why.to_owned() }
}

/// An error with its causes in one line. The client's errors name the request, never the key that signed it.
fn in_words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let more = next.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        cause = next.source();
    }
    words
}

/// A facility's error with its cause, for a status.
fn told(error: &FacilityError) -> String {
    in_words(error)
}

fn client(address: &BucketAddress) -> Result<Arc<dyn ObjectStore>, FacilityError> {
    match address.client() {
        Ok(client) => Ok(Arc::new(client)),
        Err(error) => Err(missing(&address.to_string(), &error.to_string())),
    }
}

async fn is_used(
    bucket: &dyn ObjectStore,
    prefix: &Key,
    location: &str,
) -> Result<bool, FacilityError> {
    let mut found = bucket.list(Some(prefix));
    let first = found.try_next().await;
    Ok(first.map_err(|error| missing(location, &in_words(&error)))?.is_some())
}

/// The identity under a prefix.
async fn identity(
    bucket: &dyn ObjectStore,
    prefix: &Key,
    location: &str,
) -> Result<Uuid, FacilityError> {
    let absent = || missing(location, &format!("there is no `{FILE}` in it"));
    let failed =
        |error: Error| missing(location, &format!("it cannot be read: {}", in_words(&error)));
    let text = match bucket.get(&under(prefix, FILE)).await {
        Ok(found) => found.bytes().await.map_err(failed)?,
        Err(Error::NotFound { .. }) => return Err(absent()),
        Err(error) => return Err(failed(error)),
    };
    match serde_json::from_slice::<Identity>(&text) {
        Ok(identity) if identity.format == FORMAT => Ok(identity.id),
        _ => Err(missing(location, &format!("its `{FILE}` is not a {FORMAT} identity"))),
    }
}

#[cfg(test)]
mod faults;
#[cfg(test)]
mod tests;
