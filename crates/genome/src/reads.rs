//! Reads of a region, from BAM and CRAM to BAM.
//!
//! Records of a BAM are never decoded: what overlaps is known from the fixed part and the CIGAR, and the bytes are written as they
//! were read. Which records overlap is htslib's rule (`bam_endpos`): a read lies from its position over the reference bases that its
//! CIGAR takes, and one that is not mapped, or takes none, lies on one base.

use std::io::{Read, Seek, Write};

use api::query::Region;

use crate::bam::{NOWHERE, SHORT};
use crate::bgzf::{BlockWriter, Blocks};
use crate::index::Index;
use crate::query::{Found, QueryError, contig_of};
use crate::walk::Walk;
use crate::{Fault, next};

/// The longest record that is taken.
const MOST_RECORD_BYTES: usize = 256 * 1024 * 1024;
/// The longest header text, and all names of references together.
const MOST_HEADER_BYTES: u64 = 256 * 1024 * 1024;
/// What every record has, without its length.
const FIXED_BYTES: usize = 32;
const UNMAPPED: u16 = 4;

/// A header as it stands in the file, and the names in it.
pub(crate) struct Header {
    /// Everything up to the first record.
    pub(crate) bytes: Vec<u8>,
    /// The references by number.
    pub(crate) references: Vec<String>,
}

/// Reads the header of a BAM whole.
pub(crate) fn header<R: Read>(from: &mut Blocks<R>) -> Result<Header, Fault> {
    let broken = |error| Fault::at(1, error);
    let mut bytes = vec![0; 8];
    from.read_exact(&mut bytes).map_err(broken)?;
    if bytes[..4] != *b"BAM\x01" {
        return Err(Fault::Header("it does not begin as BAM does"));
    }
    let text_bytes = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
    more(from, &mut bytes, u64::from(text_bytes))?;
    let count = number(from, &mut bytes)?;
    let mut references = Vec::new();
    for _ in 0..count {
        let name_bytes = number(from, &mut bytes)?;
        let at = bytes.len();
        more(from, &mut bytes, u64::from(name_bytes))?;
        let name = bytes[at..].split(|byte| *byte == 0).next().unwrap_or_default();
        references.push(String::from_utf8_lossy(name).into_owned());
        number(from, &mut bytes)?;
    }
    Ok(Header { bytes, references })
}

/// Takes so many bytes more into `all`.
fn more(from: &mut impl Read, all: &mut Vec<u8>, bytes: u64) -> Result<(), Fault> {
    if all.len() as u64 + bytes > MOST_HEADER_BYTES {
        return Err(Fault::Header("it is longer than 256 MiB"));
    }
    match from.take(bytes).read_to_end(all) {
        Ok(read) if read as u64 == bytes => Ok(()),
        Ok(_) => Err(Fault::Cut { record: 1 }),
        Err(error) => Err(Fault::at(1, error)),
    }
}

fn number(from: &mut impl Read, all: &mut Vec<u8>) -> Result<u32, Fault> {
    let at = all.len();
    more(from, all, 4)?;
    Ok(u32::from_le_bytes([all[at], all[at + 1], all[at + 2], all[at + 3]]))
}

/// Writes the reads of a BAM that overlap `region`, under its header. Without an index the whole file is read.
pub(crate) fn slice_bam<R: Read + Seek>(
    from: R,
    index: Option<&Index>,
    region: &Region,
    to: &mut dyn Write,
) -> Result<Found, QueryError> {
    let mut from = Blocks::new(from);
    let header = header(&mut from)?;
    let contig = contig_of(&header.references, &region.contig)?;
    let mut walk = match index {
        Some(index) => Walk::over(index.chunks(contig, region.start, region.end)),
        None => Walk::whole(),
    };
    let mut out = BlockWriter::new(to);
    out.write_all(&header.bytes).map_err(QueryError::Write)?;
    let (first, last) = (region.start - 1, region.end - 1);
    let (mut seen, mut written) = (0_u64, 0);
    let mut record = Vec::new();
    while walk.next(&mut from).map_err(|error| Fault::at(seen + 1, error))? {
        seen += 1;
        let stopped = |error| Fault::at(seen, error);
        let mut size = [0; 4];
        if !next(&mut from, &mut size).map_err(stopped)? {
            break;
        }
        let bytes = usize::try_from(u32::from_le_bytes(size)).unwrap_or(usize::MAX);
        if !(FIXED_BYTES..=MOST_RECORD_BYTES).contains(&bytes) {
            return Err(Fault::Record { record: seen, why: SHORT }.into());
        }
        // Most records lie whole in the block at hand, and are looked at where they are.
        let here = from.at_hand().map_err(stopped)?;
        if here.len() >= bytes {
            let place = Overlap::of(&here[..bytes], contig, first, last)
                .map_err(|why| Fault::Record { record: seen, why })?;
            if matches!(place, Overlap::Yes) {
                out.record(&[&size, &here[..bytes]]).map_err(QueryError::Write)?;
                written += 1;
            }
            from.past(bytes);
            if matches!(place, Overlap::Past) && index.is_some() {
                break;
            }
            continue;
        }
        record.clear();
        let read = (&mut from).take(bytes as u64).read_to_end(&mut record).map_err(stopped)?;
        if read != bytes {
            return Err(Fault::Cut { record: seen }.into());
        }
        let place = Overlap::of(&record, contig, first, last)
            .map_err(|why| Fault::Record { record: seen, why })?;
        match place {
            Overlap::Yes => {
                out.record(&[&size, &record]).map_err(QueryError::Write)?;
                written += 1;
            }
            Overlap::Past if index.is_some() => break,
            Overlap::Past | Overlap::No => {}
        }
    }
    out.finish().map_err(QueryError::Write)?;
    Ok(Found { records: written, contig: header.references[contig].clone() })
}

/// How a record lies to the region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overlap {
    Yes,
    No,
    /// After it: in a sorted file nothing of the region follows.
    Past,
}

impl Overlap {
    /// Of a record without its length; places count from 0.
    pub(crate) fn of(
        record: &[u8],
        contig: usize,
        first: u64,
        last: u64,
    ) -> Result<Self, &'static str> {
        if record.len() < FIXED_BYTES {
            return Err(SHORT);
        }
        let word = |at: usize| {
            u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]])
        };
        let half = |at: usize| u16::from_le_bytes([record[at], record[at + 1]]);
        let reference = usize::try_from(word(0)).unwrap_or(usize::MAX);
        if reference != contig {
            let past = word(0) == u32::MAX || reference > contig;
            return Ok(if past { Self::Past } else { Self::No });
        }
        let Ok(start) = u64::try_from(word(4).cast_signed()) else { return Err(NOWHERE) };
        if start > last {
            return Ok(Self::Past);
        }
        let mut bases = 0_u64;
        if half(14) & UNMAPPED == 0 {
            let from = FIXED_BYTES + usize::from(record[8]);
            let cigar = record.get(from..from + 4 * usize::from(half(12))).ok_or(SHORT)?;
            for operation in cigar.chunks_exact(4) {
                let operation =
                    u32::from_le_bytes([operation[0], operation[1], operation[2], operation[3]]);
                // M, D, N, = and X take bases of the reference.
                if matches!(operation & 0xf, 0 | 2 | 3 | 7 | 8) {
                    bases += u64::from(operation >> 4);
                }
            }
        }
        let end = start + bases.max(1);
        Ok(if end > first { Self::Yes } else { Self::No })
    }
}
