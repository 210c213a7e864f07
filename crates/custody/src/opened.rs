//! What the hub may do with a dataset key that its custodian opens for it: read names, lists of files, and the few files that
//! its pages show.
//!
//! Pages and lists need names; nothing in the hub needs the key. So the key stays inside, and there is no way to get it
//! out, to wrap it for anybody but another custodian of the hub ([`crate::Custodian::keep`]), or to open anything but what the signed manifest names as its index and the files in [`SHOWN`]: a run's
//! metrics, and what a session printed. Reads, variants and what an app made are not among them.

use std::fmt;

use api::{RUN_METRICS_PATH, SealedObject};
use proof::{Extent, FileEntry, Index, IndexError, Manifest, sha256};
use seal::label::open_label;
use seal::wrap::{DatasetContext, ObjectContext, unwrap_data_key};
use seal::{Commitment, DatasetKey, ObjectId, OpenError, WrapError};

/// The files of a result that the hub may open for its pages.
pub const SHOWN: [&str; 4] =
    [RUN_METRICS_PATH, "log/error.txt", "log/stdout.txt", "log/stderr.txt"];

/// A dataset key, opened for reading names, lists of files and the files of [`SHOWN`], and for nothing else.
pub struct Opened {
    key: DatasetKey,
    context: DatasetContext,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opened(..)")
    }
}

/// Why an index does not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenIndexError {
    /// The manifest is of another dataset or epoch than the key.
    #[error("the manifest is not of the dataset and epoch that the key is of")]
    OtherDataset,
    /// An object that the manifest names was not given, or is not the one that is kept.
    #[error("object {0} of the index is not there, or its bytes are not those that were kept")]
    Object(ObjectId),
    /// An object's key does not unwrap.
    #[error("the key of object {object} of the index does not unwrap")]
    Key {
        /// Which object.
        object: ObjectId,
        /// Why.
        source: WrapError,
    },
    /// An object does not open.
    #[error("object {object} of the index does not open")]
    Open {
        /// Which object.
        object: ObjectId,
        /// Why.
        source: OpenError,
    },
    /// An extent lies outside its object.
    #[error("the manifest names a part of object {0} that the object does not have")]
    Extent(ObjectId),
    /// The hub opens no such file.
    #[error("the file is none that the hub shows")]
    NotShown,
    /// What opened is not the file that was signed.
    #[error("what opens is not the file that the signed index lists")]
    File,
    /// What opened is not the index that was signed.
    #[error(transparent)]
    Index(#[from] IndexError),
}

impl Opened {
    pub(crate) const fn new(key: DatasetKey, context: DatasetContext) -> Self {
        Self { key, context }
    }

    /// The key and where it belongs, for a custodian that keeps it from now on.
    pub(crate) const fn parts(&self) -> (&DatasetKey, &DatasetContext) {
        (&self.key, &self.context)
    }

    /// A name or another short text, sealed for `purpose`.
    ///
    /// # Errors
    /// It was sealed under another key, for another purpose, or was changed.
    pub fn open_label(&self, purpose: &str, sealed: &[u8]) -> Result<Vec<u8>, WrapError> {
        open_label(&self.key, purpose, sealed)
    }

    /// The list of files that `manifest` names, from the sealed objects that hold it, each given with its sealed bytes.
    ///
    /// # Errors
    /// An object is missing, is another one, or does not open; or what opens is not the index that was signed.
    pub fn open_index(
        &self,
        manifest: &Manifest,
        objects: &[(SealedObject, impl AsRef<[u8]>)],
    ) -> Result<Index, OpenIndexError> {
        let dataset = manifest.dataset.to_bytes();
        if dataset != self.context.dataset || manifest.epoch != self.context.epoch {
            return Err(OpenIndexError::OtherDataset);
        }
        Ok(Index::open(&self.extents(&manifest.index, objects)?, manifest)?)
    }

    /// A file that the index of the dataset lists, from the sealed objects that hold it, each given with its sealed bytes.
    ///
    /// # Errors
    /// The file is none that pages show. An object is missing, is another one, or does not open; or what opens is not the file
    /// that was signed.
    pub fn open_shown(
        &self,
        file: &FileEntry,
        objects: &[(SealedObject, impl AsRef<[u8]>)],
    ) -> Result<Vec<u8>, OpenIndexError> {
        if !SHOWN.contains(&file.path.as_str()) {
            return Err(OpenIndexError::NotShown);
        }
        let bytes = self.extents(&file.extents, objects)?;
        if bytes.len() as u64 == file.bytes && sha256(&bytes) == file.sha256 {
            Ok(bytes)
        } else {
            Err(OpenIndexError::File)
        }
    }

    /// What these extents hold, one after the other.
    fn extents(
        &self,
        extents: &[Extent],
        objects: &[(SealedObject, impl AsRef<[u8]>)],
    ) -> Result<Vec<u8>, OpenIndexError> {
        let mut bytes = Vec::new();
        let mut last: Option<(Commitment, ObjectId, Vec<u8>)> = None;
        for extent in extents {
            let object = ObjectId::from_bytes(extent.object.0);
            let commitment = Commitment::from_bytes(extent.commitment.0);
            let plain = match &last {
                Some((same, id, plain)) if *same == commitment && *id == object => plain,
                _ => {
                    let plain = self.open_object(object, commitment, objects)?;
                    &last.insert((commitment, object, plain)).2
                }
            };
            let part = usize::try_from(extent.offset)
                .ok()
                .zip(usize::try_from(extent.bytes).ok())
                .and_then(|(start, n)| plain.get(start..start.checked_add(n)?))
                .ok_or(OpenIndexError::Extent(object))?;
            bytes.extend_from_slice(part);
        }
        Ok(bytes)
    }

    fn open_object(
        &self,
        object: ObjectId,
        commitment: Commitment,
        objects: &[(SealedObject, impl AsRef<[u8]>)],
    ) -> Result<Vec<u8>, OpenIndexError> {
        let (kept, sealed) = objects
            .iter()
            .map(|(kept, sealed)| (kept, sealed.as_ref()))
            .find(|(kept, _)| kept.object.0 == *object.as_bytes())
            .filter(|(kept, sealed)| sha256(sealed) == kept.hash)
            .ok_or(OpenIndexError::Object(object))?;
        let context = ObjectContext {
            dataset: self.context.dataset,
            epoch: self.context.epoch,
            object,
            commitment,
        };
        let key = unwrap_data_key(&self.key, &context, &kept.wrapped_key.0)
            .map_err(|source| OpenIndexError::Key { object, source })?;
        seal::open_object(&key, object, sealed)
            .map_err(|source| OpenIndexError::Open { object, source })
    }
}
