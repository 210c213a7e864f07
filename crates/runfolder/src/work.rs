//! One lane in work: whose reads came, how many, and with which mistakes in their indexes.

use std::collections::HashMap;

use crate::barcode::{self, Candidate, Meaning, Words};
use crate::index_metrics::IndexMetrics;
use crate::plan::{Plan, Row};
use crate::report::{self, HoppedPair, LaneReport, ReadMetrics, SampleReport};
use crate::source::FastqName;
use crate::unknown::UnknownCounts;

/// Unknown barcodes that are told.
const TOLD_UNKNOWN: usize = 1000;

/// A FASTQ file in progress.
pub(crate) struct OutFile {
    pub(crate) name: FastqName,
    /// Bytes of its members that were handed out.
    pub(crate) given_bytes: u64,
    /// Text that is not in a member yet.
    pub(crate) waiting: Vec<u8>,
}

/// A sample of the lane in work, or its undetermined reads.
pub(crate) struct Slot {
    pub(crate) report: SampleReport,
    /// One file per output read of its layout.
    pub(crate) files: Vec<usize>,
    /// Kept clusters of the strip that are its reads.
    pub(crate) clusters: Vec<u32>,
}

/// What is known of the lane in work.
pub(crate) struct LaneWork {
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) hopping: bool,
    pub(crate) slots: Vec<Slot>,
    /// For each row of the plan that counts here: its slot, and its place among the slot's indexes.
    of_row: Vec<Option<(usize, usize)>>,
    pub(crate) undetermined: Option<usize>,
    unknown: UnknownCounts,
    hopped: HashMap<(u32, u32), u64>,
    /// Reads of each row on the tile in work.
    on_tile: Vec<u64>,
    pub(crate) clusters: u64,
    pub(crate) passing: u64,
    /// Tiles that were left out, and cycles of tiles that became N.
    pub(crate) missing: [u64; 2],
}

impl LaneWork {
    pub(crate) fn new(plan: &Plan, lane: u32) -> Self {
        let candidates = plan.candidates(Some(lane));
        Self {
            hopping: barcode::unique_pairs(&candidates),
            candidates,
            slots: Vec::new(),
            of_row: vec![None; plan.rows.len()],
            undetermined: None,
            unknown: UnknownCounts::of(plan),
            hopped: HashMap::new(),
            on_tile: vec![0; plan.rows.len()],
            clusters: 0,
            passing: 0,
            missing: [0; 2],
        }
    }

    /// Says that reads of a row belong to a slot.
    pub(crate) fn assign(&mut self, row: u32, of: &Row, slot: usize) {
        let report = &mut self.slots[slot].report;
        report.indexes.push((of.index.clone(), of.index2.clone()));
        report.by_index.push([0; 3]);
        self.of_row[row as usize] = Some((slot, report.indexes.len() - 1));
    }

    /// Ends a tile: adds what each row had on it to the instrument's form of index metrics, and counts anew.
    pub(crate) fn end_tile(
        &mut self,
        lane: u32,
        tile: u32,
        plan: &Plan,
        metrics: &mut IndexMetrics,
    ) {
        for candidate in &self.candidates {
            let reads = std::mem::take(&mut self.on_tile[candidate.row as usize]);
            let row = &plan.rows[candidate.row as usize];
            metrics.add(lane, tile, &row.index_text("-"), reads, &plan.samples[row.sample]);
        }
    }

    /// Sorts the clusters of a strip to their samples and counts them.
    pub(crate) fn sort(&mut self, meanings: &[(Meaning, Words)]) {
        for slot in &mut self.slots {
            slot.clusters.clear();
        }
        for (at, (meaning, words)) in (0u32..).zip(meanings) {
            let (slot, mismatches) = match *meaning {
                Meaning::Sample { row, mismatches } => {
                    self.on_tile[row as usize] += 1;
                    let (slot, index) = self.of_row[row as usize]
                        .expect("the row has a place because every candidate was given one");
                    let mismatches = usize::from(mismatches.min(2));
                    self.slots[slot].report.by_index[index][mismatches] += 1;
                    (slot, mismatches)
                }
                Meaning::Hopped { .. } | Meaning::Unknown => {
                    if let Meaning::Hopped { i7, i5 } = *meaning {
                        *self.hopped.entry((i7, i5)).or_default() += 1;
                    }
                    self.unknown.add(*words);
                    let slot = self.undetermined.expect(
                        "a lane without a place for undetermined reads has a sample that takes all",
                    );
                    (slot, 0)
                }
            };
            let slot = &mut self.slots[slot];
            slot.clusters.push(at);
            slot.report.reads += 1;
            slot.report.by_mismatches[mismatches] += 1;
        }
    }

    pub(crate) fn report(self, lane: u32, plan: &Plan) -> LaneReport {
        let mut hopped: Vec<HoppedPair> = self
            .hopped
            .into_iter()
            .map(|((i7, i5), reads)| HoppedPair {
                index: plan.rows[i7 as usize].index.clone(),
                index2: plan.rows[i5 as usize].index2.clone(),
                reads,
            })
            .collect();
        hopped.sort_by(|a, b| {
            b.reads.cmp(&a.reads).then_with(|| (&a.index, &a.index2).cmp(&(&b.index, &b.index2)))
        });
        let unknown_is_lower_bound = self.unknown.is_lower_bound();
        LaneReport {
            lane,
            clusters: self.clusters,
            passing: self.passing,
            samples: self.slots.into_iter().map(|slot| slot.report).collect(),
            unknown: self.unknown.most_frequent(TOLD_UNKNOWN),
            unknown_is_lower_bound,
            hopped,
            missing_tiles: self.missing[0],
            missing_cycles: self.missing[1],
        }
    }
}

impl Slot {
    /// Adds sums of its output reads; those of index reads do not count.
    pub(crate) fn add(&mut self, sums: &[ReadMetrics], files: &[OutFile]) {
        let counted =
            self.files.iter().zip(sums).filter(|(file, _)| report::counts(files[**file].name.kind));
        for ((_, sum), total) in counted.zip(&mut self.report.metrics) {
            total.bases += sum.bases;
            total.q30_bases += sum.q30_bases;
            total.quality_sum += sum.quality_sum;
            total.adapter_bases += sum.adapter_bases;
        }
    }
}

/// A report without reads.
pub(crate) fn new_report(
    sample: Option<usize>,
    sample_id: &str,
    sample_project: Option<String>,
    names: &[FastqName],
) -> SampleReport {
    let counted = || names.iter().filter(|name| report::counts(name.kind));
    SampleReport {
        sample,
        sample_id: sample_id.to_owned(),
        sample_project,
        indexes: Vec::new(),
        by_index: Vec::new(),
        reads: 0,
        by_mismatches: [0; 3],
        metrics: counted()
            .map(|name| ReadMetrics { number: name.number, ..ReadMetrics::default() })
            .collect(),
        files: counted().map(FastqName::path).collect(),
    }
}
