//! Nonces of accepted calls: a call counts once, also across a restart.
//!
//! Every signed call waits for its nonce to be on the disk, so this is the one place that decides what a call costs. It is a log
//! of its own beside the database: a thread gathers what waits, appends it to a file, syncs that once and answers all of it. What
//! a database does beyond that (pages, an index, a log of its own, another thread) would cost several times as much, for rows
//! that nobody ever looks up.
//!
//! A nonce is remembered until its signature is too old to be accepted. Nonces live in two generations: the younger grows, the
//! elder waits until the last of its signatures is too old, and then the younger takes its place. So memory and disk hold the
//! calls of about twenty minutes, 24 bytes of disk for each.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use api::KeyId;
use proof::{MAX_SKEW_SECONDS, sha256};
use tokio::sync::{mpsc, oneshot};

use super::{Db, parsed};
use crate::{HubError, StartError};

/// How many nonces at most are written at once.
const BATCH: usize = 256;
/// How long the first nonce waits for others, where the last one was not alone.
const GATHER: Duration = Duration::from_millis(1);
/// How long a generation grows at least, in microseconds of the callers' clock: as long as a signature may count, made in the
/// future by the largest difference of clocks, until it is too old by the same.
const GENERATION: i64 = 2 * MAX_SKEW_SECONDS * 1_000_000;
/// What a file begins with.
const MAGIC: &[u8; 24] = b"chorion nonces, form 1\n\0";
/// A mark of key and nonce, and until when it counts.
const RECORD: usize = 24;

/// Who made a call, and its nonce: the first bytes of a digest of both, since nobody asks for more than equality.
type Mark = [u8; 16];

fn mark(key: KeyId, nonce: &str) -> Mark {
    let mut both = [0; 80];
    let (id, rest) = both.split_at_mut(16);
    id.copy_from_slice(&key.0);
    // A nonce has at most 64 letters (`proof::ParsedCall`); a longer one would be cut, and so refused as used.
    let length = nonce.len().min(rest.len());
    rest[..length].copy_from_slice(&nonce.as_bytes()[..length]);
    let mut mark = [0; 16];
    mark.copy_from_slice(&sha256(&both[..16 + length]).0[..16]);
    mark
}

struct Entry {
    mark: Mark,
    now: i64,
    expires: i64,
    answer: oneshot::Sender<Result<bool, HubError>>,
}

/// The log of nonces.
#[derive(Debug, Clone)]
pub(crate) struct NonceLog {
    waiting: mpsc::Sender<Entry>,
}

impl NonceLog {
    /// Reads what is in `directory`, and starts the thread that writes there; it ends when the last handle is gone.
    pub(crate) async fn open(directory: PathBuf, db: &Db, now: i64) -> Result<Self, StartError> {
        let mut kept = Kept::open(directory, now)?;
        take_over(db, &mut kept, now).await?;
        let (waiting, entries) = mpsc::channel(BATCH);
        let name = "nonces".to_owned();
        let path = kept.directory.clone();
        std::thread::Builder::new()
            .name(name)
            .spawn(move || write(kept, entries))
            .map_err(|source| StartError::File { act: "start the writer of", path, source })?;
        Ok(Self { waiting })
    }

    /// Keeps the nonce and says whether it is new. On the disk when this returns.
    pub(crate) async fn is_new(
        &self,
        key: KeyId,
        nonce: &str,
        now: i64,
        expires: i64,
    ) -> Result<bool, HubError> {
        let (answer, answered) = oneshot::channel();
        let entry = Entry { mark: mark(key, nonce), now, expires, answer };
        let closed = |_| HubError::internal("the hub is stopping", "the log of nonces is closed");
        self.waiting.send(entry).await.map_err(|e| closed(e.to_string()))?;
        answered.await.map_err(|e| closed(e.to_string()))?
    }
}

/// Programs before this one kept nonces in the database: those that still count are taken over, once.
async fn take_over(db: &Db, kept: &mut Kept, now: i64) -> Result<(), HubError> {
    let mut tx = db.write().await?;
    let rows: Vec<(String, String, i64)> =
        sqlx::query_as("SELECT key, nonce, expires FROM nonces WHERE expires > $1")
            .bind(now)
            .fetch_all(&mut *tx)
            .await?;
    let mut marks = Vec::with_capacity(rows.len());
    for (key, nonce, expires) in rows {
        marks.push((mark(parsed(&key)?, &nonce), expires));
    }
    kept.append(&marks, now).map_err(refused)?;
    sqlx::query("DELETE FROM nonces").execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}

fn write(mut kept: Kept, mut entries: mpsc::Receiver<Entry>) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut crowded = false;
    while entries.blocking_recv_many(&mut batch, BATCH) > 0 {
        if crowded {
            // Those that were answered together come back together: the first of them waits for the others, so that they
            // share a sync again, instead of having one to itself while they wait for the next.
            std::thread::sleep(GATHER);
            while batch.len() < BATCH
                && let Ok(entry) = entries.try_recv()
            {
                batch.push(entry);
            }
        }
        crowded = batch.len() > 1;
        let now = batch.iter().map(|entry| entry.now).max().unwrap_or_default();
        let marks: Vec<(Mark, i64)> = batch.iter().map(|one| (one.mark, one.expires)).collect();
        match kept.append(&marks, now) {
            Ok(new) => {
                for (entry, new) in batch.drain(..).zip(new) {
                    let _the_caller_went_away = entry.answer.send(Ok(new));
                }
            }
            Err(cause) => {
                let error = refused(cause);
                for entry in batch.drain(..) {
                    let _the_caller_went_away = entry.answer.send(Err(error.clone()));
                }
            }
        }
    }
}

fn refused(cause: io::Error) -> HubError {
    if cause.kind() == io::ErrorKind::StorageFull {
        HubError::disk_full(cause)
    } else {
        HubError::internal("the hub's log of nonces takes nothing", cause)
    }
}

/// Marks that are remembered together, and the files that hold them.
#[derive(Debug, Default)]
struct Generation {
    began: i64,
    /// When the last of them stops to count.
    until: i64,
    marks: HashSet<Mark>,
    files: Vec<PathBuf>,
}

/// What is remembered, and the file that is written.
#[derive(Debug)]
struct Kept {
    directory: PathBuf,
    elder: Generation,
    younger: Generation,
    /// The file that grows; none after a failure, so that nothing is written behind half a record.
    file: Option<File>,
}

impl Kept {
    /// What the files hold is the elder generation; a new file is begun with the first nonce.
    fn open(directory: PathBuf, now: i64) -> Result<Self, StartError> {
        let failed = |act, path: &Path| {
            let path = path.to_owned();
            move |source| StartError::File { act, path, source }
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(failed("make", &directory))?;
        let mut elder = Generation { began: now, until: now, ..Generation::default() };
        for entry in fs::read_dir(&directory).map_err(failed("read", &directory))? {
            let path = entry.map_err(failed("read", &directory))?.path();
            let bytes = fs::read(&path).map_err(failed("read", &path))?;
            // A file that was begun and never synced holds nothing that was answered.
            for record in bytes.strip_prefix(MAGIC).unwrap_or_default().chunks_exact(RECORD) {
                let (mark, expires) = record.split_at(16);
                let mark: Mark = mark.try_into().expect("a mark has 16 bytes");
                let expires = expires.try_into().expect("the rest of a record has 8 bytes");
                elder.until = elder.until.max(i64::from_le_bytes(expires));
                elder.marks.insert(mark);
            }
            elder.files.push(path);
        }
        let younger = Generation { began: now, until: now, ..Generation::default() };
        Ok(Self { directory, elder, younger, file: None })
    }

    /// Keeps what is new of these, and says of each whether it is. On the disk when this returns; after an error none is kept.
    fn append(&mut self, marks: &[(Mark, i64)], now: i64) -> io::Result<Vec<bool>> {
        self.grow_older(now);
        let mut new = Vec::with_capacity(marks.len());
        let mut bytes = Vec::with_capacity(marks.len() * RECORD);
        for (mark, expires) in marks {
            let is_new = !self.elder.marks.contains(mark) && self.younger.marks.insert(*mark);
            if is_new {
                self.younger.until = self.younger.until.max(*expires);
                bytes.extend_from_slice(mark);
                bytes.extend_from_slice(&expires.to_le_bytes());
            }
            new.push(is_new);
        }
        if let Err(error) = self.put(&bytes, now) {
            self.file = None;
            for ((mark, _), _new) in marks.iter().zip(&new).filter(|(_, new)| **new) {
                self.younger.marks.remove(mark);
            }
            return Err(error);
        }
        Ok(new)
    }

    fn put(&mut self, bytes: &[u8], now: i64) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(begin(&self.directory, now, &mut self.younger.files)?),
        };
        file.write_all(bytes)?;
        file.sync_data()
    }

    /// Forgets the elder generation once nothing of it counts any more, and begins another.
    fn grow_older(&mut self, now: i64) {
        if now < self.younger.began.saturating_add(GENERATION) || now <= self.elder.until {
            return;
        }
        for file in &self.elder.files {
            if let Err(error) = fs::remove_file(file) {
                tracing::warn!(file = %file.display(), "old nonces stay for now: {error}");
            }
        }
        let next = Generation { began: now, until: now, ..Generation::default() };
        self.elder = std::mem::replace(&mut self.younger, next);
        self.file = None;
    }
}

/// Begins a file, which is there also after a stop when this returns.
fn begin(directory: &Path, now: i64, files: &mut Vec<PathBuf>) -> io::Result<File> {
    let mut number = now;
    let (path, mut file) = loop {
        let path = directory.join(format!("{number:020}"));
        match OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => break (path, file),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    };
    files.push(path);
    file.write_all(MAGIC)?;
    File::open(directory)?.sync_all()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const SECOND: i64 = 1_000_000;
    const NOW: i64 = 1_700_000_000 * SECOND;

    fn open(directory: &Path, now: i64) -> Kept {
        Kept::open(directory.join("nonces"), now).unwrap()
    }

    fn one(kept: &mut Kept, nonce: &str, now: i64) -> bool {
        let expires = now + (MAX_SKEW_SECONDS + 1) * SECOND;
        kept.append(&[(mark(KeyId([1; 16]), nonce), expires)], now).unwrap()[0]
    }

    fn files(directory: &Path) -> Vec<PathBuf> {
        let all = fs::read_dir(directory.join("nonces")).unwrap();
        all.map(|entry| entry.unwrap().path()).collect()
    }

    #[test]
    fn a_nonce_is_new_once_for_each_key_also_within_a_batch_and_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let mut kept = open(directory.path(), NOW);
        let of = |key, nonce| (mark(KeyId([key; 16]), nonce), NOW + 300 * SECOND);
        let batch = [of(1, "a"), of(1, "a"), of(2, "a"), of(1, "ab")];
        assert_eq!(kept.append(&batch, NOW).unwrap(), [true, false, true, true]);
        assert_eq!(kept.append(&batch, NOW).unwrap(), [false; 4]);
        drop(kept);
        let mut kept = open(directory.path(), NOW + SECOND);
        assert_eq!(kept.append(&batch, NOW + SECOND).unwrap(), [false; 4]);
        assert!(one(&mut kept, "b", NOW + SECOND));
        drop(kept);
        let mut kept = open(directory.path(), NOW + 2 * SECOND);
        assert!(!one(&mut kept, "b", NOW + 2 * SECOND));
        assert_eq!(kept.append(&batch, NOW + SECOND).unwrap(), [false; 4]);
    }

    #[test]
    fn a_torn_record_is_no_nonce_and_hides_none() {
        let directory = tempfile::tempdir().unwrap();
        let mut kept = open(directory.path(), NOW);
        for nonce in ["a", "b", "c"] {
            assert!(one(&mut kept, nonce, NOW));
        }
        drop(kept);
        let [file] = &files(directory.path())[..] else { panic!("one file") };
        let whole = fs::metadata(file).unwrap().len();
        OpenOptions::new().write(true).open(file).unwrap().set_len(whole - 5).unwrap();
        let mut kept = open(directory.path(), NOW);
        assert!(!one(&mut kept, "a", NOW) && !one(&mut kept, "b", NOW));
        // Its sync had never returned, so nobody was told that it counts.
        assert!(one(&mut kept, "c", NOW) && !one(&mut kept, "c", NOW));
    }

    #[test]
    fn what_cannot_return_is_forgotten_and_its_files_go() {
        let directory = tempfile::tempdir().unwrap();
        let mut kept = open(directory.path(), NOW);
        assert!(one(&mut kept, "a", NOW));
        // Its signature counts until its last second, whatever came between.
        for after in (0..=MAX_SKEW_SECONDS + 1).step_by(7) {
            assert!(!one(&mut kept, "a", NOW + after * SECOND));
            assert!(one(&mut kept, &format!("other {after}"), NOW + after * SECOND));
        }
        let mut now = NOW;
        for round in 0..20 {
            now += GENERATION + SECOND;
            assert!(one(&mut kept, &format!("round {round}"), now));
            assert!(files(directory.path()).len() <= 2);
            assert!(kept.elder.marks.len() + kept.younger.marks.len() <= 60);
        }
        assert_eq!(kept.elder.marks.len() + kept.younger.marks.len(), 2);
        assert!(one(&mut kept, "a", now));
    }

    #[test]
    fn a_clock_that_was_ahead_forgets_nothing_that_still_counts() {
        let directory = tempfile::tempdir().unwrap();
        let ahead = NOW + 3600 * SECOND;
        let mut kept = open(directory.path(), ahead);
        assert!(one(&mut kept, "a", ahead));
        // Set right, and the hour comes again.
        for minute in 0..=60 {
            assert!(one(&mut kept, &format!("{minute}"), NOW + minute * 60 * SECOND));
            assert!(!one(&mut kept, "a", NOW + minute * 60 * SECOND));
        }
    }

    #[test]
    fn a_disk_that_takes_nothing_uses_no_nonce_up() {
        let directory = tempfile::tempdir().unwrap();
        let mut kept = open(directory.path(), NOW);
        assert!(one(&mut kept, "a", NOW));
        // The next file cannot be begun, and the one that is open can be written no more.
        kept.file = Some(OpenOptions::new().append(true).open("/dev/full").unwrap());
        let entry = [(mark(KeyId([1; 16]), "b"), NOW + SECOND)];
        assert!(kept.append(&entry, NOW).is_err());
        fs::rename(directory.path().join("nonces"), directory.path().join("elsewhere")).unwrap();
        assert!(kept.append(&entry, NOW).is_err());
        symlink(directory.path().join("elsewhere"), directory.path().join("nonces")).unwrap();
        assert_eq!(kept.append(&entry, NOW).unwrap(), [true]);
        assert_eq!(kept.append(&entry, NOW).unwrap(), [false]);
        drop(kept);
        let mut kept = open(directory.path(), NOW);
        assert_eq!(kept.append(&entry, NOW).unwrap(), [false]);
        assert!(!one(&mut kept, "a", NOW));
    }
}
