//! Keeps opaque blobs alive in several places, and the wrapped keys that open them in two.
//!
//! A [`Store`] writes each blob to N [`Facility`]s and answers once W of them have *synced* it; reads verify, heal what is
//! bad from a place that is good, and a scrubber walks everything. A [`KeyStore`] keeps wrapped keys apart from the
//! database and from the blobs, because deleting data means destroying these, for ever, in every place. Neither ever sees
//! a key that opens anything: names are hashes of ciphertext, wrapped keys are bytes. `spec/store.md` has the formats and
//! the promises.

mod address;
mod blob;
mod bucket;
mod directory;
mod disk;
mod facility;
mod identity;
mod keys;
mod store;
#[cfg(test)]
mod testing;
mod tombstone;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use address::FacilityAddress;
pub use blob::{BlobHash, BlobHashError, MAX_BLOB_BYTES};
pub use bucket::{BucketAddress, BucketAddressError, BucketFacility};
pub use directory::DirectoryFacility;
pub use disk::BLOB_ALIGN;
pub use facility::{
    Facility, FacilityError, FacilityId, FacilityState, FacilityStatus, Listed, Listing, Stray,
};
pub use keys::{
    CheckReport, DatasetId, Destroyed, KeptKey, KeyNames, KeyPlace, KeyStore, KeyStoreError,
    KeyStoreStatus, ObjectKeyId, PlaceStatus, WRAPPED_KEY_BYTES, WrappedKeys, is_whole_key_file,
    key_names, read_key_file,
};
pub use store::{
    CaughtUp, Drained, Erasure, Finding, FindingKind, Held, OnEvent, ScrubCursor, ScrubOptions,
    ScrubReport, Store, StoreError, StoreEvent, StoreOptions,
};

/// Runs blocking work on a thread for it, and hands a panic there on to the caller.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(stopped) => match stopped.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Such work is cancelled only by a runtime that is going down, and takes its caller with it.
            Err(_) => std::future::pending().await,
        },
    }
}

/// A lock whose holder panicked still guards whole values: every change in this crate under one is a single assignment,
/// insertion or removal.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
