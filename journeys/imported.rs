//! Files that people have already are imported: checked, sealed, resumed after a kill, and the same when they come back.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::stage::{Stage, until};

const MIB: u64 = 1024 * 1024;
/// Packs that are sealed or on the way at once, with what is filled: what a kill may cost.
const ON_THE_WAY_BYTES: u64 = 5 * 8 * MIB;

/// FASTQ text of so many reads.
fn fastq(reads: u32, lane: u32, mate: u32) -> String {
    (0..reads)
        .map(|n| format!("@A:1:F:{lane}:{n} {mate}:N:0:ACGT\nGATTACAN\n+\nFFFFFFF#\n"))
        .collect()
}

fn write_gz(path: &Path, text: &str) {
    let file = fs::File::create(path).unwrap();
    let mut out = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    out.write_all(text.as_bytes()).unwrap();
    out.finish().unwrap();
}

/// What a program makes of `input`; nothing where it is not installed.
fn made(program: &str, arguments: &[&str], input: &str) -> Option<Vec<u8>> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    output.status.success().then_some(output.stdout)
}

/// Words of a command, with files among them.
fn words(before: &[&str], files: &[PathBuf], after: &[&str]) -> Vec<String> {
    let files = files.iter().map(|file| file.to_str().unwrap());
    before.iter().copied().chain(files).chain(after.iter().copied()).map(str::to_owned).collect()
}

fn call(stage: &Stage, words: &[String]) -> Value {
    stage.call("ada", &words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The error of a command that must fail.
fn refused(stage: &Stage, words: &[String]) -> String {
    let output = stage.run("ada", &words.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(!output.status.success(), "{words:?} was not refused");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn same_when_downloaded(stage: &Stage, noun: &str, id: &str, files: &[PathBuf]) {
    let out = stage.path(&format!("out-{id}"));
    stage.call("ada", &[noun, "download", id, "--output", out.to_str().unwrap()]);
    for file in files {
        let copy = out.join(file.file_name().unwrap());
        assert!(fs::read(file).unwrap() == fs::read(&copy).unwrap(), "{}", copy.display());
    }
}

#[test]
fn reads_and_variants_that_one_has_come_back_as_they_were_and_are_counted() {
    let stage = Stage::new();
    let hub = stage.hub("127.0.0.1:0");
    stage.enrol(&hub, "ada");
    let (project, _phrase) = stage.project("ada", "exomes");
    let to = |name| ["--project", &project, "--name", name].map(str::to_owned);

    // Two lanes, mates beside each other, a library's index reads with one of them.
    let mut lanes = Vec::new();
    for (lane, mate, role) in [(1, 1, "R1"), (1, 2, "R2"), (1, 1, "I1"), (2, 1, "R1"), (2, 2, "R2")]
    {
        let file = stage.path(&format!("NA12878_S1_L00{lane}_{role}_001.fastq.gz"));
        write_gz(&file, &fastq(700 + lane, lane, mate));
        lanes.push(file);
    }
    let name = to("NA12878");
    let after: Vec<&str> = name.iter().map(String::as_str).collect();
    let command = words(&["sample", "import"], &lanes, &after);
    let sample = call(&stage, &command);
    assert_eq!(sample["reads"], 2 * 701 + 2 * 702);
    assert_eq!((&sample["read_back"], &sample["before"]), (&true.into(), &false.into()));
    let id = sample["id"].as_str().unwrap();
    let shown = stage.call("ada", &["sample", "show", id]);
    assert_eq!(shown["dataset"]["execution"], "complete");
    assert_eq!(shown["dataset"]["name"], "NA12878");
    assert_eq!(shown["files"].as_array().unwrap().len(), lanes.len());
    same_when_downloaded(&stage, "sample", id, &lanes);
    // The same command again is the same sample.
    let again = call(&stage, &command);
    assert_eq!((&again["id"], &again["before"]), (&sample["id"], &true.into()));

    // What partners send: reads under Crypt4GH, opened here and sealed anew.
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/crypt4gh");
    let theirs = stage.path("theirs.fastq.c4gh");
    fs::copy(vectors.join("two-blocks.c4gh"), &theirs).unwrap();
    let passphrase = stage.path("passphrase");
    fs::write(&passphrase, "Gattaca\n").unwrap();
    let key = vectors.join("scrypt.sec");
    let name = to("from a partner");
    let mut after: Vec<&str> = name.iter().map(String::as_str).collect();
    let without = words(&["sample", "import"], std::slice::from_ref(&theirs), &after);
    assert!(refused(&stage, &without).contains("--crypt4gh-key"));
    after.extend(["--crypt4gh-key", key.to_str().unwrap()]);
    after.extend(["--passphrase-file", passphrase.to_str().unwrap()]);
    let opened = call(&stage, &words(&["sample", "import"], &[theirs], &after));
    assert_eq!(
        (&opened["reads"], &opened["files"][0]["path"]),
        (&2800.into(), &"theirs.fastq".into())
    );

    // Alignments and variants as samtools and bcftools make them.
    let sam = "@HD\tVN:1.6\n@SQ\tSN:chr1\tLN:1000\n@RG\tID:a\tSM:NA12878\n\
               r1\t0\tchr1\t10\t60\t4M\t*\t0\t0\tACGT\tIIII\tRG:Z:a\n";
    let vcf = "##fileformat=VCFv4.2\n##contig=<ID=chr1>\n##FORMAT=<ID=GT,Number=1,Type=String,Description=\"G\">\n\
               #CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tNA12878\n\
               chr1\t10\t.\tA\tC\t.\t.\t.\tGT\t0/1\n";
    let bam = made("samtools", &["view", "-b", "-"], sam);
    let bcf = made("bcftools", &["view", "-Ob", "-"], vcf);
    let (Some(bam), Some(bcf)) = (bam, bcf) else {
        println!("skipped: samtools and bcftools are not here");
        return;
    };
    let files = [stage.path("NA12878.bam"), stage.path("NA12878.bcf"), stage.path("NA12878.vcf")];
    for (file, bytes) in files.iter().zip([&bam[..], &bcf, vcf.as_bytes()]) {
        fs::write(file, bytes).unwrap();
    }
    let name = to("aligned");
    let mut after: Vec<&str> = name.iter().map(String::as_str).collect();
    let aligned = call(&stage, &words(&["sample", "import"], &files, &after));
    assert_eq!(
        (&aligned["reads"], &aligned["samples"]),
        (&1.into(), &serde_json::json!(["NA12878"]))
    );
    same_when_downloaded(&stage, "sample", aligned["id"].as_str().unwrap(), &files);
    // And as a result of the sample, with a file of any kind beside them.
    let notes = stage.path("notes.txt");
    fs::write(&notes, "called by hand\n").unwrap();
    after.extend(["--parent", id]);
    let files = [files[1].clone(), notes];
    let result = call(&stage, &words(&["result", "import"], &files, &after));
    let shown = stage.call("ada", &["result", "show", result["id"].as_str().unwrap()]);
    assert_eq!(shown["dataset"]["parent"], sample["id"]);
    same_when_downloaded(&stage, "result", result["id"].as_str().unwrap(), &files);
    drop(hub);
}

/// The manifest of an app that asks samtools about alignments.
const COUNTING: &str = r#"
format = "chorion.app/1"
name = "count-alignments"
version = "1.0.0"
title = "Count alignments"
summary = "Counts the alignments of a BAM file, with samtools"
licence = "Apache-2.0"
scopes = ["read sample", "create app-result"]

[[input]]
name = "alignments"
kind = "bam"
label = "Alignments"

[[output]]
name = "counts"
glob = "counts.txt"
kind = "text"
cap = "1 MiB"

[command]
script = "run.sh"

[resources]
cpus = 1
memory = "256 MiB"
disk = "16 MiB"
wall_time = "10 min"

[root]
packages = ["coreutils", "dash", "samtools"]
omit = ["usr/lib/*/gconv", "usr/sbin"]
"#;

#[test]
fn an_app_reads_a_bam_that_somebody_brought_and_says_what_samtools_says_outside() {
    let stage = Stage::new();
    // Real alignments where there are some; else as samtools writes them.
    let data = std::env::var_os("CHORION_TEST_DATA").map(PathBuf::from);
    let real = data.map(|data| data.join("htsget/bam/htsnexus_test_NA12878.bam"));
    let bam = stage.path("NA12878.bam");
    let sam = "@HD\tVN:1.6\n@SQ\tSN:chr1\tLN:1000\n@RG\tID:a\tSM:NA12878\n\
               r1\t0\tchr1\t10\t60\t4M\t*\t0\t0\tACGT\tIIII\tRG:Z:a\n\
               r2\t4\t*\t0\t0\t*\t*\t0\t0\tACGT\tIIII\tRG:Z:a\n";
    match (real.filter(|real| real.is_file()), made("samtools", &["view", "-b", "-"], sam)) {
        (Some(real), Some(_)) => drop(fs::copy(real, &bam).unwrap()),
        (None, Some(written)) => fs::write(&bam, written).unwrap(),
        (_, None) => {
            println!("skipped: samtools is not here");
            return;
        }
    }
    let outside = Command::new("samtools").arg("flagstat").arg(&bam).output().unwrap();
    assert!(outside.status.success());

    let folder = stage.path("count-alignments");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("app.toml"), COUNTING).unwrap();
    let script = "#!/bin/sh\nset -eu\nsamtools flagstat \"$INPUT_ALIGNMENTS\"/*.bam > \"$OUTPUT/counts.txt\"\n";
    fs::write(folder.join("run.sh"), script).unwrap();
    let package = stage.path("count-alignments.chorionapp");
    let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/app-cache");
    let [folder, package, cache, file] =
        [&folder, &package, &cache, &bam].map(|path| path.to_str().unwrap());
    let packed = stage.run("ada", &["app", "pack", folder, "-o", package, "--cache", cache]);
    let said = String::from_utf8_lossy(&packed.stderr);
    if !packed.status.success() && said.contains("apt") {
        println!("skipped: apt's packages cannot be had here: {said}");
        return;
    }
    assert!(packed.status.success(), "{said}");

    let hub = stage.hub_with_vaults("127.0.0.1:0", 1);
    stage.enrol(&hub, "ada");
    let (project, _phrase) = stage.project("ada", "genomes");
    let to = ["--project", project.as_str()];
    let import = ["sample", "import", file, "--name", "NA12878", to[0], to[1]];
    let sample = stage.call("ada", &import)["id"].as_str().unwrap().to_owned();
    stage.call("ada", &["app", "register", package, to[0], to[1]]);
    let input = format!("alignments={sample}");
    let launch = ["app", "launch", "count-alignments", "--input", &input, "--wait", "--yes"];
    let shown = stage.call("ada", &[&launch[..], &to].concat());
    assert_eq!(shown["task"]["state"], "complete");
    let inputs = shown["receipt"]["inputs"].as_array().unwrap();
    assert!(inputs.iter().any(|input| input["dataset"] == sample.as_str()), "{inputs:?}");
    let result = shown["session"]["result"].as_str().unwrap();
    let out = stage.path("counts");
    stage.call("ada", &["result", "download", result, "-o", out.to_str().unwrap()]);
    let counted = fs::read(out.join("counts.txt")).unwrap();
    assert_eq!(String::from_utf8_lossy(&counted), String::from_utf8_lossy(&outside.stdout));
    drop(hub);
}

#[test]
fn what_is_wrong_with_files_is_said_before_a_sample_is_closed() {
    let stage = Stage::new();
    let hub = stage.hub("127.0.0.1:0");
    stage.enrol(&hub, "ada");
    let (project, _phrase) = stage.project("ada", "exomes");
    let import = |files: &[PathBuf]| {
        words(&["sample", "import"], files, &["--project", &project, "--name", "x"])
    };
    let file = |name: &str, text: &str| {
        let path = stage.path(name);
        fs::write(&path, text).unwrap();
        path
    };

    // Before anything is made at the hub.
    let second = file("only_R2.fastq", &fastq(10, 1, 2));
    assert!(refused(&stage, &import(&[second])).contains("read 1 is not beside it"));
    let renamed = file("a.bam", &fastq(10, 1, 1));
    assert!(refused(&stage, &import(&[renamed])).contains("it holds FASTQ"));
    let pair = [file("b_R1.fastq", &fastq(10, 1, 1)), file("b_R2.fastq", &fastq(10, 2, 2))];
    assert!(refused(&stage, &import(&pair)).contains("record 1 has not the name"));
    let two = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tA\tB\n";
    assert!(refused(&stage, &import(&[file("c.vcf", two)])).contains("it holds 2 samples"));
    assert_eq!(stage.call("ada", &["sample", "list"]), serde_json::json!([]));

    // While it is read: the sample is not closed, and goes on when the file is whole.
    let text = fastq(9000, 1, 1);
    let cut = file("d.fastq", &text[..text.len() - 7]);
    let said = refused(&stage, &import(std::slice::from_ref(&cut)));
    assert!(said.contains("ends in the middle of record 9000"), "{said}");
    let uneven = [file("e_R1.fastq", &fastq(9000, 1, 1)), file("e_R2.fastq", &fastq(8999, 1, 2))];
    let said = refused(&stage, &import(&uneven));
    assert!(said.contains("it has 8999 reads") && said.contains("has 9000"), "{said}");
    let open = stage.call("ada", &["sample", "list"]);
    assert!(open.as_array().unwrap().iter().all(|sample| sample["execution"] == "receiving"));
    fs::write(&cut, &text).unwrap();
    let mended = call(&stage, &import(&[cut]));
    assert_eq!(mended["reads"], 9000);
    drop(hub);
}

#[test]
fn an_import_that_was_killed_goes_on_where_it_was() {
    let stage = Stage::new();
    let hub = stage.hub("127.0.0.1:0");
    stage.enrol(&hub, "ada");
    let (project, _phrase) = stage.project("ada", "exomes");
    let reads = 1_100_000;
    let files = [stage.path("big_R1.fastq"), stage.path("big_R2.fastq")];
    for (mate, file) in (1..).zip(&files) {
        fs::write(file, fastq(reads, 1, mate)).unwrap();
    }
    let bytes: u64 = files.iter().map(|file| file.metadata().unwrap().len()).sum();
    assert!(bytes > 10 * 8 * MIB, "the test has more than is on the way at once");
    let command =
        words(&["sample", "import"], &files, &["--project", &project, "--name", "big", "--json"]);
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let mut kept = 0;
    for kill in 1..=2 {
        let importing = stage.start("ada", &command);
        // Two facilities each hold a copy.
        until("some of the files", || stage.stored_bytes() >= kill * 2 * bytes / 4);
        importing.kill();
        let list = stage.call("ada", &["sample", "list"]);
        let [ref only] = list.as_array().unwrap()[..] else { panic!("one sample, not {list}") };
        assert_eq!(only["execution"], "receiving");
        kept = only["sealed_bytes"].as_u64().unwrap();
    }
    let output = stage.start("ada", &command).finish();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let done: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(done["reads"], 2 * u64::from(reads));
    let kept_bytes = done["kept_bytes"].as_u64().unwrap();
    assert!(kept_bytes > 0 && kept_bytes <= kept + ON_THE_WAY_BYTES);
    let stored = stage.stored_bytes() / 2;
    assert!(stored <= bytes + 2 * ON_THE_WAY_BYTES, "{stored} are kept of {bytes}");
    same_when_downloaded(&stage, "sample", done["id"].as_str().unwrap(), &files);
    drop(hub);
}
