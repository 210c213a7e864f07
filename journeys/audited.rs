//! The audit log under attack, as the operator who holds the database and the log's key can play it: what a reader remembers, and
//! a witness, tell on every one.
//!
//! The tampering goes through `SQLite` itself, from outside the program, as it would.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::stage::{Hub, Stage};
use serde_json::Value;

/// A hub with somebody, a project of theirs and a sample in it that they read again.
struct Scene {
    stage: Stage,
    listen: String,
    sample: String,
}

impl Scene {
    fn begin() -> (Self, Hub) {
        let stage = Stage::new();
        let hub = stage.hub("127.0.0.1:0");
        let listen = hub.url.rsplit("//").next().unwrap().replace("localhost", "127.0.0.1");
        stage.enrol(&hub, "ada");
        let (project, _) = stage.project("ada", "panel");
        let reads = stage.path("reads.fastq");
        fs::write(&reads, "@r1\nACGT\n+\nIIII\n".repeat(100)).unwrap();
        let reads = reads.to_str().unwrap();
        let import = ["sample", "import", reads, "--project", &project, "--name", "NA1"];
        let sample = stage.call("ada", &import)["id"].as_str().unwrap().to_owned();
        let scene = Self { stage, listen, sample };
        scene.read_sample();
        (scene, hub)
    }

    fn read_sample(&self) {
        let out = self.stage.path("out");
        fs::remove_dir_all(&out).ok();
        let out = out.to_str().unwrap();
        self.stage.call("ada", &["sample", "download", &self.sample, "--output", out]);
    }

    fn verified(&self, more: &[&str]) -> Value {
        let found = self.stage.call("ada", &[&["audit", "verify"], more].concat());
        assert_eq!(found["holds"], true, "{found}");
        found
    }

    /// Verifies, must be alarmed, and gives the alarms.
    fn alarms(&self, home: &str, more: &[&str]) -> Vec<String> {
        let output = self.stage.run(home, &[&["audit", "verify"], more].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "no alarm: {}", String::from_utf8_lossy(&output.stdout));
        assert!(said.contains("alarm: "), "{said}");
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(found["holds"], false);
        let alarms = found["alarms"].as_array().unwrap().iter();
        alarms.map(|alarm| alarm.as_str().unwrap().to_owned()).collect()
    }

    /// Starts the hub again where it was, on whatever lies there now.
    fn hub_again(&self) -> Hub {
        self.stage.hub(&self.listen)
    }

    /// Changes the database of a hub that is stopped, past its triggers.
    fn tamper(&self, statements: &str) {
        let triggers = [
            "audit_leaves_stay",
            "audit_leaves_are_fixed",
            "audit_nodes_stay",
            "audit_nodes_are_fixed",
        ]
        .map(|trigger| format!("DROP TRIGGER IF EXISTS {trigger};"));
        let database = self.stage.path("hub").join("hub.db");
        let script = "import sqlite3, sys\ndb = sqlite3.connect(sys.argv[1])\n\
                      db.executescript(sys.argv[2])\ndb.commit()\ndb.close()";
        let output = Command::new("python3")
            .args(["-c", script])
            .arg(&database)
            .arg(triggers.concat() + statements)
            .output()
            .expect("python3 is installed: CONTRIBUTING.md asks for it");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Copies hub and keys aside, or back.
    fn copy(&self, from: &str, to: &str) {
        for end in ["", ".keys"] {
            let (from, to) = (format!("{from}{end}"), format!("{to}{end}"));
            fs::remove_dir_all(self.stage.path(&to)).ok();
            copy_folder(&self.stage.path(&from), &self.stage.path(&to));
        }
    }
}

fn copy_folder(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(done.success());
}

fn says(alarms: &[String], what: &str) -> bool {
    alarms.iter().any(|alarm| alarm.contains(what))
}

#[test]
fn an_event_and_a_leaf_that_were_changed_are_named() {
    let (scene, hub) = Scene::begin();
    let first = scene.verified(&[]);
    assert!(first["continues"].is_null() && first["events"].as_u64().unwrap() > 5, "{first}");
    assert!(first["releases"].as_u64().unwrap() > 0, "{first}");
    hub.kill();

    // Who released a key, as the operator would rather have it.
    scene.tamper("UPDATE events SET purpose = 'list' WHERE act = 'key.release'");
    let hub = scene.hub_again();
    let alarms = scene.alarms("ada", &[]);
    assert!(says(&alarms, "is not what leaf") && says(&alarms, "`key.release`"), "{alarms:?}");
    // To somebody who never verified before as well.
    hub.kill();
    scene.tamper("UPDATE events SET purpose = 'download' WHERE act = 'key.release'");
    let hub = scene.hub_again();
    scene.verified(&[]);
    hub.kill();

    // The leaf beside it: then the tree does not lead to the root any more.
    scene.tamper(
        "UPDATE audit_leaves SET commitment = zeroblob(32) WHERE event =
         (SELECT id FROM events WHERE act = 'key.release' ORDER BY id LIMIT 1)",
    );
    let hub = scene.hub_again();
    let alarms = scene.alarms("ada", &[]);
    assert!(says(&alarms, "is not what leaf"), "{alarms:?}");
    assert!(says(&alarms, "does not lead to the root") || says(&alarms, "forked"), "{alarms:?}");
    hub.kill();
}

#[test]
fn an_event_that_was_dropped_with_its_leaf_is_missed() {
    let (scene, hub) = Scene::begin();
    scene.verified(&[]);
    hub.kill();
    scene.tamper(
        "DELETE FROM audit_leaves WHERE event IN (SELECT id FROM events WHERE act = 'key.release');
         DELETE FROM events WHERE act = 'key.release'",
    );
    let hub = scene.hub_again();
    let alarms = scene.alarms("ada", &[]);
    assert!(says(&alarms, "is not listed any more"), "{alarms:?}");
    assert!(says(&alarms, "and the log does not say so"), "{alarms:?}");
    assert!(says(&alarms, "the log was truncated"), "{alarms:?}");
    hub.kill();
}

/// Cuts the log to its first leaves, with the hashes above them.
const CUT: &str = "DELETE FROM audit_leaves WHERE idx >= 4;
    DELETE FROM audit_nodes WHERE (idx + 1) << level > 4;
    DELETE FROM events WHERE id NOT IN (SELECT event FROM audit_leaves)";

#[test]
fn a_log_that_was_cut_off_is_shorter_and_then_another() {
    let (scene, hub) = Scene::begin();
    scene.verified(&[]);
    hub.kill();
    scene.tamper(CUT);
    let hub = scene.hub_again();
    let alarms = scene.alarms("ada", &[]);
    assert!(says(&alarms, "the log was truncated"), "{alarms:?}");
    // It grows beyond where it was: what comes is no continuation.
    for _ in 0..8 {
        scene.read_sample();
    }
    let alarms = scene.alarms("ada", &[]);
    assert!(says(&alarms, "the log was forked"), "{alarms:?}");
    hub.kill();
}

#[test]
fn a_log_that_was_written_anew_and_signed_is_a_fork() {
    let (scene, hub) = Scene::begin();
    scene.verified(&[]);
    hub.kill();
    // Every leaf and hash goes; the hub makes them again, with its own key, from what the events say now.
    scene.tamper(
        "DELETE FROM audit_leaves; DELETE FROM audit_nodes; DELETE FROM meta WHERE name = 'audit log begun';
         UPDATE events SET actor = 'hub' WHERE act = 'key.release'",
    );
    let hub = scene.hub_again();
    let alarms = scene.alarms("ada", &[]);
    assert!(says(&alarms, "the log was forked") && says(&alarms, "is another than"), "{alarms:?}");
    // The notes that contradict each other are kept, both signed by the log.
    let kept = fs::read_dir(scene.stage.path("ada").join("audit")).unwrap();
    let kept: Vec<String> =
        kept.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(kept.iter().any(|name| name.ends_with(".alarm.json")), "{kept:?}");
    hub.kill();
}

#[test]
fn an_older_database_that_was_put_back_is_noticed_before_and_after_it_grew() {
    let (scene, hub) = Scene::begin();
    hub.kill();
    scene.copy("hub", "old");
    let hub = scene.hub_again();
    scene.read_sample();
    let before = scene.verified(&[])["leaves"].as_u64().unwrap();
    hub.kill();
    scene.copy("old", "hub");
    let hub = scene.hub_again();
    let alarms = scene.alarms("ada", &[]);
    assert!(says(&alarms, "the hub runs on an older copy"), "{alarms:?}");
    assert!(says(&alarms, "and the log does not say so"), "the release that is gone: {alarms:?}");
    let mut now = 0;
    while now <= before {
        scene.read_sample();
        let events = scene.stage.call("ada", &["audit", "list"]);
        now = events.as_array().unwrap().len() as u64;
    }
    let alarms = scene.alarms("ada", &[]);
    assert!(says(&alarms, "the log was forked"), "{alarms:?}");
    hub.kill();
}

#[test]
fn a_fork_that_one_reader_is_shown_stops_at_the_witness_that_both_demand() {
    let (scene, hub) = Scene::begin();
    let invited = scene.stage.call("ada", &["account", "invite", "Witness"]);
    let code = invited["code"].as_str().unwrap();
    let login = ["login", "--hub", &hub.url, "--ca", &hub.ca_file, "--code", code];
    scene.stage.call("watcher", &login);
    let look = ["audit", "witness", "--once", "--name", "witness.example/w1"];

    let looked = scene.stage.call("watcher", &look);
    let key = looked["witness"].as_str().unwrap().to_owned();
    let demand = ["--witness", key.as_str()];
    let found = scene.verified(&demand);
    assert_eq!(found["witnessed"][0]["witness"], "witness.example/w1", "{found}");
    hub.kill();

    // From here on there are two logs, both signed with the one key: one for the witness, one for Ada.
    scene.copy("hub", "fork");
    let hub = scene.hub_again();
    scene.stage.call("watcher", &["project", "create", "what only the witness is shown"]);
    scene.stage.call("watcher", &["audit", "witness", "--once"]);
    hub.kill();
    scene.copy("hub", "seen-by-the-witness");
    scene.copy("fork", "hub");
    let hub = scene.hub_again();
    scene.read_sample();
    // Without a witness Ada's log goes on as if nothing were: this is what a witness is for.
    scene.verified(&[]);
    let output = scene.stage.run("watcher", &["audit", "witness", "--once"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("does not cosign"), "{said}");
    // The operator carries the witness's newest word over by hand: it is of another log.
    hub.kill();
    let from = scene.stage.path("seen-by-the-witness").join("hub.db");
    scene.tamper(&format!(
        "ATTACH '{}' AS other; DELETE FROM audit_cosignatures;
         INSERT INTO audit_cosignatures SELECT * FROM other.audit_cosignatures",
        from.display()
    ));
    let hub = scene.hub_again();
    for _ in 0..4 {
        scene.read_sample();
    }
    let alarms = scene.alarms("ada", &demand);
    assert!(says(&alarms, "forked") && says(&alarms, "the witness has seen"), "{alarms:?}");
    hub.kill();
    scene.tamper("DELETE FROM audit_cosignatures");
    let hub = scene.hub_again();
    let alarms = scene.alarms("ada", &demand);
    assert!(says(&alarms, "the log is not witnessed"), "{alarms:?}");
    hub.kill();
}
