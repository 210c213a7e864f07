//! `chorion metrics`: what the instrument wrote about a run, summed up, also while the run goes on; and `chorion run metrics`, what a
//! vault summed up of a run at the hub.

use std::collections::BTreeMap;
use std::path::PathBuf;

use api::DatasetId;
use runfolder::dir::DirSource;
use runfolder::interop::{LaneIndexes, LaneMetrics, ReadSummary, RunMetrics, Totals, summarize};
use runfolder::{RunInfo, limits, read_small};
use serde::Serialize;

use crate::config::ClientContext;
use crate::demux::grouped;
use crate::report::{CliError, CliResult, Ui};

/// Sum up a run folder's metrics: yield, quality, clusters, phasing, lane by lane.
#[derive(Debug, clap::Args)]
pub(crate) struct MetricsArgs {
    /// The run folder: the one that holds RunInfo.xml and its metrics.
    run: PathBuf,
}

/// Runs `chorion metrics`.
pub(crate) fn run(args: &MetricsArgs, ui: &Ui) -> CliResult {
    let unreadable = |what: &str| format!("{what} of {} cannot be read", args.run.display());
    let source = DirSource::new(&args.run)
        .map_err(|cause| CliError::new(unreadable("the run folder")).caused_by(cause))?;
    let text = read_small(&source, "RunInfo.xml", limits::MAX_TEXT_BYTES).map_err(|cause| {
        CliError::new(unreadable("RunInfo.xml"))
            .caused_by(cause)
            .hint("name the run folder itself: the one that holds RunInfo.xml and InterOp")
    })?;
    let info = RunInfo::parse(&text).map_err(|error| CliError::new(error.to_string()))?;
    let metrics = summarize(&source, &info)
        .map_err(|cause| CliError::new(unreadable("InterOp")).caused_by(cause))?;
    for remark in &metrics.remarks {
        ui.note(format_args!("warning: {remark}"));
    }
    if metrics.reads.iter().all(|read| read.lanes.is_empty()) {
        return Err(CliError::new(format!(
            "run {} has no metrics that can be read",
            args.run.display()
        ))
        .hint("InterOp/TileMetricsOut.bin and its like come with the first tiles"));
    }
    ui.value(&Told::of(&metrics));
    print(&metrics, &info, ui);
    Ok(())
}

/// The result under `--json`. Figures that nothing tells are left out.
#[derive(Serialize)]
struct Told {
    total: BTreeMap<&'static str, f64>,
    non_index: BTreeMap<&'static str, f64>,
    reads: Vec<ToldRead>,
    indexes: Vec<ToldIndexes>,
    last_cycle: Option<u16>,
    remarks: Vec<String>,
}

#[derive(Serialize)]
struct ToldRead {
    read: usize,
    indexed: bool,
    cycles: usize,
    totals: BTreeMap<&'static str, f64>,
    lanes: Vec<ToldLane>,
}

#[derive(Serialize)]
struct ToldLane {
    lane: u16,
    tiles: usize,
    figures: BTreeMap<&'static str, f64>,
}

#[derive(Serialize)]
struct ToldIndexes {
    lane: u16,
    samples: Vec<ToldSample>,
}

#[derive(Serialize)]
struct ToldSample {
    sample: String,
    project: String,
    index: String,
    clusters: u64,
    percent: Option<f64>,
}

fn told(figures: &[(&'static str, Option<f64>)]) -> BTreeMap<&'static str, f64> {
    figures.iter().filter_map(|(name, value)| Some((*name, (*value)?))).collect()
}

impl Told {
    fn of(metrics: &RunMetrics) -> Self {
        let lane = |lane: &LaneMetrics| ToldLane {
            lane: lane.lane,
            tiles: lane.tiles,
            figures: told(&lane.figures()),
        };
        let read = |read: &ReadSummary| ToldRead {
            read: read.number,
            indexed: read.indexed,
            cycles: read.cycles,
            totals: told(&read.totals.figures()),
            lanes: read.lanes.iter().map(lane).collect(),
        };
        let indexes = |lane: &LaneIndexes| ToldIndexes {
            lane: lane.lane,
            samples: lane
                .samples
                .iter()
                .map(|sample| ToldSample {
                    sample: sample.sample.clone(),
                    project: sample.project.clone(),
                    index: sample.index.clone(),
                    clusters: sample.clusters,
                    percent: share(sample.clusters, lane.passing),
                })
                .collect(),
        };
        Self {
            total: told(&metrics.total.figures()),
            non_index: told(&metrics.non_index.figures()),
            reads: metrics.reads.iter().map(read).collect(),
            indexes: metrics.indexes.iter().map(indexes).collect(),
            last_cycle: metrics.last_cycle,
            remarks: metrics.remarks.clone(),
        }
    }
}

fn share(clusters: u64, passing: Option<f64>) -> Option<f64> {
    passing.filter(|all| *all > 0.0).map(|all| 100.0 * clusters as f64 / all)
}

fn print(metrics: &RunMetrics, info: &RunInfo, ui: &Ui) {
    if let Some(last) = metrics.last_cycle {
        ui.line(format_args!("cycles with qualities: {last} of {}", info.cycles()));
    }
    let row = |name: &str,
               lane: &str,
               totals: &Totals,
               passing: Option<f64>,
               phasing: [Option<f64>; 2]| {
        ui.line(format_args!(
            "{name:9}  {lane:>4}  {:>9}  {:>7}  {:>15}  {:>7}  {:>7}  {:>7}  {:>7}  {:>13}",
            figure(totals.yield_bases.map(|bases| bases / 1e9), 3),
            figure(totals.q30_percent, 2),
            figure(totals.clusters, 0),
            figure(passing, 2),
            figure(totals.occupied_percent, 2),
            figure(totals.aligned_percent, 2),
            figure(totals.error_percent, 2),
            format!("{} / {}", figure(phasing[0], 3), figure(phasing[1], 3)),
        ));
    };
    ui.line("read       lane  yield, Gb    Q30 %         clusters   pass %   occ. %  align %  error %  phas. / pre. %");
    for read in &metrics.reads {
        let name = format!("{}{}", read.number, if read.indexed { " (index)" } else { "" });
        for lane in &read.lanes {
            row(
                &name,
                &lane.lane.to_string(),
                &lane.totals,
                lane.passing_percent,
                [lane.phasing, lane.prephasing],
            );
        }
        row(&name, "all", &read.totals, passing_percent(&read.totals), [None; 2]);
    }
    row("no index", "all", &metrics.non_index, passing_percent(&metrics.non_index), [None; 2]);
    row("all", "all", &metrics.total, passing_percent(&metrics.total), [None; 2]);
    for lane in &metrics.indexes {
        for sample in &lane.samples {
            ui.line(format_args!(
                "lane {}  {} {}  {} clusters, {} % of those that pass",
                lane.lane,
                sample.sample,
                sample.index,
                grouped(sample.clusters),
                figure(share(sample.clusters, lane.passing), 4),
            ));
        }
    }
}

fn passing_percent(totals: &Totals) -> Option<f64> {
    totals
        .clusters
        .filter(|all| *all > 0.0)
        .zip(totals.passing)
        .map(|(all, passing)| 100.0 * passing / all)
}

/// `chorion run metrics`: what a vault summed up of a run at the hub.
pub(crate) async fn of_run(ctx: &ClientContext, ui: Ui, run: DatasetId) -> CliResult {
    let found = ctx.client.run_metrics(run).await?;
    for remark in &found.remarks {
        ui.note(format_args!("warning: {remark}"));
    }
    if let Some(last) = found.last_cycle {
        ui.line(format_args!("cycles with qualities: {last} of {}", found.planned_cycles));
    }
    for read in &found.reads {
        ui.line(format_args!(
            "read {}{}: {} Gb, Q30 {} %, errors {} %",
            read.number,
            if read.indexed { " (index)" } else { "" },
            figure(read.yield_bases.map(|bases| bases / 1e9), 3),
            figure(read.q30_percent, 2),
            figure(read.error_percent, 2),
        ));
    }
    for lane in &found.lanes {
        ui.line(format_args!(
            "lane {}: {} clusters, {} % pass, {} K/mm2, {} % occupied",
            lane.lane,
            figure(lane.clusters, 0),
            figure(lane.passing_percent, 2),
            figure(lane.density.map(|density| density / 1e3), 0),
            figure(lane.occupied_percent, 2),
        ));
    }
    for sample in &found.samples {
        let name = sample.sample.as_deref().unwrap_or("undetermined");
        ui.line(format_args!(
            "lane {}  {name}  {} clusters, {} Gb",
            sample.lane,
            grouped(sample.clusters),
            figure(Some(sample.bases as f64 / 1e9), 3),
        ));
    }
    for unknown in &found.unknown_barcodes {
        ui.line(format_args!(
            "lane {}  unknown {}  {} clusters",
            unknown.lane,
            unknown.barcode,
            grouped(unknown.clusters),
        ));
    }
    if !found.assigned {
        ui.line("samples and barcodes are told when every read is assigned");
    }
    ui.value(&found);
    Ok(())
}

fn figure(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
}
