//! What a hub refuses, as a person meets it: a sentence, a next step, and a status that says so.

use super::stage::Stage;

#[test]
fn a_refusal_is_a_sentence_with_a_next_step_and_a_status() {
    let stage = Stage::new();
    let hub = stage.hub("127.0.0.1:0");
    let before = stage.run("bob", &["project", "list"]);
    assert!(!before.status.success());
    let said = String::from_utf8(before.stderr).unwrap();
    assert!(said.contains("hint: ") && said.contains("chorion login"), "{said}");

    stage.enrol(&hub, "ada");
    let (project, _) = stage.project("ada", "exomes");
    let invitation = stage.call("ada", &["account", "invite", "bob"]);
    let code = invitation["code"].as_str().unwrap();
    stage.call("bob", &["login", "--hub", &hub.url, "--ca", &hub.ca_file, "--code", code]);
    // The same code never counts twice, and says so.
    let again = ["login", "--hub", &hub.url, "--ca", &hub.ca_file, "--code", code];
    assert!(!stage.run("eve", &again).status.success());
    // Somebody else's project is not there at all.
    let shown = stage.run("bob", &["project", "show", &project]);
    let said = String::from_utf8(shown.stderr).unwrap();
    assert!(!shown.status.success() && said.contains(&project), "{said}");
    assert!(!said.contains("exomes"));
    assert_eq!(stage.call("bob", &["project", "list"]).as_array().map(Vec::len), Some(0));
}
