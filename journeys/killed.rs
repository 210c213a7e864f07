//! A run is sent while its sender and its hub are killed, again and again: it arrives whole, and little is sent twice.

use std::fs;

use super::stage::{Stage, assert_same, files, until};

const MIB: u64 = 1024 * 1024;
/// Bytes of the run, many times what is on the way at once.
const RUN_BYTES: u64 = 96 * MIB;
/// What may be sent again after one kill: everything that is filled, sealed or on the way at once.
const ON_THE_WAY_BYTES: u64 = 5 * 8 * MIB;

/// Bytes that look like nothing, and differ from place to place.
pub(crate) fn noise(bytes: usize, mut seed: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        out.extend_from_slice(&seed.to_le_bytes());
    }
    out.truncate(bytes);
    out
}

#[test]
fn a_run_whose_sender_and_hub_are_killed_in_turn_arrives_whole() {
    let stage = Stage::new();
    let run = stage.path("240611_A01234_0001_AHXXXXXXXX");
    let lane = run.join("Data/Intensities/BaseCalls/L001");
    fs::create_dir_all(&lane).unwrap();
    fs::write(run.join("RunInfo.xml"), "<RunInfo/>\n").unwrap();
    for number in 0..8 {
        let bytes = usize::try_from(RUN_BYTES / 10).unwrap();
        fs::write(lane.join(format!("L001_{number}.cbcl")), noise(bytes, number + 1)).unwrap();
    }
    for number in 0..640 {
        let bytes = usize::try_from(RUN_BYTES / 5 / 640).unwrap();
        fs::write(lane.join(format!("s_1_{number}.filter")), noise(bytes, number + 100)).unwrap();
    }
    fs::write(run.join("CopyComplete.txt"), "").unwrap();

    let mut hub = stage.hub("127.0.0.1:0");
    stage.enrol(&hub, "ada");
    let (project, phrase) = stage.project("ada", "exomes");
    let run = run.to_str().unwrap();
    let send = ["run", "send", run, "--project", &project, "--card-phrase", &phrase, "--json"];
    let send = [&send[..], &["--no-demultiplex", "--poll-seconds", "1"]].concat();

    // Two facilities each hold a copy. Every kill waits until more has come than was there at the one before.
    let mut sender = stage.start("ada", &send);
    for kill in 1..=4 {
        let goal = kill * RUN_BYTES * 2 / 6;
        until("more of the run", || stage.stored_bytes() >= goal);
        if kill % 2 == 1 {
            sender.kill();
            sender = stage.start("ada", &send);
        } else {
            let listen = hub.url.rsplit("//").next().unwrap().replace("localhost", "127.0.0.1");
            hub.kill();
            hub = stage.hub(&listen);
        }
    }
    let sent = sender.finish();
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));

    let runs = stage.call("ada", &["run", "list"]);
    let [ref only] = runs.as_array().unwrap()[..] else { panic!("one run, not {runs}") };
    assert_eq!(only["execution"], "complete");
    let id = only["id"].as_str().unwrap();
    let out = stage.path("out");
    stage.call("ada", &["run", "download", id, "--output", out.to_str().unwrap()]);
    let mut compared = 0;
    for (source, bytes) in files(run.as_ref()) {
        let copy = out.join(source.strip_prefix(run).unwrap());
        assert!(fs::read(&source).unwrap() == fs::read(&copy).unwrap(), "{}", copy.display());
        compared += bytes;
    }
    assert!(compared >= RUN_BYTES * 9 / 10);
    assert_eq!(files(&out).len(), files(run.as_ref()).len());

    // What was acknowledged before a kill is not sent again, and what a killed hub did not answer is sent again as it is: only
    // a killed sender leaves objects behind that no file names.
    let once = stage.stored_bytes() / 2;
    assert!(
        once <= compared + 2 * ON_THE_WAY_BYTES,
        "{once} bytes are kept of {compared}: too much was sent twice"
    );
    drop(hub);
}

/// A finished run folder of about 24 MiB, which no other is like.
pub(crate) fn run_folder(stage: &Stage, name: &str, seed: u64) -> std::path::PathBuf {
    let run = stage.path(name);
    let lane = run.join("Data/Intensities/BaseCalls/L001");
    fs::create_dir_all(&lane).unwrap();
    fs::write(run.join("RunInfo.xml"), format!("<RunInfo/><!-- {seed} -->\n")).unwrap();
    for number in 0..4 {
        fs::write(lane.join(format!("L001_{number}.cbcl")), noise(5 << 20, seed + number + 1))
            .unwrap();
    }
    for number in 0..200 {
        let bytes = noise(20_000, seed + number + 100);
        fs::write(lane.join(format!("s_1_{number}.filter")), bytes).unwrap();
    }
    fs::write(run.join("CopyComplete.txt"), "").unwrap();
    run
}

/// Sender, hub and scrubber are killed as often as `CHORION_KILL_ROUNDS` says, a handful if it says nothing; each time at a moment
/// that chance decides. What arrived is whole, nothing is lost, and what was deleted stays away.
#[test]
fn whatever_is_killed_and_however_often_every_run_arrives_whole() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let rounds = number("CHORION_KILL_ROUNDS").unwrap_or(6);
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = number("CHORION_KILL_SEED").unwrap_or_else(|| clock.subsec_nanos().into());
    println!("{rounds} rounds of kill -9, moments by seed {seed}");
    let mut dice = seed | 1;
    let mut roll = |sides: u64| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        dice % sides
    };

    let stage = Stage::new();
    let mut hub = stage.hub("127.0.0.1:0");
    stage.enrol(&hub, "ada");
    let (project, phrase) = stage.project("ada", "exomes");
    let (mut kills, mut number, mut deleted) = ([0_u64; 3], 0_u64, Vec::new());
    while kills.iter().sum::<u64>() < rounds {
        number += 1;
        let name = format!("240611_A01234_{number:04}_AHXXXXXXXX");
        let run = run_folder(&stage, &name, (seed >> 1) ^ (number << 20));
        let folder = run.to_str().unwrap();
        let send =
            ["run", "send", folder, "--project", &project, "--card-phrase", &phrase, "--json"];
        let send = [&send[..], &["--no-demultiplex", "--poll-seconds", "1"]].concat();
        let mut sender = stage.start("ada", &send);
        while kills.iter().sum::<u64>() < rounds && !sender.has_ended() {
            std::thread::sleep(std::time::Duration::from_millis(50 + roll(700)));
            let what = roll(3);
            match what {
                0 => {
                    sender.kill();
                    sender = stage.start("ada", &send);
                }
                _ => {
                    // The scrubber lives in the hub: it is killed while it reads.
                    let scrub =
                        (what == 2).then(|| stage.start("ada", &["store", "scrub", "--json"]));
                    std::thread::sleep(std::time::Duration::from_millis(roll(120)));
                    let listen = hub.listen();
                    hub.kill();
                    hub = stage.hub(&listen);
                    if let Some(scrub) = scrub {
                        scrub.finish();
                    }
                }
            }
            kills[usize::try_from(what).unwrap()] += 1;
        }
        let sent = sender.finish();
        assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));

        let runs = stage.call("ada", &["run", "list"]);
        let [ref only] = runs.as_array().unwrap()[..] else { panic!("one run, not {runs}") };
        assert_eq!(only["execution"], "complete");
        let id = only["id"].as_str().unwrap().to_owned();
        assert!(!deleted.contains(&id), "{id} is back");
        let out = stage.path("out");
        stage.call("ada", &["run", "download", &id, "--output", out.to_str().unwrap()]);
        assert_same(&run, &out);
        // Deleted, so that the next one is alone, and so that much is erased while things are killed.
        stage.call("ada", &["run", "delete", &id, "--yes", &name]);
        deleted.push(id);
        fs::remove_dir_all(&out).unwrap();
        fs::remove_dir_all(&run).unwrap();
    }
    let found = stage.call("ada", &["store", "scrub"]);
    assert_eq!(found["lost"].as_array().unwrap().len(), 0, "{found}");
    assert_eq!(found["corrupt"], 0, "{found}");
    println!(
        "killed: sender {}, hub {}, hub as it scrubs {}; {number} runs arrived whole, and were deleted",
        kills[0], kills[1], kills[2]
    );
}
