//! What a facility is: one place that keeps blobs.
//!
//! A facility is a directory or an object-store prefix with an identity. The trait is the whole contract between the
//! [`Store`](crate::Store), which decides what must be where, and a place, which only does as told and says honestly how it
//! went. `spec/store.md` section 3 states the contract; the conformance suite of this crate's tests runs on every
//! implementation.

use std::{fmt, io};

use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;
use uuid::Uuid;

use crate::blob::BlobHash;

/// The identity of a facility: a version 7 UUID made once, when the facility is created.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct FacilityId(Uuid);

impl FacilityId {
    /// The facility with this UUID.
    #[must_use]
    pub const fn from_uuid(id: Uuid) -> Self {
        Self(id)
    }

    /// The UUID itself.
    #[must_use]
    pub const fn as_uuid(&self) -> &Uuid {
        &self.0
    }
}

impl fmt::Display for FacilityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for FacilityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FacilityId({self})")
    }
}

/// Why a facility did not do what it was told. No variant means "there is no such blob": that is an answer, not a failure,
/// and a disk that cannot be read must never be mistaken for it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FacilityError {
    /// The place is not there, or what is there is another place: an unmounted disk, an emptied directory, a wrong path.
    #[error("the facility is not at {location}: {why}")]
    Missing {
        /// Where it was expected.
        location: String,
        /// What was found instead.
        why: String,
    },
    /// There is no room; what is kept free is for deleting.
    #[error("facility {facility} has no room for more")]
    Full {
        /// The facility.
        facility: FacilityId,
    },
    /// The place can be read but not written.
    #[error("facility {facility} is read-only")]
    ReadOnly {
        /// The facility.
        facility: FacilityId,
    },
    /// The blob was erased here, and what was erased does not come back.
    #[error("facility {facility} does not take blob {hash}: it was erased")]
    Erased {
        /// The facility.
        facility: FacilityId,
        /// The blob.
        hash: BlobHash,
    },
    /// A disk or a service failed.
    #[error("facility {facility} could not {act}")]
    Io {
        /// The facility.
        facility: FacilityId,
        /// What it was doing, with the thing named.
        act: String,
        /// What the disk said.
        source: io::Error,
    },
    /// The facility was closed while this was waiting.
    #[error("facility {facility} is closed")]
    Closed {
        /// The facility.
        facility: FacilityId,
    },
}

/// A blob as a listing names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Its name.
    pub hash: BlobHash,
    /// Its size as the listing gives it; nothing has been read.
    pub bytes: u64,
}

/// Something that lies among the blobs but is not one in its right place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stray {
    /// Where it lies, in the facility's own terms, for [`Facility::read_stray`] and [`Facility::quarantine_stray`].
    pub path: String,
    /// The blob it would be by its last name, if that is a blob's.
    pub hash: Option<BlobHash>,
}

/// One of the 256 parts of a facility's contents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// The blobs whose names begin with the shard's byte, in the order of their names.
    pub blobs: Vec<Listed>,
    /// What lies there and should not.
    pub strays: Vec<Stray>,
}

/// How a facility is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FacilityState {
    /// It takes writes and lacks nothing that is known of.
    Healthy,
    /// It takes writes, but lacks blobs that other facilities took.
    Behind,
    /// It is not there, or something else is in its place.
    Missing,
    /// It can be read, not written.
    ReadOnly,
    /// It has no room.
    Full,
    /// It is read, and nothing new is written to it, until what it holds is elsewhere.
    Draining,
}

/// How a facility is, in figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FacilityStatus {
    /// Its identity.
    pub id: FacilityId,
    /// A path or an address.
    pub location: String,
    /// How it is.
    pub state: FacilityState,
    /// Why, where it is not healthy.
    pub why: Option<String>,
    /// Blobs it holds.
    pub blobs: u64,
    /// The sum of their sizes.
    pub bytes: u64,
    /// Copies set aside because they were not what their name says.
    pub quarantined: u64,
    /// Room left, where the place can tell.
    pub free_bytes: Option<u64>,
    /// Blobs it is known to lack; counted by the [`Store`](crate::Store).
    pub behind: u64,
}

/// One place that keeps blobs.
///
/// The contract, beyond what each method says:
///
/// - **Durable before done.** When `put`, `erase` or a quarantine returns `Ok`, a power cut takes nothing of it back.
/// - **All or nothing.** A blob is visible with all its bytes or not at all, at every instant and after a crash.
/// - **Not found is a fact.** `Ok(None)` and `Ok(false)` are said only by a place that was there, was the right one, and
///   looked. Anything else is an error.
/// - **No judgement.** A facility does not check hashes; it gives back what it holds. The store verifies every copy.
/// - **Erased stays erased.** After `erase`, `put` of that name is refused for ever, across restarts.
/// - **Concurrent.** Every method may be called from many tasks at once; a dropped future leaves the place consistent.
#[async_trait]
pub trait Facility: Send + Sync {
    /// The identity, the same for the life of the place.
    fn id(&self) -> FacilityId;

    /// A path or an address, for people.
    fn location(&self) -> String;

    /// Keeps a blob under its name and returns once it is durable. Putting a blob again writes it anew: the copy that is
    /// there may be damaged, or may never have reached the disk.
    async fn put(&self, hash: BlobHash, bytes: Bytes) -> Result<(), FacilityError>;

    /// What is kept under this name, unverified.
    async fn get(&self, hash: &BlobHash) -> Result<Option<Bytes>, FacilityError>;

    /// Whether something is kept under this name, unverified.
    async fn contains(&self, hash: &BlobHash) -> Result<bool, FacilityError>;

    /// Remembers durably that these blobs are erased, then takes them away, quarantined copies too. Names that are not
    /// here are remembered as well.
    async fn erase(&self, hashes: &[BlobHash]) -> Result<(), FacilityError>;

    /// Takes blobs away and does not remember it: what nobody was told of may be put again.
    async fn discard(&self, hashes: &[BlobHash]) -> Result<(), FacilityError>;

    /// Every name that was ever erased here.
    async fn erased(&self) -> Result<Vec<BlobHash>, FacilityError>;

    /// How many names that are.
    async fn erased_count(&self) -> Result<u64, FacilityError>;

    /// What one shard holds: the blobs whose names begin with this byte. What lies in no shard is listed with shard 0.
    async fn list(&self, shard: u8) -> Result<Listing, FacilityError>;

    /// Sets the copy under this name aside, so that it is no longer served. Nothing happens where there is none.
    async fn quarantine(&self, hash: &BlobHash) -> Result<(), FacilityError>;

    /// The bytes of a stray, unverified.
    async fn read_stray(&self, stray: &Stray) -> Result<Option<Bytes>, FacilityError>;

    /// Sets a stray aside.
    async fn quarantine_stray(&self, stray: &Stray) -> Result<(), FacilityError>;

    /// How the place is. A place that is not there says so in its state; this does not fail.
    async fn status(&self) -> FacilityStatus;
}
