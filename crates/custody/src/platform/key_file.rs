//! The platform's key file (`spec/custody.md`, section 2): the one secret that an operator keeps outside everything else.
//!
//! Text, one item a line, so that a person can see what it is without being told: a mark with the version, the file's id,
//! the seed of the recipient key, one key-encryption key per epoch, and a checksum against a file that was cut or edited.
//! It is made with mode 0600 from its first byte, synced, and refused when others may read it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use proof::sha256;
use seal::recipient::RecipientSecret;
use seal::{KeyEncryptionKey, NoRandomness};
use zeroize::Zeroizing;

const MARK: &str = "chorion platform key file v1";
/// Longer than any file that this program writes: a thousand epochs and more.
const MAX_BYTES: u64 = 128 * 1024;

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// A key file is never written over.
    #[error("there is a file at {path} already, and a key file is never written over")]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// The disk said no.
    #[error("the key file {path} could not be {act}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What was tried.
        act: &'static str,
        /// What the disk said.
        source: io::Error,
    },
    /// Others than its owner may read or change it.
    #[error(
        "the key file {path} has mode {mode:o}: others than its owner may use it, so it counts as known"
    )]
    Mode {
        /// Where.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is cut, edited, or no key file.
    #[error("the file {path} is no whole key file: {why}")]
    Form {
        /// Where.
        path: PathBuf,
        /// What is wrong with it; never a part of it.
        why: &'static str,
    },
    /// No randomness for a key.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

/// The file's content. Every key in it wipes itself.
pub(super) struct KeyFile {
    pub(super) id: [u8; 16],
    pub(super) recipient: RecipientSecret,
    /// Never empty; the place is the epoch.
    keys: Vec<KeyEncryptionKey>,
}

impl KeyFile {
    pub(super) fn create(path: &Path) -> Result<Self, KeyFileError> {
        let mut id = [0; 16];
        seal::fill_random(&mut id)?;
        let file = Self {
            id,
            recipient: RecipientSecret::generate()?,
            keys: vec![KeyEncryptionKey::generate()?],
        };
        file.write_new(path).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => KeyFileError::Exists { path: path.to_owned() },
            _ => KeyFileError::Io { path: path.to_owned(), act: "made", source },
        })?;
        Ok(file)
    }

    pub(super) fn open(path: &Path) -> Result<Self, KeyFileError> {
        let io = |source| KeyFileError::Io { path: path.to_owned(), act: "read", source };
        let file = File::open(path).map_err(io)?;
        let mode = file.metadata().map_err(io)?.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeyFileError::Mode { path: path.to_owned(), mode });
        }
        let mut text = Zeroizing::new(String::with_capacity(4096));
        file.take(MAX_BYTES).read_to_string(&mut text).map_err(io)?;
        Self::parse(&text).map_err(|why| KeyFileError::Form { path: path.to_owned(), why })
    }

    pub(super) fn add_epoch(&mut self) -> Result<(), NoRandomness> {
        self.keys.push(KeyEncryptionKey::generate()?);
        Ok(())
    }

    /// Puts this content where an older one lies: a new file beside it, synced, then renamed over it.
    pub(super) fn replace(&self, path: &Path) -> Result<(), KeyFileError> {
        let beside = path.with_extension("new");
        let io = |source| KeyFileError::Io { path: path.to_owned(), act: "replaced", source };
        self.write_new(&beside).map_err(io)?;
        std::fs::rename(&beside, path).and_then(|()| sync_directory(path)).map_err(io)
    }

    /// The epoch that wraps.
    pub(super) fn newest(&self) -> (u32, &KeyEncryptionKey) {
        let (place, key) = self
            .keys
            .iter()
            .enumerate()
            .next_back()
            .expect("there is a key because a file without one is refused");
        (u32::try_from(place).unwrap_or(u32::MAX), key)
    }

    /// The key of one epoch.
    pub(super) fn epoch(&self, epoch: u32) -> Option<&KeyEncryptionKey> {
        self.keys.get(usize::try_from(epoch).ok()?)
    }

    fn write_new(&self, path: &Path) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(self.text().as_bytes())?;
        file.sync_all()?;
        sync_directory(path)
    }

    fn text(&self) -> Zeroizing<String> {
        // One allocation of enough room: a string that grows leaves copies of keys behind.
        let mut text = Zeroizing::new(String::with_capacity(512 + 128 * self.keys.len()));
        text.push_str(MARK);
        text.push('\n');
        let mut line = |name: &str, bytes: &[u8]| {
            text.push_str(name);
            text.push(' ');
            text.push_str(&Zeroizing::new(HEXLOWER.encode(bytes)));
            text.push('\n');
        };
        line("id", &self.id);
        line("recipient-seed", self.recipient.expose_seed());
        for key in &self.keys {
            line("key-encryption-key", key.expose());
        }
        let check = sha256(text.as_bytes());
        text.push_str("check ");
        text.push_str(&check.to_string());
        text.push('\n');
        text
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let (body, check) = text.rsplit_once("check ").ok_or("it has no check line")?;
        if check != format!("{}\n", sha256(body.as_bytes())) {
            return Err("its check does not match");
        }
        let mut lines = body.lines();
        if lines.next() != Some(MARK) {
            return Err("it is of a kind or version that this program does not read");
        }
        let id = field(lines.next(), "id").ok_or("it has no id")?;
        let seed = field(lines.next(), "recipient-seed").ok_or("it has no recipient seed")?;
        let keys = lines
            .map(|line| field(Some(line), "key-encryption-key").map(KeyEncryptionKey::from_bytes))
            .collect::<Option<Vec<_>>>()
            .ok_or("it has a line that does not belong there")?;
        if keys.is_empty() {
            return Err("it has no key-encryption key");
        }
        Ok(Self { id, recipient: RecipientSecret::from_seed(seed), keys })
    }
}

fn field<const N: usize>(line: Option<&str>, name: &str) -> Option<[u8; N]> {
    let hex = line?.strip_prefix(name)?.strip_prefix(' ')?;
    let bytes = Zeroizing::new(HEXLOWER.decode(hex.as_bytes()).ok()?);
    bytes.as_slice().try_into().ok()
}

/// A new name is there after a power cut only once its directory was synced.
fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()
}
