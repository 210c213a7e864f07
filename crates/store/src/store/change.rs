//! Facilities that come and go while the store is used: one is added, one is drained, one is given up.
//!
//! An added facility takes new blobs at once and the old ones by a scrub that compares lists. A facility that is drained
//! takes nothing new, is still read, and leaves when all others hold what it holds. One that is gone for good is given up
//! by a stated act, which says what only it is known to have had (`spec/store.md` section 8).

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use serde::Serialize;

use super::{InFlight, Shared, Slot, Store, StoreError, name_of};
use crate::{
    blob::BlobHash,
    facility::{Facility, FacilityError, FacilityId},
    held,
};

/// How often puts that were under way when a drain began are looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How far a drain has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Drained {
    /// Blobs that the facility holds.
    pub blobs: u64,
    /// Copies that were written elsewhere.
    pub copied: u64,
    /// Blobs that some other facility still lacks; nobody could read them, or that facility does not answer.
    pub left: u64,
    /// Whether the facility is no longer part of the store. Its place is as it was, to be kept or emptied by a person.
    pub has_left: bool,
}

/// A blob that no sweep takes away for as long as this lives.
pub struct Held {
    _counted: InFlight,
}

/// Blobs that are being swept: none of them is held meanwhile.
struct Swept {
    shared: Arc<Shared>,
    hashes: Vec<BlobHash>,
}

impl Drop for Swept {
    fn drop(&mut self) {
        let mut swept = held(&self.shared.swept);
        self.hashes.iter().for_each(|hash| {
            swept.remove(hash);
        });
    }
}

impl Store {
    /// Makes a facility part of the store: it is told what is erased, and takes every put from now on. What was put before
    /// it gets from [`scrub`](Self::scrub), and from reads that pass by.
    ///
    /// # Errors
    /// [`StoreError::Facilities`] if it is part of the store already.
    pub async fn add(&self, facility: Arc<dyn Facility>) -> Result<(), StoreError> {
        let id = facility.id();
        {
            let mut slots = held(&self.shared.slots);
            if slots.iter().any(|slot| slot.facility.id() == id) {
                return Err(StoreError::Facilities { why: format!("{id} is one of them already") });
            }
            let more = slots.iter().cloned().chain([Slot::new(facility)]);
            *slots = Arc::new(more.collect());
        }
        self.shared.spread_erasures().await;
        Ok(())
    }

    /// Writes nothing new to a facility from now on: the first half of [`drain`](Self::drain).
    ///
    /// # Errors
    /// [`StoreError::Facilities`] if there is no such facility, it is the last one or the quorum needs it.
    pub fn begin_drain(&self, id: FacilityId) -> Result<(), StoreError> {
        self.leaving(id)?.is_draining.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// The facilities that are to leave.
    #[must_use]
    pub fn draining(&self) -> Vec<Arc<dyn Facility>> {
        let slots = self.shared.slots();
        let draining = slots.iter().filter(|slot| slot.is_draining());
        draining.map(|slot| Arc::clone(&slot.facility)).collect()
    }

    /// Writes nothing new to a facility from now on, copies what it holds to all others, and takes it out of the store once
    /// they hold everything. Where something is left it stays, draining; asking again goes on.
    ///
    /// # Errors
    /// [`StoreError::Facilities`] if there is no such facility, it is the last one or the quorum needs it;
    /// [`StoreError::Unavailable`] if it does not answer.
    pub async fn drain(&self, id: FacilityId) -> Result<Drained, StoreError> {
        let shared = &self.shared;
        let slots = shared.slots();
        let drained = self.leaving(id)?;
        drained.is_draining.store(true, Ordering::SeqCst);
        self.wait_for_puts().await;
        let mut report = Drained { blobs: 0, copied: 0, left: 0, has_left: false };
        for shard in 0..=u8::MAX {
            let listing = drained
                .facility
                .list(shard)
                .await
                .map_err(|source| StoreError::NotDrained { facility: id, source })?;
            for blob in listing.blobs {
                if held(&shared.erased).contains(&blob.hash) {
                    continue;
                }
                report.blobs += 1;
                // Read, not only looked for: the copy that leaves may be the last whole one.
                let (mut bad, mut lacking, mut good, mut is_left) =
                    (Vec::new(), Vec::new(), None, false);
                for (index, slot) in slots.iter().enumerate().filter(|(_, s)| !s.is_draining()) {
                    match slot.facility.get(&blob.hash).await {
                        Ok(Some(bytes)) if name_of(&bytes).await == blob.hash => good = Some(bytes),
                        Ok(Some(_)) => bad.push(index),
                        Ok(None) => lacking.push(index),
                        Err(_) => is_left = true,
                    }
                }
                if !bad.is_empty() || !lacking.is_empty() {
                    if good.is_none() {
                        good = shared.find(&slots, blob.hash).await.good;
                    }
                    let copied = match &good {
                        Some(good) => shared.heal(&slots, blob.hash, good, &bad, &lacking).await,
                        None => 0,
                    };
                    report.copied += copied;
                    let wanted = (bad.len() + lacking.len()) as u64;
                    is_left |= copied < wanted && !held(&shared.erased).contains(&blob.hash);
                }
                report.left += u64::from(is_left);
            }
        }
        if report.left == 0 {
            self.leave(id);
            report.has_left = true;
        }
        Ok(report)
    }

    /// Takes a facility out of the store as it is: it is lost, and nobody waits for it any longer. What only it held is
    /// lost with it, and reads say so from now on.
    ///
    /// # Errors
    /// [`StoreError::Facilities`] if there is no such facility, it is the last one or the quorum needs it.
    pub fn give_up(&self, id: FacilityId) -> Result<(), StoreError> {
        self.leaving(id)?;
        self.leave(id);
        Ok(())
    }

    /// Says that a blob is about to be put and to become known, until the guard goes: no sweep takes it away meanwhile.
    pub async fn hold(&self, hash: BlobHash) -> Held {
        loop {
            {
                let mut in_flight = held(&self.shared.in_flight);
                if !held(&self.shared.swept).contains(&hash) {
                    *in_flight.entry(hash).or_default() += 1;
                    return Held { _counted: InFlight { shared: Arc::clone(&self.shared), hash } };
                }
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Takes blobs away that nobody was told of, without remembering it, and says how many. `unknown` is asked which of
    /// them are still unknown while none of them can be [held](Self::hold); one that is held, or being put, stays.
    ///
    /// # Errors
    /// What `unknown` said.
    pub async fn sweep<E, F: Future<Output = Result<Vec<BlobHash>, E>>>(
        &self,
        hashes: &[BlobHash],
        unknown: impl FnOnce(Vec<BlobHash>) -> F,
    ) -> Result<u64, E> {
        let swept = {
            let in_flight = held(&self.shared.in_flight);
            let free = hashes.iter().copied().filter(|hash| !in_flight.contains_key(hash));
            let free: Vec<BlobHash> = free.collect();
            held(&self.shared.swept).extend(&free);
            Swept { shared: Arc::clone(&self.shared), hashes: free }
        };
        let unknown = unknown(swept.hashes.clone()).await?;
        let gone: Vec<BlobHash> =
            unknown.into_iter().filter(|hash| swept.hashes.contains(hash)).collect();
        {
            let mut recent = held(&self.shared.recent);
            gone.iter().for_each(|hash| recent.forget(hash));
        }
        for slot in self.shared.slots().iter() {
            if let Err(error) = slot.facility.discard(&gone).await {
                // It is found again by the next sweep.
                tracing::warn!(facility = %slot.facility.id(), %error, "blobs that nobody knows of stay");
            }
            let mut behind = held(&slot.behind);
            gone.iter().for_each(|hash| {
                behind.remove(hash);
            });
        }
        Ok(gone.len() as u64)
    }

    /// The names of all blobs of a shard, in whichever facility.
    ///
    /// # Errors
    /// What a facility that does not answer said.
    pub async fn names(&self, shard: u8) -> Result<Vec<BlobHash>, FacilityError> {
        let mut names = std::collections::BTreeSet::new();
        for slot in self.shared.slots().iter() {
            let listing = slot.facility.list(shard).await?;
            names.extend(listing.blobs.into_iter().map(|blob| blob.hash));
        }
        Ok(names.into_iter().collect())
    }

    /// The facility of this id, if the store can do without it.
    fn leaving(&self, id: FacilityId) -> Result<Arc<Slot>, StoreError> {
        let slots = self.shared.slots();
        let refused = |why: String| StoreError::Facilities { why };
        let slot = slots
            .iter()
            .find(|slot| slot.facility.id() == id)
            .ok_or_else(|| refused(format!("{id} is none of them")))?;
        let others = slots.iter().filter(|slot| slot.facility.id() != id && !slot.is_draining());
        match (others.count(), self.shared.write_quorum) {
            (0, _) => Err(refused(format!("{id} is the last one that takes anything"))),
            (others, Some(quorum)) if others < quorum => Err(refused(format!(
                "{quorum} must sync a blob, and without {id} there are {others}"
            ))),
            _ => Ok(Arc::clone(slot)),
        }
    }

    fn leave(&self, id: FacilityId) {
        let mut slots = held(&self.shared.slots);
        let rest = slots.iter().filter(|slot| slot.facility.id() != id).cloned();
        *slots = Arc::new(rest.collect());
    }

    /// Waits for the puts that are under way now; those that begin later know better.
    async fn wait_for_puts(&self) {
        let mut waited_for: HashSet<BlobHash> =
            held(&self.shared.in_flight).keys().copied().collect();
        while !waited_for.is_empty() {
            {
                let in_flight = held(&self.shared.in_flight);
                waited_for.retain(|hash| in_flight.contains_key(hash));
            }
            if !waited_for.is_empty() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
    }
}
