//! Keys wrapped under keys: a data key under its dataset key, a dataset key under a key-encryption key
//! (`spec/key-wrapping.md`, sections 3 and 4).
//!
//! A wrapped key is 60 bytes, nonce ‖ ciphertext ‖ tag, and opens only for the place it was wrapped for: the place enters the
//! derivation of the wrapping key and the associated data. A wrapping key per place also means that the random 96-bit nonces
//! of a busy dataset never meet under one key.

use zeroize::Zeroize;

use crate::primitives::{
    Aes256Gcm, GCM_NONCE_BYTES, GCM_TAG_BYTES, fill_random, hkdf_expand_sha512,
};
use crate::{Commitment, DataKey, DatasetKey, KeyEncryptionKey, ObjectId, WrapError};

/// Bytes of a key wrapped under a key.
pub const WRAPPED_BYTES: usize = GCM_NONCE_BYTES + 32 + GCM_TAG_BYTES;

const DATA_KEY_LABEL: &[u8] = b"chorion.data-key/1\0";
const DATASET_KEY_LABEL: &[u8] = b"chorion.dataset-key/1\0";

/// The place of a data key: which object, which body, in which dataset, under which epoch of the dataset key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectContext {
    /// Id of the dataset.
    pub dataset: [u8; 16],
    /// Epoch of the dataset key, counted up when it is replaced.
    pub epoch: u32,
    /// Id of the object.
    pub object: ObjectId,
    /// Commitment of its body.
    pub commitment: Commitment,
}

impl ObjectContext {
    /// The place as bytes: label, dataset 16, epoch 4 (big-endian), object 16, commitment 32.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        [
            DATA_KEY_LABEL,
            &self.dataset,
            &self.epoch.to_be_bytes(),
            self.object.as_bytes(),
            self.commitment.as_bytes(),
        ]
        .concat()
    }
}

/// The place of a dataset key: which dataset, in which project, under which card, which epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatasetContext {
    /// Id of the dataset.
    pub dataset: [u8; 16],
    /// Id of the project.
    pub project: [u8; 16],
    /// SHA-256 of the project card that says who holds the key.
    pub card_digest: [u8; 32],
    /// Epoch of the dataset key.
    pub epoch: u32,
}

impl DatasetContext {
    /// The place as bytes, which are also the HPKE `info` when the key goes to a recipient: label, dataset 16, project 16, card
    /// digest 32, epoch 4 (big-endian).
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        [
            DATASET_KEY_LABEL,
            &self.dataset,
            &self.project,
            &self.card_digest,
            &self.epoch.to_be_bytes(),
        ]
        .concat()
    }
}

/// Wraps a data key under its dataset's key.
///
/// # Errors
/// No randomness.
pub fn wrap_data_key(
    under: &DatasetKey,
    context: &ObjectContext,
    key: &DataKey,
) -> Result<[u8; WRAPPED_BYTES], WrapError> {
    wrap(under.expose(), &context.bytes(), key.expose())
}

/// Opens a wrapped data key in its place.
///
/// # Errors
/// Not 60 bytes, or it does not open under this key for this place.
pub fn unwrap_data_key(
    under: &DatasetKey,
    context: &ObjectContext,
    wrapped: &[u8],
) -> Result<DataKey, WrapError> {
    unwrap(under.expose(), &context.bytes(), wrapped).map(DataKey::from_bytes)
}

/// Wraps a dataset key under a key-encryption key.
///
/// # Errors
/// No randomness.
pub fn wrap_dataset_key(
    under: &KeyEncryptionKey,
    context: &DatasetContext,
    key: &DatasetKey,
) -> Result<[u8; WRAPPED_BYTES], WrapError> {
    wrap(under.expose(), &context.bytes(), key.expose())
}

/// Opens a wrapped dataset key in its place.
///
/// # Errors
/// Not 60 bytes, or it does not open under this key for this place.
pub fn unwrap_dataset_key(
    under: &KeyEncryptionKey,
    context: &DatasetContext,
    wrapped: &[u8],
) -> Result<DatasetKey, WrapError> {
    unwrap(under.expose(), &context.bytes(), wrapped).map(DatasetKey::from_bytes)
}

fn wrap(under: &[u8; 32], place: &[u8], key: &[u8; 32]) -> Result<[u8; WRAPPED_BYTES], WrapError> {
    let mut nonce = [0; GCM_NONCE_BYTES];
    fill_random(&mut nonce)?;
    Ok(wrap_with_nonce(under, place, key, nonce))
}

fn wrap_with_nonce(
    under: &[u8; 32],
    place: &[u8],
    key: &[u8; 32],
    nonce: [u8; GCM_NONCE_BYTES],
) -> [u8; WRAPPED_BYTES] {
    let mut wrapped = [0; WRAPPED_BYTES];
    wrapped[..GCM_NONCE_BYTES].copy_from_slice(&nonce);
    wrapping_key(under, place).seal(nonce, place, key, &mut wrapped[GCM_NONCE_BYTES..]);
    wrapped
}

fn unwrap(under: &[u8; 32], place: &[u8], wrapped: &[u8]) -> Result<[u8; 32], WrapError> {
    let Ok(wrapped) = <&[u8; WRAPPED_BYTES]>::try_from(wrapped) else {
        return Err(WrapError::Length { found: wrapped.len(), expected: WRAPPED_BYTES });
    };
    let mut nonce = [0; GCM_NONCE_BYTES];
    nonce.copy_from_slice(&wrapped[..GCM_NONCE_BYTES]);
    let mut key = [0; 32];
    wrapping_key(under, place)
        .open(nonce, place, &wrapped[GCM_NONCE_BYTES..], &mut key)
        .map_err(|_| WrapError::DoesNotOpen)?;
    Ok(key)
}

/// The wrapping key for one place: HKDF-Expand-SHA-512(key, "wrap" ‖ 0 ‖ place), 32 bytes.
fn wrapping_key(under: &[u8; 32], place: &[u8]) -> Aes256Gcm {
    let mut derived = [0; 32];
    hkdf_expand_sha512(under, &[b"wrap\0", place], &mut derived);
    let cipher = Aes256Gcm::new(&derived);
    derived.zeroize();
    cipher
}

#[cfg(test)]
mod tests;
