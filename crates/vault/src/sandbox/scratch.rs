//! Where opened data may lie: a private folder in memory that is wiped when it is let go.
//!
//! A tmpfs has no disk under it, so what a task reads never reaches one (swap must be off or encrypted: [`super::probe`] says
//! what this machine has). A folder on a disk is taken only when a person asked for it in so many words.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

/// `TMPFS_MAGIC` and `RAMFS_MAGIC` of statfs(2).
const MEMORY_MAGICS: [u64; 2] = [0x0102_1994, 0x8584_58f6];
const PREFIX: &str = "chorion-";
const LOCK: &str = ".lock";

/// A scratch folder that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ScratchError {
    /// The place lies on a disk and nobody allowed that.
    #[error("scratch folder {0} lies on a disk, where opened data would be written")]
    OnDisk(PathBuf),
    /// The place does not read or write.
    #[error("scratch folder {place} does not read or write")]
    Io {
        /// The folder.
        place: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

fn io_at(place: &Path) -> impl FnOnce(io::Error) -> ScratchError {
    let place = place.to_owned();
    move |source| ScratchError::Io { place, source }
}

/// A private folder (mode 0700), wiped and removed on drop.
#[derive(Debug)]
pub struct Scratch {
    folder: PathBuf,
    /// Held locked for as long as the folder is in use, so that [`Scratch::sweep`] leaves it alone.
    _lock: File,
}

impl Scratch {
    /// A new folder in shared memory (`/dev/shm`).
    ///
    /// # Errors
    /// When there is no memory-backed file system.
    pub fn in_memory() -> Result<Self, ScratchError> {
        Self::below(Path::new("/dev/shm"), false)
    }

    /// A new folder below `parent`; on a disk only if `on_disk` says that a person asked for it.
    ///
    /// # Errors
    /// [`ScratchError::OnDisk`], or when the folder cannot be made.
    pub fn below(parent: &Path, on_disk: bool) -> Result<Self, ScratchError> {
        if !on_disk && !is_memory(parent).map_err(io_at(parent))? {
            return Err(ScratchError::OnDisk(parent.to_owned()));
        }
        let name = format!("{PREFIX}{}", uuid::Uuid::new_v4().simple());
        let folder = parent.join(name);
        std::fs::DirBuilder::new().mode(0o700).create(&folder).map_err(io_at(&folder))?;
        let lock = File::create_new(folder.join(LOCK)).map_err(io_at(&folder))?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| io_at(&folder)(error.into()))?;
        Ok(Self { folder, _lock: lock })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Wipes and removes what tasks of this user left behind below `parent` when their vault was killed.
    /// Gives how many folders that were.
    ///
    /// # Errors
    /// When `parent` does not read.
    pub fn sweep(parent: &Path) -> Result<usize, ScratchError> {
        let mut swept = 0;
        for entry in std::fs::read_dir(parent).map_err(io_at(parent))?.flatten() {
            let folder = entry.path();
            if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
                continue;
            }
            let Ok(lock) = File::options().write(true).open(folder.join(LOCK)) else { continue };
            if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
                wipe(&folder);
                swept += 1;
            }
        }
        Ok(swept)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        wipe(&self.folder);
    }
}

/// Whether files in `folder` lie in memory.
///
/// # Errors
/// When the folder is not there.
pub fn is_memory(folder: &Path) -> io::Result<bool> {
    let kind = rustix::fs::statfs(folder)?.f_type;
    #[expect(clippy::cast_sign_loss, reason = "a magic number whose type differs by platform")]
    Ok(MEMORY_MAGICS.contains(&(kind as u64 & 0xffff_ffff)))
}

/// Overwrites every file with zeros, then removes the folder. What cannot be wiped is said in the log and still removed.
fn wipe(folder: &Path) {
    let mut todo = vec![folder.to_owned()];
    while let Some(place) = todo.pop() {
        let Ok(entries) = std::fs::read_dir(&place) else { continue };
        for entry in entries.flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => todo.push(entry.path()),
                Ok(kind) if kind.is_file() => {
                    if let Err(error) = wipe_file(&entry.path()) {
                        tracing::warn!(%error, "a scratch file could not be overwritten");
                    }
                }
                _ => {}
            }
        }
    }
    if let Err(error) = std::fs::remove_dir_all(folder) {
        tracing::warn!(folder = %folder.display(), %error, "a scratch folder could not be removed");
    }
}

fn wipe_file(path: &Path) -> io::Result<()> {
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600))?;
    let mut file = File::options().write(true).open(path)?;
    let mut left = file.metadata()?.len();
    let zeros = vec![0; 1 << 18];
    let _start = file.seek(SeekFrom::Start(0))?;
    while left > 0 {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(zeros.len());
        file.write_all(&zeros[..count])?;
        left -= count as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_scratch_folder_is_private_in_memory_and_gone_after_drop() {
        let scratch = Scratch::in_memory().unwrap();
        let folder = scratch.path().to_owned();
        assert_eq!(std::fs::metadata(&folder).unwrap().mode() & 0o7777, 0o700);
        assert!(is_memory(&folder).unwrap());
        std::fs::write(folder.join("reads"), "ACGT").unwrap();
        // A second name for the same bytes shows that they are overwritten, not only unlinked.
        let outside = tempfile::tempdir_in("/dev/shm").unwrap();
        let kept = outside.path().join("kept");
        std::fs::hard_link(folder.join("reads"), &kept).unwrap();
        drop(scratch);
        assert!(!folder.exists());
        assert_eq!(std::fs::read(&kept).unwrap(), [0; 4]);
    }

    #[test]
    fn a_disk_is_taken_only_when_asked_for() {
        let disk = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        if is_memory(disk.path()).unwrap() {
            println!("skipped: the checkout itself lies in memory here");
            return;
        }
        assert!(matches!(Scratch::below(disk.path(), false), Err(ScratchError::OnDisk(_))));
        assert!(Scratch::below(disk.path(), true).is_ok());
    }

    #[test]
    fn a_sweep_takes_what_was_left_and_spares_what_is_used() {
        let parent = tempfile::tempdir_in("/dev/shm").unwrap();
        let used = Scratch::below(parent.path(), false).unwrap();
        let left = parent.path().join("chorion-left");
        std::fs::create_dir(&left).unwrap();
        std::fs::write(left.join(LOCK), "").unwrap();
        std::fs::write(left.join("reads"), "ACGT").unwrap();
        assert_eq!(Scratch::sweep(parent.path()).unwrap(), 1);
        assert!(used.path().exists() && !left.exists());
    }
}
