//! The calls of one cycle, strip by strip.
//!
//! Whatever the format, a cycle gives one byte a cluster in the form of a `.bcl`: quality above two bits of base, 0 for a
//! no-call. Clusters that are not kept are dropped here, so that all later work sees kept clusters only; and a CBCL may
//! hold all clusters in its first cycles and only passing ones later.

use std::sync::Arc;

use crate::cbcl::{Packing, UNMAPPED};
use crate::inflate::{Damage, Reading, Stream, block_places};
use crate::lane::{Calls, Lane, Tile};

/// Clusters of a tile that are taken at once.
pub(crate) struct Strip {
    /// All clusters in the strip. Even, except in the last strip of a tile.
    pub(crate) clusters: usize,
    /// Those that pass the filter.
    pub(crate) passing: usize,
    /// Positions of the kept clusters among all of the strip.
    pub(crate) kept: Vec<u32>,
    /// For each cluster 1 if it is kept, else 0.
    pub(crate) keep: Vec<u8>,
}

impl Strip {
    fn keeps_all(&self) -> bool {
        self.kept.len() == self.clusters
    }
}

/// One cycle of the lane in progress.
pub(crate) struct CycleReader {
    /// Its position among the cycles in use.
    at: usize,
    /// Counted from 1 over all reads.
    pub(crate) cycle: u32,
    stream: Option<Stream>,
    gzip: bool,
    path: Arc<str>,
    form: Form,
    /// Where the CBCL block should end, and whether it is the last of its file.
    block_end: (u64, bool),
    raw: Vec<u8>,
    /// The calls of all clusters of a strip, where not all are kept.
    all: Vec<u8>,
    /// In a stream of all tiles: the cluster that comes next, and where tiles begin once that had to be found out.
    next_cluster: u64,
    starts: Vec<(u64, u64)>,
    /// Whether damage makes N of a tile's calls rather than an end of the work.
    ignore: bool,
    lost: Option<Damage>,
    /// The calls of the kept clusters of the strip.
    pub(crate) calls: Vec<u8>,
}

/// How a cluster's call is stored.
enum Form {
    Byte,
    /// Some bits a cluster; `pending` are those of the last byte that belong to clusters yet to be given, and how many.
    Packed {
        packing: Arc<Packing>,
        passing_only: bool,
        pending: (u32, u32),
    },
    /// A block without a cluster.
    Empty,
}

impl CycleReader {
    pub(crate) fn new(at: usize, cycle: u32, ignore: bool) -> Self {
        Self {
            at,
            cycle,
            stream: None,
            gzip: false,
            path: Arc::from(""),
            form: Form::Empty,
            block_end: (0, false),
            raw: Vec::new(),
            all: Vec::new(),
            next_cluster: 0,
            starts: Vec::new(),
            ignore,
            lost: None,
            calls: Vec::new(),
        }
    }

    /// What made N of calls of the tile in work.
    pub(crate) fn lost(&self) -> Option<&Damage> {
        self.lost.as_ref()
    }

    /// Takes damage as what it is, or as the reason for N from here to the end of the tile.
    fn or_lose<T>(&mut self, result: Result<T, Damage>, instead: T) -> Result<T, Damage> {
        match result {
            Err(damage) if self.ignore => {
                self.lost = Some(damage);
                Ok(instead)
            }
            other => other,
        }
    }

    /// The file that is being read.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Begins a lane: opens the stream of a cycle that holds all tiles.
    pub(crate) fn begin_lane(&mut self, lane: &Lane, reading: &Reading<'_>) -> Result<(), Damage> {
        self.lost = None;
        let begun = self.open_lane(lane, reading);
        self.or_lose(begun, ())
    }

    fn open_lane(&mut self, lane: &Lane, reading: &Reading<'_>) -> Result<(), Damage> {
        if let Calls::Bgzf { clusters, .. } = lane.calls {
            self.path = Arc::from(lane.cycle_path(self.cycle));
            self.form = Form::Byte;
            self.turn_to(true, 0, u64::MAX);
            self.expect_count(reading, clusters)?;
            self.next_cluster = 0;
            self.starts.clear();
        }
        Ok(())
    }

    /// Begins a tile of which `passing` clusters pass the filter. With `scratch` its calls are inflated at once.
    pub(crate) fn begin_tile(
        &mut self,
        lane: &Lane,
        tile: &Tile,
        passing: u32,
        reading: &Reading<'_>,
        scratch: Option<&mut Vec<u8>>,
    ) -> Result<(), Damage> {
        // A stream of all tiles that was lost stays lost.
        if !matches!(lane.calls, Calls::Bgzf { .. }) {
            self.lost = None;
        }
        let begun = self.open_tile(lane, tile, passing, reading, scratch);
        self.or_lose(begun, ())
    }

    fn open_tile(
        &mut self,
        lane: &Lane,
        tile: &Tile,
        passing: u32,
        reading: &Reading<'_>,
        scratch: Option<&mut Vec<u8>>,
    ) -> Result<(), Damage> {
        match &lane.calls {
            Calls::Bgzf { starts, .. } => {
                let (at, first) = tile.in_stream;
                if self.lost.is_none() && self.next_cluster != first {
                    // Tiles do not come in the order of the stream, or the first ones were done before.
                    if self.starts.is_empty() {
                        self.starts = block_places(reading, &self.path, starts)?;
                    }
                    let (offset, inside) = self.starts[at];
                    self.turn_to(true, offset, u64::MAX);
                    if let Some(stream) = &mut self.stream {
                        stream.pass_over(reading, inside)?;
                    }
                    self.next_cluster = first;
                }
                Ok(())
            }
            Calls::Bcl { gzip } => {
                self.path = Arc::from(lane.tile_path(tile.number, self.cycle, *gzip));
                self.form = Form::Byte;
                self.turn_to(*gzip, 0, u64::MAX);
                if *gzip {
                    let plain = tile.clusters as usize + 4;
                    self.hold(reading, (0, u64::MAX), None, plain, scratch)?;
                }
                self.expect_count(reading, tile.clusters.into())
            }
            Calls::Cbcl(cycles) => {
                let cycle = &cycles[self.at];
                self.path = match cycle.files.first() {
                    Some((path, ..)) => Arc::clone(path),
                    None => Arc::from(lane.cycle_folder(self.cycle)),
                };
                let (path, bytes, header, block) =
                    cycle.block(tile.number).ok_or(Damage::NoTile)?;
                self.path = Arc::clone(path);
                let expected = if header.passing_only { passing } else { tile.clusters };
                if block.clusters != expected {
                    let (found, expected) = (block.clusters.into(), expected.into());
                    return Err(Damage::Count { found, expected });
                }
                let (packing, passing_only) = (Arc::clone(&header.packing), header.passing_only);
                let plain = packing.bytes(block.clusters) as usize;
                self.form = match block.clusters {
                    0 => Form::Empty,
                    _ => Form::Packed { packing, passing_only, pending: (0, 0) },
                };
                // The last block runs to the end of the file whatever the header says of its length: files exist whose
                // last block is one byte longer, and the gzip trailer knows better.
                let last = header.blocks.last() == Some(&block);
                let end = block.offset + u64::from(block.compressed);
                self.block_end = (end, last);
                let range = (block.offset, if last { bytes } else { end });
                self.turn_to(true, range.0, range.1);
                if block.clusters > 0 {
                    self.hold(reading, range, Some(block.compressed as usize), plain, scratch)?;
                }
                Ok(())
            }
        }
    }

    /// Reads the calls of the next strip into [`Self::calls`].
    pub(crate) fn strip(&mut self, strip: &Strip, reading: &Reading<'_>) -> Result<(), Damage> {
        if self.lost.is_none() {
            let read = self.read_strip(strip, reading);
            self.or_lose(read, ())?;
        }
        if self.lost.is_some() {
            self.calls.clear();
            self.calls.resize(strip.kept.len(), 0);
        }
        Ok(())
    }

    fn read_strip(&mut self, strip: &Strip, reading: &Reading<'_>) -> Result<(), Damage> {
        let kept = strip.kept.len();
        self.calls.clear();
        self.next_cluster += strip.clusters as u64;
        let Some(stream) = &mut self.stream else { return Err(Damage::Truncated) };
        match &mut self.form {
            Form::Empty if kept == 0 => {}
            Form::Empty => return Err(Damage::OnlyPassing),
            Form::Byte if strip.keeps_all() => {
                self.calls.resize(kept, 0);
                stream.exact(reading, &mut self.calls)?;
            }
            Form::Byte => {
                self.raw.resize(strip.clusters, 0);
                stream.exact(reading, &mut self.raw)?;
                self.calls.extend(strip.kept.iter().map(|cluster| self.raw[*cluster as usize]));
            }
            Form::Packed { packing, passing_only: false, .. } => {
                let clusters = u32::try_from(strip.clusters).expect("a strip has few clusters");
                self.raw.resize(packing.bytes(clusters) as usize, 0);
                stream.exact(reading, &mut self.raw)?;
                // Strips begin with a multiple of eight clusters and so with a byte.
                let mut from = (0, 0);
                if strip.keeps_all() {
                    unpack(&self.raw, packing, strip.clusters, &mut from, &mut self.calls);
                } else {
                    self.all.clear();
                    if packing.bits == 4 {
                        unpack_kept(&self.raw, &packing.pairs, &strip.keep, kept, &mut self.calls);
                    } else {
                        unpack(&self.raw, packing, strip.clusters, &mut from, &mut self.all);
                        self.calls.extend(strip.kept.iter().map(|at| self.all[*at as usize]));
                    }
                }
                mapped(packing, &self.calls)?;
            }
            Form::Packed { packing, passing_only: true, pending } => {
                if kept != strip.passing {
                    return Err(Damage::OnlyPassing);
                }
                let bits = (kept as u64 * u64::from(packing.bits)).saturating_sub(pending.1.into());
                let bytes = usize::try_from(bits.div_ceil(8)).expect("a strip fits in memory");
                self.raw.resize(bytes, 0);
                stream.exact(reading, &mut self.raw)?;
                unpack(&self.raw, packing, kept, pending, &mut self.calls);
                mapped(packing, &self.calls)?;
            }
        }
        Ok(())
    }

    /// Ends a tile. Gives a remark where a file is otherwise than its header says but whole.
    pub(crate) fn end_tile(
        &mut self,
        lane: &Lane,
        reading: &Reading<'_>,
    ) -> Result<Option<BlockLength>, Damage> {
        if self.lost.is_some() {
            return Ok(None);
        }
        let ended = self.close_tile(lane, reading);
        self.or_lose(ended, None)
    }

    fn close_tile(
        &mut self,
        lane: &Lane,
        reading: &Reading<'_>,
    ) -> Result<Option<BlockLength>, Damage> {
        let Some(stream) = &mut self.stream else { return Err(Damage::Truncated) };
        match &lane.calls {
            // After the last tile of the stream nothing may follow.
            Calls::Bgzf { clusters, .. } if self.next_cluster == *clusters => {
                stream.finish(reading).map(|_| None)
            }
            Calls::Bgzf { .. } => Ok(None),
            Calls::Bcl { .. } => stream.finish(reading).map(|_| None),
            Calls::Cbcl(_) => {
                if matches!(self.form, Form::Empty) {
                    return Ok(None);
                }
                let (stated, last) = self.block_end;
                let found = stream.finish_member(reading)?;
                match found == stated {
                    true => Ok(None),
                    false if last => Ok(Some(BlockLength { stated, found })),
                    false => Err(Damage::TooLong),
                }
            }
        }
    }

    /// Inflates a tile at once where there is memory for it. Where there is not and damage is no end, it is seen to be sound
    /// first: its checksum comes last, when calls of it would have been given already.
    fn hold(
        &mut self,
        reading: &Reading<'_>,
        (offset, end): (u64, u64),
        packed: Option<usize>,
        plain: usize,
        scratch: Option<&mut Vec<u8>>,
    ) -> Result<(), Damage> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let held = match scratch {
            Some(scratch) => stream.hold(reading, packed, plain, scratch)?,
            None => false,
        };
        if !held && self.ignore {
            stream.check(reading, plain)?;
            stream.turn_to(&self.path, offset, end);
        }
        Ok(())
    }

    fn turn_to(&mut self, gzip: bool, offset: u64, end: u64) {
        if self.stream.is_none() || self.gzip != gzip {
            self.stream = Some(Stream::new(gzip));
            self.gzip = gzip;
        }
        if let Some(stream) = &mut self.stream {
            stream.turn_to(&self.path, offset, end);
        }
    }

    fn expect_count(&mut self, reading: &Reading<'_>, expected: u64) -> Result<(), Damage> {
        let Some(stream) = &mut self.stream else { return Err(Damage::Truncated) };
        let mut count = [0; 4];
        stream.exact(reading, &mut count)?;
        let found = u64::from(u32::from_le_bytes(count));
        if found == expected { Ok(()) } else { Err(Damage::Count { found, expected }) }
    }
}

/// Gives the calls of the clusters that are kept, of two in a byte: every call is written, and the place moves on for those
/// that are kept, as no processor guesses which ones pass.
fn unpack_kept(raw: &[u8], pairs: &[[u8; 2]; 256], keep: &[u8], kept: usize, into: &mut Vec<u8>) {
    // One more than are kept: what follows the last one is written there.
    into.clear();
    into.resize(kept + 1, 0);
    let mut at = 0;
    let (twos, last) = keep.as_chunks::<2>();
    for ([first, second], byte) in twos.iter().zip(raw) {
        let [low, high] = pairs[usize::from(*byte)];
        into[at] = low;
        at += usize::from(*first);
        into[at] = high;
        at += usize::from(*second);
    }
    if let ([keep], Some(byte)) = (last, raw.get(twos.len())) {
        into[at] = pairs[usize::from(*byte)][0];
        at += usize::from(*keep);
    }
    into.truncate(at);
}

/// Adds the calls of so many clusters; `pending` are bits from before `raw`, and then those that are left over.
fn unpack(
    raw: &[u8],
    packing: &Packing,
    clusters: usize,
    pending: &mut (u32, u32),
    into: &mut Vec<u8>,
) {
    if clusters == 0 {
        return;
    }
    if packing.bits == 4 {
        let mut left = clusters;
        if let (half, 4) = std::mem::take(pending) {
            into.push(packing.calls[half as usize]);
            left -= 1;
        }
        let (whole, rest) = raw.split_at(left / 2);
        let at = into.len();
        into.resize(at + 2 * whole.len(), 0);
        for (pair, byte) in into[at..].chunks_exact_mut(2).zip(whole) {
            pair.copy_from_slice(&packing.pairs[usize::from(*byte)]);
        }
        if let ([byte, ..], 1) = (rest, left % 2) {
            into.push(packing.calls[usize::from(byte & 15)]);
            *pending = (u32::from(byte >> 4), 4);
        }
        return;
    }
    let (mut held, mut bits) = *pending;
    let mut bytes = raw.iter();
    let mask = (1u32 << packing.bits) - 1;
    into.extend((0..clusters).map(|_| {
        if bits < packing.bits {
            held |= u32::from(*bytes.next().unwrap_or(&0)) << bits;
            bits += 8;
        }
        let code = held & mask;
        held >>= packing.bits;
        bits -= packing.bits;
        packing.calls[code as usize]
    }));
    *pending = (held, bits);
}

/// Sees that no call has a bin that the header gives no quality for.
fn mapped(packing: &Packing, calls: &[u8]) -> Result<(), Damage> {
    if packing.gaps && calls.contains(&UNMAPPED) { Err(Damage::Unmapped) } else { Ok(()) }
}

/// A block that ends elsewhere than its header says, though its checksum is right.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockLength {
    pub(crate) stated: u64,
    pub(crate) found: u64,
}
