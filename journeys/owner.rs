//! A person holds the key: a project of their words, an app that their device approves, a result that they alone read, a
//! request that they refuse, a device that they revoke; and what a thief of the hub's disks, or a hub that lies, gets of it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::stage::{Stage, files, until};

pub(super) const WORDS: &str = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about\n";
pub(super) const OTHER_WORDS: &str = "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo wrong\n";
/// A sequence that stands in every read, so that it can be searched for.
const CANARY: &str = "GATTACATTGACCATTACGAGATTACATCCA";

/// Reads of one end, gzipped as instruments give them.
pub(crate) fn reads(path: &Path, mate: u32) {
    let mut out =
        flate2::write::GzEncoder::new(fs::File::create(path).unwrap(), flate2::Compression::fast());
    for n in 0..400 {
        let quality = "F".repeat(CANARY.len());
        write!(out, "@A:1:F:1:{n} {mate}:N:0:ACGT\n{CANARY}\n+\n{quality}\n").unwrap();
    }
    out.finish().unwrap();
}

/// The words of somebody become keys on this machine.
pub(super) fn restore(stage: &Stage, home: &str, words: &str) {
    stage.told(home, &["words", "restore"], words);
}

/// Ada's project, made under her words, with the mark of a trial.
pub(super) fn own_project(stage: &Stage, home: &str) -> String {
    let create = ["project", "create", "my genome", "--custodian", "owner", "--test"];
    stage.call(home, &create)["id"].as_str().unwrap().to_owned()
}

pub(super) fn sample(stage: &Stage, home: &str, project: &str) -> String {
    let pair: Vec<PathBuf> = (1..=2)
        .map(|mate| {
            let path = stage.path(&format!("NA12878_S1_L001_R{mate}_001.fastq.gz"));
            reads(&path, mate);
            path
        })
        .collect();
    let (first, second) = (pair[0].to_str().unwrap(), pair[1].to_str().unwrap());
    let import = ["sample", "import", first, second, "--project", project, "--name", "NA12878"];
    stage.call(home, &import)["id"].as_str().unwrap().to_owned()
}

/// Whether any file of the hub holds these bytes.
fn holds(stage: &Stage, bytes: &[u8]) -> Vec<PathBuf> {
    let in_file = |path: &PathBuf| {
        fs::read(path).is_ok_and(|all| all.windows(bytes.len()).any(|part| part == bytes))
    };
    files(&stage.path("hub")).into_iter().map(|(path, _)| path).filter(in_file).collect()
}

/// What a command that must fail said.
pub(super) fn refused(stage: &Stage, home: &str, words: &[&str]) -> String {
    let output = stage.run(home, words);
    assert!(!output.status.success(), "{words:?} was not refused");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The one request that waits for somebody.
pub(super) fn waiting(stage: &Stage, home: &str) -> String {
    let mut found = None;
    until("a request", || {
        let list = stage.call(home, &["approve", "list"]);
        let pending = |one: &&Value| one["state"] == "pending";
        found = list.as_array().unwrap().iter().find(pending).map(|one| one["id"].clone());
        found.is_some()
    });
    found.unwrap().as_str().unwrap().to_owned()
}

#[test]
fn nothing_but_the_owners_words_opens_what_is_the_owners() {
    let stage = Stage::new();
    let hub = stage.hub("127.0.0.1:0");
    stage.enrol(&hub, "ada");
    restore(&stage, "ada", WORDS);
    let project = own_project(&stage, "ada");
    let card = stage.call("ada", &["project", "card", &project]);
    assert_eq!((&card["card"]["test"], &card["card"]["number"]), (&true.into(), &1.into()));
    let id = sample(&stage, "ada", &project);

    // With the words: names, files, content.
    let shown = stage.call("ada", &["sample", "show", &id]);
    assert_eq!(shown["dataset"]["name"], "NA12878");
    assert_eq!(shown["files"].as_array().unwrap().len(), 2);
    let out = stage.path("out");
    stage.call("ada", &["sample", "download", &id, "--output", out.to_str().unwrap()]);
    let name = "NA12878_S1_L001_R1_001.fastq.gz";
    assert!(fs::read(out.join(name)).unwrap() == fs::read(stage.path(name)).unwrap());

    // A member with every right but the words: ids, sizes, times.
    let invited = stage.call("ada", &["account", "invite", "bob"]);
    let code = invited["code"].as_str().unwrap();
    let bob =
        stage.call("bob", &["login", "--hub", &hub.url, "--ca", &hub.ca_file, "--code", code]);
    let account = bob["account"]["id"].as_str().unwrap();
    stage.call("ada", &["project", "members", "add", &project, account, "admin"]);
    restore(&stage, "bob", OTHER_WORDS);
    let seen = stage.call("bob", &["sample", "list"]);
    assert_eq!((&seen[0]["id"], &seen[0]["name"]), (&id.as_str().into(), &"(sealed)".into()));
    let said = refused(&stage, "bob", &["sample", "download", &id]);
    assert!(said.contains("not one that your words signed"), "{said}");

    // Shared: Bob's own words open this one, once he has confirmed whose project it is.
    let theirs = stage.call("bob", &["identity", "show", "--format", "json"]);
    let key = theirs["sealing"].as_str().unwrap();
    let words = theirs["sealing_phrase"].as_str().unwrap();
    let share = ["approve", "share", &id, "--with", account, "--key", key, "--phrase"];
    let wrong = [&share[..], &["zoo zoo zoo zoo zoo zoo"]].concat();
    assert!(refused(&stage, "ada", &wrong).contains("not the six words"));
    stage.call("ada", &[&share[..], &[words]].concat());
    let said = refused(&stage, "bob", &["sample", "download", &id]);
    assert!(said.contains("nobody has confirmed the card"), "{said}");
    stage
        .call("bob", &["project", "card", &project, "--confirm", card["phrase"].as_str().unwrap()]);
    let out = stage.path("bobs");
    stage.call("bob", &["sample", "download", &id, "--output", out.to_str().unwrap()]);
    assert!(fs::read(out.join(name)).unwrap() == fs::read(stage.path(name)).unwrap());

    // Whoever may create can send, sealed to the card that was confirmed.
    let file = stage.path("of-bob.fastq");
    fs::write(&file, "@r\nACGT\n+\nFFFF\n").unwrap();
    let import = ["sample", "import", file.to_str().unwrap(), "--project", &project];
    let import = [&import[..], &["--name", "of bob", "--single"]].concat();
    stage.call("bob", &import);
    // And what is not the project's own writer's is refused on the owner's machine.
    let of_bob = stage.call("ada", &["sample", "list"]);
    let of_bob = of_bob.as_array().unwrap().iter().find(|one| one["id"] != id.as_str()).unwrap();
    let said = refused(&stage, "ada", &["sample", "download", of_bob["id"].as_str().unwrap()]);
    assert!(said.contains("a key that the owner's card does not know"), "{said}");

    // The thief of everything that the hub's machine has: database, key store, facilities, the platform's key beside them.
    drop(hub);
    assert!(!files(&stage.path("hub")).is_empty());
    for secret in [&b"GATTACATTGACC"[..], b"NA12878", b"my genome", b"of bob"] {
        assert_eq!(holds(&stage, secret), Vec::<PathBuf>::new());
    }
}

/// The package of an app that looks at reads; nothing, said, where it cannot be packed.
#[expect(clippy::print_stdout, reason = "a test that is skipped says so where tests say things")]
pub(crate) fn pack_read_quality(stage: &Stage) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let package = stage.path("read-quality.chorionapp");
    let app = root.join("apps/read-quality");
    let cache = root.join("target/app-cache/packages");
    let pack = ["app", "pack", app.to_str().unwrap(), "-o", package.to_str().unwrap(), "--cache"];
    let packed = stage.run("nobody", &[&pack[..], &[cache.to_str().unwrap()]].concat());
    if !packed.status.success() {
        assert!(std::env::var_os("CI").is_none(), "apps cannot be packed: testing/setup.sh demo");
        println!("skipped: not here (bubblewrap, or apt's packages)");
        return None;
    }
    Some(package)
}

#[test]
fn an_app_runs_when_the_owners_device_approves_and_not_otherwise() {
    let stage = Stage::new();
    let Some(package) = pack_read_quality(&stage) else { return };
    let hub = stage.hub_with_vaults("127.0.0.1:0", 1);
    stage.enrol(&hub, "ada");
    restore(&stage, "ada", WORDS);
    let project = own_project(&stage, "ada");
    let id = sample(&stage, "ada", &project);
    let (tools, _) = stage.project("ada", "tools");
    stage.call("ada", &["app", "register", package.to_str().unwrap(), "--project", &tools]);

    let input = format!("reads={id}");
    let launch =
        ["app", "launch", "read-quality", "--input", &input, "--project", &project, "--yes"];
    assert!(refused(&stage, "ada", &launch).contains("wants to know what for"));
    let launch = [&launch[..], &["--purpose", "are my reads any good"]].concat();
    let session = stage.call("ada", &launch);
    let phrase = session["request_phrase"].as_str().unwrap();

    // The owner's side: drawn from what is signed, and given for the words on the other screen alone.
    let request = waiting(&stage, "ada");
    let shown = stage.call("ada", &["approve", "show", &request]);
    let text = shown["sentences"].to_string();
    for said in
        ["read-quality 1.0.0", "are my reads any good", "NOT CONFIDENTIAL", "its owner alone"]
    {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert_eq!(shown["request_phrase"], phrase);
    assert!(refused(&stage, "ada", &["approve", "yes", &request]).contains("nobody compared"));
    let wrong = ["approve", "yes", &request, "--phrase", "zoo zoo zoo zoo zoo zoo"];
    assert!(refused(&stage, "ada", &wrong).contains("somebody else's request"));
    let given = stage.call("ada", &["approve", "yes", &request, "--phrase", phrase]);

    let ended = stage.call("ada", &["session", "show", session["id"].as_str().unwrap(), "--wait"]);
    assert_eq!(ended["session"]["state"], "complete", "{ended}");
    assert_eq!(ended["receipt"]["approvals"], json!([given["approval_digest"]]));
    let out = stage.path("out");
    let result = session["result"].as_str().unwrap();
    stage.call("ada", &["result", "download", result, "--output", out.to_str().unwrap()]);
    let report =
        files(&out).into_iter().find(|(path, _)| path.to_string_lossy().ends_with(".fastp.json"));
    assert!(fs::read_to_string(report.unwrap().0).unwrap().contains("before_filtering"));
    assert_eq!(holds(&stage, CANARY.as_bytes()), Vec::<PathBuf>::new());
    // The same answer once more is no answer.
    assert!(!stage.run("ada", &["approve", "yes", &request, "--phrase", phrase]).status.success());

    // A standing grant: the device answers by itself, as often as was said.
    let digest = ended["session"]["app_digest"].as_str().unwrap();
    let grant = ["approve", "grant", "--project", &project, "--app", digest, "--uses", "1"];
    let grant = [&grant[..], &["--days", "1", "--purpose", "every night", "--yes"]].concat();
    stage.call("ada", &grant);
    let second = stage.call("ada", &launch);
    waiting(&stage, "ada");
    let watched = stage.call("ada", &["approve", "--watch", "--idle", "2"]);
    assert_eq!(watched["carried_out"], 1);
    let ended = stage.call("ada", &["session", "show", second["id"].as_str().unwrap(), "--wait"]);
    assert_eq!(ended["session"]["state"], "complete");

    // Refused: the session fails, and says what the owner said. The grant is used up.
    let third = stage.call("ada", &launch);
    let request = waiting(&stage, "ada");
    assert_eq!(stage.call("ada", &["approve", "--watch", "--idle", "2"])["carried_out"], 0);
    stage.call("ada", &["approve", "no", &request, "--reason", "not today"]);
    let said =
        refused(&stage, "ada", &["session", "show", third["id"].as_str().unwrap(), "--wait"]);
    assert!(said.contains("the owner refused: not today"), "{said}");

    // Revoked: this device approves nothing any more.
    let device = stage.call("ada", &["device", "list"])[0]["key"].as_str().unwrap().to_owned();
    stage.call("ada", &["device", "revoke", &device]);
    let fourth = stage.call("ada", &launch);
    let request = waiting(&stage, "ada");
    let phrase = fourth["request_phrase"].as_str().unwrap();
    let said = refused(&stage, "ada", &["approve", "yes", &request, "--phrase", phrase]);
    assert!(said.contains("not certified"), "{said}");
    stage.call("ada", &["session", "cancel", fourth["id"].as_str().unwrap()]);
    drop(hub);
}

/// Changes rows of the hub's database, as whoever has the machine can.
pub(super) fn tamper(stage: &Stage, sql: &str) {
    let find = |(path, _): &(PathBuf, u64)| {
        fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"SQLite format 3"))
    };
    let databases: Vec<_> = files(&stage.path("hub")).into_iter().filter(find).collect();
    let [(database, _)] = &databases[..] else { panic!("one database, not {databases:?}") };
    let script = "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\nc.executescript(sys.argv[2])\nc.commit()\n";
    let done =
        Command::new("python3").args(["-c", script]).arg(database).arg(sql).status().unwrap();
    assert!(done.success());
}

#[test]
fn a_hub_that_lies_is_noticed_on_the_owners_machine() {
    let stage = Stage::new();
    let hub = stage.hub("127.0.0.1:0");
    stage.enrol(&hub, "ada");
    restore(&stage, "ada", WORDS);
    let project = own_project(&stage, "ada");
    let one = sample(&stage, "ada", &project);
    let second = stage.path("second.fastq");
    fs::write(&second, "@r\nTTTT\n+\nFFFF\n").unwrap();
    let import = ["sample", "import", second.to_str().unwrap(), "--project", &project];
    let other = stage.call("ada", &[&import[..], &["--name", "second", "--single"]].concat());
    let other = other["id"].as_str().unwrap().to_owned();
    // A second card: another device is certified, and the first card is old from here on.
    let another = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    stage.call("ada", &["device", "add", another]);
    let listen = hub.url.trim_start_matches("https://").replace("localhost", "127.0.0.1");
    hub.kill();

    let download = |id: &str| {
        let out = stage.path("lied");
        refused(&stage, "ada", &["sample", "download", id, "--output", out.to_str().unwrap()])
    };
    // The content of one dataset under the name of another.
    tamper(
        &stage,
        &format!(
            "UPDATE manifests SET (statement, signature, signer, digest) =
             (SELECT statement, signature, signer, digest FROM manifests WHERE dataset = '{other}')
         WHERE dataset = '{one}'"
        ),
    );
    let hub = stage.hub(&listen);
    let said = download(&one);
    assert!(said.contains("speaks of something else"), "{said}");
    hub.kill();

    // A project that is said to be the platform's: what is sealed goes by the card all the same, and the hub cannot adopt it.
    tamper(&stage, "UPDATE projects SET custodian = 'platform'");
    let hub = stage.hub(&listen);
    let again = [&import[..], &["--name", "third", "--single", "--again"]].concat();
    assert!(!stage.run("ada", &again).status.success());
    hub.kill();
    tamper(&stage, "UPDATE projects SET custodian = 'owner'");

    // An older card.
    tamper(&stage, &format!("DELETE FROM cards WHERE project = '{project}' AND number = 2"));
    let hub = stage.hub(&listen);
    let said = download(&other);
    assert!(said.contains("has number 1, and number 2 was seen before"), "{said}");
    let said = refused(&stage, "ada", &["device", "list"]);
    assert!(said.contains("has number 1, and number 2 was seen before"), "{said}");
    let said = refused(&stage, "ada", &again);
    assert!(said.contains("has number 1, and number 2 was seen before"), "{said}");
    drop(hub);
}
