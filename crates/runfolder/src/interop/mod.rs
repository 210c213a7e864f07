//! Run metrics: what the instrument wrote about its own work under `InterOp/`, and the summary people ask for.
//!
//! Every file is a version, a record size, perhaps a header, and then records of that size, appended while the run goes on.
//! So a file may end inside a record, and what is before it counts. Layouts are in `spec/run-metrics.md`; the rules of the
//! summary are those of Illumina's own library, to which tests hold every figure.

mod records;
mod summary;

pub use summary::{
    CycleMetrics, IndexedSample, LaneIndexes, LaneMetrics, ReadSummary, RunMetrics, TileMetrics,
    Totals, summarize,
};

pub(crate) use records::decode_any;
