//! `chorion audit`: what was done, by whom, to which thing.

use clap::Subcommand;
use client::EventFilter;

use crate::audit_export::ExportArgs;
use crate::config::ClientContext;
use crate::report::{CliResult, Ui};

/// What can be asked of the audit list.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Every event that you may see, oldest first.
    List {
        /// Only those of one thing: `dataset:ID`, `project:ID`.
        #[arg(long)]
        object: Option<String>,
    },
    /// What an organization's auditor hands on: events of a period, accounts, keys, rights.
    Export(ExportArgs),
}

pub(crate) async fn run(command: AuditCommand, ui: Ui) -> CliResult {
    let object = match command {
        AuditCommand::List { object } => object,
        AuditCommand::Export(args) => return crate::audit_export::run(args, ui).await,
    };
    let ctx = ClientContext::load(ui)?;
    let events = ctx.client.events(&EventFilter { object }).all().await?;
    for event in &events {
        let outcome = format!("{:?}", event.outcome).to_lowercase();
        let purpose = event.purpose.as_deref().map(|p| format!("  for {p}")).unwrap_or_default();
        ui.line(format!(
            "{}  {:<8} {:<26} {:<46} by {}{purpose}",
            event.at, outcome, event.act, event.object, event.actor
        ));
    }
    ui.value(&events);
    Ok(())
}
