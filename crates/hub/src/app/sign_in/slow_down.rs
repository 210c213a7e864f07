//! Failed sign-ins make the next try wait.
//!
//! Counted apart: this name from this place (five tries are free, so a person who mistypes notices nothing), this place
//! whatever the name, and this name whatever the place. The last has the highest bound, because whoever guesses from many
//! addresses would otherwise lock its owner out; a passkey is never made to wait for somebody else's wrong passwords. A
//! place that stands for many callers is not counted by itself: one of them would make all the others wait. A name that
//! nobody has is counted like any other.
//!
//! A try counts when it begins, and no more once it was right: so many at once are as many as one after the other. Counts are
//! in memory, of a bounded number, and forgotten after a quiet hour: blocks that outlive a restart are another layer's. Where
//! there are too many, those go first that make nobody wait.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use api::{AccountId, Digest, ErrorCode, Time};
use jiff::SignedDuration;

use crate::HubError;
use crate::gate::{Origin, Place};

/// How many counts are kept.
const MOST: usize = 65_536;
/// One part in so many is forgotten when there is room for no more.
const FORGET: usize = 8;
/// After how long without a failure a count is forgotten.
const QUIET: SignedDuration = SignedDuration::from_hours(1);
/// The longest wait.
const LONGEST: i64 = 15 * 60;

/// What is counted. Names by their hash, so that what somebody typed into the wrong field stands nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum What {
    /// This name from this place.
    Both(Digest, Option<Place>),
    /// This place.
    Place(Place),
    /// This name.
    Name(Digest),
}

impl What {
    /// How many failures are free.
    const fn free(self) -> u32 {
        match self {
            Self::Both(..) => 5,
            Self::Place(_) => 30,
            Self::Name(_) => 100,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Count {
    failures: u32,
    last: Time,
    account: Option<AccountId>,
}

impl Count {
    /// How many seconds after the last failure the next try is taken: 1, 2, 4 …, up to a quarter of an hour.
    fn wait(&self, free: u32) -> i64 {
        self.failures.checked_sub(free).map_or(0, |beyond| (1_i64 << beyond.min(20)).min(LONGEST))
    }
}

/// The counts.
#[derive(Debug, Default)]
pub(crate) struct SlowDown(Mutex<HashMap<What, Count>>);

/// A try that has begun, and counts as failed until it is given back.
#[derive(Debug)]
#[must_use]
pub(crate) struct Begun {
    at: Time,
    counted: Vec<(What, Option<Time>)>,
}

fn counted(name: Digest, from: Origin) -> impl Iterator<Item = What> {
    let alone = from.place.filter(|_| !from.shared);
    [Some(What::Both(name, from.place)), alone.map(What::Place), Some(What::Name(name))]
        .into_iter()
        .flatten()
}

impl SlowDown {
    /// Lets a try begin and counts it, or says for how long to wait. `account` is whose name it is, if it is somebody's.
    pub(crate) fn begin(
        &self,
        name: Digest,
        from: Origin,
        account: Option<AccountId>,
        now: Time,
    ) -> Result<Begun, HubError> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = counted(name, from)
            .filter_map(|what| {
                let count = counts.get(&what)?;
                let passed = now.duration_since(count.last).as_secs().max(0);
                let left = count.wait(what.free()) - passed;
                (left > 0).then_some(left)
            })
            .max();
        if let Some(seconds) = wait {
            return Err(HubError::new(
                ErrorCode::TooManyRequests,
                "too many sign-ins failed with this name or from this address",
            )
            .hint(format!("try again in {seconds} seconds, or sign in with a passkey")));
        }
        let mut begun = Begun { at: now, counted: Vec::with_capacity(3) };
        for what in counted(name, from) {
            if counts.len() >= MOST && !counts.contains_key(&what) {
                make_room(&mut counts, now);
            }
            let before = counts.get(&what).map(|count| count.last);
            let count = counts.entry(what).or_insert(Count { failures: 0, last: now, account });
            if now.duration_since(count.last) >= QUIET {
                count.failures = 0;
            }
            count.failures = count.failures.saturating_add(1);
            count.last = now;
            count.account = account.or(count.account);
            begun.counted.push((what, before));
        }
        Ok(begun)
    }

    /// The try was right, or nothing became of it for a reason that is not its name or password: it does not count.
    pub(crate) fn give_back(&self, begun: Begun) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (what, before) in begun.counted {
            let Some(count) = counts.get_mut(&what) else { continue };
            count.failures = count.failures.saturating_sub(1);
            // Nobody waits because somebody was right.
            if let Some(before) = before.filter(|_| count.last == begun.at) {
                count.last = before;
            }
            if count.failures == 0 {
                counts.remove(&what);
            }
        }
    }

    /// Forgets the failures under the names of an account that has signed in. Those of places stay: whoever guesses many
    /// names may have one of their own.
    pub(crate) fn forget(&self, account: AccountId) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts
            .retain(|what, count| matches!(what, What::Place(_)) || count.account != Some(account));
    }
}

/// Forgets what is quiet; and if that is not enough, a part of the rest: first counts that make nobody wait, of those the
/// smallest, of those the oldest. So a flood of names forgets itself, and who is guessed at is not forgotten.
fn make_room(counts: &mut HashMap<What, Count>, now: Time) {
    counts.retain(|_, count| now.duration_since(count.last) < QUIET);
    if counts.len() < MOST {
        return;
    }
    let mut all: Vec<_> = counts
        .iter()
        .map(|(what, count)| ((count.wait(what.free()) > 0, count.failures, count.last), *what))
        .collect();
    let part = (MOST / FORGET).min(all.len());
    all.select_nth_unstable_by_key(part.saturating_sub(1), |(worth, _)| *worth);
    for (_, what) in all.into_iter().take(part) {
        counts.remove(&what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Time {
        Time::from_second(1_800_000_000 + second).unwrap()
    }

    fn from(last: u8) -> Origin {
        Origin { place: Some(Place::V4([192, 0, 2, last].into())), shared: false }
    }

    /// A try that was wrong.
    fn fails(slow: &SlowDown, name: Digest, from: Origin, now: i64) -> bool {
        slow.begin(name, from, None, at(now)).is_ok()
    }

    #[test]
    fn five_slips_are_free_and_each_further_one_doubles_the_wait() {
        let (slow, name) = (SlowDown::default(), proof::sha256(b"ada"));
        let here = from(1);
        assert_eq!((0..100).filter(|_| fails(&slow, name, here, 0)).count(), 5);
        let mut now = 0;
        for wait in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900] {
            assert!(!fails(&slow, name, here, now + wait - 1), "{wait}");
            now += wait;
            assert!(fails(&slow, name, here, now), "{wait}");
        }
        // The owner of the name, somewhere else, is not made to wait by it.
        assert!(fails(&slow, name, from(2), now));
        // And one who tries many names from one address waits whatever the name.
        let tries = (0..40).filter(|n: &u8| fails(&slow, proof::sha256(&[*n]), from(3), now));
        assert_eq!(tries.count(), 30);
        assert!(!fails(&slow, proof::sha256(b"new"), from(3), now));
    }

    #[test]
    fn so_many_tries_at_once_are_as_many_as_one_after_the_other() {
        let (slow, name) = (SlowDown::default(), proof::sha256(b"ada"));
        // None of them has come to its end, and only five have begun.
        let begun: Vec<_> =
            (0..34).filter_map(|_| slow.begin(name, from(1), None, at(0)).ok()).collect();
        assert_eq!(begun.len(), 5);
        // What was right does not count: others may try, and nobody waits for it.
        for right in begun {
            slow.give_back(right);
        }
        assert!(slow.0.lock().unwrap().is_empty());
        assert_eq!((0..34).filter(|_| fails(&slow, name, from(1), 0)).count(), 5);
    }

    #[test]
    fn who_fails_behind_a_shared_address_slows_nobody_else_there() {
        let slow = SlowDown::default();
        let shared = Origin { shared: true, ..from(1) };
        for n in 0..1000_u16 {
            fails(&slow, proof::sha256(&n.to_be_bytes()), shared, 0);
        }
        assert!(fails(&slow, proof::sha256(b"somebody else"), shared, 0));
        let guessed = proof::sha256(b"guessed");
        assert_eq!((0..100).filter(|_| fails(&slow, guessed, shared, 0)).count(), 5);
    }

    #[test]
    fn a_full_table_counts_on_and_keeps_who_is_guessed_at() {
        let (slow, guessed) = (SlowDown::default(), proof::sha256(b"guessed"));
        let origin = |n: u32| {
            let [a, b, c, d] = n.to_be_bytes();
            Origin { place: Some(Place::V6([0x20, 1, 0xd, 0xb8, a, b, c, d])), shared: false }
        };
        assert_eq!((0..100).filter(|_| fails(&slow, guessed, from(1), 0)).count(), 5);
        for n in 0..u32::try_from(MOST).unwrap() {
            fails(&slow, proof::sha256(&n.to_be_bytes()), origin(n), 0);
        }
        assert!(slow.0.lock().unwrap().len() <= MOST);
        assert!(!fails(&slow, guessed, from(1), 0), "still made to wait");
        let new = proof::sha256(b"new");
        assert_eq!((0..100).filter(|_| fails(&slow, new, from(2), 0)).count(), 5, "and counted");
    }

    #[test]
    fn a_success_forgives_the_names_of_its_account_and_no_address() {
        let (slow, name) = (SlowDown::default(), proof::sha256(b"ada"));
        let ada = AccountId::generate();
        for n in 0..30 {
            let _fails = slow.begin(name, from(1), Some(ada), at(1000 * n)).unwrap();
        }
        slow.forget(ada);
        let nowhere = Origin { place: None, shared: false };
        assert!(fails(&slow, name, nowhere, 29_000));
        assert!(!fails(&slow, name, from(1), 29_000), "the address has failed thirty times");
    }
}
