//! Adapters at the end of a read: found, then cut off or written as N.
//!
//! Where the insert is shorter than the read, the instrument reads on into the adapter. It is looked for at every position,
//! from the first on, without insertions or deletions, and may hang over the end of the read; the first place where enough
//! bases agree is where the insert ends (`spec/demultiplexing.md` section 6). What is left too short is filled up with N, so
//! that no program meets an empty read.

use std::sync::Arc;

/// A stringency of one, in the parts it is counted in.
pub(crate) const WHOLE: u32 = 1_000_000;

/// Sequences of one read, each looked for on its own.
pub(crate) type Adapters = Arc<[Box<[u8]>]>;

/// What happens to the bases of an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Behaviour {
    /// They are cut off.
    Trim,
    /// They become N.
    Mask,
}

/// How adapters are found and what is done with them, in one read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Trimming {
    /// Each looked for on its own, in letters A, C, G and T; at least one.
    pub(crate) adapters: Adapters,
    pub(crate) behaviour: Behaviour,
    /// The least share of bases that agree, in parts of [`WHOLE`].
    pub(crate) stringency: u32,
    /// Bases of the adapter that must at least lie inside the read.
    pub(crate) least_overlap: usize,
    /// A read is not cut shorter than this; the bases of the adapter that stay are N.
    pub(crate) least_length: usize,
    /// A read with fewer bases before its adapter becomes N altogether.
    pub(crate) least_kept: usize,
}

/// What becomes of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Bases that stay as they are.
    pub(crate) kept: usize,
    /// Bases that are written, those that are kept and then N.
    pub(crate) written: usize,
    /// Bases from the first of the adapter to the end of the read.
    pub(crate) adapter: usize,
}

impl Trimming {
    /// What becomes of a read of these letters.
    pub(crate) fn cut(&self, read: &[u8]) -> Cut {
        let Some(start) = self.adapters.iter().filter_map(|one| self.find(one, read)).min() else {
            return Cut { kept: read.len(), written: read.len(), adapter: 0 };
        };
        let written = match self.behaviour {
            Behaviour::Mask => read.len(),
            Behaviour::Trim => start.max(self.least_length).min(read.len()),
        };
        let kept = if start < self.least_kept { 0 } else { start };
        Cut { kept, written, adapter: read.len() - start }
    }

    /// Where in the read an adapter begins.
    fn find(&self, adapter: &[u8], read: &[u8]) -> Option<usize> {
        let last = read.len().checked_sub(self.least_overlap.max(1))?;
        (0..=last).find(|start| {
            let inside = &read[*start..];
            let overlap = adapter.len().min(inside.len());
            overlap >= self.least_overlap
                && agrees(&adapter[..overlap], &inside[..overlap], self.tolerated(overlap))
        })
    }

    /// Mismatches at which an overlap of so many bases still counts.
    fn tolerated(&self, overlap: usize) -> u32 {
        let disagreeing = overlap as u64 * u64::from(WHOLE - self.stringency) / u64::from(WHOLE);
        u32::try_from(disagreeing).unwrap_or(u32::MAX)
    }
}

/// Whether two sequences of one length differ in at most so many letters. Eight are compared at once, and nearly every
/// position of a read is given up after the first eight.
#[inline]
fn agrees(a: &[u8], b: &[u8], tolerated: u32) -> bool {
    const LOW: u64 = 0x0101_0101_0101_0101;
    let mut found = 0;
    let (wide, narrow) = a.as_chunks::<8>();
    for (at, word) in wide.iter().enumerate() {
        let other = b[at * 8..].first_chunk().expect("both are of one length, as is said above");
        // Letters are ASCII, so the difference of two is below 128 and does not carry into the next.
        let differing = u64::from_le_bytes(*word) ^ u64::from_le_bytes(*other);
        found += ((differing + 0x7f * LOW) >> 7 & LOW).count_ones();
        if found > tolerated {
            return false;
        }
    }
    let rest = narrow.iter().zip(&b[a.len() - narrow.len()..]).filter(|(a, b)| a != b).count();
    found + u32::try_from(rest).unwrap_or(u32::MAX) <= tolerated
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEXTERA: &str = "CTGTCTCTTATACACATCT";

    fn trimming(adapters: &[&str]) -> Trimming {
        Trimming {
            adapters: adapters.iter().map(|one| one.as_bytes().into()).collect(),
            behaviour: Behaviour::Trim,
            stringency: 900_000,
            least_overlap: 1,
            least_length: 0,
            least_kept: 0,
        }
    }

    fn kept(trimming: &Trimming, read: &str) -> usize {
        trimming.cut(read.as_bytes()).kept
    }

    #[test]
    fn an_adapter_is_found_inside_a_read_and_hanging_over_its_end() {
        let nextera = trimming(&[NEXTERA]);
        let insert = "GGGGAGGGGA";
        for overlap in 1..=NEXTERA.len() {
            let read = format!("{insert}{}", &NEXTERA[..overlap]);
            assert_eq!(kept(&nextera, &read), insert.len(), "{overlap} bases of the adapter");
        }
        assert_eq!(kept(&nextera, &format!("{insert}{NEXTERA}ACGT")), insert.len());
        assert_eq!(kept(&nextera, insert), insert.len());
        assert_eq!(kept(&nextera, ""), 0);
        assert_eq!(nextera.cut(format!("{insert}{NEXTERA}AC").as_bytes()).adapter, 21);
    }

    #[test]
    fn the_stringency_is_the_share_of_bases_that_agree() {
        let insert = "GGGGAGGGGA";
        let spoilt = |at: &[usize]| {
            let mut adapter = NEXTERA.as_bytes().to_vec();
            at.iter().for_each(|at| adapter[*at] = b'N');
            format!("{insert}{}", String::from_utf8(adapter).unwrap())
        };
        let with = |stringency| Trimming { stringency, ..trimming(&[NEXTERA]) };
        // One of nineteen is 0.947, two are 0.895, four 0.789.
        assert_eq!(kept(&with(900_000), &spoilt(&[9])), 10);
        assert_ne!(kept(&with(900_000), &spoilt(&[0, 9])), 10);
        assert_eq!(kept(&with(780_000), &spoilt(&[0, 9, 17, 18])), 10);
        assert_ne!(kept(&with(WHOLE), &spoilt(&[9])), 10);
        assert_eq!(kept(&with(WHOLE), &spoilt(&[])), 10);
        // Nine bases at the end must all agree, ten may have one mismatch.
        assert_eq!(kept(&with(900_000), "GGGGAGGGGACTGTNTCTTA"), 10);
        assert_ne!(kept(&with(900_000), "GGGGAGGGGACTGTNTCTT"), 10);
    }

    #[test]
    fn an_overlap_below_the_least_one_is_no_adapter() {
        let least = |least_overlap| Trimming { least_overlap, ..trimming(&[NEXTERA]) };
        assert_eq!(kept(&least(1), "GGGGAGGGAC"), 9);
        assert_eq!(kept(&least(2), "GGGGAGGGAC"), 10);
        assert_eq!(kept(&least(3), "GGGGAGGCTG"), 7);
    }

    #[test]
    fn of_several_adapters_the_one_that_begins_first_counts() {
        let both = Trimming { stringency: WHOLE, ..trimming(&["TTTTTTTTTT", "CCCCCCCCCC"]) };
        assert_eq!(kept(&both, "GAGACCCCCCCCCCTTTTTTTTTT"), 4);
        assert_eq!(kept(&both, "GAGAGATTTTTTTTTTCCCCCCCCCC"), 6);
    }

    #[test]
    fn a_read_is_filled_up_to_its_least_length_and_becomes_n_where_too_little_is_left() {
        let short = Trimming { least_length: 8, least_kept: 4, ..trimming(&["CCCCCCCC"]) };
        let cut = |insert: &str| {
            let cut = short.cut(format!("{insert}CCCCCCCC").as_bytes());
            (cut.kept, cut.written)
        };
        assert_eq!(cut("GAGAGAGAGA"), (10, 10));
        assert_eq!(cut("GAGAG"), (5, 8));
        assert_eq!(cut("GAG"), (0, 8));
        let masked = Trimming { behaviour: Behaviour::Mask, ..short };
        let cut = masked.cut(b"GAGAGCCCCCCCC");
        assert_eq!(cut, Cut { kept: 5, written: 13, adapter: 8 });
    }

    #[test]
    fn comparing_eight_letters_at_once_counts_as_one_by_one_does() {
        let mut state = 1u32;
        let mut letter = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            b"ACGTN"[(state >> 24) as usize % 5]
        };
        for length in 0..40 {
            let a: Vec<u8> = (0..length).map(|_| letter()).collect();
            let b: Vec<u8> = (0..length).map(|_| letter()).collect();
            let differing =
                u32::try_from(a.iter().zip(&b).filter(|(a, b)| a != b).count()).unwrap();
            assert!(agrees(&a, &b, differing));
            assert!(differing == 0 || !agrees(&a, &b, differing - 1));
        }
    }
}
