//! Bytes of a cycle, a strip at a time.
//!
//! A tile of a large flow cell holds four million clusters, and all its cycles together over half a gigabyte, so no cycle is
//! ever inflated whole. Each cycle keeps an inflate state (about 50 KB) and a window of its file, and gives the next so many
//! bytes when asked; memory then depends on the number of cycles alone, not on the size of tile or run. That is why this is
//! zlib-rs, which can stop and go on, and not libdeflate, which is faster and cannot. All framings are the same reader: a
//! `.bcl.gz` is one gzip member, a block of a CBCL another, a `.bcl.bgzf` a chain of them. Every checksum is checked.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::{Decompress, FlushDecompress, Status};

use crate::source::Source;

/// What is wrong with a file. Sentences go on from the file's name.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// The file could not be read.
    #[error("it cannot be read ({0})")]
    Read(io::Error),
    /// Fewer bytes than announced.
    #[error("it ends too early")]
    Truncated,
    /// More bytes than announced.
    #[error("it holds more than it announces")]
    TooLong,
    /// Not gzip where gzip belongs.
    #[error("it is not gzip where gzip is expected")]
    NotGzip,
    /// Bytes that are no deflate stream.
    #[error("it does not inflate")]
    Deflate,
    /// A gzip checksum that does not fit.
    #[error("it does not inflate: its checksum is wrong")]
    Checksum,
    /// A length in a header that cannot be.
    #[error("its header says {what} is {found}, which {why}")]
    Header {
        /// The field.
        what: &'static str,
        /// Its value.
        found: u64,
        /// What speaks against it.
        why: &'static str,
    },
    /// Two places that count differently.
    #[error("it counts {found} clusters where {expected} are expected")]
    Count {
        /// What it says.
        found: u64,
        /// What the filter or another file says.
        expected: u64,
    },
    /// A tile that the file does not have.
    #[error("it does not have the tile")]
    NoTile,
    /// Clusters were left out that are wanted.
    #[error("it holds only clusters that pass the filter, so the failed ones cannot be written")]
    OnlyPassing,
}

/// A source, and how much has been read of it.
pub(crate) struct Reading<'a> {
    pub(crate) source: &'a dyn Source,
    pub(crate) bytes: AtomicU64,
}

impl<'a> Reading<'a> {
    pub(crate) fn new(source: &'a dyn Source) -> Self {
        Self { source, bytes: AtomicU64::new(0) }
    }

    /// Fills `into` from `offset` on, or says that the file is shorter.
    pub(crate) fn exact(&self, path: &str, offset: u64, into: &mut [u8]) -> Result<(), Damage> {
        let read = self.some(path, offset, into)?;
        if read < into.len() { Err(Damage::Truncated) } else { Ok(()) }
    }

    fn some(&self, path: &str, offset: u64, into: &mut [u8]) -> Result<usize, Damage> {
        let mut filled = 0;
        while filled < into.len() {
            let at = offset + filled as u64;
            match self.source.read_at(path, at, &mut into[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Damage::Read(error)),
            }
        }
        self.bytes.fetch_add(filled as u64, Ordering::Relaxed);
        Ok(filled)
    }
}

/// Bytes of a file that are held at once.
const WINDOW_BYTES: u64 = 64 << 10;

/// A part of a file, read front to back through a window.
#[derive(Debug)]
pub(crate) struct Window {
    path: Arc<str>,
    offset: u64,
    end: u64,
    held: Vec<u8>,
    at: usize,
}

impl Window {
    pub(crate) fn new() -> Self {
        Self { path: Arc::from(""), offset: 0, end: 0, held: Vec::new(), at: 0 }
    }

    /// Turns to the bytes from `offset` to `end` of a file.
    pub(crate) fn turn_to(&mut self, path: &Arc<str>, offset: u64, end: u64) {
        self.path = Arc::clone(path);
        self.offset = offset;
        self.end = end;
        self.held.clear();
        self.at = 0;
    }

    /// The next bytes; none only at the end.
    fn ahead(&mut self, reading: &Reading<'_>) -> Result<&[u8], Damage> {
        if self.at == self.held.len() {
            let length = WINDOW_BYTES.min(self.end - self.offset);
            self.held.resize(usize::try_from(length).expect("a window fits in memory"), 0);
            self.at = 0;
            let read = reading.some(&self.path, self.offset, &mut self.held)?;
            self.held.truncate(read);
            self.offset += read as u64;
            if read == 0 {
                self.end = self.offset;
            }
        }
        Ok(&self.held[self.at..])
    }

    fn consume(&mut self, bytes: usize) {
        self.at += bytes;
    }

    fn byte(&mut self, reading: &Reading<'_>) -> Result<u8, Damage> {
        let byte = *self.ahead(reading)?.first().ok_or(Damage::Truncated)?;
        self.consume(1);
        Ok(byte)
    }

    fn is_at_end(&mut self, reading: &Reading<'_>) -> Result<bool, Damage> {
        Ok(self.ahead(reading)?.is_empty())
    }

    /// Where in the file the next byte lies.
    fn position(&self) -> u64 {
        self.offset - (self.held.len() - self.at) as u64
    }
}

/// A chain of gzip members, or plain bytes, as one stream of bytes that can be taken in pieces.
pub(crate) struct Stream {
    window: Window,
    /// `None` for plain bytes.
    inflate: Option<Inflate>,
}

struct Inflate {
    state: Decompress,
    inside: bool,
    checksum: crc32fast::Hasher,
    member_bytes: u64,
}

impl Stream {
    /// A stream of plain bytes, or of gzip members.
    pub(crate) fn new(gzip: bool) -> Self {
        let inflate = gzip.then(|| Inflate {
            state: Decompress::new(false),
            inside: false,
            checksum: crc32fast::Hasher::new(),
            member_bytes: 0,
        });
        Self { window: Window::new(), inflate }
    }

    /// Turns to the bytes from `offset` to `end` of a file.
    pub(crate) fn turn_to(&mut self, path: &Arc<str>, offset: u64, end: u64) {
        self.window.turn_to(path, offset, end);
        if let Some(inflate) = &mut self.inflate {
            inflate.inside = false;
        }
    }

    /// The next `into.len()` bytes.
    pub(crate) fn exact(&mut self, reading: &Reading<'_>, into: &mut [u8]) -> Result<(), Damage> {
        let mut filled = 0;
        while filled < into.len() {
            filled += self.some(reading, &mut into[filled..])?.ok_or(Damage::Truncated)?;
        }
        Ok(())
    }

    /// Sees that nothing follows but empty members, and gives the position in the file after the last member.
    pub(crate) fn finish(&mut self, reading: &Reading<'_>) -> Result<u64, Damage> {
        let mut beyond = [0u8; 1];
        while let Some(more) = self.some(reading, &mut beyond)? {
            if more > 0 {
                return Err(Damage::TooLong);
            }
        }
        Ok(self.window.position())
    }

    /// Closes the member that is open, whatever follows it, and gives the position in the file after it.
    pub(crate) fn finish_member(&mut self, reading: &Reading<'_>) -> Result<u64, Damage> {
        let mut beyond = [0u8; 1];
        while self.inflate.as_ref().is_some_and(|inflate| inflate.inside) {
            if self.some(reading, &mut beyond)?.unwrap_or(0) > 0 {
                return Err(Damage::TooLong);
            }
        }
        Ok(self.window.position())
    }

    /// Some of the next bytes, possibly none at the end of a member; `None` at the end of everything.
    fn some(&mut self, reading: &Reading<'_>, into: &mut [u8]) -> Result<Option<usize>, Damage> {
        let Some(inflate) = &mut self.inflate else {
            let ahead = self.window.ahead(reading)?;
            if ahead.is_empty() {
                return Ok(None);
            }
            let take = ahead.len().min(into.len());
            into[..take].copy_from_slice(&ahead[..take]);
            self.window.consume(take);
            return Ok(Some(take));
        };
        if !inflate.inside {
            if self.window.is_at_end(reading)? {
                return Ok(None);
            }
            member_header(&mut self.window, reading)?;
            inflate.state.reset(false);
            inflate.checksum = crc32fast::Hasher::new();
            inflate.member_bytes = 0;
            inflate.inside = true;
        }
        let ahead = self.window.ahead(reading)?;
        let (taken, given) = (inflate.state.total_in(), inflate.state.total_out());
        let status = inflate
            .state
            .decompress(ahead, into, FlushDecompress::None)
            .map_err(|_| Damage::Deflate)?;
        let taken = usize::try_from(inflate.state.total_in() - taken)
            .expect("no more is taken than is in the window");
        let given = usize::try_from(inflate.state.total_out() - given)
            .expect("no more is given than was asked for");
        let at_end = ahead.is_empty();
        self.window.consume(taken);
        inflate.checksum.update(&into[..given]);
        inflate.member_bytes += given as u64;
        if status == Status::StreamEnd {
            inflate.inside = false;
            let mut trailer = [0u8; 8];
            for byte in &mut trailer {
                *byte = self.window.byte(reading)?;
            }
            let [a, b, c, d, e, f, g, h] = trailer;
            let checksum = std::mem::take(&mut inflate.checksum).finalize();
            let length_matches =
                u64::from(u32::from_le_bytes([e, f, g, h])) == inflate.member_bytes & 0xffff_ffff;
            if checksum != u32::from_le_bytes([a, b, c, d]) || !length_matches {
                return Err(Damage::Checksum);
            }
        } else if taken == 0 && given == 0 {
            return Err(if at_end { Damage::Truncated } else { Damage::Deflate });
        }
        Ok(Some(given))
    }
}

/// Passes over the header of a gzip member (RFC 1952).
fn member_header(window: &mut Window, reading: &Reading<'_>) -> Result<(), Damage> {
    let mut fixed = [0u8; 10];
    for byte in &mut fixed {
        *byte = window.byte(reading)?;
    }
    if fixed[..3] != [0x1f, 0x8b, 8] || fixed[3] & 0xe0 != 0 {
        return Err(Damage::NotGzip);
    }
    let flags = fixed[3];
    if flags & 4 != 0 {
        let length = u16::from_le_bytes([window.byte(reading)?, window.byte(reading)?]);
        for _ in 0..length {
            window.byte(reading)?;
        }
    }
    for flag in [8, 16] {
        if flags & flag != 0 {
            while window.byte(reading)? != 0 {}
        }
    }
    if flags & 2 != 0 {
        window.byte(reading)?;
        window.byte(reading)?;
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::source::Entry;

    /// A run folder in memory.
    #[derive(Default, Clone)]
    pub(crate) struct MemorySource(pub(crate) BTreeMap<String, Vec<u8>>);

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

    pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::fastest());
        let mut out = vec![0; compressor.gzip_compress_bound(bytes.len())];
        let length = compressor.gzip_compress(bytes, &mut out).unwrap();
        out.truncate(length);
        out
    }

    fn take_all(file: &[u8], pieces: usize, length: usize) -> Result<Vec<u8>, Damage> {
        let source = MemorySource(BTreeMap::from([("f".to_owned(), file.to_vec())]));
        let reading = Reading::new(&source);
        let mut stream = Stream::new(true);
        stream.turn_to(&Arc::from("f"), 0, file.len() as u64);
        let mut out = vec![0; length];
        for piece in out.chunks_mut(pieces) {
            stream.exact(&reading, piece)?;
        }
        assert_eq!(stream.finish(&reading)?, file.len() as u64);
        Ok(out)
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 7u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8 & 0x3f
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn members_in_a_chain_read_as_one_in_pieces_of_any_size() {
        let plain = noise(200_000);
        let file = [gzip(&plain[..70_000]), gzip(&plain[70_000..]), gzip(b"")].concat();
        for pieces in [1, 7, 4096, 199_999, 200_000] {
            assert_eq!(take_all(&file, pieces, plain.len()).unwrap(), plain);
        }
    }

    #[test]
    fn a_file_cut_anywhere_does_not_pass() {
        let plain = noise(3000);
        let file = gzip(&plain);
        for end in 0..file.len() {
            let error = take_all(&file[..end], 1000, plain.len()).unwrap_err();
            assert!(matches!(error, Damage::Truncated), "cut at {end}: {error}");
        }
    }

    #[test]
    fn a_flipped_bit_never_changes_what_is_read() {
        let plain = noise(2000);
        let file = gzip(&plain);
        for at in 0..file.len() {
            let mut broken = file.clone();
            broken[at] ^= 1 << (at % 8);
            // The header has bytes that mean nothing (time, system); whatever opens must be the same.
            if let Ok(read) = take_all(&broken, 512, plain.len()) {
                assert_eq!(read, plain, "flipped at {at}");
                assert!(at < 10, "flipped at {at}");
            }
        }
    }

    #[test]
    fn more_than_announced_is_refused() {
        let file = gzip(&noise(100));
        assert!(matches!(take_all(&file, 10, 99), Err(Damage::TooLong)));
    }
}
