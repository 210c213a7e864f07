//! CBCL: one cycle of one surface of a lane, four bits a cluster (NovaSeq, NextSeq 1000/2000, NovaSeq X).
//!
//! A header lists the quality bins and, per tile, how many clusters its block holds and how long the block is; a gzip member
//! per tile follows. Two bits are the base, two the quality bin; a nibble of zero is a no-call. A nibble of 1 to 3 is a base
//! of the lowest bin and stays a base (`spec/demultiplexing.md` section 3).

use crate::fields::Fields;
use crate::inflate::Damage;
use crate::limits;

/// Bytes before the header's own size is known.
pub(crate) const SIZE_BYTES: usize = 6;

/// Where a tile's calls lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) tile: u32,
    pub(crate) clusters: u32,
    pub(crate) offset: u64,
    pub(crate) compressed: u32,
}

/// The header of a CBCL file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// What each nibble means, as a byte of a `.bcl`: quality above two bits of base, 0 for a no-call.
    pub(crate) calls: [u8; 16],
    pub(crate) blocks: Vec<Block>,
    /// Clusters that fail the filter are left out.
    pub(crate) passing_only: bool,
}

/// The header's size, from the first bytes of the file.
pub(crate) fn header_bytes(start: [u8; SIZE_BYTES]) -> Result<u32, Damage> {
    let version = u16::from_le_bytes([start[0], start[1]]);
    if version != 1 {
        return Err(header("the version", version.into(), "is not 1"));
    }
    let size = u32::from_le_bytes([start[2], start[3], start[4], start[5]]);
    if !(17..=limits::MAX_CBCL_HEADER_BYTES).contains(&size) {
        return Err(header("the header size", size.into(), "cannot be"));
    }
    Ok(size)
}

impl Header {
    /// Reads the whole header, `bytes` being exactly as long as it says, of a file of `file_bytes`.
    pub(crate) fn parse(bytes: &[u8], file_bytes: u64) -> Result<Self, Damage> {
        let mut fields = Fields(bytes);
        let start = fields.array::<SIZE_BYTES>()?;
        let size = header_bytes(start)?;
        if size as usize != bytes.len() {
            return Err(Damage::Truncated);
        }
        for what in ["bits per base", "bits per quality"] {
            let bits = fields.u8()?;
            if bits != 2 {
                return Err(header(what, bits.into(), "is not 2, the only kind that is read"));
            }
        }
        let bins = fields.u32()?;
        if bins != 4 {
            return Err(header("the number of quality bins", bins.into(), "is not 4"));
        }
        let mut qualities = [None; 4];
        for _ in 0..bins {
            let (from, to) = (fields.u32()?, fields.u32()?);
            let slot = qualities.get_mut(from as usize);
            let slot = slot.ok_or_else(|| header("a quality bin", from.into(), "is above 3"))?;
            if to > 63 {
                return Err(header("a quality", to.into(), "is above 63"));
            }
            *slot = Some(u8::try_from(to).expect("a quality up to 63 fits a byte"));
        }
        let mut calls = [0; 16];
        for (nibble, call) in calls.iter_mut().enumerate().skip(1) {
            let quality = qualities[nibble >> 2]
                .ok_or_else(|| header("a quality bin", nibble as u64 >> 2, "is not mapped"))?;
            *call = quality << 2 | u8::try_from(nibble & 3).expect("two bits fit a byte");
        }
        let tiles = fields.u32()?;
        if tiles as usize > limits::MAX_TILES {
            return Err(header("the number of tiles", tiles.into(), "is more than a lane has"));
        }
        // The table must be there before memory is taken for it.
        if fields.0.len() < tiles as usize * 16 {
            return Err(Damage::Truncated);
        }
        let mut blocks = Vec::with_capacity(tiles as usize);
        let mut offset = u64::from(size);
        for _ in 0..tiles {
            let (tile, clusters) = (fields.u32()?, fields.u32()?);
            let (uncompressed, compressed) = (fields.u32()?, fields.u32()?);
            if clusters > limits::MAX_TILE_CLUSTERS {
                return Err(header(
                    "the clusters of a tile",
                    clusters.into(),
                    "is more than a tile has",
                ));
            }
            if uncompressed != clusters.div_ceil(2) {
                let why = "is not half the number of clusters";
                return Err(header("the size of a block", uncompressed.into(), why));
            }
            blocks.push(Block { tile, clusters, offset, compressed });
            offset += u64::from(compressed);
        }
        if offset > file_bytes {
            return Err(Damage::Truncated);
        }
        let passing_only = match fields.u8()? {
            0 => false,
            1 => true,
            other => return Err(header("the filter mark", other.into(), "is neither 0 nor 1")),
        };
        Ok(Self { calls, blocks, passing_only })
    }
}

fn header(what: &'static str, found: u64, why: &'static str) -> Damage {
    Damage::Header { what, found, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(tiles: &[(u32, u32, u32, u32)]) -> Vec<u8> {
        let mut body = vec![2, 2];
        body.extend(4u32.to_le_bytes());
        for (bin, quality) in [(0u32, 0u32), (1, 12), (2, 23), (3, 37)] {
            body.extend(bin.to_le_bytes());
            body.extend(quality.to_le_bytes());
        }
        body.extend(u32::try_from(tiles.len()).unwrap().to_le_bytes());
        for (tile, clusters, plain, packed) in tiles {
            for field in [tile, clusters, plain, packed] {
                body.extend(field.to_le_bytes());
            }
        }
        body.push(0);
        let size = u32::try_from(body.len() + 6).unwrap();
        [&1u16.to_le_bytes()[..], &size.to_le_bytes(), &body].concat()
    }

    #[test]
    fn blocks_follow_one_another_and_nibbles_become_calls() {
        let bytes = sample(&[(1101, 5, 3, 40), (1102, 6, 3, 30)]);
        let header = Header::parse(&bytes, 1000).unwrap();
        let first = bytes.len() as u64;
        assert_eq!(
            header.blocks[1],
            Block { tile: 1102, clusters: 6, offset: first + 40, compressed: 30 }
        );
        // A no-call; base G of bin 0, which stays a base; base T of bin 3.
        assert_eq!([header.calls[0], header.calls[2], header.calls[15]], [0, 2, 37 << 2 | 3]);
        assert!(!header.passing_only);
    }

    #[test]
    fn a_header_that_claims_what_cannot_be_is_refused() {
        let good = sample(&[(1101, 5, 3, 40)]);
        let tampered = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            Header::parse(&bytes, 1000).unwrap_err().to_string()
        };
        assert_eq!(tampered(0, 2), "its header says the version is 2, which is not 1");
        assert_eq!(
            tampered(6, 3),
            "its header says bits per base is 3, which is not 2, the only kind that is read"
        );
        assert_eq!(
            tampered(8, 5),
            "its header says the number of quality bins is 5, which is not 4"
        );
        assert_eq!(tampered(44, 255), "it ends too early");
        assert_eq!(
            tampered(46, 255),
            "its header says the number of tiles is 16711681, which is more than a lane has"
        );
        assert_eq!(
            tampered(56, 4),
            "its header says the size of a block is 4, which is not half the number of clusters"
        );
        assert!(matches!(Header::parse(&good, 100), Err(Damage::Truncated)));
        for end in 0..good.len() {
            assert!(Header::parse(&good[..end], 1000).is_err(), "cut at {end}");
        }
    }
}
