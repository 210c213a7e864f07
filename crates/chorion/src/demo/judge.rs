//! Judges of the demo: the truth beside the bundled run, other people's programs, and a search through the stored bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::stage::files;
use super::{number, text};
use crate::report::{CliError, CliResult};

/// Pauses of the demo's instrument: about three seconds for the whole folder.
const PAUSE: Duration = Duration::from_millis(60);
/// After how many files it pauses.
const FILES_PER_PAUSE: usize = 8;

/// What is known of the bundled run.
pub(super) struct Truth(Value);

impl Truth {
    pub(super) fn read(bundle: &Path) -> CliResult<Self> {
        let path = bundle.join("truth.json");
        let unreadable = || {
            CliError::new(format!("{} cannot be read", path.display()))
                .hint("run the demo from a checkout of Chorion, or name the bundle with --bundle")
        };
        let bytes = fs::read(&path).map_err(|e| unreadable().caused_by(e))?;
        Ok(Self(serde_json::from_slice(&bytes).map_err(|e| unreadable().caused_by(e))?))
    }

    /// How many pairs a sample has.
    pub(super) fn reads(&self, sample: &str) -> CliResult<u64> {
        number(&self.0, &format!("/counts/{sample}/reads"))
    }

    fn samples(&self) -> CliResult<BTreeSet<String>> {
        let samples = self.0["samples"].as_array().map(Vec::as_slice).unwrap_or_default();
        samples.iter().map(|s| text(s, "/id")).collect()
    }
}

/// The one run folder of the bundle.
pub(super) fn bundled_run(bundle: &Path) -> CliResult<PathBuf> {
    let runs = bundle.join("runs");
    let absent = || {
        CliError::new(format!("there is no run folder in {}", runs.display()))
            .hint("run the demo from a checkout of Chorion, or name the bundle with --bundle")
    };
    let mut entries = fs::read_dir(&runs).map_err(|e| absent().caused_by(e))?;
    entries.next().and_then(Result::ok).map(|e| e.path()).ok_or_else(absent)
}

/// The bundled reference, opened to a plain FASTA file at `to`, as indexing programs want it.
pub(super) fn reference(bundle: &Path, to: &Path) -> CliResult {
    let packed = files(&bundle.join("reference"))?
        .into_iter()
        .find(|path| path.to_string_lossy().ends_with(".fa.gz"))
        .ok_or_else(|| CliError::new(format!("there is no reference in {}", bundle.display())))?;
    let failed = |e| CliError::new(format!("{} cannot be opened", packed.display())).caused_by(e);
    let mut plain = Vec::new();
    let file = fs::File::open(&packed).map_err(failed)?;
    flate2::read::MultiGzDecoder::new(file).read_to_end(&mut plain).map_err(failed)?;
    fs::write(to, plain).map_err(failed)
}

/// Copies the run folder the way an instrument writes it: base calls cycle by cycle, half a file at first now and then,
/// completion marks last.
pub(super) fn grow(run: &Path, to: &Path) -> CliResult<JoinHandle<CliResult>> {
    let mut paths = files(run)?;
    paths.sort_by_key(|path| order(path));
    let (run, to) = (run.to_owned(), to.to_owned());
    // The folder is there before anybody looks for it.
    copy(&paths[0], &run, &to, false)?;
    Ok(std::thread::spawn(move || {
        for (number, path) in paths.iter().enumerate().skip(1) {
            let slowly = number % 50 == 0;
            copy(path, &run, &to, slowly)?;
            if number % FILES_PER_PAUSE == 0 {
                std::thread::sleep(PAUSE);
            }
        }
        Ok(())
    }))
}

/// RunInfo first, cycles by number, completion marks last.
fn order(path: &Path) -> (u8, u32, PathBuf) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let cycle = path
        .components()
        .filter_map(|c| c.as_os_str().to_str()?.strip_prefix('C')?.strip_suffix(".1")?.parse().ok())
        .next_back()
        .unwrap_or(0);
    let rank = match &*name {
        "RunInfo.xml" => 0,
        "CopyComplete.txt" => 9,
        _ if name.ends_with("Complete.txt") => 8,
        _ if cycle > 0 => 2,
        _ => 1,
    };
    (rank, cycle, path.to_owned())
}

fn copy(path: &Path, run: &Path, to: &Path, slowly: bool) -> CliResult {
    let inside =
        path.strip_prefix(run).expect("the file lies in the run folder because it was found there");
    let target = to.join(inside);
    let failed = |e| {
        CliError::new(format!("the demo's instrument cannot write {}", target.display()))
            .caused_by(e)
    };
    fs::create_dir_all(target.parent().unwrap_or(to)).map_err(failed)?;
    let bytes = fs::read(path).map_err(failed)?;
    if slowly {
        fs::write(&target, &bytes[..bytes.len() / 2]).map_err(failed)?;
        std::thread::sleep(PAUSE);
    }
    fs::write(&target, bytes).map_err(failed)
}

/// The samples by name, if they are those of the truth with exactly its reads.
pub(super) fn samples(listed: &Value, truth: &Truth) -> CliResult<BTreeMap<String, String>> {
    let mut samples = BTreeMap::new();
    let mut projects = BTreeMap::<String, u32>::new();
    for sample in listed.as_array().map(Vec::as_slice).unwrap_or_default() {
        let name = text(sample, "/name")?;
        let (found, expected) = (number(sample, "/reads")?, 2 * truth.reads(&name)?);
        if found != expected {
            return Err(CliError::new(format!(
                "sample {name} has {found} reads, and the truth says {expected}"
            )));
        }
        *projects.entry(text(sample, "/project")?).or_default() += 1;
        samples.insert(name, text(sample, "/id")?);
    }
    let names: BTreeSet<String> = samples.keys().cloned().collect();
    if names != truth.samples()? || !projects.values().all(|count| *count == 2) {
        return Err(CliError::new(format!(
            "the samples are {names:?} in {} projects",
            projects.len()
        )));
    }
    Ok(samples)
}

/// How many FASTQ files of `folder` are byte for byte those of the same name somewhere below `other`.
pub(super) fn same_files(folder: &Path, other: &Path) -> CliResult<usize> {
    let others: BTreeMap<_, _> = files(other)?
        .into_iter()
        .filter_map(|path| Some((path.file_name()?.to_owned(), path)))
        .collect();
    let mut compared = 0;
    for path in files(folder)? {
        let name = path.file_name().unwrap_or_default().to_owned();
        let twin = others.get(&name).ok_or_else(|| {
            CliError::new(format!(
                "{} has no counterpart below {}",
                path.display(),
                other.display()
            ))
        })?;
        let unreadable =
            |e| CliError::new(format!("{} cannot be read", path.display())).caused_by(e);
        if fs::read(&path).map_err(unreadable)? != fs::read(twin).map_err(unreadable)? {
            return Err(CliError::new(format!("{} and {} differ", path.display(), twin.display())));
        }
        compared += 1;
    }
    if compared == 0 {
        return Err(CliError::new(format!("nothing was downloaded to {}", folder.display())));
    }
    Ok(compared)
}

/// Whether fastp counted the reads of the truth.
pub(super) fn fastp_agrees(result: &Path, pairs: u64) -> CliResult<String> {
    let report = files(result)?
        .into_iter()
        .find(|p| p.extension().is_some_and(|e| e == "json") && !p.ends_with("task.json"))
        .ok_or_else(|| CliError::new("fastp left no report"))?;
    let unreadable = |e| CliError::new(format!("{} cannot be read", report.display())).caused_by(e);
    let report: Value = serde_json::from_slice(&fs::read(&report).map_err(unreadable)?)
        .map_err(|e| CliError::new("fastp's report is no JSON").caused_by(e))?;
    let counted = number(&report, "/summary/before_filtering/total_reads")?;
    if counted != 2 * pairs {
        return Err(CliError::new(format!(
            "fastp counted {counted} reads, and the truth says {}",
            2 * pairs
        )));
    }
    let q30 = report
        .pointer("/summary/before_filtering/q30_rate")
        .and_then(Value::as_f64)
        .unwrap_or_default();
    Ok(format!("fastp counted {counted} reads, as the truth says; Q30 {:.1} %", q30 * 100.0))
}

/// What came out in the end, and what others say of it.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    reads: u64,
    mapped: u64,
    mapped_percent: f64,
    mean_depth: f64,
    variants: u64,
    judged_by: Vec<String>,
}

impl Figures {
    pub(super) fn agreement(&self) -> String {
        format!(
            "{} of {} reads mapped and {} variants, by {}",
            self.mapped,
            self.reads,
            self.variants,
            self.judged_by.join(", ")
        )
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nmapped: {:.2} % of {} reads", self.mapped_percent, self.reads)?;
        writeln!(f, "mean depth: {:.2}", self.mean_depth)?;
        write!(f, "variants, all reads called together: {}", self.variants)
    }
}

/// Compares the app's alignment and variants with samtools and bcftools outside.
pub(super) fn figures(bam: &Path, vcf: &Path, reference: &Path) -> CliResult<Figures> {
    let find = |folder: &Path, ending: &str| {
        files(folder)?
            .into_iter()
            .find(|p| p.to_string_lossy().ends_with(ending))
            .ok_or_else(|| CliError::new(format!("the result has no *{ending}")))
    };
    let (bam, vcf) = (find(bam, ".bam")?, find(vcf, ".vcf.gz")?);
    let (bam_path, vcf_path) = (bam.display().to_string(), vcf.display().to_string());
    outside("samtools", &["quickcheck", &bam_path])?;
    let count = |words: &[&str]| -> CliResult<u64> {
        let out = outside("samtools", words)?;
        out.trim().parse().map_err(|e| CliError::new("samtools gave no count").caused_by(e))
    };
    // Primary records alone: not secondary (256), not supplementary (2048); mapped: not 4 either.
    let reads = count(&["view", "-c", "-F", "2304", &bam_path])?;
    let mapped = count(&["view", "-c", "-F", "2308", &bam_path])?;
    let depth = outside("samtools", &["depth", "-a", &bam_path])?;
    let depths: Vec<u64> =
        depth.lines().filter_map(|l| l.rsplit('\t').next()?.parse().ok()).collect();

    let theirs = sites(&call_outside(reference, &bam)?);
    let ours = sites(&outside("bcftools", &["view", "-H", &vcf_path])?);
    if ours != theirs {
        let only_ours = ours.difference(&theirs).count();
        let only_theirs = theirs.difference(&ours).count();
        return Err(CliError::new(format!(
            "the app's variants are not bcftools' own: {only_ours} only in ours, {only_theirs} only in theirs"
        )));
    }
    #[expect(clippy::cast_precision_loss, reason = "shares and means of counts far below 2^52")]
    let (mapped_percent, mean_depth) = (
        100.0 * mapped as f64 / reads.max(1) as f64,
        depths.iter().sum::<u64>() as f64 / depths.len().max(1) as f64,
    );
    if !(90.0..=100.0).contains(&mapped_percent) {
        return Err(CliError::new(format!("only {mapped_percent:.1} % of the reads are mapped")));
    }
    let version = |program| {
        outside(program, &["--version"]).map(|v| v.lines().next().unwrap_or_default().to_owned())
    };
    let judged_by = vec![version("samtools")?, version("bcftools")?];
    Ok(Figures {
        reads,
        mapped,
        mapped_percent,
        mean_depth,
        variants: ours.len() as u64,
        judged_by,
    })
}

/// Position and alleles of every variant.
fn sites(records: &str) -> BTreeSet<String> {
    let fields = |line: &str| line.split('\t').take(5).map(str::to_owned).collect::<Vec<_>>();
    let site =
        |f: &[String]| Some(format!("{}:{} {}>{}", f.first()?, f.get(1)?, f.get(3)?, f.get(4)?));
    records.lines().filter(|l| !l.starts_with('#')).filter_map(|l| site(&fields(l))).collect()
}

/// `bcftools mpileup | bcftools call` on this machine, with its own settings, which are the app's too.
fn call_outside(reference: &Path, bam: &Path) -> CliResult<String> {
    let failed = |e| CliError::new("bcftools could not be started").caused_by(e);
    let mut pileup = Command::new("bcftools")
        .args(["mpileup", "-Ou", "-f"])
        .arg(reference)
        .arg(bam)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let from = pileup.stdout.take().expect("standard output is a pipe because it was asked for");
    let out = Command::new("bcftools")
        .args(["call", "-mv", "--ploidy", "2", "-Ov"])
        .stdin(from)
        .stderr(Stdio::null())
        .output()
        .map_err(failed)?;
    let pileup = pileup.wait().map_err(failed)?;
    if !pileup.success() || !out.status.success() {
        return Err(CliError::new("bcftools outside ended with an error"));
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

fn outside(program: &str, words: &[&str]) -> CliResult<String> {
    let out = Command::new(program).args(words).stdin(Stdio::null()).output().map_err(|e| {
        CliError::new(format!("{program} could not be started"))
            .caused_by(e)
            .hint("`testing/setup.sh demo` installs it")
    })?;
    if out.status.success() {
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    } else {
        let said = String::from_utf8_lossy(&out.stderr);
        Err(CliError::new(format!("{program} {} failed: {}", words[0], said.trim())))
    }
}

/// What must lie nowhere in clear: names, pieces of the sheet, and reads in both of their forms.
pub(super) fn canaries(run: &Path, samples: &Path) -> CliResult<Vec<Vec<u8>>> {
    let mut canaries: Vec<Vec<u8>> =
        ["heron-1", "kestrel-2", "BCLConvert", "Sample_Project", "NumCycles"]
            .map(|c| c.into())
            .into();
    if let Some(name) = run.file_name() {
        canaries.push(name.to_string_lossy().into_owned().into_bytes());
    }
    let fastq = files(samples)?
        .into_iter()
        .next()
        .ok_or_else(|| CliError::new("no sample was downloaded"))?;
    let unreadable = |e| CliError::new(format!("{} cannot be read", fastq.display())).caused_by(e);
    let packed = fs::read(&fastq).map_err(unreadable)?;
    let mut plain = String::new();
    flate2::read::MultiGzDecoder::new(&packed[..])
        .read_to_string(&mut plain)
        .map_err(unreadable)?;
    canaries.extend(
        plain.lines().skip(1).step_by(4).take(20).map(|read| read.as_bytes()[..24].to_vec()),
    );
    // A piece of the compressed file too: what was compressed before it was sealed must not lie there either.
    canaries.push(packed[packed.len() / 2..packed.len() / 2 + 24].to_vec());
    Ok(canaries)
}

/// Searches every file below `folder`; the error names the file that holds a canary.
pub(super) fn search(folder: &Path, canaries: &[Vec<u8>]) -> CliResult<String> {
    let (mut count, mut bytes) = (0, 0);
    for path in files(folder)? {
        let content = fs::read(&path).map_err(|e| {
            CliError::new(format!("{} cannot be read", path.display())).caused_by(e)
        })?;
        for canary in canaries {
            if memchr::memmem::find(&content, canary).is_some() {
                let shown = String::from_utf8_lossy(canary);
                return Err(CliError::new(format!("{} holds `{shown}` in clear", path.display())));
            }
        }
        count += 1;
        bytes += content.len();
    }
    Ok(format!("{count} files, {} MiB", bytes >> 20))
}

/// What the audit list tells, if the acts of the story are all in it.
pub(super) fn acts(events: &Value) -> CliResult<String> {
    let mut acts = BTreeMap::<&str, u32>::new();
    for event in events.as_array().map(Vec::as_slice).unwrap_or_default() {
        *acts.entry(event["act"].as_str().unwrap_or_default()).or_default() += 1;
    }
    for needed in ["release", "delete", "transfer", "enrol"] {
        if !acts.keys().any(|act| act.contains(needed)) {
            return Err(CliError::new(format!(
                "the audit list has no act of kind {needed}: {acts:?}"
            )));
        }
    }
    let total: u32 = acts.values().sum();
    Ok(format!("{total} events of {} kinds", acts.len()))
}
