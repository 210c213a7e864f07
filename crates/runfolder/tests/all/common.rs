//! What the tests of this crate share: run folders and sinks in memory, and the data beside the repository.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::path::PathBuf;

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
