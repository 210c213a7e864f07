//! Room in memory for bodies, counted in bytes: many small ones or a few large ones, and never more than was set.
//!
//! One key gets half of it at most, so that a caller whose line is slow leaves room for others. Who waits here has proved
//! who it is; whoever brings its own key has a small room apart.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use api::KeyId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes that one permit stands for.
const UNIT: usize = 1024;
/// Room for callers that bring their own key, in MiB.
const STRANGERS_MEBIBYTES: u32 = 16;
/// How many keys' shares are kept before those that nobody holds are dropped.
const MOST_IDLE: usize = 1024;

/// All the room there is.
#[derive(Debug)]
pub(crate) struct Bodies {
    all: Arc<Semaphore>,
    share_units: u32,
    shares: Mutex<HashMap<KeyId, Weak<Semaphore>>>,
    strangers: Arc<Semaphore>,
}

/// Room that a body takes, until it is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    _all: OwnedSemaphorePermit,
    _share: Option<(OwnedSemaphorePermit, Arc<Semaphore>)>,
}

impl Bodies {
    pub(super) fn new(mebibytes: u32) -> Self {
        // Never less than one object of the largest size for one key.
        let object = u32::try_from(seal::MAX_OBJECT_BYTES >> 20).unwrap_or(u32::MAX);
        let mebibytes = mebibytes.clamp(object.saturating_mul(2).saturating_add(2), 1 << 20);
        let semaphore = |mebibytes: u32| Arc::new(Semaphore::new((mebibytes as usize) << 10));
        Self {
            all: semaphore(mebibytes),
            share_units: mebibytes << 9,
            shares: Mutex::default(),
            strangers: semaphore(STRANGERS_MEBIBYTES),
        }
    }

    /// Waits for room for a body of so many bytes that a key signed, or that brings its key.
    ///
    /// The key's own share first: who waits for it holds nothing that others wait for.
    pub(crate) async fn room(&self, key: Option<KeyId>, bytes: usize) -> Option<Room> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).max(1);
        let (all, share) = match key {
            None => (&self.strangers, None),
            Some(key) => {
                let share = self.share(key);
                let permit = Arc::clone(&share)
                    .acquire_many_owned(units.min(self.share_units))
                    .await
                    .ok()?;
                (&self.all, Some((permit, share)))
            }
        };
        let all = Arc::clone(all).acquire_many_owned(units).await.ok()?;
        Some(Room { _all: all, _share: share })
    }

    fn share(&self, key: KeyId) -> Arc<Semaphore> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(&key).and_then(Weak::upgrade) {
            return share;
        }
        if shares.len() >= MOST_IDLE {
            shares.retain(|_, share| share.strong_count() > 0);
        }
        let share = Arc::new(Semaphore::new(self.share_units as usize));
        shares.insert(key, Arc::downgrade(&share));
        share
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn one_key_leaves_half_of_the_room_to_others_and_small_bodies_are_many() {
        let bodies = Bodies::new(64);
        let (slow, other) = (KeyId([1; 16]), KeyId([2; 16]));
        let room = |key, bytes| bodies.room(Some(key), bytes).now_or_never();
        let held: Vec<_> = (0..2).map(|_| room(slow, 16 << 20).unwrap()).collect();
        assert!(room(slow, 1).is_none(), "its half is taken");
        let many: Vec<_> = (0..32 * 1024).map(|_| room(other, 700).unwrap()).collect();
        assert!(room(KeyId([3; 16]), 1).is_none(), "all of it is taken");
        drop(held);
        assert!(room(slow, 16 << 20).is_some());
        drop(many);
        assert!(bodies.room(None, 64 << 10).now_or_never().is_some());
    }
}
