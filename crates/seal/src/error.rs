//! What can go wrong, sorted by what the caller can do about it.

use std::io;

use crate::object::ObjectId;

/// The operating system gave no random bytes; nothing may be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system's random number generator gave no bytes")]
pub struct NoRandomness;

/// Why nothing, or not everything, was sealed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// No salt could be drawn.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// The plaintext is longer than the format allows where it was to go.
    #[error("{plain_bytes} bytes are too many to seal here: at most {most} fit")]
    TooLong {
        /// Length of what was to be sealed.
        plain_bytes: u64,
        /// The most that fits.
        most: u64,
    },
    /// An offline file needs somebody who can open it, and its header has room for so many.
    #[error("{found} recipients were given; a file is sealed to 1 to {most}")]
    Recipients {
        /// How many were given.
        found: usize,
        /// How many there may be.
        most: usize,
    },
    /// The source is longer or shorter than announced.
    #[error("the input changed while it was read: {expected} bytes were announced")]
    SourceChanged {
        /// Length announced.
        expected: u64,
    },
    /// The source could not be read.
    #[error("the input could not be read")]
    Read(#[source] io::Error),
    /// The sealed bytes could not be written.
    #[error("the sealed bytes could not be written")]
    Write(#[source] io::Error),
}

/// Why a sealed object, or a part of it, does not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The first bytes are not the mark of a sealed object.
    #[error("the input is not a sealed object: it does not begin like one")]
    NotSealed,
    /// A sealed object of a version this program does not read.
    #[error("the sealed object is of version {found}; this program reads version 1")]
    UnknownVersion {
        /// The version byte found.
        found: u8,
    },
    /// The cipher suite is not one this program opens.
    #[error("the sealed object names cipher suite {found}; this program opens suite 1")]
    UnknownSuite {
        /// The suite found.
        found: u16,
    },
    /// The segment size is not the one of the format.
    #[error("the sealed object names segments of 2^{found} bytes; the format has 2^16")]
    UnknownSegmentSize {
        /// The exponent found.
        found: u8,
    },
    /// A byte that the format keeps at zero is not zero.
    #[error("the sealed object's prefix has a byte set that the format keeps at zero")]
    ReservedSet,
    /// The prefix names another object than the one asked for.
    #[error("the sealed object is {found}, not {asked}")]
    OtherObject {
        /// The id asked for.
        asked: ObjectId,
        /// The id in the prefix.
        found: ObjectId,
    },
    /// The commitment does not match: another key, or a changed prefix. Nothing was decrypted.
    #[error("the key does not belong to sealed object {object}, or its prefix was altered")]
    WrongKey {
        /// The object in question.
        object: ObjectId,
    },
    /// A segment's tag does not verify.
    #[error("segment {index} does not open: its seal is broken")]
    BrokenSegment {
        /// Index of the segment, from 0.
        index: u64,
    },
    /// The object ends where a valid one cannot end.
    #[error(
        "the sealed object is cut short: it ends after {sealed_bytes} bytes without a whole last segment"
    )]
    CutShort {
        /// Length found.
        sealed_bytes: u64,
    },
    /// More bytes than a sealed object can have.
    #[error("{sealed_bytes} bytes are more than a sealed object can have here")]
    TooLong {
        /// Length found.
        sealed_bytes: u64,
    },
    /// A segment was asked for that the object does not have.
    #[error("segment {index} was asked for, but the object has {segments}")]
    NoSuchSegment {
        /// Index asked for.
        index: u64,
        /// How many there are.
        segments: u64,
    },
    /// A segment was handed over with the wrong number of bytes.
    #[error("segment {index} came as {found} bytes where {expected} belong")]
    SegmentLength {
        /// Index of the segment.
        index: u64,
        /// Bytes handed over.
        found: u64,
        /// Bytes the format has there.
        expected: u64,
    },
    /// The sealed bytes could not be read.
    #[error("the sealed bytes could not be read")]
    Read(#[source] io::Error),
    /// The opened bytes could not be written.
    #[error("the opened bytes could not be written")]
    Write(#[source] io::Error),
}

/// Why a key could not be wrapped or does not unwrap.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WrapError {
    /// No nonce could be drawn.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// The wrapped key has a length that no wrapped key of this kind has; nothing was tried.
    #[error("a wrapped key of {found} bytes was given; this kind has {expected}")]
    Length {
        /// Bytes given.
        found: usize,
        /// Bytes this kind has.
        expected: usize,
    },
    /// It does not open: another wrapping key, another place than it was wrapped for, or altered bytes.
    #[error("the wrapped key does not open here: another key, another place, or altered bytes")]
    DoesNotOpen,
    /// The public key is not one.
    #[error("the public key is not a valid X-Wing key")]
    BadPublicKey,
    /// A label longer than the format allows.
    #[error("a label of {found} bytes was given; at most {most} are sealed")]
    LabelLength {
        /// Bytes given.
        found: usize,
        /// The most that is sealed.
        most: usize,
    },
}
