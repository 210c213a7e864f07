//! CRAM 3 (hts-specs `CRAMv3`): containers of blocks, each with a checksum, and a container that marks the end.

use std::io::{self, BufRead, Read};

use crate::bam::samples_of;
use crate::{Fault, Found, announced, next};

/// The longest header text that is taken, compressed or not.
const MOST_TEXT_BYTES: u64 = 256 * 1024 * 1024;
/// How many slices a container may have.
const MOST_LANDMARKS: u32 = 1 << 20;
/// `EOF` as the alignment start of a container that holds nothing.
const END_START: i32 = 0x0045_4f46;

const VERSION: &str = "it is not of version 3";
const TEXT: &str = "its text cannot be read";

/// The samples of the header.
pub(crate) fn header(from: &mut impl Read) -> Result<Vec<String>, Fault> {
    let broken = |error| Fault::at(1, error);
    let mut definition = [0; 26];
    from.read_exact(&mut definition).map_err(broken)?;
    if definition[..4] != *b"CRAM" {
        return Err(Fault::Header("it does not begin as CRAM does"));
    }
    if definition[4] != 3 {
        return Err(Fault::Header(VERSION));
    }
    let Some(header) = container(from).map_err(broken)? else {
        return Err(Fault::Cut { record: 1 });
    };
    let mut inside = from.take(header.bytes);
    let samples = header_samples(&mut inside)?;
    for _ in 1..header.blocks {
        block(&mut inside).map_err(broken)?;
    }
    // What is left is room for the header to grow.
    let left = inside.limit();
    crate::skip(&mut inside, left).map_err(broken)?;
    Ok(samples)
}

pub(crate) fn check(mut from: impl BufRead) -> Result<Found, Fault> {
    let from = &mut from;
    let samples = header(from)?;
    let mut records = 0;
    loop {
        let stopped = |error| Fault::at(records + 1, error);
        let Some(container) = container(from).map_err(stopped)? else {
            return Err(Fault::NoEndMark { records });
        };
        let mut inside = from.take(container.bytes);
        for _ in 0..container.blocks {
            block(&mut inside).map_err(stopped)?;
        }
        if inside.limit() > 0 {
            return Err(stopped(damaged("a container holds more than its blocks")));
        }
        if container.start == END_START && container.records == 0 {
            break;
        }
        records += u64::from(container.records);
    }
    let after = from.fill_buf().map_err(|error| Fault::at(records, error))?;
    if !after.is_empty() {
        let why = "something follows the mark of its end".to_owned();
        return Err(Fault::Damaged { record: records, why });
    }
    Ok(Found { records, reads: Some(records), samples, end_mark: Some(true) })
}

struct Container {
    bytes: u64,
    start: i32,
    records: u32,
    blocks: u32,
}

/// Reads and, as it goes, sums up what a checksum is over.
struct Summed<'a, R> {
    from: &'a mut R,
    sum: crc32fast::Hasher,
}

impl<R: Read> Read for Summed<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.sum.update(&buffer[..read]);
        Ok(read)
    }
}

impl<R: Read> Summed<'_, R> {
    /// Compares with the checksum that follows.
    fn ends(self, what: &'static str) -> io::Result<()> {
        let mut kept = [0; 4];
        self.from.read_exact(&mut kept)?;
        if u32::from_le_bytes(kept) == self.sum.finalize() { Ok(()) } else { Err(damaged(what)) }
    }
}

/// The header of the next container, or nothing where the file ends.
fn container(from: &mut impl Read) -> io::Result<Option<Container>> {
    let mut summed = Summed { from, sum: crc32fast::Hasher::new() };
    let mut length = [0; 4];
    if !next(&mut summed, &mut length)? {
        return Ok(None);
    }
    let bytes = u64::try_from(i32::from_le_bytes(length))
        .map_err(|_| damaged("a container has a negative length"))?;
    let _reference = itf8(&mut summed)?;
    let start = itf8(&mut summed)?;
    let _span = itf8(&mut summed)?;
    let records = itf8(&mut summed)?.cast_unsigned();
    skip_ltf8(&mut summed)?;
    skip_ltf8(&mut summed)?;
    let blocks = itf8(&mut summed)?.cast_unsigned();
    let landmarks = itf8(&mut summed)?.cast_unsigned();
    if landmarks > MOST_LANDMARKS {
        return Err(damaged("a container names more slices than there can be"));
    }
    for _ in 0..landmarks {
        itf8(&mut summed)?;
    }
    summed.ends("the checksum of a container is wrong")?;
    Ok(Some(Container { bytes, start, records, blocks }))
}

/// Reads over a block and compares its checksum.
fn block(from: &mut impl Read) -> io::Result<()> {
    let mut summed = Summed { from, sum: crc32fast::Hasher::new() };
    let head = block_head(&mut summed)?;
    crate::skip(&mut summed, head.packed)?;
    summed.ends("the checksum of a block is wrong")
}

struct BlockHead {
    method: u8,
    packed: u64,
    plain: u64,
}

fn block_head(from: &mut impl Read) -> io::Result<BlockHead> {
    let mut kind = [0; 2];
    from.read_exact(&mut kind)?;
    let _content = itf8(from)?;
    let packed = u64::from(itf8(from)?.cast_unsigned());
    let plain = u64::from(itf8(from)?.cast_unsigned());
    Ok(BlockHead { method: kind[0], packed, plain })
}

/// The samples in the SAM header, which is the first block of the first container.
fn header_samples(from: &mut impl Read) -> Result<Vec<String>, Fault> {
    let broken = |error| Fault::at(1, error);
    let mut summed = Summed { from, sum: crc32fast::Hasher::new() };
    let head = block_head(&mut summed).map_err(broken)?;
    if head.packed > MOST_TEXT_BYTES || head.plain > MOST_TEXT_BYTES {
        return Err(Fault::Header("it is longer than 256 MiB"));
    }
    let packed = announced(&mut summed, head.packed).map_err(broken)?;
    summed.ends("the checksum of its header is wrong").map_err(broken)?;
    let text = match head.method {
        0 => packed,
        1 => announced(&mut flate2::bufread::GzDecoder::new(packed.as_slice()), head.plain)
            .map_err(|_| Fault::Header(TEXT))?,
        _ => return Err(Fault::Header("it is compressed in a way that is not read here")),
    };
    let text = text.split_at_checked(4).ok_or(Fault::Header(TEXT))?.1;
    Ok(samples_of(text))
}

/// A number of one to five bytes, the first of which says how many.
fn itf8(from: &mut impl Read) -> io::Result<i32> {
    let first = byte(from)?;
    let more = first.leading_ones().min(4);
    let mut value = match more {
        0 => return Ok(i32::from(first)),
        more => u32::from(first) & (0x7f >> more),
    };
    for at in 1..=more {
        let byte = u32::from(byte(from)?);
        // Of a fifth byte four bits count.
        value = if at == 4 { value << 4 | (byte & 0x0f) } else { value << 8 | byte };
    }
    Ok(value.cast_signed())
}

fn skip_ltf8(from: &mut impl Read) -> io::Result<()> {
    let more = byte(from)?.leading_ones();
    crate::skip(from, u64::from(more))
}

fn byte(from: &mut impl Read) -> io::Result<u8> {
    let mut byte = [0];
    from.read_exact(&mut byte)?;
    Ok(byte[0])
}

fn damaged(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
