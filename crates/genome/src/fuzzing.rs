//! What a fuzzer feeds: any bytes as any format, and the same bytes in other pieces.
//!
//! `fuzz/` calls it under libFuzzer; `cargo test` runs it over generated files and seeded changes of them.

use std::io::Read;

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
