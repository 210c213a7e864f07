//! What a run folder may claim before anything is believed.
//!
//! Every count that a file states is held against one of these before memory is taken for it, so that a file of ten bytes
//! cannot ask for ten gigabytes. The figures are several times what an instrument writes; `spec/demultiplexing.md` section 8
//! lists them.

/// The largest `RunInfo.xml` or `SampleSheet.csv`, in bytes.
pub const MAX_TEXT_BYTES: u64 = 16 << 20;
/// Reads in a `RunInfo.xml`.
pub const MAX_READS: usize = 16;
/// Cycles of all reads together.
pub const MAX_CYCLES: usize = 4096;
/// Cycles of one index read: 3 bits each must fit one 128-bit word.
pub const MAX_INDEX_CYCLES: usize = 42;
/// Lanes, and the highest lane number.
pub const MAX_LANES: u32 = 99;
/// Tiles of one lane.
pub const MAX_TILES: usize = 20_000;
/// Clusters of one tile.
pub const MAX_TILE_CLUSTERS: u32 = 32 << 20;
/// Rows of a sample sheet.
pub const MAX_SHEET_ROWS: usize = 100_000;
/// Columns of a row of a sample sheet.
pub const MAX_SHEET_COLUMNS: usize = 256;
/// The header of a CBCL file, in bytes.
pub const MAX_CBCL_HEADER_BYTES: u32 = 1 << 20;
/// Files in a run folder.
pub const MAX_FILES: usize = 8 << 20;
/// A `.clocs` file, in bytes.
pub const MAX_CLOCS_BYTES: u64 = 256 << 20;
/// Adapters of one read.
pub const MAX_ADAPTERS: usize = 64;
/// Bases of one adapter.
pub const MAX_ADAPTER_BASES: usize = 1000;
/// A file of run metrics, in bytes.
pub const MAX_INTEROP_BYTES: u64 = 512 << 20;
/// Image channels of a run.
pub const MAX_CHANNELS: usize = 16;
