//! A vault stays for its owner's next question: the same process, other keys, another evidence, another approval, and nothing of the
//! last task left in it, also when it is killed while it waits.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use serde_json::Value;

use super::owner::{OTHER_WORDS, WORDS, own_project, restore, waiting};
use super::stage::{Running, Stage};
use super::vault_killed::{holds, kill, vaults};

/// It stands in every record, and in no program.
const CANARY: &str = "GATTACATTGACCATTACGAGATTACATCCATTGACAAGT";

/// A sample of somebody's variants, with the canary in each.
fn variants(stage: &Stage, home: &str, project: &str) -> String {
    let file = stage.path(&format!("{home}.vcf"));
    let header = "##fileformat=VCFv4.2\n##contig=<ID=1,length=249250621>\n\
                  ##INFO=<ID=X,Number=1,Type=String,Description=\"A text\">\n\
                  ##FORMAT=<ID=GT,Number=1,Type=String,Description=\"Genotype\">\n\
                  #CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tAnna\n";
    let records =
        (1..2_000).map(|at| format!("1\t{at}\trs{at}\tA\tG\t.\t.\tX={CANARY}\tGT\t0/1\n"));
    fs::write(&file, header.to_owned() + &records.collect::<String>()).unwrap();
    let import = ["sample", "import", file.to_str().unwrap(), "--project", project];
    let sample = stage.call(home, &[&import[..], &["--name", "Anna"]].concat());
    sample["id"].as_str().unwrap().to_owned()
}

fn ask(stage: &Stage, home: &str, sample: &str) -> Running {
    let ask = ["vault", "query", sample, "--rsid", "rs7", "--purpose", "a story", "--json"];
    stage.start(home, &ask)
}

/// Says yes to what waits, and gives the answer and the receipt of its task.
fn answered(stage: &Stage, home: &str, asking: Running) -> (Value, Value) {
    let request = waiting(stage, home);
    let shown = stage.call(home, &["approve", "show", &request]);
    let phrase = shown["request_phrase"].as_str().unwrap();
    stage.call(home, &["approve", "yes", &request, "--phrase", phrase]);
    let output = asking.finish();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let session = answer["session"].as_str().unwrap();
    let shown = stage.call(home, &["session", "show", session, "--wait"]);
    (answer, shown["receipt"].clone())
}

/// How often the canary stands in what a process keeps in memory; nothing where that is not to be read.
fn in_memory(id: i32) -> Option<usize> {
    let maps = fs::read_to_string(format!("/proc/{id}/maps")).ok()?;
    let mut memory = fs::File::open(format!("/proc/{id}/mem")).ok()?;
    let finder = memchr::memmem::Finder::new(CANARY);
    let mut found = 0;
    for line in
        maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|may| may.starts_with("rw")))
    {
        let (from, to) = line.split(' ').next()?.split_once('-')?;
        let (from, to) = (u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?);
        let mut bytes = vec![0; usize::try_from(to - from).ok()?];
        // Pages that nobody else may read, root neither, hold the vault's keys: nothing of a sample.
        let read = memory.seek(SeekFrom::Start(from)).and_then(|_| memory.read_exact(&mut bytes));
        found += read.map_or(0, |()| finder.find_iter(&bytes).count());
    }
    Some(found)
}

#[test]
fn a_vault_stays_for_its_owners_next_question_with_nothing_of_the_last() {
    let stage = Stage::talkative();
    let hub = stage.hub_with_vaults("127.0.0.1:0", 2);
    stage.enrol(&hub, "ada");
    restore(&stage, "ada", WORDS);
    let project = own_project(&stage, "ada");
    let sample = variants(&stage, "ada", &project);
    let (first, first_receipt) = answered(&stage, "ada", ask(&stage, "ada", &sample));
    let here = vaults(&stage);
    let [vault] = here[..] else { panic!("one vault stays, not {here:?}") };

    let (second, second_receipt) = answered(&stage, "ada", ask(&stage, "ada", &sample));
    assert_eq!(vaults(&stage), [vault], "the same one, and no other");
    assert_eq!(first["answer"], second["answer"]);
    for what in ["evidence_digest", "approvals", "task"] {
        assert_ne!(first_receipt[what], second_receipt[what], "{what}");
    }

    // Another person's question starts another vault, though this one has nothing to do.
    let invited = stage.call("ada", &["account", "invite", "bob"]);
    let code = invited["code"].as_str().unwrap();
    stage.call("bob", &["login", "--hub", &hub.url, "--ca", &hub.ca_file, "--code", code]);
    restore(&stage, "bob", OTHER_WORDS);
    let bobs = own_project(&stage, "bob");
    let bobs = variants(&stage, "bob", &bobs);
    answered(&stage, "bob", ask(&stage, "bob", &bobs));
    assert_eq!(vaults(&stage).len(), 2);

    // Halted: it waits, with no key and nothing that it read. It is killed, and the next question gets another one.
    if let Some(found) = in_memory(vault) {
        assert_eq!(found, 0, "the sample stands in the memory of a vault that has nothing to do");
    }
    kill(vault);
    assert_eq!(holds(&stage, &[]), Vec::<PathBuf>::new());
    let (third, _) = answered(&stage, "ada", ask(&stage, "ada", &sample));
    assert_eq!(third["answer"], first["answer"]);
    assert!(!vaults(&stage).contains(&vault));
    drop(hub);
}
