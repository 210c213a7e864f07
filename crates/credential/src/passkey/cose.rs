//! Public keys as authenticators write them (`COSE_Key`, RFC 9053), and the three kinds that are accepted.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};

use super::PasskeyError;
use super::cbor::Item;

/// The kinds of keys that are asked for, the best first: Ed25519, ES256, RS256.
pub const ALGORITHMS: [i32; 3] = [-8, -7, -257];

/// A public key.
#[derive(Debug)]
pub(super) enum Key<'a> {
    /// ECDSA with SHA-256 on P-256: the uncompressed point.
    Es256(Vec<u8>),
    /// Ed25519.
    Ed25519(&'a [u8]),
    /// RSASSA-PKCS1-v1_5 with SHA-256: modulus and exponent.
    Rs256 {
        /// The modulus.
        modulus: &'a [u8],
        /// The exponent.
        exponent: &'a [u8],
    },
}

impl<'a> Key<'a> {
    /// Reads a key of one of the kinds.
    pub(super) fn parse(item: &Item<'a>) -> Result<Self, PasskeyError> {
        let number = |name| match item.number(name) {
            Some(Item::Number(number)) => Some(*number),
            _ => None,
        };
        let bytes = |name| match item.number(name) {
            Some(Item::Bytes(bytes)) => Some(*bytes),
            _ => None,
        };
        match (number(1), number(3), number(-1)) {
            (Some(2), Some(-7), Some(1)) => match (bytes(-2), bytes(-3)) {
                (Some(x), Some(y)) if x.len() == 32 && y.len() == 32 => {
                    Ok(Self::Es256([&[4], x, y].concat()))
                }
                _ => Err(PasskeyError::Kind),
            },
            (Some(1), Some(-8), Some(6)) => match bytes(-2) {
                Some(x) if x.len() == 32 => Ok(Self::Ed25519(x)),
                _ => Err(PasskeyError::Kind),
            },
            (Some(3), Some(-257), None) => match (bytes(-1), bytes(-2)) {
                (Some(modulus), Some(exponent)) if (256..=1024).contains(&modulus.len()) => {
                    Ok(Self::Rs256 { modulus, exponent })
                }
                _ => Err(PasskeyError::Kind),
            },
            _ => Err(PasskeyError::Kind),
        }
    }

    /// Whether the signature is this key's.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), PasskeyError> {
        let done = match self {
            Self::Es256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, signature)
            }
            Self::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature),
            Self::Rs256 { modulus, exponent } => {
                RsaPublicKeyComponents { n: *modulus, e: *exponent }.verify(
                    &RSA_PKCS1_2048_8192_SHA256,
                    message,
                    signature,
                )
            }
        };
        done.map_err(|_| PasskeyError::Signature)
    }
}
