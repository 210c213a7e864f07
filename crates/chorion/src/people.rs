//! `chorion login`, `whoami`, `account` and `key`: who may call, and with which key.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use api::{AccountId, AddKey, Bytes, Enrol, Invite, Key, KeyId, KeyKind};
use clap::{Args, Subcommand, ValueEnum};

use crate::config::{self, ClientContext, PersonKeys};
use crate::report::{CliError, CliResult, Ui};

/// How this machine gets a key.
#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// The hub: https://host:port.
    #[arg(long)]
    hub: String,
    /// The one-time code: from the hub's first start, or from an invitation.
    #[arg(long)]
    code: String,
    /// The hub's certificate authority, PEM, copied from its data directory.
    #[arg(long, conflicts_with = "ca_fingerprint")]
    ca: Option<PathBuf>,
    /// The fingerprint of that authority, as the hub printed it; compared with what the hub shows.
    #[arg(long)]
    ca_fingerprint: Option<String>,
    /// What you are called; an invitation may have said so already.
    #[arg(long, default_value_t = user_name())]
    name: String,
    /// Where the key lies, in your words.
    #[arg(long, default_value_t = machine_name())]
    key_name: String,
    /// Replace the login that is here.
    #[arg(long)]
    force: bool,
}

/// What can be done about accounts; operators only.
#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// Make an account and a one-time code for its first key.
    Invite {
        /// What it is called.
        name: String,
        /// It shall run this hub too.
        #[arg(long)]
        operator: bool,
    },
    /// Every account.
    List,
    /// Stop an account: its keys sign no more.
    Disable {
        /// Its id.
        account: AccountId,
    },
}

/// What can be done about your keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Add a public key that shall sign for you.
    Add {
        /// The Ed25519 public key, base64.
        public_key: String,
        /// Where it lies, in your words.
        #[arg(long)]
        name: String,
        /// What it may do.
        #[arg(long, value_enum, default_value = "person")]
        kind: Kind,
    },
    /// Your keys.
    List,
    /// Revoke a key: it stops at its next call.
    Revoke {
        /// Its id.
        key: KeyId,
    },
}

/// What a key may do.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Kind {
    /// Everything you may.
    Person,
    /// Send runs and nothing else.
    Instrument,
}

fn user_name() -> String {
    std::env::var("USER").unwrap_or_else(|_| "operator".to_owned())
}

fn machine_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

pub(crate) async fn login(args: LoginArgs, ui: Ui) -> CliResult {
    if config::is_logged_in()? && !args.force {
        return Err(CliError::new(format!(
            "somebody is logged in already in {}",
            config::home()?.display()
        ))
        .hint(
            "set CHORION_HOME to another folder, or pass --force to use another key from now on",
        ));
    }
    let authority = authority(&args, ui).await?;
    let keys = PersonKeys::generate()?;
    let client = config::connect(&args.hub, &authority, &keys.signing)?;
    let enrol = Enrol {
        code: args.code,
        account_name: args.name,
        key_name: args.key_name,
        public_key: Bytes(keys.signing.public().to_bytes().to_vec()),
    };
    let who = client.enrol(&enrol).await?;
    config::store(&args.hub, &who.hub.id, &authority, &keys)?;
    ui.line(format!("logged in at {} as {} with key {}", args.hub, who.account.name, who.key.id));
    ui.value(&who);
    Ok(())
}

/// The hub's certificate authority: from a file, or shown by the hub and compared with what the operator said.
async fn authority(args: &LoginArgs, ui: Ui) -> CliResult<Vec<u8>> {
    if let Some(path) = &args.ca {
        return std::fs::read(path)
            .map_err(|e| CliError::new(format!("{} cannot be read", path.display())).caused_by(e));
    }
    let shown = client::shown_authority(&args.hub).await?;
    let fingerprint = shown.fingerprint();
    let plain = |text: &str| text.to_lowercase().replace([':', ' '], "");
    match &args.ca_fingerprint {
        Some(expected) if plain(expected) == plain(&fingerprint) => {}
        Some(_) => {
            return Err(CliError::new(format!(
                "{} shows another authority: {fingerprint}",
                args.hub
            ))
            .hint("ask the operator; somebody may stand between you and the hub"));
        }
        None if ui.json || !std::io::stdin().is_terminal() => {
            return Err(CliError::new(format!(
                "{} shows an authority that nobody confirmed: {fingerprint}",
                args.hub
            ))
            .hint("pass --ca FILE, or --ca-fingerprint as the hub printed it at its start"));
        }
        None => {
            ui.note(format!(
                "{} shows an authority with the fingerprint\n  {fingerprint}",
                args.hub
            ));
            if !confirm("Is it what the hub printed at its start? Type yes: ", "yes")? {
                return Err(CliError::new("the hub's authority was not confirmed"));
            }
        }
    }
    Ok(shown.to_pem().into_bytes())
}

/// Asks on the terminal, and is content with one answer only.
pub(crate) fn confirm(question: &str, answer: &str) -> CliResult<bool> {
    let unreadable = |e| CliError::new("the terminal cannot be read").caused_by(e);
    let mut err = anstream::stderr();
    write!(err, "{question}").and_then(|()| err.flush()).map_err(unreadable)?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(unreadable)?;
    Ok(line.trim() == answer)
}

pub(crate) async fn whoami(ui: Ui) -> CliResult {
    let ctx = ClientContext::load(ui)?;
    let who = ctx.client.whoami().await?;
    ui.line(format!("account: {} ({})", who.account.name, who.account.id));
    ui.line(format!("operator: {}", if who.account.operator { "yes" } else { "no" }));
    ui.line(format!("key: {} ({})", who.key.id, who.key.name));
    ui.line(format!("hub: {} at {}, version {}", who.hub.id, ctx.client.hub(), who.hub.version));
    ui.value(&who);
    Ok(())
}

pub(crate) async fn account(command: AccountCommand, ui: Ui) -> CliResult {
    let ctx = ClientContext::load(ui)?;
    match command {
        AccountCommand::Invite { name, operator } => {
            let invitation = ctx.client.invite(&Invite { name, operator }).await?;
            ui.line(format!("account: {} ({})", invitation.account.name, invitation.account.id));
            ui.line(format!(
                "code: {} (until {}, counts once)",
                invitation.code, invitation.expires
            ));
            ui.value(&invitation);
        }
        AccountCommand::List => {
            let accounts = ctx.client.accounts().all().await?;
            for a in &accounts {
                ui.line(format!(
                    "{}  {}{}",
                    a.id,
                    a.name,
                    if a.operator { "  (operator)" } else { "" }
                ));
            }
            ui.value(&accounts);
        }
        AccountCommand::Disable { account } => {
            ctx.client.disable_account(account).await?;
            ui.line(format!("account {account} is disabled"));
            ui.value(&serde_json::json!({ "account": account, "disabled": true }));
        }
    }
    Ok(())
}

pub(crate) async fn key(command: KeyCommand, ui: Ui) -> CliResult {
    let ctx = ClientContext::load(ui)?;
    match command {
        KeyCommand::Add { public_key, name, kind } => {
            let public_key = data_encoding::BASE64
                .decode(public_key.as_bytes())
                .map_err(|e| CliError::new("the public key is not base64").caused_by(e))?;
            let kind = match kind {
                Kind::Person => KeyKind::Person,
                Kind::Instrument => KeyKind::Instrument,
            };
            let key =
                ctx.client.add_key(&AddKey { kind, name, public_key: Bytes(public_key) }).await?;
            ui.line(shown(&key));
            ui.value(&key);
        }
        KeyCommand::List => {
            let keys = ctx.client.keys().all().await?;
            keys.iter().for_each(|key| ui.line(shown(key)));
            ui.value(&keys);
        }
        KeyCommand::Revoke { key } => {
            ctx.client.revoke_key(key).await?;
            ui.line(format!("key {key} is revoked"));
            ui.value(&serde_json::json!({ "key": key, "revoked": true }));
        }
    }
    Ok(())
}

fn shown(key: &Key) -> String {
    let kind = match key.kind {
        KeyKind::Person => "person",
        KeyKind::Instrument => "instrument",
    };
    let state = key.revoked.map(|at| format!("  revoked {at}")).unwrap_or_default();
    format!("{}  {kind:<10}  {}{state}", key.id, key.name)
}
