//! A facility that is a directory.
//!
//! ```text
//! facility.json            who this is
//! objects/ab/cd/<hash>     the blobs
//! tmp/                     what is being written; swept at every opening
//! quarantine/              copies that were not what their name says
//! tombstones/              names that are erased, one file per act
//! ```
//!
//! Callers write their bytes into `tmp/` side by side; one [`writer`] thread per facility then syncs, renames and syncs
//! the directories for everything that waits, so that concurrent puts share those syncs, and puts and erasures have one
//! order. The directory may go away and come back: every act first confirms the identity, and coming back is an opening
//! of its own (`spec/store.md` sections 2 to 4).

mod writer;

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, atomic::AtomicBool},
    thread::JoinHandle,
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::{
    blob::BlobHash,
    blocking,
    disk::{Disk, RealDisk},
    facility::{
        Facility, FacilityError, FacilityId, FacilityState, FacilityStatus, Listed, Listing, Stray,
    },
    held,
    identity::{IdentityError, Kind},
};
use writer::{Request, Writer};

const KIND: Kind = Kind {
    file: "facility.json",
    format: "chorion.facility/1",
    folders: &["objects", "tmp", "quarantine", "tombstones"],
};

/// Room that puts leave untouched, so that a full disk can still be deleted from: an erasure writes before it frees.
const RESERVE_BYTES: u64 = 64 * 1024 * 1024;

/// A facility in a local directory.
///
/// Dropping it waits for what is being written.
pub struct DirectoryFacility {
    place: Arc<Place>,
    requests: Option<mpsc::Sender<Request>>,
    writer: Option<JoinHandle<()>>,
}

/// What readers and the writer share.
struct Place {
    id: FacilityId,
    root: PathBuf,
    disk: Arc<dyn Disk>,
    /// Nothing while the directory is away.
    open: Mutex<Option<Arc<Opened>>>,
}

/// A directory that was found to be the right one, swept and locked.
struct Opened {
    erased: Mutex<HashSet<BlobHash>>,
    /// Names whose tombstone failed halfway: it may or may not be found at the next opening, so no put of them counts.
    doubtful: Mutex<HashSet<BlobHash>>,
    /// Whether what a crash may have left was cleared away. Not yet where the directory could only be read.
    is_in_order: AtomicBool,
    /// Keeps other processes out for as long as this lives.
    _lock: Box<dyn Send + Sync>,
}

impl DirectoryFacility {
    /// Makes a new facility in a directory that is empty or not there yet, and opens it.
    ///
    /// # Errors
    /// If the directory holds anything, or cannot be written.
    pub async fn create(path: impl Into<PathBuf>) -> Result<Self, FacilityError> {
        Self::create_on(Arc::new(RealDisk), path.into()).await
    }

    /// Opens an existing facility.
    ///
    /// # Errors
    /// [`FacilityError::Missing`] if there is no facility in this directory; nothing is ever made here.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, FacilityError> {
        Self::open_on(Arc::new(RealDisk), path.into()).await
    }

    /// The facility that should be in this directory. If it is away, every act says so until it comes back; if another
    /// one is there, it is left alone.
    pub async fn expect(path: impl Into<PathBuf>, id: FacilityId) -> Self {
        Self::expect_on(Arc::new(RealDisk), path.into(), id).await
    }

    pub(crate) async fn create_on(
        disk: Arc<dyn Disk>,
        root: PathBuf,
    ) -> Result<Self, FacilityError> {
        let created = blocking({
            let (disk, root) = (Arc::clone(&disk), root.clone());
            move || KIND.create(&*disk, &root, None).map_err(|error| not_at(&root, error))
        })
        .await?;
        Self::open_with(disk, root, FacilityId::from_uuid(created.id)).await
    }

    pub(crate) async fn open_on(disk: Arc<dyn Disk>, root: PathBuf) -> Result<Self, FacilityError> {
        let found = blocking({
            let (disk, root) = (Arc::clone(&disk), root.clone());
            move || KIND.read(&*disk, &root).map_err(|error| not_at(&root, error))
        })
        .await?;
        Self::open_with(disk, root, FacilityId::from_uuid(found.id)).await
    }

    async fn open_with(
        disk: Arc<dyn Disk>,
        root: PathBuf,
        id: FacilityId,
    ) -> Result<Self, FacilityError> {
        let facility = Self::new(disk, root, id);
        let place = Arc::clone(&facility.place);
        blocking(move || place.opened()).await?;
        Ok(facility)
    }

    pub(crate) async fn expect_on(disk: Arc<dyn Disk>, root: PathBuf, id: FacilityId) -> Self {
        let facility = Self::new(disk, root, id);
        let place = Arc::clone(&facility.place);
        if let Err(error) = blocking(move || place.opened()).await {
            tracing::warn!(facility = %id, %error, "the facility is away");
        }
        facility
    }

    fn new(disk: Arc<dyn Disk>, root: PathBuf, id: FacilityId) -> Self {
        let place = Arc::new(Place { id, root, disk, open: Mutex::new(None) });
        // As many as one batch takes: callers beyond that wait, holding their own bytes and no more of ours.
        let (requests, waiting) = mpsc::channel(writer::BATCH_REQUESTS);
        let writer = Writer::new(Arc::clone(&place), waiting);
        let writer = std::thread::Builder::new()
            .name(format!("facility {id}"))
            .spawn(move || writer.run())
            .expect("a thread starts because the process is within its limit of threads");
        Self { place, requests: Some(requests), writer: Some(writer) }
    }

    /// Hands a request to the writer and waits for its answer.
    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, FacilityError>>) -> Request,
    ) -> Result<T, FacilityError> {
        let closed = || FacilityError::Closed { facility: self.place.id };
        let (answer, answered) = oneshot::channel();
        let requests = self.requests.as_ref().ok_or_else(closed)?;
        requests.send(request(answer)).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }

    /// Runs blocking work on the place, off the async workers.
    async fn on_place<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Place) -> Result<T, FacilityError> + Send + 'static,
    ) -> Result<T, FacilityError> {
        let place = Arc::clone(&self.place);
        blocking(move || work(&place)).await
    }
}

impl Drop for DirectoryFacility {
    fn drop(&mut self) {
        // The writer ends when its last request is answered and nobody can send another.
        drop(self.requests.take());
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!(facility = %self.place.id, "the writer of the facility ended in a panic");
        }
    }
}

#[async_trait]
impl Facility for DirectoryFacility {
    fn id(&self) -> FacilityId {
        self.place.id
    }

    fn location(&self) -> String {
        self.place.root.display().to_string()
    }

    async fn put(&self, hash: BlobHash, bytes: Bytes) -> Result<(), FacilityError> {
        let (tmp, file) = self
            .on_place(move |place| {
                let opened = place.opened()?;
                place.refuse_erased(&opened, &hash)?;
                place.refuse_without_room(bytes.len() as u64)?;
                let tmp = place.tmp(&hash.to_string());
                let written = place
                    .disk
                    .create_file(&tmp)
                    .and_then(|mut file| file.append(&bytes).map(|()| file));
                match written {
                    Ok(file) => Ok((tmp, file)),
                    Err(error) => {
                        place.discard(&tmp);
                        Err(place.failed(&format!("write blob {hash}"), error))
                    }
                }
            })
            .await?;
        self.ask(|answer| Request::Commit { hash, tmp, file, answer }).await
    }

    async fn get(&self, hash: &BlobHash) -> Result<Option<Bytes>, FacilityError> {
        let hash = *hash;
        self.on_place(move |place| {
            place.opened()?;
            place.read(&place.object(&hash), || format!("read blob {hash}"))
        })
        .await
    }

    async fn contains(&self, hash: &BlobHash) -> Result<bool, FacilityError> {
        let hash = *hash;
        self.on_place(move |place| {
            place.opened()?;
            match place.disk.file_bytes(&place.object(&hash)) {
                Ok(Some(_)) => Ok(true),
                Ok(None) => place.confirm().map(|()| false),
                Err(error) => Err(place.failed(&format!("look for blob {hash}"), error)),
            }
        })
        .await
    }

    async fn erase(&self, hashes: &[BlobHash]) -> Result<(), FacilityError> {
        let hashes = hashes.to_vec();
        self.ask(|answer| Request::Erase { hashes, answer }).await
    }

    async fn discard(&self, hashes: &[BlobHash]) -> Result<(), FacilityError> {
        let hashes = hashes.to_vec();
        self.ask(|answer| Request::Discard { hashes, answer }).await
    }

    async fn erased(&self) -> Result<Vec<BlobHash>, FacilityError> {
        self.on_place(|place| Ok(held(&place.opened()?.erased).iter().copied().collect())).await
    }

    async fn erased_count(&self) -> Result<u64, FacilityError> {
        self.on_place(|place| Ok(held(&place.opened()?.erased).len() as u64)).await
    }

    async fn list(&self, shard: u8) -> Result<Listing, FacilityError> {
        self.on_place(move |place| {
            place.opened()?;
            let listing = place
                .list(shard)
                .map_err(|error| place.failed(&format!("list shard {shard:02x}"), error))?;
            // A directory that went away halfway would have listed less than there is.
            place.confirm()?;
            Ok(listing)
        })
        .await
    }

    async fn quarantine(&self, hash: &BlobHash) -> Result<(), FacilityError> {
        let (path, hash) = (self.place.object(hash), *hash);
        self.ask(|answer| Request::Quarantine { path, name: hash.to_string(), answer }).await
    }

    async fn read_stray(&self, stray: &Stray) -> Result<Option<Bytes>, FacilityError> {
        let path = self.place.stray(stray);
        self.on_place(move |place| {
            place.opened()?;
            place.read(&path, || format!("read {}", path.display()))
        })
        .await
    }

    async fn quarantine_stray(&self, stray: &Stray) -> Result<(), FacilityError> {
        let path = self.place.stray(stray);
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into());
        self.ask(|answer| Request::Quarantine { path, name, answer }).await
    }

    async fn status(&self) -> FacilityStatus {
        match self.ask(|answer| Request::Status { answer }).await {
            Ok(status) => status,
            Err(error) => self.place.status(FacilityState::Missing, Some(error.to_string())),
        }
    }
}

impl Place {
    fn object(&self, hash: &BlobHash) -> PathBuf {
        let name = hash.to_string();
        self.root.join("objects").join(&name[..2]).join(&name[2..4]).join(name)
    }

    /// A name in `tmp/` that nothing else has.
    fn tmp(&self, name: &str) -> PathBuf {
        self.root.join("tmp").join(format!("{name}.{}", Uuid::now_v7()))
    }

    fn stray(&self, stray: &Stray) -> PathBuf {
        self.root.join("objects").join(&stray.path)
    }

    /// The directory as it stands open, or an attempt to open it: identity, lock, sweep, and every erasure carried out
    /// that a crash may have left half done.
    fn opened(&self) -> Result<Arc<Opened>, FacilityError> {
        let mut open = held(&self.open);
        if let Some(opened) = &*open {
            return Ok(Arc::clone(opened));
        }
        let missing = |error| not_at(&self.root, error);
        KIND.check(&*self.disk, &self.root, *self.id.as_uuid()).map_err(missing)?;
        let lock = KIND.lock(&*self.disk, &self.root).map_err(missing)?;
        let failed = |source| FacilityError::Io {
            facility: self.id,
            act: "put itself in order when it was opened".into(),
            source,
        };
        let (erased, is_in_order) = match self.recover() {
            // It is read as it is, and put in order before the first write.
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                (self.read_tombstones().map_err(failed)?, false)
            }
            recovered => (recovered.map_err(failed)?, true),
        };
        let opened = Arc::new(Opened {
            erased: Mutex::new(erased),
            doubtful: Mutex::default(),
            is_in_order: AtomicBool::new(is_in_order),
            _lock: lock,
        });
        *open = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// Confirms that the directory is still this facility; if not, it counts as closed and must be opened again.
    fn confirm(&self) -> Result<(), FacilityError> {
        match KIND.check(&*self.disk, &self.root, *self.id.as_uuid()) {
            Ok(_) => Ok(()),
            Err(IdentityError::Io(source)) => Err(FacilityError::Io {
                facility: self.id,
                act: format!("read its `{}`", KIND.file),
                source,
            }),
            Err(error) => {
                *held(&self.open) = None;
                Err(not_at(&self.root, error))
            }
        }
    }

    fn refuse_erased(&self, opened: &Opened, hash: &BlobHash) -> Result<(), FacilityError> {
        if held(&opened.erased).contains(hash) || held(&opened.doubtful).contains(hash) {
            return Err(FacilityError::Erased { facility: self.id, hash: *hash });
        }
        Ok(())
    }

    fn refuse_without_room(&self, bytes: u64) -> Result<(), FacilityError> {
        let space = self
            .disk
            .space(&self.root)
            .map_err(|error| self.failed("ask how much room there is", error))?;
        if space.read_only {
            return Err(FacilityError::ReadOnly { facility: self.id });
        }
        if space.free_bytes < RESERVE_BYTES.saturating_add(bytes) {
            return Err(FacilityError::Full { facility: self.id });
        }
        Ok(())
    }

    /// Reads a file. That it is not there is believed only after the directory has been confirmed.
    fn read(
        &self,
        path: &Path,
        act: impl FnOnce() -> String,
    ) -> Result<Option<Bytes>, FacilityError> {
        match self.disk.read(path) {
            Ok(bytes) => Ok(Some(Bytes::from(bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.confirm().map(|()| None),
            Err(error) => Err(self.failed(&act(), error)),
        }
    }

    /// Removes a temporary file that is not wanted; the next sweep takes it if this cannot.
    fn discard(&self, tmp: &Path) {
        if let Err(error) = self.disk.unlink(tmp) {
            tracing::debug!(path = %tmp.display(), %error, "a temporary file stays until the next sweep");
        }
    }

    /// What one shard holds. A directory that is not there holds nothing; whether the facility is there is asked after.
    fn list(&self, shard: u8) -> io::Result<Listing> {
        let mut listing = Listing::default();
        let objects = self.root.join("objects");
        let shard_name = format!("{shard:02x}");
        let stray = |path: String, name: &str| Stray { path, hash: name.parse().ok() };
        if shard == 0 {
            for entry in self.disk.list(&objects)? {
                if !(entry.is_dir && is_hex_pair(&entry.name)) {
                    self.list_strays(&objects, &entry.name, entry.is_dir, &mut listing.strays)?;
                }
            }
        }
        for middle in list_or_nothing(&*self.disk, &objects.join(&shard_name))? {
            let path = format!("{shard_name}/{}", middle.name);
            if !(middle.is_dir && is_hex_pair(&middle.name)) {
                self.list_strays(&objects, &path, middle.is_dir, &mut listing.strays)?;
                continue;
            }
            let prefix = format!("{shard_name}{}", middle.name);
            for leaf in list_or_nothing(&*self.disk, &objects.join(&path))? {
                let within = format!("{path}/{}", leaf.name);
                match leaf.name.parse() {
                    Ok(hash) if !leaf.is_dir && leaf.name.starts_with(&prefix) => {
                        listing.blobs.push(Listed { hash, bytes: leaf.bytes });
                    }
                    _ if leaf.is_dir => {
                        self.list_strays(&objects, &within, true, &mut listing.strays)?;
                    }
                    _ => listing.strays.push(stray(within, &leaf.name)),
                }
            }
        }
        listing.blobs.sort_unstable();
        listing.strays.sort_unstable();
        Ok(listing)
    }

    /// Every file at or under a path that has no place in the layout.
    fn list_strays(
        &self,
        objects: &Path,
        path: &str,
        is_dir: bool,
        strays: &mut Vec<Stray>,
    ) -> io::Result<()> {
        if !is_dir {
            let name = path.rsplit('/').next().unwrap_or(path);
            strays.push(Stray { path: path.to_owned(), hash: name.parse().ok() });
            return Ok(());
        }
        for entry in list_or_nothing(&*self.disk, &objects.join(path))? {
            self.list_strays(objects, &format!("{path}/{}", entry.name), entry.is_dir, strays)?;
        }
        Ok(())
    }

    fn status(&self, state: FacilityState, why: Option<String>) -> FacilityStatus {
        FacilityStatus {
            id: self.id,
            location: self.root.display().to_string(),
            state,
            why,
            blobs: 0,
            bytes: 0,
            quarantined: 0,
            free_bytes: None,
            behind: 0,
        }
    }

    /// Says what a disk's error means for this facility.
    fn failed(&self, act: &str, source: io::Error) -> FacilityError {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                FacilityError::Full { facility: self.id }
            }
            io::ErrorKind::ReadOnlyFilesystem => FacilityError::ReadOnly { facility: self.id },
            io::ErrorKind::NotFound => match self.confirm() {
                Err(missing) => missing,
                Ok(()) => FacilityError::Io { facility: self.id, act: act.to_owned(), source },
            },
            _ => FacilityError::Io { facility: self.id, act: act.to_owned(), source },
        }
    }
}

fn not_at(root: &Path, error: IdentityError) -> FacilityError {
    FacilityError::Missing { location: root.display().to_string(), why: error.in_words() }
}

pub(crate) fn is_hex_pair(name: &str) -> bool {
    name.len() == 2 && name.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}

fn list_or_nothing(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<crate::disk::Entry>> {
    match disk.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed,
    }
}

#[cfg(test)]
mod tests;
