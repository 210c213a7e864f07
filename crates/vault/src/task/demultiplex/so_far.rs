//! What can be made of a run that goes on arriving, sealed beside it, and taken up by the next task.
//!
//! The run's writer says with a signed manifest what is whole so far. A task reads no more than that, assigns clusters, makes
//! the files whose cycles are there, and closes a result of the run's own project with them, with what is known of the sheet,
//! and with the state of the work. The next task copies that and goes on. No sample is made of it before the run is closed: then
//! every file that was read must stand in the closing manifest's index with the same entry, content and place. Where one does
//! not, all of the work is done anew (`spec/demultiplexing.md` section 12).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;

use api::{DatasetKind, Digest, RUN_METRICS_PATH};
use dataset::OpenFile;
use proof::ReceiptOutput;
use runfolder::{
    DemuxError, FastqName, Follow, Followed, Journal, LaneReport, Plan, Report, Sink, Suspicion,
};
use serde::{Deserialize, Serialize};

use super::{Folder, Settings, create, entry, mapped_plan, metrics, refused, story, tell_progress};
use crate::task::input::Input;
use crate::task::output::{Output, Senders, Version};
use crate::task::{Made, TaskError, Work};

/// The name of the result.
const NAME: &str = "Demultiplexing so far";
/// Its files besides FASTQ and reports.
const STATE: &str = "state";
const KEPT: &str = "kept.json";
/// Members that are made before they are packed: until then they can be taken back.
const SAVE_EVERY: u64 = 64 << 20;
/// Reports that tell something before qualities are known.
const EARLY_REPORTS: [&str; 3] =
    ["Demultiplex_Stats.csv", "Top_Unknown_Barcodes.csv", "Index_Hopping_Counts.csv"];

/// What the result says of itself.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    /// Every file of the run that was read, with the SHA-256 of its entry in the index.
    read: BTreeMap<String, Digest>,
    files: Vec<KeptFile>,
}

/// A FASTQ file that is made in part or as a whole.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct KeptFile {
    pub(super) name: FastqName,
    pub(super) bytes: u64,
    pub(super) is_finished: bool,
}

impl KeptFile {
    fn path(&self) -> String {
        path_of(&self.name)
    }
}

fn path_of(name: &FastqName) -> String {
    format!("FASTQ/{}", name.path())
}

/// What an earlier task made.
pub(super) struct TakenUp<'a> {
    input: &'a Input,
    kept: Kept,
    state: seal::Plaintext,
}

impl<'a> TakenUp<'a> {
    /// What an earlier task left, if there is something to go on with and `run` lists every file that it read as it was then.
    pub(super) fn of(input: &'a Input, run: &Input) -> Result<Option<Self>, TaskError> {
        let (Some(kept), Some(state)) = (input.read(KEPT)?, input.read(STATE)?) else {
            return Ok(None);
        };
        let Ok(kept) = serde_json::from_slice::<Kept>(&kept) else { return Ok(None) };
        let is_as_read = kept.read.iter().all(|(path, digest)| entry(run, path) == Some(*digest));
        Ok(is_as_read.then_some(Self { input, kept, state }))
    }

    /// The work, where it was begun with the same plan.
    pub(super) fn follow(&self, plan: &Plan) -> Option<Follow> {
        Follow::resume(plan.clone(), &self.state).ok()
    }

    /// The files that were made.
    pub(super) fn files(&self) -> &[KeptFile] {
        &self.kept.files
    }

    /// Copies what was made of a file, and checks that it is that.
    pub(super) fn copy(&self, file: &KeptFile, out: &mut dyn io::Write) -> Result<(), TaskError> {
        let what = "what was made so far and its list";
        let mismatch = TaskError::Mismatch { dataset: self.input.dataset(), what };
        match self.input.file(&file.path()) {
            Some(entry) if entry.bytes == file.bytes => self.input.copy_to(entry, out),
            _ => Err(mismatch),
        }
    }
}

/// Does what a run allows that goes on arriving.
pub(super) fn run(
    work: &Work<'_>,
    run: &Input,
    before: Option<&Input>,
    settings: &Settings,
    senders: &Senders,
    made: &mut Made,
) -> Result<(), TaskError> {
    let open = create(work, run, DatasetKind::Result, run.key().project(), NAME)?;
    let mut journal = SoFar::new(Output::new(open), senders);
    let done = follow(work, run, before, settings, &mut journal);
    if let Err(error) = &done {
        journal.report_file("error.txt", story(error).as_bytes())?;
    }
    let dataset = journal.output.key().dataset();
    let version = Version::first(&work.claimed.hub, work.keys.receipt_key());
    let manifest = journal.output.close(&work.hub, senders, version)?;
    made.outputs.push(ReceiptOutput { dataset, manifest });
    done
}

fn follow(
    work: &Work<'_>,
    run: &Input,
    before: Option<&Input>,
    settings: &Settings,
    journal: &mut SoFar<'_>,
) -> Result<(), TaskError> {
    let plan = mapped_plan(work, run, settings)?;
    let folder = Folder::new(run);
    let mut kept = Kept::default();
    let begun = before.map(|before| TakenUp::of(before, run)).transpose()?.flatten();
    let follow = match begun {
        Some(before) => match before.follow(&plan) {
            Some(follow) => {
                journal.take_up(&before)?;
                kept.read = before.kept.read;
                follow
            }
            None => Follow::new(plan.clone()),
        },
        None => Follow::new(plan.clone()),
    };
    let mut follow = follow.saving_every(SAVE_EVERY);
    let progress = |p| tell_progress(work, p);
    let verdict = loop {
        let done = follow.advance(&folder, journal, false, &progress, &mut |_| ());
        match done {
            Ok(Followed::Assigned) => {
                let (report, _) = follow.assigned();
                if let Some(suspicion) = report.suspicion() {
                    break Err(wrong_sheet(&plan, &report, suspicion));
                }
            }
            Ok(Followed::Waiting(_) | Followed::Done(_)) => break Ok(()),
            Err(DemuxError::Output { cause, .. }) => {
                let failure = journal.failure.take();
                return Err(failure.unwrap_or_else(|| refused("an output", &cause)));
            }
            Err(error) => break Err(refused("a file of the run is missing or damaged", &error)),
        }
    };
    let (report, all) = follow.assigned();
    if all {
        journal.report_file("Verdict.txt", told(&report).as_bytes())?;
    }
    for (path, bytes) in report.files(&plan) {
        if EARLY_REPORTS.iter().any(|name| path.ends_with(name)) {
            journal.report_file(&path, &bytes)?;
        }
    }
    journal.report_file(RUN_METRICS_PATH, &metrics::file(run, &plan, &report, all))?;
    kept.read.extend(folder.read());
    journal.keep(kept)?;
    verdict
}

/// Lane by lane, how many reads match a sample.
fn told(report: &Report) -> String {
    let mut text = String::from("Of the indexes, before the run was closed:\n");
    for lane in &report.lanes {
        let (reads, matched) = (lane.reads(), lane.reads() - lane.undetermined());
        let _a_string_takes_everything =
            writeln!(text, "lane {}: {matched} of {reads} reads match a sample", lane.lane);
    }
    text
}

/// Why the sheet is likely to be wrong, and what would help if that can be told.
fn wrong_sheet(plan: &Plan, report: &Report, suspicion: Suspicion) -> TaskError {
    let Suspicion { lane, reads, undetermined } = suspicion;
    let place = lane.map_or_else(String::new, |lane| format!(" of lane {lane}"));
    let mut detail = format!("{undetermined} of {reads} reads{place} match no sample");
    if let Some((way, won)) = report.better_orientation(plan) {
        let change = way.change();
        let _a_string_takes_everything = write!(detail, "; {won} would match if you {change}");
    }
    let unknown = report.lanes.iter().flat_map(|lane: &LaneReport| &lane.unknown);
    if let Some(most) = unknown.max_by_key(|barcode| barcode.reads) {
        let (index, index2, reads) = (&most.index, &most.index2, most.reads);
        let _a_string_takes_everything =
            write!(detail, "; the most frequent barcode is {index}+{index2} with {reads} reads");
    }
    TaskError::Demultiplex { class: "nearly no read matches a sample of the sheet", detail }
}

/// The result while it is made. What comes between two states waits in memory, as it may be taken back.
struct SoFar<'w> {
    output: Output,
    senders: &'w Senders,
    files: BTreeMap<String, Making>,
    state: Vec<u8>,
    failure: Option<TaskError>,
}

struct Making {
    name: FastqName,
    file: OpenFile,
    /// What is packed, and whether that is all.
    bytes: u64,
    is_finished: bool,
    /// What came since the state was kept, and whether it is the end.
    pending: Vec<u8>,
    ends: bool,
}

impl<'w> SoFar<'w> {
    fn new(output: Output, senders: &'w Senders) -> Self {
        Self { output, senders, files: BTreeMap::new(), state: Vec::new(), failure: None }
    }

    fn making(&mut self, name: &FastqName) -> &mut Making {
        let (path, output) = (path_of(name), &mut self.output);
        self.files.entry(path).or_insert_with_key(|path| Making {
            name: name.clone(),
            file: output.begin(path),
            bytes: 0,
            is_finished: false,
            pending: Vec::new(),
            ends: false,
        })
    }

    fn report_file(&mut self, path: &str, bytes: &[u8]) -> Result<(), TaskError> {
        self.output.file(self.senders, path, bytes)
    }

    /// Copies what an earlier task made.
    fn take_up(&mut self, before: &TakenUp<'_>) -> Result<(), TaskError> {
        for file in before.files() {
            let making = self.making(&file.name);
            (making.bytes, making.is_finished) = (file.bytes, file.is_finished);
            let open = making.file;
            let mut copied = Copied { so_far: self, file: open };
            let done = before.copy(file, &mut copied);
            done.map_err(|error| self.failure.take().unwrap_or(error))?;
            if file.is_finished {
                self.output.end(open);
            }
        }
        self.state.clone_from(&before.state);
        Ok(())
    }

    /// Packs what came since the state was kept before.
    fn pack(&mut self) -> Result<(), TaskError> {
        for making in self.files.values_mut().filter(|making| !making.is_finished) {
            let pending = std::mem::take(&mut making.pending);
            making.bytes += pending.len() as u64;
            self.output.write(self.senders, making.file, &pending)?;
            if making.ends {
                making.is_finished = true;
                self.output.end(making.file);
            }
        }
        Ok(())
    }

    /// Ends the result: what is unfinished is as long as the state says.
    fn keep(&mut self, mut kept: Kept) -> Result<(), TaskError> {
        for making in std::mem::take(&mut self.files).into_values() {
            if !making.is_finished {
                self.output.end(making.file);
            }
            // One that nothing was kept of is begun anew.
            if making.is_finished || making.bytes > 0 {
                let Making { name, bytes, is_finished, .. } = making;
                kept.files.push(KeptFile { name, bytes, is_finished });
            }
        }
        if self.state.is_empty() {
            return Ok(());
        }
        let text = serde_json::to_vec(&kept).expect("what is kept has only text keys");
        self.report_file(KEPT, &text)?;
        let state = std::mem::take(&mut self.state);
        self.report_file(STATE, &state)
    }
}

/// A file of the result as something to write into.
struct Copied<'s, 'w> {
    so_far: &'s mut SoFar<'w>,
    file: OpenFile,
}

impl io::Write for Copied<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let SoFar { output, senders, failure, .. } = &mut *self.so_far;
        output.write(senders, self.file, bytes).map_err(|error| {
            let told = io::Error::other(error.to_string());
            *failure = Some(error);
            told
        })?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for SoFar<'_> {
    fn fastq(&mut self, file: &FastqName, member: &[u8]) -> io::Result<()> {
        self.making(file).pending.extend_from_slice(member);
        Ok(())
    }

    fn finish_file(&mut self, file: &FastqName) -> io::Result<()> {
        self.making(file).ends = true;
        Ok(())
    }

    fn report(&mut self, _path: &str, _bytes: &[u8]) -> io::Result<()> {
        // Reports come with the end of a run, and this one goes on.
        Ok(())
    }
}

impl Journal for SoFar<'_> {
    fn save(&mut self, state: &[u8]) -> io::Result<()> {
        self.pack().map_err(|error| {
            let told = io::Error::other(error.to_string());
            self.failure = Some(error);
            told
        })?;
        self.state = state.to_vec();
        Ok(())
    }

    fn rewind(&mut self, files: &[(&FastqName, u64)]) -> io::Result<()> {
        for making in self.files.values_mut() {
            making.pending.clear();
            making.ends = false;
        }
        for (name, bytes) in files {
            let making = self.making(name);
            if making.is_finished || making.bytes != *bytes {
                return Err(io::Error::other("what was made so far is not what the state says"));
            }
        }
        let unfinished = self.files.values().filter(|making| !making.is_finished);
        match unfinished.filter(|making| making.bytes > 0).count() <= files.len() {
            true => Ok(()),
            false => Err(io::Error::other("more was made so far than the state says")),
        }
    }
}
