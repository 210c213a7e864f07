//! Work on a strip, shared by threads.
//!
//! All threads work on the same strip of the same tile, phase by phase, rather than each on a tile of its own: a finished
//! tile could weigh half a gigabyte while it waits for the one before it. Items are taken from one queue and results are
//! written where the item says, so the outcome does not depend on who did what; of several errors the first item's counts.

use std::sync::Mutex;

/// Does `work` on every item, each worker with its own state.
pub(crate) fn share<S: Send, T: Send, E: Send>(
    workers: &mut [S],
    items: impl ExactSizeIterator<Item = T> + Send,
    work: impl Fn(&mut S, T) -> Result<(), E> + Sync,
) -> Result<(), E> {
    share_meanwhile(workers, items, work, || ())
}

/// As [`share`], while the calling thread does something else.
pub(crate) fn share_meanwhile<S: Send, T: Send, E: Send>(
    workers: &mut [S],
    items: impl ExactSizeIterator<Item = T> + Send,
    work: impl Fn(&mut S, T) -> Result<(), E> + Sync,
    meanwhile: impl FnOnce(),
) -> Result<(), E> {
    let useful = workers.len().min(items.len());
    if useful <= 1 {
        meanwhile();
        let Some(only) = workers.first_mut() else { return Ok(()) };
        let mut items = items;
        return items.try_for_each(|item| work(only, item));
    }
    let queue = Mutex::new((items.enumerate(), None::<(usize, E)>));
    let next = || {
        let mut queue =
            queue.lock().expect("the queue is whole because taking an item cannot panic");
        // After an error only items before it could still change the outcome, and those are taken already.
        if queue.1.is_some() { None } else { queue.0.next() }
    };
    std::thread::scope(|scope| {
        for worker in &mut workers[..useful] {
            scope.spawn(|| {
                while let Some((at, item)) = next() {
                    if let Err(error) = work(worker, item) {
                        let mut queue = queue
                            .lock()
                            .expect("the queue is whole because taking an item cannot panic");
                        if queue.1.as_ref().is_none_or(|(first, _)| at < *first) {
                            queue.1 = Some((at, error));
                        }
                    }
                }
            });
        }
        meanwhile();
    });
    let (_, error) =
        queue.into_inner().expect("the queue is whole because taking an item cannot panic");
    error.map_or(Ok(()), |(_, error)| Err(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_done_once_and_the_first_error_counts() {
        for threads in [0, 1, 3, 8] {
            let mut workers = vec![(); threads];
            let mut squares = vec![0; 1000];
            let items = squares.iter_mut().enumerate();
            let square = |(): &mut (), (i, square): (usize, &mut usize)| {
                *square = i * i;
                Ok::<(), usize>(())
            };
            share(&mut workers, items, square).unwrap();
            let expected: Vec<usize> =
                (0..1000).map(|i| if threads == 0 { 0 } else { i * i }).collect();
            assert_eq!(squares, expected);
            if threads > 0 {
                let failed =
                    share(&mut workers, 0..1000, |(), i| if i % 7 == 6 { Err(i) } else { Ok(()) });
                assert_eq!(failed, Err(6));
            }
        }
    }
}
