//! How far a run is, written down beside its state for whoever asks while it is being sent.
//!
//! Numbers only: no name of a file and no byte of data. The file is a convenience, written over every second and never synced.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use api::TransferProgress;
use serde::{Deserialize, Serialize};

use crate::machine::Standing;

const FILE: &str = "progress.json";
/// How often the hub is told.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// When this was written, RFC 3339 in UTC.
    pub at: String,
    /// Files in the run folder.
    pub files: u64,
    /// Of them whole at the hub.
    pub files_whole: u64,
    /// Bytes in the run folder.
    pub bytes: u64,
    /// Of them at the hub: the difference is the backlog.
    pub bytes_held: u64,
    /// Whether the run is over and everything is being hashed once more.
    pub verifying: bool,
    /// Sealed bytes that this process sent.
    pub sent_bytes: u64,
    /// Sealed bytes a second, over the life of this process.
    pub bytes_per_second: u64,
    /// How often something passed by itself: a line that was cut, a share or a hub that was away.
    pub troubles: u64,
    /// Seconds until the backlog is sent at this rate; nothing where nothing was sent yet.
    pub seconds_left: Option<u64>,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let backlog = self.bytes.saturating_sub(self.bytes_held);
        write!(
            f,
            "{} of {} files whole, {} KiB to go, {} KiB/s, {} faults survived",
            self.files_whole,
            self.files,
            backlog >> 10,
            self.bytes_per_second >> 10,
            self.troubles
        )?;
        match self.seconds_left {
            Some(seconds) => write!(f, ", {seconds} s left; as of {}", self.at),
            None => write!(f, "; as of {}", self.at),
        }
    }
}

/// What a sender counts of itself.
#[derive(Debug)]
pub(crate) struct Tally {
    began: Instant,
    written: Option<Instant>,
    told: Option<Instant>,
    pub(crate) troubles: u64,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), written: None, told: None, troubles: 0 }
    }

    /// Writes the numbers down, once a second at most.
    pub(crate) fn write(&mut self, folder: &Path, standing: &Standing, sent_bytes: u64) {
        if self.written.is_some_and(|at| at.elapsed().as_secs() == 0) {
            return;
        }
        self.written = Some(Instant::now());
        let progress = self.progress(standing, sent_bytes);
        let path = folder.join(FILE);
        let text = serde_json::to_vec(&progress)
            .expect("progress serializes because it holds only numbers and a time");
        let new = path.with_extension("new");
        if let Err(error) = fs::write(&new, text).and_then(|()| fs::rename(&new, &path)) {
            tracing::debug!(path = %path.display(), %error, "how far a run is was not written down");
        }
    }

    /// The numbers for the hub, every ten seconds at most.
    pub(crate) fn for_hub(
        &mut self,
        standing: &Standing,
        sent_bytes: u64,
    ) -> Option<TransferProgress> {
        if self.told.is_some_and(|at| at.elapsed() < TELL_EVERY) {
            return None;
        }
        self.told = Some(Instant::now());
        let found = self.progress(standing, sent_bytes);
        Some(TransferProgress {
            files: found.files,
            files_whole: found.files_whole,
            bytes: found.bytes,
            bytes_held: found.bytes_held,
            verifying: found.verifying,
            bytes_per_second: found.bytes_per_second,
            faults_survived: found.troubles,
            seconds_left: found.seconds_left,
        })
    }

    fn progress(&self, standing: &Standing, sent_bytes: u64) -> Progress {
        let millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        let bytes_per_second = sent_bytes.saturating_mul(1000) / millis;
        let backlog = standing.bytes.saturating_sub(standing.bytes_held);
        Progress {
            at: jiff::Timestamp::now().to_string(),
            files: standing.files,
            files_whole: standing.files_whole,
            bytes: standing.bytes,
            bytes_held: standing.bytes_held,
            verifying: standing.verifying,
            sent_bytes,
            bytes_per_second,
            troubles: self.troubles,
            seconds_left: backlog.checked_div(bytes_per_second),
        }
    }
}

/// What was last written down of the run in this folder.
pub(crate) fn read(folder: &Path) -> Option<Progress> {
    serde_json::from_slice(&fs::read(folder.join(FILE)).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_down_is_read_and_says_how_long_it_takes() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()), None);
        let standing =
            Standing { files: 4, bytes: 4096, files_whole: 1, bytes_held: 1024, verifying: false };
        let mut tally = Tally::new();
        tally.troubles = 3;
        tally.write(folder.path(), &standing, 2048);
        let found = read(folder.path()).unwrap();
        assert_eq!((found.files, found.files_whole, found.troubles), (4, 1, 3));
        assert!(
            found.seconds_left.is_some()
                && found.to_string().contains("1 of 4 files whole, 3 KiB to go")
        );
        let told = tally.for_hub(&standing, 2048).unwrap();
        assert_eq!((told.files, told.files_whole, told.faults_survived), (4, 1, 3));
        assert_eq!(tally.for_hub(&standing, 2048), None, "told a moment ago");
        // Within the same second nothing is written.
        tally.write(folder.path(), &Standing { files: 9, ..standing }, 2048);
        assert_eq!(read(folder.path()), Some(found));
    }
}
