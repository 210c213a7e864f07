//! Bytes in JSON: digests and ids as hex, everything else as base64 without line breaks.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE64, HEXLOWER};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A SHA-256 digest, 64 hex digits on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, utoipa::ToSchema)]
#[schema(value_type = String, example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
pub struct Digest(pub [u8; 32]);

/// The id of a sealed object, 32 hex digits on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, utoipa::ToSchema)]
#[schema(value_type = String)]
pub struct ObjectRef(pub [u8; 16]);

/// Which public key signs: the first 16 bytes of its SHA-256, 32 hex digits on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, utoipa::ToSchema)]
#[schema(value_type = String)]
pub struct KeyId(pub [u8; 16]);

macro_rules! hex {
    ($name:ident, $bytes:literal, $what:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEXLOWER.encode(&self.0))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
        impl FromStr for $name {
            type Err = NotBytes;
            fn from_str(text: &str) -> Result<Self, NotBytes> {
                let bytes = HEXLOWER.decode(text.as_bytes()).ok();
                bytes.and_then(|b| b.try_into().ok()).map(Self).ok_or(NotBytes { what: $what })
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

hex!(Digest, 32, "a digest of 64 lower-case hex digits");
hex!(ObjectRef, 16, "an object id of 32 lower-case hex digits");
hex!(KeyId, 16, "a key id of 32 lower-case hex digits");

/// Bytes that the hub carries and does not interpret: a wrapped key, a public key, a signature.
#[derive(Clone, PartialEq, Eq, Hash, utoipa::ToSchema)]
#[schema(value_type = String, format = Byte)]
pub struct Bytes(pub Vec<u8>);

/// A text that only the holder of the dataset key reads (`seal::label`).
pub type Sealed = Bytes;

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({} bytes)", self.0.len())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        BASE64
            .decode(text.as_bytes())
            .map(Self)
            .map_err(|_not_base64| serde::de::Error::custom("not base64"))
    }
}

/// A text that is not the bytes it should be.
#[derive(Debug, thiserror::Error)]
#[error("not {what}")]
pub struct NotBytes {
    what: &'static str,
}
