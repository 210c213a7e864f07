//! An instrument is enrolled, a technician signs on at it from elsewhere, and the run that it sends is the technician's; a
//! second machine and an outside app get their keys the same way.

use std::fs;

use super::stage::Stage;

#[test]
fn a_run_is_that_of_whoever_answers_the_code_on_the_instruments_screen() {
    let stage = Stage::new();
    let run = stage.path("240611_A01234_0001_AHXXXXXXXX");
    fs::create_dir_all(&run).unwrap();
    fs::write(run.join("RunInfo.xml"), "<RunInfo/>\n").unwrap();
    fs::write(run.join("CopyComplete.txt"), "").unwrap();
    let hub = stage.hub("127.0.0.1:0");
    stage.enrol(&hub, "ada");
    let login = |home: &str, code: &str| {
        stage.call(home, &["login", "--hub", &hub.url, "--ca", &hub.ca_file, "--code", code])
    };
    let invited = stage.call("ada", &["account", "invite", "bob"]);
    let bob = login("bob", invited["code"].as_str().unwrap());
    let (project, phrase) = stage.project("bob", "exomes");
    let enrolled = stage.call("ada", &["instrument", "enrol", "NovaSeq 1"]);
    login("instrument", enrolled["code"].as_str().unwrap());

    let run = run.to_str().unwrap();
    let send = ["run", "send", run, "--project", &project, "--card-phrase", &phrase, "--json"];
    let send = [&send[..], &["--no-demultiplex", "--poll-seconds", "1"]].concat();
    let mut sender = stage.start("instrument", &send);
    let code = sender.shown_code();
    stage.call("bob", &["key", "approve", &code, "--yes"]);
    let sent = sender.finish();
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    let runs = stage.call("bob", &["run", "list"]);
    let [ref only] = runs.as_array().unwrap()[..] else { panic!("one run, not {runs}") };
    assert_eq!((&only["owner"], &only["execution"]), (&bob["account"]["id"], &"complete".into()));
    // The instrument itself lists nothing.
    assert!(!stage.run("instrument", &["run", "list"]).status.success());
}

#[test]
fn an_outside_app_reads_what_a_person_consents_to_until_it_is_withdrawn() {
    let stage = Stage::new();
    let hub = stage.hub("127.0.0.1:0");
    stage.enrol(&hub, "ada");
    let (mine, _) = stage.project("ada", "mine");
    stage.project("ada", "other");
    let asks = ["login", "--hub", &hub.url, "--ca", &hub.ca_file, "--app", "Viewer"];
    let asks = [&asks[..], &["--publisher", "Example Ltd", "--scope", "read", "--json"]].concat();
    let mut app = stage.start("app", &asks);
    let code = app.shown_code();
    stage.call("ada", &["key", "approve", &code, "--yes", "--scope", "read", "--only", &mine]);
    assert!(app.finish().status.success());
    let found = stage.call("app", &["project", "list"]);
    let [ref only] = found.as_array().unwrap()[..] else { panic!("one project, not {found}") };
    assert_eq!((&only["id"], &only["right"]), (&mine.as_str().into(), &"read".into()));
    let consents = stage.call("ada", &["consent", "list"]);
    assert_eq!(consents[0]["app"]["name"], "Viewer");
    let key = consents[0]["id"].as_str().unwrap();
    stage.call("ada", &["consent", "withdraw", key]);
    assert!(!stage.run("app", &["project", "list"]).status.success());
}
