//! What a fuzzer feeds: any bytes as any format, and the same bytes in other pieces.
//!
//! `fuzz/` calls it under libFuzzer; `cargo test` runs it over generated files and seeded changes of them.

use std::io::{Cursor, Read};

use api::Query;
use api::query::{Place, QcQuery, Region, RegionQuery, RsidQuery, VariantQuery};

use crate::query::{Files, Opened, answer};
use crate::{Format, HEAD_BYTES, Mates, Packing, check, recognise};

const FORMATS: [Format; 10] = [
    Format::Fastq(Packing::Plain),
    Format::Fastq(Packing::Gzip),
    Format::Fastq(Packing::Bgzf),
    Format::Bam,
    Format::Cram,
    Format::Vcf(Packing::Plain),
    Format::Vcf(Packing::Gzip),
    Format::Vcf(Packing::Bgzf),
    Format::Bcf,
    Format::Index,
];

/// Gives so many bytes at a time.
struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = self.1.min(buffer.len());
        self.0.read(&mut buffer[..most])
    }
}

/// The first byte chooses the format and the size of pieces. Nothing panics, and what is found hangs on the bytes alone.
///
/// Only which of two faults comes first may differ: a stream that does not inflate may give its beginning or not.
pub fn file(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else { return };
    let format = FORMATS[usize::from(*choice) % FORMATS.len()];
    let piece = 1 + usize::from(*choice) / FORMATS.len();
    let _what_it_is = recognise("a.bam", &data[..data.len().min(HEAD_BYTES)]);
    let find = |from: &mut dyn Read| {
        let (mates, mut sides) = Mates::new(1);
        check(from, format, sides.first_mut()).ok().map(|found| (found, mates.counts()))
    };
    let whole = find(&mut &*data);
    let pieces = find(&mut Pieces(data, piece));
    assert_eq!(
        whole, pieces,
        "the same bytes in pieces of {piece} were found to be something else"
    );
}

/// Two files in memory: what is asked, and its index.
struct Two<'a> {
    name: &'static str,
    file: &'a [u8],
    index: &'a [u8],
}

impl Files for Two<'_> {
    fn open(&self, name: &str) -> std::io::Result<Option<Box<dyn Opened>>> {
        let bytes = match name.strip_prefix(self.name) {
            Some("") => self.file,
            Some(".bai" | ".tbi" | ".csi" | ".crai") if !self.index.is_empty() => self.index,
            _ => return Ok(None),
        };
        Ok(Some(Box::new(Cursor::new(bytes.to_vec()))))
    }
}

/// The first byte chooses the format, the two after it how many of the rest are the index. Nothing panics, whatever is asked.
pub fn query(data: &[u8]) {
    let [choice, low, high, rest @ ..] = data else { return };
    let index_bytes = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
    let (index, file) = rest.split_at(index_bytes);
    let names = ["a.bam", "a.vcf", "a.vcf.gz", "a.bcf", "a.txt"];
    let name = names[usize::from(*choice) % names.len()];
    let files = Two { name, file, index };
    let start = 1 + u64::from(*choice) * 100;
    let variant = Place {
        contig: "1".to_owned(),
        position: start,
        reference: "A".to_owned(),
        allele: "G".to_owned(),
    };
    let (file, samples) = (name.to_owned(), Vec::new());
    let region = Region { contig: "1".to_owned(), start, end: start + 10_000 };
    let asked = [
        Query::Region(RegionQuery { file: file.clone(), reference: None, region }),
        Query::Variant(VariantQuery { file: file.clone(), samples: samples.clone(), variant }),
        Query::Rsid(RsidQuery {
            file: file.clone(),
            samples: samples.clone(),
            rsid: "rs1".to_owned(),
        }),
        Query::Qc(QcQuery { file, samples }),
    ];
    for query in &asked {
        drop(answer(query, None, &files, &mut std::io::sink()));
    }
    if let Ok(text) = std::str::from_utf8(rest) {
        drop(crate::Scoring::parse(text));
    }
}
