//! Whose index a cluster has read.
//!
//! An index is a word of three bits a cycle, so that one exclusive-or, one mask and one population count give the number of
//! mismatches against a sample, whatever the sample's index length or cycle mask. Every index must match the *same* sample,
//! each within its own tolerance, and an N in the read is a mismatch (`spec/demultiplexing.md` section 4). What a pair of
//! words means is found by comparing with every sample once and then remembered: most clusters repeat a pair that was seen.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hasher};

/// One word per index read: i7, i5.
pub(crate) type Words = [u128; 2];

/// Bit 0 of every three.
const LOWEST: u128 = {
    let mut bits = 0u128;
    let mut at = 0;
    while at < 126 {
        bits |= 1 << at;
        at += 3;
    }
    bits
};

/// The code of an N that was read; a sheet's N has a code of its own and so equals nothing.
const READ_N: u128 = 4;
const SHEET_N: u128 = 5;

/// What one sample expects of one index read: bases on some of its cycles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Pattern {
    bases: u128,
    cycles: u128,
}

impl Pattern {
    /// Lays `sequence` on the first of `cycles`, which are positions inside the index read.
    pub(crate) fn lay(sequence: &[u8], cycles: impl Iterator<Item = usize>) -> Self {
        let mut pattern = Self::default();
        for (letter, cycle) in sequence.iter().zip(cycles) {
            let code = match letter {
                b'A' => 0,
                b'C' => 1,
                b'G' => 2,
                b'T' => 3,
                _ => SHEET_N,
            };
            pattern.bases |= code << (3 * cycle);
            pattern.cycles |= 0b111 << (3 * cycle);
        }
        pattern
    }

    /// Mismatches of a word that was read.
    fn mismatches(self, word: u128) -> u32 {
        differing(word ^ self.bases, self.cycles)
    }

    /// Cycles on which both expect a base and another one.
    pub(crate) fn distance(self, other: Self) -> u32 {
        differing(self.bases ^ other.bases, self.cycles & other.cycles)
    }

    /// Whether no base is expected.
    pub(crate) fn is_empty(self) -> bool {
        self.cycles == 0
    }
}

fn differing(bits: u128, cycles: u128) -> u32 {
    let bits = bits & cycles;
    ((bits | bits >> 1 | bits >> 2) & LOWEST).count_ones()
}

/// The reverse complement; N stays N.
pub fn reverse_complement(sequence: &[u8]) -> Vec<u8> {
    let complement = |base: &u8| match base {
        b'A' => b'T',
        b'C' => b'G',
        b'G' => b'C',
        b'T' => b'A',
        other => *other,
    };
    sequence.iter().rev().map(complement).collect()
}

/// The word code of a base call: three bits, N as 4.
#[inline]
pub(crate) fn word_code(call: u8) -> u128 {
    if call == 0 { READ_N } else { u128::from(call & 3) }
}

/// Spells the cycles `0..cycles` of a word.
pub(crate) fn spell(word: u128, cycles: impl Iterator<Item = usize>) -> String {
    cycles.map(|cycle| b"ACGTNNNN"[(word >> (3 * cycle)) as usize & 7] as char).collect()
}

/// One index pair of one sample in a lane, as the matcher knows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    /// The row of the plan.
    pub(crate) row: u32,
    /// The sample it belongs to: rows of one sample never conflict.
    pub(crate) sample: u32,
    pub(crate) patterns: [Pattern; 2],
    pub(crate) tolerance: [u8; 2],
}

/// What a pair of index words means in one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Reads of the sample of this row, with this many mismatches over all indexes.
    Sample { row: u32, mismatches: u8 },
    /// The i7 of one row's sample with the i5 of another's: an index that hopped.
    Hopped { i7: u32, i5: u32 },
    /// No sample's.
    Unknown,
}

/// Finds the meaning of index words, one per worker.
pub(crate) struct Matcher {
    seen: HashMap<Words, Meaning, Mixing>,
}

/// Hashes index words by a multiplication a word, many times faster than the standard way. Its start is drawn at random, so that
/// nobody can make a run whose words all collide; nothing that is written depends on it.
#[derive(Clone, Copy)]
struct Mixing(u64);

impl BuildHasher for Mixing {
    type Hasher = Mixed;

    fn build_hasher(&self) -> Mixed {
        Mixed(self.0)
    }
}

struct Mixed(u64);

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.write_u64(u64::from_le_bytes(*word));
        }
        for byte in rest {
            self.write_u64((*byte).into());
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "the two halves of the product are what is wanted"
    )]
    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product as u64) ^ (product >> 64) as u64;
    }

    fn write_usize(&mut self, _: usize) {
        // The number of words, which is always the same.
    }
}

/// How many pairs a matcher remembers before it starts anew: 64 bytes each.
const REMEMBERED: usize = 1 << 16;

impl Matcher {
    pub(crate) fn new() -> Self {
        let start = RandomState::new().build_hasher().finish();
        Self { seen: HashMap::with_hasher(Mixing(start)) }
    }

    /// Forgets everything: another lane has other samples.
    pub(crate) fn forget(&mut self) {
        self.seen.clear();
    }

    /// The meaning of `words` among `candidates`. `hopping` says whether the lane's pairs are unique in both indexes.
    #[inline]
    pub(crate) fn meaning(
        &mut self,
        words: Words,
        candidates: &[Candidate],
        hopping: bool,
    ) -> Meaning {
        if let Some(meaning) = self.seen.get(&words) {
            return *meaning;
        }
        if self.seen.len() >= REMEMBERED {
            self.seen.clear();
        }
        let meaning = compare(words, candidates, hopping);
        self.seen.insert(words, meaning);
        meaning
    }
}

fn compare(words: Words, candidates: &[Candidate], hopping: bool) -> Meaning {
    // Of several that fit, the closest: rows of one sample may both fit, and hopping has no collision check.
    let closer = |held: &mut Option<(u32, u32)>, distance: u32, row: u32| {
        if held.is_none_or(|(least, _)| distance < least) {
            *held = Some((distance, row));
        }
    };
    let (mut both, mut i7, mut i5) = (None, None, None);
    for candidate in candidates {
        let found = [0, 1].map(|i| candidate.patterns[i].mismatches(words[i]));
        let fits = [0, 1].map(|i| found[i] <= u32::from(candidate.tolerance[i]));
        if fits == [true; 2] {
            closer(&mut both, found[0] + found[1], candidate.row);
        }
        if fits[0] {
            closer(&mut i7, found[0], candidate.row);
        }
        if fits[1] {
            closer(&mut i5, found[1], candidate.row);
        }
    }
    match (both, i7, i5) {
        (Some((total, row)), _, _) => {
            Meaning::Sample { row, mismatches: u8::try_from(total).unwrap_or(u8::MAX) }
        }
        (None, Some((_, i7)), Some((_, i5))) if hopping => Meaning::Hopped { i7, i5 },
        _ => Meaning::Unknown,
    }
}

/// Whether every pair of a lane is unique in both indexes, so that a mixed pair tells of an index that hopped.
pub(crate) fn unique_pairs(candidates: &[Candidate]) -> bool {
    let all_differ = |i: usize| {
        let mut seen = HashSet::new();
        candidates.iter().all(|c| {
            !c.patterns[i].is_empty() && seen.insert((c.patterns[i].bases, c.patterns[i].cycles))
        })
    };
    candidates.len() > 1 && all_differ(0) && all_differ(1)
}

/// Whether one read could match both: on every index, no further apart than the tolerances together.
pub(crate) fn conflict(a: &Candidate, b: &Candidate) -> bool {
    a.sample != b.sample
        && (0..2).all(|i| {
            let reach = u32::from(a.tolerance[i]) + u32::from(b.tolerance[i]);
            a.patterns[i].distance(b.patterns[i]) <= reach
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> u128 {
        let code = |letter| match letter {
            b'A' => 4,
            b'C' => 5,
            b'G' => 6,
            b'T' => 7,
            _ => 0,
        };
        text.bytes()
            .enumerate()
            .fold(0, |word, (i, letter)| word | word_code(code(letter)) << (3 * i))
    }

    fn candidate(row: u32, i7: &str, i5: &str, tolerance: [u8; 2]) -> Candidate {
        let patterns = [i7, i5].map(|index| Pattern::lay(index.as_bytes(), 0..index.len()));
        Candidate { row, sample: row, patterns, tolerance }
    }

    #[test]
    fn every_index_must_match_the_same_sample() {
        let lane = [
            candidate(0, "ACGTACGT", "TTTTTTTT", [1; 2]),
            candidate(1, "GGGGCCCC", "AAAACCCC", [1; 2]),
        ];
        let mut matcher = Matcher::new();
        for (i7, i5, meaning) in [
            ("ACGTACGT", "TTTTTTTT", Meaning::Sample { row: 0, mismatches: 0 }),
            ("NCGTACGT", "TTTTTTTT", Meaning::Sample { row: 0, mismatches: 1 }),
            ("ACGTACGA", "TTTTTTTG", Meaning::Sample { row: 0, mismatches: 2 }),
            ("ACGTACAA", "TTTTTTTT", Meaning::Unknown),
            ("ACGTACGT", "AAAACCCC", Meaning::Hopped { i7: 0, i5: 1 }),
            ("NNNNNNNN", "NNNNNNNN", Meaning::Unknown),
        ] {
            assert_eq!(matcher.meaning([word(i7), word(i5)], &lane, true), meaning, "{i7} {i5}");
            assert_eq!(
                matcher.meaning([word(i7), word(i5)], &lane, true),
                meaning,
                "{i7} {i5} again"
            );
        }
    }

    #[test]
    fn a_shorter_index_is_compared_on_its_own_cycles_only() {
        let lane = [candidate(0, "ACGTAC", "", [0; 2]), candidate(1, "TTTTTTTT", "", [0; 2])];
        let mut matcher = Matcher::new();
        let found = matcher.meaning([word("ACGTACNN"), 0], &lane, false);
        assert_eq!(found, Meaning::Sample { row: 0, mismatches: 0 });
    }

    #[test]
    fn an_n_in_the_sheet_matches_nothing_not_even_an_n() {
        let lane = [candidate(0, "ACGN", "", [0; 2])];
        for read in ["ACGA", "ACGC", "ACGG", "ACGT", "ACGN"] {
            assert_eq!(Matcher::new().meaning([word(read), 0], &lane, false), Meaning::Unknown);
        }
    }

    #[test]
    fn two_samples_conflict_exactly_when_one_read_could_match_both() {
        // Every read of four bases over A, C, G, T, N is tried against the rule.
        let reads: Vec<u128> = (0..625u32)
            .map(|n| (0..4).fold(0, |w, i| w | u128::from(n / 5u32.pow(i) % 5) << (3 * i)))
            .collect();
        for other in ["ACGT", "ACGA", "ACAA", "AGAA", "TGAA", "ACG", "TG"] {
            for tolerance in 0..=2 {
                let a = candidate(0, "ACGT", "", [tolerance, 0]);
                let b = candidate(1, other, "", [tolerance, 0]);
                let fits =
                    |c: &Candidate, word| c.patterns[0].mismatches(word) <= u32::from(tolerance);
                let shared = reads.iter().any(|word| fits(&a, *word) && fits(&b, *word));
                assert_eq!(conflict(&a, &b), shared, "ACGT and {other} at {tolerance}");
            }
        }
    }

    #[test]
    fn a_word_spells_what_was_read() {
        assert_eq!(spell(word("ACGTN"), 0..5), "ACGTN");
        assert_eq!(reverse_complement(b"AACGN"), b"NCGTT");
    }
}
