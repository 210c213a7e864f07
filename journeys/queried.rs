//! A sample is asked questions through a vault: the answer comes to the asker alone, and to nobody else in the project.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::stage::{Stage, until};

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
    let sealed = fs::read(out.join("answer.json.chorion")).unwrap();
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
    let sealed = out.join("answer.json.chorion");
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

#[test]
fn an_owners_sample_answers_when_its_owner_approves_the_very_question() {
    let stage = Stage::new();
    let hub = stage.hub_with_vaults("127.0.0.1:0", 1);
    stage.enrol(&hub, "ada");
    stage.told("ada", &["words", "restore"], &format!("{}about\n", "abandon ".repeat(11)));
    let create = ["project", "create", "my genome", "--custodian", "owner", "--test"];
    let project = stage.call("ada", &create)["id"].as_str().unwrap().to_owned();
    let file = stage.path("anna.vcf");
    let header = "##fileformat=VCFv4.2\n##contig=<ID=1,length=249250621>\n\
                  ##FORMAT=<ID=GT,Number=1,Type=String,Description=\"Genotype\">\n";
    let record = "1\t100\trs1\tA\tG\t.\t.\t.\tGT\t0/1\n";
    fs::write(&file, format!("{header}{TITLES}{record}")).unwrap();
    let import = ["sample", "import", file.to_str().unwrap(), "--project", &project];
    let sample = stage.call("ada", &[&import[..], &["--name", "Anna"]].concat());
    let sample = sample["id"].as_str().unwrap();
    let ask =
        ["vault", "query", sample, "--rsid", "rs1", "--purpose", "a second opinion", "--json"];

    let waiting = || {
        let mut found = None;
        until("a request", || {
            let list = stage.call("ada", &["approve", "list"]);
            let pending = |one: &&serde_json::Value| one["state"] == "pending";
            found = list.as_array().unwrap().iter().find(pending).map(|one| one["id"].clone());
            found.is_some()
        });
        found.unwrap().as_str().unwrap().to_owned()
    };
    let asking = stage.start("ada", &ask);
    let request = waiting();
    let shown = stage.call("ada", &["approve", "show", &request]);
    let text = shown["sentences"].to_string();
    for said in [
        "let a question be answered from your data",
        "it would give the genotype at `rs1` that every sample has in `anna.vcf`",
        "a second opinion",
        "NOT CONFIDENTIAL",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let phrase = shown["request_phrase"].as_str().unwrap();
    stage.call("ada", &["approve", "yes", &request, "--phrase", phrase]);
    let output = asking.finish();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains(phrase), "the asker sees the same six words: {said}");
    let given: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let alleles = &given["answer"]["sites"][0]["at"]["samples"][0]["alleles"];
    assert_eq!(*alleles, serde_json::json!(["A", "G"]));

    // No is an answer too, and the asker is told so.
    let asking = stage.start("ada", &ask);
    let request = waiting();
    stage.call("ada", &["approve", "no", &request]);
    let output = asking.finish();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("the owner refused"), "{said}");
}

#[test]
fn plain_and_sealed_files_answer_on_the_command_line_and_the_sealed_ones_only_with_their_key() {
    let stage = Stage::new();
    let path = |name: &str| stage.path(name).to_str().unwrap().to_owned();
    let (key, other) = (path("my.key"), path("other.key"));
    for key in [&key, &other] {
        stage.call("ada", &["keygen", "-o", key, "--no-passphrase"]);
    }
    let genotypes = "# This data file generated by 23andMe\n# reference human assembly build 37 (also known as)\n\
                     # rsid\tchromosome\tposition\tgenotype\nrs1\t1\t100\tAG\nrs2\t1\t200\tTT\nrs3\t2\t300\t--\n";
    fs::write(stage.path("genome.txt"), genotypes).unwrap();
    let scoring = "#pgs_id=PGS2\n#genome_build=GRCh37\nrsID\tchr_name\tchr_position\teffect_allele\tother_allele\teffect_weight\n\
                   rs1\t1\t100\tG\tA\t0.5\nrs2\t1\t200\tT\tC\t2\n";
    fs::write(stage.path("PGS2.txt"), scoring).unwrap();
    let (plain, weights) = (path("genome.txt"), path("PGS2.txt"));
    // The file tells its build, so nobody has to.
    let score = stage.call("ada", &["query", &plain, "--score", &weights]);
    assert_eq!(score["samples"][0]["sum"], 4.5);
    assert_eq!(score["build_by_header"], true);
    let explained = stage.call("ada", &["query", &plain, "--rsid", "rs1", "--explain"]);
    assert_eq!(
        explained["sentence"],
        "give the genotype at `rs1` that every sample has in `genome.txt`"
    );

    let sealed = path("genome.txt.chorion");
    stage.call("ada", &["seal", &plain, "-o", &sealed, "--to", &format!("{key}.pub")]);
    fs::remove_file(&plain).unwrap();
    let given = stage.call("ada", &["query", &sealed, "--identity", &key, "--rsid", "rs2"]);
    assert_eq!(given["sites"][0]["at"]["samples"][0]["alleles"], serde_json::json!(["T", "T"]));
    for words in [&["--identity", other.as_str()][..], &[]] {
        let words = [&["query", &sealed, "--rsid", "rs2"], words].concat();
        let refused = stage.run("ada", &words);
        assert!(!refused.status.success() && refused.stdout.is_empty(), "{words:?}");
    }
    // A flipped bit of the sealed file gives no answer.
    let mut bytes = fs::read(&sealed).unwrap();
    let last = bytes.len() - 20;
    bytes[last] ^= 1;
    fs::write(&sealed, bytes).unwrap();
    let refused = stage.run("ada", &["query", &sealed, "--identity", &key, "--qc"]);
    assert!(!refused.status.success());
}

#[test]
fn a_region_of_a_sealed_bam_is_that_of_samtools_on_the_plain_one() {
    let stage = Stage::new();
    let path = |name: &str| stage.path(name).to_str().unwrap().to_owned();
    let mut sam = String::from("@HD\tVN:1.6\tSO:coordinate\n@SQ\tSN:chr1\tLN:4000000\n");
    for read in 0..40_000 {
        let at = 1 + read * 90;
        let bases = ["ACGT", "GGCA", "TTTA"][read % 3].repeat(25);
        let qualities: String =
            (0..100).map(|n| char::from(33 + u8::try_from((n * 7 + read) % 40).unwrap())).collect();
        sam += &format!("r{read}\t0\tchr1\t{at}\t60\t100M\t*\t0\t0\t{bases}\t{qualities}\n");
    }
    fs::write(stage.path("a.sam"), sam).unwrap();
    let samtools = |words: &[&str]| {
        Command::new("samtools").args(words).output().ok().filter(|output| output.status.success())
    };
    let (bam, index) = (path("a.bam"), path("a.bam.bai"));
    if samtools(&["view", "-b", "-o", &bam, &path("a.sam")]).is_none() {
        println!("skipped: not here (samtools)");
        return;
    }
    samtools(&["index", &bam]).unwrap();
    let key = path("my.key");
    stage.call("ada", &["keygen", "-o", &key, "--no-passphrase"]);
    let sealed = path("sealed");
    fs::create_dir(&sealed).unwrap();
    for file in [&bam, &index] {
        let name = Path::new(file).file_name().unwrap().to_str().unwrap();
        let to = format!("{sealed}/{name}.chorion");
        stage.call("ada", &["seal", file, "-o", &to, "--to", &format!("{key}.pub")]);
    }
    for region in ["chr1:1000000-1000500", "chr1:1-1", "chr1:3000000-4000000", "chr1"] {
        let out = path("out.bam");
        let file = format!("{sealed}/a.bam.chorion");
        let words = ["query", &file, "--identity", &key, "--region", region, "-o", &out, "--force"];
        let given = stage.call("ada", &words);
        let ours = samtools(&["view", &out]).unwrap().stdout;
        let theirs = samtools(&["view", &bam, region]).unwrap().stdout;
        assert!(ours == theirs, "{region}");
        let records = ours.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(given["answer"]["records"], records);
    }
}
