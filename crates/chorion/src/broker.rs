//! `chorion broker`: the service beside the instrument. It watches the folder that run folders appear in, sends each as it
//! grows, and listens nowhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::SignedStatement;
use broker::{BrokerError, Event, HubUplink, Job, Outcome, Resources, RunState, Throttle};
use clap::Args;
use tokio::task::JoinSet;

use crate::config::ClientContext;
use crate::report::{CliError, CliResult, Ui};
use crate::send::{self, SetUpArgs};

/// How long a run that was refused waits before the hub is asked again.
const PARKED: Duration = Duration::from_secs(600);
/// A broker that sends several runs gives each fewer and smaller packs, so that all of them stay within 64 MiB.
const RESOURCES: Resources =
    Resources { pack_bytes: 4 * 1024 * 1024 - 4096, filling: 1, sending: 3, workers: 1 };

/// `chorion broker`.
#[derive(Debug, Args)]
pub(crate) struct BrokerArgs {
    /// The folder in which the instrument makes run folders, or one run folder.
    #[arg(long, value_name = "DIR")]
    watch: PathBuf,
    #[command(flatten)]
    set_up: SetUpArgs,
    /// Runs that are sent at once; others wait.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=8))]
    at_once: u8,
    /// End when every run folder that is there has been sent, instead of waiting for the next one.
    #[arg(long)]
    once: bool,
}

/// How the folders of this watch stand.
#[derive(Debug, Default)]
struct Folders {
    /// Being sent by a task of ours.
    active: BTreeSet<PathBuf>,
    /// Done, here or earlier.
    done: BTreeSet<PathBuf>,
    /// Not to be tried before this moment, and what was said of it.
    later: BTreeMap<PathBuf, (Instant, String)>,
}

/// `chorion broker`.
pub(crate) async fn run(args: BrokerArgs, ui: Ui) -> CliResult {
    let ctx = ClientContext::load(ui)?;
    let watch = args.watch.canonicalize().map_err(|e| {
        CliError::new(format!("the folder {} cannot be opened", args.watch.display())).caused_by(e)
    })?;
    let endless = ctx.endless()?;
    crate::device::signed_on(&endless, ui).await?;
    let card = send::confirmed_card(&ctx, &args.set_up, ui).await?;
    send::check_targets(&ctx, &args.set_up).await?;
    ui.note(format!(
        "watching {}; runs go to project {} at {}",
        watch.display(),
        args.set_up.project,
        ctx.client.hub()
    ));
    let throttle = args.set_up.throttle();
    let mut folders = Folders::default();
    let mut sending = JoinSet::new();
    let pause = Duration::from_secs(args.set_up.poll_seconds);
    loop {
        let found = run_folders(&watch)?;
        for folder in &found {
            if sending.len() >= usize::from(args.at_once) {
                break;
            }
            let waits = folders.later.get(folder).is_some_and(|(until, _)| Instant::now() < *until);
            if waits || folders.active.contains(folder) || folders.done.contains(folder) {
                continue;
            }
            // A new run is that of whoever is signed on now; what is under way goes on meanwhile.
            if send::known_run(&ctx, folder)?.is_none() {
                crate::device::signed_on(&endless, ui).await?;
            }
            match begin(&ctx, &args.set_up, folder, &card, ui) {
                Ok(Some(job)) => {
                    let job = Job { throttle: Arc::clone(&throttle), ..job };
                    folders.active.insert(folder.clone());
                    let folder = folder.clone();
                    sending.spawn(async move { (folder, broker::send_run(job).await) });
                }
                Ok(None) => {}
                Err(error) => wait(&mut folders, folder, &error, pause.saturating_mul(6), ui),
            }
            if send::known_run(&ctx, folder)?.is_some_and(|run| run.is_done()) {
                folders.done.insert(folder.clone());
            }
        }
        if args.once
            && sending.is_empty()
            && found.iter().all(|folder| folders.done.contains(folder))
        {
            return Ok(());
        }
        tokio::select! {
            Some(ended) = sending.join_next() => {
                let (folder, ended) = ended.map_err(|e| CliError::new("a run's sender has ended").caused_by(e))?;
                folders.active.remove(&folder);
                settle(&mut folders, &folder, ended, ui);
            }
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// The run folders in `watch`: those with a `RunInfo.xml`, or `watch` itself if it is one.
fn run_folders(watch: &Path) -> CliResult<Vec<PathBuf>> {
    if watch.join("RunInfo.xml").exists() {
        return Ok(vec![watch.to_owned()]);
    }
    let unreadable = |e| CliError::new(format!("{} cannot be read", watch.display())).caused_by(e);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(watch).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.join("RunInfo.xml").is_file() {
            found.push(path);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The job of a folder: its run as it stands, or a new one as soon as its sheet is there. `None` while it is not.
fn begin(
    ctx: &ClientContext,
    args: &SetUpArgs,
    folder: &Path,
    card: &SignedStatement,
    ui: Ui,
) -> CliResult<Option<Job>> {
    let state = match send::known_run(ctx, folder)? {
        Some(done) if done.is_done() => return Ok(None),
        Some(waiting) => waiting,
        None => {
            if !args.no_demultiplex() {
                match send::read_plan(folder)? {
                    Some(plan) => send::check_plan(&plan, args, ui)?,
                    None if folder.join("CopyComplete.txt").exists() => {
                        return Err(CliError::new("the run is over and holds no SampleSheet.csv")
                            .hint("put it into the folder, or send without demultiplexing: --no-demultiplex"));
                    }
                    None => return Ok(None),
                }
            }
            send::set_up(ctx, args, folder, None, card)?
        }
    };
    let run = state.dataset();
    ui.note(format!("run {run}: sending {}", state.name()));
    Ok(Some(job(ctx, args, state, ui)?))
}

fn job(ctx: &ClientContext, args: &SetUpArgs, state: RunState, ui: Ui) -> CliResult<Job> {
    let run = state.dataset();
    let keep = args.keep_local.as_ref().map(|to| to.join(state.name()));
    let report = move |event: Event| match event {
        Event::Progress(_) => {}
        Event::Trouble(why) => tracing::info!(%run, why, "waiting"),
        Event::Attention(reason) => ui.note(format!("run {run} needs attention: {reason}")),
        Event::Reconciled { lost, adopted } => {
            tracing::warn!(%run, lost, adopted, "the hub's objects differed");
        }
        Event::Closed(manifest) => {
            ui.note(format!("run {run}: whole at the hub, manifest {manifest}"));
        }
    };
    Ok(Job {
        uplink: Arc::new(HubUplink::new(ctx.endless()?, run)),
        signer: ctx.signing.clone(),
        rules: args.rules(false),
        resources: RESOURCES,
        keep,
        throttle: Arc::<Throttle>::default(),
        ends_on_attention: false,
        stages: args.stages(state.run_folder()),
        report: Arc::new(report),
        state,
    })
}

/// Takes note of how a run ended.
fn settle(folders: &mut Folders, folder: &Path, ended: Result<Outcome, BrokerError>, ui: Ui) {
    match ended {
        Ok(Outcome::Closed { .. }) => {
            folders.done.insert(folder.to_owned());
            folders.later.remove(folder);
        }
        Ok(Outcome::Attention(_)) => {}
        Err(error) => wait(folders, folder, &send::stopped(error), PARKED, ui),
    }
}

/// Puts a folder off, and says why unless that was just said.
fn wait(folders: &mut Folders, folder: &Path, error: &CliError, pause: Duration, ui: Ui) {
    let text = error.to_string();
    let said = folders.later.get(folder).is_some_and(|(_, said)| *said == text);
    if !said {
        ui.note(format!("{}: {text}", folder.display()));
    }
    folders.later.insert(folder.to_owned(), (Instant::now() + pause, text));
}
