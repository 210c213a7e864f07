//! Index keys: what makes equal values of a searchable field findable without opening them
//! (`spec/organization-keys.md`, section 5).
//!
//! A blind index is HMAC-SHA-256 under a key of its own for each organization, table, field and version, cut to 16 bytes. The
//! key follows from the organization index key, which the customer's key wraps, and from a salt that lies in the customer's own
//! store of secrets: whoever takes the key or the salt away stops the search.

use std::fmt;

use api::Secret;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::hmac;
use seal::{NoRandomness, fill_random};
use zeroize::Zeroizing;

use crate::kms::OrganizationKey;

/// How many bytes of the hash are kept.
pub const BLIND_BYTES: usize = 16;
/// How many characters a salt has, of an alphabet of 62: 190 bits.
pub const SALT_CHARACTERS: usize = 32;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const LABEL: &[u8] = b"chorion blind index v1\0";

struct Bytes32;

impl KeyType for Bytes32 {
    fn len(&self) -> usize {
        32
    }
}

/// The key of one version of one field's index. It outlives its lease as long as whoever asked for it keeps it: ask for it
/// for one call, and drop it.
pub struct IndexKey(hmac::Key);

impl IndexKey {
    /// HKDF-SHA-256(organization index key ‖ salt, info = label ‖ organization ‖ version ‖ field length ‖ field).
    pub(super) fn derive(
        key: &OrganizationKey,
        salt: &Secret,
        organization: [u8; 16],
        field: &str,
        version: u32,
    ) -> Self {
        let mut material =
            Zeroizing::new(Vec::with_capacity(key.expose().len() + salt.reveal().len()));
        material.extend_from_slice(key.expose());
        material.extend_from_slice(salt.reveal().as_bytes());
        let mut bytes = Zeroizing::new([0; 32]);
        let length = u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes();
        Salt::new(HKDF_SHA256, LABEL)
            .extract(&material)
            .expand(
                &[LABEL, &organization, &version.to_be_bytes(), &length, field.as_bytes()],
                Bytes32,
            )
            .and_then(|okm| okm.fill(&mut *bytes))
            .expect("HKDF-SHA-256 gives 32 bytes because it gives 8,160");
        Self(hmac::Key::new(hmac::HMAC_SHA256, &*bytes))
    }

    /// The blind index of a value that was normalised already.
    #[must_use]
    pub fn blind(&self, value: &[u8]) -> [u8; BLIND_BYTES] {
        let tag = hmac::sign(&self.0, value);
        let mut blind = [0; BLIND_BYTES];
        blind.copy_from_slice(&tag.as_ref()[..BLIND_BYTES]);
        blind
    }
}

impl fmt::Debug for IndexKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IndexKey(..)")
    }
}

/// A new salt.
///
/// # Errors
/// [`NoRandomness`] if the system gives none.
pub fn new_salt() -> Result<Secret, NoRandomness> {
    let mut salt = Zeroizing::new(String::with_capacity(SALT_CHARACTERS));
    while salt.len() < SALT_CHARACTERS {
        let mut bytes = Zeroizing::new([0; 64]);
        fill_random(&mut *bytes)?;
        // Of 256 values 248 = 4 × 62 are taken, so that each character is as likely as another.
        for byte in bytes.iter().filter(|byte| **byte < 248) {
            if salt.len() < SALT_CHARACTERS {
                salt.push(char::from(ALPHABET[usize::from(byte % 62)]));
            }
        }
    }
    Ok(Secret::new(salt))
}
