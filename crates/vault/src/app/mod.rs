//! Apps: existing genomic programs with a file tree of their own, told apart by one digest.
//!
//! An app is a **manifest** (what goes in, what comes out, which command, within which limits) and a **root**: every file
//! that the command can see, down to the C library. The app digest covers both, so that a person who approves a digest
//! approves the exact bytes that will meet the genome. `spec/app.md` rules the formats.
//!
//! [`source`] is an author's folder, [`package`] the one file that travels, [`tree`] the root and its digest, [`task`] what
//! one launch means, [`tes`] the same as a GA4GH TES 1.1 task. What runs a checked app is [`crate::sandbox`].

pub mod debian;
pub mod manifest;
pub mod oci;
pub mod package;
pub mod source;
pub mod task;
pub mod tes;
pub mod tree;

mod units;

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{Context, SHA256};

pub use manifest::{Manifest, ManifestError};
pub use package::{AppCache, InstalledApp, PackageError, VerifiedApp};
pub use task::{Launch, TaskError, TaskFile, TaskRequest};
pub use tree::{Tree, TreeError};
pub use units::{Bytes, Seconds};

/// A SHA-256 value: of a file, a manifest, a tree or an app. The purpose is in the name of what holds it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(bytes);
        hasher.finish()
    }

    /// The 32 bytes as a value.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{self}")
    }
}

/// A text that is not 64 lower-case hexadecimal digits, with or without `sha256:` before them.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a SHA-256 digest (64 hexadecimal digits)")]
pub struct NotADigest(String);

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        data_encoding::HEXLOWER
            .decode(hex.as_bytes())
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| NotADigest(text.to_owned()))
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// SHA-256 over a stream.
pub(crate) struct Hasher(Context);

impl Hasher {
    pub(crate) fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> Digest {
        let digest = self.0.finish();
        Digest(digest.as_ref().try_into().expect("SHA-256 gives 32 bytes because it is SHA-256"))
    }
}

/// The digest a person approves: of the manifest and of every file of the root (`spec/app.md` section 4).
pub fn app_digest(manifest: Digest, tree: Digest) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(b"chorion.app/1\n");
    hasher.update(manifest.as_bytes());
    hasher.update(tree.as_bytes());
    hasher.finish()
}
