//! `IndexMetricsOut.bin` as demultiplexing programs write it: reads of each sample, tile by tile.
//!
//! Version 2 (`spec/run-metrics.md`), so that programs that read what an instrument wrote read this as well.

use crate::plan::Sample;

/// The file in the making.
pub(crate) struct IndexMetrics {
    bytes: Vec<u8>,
    cut: bool,
}

/// Thousands of samples on thousands of tiles would fill gigabytes; past this no tile is added.
const MOST_BYTES: usize = 64 << 20;

impl IndexMetrics {
    pub(crate) fn new() -> Self {
        Self { bytes: vec![2], cut: false }
    }

    /// Goes on with what [`Self::bytes`] gave, nothing at the beginning.
    pub(crate) fn go_on(bytes: &[u8], cut: bool) -> Self {
        match bytes {
            [] => Self::new(),
            _ => Self { bytes: bytes.to_vec(), cut },
        }
    }

    /// What there is so far.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Adds the reads of one index of one sample on a tile. An index without reads is left out.
    pub(crate) fn add(&mut self, lane: u32, tile: u32, index: &str, reads: u64, sample: &Sample) {
        if reads == 0 || self.cut {
            return;
        }
        let project = sample.sample_project.as_deref().unwrap_or("default");
        let mut record = Vec::new();
        record.extend(u16::try_from(lane).expect("a lane is below 100 by its limit").to_le_bytes());
        record.extend(tile.to_le_bytes());
        record.extend(1u16.to_le_bytes());
        text(&mut record, index);
        record.extend(reads.to_le_bytes());
        text(&mut record, &sample.sample_id);
        text(&mut record, project);
        if self.bytes.len() + record.len() > MOST_BYTES {
            self.cut = true;
        } else {
            self.bytes.extend(record);
        }
    }

    /// Whether something did not fit.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

fn text(record: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len())
        .expect("names and indexes are shorter than 64 KiB by their limits");
    record.extend(length.to_le_bytes());
    record.extend(text.as_bytes());
}
