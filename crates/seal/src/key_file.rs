//! A recipient's secret as a text file, bare or locked under a passphrase (`spec/offline-file.md`, section 7).
//!
//! Lines that begin with `#` are for people; one line holds the secret: `chorion-secret1` and base 32 of form, content and a
//! 4-byte check. A locked secret is sealed with AES-256-GCM under Argon2id (RFC 9106, second recommended setting).

use std::fmt;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use zeroize::{Zeroize, Zeroizing};

use crate::NoRandomness;
use crate::primitives::{Aes256Gcm, GCM_NONCE_BYTES, GCM_TAG_BYTES, fill_random, sha256};
use crate::recipient::{RecipientSecret, SEED_BYTES, from_base32, to_base32};

const MARK: &str = "chorion-secret1";
const CHECK_BYTES: usize = 4;
const SALT_BYTES: usize = 16;
const BARE: u8 = 0;
const LOCKED: u8 = 1;
/// Form 1, cost 3 × 4, salt 16: what the seal of a locked secret covers besides the seed.
const LOCK_BYTES: usize = 1 + 12 + SALT_BYTES;

/// What a try of a passphrase costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes it is divided into.
    pub lanes: u32,
}

impl Cost {
    /// 64 MiB, 3 passes, 4 lanes: RFC 9106's choice where 2 GiB cannot be had.
    pub const STANDARD: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 4 };
    /// The most that is read: a file must not make its reader work for hours.
    pub const MOST: Self = Self { memory_kib: 1024 * 1024, passes: 16, lanes: 16 };

    fn parameters(self) -> Option<Params> {
        let Self { memory_kib, passes, lanes } = self;
        let most = Self::MOST;
        if memory_kib > most.memory_kib || passes > most.passes || lanes > most.lanes {
            return None;
        }
        Params::new(memory_kib, passes, lanes, Some(32)).ok()
    }
}

/// Why a key file was not written, or gives no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// No salt could be drawn.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// No line holds a secret key.
    #[error("no line of it begins with `chorion-secret1`")]
    NoKey,
    /// More than one line does.
    #[error("more than one line of it begins with `chorion-secret1`")]
    SeveralKeys,
    /// The line was damaged.
    #[error("its key line is not whole: its check does not match")]
    BadCheck,
    /// The line is whole, but of a form this program does not know.
    #[error("its key line is of a form this program does not read")]
    UnknownForm,
    /// The cost is none that Argon2id takes, or more than [`Cost::MOST`].
    #[error("it asks for more work per passphrase than this program does")]
    BadCost,
    /// The passphrase does not open it.
    #[error("the passphrase does not open it")]
    WrongPassphrase,
}

/// The text of a key file with the secret bare: whoever reads the file has the key.
#[must_use]
pub fn write_bare(secret: &RecipientSecret) -> Zeroizing<String> {
    let payload = Zeroizing::new([[BARE].as_slice(), secret.expose_seed()].concat());
    text(secret, "not protected by a passphrase", &payload)
}

/// The text of a key file with the secret locked under a passphrase.
///
/// # Errors
/// No randomness, or a cost that Argon2id does not take.
pub fn write_locked(
    secret: &RecipientSecret,
    passphrase: &[u8],
    cost: Cost,
) -> Result<Zeroizing<String>, KeyFileError> {
    let mut salt = [0; SALT_BYTES];
    fill_random(&mut salt)?;
    let payload = lock(secret, passphrase, cost, salt)?;
    Ok(text(secret, "protected by a passphrase", &payload))
}

fn lock(
    secret: &RecipientSecret,
    passphrase: &[u8],
    cost: Cost,
    salt: [u8; SALT_BYTES],
) -> Result<Vec<u8>, KeyFileError> {
    let mut payload = vec![LOCKED];
    for part in [cost.memory_kib, cost.passes, cost.lanes] {
        payload.extend_from_slice(&part.to_be_bytes());
    }
    payload.extend_from_slice(&salt);
    let mut sealed = [0; SEED_BYTES + GCM_TAG_BYTES];
    passphrase_key(passphrase, &salt, cost)?.seal(
        NONCE,
        &payload,
        secret.expose_seed(),
        &mut sealed,
    );
    payload.extend_from_slice(&sealed);
    Ok(payload)
}

fn text(secret: &RecipientSecret, protection: &str, payload: &[u8]) -> Zeroizing<String> {
    let fingerprint = secret.public().fingerprint();
    let payload = Zeroizing::new([payload, &sha256(payload)[..CHECK_BYTES]].concat());
    let digits = Zeroizing::new(to_base32(&payload));
    let mut text = Zeroizing::new(String::with_capacity(512));
    text.push_str("# Chorion secret key, ");
    text.push_str(protection);
    text.push_str(". It opens what was sealed to its public key.\n# fingerprint: ");
    text.push_str(&hex(&fingerprint));
    text.push('\n');
    text.push_str(MARK);
    text.push_str(&digits);
    text.push('\n');
    text
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// A key file, read.
#[derive(Debug)]
pub enum KeyFile {
    /// The secret lay bare.
    Bare(RecipientSecret),
    /// The secret is locked under a passphrase.
    Locked(LockedSecret),
}

impl KeyFile {
    /// Reads the text of a key file.
    ///
    /// # Errors
    /// It has no secret key line or several, or the line is damaged or of an unknown form.
    pub fn read(text: &str) -> Result<Self, KeyFileError> {
        let mut lines = text.lines().filter_map(|line| line.trim().strip_prefix(MARK));
        let digits = lines.next().ok_or(KeyFileError::NoKey)?;
        if lines.next().is_some() {
            return Err(KeyFileError::SeveralKeys);
        }
        let bytes = Zeroizing::new(from_base32(digits).ok_or(KeyFileError::BadCheck)?);
        let (payload, check) = bytes
            .len()
            .checked_sub(CHECK_BYTES)
            .map(|end| bytes.split_at(end))
            .ok_or(KeyFileError::BadCheck)?;
        if check != &sha256(payload)[..CHECK_BYTES] {
            return Err(KeyFileError::BadCheck);
        }
        match payload {
            [BARE, seed @ ..] => {
                let mut seed =
                    <[u8; SEED_BYTES]>::try_from(seed).map_err(|_| KeyFileError::UnknownForm)?;
                let secret = RecipientSecret::from_seed(seed);
                seed.zeroize();
                Ok(Self::Bare(secret))
            }
            [LOCKED, ..] => payload
                .try_into()
                .map(|payload| Self::Locked(LockedSecret(payload)))
                .map_err(|_| KeyFileError::UnknownForm),
            _ => Err(KeyFileError::UnknownForm),
        }
    }
}

/// A secret under a passphrase.
pub struct LockedSecret([u8; LOCK_BYTES + SEED_BYTES + GCM_TAG_BYTES]);

impl LockedSecret {
    /// What a try costs.
    #[must_use]
    pub fn cost(&self) -> Cost {
        let number = |at: usize| {
            u32::from_be_bytes([self.0[at], self.0[at + 1], self.0[at + 2], self.0[at + 3]])
        };
        Cost { memory_kib: number(1), passes: number(5), lanes: number(9) }
    }

    /// Opens it.
    ///
    /// # Errors
    /// The passphrase is another, or the cost is more than this program does.
    pub fn unlock(&self, passphrase: &[u8]) -> Result<RecipientSecret, KeyFileError> {
        let (lock, sealed) = self.0.split_at(LOCK_BYTES);
        let key = passphrase_key(passphrase, &lock[LOCK_BYTES - SALT_BYTES..], self.cost())?;
        let mut seed = [0; SEED_BYTES];
        key.open(NONCE, lock, sealed, &mut seed).map_err(|_| KeyFileError::WrongPassphrase)?;
        let secret = RecipientSecret::from_seed(seed);
        seed.zeroize();
        Ok(secret)
    }
}

impl fmt::Debug for LockedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LockedSecret").field(&self.cost()).finish()
    }
}

/// The key is used for one seal, having a salt of its own, so its nonce may be constant.
const NONCE: [u8; GCM_NONCE_BYTES] = [0; GCM_NONCE_BYTES];

fn passphrase_key(passphrase: &[u8], salt: &[u8], cost: Cost) -> Result<Aes256Gcm, KeyFileError> {
    let parameters = cost.parameters().ok_or(KeyFileError::BadCost)?;
    let mut memory = vec![Block::default(); parameters.block_count()];
    let mut derived = [0; 32];
    let result = Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters)
        .hash_password_into_with_memory(passphrase, salt, &mut derived, &mut memory);
    memory.iter_mut().for_each(Zeroize::zeroize);
    result.map_err(|_| KeyFileError::BadCost)?;
    let key = Aes256Gcm::new(&derived);
    derived.zeroize();
    Ok(key)
}

#[cfg(test)]
mod tests;
