//! A copy of a key store while it serves, and a key store made of one.
//!
//! A copy is as dangerous as the key store: whoever keeps it keeps what is destroyed afterwards. So this hands out bytes and
//! writes none: the hub seals them under a key with an end.
//!
//! Files are only appended to, or exchanged whole and then overwritten. A reader that meets such a moment reads a torn end
//! or zeros, both of which fail their checksums; it reads again.

use std::io;
use std::path::PathBuf;

use super::place::{KIND, id_in};
use super::record::{self, HEADER_BYTES, Records};
use super::{DatasetId, KeyStore, KeyStoreError, away};
use crate::blocking;
use crate::disk::{Disk as _, RealDisk};

/// How often a file is read again that was not whole.
const TRIES: usize = 20;

/// Which files a key store has, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyNames {
    /// Datasets, accounts and projects with a file.
    pub datasets: Vec<DatasetId>,
    /// Those whose keys were destroyed.
    pub destroyed: Vec<DatasetId>,
}

/// The names in both places together; a key store that serves may go on meanwhile.
///
/// # Errors
/// If neither place can be listed.
pub fn key_names(places: &[PathBuf; 2]) -> io::Result<KeyNames> {
    let mut names = KeyNames::default();
    let mut refusal = None;
    let mut is_listed = false;
    for place in places {
        let listed = (|| {
            KIND.read(&RealDisk, place).map_err(|e| io::Error::other(e.in_words()))?;
            Ok::<_, io::Error>((
                RealDisk.list(&place.join("datasets"))?,
                RealDisk.list(&place.join("destroyed"))?,
            ))
        })();
        match listed {
            Ok((datasets, destroyed)) => {
                is_listed = true;
                let id = |name: &str| id_in(name.strip_suffix(".keys")?);
                names.datasets.extend(datasets.iter().filter_map(|entry| id(&entry.name)));
                names.destroyed.extend(destroyed.iter().filter_map(|entry| id_in(&entry.name)));
            }
            Err(error) => refusal = Some(error),
        }
    }
    for list in [&mut names.datasets, &mut names.destroyed] {
        list.sort_unstable();
        list.dedup();
    }
    match refusal {
        Some(refusal) if !is_listed => Err(refusal),
        _ => Ok(names),
    }
}

/// The file of one dataset, whole: what both places say together. Nothing if it is gone meanwhile.
///
/// # Errors
/// If a disk fails, or no place has a whole file.
pub fn read_key_file(places: &[PathBuf; 2], dataset: &DatasetId) -> io::Result<Option<Vec<u8>>> {
    let name = format!("{}.keys", data_encoding::HEXLOWER.encode(dataset));
    for attempt in 0..TRIES {
        let mut records = Records::new();
        let (mut whole, mut is_there) = (false, false);
        for place in places {
            match std::fs::read(place.join("datasets").join(&name)) {
                Ok(bytes) => {
                    is_there = true;
                    let parsed = record::parse(dataset, &bytes);
                    whole |= parsed.lost_bytes == 0 && bytes.len() >= HEADER_BYTES;
                    for (slot, found) in parsed.records {
                        record::join(&mut records, slot, found);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        if !is_there {
            return Ok(None);
        }
        if whole {
            return Ok(Some(record::encode_file(dataset, &records)));
        }
        std::thread::sleep(std::time::Duration::from_millis(1 << attempt.min(7)));
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("{name} is whole in neither place")))
}

/// Whether these bytes are a whole file of this dataset, as [`read_key_file`] gives them.
#[must_use]
pub fn is_whole_key_file(dataset: &DatasetId, bytes: &[u8]) -> bool {
    bytes.len() >= HEADER_BYTES && record::parse(dataset, bytes).lost_bytes == 0
}

impl KeyStore {
    /// Makes a key store of the files of another, in two directories that are empty or not there yet, and opens it. What
    /// was destroyed there is destroyed here.
    ///
    /// # Errors
    /// If a directory holds anything, a file is not whole, or a disk fails.
    pub async fn restore(
        places: [PathBuf; 2],
        destroyed: Vec<DatasetId>,
        files: Vec<(DatasetId, Vec<u8>)>,
    ) -> Result<Self, KeyStoreError> {
        let made = places.clone();
        blocking(move || {
            let store = uuid::Uuid::now_v7();
            for place in &made {
                KIND.create(&RealDisk, place, Some(store)).map_err(|error| away(place, error))?;
                let failed = |source| KeyStoreError::Io {
                    place: place.clone(),
                    act: "write restored keys",
                    source,
                };
                for id in &destroyed {
                    let name = data_encoding::HEXLOWER.encode(id);
                    write_synced(&place.join("destroyed").join(name), &[]).map_err(failed)?;
                }
                for (id, bytes) in &files {
                    if destroyed.contains(id) {
                        continue;
                    }
                    if !is_whole_key_file(id, bytes) {
                        return Err(failed(io::ErrorKind::InvalidData.into()));
                    }
                    let name = format!("{}.keys", data_encoding::HEXLOWER.encode(id));
                    write_synced(&place.join("datasets").join(name), bytes).map_err(failed)?;
                }
                for folder in ["datasets", "destroyed"] {
                    RealDisk.sync_dir(&place.join(folder)).map_err(failed)?;
                }
            }
            Ok(())
        })
        .await?;
        Self::open(places).await
    }
}

fn write_synced(path: &std::path::Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
