//! The website in a real browser, which is judge of what no test of ours can see: cookies, the policy, passkeys, contrast, focus.
//!
//! `testing/setup.sh browser` installs Chromium and the packages; where they are not, these tests say so and judge nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

use api::{DeviceCode, DeviceStanding, DeviceState, Invitation};
use proof::SigningKey;
use serde_json::json;

use super::tls::Serving;
use crate::testing::{Signed, signing_key};

const CHROMIUM: &str = "/usr/bin/chromium";

pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Where the packages are, if browser and packages are here.
pub(super) fn packages() -> Option<PathBuf> {
    let packages = root().join("target/browser");
    let is_here = Path::new(CHROMIUM).exists() && packages.join("installed").exists();
    is_here.then_some(packages)
}

/// Runs a script of `testing/browser`, and gives what it printed.
pub(super) async fn run(script: &str, packages: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("node");
    command
        .arg(root().join("testing/browser").join(script))
        .args(arguments)
        .env("CHORION_BROWSER_PACKAGES", packages)
        .env("CHORION_CHROMIUM", CHROMIUM);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{script}: {said}");
    said
}

/// A signed call with a JSON body, over TLS.
async fn call<T: serde::de::DeserializeOwned>(
    serving: &Serving,
    key: &SigningKey,
    path: &str,
    body: serde_json::Value,
) -> T {
    let mut signed = Signed::new("POST", path, serde_json::to_vec(&body).unwrap());
    signed.authority = serving.ready.url.trim_start_matches("https://").to_owned();
    let now = jiff::Timestamp::now().as_second();
    let (parts, _) = signed.by(key, now).into_parts();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &signed.body).unwrap();
    let mut command = Command::new("curl");
    command.args(["-sS", "--cacert"]).arg(&serving.ready.ca_file).args(["-X", "POST"]);
    for (name, value) in &parts.headers {
        command.arg("-H").arg(format!("{name}: {}", value.to_str().unwrap()));
    }
    command.arg("--data-binary").arg(format!("@{}", file.path().display()));
    command.arg(format!("{}{path}", serving.ready.url));
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{path}: {e}: {}", String::from_utf8_lossy(&output.stdout)))
}

fn public(key: &SigningKey) -> api::Bytes {
    api::Bytes(key.public().to_bytes().to_vec())
}

/// Somebody whom the first operator has invited.
async fn invited(serving: &Serving) -> Invitation {
    let key = signing_key();
    let (code, _) = serving.ready.code.clone().unwrap();
    let enrol = json!({
        "code": code, "account_name": "operator", "key_name": "a test",
        "public_key": public(&key),
    });
    call::<api::Whoami>(serving, &key, "/api/v1/enrol", enrol).await;
    call(serving, &key, "/api/v1/accounts", json!({"name": "Ada"})).await
}

/// A machine that asks for a key, and the code that it shows.
async fn asking(serving: &Serving, more: serde_json::Value) -> (SigningKey, DeviceCode) {
    let key = signing_key();
    let mut body = json!({"public_key": public(&key), "machine": "workstation 7"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let code = call(serving, &key, "/api/v1/device", body).await;
    (key, code)
}

/// What a machine that asked is told.
async fn told(serving: &Serving, key: &SigningKey) -> DeviceState {
    let body = json!({"public_key": public(key)});
    call::<DeviceStanding>(serving, key, "/api/v1/device/poll", body).await.state
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_chromium_people_sign_in_by_password_and_passkey_and_axe_finds_nothing() {
    let Some(packages) = packages() else {
        println!("skipped: not here: Chromium and its packages (testing/setup.sh browser)");
        return;
    };
    let serving = Serving::start().await;
    let invited = invited(&serving).await;
    let (wanted, login) = asking(&serving, json!({})).await;
    let app = json!({
        "app": {"name": "Viewer", "publisher": "Example Ltd"},
        "limit": {"projects": null, "scope": "read", "expires": null},
    });
    let (unwanted, viewer) = asking(&serving, app).await;
    let screenshots = root().join("target/screenshots/sign-in");
    let (url, codes) = (serving.ready.url.as_str(), [&invited.code, &login.code, &viewer.code]);
    let arguments = [url, codes[0], codes[1], codes[2], screenshots.to_str().unwrap()];
    let said = run("sign_in.mjs", &packages, &arguments).await;
    let said: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(said["violations"], 0);
    assert!(said["pages"].as_u64().unwrap() >= 34, "{said}");
    assert_eq!(told(&serving, &wanted).await, DeviceState::Approved);
    assert_eq!(told(&serving, &unwanted).await, DeviceState::Refused);
    serving.stop().await;
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// A program that ends with the test.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_chromium_people_sign_in_through_a_real_provider_and_by_invitation_alone() {
    use std::io::{BufRead, BufReader};
    let Some(packages) = packages() else {
        println!("skipped: not here: Chromium and its packages (testing/setup.sh browser)");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(file("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(file("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let (hub_port, port) = (free_port(), free_port());
    let mut provider = Command::new("node");
    provider
        .arg(root().join("testing/browser/oidc_provider.mjs"))
        .arg(port.to_string())
        .args([file("key.pem"), file("cert.pem")])
        .args(["the hub", "a secret of 32 letters and more!"])
        .arg(format!("https://localhost:{hub_port}/sign-in/institution/return"))
        .env("CHORION_BROWSER_PACKAGES", &packages)
        .stdout(std::process::Stdio::piped());
    let mut provider = Running(provider.spawn().unwrap());
    let mut lines = BufReader::new(provider.0.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "ready"), "the provider ended");
    let institution = crate::InstitutionConfig {
        // Another site than the hub's to a browser, so that cookies go as they would.
        issuer: format!("https://127.0.0.1:{port}"),
        client_id: "the hub".into(),
        client_secret: api::Secret::new("a secret of 32 letters and more!".to_owned().into()),
        ca_file: Some(file("cert.pem")),
    };
    let serving = Serving::start_with(hub_port, crate::Limits::default(), Some(institution)).await;
    let invited = invited(&serving).await;
    let screenshots = root().join("target/screenshots/sign-in");
    let (url, pid) = (serving.ready.url.as_str(), provider.0.id().to_string());
    let arguments = [url, &invited.code, screenshots.to_str().unwrap(), &pid];
    let said = run("institution.mjs", &packages, &arguments).await;
    let said: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(said["violations"], 0);
    assert!(said["pages"].as_u64().unwrap() >= 7, "{said}");
    serving.stop().await;
}
