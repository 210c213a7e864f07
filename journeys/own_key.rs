//! A clinic that holds its key itself: set up, used, its loss rehearsed, and then real.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::arriving::{DEMO, copy, first_and_last};
use super::stage::{Hub, Stage, until};

/// A clinic at a hub, with an administrator (`boss`), a laboratory (`lab`) and an auditor (`watcher`).
pub(crate) struct Clinic {
    pub(crate) hub: Hub,
    pub(crate) id: String,
    keys: PathBuf,
}

impl Clinic {
    /// On the enterprise plan, without a key yet.
    pub(crate) fn new(stage: &Stage, vaults: &str) -> Self {
        Self::with(stage, &["--vaults", vaults])
    }

    /// The same at a hub with these options.
    pub(crate) fn with(stage: &Stage, options: &[&str]) -> Self {
        let keys = stage.path("customers");
        let development = ["--development-keys", keys.to_str().unwrap()];
        let hub = stage.hub_in("hub", "127.0.0.1:0", &[options, &development].concat());
        stage.enrol(&hub, "operator");
        let made = stage.call("operator", &["org", "create", "Clinic", "--plan", "enterprise"]);
        let id = made["id"].as_str().unwrap().to_owned();
        let clinic = Self { hub, id, keys };
        clinic.join(stage, "operator", "boss", "administrator");
        clinic.join(stage, "boss", "lab", "lab");
        clinic.join(stage, "boss", "watcher", "auditor");
        clinic
    }

    /// Somebody more, who is given a role; gives their account.
    pub(crate) fn join(&self, stage: &Stage, by: &str, home: &str, role: &str) -> String {
        let invite = ["org", "members", "invite", &self.id, home, "--role", role];
        let invited = stage.call(by, &invite);
        let code = invited["code"].as_str().unwrap();
        let (url, ca_file) = (&self.hub.url, &self.hub.ca_file);
        stage.call(home, &["login", "--hub", url, "--ca", ca_file, "--code", code]);
        invited["account"]["id"].as_str().unwrap_or_default().to_owned()
    }

    /// A key in a file on the hub's machine, with a lease of 2 s.
    pub(crate) fn set(&self, stage: &Stage, more: &[&str]) -> Value {
        let set = ["org", "kms", "set", &self.id, "--local-file", "customer", "--lease", "2"];
        stage.call("boss", &[&set[..], &["--confirm", &self.id], more].concat())
    }

    pub(crate) fn project(&self, stage: &Stage, by: &str, name: &str) -> String {
        let create = ["project", "create", name, "--custodian", "organization"];
        let made = stage.call(by, &[&create[..], &["--organization", &self.id]].concat());
        made["id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn status(&self, stage: &Stage) -> Value {
        stage.call("watcher", &["org", "kms", "status", &self.id])
    }

    /// Where customers' keys in files lie.
    pub(crate) fn keys(&self) -> PathBuf {
        self.keys.clone()
    }

    fn file(&self) -> PathBuf {
        self.keys.join(&self.id).join("customer")
    }

    fn away(&self) -> PathBuf {
        self.file().with_extension("away")
    }

    pub(crate) fn take_away(&self) {
        fs::rename(self.file(), self.away()).unwrap();
    }

    pub(crate) fn give_back(&self) {
        fs::rename(self.away(), self.file()).unwrap();
    }
}

/// That a command is refused because the key is away: 423, with provider, key, since when and what to do.
pub(crate) fn is_away(stage: &Stage, home: &str, words: &[&str]) {
    let output = stage.run(home, words);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "chorion {words:?} goes on without the key");
    for part in ["has taken its key away", "there is no key ", "since", "hint:"] {
        assert!(said.contains(part), "chorion {words:?}: {said}");
    }
}

/// A file of reads of nobody.
fn reads(stage: &Stage) -> String {
    let reads = stage.path("fernweh.fastq");
    fs::write(&reads, "@a\nACGT\n+\nIIII\n").unwrap();
    reads.display().to_string()
}

#[test]
fn a_clinic_sets_its_key_up_and_rehearses_its_loss() {
    let stage = Stage::new();
    let clinic = Clinic::new(&stage, "0");

    // Set up, with a recovery copy before anything is written.
    let offline = stage.path("offline");
    let offline = offline.to_str().unwrap();
    stage.call("boss", &["keygen", "-o", offline]);
    let unsure = stage.run("boss", &["org", "kms", "set", &clinic.id, "--local-file", "customer"]);
    assert!(String::from_utf8_lossy(&unsure.stderr).contains("a lost key is lost data"));
    let test = clinic.set(&stage, &["--recovery", &format!("{offline}.pub")]);
    assert_eq!(test["provider"], "local_file");
    assert_eq!(clinic.status(&stage)["recovery_stored"], false);
    let stored = stage.path("recovery.json");
    stage.call("boss", &["org", "kms", "recovery", &clinic.id, "-o", stored.to_str().unwrap()]);
    let status = clinic.status(&stage);
    assert_eq!(
        (&status["recovery_stored"], &status["standing"]),
        (&true.into(), &"in_force".into())
    );

    let project = clinic.project(&stage, "lab", "fernweh");
    let reads = reads(&stage);
    let import = ["sample", "import", &reads, "--project", &project, "--name", "fernweh"];
    let sample = stage.call("lab", &import)["id"].as_str().unwrap().to_owned();
    let listed = || stage.call("lab", &["sample", "list", "--project", &project])[0].clone();
    assert_eq!(listed()["name"], "fernweh");

    // The drill is the real thing: with a lease of 2 s, it has its effect within 2 s.
    let (file, away) = (clinic.file(), clinic.away());
    let take = format!("mv {} {}", file.display(), away.display());
    let give = format!("mv {} {}", away.display(), file.display());
    let drill =
        stage.call("boss", &["org", "kms", "drill", &clinic.id, "--away", &take, "--back", &give]);
    println!("{drill}");
    assert_eq!(drill["stated_seconds"], 2);
    assert!(drill["refusal"].as_str().unwrap().contains("has taken its key away"), "{drill}");
    // What it took away it gave back: the next look finds everything as it was.
    assert_eq!((&listed()["id"], &listed()["name"]), (&sample.into(), &"fernweh".into()));
}

#[test]
fn what_a_customers_key_wrapped_outlives_the_database() {
    let stage = Stage::new();
    let clinic = Clinic::new(&stage, "0");
    clinic.set(&stage, &[]);
    let project = clinic.project(&stage, "boss", "fernweh");
    let reads = reads(&stage);
    let import = ["sample", "import", &reads, "--project", &project, "--name", "fernweh"];
    let sample = stage.call("boss", &import)["id"].as_str().unwrap().to_owned();
    stage.call("boss", &["org", "fields", "on", &clinic.id, "family_name"]);
    let cases = cases(&stage, "boss", &project, 3);
    stage.call("boss", &["case", "link", &cases[0], &sample]);
    stage.call("boss", &["case", "delete", &cases[2], "--yes", &cases[2]]);
    let (listen, keys) = (clinic.hub.listen(), clinic.keys);
    clinic.hub.kill();
    for file in ["hub.db", "hub.db-wal", "hub.db-shm"] {
        // SQLite may have removed the others.
        fs::remove_file(stage.path("hub").join(file)).ok();
    }
    let data = stage.path("hub").display().to_string();
    let rebuilt = stage.call("nobody", &["store", "rebuild-index", "--data", &data]);
    assert_eq!((&rebuilt["organizations"], &rebuilt["cases"]), (&1.into(), &2.into()), "{rebuilt}");

    let options = ["--vaults", "0", "--development-keys", keys.to_str().unwrap()];
    let hub = stage.hub_in("hub", &listen, &options);
    let listed = stage.call("boss", &["sample", "list", "--project", &project])[0].clone();
    assert_eq!((&listed["id"], &listed["name"]), (&sample.clone().into(), &"fernweh".into()));
    let out = stage.path("out").display().to_string();
    stage.call("boss", &["sample", "download", &sample, "--output", &out]);
    assert_eq!(
        fs::read(stage.path("out/fernweh.fastq")).unwrap(),
        fs::read(stage.path("fernweh.fastq")).unwrap()
    );
    // Cases open, what is deleted is gone, and the index is made anew from what is sealed.
    let shown = stage.call("boss", &["case", "show", &cases[0]]);
    assert_eq!(shown["document"]["patient"]["record_number"], "4711-0");
    assert_eq!(shown["case"]["datasets"], serde_json::json!([sample]));
    assert!(!stage.run("boss", &["case", "show", &cases[2]]).status.success());
    until("the index", || found(&stage, "boss", &project).len() == 2);
    assert_eq!(found(&stage, "boss", &project), cases[..2]);
    drop(hub);
}

/// Cases of one family, with the record numbers 4711-0 and so on; gives their ids.
pub(crate) fn cases(stage: &Stage, by: &str, project: &str, count: usize) -> Vec<String> {
    let add = |n: usize| {
        let written = stage.path(&format!("case-{n}.json"));
        let text =
            format!(r#"{{"patient": {{"record_number": "4711-{n}", "family_name": "Fernweh"}}}}"#);
        fs::write(&written, text).unwrap();
        let words = ["case", "add", "--project", project, written.to_str().unwrap()];
        stage.call(by, &words)["id"].as_str().unwrap().to_owned()
    };
    (0..count).map(add).collect()
}

/// The cases that a search finds by that family's name, in the order of their ids; none while its index is not whole.
pub(crate) fn found(stage: &Stage, by: &str, project: &str) -> Vec<String> {
    let search = ["case", "search", "--project", project, "--field", "family_name", "--json"];
    let output = stage.answers(by, &search, "fernweh\n");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let cases = found["cases"].as_array().cloned().unwrap_or_default();
    let mut ids: Vec<String> =
        cases.iter().map(|case| case["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

#[test]
fn a_key_that_is_really_taken_away_stops_everything_and_all_of_it_resumes_by_itself() {
    let stage = Stage::new();
    let clinic = Clinic::new(&stage, "1");
    clinic.set(&stage, &["--unattested", "true"]);
    let project = clinic.project(&stage, "boss", "fernweh");
    let reads = reads(&stage);
    let import = ["sample", "import", &reads, "--project", &project, "--name", "fernweh"];
    let sample = stage.call("boss", &import)["id"].as_str().unwrap().to_owned();
    let written = stage.path("case.json");
    fs::write(&written, r#"{"patient": {"record_number": "4711", "family_name": "Fernweh"}}"#)
        .unwrap();
    let written = written.to_str().unwrap();
    let add = ["case", "add", "--project", &project, written];
    let case = stage.call("boss", &add)["id"].as_str().unwrap().to_owned();

    // A run is on its way.
    let card = stage.call("boss", &["project", "card", &project]);
    let phrase = card["phrase"].as_str().unwrap();
    let sends = |run: &Path, more: &[&str]| {
        let send = ["run", "send", run.to_str().unwrap(), "--project", &project, "--json"];
        let send = [&send[..], &["--card-phrase", phrase, "--poll-seconds", "1"], more].concat();
        stage.start("boss", &send)
    };
    let arriving = stage.path(Path::new(DEMO).file_name().unwrap().to_str().unwrap());
    let (first, last) = first_and_last();
    copy(&first, &arriving);
    let sender = sends(&arriving, &["--default-project", &project]);
    let runs = || stage.call("boss", &["run", "list", "--project", &project]);
    until("a run", || runs()[0]["execution"] == "receiving");

    // Nobody uses the key, and nobody but an auditor asks how it stands.
    let before = clinic.status(&stage);
    assert_eq!(before["standing"], "in_force");
    clinic.take_away();
    let mut status = Value::Null;
    until("the loss", || {
        status = clinic.status(&stage);
        status["standing"] == "taken_away"
    });
    let since = |status: &Value| status["since"].as_str().unwrap().to_owned();
    assert_eq!(status["trouble"], "no_such_key");
    assert!(since(&status) > since(&before), "it says since when: {status}");

    // Nothing opens and nothing is written.
    let out = stage.path("out").display().to_string();
    is_away(&stage, "boss", &["sample", "download", &sample, "--output", &out]);
    is_away(&stage, "boss", &["sample", "import", &reads, "--project", &project, "--name", "x"]);
    is_away(&stage, "boss", &["case", "show", &case]);
    is_away(&stage, "boss", &add);
    is_away(&stage, "boss", &["case", "link", &case, &sample]);
    // Lists have ids, states and dates.
    let listed = stage.call("boss", &["sample", "list", "--project", &project])[0].clone();
    assert_eq!((&listed["id"], &listed["name"]), (&sample.clone().into(), &"(sealed)".into()));
    let cases = stage.call("boss", &["case", "list", "--project", &project]);
    assert_eq!((&cases[0]["id"], &cases[0]["status"]), (&case.clone().into(), &"open".into()));

    // The run that is on its way arrives, and its task waits; one that begins now waits at its instrument.
    copy(&last, &arriving);
    assert!(sender.finish_quietly());
    assert_eq!(runs()[0]["execution"], "processing");
    let waiting = stage.path("240611_A01234_0001_AHXXXXXXXX");
    fs::create_dir_all(&waiting).unwrap();
    fs::write(waiting.join("RunInfo.xml"), "<RunInfo/>\n").unwrap();
    fs::write(waiting.join("CopyComplete.txt"), "").unwrap();
    let mut waits = sends(&waiting, &["--no-demultiplex"]);
    is_away(&stage, "boss", &["case", "show", &case]);
    assert!(!waits.has_ended());
    assert_eq!(runs().as_array().unwrap().len(), 1);
    assert_eq!(runs()[0]["execution"], "processing");

    // Given back: nobody does anything for it.
    clinic.give_back();
    assert!(waits.finish_quietly(), "the run that waited is sent");
    let complete = || runs().as_array().unwrap().iter().all(|run| run["execution"] == "complete");
    until("the task that waited", || runs().as_array().unwrap().len() == 2 && complete());
    let samples = stage.call("boss", &["sample", "list", "--project", &project]);
    assert_eq!(samples.as_array().unwrap().len(), 5, "four of the run, and what was there");
    assert!(samples.as_array().unwrap().iter().any(|sample| sample["name"] == "fernweh"));
    stage.call("boss", &["sample", "download", &sample, "--output", &out]);
    stage.call("boss", &["case", "link", &case, &sample]);
    let shown = stage.call("boss", &["case", "show", &case]);
    assert_eq!(shown["document"]["patient"]["family_name"], "Fernweh");
    let status = clinic.status(&stage);
    assert_eq!((&status["standing"], &status["trouble"]), (&"in_force".into(), &Value::Null));
}
