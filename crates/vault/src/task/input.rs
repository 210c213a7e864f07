//! A dataset that was released to this vault: only what its signed manifest lists opens, and only as listed.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use api::{ClaimedInput, DatasetId, Digest, ObjectRef, SealedObject};
use dataset::{OpenDataset, Slice};
use proof::{FileEntry, Hasher, Index, Manifest, ProjectCard, digest_of, open_statement};
use seal::ObjectOpener;

use super::hub::SharedHub;
use super::{DatasetKeys, TaskError};

/// How much opened plaintext one input keeps at hand.
const KEPT_BYTES: usize = 256 << 20;
/// Segments that are fetched and opened at once of an input that does not fit into [`KEPT_BYTES`]: 256 KiB. A run has some 300
/// cycle files in progress at once, whose pieces lie in some 300 objects of up to 8 MiB. Kept whole they would take 2.5 GB; kept in
/// part, each would be fetched and opened again for every piece. Pieces of this size are all kept until they are used up.
const PIECE_SEGMENTS: u64 = 4;
const PIECE_BYTES: u64 = PIECE_SEGMENTS * seal::SEGMENT_BYTES as u64;

/// An opened input.
pub(crate) struct Input {
    hub: SharedHub,
    open: OpenDataset,
    manifest: Manifest,
    manifest_digest: Digest,
    index: Index,
    objects: HashMap<ObjectRef, SealedObject>,
    /// Whether objects are opened piece by piece rather than whole.
    pub(super) by_piece: bool,
    openers: Mutex<HashMap<ObjectRef, Arc<ObjectOpener>>>,
    kept: Mutex<Kept>,
}

/// What is kept of an object: all of it, or one piece.
type Part = (ObjectRef, Option<u64>);

/// Opened bytes.
type Plaintext = Arc<seal::Plaintext>;
/// A plaintext that is there, or on its way: whoever comes second waits at the inner lock and fetches nothing.
type Slot = Arc<Mutex<Option<Plaintext>>>;

#[derive(Default)]
struct Kept {
    slots: HashMap<Part, Slot>,
    /// When each was last used, and which that was: the least recently used first.
    used: HashMap<Part, u64>,
    order: BTreeMap<u64, Part>,
    clock: u64,
    bytes: usize,
}

impl Input {
    /// Opens what was claimed: the card, the released key, the manifest and the index must all speak of one dataset.
    pub(crate) fn open(
        hub: &SharedHub,
        claimed: &ClaimedInput,
        keys: &DatasetKeys<'_>,
    ) -> Result<Self, TaskError> {
        let place = claimed.key.place();
        let dataset = place.dataset;
        let mismatch = |what| TaskError::Mismatch { dataset, what };
        ProjectCard::open(&claimed.card, place.project)
            .map_err(|source| TaskError::Card { dataset, source })?;
        if digest_of(&claimed.card) != place.card_digest {
            return Err(mismatch("the released key and the card"));
        }
        let open = keys.open(&claimed.key)?;
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
            by_piece: index.files.iter().map(|file| file.bytes).sum::<u64>() > KEPT_BYTES as u64,
            index,
            objects,
            openers: Mutex::default(),
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

    /// One of its files.
    pub(crate) fn file(&self, path: &str) -> Option<&FileEntry> {
        self.index.file(path)
    }

    /// Fills `into` from `offset` of the file at `path` on; fewer bytes only at its end.
    pub(crate) fn read_at(&self, path: &str, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let file = self.index.file(path).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("the run has no file {path}"))
        })?;
        let mut filled = 0;
        for slice in dataset::slices(file, offset, into.len() as u64) {
            let length = usize::try_from(slice.bytes).map_err(io::Error::other)?;
            let into = &mut into[filled..filled + length];
            match self.by_piece {
                true => self.read_pieces(&slice, into).map_err(io::Error::other)?,
                false => {
                    let plaintext =
                        self.plaintext(slice.object, slice.commitment).map_err(io::Error::other)?;
                    into.copy_from_slice(slice.of(&plaintext).map_err(io::Error::other)?);
                }
            }
            filled += length;
        }
        Ok(filled)
    }

    /// Fills `into` with a slice, from pieces of its object.
    fn read_pieces(&self, slice: &Slice, into: &mut [u8]) -> Result<(), TaskError> {
        let mut filled = 0;
        while filled < into.len() {
            let at = slice.offset + filled as u64;
            let piece = self.piece(slice.object, slice.commitment, at / PIECE_BYTES)?;
            let inside = usize::try_from(at % PIECE_BYTES).expect("a piece is short");
            let bytes = piece.get(inside..).unwrap_or(&[]);
            let taken = bytes.len().min(into.len() - filled);
            if taken == 0 {
                return Err(dataset::DatasetError::Extent { object: slice.object }.into());
            }
            into[filled..filled + taken].copy_from_slice(&bytes[..taken]);
            filled += taken;
        }
        Ok(())
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
    pub(crate) fn read(&self, path: &str) -> Result<Option<seal::Plaintext>, TaskError> {
        let Some(file) = self.index.file(path) else { return Ok(None) };
        let mut bytes = seal::Plaintext::default();
        self.copy_to(file, &mut *bytes)?;
        Ok(Some(bytes))
    }

    /// The plaintext of an object, fetched and opened once while it is kept.
    fn plaintext(&self, object: ObjectRef, commitment: Digest) -> Result<Plaintext, TaskError> {
        self.part((object, None), || {
            let sealed = self.hub.object(self.dataset(), object)?;
            Ok(self.open.open_object(self.listed(object)?, &sealed, Some(commitment))?)
        })
    }

    /// A piece of an object's plaintext, fetched and opened once while it is kept.
    fn piece(
        &self,
        object: ObjectRef,
        commitment: Digest,
        number: u64,
    ) -> Result<Plaintext, TaskError> {
        self.part((object, Some(number)), || {
            let opener = self.opener(object, commitment)?;
            let segments = number * PIECE_SEGMENTS..(number + 1) * PIECE_SEGMENTS;
            let segments = segments.start..segments.end.min(opener.segments());
            if segments.is_empty() {
                return Err(dataset::DatasetError::Extent { object }.into());
            }
            let first = opener.segment_range(segments.start).start;
            let last = opener.segment_range(segments.end - 1).end;
            let sealed = self.hub.object_range(self.dataset(), object, first..last)?;
            Ok(self.open.open_segments(&opener, object, segments, &sealed)?)
        })
    }

    /// What opens the segments of an object.
    fn opener(
        &self,
        object: ObjectRef,
        commitment: Digest,
    ) -> Result<Arc<ObjectOpener>, TaskError> {
        let known = || self.openers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(opener) = known().get(&object) {
            // Every extent of an object has the commitment that its opener was held against.
            return match opener.commitment().as_bytes() == &commitment.0 {
                true => Ok(Arc::clone(opener)),
                false => {
                    Err(dataset::DatasetError::Commitment { dataset: self.dataset(), object }
                        .into())
                }
            };
        }
        let prefix = 0..seal::PREFIX_BYTES as u64;
        let prefix = self.hub.object_range(self.dataset(), object, prefix)?;
        let opener = Arc::new(self.open.opener(self.listed(object)?, &prefix, commitment)?);
        known().insert(object, Arc::clone(&opener));
        Ok(opener)
    }

    fn listed(&self, object: ObjectRef) -> Result<&SealedObject, TaskError> {
        let what = "the index and the list of objects";
        let mismatch = || TaskError::Mismatch { dataset: self.dataset(), what };
        self.objects.get(&object).ok_or_else(mismatch)
    }

    /// A part of an object that is kept, or made now; whoever asks for the same meanwhile waits.
    fn part(
        &self,
        part: Part,
        make: impl FnOnce() -> Result<Vec<u8>, TaskError>,
    ) -> Result<Plaintext, TaskError> {
        let slot = self.kept.lock().unwrap_or_else(PoisonError::into_inner).slot(part);
        let mut place = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plaintext) = &*place {
            return Ok(Arc::clone(plaintext));
        }
        let plaintext = Arc::new(seal::Plaintext::from(make()?));
        *place = Some(Arc::clone(&plaintext));
        drop(place);
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).took(plaintext.len());
        Ok(plaintext)
    }
}

impl Kept {
    /// The slot of a part, now the most recently used.
    fn slot(&mut self, part: Part) -> Slot {
        self.clock += 1;
        if let Some(before) = self.used.insert(part, self.clock) {
            self.order.remove(&before);
        }
        self.order.insert(self.clock, part);
        Arc::clone(self.slots.entry(part).or_default())
    }

    /// Counts a plaintext that came, and lets the least recently used go while there are too many bytes.
    fn took(&mut self, bytes: usize) {
        self.bytes += bytes;
        while self.bytes > KEPT_BYTES && self.order.len() > 1 {
            let Some((_, oldest)) = self.order.pop_first() else { return };
            self.used.remove(&oldest);
            if let Some(slot) = self.slots.remove(&oldest) {
                // A slot in use by another thread counts as empty: its plaintext goes when that thread is done.
                let held = slot.try_lock().ok().and_then(|s| s.as_ref().map(|p| p.len()));
                self.bytes = self.bytes.saturating_sub(held.unwrap_or(0));
            }
        }
    }
}
