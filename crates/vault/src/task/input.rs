//! A dataset that was released to this vault: only what its signed manifest lists opens, and only as listed.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use api::{ClaimedInput, DatasetId, Digest, ObjectRef, SealedObject};
use dataset::OpenDataset;
use proof::{Card, FileEntry, Hasher, Index, Manifest, digest_of, open_statement};
use seal::recipient::RecipientSecret;
use zeroize::Zeroizing;

use super::TaskError;
use super::hub::SharedHub;

/// How much opened plaintext one input keeps at hand. A run has some 300 cycle files in progress at once, whose pieces lie
/// in some 300 objects of up to 8 MiB; less than a few of them at a time would fetch each again and again.
const KEPT_BYTES: usize = 256 << 20;

/// An opened input.
pub(crate) struct Input {
    hub: SharedHub,
    open: OpenDataset,
    manifest: Manifest,
    manifest_digest: Digest,
    index: Index,
    objects: HashMap<ObjectRef, SealedObject>,
    kept: Mutex<Kept>,
}

/// A plaintext that is there, or on its way: whoever comes second waits at the inner lock and fetches nothing.
type Slot = Arc<Mutex<Option<Arc<Zeroizing<Vec<u8>>>>>>;

#[derive(Default)]
struct Kept {
    slots: HashMap<ObjectRef, Slot>,
    /// Least recently used first.
    order: VecDeque<ObjectRef>,
    bytes: usize,
}

impl Input {
    /// Opens what was claimed: the card, the released key, the manifest and the index must all speak of one dataset.
    pub(crate) fn open(
        hub: &SharedHub,
        claimed: &ClaimedInput,
        secret: &RecipientSecret,
    ) -> Result<Self, TaskError> {
        let dataset = claimed.release.dataset;
        let mismatch = |what| TaskError::Mismatch { dataset, what };
        Card::open(&claimed.card, claimed.release.project)
            .map_err(|source| TaskError::Card { dataset, source })?;
        if digest_of(&claimed.card) != claimed.release.card_digest {
            return Err(mismatch("the released key and the card"));
        }
        let open = OpenDataset::from_release(&claimed.release, secret)?;
        let (manifest, _writer) = open_statement::<Manifest>(&claimed.manifest)
            .map_err(|source| TaskError::Manifest { dataset, source })?;
        if manifest.dataset != dataset
            || manifest.project != open.project()
            || manifest.card != open.card_digest()
            || manifest.epoch != open.epoch()
        {
            return Err(mismatch("the manifest and the released key"));
        }
        let objects: HashMap<_, _> =
            hub.objects(dataset)?.into_iter().map(|o| (o.object, o)).collect();
        let mut sealed = Vec::with_capacity(manifest.index.len());
        for extent in &manifest.index {
            let object = objects
                .get(&extent.object)
                .ok_or_else(|| mismatch("the manifest and the list of objects"))?;
            sealed.push((object.clone(), hub.object(dataset, extent.object)?));
        }
        let index = dataset::open_index(&open, &manifest, &sealed)?;
        Ok(Self {
            hub: Arc::clone(hub),
            open,
            manifest_digest: digest_of(&claimed.manifest),
            manifest,
            index,
            objects,
            kept: Mutex::default(),
        })
    }

    /// Which dataset.
    pub(crate) const fn dataset(&self) -> DatasetId {
        self.open.dataset()
    }

    /// The opened dataset key and its place.
    pub(crate) const fn key(&self) -> &OpenDataset {
        &self.open
    }

    /// The manifest that was checked.
    pub(crate) const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Its digest.
    pub(crate) const fn manifest_digest(&self) -> Digest {
        self.manifest_digest
    }

    /// Its files.
    pub(crate) fn files(&self) -> &[FileEntry] {
        &self.index.files
    }

    /// Fills `into` from `offset` of the file at `path` on; fewer bytes only at its end.
    pub(crate) fn read_at(&self, path: &str, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let file = self.index.file(path).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("the run has no file {path}"))
        })?;
        let mut filled = 0;
        for slice in dataset::slices(file, offset, into.len() as u64) {
            let plaintext =
                self.plaintext(slice.object, slice.commitment).map_err(io::Error::other)?;
            let bytes = slice.of(&plaintext).map_err(io::Error::other)?;
            into[filled..filled + bytes.len()].copy_from_slice(bytes);
            filled += bytes.len();
        }
        Ok(filled)
    }

    /// Writes the whole file out, and checks that it has the SHA-256 that its writer signed.
    pub(crate) fn copy_to(
        &self,
        file: &FileEntry,
        out: &mut dyn io::Write,
    ) -> Result<(), TaskError> {
        let mut hasher = Hasher::new();
        for slice in dataset::slices(file, 0, u64::MAX) {
            let plaintext = self.plaintext(slice.object, slice.commitment)?;
            let bytes = slice.of(&plaintext)?;
            hasher.update(bytes);
            out.write_all(bytes)
                .map_err(|source| TaskError::Scratch { what: "an input", source })?;
        }
        if hasher.finish() == file.sha256 {
            Ok(())
        } else {
            Err(TaskError::Content { dataset: self.dataset(), path: file.path.clone() })
        }
    }

    /// A small file whole.
    pub(crate) fn read(&self, path: &str) -> Result<Option<Zeroizing<Vec<u8>>>, TaskError> {
        let Some(file) = self.index.file(path) else { return Ok(None) };
        let mut bytes = Zeroizing::new(Vec::new());
        self.copy_to(file, &mut *bytes)?;
        Ok(Some(bytes))
    }

    /// The plaintext of an object, fetched and opened once while it is kept.
    fn plaintext(
        &self,
        object: ObjectRef,
        commitment: Digest,
    ) -> Result<Arc<Zeroizing<Vec<u8>>>, TaskError> {
        let slot = self.kept.lock().unwrap_or_else(PoisonError::into_inner).slot(object);
        let mut place = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plaintext) = &*place {
            return Ok(Arc::clone(plaintext));
        }
        let dataset = self.dataset();
        let listed = self
            .objects
            .get(&object)
            .ok_or(TaskError::Mismatch { dataset, what: "the index and the list of objects" })?;
        let sealed = self.hub.object(dataset, object)?;
        let plaintext =
            Arc::new(Zeroizing::new(self.open.open_object(listed, &sealed, Some(commitment))?));
        *place = Some(Arc::clone(&plaintext));
        drop(place);
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).took(plaintext.len());
        Ok(plaintext)
    }
}

impl Kept {
    /// The slot of an object, now the most recently used.
    fn slot(&mut self, object: ObjectRef) -> Slot {
        if let Some(at) = self.order.iter().position(|o| *o == object) {
            self.order.remove(at);
        }
        self.order.push_back(object);
        Arc::clone(self.slots.entry(object).or_default())
    }

    /// Counts a plaintext that came, and lets the least recently used go while there are too many bytes.
    fn took(&mut self, bytes: usize) {
        self.bytes += bytes;
        while self.bytes > KEPT_BYTES && self.order.len() > 1 {
            let Some(oldest) = self.order.pop_front() else { return };
            if let Some(slot) = self.slots.remove(&oldest) {
                // A slot in use by another thread counts as empty: its plaintext goes when that thread is done.
                let held = slot.try_lock().ok().and_then(|s| s.as_ref().map(|p| p.len()));
                self.bytes = self.bytes.saturating_sub(held.unwrap_or(0));
            }
        }
    }
}
