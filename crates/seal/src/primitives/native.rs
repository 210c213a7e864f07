//! AWS-LC: AES-256-GCM near 10 GB/s a core where the processor has VAES.

use std::num::NonZeroU32;

use aws_lc_rs::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{self, UnparsedPublicKey, X25519};
use aws_lc_rs::{digest, hkdf, hmac, pbkdf2, rand};
use zeroize::Zeroizing;

use super::{GCM_NONCE_BYTES, GCM_TAG_BYTES, TagMismatch};
use crate::NoRandomness;

/// AES-256-GCM under one key; the caller answers for the nonces.
pub(crate) struct Aes256Gcm(LessSafeKey);

impl Aes256Gcm {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key)
            .expect("a 32-byte key is accepted because it has the length AES-256 asks for");
        Self(LessSafeKey::new(key))
    }

    /// Seals `plaintext` into `sealed`, which is 16 bytes longer.
    pub(crate) fn seal(
        &self,
        nonce: [u8; GCM_NONCE_BYTES],
        aad: &[u8],
        plaintext: &[u8],
        sealed: &mut [u8],
    ) {
        let (ciphertext, tag) = sealed.split_at_mut(plaintext.len());
        self.0
            .seal_out_of_place_scatter(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(aad),
                plaintext,
                ciphertext,
                &[],
                tag,
            )
            .expect("sealing cannot fail because the lengths agree and lie far below GCM's limit");
    }

    /// Seals a slot whose plaintext is everything but its last 16 bytes, without associated data.
    pub(crate) fn seal_in_place(&self, nonce: [u8; GCM_NONCE_BYTES], slot: &mut [u8]) {
        let (text, tag) = slot.split_at_mut(slot.len() - GCM_TAG_BYTES);
        self.0
            .seal_in_place_scatter(
                Nonce::assume_unique_for_key(nonce),
                Aad::empty(),
                text,
                &[],
                tag,
            )
            .expect("sealing cannot fail because the lengths agree and lie far below GCM's limit");
    }

    /// Opens `sealed` into `plaintext`, which is 16 bytes shorter and left zero where the tag does not verify.
    pub(crate) fn open(
        &self,
        nonce: [u8; GCM_NONCE_BYTES],
        aad: &[u8],
        sealed: &[u8],
        plaintext: &mut [u8],
    ) -> Result<(), TagMismatch> {
        let (ciphertext, tag) = sealed.split_at(plaintext.len());
        self.0
            .open_separate_gather(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(aad),
                ciphertext,
                tag,
                plaintext,
            )
            .map_err(|_| {
                // AWS-LC clears its output on failure; its Rust binding does not promise it.
                plaintext.fill(0);
                TagMismatch
            })
    }
}

/// A length that HKDF is asked for.
struct OutputBytes(usize);

impl hkdf::KeyType for OutputBytes {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-Expand with SHA-512 (RFC 5869, section 2.3); `key` is used as the pseudorandom key, being uniformly random already.
pub(crate) fn hkdf_expand_sha512(key: &[u8; 32], info: &[&[u8]], output: &mut [u8]) {
    hkdf::Prk::new_less_safe(hkdf::HKDF_SHA512, key)
        .expand(info, OutputBytes(output.len()))
        .and_then(|material| material.fill(output))
        .expect("expanding cannot fail because far less than 255 hash lengths are asked for");
}

/// HMAC-SHA-256 over the parts, one after the other.
pub(crate) fn hmac_sha256(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(part);
    }
    let mut tag = [0; 32];
    tag.copy_from_slice(context.sign().as_ref());
    tag
}

/// SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// Random bytes from the operating system, through AWS-LC's generator.
pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<(), NoRandomness> {
    rand::fill(bytes).map_err(|_| NoRandomness)
}

/// ChaCha20-Poly1305 under one key, to open what others sealed.
pub(crate) struct ChaCha20Poly1305(LessSafeKey);

impl ChaCha20Poly1305 {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&CHACHA20_POLY1305, key)
            .expect("a 32-byte key is accepted because it has the length ChaCha20 asks for");
        Self(LessSafeKey::new(key))
    }

    /// Opens text and tag in place, without associated data; gives the length of the text.
    pub(crate) fn open_in_place(
        &self,
        nonce: [u8; GCM_NONCE_BYTES],
        sealed: &mut [u8],
    ) -> Result<usize, TagMismatch> {
        self.0
            .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::empty(), sealed)
            .map(|text| text.len())
            .map_err(|_| TagMismatch)
    }
}

fn x25519_key(secret: &[u8; 32]) -> agreement::PrivateKey {
    agreement::PrivateKey::from_private_key(&X25519, secret)
        .expect("32 bytes are a key because X25519 takes any")
}

/// The public key of an X25519 secret.
pub(crate) fn x25519_public(secret: &[u8; 32]) -> [u8; 32] {
    let public = x25519_key(secret)
        .compute_public_key()
        .expect("a public key comes out because every X25519 secret has one");
    let mut bytes = [0; 32];
    bytes.copy_from_slice(public.as_ref());
    bytes
}

/// What two X25519 keys share; nothing for a public key of small order.
pub(crate) fn x25519_shared(secret: &[u8; 32], public: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
    let theirs = UnparsedPublicKey::new(&X25519, public);
    agreement::agree(&x25519_key(secret), theirs, (), |shared| {
        let mut bytes = Zeroizing::new([0; 32]);
        bytes.copy_from_slice(shared);
        Ok(bytes)
    })
    .ok()
}

/// PBKDF2 with HMAC-SHA-256 (RFC 8018).
pub(crate) fn pbkdf2_sha256(rounds: NonZeroU32, salt: &[u8], secret: &[u8], out: &mut [u8; 32]) {
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, secret, out);
}
