//! Where a run folder's bytes come from, and where its samples go.
//!
//! Demultiplexing knows no disk. It reads ranges of files by their path inside the run folder and hands out finished gzip
//! members, so that the same code runs over a directory ([`crate::dir`]) and over sealed objects inside a vault, where a
//! member is sealed the moment it exists and no plaintext FASTQ is ever written down.

use std::io::{self, Read};

use serde::{Deserialize, Serialize};

/// One file of a run folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The path inside the run folder, with `/` between its parts: `Data/Intensities/s.locs`.
    pub path: String,
    /// Its length in bytes.
    pub bytes: u64,
}

/// A run folder that can be read in any order, from several threads.
///
/// Reads come as ranges because a lane keeps some 300 cycle files in progress at once and an implementation need not hold
/// one open file, or one opened object, for each.
pub trait Source: Sync {
    /// Every file of the run folder, in any order.
    fn list(&self) -> io::Result<Vec<Entry>>;

    /// Fills `into` from `offset` on and gives the number of bytes read: fewer than asked only at the end of the file, and
    /// 0 beyond it. A file that is not there is [`io::ErrorKind::NotFound`].
    fn read_at(&self, path: &str, offset: u64, into: &mut [u8]) -> io::Result<usize>;

    /// The file from its beginning, as a reader.
    fn open<'a>(&'a self, path: &str) -> io::Result<Box<dyn Read + Send + 'a>> {
        // A first empty read tells a missing file here rather than later.
        self.read_at(path, 0, &mut [])?;
        Ok(Box::new(SourceReader { source: self, path: path.to_owned(), offset: 0 }))
    }
}

/// Reads one file of a [`Source`] front to back.
struct SourceReader<'a, S: Source + ?Sized> {
    source: &'a S,
    path: String,
    offset: u64,
}

impl<S: Source + ?Sized> Read for SourceReader<'_, S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read_at(&self.path, self.offset, into)?;
        self.offset += read as u64;
        Ok(read)
    }
}

/// Reads a whole small file, refusing one of more than `limit` bytes.
pub fn read_small(source: &dyn Source, path: &str, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{path} is larger than {limit} bytes"),
        ));
    }
    Ok(bytes)
}

/// Which of a cluster's reads a FASTQ file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ReadKind {
    /// Sequence that is not an index: `R1`, `R2`.
    Read,
    /// An index read: `I1`, `I2`.
    Index,
}

/// One FASTQ file: whose it is and what it is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FastqName {
    /// The sheet's `Sample_ID`; `Undetermined` for reads that match no sample.
    pub sample_id: String,
    /// The sheet's `Sample_Project`; `None` for undetermined reads and where the sheet names none.
    pub sample_project: Option<String>,
    /// Whether these are the reads that match no sample.
    pub undetermined: bool,
    /// The lane, or `None` where lanes share a file.
    pub lane: Option<u32>,
    /// Sequence or index.
    pub kind: ReadKind,
    /// The number in the file name: 1 for `R1`.
    pub number: u32,
    /// The name alone: `NA12878_S1_L001_R1_001.fastq.gz`. It holds no `/`.
    pub file_name: String,
}

impl FastqName {
    /// The path under the output folder: the project's folder, where there is one, and the file name.
    pub fn path(&self) -> String {
        match &self.sample_project {
            Some(project) => format!("{project}/{}", self.file_name),
            None => self.file_name.clone(),
        }
    }
}

/// Where samples go.
///
/// Calls come from one thread. Members of one file come in order and every member is a whole gzip member, so the file is
/// their concatenation; calls for different files alternate. Each file ends with `finish_file`, also one without reads.
/// Reports come last. An error stops the work.
pub trait Sink {
    /// Appends a finished gzip member to a FASTQ file; the first call for a name begins the file.
    fn fastq(&mut self, file: &FastqName, member: &[u8]) -> io::Result<()>;

    /// Nothing more comes for this file.
    fn finish_file(&mut self, file: &FastqName) -> io::Result<()>;

    /// Takes a whole report, such as `Reports/Demultiplex_Stats.csv`.
    fn report(&mut self, path: &str, bytes: &[u8]) -> io::Result<()>;
}
