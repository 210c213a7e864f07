//! Run folders made by the generator beside the test data, in every format, held against its truth file.
//!
//! The truth does not rest on this code: another program made it, and picard reproduces it.

use std::path::Path;

use crate::common::{MemorySource, generated, gunzip, run, threads};
use runfolder::dir::DirSource;
use runfolder::{Report, RunInfo, SampleSheet, plan};
use serde_json::Value;
use sha2::{Digest, Sha256};

const SHAPE: [&str; 12] = [
    "--lanes",
    "2",
    "--tiles",
    "3",
    "--clusters",
    "3001",
    "--samples",
    "5",
    "--reads",
    "37,33",
    "--index",
    "8,8",
];

/// Everything the truth file says of reads, counts and unknown barcodes.
fn agrees(folder: &Path, sheet: &str) {
    let truth: Value =
        serde_json::from_slice(&std::fs::read(folder.join("truth.json")).unwrap()).unwrap();
    let source = MemorySource::of(&DirSource::new(folder).unwrap());
    let mut outputs = Vec::new();
    for count in [1, 2, 8] {
        let run_info = RunInfo::parse(&source.0["RunInfo.xml"]).unwrap();
        let sheet = SampleSheet::parse(&source.0[sheet]).unwrap();
        let plan = plan(run_info, &sheet, threads(count)).unwrap();
        outputs.push(run(&source, &plan).unwrap());
    }
    assert!(outputs.windows(2).all(|pair| pair[0] == pair[1]), "threads change the output");
    let (sink, report) = outputs.pop().unwrap();
    let lanes = truth["args"]["lanes"].as_u64().unwrap();
    for (sample, expected) in truth["counts"].as_object().unwrap() {
        let name = |row: &Value| match sheet {
            "SampleSheet.csv" => row["name"].as_str().unwrap().to_owned(),
            _ => row["id"].as_str().unwrap().to_owned(),
        };
        let stem =
            match truth["samples"].as_array().unwrap().iter().position(|s| s["id"] == **sample) {
                Some(at) => {
                    let row = &truth["samples"][at];
                    format!("{}/{}_S{}", row["project"].as_str().unwrap(), name(row), at + 1)
                }
                None => "Undetermined_S0".to_owned(),
            };
        for (read, digest) in expected["digest"].as_object().unwrap() {
            let mut hasher = Sha256::new();
            for lane in 1..=lanes {
                let path = format!("{stem}_L{lane:03}_{read}_001.fastq.gz");
                hasher.update(gunzip(&sink.files[&path]));
            }
            let found: String = hasher.finalize().iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(found, digest["fastq_sha256"].as_str().unwrap(), "{sample} {read}");
        }
        counts_agree(&report, sample, expected);
    }
    unknown_agree(&report, &truth);
    let passing: u64 = report.lanes.iter().map(|lane| lane.passing).sum();
    assert_eq!(passing, truth["total_pf"].as_u64().unwrap());
}

fn counts_agree(report: &Report, sample: &str, expected: &Value) {
    let lanes = report.lanes.iter().flat_map(|lane| &lane.samples);
    let mine: Vec<_> = lanes.filter(|s| s.sample_id == sample).collect();
    let sum =
        |part: &dyn Fn(&runfolder::SampleReport) -> u64| mine.iter().map(|s| part(s)).sum::<u64>();
    let metrics =
        |part: &dyn Fn(&runfolder::ReadMetrics) -> u64| sum(&|s| s.metrics.iter().map(part).sum());
    for (name, found) in [
        ("reads", sum(&|s| s.reads)),
        ("bases", metrics(&|m| m.bases)),
        ("q30_bases", metrics(&|m| m.q30_bases)),
    ] {
        assert_eq!(found, expected[name].as_u64().unwrap(), "{sample} {name}");
    }
    if sample != "Undetermined" {
        for (at, name) in ["exact", "one_mismatch", "two_mismatch"].into_iter().enumerate() {
            assert_eq!(
                sum(&|s| s.by_mismatches[at]),
                expected[name].as_u64().unwrap(),
                "{sample} {name}"
            );
        }
    }
}

fn unknown_agree(report: &Report, truth: &Value) {
    let mut counts = std::collections::HashMap::new();
    for barcode in report.lanes.iter().flat_map(|lane| &lane.unknown) {
        let joined = match barcode.index2.as_str() {
            "" => barcode.index.clone(),
            i5 => format!("{}+{i5}", barcode.index),
        };
        *counts.entry(joined).or_insert(0) += barcode.reads;
    }
    for pair in truth["top_unknown"].as_array().unwrap() {
        let (barcode, reads) = (pair[0].as_str().unwrap(), pair[1].as_u64().unwrap());
        assert_eq!(counts.get(barcode), Some(&reads), "{barcode}");
    }
}

fn format_agrees(format: &str, more: &[&str], sheet: &str) {
    let folder = tempfile::tempdir().unwrap();
    if generated(folder.path(), format, &[&SHAPE[..], more].concat()) {
        agrees(folder.path(), sheet);
    }
}

#[test]
fn cbcl_with_all_clusters_gives_the_truth() {
    format_agrees("cbcl", &[], "SampleSheet_v2.csv");
}

#[test]
fn cbcl_with_passing_clusters_only_gives_the_truth() {
    format_agrees("cbcl", &["--pf-only"], "SampleSheet_v2.csv");
}

#[test]
fn cbcl_that_changes_in_mid_run_gives_the_truth() {
    format_agrees("cbcl", &["--mixed-pf"], "SampleSheet.csv");
}

#[test]
fn bgzf_gives_the_truth() {
    format_agrees("bgzf", &[], "SampleSheet.csv");
}

#[test]
fn bcl_gz_gives_the_truth() {
    format_agrees("bclgz", &[], "SampleSheet_v2.csv");
}

#[test]
fn plain_bcl_gives_the_truth() {
    format_agrees("bcl", &[], "SampleSheet.csv");
}

#[test]
fn a_single_index_and_no_passing_cluster_but_few_give_the_truth() {
    let shape = [
        "--tiles",
        "1",
        "--clusters",
        "777",
        "--samples",
        "3",
        "--reads",
        "26",
        "--index",
        "10",
        "--pf",
        "0.01",
        "--mixed-pf",
    ];
    let folder = tempfile::tempdir().unwrap();
    if generated(folder.path(), "cbcl", &shape) {
        agrees(folder.path(), "SampleSheet_v2.csv");
    }
}

#[test]
fn a_tile_of_several_strips_gives_the_truth() {
    let shape = [
        "--tiles",
        "1",
        "--clusters",
        "150001",
        "--samples",
        "4",
        "--reads",
        "30,10",
        "--index",
        "8,8",
        "--mixed-pf",
    ];
    let folder = tempfile::tempdir().unwrap();
    if generated(folder.path(), "cbcl", &shape) {
        agrees(folder.path(), "SampleSheet_v2.csv");
    }
}

#[test]
fn tiles_of_a_bgzf_lane_come_in_the_order_of_run_info_also_where_the_stream_has_another() {
    let folder = tempfile::tempdir().unwrap();
    if !generated(folder.path(), "bgzf", &SHAPE) {
        return;
    }
    let mut source = MemorySource::of(&DirSource::new(folder.path()).unwrap());
    let of = |source: &MemorySource, count| {
        let sheet = SampleSheet::parse(&source.0["SampleSheet_v2.csv"]).unwrap();
        let info = RunInfo::parse(&source.0["RunInfo.xml"]).unwrap();
        run(source, &plan(info, &sheet, threads(count)).unwrap()).unwrap()
    };
    let in_stream = of(&source, 2).0;
    let text = String::from_utf8(source.0["RunInfo.xml"].clone()).unwrap();
    let (before, rest) = text.split_once("<Tiles>").unwrap();
    let (tiles, after) = rest.split_once("</Tiles>").unwrap();
    let mut tiles: Vec<&str> = tiles.split_inclusive("</Tile>").collect();
    tiles.retain(|tile| tile.contains("<Tile>"));
    tiles.sort_by_key(|tile| {
        tile.bytes().rev().map(u32::from).fold(0u32, |sum, b| sum.wrapping_mul(7) + b)
    });
    let numbers: Vec<String> = tiles
        .iter()
        .filter(|tile| tile.contains(">1_"))
        .map(|tile| {
            tile.chars()
                .skip_while(|c| *c != '_')
                .skip(1)
                .take_while(char::is_ascii_digit)
                .collect()
        })
        .collect();
    assert!(!numbers.is_sorted(), "{numbers:?}");
    let changed = format!("{before}<Tiles>{}</Tiles>{after}", tiles.concat());
    source.put("RunInfo.xml", changed.into_bytes());
    let (turned, report) = of(&source, 3);
    assert_eq!(report.warnings, [] as [&str; 0]);
    for path in in_stream.files.keys().filter(|path| path.contains("_L001_")) {
        let text = in_stream.text(path);
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let mut expected = String::new();
        for number in &numbers {
            let of_tile =
                lines.chunks(4).filter(|record| record[0].contains(&format!(":1:{number}:")));
            of_tile.for_each(|record| expected.push_str(&record.concat()));
        }
        assert!(turned.text(path) == expected, "{path}");
    }
}
