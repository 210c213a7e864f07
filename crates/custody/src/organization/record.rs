//! One sealed record: a document of a case, or a field that is read apart (`spec/organization-keys.md`, section 4).
//!
//! The record key of a case follows from the case's dataset key, so that destroying that key destroys every record of it. What
//! a record is bound to, its organization, case, field and schema version, is associated data: a ciphertext that was moved to
//! another row, field or organization does not open.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use seal::{DatasetKey, NoRandomness, fill_random};
use zeroize::Zeroizing;

/// What sealing adds to a record: layout 1, epoch 4, nonce 12, tag 16.
pub const RECORD_OVERHEAD_BYTES: usize = 1 + 4 + NONCE_BYTES + TAG_BYTES;

const LAYOUT: u8 = 1;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
const LABEL: &[u8] = b"chorion.record/1\0";

/// Where a record belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordPlace<'a> {
    /// The organization's id.
    pub organization: [u8; 16],
    /// The case's id.
    pub case: [u8; 16],
    /// The field, or `document` for the whole.
    pub field: &'a str,
    /// The version of the schema that the text follows.
    pub schema: u32,
}

impl RecordPlace<'_> {
    /// Label, organization 16, case 16, schema version 4 (big-endian), field to the end.
    fn bytes(&self) -> Vec<u8> {
        [LABEL, &self.organization, &self.case, &self.schema.to_be_bytes(), self.field.as_bytes()]
            .concat()
    }
}

/// Why a record does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// It is too short, or of a layout that this program does not know.
    #[error("the sealed record is of no layout that this program knows")]
    Layout,
    /// It was sealed under another epoch of the case's key.
    #[error("the sealed record is of epoch {found} of its key")]
    Epoch {
        /// The epoch it names.
        found: u32,
    },
    /// It was changed, or belongs elsewhere.
    #[error("the sealed record does not open for this organization, case, field and schema")]
    DoesNotOpen,
    /// No randomness for a nonce.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

/// The key of the records of one case.
pub struct RecordKey {
    cipher: LessSafeKey,
    epoch: u32,
}

struct Bytes32;

impl KeyType for Bytes32 {
    fn len(&self) -> usize {
        32
    }
}

impl RecordKey {
    /// From the case's dataset key of that epoch: HKDF-SHA-256(key, salt = label, info = organization ‖ case).
    ///
    /// # Panics
    /// Never: 32 bytes are within what HKDF gives, and a key of AES-256.
    #[must_use]
    pub fn of(key: &DatasetKey, organization: [u8; 16], case: [u8; 16], epoch: u32) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        Salt::new(HKDF_SHA256, LABEL)
            .extract(key.expose())
            .expand(&[&organization, &case], Bytes32)
            .and_then(|okm| okm.fill(&mut *bytes))
            .expect("HKDF-SHA-256 gives 32 bytes because it gives 8,160");
        let key = UnboundKey::new(&AES_256_GCM, &*bytes)
            .expect("32 bytes are a key because AES-256 takes 32");
        Self { cipher: LessSafeKey::new(key), epoch }
    }

    /// Seals a text for its place.
    ///
    /// # Errors
    /// [`RecordError::Random`] if the system gives no randomness.
    pub fn seal(&self, place: &RecordPlace<'_>, text: &[u8]) -> Result<Vec<u8>, RecordError> {
        let mut nonce = [0; NONCE_BYTES];
        fill_random(&mut nonce)?;
        let mut sealed = Vec::with_capacity(RECORD_OVERHEAD_BYTES + text.len());
        sealed.push(LAYOUT);
        sealed.extend_from_slice(&self.epoch.to_be_bytes());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(text);
        let body = 1 + 4 + NONCE_BYTES;
        let tag = self
            .cipher
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(place.bytes()),
                sealed.get_mut(body..).unwrap_or_default(),
            )
            .map_err(|_| RecordError::DoesNotOpen)?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Opens a record in its place.
    ///
    /// # Errors
    /// [`RecordError`] says why it does not open.
    pub fn open(
        &self,
        place: &RecordPlace<'_>,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, RecordError> {
        let (header, body) =
            sealed.split_first_chunk::<{ 1 + 4 + NONCE_BYTES }>().ok_or(RecordError::Layout)?;
        if header[0] != LAYOUT || body.len() < TAG_BYTES {
            return Err(RecordError::Layout);
        }
        let found = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
        if found != self.epoch {
            return Err(RecordError::Epoch { found });
        }
        let mut nonce = [0; NONCE_BYTES];
        nonce.copy_from_slice(&header[5..]);
        let mut text = Zeroizing::new(body.to_vec());
        let bytes = self
            .cipher
            .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(place.bytes()), &mut text)
            .map_err(|_| RecordError::DoesNotOpen)?
            .len();
        text.truncate(bytes);
        Ok(text)
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecordKey(..)")
    }
}
