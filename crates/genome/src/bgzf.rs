//! BGZF: gzip in blocks of at most 64 KiB, each of which says its own length (SAM specification, section 4.1).
//!
//! Blocks are inflated whole, which is twice as fast as a stream. An empty block is the mark of the end; without it a file that
//! was cut between two blocks would look whole.

use std::io::{self, Read, Seek, SeekFrom, Write};

use libdeflater::{CompressionLvl, Compressor, Decompressor};
use memchr::memchr;

/// What a block holds at most.
const BLOCK_BYTES: usize = 64 * 1024;

/// The plaintext of a row of blocks.
pub(crate) struct Blocks<R> {
    from: R,
    inflate: Decompressor,
    packed: Vec<u8>,
    plain: Vec<u8>,
    at: usize,
    /// Whether the last block was empty.
    marked: bool,
    /// Where in the file the block in `plain` begins, and where the one after it does.
    block_at: u64,
    next_at: u64,
}

impl<R: Read> Blocks<R> {
    pub(crate) fn new(from: R) -> Self {
        Self {
            from,
            inflate: Decompressor::new(),
            packed: Vec::new(),
            plain: Vec::new(),
            at: 0,
            marked: false,
            block_at: 0,
            next_at: 0,
        }
    }

    /// Whether the last block that was read is the mark of the end.
    pub(crate) const fn ends_marked(&self) -> bool {
        self.marked
    }

    /// The next block; false at the end.
    fn next_block(&mut self) -> io::Result<bool> {
        let mut head = [0; 12];
        if !crate::next(&mut self.from, &mut head)? {
            return Ok(false);
        }
        if head[..4] != [0x1f, 0x8b, 8, 4] {
            return Err(damaged("a block does not begin as BGZF blocks do"));
        }
        let extra_bytes = usize::from(u16::from_le_bytes([head[10], head[11]]));
        let mut extra = vec![0; extra_bytes];
        self.from.read_exact(&mut extra)?;
        let block_bytes =
            block_bytes(&extra).ok_or_else(|| damaged("a block does not say its length"))?;
        let rest = block_bytes
            .checked_sub(head.len() + extra_bytes)
            .filter(|rest| *rest >= 8)
            .ok_or_else(|| damaged("a block is shorter than its own header"))?;
        self.packed.resize(rest, 0);
        self.from.read_exact(&mut self.packed)?;
        let (deflated, trailer) = self.packed.split_at(rest - 8);
        let word = |at: usize| {
            u32::from_le_bytes([trailer[at], trailer[at + 1], trailer[at + 2], trailer[at + 3]])
        };
        let (checksum, bytes) = (word(0), usize::try_from(word(4)).unwrap_or(usize::MAX));
        if bytes > BLOCK_BYTES {
            return Err(damaged("a block says that it holds more than 64 KiB"));
        }
        self.plain.resize(bytes, 0);
        match self.inflate.deflate_decompress(deflated, &mut self.plain) {
            Ok(given) if given == bytes => {}
            _ => return Err(damaged("a block does not inflate")),
        }
        if crc32fast::hash(&self.plain) != checksum {
            return Err(damaged("the checksum of a block is wrong"));
        }
        self.at = 0;
        self.marked = bytes == 0;
        self.block_at = self.next_at;
        self.next_at += block_bytes as u64;
        Ok(true)
    }

    /// Where the next byte is, as indexes write it: the block's place in the file, and the byte's in the block.
    pub(crate) const fn tell(&self) -> u64 {
        if self.at == self.plain.len() {
            self.next_at << 16
        } else {
            (self.block_at << 16) | self.at as u64
        }
    }

    /// What is at hand of the block, at least one byte; nothing at the end.
    pub(crate) fn at_hand(&mut self) -> io::Result<&[u8]> {
        while self.at == self.plain.len() {
            if !self.next_block()? {
                return Ok(&[]);
            }
        }
        Ok(&self.plain[self.at..])
    }

    /// Goes past bytes that were at hand.
    pub(crate) fn past(&mut self, bytes: usize) {
        self.at = (self.at + bytes).min(self.plain.len());
    }

    /// Reads a line into `line`, without its end; false at the end of the file.
    pub(crate) fn line(&mut self, line: &mut Vec<u8>, most_bytes: usize) -> io::Result<bool> {
        line.clear();
        let mut some = false;
        loop {
            let here = self.at_hand()?;
            if here.is_empty() {
                return Ok(some);
            }
            some = true;
            let end = memchr(b'\n', here);
            let part = &here[..end.unwrap_or(here.len())];
            if line.len() + part.len() > most_bytes {
                return Err(damaged("a line is longer than 64 MiB"));
            }
            line.extend_from_slice(part);
            let bytes = part.len() + usize::from(end.is_some());
            self.past(bytes);
            if end.is_some() {
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(true);
            }
        }
    }
}

impl<R: Read + Seek> Blocks<R> {
    /// Goes to a place that an index named.
    pub(crate) fn seek(&mut self, to: u64) -> io::Result<()> {
        let (block, byte) = (to >> 16, usize::try_from(to & 0xffff).unwrap_or(usize::MAX));
        // A jump into the block at hand inflates nothing again.
        if block != self.block_at || self.plain.is_empty() {
            self.from.seek(SeekFrom::Start(block))?;
            self.plain.clear();
            (self.at, self.next_at) = (0, block);
            if byte == 0 {
                return Ok(());
            }
            if !self.next_block()? {
                return Err(damaged("the index names a place past the end"));
            }
        }
        if byte > self.plain.len() {
            return Err(damaged("the index names a place that its block does not have"));
        }
        self.at = byte;
        Ok(())
    }
}

/// The length of a block, from its extra field `BC`.
pub(crate) fn block_bytes(mut extra: &[u8]) -> Option<usize> {
    while let [a, b, low, high, rest @ ..] = extra {
        let bytes = usize::from(u16::from_le_bytes([*low, *high]));
        let value = rest.get(..bytes)?;
        if [*a, *b] == *b"BC" && bytes == 2 {
            return Some(usize::from(u16::from_le_bytes([value[0], value[1]])) + 1);
        }
        extra = &rest[bytes..];
    }
    None
}

/// Writes BGZF: whole blocks, and the mark of the end.
pub(crate) struct BlockWriter<W> {
    to: W,
    deflate: Compressor,
    plain: Vec<u8>,
    packed: Vec<u8>,
}

/// How much goes into a block, as htslib has it: what does not compress still fits 64 KiB.
const PACKED_FROM: usize = 0xff00;
/// An empty block (SAM specification, section 4.1.2).
const END_MARK: [u8; 28] = [
    0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 6, 0, b'B', b'C', 2, 0, 0x1b, 0, 3, 0, 0, 0, 0, 0, 0, 0,
    0, 0,
];

impl<W: Write> BlockWriter<W> {
    pub(crate) fn new(to: W) -> Self {
        Self {
            to,
            // The level that htslib writes with.
            deflate: Compressor::new(CompressionLvl::default()),
            plain: Vec::with_capacity(PACKED_FROM),
            packed: vec![0; 1 << 16],
        }
    }

    /// Ends the block, so that what comes next begins one: where a record is as long as fits, it is not cut.
    fn flush_block(&mut self) -> io::Result<()> {
        const HEAD: usize = 18;
        if self.plain.is_empty() {
            return Ok(());
        }
        let deflated = self
            .deflate
            .deflate_compress(&self.plain, &mut self.packed[HEAD..(1 << 16) - 8])
            .map_err(|_| damaged("a block does not compress into 64 KiB"))?;
        let whole = HEAD + deflated + 8;
        self.packed[..16].copy_from_slice(&END_MARK[..16]);
        let size =
            u16::try_from(whole - 1).map_err(|_| damaged("a block is longer than 64 KiB"))?;
        self.packed[16..18].copy_from_slice(&size.to_le_bytes());
        let checksum = crc32fast::hash(&self.plain).to_le_bytes();
        self.packed[HEAD + deflated..][..4].copy_from_slice(&checksum);
        let bytes = u32::try_from(self.plain.len()).unwrap_or(u32::MAX).to_le_bytes();
        self.packed[HEAD + deflated + 4..whole].copy_from_slice(&bytes);
        self.plain.clear();
        self.to.write_all(&self.packed[..whole])
    }

    /// Takes a record: it begins a block if it would otherwise be cut in two.
    pub(crate) fn record(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        if bytes <= PACKED_FROM && self.plain.len() + bytes > PACKED_FROM {
            self.flush_block()?;
        }
        for part in parts {
            self.write_all(part)?;
        }
        Ok(())
    }

    /// Writes what is left and the mark of the end.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.flush_block()?;
        self.to.write_all(&END_MARK)?;
        self.to.flush()?;
        Ok(self.to)
    }
}

impl<W: Write> Write for BlockWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.plain.len() == PACKED_FROM {
            self.flush_block()?;
        }
        let take = bytes.len().min(PACKED_FROM - self.plain.len());
        self.plain.extend_from_slice(&bytes[..take]);
        Ok(take)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

pub(crate) fn damaged(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl<R: Read> Read for Blocks<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.plain.len() {
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let take = buffer.len().min(self.plain.len() - self.at);
        buffer[..take].copy_from_slice(&self.plain[self.at..self.at + take]);
        self.at += take;
        Ok(take)
    }
}
