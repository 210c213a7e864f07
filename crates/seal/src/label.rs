//! Short sealed texts: names, settings, notes, sealed under a dataset key so that a database holds only their bytes
//! (`spec/key-wrapping.md`, section 6).
//!
//! A label is salt 24 ‖ ciphertext ‖ tag 16. The salt gives each label a key and nonce of its own, so that a dataset may
//! have any number of them; the purpose is associated data, so that a sample's name cannot be served as its project's.

use zeroize::Zeroize;

use crate::primitives::{
    Aes256Gcm, GCM_NONCE_BYTES, GCM_TAG_BYTES, fill_random, hkdf_expand_sha512,
};
use crate::{DatasetKey, WrapError};

/// The longest text that is sealed as a label.
pub const MAX_LABEL_BYTES: usize = 64 * 1024;
/// What sealing adds to a label.
pub const LABEL_OVERHEAD_BYTES: usize = SALT_BYTES + GCM_TAG_BYTES;

const SALT_BYTES: usize = 24;
const LABEL: &[u8] = b"chorion.label/1\0";

/// Seals `text` for `purpose`, a constant such as `"sample name"`.
///
/// # Errors
/// The text is longer than [`MAX_LABEL_BYTES`], or no randomness.
pub fn seal_label(key: &DatasetKey, purpose: &str, text: &[u8]) -> Result<Vec<u8>, WrapError> {
    let mut salt = [0; SALT_BYTES];
    fill_random(&mut salt)?;
    seal_label_with_salt(key, purpose, text, salt)
}

fn seal_label_with_salt(
    key: &DatasetKey,
    purpose: &str,
    text: &[u8],
    salt: [u8; SALT_BYTES],
) -> Result<Vec<u8>, WrapError> {
    if text.len() > MAX_LABEL_BYTES {
        return Err(WrapError::LabelLength { found: text.len(), most: MAX_LABEL_BYTES });
    }
    let (cipher, nonce) = derive(key, &salt);
    let mut sealed = vec![0; LABEL_OVERHEAD_BYTES + text.len()];
    sealed[..SALT_BYTES].copy_from_slice(&salt);
    cipher.seal(nonce, purpose.as_bytes(), text, &mut sealed[SALT_BYTES..]);
    Ok(sealed)
}

/// Opens a label that was sealed for `purpose`.
///
/// # Errors
/// It has a length no label has, or does not open under this key for this purpose.
pub fn open_label(key: &DatasetKey, purpose: &str, sealed: &[u8]) -> Result<Vec<u8>, WrapError> {
    let text_bytes =
        sealed.len().checked_sub(LABEL_OVERHEAD_BYTES).filter(|n| *n <= MAX_LABEL_BYTES);
    let (Some(text_bytes), Some(salt)) = (text_bytes, sealed.first_chunk::<SALT_BYTES>()) else {
        return Err(WrapError::Length { found: sealed.len(), expected: LABEL_OVERHEAD_BYTES });
    };
    let (cipher, nonce) = derive(key, salt);
    let mut text = vec![0; text_bytes];
    cipher
        .open(nonce, purpose.as_bytes(), &sealed[SALT_BYTES..], &mut text)
        .map_err(|_| WrapError::DoesNotOpen)?;
    Ok(text)
}

/// The key and nonce of one label: HKDF-Expand-SHA-512(dataset key, label ‖ 0 ‖ salt), 44 bytes.
fn derive(key: &DatasetKey, salt: &[u8; SALT_BYTES]) -> (Aes256Gcm, [u8; GCM_NONCE_BYTES]) {
    let mut material = [0; 32 + GCM_NONCE_BYTES];
    hkdf_expand_sha512(key.expose(), &[LABEL, salt], &mut material);
    let (mut label_key, mut nonce) = ([0; 32], [0; GCM_NONCE_BYTES]);
    label_key.copy_from_slice(&material[..32]);
    nonce.copy_from_slice(&material[32..]);
    let cipher = Aes256Gcm::new(&label_key);
    label_key.zeroize();
    material.zeroize();
    (cipher, nonce)
}

#[cfg(test)]
mod tests;
