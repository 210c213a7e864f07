//! `chorion audit reconcile`: the hub's log of what it asked a customer's key, beside the customer's own log of the same.
//!
//! The hub says what it asked; the key service says what it was asked. A use that the service saw and the hub did not log is
//! what an organization wants to know of. Read are `CloudTrail` (its files, and what `aws cloudtrail lookup-events` prints) and the
//! audit events of Azure Key Vault (its diagnostic files, one object or one a line). AWS logs the context that a key is bound to, so
//! each use is compared with the very key it is about; Azure logs none, so uses are compared by act and time.

use std::path::PathBuf;

use api::{Event, OrganizationId, Outcome, Time};
use clap::Args;
use jiff::SignedDuration;
use serde::Serialize;
use serde_json::Value;

use crate::config::ClientContext;
use crate::report::{CliError, CliResult, Ui};

/// What is compared.
#[derive(Debug, Args)]
pub(crate) struct ReconcileArgs {
    /// The organization.
    #[arg(long, value_name = "ID")]
    organization: OrganizationId,
    /// The key service's own log: `CloudTrail` JSON, or audit events of Azure Key Vault. Once for each file.
    #[arg(long = "kms-log", value_name = "FILE", required = true)]
    logs: Vec<PathBuf>,
    /// How far apart the two may stand in time.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    apart: u32,
}

/// A use of a key as its service logged it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Theirs {
    at: Time,
    /// As the hub names it.
    act: &'static str,
    /// The organization's key that it was about, where the service logs that.
    object: Option<String>,
    /// Whether the service did it.
    done: bool,
    /// The service's id of the call.
    id: String,
}

/// A use of a key as the hub logged it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Ours {
    at: Time,
    act: String,
    object: String,
    done: bool,
    leaf: Option<u64>,
}

/// What came out.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Compared {
    /// Uses that both logs have.
    matched: usize,
    /// Uses that the service saw and the hub did not log.
    only_theirs: Vec<Theirs>,
    /// Uses that the hub logged as done and the service did not see.
    only_ours: Vec<Ours>,
    /// Uses that failed by the hub's log and that the service did not log: they may not have reached it.
    failed_only_ours: usize,
    /// Uses of the hub's before or after what the service's log covers: it begins and ends with its entries, and comes late.
    outside: usize,
    /// Entries of the service's log that are about something else.
    others: usize,
}

/// Reads a log of a key service: what is about this organization, and how many entries are not.
fn read(text: &str, organization: OrganizationId) -> Result<(Vec<Theirs>, usize), String> {
    let mut entries = Vec::new();
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Array(all)) => entries = all,
        Ok(mut whole) => {
            let lists = ["Records", "records", "Events", "value"];
            let list = lists.iter().find(|name| whole.get(**name).is_some_and(Value::is_array));
            match list.and_then(|name| whole.get_mut(*name)).map(Value::take) {
                Some(Value::Array(all)) => entries = all,
                _ => entries.push(whole),
            }
        }
        // One object a line.
        Err(_) => {
            for (number, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
                let entry = serde_json::from_str(line)
                    .map_err(|_| format!("line {} is no JSON", number + 1))?;
                entries.push(entry);
            }
        }
    }
    let (mut uses, mut others) = (Vec::new(), 0);
    for entry in entries {
        // What `lookup-events` prints has the event as a text inside.
        let inner = entry.get("CloudTrailEvent").and_then(Value::as_str);
        let entry = match inner {
            Some(text) => serde_json::from_str(text)
                .map_err(|_| "an event inside the log is no JSON".to_owned())?,
            None => entry,
        };
        match aws(&entry, organization).or_else(|| azure(&entry)) {
            Some(found) => uses.push(found),
            None => others += 1,
        }
    }
    Ok((uses, others))
}

fn text<'a>(entry: &'a Value, pointer: &str) -> Option<&'a str> {
    entry.pointer(pointer)?.as_str()
}

fn aws(entry: &Value, organization: OrganizationId) -> Option<Theirs> {
    let id = organization.to_string();
    let (act, object) = match (text(entry, "/eventSource")?, text(entry, "/eventName")?) {
        ("kms.amazonaws.com", name @ ("Encrypt" | "Decrypt" | "GenerateDataKey" | "ReEncrypt")) => {
            let context = entry.pointer("/requestParameters/encryptionContext")?;
            let part = |name: &str| context.get(name).and_then(Value::as_str);
            if part("chorion:org")? != id {
                return None;
            }
            let (purpose, version) = (part("chorion:purpose")?, part("chorion:version")?);
            let act = if name == "Decrypt" { "kms.unwrap" } else { "kms.wrap" };
            (act, format!("organization-key:{id}/{purpose}/{version}"))
        }
        ("secretsmanager.amazonaws.com", name) => {
            let act = match name {
                "GetSecretValue" => "kms.secret.read",
                "CreateSecret" => "kms.secret.keep",
                "DeleteSecret" => "kms.secret.drop",
                _ => return None,
            };
            let named = text(entry, "/requestParameters/secretId")
                .or_else(|| text(entry, "/requestParameters/name"))?;
            if !named.contains(&format!("chorion/{id}-")) {
                return None;
            }
            (act, format!("organization:{id}"))
        }
        _ => return None,
    };
    Some(Theirs {
        at: text(entry, "/eventTime")?.parse().ok()?,
        act,
        object: Some(object),
        done: entry.get("errorCode").is_none_or(Value::is_null),
        id: text(entry, "/requestID").unwrap_or_default().to_owned(),
    })
}

fn azure(entry: &Value) -> Option<Theirs> {
    let either = |one: &str, other: &str| text(entry, one).or_else(|| text(entry, other));
    let act = match either("/operationName", "/OperationName")? {
        "KeyWrap" | "KeyEncrypt" => "kms.wrap",
        "KeyUnwrap" | "KeyDecrypt" => "kms.unwrap",
        "SecretGet" => "kms.secret.read",
        "SecretSet" => "kms.secret.keep",
        "SecretDelete" => "kms.secret.drop",
        _ => return None,
    };
    let status =
        entry.pointer("/properties/httpStatusCode").or_else(|| entry.get("httpStatusCode_d"));
    let status = status.and_then(Value::as_f64);
    // The first call of a client goes without a token, and is told where to get one.
    if status == Some(401.0) {
        return None;
    }
    Some(Theirs {
        at: either("/time", "/TimeGenerated")?.parse().ok()?,
        act,
        object: None,
        done: status.is_some_and(|status| (200.0..300.0).contains(&status)),
        id: either("/correlationId", "/CorrelationId").unwrap_or_default().to_owned(),
    })
}

/// The hub's uses, each from the event of its outcome.
fn ours(events: &[Event]) -> Vec<Ours> {
    let acts = ["kms.wrap", "kms.unwrap", "kms.secret.read", "kms.secret.keep", "kms.secret.drop"];
    let outcome =
        |event: &&Event| event.outcome != Outcome::Intended && acts.contains(&event.act.as_str());
    let use_of = |event: &Event| Ours {
        at: event.at,
        act: event.act.clone(),
        object: event.object.clone(),
        done: event.outcome == Outcome::Done,
        leaf: event.leaf.as_ref().map(|leaf| leaf.index),
    };
    events.iter().filter(outcome).map(use_of).collect()
}

/// Lays the one log beside the other: each use of the service's takes the nearest of ours that is the same and not taken.
fn compare(ours: &[Ours], theirs: &[Theirs], apart: SignedDuration, others: usize) -> Compared {
    let mut compared = Compared { others, ..Compared::default() };
    let mut taken = vec![false; ours.len()];
    let mut sorted: Vec<&Theirs> = theirs.iter().collect();
    sorted.sort_by_key(|one| one.at);
    for one in &sorted {
        let fits = |(at, own): &(usize, &Ours)| {
            !taken[*at]
                && own.act == one.act
                && own.done == one.done
                && one.object.as_ref().is_none_or(|object| *object == own.object)
                && own.at.duration_since(one.at).abs() <= apart
        };
        let nearest = ours
            .iter()
            .enumerate()
            .filter(fits)
            .min_by_key(|(_, own)| own.at.duration_since(one.at).abs());
        match nearest {
            Some((at, _)) => {
                taken[at] = true;
                compared.matched += 1;
            }
            None => compared.only_theirs.push((*one).clone()),
        }
    }
    let span = sorted.first().zip(sorted.last()).map(|(first, last)| (first.at, last.at));
    for (own, _) in ours.iter().zip(&taken).filter(|(_, taken)| !**taken) {
        let covered =
            span.is_some_and(|(from, to)| own.at.duration_since(from) >= -apart && own.at <= to);
        match (covered, own.done) {
            (false, _) => compared.outside += 1,
            (true, true) => compared.only_ours.push(own.clone()),
            (true, false) => compared.failed_only_ours += 1,
        }
    }
    compared
}

pub(crate) async fn run(args: ReconcileArgs, ui: Ui) -> CliResult {
    let (mut theirs, mut others) = (Vec::new(), 0);
    for path in &args.logs {
        let failed =
            |why: String| CliError::new(format!("{} does not read: {why}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|e| failed(e.to_string()))?;
        let (uses, rest) = read(&text, args.organization).map_err(failed)?;
        theirs.extend(uses);
        others += rest;
    }
    if theirs.is_empty() {
        return Err(CliError::new(format!(
            "the logs have no use of a key of organization {}",
            args.organization
        ))
        .hint("give CloudTrail's JSON, or the audit events of Azure Key Vault"));
    }
    let ctx = ClientContext::load(ui)?;
    let events = ctx.client.organization_events(args.organization, None, None).all().await?;
    let ours = ours(&events);
    let apart = SignedDuration::from_secs(i64::from(args.apart));
    let compared = compare(&ours, &theirs, apart, others);
    ui.line(format!("both logs have:                 {:>8}", compared.matched));
    ui.line(format!("the key service alone has:      {:>8}", compared.only_theirs.len()));
    ui.line(format!("the hub alone has, as done:     {:>8}", compared.only_ours.len()));
    ui.line(format!("the hub alone has, as failed:   {:>8}", compared.failed_only_ours));
    ui.line(format!("of the hub, not covered there:  {:>8}", compared.outside));
    ui.line(format!("there, about something else:    {:>8}", compared.others));
    for one in &compared.only_theirs {
        let about = one.object.as_deref().unwrap_or("a key");
        ui.line(format!("not in the hub's log: {}  {}  {about}  {}", one.at, one.act, one.id));
    }
    for one in &compared.only_ours {
        ui.line(format!("not in the key service's log: {}  {}  {}", one.at, one.act, one.object));
    }
    ui.value(&compared);
    if compared.only_theirs.is_empty() && compared.only_ours.is_empty() {
        ui.line("every use in the one log is in the other");
        return Ok(());
    }
    Err(CliError::new("the two logs are not the same").hint(
        "a use that the key service alone has was made with the hub's identity and not logged by the hub: ask its operator",
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(seconds: i64) -> Time {
        Time::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn trail(id: OrganizationId, name: &str, seconds: i64, error: Option<&str>) -> Value {
        json!({
            "eventSource": "kms.amazonaws.com", "eventName": name, "eventTime": at(seconds).to_string(),
            "requestID": "r-1", "errorCode": error,
            "requestParameters": {"encryptionContext": {
                "chorion:org": id.to_string(), "chorion:purpose": "data", "chorion:version": "1",
            }},
        })
    }

    fn own(id: OrganizationId, act: &str, seconds: i64, done: bool) -> Ours {
        Ours {
            at: at(seconds),
            act: act.to_owned(),
            object: format!("organization-key:{id}/data/1"),
            done,
            leaf: None,
        }
    }

    const APART: SignedDuration = SignedDuration::from_secs(120);

    #[test]
    fn the_same_uses_match_and_one_that_the_hub_did_not_log_is_named() {
        let id = OrganizationId::generate();
        let log = json!({"Records": [
            trail(id, "Decrypt", 1, None),
            trail(id, "Encrypt", 2, None),
            trail(id, "Decrypt", 3, Some("DisabledException")),
            trail(OrganizationId::generate(), "Decrypt", 3, None),
            {"eventSource": "s3.amazonaws.com", "eventName": "GetObject"},
        ]});
        let (theirs, others) = read(&log.to_string(), id).unwrap();
        assert_eq!((theirs.len(), others), (3, 2));
        let all = [
            own(id, "kms.unwrap", 0, true),
            own(id, "kms.wrap", 2, true),
            own(id, "kms.unwrap", 4, false),
        ];
        let same = compare(&all, &theirs, APART, others);
        assert_eq!((same.matched, same.only_theirs.len(), same.only_ours.len()), (3, 0, 0));
        let hidden = compare(&all[1..], &theirs, APART, others);
        assert_eq!(hidden.only_theirs.len(), 1);
        assert_eq!(hidden.only_theirs[0].act, "kms.unwrap");
        let claimed = [&all[..], &[own(id, "kms.unwrap", 2, true)]].concat();
        assert_eq!(compare(&claimed, &theirs, APART, others).only_ours.len(), 1);
        // What came after the last entry of the service's log may still come there.
        let late = [own(id, "kms.unwrap", 500, true)];
        assert_eq!(compare(&late, &theirs, APART, others).outside, 1);
    }

    #[test]
    fn each_use_is_counted_once_and_is_of_the_same_key() {
        let id = OrganizationId::generate();
        let twice = json!([trail(id, "Decrypt", 1, None), trail(id, "Decrypt", 2, None)]);
        let (theirs, _) = read(&twice.to_string(), id).unwrap();
        let once = [own(id, "kms.unwrap", 1, true)];
        assert_eq!(compare(&once, &theirs, APART, 0).only_theirs.len(), 1);
        let other = Ours { object: format!("organization-key:{id}/index/1"), ..once[0].clone() };
        assert_eq!(compare(&[other], &theirs, APART, 0).matched, 0);
    }

    #[test]
    fn what_lookup_events_prints_and_what_azure_writes_reads_too() {
        let id = OrganizationId::generate();
        let inner = trail(id, "Decrypt", 1, None).to_string();
        let looked = json!({"Events": [{"CloudTrailEvent": inner}]});
        assert_eq!(read(&looked.to_string(), id).unwrap().0.len(), 1);
        let line = |operation: &str, status: u16| {
            json!({
                "time": at(1).to_string(), "operationName": operation, "correlationId": "c",
                "properties": {"httpStatusCode": status},
            })
            .to_string()
        };
        let lines = [
            line("KeyUnwrap", 200),
            line("KeyWrap", 403),
            line("KeyGet", 200),
            line("KeyUnwrap", 401),
            line("SecretGet", 200),
        ]
        .join("\n");
        let (theirs, others) = read(&lines, id).unwrap();
        let found: Vec<_> = theirs.iter().map(|one| (one.act, one.done)).collect();
        assert_eq!(found, [("kms.unwrap", true), ("kms.wrap", false), ("kms.secret.read", true)]);
        assert_eq!(others, 2);
        assert!(read("{\"a\":\nno", id).is_err());
    }
}
