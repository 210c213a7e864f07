//! Files become sealed objects: small ones share a pack, large ones are cut over several.

use std::collections::HashMap;

use api::{Digest, ObjectRef};
use proof::{Extent, FileEntry, Hasher, ObjectSet, sha256};
use seal::{DataKey, ObjectId, PREFIX_BYTES, Plaintext, SegmentKey};
use serde::{Deserialize, Serialize};

use crate::{DatasetError, OpenDataset};

/// Collects the bytes of files into packs and remembers where each file's bytes lie.
#[derive(Debug)]
pub struct Packer {
    pack_bytes: usize,
    filling: Option<Pack>,
    open: HashMap<OpenFile, Current>,
    opened: u64,
    closed: Vec<FileEntry>,
    /// Where each pack's plaintext lies sealed, and under which commitment: nothing until it does.
    places: HashMap<ObjectRef, Option<(ObjectRef, Digest)>>,
    objects: ObjectSet,
}

/// A file that takes bytes: several may at once, and each write goes into the pack that is being filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OpenFile(u64);

#[derive(Debug)]
struct Current {
    path: String,
    bytes: u64,
    hasher: Hasher,
    extents: Vec<Extent>,
}

/// The plaintext of an object that is full: seal it, on any thread.
pub struct Pack {
    object: ObjectId,
    plaintext: Plaintext,
}

impl std::fmt::Debug for Pack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pack({}, {} bytes)", self.object, self.plaintext.len())
    }
}

/// A sealed object, ready to send and, until it is acknowledged, to send again as it is.
#[derive(Debug, Clone)]
pub struct SealedPart {
    /// Its id.
    pub object: ObjectRef,
    /// The SHA-256 of `sealed`.
    pub hash: Digest,
    /// Its commitment, for the index.
    pub commitment: Digest,
    /// Its data key under the dataset key.
    pub wrapped_key: [u8; 60],
    /// The bytes to send.
    pub sealed: Vec<u8>,
}

/// What the index and the manifest need to know of a sealed object once its bytes are sent and let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedFact {
    /// Its id.
    pub object: ObjectRef,
    /// The SHA-256 of its sealed bytes.
    pub hash: Digest,
    /// Its commitment.
    pub commitment: Digest,
    /// The number of its sealed bytes.
    pub sealed_bytes: u64,
}

impl From<&SealedPart> for SealedFact {
    fn from(part: &SealedPart) -> Self {
        let SealedPart { object, hash, commitment, ref sealed, .. } = *part;
        Self { object, hash, commitment, sealed_bytes: sealed.len() as u64 }
    }
}

/// Seals plaintext that was packed elsewhere, into a buffer that the caller uses again: under a data key of its own, which
/// leaves here only wrapped. `object` is an id that no other object has.
pub fn seal_into(
    dataset: &OpenDataset,
    object: ObjectId,
    plaintext: &[u8],
    sealed: &mut Vec<u8>,
) -> Result<(SealedFact, [u8; 60]), DatasetError> {
    let key = DataKey::generate()?;
    let commitment = seal::seal_object_into(&key, object, plaintext, sealed)
        .map_err(|source| DatasetError::Seal { dataset: dataset.dataset(), source })?;
    let object = ObjectRef(*object.as_bytes());
    let place = dataset.object_context(object, commitment, dataset.epoch());
    let wrapped_key = seal::wrap::wrap_data_key(dataset.key(), &place, &key)
        .map_err(|source| DatasetError::ObjectKey { dataset: dataset.dataset(), object, source })?;
    let fact = SealedFact {
        object,
        hash: sha256(sealed),
        commitment: Digest(*commitment.as_bytes()),
        sealed_bytes: sealed.len() as u64,
    };
    Ok((fact, wrapped_key))
}

/// An object that is about to be sealed elsewhere, by whoever has a cipher of their own: what it begins with, and what seals its segments.
#[derive(Debug)]
pub struct NewObject {
    /// Its id.
    pub object: ObjectRef,
    /// Its first bytes.
    pub prefix: [u8; PREFIX_BYTES],
    /// Its commitment, for the index.
    pub commitment: Digest,
    /// Its data key under the dataset key.
    pub wrapped_key: [u8; 60],
    /// Seals its segments, each once.
    pub segments: SegmentKey,
}

impl NewObject {
    /// One object of the dataset, under a data key of its own, which leaves here only wrapped.
    pub fn create(dataset: &OpenDataset) -> Result<Self, DatasetError> {
        let (id, key) = (ObjectId::generate()?, DataKey::generate()?);
        let (prefix, commitment, segments) = SegmentKey::create(&key, id)?;
        let object = ObjectRef(*id.as_bytes());
        let place = dataset.object_context(object, commitment, dataset.epoch());
        let wrapped_key =
            seal::wrap::wrap_data_key(dataset.key(), &place, &key).map_err(|source| {
                DatasetError::ObjectKey { dataset: dataset.dataset(), object, source }
            })?;
        let commitment = Digest(*commitment.as_bytes());
        Ok(Self { object, prefix, commitment, wrapped_key, segments })
    }
}

impl Pack {
    /// Seals the pack under a data key of its own, which leaves here only wrapped.
    pub fn seal(self, dataset: &OpenDataset) -> Result<SealedPart, DatasetError> {
        let mut sealed = Vec::new();
        let (fact, wrapped_key) = seal_into(dataset, self.object, &self.plaintext, &mut sealed)?;
        let SealedFact { object, hash, commitment, .. } = fact;
        Ok(SealedPart { object, hash, commitment, wrapped_key, sealed })
    }

    /// The object that it becomes.
    pub const fn object(&self) -> ObjectRef {
        ObjectRef(*self.object.as_bytes())
    }

    /// The SHA-256 of its plaintext.
    pub fn sha256(&self) -> Digest {
        sha256(&self.plaintext)
    }

    /// How many plaintext bytes.
    pub fn len(&self) -> usize {
        self.plaintext.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.plaintext.is_empty()
    }
}

impl Packer {
    /// A packer whose packs hold `pack_bytes` at most.
    pub fn new(pack_bytes: usize) -> Self {
        assert!(pack_bytes > 0, "a pack of no bytes would never fill");
        Self {
            pack_bytes,
            filling: None,
            open: HashMap::new(),
            opened: 0,
            closed: Vec::new(),
            places: HashMap::new(),
            objects: ObjectSet::default(),
        }
    }

    /// Opens a file.
    pub fn begin(&mut self, path: &str) -> OpenFile {
        let file = OpenFile(self.opened);
        self.opened += 1;
        let path = path.to_owned();
        self.open
            .insert(file, Current { path, bytes: 0, hasher: Hasher::new(), extents: Vec::new() });
        file
    }

    /// Takes the next bytes of an open file and gives the packs that became full.
    ///
    /// Bytes of one file that come in one piece lie in one piece: who writes several files in turn does so in large pieces.
    pub fn write(&mut self, file: OpenFile, mut bytes: &[u8]) -> Result<Vec<Pack>, DatasetError> {
        let current = self
            .open
            .get_mut(&file)
            .expect("bytes belong to an open file: a closed one takes none");
        current.hasher.update(bytes);
        current.bytes += bytes.len() as u64;
        let mut full = Vec::new();
        while !bytes.is_empty() {
            let pack = match &mut self.filling {
                Some(pack) => pack,
                empty => empty.insert(Pack {
                    object: ObjectId::generate()?,
                    plaintext: Plaintext::with_capacity(self.pack_bytes),
                }),
            };
            let take = bytes.len().min(self.pack_bytes - pack.plaintext.len());
            let object = ObjectRef(*pack.object.as_bytes());
            let offset = pack.plaintext.len() as u64;
            match current.extents.last_mut() {
                Some(last) if last.object == object => last.bytes += take as u64,
                _ => current.extents.push(Extent {
                    object,
                    commitment: Digest([0; 32]),
                    offset,
                    bytes: take as u64,
                }),
            }
            self.places.entry(object).or_insert(None);
            pack.plaintext.extend_from_slice(&bytes[..take]);
            bytes = &bytes[take..];
            if pack.plaintext.len() == self.pack_bytes {
                full.extend(self.filling.take());
            }
        }
        Ok(full)
    }

    /// Closes a file: the SHA-256 of its content and its length.
    pub fn end(&mut self, file: OpenFile) -> (Digest, u64) {
        let Current { path, bytes, hasher, extents } =
            self.open.remove(&file).expect("a file is closed once: it is not open any more");
        let sha256 = hasher.finish();
        self.closed.push(FileEntry { path, bytes, sha256, extents });
        (sha256, bytes)
    }

    /// Forgets an open file, as when it changed while it was read; bytes of it that lie in packs are listed nowhere.
    pub fn forget(&mut self, file: OpenFile) {
        self.open.remove(&file);
    }

    /// Whether a pack is being filled, and with how many bytes.
    pub fn filling_bytes(&self) -> usize {
        self.filling.as_ref().map_or(0, Pack::len)
    }

    /// The pack that is not full yet: at the end, or when nothing more comes for a while.
    pub fn flush(&mut self) -> Option<Pack> {
        self.filling.take()
    }

    /// Records what sealing a pack gave.
    pub fn sealed(&mut self, part: impl Into<SealedFact>) {
        let fact = part.into();
        self.sealed_before(fact.object, fact);
    }

    /// Records that the plaintext of `pack` lies in another object, which was sealed and sent before: byte for byte the same,
    /// as the caller found by [`Pack::sha256`].
    pub fn sealed_before(&mut self, pack: ObjectRef, fact: SealedFact) {
        let SealedFact { object, hash, commitment, sealed_bytes } = fact;
        self.places.insert(pack, Some((object, commitment)));
        self.objects.insert(object, hash, sealed_bytes);
    }

    /// Every object that was sealed.
    pub const fn objects(&self) -> &ObjectSet {
        &self.objects
    }

    /// The closed files, each piece with its commitment, and the objects they lie in.
    pub fn finish(self) -> Result<(Vec<FileEntry>, ObjectSet), DatasetError> {
        let mut files = self.closed;
        for extent in files.iter_mut().flat_map(|f| &mut f.extents) {
            let place = self.places.get(&extent.object).copied().flatten();
            (extent.object, extent.commitment) =
                place.ok_or(DatasetError::Unsealed { object: extent.object })?;
        }
        Ok((files, self.objects))
    }
}
