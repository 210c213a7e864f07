//! A run becomes samples, each sealed straight to its own project under a key of its own.
//!
//! Nothing is written down in between: compressed members go from the worker that made them into the sample's packs.
//! Undetermined reads and reports become a result beside the run, under a key of the run's project.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;

use api::{CreateDataset, DatasetId, DatasetKind, ProjectId, RequeueSettings, RunSettings, Sealed};
use dataset::{OpenDataset, OpenFile};
use proof::{ProjectCard, ReceiptOutput, digest_of};
use runfolder::{
    DemuxError, Entry, FastqName, Plan, PlanOptions, Report, RunInfo, SampleSheet, Sink, Source,
};

use super::input::Input;
use super::output::{Output, Senders, Version};
use super::{Made, TaskError, Work};

/// Bytes of members that wait, over all files together, until they are long enough to lie in one piece.
const WAITING_BYTES: usize = 64 << 20;
/// The shortest piece that is worth an entry in the index, where very many files share [`WAITING_BYTES`].
const SHORTEST_PIECE: usize = 256 << 10;
/// The name of the result that holds what belongs to no sample.
const REST_NAME: &str = "Undetermined reads and reports";

pub(super) fn run(work: &Work<'_>, made: &mut Made) -> Result<(), TaskError> {
    let claimed = work.claimed.inputs.first().ok_or(TaskError::Settings { what: "input" })?;
    let run = Input::open(&work.hub, claimed, &work.dataset_keys())?;
    made.inputs.push(ReceiptOutput { dataset: run.dataset(), manifest: run.manifest_digest() });

    let settings = Settings::open(work, &run)?;
    let senders = Senders::start(&work.hub);
    let mut outputs = Outputs::new(work, &run, &senders, &settings);
    let done = demultiplex(work, &run, &settings, &mut outputs);
    // What went wrong in detail may name samples: it is sealed beside the run, for those who may read it.
    if let Err(error) = &done {
        outputs.tell(error)?;
    }
    outputs.close(done.as_ref().ok(), made)?;
    done.map(drop)
}

fn demultiplex(
    work: &Work<'_>,
    run: &Input,
    settings: &Settings,
    outputs: &mut Outputs<'_, '_>,
) -> Result<(Plan, Report), TaskError> {
    let plan = plan(work, run, settings)?;
    let unmapped: BTreeSet<String> = plan
        .projects()
        .into_keys()
        .flatten()
        .filter(|name| settings.project(Some(name), run.key().project()).is_none())
        .map(str::to_owned)
        .collect();
    if !unmapped.is_empty() {
        return Err(TaskError::Unmapped {
            count: unmapped.len(),
            names: unmapped.into_iter().collect(),
        });
    }
    outputs.prepare(&plan)?;
    let folder = Folder(run);
    let progress = |p: runfolder::Progress| {
        let percent = p.read_bytes.saturating_mul(95) / p.total_bytes.max(1);
        work.progress(u8::try_from(percent.min(95)).unwrap_or(95));
    };
    match runfolder::demultiplex(&folder, &plan, outputs, &progress) {
        Ok(report) => Ok((plan, report)),
        Err(DemuxError::Output { cause, .. }) => {
            Err(outputs.failure.take().unwrap_or_else(|| refused("an output", &cause)))
        }
        Err(error) => Err(refused("a file of the run is missing or damaged", &error)),
    }
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

/// The run folder as `runfolder` reads it: ranges of sealed objects.
struct Folder<'a>(&'a Input);

impl Source for Folder<'_> {
    fn list(&self) -> io::Result<Vec<Entry>> {
        Ok(self.0.files().iter().map(|f| Entry { path: f.path.clone(), bytes: f.bytes }).collect())
    }

    fn read_at(&self, path: &str, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(path, offset, into)
    }
}

/// Which output a file belongs to: a sample, or what is no sample's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Sample(String),
    Rest,
}

/// Where samples and reports go.
struct Outputs<'w, 'a> {
    work: &'w Work<'a>,
    run: &'w Input,
    senders: &'w Senders,
    settings: &'w Settings,
    made: BTreeMap<Owner, Output>,
    files: HashMap<String, Waiting>,
    piece_bytes: usize,
    /// The error behind an `io::Error` that went through the sink.
    failure: Option<TaskError>,
}

/// An open file and the members that wait to be long enough.
struct Waiting {
    file: OpenFile,
    bytes: Vec<u8>,
}

impl<'w, 'a> Outputs<'w, 'a> {
    fn new(
        work: &'w Work<'a>,
        run: &'w Input,
        senders: &'w Senders,
        settings: &'w Settings,
    ) -> Self {
        Self {
            work,
            run,
            senders,
            settings,
            made: BTreeMap::new(),
            files: HashMap::new(),
            piece_bytes: SHORTEST_PIECE,
            failure: None,
        }
    }

    /// Makes a dataset for every sample of the plan.
    fn prepare(&mut self, plan: &Plan) -> Result<(), TaskError> {
        self.piece_bytes = (WAITING_BYTES / (plan.samples.len() * 4 + 4)).max(SHORTEST_PIECE);
        for sample in &plan.samples {
            let project = self
                .settings
                .project(sample.sample_project.as_deref(), self.run.key().project())
                .expect("every name maps somewhere because that was checked before");
            let name = sample.sample_name.as_deref().unwrap_or(&sample.sample_id);
            let output = self.create(DatasetKind::Sample, project, name)?;
            self.made.insert(Owner::Sample(sample.sample_id.clone()), output);
        }
        Ok(())
    }

    fn create(
        &self,
        kind: DatasetKind,
        project: ProjectId,
        name: &str,
    ) -> Result<Output, TaskError> {
        let id = DatasetId::generate();
        let card = self.work.hub.card(project)?;
        let (facts, _signer) = ProjectCard::open(&card, project)
            .map_err(|source| TaskError::Card { dataset: id, source })?;
        self.work.approved.may_write(project, digest_of(&card))?;
        let open = OpenDataset::create(id, project, digest_of(&card))?;
        let label: Sealed = open.seal_label("dataset name", name.as_bytes())?;
        self.work.hub.create(&CreateDataset {
            id,
            kind,
            project,
            card_digest: open.card_digest(),
            wrapped_key: open.wrap_to(facts.recipient())?,
            label,
            settings: None,
            parent: Some(self.run.dataset()),
            reads: None,
        })?;
        Ok(Output::new(open))
    }

    /// The output that a file belongs to; the one for the rest is made when it is first needed.
    fn owner(&mut self, owner: &Owner) -> Result<&mut Output, TaskError> {
        if *owner == Owner::Rest && !self.made.contains_key(owner) {
            let rest = self.create(DatasetKind::Result, self.run.key().project(), REST_NAME)?;
            self.made.insert(Owner::Rest, rest);
        }
        Ok(self.made.get_mut(owner).expect("every sample was prepared, and the rest is made above"))
    }

    fn take(&mut self, name: &FastqName, member: &[u8]) -> Result<(), TaskError> {
        let owner = owner_of(name);
        let (senders, piece_bytes) = (self.senders, self.piece_bytes);
        if !self.files.contains_key(&name.file_name) {
            let file = self.owner(&owner)?.begin(&name.file_name);
            self.files.insert(name.file_name.clone(), Waiting { file, bytes: Vec::new() });
        }
        let waiting = self.files.get_mut(&name.file_name).expect("the file was opened above");
        waiting.bytes.extend_from_slice(member);
        if waiting.bytes.len() >= piece_bytes {
            let (file, bytes) = (waiting.file, std::mem::take(&mut waiting.bytes));
            self.owner(&owner)?.write(senders, file, &bytes)?;
        }
        Ok(())
    }

    fn finish(&mut self, name: &FastqName) -> Result<(), TaskError> {
        let owner = owner_of(name);
        let senders = self.senders;
        let waiting = self.files.remove(&name.file_name);
        let output = self.owner(&owner)?;
        let Waiting { file, bytes } = match waiting {
            Some(waiting) => waiting,
            None => Waiting { file: output.begin(&name.file_name), bytes: Vec::new() },
        };
        output.write(senders, file, &bytes)?;
        output.end(file);
        Ok(())
    }

    fn report_file(&mut self, path: &str, bytes: &[u8]) -> Result<(), TaskError> {
        let senders = self.senders;
        self.owner(&Owner::Rest)?.file(senders, path, bytes)
    }

    /// Seals the whole story of a failure beside the run.
    fn tell(&mut self, error: &TaskError) -> Result<(), TaskError> {
        let story = match error {
            TaskError::Demultiplex { class, detail } => format!("{class}: {detail}\n"),
            TaskError::Unmapped { names, .. } => {
                format!(
                    "no project was given for these names of the sample sheet: {}\n",
                    names.join(", ")
                )
            }
            other => format!("{other}\n"),
        };
        self.made.clear();
        self.files.clear();
        self.report_file("error.txt", story.as_bytes())
    }

    /// Closes every output with its manifest.
    fn close(self, done: Option<&(Plan, Report)>, made: &mut Made) -> Result<(), TaskError> {
        let Self { work, senders, made: outputs, .. } = self;
        for (owner, output) in outputs {
            let reads = match (&owner, done) {
                (Owner::Sample(id), Some((_, report))) => Some(reads_of(report, id)),
                _ => None,
            };
            let dataset = output.key().dataset();
            let version =
                Version { reads, ..Version::first(&work.claimed.hub, &work.keys.receipt) };
            let manifest = output.close(&work.hub, senders, version)?;
            made.outputs.push(ReceiptOutput { dataset, manifest });
        }
        Ok(())
    }

    fn keep(&mut self, result: Result<(), TaskError>) -> io::Result<()> {
        result.map_err(|error| {
            let told = io::Error::other(error.to_string());
            self.failure = Some(error);
            told
        })
    }
}

impl Sink for Outputs<'_, '_> {
    fn fastq(&mut self, file: &FastqName, member: &[u8]) -> io::Result<()> {
        let result = self.take(file, member);
        self.keep(result)
    }

    fn finish_file(&mut self, file: &FastqName) -> io::Result<()> {
        let result = self.finish(file);
        self.keep(result)
    }

    fn report(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let result = self.report_file(path, bytes);
        self.keep(result)
    }
}

fn owner_of(name: &FastqName) -> Owner {
    if name.undetermined { Owner::Rest } else { Owner::Sample(name.sample_id.clone()) }
}

/// Reads of a sample over all lanes; a pair counts twice.
fn reads_of(report: &Report, sample_id: &str) -> u64 {
    let samples = report.lanes.iter().flat_map(|lane| &lane.samples);
    samples
        .filter(|s| s.sample.is_some() && s.sample_id == sample_id)
        .map(|s| s.reads * s.metrics.len() as u64)
        .sum()
}
