//! Where the bytes of a replayed run come from: the files of a real folder, or a generator that makes the same bytes every time.
//!
//! Made bytes do not compress, like base calls, and depend on path, version and position alone. RunInfo.xml alone is text, because
//! whoever watches a folder reads it.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// The source of a run's bytes.
pub(super) enum Content {
    /// A real run folder.
    Folder(PathBuf),
    /// Made bytes, and the text of RunInfo.xml.
    Made { run_info: String },
}

impl Content {
    /// Made content for these files: RunInfo tells their lanes and cycles.
    pub(super) fn made(files: &[(String, u64)]) -> Self {
        let numbers = |prefix: char, suffix: &str| {
            files
                .iter()
                .flat_map(|(path, _)| path.split('/'))
                .filter_map(|part| {
                    part.strip_prefix(prefix)?.strip_suffix(suffix)?.parse::<u32>().ok()
                })
                .max()
                .unwrap_or(1)
        };
        let (lanes, cycles) = (numbers('L', ""), numbers('C', ".1"));
        Self::Made {
            run_info: format!(
                "<?xml version=\"1.0\"?>\n<RunInfo Version=\"5\">\n  \
                 <Run Id=\"260101_A00000_0001_AREPLAYXX\" Number=\"1\">\n    \
                 <Flowcell>REPLAYXX</Flowcell>\n    <Instrument>A00000</Instrument>\n    \
                 <Date>1/1/2026 9:00:00 AM</Date>\n    <Reads>\n      \
                 <Read Number=\"1\" NumCycles=\"{cycles}\" IsIndexedRead=\"N\" />\n    </Reads>\n    \
                 <FlowcellLayout LaneCount=\"{lanes}\" SurfaceCount=\"2\" SwathCount=\"1\" TileCount=\"1\" />\n  \
                 </Run>\n</RunInfo>\n"
            ),
        }
    }

    /// `bytes` bytes of a file from a position on. `version` counts how often it was written anew.
    pub(super) fn read(
        &self,
        path: &str,
        version: u64,
        from: u64,
        bytes: u64,
    ) -> Result<Vec<u8>, Failure> {
        let length = usize::try_from(bytes).map_err(Failure::because("a piece is too large"))?;
        match self {
            Self::Folder(folder) => {
                let cannot = || format!("{path} cannot be read from {}", folder.display());
                let mut file = File::open(folder.join(path)).map_err(Failure::because(cannot()))?;
                file.seek(SeekFrom::Start(from)).map_err(Failure::because(cannot()))?;
                let mut piece = vec![0; length];
                file.read_exact(&mut piece).map_err(Failure::because(cannot()))?;
                Ok(piece)
            }
            Self::Made { run_info } if path == "RunInfo.xml" => {
                let start =
                    usize::try_from(from).map_err(Failure::because("a piece is too far on"))?;
                let text = run_info.bytes().chain(std::iter::repeat(b'\n'));
                Ok(text.skip(start).take(length).collect())
            }
            Self::Made { .. } => Ok(made_bytes(path, version, from, length)),
        }
    }
}

/// Every file below a folder with its length, by name.
pub(super) fn files_below(folder: &Path) -> Result<Vec<(String, u64)>, Failure> {
    let mut files = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(here) = open.pop() {
        let cannot = || format!("{} cannot be listed", here.display());
        for entry in std::fs::read_dir(&here).map_err(Failure::because(cannot()))? {
            let entry = entry.map_err(Failure::because(cannot()))?;
            let about = entry.metadata().map_err(Failure::because(cannot()))?;
            let path = entry.path();
            if about.is_dir() {
                open.push(path);
                continue;
            }
            let below = path.strip_prefix(folder).map_err(Failure::because(cannot()))?;
            let name = below.to_str().ok_or_else(|| {
                Failure::new(format!("error: the name {} is not text", below.display()))
            })?;
            files.push((name.to_owned(), about.len()));
        }
    }
    if files.is_empty() {
        return Err(Failure::new(format!("error: {} is empty", folder.display())));
    }
    files.sort();
    Ok(files)
}

/// Eight bytes that belong to a name (FNV-1a), for choices that are the same every time.
pub(super) fn seed_of(name: &str) -> [u8; 8] {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in name.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    mixed(hash).to_le_bytes()
}

/// The finalizer of `SplitMix64`: neighbouring numbers give unrelated ones.
const fn mixed(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn made_bytes(path: &str, version: u64, from: u64, length: usize) -> Vec<u8> {
    let key = mixed(u64::from_le_bytes(seed_of(path)) ^ mixed(version));
    let mut bytes = Vec::with_capacity(length + 16);
    let first_word = from / 8;
    let skip = usize::from((from % 8).to_le_bytes()[0]);
    for word in first_word.. {
        if bytes.len() >= skip + length {
            break;
        }
        bytes.extend_from_slice(&mixed(key ^ word).to_le_bytes());
    }
    bytes.drain(..skip);
    bytes.truncate(length);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_made_bytes_join_to_the_whole() {
        let whole = made_bytes("a/b.cbcl", 0, 0, 100);
        for cut in [0, 1, 7, 8, 9, 63, 100] {
            let mut joined = made_bytes("a/b.cbcl", 0, 0, cut);
            joined.extend(made_bytes("a/b.cbcl", 0, cut as u64, 100 - cut));
            assert_eq!(joined, whole, "cut at {cut}");
        }
    }

    #[test]
    fn other_paths_and_versions_have_other_bytes() {
        assert_ne!(made_bytes("a", 0, 0, 32), made_bytes("b", 0, 0, 32));
        assert_ne!(made_bytes("a", 0, 0, 32), made_bytes("a", 1, 0, 32));
    }

    #[test]
    fn made_run_info_tells_lanes_and_cycles_at_any_length() {
        let files = [
            ("Data/Intensities/BaseCalls/L004/C12.1/L004_2.cbcl".to_owned(), 9),
            ("RunInfo.xml".to_owned(), 2000),
        ];
        let text = Content::made(&files)
            .read("RunInfo.xml", 0, 0, 2000)
            .expect("made, because nothing is opened");
        let text = String::from_utf8(text).expect("text, because it is XML");
        assert_eq!(text.len(), 2000);
        assert!(text.contains("NumCycles=\"12\"") && text.contains("LaneCount=\"4\""));
    }
}
