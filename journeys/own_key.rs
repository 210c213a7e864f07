//! A clinic that holds its key itself: set up, used, and its loss rehearsed.

use std::fs;

use super::stage::Stage;

#[test]
fn a_clinic_sets_its_key_up_and_rehearses_its_loss() {
    let stage = Stage::new();
    let keys = stage.path("customers");
    let hub = stage.hub_in(
        "hub",
        "127.0.0.1:0",
        &["--vaults", "0", "--development-keys", keys.to_str().unwrap()],
    );
    stage.enrol(&hub, "operator");
    let made = stage.call("operator", &["org", "create", "Clinic", "--plan", "enterprise"]);
    let clinic = made["id"].as_str().unwrap();
    let join = |by: &str, home: &str, role: &str| {
        let invite = ["org", "members", "invite", clinic, home, "--role", role];
        let invited = stage.call(by, &invite);
        let code = invited["code"].as_str().unwrap();
        stage.call(home, &["login", "--hub", &hub.url, "--ca", &hub.ca_file, "--code", code]);
    };
    join("operator", "boss", "administrator");
    join("boss", "lab", "lab");
    join("boss", "watcher", "auditor");

    // Set up, with a recovery copy before anything is written.
    let offline = stage.path("offline");
    let offline = offline.to_str().unwrap();
    stage.call("boss", &["keygen", "-o", offline]);
    let set = ["org", "kms", "set", clinic, "--local-file", "customer", "--lease", "2"];
    let unsure = stage.run("boss", &set);
    assert!(String::from_utf8_lossy(&unsure.stderr).contains("a lost key is lost data"));
    let public = format!("{offline}.pub");
    let sure = [&set[..], &["--confirm", clinic, "--recovery", &public]].concat();
    let test = stage.call("boss", &sure);
    assert_eq!(test["provider"], "local_file");
    let status = || stage.call("watcher", &["org", "kms", "status", clinic]);
    assert_eq!(status()["recovery_stored"], false);
    let copy = stage.path("recovery.json");
    stage.call("boss", &["org", "kms", "recovery", clinic, "-o", copy.to_str().unwrap()]);
    assert_eq!(
        (&status()["recovery_stored"], &status()["standing"]),
        (&true.into(), &"in_force".into())
    );

    let create =
        ["project", "create", "fernweh", "--custodian", "organization", "--organization", clinic];
    let project = stage.call("lab", &create)["id"].as_str().unwrap().to_owned();
    let reads = stage.path("fernweh.fastq");
    fs::write(&reads, "@a\nACGT\n+\nIIII\n").unwrap();
    let reads = reads.to_str().unwrap();
    let import = ["sample", "import", reads, "--project", project.as_str(), "--name", "fernweh"];
    let sample = stage.call("lab", &import)["id"].as_str().unwrap().to_owned();
    let listed = || stage.call("lab", &["sample", "list", "--project", &project])[0].clone();
    assert_eq!(listed()["name"], "fernweh");

    // The drill is the real thing: with a lease of 2 s, it has its effect within 2 s.
    let file = keys.join(clinic).join("customer");
    let (file, away) = (file.to_str().unwrap(), format!("{}.away", file.display()));
    let (take, give) = (format!("mv {file} {away}"), format!("mv {away} {file}"));
    let drill =
        stage.call("boss", &["org", "kms", "drill", clinic, "--away", &take, "--back", &give]);
    println!("{drill}");
    assert_eq!(drill["stated_seconds"], 2);
    assert!(drill["refusal"].as_str().unwrap().contains("has taken its key away"), "{drill}");
    // What it took away it gave back: the next look finds everything as it was.
    assert_eq!((&listed()["id"], &listed()["name"]), (&sample.into(), &"fernweh".into()));
    drop(hub);
}
