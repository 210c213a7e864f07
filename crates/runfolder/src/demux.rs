//! From base calls to FASTQ: the loop over lanes, tiles and strips.
//!
//! A strip is some ten thousand clusters of a tile. Its cycles are inflated side by side, turned from cycles of clusters into
//! clusters of cycles, matched against the sheet, spelled as text and compressed, each step shared by all threads; then one
//! sequencer hands the finished members to the sink. Memory holds one strip and one window per cycle, whatever the size of
//! tile or run (`spec/demultiplexing.md` section 6), and the output is the same for any number of threads.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::io;

use crate::barcode::{self, Candidate, Matcher, Meaning, Words};
use crate::cycle::{CycleReader, Strip};
use crate::fastq::{self, Members, Name};
use crate::inflate::{Damage, Reading};
use crate::lane::{Lane, Listing, Positions, Tile};
use crate::limits;
use crate::places::{self, Position};
use crate::plan::{DEFAULT_LAYOUT, Plan};
use crate::report::{self, HoppedPair, LaneReport, ReadMetrics, Report, SampleReport};
use crate::source::{FastqName, Sink, Source, read_small};
use crate::transpose::transpose;
use crate::unknown::UnknownCounts;
use crate::workers::share;

/// A place in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The lane.
    pub lane: u32,
    /// The tile, where it is one tile's matter.
    pub tile: Option<u32>,
    /// The cycle, where it is one cycle's matter, counted from 1 over all reads.
    pub cycle: Option<u32>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(tile) = self.tile {
            write!(f, "tile {tile} of ")?;
        }
        write!(f, "lane {}", self.lane)?;
        self.cycle.map_or(Ok(()), |cycle| write!(f, ", cycle {cycle}"))
    }
}

/// Why a run could not be demultiplexed. Nothing is ever filled in for what is missing.
#[derive(Debug, thiserror::Error)]
pub enum DemuxError {
    /// The folder cannot be listed.
    #[error("the run folder cannot be listed")]
    List(#[source] io::Error),
    /// More files than any run has.
    #[error("the run folder has {0} files, more than a run has")]
    TooManyFiles(usize),
    /// No lane to work on.
    #[error(
        "the run folder has no lane to demultiplex: there is nothing under Data/Intensities/BaseCalls"
    )]
    NoLanes,
    /// A lane that is not there.
    #[error("lane {0} has no base calls in the run folder")]
    NoLane(u32),
    /// A lane without the files of its first cycle.
    #[error("lane {lane} has no base calls of cycle {cycle} in a format that is known")]
    NoCalls {
        /// The lane.
        lane: u32,
        /// The cycle.
        cycle: u32,
    },
    /// A tile that RunInfo lists and the folder lacks.
    #[error(
        "tile {tile} of lane {lane} is listed in RunInfo.xml, but the run folder does not have it"
    )]
    NoTile {
        /// The lane.
        lane: u32,
        /// The tile.
        tile: u32,
    },
    /// More tiles than a lane has.
    #[error("lane {lane} has {tiles} tiles, more than a lane has")]
    TooManyTiles {
        /// The lane.
        lane: u32,
        /// Its tiles.
        tiles: usize,
    },
    /// A tile without positions.
    #[error(
        "tile {tile} of lane {lane} has no positions: there is no s.locs, .locs or .clocs for it"
    )]
    NoPositions {
        /// The lane.
        lane: u32,
        /// The tile.
        tile: u32,
    },
    /// A file that is not there.
    #[error("{place}: {path} is missing")]
    Missing {
        /// What it is needed for.
        place: Place,
        /// The file.
        path: String,
    },
    /// A file that is not whole.
    #[error("{place}: {path} cannot be used: {damage}")]
    Damaged {
        /// Where the damage shows.
        place: Place,
        /// The file.
        path: String,
        /// What is wrong with it.
        damage: Damage,
    },
    /// An output that could not be written.
    #[error("{path} cannot be written")]
    Output {
        /// The file.
        path: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

/// How far the work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The lane in work.
    pub lane: u32,
    /// The tile in work.
    pub tile: u32,
    /// Bytes of the run folder read so far.
    pub read_bytes: u64,
    /// Bytes of base calls of all lanes in the plan, about what will have been read.
    pub total_bytes: u64,
}

/// Calls of one strip: 12 MiB of them, so that with text and members a strip stays below 64 MiB.
const STRIP_BYTES: usize = 12 << 20;
/// Clusters that are transposed and matched as one item: their rows stay in the second-level cache.
const BLOCK_CLUSTERS: usize = 128;
/// Clusters that are spelled as one item.
const SPELLED_CLUSTERS: usize = 256;
/// Text that waits in all files together for members to fill.
const WAITING_BYTES: usize = 64 << 20;
/// Unknown barcodes that are told.
const TOLD_UNKNOWN: usize = 1000;

/// Reads every lane of the plan, hands every read to the sink, and ends with the reports.
///
/// `progress` is called from the calling thread after every strip.
pub fn demultiplex(
    source: &dyn Source,
    plan: &Plan,
    sink: &mut dyn Sink,
    progress: &dyn Fn(Progress),
) -> Result<Report, DemuxError> {
    let report = Engine::new(source, plan, None)?.run(sink, progress)?;
    for (path, bytes) in report.files(plan) {
        sink.report(&path, &bytes).map_err(|cause| DemuxError::Output { path, cause })?;
    }
    Ok(report)
}

/// Reads only the index cycles of the first clusters of every lane and tells what they mean, without writing anything.
///
/// This is how a sheet is checked against a run in seconds.
pub fn survey(
    source: &dyn Source,
    plan: &Plan,
    clusters_per_lane: usize,
) -> Result<Report, DemuxError> {
    struct Nowhere;
    impl Sink for Nowhere {
        fn fastq(&mut self, _: &FastqName, _: &[u8]) -> io::Result<()> {
            Ok(())
        }
        fn finish_file(&mut self, _: &FastqName) -> io::Result<()> {
            Ok(())
        }
        fn report(&mut self, _: &str, _: &[u8]) -> io::Result<()> {
            Ok(())
        }
    }
    let plan = plan.index_only();
    Engine::new(source, &plan, Some(clusters_per_lane))?.run(&mut Nowhere, &|_| ())
}

/// What one thread keeps for itself.
struct Worker {
    matcher: Matcher,
    members: Members,
    name: Name,
}

/// A FASTQ file in progress.
struct OutFile {
    name: FastqName,
    /// Text that is not in a member yet.
    waiting: Vec<u8>,
}

/// A sample of the lane in work, or its undetermined reads.
struct Slot {
    report: SampleReport,
    /// One file per output read of its layout.
    files: Vec<usize>,
    /// Kept clusters of the strip that are its reads.
    clusters: Vec<u32>,
}

/// One item of spelling: some clusters of one slot.
struct Spelling<'a> {
    slot: usize,
    clusters: &'a [u32],
    texts: Vec<Vec<u8>>,
    metrics: Vec<ReadMetrics>,
}

struct Engine<'a> {
    plan: &'a Plan,
    reading: Reading<'a>,
    listing: Listing,
    lanes: Vec<u32>,
    total_bytes: u64,
    /// Clusters of a lane after which it is left, for a survey.
    enough: Option<usize>,
    workers: Vec<Worker>,
    readers: Vec<CycleReader>,
    files: Vec<OutFile>,
    file_at: HashMap<String, usize>,
    member_bytes: usize,
    strip_clusters: usize,
    warnings: Vec<String>,
    // Buffers of a strip.
    rows: Vec<u8>,
    meanings: Vec<(Meaning, Words)>,
    positions: Vec<Position>,
    records: Vec<[u8; 8]>,
    passes: Vec<bool>,
    /// Texts that were used before: fresh memory for each strip costs more than spelling into it.
    texts: Vec<Vec<u8>>,
}

impl<'a> Engine<'a> {
    fn new(
        source: &'a dyn Source,
        plan: &'a Plan,
        enough: Option<usize>,
    ) -> Result<Self, DemuxError> {
        let listing = Listing::of(source.list().map_err(DemuxError::List)?)?;
        let lanes = lanes(plan, &listing);
        if lanes.is_empty() {
            return Err(DemuxError::NoLanes);
        }
        let stride = plan.used.len().max(1);
        // A multiple of eight suits the transposition, and strips of packed calls must be even.
        let strip_clusters = (STRIP_BYTES / stride).clamp(1024, 65_536) & !7;
        let outputs: usize =
            plan.layouts.iter().map(|layout| layout.outputs.len()).max().unwrap_or(0);
        let files = ((plan.samples.len() + 1) * outputs).max(1);
        let worker =
            |_| Worker { matcher: Matcher::new(), members: Members::new(), name: Name::default() };
        Ok(Self {
            plan,
            reading: Reading::new(source),
            total_bytes: lanes.iter().map(|lane| listing.lane_bytes(*lane)).sum(),
            listing,
            lanes,
            enough,
            workers: (0..plan.options.threads.get()).map(worker).collect(),
            readers: plan
                .used
                .iter()
                .enumerate()
                .map(|(at, used)| CycleReader::new(at, used.cycle))
                .collect(),
            files: Vec::new(),
            file_at: HashMap::new(),
            member_bytes: (WAITING_BYTES / files).clamp(4096, fastq::MEMBER_BYTES),
            strip_clusters,
            warnings: plan.warnings.clone(),
            rows: Vec::new(),
            meanings: Vec::new(),
            positions: Vec::new(),
            records: Vec::new(),
            passes: Vec::new(),
            texts: Vec::new(),
        })
    }

    fn run(
        mut self,
        sink: &mut dyn Sink,
        progress: &dyn Fn(Progress),
    ) -> Result<Report, DemuxError> {
        let mut lanes = Vec::new();
        for number in self.lanes.clone() {
            lanes.push(self.lane(number, sink, progress)?);
            if self.plan.lane_splitting {
                self.finish_files(sink)?;
            }
        }
        self.finish_files(sink)?;
        Ok(Report { lanes, warnings: self.warnings })
    }

    fn lane(
        &mut self,
        number: u32,
        sink: &mut dyn Sink,
        progress: &dyn Fn(Progress),
    ) -> Result<LaneReport, DemuxError> {
        let lane =
            Lane::discover(number, self.plan, &self.listing, &self.reading, &mut self.warnings)?;
        let candidates = self.plan.candidates(Some(number));
        let mut work = LaneWork {
            hopping: barcode::unique_pairs(&candidates),
            slots: Vec::new(),
            slot_of_row: HashMap::new(),
            undetermined: None,
            unknown: UnknownCounts::of(self.plan),
            hopped: HashMap::new(),
            clusters: 0,
            passing: 0,
            candidates,
        };
        self.slots(number, &mut work);
        for worker in &mut self.workers {
            worker.matcher.forget();
        }
        self.each_cycle(&lane, None, |reader, reading| reader.begin_lane(&lane, reading))?;
        for tile in &lane.tiles {
            self.tile(&lane, tile, &mut work, sink, progress)?;
            if self.enough.is_some_and(|enough| work.clusters >= enough as u64) {
                return Ok(work.report(number, self.plan));
            }
        }
        self.each_cycle(&lane, None, |reader, reading| reader.end_lane(&lane, reading))?;
        Ok(work.report(number, self.plan))
    }

    /// Opens a place for every sample of a lane, and for reads that match none where that can happen.
    fn slots(&mut self, lane: u32, work: &mut LaneWork) {
        let mut of_sample: HashMap<u32, usize> = HashMap::new();
        for candidate in &work.candidates {
            let row = &self.plan.rows[candidate.row as usize];
            let slot = *of_sample.entry(candidate.sample).or_insert_with(|| {
                let names = self.plan.files(Some(row.sample), row.layout, Some(lane));
                let sample = &self.plan.samples[row.sample];
                let project = sample.sample_project.clone();
                let report = new_report(Some(row.sample), &sample.sample_id, project, &names);
                work.slots.push(Slot { report, files: Vec::new(), clusters: Vec::new() });
                let slot = work.slots.len() - 1;
                for name in names {
                    let file = file(&mut self.files, &mut self.file_at, name);
                    work.slots[slot].files.push(file);
                }
                slot
            });
            work.slots[slot].report.indexes.push((row.index.clone(), row.index2.clone()));
            work.slot_of_row.insert(candidate.row, slot);
        }
        let takes_all = |c: &Candidate| c.patterns.iter().all(|pattern| pattern.is_empty());
        if !work.candidates.iter().any(takes_all) {
            let names = self.plan.files(None, DEFAULT_LAYOUT, Some(lane));
            let report = new_report(None, "Undetermined", None, &names);
            let files = names
                .into_iter()
                .map(|name| file(&mut self.files, &mut self.file_at, name))
                .collect();
            work.undetermined = Some(work.slots.len());
            work.slots.push(Slot { report, files, clusters: Vec::new() });
        }
    }

    fn tile(
        &mut self,
        lane: &Lane,
        tile: &Tile,
        work: &mut LaneWork,
        sink: &mut dyn Sink,
        progress: &dyn Fn(Progress),
    ) -> Result<(), DemuxError> {
        let place = Place { lane: lane.number, tile: Some(tile.number), cycle: None };
        let damaged =
            |path: &str, damage| DemuxError::Damaged { place, path: path.to_owned(), damage };
        let mut filter = vec![0u8; tile.clusters as usize];
        self.reading
            .exact(&tile.filter, tile.filter_offset, &mut filter)
            .map_err(|damage| damaged(&tile.filter, damage))?;
        let passing = filter.iter().filter(|mark| **mark & 1 == 1).count();
        work.clusters += u64::from(tile.clusters);
        work.passing += passing as u64;
        let clocs = match &tile.positions {
            Positions::Clocs { path } => {
                let bytes = read_small(self.reading.source, path, limits::MAX_CLOCS_BYTES)
                    .map_err(Damage::Read)
                    .and_then(|bytes| places::clocs(&bytes, Some(tile.clusters)));
                bytes.map_err(|damage| damaged(path, damage))?
            }
            Positions::Locs { .. } => Vec::new(),
        };
        let passing = u32::try_from(passing).expect("no more pass than there are");
        self.each_cycle(lane, Some(tile.number), |reader, reading| {
            reader.begin_tile(lane, tile, passing, reading)
        })?;
        let start = {
            let run = &self.plan.run;
            fastq::name_start(&run.instrument, run.number, &run.flowcell, lane.number, tile.number)
        };
        let mut first = 0;
        while first < filter.len() {
            let end = (first + self.strip_clusters).min(filter.len());
            let strip = self.strip_of(&filter[first..end]);
            self.each_cycle(lane, Some(tile.number), |reader, reading| {
                reader.strip(&strip, reading)
            })?;
            self.positions.clear();
            match &tile.positions {
                Positions::Clocs { .. } => {
                    let kept = strip.kept.iter().map(|at| clocs[first + *at as usize]);
                    self.positions.extend(kept);
                }
                Positions::Locs { path, first: of_tile } => {
                    self.records.resize(strip.clusters, [0; 8]);
                    let offset = places::HEADER_BYTES as u64 + 8 * (of_tile + first as u64);
                    self.reading
                        .exact(path, offset, self.records.as_flattened_mut())
                        .map_err(|damage| damaged(path, damage))?;
                    let kept =
                        strip.kept.iter().map(|at| places::position(self.records[*at as usize]));
                    self.positions.extend(kept);
                }
            }
            self.strip(work, &start, sink)?;
            progress(Progress {
                lane: lane.number,
                tile: tile.number,
                read_bytes: self.reading.bytes.load(std::sync::atomic::Ordering::Relaxed),
                total_bytes: self.total_bytes,
            });
            first = end;
            if self.enough.is_some_and(|enough| first >= enough) {
                return Ok(());
            }
        }
        self.end_tile(lane, tile)
    }

    /// Which clusters of a strip are kept.
    fn strip_of(&mut self, filter: &[u8]) -> Strip {
        let all = self.plan.options.with_failed_reads;
        let kept: Vec<u32> = (0u32..)
            .zip(filter)
            .filter(|(_, mark)| all || **mark & 1 == 1)
            .map(|(at, _)| at)
            .collect();
        self.passes.clear();
        self.passes.extend(kept.iter().map(|at| filter[*at as usize] & 1 == 1));
        let passing = filter.iter().filter(|mark| **mark & 1 == 1).count();
        Strip { clusters: filter.len(), passing, kept }
    }

    fn end_tile(&mut self, lane: &Lane, tile: &Tile) -> Result<(), DemuxError> {
        let mut remarks = vec![None; self.readers.len()];
        let reading = &self.reading;
        let items = self.readers.iter_mut().zip(&mut remarks);
        share(&mut self.workers, items, |_, (reader, remark)| {
            *remark = reader
                .end_tile(lane, reading)
                .map_err(|damage| cycle_damaged(lane, Some(tile.number), reader, damage))?;
            Ok(())
        })?;
        let mut odd =
            self.readers.iter().zip(remarks).filter_map(|(reader, remark)| {
                remark.map(|remark| (reader.path().to_owned(), remark))
            });
        if let Some((path, length)) = odd.next() {
            let others = odd.count();
            self.warnings.push(format!(
                "tile {} of lane {}: the last block of {path} ends at byte {}, not at {} as its header says, though its \
                 checksum is right; so do {others} other cycles",
                tile.number, lane.number, length.found, length.stated
            ));
        }
        Ok(())
    }

    /// Does one thing with every cycle, shared by all threads.
    fn each_cycle(
        &mut self,
        lane: &Lane,
        tile: Option<u32>,
        act: impl Fn(&mut CycleReader, &Reading<'_>) -> Result<(), Damage> + Sync,
    ) -> Result<(), DemuxError> {
        let reading = &self.reading;
        share(&mut self.workers, self.readers.iter_mut(), |_, reader| {
            act(reader, reading).map_err(|damage| cycle_damaged(lane, tile, reader, damage))
        })
    }

    /// Turns, matches, spells and compresses the strip whose calls and positions have been read.
    fn strip(
        &mut self,
        work: &mut LaneWork,
        start: &[u8],
        sink: &mut dyn Sink,
    ) -> Result<(), DemuxError> {
        let kept = self.positions.len();
        let stride = self.readers.len();
        if kept == 0 || stride == 0 {
            return Ok(());
        }
        self.rows.resize(kept * stride, 0);
        self.meanings.clear();
        self.meanings.resize(kept, (Meaning::Unknown, [0; 2]));
        let calls: Vec<&[u8]> = self.readers.iter().map(|reader| &reader.calls[..]).collect();
        let (plan, candidates, hopping) = (self.plan, &work.candidates[..], work.hopping);
        let blocks = self
            .rows
            .chunks_mut(BLOCK_CLUSTERS * stride)
            .zip(self.meanings.chunks_mut(BLOCK_CLUSTERS))
            .enumerate();
        let matched: Result<(), DemuxError> =
            share(&mut self.workers, blocks, |worker, (at, (rows, meanings))| {
                transpose(&calls, at * BLOCK_CLUSTERS, rows);
                for (row, (meaning, words)) in rows.chunks_exact(stride).zip(meanings) {
                    *words = plan.words(row);
                    *meaning = worker.matcher.meaning(*words, candidates, hopping);
                }
                Ok(())
            });
        matched?;
        work.sort(&self.meanings);

        let (rows, positions, passes) = (&self.rows, &self.positions, &self.passes);
        let meanings = &self.meanings;
        let mut spellings: Vec<Spelling<'_>> = Vec::new();
        for (slot, of) in work.slots.iter().enumerate() {
            for clusters in of.clusters.chunks(SPELLED_CLUSTERS) {
                let texts = of.files.iter().map(|_| self.texts.pop().unwrap_or_default()).collect();
                let metrics = vec![ReadMetrics::default(); of.files.len()];
                spellings.push(Spelling { slot, clusters, texts, metrics });
            }
        }
        let spelled: Result<(), DemuxError> =
            share(&mut self.workers, spellings.iter_mut(), |worker, spelling| {
                let of = |at: usize| &rows[at * stride..(at + 1) * stride];
                for cluster in spelling.clusters {
                    let at = *cluster as usize;
                    let layout = match meanings[at].0 {
                        Meaning::Sample { row, .. } => {
                            &plan.layouts[plan.rows[row as usize].layout]
                        }
                        _ => &plan.layouts[DEFAULT_LAYOUT],
                    };
                    worker.name.spell(start, positions[at], layout, of(at), passes[at]);
                    for ((output, text), metrics) in
                        layout.outputs.iter().zip(&mut spelling.texts).zip(&mut spelling.metrics)
                    {
                        metrics.adapter_bases += worker.name.record(text, output, of(at)) as u64;
                        metrics.bases += output.bases as u64;
                        for range in &output.columns {
                            let (q30, sum) = fastq::qualities(&of(at)[range.clone()]);
                            metrics.q30_bases += q30;
                            metrics.quality_sum += sum;
                        }
                    }
                }
                Ok(())
            });
        spelled?;
        let mut sums: Vec<(usize, Vec<ReadMetrics>)> = Vec::with_capacity(spellings.len());
        for spelling in spellings {
            for (mut text, file) in spelling.texts.into_iter().zip(&work.slots[spelling.slot].files)
            {
                self.files[*file].waiting.extend_from_slice(&text);
                text.clear();
                self.texts.push(text);
            }
            sums.push((spelling.slot, spelling.metrics));
        }
        for (slot, metrics) in sums {
            work.slots[slot].add(&metrics, &self.files);
        }
        self.members(sink, false)
    }

    /// Compresses what is waiting, in whole members or, at the end, all of it, and hands it to the sink.
    fn members(&mut self, sink: &mut dyn Sink, all: bool) -> Result<(), DemuxError> {
        let member_bytes = self.member_bytes;
        let mut jobs: Vec<(usize, &[u8], Vec<u8>)> = Vec::new();
        for (at, file) in self.files.iter().enumerate() {
            let whole = match all {
                true => file.waiting.len(),
                false => file.waiting.len() / member_bytes * member_bytes,
            };
            for text in file.waiting[..whole].chunks(member_bytes) {
                jobs.push((at, text, Vec::new()));
            }
        }
        let made: Result<(), DemuxError> =
            share(&mut self.workers, jobs.iter_mut(), |worker, (_, text, member)| {
                *member = worker.members.member(text);
                Ok(())
            });
        made?;
        let made: Vec<(usize, usize, Vec<u8>)> =
            jobs.into_iter().map(|(at, text, member)| (at, text.len(), member)).collect();
        let mut done: HashMap<usize, usize> = HashMap::new();
        for (at, text_bytes, member) in made {
            let name = &self.files[at].name;
            sink.fastq(name, &member).map_err(|cause| output(name, cause))?;
            *done.entry(at).or_default() += text_bytes;
        }
        for (at, bytes) in done {
            self.files[at].waiting.drain(..bytes);
        }
        Ok(())
    }

    fn finish_files(&mut self, sink: &mut dyn Sink) -> Result<(), DemuxError> {
        self.members(sink, true)?;
        for file in self.files.drain(..) {
            let name = &file.name;
            sink.fastq(name, &fastq::END)
                .and_then(|()| sink.finish_file(name))
                .map_err(|cause| output(name, cause))?;
        }
        self.file_at.clear();
        Ok(())
    }
}

/// What is known of the lane in work.
struct LaneWork {
    candidates: Vec<Candidate>,
    hopping: bool,
    slots: Vec<Slot>,
    slot_of_row: HashMap<u32, usize>,
    undetermined: Option<usize>,
    unknown: UnknownCounts,
    hopped: HashMap<(u32, u32), u64>,
    clusters: u64,
    passing: u64,
}

impl LaneWork {
    /// Sorts the clusters of a strip to their samples and counts them.
    fn sort(&mut self, meanings: &[(Meaning, Words)]) {
        for slot in &mut self.slots {
            slot.clusters.clear();
        }
        for (at, (meaning, words)) in (0u32..).zip(meanings) {
            let (slot, mismatches) = match meaning {
                Meaning::Sample { row, mismatches } => (Some(self.slot_of_row[row]), *mismatches),
                Meaning::Hopped { i7, i5 } => {
                    *self.hopped.entry((*i7, *i5)).or_default() += 1;
                    (self.undetermined, 0)
                }
                Meaning::Unknown => (self.undetermined, 0),
            };
            let slot = slot.expect(
                "a lane without a place for undetermined reads has a sample that takes all",
            );
            if Some(slot) == self.undetermined {
                self.unknown.add(*words);
            }
            let slot = &mut self.slots[slot];
            slot.clusters.push(at);
            slot.report.reads += 1;
            slot.report.by_mismatches[usize::from(mismatches.min(2))] += 1;
        }
    }

    fn report(self, lane: u32, plan: &Plan) -> LaneReport {
        let mut hopped: Vec<HoppedPair> = self
            .hopped
            .into_iter()
            .map(|((i7, i5), reads)| HoppedPair {
                index: plan.rows[i7 as usize].index.clone(),
                index2: plan.rows[i5 as usize].index2.clone(),
                reads,
            })
            .collect();
        hopped.sort_by(|a, b| {
            b.reads.cmp(&a.reads).then_with(|| (&a.index, &a.index2).cmp(&(&b.index, &b.index2)))
        });
        let unknown_is_lower_bound = self.unknown.is_lower_bound();
        LaneReport {
            lane,
            clusters: self.clusters,
            passing: self.passing,
            samples: self.slots.into_iter().map(|slot| slot.report).collect(),
            unknown: self.unknown.most_frequent(TOLD_UNKNOWN),
            unknown_is_lower_bound,
            hopped,
        }
    }
}

impl Slot {
    /// Adds sums of its output reads; those of index reads do not count.
    fn add(&mut self, sums: &[ReadMetrics], files: &[OutFile]) {
        let counted =
            self.files.iter().zip(sums).filter(|(file, _)| report::counts(files[**file].name.kind));
        for ((_, sum), total) in counted.zip(&mut self.report.metrics) {
            total.bases += sum.bases;
            total.q30_bases += sum.q30_bases;
            total.quality_sum += sum.quality_sum;
            total.adapter_bases += sum.adapter_bases;
        }
    }
}

/// The lanes to work on: those of the sheet, else all that RunInfo or the folder knows; of these, the chosen ones.
fn lanes(plan: &Plan, listing: &Listing) -> Vec<u32> {
    let mut lanes = plan.named_lanes();
    if lanes.is_empty() {
        lanes = plan.run.lanes().into_iter().chain(listing.lanes()).collect::<BTreeSet<_>>();
    }
    if let Some(chosen) = &plan.options.lanes {
        lanes.retain(|lane| chosen.contains(lane));
    }
    lanes.into_iter().collect()
}

fn new_report(
    sample: Option<usize>,
    sample_id: &str,
    sample_project: Option<String>,
    names: &[FastqName],
) -> SampleReport {
    let counted = || names.iter().filter(|name| report::counts(name.kind));
    SampleReport {
        sample,
        sample_id: sample_id.to_owned(),
        sample_project,
        indexes: Vec::new(),
        reads: 0,
        by_mismatches: [0; 3],
        metrics: counted()
            .map(|name| ReadMetrics { number: name.number, ..ReadMetrics::default() })
            .collect(),
        files: counted().map(FastqName::path).collect(),
    }
}

/// The file of that name, begun if it is new.
fn file(files: &mut Vec<OutFile>, at: &mut HashMap<String, usize>, name: FastqName) -> usize {
    *at.entry(name.path()).or_insert_with(|| {
        files.push(OutFile { name, waiting: Vec::new() });
        files.len() - 1
    })
}

fn cycle_damaged(
    lane: &Lane,
    tile: Option<u32>,
    reader: &CycleReader,
    damage: Damage,
) -> DemuxError {
    let place = Place { lane: lane.number, tile, cycle: Some(reader.cycle) };
    DemuxError::Damaged { place, path: reader.path().to_owned(), damage }
}

fn output(name: &FastqName, cause: io::Error) -> DemuxError {
    DemuxError::Output { path: name.path(), cause }
}
