//! What files of reads and variants say of themselves, checked in one pass over their bytes.
//!
//! A file that was cut off, whose mates do not fit one another, or that holds another person's reads is worth nothing, and is
//! best found before it is sealed and sent. [`recognise`] says from the first bytes what a file is, [`check`] reads it to its end
//! and names the first record that is wrong. Nothing here keeps a file in memory or opens one: readers come in, findings go out.
//!
//! Only framing is read: FASTQ's four lines, the blocks of BGZF (SAM specification, section 4.1), records of BAM and BCF by
//! their lengths, containers and blocks of CRAM 3 with their checksums, columns of VCF. Bases and genotypes are not decoded.
//! That is enough to find what transfers and full disks do to files, and it refuses nothing that other programs read.

mod bam;
mod bcf;
mod bgzf;
mod consumer;
mod cram;
mod cram_reads;
mod fastq;
mod format;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod index;
mod lines;
mod mates;
mod qc;
pub mod query;
mod reads;
mod roles;
mod score;
mod sites;
mod variants;
mod walk;

use std::io::{self, Read};

pub use format::{Format, HEAD_BYTES, Packing, Unknown, recognise};
pub use mates::{Mates, Side};
pub use roles::{Read as ReadNumber, Role, role};
pub use score::Scoring;

/// What a file was found to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Records: reads, alignments or variants.
    pub records: u64,
    /// Reads; for alignments those that are neither secondary nor supplementary. CRAM keeps that inside its codecs, so there
    /// it is every record. Nothing for variants and indexes.
    pub reads: Option<u64>,
    /// The samples that its header names, each once, in order: `SM` of read groups, or columns of variants.
    pub samples: Vec<String>,
    /// Whether it ends with BGZF's mark. Only FASTQ may lack it: the other formats are refused without.
    pub end_mark: Option<bool>,
}

/// Why a file does not count. Sentences go on from the file's name.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The file cannot be read.
    #[error("it cannot be read ({0})")]
    Read(io::Error),
    /// It stops in the middle.
    #[error("it ends in the middle of record {record}: it was cut off")]
    Cut {
        /// Counted from 1.
        record: u64,
    },
    /// What was compressed does not come out.
    #[error("it is damaged at record {record}: {why}")]
    Damaged {
        /// Counted from 1.
        record: u64,
        /// What does not fit.
        why: String,
    },
    /// A record is not as its format has it.
    #[error("record {record} is not right: {why}")]
    Record {
        /// Counted from 1.
        record: u64,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The header is not as its format has it.
    #[error("its header is not right: {0}")]
    Header(&'static str),
    /// The mark that ends the format is not there.
    #[error(
        "the mark of its end is missing after record {records}: it was cut off between two blocks"
    )]
    NoEndMark {
        /// How many records there are.
        records: u64,
    },
    /// It holds nothing.
    #[error("it holds no read")]
    Empty,
    /// A read is not named as its mate is.
    #[error("record {record} has not the name that its mate has in the other file")]
    Mate {
        /// Counted from 1.
        record: u64,
    },
}

impl Fault {
    /// What reading gave, while at `record`.
    fn at(record: u64, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Cut { record },
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                Self::Damaged { record, why: error.to_string() }
            }
            _ => Self::Read(error),
        }
    }
}

/// Reads `from` to its end as `format`.
///
/// `mates` compares the names of reads with those of the files beside it; only FASTQ has them.
///
/// # Errors
/// The first thing that is wrong, with the number of its record.
pub fn check(from: impl Read, format: Format, mates: Option<&mut Side>) -> Result<Found, Fault> {
    match format {
        Format::Fastq(Packing::Plain) => fastq::check(from, mates),
        Format::Fastq(Packing::Gzip) => {
            fastq::check(flate2::bufread::MultiGzDecoder::new(buffered(from)), mates)
        }
        Format::Fastq(Packing::Bgzf) => {
            let mut blocks = bgzf::Blocks::new(from);
            let found = fastq::check(&mut blocks, mates)?;
            Ok(Found { end_mark: Some(blocks.ends_marked()), ..found })
        }
        Format::Bam => marked(from, bam::check),
        Format::Cram => cram::check(buffered(from)),
        Format::Vcf(Packing::Plain) => variants::check_vcf(&mut { from }),
        Format::Vcf(Packing::Gzip) => {
            variants::check_vcf(&mut flate2::bufread::MultiGzDecoder::new(buffered(from)))
        }
        Format::Vcf(Packing::Bgzf) => marked(from, variants::check_vcf),
        Format::Bcf => marked(from, variants::check_bcf),
        Format::Genotypes(Packing::Plain) => consumer::check(from),
        Format::Genotypes(_) => {
            consumer::check(flate2::bufread::MultiGzDecoder::new(buffered(from)))
        }
        Format::Index => format::check_index(from),
    }
}

/// The samples that the header of `from` names; none for reads as they come from an instrument.
///
/// # Errors
/// The header is not as its format has it.
pub fn samples(from: impl Read, format: Format) -> Result<Vec<String>, Fault> {
    let vcf = |from: &mut dyn Read| variants::vcf_header(&mut lines::Lines::new(from));
    match format {
        Format::Fastq(_) | Format::Genotypes(_) | Format::Index => Ok(Vec::new()),
        Format::Bam => bam::header(&mut bgzf::Blocks::new(from)).map(|(samples, _)| samples),
        Format::Bcf => variants::bcf_header(&mut bgzf::Blocks::new(from)),
        Format::Cram => cram::header(&mut buffered(from)),
        Format::Vcf(Packing::Plain) => vcf(&mut { from }).map(|(samples, _)| samples),
        Format::Vcf(_) => vcf(&mut flate2::bufread::MultiGzDecoder::new(buffered(from)))
            .map(|(samples, _)| samples),
    }
}

fn buffered<R: Read>(from: R) -> io::BufReader<R> {
    io::BufReader::with_capacity(256 * 1024, from)
}

/// Checks what lies in BGZF, and that it ends with the mark.
fn marked<R: Read>(
    from: R,
    check: impl FnOnce(&mut bgzf::Blocks<R>) -> Result<Found, Fault>,
) -> Result<Found, Fault> {
    let mut blocks = bgzf::Blocks::new(from);
    let found = check(&mut blocks)?;
    if blocks.ends_marked() {
        Ok(Found { end_mark: Some(true), ..found })
    } else {
        Err(Fault::NoEndMark { records: found.records })
    }
}

/// Reads `bytes` bytes of a header that is as long as it says, without trusting that before they are there.
fn announced(from: &mut impl Read, bytes: u64) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    if from.take(bytes).read_to_end(&mut text)? as u64 == bytes {
        Ok(text)
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// Reads over `bytes` bytes.
fn skip(from: &mut impl Read, bytes: u64) -> io::Result<()> {
    if io::copy(&mut from.take(bytes), &mut io::sink())? == bytes {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// Fills `buffer`, or says that there is nothing more; in between is an early end.
fn next(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) if filled == 0 => return Ok(false),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests;
