//! A recipient's secret as a text file, bare or locked under a passphrase (`spec/offline-file.md`, section 7).
//!
//! Lines that begin with `#` are for people; one line holds the secret: `chorion-secret1` and base 32 of form, content and a
//! 4-byte check. A locked secret is sealed with AES-256-GCM under Argon2id (RFC 9106, second recommended setting).

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

use crate::NoRandomness;
pub use crate::passphrase::Cost;
use crate::passphrase::{self, HEAD_BYTES, LockError};
use crate::primitives::GCM_TAG_BYTES;
use crate::recipient::{RecipientSecret, SEED_BYTES};
use crate::secret_line::{self, LineError};

const MARK: &str = "chorion-secret1";
const BARE: u8 = 0;
/// The seal of a locked key file covers no label: the form is older than labels.
const LABEL: &[u8] = b"";

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

impl From<LockError> for KeyFileError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Random(error) => Self::Random(error),
            LockError::UnknownForm => Self::UnknownForm,
            LockError::BadCost => Self::BadCost,
            LockError::WrongPassphrase => Self::WrongPassphrase,
        }
    }
}

impl From<LineError> for KeyFileError {
    fn from(error: LineError) -> Self {
        match error {
            LineError::None => Self::NoKey,
            LineError::Several => Self::SeveralKeys,
            LineError::BadCheck => Self::BadCheck,
        }
    }
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
    let payload = passphrase::lock(LABEL, secret.expose_seed(), passphrase, cost)?;
    Ok(text(secret, "protected by a passphrase", &payload))
}

fn text(secret: &RecipientSecret, protection: &str, payload: &[u8]) -> Zeroizing<String> {
    let fingerprint = secret.public().fingerprint();
    let line = secret_line::write(MARK, payload);
    let mut text = Zeroizing::new(String::with_capacity(512));
    text.push_str("# Chorion secret key, ");
    text.push_str(protection);
    text.push_str(". It opens what was sealed to its public key.\n# fingerprint: ");
    text.push_str(&hex(&fingerprint));
    text.push('\n');
    text.push_str(&line);
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
        let payload = secret_line::read(MARK, text)?;
        match payload.as_slice() {
            [BARE, seed @ ..] => {
                let mut seed =
                    <[u8; SEED_BYTES]>::try_from(seed).map_err(|_| KeyFileError::UnknownForm)?;
                let secret = RecipientSecret::from_seed(seed);
                seed.zeroize();
                Ok(Self::Bare(secret))
            }
            locked => {
                let cost = passphrase::cost(locked)?;
                let locked = locked.try_into().map_err(|_| KeyFileError::UnknownForm)?;
                Ok(Self::Locked(LockedSecret { cost, locked }))
            }
        }
    }
}

/// A secret under a passphrase.
pub struct LockedSecret {
    cost: Cost,
    locked: [u8; HEAD_BYTES + SEED_BYTES + GCM_TAG_BYTES],
}

impl LockedSecret {
    /// What a try costs.
    #[must_use]
    pub const fn cost(&self) -> Cost {
        self.cost
    }

    /// Opens it.
    ///
    /// # Errors
    /// The passphrase is another, or the cost is more than this program does.
    pub fn unlock(&self, passphrase: &[u8]) -> Result<RecipientSecret, KeyFileError> {
        let opened = passphrase::unlock(LABEL, &self.locked, passphrase)?;
        let mut seed = [0; SEED_BYTES];
        seed.copy_from_slice(&opened);
        let secret = RecipientSecret::from_seed(seed);
        seed.zeroize();
        Ok(secret)
    }
}

impl fmt::Debug for LockedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LockedSecret").field(&self.cost).finish()
    }
}

#[cfg(test)]
mod tests;
