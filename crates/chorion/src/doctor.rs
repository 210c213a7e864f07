//! `chorion doctor`: looks at this machine and the hub, and says what to do about what it finds.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::config::ClientContext;
use crate::report::{CliError, CliResult, Ui};

/// Where to look besides the usual places.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// A hub's data directory on this machine: also look at its disk.
    #[arg(long)]
    data: Option<PathBuf>,
    /// That hub's key file, if it is not beside the data: the age of the newest backup stands there.
    #[arg(long, value_name = "FILE", requires = "data")]
    key_file: Option<PathBuf>,
    /// That hub's own certificate, if it has one.
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
}

/// How one thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Good,
    Warning,
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    verdict: Verdict,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Finding {
    fn good(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Good, found: found.into(), hint: None }
    }

    fn warning(what: &'static str, found: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Warning, found: found.into(), hint: Some(hint.into()) }
    }

    fn bad(what: &'static str, found: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Bad, found: found.into(), hint: Some(hint.into()) }
    }
}

/// Free space below which a disk is called short.
const SHORT_BYTES: u64 = 10 << 30;
/// How many days before its end the hub's authority is worth a word: every client pins it.
const AUTHORITY_DAYS: i64 = 180;
/// The same of a certificate of the operator's own.
const OWN_DAYS: i64 = 21;
/// After how many days without a backup one is missed.
const BACKUP_DAYS: i64 = 2;
/// A clock that differs by more is worth a word; by five minutes, calls are refused.
const NOTABLE_SKEW_SECONDS: i64 = 30;

pub(crate) async fn run(args: DoctorArgs, ui: Ui) -> CliResult {
    let mut findings = vec![sandbox(), scratch()];
    findings.extend(args.data.as_deref().map(disk));
    if let Some(data) = args.data {
        let authority = data.join("tls/ca.pem");
        findings.push(certificate("authority", &authority, AUTHORITY_DAYS));
        let config = hub::HubConfig { key_file: args.key_file, ..hub::HubConfig::new(data) };
        findings.push(backup(&config));
    }
    findings.extend(args.certificate.map(|file| certificate("certificate", &file, OWN_DAYS)));
    findings.extend(hub(ui).await);

    for f in &findings {
        let mark = match f.verdict {
            Verdict::Good => "good",
            Verdict::Warning => "warning",
            Verdict::Bad => "BAD",
        };
        ui.line(format!("{mark:<8} {}: {}", f.what, f.found));
        if let Some(hint) = &f.hint {
            ui.line(format!("         hint: {hint}"));
        }
    }
    ui.value(&findings);
    match findings.iter().filter(|f| f.verdict == Verdict::Bad).count() {
        0 => Ok(()),
        bad => Err(CliError::new(format!(
            "{bad} of {} things are not as they must be",
            findings.len()
        ))),
    }
}

fn sandbox() -> Finding {
    match vault::sandbox::probe() {
        Ok(probe) => Finding::good(
            "sandbox",
            format!(
                "{}; memory held by {:?}, processes by {:?}, processors by {:?}",
                probe.version, probe.held.memory, probe.held.processes, probe.held.cpus
            ),
        ),
        Err(error) => Finding::bad(
            "sandbox",
            format!("apps cannot run here: {error}"),
            error.hint().unwrap_or("run the hub on a machine where bubblewrap works"),
        ),
    }
}

fn scratch() -> Finding {
    match vault::sandbox::Scratch::in_memory() {
        Ok(_wiped_on_drop) => Finding::good("scratch", "in memory"),
        Err(error) => Finding::bad("scratch", error.to_string(), "mount a tmpfs at /dev/shm"),
    }
}

fn disk(data: &std::path::Path) -> Finding {
    match rustix::fs::statvfs(data) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let found = format!("{} GiB free under {}", free >> 30, data.display());
            if free < SHORT_BYTES {
                Finding::warning(
                    "disk",
                    found,
                    "add a facility on a larger disk before a run starts",
                )
            } else {
                Finding::good("disk", found)
            }
        }
        Err(error) => Finding::bad(
            "disk",
            format!("{} cannot be looked at: {error}", data.display()),
            "name the hub's data directory",
        ),
    }
}

/// When a certificate ends.
fn certificate(what: &'static str, file: &std::path::Path, soon_days: i64) -> Finding {
    let hint = "replace it in time: connections fail on the day it ends";
    let ends = match hub::certificate_ends(file) {
        Ok(ends) => ends,
        Err(error) => return Finding::bad(what, error.to_string(), hint),
    };
    let days = ends.duration_since(jiff::Timestamp::now()).as_hours() / 24;
    let found = format!("{} counts until {ends:.0}", file.display());
    match days {
        ..3 => Finding::bad(what, found, hint),
        days if days < soon_days => Finding::warning(what, found, hint),
        _ => Finding::good(what, found),
    }
}

/// How old the newest backup is.
fn backup(config: &hub::HubConfig) -> Finding {
    let hint = "`chorion backup create`, every night, carried to another machine";
    match hub::newest_backup(config) {
        Err(error) => Finding::bad("backup", error.to_string(), "name the hub's `--key-file`"),
        Ok(None) => Finding::warning("backup", "there is none that opens", hint),
        Ok(Some(made)) => {
            let days = jiff::Timestamp::now().duration_since(made).as_hours() / 24;
            let found = format!("the newest was made {made:.0}, {days} days ago");
            if days > BACKUP_DAYS {
                Finding::warning("backup", found, hint)
            } else {
                Finding::good("backup", found)
            }
        }
    }
}

/// Each facility, where the caller may know.
async fn facilities(ctx: &ClientContext) -> Vec<Finding> {
    // Only an operator is told; to others the store is nothing to look after.
    let Ok(status) = ctx.client.store_status().await else { return Vec::new() };
    let finding = |facility: &api::FacilityStatus| {
        let found = format!("{} at {} is {}", facility.id, facility.location, facility.state);
        match facility.state.as_str() {
            "healthy" => Finding::good("facility", found),
            "behind" | "draining" => Finding::warning(
                "facility",
                found,
                "it catches up by itself; `chorion store status` shows how far it is",
            ),
            "full" => Finding::bad("facility", found, "make room, or `chorion store add` another"),
            _ => Finding::bad(
                "facility",
                found,
                "bring its disk or service back; if it is lost: `chorion store add` another, then `chorion store drain --lost`",
            ),
        }
    };
    status.facilities.iter().map(finding).collect()
}

/// Set-up, TLS, clock and key, as far as they can be reached.
async fn hub(ui: Ui) -> Vec<Finding> {
    let ctx = match ClientContext::load(ui) {
        Ok(ctx) => ctx,
        Err(error) => {
            let hint = "`chorion login --hub URL --code CODE` makes one";
            return vec![Finding::warning("set-up", error.sentence(), hint)];
        }
    };
    let mut findings = vec![Finding::good(
        "set-up",
        format!("key and hub are configured for {}", ctx.client.hub()),
    )];
    match ctx.client.whoami().await {
        Ok(who) => {
            findings.push(Finding::good(
                "TLS",
                "the hub shows a certificate of the authority that was pinned",
            ));
            findings.push(Finding::good(
                "key",
                format!("{} signs for {}", who.key.id, who.account.name),
            ));
            let skew = who.hub.time.duration_since(jiff::Timestamp::now()).as_secs();
            findings.push(if skew.abs() > NOTABLE_SKEW_SECONDS {
                let hint = "set the clock of this machine by NTP; calls are refused at 300 seconds";
                Finding::warning(
                    "clock",
                    format!("the hub's clock differs by {skew} seconds"),
                    hint,
                )
            } else {
                Finding::good("clock", "within 30 seconds of the hub's")
            });
            findings.extend(facilities(&ctx).await);
        }
        Err(error) => {
            let hint = error.hint().unwrap_or_else(|| "start the hub, or log in again".to_owned());
            findings.push(Finding::bad("hub", error.to_string(), hint));
        }
    }
    findings
}
