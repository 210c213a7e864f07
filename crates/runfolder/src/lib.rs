//! Illumina run folders: what was sequenced, which sample each cluster belongs to, and the reads as FASTQ.
//!
//! Bytes come from a [`Source`] and finished gzip members go to a [`Sink`]; only [`dir`] knows files. The way through is
//! [`RunInfo::parse`] and [`SampleSheet::parse`], then [`plan()`], where everything that can be wrong with a sheet is said,
//! then [`demultiplex`]. The rules are written down in `spec/demultiplexing.md`.

mod adapter;
mod barcode;
mod cbcl;
mod cycle;
mod demux;
pub mod dir;
mod error;
mod fastq;
mod fields;
mod follow;
pub mod fuzz;
mod index_metrics;
mod inflate;
pub mod interop;
mod lane;
pub mod limits;
mod mask;
mod member;
mod places;
mod plan;
mod report;
mod run_info;
mod settings;
mod sheet;
mod source;
mod stats_json;
mod transpose;
mod unknown;
mod work;
mod workers;

pub use barcode::reverse_complement;
pub use demux::{Progress, demultiplex, survey};
pub use error::{DemuxError, Missing, Place};
pub use follow::{Follow, Followed, Journal, Milestone, ResumeError};
pub use inflate::Damage;
pub use mask::{CycleMask, CycleUse, MaskError};
pub use member::{Deflate, Framing};
pub use plan::{Collision, Plan, PlanError, PlanOptions, Sample, draft, plan};
pub use report::{
    HoppedPair, LaneReport, Orientation, ReadMetrics, Report, SampleReport, Suspicion,
    UnknownBarcode,
};
pub use run_info::{ListedTile, Read, RunInfo, RunInfoError};
pub use settings::SettingError;
pub use sheet::{SampleSheet, SheetError, SheetRow, SheetVersion};
pub use source::{Entry, FastqName, ReadKind, Sink, Source, read_small};
