//! `chorion run`, `sample` and `result`: what is there, what it holds, and what a person decides about it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use api::{
    CloseRun, ConfirmDeletion, Dataset, DatasetId, DatasetKind, ExecutionState, ProjectId,
    RequeueSettings, Task,
};
use clap::{Args, Subcommand, ValueEnum};
use client::DatasetFilter;
use proof::{Act, Delete};
use serde::Serialize;

use crate::config::ClientContext;
use crate::download::{self, Contents};
use crate::import;
use crate::owner::PersonArgs;
use crate::owner::approve::sign_act;
use crate::owner::device::Owner;
use crate::people::confirm;
use crate::report::{CliError, CliResult, Ui};
use crate::words::{mapping, word};

/// Which datasets to list.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only those of one project.
    #[arg(long)]
    project: Option<ProjectId>,
    /// Only those made from this dataset: the samples of a run.
    #[arg(long)]
    parent: Option<DatasetId>,
}

/// What to download.
#[derive(Debug, Args)]
pub(crate) struct DownloadArgs {
    /// The dataset.
    dataset: DatasetId,
    /// Into which directory; one named by its id if absent.
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// Only files whose path ends so; may be given several times.
    #[arg(long, value_name = "ENDING")]
    only: Vec<String>,
    /// The identity file of the words, for what is in a project of your own; `identity` in the folder of settings unless another
    /// is named. Its passphrase comes from the variable `CHORION_PASSPHRASE`, or a prompt.
    #[command(flatten)]
    person: PersonArgs,
}

/// What to delete.
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// The dataset.
    dataset: DatasetId,
    /// Its name, instead of being asked for it.
    #[arg(long, value_name = "NAME")]
    yes: Option<String>,
    #[command(flatten)]
    person: PersonArgs,
}

/// What can be done about samples.
#[derive(Debug, Subcommand)]
pub(crate) enum SampleCommand {
    /// The samples that you may see.
    List(ListArgs),
    /// One sample and its files.
    Show {
        /// Its id.
        dataset: DatasetId,
    },
    /// Open its files here.
    Download(DownloadArgs),
    /// Seal reads or variants that you have and send them as a sample: FASTQ, BAM, CRAM, VCF, BCF, also under Crypt4GH.
    Import(import::SampleArgs),
    /// Destroy its key, then its data.
    Delete(DeleteArgs),
}

/// What can be done about results.
#[derive(Debug, Subcommand)]
pub(crate) enum ResultCommand {
    /// The results that you may see.
    List(ListArgs),
    /// One result and its files.
    Show {
        /// Its id.
        dataset: DatasetId,
    },
    /// Open its files here.
    Download(DownloadArgs),
    /// Seal files of yours and send them as a result: a reference, what another program made.
    Import(import::ResultArgs),
    /// Destroy its key, then its data.
    Delete(DeleteArgs),
}

/// What can be done about runs.
#[derive(Debug, Subcommand)]
pub(crate) enum RunCommand {
    /// Send one run folder, sealed, and end when the hub has it whole.
    Send(crate::send::SendArgs),
    /// How the sending of a run folder stands, from this side.
    Status(crate::send::StatusArgs),
    /// The same, again and again.
    Watch(crate::send::WatchArgs),
    /// The runs that you may see.
    List(ListArgs),
    /// One run: its files, and the tasks that worked on it.
    Show {
        /// Its id.
        dataset: DatasetId,
    },
    /// Its metrics, as a vault made them: yield, quality, clusters, samples, unknown barcodes.
    Metrics {
        /// The run.
        dataset: DatasetId,
    },
    /// Open its files here.
    Download(DownloadArgs),
    /// Demultiplex again without sending again; samples made before are marked superseded.
    Requeue {
        /// The run.
        dataset: DatasetId,
        /// Another sample sheet than the run's own.
        #[arg(long)]
        sample_sheet: Option<PathBuf>,
        /// Where a `Sample_Project` goes; may be given several times.
        #[arg(long = "map", value_name = "NAME=PROJECT", value_parser = mapping)]
        map: Vec<(String, ProjectId)>,
        /// Where samples go whose `Sample_Project` is not mapped; without it such a name is an error, and samples without one
        /// stay in the run's project.
        #[arg(long)]
        default_project: Option<ProjectId>,
    },
    /// Decide about a run that needs attention.
    Close {
        /// The run.
        dataset: DatasetId,
        /// Take it as it is, or give it up.
        #[arg(long = "as", value_enum)]
        verdict: Verdict,
    },
    /// Destroy its key, then its data.
    Delete(DeleteArgs),
}

/// What a person decides about a run.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Verdict {
    /// Take it as it is.
    Complete,
    /// Give it up.
    Failed,
}

/// A dataset with what it holds.
#[derive(Debug, Serialize)]
struct Shown {
    dataset: Dataset,
    files: Vec<ShownFile>,
    tasks: Vec<Task>,
}

#[derive(Debug, Serialize)]
struct ShownFile {
    path: String,
    bytes: u64,
    sha256: api::Digest,
}

pub(crate) async fn run(command: RunCommand, ui: Ui) -> CliResult {
    let command = match command {
        RunCommand::Send(args) => return crate::send::send(args, ui).await,
        RunCommand::Status(args) => return crate::send::status(args, ui).await,
        RunCommand::Watch(args) => return crate::send::watch(args, ui).await,
        other => other,
    };
    let ctx = ClientContext::load(ui)?;
    match command {
        RunCommand::List(args) => list(&ctx, ui, DatasetKind::Run, &args).await,
        RunCommand::Show { dataset } => show(&ctx, ui, dataset).await,
        RunCommand::Metrics { dataset } => crate::metrics::of_run(&ctx, ui, dataset).await,
        RunCommand::Download(args) => fetch(&ctx, ui, args).await,
        RunCommand::Requeue { dataset, sample_sheet, map, default_project } => {
            let settings = RequeueSettings {
                sample_sheet: sample_sheet.map(|path| text(&path)).transpose()?,
                projects: map.into_iter().collect::<BTreeMap<_, _>>(),
                default_project,
            };
            let contents = Contents::open(&ctx, dataset).await?;
            let json = serde_json::to_vec(&settings)
                .expect("settings serialize because they are texts and ids");
            let sealed = contents.key().seal_label("requeue settings", &json)?;
            let task = ctx.client.requeue_run(dataset, sealed).await?;
            ui.line(format!(
                "run {dataset} is queued to be demultiplexed again as task {}",
                task.id
            ));
            ui.value(&task);
            Ok(())
        }
        RunCommand::Close { dataset, verdict } => {
            let as_state = match verdict {
                Verdict::Complete => ExecutionState::Complete,
                Verdict::Failed => ExecutionState::Failed,
            };
            let run = ctx.client.close_run(dataset, &CloseRun { as_state }).await?;
            ui.line(format!("run {dataset} is {}", word(run.execution)));
            ui.value(&run);
            Ok(())
        }
        RunCommand::Delete(args) => delete(&ctx, ui, args).await,
        RunCommand::Send(_) | RunCommand::Status(_) | RunCommand::Watch(_) => Ok(()),
    }
}

pub(crate) async fn sample(command: SampleCommand, ui: Ui) -> CliResult {
    let command = match command {
        SampleCommand::Import(args) => return import::sample(args, ui).await,
        other => other,
    };
    let ctx = ClientContext::load(ui)?;
    match command {
        SampleCommand::List(args) => list(&ctx, ui, DatasetKind::Sample, &args).await,
        SampleCommand::Show { dataset } => show(&ctx, ui, dataset).await,
        SampleCommand::Download(args) => fetch(&ctx, ui, args).await,
        SampleCommand::Delete(args) => delete(&ctx, ui, args).await,
        SampleCommand::Import(_) => Ok(()),
    }
}

pub(crate) async fn result(command: ResultCommand, ui: Ui) -> CliResult {
    let command = match command {
        ResultCommand::Import(args) => return import::result(args, ui).await,
        other => other,
    };
    let ctx = ClientContext::load(ui)?;
    match command {
        ResultCommand::List(args) => list(&ctx, ui, DatasetKind::Result, &args).await,
        ResultCommand::Show { dataset } => show(&ctx, ui, dataset).await,
        ResultCommand::Download(args) => fetch(&ctx, ui, args).await,
        ResultCommand::Delete(args) => delete(&ctx, ui, args).await,
        ResultCommand::Import(_) => Ok(()),
    }
}

async fn list(ctx: &ClientContext, ui: Ui, kind: DatasetKind, args: &ListArgs) -> CliResult {
    let filter = DatasetFilter { kind: Some(kind), project: args.project };
    let mut datasets = ctx.client.datasets(filter).all().await?;
    crate::audit::note_unlisted(ctx, ui, kind, args.project, &datasets)?;
    datasets.retain(|d| args.parent.is_none() || d.parent == args.parent);
    if datasets.is_empty() {
        ui.line(match kind {
            DatasetKind::Run => "no runs yet: `chorion run send DIR --project ID` sends one",
            DatasetKind::Sample => "no samples yet: they appear when a run has been demultiplexed, and `chorion sample import` brings some",
            DatasetKind::Result | DatasetKind::App => {
                "no results yet: `chorion app launch` makes one, `chorion result import` brings one"
            }
        });
    }
    for dataset in &mut datasets {
        dataset.name = Some(ctx.name_of(dataset).await);
        ui.line(row(dataset));
    }
    ui.value(&datasets);
    Ok(())
}

fn row(d: &Dataset) -> String {
    let name = d.name.as_deref().unwrap_or("(sealed)");
    let reads = d.reads.map(|r| format!("  {r} reads")).unwrap_or_default();
    let reason = d.reason.as_deref().map(|r| format!("  ({r})")).unwrap_or_default();
    let (kib, held) = (d.sealed_bytes >> 10, d.custodian.as_str());
    format!("{}  {:<15} {held:<9} {kib:>9} KiB  {name}{reads}{reason}", d.id, word(d.execution))
}

async fn show(ctx: &ClientContext, ui: Ui, id: DatasetId) -> CliResult {
    let mut dataset = ctx.client.dataset(id).await?;
    dataset.name = Some(ctx.name_of(&dataset).await);
    ui.line(row(&dataset));
    let mut files = Vec::new();
    if dataset.manifest_number > 0 {
        if dataset.custodian != api::Custodian::Owner {
            for file in ctx.client.files(id).all().await? {
                files.push(ShownFile { path: file.path, bytes: file.bytes, sha256: file.sha256 });
            }
        } else if ctx.owner_if_unlocked().is_some() {
            for file in &Contents::open(ctx, id).await?.index().files {
                let (path, bytes, sha256) = (file.path.clone(), file.bytes, file.sha256);
                files.push(ShownFile { path, bytes, sha256 });
            }
        } else {
            ui.note(
                "its files are sealed to its owner: set CHORION_PASSPHRASE to open the list here",
            );
        }
        for file in &files {
            ui.line(format!("{:>14}  {}", file.bytes, file.path));
        }
    }
    let tasks = ctx.client.tasks(Some(id)).all().await?;
    for task in &tasks {
        let reason = task.reason.as_deref().map(|r| format!(": {r}")).unwrap_or_default();
        ui.line(format!(
            "task {}  {}  {}{reason}",
            task.id,
            task.kind.as_str(),
            crate::session::word(task.state)
        ));
    }
    ui.value(&Shown { dataset, files, tasks });
    Ok(())
}

async fn fetch(ctx: &ClientContext, ui: Ui, args: DownloadArgs) -> CliResult {
    let to = args.output.unwrap_or_else(|| download::default_folder(args.dataset));
    if ctx.client.dataset(args.dataset).await?.custodian == api::Custodian::Owner {
        ctx.be(Owner::unlock(&args.person)?);
    }
    let contents = Contents::open(ctx, args.dataset).await?;
    let wanted =
        |path: &str| args.only.is_empty() || args.only.iter().any(|ending| path.ends_with(ending));
    let got = contents.save(ctx, ui, &to, wanted).await?;
    let bytes: u64 = got.iter().map(|g| g.bytes).sum();
    ui.line(format!("{} files, {bytes} bytes in {}", got.len(), to.display()));
    ui.value(&got);
    Ok(())
}

async fn delete(ctx: &ClientContext, ui: Ui, args: DeleteArgs) -> CliResult {
    let dataset = ctx.client.dataset(args.dataset).await?;
    if dataset.custodian == api::Custodian::Owner {
        ctx.be(Owner::unlock(&args.person)?);
    }
    let kind = dataset.kind.as_str();
    let name = ctx.name_of(&dataset).await;
    let sure = match args.yes {
        Some(typed) => typed == name,
        None => confirm(
            &format!(
                "This destroys the key of {kind} {name}, then its data, in every facility.\n\
                 There is no way back. Type its name to go on: "
            ),
            &name,
        )?,
    };
    if !sure {
        return Err(CliError::new(format!(
            "{kind} {} was not deleted: that is not its name",
            dataset.id
        )));
    }
    let mut approval = None;
    if dataset.custodian == api::Custodian::Owner {
        let act = Act::Delete(Delete { dataset: Some(dataset.id) });
        approval = Some(sign_act(ctx, ui, dataset.project, act, "delete").await?);
    }
    let confirm = ConfirmDeletion { confirm: dataset.id.to_string(), approval };
    let gone = ctx.client.delete_dataset(dataset.id, &confirm).await?;
    ui.line(format!("{kind} {name} is deleted: {} objects, keys first", gone.objects));
    say_what_is_left(&gone, ui);
    ui.value(&gone);
    Ok(())
}

/// Where bytes or wrapped keys of what was deleted can still be, and until when.
pub(crate) fn say_what_is_left(gone: &api::Deletion, ui: Ui) {
    for facility in &gone.facilities_pending {
        ui.line(format!("facility {facility} is away and will erase when it comes back"));
    }
    if let Some(until) = gone.snapshots_until {
        ui.line(format!("gone from service now, from the last snapshot of the keys by {until:.0}"));
    }
}

fn text(path: &std::path::Path) -> CliResult<String> {
    std::fs::read_to_string(path)
        .map_err(|e| CliError::new(format!("{} cannot be read", path.display())).caused_by(e))
}
