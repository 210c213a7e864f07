//! The owner's stories in a real browser. The first: words, pairing, a project, a request that is judged and approved on the phone while a
//! website stands open beside it, one that is refused, and a hub that lies. The second: a phone that is paired through its camera, a
//! project that another person takes, a copy of a sample for the platform, and a project whose key the platform holds from then on.
//!
//! Judged by Chromium and axe-core (`testing/setup.sh browser`), on pages that `make authenticator` built; where they are not, the
//! stories say so and judge nothing.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::owner::{OTHER_WORDS, WORDS, own_project, pack_read_quality, reads, restore, sample};
use super::stage::{Hub, Running, Stage};

const CHROMIUM: &str = "/usr/bin/chromium";
const PASSWORD: &str = "copper vein harbour seven";

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// A story's place: what it runs on, a hub, and the authenticator's pages beside it.
struct Scene {
    root: PathBuf,
    packages: PathBuf,
    origin: String,
    // Both end before the folder goes that they write into.
    _served: Running,
    hub: Hub,
    stage: Stage,
}

#[expect(
    clippy::print_stdout,
    reason = "what is skipped, and figures, are for whoever runs the test"
)]
impl Scene {
    /// Nothing where browser, packages or pages are not here.
    fn set() -> Option<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
        let (packages, pages) =
            (root.join("target/browser"), root.join("target/web/authenticator"));
        let are_here = Path::new(CHROMIUM).exists()
            && packages.join("installed").exists()
            && pages.join("hashes.txt").exists();
        if !are_here {
            println!(
                "skipped: not here: Chromium, its packages or the pages (testing/setup.sh browser, make authenticator)"
            );
            return None;
        }
        let stage = Stage::new();
        let (hub_port, port) = (free_port(), free_port());
        let origin = format!("http://localhost:{port}");
        let listen = format!("127.0.0.1:{hub_port}");
        let options = ["--vaults", "1", "--authenticator-origin", &origin];
        let hub = stage.hub_in("hub", &listen, &options);
        let listen = format!("127.0.0.1:{port}");
        let files = pages.to_str().unwrap();
        let serve =
            ["authenticator", "serve", "--files", files, "--listen", &listen, "--hub", &hub.url];
        let served = stage.start("nobody", &serve);
        stage.enrol(&hub, "ada");
        Some(Self { root, packages, origin, _served: served, hub, stage })
    }

    /// Lets somebody sign in on the website.
    fn password(&self, name: &str) {
        let password = self.stage.path("password");
        std::fs::write(&password, PASSWORD).unwrap();
        let set = ["account", "password", name, "--password-file", password.to_str().unwrap()];
        self.stage.call(name, &set);
    }

    /// Bob, with words of his own: how the stories know him. `phrase` names the key whose six words are meant.
    fn bob(&self, phrase: &str) -> Value {
        let stage = &self.stage;
        let invited = stage.call("ada", &["account", "invite", "bob"]);
        let code = invited["code"].as_str().unwrap();
        let hub = ["login", "--hub", &self.hub.url, "--ca", &self.hub.ca_file, "--code", code];
        stage.call("bob", &hub);
        restore(stage, "bob", OTHER_WORDS);
        let account = stage.call("bob", &["whoami"])["account"]["id"].clone();
        let keys = stage.call("bob", &["identity", "show", "--format", "json"]);
        json!({
            "home": stage.path("bob"), "account": account, "sealing": keys["sealing"],
            "phrase": keys[phrase], "words": OTHER_WORDS,
        })
    }

    /// Plays a story, told `more` beside where it plays. Says what it found.
    fn play(&self, script: &str, more: &Value) -> Value {
        let root = &self.root;
        let mut told = json!({
            "authenticator": self.origin, "hub": self.hub.url, "password": PASSWORD,
            "chorion": env!("CARGO_BIN_EXE_chorion"), "home": self.stage.path("ada"),
            "screenshots": root.join("target/screenshots/authenticator"),
            "vectors": root.join("vectors"), "module": root.join("target/web/wasm/authenticator.js"),
        });
        let more = more.as_object().unwrap().clone();
        told.as_object_mut().unwrap().extend(more);
        let output = Command::new("node")
            .arg(root.join("testing/browser").join(script))
            .arg(told.to_string())
            .env("CHORION_BROWSER_PACKAGES", &self.packages)
            .env("CHORION_CHROMIUM", CHROMIUM)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{said}");
        // What else it says (a warning of Node's) may stand before or after.
        let told: Value =
            said.lines().rev().find_map(|line| serde_json::from_str(line).ok()).unwrap();
        println!("{told:#}");
        assert_eq!(told["violations"], 0);
        told
    }
}

/// Both ends of some reads.
fn pair(stage: &Stage) -> Vec<PathBuf> {
    (1..=2)
        .map(|mate| {
            let path = stage.path(&format!("NA12878_S1_L001_R{mate}_001.fastq.gz"));
            reads(&path, mate);
            path
        })
        .collect()
}

#[test]
fn in_chromium_an_owner_answers_on_the_phone_and_axe_finds_nothing() {
    let Some(scene) = Scene::set() else { return };
    let stage = &scene.stage;
    let Some(package) = pack_read_quality(stage) else { return };
    scene.password("ada");
    let (tools, _) = stage.project("ada", "tools");
    let package = package.to_str().unwrap();
    let app = stage.call("ada", &["app", "register", package, "--project", &tools]);
    let bob = scene.bob("sealing_phrase");
    let told =
        scene.play("authenticator.mjs", &json!({ "reads": pair(stage), "app": app, "bob": bob }));
    assert!(told["pages"].as_u64().unwrap() >= 48, "{told}");
}

#[test]
fn in_chromium_a_project_goes_to_another_person_and_into_other_custody() {
    let Some(scene) = Scene::set() else { return };
    let stage = &scene.stage;
    restore(stage, "ada", WORDS);
    let project = own_project(stage, "ada");
    let sample = sample(stage, "ada", &project);
    let bob = scene.bob("person_phrase");
    let (clinic, _) = stage.project("bob", "the clinic's");
    for name in ["ada", "bob"] {
        scene.password(name);
    }
    let told = scene.play(
        "handed_over.mjs",
        &json!({
            "words": WORDS, "reads": pair(stage), "project": project, "sample": sample,
            "clinic": clinic, "bob": bob,
        }),
    );
    assert!(told["pages"].as_u64().unwrap() >= 40, "{told}");
}
