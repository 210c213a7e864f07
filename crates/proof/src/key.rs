//! Ed25519 keys (RFC 8032): calls, cards, manifests and receipts are all signed with them.

use std::fmt;
use std::sync::LazyLock;

use api::KeyId;
use curve25519_dalek::constants::EIGHT_TORSION;
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
    ///
    /// `verify` compares R as bytes with the one form of the very point; what the strict rules refuse beyond that is an R of small
    /// order, of which there are eight. The key is of none, see [`from_bytes`](Self::from_bytes). A second verification, as
    /// `verify_strict` would be, costs as much again and says no more.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let Ok(signature) = ed25519_dalek::Signature::from_slice(signature) else { return false };
        !SMALL_ORDER.contains(signature.r_bytes()) && self.0.verify(message, &signature).is_ok()
    }
}

/// The points of small order, in the one form in which `verify` writes a point.
static SMALL_ORDER: LazyLock<[[u8; 32]; 8]> =
    LazyLock::new(|| EIGHT_TORSION.map(|point| point.compress().to_bytes()));

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

#[cfg(test)]
mod tests {
    use curve25519_dalek::edwards::CompressedEdwardsY;
    use curve25519_dalek::scalar::Scalar;
    use proptest::prelude::*;
    use sha2::{Digest, Sha512};

    use super::*;

    /// Both rules of the library, one after the other.
    fn by_both_rules(key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
        let Ok(signature) = ed25519_dalek::Signature::from_slice(signature) else { return false };
        key.0.verify(message, &signature).is_ok()
            && key.0.verify_strict(message, &signature).is_ok()
    }

    /// A signature that only its own signer can make: R is the neutral element, so that S is the challenge times the secret.
    fn of_no_order(key: &SigningKey, message: &[u8]) -> [u8; 64] {
        let r = CompressedEdwardsY::default().0;
        let mut hash = Sha512::new();
        hash.update(r);
        hash.update(key.public().to_bytes());
        hash.update(message);
        let challenge = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
        let s = challenge * key.0.to_scalar();
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&r);
        signature[32..].copy_from_slice(s.as_bytes());
        signature
    }

    #[test]
    fn a_signature_whose_point_is_of_small_order_is_refused() {
        let key = SigningKey::from_seed(&[3; 32]);
        let signature = of_no_order(&key, b"pay");
        // By the loose rule it would be one, which is why there is a strict one.
        let loose = ed25519_dalek::Signature::from_bytes(&signature);
        assert!(key.public().0.verify(b"pay", &loose).is_ok());
        assert!(!by_both_rules(&key.public(), b"pay", &signature));
        assert!(!key.public().verifies(b"pay", &signature));
        for point in EIGHT_TORSION {
            let mut signature = key.sign(b"pay").0;
            signature[..32].copy_from_slice(point.compress().as_bytes());
            assert!(!key.public().verifies(b"pay", &signature));
            assert!(PublicKey::from_bytes(point.compress().as_bytes()).is_err());
        }
    }

    proptest! {
        #[test]
        fn one_verification_says_what_both_rules_say(
            seed: [u8; 32], message: [u8; 16], place in 0..64_usize, bits: u8,
        ) {
            let key = SigningKey::from_seed(&seed);
            let mut signature = key.sign(&message).0;
            prop_assert!(key.public().verifies(&message, &signature));
            signature[place] ^= bits;
            let both = by_both_rules(&key.public(), &message, &signature);
            prop_assert_eq!(key.public().verifies(&message, &signature), both);
            prop_assert_eq!(both, bits == 0);
        }
    }
}
