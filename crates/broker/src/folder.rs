//! What a scan of a run folder sees: paths and stamps, no content.
//!
//! Run folders lie on shares where a change made elsewhere is not reported, so the folder is looked at again and again.
//! What a name tells is decided here too: which files mark the end of a run, and which change while it lasts.

use std::borrow::Borrow;
use std::fs::{self, Metadata};
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

/// What changes when a file changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// Its length.
    pub bytes: u64,
    /// Its time of modification, in nanoseconds since 1970, as far as the file system keeps them.
    pub modified_ns: i64,
    /// Its inode number; 0 where there is none.
    pub inode: u64,
}

/// A file's path inside the folder, `/` between names. A run has half a million of them: copies share one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(from = "String")]
pub struct FilePath(Arc<str>);

impl From<String> for FilePath {
    fn from(path: String) -> Self {
        Self(path.into())
    }
}

impl From<&str> for FilePath {
    fn from(path: &str) -> Self {
        Self(path.into())
    }
}

impl Deref for FilePath {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for FilePath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Serialize for FilePath {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self)
    }
}

/// A file that a scan saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its path.
    pub path: FilePath,
    /// Its stamp.
    pub stamp: Stamp,
}

impl Stamp {
    /// The stamp of a file.
    pub(crate) fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(metadata);
        #[cfg(not(unix))]
        let inode = 0;
        let modified_ns = metadata
            .modified()
            .ok()
            .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
            .and_then(|since| i64::try_from(since.as_nanos()).ok())
            .unwrap_or(0);
        Self { bytes: metadata.len(), modified_ns, inode }
    }
}

/// Why a folder cannot be scanned.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The disk or the share gave an error.
    #[error("{path} cannot be read")]
    Read {
        /// What was read.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A name that no manifest can list.
    #[error(
        "{path:?} cannot be sent: its name is no Unicode text, or holds a backslash or a line break"
    )]
    Name {
        /// The file.
        path: PathBuf,
    },
}

/// Every file in `folder`. Links to files are followed, links to folders are not.
pub fn scan(folder: &Path) -> Result<Vec<Seen>, ScanError> {
    let mut seen = Vec::new();
    let mut folders = vec![(folder.to_owned(), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        let failed = |path: &Path, source| ScanError::Read { path: path.to_owned(), source };
        for entry in fs::read_dir(&folder).map_err(|e| failed(&folder, e))? {
            let entry = entry.map_err(|e| failed(&folder, e))?;
            let path = entry.path();
            let name = entry.file_name();
            let name = name
                .to_str()
                .filter(|name| !name.contains(['\\', '\n', '\r']))
                .ok_or_else(|| ScanError::Name { path: path.clone() })?;
            let name = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
            let kind = entry.file_type().map_err(|e| failed(&path, e))?;
            if kind.is_dir() {
                folders.push((path, name));
                continue;
            }
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_file() => {
                    seen.push(Seen { path: name.into(), stamp: Stamp::of(&metadata) });
                }
                Ok(_) => {}
                // Gone since the folder was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(&path, error)),
            }
        }
    }
    seen.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(seen)
}

/// Whether a file is rewritten while the run lasts: metrics, parameters and logs. Versions of it are sent now and then, the
/// last one when the run is over.
pub(crate) fn is_mutable(path: &str) -> bool {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let first = folder.split('/').next().unwrap_or("");
    let lower = name.to_ascii_lowercase();
    matches!(first, "InterOp" | "Logs" | "RTALogs" | "Recipe" | "Config")
        || lower == "runparameters.xml"
        || lower.ends_with(".log")
        || lower.ends_with("log.txt")
}

/// Of which lane and cycle a file holds base calls, by its path.
pub(crate) fn lane_and_cycle(path: &str) -> Option<(u32, u32)> {
    let (lane, rest) = path.strip_prefix("Data/Intensities/BaseCalls/L")?.split_once('/')?;
    let cycle = match rest.split_once('/') {
        Some((folder, _)) => folder.strip_prefix('C')?.split_once('.')?.0,
        None => rest.strip_suffix(".bcl.bgzf")?,
    };
    Some((lane.parse().ok()?, cycle.parse().ok()?))
}

/// Whether base calls of cycles up to `cycle` are of use only with this file.
pub(crate) fn is_needed_by(cycle: u32, path: &str) -> bool {
    let of_calls = path.starts_with("Data/Intensities/") || !path.contains('/');
    of_calls && !is_mutable(path) && lane_and_cycle(path).is_none_or(|(_, of)| of <= cycle)
}

/// How far the marks in a folder say that the run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marks {
    /// There is none that ends it.
    Open,
    /// Base calling is over, and this platform writes no further mark: over when nothing changes any more.
    BaseCalled,
    /// Base calling is over, but this platform marks the end of copying too, and that mark is not there.
    CopyMissing,
    /// Everything was copied.
    Copied,
}

/// Reads the marks from the names of a folder's files.
///
/// `CopyComplete.txt` is the last file where it is written. `MiSeq` and `NextSeq` 500 write none, and end with
/// `RTAComplete.*`; platforms with `.cbcl` files or a `SequenceComplete.txt` do write one.
pub(crate) fn marks<'a>(paths: impl Iterator<Item = &'a str>) -> Marks {
    let (mut base_called, mut writes_copy_mark) = (false, false);
    for path in paths {
        match path {
            "CopyComplete.txt" => return Marks::Copied,
            "RTAComplete.txt" | "RTAComplete.xml" => base_called = true,
            "SequenceComplete.txt" => writes_copy_mark = true,
            other if other.ends_with(".cbcl") => writes_copy_mark = true,
            _ => {}
        }
    }
    match (base_called, writes_copy_mark) {
        (false, _) => Marks::Open,
        (true, true) => Marks::CopyMissing,
        (true, false) => Marks::BaseCalled,
    }
}

/// Whether a folder that does not change any more holds a run that is over: for whoever only keeps a copy.
pub fn is_over(seen: &[Seen]) -> bool {
    matches!(marks(seen.iter().map(|file| &*file.path)), Marks::Copied | Marks::BaseCalled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_run_is_read_from_the_marks_its_platform_writes() {
        let of = |paths: &[&str]| marks(paths.iter().copied());
        assert_eq!(of(&["RunInfo.xml", "Data/L001/C1.1/s_1_1101.bcl"]), Marks::Open);
        assert_eq!(of(&["RunInfo.xml", "a.bcl", "RTAComplete.txt"]), Marks::BaseCalled);
        assert_eq!(of(&["a.bcl.bgzf", "RTAComplete.xml"]), Marks::BaseCalled);
        assert_eq!(of(&["Data/L001_1.cbcl", "RTAComplete.txt"]), Marks::CopyMissing);
        assert_eq!(of(&["SequenceComplete.txt", "RTAComplete.txt"]), Marks::CopyMissing);
        assert_eq!(of(&["Data/L001_1.cbcl", "RTAComplete.txt", "CopyComplete.txt"]), Marks::Copied);
        // Only at the top of the folder.
        assert_eq!(of(&["Old/CopyComplete.txt"]), Marks::Open);
    }

    #[test]
    fn metrics_parameters_and_logs_change_while_the_run_lasts() {
        for path in [
            "InterOp/TileMetricsOut.bin",
            "RunParameters.xml",
            "runParameters.xml",
            "Logs/x.txt",
            "a/Run.log",
            "RunLog.txt",
        ] {
            assert!(is_mutable(path), "{path}");
        }
        for path in
            ["RunInfo.xml", "Data/Intensities/BaseCalls/L001/C1.1/L001_1.cbcl", "SampleSheet.csv"]
        {
            assert!(!is_mutable(path), "{path}");
        }
    }

    #[test]
    fn the_cycle_of_base_calls_is_in_their_path() {
        let calls = |path: &str| lane_and_cycle(&format!("Data/Intensities/BaseCalls/{path}"));
        assert_eq!(calls("L001/C12.1/L001_1.cbcl"), Some((1, 12)));
        assert_eq!(calls("L002/0167.bcl.bgzf"), Some((2, 167)));
        for path in ["L001/0167.bcl.bgzf.bci", "L001/s_1.filter", "s_1_1101.filter", "L001/Cx.1/a"]
        {
            assert_eq!(calls(path), None, "{path}");
        }
        let needed = |path: &str| is_needed_by(12, path);
        assert!(needed("RunInfo.xml") && needed("Data/Intensities/s.locs"));
        assert!(needed("Data/Intensities/BaseCalls/L001/C12.1/L001_1.cbcl"));
        assert!(!needed("Data/Intensities/BaseCalls/L001/C13.1/L001_1.cbcl"));
        assert!(!needed("InterOp/QMetricsOut.bin") && !needed("Thumbnail_Images/L001/C1.1/a.jpg"));
    }

    #[test]
    fn a_scan_sees_files_at_every_depth_and_what_changed() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        fs::write(folder.path().join("a/b/x"), b"1").unwrap();
        fs::write(folder.path().join("y"), b"").unwrap();
        let first = scan(folder.path()).unwrap();
        let paths: Vec<_> = first.iter().map(|s| &*s.path).collect();
        assert_eq!(paths, ["a/b/x", "y"]);
        fs::write(folder.path().join("a/b/x"), b"12").unwrap();
        let second = scan(folder.path()).unwrap();
        assert_ne!(first[0].stamp, second[0].stamp);
        assert_eq!(first[1].stamp, second[1].stamp);
    }
}
