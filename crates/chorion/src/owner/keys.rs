//! `chorion identity show`: the public halves of a person's keys.

use clap::{Args, Subcommand, ValueEnum};
use data_encoding::{BASE64, HEXLOWER};
use identity::Identity;
use serde_json::{Value, json};

use super::{PersonArgs, protect_process};
use crate::report::{CliError, CliResult, Ui};

/// The keys that come of the words.
#[derive(Debug, Subcommand)]
pub(crate) enum IdentityCommand {
    Show(ShowArgs),
}

/// Show the public half of a key, in the form that others read
///
/// Each is a key of its own: showing one tells nothing of the others.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Which key, in which form.
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
    #[command(flatten)]
    person: PersonArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The Ed25519 key that signs cards and certifies devices, hexadecimal, and the public string to seal to.
    Card,
    /// The address of the Ethereum account.
    Ethereum,
    /// The certificate for mutual TLS, PEM.
    X509,
    /// A line for `authorized_keys` or `allowed_signers`.
    Ssh,
    /// All of them in one document.
    Json,
}

/// `chorion identity`
pub(crate) fn identity(command: IdentityCommand, ui: &Ui) -> CliResult {
    protect_process()?;
    match command {
        IdentityCommand::Show(args) => show(&args, *ui),
    }
}

fn show(args: &ShowArgs, ui: Ui) -> CliResult {
    let person = args.person.open()?;
    if ui.json || args.format == Format::Json {
        Ui { json: true }.value(&public_halves(&person)?);
        return Ok(());
    }
    match args.format {
        Format::Card => {
            let card = person.card_key().public().to_bytes();
            ui.line(format_args!("card:    {}", HEXLOWER.encode(&card)));
            ui.line(format_args!("sealing: {}", person.sealing().public()));
        }
        Format::Ethereum => ui.line(ethereum(&person)?.address()),
        Format::X509 => ui.line(person.client_certificate().pem().trim_end()),
        Format::Ssh => ui.line(person.ssh().public_line()),
        Format::Json => {}
    }
    Ok(())
}

/// Every public half, as one document.
pub(super) fn public_halves(person: &Identity) -> CliResult<Value> {
    let sealing = person.sealing().public();
    Ok(json!({
        "card": HEXLOWER.encode(&person.card_key().public().to_bytes()),
        "sealing": sealing.to_string(),
        "sealing_fingerprint": HEXLOWER.encode(&sealing.fingerprint()),
        "ethereum": ethereum(person)?.address().to_string(),
        "x509": BASE64.encode(person.client_certificate().der()),
        "ssh": person.ssh().public_line(),
    }))
}

fn ethereum(person: &Identity) -> CliResult<identity::EthereumAccount> {
    person.ethereum().map_err(|error| CliError::new("there is no account").caused_by(error))
}
