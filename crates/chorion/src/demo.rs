//! `chorion demo`: the whole story on a bundled run of real reads, played with the same commands that a person would type.
//!
//! Every step runs this program again as a process of its own, prints the command, its time and what it proved, and fails the
//! demo if what it must prove is not so. Judges from outside (samtools, bcftools, a search through the stored bytes) have the
//! last word where there is one. What this version lacks is printed as missing.

mod clinic;
mod judge;
mod owner;
mod stage;

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use crate::report::{CliError, CliResult, Ui};
use judge::{Figures, Truth};
use stage::{Hub, Person, Story};

/// Where the demo finds its parts.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// End after the last step; the exit code says whether every step held.
    #[arg(long)]
    once: bool,
    /// The bundle: a run folder below `runs/`, `reference/`, `truth.json`.
    #[arg(long, default_value = "testing/demo")]
    bundle: PathBuf,
    /// The apps to pack.
    #[arg(long, default_value = "apps")]
    apps: PathBuf,
    /// Where packed apps and their downloads are kept between demos.
    #[arg(long, default_value = "target/apps")]
    cache: PathBuf,
    /// The stand-in of a cloud in which the clinic of the story holds its key; Python runs it.
    #[arg(long, default_value = "testing/kms/aws.py")]
    cloud: PathBuf,
    /// Where the hub and the people of the story live; a temporary folder if absent.
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// What this version lacks, said at the end of every demo.
const MISSING: [&str; 1] =
    ["an attested vault here: every vault of this demo is unattested, NOT CONFIDENTIAL"];

/// The demo as one JSON document.
#[derive(Debug, Serialize)]
struct Outcome {
    complete: bool,
    steps: Vec<stage::Step>,
    figures: Option<Figures>,
    missing: Vec<String>,
    hub: Option<String>,
}

pub(crate) fn run(args: &DemoArgs, ui: Ui) -> CliResult {
    let temporary = tempfile::Builder::new()
        .prefix("chorion-demo-")
        .tempdir()
        .map_err(|e| CliError::new("there is no temporary folder for the demo").caused_by(e))?;
    let dir = match &args.dir {
        Some(dir) => std::path::absolute(dir),
        None => Ok(temporary.path().to_owned()),
    }
    .map_err(|e| CliError::new("the demo's folder cannot be named").caused_by(e))?;
    let mut story = Story::new(ui);
    let mut figures = None;
    let mut missing: Vec<String> = MISSING.iter().map(|line| (*line).to_owned()).collect();
    let cloud = match clinic::Cloud::start(&args.cloud) {
        Ok(cloud) => Some(cloud),
        Err(why) => {
            missing.push(format!("the clinic's story: its cloud is a stand-in, and {why}"));
            None
        }
    };
    let hub = play(args, &dir, cloud.as_ref(), &mut story, &mut figures);
    story.table();
    if let Some(figures) = &figures {
        ui.line(figures);
    }
    ui.line("\nMissing in this version:");
    missing.iter().for_each(|missing| ui.line(format!("  - {missing}")));
    let address = hub.as_ref().ok().map(|(hub, _)| hub.url().to_owned());
    let outcome = Outcome {
        complete: hub.is_ok(),
        steps: story.into_steps(),
        figures,
        missing,
        hub: address,
    };
    ui.value(&outcome);
    let (hub, operator) = hub?;
    if args.once {
        return hub.stop();
    }
    ui.line(format!("\nThe hub goes on answering at {} until you press Ctrl-C. To call it from another terminal:", hub.url()));
    ui.line(format!("  export CHORION_HOME={}\n  chorion run list", operator.home().display()));
    hub.wait()
}

/// Plays the story; the hub goes on running in what is given back.
fn play(
    args: &DemoArgs,
    dir: &Path,
    cloud: Option<&clinic::Cloud>,
    story: &mut Story,
    figures: &mut Option<Figures>,
) -> CliResult<(Hub, Person)> {
    let run = judge::bundled_run(&args.bundle)?;
    let truth = Truth::read(&args.bundle)?;

    story.say("Real reads (NA12878, Illumina), put into a run folder by us; the hub, the vault and the people are all on this machine.");
    let hub = story.step(
        "the hub starts: TLS, a certificate authority of its own, two facilities",
        |_| {
            let hub = Hub::start(dir, cloud.map(clinic::Cloud::url))?;
            let proved = format!("answers at {}", hub.url());
            Ok((hub, proved))
        },
    )?;
    let operator = Person::new(dir, "core");
    story.step("the core facility enrols its key with the one-time code", |s| {
        let who = operator.call(
            s,
            &[
                "login",
                "--hub",
                hub.url(),
                "--ca",
                hub.ca(),
                "--code",
                hub.code(),
                "--name",
                "Core facility",
            ],
        )?;
        Ok(((), format!("key {} signs every call from now on", text(&who, "/key/id")?)))
    })?;

    let mut projects = Vec::new();
    story.step("three projects: one for the run, two for the samples", |s| {
        for name in ["sequencing", "heron", "kestrel"] {
            let made = operator.call(s, &["project", "create", name])?;
            projects.push(text(&made, "/id")?);
        }
        let card = operator.call(s, &["project", "card", &projects[0]])?;
        Ok(((), format!("six words of the first card: {}", text(&card, "/phrase")?)))
    })?;
    let [lab, heron, kestrel] = &projects[..] else {
        return Err(CliError::new("three projects were to be made"));
    };

    let run_id =
        story.step("the run is sent, sealed before it leaves, while the folder grows", |s| {
            let growing = dir.join("instrument").join(run.file_name().unwrap_or_default());
            let instrument = judge::grow(&run, &growing)?;
            let card = operator.call(s, &["project", "card", lab])?;
            let phrase = text(&card, "/phrase")?;
            let (heron, kestrel) = (format!("heron={heron}"), format!("kestrel={kestrel}"));
            let folder = growing.display().to_string();
            let sent = operator.call(
                s,
                &[
                    "run",
                    "send",
                    &folder,
                    "--project",
                    lab,
                    "--map",
                    &heron,
                    "--map",
                    &kestrel,
                    "--card-phrase",
                    &phrase,
                    "--poll-seconds",
                    "1",
                ],
            )?;
            instrument
                .join()
                .map_err(|_| CliError::new("the instrument of the demo stopped"))??;
            let id = text(&sent, "/id")
                .or_else(|_| text(&sent, "/dataset"))
                .or_else(|_| text(&sent, "/run"))?;
            let dataset = operator.call(s, &["run", "show", &id])?;
            Ok((
                id,
                format!(
                    "closed by a signed manifest that the hub compared: {} sealed objects",
                    number(&dataset, "/dataset/objects")?
                ),
            ))
        })?;

    let samples = story.step("the run becomes samples, each sealed to its own project", |s| {
        operator.wait_for_run(s, &run_id)?;
        let samples = operator.call(s, &["sample", "list", "--parent", &run_id])?;
        let samples = judge::samples(&samples, &truth)?;
        Ok((
            samples,
            "four samples with exactly the reads of the truth file, two in each project".to_owned(),
        ))
    })?;

    story.step("a sample comes back: downloaded, opened, compared byte for byte", |s| {
        let offline = dir.join("offline");
        operator.call(s, &["demux", &run.display().to_string(), "-o", &offline.display().to_string()])?;
        let mut compared = 0;
        for (name, id) in &samples {
            let to = dir.join("samples").join(name);
            operator.call(s, &["sample", "download", id, "-o", &to.display().to_string()])?;
            compared += judge::same_files(&to, &offline)?;
        }
        Ok(((), format!("{compared} FASTQ files equal those of `chorion demux` on the plain folder, and the truth")))
    })?;

    let sessions = stage::Apps::new(args, dir);
    story.step("three apps are packed from Debian's programs and registered", |s| {
        let digests = sessions.register(s, &operator, lab)?;
        Ok(((), digests))
    })?;
    let fasta = dir.join("reference.fa");
    let reference = story.step("the reference is sealed and sent", |s| {
        judge::reference(&args.bundle, &fasta)?;
        let sent = operator.call(
            s,
            &[
                "result",
                "import",
                &fasta.display().to_string(),
                "--project",
                lab,
                "--name",
                "reference",
            ],
        )?;
        let id = text(&sent, "/id")?;
        Ok((id.clone(), format!("result {id}")))
    })?;
    story.step("an app looks at read quality (fastp, in the sandbox)", |s| {
        let reads = format!("reads={}", samples["heron-1"]);
        let shown = operator.call(
            s,
            &[
                "app",
                "launch",
                "read-quality",
                "--input",
                &reads,
                "--project",
                heron,
                "--wait",
                "--yes",
            ],
        )?;
        let result = text(&shown, "/session/result")?;
        let to = dir.join("quality");
        operator.call(s, &["result", "download", &result, "-o", &to.display().to_string()])?;
        let proved = judge::fastp_agrees(&to, truth.reads("heron-1")?)?;
        Ok(((), proved))
    })?;
    let alignment = story.step("an app aligns all four samples (minimap2, samtools)", |s| {
        let inputs: Vec<String> = samples.values().map(|id| format!("reads={id}")).collect();
        let reference = format!("reference={reference}");
        let mut words = vec![
            "app",
            "launch",
            "align",
            "--project",
            lab,
            "--param",
            "sample=NA12878",
            "--wait",
            "--yes",
            "--input",
            &reference,
        ];
        inputs.iter().for_each(|input| words.extend(["--input", input]));
        let shown = operator.call(s, &words)?;
        let result = text(&shown, "/session/result")?;
        Ok((result.clone(), format!("result {result}, with a receipt signed by the vault")))
    })?;
    let variants = story.step("an app calls variants on that result (bcftools)", |s| {
        let (alignments, reference) =
            (format!("alignments={alignment}"), format!("reference={reference}"));
        let shown = operator.call(
            s,
            &[
                "app",
                "launch",
                "call-variants",
                "--input",
                &alignments,
                "--input",
                &reference,
                "--project",
                lab,
                "--wait",
                "--yes",
            ],
        )?;
        let result = text(&shown, "/session/result")?;
        Ok((result.clone(), format!("result {result}, with a receipt signed by the vault")))
    })?;
    *figures = Some(story.step("samtools and bcftools, run outside, say the same", |s| {
        let (bam, vcf) = (dir.join("alignment"), dir.join("variants"));
        operator.call(s, &["result", "download", &alignment, "-o", &bam.display().to_string()])?;
        operator.call(s, &["result", "download", &variants, "-o", &vcf.display().to_string()])?;
        let figures = judge::figures(&bam, &vcf, &fasta)?;
        let proved = figures.agreement();
        Ok((figures, proved))
    })?);

    story.step("nothing readable lies in the hub's files", |_| {
        let searched =
            judge::search(&dir.join("hub"), &judge::canaries(&run, &dir.join("samples"))?)?;
        Ok(((), format!("no read, sample, sheet or project name in {searched}")))
    })?;
    story.step("a byte of a stored object flips; the scrubber heals it", |s| {
        let damaged = hub.flip_a_byte()?;
        let found = operator.call(s, &["store", "scrub"])?;
        let (corrupt, healed) = (number(&found, "/corrupt")?, number(&found, "/healed")?);
        if corrupt != 1 || healed != 1 || !found["lost"].as_array().is_some_and(Vec::is_empty) {
            return Err(CliError::new(format!(
                "the scrubber found {corrupt} corrupt copies and healed {healed}, not one and one"
            )));
        }
        damaged.is_whole()?;
        Ok(((), "found, and written anew from the other facility".to_owned()))
    })?;

    let family = Person::new(dir, "family");
    story.step("a second person sees nothing, until a project is handed over", |s| {
        let invited = operator.call(s, &["account", "invite", "Kestrel family"])?;
        let (code, account) = (text(&invited, "/code")?, text(&invited, "/account/id")?);
        family.call(
            s,
            &[
                "login",
                "--hub",
                hub.url(),
                "--ca",
                hub.ca(),
                "--code",
                &code,
                "--name",
                "Kestrel family",
            ],
        )?;
        let sample = &samples["kestrel-1"];
        family.refused(s, &["sample", "show", sample], "not_found")?;
        let offer = operator.call(s, &["project", "transfer", "offer", kestrel, &account])?;
        family.call(s, &["project", "transfer", "accept", &text(&offer, "/id")?])?;
        family.wait_for_reseal(s, sample)?;
        let to = dir.join("family");
        family.call(s, &["sample", "download", sample, "-o", &to.display().to_string()])?;
        judge::same_files(&to, &dir.join("offline"))?;
        operator.refused(s, &["sample", "show", sample], "not_found")?;
        Ok((
            (),
            "written anew under new keys; the new owner reads it, the old one is refused"
                .to_owned(),
        ))
    })?;
    owner::play(dir, story, &hub, &operator, lab)?;
    if let Some(cloud) = cloud {
        clinic::play(dir, story, &hub, &operator, cloud)?;
    }
    story.step("a project is deleted: keys first, then the bytes, in both facilities", |s| {
        let before = hub.blobs()?;
        let gone = operator.call(s, &["project", "delete", heron, "--yes", "heron"])?;
        operator.refused(s, &["sample", "show", &samples["heron-1"]], "not_found")?;
        let (objects, after) = (number(&gone, "/objects")?, hub.blobs()?);
        if after.saturating_add(2 * objects) > before {
            return Err(CliError::new(format!(
                "{before} blobs before, {after} after, though {objects} objects were deleted"
            )));
        }
        Ok(((), format!("{objects} objects and their keys are gone from both facilities")))
    })?;
    story.step("the audit list tells what was done", |s| {
        let events = operator.call(s, &["audit", "list"])?;
        let acts = judge::acts(&events)?;
        Ok(((), acts))
    })?;
    story.step("the log is verified: it continues, and a witness saw it", |s| {
        let first = operator.call(s, &["audit", "verify"])?;
        let witness =
            family.call(s, &["audit", "witness", "--once", "--name", "witness.demo/kestrel"])?;
        let key = text(&witness, "/witness")?;
        let found = operator.call(s, &["audit", "verify", "--witness", &key])?;
        let before = number(&first, "/leaves")?;
        if number(&found, "/continues")? != before || number(&found, "/receipts")? == 0 {
            return Err(CliError::new(format!(
                "the log of {before} leaves was to be continued, with receipts: {found}"
            )));
        }
        Ok((
            (),
            format!(
                "{} events and {} releases to this machine are in it, {} receipts fit, and it continues the {before} leaves of before",
                number(&found, "/events")?,
                number(&found, "/releases")?,
                number(&found, "/receipts")?,
            ),
        ))
    })?;
    Ok((hub, operator))
}

/// A text inside an answer.
fn text(answer: &Value, pointer: &str) -> CliResult<String> {
    answer.pointer(pointer).and_then(Value::as_str).map(str::to_owned).ok_or_else(|| {
        CliError::new(format!("the answer has no text at {pointer}: {}", json!(answer)))
    })
}

/// A number inside an answer.
fn number(answer: &Value, pointer: &str) -> CliResult<u64> {
    answer.pointer(pointer).and_then(Value::as_u64).ok_or_else(|| {
        CliError::new(format!("the answer has no number at {pointer}: {}", json!(answer)))
    })
}
