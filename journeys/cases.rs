//! A clinician works on a case: a sample is linked, an app launched on it, its variants read beside the phenotypes, a conclusion
//! written; a second person closes it. What is said of the patient stands nowhere in the hub's files.

use std::fs;
use std::path::Path;

use super::own_key::Clinic;
use super::stage::{Stage, files};

/// It stands in the case alone.
const CANARY: &str = "Featherstonehaugh";
/// The manifest of an app that keeps one variant.
const KEEPING: &str = r#"
format = "chorion.app/1"
name = "keep-rare"
version = "1.0.0"
title = "Keep rare variants"
summary = "Keeps the variants without a name in dbSNP"
licence = "Apache-2.0"
scopes = ["read sample", "create app-result"]

[[input]]
name = "variants"
kind = "vcf"
label = "Variants"

[[output]]
name = "kept"
glob = "kept.vcf"
kind = "vcf"
cap = "1 MiB"

[command]
script = "run.sh"

[resources]
cpus = 1
memory = "256 MiB"
disk = "16 MiB"
wall_time = "10 min"

[root]
packages = ["coreutils", "dash", "grep"]
omit = ["usr/lib/*/gconv", "usr/sbin"]
"#;
const VCF: &str = "##fileformat=VCFv4.2\n##contig=<ID=1,length=249250621>\n\
    ##FORMAT=<ID=GT,Number=1,Type=String,Description=\"Genotype\">\n\
    #CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tpatient\n\
    1\t100\trs1\tA\tG\t50\tPASS\t.\tGT\t0/1\n1\t200\t.\tC\tT\t60\tPASS\t.\tGT\t1/1\n";

#[test]
fn a_case_is_worked_on_until_a_second_person_closes_it() {
    let stage = Stage::new();
    let folder = stage.path("keep-rare");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("app.toml"), KEEPING).unwrap();
    let script =
        "#!/bin/sh\nset -eu\ngrep -v 'rs[0-9]' \"$INPUT_VARIANTS\"/*.vcf > \"$OUTPUT/kept.vcf\"\n";
    fs::write(folder.join("run.sh"), script).unwrap();
    let package = stage.path("keep-rare.chorionapp");
    let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/app-cache");
    let [folder, package, cache] = [&folder, &package, &cache].map(|path| path.to_str().unwrap());
    let packed = stage.run("boss", &["app", "pack", folder, "-o", package, "--cache", cache]);
    let said = String::from_utf8_lossy(&packed.stderr);
    if !packed.status.success() && said.contains("apt") {
        println!("skipped: apt's packages cannot be had here: {said}");
        return;
    }
    assert!(packed.status.success(), "{said}");

    let clinic = Clinic::new(&stage, "1");
    clinic.set(&stage, &["--unattested", "true"]);
    let second = clinic.join(&stage, "boss", "second", "clinician");
    let project = clinic.project(&stage, "boss", "panel");
    stage.call("boss", &["project", "members", "add", &project, &second, "write"]);
    stage.call("boss", &["org", "case-rules", &clinic.id, "--second-person", "true"]);
    stage.call("boss", &["app", "register", package, "--project", &project]);
    let variants = stage.path("patient.vcf");
    fs::write(&variants, VCF).unwrap();
    let import = ["sample", "import", variants.to_str().unwrap(), "--project", &project];
    let sample = stage.call("boss", &[&import[..], &["--name", "a-sample"]].concat());
    let sample = sample["id"].as_str().unwrap();

    let document = stage.path("case.json");
    let text = format!(
        r#"{{"patient": {{"record_number": "4711", "family_name": "{CANARY}"}}, "indication": "seizures",
            "phenotypes": [{{"term": "HP:0001250", "label": "Seizure"}}]}}"#
    );
    fs::write(&document, text).unwrap();
    let add = ["case", "add", "--project", &project, document.to_str().unwrap(), "--link", sample];
    let case = stage.call("boss", &add)["id"].as_str().unwrap().to_owned();

    // The sample of the case is the app's input, and the result is the case's.
    let shown = stage.call("boss", &["case", "launch", &case, "keep-rare", "--wait", "--yes"]);
    assert_eq!(shown["task"]["state"], "complete");
    assert_eq!(shown["session"]["inputs"][0]["dataset"], sample);
    let result = shown["session"]["result"].as_str().unwrap();

    let review = stage.call("second", &["case", "review", &case]);
    let document = &review["case"]["document"];
    assert_eq!(document["phenotypes"][0]["term"], "HP:0001250");
    assert_eq!(document["patient"], serde_json::json!({}), "what it does not need it does not ask");
    let of = |dataset: &str| {
        let all = review["files"].as_array().unwrap();
        all.iter().find(|file| file["dataset"] == dataset).unwrap()["variants"].clone()
    };
    assert_eq!(of(sample).as_array().unwrap().len(), 2);
    let kept = of(result);
    assert_eq!((kept.as_array().unwrap().len(), &kept[0]["position"]), (1, &200.into()));
    assert_eq!(kept[0]["genotypes"], serde_json::json!([["patient", "1/1"]]));
    let elsewhere = stage.call("second", &["case", "review", &case, "--region", "1:1-150"]);
    let files_of = elsewhere["files"].as_array().unwrap().iter();
    assert_eq!(files_of.map(|file| file["variants"].as_array().unwrap().len()).sum::<usize>(), 1);

    // Whoever concludes it does not close it.
    let early = stage.run("second", &["case", "close", &case]);
    assert!(String::from_utf8_lossy(&early.stderr).contains("has no conclusion yet"));
    let conclusion = stage.path("conclusion.txt");
    fs::write(&conclusion, "one rare variant, of no known meaning\n").unwrap();
    stage.call("boss", &["case", "conclude", &case, conclusion.to_str().unwrap()]);
    let same = stage.run("boss", &["case", "close", &case]);
    assert!(String::from_utf8_lossy(&same.stderr).contains("by the same person"));
    assert_eq!(stage.call("second", &["case", "close", &case])["status"], "closed");

    // Who read which fields, and why, is the auditor's to know.
    let reads = stage.path("reads.csv");
    let export = ["audit", "export", "--organization", &clinic.id, "--what", "reads"];
    stage.call("watcher", &[&export[..], &["-o", reads.to_str().unwrap()]].concat());
    let reads = fs::read_to_string(reads).unwrap();
    assert!(reads.contains("indication") && !reads.contains("record_number"), "{reads}");
    for (path, _) in files(&stage.path("hub")) {
        let bytes = fs::read(&path).unwrap_or_default();
        let holds = bytes.windows(CANARY.len()).any(|part| part == CANARY.as_bytes());
        assert!(!holds, "{} holds a patient's name", path.display());
    }
}
