//! Tasks against a hub in memory, on the bundled run of real reads.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use api::{
    AccountId, BeginReseal, Bytes, ClaimTask, ClaimedInput, ClaimedResult, ClaimedTask,
    CreateDataset, Custodian, DatasetId, DatasetKind, EndTask, ObjectRef, ProjectId, Release,
    RunSettings, Sealed, SealedObject, SignedStatement, Task, TaskId, TaskKind, TaskState, Time,
};
use dataset::{OpenDataset, PACK_BYTES, Packer, SealedPart};
use proof::{
    Card, Manifest, Receipt, SigningKey, UnattestedEvidence, digest_of, open_statement,
    sign_statement,
};
use seal::recipient::RecipientSecret;

use super::*;

mod arriving;

/// A hub that keeps everything in memory and holds the platform's key, as custody does.
struct MemoryHub {
    platform: RecipientSecret,
    card_key: SigningKey,
    cards: HashMap<ProjectId, SignedStatement>,
    kind: TaskKind,
    subject: DatasetId,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    created: HashMap<DatasetId, CreateDataset>,
    keys: HashMap<DatasetId, OpenDataset>,
    objects: HashMap<DatasetId, BTreeMap<ObjectRef, (SealedObject, Vec<u8>)>>,
    manifests: HashMap<DatasetId, SignedStatement>,
    reads: HashMap<DatasetId, u64>,
    ended: Option<EndTask>,
    reseal: Option<BeginReseal>,
    /// Whether the run goes on arriving, and what the task before this one made of it.
    early: bool,
    so_far: Option<DatasetId>,
    /// What an app or a query makes, and what it was asked.
    result: Option<(DatasetId, Sealed)>,
    /// Whether an owner holds the keys, who refuses; and how often that owner was asked.
    is_owners: bool,
    asked: u32,
}

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testing/demo");

impl MemoryHub {
    fn new(projects: &[ProjectId], kind: TaskKind, subject: DatasetId) -> Self {
        let platform = RecipientSecret::generate().unwrap();
        let card_key = SigningKey::from_seed(&[5; 32]);
        let card = |project| {
            let recipient = Bytes(platform.public().to_bytes());
            let custodian = Custodian::Platform;
            let card = Card {
                hub: "hub".into(),
                project,
                custodian,
                recipient,
                number: 1,
                test: false,
                writers: vec![],
            };
            (project, sign_statement(&card, &card_key))
        };
        let cards = projects.iter().copied().map(card).collect();
        Self { platform, card_key, cards, kind, subject, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Stores files as a closed dataset under a new key.
    fn store(
        &self,
        project: ProjectId,
        id: DatasetId,
        files: &[(String, Vec<u8>)],
        settings: Option<&[u8]>,
    ) {
        let open = OpenDataset::create(id, project, digest_of(&self.cards[&project])).unwrap();
        let mut packer = Packer::new(PACK_BYTES);
        let mut packs = Vec::new();
        for (path, bytes) in files {
            let file = packer.begin(path);
            packs.extend(packer.write(file, bytes).unwrap());
            packer.end(file);
        }
        packs.extend(packer.flush());
        for pack in packs {
            let part = pack.seal(&open).unwrap();
            packer.sealed(&part);
            self.put(id, 0, &part).unwrap();
        }
        let (files, objects) = packer.finish().unwrap();
        let (manifest, parts) =
            dataset::manifest(&open, "hub", files, objects, 1, None, Time::now()).unwrap();
        parts.iter().for_each(|part| self.put(id, 0, part).unwrap());
        let create = CreateDataset {
            id,
            kind: DatasetKind::Run,
            project,
            card_digest: open.card_digest(),
            wrapped_key: open.wrap_to(&self.platform.public().to_bytes()).unwrap(),
            label: open.seal_label("dataset name", b"a run").unwrap(),
            settings: settings.map(|s| open.seal_label("dataset settings", s).unwrap()),
            parent: None,
            reads: None,
        };
        self.state().manifests.insert(id, sign_statement(&manifest, &self.card_key));
        self.state().created.insert(id, create);
        self.state().keys.insert(id, open);
    }

    /// A dataset's files, opened with the key that was wrapped to the platform.
    fn files(&self, id: DatasetId) -> BTreeMap<String, Vec<u8>> {
        let state = self.state();
        let open = &state.keys[&id];
        let (manifest, _) = open_statement::<Manifest>(&state.manifests[&id]).unwrap();
        let stored = &state.objects[&id];
        let index: Vec<_> = manifest.index.iter().map(|e| stored[&e.object].clone()).collect();
        let index = dataset::open_index(open, &manifest, &index).unwrap();
        let mut files = BTreeMap::new();
        for file in &index.files {
            let mut bytes = Vec::new();
            for slice in dataset::slices(file, 0, u64::MAX) {
                let (object, sealed) = &stored[&slice.object];
                let plaintext = open.open_object(object, sealed, Some(slice.commitment)).unwrap();
                bytes.extend_from_slice(slice.of(&plaintext).unwrap());
            }
            assert_eq!(proof::sha256(&bytes), file.sha256);
            files.insert(file.path.clone(), bytes);
        }
        files
    }

    fn name(&self, id: DatasetId) -> String {
        let state = self.state();
        let name = state.keys[&id].open_label("dataset name", &state.created[&id].label).unwrap();
        String::from_utf8(name).unwrap()
    }

    fn release(&self, id: DatasetId, to: &[u8]) -> Release {
        let state = self.state();
        let open = &state.keys[&id];
        Release {
            dataset: id,
            project: open.project(),
            card_digest: open.card_digest(),
            epoch: open.epoch(),
            wrapped_key: open.wrap_to(to).unwrap(),
            leaf: Some(4),
        }
    }

    fn adopt(
        &self,
        dataset: DatasetId,
        project: ProjectId,
        epoch: u32,
        wrapped_key: &Bytes,
    ) -> OpenDataset {
        let card_digest = digest_of(&self.cards[&project]);
        let wrapped_key = wrapped_key.clone();
        let release = Release { dataset, project, card_digest, epoch, wrapped_key, leaf: None };
        OpenDataset::from_release(&release, &self.platform).unwrap()
    }
}

/// What a hub's log of so many leaves says.
fn checkpoint(hub: &str, size: u64) -> String {
    let origin = proof::log::origin_of(hub);
    let checkpoint = proof::log::Checkpoint { origin, size, root: Digest([1; 32]) };
    checkpoint.sign(&SigningKey::from_seed(&[8; 32])).to_string()
}

impl Hub for MemoryHub {
    fn claim(&self, task: TaskId, claim: &ClaimTask) -> Result<ClaimedTask, HubError> {
        let (evidence, _) = open_statement::<UnattestedEvidence>(&claim.evidence).unwrap();
        assert_eq!(evidence.task, task, "evidence binds the task");
        let release = self.release(self.subject, &evidence.recipient.0);
        // Not in one statement: the state is locked once more by what releases a key.
        let made = self.state().result.clone();
        let result = made.map(|(id, settings)| ClaimedResult {
            key: ClaimedKey::Released(self.release(id, &evidence.recipient.0)),
            settings,
        });
        let state = self.state();
        let created = &state.created[&self.subject];
        let input = ClaimedInput {
            name: "run".into(),
            kind: DatasetKind::Run,
            card: self.cards[&release.project].clone(),
            key: ClaimedKey::Released(release),
            manifest: state.manifests[&self.subject].clone(),
            label: created.label.clone(),
        };
        let task = Task {
            id: task,
            kind: self.kind,
            state: TaskState::Running,
            subject: self.subject,
            session: None,
            owner: AccountId::generate(),
            reason: None,
            percent: 0,
            receipt: None,
            created: Time::now(),
            started: None,
            ended: None,
        };
        let settings: Option<Sealed> = created.settings.clone();
        let mut inputs = vec![input];
        if state.is_owners {
            inputs[0].key = ClaimedKey::Awaited(inputs[0].key.place());
        }
        let so_far = state.so_far;
        let early = state.early;
        drop(state);
        if let Some(id) = so_far {
            let release = self.release(id, &evidence.recipient.0);
            let state = self.state();
            inputs.push(ClaimedInput {
                name: "so far".into(),
                kind: DatasetKind::Result,
                card: self.cards[&release.project].clone(),
                key: ClaimedKey::Released(release),
                manifest: state.manifests[&id].clone(),
                label: state.created[&id].label.clone(),
            });
        }
        Ok(ClaimedTask {
            task,
            hub: "hub".into(),
            inputs,
            app: None,
            result,
            settings,
            requeue: false,
            early,
            checkpoint: checkpoint("hub", 5),
        })
    }

    fn approvals(&self, _: TaskId) -> Result<Vec<api::TaskApproval>, HubError> {
        self.state().asked += 1;
        let project = self.state().created[&self.subject].project;
        Ok(vec![api::TaskApproval {
            id: api::ApprovalId::generate(),
            project,
            state: api::ApprovalState::Refused,
            reason: None,
            given: None,
            card: None,
            handovers: Vec::new(),
            log: None,
        }])
    }

    fn progress(&self, _: TaskId, _: u8) -> Result<(), HubError> {
        Ok(())
    }

    fn objects(&self, dataset: DatasetId) -> Result<Vec<SealedObject>, HubError> {
        Ok(self.state().objects[&dataset].values().map(|(object, _)| object.clone()).collect())
    }

    fn object(&self, dataset: DatasetId, object: ObjectRef) -> Result<Vec<u8>, HubError> {
        Ok(self.state().objects[&dataset][&object].1.clone())
    }

    fn card(&self, project: ProjectId) -> Result<SignedStatement, HubError> {
        Ok(self.cards[&project].clone())
    }

    fn create(&self, create: &CreateDataset) -> Result<(), HubError> {
        let open = self.adopt(create.id, create.project, 0, &create.wrapped_key);
        self.state().keys.insert(create.id, open);
        self.state().created.insert(create.id, create.clone());
        Ok(())
    }

    fn put(&self, dataset: DatasetId, epoch: u32, part: &SealedPart) -> Result<(), HubError> {
        let object = SealedObject {
            object: part.object,
            hash: part.hash,
            sealed_bytes: part.sealed.len() as u64,
            epoch,
            wrapped_key: Bytes(part.wrapped_key.to_vec()),
        };
        self.state()
            .objects
            .entry(dataset)
            .or_default()
            .insert(part.object, (object, part.sealed.clone()));
        Ok(())
    }

    fn close(
        &self,
        id: DatasetId,
        manifest: &SignedStatement,
        reads: Option<u64>,
    ) -> Result<(), HubError> {
        let (facts, _) = open_statement::<Manifest>(manifest).unwrap();
        let mut state = self.state();
        let mut set = proof::ObjectSet::default();
        for (object, _) in state.objects[&id].values().filter(|(o, _)| o.epoch == facts.epoch) {
            set.insert(object.object, object.hash, object.sealed_bytes);
        }
        assert_eq!(set.digest(), facts.objects_digest, "the hub's objects are the manifest's");
        if facts.epoch > 0 {
            let reseal = state.reseal.clone().expect("a new epoch was opened before it was closed");
            let open = self.adopt(id, facts.project, facts.epoch, &reseal.wrapped_key);
            state.keys.insert(id, open);
            state.created.get_mut(&id).unwrap().label = reseal.label;
        }
        state.manifests.insert(id, manifest.clone());
        if let Some(reads) = reads {
            state.reads.insert(id, reads);
        }
        Ok(())
    }

    fn begin_reseal(&self, _: TaskId, reseal: &BeginReseal) -> Result<(), HubError> {
        self.state().reseal = Some(reseal.clone());
        Ok(())
    }

    fn end(&self, _: TaskId, end: &EndTask) -> Result<(), HubError> {
        self.state().ended = Some(end.clone());
        Ok(())
    }
}

/// Every file below `folder`, by its path inside.
fn folder(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut todo = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(next) = todo.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else {
                let inside = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                files.push((inside, std::fs::read(&path).unwrap()));
            }
        }
    }
    files
}

fn bundled_run() -> Vec<(String, Vec<u8>)> {
    let runs = Path::new(DEMO).join("runs");
    let run = std::fs::read_dir(runs).unwrap().next().unwrap().unwrap().path();
    folder(&run)
}

/// The names of projects in the bundled sheet, read without our own parser.
fn sheet_projects(files: &[(String, Vec<u8>)]) -> Vec<String> {
    let sheet = &files.iter().find(|(path, _)| path == "SampleSheet.csv").unwrap().1;
    let text = std::str::from_utf8(sheet).unwrap();
    let (_, table) = text.split_once("[BCLConvert_Data]").unwrap();
    let mut rows = table.lines().skip(1).map(|l| l.split(',').collect::<Vec<_>>());
    let column = rows.next().unwrap().iter().position(|c| *c == "Sample_Project").unwrap();
    let mut names: Vec<_> =
        rows.filter(|r| r.len() > column).map(|r| r[column].to_owned()).collect();
    names.sort();
    names.dedup();
    names
}

fn run_task(hub: &Arc<MemoryHub>) -> (Result<(), TaskError>, EndTask, Receipt) {
    let cache = tempfile::tempdir().unwrap();
    let config = TaskConfig {
        task: TaskId::generate(),
        ticket: zeroize::Zeroizing::new("ticket".to_owned()),
        boots: Vec::new(),
        app_cache: cache.path().to_owned(),
        threads: std::num::NonZeroUsize::new(2).unwrap(),
    };
    let keys = VaultKeys::generate().unwrap();
    let result = run(Arc::clone(hub) as Arc<dyn Hub>, &config, &keys);
    let end = hub.state().ended.clone().expect("every task ends with a receipt");
    let (receipt, signer) = open_statement::<Receipt>(&end.receipt).unwrap();
    assert_eq!(signer, keys.receipt_key().public());
    (result, end, receipt)
}

#[test]
fn a_task_is_handed_over_in_one_line() {
    let task = TaskId::generate();
    let (id, ticket, boots) = handed(&format!("{task} 00ff\n")).unwrap();
    assert_eq!((id, ticket.as_str(), boots.len()), (task, "00ff", 0));
    assert!(handed(&format!("{task} 00ff []\n")).unwrap().2.is_empty());
    for wrong in ["", "00ff", &format!("{task}"), "x 00ff", &format!("{task} 00ff {{\n")] {
        assert!(handed(wrong).is_none(), "{wrong}");
    }
}

#[test]
fn a_run_becomes_samples_each_under_a_key_of_its_own_project() {
    let files = bundled_run();
    let (lab, id) = (ProjectId::generate(), DatasetId::generate());
    let names = sheet_projects(&files);
    let projects: BTreeMap<String, ProjectId> =
        names.into_iter().map(|n| (n, ProjectId::generate())).collect();
    assert_eq!(projects.len(), 2);
    let all: Vec<_> = projects.values().copied().chain([lab]).collect();
    let hub = Arc::new(MemoryHub::new(&all, TaskKind::Demultiplex, id));
    let settings =
        RunSettings { projects: projects.clone(), default_project: None, demultiplex: true };
    hub.store(lab, id, &files, Some(&serde_json::to_vec(&settings).unwrap()));

    let (result, end, receipt) = run_task(&hub);
    result.unwrap();
    assert!(end.complete && receipt.complete);
    assert_eq!(receipt.inputs.len(), 1);
    assert_eq!(receipt.outputs.len(), 5, "four samples, and what is no sample's");

    let truth: serde_json::Value =
        serde_json::from_slice(&std::fs::read(Path::new(DEMO).join("truth.json")).unwrap())
            .unwrap();
    let mut samples = 0;
    for output in &receipt.outputs {
        let created = hub.state().created[&output.dataset].clone();
        assert_eq!(created.parent, Some(id));
        let made = hub.files(output.dataset);
        if created.kind == DatasetKind::Result {
            assert_eq!(created.project, lab);
            assert!(made.keys().any(|p| p.ends_with("Demultiplex_Stats.csv")), "{:?}", made.keys());
            continue;
        }
        samples += 1;
        assert!(projects.values().any(|p| *p == created.project));
        let name = hub.name(output.dataset);
        let pairs = truth["counts"][&name]["reads"].as_u64().expect("the truth names the sample");
        assert_eq!(hub.state().reads[&output.dataset], pairs * 2);
        assert_eq!(made.len(), 2, "R1 and R2: {:?}", made.keys());
        for (path, bytes) in &made {
            let mut text = Vec::new();
            flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut text).unwrap();
            let read = if path.contains("_R1_") { "R1" } else { "R2" };
            let expected = &truth["counts"][&name]["digest"][read]["fastq_sha256"];
            assert_eq!(expected, &proof::sha256(&text).to_string(), "{path}");
        }
    }
    assert_eq!(samples, 4);
}

#[test]
fn a_project_that_maps_nowhere_stops_before_work_and_its_name_stays_sealed() {
    let files = bundled_run();
    let (lab, id) = (ProjectId::generate(), DatasetId::generate());
    let hub = Arc::new(MemoryHub::new(&[lab], TaskKind::Demultiplex, id));
    let settings = RunSettings { demultiplex: true, ..RunSettings::default() };
    hub.store(lab, id, &files, Some(&serde_json::to_vec(&settings).unwrap()));
    let (result, end, receipt) = run_task(&hub);
    assert!(matches!(result, Err(TaskError::Unmapped { count: 2, .. })));
    assert!(!end.complete && !receipt.complete);
    let reason = end.reason.unwrap();
    for name in sheet_projects(&files) {
        assert!(!reason.contains(&name), "{reason}");
        let told = hub.files(receipt.outputs[0].dataset);
        assert!(String::from_utf8_lossy(&told["error.txt"]).contains(&name));
    }
    assert_eq!(receipt.outputs.len(), 1, "no sample was made");
}

#[test]
fn a_re_sealed_dataset_holds_the_same_files_under_another_key() {
    let files: Vec<_> = bundled_run().into_iter().take(50).collect();
    let (lab, id) = (ProjectId::generate(), DatasetId::generate());
    let hub = Arc::new(MemoryHub::new(&[lab], TaskKind::Reseal, id));
    hub.store(lab, id, &files, None);
    let old = hub.state().keys[&id].clone();
    let (result, _, receipt) = run_task(&hub);
    result.unwrap();
    assert_eq!(receipt.outputs[0].dataset, id);
    assert_eq!(hub.name(id), "a run");
    assert_eq!(hub.files(id), files.into_iter().collect::<BTreeMap<_, _>>());
    let state = hub.state();
    for (object, sealed) in state.objects[&id].values().filter(|(o, _)| o.epoch == 1) {
        assert!(
            old.open_object(object, sealed, None).is_err(),
            "the old key opens nothing of the new epoch"
        );
    }
}

/// How it ended, its receipt, what the asker can open of the result, and what the hub was told.
type Answered = (Result<(), TaskError>, Receipt, BTreeMap<String, Vec<u8>>, EndTask);

/// Asks a query of a dataset that holds `files`; gives what the asker can open of the result, and what the project's key can.
fn asked(files: &[(String, Vec<u8>)], query: api::Query) -> Answered {
    let (lab, id, result) = (ProjectId::generate(), DatasetId::generate(), DatasetId::generate());
    let hub = Arc::new(MemoryHub::new(&[lab], TaskKind::Query, id));
    hub.store(lab, id, files, None);
    let asker = RecipientSecret::generate().unwrap();
    let request = api::QueryRequest {
        query,
        purpose: api::Purpose { salt: Digest([1; 32]), text: "to see whether it works".into() },
        recipient: Bytes(asker.public().to_bytes()),
        scoring: None,
    };
    let open = OpenDataset::create(result, lab, digest_of(&hub.cards[&lab])).unwrap();
    let text = serde_json::to_vec(&request).unwrap();
    hub.state().result = Some((result, open.seal_label("launch settings", &text).unwrap()));
    hub.state().keys.insert(result, open);
    let (done, end, receipt) = run_task(&hub);
    let mut opened = BTreeMap::new();
    for (path, sealed) in hub.files(result) {
        let mut plain = Vec::new();
        seal::file::open_file(&mut &*sealed, &mut plain, &asker, &mut |_| ()).unwrap();
        opened.insert(path, plain);
    }
    (done, receipt, opened, end)
}

const PEOPLE: &str = "##fileformat=VCFv4.3\n##contig=<ID=1>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tAnna\n\
    1\t100\trs1\tA\tG\t.\t.\t.\tGT\t0/1\n1\t200\trs2\tC\tT\t.\t.\t.\tGT\t1/1\n";

#[test]
fn a_query_is_answered_from_its_input_and_sealed_to_whom_it_names() {
    let files = [("anna.vcf".to_owned(), PEOPLE.as_bytes().to_vec())];
    let query = |rsid: &str| {
        api::Query::Rsid(api::query::RsidQuery {
            file: "anna.vcf".into(),
            samples: vec![],
            rsid: rsid.into(),
        })
    };
    let (done, receipt, given, _) = asked(&files, query("rs2"));
    done.unwrap();
    assert!(receipt.complete && receipt.inputs.len() == 1 && receipt.outputs.len() == 1);
    assert_eq!(receipt.app, Some(proof::sha256(b"chorion query/1")));
    let text = String::from_utf8(given["answer.json.chorion"].clone()).unwrap();
    assert!(text.contains(r#""alleles":["T","T"]"#) && !text.contains("rs1"), "{text}");
    assert_eq!(given.len(), 1);

    let region = api::Query::Region(api::query::RegionQuery {
        file: "anna.vcf".into(),
        reference: None,
        region: api::query::Region { contig: "1".into(), start: 150, end: 250 },
    });
    let (done, _, given, _) = asked(&files, region);
    done.unwrap();
    assert!(given["answer.vcf.gz.chorion"].starts_with(&[0x1f, 0x8b]));
}

#[test]
fn a_query_without_an_answer_says_why_to_the_asker_and_only_the_class_to_the_hub() {
    let files = [("anna.vcf".to_owned(), PEOPLE.as_bytes().to_vec())];
    let query = api::Query::Qc(api::query::QcQuery {
        file: "anna.vcf".into(),
        samples: vec!["Boris".into()],
    });
    let (done, receipt, given, end) = asked(&files, query);
    assert!(matches!(done, Err(TaskError::Query { .. })) && !receipt.complete);
    let reason = end.reason.unwrap();
    assert_eq!(reason, "the query was refused: the file has no such sample");
    let told = String::from_utf8(given["error.txt.chorion"].clone()).unwrap();
    assert!(told.contains("Boris") && !reason.contains("Boris"));
}

#[test]
fn an_input_reads_alike_whole_and_piece_by_piece_and_a_broken_segment_is_told() {
    let noise: Vec<u8> =
        (0..20_000_000u32).map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()[2]).collect();
    let files = [("long".to_owned(), noise.clone()), ("short".to_owned(), noise[..700].to_vec())];
    let (lab, id) = (ProjectId::generate(), DatasetId::generate());
    let hub = Arc::new(MemoryHub::new(&[lab], TaskKind::Demultiplex, id));
    hub.store(lab, id, &files, None);
    let keys = VaultKeys::generate().unwrap();
    let approved = Approved::default();
    let open = || {
        let manifest = hub.state().manifests[&id].clone();
        let label = hub.state().created[&id].label.clone();
        let claimed = ClaimedInput {
            name: "run".into(),
            kind: DatasetKind::Run,
            card: hub.cards[&lab].clone(),
            key: ClaimedKey::Released(hub.release(id, &keys.recipient().public().to_bytes())),
            manifest,
            label,
        };
        let shared: hub::SharedHub = Arc::clone(&hub) as Arc<dyn Hub>;
        let keys = DatasetKeys { recipient: keys.recipient(), approved: &approved };
        input::Input::open(&shared, &claimed, &keys).unwrap()
    };
    let mut input = open();
    assert!(!input.by_piece, "what fits is opened whole");
    for by_piece in [false, true] {
        input.by_piece = by_piece;
        for (path, bytes) in &files {
            for (from, length) in [
                (0, 10),
                (1, 70_000),
                (8_000_000, 900_000),
                (262_143, 2),
                (19_999_990, 50),
                (600, 200),
            ] {
                let mut into = vec![0; length];
                let read = input.read_at(path, from as u64, &mut into).unwrap();
                let expected = bytes.get(from..bytes.len().min(from + length)).unwrap_or(&[]);
                assert!(into[..read] == *expected, "{path} from {from}, {length} bytes");
            }
        }
    }
    // In the middle of every object a byte is another: pieces without it still open.
    let mut input = open();
    input.by_piece = true;
    for (_, sealed) in hub.state().objects.get_mut(&id).unwrap().values_mut() {
        let middle = sealed.len() / 2;
        sealed[middle] ^= 1;
    }
    let mut into = vec![0; 100_000];
    assert_eq!(input.read_at("long", 0, &mut into).unwrap(), into.len());
    assert!(into == noise[..100_000]);
    let mut all = vec![0; noise.len()];
    assert!(input.read_at("long", 0, &mut all).is_err());
}

#[test]
fn an_object_that_the_hub_exchanged_stops_the_task() {
    let files: Vec<_> = bundled_run().into_iter().take(50).collect();
    let (lab, id) = (ProjectId::generate(), DatasetId::generate());
    let hub = Arc::new(MemoryHub::new(&[lab], TaskKind::Reseal, id));
    hub.store(lab, id, &files, None);
    if let Some((_, sealed)) = hub.state().objects.get_mut(&id).unwrap().values_mut().next() {
        let middle = sealed.len() / 2;
        sealed[middle] ^= 1;
    }
    let (result, end, receipt) = run_task(&hub);
    assert!(matches!(result, Err(TaskError::Dataset(_))), "{result:?}");
    assert!(!end.complete && receipt.outputs.is_empty());
}

#[test]
fn a_vault_is_heard_of_as_long_as_it_works() {
    let (heard, told) = mpsc::channel();
    let tell = move || heard.send(()).unwrap();
    let every = Duration::from_millis(1);
    let beats = heard_of(every, mpsc::channel(), tell, || told.iter().take(3).count());
    assert_eq!(beats, 3);
    // This ends because nobody tells any more.
    told.iter().for_each(drop);
}

#[test]
fn news_of_a_task_is_told_soon_by_nobody_who_works_and_of_one_that_is_over_not_at_all() {
    let (heard, told) = mpsc::channel();
    let worker = std::thread::current().id();
    let tell = move || heard.send(std::thread::current().id()).unwrap();
    let (news, words) = mpsc::channel();
    let say = news.clone();
    // Nothing is told of itself for as long as this takes.
    let every = Duration::from_secs(600);
    let who = heard_of(every, (news, words), tell, || {
        say.send(Word::News).unwrap();
        told.recv().unwrap()
    });
    assert_ne!(who, worker);

    let (say, words) = mpsc::channel();
    for word in [Word::News, Word::News, Word::Over] {
        say.send(word).unwrap();
    }
    assert!(is_over_within(&words, every));
    say.send(Word::News).unwrap();
    assert!(!is_over_within(&words, Duration::ZERO));
}

#[test]
fn a_vault_that_stays_opens_nothing_of_owners_it_did_not_begin_with() {
    let files = [("anna.vcf".to_owned(), PEOPLE.as_bytes().to_vec())];
    let of_owner = || {
        let (project, id) = (ProjectId::generate(), DatasetId::generate());
        let hub = Arc::new(MemoryHub::new(&[project], TaskKind::Reseal, id));
        hub.store(project, id, &files, None);
        hub.state().is_owners = true;
        hub
    };
    let mut vault = Vault::default();
    let mut run = |hub: &Arc<MemoryHub>| {
        let config = TaskConfig {
            task: TaskId::generate(),
            ticket: zeroize::Zeroizing::new("ticket".to_owned()),
            boots: Vec::new(),
            app_cache: PathBuf::new(),
            threads: std::num::NonZeroUsize::MIN,
        };
        let keys = VaultKeys::generate().unwrap();
        let done = vault.run(Arc::clone(hub) as Arc<dyn Hub>, &config, &keys);
        let end = hub.state().ended.take().expect("every task ends with a receipt");
        let (receipt, signer) = open_statement::<proof::OwnerReceipt>(&end.receipt).unwrap();
        assert_eq!(signer, keys.receipt_key().public());
        assert!(receipt.approvals.is_empty() && receipt.inputs.is_empty() && !end.complete);
        done
    };
    let (hers, others) = (of_owner(), of_owner());
    assert!(matches!(run(&hers), Err(TaskError::Refused { .. })));
    assert!(matches!(run(&others), Err(TaskError::OtherOwners)));
    assert_eq!(others.state().asked, 0, "nobody was asked for a key");
    // Its own owner's next task is asked for as the first was.
    assert!(matches!(run(&hers), Err(TaskError::Refused { .. })));
    assert_eq!(hers.state().asked, 2);
}

#[test]
fn what_a_task_reads_is_fetched_ahead_sealed_and_once() {
    let files = [("anna.vcf".to_owned(), PEOPLE.as_bytes().to_vec())];
    let (project, id) = (ProjectId::generate(), DatasetId::generate());
    let hub = Arc::new(MemoryHub::new(&[project], TaskKind::Query, id));
    hub.store(project, id, &files, None);
    let released = ClaimedKey::Released(hub.release(id, &hub.platform.public().to_bytes()));
    let (manifest, label) = {
        let state = hub.state();
        (state.manifests[&id].clone(), state.created[&id].label.clone())
    };
    let input = ClaimedInput {
        name: "sample".into(),
        kind: DatasetKind::Sample,
        card: hub.cards[&project].clone(),
        key: ClaimedKey::Awaited(released.place()),
        manifest,
        label,
    };
    let late = ahead::Ahead::of(Arc::clone(&hub) as Arc<dyn Hub>);
    late.over();
    late.fetch(std::slice::from_ref(&input));
    let ahead = ahead::Ahead::of(Arc::clone(&hub) as Arc<dyn Hub>);
    ahead.fetch(&[input]);

    // From here on the hub itself has none of it.
    let stored = hub.state().objects.insert(id, BTreeMap::new()).unwrap();
    assert!(late.objects(id).unwrap().is_empty(), "nothing is fetched once it is over");
    assert_eq!(ahead.objects(id).unwrap().len(), stored.len());
    assert!(ahead.objects(id).unwrap().is_empty(), "the hub is asked anew");
    for (object, (_, sealed)) in &stored {
        assert_eq!(ahead.object_range(id, *object, 0..128).unwrap(), sealed[..128]);
        assert_eq!(&ahead.object(id, *object).unwrap(), sealed);
    }
}
