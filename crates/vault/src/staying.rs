//! A vault that stays: one task after the other for the owners of the first, as an engine hands them in (decision 0027).
//!
//! Each task is a line on standard input, and is done with keys made for it. That it is done is said by whoever runs this, in a line
//! on standard output. The guest's program and the command line's vault stay by the same lines.

use std::io::{BufRead, Read};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use api::TaskId;
use client::Trust;
use zeroize::Zeroizing;

use crate::memory;
use crate::remote::{RemoteError, RemoteHub};
use crate::task::{MOST_TICKET_BYTES, TaskConfig, TaskError, Vault, VaultKeys, handed};

/// What a vault that stays says when it has done a task and can do another.
pub const DONE: &str = "done";

/// Why a vault stays no longer.
#[derive(Debug, thiserror::Error)]
pub enum StayError {
    /// A line is no task.
    #[error("what came on standard input is no task")]
    NoTask,
    /// There are no keys.
    #[error("the vault could not make its keys")]
    Keys(#[source] TaskError),
    /// The hub cannot be used.
    #[error(transparent)]
    Hub(#[from] RemoteError),
    /// A task did not complete.
    #[error("task {task} did not complete")]
    Task {
        /// Which.
        task: TaskId,
        /// Why.
        source: TaskError,
    },
    /// Nobody hears what it says.
    #[error("nobody hears that a task is done")]
    Unheard(#[source] std::io::Error),
}

/// What a vault that stays needs to know.
#[derive(Debug, Clone, Copy)]
pub struct Staying<'a> {
    /// The hub: https://host:port.
    pub hub: &'a str,
    /// Where checked app roots are kept, by digest.
    pub app_cache: &'a Path,
    /// Threads to compute with.
    pub threads: NonZeroUsize,
    /// For how long it waits for a next task.
    pub idle: Duration,
}

impl Staying<'_> {
    /// Does the tasks that come on standard input, until one fails or none comes for so long; `done` is called after each.
    ///
    /// # Errors
    /// Why it ended otherwise.
    pub fn run(
        &self,
        trust: Trust,
        done: impl FnMut() -> std::io::Result<()>,
    ) -> Result<(), StayError> {
        memory::wipe_what_is_freed();
        // Connections outlast a task; the key that this one was made with signs nothing.
        let hub = RemoteHub::new(self.hub, trust, &keys()?)?;
        self.attend(&hub, &lines(std::io::stdin()), done)
    }

    fn attend(
        &self,
        hub: &RemoteHub,
        lines: &mpsc::Receiver<Zeroizing<String>>,
        mut done: impl FnMut() -> std::io::Result<()>,
    ) -> Result<(), StayError> {
        let mut vault = Vault::default();
        while let Ok(line) = lines.recv_timeout(self.idle) {
            let (task, ticket, boots) = handed(&line).ok_or(StayError::NoTask)?;
            drop(line);
            let keys = keys()?;
            let (app_cache, threads) = (self.app_cache.to_owned(), self.threads);
            let config = TaskConfig { task, ticket, boots, app_cache, threads };
            vault
                .run(Arc::new(hub.for_keys(&keys)), &config, &keys)
                .map_err(|source| StayError::Task { task, source })?;
            drop((keys, config));
            memory::give_back();
            done().map_err(StayError::Unheard)?;
        }
        Ok(())
    }
}

fn keys() -> Result<VaultKeys, StayError> {
    VaultKeys::generate().map_err(StayError::Keys)
}

/// The lines of an input as they come; none after its end, or after one that is too long.
fn lines(input: impl Read + Send + 'static) -> mpsc::Receiver<Zeroizing<String>> {
    let (give, lines) = mpsc::channel();
    std::thread::spawn(move || {
        let mut input = std::io::BufReader::new(input);
        loop {
            let mut line = Zeroizing::new(String::new());
            let read = input.by_ref().take(MOST_TICKET_BYTES).read_line(&mut line);
            let whole = read.is_ok_and(|_bytes| line.ends_with('\n'));
            if !whole || give.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_with_the_input_or_with_one_that_is_too_long() {
        let all = |text: Vec<u8>| -> Vec<String> {
            lines(std::io::Cursor::new(text))
                .iter()
                .map(|line| line.trim_end().to_owned())
                .collect()
        };
        assert_eq!(all(b"one\ntwo\n".to_vec()), ["one", "two"]);
        // A line that was cut off hands in nothing.
        assert_eq!(all(b"one\ntw".to_vec()), ["one"]);
        let longest = usize::try_from(MOST_TICKET_BYTES).unwrap();
        let long = [&b"one\n"[..], &vec![b'x'; longest], b"\ntwo\n"].concat();
        assert_eq!(all(long), ["one"]);
    }
}
