//! `chorion demux` and `chorion sheet check`: a run folder on this machine becomes FASTQ, and a sheet is judged before.
//!
//! What a person must not miss ends the command with an error, although files were written: nearly every read matching no
//! sample is a wrong sheet far more often than a bad run, and pipelines look at the exit status first.

mod follow;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use runfolder::dir::{DirSink, DirSource};
use runfolder::{
    Collision, Framing, Plan, PlanError, PlanOptions, Progress, Report, RunInfo, SampleSheet,
    SheetVersion, Source, Suspicion, demultiplex, draft, limits, plan, read_small, survey,
};
use serde::Serialize;

use crate::report::{CliError, CliResult, Ui};

/// Turn a run folder into FASTQ files and reports.
#[derive(Debug, clap::Args)]
pub(crate) struct DemuxArgs {
    /// The run folder.
    run: PathBuf,
    /// The folder to write to.
    #[arg(short = 'o', long = "output", value_name = "OUT")]
    output: PathBuf,
    #[command(flatten)]
    how: How,
    /// Also write clusters that fail the filter, marked Y in their names.
    #[arg(long)]
    with_failed_reads: bool,
    /// Accept a result in which nearly no read matches a sample.
    #[arg(long)]
    accept_undetermined: bool,
    /// Go on without what is missing or damaged: its calls become N, tiles are left out, and every report says so.
    #[arg(long)]
    ignore_missing: bool,
    /// Also write Stats/Stats.json as bcl2fastq does.
    #[arg(long)]
    stats_json: bool,
    /// The sample sheet; SampleSheet.csv of the run folder if not given.
    #[arg(long, value_name = "CSV")]
    sample_sheet: Option<PathBuf>,
    /// How FASTQ files are compressed: `bgzf` is gzip that can be read from any place, `gzip` has longer members.
    #[arg(long, value_name = "KIND", default_value = "bgzf")]
    members: Members,
    /// Compress with ISA-L instead of libdeflate: faster, a little larger.
    #[cfg(feature = "isa-l")]
    #[arg(long)]
    isa_l: bool,
    /// Begin while the run is still being written: verdicts come when the indexes are read, files when their cycles are.
    /// Where it ends, the same command goes on.
    #[arg(long, conflicts_with = "ignore_missing")]
    follow: bool,
    /// Seconds between two looks at a run folder that is followed.
    #[arg(long, value_name = "SECONDS", default_value = "30", requires = "follow", value_parser = seconds)]
    poll: Duration,
}

/// How FASTQ files are compressed.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Members {
    Bgzf,
    Gzip,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds is expected".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// Look at a sample sheet.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum SheetCommand {
    /// Say what a sheet holds, which samples collide, and whether it fits a run.
    Check(CheckArgs),
}

/// Say what a sheet holds, which samples collide, and whether it fits a run.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// The sample sheet.
    sheet: PathBuf,
    /// A run folder to try it on: the index cycles of the first clusters are read.
    #[arg(long, value_name = "RUN")]
    run: Option<PathBuf>,
    #[command(flatten)]
    how: How,
}

/// What both commands let a person choose.
#[derive(Debug, clap::Args)]
struct How {
    /// Threads to use; all cores if not given. The output is the same for every number.
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Mismatches allowed in i7 and i5, instead of what the sheet says: `1` or `1,0`.
    #[arg(long, value_name = "I7[,I5]", value_parser = mismatches)]
    mismatches: Option<[u8; 2]>,
    /// Only these lanes.
    #[arg(long, value_name = "LANE", value_delimiter = ',')]
    lanes: Vec<u32>,
    /// Leave adapters in the reads, also where the sheet asks for trimming or masking.
    #[arg(long)]
    without_trimming: bool,
}

impl How {
    fn options(&self) -> PlanOptions {
        let lanes: BTreeSet<u32> = self.lanes.iter().copied().collect();
        let defaults = PlanOptions::default();
        PlanOptions {
            threads: self.threads.unwrap_or(defaults.threads),
            mismatches: self.mismatches,
            without_trimming: self.without_trimming,
            lanes: (!lanes.is_empty()).then_some(lanes),
            ..defaults
        }
    }
}

fn mismatches(text: &str) -> Result<[u8; 2], String> {
    let one = |text: &str| match text.trim() {
        "0" => Ok(0),
        "1" => Ok(1),
        "2" => Ok(2),
        _ => Err("each number can be 0, 1 or 2".to_owned()),
    };
    match text.split_once(',') {
        Some((i7, i5)) => Ok([one(i7)?, one(i5)?]),
        None => one(text).map(|both| [both; 2]),
    }
}

/// Clusters per lane that a sheet is tried on.
const TRIED_CLUSTERS: usize = 100_000;

impl DemuxArgs {
    fn options(&self) -> PlanOptions {
        PlanOptions {
            with_failed_reads: self.with_failed_reads,
            ignore_missing: self.ignore_missing,
            stats_json: self.stats_json,
            framing: match self.members {
                Members::Bgzf => Framing::Bgzf,
                Members::Gzip => Framing::Gzip,
            },
            #[cfg(feature = "isa-l")]
            deflate: if self.isa_l {
                runfolder::Deflate::IsaL
            } else {
                runfolder::Deflate::Libdeflate
            },
            ..self.how.options()
        }
    }

    fn poll(&self) -> Duration {
        self.poll
    }
}

fn plan_of(args: &DemuxArgs, run: RunInfo, sheet: &SampleSheet) -> CliResult<Plan> {
    let options = args.options();
    plan(run.clone(), sheet, options.clone())
        .map_err(|error| plan_error(error, || safe_mismatches(&run, sheet, &options)))
}

/// Runs `chorion demux`.
pub(crate) fn run(args: &DemuxArgs, ui: &Ui) -> CliResult {
    if args.follow {
        return follow::run(args, ui);
    }
    let source = open_run(&args.run)?;
    let run_info = run_info(&source, &args.run)?;
    let sheet_path = args.sample_sheet.clone().unwrap_or_else(|| args.run.join("SampleSheet.csv"));
    let plan = plan_of(args, run_info, &sheet(&sheet_path)?)?;
    if !args.accept_undetermined {
        look_ahead(&source, &plan, ui)?;
    }
    if !is_complete(&source) {
        ui.note("warning: the run folder has no completion mark; it may still be growing");
    }
    let mut sink = DirSink::create(&args.output).map_err(|cause| {
        CliError::new(format!("output folder {} cannot be written to", args.output.display()))
            .caused_by(cause)
    })?;
    let bar = ui.progress(0, "demultiplexing");
    let progress = |at: Progress| {
        bar.set_length(at.total_bytes);
        bar.set_position(at.read_bytes.min(at.total_bytes));
    };
    let report = demultiplex(&source, &plan, &mut sink, &progress).map_err(|error| {
        CliError::new(format!("run {} was not demultiplexed", args.run.display()))
            .caused_by(error)
            .hint(
                "no file was left behind; restore what is missing from the instrument and start again, or go on without it \
                 with `--ignore-missing`; `--follow` waits for what is still to come",
            )
    })?;
    sink.finish().map_err(|cause| {
        CliError::new(format!("outputs in {} did not get their names", args.output.display()))
            .caused_by(cause)
    })?;
    bar.finish_and_clear();
    tell(&report, args, ui);
    if args.accept_undetermined { Ok(()) } else { verdict(&plan, &report) }
}

/// Says what came out.
fn tell(report: &Report, args: &DemuxArgs, ui: &Ui) {
    for warning in &report.warnings {
        ui.note(format_args!("warning: {warning}"));
    }
    if report.is_incomplete() {
        let sum =
            |part: fn(&runfolder::LaneReport) -> u64| report.lanes.iter().map(part).sum::<u64>();
        ui.note(format_args!(
            "warning: the result is incomplete: {} tiles were left out and {} cycles of tiles are N; Reports/Missing.csv lists them",
            sum(|lane| lane.missing_tiles),
            sum(|lane| lane.missing_cycles),
        ));
    }
    ui.value(&Summary::of(report, &args.output));
    table(report, ui);
    ui.line(format_args!("written to {}", args.output.display()));
}

/// Runs `chorion sheet`.
pub(crate) fn run_sheet(command: &SheetCommand, ui: &Ui) -> CliResult {
    let SheetCommand::Check(args) = command;
    let sheet = sheet(&args.sheet)?;
    let source = args.run.as_ref().map(|run| open_run(run)).transpose()?;
    let run = match (&source, &args.run) {
        (Some(source), Some(path)) => run_info(source, path)?,
        _ => sheet.assumed_run(),
    };
    let options = args.how.options();
    let safe = safe_mismatches(&run, &sheet, &options);
    let plan_error = |error| plan_error(error, || safe);
    let plan = draft(run, &sheet, options).map_err(plan_error)?;
    let collisions = plan.collisions().map_err(plan_error)?;
    let tried = match &source {
        Some(source) if collisions.is_empty() => {
            Some(survey(source, &plan, TRIED_CLUSTERS).map_err(|error| {
                CliError::new("the sheet could not be tried on the run").caused_by(error)
            })?)
        }
        _ => None,
    };
    let found = Checked::of(&sheet, &plan, &collisions, safe, tried.as_ref());
    ui.value(&found);
    found.print(ui);
    if let Some(first) = collisions.into_iter().next() {
        return Err(plan_error(PlanError::Collisions(vec![first])));
    }
    tried.map_or(Ok(()), |report| verdict(&plan, &report))
}

fn open_run(path: &Path) -> CliResult<DirSource> {
    DirSource::new(path).map_err(|cause| {
        CliError::new(format!("run folder {} cannot be opened", path.display())).caused_by(cause)
    })
}

fn run_info(source: &DirSource, path: &Path) -> CliResult<RunInfo> {
    let bytes = read_small(source, "RunInfo.xml", limits::MAX_TEXT_BYTES).map_err(|cause| {
        CliError::new(format!("RunInfo.xml of {} cannot be read", path.display()))
            .caused_by(cause)
            .hint("name the run folder itself: the one that holds RunInfo.xml and Data")
    })?;
    RunInfo::parse(&bytes).map_err(|error| CliError::new(error.to_string()))
}

fn sheet(path: &Path) -> CliResult<SampleSheet> {
    let bytes = std::fs::read(path).map_err(|cause| {
        CliError::new(format!("sample sheet {} cannot be read", path.display()))
            .caused_by(cause)
            .hint("name another one with `--sample-sheet`")
    })?;
    SampleSheet::parse(&bytes).map_err(|error| CliError::new(error.to_string()))
}

fn is_complete(source: &DirSource) -> bool {
    ["CopyComplete.txt", "RTAComplete.txt", "RTAComplete.xml"]
        .iter()
        .any(|mark| source.read_at(mark, 0, &mut []).is_ok())
}

/// The error of a plan, with the largest mismatches that work for the whole sheet where samples collide.
fn plan_error(error: PlanError, safe: impl FnOnce() -> Option<[u8; 2]>) -> CliError {
    let said = CliError::new(error.to_string());
    match &error {
        PlanError::Collisions(_) => match safe() {
            Some([i7, i5]) => said.hint(format!(
                "`--mismatches {i7},{i5}` is the most that tells all samples of the sheet apart"
            )),
            None => said
                .hint("their indexes are the same as far as they are compared: correct the sheet"),
        },
        _ => said,
    }
}

/// Tries the sheet on the first clusters, before hours are spent on it: where its indexes are turned or swapped, that is an
/// error now; where nearly nothing matches for another reason, a warning.
fn look_ahead(source: &DirSource, plan: &Plan, ui: &Ui) -> CliResult {
    // What is missing or damaged is told by the work itself, with what can be done about it.
    let Ok(tried) = survey(source, plan, TRIED_CLUSTERS) else { return Ok(()) };
    let Err(error) = verdict(plan, &tried) else { return Ok(()) };
    if tried.better_orientation(plan).is_some() {
        return Err(error);
    }
    ui.note(format_args!("warning: of the first clusters of each lane, {}", error.sentence()));
    Ok(())
}

/// An error if nearly everything is undetermined, in the run or in one lane, with what would help if that can be told.
fn verdict(plan: &Plan, report: &Report) -> CliResult {
    let Some(found) = report.suspicion() else { return Ok(()) };
    let Suspicion { lane, reads, undetermined } = found;
    let place = lane.map_or_else(String::new, |lane| format!(" of lane {lane}"));
    let percent = undetermined as f64 * 100.0 / reads as f64;
    let error = CliError::new(format!(
        "{percent:.1} % of {} reads{place} match no sample of the sheet",
        grouped(reads)
    ));
    Err(match report.better_orientation(plan) {
        Some((way, won)) => {
            error.hint(format!("{} of them would match if you {}", grouped(won), way.change()))
        }
        None => {
            let bad = report.lanes.iter().filter(|of| lane.is_none_or(|lane| lane == of.lane));
            let most = bad.flat_map(|lane| &lane.unknown).max_by_key(|b| b.reads);
            let most = most.map_or_else(String::new, |barcode| {
                let joined = joined(&barcode.index, &barcode.index2);
                format!(
                    "the most frequent barcode is {joined} with {} reads; ",
                    grouped(barcode.reads)
                )
            });
            error.hint(format!(
                "{most}see Reports/Top_Unknown_Barcodes.csv, or pass `--accept-undetermined` if this is meant"
            ))
        }
    })
}

/// The largest mismatches in i7 and i5 at which no two samples of the sheet collide.
fn safe_mismatches(run: &RunInfo, sheet: &SampleSheet, options: &PlanOptions) -> Option<[u8; 2]> {
    let mut choices: Vec<[u8; 2]> =
        (0..=2).flat_map(|i7| (0..=2).map(move |i5| [i7, i5])).collect();
    choices.sort_by_key(|[i7, i5]| std::cmp::Reverse((i7 + i5, *i7.min(i5), *i7)));
    choices.into_iter().find(|choice| {
        let options = PlanOptions { mismatches: Some(*choice), ..options.clone() };
        plan(run.clone(), sheet, options).is_ok()
    })
}

fn table(report: &Report, ui: &Ui) {
    let width = report
        .lanes
        .iter()
        .flat_map(|lane| &lane.samples)
        .map(|sample| sample.sample_id.len())
        .max()
        .unwrap_or(0)
        .max("sample".len());
    ui.line(format_args!(
        "{:>4}  {:width$}  {:>15}  {:>7}  {:>9}  {:>7}",
        "lane", "sample", "reads", "share", "perfect", "Q30"
    ));
    for lane in &report.lanes {
        for sample in &lane.samples {
            let bases: u64 = sample.metrics.iter().map(|read| read.bases).sum();
            let q30: u64 = sample.metrics.iter().map(|read| read.q30_bases).sum();
            ui.line(format_args!(
                "{:>4}  {:width$}  {:>15}  {:>7}  {:>9}  {:>7}",
                lane.lane,
                sample.sample_id,
                grouped(sample.reads),
                percent(sample.reads, lane.reads()),
                match sample.sample {
                    Some(_) => percent(sample.by_mismatches[0], sample.reads),
                    None => "-".to_owned(),
                },
                percent(q30, bases),
            ));
        }
    }
}

fn percent(part: u64, whole: u64) -> String {
    match whole {
        0 => "-".to_owned(),
        _ => format!("{:.2} %", part as f64 * 100.0 / whole as f64),
    }
}

/// Digits in threes, with thin spaces.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('\u{2009}');
        }
        out.push(digit);
    }
    out
}

fn joined(index: &str, index2: &str) -> String {
    match index2 {
        "" => index.to_owned(),
        _ => format!("{index}+{index2}"),
    }
}

/// The result of `chorion demux --json`.
#[derive(Serialize)]
struct Summary {
    output: String,
    clusters: u64,
    passing: u64,
    reads: u64,
    undetermined: u64,
    lanes: Vec<SummaryLane>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct SummaryLane {
    lane: u32,
    clusters: u64,
    passing: u64,
    samples: Vec<SummarySample>,
}

#[derive(Serialize)]
struct SummarySample {
    sample_id: String,
    sample_project: Option<String>,
    undetermined: bool,
    reads: u64,
    perfect: u64,
    one_mismatch: u64,
    two_mismatches: u64,
    bases: u64,
    q30_bases: u64,
    files: Vec<String>,
}

impl Summary {
    fn of(report: &Report, output: &Path) -> Self {
        let sum = |part: fn(&runfolder::LaneReport) -> u64| report.lanes.iter().map(part).sum();
        Self {
            output: output.display().to_string(),
            clusters: sum(|lane| lane.clusters),
            passing: sum(|lane| lane.passing),
            reads: sum(runfolder::LaneReport::reads),
            undetermined: sum(runfolder::LaneReport::undetermined),
            lanes: report.lanes.iter().map(SummaryLane::of).collect(),
            warnings: report.warnings.clone(),
        }
    }
}

impl SummaryLane {
    fn of(lane: &runfolder::LaneReport) -> Self {
        let sample = |sample: &runfolder::SampleReport| {
            let [perfect, one_mismatch, two_mismatches] = sample.by_mismatches;
            SummarySample {
                sample_id: sample.sample_id.clone(),
                sample_project: sample.sample_project.clone(),
                undetermined: sample.sample.is_none(),
                reads: sample.reads,
                perfect,
                one_mismatch,
                two_mismatches,
                bases: sample.metrics.iter().map(|read| read.bases).sum(),
                q30_bases: sample.metrics.iter().map(|read| read.q30_bases).sum(),
                files: sample.files.clone(),
            }
        };
        Self {
            lane: lane.lane,
            clusters: lane.clusters,
            passing: lane.passing,
            samples: lane.samples.iter().map(sample).collect(),
        }
    }
}

/// The result of `chorion sheet check --json`.
#[derive(Serialize)]
struct Checked {
    version: &'static str,
    samples: usize,
    rows: usize,
    /// Empty where every sample is in every lane.
    lanes: Vec<u32>,
    index_lengths: Vec<[usize; 2]>,
    projects: BTreeMap<String, usize>,
    collisions: Vec<String>,
    /// The largest mismatches in i7 and i5 at which nothing collides.
    safe_mismatches: Option<[u8; 2]>,
    warnings: Vec<String>,
    tried: Option<Tried>,
}

#[derive(Serialize)]
struct Tried {
    reads: u64,
    undetermined: u64,
    better: Option<&'static str>,
}

impl Checked {
    fn of(
        sheet: &SampleSheet,
        plan: &Plan,
        collisions: &[Collision],
        safe_mismatches: Option<[u8; 2]>,
        tried: Option<&Report>,
    ) -> Self {
        let lengths: BTreeSet<[usize; 2]> =
            sheet.rows.iter().map(|row| [row.index.len(), row.index2.len()]).collect();
        let project =
            |(name, samples): (Option<&str>, usize)| (name.unwrap_or_default().to_owned(), samples);
        Self {
            version: match sheet.version {
                SheetVersion::V1 => "1",
                SheetVersion::V2 => "2",
                SheetVersion::Table => "table",
            },
            samples: plan.samples.len(),
            rows: sheet.rows.len(),
            lanes: plan.named_lanes().into_iter().collect(),
            index_lengths: lengths.into_iter().collect(),
            projects: plan.projects().into_iter().map(project).collect(),
            collisions: collisions.iter().map(Collision::to_string).collect(),
            safe_mismatches,
            warnings: plan.warnings.clone(),
            tried: tried.map(|report| Tried {
                reads: report.lanes.iter().map(runfolder::LaneReport::reads).sum(),
                undetermined: report.lanes.iter().map(runfolder::LaneReport::undetermined).sum(),
                better: report.better_orientation(plan).map(|(way, _)| way.change()),
            }),
        }
    }

    fn print(&self, ui: &Ui) {
        let list = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>().join(", ");
        let form = if self.version == "table" { "table without sections" } else { "version" };
        let number = if self.version == "table" { "" } else { self.version };
        ui.line(format_args!("form: {form} {number}"));
        ui.line(format_args!("samples: {} on {} rows", self.samples, self.rows));
        ui.line(format_args!(
            "lanes: {}",
            match self.lanes.is_empty() {
                true => "all".to_owned(),
                false => list(&mut self.lanes.iter().map(u32::to_string)),
            }
        ));
        let lengths = list(&mut self.index_lengths.iter().map(|[i7, i5]| format!("{i7}+{i5}")));
        ui.line(format_args!("index lengths: {lengths}"));
        let projects = &mut self.projects.iter().map(|(name, samples)| match name.as_str() {
            "" => format!("none ({samples})"),
            name => format!("{name} ({samples})"),
        });
        ui.line(format_args!("projects: {}", list(projects)));
        for warning in &self.warnings {
            ui.line(format_args!("warning: {warning}"));
        }
        for collision in &self.collisions {
            ui.line(format_args!("collision: {collision}"));
        }
        ui.line(match self.safe_mismatches {
            Some([i7, i5]) => format!("mismatches that are safe: up to {i7} in i7 and {i5} in i5"),
            None => "mismatches that are safe: none, some samples have the same index".to_owned(),
        });
        if let Some(tried) = &self.tried {
            let matched = tried.reads - tried.undetermined;
            ui.line(format_args!(
                "tried on {} clusters of the run: {} match a sample",
                grouped(tried.reads),
                percent(matched, tried.reads)
            ));
            if let Some(better) = tried.better {
                ui.line(format_args!("orientation: more would match if you {better}"));
            }
        }
    }
}
