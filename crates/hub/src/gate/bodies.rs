//! Room in memory for bodies, counted in bytes: many small ones or a few large ones, and never more than was set.
//!
//! One key gets half of it at most, so that a caller whose line is slow leaves room for others. Who waits there has proved
//! who it is. The others have small rooms of their own, so that none of them waits for the rest: keys that the body brings,
//! and forms, each with a share for one address; and vaults that claim a task which waits for one, whose ids nobody guesses.
//! Nobody waits for ever: who finds no room in time is told to come again.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use api::{KeyId, TaskId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Place;

/// Bytes that one permit stands for.
const UNIT: usize = 1024;
/// Room for callers that bring their own key, for vaults that claim a task, and for forms; in MiB each.
const SMALL_MEBIBYTES: u32 = 16;
/// What one address has of a small room, as one of so many parts; a shared one has half.
const PARTS: u32 = 16;
/// What one task's claims have of their room, in units: two of the largest.
const CLAIM_UNITS: u32 = 128;
/// How many shares are kept before those that nobody holds are dropped.
const MOST_IDLE: usize = 1024;
/// How long a known key waits for room.
const KEY_WAIT: Duration = Duration::from_secs(60);
/// How long anybody else does.
const SMALL_WAIT: Duration = Duration::from_secs(10);

/// Whose body it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// That of a key whose signature was verified.
    Key(KeyId),
    /// That of a vault which claims this task, and the task waits for one.
    Vault(TaskId),
    /// That of somebody who brings a key along.
    Stranger(Origin),
    /// A form.
    Form(Origin),
}

/// From where a body comes, and whether that place stands for many callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The place; without one all callers are one.
    pub(crate) place: Option<Place>,
    /// Whether it is shared.
    pub(crate) shared: bool,
}

/// There was no room in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoRoom {
    /// After how many seconds to try again.
    pub(crate) seconds: u32,
}

/// All the room there is.
#[derive(Debug)]
pub(crate) struct Bodies {
    keys: Pool<KeyId>,
    half: u32,
    vaults: Pool<TaskId>,
    strangers: Pool<Option<Place>>,
    forms: Pool<Option<Place>>,
}

/// Room that a body takes, until it is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    _all: OwnedSemaphorePermit,
    _share: (OwnedSemaphorePermit, Arc<Semaphore>),
}

impl Bodies {
    pub(super) fn new(mebibytes: u32) -> Self {
        // Never less than one object of the largest size for one key.
        let object = u32::try_from(seal::MAX_OBJECT_BYTES >> 20).unwrap_or(u32::MAX);
        let mebibytes = mebibytes.clamp(object.saturating_mul(2).saturating_add(2), 1 << 20);
        Self {
            keys: Pool::new(mebibytes),
            half: mebibytes << 9,
            vaults: Pool::new(SMALL_MEBIBYTES),
            strangers: Pool::new(SMALL_MEBIBYTES),
            forms: Pool::new(SMALL_MEBIBYTES),
        }
    }

    /// Waits for room for a body of so many bytes, for as long as such a caller may.
    pub(crate) async fn room(&self, whose: Whose, bytes: usize) -> Result<Room, NoRoom> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).max(1);
        let part = |from: Origin| (SMALL_MEBIBYTES << 10) / if from.shared { 2 } else { PARTS };
        match whose {
            Whose::Key(key) => self.keys.room(key, self.half, units, KEY_WAIT).await,
            Whose::Vault(task) => self.vaults.room(task, CLAIM_UNITS, units, SMALL_WAIT).await,
            Whose::Stranger(from) => {
                self.strangers.room(from.place, part(from), units, SMALL_WAIT).await
            }
            Whose::Form(from) => self.forms.room(from.place, part(from), units, SMALL_WAIT).await,
        }
    }
}

#[cfg(test)]
impl Bodies {
    /// How many bytes forms have in memory.
    pub(crate) fn of_forms(&self) -> usize {
        ((SMALL_MEBIBYTES as usize) << 10) * UNIT - self.forms.all.available_permits() * UNIT
    }

    /// Whether a body of this key has its share, or waits for the rest.
    pub(crate) fn holds(&self, key: KeyId) -> bool {
        self.keys.share(key, self.half).available_permits() < self.half as usize
    }
}

/// Room that callers of one sort share.
#[derive(Debug)]
struct Pool<K> {
    all: Arc<Semaphore>,
    shares: Mutex<HashMap<K, Weak<Semaphore>>>,
}

impl<K: Copy + Eq + Hash> Pool<K> {
    fn new(mebibytes: u32) -> Self {
        let all = Arc::new(Semaphore::new((mebibytes as usize) << 10));
        Self { all, shares: Mutex::default() }
    }

    /// The caller's own share first: who waits for it holds nothing that others wait for.
    async fn room(
        &self,
        whose: K,
        share_units: u32,
        units: u32,
        wait: Duration,
    ) -> Result<Room, NoRoom> {
        let share = self.share(whose, share_units);
        let found = tokio::time::timeout(wait, async {
            let own = Arc::clone(&share).acquire_many_owned(units.min(share_units)).await.ok()?;
            let all = Arc::clone(&self.all).acquire_many_owned(units).await.ok()?;
            Some(Room { _all: all, _share: (own, share) })
        });
        found.await.ok().flatten().ok_or(NoRoom { seconds: 5 })
    }

    fn share(&self, whose: K, units: u32) -> Arc<Semaphore> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(&whose).and_then(Weak::upgrade) {
            return share;
        }
        if shares.len() >= MOST_IDLE {
            shares.retain(|_, share| share.strong_count() > 0);
        }
        let share = Arc::new(Semaphore::new(units as usize));
        shares.insert(whose, Arc::downgrade(&share));
        share
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    // Otherwise a task that asks so often is made to wait for others, which are none.
    use tokio::task::unconstrained;

    use super::*;

    fn from(last: u8, shared: bool) -> Origin {
        Origin { place: Some(Place::V4([192, 0, 2, last].into())), shared }
    }

    #[tokio::test]
    async fn one_key_leaves_half_of_the_room_to_others_and_small_bodies_are_many() {
        let bodies = Bodies::new(64);
        let (slow, other) = (KeyId([1; 16]), KeyId([2; 16]));
        let room = |key, bytes| {
            let room = unconstrained(bodies.room(Whose::Key(key), bytes)).now_or_never();
            room.map(Result::unwrap)
        };
        let held: Vec<_> = (0..2).map(|_| room(slow, 16 << 20).unwrap()).collect();
        assert!(room(slow, 1).is_none(), "its half is taken");
        let many: Vec<_> = (0..32 * 1024).map(|_| room(other, 700).unwrap()).collect();
        assert!(room(KeyId([3; 16]), 1).is_none(), "all of it is taken");
        drop(held);
        assert!(room(slow, 16 << 20).is_some());
        drop(many);
        let stranger = Whose::Stranger(from(1, false));
        assert!(unconstrained(bodies.room(stranger, 64 << 10)).now_or_never().is_some());
    }

    #[tokio::test]
    async fn one_address_fills_its_part_and_neither_others_nor_vaults_nor_forms_wait_for_it() {
        let bodies = Bodies::new(64);
        let room = |whose| unconstrained(bodies.room(whose, 64 << 10)).now_or_never();
        let greedy = Whose::Stranger(from(1, false));
        let held: Vec<_> = (0..16).map(|_| room(greedy).unwrap().unwrap()).collect();
        assert!(room(greedy).is_none());
        let shared = Whose::Stranger(from(2, true));
        let many: Vec<_> = (0..128).map(|_| room(shared).unwrap().unwrap()).collect();
        assert!(room(shared).is_none());
        // Seven more take what is left of this room; the others are not touched by it.
        let rest: Vec<_> = (3..10)
            .flat_map(|last| (0..16).map(move |_| Whose::Stranger(from(last, false))))
            .map(|whose| room(whose).unwrap().unwrap())
            .collect();
        assert!(room(Whose::Stranger(from(77, false))).is_none());
        assert!(room(Whose::Vault(TaskId::generate())).is_some());
        assert!(room(Whose::Form(from(1, false))).is_some());
        drop((held, many, rest));
        assert!(room(greedy).is_some());
    }

    #[tokio::test]
    async fn who_finds_no_room_in_time_is_told_to_come_again() {
        let pool: Pool<u8> = Pool::new(1);
        let _held = pool.room(1, 1024, 1024, Duration::ZERO).await.unwrap();
        let told = pool.room(2, 1024, 1, Duration::from_millis(1)).await.unwrap_err();
        assert_eq!(told, NoRoom { seconds: 5 });
    }
}
