//! SHA-256, the one hash of every statement, name and digest here. Natively by aws-lc-rs, which every program of ours has anyway
//! and which is half as fast again at it; in the browser by `sha2`. Published vectors hold for either.

use api::Digest;

#[cfg(not(target_arch = "wasm32"))]
mod backend {
    use aws_lc_rs::digest::{Context, SHA256};

    #[derive(Clone)]
    pub(super) struct Sha256(Context);

    impl Sha256 {
        pub(super) fn new() -> Self {
            Self(Context::new(&SHA256))
        }

        pub(super) fn update(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }

        pub(super) fn finish(self) -> [u8; 32] {
            let digest = self.0.finish();
            digest.as_ref().try_into().expect("SHA-256 has 32 bytes because FIPS 180-4 says so")
        }
    }
}

#[cfg(target_arch = "wasm32")]
mod backend {
    use sha2::Digest as _;

    #[derive(Clone)]
    pub(super) struct Sha256(sha2::Sha256);

    impl Sha256 {
        pub(super) fn new() -> Self {
            Self(sha2::Sha256::new())
        }

        pub(super) fn update(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }

        pub(super) fn finish(self) -> [u8; 32] {
            self.0.finalize().into()
        }
    }
}

/// The SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(bytes);
    hasher.finish()
}

/// SHA-256 over bytes that come in pieces.
#[derive(Clone)]
pub struct Hasher(backend::Sha256);

impl Hasher {
    /// A hasher that has seen nothing.
    pub fn new() -> Self {
        Self(backend::Sha256::new())
    }

    /// Takes the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all pieces.
    pub fn finish(self) -> Digest {
        Digest(self.0.finish())
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hasher(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4 test vectors (NIST CAVP, `SHA256ShortMsg`), and the million letters of its appendix.
    #[test]
    fn the_hash_is_the_published_one() {
        let of = |bytes: &[u8]| sha256(bytes).to_string();
        let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(of(b""), nothing);
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(of(b"abc"), abc);
        let mut pieces = Hasher::new();
        for _ in 0..1000 {
            pieces.update(&[b'a'; 1000]);
        }
        let million = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
        assert_eq!(pieces.clone().finish().to_string(), million);
        pieces.update(b"a");
        assert_ne!(pieces.finish().to_string(), million);
    }
}
