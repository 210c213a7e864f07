//! What earlier releases left on a disk (`testing/releases`, made by `testing/keep_release.sh`) is opened by this program, and its
//! person reads everything; and what a later one left is refused with a sentence.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::stage::{Stage, assert_same, files};

/// A port that is free now.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Has the settings of somebody name another port of this machine.
fn move_to(home: &Path, port: u16) {
    for (file, _) in files(home) {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let Some((before, rest)) = text.split_once("https://localhost:") else { continue };
        let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        fs::write(&file, format!("{before}https://localhost:{port}{rest}")).unwrap();
    }
}

#[test]
fn what_every_earlier_release_left_is_opened_and_read() {
    let releases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testing/releases");
    let mut seen = 0;
    for (release, _) in files(&releases) {
        let stage = Stage::new();
        let unpacked =
            Command::new("tar").arg("-C").arg(stage.path("")).arg("-xzf").arg(&release).status();
        assert!(unpacked.unwrap().success(), "{}", release.display());
        let port = free_port();
        move_to(&stage.path("ada"), port);
        let hub = stage.hub(&format!("127.0.0.1:{port}"));
        let runs = stage.call("ada", &["run", "list"]);
        let [ref run] = runs.as_array().unwrap()[..] else { panic!("one run, not {runs}") };
        let id = run["id"].as_str().unwrap();
        assert_ne!(id, fs::read_to_string(stage.path("deleted")).unwrap().trim());
        let out = stage.path("out");
        stage.call("ada", &["run", "download", id, "--output", out.to_str().unwrap()]);
        assert_same(&stage.path("run"), &out);
        let found = stage.call("ada", &["store", "scrub"]);
        assert_eq!(found["lost"].as_array().unwrap().len(), 0, "{found}");
        // It goes on as a hub of this release: its index can be made anew.
        hub.kill();
        for file in ["hub.db", "hub.db-wal", "hub.db-shm"] {
            fs::remove_file(stage.path("hub").join(file)).ok();
        }
        let data = stage.path("hub");
        let rebuilt =
            stage.call("nobody", &["store", "rebuild-index", "--data", data.to_str().unwrap()]);
        assert_eq!(rebuilt["datasets"], 1, "{rebuilt}");
        seen += 1;
    }
    assert!(seen > 0, "no release is kept in {}", releases.display());
}
