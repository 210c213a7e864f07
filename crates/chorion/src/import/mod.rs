//! `chorion sample import` and `chorion result import`: what one already has becomes a dataset of its own.
//!
//! Files are looked at before anything is made at the hub, read once, checked while they are read, sealed before they leave,
//! and compared at the end: the hub compares the signed manifest with what it holds, then everything is read back and hashed.
//! A command that was stopped goes on where it was when it is given again. Packages of apps travel the same way, unchecked.

mod look;
mod read;
mod send;
mod state;

use std::path::PathBuf;

use api::{Dataset, DatasetId, DatasetKind, Digest, ProjectId};
use clap::Args;
use genome::{Format, ReadNumber};
use serde::Serialize;

use self::look::Source;
use self::state::{NewImport, State};
use crate::config::ClientContext;
use crate::download::Contents;
use crate::offline::PassphraseArgs;
use crate::report::{CliError, CliResult, Ui};

/// What imports have in common.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The files.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Into which project.
    #[arg(long)]
    project: ProjectId,
    /// What it is called.
    #[arg(long)]
    name: String,
    /// Your Crypt4GH secret key, to open files that were sealed to you.
    #[arg(long, value_name = "FILE")]
    crypt4gh_key: Option<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Begin anew, as another dataset, although these files were imported before or began to be.
    #[arg(long)]
    again: bool,
    /// End when the hub has taken the signed manifest, without reading everything back.
    #[arg(long)]
    no_read_back: bool,
}

/// `chorion sample import`.
#[derive(Debug, Args)]
pub(crate) struct SampleArgs {
    #[command(flatten)]
    import: ImportArgs,
    /// Take each FASTQ file by itself, whatever its name says about a mate.
    #[arg(long)]
    single: bool,
}

/// `chorion result import`.
#[derive(Debug, Args)]
pub(crate) struct ResultArgs {
    #[command(flatten)]
    import: ImportArgs,
    /// The sample, run or result that it was made from.
    #[arg(long, value_name = "DATASET")]
    parent: Option<DatasetId>,
    /// Do not look into files, whatever their names say.
    #[arg(long)]
    unchecked: bool,
}

/// What is taken, and how closely it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Looks {
    /// One person's reads or variants, in formats that are checked; FASTQ files by themselves or with their mates.
    Sample {
        /// Each FASTQ file by itself.
        single: bool,
    },
    /// Any files, checked where the format is known.
    Known,
    /// Any files.
    None,
}

/// Whether files that were imported, or began to be, become another dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    Never,
    IfDone,
    Always,
}

/// A file as it was imported.
#[derive(Debug, Clone, Serialize)]
struct ImportedFile {
    path: String,
    bytes: u64,
    sha256: Digest,
    format: Option<String>,
    records: Option<u64>,
}

/// What an import says at its end.
#[derive(Debug, Serialize)]
struct Imported {
    id: DatasetId,
    kind: DatasetKind,
    project: ProjectId,
    name: String,
    /// Whether it had been imported before, and nothing was done.
    before: bool,
    reads: Option<u64>,
    /// The names of samples that headers bear.
    samples: Vec<String>,
    files: Vec<ImportedFile>,
    /// Sealed bytes that this command sent.
    sent_bytes: u64,
    /// Sealed bytes that an earlier, stopped command had sent.
    kept_bytes: u64,
    /// Whether everything was read back and had the hashes that were signed.
    read_back: bool,
}

/// `chorion sample import`.
pub(crate) async fn sample(args: SampleArgs, ui: Ui) -> CliResult {
    let SampleArgs { import, single } = args;
    run(import, DatasetKind::Sample, None, Looks::Sample { single }, ui).await
}

/// `chorion result import`.
pub(crate) async fn result(args: ResultArgs, ui: Ui) -> CliResult {
    let ResultArgs { import, parent, unchecked } = args;
    let looks = if unchecked { Looks::None } else { Looks::Known };
    run(import, DatasetKind::Result, parent, looks, ui).await
}

async fn run(
    args: ImportArgs,
    kind: DatasetKind,
    parent: Option<DatasetId>,
    looks: Looks,
    ui: Ui,
) -> CliResult {
    let ctx = ClientContext::load(ui)?;
    let key = args.crypt4gh_key.as_deref().map(|path| args.passphrase.crypt4gh_key(path));
    let key = key.transpose()?;
    let sets = look::look(&args.files, looks, key)?;
    let new = NewImport { kind, project: args.project, name: &args.name, parent };
    let again = if args.again { Again::Always } else { Again::Never };
    let (dataset, imported) = import(&ctx, ui, &new, sets, again, !args.no_read_back).await?;
    say(ui, &dataset, &imported);
    ui.value(&imported);
    Ok(())
}

/// Sends one file as a dataset of its own, unchecked; gives the dataset, closed and whole.
pub(crate) async fn package(
    ctx: &ClientContext,
    ui: Ui,
    project: ProjectId,
    name: &str,
    inside: &str,
    path: PathBuf,
) -> CliResult<Dataset> {
    let sets = vec![vec![Source::plain(inside, path)?]];
    let new = NewImport { kind: DatasetKind::App, project, name, parent: None };
    // A package that was sent before may be registered again, as an app of its own.
    Ok(import(ctx, ui, &new, sets, Again::IfDone, false).await?.0)
}

async fn import(
    ctx: &ClientContext,
    ui: Ui,
    new: &NewImport<'_>,
    sets: Vec<Vec<Source>>,
    again: Again,
    read_back: bool,
) -> CliResult<(Dataset, Imported)> {
    let paths: Vec<PathBuf> = sets.iter().flatten().map(|source| source.path.clone()).collect();
    let found = State::find(ctx, new, &paths)?.filter(|state| match again {
        Again::Never => true,
        Again::IfDone => !state.is_done(),
        Again::Always => false,
    });
    let mut state = match found {
        Some(done) if done.is_done() => return before(ctx, &done, new).await,
        Some(waiting) => {
            ui.note(format!("going on with {} {}", new.kind.as_str(), waiting.dataset()));
            waiting
        }
        None => State::create(ctx, new, paths).await?,
    };
    let sent = send::send(ctx, ui, &mut state, sets).await?;
    let mut verified = false;
    if read_back {
        Contents::with(ctx, state.open(ctx)?, None).await?.verify(ctx, ui).await?;
        verified = true;
    }
    state.set_done()?;
    let imported = Imported {
        id: state.dataset(),
        kind: new.kind,
        project: new.project,
        name: new.name.to_owned(),
        before: false,
        reads: sent.dataset.reads,
        samples: sent.samples,
        files: sent.files,
        sent_bytes: sent.sent_bytes,
        kept_bytes: sent.kept_bytes,
        read_back: verified,
    };
    Ok((sent.dataset, imported))
}

async fn before(
    ctx: &ClientContext,
    done: &State,
    new: &NewImport<'_>,
) -> CliResult<(Dataset, Imported)> {
    let dataset = ctx.client.dataset(done.dataset()).await.map_err(|error| {
        CliError::from(error).hint("these files were imported before; --again imports them anew")
    })?;
    let imported = Imported {
        id: dataset.id,
        kind: new.kind,
        project: new.project,
        name: new.name.to_owned(),
        before: true,
        reads: dataset.reads,
        samples: Vec::new(),
        files: Vec::new(),
        sent_bytes: 0,
        kept_bytes: 0,
        read_back: false,
    };
    Ok((dataset, imported))
}

fn say(ui: Ui, dataset: &Dataset, imported: &Imported) {
    let (kind, id) = (imported.kind.as_str(), imported.id);
    if imported.before {
        ui.line(format!("{kind} {id} was imported before; --again imports the files once more"));
        return;
    }
    for file in &imported.files {
        let format = file.format.as_deref().unwrap_or("not looked into");
        let records = file.records.map(|n| format!(", {n} records")).unwrap_or_default();
        ui.line(format!("{:>14}  {}  {format}{records}", file.bytes, file.path));
    }
    let reads = dataset.reads.map(|reads| format!(" with {reads} reads")).unwrap_or_default();
    let checked = if imported.read_back { "read back and compared" } else { "compared by the hub" };
    ui.line(format!("{kind} {id}{reads} is whole at the hub: {checked}"));
    match imported.samples.as_slice() {
        [named] if *named != imported.name => {
            ui.note(format!("note: the files call the sample `{named}`"));
        }
        _ => {}
    }
}

/// How many reads a sample has: those of FASTQ files that hold no index, else those of alignments.
fn reads(files: &[(Format, Option<ReadNumber>, Option<u64>)]) -> Option<u64> {
    let sum = |wanted: &dyn Fn(Format) -> bool| {
        let counted: Vec<u64> = files
            .iter()
            .filter(|(format, read, _)| {
                wanted(*format) && !matches!(read, Some(ReadNumber::I1 | ReadNumber::I2))
            })
            .filter_map(|(_, _, reads)| *reads)
            .collect();
        (!counted.is_empty()).then(|| counted.iter().sum())
    };
    sum(&|format| matches!(format, Format::Fastq(_)))
        .or_else(|| sum(&|format| matches!(format, Format::Bam | Format::Cram)))
}
