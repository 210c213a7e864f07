//! Connections that are open: how many from where, and which of them nobody has shown a key on.
//!
//! When all are taken, the oldest on which no call ever verified makes room. A good caller verifies within milliseconds of
//! connecting, so whoever only holds connections open holds them at the cost of others of its kind.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use super::Place;

/// All of them.
#[derive(Debug)]
pub(crate) struct Connections {
    most: usize,
    most_from_one: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: usize,
    from: HashMap<Place, usize>,
    /// Oldest first; those that became known or ended are dropped when they come to the front.
    strangers: VecDeque<Arc<Inner>>,
}

#[derive(Debug)]
struct Inner {
    place: Place,
    /// Whether a call on it verified, or it ended.
    settled: AtomicBool,
    close: CancellationToken,
}

/// One connection; dropping the last handle frees its place.
#[derive(Debug, Clone)]
pub(crate) struct Connection(Arc<Held>);

#[derive(Debug)]
struct Held {
    inner: Arc<Inner>,
    all: std::sync::Weak<Connections>,
}

impl Connections {
    pub(super) fn new(most: usize, most_from_one: usize) -> Arc<Self> {
        let most = most.max(1);
        Arc::new(Self { most, most_from_one: most_from_one.max(1), state: Mutex::default() })
    }

    /// A place for a connection from there, if there is one; a shared address may have three quarters of all.
    pub(crate) fn open(self: &Arc<Self>, place: Place, shared: bool) -> Option<Connection> {
        let most_from_one = if shared { (self.most * 3 / 4).max(1) } else { self.most_from_one };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { open, from, strangers } = &mut *state;
        if from.get(&place).is_some_and(|count| *count >= most_from_one) {
            return None;
        }
        // Settled ones at the front are only memory; of those behind it there are no more than connections.
        if strangers.len() >= 2 * self.most {
            strangers.retain(|stranger| !stranger.settled.load(Ordering::Relaxed));
        }
        // One that makes room is counted until its task has ended, which is at once.
        if *open >= 2 * self.most {
            return None;
        }
        if *open >= self.most {
            let oldest = loop {
                let stranger = strangers.pop_front()?;
                if !stranger.settled.load(Ordering::Relaxed) {
                    break stranger;
                }
            };
            oldest.close.cancel();
        }
        *open += 1;
        *from.entry(place).or_default() += 1;
        let inner = Arc::new(Inner {
            place,
            settled: AtomicBool::new(false),
            close: CancellationToken::new(),
        });
        strangers.push_back(Arc::clone(&inner));
        Some(Connection(Arc::new(Held { inner, all: Arc::downgrade(self) })))
    }

    /// How many are open.
    pub(crate) fn count(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).open
    }
}

impl Connection {
    /// Where it comes from.
    pub(crate) fn place(&self) -> Place {
        self.0.inner.place
    }

    /// A call on it verified. Says whether it is the first one.
    pub(crate) fn is_known_now(&self) -> bool {
        !self.0.inner.settled.swap(true, Ordering::Relaxed)
    }

    /// Whether one did.
    pub(crate) fn is_known(&self) -> bool {
        self.0.inner.settled.load(Ordering::Relaxed)
    }

    /// Ends when somebody else needs its place.
    pub(crate) async fn closed(&self) {
        self.0.inner.close.cancelled().await;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.inner.settled.store(true, Ordering::Relaxed);
        let Some(all) = self.all.upgrade() else { return };
        let mut state = all.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.open = state.open.saturating_sub(1);
        if let Some(count) = state.from.get_mut(&self.inner.place) {
            *count -= 1;
            if *count == 0 {
                state.from.remove(&self.inner.place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(last: u8) -> Place {
        Place::V4([192, 0, 2, last].into())
    }

    #[test]
    fn who_verified_keeps_its_place_and_the_oldest_stranger_makes_room() {
        let all = Connections::new(4, 2);
        let known = all.open(place(1), false).unwrap();
        assert!(known.is_known_now() && !known.is_known_now());
        let strangers: Vec<_> = (2..5).map(|n| all.open(place(n), false).unwrap()).collect();
        let new = all.open(place(5), false).unwrap();
        assert!(strangers[0].0.inner.close.is_cancelled());
        assert!(!strangers[1].0.inner.close.is_cancelled() && !known.0.inner.close.is_cancelled());
        drop((strangers, new));
        assert_eq!(all.count(), 1);
    }

    #[test]
    fn one_address_has_so_many_and_a_shared_one_more() {
        let all = Connections::new(8, 2);
        let held: Vec<_> = (0..2).map(|_| all.open(place(1), false).unwrap()).collect();
        assert!(all.open(place(1), false).is_none());
        let shared: Vec<_> = (0..6).map(|_| all.open(place(2), true).unwrap()).collect();
        assert!(all.open(place(2), true).is_none());
        drop((held, shared));
        assert_eq!(all.count(), 0);
        assert!(all.state.lock().unwrap().from.is_empty());
    }

    #[test]
    fn when_all_are_known_a_new_one_is_closed() {
        let all = Connections::new(2, 2);
        let known: Vec<_> = (1..3).map(|n| all.open(place(n), false).unwrap()).collect();
        assert!(known.iter().all(Connection::is_known_now));
        assert!(all.open(place(3), false).is_none());
    }
}
