//! `chorion session` and the launching of apps: a form filled, inputs named, a result to come.

use std::io::IsTerminal;
use std::time::Duration;

use api::{
    App, AppSession, DatasetId, Launch, LaunchSettings, ProjectId, SessionId, SessionInput, Task,
    TaskState,
};
use clap::{Args, Subcommand};
use dataset::OpenDataset;
use proof::{AnyReceipt, Asked, AskedInput, digest_of};
use serde::{Deserialize, Serialize};

use crate::config::ClientContext;
use crate::report::{CliError, CliResult, Ui};

/// How often a waiting command asks.
const ASK: Duration = Duration::from_millis(500);
/// The longest purpose.
const MOST_PURPOSE_BYTES: usize = 500;

/// What can be asked of app sessions.
#[derive(Debug, Subcommand)]
pub(crate) enum SessionCommand {
    /// Every session that you may see.
    List,
    /// One session, with its receipt once it has ended.
    Show {
        /// Its id.
        session: SessionId,
        /// Wait until it has ended; the exit code says whether it completed.
        #[arg(long)]
        wait: bool,
    },
    /// What its program printed.
    Log {
        /// Its id.
        session: SessionId,
    },
    /// Stop it.
    Cancel {
        /// Its id.
        session: SessionId,
    },
}

/// A launch on the command line.
#[derive(Debug, Args)]
pub(crate) struct LaunchArgs {
    /// The app: its id, or NAME or NAME@VERSION.
    pub(crate) app: String,
    /// An input: the name in the app's manifest and a dataset's id; may be given several times.
    #[arg(long = "input", value_name = "NAME=DATASET", value_parser = pair::<DatasetId>)]
    pub(crate) inputs: Vec<(String, DatasetId)>,
    /// Which files of an input: a pattern such as `*.bam`; all that the app's manifest takes if absent.
    #[arg(long = "files", value_name = "NAME=PATTERN", value_parser = pair::<String>)]
    pub(crate) files: Vec<(String, String)>,
    /// A field of the app's form.
    #[arg(long = "param", value_name = "FIELD=VALUE", value_parser = pair::<String>)]
    pub(crate) params: Vec<(String, String)>,
    /// Into which project the result goes.
    #[arg(long)]
    pub(crate) project: ProjectId,
    /// What the result is called; the app's name if absent.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// What it is for: an owner whose data it reads sees these words, and the hub does not.
    #[arg(long)]
    pub(crate) purpose: Option<String>,
    /// Wait until it has ended; the exit code says whether it completed.
    #[arg(long)]
    pub(crate) wait: bool,
    /// Do not ask back: the scopes that the app asks for are right.
    #[arg(long)]
    pub(crate) yes: bool,
}

/// `NAME=VALUE`.
pub(crate) fn pair<T: std::str::FromStr<Err: std::fmt::Display>>(
    text: &str,
) -> Result<(String, T), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    let value = value.parse().map_err(|e: T::Err| e.to_string())?;
    Ok((name.to_owned(), value))
}

/// A session that was launched, with the words that its owner compares.
#[derive(Debug, Serialize)]
pub(crate) struct Launched {
    #[serde(flatten)]
    pub(crate) session: AppSession,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_phrase: Option<String>,
}

/// A session, and what its vault signed.
#[derive(Debug, Serialize)]
struct Shown {
    session: AppSession,
    task: Task,
    receipt: Option<AnyReceipt>,
}

pub(crate) async fn run(command: SessionCommand, ui: Ui) -> CliResult {
    let ctx = ClientContext::load(ui)?;
    match command {
        SessionCommand::List => {
            let sessions = ctx.client.sessions().all().await?;
            if sessions.is_empty() {
                ui.line("no sessions yet: `chorion app launch` starts one");
            }
            for s in &sessions {
                ui.line(format!(
                    "{}  {:<10}  {} {}",
                    s.id,
                    word(s.state),
                    s.app_name,
                    s.app_version
                ));
            }
            ui.value(&sessions);
            Ok(())
        }
        SessionCommand::Show { session, wait } => {
            if wait {
                return ended(&ctx, ui, session).await;
            }
            show(&ctx, ui, session).await.map(drop)
        }
        SessionCommand::Log { session } => log(&ctx, ui, session).await,
        SessionCommand::Cancel { session } => {
            let session = ctx.client.cancel_session(session).await?;
            ui.line(format!("session {} is {}", session.id, word(session.state)));
            ui.value(&session);
            Ok(())
        }
    }
}

/// Shows what an app asks for, and asks back.
fn permitted(app: &App, yes: bool, ui: Ui) -> CliResult {
    #[derive(Deserialize)]
    struct Asks {
        #[serde(default)]
        scopes: Vec<String>,
    }
    let asks: Asks = serde_json::from_str(&app.manifest).map_err(|e| {
        CliError::new(format!("the manifest of {} {} does not read", app.name, app.version))
            .caused_by(e)
    })?;
    let scopes = match asks.scopes.as_slice() {
        [] => "nothing but the inputs that you name".to_owned(),
        some => some.join(", "),
    };
    ui.note(format!("{} {} asks for: {scopes}", app.name, app.version));
    if yes {
        return Ok(());
    }
    if ui.json || !std::io::stdin().is_terminal() {
        return Err(CliError::new(format!("nobody said that {} may do this", app.name))
            .hint("pass --yes once you have read what it asks for"));
    }
    if crate::people::confirm("Launch it? Type yes: ", "yes")? {
        Ok(())
    } else {
        Err(CliError::new("the app was not launched"))
    }
}

/// Launches an app.
pub(crate) async fn launch(args: LaunchArgs, ui: Ui) -> CliResult {
    let ctx = ClientContext::load(ui)?;
    let wait = args.wait;
    let launched = begin(&ctx, args, ui).await?;
    follow(&ctx, ui, launched, wait).await
}

/// Launches it, and waits for nothing.
pub(crate) async fn begin(ctx: &ClientContext, args: LaunchArgs, ui: Ui) -> CliResult<Launched> {
    let app = crate::apps::find(ctx, &args.app).await?;
    permitted(&app, args.yes, ui)?;
    let (card, facts) = ctx.card_to_seal(args.project).await?;
    let open = OpenDataset::create(DatasetId::generate(), args.project, digest_of(&card))?;
    let mut settings =
        LaunchSettings { params: args.params.into_iter().collect(), ..LaunchSettings::default() };
    for (name, pattern) in args.files {
        settings.files.entry(name).or_default().push(pattern);
    }
    if args.purpose.is_none() && facts.custodian() == api::Custodian::Owner {
        return Err(CliError::new(format!(
            "the owner of project {} wants to know what for",
            args.project
        ))
        .hint("say it: --purpose TEXT; the hub does not read it"));
    }
    if let Some(text) = args.purpose {
        if text.is_empty() || text.len() > MOST_PURPOSE_BYTES {
            return Err(CliError::new(format!("a purpose has 1 to {MOST_PURPOSE_BYTES} bytes")));
        }
        let mut salt = [0; 32];
        seal::fill_random(&mut salt)
            .map_err(|e| CliError::new("the system gives no randomness").caused_by(e))?;
        settings.purpose = Some(api::Purpose { salt: api::Digest(salt), text });
    }
    let text = serde_json::to_vec(&settings).expect("settings serialize because they are texts");
    let name = args.name.unwrap_or_else(|| app.name.clone());
    let launch = Launch {
        id: SessionId::generate(),
        app: app.id,
        inputs: args
            .inputs
            .into_iter()
            .map(|(name, dataset)| SessionInput { name, dataset })
            .collect(),
        project: args.project,
        wrapped_key: open.wrap_to(facts.recipient())?,
        result: open.dataset(),
        card_digest: open.card_digest(),
        settings: open.seal_label("launch settings", &text)?,
        label: open.seal_label("dataset name", name.as_bytes())?,
    };
    let session = ctx.client.launch(&launch).await?;
    let mut request_phrase = None;
    if settings.purpose.is_some() {
        let asked = Asked {
            hub: ctx.hub_id.clone(),
            kind: api::TaskKind::App,
            session: Some(session.id),
            app: Some(app.digest),
            inputs: launch
                .inputs
                .iter()
                .map(|input| AskedInput { name: input.name.clone(), dataset: input.dataset })
                .collect(),
            project: Some(launch.project),
            result: Some(launch.result),
            settings: Some(proof::sha256(&text)),
        };
        let words = proof::phrase(&asked.digest());
        ui.note(format!("the owner is asked; the request's six words are: {words}"));
        request_phrase = Some(words);
    }
    Ok(Launched { session, request_phrase })
}

/// Says what was launched, or waits until it has ended.
pub(crate) async fn follow(
    ctx: &ClientContext,
    ui: Ui,
    launched: Launched,
    wait: bool,
) -> CliResult {
    let session = &launched.session;
    if wait {
        return ended(ctx, ui, session.id).await;
    }
    ui.line(format!(
        "session {} is {}; its result will be {}",
        session.id,
        word(session.state),
        session.result
    ));
    ui.value(&launched);
    Ok(())
}

/// Waits for the end of a session, shows it, and fails if it did.
async fn ended(ctx: &ClientContext, ui: Ui, session: SessionId) -> CliResult {
    let bar = ui.progress(100, "running");
    loop {
        let now = ctx.client.session(session).await?;
        if matches!(now.state, TaskState::Complete | TaskState::Failed | TaskState::Cancelled) {
            break;
        }
        bar.set_position(ctx.client.task(now.task).await?.percent.into());
        tokio::time::sleep(ASK).await;
    }
    bar.finish_and_clear();
    let shown = show(ctx, ui, session).await?;
    if shown.session.state == TaskState::Complete {
        return Ok(());
    }
    let reason = shown.session.reason.unwrap_or_else(|| word(shown.session.state).to_owned());
    Err(CliError::new(format!("session {session} did not complete: {reason}"))
        .hint(format!("see what it printed: `chorion session log {session}`")))
}

async fn show(ctx: &ClientContext, ui: Ui, session: SessionId) -> CliResult<Shown> {
    let session = ctx.client.session(session).await?;
    let task = ctx.client.task(session.task).await?;
    let receipt = match &task.receipt {
        Some(signed) => Some(
            AnyReceipt::open(signed)
                .map_err(|e| CliError::new("the receipt does not hold").caused_by(e))?
                .0,
        ),
        None => None,
    };
    ui.line(format!("session {}: {}", session.id, word(session.state)));
    ui.line(format!("app: {} {} ({})", session.app_name, session.app_version, session.app_digest));
    if let Some(reason) = &session.reason {
        ui.line(format!("reason: {reason}"));
    }
    for input in &session.inputs {
        ui.line(format!("input: {} = {}", input.name, input.dataset));
    }
    ui.line(format!("result: {}", session.result));
    if let Some(receipt) = &receipt {
        let (by, started, ended) = match receipt {
            AnyReceipt::Policy(r) => ("the hub's policy".to_owned(), r.started, r.ended),
            AnyReceipt::Owner(r) => {
                let names: Vec<String> = r.approvals.iter().map(proof::phrase).collect();
                (format!("approval {}", names.join(", approval ")), r.started, r.ended)
            }
        };
        ui.line(format!(
            "receipt: signed, keys released by {by}, evidence unattested (NOT CONFIDENTIAL), {started} to {ended}"
        ));
    }
    let shown = Shown { session, task, receipt };
    ui.value(&shown);
    Ok(shown)
}

async fn log(ctx: &ClientContext, ui: Ui, session: SessionId) -> CliResult {
    let session = ctx.client.session(session).await?;
    let contents = crate::download::Contents::open(ctx, session.result).await?;
    for path in ["log/error.txt", "log/stdout.txt", "log/stderr.txt"] {
        let Some(file) = contents.index().file(path) else { continue };
        if file.bytes == 0 {
            continue;
        }
        let bytes = contents.read(ctx, path).await?;
        ui.line(format!("== {path}"));
        ui.line(String::from_utf8_lossy(&bytes));
    }
    Ok(())
}

pub(crate) const fn word(state: TaskState) -> &'static str {
    match state {
        TaskState::Queued => "queued",
        TaskState::Running => "running",
        TaskState::Complete => "complete",
        TaskState::Failed => "failed",
        TaskState::Cancelled => "cancelled",
    }
}
