//! Tiles: how hashes and entries of the log are cut for fetching (C2SP tlog-tiles; `spec/audit-log.md` section 3).
//!
//! A tile has up to 256 hashes of one level; a level of tiles is eight levels of the tree. Tiles never change once they are
//! full, and whoever has the few that a proof needs makes the proof itself. A wrong tile makes a proof that verifies
//! nowhere, so tiles need no check of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use api::Digest;

use super::merkle::{Node, Nodes, node_hash};

/// Hashes in a full tile.
pub const TILE_WIDTH: u64 = 256;
/// The levels of the tree within one tile.
const TILE_HEIGHT: u8 = 8;
/// The highest level of tiles: 64 bits of leaves.
const HIGHEST: u8 = 7;
/// Bytes of an entry: a commitment.
pub const ENTRY_BYTES: usize = 32;

/// A tile of hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    /// Its level; hashes of level 0 are those of leaves.
    pub level: u8,
    /// Which of its level, from the left.
    pub index: u64,
    /// How many hashes it has: 256, or less at the right edge of the tree.
    pub width: u16,
}

impl Tile {
    /// The tile that has the hashes which `node` is computed from, as it is in a tree of `size` leaves, which has that node.
    pub fn of(node: Node, size: u64) -> Self {
        let (level, inner) = (node.level / TILE_HEIGHT, node.level % TILE_HEIGHT);
        let index = (node.index << inner) / TILE_WIDTH;
        Self { level, index, width: Self::width(level, index, size) }
    }

    /// How wide a tile is in a tree of `size` leaves; 0 if there is none.
    fn width(level: u8, index: u64, size: u64) -> u16 {
        let hashes = size >> (u32::from(TILE_HEIGHT) * u32::from(level));
        let start = index.saturating_mul(TILE_WIDTH);
        u16::try_from(hashes.saturating_sub(start).min(TILE_WIDTH)).unwrap_or_default()
    }

    /// Whether a tree of `size` leaves has all hashes of this tile.
    pub fn is_in(&self, size: u64) -> bool {
        self.width <= Self::width(self.level, self.index, size)
    }

    /// The nodes whose hashes the tile has, from the left.
    pub fn nodes(&self) -> impl Iterator<Item = Node> + use<> {
        let (level, start) = (self.level * TILE_HEIGHT, self.index * TILE_WIDTH);
        (0..u64::from(self.width)).map(move |at| Node { level, index: start + at })
    }

    /// The tiles that these nodes are computed from, in a tree of `size` leaves.
    pub fn for_nodes(nodes: impl IntoIterator<Item = Node>, size: u64) -> BTreeSet<Self> {
        nodes.into_iter().map(|node| Self::of(node, size)).collect()
    }
}

/// What stands below `tile/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TilePath {
    /// Hashes.
    Hashes(Tile),
    /// Entries: as a tile of level 0.
    Entries(Tile),
}

/// What is no path of a tile, or no bytes of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no tile")]
pub struct BadTile(pub String);

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tile = match self {
            Self::Hashes(tile) => {
                write!(f, "{}/", tile.level)?;
                tile
            }
            Self::Entries(tile) => {
                f.write_str("entries/")?;
                tile
            }
        };
        let mut parts = vec![tile.index % 1000];
        let mut rest = tile.index / 1000;
        while rest > 0 {
            parts.push(rest % 1000);
            rest /= 1000;
        }
        while let Some(part) = parts.pop() {
            let mark = if parts.is_empty() { "" } else { "x" };
            let end = if parts.is_empty() { "" } else { "/" };
            write!(f, "{mark}{part:03}{end}")?;
        }
        if u64::from(tile.width) < TILE_WIDTH {
            write!(f, ".p/{}", tile.width)?;
        }
        Ok(())
    }
}

impl FromStr for TilePath {
    type Err = BadTile;

    /// Reads the one spelling of a path.
    fn from_str(text: &str) -> Result<Self, BadTile> {
        let read = || {
            let (kind, rest) = text.split_once('/')?;
            let (number, width) = match rest.split_once(".p/") {
                Some((number, width)) => (number, width.parse().ok()?),
                None => (rest, 256),
            };
            let mut index: u64 = 0;
            for part in number.split('/') {
                let digits = part.strip_prefix('x').unwrap_or(part);
                if digits.len() != 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
                    return None;
                }
                index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
            }
            index.checked_mul(TILE_WIDTH)?.checked_add(TILE_WIDTH)?;
            if kind == "entries" {
                return Some(Self::Entries(Tile { level: 0, index, width }));
            }
            let level: u8 = kind.parse().ok().filter(|level| *level <= HIGHEST)?;
            Some(Self::Hashes(Tile { level, index, width }))
        };
        // Written again it must be the same: that leaves out widths of 0, leading zeros and missing marks.
        read()
            .filter(|path| {
                let (Self::Hashes(tile) | Self::Entries(tile)) = path;
                (1..=TILE_WIDTH).contains(&u64::from(tile.width)) && path.to_string() == text
            })
            .ok_or_else(|| BadTile(text.chars().take(80).collect()))
    }
}

/// The bytes of a tile of entries.
pub fn entry_bundle<'a>(entries: impl IntoIterator<Item = &'a [u8; ENTRY_BYTES]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        bytes.extend_from_slice(&[0, 32]);
        bytes.extend_from_slice(entry);
    }
    bytes
}

/// The entries in a tile of them.
pub fn entries_of(tile: &Tile, bytes: &[u8]) -> Result<Vec<[u8; ENTRY_BYTES]>, BadTile> {
    let bad = || BadTile(TilePath::Entries(*tile).to_string());
    if bytes.len() != usize::from(tile.width) * (2 + ENTRY_BYTES) {
        return Err(bad());
    }
    let (pieces, _) = bytes.as_chunks::<{ 2 + ENTRY_BYTES }>();
    pieces
        .iter()
        .map(|piece| {
            let entry = piece.strip_prefix(&[0, 32]).ok_or_else(bad)?;
            entry.try_into().map_err(|_length| bad())
        })
        .collect()
}

/// Tiles that were fetched, as a source of hashes.
#[derive(Debug, Clone, Default)]
pub struct Tiles {
    hashes: BTreeMap<(u8, u64), Vec<Digest>>,
}

impl Tiles {
    /// Takes a tile's bytes.
    ///
    /// # Errors
    /// They are not as many hashes as the tile has.
    pub fn insert(&mut self, tile: &Tile, bytes: &[u8]) -> Result<(), BadTile> {
        let (hashes, rest) = bytes.as_chunks::<32>();
        if !rest.is_empty() || hashes.len() != usize::from(tile.width) {
            return Err(BadTile(TilePath::Hashes(*tile).to_string()));
        }
        let kept = self.hashes.entry((tile.level, tile.index)).or_default();
        if kept.len() < hashes.len() {
            *kept = hashes.iter().copied().map(Digest).collect();
        }
        Ok(())
    }

    /// Whether at least as much of this tile is here.
    pub fn has(&self, tile: &Tile) -> bool {
        self.hashes
            .get(&(tile.level, tile.index))
            .is_some_and(|kept| kept.len() >= usize::from(tile.width))
    }
}

impl Nodes for Tiles {
    fn hash(&self, node: Node) -> Option<Digest> {
        let (level, inner) = (node.level / TILE_HEIGHT, node.level % TILE_HEIGHT);
        let first = node.index.checked_shl(u32::from(inner))?;
        let kept = self.hashes.get(&(level, first / TILE_WIDTH))?;
        let start = usize::try_from(first % TILE_WIDTH).ok()?;
        let mut row = kept.get(start..start + (1 << inner))?.to_vec();
        while row.len() > 1 {
            row = row.as_chunks::<2>().0.iter().map(|[l, r]| node_hash(l, r)).collect();
        }
        row.first().copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::merkle::tests::Tree;
    use super::super::merkle::{
        consistency_proof, inclusion_proof, nodes_for_consistency, nodes_for_inclusion,
        nodes_for_root, root,
    };
    use super::*;

    fn bytes(tree: &Tree, tile: &Tile) -> Vec<u8> {
        tile.nodes().flat_map(|node| tree.hash(node).unwrap().0).collect()
    }

    #[test]
    fn paths_are_those_of_the_specification() {
        let tile = |level, index, width| TilePath::Hashes(Tile { level, index, width });
        for (path, text) in [
            (tile(0, 1_234_067, 256), "0/x001/x234/067"),
            (tile(0, 273, 112), "0/273.p/112"),
            (tile(2, 0, 1), "2/000.p/1"),
            (TilePath::Entries(Tile { level: 0, index: 5, width: 256 }), "entries/005"),
        ] {
            assert_eq!(path.to_string(), text);
            assert_eq!(text.parse(), Ok(path));
        }
        for text in [
            "",
            "0",
            "0/",
            "0/5",
            "0/0005",
            "0/x005",
            "0/001/002",
            "00/005",
            "8/000",
            "0/000.p/0",
            "0/000.p/256",
            "0/000.p/01",
            "0/000.p/",
            "entries",
            "data/000",
            "0/x000/005",
            "-1/000",
            "0/000/",
            "0/x999/x999/x999/x999/x999/x999/x999/999",
            "0/+01",
            "0/000.p/+1",
        ] {
            assert!(text.parse::<TilePath>().is_err(), "{text}");
        }
    }

    /// The example of C2SP tlog-tiles: the tiles of a tree of 70,000 leaves.
    #[test]
    fn a_tree_of_seventy_thousand_leaves_has_the_tiles_of_the_specification() {
        for (level, index, width) in [
            (0, 272, 256),
            (0, 273, 112),
            (0, 274, 0),
            (1, 0, 256),
            (1, 1, 17),
            (2, 0, 1),
            (3, 0, 0),
        ] {
            assert_eq!(Tile::width(level, index, 70_000), width, "{level}/{index}");
        }
        assert_eq!((Tile::width(0, 0, 256), Tile::width(1, 0, 256)), (256, 1));
    }

    #[test]
    fn proofs_are_made_from_the_tiles_that_they_need() {
        let tree = Tree::of(66_000);
        for (from, to) in
            [(1, 2), (200, 256), (255, 257), (256, 512), (700, 65_536), (65_537, 66_000)]
        {
            let mut tiles = Tiles::default();
            let nodes = nodes_for_consistency(from, to)
                .into_iter()
                .chain(nodes_for_inclusion(from, to))
                .chain(nodes_for_root(to));
            for tile in Tile::for_nodes(nodes, to) {
                assert!(tile.is_in(to) && tile.width > 0, "{tile:?}");
                tiles.insert(&tile, &bytes(&tree, &tile)).unwrap();
                assert!(tiles.has(&tile));
            }
            assert_eq!(root(to, &tiles), root(to, &tree));
            assert_eq!(inclusion_proof(from, to, &tiles), inclusion_proof(from, to, &tree));
            assert_eq!(consistency_proof(from, to, &tiles), consistency_proof(from, to, &tree));
            assert_eq!(inclusion_proof(from, to, &Tiles::default()), None);
        }
        let tile = Tile { level: 0, index: 0, width: 3 };
        assert!(Tiles::default().insert(&tile, &[0; 95]).is_err());
        assert!(Tiles::default().insert(&tile, &[0; 128]).is_err());
    }

    #[test]
    fn entries_come_back_as_they_went_in() {
        let entries = [[1; 32], [2; 32]];
        let tile = Tile { level: 0, index: 0, width: 2 };
        let bundle = entry_bundle(&entries);
        assert_eq!(entries_of(&tile, &bundle).unwrap(), entries);
        assert!(entries_of(&tile, &bundle[1..]).is_err());
        let mut other = bundle;
        other[35] = 31;
        assert!(entries_of(&tile, &other).is_err());
    }

    proptest! {
        #[test]
        fn a_path_has_one_spelling(level in 0u8..=7, index in 0u64..(1 << 50), width in 1u16..=256) {
            let tile = Tile { level, index, width };
            for path in [TilePath::Hashes(tile), TilePath::Entries(Tile { level: 0, ..tile })] {
                prop_assert_eq!(path.to_string().parse(), Ok(path));
            }
        }
    }
}
