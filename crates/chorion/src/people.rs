//! `chorion login`, `whoami`, `account` and `key`: who may call, and with which key.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use api::{
    AccountId, AddKey, Bytes, Enrol, Invite, Key, KeyApp, KeyId, KeyKind, KeyLimit, ProjectId,
    Right, Time,
};
use clap::{Args, Subcommand, ValueEnum};

use crate::config::{self, ClientContext, PersonKeys};
use crate::device;
use crate::report::{CliError, CliResult, Ui};

/// How this machine gets a key.
#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// The hub: https://host:port.
    #[arg(long)]
    hub: String,
    /// The one-time code: from the hub's first start, from an invitation, or an instrument's. Without it this machine shows
    /// a code that you answer where you are signed in.
    #[arg(long)]
    code: Option<String>,
    /// Ask for a key of an outside app of this name, which whoever answers may limit further.
    #[arg(long, conflicts_with = "code", requires = "publisher")]
    app: Option<String>,
    /// Who publishes the app.
    #[arg(long, requires = "app")]
    publisher: Option<String>,
    #[command(flatten)]
    limit: LimitArgs,
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

/// What can be done about accounts: your own password; the rest for operators only.
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
    /// Set by which name and password you sign in with a browser.
    Password(crate::password::PasswordArgs),
}

/// What can be done about your keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Add a key that shall sign for you: one that is made here, or one whose public half you have.
    Add {
        /// The Ed25519 public key, base64.
        #[arg(required_unless_present = "into", conflicts_with = "into")]
        public_key: Option<String>,
        /// Make the key here, and keep it with all that a script needs in this folder: `CHORION_HOME=DIR` uses it.
        #[arg(long, value_name = "DIR")]
        into: Option<PathBuf>,
        /// Where it lies, in your words.
        #[arg(long)]
        name: String,
        /// What it may do.
        #[arg(long, value_enum, default_value = "person")]
        kind: Kind,
        #[command(flatten)]
        limit: LimitArgs,
    },
    /// Your keys.
    List,
    /// Answer a machine, an outside app or an instrument that shows a code: see what it asks, and let it.
    Approve {
        /// The code that it shows.
        code: String,
        /// Do not ask back.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        limit: LimitArgs,
    },
    /// Refuse what shows a code.
    Refuse {
        /// The code that it shows.
        code: String,
    },
    /// Revoke a key: it stops at its next call.
    Revoke {
        /// Its id.
        key: KeyId,
    },
}

/// What a key is limited to. With any of these it makes no projects, adds no keys, invites nobody, and gives nothing away.
#[derive(Debug, Clone, Args)]
pub(crate) struct LimitArgs {
    /// The only project that it finds; may be given several times.
    #[arg(long = "only", value_name = "PROJECT")]
    only: Vec<ProjectId>,
    /// The most that it may do in a project; `write` if it is limited otherwise.
    #[arg(long, value_enum)]
    scope: Option<Scope>,
    /// When it ends: a moment (2027-01-31T00:00:00Z), or from now on so many hours, days or weeks (12h, 30d, 8w).
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    expires: Option<Time>,
}

impl LimitArgs {
    /// The limit, if there is one.
    pub(crate) fn limit(&self) -> Option<KeyLimit> {
        let any = !self.only.is_empty() || self.scope.is_some() || self.expires.is_some();
        any.then(|| KeyLimit {
            projects: (!self.only.is_empty()).then(|| self.only.clone()),
            scope: self.scope.map_or(Right::Write, Scope::right),
            expires: self.expires,
        })
    }
}

/// The most that a limited key may do.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Scope {
    /// See names, states and counts.
    Browse,
    /// Also open data.
    Read,
    /// Also send runs and launch apps.
    Create,
    /// Also change and delete datasets.
    Write,
}

impl Scope {
    const fn right(self) -> Right {
        match self {
            Self::Browse => Right::Browse,
            Self::Read => Right::Read,
            Self::Create => Right::Create,
            Self::Write => Right::Write,
        }
    }
}

/// A moment, or a time from now on.
fn moment(text: &str) -> Result<Time, String> {
    if let Ok(time) = text.parse::<Time>() {
        return Ok(time);
    }
    let form = || "write a moment (2027-01-31T00:00:00Z), or hours, days or weeks (12h, 30d, 8w)";
    let unit = text.chars().next_back().ok_or_else(form)?;
    let count = text.strip_suffix(unit).and_then(|n| n.parse::<u64>().ok()).ok_or_else(form)?;
    let hours = match unit {
        'h' => 1,
        'd' => 24,
        'w' => 7 * 24,
        _ => return Err(form().to_owned()),
    };
    let seconds = count.checked_mul(hours * 3600).ok_or("that is too long")?;
    Time::now()
        .checked_add(std::time::Duration::from_secs(seconds))
        .map_err(|_| "that is too long".to_owned())
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
    let limit = args.limit.limit();
    let who = match args.code {
        Some(_) if limit.is_some() => {
            return Err(CliError::new("the first key of an account takes no limit")
                .hint("log in without a code to ask for a limited key, or use `chorion key add`"));
        }
        Some(code) => {
            let public_key = Bytes(keys.signing.public().to_bytes().to_vec());
            let (account_name, key_name) = (args.name, args.key_name);
            client.enrol(&Enrol { code, account_name, key_name, public_key }).await?
        }
        None => {
            let app = args.app.zip(args.publisher);
            let app = app.map(|(name, publisher)| KeyApp { name, publisher });
            device::ask(&client, &keys, args.key_name, app, limit, ui).await?
        }
    };
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
        AccountCommand::Password(args) => crate::password::set(args, ui).await?,
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
                let disabled = a.disabled.map(|at| format!("  disabled {at}")).unwrap_or_default();
                ui.line(format!(
                    "{}  {}{}{disabled}",
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
        KeyCommand::Approve { code, yes, limit } => {
            return device::approve(code, limit.limit(), yes, ui).await;
        }
        KeyCommand::Refuse { code } => return device::refuse(code, ui).await,
        KeyCommand::Add { public_key, into, name, kind, limit } => {
            let made = into.as_ref().map(|_| PersonKeys::generate()).transpose()?;
            let public_key = match (&made, public_key) {
                (Some(keys), _) => keys.signing.public().to_bytes().to_vec(),
                (None, given) => data_encoding::BASE64
                    .decode(given.unwrap_or_default().as_bytes())
                    .map_err(|e| CliError::new("the public key is not base64").caused_by(e))?,
            };
            // Kept before the hub knows it: a key that is only known there would be of no use to anybody.
            if let (Some(folder), Some(keys)) = (&into, &made) {
                ctx.hand_on(folder, keys)?;
            }
            let kind = match kind {
                Kind::Person => KeyKind::Person,
                Kind::Instrument => KeyKind::Instrument,
            };
            let limit = limit.limit();
            let add = AddKey { kind, name, public_key: Bytes(public_key), limit };
            let key = ctx.client.add_key(&add).await?;
            ui.line(shown(&key));
            if let Some(folder) = into {
                ui.line(format!("to use it: CHORION_HOME={}", folder.display()));
            }
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
    let limit = key.limit.as_ref().map(|limit| format!("  {}", shown_limit(limit)));
    let app = key.app.as_ref().map(|app| format!("  (app {} by {})", app.name, app.publisher));
    let state = key.revoked.map(|at| format!("  revoked {at}")).unwrap_or_default();
    format!(
        "{}  {kind:<10}  {}{}{}{state}",
        key.id,
        key.name,
        app.unwrap_or_default(),
        limit.unwrap_or_default()
    )
}

/// A limit in words.
pub(crate) fn shown_limit(limit: &KeyLimit) -> String {
    let scope = match limit.scope {
        Right::Browse => "browse",
        Right::Read => "read",
        Right::Create => "create",
        Right::Write | Right::Admin | Right::Owner => "write",
    };
    let projects = match &limit.projects {
        None => "every project".to_owned(),
        Some(ids) => ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    let until = limit.expires.map(|at| format!(", until {at}")).unwrap_or_default();
    format!("only {scope} in {projects}{until}")
}
