//! A run's metrics as pages and the command line show them: what the instrument wrote under `InterOp/`, and what
//! demultiplexing counted, in one file of the result beside the run.
//!
//! They judge nothing and stop nothing: what cannot be read is a remark in the file.

use api::{
    BarcodeFigures, CycleFigures, LaneFigures, ReadFigures, RunMetrics, SampleFigures, TileFigures,
};
use runfolder::interop::{self, LaneMetrics};
use runfolder::{LaneReport, Plan, Report, SampleReport};

use super::Folder;
use crate::task::input::Input;

/// How many unknown barcodes of a lane are told.
const MOST_BARCODES: usize = 20;

/// The file. `report` is what was counted so far; `assigned` says that it is of all reads.
pub(super) fn file(run: &Input, plan: &Plan, report: &Report, assigned: bool) -> Vec<u8> {
    let metrics = metrics(run, plan, report, assigned);
    serde_json::to_vec(&metrics).expect("metrics serialize because they hold only text and numbers")
}

fn metrics(run: &Input, plan: &Plan, report: &Report, assigned: bool) -> RunMetrics {
    // Another folder than that of the work: what is read here is not among the files by which work is taken up, because
    // the instrument goes on writing them.
    let (found, unread) = match interop::summarize(&Folder::new(run), &plan.run) {
        Ok(found) => (found, None),
        Err(error) => {
            (interop::RunMetrics::default(), Some(format!("InterOp cannot be read: {error}")))
        }
    };
    let lanes = found.reads.first().map(|read| read.lanes.as_slice()).unwrap_or_default();
    let counted = if assigned { report.lanes.as_slice() } else { &[] };
    RunMetrics {
        planned_cycles: small(plan.run.cycles()),
        last_cycle: found.last_cycle,
        assigned,
        reads: found.reads.iter().map(read).collect(),
        lanes: lanes.iter().map(lane).collect(),
        tiles: found.tiles.iter().map(tile).collect(),
        cycles: found
            .cycles
            .iter()
            .map(|cycle| CycleFigures { cycle: cycle.cycle, q30_percent: cycle.q30_percent() })
            .collect(),
        samples: counted.iter().flat_map(samples).collect(),
        unknown_barcodes: counted.iter().flat_map(barcodes).collect(),
        remarks: found.remarks.into_iter().chain(unread).collect(),
    }
}

fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn read(read: &interop::ReadSummary) -> ReadFigures {
    ReadFigures {
        number: small(read.number),
        indexed: read.indexed,
        cycles: small(read.cycles),
        yield_bases: read.totals.yield_bases,
        q30_percent: read.totals.q30_percent,
        error_percent: read.totals.error_percent,
    }
}

fn lane(lane: &LaneMetrics) -> LaneFigures {
    LaneFigures {
        lane: lane.lane,
        clusters: lane.totals.clusters,
        passing: lane.totals.passing,
        passing_percent: lane.passing_percent,
        density: lane.density,
        density_passing: lane.density_passing,
        occupied_percent: lane.totals.occupied_percent,
    }
}

fn tile(tile: &interop::TileMetrics) -> TileFigures {
    TileFigures {
        lane: tile.lane,
        tile: tile.tile,
        density: tile.density,
        passing_percent: tile.passing_percent(),
    }
}

fn samples(lane: &LaneReport) -> impl Iterator<Item = SampleFigures> {
    let figures = |sample: &SampleReport| SampleFigures {
        lane: lane.lane,
        sample: sample.sample.map(|_| sample.sample_id.clone()),
        clusters: sample.reads,
        bases: sample.metrics.iter().map(|read| read.bases).sum(),
        q30_bases: sample.metrics.iter().map(|read| read.q30_bases).sum(),
    };
    lane.samples.iter().map(figures)
}

fn barcodes(lane: &LaneReport) -> impl Iterator<Item = BarcodeFigures> {
    let figures = |found: &runfolder::UnknownBarcode| BarcodeFigures {
        lane: lane.lane,
        barcode: match found.index2.as_str() {
            "" => found.index.clone(),
            second => format!("{}+{second}", found.index),
        },
        clusters: found.reads,
    };
    lane.unknown.iter().take(MOST_BARCODES).map(figures)
}
