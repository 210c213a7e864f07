//! The two signatures of AMD's chain and the hash of a report, from `RustCrypto`.
//!
//! One source natively and in a browser: verifiers that were written twice have drifted apart in what they accept. Only public values
//! come here, so that the timing of private-key operations, which `rsa` is known to leak, does not matter.

use p384::ecdsa::signature::hazmat::PrehashVerifier;
use p384::ecdsa::{Signature, VerifyingKey};
use rsa::traits::SignatureScheme;
use rsa::{BoxedUint, Pss, RsaPublicKey};
use sha2::{Digest, Sha384};

use crate::certificate::PublicKey;

/// Bytes of an RSA-4096 modulus and of a signature under it.
pub(crate) const RSA_BYTES: usize = 512;
/// The only exponent AMD uses; that no other is taken also bounds the work.
pub(crate) const RSA_EXPONENT: u64 = 65_537;
/// Salt of RSASSA-PSS in AMD's certificates.
const SALT_BYTES: usize = 48;

/// SHA-384.
pub(crate) fn sha384(bytes: &[u8]) -> [u8; 48] {
    Sha384::digest(bytes).into()
}

/// RSASSA-PSS with SHA-384, MGF1 with SHA-384 and a salt of 48 bytes (RFC 8017 section 8.1.2). False for a key that is not RSA.
pub(crate) fn verify_pss(key: &PublicKey<'_>, message: &[u8], signature: &[u8]) -> bool {
    let PublicKey::Rsa { modulus } = key else { return false };
    let Ok(n) = BoxedUint::from_be_slice(*modulus, 4096) else { return false };
    RsaPublicKey::new(n, BoxedUint::from(RSA_EXPONENT)).is_ok_and(|key| {
        Pss::<Sha384>::new_with_salt(SALT_BYTES)
            .verify(&key, &Sha384::digest(message), signature)
            .is_ok()
    })
}

/// ECDSA on P-384 over a SHA-384 digest; `r` and `s` are little-endian, as reports have them. False for a key that is not on the
/// curve and for a signature outside the range of scalars.
pub(crate) fn verify_p384(
    key: &PublicKey<'_>,
    digest: &[u8; 48],
    r: &[u8; 48],
    s: &[u8; 48],
) -> bool {
    let PublicKey::P384 { point } = key else { return false };
    let big_endian = |bytes: &[u8; 48]| {
        let mut bytes = *bytes;
        bytes.reverse();
        bytes
    };
    let (Ok(key), Ok(signature)) = (
        VerifyingKey::from_sec1_bytes(*point),
        Signature::from_scalars(big_endian(r), big_endian(s)),
    ) else {
        return false;
    };
    key.verify_prehash(digest, &signature).is_ok()
}
