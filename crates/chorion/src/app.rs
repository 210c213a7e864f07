//! `chorion app init | check | pack | try`: an author's whole loop, offline and on plain files.
//!
//! `try` builds the same sandbox that a vault builds, from the same checked root, with the same limits. It only takes its inputs
//! from plain files and leaves its outputs in a folder, so an app that works here works there.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;
use vault::app::package::{self, EXTENSION, Front};
use vault::app::source::{self, Packed, Source, SourceError};
use vault::app::task::Given;
use vault::app::{
    AppCache, Bytes, Launch, Manifest, TaskError, TaskFile, TaskRequest, VerifiedApp,
};
use vault::sandbox::{self, End, Finished, Mount, Spec, Stop, Stream};

use crate::report::{CliError, CliResult, Ui};

/// Make and try apps: existing programs with a file tree of their own.
#[derive(Debug, Subcommand)]
pub(crate) enum AppCommand {
    /// Write a folder with a commented manifest and a script that works as it is.
    Init(InitArgs),
    /// Say whether a folder's manifest, command and script are accepted.
    Check(CheckArgs),
    /// Make the package file: the manifest and every file that the command can see.
    Pack(PackArgs),
    /// Run an app in its sandbox on plain files.
    Try(TryArgs),
    /// Send a package to the hub and register it.
    Register(crate::apps::RegisterArgs),
    /// The apps that you may launch.
    List,
    /// Launch an app on samples or results.
    Launch(crate::session::LaunchArgs),
}

/// Where a new app goes.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The folder to make; its name becomes the app's.
    folder: PathBuf,
}

/// What to look at.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The app's folder, with app.toml in it.
    folder: PathBuf,
}

/// What to pack, and to where.
#[derive(Debug, Args)]
pub(crate) struct PackArgs {
    /// The app's folder, with app.toml in it.
    folder: PathBuf,
    /// The package file; NAME-VERSION.chorionapp here if not given.
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    cache: Cache,
}

/// Where downloads and unpacked apps are kept between calls.
#[derive(Debug, Args)]
pub(crate) struct Cache {
    /// Where downloaded packages and unpacked apps are kept between calls.
    #[arg(long, value_name = "DIR", env = "CHORION_APP_CACHE")]
    cache: Option<PathBuf>,
}

/// What to run, and on what.
#[derive(Debug, Args)]
pub(crate) struct TryArgs {
    /// The app's folder, or a package file.
    app: PathBuf,
    /// An input file; repeat it for pairs and lists.
    #[arg(short, long = "input", value_name = "NAME=FILE", value_parser = pair)]
    inputs: Vec<(String, String)>,
    /// A field of the form.
    #[arg(short, long = "param", value_name = "NAME=VALUE", value_parser = pair)]
    params: Vec<(String, String)>,
    /// The folder for the outputs; it must be new or empty.
    #[arg(short = 'o', long = "output", value_name = "OUT")]
    output: PathBuf,
    /// Also write the GA4GH TES task that says the same.
    #[arg(long, value_name = "FILE")]
    tes: Option<PathBuf>,
    #[command(flatten)]
    cache: Cache,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE is wanted")?;
    if name.is_empty() {
        Err("a name is wanted before `=`".to_owned())
    } else {
        Ok((name.to_owned(), value.to_owned()))
    }
}

/// Runs one of the offline commands.
pub(crate) fn run(command: AppCommand, ui: &Ui) -> CliResult {
    match command {
        AppCommand::Init(args) => init(&args, ui),
        AppCommand::Check(args) => check(&args, ui),
        AppCommand::Pack(args) => pack(&args, ui),
        AppCommand::Try(args) => try_app(&args, ui),
        AppCommand::Register(_) | AppCommand::List | AppCommand::Launch(_) => Ok(()),
    }
}

fn source_error(error: SourceError) -> CliError {
    let hint = error.hint();
    let cli = failed(error);
    match hint {
        Some(hint) => cli.hint(hint),
        None => cli,
    }
}

/// The error as the sentence, its causes below it.
fn failed(error: impl std::error::Error) -> CliError {
    let sentence = error.to_string();
    match error.source() {
        Some(cause) => CliError::new(sentence).caused_by(cause),
        None => CliError::new(sentence),
    }
}

fn init(args: &InitArgs, ui: &Ui) -> CliResult {
    source::init(&args.folder).map_err(source_error)?;
    let folder = args.folder.display();
    ui.line(format!("{folder} is an app: app.toml says what it is, run.sh is what runs"));
    ui.line(format!("next: chorion app try {folder} --input text=FILE -o OUT"));
    ui.value(&serde_json::json!({ "folder": args.folder }));
    Ok(())
}

fn check(args: &CheckArgs, ui: &Ui) -> CliResult {
    let source = Source::read(&args.folder).map_err(source_error)?;
    let manifest = source.manifest();
    ui.line(format!("{}: {}", manifest.full_name(), manifest.summary));
    describe(manifest, ui);
    ui.line(format!("manifest digest: {}", manifest.digest()));
    ui.value(&serde_json::json!({ "manifest": manifest, "manifest_digest": manifest.digest() }));
    Ok(())
}

fn describe(manifest: &Manifest, ui: &Ui) {
    for input in &manifest.inputs {
        let count = if input.min == input.max {
            input.min.to_string()
        } else {
            format!("{} to {}", input.min, input.max)
        };
        ui.line(format!("  input   {:24} {} of type {}", input.name, count, input.kind));
    }
    for param in &manifest.params {
        let value = param
            .default
            .as_ref()
            .map_or_else(|| "must be given".to_owned(), |v| format!("`{v}` if not given"));
        ui.line(format!("  param   {:24} {value}", param.name));
    }
    for output in &manifest.outputs {
        ui.line(format!("  output  {:24} {}, at most {}", output.name, output.glob, output.cap));
    }
    let limits = manifest.resources;
    ui.line(format!(
        "  limits  {} cores, {} of memory, {} of scratch, {}",
        limits.cpus, limits.memory, limits.disk, limits.wall_time
    ));
}

impl Cache {
    /// The folder asked for, or `chorion/apps` in the user's cache.
    fn folder(&self) -> CliResult<PathBuf> {
        if let Some(folder) = &self.cache {
            return Ok(folder.clone());
        }
        let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
        base.map(|base| base.join("chorion/apps")).ok_or_else(|| {
            CliError::new(
                "there is no folder for downloads: neither HOME nor XDG_CACHE_HOME is set",
            )
            .hint("name one with `--cache DIR`")
        })
    }

    fn pack(&self, source: &Source, out: &Path, ui: &Ui) -> CliResult<Packed> {
        let folder = self.folder()?.join("packages");
        source.pack(out, &folder, &|what| ui.note(format!("{what} …"))).map_err(source_error)
    }

    /// The app of a folder or of a package file, unpacked and checked byte by byte.
    fn verified(&self, app: &Path, ui: &Ui) -> CliResult<VerifiedApp> {
        let unpacked = AppCache::open(&self.folder()?.join("unpacked")).map_err(failed)?;
        let made;
        let package = if app.is_dir() {
            let source = Source::read(app).map_err(source_error)?;
            let folder = tempfile::tempdir().map_err(|error| {
                CliError::new("no temporary folder can be made").caused_by(error)
            })?;
            let file = folder.path().join(source.package_name());
            let _packed = self.pack(&source, &file, ui)?;
            made = folder;
            made.path().join(source.package_name())
        } else {
            app.to_owned()
        };
        let front = package::read_front(&package).map_err(|error| {
            failed(error).hint(format!("an app is a folder with app.toml, or a .{EXTENSION} file"))
        })?;
        // What lies here already is checked as a new one is; only what does not hold is opened again.
        let digest = front.head.app_digest;
        if let Some(Ok(app)) = unpacked.find(digest).map(|installed| installed.verify()) {
            return Ok(app);
        }
        let installed = unpacked.install(&package, Some(digest)).map_err(failed)?;
        installed.verify().map_err(failed)
    }
}

/// What `pack` says under `--json`.
#[derive(Serialize)]
struct PackReport<'a> {
    file: &'a Path,
    bytes: u64,
    #[serde(flatten)]
    head: &'a package::Head,
    packages: usize,
    times_ms: BTreeMap<&'static str, u128>,
}

fn pack(args: &PackArgs, ui: &Ui) -> CliResult {
    let source = Source::read(&args.folder).map_err(source_error)?;
    let out = args.output.clone().unwrap_or_else(|| source.package_name().into());
    let Packed { file, bytes, front: Front { head, bill, .. }, times } =
        args.cache.pack(&source, &out, ui)?;
    let total: Duration = times.iter().map(|(_, time)| *time).sum();
    ui.line(format!("{}: {}, made in {:.1} s", file.display(), Bytes(bytes), total.as_secs_f64()));
    ui.line(format!(
        "  root      {} entries, {}, from {} packages",
        head.entries,
        Bytes(head.tree_bytes),
        bill.packages.len()
    ));
    ui.line(format!("  digest    {}", head.app_digest));
    let times_ms = times.into_iter().map(|(what, time)| (what, time.as_millis())).collect();
    let packages = bill.packages.len();
    ui.value(&PackReport { file: &file, bytes, head: &head, packages, times_ms });
    Ok(())
}

/// What `try` says under `--json`.
#[derive(Serialize)]
struct TryReport<'a> {
    app: String,
    app_digest: vault::app::Digest,
    end: End,
    output: &'a Path,
    #[serde(flatten)]
    given: &'a Given,
    wall_ms: u128,
    used: sandbox::Used,
    held: sandbox::Held,
}

fn try_app(args: &TryArgs, ui: &Ui) -> CliResult {
    let out = &args.output;
    empty_folder(out)?;
    let app = args.cache.verified(&args.app, ui)?;
    let manifest = app.manifest();
    let (entries, bytes) = app.size();
    ui.note(format!(
        "{}: every byte of its root checked ({entries} entries, {})",
        manifest.full_name(),
        Bytes(bytes)
    ));
    let (launch, mounts) = launch(args, &app)?;
    if let Some(file) = &args.tes {
        let text = serde_json::to_vec_pretty(&launch.to_tes())
            .expect("a TES task serializes because it holds only JSON types");
        std::fs::write(file, text).map_err(|error| {
            CliError::new(format!("{} cannot be written", file.display())).caused_by(error)
        })?;
    }

    let spec = Spec {
        app: &app,
        argv: &launch.argv,
        env: &launch.env,
        inputs: &mounts,
        limits: launch.limits,
    };
    let mut stderr = anstream::stderr();
    let finished = sandbox::run(&spec, &Stop::default(), &mut |_: Stream, printed: &[u8]| {
        let _unwritable_stderr_changes_nothing = stderr.write_all(printed);
    });
    let finished = finished.map_err(|error| {
        let hint = error.hint();
        let cli = failed(error);
        match hint {
            Some(hint) => cli.hint(hint),
            None => cli,
        }
    })?;

    write(&out.join("stdout.txt"), &finished.stdout)?;
    write(&out.join("stderr.txt"), &finished.stderr)?;
    judge(&finished, manifest, out)?;
    let given = launch.take_outputs(&finished.outputs).map_err(|error| {
        failed(error)
            .hint("the app ended well, but its outputs are not those that its manifest declares")
    })?;
    for file in &given.files {
        let place = out.join(&file.path);
        take(&finished, &file.path, &place).map_err(|error| {
            CliError::new(format!("{} cannot be written", place.display())).caused_by(error)
        })?;
    }
    say(ui, &finished, &given, out);
    ui.value(&TryReport {
        app: manifest.full_name(),
        app_digest: app.digest(),
        end: finished.end,
        output: out,
        given: &given,
        wall_ms: finished.wall.as_millis(),
        used: finished.used,
        held: finished.held,
    });
    Ok(())
}

fn empty_folder(out: &Path) -> CliResult {
    let made = std::fs::create_dir_all(out).and_then(|()| std::fs::read_dir(out));
    let mut entries = made.map_err(|error| {
        CliError::new(format!("{} cannot be made", out.display())).caused_by(error)
    })?;
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(CliError::new(format!(
            "{} is not empty, and nothing is overwritten",
            out.display()
        ))
        .hint("name a new folder after `-o`")),
    }
}

/// The launch that the arguments ask for, and where its inputs lie.
fn launch(args: &TryArgs, app: &VerifiedApp) -> CliResult<(Launch, Vec<Mount>)> {
    let manifest = app.manifest();
    let mut request = TaskRequest {
        name: format!("try {}", manifest.full_name()),
        output_url: format!("file://{}", args.output.display()),
        ..TaskRequest::default()
    };
    for (name, text) in &args.params {
        let Some(param) = manifest.param(name) else {
            let names: Vec<_> = manifest.params.iter().map(|param| &*param.name).collect();
            return Err(CliError::new(format!(
                "app {} has no field `{name}`",
                manifest.full_name()
            ))
            .hint(format!("its fields are: {}", names.join(", "))));
        };
        let value = param.read(text).map_err(|reason| {
            CliError::new(format!("--param {name}: {reason}")).hint(param.help.clone())
        })?;
        if request.params.insert(name.clone(), value).is_some() {
            return Err(CliError::new(format!("--param {name} is given twice")));
        }
    }
    let mut places = BTreeMap::new();
    for (name, file) in &args.inputs {
        let path = Path::new(file);
        if !path.is_file() {
            return Err(CliError::new(format!("--input {name}: {file} is not a file")));
        }
        let own = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let guest = format!("{name}/{own}");
        let _same_name_is_refused_below = places.insert(guest, path.to_owned());
        let file = TaskFile { name: own, url: format!("file://{file}") };
        request.inputs.entry(name.clone()).or_default().push(file);
    }
    let launch = manifest.launch(app.digest(), request).map_err(|error| {
        let hint = match &error {
            TaskError::Input { .. } => Some("`chorion app check` lists inputs, fields and outputs; give each file with `--input NAME=FILE`"),
            _ => None,
        };
        let cli = failed(error);
        match hint {
            Some(hint) => cli.hint(hint),
            None => cli,
        }
    })?;
    let mounts = launch.inputs.iter().filter_map(|input| {
        let host = places.get(&input.guest)?.clone();
        Some(Mount { host, guest: input.guest.clone() })
    });
    let mounts = mounts.collect();
    Ok((launch, mounts))
}

/// Whether the program ended well; if not, why, and where its words are.
fn judge(finished: &Finished, manifest: &Manifest, out: &Path) -> CliResult {
    let limits = manifest.resources;
    let (what, hint) = match finished.end {
        End::Exited(0) => return Ok(()),
        End::Exited(code) => (
            format!("ended with exit code {code}"),
            format!("what it printed is in {}", out.join("stderr.txt").display()),
        ),
        End::OutOfTime => (
            format!("was killed after {}", limits.wall_time),
            "raise wall_time under [resources]".to_owned(),
        ),
        End::OutOfMemory => (
            format!("ran out of memory ({} and {} of scratch)", limits.memory, limits.disk),
            "raise memory or disk under [resources]".to_owned(),
        ),
        End::OverOutputCap => (
            format!("made more than {} of outputs and prints", manifest.output_cap()),
            "raise cap of the [[output]] that grows".to_owned(),
        ),
        End::Stopped => ("was stopped".to_owned(), "start it again".to_owned()),
    };
    Err(CliError::new(format!("app {} {what}", manifest.full_name())).hint(hint))
}

fn write(place: &Path, bytes: &[u8]) -> CliResult {
    std::fs::write(place, bytes).map_err(|error| {
        CliError::new(format!("{} cannot be written", place.display())).caused_by(error)
    })
}

fn take(finished: &Finished, path: &str, place: &Path) -> std::io::Result<()> {
    if let Some(folder) = place.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut from = finished.outputs.open(path)?;
    let mut to = std::fs::File::create_new(place)?;
    let _bytes = std::io::copy(&mut from, &mut to)?;
    Ok(())
}

fn say(ui: &Ui, finished: &Finished, given: &Given, out: &Path) {
    for file in &given.files {
        let place = out.join(&file.path);
        ui.line(format!(
            "  {:12} {:>10}  {}",
            file.output,
            Bytes(file.bytes).to_string(),
            place.display()
        ));
    }
    for path in &given.undeclared {
        ui.note(format!("`{path}` matches no output of the manifest and stays inside"));
    }
    let used = finished.used;
    let memory =
        used.peak_memory_bytes.map_or_else(|| "not counted".to_owned(), |b| Bytes(b).to_string());
    let cpu = used
        .cpu_ms
        .map_or_else(|| "not counted".to_owned(), |ms| format!("{}.{:03} s", ms / 1000, ms % 1000));
    ui.line(format!(
        "took {:.1} s, processors {cpu}, memory {memory}",
        finished.wall.as_secs_f64()
    ));
    ui.line(format!("limits held: {}", finished.held));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_has_a_name_and_may_have_an_equals_sign_in_its_value() {
        assert_eq!(pair("a=b=c").unwrap(), ("a".to_owned(), "b=c".to_owned()));
        assert_eq!(pair("a=").unwrap(), ("a".to_owned(), String::new()));
        assert!(pair("=b").is_err() && pair("ab").is_err());
    }

    #[test]
    fn a_folder_with_something_in_it_is_not_written_to() {
        let folder = tempfile::tempdir().unwrap();
        assert!(empty_folder(&folder.path().join("new/below")).is_ok());
        assert!(empty_folder(folder.path()).is_err());
    }
}
