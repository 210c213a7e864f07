//! C2SP chunked-encryption ("Cobblestone"), generic over label, salt length and segment size.
//!
//! One key, one salt and one context give, by HKDF, an AES-256-GCM key, a base nonce and a commitment. Segment *i* is sealed under
//! the base nonce XOR *i* with no associated data; all segments are full but the last, which is always shorter, possibly
//! empty. So a valid length has exactly one reading, a place in the body is a nonce, and two keys never fit one body.
//! Sealed objects use it with 64 KiB segments (`spec/sealed-object.md`, sections 4 and 5); the published vectors, with 16 KiB,
//! run through the same code.

use std::ops::Range;

use zeroize::Zeroize;

use crate::primitives::{
    Aes256Gcm, GCM_NONCE_BYTES, GCM_TAG_BYTES, TagMismatch, hkdf_expand_sha512, same,
};

/// A body has at most this many segments (C2SP chunked-encryption, "Limits"; 256 TiB at 64 KiB).
pub(crate) const MAX_SEGMENTS: u64 = 1 << 32;

/// How long a body and its parts are, before and after sealing; nothing here knows a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Bytes before segment 0.
    pub(crate) prefix_bytes: u64,
    /// Plaintext bytes in a full segment.
    pub(crate) segment_bytes: usize,
}

/// A length that no valid body has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadLength {
    /// It ends inside a tag, or after a full segment.
    CutShort,
    /// It has more segments than a body can have.
    TooLong,
}

impl Geometry {
    /// Bytes of a full segment when sealed.
    pub(crate) const fn slot_bytes(self) -> usize {
        self.segment_bytes + GCM_TAG_BYTES
    }

    /// The most plaintext that a body can hold.
    pub(crate) const fn max_plain_bytes(self) -> u64 {
        MAX_SEGMENTS * self.segment_bytes as u64 - 1
    }

    /// How many segments `plain_bytes` take; at least one.
    pub(crate) const fn segments(self, plain_bytes: u64) -> u64 {
        plain_bytes / self.segment_bytes as u64 + 1
    }

    /// Length after sealing, prefix included. Saturates beyond what a body can hold.
    pub(crate) const fn sealed_bytes(self, plain_bytes: u64) -> u64 {
        plain_bytes
            .saturating_add(self.segments(plain_bytes) * GCM_TAG_BYTES as u64)
            .saturating_add(self.prefix_bytes)
    }

    /// Length before sealing. Every sealed length has one answer or none.
    pub(crate) const fn plain_bytes(self, sealed_bytes: u64) -> Result<u64, BadLength> {
        let Some(body) = sealed_bytes.checked_sub(self.prefix_bytes) else {
            return Err(BadLength::CutShort);
        };
        let slot = self.slot_bytes() as u64;
        let (full, tail) = (body / slot, body % slot);
        if full >= MAX_SEGMENTS {
            return Err(BadLength::TooLong);
        }
        match tail.checked_sub(GCM_TAG_BYTES as u64) {
            Some(rest) => Ok(full * self.segment_bytes as u64 + rest),
            None => Err(BadLength::CutShort),
        }
    }

    /// Where segment `index` lies in a sealed body that holds `plain_bytes`; `None` past the last.
    pub(crate) fn segment_range(self, plain_bytes: u64, index: u64) -> Option<Range<u64>> {
        if index >= self.segments(plain_bytes) {
            return None;
        }
        let start = self.prefix_bytes + index * self.slot_bytes() as u64;
        let end = (start + self.slot_bytes() as u64).min(self.sealed_bytes(plain_bytes));
        Some(start..end)
    }
}

/// What sets one use of the construction apart from every other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Names format and cipher; a zero byte follows it in the derivation.
    pub(crate) label: &'static [u8],
    /// Plaintext bytes in a full segment.
    pub(crate) segment_bytes: usize,
}

/// The derived keys of one body.
pub(crate) struct Body {
    cipher: Aes256Gcm,
    base_nonce: [u8; GCM_NONCE_BYTES],
    commitment: [u8; 32],
}

impl Body {
    /// Derives a body's keys: HKDF-Expand-SHA-512(key, label ‖ 0 ‖ salt ‖ context) is AES key ‖ base nonce ‖ commitment.
    pub(crate) fn derive(shape: Shape, key: &[u8; 32], salt: &[u8], context: &[u8]) -> Self {
        let mut material = [0; 32 + GCM_NONCE_BYTES + 32];
        hkdf_expand_sha512(key, &[shape.label, &[0], salt, context], &mut material);
        let (mut cipher_key, mut base_nonce, mut commitment) =
            ([0; 32], [0; GCM_NONCE_BYTES], [0; 32]);
        cipher_key.copy_from_slice(&material[..32]);
        base_nonce.copy_from_slice(&material[32..44]);
        commitment.copy_from_slice(&material[44..]);
        let cipher = Aes256Gcm::new(&cipher_key);
        cipher_key.zeroize();
        material.zeroize();
        Self { cipher, base_nonce, commitment }
    }

    /// What binds a body to its one key.
    pub(crate) const fn commitment(&self) -> &[u8; 32] {
        &self.commitment
    }

    /// Whether this is the body that `commitment` names; asked before anything is decrypted.
    pub(crate) fn is_committed_to(&self, commitment: &[u8; 32]) -> bool {
        same(&self.commitment, commitment)
    }

    /// Seals segment `index` into `slot`, which is 16 bytes longer. One index is sealed once per body.
    pub(crate) fn seal(&self, index: u64, plaintext: &[u8], slot: &mut [u8]) {
        self.cipher.seal(self.nonce(index), &[], plaintext, slot);
    }

    /// Seals segment `index` where it lies; the last 16 bytes of `slot` are room for the tag.
    pub(crate) fn seal_in_place(&self, index: u64, slot: &mut [u8]) {
        self.cipher.seal_in_place(self.nonce(index), slot);
    }

    /// Opens segment `index` into `plaintext`, which is 16 bytes shorter and stays zero where the tag does not verify.
    pub(crate) fn open(
        &self,
        index: u64,
        slot: &[u8],
        plaintext: &mut [u8],
    ) -> Result<(), TagMismatch> {
        self.cipher.open(self.nonce(index), &[], slot, plaintext)
    }

    /// Base nonce XOR index, the index as a big-endian number of 96 bits.
    fn nonce(&self, index: u64) -> [u8; GCM_NONCE_BYTES] {
        assert!(index < MAX_SEGMENTS, "segment {index} is past the last a body can have");
        let mut nonce = self.base_nonce;
        for (byte, of_index) in nonce[4..].iter_mut().zip(index.to_be_bytes()) {
            *byte ^= of_index;
        }
        nonce
    }
}

#[cfg(test)]
mod c2sp;
