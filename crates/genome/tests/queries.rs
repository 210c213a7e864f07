//! Queries on real files, judged by samtools, bcftools and plink2 where they are installed.

#![expect(clippy::unwrap_used, reason = "a test that meets something unexpected ends there")]
#![expect(clippy::print_stdout, reason = "a test that is left out says so")]

use std::fmt::Write as _;
use std::io::{self, Cursor};
use std::path::{Path, PathBuf};
use std::process::Command;

use api::query::{
    Dosage, GenomeBuild, GenotypesQuery, MissingGenotypes, Named, Palindromic, Place, QcQuery,
    Region, RegionQuery, RsidQuery, ScoreQuery, ScoreRules, Site, Strand, VariantQuery,
};
use api::{Digest, Query};
use genome::Scoring;
use genome::query::{Answer, Files, Opened, QueryError, ScoreAnswer, answer};
use proptest::prelude::*;
use tempfile::TempDir;

/// Files of a folder.
struct Folder(PathBuf);

impl Files for Folder {
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn Opened>>> {
        match std::fs::File::open(self.0.join(name)) {
            Ok(file) => Ok(Some(Box::new(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Files in memory.
#[derive(Default)]
struct Memory(Vec<(String, Vec<u8>)>);

impl Files for Memory {
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn Opened>>> {
        let found = self.0.iter().find(|(file, _)| file == name);
        Ok(found.map(|(_, bytes)| Box::new(Cursor::new(bytes.clone())) as Box<dyn Opened>))
    }
}

fn ask(files: &dyn Files, query: &Query) -> Result<(Answer, Vec<u8>), QueryError> {
    let mut out = Vec::new();
    answer(query, None, files, &mut out).map(|answer| (answer, out))
}

fn data(folder: &str) -> Option<PathBuf> {
    let found = std::env::var_os("CHORION_TEST_DATA").map(|data| Path::new(&data).join(folder));
    let found = found.filter(|folder| folder.is_dir());
    if found.is_none() {
        println!("skipped: not here ({folder})");
    }
    found
}

/// What a program prints; nothing where it is not installed.
fn printed(program: &str, arguments: &[&str]) -> Option<String> {
    let Ok(output) = Command::new(program).args(arguments).output() else {
        println!("skipped: not here ({program})");
        return None;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn text(path: &Path) -> String {
    path.to_str().expect("paths of tests are UTF-8").to_owned()
}

/// Numbers that are the same in every run (`SplitMix64`).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

fn region(file: &str, contig: &str, start: u64, end: u64) -> Query {
    let region = Region { contig: contig.to_owned(), start, end };
    Query::Region(RegionQuery { file: file.to_owned(), reference: None, region })
}

/// Slices of `file` are what `judge` prints for the same region of it, with and without its index.
fn slices_agree(
    folder: &Path,
    file: &str,
    indexes: &[&str],
    spans: &[(&str, u64, u64)],
    judge: impl Fn(&Path, Option<&str>) -> Option<String>,
) {
    let work = TempDir::new().unwrap();
    std::fs::copy(folder.join(file), work.path().join(file)).unwrap();
    for with_index in [true, false] {
        for index in indexes {
            std::fs::copy(folder.join(index), work.path().join(index)).unwrap();
        }
        for (contig, start, end) in spans {
            let query = region(file, contig, *start, *end);
            let span = format!("{contig}:{start}-{end}");
            let Some(expected) = judge(&work.path().join(file), Some(&span)) else { return };
            let hidden = if with_index { work.path().to_owned() } else { work.path().join("bare") };
            if !with_index {
                std::fs::create_dir_all(&hidden).unwrap();
                std::fs::copy(folder.join(file), hidden.join(file)).unwrap();
            }
            let hidden = Folder(hidden);
            let (given, out) = ask(&hidden, &query).unwrap();
            let Answer::Slice(slice) = given else { panic!("a slice") };
            assert_eq!(slice.records, expected.lines().count() as u64, "{file} {span}");
            let made = work.path().join(format!("slice.{}", slice.format));
            std::fs::write(&made, &out).unwrap();
            assert_eq!(judge(&made, None).unwrap(), expected, "{file} {span}");
        }
    }
}

fn samtools_view(file: &Path, span: Option<&str>) -> Option<String> {
    let file = text(file);
    let mut arguments = vec!["view", &file];
    arguments.extend(span);
    printed("samtools", &arguments)
}

fn bcftools_view(file: &Path, span: Option<&str>) -> Option<String> {
    let file = text(file);
    let mut arguments = vec!["view", "-H", &file];
    arguments.extend(span.map(|span| ["-r", span]).into_iter().flatten());
    printed("bcftools", &arguments)
}

#[test]
fn slices_of_a_bam_are_those_of_samtools() {
    let Some(folder) = data("htsget/bam") else { return };
    let file = "htsnexus_test_NA12878.bam";
    let bai = format!("{file}.bai");
    let mut spans = vec![
        ("11", 1, 2_147_483_647),
        ("11", 4_999_976, 5_003_981),
        ("11", 5_015_427, 5_015_427),
        ("20", 1, 10_000_000),
        ("20", 10_000_000, 10_010_000),
        ("20", 62_000_000, 63_025_520),
        ("1", 1, 1000),
    ];
    let mut numbers = Numbers(1);
    for _ in 0..12 {
        let start = 4_990_000 + numbers.below(40_000);
        spans.push(("11", start, start + numbers.below(5000)));
    }
    slices_agree(&folder, file, &[&bai], &spans, samtools_view);
    let query = region(file, "no such", 1, 2);
    assert!(matches!(ask(&Folder(folder), &query), Err(QueryError::NoContig(_))));
}

#[test]
fn slices_of_variants_are_those_of_bcftools() {
    let Some(folder) = data("htsget") else { return };
    let (vcf, bcf) = (folder.join("vcf"), folder.join("bcf"));
    let of_spec = [
        ("20", 1, 20_000),
        ("20", 14_370, 14_370),
        ("20", 1_234_568, 1_234_569),
        ("20", 17_330, 1_110_696),
    ];
    let of_sample = [("chrM", 1, 500), ("chrM", 150, 152), ("chr22", 1, 60_000_000)];
    for (name, spans) in [("spec-v4.3", &of_spec[..]), ("sample1-bcbio-cancer", &of_sample[..])] {
        let file = format!("{name}.vcf.gz");
        slices_agree(&vcf, &file, &[&format!("{file}.tbi")], spans, bcftools_view);
        let file = format!("{name}.bcf");
        slices_agree(&bcf, &file, &[&format!("{file}.csi")], spans, bcftools_view);
    }
}

/// A reference, reads made from it, and the CRAM that samtools makes of them.
fn made_cram(work: &Path) -> Option<()> {
    let mut numbers = Numbers(7);
    let mut fasta = String::new();
    let mut contigs = Vec::new();
    for name in ["one", "two"] {
        let bases: String = (0..60_000)
            .map(|_| ['A', 'C', 'G', 'T'][usize::try_from(numbers.below(4)).unwrap()])
            .collect();
        writeln!(fasta, ">{name}").unwrap();
        for line in bases.as_bytes().chunks(60) {
            writeln!(fasta, "{}", std::str::from_utf8(line).unwrap()).unwrap();
        }
        contigs.push((name, bases));
    }
    let mut sam = String::from(
        "@HD\tVN:1.6\tSO:coordinate\n@SQ\tSN:one\tLN:60000\n@SQ\tSN:two\tLN:60000\n@RG\tID:a\tSM:NA12878\n",
    );
    for (name, bases) in &contigs {
        let mut at = 100_usize;
        let mut number = 0;
        while at + 200 < bases.len() {
            let read = &bases[at..at + 100];
            let quality: String = (0..100)
                .map(|_| char::from(b'#' + u8::try_from(numbers.below(30)).unwrap()))
                .collect();
            let (flag, cigar, read) = match numbers.below(5) {
                0 => (
                    16,
                    "50M2D50M".to_owned(),
                    format!("{}{}", &bases[at..at + 50], &bases[at + 52..at + 102]),
                ),
                1 => (0, "10S90M".to_owned(), format!("ACGTACGTAC{}", &read[..90])),
                2 => (0, "100M".to_owned(), format!("{}N{}", &read[..40], &read[41..])),
                _ => (16, "100M".to_owned(), read.to_owned()),
            };
            writeln!(sam, "{name}{number}\t{flag}\t{name}\t{}\t60\t{cigar}\t*\t0\t0\t{read}\t{quality}\tRG:Z:a\tXA:i:{number}", at + 1).unwrap();
            at += usize::try_from(numbers.below(25)).unwrap();
            number += 1;
        }
    }
    std::fs::write(work.join("ref.fa"), fasta).unwrap();
    std::fs::write(work.join("a.sam"), sam).unwrap();
    let (reference, from, to) =
        (text(&work.join("ref.fa")), text(&work.join("a.sam")), text(&work.join("a.cram")));
    printed("samtools", &["faidx", &reference])?;
    printed(
        "samtools",
        &[
            "view",
            "-C",
            "-T",
            &reference,
            "--output-fmt-option",
            "seqs_per_slice=300",
            "--output-fmt-option",
            "slices_per_container=3",
            "-o",
            &to,
            &from,
        ],
    )?;
    printed("samtools", &["index", &to])?;
    Some(())
}

#[test]
fn slices_of_a_cram_are_those_of_samtools_and_need_its_reference() {
    let work = TempDir::new().unwrap();
    if made_cram(work.path()).is_none() {
        return;
    }
    let reference = text(&work.path().join("ref.fa"));
    let folder = Folder(work.path().into());
    for index in [true, false] {
        if !index {
            std::fs::rename(work.path().join("a.cram.crai"), work.path().join("kept.crai"))
                .unwrap();
        }
        for (contig, start, end) in [
            ("one", 1, 60_000),
            ("one", 30_000, 30_100),
            ("two", 150, 150),
            ("two", 59_000, 60_000),
        ] {
            let Query::Region(mut ask_region) = region("a.cram", contig, start, end) else {
                unreachable!()
            };
            ask_region.reference = Some("ref.fa".into());
            let (given, out) = ask(&folder, &Query::Region(ask_region)).unwrap();
            let made = work.path().join("slice.bam");
            std::fs::write(&made, &out).unwrap();
            if !index {
                std::fs::copy(work.path().join("kept.crai"), work.path().join("a.cram.crai"))
                    .unwrap();
            }
            let cram = text(&work.path().join("a.cram"));
            let span = format!("{contig}:{start}-{end}");
            let expected = printed(
                "samtools",
                &["view", "-T", &reference, "--input-fmt-option", "decode_md=0", &cram, &span],
            )
            .unwrap();
            assert_eq!(samtools_view(&made, None).unwrap(), expected, "{span}");
            let Answer::Slice(slice) = given else { panic!("a slice") };
            assert_eq!(slice.records, expected.lines().count() as u64);
            if !index {
                std::fs::remove_file(work.path().join("a.cram.crai")).unwrap();
            }
        }
    }
    let error = ask(&folder, &region("a.cram", "one", 1, 1000)).unwrap_err();
    assert!(matches!(error, QueryError::NoReference(_)), "{error:?}");
    std::fs::write(
        work.path().join("ref.fa.fai"),
        "one\t60000\t5\t60\t61\ntwo\t60000\t5\t60\t61\n",
    )
    .unwrap();
    let Query::Region(mut wrong) = region("a.cram", "two", 1, 1000) else { unreachable!() };
    wrong.reference = Some("ref.fa".into());
    assert!(ask(&folder, &Query::Region(wrong)).is_err(), "another sequence is not the reference");
}

const EUR: &str = "/usr/share/doc/bio-eagle/examples/EUR_test.vcf.gz";

/// The people of Debian's `bio-eagle-examples` with some genotypes taken out: VCF text, and its rows.
fn punched() -> Option<(String, Vec<Vec<String>>)> {
    if !Path::new(EUR).exists() {
        println!("skipped: not here (bio-eagle-examples)");
        return None;
    }
    let whole = printed("bcftools", &["view", EUR])?;
    let mut numbers = Numbers(42);
    let (mut out, mut rows) = (String::new(), Vec::new());
    for line in whole.lines() {
        if line.starts_with('#') {
            out.push_str(line);
        } else {
            let mut fields: Vec<String> = line.split('\t').map(str::to_owned).collect();
            for genotype in &mut fields[9..] {
                if numbers.below(25) == 0 {
                    *genotype = "./.".into();
                }
            }
            out.push_str(&fields.join("\t"));
            rows.push(fields);
        }
        out.push('\n');
    }
    Some((out, rows))
}

fn rules(missing: MissingGenotypes) -> ScoreRules {
    ScoreRules {
        missing,
        strand: Strand::AsGiven,
        palindromic: Palindromic::Keep,
        dosage: Dosage::Genotype,
        least_match_percent: 0,
    }
}

fn score_of(
    files: &dyn Files,
    file: &str,
    samples: &[&str],
    text: &str,
    rules: ScoreRules,
) -> Result<ScoreAnswer, QueryError> {
    let scoring = Scoring::parse(text)?.facts(Digest([0; 32]));
    let ask = Query::Score(ScoreQuery {
        file: file.to_owned(),
        samples: samples.iter().map(|s| (*s).to_owned()).collect(),
        build: scoring.build,
        scoring,
        rules,
    });
    let mut out = Vec::new();
    match answer(&ask, Some(text), files, &mut out)? {
        Answer::Score(score) => {
            assert!(out.is_empty(), "a score gives nothing else away");
            Ok(score)
        }
        other => panic!("{other:?}"),
    }
}

/// `#IID … SCORE1_AVG SCORE1_SUM` of an `.sscore` file, by name of the column.
fn plink_scores(text: &str) -> Vec<(String, f64, f64, u64)> {
    let mut lines = text.lines();
    let titles: Vec<&str> = lines.next().unwrap().trim_start_matches('#').split('\t').collect();
    let at = |title: &str| titles.iter().position(|t| *t == title).unwrap();
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            (
                fields[at("IID")].to_owned(),
                fields[at("SCORE1_SUM")].parse().unwrap(),
                fields[at("SCORE1_AVG")].parse().unwrap(),
                fields[at("ALLELE_CT")].parse().unwrap(),
            )
        })
        .collect()
}

/// plink2 prints six digits.
fn close(ours: f64, theirs: f64, what: &str) {
    assert!(
        (ours - theirs).abs() <= 1e-5 * theirs.abs().max(1e-4) + 1e-9,
        "{what}: {ours} and {theirs}"
    );
}

#[test]
fn scores_are_those_of_plink2_with_and_without_mean_imputation() {
    let Some((vcf, rows)) = punched() else { return };
    if printed("plink2", &["--version"]).is_none() {
        return;
    }
    let work = TempDir::new().unwrap();
    let file = work.path().join("eur.vcf");
    std::fs::write(&file, &vcf).unwrap();
    let mut numbers = Numbers(500);
    let mut chosen: Vec<&Vec<String>> = rows.iter().collect();
    // plink2 counts a variant by its name, which must be there once.
    chosen.retain(|row| rows.iter().filter(|other| other[2] == row[2]).count() == 1);
    while chosen.len() > 500 {
        let at = usize::try_from(numbers.below(chosen.len() as u64)).unwrap();
        chosen.swap_remove(at);
    }
    let mut pgs = String::from(
        "#pgs_id=PGS999998\n#genome_build=GRCh37\nrsID\tchr_name\tchr_position\teffect_allele\tother_allele\teffect_weight\n",
    );
    let mut plain = String::new();
    for row in &chosen {
        let (effect, other) =
            if numbers.below(2) == 0 { (&row[3], &row[4]) } else { (&row[4], &row[3]) };
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let weight = numbers.below(2_000_000) as f64 / 1e6 - 1.0;
        writeln!(pgs, "{}\t{}\t{}\t{effect}\t{other}\t{weight}", row[2], row[0], row[1]).unwrap();
        writeln!(plain, "{}\t{effect}\t{weight}", row[2]).unwrap();
    }
    std::fs::write(work.path().join("weights.txt"), plain).unwrap();
    // The same people as BGZF with an index, as BCF, and as text.
    let plain_file = text(&file);
    for (kind, name) in [("-Oz", "eur.vcf.gz"), ("-Ob", "eur.bcf")] {
        let to = text(&work.path().join(name));
        printed("bcftools", &["view", kind, "-o", &to, &plain_file]).unwrap();
        printed("bcftools", &["index", &to]).unwrap();
    }
    let folder = Folder(work.path().into());
    let (weights, out) = (text(&work.path().join("weights.txt")), text(&work.path().join("out")));
    for (rule, modifier) in [
        (MissingGenotypes::MeanOfFile, None),
        (MissingGenotypes::LeaveOut, Some("no-mean-imputation")),
    ] {
        let mut arguments = vec![
            "--vcf",
            plain_file.as_str(),
            "--memory",
            "1000",
            "--out",
            &out,
            "--score",
            &weights,
            "1",
            "2",
            "3",
        ];
        arguments.extend(modifier);
        arguments.push("cols=+scoresums");
        printed("plink2", &arguments).unwrap();
        let judged =
            plink_scores(&std::fs::read_to_string(work.path().join("out.sscore")).unwrap());
        assert_eq!(judged.len(), 379);
        for name in ["eur.vcf", "eur.vcf.gz", "eur.bcf"] {
            let ours = score_of(&folder, name, &[], &pgs, rules(rule)).unwrap();
            assert_eq!((ours.matched.counted, ours.matched.absent), (500, 0));
            assert!(ours.samples.iter().any(|sample| sample.missing > 0));
            for (sample, (name, sum, average, alleles)) in ours.samples.iter().zip(&judged) {
                assert_eq!((&sample.sample, sample.alleles), (name, *alleles));
                close(sample.sum, *sum, name);
                close(sample.average.unwrap(), *average, name);
            }
            // One person's score is the same whoever else is asked for.
            let last = &ours.samples[378];
            let alone = score_of(&folder, name, &[&last.sample], &pgs, rules(rule)).unwrap();
            assert_eq!(alone.samples, std::slice::from_ref(last));
        }
    }
}

#[test]
fn quality_figures_are_those_of_bcftools() {
    let Some((vcf, _)) = punched() else { return };
    let work = TempDir::new().unwrap();
    let file = work.path().join("eur.vcf");
    std::fs::write(&file, vcf).unwrap();
    let stats = printed("bcftools", &["stats", "-s", "-", &text(&file)]).unwrap();
    let query = Query::Qc(QcQuery { file: "eur.vcf".into(), samples: vec![] });
    let (Answer::Qc(ours), _) = ask(&Folder(work.path().into()), &query).unwrap() else {
        panic!("figures")
    };
    let number = |line: &str| {
        let found = stats.lines().find(|l| l.contains(line)).unwrap_or_else(|| panic!("{line}"));
        found.rsplit('\t').next().unwrap().parse::<u64>().unwrap()
    };
    let counts = ours.file;
    assert_eq!(counts.records, number("number of records:"));
    assert_eq!(counts.snvs, number("number of SNPs:"));
    assert_eq!(counts.indels, number("number of indels:"));
    assert_eq!(counts.multiallelic, number("number of multiallelic sites:"));
    let titv: Vec<&str> =
        stats.lines().find(|l| l.starts_with("TSTV")).unwrap().split('\t').collect();
    assert_eq!(
        [counts.transitions.to_string(), counts.transversions.to_string()],
        [titv[2], titv[3]]
    );
    let mut people = 0;
    for (line, sample) in stats.lines().filter(|l| l.starts_with("PSC\t")).zip(&ours.samples) {
        let fields: Vec<&str> = line.split('\t').collect();
        let told = [
            sample.homozygous_reference.unwrap(),
            sample.homozygous_alternate,
            sample.heterozygous,
            sample.transitions.unwrap(),
            sample.transversions.unwrap(),
        ];
        assert_eq!(fields[2], sample.sample);
        assert_eq!(told.map(|n| n.to_string()), fields[3..8], "{line}");
        assert_eq!(sample.missing.to_string(), fields[13], "{line}");
        people += 1;
    }
    assert_eq!(people, 379);
}

#[test]
fn genotypes_are_those_of_bcftools() {
    let Some((vcf, rows)) = punched() else { return };
    let work = TempDir::new().unwrap();
    std::fs::write(work.path().join("eur.vcf"), vcf).unwrap();
    let folder = Folder(work.path().into());
    let plain = text(&work.path().join("eur.vcf"));
    let bcf = text(&work.path().join("eur.bcf"));
    printed("bcftools", &["view", "-Ob", "-o", &bcf, &plain]).unwrap();
    printed("bcftools", &["index", &bcf]).unwrap();
    let title = printed("bcftools", &["query", "-l", &plain]).unwrap();
    let people: Vec<&str> = title.lines().collect();
    for row in rows.iter().step_by(97) {
        let expected: Vec<String> = row[9..]
            .iter()
            .map(|genotype| genotype.replace('0', &row[3]).replace('1', &row[4]))
            .collect();
        for file in ["eur.vcf", "eur.bcf"] {
            let place = Place {
                contig: row[0].clone(),
                position: row[1].parse().unwrap(),
                reference: row[3].clone(),
                allele: row[4].clone(),
            };
            let list = Query::Genotypes(GenotypesQuery {
                file: file.into(),
                samples: vec![],
                sites: vec![Site::Place(place.clone())],
            });
            let named =
                Query::Rsid(RsidQuery { file: file.into(), samples: vec![], rsid: row[2].clone() });
            for query in [list, named] {
                let (Answer::Genotypes(given), _) = ask(&folder, &query).unwrap() else {
                    panic!("genotypes")
                };
                let at = given.sites[0].at.as_ref().unwrap();
                let ours: Vec<String> = at.samples.iter().map(|s| s.alleles.join("/")).collect();
                assert_eq!(ours, expected);
            }
            let who = people[5];
            let copies = Query::Variant(VariantQuery {
                file: file.into(),
                samples: vec![who.into()],
                variant: place,
            });
            let (Answer::Variant(given), _) = ask(&folder, &copies).unwrap() else {
                panic!("copies")
            };
            let genotype = &row[9 + 5];
            let expected = (!genotype.contains('.')).then(|| genotype.matches('1').count());
            assert_eq!(given.samples[0].copies.map(usize::from), expected);
            assert!(given.found && given.samples.len() == 1);
        }
    }
}

#[test]
fn the_small_score_has_both_rules_for_missing_genotypes() {
    let Some(folder) = data("pgs") else { return };
    let scoring = std::fs::read_to_string(folder.join("PGS999999.txt")).unwrap();
    let files = Folder(folder.clone());
    let ours = score_of(&files, "t.vcf", &[], &scoring, rules(MissingGenotypes::LeaveOut)).unwrap();
    let judged = plink_scores(&std::fs::read_to_string(folder.join("a.sscore")).unwrap());
    for (sample, (name, sum, average, alleles)) in ours.samples.iter().zip(judged) {
        assert_eq!((&sample.sample, sample.alleles), (&name, alleles));
        close(sample.sum, sum, &name);
        close(sample.average.unwrap(), average, &name);
    }
    // The frequencies of f.afreq, for the effect allele of each row.
    let mut with = String::new();
    for line in scoring.lines() {
        let frequency = if line.starts_with('#') {
            ""
        } else if line.starts_with("rsID") {
            "\tallelefrequency_effect"
        } else if line.starts_with("rs2") {
            "\t0.3"
        } else {
            "\t0.5"
        };
        writeln!(with, "{line}{frequency}").unwrap();
    }
    let rule = rules(MissingGenotypes::MeanOfScoringFile);
    let ours = score_of(&files, "t.vcf", &[], &with, rule).unwrap();
    let judged = plink_scores(&std::fs::read_to_string(folder.join("b.sscore")).unwrap());
    for (sample, (name, sum, average, alleles)) in ours.samples.iter().zip(judged) {
        assert_eq!((&sample.sample, sample.alleles), (&name, alleles));
        close(sample.sum, sum, &name);
        close(sample.average.unwrap(), average, &name);
    }
    let few = score_of(&files, "t.vcf", &[], &scoring, rules(MissingGenotypes::MeanOfFile));
    assert!(matches!(few, Err(QueryError::FewSamples(3))));
}

const TITLES: &str = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tA\tB\n";

fn vcf(header: &str, records: &str) -> Memory {
    let text = format!("##fileformat=VCFv4.3\n{header}{TITLES}{}", records.replace(' ', "\t"));
    Memory(vec![("a.vcf".into(), text.into_bytes())])
}

fn scoring(build: &str, rows: &str) -> String {
    format!(
        "#pgs_id=PGS1\n#genome_build={build}\nchr_name\tchr_position\teffect_allele\tother_allele\teffect_weight\n{}",
        rows.replace(' ', "\t")
    )
}

#[test]
fn another_build_is_refused() {
    let files = vcf("##contig=<ID=chr20,length=64444167>\n", "chr20 100 . A G . . . GT 0/1 1/1\n");
    let rows = "20 100 G A 1\n";
    let good =
        score_of(&files, "a.vcf", &[], &scoring("GRCh38", rows), rules(MissingGenotypes::LeaveOut))
            .unwrap();
    assert!(good.build_by_header);
    assert_eq!(good.samples.iter().map(|s| s.sum).collect::<Vec<_>>(), [1.0, 2.0]);
    let other =
        score_of(&files, "a.vcf", &[], &scoring("hg19", rows), rules(MissingGenotypes::LeaveOut));
    let said = other.unwrap_err().to_string();
    assert_eq!(
        said,
        "the file, by its header, is on GRCh38 and the query says that it is on GRCh37"
    );
    let unsaid =
        score_of(&files, "a.vcf", &[], &scoring("NR", rows), rules(MissingGenotypes::LeaveOut));
    assert!(matches!(unsaid, Err(QueryError::Scoring(_))));
    // What the asker says of the genotypes must be what the scoring file is on.
    let text = scoring("GRCh38", rows);
    let facts = Scoring::parse(&text).unwrap().facts(Digest([0; 32]));
    let ask_other = Query::Score(ScoreQuery {
        file: "a.vcf".into(),
        samples: vec![],
        build: GenomeBuild::Grch37,
        scoring: facts,
        rules: rules(MissingGenotypes::LeaveOut),
    });
    let refused = answer(&ask_other, Some(&text), &files, &mut io::sink());
    assert!(matches!(refused, Err(QueryError::Build { .. })));
}

#[test]
fn strand_palindromes_and_absent_sites_follow_the_rules_that_are_named() {
    let files = vcf(
        "",
        "1 100 . A G . . . GT 0/1 1/1\n1 200 . A T . . . GT 0/1 1/1\n1 300 . C G,T . . . GT 1/2 2/2\n",
    );
    // As given, on the other strand, palindromic, one of several, other alleles, absent.
    let rows =
        "1 100 G A 1\n1 100 C T 10\n1 200 T A 100\n1 300 T C 1000\n1 300 A T 10000\n1 999 A C 5\n";
    let text = scoring("GRCh37", rows);
    let with = |strand, palindromic, least_match_percent| {
        let rules = ScoreRules {
            strand,
            palindromic,
            least_match_percent,
            ..rules(MissingGenotypes::LeaveOut)
        };
        score_of(&files, "a.vcf", &[], &text, rules)
    };
    let plain = with(Strand::AsGiven, Palindromic::Keep, 0).unwrap();
    assert_eq!(plain.samples.iter().map(|s| s.sum).collect::<Vec<_>>(), [1101.0, 2202.0]);
    let m = plain.matched;
    assert_eq!(
        (m.counted, m.flipped, m.palindromic_kept, m.other_alleles, m.absent),
        (3, 0, 1, 2, 1)
    );
    let strict = with(Strand::Flip, Palindromic::LeaveOut, 0).unwrap();
    assert_eq!(strict.samples.iter().map(|s| s.sum).collect::<Vec<_>>(), [1011.0, 2022.0]);
    let m = strict.matched;
    assert_eq!(
        (m.counted, m.flipped, m.palindromic_left_out, m.other_alleles, m.absent),
        (3, 1, 2, 0, 1)
    );
    assert!(strict.rules_in_words.contains("A/T and C/G variants are left out"));
    assert!(matches!(
        with(Strand::AsGiven, Palindromic::Keep, 75),
        Err(QueryError::TooFew { matched: 3, all: 6, least_percent: 75 })
    ));
    let same = vcf("", "1 100 . A G . . . GT 0/1 1/1\n1 100 . A G . . . GT 0/1 1/1\n");
    let twice = score_of(&same, "a.vcf", &[], &text, rules(MissingGenotypes::LeaveOut));
    assert!(matches!(twice, Err(QueryError::Twice(_))));
}

#[test]
fn dosages_count_where_they_are_asked_for_and_models_are_those_of_the_row() {
    let files = vcf("", "1 100 . A G . . . GT:DS 0/1:1.5 ./.:0.25\n");
    let text = "#pgs_id=P\n#genome_build=GRCh37\nchr_name\tchr_position\teffect_allele\tother_allele\teffect_weight\tis_dominant\tis_recessive\n\
                1\t100\tG\tA\t1\tFalse\tFalse\n1\t100\tA\tG\t100\tTrue\tFalse\n1\t100\tG\tA\t10000\tFalse\tTrue\n";
    let with = |dosage| {
        let rules = ScoreRules { dosage, ..rules(MissingGenotypes::LeaveOut) };
        let given = score_of(&files, "a.vcf", &[], text, rules).unwrap();
        given.samples.iter().map(|s| s.sum).collect::<Vec<_>>()
    };
    assert_eq!(with(Dosage::Genotype), [101.0, 0.0]);
    assert_eq!(with(Dosage::Ds), [1.5 + 50.0 + 5000.0, 0.25 + 100.0]);
    let refused = Scoring::parse(
        "#genome_build=GRCh37\nrsID\teffect_allele\teffect_weight\tis_interaction\nrs1\tA\t1\tTrue\n",
    );
    assert!(matches!(refused, Err(QueryError::Scoring(_))));
}

const CONSUMER: &str = "# This data file generated by 23andMe\n# We are using reference human assembly build 37 (also known as Annotation Release 104).\n\
# rsid\tchromosome\tposition\tgenotype\nrs1\t1\t100\tAG\nrs2\t1\t200\t--\nrs3\t1\t300\tGG\ni4\tX\t400\tT\nrs5\t2\t500\tDI\n";

#[test]
fn a_text_of_genotypes_answers_what_it_can() {
    let format = genome::recognise("genome_Anna.txt", CONSUMER.as_bytes()).unwrap();
    assert_eq!(genome::check(CONSUMER.as_bytes(), format, None).unwrap().records, 5);
    let broken = CONSUMER.replace("AG", "AX");
    assert!(genome::check(broken.as_bytes(), format, None).is_err());
    let files = Memory(vec![("a.txt".into(), CONSUMER.as_bytes().to_vec())]);
    let qc = Query::Qc(QcQuery { file: "a.txt".into(), samples: vec![] });
    let (Answer::Qc(figures), _) = ask(&files, &qc).unwrap() else { panic!("figures") };
    let one = &figures.samples[0];
    assert_eq!(
        (one.called, one.missing, one.heterozygous, one.homozygous_alternate, one.haploid),
        (4, 1, 2, 1, 1)
    );
    assert_eq!((one.transitions, one.homozygous_reference, one.ti_tv), (None, None, None));
    let rsid = Query::Rsid(RsidQuery { file: "a.txt".into(), samples: vec![], rsid: "rs1".into() });
    let (Answer::Genotypes(given), _) = ask(&files, &rsid).unwrap() else { panic!("genotypes") };
    assert_eq!(given.sites[0].at.as_ref().unwrap().samples[0].alleles, ["A", "G"]);
    // Nobody has the effect allele of rs3: no copies, not a missing one.
    let text = scoring("GRCh37", "1 100 G A 1\n1 300 A G 10\n1 200 A G 100\n");
    let given = score_of(&files, "a.txt", &[], &text, rules(MissingGenotypes::LeaveOut)).unwrap();
    assert_eq!(
        (given.samples[0].sum, given.samples[0].missing, given.matched.counted),
        (1.0, 1, 3)
    );
    let other = score_of(
        &files,
        "a.txt",
        &[],
        &scoring("GRCh38", "1 100 G A 1\n"),
        rules(MissingGenotypes::LeaveOut),
    );
    assert!(matches!(other, Err(QueryError::Build { .. })));
    let slice = ask(&files, &region("a.txt", "1", 1, 1000));
    assert!(matches!(slice, Err(QueryError::NotOf { .. })));
}

#[test]
fn what_is_not_there_is_said() {
    let files = vcf("", "1 100 rs1 A G . . . GT 0/1 ./.\n1 200 . A . . . . GT 0/0 0/0\n");
    let place = |position, allele: &str| Place {
        contig: "chr1".into(),
        position,
        reference: "A".into(),
        allele: allele.into(),
    };
    let copies = |position, allele: &str| {
        let query = Query::Variant(VariantQuery {
            file: "a.vcf".into(),
            samples: vec![],
            variant: place(position, allele),
        });
        let (Answer::Variant(given), _) = ask(&files, &query).unwrap() else { panic!("copies") };
        (given.found, given.samples.iter().map(|s| s.copies).collect::<Vec<_>>())
    };
    assert_eq!(copies(100, "G"), (true, vec![Some(1), None]));
    assert_eq!(copies(100, "T"), (false, vec![None, None]));
    assert_eq!(copies(200, "G"), (true, vec![Some(0), Some(0)]));
    assert_eq!(copies(300, "G"), (false, vec![None, None]));
    let nobody = Query::Qc(QcQuery { file: "a.vcf".into(), samples: vec!["C".into()] });
    assert!(matches!(ask(&files, &nobody), Err(QueryError::NoSample(_))));
    let missing = Query::Qc(QcQuery { file: "b.vcf".into(), samples: vec![] });
    assert!(matches!(ask(&files, &missing), Err(QueryError::NoFile(_))));
    let list = Query::Genotypes(GenotypesQuery {
        file: "a.vcf".into(),
        samples: vec!["A".into()],
        sites: vec![
            Site::Rsid(Named { rsid: "rs9".into() }),
            Site::Rsid(Named { rsid: "rs1".into() }),
        ],
    });
    let (Answer::Genotypes(given), _) = ask(&files, &list).unwrap() else { panic!("genotypes") };
    assert!(given.sites[0].at.is_none() && given.sites[1].at.is_some());
}

/// Files to change at random.
fn seeds() -> Vec<Memory> {
    let mut seeds =
        vec![vcf("##contig=<ID=1,length=1000>\n", "1 100 rs1 A G . . END=120 GT:DS 0/1:1 ./.:0\n")];
    seeds.push(Memory(vec![("a.txt".into(), CONSUMER.as_bytes().to_vec())]));
    let Some(folder) = data("htsget") else { return seeds };
    for (file, index) in [
        ("vcf/spec-v4.3.vcf.gz", "tbi"),
        ("bcf/spec-v4.3.bcf", "csi"),
        ("bcf/sample1-bcbio-cancer.bcf", "csi"),
    ] {
        let name = Path::new(file).file_name().unwrap().to_str().unwrap();
        let read = |name: String| std::fs::read(folder.join(name)).unwrap();
        seeds.push(Memory(vec![
            (name.to_owned(), read(file.to_owned())),
            (format!("{name}.{index}"), read(format!("{file}.{index}"))),
        ]));
    }
    seeds
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    /// Whatever was done to a file or its index, a query ends with an answer or a reason.
    #[test]
    fn changed_files_and_indexes_are_answered_or_refused(
        which in 0_usize..5,
        edits in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>(), any::<u8>()), 1..6),
        start in 1_u64..30_000,
    ) {
        static SEEDS: std::sync::LazyLock<Vec<Memory>> = std::sync::LazyLock::new(seeds);
        let Some(seed) = SEEDS.get(which) else { return Ok(()) };
        let mut changed = Memory(seed.0.clone());
        for (index, place, byte) in edits {
            let at = usize::from(index) % changed.0.len();
            let bytes = &mut changed.0[at].1;
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        let file = changed.0[0].0.clone();
        let contig = if file.contains("bcbio") { "chrM" } else { "20" };
        drop(ask(&changed, &region(&file, contig, start, start + 5000)));
        drop(ask(&changed, &Query::Qc(QcQuery { file: file.clone(), samples: vec![] })));
        drop(ask(&changed, &Query::Rsid(RsidQuery { file, samples: vec![], rsid: "rs1".into() })));
    }
}
