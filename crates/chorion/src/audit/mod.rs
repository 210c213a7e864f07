//! `chorion audit`: what was done, by whom, to which thing; and whether the log that says so is the one it was.

mod held;
mod reconcile;
mod verify;
mod view;
mod witness;

use clap::Subcommand;
use client::EventFilter;

pub(crate) use held::note_unlisted;
pub(crate) use view::{ReleasedKey, memory, seen};

use crate::audit_export::ExportArgs;
use crate::config::ClientContext;
use crate::report::{CliResult, Ui};

/// What can be asked of the audit log.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Every event that you may see, oldest first, with the index of its leaf in the log.
    List {
        /// Only those of one thing: `dataset:ID`, `project:ID`.
        #[arg(long)]
        object: Option<String>,
    },
    /// What an organization's auditor hands on: events of a period, accounts, keys, rights.
    Export(ExportArgs),
    /// Verify the log: your events, your receipts, that it continues what this machine saw before, and that your projects hold what it tells of.
    Verify(verify::VerifyArgs),
    /// Compare the hub's log of a customer's key with the key service's own.
    Reconcile(reconcile::ReconcileArgs),
    /// Be a witness: remember each checkpoint, and put a name under the ones that continue it.
    Witness(witness::WitnessArgs),
}

pub(crate) async fn run(command: AuditCommand, ui: Ui) -> CliResult {
    let object = match command {
        AuditCommand::List { object } => object,
        AuditCommand::Export(args) => return crate::audit_export::run(args, ui).await,
        AuditCommand::Verify(args) => return verify::run(args, ui).await,
        AuditCommand::Reconcile(args) => return reconcile::run(args, ui).await,
        AuditCommand::Witness(args) => return witness::run(args, ui).await,
    };
    let ctx = ClientContext::load(ui)?;
    let events = ctx.client.events(&EventFilter { object }).all().await?;
    for event in &events {
        let outcome = format!("{:?}", event.outcome).to_lowercase();
        let purpose = event.purpose.as_deref().map(|p| format!("  for {p}")).unwrap_or_default();
        let leaf = event.leaf.as_ref();
        let leaf = leaf.map_or_else(|| "no leaf".to_owned(), |leaf| leaf.index.to_string());
        ui.line(format!(
            "{leaf:>7}  {}  {:<8} {:<26} {:<46} by {}{purpose}",
            event.at, outcome, event.act, event.object, event.actor
        ));
    }
    ui.value(&events);
    Ok(())
}
