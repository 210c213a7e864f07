//! A dataset whose key is at hand.

use std::ops::Range;

use api::{Bytes, DatasetId, Digest, ObjectRef, ProjectId, Release, Sealed, SealedObject};
use proof::sha256;
use seal::recipient::{RecipientKey, RecipientSecret};
use seal::wrap::{DatasetContext, ObjectContext};
use seal::{Commitment, DataKey, DatasetKey, ObjectId, ObjectOpener, Prefix, SegmentKey};

/// A dataset's key and the place that every wrapped key of it is bound to. Printing it shows the place alone.
#[derive(Debug, Clone)]
pub struct OpenDataset {
    dataset: DatasetId,
    project: ProjectId,
    card_digest: Digest,
    epoch: u32,
    key: DatasetKey,
}

/// Why a dataset, or something of it, does not open.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// The system gave no random bytes.
    #[error(transparent)]
    Random(#[from] seal::NoRandomness),
    /// The dataset key that was released does not open with our key, or was meant for another dataset.
    #[error("the released key of dataset {dataset} does not open")]
    Release {
        /// The dataset.
        dataset: DatasetId,
        /// Why.
        source: seal::WrapError,
    },
    /// The recipient is no X-Wing key.
    #[error("the key to wrap dataset {dataset} to is not usable")]
    Recipient {
        /// The dataset.
        dataset: DatasetId,
        /// Why.
        source: seal::WrapError,
    },
    /// A sealed label does not open.
    #[error("the sealed {purpose} of dataset {dataset} does not open")]
    Label {
        /// The dataset.
        dataset: DatasetId,
        /// Which label.
        purpose: &'static str,
        /// Why.
        source: seal::WrapError,
    },
    /// The wrapped key of an object does not open under the dataset key.
    #[error("the wrapped key of object {object} of dataset {dataset} does not open")]
    ObjectKey {
        /// The dataset.
        dataset: DatasetId,
        /// The object.
        object: ObjectRef,
        /// Why.
        source: seal::WrapError,
    },
    /// The bytes are not those that were acknowledged.
    #[error("object {object} of dataset {dataset} is not the bytes that its hash names")]
    Hash {
        /// The dataset.
        dataset: DatasetId,
        /// The object.
        object: ObjectRef,
    },
    /// The object is not the one that the manifest's index lists.
    #[error("object {object} of dataset {dataset} has another commitment than the index lists")]
    Commitment {
        /// The dataset.
        dataset: DatasetId,
        /// The object.
        object: ObjectRef,
    },
    /// The object does not open.
    #[error("object {object} of dataset {dataset} does not open")]
    Object {
        /// The dataset.
        dataset: DatasetId,
        /// The object.
        object: ObjectRef,
        /// Why.
        source: seal::OpenError,
    },
    /// An object could not be sealed.
    #[error("an object of dataset {dataset} could not be sealed")]
    Seal {
        /// The dataset.
        dataset: DatasetId,
        /// Why.
        source: seal::SealError,
    },
    /// The index is not what the manifest says.
    #[error(transparent)]
    Index(#[from] proof::IndexError),
    /// A file was closed before each of its packs was sealed.
    #[error("object {object} was packed and never sealed")]
    Unsealed {
        /// The object.
        object: ObjectRef,
    },
    /// An extent reaches past the object it names.
    #[error("the index asks for bytes past the end of object {object}")]
    Extent {
        /// The object.
        object: ObjectRef,
    },
}

/// The HPKE `info` of a key that is released for an approval (`spec/approval.md`, section 6).
fn approved(place: &DatasetContext, approval: Digest) -> Vec<u8> {
    [b"chorion.approved-key/1\0", &approval.0[..], &place.bytes()].concat()
}

impl OpenDataset {
    /// A dataset that is about to be made: a new key, epoch 0.
    pub fn create(
        dataset: DatasetId,
        project: ProjectId,
        card_digest: Digest,
    ) -> Result<Self, DatasetError> {
        Ok(Self { dataset, project, card_digest, epoch: 0, key: DatasetKey::generate()? })
    }

    /// The same dataset under a new key, one epoch later and under the card in force: what a re-seal writes.
    pub fn next_epoch(&self, card_digest: Digest) -> Result<Self, DatasetError> {
        Ok(Self {
            card_digest,
            epoch: self.epoch + 1,
            key: DatasetKey::generate()?,
            ..self.clone()
        })
    }

    /// A dataset whose key was kept, as a broker keeps a run's in its state file.
    pub const fn from_key(
        dataset: DatasetId,
        project: ProjectId,
        card_digest: Digest,
        epoch: u32,
        key: DatasetKey,
    ) -> Self {
        Self { dataset, project, card_digest, epoch, key }
    }

    /// A dataset whose key was released to `secret`.
    pub fn from_release(release: &Release, secret: &RecipientSecret) -> Result<Self, DatasetError> {
        let Release { dataset, project, card_digest, epoch, wrapped_key, leaf: _ } = release;
        let (dataset, project, card_digest, epoch) = (*dataset, *project, *card_digest, *epoch);
        let info = context(dataset, project, card_digest, epoch).bytes();
        let key = seal::recipient::unwrap(secret, &info, &wrapped_key.0)
            .map_err(|source| DatasetError::Release { dataset, source })?;
        Ok(Self { dataset, project, card_digest, epoch, key })
    }

    /// A dataset whose key an owner's device released to `secret`, for the approval of that digest and for no other.
    pub fn from_approved(
        release: &Release,
        secret: &RecipientSecret,
        approval: Digest,
    ) -> Result<Self, DatasetError> {
        let Release { dataset, project, card_digest, epoch, wrapped_key, .. } = release;
        let (dataset, project, card_digest, epoch) = (*dataset, *project, *card_digest, *epoch);
        let info = approved(&context(dataset, project, card_digest, epoch), approval);
        let key = seal::recipient::unwrap(secret, &info, &wrapped_key.0)
            .map_err(|source| DatasetError::Release { dataset, source })?;
        Ok(Self { dataset, project, card_digest, epoch, key })
    }

    /// Which dataset.
    pub const fn dataset(&self) -> DatasetId {
        self.dataset
    }

    /// Its project.
    pub const fn project(&self) -> ProjectId {
        self.project
    }

    /// The digest of the card its key is wrapped under.
    pub const fn card_digest(&self) -> Digest {
        self.card_digest
    }

    /// The key epoch.
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The key, for whoever must keep it.
    pub const fn key(&self) -> &DatasetKey {
        &self.key
    }

    /// The key, wrapped to an X-Wing public key: a card's recipient, a vault, a person.
    pub fn wrap_to(&self, recipient: &[u8]) -> Result<Bytes, DatasetError> {
        let unusable = |source| DatasetError::Recipient { dataset: self.dataset, source };
        let recipient = RecipientKey::from_bytes(recipient).map_err(unusable)?;
        let info = context(self.dataset, self.project, self.card_digest, self.epoch).bytes();
        Ok(Bytes(seal::recipient::wrap_to(&recipient, &info, &self.key).map_err(unusable)?))
    }

    /// The key, wrapped to a vault's X-Wing public key for one approval: under another it does not open.
    pub fn wrap_approved(&self, recipient: &[u8], approval: Digest) -> Result<Bytes, DatasetError> {
        let unusable = |source| DatasetError::Recipient { dataset: self.dataset, source };
        let recipient = RecipientKey::from_bytes(recipient).map_err(unusable)?;
        let place = context(self.dataset, self.project, self.card_digest, self.epoch);
        let info = approved(&place, approval);
        Ok(Bytes(seal::recipient::wrap_to(&recipient, &info, &self.key).map_err(unusable)?))
    }

    /// A short text, sealed under the dataset key for one purpose.
    pub fn seal_label(&self, purpose: &'static str, text: &[u8]) -> Result<Sealed, DatasetError> {
        seal::label::seal_label(&self.key, purpose, text)
            .map(Bytes)
            .map_err(|source| DatasetError::Label { dataset: self.dataset, purpose, source })
    }

    /// A short text that was sealed for `purpose`.
    pub fn open_label(
        &self,
        purpose: &'static str,
        sealed: &Sealed,
    ) -> Result<Vec<u8>, DatasetError> {
        seal::label::open_label(&self.key, purpose, &sealed.0)
            .map_err(|source| DatasetError::Label { dataset: self.dataset, purpose, source })
    }

    /// The plaintext of an object: its hash, its place and, where `commitment` is given, its commitment are checked first.
    pub fn open_object(
        &self,
        object: &SealedObject,
        sealed: &[u8],
        commitment: Option<Digest>,
    ) -> Result<Vec<u8>, DatasetError> {
        let (dataset, id) = (self.dataset, object.object);
        if sha256(sealed) != object.hash {
            return Err(DatasetError::Hash { dataset, object: id });
        }
        let key = self.data_key(object, sealed, commitment)?;
        seal::open_object(&key, ObjectId::from_bytes(id.0), sealed)
            .map_err(|source| DatasetError::Object { dataset, object: id, source })
    }

    /// The data key of an object, opened: for the prefix that it begins with and, where one is given, for that commitment alone.
    fn data_key(
        &self,
        object: &SealedObject,
        prefix: &[u8],
        commitment: Option<Digest>,
    ) -> Result<DataKey, DatasetError> {
        let (dataset, id) = (self.dataset, object.object);
        let found = Prefix::read(prefix)
            .map_err(|source| DatasetError::Object { dataset, object: id, source })?
            .commitment();
        if commitment.is_some_and(|expected| expected.0 != *found.as_bytes()) {
            return Err(DatasetError::Commitment { dataset, object: id });
        }
        let place = self.object_context(id, found, object.epoch);
        seal::wrap::unwrap_data_key(&self.key, &place, &object.wrapped_key.0)
            .map_err(|source| DatasetError::ObjectKey { dataset, object: id, source })
    }

    /// What opens an object's segments one by one, from its prefix: for readers that need little of each object at a time.
    ///
    /// The hash of the whole is not checked then. Every segment proves that it is the one of this object at its place.
    pub fn opener(
        &self,
        object: &SealedObject,
        prefix: &[u8],
        commitment: Digest,
    ) -> Result<ObjectOpener, DatasetError> {
        let (dataset, id) = (self.dataset, object.object);
        let key = self.data_key(object, prefix, Some(commitment))?;
        ObjectOpener::new(&key, ObjectId::from_bytes(id.0), prefix, object.sealed_bytes)
            .map_err(|source| DatasetError::Object { dataset, object: id, source })
    }

    /// What opens an object's segments elsewhere, from its prefix; for readers with a cipher of their own.
    ///
    /// As with [`OpenDataset::opener`], every segment proves that it is the one of this object at its place, and nobody hashes the whole:
    /// whoever opens all of them has proved its length too, by the last.
    pub fn segment_key(
        &self,
        object: &SealedObject,
        prefix: &[u8],
        commitment: Digest,
    ) -> Result<SegmentKey, DatasetError> {
        let (dataset, id) = (self.dataset, object.object);
        let key = self.data_key(object, prefix, Some(commitment))?;
        SegmentKey::open(&key, ObjectId::from_bytes(id.0), prefix)
            .map_err(|source| DatasetError::Object { dataset, object: id, source })
    }

    /// The plaintext of some neighbouring segments of an object, of which `sealed` are the bytes.
    pub fn open_segments(
        &self,
        opener: &ObjectOpener,
        object: ObjectRef,
        segments: Range<u64>,
        sealed: &[u8],
    ) -> Result<Vec<u8>, DatasetError> {
        let dataset = self.dataset;
        let broken = |source| DatasetError::Object { dataset, object, source };
        let mut plaintext = Vec::with_capacity(sealed.len());
        let mut rest = sealed;
        for index in segments {
            let place = opener.segment_range(index);
            let length = usize::try_from(place.end - place.start).unwrap_or(usize::MAX);
            let (segment, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            opener.open_segment(index, segment, &mut plaintext).map_err(broken)?;
            rest = after;
        }
        Ok(plaintext)
    }

    pub(crate) const fn object_context(
        &self,
        object: ObjectRef,
        commitment: Commitment,
        epoch: u32,
    ) -> ObjectContext {
        ObjectContext {
            dataset: self.dataset.to_bytes(),
            epoch,
            object: ObjectId::from_bytes(object.0),
            commitment,
        }
    }
}

/// The place that a wrapped dataset key is bound to.
pub(crate) const fn context(
    dataset: DatasetId,
    project: ProjectId,
    card_digest: Digest,
    epoch: u32,
) -> DatasetContext {
    DatasetContext {
        dataset: dataset.to_bytes(),
        project: project.to_bytes(),
        card_digest: card_digest.0,
        epoch,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Packer;

    #[test]
    fn ten_thousand_objects_open_with_one_public_key_operation() {
        const OBJECTS: usize = 10_000;
        let made = OpenDataset::create(
            DatasetId::from_bytes([1; 16]),
            ProjectId::from_bytes([2; 16]),
            Digest([3; 32]),
        )
        .unwrap();
        let mut packer = Packer::new(8);
        let file = packer.begin("reads");
        let mut packs = packer.write(file, &[7; 8 * OBJECTS]).unwrap();
        packer.end(file);
        packs.extend(packer.flush());
        let parts: Vec<_> = packs.into_iter().map(|pack| pack.seal(&made).unwrap()).collect();
        assert_eq!(parts.len(), OBJECTS);

        let secret = RecipientSecret::generate().unwrap();
        let release = Release {
            dataset: made.dataset(),
            project: made.project(),
            card_digest: made.card_digest(),
            epoch: 0,
            wrapped_key: made.wrap_to(&secret.public().to_bytes()).unwrap(),
            leaf: None,
        };
        // The one: after it the secret is gone, so that no object can cost another.
        let open = OpenDataset::from_release(&release, &secret).unwrap();
        drop((secret, made));
        let mut bytes = 0;
        for part in &parts {
            let object = SealedObject {
                object: part.object,
                hash: part.hash,
                sealed_bytes: part.sealed.len() as u64,
                epoch: 0,
                wrapped_key: Bytes(part.wrapped_key.to_vec()),
            };
            bytes += open.open_object(&object, &part.sealed, Some(part.commitment)).unwrap().len();
        }
        assert_eq!(bytes, 8 * OBJECTS);
    }
}
