//! The files of one lane: which format, which tiles in which order, and where each tile's calls, filter and positions lie.
//!
//! The order of tiles is RunInfo's list, else what the folder says, also for bgzf, whose streams hold the tiles of a lane one
//! after another as `s_<lane>.bci` lists them. A tile that RunInfo lists and the folder lacks is an error; one that the folder has and RunInfo does not
//! list comes last, with a warning, because its reads were sequenced all the same. Nothing is derived from a tile's number.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::cbcl::{self, Block, Header};
use crate::error::{DemuxError, Missing, Place};
use crate::inflate::{Damage, Reading};
use crate::limits;
use crate::member::Framing;
use crate::places::{self, HEADER_BYTES};
use crate::plan::Plan;
use crate::source::{Entry, read_small};

/// Every file of the run folder with its length.
pub(crate) struct Listing(BTreeMap<String, u64>);

impl Listing {
    pub(crate) fn of(entries: Vec<Entry>) -> Result<Self, DemuxError> {
        if entries.len() > limits::MAX_FILES {
            return Err(DemuxError::TooManyFiles(entries.len()));
        }
        Ok(Self(entries.into_iter().map(|entry| (entry.path, entry.bytes)).collect()))
    }

    pub(crate) fn bytes(&self, path: &str) -> Option<u64> {
        self.0.get(path).copied()
    }

    /// The names in a folder (given with its last `/`), not those in folders below it.
    fn names<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .range(folder.to_owned()..)
            .map_while(move |(path, _)| path.strip_prefix(folder))
            .filter(|name| !name.contains('/'))
    }

    /// The lanes that have a folder of base calls.
    pub(crate) fn lanes(&self) -> Vec<u32> {
        let folders = self.0.range(BASECALLS.to_owned()..);
        let mut lanes: Vec<u32> = folders
            .map_while(|(path, _)| path.strip_prefix(BASECALLS))
            .filter_map(|rest| rest.split_once('/')?.0.strip_prefix('L')?.parse().ok())
            .filter(|lane| (1..=limits::MAX_LANES).contains(lane))
            .collect();
        lanes.sort_unstable();
        lanes.dedup();
        lanes
    }

    /// Whether a lane has any file of a cycle, in whatever format.
    pub(crate) fn has_cycle(&self, lane: u32, cycle: u32) -> bool {
        let folder = folder(lane);
        self.names(&format!("{folder}C{cycle}.1/")).next().is_some()
            || self.bytes(&format!("{folder}{cycle:04}.bcl.bgzf")).is_some()
    }

    /// Bytes of all base calls of a lane.
    pub(crate) fn lane_bytes(&self, lane: u32) -> u64 {
        let folder = folder(lane);
        let files = self.0.range(folder.clone()..);
        files.take_while(|(path, _)| path.starts_with(&folder)).map(|(_, bytes)| bytes).sum()
    }
}

const BASECALLS: &str = "Data/Intensities/BaseCalls/";
const INTENSITIES: &str = "Data/Intensities/";

fn folder(lane: u32) -> String {
    format!("{BASECALLS}L{lane:03}/")
}

/// How a lane's base calls are stored.
pub(crate) enum Calls {
    /// One entry per used cycle of the plan.
    Cbcl(Vec<CbclCycle>),
    /// A file per tile and cycle.
    Bcl { gzip: bool },
    /// A file per cycle, all tiles in one stream: the clusters of all, and where each tile begins in it.
    Bgzf { clusters: u64, starts: Vec<u64> },
}

/// Bytes before the first cluster of a `.bcl`.
const COUNT_BYTES: u64 = 4;

/// The CBCL files of one cycle.
pub(crate) struct CbclCycle {
    pub(crate) files: Vec<(Arc<str>, u64, Header)>,
    /// Which file and which block in it hold a tile.
    places: HashMap<u32, (usize, usize)>,
}

impl CbclCycle {
    /// The file, its length, its header and the block of a tile.
    pub(crate) fn block(&self, tile: u32) -> Option<(&Arc<str>, u64, &Header, Block)> {
        let (file, block) = *self.places.get(&tile)?;
        let (path, bytes, header) = &self.files[file];
        Some((path, *bytes, header, header.blocks[block]))
    }
}

/// Where positions are read from.
pub(crate) enum Positions {
    /// Records of eight bytes, the tile's first one being `first`.
    Locs { path: Arc<str>, first: u64 },
    /// A `.clocs`, read whole when its tile comes.
    Clocs { path: Arc<str> },
}

/// One tile of a lane.
pub(crate) struct Tile {
    pub(crate) number: u32,
    pub(crate) clusters: u32,
    pub(crate) filter: Arc<str>,
    /// The tile's first byte in the filter.
    pub(crate) filter_offset: u64,
    pub(crate) positions: Positions,
    /// Where a lane's tiles lie in one stream: which of them this is, and the clusters before it.
    pub(crate) in_stream: (usize, u64),
}

/// One lane, ready to be read.
pub(crate) struct Lane {
    pub(crate) number: u32,
    pub(crate) calls: Calls,
    pub(crate) tiles: Vec<Tile>,
    /// Tiles that are not among these because something of theirs is missing.
    pub(crate) left_out: u64,
    /// What is missing, where going on was asked for.
    pub(crate) missing: Vec<Missing>,
}

impl Lane {
    /// Finds out what a lane consists of. Every file that the plan needs is seen to be there.
    pub(crate) fn discover(
        number: u32,
        plan: &Plan,
        listing: &Listing,
        reading: &Reading<'_>,
        warnings: &mut Vec<String>,
    ) -> Result<Self, DemuxError> {
        let missing = RefCell::default();
        let finder = Finder { number, plan, listing, reading, folder: folder(number), missing };
        finder.lane(warnings)
    }

    /// Bytes of a tile's calls in one cycle, inflated: in the cycle that takes most.
    pub(crate) fn tile_bytes(&self, tile: &Tile) -> u64 {
        match &self.calls {
            Calls::Cbcl(cycles) => {
                let headers = cycles.iter().flat_map(|cycle| &cycle.files);
                let bytes = headers.map(|(_, _, header)| header.packing.bytes(tile.clusters));
                bytes.max().unwrap_or(0).into()
            }
            Calls::Bcl { .. } | Calls::Bgzf { .. } => u64::from(tile.clusters),
        }
    }

    /// Sees that the calls of some cycles look whole, in a folder that may still be growing: as long as they announce, or with
    /// the end that such a file has. Whether they are is for their checksums to say.
    pub(crate) fn looks_whole(
        &self,
        cycles: impl Iterator<Item = u32>,
        listing: &Listing,
        reading: &Reading<'_>,
    ) -> Result<(), DemuxError> {
        let ends_with = |path: &str, bytes: u64, end: &[u8]| -> Result<(), Damage> {
            let offset = bytes.checked_sub(end.len() as u64).ok_or(Damage::Truncated)?;
            let mut found = vec![0; end.len()];
            reading.exact(path, offset, &mut found)?;
            if found == end { Ok(()) } else { Err(Damage::Truncated) }
        };
        let check = |path: String, tile: Option<u32>, cycle, end: &[u8], least: u64| {
            let place = Place { lane: self.number, tile, cycle: Some(cycle) };
            let Some(bytes) = listing.bytes(&path) else {
                return Err(DemuxError::Missing { place, path });
            };
            let whole = match bytes < least {
                true => Err(Damage::Truncated),
                false => ends_with(&path, bytes, end),
            };
            whole.map_err(|damage| DemuxError::Damaged { place, path, damage })
        };
        match &self.calls {
            // The header of each file was read, and held against the file's length.
            Calls::Cbcl(_) => Ok(()),
            Calls::Bgzf { .. } => {
                for cycle in cycles {
                    check(self.cycle_path(cycle), None, cycle, Framing::Bgzf.end(false), 0)?;
                }
                Ok(())
            }
            Calls::Bcl { gzip } => {
                for cycle in cycles {
                    for tile in &self.tiles {
                        let path = self.tile_path(tile.number, cycle, *gzip);
                        // The length that ends a gzip member.
                        let plain = tile.clusters + 4;
                        let stated = plain.to_le_bytes();
                        let (end, least) = match gzip {
                            true => (&stated[..], 18),
                            false => (&[][..], plain.into()),
                        };
                        check(path, Some(tile.number), cycle, end, least)?;
                    }
                }
                Ok(())
            }
        }
    }

    /// The file of a tile's calls in a format that has one for each.
    pub(crate) fn tile_path(&self, tile: u32, cycle: u32, gzip: bool) -> String {
        tile_path(&folder(self.number), self.number, tile, cycle, gzip)
    }

    /// The folder of a cycle's files.
    pub(crate) fn cycle_folder(&self, cycle: u32) -> String {
        format!("{}C{cycle}.1/", folder(self.number))
    }

    /// The file of a cycle in a format that has one for all tiles.
    pub(crate) fn cycle_path(&self, cycle: u32) -> String {
        format!("{}{cycle:04}.bcl.bgzf", folder(self.number))
    }
}

fn tile_path(folder: &str, lane: u32, tile: u32, cycle: u32, gzip: bool) -> String {
    format!("{folder}C{cycle}.1/s_{lane}_{tile}.bcl{}", if gzip { ".gz" } else { "" })
}

struct Finder<'a> {
    number: u32,
    plan: &'a Plan,
    listing: &'a Listing,
    reading: &'a Reading<'a>,
    folder: String,
    /// What was passed over because going on was asked for.
    missing: RefCell<Vec<Missing>>,
}

impl Finder<'_> {
    fn lane(self, warnings: &mut Vec<String>) -> Result<Lane, DemuxError> {
        let has = |suffix: &str| self.names_of_calls(suffix).next().is_some();
        let (calls, tiles) = if has(".cbcl") {
            let names: Vec<String> = self.names_of_calls(".cbcl").collect();
            let used = self.plan.used.iter();
            let cycles = used.map(|used| self.cbcl_cycle(used.cycle, &names));
            let cycles = cycles.collect::<Result<Vec<_>, _>>()?;
            let (mut listed, mut seen) = (Vec::new(), HashSet::new());
            // What tells of the tiles may be a cycle that is not read in this pass.
            let reads_first =
                self.plan.used.first().is_none_or(|u| u.cycle == self.plan.first_cycle);
            let telling = match reads_first {
                true => None,
                false => Some(self.cbcl_cycle(self.plan.first_cycle, &names)?),
            };
            for cycle in telling.iter().chain(&cycles).take(self.looked_at()) {
                let blocks = cycle.files.iter().flat_map(|(_, _, header)| &header.blocks);
                listed.extend(blocks.map(|block| block.tile).filter(|tile| seen.insert(*tile)));
            }
            let tiles = self.in_order(listed, warnings)?;
            (Calls::Cbcl(cycles), self.with_filters(tiles)?)
        } else if has(".bcl") || has(".bcl.gz") {
            let gzip = has(".bcl.gz");
            let tiles = self.in_order(self.bcl_tiles(gzip), warnings)?;
            if !self.plan.options.ignore_missing {
                for used in &self.plan.used {
                    for tile in &tiles {
                        let path = tile_path(&self.folder, self.number, *tile, used.cycle, gzip);
                        self.there(&path, Some(*tile), Some(used.cycle))?;
                    }
                }
            }
            (Calls::Bcl { gzip }, self.with_filters(tiles)?)
        } else if self.listing.names(&self.folder).any(|name| name.ends_with(".bcl.bgzf")) {
            let (tiles, clusters) = self.bgzf_tiles(warnings)?;
            let mut starts: Vec<u64> = Vec::new();
            let mut first = COUNT_BYTES;
            for clusters in clusters {
                starts.push(first);
                first += u64::from(clusters);
            }
            (Calls::Bgzf { clusters: first - COUNT_BYTES, starts }, tiles)
        } else if self.listing.lane_bytes(self.number) == 0 {
            return Err(DemuxError::NoLane(self.number));
        } else {
            let cycle = self.plan.first_cycle;
            return Err(DemuxError::NoCalls { lane: self.number, cycle });
        };
        let missing = self.missing.into_inner();
        let left_out = missing.iter().filter(|m| m.place.tile.is_some() && m.place.cycle.is_none());
        Ok(Lane { number: self.number, calls, tiles, left_out: left_out.count() as u64, missing })
    }

    /// Cycles that are looked at to see what a lane has: the first, or all of them where some may be missing.
    fn looked_at(&self) -> usize {
        if self.plan.options.ignore_missing { usize::MAX } else { 1 }
    }

    /// The names of a lane's files of calls, in the folders of cycles that are looked at.
    fn names_of_calls(&self, suffix: &str) -> impl Iterator<Item = String> {
        let mut names = BTreeSet::new();
        let used = self.plan.used.iter().map(|used| used.cycle);
        for cycle in [self.plan.first_cycle].into_iter().chain(used).take(self.looked_at()) {
            let folder = format!("{}C{cycle}.1/", self.folder);
            let found = self.listing.names(&folder).filter(|name| name.ends_with(suffix));
            names.extend(found.map(str::to_owned));
        }
        names.into_iter()
    }

    /// Takes a missing or damaged part as an error, or, where going on was asked for, as `None` with a note.
    fn or_note<T>(&self, found: Result<T, DemuxError>) -> Result<Option<T>, DemuxError> {
        let missing = match found {
            Ok(found) => return Ok(Some(found)),
            Err(error) if !self.plan.options.ignore_missing => return Err(error),
            Err(DemuxError::Missing { place, path }) => {
                Missing { place, path, reason: "it is missing".to_owned() }
            }
            Err(DemuxError::Damaged { place, path, damage }) => Missing::of(place, &path, &damage),
            Err(DemuxError::NoPositions { lane, tile } | DemuxError::NoTile { lane, tile }) => {
                Missing {
                    place: Place { lane, tile: Some(tile), cycle: None },
                    path: String::new(),
                    reason: "the run folder does not have it".to_owned(),
                }
            }
            Err(other) => return Err(other),
        };
        self.missing.borrow_mut().push(missing);
        Ok(None)
    }

    /// The header of every CBCL file of a cycle.
    fn cbcl_cycle(&self, number: u32, names: &[String]) -> Result<CbclCycle, DemuxError> {
        let mut cycle = CbclCycle { files: Vec::new(), places: HashMap::new() };
        for name in names {
            let path = format!("{}C{number}.1/{name}", self.folder);
            let read = self.there(&path, None, Some(number)).and_then(|bytes| {
                let header = self.cbcl_header(&path, bytes);
                let damaged = |damage| self.damaged(None, Some(number), &path, damage);
                Ok((bytes, header.map_err(damaged)?))
            });
            let Some((bytes, header)) = self.or_note(read)? else { continue };
            let file = cycle.files.len();
            for (at, block) in header.blocks.iter().enumerate() {
                cycle.places.insert(block.tile, (file, at));
            }
            cycle.files.push((Arc::from(path), bytes, header));
        }
        Ok(cycle)
    }

    fn cbcl_header(&self, path: &str, file_bytes: u64) -> Result<Header, Damage> {
        let mut start = [0; cbcl::SIZE_BYTES];
        self.reading.exact(path, 0, &mut start)?;
        let size = cbcl::header_bytes(start)?;
        if u64::from(size) > file_bytes {
            return Err(Damage::Truncated);
        }
        let mut bytes = vec![0; size as usize];
        self.reading.exact(path, 0, &mut bytes)?;
        Header::parse(&bytes, file_bytes)
    }

    fn bcl_tiles(&self, gzip: bool) -> Vec<u32> {
        let suffix = if gzip { ".bcl.gz" } else { ".bcl" };
        let prefix = format!("s_{}_", self.number);
        let number = |name: String| name.strip_prefix(&prefix)?.strip_suffix(suffix)?.parse().ok();
        let mut tiles: Vec<u32> = self.names_of_calls(suffix).filter_map(number).collect();
        tiles.sort_unstable();
        tiles
    }

    /// The tiles of the folder in RunInfo's order, those that it does not list last.
    fn in_order(
        &self,
        found: Vec<u32>,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<u32>, DemuxError> {
        if found.len() > limits::MAX_TILES {
            return Err(DemuxError::TooManyTiles { lane: self.number, tiles: found.len() });
        }
        let there: HashSet<u32> = found.iter().copied().collect();
        let mut taken = HashSet::new();
        let mut order = Vec::with_capacity(found.len());
        for tile in self.plan.run.tiles_of(self.number) {
            if !there.contains(&tile) {
                self.or_note::<()>(Err(DemuxError::NoTile { lane: self.number, tile }))?;
                continue;
            }
            if taken.insert(tile) {
                order.push(tile);
            }
        }
        let listed = !order.is_empty();
        for tile in found {
            if taken.insert(tile) {
                if listed {
                    let lane = self.number;
                    warnings.push(format!(
                        "tile {tile} of lane {lane} is in the folder but not in RunInfo.xml; its reads come last"
                    ));
                }
                order.push(tile);
            }
        }
        Ok(order)
    }

    /// Finds filter and positions of tiles that have a filter each.
    fn with_filters(&self, tiles: Vec<u32>) -> Result<Vec<Tile>, DemuxError> {
        let lane = self.number;
        let mut found = Vec::with_capacity(tiles.len());
        for number in tiles {
            let name = format!("s_{lane}_{number:04}.filter");
            let inside = format!("{}{name}", self.folder);
            let beside = format!("{BASECALLS}{name}");
            let path = match self.listing.bytes(&inside).is_none()
                && self.listing.bytes(&beside).is_some()
            {
                true => beside,
                false => inside,
            };
            let tile = self.filter(&path, Some(number)).and_then(|clusters| {
                Ok(Tile {
                    number,
                    clusters,
                    filter: Arc::from(path.as_str()),
                    filter_offset: HEADER_BYTES as u64,
                    positions: self.positions(number, clusters, None)?,
                    in_stream: (0, 0),
                })
            });
            found.extend(self.or_note(tile)?);
        }
        Ok(found)
    }

    fn filter(&self, path: &str, tile: Option<u32>) -> Result<u32, DemuxError> {
        let bytes = self.there(path, tile, None)?;
        let mut header = [0; HEADER_BYTES];
        let clusters = self
            .reading
            .exact(path, 0, &mut header)
            .and_then(|()| places::filter_clusters(header, bytes))
            .map_err(|damage| self.damaged(tile, None, path, damage))?;
        if tile.is_some() && clusters > limits::MAX_TILE_CLUSTERS {
            let why = "is more than a tile has";
            let damage = Damage::Header { what: "the clusters", found: clusters.into(), why };
            return Err(self.damaged(tile, None, path, damage));
        }
        Ok(clusters)
    }

    /// The positions of a tile: one grid for all tiles, a file per tile, or, with `in_lane` (the tile's first cluster and the
    /// lane's clusters), one file per lane.
    fn positions(
        &self,
        tile: u32,
        clusters: u32,
        in_lane: Option<(u64, u64)>,
    ) -> Result<Positions, DemuxError> {
        let lane = self.number;
        let lane_folder = format!("{INTENSITIES}L{lane:03}/");
        let whole_lane = format!("{lane_folder}s_{lane}.locs");
        let own = format!("{lane_folder}s_{lane}_{tile:04}.locs");
        let own_short = format!("{lane_folder}s_{lane}_{tile:04}.clocs");
        let grid = format!("{INTENSITIES}s.locs");
        let (path, first, expected) =
            if let (Some((first, total)), Some(_)) = (in_lane, self.listing.bytes(&whole_lane)) {
                (whole_lane, first, total)
            } else if self.listing.bytes(&own).is_some() {
                (own, 0, u64::from(clusters))
            } else if self.listing.bytes(&own_short).is_some() {
                let bytes = self.there(&own_short, Some(tile), None)?;
                if bytes > limits::MAX_CLOCS_BYTES {
                    let why = "is more than positions take";
                    let damage = Damage::Header { what: "its length", found: bytes, why };
                    return Err(self.damaged(Some(tile), None, &own_short, damage));
                }
                return Ok(Positions::Clocs { path: Arc::from(own_short) });
            } else if self.listing.bytes(&grid).is_some() {
                (grid, 0, u64::from(clusters))
            } else {
                return Err(DemuxError::NoPositions { lane, tile });
            };
        let bytes = self.there(&path, Some(tile), None)?;
        self.locs_header(&path, bytes, expected)
            .map_err(|damage| self.damaged(Some(tile), None, &path, damage))?;
        Ok(Positions::Locs { path: Arc::from(path), first })
    }

    fn locs_header(&self, path: &str, file_bytes: u64, expected: u64) -> Result<(), Damage> {
        let mut header = [0; HEADER_BYTES];
        self.reading.exact(path, 0, &mut header)?;
        match u64::from(places::locs_clusters(header, file_bytes)?) {
            found if found == expected => Ok(()),
            found => Err(Damage::Count { found, expected }),
        }
    }

    /// The tiles of a bgzf lane in their order, and the clusters of each in the order in which its streams hold them.
    fn bgzf_tiles(&self, warnings: &mut Vec<String>) -> Result<(Vec<Tile>, Vec<u32>), DemuxError> {
        let lane = self.number;
        let path = format!("{}s_{lane}.bci", self.folder);
        self.there(&path, None, None)?;
        let limit = limits::MAX_TILES as u64 * 8;
        let bytes = read_small(self.reading.source, &path, limit)
            .map_err(|error| self.damaged(None, None, &path, Damage::Read(error)))?;
        let listed =
            places::lane_bci(&bytes).map_err(|damage| self.damaged(None, None, &path, damage))?;
        let total: u64 = listed.iter().map(|(_, clusters)| u64::from(*clusters)).sum();
        let filter_path = format!("{}s_{lane}.filter", self.folder);
        let filtered = u64::from(self.filter(&filter_path, None)?);
        if filtered != total {
            let damage = Damage::Count { found: filtered, expected: total };
            return Err(self.damaged(None, None, &filter_path, damage));
        }
        for used in &self.plan.used {
            let calls = format!("{}{:04}.bcl.bgzf", self.folder, used.cycle);
            let there = self.there(&calls, None, Some(used.cycle));
            let Some(calls_bytes) = self.or_note(there)? else { continue };
            let index = format!("{calls}.bci");
            if self.listing.bytes(&index).is_some() {
                let read = self.cycle_index(&index, calls_bytes, listed.len());
                self.or_note(
                    read.map_err(|damage| self.damaged(None, Some(used.cycle), &index, damage)),
                )?;
            }
        }
        let filter: Arc<str> = Arc::from(filter_path);
        let mut places: HashMap<u32, (usize, u64, u32)> = HashMap::new();
        let mut first = 0;
        for (at, (number, clusters)) in listed.iter().enumerate() {
            places.insert(*number, (at, first, *clusters));
            first += u64::from(*clusters);
        }
        let order = self.in_order(listed.iter().map(|(tile, _)| *tile).collect(), warnings)?;
        let mut tiles = Vec::with_capacity(order.len());
        for number in order {
            let (at, first, clusters) = places[&number];
            let positions = self.positions(number, clusters, Some((first, total)));
            let Some(positions) = self.or_note(positions)? else { continue };
            tiles.push(Tile {
                number,
                clusters,
                filter: Arc::clone(&filter),
                filter_offset: HEADER_BYTES as u64 + first,
                positions,
                in_stream: (at, first),
            });
        }
        Ok((tiles, listed.into_iter().map(|(_, clusters)| clusters).collect()))
    }

    /// A cycle's own index must speak of the lane's tiles. Its offsets are not used: nothing would show that one is wrong, and
    /// the blocks say themselves how long they are.
    fn cycle_index(&self, path: &str, calls_bytes: u64, tiles: usize) -> Result<(), Damage> {
        let limit = limits::MAX_TILES as u64 * 8 + 8;
        let bytes = read_small(self.reading.source, path, limit).map_err(Damage::Read)?;
        let offsets = places::cycle_bci(&bytes, calls_bytes)?;
        if offsets.len() != tiles {
            let found = offsets.len() as u64;
            let why = "is not what the lane's .bci says";
            return Err(Damage::Header { what: "the number of tiles", found, why });
        }
        Ok(())
    }

    /// The length of a file that must be there.
    fn there(&self, path: &str, tile: Option<u32>, cycle: Option<u32>) -> Result<u64, DemuxError> {
        self.listing.bytes(path).ok_or_else(|| DemuxError::Missing {
            place: Place { lane: self.number, tile, cycle },
            path: path.to_owned(),
        })
    }

    fn damaged(
        &self,
        tile: Option<u32>,
        cycle: Option<u32>,
        path: &str,
        damage: Damage,
    ) -> DemuxError {
        let place = Place { lane: self.number, tile, cycle };
        DemuxError::Damaged { place, path: path.to_owned(), damage }
    }
}
