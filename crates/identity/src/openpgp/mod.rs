//! OpenPGP, as far as one person's certificate and messages need it (`spec/key-derivation.md`, sections 5 and 6).
//!
//! A version 4 certificate with an Ed25519 key that signs and an X25519 key that decrypts, detached and inline signatures, and opening of
//! what GnuPG encrypts to it. Nothing else: no RSA, no passphrases, no v6. The bytes of other people are read strictly, with bounds, and
//! what cannot be judged is said to be so.

mod armor;
mod certificate;
mod message;
mod packet;
mod signature;
mod sym;

use std::fmt;

use data_encoding::HEXLOWER;
use proof::{SigningKey, sha256};
use x25519_dalek::{PublicKey as X25519Public, StaticSecret};
use zeroize::Zeroizing;

pub use self::armor::{Armored, dearmor};
pub use self::certificate::Certificate;
pub use self::message::{Message, Opened};
pub use self::signature::Verdict;

use self::certificate::{ECDH, EDDSA, key_body};

/// The most that a message may hold, sealed or opened.
pub const MOST_MESSAGE_BYTES: usize = 64 << 20;
/// The most that a certificate may have.
pub const MOST_CERTIFICATE_BYTES: usize = 1 << 20;
/// 2025-01-01T00:00:00Z: when every key of ours was "created". It is part of the fingerprint, so it is a constant.
pub(crate) const CREATED: u32 = 1_735_689_600;

/// Why bytes are no OpenPGP that this program reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenPgpError {
    /// The armor is broken.
    #[error("the armor is not whole: {0}")]
    Armor(&'static str),
    /// Another kind of thing.
    #[error("it is no OpenPGP {0}")]
    NotA(&'static str),
    /// A packet is broken.
    #[error("an OpenPGP packet is broken: {0}")]
    Packet(&'static str),
    /// It is larger than this program reads.
    #[error("it is larger than {0} bytes, or packed more deeply than a message is")]
    TooLarge(usize),
    /// Encrypted, but not to this person.
    #[error("the message is encrypted to other keys")]
    NotForThisKey,
    /// Encrypted, and nobody gave a key.
    #[error("the message is encrypted, and there is no key to open it")]
    Encrypted,
    /// It does not open: altered, or made for another key under our key's name.
    #[error("the message does not open: it was altered")]
    DoesNotOpen,
    /// Encrypted without anything that would show an alteration.
    #[error("the message is encrypted without integrity protection, so it is not opened")]
    NoIntegrity,
    /// Of a kind that this program does not read.
    #[error("this program does not read {0}")]
    Unsupported(&'static str),
}

/// A person's OpenPGP keys. The secrets are wiped when they are dropped.
pub struct OpenPgpKeys {
    sign: SigningKey,
    decrypt: StaticSecret,
    user_id: String,
    primary: Vec<u8>,
    subkey: Vec<u8>,
}

impl OpenPgpKeys {
    pub(crate) fn new(
        sign: SigningKey,
        decrypt: &Zeroizing<[u8; 32]>,
        user_id: Option<&str>,
    ) -> Self {
        let point = sign.public().to_bytes();
        let decrypt = StaticSecret::from(**decrypt);
        let user_id = user_id.map_or_else(
            || format!("chorion {}", HEXLOWER.encode(&sha256(&point).0[..8])),
            ToOwned::to_owned,
        );
        let primary = key_body(EDDSA, CREATED, &point);
        let subkey = key_body(ECDH, CREATED, X25519Public::from(&decrypt).as_bytes());
        Self { sign, decrypt, user_id, primary, subkey }
    }

    /// The 20 bytes by which others know the certificate.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 20] {
        certificate::fingerprint(&self.primary)
    }

    /// The certificate, as bytes.
    #[must_use]
    pub fn certificate(&self) -> Vec<u8> {
        certificate::write(self)
    }

    /// The certificate in armor, which GnuPG imports.
    #[must_use]
    pub fn armored_certificate(&self) -> String {
        armor::armor(Armored::PublicKey, &self.certificate())
    }

    /// A detached signature over `data`, made at `now` (seconds since 1970), as bytes.
    #[must_use]
    pub fn sign_detached(&self, data: &[u8], now: u32) -> Vec<u8> {
        message::sign_detached(self, data, now)
    }

    /// A message that holds `data` and a signature, as bytes.
    #[must_use]
    pub fn sign_inline(&self, data: &[u8], now: u32) -> Vec<u8> {
        message::sign_inline(self, data, now)
    }
}

impl fmt::Debug for OpenPgpKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenPgpKeys({}, ..)", HEXLOWER.encode(&self.fingerprint()))
    }
}

/// Bytes, in armor of their kind.
#[must_use]
pub fn armor(kind: Armored, bytes: &[u8]) -> String {
    armor::armor(kind, bytes)
}

#[cfg(test)]
mod tests;
