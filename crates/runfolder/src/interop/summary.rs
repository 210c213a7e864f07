//! Records become the figures people read: by lane, by read, and over all.
//!
//! The rules are those of Illumina's own library, found in its documents and by holding figures against it: the last cycle of
//! a read counts neither for yield, qualities nor errors, because it cannot be corrected for phasing; figures of a lane are
//! means over its tiles; and phasing below zero counts as zero (`spec/run-metrics.md` section 3).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;

use super::records::{self, At, End, TileFact};
use crate::inflate::Damage;
use crate::limits;
use crate::run_info::RunInfo;
use crate::source::{Source, read_small};

/// Figures over a read, over all reads, or over those that are no index. A figure is `None` where nothing tells it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Totals {
    /// Clusters of all lanes.
    pub clusters: Option<f64>,
    /// Of these, passing the filter.
    pub passing: Option<f64>,
    /// Bases called so far.
    pub yield_bases: Option<f64>,
    /// Bases there will be at the end.
    pub projected_bases: Option<f64>,
    /// Percent of the bases with a quality of at least 30.
    pub q30_percent: Option<f64>,
    /// Intensity of the first channel in a read's first cycle.
    pub first_cycle_intensity: Option<f64>,
    /// Percent of passing clusters that align to the control.
    pub aligned_percent: Option<f64>,
    /// Percent of bases that differ from the control.
    pub error_percent: Option<f64>,
    /// Percent of wells that are occupied.
    pub occupied_percent: Option<f64>,
    /// Percent of calls that are none.
    pub no_call_percent: Option<f64>,
}

/// Figures of one lane in one read: sums over the lane in [`LaneMetrics::totals`], means over its tiles beside it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LaneMetrics {
    /// The lane.
    pub lane: u16,
    /// Tiles that some file speaks of.
    pub tiles: usize,
    /// What a read has too.
    pub totals: Totals,
    /// Clusters of a tile.
    pub tile_clusters: Option<f64>,
    /// Passing clusters of a tile.
    pub tile_passing: Option<f64>,
    /// Clusters a square millimetre.
    pub density: Option<f64>,
    /// Passing clusters a square millimetre.
    pub density_passing: Option<f64>,
    /// Percent of clusters that pass.
    pub passing_percent: Option<f64>,
    /// Percent of molecules that fall behind in a cycle.
    pub phasing: Option<f64>,
    /// Percent of molecules that run ahead in a cycle.
    pub prephasing: Option<f64>,
    /// The line through the phasing weights of the cycles: its slope.
    pub phasing_slope: Option<f64>,
    /// Its value at cycle 0.
    pub phasing_offset: Option<f64>,
    /// The line through the prephasing weights: its slope.
    pub prephasing_slope: Option<f64>,
    /// Its value at cycle 0.
    pub prephasing_offset: Option<f64>,
}

/// One read.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadSummary {
    /// The number, index reads counted.
    pub number: usize,
    /// Whether it reads an index.
    pub indexed: bool,
    /// Its planned cycles.
    pub cycles: usize,
    /// Over all lanes.
    pub totals: Totals,
    /// Lane by lane.
    pub lanes: Vec<LaneMetrics>,
}

/// A sample that index metrics speak of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexedSample {
    /// The index as the instrument writes it, usually `i7-i5`.
    pub index: String,
    /// The sample.
    pub sample: String,
    /// Its project.
    pub project: String,
    /// Its clusters.
    pub clusters: u64,
}

/// The samples of one lane.
#[derive(Debug, Clone, PartialEq)]
pub struct LaneIndexes {
    /// The lane.
    pub lane: u16,
    /// Passing clusters, where they are known.
    pub passing: Option<f64>,
    /// Samples in order of first appearance.
    pub samples: Vec<IndexedSample>,
}

/// Calls of one cycle over all lanes, the last cycle of a read included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CycleMetrics {
    /// The cycle, counted from 1 over the whole run.
    pub cycle: u16,
    /// Calls with a quality of at least 30.
    pub q30: u64,
    /// All calls.
    pub calls: u64,
}

/// One tile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TileMetrics {
    /// Its lane.
    pub lane: u16,
    /// Its number, as the instrument writes it.
    pub tile: u32,
    /// Clusters.
    pub clusters: Option<f64>,
    /// Of these, passing the filter.
    pub passing: Option<f64>,
    /// Clusters a square millimetre.
    pub density: Option<f64>,
    /// Passing clusters a square millimetre.
    pub density_passing: Option<f64>,
}

impl CycleMetrics {
    /// Percent of the calls with a quality of at least 30; nothing of no calls.
    pub fn q30_percent(&self) -> Option<f64> {
        percent(self.q30, self.calls)
    }
}

impl TileMetrics {
    /// Percent of the clusters that pass; nothing of no clusters.
    pub fn passing_percent(&self) -> Option<f64> {
        ratio(self.passing?, self.clusters?)
    }
}

/// The summary of a run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RunMetrics {
    /// Over all reads.
    pub total: Totals,
    /// Over reads that are no index.
    pub non_index: Totals,
    /// Read by read.
    pub reads: Vec<ReadSummary>,
    /// Cycle by cycle, those with qualities.
    pub cycles: Vec<CycleMetrics>,
    /// Tile by tile, by lane and number.
    pub tiles: Vec<TileMetrics>,
    /// What was demultiplexed on the instrument.
    pub indexes: Vec<LaneIndexes>,
    /// The last cycle with qualities.
    pub last_cycle: Option<u16>,
    /// What could not be used, and what ended inside a record.
    pub remarks: Vec<String>,
}

/// Reads everything under `InterOp/` that is known and sums it up.
///
/// A file that is missing leaves its figures out. One that cannot be used does too, with a remark that names it.
pub fn summarize(source: &dyn Source, run: &RunInfo) -> io::Result<RunMetrics> {
    let mut gathered = Gathered::of(run);
    gathered.read(source)?;
    Ok(gathered.sum_up(run))
}

impl Totals {
    /// Every figure with its name.
    pub fn figures(&self) -> [(&'static str, Option<f64>); 10] {
        [
            ("clusters", self.clusters),
            ("passing", self.passing),
            ("yield_bases", self.yield_bases),
            ("projected_bases", self.projected_bases),
            ("q30_percent", self.q30_percent),
            ("first_cycle_intensity", self.first_cycle_intensity),
            ("aligned_percent", self.aligned_percent),
            ("error_percent", self.error_percent),
            ("occupied_percent", self.occupied_percent),
            ("no_call_percent", self.no_call_percent),
        ]
    }
}

impl LaneMetrics {
    /// Every figure with its name, those of [`LaneMetrics::totals`] too.
    pub fn figures(&self) -> Vec<(&'static str, Option<f64>)> {
        let mut figures = self.totals.figures().to_vec();
        figures.extend([
            ("tile_clusters", self.tile_clusters),
            ("tile_passing", self.tile_passing),
            ("density", self.density),
            ("density_passing", self.density_passing),
            ("passing_percent", self.passing_percent),
            ("phasing", self.phasing),
            ("prephasing", self.prephasing),
            ("phasing_slope", self.phasing_slope),
            ("phasing_offset", self.phasing_offset),
            ("prephasing_slope", self.prephasing_slope),
            ("prephasing_offset", self.prephasing_offset),
        ]);
        figures
    }
}

/// A mean in the making.
#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    sum: f64,
    count: u64,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    fn join(&mut self, other: Self) {
        self.sum += other.sum;
        self.count += other.count;
    }

    fn value(self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

impl FromIterator<f64> for Mean {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut mean = Self::default();
        values.into_iter().for_each(|value| mean.add(value));
        mean
    }
}

/// A least-squares line in the making.
#[derive(Debug, Clone, Copy, Default)]
struct Line {
    x: f64,
    y: f64,
    xy: f64,
    xx: f64,
    points: u32,
}

impl Line {
    fn add(&mut self, x: f64, y: f64) {
        self.x += x;
        self.y += y;
        self.xy += x * y;
        self.xx += x * x;
        self.points += 1;
    }

    /// Slope and offset; `None` for fewer than two different points.
    fn fit(&self) -> Option<(f64, f64)> {
        let points = f64::from(self.points);
        let spread = points * self.xx - self.x * self.x;
        (spread > f64::EPSILON).then(|| {
            (
                (points * self.xy - self.x * self.y) / spread,
                (self.y * self.xx - self.x * self.xy) / spread,
            )
        })
    }
}

/// Cycles of a read after which a tile's phasing is told.
const PHASING_CYCLES: u32 = 25;

#[derive(Debug, Clone, Copy, Default)]
struct Fits {
    phasing: Line,
    prephasing: Line,
    /// Slopes after [`PHASING_CYCLES`].
    told: Option<(f64, f64)>,
}

#[derive(Debug, Clone, Default)]
struct Tile {
    density: Option<f64>,
    density_passing: Option<f64>,
    clusters: Option<f64>,
    passing: Option<f64>,
    occupied: Option<f64>,
    /// By read: phasing, prephasing, aligned.
    reads: BTreeMap<usize, [Option<f64>; 3]>,
}

/// Calls of one read in one lane.
#[derive(Debug, Clone, Copy, Default)]
struct Calls {
    q30: u64,
    total: u64,
    records: u64,
}

/// Where a cycle stands.
#[derive(Debug, Clone, Copy)]
struct Cycle {
    /// Position of the read.
    read: usize,
    /// Counted from 1 in the read.
    within: usize,
    last: bool,
}

#[derive(Default)]
struct Gathered {
    cycles: Vec<Cycle>,
    first_channel: usize,
    /// Kept in order, so that sums of floats are the same every time.
    tiles: BTreeMap<(u16, u32), Tile>,
    other_tiles: HashSet<At>,
    calls: BTreeMap<(usize, u16), Calls>,
    by_cycle: BTreeMap<u16, CycleMetrics>,
    called_tiles: BTreeMap<u16, HashSet<u32>>,
    bases: BTreeMap<(usize, u16), [u64; 2]>,
    intensities: BTreeMap<(usize, u16), Mean>,
    errors: BTreeMap<(usize, u16, u32), Mean>,
    fits: BTreeMap<(usize, u16, u32), Fits>,
    indexes: BTreeMap<u16, Vec<(u16, IndexedSample)>>,
    index_at: HashMap<(u16, u16, String, String), usize>,
    last_cycle: Option<u16>,
    remarks: Vec<String>,
}

/// What is wrong with a file.
enum Trouble {
    Damaged(Damage),
    Beyond,
}

impl From<Damage> for Trouble {
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage)
    }
}

impl Gathered {
    fn of(run: &RunInfo) -> Self {
        let cycles = run.reads.iter().enumerate().flat_map(|(read, described)| {
            (1..=described.cycles).map(move |within| Cycle {
                read,
                within,
                last: within == described.cycles,
            })
        });
        // With two channels the red one is told, with four the one of A; both come first unless the run says otherwise.
        let wanted =
            |name: &String| name.eq_ignore_ascii_case("red") || name.eq_ignore_ascii_case("a");
        Self {
            cycles: cycles.collect(),
            first_channel: run.channels.iter().position(wanted).unwrap_or(0),
            ..Self::default()
        }
    }

    fn read(&mut self, source: &dyn Source) -> io::Result<()> {
        self.file(source, "TileMetrics", |all, bytes| {
            Ok(records::tiles(bytes, |at, fact| all.tile(at, fact))?)
        })?;
        self.file(source, "ExtendedTileMetrics", |all, bytes| {
            Ok(records::occupied(bytes, |record| {
                let tile = all.tiles.entry((record.at.lane, record.at.tile)).or_default();
                tile.occupied = Some(f64::from(record.clusters));
            })?)
        })?;
        // The short file first: it holds the same sums.
        for name in ["QMetrics2030", "QMetrics", "QMetricsByLane"] {
            if self.calls.is_empty() {
                self.by_cycle.clear();
                self.file(source, name, |all, bytes| all.qualities(name, bytes))?;
            }
        }
        self.file(source, "ExtractionMetrics", |all, bytes| {
            let mut beyond = false;
            let end = records::extractions(bytes, |record| {
                all.other_tiles.insert(record.at);
                let Some(cycle) = all.cycle(record.cycle) else { return beyond = true };
                let Some(intensity) = record.intensities.get(all.first_channel) else { return };
                if cycle.within == 1 {
                    let mean = all.intensities.entry((cycle.read, record.at.lane)).or_default();
                    mean.add(f64::from(*intensity));
                }
            })?;
            if beyond { Err(Trouble::Beyond) } else { Ok(end) }
        })?;
        self.file(source, "ErrorMetrics", |all, bytes| {
            let mut beyond = false;
            let end = records::errors(bytes, |record| {
                all.other_tiles.insert(record.at);
                let Some(cycle) = all.cycle(record.cycle) else { return beyond = true };
                if !cycle.last {
                    let key = (cycle.read, record.at.lane, record.at.tile);
                    all.errors.entry(key).or_default().add(f64::from(record.percent));
                }
            })?;
            if beyond { Err(Trouble::Beyond) } else { Ok(end) }
        })?;
        self.file(source, "EmpiricalPhasingMetrics", |all, bytes| {
            let mut beyond = false;
            let end = records::phasings(bytes, |record| {
                let Some(cycle) = all.cycle(record.cycle) else { return beyond = true };
                let fits =
                    all.fits.entry((cycle.read, record.at.lane, record.at.tile)).or_default();
                let x = cycle.within as f64;
                fits.phasing.add(x, record.phasing.into());
                fits.prephasing.add(x, record.prephasing.into());
                if fits.phasing.points == PHASING_CYCLES {
                    fits.told =
                        fits.phasing.fit().zip(fits.prephasing.fit()).map(|(a, b)| (a.0, b.0));
                }
            })?;
            if beyond { Err(Trouble::Beyond) } else { Ok(end) }
        })?;
        self.file(source, "CorrectedIntMetrics", |all, bytes| {
            let mut beyond = false;
            let end = records::corrections(bytes, |record| {
                let Some(cycle) = all.cycle(record.cycle) else { return beyond = true };
                let [none, bases @ ..] = record.calls;
                let sums = all.bases.entry((cycle.read, record.at.lane)).or_default();
                sums[0] += none;
                sums[1] += none + bases.iter().sum::<u64>();
            })?;
            if beyond { Err(Trouble::Beyond) } else { Ok(end) }
        })?;
        self.file(source, "IndexMetrics", |all, bytes| {
            Ok(records::indexes(bytes, |record| all.index(record))?)
        })
    }

    /// Reads one file, which may be missing.
    fn file(
        &mut self,
        source: &dyn Source,
        name: &str,
        read: impl FnOnce(&mut Self, &[u8]) -> Result<End, Trouble>,
    ) -> io::Result<()> {
        // Old programs leave the `Out` away.
        for path in [format!("InterOp/{name}Out.bin"), format!("InterOp/{name}.bin")] {
            match read_small(source, &path, limits::MAX_INTEROP_BYTES) {
                Ok(bytes) => {
                    let remark = match read(self, &bytes) {
                        Ok(End::Whole) => return Ok(()),
                        Ok(End::InsideARecord) => {
                            format!("{path} ends inside a record; what is before it counts")
                        }
                        Err(Trouble::Damaged(damage)) => format!("{path} is left out: {damage}"),
                        Err(Trouble::Beyond) => {
                            format!(
                                "{path} speaks of cycles that RunInfo.xml does not have; they are left out"
                            )
                        }
                    };
                    self.remarks.push(remark);
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn cycle(&self, number: u16) -> Option<Cycle> {
        self.cycles.get(usize::from(number).checked_sub(1)?).copied()
    }

    fn tile(&mut self, at: At, fact: TileFact) {
        let tile = self.tiles.entry((at.lane, at.tile)).or_default();
        let number = |value: f32| (!value.is_nan()).then_some(f64::from(value));
        let read = |read: u32| usize::try_from(read).unwrap_or(usize::MAX);
        match fact {
            TileFact::Density(value) => tile.density = number(value),
            TileFact::DensityPassing(value) => tile.density_passing = number(value),
            TileFact::Clusters(value) => tile.clusters = number(value),
            TileFact::Passing(value) => tile.passing = number(value),
            TileFact::Phasing(at, value) => {
                tile.reads.entry(read(at)).or_default()[0] = number(value);
            }
            TileFact::Prephasing(at, value) => {
                tile.reads.entry(read(at)).or_default()[1] = number(value);
            }
            TileFact::Aligned(at, value) => {
                tile.reads.entry(read(at)).or_default()[2] = number(value);
            }
        }
    }

    fn qualities(&mut self, name: &str, bytes: &[u8]) -> Result<End, Trouble> {
        let mut beyond = false;
        let take = |record: records::Quality| {
            let Some(cycle) = self.cycle(record.cycle) else { return beyond = true };
            self.last_cycle = self.last_cycle.max(Some(record.cycle));
            if record.at.tile != 0 {
                self.other_tiles.insert(record.at);
            }
            let number = record.cycle;
            let of_cycle = self.by_cycle.entry(number);
            let of_cycle = of_cycle.or_insert(CycleMetrics { cycle: number, q30: 0, calls: 0 });
            of_cycle.q30 += record.q30;
            of_cycle.calls += record.total;
            if cycle.last {
                return;
            }
            self.called_tiles.entry(record.at.lane).or_default().insert(record.at.tile);
            let calls = self.calls.entry((cycle.read, record.at.lane)).or_default();
            calls.q30 += record.q30;
            calls.total += record.total;
            calls.records += 1;
        };
        let end = match name {
            "QMetrics2030" => records::qualities_collapsed(bytes, take)?,
            other => records::qualities_by_histogram(bytes, other == "QMetricsByLane", take)?,
        };
        if beyond { Err(Trouble::Beyond) } else { Ok(end) }
    }

    fn index(&mut self, record: records::Index) {
        let lane = self.indexes.entry(record.at.lane).or_default();
        let key = (record.at.lane, record.read, record.index.clone(), record.sample.clone());
        let at = *self.index_at.entry(key).or_insert_with(|| {
            let records::Index { index, sample, project, .. } = record;
            lane.push((record.read, IndexedSample { index, sample, project, clusters: 0 }));
            lane.len() - 1
        });
        lane[at].1.clusters += record.clusters;
    }

    fn sum_up(mut self, run: &RunInfo) -> RunMetrics {
        let lanes: BTreeSet<u16> = (self.tiles.keys().map(|(lane, _)| *lane))
            .chain(self.other_tiles.iter().map(|at| at.lane))
            .chain(self.calls.keys().map(|(_, lane)| *lane))
            .collect();
        let mut reads: Vec<ReadSummary> = Vec::new();
        for (at, read) in run.reads.iter().enumerate() {
            let of_lanes: Vec<LaneMetrics> =
                lanes.iter().map(|lane| self.lane(*lane, at, run, &reads)).collect();
            let totals = self.totals(&[at], &of_lanes.iter().collect::<Vec<_>>());
            let summary = ReadSummary {
                number: at + 1,
                indexed: read.indexed,
                cycles: read.cycles,
                totals,
                lanes: of_lanes,
            };
            reads.push(summary);
        }
        let over = |wanted: &dyn Fn(&ReadSummary) -> bool| {
            let chosen: Vec<&ReadSummary> = reads.iter().filter(|read| wanted(read)).collect();
            let numbers: Vec<usize> = chosen.iter().map(|read| read.number - 1).collect();
            let lanes: Vec<&LaneMetrics> = chosen.iter().flat_map(|read| &read.lanes).collect();
            let mut totals = self.totals(&numbers, &lanes);
            // Clusters are the same in every read, also where none is chosen.
            let first = reads.first().map(|read| read.totals).unwrap_or_default();
            (totals.clusters, totals.passing) = (first.clusters, first.passing);
            totals
        };
        let (total, non_index) = (over(&|_| true), over(&|read| !read.indexed));
        let passing = |lane: u16| {
            let of_lane = reads.first()?.lanes.iter().find(|found| found.lane == lane)?;
            of_lane.totals.passing
        };
        let indexes = std::mem::take(&mut self.indexes).into_iter().map(|(lane, samples)| {
            // Every read tells the same of its clusters: the first one's records count.
            let first = samples.iter().map(|(read, _)| *read).min();
            let samples = samples.into_iter().filter(|(read, _)| Some(*read) == first);
            LaneIndexes {
                lane,
                passing: passing(lane),
                samples: samples.map(|(_, sample)| sample).collect(),
            }
        });
        let indexes = indexes.collect();
        let tiles = self.tiles.iter().map(|((lane, tile), found)| TileMetrics {
            lane: *lane,
            tile: *tile,
            clusters: found.clusters,
            passing: found.passing,
            density: found.density,
            density_passing: found.density_passing,
        });
        RunMetrics {
            cycles: self.by_cycle.into_values().collect(),
            tiles: tiles.collect(),
            total,
            non_index,
            reads,
            indexes,
            last_cycle: self.last_cycle,
            remarks: self.remarks,
        }
    }

    fn lane(&self, lane: u16, read: usize, run: &RunInfo, before: &[ReadSummary]) -> LaneMetrics {
        let tiles: Vec<(u32, &Tile)> = self
            .tiles
            .range((lane, 0)..=(lane, u32::MAX))
            .map(|((_, number), tile)| (*number, tile))
            .collect();
        let numbers: HashSet<u32> = (tiles.iter().map(|(number, _)| *number))
            .chain(self.other_tiles.iter().filter(|at| at.lane == lane).map(|at| at.tile))
            .collect();
        let mean = |of: &dyn Fn(&Tile) -> Option<f64>| {
            tiles.iter().filter_map(|(_, tile)| of(tile)).collect::<Mean>().value()
        };
        let sum = |of: &dyn Fn(&Tile) -> Option<f64>| {
            let values: Vec<f64> = tiles.iter().filter_map(|(_, tile)| of(tile)).collect();
            (!values.is_empty()).then(|| values.iter().sum())
        };
        let fits = || {
            let all = self.fits.range((read, lane, 0)..=(read, lane, u32::MAX));
            all.map(|((_, _, number), fits)| (*number, fits))
        };
        let told = |number: u32| self.fits.get(&(read, lane, number)).and_then(|fits| fits.told);
        // What the tile file says, else what the cycles say.
        let phase = |which: usize| {
            let of_tile = |(number, tile): &(u32, &Tile)| {
                let stated = tile.reads.get(&(read + 1)).and_then(|of_read| of_read[which]);
                let told = || {
                    let (phasing, prephasing) = told(*number)?;
                    Some(if which == 0 { phasing } else { prephasing })
                };
                stated.or_else(told).map(|percent| percent.max(0.0))
            };
            tiles.iter().filter_map(of_tile).collect::<Mean>().value()
        };
        let fit = |of: &dyn Fn(&Fits) -> Option<f64>| {
            fits().filter_map(|(_, fits)| of(fits)).collect::<Mean>().value()
        };
        let mut totals = self.totals(&[read], &[]);
        totals.clusters = sum(&|tile| tile.clusters);
        totals.passing = sum(&|tile| tile.passing);
        let calls = self.calls.get(&(read, lane)).copied().unwrap_or_default();
        totals.yield_bases = (calls.records > 0).then_some(calls.total as f64);
        totals.q30_percent = percent(calls.q30, calls.total);
        totals.projected_bases = self.projected(lane, read, run, before);
        totals.first_cycle_intensity =
            self.intensities.get(&(read, lane)).and_then(|mean| mean.value());
        totals.aligned_percent =
            mean(&|tile| tile.reads.get(&(read + 1)).and_then(|of_read| of_read[2]));
        totals.error_percent = self.error_of(read, lane..=lane).value();
        totals.occupied_percent = mean(&occupied);
        totals.no_call_percent =
            self.bases.get(&(read, lane)).and_then(|[none, all]| percent(*none, *all));
        LaneMetrics {
            lane,
            tiles: numbers.len(),
            totals,
            tile_clusters: mean(&|tile| tile.clusters),
            tile_passing: mean(&|tile| tile.passing),
            density: mean(&|tile| tile.density),
            density_passing: mean(&|tile| tile.density_passing),
            passing_percent: mean(&|tile| ratio(tile.passing?, tile.clusters?)),
            phasing: phase(0),
            prephasing: phase(1),
            phasing_slope: fit(&|fits| fits.phasing.fit().map(|line| line.0)),
            phasing_offset: fit(&|fits| fits.phasing.fit().map(|line| line.1)),
            prephasing_slope: fit(&|fits| fits.prephasing.fit().map(|line| line.0)),
            prephasing_offset: fit(&|fits| fits.prephasing.fit().map(|line| line.1)),
        }
    }

    /// Bases of a read at its end: as many a cycle as there were so far, or as in the reads before.
    fn projected(
        &self,
        lane: u16,
        read: usize,
        run: &RunInfo,
        before: &[ReadSummary],
    ) -> Option<f64> {
        let useful = |read: usize| run.reads[read].cycles.saturating_sub(1) as f64;
        match self.calls.get(&(read, lane)) {
            Some(calls) if calls.records > 0 => {
                let tiles = self.called_tiles.get(&lane).map_or(0, HashSet::len);
                Some(calls.total as f64 * useful(read) * tiles as f64 / calls.records as f64)
            }
            _ => {
                let (mut bases, mut cycles) = (0.0, 0.0);
                for (at, summary) in before.iter().enumerate() {
                    if self.calls.contains_key(&(at, lane)) {
                        let of_lane = summary.lanes.iter().find(|found| found.lane == lane);
                        bases +=
                            of_lane.and_then(|found| found.totals.projected_bases).unwrap_or(0.0);
                        cycles += useful(at);
                    }
                }
                (cycles > 0.0).then(|| bases / cycles * useful(read))
            }
        }
    }

    fn error_of(&self, read: usize, lanes: std::ops::RangeInclusive<u16>) -> Mean {
        let tiles = self.errors.range((read, *lanes.start(), 0)..=(read, *lanes.end(), u32::MAX));
        tiles.filter_map(|(_, tile)| tile.value()).collect()
    }

    /// Figures over reads, given what their lanes have.
    fn totals(&self, reads: &[usize], lanes: &[&LaneMetrics]) -> Totals {
        let sum = |of: &dyn Fn(&LaneMetrics) -> Option<f64>| {
            let values: Vec<f64> = lanes.iter().filter_map(|lane| of(lane)).collect();
            (!values.is_empty()).then(|| values.iter().sum())
        };
        let (mut q30, mut calls, mut none, mut bases) = (0, 0, 0, 0);
        let (mut intensity, mut error, mut aligned) =
            (Mean::default(), Mean::default(), Mean::default());
        for read in reads {
            for (_, found) in self.calls.range((*read, 0)..=(*read, u16::MAX)) {
                q30 += found.q30;
                calls += found.total;
            }
            for (_, found) in self.bases.range((*read, 0)..=(*read, u16::MAX)) {
                none += found[0];
                bases += found[1];
            }
            for (_, mean) in self.intensities.range((*read, 0)..=(*read, u16::MAX)) {
                intensity.join(*mean);
            }
            error.join(self.error_of(*read, 0..=u16::MAX));
            let of_read = |tile: &Tile| tile.reads.get(&(read + 1)).and_then(|found| found[2]);
            aligned.join(self.tiles.values().filter_map(of_read).collect());
        }
        Totals {
            clusters: sum(&|lane| lane.totals.clusters),
            passing: sum(&|lane| lane.totals.passing),
            yield_bases: sum(&|lane| lane.totals.yield_bases),
            projected_bases: sum(&|lane| lane.totals.projected_bases),
            q30_percent: percent(q30, calls),
            first_cycle_intensity: intensity.value(),
            aligned_percent: aligned.value(),
            error_percent: error.value(),
            occupied_percent: self.tiles.values().filter_map(occupied).collect::<Mean>().value(),
            no_call_percent: percent(none, bases),
        }
    }
}

fn occupied(tile: &Tile) -> Option<f64> {
    ratio(tile.occupied?, tile.clusters?)
}

/// A share in percent; `None` of nothing.
fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| 100.0 * part / whole)
}

fn percent(part: u64, whole: u64) -> Option<f64> {
    ratio(part as f64, whole as f64)
}
