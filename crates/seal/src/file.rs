//! `chorion.file/1`: an offline file, which carries in front of a sealed object the object's key, wrapped to each recipient
//! (`spec/offline-file.md`).
//!
//! The header names nobody: a reader tries its secret on each wrapped key. A MAC under the data key covers header and prefix, so
//! that no wrapped key can be taken away, added or exchanged by somebody who cannot open the file.

use std::fmt;
use std::io::{Read, Write};

use zeroize::Zeroize;

use crate::cobblestone::Body;
use crate::object::{PREFIX_BYTES, Prefix};
use crate::primitives::{hkdf_expand_sha512, hmac_sha256, same};
use crate::recipient::{self, RecipientKey, RecipientSecret, WRAPPED_BYTES};
use crate::stream::read_full;
use crate::{
    Commitment, DataKey, ObjectId, ObjectOpener, OpenError, Opener, SealError, Sealer, WrapError,
};
#[cfg(not(target_arch = "wasm32"))]
use crate::{ReadAt, Workers, WriteAt, parallel};

/// The most recipients a file has.
pub const MAX_RECIPIENTS: usize = 256;

const MAGIC: &[u8; 7] = b"CHORFIL";
const VERSION: u8 = 1;
/// Mark 8, header length 4.
const LEAD_BYTES: usize = 12;
/// Count 2, zero 2.
const COUNT_BYTES: usize = 4;
const MAC_BYTES: usize = 32;
const INFO_LABEL: &[u8] = b"chorion.file/1\0";
const MAC_LABEL: &[u8] = b"chorion.file/1 header\0";

/// Why a file does not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The first bytes are not the mark of an offline file.
    #[error("the input is not a sealed file: it does not begin like one")]
    NotAFile,
    /// A bare object, as a store keeps them: its key lies elsewhere.
    #[error("the input is a bare sealed object: its wrapped keys are kept elsewhere")]
    BareObject,
    /// A file of a version this program does not read.
    #[error("the sealed file is of version {found}; this program reads version 1")]
    UnknownVersion {
        /// The version byte found.
        found: u8,
    },
    /// The header contradicts itself.
    #[error("the sealed file's header is not valid: {what}")]
    BadHeader {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The file ends inside its header or the object's prefix.
    #[error("the sealed file is cut short: it ends before its object begins")]
    CutShort,
    /// No wrapped key opens with this secret.
    #[error(
        "the sealed file does not open with this key: none of its {recipients} wrapped keys is for it, \
         or the header was altered"
    )]
    NotForThisKey {
        /// How many wrapped keys the file has.
        recipients: usize,
    },
    /// The key opens, but the header is not the one that was written with it.
    #[error("the sealed file's header was altered: its check does not match")]
    HeaderAltered,
    /// The object behind the header does not open.
    #[error(transparent)]
    Object(#[from] OpenError),
}

/// What a sealed file or a bare object says of itself without a key. Nothing of it is proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// How many wrapped keys stand in front; `None` for a bare object.
    pub recipients: Option<usize>,
    /// Bytes in front of the object.
    pub header_bytes: u64,
    /// The object's prefix.
    pub prefix: Prefix,
}

impl Inspection {
    /// Plaintext bytes that a file of `total_bytes` in all claims to hold.
    ///
    /// # Errors
    /// No object has that length: the file was cut short or extended.
    pub const fn plain_bytes(&self, total_bytes: u64) -> Result<u64, OpenError> {
        crate::plain_bytes(total_bytes.saturating_sub(self.header_bytes))
    }
}

/// Reads the header of a file, or the prefix of a bare object, and says what it claims.
///
/// # Errors
/// The input is neither, contradicts itself, ends inside, or cannot be read.
pub fn inspect(reader: &mut impl Read) -> Result<Inspection, FileError> {
    let mut lead = [0; LEAD_BYTES];
    let read = read_full(reader, &mut lead).map_err(OpenError::Read)?;
    if matches!(Lead::read(&lead[..read]), Err(FileError::BareObject)) {
        let mut prefix = [0; PREFIX_BYTES];
        prefix[..read].copy_from_slice(&lead[..read]);
        let more = read_full(reader, &mut prefix[read..]).map_err(OpenError::Read)?;
        let prefix = Prefix::read(&prefix[..read + more])?;
        return Ok(Inspection { recipients: None, header_bytes: 0, prefix });
    }
    let header = Header::read_after(&lead[..read], reader)?;
    Ok(Inspection {
        recipients: Some(header.recipients()),
        header_bytes: header.bytes.len() as u64,
        prefix: header.prefix,
    })
}

/// What came of sealing a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedFile {
    /// The id its object was given.
    pub id: ObjectId,
    /// What binds the body to its key.
    pub commitment: Commitment,
    /// Length before sealing.
    pub plain_bytes: u64,
    /// Length of header and object.
    pub sealed_bytes: u64,
}

/// Seals a stream to one or more recipients, calling `progress` with the plaintext bytes done so far.
///
/// # Errors
/// No recipient or too many, no randomness, or reading or writing fails.
pub fn seal_file(
    reader: &mut impl Read,
    mut writer: impl Write,
    to: &[RecipientKey],
    progress: &mut dyn FnMut(u64),
) -> Result<SealedFile, SealError> {
    let Beginning { header, prefix, body, id } = Beginning::new(to)?;
    writer.write_all(&header).map_err(SealError::Write)?;
    let mut sealer = Sealer::begin(&prefix, body, writer)?;
    let plain_bytes = sealer.read_from(reader, progress)?;
    let (_, commitment) = sealer.finish()?;
    let sealed_bytes = header.len() as u64 + crate::sealed_bytes(plain_bytes);
    Ok(SealedFile { id, commitment, plain_bytes, sealed_bytes })
}

/// Opens a sealed stream, calling `progress` with the plaintext bytes done so far; gives the plaintext's length.
///
/// What reaches `writer` has been verified segment by segment. On an error it is a beginning of what was sealed, and the
/// caller must not take it for the whole.
///
/// # Errors
/// The header is not valid, was altered or is for somebody else; the object behind it does not open; or reading or writing
/// fails.
pub fn open_file(
    reader: &mut impl Read,
    writer: &mut impl Write,
    with: &RecipientSecret,
    progress: &mut dyn FnMut(u64),
) -> Result<u64, FileError> {
    let header = Header::read(reader)?;
    let body = header.open(with)?;
    Ok(Opener::begin(body, header.prefix.id(), reader).write_to(writer, progress)?)
}

/// As [`seal_file`], by several cores, for a source whose length is known.
///
/// # Errors
/// As [`seal_file`]; also when the source has another length than `plain_len`.
#[cfg(not(target_arch = "wasm32"))]
pub fn seal_file_parallel(
    source: (&impl ReadAt, u64),
    sink: &impl WriteAt,
    to: &[RecipientKey],
    workers: Workers<'_>,
) -> Result<SealedFile, SealError> {
    let Beginning { header, prefix, body, id } = Beginning::new(to)?;
    let offset = header.len() as u64;
    sink.write_all_at(&[header.as_slice(), &prefix].concat(), 0).map_err(SealError::Write)?;
    parallel::seal_segments(&body, source, (sink, offset), workers)?;
    let commitment = Commitment::from_bytes(*body.commitment());
    let (plain_bytes, sealed_bytes) = (source.1, offset + crate::sealed_bytes(source.1));
    Ok(SealedFile { id, commitment, plain_bytes, sealed_bytes })
}

/// As [`open_file`], by several cores, for a file whose length is known; the plaintext is written from 0 on.
///
/// The caller keeps what was written to itself until this returns.
///
/// # Errors
/// As [`open_file`].
#[cfg(not(target_arch = "wasm32"))]
pub fn open_file_parallel(
    (source, total_bytes): (&impl ReadAt, u64),
    sink: &impl WriteAt,
    with: &RecipientSecret,
    workers: Workers<'_>,
) -> Result<u64, FileError> {
    let header = Header::read(&mut Cursor { source, offset: 0 })?;
    let body = header.open(with)?;
    let offset = header.bytes.len() as u64;
    let sealed_len = total_bytes.saturating_sub(offset);
    Ok(parallel::open_segments(&body, (source, offset, sealed_len), sink, workers)?)
}

/// A sealed file of which single segments are opened, in any order: the object behind the header, at its place in the file.
#[derive(Debug)]
pub struct FileOpener {
    object: ObjectOpener,
    header_bytes: u64,
}

impl FileOpener {
    /// Reads the header off the beginning of a file of `total_bytes` and proves it with the key that it is for.
    ///
    /// # Errors
    /// As [`open_file`], before the first segment.
    pub fn new(
        reader: &mut impl Read,
        total_bytes: u64,
        with: &RecipientSecret,
    ) -> Result<Self, FileError> {
        let header = Header::read(reader)?;
        let header_bytes = header.bytes.len() as u64;
        let sealed_bytes = total_bytes.saturating_sub(header_bytes);
        let object = ObjectOpener::of_body(header.open(with)?, header.prefix.id(), sealed_bytes)?;
        Ok(Self { object, header_bytes })
    }

    /// The object, which numbers and opens segments. What it says about lengths holds as [`ObjectOpener`] says.
    pub const fn object(&self) -> &ObjectOpener {
        &self.object
    }

    /// Where sealed segment `index` lies in the file.
    pub fn segment_range(&self, index: u64) -> std::ops::Range<u64> {
        let range = self.object.segment_range(index);
        range.start + self.header_bytes..range.end + self.header_bytes
    }
}

/// Reads a source in order.
#[cfg(not(target_arch = "wasm32"))]
struct Cursor<'a, S> {
    source: &'a S,
    offset: u64,
}

#[cfg(not(target_arch = "wasm32"))]
impl<S: ReadAt> Read for Cursor<'_, S> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let read = self.source.read_at(out, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

/// All that is written before segment 0, and the keys of the body.
struct Beginning {
    header: Vec<u8>,
    prefix: [u8; PREFIX_BYTES],
    body: Body,
    id: ObjectId,
}

impl Beginning {
    fn new(to: &[RecipientKey]) -> Result<Self, SealError> {
        if to.is_empty() || to.len() > MAX_RECIPIENTS {
            return Err(SealError::Recipients { found: to.len(), most: MAX_RECIPIENTS });
        }
        let key = DataKey::generate()?;
        let id = ObjectId::generate()?;
        let (prefix, body) = Prefix::create(&key, id)?;
        let info = info(id, Commitment::from_bytes(*body.commitment()));
        let wrapped = to
            .iter()
            .map(|recipient| recipient::wrap_data_key_to(recipient, &info, &key))
            .collect::<Result<Vec<_>, WrapError>>()
            .map_err(|error| match error {
                WrapError::Random(error) => SealError::Random(error),
                other => unreachable!(
                    "wrapping to a parsed key fails only for want of randomness: {other}"
                ),
            })?;
        Ok(Self { header: header_bytes(&wrapped, &key, &prefix), prefix, body, id })
    }
}

/// The bytes in front of the object, MAC included (section 3).
fn header_bytes(wrapped: &[Vec<u8>], key: &DataKey, prefix: &[u8; PREFIX_BYTES]) -> Vec<u8> {
    let count = u16::try_from(wrapped.len()).expect("the count fits because it is at most 256");
    let length = COUNT_BYTES + wrapped.len() * WRAPPED_BYTES + MAC_BYTES;
    let mut header = Vec::with_capacity(LEAD_BYTES + length);
    let length = u32::try_from(length).expect("the length fits because it is below 300,000");
    header.extend_from_slice(MAGIC);
    header.push(VERSION);
    header.extend_from_slice(&length.to_be_bytes());
    header.extend_from_slice(&count.to_be_bytes());
    header.extend_from_slice(&[0, 0]);
    wrapped.iter().for_each(|wrapped| header.extend_from_slice(wrapped));
    let mac = header_mac(key, &header, prefix);
    header.extend_from_slice(&mac);
    header
}

/// HMAC-SHA-256 over header and prefix, under HKDF-Expand-SHA-512(data key, label ‖ 0), 32 bytes (section 5).
fn header_mac(key: &DataKey, header: &[u8], prefix: &[u8; PREFIX_BYTES]) -> [u8; MAC_BYTES] {
    let mut mac_key = [0; 32];
    hkdf_expand_sha512(key.expose(), &[MAC_LABEL], &mut mac_key);
    let mac = hmac_sha256(&mac_key, &[header, prefix]);
    mac_key.zeroize();
    mac
}

/// What a wrapped key is bound to: label ‖ 0 ‖ object id ‖ commitment (section 4).
fn info(id: ObjectId, commitment: Commitment) -> Vec<u8> {
    [INFO_LABEL, id.as_bytes(), commitment.as_bytes()].concat()
}

/// The first 12 bytes: which format, and how long the header is.
struct Lead {
    header_bytes: usize,
    recipients: usize,
}

impl Lead {
    fn read(bytes: &[u8]) -> Result<Self, FileError> {
        if !bytes.starts_with(MAGIC) {
            return Err(if bytes.starts_with(b"CHORION") {
                FileError::BareObject
            } else if !bytes.is_empty() && MAGIC.starts_with(bytes) {
                FileError::CutShort
            } else {
                FileError::NotAFile
            });
        }
        let Some(bytes) = bytes.first_chunk::<LEAD_BYTES>() else {
            return Err(FileError::CutShort);
        };
        if bytes[7] != VERSION {
            return Err(FileError::UnknownVersion { found: bytes[7] });
        }
        let length = u32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) as usize;
        let keys = length.checked_sub(COUNT_BYTES + MAC_BYTES);
        let recipients = match keys {
            Some(keys) if keys % WRAPPED_BYTES == 0 => keys / WRAPPED_BYTES,
            _ => {
                return Err(FileError::BadHeader {
                    what: "its length holds no whole number of wrapped keys",
                });
            }
        };
        if recipients == 0 || recipients > MAX_RECIPIENTS {
            return Err(FileError::BadHeader { what: "it has to hold 1 to 256 wrapped keys" });
        }
        Ok(Self { header_bytes: LEAD_BYTES + length, recipients })
    }
}

/// A header and the prefix after it, read but not yet proved.
pub(crate) struct Header {
    bytes: Vec<u8>,
    prefix_bytes: [u8; PREFIX_BYTES],
    prefix: Prefix,
}

impl Header {
    pub(crate) fn read(reader: &mut impl Read) -> Result<Self, FileError> {
        let mut lead = [0; LEAD_BYTES];
        let read = read_full(reader, &mut lead).map_err(OpenError::Read)?;
        Self::read_after(&lead[..read], reader)
    }

    fn read_after(lead: &[u8], reader: &mut impl Read) -> Result<Self, FileError> {
        let Lead { header_bytes, recipients } = Lead::read(lead)?;
        let mut bytes = vec![0; header_bytes];
        bytes[..LEAD_BYTES].copy_from_slice(lead);
        let read = read_full(reader, &mut bytes[LEAD_BYTES..]).map_err(OpenError::Read)?;
        if LEAD_BYTES + read < header_bytes {
            return Err(FileError::CutShort);
        }
        if usize::from(u16::from_be_bytes([bytes[12], bytes[13]])) != recipients {
            return Err(FileError::BadHeader {
                what: "its length and its count of wrapped keys differ",
            });
        }
        if bytes[14..16] != [0, 0] {
            return Err(FileError::BadHeader {
                what: "a byte is set that the format keeps at zero",
            });
        }
        let mut prefix_bytes = [0; PREFIX_BYTES];
        let read = read_full(reader, &mut prefix_bytes).map_err(OpenError::Read)?;
        if read < PREFIX_BYTES {
            return Err(FileError::CutShort);
        }
        let prefix = Prefix::read(&prefix_bytes)?;
        Ok(Self { bytes, prefix_bytes, prefix })
    }

    fn recipients(&self) -> usize {
        self.wrapped().len()
    }

    fn wrapped(&self) -> std::slice::ChunksExact<'_, u8> {
        self.bytes[LEAD_BYTES + COUNT_BYTES..self.bytes.len() - MAC_BYTES]
            .chunks_exact(WRAPPED_BYTES)
    }

    /// Finds the wrapped key that is for `with`, and proves header and commitment with it.
    pub(crate) fn open(&self, with: &RecipientSecret) -> Result<Body, FileError> {
        let info = info(self.prefix.id(), self.prefix.commitment());
        let key = self
            .wrapped()
            .find_map(|wrapped| recipient::unwrap_data_key(with, &info, wrapped).ok())
            .ok_or_else(|| FileError::NotForThisKey { recipients: self.recipients() })?;
        let (covered, mac) = self.bytes.split_at(self.bytes.len() - MAC_BYTES);
        let expected = header_mac(&key, covered, &self.prefix_bytes);
        if !mac.try_into().is_ok_and(|mac| same(mac, &expected)) {
            return Err(FileError::HeaderAltered);
        }
        Ok(self.prefix.body(&key)?)
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Header").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
