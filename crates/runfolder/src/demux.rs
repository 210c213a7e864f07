//! From base calls to FASTQ: the loop over lanes, tiles and strips.
//!
//! A strip is some ten thousand clusters of a tile. Its cycles are inflated side by side, turned from cycles of clusters into
//! clusters of cycles, matched against the sheet, spelled as text and compressed, each step shared by all threads; then one
//! sequencer hands the finished members to the sink. Memory holds one strip and one window per cycle, whatever the size of
//! tile or run (`spec/demultiplexing.md` section 6), and the output is the same for any number of threads.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::Arc;

use crate::barcode::{Candidate, Matcher, Meaning, Words};
use crate::cycle::{CycleReader, Strip};
use crate::error::{DemuxError, Missing, MissingList, Place};
use crate::fastq::{self, Name};
use crate::index_metrics::IndexMetrics;
use crate::inflate::{Damage, Reading};
use crate::lane::{Lane, Listing, Positions, Tile};
use crate::limits;
use crate::member::Members;
use crate::places::{self, Position};
use crate::plan::{DEFAULT_LAYOUT, Plan};
use crate::report::{LaneReport, ReadMetrics, Report};
use crate::source::{FastqName, Sink, Source, read_small};
use crate::transpose::transpose;
use crate::work::{LaneWork, OutFile, Slot, new_report};
use crate::workers::{share, share_meanwhile};

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
/// Calls of a tile that are inflated at once: those of 800,000 clusters in 318 cycles of a CBCL.
const HELD_BYTES: u64 = 128 << 20;
/// A warning.
pub(crate) const CUT_INDEX_METRICS: &str =
    "IndexMetricsOut.bin holds the first tiles only, as it would be too large with all of them";
/// Clusters that are transposed and matched as one item: their rows stay in the second-level cache.
const BLOCK_CLUSTERS: usize = 128;
/// Clusters that are spelled as one item.
const SPELLED_CLUSTERS: usize = 256;

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
    hand_reports(&report, plan, sink)?;
    Ok(report)
}

/// Hands the report files to the sink.
pub(crate) fn hand_reports(
    report: &Report,
    plan: &Plan,
    sink: &mut dyn Sink,
) -> Result<(), DemuxError> {
    for (path, bytes) in report.files(plan) {
        sink.report(&path, &bytes).map_err(|cause| DemuxError::Output { path, cause })?;
    }
    Ok(())
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
    /// Packed bytes on their way to be inflated.
    packed: Vec<u8>,
}

/// One item of spelling: some clusters of one slot.
struct Spelling<'a> {
    slot: usize,
    clusters: &'a [u32],
    texts: Vec<Vec<u8>>,
    metrics: Vec<ReadMetrics>,
}

pub(crate) struct Engine<'a> {
    plan: &'a Plan,
    reading: Reading<'a>,
    listing: Arc<Listing>,
    pub(crate) lanes: Vec<u32>,
    total_bytes: u64,
    /// Clusters of a lane after which it is left, for a survey.
    enough: Option<usize>,
    workers: Vec<Worker>,
    readers: Vec<CycleReader>,
    /// Files that are begun and not finished.
    pub(crate) files: Vec<OutFile>,
    file_at: HashMap<String, usize>,
    strip_clusters: usize,
    pub(crate) warnings: Vec<String>,
    missing: MissingList,
    pub(crate) index_metrics: IndexMetrics,
    // Buffers of a strip.
    rows: Vec<u8>,
    meanings: Vec<(Meaning, Words)>,
    positions: Vec<Position>,
    records: Vec<[u8; 8]>,
    passes: Vec<bool>,
    /// Texts that were used before: fresh memory for each strip costs more than spelling into it.
    texts: Vec<Vec<u8>>,
    /// Members of the strip before and their files: they are handed over while the next one is spelled.
    made: Vec<(usize, Vec<u8>)>,
}

impl<'a> Engine<'a> {
    pub(crate) fn new(
        source: &'a dyn Source,
        plan: &'a Plan,
        enough: Option<usize>,
    ) -> Result<Self, DemuxError> {
        let listing = Listing::of(source.list().map_err(DemuxError::List)?)?;
        Self::over(source, plan, enough, Arc::new(listing))
    }

    /// As [`Self::new`], of a folder that was listed before.
    pub(crate) fn over(
        source: &'a dyn Source,
        plan: &'a Plan,
        enough: Option<usize>,
        listing: Arc<Listing>,
    ) -> Result<Self, DemuxError> {
        let lanes = lanes(plan, &listing);
        if lanes.is_empty() {
            return Err(DemuxError::NoLanes);
        }
        let stride = plan.used.len().max(1);
        // A multiple of eight suits the transposition, and strips of packed calls must be even.
        let strip_clusters = (STRIP_BYTES / stride).clamp(1024, 65_536) & !7;
        let worker = |_| Worker {
            matcher: Matcher::new(),
            members: Members::new(plan.options.framing, plan.options.deflate),
            name: Name::default(),
            packed: Vec::new(),
        };
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
                .map(|(at, used)| CycleReader::new(at, used.cycle, plan.options.ignore_missing))
                .collect(),
            files: Vec::new(),
            file_at: HashMap::new(),
            strip_clusters,
            warnings: plan.warnings.clone(),
            missing: MissingList::default(),
            index_metrics: IndexMetrics::new(),
            rows: Vec::new(),
            meanings: Vec::new(),
            positions: Vec::new(),
            records: Vec::new(),
            passes: Vec::new(),
            texts: Vec::new(),
            made: Vec::new(),
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
        if self.index_metrics.is_cut() {
            self.warnings.push(CUT_INDEX_METRICS.to_owned());
        }
        let (missing, more_missing) = self.missing.into_parts();
        let index_metrics = self.index_metrics.into_bytes();
        Ok(Report { lanes, warnings: self.warnings, missing, more_missing, index_metrics })
    }

    fn lane(
        &mut self,
        number: u32,
        sink: &mut dyn Sink,
        progress: &dyn Fn(Progress),
    ) -> Result<LaneReport, DemuxError> {
        let lane = self.discover(number)?;
        let mut work = self.begin_lane(&lane)?;
        for tile in &lane.tiles {
            self.tile(&lane, tile, &mut work, sink, progress)?;
            if self.enough.is_some_and(|enough| work.clusters >= enough as u64) {
                return Ok(work.report(number, self.plan));
            }
        }
        Ok(work.report(number, self.plan))
    }

    /// Finds out what a lane consists of.
    pub(crate) fn discover(&mut self, number: u32) -> Result<Lane, DemuxError> {
        Lane::discover(number, self.plan, &self.listing, &self.reading, &mut self.warnings)
    }

    /// Sees that every file of a lane looks whole, for a folder that may still be growing.
    pub(crate) fn looks_whole(&self, lane: &Lane) -> Result<(), DemuxError> {
        let cycles = self.plan.used.iter().map(|used| used.cycle);
        lane.looks_whole(cycles, &self.listing, &self.reading)
    }

    /// Begins a lane.
    pub(crate) fn begin_lane(&mut self, lane: &Lane) -> Result<LaneWork, DemuxError> {
        let mut work = LaneWork::new(self.plan, lane.number);
        work.missing[0] += lane.left_out;
        for missing in &lane.missing {
            self.missing.add(missing.clone());
        }
        self.slots(lane.number, &mut work);
        for worker in &mut self.workers {
            worker.matcher.forget();
        }
        self.each_cycle(lane, None, |reader, reading, _| reader.begin_lane(lane, reading))?;
        Ok(work)
    }

    /// Sees that there is something of the last cycle that is needed, before everything else is looked for.
    pub(crate) fn has_last_cycle(&self, lane: u32) -> Result<(), DemuxError> {
        let cycle = self.plan.used.last().map_or(1, |used| used.cycle);
        match self.listing.has_cycle(lane, cycle) {
            true => Ok(()),
            false => Err(DemuxError::NoCalls { lane, cycle }),
        }
    }

    /// Bytes of members that were handed out of files that are begun.
    pub(crate) fn given_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.given_bytes).sum()
    }

    /// Text that waits for its member to be full.
    pub(crate) fn waiting_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.waiting.len() as u64).sum()
    }

    /// Takes up files that were begun before.
    pub(crate) fn take_up(&mut self, files: Vec<OutFile>) {
        self.file_at = (0..).zip(&files).map(|(at, file)| (file.name.path(), at)).collect();
        self.files = files;
    }

    /// Opens a place for every sample of a lane, and for reads that match none where that can happen.
    fn slots(&mut self, lane: u32, work: &mut LaneWork) {
        let mut of_sample: HashMap<u32, usize> = HashMap::new();
        for candidate in work.candidates.clone() {
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
            work.assign(candidate.row, row, slot);
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

    /// Does one tile.
    pub(crate) fn tile(
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
        let clocs = match &tile.positions {
            Positions::Clocs { path } => {
                let bytes = read_small(self.reading.source, path, limits::MAX_CLOCS_BYTES)
                    .map_err(Damage::Read)
                    .and_then(|bytes| places::clocs(&bytes, Some(tile.clusters)));
                match bytes {
                    Ok(positions) => positions,
                    Err(damage) if self.plan.options.ignore_missing => {
                        work.missing[0] += 1;
                        self.missing.add(Missing::of(place, path, &damage));
                        return Ok(());
                    }
                    Err(damage) => return Err(damaged(path, damage)),
                }
            }
            Positions::Locs { .. } => Vec::new(),
        };
        work.clusters += u64::from(tile.clusters);
        work.passing += passing as u64;
        let passing = u32::try_from(passing).expect("no more pass than there are");
        let held = self.readers.len() as u64 * lane.tile_bytes(tile) <= HELD_BYTES;
        self.each_cycle(lane, Some(tile.number), |reader, reading, packed| {
            reader.begin_tile(lane, tile, passing, reading, held.then_some(packed))
        })?;
        let start = {
            let run = &self.plan.run;
            fastq::name_start(&run.instrument, run.number, &run.flowcell, lane.number, tile.number)
        };
        let mut first = 0;
        while first < filter.len() {
            let end = (first + self.strip_clusters).min(filter.len());
            let strip = self.strip_of(&filter[first..end]);
            self.each_cycle(lane, Some(tile.number), |reader, reading, _| {
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
        self.hand_over(sink)?;
        self.end_tile(lane, tile, work)?;
        work.end_tile(lane.number, tile.number, self.plan, &mut self.index_metrics);
        Ok(())
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
        let keep = filter.iter().map(|mark| u8::from(all) | mark & 1).collect();
        Strip { clusters: filter.len(), passing, kept, keep }
    }

    fn end_tile(
        &mut self,
        lane: &Lane,
        tile: &Tile,
        work: &mut LaneWork,
    ) -> Result<(), DemuxError> {
        let mut remarks = vec![None; self.readers.len()];
        let reading = &self.reading;
        let items = self.readers.iter_mut().zip(&mut remarks);
        share(&mut self.workers, items, |_, (reader, remark)| {
            *remark = reader
                .end_tile(lane, reading)
                .map_err(|damage| cycle_damaged(lane, Some(tile.number), reader, damage))?;
            Ok(())
        })?;
        for reader in &self.readers {
            if let Some(damage) = reader.lost() {
                let place =
                    Place { lane: lane.number, tile: Some(tile.number), cycle: Some(reader.cycle) };
                work.missing[1] += 1;
                self.missing.add(Missing::of(place, reader.path(), damage));
            }
        }
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
        act: impl Fn(&mut CycleReader, &Reading<'_>, &mut Vec<u8>) -> Result<(), Damage> + Sync,
    ) -> Result<(), DemuxError> {
        let reading = &self.reading;
        share(&mut self.workers, self.readers.iter_mut(), |worker, reader| {
            act(reader, reading, &mut worker.packed)
                .map_err(|damage| cycle_damaged(lane, tile, reader, damage))
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
        for (slot, of) in work.slots.iter().enumerate().filter(|(_, of)| !of.files.is_empty()) {
            for clusters in of.clusters.chunks(SPELLED_CLUSTERS) {
                let texts = of.files.iter().map(|_| self.texts.pop().unwrap_or_default()).collect();
                let metrics = vec![ReadMetrics::default(); of.files.len()];
                spellings.push(Spelling { slot, clusters, texts, metrics });
            }
        }
        let mut handed = Ok(());
        let (made, files) = (&mut self.made, &mut self.files);
        let spelled: Result<(), DemuxError> = share_meanwhile(
            &mut self.workers,
            spellings.iter_mut(),
            |worker, spelling| {
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
            },
            || handed = hand_over(made, files, sink),
        );
        spelled?;
        handed?;
        let mut sums: Vec<(usize, Vec<ReadMetrics>)> = Vec::with_capacity(spellings.len());
        let mut of_files: Vec<Vec<Vec<u8>>> = self.files.iter().map(|_| Vec::new()).collect();
        for spelling in spellings {
            for (text, file) in spelling.texts.into_iter().zip(&work.slots[spelling.slot].files) {
                of_files[*file].push(text);
            }
            sums.push((spelling.slot, spelling.metrics));
        }
        let joined =
            self.files.iter_mut().zip(&mut of_files).filter(|(_, texts)| !texts.is_empty());
        let joined: Vec<_> = joined.collect();
        let joined: Result<(), DemuxError> =
            share(&mut self.workers, joined.into_iter(), |_, (file, texts)| {
                file.waiting.reserve(texts.iter().map(Vec::len).sum());
                for text in texts {
                    file.waiting.extend_from_slice(text);
                    text.clear();
                }
                Ok(())
            });
        joined?;
        self.texts.extend(of_files.into_iter().flatten());
        for (slot, metrics) in sums {
            work.slots[slot].add(&metrics, &self.files);
        }
        self.members(false)
    }

    /// Hands over what was compressed.
    fn hand_over(&mut self, sink: &mut dyn Sink) -> Result<(), DemuxError> {
        hand_over(&mut self.made, &mut self.files, sink)
    }

    /// Compresses what is waiting, in whole members or, at the end, all of it.
    fn members(&mut self, all: bool) -> Result<(), DemuxError> {
        let member_bytes = self.plan.member_bytes;
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
            self.made.push((at, member));
            *done.entry(at).or_default() += text_bytes;
        }
        for (at, bytes) in done {
            self.files[at].waiting.drain(..bytes);
        }
        Ok(())
    }

    /// Ends every file that is begun.
    pub(crate) fn finish_files(&mut self, sink: &mut dyn Sink) -> Result<(), DemuxError> {
        self.hand_over(sink)?;
        self.members(true)?;
        self.hand_over(sink)?;
        for file in self.files.drain(..) {
            let name = &file.name;
            sink.fastq(name, self.plan.options.framing.end(file.given_bytes > 0))
                .and_then(|()| sink.finish_file(name))
                .map_err(|cause| output(name, cause))?;
        }
        self.file_at.clear();
        Ok(())
    }
}

/// Hands members to the sink, in the order in which they were made.
fn hand_over(
    made: &mut Vec<(usize, Vec<u8>)>,
    files: &mut [OutFile],
    sink: &mut dyn Sink,
) -> Result<(), DemuxError> {
    for (at, member) in made.drain(..) {
        let file = &mut files[at];
        sink.fastq(&file.name, &member).map_err(|cause| output(&file.name, cause))?;
        file.given_bytes += member.len() as u64;
    }
    Ok(())
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

/// The file of that name, begun if it is new.
fn file(files: &mut Vec<OutFile>, at: &mut HashMap<String, usize>, name: FastqName) -> usize {
    *at.entry(name.path()).or_insert_with(|| {
        files.push(OutFile { name, given_bytes: 0, waiting: Vec::new() });
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
