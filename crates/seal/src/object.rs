//! `chorion.object/1`: a 128-byte prefix, then segments (`spec/sealed-object.md`).
//!
//! Here are the prefix, the arithmetic of lengths and places, objects sealed and opened whole in memory, and objects of which
//! one segment at a time is opened. Streams are in [`crate::Sealer`] and [`crate::Opener`].

use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};

use zeroize::Zeroizing;

use crate::cobblestone::{BadLength, Body, BodyFault, Derived, Geometry, Shape};
use crate::primitives::{GCM_NONCE_BYTES, GCM_TAG_BYTES, fill_random, same};
use crate::{DataKey, NoRandomness, OpenError, SealError};

/// Plaintext bytes in a full segment (section 2).
pub const SEGMENT_BYTES: usize = 65_536;
/// Bytes of the tag that ends every sealed segment.
pub const TAG_BYTES: usize = GCM_TAG_BYTES;
/// Bytes of a full segment when sealed.
pub const SEALED_SEGMENT_BYTES: usize = SEGMENT_BYTES + TAG_BYTES;
/// Bytes before segment 0 (section 3).
pub const PREFIX_BYTES: usize = 128;
/// The most bytes a sealed object in the store has; offline files have no such limit.
pub const MAX_OBJECT_BYTES: usize = 16 * 1024 * 1024;

const MAGIC: &[u8; 7] = b"CHORION";
const VERSION: u8 = 1;
const SUITE: u16 = 1;
const SEGMENT_POWER: u8 = 16;
pub(crate) const GEOMETRY: Geometry =
    Geometry { prefix_bytes: PREFIX_BYTES, segment_bytes: SEGMENT_BYTES };
const SHAPE: Shape = Shape { label: b"chorion.object/1+AEAD_AES_256_GCM", geometry: GEOMETRY };

/// The name of an object: 16 bytes, laid out as a UUID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId([u8; 16]);

impl ObjectId {
    /// The id with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes, as they stand in the prefix.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// A new random id: a UUID of version 4, because this crate has no clock and an id in an offline file should not tell the time.
    ///
    /// # Errors
    /// The system's generator gave nothing.
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut bytes = [0; 16];
        fill_random(&mut bytes)?;
        bytes[6] = (bytes[6] & 0x0F) | 0x40;
        bytes[8] = (bytes[8] & 0x3F) | 0x80;
        Ok(Self(bytes))
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectId({self})")
    }
}

/// A text that is no object id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an object id is 32 hexadecimal digits")]
pub struct NotAnObjectId;

impl FromStr for ObjectId {
    type Err = NotAnObjectId;

    fn from_str(text: &str) -> Result<Self, NotAnObjectId> {
        if text.len() != 32 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(NotAnObjectId);
        }
        u128::from_str_radix(text, 16).map(|id| Self(id.to_be_bytes())).map_err(|_| NotAnObjectId)
    }
}

/// What binds a body to the one key that opens it: 32 bytes at the end of the prefix, public.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Commitment([u8; 32]);

impl Commitment {
    /// The commitment with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Commitment({self})")
    }
}

/// The first 128 bytes of an object, read (section 3). Reading needs no key and proves nothing: the bytes are checked against
/// the key when the object is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    id: ObjectId,
    salt: [u8; 32],
    commitment: Commitment,
}

impl Prefix {
    /// Reads a prefix, refusing everything the format does not say.
    ///
    /// # Errors
    /// Fewer than 128 bytes, another format, version, suite or segment size, or a reserved byte that is not zero.
    pub fn read(bytes: &[u8]) -> Result<Self, OpenError> {
        if !bytes.starts_with(MAGIC) {
            let cut = !bytes.is_empty() && MAGIC.starts_with(bytes);
            return Err(if cut { cut_short(bytes) } else { OpenError::NotSealed });
        }
        let Some(bytes) = bytes.first_chunk::<PREFIX_BYTES>() else { return Err(cut_short(bytes)) };
        if bytes[7] != VERSION {
            return Err(OpenError::UnknownVersion { found: bytes[7] });
        }
        let suite = u16::from_be_bytes([bytes[8], bytes[9]]);
        if suite != SUITE {
            return Err(OpenError::UnknownSuite { found: suite });
        }
        if bytes[10] != SEGMENT_POWER {
            return Err(OpenError::UnknownSegmentSize { found: bytes[10] });
        }
        if bytes[11..16].iter().chain(&bytes[96..]).any(|byte| *byte != 0) {
            return Err(OpenError::ReservedSet);
        }
        let (mut id, mut salt, mut commitment) = ([0; 16], [0; 32], [0; 32]);
        id.copy_from_slice(&bytes[16..32]);
        salt.copy_from_slice(&bytes[32..64]);
        commitment.copy_from_slice(&bytes[64..96]);
        Ok(Self { id: ObjectId(id), salt, commitment: Commitment(commitment) })
    }

    /// The id the prefix gives.
    #[must_use]
    pub const fn id(&self) -> ObjectId {
        self.id
    }

    /// The commitment the prefix gives.
    #[must_use]
    pub const fn commitment(&self) -> Commitment {
        self.commitment
    }

    /// The bytes that stand before the salt and enter the derivation as context.
    fn context(id: ObjectId) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[..7].copy_from_slice(MAGIC);
        bytes[7] = VERSION;
        bytes[8..10].copy_from_slice(&SUITE.to_be_bytes());
        bytes[10] = SEGMENT_POWER;
        bytes[16..].copy_from_slice(&id.0);
        bytes
    }

    pub(crate) fn to_bytes(self) -> [u8; PREFIX_BYTES] {
        let mut bytes = [0; PREFIX_BYTES];
        bytes[..32].copy_from_slice(&Self::context(self.id));
        bytes[32..64].copy_from_slice(&self.salt);
        bytes[64..96].copy_from_slice(&self.commitment.0);
        bytes
    }

    /// A new object's prefix with a fresh salt, and the keys of its body.
    pub(crate) fn create(
        key: &DataKey,
        id: ObjectId,
    ) -> Result<([u8; PREFIX_BYTES], Body), NoRandomness> {
        let mut salt = [0; 32];
        fill_random(&mut salt)?;
        Ok(Self::create_with_salt(key, id, salt))
    }

    pub(crate) fn create_with_salt(
        key: &DataKey,
        id: ObjectId,
        salt: [u8; 32],
    ) -> ([u8; PREFIX_BYTES], Body) {
        let body = Body::derive(SHAPE, key.expose(), &salt, &Self::context(id));
        let commitment = Commitment(*body.commitment());
        (Self { id, salt, commitment }.to_bytes(), body)
    }

    /// The keys of the body, if `key` is the one the prefix commits to.
    pub(crate) fn body(&self, key: &DataKey) -> Result<Body, OpenError> {
        let body = Body::derive(SHAPE, key.expose(), &self.salt, &Self::context(self.id));
        if body.is_committed_to(&self.commitment.0) {
            Ok(body)
        } else {
            Err(OpenError::WrongKey { object: self.id })
        }
    }

    /// As [`Prefix::body`], for an object that was asked for by its id.
    pub(crate) fn body_of(&self, key: &DataKey, asked: ObjectId) -> Result<Body, OpenError> {
        if self.id == asked {
            self.body(key)
        } else {
            Err(OpenError::OtherObject { asked, found: self.id })
        }
    }
}

/// The AES-256-GCM key and the base nonce of one object's segments (section 4), for whoever has a cipher of their own: a browser's is many
/// times as fast as any that is compiled for it.
///
/// Segment *i* is sealed and opened under this key with the base nonce XOR *i* (section 5), each index once.
pub struct SegmentKey {
    cipher_key: Zeroizing<[u8; 32]>,
    base_nonce: [u8; GCM_NONCE_BYTES],
}

impl SegmentKey {
    /// Key, then base nonce: 44 bytes, to be wiped once a cipher has them.
    #[must_use]
    pub fn expose(&self) -> Zeroizing<[u8; 32 + GCM_NONCE_BYTES]> {
        let mut both = Zeroizing::new([0; 32 + GCM_NONCE_BYTES]);
        both[..32].copy_from_slice(&*self.cipher_key);
        both[32..].copy_from_slice(&self.base_nonce);
        both
    }

    /// What an object that is about to be sealed elsewhere begins with, its commitment, and what seals its segments.
    ///
    /// `key` is for this one body: never seal another under it.
    ///
    /// # Errors
    /// No randomness.
    pub fn create(
        key: &DataKey,
        id: ObjectId,
    ) -> Result<([u8; PREFIX_BYTES], Commitment, Self), NoRandomness> {
        let mut salt = [0; 32];
        fill_random(&mut salt)?;
        let (commitment, segments) = Self::derive(key, id, &salt);
        Ok((Prefix { id, salt, commitment }.to_bytes(), commitment, segments))
    }

    /// What opens the segments of an object that begins with `prefix`, if `key` is the one it commits to.
    ///
    /// # Errors
    /// The prefix is no valid one or names another object, or the key is another.
    pub fn open(key: &DataKey, asked: ObjectId, prefix: &[u8]) -> Result<Self, OpenError> {
        let Prefix { id, salt, commitment } = Prefix::read(prefix)?;
        if id != asked {
            return Err(OpenError::OtherObject { asked, found: id });
        }
        let (derived, segments) = Self::derive(key, id, &salt);
        if !same(&derived.0, &commitment.0) {
            return Err(OpenError::WrongKey { object: id });
        }
        Ok(segments)
    }

    fn derive(key: &DataKey, id: ObjectId, salt: &[u8; 32]) -> (Commitment, Self) {
        let Derived { cipher_key, base_nonce, commitment } =
            Derived::derive(SHAPE, key.expose(), salt, &Prefix::context(id));
        (Commitment(commitment), Self { cipher_key, base_nonce })
    }
}

impl fmt::Debug for SegmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SegmentKey(..)")
    }
}

fn cut_short(bytes: &[u8]) -> OpenError {
    OpenError::CutShort { sealed_bytes: bytes.len() as u64 }
}

/// Length after sealing of `plain` bytes, prefix included: 128 + 16 per segment more.
#[must_use]
pub const fn sealed_bytes(plain: u64) -> u64 {
    GEOMETRY.sealed_bytes(plain)
}

/// Length before sealing of an object of `sealed` bytes, if an object can have that length. The length is *claimed* until the
/// last segment has opened.
///
/// # Errors
/// The object was cut short, or is longer than an object can be.
pub const fn plain_bytes(sealed: u64) -> Result<u64, OpenError> {
    match GEOMETRY.plain_bytes(sealed) {
        Ok(plain) => Ok(plain),
        Err(fault) => Err(length_error(fault, sealed)),
    }
}

/// Seals an object in memory, for what goes to the store: at most [`MAX_OBJECT_BYTES`] when sealed.
///
/// `key` is for this one body: never seal another under it.
///
/// # Errors
/// More plaintext than fits one object of the store, or no randomness.
pub fn seal_object(
    key: &DataKey,
    id: ObjectId,
    plaintext: &[u8],
) -> Result<(Vec<u8>, Commitment), SealError> {
    let mut sealed = Vec::new();
    let commitment = seal_object_into(key, id, plaintext, &mut sealed)?;
    Ok((sealed, commitment))
}

/// As [`seal_object`], into a buffer that the caller uses again: whoever seals one object after the other spares the system
/// a fresh 16 MiB for each.
///
/// # Errors
/// As [`seal_object`]; `sealed` is then as it was.
pub fn seal_object_into(
    key: &DataKey,
    id: ObjectId,
    plaintext: &[u8],
    sealed: &mut Vec<u8>,
) -> Result<Commitment, SealError> {
    let sealed_len = sealed_bytes(plaintext.len() as u64);
    if sealed_len > MAX_OBJECT_BYTES as u64 {
        let most = plain_bytes(MAX_OBJECT_BYTES as u64).unwrap_or(0);
        return Err(SealError::TooLong { plain_bytes: plaintext.len() as u64, most });
    }
    let (prefix, body) = Prefix::create(key, id)?;
    body.seal_whole(&prefix, plaintext, sealed);
    Ok(Commitment(*body.commitment()))
}

/// Opens an object that lies whole in memory.
///
/// # Errors
/// The prefix is no valid one or names another object, the key is another, a segment does not open, or the length is none an
/// object can have.
pub fn open_object(key: &DataKey, id: ObjectId, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    let mut plaintext = Vec::new();
    open_object_into(key, id, sealed, &mut plaintext)?;
    Ok(plaintext)
}

/// As [`open_object`], into a buffer that the caller uses again.
///
/// # Errors
/// As [`open_object`]; `plaintext` is then empty.
pub fn open_object_into(
    key: &DataKey,
    id: ObjectId,
    sealed: &[u8],
    plaintext: &mut Vec<u8>,
) -> Result<(), OpenError> {
    let body = Prefix::read(sealed).and_then(|prefix| prefix.body_of(key, id));
    let body = body.inspect_err(|_| plaintext.clear())?;
    body.open_whole(sealed, plaintext).map_err(|fault| open_error(fault, sealed.len() as u64))
}

fn open_error(fault: BodyFault, sealed_bytes: u64) -> OpenError {
    match fault {
        BodyFault::Length(fault) => length_error(fault, sealed_bytes),
        BodyFault::Segment(index) => OpenError::BrokenSegment { index },
    }
}

const fn length_error(fault: BadLength, sealed_bytes: u64) -> OpenError {
    match fault {
        BadLength::CutShort => OpenError::CutShort { sealed_bytes },
        BadLength::TooLong => OpenError::TooLong { sealed_bytes },
    }
}

/// An object of which single segments are opened, in any order (section 7).
///
/// Making one checks the commitment. The length it gives follows from the number of sealed bytes somebody reported: it is
/// proved once the last segment has opened, which [`ObjectOpener::length_is_proved`] remembers. Whoever answers "how long is it"
/// or a range counted from the end opens the last segment first.
pub struct ObjectOpener {
    body: Body,
    id: ObjectId,
    plain_bytes: u64,
    length_is_proved: AtomicBool,
}

impl ObjectOpener {
    /// Reads the prefix of an object of `sealed_len` bytes and checks that `key` is the one it commits to.
    ///
    /// # Errors
    /// The prefix is no valid one or names another object, the key is another, or no object has that length.
    pub fn new(
        key: &DataKey,
        id: ObjectId,
        prefix: &[u8],
        sealed_len: u64,
    ) -> Result<Self, OpenError> {
        Self::of_body(Prefix::read(prefix)?.body_of(key, id)?, id, sealed_len)
    }

    /// The same for a body that is open already.
    pub(crate) fn of_body(body: Body, id: ObjectId, sealed_len: u64) -> Result<Self, OpenError> {
        let plain_bytes = plain_bytes(sealed_len)?;
        Ok(Self { body, id, plain_bytes, length_is_proved: AtomicBool::new(false) })
    }

    /// The id, as asked for and found.
    #[must_use]
    pub const fn id(&self) -> ObjectId {
        self.id
    }

    /// Plaintext bytes that the sealed length stands for.
    #[must_use]
    pub const fn plain_len(&self) -> u64 {
        self.plain_bytes
    }

    /// Whether the last segment has opened, so that the length is more than a claim.
    #[must_use]
    pub fn length_is_proved(&self) -> bool {
        self.length_is_proved.load(Ordering::Acquire)
    }

    /// How many segments there are; at least one.
    #[must_use]
    pub const fn segments(&self) -> u64 {
        GEOMETRY.segments(self.plain_bytes)
    }

    /// What binds the body to its key.
    #[must_use]
    pub fn commitment(&self) -> Commitment {
        Commitment(*self.body.commitment())
    }

    /// Where sealed segment `index` lies in the object; an empty range at the end for a segment that is not there.
    #[must_use]
    pub fn segment_range(&self, index: u64) -> Range<u64> {
        let end = sealed_bytes(self.plain_bytes);
        GEOMETRY.segment_range(self.plain_bytes, index).unwrap_or(end..end)
    }

    /// Opens sealed segment `index` and appends its plaintext to `out`; on an error `out` is as it was.
    ///
    /// # Errors
    /// The segment is not there, has another length than its place says, or its seal is broken.
    pub fn open_segment(
        &self,
        index: u64,
        sealed: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), OpenError> {
        let segments = self.segments();
        if index >= segments {
            return Err(OpenError::NoSuchSegment { index, segments });
        }
        let range = self.segment_range(index);
        let expected = range.end - range.start;
        if sealed.len() as u64 != expected {
            return Err(OpenError::SegmentLength { index, found: sealed.len() as u64, expected });
        }
        let start = out.len();
        out.resize(start + sealed.len() - TAG_BYTES, 0);
        self.body.open(index, sealed, &mut out[start..]).map_err(|_| {
            out.truncate(start);
            OpenError::BrokenSegment { index }
        })?;
        if index + 1 == segments {
            self.length_is_proved.store(true, Ordering::Release);
        }
        Ok(())
    }
}

impl fmt::Debug for ObjectOpener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectOpener")
            .field("id", &self.id)
            .field("plain_bytes", &self.plain_bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
