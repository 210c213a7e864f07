//! What a file is: by its first bytes, and by the ending that other programs will know it by.

use std::fmt;
use std::io::{self, Read};

use crate::bgzf::block_bytes;
use crate::{Fault, Found, buffered};

/// So many first bytes are enough to say what a file is.
pub const HEAD_BYTES: usize = 64 * 1024;

/// How text is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// gzip, of one member or several.
    Gzip,
    /// gzip in blocks.
    Bgzf,
}

/// A format that is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Reads.
    Fastq(Packing),
    /// Aligned reads.
    Bam,
    /// Aligned reads, by reference.
    Cram,
    /// Variants.
    Vcf(Packing),
    /// Variants, binary.
    Bcf,
    /// A text of genotypes, as 23andMe gives them.
    Genotypes(Packing),
    /// An index of a file beside it: BAI, CSI, TBI, CRAI or GZI.
    Index,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fastq(Packing::Plain) => "FASTQ",
            Self::Fastq(Packing::Gzip) => "FASTQ in gzip",
            Self::Fastq(Packing::Bgzf) => "FASTQ in BGZF",
            Self::Bam => "BAM",
            Self::Cram => "CRAM",
            Self::Vcf(Packing::Plain) => "VCF",
            Self::Vcf(Packing::Gzip) => "VCF in gzip",
            Self::Vcf(Packing::Bgzf) => "VCF in BGZF",
            Self::Bcf => "BCF",
            Self::Genotypes(Packing::Plain) => "a text of genotypes",
            Self::Genotypes(_) => "a text of genotypes in gzip",
            Self::Index => "an index",
        })
    }
}

impl Format {
    /// The endings of file names by which programs know the format.
    pub const fn endings(self) -> &'static [&'static str] {
        match self {
            Self::Fastq(Packing::Plain) => &[".fastq", ".fq"],
            Self::Fastq(_) => &[".fastq.gz", ".fq.gz"],
            Self::Bam => &[".bam"],
            Self::Cram => &[".cram"],
            Self::Vcf(Packing::Plain) => &[".vcf"],
            Self::Vcf(_) => &[".vcf.gz"],
            Self::Bcf => &[".bcf"],
            Self::Genotypes(Packing::Plain) => &[".txt", ".23andme"],
            Self::Genotypes(_) => &[".txt.gz", ".23andme.gz"],
            Self::Index => INDEXES,
        }
    }
}

const INDEXES: &[&str] = &[".bai", ".csi", ".tbi", ".crai", ".gzi"];

/// Why a file is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// It is empty.
    #[error("it is empty")]
    Empty,
    /// SAM or BCF without compression.
    #[error("it holds {what}, which is not compressed")]
    Loose {
        /// The format.
        what: &'static str,
        /// What makes of it something that is taken.
        instead: &'static str,
    },
    /// None of the formats.
    #[error("it is none of FASTQ, BAM, CRAM, VCF, BCF and a 23andMe text")]
    Other,
    /// Its name says something else than its bytes.
    #[error("it holds {format}, and its name does not end in {}", .format.endings().join(" or "))]
    Name {
        /// What it holds.
        format: Format,
    },
}

/// Says what the file called `name` is, from its first [`HEAD_BYTES`] bytes, or all of a shorter one.
///
/// # Errors
/// It is nothing that is taken, or its name would mislead the programs that go by names.
pub fn recognise(name: &str, head: &[u8]) -> Result<Format, Unknown> {
    if head.is_empty() {
        return Err(Unknown::Empty);
    }
    if INDEXES.iter().any(|ending| name.ends_with(ending)) {
        return Ok(Format::Index);
    }
    let packing = match head {
        [0x1f, 0x8b, 8, flags, ..] if flags & 4 != 0 && is_block(head) => Packing::Bgzf,
        [0x1f, 0x8b, ..] => Packing::Gzip,
        _ => Packing::Plain,
    };
    let mut inside = [0; 16];
    let text = match packing {
        Packing::Plain => &head[..head.len().min(16)],
        _ => {
            let read = first(&mut flate2::bufread::MultiGzDecoder::new(head), &mut inside);
            &inside[..read]
        }
    };
    let format = match (text, packing) {
        ([b'C', b'R', b'A', b'M', ..], Packing::Plain) => Format::Cram,
        ([b'B', b'A', b'M', 1, ..], Packing::Bgzf) => Format::Bam,
        ([b'B', b'C', b'F', 2, ..], Packing::Bgzf) => Format::Bcf,
        ([b'B', b'A', b'M', 1, ..], _) => {
            return Err(Unknown::Loose { what: "BAM", instead: "samtools view -b" });
        }
        ([b'B', b'C', b'F', 2, ..], _) => {
            return Err(Unknown::Loose { what: "BCF", instead: "bcftools view -Ob" });
        }
        (text, _) if text.starts_with(b"##fileformat=VC") => Format::Vcf(packing),
        ([b'@', a, b, b'\t', ..], _)
            if [b"HD", b"SQ", b"RG", b"PG", b"CO"].contains(&&[*a, *b]) =>
        {
            return Err(Unknown::Loose { what: "SAM", instead: "samtools view -b" });
        }
        ([b'@', ..], _) => Format::Fastq(packing),
        ([b'#' | b'r', ..], _) if is_consumer(packing, head) => Format::Genotypes(packing),
        _ => return Err(Unknown::Other),
    };
    if format.endings().iter().any(|ending| name.ends_with(ending)) {
        Ok(format)
    } else {
        Err(Unknown::Name { format })
    }
}

fn is_consumer(packing: Packing, head: &[u8]) -> bool {
    if packing == Packing::Plain {
        return crate::consumer::begins(head);
    }
    let mut inside = vec![0; HEAD_BYTES];
    let read = first(&mut flate2::bufread::MultiGzDecoder::new(head), &mut inside);
    crate::consumer::begins(&inside[..read])
}

fn is_block(head: &[u8]) -> bool {
    let extra = head.get(10..12).map(|b| usize::from(u16::from_le_bytes([b[0], b[1]])));
    extra.and_then(|bytes| head.get(12..12 + bytes)).and_then(block_bytes).is_some()
}

/// As many bytes as come, up to a full buffer.
pub(crate) fn first(from: &mut impl Read, buffer: &mut [u8]) -> usize {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) | Err(_) => break,
            Ok(read) => filled += read,
        }
    }
    filled
}

/// An index is made anew in a minute: that it comes out of its compression is enough.
pub(crate) fn check_index(from: impl Read) -> Result<Found, Fault> {
    let mut from = from;
    let broken = |error| Fault::at(1, error);
    // A pipe may give its first byte alone.
    let mut head = [0; 2];
    let read = first(&mut from, &mut head);
    let from = buffered((&head[..read]).chain(from));
    let all = if head == [0x1f, 0x8b] {
        io::copy(&mut flate2::bufread::MultiGzDecoder::new(from), &mut io::sink())
    } else {
        io::copy(&mut { from }, &mut io::sink())
    };
    all.map_err(broken)?;
    Ok(Found::default())
}
