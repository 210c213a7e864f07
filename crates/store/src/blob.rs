//! A blob and its name.
//!
//! A blob is opaque bytes, at most 16 MiB, named by the SHA-256 of exactly those bytes. The name is all that is needed to
//! check a copy, so verifying and repairing take no key, and two facilities cannot disagree about what a name means
//! (`spec/store.md` section 1).

use std::{fmt, str::FromStr};

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

/// The largest blob the store takes: 16 MiB, one sealed object.
pub const MAX_BLOB_BYTES: usize = 16 * 1024 * 1024;

/// The name of a blob: the SHA-256 of its bytes (FIPS 180-4), 64 lower-case hex digits in text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobHash([u8; 32]);

impl BlobHash {
    /// The name of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
        Self(hash)
    }

    /// A name whose 32 bytes are already known, for example from a database row.
    #[must_use]
    pub const fn from_bytes(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    /// The 32 bytes of the name.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether these bytes are the ones this name stands for.
    #[must_use]
    pub fn names(&self, bytes: &[u8]) -> bool {
        Self::of(bytes) == *self
    }

    /// The first byte of the name: which of the 256 shards lists it.
    #[must_use]
    pub const fn shard(&self) -> u8 {
        self.0[0]
    }
}

impl fmt::Display for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobHash({self})")
    }
}

/// The text is not the name of a blob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not the name of a blob: 64 lower-case hex digits are")]
pub struct BlobHashError {
    text: String,
}

impl FromStr for BlobHash {
    type Err = BlobHashError;

    fn from_str(text: &str) -> Result<Self, BlobHashError> {
        let refused = || BlobHashError { text: text.chars().take(80).collect() };
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| refused())?;
        Ok(Self(bytes.try_into().map_err(|_| refused())?))
    }
}

impl Serialize for BlobHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BlobHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_sha_256_of_the_bytes() {
        // FIPS 180-4, the example "abc".
        let name = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(BlobHash::of(b"abc").to_string(), name);
        assert_eq!(name.parse::<BlobHash>().unwrap(), BlobHash::of(b"abc"));
        assert!(BlobHash::of(b"abc").names(b"abc") && !BlobHash::of(b"abc").names(b"abd"));
    }

    #[test]
    fn only_64_lower_case_hex_digits_are_a_name() {
        let whole = BlobHash::of(b"abc").to_string();
        for bad in [&whole[1..], &whole.to_uppercase(), &format!("{whole}0"), "", "../../etc"] {
            assert!(bad.parse::<BlobHash>().is_err(), "{bad}");
        }
    }
}
