//! C2SP chunked-encryption ("Cobblestone"), generic over label, salt length and segment size.
//!
//! One key, one salt and one context give, by HKDF, an AES-256-GCM key, a base nonce and a commitment. Segment *i* is sealed under
//! the base nonce XOR *i* with no associated data; all segments are full but the last, which is always shorter, possibly
//! empty. So a valid length has exactly one reading, a place in the body is a nonce, and two keys never fit one body.
//! Sealed objects use it with 64 KiB segments (`spec/sealed-object.md`, sections 4 and 5); the published vectors, with 16 KiB,
//! run through the same code.

use std::ops::Range;

use zeroize::{Zeroize, Zeroizing};

use crate::primitives::{
    Aes256Gcm, GCM_NONCE_BYTES, GCM_TAG_BYTES, TagMismatch, hkdf_expand_sha512, same,
};

/// A body has at most this many segments (C2SP chunked-encryption, "Limits"; 256 TiB at 64 KiB).
pub(crate) const MAX_SEGMENTS: u64 = 1 << 32;

/// How long a body and its parts are, before and after sealing; nothing here knows a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Bytes before segment 0.
    pub(crate) prefix_bytes: usize,
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

    /// How many segments `plain_bytes` take; at least one.
    pub(crate) const fn segments(self, plain_bytes: u64) -> u64 {
        plain_bytes / self.segment_bytes as u64 + 1
    }

    /// Length after sealing, prefix included. Saturates beyond what a body can hold.
    pub(crate) const fn sealed_bytes(self, plain_bytes: u64) -> u64 {
        plain_bytes
            .saturating_add(self.segments(plain_bytes) * GCM_TAG_BYTES as u64)
            .saturating_add(self.prefix_bytes as u64)
    }

    /// Length before sealing. Every sealed length has one answer or none.
    pub(crate) const fn plain_bytes(self, sealed_bytes: u64) -> Result<u64, BadLength> {
        let Some(body) = sealed_bytes.checked_sub(self.prefix_bytes as u64) else {
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

    /// How many sealed bytes come before segment `index`, prefix included.
    pub(crate) const fn sealed_before(self, index: u64) -> u64 {
        self.prefix_bytes as u64 + index * self.slot_bytes() as u64
    }

    /// Where segment `index` lies in a sealed body that holds `plain_bytes`; `None` past the last.
    pub(crate) fn segment_range(self, plain_bytes: u64, index: u64) -> Option<Range<u64>> {
        if index >= self.segments(plain_bytes) {
            return None;
        }
        let start = self.sealed_before(index);
        let end = (start + self.slot_bytes() as u64).min(self.sealed_bytes(plain_bytes));
        Some(start..end)
    }
}

/// What sets one use of the construction apart from every other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Names format and cipher; a zero byte follows it in the derivation.
    pub(crate) label: &'static [u8],
    /// Lengths and places.
    pub(crate) geometry: Geometry,
}

/// Why a body does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyFault {
    /// No valid body has this length.
    Length(BadLength),
    /// The tag of this segment does not verify.
    Segment(u64),
}

/// What one key, one salt and one context give, before a cipher is made of it.
pub(crate) struct Derived {
    /// The AES-256-GCM key.
    pub(crate) cipher_key: Zeroizing<[u8; 32]>,
    /// What is combined with a segment's index.
    pub(crate) base_nonce: [u8; GCM_NONCE_BYTES],
    /// What binds the body to its one key.
    pub(crate) commitment: [u8; 32],
}

impl Derived {
    pub(crate) fn derive(shape: Shape, key: &[u8; 32], salt: &[u8], context: &[u8]) -> Self {
        let mut material = Zeroizing::new([0; 32 + GCM_NONCE_BYTES + 32]);
        hkdf_expand_sha512(key, &[shape.label, &[0], salt, context], &mut *material);
        let mut cipher_key = Zeroizing::new([0; 32]);
        let (mut base_nonce, mut commitment) = ([0; GCM_NONCE_BYTES], [0; 32]);
        cipher_key.copy_from_slice(&material[..32]);
        base_nonce.copy_from_slice(&material[32..44]);
        commitment.copy_from_slice(&material[44..]);
        Self { cipher_key, base_nonce, commitment }
    }
}

/// The derived keys of one body.
pub(crate) struct Body {
    cipher: Aes256Gcm,
    base_nonce: [u8; GCM_NONCE_BYTES],
    commitment: [u8; 32],
    geometry: Geometry,
}

impl Body {
    /// Derives a body's keys: HKDF-Expand-SHA-512(key, label ‖ 0 ‖ salt ‖ context) is AES key ‖ base nonce ‖ commitment.
    pub(crate) fn derive(shape: Shape, key: &[u8; 32], salt: &[u8], context: &[u8]) -> Self {
        let Derived { cipher_key, base_nonce, commitment } =
            Derived::derive(shape, key, salt, context);
        let cipher = Aes256Gcm::new(&cipher_key);
        Self { cipher, base_nonce, commitment, geometry: shape.geometry }
    }

    /// Lengths and places of this body.
    pub(crate) const fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Seals all of `plaintext` behind `prefix` into `sealed`, whose room is used again if it has some.
    pub(crate) fn seal_whole(&self, prefix: &[u8], plaintext: &[u8], sealed: &mut Vec<u8>) {
        let segment_bytes = self.geometry.segment_bytes;
        let full = plaintext.len() / segment_bytes;
        sealed.resize(prefix.len() + plaintext.len() + (full + 1) * GCM_TAG_BYTES, 0);
        let (head, mut slots) = sealed.split_at_mut(prefix.len());
        head.copy_from_slice(prefix);
        let (fulls, tail) = plaintext.split_at(full * segment_bytes);
        let segments = fulls.chunks_exact(segment_bytes).chain(std::iter::once(tail));
        for (index, segment) in (0..).zip(segments) {
            let (slot, rest) = slots.split_at_mut(segment.len() + GCM_TAG_BYTES);
            self.seal(index, segment, slot);
            slots = rest;
        }
    }

    /// Opens a whole body, whose prefix has been read and is given along for its length; on an error `plaintext` is empty.
    pub(crate) fn open_whole(
        &self,
        sealed: &[u8],
        plaintext: &mut Vec<u8>,
    ) -> Result<(), BodyFault> {
        let length = self
            .geometry
            .plain_bytes(sealed.len() as u64)
            .and_then(|plain| usize::try_from(plain).map_err(|_| BadLength::TooLong));
        let opened = length.map_err(BodyFault::Length).and_then(|length| {
            plaintext.resize(length, 0);
            let slots = &sealed[self.geometry.prefix_bytes..];
            self.open_run(0, slots, plaintext).map_err(BodyFault::Segment)
        });
        if opened.is_err() {
            plaintext.clear();
        }
        opened
    }

    /// Opens neighbouring segments, the first of which has index `first`, into as much plaintext as they hold. On an error
    /// names the segment and leaves no plaintext of any.
    pub(crate) fn open_run(
        &self,
        first: u64,
        slots: &[u8],
        plaintext: &mut [u8],
    ) -> Result<(), u64> {
        let mut rest = &mut *plaintext;
        for (index, slot) in (first..).zip(slots.chunks(self.geometry.slot_bytes())) {
            let (segment, later) = rest.split_at_mut(slot.len() - GCM_TAG_BYTES);
            if self.open(index, slot, segment).is_err() {
                plaintext.zeroize();
                return Err(index);
            }
            rest = later;
        }
        Ok(())
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
