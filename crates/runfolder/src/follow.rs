//! Demultiplexing while the run goes on, in work that may end at any moment and is taken up again.
//!
//! The work is cut into passes by the cycles that they need: first the index cycles of every tile, which give counts, unknown
//! barcodes and a verdict hours before the end, and before any file is made; then each group of FASTQ files whose cycles end
//! together, so that the first read's are ready when its index has been read and the others shortly after the last cycle. A pass goes tile by tile in the
//! order in which [`crate::demultiplex`] goes, with members cut at the same places, so that what comes out is the same bytes.
//!
//! Nobody says which file of a growing folder is whole, so none is believed to be: a file that is missing, shorter than it
//! announces or damaged is waited for, and what was written from its tile so far is taken back. Only of a folder that is said
//! to be complete is it an error. A tile that nobody announced and that comes last changes which tiles there are; so at the end
//! the tiles that were worked on are held against the whole folder, and where they differ the work begins anew.
//!
//! There is no disk and no clock here. A [`Journal`] keeps the state beside what it was handed, in one step, and puts files
//! back to where they were then; how often [`Follow::advance`] is called is for the caller to say (`spec/demultiplexing.md`
//! section 10).

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::demux::{CUT_INDEX_METRICS, Engine, Progress, hand_reports};
use crate::error::DemuxError;
use crate::index_metrics::IndexMetrics;
use crate::lane::{Lane, Listing};
use crate::plan::Plan;
use crate::report::{LaneReport, ReadMetrics, Report};
use crate::source::{FastqName, ReadKind, Sink, Source};
use crate::work::OutFile;

/// A sink that work can be taken up on again.
pub trait Journal: Sink {
    /// Keeps `state` in the place of the one before, and with it everything that was handed over so far: whoever takes the
    /// work up finds the state that was kept last and can [`Self::rewind`] to it.
    fn save(&mut self, state: &[u8]) -> io::Result<()>;

    /// Puts unfinished files back to what they were when the state was kept that is given to [`Follow::resume`]: each of
    /// `files` is so many bytes long and takes more, also where it was finished since; other unfinished ones are dropped.
    fn rewind(&mut self, files: &[(&FastqName, u64)]) -> io::Result<()>;
}

/// What has been reached.
#[derive(Debug)]
pub enum Milestone<'a> {
    /// Every cluster of a lane belongs to a sample or to none. Sums over qualities come later.
    Assigned(&'a LaneReport),
    /// Files of a lane, or of all lanes where they share files, are finished.
    Ready {
        /// The lane.
        lane: Option<u32>,
        /// Which reads.
        reads: &'a [(ReadKind, u32)],
    },
    /// The folder has other tiles than it seemed to have, so the work begins anew.
    BegunAnew,
}

/// How far the work came.
#[derive(Debug)]
pub enum Followed {
    /// Everything that could be done is done. The next step needs this, or, where it is `None`, only that the folder is said
    /// to be complete.
    Waiting(Option<DemuxError>),
    /// Every cluster of every lane is assigned, and no file is made yet: told once, for a verdict. The next step goes on.
    Assigned,
    /// All files and reports were handed over.
    Done(Report),
}

/// Why a state that was kept cannot be taken up.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ResumeError {
    /// Not what [`Journal::save`] was given.
    #[error("what was kept of the work so far does not read")]
    Unreadable,
    /// Begun otherwise.
    #[error("the work was begun with another RunInfo.xml, another sample sheet or other options")]
    OtherPlan,
}

/// Demultiplexing of one run, as far as its folder goes.
pub struct Follow {
    plan: Plan,
    passes: Vec<Pass>,
    state: State,
    rewound: bool,
    save_every: u64,
}

/// What one pass over the tiles makes.
struct Pass {
    plan: Arc<Plan>,
    reads: Vec<(ReadKind, u32)>,
}

/// What is kept.
#[derive(Clone, Serialize, Deserialize)]
struct State {
    plan: String,
    passes: Vec<PassState>,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct PassState {
    done: Vec<DoneLane>,
    current: Option<CurrentLane>,
    files: Vec<FileState>,
    index_metrics: Kept,
    index_metrics_cut: bool,
    warnings: Vec<String>,
    finished: bool,
}

/// Tiles with their clusters.
type Tiles = Vec<(u32, u32)>;

#[derive(Clone, Serialize, Deserialize)]
struct DoneLane {
    report: LaneReport,
    tiles: Tiles,
}

/// A lane that is done in part.
#[derive(Clone, Serialize, Deserialize)]
struct CurrentLane {
    lane: u32,
    tiles: Tiles,
    tiles_done: usize,
    /// The sums of each sample so far.
    metrics: Vec<Vec<ReadMetrics>>,
}

#[derive(Clone, Serialize, Deserialize)]
struct FileState {
    name: FastqName,
    given_bytes: u64,
    waiting: Kept,
}

/// Bytes that are kept beside the rest of the state.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Kept {
    length: usize,
    #[serde(skip)]
    bytes: Vec<u8>,
}

impl Kept {
    fn of(bytes: &[u8]) -> Self {
        Self { length: bytes.len(), bytes: bytes.to_vec() }
    }
}

/// What a state that was kept begins with.
const MAGIC: &[u8; 16] = b"chorion follow 1";
/// Output after which the state is kept, unless said otherwise.
const SAVE_EVERY: u64 = 16 << 20;

impl Follow {
    /// Begins. A plan that goes on without what is missing waits for it like any other; only at the end nothing is made of it.
    pub fn new(plan: Plan) -> Self {
        let mut groups: BTreeMap<u32, Vec<(ReadKind, u32)>> = BTreeMap::new();
        for (read, last) in plan.outputs_by_last_cycle() {
            groups.entry(last).or_default().push(read);
        }
        let mut passes = vec![Pass { plan: Arc::new(plan.index_only()), reads: Vec::new() }];
        for reads in groups.into_values() {
            let narrowed = plan.narrowed(|output| reads.contains(&(output.kind, output.number)));
            passes.push(Pass { plan: Arc::new(narrowed), reads });
        }
        let state = State::new(&plan, passes.len());
        Self { plan, passes, state, rewound: false, save_every: SAVE_EVERY }
    }

    /// Takes the work up where `state`, the last that [`Journal::save`] was given, left it.
    pub fn resume(plan: Plan, state: &[u8]) -> Result<Self, ResumeError> {
        let state = State::parse(state).ok_or(ResumeError::Unreadable)?;
        let mut follow = Self::new(plan);
        if state.plan != follow.state.plan {
            return Err(ResumeError::OtherPlan);
        }
        if state.passes.len() != follow.passes.len() {
            return Err(ResumeError::Unreadable);
        }
        follow.state = state;
        Ok(follow)
    }

    /// Keeps the state whenever so many bytes of output were made: what a sudden end costs at most, but for one tile.
    #[must_use]
    pub fn saving_every(mut self, bytes: u64) -> Self {
        self.save_every = bytes;
        self
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What is known of the lanes whose clusters are assigned, and whether these are all.
    pub fn assigned(&self) -> (Report, bool) {
        let pass = &self.state.passes[0];
        let lanes = pass.done.iter().map(|done| done.report.clone()).collect();
        (Report { lanes, ..Report::default() }, pass.finished)
    }

    /// Does all that the folder allows.
    ///
    /// `complete` says that nothing more will come. Without it, what is missing or damaged is waited for.
    pub fn advance(
        &mut self,
        source: &dyn Source,
        journal: &mut dyn Journal,
        complete: bool,
        progress: &dyn Fn(Progress),
        reached: &mut dyn FnMut(Milestone<'_>),
    ) -> Result<Followed, DemuxError> {
        if !self.rewound {
            self.rewind(journal)?;
        }
        let entries = match source.list() {
            Ok(entries) => entries,
            Err(cause) => return self.wait_or_fail(DemuxError::List(cause), complete),
        };
        let listing = Arc::new(Listing::of(entries)?);
        // What is begun anew finds the same folder, so there is one more round at most.
        for _ in 0..2 {
            let mut blocked = None;
            for at in 0..self.passes.len() {
                let judged = self.state.passes[0].finished;
                let done = self.pass(at, source, &listing, journal, progress, reached);
                match done {
                    Ok(()) if !judged => return Ok(Followed::Assigned),
                    Ok(()) => {}
                    Err(error) if can_come(&error) && !complete => {
                        self.rewind(journal)?;
                        blocked.get_or_insert(error);
                        // Read names hold the index, so nothing else could be made either.
                        if !judged {
                            break;
                        }
                    }
                    Err(error) => {
                        self.rewound = false;
                        return Err(error);
                    }
                }
            }
            if blocked.is_some() || !complete {
                return Ok(Followed::Waiting(blocked));
            }
            if self.is_of(source, &listing)? {
                let report = self.report();
                hand_reports(&report, &self.plan, journal)?;
                return Ok(Followed::Done(report));
            }
            reached(Milestone::BegunAnew);
            self.state = State::new(&self.plan, self.passes.len());
            self.rewind(journal)?;
        }
        Ok(Followed::Waiting(None))
    }

    /// Whether what was made so far is of lanes and tiles as the folder has them: where it is complete and they differ, all of
    /// the work will begin anew, and whoever keeps files elsewhere does better to begin anew at once.
    pub fn fits(&self, source: &dyn Source) -> Result<bool, DemuxError> {
        let listing = Arc::new(Listing::of(source.list().map_err(DemuxError::List)?)?);
        let whole = self.whole(source, &listing)?;
        Ok(self.state.passes.iter().all(|pass| {
            let done = pass.done.iter().map(|done| (done.report.lane, &done.tiles));
            let current = pass.current.iter().map(|known| (known.lane, &known.tiles));
            let mut whole = whole.iter();
            done.chain(current).all(|(lane, tiles)| {
                whole.next().is_some_and(|(number, of)| *number == lane && of == tiles)
            })
        }))
    }

    fn wait_or_fail(&self, error: DemuxError, complete: bool) -> Result<Followed, DemuxError> {
        if complete { Err(error) } else { Ok(Followed::Waiting(Some(error))) }
    }

    fn rewind(&mut self, journal: &mut dyn Journal) -> Result<(), DemuxError> {
        let files = self.state.passes.iter().flat_map(|pass| &pass.files);
        let files: Vec<_> = files.map(|file| (&file.name, file.given_bytes)).collect();
        let kept = |cause| DemuxError::Output { path: "what was written before".to_owned(), cause };
        journal.rewind(&files).map_err(kept)?;
        self.rewound = true;
        Ok(())
    }

    fn save(&self, journal: &mut dyn Journal) -> Result<(), DemuxError> {
        let kept = |cause| DemuxError::Output { path: "the state of the work".to_owned(), cause };
        journal.save(&self.state.to_bytes()).map_err(kept)
    }

    /// Does what can be done of one pass.
    fn pass(
        &mut self,
        at: usize,
        source: &dyn Source,
        listing: &Arc<Listing>,
        journal: &mut dyn Journal,
        progress: &dyn Fn(Progress),
        reached: &mut dyn FnMut(Milestone<'_>),
    ) -> Result<(), DemuxError> {
        if self.state.passes[at].finished {
            return Ok(());
        }
        let plan = Arc::clone(&self.passes[at].plan);
        let mut engine = Engine::over(source, &plan, None, Arc::clone(listing))?;
        engine.take_up(self.state.passes[at].files.iter().map(FileState::open).collect());
        engine.index_metrics = self.state.passes[at].index_metrics();
        let lanes = engine.lanes.clone();
        while let Some(number) = lanes.get(self.state.passes[at].done.len()) {
            let Some(done) = self.lane(at, *number, &mut engine, journal, progress)? else {
                // The lane has other tiles than when it was begun, and its files hold reads of those: the pass begins anew.
                self.state.passes[at] = PassState::default();
                self.rewind(journal)?;
                return self.pass(at, source, listing, journal, progress, reached);
            };
            let last = self.state.passes[at].done.len() + 1 == lanes.len();
            if plan.lane_splitting || last {
                engine.finish_files(journal)?;
            }
            let pass = &mut self.state.passes[at];
            pass.done.push(done);
            pass.current = None;
            pass.keep(&engine, &plan);
            pass.finished = last;
            self.save(journal)?;
            let done = &self.state.passes[at].done;
            if let (0, Some(done)) = (at, done.last()) {
                reached(Milestone::Assigned(&done.report));
            } else if plan.lane_splitting || last {
                let lane = plan.lane_splitting.then_some(*number);
                reached(Milestone::Ready { lane, reads: &self.passes[at].reads });
            }
        }
        // A lane that went away is told at the end.
        self.state.passes[at].finished = true;
        Ok(())
    }

    /// Does one lane of a pass, or the rest of it; nothing if it was begun with other tiles than it has.
    fn lane(
        &mut self,
        at: usize,
        number: u32,
        engine: &mut Engine<'_>,
        journal: &mut dyn Journal,
        progress: &dyn Fn(Progress),
    ) -> Result<Option<DoneLane>, DemuxError> {
        engine.has_last_cycle(number)?;
        let lane = engine.discover(number)?;
        engine.looks_whole(&lane)?;
        let tiles = tiles_of(&lane);
        let pass = &self.state.passes[at];
        let current = pass.current.as_ref();
        if current.is_some_and(|known| known.lane != number || known.tiles != tiles) {
            return Ok(None);
        }
        let done = current.map_or(0, |known| known.tiles_done);
        let mut work = engine.begin_lane(&lane)?;
        if let Some(known) = current {
            for (slot, metrics) in work.slots.iter_mut().zip(&known.metrics) {
                slot.report.metrics.clone_from(metrics);
            }
        }
        let mut saved_bytes = engine.given_bytes();
        for (tile_at, tile) in lane.tiles.iter().enumerate().skip(done) {
            engine.tile(&lane, tile, &mut work, journal, progress)?;
            let (made, waiting) = (engine.given_bytes() - saved_bytes, engine.waiting_bytes());
            // Counts of barcodes are not kept in mid-lane: the index cycles are read again in no time.
            if at > 0 && made >= self.save_every.max(2 * waiting) {
                let metrics = work.slots.iter().map(|slot| slot.report.metrics.clone()).collect();
                let tiles = tiles.clone();
                let pass = &mut self.state.passes[at];
                let tiles_done = tile_at + 1;
                pass.current = Some(CurrentLane { lane: number, tiles, tiles_done, metrics });
                pass.keep(engine, &self.passes[at].plan);
                self.save(journal)?;
                saved_bytes = engine.given_bytes();
            }
        }
        let mut report = work.report(number, &self.passes[at].plan);
        if at > 0 {
            // What the first pass knows is not kept again.
            report.unknown.clear();
            report.hopped.clear();
        }
        Ok(Some(DoneLane { report, tiles }))
    }

    /// Whether every pass worked on the lanes and tiles that the folder, now complete, has.
    fn is_of(&self, source: &dyn Source, listing: &Arc<Listing>) -> Result<bool, DemuxError> {
        let whole = self.whole(source, listing)?;
        Ok(self.state.passes.iter().all(|pass| {
            let worked = pass.done.iter().map(|done| (done.report.lane, &done.tiles));
            worked.eq(whole.iter().map(|(lane, tiles)| (*lane, tiles)))
        }))
    }

    /// The lanes and tiles of a complete folder.
    fn whole(
        &self,
        source: &dyn Source,
        listing: &Arc<Listing>,
    ) -> Result<Vec<(u32, Tiles)>, DemuxError> {
        let mut engine = Engine::over(source, &self.plan, None, Arc::clone(listing))?;
        let mut whole = Vec::new();
        for number in engine.lanes.clone() {
            whole.push((number, tiles_of(&engine.discover(number)?)));
        }
        Ok(whole)
    }

    /// The counts of the first pass with the sums of the others.
    fn report(&self) -> Report {
        let (first, others) =
            self.state.passes.split_first().expect("there is always a first pass");
        let mut lanes: Vec<LaneReport> =
            first.done.iter().map(|done| done.report.clone()).collect();
        for (at, lane) in lanes.iter_mut().enumerate() {
            for (sample_at, sample) in lane.samples.iter_mut().enumerate() {
                let mut reads: Vec<(ReadMetrics, String)> = Vec::new();
                for pass in others {
                    let same = &pass.done[at].report.samples[sample_at];
                    reads.extend(same.metrics.iter().copied().zip(same.files.iter().cloned()));
                }
                reads.sort_by_key(|(metrics, _)| metrics.number);
                (sample.metrics, sample.files) = reads.into_iter().unzip();
            }
        }
        let mut warnings = self.plan.warnings.clone();
        if first.index_metrics_cut {
            warnings.push(CUT_INDEX_METRICS.to_owned());
        }
        for warning in self.state.passes.iter().flat_map(|pass| &pass.warnings) {
            if !warnings.contains(warning) {
                warnings.push(warning.clone());
            }
        }
        Report {
            lanes,
            warnings,
            index_metrics: first.index_metrics().into_bytes(),
            ..Report::default()
        }
    }
}

/// Whether more of the folder could mend it.
fn can_come(error: &DemuxError) -> bool {
    match error {
        DemuxError::Output { .. }
        | DemuxError::TooManyFiles(_)
        | DemuxError::TooManyTiles { .. } => false,
        DemuxError::List(_)
        | DemuxError::NoLanes
        | DemuxError::NoLane(_)
        | DemuxError::NoCalls { .. }
        | DemuxError::NoTile { .. }
        | DemuxError::NoPositions { .. }
        | DemuxError::Missing { .. }
        | DemuxError::Damaged { .. } => true,
    }
}

fn tiles_of(lane: &Lane) -> Tiles {
    lane.tiles.iter().map(|tile| (tile.number, tile.clusters)).collect()
}

impl PassState {
    fn index_metrics(&self) -> IndexMetrics {
        IndexMetrics::go_on(&self.index_metrics.bytes, self.index_metrics_cut)
    }

    /// Keeps what the engine has made so far.
    fn keep(&mut self, engine: &Engine<'_>, plan: &Plan) {
        self.files = engine.files.iter().map(FileState::of).collect();
        self.index_metrics = Kept::of(engine.index_metrics.bytes());
        self.index_metrics_cut = engine.index_metrics.is_cut();
        self.warnings = engine.warnings.iter().skip(plan.warnings.len()).cloned().collect();
    }
}

impl FileState {
    fn of(file: &OutFile) -> Self {
        let waiting = Kept::of(&file.waiting);
        Self { name: file.name.clone(), given_bytes: file.given_bytes, waiting }
    }

    fn open(&self) -> OutFile {
        let (name, given_bytes) = (self.name.clone(), self.given_bytes);
        OutFile { name, given_bytes, waiting: self.waiting.bytes.clone() }
    }
}

impl State {
    fn new(plan: &Plan, passes: usize) -> Self {
        // This is for whoever takes the wrong sheet by mistake, not against anybody who means to.
        let mut options = plan.options.clone();
        options.threads = std::num::NonZeroUsize::MIN;
        let texts = [plan.run.text(), &plan.sheet_text, format!("{options:?}").as_bytes()]
            .map(|text| format!("{}:{:08x}", text.len(), crc32fast::hash(text)));
        Self { plan: texts.join(" "), passes: vec![PassState::default(); passes] }
    }

    fn kept(&mut self) -> impl Iterator<Item = &mut Kept> {
        self.passes.iter_mut().flat_map(|pass| {
            let waiting = pass.files.iter_mut().map(|file| &mut file.waiting);
            [&mut pass.index_metrics].into_iter().chain(waiting)
        })
    }

    /// Magic, the length of the part in JSON, that part, the bytes that are kept, and a checksum over all of it.
    fn to_bytes(&self) -> Vec<u8> {
        let json = serde_json::to_vec(self).expect("a state has only text keys and numbers");
        let mut bytes = MAGIC.to_vec();
        bytes.extend((json.len() as u64).to_le_bytes());
        bytes.extend(json);
        for pass in &self.passes {
            bytes.extend(&pass.index_metrics.bytes);
            pass.files.iter().for_each(|file| bytes.extend(&file.waiting.bytes));
        }
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (body, checksum) = bytes.split_last_chunk::<4>()?;
        if crc32fast::hash(body) != u32::from_le_bytes(*checksum) {
            return None;
        }
        let (length, rest) = body.strip_prefix(MAGIC)?.split_first_chunk::<8>()?;
        let (json, mut rest) =
            rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        let mut state: Self = serde_json::from_slice(json).ok()?;
        for kept in state.kept() {
            let bytes;
            (bytes, rest) = rest.split_at_checked(kept.length)?;
            kept.bytes = bytes.to_vec();
        }
        rest.is_empty().then_some(state)
    }
}

/// Any bytes as a state, for fuzzing.
pub(crate) fn parse_any(bytes: &[u8]) {
    let checksum = crc32fast::hash(bytes).to_le_bytes();
    let _refused_or_read = State::parse(&[bytes, &checksum].concat());
}
