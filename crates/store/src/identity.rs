//! The file that says which directory this is.
//!
//! A disk that is not mounted leaves an empty directory, and a mistyped path names somebody else's. Both look like a place
//! to write to. So every directory that holds blobs or keys carries a small file with its identity; *creating* one and
//! *opening* one are different acts, and opening never makes anything (`spec/store.md` section 2).

use std::{io, path::Path};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::disk::{Disk, write_whole};

/// What the identity file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Identity {
    /// Format and version, for example `chorion.facility/1`.
    pub(crate) format: String,
    /// A version 7 UUID, made once.
    pub(crate) id: Uuid,
    /// When it was made, RFC 3339 in UTC.
    pub(crate) created: String,
    /// For a key store: the store that both places belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) store: Option<Uuid>,
}

/// Why a directory is not the one that was expected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error("there is no `{file}` in it")]
    Absent { file: &'static str },
    #[error("its `{file}` is not a {format} identity")]
    Unreadable { file: &'static str, format: &'static str },
    #[error("it belongs to {found}, not to {expected}")]
    Other { found: Uuid, expected: Uuid },
    #[error("it is not empty")]
    NotEmpty,
    #[error("another process has it open")]
    InUse,
    #[error("it cannot be read")]
    Io(#[from] io::Error),
}

impl IdentityError {
    /// The whole story in one clause, for errors that carry no cause of their own.
    pub(crate) fn in_words(&self) -> String {
        match self {
            Self::Io(error) => format!("it cannot be read: {error}"),
            other => other.to_string(),
        }
    }
}

/// One kind of directory: the name of its identity file, the format it must state, and the folders it is laid out in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) file: &'static str,
    pub(crate) format: &'static str,
    pub(crate) folders: &'static [&'static str],
}

impl Kind {
    /// Lays out a directory that is not there yet or is empty. The identity is written last, so a directory whose making
    /// was interrupted does not open; making it again is allowed as long as nothing else was put there.
    pub(crate) fn create(
        &self,
        disk: &dyn Disk,
        root: &Path,
        store: Option<Uuid>,
    ) -> Result<Identity, IdentityError> {
        let making = format!("{}.new", self.file);
        match disk.list(root) {
            Ok(entries) => {
                for entry in entries {
                    let ours = entry.is_dir
                        && self.folders.contains(&entry.name.as_str())
                        && disk.list(&root.join(&entry.name))?.is_empty();
                    if entry.name == making {
                        disk.unlink(&root.join(&making))?;
                    } else if !ours {
                        return Err(IdentityError::NotEmpty);
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create_dir(root)?,
            Err(error) => return Err(error.into()),
        }
        for folder in self.folders {
            match disk.create_dir(&root.join(folder)) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => made?,
            }
        }
        let identity = Identity {
            format: self.format.into(),
            id: Uuid::now_v7(),
            created: jiff::Timestamp::now().to_string(),
            store,
        };
        let mut text = serde_json::to_vec_pretty(&identity).map_err(io::Error::from)?;
        text.push(b'\n');
        write_whole(disk, &root.join(making), &root.join(self.file), &text)?;
        if let Some(above) = root.parent() {
            disk.sync_dir(if above.as_os_str().is_empty() { Path::new(".") } else { above })?;
        }
        Ok(identity)
    }

    /// Reads the identity of an existing directory.
    pub(crate) fn read(&self, disk: &dyn Disk, root: &Path) -> Result<Identity, IdentityError> {
        let text = match disk.read(&root.join(self.file)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(IdentityError::Absent { file: self.file });
            }
            read => read?,
        };
        let unreadable = || IdentityError::Unreadable { file: self.file, format: self.format };
        let identity: Identity = serde_json::from_slice(&text).map_err(|_| unreadable())?;
        if identity.format == self.format { Ok(identity) } else { Err(unreadable()) }
    }

    /// Confirms that the directory is still the one with this id.
    pub(crate) fn check(
        &self,
        disk: &dyn Disk,
        root: &Path,
        expected: Uuid,
    ) -> Result<Identity, IdentityError> {
        let identity = self.read(disk, root)?;
        if identity.id == expected {
            Ok(identity)
        } else {
            Err(IdentityError::Other { found: identity.id, expected })
        }
    }

    /// Takes the directory for this process alone.
    pub(crate) fn lock(
        &self,
        disk: &dyn Disk,
        root: &Path,
    ) -> Result<Box<dyn Send + Sync>, IdentityError> {
        match disk.lock(&root.join(self.file)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(IdentityError::InUse),
            locked => Ok(locked?),
        }
    }
}
