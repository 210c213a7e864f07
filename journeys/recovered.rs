//! A hub loses its database, or its whole machine, and its people read their data again; and what they deleted stays deleted.

use std::fs;
use std::path::Path;

use super::killed::run_folder;
use super::own_key::{Clinic, cases, found};
use super::stage::{Hub, Stage, assert_same, files, until};

/// Sends a run, and gives its id.
fn send(stage: &Stage, run: &Path, project: &str, phrase: &str) -> String {
    let folder = run.to_str().unwrap();
    let send = ["run", "send", folder, "--project", project, "--card-phrase", phrase];
    stage.call("ada", &[&send[..], &["--no-demultiplex", "--poll-seconds", "1"]].concat());
    let runs = stage.call("ada", &["run", "list"]);
    let last =
        runs.as_array().unwrap().iter().max_by_key(|run| run["id"].as_str().unwrap().to_owned());
    last.unwrap()["id"].as_str().unwrap().to_owned()
}

fn download(stage: &Stage, id: &str, run: &Path) {
    let out = stage.path(&format!("out-{id}"));
    stage.call("ada", &["run", "download", id, "--output", out.to_str().unwrap()]);
    assert_same(run, &out);
    fs::remove_dir_all(out).unwrap();
}

fn delete(stage: &Stage, id: &str) -> serde_json::Value {
    stage.call("ada", &["run", "delete", id, "--yes", "run-2"])
}

fn ids(stage: &Stage) -> Vec<String> {
    let runs = stage.call("ada", &["run", "list"]);
    let ids = runs.as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap().to_owned());
    ids.collect()
}

/// Names of files of wrapped keys of a dataset anywhere below a folder.
fn key_files(stage: &Stage, data: &str, id: &str) -> usize {
    let name = format!("{}.keys", id.replace('-', ""));
    files(&stage.path(data)).iter().filter(|(path, _)| path.ends_with(&name)).count()
}

#[test]
fn a_lost_database_is_made_anew_from_facilities_and_key_records() {
    let stage = Stage::new();
    let hub = stage.hub("127.0.0.1:0");
    stage.enrol(&hub, "ada");
    let (project, phrase) = stage.project("ada", "exomes");
    let (one, other) = (run_folder(&stage, "run-1", 1), run_folder(&stage, "run-2", 2 << 20));
    let kept = send(&stage, &one, &project, &phrase);
    let gone = send(&stage, &other, &project, &phrase);
    delete(&stage, &gone);
    let listen = hub.listen();
    hub.kill();

    // Its log is still there, and must not be taken for the new one's.
    fs::remove_file(stage.path("hub/hub.db")).unwrap();
    assert!(stage.path("hub/hub.db-wal").exists());
    let data = stage.path("hub");
    let data = data.to_str().unwrap();
    // A start would make another hub of it.
    let refused = stage.run("nobody", &["serve", "--data", data, "--listen", "127.0.0.1:0"]);
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("rebuild-index"), "{said}");

    let rebuilt = stage.call("nobody", &["store", "rebuild-index", "--data", data]);
    assert_eq!((&rebuilt["projects"], &rebuilt["datasets"]), (&1.into(), &1.into()), "{rebuilt}");
    assert_eq!(rebuilt["objects_without_bytes"], 0, "{rebuilt}");
    assert!(rebuilt["objects"].as_u64().unwrap() > 3, "{rebuilt}");
    let again = stage.run("nobody", &["store", "rebuild-index", "--data", data]);
    assert!(!again.status.success(), "a database that is there was made anew");

    // The same key, the same certificate authority, the same card: nobody has to set up anything.
    let hub = stage.hub(&listen);
    assert_eq!(ids(&stage), std::slice::from_ref(&kept));
    download(&stage, &kept, &one);
    let scrubbed = stage.call("ada", &["store", "scrub"]);
    assert_eq!(scrubbed["lost"].as_array().unwrap().len(), 0, "{scrubbed}");
    let notices = stage.call("ada", &["notice", "list"]);
    assert!(notices.to_string().contains("hub_restored"), "{notices}");
    // And it goes on.
    let third = run_folder(&stage, "run-3", 3 << 20);
    let id = send(&stage, &third, &project, &phrase);
    download(&stage, &id, &third);
    drop(hub);
}

/// A hub whose facilities lie apart from its data.
fn hub_at(stage: &Stage, data: &str, listen: &str) -> Hub {
    let [a, b] = ["facility-1", "facility-2"].map(|name| stage.path(name));
    let key_file = stage.path("keys/platform.key");
    let options = [
        "--vaults",
        "0",
        "--facility",
        a.to_str().unwrap(),
        "--facility",
        b.to_str().unwrap(),
        "--key-file",
        key_file.to_str().unwrap(),
    ];
    stage.hub_in(data, listen, &options)
}

#[test]
fn a_backup_comes_back_on_an_empty_machine_and_what_was_deleted_since_stays_deleted() {
    let stage = Stage::new();
    let hub = hub_at(&stage, "hub", "127.0.0.1:0");
    stage.enrol(&hub, "ada");
    let (project, phrase) = stage.project("ada", "exomes");
    let (one, other) = (run_folder(&stage, "run-1", 1), run_folder(&stage, "run-2", 2 << 20));
    let kept = send(&stage, &one, &project, &phrase);
    let gone = send(&stage, &other, &project, &phrase);

    // While it serves, and while another run is being sent.
    let growing = run_folder(&stage, "run-3", 3 << 20);
    let words =
        ["run", "send", growing.to_str().unwrap(), "--project", &project, "--card-phrase", &phrase];
    let sender =
        stage.start("ada", &[&words[..], &["--no-demultiplex", "--poll-seconds", "1"]].concat());
    let (backup, key_file) = (stage.path("backup"), stage.path("keys/platform.key"));
    let (backup, key_file) = (backup.to_str().unwrap(), key_file.to_str().unwrap());
    let data = stage.path("hub");
    let from = ["--data", data.to_str().unwrap(), "--key-file", key_file];
    let made =
        stage.call("nobody", &[&["backup", "create", "--output", backup][..], &from].concat());
    assert!(made["key_files"].as_u64().unwrap() >= 4, "{made}");
    assert!(sender.finish().status.success());
    stage.call("nobody", &[&["backup", "verify", backup][..], &from].concat());

    let deleted = delete(&stage, &gone);
    assert_eq!(deleted["snapshots_until"], made["ends"], "{deleted}");
    let listen = hub.listen();
    hub.kill();

    // The machine is gone; facilities and the platform's keys were elsewhere.
    fs::remove_dir_all(&data).unwrap();
    let new = stage.path("new");
    let into = ["--data", new.to_str().unwrap(), "--key-file", key_file];
    stage.call("nobody", &[&["backup", "restore", backup][..], &into].concat());
    assert_eq!(
        key_files(&stage, "new", &gone),
        2,
        "the backup has the keys of what was there then"
    );
    let hub = hub_at(&stage, "new", &listen);
    let there = ids(&stage);
    assert!(there.contains(&kept) && !there.contains(&gone), "{there:?}");
    assert_eq!(key_files(&stage, "new", &gone), 0, "its keys came back with the backup");
    download(&stage, &kept, &one);
    let notices = stage.call("ada", &["notice", "list"]);
    assert!(notices.to_string().contains("hub_restored"), "{notices}");
    let scrubbed = stage.call("ada", &["store", "scrub"]);
    assert_eq!(scrubbed["lost"].as_array().unwrap().len(), 0, "{scrubbed}");

    // One flipped byte anywhere, and a backup whose key is destroyed, are told apart from a good one.
    let sealed = Path::new(backup).join("keys.sealed");
    let mut bytes = fs::read(&sealed).unwrap();
    bytes[1000] ^= 1;
    fs::write(&sealed, &bytes).unwrap();
    let verify = [&["backup", "verify", backup][..], &into].concat();
    let said = stage.run("nobody", &verify);
    assert!(String::from_utf8_lossy(&said.stderr).contains("damaged"), "{said:?}");
    bytes[1000] ^= 1;
    fs::write(&sealed, &bytes).unwrap();
    stage.call("nobody", &verify);
    fs::remove_dir_all(stage.path("keys/snapshots")).unwrap();
    let said = stage.run("nobody", &verify);
    assert!(String::from_utf8_lossy(&said.stderr).contains("key"), "{said:?}");
    assert!(!said.status.success());
    drop(hub);
}

/// Whether a file below `dir` whose name begins so holds these bytes.
fn holds(dir: &Path, name: &str, bytes: &[u8]) -> bool {
    files(dir).into_iter().any(|(path, _)| {
        path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name))
            && fs::read(&path).unwrap().windows(bytes.len()).any(|part| part == bytes)
    })
}

#[test]
fn a_case_that_was_deleted_after_a_backup_stays_deleted_and_the_others_open_and_are_found() {
    let stage = Stage::new();
    let [a, b] = ["facility-1", "facility-2"].map(|name| stage.path(name).display().to_string());
    let key_file = stage.path("hub.keys/platform.key").display().to_string();
    let options = ["--vaults", "0", "--facility", &a, "--facility", &b, "--key-file", &key_file];
    let clinic = Clinic::with(&stage, &options);
    clinic.set(&stage, &[]);
    let project = clinic.project(&stage, "boss", "panel");
    stage.call("boss", &["org", "fields", "on", &clinic.id, "family_name"]);
    let cases = cases(&stage, "boss", &project, 3);
    until("the index", || found(&stage, "boss", &project) == cases);

    let (backup, data) = (stage.path("backup"), stage.path("hub"));
    let from = ["--data", data.to_str().unwrap(), "--key-file", &key_file];
    let create = ["backup", "create", "--output", backup.to_str().unwrap()];
    stage.call("nobody", &[&create[..], &from].concat());
    // A wrapped key names its organization. They are in the sealed part, whose key is destroyed after 35 days, and nowhere else.
    let owner = data_encoding::HEXLOWER.decode(clinic.id.replace('-', "").as_bytes()).unwrap();
    assert!(holds(&data, "hub.db", &owner), "the database has the wrapped keys");
    assert!(!holds(&backup, "", &owner), "its backup has them in the clear");

    stage.call("boss", &["case", "delete", &cases[1], "--yes", &cases[1]]);
    let (listen, keys) = (clinic.hub.listen(), clinic.keys());
    clinic.hub.kill();
    fs::remove_dir_all(&data).unwrap();
    let new = stage.path("new");
    let into = ["--data", new.to_str().unwrap(), "--key-file", &key_file];
    let restore = ["backup", "restore", backup.to_str().unwrap()];
    stage.call("nobody", &[&restore[..], &into].concat());
    let options = [&options[..], &["--development-keys", keys.to_str().unwrap()]].concat();
    let hub = stage.hub_in("new", &listen, &options);
    let gone = stage.run("boss", &["case", "show", &cases[1]]);
    assert!(String::from_utf8_lossy(&gone.stderr).contains("no case"), "{gone:?}");
    let left = [cases[0].clone(), cases[2].clone()];
    assert_eq!(found(&stage, "boss", &project), left);
    let shown = stage.call("boss", &["case", "show", &cases[2]]);
    assert_eq!(shown["document"]["patient"]["record_number"], "4711-2");
    assert_eq!(
        stage.call("boss", &["case", "list", "--project", &project]).as_array().unwrap().len(),
        2
    );
    drop(hub);
}
