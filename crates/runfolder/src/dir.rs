//! A run folder on a disk, and samples written to one: the only place here that knows files.
//!
//! Outputs are written under a hidden folder inside the output folder and get their names when everything is done, so a
//! run that stopped half way leaves no file that looks finished.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

use crate::follow::Journal;
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

/// Appends to files under a folder, holding few of them open.
#[derive(Debug)]
struct Appender {
    folder: PathBuf,
    open: HashMap<String, File>,
    recent: VecDeque<String>,
    known: HashSet<String>,
    /// In the order in which they were begun.
    written: Vec<String>,
}

impl Appender {
    fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            open: HashMap::new(),
            recent: VecDeque::new(),
            known: HashSet::new(),
            written: Vec::new(),
        }
    }

    fn append(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        if !self.open.contains_key(path) {
            if self.open.len() == OPEN_FILES
                && let Some(oldest) = self.recent.pop_front()
            {
                self.open.remove(&oldest);
            }
            let full = self.folder.join(path);
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

    /// Appends the last of a file.
    fn close(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.append(path, bytes)?;
        self.open.remove(path);
        self.recent.retain(|open| open != path);
        Ok(())
    }
}

/// Moves a file of one folder to the same place in another.
fn move_between(from: &Path, to: &Path, path: &str) -> io::Result<()> {
    let to = to.join(path);
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::rename(from.join(path), to)
}

/// Writes samples and reports under a folder.
///
/// Nothing has its final name before [`DirSink::finish`]; dropped before that, it removes what it wrote.
#[derive(Debug)]
pub struct DirSink {
    root: PathBuf,
    files: Appender,
    finished: bool,
}

impl DirSink {
    /// Prepares to write under `root`, which is made if it is not there.
    pub fn create(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        fs::create_dir_all(&root)?;
        let staging = root.join(format!(".unfinished-{}", std::process::id()));
        fs::create_dir(&staging)?;
        Ok(Self { root, files: Appender::new(staging), finished: false })
    }

    /// Gives every file its name. Files of the same names that were there before are replaced.
    pub fn finish(mut self) -> io::Result<()> {
        self.files.open.clear();
        for path in &self.files.written {
            move_between(&self.files.folder, &self.root, path)?;
        }
        self.finished = true;
        fs::remove_dir_all(&self.files.folder)
    }
}

impl Sink for DirSink {
    fn fastq(&mut self, file: &FastqName, member: &[u8]) -> io::Result<()> {
        self.files.append(&file.path(), member)
    }

    fn finish_file(&mut self, file: &FastqName) -> io::Result<()> {
        self.files.close(&file.path(), &[])
    }

    fn report(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.files.close(path, bytes)
    }
}

impl Drop for DirSink {
    fn drop(&mut self) {
        if !self.finished {
            let _what_stays_behind_is_hidden_and_named_unfinished =
                fs::remove_dir_all(&self.files.folder);
        }
    }
}

/// Writes samples and reports under a folder in work that may end at any moment and is taken up again.
///
/// A file has its final name as soon as it is finished. What is not finished, and the state, lie in a hidden folder inside
/// the output folder, which [`DirJournal::finish`] removes. One process at a time can hold it.
#[derive(Debug)]
pub struct DirJournal {
    root: PathBuf,
    files: Appender,
    /// Files that were written to since the state was kept.
    unsynced: HashSet<String>,
    _lock: File,
}

const FOLLOWING: &str = ".following";
const FILES: &str = "files";
const STATE: &str = "state";

impl DirJournal {
    /// Opens the journal under `root`, which is made if it is not there, with the state that was kept last, if one was.
    ///
    /// Where another process holds it that is [`io::ErrorKind::WouldBlock`].
    pub fn open(root: impl Into<PathBuf>) -> io::Result<(Self, Option<Vec<u8>>)> {
        let root = root.into();
        let folder = root.join(FOLLOWING);
        fs::create_dir_all(folder.join(FILES))?;
        let lock = File::create(folder.join("lock"))?;
        lock.try_lock().map_err(io::Error::from)?;
        let state = match fs::read(folder.join(STATE)) {
            Ok(state) => Some(state),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let files = Appender::new(folder.join(FILES));
        Ok((Self { root, files, unsynced: HashSet::new(), _lock: lock }, state))
    }

    /// Removes what is only of use while there is work to do.
    pub fn finish(self) -> io::Result<()> {
        fs::remove_dir_all(self.root.join(FOLLOWING))
    }

    /// Gives a file that is written its name.
    fn name(&mut self, path: &str) -> io::Result<()> {
        self.files.known.remove(path);
        self.unsynced.remove(path);
        File::open(self.files.folder.join(path))?.sync_data()?;
        move_between(&self.files.folder, &self.root, path)
    }
}

impl Sink for DirJournal {
    fn fastq(&mut self, file: &FastqName, member: &[u8]) -> io::Result<()> {
        let path = file.path();
        self.files.append(&path, member)?;
        self.unsynced.insert(path);
        Ok(())
    }

    fn finish_file(&mut self, file: &FastqName) -> io::Result<()> {
        let path = file.path();
        self.files.close(&path, &[])?;
        self.name(&path)
    }

    fn report(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        // One that was begun before a sudden end.
        match fs::remove_file(self.files.folder.join(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.files.close(path, bytes)?;
        self.name(path)
    }
}

impl Journal for DirJournal {
    fn save(&mut self, state: &[u8]) -> io::Result<()> {
        // The state must not speak of bytes that a loss of power takes away.
        for path in self.unsynced.drain() {
            File::open(self.files.folder.join(path))?.sync_data()?;
        }
        let folder = self.root.join(FOLLOWING);
        let fresh = folder.join("state.fresh");
        let mut file = File::create(&fresh)?;
        file.write_all(state)?;
        file.sync_data()?;
        fs::rename(fresh, folder.join(STATE))
    }

    fn rewind(&mut self, files: &[(&FastqName, u64)]) -> io::Result<()> {
        let folder = self.files.folder.clone();
        self.files = Appender::new(folder.clone());
        self.unsynced.clear();
        let mut kept = HashSet::new();
        for (name, bytes) in files {
            let path = name.path();
            // It may have got its name after the state was kept.
            if !folder.join(&path).exists() && self.root.join(&path).exists() {
                move_between(&self.root, &folder, &path)?;
            }
            let full = folder.join(&path);
            if let Some(parent) = full.parent() {
                fs::create_dir_all(parent)?;
            }
            let file = OpenOptions::new().create(true).append(true).open(full)?;
            if file.metadata()?.len() < *bytes {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("{path} is shorter than the state of the work says"),
                ));
            }
            file.set_len(*bytes)?;
            kept.insert(path);
        }
        for entry in DirSource::new(&folder)?.list()? {
            if !kept.contains(&entry.path) {
                fs::remove_file(folder.join(entry.path))?;
            }
        }
        Ok(())
    }
}
