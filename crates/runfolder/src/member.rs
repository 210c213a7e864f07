//! Text as gzip members: BGZF blocks or plain ones, made by libdeflate or, where it was built in, ISA-L.
//!
//! BGZF (hts-specs, SAM 4.1) is plain gzip to every reader and seekable to those who know; plain members may be longer and so
//! a little smaller. Either way members are cut by length of text alone, so the bytes of a file depend on its reads, the
//! framing and the compressor with its version, and on nothing else (`spec/demultiplexing.md` section 5.2).

use libdeflater::{CompressionLvl, Compressor};

/// How members are framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// Blocks of at most 64 KiB that say how long they are, and an empty one at the end.
    #[default]
    Bgzf,
    /// Plain gzip members of up to 256 KiB of text.
    Gzip,
}

/// What compresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Deflate {
    /// libdeflate at level 1: 320 MB/s a core at a ratio of 4.4 on such text, where level 6 makes 65 for 4.7.
    #[default]
    Libdeflate,
    /// ISA-L at level 1: nearly twice as fast at a ratio of 4.2. Only in builds with the feature `isa-l`.
    #[cfg(feature = "isa-l")]
    IsaL,
}

impl Framing {
    /// The most text in one member.
    pub(crate) fn most_text(self) -> usize {
        match self {
            // What is left of 64 KiB for a block that does not compress.
            Self::Bgzf => 65_280,
            Self::Gzip => 256 << 10,
        }
    }

    /// What ends a file, given whether it has members already.
    pub(crate) fn end(self, has_members: bool) -> &'static [u8] {
        match self {
            Self::Bgzf => &BGZF_END,
            Self::Gzip if has_members => &[],
            Self::Gzip => &EMPTY_GZIP,
        }
    }
}

/// The empty block that ends a BGZF file; alone, it is a valid empty gzip.
const BGZF_END: [u8; 28] = [
    0x1f, 0x8b, 0x08, 0x04, 0, 0, 0, 0, 0, 0xff, 0x06, 0, 0x42, 0x43, 0x02, 0, 0x1b, 0, 0x03, 0, 0,
    0, 0, 0, 0, 0, 0, 0,
];
/// A gzip member of no text.
const EMPTY_GZIP: [u8; 20] =
    [0x1f, 0x8b, 0x08, 0, 0, 0, 0, 0, 0, 0xff, 0x03, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Compresses text to members, one per worker.
pub(crate) struct Members {
    framing: Framing,
    deflate: Engine,
    body: Vec<u8>,
}

enum Engine {
    Libdeflate(Box<Compressor>),
    #[cfg(feature = "isa-l")]
    IsaL,
}

impl Members {
    pub(crate) fn new(framing: Framing, deflate: Deflate) -> Self {
        let deflate = match deflate {
            Deflate::Libdeflate => {
                // The library's own `fastest` is level 0, which does not compress.
                let level = CompressionLvl::new(1).expect("level 1 is one of the library's levels");
                Engine::Libdeflate(Box::new(Compressor::new(level)))
            }
            #[cfg(feature = "isa-l")]
            Deflate::IsaL => Engine::IsaL,
        };
        Self { framing, deflate, body: Vec::new() }
    }

    /// One member of at most [`Framing::most_text`] of text.
    pub(crate) fn member(&mut self, text: &[u8]) -> Vec<u8> {
        let body_bytes = self.deflate(text);
        let length = u32::try_from(text.len()).expect("a member's text is short");
        let mut member = Vec::with_capacity(18 + body_bytes + 8);
        match self.framing {
            Framing::Bgzf => {
                let size = u16::try_from(18 + body_bytes + 8 - 1).expect(
                    "a block of 65,280 bytes stays below 64 KiB even where it does not compress",
                );
                member.extend_from_slice(&BGZF_END[..16]);
                member.extend_from_slice(&size.to_le_bytes());
            }
            Framing::Gzip => member.extend_from_slice(&EMPTY_GZIP[..10]),
        }
        member.extend_from_slice(&self.body[..body_bytes]);
        member.extend_from_slice(&libdeflater::crc32(text).to_le_bytes());
        member.extend_from_slice(&length.to_le_bytes());
        member
    }

    /// Compresses into the body, and gives its length.
    fn deflate(&mut self, text: &[u8]) -> usize {
        match &mut self.deflate {
            Engine::Libdeflate(compressor) => {
                self.body.resize(compressor.deflate_compress_bound(text.len()), 0);
                compressor
                    .deflate_compress(text, &mut self.body)
                    .expect("the body fits because the room is what the library bounds it by")
            }
            #[cfg(feature = "isa-l")]
            Engine::IsaL => {
                // Stored blocks of 65,535 bytes with five more each are what it falls back to.
                self.body.resize(text.len() + 5 * (text.len() / 65_535 + 1) + 16, 0);
                let (level, codec) = (isal::CompressionLevel::One, isal::Codec::Deflate);
                isal::compress_into(text, &mut self.body, level, codec)
                    .expect("the body fits because what does not compress is stored")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn read(file: &[u8]) -> Vec<u8> {
        let mut read = Vec::new();
        flate2::read::MultiGzDecoder::new(file).read_to_end(&mut read).unwrap();
        read
    }

    #[test]
    fn every_gzip_reader_reads_the_members() {
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        for framing in [Framing::Bgzf, Framing::Gzip] {
            let deflates = [
                Deflate::Libdeflate,
                #[cfg(feature = "isa-l")]
                Deflate::IsaL,
            ];
            for deflate in deflates {
                let mut members = Members::new(framing, deflate);
                let noise: Vec<u8> = (0..framing.most_text()).map(|_| next()).collect();
                let parts = [members.member(b"ACGT\n"), members.member(&noise)].concat();
                let file = [&parts[..], framing.end(true)].concat();
                assert_eq!(read(&file), [b"ACGT\n", &noise[..]].concat());
                assert_eq!(parts[3], if framing == Framing::Bgzf { 4 } else { 0 });
                let repeated =
                    b"@A1:7:FC:1:1101:1000:1005 1:N:0:ACGT\nACGTTGCA\n+\nFFFFFFFF\n".repeat(900);
                let member = members.member(&repeated);
                assert!(member.len() < repeated.len() / 10, "members are compressed");
                assert_eq!(members.member(&repeated), member, "and the same every time");
                assert_eq!(read(framing.end(false)), b"");
            }
        }
    }
}
