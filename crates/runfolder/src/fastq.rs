//! A cluster as FASTQ text, in the words of bcl2fastq.

use std::ops::Range;

use crate::places::Position;
use crate::plan::{Layout, OutputRead, UmiPart};

/// What all read names of a tile begin with: `@A00999:7:HSYNTHDSXX:1:1101:`.
pub(crate) fn name_start(
    instrument: &str,
    run: u64,
    flowcell: &str,
    lane: u32,
    tile: u32,
) -> Vec<u8> {
    format!("@{instrument}:{run}:{flowcell}:{lane}:{tile}:").into_bytes()
}

/// The parts of a cluster's read name that all its reads share.
#[derive(Default)]
pub(crate) struct Name {
    before: Vec<u8>,
    after: Vec<u8>,
}

impl Name {
    /// Spells the name of one cluster.
    pub(crate) fn spell(
        &mut self,
        start: &[u8],
        position: Position,
        layout: &Layout,
        row: &[u8],
        passes: bool,
    ) {
        self.before.clear();
        self.before.extend_from_slice(start);
        number(&mut self.before, position.0);
        self.before.push(b':');
        number(&mut self.before, position.1);
        for (part, separator) in
            layout.umi.iter().zip([b':'].into_iter().chain(std::iter::repeat(b'+')))
        {
            self.before.push(separator);
            umi(&mut self.before, part, row);
        }
        self.before.push(b' ');
        self.after.clear();
        self.after.extend_from_slice(if passes { b":N:0:" } else { b":Y:0:" });
        for (i, columns) in layout.index.iter().enumerate() {
            if i > 0 {
                self.after.push(b'+');
            }
            bases(&mut self.after, columns, row);
        }
        if layout.index.is_empty() {
            self.after.push(b'0');
        }
        self.after.push(b'\n');
    }

    /// Adds one read of the cluster as four lines, and gives the bases of adapter it had.
    pub(crate) fn record(&self, out: &mut Vec<u8>, read: &OutputRead, row: &[u8]) -> usize {
        out.extend_from_slice(&self.before);
        number(out, read.number.into());
        out.extend_from_slice(&self.after);
        let first = out.len();
        bases(out, &read.columns, row);
        let cut = read.trimming.as_ref().map(|trimming| trimming.cut(&out[first..]));
        if let Some(cut) = &cut {
            out.truncate(first + cut.written);
            out[first + cut.kept..].fill(b'N');
        }
        out.extend_from_slice(b"\n+\n");
        let first = out.len();
        for range in &read.columns {
            spell(out, &row[range.clone()], |calls| qualities_of_eight(calls) + 33 * ONES);
        }
        if let Some(cut) = &cut {
            out.truncate(first + cut.written);
            out[first + cut.kept..].fill(b'#');
        }
        out.push(b'\n');
        cut.map_or(0, |cut| cut.adapter)
    }
}

// Eight calls are done at once, one in each byte of a word: no byte of the sums below reaches into the next.

/// One in each byte.
const ONES: u64 = 0x0101_0101_0101_0101;

/// One in each byte of a call that is none.
#[inline]
fn no_calls(calls: u64) -> u64 {
    !(((calls & (0x7f * ONES)) + 0x7f * ONES) | calls) >> 7 & ONES
}

/// The qualities of eight calls: a no-call has 2, written `#`.
#[inline]
fn qualities_of_eight(calls: u64) -> u64 {
    ((calls >> 2) & (0x3f * ONES)) + 2 * no_calls(calls)
}

/// The letters of eight calls.
#[inline]
fn bases_of_eight(calls: u64) -> u64 {
    // From A it is 2 to C, 6 to G, 2 + 6 + 11 to T, and 13 to N.
    let (low, high) = (calls & ONES, calls >> 1 & ONES);
    u64::from(b'A') * ONES + 2 * low + 6 * high + 11 * (low & high) + 13 * no_calls(calls)
}

/// How many calls have a quality of at least 30, and the sum of their qualities.
pub(crate) fn qualities(calls: &[u8]) -> (u64, u64) {
    let (mut q30, mut sum) = (0, 0);
    // Sums of two bytes each: so many calls stay below 65 536 in each of the four.
    for piece in calls.chunks(1024) {
        let (mut q30_here, mut sum_here) = (0, 0);
        let mut add = |calls: u64, counted: u64| {
            let qualities = qualities_of_eight(calls) & counted;
            let is_q30 = (qualities + (128 - 30) * ONES) >> 7 & ONES;
            q30_here += is_q30.count_ones();
            sum_here +=
                (qualities & 0x00ff_00ff_00ff_00ff) + (qualities >> 8 & 0x00ff_00ff_00ff_00ff);
        };
        let (eights, rest) = piece.as_chunks::<8>();
        eights.iter().for_each(|eight| add(u64::from_le_bytes(*eight), u64::MAX));
        if !rest.is_empty() {
            add(padded(rest), u64::MAX >> (64 - 8 * rest.len()));
        }
        q30 += u64::from(q30_here);
        let sums = (0..64).step_by(16).map(|shift| sum_here >> shift & 0xffff);
        sum += sums.sum::<u64>();
    }
    (q30, sum)
}

/// Fewer than eight calls as a word.
fn padded(calls: &[u8]) -> u64 {
    let mut eight = [0; 8];
    eight[..calls.len()].copy_from_slice(calls);
    u64::from_le_bytes(eight)
}

/// Adds what eight calls at a time are written as.
fn spell(out: &mut Vec<u8>, calls: &[u8], letters: impl Fn(u64) -> u64) {
    let at = out.len();
    out.resize(at + calls.len(), 0);
    let (eights, rest) = calls.as_chunks::<8>();
    let (words, last) = out[at..].as_chunks_mut::<8>();
    for (word, eight) in words.iter_mut().zip(eights) {
        *word = letters(u64::from_le_bytes(*eight)).to_le_bytes();
    }
    last.copy_from_slice(&letters(padded(rest)).to_le_bytes()[..rest.len()]);
}

fn bases(out: &mut Vec<u8>, columns: &[Range<usize>], row: &[u8]) {
    for range in columns {
        spell(out, &row[range.clone()], bases_of_eight);
    }
}

fn umi(out: &mut Vec<u8>, part: &UmiPart, row: &[u8]) {
    if part.reversed {
        out.push(b'r');
        let at = out.len();
        bases(out, &part.columns, row);
        let turned = crate::barcode::reverse_complement(&out[at..]);
        out.truncate(at);
        out.extend_from_slice(&turned);
    } else {
        bases(out, &part.columns, row);
    }
}

fn number(out: &mut Vec<u8>, value: i64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(rest % 10).expect("a digit fits a byte");
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "columns are lists of ranges, some of one")]
mod tests {
    use super::*;
    use crate::source::ReadKind;

    fn read(number: u32, columns: Vec<Range<usize>>) -> OutputRead {
        let bases = columns.iter().map(ExactSizeIterator::len).sum();
        OutputRead { kind: ReadKind::Read, number, columns, bases, trimming: None }
    }

    #[test]
    fn eight_calls_at_once_are_what_each_is_alone() {
        let calls: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
        for length in (0..40).chain([511, 512]) {
            let calls = &calls[..length];
            let quality = |call: &u8| if *call == 0 { 2 } else { call >> 2 };
            let letter = |call: &u8| match call {
                0 => b'N',
                call => b"ACGT"[usize::from(call & 3)],
            };
            let mut out = b"x".to_vec();
            bases(&mut out, &[0..length], calls);
            assert_eq!(out[1..], calls.iter().map(letter).collect::<Vec<_>>());
            let mut out = Vec::new();
            spell(&mut out, calls, |calls| qualities_of_eight(calls) + 33 * ONES);
            assert_eq!(out, calls.iter().map(|call| quality(call) + 33).collect::<Vec<_>>());
            let all = calls.iter().map(quality);
            let q30 = all.clone().filter(|quality| *quality >= 30).count() as u64;
            assert_eq!(qualities(calls), (q30, all.map(u64::from).sum()));
        }
        let most = vec![255; 4096];
        assert_eq!(qualities(&most), (4096, 4096 * 63));
    }

    #[test]
    fn a_cluster_is_spelled_as_bcl2fastq_spells_it() {
        let q = |base: u8, quality: u8| quality << 2 | base;
        // Two bases of identifier, three of sequence, then two indexes of two.
        let row = [q(0, 30), q(3, 30), q(2, 37), 0, q(1, 0), q(0, 37), 0, q(3, 12), q(3, 12)];
        let layout = Layout {
            outputs: Vec::new(),
            umi: vec![
                UmiPart { columns: vec![0..2], reversed: false },
                UmiPart { columns: vec![0..2, 2..3], reversed: true },
            ],
            index: vec![vec![5..7], vec![7..9]],
        };
        let mut name = Name::default();
        let start = name_start("A00999", 7, "HSYNTHDSXX", 1, 1101);
        name.spell(&start, (1271, -3), &layout, &row, true);
        let mut out = Vec::new();
        name.record(&mut out, &read(2, vec![2..3, 3..5]), &row);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "@A00999:7:HSYNTHDSXX:1:1101:1271:-3:AT+rCAT 2:N:0:AN+TT\nGNC\n+\nF#!\n"
        );
        let plain = Layout { outputs: Vec::new(), umi: Vec::new(), index: Vec::new() };
        name.spell(&start, (0, i64::MAX), &plain, &row, false);
        let mut out = Vec::new();
        name.record(&mut out, &read(1, vec![2..3]), &row);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "@A00999:7:HSYNTHDSXX:1:1101:0:9223372036854775807 1:Y:0:0\nG\n+\nF\n"
        );
    }
}
