//! What the tests of this crate share: run folders and sinks in memory, and the data beside the repository.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;

use runfolder::{
    DemuxError, Entry, FastqName, Plan, PlanOptions, Report, RunInfo, SampleSheet, Sink, Source,
    demultiplex, plan,
};

/// The folder of the test data that is not part of the repository; says so where it is not there.
pub(crate) fn test_data() -> Option<PathBuf> {
    let found =
        std::env::var_os("CHORION_TEST_DATA").map(PathBuf::from).filter(|path| path.is_dir());
    if found.is_none() {
        println!("skipped: not here (CHORION_TEST_DATA names no folder)");
    }
    found
}

/// Makes a run folder, unless the generator or what it needs is not here.
pub(crate) fn generated(out: &Path, format: &str, more: &[&str]) -> bool {
    let Some(data) = test_data() else { return false };
    let python = std::env::var("CHORION_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let numpy = Command::new(&python).args(["-c", "import numpy"]).output();
    if !numpy.is_ok_and(|output| output.status.success()) {
        println!("skipped: not here ({python} has no numpy)");
        return false;
    }
    let made = Command::new(&python)
        .arg(data.join("runs/make_run.py"))
        .args(["--out".as_ref(), out.as_os_str()])
        .args(["--format", format, "--fastq-digest", "--seed", "5"])
        .args(more)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    true
}

/// A generator of bytes that is the same every time.
pub(crate) struct Seeded(pub(crate) u64);

impl Seeded {
    pub(crate) fn next(&mut self) -> u64 {
        // Xorshift64 (Marsaglia 2003).
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap()
    }

    /// A copy with some bytes changed, cut out, put in or repeated.
    pub(crate) fn mutated(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = bytes.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(out.len());
            match self.below(5) {
                0 if !out.is_empty() => out[at] = self.next().to_le_bytes()[0],
                1 if !out.is_empty() => out[at] ^= 1 << self.below(8),
                2 => out.truncate(at),
                3 => out.splice(at..at, self.next().to_le_bytes()).for_each(drop),
                _ => {
                    let end = (at + self.below(64)).min(out.len());
                    let piece = out[at..end].to_vec();
                    out.splice(at..at, piece).for_each(drop);
                }
            }
        }
        out
    }
}

/// A run folder in memory.
#[derive(Default, Clone)]
pub(crate) struct MemorySource(pub(crate) BTreeMap<String, Vec<u8>>);

impl MemorySource {
    /// Reads a run folder into memory, so that a test can change it.
    pub(crate) fn of(source: &dyn Source) -> Self {
        let mut files = BTreeMap::new();
        for entry in source.list().unwrap() {
            let mut bytes = Vec::new();
            source.open(&entry.path).unwrap().read_to_end(&mut bytes).unwrap();
            files.insert(entry.path, bytes);
        }
        Self(files)
    }

    pub(crate) fn put(&mut self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.0.insert(path.to_owned(), bytes.into());
    }
}

impl Source for MemorySource {
    fn list(&self) -> io::Result<Vec<Entry>> {
        let entry = |(path, bytes): (&String, &Vec<u8>)| Entry {
            path: path.clone(),
            bytes: bytes.len() as u64,
        };
        Ok(self.0.iter().map(entry).collect())
    }

    fn read_at(&self, path: &str, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let bytes = self.0.get(path).ok_or(io::ErrorKind::NotFound)?;
        let rest = bytes.get(usize::try_from(offset).unwrap()..).unwrap_or(&[]);
        let read = rest.len().min(into.len());
        into[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }
}

/// Keeps what it is given, and holds its callers to the sink's contract.
#[derive(Default, PartialEq, Eq, Debug)]
pub(crate) struct MemorySink {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) names: BTreeMap<String, FastqName>,
    pub(crate) finished: Vec<String>,
    pub(crate) reports: BTreeMap<String, Vec<u8>>,
}

impl Sink for MemorySink {
    fn fastq(&mut self, file: &FastqName, member: &[u8]) -> io::Result<()> {
        assert!(!self.finished.contains(&file.path()), "{} was finished already", file.path());
        assert!(!file.file_name.contains('/'));
        self.files.entry(file.path()).or_default().extend_from_slice(member);
        self.names.insert(file.path(), file.clone());
        Ok(())
    }

    fn finish_file(&mut self, file: &FastqName) -> io::Result<()> {
        self.finished.push(file.path());
        Ok(())
    }

    fn report(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        assert_eq!(self.finished.len(), self.files.len(), "reports come after every file");
        self.reports.insert(path.to_owned(), bytes.to_vec());
        Ok(())
    }
}

impl MemorySink {
    /// The text of a file, as any gzip reader sees it.
    pub(crate) fn text(&self, path: &str) -> String {
        let file = self.files.get(path).unwrap_or_else(|| panic!("no file {path}"));
        gunzip(file)
    }

    pub(crate) fn report_text(&self, name: &str) -> &str {
        std::str::from_utf8(&self.reports[&format!("Reports/{name}")]).unwrap()
    }
}

pub(crate) fn gunzip(file: &[u8]) -> String {
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
    text
}

pub(crate) fn threads(count: usize) -> PlanOptions {
    PlanOptions { threads: NonZeroUsize::new(count).unwrap(), ..PlanOptions::default() }
}

pub(crate) fn planned(run_info: &[u8], sheet: &[u8], options: PlanOptions) -> Plan {
    let run = RunInfo::parse(run_info).unwrap();
    plan(run, &SampleSheet::parse(sheet).unwrap(), options).unwrap()
}

pub(crate) fn run(source: &dyn Source, plan: &Plan) -> Result<(MemorySink, Report), DemuxError> {
    let mut sink = MemorySink::default();
    let report = demultiplex(source, plan, &mut sink, &|_| ())?;
    Ok((sink, report))
}

/// The four lines of every record.
pub(crate) fn records(text: &str) -> Vec<[&str; 4]> {
    let lines: Vec<&str> = text.lines().collect();
    lines.chunks(4).map(|chunk| <[&str; 4]>::try_from(chunk).unwrap()).collect()
}

/// A tile of a made run: lane, number, and per cluster whether it passes and its bases in all cycles.
pub(crate) type MadeTile = (u32, u32, Vec<(bool, &'static str)>);

/// A CBCL run folder made in memory from the bases of each cluster, for tests that need a certain read in a certain place.
pub(crate) struct Made {
    /// Cycles, index (`Y` or `N`), reverse complement (`Y` or `N`).
    pub(crate) reads: Vec<(usize, char, char)>,
    pub(crate) tiles: Vec<MadeTile>,
}

impl Made {
    pub(crate) fn run_info(&self) -> Vec<u8> {
        let reads: String = self
            .reads
            .iter()
            .map(|(cycles, indexed, reverse)| {
                format!(
                    "<Read NumCycles='{cycles}' IsIndexedRead='{indexed}' IsReverseComplement='{reverse}'/>"
                )
            })
            .collect();
        let tiles: String = self
            .tiles
            .iter()
            .map(|(lane, tile, _)| format!("<Tile>{lane}_{tile}</Tile>"))
            .collect();
        format!(
            "<RunInfo Version='6'><Run Number='7'><Instrument>A1</Instrument><Flowcell>FC</Flowcell>\
             <Reads>{reads}</Reads><Tiles>{tiles}</Tiles></Run></RunInfo>"
        )
        .into_bytes()
    }

    pub(crate) fn source(&self) -> MemorySource {
        self.packed(Packed { quality_bits: 2, bits: 4, passing_only: |_| false })
    }

    /// The same run with its calls packed otherwise.
    pub(crate) fn packed(&self, packed: Packed) -> MemorySource {
        let mut source = MemorySource::default();
        let basecalls = "Data/Intensities/BaseCalls";
        let mut of_lane: BTreeMap<u32, Vec<&MadeTile>> = BTreeMap::new();
        for tile in &self.tiles {
            of_lane.entry(tile.0).or_default().push(tile);
            let (lane, number, clusters) = tile;
            let header = [0u32, 3, u32::try_from(clusters.len()).unwrap()].map(u32::to_le_bytes);
            let marks = clusters.iter().map(|(passes, _)| u8::from(*passes)).collect();
            let filter = [header.concat(), marks].concat();
            source.put(&format!("{basecalls}/L{lane:03}/s_{lane}_{number}.filter"), filter);
            let header = [1u32, 1f32.to_bits(), u32::try_from(clusters.len()).unwrap()]
                .map(u32::to_le_bytes);
            let place = |at: usize| [at as f32, 0.5f32].map(f32::to_le_bytes).concat();
            let places = (0..clusters.len()).flat_map(place).collect();
            let locs = [header.concat(), places].concat();
            source.put(&format!("Data/Intensities/L{lane:03}/s_{lane}_{number}.locs"), locs);
        }
        for (lane, tiles) in of_lane {
            for cycle in 0..self.reads.iter().map(|read| read.0).sum() {
                let only = (packed.passing_only)(cycle + 1);
                let top = (1u32 << packed.quality_bits) - 1;
                let blocks = tiles.iter().map(|(_, number, clusters)| {
                    let kept = clusters.iter().filter(|(passes, _)| *passes || !only);
                    let codes = kept.map(|(_, bases)| {
                        let base = bases.as_bytes()[cycle];
                        let called = b"ACGT".iter().position(|b| *b == base);
                        called.map_or(0, |base| top << 2 | u32::try_from(base).unwrap())
                    });
                    let codes: Vec<u32> = codes.collect();
                    let mut bytes = vec![0u8; (codes.len() * packed.bits as usize).div_ceil(8)];
                    for (at, code) in codes.iter().enumerate() {
                        for bit in 0..packed.bits as usize {
                            let place = at * packed.bits as usize + bit;
                            bytes[place / 8] |= u8::from(code >> bit & 1 == 1) << (place % 8);
                        }
                    }
                    (*number, codes.len(), bytes)
                });
                let path = format!("{basecalls}/L{lane:03}/C{}.1/L{lane:03}_1.cbcl", cycle + 1);
                source.put(&path, cbcl(blocks, packed.quality_bits, only));
            }
        }
        source
    }
}

/// How a CBCL run is packed: bits of a quality bin, bits from one cluster to the next, and in which cycles failed clusters are
/// left out.
#[derive(Clone, Copy)]
pub(crate) struct Packed {
    pub(crate) quality_bits: u8,
    pub(crate) bits: u32,
    pub(crate) passing_only: fn(usize) -> bool,
}

/// A CBCL file of tiles, each with its number, its clusters and its packed calls.
fn cbcl(
    tiles: impl Iterator<Item = (u32, usize, Vec<u8>)>,
    quality_bits: u8,
    passing_only: bool,
) -> Vec<u8> {
    let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::fastest());
    let (mut table, mut blocks, mut count) = (Vec::new(), Vec::new(), 0u32);
    for (number, clusters, packed) in tiles {
        let mut block = vec![0; compressor.gzip_compress_bound(packed.len())];
        let length = compressor.gzip_compress(&packed, &mut block).unwrap();
        for field in [number as usize, clusters, packed.len(), length] {
            table.extend(u32::try_from(field).unwrap().to_le_bytes());
        }
        blocks.extend_from_slice(&block[..length]);
        count += 1;
    }
    // The highest bin is 37, and the others are all there.
    let number = 1u32 << quality_bits;
    let bin = |bin: u32| [bin, if bin + 1 == number { 37 } else { bin / 2 }].map(u32::to_le_bytes);
    let bins: Vec<u8> = (0..number).flat_map(|at| bin(at).concat()).collect();
    let counts = [number.to_le_bytes(), count.to_le_bytes()];
    let body =
        [&[2, quality_bits], &counts[0][..], &bins, &counts[1], &table, &[u8::from(passing_only)]];
    let body = body.concat();
    let size = u32::try_from(body.len() + 6).unwrap();
    [&1u16.to_le_bytes()[..], &size.to_le_bytes(), &body, &blocks].concat()
}
