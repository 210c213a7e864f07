//! `chorion vault`: the vault outside a guest. An engine starts it; it claims one task, does it, and ends.

use std::io::Read;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use api::TaskId;
use clap::Subcommand;
use vault::remote::RemoteHub;
use vault::task::{TaskConfig, VaultKeys};
use zeroize::Zeroizing;

use crate::report::{CliError, CliResult, Ui};

/// What a vault can be told.
#[derive(Debug, Subcommand)]
pub(crate) enum VaultCommand {
    /// Claim one task and do it; the one-time ticket is read from standard input.
    Run(RunArgs),
}

/// Where the hub is and which task to take.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// The hub: https://host:port.
    #[arg(long)]
    hub: String,
    /// The hub's certificate authority, PEM.
    #[arg(long)]
    ca: PathBuf,
    /// Which task.
    #[arg(long)]
    task: TaskId,
    /// Where unpacked apps are kept, by digest; below the folder that the engine started this vault in if absent.
    #[arg(long, default_value = "apps")]
    app_cache: PathBuf,
    /// Threads to compute with; all cores if absent.
    #[arg(long)]
    threads: Option<NonZeroUsize>,
}

/// Longer than any ticket.
const MOST_TICKET_BYTES: u64 = 256;

pub(crate) fn run(command: VaultCommand, ui: Ui) -> CliResult {
    let VaultCommand::Run(args) = command;
    let mut ticket = Zeroizing::new(String::new());
    std::io::stdin().lock().take(MOST_TICKET_BYTES).read_to_string(&mut ticket).map_err(|e| {
        CliError::new("the task's ticket could not be read from standard input").caused_by(e)
    })?;
    let ca = std::fs::read(&args.ca).map_err(|e| {
        CliError::new(format!(
            "the hub's certificate authority could not be read from {}",
            args.ca.display()
        ))
        .caused_by(e)
    })?;
    let trust = client::Trust::from_pem(&ca).map_err(|e| {
        CliError::new(format!("{} holds no certificate authority", args.ca.display())).caused_by(e)
    })?;
    let keys = VaultKeys::generate()
        .map_err(|e| CliError::new("the vault could not make its keys").caused_by(e))?;
    let hub = RemoteHub::new(&args.hub, trust, &keys)
        .map_err(|e| CliError::new(format!("the hub {} cannot be used", args.hub)).caused_by(e))?;
    let config = TaskConfig {
        task: args.task,
        ticket: Zeroizing::new(ticket.trim().to_owned()),
        app_cache: args.app_cache,
        threads: args
            .threads
            .or_else(|| std::thread::available_parallelism().ok())
            .unwrap_or(NonZeroUsize::MIN),
    };
    ui.note("NOT CONFIDENTIAL: this vault is unattested, its memory is open to the administrator of this machine");
    vault::task::run(Arc::new(hub), &config, &keys)
        .map_err(|e| CliError::new(format!("task {} did not complete", args.task)).caused_by(e))
}
