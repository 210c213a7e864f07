//! What came out, and the report files that pipelines read.
//!
//! Columns are those of BCL Convert, one set of them (`spec/demultiplexing.md` section 7). Every figure is a function of the
//! input alone, and a sample or lane without reads gives zeros, not divisions by them.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::barcode::reverse_complement;
use crate::error::Missing;
use crate::plan::Plan;
use crate::source::ReadKind;
use crate::stats_json::stats_json;

/// Sums over one read of one sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ReadMetrics {
    /// The number in the file name.
    pub number: u32,
    /// Bases, before adapters are cut off.
    pub bases: u64,
    /// Of these, with a quality of at least 30.
    pub q30_bases: u64,
    /// The sum of their qualities.
    pub quality_sum: u64,
    /// Of the bases, those from an adapter's first to the end of the read.
    pub adapter_bases: u64,
}

/// One sample in one lane, or the lane's undetermined reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleReport {
    /// Position in [`Plan::samples`]; `None` for undetermined reads.
    pub sample: Option<usize>,
    /// `Sample_ID`, or `Undetermined`.
    pub sample_id: String,
    /// `Sample_Project`.
    pub sample_project: Option<String>,
    /// Its index pairs as in the sheet.
    pub indexes: Vec<(String, String)>,
    /// For each of them its reads with no, one, and two or more mismatches.
    pub by_index: Vec<[u64; 3]>,
    /// Reads, counted as clusters.
    pub reads: u64,
    /// Of these, with no, one, and two or more index mismatches.
    pub by_mismatches: [u64; 3],
    /// Sums per sequence read.
    pub metrics: Vec<ReadMetrics>,
    /// The paths of its sequence files.
    pub files: Vec<String>,
}

/// An index that was read and is no sample's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnknownBarcode {
    /// i7 as read.
    pub index: String,
    /// i5 as read; empty where there is none.
    pub index2: String,
    /// Clusters.
    pub reads: u64,
}

/// The i7 of one sample with the i5 of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoppedPair {
    /// i7 as in the sheet.
    pub index: String,
    /// i5 as in the sheet.
    pub index2: String,
    /// Clusters.
    pub reads: u64,
}

/// One lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneReport {
    /// Its number.
    pub lane: u32,
    /// Clusters on its tiles.
    pub clusters: u64,
    /// Of these, passing the filter.
    pub passing: u64,
    /// Its samples in the sheet's order, undetermined reads last.
    pub samples: Vec<SampleReport>,
    /// The most frequent unknown barcodes, most frequent first.
    pub unknown: Vec<UnknownBarcode>,
    /// Whether so many different unknown barcodes came that the rarest were forgotten, which makes counts lower bounds.
    pub unknown_is_lower_bound: bool,
    /// Hopped pairs, most frequent first.
    pub hopped: Vec<HoppedPair>,
    /// Tiles that were left out, where going on was asked for.
    pub missing_tiles: u64,
    /// Cycles of tiles whose calls became N, where going on was asked for.
    pub missing_cycles: u64,
}

/// What came out of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Lane by lane.
    pub lanes: Vec<LaneReport>,
    /// What was otherwise than expected and did not stop the work.
    pub warnings: Vec<String>,
    /// What was left out or became N, the first ten thousand of them.
    pub missing: Vec<Missing>,
    /// How many others there were.
    pub more_missing: u64,
    /// `IndexMetricsOut.bin`.
    pub(crate) index_metrics: Vec<u8>,
}

impl LaneReport {
    /// Reads of the lane.
    pub fn reads(&self) -> u64 {
        self.samples.iter().map(|sample| sample.reads).sum()
    }

    /// Whether something of the lane was left out or became N.
    pub fn is_incomplete(&self) -> bool {
        self.missing_tiles > 0 || self.missing_cycles > 0
    }

    /// Reads that match no sample.
    pub fn undetermined(&self) -> u64 {
        self.samples.iter().filter(|s| s.sample.is_none()).map(|s| s.reads).sum()
    }
}

/// One way in which a sheet's indexes are often wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Orientation {
    /// i5 is the reverse complement of what was read.
    I5Reversed,
    /// i7 is.
    I7Reversed,
    /// Both are.
    BothReversed,
    /// i7 and i5 stand in each other's columns.
    Swapped,
}

impl Orientation {
    /// What to change in the sheet, as a sentence to go on from "if you".
    pub fn change(self) -> &'static str {
        match self {
            Self::I5Reversed => "replace every i5 index by its reverse complement",
            Self::I7Reversed => "replace every i7 index by its reverse complement",
            Self::BothReversed => "replace every i7 and i5 index by its reverse complement",
            Self::Swapped => "swap the columns of i7 and i5",
        }
    }
}

/// Reads of a run, or of one lane of it, of which nearly all match no sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suspicion {
    /// The lane, where it is not so of the whole run.
    pub lane: Option<u32>,
    /// Its reads.
    pub reads: u64,
    /// Of these, the ones that match no sample.
    pub undetermined: u64,
}

/// From how many reads in a hundred without a sample on a wrong sheet is likelier than a bad run.
const SUSPECT_PERCENT: u64 = 90;

impl Suspicion {
    fn of(lane: Option<u32>, reads: u64, undetermined: u64) -> Option<Self> {
        let is_one = reads > 0 && undetermined * 100 >= reads * SUSPECT_PERCENT;
        is_one.then_some(Self { lane, reads, undetermined })
    }
}

impl Report {
    /// Whether nearly everything is undetermined, in the run or in one lane.
    pub fn suspicion(&self) -> Option<Suspicion> {
        let reads = self.lanes.iter().map(LaneReport::reads).sum();
        let undetermined = self.lanes.iter().map(LaneReport::undetermined).sum();
        let of_lane =
            |lane: &LaneReport| Suspicion::of(Some(lane.lane), lane.reads(), lane.undetermined());
        Suspicion::of(None, reads, undetermined).or_else(|| self.lanes.iter().find_map(of_lane))
    }

    /// The change of the sheet that would win most of the unknown barcodes, and the reads it would win, if it would win more
    /// than the sheet as it is.
    pub fn better_orientation(&self, plan: &Plan) -> Option<(Orientation, u64)> {
        use Orientation::{BothReversed, I5Reversed, I7Reversed, Swapped};
        let assigned: u64 = self.lanes.iter().map(|lane| lane.reads() - lane.undetermined()).sum();
        let won = |way: Orientation| -> u64 {
            self.lanes.iter().map(|lane| lane.won_by(plan, way)).sum()
        };
        let ways = [I5Reversed, I7Reversed, BothReversed, Swapped];
        let best =
            ways.map(|way| (way, won(way))).into_iter().rev().max_by_key(|(_, reads)| *reads)?;
        (best.1 > assigned).then_some(best)
    }

    /// Writes every report file, in a fixed order, as path and content.
    pub fn files(&self, plan: &Plan) -> Vec<(String, Vec<u8>)> {
        let text = |name: &str, lane_column: usize, body: String| {
            (format!("Reports/{name}"), self.marked(body, lane_column).into_bytes())
        };
        let mut files = vec![
            text("Demultiplex_Stats.csv", 0, self.demultiplex_stats()),
            text("Quality_Metrics.csv", 0, self.quality_metrics()),
            text("Adapter_Metrics.csv", 0, self.adapter_metrics()),
            text("Top_Unknown_Barcodes.csv", 0, self.top_unknown()),
            text("Index_Hopping_Counts.csv", 0, self.hopping()),
            text("fastq_list.csv", 3, self.fastq_list(plan)),
            ("Reports/IndexMetricsOut.bin".to_owned(), self.index_metrics.clone()),
            ("Reports/RunInfo.xml".to_owned(), plan.run.text().to_vec()),
            ("Reports/SampleSheet.csv".to_owned(), plan.sheet_text.clone()),
        ];
        if plan.options.stats_json {
            files.push(("Stats/Stats.json".to_owned(), stats_json(self, plan).into_bytes()));
        }
        if self.is_incomplete() {
            files.push(("Reports/Missing.csv".to_owned(), self.missing_list().into_bytes()));
        }
        files
    }

    /// Whether something was left out or became N.
    pub fn is_incomplete(&self) -> bool {
        self.lanes.iter().any(LaneReport::is_incomplete) || !self.missing.is_empty()
    }

    /// A table with a column that says for each lane what is missing, where anything is.
    fn marked(&self, table: String, lane_column: usize) -> String {
        if !self.is_incomplete() {
            return table;
        }
        let mut out = String::with_capacity(table.len() * 2);
        for (at, row) in table.lines().enumerate() {
            let number = row.split(',').nth(lane_column).and_then(|lane| lane.parse().ok());
            let lane = self.lanes.iter().find(|lane| Some(lane.lane) == number);
            match (at, lane) {
                (0, _) => line(&mut out, format_args!("{row},Incomplete")),
                (_, Some(lane)) if lane.is_incomplete() => line(
                    &mut out,
                    format_args!(
                        "{row},{} tiles left out and {} cycles of tiles are N",
                        lane.missing_tiles, lane.missing_cycles
                    ),
                ),
                _ => line(&mut out, format_args!("{row},")),
            }
        }
        out
    }

    fn missing_list(&self) -> String {
        let mut out = String::from("Lane,Tile,Cycle,File,Reason\n");
        let number = |number: Option<u32>| number.map_or_else(String::new, |n| n.to_string());
        for missing in &self.missing {
            let (place, path) = (&missing.place, &missing.path);
            line(
                &mut out,
                format_args!(
                    "{},{},{},{path},\"{}\"",
                    place.lane,
                    number(place.tile),
                    number(place.cycle),
                    missing.reason.replace('"', "'"),
                ),
            );
        }
        if self.more_missing > 0 {
            line(&mut out, format_args!(",,,,\"and {} more\"", self.more_missing));
        }
        out
    }

    fn demultiplex_stats(&self) -> String {
        let mut out = String::from(
            "Lane,SampleID,Sample_Project,Index,# Reads,# Perfect Index Reads,# One Mismatch Index Reads,\
             # Two Mismatch Index Reads,% Reads,% Perfect Index Reads,% One Mismatch Index Reads,\
             % Two Mismatch Index Reads\n",
        );
        for lane in &self.lanes {
            let total = lane.reads();
            for sample in &lane.samples {
                let [perfect, one, two] = sample.by_mismatches;
                let share = |part| share(part, sample.reads);
                line(
                    &mut out,
                    format_args!(
                        "{},{},{},{},{},{perfect},{one},{two},{:.4},{:.4},{:.4},{:.4}",
                        lane.lane,
                        sample.sample_id,
                        sample.project(),
                        sample.pairs(),
                        sample.reads,
                        self::share(sample.reads, total),
                        share(perfect),
                        share(one),
                        share(two),
                    ),
                );
            }
        }
        out
    }

    fn quality_metrics(&self) -> String {
        let mut out = String::from(
            "Lane,SampleID,Sample_Project,index,index2,ReadNumber,Yield,YieldQ30,QualityScoreSum,\
             Mean Quality Score (PF),% Q30\n",
        );
        for lane in &self.lanes {
            for sample in &lane.samples {
                let (i7, i5) = sample.first_pair();
                for read in &sample.metrics {
                    line(
                        &mut out,
                        format_args!(
                            "{},{},{},{i7},{i5},{},{},{},{},{:.2},{:.2}",
                            lane.lane,
                            sample.sample_id,
                            sample.project(),
                            read.number,
                            read.bases,
                            read.q30_bases,
                            read.quality_sum,
                            share(read.quality_sum, read.bases),
                            share(read.q30_bases, read.bases),
                        ),
                    );
                }
            }
        }
        out
    }

    fn adapter_metrics(&self) -> String {
        let mut out = String::from(
            "Lane,Sample_ID,index,index2,ReadNumber,AdapterBases,SampleBases,% Adapter Bases\n",
        );
        for lane in &self.lanes {
            for sample in &lane.samples {
                let (i7, i5) = sample.first_pair();
                for read in &sample.metrics {
                    line(
                        &mut out,
                        format_args!(
                            "{},{},{i7},{i5},{},{},{},{:.3}",
                            lane.lane,
                            sample.sample_id,
                            read.number,
                            read.adapter_bases,
                            read.bases,
                            share(read.adapter_bases, read.bases),
                        ),
                    );
                }
            }
        }
        out
    }

    fn top_unknown(&self) -> String {
        let mut out =
            String::from("Lane,index,index2,# Reads,% of Unknown Barcodes,% of All Reads\n");
        for lane in &self.lanes {
            let (unknown, all) = (lane.undetermined(), lane.reads());
            for barcode in &lane.unknown {
                line(
                    &mut out,
                    format_args!(
                        "{},{},{},{},{:.6},{:.6}",
                        lane.lane,
                        barcode.index,
                        barcode.index2,
                        barcode.reads,
                        share(barcode.reads, unknown),
                        share(barcode.reads, all),
                    ),
                );
            }
        }
        out
    }

    fn hopping(&self) -> String {
        let mut out =
            String::from("Lane,SampleID,index,index2,# Reads,% of Hopped Reads,% of All Reads\n");
        for lane in &self.lanes {
            let all = lane.reads();
            for sample in lane.samples.iter().filter(|sample| sample.sample.is_some()) {
                let (i7, i5) = sample.first_pair();
                line(
                    &mut out,
                    format_args!(
                        "{},{},{i7},{i5},{},,{:.6}",
                        lane.lane,
                        sample.sample_id,
                        sample.reads,
                        share(sample.reads, all),
                    ),
                );
            }
            let hopped: u64 = lane.hopped.iter().map(|pair| pair.reads).sum();
            for pair in &lane.hopped {
                line(
                    &mut out,
                    format_args!(
                        "{},,{},{},{},{:.6},{:.6}",
                        lane.lane,
                        pair.index,
                        pair.index2,
                        pair.reads,
                        share(pair.reads, hopped),
                        share(pair.reads, all),
                    ),
                );
            }
        }
        out
    }

    fn fastq_list(&self, plan: &Plan) -> String {
        let mut out = String::from("RGID,RGSM,RGLB,Lane,Read1File,Read2File\n");
        let mut listed = std::collections::HashSet::new();
        for lane in &self.lanes {
            for sample in &lane.samples {
                let Some(at) = sample.sample else { continue };
                // Lanes that share a file share its line.
                if !plan.lane_splitting && !listed.insert(at) {
                    continue;
                }
                let (i7, i5) = sample.first_pair();
                let parts = [i7, i5].into_iter().filter(|part| !part.is_empty());
                let id: String = parts.map(|part| format!("{part}.")).collect();
                let file = |n: usize| sample.files.get(n).map_or("", String::as_str);
                line(
                    &mut out,
                    format_args!(
                        "{id}{lane},{},UnknownLibrary,{lane},{},{}",
                        sample.sample_id,
                        file(0),
                        file(1),
                        lane = lane.lane,
                    ),
                );
            }
        }
        out
    }
}

impl LaneReport {
    /// Reads of unknown barcodes that would be some sample's if the sheet were changed.
    fn won_by(&self, plan: &Plan, way: Orientation) -> u64 {
        let turn = |text: &str| {
            String::from_utf8(reverse_complement(text.as_bytes()))
                .expect("the complement of ASCII letters is ASCII")
        };
        let reversed_in_run: Vec<bool> =
            plan.run.index_reads().map(|read| read.reverse_complement).collect();
        let as_read = |at: usize, text: &str| match reversed_in_run.get(at) {
            Some(true) => turn(text),
            _ => text.to_owned(),
        };
        let pairs: Vec<(String, String)> = self
            .samples
            .iter()
            .flat_map(|sample| &sample.indexes)
            .map(|(i7, i5)| (as_read(0, i7), as_read(1, i5)))
            .map(|(i7, i5)| match way {
                Orientation::I5Reversed => (i7, turn(&i5)),
                Orientation::I7Reversed => (turn(&i7), i5),
                Orientation::BothReversed => (turn(&i7), turn(&i5)),
                Orientation::Swapped => (i5, i7),
            })
            .collect();
        let near = |read: &str, wanted: &str| {
            read.bytes().zip(wanted.bytes()).filter(|(a, b)| a != b).count() <= 1
        };
        let fits = |barcode: &UnknownBarcode| {
            pairs.iter().any(|(i7, i5)| near(&barcode.index, i7) && near(&barcode.index2, i5))
        };
        self.unknown.iter().filter(|barcode| fits(barcode)).map(|barcode| barcode.reads).sum()
    }
}

impl SampleReport {
    fn project(&self) -> &str {
        match self.sample {
            None => "Undetermined",
            Some(_) => self.sample_project.as_deref().unwrap_or_default(),
        }
    }

    fn first_pair(&self) -> (&str, &str) {
        self.indexes.first().map_or(("", ""), |(i7, i5)| (i7, i5))
    }

    /// `i7-i5`, several pairs joined with `;`.
    fn pairs(&self) -> String {
        let pair = |(i7, i5): &(String, String)| match i5.as_str() {
            "" => i7.clone(),
            i5 => format!("{i7}-{i5}"),
        };
        self.indexes.iter().map(pair).collect::<Vec<_>>().join(";")
    }
}

/// Whether a file counts in the reports: index reads do not.
pub(crate) fn counts(kind: ReadKind) -> bool {
    kind == ReadKind::Read
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(out, "{text}").expect("a string can always be written to");
}
