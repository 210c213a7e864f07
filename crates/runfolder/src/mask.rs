//! What each cycle is for: sequence, index, molecular identifier, or nothing.
//!
//! By default a read's cycles are all sequence, an index read's all index. `OverrideCycles` says otherwise, one field per
//! read in sequencing order: `Y151;I8N2;N2I8;U7N1Y143`. For an index read that RunInfo marks as reverse complement the field
//! is written in the sheet's orientation, so it is turned round before it meets the cycles (Illumina Knowledge 7945).

use crate::run_info::RunInfo;

/// What one cycle is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CycleUse {
    /// `Y`: a base of the read.
    Sequence,
    /// `I`: a base of the index.
    Index,
    /// `U`: a base of the unique molecular identifier.
    Umi,
    /// `N`: not used.
    Nothing,
}

/// What every cycle of a run is for, read by read in sequencing order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CycleMask {
    /// One list per read of RunInfo, one entry per cycle.
    pub reads: Vec<Vec<CycleUse>>,
}

/// Why an `OverrideCycles` does not fit the run.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum MaskError {
    /// Another number of reads.
    #[error("OverrideCycles `{text}` has {found} fields, but the run has {expected} reads")]
    Reads {
        /// The setting.
        text: String,
        /// Its fields.
        found: usize,
        /// The run's reads.
        expected: usize,
    },
    /// A field of another length.
    #[error(
        "field `{field}` of OverrideCycles covers {found} cycles, but read {read} has {expected}"
    )]
    Cycles {
        /// The field.
        field: String,
        /// The read it is for.
        read: u32,
        /// The cycles it covers.
        found: usize,
        /// The cycles of the read.
        expected: usize,
    },
    /// A field that cannot be read.
    #[error(
        "field `{field}` of OverrideCycles is not made of Y, I, U and N, each with a number of cycles"
    )]
    Syntax {
        /// The field.
        field: String,
    },
    /// Index cycles in a sequence read or the other way round.
    #[error(
        "field `{field}` of OverrideCycles puts {letter} into read {read}, which {is} an index read"
    )]
    Misplaced {
        /// The field.
        field: String,
        /// The letter.
        letter: char,
        /// The read it is for.
        read: u32,
        /// `is` or `is not`.
        is: &'static str,
    },
}

impl CycleMask {
    /// Every cycle used: index reads as index, the others as sequence.
    pub fn whole(run: &RunInfo) -> Self {
        let all = |read: &crate::run_info::Read| {
            let what = if read.indexed { CycleUse::Index } else { CycleUse::Sequence };
            vec![what; read.cycles]
        };
        Self { reads: run.reads.iter().map(all).collect() }
    }

    /// Reads an `OverrideCycles` for a run. `*` for the number means all cycles that are left, as bcl2fastq had it.
    pub fn parse(text: &str, run: &RunInfo) -> Result<Self, MaskError> {
        let fields: Vec<&str> =
            text.split(';').map(str::trim).filter(|field| !field.is_empty()).collect();
        // A read of no cycles may be left out or be written as an empty field.
        let expected = run.reads.iter().filter(|read| read.cycles > 0).count();
        if fields.len() != expected {
            let text = text.chars().take(100).collect();
            return Err(MaskError::Reads { text, found: fields.len(), expected });
        }
        let mut fields = fields.into_iter();
        let mut reads = Vec::with_capacity(run.reads.len());
        for read in &run.reads {
            let mut cycles = Vec::with_capacity(read.cycles);
            if read.cycles > 0 {
                let field = fields.next().expect("a field is there because they were counted");
                field_cycles(field, read.cycles, &mut cycles)?;
                if cycles.len() != read.cycles {
                    return Err(MaskError::Cycles {
                        field: field.to_owned(),
                        read: read.number,
                        found: cycles.len(),
                        expected: read.cycles,
                    });
                }
                let (wrong, letter, is) = match read.indexed {
                    true => (CycleUse::Sequence, 'Y', "is"),
                    false => (CycleUse::Index, 'I', "is not"),
                };
                if cycles.contains(&wrong) {
                    let field = field.to_owned();
                    return Err(MaskError::Misplaced { field, letter, read: read.number, is });
                }
                if read.indexed && read.reverse_complement {
                    cycles.reverse();
                }
            }
            reads.push(cycles);
        }
        Ok(Self { reads })
    }
}

fn field_cycles(field: &str, total: usize, cycles: &mut Vec<CycleUse>) -> Result<(), MaskError> {
    let syntax = || MaskError::Syntax { field: field.chars().take(40).collect() };
    let mut rest = field;
    while let Some(letter) = rest.chars().next() {
        let what = match letter.to_ascii_uppercase() {
            'Y' => CycleUse::Sequence,
            'I' => CycleUse::Index,
            'U' => CycleUse::Umi,
            'N' => CycleUse::Nothing,
            _ => return Err(syntax()),
        };
        rest = &rest[1..];
        let count = if let Some(after) = rest.strip_prefix('*') {
            rest = after;
            total.saturating_sub(cycles.len())
        } else {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let number: usize = rest[..digits].parse().map_err(|_| syntax())?;
            rest = &rest[digits..];
            number
        };
        if count > total.saturating_sub(cycles.len()) {
            // One beyond the end is enough to tell that it does not fit, without taking memory for what is claimed.
            cycles.resize(total + 1, what);
            return Ok(());
        }
        cycles.resize(cycles.len() + count, what);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(reverse: char) -> RunInfo {
        let text = format!(
            "<RunInfo><Run><Reads><Read NumCycles='8' IsIndexedRead='N'/><Read NumCycles='4' IsIndexedRead='Y'/>\
             <Read NumCycles='4' IsIndexedRead='Y' IsReverseComplement='{reverse}'/></Reads></Run></RunInfo>"
        );
        RunInfo::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_reverse_complement_index_has_its_field_turned_round() {
        use CycleUse::{Index, Nothing, Sequence, Umi};
        let forward = CycleMask::parse("U2N1Y5;I3N1;N1I3", &run('N')).unwrap();
        assert_eq!(forward.reads[0][..4], [Umi, Umi, Nothing, Sequence]);
        assert_eq!(forward.reads[1], [Index, Index, Index, Nothing]);
        assert_eq!(forward.reads[2], [Nothing, Index, Index, Index]);
        let reverse = CycleMask::parse("u2n1y*;i3n1;n1i*", &run('Y')).unwrap();
        assert_eq!(reverse.reads[0], forward.reads[0]);
        assert_eq!(reverse.reads[2], [Index, Index, Index, Nothing]);
    }

    #[test]
    fn an_override_that_does_not_fit_the_run_is_refused() {
        for (text, sentence) in [
            ("Y8;I4", "OverrideCycles `Y8;I4` has 2 fields, but the run has 3 reads"),
            ("Y7;I4;I4", "field `Y7` of OverrideCycles covers 7 cycles, but read 1 has 8"),
            (
                "Y8;I4;I4000000000",
                "field `I4000000000` of OverrideCycles covers 5 cycles, but read 3 has 4",
            ),
            (
                "Y8;IX;I4",
                "field `IX` of OverrideCycles is not made of Y, I, U and N, each with a number of cycles",
            ),
            ("Y8;Y4;I4", "field `Y4` of OverrideCycles puts Y into read 2, which is an index read"),
            (
                "I8;I4;I4",
                "field `I8` of OverrideCycles puts I into read 1, which is not an index read",
            ),
        ] {
            assert_eq!(CycleMask::parse(text, &run('N')).unwrap_err().to_string(), sentence);
        }
    }
}
