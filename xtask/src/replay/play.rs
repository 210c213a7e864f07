//! Carries an act out on the disk.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Component, Path};

use super::content::Content;
use super::order::{Act, Event};
use crate::failure::Failure;

/// What was written so far.
#[derive(Default)]
pub(super) struct Written {
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// Of each file: its length, and how often it was written anew.
    lengths: HashMap<String, (u64, u64)>,
}

/// Whether a path stays below the folder it is joined to.
pub(super) fn is_below(path: &str) -> bool {
    !path.is_empty()
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

/// A run is never mixed with what lies there already.
pub(super) fn refuse_unless_empty(folder: &Path) -> Result<(), Failure> {
    match std::fs::read_dir(folder) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(Failure::new(format!("error: {} is not empty", folder.display()))),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            std::fs::create_dir_all(folder)
                .map_err(Failure::because(format!("{} cannot be made", folder.display())))
        }
        Err(error) => {
            Err(Failure::because(format!("{} cannot be listed", folder.display()))(error))
        }
    }
}

pub(super) fn perform(
    event: &Event,
    content: &Content,
    to: &Path,
    written: &mut Written,
) -> Result<(), Failure> {
    let path = to.join(&event.path);
    let cannot = || format!("{} cannot be written", path.display());
    let known = written.lengths.get(&event.path).copied();
    let (length, version) = known.unwrap_or_default();
    let (mut file, from, bytes, version) = match event.act {
        Act::Begin { bytes } | Act::Anew { bytes } => {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).map_err(Failure::because(cannot()))?;
            }
            let version = if known.is_some() { version + 1 } else { 0 };
            (File::create(&path).map_err(Failure::because(cannot()))?, 0, bytes, version)
        }
        Act::Grow { bytes } => {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).map_err(Failure::because(cannot()))?;
            }
            let opened = OpenOptions::new().append(true).create(true).open(&path);
            (opened.map_err(Failure::because(cannot()))?, length, bytes, version)
        }
    };
    file.write_all(&content.read(&event.path, version, from, bytes)?)
        .map_err(Failure::because(cannot()))?;
    written.files += u64::from(known.is_none());
    written.bytes += bytes;
    written.lengths.insert(event.path.clone(), (from + bytes, version));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::content::files_below;
    use super::super::order::{Pace, as_an_instrument};
    use super::*;

    #[test]
    fn a_replayed_folder_ends_equal_to_its_source() {
        let demo = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../testing/demo/runs/261102_A09999_0042_AHCHRNDRXX");
        let files = files_below(&demo).expect("the demo run is in the repository");
        let pace = Pace { cycle_seconds: 300.0, until_cycle: None };
        let to = tempfile::tempdir().expect("a folder, because the test needs one");
        let mut written = Written::default();
        for event in as_an_instrument(&files, &pace) {
            perform(&event, &Content::Folder(demo.clone()), to.path(), &mut written)
                .expect("ours to write");
        }
        assert_eq!(written.files, files.len() as u64);
        for (path, _) in files {
            let there = std::fs::read(to.path().join(&path)).expect("written just now");
            assert!(
                there == std::fs::read(demo.join(&path)).expect("in the repository"),
                "{path} differs"
            );
        }
    }

    #[test]
    fn a_folder_with_something_in_it_is_refused() {
        let to = tempfile::tempdir().expect("a folder, because the test needs one");
        refuse_unless_empty(to.path()).expect("empty");
        std::fs::write(to.path().join("a"), "a").expect("ours to write");
        assert!(refuse_unless_empty(to.path()).is_err());
        refuse_unless_empty(&to.path().join("new")).expect("made");
    }

    #[test]
    fn no_path_leaves_the_folder() {
        for (path, below) in
            [("a/b", true), ("../a", false), ("/a", false), ("a/../../b", false), ("", false)]
        {
            assert_eq!(is_below(path), below, "{path}");
        }
    }
}
