//! What a broker knows of one run, and what it decides next. No disk, no network, no clock (`spec/broker-stream.md`).
//!
//! Messages come in with the moment they came at; decisions go out and whoever carries them out reports back as another
//! message. A file goes from *seen* over *steady* (two scans alike; when the run is over, one will do to begin) and *read* to
//! *whole* (every byte in acknowledged objects). When the run is over and all files are whole, those that were read before
//! are hashed once more, and only what is still the same is closed. Nothing here believes that a message comes once, or in order.

use std::collections::{BTreeMap, BTreeSet};

use api::{Digest, ObjectRef};
use dataset::SealedFact;
use proof::{Extent, FileEntry, ObjectSet};
use serde::{Deserialize, Serialize};

use crate::folder::{
    FilePath, Marks, Seen, Stamp, is_mutable, is_needed_by, lane_and_cycle, marks,
};
use crate::version::{Held, Version};

/// How patient a broker is with a folder. Times in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Between two scans.
    pub scan_every_ms: u64,
    /// Between two scans once the run is over by its marks, so that a finished folder need not wait for the next round.
    pub second_scan_ms: u64,
    /// How long nothing may have changed where the platform marks only the end of base calling.
    pub settle_ms: u64,
    /// Between two versions of a file that changes while the run lasts.
    pub version_every_ms: u64,
    /// How long nothing may change without the run being over before a person is asked.
    pub attention_ms: u64,
    /// Take the folder as it is, without a mark.
    pub as_it_is: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            scan_every_ms: 10_000,
            second_scan_ms: 250,
            settle_ms: 60_000,
            version_every_ms: 600_000,
            attention_ms: 2 * 3_600_000,
            as_it_is: false,
        }
    }
}

/// A piece of a file that lies in an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Which file.
    pub path: FilePath,
    /// Which version of it.
    pub stamp: Stamp,
    /// Which reading it came from: of a reading that was given up, nothing counts.
    pub attempt: u32,
    /// Where in the file.
    pub file_offset: u64,
    /// In which object.
    pub object: ObjectRef,
    /// Where in the object's plaintext.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
    /// The SHA-256 of the file from its beginning to the end of this piece: a file is hashed once, whatever it is cut into.
    #[serde(rename = "sha256")]
    pub sha256_so_far: Digest,
}

/// A piece that need not be sent again when its file is read once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Where in the file.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
    /// The SHA-256 of the file up to their end: checked while reading.
    pub sha256_so_far: Digest,
}

/// How reading a file ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Its stamp was the same before and after, and this is the SHA-256 of all its bytes.
    Whole(Digest),
    /// It changed while it was read, or what was kept of it is not what it holds.
    Changed,
    /// It is not there any more, or could not be read.
    Failed,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Message {
    /// A scan ended.
    Scanned(Vec<Seen>),
    /// A scan failed, as when a share is away.
    NotScanned,
    /// Reading a file for sending ended.
    Read {
        /// Which file.
        path: FilePath,
        /// Which reading.
        attempt: u32,
        /// How.
        reading: Reading,
    },
    /// A pack was sealed; it waits to be sent.
    Sealed {
        /// The object.
        fact: SealedFact,
        /// What of which files lies in it.
        pieces: Vec<Piece>,
    },
    /// The hub holds an object.
    Acknowledged(ObjectRef),
    /// Sending failed in a way that may pass.
    NotSent(ObjectRef),
    /// Hashing a file once more, after the end of the run, ended.
    Rehashed {
        /// Which file.
        path: FilePath,
        /// How.
        reading: Reading,
        /// At which version.
        stamp: Stamp,
    },
    /// The hub does not hold these although we thought so.
    Lost(Vec<ObjectRef>),
    /// The hub holds these besides, from a time that nobody remembers.
    Adopted(Vec<SealedFact>),
    /// The hub took the manifest.
    Closed,
    /// The hub wants the contents compared again before it takes a manifest.
    NotClosed,
    /// The hub was told what is whole so far, or will not be told of this stage.
    ToldSoFar,
    /// The hub could not be told yet.
    NotToldSoFar,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Scan the folder.
    Scan,
    /// Read a file and pack what is not kept.
    Read {
        /// Which file.
        path: FilePath,
        /// At which version.
        stamp: Stamp,
        /// Which reading this is.
        attempt: u32,
        /// What lies in objects already.
        kept: Vec<Kept>,
    },
    /// Seal the pack that is being filled, full or not.
    Flush,
    /// Write these down.
    Record(Vec<Record>),
    /// Send an object; its record is written before.
    Send(ObjectRef),
    /// Hash a file once more.
    Rehash {
        /// Which file.
        path: FilePath,
        /// The version that was sent.
        stamp: Stamp,
    },
    /// Tell the hub what is whole so far, with a manifest of what [`Machine::listed`] has so far; nothing is on its way meanwhile.
    TellSoFar,
    /// Close the run with a manifest of all that [`Machine::listed`] has.
    Close,
    /// Tell the hub that a person is needed.
    Attention(&'static str),
}

/// A line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// A piece of a file lies in an object.
    Piece(Piece),
    /// An object was sealed and is about to be sent.
    Sealed {
        /// Its id.
        object: ObjectRef,
        /// The SHA-256 of its sealed bytes.
        hash: Digest,
        /// Its commitment.
        commitment: Digest,
        /// The number of its sealed bytes.
        sealed_bytes: u64,
    },
    /// The hub holds an object.
    Acknowledged {
        /// Its id.
        object: ObjectRef,
    },
    /// What was sent of a file counts no more.
    Dropped {
        /// Which file.
        path: FilePath,
    },
    /// A file was read from beginning to end without changing.
    Whole {
        /// Which file.
        path: FilePath,
        /// At which version.
        stamp: Stamp,
        /// The SHA-256 of its content.
        sha256: Digest,
    },
}

/// So many files are asked for at once: more wait here than are read, and not half a million in a queue.
const MOST_READING: usize = 512;
/// So many records are written down although nothing is to be sent.
const MANY_RECORDS: usize = 256;

/// The folder grows no more and lacks its completion mark.
pub const NO_MARK: &str = "the run folder has stopped growing and holds no completion mark";
/// Base calling ended, copying did not.
pub const NO_COPY_MARK: &str =
    "base calling is over, but the run folder has stopped growing without CopyComplete.txt";
/// Something in the folder changes each time it is read.
pub const RESTLESS: &str =
    "the run is over, but a file in its folder cannot be read or does not come to rest";

/// Numbers for a person.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Files that the last scan saw.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that are whole at the hub in the version that the last scan saw.
    pub files_whole: u64,
    /// Bytes of the seen files that the hub holds.
    pub bytes_held: u64,
    /// Whether the run is over and its files are being hashed once more.
    pub verifying: bool,
}

#[derive(Debug)]
struct File {
    seen: Stamp,
    /// Scans in a row that saw `seen`, the first included.
    scans: u32,
    /// Whether the last scan saw it at all.
    present: bool,
    reading: bool,
    version: Option<Version>,
    attempt: u32,
    version_at_ms: u64,
    /// Whether the run was over when reading began: then that reading is the one that is compared at the end.
    read_after_end: bool,
    rehashing: bool,
}

impl File {
    const fn new(seen: Stamp) -> Self {
        Self {
            seen,
            scans: 0,
            present: false,
            reading: false,
            version: None,
            attempt: 0,
            version_at_ms: 0,
            read_after_end: false,
            rehashing: false,
        }
    }

    /// Whether it has come to rest and lies whole in objects, as it was last seen.
    fn is_whole(&self) -> bool {
        let here = |version: &Version| {
            version.stamp == self.seen && version.sha256.is_some() && version.is_covered()
        };
        self.scans >= 2 && !self.reading && self.version.as_ref().is_some_and(here)
    }
}

#[derive(Debug)]
struct Object {
    fact: SealedFact,
    acknowledged: bool,
    /// Not before this moment.
    send_at_ms: u64,
}

impl Object {
    /// One that the hub holds.
    const fn held(fact: SealedFact) -> Self {
        Self { fact, acknowledged: true, send_at_ms: 0 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Growing,
    Closing,
    Closed,
}

/// A run as its broker sees it.
#[derive(Debug)]
pub struct Machine {
    rules: Rules,
    files: BTreeMap<FilePath, File>,
    objects: BTreeMap<ObjectRef, Object>,
    unrecorded: Vec<Record>,
    phase: Phase,
    scanning: bool,
    scan_at_ms: u64,
    scanned_once: bool,
    changed_at_ms: u64,
    asked_attention: bool,
    /// Reads finished since the last flush: a pack may be partly filled.
    unflushed: bool,
    /// What the names of the last scan say.
    marks: Marks,
    /// Files that are being read, objects that are not acknowledged, files that are being hashed once more.
    reading: usize,
    unacknowledged: usize,
    rehashing: usize,
    to_read: BTreeSet<FilePath>,
    to_send: BTreeSet<ObjectRef>,
    /// Objects on their way to the hub.
    in_flight: BTreeSet<ObjectRef>,
    /// Cycles after which the hub is told what is whole so far, and for how many of them it was.
    stages: Vec<u32>,
    told: usize,
    /// Whether every lane has calls of a later cycle than the next stage's, and whether that was looked into since the last scan.
    is_stage_over: bool,
    is_stage_looked_into: bool,
    /// Whether the hub is about to be told: until then nothing more is sent.
    is_telling: bool,
}

impl Machine {
    /// A run that nothing is known of, at `now_ms`.
    pub const fn new(rules: Rules, now_ms: u64) -> Self {
        Self {
            rules,
            files: BTreeMap::new(),
            objects: BTreeMap::new(),
            unrecorded: Vec::new(),
            phase: Phase::Growing,
            scanning: false,
            scan_at_ms: now_ms,
            scanned_once: false,
            changed_at_ms: now_ms,
            asked_attention: false,
            unflushed: false,
            marks: Marks::Open,
            reading: 0,
            unacknowledged: 0,
            rehashing: 0,
            to_read: BTreeSet::new(),
            to_send: BTreeSet::new(),
            in_flight: BTreeSet::new(),
            stages: Vec::new(),
            told: 0,
            is_stage_over: false,
            is_stage_looked_into: false,
            is_telling: false,
        }
    }

    /// Tells the hub, once all calls up to one of these cycles are whole there and the run goes on, what there is so far. It was
    /// told of the first `told` of them.
    #[must_use]
    pub fn with_stages(mut self, stages: Vec<u32>, told: usize) -> Self {
        (self.stages, self.told) = (stages, told);
        self
    }

    /// Takes back what an earlier process wrote down. `held` says which of the objects the hub holds: the others are gone
    /// with that process, and what lay in them is read and sealed anew, under new keys.
    pub fn restore(&mut self, records: Vec<Record>, held: &dyn Fn(&ObjectRef) -> bool) {
        let mut pieces = Vec::new();
        for record in records {
            match record {
                Record::Sealed { object, hash, commitment, sealed_bytes } => {
                    if held(&object) {
                        let fact = SealedFact { object, hash, commitment, sealed_bytes };
                        self.objects.insert(object, Object::held(fact));
                    }
                }
                Record::Acknowledged { .. } => {}
                // A record of a piece stands before that of its object.
                Record::Piece(piece) => pieces.push(piece),
                Record::Dropped { path } => {
                    pieces.retain(|piece| piece.path != path);
                    self.files.remove(&path);
                }
                Record::Whole { path, stamp, sha256 } => {
                    self.restored(path, stamp).sha256 = Some(sha256);
                }
            }
        }
        for piece in &pieces {
            if self.objects.contains_key(&piece.object) {
                self.restored(piece.path.clone(), piece.stamp).add(piece);
            }
        }
        for version in self.files.values_mut().filter_map(|file| file.version.as_mut()) {
            if !version.is_covered() {
                version.sha256 = None;
            }
        }
    }

    /// The version of a file that the journal speaks of; an older one gives way.
    fn restored(&mut self, path: FilePath, stamp: Stamp) -> &mut Version {
        let file = self.files.entry(path).or_insert_with(|| File::new(stamp));
        if file.version.as_ref().is_none_or(|version| version.stamp != stamp) {
            file.seen = stamp;
            file.version = None;
        }
        file.version.get_or_insert_with(|| Version::new(stamp))
    }

    /// Takes a message that came at `now_ms`.
    pub fn take(&mut self, now_ms: u64, message: Message) {
        match message {
            Message::Scanned(seen) => self.scanned(now_ms, seen),
            Message::NotScanned => {
                self.scanning = false;
                self.scan_at_ms = now_ms.saturating_add(self.rules.scan_every_ms);
            }
            Message::Read { path, attempt, reading } => self.read(now_ms, path, attempt, reading),
            Message::Sealed { fact, pieces } => self.sealed(fact, pieces),
            Message::Acknowledged(object) => self.acknowledged(object),
            Message::NotSent(object) => {
                self.in_flight.remove(&object);
                if let Some(known) = self.objects.get_mut(&object) {
                    known.send_at_ms = now_ms.saturating_add(1000);
                    self.to_send.insert(object);
                }
            }
            Message::Rehashed { path, reading, stamp } => self.rehashed(path, stamp, reading),
            Message::Lost(objects) => self.lost(&objects),
            Message::Adopted(facts) => {
                for fact in facts {
                    self.objects.entry(fact.object).or_insert_with(|| Object::held(fact));
                }
            }
            Message::Closed => self.phase = Phase::Closed,
            Message::ToldSoFar => {
                self.told += 1;
                self.is_stage_over = false;
                self.is_telling = false;
            }
            Message::NotToldSoFar => self.is_telling = false,
            Message::NotClosed => {
                if self.phase == Phase::Closing {
                    self.phase = Phase::Growing;
                }
            }
        }
    }

    fn scanned(&mut self, now_ms: u64, seen: Vec<Seen>) {
        self.scanning = false;
        let mut unsteady = !self.scanned_once;
        self.scanned_once = true;
        let mut changed = false;
        for file in self.files.values_mut() {
            file.present = false;
        }
        let known = self.files.len();
        for Seen { path, stamp } in seen {
            let file = self.files.entry(path.clone()).or_insert_with(|| File::new(stamp));
            file.present = true;
            if file.seen == stamp {
                file.scans = file.scans.saturating_add(1);
            } else {
                file.seen = stamp;
                file.scans = 1;
                changed = true;
            }
            unsteady |= file.scans < 2;
            self.to_read.insert(path);
        }
        changed |= self.files.len() != known;
        let present = self.files.iter().filter(|(_, file)| file.present);
        self.marks = marks(present.map(|(path, _)| &**path));
        self.look_for_stage();
        if changed {
            self.changed_at_ms = now_ms;
            self.asked_attention = false;
        }
        // Where the instrument has ended, two scans may follow one another closely; while it writes, they may not.
        let over = self.rules.as_it_is || self.marks == Marks::Copied;
        let pause = if unsteady && over { self.rules.second_scan_ms } else { u64::MAX };
        self.scan_at_ms = now_ms.saturating_add(pause.min(self.rules.scan_every_ms));
    }

    /// Whether every lane has calls of a later cycle than the one that is waited for.
    fn look_for_stage(&mut self) {
        let Some(cycle) = self.stages.get(self.told).copied() else { return };
        let mut last: BTreeMap<u32, u32> = BTreeMap::new();
        for (path, _) in self.files.iter().filter(|(_, file)| file.present) {
            if let Some((lane, of)) = lane_and_cycle(path) {
                let last = last.entry(lane).or_default();
                *last = of.max(*last);
            }
        }
        self.is_stage_over = !last.is_empty() && last.values().all(|last| *last > cycle);
        self.is_stage_looked_into = false;
    }

    /// Whether all that the next stage needs lies at the hub: looked into once a scan, as there may be a million files.
    fn decide_stage(&mut self, over: bool, decisions: &mut Vec<Decision>) {
        let Some(cycle) = self.stages.get(self.told).copied() else { return };
        // What is over is closed instead.
        if over || self.phase != Phase::Growing {
            self.is_telling = false;
            return;
        }
        if self.is_stage_over && !std::mem::replace(&mut self.is_stage_looked_into, true) {
            let mut needed =
                self.files.iter().filter(|(path, file)| file.present && is_needed_by(cycle, path));
            self.is_telling = needed.all(|(_, file)| self.is_held(file));
        }
        if self.is_telling && self.in_flight.is_empty() {
            decisions.push(Decision::TellSoFar);
        }
    }

    /// Whether a file has come to rest and the hub holds all of it.
    fn is_held(&self, file: &File) -> bool {
        let acknowledged =
            |object: &ObjectRef| self.objects.get(object).is_some_and(|object| object.acknowledged);
        let mut pieces = file.version.iter().flat_map(|version| &version.pieces);
        file.is_whole() && pieces.all(|held| acknowledged(&held.object))
    }

    fn read(&mut self, now_ms: u64, path: FilePath, attempt: u32, reading: Reading) {
        self.unflushed = true;
        let Some(file) = self.files.get_mut(&path) else { return };
        if !file.reading || file.attempt != attempt {
            return;
        }
        file.reading = false;
        self.reading -= 1;
        match (reading, &mut file.version) {
            (Reading::Whole(sha256), Some(version)) => {
                file.version_at_ms = now_ms;
                version.sha256 = Some(sha256);
                version.verified = file.read_after_end;
                let stamp = version.stamp;
                self.unrecorded.push(Record::Whole { path, stamp, sha256 });
            }
            // Looked at again when it has come to rest.
            _ => {
                file.version = None;
                file.scans = 0;
                self.unrecorded.push(Record::Dropped { path });
            }
        }
    }

    fn sealed(&mut self, fact: SealedFact, pieces: Vec<Piece>) {
        let object = fact.object;
        if self.objects.contains_key(&object) {
            return;
        }
        for piece in pieces {
            let file = self.files.get_mut(&piece.path).filter(|file| file.attempt == piece.attempt);
            if let Some(version) = file.and_then(|file| file.version.as_mut())
                && version.stamp == piece.stamp
            {
                version.add(&piece);
                self.unrecorded.push(Record::Piece(piece));
            }
        }
        let SealedFact { hash, commitment, sealed_bytes, .. } = fact;
        self.unrecorded.push(Record::Sealed { object, hash, commitment, sealed_bytes });
        self.objects.insert(object, Object { fact, acknowledged: false, send_at_ms: 0 });
        self.unacknowledged += 1;
        self.to_send.insert(object);
    }

    fn acknowledged(&mut self, object: ObjectRef) {
        self.in_flight.remove(&object);
        if let Some(known) = self.objects.get_mut(&object) {
            self.to_send.remove(&object);
            if !known.acknowledged {
                known.acknowledged = true;
                self.unacknowledged -= 1;
                self.unrecorded.push(Record::Acknowledged { object });
            }
        }
    }

    fn rehashed(&mut self, path: FilePath, stamp: Stamp, reading: Reading) {
        let Some(file) = self.files.get_mut(&path) else { return };
        if !std::mem::take(&mut file.rehashing) {
            return;
        }
        self.rehashing -= 1;
        let Some(version) = file.version.as_mut().filter(|version| version.stamp == stamp) else {
            return;
        };
        match reading {
            Reading::Whole(sha256) if version.sha256 == Some(sha256) => version.verified = true,
            // The content is not what was sent, whatever the stamp says: the version is sent anew.
            _ => {
                file.version = None;
                file.scans = 0;
                self.unrecorded.push(Record::Dropped { path });
            }
        }
    }

    fn lost(&mut self, objects: &[ObjectRef]) {
        for object in objects {
            let gone = self.objects.remove(object);
            self.unacknowledged -= usize::from(gone.is_some_and(|object| !object.acknowledged));
            self.to_send.remove(object);
            self.in_flight.remove(object);
        }
        for (path, file) in &mut self.files {
            let Some(version) = &mut file.version else { continue };
            let before = version.pieces.len();
            version.pieces.retain(|held| self.objects.contains_key(&held.object));
            if version.pieces.len() == before {
                continue;
            }
            version.sha256 = None;
            version.verified = false;
            if file.reading {
                // What is being read was told to leave out what is gone: the reading counts no more.
                file.reading = false;
                self.reading -= 1;
            }
            self.to_read.insert(path.clone());
        }
    }

    /// What to do at `now_ms`. Decisions are given once; what they lead to must be reported.
    pub fn decide(&mut self, now_ms: u64) -> Vec<Decision> {
        let mut decisions = Vec::new();
        if self.phase == Phase::Closed {
            return decisions;
        }
        if !self.scanning && now_ms >= self.scan_at_ms {
            self.scanning = true;
            decisions.push(Decision::Scan);
        }
        let over = self.is_over(now_ms);
        self.decide_reads(now_ms, over, &mut decisions);
        if over && self.unflushed && self.reading == 0 {
            self.unflushed = false;
            decisions.push(Decision::Flush);
        }
        if self.phase == Phase::Growing && over {
            self.decide_end(&mut decisions);
        }
        self.decide_stage(over, &mut decisions);
        let due: Vec<_> = self
            .to_send
            .iter()
            .filter(|object| !self.is_telling && self.objects[*object].send_at_ms <= now_ms)
            .copied()
            .collect();
        // Before anything is sent: an object that the hub holds and nobody remembers is of no use. Else many at a time.
        let worth_while = self.reading == 0 || self.unrecorded.len() >= MANY_RECORDS;
        if !self.unrecorded.is_empty() && (!due.is_empty() || worth_while) {
            decisions.push(Decision::Record(std::mem::take(&mut self.unrecorded)));
        }
        for object in due {
            self.to_send.remove(&object);
            self.in_flight.insert(object);
            decisions.push(Decision::Send(object));
        }
        if let Some(reason) = self.needs_attention(now_ms) {
            self.asked_attention = true;
            decisions.push(Decision::Attention(reason));
        }
        decisions
    }

    /// When to ask again even if no message comes.
    pub fn wakes_ms(&self) -> u64 {
        let retry = self.to_send.iter().map(|object| self.objects[object].send_at_ms).min();
        let scan = if self.scanning { u64::MAX } else { self.scan_at_ms };
        retry.unwrap_or(u64::MAX).min(scan)
    }

    /// Whether the run is over by its marks.
    fn is_over(&self, now_ms: u64) -> bool {
        if !self.scanned_once {
            return false;
        }
        match self.marks {
            _ if self.rules.as_it_is => true,
            Marks::Copied => true,
            Marks::BaseCalled => now_ms >= self.changed_at_ms.saturating_add(self.rules.settle_ms),
            Marks::Open | Marks::CopyMissing => false,
        }
    }

    fn decide_reads(&mut self, now_ms: u64, over: bool, decisions: &mut Vec<Decision>) {
        let mut later = Vec::new();
        while self.reading < MOST_READING
            && let Some(path) = self.to_read.pop_first()
        {
            let Some(file) = self.files.get_mut(&path) else { continue };
            // When the run is over reading need not wait for the second scan: a stamp that changed meanwhile makes it void.
            if !file.present || file.reading || file.scans < if over { 1 } else { 2 } {
                // Every scan that sees it brings it back.
                continue;
            }
            let current = file.version.as_ref().filter(|version| version.stamp == file.seen);
            if current.is_some_and(|version| version.sha256.is_some()) {
                continue;
            }
            let sent_before = file.version_at_ms > 0;
            let rested = now_ms >= file.version_at_ms.saturating_add(self.rules.version_every_ms);
            if sent_before && current.is_none() && is_mutable(&path) && !over && !rested {
                later.push(path);
                continue;
            }
            if current.is_none() {
                file.version = Some(Version::new(file.seen));
            }
            file.reading = true;
            file.read_after_end = over;
            self.reading += 1;
            file.attempt += 1;
            let (stamp, attempt) = (file.seen, file.attempt);
            let kept = file.version.as_ref().map_or_else(Vec::new, |version| {
                let kept = |&Held { file_offset: offset, bytes, sha256_so_far, .. }: &_| Kept {
                    offset,
                    bytes,
                    sha256_so_far,
                };
                version.pieces.iter().map(kept).collect()
            });
            decisions.push(Decision::Read { path, stamp, attempt, kept });
        }
        self.to_read.extend(later);
    }

    /// After the end: hash everything once more, then close.
    fn decide_end(&mut self, decisions: &mut Vec<Decision>) {
        if self.reading + self.unacknowledged + self.rehashing > 0
            || !self.files.values().filter(|file| file.present).all(File::is_whole)
        {
            return;
        }
        let mut verified = true;
        for (path, file) in self.files.iter_mut().filter(|(_, file)| file.present) {
            if file.version.as_ref().is_some_and(|version| version.verified) {
                continue;
            }
            verified = false;
            if !file.rehashing {
                file.rehashing = true;
                self.rehashing += 1;
                decisions.push(Decision::Rehash { path: path.clone(), stamp: file.seen });
            }
        }
        if verified && self.files.values().any(|file| file.present) {
            self.phase = Phase::Closing;
            decisions.push(Decision::Close);
        }
    }

    fn needs_attention(&self, now_ms: u64) -> Option<&'static str> {
        let quiet = now_ms >= self.changed_at_ms.saturating_add(self.rules.attention_ms);
        if self.phase != Phase::Growing || self.asked_attention || !self.scanned_once || !quiet {
            return None;
        }
        match self.marks {
            Marks::Open => Some(NO_MARK),
            Marks::CopyMissing => Some(NO_COPY_MARK),
            Marks::BaseCalled | Marks::Copied => {
                let restless = self.files.values().any(|file| file.present && !file.is_whole());
                restless.then_some(RESTLESS)
            }
        }
    }

    /// Every object that the hub holds.
    pub fn objects(&self) -> ObjectSet {
        let mut objects = ObjectSet::default();
        for object in self.objects.values().filter(|object| object.acknowledged) {
            objects.insert(object.fact.object, object.fact.hash, object.fact.sealed_bytes);
        }
        objects
    }

    /// What the manifest lists, in the order of paths: every present file, or, while the run goes on, every one that is whole at the hub.
    pub fn listed(&self, so_far: bool) -> impl Iterator<Item = FileEntry> {
        let present = self.files.iter().filter(|(_, file)| file.present);
        let listed = present.filter(move |(_, file)| !so_far || self.is_held(file));
        listed.filter_map(|(path, file)| {
            let version = file.version.as_ref()?;
            let extent = |&Held { object, offset, bytes, .. }: &_| Extent {
                object,
                commitment: self.objects[&object].fact.commitment,
                offset,
                bytes,
            };
            Some(FileEntry {
                path: path.to_string(),
                bytes: version.stamp.bytes,
                sha256: version.sha256?,
                extents: version.pieces.iter().map(extent).collect(),
            })
        })
    }

    /// Every object that was sealed and its acknowledgement, as the broker believes.
    pub fn believed(&self) -> impl Iterator<Item = (&SealedFact, bool)> {
        self.objects.values().map(|object| (&object.fact, object.acknowledged))
    }

    /// Whether the hub has taken the manifest.
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// How far the run is.
    pub fn standing(&self) -> Standing {
        let mut standing = Standing::default();
        for file in self.files.values().filter(|file| file.present) {
            standing.files += 1;
            standing.bytes += file.seen.bytes;
            standing.verifying |=
                file.rehashing || file.version.as_ref().is_some_and(|version| version.verified);
            let Some(version) = file.version.as_ref().filter(|v| v.stamp == file.seen) else {
                continue;
            };
            let held = |held: &Held| {
                self.objects.get(&held.object).filter(|o| o.acknowledged).map_or(0, |_| held.bytes)
            };
            let held: u64 = version.pieces.iter().map(held).sum();
            standing.bytes_held += held;
            if version.sha256.is_some() && held == version.stamp.bytes {
                standing.files_whole += 1;
            }
        }
        standing
    }
}
