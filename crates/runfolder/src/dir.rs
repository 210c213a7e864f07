//! A run folder on a disk, and samples written to one: the only place here that knows files.
//!
//! Outputs are written under a hidden folder inside the output folder and get their names when everything is done, so a
//! run that stopped half way leaves no file that looks finished.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

use crate::limits;
use crate::source::{Entry, FastqName, Sink, Source};

/// A run folder on a disk.
#[derive(Debug, Clone)]
pub struct DirSource {
    root: PathBuf,
}

impl DirSource {
    /// The run folder at `root`, which must be a folder.
    pub fn new(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        if fs::metadata(&root)?.is_dir() {
            Ok(Self { root })
        } else {
            Err(io::ErrorKind::NotADirectory.into())
        }
    }

    fn inside(&self, path: &str) -> io::Result<PathBuf> {
        let relative = Path::new(path);
        if relative.components().all(|part| matches!(part, Component::Normal(_))) {
            Ok(self.root.join(relative))
        } else {
            Err(io::ErrorKind::InvalidInput.into())
        }
    }
}

impl Source for DirSource {
    fn list(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(self.root.join(&folder))? {
                let entry = entry?;
                // No path of a run folder is other than ASCII; what is cannot be asked for and is left out.
                let Ok(name) = entry.file_name().into_string() else { continue };
                let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                // Follows links: run folders on shared disks are often made of them.
                match fs::metadata(entry.path()) {
                    Ok(found) if found.is_dir() && !entry.file_type()?.is_symlink() => {
                        folders.push(path);
                    }
                    Ok(found) if found.is_file() => {
                        entries.push(Entry { path, bytes: found.len() });
                    }
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
                if entries.len() > limits::MAX_FILES {
                    return Ok(entries);
                }
            }
        }
        Ok(entries)
    }

    fn read_at(&self, path: &str, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let file = File::open(self.inside(path)?)?;
        #[cfg(unix)]
        return std::os::unix::fs::FileExt::read_at(&file, into, offset);
        #[cfg(not(unix))]
        {
            use std::io::{Read, Seek, SeekFrom};
            let mut file = file;
            file.seek(SeekFrom::Start(offset))?;
            file.read(into)
        }
    }
}

/// Files that are held open at once; more than that are closed and opened again to append.
const OPEN_FILES: usize = 48;

/// Writes samples and reports under a folder.
///
/// Nothing has its final name before [`DirSink::finish`]; dropped before that, it removes what it wrote.
#[derive(Debug)]
pub struct DirSink {
    root: PathBuf,
    staging: PathBuf,
    open: HashMap<String, File>,
    recent: VecDeque<String>,
    written: Vec<String>,
    known: HashSet<String>,
    finished: bool,
}

impl DirSink {
    /// Prepares to write under `root`, which is made if it is not there.
    pub fn create(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        fs::create_dir_all(&root)?;
        let staging = root.join(format!(".unfinished-{}", std::process::id()));
        fs::create_dir(&staging)?;
        Ok(Self {
            root,
            staging,
            open: HashMap::new(),
            recent: VecDeque::new(),
            written: Vec::new(),
            known: HashSet::new(),
            finished: false,
        })
    }

    /// Gives every file its name. Files of the same names that were there before are replaced.
    pub fn finish(mut self) -> io::Result<()> {
        self.open.clear();
        for path in &self.written {
            let to = self.root.join(path);
            if let Some(folder) = to.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::rename(self.staging.join(path), to)?;
        }
        self.finished = true;
        fs::remove_dir_all(&self.staging)
    }

    fn append(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        if !self.open.contains_key(path) {
            if self.open.len() == OPEN_FILES
                && let Some(oldest) = self.recent.pop_front()
            {
                self.open.remove(&oldest);
            }
            let full = self.staging.join(path);
            if self.known.insert(path.to_owned()) {
                if let Some(folder) = full.parent() {
                    fs::create_dir_all(folder)?;
                }
                self.written.push(path.to_owned());
            }
            let file = OpenOptions::new().create(true).append(true).open(full)?;
            self.open.insert(path.to_owned(), file);
            self.recent.push_back(path.to_owned());
        }
        let mut file = self.open.get(path).ok_or(io::ErrorKind::NotFound)?;
        file.write_all(bytes)
    }
}

impl Sink for DirSink {
    fn fastq(&mut self, file: &FastqName, member: &[u8]) -> io::Result<()> {
        self.append(&file.path(), member)
    }

    fn finish_file(&mut self, file: &FastqName) -> io::Result<()> {
        let path = file.path();
        self.append(&path, &[])?;
        self.open.remove(&path);
        self.recent.retain(|open| *open != path);
        Ok(())
    }

    fn report(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.append(path, bytes)?;
        self.open.remove(path);
        self.recent.retain(|open| open != path);
        Ok(())
    }
}

impl Drop for DirSink {
    fn drop(&mut self) {
        if !self.finished {
            let _what_stays_behind_is_hidden_and_named_unfinished =
                fs::remove_dir_all(&self.staging);
        }
    }
}
