//! One of the two places of a key store: files that can be read, added to, replaced and destroyed.
//!
//! ```text
//! keystore.json            who this is, and which key store it belongs to
//! datasets/<id>.keys       the wrapped keys of one dataset
//! destroyed/<id>           an empty file: these keys were destroyed and must not come back
//! tmp/                     what is being written, or was just replaced; overwritten and removed at every opening
//! ```

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use data_encoding::HEXLOWER;
use uuid::Uuid;

use super::DatasetId;
use crate::{
    disk::Disk,
    identity::{Identity, IdentityError, Kind},
};

pub(super) const KIND: Kind = Kind {
    file: "keystore.json",
    format: "chorion.keystore/1",
    folders: &["datasets", "destroyed", "tmp"],
};

static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
/// Up to so many files are replaced one by one, with syncs of their own, and more than that with syncs of the file system.
const FEW: usize = 64;

pub(super) struct Place {
    pub(super) root: PathBuf,
    disk: Arc<dyn Disk>,
    lock: Option<Box<dyn Send + Sync>>,
    destroyed: HashSet<DatasetId>,
    /// A replacement failed halfway and left keys in `tmp/`, old ones or new.
    has_leftovers: AtomicBool,
}

impl Place {
    pub(super) fn new(disk: Arc<dyn Disk>, root: PathBuf) -> Self {
        let has_leftovers = AtomicBool::new(false);
        Self { root, disk, lock: None, destroyed: HashSet::new(), has_leftovers }
    }

    pub(super) fn identity(&self) -> Result<Identity, IdentityError> {
        KIND.read(&*self.disk, &self.root)
    }

    pub(super) fn is_open(&self) -> bool {
        self.lock.is_some()
    }

    /// The place went away, or is no longer ours; it has to be opened again.
    pub(super) fn close(&mut self) {
        self.lock = None;
    }

    /// Confirms that this is a place of that key store, and puts it in order if it was not open or an act failed.
    pub(super) fn open(&mut self, store: Uuid) -> Result<(), IdentityError> {
        let found = self.identity()?;
        if found.store != Some(store) {
            let found = found.store.unwrap_or(found.id);
            return Err(IdentityError::Other { found, expected: store });
        }
        if self.lock.is_none() {
            let lock = KIND.lock(&*self.disk, &self.root)?;
            self.recover()?;
            self.lock = Some(lock);
        } else if self.has_leftovers.load(Ordering::Relaxed) {
            self.recover()?;
        }
        Ok(())
    }

    /// Destroys what an interrupted act left behind.
    fn recover(&mut self) -> io::Result<()> {
        // What a killed process left only in the page cache becomes durable first. Otherwise a power cut in the middle of
        // this could bring back the name of a file that was just overwritten because it had been exchanged for another.
        self.disk.sync_all(&self.root)?;
        let tmp = self.root.join("tmp");
        for entry in self.disk.list(&tmp)? {
            if !entry.is_dir {
                self.wipe(&tmp.join(entry.name))?;
            }
        }
        self.destroyed.clear();
        for entry in self.disk.list(&self.root.join("destroyed"))? {
            if let Some(dataset) = id_in(&entry.name) {
                self.destroyed.insert(dataset);
            }
        }
        for dataset in self.destroyed.clone() {
            self.wipe(&self.file(&dataset))?;
        }
        self.has_leftovers.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn file(&self, dataset: &DatasetId) -> PathBuf {
        self.root.join("datasets").join(format!("{}.keys", HEXLOWER.encode(dataset)))
    }

    fn tmp(&self) -> PathBuf {
        self.root.join("tmp").join(Uuid::now_v7().to_string())
    }

    /// Datasets that have a file here.
    pub(super) fn datasets(&self) -> io::Result<Vec<DatasetId>> {
        let entries = self.disk.list(&self.root.join("datasets"))?;
        Ok(entries.iter().filter_map(|entry| id_in(entry.name.strip_suffix(".keys")?)).collect())
    }

    pub(super) fn destroyed(&self) -> &HashSet<DatasetId> {
        &self.destroyed
    }

    /// The dataset's file, or nothing if there is none.
    pub(super) fn read(&self, dataset: &DatasetId) -> io::Result<Option<Vec<u8>>> {
        match self.disk.read(&self.file(dataset)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Adds bytes to files that have the expected lengths; first all bytes, then all syncs, so that the syncs are shared.
    pub(super) fn append(&self, files: &[(DatasetId, u64, &[u8])]) -> Vec<io::Result<()>> {
        let written: Vec<_> = files
            .iter()
            .map(|(dataset, expected, bytes)| {
                let mut file = self.disk.open_file(&self.file(dataset))?;
                let found = file.bytes()?;
                if found != *expected {
                    let why = format!("the file has {found} bytes where {expected} were left");
                    return Err(io::Error::new(io::ErrorKind::InvalidData, why));
                }
                file.append(bytes)?;
                Ok(file)
            })
            .collect();
        written.into_iter().map(|file| file.and_then(|mut file| file.sync())).collect()
    }

    /// Puts a whole new file in the place of the old one, of which no byte is left in any file.
    pub(super) fn replace(&self, dataset: &DatasetId, bytes: &[u8]) -> io::Result<()> {
        let replaced = self.replace_once(dataset, bytes);
        if replaced.is_err() {
            // Not wiped here: whether the exchange is durable is not known, and the sweep makes it so first.
            self.has_leftovers.store(true, Ordering::Relaxed);
        }
        replaced
    }

    fn replace_once(&self, dataset: &DatasetId, bytes: &[u8]) -> io::Result<()> {
        let (path, tmp) = (self.file(dataset), self.tmp());
        let (datasets, tmps) = (self.root.join("datasets"), self.root.join("tmp"));
        let disk = &*self.disk;
        let mut file = disk.create_file(&tmp)?;
        file.append(bytes)?;
        file.sync()?;
        drop(file);
        if disk.file_bytes(&path)?.is_none() {
            disk.rename(&tmp, &path)?;
            return disk.sync_dir(&datasets);
        }
        match disk.exchange(&tmp, &path) {
            // The old file now has the temporary name, and a crash from here on leaves it to the next opening's sweep.
            Ok(()) => {
                disk.sync_dir(&datasets)?;
                disk.sync_dir(&tmps)?;
                self.wipe(&tmp)
            }
            // A file system that cannot exchange: the old file is overwritten while it still has its reader, after its
            // name is gone. A crash between the two leaves its bytes in free space, in no file.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                let mut old = disk.open_file(&path)?;
                disk.rename(&tmp, &path)?;
                disk.sync_dir(&datasets)?;
                overwrite(&mut *old)?;
                old.sync()
            }
            Err(error) => Err(error),
        }
    }

    /// The same for many files at once, whose syncs are shared: the file system is synced as a whole, once for what is written, once for
    /// the names, once for what is overwritten.
    pub(super) fn replace_many(&self, files: &[(DatasetId, &[u8])]) -> Vec<io::Result<()>> {
        if files.len() <= FEW {
            return files.iter().map(|(dataset, bytes)| self.replace(dataset, bytes)).collect();
        }
        let mut done = self.replace_together(files);
        if done.iter().any(Result::is_err) {
            self.has_leftovers.store(true, Ordering::Relaxed);
        }
        for (result, (dataset, bytes)) in done.iter_mut().zip(files) {
            if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Unsupported) {
                *result = self.replace(dataset, bytes);
            }
        }
        done
    }

    fn replace_together(&self, files: &[(DatasetId, &[u8])]) -> Vec<io::Result<()>> {
        let (disk, root) = (&*self.disk, &self.root);
        // Each act for all of them, then one sync for all; whoever failed takes no part in what follows.
        let mut states: Vec<io::Result<PathBuf>> = files
            .iter()
            .map(|(_, bytes)| {
                let tmp = self.tmp();
                disk.create_file(&tmp)?.append(bytes)?;
                Ok(tmp)
            })
            .collect();
        let sync = |states: &mut Vec<io::Result<PathBuf>>| {
            if let Err(error) = disk.sync_all(root) {
                for state in states.iter_mut().filter(|state| state.is_ok()) {
                    *state = Err(io::Error::new(error.kind(), error.to_string()));
                }
            }
        };
        let each = |states: &mut Vec<io::Result<PathBuf>>,
                    act: &dyn Fn(&DatasetId, &Path) -> io::Result<()>| {
            for (state, (dataset, _)) in states.iter_mut().zip(files) {
                if let Ok(tmp) = state
                    && let Err(error) = act(dataset, tmp)
                {
                    *state = Err(error);
                }
            }
        };
        sync(&mut states);
        each(&mut states, &|dataset, tmp| {
            let path = self.file(dataset);
            match disk.file_bytes(&path)? {
                None => disk.rename(tmp, &path),
                Some(_) => disk.exchange(tmp, &path),
            }
        });
        sync(&mut states);
        // The old files have the temporary names now, and a crash from here on leaves them to the next opening's sweep.
        let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        each(&mut states, &|_, tmp| match disk.open_file(tmp) {
            Ok(mut old) => overwrite(&mut *old),
            Err(error) if gone(&error) => Ok(()),
            Err(error) => Err(error),
        });
        sync(&mut states);
        each(&mut states, &|_, tmp| match disk.unlink(tmp) {
            Err(error) if !gone(&error) => Err(error),
            _ => Ok(()),
        });
        if let Err(error) = disk.sync_dir(&root.join("tmp")) {
            tracing::warn!(%error, "emptied files of wrapped keys may come back empty");
            self.has_leftovers.store(true, Ordering::Relaxed);
        }
        states.into_iter().map(|state| state.map(drop)).collect()
    }

    /// Remembers durably that this dataset's keys are destroyed.
    pub(super) fn mark_destroyed(&mut self, dataset: &DatasetId) -> io::Result<()> {
        if !self.destroyed.contains(dataset) {
            let dir = self.root.join("destroyed");
            match self.disk.create_file(&dir.join(HEXLOWER.encode(dataset))) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
            self.disk.sync_dir(&dir)?;
            self.destroyed.insert(*dataset);
        }
        Ok(())
    }

    /// Overwrites the dataset's file and takes it away.
    pub(super) fn destroy(&self, dataset: &DatasetId) -> io::Result<()> {
        self.wipe(&self.file(dataset))
    }

    /// Overwrites a file with zeros, syncs, takes its name away and syncs that. Nothing happens where there is none.
    fn wipe(&self, path: &Path) -> io::Result<()> {
        let mut file = match self.disk.open_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened?,
        };
        overwrite(&mut *file)?;
        file.sync()?;
        self.disk.unlink(path)?;
        path.parent().map_or(Ok(()), |dir| self.disk.sync_dir(dir))
    }
}

/// Writes zeros over a file; the caller syncs.
fn overwrite(file: &mut dyn crate::disk::DiskFile) -> io::Result<()> {
    let bytes = file.bytes()?;
    let mut at = 0;
    while at < bytes {
        let step = (bytes - at).min(ZEROS.len() as u64);
        file.overwrite(at, &ZEROS[..usize::try_from(step).unwrap_or(ZEROS.len())])?;
        at += step;
    }
    Ok(())
}

pub(super) fn id_in(name: &str) -> Option<DatasetId> {
    HEXLOWER.decode(name.as_bytes()).ok()?.try_into().ok()
}
