//! A disk that is really full, in the middle of a run: nothing acknowledged is lost, and when there is room the run goes on.

use std::path::Path;
use std::process::Command;

use super::killed::run_folder;
use super::stage::{Stage, assert_same, until};

/// A small disk in memory, which goes with the story.
struct Disk<'a>(&'a Path);

impl<'a> Disk<'a> {
    /// Mounts it, where this user may.
    fn mount(at: &'a Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let options = format!("size={size},mode=0700");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at).output();
        mounted.is_ok_and(|done| done.status.success()).then_some(Self(at))
    }

    fn grow(&self, size: &str) {
        let options = format!("remount,size={size}");
        let done = Command::new("mount").args(["-o", &options]).arg(self.0).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        // Lazily: a hub that was killed may still have files open for a moment.
        Command::new("umount").arg("-l").arg(self.0).output().ok();
    }
}

#[test]
fn a_run_waits_while_a_disk_is_full_and_arrives_whole_when_there_is_room() {
    let stage = Stage::new();
    let (small, large) = (stage.path("small"), stage.path("large"));
    let Some(disk) = Disk::mount(&small, "14m") else {
        println!(
            "skipped: a_run_waits_while_a_disk_is_full_and_arrives_whole_when_there_is_room: this user may not mount a disk"
        );
        return;
    };
    let facility = small.join("facility");
    let facilities = [
        "--vaults",
        "0",
        "--facility",
        facility.to_str().unwrap(),
        "--facility",
        large.to_str().unwrap(),
    ];
    let hub = stage.hub_in("hub", "127.0.0.1:0", &facilities);
    stage.enrol(&hub, "ada");
    let (project, phrase) = stage.project("ada", "exomes");
    let run = run_folder(&stage, "run-1", 1);
    let folder = run.to_str().unwrap();
    let send = ["run", "send", folder, "--project", &project, "--card-phrase", &phrase, "--json"];
    let send = [&send[..], &["--no-demultiplex", "--poll-seconds", "1"]].concat();
    let mut sender = stage.start("ada", &send);

    let is_full = || {
        let status = stage.call("ada", &["store", "status"]);
        let states = status["facilities"].as_array().unwrap().iter();
        states
            .map(|f| f["state"].as_str().unwrap().to_owned())
            .any(|state| state == "full" || state == "behind")
    };
    until("a full disk", is_full);
    // It is not given up, however long it lasts; a kill in between changes nothing.
    assert!(!sender.has_ended());
    let listen = hub.listen();
    hub.kill();
    let hub = stage.hub_in("hub", &listen, &facilities);
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert!(!sender.has_ended());
    disk.grow("200m");
    let sent = sender.finish();
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));

    let runs = stage.call("ada", &["run", "list"]);
    assert_eq!(runs[0]["execution"], "complete");
    let out = stage.path("out");
    stage.call(
        "ada",
        &["run", "download", runs[0]["id"].as_str().unwrap(), "--output", out.to_str().unwrap()],
    );
    assert_same(&run, &out);
    let found = stage.call("ada", &["store", "scrub"]);
    assert_eq!(found["lost"].as_array().unwrap().len(), 0, "{found}");
    drop(hub);
}
