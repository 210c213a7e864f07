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
            let calls = &row[range.clone()];
            let at = out.len();
            out.resize(at + calls.len(), 0);
            for (letter, call) in out[at..].iter_mut().zip(calls) {
                *letter = quality(*call) + 33;
            }
        }
        if let Some(cut) = &cut {
            out.truncate(first + cut.written);
            out[first + cut.kept..].fill(b'#');
        }
        out.push(b'\n');
        cut.map_or(0, |cut| cut.adapter)
    }
}

/// The quality of a call: a no-call has 2, written `#`.
#[inline]
pub(crate) fn quality(call: u8) -> u8 {
    if call == 0 { 2 } else { call >> 2 }
}

/// How many calls have a quality of at least 30, and the sum of their qualities.
pub(crate) fn qualities(calls: &[u8]) -> (u64, u64) {
    let (mut q30, mut sum) = (0, 0);
    // The sums of a piece fit into sixteen bits, which lets more calls be added at once.
    for piece in calls.chunks(256) {
        let (mut q30_here, mut sum_here) = (0u16, 0u16);
        for call in piece {
            let quality = quality(*call);
            q30_here += u16::from(quality >= 30);
            sum_here += u16::from(quality);
        }
        q30 += u64::from(q30_here);
        sum += u64::from(sum_here);
    }
    (q30, sum)
}

#[inline]
fn base(call: u8) -> u8 {
    // Written as choices, not as a table, so that sixteen calls are done at once.
    let low = if call & 1 == 0 { b'A' } else { b'C' };
    let high = if call & 1 == 0 { b'G' } else { b'T' };
    let called = if call & 2 == 0 { low } else { high };
    if call == 0 { b'N' } else { called }
}

fn bases(out: &mut Vec<u8>, columns: &[Range<usize>], row: &[u8]) {
    for range in columns {
        let calls = &row[range.clone()];
        let at = out.len();
        out.resize(at + calls.len(), 0);
        for (letter, call) in out[at..].iter_mut().zip(calls) {
            *letter = base(*call);
        }
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
