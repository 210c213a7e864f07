//! The one thread per facility that makes things durable.
//!
//! Concurrent puts arrive with their bytes already written in `tmp/`. The writer takes whatever waits, and for all of it
//! together: syncs the files, renames them, syncs each directory once, answers. One order for puts and erasures also means
//! that a blob can never slip back in behind its own erasure.

use std::{
    collections::{BTreeSet, HashSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Weak, atomic::Ordering},
};

use tokio::sync::{
    mpsc::{self, error::TryRecvError},
    oneshot,
};
use uuid::Uuid;

use super::{KIND, Opened, Place, RESERVE_BYTES, list_or_nothing};
use crate::{
    blob::BlobHash,
    disk::{DiskFile, write_whole},
    facility::{FacilityError, FacilityState, FacilityStatus},
    held, tombstone,
};

/// The most requests that one round of syncs serves.
pub(super) const BATCH_REQUESTS: usize = 64;

/// From this many directories on, one sync of the whole file system is cheaper than one for each.
const DIRS_SYNCED_ONE_BY_ONE: usize = 64;

type Answer<T> = oneshot::Sender<Result<T, FacilityError>>;

pub(super) enum Request {
    Commit { hash: BlobHash, tmp: PathBuf, file: Box<dyn DiskFile>, answer: Answer<()> },
    Erase { hashes: Vec<BlobHash>, answer: Answer<()> },
    Discard { hashes: Vec<BlobHash>, answer: Answer<()> },
    Quarantine { path: PathBuf, name: String, answer: Answer<()> },
    Status { answer: Answer<FacilityStatus> },
}

struct Commit {
    hash: BlobHash,
    tmp: PathBuf,
    file: Box<dyn DiskFile>,
    answer: Answer<()>,
}

pub(super) struct Writer {
    place: Arc<Place>,
    waiting: mpsc::Receiver<Request>,
    counts: Counts,
    /// Directories whose last sync failed; every later round tries them again before it answers anyone.
    owed: BTreeSet<PathBuf>,
}

/// Blobs and bytes per shard, counted once per opening while nothing waits, then kept up to date by the only thread that
/// changes them.
struct Counts {
    /// The opening they belong to. Weak, because the opening holds the lock that the next one needs.
    of: Weak<Opened>,
    shards: Vec<Option<Count>>,
}

#[derive(Clone, Copy, Default)]
struct Count {
    blobs: u64,
    bytes: u64,
}

impl Writer {
    pub(super) fn new(place: Arc<Place>, waiting: mpsc::Receiver<Request>) -> Self {
        let counts = Counts { of: Weak::new(), shards: vec![None; 256] };
        Self { place, waiting, counts, owed: BTreeSet::new() }
    }

    /// Serves requests until nobody can send one.
    pub(super) fn run(mut self) {
        while let Some(first) = self.next() {
            let mut batch = vec![first];
            while batch.len() < BATCH_REQUESTS
                && let Ok(request) = self.waiting.try_recv()
            {
                batch.push(request);
            }
            self.serve(batch);
        }
    }

    /// The next request; while none waits, another shard is counted.
    fn next(&mut self) -> Option<Request> {
        loop {
            match self.waiting.try_recv() {
                Ok(request) => return Some(request),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => {}
            }
            let uncounted = self.counts.shards.iter().position(Option::is_none);
            let is_open = self.counts.of.strong_count() > 0;
            if !uncounted.is_some_and(|shard| is_open && self.count(shard).is_ok()) {
                return self.waiting.blocking_recv();
            }
        }
    }

    fn serve(&mut self, batch: Vec<Request>) {
        let mut batch = batch.into_iter().peekable();
        while let Some(request) = batch.next() {
            match request {
                Request::Commit { hash, tmp, file, answer } => {
                    let mut commits = vec![Commit { hash, tmp, file, answer }];
                    while let Some(Request::Commit { hash, tmp, file, answer }) =
                        batch.next_if(|next| matches!(next, Request::Commit { .. }))
                    {
                        commits.push(Commit { hash, tmp, file, answer });
                    }
                    self.commit(commits);
                }
                Request::Erase { mut hashes, answer } => {
                    let mut answers = vec![answer];
                    while let Some(Request::Erase { hashes: more, answer }) =
                        batch.next_if(|next| matches!(next, Request::Erase { .. }))
                    {
                        hashes.extend(more);
                        answers.push(answer);
                    }
                    // One act, so one outcome: who shares a failure is told the same.
                    let mut outcome = self.erase(&hashes);
                    for answer in answers {
                        let told = std::mem::replace(&mut outcome, Ok(()));
                        if let Err(error) = &told {
                            outcome = Err(self.again(error));
                        }
                        reply(answer, told);
                    }
                }
                Request::Discard { hashes, answer } => {
                    let done = self.ready().and_then(|_| {
                        self.remove(&hashes)
                            .map_err(|error| self.place.failed("take blobs away", error))
                    });
                    reply(answer, done);
                }
                Request::Quarantine { path, name, answer } => {
                    reply(answer, self.quarantine(&path, &name));
                }
                Request::Status { answer } => reply(answer, Ok(self.status())),
            }
        }
    }

    /// The directory, open and in order: fit to be written to.
    fn ready(&mut self) -> Result<Arc<Opened>, FacilityError> {
        let opened = self.found()?;
        if !opened.is_in_order.load(Ordering::SeqCst) {
            let recovered = self.place.recover();
            let erased =
                recovered.map_err(|error| self.place.failed("put itself in order", error))?;
            held(&opened.erased).extend(erased);
            opened.is_in_order.store(true, Ordering::SeqCst);
        }
        Ok(opened)
    }

    /// The directory, confirmed to be the right one and open.
    fn found(&mut self) -> Result<Arc<Opened>, FacilityError> {
        self.place.confirm()?;
        let opened = self.place.opened()?;
        if !Weak::ptr_eq(&self.counts.of, &Arc::downgrade(&opened)) {
            self.counts = Counts { of: Arc::downgrade(&opened), shards: vec![None; 256] };
            // Opening made everything durable that was there.
            self.owed.clear();
        }
        Ok(opened)
    }

    fn commit(&mut self, commits: Vec<Commit>) {
        let opened = match self.ready() {
            Ok(opened) => opened,
            Err(error) => {
                for commit in commits {
                    reply(commit.answer, Err(self.again(&error)));
                }
                return;
            }
        };
        // Files first, then names, then directories: a name must never be durable before its bytes.
        let mut synced = Vec::with_capacity(commits.len());
        for mut commit in commits {
            let done = self.place.refuse_erased(&opened, &commit.hash).and_then(|()| {
                commit.file.sync().map_err(|error| {
                    self.place.failed(&format!("sync blob {}", commit.hash), error)
                })
            });
            match done {
                Ok(()) => synced.push(commit),
                Err(error) => self.abandon(commit, error),
            }
        }
        let mut named = Vec::with_capacity(synced.len());
        let mut dirs = std::mem::take(&mut self.owed);
        for commit in synced {
            match self.name(&commit, &mut dirs) {
                Ok(()) => named.push(commit),
                Err(error) => {
                    let error = self.place.failed(&format!("name blob {}", commit.hash), error);
                    self.abandon(commit, error);
                }
            }
        }
        let unsynced = self.sync_dirs(&dirs);
        self.owed = unsynced.iter().map(|(dir, _)| dir.clone()).collect();
        for commit in named {
            let path = self.place.object(&commit.hash);
            let failed = path.ancestors().skip(1).find_map(|dir| {
                unsynced.iter().find(|(failed, _)| failed == dir).map(|(_, error)| error)
            });
            let outcome = match failed {
                None => Ok(()),
                Some(error) => Err(self.place.failed(
                    &format!("sync the directory of blob {}", commit.hash),
                    io::Error::new(error.kind(), error.to_string()),
                )),
            };
            reply(commit.answer, outcome);
        }
    }

    /// Gives a synced file its name and notes the directories whose names changed.
    fn name(&mut self, commit: &Commit, dirs: &mut BTreeSet<PathBuf>) -> io::Result<()> {
        let disk = &*self.place.disk;
        let path = self.place.object(&commit.hash);
        let before = disk.file_bytes(&path)?;
        let bytes = commit.file.bytes()?;
        if let Err(error) = disk.rename(&commit.tmp, &path) {
            if error.kind() != io::ErrorKind::NotFound {
                return Err(error);
            }
            let objects = self.place.root.join("objects");
            let leaf = path.parent().unwrap_or(&objects);
            let middle = leaf.parent().unwrap_or(&objects);
            for (dir, above) in [(middle, &*objects), (leaf, middle)] {
                match disk.create_dir(dir) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    made => made?,
                }
                dirs.insert(above.to_owned());
            }
            disk.rename(&commit.tmp, &path)?;
        }
        dirs.extend(path.parent().map(Path::to_owned));
        self.counts.change(&commit.hash, before, Some(bytes));
        Ok(())
    }

    fn abandon(&self, commit: Commit, error: FacilityError) {
        drop(commit.file);
        self.place.discard(&commit.tmp);
        reply(commit.answer, Err(error));
    }

    /// Syncs directories, and gives back those that could not be.
    fn sync_dirs(&self, dirs: &BTreeSet<PathBuf>) -> Vec<(PathBuf, io::Error)> {
        let disk = &*self.place.disk;
        dirs.iter()
            .filter_map(|dir| disk.sync_dir(dir).err().map(|error| (dir.clone(), error)))
            .collect()
    }

    fn erase(&mut self, hashes: &[BlobHash]) -> Result<(), FacilityError> {
        let opened = self.ready()?;
        let new: BTreeSet<BlobHash> = {
            let erased = held(&opened.erased);
            hashes.iter().filter(|hash| !erased.contains(*hash)).copied().collect()
        };
        // The tombstone first: from here on a crash ends with the blob gone, not with the blob back.
        if !new.is_empty() {
            if let Err(error) = self.place.write_tombstones(&new) {
                held(&opened.doubtful).extend(new);
                return Err(self.place.failed("write a tombstone", error));
            }
            held(&opened.erased).extend(new);
        }
        self.remove(hashes).map_err(|error| self.place.failed("take erased blobs away", error))
    }

    /// Takes the files of erased blobs away, quarantined copies too.
    fn remove(&mut self, hashes: &[BlobHash]) -> io::Result<()> {
        let mut dirs = BTreeSet::new();
        for hash in hashes {
            let path = self.place.object(hash);
            if let Some(bytes) = self.place.unlink_if_there(&path)? {
                self.counts.change(hash, Some(bytes), None);
                dirs.extend(path.parent().map(Path::to_owned));
            }
        }
        let names: HashSet<String> = hashes.iter().map(BlobHash::to_string).collect();
        self.place.remove_quarantined(&names, &mut dirs)?;
        let disk = &*self.place.disk;
        if dirs.len() > DIRS_SYNCED_ONE_BY_ONE {
            return disk.sync_all(&self.place.root);
        }
        dirs.iter().try_for_each(|dir| disk.sync_dir(dir))
    }

    fn quarantine(&mut self, path: &Path, name: &str) -> Result<(), FacilityError> {
        self.ready()?;
        let disk = &*self.place.disk;
        let moved = (|| {
            let Some(bytes) = disk.file_bytes(path)? else { return Ok(()) };
            let aside = self.place.root.join("quarantine");
            disk.rename(path, &aside.join(format!("{name}.{}", Uuid::now_v7())))?;
            if let Ok(hash) = name.parse::<BlobHash>()
                && self.place.object(&hash) == path
            {
                self.counts.change(&hash, Some(bytes), None);
            }
            disk.sync_dir(&aside)?;
            path.parent().map_or(Ok(()), |dir| disk.sync_dir(dir))
        })();
        moved.map_err(|error| self.place.failed(&format!("quarantine {}", path.display()), error))
    }

    fn status(&mut self) -> FacilityStatus {
        if let Err(error) = self.found() {
            return self.place.status(FacilityState::Missing, Some(error.to_string()));
        }
        let figures = (|| {
            for shard in 0..256 {
                if self.counts.shards[shard].is_none() {
                    self.count(shard)?;
                }
            }
            let disk = &*self.place.disk;
            let quarantined = disk.list(&self.place.root.join("quarantine"))?.len() as u64;
            Ok::<_, io::Error>((disk.space(&self.place.root)?, quarantined))
        })();
        let (space, quarantined) = match figures {
            Ok(figures) => figures,
            Err(error) => {
                let why = format!("its contents cannot be listed: {error}");
                return self.place.status(FacilityState::Missing, Some(why));
            }
        };
        let (state, why) = if space.read_only {
            (FacilityState::ReadOnly, Some("its file system is mounted read-only".to_owned()))
        } else if space.free_bytes < RESERVE_BYTES {
            let free = space.free_bytes / (1024 * 1024);
            (FacilityState::Full, Some(format!("{free} MiB are free, and 64 are kept back")))
        } else {
            (FacilityState::Healthy, None)
        };
        let total = self.counts.total();
        FacilityStatus {
            blobs: total.blobs,
            bytes: total.bytes,
            quarantined,
            free_bytes: Some(space.free_bytes),
            ..self.place.status(state, why)
        }
    }

    fn count(&mut self, shard: usize) -> io::Result<()> {
        let listed = self.place.list(u8::try_from(shard).unwrap_or(u8::MAX))?;
        let mut count = Count::default();
        for blob in &listed.blobs {
            count.blobs += 1;
            count.bytes += blob.bytes;
        }
        self.counts.shards[shard] = Some(count);
        Ok(())
    }

    /// The same refusal for another caller. An `io::Error` cannot be copied; its kind and words can.
    fn again(&self, error: &FacilityError) -> FacilityError {
        match error {
            FacilityError::Missing { location, why } => {
                FacilityError::Missing { location: location.clone(), why: why.clone() }
            }
            FacilityError::Full { facility } => FacilityError::Full { facility: *facility },
            FacilityError::ReadOnly { facility } => FacilityError::ReadOnly { facility: *facility },
            FacilityError::Erased { facility, hash } => {
                FacilityError::Erased { facility: *facility, hash: *hash }
            }
            FacilityError::Io { facility, act, source } => FacilityError::Io {
                facility: *facility,
                act: act.clone(),
                source: io::Error::new(source.kind(), source.to_string()),
            },
            FacilityError::Closed { facility } => FacilityError::Closed { facility: *facility },
        }
    }
}

impl Counts {
    /// Notes that a name went from one size, or none, to another. A shard not counted yet will see it when it is.
    fn change(&mut self, hash: &BlobHash, before: Option<u64>, after: Option<u64>) {
        if let Some(count) = &mut self.shards[usize::from(hash.shard())] {
            count.blobs = (count.blobs + u64::from(after.is_some()))
                .saturating_sub(u64::from(before.is_some()));
            count.bytes = (count.bytes + after.unwrap_or(0)).saturating_sub(before.unwrap_or(0));
        }
    }

    fn total(&self) -> Count {
        self.shards.iter().flatten().fold(Count::default(), |sum, shard| Count {
            blobs: sum.blobs + shard.blobs,
            bytes: sum.bytes + shard.bytes,
        })
    }
}

impl Place {
    /// Brings a directory that was just found into order: what was half written goes, and what was erased is gone.
    pub(super) fn recover(&self) -> io::Result<HashSet<BlobHash>> {
        let disk = &*self.disk;
        for folder in KIND.folders {
            match disk.create_dir(&self.root.join(folder)) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => {
                    made?;
                    tracing::warn!(facility = %self.id, folder, "a folder of the facility was gone");
                    disk.sync_dir(&self.root)?;
                }
            }
        }
        let tmp = self.root.join("tmp");
        for entry in disk.list(&tmp)? {
            if !entry.is_dir {
                disk.unlink(&tmp.join(entry.name))?;
            }
        }
        let erased = self.read_tombstones()?;
        let mut dirs = BTreeSet::new();
        for hash in &erased {
            let path = self.object(hash);
            if self.unlink_if_there(&path)?.is_some() {
                dirs.extend(path.parent().map(Path::to_owned));
            }
        }
        self.remove_quarantined(&erased.iter().map(BlobHash::to_string).collect(), &mut dirs)?;
        for dir in dirs {
            disk.sync_dir(&dir)?;
        }
        // A killed process leaves names in the page cache that were never synced. From here on what is seen is durable.
        disk.sync_all(&self.root)?;
        Ok(erased)
    }

    fn unlink_if_there(&self, path: &Path) -> io::Result<Option<u64>> {
        let Some(bytes) = self.disk.file_bytes(path)? else { return Ok(None) };
        self.disk.unlink(path)?;
        Ok(Some(bytes))
    }

    /// Removes what was set aside under these names.
    fn remove_quarantined(
        &self,
        names: &HashSet<String>,
        dirs: &mut BTreeSet<PathBuf>,
    ) -> io::Result<()> {
        let aside = self.root.join("quarantine");
        for entry in list_or_nothing(&*self.disk, &aside)? {
            if entry.name.split('.').next().is_some_and(|name| names.contains(name)) {
                self.disk.unlink(&aside.join(entry.name))?;
                dirs.insert(aside.clone());
            }
        }
        Ok(())
    }

    /// One file: magic, the names, and the SHA-256 of both (`spec/store.md` section 2.3).
    fn write_tombstones(&self, hashes: &BTreeSet<BlobHash>) -> io::Result<()> {
        let name = Uuid::now_v7().to_string();
        let path = self.root.join("tombstones").join(&name);
        write_whole(&*self.disk, &self.tmp(&name), &path, &tombstone::encode(hashes))
    }

    /// Every name on every tombstone.
    pub(super) fn read_tombstones(&self) -> io::Result<HashSet<BlobHash>> {
        let mut erased = HashSet::new();
        let dir = self.root.join("tombstones");
        for entry in self.disk.list(&dir)? {
            if entry.is_dir {
                continue;
            }
            let path = dir.join(entry.name);
            let bytes = self.disk.read(&path)?;
            let (names, whole) = tombstone::decode(&bytes);
            if !whole {
                tracing::warn!(facility = %self.id, path = %path.display(), "a tombstone is damaged");
            }
            erased.extend(names);
        }
        Ok(erased)
    }
}

/// Answers, unless the caller has gone.
fn reply<T>(answer: Answer<T>, outcome: Result<T, FacilityError>) {
    if answer.send(outcome).is_err() {
        tracing::trace!("nobody waits for this answer any more");
    }
}
