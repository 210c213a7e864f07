//! `RustCrypto`: for WebAssembly, where AWS-LC does not build. Slower (about 2.8 GB/s a core natively), with the same results.

use std::num::NonZeroU32;

use aes_gcm::aead::{AeadInOut, KeyInit};
use hkdf::hmac::{Hmac, Mac};
use sha2::{Digest, Sha256, Sha512};
use zeroize::{Zeroize, Zeroizing};

use super::{GCM_NONCE_BYTES, GCM_TAG_BYTES, TagMismatch};
use crate::NoRandomness;

/// AES-256-GCM under one key; the caller answers for the nonces.
pub(crate) struct Aes256Gcm(aes_gcm::Aes256Gcm);

impl Aes256Gcm {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(aes_gcm::Aes256Gcm::new(key.into()))
    }

    /// Seals `plaintext` into `sealed`, which is 16 bytes longer.
    pub(crate) fn seal(
        &self,
        nonce: [u8; GCM_NONCE_BYTES],
        aad: &[u8],
        plaintext: &[u8],
        sealed: &mut [u8],
    ) {
        let (text, tag) = sealed.split_at_mut(plaintext.len());
        text.copy_from_slice(plaintext);
        let made = self
            .0
            .encrypt_inout_detached((&nonce).into(), aad, text.into())
            .expect("sealing cannot fail because the text lies far below GCM's limit");
        tag.copy_from_slice(&made);
    }

    /// Seals a slot whose plaintext is everything but its last 16 bytes, without associated data.
    pub(crate) fn seal_in_place(&self, nonce: [u8; GCM_NONCE_BYTES], slot: &mut [u8]) {
        let (text, tag) = slot.split_at_mut(slot.len() - GCM_TAG_BYTES);
        let made = self
            .0
            .encrypt_inout_detached((&nonce).into(), &[], text.into())
            .expect("sealing cannot fail because the text lies far below GCM's limit");
        tag.copy_from_slice(&made);
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
        let tag = tag.try_into().map_err(|_| TagMismatch)?;
        plaintext.copy_from_slice(ciphertext);
        self.0.decrypt_inout_detached((&nonce).into(), aad, (&mut *plaintext).into(), tag).map_err(
            |_| {
                plaintext.fill(0);
                TagMismatch
            },
        )
    }
}

/// ChaCha20-Poly1305 under one key, to open what others sealed.
pub(crate) struct ChaCha20Poly1305(chacha20poly1305::ChaCha20Poly1305);

impl ChaCha20Poly1305 {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(chacha20poly1305::ChaCha20Poly1305::new(key.into()))
    }

    /// Opens text and tag in place, without associated data; gives the length of the text.
    pub(crate) fn open_in_place(
        &self,
        nonce: [u8; GCM_NONCE_BYTES],
        sealed: &mut [u8],
    ) -> Result<usize, TagMismatch> {
        let bytes = sealed.len().checked_sub(GCM_TAG_BYTES).ok_or(TagMismatch)?;
        let (text, tag) = sealed.split_at_mut(bytes);
        let tag = (&*tag).try_into().map_err(|_| TagMismatch)?;
        self.0
            .decrypt_inout_detached((&nonce).into(), &[], text.into(), tag)
            .map(|()| bytes)
            .map_err(|_| TagMismatch)
    }
}

/// The public key of an X25519 secret.
pub(crate) fn x25519_public(secret: &[u8; 32]) -> [u8; 32] {
    x25519_dalek::x25519(*secret, x25519_dalek::X25519_BASEPOINT_BYTES)
}

/// What two X25519 keys share; nothing for a public key of small order.
pub(crate) fn x25519_shared(secret: &[u8; 32], public: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
    let shared = Zeroizing::new(x25519_dalek::x25519(*secret, *public));
    (!super::same(&shared, &[0; 32])).then_some(shared)
}

/// PBKDF2 with HMAC-SHA-256 (RFC 8018).
pub(crate) fn pbkdf2_sha256(rounds: NonZeroU32, salt: &[u8], secret: &[u8], out: &mut [u8; 32]) {
    pbkdf2::pbkdf2::<Hmac<Sha256>>(secret, salt, rounds.get(), out)
        .expect("a key comes out because HMAC takes a secret of any length");
}

/// HKDF-Expand with SHA-512 (RFC 5869, section 2.3).
///
/// Written out, because the crate's own `from_prk` refuses a pseudorandom key shorter than the hash, which RFC 5869 recommends
/// but C2SP chunked-encryption departs from: its 32 bytes are uniformly random already.
pub(crate) fn hkdf_expand_sha512(key: &[u8; 32], info: &[&[u8]], output: &mut [u8]) {
    let mut block = [0; 64];
    for (index, chunk) in (1_u8..=255).zip(output.chunks_mut(64)) {
        let mut mac = keyed::<Hmac<Sha512>>(key);
        if index > 1 {
            mac.update(&block);
        }
        for part in info {
            mac.update(part);
        }
        mac.update(&[index]);
        block.copy_from_slice(&mac.finalize().into_bytes());
        chunk.copy_from_slice(&block[..chunk.len()]);
    }
    block.zeroize();
}

/// HMAC-SHA-256 over the parts, one after the other.
pub(crate) fn hmac_sha256(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = keyed::<Hmac<Sha256>>(key);
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn keyed<M: Mac + KeyInit>(key: &[u8; 32]) -> M {
    <M as KeyInit>::new_from_slice(key).expect("HMAC takes this key because it takes any length")
}

/// SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Random bytes from the operating system, or from the browser's `crypto.getRandomValues`.
pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<(), NoRandomness> {
    getrandom::fill(bytes).map_err(|_| NoRandomness)
}
