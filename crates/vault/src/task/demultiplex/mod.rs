//! A run becomes samples, each sealed straight to its own project under a key of its own.
//!
//! Nothing is written down in between: compressed members go from the worker that made them into the sample's packs.
//! Undetermined reads and reports become a result beside the run, under a key of the run's project.
//!
//! While the run goes on arriving, a task does what can be done and seals that as a result beside the run ([`so_far`]), which
//! the next task takes up; samples are made once the manifest that closed the run lists the very files that were read
//! (`spec/demultiplexing.md` section 12).

mod metrics;
mod outputs;
mod so_far;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Mutex, PoisonError};

use api::{
    CreateDataset, DatasetId, DatasetKind, Digest, ProjectId, RUN_METRICS_PATH, RequeueSettings,
    RunSettings, Sealed,
};
use dataset::OpenDataset;
use proof::{ProjectCard, ReceiptOutput, digest_of, sha256};
use runfolder::{
    DemuxError, Entry, Followed, Plan, PlanOptions, Report, RunInfo, SampleSheet, Source,
};

use super::input::Input;
use super::output::Senders;
use super::{Made, TaskError, Work};
use outputs::Outputs;
use so_far::TakenUp;

pub(super) fn run(work: &Work<'_>, made: &mut Made) -> Result<(), TaskError> {
    let mut inputs = Vec::new();
    for claimed in &work.claimed.inputs {
        let input = Input::open(&work.hub, claimed, &work.dataset_keys())?;
        let manifest = input.manifest_digest();
        made.inputs.push(ReceiptOutput { dataset: input.dataset(), manifest });
        inputs.push(input);
    }
    let mut inputs = inputs.into_iter();
    let run = inputs.next().ok_or(TaskError::Settings { what: "input" })?;
    let before = inputs.next();

    let settings = Settings::open(work, &run)?;
    let senders = Senders::start(&work.hub);
    if work.claimed.early {
        return so_far::run(work, &run, before.as_ref(), &settings, &senders, made);
    }
    let mut outputs = Outputs::new(work, &run, &senders, &settings);
    let done = demultiplex(work, &run, before.as_ref(), &settings, &mut outputs);
    match &done {
        Ok((plan, report)) => {
            outputs.report_file(RUN_METRICS_PATH, &metrics::file(&run, plan, report, true))?;
        }
        // What went wrong in detail may name samples: it is sealed beside the run, for those who may read it.
        Err(error) => outputs.tell(error)?,
    }
    outputs.close(done.as_ref().ok(), made)?;
    done.map(drop)
}

fn demultiplex(
    work: &Work<'_>,
    run: &Input,
    before: Option<&Input>,
    settings: &Settings,
    outputs: &mut Outputs<'_, '_>,
) -> Result<(Plan, Report), TaskError> {
    let plan = mapped_plan(work, run, settings)?;
    let folder = Folder::new(run);
    let begun = match before.map(|before| TakenUp::of(before, run)).transpose()?.flatten() {
        Some(before) => before.follow(&plan).map(|follow| (before, follow)),
        None => None,
    };
    outputs.prepare(&plan)?;
    let progress = |p| tell_progress(work, p);
    let done = match begun {
        // What was read so far is what the run's closing manifest lists; what is left of the work is done.
        Some((before, mut follow)) if follow.fits(&folder).unwrap_or(false) => {
            outputs.take_up(&before)?;
            loop {
                match follow.advance(&folder, outputs, true, &progress, &mut |_| ()) {
                    Ok(Followed::Done(report)) => break Ok(report),
                    Ok(Followed::Assigned) => {}
                    Ok(Followed::Waiting(why)) => {
                        break Err(why.unwrap_or(DemuxError::NoLanes));
                    }
                    Err(error) => break Err(error),
                }
            }
        }
        _ => runfolder::demultiplex(&folder, &plan, outputs, &progress),
    };
    match done {
        Ok(report) => Ok((plan, report)),
        Err(DemuxError::Output { cause, .. }) => {
            Err(outputs.take_failure().unwrap_or_else(|| refused("an output", &cause)))
        }
        Err(error) => Err(refused("a file of the run is missing or damaged", &error)),
    }
}

fn tell_progress(work: &Work<'_>, p: runfolder::Progress) {
    let percent = p.read_bytes.saturating_mul(95) / p.total_bytes.max(1);
    work.progress(u8::try_from(percent.min(95)).unwrap_or(95));
}

/// The plan of the run, every project of which maps somewhere.
fn mapped_plan(work: &Work<'_>, run: &Input, settings: &Settings) -> Result<Plan, TaskError> {
    let plan = plan(work, run, settings)?;
    let unmapped: BTreeSet<String> = plan
        .projects()
        .into_keys()
        .flatten()
        .filter(|name| settings.project(Some(name), run.key().project()).is_none())
        .map(str::to_owned)
        .collect();
    if unmapped.is_empty() {
        return Ok(plan);
    }
    Err(TaskError::Unmapped { count: unmapped.len(), names: unmapped.into_iter().collect() })
}

/// A failure of the run's content: the class goes to the hub, the rest is sealed.
fn refused(class: &'static str, error: &dyn std::error::Error) -> TaskError {
    let mut detail = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        detail = format!("{detail}: {cause}");
        next = cause.source();
    }
    TaskError::Demultiplex { class, detail }
}

fn plan(work: &Work<'_>, run: &Input, settings: &Settings) -> Result<Plan, TaskError> {
    let missing = |what| TaskError::Demultiplex { class: what, detail: what.to_owned() };
    let info = run.read("RunInfo.xml")?.ok_or_else(|| missing("it has no RunInfo.xml"))?;
    let info = RunInfo::parse(&info).map_err(|e| refused("its RunInfo.xml does not read", &e))?;
    let sheet = match &settings.sheet {
        Some(text) => text.clone().into_bytes(),
        None => run
            .read("SampleSheet.csv")?
            .ok_or_else(|| missing("it has no SampleSheet.csv"))?
            .to_vec(),
    };
    let sheet =
        SampleSheet::parse(&sheet).map_err(|e| refused("the sample sheet does not read", &e))?;
    let options = PlanOptions { threads: work.config.threads, ..PlanOptions::default() };
    runfolder::plan(info, &sheet, options)
        .map_err(|e| refused("the sample sheet does not fit the run", &e))
}

/// Where samples go, and by which sheet.
struct Settings {
    sheet: Option<String>,
    projects: BTreeMap<String, ProjectId>,
    /// Where samples go whose `Sample_Project` is not in `projects`: a choice that somebody made, or none.
    default_project: Option<ProjectId>,
}

impl Settings {
    /// Where samples of this `Sample_Project` go; `None` for a name that maps nowhere. Samples without one stay in the run's
    /// project unless somebody said otherwise.
    fn project(&self, name: Option<&str>, home: ProjectId) -> Option<ProjectId> {
        match name {
            Some(name) => self.projects.get(name).copied().or(self.default_project),
            None => Some(self.default_project.unwrap_or(home)),
        }
    }

    fn open(work: &Work<'_>, run: &Input) -> Result<Self, TaskError> {
        let unreadable = TaskError::Settings { what: "settings" };
        let Some(sealed) = &work.claimed.settings else {
            work.approved.settings(None)?;
            return Ok(Self { sheet: None, projects: BTreeMap::new(), default_project: None });
        };
        if work.claimed.requeue {
            let text = run.key().open_label("requeue settings", sealed)?;
            work.approved.settings(Some(&text))?;
            let RequeueSettings { sample_sheet: sheet, projects, default_project } =
                serde_json::from_slice(&text).map_err(|_| unreadable)?;
            Ok(Self { sheet, projects, default_project })
        } else {
            let text = run.key().open_label("dataset settings", sealed)?;
            work.approved.settings(Some(&text))?;
            let RunSettings { projects, default_project, demultiplex: _ } =
                serde_json::from_slice(&text).map_err(|_| unreadable)?;
            Ok(Self { sheet: None, projects, default_project })
        }
    }
}

/// What went wrong, for those who may read what is sealed.
fn story(error: &TaskError) -> String {
    match error {
        TaskError::Demultiplex { class, detail } => format!("{class}: {detail}\n"),
        TaskError::Unmapped { names, .. } => {
            let names = names.join(", ");
            format!("no project was given for these names of the sample sheet: {names}\n")
        }
        other => format!("{other}\n"),
    }
}

/// Makes a dataset under a key of its own.
fn create(
    work: &Work<'_>,
    run: &Input,
    kind: DatasetKind,
    project: ProjectId,
    name: &str,
) -> Result<OpenDataset, TaskError> {
    let id = DatasetId::generate();
    let card = work.hub.card(project)?;
    let (facts, _signer) = ProjectCard::open(&card, project)
        .map_err(|source| TaskError::Card { dataset: id, source })?;
    work.approved.may_write(project, digest_of(&card))?;
    let open = OpenDataset::create(id, project, digest_of(&card))?;
    let label: Sealed = open.seal_label("dataset name", name.as_bytes())?;
    work.hub.create(&CreateDataset {
        id,
        kind,
        project,
        card_digest: open.card_digest(),
        wrapped_key: open.wrap_to(facts.recipient())?,
        label,
        settings: None,
        parent: Some(run.dataset()),
        reads: None,
    })?;
    Ok(open)
}

/// The run folder as `runfolder` reads it: ranges of sealed objects. It notes which files were read.
struct Folder<'a> {
    run: &'a Input,
    read: Mutex<BTreeSet<String>>,
}

impl<'a> Folder<'a> {
    fn new(run: &'a Input) -> Self {
        Self { run, read: Mutex::default() }
    }

    /// Every file that was read, with what its signed entry says of it.
    fn read(self) -> BTreeMap<String, Digest> {
        let read = self.read.into_inner().unwrap_or_else(PoisonError::into_inner);
        let known = |path: String| entry(self.run, &path).map(|digest| (path, digest));
        read.into_iter().filter_map(known).collect()
    }
}

/// What the run's index says of a file, content and place: nothing if it has no such file.
fn entry(run: &Input, path: &str) -> Option<Digest> {
    let file = run.file(path)?;
    let text = serde_json::to_vec(file).expect("an entry has only text keys");
    Some(sha256(&text))
}

impl Source for Folder<'_> {
    fn list(&self) -> io::Result<Vec<Entry>> {
        let files = self.run.files().iter();
        Ok(files.map(|f| Entry { path: f.path.clone(), bytes: f.bytes }).collect())
    }

    fn read_at(&self, path: &str, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let read = self.run.read_at(path, offset, into)?;
        let mut noted = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if !noted.contains(path) {
            noted.insert(path.to_owned());
        }
        Ok(read)
    }
}
