//! A real folder, real packs, real seals, and a hub in memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::{Bytes, Custodian, ProjectId, RunSettings};
use dataset::OpenDataset;
use proof::{Card, SigningKey, sign_statement};
use seal::recipient::RecipientSecret;

use super::hub::{Fate, MemoryHub};
use crate::drive::{BrokerError, Event, Job, Outcome, Resources, send_run};
use crate::machine::Rules;
use crate::state::{NewRun, RunState};

const PACK: usize = 64 * 1024;
/// A text that must be found nowhere but in the run folder.
const CANARY: &[u8] = b"GATTACA-canary-GATTACA";

struct Bench {
    place: tempfile::TempDir,
    hub: Arc<MemoryHub>,
    open: OpenDataset,
    state: PathBuf,
    log: Arc<Mutex<String>>,
}

impl Bench {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let key = SigningKey::from_seed(&[1; 32]);
        let custodian = RecipientSecret::generate().unwrap();
        let project = ProjectId::generate();
        let card = Card {
            hub: "h".into(),
            project,
            custodian: Custodian::Platform,
            recipient: Bytes(custodian.public().to_bytes()),
            number: 1,
            test: false,
            writers: vec![],
        };
        fs::create_dir_all(place.path().join("run")).unwrap();
        let new = NewRun {
            hub_address: "https://hub.example",
            folder: &place.path().join("run"),
            name: "240611_A01234",
            project,
            card: &sign_statement(&card, &key),
            settings: &RunSettings { demultiplex: true, ..RunSettings::default() },
        };
        let state = RunState::create(&place.path().join("states"), &new).unwrap();
        let open = state.open().unwrap().clone();
        let folder = place.path().join("states").join(state.dataset().to_string());
        Self { place, hub: Arc::default(), open, state: folder, log: Arc::default() }
    }

    fn run(&self) -> PathBuf {
        self.place.path().join("run")
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.run().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// A folder of small files and one large file, about two megabytes.
    fn fill(&self) {
        self.write("RunInfo.xml", b"<RunInfo/>");
        for n in 0..40_u32 {
            let mut content = CANARY.repeat(40);
            content.extend((0..20_000_u32).map(|i| u8::try_from((i * 7 + n) % 251).unwrap()));
            self.write(&format!("Data/L001/C{n}.1/s_1_1101.bcl"), &content);
        }
        self.write("Data/L001/L001_1.cbcl", &CANARY.repeat(50_000));
        self.write("empty", b"");
    }

    fn finish(&self) {
        self.write("CopyComplete.txt", b"");
    }

    fn job(&self) -> Job {
        let log = Arc::clone(&self.log);
        Job {
            state: RunState::read(&self.state).unwrap(),
            uplink: Arc::<MemoryHub>::clone(&self.hub),
            signer: SigningKey::from_seed(&[2; 32]),
            rules: Rules {
                scan_every_ms: 20,
                second_scan_ms: 5,
                settle_ms: 50,
                ..Rules::default()
            },
            resources: Resources { pack_bytes: PACK, filling: 2, sending: 3, workers: 2 },
            keep: None,
            throttle: Arc::default(),
            ends_on_attention: true,
            stages: Vec::new(),
            report: Arc::new(move |event: Event| {
                log.lock().unwrap().push_str(&format!("{event:?}\n"));
            }),
        }
    }

    /// What arrived is what lies in the folder.
    fn compare(&self) {
        let sent = self.hub.contents(&self.open);
        let seen = crate::scan(&self.run()).unwrap();
        assert_eq!(sent.len(), seen.len());
        for file in seen {
            assert_eq!(
                sent[&*file.path],
                fs::read(self.run().join(&*file.path)).unwrap(),
                "{}",
                &*file.path
            );
        }
    }
}

#[tokio::test]
async fn a_finished_folder_is_sent_whole_and_its_key_is_let_go() {
    let bench = Bench::new();
    bench.fill();
    bench.finish();
    let Outcome::Closed { manifest, sent_bytes } = send_run(bench.job()).await.unwrap() else {
        panic!("it closes")
    };
    bench.compare();
    assert_eq!(sent_bytes, bench.hub.kept().received_bytes);
    let state = RunState::read(&bench.state).unwrap();
    assert!(state.is_done() && state.manifest_digest() == Some(manifest));
    assert!(!bench.state.join("journal").exists());
    let text = fs::read_to_string(bench.state.join("state.json")).unwrap();
    assert!(!text.contains(&data_encoding::HEXLOWER.encode(bench.open.key().expose())));
    // Given again it does nothing.
    let again = send_run(bench.job()).await.unwrap();
    assert_eq!(again, Outcome::Closed { manifest, sent_bytes: 0 });
}

#[tokio::test]
async fn a_folder_is_sent_while_it_grows() {
    let bench = Arc::new(Bench::new());
    bench.write("RunInfo.xml", b"<RunInfo/>");
    let sending = tokio::spawn(send_run(bench.job()));
    for n in 0..20_u8 {
        let path = format!("Data/{n}.bcl");
        bench.write(&path, &vec![n; 30_000]);
        // Until the hub has something of it: growing and sending go on side by side.
        while n == 3 && bench.hub.kept().objects.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bench.write(&path, &vec![n; 50_000]);
        bench.write("InterOp/QMetricsOut.bin", &vec![n; usize::from(n) * 100 + 1]);
    }
    bench.finish();
    assert!(matches!(sending.await.unwrap().unwrap(), Outcome::Closed { .. }));
    bench.compare();
}

#[tokio::test]
async fn the_hub_is_told_what_is_whole_when_a_stage_is_over_and_a_kill_changes_nothing() {
    let bench = Bench::new();
    bench.write("RunInfo.xml", b"<RunInfo/>");
    let calls = |lane: u32, cycle: u32| {
        let path = format!("Data/Intensities/BaseCalls/L00{lane}/C{cycle}.1/a.cbcl");
        bench.write(&path, &vec![u8::try_from(cycle).unwrap(); 20_000]);
    };
    for cycle in 1..=4 {
        calls(1, cycle);
        calls(2, cycle);
    }
    let job = || Job { stages: vec![4, 7], ..bench.job() };
    let told = async |count: usize| {
        let sending = tokio::spawn(send_run(job()));
        while bench.hub.kept().manifests.len() < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        sending.abort();
        let _aborted = sending.await;
    };
    // One lane is further than the other, and that does not count.
    calls(1, 5);
    let sending = tokio::spawn(send_run(job()));
    while bench.hub.kept().objects.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    calls(2, 5);
    while bench.hub.kept().manifests.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    sending.abort();
    let _aborted = sending.await;
    let whole = bench.hub.contents(&bench.open);
    for lane in 1..=2 {
        for cycle in 1..=4 {
            let path = format!("Data/Intensities/BaseCalls/L00{lane}/C{cycle}.1/a.cbcl");
            assert!(whole.contains_key(&path), "{path}");
        }
    }
    for cycle in 6..=8 {
        calls(1, cycle);
        calls(2, cycle);
    }
    told(2).await;
    assert_eq!(bench.hub.kept().so_far, 2);
    bench.finish();
    assert!(matches!(send_run(job()).await.unwrap(), Outcome::Closed { .. }));
    bench.compare();
    let kept = bench.hub.kept();
    let numbers: Vec<_> = kept
        .manifests
        .iter()
        .map(|signed| {
            let (manifest, _) = proof::open_statement::<proof::Manifest>(signed).unwrap();
            (manifest.number, manifest.previous)
        })
        .collect();
    let digests: Vec<_> = kept.manifests.iter().map(proof::digest_of).collect();
    assert_eq!(numbers, [(1, None), (2, Some(digests[0])), (3, Some(digests[1]))]);
}

#[tokio::test]
async fn cut_lines_and_lost_answers_end_in_the_same_run() {
    let bench = Bench::new();
    bench.fill();
    bench.finish();
    let fates =
        [Fate::LostOnTheWay, Fate::Kept, Fate::AnswerLost, Fate::AnswerLost, Fate::LostOnTheWay];
    bench.hub.kept().fates.extend(fates);
    bench.hub.kept().closing.extend([Fate::LostOnTheWay, Fate::AnswerLost]);
    tokio::time::timeout(Duration::from_secs(60), send_run(bench.job())).await.unwrap().unwrap();
    bench.compare();
    let kept = bench.hub.kept();
    let held: u64 = kept.objects.values().map(|(bytes, _)| bytes.sealed.len() as u64).sum();
    // Two answers were lost, so two packs came twice, identical.
    assert!(kept.received_bytes <= held + 2 * (PACK as u64 + 1024));
}

/// Starts, lets so many packs through, and kills the broker while the next ones are under way.
async fn killed_after(bench: &Bench, packs: usize, arrived: bool) {
    let stuck = std::iter::repeat_n(Fate::Stuck { arrived }, 3);
    bench.hub.kept().fates = std::iter::repeat_n(Fate::Kept, packs).chain(stuck).collect();
    let sending = tokio::spawn(send_run(bench.job()));
    while !bench.hub.kept().fates.is_empty() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    sending.abort();
    let _aborted = sending.await;
}

#[tokio::test]
async fn after_a_kill_only_what_was_under_way_is_sent_again() {
    let bench = Bench::new();
    bench.fill();
    bench.finish();
    let content: u64 = crate::scan(&bench.run()).unwrap().iter().map(|file| file.stamp.bytes).sum();
    for round in 0..4 {
        killed_after(&bench, 4, round % 2 == 0).await;
    }
    send_run(bench.job()).await.unwrap();
    bench.compare();
    let received = bench.hub.kept().received_bytes;
    let objects = bench.hub.kept().objects.len() as u64;
    // Four kills, each with three packs under way to the hub at most.
    let most = content + 4 * 3 * PACK as u64 + objects * 4096;
    assert!(received <= most, "{received} bytes for a folder of {content}; {most} is the most");
}

#[tokio::test]
async fn without_its_journal_a_run_is_sent_anew_and_closes() {
    let bench = Bench::new();
    bench.fill();
    bench.finish();
    killed_after(&bench, 6, true).await;
    let before = bench.hub.kept().objects.len();
    fs::remove_file(bench.state.join("journal")).unwrap();
    send_run(bench.job()).await.unwrap();
    assert!(bench.log.lock().unwrap().contains("Reconciled"), "the hub's old objects were counted");
    assert!(bench.hub.kept().objects.len() > before);
    bench.compare();
}

#[tokio::test]
async fn what_the_hub_has_lost_is_sent_again_before_the_run_closes() {
    let bench = Bench::new();
    bench.fill();
    killed_after(&bench, 8, true).await;
    let lost = *bench.hub.kept().objects.keys().next().unwrap();
    bench.hub.kept().objects.remove(&lost);
    bench.finish();
    send_run(bench.job()).await.unwrap();
    bench.compare();
}

#[tokio::test]
async fn a_kill_between_the_manifest_and_its_answer_does_no_harm() {
    let bench = Bench::new();
    bench.fill();
    bench.finish();
    bench.hub.kept().closing.push_back(Fate::AnswerLost);
    let sending = tokio::spawn(send_run(bench.job()));
    while bench.hub.kept().manifests.is_empty() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    sending.abort();
    let _aborted = sending.await;
    let before = bench.hub.kept().received_bytes;
    send_run(bench.job()).await.unwrap();
    assert_eq!(bench.hub.kept().received_bytes, before, "nothing was sent again");
    assert_eq!(bench.hub.kept().manifests.len(), 1);
    bench.compare();
}

#[tokio::test]
async fn a_refused_key_parks_the_run_and_says_what_to_do() {
    let bench = Bench::new();
    bench.fill();
    bench.finish();
    bench.hub.kept().fates.extend([Fate::Kept, Fate::Refused]);
    let error = send_run(bench.job()).await.unwrap_err();
    assert!(matches!(error, BrokerError::Parked { .. }), "{error}");
    assert_eq!(error.to_string(), "the run waits, because the hub refuses it: the key was revoked");
    assert!(error.hint().is_some());
    // Once the key is let in again, the run goes on.
    send_run(bench.job()).await.unwrap();
    bench.compare();
}

#[tokio::test]
async fn a_folder_without_a_mark_asks_for_a_person_and_may_be_taken_as_it_is() {
    let bench = Bench::new();
    bench.fill();
    let mut job = bench.job();
    job.rules.attention_ms = 100;
    assert_eq!(send_run(job).await.unwrap(), Outcome::Attention(crate::NO_MARK));
    assert_eq!(bench.hub.kept().attention, [crate::NO_MARK]);
    let mut job = bench.job();
    job.rules.as_it_is = true;
    assert!(matches!(send_run(job).await.unwrap(), Outcome::Closed { .. }));
    bench.compare();
}

#[tokio::test]
async fn a_copy_is_kept_that_equals_what_was_sent() {
    let bench = Bench::new();
    bench.fill();
    bench.finish();
    let kept = bench.place.path().join("kept");
    let job = Job { keep: Some(kept.clone()), ..bench.job() };
    send_run(job).await.unwrap();
    for (path, content) in bench.hub.contents(&bench.open) {
        assert_eq!(fs::read(kept.join(path)).unwrap(), content);
    }
}

#[tokio::test]
async fn two_brokers_do_not_send_one_run() {
    let bench = Bench::new();
    bench.fill();
    let first = tokio::spawn(send_run(bench.job()));
    while bench.hub.kept().objects.is_empty() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let error = send_run(bench.job()).await.unwrap_err();
    assert!(error.to_string().contains("another process is sending this run"), "{error}");
    first.abort();
}

fn holds(folder: &Path, needle: &[u8]) -> bool {
    crate::scan(folder).unwrap().iter().any(|file| {
        let bytes = fs::read(folder.join(&*file.path)).unwrap();
        bytes.windows(needle.len()).any(|window| window == needle)
    })
}

#[tokio::test]
async fn no_plaintext_name_or_key_is_written_down_or_told() {
    let bench = Bench::new();
    bench.fill();
    bench.finish();
    killed_after(&bench, 8, true).await;
    let states = bench.place.path().join("states");
    let journal = fs::read(bench.state.join("journal")).unwrap();
    let key = bench.open.key().expose();
    let has = |haystack: &[u8], needle: &[u8]| {
        haystack.windows(needle.len()).any(|window| window == needle)
    };
    assert!(!has(&journal, CANARY) && !has(&journal, b"s_1_1101") && !has(&journal, key));
    assert!(!holds(&states, CANARY) && !holds(&states, b"s_1_1101"));
    for (bytes, _) in bench.hub.kept().objects.values() {
        assert!(!has(&bytes.sealed, CANARY));
    }
    let log = bench.log.lock().unwrap();
    let hex = data_encoding::HEXLOWER.encode(key);
    assert!(!log.contains("GATTACA") && !log.contains("s_1_1101") && !log.contains(&hex));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        for file in ["state.json", "journal"] {
            let mode = fs::metadata(bench.state.join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
    }
}
