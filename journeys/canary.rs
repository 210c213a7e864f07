//! Secrets are put in wherever there is a place for one, with the hub at its most talkative. Then whatever it and the command line
//! wrote (the log, errors, addresses, the database with its log, temporary files) is searched for each of them, as it is, in
//! hexadecimal and in base64.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use client::{Client, Options, Patience, Trust};
use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use memchr::memmem::Finder;
use proof::SigningKey;
use seal::recipient::RecipientSecret;
use serde_json::Value;

use super::stage::{Hub, Stage, files};

/// What must stand nowhere: what to call it, a way to spell it, and what that looks like.
#[derive(Default)]
struct Canaries(Vec<(String, &'static str, Finder<'static>)>);

impl Canaries {
    fn add(&mut self, what: &str, secret: impl AsRef<[u8]>) {
        let secret = secret.as_ref();
        assert!(secret.len() >= 8, "{what} is too short to be told from chance");
        let spelled = spelled(secret).into_iter();
        self.0.extend(
            spelled.map(|(spelling, text)| {
                (what.to_owned(), spelling, Finder::new(&text).into_owned())
            }),
        );
    }

    /// A code as it is shown, and without its hyphens.
    fn add_code(&mut self, what: &str, code: &str) {
        self.add(what, code);
        self.add(what, code.replace('-', ""));
    }

    /// A key that a file holds in hexadecimal: its bytes, since all spellings are looked for.
    fn add_hex(&mut self, what: &str, hex: &Value) {
        self.add(what, HEXLOWER.decode(hex.as_str().unwrap().as_bytes()).unwrap());
    }

    /// In which spelling, if any, something holds one.
    fn found_in(&self, bytes: &[u8]) -> Option<(&str, &'static str)> {
        let mut all = self.0.iter();
        let (what, spelling, _) = all.find(|(_, _, finder)| finder.find(bytes).is_some())?;
        Some((what, spelling))
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    Finder::new(text).find(bytes).is_some()
}

/// How a secret may be spelled. In base64 its letters depend on how many bytes stand before it: those that depend on a
/// neighbour are left out.
fn spelled(secret: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut all = vec![
        ("as it is", secret.to_vec()),
        ("in hexadecimal", HEXLOWER.encode(secret).into_bytes()),
        ("in capital hexadecimal", HEXUPPER.encode(secret).into_bytes()),
    ];
    for before in 0..3 {
        let padded = [vec![0; before], secret.to_vec()].concat();
        let first = (before * 8).div_ceil(6);
        let last = padded.len() * 8 / 6;
        for (name, encoding) in [("in base64", BASE64_NOPAD), ("in base64url", BASE64URL_NOPAD)] {
            all.push((name, encoding.encode(&padded).as_bytes()[first..last].to_vec()));
        }
    }
    all
}

#[test]
fn a_secret_is_found_in_every_spelling_whatever_stands_around_it() {
    let mut canaries = Canaries::default();
    canaries.add("a secret", "GATTACA-canary");
    for before in 0..7 {
        let text = format!("{}GATTACA-canary and more", "x".repeat(before));
        for (spelling, spelled) in [
            ("as it is", text.clone()),
            ("in hexadecimal", HEXLOWER.encode(text.as_bytes())),
            ("in capital hexadecimal", HEXUPPER.encode(text.as_bytes())),
            ("in base64", BASE64_NOPAD.encode(text.as_bytes())),
        ] {
            assert_eq!(canaries.found_in(spelled.as_bytes()), Some(("a secret", spelling)));
        }
    }
    assert_eq!(canaries.found_in(b"GATTACA-canar"), None);
}

/// What curl says, with the cookies of one browser.
fn browse(stage: &Stage, hub: &Hub, path: &str, form: &[(&str, &str)]) -> String {
    let jar = stage.path("jar");
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--cacert", &hub.ca_file, "-H"]).arg(format!("Origin: {}", hub.url));
    curl.arg("-b").arg(&jar).arg("-c").arg(&jar);
    for (name, value) in form {
        curl.arg("--data-urlencode").arg(format!("{name}={value}"));
    }
    let output = curl.arg(format!("{}{path}", hub.url)).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The token that the form of a page carries.
fn form_token(page: &str) -> String {
    let (_, rest) = page.split_once("name=\"form_token\" value=\"").expect("the page has a form");
    rest.split('"').next().unwrap().to_owned()
}

/// The cookies that a browser was given.
fn cookies(jar: &Path) -> Vec<String> {
    let jar = fs::read_to_string(jar).unwrap();
    let lines = jar.lines().filter(|line| line.contains("__Host-chorion"));
    lines.map(|line| line.rsplit('\t').next().unwrap().to_owned()).collect()
}

/// The key of a dataset, released to somebody who may have it.
fn dataset_key(stage: &Stage, hub: &Hub, home: &str, id: &str) -> Vec<u8> {
    let home = stage.path(home);
    let keys = person_keys(&home);
    let seed: [u8; 32] = HEXLOWER
        .decode(keys["signing_seed"].as_str().unwrap().as_bytes())
        .unwrap()
        .try_into()
        .unwrap();
    let options = Options {
        hub: hub.url.clone(),
        trust: Trust::from_pem(&fs::read(&hub.ca_file).unwrap()).unwrap(),
        signer: Arc::new(SigningKey::from_seed(&seed)),
        patience: Patience::Once,
    };
    let secret = RecipientSecret::generate().unwrap();
    let request = api::ReleaseRequest {
        recipient: api::Bytes(secret.public().to_bytes()),
        purpose: "download".to_owned(),
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let released = runtime.block_on(async {
        let client = Client::new(options).unwrap();
        client.release(id.parse().unwrap(), &request).await.unwrap()
    });
    dataset::OpenDataset::from_release(&released, &secret).unwrap().key().expose().to_vec()
}

/// What a login left in a home.
fn person_keys(home: &Path) -> Value {
    let config: Value =
        serde_json::from_slice(&fs::read(home.join("config.json")).unwrap()).unwrap();
    let file = home.join(config["key"].as_str().unwrap());
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

const PASSWORD: &str = "copper-vein-harbour-canary";
const WRONG: &str = "wrong-but-secret-canary";
const PASSPHRASE: &str = "passphrase-of-canaries";
const PROJECT: &str = "project-of-canaries";
const SAMPLE: &str = "sample-of-canaries";
const FILE: &str = "reads-of-canaries.fastq";
const RUN: &str = "240611_CANARY_0001_AHCANARIES";

#[test]
fn secrets_stand_in_no_log_no_error_no_database_and_no_temporary_file() {
    let stage = Stage::talkative();
    let hub = stage.hub("127.0.0.1:0");
    let mut canaries = Canaries::default();
    let mut said = Vec::new();
    let mut run = |home: &str, words: &[&str]| {
        let output = stage.run(home, words);
        said.extend(&output.stderr);
        (output.status.success(), serde_json::from_slice::<Value>(&output.stdout).ok())
    };
    let mut call = |home: &str, words: &[&str]| {
        let (done, value) = run(home, words);
        assert!(done, "chorion {words:?} failed");
        value.unwrap_or(Value::Null)
    };
    let at_hub = ["--hub", hub.url.as_str(), "--ca", hub.ca_file.as_str()];

    // People and their codes, used and unused; and one that was typed wrongly.
    canaries.add_code("the first operator's code", &hub.one_time_code);
    call(
        "ada",
        &[&["login", "--name", "Ada Lovelace", "--code", &hub.one_time_code][..], &at_hub].concat(),
    );
    let code = |invited: &Value| invited["code"].as_str().unwrap().to_owned();
    let (bob, carol, dora) = (
        code(&call("ada", &["account", "invite", "bob"])),
        code(&call("ada", &["account", "invite", "carol"])),
        code(&call("ada", &["account", "invite", "dora"])),
    );
    for (whose, code) in [("bob's code", &bob), ("carol's code", &carol), ("dora's code", &dora)] {
        canaries.add_code(whose, code);
    }
    call("bob", &[&["login", "--code", &bob][..], &at_hub].concat());
    for home in ["ada", "bob"] {
        let keys = person_keys(&stage.path(home));
        canaries.add_hex("a signing key", &keys["signing_seed"]);
        canaries.add_hex("a receiving key", &keys["receiving_seed"]);
    }

    // Browsers: a first password with a code, a wrong one, and a right one.
    canaries.add("a password", PASSWORD);
    canaries.add("a wrong password", WRONG);
    let token = form_token(&browse(&stage, &hub, "/first-password", &[]));
    let fields =
        [("code", carol.as_str()), ("name", "carol"), ("password", PASSWORD), ("again", PASSWORD)];
    browse(
        &stage,
        &hub,
        "/first-password",
        &[&[("form_token", token.as_str())][..], &fields].concat(),
    );
    let mut seen = cookies(&stage.path("jar"));
    fs::remove_file(stage.path("jar")).unwrap();
    for (name, password) in [("carol", WRONG), (WRONG, PASSWORD), ("carol", PASSWORD)] {
        let token = form_token(&browse(&stage, &hub, "/sign-in", &[]));
        seen.extend(cookies(&stage.path("jar")));
        let fields = [("form_token", token.as_str()), ("name", name), ("password", password)];
        browse(&stage, &hub, "/sign-in", &fields);
        seen.extend(cookies(&stage.path("jar")));
        canaries.add("a form token", token);
    }
    assert!(browse(&stage, &hub, "/account", &[]).contains("carol"), "carol is signed in");
    for cookie in seen {
        canaries.add("a cookie's bytes", BASE64URL_NOPAD.decode(cookie.as_bytes()).unwrap());
        canaries.add("a cookie", cookie);
    }
    let file = stage.path("password");
    fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    call("ada", &["account", "password", "ada", "--password-file", file.to_str().unwrap()]);

    // A second machine, and an instrument with a technician.
    let login = [&["login", "--json"][..], &at_hub].concat();
    let mut laptop = stage.start("laptop", &login);
    let shown = laptop.shown_code();
    canaries.add_code("a device's code", &shown);
    call("ada", &["key", "approve", &shown, "--yes"]);
    assert!(laptop.finish().status.success());
    let project = call("ada", &["project", "create", PROJECT]);
    let project = project["id"].as_str().unwrap().to_owned();
    let phrase = call("ada", &["project", "card", &project]);
    let enrolled = code(&call("ada", &["instrument", "enrol", "NovaSeq 1"]));
    canaries.add_code("an instrument's code", &enrolled);
    call("instrument", &[&["login", "--code", &enrolled][..], &at_hub].concat());
    let folder = stage.path(RUN);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("RunInfo.xml"), "<RunInfo>GATTACA-CANARY</RunInfo>\n").unwrap();
    fs::write(folder.join("CopyComplete.txt"), "").unwrap();
    let mut sender = stage.start(
        "instrument",
        &[
            "run",
            "send",
            folder.to_str().unwrap(),
            "--project",
            &project,
            "--card-phrase",
            phrase["phrase"].as_str().unwrap(),
            "--json",
            "--no-demultiplex",
            "--poll-seconds",
            "1",
        ],
    );
    let shown = sender.shown_code();
    canaries.add_code("a sign-on's code", &shown);
    call("ada", &["key", "approve", &shown, "--yes"]);
    assert!(sender.finish().status.success());

    // Data, and what it is called.
    for (what, name) in [
        ("a project's name", PROJECT),
        ("a sample's name", SAMPLE),
        ("a file's name", FILE),
        ("a run's name", RUN),
    ] {
        canaries.add(what, name);
    }
    let reads = stage.path(FILE);
    let mut fastq = fs::File::create(&reads).unwrap();
    for n in 0..500 {
        writeln!(fastq, "@CANARY:{n}\nGATTACACATTAGA\n+\nFFFFFFFFFFFFFF").unwrap();
    }
    drop(fastq);
    canaries.add("reads", "GATTACACATTAGA");
    canaries.add("run information", "GATTACA-CANARY");
    let import =
        ["sample", "import", reads.to_str().unwrap(), "--project", &project, "--name", SAMPLE];
    let sample = call("ada", &import)["id"].as_str().unwrap().to_owned();
    call("ada", &["sample", "download", &sample, "-o", stage.path("back").to_str().unwrap()]);
    let runs = call("ada", &["run", "list"]);
    for id in [sample.as_str(), runs[0]["id"].as_str().unwrap()] {
        canaries.add("a dataset's key", dataset_key(&stage, &hub, "ada", id));
    }

    // A passphrase, which goes by the environment or a file and never over the line.
    canaries.add("a passphrase", PASSPHRASE);
    let passphrase = stage.path("passphrase");
    fs::write(&passphrase, PASSPHRASE).unwrap();
    let key = stage.path("offline.key");
    let (key, passphrase) = (key.to_str().unwrap(), passphrase.to_str().unwrap());
    call("ada", &["keygen", "-o", key, "--passphrase-file", passphrase]);

    // Errors: each quotes what it is about, and nothing that is secret.
    for words in [
        &[&["login", "--code", &bob][..], &at_hub].concat()[..],
        &[&["login", "--code", "ABCDE-CANAR-YCODE-TYPED-WRONG"][..], &at_hub].concat(),
        &["key", "approve", "CNRY-CNRY", "--yes"],
        &["account", "password", "bob", "--password-file", file.to_str().unwrap()],
        &["sample", "download", &sample, "-o", stage.path("bob").to_str().unwrap()],
        &[
            "open",
            key,
            "-o",
            stage.path("x").to_str().unwrap(),
            "--identity",
            key,
            "--passphrase-file",
            file.to_str().unwrap(),
        ],
    ] {
        let home = if words[0] == "login" { "nobody-else" } else { "bob" };
        let _refused_or_not = run(home, words);
    }
    canaries.add_code("a code that was typed wrongly", "ABCDE-CANAR-YCODE-TYPED-WRONG");
    canaries.add_code("a device's code that was typed wrongly", "CNRY-CNRY");

    let search = |when: &str| {
        let mut bytes = 0;
        let mut look = |name: &str, text: &[u8]| {
            bytes += text.len();
            if let Some((what, spelling)) = canaries.found_in(text) {
                panic!("{when}: {what} stands in {name}, {spelling}");
            }
        };
        look("what the command line said", &said);
        for place in ["hub.log", "hub", "tmp"] {
            let path = stage.path(place);
            let whole = if path.is_file() { vec![(path, 0)] } else { files(&path) };
            for (file, _) in whole {
                // A file that went away meanwhile holds nothing.
                look(&file.display().to_string(), &fs::read(&file).unwrap_or_default());
            }
        }
        bytes
    };
    let log = fs::read(stage.path("hub.log")).unwrap();
    for talks in ["TRACE", "sqlx::query", "/api/v1/"] {
        assert!(contains(&log, talks), "the log talks of {talks}");
    }
    assert!(search("while it runs") > 1 << 20);
    let mut database = fs::read(stage.path("hub/hub.db")).unwrap();
    database.extend(fs::read(stage.path("hub/hub.db-wal")).unwrap());
    assert!(contains(&database, &project), "what stands there in clear is found");
    hub.kill();
    search("after it was killed");
}
