//! Bytes of a cycle, a strip at a time.
//!
//! A tile of a large flow cell holds four million clusters, and all its cycles together over half a gigabyte, so no cycle of
//! such a tile is ever inflated whole. Each cycle keeps an inflate state (about 50 KB) and a window of its file, and gives the
//! next so many bytes when asked; memory then depends on the number of cycles alone, not on the size of tile or run. That is
//! zlib-rs, which can stop and go on. libdeflate cannot, but takes half the time, so it is used wherever a whole member is small
//! enough to be held: every block of a BGZF file, and the blocks of tiles of ordinary size. Either way all framings are the same
//! reader: a `.bcl.gz` is one gzip member, a block of a CBCL another, a `.bcl.bgzf` a chain of them. Every checksum is checked.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::{Decompress, FlushDecompress, Status};
use libdeflater::Decompressor;

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
    /// A call of a quality bin that the header does not map.
    #[error("it has a call of a quality bin for which its header gives no quality")]
    Unmapped,
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

    /// At least so many bytes, unless the part of the file has fewer left: then all of those.
    fn at_least(&mut self, reading: &Reading<'_>, bytes: usize) -> Result<&[u8], Damage> {
        if self.held.len() - self.at < bytes {
            self.held.drain(..self.at);
            self.at = 0;
            let held = self.held.len();
            let more = WINDOW_BYTES.max((bytes - held) as u64).min(self.end - self.offset);
            self.held.resize(held + usize::try_from(more).expect("a window fits in memory"), 0);
            let read = reading.some(&self.path, self.offset, &mut self.held[held..])?;
            self.held.truncate(held + read);
            self.offset += read as u64;
            if (read as u64) < more {
                self.end = self.offset;
            }
        }
        Ok(&self.held[self.at..])
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
    /// Made when the first member needs it.
    state: Option<Decompress>,
    inside: bool,
    checksum: crc32fast::Hasher,
    member_bytes: u64,
    /// For members that are held whole.
    whole: Decompressor,
    /// The member that is held, and how much of it was given.
    member: Vec<u8>,
    given: usize,
}

impl Stream {
    /// A stream of plain bytes, or of gzip members.
    pub(crate) fn new(gzip: bool) -> Self {
        let inflate = gzip.then(|| Inflate {
            state: None,
            inside: false,
            checksum: crc32fast::Hasher::new(),
            member_bytes: 0,
            whole: Decompressor::new(),
            member: Vec::new(),
            given: 0,
        });
        Self { window: Window::new(), inflate }
    }

    /// Turns to the bytes from `offset` to `end` of a file.
    pub(crate) fn turn_to(&mut self, path: &Arc<str>, offset: u64, end: u64) {
        self.window.turn_to(path, offset, end);
        if let Some(inflate) = &mut self.inflate {
            inflate.inside = false;
            inflate.member.clear();
            inflate.given = 0;
        }
    }

    /// Takes the member of `plain` bytes that lies in the next `packed` bytes, or in all that is left of the file where it is not
    /// known how long it is. If it is not sound nothing is taken, which is told, and reading on says what is wrong with it.
    ///
    /// Only right after [`Stream::turn_to`]. `scratch` is any memory, for the packed bytes.
    pub(crate) fn hold(
        &mut self,
        reading: &Reading<'_>,
        packed: Option<usize>,
        plain: usize,
        scratch: &mut Vec<u8>,
    ) -> Result<bool, Damage> {
        let Some(inflate) = &mut self.inflate else { return Ok(false) };
        // What does not compress becomes longer by some bytes in every 64 KiB.
        let most = plain + plain / 1024 + 4096;
        let room = packed.unwrap_or(most);
        if room > most {
            return Ok(false);
        }
        scratch.resize(room, 0);
        let read = reading.some(&self.window.path, self.window.offset, scratch)?;
        let all = if packed.is_some() { read == room } else { read < room };
        let held = all && inflate.hold(&scratch[..read], plain);
        if held {
            self.window.offset += read as u64;
        }
        Ok(held)
    }

    /// Reads a member of `plain` bytes to its end, for nothing but its checksum.
    pub(crate) fn check(&mut self, reading: &Reading<'_>, plain: usize) -> Result<(), Damage> {
        self.pass_over(reading, plain as u64)?;
        self.finish_member(reading).map(drop)
    }

    /// Reads so many bytes for nothing.
    pub(crate) fn pass_over(&mut self, reading: &Reading<'_>, bytes: u64) -> Result<(), Damage> {
        let mut piece = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX).min(1 << 16)];
        let mut left = bytes;
        while left > 0 {
            let now = left.min(piece.len() as u64);
            self.exact(reading, &mut piece[..usize::try_from(now).expect("a piece is short")])?;
            left -= now;
        }
        Ok(())
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
        if self.inflate.as_ref().is_some_and(|inflate| inflate.given < inflate.member.len()) {
            return Err(Damage::TooLong);
        }
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
        if inflate.given < inflate.member.len() {
            let rest = &inflate.member[inflate.given..];
            let take = rest.len().min(into.len());
            into[..take].copy_from_slice(&rest[..take]);
            inflate.given += take;
            return Ok(Some(take));
        }
        if !inflate.inside {
            if self.window.is_at_end(reading)? {
                return Ok(None);
            }
            // A block that says how long it is, is taken at once; should it not be sound, reading on finds out why.
            if let Some(packed) = bgzf_block(self.window.at_least(reading, BGZF_HEADER_BYTES)?) {
                let ahead = self.window.at_least(reading, packed)?;
                let block = ahead.get(..packed);
                if block
                    .is_some_and(|block| inflate.hold(block, plain_bytes(block).min(BGZF_BYTES)))
                {
                    self.window.consume(packed);
                    return Ok(Some(0));
                }
            }
            member_header(&mut self.window, reading)?;
            inflate.state.get_or_insert_with(|| Decompress::new(false)).reset(false);
            inflate.checksum = crc32fast::Hasher::new();
            inflate.member_bytes = 0;
            inflate.inside = true;
        }
        let ahead = self.window.ahead(reading)?;
        let state = inflate.state.get_or_insert_with(|| Decompress::new(false));
        let (taken, given) = (state.total_in(), state.total_out());
        let status =
            state.decompress(ahead, into, FlushDecompress::None).map_err(|_| Damage::Deflate)?;
        let taken = usize::try_from(state.total_in() - taken)
            .expect("no more is taken than is in the window");
        let given = usize::try_from(state.total_out() - given)
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

impl Inflate {
    /// Inflates a whole member of `plain` bytes; false, with nothing held, where it is not one or not sound.
    fn hold(&mut self, member: &[u8], plain: usize) -> bool {
        self.given = 0;
        self.member.clear();
        let Some((body, trailer)) =
            header_bytes(member).and_then(|header| member[header..].split_last_chunk::<8>())
        else {
            return false;
        };
        let [a, b, c, d, ..] = *trailer;
        if plain_bytes(member) != plain {
            return false;
        }
        self.member.resize(plain, 0);
        let sound = self.whole.deflate_decompress(body, &mut self.member) == Ok(plain)
            && libdeflater::crc32(&self.member) == u32::from_le_bytes([a, b, c, d]);
        if !sound {
            self.member.clear();
        }
        sound
    }
}

/// The length of a gzip header without names and comments; `None` for any other.
fn header_bytes(member: &[u8]) -> Option<usize> {
    let fixed = member.first_chunk::<10>()?;
    match (fixed, fixed[3]) {
        ([0x1f, 0x8b, 8, ..], 0) => Some(10),
        ([0x1f, 0x8b, 8, ..], 4) => {
            let extra = u16::from_le_bytes(*member[10..].first_chunk()?);
            Some(12 + usize::from(extra)).filter(|header| *header <= member.len())
        }
        _ => None,
    }
}

/// The length that a member's last four bytes state.
fn plain_bytes(member: &[u8]) -> usize {
    member.last_chunk().map_or(0, |stated| u32::from_le_bytes(*stated) as usize)
}

/// Bytes of the header of a BGZF block as every writer makes it.
const BGZF_HEADER_BYTES: usize = 18;
/// The most text in a BGZF block.
const BGZF_BYTES: usize = 1 << 16;

/// The length of the BGZF block that begins here (hts-specs, SAM 4.1), if one does whose text is of a block's length.
fn bgzf_block(ahead: &[u8]) -> Option<usize> {
    let header = ahead.first_chunk::<BGZF_HEADER_BYTES>()?;
    let is_block = header[..4] == [0x1f, 0x8b, 8, 4] && header[10..16] == [6, 0, b'B', b'C', 2, 0];
    is_block.then(|| usize::from(u16::from_le_bytes([header[16], header[17]])) + 1)
}

/// Where in a BGZF file some bytes of its text lie, whose offsets ascend: where their block begins, and how far inside they are.
pub(crate) fn block_places(
    reading: &Reading<'_>,
    path: &Arc<str>,
    wanted: &[u64],
) -> Result<Vec<(u64, u64)>, Damage> {
    let mut window = Window::new();
    window.turn_to(path, 0, u64::MAX);
    let mut places = Vec::with_capacity(wanted.len());
    let mut before = 0;
    while places.len() < wanted.len() && !window.is_at_end(reading)? {
        let header = window.at_least(reading, BGZF_HEADER_BYTES)?;
        let packed = bgzf_block(header).ok_or(Damage::NotGzip)?;
        let offset = window.position();
        let block = window.at_least(reading, packed)?.get(..packed).ok_or(Damage::Truncated)?;
        let after = before + plain_bytes(block) as u64;
        window.consume(packed);
        let inside = wanted[places.len()..].iter().take_while(|wanted| **wanted < after);
        let found: Vec<_> = inside.map(|wanted| (offset, wanted - before)).collect();
        places.extend(found);
        before = after;
    }
    // What begins at the end has nothing in it.
    if wanted[places.len()..].iter().any(|wanted| *wanted > before) {
        return Err(Damage::Truncated);
    }
    places.resize(wanted.len(), (window.position(), 0));
    Ok(places)
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

    /// A BGZF block.
    fn block(bytes: &[u8]) -> Vec<u8> {
        let member = gzip(bytes);
        let size = u16::try_from(member.len() + 8 - 1).unwrap().to_le_bytes();
        let head = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 6, 0, b'B', b'C', 2, 0];
        [&head[..], &size, &member[10..]].concat()
    }

    #[test]
    fn blocks_and_other_members_mix_and_every_way_of_reading_gives_the_same() {
        let plain = noise(150_000);
        let file = [
            block(&plain[..40_000]),
            block(b""),
            gzip(&plain[40_000..90_000]),
            block(&plain[90_000..]),
            block(b""),
        ]
        .concat();
        for pieces in [1, 1000, 65_536, 150_000] {
            assert_eq!(take_all(&file, pieces, plain.len()).unwrap(), plain);
        }
        // Held whole or streamed, with the length known or not, a member is the same; a broken one is named either way.
        let member = gzip(&plain);
        let held = |file: &[u8], packed: Option<usize>| -> Result<Vec<u8>, Damage> {
            let source = MemorySource(BTreeMap::from([("f".to_owned(), file.to_vec())]));
            let reading = Reading::new(&source);
            let mut stream = Stream::new(true);
            stream.turn_to(&Arc::from("f"), 0, file.len() as u64);
            stream.hold(&reading, packed, plain.len(), &mut Vec::new())?;
            let mut out = vec![0; plain.len()];
            stream.exact(&reading, &mut out)?;
            assert_eq!(stream.finish_member(&reading)?, member.len() as u64);
            Ok(out)
        };
        for packed in [None, Some(member.len()), Some(member.len() - 1)] {
            assert_eq!(held(&member, packed).unwrap(), plain, "{packed:?}");
        }
        let longer = [&member[..], &[0; 3]].concat();
        assert_eq!(held(&longer, Some(longer.len())).unwrap(), plain);
        let mut broken = member.clone();
        *broken.iter_mut().rev().nth(5).unwrap() ^= 1;
        assert!(matches!(held(&broken, Some(member.len())), Err(Damage::Checksum)));
        assert!(matches!(held(&member[..member.len() - 9], None), Err(Damage::Truncated)));
    }

    #[test]
    fn any_place_of_a_chain_of_blocks_is_found_without_inflating_what_is_before() {
        let plain = noise(100_000);
        let file =
            [block(&plain[..40_000]), block(b""), block(&plain[40_000..]), block(b"")].concat();
        let source = MemorySource(BTreeMap::from([("f".to_owned(), file.clone())]));
        let (reading, path) = (Reading::new(&source), Arc::from("f"));
        let wanted = [0, 4, 39_999, 40_000, 40_000, 99_999, 100_000];
        for (at, place) in wanted.iter().zip(block_places(&reading, &path, &wanted).unwrap()) {
            let mut stream = Stream::new(true);
            stream.turn_to(&path, place.0, file.len() as u64);
            stream.pass_over(&reading, place.1).unwrap();
            let rest = &plain[usize::try_from(*at).unwrap()..];
            let mut found = vec![0; rest.len()];
            stream.exact(&reading, &mut found).unwrap();
            assert!(found == rest, "{at}");
        }
        assert!(matches!(block_places(&reading, &path, &[100_001]), Err(Damage::Truncated)));
    }

    #[test]
    fn a_file_cut_anywhere_does_not_pass() {
        let plain = noise(3000);
        let blocks = [block(&plain[..1000]), block(&plain[1000..])].concat();
        for end in 0..blocks.len() {
            let error = take_all(&blocks[..end], 1000, plain.len()).unwrap_err();
            assert!(matches!(error, Damage::Truncated), "cut at {end}: {error}");
        }
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
        let file = block(&plain);
        for at in 0..file.len() {
            let mut broken = file.clone();
            broken[at] ^= 1 << (at % 8);
            if let Ok(read) = take_all(&broken, 512, plain.len()) {
                assert_eq!(read, plain, "flipped at {at} of a block");
                assert!(at < 18, "flipped at {at} of a block");
            }
        }
    }

    #[test]
    fn more_than_announced_is_refused() {
        let file = gzip(&noise(100));
        assert!(matches!(take_all(&file, 10, 99), Err(Damage::TooLong)));
    }
}
