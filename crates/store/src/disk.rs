//! The few things that `store` asks of a disk, and what each promises once it has returned.
//!
//! Everything this crate keeps goes through [`Disk`], so that tests can put a disk underneath which loses what was not
//! synced, tears writes, fails syncs and runs full: a killed process shows none of that, because the page cache outlives
//! it. The layer stays thin: paths in, bytes out, no policy. All of it blocks; callers are on threads made for that.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::Path,
};

use rustix::fs::{CWD, RenameFlags, StatVfsMountFlags};

/// A file open for writing.
pub(crate) trait DiskFile: Send {
    /// Adds bytes at the end.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Replaces bytes in place, within the file's length.
    fn overwrite(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;
    /// The bytes and the length are on stable storage (`fdatasync`). The name is not: that takes [`Disk::sync_dir`].
    /// After a failure nothing is known about what the disk holds, and reading it back proves nothing: the page cache
    /// answers. Whoever gets an error here writes a new file.
    fn sync(&mut self) -> io::Result<()>;
    /// The file's length.
    fn bytes(&self) -> io::Result<u64>;
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) is_dir: bool,
    pub(crate) bytes: u64,
}

/// Room on the file system that holds a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Space {
    pub(crate) free_bytes: u64,
    pub(crate) total_bytes: u64,
    pub(crate) read_only: bool,
}

/// A disk. `NotFound` means that the name is not there; every other failure keeps its own kind.
pub(crate) trait Disk: Send + Sync + 'static {
    /// A new empty file; refused if the name is taken.
    fn create_file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// An existing file, for writing.
    fn open_file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// The whole file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// The length of a file, or nothing where there is no file of that name.
    fn file_bytes(&self, path: &Path) -> io::Result<Option<u64>>;
    /// What a directory holds, in no particular order.
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>>;
    /// A new directory in an existing one.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Moves a name, replacing what was there, in one step.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Swaps what two names stand for, in one step. `Unsupported` where the file system cannot.
    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()>;
    /// Takes a file's name away.
    fn unlink(&self, path: &Path) -> io::Result<()>;
    /// The names in this directory are on stable storage.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Everything on the file system that holds this path is on stable storage (`syncfs`).
    fn sync_all(&self, path: &Path) -> io::Result<()>;
    /// Room on the file system that holds this path.
    fn space(&self, path: &Path) -> io::Result<Space>;
    /// Holds a file for this process until the guard is dropped; `WouldBlock` while another holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>>;
}

/// The machine's own file systems. Files are made 0600 and directories 0700.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RealDisk;

impl DiskFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn overwrite(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl Disk for RealDisk {
    fn create_file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?))
    }

    fn open_file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        use std::io::Seek as _;
        let mut file = OpenOptions::new().write(true).open(path)?;
        // Not `O_APPEND`: with it Linux appends positioned writes too, and `overwrite` would not overwrite.
        file.seek(io::SeekFrom::End(0))?;
        Ok(Box::new(file))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn file_bytes(&self, path: &Path) -> io::Result<Option<u64>> {
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_file() => Ok(Some(found.len())),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            // A file that goes away between the name and its size is simply no longer there.
            let found = match entry.metadata() {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let name = entry.file_name().to_string_lossy().into_owned();
            entries.push(Entry { name, is_dir: found.is_dir(), bytes: found.len() });
        }
        Ok(entries)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        match rustix::fs::renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE) {
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                Err(io::ErrorKind::Unsupported.into())
            }
            done => Ok(done?),
        }
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn sync_all(&self, path: &Path) -> io::Result<()> {
        Ok(rustix::fs::syncfs(File::open(path)?)?)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let found = rustix::fs::statvfs(path)?;
        Ok(Space {
            free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
            total_bytes: found.f_blocks.saturating_mul(found.f_frsize),
            read_only: found.f_flag.contains(StatVfsMountFlags::RDONLY),
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let file = File::open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// Writes a file that is either wholly there under its name or not there at all, also after a power cut: a new file in
/// `tmp`, synced, renamed, and the directory synced.
pub(crate) fn write_whole(
    disk: &dyn Disk,
    tmp: &Path,
    path: &Path,
    bytes: &[u8],
) -> io::Result<()> {
    let written = (|| {
        let mut file = disk.create_file(tmp)?;
        file.append(bytes)?;
        file.sync()?;
        disk.rename(tmp, path)
    })();
    if let Err(error) = written {
        // What is left in tmp is swept at the next start if this fails too.
        if let Err(left) = disk.unlink(tmp) {
            tracing::debug!(path = %tmp.display(), %left, "a temporary file stays until the next start");
        }
        return Err(error);
    }
    disk.sync_dir(path.parent().unwrap_or_else(|| Path::new("/")))
}
