//! What an owner holds goes into other hands: other words, killed half-way; another person; another custodian; a copy for a clinic; other vault programs.

use std::fs;

use serde_json::Value;

use super::owner::{OTHER_WORDS, WORDS, own_project, refused, restore, sample};
use super::stage::{Stage, until};

const NAME: &str = "NA12878_S1_L001_R1_001.fastq.gz";

/// Downloads a dataset, and says whether its first file is the one that was imported.
pub(super) fn opens(stage: &Stage, home: &str, id: &str, into: &str) -> bool {
    let out = stage.path(into);
    stage.call(home, &["sample", "download", id, "--output", out.to_str().unwrap()]);
    fs::read(out.join(NAME)).unwrap() == fs::read(stage.path(NAME)).unwrap()
}

/// Another account with words of its own.
fn bob(stage: &Stage, hub_url: &str, ca: &str) -> (String, Value) {
    let invited = stage.call("ada", &["account", "invite", "bob"]);
    let code = invited["code"].as_str().unwrap();
    let bob = stage.call("bob", &["login", "--hub", hub_url, "--ca", ca, "--code", code]);
    restore(stage, "bob", OTHER_WORDS);
    let keys = stage.call("bob", &["identity", "show", "--format", "json"]);
    (bob["account"]["id"].as_str().unwrap().to_owned(), keys)
}

#[test]
fn new_words_open_everything_and_the_old_ones_nothing_though_it_was_killed_half_way() {
    let stage = Stage::new();
    let hub = stage.hub("127.0.0.1:0");
    stage.enrol(&hub, "ada");
    restore(&stage, "ada", WORDS);
    let project = own_project(&stage, "ada");
    let second = own_project(&stage, "ada");
    let id = sample(&stage, "ada", &project);
    let old = stage.call("ada", &["identity", "show", "--format", "json"]);

    // Killed when the new words are there, and again among the projects; given again each time.
    let home = stage.path("ada");
    let rotate = ["words", "rotate", "--print-words"];
    let first = stage.start_and_type_back("ada", &rotate);
    until("the new words", || home.join("identity.next").exists());
    first.kill();
    assert!(home.join("identity").exists(), "the old words are still there");
    let begun = || home.join("handovers").read_dir().is_ok_and(|mut all| all.next().is_some());
    let again = stage.start("ada", &rotate);
    until("a project on its way", begun);
    again.kill();
    let done = stage.call("ada", &rotate);
    assert!(done["projects"].as_array().unwrap().len() <= 2, "{done}");
    assert!(!home.join("identity.next").exists());
    let new = stage.call("ada", &["identity", "show", "--format", "json"]);
    assert_ne!((&old["card"], &old["sealing"]), (&new["card"], &new["sealing"]));

    assert!(opens(&stage, "ada", &id, "after"));
    for of in [&project, &second] {
        let card = stage.call("ada", &["project", "card", of]);
        assert_eq!(card["card"]["number"], 2, "one change, however often it was begun");
    }
    // What comes later is sealed to the new words.
    let file = stage.path("later.fastq");
    fs::write(&file, "@r\nACGT\n+\nFFFF\n").unwrap();
    let import = ["sample", "import", file.to_str().unwrap(), "--project", &project];
    stage.call("ada", &[&import[..], &["--name", "later", "--single"]].concat());

    // Somebody who has the old words and Ada's login: nothing opens, and nothing is approved.
    stage.told("ada", &["words", "restore", "--force"], WORDS);
    let said = refused(&stage, "ada", &["sample", "download", &id, "--output", "nowhere"]);
    assert!(said.contains("not one that your words signed"), "{said}");
    let said =
        refused(&stage, "ada", &["approve", "custody", &project, "--to", "platform", "--yes"]);
    assert!(said.contains("another owner") || said.contains("not one that your words"), "{said}");
    drop(hub);
}

#[test]
fn a_project_is_given_to_another_person_and_a_copy_and_then_all_of_it_to_others() {
    let stage = Stage::new();
    let hub = stage.hub("127.0.0.1:0");
    stage.enrol(&hub, "ada");
    restore(&stage, "ada", WORDS);
    let project = own_project(&stage, "ada");
    let id = sample(&stage, "ada", &project);
    let (account, keys) = bob(&stage, &hub.url, &hub.ca_file);
    let person = stage.path("bob.json");
    fs::write(&person, keys.to_string()).unwrap();
    let give = ["approve", "transfer", &project, "--to", &account, "--person"];
    let give = [&give[..], &[person.to_str().unwrap(), "--phrase"]].concat();
    let wrong = [&give[..], &["zoo zoo zoo zoo zoo zoo"]].concat();
    assert!(refused(&stage, "ada", &wrong).contains("not the six words"));
    let given = [&give[..], &[keys["person_phrase"].as_str().unwrap()]].concat();
    assert_eq!(stage.call("ada", &given)["keys"], 2);
    // Ada's until Bob takes it.
    assert!(opens(&stage, "ada", &id, "still-adas"));
    let offers = stage.call("bob", &["project", "transfer", "list"]);
    let offer = offers[0]["id"].as_str().unwrap();
    assert_eq!(stage.call("bob", &["project", "transfer", "accept", offer])["state"], "accepted");
    assert!(opens(&stage, "bob", &id, "bobs"));
    assert!(!stage.run("ada", &["sample", "show", &id]).status.success());

    // A copy for a clinic: others hold its key, and the hub can say its name.
    let (clinic, _) = stage.project("bob", "the clinic's");
    let export = ["approve", "export", &id, "--into", &clinic, "--yes"];
    let copy = stage.call("bob", &export);
    assert_eq!((&copy["custodian"], &copy["name"]), (&"platform".into(), &"NA12878".into()));
    assert!(opens(&stage, "bob", copy["id"].as_str().unwrap(), "the-clinics"));
    let back = ["approve", "export", &id, "--into", &project, "--yes"];
    assert!(refused(&stage, "bob", &back).contains("held by its owner"));

    // Other vault programs: by a list whose key was compared, and never by an older one.
    let list = stage.path("list.json");
    let release = |number: &str, byte: &str| {
        let measurement = byte.repeat(48);
        let make = ["vault", "release", "--measurement", &measurement, "--number", number];
        let rest = ["--version", "1.0.0", "-o", list.to_str().unwrap()];
        stage.call("ada", &[&make[..], &rest].concat())
    };
    let words = release("2", "ab")["key_phrase"].as_str().unwrap().to_owned();
    let update = ["approve", "update", "--release", list.to_str().unwrap(), "--yes"];
    let wrong = [&update[..], &["--key-phrase", "zoo zoo zoo zoo zoo zoo"]].concat();
    assert!(refused(&stage, "bob", &wrong).contains("not the six words"));
    let took = stage.call("bob", &[&update[..], &["--key-phrase", &words]].concat());
    assert_eq!(took["projects"], serde_json::json!([project]));
    let card = stage.call("bob", &["project", "card", &project]);
    assert_eq!(card["card"]["measurements"].as_array().unwrap().len(), 1, "{card}");
    release("1", "cd");
    assert!(refused(&stage, "bob", &update).contains("number 2 was seen"));

    // Into the operator's hands: from then on the hub can read.
    let custody = ["approve", "custody", &project, "--to", "platform", "--yes"];
    assert_eq!(stage.call("bob", &custody)["keys"], 2);
    let shown = stage.call("bob", &["sample", "show", &id]);
    assert_eq!(
        (&shown["dataset"]["custodian"], &shown["dataset"]["name"]),
        (&"platform".into(), &"NA12878".into())
    );
    assert!(opens(&stage, "bob", &id, "the-platforms"));
    drop(hub);
}
