//! An output that has no name until it is whole.
//!
//! On Linux it is made with `O_TMPFILE` and linked into its folder at the end: a program that ends before, however it ends, leaves
//! nothing behind. Where a file system cannot do that, it is a hidden file beside its final name, removed on every error; a kill
//! then leaves that hidden file.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use tempfile::TempPath;

use crate::report::{CliError, CliResult};

/// Readable by the owner alone.
pub(crate) const SECRET: u32 = 0o600;
/// Readable by everybody the folder and the person's own settings allow.
pub(crate) const PUBLIC: u32 = 0o644;

/// A file on its way to its name.
pub(crate) struct Output {
    file: File,
    path: PathBuf,
    force: bool,
    /// The hidden name, where there has to be one.
    hidden: Option<TempPath>,
}

impl Output {
    /// Makes the file in the folder it is to stand in, after looking whether its name is free.
    pub(crate) fn create(path: &Path, mode: u32, force: bool) -> CliResult<Self> {
        let name = path.display();
        let taken = path.symlink_metadata();
        if path.is_dir() || path.file_name().is_none() {
            return Err(
                CliError::new(format!("{name} is a folder")).hint("give the output a file name")
            );
        }
        if taken.is_ok() && !force {
            return Err(exists(path));
        }
        let (file, hidden) = nameless(folder(path), mode)
            .map(|file| (file, None))
            .or_else(|_| hidden(folder(path), mode).map(|(file, path)| (file, Some(path))))
            .map_err(|error| CliError::new(format!("{name} could not be made")).caused_by(error))?;
        Ok(Self { file, path: path.to_owned(), force, hidden })
    }

    /// The file itself.
    pub(crate) const fn file(&self) -> &File {
        &self.file
    }

    /// Gives the file its name. It replaces another only if that was asked for, also if the other came meanwhile.
    pub(crate) fn keep(mut self) -> CliResult {
        let result = match self.hidden.take() {
            None if self.force => self.replace(),
            None => self.link(&self.path),
            Some(hidden) if self.force => hidden.persist(&self.path).map_err(|failed| failed.error),
            Some(hidden) => hidden.persist_noclobber(&self.path).map_err(|failed| failed.error),
        };
        result.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => exists(&self.path),
            _ => self.unwritten(error),
        })
    }

    /// The sentence for a file that could not be written.
    pub(crate) fn unwritten(&self, error: io::Error) -> CliError {
        CliError::new(format!("{} was not written", self.path.display())).caused_by(error)
    }

    fn link(&self, to: &Path) -> io::Result<()> {
        let opened = open_file_path(&self.file);
        Ok(rustix::fs::linkat(CWD, &opened, CWD, to, AtFlags::SYMLINK_FOLLOW)?)
    }

    /// Links the whole file beside its final name and moves it there, which replaces in one step.
    fn replace(&self) -> io::Result<()> {
        let beside = tempfile::Builder::new()
            .prefix(".chorion-")
            .make_in(folder(&self.path), |path| self.link(path))?;
        beside.into_temp_path().persist(&self.path).map_err(|failed| failed.error)
    }
}

fn exists(path: &Path) -> CliError {
    CliError::new(format!("{} is there already", path.display()))
        .hint("choose another name, or replace it with `--force`")
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// A file without a name, which ends with the program unless it is linked.
fn nameless(folder: &Path, mode: u32) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(folder, flags, Mode::from_raw_mode(mode))?);
    // Without /proc it could not be linked later: better to know now.
    open_file_path(&file).symlink_metadata()?;
    Ok(file)
}

fn open_file_path(file: &File) -> PathBuf {
    use std::os::fd::AsRawFd;
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn hidden(folder: &Path, mode: u32) -> io::Result<(File, TempPath)> {
    use std::os::unix::fs::PermissionsExt;
    let made = tempfile::Builder::new()
        .prefix(".chorion-")
        .permissions(std::fs::Permissions::from_mode(mode))
        .tempfile_in(folder)?;
    Ok(made.into_parts())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// The same output, named and nameless until it is kept.
    fn both(path: &Path, force: bool) -> [Output; 2] {
        let nameless = Output::create(path, SECRET, force).unwrap();
        let (file, temporary) = hidden(folder(path), SECRET).unwrap();
        let hidden = Output { file, path: path.to_owned(), force, hidden: Some(temporary) };
        [nameless, hidden]
    }

    #[test]
    fn an_output_that_is_dropped_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        for output in both(&folder.path().join("out"), false) {
            output.file().write_all(b"half").unwrap();
            drop(output);
        }
        assert_eq!(names(folder.path()), [""; 0]);
    }

    #[test]
    fn an_output_that_is_kept_is_whole_and_private() {
        for way in 0..2 {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("out");
            let output = both(&path, false).into_iter().nth(way).unwrap();
            output.file().write_all(b"whole").unwrap();
            output.keep().unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), b"whole");
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(names(folder.path()), ["out"]);
        }
    }

    #[test]
    fn a_name_taken_meanwhile_is_not_replaced_unless_asked() {
        for way in 0..2 {
            for force in [false, true] {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("out");
                let output = both(&path, force).into_iter().nth(way).unwrap();
                output.file().write_all(b"new").unwrap();
                std::fs::write(&path, b"other").unwrap();
                assert_eq!(output.keep().is_ok(), force);
                let expected: &[u8] = if force { b"new" } else { b"other" };
                assert_eq!(std::fs::read(&path).unwrap(), expected);
                assert_eq!(names(folder.path()), ["out"]);
            }
        }
    }
}
