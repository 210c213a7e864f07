//! In which order, when, and in how many pieces an instrument writes the files of a run.
//!
//! RunInfo, parameters and sheet come first, positions before the first cycle, base calls cycle by cycle, filters with cycle 26,
//! metrics and logs all the while, and the completion marks last, each after what it promises. Files appear under their final names
//! and grow there.

/// One act on one file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Event {
    /// Seconds since the run began.
    pub(super) at_seconds: f64,
    /// Below the run folder.
    pub(super) path: String,
    pub(super) act: Act,
}

/// What happens to a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Act {
    /// It appears with its first bytes.
    Begin { bytes: u64 },
    /// It becomes longer.
    Grow { bytes: u64 },
    /// It is written anew from the start, `bytes` long.
    Anew { bytes: u64 },
}

/// How fast the run goes, and where it ends early.
pub(super) struct Pace {
    pub(super) cycle_seconds: f64,
    pub(super) until_cycle: Option<u32>,
}

/// Filters are known when a cluster's first 25 cycles are.
const FILTER_CYCLE: u32 = 26;

/// What a file is to the instrument; the order of variants is of no meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Start,
    Parameters,
    Positions,
    Calls {
        cycle: u32,
    },
    Filter,
    /// Metrics and logs: they grow while the run goes on.
    Growing,
    /// Completion marks, in the order in which they are written.
    Mark {
        rank: u32,
    },
}

fn role(path: &str) -> Role {
    let name = path.rsplit('/').next().unwrap_or(path);
    let extension = name.rsplit('.').next().unwrap_or_default();
    match name {
        "RunInfo.xml" | "SampleSheet.csv" => return Role::Start,
        "RunParameters.xml" | "runParameters.xml" => return Role::Parameters,
        "RTAComplete.txt" | "RTAComplete.xml" => return Role::Mark { rank: 1 },
        "SequenceComplete.txt" => return Role::Mark { rank: 2 },
        "CopyComplete.txt" => return Role::Mark { rank: 3 },
        _ if name.starts_with("RTARead") => return Role::Mark { rank: 0 },
        _ => {}
    }
    let cycle_in = |text: &str| text.parse().ok().map(|cycle| Role::Calls { cycle });
    let by_folder = path
        .split('/')
        .find_map(|part| part.strip_prefix('C')?.strip_suffix(".1"))
        .and_then(cycle_in);
    // NextSeq 500: 0001.bcl.bgzf and 0001.bcl.bgzf.bci.
    let by_name = name.split_once(".bcl.bgzf").and_then(|(cycle, _)| cycle_in(cycle));
    match extension {
        _ if by_folder.is_some() || by_name.is_some() => {
            by_folder.or(by_name).expect("one of the two because the guard says so")
        }
        "locs" | "clocs" | "bci" => Role::Positions,
        "filter" => Role::Filter,
        _ => Role::Growing,
    }
}

/// The acts that bring these files about, in time.
pub(super) fn as_an_instrument(files: &[(String, u64)], pace: &Pace) -> Vec<Event> {
    let cycles = files
        .iter()
        .filter_map(|(path, _)| match role(path) {
            Role::Calls { cycle } => Some(cycle),
            _ => None,
        })
        .max()
        .unwrap_or(1);
    let begin_of = |cycle: u32| 60.0 + f64::from(cycle - 1) * pace.cycle_seconds;
    let run_ends = begin_of(cycles + 1);

    let mut events = Vec::new();
    for (path, bytes) in files {
        let seed = super::content::seed_of(path);
        let mut add = |at_seconds: f64, act: Act| {
            events.push(Event { at_seconds, path: path.clone(), act });
        };
        match role(path) {
            Role::Start => add(0.0, Act::Begin { bytes: *bytes }),
            Role::Parameters => {
                // Rewritten while the run goes on: the first version lacks the last byte.
                add(0.0, Act::Begin { bytes: bytes.saturating_sub(1) });
                add(begin_of(cycles / 2 + 1), Act::Anew { bytes: *bytes });
            }
            Role::Positions => add(30.0, Act::Begin { bytes: *bytes }),
            Role::Calls { cycle } => {
                // Somewhere in the first half of the cycle, in one to four pieces a second apart.
                let within = f64::from(u32::from(seed[0])) / 256.0 * pace.cycle_seconds / 2.0;
                let pieces = u64::from(seed[1] % 4) + 1;
                in_pieces(*bytes, pieces, begin_of(cycle) + within, 1.0, &mut add);
            }
            Role::Filter => add(
                begin_of(FILTER_CYCLE.min(cycles)) + 0.6 * pace.cycle_seconds,
                Act::Begin { bytes: *bytes },
            ),
            Role::Growing => {
                let first = begin_of(1) + 0.8 * pace.cycle_seconds;
                in_pieces(*bytes, u64::from(cycles), first, pace.cycle_seconds, &mut add);
            }
            Role::Mark { rank } => {
                add(run_ends + 5.0 + 15.0 * f64::from(rank), Act::Begin { bytes: *bytes });
            }
        }
    }
    if let Some(last) = pace.until_cycle {
        events.retain(|event| event.at_seconds < begin_of(last + 1));
    }
    // Stable: what shares a moment stays in the order of the files.
    events.sort_by(|a, b| a.at_seconds.total_cmp(&b.at_seconds));
    events
}

/// A file of `bytes` in at most so many pieces, `apart` seconds from one to the next. The last takes what division leaves.
pub(super) fn in_pieces(
    bytes: u64,
    pieces: u64,
    first: f64,
    apart: f64,
    add: &mut dyn FnMut(f64, Act),
) {
    let pieces = pieces.clamp(1, bytes.max(1));
    let (each, mut at) = (bytes / pieces, first);
    for piece in 0..pieces {
        let bytes = if piece + 1 == pieces { bytes - each * piece } else { each };
        add(at, if piece == 0 { Act::Begin { bytes } } else { Act::Grow { bytes } });
        at += apart;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn small_run(cycles: u32) -> Vec<(String, u64)> {
        let calls = "Data/Intensities/BaseCalls/L001";
        let mut files: Vec<(String, u64)> = [
            ("CopyComplete.txt", 0),
            ("InterOp/QMetricsOut.bin", 5000),
            ("RTAComplete.txt", 40),
            ("RunInfo.xml", 900),
            ("RunParameters.xml", 800),
            ("SampleSheet.csv", 300),
            ("SequenceComplete.txt", 0),
            ("Data/Intensities/s.locs", 100),
        ]
        .map(|(path, bytes)| (path.to_owned(), bytes))
        .to_vec();
        files.push((format!("{calls}/s_1_1101.filter"), 50));
        for cycle in 1..=cycles {
            files.push((format!("{calls}/C{cycle}.1/L001_1.cbcl"), 1000 + u64::from(cycle)));
        }
        files
    }

    fn pace(until_cycle: Option<u32>) -> Pace {
        Pace { cycle_seconds: 300.0, until_cycle }
    }

    #[test]
    fn every_byte_of_every_file_is_written_once_the_run_is_over() {
        let files = small_run(40);
        let mut sizes: BTreeMap<String, u64> = BTreeMap::new();
        for event in as_an_instrument(&files, &pace(None)) {
            let size = sizes.entry(event.path).or_default();
            match event.act {
                Act::Begin { bytes } | Act::Anew { bytes } => *size = bytes,
                Act::Grow { bytes } => *size += bytes,
            }
        }
        assert_eq!(sizes, files.into_iter().collect());
    }

    #[test]
    fn marks_come_last_and_copy_complete_after_all() {
        let events = as_an_instrument(&small_run(40), &pace(None));
        let last: Vec<&str> = events.iter().rev().take(3).rev().map(|e| e.path.as_str()).collect();
        assert_eq!(last, ["RTAComplete.txt", "SequenceComplete.txt", "CopyComplete.txt"]);
        assert_eq!(events[0].path, "RunInfo.xml");
    }

    #[test]
    fn cycles_follow_each_other_and_filters_come_with_the_26th() {
        let events = as_an_instrument(&small_run(40), &pace(None));
        let begin = |wanted: &str| {
            events
                .iter()
                .find(|e| e.path.ends_with(wanted))
                .map(|e| e.at_seconds)
                .expect("a file of the run")
        };
        assert!(begin("C1.1/L001_1.cbcl") < begin("C2.1/L001_1.cbcl"));
        assert!(begin("C26.1/L001_1.cbcl") < begin(".filter"));
        assert!(begin(".filter") < begin("C27.1/L001_1.cbcl"));
    }

    #[test]
    fn files_are_seen_half_written() {
        let events = as_an_instrument(&small_run(40), &pace(None));
        let grown = events
            .iter()
            .filter(|e| matches!(e.act, Act::Grow { .. }) && e.path.ends_with(".cbcl"));
        assert!(grown.count() > 10);
    }

    #[test]
    fn an_aborted_run_has_no_marks_and_no_later_cycle() {
        let events = as_an_instrument(&small_run(40), &pace(Some(20)));
        assert!(events.iter().any(|e| e.path.contains("/C20.1/")));
        assert!(
            !events.iter().any(|e| e.path.contains("/C21.1/") || e.path.ends_with("Complete.txt"))
        );
    }

    #[test]
    fn files_of_older_instruments_have_their_roles() {
        for (path, expected) in [
            ("Data/Intensities/BaseCalls/L001/0012.bcl.bgzf", Role::Calls { cycle: 12 }),
            ("Data/Intensities/BaseCalls/L001/0012.bcl.bgzf.bci", Role::Calls { cycle: 12 }),
            ("Data/Intensities/BaseCalls/L001/s_1.bci", Role::Positions),
            ("Data/Intensities/BaseCalls/L001/C7.1/s_1_1101.bcl.gz", Role::Calls { cycle: 7 }),
            ("RTAComplete.xml", Role::Mark { rank: 1 }),
            ("RTARead2Complete.txt", Role::Mark { rank: 0 }),
            ("Logs/run.log", Role::Growing),
        ] {
            assert_eq!(role(path), expected, "{path}");
        }
    }
}
