//! The one place that chooses where cryptography comes from: AWS-LC natively, `RustCrypto` in a browser.
//!
//! Both give the same few functions. Natively, tests build both and compare them.

#[cfg(not(target_arch = "wasm32"))]
mod native;
#[cfg(any(test, target_arch = "wasm32"))]
mod portable;

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use native::{
    Aes256Gcm, ChaCha20Poly1305, fill_random, hkdf_expand_sha512, hmac_sha256, pbkdf2_sha256,
    sha256, x25519_public, x25519_shared,
};
#[cfg(target_arch = "wasm32")]
pub(crate) use portable::{
    Aes256Gcm, ChaCha20Poly1305, fill_random, hkdf_expand_sha512, hmac_sha256, pbkdf2_sha256,
    sha256, x25519_public, x25519_shared,
};

/// Length of an AES-256-GCM tag.
pub(crate) const GCM_TAG_BYTES: usize = 16;
/// Length of an AES-256-GCM nonce.
pub(crate) const GCM_NONCE_BYTES: usize = 12;

/// The tag did not verify; nothing of the plaintext was left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TagMismatch;

/// Compares without telling by time where the first difference is.
pub(crate) fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    use subtle::ConstantTimeEq;
    a.ct_eq(b).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{native, portable};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn both_read_crypt4gh_alike(
            key in any::<[u8; 32]>(), other in any::<[u8; 32]>(), nonce in any::<[u8; 12]>(),
            text in prop::collection::vec(any::<u8>(), 0..2000), rounds in 1..50_u32, flips in any::<bool>(),
        ) {
            use chacha20poly1305::aead::{AeadInOut, KeyInit};
            let (ours, theirs) = (native::x25519_public(&key), portable::x25519_public(&other));
            prop_assert_eq!(ours, portable::x25519_public(&key));
            prop_assert_eq!(theirs, native::x25519_public(&other));
            let shared = native::x25519_shared(&key, &theirs);
            prop_assert_eq!(&shared, &portable::x25519_shared(&key, &theirs));
            prop_assert_eq!(&shared, &portable::x25519_shared(&other, &ours));
            prop_assert_eq!(native::x25519_shared(&key, &[0; 32]), None);
            prop_assert_eq!(portable::x25519_shared(&key, &[0; 32]), None);

            let mut sealed = text.clone();
            let cipher = chacha20poly1305::ChaCha20Poly1305::new((&key).into());
            let tag = cipher
                .encrypt_inout_detached((&nonce).into(), &[], sealed.as_mut_slice().into())
                .unwrap();
            sealed.extend_from_slice(&tag);
            if flips {
                sealed[0] ^= 1;
            }
            let mut again = sealed.clone();
            let opened = native::ChaCha20Poly1305::new(&key).open_in_place(nonce, &mut sealed);
            let portable = portable::ChaCha20Poly1305::new(&key).open_in_place(nonce, &mut again);
            prop_assert_eq!(opened, portable);
            prop_assert_eq!(opened.is_ok(), !flips);
            if let Ok(bytes) = opened {
                prop_assert_eq!(&sealed[..bytes], &text[..]);
                prop_assert_eq!(&again[..bytes], &text[..]);
            }

            let rounds = rounds.try_into().unwrap();
            let (mut one, mut two) = ([0; 32], [0; 32]);
            native::pbkdf2_sha256(rounds, &nonce, &text, &mut one);
            portable::pbkdf2_sha256(rounds, &nonce, &text, &mut two);
            prop_assert_eq!(one, two);
        }

        #[test]
        fn both_sources_of_cryptography_agree(
            key: [u8; 32],
            nonce: [u8; 12],
            aad in proptest::collection::vec(any::<u8>(), 0..64),
            plain in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let (a, b) = (native::Aes256Gcm::new(&key), portable::Aes256Gcm::new(&key));
            let mut by_native = vec![0; plain.len() + 16];
            let mut by_portable = by_native.clone();
            a.seal(nonce, &aad, &plain, &mut by_native);
            b.seal(nonce, &aad, &plain, &mut by_portable);
            prop_assert_eq!(&by_native, &by_portable);

            let mut opened = vec![0; plain.len()];
            prop_assert!(a.open(nonce, &aad, &by_portable, &mut opened).is_ok());
            prop_assert_eq!(&opened, &plain);
            opened.fill(0);
            prop_assert!(b.open(nonce, &aad, &by_native, &mut opened).is_ok());
            prop_assert_eq!(&opened, &plain);

            let mut in_place = plain.clone();
            in_place.resize(plain.len() + 16, 0);
            b.seal_in_place(nonce, &mut in_place);
            let mut expected = vec![0; plain.len() + 16];
            a.seal(nonce, &[], &plain, &mut expected);
            prop_assert_eq!(&in_place, &expected);

            let (mut x, mut y) = ([0; 76], [0; 76]);
            native::hkdf_expand_sha512(&key, &[&nonce, &aad], &mut x);
            portable::hkdf_expand_sha512(&key, &[&nonce, &aad], &mut y);
            prop_assert_eq!(x, y);
            prop_assert_eq!(
                native::hmac_sha256(&key, &[&plain, &aad]),
                portable::hmac_sha256(&key, &[&plain, &aad])
            );
            prop_assert_eq!(native::sha256(&plain), portable::sha256(&plain));
        }

        #[test]
        fn a_broken_tag_leaves_no_plaintext(key: [u8; 32], nonce: [u8; 12], bit in 0..(16 * 8usize)) {
            let plain = [0x5A; 64];
            let mut sealed = [0; 80];
            native::Aes256Gcm::new(&key).seal(nonce, &[], &plain, &mut sealed);
            sealed[64 + bit / 8] ^= 1 << (bit % 8);
            let mut out = [0; 64];
            prop_assert!(native::Aes256Gcm::new(&key).open(nonce, &[], &sealed, &mut out).is_err());
            prop_assert_eq!(out, [0; 64]);
            prop_assert!(portable::Aes256Gcm::new(&key).open(nonce, &[], &sealed, &mut out).is_err());
            prop_assert_eq!(out, [0; 64]);
        }
    }

    #[test]
    fn the_portable_generator_gives_bytes() {
        let (mut a, mut b) = ([0; 32], [0; 32]);
        portable::fill_random(&mut a).unwrap();
        portable::fill_random(&mut b).unwrap();
        assert_ne!(a, b);
    }
}
