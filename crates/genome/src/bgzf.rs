//! BGZF: gzip in blocks of at most 64 KiB, each of which says its own length (SAM specification, section 4.1).
//!
//! Blocks are inflated whole, which is twice as fast as a stream. An empty block is the mark of the end; without it a file that
//! was cut between two blocks would look whole.

use std::io::{self, Read};

use libdeflater::Decompressor;

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
        Ok(true)
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

fn damaged(why: &'static str) -> io::Error {
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
