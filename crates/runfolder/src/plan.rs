//! What will be done, decided before a base call is read.
//!
//! A plan joins a run with a sample sheet: which cycles make which read, which index means which sample, which settings hold.
//! Whatever would make the work wrong or ambiguous is an error here, with both samples of a collision named, because hours
//! of reading should not end in a sentence that could have been said at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroUsize;
use std::ops::Range;

use crate::adapter::Trimming;
use crate::barcode::{Candidate, Pattern, Words, conflict, reverse_complement, word_code};
use crate::limits;
use crate::mask::{CycleMask, CycleUse, MaskError};
use crate::member::{Deflate, Framing};
use crate::run_info::RunInfo;
use crate::settings::{SettingError, Settings};
use crate::sheet::{SampleSheet, SheetRow};
use crate::source::{FastqName, ReadKind};

/// What the caller may choose beside the sheet.
#[derive(Debug, Clone)]
pub struct PlanOptions {
    /// Threads to use. The output is the same for every number.
    pub threads: NonZeroUsize,
    /// Mismatches allowed in i7 and i5, instead of what the sheet says.
    pub mismatches: Option<[u8; 2]>,
    /// Also write clusters that fail the instrument's filter, marked `Y` in their read names.
    pub with_failed_reads: bool,
    /// Leave adapters where they are, also where the sheet asks for them to be trimmed or masked.
    pub without_trimming: bool,
    /// Go on without what is missing or damaged: calls become N, tiles are left out, and every report says so.
    pub ignore_missing: bool,
    /// Also write bcl2fastq's `Stats/Stats.json`.
    pub stats_json: bool,
    /// Only these lanes.
    pub lanes: Option<BTreeSet<u32>>,
    /// How the members of FASTQ files are framed.
    pub framing: Framing,
    /// What compresses them.
    pub deflate: Deflate,
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self {
            threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            mismatches: None,
            with_failed_reads: false,
            without_trimming: false,
            ignore_missing: false,
            stats_json: false,
            lanes: None,
            framing: Framing::default(),
            deflate: Deflate::default(),
        }
    }
}

/// A sample of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The `n` of `_S<n>_`: the order of first appearance in the sheet, from 1.
    pub number: u32,
    /// `Sample_ID`.
    pub sample_id: String,
    /// `Sample_Name`, where the sheet has one.
    pub sample_name: Option<String>,
    /// `Sample_Project`: what the caller maps to a project of its own before work starts.
    pub sample_project: Option<String>,
}

/// One row of the sheet, ready to be matched.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// Position in [`Plan::samples`].
    pub(crate) sample: usize,
    pub(crate) lane: Option<u32>,
    pub(crate) index: String,
    pub(crate) index2: String,
    pub(crate) patterns: [Pattern; 2],
    pub(crate) tolerance: [u8; 2],
    /// Position in [`Plan::layouts`].
    pub(crate) layout: usize,
}

/// What one FASTQ file of a sample takes from a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutputRead {
    pub(crate) kind: ReadKind,
    pub(crate) number: u32,
    pub(crate) columns: Vec<Range<usize>>,
    pub(crate) bases: usize,
    /// What is done with adapters; `None` where none is looked for.
    pub(crate) trimming: Option<Trimming>,
}

/// One part of a read name's molecular identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UmiPart {
    pub(crate) columns: Vec<Range<usize>>,
    /// From an index that was read as reverse complement: turned round and marked with an `r`.
    pub(crate) reversed: bool,
}

/// Where a cluster's reads lie in a row of calls, for one cycle mask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) outputs: Vec<OutputRead>,
    pub(crate) umi: Vec<UmiPart>,
    /// The index as read, for the read name: one list per index read with index cycles.
    pub(crate) index: Vec<Vec<Range<usize>>>,
}

/// One cycle that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UsedCycle {
    /// Counted from 1 over all reads.
    pub(crate) cycle: u32,
    /// For a cycle that some sample's index covers: which index word, and the position in it.
    pub(crate) word: Option<(usize, usize)>,
}

/// Everything decided before work.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The run.
    pub run: RunInfo,
    /// The samples in order of first appearance.
    pub samples: Vec<Sample>,
    /// What was passed over or read otherwise than written.
    pub warnings: Vec<String>,
    /// What the caller chose.
    pub options: PlanOptions,
    /// Whether lanes have files of their own.
    pub lane_splitting: bool,
    pub(crate) rows: Vec<Row>,
    pub(crate) layouts: Vec<Layout>,
    pub(crate) used: Vec<UsedCycle>,
    /// Text in one member of a file, the last one's excepted.
    pub(crate) member_bytes: usize,
    /// The first cycle that is read, whose files tell which tiles there are.
    pub(crate) first_cycle: u32,
    /// Columns that make index words: column, which word, position in it.
    word_columns: Vec<(usize, usize, usize)>,
    pub(crate) sheet_text: Vec<u8>,
}

/// The layout of clusters that match no sample.
pub(crate) const DEFAULT_LAYOUT: usize = 0;

/// Two samples whose reads cannot be told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collision {
    /// The lane; `None` where the sheet has no lanes.
    pub lane: Option<u32>,
    /// One sample.
    pub first: String,
    /// Its index, `i7+i5`.
    pub first_index: String,
    /// The other.
    pub second: String,
    /// Its index.
    pub second_index: String,
    /// The mismatches allowed in i7 and i5.
    pub mismatches: [u8; 2],
    /// The largest mismatches, no larger than these, at which the two are told apart; `None` if there are none.
    pub safe: Option<[u8; 2]>,
}

impl std::fmt::Display for Collision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [i7, i5] = self.mismatches;
        write!(
            f,
            "samples {} ({}) and {} ({})",
            self.first, self.first_index, self.second, self.second_index
        )?;
        if let Some(lane) = self.lane {
            write!(f, " in lane {lane}")?;
        }
        write!(f, " cannot be told apart with {i7} and {i5} mismatches in i7 and i5")
    }
}

/// Why run and sheet do not make a plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Samples that collide.
    #[error("{}{}", .0[0], others(.0.len()))]
    Collisions(Vec<Collision>),
    /// The run does not read what the sheet names.
    #[error(
        "sample {sample} on line {line} of the sample sheet has an {index} index, but the run reads none"
    )]
    NoIndexRead {
        /// The sample.
        sample: String,
        /// Its line.
        line: u64,
        /// i7 or i5.
        index: &'static str,
    },
    /// The index is longer than what was read of it.
    #[error(
        "the {index} index {sequence} of sample {sample} on line {line} of the sample sheet is longer than the {cycles} cycles that read it"
    )]
    IndexTooLong {
        /// The sample.
        sample: String,
        /// Its line.
        line: u64,
        /// i7 or i5.
        index: &'static str,
        /// The sequence.
        sequence: String,
        /// The index cycles there are.
        cycles: usize,
    },
    /// A setting that is unknown, unsupported or wrong.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// OverrideCycles that do not fit.
    #[error(transparent)]
    Mask(#[from] MaskError),
    /// More index reads than two.
    #[error("the run has {0} index reads, of which only two can be matched")]
    IndexReads(usize),
    /// An index read too long for one word.
    #[error("index read {read} has {cycles} cycles, more than the {limit} that can be matched", limit = limits::MAX_INDEX_CYCLES)]
    IndexCycles {
        /// The read.
        read: u32,
        /// Its cycles.
        cycles: usize,
    },
    /// Too many rows to compare with one another.
    #[error("the sample sheet has more than {limit} rows for one lane", limit = MAX_LANE_ROWS)]
    LaneRows,
    /// Nothing would be written.
    #[error("no read of the run has a cycle of sequence, so there is nothing to write")]
    NoSequence,
    /// A sample whose rows make different files.
    #[error("sample {0} has rows in the sample sheet whose OverrideCycles give it different reads")]
    TwoMasks(String),
    /// A name that is used for two things.
    #[error("sample {sample} has mismatching names `{first}` and `{second}` in the sample sheet")]
    TwoNames {
        /// The sample.
        sample: String,
        /// One name.
        first: String,
        /// The other.
        second: String,
    },
}

fn others(count: usize) -> String {
    match count {
        0 | 1 => String::new(),
        2 => ", and another pair collides".to_owned(),
        more => format!(", and {} other pairs collide", more - 1),
    }
}

/// Text that waits in all files together for members to fill.
const WAITING_BYTES: usize = 64 << 20;
/// Rows that one lane may have: every pair of them is compared once.
const MAX_LANE_ROWS: usize = 16_384;
/// Collisions that are told before the list is cut.
const MAX_COLLISIONS: usize = 1_000;

/// Joins a run and a sheet, or says why they do not fit.
pub fn plan(run: RunInfo, sheet: &SampleSheet, options: PlanOptions) -> Result<Plan, PlanError> {
    let plan = draft(run, sheet, options)?;
    let collisions = plan.collisions()?;
    if collisions.is_empty() { Ok(plan) } else { Err(PlanError::Collisions(collisions)) }
}

/// As [`plan`], but with collisions left in, for a caller that lists them.
pub fn draft(run: RunInfo, sheet: &SampleSheet, options: PlanOptions) -> Result<Plan, PlanError> {
    let indexed: Vec<usize> = (0..run.reads.len()).filter(|i| run.reads[*i].indexed).collect();
    if indexed.len() > 2 {
        return Err(PlanError::IndexReads(indexed.len()));
    }
    if let Some(read) = run.index_reads().find(|read| read.cycles > limits::MAX_INDEX_CYCLES) {
        return Err(PlanError::IndexCycles { read: read.number, cycles: read.cycles });
    }
    let mut warnings = sheet.warnings.clone();
    let settings = Settings::of_sheet(sheet, &mut warnings)?;
    let shape_of = |settings: &Settings| -> Result<Shape, MaskError> {
        let mut settings = settings.clone();
        if options.without_trimming {
            settings.forget_adapters();
        }
        let mask = match settings.override_cycles.take() {
            Some(text) => CycleMask::parse(&text, &run)?,
            None => CycleMask::whole(&run),
        };
        // What is only matched with, or left aside, makes no other shape.
        Ok(Shape { mask, trimming: [1, 2].map(|read| settings.trimming(read)) })
    };
    let mut shapes = vec![shape_of(&settings)?];
    let mut trims = settings.trims();
    let mut samples: Vec<Sample> = Vec::new();
    let mut numbers: HashMap<(Option<String>, String), usize> = HashMap::new();
    let mut rows = Vec::with_capacity(sheet.rows.len());
    for row in &sheet.rows {
        let sample = sample_of(row, &mut samples, &mut numbers)?;
        let own = settings.with_row(row)?;
        trims |= own.trims();
        let layout = if row.settings.is_empty() {
            DEFAULT_LAYOUT
        } else {
            let shape = shape_of(&own)?;
            shapes.iter().position(|known| *known == shape).unwrap_or_else(|| {
                shapes.push(shape);
                shapes.len() - 1
            })
        };
        let mut patterns = [Pattern::default(); 2];
        for (i, (sequence, name)) in
            [(&row.index, "i7"), (&row.index2, "i5")].into_iter().enumerate()
        {
            if sequence.is_empty() {
                continue;
            }
            let (sample, line) = (row.sample_id.clone(), row.line);
            let Some(read) = indexed.get(i) else {
                return Err(PlanError::NoIndexRead { sample, line, index: name });
            };
            let uses = &shapes[layout].mask.reads[*read];
            let cycles: Vec<usize> =
                (0..uses.len()).filter(|cycle| uses[*cycle] == CycleUse::Index).collect();
            if sequence.len() > cycles.len() {
                let (sequence, cycles) = (sequence.clone(), cycles.len());
                return Err(PlanError::IndexTooLong {
                    sample,
                    line,
                    index: name,
                    sequence,
                    cycles,
                });
            }
            let expected = match run.reads[*read].reverse_complement {
                true => reverse_complement(sequence.as_bytes()),
                false => sequence.as_bytes().to_vec(),
            };
            patterns[i] = Pattern::lay(&expected, cycles.into_iter());
        }
        rows.push(Row {
            sample,
            lane: row.lane,
            index: row.index.clone(),
            index2: row.index2.clone(),
            patterns,
            tolerance: options.mismatches.unwrap_or_else(|| own.mismatches()),
            layout,
        });
    }
    if sheet.value_in_header("IndexOrientation").is_some_and(|v| !v.eq_ignore_ascii_case("forward"))
    {
        warnings.push(
            "IndexOrientation of the sheet is not Forward; indexes are read as forward".to_owned(),
        );
    }
    if trims && options.without_trimming {
        warnings.push(
            "adapters are left in the reads, although the sheet asks for trimming".to_owned(),
        );
    }
    let used = used_cycles(&run, &shapes);
    let layouts: Vec<Layout> =
        shapes.iter().map(|shape| Layout::of(shape, &run, &used, &settings)).collect();
    if layouts.iter().any(|layout| layout.outputs.is_empty()) {
        return Err(PlanError::NoSequence);
    }
    let files = |row: &Row| {
        let outputs = layouts[row.layout].outputs.iter();
        outputs.map(|output| (output.kind, output.number)).collect::<Vec<_>>()
    };
    let mut of_sample: HashMap<usize, Vec<(ReadKind, u32)>> = HashMap::new();
    for row in &rows {
        if *of_sample.entry(row.sample).or_insert_with(|| files(row)) != files(row) {
            return Err(PlanError::TwoMasks(samples[row.sample].sample_id.clone()));
        }
    }
    let outputs = layouts.iter().map(|layout| layout.outputs.len()).max().unwrap_or(0);
    let files = ((samples.len() + 1) * outputs).max(1);
    Ok(Plan {
        member_bytes: (WAITING_BYTES / files).clamp(4096, options.framing.most_text()),
        first_cycle: used.first().map_or(1, |used| used.cycle),
        run,
        samples,
        warnings,
        options,
        lane_splitting: settings.lane_splitting,
        rows,
        layouts,
        word_columns: word_columns(&used),
        used,
        sheet_text: sheet.text().to_vec(),
    })
}

fn sample_of(
    row: &SheetRow,
    samples: &mut Vec<Sample>,
    numbers: &mut HashMap<(Option<String>, String), usize>,
) -> Result<usize, PlanError> {
    let key = (row.sample_project.clone(), row.sample_id.clone());
    if let Some(known) = numbers.get(&key) {
        if samples[*known].sample_name != row.sample_name {
            return Err(PlanError::TwoNames {
                sample: row.sample_id.clone(),
                first: samples[*known].sample_name.clone().unwrap_or_default(),
                second: row.sample_name.clone().unwrap_or_default(),
            });
        }
        return Ok(*known);
    }
    let at = samples.len();
    samples.push(Sample {
        number: u32::try_from(at + 1).expect("a sheet has fewer rows than 2^32 by its limit"),
        sample_id: row.sample_id.clone(),
        sample_name: row.sample_name.clone(),
        sample_project: row.sample_project.clone(),
    });
    numbers.insert(key, at);
    Ok(at)
}

/// What settings make of a cluster: which cycles are what, and what becomes of adapters in reads 1 and 2.
#[derive(PartialEq, Eq)]
struct Shape {
    mask: CycleMask,
    trimming: [Option<Trimming>; 2],
}

/// The cycles that some shape uses, in order.
fn used_cycles(run: &RunInfo, shapes: &[Shape]) -> Vec<UsedCycle> {
    let mut used = Vec::new();
    let (mut cycle, mut word) = (0, 0);
    for (read, description) in run.reads.iter().enumerate() {
        for at in 0..description.cycles {
            cycle += 1;
            let mut uses = shapes.iter().map(|shape| shape.mask.reads[read][at]);
            if uses.clone().all(|what| what == CycleUse::Nothing) {
                continue;
            }
            let indexed = uses.any(|what| what == CycleUse::Index);
            used.push(UsedCycle { cycle, word: indexed.then_some((word, at)) });
        }
        word += usize::from(description.indexed);
    }
    used
}

fn word_columns(used: &[UsedCycle]) -> Vec<(usize, usize, usize)> {
    let column =
        |(column, used): (usize, &UsedCycle)| used.word.map(|(word, at)| (column, word, at));
    used.iter().enumerate().filter_map(column).collect()
}

impl Layout {
    fn of(shape: &Shape, run: &RunInfo, used: &[UsedCycle], settings: &Settings) -> Self {
        let column_of: HashMap<u32, usize> =
            used.iter().enumerate().map(|(column, used)| (used.cycle, column)).collect();
        let mut layout = Self { outputs: Vec::new(), umi: Vec::new(), index: Vec::new() };
        let (mut first, mut reads, mut indexes) = (1u32, 0, 0);
        for (read, uses) in run.reads.iter().zip(&shape.mask.reads) {
            let columns = |wanted: &[CycleUse]| {
                let cycles = (first..).zip(uses).filter(|(_, what)| wanted.contains(what));
                runs(cycles.map(|(cycle, _)| column_of[&cycle]))
            };
            let bases = |columns: &[Range<usize>]| columns.iter().map(ExactSizeIterator::len).sum();
            let umi = columns(&[CycleUse::Umi]);
            if !umi.is_empty() {
                let reversed = read.indexed && read.reverse_complement;
                layout.umi.push(UmiPart { columns: umi, reversed });
            }
            let (kind, number, columns) = if read.indexed {
                indexes += 1;
                let index = columns(&[CycleUse::Index]);
                if !index.is_empty() {
                    layout.index.push(index.clone());
                }
                (ReadKind::Index, indexes, index)
            } else {
                reads += 1;
                let wanted = match settings.trim_umi {
                    true => &[CycleUse::Sequence][..],
                    false => &[CycleUse::Sequence, CycleUse::Umi],
                };
                (ReadKind::Read, reads, columns(wanted))
            };
            if !columns.is_empty() && (!read.indexed || settings.index_fastq) {
                let bases = bases(&columns);
                let trimming = match kind {
                    ReadKind::Read => shape.trimming.get(number as usize - 1).cloned().flatten(),
                    ReadKind::Index => None,
                };
                layout.outputs.push(OutputRead { kind, number, columns, bases, trimming });
            }
            first += u32::try_from(uses.len()).expect("a run has few cycles by its limit");
        }
        if layout.outputs.iter().all(|output| output.kind == ReadKind::Index) {
            layout.outputs.clear();
        }
        layout
    }
}

impl Layout {
    /// Every list of columns in it.
    fn columns(&mut self) -> impl Iterator<Item = &mut Vec<Range<usize>>> {
        let outputs = self.outputs.iter_mut().map(|output| &mut output.columns);
        outputs.chain(self.umi.iter_mut().map(|part| &mut part.columns)).chain(&mut self.index)
    }
}

/// Joins consecutive numbers into ranges.
fn runs(numbers: impl Iterator<Item = usize>) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some(last) if last.end == number => last.end += 1,
            _ => ranges.push(number..number + 1),
        }
    }
    ranges
}

impl Plan {
    /// Every `Sample_Project` that the sheet names, with the number of its samples. Samples without one are under `None`.
    pub fn projects(&self) -> BTreeMap<Option<&str>, usize> {
        let mut projects = BTreeMap::new();
        for sample in &self.samples {
            *projects.entry(sample.sample_project.as_deref()).or_insert(0) += 1;
        }
        projects
    }

    /// The lanes that the sheet names; empty where its samples are in every lane.
    pub fn named_lanes(&self) -> BTreeSet<u32> {
        self.rows.iter().filter_map(|row| row.lane).collect()
    }

    /// The pairs of samples that cannot be told apart.
    pub fn collisions(&self) -> Result<Vec<Collision>, PlanError> {
        let mut found = Vec::new();
        let named = self.named_lanes();
        let lanes: Vec<Option<u32>> = match named.is_empty() {
            true => vec![None],
            false => named.into_iter().map(Some).collect(),
        };
        for lane in lanes {
            let rows = self.candidates(lane);
            if rows.len() > MAX_LANE_ROWS {
                return Err(PlanError::LaneRows);
            }
            for (i, first) in rows.iter().enumerate() {
                for second in rows[i + 1..].iter().filter(|second| conflict(first, second)) {
                    found.push(self.collision(lane, first, second));
                    if found.len() == MAX_COLLISIONS {
                        return Ok(found);
                    }
                }
            }
        }
        Ok(found)
    }

    /// The rows that count in a lane.
    pub(crate) fn candidates(&self, lane: Option<u32>) -> Vec<Candidate> {
        let small = |n: usize| u32::try_from(n).expect("a sheet has fewer rows than 2^32");
        let here = |row: &&Row| row.lane.is_none() || lane.is_none() || row.lane == lane;
        (0..self.rows.len())
            .map(|at| (at, &self.rows[at]))
            .filter(|(_, row)| here(row))
            .map(|(at, row)| Candidate {
                row: small(at),
                sample: small(row.sample),
                patterns: row.patterns,
                tolerance: row.tolerance,
            })
            .collect()
    }

    fn collision(&self, lane: Option<u32>, a: &Candidate, b: &Candidate) -> Collision {
        let row = |candidate: &Candidate| &self.rows[candidate.row as usize];
        let mut safe: Vec<[u8; 2]> = Vec::new();
        for i7 in 0..=a.tolerance[0].min(b.tolerance[0]) {
            for i5 in 0..=a.tolerance[1].min(b.tolerance[1]) {
                let with = |c: &Candidate| Candidate { tolerance: [i7, i5], ..*c };
                if !conflict(&with(a), &with(b)) {
                    safe.push([i7, i5]);
                }
            }
        }
        Collision {
            lane,
            first: self.samples[row(a).sample].sample_id.clone(),
            first_index: row(a).index_text("+"),
            second: self.samples[row(b).sample].sample_id.clone(),
            second_index: row(b).index_text("+"),
            mismatches: [0, 1].map(|i| a.tolerance[i].max(b.tolerance[i])),
            safe: safe.into_iter().max_by_key(|[i7, i5]| i7 + i5),
        }
    }

    /// The index words of a row of calls.
    #[inline]
    pub(crate) fn words(&self, row: &[u8]) -> Words {
        let mut words = [0; 2];
        for (column, word, at) in &self.word_columns {
            words[*word] |= word_code(row[*column]) << (3 * at);
        }
        words
    }

    /// The same plan for index cycles alone, with nothing to write.
    pub(crate) fn index_only(&self) -> Self {
        let mut plan = self.clone();
        plan.layouts.iter_mut().for_each(|layout| layout.umi.clear());
        plan.narrowed(|_| false)
    }

    /// The same plan with only those outputs, and only the cycles that they and matching need.
    pub(crate) fn narrowed(&self, wanted: impl Fn(&OutputRead) -> bool) -> Self {
        let mut plan = self.clone();
        for layout in &mut plan.layouts {
            layout.outputs.retain(&wanted);
        }
        let mut needed: Vec<bool> = self.used.iter().map(|used| used.word.is_some()).collect();
        for columns in plan.layouts.iter_mut().flat_map(Layout::columns) {
            columns.iter().cloned().flatten().for_each(|column| needed[column] = true);
        }
        let mut kept = 0..;
        let moved: Vec<usize> = needed
            .iter()
            .map(|needed| if *needed { kept.next().unwrap_or(0) } else { 0 })
            .collect();
        for columns in plan.layouts.iter_mut().flat_map(Layout::columns) {
            *columns = runs(columns.iter().cloned().flatten().map(|column| moved[column]));
        }
        let mut needed = needed.into_iter();
        plan.used.retain(|_| needed.next().unwrap_or(false));
        plan.word_columns = word_columns(&plan.used);
        plan
    }

    /// Every output that some layout has, with the last cycle that it and its read names need, in order of that cycle.
    pub(crate) fn outputs_by_last_cycle(&self) -> BTreeMap<(ReadKind, u32), u32> {
        let mut last = BTreeMap::new();
        for layout in &self.layouts {
            for output in &layout.outputs {
                let (kind, number) = (output.kind, output.number);
                let alone = self.narrowed(|other| (other.kind, other.number) == (kind, number));
                last.insert((kind, number), alone.used.last().map_or(0, |used| used.cycle));
            }
        }
        last
    }

    /// After which cycles of a run that goes on there is something to do: when every cluster can be assigned, and when files
    /// can be made, but for the last of them, which come with the end.
    pub fn stages(&self) -> Vec<u32> {
        let assigned = self.index_only().used.last().map(|used| used.cycle);
        let made = self.outputs_by_last_cycle();
        let mut stages: BTreeSet<u32> = made.into_values().chain(assigned).collect();
        stages.pop_last();
        stages.into_iter().filter(|cycle| *cycle > 0).collect()
    }

    /// The files of a sample, or of the undetermined reads, in a lane: one for each output read.
    pub(crate) fn files(
        &self,
        sample: Option<usize>,
        layout: usize,
        lane: Option<u32>,
    ) -> Vec<FastqName> {
        let sample = sample.map(|at| &self.samples[at]);
        let stem = match sample {
            Some(sample) => {
                let name = sample.sample_name.as_ref().unwrap_or(&sample.sample_id);
                format!("{name}_S{}", sample.number)
            }
            None => "Undetermined_S0".to_owned(),
        };
        let lane = lane.filter(|_| self.lane_splitting);
        let lane_part = lane.map(|lane| format!("_L{lane:03}")).unwrap_or_default();
        let name = |output: &OutputRead| {
            let letter = match output.kind {
                ReadKind::Read => 'R',
                ReadKind::Index => 'I',
            };
            FastqName {
                sample_id: sample
                    .map_or_else(|| "Undetermined".to_owned(), |sample| sample.sample_id.clone()),
                sample_project: sample.and_then(|sample| sample.sample_project.clone()),
                undetermined: sample.is_none(),
                lane,
                kind: output.kind,
                number: output.number,
                file_name: format!("{stem}{lane_part}_{letter}{}_001.fastq.gz", output.number),
            }
        };
        self.layouts[layout].outputs.iter().map(name).collect()
    }
}

impl Row {
    /// `i7` and `i5` as in the sheet, joined.
    pub(crate) fn index_text(&self, between: &str) -> String {
        match (self.index.as_str(), self.index2.as_str()) {
            (only, "") => only.to_owned(),
            (i7, i5) => format!("{i7}{between}{i5}"),
        }
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "columns are lists of ranges, some of one")]
mod tests {
    use super::*;

    fn run(reads: &[(usize, bool, bool)]) -> RunInfo {
        let yes = |b: bool| if b { 'Y' } else { 'N' };
        let reads: String = reads
            .iter()
            .map(|(cycles, indexed, reverse)| {
                format!(
                    "<Read NumCycles='{cycles}' IsIndexedRead='{}' IsReverseComplement='{}'/>",
                    yes(*indexed),
                    yes(*reverse)
                )
            })
            .collect();
        RunInfo::parse(format!("<RunInfo><Run>{reads}</Run></RunInfo>").as_bytes()).unwrap()
    }

    fn dual() -> RunInfo {
        run(&[(10, false, false), (8, true, false), (8, true, false), (10, false, false)])
    }

    fn planned(run: RunInfo, sheet: &str) -> Result<Plan, PlanError> {
        plan(run, &SampleSheet::parse(sheet.as_bytes()).unwrap(), PlanOptions::default())
    }

    #[test]
    fn a_collision_names_both_samples_the_lane_and_what_would_be_safe() {
        let sheet = "[Data]\nLane,Sample_ID,index,index2\n1,A,ACGTACGT,AAAAAAAA\n1,B,ACGTACCC,AAAAAAAA\n2,C,ACGTACGT,AAAAAAAA\n";
        let error = planned(dual(), sheet).unwrap_err();
        assert_eq!(
            error.to_string(),
            "samples A (ACGTACGT+AAAAAAAA) and B (ACGTACCC+AAAAAAAA) in lane 1 cannot be told apart with 1 and 1 mismatches in i7 and i5"
        );
        let PlanError::Collisions(found) = error else { panic!("collisions were expected") };
        assert_eq!((found.len(), found[0].safe), (1, Some([0, 1])));
    }

    #[test]
    fn a_sample_without_index_has_its_lane_for_itself() {
        let sheet = "[Data]\nLane,Sample_ID,index\n1,A,\n2,B,ACGTACGT\n2,C,GGGGGGGG\n";
        assert_eq!(planned(dual(), sheet).unwrap().samples.len(), 3);
        let sheet = "[Data]\nSample_ID,index\nA,\nB,ACGTACGT\n";
        assert!(matches!(planned(dual(), sheet), Err(PlanError::Collisions(_))));
    }

    #[test]
    fn a_sample_on_several_rows_is_one_sample_and_never_its_own_collision() {
        let sheet =
            "[Data]\nSample_ID,index,Sample_Project\nA,ACGTACGT,P\nB,TTTTTTTT,Q\nA,ACGTACGA,P\n";
        let plan = planned(dual(), sheet).unwrap();
        let ids: Vec<_> = plan.samples.iter().map(|s| (s.sample_id.as_str(), s.number)).collect();
        assert_eq!(ids, [("A", 1), ("B", 2)]);
        assert_eq!(plan.projects(), BTreeMap::from([(Some("P"), 1), (Some("Q"), 1)]));
    }

    #[test]
    fn an_index_longer_than_its_cycles_or_without_a_read_is_refused() {
        let sheet = "[Data]\nSample_ID,index\nA,ACGTACGTA\n";
        assert_eq!(
            planned(dual(), sheet).unwrap_err().to_string(),
            "the i7 index ACGTACGTA of sample A on line 3 of the sample sheet is longer than the 8 cycles that read it"
        );
        let sheet = "[Data]\nSample_ID,index\nA,ACGT\n";
        assert_eq!(
            planned(run(&[(10, false, false)]), sheet).unwrap_err().to_string(),
            "sample A on line 3 of the sample sheet has an i7 index, but the run reads none"
        );
    }

    #[test]
    fn an_i5_sequenced_as_reverse_complement_is_turned_round_once() {
        let reverse = run(&[(5, false, false), (8, true, false), (8, true, true)]);
        let sheet = "[Data]\nSample_ID,index,index2\nA,ACGTACGT,AACCGGGG\n";
        let plan = planned(reverse, sheet).unwrap();
        assert_eq!(plan.rows[0].patterns[1], Pattern::lay(b"CCCCGGTT", 0..8));
        assert_eq!(plan.rows[0].index2, "AACCGGGG");
    }

    #[test]
    fn files_are_named_as_bcl2fastq_and_bcl_convert_name_them() {
        let sheet = "[Header]\nFileFormatVersion,2\n[BCLConvert_Settings]\nCreateFastqForIndexReads,1\n\
            [BCLConvert_Data]\nSample_ID,Index,Index2,Sample_Project\nA,ACGTACGT,TTTTTTTT,P\n";
        let plan = planned(dual(), sheet).unwrap();
        let names: Vec<_> =
            plan.files(Some(0), DEFAULT_LAYOUT, Some(3)).iter().map(FastqName::path).collect();
        assert_eq!(
            names,
            ["R1", "I1", "I2", "R2"].map(|read| format!("P/A_S1_L003_{read}_001.fastq.gz"))
        );
        assert_eq!(
            plan.files(None, DEFAULT_LAYOUT, Some(3))[3].path(),
            "Undetermined_S0_L003_R2_001.fastq.gz"
        );
        let sheet = "[Data]\nSample_ID,Sample_Name,index\nA,nice,ACGTACGT\n[Settings]\nNoLaneSplitting,true\n";
        let plan = planned(dual(), sheet).unwrap();
        assert_eq!(
            plan.files(Some(0), DEFAULT_LAYOUT, Some(3))[0].path(),
            "nice_S1_R1_001.fastq.gz"
        );
    }

    #[test]
    fn rows_of_one_sample_must_make_the_same_files() {
        let sheet = "[Header]\nFileFormatVersion,2\n[BCLConvert_Settings]\n[BCLConvert_Data]\n\
            Sample_ID,Index,OverrideCycles\nA,ACGTACGT,Y10;I8;I8;Y10\nA,TTTTTTTT,Y10;I8;I8;U10\n";
        let error = planned(dual(), sheet).unwrap_err();
        assert!(matches!(error, PlanError::TwoMasks(sample) if sample == "A"));
    }

    #[test]
    fn cycles_that_nobody_uses_are_not_read() {
        let sheet = "[Header]\nFileFormatVersion,2\n[BCLConvert_Settings]\nOverrideCycles,U2N1Y7;I6N2;N8;Y*\n\
            [BCLConvert_Data]\nSample_ID,Index\nA,ACGTAC\n";
        let plan = planned(dual(), sheet).unwrap();
        let cycles: Vec<u32> = plan.used.iter().map(|used| used.cycle).collect();
        assert_eq!(cycles, [1, 2].into_iter().chain(4..=16).chain(27..=36).collect::<Vec<_>>());
        let layout = &plan.layouts[DEFAULT_LAYOUT];
        assert_eq!(layout.umi, [UmiPart { columns: vec![0..2], reversed: false }]);
        assert_eq!(layout.index, [vec![9..15]]);
        assert_eq!(layout.outputs[1].columns, [15..25]);
    }
}
