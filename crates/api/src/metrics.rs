//! How a run went: its metrics, as the vault that demultiplexes it sums them up, and how far it has arrived.
//!
//! The metrics are a file of a result that the vault makes beside the run ([`RUN_METRICS_PATH`]), sealed like everything there:
//! they name samples and barcodes. A figure that nothing tells is `null`. What is said of the transfer is numbers alone and
//! is kept by nobody: a hub that starts anew hears it from the broker again.

use serde::{Deserialize, Serialize};

use crate::Time;

/// Where a vault puts a run's metrics, in the result that it makes beside the run.
pub const RUN_METRICS_PATH: &str = "Reports/Run_Metrics.json";

/// A run's metrics.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunMetrics {
    /// Cycles that the run shall have.
    pub planned_cycles: u32,
    /// The last cycle that has qualities.
    pub last_cycle: Option<u16>,
    /// Whether every read of the run is assigned: before, samples and barcodes are left out.
    pub assigned: bool,
    /// Read by read, index reads counted.
    pub reads: Vec<ReadFigures>,
    /// Lane by lane.
    pub lanes: Vec<LaneFigures>,
    /// Tile by tile, by lane and number.
    pub tiles: Vec<TileFigures>,
    /// Cycle by cycle over all lanes.
    pub cycles: Vec<CycleFigures>,
    /// Samples by lane, and what belongs to none.
    pub samples: Vec<SampleFigures>,
    /// The most frequent barcodes that are no sample's, of each lane.
    pub unknown_barcodes: Vec<BarcodeFigures>,
    /// What could not be used of the run's metrics.
    pub remarks: Vec<String>,
}

/// One read over all lanes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadFigures {
    /// Its number, from 1.
    pub number: u32,
    /// Whether it reads an index.
    pub indexed: bool,
    /// Its planned cycles.
    pub cycles: u32,
    /// Bases called so far.
    pub yield_bases: Option<f64>,
    /// Percent of the bases with a quality of at least 30.
    pub q30_percent: Option<f64>,
    /// Percent of bases that differ from the control.
    pub error_percent: Option<f64>,
}

/// One lane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LaneFigures {
    /// Its number.
    pub lane: u16,
    /// Clusters.
    pub clusters: Option<f64>,
    /// Of these, passing the filter.
    pub passing: Option<f64>,
    /// Percent of clusters that pass, the mean over tiles.
    pub passing_percent: Option<f64>,
    /// Clusters a square millimetre, the mean over tiles.
    pub density: Option<f64>,
    /// Passing clusters a square millimetre, the mean over tiles.
    pub density_passing: Option<f64>,
    /// Percent of wells that are occupied.
    pub occupied_percent: Option<f64>,
}

/// One tile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TileFigures {
    /// Its lane.
    pub lane: u16,
    /// Its number, as the instrument writes it.
    pub tile: u32,
    /// Clusters a square millimetre.
    pub density: Option<f64>,
    /// Percent of its clusters that pass.
    pub passing_percent: Option<f64>,
}

/// One cycle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CycleFigures {
    /// Its number over the whole run, from 1.
    pub cycle: u16,
    /// Percent of its calls with a quality of at least 30.
    pub q30_percent: Option<f64>,
}

/// One sample in one lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SampleFigures {
    /// The lane.
    pub lane: u32,
    /// `Sample_ID`; `null` for reads that are no sample's.
    pub sample: Option<String>,
    /// Clusters.
    pub clusters: u64,
    /// Bases, before adapters are cut off; 0 before the sample's files are made.
    pub bases: u64,
    /// Of these, with a quality of at least 30.
    pub q30_bases: u64,
}

/// A barcode that is no sample's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BarcodeFigures {
    /// The lane.
    pub lane: u32,
    /// i7 as read, and i5 after a plus sign where there is one.
    pub barcode: String,
    /// Clusters.
    pub clusters: u64,
}

/// `PUT /runs/{id}/progress`: how far a run is, as the broker that sends it counts. Numbers alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TransferProgress {
    /// Files in the run folder.
    pub files: u64,
    /// Of them whole at the hub.
    pub files_whole: u64,
    /// Bytes in the run folder.
    pub bytes: u64,
    /// Of them at the hub: the difference is the backlog.
    pub bytes_held: u64,
    /// Whether the run is over and everything is hashed once more.
    pub verifying: bool,
    /// Sealed bytes a second, over the life of the sending process.
    pub bytes_per_second: u64,
    /// How often something passed by itself: a line that was cut, a share or a hub that was away.
    pub faults_survived: u64,
    /// Seconds until the backlog is sent at this rate, where something was sent.
    pub seconds_left: Option<u64>,
}

/// What a broker said last of a run, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ToldProgress {
    /// When the hub was told.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// What it was told.
    pub transfer: TransferProgress,
}

/// `GET /runs/{id}/progress`: how far a run has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunProgress {
    /// Sealed objects that are here.
    pub objects: u64,
    /// Their size.
    pub sealed_bytes: u64,
    /// Files that the newest signed manifest lists as whole.
    pub files_signed: u64,
    /// What the broker said last; nothing where none said something to this process.
    pub told: Option<ToldProgress>,
}
