//! What sealing costs: a run folder demultiplexed on the disk and as a vault's task, in turns, in CPU seconds.
//!
//! `cargo run --release -p vault --example sealed_demux -- RUN SHEET [ROUNDS [THREADS]]`. The task is the vault's own, from claim to
//! receipt: base calls are opened from sealed packs, members are sealed into packs of their sample's dataset. Only the hub is one
//! in memory, so the network, which is another matter, is not in the figure.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::io::Write;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api::{
    AccountId, BeginReseal, Bytes, ClaimTask, ClaimedInput, ClaimedKey, ClaimedTask, CreateDataset,
    Custodian, DatasetId, DatasetKind, EndTask, ObjectRef, ProjectId, Release, RunSettings, Sealed,
    SealedObject, SignedStatement, Task, TaskApproval, TaskId, TaskKind, TaskState, Time,
};
use dataset::{OpenDataset, PACK_BYTES, Packer, SealedPart};
use proof::{Card, SigningKey, UnattestedEvidence, digest_of, open_statement, sign_statement};
use runfolder::dir::{DirSink, DirSource};
use runfolder::{PlanOptions, RunInfo, SampleSheet, Source, demultiplex, limits, plan, read_small};
use seal::recipient::RecipientSecret;
use vault::task::{Hub, HubError, TaskConfig, VaultKeys, run};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("RUN SHEET [ROUNDS [THREADS]] are expected");
    let folder = DirSource::new(next()?)?;
    let sheet = std::fs::read(next()?)?;
    let rounds: usize = next().map_or(Ok(3), |text| text.parse())?;
    let threads: NonZeroUsize = next().map_or(Ok(NonZeroUsize::MIN), |text| text.parse())?;
    let hub = Arc::new(MemoryHub::of(&folder, &sheet)?);
    let mut ratios = Vec::new();
    for round in 0..rounds {
        let mut seconds = [0.0; 2];
        for turn in 0..2 {
            let sealed = (round + turn) % 2 == 1;
            let start = cpu_seconds();
            match sealed {
                true => as_a_task(&hub, threads)?,
                false => on_the_disk(&folder, &sheet, threads)?,
            }
            seconds[usize::from(sealed)] = cpu_seconds() - start;
            hub.forget_outputs();
        }
        let [plain, sealed] = seconds;
        ratios.push(sealed / plain);
        writeln!(
            std::io::stdout(),
            "plain {plain:.2} s, sealed {sealed:.2} s: {:.3}",
            sealed / plain
        )?;
    }
    ratios.sort_by(f64::total_cmp);
    writeln!(
        std::io::stdout(),
        "sealed / plain, CPU, median: {:.3}, goal 1.15",
        ratios[rounds / 2]
    )?;
    Ok(())
}

/// CPU seconds of this process so far, in all threads.
fn cpu_seconds() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

fn on_the_disk(
    folder: &DirSource,
    sheet: &[u8],
    threads: NonZeroUsize,
) -> Result<(), Box<dyn Error>> {
    let out = tempfile::tempdir()?;
    let info = RunInfo::parse(&read_small(folder, "RunInfo.xml", limits::MAX_TEXT_BYTES)?)?;
    let options = PlanOptions { threads, ..PlanOptions::default() };
    let plan = plan(info, &SampleSheet::parse(sheet)?, options)?;
    let mut sink = DirSink::create(out.path())?;
    demultiplex(folder, &plan, &mut sink, &|_| ())?;
    sink.finish()?;
    Ok(())
}

fn as_a_task(hub: &Arc<MemoryHub>, threads: NonZeroUsize) -> Result<(), Box<dyn Error>> {
    let config = TaskConfig {
        task: TaskId::generate(),
        ticket: zeroize::Zeroizing::new("ticket".to_owned()),
        boots: Vec::new(),
        app_cache: std::env::temp_dir(),
        threads,
    };
    run(Arc::clone(hub) as Arc<dyn Hub>, &config, &VaultKeys::generate()?)?;
    Ok(())
}

/// The sealed objects of each dataset.
type Objects = HashMap<DatasetId, BTreeMap<ObjectRef, (SealedObject, Vec<u8>)>>;

/// A hub that holds one run and what is made of it.
struct MemoryHub {
    platform: RecipientSecret,
    card: SignedStatement,
    project: ProjectId,
    run: DatasetId,
    key: OpenDataset,
    manifest: SignedStatement,
    settings: Sealed,
    label: Sealed,
    state: Mutex<Objects>,
}

impl MemoryHub {
    fn of(folder: &DirSource, sheet: &[u8]) -> Result<Self, Box<dyn Error>> {
        let platform = RecipientSecret::generate()?;
        let signer = SigningKey::from_seed(&[5; 32]);
        let (project, run) = (ProjectId::generate(), DatasetId::generate());
        let recipient = Bytes(platform.public().to_bytes());
        let card = Card {
            hub: "hub".into(),
            project,
            custodian: Custodian::Platform,
            recipient,
            number: 1,
            test: false,
            writers: vec![],
        };
        let card = sign_statement(&card, &signer);
        let key = OpenDataset::create(run, project, digest_of(&card))?;
        let mut packer = Packer::new(PACK_BYTES);
        let mut objects = BTreeMap::new();
        let mut keep = |part: &SealedPart| {
            objects.insert(part.object, (described(part, 0), part.sealed.clone()));
        };
        let mut entries = folder.list()?;
        entries.retain(|entry| entry.path != "SampleSheet.csv");
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        let mut files: Vec<(String, Vec<u8>)> =
            vec![("SampleSheet.csv".to_owned(), sheet.to_vec())];
        for entry in entries {
            let bytes = read_small(folder, &entry.path, entry.bytes)?;
            files.push((entry.path, bytes));
        }
        for (path, bytes) in files {
            let file = packer.begin(&path);
            let mut packs = packer.write(file, &bytes)?;
            packer.end(file);
            for pack in packs.drain(..) {
                let part = pack.seal(&key)?;
                packer.sealed(&part);
                keep(&part);
            }
        }
        if let Some(pack) = packer.flush() {
            let part = pack.seal(&key)?;
            packer.sealed(&part);
            keep(&part);
        }
        let (files, set) = packer.finish()?;
        let (manifest, parts) = dataset::manifest(&key, "hub", files, set, 1, None, Time::now())?;
        parts.iter().for_each(keep);
        let settings = RunSettings {
            projects: BTreeMap::new(),
            default_project: Some(project),
            demultiplex: true,
        };
        Ok(Self {
            settings: key.seal_label("dataset settings", &serde_json::to_vec(&settings)?)?,
            label: key.seal_label("dataset name", b"a run")?,
            manifest: sign_statement(&manifest, &signer),
            state: Mutex::new(HashMap::from([(run, objects)])),
            platform,
            card,
            project,
            run,
            key,
        })
    }

    fn state(&self) -> MutexGuard<'_, Objects> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget_outputs(&self) {
        self.state().retain(|dataset, _| *dataset == self.run);
    }
}

fn described(part: &SealedPart, epoch: u32) -> SealedObject {
    SealedObject {
        object: part.object,
        hash: part.hash,
        sealed_bytes: part.sealed.len() as u64,
        epoch,
        wrapped_key: Bytes(part.wrapped_key.to_vec()),
    }
}

fn said(sentence: &str) -> HubError {
    HubError { sentence: sentence.to_owned(), hint: None }
}

/// What a hub's log of one leaf says.
fn checkpoint() -> String {
    let origin = proof::log::origin_of("hub");
    let root = proof::log::leaf_hash(&[0; 32]);
    let checkpoint = proof::log::Checkpoint { origin, size: 1, root };
    checkpoint.sign(&SigningKey::from_seed(&[8; 32])).to_string()
}

impl Hub for MemoryHub {
    fn claim(&self, task: TaskId, claim: &ClaimTask) -> Result<ClaimedTask, HubError> {
        let (evidence, _) = open_statement::<UnattestedEvidence>(&claim.evidence)
            .map_err(|error| said(&error.to_string()))?;
        let wrapped_key =
            self.key.wrap_to(&evidence.recipient.0).map_err(|error| said(&error.to_string()))?;
        let input = ClaimedInput {
            name: "run".into(),
            kind: DatasetKind::Run,
            card: self.card.clone(),
            key: ClaimedKey::Released(Release {
                dataset: self.run,
                project: self.project,
                card_digest: self.key.card_digest(),
                epoch: self.key.epoch(),
                wrapped_key,
                leaf: Some(0),
            }),
            manifest: self.manifest.clone(),
            label: self.label.clone(),
        };
        let task = Task {
            id: task,
            kind: TaskKind::Demultiplex,
            state: TaskState::Running,
            subject: self.run,
            session: None,
            owner: AccountId::generate(),
            reason: None,
            percent: 0,
            receipt: None,
            created: Time::now(),
            started: None,
            ended: None,
        };
        Ok(ClaimedTask {
            task,
            hub: "hub".into(),
            inputs: vec![input],
            app: None,
            result: None,
            settings: Some(self.settings.clone()),
            requeue: false,
            early: false,
            checkpoint: checkpoint(),
        })
    }

    fn approvals(&self, _: TaskId) -> Result<Vec<TaskApproval>, HubError> {
        Ok(Vec::new())
    }

    fn progress(&self, _: TaskId, _: u8) -> Result<(), HubError> {
        Ok(())
    }

    fn objects(&self, dataset: DatasetId) -> Result<Vec<SealedObject>, HubError> {
        let state = self.state();
        Ok(state
            .get(&dataset)
            .into_iter()
            .flatten()
            .map(|(_, (object, _))| object.clone())
            .collect())
    }

    fn object(&self, dataset: DatasetId, object: ObjectRef) -> Result<Vec<u8>, HubError> {
        let state = self.state();
        let found = state.get(&dataset).and_then(|objects| objects.get(&object));
        found.map(|(_, sealed)| sealed.clone()).ok_or_else(|| said("there is no such object"))
    }

    fn object_range(
        &self,
        dataset: DatasetId,
        object: ObjectRef,
        range: std::ops::Range<u64>,
    ) -> Result<Vec<u8>, HubError> {
        let state = self.state();
        let found = state.get(&dataset).and_then(|objects| objects.get(&object));
        let (from, to) = (usize::try_from(range.start), usize::try_from(range.end));
        let part = match (found, from, to) {
            (Some((_, sealed)), Ok(from), Ok(to)) => sealed.get(from..to),
            _ => None,
        };
        part.map(<[u8]>::to_vec).ok_or_else(|| said("there is no such object"))
    }

    fn card(&self, _: ProjectId) -> Result<SignedStatement, HubError> {
        Ok(self.card.clone())
    }

    fn create(&self, create: &CreateDataset) -> Result<(), HubError> {
        // What custody does with a new key: it is opened once.
        let release = Release {
            dataset: create.id,
            project: create.project,
            card_digest: create.card_digest,
            epoch: 0,
            wrapped_key: create.wrapped_key.clone(),
            leaf: None,
        };
        let opened = OpenDataset::from_release(&release, &self.platform);
        opened.map(drop).map_err(|error| said(&error.to_string()))
    }

    fn put(&self, dataset: DatasetId, epoch: u32, part: &SealedPart) -> Result<(), HubError> {
        let object = (described(part, epoch), part.sealed.clone());
        self.state().entry(dataset).or_default().insert(part.object, object);
        Ok(())
    }

    fn close(&self, _: DatasetId, _: &SignedStatement, _: Option<u64>) -> Result<(), HubError> {
        Ok(())
    }

    fn begin_reseal(&self, _: TaskId, _: &BeginReseal) -> Result<(), HubError> {
        Err(said("nothing is re-sealed here"))
    }

    fn end(&self, _: TaskId, end: &EndTask) -> Result<(), HubError> {
        if end.complete { Ok(()) } else { Err(said(end.reason.as_deref().unwrap_or("it failed"))) }
    }
}
