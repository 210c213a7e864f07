//! What a program left in `/data/output`.
//!
//! That folder is a file system in memory with a size of its own, inside the sandbox's mounts only. It is held open by a
//! descriptor taken before the program started, so it outlives the sandbox and appears nowhere on the host. A program may have
//! put anything there: links are not followed, and nothing but plain files is given out.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use serde::Serialize;

/// Most entries that are looked at; more count as a failure of the program.
const MAX_ENTRIES: usize = 100_000;

/// One file that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MadeFile {
    /// Its path below `/data/output`.
    pub path: String,
    /// Its length.
    pub bytes: u64,
}

/// The outputs of a run that has ended; their memory is free again when this is dropped.
#[derive(Debug)]
pub struct Outputs {
    folder: OwnedFd,
    files: Vec<MadeFile>,
    ignored: Vec<String>,
}

impl Outputs {
    /// Lists what lies in `folder`. To be called once no process of the sandbox is left.
    pub(super) fn list(folder: OwnedFd) -> io::Result<Self> {
        let mut outputs = Self { folder, files: Vec::new(), ignored: Vec::new() };
        let mut todo = vec![String::new()];
        while let Some(below) = todo.pop() {
            let at = if below.is_empty() { "." } else { &below };
            let opened = outputs.open_at(at, OFlags::RDONLY | OFlags::DIRECTORY)?;
            for entry in Dir::read_from(&opened)? {
                let entry = entry?;
                let name = entry.file_name().to_bytes();
                if name == b"." || name == b".." {
                    continue;
                }
                let seen = outputs.files.len() + outputs.ignored.len() + todo.len();
                if seen >= MAX_ENTRIES {
                    return Err(io::Error::other("there are more than 100000 files"));
                }
                let shown = String::from_utf8_lossy(name);
                let path =
                    if below.is_empty() { shown.into_owned() } else { format!("{below}/{shown}") };
                let stat =
                    rustix::fs::statat(&opened, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
                let plain =
                    std::str::from_utf8(name).is_ok_and(|name| !name.contains(char::is_control));
                match FileType::from_raw_mode(stat.st_mode) {
                    FileType::RegularFile if plain => {
                        let bytes = u64::try_from(stat.st_size).unwrap_or(0);
                        outputs.files.push(MadeFile { path, bytes });
                    }
                    FileType::Directory if plain => todo.push(path),
                    _ => outputs.ignored.push(path),
                }
            }
        }
        outputs.files.sort_by(|a, b| a.path.cmp(&b.path));
        outputs.ignored.sort();
        Ok(outputs)
    }

    /// The files, by path.
    pub fn files(&self) -> &[MadeFile] {
        &self.files
    }

    /// What was left there and is no plain file with a readable name: links, pipes, sockets. Never given out.
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// Opens one of [`Outputs::files`].
    ///
    /// # Errors
    /// When it is not there, or is not a plain file.
    pub fn open(&self, path: &str) -> io::Result<File> {
        Ok(self.open_at(path, OFlags::RDONLY)?.into())
    }

    fn open_at(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let inside =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = flags | OFlags::CLOEXEC | OFlags::NONBLOCK;
        Ok(rustix::fs::openat2(&self.folder, path, flags, Mode::empty(), inside)?)
    }
}

/// Bytes in use in that file system, and whether any is left.
pub(super) fn usage(folder: &OwnedFd) -> io::Result<(u64, bool)> {
    let stat = rustix::fs::fstatvfs(folder)?;
    Ok(((stat.f_blocks - stat.f_bfree) * stat.f_bsize, stat.f_bfree == 0))
}
