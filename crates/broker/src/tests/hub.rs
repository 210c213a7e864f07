//! A hub in memory: it keeps what it is given, compares digests, and fails as it is told to.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard};

use api::{
    Acknowledged, Bytes, CreateDataset, Digest, ObjectRef, PutManifest, SealedObject,
    SignedStatement,
};
use async_trait::async_trait;
use client::ObjectBytes;
use dataset::{OpenDataset, open_index};
use proof::{Manifest, ObjectSet, open_statement, sha256};

use crate::uplink::{Uplink, UplinkError};

/// What happens to the next call that sends an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is kept and acknowledged.
    Kept,
    /// It never arrives.
    LostOnTheWay,
    /// It arrives, and the acknowledgement does not.
    AnswerLost,
    /// The key is refused.
    Refused,
    /// Nothing is heard of it any more, as when the broker is killed; it may have arrived.
    Stuck {
        /// Whether it has.
        arrived: bool,
    },
}

#[derive(Default)]
pub(super) struct Kept {
    pub(super) created: Option<Vec<u8>>,
    pub(super) objects: HashMap<ObjectRef, (ObjectBytes, u32)>,
    pub(super) so_far: usize,
    pub(super) manifests: Vec<SignedStatement>,
    pub(super) attention: Vec<&'static str>,
    pub(super) fates: VecDeque<Fate>,
    /// What happens to closing calls: a lost answer, or refused.
    pub(super) closing: VecDeque<Fate>,
    /// Bytes that arrived, counting those that arrived again.
    pub(super) received_bytes: u64,
}

/// The hub.
#[derive(Default)]
pub(super) struct MemoryHub(Mutex<Kept>);

impl MemoryHub {
    pub(super) fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap()
    }

    /// The digest over all objects that are kept.
    fn objects_digest(kept: &Kept) -> Digest {
        let mut set = ObjectSet::default();
        for (object, (bytes, _)) in &kept.objects {
            set.insert(*object, bytes.hash, bytes.sealed.len() as u64);
        }
        set.digest()
    }

    /// Opens everything as its reader would: the content of every file that the last manifest lists.
    pub(super) fn contents(&self, open: &OpenDataset) -> HashMap<String, Vec<u8>> {
        let kept = self.kept();
        let (manifest, _signer) =
            open_statement::<Manifest>(kept.manifests.last().unwrap()).unwrap();
        assert_eq!(manifest.objects_digest, Self::objects_digest(&kept));
        let record = |object: &ObjectRef| {
            let (bytes, epoch) = &kept.objects[object];
            let sealed = SealedObject {
                object: *object,
                hash: bytes.hash,
                sealed_bytes: bytes.sealed.len() as u64,
                epoch: *epoch,
                wrapped_key: Bytes(bytes.wrapped_key.clone()),
            };
            (sealed, bytes.sealed.to_vec())
        };
        let parts: Vec<_> = manifest.index.iter().map(|extent| record(&extent.object)).collect();
        let index = open_index(open, &manifest, &parts).unwrap();
        let mut files = HashMap::new();
        for file in &index.files {
            let mut content = Vec::new();
            for slice in dataset::slices(file, 0, file.bytes) {
                let (object, sealed) = record(&slice.object);
                let plaintext = open.open_object(&object, &sealed, Some(slice.commitment)).unwrap();
                content.extend_from_slice(slice.of(&plaintext).unwrap());
            }
            assert_eq!(sha256(&content), file.sha256, "{}", file.path);
            files.insert(file.path.clone(), content);
        }
        files
    }
}

#[async_trait]
impl Uplink for MemoryHub {
    async fn create(&self, create: &CreateDataset) -> Result<(), UplinkError> {
        let text = serde_json::to_vec(create).unwrap();
        let mut kept = self.kept();
        assert!(
            kept.created.as_ref().is_none_or(|before| *before == text),
            "another body for the same id"
        );
        kept.created = Some(text);
        Ok(())
    }

    async fn put(&self, object: &ObjectBytes) -> Result<Acknowledged, UplinkError> {
        let fate = self.kept().fates.pop_front().unwrap_or(Fate::Kept);
        let arrives =
            !matches!(fate, Fate::LostOnTheWay | Fate::Refused | Fate::Stuck { arrived: false });
        if arrives {
            let mut kept = self.kept();
            kept.received_bytes += object.sealed.len() as u64;
            assert_eq!(sha256(&object.sealed), object.hash);
            if let Some((before, _)) = kept.objects.get(&object.object) {
                assert_eq!(
                    before.sealed, object.sealed,
                    "an object is sent again as it was, or under another id"
                );
            }
            // A copy, as a network makes one: the sender uses its buffer again.
            let sealed = bytes::Bytes::copy_from_slice(&object.sealed);
            kept.objects
                .insert(object.object, (ObjectBytes { sealed, ..object.clone() }, object.epoch));
        }
        match fate {
            Fate::Kept => Ok(Acknowledged {
                object: object.object,
                hash: object.hash,
                sealed_bytes: object.sealed.len() as u64,
            }),
            Fate::LostOnTheWay | Fate::AnswerLost => {
                Err(UplinkError::Away("the line was cut".to_owned()))
            }
            Fate::Refused => {
                Err(UplinkError::Rights { sentence: "the key was revoked".to_owned(), hint: None })
            }
            Fate::Stuck { .. } => std::future::pending().await,
        }
    }

    async fn have(&self, objects: &[ObjectRef]) -> Result<Vec<Acknowledged>, UplinkError> {
        let kept = self.kept();
        let found = |object: &ObjectRef| {
            kept.objects.get(object).map(|(bytes, _)| Acknowledged {
                object: *object,
                hash: bytes.hash,
                sealed_bytes: bytes.sealed.len() as u64,
            })
        };
        Ok(objects.iter().filter_map(found).collect())
    }

    async fn held(&self) -> Result<Vec<SealedObject>, UplinkError> {
        let record = |(object, (bytes, epoch)): (&ObjectRef, &(ObjectBytes, u32))| SealedObject {
            object: *object,
            hash: bytes.hash,
            sealed_bytes: bytes.sealed.len() as u64,
            epoch: *epoch,
            wrapped_key: Bytes(bytes.wrapped_key.clone()),
        };
        Ok(self.kept().objects.iter().map(record).collect())
    }

    async fn close(&self, put: &PutManifest, _demultiplex: bool) -> Result<(), UplinkError> {
        let mut kept = self.kept();
        let fate = kept.closing.pop_front().unwrap_or(Fate::Kept);
        if kept.manifests.last() == Some(&put.manifest) {
            return Ok(());
        }
        if kept.manifests.len() > kept.so_far {
            return Err(UplinkError::Conflict {
                sentence: "the run is closed".to_owned(),
                hint: None,
            });
        }
        if fate == Fate::LostOnTheWay {
            return Err(UplinkError::Away("the line was cut".to_owned()));
        }
        let (manifest, _signer) = open_statement::<Manifest>(&put.manifest).unwrap();
        if manifest.objects_digest != Self::objects_digest(&kept) {
            return Err(UplinkError::Mismatch("the objects are others".to_owned()));
        }
        kept.manifests.push(put.manifest.clone());
        match fate {
            Fate::AnswerLost => Err(UplinkError::Away("the line was cut".to_owned())),
            _ => Ok(()),
        }
    }

    async fn so_far(&self, put: &PutManifest, demultiplex: bool) -> Result<(), UplinkError> {
        self.close(put, demultiplex).await?;
        let mut kept = self.kept();
        kept.so_far = kept.manifests.len();
        Ok(())
    }

    async fn manifest(&self) -> Result<Option<SignedStatement>, UplinkError> {
        Ok(self.kept().manifests.last().cloned())
    }

    async fn attention(&self, reason: &'static str) -> Result<(), UplinkError> {
        self.kept().attention.push(reason);
        Ok(())
    }

    async fn progress(&self, _progress: &api::TransferProgress) -> Result<(), UplinkError> {
        // Nobody asks, so nothing is kept: the work goes on alike.
        Err(UplinkError::Away("the line was cut".to_owned()))
    }
}
