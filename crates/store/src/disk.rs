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

/// Where in memory the bytes of a large blob should begin: then they are written past the page cache. The largest alignment that
/// disks ask for, and what the written part is a multiple of.
pub const BLOB_ALIGN: usize = 4096;
/// From so many bytes on it is worth while.
const DIRECT_BYTES: usize = 1024 * 1024;

/// Writes as much of the beginning of `bytes` as may go past the page cache, if the file system allows it, and gives its
/// length. Large blobs are written once, are synced at once, and are not read soon: through the cache they are copied, and they
/// push out what others read.
fn write_direct(file: &mut File, bytes: &[u8]) -> io::Result<usize> {
    use io::Seek as _;
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    let most = bytes.len() / BLOB_ALIGN * BLOB_ALIGN;
    let aligned = bytes.as_ptr().align_offset(BLOB_ALIGN) == 0;
    if most < DIRECT_BYTES || !aligned || file.stream_position()? % BLOB_ALIGN as u64 != 0 {
        return Ok(0);
    }
    let flags = fcntl_getfl(&*file)?;
    if fcntl_setfl(&*file, flags | OFlags::DIRECT).is_err() {
        return Ok(0);
    }
    let mut written = 0;
    let outcome = loop {
        if written == most || written % BLOB_ALIGN != 0 {
            break Ok(written);
        }
        match file.write(&bytes[written..most]) {
            Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // This file system wants another alignment, or cannot do it after all.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => break Ok(written),
            Err(error) => break Err(error),
        }
    };
    fcntl_setfl(&*file, flags)?;
    outcome
}

impl DiskFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = write_direct(self, bytes)?;
        self.write_all(&bytes[written..])
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_past_the_page_cache_is_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..=250).cycle().take(3 * DIRECT_BYTES + 77).collect();
        let mut room = vec![0; bytes.len() + 2 * BLOB_ALIGN];
        let pad = room.as_ptr().align_offset(BLOB_ALIGN);
        for (number, shift) in [0, 1, 512].into_iter().enumerate() {
            let place = pad + shift..pad + shift + bytes.len();
            room[place.clone()].copy_from_slice(&bytes);
            let path = dir.path().join(format!("{number}"));
            let mut file = RealDisk.create_file(&path).unwrap();
            file.append(&room[place.clone()]).unwrap();
            file.append(b"tail").unwrap();
            file.append(&room[place]).unwrap();
            file.sync().unwrap();
            assert_eq!(RealDisk.read(&path).unwrap(), [&bytes[..], b"tail", &bytes].concat());
        }
    }
}
