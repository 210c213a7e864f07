//! One entry per decoder, for any bytes at all: each returns, quickly and without taking more memory than the bytes deserve.
//!
//! `cargo test` runs them over a small corpus with seeded mutations; a fuzzer can call them as they are.

use std::io;
use std::sync::Arc;

use crate::cbcl::Header;
use crate::inflate::{Reading, Stream, block_places};
use crate::places;
use crate::source::{Entry, Source};
use crate::{PlanOptions, RunInfo, SampleSheet};

/// `RunInfo.xml`.
pub fn run_info(bytes: &[u8]) {
    let _refused_or_read = RunInfo::parse(bytes);
}

/// `SampleSheet.csv`, its settings, its cycle masks and its indexes.
pub fn sheet(bytes: &[u8]) {
    let Ok(sheet) = SampleSheet::parse(bytes) else { return };
    let reads = [(30, false), (8, true), (8, true), (30, false)];
    for run in [sheet.assumed_run(), RunInfo::assumed(reads.into_iter())] {
        let _refused_or_planned = crate::plan(run, &sheet, PlanOptions::default());
    }
}

/// The header of a `.cbcl`.
pub fn cbcl(bytes: &[u8]) {
    let _refused_or_read = Header::parse(bytes, bytes.len() as u64);
}

/// `.filter`, `.locs`, `.clocs` and both kinds of `.bci`.
pub fn places(bytes: &[u8]) {
    if let Some(header) = bytes.first_chunk() {
        let _refused_or_read = places::filter_clusters(*header, bytes.len() as u64);
        let _refused_or_read = places::locs_clusters(*header, bytes.len() as u64);
    }
    if let Some(record) = bytes.first_chunk() {
        let _any_bytes_are_a_position = places::position(*record);
    }
    let _refused_or_read = places::clocs(bytes, None);
    let _refused_or_read = places::lane_bci(bytes);
    let _refused_or_read = places::cycle_bci(bytes, bytes.len() as u64);
}

/// Every file of run metrics: the decoders themselves, and the summary over a file of each name.
pub fn interop(bytes: &[u8]) {
    crate::interop::decode_any(bytes);
    let reads = [(30, false), (8, true), (30, false)];
    let run = RunInfo::assumed(reads.into_iter());
    for name in
        ["TileMetrics", "QMetrics", "ErrorMetrics", "EmpiricalPhasingMetrics", "IndexMetrics"]
    {
        let path = format!("InterOp/{name}Out.bin");
        let _refused_or_read = crate::interop::summarize(&One { path: &path, bytes }, &run);
    }
}

/// The state that work in the making keeps.
pub fn state(bytes: &[u8]) {
    crate::follow::parse_any(bytes);
}

/// A chain of gzip members, of which at most 1 MiB is inflated; the same as blocks that are passed over.
pub fn gzip(bytes: &[u8]) {
    let source = One { path: "f", bytes };
    let reading = Reading::new(&source);
    let _refused_or_found = block_places(&reading, &Arc::from("f"), &[0, 4, 70_000, 1 << 40]);
    let mut stream = Stream::new(true);
    stream.turn_to(&Arc::from("f"), 0, bytes.len() as u64);
    let mut piece = [0; 4096];
    for _ in 0..256 {
        if stream.exact(&reading, &mut piece).is_err() {
            return;
        }
    }
    let _refused_or_read = stream.finish_member(&reading);
}

/// A folder with one file.
struct One<'a> {
    path: &'a str,
    bytes: &'a [u8],
}

impl Source for One<'_> {
    fn list(&self) -> io::Result<Vec<Entry>> {
        Ok(vec![Entry { path: self.path.to_owned(), bytes: self.bytes.len() as u64 }])
    }

    fn read_at(&self, path: &str, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        if path != self.path {
            return Err(io::ErrorKind::NotFound.into());
        }
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.bytes.len());
        let rest = &self.bytes[start..];
        let read = rest.len().min(into.len());
        into[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }
}
