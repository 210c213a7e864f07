//! `chorion attest verify` as a person runs it: what it prints is kept in `tests/attest/*.txt`, and its exit code is the verdict.
//!
//! `UPDATE=1` writes those files anew; read the difference.

#![expect(clippy::unwrap_used, reason = "a test that meets something unexpected ends there")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use data_encoding::BASE64;
use serde_json::Value;
use tempfile::TempDir;

const AT: &str = "2026-11-21T00:00:00Z";
const GENOA: &str = "genoa-v3-azure-msft";
const MEASURED: &str = "5feee30d6d7e1a29f403d70a4198237ddfb13051a2d6976439487c609388ed7f98189887920ab2fa0096903a0c23fca1";

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/evidence/real")
}

/// A folder with certificates of a case, as a person has them.
struct Desk(TempDir);

impl Desk {
    fn new(case: &str, chain: &str) -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        fs::create_dir(desk.path("certs")).unwrap();
        let copies = [
            (format!("{case}/report.bin"), "report.bin"),
            (format!("{case}/vek.der"), "certs/vek.der"),
            (format!("chains/{chain}/ark.der"), "certs/ark.der"),
            (format!("chains/{chain}/ask.der"), "certs/ask.der"),
        ];
        for (from, to) in copies {
            fs::write(desk.path(to), fs::read(vectors().join(from)).unwrap()).unwrap();
        }
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn policy(&self, fields: &str) {
        let text = format!("{{\"format\": \"chorion evidence policy v1\", {fields}}}");
        fs::write(self.path("policy.json"), text).unwrap();
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chorion"));
        command
            .args(["attest", "verify", "--report", "report.bin", "--certs", "certs"])
            .args(more)
            .current_dir(self.0.path())
            .stdin(Stdio::null());
        command
    }

    fn run(&self, more: &[&str]) -> Output {
        self.command(more).output().unwrap()
    }
}

/// What a person sees on both streams, and the exit code.
fn seen(output: &Output) -> String {
    format!(
        "{}--- standard error\n{}--- exit code {}\n",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        output.status.code().unwrap()
    )
}

fn as_kept(name: &str, output: &Output) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/attest/{name}.txt"));
    let text = seen(output);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, kept, "{name}.txt is not as kept; run with UPDATE=1 and read the difference");
}

#[test]
fn genuine_evidence_is_accepted_and_what_was_not_compared_is_said() {
    as_kept("genoa", &Desk::new(GENOA, "genoa").run(&["--at", AT]));
}

#[test]
fn milan_is_refused_by_name() {
    as_kept("milan", &Desk::new("milan-v3-azure-msft", "milan").run(&["--at", AT]));
}

#[test]
fn what_a_policy_accepts_is_named_as_a_weakening() {
    let desk = Desk::new("milan-v3-azure-msft", "milan");
    desk.policy(r#""accept": ["milan"]"#);
    as_kept("milan-accepted", &desk.run(&["--at", AT, "--policy", "policy.json"]));
}

#[test]
fn a_report_that_is_none_still_gets_every_line() {
    let desk = Desk::new(GENOA, "genoa");
    fs::write(desk.path("report.bin"), b"no report").unwrap();
    as_kept("no-report", &desk.run(&["--at", AT]));
}

#[test]
fn a_policy_is_held_to_and_key_release_asks_for_all_of_it() {
    let desk = Desk::new(GENOA, "genoa");
    let floors =
        r#""floors": {"genoa": {"boot_loader": 10, "tee": 0, "snp": 23, "microcode": 84}}"#;
    let zeros = "0".repeat(128);
    let all = format!(r#""measurements": ["{MEASURED}"], {floors}, "report_data": "{zeros}""#);
    let run = |fields: &str| {
        desk.policy(fields);
        desk.run(&["--at", AT, "--policy", "policy.json"])
    };
    assert!(run(&all).status.success());
    as_kept("key-release", &run(&format!(r#""purpose": "key_release", {all}"#)));
    let missing = run(&format!(r#""purpose": "key_release", {floors}"#));
    as_kept("key-release-refused", &missing);
    let other = run(&format!(r#""measurements": ["{}"]"#, MEASURED.replace('5', "6")));
    assert_eq!(other.status.code(), Some(1));
    let slip = run(r#""measurement": []"#);
    assert_eq!(slip.status.code(), Some(1));
    assert!(slip.stdout.is_empty());
    let said = String::from_utf8(slip.stderr).unwrap();
    assert!(said.contains("unknown field `measurement`"), "{said}");
    assert!(said.contains("hint: "), "{said}");
}

#[test]
fn json_is_one_document_whatever_the_verdict() {
    for (case, chain, accepted) in
        [(GENOA, "genoa", true), ("milan-v2-debug-gosevguest", "milan", false)]
    {
        let output = Desk::new(case, chain).run(&["--json", "--at", AT]);
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(json["accepted"], accepted);
        assert_eq!(output.status.success(), accepted);
        assert_eq!(json["checks"].as_array().unwrap().len(), 19);
    }
}

#[test]
fn names_of_files_do_not_matter_and_pem_is_read_as_well() {
    let desk = Desk::new(GENOA, "genoa");
    let pem = |name: &str| {
        let der = fs::read(desk.path(name)).unwrap();
        let text = BASE64.encode(&der);
        let lines: Vec<&str> =
            text.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    };
    // As AMD's service hands it out.
    let chain = pem("certs/ask.der") + &pem("certs/ark.der");
    fs::write(desk.path("certs/cert_chain.pem"), chain).unwrap();
    for name in ["ask", "ark"] {
        fs::remove_file(desk.path(&format!("certs/{name}.der"))).unwrap();
    }
    fs::rename(desk.path("certs/vek.der"), desk.path("certs/anything.crt")).unwrap();
    fs::write(desk.path("certs/notes.txt"), "not looked at").unwrap();
    let output = desk.run(&["--at", AT]);
    assert!(output.status.success(), "{}", seen(&output));
    fs::write(desk.path("certs/broken.pem"), "-----BEGIN CERTIFICATE-----\nx").unwrap();
    assert_eq!(desk.run(&["--at", AT]).status.code(), Some(1));
}

#[test]
fn a_report_comes_through_a_pipe_too_and_without_a_time_the_clock_is_asked() {
    let desk = Desk::new(GENOA, "genoa");
    let mut command = Command::new(env!("CARGO_BIN_EXE_chorion"));
    let mut child = command
        .args(["attest", "verify", "--report", "-", "--certs", "certs"])
        .current_dir(desk.0.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let report = fs::read(desk.path("report.bin")).unwrap();
    child.stdin.take().unwrap().write_all(&report).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    // The certificate is valid from February 2026 to February 2033; after that this says that it expired.
    assert!(said.contains("dates: "), "{said}");
}

#[test]
fn a_guest_image_is_measured_as_another_program_measures_it() {
    let folder = vectors().join("../measured");
    let cases = fs::read_to_string(folder.join("cases.tsv")).unwrap();
    let case: Vec<&str> = cases.lines().nth(3).unwrap().split('\t').collect();
    let desk = tempfile::tempdir().unwrap();
    for (name, text) in [("initrd", case[6]), ("kernel", case[7])] {
        fs::write(desk.path().join(name), text).unwrap();
    }
    let output = Command::new(env!("CARGO_BIN_EXE_chorion"))
        .args(["vault", "measure", "--kernel", "kernel", "--initrd", "initrd", "--cpu", "genoa"])
        .args(["--vcpus", case[0], "--append", case[5], "--ovmf"])
        .arg(folder.join("firmware.bin").canonicalize().unwrap())
        .current_dir(desk.path())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{}\n", case[8]));
    let output = Command::new(env!("CARGO_BIN_EXE_chorion"))
        .args(["vault", "measure", "--kernel", "kernel", "--ovmf", "kernel"])
        .current_dir(desk.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("error: a guest with kernel cannot be measured"), "{said}");
}

#[test]
fn what_is_missing_is_named() {
    let desk = Desk::new(GENOA, "genoa");
    fs::remove_dir_all(desk.path("certs")).unwrap();
    fs::create_dir(desk.path("certs")).unwrap();
    let output = desk.run(&[]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("error: folder certs holds no certificate"), "{said}");
    fs::remove_file(desk.path("report.bin")).unwrap();
    let said = String::from_utf8(desk.run(&[]).stderr).unwrap();
    assert!(said.starts_with("error: file report.bin cannot be opened"), "{said}");
    assert_eq!(desk.run(&["--at", "yesterday"]).status.code(), Some(2));
}
