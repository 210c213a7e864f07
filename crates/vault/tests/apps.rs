//! The shipped apps, packed from Debian packages by the machine's own apt, on real reads.
//!
//! Reads: the MIT-licensed BAM of `CHORION_TEST_DATA`, turned into FASTQ inside the sandbox by the samtools of an app. Where
//! the data, bubblewrap, or apt's packages cannot be had, a test says 'skipped: not here'.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests, outside the functions that clippy knows as tests"
)]

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use vault::app::debian::DebianError;
use vault::app::manifest::ParamValue;
use vault::app::source::{Source, SourceError};
use vault::app::task::Given;
use vault::app::{AppCache, TaskFile, TaskRequest, VerifiedApp};
use vault::sandbox::{self, End, Finished, Limits, Mount, Scratch, Spec, Stop};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Packs one of `apps/` and opens the package; `None` when this machine cannot.
fn app(name: &str) -> Option<VerifiedApp> {
    if sandbox::probe().is_err() || !Path::new("/usr/bin/apt-get").exists() {
        println!("skipped: not here (bubblewrap or apt)");
        return None;
    }
    let cache = root().join("target/app-cache");
    let source = Source::read(&root().join("apps").join(name)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(source.package_name());
    match source.pack(&file, &cache.join("packages"), &|_| {}) {
        Ok(packed) => {
            let unpacked = AppCache::open(&cache.join("unpacked")).unwrap();
            let app = unpacked.install(&file, Some(packed.front.head.app_digest)).unwrap();
            Some(app.verify().unwrap())
        }
        Err(SourceError::Debian(DebianError::Refused { said, .. })) => {
            println!("skipped: not here (apt cannot reach its archive: {said})");
            None
        }
        Err(error) => panic!("{name}: {error:?}"),
    }
}

/// Read pairs as two lanes of one sample, and the reference they belong to. Lives as long as the tests.
struct Reads {
    scratch: Scratch,
}

fn reads(samtools: &VerifiedApp) -> Option<&'static Reads> {
    static READS: OnceLock<Option<Reads>> = OnceLock::new();
    let reads = READS.get_or_init(|| {
        let data = std::env::var_os("CHORION_TEST_DATA").map(PathBuf::from)?;
        let bam = data.join("htsget/bam/htsnexus_test_NA12878.bam");
        if !bam.is_file() {
            return None;
        }
        // Pairs of the region that the reference covers, the reads of each pair together.
        let script = "samtools view -u /data/input/x.bam 20:5999958-6100000 | samtools collate -u -O - /tmp/c \
                      | samtools fastq -n -0 /dev/null -s /dev/null -1 /data/output/1 -2 /data/output/2 -";
        let argv = ["sh", "-c", script].map(str::to_owned);
        let inputs = [
            Mount { host: bam.clone(), guest: "x.bam".to_owned() },
            Mount { host: bam.with_extension("bam.bai"), guest: "x.bam.bai".to_owned() },
        ];
        let limits = Limits {
            cpus: 2,
            memory_bytes: 1 << 30,
            scratch_bytes: 64 << 20,
            output_bytes: 64 << 20,
            processes: 64,
            wall: std::time::Duration::from_secs(600),
        };
        let env = BTreeMap::new();
        let spec = Spec { app: samtools, argv: &argv, env: &env, inputs: &inputs, limits };
        let finished = sandbox::run(&spec, &Stop::default(), &mut |_, _| {}).unwrap();
        assert!(finished.end.is_success(), "{}", String::from_utf8_lossy(&finished.stderr));
        let scratch = Scratch::in_memory().unwrap();
        for mate in ["1", "2"] {
            let mut text = String::new();
            finished.outputs.open(mate).unwrap().read_to_string(&mut text).unwrap();
            let lines: Vec<&str> = text.lines().collect();
            let half = lines.len() / 8 * 4;
            for (lane, lines) in [("1", &lines[..half]), ("2", &lines[half..])] {
                let name = format!("NA12878_S1_L00{lane}_R{mate}_001.fastq");
                std::fs::write(scratch.path().join(name), lines.join("\n") + "\n").unwrap();
            }
        }
        Some(Reads { scratch })
    });
    if reads.is_none() {
        println!("skipped: not here (CHORION_TEST_DATA)");
    }
    reads.as_ref()
}

impl Reads {
    fn pairs(&self) -> Vec<PathBuf> {
        let names = ["L001_R1", "L001_R2", "L002_R1", "L002_R2"];
        names.map(|name| self.scratch.path().join(format!("NA12878_S1_{name}_001.fastq"))).into()
    }
}

fn reference() -> PathBuf {
    root().join("testing/demo/reference/20_5998958_6101000.fa.gz")
}

fn launch(
    app: &VerifiedApp,
    inputs: &[(&str, Vec<PathBuf>)],
    params: &[(&str, ParamValue)],
) -> (Finished, Given) {
    let mut request = TaskRequest::default();
    let mut mounts = Vec::new();
    for (name, files) in inputs {
        for file in files {
            let own = file.file_name().unwrap().to_str().unwrap().to_owned();
            mounts.push(Mount { host: file.clone(), guest: format!("{name}/{own}") });
            let file = TaskFile { name: own, url: String::new() };
            request.inputs.entry((*name).to_owned()).or_default().push(file);
        }
    }
    request.params = params.iter().map(|(name, v)| ((*name).to_owned(), v.clone())).collect();
    let launch = app.manifest().launch(app.digest(), request).unwrap();
    let spec =
        Spec { app, argv: &launch.argv, env: &launch.env, inputs: &mounts, limits: launch.limits };
    let finished = sandbox::run(&spec, &Stop::default(), &mut |_, _| {}).unwrap();
    let said = String::from_utf8_lossy(&finished.stderr);
    assert_eq!(finished.end, End::Exited(0), "{said}");
    let given = launch.take_outputs(&finished.outputs).unwrap();
    assert_eq!(given.undeclared, Vec::<String>::new());
    (finished, given)
}

fn text(finished: &Finished, path: &str) -> String {
    let mut text = String::new();
    finished.outputs.open(path).unwrap().read_to_string(&mut text).unwrap();
    text
}

#[test]
fn read_quality_counts_every_read_of_both_lanes() {
    let (Some(samtools), Some(quality)) = (app("align"), app("read-quality")) else { return };
    let Some(reads) = reads(&samtools) else { return };
    let (finished, given) = launch(&quality, &[("reads", reads.pairs())], &[]);
    assert_eq!(given.files.len(), 4, "{given:?}");
    let mut total = 0;
    for lane in ["L001", "L002"] {
        let report = text(&finished, &format!("NA12878_S1_{lane}.fastp.json"));
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        total += report["summary"]["before_filtering"]["total_reads"].as_u64().unwrap();
    }
    let lines: usize = reads
        .pairs()
        .iter()
        .map(|file| std::fs::read_to_string(file).unwrap().lines().count())
        .sum();
    assert_eq!(total, lines as u64 / 4);
}

#[test]
fn reads_are_aligned_and_variants_called_from_the_result() {
    let (Some(align), Some(call)) = (app("align"), app("call-variants")) else { return };
    let Some(reads) = reads(&align) else { return };
    let inputs = [("reads", reads.pairs()), ("reference", vec![reference()])];
    let (finished, given) = launch(&align, &inputs, &[]);
    let names: Vec<&str> = given.files.iter().map(|file| &*file.path).collect();
    assert_eq!(
        names,
        ["NA12878.bam", "NA12878.flagstat.txt", "NA12878.bam.bai", "NA12878.stats.txt"]
    );
    let counts = text(&finished, "NA12878.flagstat.txt");
    let mapped = counts.lines().find(|line| line.contains(" primary mapped (")).unwrap();
    let share = mapped.split(['(', '%']).nth(1).unwrap().parse::<f64>().unwrap();
    assert!(share > 90.0, "{counts}");

    // The result of one app is the input of the next.
    let result = Scratch::in_memory().unwrap();
    for name in ["NA12878.bam", "NA12878.bam.bai"] {
        let mut from = finished.outputs.open(name).unwrap();
        let mut to = std::fs::File::create(result.path().join(name)).unwrap();
        let _bytes = std::io::copy(&mut from, &mut to).unwrap();
    }
    // A second sample, so that two are called together: the same reads under another name.
    let other = [("sample", ParamValue::Text("other".to_owned()))];
    let (second, _given) = launch(&align, &inputs, &other);
    let mut from = second.outputs.open("other.bam").unwrap();
    let mut to = std::fs::File::create(result.path().join("other.bam")).unwrap();
    let _bytes = std::io::copy(&mut from, &mut to).unwrap();

    let bams = ["NA12878.bam", "NA12878.bam.bai", "other.bam"].map(|n| result.path().join(n));
    let inputs = [("alignments", bams.to_vec()), ("reference", vec![reference()])];
    let called = |least: f64| {
        let params = [("minimum_quality", ParamValue::Decimal(least))];
        let (finished, _given) = launch(&call, &inputs, &params);
        let statistics = text(&finished, "variants.stats.txt");
        let number = |key: &str| {
            let line = statistics.lines().find(|line| line.contains(key)).unwrap();
            line.rsplit('\t').next().unwrap().parse::<u64>().unwrap()
        };
        assert_eq!(number("number of samples:"), 2);
        number("number of records:")
    };
    let (all, sure) = (called(0.0), called(20.0));
    assert!(0 < sure && sure < all, "{sure} of {all}");
}

#[test]
fn scores_inside_are_those_that_plink2_gives_outside() {
    const PEOPLE: &str = "/usr/share/doc/bio-eagle/examples/EUR_test.vcf.gz";
    let plink = std::process::Command::new("plink2").arg("--version").output();
    if !Path::new(PEOPLE).exists() || plink.is_err() {
        println!("skipped: not here (bio-eagle-examples or plink2)");
        return;
    }
    let Some(score) = app("polygenic-score") else { return };
    let work = Scratch::in_memory().unwrap();
    let variants = work.path().join("people.vcf.gz");
    let _bytes = std::fs::copy(PEOPLE, &variants).unwrap();
    let mut text_of_people = String::new();
    let mut unpacked = flate2::read::MultiGzDecoder::new(std::fs::File::open(&variants).unwrap());
    let _bytes = unpacked.read_to_string(&mut text_of_people).unwrap();
    // A weight for every third variant whose name is there once.
    let rows: Vec<Vec<&str>> = text_of_people
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split('\t').take(5).collect())
        .collect();
    let mut times: BTreeMap<&str, u32> = BTreeMap::new();
    rows.iter().for_each(|row| *times.entry(row[2]).or_default() += 1);
    let weighed = rows.iter().filter(|row| times[row[2]] == 1).step_by(3).enumerate();
    let weights: String = weighed
        .map(|(number, row)| format!("{}\t{}\t0.{:03}\n", row[2], row[4], number % 997))
        .collect();
    assert!(weights.lines().count() > 400);
    let list = work.path().join("weights.txt");
    std::fs::write(&list, weights).unwrap();
    for (rule, modifier) in [("mean", None), ("nothing", Some("no-mean-imputation"))] {
        let inputs = [("variants", vec![variants.clone()]), ("weights", vec![list.clone()])];
        let missing = [("missing", ParamValue::Text(rule.to_owned()))];
        let (finished, given) = launch(&score, &inputs, &missing);
        assert_eq!(given.files.len(), 2, "{given:?}");
        let out = work.path().join("outside");
        let judged = std::process::Command::new("plink2")
            .args(["--vcf", variants.to_str().unwrap(), "--memory", "1000"])
            .args(["--out", out.to_str().unwrap()])
            .args(["--score", list.to_str().unwrap(), "1", "2", "3"])
            .args(modifier)
            .arg("cols=+scoresums")
            .output()
            .unwrap();
        assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stdout));
        let outside = std::fs::read_to_string(out.with_extension("sscore")).unwrap();
        assert_eq!(text(&finished, "score.sscore"), outside, "{rule}");
        assert_eq!(outside.lines().count(), 380);
    }
}

#[test]
fn the_same_folder_packs_to_the_same_bytes() {
    let Some(_possible) = app("read-quality") else { return };
    let source = Source::read(&root().join("apps/read-quality")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let cache = root().join("target/app-cache/packages");
    let [one, two] = ["one", "two"].map(|name| {
        let file = folder.path().join(name);
        let _packed = source.pack(&file, &cache, &|_| {}).unwrap();
        std::fs::read(file).unwrap()
    });
    assert!(one == two);
}
