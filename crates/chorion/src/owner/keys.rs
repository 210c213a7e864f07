//! `chorion identity`, and of it `show`: the public halves of a person's keys.

use authenticator::person_phrase;
use clap::{Args, Subcommand, ValueEnum};
use data_encoding::{BASE64, HEXLOWER, HEXUPPER};
use identity::Identity;
use serde_json::{Value, json};

use super::messages::{self, OpenArgs, SignArgs};
use super::{PersonArgs, protect_process};
use crate::report::{CliError, CliResult, Ui};

/// The keys that come of the words.
#[derive(Debug, Subcommand)]
pub(crate) enum IdentityCommand {
    Show(ShowArgs),
    Sign(SignArgs),
    Open(OpenArgs),
}

/// Show the public half of a key, in the form that others read
///
/// Each is a key of its own: showing one tells nothing of the others.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Which key, in which form.
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
    /// The name in the `OpenPGP` certificate, as `Anna Muster <anna@example.org>`; the fingerprint is the same with any.
    #[arg(long, value_name = "NAME")]
    user_id: Option<String>,
    #[command(flatten)]
    person: PersonArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The Ed25519 key that signs cards and certifies devices, hexadecimal, and the public string to seal to.
    Card,
    /// The address of the Ethereum account.
    Ethereum,
    /// The `OpenPGP` certificate in armor, as `gpg --import` takes it.
    #[value(name = "openpgp")]
    OpenPgp,
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
        IdentityCommand::Sign(args) => messages::sign(&args, ui),
        IdentityCommand::Open(args) => messages::open(&args, ui),
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
            let sealing = person.sealing().public();
            ui.line(format_args!("sealing: {sealing}"));
            let words = proof::phrase(&api::Digest(sealing.fingerprint()));
            ui.line(format_args!("six words of the sealing key: {words}"));
            let both = person_phrase(&card, &sealing.to_bytes());
            ui.line(format_args!("six words of both, for who gives you a project: {both}"));
        }
        Format::Ethereum => ui.line(ethereum(&person)?.address()),
        Format::OpenPgp => {
            let keys = person.openpgp(args.user_id.as_deref());
            ui.line(keys.armored_certificate().trim_end());
        }
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
        "sealing_phrase": proof::phrase(&api::Digest(sealing.fingerprint())),
        "person_phrase": person_phrase(&person.card_key().public().to_bytes(), &sealing.to_bytes()),
        "ethereum": ethereum(person)?.address().to_string(),
        "openpgp": HEXUPPER.encode(&person.openpgp(None).fingerprint()),
        "x509": BASE64.encode(person.client_certificate().der()),
        "ssh": person.ssh().public_line(),
    }))
}

pub(super) fn ethereum(person: &Identity) -> CliResult<identity::EthereumAccount> {
    person.ethereum().map_err(|error| CliError::new("there is no account").caused_by(error))
}
