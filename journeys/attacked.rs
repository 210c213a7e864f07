//! An operator attacks a project whose key a person holds, with everything that the operator has: the database, the files of the
//! machine, and a hub that says what it is told to say. What was approved runs, or nothing does.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use data_encoding::HEXUPPER;
use proof::{CardDevice, OwnerCard, SigningKey, digest_of, sign_statement};
use seal::recipient::RecipientSecret;
use serde_json::Value;

use super::owner::{WORDS, own_project, refused, restore, sample, tamper, waiting};
use super::stage::{Stage, files};

/// What the operator's program would leave behind if it ever ran.
const LOOT: &str = "the-operators-program-was-here";

/// The shipped app that looks at reads, as a package; and another of the same name whose script is the operator's.
#[expect(clippy::print_stdout, reason = "a test that is skipped says so where tests say things")]
fn packages(stage: &Stage) -> Option<(PathBuf, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let swapped = stage.path("swapped");
    fs::create_dir(&swapped).unwrap();
    for name in ["app.toml", "run.sh"] {
        fs::copy(root.join("apps/read-quality").join(name), swapped.join(name)).unwrap();
    }
    fs::write(swapped.join("run.sh"), format!("#!/bin/sh\necho {LOOT}\n")).unwrap();
    let title = fs::read_to_string(swapped.join("app.toml")).unwrap();
    fs::write(swapped.join("app.toml"), title.replace("Read quality", "Read thoroughly")).unwrap();
    let cache = root.join("target/app-cache/packages");
    let mut packed = Vec::new();
    for (app, name) in [(root.join("apps/read-quality"), "genuine"), (swapped, "other")] {
        let package = stage.path(&format!("{name}.chorionapp"));
        let pack =
            ["app", "pack", app.to_str().unwrap(), "-o", package.to_str().unwrap(), "--cache"];
        if !stage.run("nobody", &[&pack[..], &[cache.to_str().unwrap()]].concat()).status.success()
        {
            assert!(
                std::env::var_os("CI").is_none(),
                "apps cannot be packed: testing/setup.sh demo"
            );
            println!("skipped: not here (bubblewrap, or apt's packages)");
            return None;
        }
        packed.push(package);
    }
    let other = packed.pop()?;
    Some((packed.pop()?, other))
}

/// Launches the app, has the owner say yes to what the device draws, and gives what came of it.
fn launched(stage: &Stage, project: &str, id: &str, app: &str) -> Value {
    let input = format!("reads={id}");
    let launch = ["app", "launch", app, "--input", &input, "--project", project];
    let launch = [&launch[..], &["--yes", "--purpose", "are my reads any good"]].concat();
    let session = stage.call("ada", &launch);
    let request = waiting(stage, "ada");
    let phrase = session["request_phrase"].as_str().unwrap();
    stage.call("ada", &["approve", "yes", &request, "--phrase", phrase]);
    session
}

fn ended(stage: &Stage, session: &Value) -> Result<Value, String> {
    let words = ["session", "show", session["id"].as_str().unwrap(), "--wait"];
    let output = stage.run("ada", &words);
    if output.status.success() {
        return Ok(serde_json::from_slice(&output.stdout).unwrap());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The files of the roots that vaults keep on this machine and that a launch begins with.
fn scripts(stage: &Stage) -> Vec<PathBuf> {
    let all = files(&stage.path("hub/vaults/apps")).into_iter().map(|(path, _)| path);
    let is_script =
        |path: &PathBuf| fs::read(path).is_ok_and(|text| text.starts_with(b"#!/bin/sh"));
    all.filter(|path| path.to_string_lossy().contains("/root/")).filter(is_script).collect()
}

/// Writes over every script, as whoever has the machine can.
fn swap(scripts: &[PathBuf]) {
    for script in scripts {
        fs::set_permissions(script, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(script, format!("#!/bin/sh\necho {LOOT}\n")).unwrap();
    }
}

/// What the owner finds in a result, all of it.
fn result(stage: &Stage, session: &Value, into: &str) -> String {
    let out = stage.path(into);
    let id = session["result"].as_str().unwrap();
    stage.call("ada", &["result", "download", id, "--output", out.to_str().unwrap()]);
    let all = files(&out).into_iter();
    all.map(|(path, _)| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()).collect()
}

#[test]
fn an_apps_tree_or_package_that_an_operator_swaps_is_not_run() {
    let stage = Stage::new();
    let Some((genuine, other)) = packages(&stage) else { return };
    let hub = stage.hub_with_vaults("127.0.0.1:0", 1);
    stage.enrol(&hub, "ada");
    restore(&stage, "ada", WORDS);
    let project = own_project(&stage, "ada");
    let id = sample(&stage, "ada", &project);
    let (tools, _) = stage.project("ada", "tools");
    let register = |package: &Path| {
        stage.call("ada", &["app", "register", package.to_str().unwrap(), "--project", &tools])
    };
    let app = register(&genuine);
    let (app, digest) = (app["id"].as_str().unwrap(), app["digest"].as_str().unwrap());
    let report = "before_filtering";

    let first = launched(&stage, &project, &id, app);
    ended(&stage, &first).unwrap();
    assert!(result(&stage, &first, "first").contains(report));

    // The tree that vaults keep on this machine: the swapped one is not the digest's, and is made anew from the package.
    let kept = scripts(&stage);
    assert!(!kept.is_empty(), "the root has a script to swap");
    let before: Vec<_> = kept.iter().map(|path| fs::read(path).unwrap()).collect();
    swap(&kept);
    let second = launched(&stage, &project, &id, app);
    let done = ended(&stage, &second).unwrap();
    assert_eq!(done["session"]["app_digest"], digest);
    let made = result(&stage, &second, "second");
    assert!(made.contains(report) && !made.contains(LOOT), "{made}");
    let after: Vec<_> = kept.iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(before == after, "the tree is again what its digest says");

    // The tree and the package: nothing is left that has the digest, so nothing runs.
    let swapped = register(&other)["id"].as_str().unwrap().to_owned();
    let listen = hub.listen();
    hub.kill();
    tamper(
        &stage,
        &format!(
            "CREATE TABLE kept AS SELECT * FROM apps WHERE id = '{app}';
             UPDATE apps SET package = (SELECT package FROM apps WHERE id = '{swapped}') WHERE id = '{app}'"
        ),
    );
    swap(&kept);
    let hub = stage.hub_with_vaults(&listen, 1);
    let third = launched(&stage, &project, &id, app);
    let said = ended(&stage, &third).unwrap_err();
    assert!(said.contains("its package cannot be used"), "{said}");
    assert!(!result(&stage, &third, "third").contains(LOOT));

    // An app that is shown to its owner as another one: what the device drew is what it signed, and the vault holds that against the
    // manifest in the package.
    hub.kill();
    tamper(
        &stage,
        &format!(
            "UPDATE apps SET package = (SELECT package FROM kept),
             manifest = replace((SELECT manifest FROM kept), 'Read quality', 'Only count') WHERE id = '{app}'"
        ),
    );
    let hub = stage.hub_with_vaults(&listen, 1);
    let fourth = launched(&stage, &project, &id, app);
    let said = ended(&stage, &fourth).unwrap_err();
    assert!(said.contains("the approval is for another app manifest"), "{said}");
    drop(hub);
}

/// A row of cards with this statement in the place of those that the hub had.
fn put_card(stage: &Stage, project: &str, card: &OwnerCard, by: &SigningKey) {
    let signed = sign_statement(card, by);
    let (signature, signer) =
        (HEXUPPER.encode(&signed.signature.0), HEXUPPER.encode(&signed.signer.0));
    let (digest, number) = (digest_of(&signed), card.number);
    let statement = signed.statement.replace('\'', "''");
    tamper(
        stage,
        &format!(
            "DELETE FROM cards WHERE project = '{project}' AND number = {number};
             INSERT INTO cards (project, number, digest, statement, signature, signer)
             VALUES ('{project}', {number}, '{digest}', '{statement}', X'{signature}', X'{signer}')"
        ),
    );
}

#[test]
fn a_hub_that_makes_up_a_card_gets_nothing_sealed_to_it() {
    let stage = Stage::new();
    let hub = stage.hub("127.0.0.1:0");
    stage.enrol(&hub, "ada");
    restore(&stage, "ada", WORDS);
    let create = ["project", "create", "my genome", "--custodian", "owner"];
    let project = stage.call("ada", &create)["id"].as_str().unwrap().to_owned();
    let card = stage.call("ada", &["project", "card", &project]);
    let genuine: OwnerCard = serde_json::from_value(card["card"].clone()).unwrap();
    assert!(!genuine.test);
    let invited = stage.call("ada", &["account", "invite", "bob"]);
    let code = invited["code"].as_str().unwrap();
    let bob =
        stage.call("bob", &["login", "--hub", &hub.url, "--ca", &hub.ca_file, "--code", code]);
    let account = bob["account"]["id"].as_str().unwrap();
    stage.call("ada", &["project", "members", "add", &project, account, "admin"]);
    let phrase = card["phrase"].as_str().unwrap();
    stage.call("bob", &["project", "card", &project, "--confirm", phrase]);
    let file = stage.path("reads.fastq");
    fs::write(&file, "@r\nACGT\n+\nFFFF\n").unwrap();
    let import = ["sample", "import", file.to_str().unwrap(), "--project", &project];
    let import = [&import[..], &["--name", "mine", "--single"]].concat();
    stage.call("bob", &import);

    let listen = hub.listen();
    hub.kill();
    tamper(&stage, "CREATE TABLE kept AS SELECT * FROM cards");

    let mallory = SigningKey::from_seed(&[66; 32]);
    let key = api::Bytes(mallory.public().to_bytes().to_vec());
    let recipient = api::Bytes(RecipientSecret::generate().unwrap().public().to_bytes());
    let next = OwnerCard {
        number: genuine.number + 1,
        previous: Some(genuine.digest()),
        ..genuine.clone()
    };
    let device = CardDevice { key: key.clone(), since: genuine.devices[0].since };
    let cases = [
        ("another public key", OwnerCard { recipient: recipient.clone(), ..genuine.clone() }),
        (
            "another owner",
            OwnerCard { owner: key.clone(), recipient: recipient.clone(), ..genuine },
        ),
        ("another public key in a next card", OwnerCard { recipient, ..next.clone() }),
        ("another owner in a next card", OwnerCard { owner: key, ..next.clone() }),
        ("a test mark set later", OwnerCard { test: true, ..next.clone() }),
        ("a device of the hub's", OwnerCard { devices: vec![device], ..next }),
    ];
    let again = [&import[..], &["--again"]].concat();
    for (what, made_up) in cases {
        put_card(&stage, &project, &made_up, &mallory);
        let hub = stage.hub(&listen);
        // The owner, and somebody who only ever saw the six words, send nothing to it.
        for home in ["ada", "bob"] {
            let said = refused(&stage, home, &again);
            assert!(said.contains("card"), "{what}: {home}: {said}");
        }
        hub.kill();
        let restore = "DELETE FROM cards; INSERT INTO cards SELECT * FROM kept";
        tamper(&stage, restore);
    }
    // The genuine one is taken again.
    let hub = stage.hub(&listen);
    stage.call("bob", &again);
    drop(hub);
}
