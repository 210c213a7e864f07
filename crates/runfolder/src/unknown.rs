//! The barcodes that no sample has, counted in bounded memory.
//!
//! Junk makes every barcode there is, so the table would grow with the run. Past a limit the rarest are forgotten, which makes
//! what is told a lower bound. Clusters come in file order whatever the threads, so the same are forgotten every time.

use std::collections::HashMap;

use crate::barcode::{Words, spell};
use crate::plan::{DEFAULT_LAYOUT, Plan};
use crate::report::UnknownBarcode;

/// Barcodes that are counted at once: about 32 MB.
const COUNTED: usize = 1 << 18;

/// Counts of unknown barcodes of one lane.
pub(crate) struct UnknownCounts {
    counts: HashMap<Words, u64>,
    /// The cycles of each index word that make the barcode as it is told.
    cycles: [Vec<usize>; 2],
    mask: Words,
    forgot: bool,
}

impl UnknownCounts {
    /// Counts barcodes as the plan's default cycle mask reads them.
    pub(crate) fn of(plan: &Plan) -> Self {
        let mut cycles = [Vec::new(), Vec::new()];
        let mut mask = [0; 2];
        for column in plan.layouts[DEFAULT_LAYOUT].index.iter().flatten().cloned().flatten() {
            if let Some((word, at)) = plan.used[column].word {
                cycles[word].push(at);
                mask[word] |= 0b111 << (3 * at);
            }
        }
        Self { counts: HashMap::new(), cycles, mask, forgot: false }
    }

    pub(crate) fn add(&mut self, words: Words) {
        if self.mask == [0; 2] {
            return;
        }
        let key = [words[0] & self.mask[0], words[1] & self.mask[1]];
        *self.counts.entry(key).or_default() += 1;
        if self.counts.len() > COUNTED {
            self.forget();
        }
    }

    /// Forgets the rarest until at most half are left.
    fn forget(&mut self) {
        self.forgot = true;
        let mut least = 1;
        while self.counts.len() > COUNTED / 2 {
            self.counts.retain(|_, count| *count > least);
            least *= 2;
        }
    }

    pub(crate) fn is_lower_bound(&self) -> bool {
        self.forgot
    }

    /// The most frequent, most frequent first and then by letters.
    pub(crate) fn most_frequent(self, limit: usize) -> Vec<UnknownBarcode> {
        let [i7, i5] = self.cycles;
        let mut all: Vec<UnknownBarcode> = self
            .counts
            .into_iter()
            .map(|(words, reads)| UnknownBarcode {
                index: spell(words[0], i7.iter().copied()),
                index2: spell(words[1], i5.iter().copied()),
                reads,
            })
            .collect();
        all.sort_by(|a, b| {
            b.reads.cmp(&a.reads).then_with(|| (&a.index, &a.index2).cmp(&(&b.index, &b.index2)))
        });
        all.truncate(limit);
        all
    }
}
