//! A vault is killed in each of its states, and then every file of the machine that it could have written to is searched for
//! what it held: the plaintext of an owner's sample. Its own keys lie in locked memory, and nobody traces it. The last state, halted, is
//! that of a vault that stays: `staying.rs` kills one.

use std::fs;
use std::path::PathBuf;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::owner::{WORDS, own_project, restore};
use super::stage::{Stage, files, until};

/// It stands in every read, and in no program.
const CANARY: &str = "GATTACATTGACCATTACGAGATTACATCCATTGACAAGT";

/// The vaults that run for the hub of this stage: their folder of work is the hub's.
pub(super) fn vaults(stage: &Stage) -> Vec<i32> {
    let work = stage.path("hub");
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(id) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let text = String::from_utf8_lossy(&line).replace('\0', " ");
        if text.contains(" vault run ") && text.contains(&*work.to_string_lossy()) {
            found.push(id);
        }
    }
    found
}

pub(super) fn kill(id: i32) {
    kill_process(Pid::from_raw(id).unwrap(), Signal::KILL).ok();
    until("its end", || !PathBuf::from(format!("/proc/{id}/stat")).exists() || is_dead(id));
}

/// Ended, though nobody has asked how yet.
fn is_dead(id: i32) -> bool {
    fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}

/// Every file that the stage's programs wrote and that holds the canary.
pub(super) fn holds(stage: &Stage, own: &[PathBuf]) -> Vec<PathBuf> {
    let in_file = |path: &PathBuf| {
        fs::read(path).is_ok_and(|all| all.windows(CANARY.len()).any(|w| w == CANARY.as_bytes()))
    };
    let all = ["hub", "tmp"].into_iter().flat_map(|dir| files(&stage.path(dir)));
    all.map(|(path, _)| path).filter(|path| !own.contains(path)).filter(in_file).collect()
}

/// Whether its keys lie in locked pages, and nobody who is not root has it write its memory down.
fn keeps_to_itself(id: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let locked = status.lines().find(|line| line.starts_with("VmLck:")).unwrap();
    let limits = fs::read_to_string(format!("/proc/{id}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    locked.split_whitespace().nth(1) != Some("0") && core.split_whitespace().nth(4) == Some("0")
}

/// Waits until a task of a sample is this far, and gives the id of its vault.
fn request(stage: &Stage, state: &str) -> Value {
    let mut found = None;
    until("a request", || {
        let list = stage.call("ada", &["approve", "list"]);
        found = list.as_array().unwrap().iter().rev().find(|one| one["state"] == state).cloned();
        found.is_some()
    });
    found.unwrap()
}

#[test]
fn a_vault_that_is_killed_leaves_nothing_behind_whatever_it_was_doing() {
    let stage = Stage::talkative();
    let hub = stage.hub_with_vaults("127.0.0.1:0", 1);
    stage.enrol(&hub, "ada");
    restore(&stage, "ada", WORDS);
    let project = own_project(&stage, "ada");
    let file = stage.path("large.fastq");
    let record =
        |n: usize| format!("@A:1:F:1:{n} 1:N:0:ACGT\n{CANARY}\n+\n{}\n", "F".repeat(CANARY.len()));
    fs::write(&file, (0..400_000).map(record).collect::<String>()).unwrap();
    let import = ["sample", "import", file.to_str().unwrap(), "--project", &project];
    let sample = stage.call("ada", &[&import[..], &["--name", "large", "--single"]].concat());
    let sample = sample["id"].as_str().unwrap().to_owned();

    // Booting: it has keys of its own, and shows them to a hub that does not answer.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    silent.set_nonblocking(true).unwrap();
    let address = format!("https://{}", silent.local_addr().unwrap());
    let task = "018f0000-0000-7000-8000-000000000001";
    let run = ["vault", "run", "--hub", &address, "--ca", &hub.ca_file, "--task", task];
    let booting = stage.start("nobody", &run);
    let mut never_answered = None;
    until("a vault that calls", || {
        never_answered = silent.accept().ok();
        never_answered.is_some()
    });
    let [id] = vaults(&stage)[..] else { panic!("one vault boots") };
    assert!(keeps_to_itself(id));
    booting.kill();
    assert_eq!(holds(&stage, &[]), Vec::<PathBuf>::new());

    // New words, and everything written anew: a task that reads and writes all of it.
    let rotate = ["words", "rotate", "--print-words", "--re-seal"];
    assert!(stage.start_and_type_back("ada", &rotate).finish_quietly());

    // Attested: it showed what it is, waits for the owner, and has no key of hers.
    request(&stage, "pending");
    let mut running = vaults(&stage);
    let waiting = running.pop().expect("a vault waits");
    assert!(keeps_to_itself(waiting));
    kill(waiting);
    assert_eq!(holds(&stage, &[]), Vec::<PathBuf>::new());

    // Open: it was given the key, and writes.
    let mut pending = Value::Null;
    until("another vault", || {
        let list = stage.call("ada", &["approve", "list"]);
        let last = list.as_array().unwrap().iter().rev().find(|one| one["state"] == "pending");
        pending = last.cloned().unwrap_or_default();
        !pending.is_null() && vaults(&stage).iter().any(|id| *id != waiting)
    });
    let id = pending["id"].as_str().unwrap();
    let shown = stage.call("ada", &["approve", "show", id]);
    let phrase = shown["request_phrase"].as_str().unwrap();
    stage.call("ada", &["approve", "yes", id, "--phrase", phrase]);
    request(&stage, "used");
    let open: Vec<i32> = vaults(&stage);
    assert!(!open.is_empty(), "the vault had ended before it could be killed");
    open.iter().for_each(|id| kill(*id));
    assert_eq!(holds(&stage, &[]), Vec::<PathBuf>::new());

    // What it was doing counts for nothing, and the sample opens as before.
    let out = stage.path("out");
    stage.call("ada", &["sample", "download", &sample, "--output", out.to_str().unwrap()]);
    let back = files(&out).into_iter().find(|(path, _)| path.ends_with("large.fastq"));
    assert!(fs::read(back.unwrap().0).unwrap() == fs::read(&file).unwrap());
    drop(hub);
}
