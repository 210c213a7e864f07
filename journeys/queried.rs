//! A sample is asked questions through a vault: the answer comes to the asker alone, and to nobody else in the project.

use std::fs;

use super::stage::Stage;

const TITLES: &str = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tAnna\n";

#[test]
fn a_sample_answers_through_a_vault_and_its_answer_opens_for_the_asker_alone() {
    let stage = Stage::new();
    let hub = stage.hub_with_vaults("127.0.0.1:0", 1);
    stage.enrol(&hub, "ada");
    let (project, _phrase) = stage.project("ada", "exomes");
    let file = stage.path("anna.vcf");
    let header = "##fileformat=VCFv4.2\n##contig=<ID=1,length=249250621>\n\
                  ##FORMAT=<ID=GT,Number=1,Type=String,Description=\"Genotype\">\n";
    let records = "1\t100\trs1\tA\tG\t.\t.\t.\tGT\t0/1\n1\t200\trs2\tC\tT\t.\t.\t.\tGT\t1/1\n";
    fs::write(&file, format!("{header}{TITLES}{records}")).unwrap();
    let file = file.to_str().unwrap();
    let sample =
        stage.call("ada", &["sample", "import", file, "--project", &project, "--name", "Anna"]);
    let sample = sample["id"].as_str().unwrap();
    let ask = |words: &[&str]| {
        let words = [&["vault", "query", sample, "--purpose", "a story"], words].concat();
        stage.run("ada", &words)
    };
    let told = |words: &[&str]| {
        let output = ask(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{words:?}: {said}");
        (serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap(), said)
    };

    let (copies, said) = told(&["--variant", "1:200:C:T"]);
    assert_eq!(copies["answer"]["samples"][0]["copies"], 2);
    assert!(said.contains("asking a vault to say how many copies of `T`"), "{said}");

    let scoring = stage.path("PGS1.txt");
    let weights = "#pgs_id=PGS1\n#trait_reported=height\n#genome_build=GRCh37\n\
                   chr_name\tchr_position\teffect_allele\tother_allele\teffect_weight\n1\t100\tG\tA\t0.5\n1\t200\tT\tC\t2\n";
    fs::write(&scoring, weights).unwrap();
    let (score, _) = told(&["--score", scoring.to_str().unwrap(), "--build", "GRCh37"]);
    assert_eq!(score["answer"]["samples"][0]["sum"], 4.5);
    assert!(!score["answer"].to_string().contains("rs1"), "a score holds no genotypes");

    let slice = stage.path("slice.vcf.gz");
    let (region, _) = told(&["--region", "1:150-250", "-o", slice.to_str().unwrap()]);
    assert_eq!(region["answer"]["records"], 1);
    assert!(fs::read(&slice).unwrap().starts_with(&[0x1f, 0x8b]));

    // What the project's key opens is sealed once more: the result's files are nothing but offline files.
    let result = copies["result"].as_str().unwrap();
    let out = stage.path("result");
    stage.call("ada", &["result", "download", result, "--output", out.to_str().unwrap()]);
    let sealed = fs::read(out.join("answer.json.sealed")).unwrap();
    assert!(sealed.starts_with(b"CHORFIL"));
    // Another key may be named, and then the asker does not open the answer.
    let key = stage.path("clinic.key");
    stage.call("ada", &["keygen", "-o", key.to_str().unwrap(), "--no-passphrase"]);
    let public = format!("{}.pub", key.display());
    let (other, _) = told(&["--qc", "--to", &public]);
    assert!(other["answer"].is_null());
    let result = other["result"].as_str().unwrap();
    let out = stage.path("for-the-clinic");
    stage.call("ada", &["result", "download", result, "--output", out.to_str().unwrap()]);
    let sealed = out.join("answer.json.sealed");
    let opened = stage.path("opened.json");
    let words = ["open", sealed.to_str().unwrap(), "-o", opened.to_str().unwrap()];
    stage.call("ada", &[&words[..], &["--identity", key.to_str().unwrap()]].concat());
    assert!(fs::read_to_string(&opened).unwrap().contains("call_rate"));

    // What cannot be answered says why: to the asker all of it, to the hub a class.
    let refused = ask(&["--qc", "--sample", "Boris"]);
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("the query was refused: the file has no such sample"), "{said}");
    assert!(said.contains("Boris"), "{said}");
    // Who does not wait is told how it stands, and the question stays asked.
    let early = ask(&["--qc", "--timeout", "0"]);
    let said = String::from_utf8_lossy(&early.stderr);
    assert!(early.status.success() || said.contains("the question stays asked"), "{said}");
}
