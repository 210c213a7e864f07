//! Which clusters pass, and where on the flow cell they lie: `.filter`, `.locs`, `.clocs`, and the two kinds of `.bci`.
//!
//! Filters and positions of fixed width are read by range, a strip at a time. Only `.clocs`, whose width varies, is read
//! whole.

use crate::fields::Fields;
use crate::inflate::Damage;
use crate::limits;

/// Bytes before the first record of a `.filter` or `.locs`.
pub(crate) const HEADER_BYTES: usize = 12;

/// Where a cluster lies, as a read name says it: ten times the pixel, plus 1000.
pub(crate) type Position = (i64, i64);

/// The number of clusters in a `.filter` of `file_bytes`, from its header.
pub(crate) fn filter_clusters(header: [u8; HEADER_BYTES], file_bytes: u64) -> Result<u32, Damage> {
    let mut fields = Fields(&header);
    let (zero, version, clusters) = (fields.u32()?, fields.u32()?, fields.u32()?);
    if zero != 0 || version != 3 {
        let found = if zero == 0 { version } else { zero };
        return Err(Damage::Header { what: "the version", found: found.into(), why: "is not 3" });
    }
    holds(clusters, 1, file_bytes)?;
    Ok(clusters)
}

/// The number of positions in a `.locs` of `file_bytes`, from its header.
pub(crate) fn locs_clusters(header: [u8; HEADER_BYTES], file_bytes: u64) -> Result<u32, Damage> {
    let mut fields = Fields(&header);
    let (one, version, clusters) = (fields.u32()?, fields.f32()?, fields.u32()?);
    if one != 1 {
        return Err(Damage::Header { what: "the first field", found: one.into(), why: "is not 1" });
    }
    if version.to_bits() != 1f32.to_bits() {
        let found = version.to_bits().into();
        return Err(Damage::Header { what: "the version", found, why: "is not the float 1.0" });
    }
    holds(clusters, 8, file_bytes)?;
    Ok(clusters)
}

/// Whether a file holds exactly so many records after its header.
fn holds(records: u32, record_bytes: u64, file_bytes: u64) -> Result<(), Damage> {
    let expected = HEADER_BYTES as u64 + u64::from(records) * record_bytes;
    match file_bytes {
        found if found < expected => Err(Damage::Truncated),
        found if found > expected => Err(Damage::TooLong),
        _ => Ok(()),
    }
}

/// A position from eight bytes of a `.locs`.
pub(crate) fn position(record: [u8; 8]) -> Position {
    let [a, b, c, d, e, f, g, h] = record;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a float beyond every integer becomes the nearest one, and a NaN 0: names of no cluster that exists"
    )]
    let grid = |bytes| (f64::from(f32::from_le_bytes(bytes)) * 10.0 + 1000.0).round() as i64;
    (grid([a, b, c, d]), grid([e, f, g, h]))
}

/// Bins in one row of a `.clocs`: 2048 pixels in bins of 25, rounded up.
const BINS_A_ROW: u32 = 82;

/// All positions of a `.clocs`, which must be `clusters` in number.
pub(crate) fn clocs(bytes: &[u8], clusters: Option<u32>) -> Result<Vec<Position>, Damage> {
    let mut fields = Fields(bytes);
    let version = fields.u8()?;
    if version != 1 {
        return Err(Damage::Header { what: "the version", found: version.into(), why: "is not 1" });
    }
    let bins = fields.u32()?;
    // Every bin takes at least its count, every position two bytes: what is allocated is never more than was sent.
    if bins as usize > fields.0.len() {
        return Err(Damage::Truncated);
    }
    let mut positions = Vec::with_capacity((fields.0.len() - bins as usize) / 2);
    for bin in 0..bins {
        let left = i64::from(bin % BINS_A_ROW) * 250 + 1000;
        let top = i64::from(bin / BINS_A_ROW) * 250 + 1000;
        for _ in 0..fields.u8()? {
            let [x, y] = fields.array::<2>()?;
            positions.push((left + i64::from(x), top + i64::from(y)));
        }
    }
    if !fields.0.is_empty() {
        return Err(Damage::TooLong);
    }
    match clusters {
        Some(expected) if positions.len() as u64 != u64::from(expected) => {
            Err(Damage::Count { found: positions.len() as u64, expected: expected.into() })
        }
        _ => Ok(positions),
    }
}

/// The tiles of a lane with their clusters, from `s_<lane>.bci`, in the order of the lane's files.
pub(crate) fn lane_bci(bytes: &[u8]) -> Result<Vec<(u32, u32)>, Damage> {
    if !bytes.len().is_multiple_of(8) {
        return Err(Damage::Truncated);
    }
    if bytes.len() / 8 > limits::MAX_TILES {
        let found = bytes.len() as u64 / 8;
        let why = "is more than a lane has";
        return Err(Damage::Header { what: "the number of tiles", found, why });
    }
    let mut fields = Fields(bytes);
    let mut tiles = Vec::with_capacity(bytes.len() / 8);
    while !fields.0.is_empty() {
        let (tile, clusters) = (fields.u32()?, fields.u32()?);
        if clusters > limits::MAX_TILE_CLUSTERS {
            let why = "is more than a tile has";
            return Err(Damage::Header {
                what: "the clusters of a tile",
                found: clusters.into(),
                why,
            });
        }
        tiles.push((tile, clusters));
    }
    Ok(tiles)
}

/// The virtual offsets of a cycle's tiles, from `<cycle>.bcl.bgzf.bci`; each lies inside a file of `bgzf_bytes`.
pub(crate) fn cycle_bci(bytes: &[u8], bgzf_bytes: u64) -> Result<Vec<u64>, Damage> {
    let mut fields = Fields(bytes);
    let (version, tiles) = (fields.u32()?, fields.u32()?);
    if version != 0 {
        return Err(Damage::Header { what: "the version", found: version.into(), why: "is not 0" });
    }
    match fields.0.len() as u64 {
        found if found < u64::from(tiles) * 8 => return Err(Damage::Truncated),
        found if found > u64::from(tiles) * 8 => return Err(Damage::TooLong),
        _ => {}
    }
    let mut offsets = Vec::with_capacity(tiles as usize);
    for _ in 0..tiles {
        let offset = fields.u64()?;
        if offset >> 16 > bgzf_bytes {
            let why = "lies outside the file of the cycle";
            return Err(Damage::Header { what: "the offset of a tile", found: offset >> 16, why });
        }
        offsets.push(offset);
    }
    Ok(offsets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(a: u32, b: u32, c: u32) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        for (at, field) in [a, b, c].into_iter().enumerate() {
            bytes[at * 4..at * 4 + 4].copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn a_header_must_fit_its_file() {
        assert_eq!(filter_clusters(header(0, 3, 28), 40).unwrap(), 28);
        assert!(matches!(filter_clusters(header(0, 3, 28), 39), Err(Damage::Truncated)));
        assert!(matches!(filter_clusters(header(0, 3, 28), 41), Err(Damage::TooLong)));
        assert!(matches!(filter_clusters(header(0, 2, 28), 40), Err(Damage::Header { .. })));
        let one = 1f32.to_bits();
        assert_eq!(locs_clusters(header(1, one, 200), 1612).unwrap(), 200);
        assert!(matches!(locs_clusters(header(1, one, 200), 1616), Err(Damage::TooLong)));
        assert!(matches!(locs_clusters(header(2, one, 200), 1612), Err(Damage::Header { .. })));
        assert!(matches!(locs_clusters(header(1, 1, 200), 1612), Err(Damage::Header { .. })));
    }

    #[test]
    fn positions_are_ten_times_the_pixel_plus_a_thousand() {
        let record = |x: f32, y: f32| {
            let mut bytes = [0; 8];
            bytes[..4].copy_from_slice(&x.to_le_bytes());
            bytes[4..].copy_from_slice(&y.to_le_bytes());
            position(bytes)
        };
        assert_eq!(record(0.0, 27.1), (1000, 1271));
        assert_eq!(record(0.25, -3.3), (1003, 967));
        assert_eq!(record(f32::NAN, f32::INFINITY), (0, i64::MAX));
    }

    #[test]
    fn a_clocs_counts_bins_row_by_row() {
        let mut bytes = vec![1];
        bytes.extend(83u32.to_le_bytes());
        bytes.extend([1, 7, 9]);
        bytes.extend([0; 81]);
        bytes.extend([2, 0, 0, 249, 249]);
        assert_eq!(clocs(&bytes, Some(3)).unwrap(), [(1007, 1009), (1000, 1250), (1249, 1499)]);
        assert!(matches!(clocs(&bytes, Some(2)), Err(Damage::Count { found: 3, expected: 2 })));
        assert!(matches!(clocs(&bytes[..bytes.len() - 1], None), Err(Damage::Truncated)));
        bytes.push(0);
        assert!(matches!(clocs(&bytes, None), Err(Damage::TooLong)));
    }

    #[test]
    fn offsets_must_lie_inside_the_file() {
        let mut bytes = [0u32.to_le_bytes(), 1u32.to_le_bytes()].concat();
        bytes.extend((100u64 << 16 | 4).to_le_bytes());
        assert_eq!(cycle_bci(&bytes, 100).unwrap(), [100 << 16 | 4]);
        assert!(matches!(cycle_bci(&bytes, 99), Err(Damage::Header { .. })));
        assert!(matches!(cycle_bci(&bytes[..15], 100), Err(Damage::Truncated)));
        assert_eq!(lane_bci(&[1, 0, 0, 0, 2, 0, 0, 0]).unwrap(), [(1, 2)]);
        assert!(matches!(lane_bci(&[0; 7]), Err(Damage::Truncated)));
    }
}
