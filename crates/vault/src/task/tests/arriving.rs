//! A run that is demultiplexed while it arrives, and one whose sheet is wrong.

use super::*;

/// A run whose files come in parts, each with a manifest of its own.
struct Arriving<'a> {
    hub: &'a Arc<MemoryHub>,
    open: OpenDataset,
    files: Vec<proof::FileEntry>,
    manifest: Option<SignedStatement>,
}

impl<'a> Arriving<'a> {
    fn new(hub: &'a Arc<MemoryHub>, project: ProjectId, settings: &RunSettings) -> Self {
        let card = digest_of(&hub.cards[&project]);
        let open = OpenDataset::create(hub.subject, project, card).unwrap();
        let settings = serde_json::to_vec(settings).unwrap();
        let create = CreateDataset {
            id: hub.subject,
            kind: DatasetKind::Run,
            project,
            card_digest: open.card_digest(),
            wrapped_key: open.wrap_to(&hub.platform.public().to_bytes()).unwrap(),
            label: open.seal_label("dataset name", b"a run").unwrap(),
            settings: Some(open.seal_label("dataset settings", &settings).unwrap()),
            parent: None,
            reads: None,
        };
        hub.state().created.insert(hub.subject, create);
        hub.state().keys.insert(hub.subject, open.clone());
        Self { hub, open, files: Vec::new(), manifest: None }
    }

    /// Seals more files, in the place of those of the same name, and signs what there is then.
    fn more(&mut self, files: &[&(String, Vec<u8>)]) {
        let mut packer = Packer::new(PACK_BYTES);
        let mut packs = Vec::new();
        for (path, bytes) in files {
            self.files.retain(|known| known.path != *path);
            let file = packer.begin(path);
            packs.extend(packer.write(file, bytes).unwrap());
            packer.end(file);
        }
        packs.extend(packer.flush());
        for pack in packs {
            let part = pack.seal(&self.open).unwrap();
            packer.sealed(&part);
            self.hub.put(self.open.dataset(), 0, &part).unwrap();
        }
        self.files.extend(packer.finish().unwrap().0);
        let mut objects = proof::ObjectSet::default();
        for (object, _) in self.hub.state().objects[&self.open.dataset()].values() {
            objects.insert(object.object, object.hash, object.sealed_bytes);
        }
        let previous = self.manifest.as_ref().map(digest_of);
        let number = if previous.is_some() { 2 } else { 1 };
        let (manifest, parts) = dataset::manifest(
            &self.open,
            "hub",
            self.files.clone(),
            objects,
            number,
            previous,
            Time::now(),
        )
        .unwrap();
        parts.iter().for_each(|part| self.hub.put(self.open.dataset(), 0, part).unwrap());
        let signed = sign_statement(&manifest, &self.hub.card_key);
        self.hub.state().manifests.insert(self.open.dataset(), signed.clone());
        self.manifest = Some(signed);
    }
}

/// Files of samples and of what is no sample's, by name.
fn fastq(hub: &MemoryHub, receipt: &Receipt) -> BTreeMap<String, Vec<u8>> {
    let made = receipt.outputs.iter().flat_map(|output| hub.files(output.dataset));
    made.filter(|(path, _)| path.ends_with(".gz")).collect()
}

/// The run's metrics among files.
fn metrics(made: &BTreeMap<String, Vec<u8>>) -> api::RunMetrics {
    serde_json::from_slice(&made[api::RUN_METRICS_PATH]).unwrap()
}

fn is_early(path: &str) -> bool {
    let cycle = path.split('/').find_map(|part| part.strip_prefix('C')?.strip_suffix(".1"));
    cycle.is_none_or(|cycle| cycle.parse::<u32>().unwrap() <= 92) && !path.ends_with(".txt")
}

#[test]
fn a_run_that_arrives_in_parts_gives_the_samples_of_one_go() {
    let files = bundled_run();
    let (lab, id) = (ProjectId::generate(), DatasetId::generate());
    let settings =
        RunSettings { default_project: Some(lab), demultiplex: true, ..RunSettings::default() };
    let (early, late): (Vec<_>, Vec<_>) = files.iter().partition(|(path, _)| is_early(path));
    let calls = early.iter().copied().find(|(path, _)| path.contains("C5.1/")).unwrap();

    let whole = Arc::new(MemoryHub::new(&[lab], TaskKind::Demultiplex, id));
    whole.store(lab, id, &files, Some(&serde_json::to_vec(&settings).unwrap()));
    let (result, _, receipt) = run_task(&whole);
    result.unwrap();
    let one_go = fastq(&whole, &receipt);
    assert_eq!(one_go.len(), 10);

    for changed in [false, true] {
        let hub = Arc::new(MemoryHub::new(&[lab], TaskKind::Demultiplex, id));
        let mut arriving = Arriving::new(&hub, lab, &settings);
        arriving.more(&early);
        hub.state().early = true;
        let (result, end, receipt) = run_task(&hub);
        result.unwrap();
        assert!(end.complete);
        let [ref only] = receipt.outputs[..] else { panic!("{:?}", receipt.outputs) };
        assert_eq!(hub.name(only.dataset), "Demultiplexing so far");
        let made = hub.files(only.dataset);
        let firsts = made.keys().filter(|path| path.contains("_R1_")).count();
        assert_eq!(firsts, 5, "{:?}", made.keys());
        for (path, bytes) in made.iter().filter(|(path, _)| path.contains("_R1_")) {
            assert!(*bytes == one_go[path.rsplit('/').next().unwrap()], "{path}");
        }
        let verdict = String::from_utf8_lossy(&made["Verdict.txt"]);
        assert!(verdict.contains("reads match a sample"), "{verdict}");
        assert!(made.contains_key("Reports/Top_Unknown_Barcodes.csv"));
        // A second look before the end takes up the first one's work, and finds nothing more to do.
        hub.state().so_far = Some(only.dataset);
        let (result, _, receipt) = run_task(&hub);
        result.unwrap();
        let again = hub.files(receipt.outputs[0].dataset);
        assert!(again == made);
        hub.state().so_far = Some(receipt.outputs[0].dataset);

        // The same bytes sealed anew are another entry in the index: then nothing that was read before counts.
        let mut more = late.clone();
        if changed {
            more.push(calls);
        }
        arriving.more(&more);
        hub.state().early = false;
        let (result, _, receipt) = run_task(&hub);
        result.unwrap();
        assert_eq!(receipt.inputs.len(), 2);
        assert_eq!(receipt.outputs.len(), 5);
        assert!(fastq(&hub, &receipt) == one_go, "changed: {changed}");
        let stats = |hub: &MemoryHub, receipt: &Receipt| {
            let made = receipt.outputs.iter().flat_map(|output| hub.files(output.dataset));
            made.filter(|(path, _)| path.starts_with("Reports/")).collect::<BTreeMap<_, _>>()
        };
        let reports = stats(&hub, &receipt);
        assert_eq!(reports.len(), 10);
        let last = metrics(&reports);
        assert!(last.assigned && last.cycles.len() >= metrics(&made).cycles.len());
        // Both count the same clusters: the instrument's of the tiles, and what was demultiplexed.
        let clusters: u64 = last.samples.iter().map(|sample| sample.clusters).sum();
        let passing: f64 = last.lanes.iter().filter_map(|lane| lane.passing).sum();
        assert!(clusters > 0 && (clusters as f64 - passing).abs() < 0.5, "{clusters} {passing}");
        assert!(last.samples.iter().any(|sample| sample.sample.is_none()));
        assert!(last.samples.iter().all(|sample| sample.bases >= sample.q30_bases));
        assert_eq!(last.tiles.len(), 4, "of the bundled run");
    }
}

#[test]
fn a_wrong_sheet_ends_the_work_before_the_run_does_and_the_remedy_stays_sealed() {
    let mut files = bundled_run();
    let truth: serde_json::Value =
        serde_json::from_slice(&std::fs::read(Path::new(DEMO).join("truth.json")).unwrap())
            .unwrap();
    let (_, sheet) = files.iter_mut().find(|(path, _)| path == "SampleSheet.csv").unwrap();
    let mut wrong = String::from_utf8(sheet.clone()).unwrap();
    for sample in truth["samples"].as_array().unwrap() {
        let index = sample["index2"].as_str().unwrap();
        let complement = runfolder::reverse_complement(index.as_bytes());
        wrong = wrong.replace(index, std::str::from_utf8(&complement).unwrap());
    }
    *sheet = wrong.into_bytes();
    let (lab, id) = (ProjectId::generate(), DatasetId::generate());
    let hub = Arc::new(MemoryHub::new(&[lab], TaskKind::Demultiplex, id));
    let settings =
        RunSettings { default_project: Some(lab), demultiplex: true, ..RunSettings::default() };
    let mut arriving = Arriving::new(&hub, lab, &settings);
    arriving.more(&files.iter().filter(|(path, _)| is_early(path)).collect::<Vec<_>>());
    hub.state().early = true;
    let (result, end, receipt) = run_task(&hub);
    assert!(matches!(result, Err(TaskError::Demultiplex { .. })), "{result:?}");
    let reason = end.reason.unwrap();
    assert!(reason.ends_with("nearly no read matches a sample of the sheet"), "{reason}");
    let made = hub.files(receipt.outputs[0].dataset);
    let told = String::from_utf8_lossy(&made["error.txt"]).into_owned();
    assert!(told.contains("replace every i5 index by its reverse complement"), "{told}");
    assert!(!made.keys().any(|path| path.starts_with("FASTQ/")), "{:?}", made.keys());
}
