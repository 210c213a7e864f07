//! The instrument and the broker beside it: a folder of numbers, the real state machine, a journal, and a line that fails.

use std::collections::{BTreeMap, HashMap};

use api::{Digest, ObjectRef};
use broker::{
    Decision, FilePath, Kept, Machine, Message, Piece, Reading, Record, Rules, Seen, Stamp,
};
use dataset::SealedFact;
use proof::{ObjectSet, sha256};

use super::{Fault, hub::Hub};
use crate::testing::disk::Dice;

/// Bytes of a pack.
const PACK: u64 = 64;
/// Packs that may be sealed and not yet acknowledged before more is read, as the buffers of a real broker bound it.
const STREAMS: usize = 3;
/// From this size on a file grows no more.
const MOST_OF_A_FILE: usize = 150;
const RULES: Rules = Rules {
    scan_every_ms: 100,
    second_scan_ms: 10,
    settle_ms: 500,
    version_every_ms: 1000,
    attention_ms: 60_000,
    as_it_is: false,
};

/// What goes over the line late.
struct Late {
    due_ms: u64,
    object: ObjectRef,
    bytes: Vec<u8>,
    /// Whether its sender still waits to hear of it.
    is_awaited: bool,
}

pub(super) struct Side {
    now_ms: u64,
    wall_clock: i64,
    folder: BTreeMap<FilePath, (Stamp, Vec<u8>)>,
    machine: Machine,
    journal: Vec<Record>,
    waiting: Vec<Decision>,
    sealed: BTreeMap<ObjectRef, Vec<u8>>,
    filling: Vec<u8>,
    pieces: Vec<Piece>,
    objects: u64,
    next_send: Option<Fault>,
    next_read: Option<Fault>,
    late: Vec<Late>,
    unheard: Vec<(u64, ObjectRef)>,
    /// Piece bytes that were sealed of each version of a file.
    of_version: HashMap<(FilePath, i64, u64), u64>,
    pub(super) sealed_bytes: u64,
    /// Bytes that faults on this side may cost again.
    pub(super) again_allowed: u64,
}

impl Side {
    pub(super) fn new() -> Self {
        Self {
            now_ms: 0,
            wall_clock: 1_000_000,
            folder: BTreeMap::new(),
            machine: Machine::new(RULES, 0),
            journal: Vec::new(),
            waiting: Vec::new(),
            sealed: BTreeMap::new(),
            filling: Vec::new(),
            pieces: Vec::new(),
            objects: 0,
            next_send: None,
            next_read: None,
            late: Vec::new(),
            unheard: Vec::new(),
            of_version: HashMap::new(),
            sealed_bytes: 0,
            again_allowed: 0,
        }
    }

    /// A file appears, grows, or, if it is one of those, is written anew.
    pub(super) fn write_something(&mut self, dice: &mut Dice) {
        let path = match dice.below(10) {
            0 => "InterOp/TileMetricsOut.bin".to_owned(),
            1 => "RunParameters.xml".to_owned(),
            _ => format!("Data/L001/C{}.1/s_1_1101.bcl", dice.below(40)),
        };
        let mut bytes =
            self.folder.get(path.as_str()).map_or_else(Vec::new, |(_, bytes)| bytes.clone());
        if path.ends_with("bcl") {
            // Small enough that one reading fills no more packs than a broker has buffers for.
            let most = if bytes.len() < MOST_OF_A_FILE { 100 } else { 1 };
            let more = usize::try_from(dice.below(most)).unwrap();
            bytes.extend((0..more).map(|_| dice.roll().to_le_bytes()[0]));
        } else {
            bytes = (0..dice.below(90)).map(|_| dice.roll().to_le_bytes()[0]).collect();
        }
        self.write(&path, bytes);
    }

    fn write(&mut self, path: &str, bytes: Vec<u8>) {
        self.wall_clock += 1;
        let stamp = Stamp { bytes: bytes.len() as u64, modified_ns: self.wall_clock, inode: 1 };
        self.folder.insert(path.into(), (stamp, bytes));
    }

    fn object(&self) -> ObjectRef {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.objects.to_be_bytes());
        ObjectRef(id)
    }

    fn tell(&mut self, message: Message) {
        self.machine.take(self.now_ms, message);
    }

    /// So many rounds: time goes on, what is due arrives, the machine decides, and some of it is carried out.
    pub(super) async fn work(&mut self, hub: &mut Hub, rounds: u64) {
        for _ in 0..rounds {
            self.now_ms += 60;
            self.arrive(hub).await;
            for decision in self.machine.decide(self.now_ms) {
                match decision {
                    Decision::Record(records) => self.journal.extend(records),
                    other => self.waiting.push(other),
                }
            }
            for decision in std::mem::take(&mut self.waiting) {
                let is_reading = matches!(decision, Decision::Read { .. });
                if is_reading && self.unacknowledged() >= STREAMS {
                    self.waiting.push(decision);
                } else {
                    self.carry_out(decision, hub).await;
                }
            }
        }
    }

    fn unacknowledged(&self) -> usize {
        self.machine.believed().filter(|(_, is_acknowledged)| !is_acknowledged).count()
    }

    /// What was delayed comes, and what was never answered is given up.
    async fn arrive(&mut self, hub: &mut Hub) {
        let now_ms = self.now_ms;
        let (due, late) =
            std::mem::take(&mut self.late).into_iter().partition(|late| late.due_ms <= now_ms);
        self.late = late;
        let due: Vec<Late> = due;
        for Late { object, bytes, is_awaited, .. } in due {
            if hub.put(object, bytes).await {
                self.tell(Message::Acknowledged(object));
            } else if is_awaited {
                self.tell(Message::NotSent(object));
            }
        }
        let (given_up, unheard) = std::mem::take(&mut self.unheard)
            .into_iter()
            .partition(|(due_ms, _)| *due_ms <= now_ms);
        self.unheard = unheard;
        let given_up: Vec<(u64, ObjectRef)> = given_up;
        for (_, object) in given_up {
            self.tell(Message::NotSent(object));
        }
    }

    async fn carry_out(&mut self, decision: Decision, hub: &mut Hub) {
        match decision {
            Decision::Scan => {
                let seen = self.folder.iter();
                let seen =
                    seen.map(|(path, (stamp, _))| Seen { path: path.clone(), stamp: *stamp });
                let seen = seen.collect();
                self.tell(Message::Scanned(seen));
            }
            Decision::Read { path, stamp, attempt, kept } => self.read(path, stamp, attempt, &kept),
            Decision::Flush => self.flush(),
            Decision::Record(_) => unreachable!("records are written at once"),
            Decision::Send(object) => self.send(object, hub).await,
            Decision::Rehash { path, stamp } => {
                let reading = match self.folder.get(&path) {
                    Some((now, bytes)) if *now == stamp => Reading::Whole(sha256(bytes)),
                    Some(_) => Reading::Changed,
                    None => Reading::Failed,
                };
                self.tell(Message::Rehashed { path, stamp, reading });
            }
            Decision::Close => self.close(hub),
            // This side has no stages.
            Decision::TellSoFar | Decision::Attention(_) => {}
        }
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
            hash: sha256(&salted(object, &bytes)),
            commitment: sha256(&[bytes.as_slice(), b"commitment"].concat()),
            sealed_bytes: salted(object, &bytes).len() as u64,
        };
        self.sealed_bytes += bytes.len() as u64;
        self.sealed.insert(object, bytes);
        let pieces = std::mem::take(&mut self.pieces);
        for piece in &pieces {
            let version = (piece.path.clone(), piece.stamp.modified_ns, piece.stamp.bytes);
            *self.of_version.entry(version).or_default() += piece.bytes;
        }
        self.tell(Message::Sealed { fact, pieces });
    }

    fn read(&mut self, path: FilePath, stamp: Stamp, attempt: u32, kept: &[Kept]) {
        let Some((now, bytes)) = self.folder.get(&path).cloned() else {
            return self.tell(Message::Read { path, attempt, reading: Reading::Failed });
        };
        if now != stamp {
            return self.tell(Message::Read { path, attempt, reading: Reading::Changed });
        }
        if self.next_read.take().is_some() {
            // It grows while it is read: the stamp after is not the one before. What was read of it went into a pack.
            let mut more = bytes.clone();
            more.extend_from_slice(b"and more");
            self.write(&path, more);
            self.again_allowed += stamp.bytes;
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
            let until = kept.iter().map(|kept| kept.offset).filter(|o| *o > at).min();
            let take = room.min(until.unwrap_or(stamp.bytes) - at);
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
        let is_as_before = self.folder.get(&path).is_some_and(|(now, _)| *now == stamp);
        let reading = if is_as_before { Reading::Whole(sha256(&bytes)) } else { Reading::Changed };
        self.tell(Message::Read { path, attempt, reading });
    }

    async fn send(&mut self, object: ObjectRef, hub: &mut Hub) {
        // Of a life before: the machine never asks for it again.
        let Some(bytes) = self.sealed.get(&object).cloned() else { return };
        let sealed = salted(object, &bytes);
        let late = |due_ms, is_awaited| Late { due_ms, object, bytes: sealed.clone(), is_awaited };
        match self.next_send.take() {
            Some(Fault::Cut) => self.tell(Message::NotSent(object)),
            Some(Fault::AnswerLost) => {
                hub.put(object, sealed).await;
                self.tell(Message::NotSent(object));
            }
            // Given up by the sender, and still on its way: the one that is sent again may come first.
            Some(Fault::Delayed) => {
                self.late.push(late(self.now_ms + 2_500, false));
                self.tell(Message::NotSent(object));
            }
            // Comes behind those that are sent after it.
            Some(Fault::Reordered) => self.late.push(late(self.now_ms + 100, true)),
            Some(Fault::HalfOpen) => {
                if self.now_ms.is_multiple_of(120) {
                    hub.put(object, sealed).await;
                }
                self.unheard.push((self.now_ms + 5_000, object));
            }
            fault => {
                if fault == Some(Fault::Doubled) {
                    self.late.push(late(self.now_ms + 60, false));
                }
                if hub.put(object, sealed).await {
                    self.tell(Message::Acknowledged(object));
                } else {
                    self.tell(Message::NotSent(object));
                }
            }
        }
    }

    /// As the driver does: the hub compares, and says no if its objects are others.
    fn close(&mut self, hub: &mut Hub) {
        let objects = self.machine.objects();
        let held = hub.objects();
        let mut set = ObjectSet::default();
        for (object, (hash, bytes)) in &held {
            set.insert(*object, *hash, *bytes);
        }
        if set.digest() == objects.digest() {
            hub.close();
            return self.tell(Message::Closed);
        }
        let believed: Vec<_> = self.machine.believed().map(|(fact, is)| (*fact, is)).collect();
        let lost: Vec<_> = believed
            .iter()
            .filter(|(fact, is_acknowledged)| *is_acknowledged && !held.contains_key(&fact.object))
            .map(|(fact, _)| fact.object)
            .collect();
        assert!(lost.is_empty(), "the hub has lost rows: {lost:?}");
        let adopted: Vec<_> = held
            .iter()
            .filter(|(object, _)| believed.iter().all(|(fact, _)| fact.object != **object))
            .map(|(object, (hash, bytes))| SealedFact {
                object: *object,
                hash: *hash,
                commitment: Digest([0; 32]),
                sealed_bytes: *bytes,
            })
            .collect();
        assert!(!adopted.is_empty(), "digests differ, so must the sets");
        self.tell(Message::Adopted(adopted));
        self.tell(Message::NotClosed);
    }

    /// A new process that finds the journal and asks the hub what it has.
    fn kill(&mut self, hub: &Hub) {
        let waiting: u64 = self
            .machine
            .believed()
            .filter(|(_, is_acknowledged)| !is_acknowledged)
            .map(|(fact, _)| fact.sealed_bytes)
            .sum();
        // What was sealed and not acknowledged, and the pack that was being filled: never more than the buffers hold.
        let one_file = (MOST_OF_A_FILE as u64 + 200).div_ceil(PACK);
        let bound = (STREAMS as u64 + 1 + one_file) * (PACK + 16);
        assert!(waiting <= bound, "{waiting} bytes under way, {bound} allowed");
        self.again_allowed += waiting + PACK;
        self.waiting.clear();
        self.sealed.clear();
        self.filling.clear();
        self.pieces.clear();
        self.unheard.clear();
        self.next_send = None;
        self.next_read = None;
        self.objects += 1;
        self.machine = Machine::new(RULES, self.now_ms);
        let held = hub.objects();
        self.machine.restore(self.journal.clone(), &|object| held.contains_key(object));
    }

    /// A fault on this side; not every one is possible at every moment.
    pub(super) async fn befall(&mut self, fault: Fault, dice: &mut Dice, hub: &mut Hub) -> bool {
        let paths: Vec<FilePath> = self.folder.keys().cloned().collect();
        let index = usize::try_from(dice.below(paths.len() as u64)).unwrap();
        let Some(path) = paths.get(index).cloned() else { return false };
        match fault {
            Fault::Cut
            | Fault::AnswerLost
            | Fault::Delayed
            | Fault::Doubled
            | Fault::Reordered
            | Fault::HalfOpen => {
                self.next_send = Some(fault);
                // Something that it can befall.
                for _ in 0..30 {
                    self.write_something(dice);
                    self.work(hub, 4).await;
                    if self.next_send.is_none() {
                        return true;
                    }
                }
                self.next_send = None;
                false
            }
            Fault::BrokerKilled => {
                self.kill(hub);
                true
            }
            Fault::JournalTorn => {
                let kept =
                    self.journal.len().saturating_sub(usize::try_from(dice.below(9)).unwrap());
                self.journal.truncate(kept);
                self.again_allowed += 9 * PACK + self.folder_bytes();
                self.kill(hub);
                true
            }
            Fault::JournalLost => {
                self.journal.clear();
                self.again_allowed += self.folder_bytes();
                self.kill(hub);
                true
            }
            Fault::ClockJump => {
                self.now_ms +=
                    [3_600_000, 86_400_000, 7_000][usize::try_from(dice.below(3)).unwrap()];
                true
            }
            Fault::SourceGrowsWhileRead => {
                self.next_read = Some(fault);
                for _ in 0..30 {
                    self.write_something(dice);
                    self.work(hub, 4).await;
                    if self.next_read.is_none() {
                        return true;
                    }
                }
                self.next_read = None;
                false
            }
            Fault::SourceChangesUnderItsStamp => {
                let Some((stamp, bytes)) = self.folder.get_mut(&path) else { return false };
                bytes.iter_mut().for_each(|byte| *byte ^= 0x55);
                self.again_allowed += 2 * stamp.bytes;
                true
            }
            Fault::SourceClockGoesBack => {
                self.wall_clock -= 500_000;
                self.write_something(dice);
                self.wall_clock += 400_000;
                true
            }
            Fault::SourceRemoved => self.folder.remove(&path).is_some(),
            _ => false,
        }
    }

    fn folder_bytes(&self) -> u64 {
        self.folder.values().map(|(stamp, _)| stamp.bytes).sum()
    }

    /// Bytes of versions of files that were sealed more than once.
    pub(super) fn again_bytes(&self) -> u64 {
        let again =
            |((_, _, bytes), sealed): (&(FilePath, i64, u64), &u64)| sealed.saturating_sub(*bytes);
        self.of_version.iter().map(again).sum()
    }

    pub(super) fn check_sent(&self) {
        let (again, allowed) = (self.again_bytes(), self.again_allowed);
        assert!(again <= allowed, "{again} bytes were sealed again, {allowed} are allowed");
    }

    /// The instrument ends; from now on nothing changes and nothing fails, and the run closes.
    pub(super) async fn end(&mut self, hub: &mut Hub) {
        self.write("CopyComplete.txt", Vec::new());
        for _ in 0..3_000 {
            self.work(hub, 1).await;
            if self.machine.is_closed() {
                return;
            }
        }
        panic!("the run does not close: {:?}", self.machine.standing());
    }

    /// What is closed is what the folder holds, byte for byte, out of objects that the hub gives back.
    pub(super) async fn compare(&self, hub: &Hub) {
        let (files, objects) =
            (self.machine.listed(false).collect::<Vec<_>>(), self.machine.objects());
        let listed: Vec<_> = files.iter().map(|file| FilePath::from(file.path.as_str())).collect();
        let there: Vec<_> = self.folder.keys().cloned().collect();
        assert_eq!(listed, there);
        for file in &files {
            let mut content = Vec::new();
            for extent in &file.extents {
                let sealed = hub.get(&extent.object).await;
                let plain = unsalted(&sealed);
                let from = usize::try_from(extent.offset).unwrap();
                let to = usize::try_from(extent.offset + extent.bytes).unwrap();
                content.extend_from_slice(&plain[from..to]);
            }
            assert_eq!(content, self.folder[file.path.as_str()].1, "{}", file.path);
            assert_eq!(file.sha256, sha256(&content));
        }
        assert_eq!(objects.len(), hub.objects().len() as u64);
    }
}

/// Sealing gives every object bytes of its own, also of equal content.
fn salted(object: ObjectRef, bytes: &[u8]) -> Vec<u8> {
    [object.0.as_slice(), bytes].concat()
}

fn unsalted(sealed: &[u8]) -> &[u8] {
    &sealed[16..]
}
