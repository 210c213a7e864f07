//! An organization of several people: who is invited, who makes its projects, and what its auditor can hand on.

use std::fs;

use super::stage::Stage;

#[test]
fn an_auditor_hands_on_what_was_done_and_opens_nothing() {
    let stage = Stage::new();
    let hub = stage.hub("127.0.0.1:0");
    stage.enrol(&hub, "operator");
    let made = stage.call("operator", &["org", "create", "Clinic"]);
    let clinic = made["id"].as_str().unwrap();
    assert_eq!(made["plan"], "standard");
    let join = |by: &str, home: &str, role: &str| {
        let invite = ["org", "members", "invite", clinic, home, "--role", role];
        let invited = stage.call(by, &invite);
        let code = invited["code"].as_str().unwrap();
        stage.call(home, &["login", "--hub", &hub.url, "--ca", &hub.ca_file, "--code", code]);
        invited["account"]["id"].as_str().unwrap().to_owned()
    };
    let boss = join("operator", "boss", "administrator");
    let lab = join("boss", "lab", "lab");
    join("boss", "watcher", "auditor");
    let members = stage.call("watcher", &["org", "members", "list", clinic]);
    assert_eq!(members.as_array().unwrap().len(), 3);

    // Nobody leaves an organization without an administrator.
    let alone = stage.run("boss", &["org", "members", "remove", clinic, &boss]);
    assert!(String::from_utf8_lossy(&alone.stderr).contains("would have no administrator"));

    // A key of one's own is a matter of the plan, and of having one.
    let own = ["project", "create", "p", "--custodian", "organization", "--organization", clinic];
    let said = |home: &str| {
        let output = stage.run(home, &own);
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(said("lab").contains("needs the enterprise plan"), "{}", said("lab"));
    assert!(!stage.run("boss", &["org", "plan", clinic, "enterprise"]).status.success());
    stage.call("operator", &["org", "plan", clinic, "enterprise"]);
    assert!(said("lab").contains("has no key of its own yet"), "{}", said("lab"));

    let create = ["project", "create", "fernweh", "--organization", clinic];
    let project = stage.call("lab", &create)["id"].as_str().unwrap().to_owned();
    let reads = stage.path("fernweh.fastq");
    fs::write(&reads, "@a\nACGT\n+\nIIII\n").unwrap();
    let reads = reads.to_str().unwrap();
    let import = ["sample", "import", reads, "--project", project.as_str(), "--name", "fernweh"];
    let sample = stage.call("lab", &import)["id"].as_str().unwrap().to_owned();

    // The auditor sees none of it, and every act.
    assert_eq!(stage.call("watcher", &["project", "list"]), serde_json::json!([]));
    assert!(!stage.run("watcher", &["sample", "show", &sample]).status.success());
    let add = ["project", "members", "add", &project, &lab, "read"];
    assert!(!stage.run("watcher", &add).status.success());
    let export = |more: &[&str]| {
        let words = [&["audit", "export", "--organization", clinic][..], more].concat();
        let output = stage.start("watcher", &words).finish();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let events = export(&["--from", "2020-01-01"]);
    let mut lines = events.lines();
    let columns = "id,at,actor,act,object,outcome,reason,request_id,leaf.index,leaf.salt";
    assert_eq!(lines.next(), Some(columns));
    // Each names its leaf of the log, so that an export can be held against it.
    for line in lines {
        let index = line.rsplit(',').nth(1).unwrap();
        assert!(index.parse::<u64>().is_ok(), "{line}");
    }
    assert!(events.contains(&format!("project.create,project:{project}")), "{events}");
    assert!(events.contains(&format!("dataset:{sample}")), "{events}");
    assert!(!export(&["--to", "2020-01-01"]).contains("project.create"));
    let mut all = events;
    for what in ["accounts", "keys", "projects", "rights", "permissions"] {
        let csv = export(&["--what", what]);
        let json: serde_json::Value =
            serde_json::from_str(&export(&["--what", what, "--format", "json"])).unwrap();
        let rows = json.as_array().unwrap().len();
        assert!(rows > 0 && csv.lines().count() == rows + 1, "{what}: {csv}");
        all.push_str(&csv);
    }
    assert!(all.contains(&format!("{project},{lab},true,owner")), "{all}");
    assert!(!all.contains("fernweh"), "{all}");
    let file = stage.path("events.csv");
    export(&["-o", file.to_str().unwrap()]);
    assert!(fs::read_to_string(&file).unwrap().contains("project.create"));
    drop(hub);
}
