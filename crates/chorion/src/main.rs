//! The `chorion` program: every trust domain's part in one binary, chosen by the first word of the command line.

mod report;
mod vault;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Genomic data where who holds the key is a choice per project, and nobody else can open the data.
#[derive(Debug, Parser)]
#[command(name = "chorion", version, disable_help_subcommand = true)]
struct Cli {
    /// Print one JSON document instead of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The vault outside a guest: does the tasks that engines start it for.
    #[command(subcommand, hide = true)]
    Vault(vault::VaultCommand),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ui = report::Ui { json: cli.json };
    let done = match cli.command {
        Command::Vault(command) => vault::run(command, ui),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            ui.note(error);
            ExitCode::FAILURE
        }
    }
}
