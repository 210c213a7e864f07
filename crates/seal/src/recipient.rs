//! Keys wrapped to a named recipient: HPKE (RFC 9180) in base mode with X-Wing, HKDF-SHA256 and AES-256-GCM
//! (`spec/key-wrapping.md`, section 5).
//!
//! X-Wing is X25519 and ML-KEM-768 together, so that what is wrapped today stays closed to a quantum computer later. Its
//! secret key is a 32-byte seed. The randomness of a wrapping is drawn first and handed in, so the published known answers
//! run through the very code that wraps.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use data_encoding::{Encoding, Specification};
use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::XWing;
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::primitives::{fill_random, sha256};
use crate::{DataKey, DatasetKey, NoRandomness, WrapError};

/// Bytes of a recipient's public key.
pub const PUBLIC_KEY_BYTES: usize = 1_216;
/// Bytes of a recipient's secret seed.
pub const SEED_BYTES: usize = 32;
/// Bytes of a 32-byte key wrapped to a recipient: encapsulation 1,120, ciphertext 32, tag 16.
pub const WRAPPED_BYTES: usize = ENCAPSULATION_BYTES + 48;

const ENCAPSULATION_BYTES: usize = 1_120;
/// What X-Wing draws when it encapsulates.
const ENCAPSULATION_SEED_BYTES: usize = 64;
const MARK: &str = "chorion1";
const CHECK_BYTES: usize = 4;

/// A recipient's public key: whoever has it can wrap a key to the one who holds the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct RecipientKey(Box<[u8; PUBLIC_KEY_BYTES]>);

impl RecipientKey {
    /// Reads a public key of 1,216 bytes.
    ///
    /// # Errors
    /// The bytes are no X-Wing public key.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WrapError> {
        <XWing as Kem>::PublicKey::from_bytes(bytes).map_err(|_| WrapError::BadPublicKey)?;
        let array =
            <[u8; PUBLIC_KEY_BYTES]>::try_from(bytes).map_err(|_| WrapError::BadPublicKey)?;
        Ok(Self(Box::new(array)))
    }

    /// The key's bytes: ML-KEM-768 encapsulation key 1,184, X25519 key 32.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.to_vec()
    }

    /// SHA-256 of the key's bytes: short enough to compare.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        sha256(self.0.as_slice())
    }
}

impl fmt::Display for RecipientKey {
    /// The public string `chorion1…`: base 32 in lower case of the key and the first 4 bytes of its SHA-256.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MARK)?;
        f.write_str(&to_base32(&[self.0.as_slice(), &self.fingerprint()[..CHECK_BYTES]].concat()))
    }
}

impl fmt::Debug for RecipientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fingerprint = self.fingerprint();
        f.write_str("RecipientKey(")?;
        fingerprint[..8].iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("…)")
    }
}

/// Why a text is no public string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRecipient {
    /// It does not begin with `chorion1`.
    #[error("a recipient begins with `chorion1`")]
    NotARecipient,
    /// A character was lost, added or changed.
    #[error("the recipient was not copied whole: its check does not match")]
    BadCheck,
    /// The bytes are no public key.
    #[error("the recipient is well copied but holds no valid X-Wing key")]
    BadKey,
}

impl FromStr for RecipientKey {
    type Err = BadRecipient;

    fn from_str(text: &str) -> Result<Self, BadRecipient> {
        let digits = text.strip_prefix(MARK).ok_or(BadRecipient::NotARecipient)?;
        let bytes = from_base32(digits).ok_or(BadRecipient::BadCheck)?;
        let (key, check) =
            bytes.split_at_checked(PUBLIC_KEY_BYTES).ok_or(BadRecipient::BadCheck)?;
        if check != &sha256(key)[..CHECK_BYTES] {
            return Err(BadRecipient::BadCheck);
        }
        Self::from_bytes(key).map_err(|_| BadRecipient::BadKey)
    }
}

/// RFC 4648 base 32 in lower case without padding; upper case is not read, so that a key has one text.
fn base32() -> Encoding {
    let mut specification = Specification::new();
    specification.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
    specification
        .encoding()
        .expect("the alphabet makes an encoding because it has 32 distinct symbols")
}

pub(crate) fn to_base32(bytes: &[u8]) -> String {
    base32().encode(bytes)
}

pub(crate) fn from_base32(digits: &str) -> Option<Vec<u8>> {
    base32().decode(digits.as_bytes()).ok()
}

/// A recipient's secret: the 32-byte seed that both halves of X-Wing grow from.
///
/// It has no `Display`, its `Debug` shows nothing, and its bytes are wiped when it is dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct RecipientSecret([u8; SEED_BYTES]);

impl RecipientSecret {
    /// A new secret from the system's generator.
    ///
    /// # Errors
    /// The generator gave nothing.
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut secret = Self([0; SEED_BYTES]);
        fill_random(&mut secret.0)?;
        Ok(secret)
    }

    /// The secret with this seed, for keys derived from words.
    #[must_use]
    pub const fn from_seed(seed: [u8; SEED_BYTES]) -> Self {
        Self(seed)
    }

    /// The seed itself, for whoever stores it sealed.
    #[must_use]
    pub const fn expose_seed(&self) -> &[u8; SEED_BYTES] {
        &self.0
    }

    /// The public key that belongs to it.
    #[must_use]
    pub fn public(&self) -> RecipientKey {
        let public = XWing::sk_to_pk(&self.private());
        let mut bytes = Box::new([0; PUBLIC_KEY_BYTES]);
        public.write_exact(bytes.as_mut_slice());
        RecipientKey(bytes)
    }

    fn private(&self) -> <XWing as Kem>::PrivateKey {
        <XWing as Kem>::PrivateKey::from_bytes(&self.0)
            .expect("a seed is a private key because every 32 bytes are one")
    }
}

impl fmt::Debug for RecipientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecipientSecret(..)")
    }
}

/// Wraps a dataset key to a recipient, bound to `info` (for example [`crate::wrap::DatasetContext::bytes`]).
///
/// # Errors
/// No randomness.
pub fn wrap_to(to: &RecipientKey, info: &[u8], key: &DatasetKey) -> Result<Vec<u8>, WrapError> {
    wrap_bytes_to(to, info, key.expose())
}

/// Opens a dataset key that was wrapped to this recipient for `info`.
///
/// # Errors
/// It has another length than [`WRAPPED_BYTES`], or does not open with this secret for this `info`.
pub fn unwrap(
    with: &RecipientSecret,
    info: &[u8],
    wrapped: &[u8],
) -> Result<DatasetKey, WrapError> {
    unwrap_bytes(with, info, wrapped).map(DatasetKey::from_bytes)
}

/// Wraps the data key of an offline file, which has no dataset, straight to a recipient.
pub(crate) fn wrap_data_key_to(
    to: &RecipientKey,
    info: &[u8],
    key: &DataKey,
) -> Result<Vec<u8>, WrapError> {
    wrap_bytes_to(to, info, key.expose())
}

pub(crate) fn unwrap_data_key(
    with: &RecipientSecret,
    info: &[u8],
    wrapped: &[u8],
) -> Result<DataKey, WrapError> {
    unwrap_bytes(with, info, wrapped).map(DataKey::from_bytes)
}

fn wrap_bytes_to(to: &RecipientKey, info: &[u8], key: &[u8; 32]) -> Result<Vec<u8>, WrapError> {
    let mut randomness = Zeroizing::new([0; ENCAPSULATION_SEED_BYTES]);
    fill_random(randomness.as_mut_slice())?;
    hpke_seal::<AesGcm256, HkdfSha256, XWing>(
        to.0.as_slice(),
        info,
        &[],
        key,
        randomness.as_slice(),
    )
}

fn unwrap_bytes(
    with: &RecipientSecret,
    info: &[u8],
    wrapped: &[u8],
) -> Result<[u8; 32], WrapError> {
    // The length is looked at before anything is decrypted: what has another length is not one of ours.
    if wrapped.len() != WRAPPED_BYTES {
        return Err(WrapError::Length { found: wrapped.len(), expected: WRAPPED_BYTES });
    }
    let key = hpke_open::<AesGcm256, HkdfSha256, XWing>(&with.0, info, &[], wrapped)?;
    <[u8; 32]>::try_from(key.as_slice()).map_err(|_| WrapError::DoesNotOpen)
}

/// HPKE in base mode, one message: encapsulation ‖ ciphertext ‖ tag. Generic, so that known answers of other suites run through it.
fn hpke_seal<A: hpke::aead::Aead, D: hpke::kdf::Kdf, K: Kem>(
    to: &[u8],
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8],
    randomness: &[u8],
) -> Result<Vec<u8>, WrapError> {
    let to = K::PublicKey::from_bytes(to).map_err(|_| WrapError::BadPublicKey)?;
    let (encapsulation, mut context) = hpke::setup_sender_with_rng::<A, D, K>(
        &OpModeS::Base,
        &to,
        info,
        &mut Drawn { left: randomness },
    )
    .map_err(|_| WrapError::BadPublicKey)?;
    let sealed = context
        .seal(plaintext, aad)
        .expect("sealing cannot fail because it is the first and only message of its context");
    Ok([encapsulation.to_bytes().as_slice(), &sealed].concat())
}

fn hpke_open<A: hpke::aead::Aead, D: hpke::kdf::Kdf, K: Kem>(
    with: &[u8],
    info: &[u8],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, WrapError> {
    let with = K::PrivateKey::from_bytes(with).map_err(|_| WrapError::DoesNotOpen)?;
    let (encapsulation, sealed) =
        sealed.split_at_checked(K::EncappedKey::size()).ok_or(WrapError::DoesNotOpen)?;
    let encapsulation =
        K::EncappedKey::from_bytes(encapsulation).map_err(|_| WrapError::DoesNotOpen)?;
    hpke::setup_receiver::<A, D, K>(&OpModeR::Base, &with, &encapsulation, info)
        .and_then(|mut context| context.open(sealed, aad))
        .map(Zeroizing::new)
        .map_err(|_| WrapError::DoesNotOpen)
}

/// A generator that hands out bytes drawn before, once.
struct Drawn<'a> {
    left: &'a [u8],
}

impl TryRng for Drawn<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        let (now, later) = self
            .left
            .split_at_checked(out.len())
            .expect("enough was drawn because the encapsulation's need is a constant of its KEM");
        out.copy_from_slice(now);
        self.left = later;
        Ok(())
    }
}

impl TryCryptoRng for Drawn<'_> {}

#[cfg(test)]
mod tests;
