//! `chorion run send | status | watch`: one run folder, from the first look to the signed manifest.
//!
//! Whatever can be refused is refused before a byte leaves: a sample sheet that does not fit the run, a `Sample_Project`
//! that maps nowhere, a project card that nobody has confirmed. A command that was killed goes on where it stopped when it
//! is given again.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::{
    Dataset, DatasetId, ExecutionState, ProjectId, Right, RunSettings, SignedStatement, Task,
};
use broker::{
    BrokerError, CardStanding, Event, HubUplink, Job, Limit, NewRun, Outcome, PinError, Progress,
    Resources, Rules, RunState, Throttle,
};
use clap::Args;
use indicatif::ProgressBar;
use proof::ProjectCard;
use runfolder::dir::DirSource;
use runfolder::{PlanOptions, RunInfo, SampleSheet, read_small};
use serde::Serialize;

use crate::config::ClientContext;
use crate::report::{CliError, CliResult, Ui};
use crate::words::{mapping, word};

/// The longest `RunInfo.xml` or sample sheet that is read.
const MAX_SHEET_BYTES: u64 = 64 * 1024 * 1024;
/// How often a run is asked after.
const ASK: Duration = Duration::from_secs(2);

/// What is agreed on before runs are sent: where to, under whose key, and what becomes of them.
#[derive(Debug, Clone, Args)]
pub(crate) struct SetUpArgs {
    /// Into which project.
    #[arg(long)]
    pub(crate) project: ProjectId,
    /// Where a `Sample_Project` of the sample sheet goes; may be given several times.
    #[arg(long = "map", alias = "projects", value_name = "NAME=PROJECT", value_parser = mapping)]
    map: Vec<(String, ProjectId)>,
    /// Where samples go whose `Sample_Project` is not named; without it only samples that name none go to the run's project.
    #[arg(long)]
    default_project: Option<ProjectId>,
    /// Do not demultiplex when the run is closed.
    #[arg(long)]
    no_demultiplex: bool,
    /// Also keep a copy here, each file hashed again after it was written.
    #[arg(long, value_name = "DIR")]
    pub(crate) keep_local: Option<PathBuf>,
    /// Send no more than so many MiB a second, at all hours or at some: `20`, `08:00-18:00=5`, `07:30-09:00=0`. Several times; the
    /// first that holds at a time counts, by this machine's clock, for all runs together.
    #[arg(long = "limit", value_name = "[HH:MM-HH:MM=]MIB")]
    limits: Vec<Limit>,
    /// The six words of the project's card, as somebody you trust told you.
    #[arg(long, value_name = "WORDS")]
    card_phrase: Option<String>,
    /// A file with the project's signed card, from somebody you trust.
    #[arg(long, value_name = "FILE", conflicts_with = "card_phrase")]
    card: Option<PathBuf>,
    /// The card has changed and that is right: forget the one that was confirmed before.
    #[arg(long)]
    card_changed: bool,
    /// Seconds between two looks at the folder.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) poll_seconds: u64,
    /// Minutes without any change, and without a completion mark, after which a person is asked.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..))]
    attention_minutes: u64,
    /// Seconds without any change after which a run is over whose platform writes no CopyComplete.txt.
    #[arg(long, default_value_t = 60)]
    settle_seconds: u64,
}

/// `chorion run send`.
#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    /// The run folder; it may still be growing.
    dir: PathBuf,
    #[command(flatten)]
    set_up: SetUpArgs,
    /// What the run is called; the folder's name if absent.
    #[arg(long)]
    name: Option<String>,
    /// Keep the local copy only, and send nothing.
    #[arg(long, requires = "keep_local")]
    local_only: bool,
    /// Take the folder as it is, without a completion mark.
    #[arg(long)]
    as_it_is: bool,
    /// Send it once more although it was sent before, as another run.
    #[arg(long)]
    again: bool,
}

/// `chorion run status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// The run; all that were sent from this machine if absent.
    run: Option<DatasetId>,
}

/// `chorion run watch`.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// The run.
    run: DatasetId,
}

/// What `run send` says at its end.
#[derive(Debug, Serialize)]
struct Sent {
    /// The run's id.
    id: DatasetId,
    project: ProjectId,
    name: String,
    /// Whether it had been sent before, and nothing was done.
    before: bool,
    manifest: api::Digest,
    files: u64,
    bytes: u64,
    sent_bytes: u64,
    elapsed_ms: u64,
}

impl SetUpArgs {
    /// The broker's rules.
    pub(crate) fn rules(&self, as_it_is: bool) -> Rules {
        Rules {
            scan_every_ms: self.poll_seconds.saturating_mul(1000),
            settle_ms: self.settle_seconds.saturating_mul(1000),
            attention_ms: self.attention_minutes.saturating_mul(60_000),
            as_it_is,
            ..Rules::default()
        }
    }

    /// How fast to send, and when; for all runs of this process.
    pub(crate) fn throttle(&self) -> Arc<Throttle> {
        Arc::new(Throttle::new(self.limits.clone()))
    }

    /// Whether a run is only kept, not demultiplexed.
    pub(crate) const fn no_demultiplex(&self) -> bool {
        self.no_demultiplex
    }

    /// After which cycles of the run in `folder` there is something to demultiplex; none where it cannot be told.
    pub(crate) fn stages(&self, folder: &Path) -> Vec<u32> {
        let plan = || {
            let (info, sheet) = read_plan(folder).ok()??;
            let (run, sheet) = (RunInfo::parse(&info).ok()?, SampleSheet::parse(&sheet).ok()?);
            runfolder::plan(run, &sheet, PlanOptions::default()).ok()
        };
        if self.no_demultiplex {
            Vec::new()
        } else {
            plan().map_or_else(Vec::new, |plan| plan.stages())
        }
    }

    fn settings(&self) -> RunSettings {
        RunSettings {
            projects: self.map.iter().cloned().collect(),
            default_project: self.default_project,
            demultiplex: !self.no_demultiplex,
        }
    }
}

/// `chorion run send`.
pub(crate) async fn send(args: SendArgs, ui: Ui) -> CliResult {
    let folder = args.dir.canonicalize().map_err(|e| {
        CliError::new(format!("the run folder {} cannot be opened", args.dir.display()))
            .caused_by(e)
    })?;
    if args.local_only {
        return keep_only(&args, &folder, ui).await;
    }
    let ctx = ClientContext::load(ui)?;
    let known = known_run(&ctx, &folder)?.filter(|known| !(args.again && known.is_done()));
    let state = match known {
        Some(done) if done.is_done() => return sent_before(&done, ui),
        Some(waiting) => {
            ui.note(format!("going on with run {}", waiting.dataset()));
            waiting
        }
        None => {
            crate::device::signed_on(&ctx.client, ui).await?;
            let card = confirmed_card(&ctx, &args.set_up, ui).await?;
            if !args.set_up.no_demultiplex {
                let look = Duration::from_secs(args.set_up.poll_seconds.min(5));
                let over = args.as_it_is;
                until_planned(&folder, look, over, &args.set_up, ui).await?;
                check_targets(&ctx, &args.set_up).await?;
            }
            set_up(&ctx, &args.set_up, &folder, args.name.as_deref(), &card)?
        }
    };
    let started = Instant::now();
    let (id, project, name) = (state.dataset(), state.project(), state.name().to_owned());
    let bar = ui.progress(0, "sending");
    let (report, last) = reporter(ui, bar.clone());
    let job = Job {
        state,
        uplink: Arc::new(HubUplink::new(ctx.endless()?, id)),
        signer: ctx.signing.clone(),
        rules: args.set_up.rules(args.as_it_is),
        resources: Resources::default(),
        keep: args.set_up.keep_local.clone(),
        throttle: args.set_up.throttle(),
        ends_on_attention: true,
        stages: args.set_up.stages(&folder),
        report,
    };
    let outcome = broker::send_run(job).await.map_err(stopped);
    bar.finish_and_clear();
    match outcome? {
        Outcome::Closed { manifest, sent_bytes } => {
            let standing = last.lock().map(|standing| *standing).unwrap_or_default();
            let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            let (files, bytes) = (standing.files, standing.bytes);
            ui.line(format!("run {id} is whole at the hub: {files} files, {bytes} bytes, manifest {manifest}"));
            ui.value(&Sent { id, project, name, before: false, manifest, files, bytes, sent_bytes, elapsed_ms });
            Ok(())
        }
        Outcome::Attention(reason) => Err(CliError::new(format!("run {id} needs attention: {reason}"))
            .hint(format!(
                "if it grows on, give the same command again; to take it as it is, add --as-it-is; to give it up, `chorion run close {id} --as failed`"
            ))),
    }
}

/// Why a run stopped, for the person at the terminal.
pub(crate) fn stopped(error: BrokerError) -> CliError {
    let mut said = CliError::new(error.to_string());
    if let Some(cause) = std::error::Error::source(&error) {
        said = said.caused_by(cause);
    }
    match error.hint() {
        Some(hint) => said.hint(hint),
        None => said,
    }
}

type Last = Arc<std::sync::Mutex<broker::Standing>>;

/// Shows events on a bar, and says troubles once.
fn reporter(ui: Ui, bar: ProgressBar) -> (Arc<dyn Fn(Event) + Send + Sync>, Last) {
    let last = Last::default();
    let (kept, said) = (Arc::clone(&last), std::sync::Mutex::new(String::new()));
    let report = move |event: Event| match event {
        Event::Progress(standing) => {
            bar.set_length(standing.bytes);
            bar.set_position(standing.bytes_held);
            if standing.verifying {
                bar.set_message("comparing");
            }
            if let Ok(mut kept) = kept.lock() {
                *kept = standing;
            }
        }
        Event::Trouble(why) => {
            if let Ok(mut said) = said.lock()
                && *said != why
            {
                bar.suspend(|| ui.note(format!("waiting: {why}")));
                *said = why;
            }
        }
        Event::Attention(reason) => bar.suspend(|| ui.note(format!("needs attention: {reason}"))),
        Event::Reconciled { lost, adopted } => bar.suspend(|| {
            ui.note(format!(
                "the hub had lost {lost} objects and knew {adopted} more; sending what is missing"
            ));
        }),
        Event::Closed(_) => {}
    };
    (Arc::new(report), last)
}

/// The run of this folder that was sent from here, or is being sent.
pub(crate) fn known_run(ctx: &ClientContext, folder: &Path) -> CliResult<Option<RunState>> {
    let mut runs = broker::runs_in(&ctx.runs()).map_err(|e| state_error(&e))?;
    runs.retain(|run| run.run_folder() == folder && run.hub() == ctx.hub_id);
    Ok(runs.pop())
}

fn state_error(error: &broker::StateError) -> CliError {
    let said = CliError::new(error.to_string());
    match std::error::Error::source(error) {
        Some(cause) => said.caused_by(cause),
        None => said,
    }
}

fn sent_before(run: &RunState, ui: Ui) -> CliResult {
    let id = run.dataset();
    ui.line(format!("run {id} was sent before; --again sends the folder as another run"));
    ui.value(&Sent {
        id,
        project: run.project(),
        name: run.name().to_owned(),
        before: true,
        manifest: run.manifest_digest().unwrap_or(api::Digest([0; 32])),
        files: 0,
        bytes: 0,
        sent_bytes: 0,
        elapsed_ms: 0,
    });
    Ok(())
}

/// Makes the state of a new run.
pub(crate) fn set_up(
    ctx: &ClientContext,
    args: &SetUpArgs,
    folder: &Path,
    name: Option<&str>,
    card: &SignedStatement,
) -> CliResult<RunState> {
    let own = folder.file_name().map(|name| name.to_string_lossy().into_owned());
    let new = NewRun {
        hub_address: ctx.client.hub(),
        folder,
        name: name.or(own.as_deref()).unwrap_or("run"),
        project: args.project,
        card,
        settings: &args.settings(),
    };
    RunState::create(&ctx.runs(), &new).map_err(|e| state_error(&e))
}

/// The project's card, once a person has confirmed it.
pub(crate) async fn confirmed_card(
    ctx: &ClientContext,
    args: &SetUpArgs,
    ui: Ui,
) -> CliResult<SignedStatement> {
    let project = args.project;
    let pins = ctx.pins();
    let refused = |error: PinError| {
        let said = CliError::new(error.to_string());
        let said = match std::error::Error::source(&error) {
            Some(cause) => said.caused_by(cause),
            None => said,
        };
        match error {
            PinError::Card(_) => said.hint("do not send before you know why; if the change is right, confirm the new card: --card-changed --card-phrase \"SIX WORDS\""),
            PinError::Phrase { .. } => said.hint("compare the words again with whoever owns the project: `chorion project card` shows them there"),
            _ => said,
        }
    };
    let card = ctx.client.card(project).await?;
    let hub = ctx.client.whoami().await?.hub;
    if args.card_changed {
        pins.forget(project).map_err(refused)?;
    }
    if let Some(file) = &args.card {
        pins.pin_file(project, file).map_err(refused)?;
    }
    let standing = pins.judge(project, &card, &hub.card_key.0).map_err(refused)?;
    if let CardStanding::New { phrase } = standing {
        match &args.card_phrase {
            Some(words) => pins.confirm(project, &card, words).map_err(refused)?,
            None if ui.json || !std::io::stdin().is_terminal() => {
                return Err(CliError::new(format!("nobody has confirmed the card of project {project} on this machine"))
                    .hint("ask the project's owner for its six words and pass them: --card-phrase \"SIX WORDS\""));
            }
            None => {
                ui.note(format!("who can open this run is said by the card of project {project}; its six words are\n\n  {phrase}\n"));
                if !crate::people::confirm(
                    "Compare them with the project's owner. Are they the same? Type yes: ",
                    "yes",
                )? {
                    return Err(CliError::new("the project's card was not confirmed"));
                }
                pins.pin(project, &card).map_err(refused)?;
            }
        }
    }
    let (facts, _signer) = ProjectCard::open(&card, project).map_err(|e| refused(e.into()))?;
    if facts.hub() != ctx.hub_id {
        return Err(CliError::new(format!(
            "the card of project {project} speaks of another hub, {}",
            facts.hub()
        )));
    }
    Ok(card)
}

/// Waits for `RunInfo.xml` and the sample sheet, and makes sure that they fit one another and this set-up.
async fn until_planned(
    folder: &Path,
    look: Duration,
    over: bool,
    args: &SetUpArgs,
    ui: Ui,
) -> CliResult {
    let mut seen = None;
    let mut said = false;
    loop {
        let ended = over || folder.join("CopyComplete.txt").exists();
        let found = read_plan(folder)?;
        match found {
            Some(found) if ended || seen.as_ref() == Some(&found) => {
                return check_plan(&found, args, ui);
            }
            None if ended => {
                return Err(CliError::new(format!("{} has no RunInfo.xml, or no SampleSheet.csv", folder.display()))
                    .hint("put the sample sheet into the folder, or send without demultiplexing: --no-demultiplex"));
            }
            found => seen = found,
        }
        if !std::mem::replace(&mut said, true) {
            ui.note("waiting for RunInfo.xml and SampleSheet.csv to be there and at rest");
        }
        tokio::time::sleep(look).await;
    }
}

/// The bytes of `RunInfo.xml` and the sample sheet, once both are there.
pub(crate) fn read_plan(folder: &Path) -> CliResult<Option<(Vec<u8>, Vec<u8>)>> {
    let source = DirSource::new(folder)
        .map_err(|e| CliError::new(format!("{} cannot be read", folder.display())).caused_by(e))?;
    let read = |path: &str| match read_small(&source, path, MAX_SHEET_BYTES) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CliError::new(format!("{path} cannot be read")).caused_by(error)),
    };
    Ok(read("RunInfo.xml")?.zip(read("SampleSheet.csv")?))
}

/// Whether run and sheet fit one another, and every `Sample_Project` goes somewhere.
pub(crate) fn check_plan(
    (info, sheet): &(Vec<u8>, Vec<u8>),
    args: &SetUpArgs,
    ui: Ui,
) -> CliResult {
    let unfit = |error: &dyn std::error::Error| {
        CliError::new(error.to_string()).hint(
            "`chorion sheet check SampleSheet.csv --run DIR` tells all that is wrong with it; --no-demultiplex sends the run without it",
        )
    };
    let run = RunInfo::parse(info).map_err(|e| unfit(&e))?;
    let sheet = SampleSheet::parse(sheet).map_err(|e| unfit(&e))?;
    let plan = runfolder::plan(run, &sheet, PlanOptions::default()).map_err(|e| unfit(&e))?;
    for warning in &plan.warnings {
        ui.note(format!("sample sheet: {warning}"));
    }
    let known: BTreeMap<&str, ProjectId> =
        args.map.iter().map(|(name, id)| (name.as_str(), *id)).collect();
    let nowhere: Vec<_> = plan
        .projects()
        .into_iter()
        .filter_map(|(name, samples)| name.map(|name| (name, samples)))
        .filter(|(name, _)| !known.contains_key(name) && args.default_project.is_none())
        .map(|(name, samples)| format!("`{name}` ({samples} samples)"))
        .collect();
    if nowhere.is_empty() {
        return Ok(());
    }
    Err(CliError::new(format!(
        "the sample sheet names a Sample_Project that goes nowhere: {}",
        nowhere.join(", ")
    ))
    .hint("say where each goes: --map NAME=PROJECT-ID, or --default-project ID for all the others"))
}

/// Whether samples may be made in every project that the set-up names.
pub(crate) async fn check_targets(ctx: &ClientContext, args: &SetUpArgs) -> CliResult {
    let named = args.map.iter().map(|(_, project)| *project).chain(args.default_project);
    for project in named.collect::<std::collections::BTreeSet<_>>() {
        let found = ctx.client.project(project).await?;
        if found.right < Right::Create {
            return Err(CliError::new(format!(
                "samples may not be made in project {project} by you"
            ))
            .hint("ask its owner for the right `create`"));
        }
    }
    Ok(())
}

/// Keeps a verified copy once the run is over, and sends nothing.
async fn keep_only(args: &SendArgs, folder: &Path, ui: Ui) -> CliResult {
    let Some(to) = args.set_up.keep_local.clone() else {
        return Err(
            CliError::new("there is no folder to keep a copy in").hint("pass --keep-local DIR")
        );
    };
    let pause = Duration::from_secs(args.set_up.poll_seconds);
    let unreadable = |e: &broker::ScanError| CliError::new(e.to_string());
    if !args.as_it_is {
        let mut last = None;
        loop {
            let seen = broker::scan(folder).map_err(|e| unreadable(&e))?;
            if broker::is_over(&seen) && last.as_ref() == Some(&seen) {
                break;
            }
            last = Some(seen);
            tokio::time::sleep(pause).await;
        }
    }
    let folder = folder.to_owned();
    let place = to.clone();
    let (files, bytes) =
        tokio::task::spawn_blocking(move || broker::keep_verified(&folder, &place))
            .await
            .map_err(|e| CliError::new("the copy was not finished").caused_by(e))?
            .map_err(|e| CliError::new("the copy was not finished").caused_by(e))?;
    ui.line(format!("{files} files, {bytes} bytes are kept in {}", to.display()));
    ui.value(&serde_json::json!({ "kept": to, "files": files, "bytes": bytes }));
    Ok(())
}

/// A run from this side and from the hub's.
#[derive(Debug, Serialize)]
struct Status {
    run: DatasetId,
    folder: Option<PathBuf>,
    /// Whether this machine has sent it to its end; `null` if it was not sent from here.
    sent: Option<bool>,
    /// How far it is, as the program that sends it here last wrote down; `null` if none does or did.
    progress: Option<Progress>,
    hub: Dataset,
    tasks: Vec<Task>,
}

/// `chorion run status`.
pub(crate) async fn status(args: StatusArgs, ui: Ui) -> CliResult {
    let ctx = ClientContext::load(ui)?;
    let mut local = broker::runs_in(&ctx.runs()).map_err(|e| state_error(&e))?;
    local.retain(|run| run.hub() == ctx.hub_id);
    let wanted: Vec<_> = match args.run {
        Some(run) => vec![run],
        None => local.iter().map(RunState::dataset).collect(),
    };
    if wanted.is_empty() {
        ui.line("no run was sent from this machine: `chorion run send DIR --project ID` sends one");
    }
    let mut all = Vec::new();
    for run in wanted {
        let here = local.iter().find(|state| state.dataset() == run);
        let hub = match ctx.client.dataset(run).await {
            Ok(hub) => hub,
            Err(error) if args.run.is_none() => {
                ui.note(format!("run {run}: {error}"));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let tasks = ctx.client.tasks(Some(run)).all().await?;
        let sent = here.map(RunState::is_done);
        let said = match sent {
            Some(true) => "sent from here",
            Some(false) => {
                "not yet whole at the hub: give `chorion run send` again if it does not run"
            }
            None => "not sent from here",
        };
        let reason = hub.reason.as_deref().map(|r| format!(" ({r})")).unwrap_or_default();
        ui.line(format!(
            "run {run}: {}{reason}, {} objects, {} KiB; {said}",
            word(hub.execution),
            hub.objects,
            hub.sealed_bytes >> 10
        ));
        for task in &tasks {
            ui.line(format!(
                "  task {}: {} {} %",
                task.id,
                crate::session::word(task.state),
                task.percent
            ));
        }
        let folder = here.map(|state| state.run_folder().to_owned());
        let progress = here.filter(|state| !state.is_done()).and_then(RunState::progress);
        if let Some(progress) = &progress {
            ui.line(format!("  {progress}"));
        }
        all.push(Status { run, folder, sent, progress, hub, tasks });
    }
    ui.value(&all);
    Ok(())
}

/// `chorion run watch`: shows a run until it has ended; sends nothing.
pub(crate) async fn watch(args: WatchArgs, ui: Ui) -> CliResult {
    let ctx = ClientContext::load(ui)?;
    let run = args.run;
    let mut said = String::new();
    loop {
        let dataset = ctx.client.dataset(run).await?;
        let tasks = ctx.client.tasks(Some(run)).all().await?;
        let task = tasks
            .last()
            .map(|task| format!(", {} {} %", task.kind.as_str(), task.percent))
            .unwrap_or_default();
        let reason = dataset.reason.as_deref().map(|r| format!(" ({r})")).unwrap_or_default();
        let now = format!(
            "{}{reason}, {} objects, {} KiB{task}",
            word(dataset.execution),
            dataset.objects,
            dataset.sealed_bytes >> 10
        );
        if now != said {
            ui.line(format!("run {run}: {now}"));
            said = now;
        }
        match dataset.execution {
            ExecutionState::Receiving | ExecutionState::Processing => tokio::time::sleep(ASK).await,
            ExecutionState::Complete | ExecutionState::Superseded => {
                ui.value(&dataset);
                return Ok(());
            }
            ExecutionState::NeedsAttention | ExecutionState::Failed => {
                ui.value(&dataset);
                let reason = dataset.reason.unwrap_or_else(|| "no reason was given".to_owned());
                return Err(CliError::new(format!("run {run} {}: {reason}", word(dataset.execution)))
                    .hint(format!("decide about it: `chorion run close {run} --as complete` or `--as failed`; `chorion run show {run}` lists its tasks")));
            }
        }
    }
}
