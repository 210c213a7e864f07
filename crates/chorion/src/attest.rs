//! `chorion attest verify`: is this report of an AMD SEV-SNP guest genuine, and is it what a policy asks for (`spec/evidence.md`).
//!
//! The judgement is that of the crate `attest`; here are only files, the clock and words. Evidence that is refused ends the command
//! with an error, so that a script that looks at the exit status alone is never wrong.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use attest::{Appraisal, Endorsement, Policy, ReportFacts, appraise};
use data_encoding::BASE64;
use jiff::Timestamp;

use crate::report::{CliError, CliResult, Ui};

/// More than this is neither a report nor a certificate, list or policy.
const MOST_BYTES: u64 = 4 << 20;

/// Look at what a confidential machine says of itself.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum AttestCommand {
    Verify(VerifyArgs),
}

/// Verify a report of an AMD SEV-SNP guest, and say every check and its reason
///
/// Without a policy the evidence alone is judged: what it was measured as, and on which firmware, is then for you to compare. Nothing
/// is fetched: certificates and revocation lists are those of the folder, AMD's roots are part of this program. Ends with 0 only
/// if the evidence is accepted.
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// The report, 1184 bytes; `-` reads a pipe.
    #[arg(long, value_name = "FILE")]
    report: PathBuf,
    /// A folder with the VCEK or VLEK and its ASK or ASVK, and revocation lists if you have them: `.der`, `.crt`, `.cer`, `.crl` or `.pem`,
    /// under any names.
    #[arg(long, value_name = "DIR")]
    certs: PathBuf,
    /// What to accept: measurements, floors, `REPORT_DATA`, chips, opt-ins.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Judge dates by this time instead of now: `2026-11-21T12:00:00Z`.
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
}

/// Runs `chorion attest`.
pub(crate) fn run(command: &AttestCommand, ui: &Ui) -> CliResult {
    let AttestCommand::Verify(args) = command;
    let report = if args.report.as_os_str() == "-" {
        read_all(std::io::stdin().lock(), Path::new("standard input"))?
    } else {
        read(&args.report)?
    };
    let policy = match &args.policy {
        Some(path) => Policy::parse(&read(path)?).map_err(|error| {
            CliError::new(format!("policy {} cannot be used", path.display()))
                .caused_by(error)
                .hint("`spec/evidence.md` section 5 has the fields and an example")
        })?,
        None => Policy::default(),
    };
    let files = endorsements(&args.certs)?;
    let endorsements: Vec<Endorsement<'_>> =
        files.iter().map(|(name, der)| Endorsement { name, der }).collect();
    let now = args.at.unwrap_or_else(Timestamp::now);
    let appraisal = appraise(&report, &endorsements, &policy, now);
    ui.value(&appraisal);
    tell(&appraisal, ui);
    verdict(&appraisal)
}

fn tell(appraisal: &Appraisal, ui: &Ui) {
    if let Some(facts) = &appraisal.report {
        for (name, value) in lines(facts) {
            ui.line(format_args!("{name}: {value}"));
        }
        ui.line("");
    }
    for check in &appraisal.checks {
        ui.line(check);
    }
    ui.line("");
    for weakening in &appraisal.weakenings {
        ui.line(format_args!("weakened by `{}`: {}", weakening.accepted, weakening.meaning));
    }
    let word = if appraisal.accepted { "accepted" } else { "refused" };
    ui.line(format_args!("{word} at {}", appraisal.at));
}

/// What the report says, as far as a person compares it.
fn lines(facts: &ReportFacts) -> Vec<(&'static str, String)> {
    let mut lines = vec![
        ("report", facts.digest.to_string()),
        ("measured", facts.measurement.to_string()),
        ("asked to say", facts.report_data.to_string()),
        ("chip id", facts.chip_id.to_string()),
        ("firmware", facts.current_firmware.clone()),
    ];
    lines.extend(facts.reported_tcb.map(|tcb| ("reported TCB", tcb.to_string())));
    lines
}

fn verdict(appraisal: &Appraisal) -> CliResult {
    if appraisal.accepted {
        return Ok(());
    }
    let names: Vec<&str> = appraisal.refusals().map(|check| check.check.name()).collect();
    Err(CliError::new(format!("the evidence is refused: {}", names.join(", "))))
}

/// The certificates and lists of a folder, in the order of their names.
fn endorsements(folder: &Path) -> CliResult<Vec<(String, Vec<u8>)>> {
    let failed = |error| {
        CliError::new(format!("folder {} cannot be read", folder.display())).caused_by(error)
    };
    let mut paths = std::fs::read_dir(folder)
        .map_err(failed)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed)?;
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match ending.to_ascii_lowercase().as_str() {
            "der" | "crt" | "cer" | "crl" => {
                let bytes = read(&path)?;
                // The field hands out both forms under these names; DER begins with a SEQUENCE, which is no text.
                if bytes.first() == Some(&b'-') {
                    files.extend(blocks(&name, &bytes)?);
                } else {
                    files.push((name, bytes));
                }
            }
            "pem" => files.extend(blocks(&name, &read(&path)?)?),
            _ => {}
        }
    }
    if files.is_empty() {
        return Err(CliError::new(format!("folder {} holds no certificate", folder.display()))
            .hint("put the VCEK there as vek.der, and AMD's ASK as ask.der"));
    }
    Ok(files)
}

/// The certificates and lists of a PEM file (RFC 7468), under the file's name and their number.
fn blocks(name: &str, text: &[u8]) -> CliResult<Vec<(String, Vec<u8>)>> {
    let broken = || CliError::new(format!("{name} is not PEM"));
    let text = str::from_utf8(text).map_err(|_| broken())?;
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, block)) = rest.split_once("-----BEGIN ") {
        let (label, block) = block.split_once("-----").ok_or_else(broken)?;
        let (body, after) =
            block.split_once(&format!("-----END {label}-----")).ok_or_else(broken)?;
        rest = after;
        if !["CERTIFICATE", "X509 CRL"].contains(&label) {
            return Err(CliError::new(format!("{name} holds a `{label}`, not a certificate")));
        }
        let body: String = body.split_ascii_whitespace().collect();
        let der = BASE64.decode(body.as_bytes()).map_err(|_| broken())?;
        found.push((format!("{name} #{}", found.len() + 1), der));
    }
    if found.is_empty() { Err(broken()) } else { Ok(found) }
}

fn read(path: &Path) -> CliResult<Vec<u8>> {
    let file = File::open(path).map_err(|error| {
        CliError::new(format!("file {} cannot be opened", path.display())).caused_by(error)
    })?;
    read_all(file, path)
}

fn read_all(source: impl Read, path: &Path) -> CliResult<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(|error| {
        CliError::new(format!("{} cannot be read", path.display())).caused_by(error)
    })?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(CliError::new(format!(
            "{} is larger than anything of the kind",
            path.display()
        )));
    }
    Ok(bytes)
}
