//! Demultiplexing while the run goes on: whatever comes when, and wherever the work ends, the bytes are those of one go.

use std::collections::BTreeMap;
use std::io;

use runfolder::dir::{DirJournal, DirSource};
use runfolder::{
    FastqName, Follow, Followed, Framing, Journal, Milestone, Plan, PlanOptions, ReadKind,
    ResumeError, Sink,
};

use crate::common::{Made, MemorySink, MemorySource, Seeded, generated, planned, run, threads};

/// A journal in memory, whose work can end at any call.
#[derive(Default)]
struct MemoryJournal {
    /// Files with their bytes, and whether they are finished.
    files: BTreeMap<String, (Vec<u8>, bool)>,
    reports: BTreeMap<String, Vec<u8>>,
    state: Option<Vec<u8>>,
    /// Calls until the work ends.
    left: usize,
}

impl MemoryJournal {
    fn call(&mut self) -> io::Result<()> {
        self.left = self.left.checked_sub(1).ok_or(io::ErrorKind::Interrupted)?;
        Ok(())
    }
}

impl Sink for MemoryJournal {
    fn fastq(&mut self, file: &FastqName, member: &[u8]) -> io::Result<()> {
        self.call()?;
        let (bytes, finished) = self.files.entry(file.path()).or_default();
        if std::mem::take(finished) {
            // A file that was finished after the state was kept, and is made anew.
            bytes.clear();
        }
        bytes.extend_from_slice(member);
        Ok(())
    }

    fn finish_file(&mut self, file: &FastqName) -> io::Result<()> {
        self.call()?;
        self.files.get_mut(&file.path()).unwrap().1 = true;
        Ok(())
    }

    fn report(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.call()?;
        assert!(self.files.values().all(|(_, finished)| *finished), "reports come last");
        self.reports.insert(path.to_owned(), bytes.to_vec());
        Ok(())
    }
}

impl Journal for MemoryJournal {
    fn save(&mut self, state: &[u8]) -> io::Result<()> {
        self.call()?;
        self.state = Some(state.to_vec());
        Ok(())
    }

    fn rewind(&mut self, files: &[(&FastqName, u64)]) -> io::Result<()> {
        let kept: BTreeMap<String, u64> = files.iter().map(|(n, l)| (n.path(), *l)).collect();
        self.files.retain(|path, (bytes, finished)| match kept.get(path) {
            Some(length) => {
                assert!(bytes.len() as u64 >= *length, "{path}");
                bytes.truncate(usize::try_from(*length).unwrap());
                *finished = false;
                true
            }
            None => *finished,
        });
        Ok(())
    }
}

/// What was made equals what one go makes.
fn same(journal: &MemoryJournal, one_go: &MemorySink) {
    let files: BTreeMap<_, _> = journal.files.iter().map(|(p, (b, _))| (p, b)).collect();
    assert!(journal.files.values().all(|(_, finished)| *finished));
    let names: Vec<_> = files.keys().collect();
    assert_eq!(names, one_go.files.keys().collect::<Vec<_>>().iter().collect::<Vec<_>>());
    for (path, bytes) in files {
        assert!(bytes == &one_go.files[path], "{path} differs");
    }
    for (path, bytes) in &one_go.reports {
        assert_eq!(
            String::from_utf8_lossy(&journal.reports[path]),
            String::from_utf8_lossy(bytes),
            "{path}"
        );
    }
    assert_eq!(journal.reports.len(), one_go.reports.len());
}

/// A folder into which files come one after another, most of them first in part.
struct Arriving {
    whole: MemorySource,
    /// Paths with the part of them that is there then, in parts of 100.
    events: Vec<(String, u64)>,
    there: MemorySource,
}

impl Arriving {
    fn in_order(whole: &MemorySource, mut events: Vec<(String, u64)>) -> Self {
        events.reverse();
        Self { whole: whole.clone(), events, there: MemorySource::default() }
    }

    fn in_any_order(whole: &MemorySource, seeded: &mut Seeded) -> Self {
        let mut events: Vec<(String, u64)> = whole.0.keys().map(|p| (p.clone(), 100)).collect();
        for at in (1..events.len()).rev() {
            events.swap(at, seeded.below(at + 1));
        }
        for _ in 0..events.len() {
            let at = seeded.below(events.len());
            let part = (events[at].0.clone(), seeded.next() % 100);
            if events[..at].iter().all(|(path, _)| *path != part.0) && part.1 < events[at].1 {
                events.insert(at, part);
            }
        }
        Self::in_order(whole, events)
    }

    /// Lets some more come; says whether everything is there.
    fn more(&mut self, count: usize) -> bool {
        for _ in 0..count {
            let Some((path, part)) = self.events.pop() else { break };
            let bytes = &self.whole.0[&path];
            let length = bytes.len() as u64 * part / 100;
            self.there.put(&path, &bytes[..usize::try_from(length).unwrap()]);
        }
        self.events.is_empty()
    }
}

/// Follows to the end, with the work ending after as many calls as `life` gives each time. Gives the times it ended.
fn follow(
    plan: &dyn Fn() -> Plan,
    arriving: &mut Arriving,
    journal: &mut MemoryJournal,
    step: &mut dyn FnMut() -> usize,
    life: &mut dyn FnMut() -> usize,
) -> usize {
    let mut ended = 0;
    loop {
        journal.left = life();
        let mut work = match &journal.state {
            Some(state) => Follow::resume(plan(), state).unwrap(),
            None => Follow::new(plan()),
        }
        .saving_every(1);
        loop {
            let complete = arriving.more(step());
            let done = work.advance(&arriving.there, journal, complete, &|_| (), &mut |_| ());
            match done {
                Ok(Followed::Done(_)) => return ended,
                Ok(Followed::Waiting(_)) => assert!(!complete, "everything is there"),
                Ok(Followed::Assigned) => {}
                Err(error) => {
                    assert!(matches!(error, runfolder::DemuxError::Output { .. }), "{error}");
                    ended += 1;
                    break;
                }
            }
        }
    }
}

const SHEET: &str = "[Data]\nSample_ID,index,index2,Sample_Project\nA,ACGT,TTTT,P\nB,GGCC,AACC,Q\n\
    [Settings]\nCreateFastqForIndexReads,1\n";

fn made(seeded: &mut Seeded) -> Made {
    let cycles = [1 + seeded.below(9), 4, 4, seeded.below(9)];
    let places = [(1, 2101), (1, 1101), (2, 1102), (2, 1101)];
    let tiles = places.into_iter().take(1 + seeded.below(4)).map(|(lane, tile)| {
        let clusters = (0..seeded.below(200)).map(|_| {
            let length = cycles[0] + 8 + cycles[3];
            let mut bases: Vec<u8> = (0..length).map(|_| b"ACGTN"[seeded.below(5)]).collect();
            if seeded.below(4) > 0 {
                let index = [b"ACGTTTTT", b"GGCCAACC"][seeded.below(2)];
                bases[cycles[0]..cycles[0] + 8].copy_from_slice(index);
            }
            // As long as the test program runs, like the literals of other tests.
            (seeded.below(4) > 0, &*String::from_utf8(bases).unwrap().leak())
        });
        (lane, tile, clusters.collect())
    });
    let tiles = tiles.collect();
    let reads = [(cycles[0], 'N'), (4, 'Y'), (4, 'Y'), (cycles[3], 'N')];
    Made { reads: reads.iter().map(|(cycles, index)| (*cycles, *index, 'N')).collect(), tiles }
}

#[test]
fn any_run_that_comes_in_any_order_to_work_that_ends_anywhere_gives_the_bytes_of_one_go() {
    let mut seeded = Seeded(0xf011_0e55);
    let mut ended = 0;
    for round in 0..60 {
        let made = made(&mut seeded);
        let sheet = match round % 3 {
            0 => format!("{SHEET}NoLaneSplitting,1\n"),
            1 => SHEET.replace("[Settings]\n", "[Settings]\nOverrideCycles,N*;I4;I4;Y*\n"),
            _ => SHEET.to_owned(),
        };
        let sheet = if made.reads[3].0 == 0 { SHEET.to_owned() } else { sheet };
        let mut info = made.run_info();
        if round % 2 == 1 {
            // Nobody says which tiles there are.
            let text = String::from_utf8(info).unwrap();
            let (before, rest) = text.split_once("<Tiles>").unwrap();
            info = format!("{before}{}", rest.split_once("</Tiles>").unwrap().1).into_bytes();
        }
        let framing = [Framing::Bgzf, Framing::Gzip][round % 2];
        let source = made.source();
        let options = |count| PlanOptions {
            framing,
            mismatches: Some([1, 1]),
            stats_json: true,
            ..threads(count)
        };
        let one_go = run(&source, &planned(&info, sheet.as_bytes(), options(2))).unwrap().0;
        let mut journal = MemoryJournal::default();
        let mut arriving = Arriving::in_any_order(&source, &mut seeded);
        let mut other = Seeded(seeded.next());
        let plan = || planned(&info, sheet.as_bytes(), options(1 + round % 3));
        ended +=
            follow(&plan, &mut arriving, &mut journal, &mut || 1 + seeded.below(30), &mut || {
                1 + other.below(40)
            });
        same(&journal, &one_go);
    }
    assert!(ended > 60, "{ended}");
}

#[test]
fn what_a_run_allows_is_done_at_once_in_every_format() {
    for (format, more) in [
        ("cbcl", &["--mixed-pf"][..]),
        ("cbcl", &["--pf-only"]),
        ("bgzf", &[]),
        ("bclgz", &[]),
        ("bcl", &[]),
    ] {
        let shape = ["--lanes", "2", "--tiles", "2", "--clusters", "1501", "--samples", "3"];
        let reads = ["--reads", "31,20", "--index", "8,8"];
        let folder = tempfile::tempdir().unwrap();
        if !generated(folder.path(), format, &[&shape[..], &reads, more].concat()) {
            return;
        }
        let source = MemorySource::of(&DirSource::new(folder.path()).unwrap());
        let (info, sheet) = (&source.0["RunInfo.xml"], &source.0["SampleSheet_v2.csv"]);
        let one_go = run(&source, &planned(info, sheet, threads(2))).unwrap().0;
        // Cycle by cycle, as an instrument writes; filters and positions come after cycle 25.
        let cycle_of = |path: &str| -> usize {
            let parts: Vec<&str> = path.split('/').collect();
            let cycle = match &parts[..] {
                ["Data", _, _, lane, cycle, _] if lane.starts_with('L') => {
                    cycle[1..].strip_suffix(".1")
                }
                ["Data", _, _, _, file] if file.contains(".bcl.bgzf") => file.get(..4),
                _ => None,
            };
            match (cycle, parts[0]) {
                (Some(cycle), _) => cycle.parse().unwrap(),
                (None, "Data") => 25,
                (None, _) => 0,
            }
        };
        let mut paths: Vec<&String> = source.0.keys().collect();
        paths.sort_by_key(|path| cycle_of(path));
        let mut journal = MemoryJournal { left: usize::MAX, ..MemoryJournal::default() };
        let mut work = Follow::new(planned(info, sheet, threads(2)));
        let mut there = MemorySource::default();
        let mut reached: Vec<(usize, String)> = Vec::new();
        let mut report = None;
        for cycle in 0..=67 {
            for path in paths.iter().filter(|path| cycle_of(path) == cycle) {
                there.put(path, source.0[*path].clone());
            }
            let mut note = |milestone: Milestone<'_>| {
                reached.push((
                    cycle,
                    match milestone {
                        Milestone::Assigned(lane) => format!("assigned {}", lane.lane),
                        Milestone::Ready { lane, reads } => format!(
                            "lane {} {}",
                            lane.unwrap(),
                            reads
                                .iter()
                                .map(|(kind, n)| match kind {
                                    ReadKind::Read => format!("R{n}"),
                                    ReadKind::Index => format!("I{n}"),
                                })
                                .collect::<String>()
                        ),
                        Milestone::BegunAnew => "anew".to_owned(),
                    },
                ));
            };
            let mut done = work.advance(&there, &mut journal, false, &|_| (), &mut note).unwrap();
            if let Followed::Assigned = done {
                assert!(journal.files.is_empty() && work.assigned().1, "the verdict comes first");
                done = work.advance(&there, &mut journal, false, &|_| (), &mut note).unwrap();
            }
            assert!(matches!(done, Followed::Waiting(_)));
            if cycle == 66 {
                assert!(work.assigned().1);
                assert_eq!(work.assigned().0.lanes.len(), 2);
            }
            if cycle == 67 {
                let last = work.advance(&there, &mut journal, true, &|_| (), &mut note).unwrap();
                let Followed::Done(done) = last else { panic!("{last:?}") };
                report = Some(done);
            }
        }
        let expected = [
            (47, "assigned 1"),
            (47, "assigned 2"),
            (47, "lane 1 R1"),
            (47, "lane 2 R1"),
            (67, "lane 1 R2"),
            (67, "lane 2 R2"),
        ];
        let reached: Vec<_> = reached.iter().map(|(cycle, what)| (*cycle, what.as_str())).collect();
        assert_eq!(reached, expected, "{format} {more:?}");
        same(&journal, &one_go);
        assert_eq!(report.unwrap().lanes.len(), 2);
    }
}

#[test]
fn a_state_is_taken_up_only_with_its_own_plan_and_only_whole() {
    let made = made(&mut Seeded(5));
    let source = made.source();
    let mut journal = MemoryJournal { left: usize::MAX, ..MemoryJournal::default() };
    let plan = || planned(&made.run_info(), SHEET.as_bytes(), threads(1));
    let mut work = Follow::new(plan());
    let mut go = || work.advance(&source, &mut journal, true, &|_| (), &mut |_| ());
    assert!(matches!(go(), Ok(Followed::Assigned)));
    assert!(matches!(go(), Ok(Followed::Done(_))));
    let state = journal.state.unwrap();
    assert!(Follow::resume(plan(), &state).is_ok());
    let other = planned(&made.run_info(), SHEET.replace("GGCC", "GGCA").as_bytes(), threads(1));
    assert_eq!(Follow::resume(other, &state).err(), Some(ResumeError::OtherPlan));
    for at in 0..state.len() {
        let mut broken = state.clone();
        broken[at] ^= 4;
        assert_eq!(Follow::resume(plan(), &broken).err(), Some(ResumeError::Unreadable), "{at}");
        assert!(Follow::resume(plan(), &state[..at]).is_err());
    }
}

#[test]
fn damage_is_waited_for_until_the_folder_is_complete_and_then_named() {
    let made = made(&mut Seeded(9));
    let mut source = made.source();
    let path = "Data/Intensities/BaseCalls/L001/C1.1/L001_1.cbcl";
    let whole = source.0[path].clone();
    *source.0.get_mut(path).unwrap().iter_mut().rev().nth(5).unwrap() ^= 1;
    let mut journal = MemoryJournal { left: usize::MAX, ..MemoryJournal::default() };
    let plan = planned(&made.run_info(), SHEET.as_bytes(), threads(1));
    let one_go = run(&made.source(), &plan).unwrap().0;
    let mut work = Follow::new(plan);
    let mut go = |source: &MemorySource, complete| {
        work.advance(source, &mut journal, complete, &|_| (), &mut |_| ())
    };
    assert!(matches!(go(&source, false), Ok(Followed::Assigned)));
    let Ok(Followed::Waiting(Some(why))) = go(&source, false) else { panic!("it waits") };
    assert!(why.to_string().contains("its checksum is wrong"), "{why}");
    let why = go(&source, true).unwrap_err().to_string();
    assert!(why.contains(path) && why.contains("cycle 1"), "{why}");
    source.put(path, whole);
    assert!(matches!(go(&source, true), Ok(Followed::Done(_))));
    same(&journal, &one_go);
}

#[test]
fn a_folder_keeps_the_journal_and_work_that_ended_is_taken_up_from_there() {
    let mut seeded = Seeded(0xd15c);
    for _ in 0..8 {
        let made = made(&mut seeded);
        let source = made.source();
        let info = made.run_info();
        let plan = || planned(&info, SHEET.as_bytes(), threads(1));
        let one_go = run(&source, &plan()).unwrap().0;
        let out = tempfile::tempdir().unwrap();
        let mut arriving = Arriving::in_any_order(&source, &mut seeded);
        loop {
            let (mut journal, state) = DirJournal::open(out.path()).unwrap();
            assert!(DirJournal::open(out.path()).is_err(), "two at a time");
            let work =
                state.map_or_else(|| Ok(Follow::new(plan())), |s| Follow::resume(plan(), &s));
            let mut work = work.unwrap().saving_every(1);
            let complete = arriving.more(1 + seeded.below(20));
            let mut ending = Ending { journal: &mut journal, left: 1 + seeded.below(60) };
            let done = work.advance(&arriving.there, &mut ending, complete, &|_| (), &mut |_| ());
            if matches!(done, Ok(Followed::Done(_))) {
                journal.finish().unwrap();
                break;
            }
        }
        let made = MemorySource::of(&DirSource::new(out.path()).unwrap());
        let expected: BTreeMap<_, _> = one_go
            .files
            .iter()
            .chain(&one_go.reports)
            .map(|(p, b)| (p.clone(), b.clone()))
            .collect();
        assert!(made.0 == expected, "{:?}", made.0.keys());
    }
}

/// A journal whose process ends after some calls.
struct Ending<'a> {
    journal: &'a mut DirJournal,
    left: usize,
}

impl Ending<'_> {
    fn call(&mut self) -> io::Result<()> {
        self.left = self.left.checked_sub(1).ok_or(io::ErrorKind::Interrupted)?;
        Ok(())
    }
}

impl Sink for Ending<'_> {
    fn fastq(&mut self, file: &FastqName, member: &[u8]) -> io::Result<()> {
        self.call()?;
        self.journal.fastq(file, member)
    }

    fn finish_file(&mut self, file: &FastqName) -> io::Result<()> {
        self.call()?;
        self.journal.finish_file(file)
    }

    fn report(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.call()?;
        self.journal.report(path, bytes)
    }
}

impl Journal for Ending<'_> {
    fn save(&mut self, state: &[u8]) -> io::Result<()> {
        self.call()?;
        self.journal.save(state)
    }

    fn rewind(&mut self, files: &[(&FastqName, u64)]) -> io::Result<()> {
        self.journal.rewind(files)
    }
}

#[test]
fn work_that_was_begun_with_other_tiles_is_known_before_it_goes_on() {
    let made = made(&mut Seeded(9));
    let plan = || planned(&made.run_info(), SHEET.as_bytes(), threads(1));
    let mut journal = MemoryJournal { left: usize::MAX, ..MemoryJournal::default() };
    let mut work = Follow::new(plan());
    let done = work.advance(&made.source(), &mut journal, false, &|_| (), &mut |_| ());
    assert!(matches!(done, Ok(Followed::Assigned)));
    assert!(work.fits(&made.source()).unwrap());
    let mut other = Made { reads: made.reads.clone(), tiles: made.tiles.clone() };
    let one_less = other.tiles[0].2.len() - 1;
    other.tiles[0].2.truncate(one_less);
    assert!(!work.fits(&other.source()).unwrap());
}
