//! An app turns inputs into a result: checked inputs on memory-backed scratch, the sandbox, sealed outputs.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use api::{DatasetKind, Digest, LaunchSettings, TaskId};
use proof::ReceiptOutput;

use super::input::Input;
use super::output::{Output, Senders, Version};
use super::{Made, TaskError, Work};
use crate::app::manifest::{FileKind, Input as Wanted};
use crate::app::tree::Pattern;
use crate::app::{self, AppCache, Launch, Manifest, TaskFile, TaskRequest, VerifiedApp};
use crate::sandbox::{self, End, Finished, Mount, Scratch, Spec, Stop};

/// A failure of the package.
const UNUSABLE: &str = "its package cannot be used";
/// A failure of what was asked for.
const UNFIT: &str = "inputs or form do not fit its manifest";

pub(super) fn run(work: &Work<'_>, made: &mut Made) -> Result<(), TaskError> {
    let claimed = work.claimed.result.as_ref().ok_or(TaskError::Settings { what: "result" })?;
    let result = work.dataset_keys().open(&claimed.key)?;
    let settings = result.open_label("launch settings", &claimed.settings)?;
    work.approved.settings(Some(&settings))?;
    let settings: LaunchSettings =
        serde_json::from_slice(&settings).map_err(|_| TaskError::Settings { what: "settings" })?;

    let senders = Senders::start(&work.hub);
    let mut output = Output::new(result);
    let dataset = output.key().dataset();
    let verdict = work_on(work, made, &settings, &senders, &mut output);
    // What went wrong in detail may name files: it is sealed with what was printed.
    if let Err(TaskError::App { class, detail }) = &verdict {
        output.file(&senders, "log/error.txt", format!("{class}: {detail}\n").as_bytes())?;
    }
    let version = Version::first(&work.claimed.hub, work.keys.receipt_key());
    let manifest = output.close(&work.hub, &senders, version)?;
    made.outputs.push(ReceiptOutput { dataset, manifest });
    verdict
}

fn work_on(
    work: &Work<'_>,
    made: &mut Made,
    settings: &LaunchSettings,
    senders: &Senders,
    output: &mut Output,
) -> Result<(), TaskError> {
    let app = install(work, made)?;
    made.app = Some(Digest(*app.digest().as_bytes()));
    work.approved.manifest(&app.manifest().canonical())?;
    let mut inputs = Vec::new();
    for claimed in work.claimed.inputs.iter().filter(|i| i.kind != DatasetKind::App) {
        let input = Input::open(&work.hub, claimed, &work.dataset_keys())?;
        made.inputs
            .push(ReceiptOutput { dataset: input.dataset(), manifest: input.manifest_digest() });
        inputs.push((claimed.name.clone(), input));
    }
    work.progress(10);

    let scratch = Scratch::in_memory().map_err(refused("there is no scratch in memory"))?;
    let chosen = choose(app.manifest(), &inputs, settings)?;
    let launch = launch(work.config.task, &app, &chosen, settings)?;
    let mounts = lay_out(&scratch, &chosen)?;
    work.progress(20);

    let spec = Spec {
        app: &app,
        argv: &launch.argv,
        env: &launch.env,
        inputs: &mounts,
        limits: launch.limits,
    };
    let finished = sandbox::run(&spec, &Stop::default(), &mut |_stream, _printed| {})
        .map_err(refused("the sandbox refused to start it"))?;
    work.progress(80);
    seal(senders, output, &launch, &finished)
}

/// A failure whose class the hub may know, and whose detail is sealed.
fn refused<E: std::fmt::Display>(class: &'static str) -> impl Fn(E) -> TaskError {
    move |error| TaskError::App { class: class.to_owned(), detail: error.to_string() }
}

/// The app, from the cache or from its package, every byte of it checked now.
fn install(work: &Work<'_>, made: &mut Made) -> Result<VerifiedApp, TaskError> {
    let registered = work.claimed.app.as_ref().ok_or(TaskError::Settings { what: "app" })?;
    let digest = app::Digest::from_bytes(registered.digest.0);
    let cache = AppCache::open(&work.config.app_cache).map_err(refused(UNUSABLE))?;
    if let Some(app) = cache.find(digest).and_then(|installed| installed.verify().ok()) {
        return Ok(app);
    }
    let claimed = work.claimed.inputs.iter().find(|i| i.kind == DatasetKind::App);
    let claimed = claimed.ok_or(TaskError::Settings { what: "app's package" })?;
    let package = Input::open(&work.hub, claimed, &work.dataset_keys())?;
    made.inputs
        .push(ReceiptOutput { dataset: package.dataset(), manifest: package.manifest_digest() });
    let [file] = package.files() else { return Err(TaskError::Settings { what: "app's package" }) };
    let scratch = Scratch::in_memory().map_err(refused("there is no scratch in memory"))?;
    let path = scratch.path().join("package");
    copy(&package, file, &path)?;
    let installed = cache.install(&path, Some(digest)).map_err(refused(UNUSABLE))?;
    installed.verify().map_err(refused(UNUSABLE))
}

/// One file that the app will see.
struct Chosen<'a> {
    input: String,
    name: String,
    dataset: &'a Input,
    file: &'a proof::FileEntry,
}

/// The files of each input dataset: by the person's patterns, or by what the manifest's type takes.
fn choose<'a>(
    manifest: &Manifest,
    inputs: &'a [(String, Input)],
    settings: &LaunchSettings,
) -> Result<Vec<Chosen<'a>>, TaskError> {
    let mut chosen: Vec<Chosen<'a>> = Vec::new();
    let mut names: HashSet<(String, String)> = HashSet::new();
    for (number, (name, dataset)) in inputs.iter().enumerate() {
        let Some(wanted) = manifest.input(name) else {
            return Err(refused(UNFIT)(format!("there is no input called {name}")));
        };
        let patterns = patterns(settings, name)?;
        let files: Vec<_> =
            dataset.files().iter().filter(|f| takes(wanted, &patterns, &f.path)).collect();
        let plain = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
        // Two datasets may hold files of one name: those of the later one get its number in front, mates and indexes alike.
        let clash = files.iter().any(|f| names.contains(&(name.clone(), plain(&f.path))));
        for file in files {
            let base = plain(&file.path);
            let unique = if clash { format!("{}_{base}", number + 1) } else { base };
            names.insert((name.clone(), unique.clone()));
            chosen.push(Chosen { input: name.clone(), name: unique, dataset, file });
        }
    }
    Ok(chosen)
}

fn patterns(settings: &LaunchSettings, input: &str) -> Result<Vec<Pattern>, TaskError> {
    let texts = settings.files.get(input).map_or(&[][..], Vec::as_slice);
    texts.iter().map(|text| Pattern::parse(text).map_err(refused(UNFIT))).collect()
}

/// Whether a file is for this input. A vault's own records of a result (`log/…`, `task.json`) never are.
fn takes(wanted: &Wanted, patterns: &[Pattern], path: &str) -> bool {
    if !patterns.is_empty() {
        return patterns.iter().any(|p| p.matches(path));
    }
    let endings = wanted.kind.endings();
    let ends = |endings: &[&str]| endings.iter().any(|ending| path.ends_with(ending));
    let own_record = path.starts_with("log/") || path == "task.json";
    !own_record && (endings.is_empty() || ends(endings) || ends(FileKind::Index.endings()))
}

fn launch(
    task: TaskId,
    app: &VerifiedApp,
    chosen: &[Chosen<'_>],
    settings: &LaunchSettings,
) -> Result<Launch, TaskError> {
    let mut inputs: BTreeMap<String, Vec<TaskFile>> = BTreeMap::new();
    for file in chosen {
        let url = format!("chorion:{}/{}", file.dataset.dataset(), file.file.path);
        inputs
            .entry(file.input.clone())
            .or_default()
            .push(TaskFile { name: file.name.clone(), url });
    }
    let mut params = BTreeMap::new();
    for (name, text) in &settings.params {
        let param = app.manifest().param(name);
        let param =
            param.ok_or_else(|| refused(UNFIT)(format!("there is no field called {name}")))?;
        params.insert(name.clone(), param.read(text).map_err(refused(UNFIT))?);
    }
    let request = TaskRequest {
        name: task.to_string(),
        inputs,
        params,
        output_url: "chorion:result".to_owned(),
    };
    app.manifest().launch(app.digest(), request).map_err(refused(UNFIT))
}

/// Opens the chosen files onto scratch in memory.
fn lay_out(scratch: &Scratch, chosen: &[Chosen<'_>]) -> Result<Vec<Mount>, TaskError> {
    let mut mounts = Vec::with_capacity(chosen.len());
    for (number, file) in chosen.iter().enumerate() {
        let host = scratch.path().join(format!("input-{number}"));
        copy(file.dataset, file.file, &host)?;
        mounts.push(Mount { host, guest: format!("{}/{}", file.input, file.name) });
    }
    Ok(mounts)
}

fn copy(from: &Input, file: &proof::FileEntry, to: &Path) -> Result<(), TaskError> {
    let scratch = |source| TaskError::Scratch { what: "an input", source };
    let mut out = BufWriter::with_capacity(1 << 20, File::create_new(to).map_err(scratch)?);
    from.copy_to(file, &mut out)?;
    out.into_inner().map_err(|e| scratch(e.into_error()))?;
    Ok(())
}

/// Seals what the app made and what it printed; the records are there also when it failed.
fn seal(
    senders: &Senders,
    output: &mut Output,
    launch: &Launch,
    finished: &Finished,
) -> Result<(), TaskError> {
    output.file(senders, "log/stdout.txt", &finished.stdout)?;
    output.file(senders, "log/stderr.txt", &finished.stderr)?;
    let document = serde_json::to_vec_pretty(&launch.to_tes())
        .expect("a TES task serializes because it holds texts and numbers");
    output.file(senders, "task.json", &document)?;
    match finished.end {
        end if end.is_success() => {}
        End::Exited(code) => {
            let class = format!("its program ended with exit code {code}");
            return Err(TaskError::App { class, detail: "see what it printed".to_owned() });
        }
        end => {
            let class = format!("its program was ended: {end:?}");
            return Err(TaskError::App { class, detail: "see what it printed".to_owned() });
        }
    }
    let given = launch
        .take_outputs(&finished.outputs)
        .map_err(refused("its outputs are not those it declares"))?;
    for file in &given.files {
        let unreadable = |source| TaskError::Scratch { what: "an output", source };
        let mut from = finished.outputs.open(&file.path).map_err(unreadable)?;
        output.copy(senders, &file.path, &mut from)?;
    }
    Ok(())
}
