//! An operator takes away from an owner what no signature misses: a whole dataset, the newest content of one, the right content in the
//! right place; and has one vault show what another proved. The owner's machine remembers what there was, the log tells it to one that
//! does not, and a vault answers for itself alone.

use std::fs;

use serde_json::Value;

use super::owner::{WORDS, own_project, refused, restore, sample, tamper, waiting};
use super::stage::{Stage, until};

/// What `audit verify` is alarmed by.
fn alarms(stage: &Stage, home: &str) -> Vec<String> {
    let output = stage.run(home, &["audit", "verify"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(!output.status.success(), "no alarm: {found:#}");
    let alarms = found["alarms"].as_array().unwrap().iter();
    alarms.map(|alarm| alarm.as_str().unwrap().to_owned()).collect()
}

/// How many datasets `audit verify` finds as the log tells them.
fn verified(stage: &Stage, home: &str) -> u64 {
    let found = stage.call(home, &["audit", "verify"]);
    assert_eq!(found["holds"], true, "{found:#}");
    found["datasets"].as_u64().unwrap()
}

/// From here on this machine is one that saw nothing yet.
fn forget(stage: &Stage, home: &str) {
    for memory in ["audit", "manifests"] {
        fs::remove_dir_all(stage.path(home).join(memory)).ok();
    }
}

fn second_sample(stage: &Stage, project: &str) -> String {
    let file = stage.path("second.fastq");
    fs::write(&file, "@r\nTTTT\n+\nFFFF\n").unwrap();
    let import = ["sample", "import", file.to_str().unwrap(), "--project", project];
    let made = stage.call("ada", &[&import[..], &["--name", "second", "--single"]].concat());
    made["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_dataset_that_a_hub_drops_is_named_on_a_machine_that_saw_it_and_on_one_that_did_not() {
    let stage = Stage::new();
    let hub = stage.hub("127.0.0.1:0");
    let listen = hub.listen();
    stage.enrol(&hub, "ada");
    restore(&stage, "ada", WORDS);
    let project = own_project(&stage, "ada");
    let (one, other) = (sample(&stage, "ada", &project), second_sample(&stage, &project));
    assert_eq!(verified(&stage, "ada"), 2);
    hub.kill();

    // It is in no list any more, and everything else is as it was.
    let kept = "CREATE TABLE kept AS SELECT * FROM datasets";
    tamper(&stage, &format!("{kept}; DELETE FROM datasets WHERE id = '{one}'"));
    let hub = stage.hub(&listen);
    let output = stage.run("ada", &["sample", "list"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&format!("sample {one} of project {project} was here")), "{said}");
    let [alarm] = &alarms(&stage, "ada")[..] else { panic!("one alarm") };
    assert!(alarm.contains(&one) && alarm.contains("is missing"), "{alarm}");
    // What is remembered stays, so that the next time says the same.
    assert_eq!(alarms(&stage, "ada").len(), 1);
    forget(&stage, "ada");
    let [alarm] = &alarms(&stage, "ada")[..] else { panic!("one alarm") };
    assert!(alarm.contains(&one) && alarm.contains("of the log is a content of it"), "{alarm}");
    hub.kill();

    // A hub that says it has destroyed it, in its log, as the log of a time before approvals would.
    let back = "INSERT INTO datasets SELECT * FROM kept WHERE id NOT IN (SELECT id FROM datasets)";
    tamper(&stage, back);
    let hub = stage.hub(&listen);
    assert_eq!(verified(&stage, "ada"), 2);
    hub.kill();
    tamper(
        &stage,
        &format!(
            "DELETE FROM datasets WHERE id = '{one}';
             INSERT INTO events (id, at, actor, act, object, project, outcome)
             SELECT 'ffffffff-ffff-7fff-8fff-ffffffffffff', max(at), 'hub', 'dataset.delete', 'dataset:{one}', '{project}', 'done'
             FROM events;
             DELETE FROM meta WHERE name = 'audit log begun'"
        ),
    );
    let hub = stage.hub(&listen);
    let [alarm] = &alarms(&stage, "ada")[..] else { panic!("one alarm") };
    assert!(alarm.contains(&one) && alarm.contains("no approval of yours"), "{alarm}");
    hub.kill();

    // What the owner destroys is missed by nobody.
    tamper(&stage, back);
    let hub = stage.hub(&listen);
    stage.call("ada", &["sample", "delete", &other, "--yes", "second"]);
    assert_eq!(verified(&stage, "ada"), 0);
    drop(hub);
}

#[test]
fn content_that_a_hub_rolls_back_or_mixes_is_named_and_not_opened() {
    let stage = Stage::new();
    let hub = stage.hub_with_vaults("127.0.0.1:0", 1);
    let listen = hub.listen();
    stage.enrol(&hub, "ada");
    restore(&stage, "ada", WORDS);
    let project = own_project(&stage, "ada");
    let (one, other) = (sample(&stage, "ada", &project), second_sample(&stage, &project));
    assert_eq!(verified(&stage, "ada"), 2);

    // A second content of each: written anew under other words.
    let rotate = ["words", "rotate", "--print-words", "--re-seal"];
    assert!(stage.start_and_type_back("ada", &rotate).finish_quietly());
    // While it is written anew, two calls may be answered of two contents: then it is asked again.
    let is_anew = |id: &str| {
        let shown = stage.run("ada", &["sample", "show", id]);
        let shown: Value = serde_json::from_slice(&shown.stdout).unwrap_or_default();
        shown["dataset"]["manifest_number"] == 2
    };
    until("both written anew", || {
        let list = stage.call("ada", &["approve", "list"]);
        for request in list.as_array().unwrap().iter().filter(|one| one["state"] == "pending") {
            let id = request["id"].as_str().unwrap();
            let shown = stage.call("ada", &["approve", "show", id]);
            let phrase = shown["request_phrase"].as_str().unwrap();
            stage.call("ada", &["approve", "yes", id, "--phrase", phrase]);
        }
        is_anew(&one) && is_anew(&other)
    });
    assert_eq!(verified(&stage, "ada"), 2);
    hub.kill();

    // What was there before is shown again as if it were the newest.
    let show = |number: u32, id: &str| {
        tamper(
            &stage,
            &format!("UPDATE datasets SET manifest_number = {number} WHERE id = '{id}'"),
        );
    };
    show(1, &one);
    let hub = stage.hub(&listen);
    let [alarm] = &alarms(&stage, "ada")[..] else { panic!("one alarm") };
    assert!(alarm.contains(&one) && alarm.contains("but showed content 2 before"), "{alarm}");
    let out = stage.path("out");
    let download = ["sample", "download", &one, "--output", out.to_str().unwrap()];
    let said = refused(&stage, "ada", &download);
    assert!(said.contains("speaks of something else"), "{said}");
    // A machine that never saw the later one has it from the log.
    forget(&stage, "ada");
    let [alarm] = &alarms(&stage, "ada")[..] else { panic!("one alarm") };
    assert!(alarm.contains(&one) && alarm.contains("of the log is a later one"), "{alarm}");
    hub.kill();
    show(2, &one);

    // The content of one under the name of the other.
    tamper(
        &stage,
        &format!(
            "UPDATE manifests SET (statement, signature, signer, digest) =
             (SELECT statement, signature, signer, digest FROM manifests WHERE dataset = '{other}' AND number = 2)
             WHERE dataset = '{one}' AND number = 2"
        ),
    );
    let hub = stage.hub(&listen);
    let [alarm] = &alarms(&stage, "ada")[..] else { panic!("one alarm") };
    assert!(alarm.contains(&one) && alarm.contains("is no content of it"), "{alarm}");
    let said = refused(&stage, "ada", &download);
    assert!(said.contains("speaks of something else"), "{said}");
    drop(hub);
}

#[test]
fn what_one_vault_proved_or_was_given_is_of_no_use_to_another() {
    let stage = Stage::new();
    let hub = stage.hub_with_vaults("127.0.0.1:0", 2);
    stage.enrol(&hub, "ada");
    restore(&stage, "ada", WORDS);
    let project = own_project(&stage, "ada");
    let file = stage.path("anna.vcf");
    let text = "##fileformat=VCFv4.2\n##contig=<ID=1,length=249250621>\n\
                ##FORMAT=<ID=GT,Number=1,Type=String,Description=\"Genotype\">\n\
                #CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tAnna\n\
                1\t100\trs1\tA\tG\t.\t.\t.\tGT\t0/1\n";
    fs::write(&file, text).unwrap();
    let import = ["sample", "import", file.to_str().unwrap(), "--project", &project];
    let sample = stage.call("ada", &[&import[..], &["--name", "Anna"]].concat());
    let sample = sample["id"].as_str().unwrap();
    let ask =
        ["vault", "query", sample, "--rsid", "rs1", "--purpose", "a second opinion", "--json"];
    let pending = || -> Vec<String> {
        let list = stage.call("ada", &["approve", "list"]);
        let waiting = list.as_array().unwrap().iter().filter(|one| one["state"] == "pending");
        waiting.map(|one| one["id"].as_str().unwrap().to_owned()).collect()
    };
    // Two genuine vaults, each with a task of its own, wait for one owner.
    let first = stage.start("ada", &ask);
    let a = waiting(&stage, "ada");
    let second = stage.start("ada", &ask);
    until("two requests", || pending().len() == 2);
    let b = pending().into_iter().find(|id| *id != a).unwrap();

    // The hub relays the evidence of the one as that of the other: keys would go to the wrong vault.
    let own = format!("(SELECT evidence FROM kept WHERE id = '{b}')");
    let of_a = format!("(SELECT evidence FROM kept WHERE id = '{a}')");
    tamper(
        &stage,
        &format!(
            "CREATE TABLE kept AS SELECT * FROM approvals;
             UPDATE approvals SET evidence = {of_a} WHERE id = '{b}'"
        ),
    );
    let said = refused(&stage, "ada", &["approve", "show", &b]);
    assert!(said.contains("evidence is for another task"), "{said}");
    tamper(&stage, &format!("UPDATE approvals SET evidence = {own} WHERE id = '{b}'"));

    // The owner's answer to the one is handed to the other: it takes it for nothing, and opens nothing.
    let shown = stage.call("ada", &["approve", "show", &a]);
    let phrase = shown["request_phrase"].as_str().unwrap();
    stage.call("ada", &["approve", "yes", &a, "--phrase", phrase]);
    let answer = first.finish();
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    tamper(
        &stage,
        &format!(
            "UPDATE approvals SET state = 'approved', (approval, card, digest) =
                 (SELECT approval, card, digest FROM approvals WHERE id = '{a}'),
                 keys = coalesce((SELECT keys FROM approvals WHERE id = '{a}'), '[]')
             WHERE id = '{b}'"
        ),
    );
    let output = second.finish();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(said.contains("an approval does not count"), "{said}");
    drop(hub);
}
