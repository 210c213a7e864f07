//! A clinic whose key lies in a cloud (a stand-in of it): how often the cloud is asked, that both logs agree, that one can go to another
//! provider, and that one can leave for the platform's custody.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::own_key::{Clinic, cases, found};
use super::stage::{Stage, until};

/// The stand-in of AWS; it ends with the story.
struct Cloud {
    process: Child,
    port: String,
}

impl Drop for Cloud {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn program() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testing/kms/aws.py")
}

impl Cloud {
    fn start() -> Self {
        let mut command = Command::new("python3");
        let mut process = command.arg(program()).stdout(Stdio::piped()).spawn().unwrap();
        let mut port = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Self { process, port: port.trim().to_owned() }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn tell(&self, words: Option<Value>) -> Value {
        let mut command = Command::new("python3");
        command.arg(program()).arg(&self.port).args(words.map(|words| words.to_string()));
        serde_json::from_slice(&command.output().unwrap().stdout).unwrap()
    }

    /// How often each key of the organization was unwrapped. A canary is nobody's key: it is what probes ask about.
    fn unwraps(&self) -> BTreeMap<String, usize> {
        let mut unwraps = BTreeMap::new();
        let told = self.tell(None);
        for record in told["Records"].as_array().unwrap() {
            let context = &record["requestParameters"]["encryptionContext"];
            let purpose = context["chorion:purpose"].as_str().unwrap_or_default();
            if record["eventName"] == "Decrypt" && purpose != "canary" {
                let version = context["chorion:version"].as_str().unwrap();
                *unwraps.entry(format!("{purpose}/{version}")).or_default() += 1;
            }
        }
        unwraps
    }
}

#[test]
fn a_cloud_is_asked_once_a_lease_both_logs_agree_and_a_clinic_leaves_it_without_a_pause() {
    let stage = Stage::new();
    let cloud = Cloud::start();
    let clinic = Clinic::with(&stage, &["--vaults", "0", "--aws-endpoint", &cloud.url()]);
    let key = cloud.tell(Some(json!({"make": "clinic"})))["arn"].as_str().unwrap().to_owned();
    let secret = stage.path("secret");
    fs::write(&secret, "a secret\n").unwrap();
    let secret = secret.to_str().unwrap();
    let set = ["org", "kms", "set", &clinic.id, "--aws-key", "alias/clinic"];
    let by = ["--aws-region", "eu-central-1", "--aws-access-key", "AKIAIOSFODNN7EXAMPLE"];
    let sure = ["--secret-file", secret, "--confirm", &clinic.id];
    let test = stage.call("boss", &[&set[..], &by, &sure].concat());
    assert_eq!(test["key"], key);
    assert_eq!(cloud.unwraps(), BTreeMap::new(), "setting up unwraps a canary alone");

    // Whatever is done in a lease of 300 s, each wrapped key is unwrapped once.
    let project = clinic.project(&stage, "boss", "panel");
    let reads = stage.path("fernweh.fastq");
    fs::write(&reads, "@a\nACGT\n+\nIIII\n").unwrap();
    let reads = reads.to_str().unwrap();
    let import = |name: &str| {
        let words = ["sample", "import", reads, "--project", &project, "--name", name];
        stage.call("boss", &words)["id"].as_str().unwrap().to_owned()
    };
    let sample = import("first");
    import("second");
    let table = stage.path("cases.csv");
    let row = |n: u32| format!("{n},Fernweh\n");
    let rows: String = (0..300).map(row).collect();
    fs::write(&table, format!("record_number,family_name\n{rows}")).unwrap();
    stage.call("boss", &["case", "import", "--project", &project, table.to_str().unwrap()]);
    let listed = stage.call("boss", &["case", "list", "--project", &project]);
    for case in listed.as_array().unwrap().iter().take(5) {
        stage.call("boss", &["case", "show", case["id"].as_str().unwrap()]);
    }
    let once = ["data/1", "index/1", "recipient/1"].map(|name| (name.to_owned(), 1));
    assert_eq!(cloud.unwraps(), BTreeMap::from(once));

    // Both logs have the same uses; one that the hub does not have is named.
    let log = stage.path("cloudtrail.json");
    let mut trail = cloud.tell(None);
    fs::write(&log, trail.to_string()).unwrap();
    let reconcile = ["audit", "reconcile", "--organization", &clinic.id, "--kms-log"];
    let reconcile = [&reconcile[..], &[log.to_str().unwrap()]].concat();
    let compared = stage.call("watcher", &reconcile);
    assert!(compared["matched"].as_u64().unwrap() >= 9, "{compared}");
    assert_eq!(compared["only_theirs"], json!([]));
    let records = trail["Records"].as_array_mut().unwrap();
    let mut hidden = records.iter().find(|r| r["eventName"] == "Decrypt").unwrap().clone();
    hidden["requestID"] = json!("a-use-that-nobody-logged");
    records.push(hidden);
    fs::write(&log, trail.to_string()).unwrap();
    let output = stage.run("watcher", &reconcile);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("a-use-that-nobody-logged"), "{said}");

    // The clinic leaves that cloud: another provider wraps what the old key opened, and then the old one is not needed any more.
    clinic.set(&stage, &[]);
    cloud.tell(Some(json!({"state": [key, "Deleted"]})));
    let out = stage.path("out").display().to_string();
    stage.call("boss", &["sample", "download", &sample, "--output", &out]);
    let case = listed[0]["id"].as_str().unwrap();
    let shown = stage.call("boss", &["case", "show", case]);
    assert_eq!(shown["document"]["patient"]["family_name"], "Fernweh");
    import("third");
    let status = clinic.status(&stage);
    assert_eq!((&status["standing"], &status["lease_seconds"]), (&json!("in_force"), &json!(2)));
    let under = |version: &Value| version["key"].as_str().unwrap().contains("customer");
    assert!(status["versions"].as_array().unwrap().iter().all(under), "{status}");

    // Taken away there, it is noticed there.
    clinic.take_away();
    until("the loss", || clinic.status(&stage)["standing"] == "taken_away");
}

/// Sets a key in the stand-in up; gives its name there.
fn set_in_cloud(stage: &Stage, cloud: &Cloud, clinic: &Clinic) -> String {
    let key = cloud.tell(Some(json!({"make": "clinic"})))["arn"].as_str().unwrap().to_owned();
    let secret = stage.path("secret");
    fs::write(&secret, "a secret\n").unwrap();
    let set = ["org", "kms", "set", &clinic.id, "--aws-key", "alias/clinic"];
    let by = ["--aws-region", "eu-central-1", "--aws-access-key", "AKIAIOSFODNN7EXAMPLE"];
    let sure = ["--secret-file", secret.to_str().unwrap(), "--confirm", &clinic.id];
    stage.call("boss", &[&set[..], &by, &sure].concat());
    key
}

#[test]
fn a_clinic_leaves_its_key_for_the_platforms_custody_across_a_kill_and_needs_the_cloud_no_more() {
    let stage = Stage::new();
    let cloud = Cloud::start();
    let options = ["--vaults", "0", "--aws-endpoint", &cloud.url()];
    let clinic = Clinic::with(&stage, &options);
    set_in_cloud(&stage, &cloud, &clinic);
    let project = clinic.project(&stage, "boss", "panel");
    let reads = stage.path("fernweh.fastq");
    fs::write(&reads, "@a\nACGT\n+\nIIII\n").unwrap();
    let reads = reads.to_str().unwrap();
    let import = |name: &str| {
        let words = ["sample", "import", reads, "--project", &project, "--name", name];
        stage.call("boss", &words)["id"].as_str().unwrap().to_owned()
    };
    let samples: Vec<String> = (0..5).map(|n| import(&format!("sample-{n}"))).collect();
    stage.call("boss", &["org", "fields", "on", &clinic.id, "family_name"]);
    let cases = cases(&stage, "boss", &project, 2);
    until("the index", || found(&stage, "boss", &project) == cases);
    let phrase = |of: &Value| of["phrase"].as_str().unwrap().to_owned();
    let before = phrase(&stage.call("boss", &["project", "card", &project]));

    let unsure = stage.run("boss", &["org", "kms", "leave", &clinic.id]);
    assert!(!unsure.status.success());
    let said = String::from_utf8_lossy(&unsure.stderr);
    for part in ["the operator of this hub can read", "has no effect any more", "--confirm"] {
        assert!(said.contains(part), "it says what it means: {said}");
    }
    let left = stage.call("boss", &["org", "kms", "leave", &clinic.id, "--confirm", &clinic.id]);
    assert_eq!((&left["kind"], &left["total"]), (&json!("leave"), &json!(6)), "{left}");
    // The hub is killed while it is at it, and the cloud is gone for good.
    let (listen, keys) = (clinic.hub.listen(), clinic.keys());
    let id = clinic.id.clone();
    clinic.hub.kill();
    drop(cloud);
    let options = [&options[..], &["--development-keys", keys.to_str().unwrap()]].concat();
    let hub = stage.hub_in("hub", &listen, &options);

    // Everything answers from the first moment on, whether its key is wrapped anew already or not.
    let reads_again = |name: &str| {
        for sample in &samples {
            let out = stage.path(&format!("{name}-{sample}")).display().to_string();
            stage.call("boss", &["sample", "download", sample, "--output", &out]);
        }
        let shown = stage.call("boss", &["case", "show", &cases[1]]);
        assert_eq!(shown["document"]["patient"]["record_number"], "4711-1");
        assert_eq!(found(&stage, "boss", &project), cases);
    };
    reads_again("first");
    let status = || stage.call("watcher", &["org", "kms", "status", &id]);
    until("the end", || !status()["rotations"][0]["ended"].is_null());
    reads_again("then");
    let status = status();
    assert_eq!(status["service"]["provider"], "platform", "{status}");
    assert_eq!(
        (&status["rotations"][0]["done"], &status["standing"]),
        (&json!(6), &json!("in_force"))
    );
    import("after");
    let shown = stage.call("boss", &["project", "show", &project]);
    assert_eq!(shown["custodian"], "platform");
    let card = stage.call("boss", &["project", "card", &project]);
    assert_ne!(phrase(&card), before, "whoever pinned the card is asked");
    drop(hub);
}
