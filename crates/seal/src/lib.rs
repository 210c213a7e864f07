//! Sealed objects and the keys that open them: bytes in, bytes out.
//!
//! A **sealed object** is a fixed prefix and a row of segments of 64 KiB, each authenticated by itself and bound to its place,
//! so that any part can be read without the rest and none can be cut, moved, doubled or exchanged without being noticed
//! (`spec/sealed-object.md`). Its **data key** is used for that one body and travels wrapped: under the **dataset key**, which in
//! turn is wrapped under a **key-encryption key** or to a **recipient** (`spec/key-wrapping.md`). An **offline file** carries
//! its own wrapped keys in front of the object (`spec/offline-file.md`).
//!
//! The crate opens no file, socket or clock. Natively AES-256-GCM and HKDF come from AWS-LC, in a browser from `RustCrypto`;
//! one private module decides.
//!
//! ```
//! use seal::{DataKey, ObjectId, open_object, seal_object};
//!
//! let key = DataKey::generate()?;
//! let id = ObjectId::generate()?;
//! let (sealed, _commitment) = seal_object(&key, id, b"GATTACA")?;
//! assert_eq!(open_object(&key, id, &sealed)?, b"GATTACA");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cobblestone;
pub mod crypt4gh;
mod error;
pub mod file;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod key_file;
mod keys;
pub mod label;
mod object;
#[cfg(not(target_arch = "wasm32"))]
mod parallel;
pub mod passphrase;
mod plaintext;
mod primitives;
pub mod recipient;
pub mod secret_line;
mod stream;
pub mod wrap;

pub use error::{NoRandomness, OpenError, SealError, WrapError};
pub use keys::{DataKey, DatasetKey, KeyEncryptionKey};
pub use object::{
    Commitment, MAX_OBJECT_BYTES, ObjectId, ObjectOpener, PREFIX_BYTES, Prefix,
    SEALED_SEGMENT_BYTES, SEGMENT_BYTES, SegmentKey, TAG_BYTES, open_object, open_object_into,
    plain_bytes, seal_object, seal_object_into, sealed_bytes,
};
#[cfg(not(target_arch = "wasm32"))]
pub use parallel::{ReadAt, Workers, WriteAt, open_parallel, seal_parallel};
pub use plaintext::Plaintext;
pub use stream::{Opener, Sealer};

/// Fills `bytes` from the operating system's generator: for salts and ids of other formats that belong beside sealed objects.
///
/// # Errors
/// The generator gave nothing, which on the systems we run on means that the system is broken.
pub fn fill_random(bytes: &mut [u8]) -> Result<(), NoRandomness> {
    primitives::fill_random(bytes)
}
