//! Ed25519 keys (RFC 8032): calls, cards, manifests and receipts are all signed with them.

use std::fmt;

use api::KeyId;
use ed25519_dalek::{Signer, Verifier};
use zeroize::Zeroizing;

use crate::sha256;

/// A key that signs. Its bytes are wiped when it is dropped, and printing it shows its public half alone.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// The key with this 32-byte seed, which the caller drew from its own source of randomness.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The seed, for whoever stores the key.
    pub fn expose_seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs `message`.
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, ..)", self.public().id())
    }
}

/// A key that verifies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(ed25519_dalek::VerifyingKey);

impl PublicKey {
    /// The key with these bytes; points of small order are refused, since anything verifies under them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadKey> {
        let bytes: &[u8; 32] = bytes.try_into().map_err(|_length| BadKey)?;
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_no_point| BadKey)?;
        if key.is_weak() { Err(BadKey) } else { Ok(Self(key)) }
    }

    /// The 32 bytes.
    pub fn to_bytes(self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The id under which a hub knows the key.
    pub fn id(&self) -> KeyId {
        key_id(&self.to_bytes())
    }

    /// Whether `signature` is this key's over `message`, by the strict rules (no malleable signature passes).
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let Ok(signature) = ed25519_dalek::Signature::from_slice(signature) else { return false };
        self.0.verify(message, &signature).is_ok()
            && self.0.verify_strict(message, &signature).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id())
    }
}

/// The id of a public key: the first 16 bytes of its SHA-256.
pub fn key_id(public_key: &[u8; 32]) -> KeyId {
    let digest = sha256(public_key).0;
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    KeyId(id)
}

/// An Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature(..)")
    }
}

/// Bytes that are no Ed25519 public key.
#[derive(Debug, thiserror::Error)]
#[error("the public key is not a valid Ed25519 point of 32 bytes")]
pub struct BadKey;
