//! A run is demultiplexed while it is being sent: what its cycles allow is made before it is closed, and a vault that is killed
//! at either time changes nothing of what comes out. Where a person holds the key, each of its tasks waits for that person.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::owner::{WORDS, own_project, restore, waiting};
use super::stage::{Running, Stage, files, until};

/// The bundled run: two reads of 76 cycles with two indexes of 8 between them.
pub(crate) const DEMO: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../testing/demo/runs/261102_A09999_0042_AHCHRNDRXX");
/// Cycles that are there before the rest comes: one more than the second index ends with.
const FIRST_CYCLES: u32 = 93;

/// Files that an instrument writes first, and those that it writes last, by their paths inside the run.
pub(crate) fn first_and_last() -> (Vec<PathBuf>, Vec<PathBuf>) {
    let all = files(Path::new(DEMO)).into_iter();
    let inside = all.map(|(path, _)| path.strip_prefix(DEMO).unwrap().to_owned());
    inside.partition(|path| {
        let mut parts = path.iter().filter_map(|part| part.to_str());
        let cycle = parts.find_map(|part| part.strip_prefix('C')?.strip_suffix(".1")?.parse().ok());
        let is_mark = path.extension().is_some_and(|extension| extension == "txt");
        !is_mark && cycle.is_none_or(|cycle: u32| cycle <= FIRST_CYCLES)
    })
}

pub(crate) fn copy(paths: &[PathBuf], to: &Path) {
    for path in paths {
        let target = to.join(path);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(Path::new(DEMO).join(path), target).unwrap();
    }
}

/// Vaults of this stage's hub that run now.
fn vaults(ca_file: &str) -> BTreeSet<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let is_vault = |process: &fs::DirEntry| {
        let words = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let words: Vec<_> = words.split(|byte| *byte == 0).collect();
        words.get(1..3) == Some(&[&b"vault"[..], b"run"]) && words.contains(&ca_file.as_bytes())
    };
    let names = processes.filter(is_vault).map(|process| process.file_name());
    names.map(|name| name.into_string().unwrap()).collect()
}

/// Waits for a vault that is none of these, and ends it as a loss of power would.
fn kill_the_next_vault(ca_file: &str, but: &BTreeSet<String>) {
    until("another vault", || {
        let now = vaults(ca_file);
        let Some(vault) = now.difference(but).next() else { return false };
        Command::new("kill").args(["-9", vault]).status().unwrap().success()
    });
}

#[test]
fn a_run_that_is_demultiplexed_while_it_arrives_gives_the_same_samples_whichever_vault_is_killed() {
    let stage = Stage::new();
    let run = stage.path("261102_A09999_0042_AHCHRNDRXX");
    let (first, last) = first_and_last();
    copy(&first, &run);
    let hub = stage.hub_with_vaults("127.0.0.1:0", 1);
    stage.enrol(&hub, "ada");
    let (project, phrase) = stage.project("ada", "birds");
    let folder = run.to_str().unwrap();
    let send = ["run", "send", folder, "--project", &project, "--card-phrase", &phrase, "--json"];
    let send = [&send[..], &["--default-project", &project, "--poll-seconds", "1"]].concat();
    let sender = stage.start("ada", &send);

    // The run is not over, and a vault works on it; the one after it does the same work to its end.
    kill_the_next_vault(&hub.ca_file, &BTreeSet::new());
    let so_far = || {
        let results = stage.call("ada", &["result", "list"]);
        let results = results.as_array().unwrap().clone();
        results.into_iter().find(|result| result["name"] == "Demultiplexing so far")
    };
    until("what can be made so far", || so_far().is_some_and(|r| r["execution"] == "complete"));
    let made = stage.path("so-far");
    let id = so_far().unwrap()["id"].as_str().unwrap().to_owned();
    stage.call("ada", &["result", "download", &id, "--output", made.to_str().unwrap()]);
    let verdict = fs::read_to_string(made.join("Verdict.txt")).unwrap();
    assert!(verdict.contains("reads match a sample"), "{verdict}");
    let names = || files(&made).into_iter().map(|(path, _)| path.display().to_string());
    assert_eq!(
        names().filter(|path| path.contains("_R1_")).count(),
        5,
        "four samples and the rest"
    );
    assert_eq!(names().filter(|path| path.contains("_R2_")).count(), 0);
    assert_eq!(stage.call("ada", &["sample", "list"]).as_array().unwrap().len(), 0);
    let runs = stage.call("ada", &["run", "list"]);
    assert_eq!(runs[0]["execution"], "receiving");

    // The run ends, and the first vault that is to make samples of it is killed too.
    let before = vaults(&hub.ca_file);
    let ca_file = hub.ca_file;
    let killer = std::thread::spawn(move || kill_the_next_vault(&ca_file, &before));
    copy(&last, &run);
    let sent = sender.finish();
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    killer.join().unwrap();
    until("samples", || stage.call("ada", &["run", "list"])[0]["execution"] == "complete");
    until("the end of what was made before", || so_far().is_none());

    // One go over the folder gives the same bytes.
    let one_go = stage.path("one-go");
    stage.call("ada", &["demux", folder, "-o", one_go.to_str().unwrap()]);
    let samples = stage.call("ada", &["sample", "list"]);
    let results = stage.call("ada", &["result", "list"]);
    let all = samples.as_array().unwrap().iter().chain(results.as_array().unwrap());
    let mut compared = 0;
    for dataset in all {
        let (id, kind) = (dataset["id"].as_str().unwrap(), dataset["kind"].as_str().unwrap());
        let out = stage.path(id);
        stage.call("ada", &[kind, "download", id, "--output", out.to_str().unwrap()]);
        for (path, _) in files(&out).iter().filter(|(path, _)| path.extension().unwrap() == "gz") {
            let same =
                files(&one_go).into_iter().find(|(other, _)| other.file_name() == path.file_name());
            let (same, _) = same.unwrap();
            assert!(fs::read(path).unwrap() == fs::read(same).unwrap(), "{}", path.display());
            compared += 1;
        }
    }
    assert_eq!(compared, 10, "two files of each of four samples and of the rest");
}

/// Ada's device says yes to what waits; gives the request.
fn approved(stage: &Stage) -> String {
    let request = waiting(stage, "ada");
    let shown = stage.call("ada", &["approve", "show", &request]);
    let phrase = shown["request_phrase"].as_str().unwrap();
    stage.call("ada", &["approve", "yes", &request, "--phrase", phrase]);
    request
}

/// Begins to send a folder into an owner's project.
fn sending(stage: &Stage, project: &str, folder: &Path) -> Running {
    let card = stage.call("ada", &["project", "card", project]);
    let (folder, phrase) = (folder.to_str().unwrap(), card["phrase"].as_str().unwrap());
    let send = ["run", "send", folder, "--project", project, "--card-phrase", phrase, "--json"];
    let more = ["--default-project", project, "--poll-seconds", "1"];
    stage.start("ada", &[&send[..], &more].concat())
}

#[test]
fn an_owners_run_begins_early_with_each_task_approved_and_waits_for_nobody_who_does_not() {
    let stage = Stage::new();
    let hub = stage.hub_with_vaults("127.0.0.1:0", 1);
    stage.enrol(&hub, "ada");
    restore(&stage, "ada", WORDS);
    let project = own_project(&stage, "ada");
    let (first, last) = first_and_last();
    let run = stage.path("261102_A09999_0042_AHCHRNDRXX");
    copy(&first, &run);
    let sender = sending(&stage, &project, &run);
    let state = |request: &str| {
        let list = stage.call("ada", &["approve", "list"]);
        let found = list.as_array().unwrap().iter().find(|one| one["id"] == request).cloned();
        found.unwrap()["state"].as_str().unwrap().to_owned()
    };

    // Let begin: what is made so far is the owner's, and the next task goes on from there when it was let.
    let early = approved(&stage);
    let results = || stage.call("ada", &["result", "list"]).as_array().unwrap().clone();
    until("what can be made so far", || results().iter().any(|r| r["execution"] == "complete"));
    assert_eq!(state(&early), "used");
    let so_far = results()[0]["id"].as_str().unwrap().to_owned();
    let made = stage.path("so-far");
    stage.call("ada", &["result", "download", &so_far, "--output", made.to_str().unwrap()]);
    assert!(made.join("Verdict.txt").exists());
    assert_eq!(stage.call("ada", &["run", "list"])[0]["execution"], "receiving");
    copy(&last, &run);
    let sent = sender.finish();
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    approved(&stage);
    until("samples", || stage.call("ada", &["run", "list"])[0]["execution"] == "complete");
    until("the end of what was made before", || {
        !results().iter().any(|result| result["id"] == so_far.as_str())
    });
    let one_go = stage.path("one-go");
    stage.call("ada", &["demux", run.to_str().unwrap(), "-o", one_go.to_str().unwrap()]);
    let samples = stage.call("ada", &["sample", "list"]);
    let samples = samples.as_array().unwrap();
    assert_eq!(samples.len(), 4);
    for sample in samples {
        let id = sample["id"].as_str().unwrap();
        let out = stage.path(id);
        stage.call("ada", &["sample", "download", id, "--output", out.to_str().unwrap()]);
        for (path, _) in files(&out) {
            let all = files(&one_go);
            let same = all.iter().find(|(other, _)| other.file_name() == path.file_name());
            assert!(fs::read(&path).unwrap() == fs::read(&same.unwrap().0).unwrap());
        }
    }

    // Not answered: the run is no worse for it, and when it is closed its owner is asked once, for all of it.
    let again = stage.path("again");
    fs::create_dir(&again).unwrap();
    let run = again.join("261102_A09999_0042_AHCHRNDRXX");
    copy(&first, &run);
    let sender = sending(&stage, &project, &run);
    let early = waiting(&stage, "ada");
    copy(&last, &run);
    let sent = sender.finish();
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    until("its end", || state(&early) == "expired");
    approved(&stage);
    let complete = || {
        let runs = stage.call("ada", &["run", "list"]);
        runs.as_array().unwrap().iter().all(|run| run["execution"] == "complete")
    };
    until("samples of the second", complete);
    assert_eq!(stage.call("ada", &["sample", "list"]).as_array().unwrap().len(), 8);
    drop(hub);
}
