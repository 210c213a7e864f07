//! `chorion demux --follow`: the run folder is looked at again and again while it grows, and what can be done is done.
//!
//! Where the command ends for whatever reason, the same command goes on where it stopped: what is finished has its name, what
//! is not lies with its journal in a hidden folder of the output folder.

use std::fmt::Write;
use std::path::Path;

use runfolder::dir::{DirJournal, DirSource};
use runfolder::{
    Follow, Followed, LaneReport, Milestone, Plan, Progress, ReadKind, Report, ResumeError,
    RunInfo, SampleSheet, Source, limits, read_small,
};

use super::{DemuxArgs, grouped, is_complete, open_run, percent, plan_of, sheet, tell, verdict};
use crate::report::{CliError, CliResult, Ui};

/// Runs `chorion demux --follow`.
pub(super) fn run(args: &DemuxArgs, ui: &Ui) -> CliResult {
    let source = open_run(&args.run)?;
    let plan = begin(args, &source, ui)?;
    let written = |cause: std::io::Error| {
        CliError::new(format!("output folder {} cannot be written to", args.output.display()))
            .caused_by(cause)
    };
    let (mut journal, state) = DirJournal::open(&args.output).map_err(|cause| {
        let error = written(cause);
        error.hint("one command at a time can follow a run into a folder")
    })?;
    let mut work = match state {
        None => Follow::new(plan),
        Some(state) => {
            ui.note("going on where the work ended");
            Follow::resume(plan, &state).map_err(|error| cannot_resume(&error, &args.output))?
        }
    };
    let mut told = String::new();
    let mut judged = false;
    let mut before = Vec::new();
    let bar = ui.progress(0, "following");
    let progress = |at: Progress| {
        bar.set_length(at.total_bytes);
        bar.set_position(at.read_bytes.min(at.total_bytes));
    };
    let report = loop {
        let complete = nothing_more_comes(&source, &mut before);
        let mut reached = |milestone: Milestone<'_>| bar.suspend(|| ui.note(sentence(&milestone)));
        let done = work.advance(&source, &mut journal, complete, &progress, &mut reached);
        let done = done.map_err(|error| {
            CliError::new(format!("run {} was not demultiplexed", args.run.display()))
                .caused_by(error)
                .hint(
                    "restore what is missing from the instrument and give the same command again: it goes on where it \
                     stopped. To go on without it, leave out `--follow` and add `--ignore-missing`",
                )
        })?;
        let (assigned, all) = work.assigned();
        if all && !judged && !args.accept_undetermined {
            judged = true;
            if let Err(error) = verdict(work.plan(), &assigned) {
                // The work so far is of no use with a sheet that is wrong.
                journal.finish().map_err(written)?;
                return Err(error);
            }
        }
        match done {
            Followed::Done(report) => break report,
            // Judged above, before any file is made.
            Followed::Assigned => {}
            Followed::Waiting(why) => {
                let why = why.map_or_else(
                    || {
                        "everything that is there is done; the run's completion mark is missing"
                            .to_owned()
                    },
                    |error| error.to_string(),
                );
                if told != why {
                    bar.suspend(|| ui.note(format_args!("waiting: {why}")));
                    told = why;
                }
                std::thread::sleep(args.poll());
            }
        }
    };
    journal.finish().map_err(written)?;
    bar.finish_and_clear();
    tell(&report, args, ui);
    judge(args, work.plan(), &report)
}

fn judge(args: &DemuxArgs, plan: &Plan, report: &Report) -> CliResult {
    if args.accept_undetermined { Ok(()) } else { verdict(plan, report) }
}

/// Waits for RunInfo and the sample sheet, and joins them.
fn begin(args: &DemuxArgs, source: &DirSource, ui: &Ui) -> CliResult<Plan> {
    let mut told = false;
    loop {
        let run = read_small(source, "RunInfo.xml", limits::MAX_TEXT_BYTES).ok();
        let run = run.and_then(|bytes| RunInfo::parse(&bytes).ok());
        let found = match &args.sample_sheet {
            Some(path) => Some(sheet(path)?),
            None => read_small(source, "SampleSheet.csv", limits::MAX_TEXT_BYTES)
                .ok()
                .and_then(|bytes| SampleSheet::parse(&bytes).ok()),
        };
        match (run, found) {
            (Some(run), Some(sheet)) => return plan_of(args, run, &sheet),
            // What is there for good and still does not read is told by the usual way.
            _ if is_complete(source) => {
                let sheet_path = args.run.join("SampleSheet.csv");
                let run = super::run_info(source, &args.run)?;
                return plan_of(
                    args,
                    run,
                    &sheet(args.sample_sheet.as_ref().unwrap_or(&sheet_path))?,
                );
            }
            _ if !told => {
                ui.note("waiting: RunInfo.xml and the sample sheet are not both there yet");
                told = true;
            }
            _ => {}
        }
        std::thread::sleep(args.poll());
    }
}

/// Whether the run folder is complete. `CopyComplete.txt` says it; where the instrument writes none, the end of its base
/// calling does once nothing has changed between two looks.
fn nothing_more_comes(source: &DirSource, before: &mut Vec<runfolder::Entry>) -> bool {
    if source.read_at("CopyComplete.txt", 0, &mut []).is_ok() {
        return true;
    }
    if !is_complete(source) {
        return false;
    }
    let Ok(mut now) = source.list() else { return false };
    now.sort_by(|a, b| a.path.cmp(&b.path));
    std::mem::replace(before, now.clone()) == now
}

fn sentence(milestone: &Milestone<'_>) -> String {
    match milestone {
        Milestone::Assigned(lane) => assigned(lane),
        Milestone::Ready { lane, reads } => {
            let names = reads.iter().map(|(kind, number)| match kind {
                ReadKind::Read => format!("R{number}"),
                ReadKind::Index => format!("I{number}"),
            });
            let names = names.collect::<Vec<_>>().join(", ");
            let of = lane.map_or_else(String::new, |lane| format!(" of lane {lane}"));
            format!("ready: {names}{of}")
        }
        Milestone::BegunAnew => {
            "the folder has other tiles than it seemed to have: the work begins anew".to_owned()
        }
    }
}

fn assigned(lane: &LaneReport) -> String {
    let matched = lane.reads() - lane.undetermined();
    let mut text = format!(
        "lane {} is assigned: {} of {} reads match a sample",
        lane.lane,
        percent(matched, lane.reads()),
        grouped(lane.reads())
    );
    if let Some(most) = lane.unknown.first() {
        let joined = super::joined(&most.index, &most.index2);
        let _a_string_takes_everything = write!(
            text,
            "; the most frequent other barcode is {joined} with {} reads",
            grouped(most.reads)
        );
    }
    text
}

fn cannot_resume(error: &ResumeError, output: &Path) -> CliError {
    CliError::new(format!("the work in {} cannot be taken up", output.display()))
        .caused_by(error)
        .hint(format!(
            "give the command as it was given first, or remove {} to begin anew",
            output.join(".following").display()
        ))
}
