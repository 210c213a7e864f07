//! `chorion store`: how the facilities are, and a pass over everything they hold.

use clap::Subcommand;

use crate::config::ClientContext;
use crate::report::{CliError, CliResult, Ui};

/// What can be asked of the store; operators only.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Each facility: its state, what it holds, what it can still take.
    Status,
    /// Read and hash every copy now, and heal what is not whole from another facility.
    Scrub,
}

pub(crate) async fn run(command: StoreCommand, ui: Ui) -> CliResult {
    let ctx = ClientContext::load(ui)?;
    match command {
        StoreCommand::Status => {
            let status = ctx.client.store_status().await?;
            ui.line(format!("a write is acknowledged by: {} facilities", status.write_quorum));
            for f in &status.facilities {
                let free = f.free_bytes.map(|b| format!(", {} free", mib(b))).unwrap_or_default();
                ui.line(format!(
                    "{}  {:<9} {} blobs, {}{free}  {}",
                    f.id,
                    f.state,
                    f.blobs,
                    mib(f.bytes),
                    f.location
                ));
            }
            ui.value(&status);
            Ok(())
        }
        StoreCommand::Scrub => {
            let found = ctx.client.scrub_store().await?;
            ui.line(format!(
                "checked: {} copies, {}",
                found.copies_checked,
                mib(found.bytes_checked)
            ));
            ui.line(format!(
                "found: {} corrupt, {} missing, {} misplaced; healed: {}",
                found.corrupt, found.missing, found.misplaced, found.healed
            ));
            ui.value(&found);
            if found.lost.is_empty() {
                return Ok(());
            }
            Err(CliError::new(format!("{} blobs have no good copy in any facility", found.lost.len()))
                .hint("bring back a facility that is away, or restore one from its backup, and scrub again"))
        }
    }
}

/// Bytes as MiB, with one decimal.
fn mib(bytes: u64) -> String {
    format!("{}.{} MiB", bytes >> 20, ((bytes & 0xf_ffff) * 10) >> 20)
}
