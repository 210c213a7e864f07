//! What a broker wrote down of a run, to go on after it was killed.
//!
//! One file, appended to. Records are sealed under the run's dataset key, many at a time: the tag that proves them is the
//! checksum that finds a torn end, and names of files do not lie about a second time. A plain file rather than a database
//! because nothing is ever looked up in it: it is read once, at the start, and only ever appended to in between.
//!
//! The journal is a cache. Without it a run is read and sent anew; nothing is lost, and the hub's copy of what was sent
//! before is counted in the manifest as objects that no file names.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use seal::DatasetKey;
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

const PURPOSE: &str = "broker journal";
/// Records are sealed together until there is about so much of them; a sealed text has 64 KiB at most.
const BATCH_BYTES: usize = 32 * 1024;
/// The longest sealed text, with what sealing adds to it.
const MOST_BYTES: usize = 65 * 1024;

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk gave an error.
    #[error("the journal {path} cannot be used")]
    Disk {
        /// Where it lies.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another process works on the same run.
    #[error("another process is sending this run: it holds the journal {path}")]
    Busy {
        /// Where it lies.
        path: PathBuf,
    },
    /// Records could not be sealed.
    #[error("a record of the journal {path} cannot be sealed")]
    Seal {
        /// Where it lies.
        path: PathBuf,
        /// Why.
        #[source]
        source: seal::WrapError,
    },
}

/// An open journal of records `R`; nobody else can open it meanwhile.
#[derive(Debug)]
pub struct Journal<R> {
    path: PathBuf,
    file: File,
    records: PhantomData<fn(R)>,
}

impl<R: Serialize + DeserializeOwned> Journal<R> {
    /// Opens or makes the journal at `path` and reads what stands in it. What follows a torn or foreign record is cut off.
    pub fn open(path: &Path, key: &DatasetKey) -> Result<(Self, Vec<R>), JournalError> {
        let disk = |source| JournalError::Disk { path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path).map_err(disk)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(JournalError::Busy { path: path.to_owned() });
            }
            Err(fs::TryLockError::Error(source)) => return Err(disk(source)),
        }
        let mut records = Vec::new();
        let mut whole = 0;
        let mut reader = io::BufReader::new(&mut file);
        while let Some(sealed) = next_sealed(&mut reader).map_err(disk)? {
            let Ok(text) = seal::label::open_label(key, PURPOSE, &sealed) else { break };
            let text = Zeroizing::new(text);
            let batch: Result<Vec<R>, _> =
                text.split(|byte| *byte == b'\n').map(serde_json::from_slice).collect();
            let Ok(batch) = batch else { break };
            records.extend(batch);
            whole += 4 + sealed.len() as u64;
        }
        file.set_len(whole).map_err(disk)?;
        Ok((Self { path: path.to_owned(), file, records: PhantomData }, records))
    }

    /// Appends records. They outlive this process when this returns; a power cut may take the last ones, which costs
    /// sending again what they speak of.
    pub fn append(&mut self, key: &DatasetKey, records: &[R]) -> Result<(), JournalError> {
        let mut out = Vec::new();
        let mut batch = Zeroizing::new(Vec::with_capacity(2 * BATCH_BYTES));
        for record in records {
            let line = serde_json::to_vec(record)
                .expect("a record serializes because it holds only texts and numbers");
            if !batch.is_empty() && batch.len() + line.len() > BATCH_BYTES {
                self.seal(key, &batch, &mut out)?;
                batch.clear();
            }
            if !batch.is_empty() {
                batch.push(b'\n');
            }
            batch.extend_from_slice(&line);
        }
        if !batch.is_empty() {
            self.seal(key, &batch, &mut out)?;
        }
        let path = &self.path;
        self.file
            .write_all(&out)
            .map_err(|source| JournalError::Disk { path: path.clone(), source })
    }

    fn seal(&self, key: &DatasetKey, batch: &[u8], out: &mut Vec<u8>) -> Result<(), JournalError> {
        let sealed = seal::label::seal_label(key, PURPOSE, batch)
            .map_err(|source| JournalError::Seal { path: self.path.clone(), source })?;
        let length = u32::try_from(sealed.len())
            .expect("a sealed label fits a u32 because it has 65 KiB at most");
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&sealed);
        Ok(())
    }
}

/// The next sealed batch, `None` at the end or where the rest is torn.
fn next_sealed(reader: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    let mut sealed = Vec::new();
    match reader.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > MOST_BYTES {
        return Ok(None);
    }
    sealed.resize(length, 0);
    match reader.read_exact(&mut sealed) {
        Ok(()) => Ok(Some(sealed)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::Stamp;
    use crate::machine::Record;
    use api::Digest;

    fn record(n: u64) -> Record {
        let stamp = Stamp { bytes: n, modified_ns: 1, inode: 2 };
        Record::Whole {
            path: format!("Data/secret-name-{n}").into(),
            stamp,
            sha256: Digest([1; 32]),
        }
    }

    #[test]
    fn what_was_written_is_read_and_a_torn_end_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let key = DatasetKey::generate().unwrap();
        let records: Vec<_> = (0..2000).map(record).collect();
        let (mut journal, none) = Journal::<Record>::open(&path, &key).unwrap();
        assert!(none.is_empty());
        journal.append(&key, &records).unwrap();
        drop(journal);
        let length = fs::metadata(&path).unwrap().len();
        assert_eq!(Journal::<Record>::open(&path, &key).unwrap().1, records);
        // A torn last batch, then new records behind what is whole.
        OpenOptions::new().write(true).open(&path).unwrap().set_len(length - 1).unwrap();
        let (mut journal, fewer) = Journal::<Record>::open(&path, &key).unwrap();
        assert!(!fewer.is_empty() && fewer.len() < records.len());
        assert_eq!(fewer, records[..fewer.len()]);
        journal.append(&key, &[record(7)]).unwrap();
        drop(journal);
        let again = Journal::<Record>::open(&path, &key).unwrap().1;
        assert_eq!(again.last(), Some(&record(7)));
        assert_eq!(again.len(), fewer.len() + 1);
    }

    #[test]
    fn no_name_and_no_key_lies_in_a_journal() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let key = DatasetKey::generate().unwrap();
        let (mut journal, _) = Journal::<Record>::open(&path, &key).unwrap();
        journal.append(&key, &[record(1)]).unwrap();
        drop(journal);
        let bytes = fs::read(&path).unwrap();
        for needle in [b"secret-name".as_slice(), key.expose(), b"sha256"] {
            assert!(!bytes.windows(needle.len()).any(|window| window == needle));
        }
        let other = DatasetKey::generate().unwrap();
        assert!(Journal::<Record>::open(&path, &other).unwrap().1.is_empty());
    }
}
