//! `chorion backup`: a copy of what a hub cannot lose, made while it serves, checked, brought back; on the hub's machine, as the
//! user that runs it.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use hub::{BackupReport, FacilityAddress, HubConfig};

use crate::report::{CliResult, Ui};
use crate::serve::refused;

/// Where a hub of this machine keeps what lasts.
#[derive(Debug, Clone, Args)]
pub(crate) struct LocalHub {
    /// The hub's data directory.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The platform's key file; `DIR.keys/platform.key` if absent. The keys of backups lie beside it, in `snapshots/`.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

impl LocalHub {
    pub(crate) fn config(self, facilities: Vec<FacilityAddress>) -> HubConfig {
        HubConfig { key_file: self.key_file, facilities, ..HubConfig::new(self.data) }
    }
}

/// What can be done with backups.
#[derive(Debug, Subcommand)]
pub(crate) enum BackupCommand {
    /// Make a backup of the database and the wrapped keys; the hub may serve meanwhile. Sealed objects are the facilities'
    /// matter, the platform's key files need a backup of their own, elsewhere.
    Create {
        #[command(flatten)]
        hub: LocalHub,
        /// A directory that is not there yet.
        #[arg(long, short, value_name = "DIR")]
        output: PathBuf,
    },
    /// Check every byte of a backup, and that its wrapped keys open.
    Verify {
        /// The backup.
        backup: PathBuf,
        #[command(flatten)]
        hub: LocalHub,
    },
    /// Bring a backup back into an empty data directory. The start after it deletes again what was deleted since, ends what
    /// waited for an answer, and tells everybody.
    Restore {
        /// The backup.
        backup: PathBuf,
        #[command(flatten)]
        hub: LocalHub,
    },
}

pub(crate) async fn run(command: BackupCommand, ui: Ui) -> CliResult {
    let report = match command {
        BackupCommand::Create { hub, output } => {
            let report = hub::backup_create(&hub.config(Vec::new()), &output).await;
            let report = report.map_err(refused)?;
            ui.line(format!("backup {} is made: {}", report.id, output.display()));
            report
        }
        BackupCommand::Verify { backup, hub } => {
            let report = hub::backup_verify(&hub.config(Vec::new()), &backup).await;
            let report = report.map_err(refused)?;
            ui.line(format!("backup {} is whole", report.id));
            report
        }
        BackupCommand::Restore { backup, hub } => {
            let report = hub::backup_restore(&hub.config(Vec::new()), &backup).await;
            let report = report.map_err(refused)?;
            ui.line(format!(
                "backup {} is brought back; start the hub with its facilities",
                report.id
            ));
            ui.note("what was deleted since is deleted again at the start; keys that were revoked since count again: revoke them once more");
            report
        }
    };
    show(&report, ui);
    Ok(())
}

fn show(report: &BackupReport, ui: Ui) {
    ui.line(format!("hub: {}, made: {:.0}", report.hub, report.created));
    ui.line(format!(
        "files of wrapped keys: {}, destroyed: {}",
        report.key_files, report.destroyed
    ));
    ui.line(format!("its wrapped keys open until: {:.0}", report.ends));
    ui.value(report);
}
