//! `chorion org fields` and `chorion org case-rules`: which fields of cases are searchable, and what an organization wants of
//! its cases.

use api::{CaseRules, FieldIndex, IndexMode, OrganizationId, SearchField, SetField};
use clap::Subcommand;

use crate::config::ClientContext;
use crate::report::{CliResult, Ui};

/// What can be done about searchable fields.
#[derive(Debug, Subcommand)]
pub(crate) enum FieldsCommand {
    /// Which fields are searchable, how, and how far their indexes are.
    List {
        /// The organization.
        organization: OrganizationId,
    },
    /// Make a field searchable. What that leaks is said.
    On {
        /// The organization.
        organization: OrganizationId,
        /// The field: `record_number`, `order_number`, `family_name`, `given_name`, `birth_date`, `email`, `telephone`,
        /// `postal_code`.
        field: SearchField,
        /// Keep whole hashes, so that equal hashes are equal values; as is usual for the field if absent.
        #[arg(long, conflicts_with = "bits")]
        exact: bool,
        /// Keep so many bits of a hash, 4 to 24, so that unlike values share one.
        #[arg(long)]
        bits: Option<u8>,
    },
    /// Make a field searchable no more: its hashes are deleted.
    Off {
        /// The organization.
        organization: OrganizationId,
        /// The field.
        field: SearchField,
    },
    /// Hash a field anew under a new salt; the old hashes answer until the new ones are whole.
    Rotate {
        /// The organization.
        organization: OrganizationId,
        /// The field.
        field: SearchField,
    },
}

fn row(index: &FieldIndex) -> String {
    let mode = match index.mode {
        IndexMode::Exact => "exact".to_owned(),
        IndexMode::Beacon { bits } => format!("{bits} bits"),
    };
    format!(
        "{:<14} version {}  {:<8}  {:<8}  {} of {}  since {}",
        index.field.as_str(),
        index.version,
        mode,
        index.state.as_str(),
        index.done,
        index.total,
        index.since
    )
}

pub(crate) async fn run(command: FieldsCommand, ui: Ui) -> CliResult {
    let ctx = ClientContext::load(ui)?;
    let client = &ctx.client;
    match command {
        FieldsCommand::List { organization } => {
            let all = client.fields(organization).await?;
            if all.is_empty() {
                ui.line("no field is searchable: turn one on with `chorion org fields on`");
            }
            all.iter().for_each(|index| ui.line(row(index)));
            ui.value(&all);
        }
        FieldsCommand::On { organization, field, exact, bits } => {
            let mode = match (exact, bits) {
                (true, _) => Some(IndexMode::Exact),
                (false, Some(bits)) => Some(IndexMode::Beacon { bits }),
                (false, None) => None,
            };
            let index = client.set_field(organization, field, &SetField { mode }).await?;
            ui.line(row(&index));
            ui.line(format!("leaks: {}", index.leaks));
            ui.value(&index);
        }
        FieldsCommand::Off { organization, field } => {
            let ending = client.end_field(organization, field).await?;
            ui.line(format!("`{}` is searchable no more", field.as_str()));
            ui.value(&ending);
        }
        FieldsCommand::Rotate { organization, field } => {
            let index = client.set_field(organization, field, &SetField { mode: None }).await?;
            ui.line(row(&index));
            ui.value(&index);
        }
    }
    Ok(())
}

/// Shows, or says, whether a second person closes cases.
pub(crate) async fn rules(
    organization: OrganizationId,
    second_person: Option<bool>,
    ui: Ui,
) -> CliResult {
    let ctx = ClientContext::load(ui)?;
    let rules = match second_person {
        Some(second_person) => {
            ctx.client.set_case_rules(organization, &CaseRules { second_person }).await?
        }
        None => ctx.client.case_rules(organization).await?,
    };
    let who = if rules.second_person {
        "another person than who concluded it"
    } else {
        "anybody who may write"
    };
    ui.line(format!("a case is closed by: {who}"));
    ui.value(&rules);
    Ok(())
}
