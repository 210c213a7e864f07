//! A secret of any length locked under a passphrase: AES-256-GCM under Argon2id (RFC 9106, second recommended setting).
//!
//! Key files (`spec/offline-file.md`, section 7) and identity files (`spec/key-derivation.md`, section 9) both hold what this writes.
//! A label that is covered by the seal keeps one kind of content from being taken for another.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use zeroize::{Zeroize, Zeroizing};

use crate::NoRandomness;
use crate::primitives::{Aes256Gcm, GCM_NONCE_BYTES, GCM_TAG_BYTES, fill_random};

const SALT_BYTES: usize = 16;
const LOCKED: u8 = 1;
/// Form 1, cost 3 × 4, salt 16: what stands before the sealed secret, and what the seal covers besides it.
pub(crate) const HEAD_BYTES: usize = 1 + 12 + SALT_BYTES;

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

/// Why a secret was not locked, or does not come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// No salt could be drawn.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// It is shorter than the shortest locked secret, or of another form.
    #[error("it is of a form this program does not read")]
    UnknownForm,
    /// The cost is none that Argon2id takes, or more than [`Cost::MOST`].
    #[error("it asks for more work per passphrase than this program does")]
    BadCost,
    /// The passphrase does not open it.
    #[error("the passphrase does not open it")]
    WrongPassphrase,
}

/// Locks `secret`: form, cost and salt (29 bytes), then the secret and its tag. `label` is covered, not written.
///
/// # Errors
/// No randomness, or a cost that Argon2id does not take.
pub fn lock(
    label: &[u8],
    secret: &[u8],
    passphrase: &[u8],
    cost: Cost,
) -> Result<Vec<u8>, LockError> {
    let mut salt = [0; SALT_BYTES];
    fill_random(&mut salt)?;
    let mut locked = vec![LOCKED];
    for part in [cost.memory_kib, cost.passes, cost.lanes] {
        locked.extend_from_slice(&part.to_be_bytes());
    }
    locked.extend_from_slice(&salt);
    let covered = [label, &locked].concat();
    let mut sealed = vec![0; secret.len() + GCM_TAG_BYTES];
    passphrase_key(passphrase, &salt, cost)?.seal(NONCE, &covered, secret, &mut sealed);
    locked.extend_from_slice(&sealed);
    Ok(locked)
}

/// What a try to open `locked` costs, if it is a locked secret.
///
/// # Errors
/// It is too short or of another form.
pub fn cost(locked: &[u8]) -> Result<Cost, LockError> {
    if locked.len() < HEAD_BYTES + GCM_TAG_BYTES || locked[0] != LOCKED {
        return Err(LockError::UnknownForm);
    }
    let number = |at: usize| {
        u32::from_be_bytes([locked[at], locked[at + 1], locked[at + 2], locked[at + 3]])
    };
    Ok(Cost { memory_kib: number(1), passes: number(5), lanes: number(9) })
}

/// Opens what [`lock`] made with the same label.
///
/// # Errors
/// It is of another form, costs more than this program does, or does not open with this passphrase.
pub fn unlock(
    label: &[u8],
    locked: &[u8],
    passphrase: &[u8],
) -> Result<Zeroizing<Vec<u8>>, LockError> {
    let cost = cost(locked)?;
    let (head, sealed) = locked.split_at(HEAD_BYTES);
    let key = passphrase_key(passphrase, &head[HEAD_BYTES - SALT_BYTES..], cost)?;
    let mut secret = Zeroizing::new(vec![0; sealed.len() - GCM_TAG_BYTES]);
    key.open(NONCE, &[label, head].concat(), sealed, &mut secret)
        .map_err(|_| LockError::WrongPassphrase)?;
    Ok(secret)
}

/// The key is used for one seal, having a salt of its own, so its nonce may be constant.
const NONCE: [u8; GCM_NONCE_BYTES] = [0; GCM_NONCE_BYTES];

fn passphrase_key(passphrase: &[u8], salt: &[u8], cost: Cost) -> Result<Aes256Gcm, LockError> {
    let parameters = cost.parameters().ok_or(LockError::BadCost)?;
    let mut memory = vec![Block::default(); parameters.block_count()];
    let mut derived = [0; 32];
    let result = Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters)
        .hash_password_into_with_memory(passphrase, salt, &mut derived, &mut memory);
    memory.iter_mut().for_each(Zeroize::zeroize);
    result.map_err(|_| LockError::BadCost)?;
    let key = Aes256Gcm::new(&derived);
    derived.zeroize();
    Ok(key)
}
