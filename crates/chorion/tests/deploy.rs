//! What stands in `deploy/` is read by the programs it is for, where they are.

#![expect(clippy::unwrap_used, reason = "a test that meets something unexpected ends there")]
#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy")
}

/// What a program says; nothing where it is not installed.
fn said(program: &str, arguments: &[&str]) -> Option<Output> {
    let output = Command::new(program).args(arguments).output();
    if output.is_err() {
        println!("skipped: {program} is not here");
    }
    output.ok()
}

/// The units with a program that is there, so that only they are judged.
fn units(folder: &Path) -> Vec<String> {
    ["chorion-hub.service", "chorion-broker.service"]
        .into_iter()
        .map(|name| {
            let unit = fs::read_to_string(deploy().join(name)).unwrap();
            let path = folder.join(name);
            fs::write(&path, unit.replace("/usr/local/bin/chorion", "/bin/true")).unwrap();
            path.to_str().unwrap().to_owned()
        })
        .collect()
}

#[test]
fn the_units_are_read_without_a_complaint_and_expose_little() {
    let folder = tempfile::tempdir().unwrap();
    let units = units(folder.path());
    let mut arguments = vec!["verify", "--man=no"];
    arguments.extend(units.iter().map(String::as_str));
    let Some(output) = said("systemd-analyze", &arguments) else { return };
    let complaints = String::from_utf8_lossy(&output.stderr);
    // A machine that was not started by systemd says so; complaints about a unit name its file.
    let about_ours: Vec<_> = complaints.lines().filter(|l| l.contains("chorion-")).collect();
    assert!(about_ours.is_empty(), "{about_ours:#?}");

    // In tenths, of 100 for a service that nothing is kept from. A hub with vaults makes namespaces and mounts.
    for (unit, most) in units.iter().zip(["35", "15"]) {
        let threshold = format!("--threshold={most}");
        let judged = ["security", "--offline=true", "--no-pager", &threshold, unit];
        let output = said("systemd-analyze", &judged).unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let last = text.lines().last().unwrap_or_default();
        assert!(output.status.success(), "{last} {}", String::from_utf8_lossy(&output.stderr));
    }
    let drop_in = folder.path().join("chorion-hub.service.d");
    fs::create_dir(&drop_in).unwrap();
    fs::copy(deploy().join("hub-without-vaults.conf"), drop_in.join("vaults.conf")).unwrap();
    let judged = ["security", "--offline=true", "--no-pager", "--threshold=15", &units[0]];
    assert!(said("systemd-analyze", &judged).unwrap().status.success());
}

#[test]
fn the_packet_filter_is_read_and_opens_two_ports_alone() {
    let rules = deploy().join("nftables.conf");
    let text = fs::read_to_string(&rules).unwrap();
    let opened: Vec<_> =
        text.lines().filter(|line| line.contains("dport") && line.ends_with("accept")).collect();
    assert_eq!(opened.len(), 2, "{opened:?}");
    assert_eq!(text.matches("policy drop;").count(), 2);
    let Some(output) = said("nft", &["-c", "-f", rules.to_str().unwrap()]) else { return };
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("Operation not permitted") {
        println!("skipped: nft may not look at this machine");
        return;
    }
    assert!(output.status.success(), "{said}");
}

#[test]
fn every_option_of_the_units_is_one_of_the_program() {
    for (name, command) in [("chorion-hub.service", "serve"), ("chorion-broker.service", "broker")]
    {
        let unit = fs::read_to_string(deploy().join(name)).unwrap();
        let help = said(env!("CARGO_BIN_EXE_chorion"), &[command, "--help"]).unwrap();
        let help = String::from_utf8_lossy(&help.stdout).into_owned();
        let line = unit.lines().find(|line| line.starts_with("ExecStart=")).unwrap();
        for option in line.split(' ').filter(|word| word.starts_with("--")) {
            assert!(help.contains(option), "`chorion {command}` has no {option}");
        }
    }
}
