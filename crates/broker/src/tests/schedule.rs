//! The machine alone, in a world of numbers: files grow and change, messages come late, twice or never, and the process is
//! killed between any two of them. However it goes, what is closed is what the disk holds, out of objects that the hub has.

use std::collections::{BTreeMap, HashSet};

use api::{Digest, ObjectRef};
use dataset::SealedFact;
use proof::sha256;
use proptest::prelude::*;

use crate::folder::{FilePath, Seen, Stamp};
use crate::machine::{Decision, Kept, Machine, Message, Piece, Reading, Record, Rules};

const PACK: u64 = 10;
const RULES: Rules = Rules {
    scan_every_ms: 100,
    second_scan_ms: 10,
    settle_ms: 500,
    version_every_ms: 1000,
    attention_ms: 60_000,
    as_it_is: false,
};

/// What a schedule does between two rounds.
#[derive(Debug, Clone)]
enum Step {
    Write {
        file: u8,
        bytes: u8,
    },
    /// Other bytes under the same stamp: what a coarse clock of a file system does.
    Swap {
        file: u8,
    },
    Remove {
        file: u8,
    },
    /// Carry out what is waiting, from this end, so many.
    Work {
        from_back: bool,
        count: u8,
    },
    /// Deliver the last message once more.
    Again,
    CutNext,
    AnswerLostNext,
    Kill,
    HubForgets {
        object: u8,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u8..6, 0_u8..40).prop_map(|(file, bytes)| Step::Write { file, bytes }),
        1 => (0_u8..6).prop_map(|file| Step::Swap { file }),
        1 => (0_u8..6).prop_map(|file| Step::Remove { file }),
        8 => (any::<bool>(), 1_u8..6).prop_map(|(from_back, count)| Step::Work { from_back, count }),
        2 => Just(Step::Again),
        2 => Just(Step::CutNext),
        2 => Just(Step::AnswerLostNext),
        1 => Just(Step::Kill),
        1 => any::<u8>().prop_map(|object| Step::HubForgets { object }),
    ]
}

/// The disk, the hub, the journal, and a broker between them.
struct World {
    now_ms: u64,
    clock: i64,
    disk: BTreeMap<String, (Stamp, Vec<u8>)>,
    hub: BTreeMap<ObjectRef, Vec<u8>>,
    journal: Vec<Record>,
    machine: Machine,
    waiting: Vec<Decision>,
    sealed: BTreeMap<ObjectRef, Vec<u8>>,
    filling: Vec<u8>,
    pieces: Vec<Piece>,
    objects: u64,
    cut: bool,
    answer_lost: bool,
    last: Option<Message>,
    closed: bool,
}

impl World {
    fn new() -> Self {
        Self {
            now_ms: 0,
            clock: 0,
            disk: BTreeMap::new(),
            hub: BTreeMap::new(),
            journal: Vec::new(),
            machine: Machine::new(RULES, 0),
            waiting: Vec::new(),
            sealed: BTreeMap::new(),
            filling: Vec::new(),
            pieces: Vec::new(),
            objects: 0,
            cut: false,
            answer_lost: false,
            last: None,
            closed: false,
        }
    }

    fn write(&mut self, path: &str, bytes: Vec<u8>) {
        self.clock += 1;
        let stamp = Stamp { bytes: bytes.len() as u64, modified_ns: self.clock, inode: 1 };
        self.disk.insert(path.to_owned(), (stamp, bytes));
    }

    fn object(&self) -> ObjectRef {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.objects.to_be_bytes());
        ObjectRef(id)
    }

    fn tell(&mut self, message: Message) {
        self.last = Some(message.clone());
        self.machine.take(self.now_ms, message);
    }

    /// Seals the pack that is being filled.
    fn flush(&mut self) {
        if self.pieces.is_empty() {
            return;
        }
        let object = self.object();
        self.objects += 1;
        let bytes = std::mem::take(&mut self.filling);
        let fact = SealedFact {
            object,
            hash: sha256(&bytes),
            commitment: sha256(&[bytes.as_slice(), b"commitment"].concat()),
            sealed_bytes: bytes.len() as u64,
        };
        self.sealed.insert(object, bytes);
        let pieces = std::mem::take(&mut self.pieces);
        self.tell(Message::Sealed { fact, pieces });
    }

    fn read(&mut self, path: FilePath, stamp: Stamp, attempt: u32, kept: &[Kept]) {
        let Some((now, bytes)) = self.disk.get(&*path).cloned() else {
            return self.tell(Message::Read { path, attempt, reading: Reading::Failed });
        };
        if now != stamp {
            return self.tell(Message::Read { path, attempt, reading: Reading::Changed });
        }
        let mut at = 0;
        while at < stamp.bytes {
            let from = usize::try_from(at).unwrap();
            if let Some(kept) = kept.iter().find(|kept| kept.offset == at) {
                let to = usize::try_from(at + kept.bytes).unwrap();
                if sha256(&bytes[..to]) != kept.sha256_so_far {
                    return self.tell(Message::Read { path, attempt, reading: Reading::Changed });
                }
                at += kept.bytes;
                continue;
            }
            let room = PACK - self.filling.len() as u64;
            let until = kept
                .iter()
                .map(|kept| kept.offset)
                .filter(|o| *o > at)
                .min()
                .unwrap_or(stamp.bytes);
            let take = room.min(until - at);
            let to = from + usize::try_from(take).unwrap();
            let piece = &bytes[from..to];
            self.pieces.push(Piece {
                path: path.clone(),
                stamp,
                attempt,
                file_offset: at,
                object: self.object(),
                offset: self.filling.len() as u64,
                bytes: take,
                sha256_so_far: sha256(&bytes[..to]),
            });
            self.filling.extend_from_slice(piece);
            at += take;
            if self.filling.len() as u64 == PACK {
                self.flush();
            }
        }
        self.tell(Message::Read { path, attempt, reading: Reading::Whole(sha256(&bytes)) });
    }

    fn carry_out(&mut self, decision: Decision) {
        match decision {
            Decision::Scan => {
                let seen = self
                    .disk
                    .iter()
                    .map(|(path, (stamp, _))| Seen { path: path.as_str().into(), stamp: *stamp });
                let seen = seen.collect();
                self.tell(Message::Scanned(seen));
            }
            Decision::Read { path, stamp, attempt, kept } => self.read(path, stamp, attempt, &kept),
            Decision::Flush => self.flush(),
            Decision::Record(_) => unreachable!("records are written at once"),
            Decision::Send(object) => {
                let bytes = self.sealed[&object].clone();
                if std::mem::take(&mut self.cut) {
                    return self.tell(Message::NotSent(object));
                }
                self.hub.insert(object, bytes);
                if std::mem::take(&mut self.answer_lost) {
                    return self.tell(Message::NotSent(object));
                }
                self.tell(Message::Acknowledged(object));
            }
            Decision::Rehash { path, stamp } => {
                let reading = match self.disk.get(&*path) {
                    Some((now, bytes)) if *now == stamp => Reading::Whole(sha256(bytes)),
                    Some(_) => Reading::Changed,
                    None => Reading::Failed,
                };
                self.tell(Message::Rehashed { path, stamp, reading });
            }
            Decision::Close => self.close(),
            // These runs have no stages.
            Decision::TellSoFar | Decision::Attention(_) => {}
        }
    }

    /// As the driver does: the hub compares, and says no if its objects are others.
    fn close(&mut self) {
        let objects = self.machine.objects();
        let mut held = proof::ObjectSet::default();
        for (object, bytes) in &self.hub {
            held.insert(*object, sha256(bytes), bytes.len() as u64);
        }
        if held.digest() == objects.digest() {
            self.closed = true;
            return self.tell(Message::Closed);
        }
        let believed: Vec<_> =
            self.machine.believed().map(|(fact, acknowledged)| (*fact, acknowledged)).collect();
        let lost = believed
            .iter()
            .filter(|(fact, acknowledged)| *acknowledged && !self.hub.contains_key(&fact.object));
        let lost: Vec<_> = lost.map(|(fact, _)| fact.object).collect();
        let known: HashSet<_> = believed.iter().map(|(fact, _)| fact.object).collect();
        let adopted =
            self.hub.iter().filter(|(object, _)| !known.contains(object)).map(|(object, bytes)| {
                SealedFact {
                    object: *object,
                    hash: sha256(bytes),
                    commitment: Digest([0; 32]),
                    sealed_bytes: bytes.len() as u64,
                }
            });
        let adopted: Vec<_> = adopted.collect();
        assert!(!lost.is_empty() || !adopted.is_empty(), "digests differ, so must the sets");
        self.tell(Message::Lost(lost));
        self.tell(Message::Adopted(adopted));
        self.tell(Message::NotClosed);
    }

    /// A new process that finds the journal and asks the hub what it has.
    fn kill(&mut self) {
        self.waiting.clear();
        self.sealed.clear();
        self.filling.clear();
        self.pieces.clear();
        self.objects += 1;
        self.last = None;
        self.machine = Machine::new(RULES, self.now_ms);
        let hub = &self.hub;
        self.machine.restore(self.journal.clone(), &|object| hub.contains_key(object));
    }

    /// Time goes on, and the machine decides.
    fn round(&mut self) {
        self.now_ms += 60;
        for decision in self.machine.decide(self.now_ms) {
            match decision {
                Decision::Record(records) => self.journal.extend(records),
                other => self.waiting.push(other),
            }
        }
    }

    fn work(&mut self, from_back: bool, count: u8) {
        for _ in 0..count {
            if self.waiting.is_empty() {
                return;
            }
            let next = if from_back { self.waiting.len() - 1 } else { 0 };
            let decision = self.waiting.remove(next);
            self.carry_out(decision);
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Write { file, bytes } => {
                let fill = u8::try_from(self.clock % 251).unwrap();
                let length = usize::from(*bytes);
                // A file that is written again grows from what it was.
                let mut content =
                    self.disk.get(&path(*file)).map_or(Vec::new(), |(_, old)| old.clone());
                content.resize(length.max(content.len()), fill);
                self.write(&path(*file), content);
            }
            Step::Swap { file } => {
                if let Some((_, bytes)) = self.disk.get_mut(&path(*file)) {
                    bytes.iter_mut().for_each(|byte| *byte ^= 0x55);
                }
            }
            Step::Remove { file } => {
                self.disk.remove(&path(*file));
            }
            Step::Work { from_back, count } => self.work(*from_back, *count),
            Step::Again => {
                if let Some(message) = self.last.clone() {
                    self.machine.take(self.now_ms, message);
                }
            }
            Step::CutNext => self.cut = true,
            Step::AnswerLostNext => self.answer_lost = true,
            Step::Kill => self.kill(),
            Step::HubForgets { object } => {
                let forgotten =
                    self.hub.keys().nth(usize::from(*object) % self.hub.len().max(1)).copied();
                if let Some(object) = forgotten {
                    self.hub.remove(&object);
                }
            }
        }
    }
}

fn path(file: u8) -> String {
    match file {
        0 => "RunInfo.xml".to_owned(),
        1 => "InterOp/TileMetricsOut.bin".to_owned(),
        n => format!("Data/C{n}.1/s_1_1101.bcl"),
    }
}

/// Everything that the contents list is what the disk holds, byte for byte, out of objects that the hub has.
fn check(world: &World) {
    let (files, objects) =
        (world.machine.listed(false).collect::<Vec<_>>(), world.machine.objects());
    let listed: Vec<_> = files.iter().map(|file| file.path.clone()).collect();
    let there: Vec<_> = world.disk.keys().cloned().collect();
    assert_eq!(listed, there);
    for file in &files {
        let mut content = Vec::new();
        for extent in &file.extents {
            let object = &world.hub[&extent.object];
            let (from, to) = (
                usize::try_from(extent.offset).unwrap(),
                usize::try_from(extent.offset + extent.bytes).unwrap(),
            );
            content.extend_from_slice(&object[from..to]);
            assert_eq!(extent.commitment, sha256(&[object.as_slice(), b"commitment"].concat()));
        }
        assert_eq!(content, world.disk[&file.path].1, "{}", file.path);
        assert_eq!(file.sha256, sha256(&content));
    }
    assert_eq!(objects.len(), world.hub.len() as u64);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn whatever_happens_a_closed_run_is_what_the_disk_holds(
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let mut world = World::new();
        world.write("RunInfo.xml", vec![1; 7]);
        for step in &steps {
            world.take(step);
            world.round();
        }
        prop_assert!(!world.closed, "there was no completion mark");
        // The instrument ends; from now on nothing changes and everything is carried out in order.
        world.write("CopyComplete.txt", vec![]);
        for _ in 0..400 {
            world.round();
            world.work(false, 50);
            if world.closed {
                break;
            }
        }
        prop_assert!(world.closed, "the run did not close: {:?}", world.machine.standing());
        check(&world);
    }

    #[test]
    fn after_a_kill_no_more_is_sent_again_than_was_under_way(
        files in 1_u8..12,
        bytes in 1_u8..60,
        before in 0_u8..60,
    ) {
        let mut world = World::new();
        for file in 0..files {
            world.write(&format!("Data/{file:02}"), vec![file; usize::from(bytes)]);
        }
        world.write("CopyComplete.txt", vec![]);
        for _ in 0..before {
            world.round();
            if !world.closed {
                world.work(false, 1);
            }
        }
        if world.closed {
            return Ok(());
        }
        let held: u64 = world.hub.values().map(|bytes| bytes.len() as u64).sum();
        world.kill();
        while !world.closed {
            world.round();
            world.work(false, 50);
        }
        check(&world);
        let all: u64 = world.hub.values().map(|bytes| bytes.len() as u64).sum();
        let content = u64::from(files) * u64::from(bytes);
        // Everything that the hub held and the journal knew was used: nothing went a second time.
        prop_assert!(all == content, "{all} bytes for a folder of {content}, {held} held at the kill");
    }
}

#[test]
fn a_folder_that_grows_no_more_is_reported_once_and_again_after_it_grew() {
    let mut world = World::new();
    world.write("RunInfo.xml", vec![1; 7]);
    let mut asked = 0;
    let mut run = |world: &mut World, until: u64| {
        while world.now_ms < until {
            world.round();
            asked += world
                .waiting
                .iter()
                .filter(|d| matches!(d, Decision::Attention(crate::NO_MARK)))
                .count();
            world.work(false, 50);
        }
        asked
    };
    assert_eq!(run(&mut world, 59_000), 0);
    assert_eq!(run(&mut world, 200_000), 1);
    world.write("Data/x", vec![2; 3]);
    assert_eq!(run(&mut world, 220_000), 1);
    assert_eq!(run(&mut world, 400_000), 2);
    world.write("Data/x_1.cbcl", vec![2; 3]);
    world.write("RTAComplete.txt", vec![]);
    let mut reason = None;
    while reason.is_none() {
        world.round();
        reason = world.waiting.iter().find_map(|d| match d {
            Decision::Attention(reason) => Some(*reason),
            _ => None,
        });
        world.work(false, 50);
    }
    assert_eq!(reason, Some(crate::NO_COPY_MARK));
    assert!(!world.closed);
}

#[test]
fn a_run_without_a_mark_of_copying_closes_when_it_has_settled() {
    let mut world = World::new();
    world.write("Data/s_1_1101.bcl", vec![1; 30]);
    world.write("RTAComplete.txt", vec![]);
    let mut closed_at = 0;
    while !world.closed {
        world.round();
        world.work(false, 50);
        closed_at = world.now_ms;
    }
    assert!(closed_at >= RULES.settle_ms, "{closed_at}");
    check(&world);
}

#[test]
fn a_file_that_is_rewritten_all_the_time_is_sent_now_and_then_and_last_at_the_end() {
    let mut world = World::new();
    for n in 0..400 {
        // It changes every ten rounds of 60 ms, and a version goes every 1000 ms at most.
        if n % 10 == 0 {
            world.write("InterOp/QMetricsOut.bin", vec![u8::try_from(n / 10).unwrap(); 5]);
        }
        world.round();
        world.work(false, 50);
    }
    let versions = world.journal.iter().filter(|r| matches!(r, Record::Whole { .. })).count();
    assert!((10..=24).contains(&versions), "{versions} versions in 24 s");
    world.write("InterOp/QMetricsOut.bin", vec![99; 6]);
    world.write("CopyComplete.txt", vec![]);
    while !world.closed {
        world.round();
        world.work(false, 50);
    }
    check(&world);
}
