//! Files that go together: read 1, read 2 and index reads name the same clusters in the same order.
//!
//! Each file is read at its own pace, so names wait until the last file has come to them. A hash of 64 bits stands for a name:
//! a wrong pair shifts every name that follows, and that all of them collide by chance does not happen.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Fault;

/// Names are handed over so many at a time.
const BATCH: usize = 512;

/// A set of files whose names are compared.
#[derive(Debug)]
pub struct Mates(Arc<Mutex<Waiting>>);

#[derive(Debug)]
struct Waiting {
    /// Names that not every file has come to.
    names: VecDeque<u64>,
    /// How many names have gone from the front.
    gone: u64,
    /// How many names each file has given.
    given: Vec<u64>,
}

/// One file of the set.
#[derive(Debug)]
pub struct Side {
    mates: Arc<Mutex<Waiting>>,
    which: usize,
    batch: Vec<u64>,
}

impl Mates {
    /// A set of so many files, and its sides: all of them at once, so that no name goes before its mates could come.
    pub fn new(files: usize) -> (Self, Vec<Side>) {
        let waiting = Waiting { names: VecDeque::new(), gone: 0, given: vec![0; files] };
        let mates = Arc::new(Mutex::new(waiting));
        let side = |which| Side { mates: Arc::clone(&mates), which, batch: Vec::new() };
        let sides = (0..files).map(side).collect();
        (Self(mates), sides)
    }

    /// How many names each file gave, in the order of the sides.
    pub fn counts(&self) -> Vec<u64> {
        lock(&self.0).given.clone()
    }
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Side {
    /// The next name.
    pub(crate) fn name(&mut self, name: &[u8]) -> Result<(), Fault> {
        let mut hasher = DefaultHasher::new();
        hasher.write(name);
        self.batch.push(hasher.finish());
        if self.batch.len() < BATCH { Ok(()) } else { self.hand_over() }
    }

    /// There are no more.
    pub(crate) fn end(&mut self) -> Result<(), Fault> {
        self.hand_over()
    }

    fn hand_over(&mut self) -> Result<(), Fault> {
        let mut waiting = lock(&self.mates);
        let waiting = &mut *waiting;
        for name in self.batch.drain(..) {
            let at = waiting.given[self.which];
            // What is gone was given by every file, so this one is not behind it.
            let place = usize::try_from(at - waiting.gone).unwrap_or(usize::MAX);
            match waiting.names.get(place) {
                Some(other) if *other != name => return Err(Fault::Mate { record: at + 1 }),
                Some(_) => {}
                None => waiting.names.push_back(name),
            }
            waiting.given[self.which] = at + 1;
        }
        let last = waiting.given.iter().copied().min().unwrap_or(0);
        while waiting.gone < last && waiting.names.pop_front().is_some() {
            waiting.gone += 1;
        }
        Ok(())
    }
}
