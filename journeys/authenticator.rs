//! The owner's whole story in a real browser: words, pairing, a project, a request that is judged and approved on the phone while a
//! website stands open beside it, one that is refused, and a hub that lies.
//!
//! Judged by Chromium and axe-core (`testing/setup.sh browser`), on pages that `make authenticator` built; where they are not, the
//! story says so and judges nothing.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::owner::{OTHER_WORDS, pack_read_quality, reads, restore};
use super::stage::Stage;

const CHROMIUM: &str = "/usr/bin/chromium";
const PASSWORD: &str = "copper vein harbour seven";

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// Browser, packages and pages, if all are here.
fn tools(root: &Path) -> Option<(PathBuf, PathBuf)> {
    let (packages, pages) = (root.join("target/browser"), root.join("target/web/authenticator"));
    let are_here = Path::new(CHROMIUM).exists()
        && packages.join("installed").exists()
        && pages.join("hashes.txt").exists();
    are_here.then_some((packages, pages))
}

#[test]
fn in_chromium_an_owner_answers_on_the_phone_and_axe_finds_nothing() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let Some((packages, pages)) = tools(&root) else {
        println!(
            "skipped: not here: Chromium, its packages or the pages (testing/setup.sh browser, make authenticator)"
        );
        return;
    };
    let stage = Stage::new();
    let Some(package) = pack_read_quality(&stage) else { return };
    let (hub_port, port) = (free_port(), free_port());
    let origin = format!("http://localhost:{port}");
    let listen = format!("127.0.0.1:{hub_port}");
    let options = ["--vaults", "1", "--authenticator-origin", &origin];
    let hub = stage.hub_in("hub", &listen, &options);
    let listen = format!("127.0.0.1:{port}");
    let files = pages.to_str().unwrap();
    let serve =
        ["authenticator", "serve", "--files", files, "--listen", &listen, "--hub", &hub.url];
    let _served = stage.start("nobody", &serve);

    stage.enrol(&hub, "ada");
    let password = stage.path("password");
    std::fs::write(&password, PASSWORD).unwrap();
    let set = ["account", "password", "ada", "--password-file", password.to_str().unwrap()];
    stage.call("ada", &set);
    let (tools, _) = stage.project("ada", "tools");
    let package = package.to_str().unwrap();
    let app = stage.call("ada", &["app", "register", package, "--project", &tools]);
    let pair: Vec<PathBuf> = (1..=2)
        .map(|mate| {
            let path = stage.path(&format!("NA12878_S1_L001_R{mate}_001.fastq.gz"));
            reads(&path, mate);
            path
        })
        .collect();

    let invited = stage.call("ada", &["account", "invite", "bob"]);
    let code = invited["code"].as_str().unwrap();
    stage.call("bob", &["login", "--hub", &hub.url, "--ca", &hub.ca_file, "--code", code]);
    restore(&stage, "bob", OTHER_WORDS);
    let account = stage.call("bob", &["whoami"])["account"]["id"].clone();
    let keys = stage.call("bob", &["identity", "show", "--format", "json"]);
    let bob = json!({
        "home": stage.path("bob"), "account": account, "sealing": keys["sealing"],
        "phrase": keys["sealing_phrase"],
    });

    let script = json!({
        "authenticator": origin, "hub": hub.url, "password": PASSWORD, "reads": pair, "app": app, "bob": bob,
        "chorion": env!("CARGO_BIN_EXE_chorion"), "home": stage.path("ada"),
        "screenshots": root.join("target/screenshots/authenticator"),
        "vectors": root.join("vectors"), "module": root.join("target/web/wasm/authenticator.js"),
    });
    let mut command = Command::new("node");
    command
        .arg(root.join("testing/browser/authenticator.mjs"))
        .arg(script.to_string())
        .env("CHORION_BROWSER_PACKAGES", &packages)
        .env("CHORION_CHROMIUM", CHROMIUM);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
    // What else it says (a warning of Node's) may stand before or after.
    let told: Value = said.lines().rev().find_map(|line| serde_json::from_str(line).ok()).unwrap();
    println!("{told:#}");
    assert_eq!(told["violations"], 0);
    assert!(told["pages"].as_u64().unwrap() >= 48, "{told}");
}
