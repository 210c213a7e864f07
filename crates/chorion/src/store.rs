//! `chorion store`: how the facilities are, and a pass over everything they hold.

use api::{AddFacility, DrainFacility, ScrubOutcome, StoreStatus};
use clap::Subcommand;
use hub::Rebuilt;

use crate::backup::LocalHub;
use crate::config::ClientContext;
use crate::report::{CliError, CliResult, Ui};
use crate::serve::refused;

/// What can be asked of the store; operators only.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Each facility: its state, what it holds, what it can still take.
    Status,
    /// Read and hash every copy now, and heal what is not whole from another facility.
    Scrub,
    /// Compare what the facilities list, and fill gaps from one another; quick, and finds no flipped byte.
    Repair,
    /// Make a facility part of the store: a directory of the hub's machine, or <s3://BUCKET/PREFIX>. It is filled while the hub goes on.
    Add {
        /// Where: an absolute path, or an address without secrets, as `chorion serve --facility` takes it.
        address: String,
    },
    /// Have a facility leave: nothing new goes there, and it leaves when the others hold what it holds.
    Drain {
        /// Its id, as `chorion store status` shows it.
        facility: String,
        /// It is lost for good: copy nothing. What only it held is gone.
        #[arg(long)]
        lost: bool,
    },
    /// Make a lost database anew from the facilities and the key records; on the hub's machine, while no hub runs. A
    /// backup has more: the log, people's passwords, what waits.
    RebuildIndex {
        #[command(flatten)]
        hub: LocalHub,
        /// Every facility, as `chorion serve` had them.
        #[arg(long = "facility", value_name = "DIR|URL")]
        facilities: Vec<hub::FacilityAddress>,
    },
}

pub(crate) async fn run(command: StoreCommand, ui: Ui) -> CliResult {
    if let StoreCommand::RebuildIndex { hub, facilities } = command {
        let rebuilt = hub::rebuild_index(&hub.config(facilities)).await.map_err(refused)?;
        return say(&rebuilt, ui);
    }
    let ctx = ClientContext::load(ui)?;
    match command {
        StoreCommand::Status => {
            show(&ctx.client.store_status().await?, ui);
            Ok(())
        }
        StoreCommand::Add { address } => {
            show(&ctx.client.add_facility(&AddFacility { address }).await?, ui);
            ui.note("the new facility is being filled; `chorion store status` shows how far it is");
            Ok(())
        }
        StoreCommand::Drain { facility, lost } => {
            show(&ctx.client.drain_facility(&DrainFacility { facility, lost }).await?, ui);
            if !lost {
                ui.note("it leaves by itself when the others hold what it holds; leave its place as it is until then");
            }
            Ok(())
        }
        StoreCommand::Scrub => report(&ctx.client.scrub_store().await?, ui),
        StoreCommand::Repair => report(&ctx.client.repair_store().await?, ui),
        StoreCommand::RebuildIndex { .. } => Ok(()),
    }
}

fn say(rebuilt: &Rebuilt, ui: Ui) -> CliResult {
    ui.line(format!(
        "the index of hub {} is made anew: {} accounts, {} projects, {} datasets, {} objects, {} cases",
        rebuilt.hub,
        rebuilt.accounts,
        rebuilt.projects,
        rebuilt.datasets,
        rebuilt.objects,
        rebuilt.cases
    ));
    ui.note("a new audit log begins at the next start; passwords, passkeys, shares by owners, tasks under way and who read which case are lost");
    if !rebuilt.undescribed.is_empty() {
        ui.line(format!(
            "{} files of wrapped keys say nothing of themselves and are kept",
            rebuilt.undescribed.len()
        ));
    }
    for dataset in &rebuilt.incomplete {
        ui.line(format!("not all there: dataset {dataset}"));
    }
    ui.value(rebuilt);
    if rebuilt.objects_without_bytes == 0 && rebuilt.incomplete.is_empty() {
        return Ok(());
    }
    Err(CliError::new(format!(
        "{} objects are in no facility, and {} datasets are not whole",
        rebuilt.objects_without_bytes,
        rebuilt.incomplete.len()
    ))
    .hint("bring back a facility that is away; the index knows what it must have"))
}

fn show(status: &StoreStatus, ui: Ui) {
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
    ui.value(status);
}

fn report(found: &ScrubOutcome, ui: Ui) -> CliResult {
    ui.line(format!("checked: {} copies, {}", found.copies_checked, mib(found.bytes_checked)));
    ui.line(format!(
        "found: {} corrupt, {} missing, {} misplaced; healed: {}",
        found.corrupt, found.missing, found.misplaced, found.healed
    ));
    ui.value(found);
    if found.lost.is_empty() {
        return Ok(());
    }
    for lost in &found.lost {
        ui.line(format!("lost: {lost}"));
    }
    Err(CliError::new(format!("{} blobs have no good copy in any facility", found.lost.len()))
        .hint(
            "bring back a facility that is away, or restore one from its backup, and scrub again",
        ))
}

/// Bytes as MiB, with one decimal.
fn mib(bytes: u64) -> String {
    format!("{}.{} MiB", bytes >> 20, ((bytes & 0xf_ffff) * 10) >> 20)
}
