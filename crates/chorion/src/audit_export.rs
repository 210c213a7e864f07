//! `chorion audit export`: what an auditor hands on, as CSV (RFC 4180) or JSON.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use api::{OrganizationId, Time};
use clap::{Args, ValueEnum};
use client::Client;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::Value;

use crate::config::ClientContext;
use crate::report::{CliError, CliResult, Ui};

/// What is exported, of when, and how.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The organization.
    #[arg(long, value_name = "ID")]
    organization: OrganizationId,
    /// What of it.
    #[arg(long, value_enum, default_value = "events")]
    what: What,
    /// Events from this day or moment on (UTC): `2026-11-01` or `2026-11-01T12:00:00Z`.
    #[arg(long, value_parser = moment)]
    from: Option<Time>,
    /// Events before this day or moment.
    #[arg(long, value_parser = moment)]
    to: Option<Time>,
    /// In which form.
    #[arg(long, value_enum, default_value = "csv")]
    format: Format,
    /// Into this file, which must not be there, instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// What an auditor reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// What was done, by whom, to which thing.
    Events,
    /// Accounts and their last use.
    Accounts,
    /// Keys that sign for accounts.
    Keys,
    /// Projects: who holds their keys.
    Projects,
    /// Who has which right in which project.
    Rights,
    /// Who read which fields of which case, and why.
    Reads,
    /// The table of what each right and role allows.
    Permissions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line of names, then a line each (RFC 4180).
    Csv,
    /// One array of records.
    Json,
}

/// Reads a day, which begins at midnight UTC, or a moment.
fn moment(text: &str) -> Result<Time, String> {
    if let Ok(time) = text.parse::<Time>() {
        return Ok(time);
    }
    let day: Date = text
        .parse()
        .map_err(|_| format!("`{text}` is neither a day (2026-11-01) nor a moment (RFC 3339)"))?;
    let start = day.to_zoned(TimeZone::UTC).map_err(|e| e.to_string())?;
    Ok(start.timestamp())
}

/// Columns and rows, as both forms need them.
struct Sheet {
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
}

impl Sheet {
    /// The fields of records, in the order of the type; `leaf.index` is a field of a field.
    fn of<T: Serialize>(columns: &[&str], records: &[T]) -> CliResult<Self> {
        let row = |record: &T| {
            let value = serde_json::to_value(record)
                .map_err(|e| CliError::new("a record does not serialize").caused_by(e))?;
            let field = |name: &&str| name.split('.').fold(&value, |at, part| &at[part]).clone();
            Ok(columns.iter().map(field).collect())
        };
        let rows = records.iter().map(row).collect::<CliResult<_>>()?;
        Ok(Self { columns: columns.iter().map(|name| (*name).to_owned()).collect(), rows })
    }

    fn csv(&self) -> String {
        let mut text = String::new();
        let line =
            |cells: &mut dyn Iterator<Item = String>| cells.collect::<Vec<_>>().join(",") + "\r\n";
        text.push_str(&line(&mut self.columns.iter().map(|name| cell(name))));
        for row in &self.rows {
            text.push_str(&line(&mut row.iter().map(|value| match value {
                Value::Null => String::new(),
                Value::String(text) => cell(text),
                other => cell(&other.to_string()),
            })));
        }
        text
    }

    fn json(&self) -> CliResult<String> {
        let record = |row: &Vec<Value>| {
            let pairs = self.columns.iter().cloned().zip(row.iter().cloned());
            Value::Object(pairs.collect())
        };
        let all: Vec<Value> = self.rows.iter().map(record).collect();
        serde_json::to_string_pretty(&all)
            .map(|text| text + "\n")
            .map_err(|e| CliError::new("the records do not serialize").caused_by(e))
    }
}

/// A cell: quoted where it must be. What a spreadsheet would take for a formula begins with an apostrophe, because people
/// choose the names of accounts.
fn cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']) && text.len() > 1;
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

pub(crate) async fn run(args: ExportArgs, ui: Ui) -> CliResult {
    let dated = matches!(args.what, What::Events | What::Reads);
    if (args.from.is_some() || args.to.is_some()) && !dated {
        return Err(CliError::new(
            "a period is of events and reads alone: the rest is as it is now",
        )
        .hint("leave out `--from` and `--to`"));
    }
    let ctx = ClientContext::load(ui)?;
    let sheet = sheet(&ctx.client, &args).await?;
    let text = if ui.json || args.format == Format::Json { sheet.json()? } else { sheet.csv() };
    match &args.output {
        Some(path) => {
            write_new(path, &text)?;
            ui.note(format!("{} rows: {}", sheet.rows.len(), path.display()));
            Ok(())
        }
        None => {
            ui.raw(&text);
            Ok(())
        }
    }
}

async fn sheet(client: &Client, args: &ExportArgs) -> CliResult<Sheet> {
    let id = args.organization;
    match args.what {
        What::Events => {
            let events = client.organization_events(id, args.from, args.to).all().await?;
            let columns = [
                "id",
                "at",
                "actor",
                "act",
                "object",
                "outcome",
                "reason",
                "request_id",
                "leaf.index",
                "leaf.salt",
            ];
            Sheet::of(&columns, &events)
        }
        What::Accounts => {
            let columns = [
                "account",
                "name",
                "role",
                "joined",
                "disabled",
                "last_used",
                "keys",
                "passkeys",
                "password",
            ];
            Sheet::of(&columns, &client.audited_accounts(id).all().await?)
        }
        What::Keys => {
            let columns =
                ["key", "account", "kind", "scope", "created", "expires", "revoked", "last_used"];
            Sheet::of(&columns, &client.audited_keys(id).all().await?)
        }
        What::Projects => {
            let columns = [
                "project",
                "custodian",
                "owner",
                "card_number",
                "datasets",
                "resealed",
                "created",
                "deleting",
            ];
            Sheet::of(&columns, &client.audited_projects(id).all().await?)
        }
        What::Rights => {
            let columns = ["project", "account", "inside", "right"];
            Sheet::of(&columns, &client.audited_rights(id).all().await?)
        }
        What::Reads => {
            let reads = client.case_reads(id, args.from, args.to).all().await?;
            let columns = ["event", "at", "actor", "act", "object", "purpose", "fields", "outcome"];
            Sheet::of(&columns, &reads)
        }
        What::Permissions => {
            let table = client.permissions().await?;
            let row = |act: api::PermissionRow| {
                std::iter::once(act.act).chain(act.cells).map(Value::String).collect()
            };
            let columns = std::iter::once("act".to_owned()).chain(table.columns).collect();
            Ok(Sheet { columns, rows: table.acts.into_iter().map(row).collect() })
        }
    }
}

/// Writes a file that was not there.
fn write_new(path: &Path, text: &str) -> CliResult {
    let failed = |e: std::io::Error| {
        CliError::new(format!("{} was not written", path.display())).caused_by(e)
    };
    let mut file = File::create_new(path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_quoted_where_it_must_be_and_is_never_a_formula() {
        for (text, written) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"no\"", "\"say \"\"no\"\"\""),
            ("=1+1", "'=1+1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("-", "-"),
            ("-1,2", "\"'-1,2\""),
        ] {
            assert_eq!(cell(text), written);
        }
    }

    #[test]
    fn a_day_begins_at_midnight_and_nonsense_is_named() {
        assert_eq!(moment("2026-11-01").unwrap().to_string(), "2026-11-01T00:00:00Z");
        assert_eq!(
            moment("2026-11-01T12:00:00+02:00").unwrap().to_string(),
            "2026-11-01T10:00:00Z"
        );
        assert!(moment("yesterday").unwrap_err().contains("yesterday"));
    }

    #[test]
    fn both_forms_hold_the_same_rows() {
        let sheet = Sheet {
            columns: vec!["a".into(), "b".into()],
            rows: vec![
                vec![Value::Null, Value::from(3)],
                vec![Value::from("x"), Value::from(true)],
            ],
        };
        assert_eq!(sheet.csv(), "a,b\r\n,3\r\nx,true\r\n");
        let json: Value = serde_json::from_str(&sheet.json().unwrap()).unwrap();
        assert_eq!(json, serde_json::json!([{"a": null, "b": 3}, {"a": "x", "b": true}]));
    }
}
