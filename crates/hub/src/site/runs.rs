//! What the page of a run has beyond that of every dataset: how far it has arrived, and its metrics as drawings.

use std::collections::BTreeMap;

use api::{
    Dataset, DatasetId, DatasetKind, ErrorCode, ExecutionState, LaneFigures, RunMetrics,
    RunProgress, Task, TaskState,
};
use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::guard::SignedIn;
use super::plot::{self, Bar, Figure, Strip};
use super::view::{Refusal, moment};
use super::words;
use crate::HubError;
use crate::app;
use crate::http::extract::Id;
use crate::state::Hub;

/// A fact that changes while people look: the script of the page writes it anew.
#[derive(Debug)]
pub(super) struct Fact {
    /// By which the script finds its place.
    pub(super) key: &'static str,
    /// Its name.
    pub(super) name: &'static str,
    /// Its value in words.
    pub(super) words: String,
}

/// Where something stands that goes on.
#[derive(Debug)]
pub(super) struct Live {
    /// The state, as the wire says it: another one has the page loaded anew.
    pub(super) state: String,
    /// How much is done, where that is known.
    pub(super) percent: Option<u8>,
    /// What is told.
    pub(super) facts: Vec<Fact>,
}

/// [`Live`] for the script.
#[derive(Debug, Serialize)]
pub(super) struct Now {
    state: String,
    percent: Option<u8>,
    facts: BTreeMap<&'static str, String>,
}

impl From<Live> for Now {
    fn from(live: Live) -> Self {
        let facts = live.facts.into_iter().map(|fact| (fact.key, fact.words)).collect();
        Self { state: live.state, percent: live.percent, facts }
    }
}

/// Whether people wait for what becomes of it.
pub(super) const fn goes_on(dataset: &Dataset) -> bool {
    matches!(
        dataset.execution,
        ExecutionState::Receiving | ExecutionState::NeedsAttention | ExecutionState::Processing
    )
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..=89 => format!("{seconds} s"),
        90..=5399 => format!("{} min", seconds / 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// How far a run is.
pub(super) fn live(dataset: &Dataset, progress: &RunProgress, tasks: &[Task]) -> Live {
    let mut facts = Vec::new();
    let mut fact = |key, name, words| facts.push(Fact { key, name, words });
    let mut percent = None;
    if dataset.execution == ExecutionState::Processing {
        fact("here", "Sealed here", words::size(progress.sealed_bytes));
    } else {
        let objects = words::count(progress.objects);
        let noun = if progress.objects == 1 { "object" } else { "objects" };
        let here = format!("{} in {objects} {noun}", words::size(progress.sealed_bytes));
        fact("here", "Sealed here", here);
        fact("signed", "Files signed for as whole", words::count(progress.files_signed));
        if let Some(told) = &progress.told {
            let said = &told.transfer;
            let backlog = said.bytes.saturating_sub(said.bytes_held);
            let files =
                format!("{} of {}", words::count(said.files_whole), words::count(said.files));
            fact("files", "Files whole here", files);
            fact("backlog", "Still to come", words::size(backlog));
            let mut rate = format!("{} a second", words::size(said.bytes_per_second));
            if said.verifying {
                rate.push_str("; over, and hashed once more");
            } else if let Some(seconds) = said.seconds_left.filter(|_| backlog > 0) {
                rate = format!("{rate}, {} left", duration(seconds));
            }
            fact("rate", "Rate", rate);
            fact("faults", "Faults survived", words::count(said.faults_survived));
            fact("told", "The broker said so", moment(told.at));
            let share = said.bytes_held.saturating_mul(100).checked_div(said.bytes);
            percent = share.and_then(|share| u8::try_from(share.min(100)).ok());
        }
    }
    for task in tasks.iter().filter(|task| task.state == TaskState::Running).take(1) {
        fact("task", "A vault works", format!("{}, {} %", task.kind.as_str(), task.percent));
        percent = percent.or(Some(task.percent));
    }
    let state = serde_json::to_value(dataset.execution).ok();
    let state = state.and_then(|word| word.as_str().map(ToOwned::to_owned)).unwrap_or_default();
    Live { state, percent, facts }
}

/// What the script of the page asks.
pub(super) async fn now(
    State(hub): State<Hub>,
    person: SignedIn,
    Id(id): Id<DatasetId>,
) -> Result<Json<Now>, HubError> {
    let caller = &person.caller;
    let dataset = app::datasets::show_kind(&hub, caller, id, DatasetKind::Run).await?;
    let progress = app::progress::show(&hub, caller, id).await?;
    let tasks = app::tasks::list(&hub, caller, Some(id), "", 50).await?;
    Ok(Json(live(&dataset, &progress, &tasks).into()))
}

/// A run's metrics as a page has them.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    /// The figures that stand in a line.
    pub(super) sums: Vec<(&'static str, String)>,
    /// The drawings.
    pub(super) figures: Vec<Figure>,
    /// What could not be used.
    pub(super) remarks: Vec<String>,
    /// Why there are none, and who has them.
    pub(super) without: Option<Refusal>,
}

/// The metrics of a run: drawn where the hub may open them, else who can.
pub(super) async fn metrics(
    hub: &Hub,
    person: &SignedIn,
    run: DatasetId,
) -> Result<Metrics, HubError> {
    match app::progress::metrics(hub, &person.caller, run).await {
        Ok(found) => Ok(drawn(&found)),
        Err(error) if error.code() == ErrorCode::Internal => Err(error),
        Err(error) => {
            let refusal = if error.code() == ErrorCode::KeyRefused {
                Refusal {
                    title: "This hub cannot open them: the owner alone holds the key.".to_owned(),
                    hint: Some("Its owner's device can, and `chorion result download` with the owner's words.".to_owned()),
                }
            } else {
                Refusal::of(&error)
            };
            Ok(Metrics { without: Some(refusal), ..Metrics::default() })
        }
    }
}

fn drawn(found: &RunMetrics) -> Metrics {
    let mut figures = Vec::new();
    if !found.cycles.is_empty() {
        figures.push(quality_by_cycle(found));
    }
    if !found.unknown_barcodes.is_empty() {
        let bars: Vec<Bar> = found
            .unknown_barcodes
            .iter()
            .map(|unknown| Bar {
                name: format!("{}, lane {}", unknown.barcode, unknown.lane),
                value: unknown.clusters as f64,
                words: words::count(unknown.clusters),
            })
            .collect();
        let columns = ["Barcode", "Clusters"];
        figures.push(plot::bars("Top unknown barcodes", "unknown", columns, &longest(bars)));
    }
    if !found.tiles.is_empty() {
        figures.extend(by_tile(found));
    }
    if !found.samples.is_empty() {
        figures.extend(by_sample(found));
    }
    Metrics { sums: sums(found), figures, remarks: found.remarks.clone(), without: None }
}

fn longest(mut bars: Vec<Bar>) -> Vec<Bar> {
    bars.sort_by(|a, b| b.value.total_cmp(&a.value));
    bars
}

fn sums(found: &RunMetrics) -> Vec<(&'static str, String)> {
    let total = |of: &dyn Fn(&LaneFigures) -> Option<f64>| {
        found.lanes.iter().filter_map(of).reduce(|a, b| a + b)
    };
    let mut sums = Vec::new();
    let bases = found.reads.iter().filter_map(|read| read.yield_bases).reduce(|a, b| a + b);
    if let Some(bases) = bases {
        sums.push(("Yield", plot::bases(bases)));
    }
    let weighted: f64 =
        found.reads.iter().filter_map(|read| Some(read.q30_percent? * read.yield_bases?)).sum();
    if let Some(bases) = bases.filter(|bases| *bases > 0.0) {
        sums.push(("Bases of Q30 or more", format!("{:.1} %", weighted / bases)));
    }
    let (all, passing) = (total(&|lane| lane.clusters), total(&|lane| lane.passing));
    if let (Some(all), Some(passing)) = (all.filter(|all| *all > 0.0), passing) {
        let share = 100.0 * passing / all;
        sums.push((
            "Clusters passing the filter",
            format!("{} of {} ({share:.1} %)", plot::rounded(passing), plot::rounded(all)),
        ));
    }
    if let Some(last) = found.last_cycle {
        sums.push(("Cycles with qualities", format!("{last} of {}", found.planned_cycles)));
    }
    if !found.assigned {
        sums.push(("Samples and barcodes", "told when every read is assigned".to_owned()));
    }
    sums
}

fn quality_by_cycle(found: &RunMetrics) -> Figure {
    let values: Vec<_> =
        found.cycles.iter().map(|cycle| (cycle.cycle, cycle.q30_percent)).collect();
    let mut end = 0_u32;
    let breaks: Vec<u16> = found
        .reads
        .iter()
        .filter_map(|read| {
            end = end.saturating_add(read.cycles);
            u16::try_from(end).ok()
        })
        .collect();
    plot::by_cycle("Bases of Q30 or more by cycle", "q30", &values, &breaks)
}

fn by_tile(found: &RunMetrics) -> [Figure; 2] {
    let lanes = |of: &dyn Fn(&api::TileFigures) -> Option<f64>| {
        let mut lanes: BTreeMap<u16, Vec<Option<f64>>> = BTreeMap::new();
        for tile in &found.tiles {
            lanes.entry(tile.lane).or_default().push(of(tile));
        }
        let strip = |(lane, values)| Strip { name: format!("Lane {lane}"), values };
        lanes.into_iter().map(strip).collect::<Vec<_>>()
    };
    let density = |value: f64| format!("{:.0} K/mm²", value / 1000.0);
    [
        plot::strips(
            "Cluster density by lane and tile",
            "density",
            &lanes(&|t| t.density),
            density,
        ),
        plot::strips(
            "Passing filter by lane and tile",
            "passing",
            &lanes(&|t| t.passing_percent),
            |value| format!("{value:.1} %"),
        ),
    ]
}

fn by_sample(found: &RunMetrics) -> [Figure; 2] {
    let mut sums: BTreeMap<Option<&str>, [u64; 2]> = BTreeMap::new();
    for figures in &found.samples {
        let sum = sums.entry(figures.sample.as_deref()).or_default();
        sum[0] = sum[0].saturating_add(figures.clusters);
        sum[1] = sum[1].saturating_add(figures.bases);
    }
    let all: u64 = sums.values().map(|sum| sum[0]).fold(0, u64::saturating_add);
    let name = |sample: Option<&str>| sample.unwrap_or("Undetermined").to_owned();
    let yields = sums.iter().map(|(sample, [_, bases])| Bar {
        name: name(*sample),
        value: *bases as f64,
        words: plot::bases(*bases as f64),
    });
    let shares = sums.iter().map(|(sample, [clusters, _])| {
        let share = if all > 0 { 100.0 * *clusters as f64 / all as f64 } else { 0.0 };
        Bar { name: name(*sample), value: share, words: format!("{share:.2} %") }
    });
    [
        plot::bars("Yield by sample", "yield", ["Sample", "Yield"], &longest(yields.collect())),
        plot::bars(
            "Share of the reads by sample",
            "share",
            ["Sample", "Share"],
            &longest(shares.collect()),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::{BarcodeFigures, CycleFigures, ReadFigures, SampleFigures, TileFigures};

    #[test]
    fn samples_of_several_lanes_are_one_bar_and_shares_are_of_all_reads() {
        let sample = |lane, name: Option<&str>, clusters| SampleFigures {
            lane,
            sample: name.map(ToOwned::to_owned),
            clusters,
            bases: clusters * 100,
            q30_bases: clusters * 90,
        };
        let found = RunMetrics {
            planned_cycles: 20,
            last_cycle: Some(20),
            assigned: true,
            reads: vec![ReadFigures {
                number: 1,
                indexed: false,
                cycles: 20,
                yield_bases: Some(4e9),
                q30_percent: Some(91.0),
                error_percent: None,
            }],
            cycles: (1..=20).map(|cycle| CycleFigures { cycle, q30_percent: Some(90.0) }).collect(),
            tiles: vec![TileFigures {
                lane: 1,
                tile: 1101,
                density: Some(180_000.0),
                passing_percent: None,
            }],
            samples: vec![
                sample(1, Some("NA12878"), 60),
                sample(2, Some("NA12878"), 20),
                sample(1, None, 20),
            ],
            unknown_barcodes: vec![BarcodeFigures { lane: 1, barcode: "GGGG".into(), clusters: 9 }],
            ..RunMetrics::default()
        };
        let page = drawn(&found);
        let figure = |id| page.figures.iter().find(|figure| figure.id == id).unwrap();
        assert_eq!(figure("share").rows, [["NA12878", "80.00 %"], ["Undetermined", "20.00 %"]]);
        assert_eq!(figure("yield").rows[0], ["NA12878", "8.00 kb"]);
        assert_eq!(
            figure("density").rows,
            [["Lane 1", "1", "180 K/mm²", "180 K/mm²", "180 K/mm²"]]
        );
        assert_eq!(figure("unknown").rows, [["GGGG, lane 1", "9"]]);
        assert!(page.sums.contains(&("Yield", "4.00 Gb".to_owned())));
        assert_eq!(page.figures.len(), 6);
    }

    #[test]
    fn time_left_is_in_the_unit_people_wait_in() {
        assert_eq!(duration(59), "59 s");
        assert_eq!(duration(120), "2 min");
        assert_eq!(duration(7_300), "2 h 1 min");
    }
}
