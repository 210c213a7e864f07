//! A local copy of a run folder that is known to be whole: every file is hashed again after it was written.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use api::Digest;
use proof::Hasher;

use crate::fill::inside;
use crate::folder::{ScanError, scan};
use crate::state::sync_folder;

/// Why a copy is not kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The run folder cannot be read.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// A file could not be copied.
    #[error("{path} cannot be copied to {to}")]
    Copy {
        /// Which file of the run folder.
        path: String,
        /// Where to.
        to: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The copy is not what was read.
    #[error("the copy of {path} in {to} is not what was read")]
    Differs {
        /// Which file of the run folder.
        path: String,
        /// Where to.
        to: PathBuf,
    },
}

/// Copies every file of `folder` into `to` and hashes each copy again: the number of files and of bytes.
///
/// Files that are there already with the same content are left as they are; nothing under `to` is ever deleted.
pub fn keep_verified(folder: &Path, to: &Path) -> Result<(u64, u64), KeepError> {
    let (mut files, mut bytes) = (0, 0);
    for seen in scan(folder)? {
        let (from, target) = (inside(folder, &seen.path), inside(to, &seen.path));
        let failed =
            |source| KeepError::Copy { path: seen.path.to_string(), to: to.to_owned(), source };
        let there = fs::metadata(&target).is_ok_and(|found| found.len() == seen.stamp.bytes);
        if !(there && digest(&target).map_err(failed)? == digest(&from).map_err(failed)?) {
            let read = copy(&from, &target).map_err(failed)?;
            if digest(&target).map_err(failed)? != read {
                return Err(KeepError::Differs { path: seen.path.to_string(), to: to.to_owned() });
            }
        }
        files += 1;
        bytes += seen.stamp.bytes;
    }
    Ok((files, bytes))
}

fn copy(from: &Path, to: &Path) -> io::Result<Digest> {
    let folder = to.parent().unwrap_or(to);
    fs::create_dir_all(folder)?;
    let mut source = File::open(from)?;
    let mut file = tempfile::Builder::new().prefix(".unfinished").tempfile_in(folder)?;
    let mut hasher = Hasher::new();
    each_chunk(&mut source, |chunk| {
        hasher.update(chunk);
        file.write_all(chunk)
    })?;
    file.as_file().sync_all()?;
    let file = file.persist(to)?;
    if let Ok(modified) = source.metadata().and_then(|found| found.modified()) {
        file.set_modified(modified)?;
    }
    sync_folder(folder)?;
    Ok(hasher.finish())
}

fn digest(path: &Path) -> io::Result<Digest> {
    let mut hasher = Hasher::new();
    each_chunk(&mut File::open(path)?, |chunk| {
        hasher.update(chunk);
        Ok(())
    })?;
    Ok(hasher.finish())
}

fn each_chunk(from: &mut File, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut chunk = vec![0; 128 * 1024];
    loop {
        match from.read(&mut chunk)? {
            0 => return Ok(()),
            read => take(&chunk[..read])?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_copy_is_whole_and_a_second_time_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("run"), folder.path().join("kept"));
        fs::create_dir_all(from.join("Data/L001")).unwrap();
        fs::write(from.join("Data/L001/x.bcl"), vec![3; 300_000]).unwrap();
        fs::write(from.join("RunInfo.xml"), b"<xml/>").unwrap();
        assert_eq!(keep_verified(&from, &to).unwrap(), (2, 300_006));
        assert_eq!(fs::read(to.join("Data/L001/x.bcl")).unwrap(), vec![3; 300_000]);
        let before = fs::metadata(to.join("RunInfo.xml")).unwrap().modified().unwrap();
        // A damaged copy of the same length is written anew, the others stay.
        fs::write(to.join("Data/L001/x.bcl"), vec![4; 300_000]).unwrap();
        keep_verified(&from, &to).unwrap();
        assert_eq!(fs::read(to.join("Data/L001/x.bcl")).unwrap(), vec![3; 300_000]);
        assert_eq!(fs::metadata(to.join("RunInfo.xml")).unwrap().modified().unwrap(), before);
    }
}
