//! CBCL: one cycle of one surface of a lane, a few bits a cluster (NovaSeq, NextSeq 1000/2000, NovaSeq X).
//!
//! A header lists the quality bins and, per tile, how many clusters its block holds and how long the block is; a gzip member
//! per tile follows. Two bits are the base and those above them the quality bin: two on every instrument that is known, one
//! to six here. A code of zero is a no-call. A code of 1 to 3 is a base of the lowest bin and stays a base
//! (`spec/demultiplexing.md` section 3).

use std::sync::Arc;

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

/// How the clusters of a block are stored, and what their codes mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packing {
    /// Bits from one cluster to the next, the first one lowest: 3 to 8.
    pub(crate) bits: u32,
    /// What each code means, as a byte of a `.bcl`: quality above two bits of base, 0 for a no-call. What lies above the bits
    /// of base and bin is padding and changes nothing.
    pub(crate) calls: [u8; 256],
    /// What each byte means where a cluster takes four bits.
    pub(crate) pairs: [[u8; 2]; 256],
    /// Whether some bin has no quality, so that [`UNMAPPED`] may come of a code.
    pub(crate) gaps: bool,
}

/// The call of a code whose bin has no quality in the header. No table with gaps may use it for one that has.
pub(crate) const UNMAPPED: u8 = 0xff;

impl Packing {
    /// Bytes that so many clusters take.
    pub(crate) fn bytes(&self, clusters: u32) -> u32 {
        let bits = u64::from(clusters) * u64::from(self.bits);
        u32::try_from(bits.div_ceil(8)).expect("a cluster takes at most one byte")
    }
}

/// The header of a CBCL file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) packing: Arc<Packing>,
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
        let base_bits = fields.u8()?;
        if base_bits != 2 {
            let why = "is not 2, which four bases take";
            return Err(header("bits per base", base_bits.into(), why));
        }
        let quality_bits = fields.u8()?;
        if !(1..=6).contains(&quality_bits) {
            return Err(header("bits per quality", quality_bits.into(), "is not one of 1 to 6"));
        }
        let (calls, gaps) = calls(&mut fields, quality_bits)?;
        let tiles = fields.u32()?;
        if tiles as usize > limits::MAX_TILES {
            return Err(header("the number of tiles", tiles.into(), "is more than a lane has"));
        }
        // The table must be there before memory is taken for it.
        if fields.0.len() < tiles as usize * 16 {
            return Err(Damage::Truncated);
        }
        let mut blocks = Vec::with_capacity(tiles as usize);
        let mut bits = [2 + u32::from(quality_bits), 8];
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
            bits = match bits_of(clusters, uncompressed, bits) {
                Some(bits) => bits,
                None => {
                    let why = "is not what its clusters take";
                    return Err(header("the size of a block", uncompressed.into(), why));
                }
            };
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
        let pairs = std::array::from_fn(|byte| [calls[byte & 15], calls[byte >> 4]]);
        let packing = Arc::new(Packing { bits: bits[0], calls, pairs, gaps });
        Ok(Self { packing, blocks, passing_only })
    }
}

/// Which of the ways to store a cluster fit a block as well as all blocks before it: without a gap between clusters, or,
/// where the codes do not fill bytes, each in a byte of its own. The size that the header states for a block tells.
fn bits_of(clusters: u32, uncompressed: u32, known: [u32; 2]) -> Option<[u32; 2]> {
    let bytes = |bits: u32| (u64::from(clusters) * u64::from(bits)).div_ceil(8);
    let fits = |bits: u32| bytes(bits) == u64::from(uncompressed);
    match known.map(fits) {
        [true, true] => Some(known),
        [true, false] => Some([known[0]; 2]),
        [false, true] => Some([known[1]; 2]),
        [false, false] => None,
    }
}

/// What each code means, from the table of bins, and whether some bin is not in it.
fn calls(fields: &mut Fields<'_>, quality_bits: u8) -> Result<([u8; 256], bool), Damage> {
    let possible = 1usize << quality_bits;
    let bins = fields.u32()?;
    if bins == 0 || bins as usize > possible {
        return Err(header(
            "the number of quality bins",
            bins.into(),
            "is not what its bits can tell apart",
        ));
    }
    let mut qualities = [None; 64];
    for _ in 0..bins {
        let (from, to) = (fields.u32()?, fields.u32()?);
        let slot = qualities.get_mut(from as usize).filter(|_| (from as usize) < possible);
        let slot = slot.ok_or_else(|| {
            header("a quality bin", from.into(), "is above what its bits can say")
        })?;
        if to > 63 {
            return Err(header("a quality", to.into(), "is above 63"));
        }
        *slot = Some(u8::try_from(to).expect("a quality up to 63 fits a byte"));
    }
    let gaps = qualities[..possible].contains(&None);
    if gaps && qualities.contains(&Some(63)) {
        return Err(header(
            "a quality",
            63,
            "is told from no quality only where every bin has one",
        ));
    }
    let mut calls = [0; 256];
    for (code, call) in calls.iter_mut().enumerate() {
        let code = code & (possible * 4 - 1);
        if code > 0 {
            let base = u8::try_from(code & 3).expect("two bits fit a byte");
            *call = qualities[code >> 2].map_or(UNMAPPED, |quality| quality << 2 | base);
        }
    }
    Ok((calls, gaps))
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
        let calls = &header.packing.calls;
        assert_eq!([calls[0], calls[2], calls[15]], [0, 2, 37 << 2 | 3]);
        assert_eq!((header.packing.bits, header.packing.gaps), (4, false));
        assert!(!header.passing_only);
    }

    /// A header with other bits per quality and other bins, of one tile.
    fn other(quality_bits: u8, bins: &[(u32, u32)], clusters: u32, plain: u32) -> Vec<u8> {
        let fields =
            |fields: &[u32]| fields.iter().flat_map(|f| f.to_le_bytes()).collect::<Vec<_>>();
        let table: Vec<u8> = bins.iter().flat_map(|(from, to)| fields(&[*from, *to])).collect();
        let count = u32::try_from(bins.len()).unwrap();
        let tile = fields(&[1, 1101, clusters, plain, 0]);
        let body = [&[2, quality_bits][..], &fields(&[count]), &table, &tile, &[1]].concat();
        let size = u32::try_from(body.len() + 6).unwrap();
        [&1u16.to_le_bytes()[..], &size.to_le_bytes(), &body].concat()
    }

    #[test]
    fn any_table_of_bins_is_read_and_the_block_s_size_tells_how_clusters_are_packed() {
        let parse = |bytes: Vec<u8>| Header::parse(&bytes, 1000);
        let bits = |quality_bits, clusters, plain| {
            parse(other(quality_bits, &[(0, 2), (1, 30)], clusters, plain)).map(|h| h.packing.bits)
        };
        // Three bits a cluster, six, eight; six in a byte of their own.
        assert_eq!(bits(1, 5, 2).unwrap(), 3);
        assert_eq!((bits(4, 5, 4).unwrap(), bits(4, 5, 5).unwrap()), (6, 8));
        assert_eq!(bits(6, 5, 5).unwrap(), 8);
        assert!(bits(4, 5, 3).is_err() && bits(7, 5, 5).is_err() && bits(0, 5, 2).is_err());
        // Three bins of four: the fourth is no error before a call has it.
        let three = parse(other(2, &[(0, 2), (1, 12), (2, 40)], 4, 2)).unwrap();
        let calls = &three.packing.calls;
        assert_eq!(
            (calls[0b1011], calls[0b1101], three.packing.gaps),
            (40 << 2 | 3, UNMAPPED, true)
        );
        // Sixteen bins, and padding above six bits means nothing.
        let sixteen: Vec<(u32, u32)> = (0..16).map(|bin| (bin, 2 * bin + 1)).collect();
        let header = parse(other(4, &sixteen, 5, 5)).unwrap();
        let calls = &header.packing.calls;
        assert_eq!((calls[0b11_1110], calls[0b1111_1110]), (31 << 2 | 2, 31 << 2 | 2));
        assert!(!header.packing.gaps && header.packing.bytes(5) == 5);
        let refused = [(2, vec![]), (2, vec![(4, 2)]), (2, vec![(0, 64)]), (2, vec![(0, 63)])];
        for (quality_bits, bins) in refused {
            assert!(parse(other(quality_bits, &bins, 4, 2)).is_err(), "{bins:?}");
        }
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
            "its header says bits per base is 3, which is not 2, which four bases take"
        );
        assert_eq!(
            tampered(8, 5),
            "its header says the number of quality bins is 5, which is not what its bits can tell apart"
        );
        assert_eq!(tampered(44, 255), "it ends too early");
        assert_eq!(
            tampered(46, 255),
            "its header says the number of tiles is 16711681, which is more than a lane has"
        );
        assert_eq!(
            tampered(56, 4),
            "its header says the size of a block is 4, which is not what its clusters take"
        );
        assert!(matches!(Header::parse(&good, 100), Err(Damage::Truncated)));
        for end in 0..good.len() {
            assert!(Header::parse(&good[..end], 1000).is_err(), "cut at {end}");
        }
    }
}
