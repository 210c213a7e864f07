//! Codes that one machine shows and a person answers at another: `chorion login` without a code, `chorion key approve`,
//! `chorion instrument`, `chorion consent`.

use std::io::IsTerminal;
use std::time::Duration;

use api::{
    ApproveDevice, BeginDevice, Bytes, DeviceAsk, DeviceCode, DevicePending, DeviceState,
    EnrolInstrument, InstrumentId, KeyApp, KeyId, KeyKind, KeyLimit, NameDevice, PollDevice,
    SignOn, Whoami,
};
use clap::Subcommand;
use client::Client;

use crate::config::{ClientContext, PersonKeys};
use crate::people::{confirm, shown_limit};
use crate::report::{CliError, CliResult, Ui};

/// What can be done about instruments.
#[derive(Debug, Subcommand)]
pub(crate) enum InstrumentCommand {
    /// Make an instrument and the one-time code that is typed at it: `chorion login --hub URL --code CODE` there.
    Enrol {
        /// What it is called.
        name: String,
    },
    /// Every instrument.
    List,
    /// Revoke an instrument: its key signs no more.
    Revoke {
        /// Its id.
        instrument: InstrumentId,
    },
    /// At the instrument: show a code, and have its runs be those of whoever answers it, for a shift.
    SignOn,
    /// At the instrument: whoever is signed on is no more. With `--at`, from elsewhere: you are no more. Runs under way go on.
    SignOff {
        /// The instrument at which you are signed on.
        #[arg(long, value_name = "INSTRUMENT")]
        at: Option<InstrumentId>,
    },
    /// Where you are signed on.
    SignOns,
}

/// What can be done about the outside apps that you gave a key.
#[derive(Debug, Subcommand)]
pub(crate) enum ConsentCommand {
    /// The apps that have a key of yours, and what it is limited to.
    List,
    /// Withdraw it: the app's key stops at its next call.
    Withdraw {
        /// The key.
        key: KeyId,
    },
}

/// Shows a code where somebody at this machine sees it.
fn show(code: &DeviceCode, ui: Ui) {
    ui.note(format!(
        "open {} and type\n\n  {}\n\nor give `chorion key approve {}` where you are logged in; the code counts until {}",
        code.page, code.code, code.code, code.expires
    ));
}

/// Asks that `keys` be approved, shows the code, and waits for the answer.
pub(crate) async fn ask(
    client: &Client,
    keys: &PersonKeys,
    machine: String,
    app: Option<KeyApp>,
    limit: Option<KeyLimit>,
    ui: Ui,
) -> CliResult<Whoami> {
    let public_key = Bytes(keys.signing.public().to_bytes().to_vec());
    let begin = BeginDevice { public_key: public_key.clone(), machine, app, limit };
    let code = client.begin_device(&begin).await?;
    show(&code, ui);
    let poll = PollDevice { public_key };
    loop {
        tokio::time::sleep(Duration::from_secs(code.interval_seconds.into())).await;
        let standing = client.poll_device(&poll).await?;
        match (standing.state, standing.who) {
            (DeviceState::Approved, Some(who)) => return Ok(who),
            (DeviceState::Pending, _) => {}
            (DeviceState::Approved | DeviceState::Refused, _) => {
                return Err(CliError::new(
                    "the request was refused, and this key signs for nobody",
                ));
            }
        }
    }
}

/// Makes sure that somebody is signed on, if this machine's key is an enrolled instrument's: shows a code, and waits.
pub(crate) async fn signed_on(client: &Client, ui: Ui) -> CliResult<Option<SignOn>> {
    let who = client.whoami().await?;
    if who.key.kind != KeyKind::Instrument {
        return Ok(None);
    }
    let standing = match client.signed_on().await {
        Ok(standing) => standing,
        // An instrument's key of a person's account: its runs are that person's.
        Err(error) if error.code() == Some(api::ErrorCode::Conflict) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if standing.technician.is_some() {
        return Ok(Some(standing));
    }
    sign_on(client, ui).await.map(Some)
}

async fn sign_on(client: &Client, ui: Ui) -> CliResult<SignOn> {
    let before = client.signed_on().await?.until;
    let mut code = client.sign_on().await?;
    show(&code, ui);
    loop {
        tokio::time::sleep(Duration::from_secs(code.interval_seconds.into())).await;
        let standing = client.signed_on().await?;
        if standing.technician.is_some() && standing.until != before {
            let name = standing.name.as_deref().unwrap_or_default();
            ui.note(format!("{name} is signed on"));
            return Ok(standing);
        }
        if client.now() >= code.expires {
            code = client.sign_on().await?;
            show(&code, ui);
        }
    }
}

pub(crate) async fn instrument(command: InstrumentCommand, ui: Ui) -> CliResult {
    let ctx = ClientContext::load(ui)?;
    match command {
        InstrumentCommand::Enrol { name } => {
            let made = ctx.client.enrol_instrument(&EnrolInstrument { name }).await?;
            ui.line(format!("instrument: {} ({})", made.instrument.name, made.instrument.id));
            ui.line(format!("code: {} (until {}, counts once)", made.code, made.expires));
            ui.line(format!(
                "at the instrument: chorion login --hub {} --code {}",
                ctx.client.hub(),
                made.code
            ));
            ui.value(&made);
        }
        InstrumentCommand::List => {
            let all = ctx.client.instruments().all().await?;
            if all.is_empty() {
                ui.line("no instruments yet: `chorion instrument enrol NAME` makes one");
            }
            for one in &all {
                let state = match one.revoked {
                    Some(at) => format!("revoked {at}"),
                    None if one.enrolled => "enrolled".to_owned(),
                    None => "its code was not used yet".to_owned(),
                };
                ui.line(format!("{}  {}  {state}", one.id, one.name));
            }
            ui.value(&all);
        }
        InstrumentCommand::Revoke { instrument } => {
            let gone = ctx.client.revoke_instrument(instrument).await?;
            ui.line(format!("instrument {} ({}) is revoked", gone.name, gone.id));
            ui.value(&gone);
        }
        InstrumentCommand::SignOn => {
            let standing = sign_on(&ctx.client, ui).await?;
            ui.value(&standing);
        }
        InstrumentCommand::SignOns => {
            let all = ctx.client.shifts().all().await?;
            if all.is_empty() {
                ui.line("you are signed on nowhere");
            }
            for one in &all {
                ui.line(format!("{}  {}  until {}", one.instrument, one.name, one.until));
            }
            ui.value(&all);
        }
        InstrumentCommand::SignOff { at: Some(instrument) } => {
            let ended = ctx.client.end_shift(instrument).await?;
            ui.line(format!("you are signed off at {}; runs under way go on", ended.name));
            ui.value(&ended);
        }
        InstrumentCommand::SignOff { at: None } => {
            let standing = ctx.client.sign_off().await?;
            ui.line("nobody is signed on; runs under way go on");
            ui.value(&standing);
        }
    }
    Ok(())
}

pub(crate) async fn consent(command: ConsentCommand, ui: Ui) -> CliResult {
    let ctx = ClientContext::load(ui)?;
    match command {
        ConsentCommand::List => {
            let mut keys = ctx.client.keys().all().await?;
            keys.retain(|key| key.app.is_some() && key.revoked.is_none());
            if keys.is_empty() {
                ui.line("no outside app has a key of yours");
            }
            for key in &keys {
                let Some(app) = &key.app else { continue };
                let limit = key.limit.as_ref().map(shown_limit).unwrap_or_default();
                ui.line(format!("{}  {} by {}  {limit}", key.id, app.name, app.publisher));
            }
            ui.value(&keys);
        }
        ConsentCommand::Withdraw { key } => {
            let keys = ctx.client.keys().all().await?;
            if !keys.iter().any(|held| held.id == key && held.app.is_some()) {
                return Err(CliError::new(format!("key {key} is no outside app's")).hint(
                    "`chorion consent list` shows them; `chorion key revoke` takes any key",
                ));
            }
            ctx.client.revoke_key(key).await?;
            ui.line(format!("key {key} is withdrawn: what the app has read, it may keep"));
            ui.value(&serde_json::json!({ "key": key, "withdrawn": true }));
        }
    }
    Ok(())
}

/// `chorion key approve`: shows what asks, asks back, and lets it sign.
pub(crate) async fn approve(code: String, limit: Option<KeyLimit>, yes: bool, ui: Ui) -> CliResult {
    let ctx = ClientContext::load(ui)?;
    let name = NameDevice { code: code.clone() };
    let pending = ctx.client.pending_device(&name).await?;
    ui.note(asked(&pending, limit.as_ref()));
    if !yes && (ui.json || !std::io::stdin().is_terminal()) {
        return Err(CliError::new("nobody is here to say whether this is right")
            .hint("read what it asks, and pass --yes"));
    }
    if !yes && !confirm("Did you start this yourself, just now? Type yes: ", "yes")? {
        ctx.client.refuse_device(&name).await?;
        return Err(CliError::new("refused: the machine that asked gets nothing"));
    }
    let approved = ctx.client.approve_device(&ApproveDevice { code, limit }).await?;
    ui.line(format!("approved: {}", approved.machine));
    ui.value(&approved);
    Ok(())
}

/// `chorion key refuse`.
pub(crate) async fn refuse(code: String, ui: Ui) -> CliResult {
    let ctx = ClientContext::load(ui)?;
    ctx.client.refuse_device(&NameDevice { code }).await?;
    ui.line("refused: the machine that asked gets nothing");
    ui.value(&serde_json::json!({ "refused": true }));
    Ok(())
}

/// What is asked, in words.
fn asked(pending: &DevicePending, narrower: Option<&KeyLimit>) -> String {
    let machine = printable(&pending.machine);
    let from = pending.address.as_deref().unwrap_or("an address that the hub did not keep");
    let what = match &pending.asks {
        DeviceAsk::Login => "a key that signs for you".to_owned(),
        DeviceAsk::App { app } => format!(
            "a key for the outside app \"{}\" by \"{}\", in its own words",
            printable(&app.name),
            printable(&app.publisher)
        ),
        DeviceAsk::SignOn { instrument } => {
            format!("that the runs of instrument {instrument} be yours for a shift")
        }
    };
    let limit = match (narrower.or(pending.limit.as_ref()), &pending.asks) {
        (Some(limit), _) => shown_limit(limit),
        (None, DeviceAsk::SignOn { .. }) => {
            "it sends runs where you may, and reads nothing".to_owned()
        }
        (None, _) => "without a limit: everything that you may".to_owned(),
    };
    format!(
        "machine: {machine}\naddress: {from}\nasked at: {}\nasks for: {what}\nlimit: {limit}",
        pending.created
    )
}

/// Words of a stranger, without what would move the cursor.
fn printable(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).collect()
}
