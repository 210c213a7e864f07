//! The website with data in it, in real Chromium (`testing/browser/website.mjs`): a lab's hub with runs that arrive and that are
//! done, an app that is launched from its form, an owner's vault, a clinic with cases, what the operator sees, and lists that
//! go on behind a hundred thousand rows.
//!
//! Handlers, database, store and keys are the hub's own; TLS in front of them is the test's, because the hub of these tests
//! answers under one name on no port.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use api::{
    AppId, BarcodeFigures, CycleFigures, Dataset, DatasetId, DatasetKind, ErrorCode,
    ExecutionState, LaneFigures, ProjectId, RUN_METRICS_PATH, ReadFigures, RegisterApp, RunMetrics,
    RunProgress, SampleFigures, Task, TileFigures, TransferProgress,
};
use dataset::OpenDataset;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

use super::chromium::{packages, root, run};
use super::material::{at, card, close, content, creation, make, put, put_all, sent};
use super::owners::Owned;
use super::pages::{PASSWORD, TestBrowser};
use super::tasks::{Started, Story, Vault};
use crate::testing::{Person, TestHub};

/// Rows behind the first page of the lists that are measured.
const MANY: u32 = 100_000;

/// Answers for the hub over TLS, on a port of its own, as long as it is kept.
pub(super) struct Front {
    pub(super) port: u16,
    ended: tokio::task::JoinHandle<()>,
}

impl Front {
    async fn of(hub: &TestHub) -> Self {
        Self::over(hub.router()).await
    }

    pub(super) async fn over(router: axum::Router) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let certificate = CertificateDer::from(made.cert.der().to_vec());
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(crate::tls::provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let ended = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, router) = (acceptor.clone(), router.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = TowerToHyperService::new(router);
                    let _the_browser_went_away = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { port, ended }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.ended.abort();
    }
}

/// Somebody gets a name and a password.
pub(super) async fn with_password(hub: &TestHub, person: &Person, name: &str) {
    let body = json!({"sign_in_name": name, "password": PASSWORD});
    let answer = hub.call(&person.key, "PUT", "/api/v1/account/password", body).await;
    assert!(answer.status.is_success(), "{answer:?}");
}

/// A number that goes up and down like a measured one.
fn wave(at: u32, around: f64, by: f64) -> Option<f64> {
    let step = f64::from(at.wrapping_mul(2_654_435_761) >> 16) / 65_536.0;
    let value = around + by * ((f64::from(at) / 37.0).sin() + step - 0.5);
    // A number that JSON gives back to the bit.
    Some((value * 8.0).round() / 8.0)
}

/// Metrics as a run of two lanes on a large instrument has them.
fn metrics() -> RunMetrics {
    let lane = |lane| LaneFigures {
        lane,
        clusters: Some(2.1e9),
        passing: Some(1.7e9),
        passing_percent: Some(81.0),
        density: Some(2_961_000.0),
        density_passing: Some(2_398_000.0),
        occupied_percent: Some(96.0),
    };
    let read = |number, indexed, cycles, bases| ReadFigures {
        number,
        indexed,
        cycles,
        yield_bases: Some(bases),
        q30_percent: Some(92.5),
        error_percent: Some(0.3),
    };
    let tiles = (1..=2_u16).flat_map(|lane| {
        (0..312_u32).map(move |tile| TileFigures {
            lane,
            tile: 1101 + tile,
            density: wave(tile + u32::from(lane), 2_900_000.0, 90_000.0),
            passing_percent: wave(tile * 3 + u32::from(lane), 80.0, 4.0),
        })
    });
    let sample = |number: u32| SampleFigures {
        lane: 1 + number % 2,
        sample: (number > 0).then(|| format!("Panel-{number:02}-NA{}", 12_877 + number)),
        clusters: 60_000_000 + u64::from(number * 7_919_u32 % 31) * 1_000_000,
        bases: 18_000_000_000 + u64::from(number * 104_729_u32 % 97) * 100_000_000,
        q30_bases: 17_000_000_000,
    };
    RunMetrics {
        planned_cycles: 318,
        last_cycle: Some(318),
        assigned: true,
        reads: vec![
            read(1, false, 151, 2.5e11),
            read(2, true, 8, 1.2e10),
            read(3, true, 8, 1.2e10),
            read(4, false, 151, 2.4e11),
        ],
        lanes: vec![lane(1), lane(2)],
        tiles: tiles.collect(),
        cycles: (1..=318_u16)
            .map(|cycle| CycleFigures {
                cycle,
                q30_percent: wave(u32::from(cycle), 95.0 - f64::from(cycle % 152) / 15.0, 1.0),
            })
            .collect(),
        samples: (0..12).map(sample).collect(),
        unknown_barcodes: (0..10_u32)
            .map(|number| BarcodeFigures {
                lane: 1 + number % 2,
                barcode: ["GGGGGGGG+AGATCTCG", "ACGTTGCA+GGGGGGGG"][number as usize % 2].to_owned(),
                clusters: 900_000 / u64::from(number + 1),
            })
            .collect(),
        remarks: vec![],
    }
}

const READS: &[u8] = b"@A01234:7:HXXX:1:1101:1000:2000 1:N:0:ACGT\nGATTACA\n+\nFFFFFFF\n";

/// A run that a vault demultiplexed: a sample of it, and a result with its metrics.
async fn demultiplexed(story: &mut Story) -> (DatasetId, DatasetId) {
    let run = story.run().await;
    let started = story.next().await;
    let (vault, claimed) = Vault::of(&story.hub, &started).await;
    let hub = &story.hub;
    let sample = vault.sample(hub, story.project, run.dataset()).await;
    let digest = card(hub, &vault.key, story.project).await;
    let open = OpenDataset::create(DatasetId::generate(), story.project, digest).unwrap();
    let name = "Undetermined reads and reports";
    let body = creation(hub, &open, DatasetKind::Result, name, Some(run.dataset()));
    hub.call(&vault.key, "POST", "/api/v1/datasets", body).await.ok::<Dataset>();
    let text = serde_json::to_vec(&metrics()).unwrap();
    let files = content(&open, &[(RUN_METRICS_PATH, text.as_slice())]);
    let rest = put_all(hub, &vault.key, &open, files, 1, None).await;
    close(hub, &vault.key, &vault.key, &rest, "").await.ok::<Dataset>();
    let receipt = vault.receipt(&claimed, &[&sample, &rest], true);
    vault.end(hub, &receipt).await.ok::<Task>();
    drop(started);
    (run.dataset(), sample.dataset)
}

/// A run of which some has arrived, and its broker says how much.
async fn arriving(story: &Story) -> DatasetId {
    let (hub, key) = (&story.hub, &story.ada.key);
    let open = make(hub, key, story.project, DatasetKind::Run, "261122_A09999_0043").await;
    let part = content(&open, &[("RunInfo.xml", READS)]).parts.remove(0);
    put(hub, key, &open, &part).await.ok::<api::Acknowledged>();
    tell(hub, &story.ada, open.dataset(), 2).await;
    open.dataset()
}

async fn tell(hub: &TestHub, person: &Person, run: DatasetId, faults: u64) {
    let progress = TransferProgress {
        files: 30_512,
        files_whole: 18_704,
        bytes: 812 << 30,
        bytes_held: 501 << 30,
        verifying: false,
        bytes_per_second: 187 << 20,
        faults_survived: faults,
        seconds_left: Some(1_702),
    };
    let path = format!("/api/v1/runs/{run}/progress");
    let told: RunProgress = hub.call(&person.key, "PUT", &path, progress).await.ok();
    assert_eq!(told.told.unwrap().transfer.faults_survived, faults);
}

/// An app with a form of every kind of field.
async fn app(story: &Story) -> AppId {
    let package =
        sent(&story.hub, &story.ada.key, story.project, DatasetKind::App, &[("package", b"a")])
            .await;
    let manifest = json!({
        "format": "chorion.app/1", "name": "align", "version": "1.2.0", "title": "Align and call",
        "summary": "Aligns reads to a reference and calls variants.", "licence": "MIT",
        "scopes": ["read sample", "create app-result"],
        "input": [{"name": "reads", "kind": "fastq-pair", "label": "Reads", "help": "One library.", "min": 1, "max": 1}],
        "param": [
            {"name": "depth", "kind": "integer", "label": "Least depth", "help": "Of a called site.", "default": 8, "min": 1, "max": 500},
            {"name": "model", "kind": "choice", "label": "Model", "default": "fast", "choices": ["fast", "sensitive"]},
            {"name": "duplicates", "kind": "flag", "label": "Mark duplicates", "default": true},
        ],
    });
    let body = RegisterApp {
        id: AppId::generate(),
        name: "align".into(),
        version: "1.2.0".into(),
        title: "Align and call".into(),
        digest: proof::sha256(b"app"),
        package: package.dataset(),
        manifest: manifest.to_string(),
    };
    story.hub.call(&story.ada.key, "POST", "/api/v1/apps", &body).await.ok::<api::App>().id
}

/// A vault for the session that the browser launched: looks at what the hub sealed for the person, prints, and ends.
async fn session(hub: &TestHub, person: &Person, started: Started) {
    let (vault, claimed) = Vault::of(hub, &started).await;
    let result = claimed.result.as_ref().unwrap();
    let open = vault.open(&result.key);
    let settings = open.open_label("launch settings", &result.settings).unwrap();
    let settings: Value = serde_json::from_slice(&settings).unwrap();
    assert_eq!(settings["params"], json!({"depth": "12", "model": "fast", "duplicates": "true"}));
    let printed = b"12 877 431 reads aligned\n<b>none</b> was left out\n";
    let files: [(&str, &[u8]); 2] = [("variants.vcf.gz", READS), ("log/stdout.txt", printed)];
    let manifest = put_all(hub, &vault.key, &open, content(&open, &files), 1, None).await;
    close(hub, &vault.key, &vault.key, &manifest, "").await.ok::<Dataset>();
    vault.end(hub, &vault.receipt(&claimed, &[&manifest], true)).await.ok::<Task>();
    let done: Dataset = hub.get(&person.key, &at(open.dataset(), "")).await.ok();
    assert_eq!(done.execution, ExecutionState::Complete);
}

/// Copies of a dataset's row, older than everything: what no page opens, and every list goes past.
async fn filled(hub: &TestHub, like: DatasetId, kind: &str) {
    let mut tx = hub.hub.db.write().await.unwrap();
    let columns: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM pragma_table_info('datasets') WHERE name NOT IN ('id', 'kind', 'parent', 'task')",
    )
    .fetch_all(&mut *tx)
    .await
    .unwrap();
    let columns = columns.join(", ");
    let prefix = if kind == "run" { "00000001" } else { "00000002" };
    let fill = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY})
         INSERT INTO datasets (id, kind, {columns})
         SELECT printf('{prefix}-0000-7000-8000-%012x', i), '{kind}', {columns}
         FROM n, (SELECT {columns} FROM datasets WHERE id = $1)"
    );
    sqlx::query(sqlx::AssertSqlSafe(fill)).bind(like.to_string()).execute(&mut *tx).await.unwrap();
    // Nobody rebuilds this hub.
    sqlx::query("DELETE FROM undescribed").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
}

/// Runs the browser over a plan; gives what it found.
async fn browse(packages: &Path, plan: &Value, shots: &str) -> Value {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), plan.to_string()).unwrap();
    let screenshots = root().join("target/screenshots/website").join(shots);
    let arguments = [file.path().to_str().unwrap(), screenshots.to_str().unwrap()];
    let said = run("website.mjs", packages, &arguments).await;
    let said: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(said["violations"], 0);
    println!("{shots}: {said}");
    said
}

fn page(path: impl Into<String>, title: &str, says: impl Into<Option<&'static str>>) -> Value {
    json!({"path": path.into(), "title": title, "says": says.into()})
}

/// A form that is filled in and sent, and what stands there then.
fn act(path: String, title: &str, fill: Value, choose: Value, press: &str, says: &str) -> Value {
    json!({"path": path, "title": title, "fill": fill, "choose": choose, "press": press, "says": says})
}

#[tokio::test]
async fn a_runs_metrics_are_a_vaults_word_and_for_those_who_may_read() {
    let mut story = Story::begin().await;
    let (run, _) = demultiplexed(&mut story).await;
    let (hub, ada) = (&story.hub, &story.ada);
    let path = format!("/api/v1/runs/{run}/metrics");
    let found: RunMetrics = hub.get(&ada.key, &path).await.ok();
    assert_eq!(found, metrics());
    // What a person brings as a result of the run is newer, and no vault's word.
    let digest = card(hub, &ada.key, story.project).await;
    let open = OpenDataset::create(DatasetId::generate(), story.project, digest).unwrap();
    let body = creation(hub, &open, DatasetKind::Result, "forged", Some(run));
    hub.call(&ada.key, "POST", "/api/v1/datasets", body).await.ok::<Dataset>();
    let files = content(&open, &[(RUN_METRICS_PATH, b"{}".as_slice())]);
    let manifest = put_all(hub, &ada.key, &open, files, 1, None).await;
    close(hub, &ada.key, &ada.key, &manifest, "").await.ok::<Dataset>();
    assert_eq!(hub.get(&ada.key, &path).await.ok::<RunMetrics>(), found);
    let bob = hub.person(ada, "Bob").await;
    assert_eq!(hub.get(&bob.key, &path).await.code(), ErrorCode::NotFound);
    let member = format!("/api/v1/projects/{}/members/{}", story.project, bob.account);
    hub.call(&ada.key, "PUT", &member, json!({"right": "browse"})).await.ok::<Value>();
    assert_eq!(hub.get(&bob.key, &path).await.code(), ErrorCode::Forbidden);
    let none = make(hub, &ada.key, story.project, DatasetKind::Run, "new").await;
    let path = format!("/api/v1/runs/{}/metrics", none.dataset());
    assert_eq!(hub.get(&ada.key, &path).await.code(), ErrorCode::Conflict);
}

#[tokio::test]
async fn what_a_broker_says_of_its_run_is_shown_until_the_run_is_closed() {
    let story = Story::begin().await;
    let run = arriving(&story).await;
    let path = format!("/api/v1/runs/{run}/progress");
    let shown: RunProgress = story.hub.get(&story.ada.key, &path).await.ok();
    assert_eq!((shown.objects, shown.told.unwrap().transfer.faults_survived), (1, 2));
    with_password(&story.hub, &story.ada, "ada").await;
    let mut browser = TestBrowser::new(&story.hub);
    browser.sign_in("ada", PASSWORD).await;
    let page = browser.get(&format!("/datasets/{run}")).await;
    let text = String::from_utf8(page.body).unwrap();
    assert!(text.contains("Faults survived") && text.contains("http-equiv=\"refresh\""));
    let now: Value = browser.get(&format!("/datasets/{run}/live")).await.ok();
    assert_eq!((&now["state"], &now["percent"]), (&json!("receiving"), &json!(61)));
    assert_eq!(now["facts"]["faults"], "2");
    let done =
        sent(&story.hub, &story.ada.key, story.project, DatasetKind::Run, &[("x", READS)]).await;
    let path = format!("/api/v1/runs/{}/progress", done.dataset());
    let told = shown.told.unwrap().transfer;
    let answer = story.hub.call(&story.ada.key, "PUT", &path, told).await;
    assert_eq!(answer.code(), ErrorCode::Conflict);
}

#[tokio::test]
async fn a_person_in_a_browser_launches_into_projects_that_the_hub_may_open_and_into_no_owners() {
    let mut owned = Owned::begin().await;
    let (_, sample) = demultiplexed(&mut owned.story).await;
    let app = app(&owned.story).await;
    let owners = owned.card.project.to_string();
    let Story { hub, ada, started, project } = &mut owned.story;
    with_password(hub, ada, "ada").await;
    let mut browser = TestBrowser::new(hub);
    browser.sign_in("ada", PASSWORD).await;
    let path = format!("/apps/{app}/launch");
    let (sample, project) = (sample.to_string(), project.to_string());
    let fields = |project: &str, depth: &str| {
        let all = [
            ("input-reads", sample.as_str()),
            ("param-depth", depth),
            ("param-model", "fast"),
            ("param-duplicates", "true"),
            ("project", project),
            ("name", "called"),
        ];
        all.map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    for (project, depth, says) in [
        (&owners, "12", "alone may read what is asked"),
        (&project, "0", "is outside of what the app takes"),
        (&project, "many", "takes a whole number"),
    ] {
        let given = fields(project, depth);
        let given: Vec<_> = given.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let refused = browser.post(&path, &path, &given).await;
        let text = String::from_utf8_lossy(&refused.body).into_owned();
        assert!(refused.status.is_client_error() && text.contains(says), "{says}: {text}");
    }
    let given = fields(&project, "12");
    let given: Vec<_> = given.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let launched = browser.post(&path, &path, &given).await;
    let page = launched.headers.get("location").unwrap().to_str().unwrap().to_owned();
    session(hub, ada, started.recv().await.unwrap()).await;
    let text = String::from_utf8(browser.get(&page).await.body).unwrap();
    assert!(text.contains("12 877 431 reads aligned"), "{text}");
    assert!(text.contains("&#60;b&#62;none") && !text.contains("<b>none"), "it is text");
    let events: api::Page<api::Event> =
        hub.get(&ada.key, "/api/v1/audit/events?limit=1000").await.ok();
    assert!(events.items.iter().any(|event| event.act == "session.log"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_chromium_the_pages_of_lab_owner_and_operator_stand_with_data_in_them() {
    let Some(packages) = packages() else {
        println!("skipped: not here: Chromium and its packages (testing/setup.sh browser)");
        return;
    };
    let mut owned = Owned::begin().await;
    let owner_project: ProjectId = owned.card.project;
    let owner_sample = owned.input.dataset();
    let (done, sample) = demultiplexed(&mut owned.story).await;
    let app = app(&owned.story).await;
    let coming = arriving(&owned.story).await;
    let waiting = owned.launch().await;
    let asked = owned.story.next().await;
    let asking = Vault::new(owned.hub(), asked.task);
    asking.claim(owned.hub(), &asked.ticket).await.ok::<api::ClaimedTask>();
    // Its place is wanted for the session that the browser launches.
    let cancel = format!("/api/v1/appsessions/{}/cancel", waiting.id);
    owned.hub().call(owned.ada(), "POST", &cancel, ()).await.ok::<api::AppSession>();
    let story = &mut owned.story;
    with_password(&story.hub, &story.ada, "ada").await;
    let block =
        json!({"subject": "address:203.0.113.7", "seconds": 3600, "reason": "knocked for an hour"});
    story.hub.call(&story.ada.key, "POST", "/api/v1/blocks", block).await.ok::<Value>();
    // A first page of runs whose names are opened, before those that nobody opens.
    let bob = story.hub.person(&story.ada, "Bob").await.account.to_string();
    for number in 0..60 {
        let name = format!("2611{:02}_A09999_{number:04}_AHCHRNDRXX", number % 30 + 1);
        make(&story.hub, &story.ada.key, story.project, DatasetKind::Run, &name).await;
    }
    filled(&story.hub, done, "run").await;
    filled(&story.hub, sample, "sample").await;

    let front = Front::of(&story.hub).await;
    let id = story.project;
    let plan = json!({
        "port": front.port, "sign_in_name": "ada", "password": PASSWORD,
        "pages": [
            page("/", "home", "Good day"),
            page("/runs", "runs", "261"),
            page("/samples", "samples", None),
            page("/results", "results", "Undetermined reads"),
            page("/sessions", "sessions", "align"),
            page("/projects", "projects", "key: owner alone"),
            page("/apps", "apps", "Align and call"),
            page("/vaults", "vaults", "What was asked of you"),
            page("/notices", "notices", None),
            page("/account", "account", None),
            page("/hub", "hub", "Scrubber"),
            page("/projects/new", "project-new", "A project whose key you alone hold"),
            page(format!("/projects/{id}"), "project", None),
            page(format!("/projects/{owner_project}"), "project-of-owner", None),
            page(format!("/projects/{id}/members"), "members", "Add a member"),
            page(format!("/projects/{id}/transfer"), "transfer", "You cannot get it back"),
            page(format!("/projects/{owner_project}/transfer"), "transfer-of-owner", "chorion approve transfer"),
            page(format!("/projects/{id}/import"), "import", "Show what to type"),
            page(format!("/projects/{owner_project}/import"), "import-of-owner", "without a command line"),
            page(format!("/projects/{id}/leave"), "leave", None),
            page("/organizations", "organizations", "No organization yet"),
            page(format!("/datasets/{done}"), "run", "Top unknown barcodes"),
            page(format!("/datasets/{coming}"), "run-arriving", "Faults survived"),
            page(format!("/datasets/{sample}"), "sample", None),
            page(format!("/datasets/{owner_sample}"), "sample-of-owner", "sealed name"),
            page(format!("/apps/{app}"), "app", "Launch"),
            page(format!("/apps/{app}/launch"), "launch", "read sample"),
        ],
        "lists": ["/runs", "/samples"],
        "acts": [
            act(format!("/projects/{id}/members"), "members-added", json!({"account": bob}), json!({"right": "read"}), "Add", "Bob"),
            act(format!("/projects/{id}/members"), "members-refused", json!({"account": "nobody"}), json!({}), "Add", "is the id of no account"),
            act("/projects/new".into(), "project-made", json!({"name": "Panel 12"}), json!({}), "Make it", "Panel 12"),
            act("/hub".into(), "hub-blocked", json!({"subject": "198.51.100.9", "reason": "knocks since noon"}), json!({"hours": "168"}), "Block", "knocks since noon"),
            act("/hub".into(), "hub-block-refused", json!({"subject": "somewhere", "reason": "knocks"}), json!({"what": "key"}), "Block", "is neither"),
            act(format!("/projects/{id}/import"), "import-command", json!({"name": "NA12878", "files": "a b.bam"}), json!({}), "Show what to type", "chorion sample import"),
        ],
        "live": format!("/datasets/{coming}"),
        "launch": {
            "path": format!("/apps/{app}/launch"),
            "input": {"name": "reads", "dataset": sample},
            "project": id,
            "params": {"depth": {"wrong": "9000", "right": "12"}},
            "prints": "12 877 431 reads aligned",
        },
    });
    let over = AtomicBool::new(false);
    let looking = async {
        let said = browse(&packages, &plan, "lab").await;
        over.store(true, Ordering::SeqCst);
        said
    };
    let Story { hub, ada, started: queue, .. } = story;
    let (hub, ada) = (&*hub, &*ada);
    let vault = async {
        let started = queue.recv().await.unwrap();
        session(hub, ada, started).await;
    };
    let broker = async {
        let mut every = tokio::time::interval(std::time::Duration::from_secs(1));
        for faults in 3.. {
            every.tick().await;
            if over.load(Ordering::SeqCst) {
                break;
            }
            tell(hub, ada, coming, faults).await;
        }
    };
    let (said, (), ()) = tokio::join!(looking, vault, broker);
    assert!(said["looked"].as_u64().unwrap() >= 4 * 27 + 4, "{said}");
    drop((front, asked));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_chromium_the_pages_of_a_clinic_stand_with_cases_in_them() {
    let Some(packages) = packages() else {
        println!("skipped: not here: Chromium and its packages (testing/setup.sh browser)");
        return;
    };
    let clinic = super::cases::Clinic::new().await;
    let patients: Vec<Value> = (0..60).map(super::cases::patient).collect();
    let cases = clinic.add(&patients).await;
    with_password(&clinic.hub, &clinic.doctor, "doctor").await;
    with_password(&clinic.hub, &clinic.admin, "admin").await;
    let front = Front::of(&clinic.hub).await;
    let (project, organization) = (clinic.project, clinic.id);
    let plan = |who: &str, pages: Value, acts: Value| {
        json!({
            "port": front.port, "sign_in_name": who, "password": PASSWORD, "pages": pages,
            "acts": acts, "lists": [], "live": null, "launch": null,
        })
    };
    let pages = json!([
        page(format!("/projects/{project}"), "project", "organization"),
        page(format!("/projects/{project}/members"), "members", "Who belongs to it"),
        page(format!("/projects/{project}/cases"), "cases", "Find a case"),
        page(format!("/projects/{project}/cases/new"), "case-new", "The test request"),
        page("/projects/new", "project-new", "Cases can be kept there"),
        page(format!("/cases/{}", cases[0]), "case", "Read what is said"),
        page(format!("/cases/{}/delete", cases[0]), "case-delete", "its samples and results stay"),
        page(format!("/organizations/{organization}"), "organization-of-doctor", "Accounts"),
    ]);
    let new = format!("/projects/{project}/cases/new");
    let mut read_in = act(
        new.clone(),
        "case-read-in",
        json!({}),
        json!({}),
        "Read it into the fields",
        "nothing is kept yet",
    );
    let text = super::cases::patient(0).to_string();
    read_in["file"] = json!({"field": "file", "into": "document", "text": text});
    let acts = json!([
        act(
            new.clone(),
            "case-refused",
            json!({"family_name": "Rossi", "phenotypes": "HP:0001250\nseizures"}),
            json!({"sex": "female"}),
            "Seal it, and add it",
            "Line 2 does not begin with an HPO term"
        ),
        read_in,
        act(
            new,
            "case-added",
            json!({
                "record_number": "MRN 990001", "family_name": "Rossi", "birth_date": "1987-03-09",
                "phenotypes": "HP:0001250 Seizure\nnot HP:0000252", "notes": "seen twice",
            }),
            json!({"sex": "female"}),
            "Seal it, and add it",
            "Read what is said of the patient"
        ),
        act(
            format!("/cases/{}", cases[0]),
            "case-link-refused",
            json!({"dataset": "the left one"}),
            json!({}),
            "Link it",
            "is the id of no sample or result"
        ),
        act(
            "/projects/new".into(),
            "project-made",
            json!({"name": "second ward"}),
            json!({}),
            "Make it",
            "own key holds it"
        ),
    ]);
    browse(&packages, &plan("doctor", pages, acts), "clinic").await;
    let key = format!("/organizations/{organization}/key");
    let pages = json!([
        page(format!("/organizations/{organization}"), "organization", "Invite somebody"),
        page(format!("/organizations/{organization}/fields"), "fields", None),
        page(key.clone(), "key", "Test it now"),
        page(format!("{key}/set"), "key-set", "A lost key is lost data"),
        page(format!("{key}/set?provider=aws_kms"), "key-set-aws", "Access key id"),
        page(format!("{key}/set?provider=azure_key_vault"), "key-set-azure", "Tenant id"),
        page(format!("{key}/set?provider=pkcs11"), "key-set-pkcs11", "PIN"),
        page(format!("{key}/policy"), "key-policy", "The least that works"),
        page(format!("{key}/drill"), "key-drill", "Rehearse a revocation"),
    ]);
    let arn = "arn:aws:kms:eu-central-1:111122223333:key/1234";
    let role = "arn:aws:iam::444455556666:role/hub";
    let acts = json!([
        act(
            format!("/organizations/{organization}"),
            "organization-invited",
            json!({"name": "Grace"}),
            json!({"role": "clinician"}),
            "Invite",
            "Grace is invited"
        ),
        act(
            key.clone(),
            "key-tested",
            json!({}),
            json!({}),
            "Test it now",
            "It was tested just now"
        ),
        act(
            format!("{key}/set?provider=pkcs11"),
            "key-refused",
            json!({"token": "t", "key": "k", "secret": "0000", "confirm": "no"}),
            json!({}),
            "Test it, and take it in use",
            "is not organization"
        ),
        act(
            format!("{key}/policy"),
            "key-policy-shown",
            json!({"key": arn, "principal": role}),
            json!({}),
            "Show it",
            "ChorionWrapsAndUnwraps"
        ),
        act(
            format!("{key}/drill"),
            "key-drill-begun",
            json!({}),
            json!({}),
            "Begin: use the key once",
            "The key serves"
        ),
    ]);
    browse(&packages, &plan("admin", pages, acts), "clinic").await;
}
