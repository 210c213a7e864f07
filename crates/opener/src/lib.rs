//! A dataset as a page of the website opens it (`docs/decisions/0028`).
//!
//! Its key is released to a recipient that lives as long as the page's worker, its manifest is verified, and what leaves this crate is a
//! list of files and, object by object, what opens segments. It is the command line's download without its I/O and without a cipher for
//! bulk bytes: those are the browser's own AES-256-GCM (`spec/sealed-object.md` section 5). `browser` is the worker's side of it, and is
//! compiled for WASM alone.

#[cfg(target_arch = "wasm32")]
mod browser;

use api::{DatasetId, Digest, ObjectRef, Release, SealedObject, SignedStatement};
use dataset::{DatasetError, OpenDataset};
use proof::{FileEntry, Manifest, StatementError, open_statement};
use seal::SegmentKey;
use seal::recipient::RecipientSecret;

/// Why a dataset does not open in a page.
#[derive(Debug, thiserror::Error)]
pub enum OpenerError {
    /// Key, list of files or object.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The manifest is none, or nobody signed it.
    #[error("the manifest of dataset {dataset} does not hold")]
    Manifest {
        /// The dataset.
        dataset: DatasetId,
        /// Why.
        source: StatementError,
    },
    /// The manifest is of another dataset, hub, project or key.
    #[error("the manifest of dataset {dataset} speaks of something else")]
    Other {
        /// The dataset.
        dataset: DatasetId,
    },
}

/// A dataset whose key was released to this page and whose manifest was verified.
#[derive(Debug)]
pub struct Contents {
    open: OpenDataset,
    manifest: Manifest,
    index: Vec<(SealedObject, Vec<u8>)>,
}

impl Contents {
    /// Opens `dataset` of `hub`: the key with `secret`, the manifest by the key that signed it.
    ///
    /// # Errors
    /// The key opens nothing here, or the manifest does not speak of this dataset under this key.
    pub fn open(
        hub: &str,
        dataset: DatasetId,
        release: &Release,
        secret: &RecipientSecret,
        manifest: &SignedStatement,
    ) -> Result<Self, OpenerError> {
        let open = OpenDataset::from_release(release, secret)?;
        let (manifest, _writer) = open_statement::<Manifest>(manifest)
            .map_err(|source| OpenerError::Manifest { dataset, source })?;
        let same = open.dataset() == dataset
            && manifest.hub == hub
            && manifest.dataset == dataset
            && manifest.project == open.project()
            && manifest.card == open.card_digest()
            && manifest.epoch == open.epoch();
        if same {
            Ok(Self { open, manifest, index: Vec::new() })
        } else {
            Err(OpenerError::Other { dataset })
        }
    }

    /// The objects that hold the list of files, in their order.
    pub fn index_objects(&self) -> impl Iterator<Item = ObjectRef> {
        self.manifest.index.iter().map(|extent| extent.object)
    }

    /// Takes one of them, with its bytes.
    pub fn take_index(&mut self, object: SealedObject, sealed: Vec<u8>) {
        self.index.push((object, sealed));
    }

    /// The list of files.
    ///
    /// # Errors
    /// It is not the one that the manifest names.
    pub fn files(&self) -> Result<Vec<FileEntry>, OpenerError> {
        Ok(dataset::open_index(&self.open, &self.manifest, &self.index)?.files)
    }

    /// What opens the segments of an object that begins with `prefix`.
    ///
    /// # Errors
    /// It is not the object of that commitment, or its key does not open under the dataset's.
    pub fn segment_key(
        &self,
        object: &SealedObject,
        prefix: &[u8],
        commitment: Digest,
    ) -> Result<SegmentKey, OpenerError> {
        Ok(self.open.segment_key(object, prefix, commitment)?)
    }
}

#[cfg(test)]
mod tests {
    use api::{Bytes, ProjectId, Time};
    use dataset::{Packer, SealedPart};
    use proof::{SigningKey, sha256, sign_statement};

    use super::*;

    struct Made {
        release: Release,
        secret: RecipientSecret,
        manifest: SignedStatement,
        parts: Vec<SealedPart>,
    }

    fn made(hub: &str, released: Option<&OpenDataset>) -> (OpenDataset, Made) {
        let (id, project) = (DatasetId::generate(), ProjectId::generate());
        let open = OpenDataset::create(id, project, Digest([7; 32])).unwrap();
        let mut packer = Packer::new(100_000);
        let file = packer.begin("reads.bam");
        let mut packs = packer.write(file, &[5; 250_000]).unwrap();
        packer.end(file);
        packs.extend(packer.flush());
        let mut parts = Vec::new();
        for pack in packs {
            let part = pack.seal(&open).unwrap();
            packer.sealed(&part);
            parts.push(part);
        }
        let (files, objects) = packer.finish().unwrap();
        let (manifest, index) =
            dataset::manifest(&open, hub, files, objects, 1, None, Time::UNIX_EPOCH).unwrap();
        parts.extend(index);
        let secret = RecipientSecret::generate().unwrap();
        let of = released.unwrap_or(&open);
        let release = Release {
            dataset: of.dataset(),
            project: of.project(),
            card_digest: of.card_digest(),
            epoch: of.epoch(),
            wrapped_key: of.wrap_to(&secret.public().to_bytes()).unwrap(),
            leaf: Some(1),
        };
        let manifest = sign_statement(&manifest, &SigningKey::from_seed(&[3; 32]));
        (open, Made { release, secret, manifest, parts })
    }

    fn object(part: &SealedPart) -> SealedObject {
        SealedObject {
            object: part.object,
            hash: part.hash,
            sealed_bytes: part.sealed.len() as u64,
            epoch: 0,
            wrapped_key: Bytes(part.wrapped_key.to_vec()),
        }
    }

    #[test]
    fn a_page_lists_files_and_gets_what_opens_their_segments() {
        let (open, Made { release, secret, manifest, parts }) = made("h", None);
        let mut contents =
            Contents::open("h", open.dataset(), &release, &secret, &manifest).unwrap();
        assert!(contents.files().is_err(), "the list is not here yet");
        let wanted: Vec<_> = contents.index_objects().collect();
        for part in parts.iter().filter(|part| wanted.contains(&part.object)) {
            contents.take_index(object(part), part.sealed.clone());
        }
        let files = contents.files().unwrap();
        assert_eq!((files.len(), files[0].bytes), (1, 250_000));
        assert_eq!(files[0].sha256, sha256(&[5; 250_000]));
        for extent in &files[0].extents {
            let part = parts.iter().find(|part| part.object == extent.object).unwrap();
            let (prefix, _) = part.sealed.split_at(128);
            assert!(contents.segment_key(&object(part), prefix, extent.commitment).is_ok());
            let other = Digest([9; 32]);
            assert!(contents.segment_key(&object(part), prefix, other).is_err());
        }
    }

    #[test]
    fn what_is_of_another_hub_dataset_key_or_writer_does_not_open() {
        let (open, good) = made("h", None);
        let id = open.dataset();
        let refused = |hub: &str, id, made: &Made| {
            Contents::open(hub, id, &made.release, &made.secret, &made.manifest).unwrap_err()
        };
        assert!(matches!(refused("another", id, &good), OpenerError::Other { .. }));
        assert!(matches!(refused("h", DatasetId::generate(), &good), OpenerError::Other { .. }));
        let (_, swapped) = made("h", Some(&open));
        assert!(matches!(refused("h", id, &swapped), OpenerError::Other { .. }));
        let elsewhere = RecipientSecret::generate().unwrap();
        let stolen = Contents::open("h", id, &good.release, &elsewhere, &good.manifest);
        assert!(matches!(stolen, Err(OpenerError::Dataset(DatasetError::Release { .. }))));
        let mut forged = good.manifest.clone();
        forged.signature.0[0] ^= 1;
        let unsigned = Contents::open("h", id, &good.release, &good.secret, &forged);
        assert!(matches!(unsigned, Err(OpenerError::Manifest { .. })));
    }
}
