//! Records of a BGZF file in its order: all of them, or those in the chunks that an index named.

use std::collections::VecDeque;
use std::io::{self, Read, Seek};

use crate::bgzf::Blocks;
use crate::index::Chunk;

/// Which records are read.
#[derive(Debug)]
pub(crate) struct Walk {
    /// What is still to come; nothing for the whole file.
    chunks: Option<VecDeque<Chunk>>,
    /// Where the chunk at hand ends.
    end: u64,
}

impl Walk {
    /// From here to the end of the file.
    pub(crate) const fn whole() -> Self {
        Self { chunks: None, end: u64::MAX }
    }

    /// The chunks, which are in order.
    pub(crate) fn over(chunks: Vec<Chunk>) -> Self {
        Self { chunks: Some(chunks.into()), end: 0 }
    }

    /// Goes to where the next record is; false when there is none that is wanted.
    pub(crate) fn next<R: Read + Seek>(&mut self, blocks: &mut Blocks<R>) -> io::Result<bool> {
        let Some(chunks) = &mut self.chunks else { return Ok(true) };
        while blocks.tell() >= self.end {
            let Some((from, to)) = chunks.pop_front() else { return Ok(false) };
            self.end = to;
            // An index whose chunks lead backwards is merged before it comes here, so this always goes on.
            if blocks.tell() < from || blocks.tell() >= to {
                blocks.seek(from)?;
            }
        }
        Ok(true)
    }
}
