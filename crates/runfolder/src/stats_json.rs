//! `Stats.json` as bcl2fastq 2.20 writes it, for the pipelines that still read it.
//!
//! Keys stand in its order. What could not be counted there is not invented: a lane from which something was left out has the
//! key `Incomplete`, which readers that do not know it pass over.

use std::fmt::Write;

use crate::plan::{Plan, Sample};
use crate::report::{LaneReport, ReadMetrics, Report, SampleReport};

/// The whole file.
pub(crate) fn stats_json(report: &Report, plan: &Plan) -> String {
    let run = &plan.run;
    let lanes = |of: &dyn Fn(&LaneReport) -> String| list(report.lanes.iter().map(of));
    let reads = list(run.reads.iter().map(|read| {
        object(&[
            ("Number", read.number.to_string()),
            ("NumCycles", read.cycles.to_string()),
            ("IsIndexedRead", read.indexed.to_string()),
        ])
    }));
    let mut text = object(&[
        ("Flowcell", string(&run.flowcell)),
        ("RunNumber", run.number.to_string()),
        ("RunId", string(&run.id)),
        (
            "ReadInfosForLanes",
            lanes(&|lane| {
                object(&[("LaneNumber", lane.lane.to_string()), ("ReadInfos", reads.clone())])
            }),
        ),
        ("ConversionResults", lanes(&|lane| conversion(lane, plan))),
        ("UnknownBarcodes", lanes(&|lane| unknown(lane))),
    ]);
    text.push('\n');
    text
}

fn conversion(lane: &LaneReport, plan: &Plan) -> String {
    let of_sample = |report: &SampleReport| Some(sample(report, &plan.samples[report.sample?]));
    let bases: u64 = lane.samples.iter().map(yield_of).sum();
    let mut fields = vec![
        ("LaneNumber", lane.lane.to_string()),
        ("TotalClustersRaw", lane.clusters.to_string()),
        ("TotalClustersPF", lane.passing.to_string()),
        ("Yield", bases.to_string()),
        ("DemuxResults", list(lane.samples.iter().filter_map(of_sample))),
    ];
    if let Some(rest) = lane.samples.iter().find(|report| report.sample.is_none()) {
        fields.push(("Undetermined", object(&counted(rest))));
    }
    if lane.is_incomplete() {
        let missing = [
            ("TilesLeftOut", lane.missing_tiles.to_string()),
            ("TileCyclesAsN", lane.missing_cycles.to_string()),
        ];
        fields.push(("Incomplete", object(&missing)));
    }
    object(&fields)
}

fn sample(report: &SampleReport, sample: &Sample) -> String {
    let index = |((i7, i5), counts): (&(String, String), &[u64; 3])| {
        let sequence = if i5.is_empty() { i7.clone() } else { format!("{i7}+{i5}") };
        let [none, one, two] = counts.map(|count| count.to_string());
        object(&[
            ("IndexSequence", string(&sequence)),
            ("MismatchCounts", object(&[("0", none), ("1", one), ("2", two)])),
        ])
    };
    let mut fields = vec![
        ("SampleId", string(&report.sample_id)),
        ("SampleName", string(sample.sample_name.as_ref().unwrap_or(&sample.sample_id))),
        ("IndexMetrics", list(report.indexes.iter().zip(&report.by_index).map(index))),
    ];
    fields.extend(counted(report));
    object(&fields)
}

fn counted(report: &SampleReport) -> [(&'static str, String); 3] {
    let read = |read: &ReadMetrics| {
        object(&[
            ("ReadNumber", read.number.to_string()),
            ("Yield", read.bases.to_string()),
            ("YieldQ30", read.q30_bases.to_string()),
            ("QualityScoreSum", read.quality_sum.to_string()),
            ("TrimmedBases", read.adapter_bases.to_string()),
        ])
    };
    [
        ("NumberReads", report.reads.to_string()),
        ("Yield", yield_of(report).to_string()),
        ("ReadMetrics", list(report.metrics.iter().map(read))),
    ]
}

fn yield_of(report: &SampleReport) -> u64 {
    report.metrics.iter().map(|read| read.bases).sum()
}

fn unknown(lane: &LaneReport) -> String {
    let barcodes: Vec<String> = lane
        .unknown
        .iter()
        .map(|barcode| {
            let joined = match barcode.index2.as_str() {
                "" => barcode.index.clone(),
                i5 => format!("{}+{i5}", barcode.index),
            };
            format!("{}:{}", string(&joined), barcode.reads)
        })
        .collect();
    object(&[("Lane", lane.lane.to_string()), ("Barcodes", format!("{{{}}}", barcodes.join(",")))])
}

/// An object of fields whose values are JSON.
fn object(fields: &[(&str, String)]) -> String {
    let fields: Vec<String> =
        fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", fields.join(","))
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}

fn string(text: &str) -> String {
    let mut out = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            letter if letter.is_control() => {
                write!(out, "\\u{:04x}", u32::from(letter))
                    .expect("a string can always be written to");
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
    out
}
