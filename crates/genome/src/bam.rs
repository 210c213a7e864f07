//! BAM (SAM specification, section 4.2): a header, reference names, and records that say their own length.

use std::io::Read;

use crate::{Fault, Found, announced, next, skip};

/// The longest header text that is taken.
const MOST_TEXT_BYTES: u64 = 256 * 1024 * 1024;
/// What every record has.
const FIXED_BYTES: usize = 32;
/// Secondary or supplementary: the same read, told once more.
const TOLD_AGAIN: u16 = 0x100 | 0x800;

const HEADER: &str = "its lengths do not fit";
pub(crate) const SHORT: &str = "it is shorter than what it says it holds";
pub(crate) const NOWHERE: &str = "it lies on a reference that the header does not name";

/// The samples of the header, and how many references it names.
pub(crate) fn header(from: &mut impl Read) -> Result<(Vec<String>, u64), Fault> {
    let broken = |error| Fault::at(1, error);
    let mut magic = [0; 4];
    from.read_exact(&mut magic).map_err(broken)?;
    if magic != *b"BAM\x01" {
        return Err(Fault::Header("it does not begin as BAM does"));
    }
    let text_bytes = length(from)?;
    if text_bytes > MOST_TEXT_BYTES {
        return Err(Fault::Header(HEADER));
    }
    let samples = samples_of(&announced(from, text_bytes).map_err(broken)?);
    let references = length(from)?;
    for _ in 0..references {
        let name_bytes = length(from)?;
        skip(from, name_bytes.saturating_add(4)).map_err(broken)?;
    }
    Ok((samples, references))
}

pub(crate) fn check(from: &mut impl Read) -> Result<Found, Fault> {
    let (samples, references) = header(from)?;
    let mut found = Found { samples, reads: Some(0), ..Found::default() };
    let mut size = [0; 4];
    loop {
        let record = found.records + 1;
        let stopped = |error| Fault::at(record, error);
        if !next(from, &mut size).map_err(stopped)? {
            return Ok(found);
        }
        let bytes = u64::from(u32::from_le_bytes(size));
        let mut fixed = [0; FIXED_BYTES];
        let Some(rest) = bytes.checked_sub(FIXED_BYTES as u64) else {
            return Err(Fault::Record { record, why: SHORT });
        };
        from.read_exact(&mut fixed).map_err(stopped)?;
        let word = |at: usize| {
            u32::from_le_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]])
        };
        let half = |at: usize| u16::from_le_bytes([fixed[at], fixed[at + 1]]);
        let (name, cigar, bases) = (u64::from(fixed[8]), u64::from(half(12)), u64::from(word(16)));
        let least = name + 4 * cigar + bases.div_ceil(2) + bases;
        if name == 0 || least > rest {
            return Err(Fault::Record { record, why: SHORT });
        }
        if word(0) != u32::MAX && u64::from(word(0)) >= references {
            return Err(Fault::Record { record, why: NOWHERE });
        }
        skip(from, rest).map_err(stopped)?;
        found.records = record;
        if half(14) & TOLD_AGAIN == 0 {
            found.reads = found.reads.map(|reads| reads + 1);
        }
    }
}

/// A length in the header, which is never negative.
fn length(from: &mut impl Read) -> Result<u64, Fault> {
    let mut bytes = [0; 4];
    from.read_exact(&mut bytes).map_err(|error| Fault::at(1, error))?;
    u64::try_from(i32::from_le_bytes(bytes)).map_err(|_| Fault::Header(HEADER))
}

/// The samples of the read groups in a SAM header.
pub(crate) fn samples_of(text: &[u8]) -> Vec<String> {
    let mut samples: Vec<String> = Vec::new();
    for line in text.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"@RG\t")) {
        for field in line.split(|byte| *byte == b'\t') {
            if let Some(sample) = field.strip_prefix(b"SM:") {
                let sample = String::from_utf8_lossy(sample.trim_ascii_end()).into_owned();
                if !sample.is_empty() && !samples.contains(&sample) {
                    samples.push(sample);
                }
            }
        }
    }
    samples
}
