//! A facility in memory: the contract without a disk, and one that tests can take away, bring back and damage.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;

use crate::{
    BlobHash, Facility, FacilityError, FacilityId, FacilityState, FacilityStatus, Listed, Listing,
    Stray, held,
};

pub(crate) struct MemoryFacility {
    id: FacilityId,
    is_away: AtomicBool,
    pub(crate) contents: Mutex<Contents>,
    /// Puts wait for this while a test holds it.
    pub(crate) gate: tokio::sync::RwLock<()>,
    /// And reads for this.
    pub(crate) reads: tokio::sync::RwLock<()>,
}

#[derive(Default)]
pub(crate) struct Contents {
    pub(crate) blobs: BTreeMap<BlobHash, Bytes>,
    pub(crate) strays: BTreeMap<String, Bytes>,
    pub(crate) quarantine: Vec<(String, Bytes)>,
    pub(crate) erased: BTreeSet<BlobHash>,
}

impl MemoryFacility {
    pub(crate) fn new() -> Self {
        Self {
            id: FacilityId::from_uuid(Uuid::now_v7()),
            is_away: AtomicBool::new(false),
            contents: Mutex::default(),
            gate: tokio::sync::RwLock::new(()),
            reads: tokio::sync::RwLock::new(()),
        }
    }

    pub(crate) fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::SeqCst);
    }

    fn there(&self) -> Result<std::sync::MutexGuard<'_, Contents>, FacilityError> {
        if self.is_away.load(Ordering::SeqCst) {
            return Err(FacilityError::Missing {
                location: self.location(),
                why: "a test took it away".into(),
            });
        }
        Ok(held(&self.contents))
    }
}

#[async_trait]
impl Facility for MemoryFacility {
    fn id(&self) -> FacilityId {
        self.id
    }

    fn location(&self) -> String {
        "memory".into()
    }

    async fn put(&self, hash: BlobHash, bytes: Bytes) -> Result<(), FacilityError> {
        let _open = self.gate.read().await;
        let mut contents = self.there()?;
        if contents.erased.contains(&hash) {
            return Err(FacilityError::Erased { facility: self.id, hash });
        }
        contents.blobs.insert(hash, bytes);
        Ok(())
    }

    async fn get(&self, hash: &BlobHash) -> Result<Option<Bytes>, FacilityError> {
        let _open = self.reads.read().await;
        Ok(self.there()?.blobs.get(hash).cloned())
    }

    async fn contains(&self, hash: &BlobHash) -> Result<bool, FacilityError> {
        Ok(self.there()?.blobs.contains_key(hash))
    }

    async fn erase(&self, hashes: &[BlobHash]) -> Result<(), FacilityError> {
        let mut contents = self.there()?;
        for hash in hashes {
            contents.erased.insert(*hash);
            contents.blobs.remove(hash);
            contents.quarantine.retain(|(name, _)| *name != hash.to_string());
        }
        Ok(())
    }

    async fn discard(&self, hashes: &[BlobHash]) -> Result<(), FacilityError> {
        let mut contents = self.there()?;
        for hash in hashes {
            contents.blobs.remove(hash);
            contents.quarantine.retain(|(name, _)| *name != hash.to_string());
        }
        Ok(())
    }

    async fn erased(&self) -> Result<Vec<BlobHash>, FacilityError> {
        Ok(self.there()?.erased.iter().copied().collect())
    }

    async fn erased_count(&self) -> Result<u64, FacilityError> {
        Ok(self.there()?.erased.len() as u64)
    }

    async fn list(&self, shard: u8) -> Result<Listing, FacilityError> {
        let contents = self.there()?;
        let blobs = contents.blobs.iter().filter(|(hash, _)| hash.shard() == shard);
        let strays = contents.strays.keys().filter(|_| shard == 0);
        Ok(Listing {
            blobs: blobs
                .map(|(hash, bytes)| Listed { hash: *hash, bytes: bytes.len() as u64 })
                .collect(),
            strays: strays
                .map(|path| Stray {
                    path: path.clone(),
                    hash: path.rsplit('/').next().and_then(|name| name.parse().ok()),
                })
                .collect(),
        })
    }

    async fn quarantine(&self, hash: &BlobHash) -> Result<(), FacilityError> {
        let mut contents = self.there()?;
        if let Some(bytes) = contents.blobs.remove(hash) {
            contents.quarantine.push((hash.to_string(), bytes));
        }
        Ok(())
    }

    async fn read_stray(&self, stray: &Stray) -> Result<Option<Bytes>, FacilityError> {
        Ok(self.there()?.strays.get(&stray.path).cloned())
    }

    async fn quarantine_stray(&self, stray: &Stray) -> Result<(), FacilityError> {
        let mut contents = self.there()?;
        if let Some(bytes) = contents.strays.remove(&stray.path) {
            contents.quarantine.push((stray.path.clone(), bytes));
        }
        Ok(())
    }

    async fn status(&self) -> FacilityStatus {
        let mut status = FacilityStatus {
            id: self.id,
            location: self.location(),
            state: FacilityState::Healthy,
            why: None,
            blobs: 0,
            bytes: 0,
            quarantined: 0,
            free_bytes: None,
            behind: 0,
        };
        match self.there() {
            Ok(contents) => {
                status.blobs = contents.blobs.len() as u64;
                status.bytes = contents.blobs.values().map(|bytes| bytes.len() as u64).sum();
                status.quarantined = contents.quarantine.len() as u64;
            }
            Err(error) => {
                status.state = FacilityState::Missing;
                status.why = Some(error.to_string());
            }
        }
        status
    }
}
