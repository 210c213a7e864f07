//! One run, driven to its end: what [`Machine`] decides is carried out, and what comes of it is told to it.
//!
//! Reading has a thread of its own, sealing and hashing take both cores, sending is as many calls at once as there are packs
//! in memory; this task alone owns the machine, the journal and the state file.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use api::{Digest, ObjectRef, PutManifest, SignedStatement};
use client::ObjectBytes;
use dataset::{DatasetError, IndexSealer, OpenDataset, SealedFact, SealedPart};
use proof::{Manifest, SigningKey, digest_of, open_statement, sign_statement};
use seal::ObjectId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::fill::{self, Filled, Plain, Work};
use crate::folder::{FilePath, ScanError, Seen, Stamp, scan};
use crate::journal::{Journal, JournalError};
use crate::keep::{KeepError, keep_verified};
use crate::machine::{Decision, Machine, Message, Piece, Reading, Record, Rules, Standing};
use crate::pace::{Limit, Pace};
use crate::progress::Tally;
use crate::state::{RunState, StateError};
use crate::uplink::{Uplink, UplinkError};

/// Plaintext bytes of a broker's pack: its sealed object is 6 MiB to the byte, which disks write without a remainder.
const PACK_BYTES: usize = 6 * 1024 * 1024 - 128 - 96 * 16;

/// What a broker may use of the machine it runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    /// Plaintext bytes of a pack.
    pub pack_bytes: usize,
    /// Packs that are being filled or sealed at once.
    pub filling: usize,
    /// Packs that are being sent at once. The two numbers together bound memory.
    pub sending: usize,
    /// Threads that hash at the end.
    pub workers: usize,
}

impl Default for Resources {
    fn default() -> Self {
        Self { pack_bytes: PACK_BYTES, filling: 2, sending: 3, workers: 2 }
    }
}

/// The [`Pace`] of a broker against the clocks of this machine.
#[derive(Debug)]
pub struct Throttle {
    pace: Mutex<Pace>,
    began: Instant,
}

impl Default for Throttle {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Throttle {
    /// With these limits; none means as fast as it goes.
    #[must_use]
    pub fn new(limits: Vec<Limit>) -> Self {
        Self { pace: Mutex::new(Pace::new(limits)), began: Instant::now() }
    }

    /// Waits until so many bytes may go.
    async fn until_it_may_go(&self, bytes: u64) {
        loop {
            let now_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            let now = jiff::Zoned::now();
            let minute =
                60 * u16::from(now.hour().unsigned_abs()) + u16::from(now.minute().unsigned_abs());
            // Whoever panicked while holding it left it whole.
            let taken = match self.pace.lock() {
                Ok(mut pace) => pace.take(now_ms, minute, bytes),
                Err(poisoned) => poisoned.into_inner().take(now_ms, minute, bytes),
            };
            match taken {
                Ok(()) => return,
                Err(wait_ms) => tokio::time::sleep(Duration::from_millis(wait_ms)).await,
            }
        }
    }
}

/// A run to send.
pub struct Job {
    /// Its state.
    pub state: RunState,
    /// Its way to the hub.
    pub uplink: Arc<dyn Uplink>,
    /// Who signs its manifest.
    pub signer: SigningKey,
    /// How patient to be with the folder.
    pub rules: Rules,
    /// What may be used.
    pub resources: Resources,
    /// Where a verified copy is kept too.
    pub keep: Option<PathBuf>,
    /// How fast to send, and when; runs that share it are limited together.
    pub throttle: Arc<Throttle>,
    /// Stop when a person is needed, rather than wait for the folder to grow on.
    pub ends_on_attention: bool,
    /// Cycles after which there is something to demultiplex, though the run goes on.
    pub stages: Vec<u32>,
    /// Who wants to know how far it is.
    pub report: Arc<dyn Fn(Event) + Send + Sync>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("run", &self.state.dataset()).finish_non_exhaustive()
    }
}

/// How far a run is. No event bears a name or a byte of data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Numbers have changed.
    Progress(Standing),
    /// Something passes by itself: a share or a hub that is away.
    Trouble(String),
    /// A person is needed.
    Attention(&'static str),
    /// The hub's objects differ from what was believed; so many are sent again.
    Reconciled {
        /// Objects that the hub has not.
        lost: usize,
        /// Objects that only the hub knew.
        adopted: usize,
    },
    /// The hub has taken the manifest.
    Closed(Digest),
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The hub has taken the signed manifest.
    Closed {
        /// The manifest's digest.
        manifest: Digest,
        /// Bytes that were sent by this process, sealed.
        sent_bytes: u64,
    },
    /// A person is needed.
    Attention(&'static str),
}

/// Why a run stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// The hub refuses our key, account or right. The run waits; nothing of it is lost.
    #[error("the run waits, because the hub refuses it: {sentence}")]
    Parked {
        /// The hub's sentence.
        sentence: String,
        /// What to do.
        hint: Option<String>,
    },
    /// The hub refuses something for good.
    #[error("the hub refuses the run: {sentence}")]
    Refused {
        /// The hub's sentence.
        sentence: String,
        /// What to do.
        hint: Option<String>,
    },
    /// The hub holds another set of objects than it says.
    #[error(
        "the hub refuses the manifest although it lists the very objects that the manifest counts: {0}"
    )]
    Disagree(String),
    /// A file can never be sent.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The state file cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// Something could not be sealed.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The local copy could not be made.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// A thread could not be started, or ended unasked.
    #[error("the broker's {0} has ended")]
    Thread(&'static str),
}

impl From<UplinkError> for BrokerError {
    fn from(error: UplinkError) -> Self {
        match error {
            UplinkError::Rights { sentence, hint } => Self::Parked { sentence, hint },
            UplinkError::Refused { sentence, hint } | UplinkError::Conflict { sentence, hint } => {
                Self::Refused { sentence, hint }
            }
            UplinkError::Away(sentence) | UplinkError::Mismatch(sentence) => {
                Self::Refused { sentence, hint: None }
            }
        }
    }
}

impl BrokerError {
    /// The next step for a person.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Parked { hint, .. } => Some(hint.clone().unwrap_or_else(|| {
                "let somebody with the right to do so add this key or account to the project, then send again: what arrived is kept".to_owned()
            })),
            Self::Refused { hint, .. } => hint.clone(),
            Self::Disagree(_) => Some("ask the hub's operator to scrub the store".to_owned()),
            Self::Scan(ScanError::Name { .. }) => Some("rename the file".to_owned()),
            Self::State(_) => Some("without its state file a run that is not closed must be sent anew: remove its folder and send again".to_owned()),
            _ => None,
        }
    }
}

/// What the helpers tell the driving task.
enum Note {
    Filled(Filled),
    Scanned(Result<Vec<Seen>, ScanError>),
    Sealed(Result<(SealedFact, ObjectBytes), DatasetError>, Vec<Piece>),
    Put(ObjectRef, u64, Result<(), UplinkError>),
    Rehashed(Vec<(FilePath, Stamp, Reading)>),
}

impl From<Filled> for Note {
    fn from(filled: Filled) -> Self {
        Self::Filled(filled)
    }
}

/// Sends a run to its end, or until a person is needed, or until something refuses for good. Dropped or killed at any
/// moment, it goes on from there when called again with the state read anew.
pub async fn send_run(mut job: Job) -> Result<Outcome, BrokerError> {
    let mut before = None;
    let Some(open) = job.state.open().cloned() else {
        // Done before: its manifest is what the hub has.
        let manifest = job.state.manifest().map_or(Digest([0; 32]), digest_of);
        return Ok(Outcome::Closed { manifest, sent_bytes: 0 });
    };
    if !job.state.is_created() {
        persist(&job, || job.uplink.create(job.state.create_call())).await?;
        job.state.set_created()?;
    } else {
        before = persist(&job, || job.uplink.manifest()).await?;
    }
    let before = before.map(|signed| Before::read(&job, signed)).transpose()?;
    let (journal, records) = Journal::open(&job.state.journal(), open.key())?;
    let held = held_of(&job, &records).await?;
    let started = Instant::now();
    let told = before.as_ref().map_or(0, |before| before.number as usize);
    let stages = if job.state.may_begin_early() { job.stages.clone() } else { Vec::new() };
    let mut machine = Machine::new(job.rules, 0).with_stages(stages, told);
    machine.restore(records, &|object| held.contains(object));

    let (to, notes) = mpsc::unbounded_channel();
    let folder = job.state.run_folder().to_owned();
    let Resources { pack_bytes, filling, sending, .. } = job.resources;
    let work = fill::start(folder.clone(), pack_bytes, filling.max(1), to.clone())
        .map_err(|_| BrokerError::Thread("reading thread"))?;
    let open = Arc::new(open);
    let slots = Slots { free: Arc::new(Semaphore::new(sending.max(1))), buffers: Arc::default() };
    let mut drive = Drive {
        job,
        machine,
        journal,
        open,
        folder,
        slots,
        work,
        to,
        waiting: HashMap::new(),
        started,
        sent_bytes: 0,
        told_at: None,
        before,
        not_told: 0,
        tally: Tally::new(),
    };
    // A manifest that was signed before a kill, and perhaps taken.
    if let Some(signed) = drive.job.state.manifest().cloned() {
        let put = PutManifest { manifest: signed, reads: None };
        if drive.hand_in(&put).await?.is_none() {
            return drive.done(&put);
        }
        drive.job.state.set_manifest(None)?;
    }
    drive.run(notes).await
}

/// Buffers for sealed packs. They go round, like those for plaintext: memory that is given back to the allocator and
/// taken anew, eight megabytes at a time and on many threads, is memory that grows.
#[derive(Clone)]
struct Slots {
    free: Arc<Semaphore>,
    buffers: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Slots {
    fn take(&self, slot: OwnedSemaphorePermit) -> SealedBuffer {
        let sealed = self.buffers.lock().ok().and_then(|mut free| free.pop()).unwrap_or_default();
        SealedBuffer { sealed, buffers: Arc::clone(&self.buffers), _slot: slot }
    }
}

/// The sealed bytes of one object; the buffer is free again when the last reference to them is gone.
struct SealedBuffer {
    sealed: Vec<u8>,
    buffers: Arc<Mutex<Vec<Vec<u8>>>>,
    _slot: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for SealedBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.sealed
    }
}

impl Drop for SealedBuffer {
    fn drop(&mut self) {
        if let Ok(mut free) = self.buffers.lock() {
            free.push(std::mem::take(&mut self.sealed));
        }
    }
}

/// Which of the journal's objects the hub holds: those it acknowledged, and of the others those it says it has.
async fn held_of(job: &Job, records: &[Record]) -> Result<HashSet<ObjectRef>, BrokerError> {
    let mut unanswered = HashMap::new();
    let mut held = HashSet::new();
    for record in records {
        match record {
            Record::Sealed { object, hash, .. } => {
                unanswered.insert(*object, *hash);
            }
            Record::Acknowledged { object } => {
                unanswered.remove(object);
                held.insert(*object);
            }
            _ => {}
        }
    }
    if !unanswered.is_empty() {
        let ask: Vec<_> = unanswered.keys().copied().collect();
        for answer in persist(job, || job.uplink.have(&ask)).await? {
            if unanswered.get(&answer.object) == Some(&answer.hash) {
                held.insert(answer.object);
            }
        }
    }
    Ok(held)
}

/// Calls until the hub is there.
async fn persist<T, F: Future<Output = Result<T, UplinkError>>>(
    job: &Job,
    mut call: impl FnMut() -> F,
) -> Result<T, UplinkError> {
    loop {
        match call().await {
            Err(UplinkError::Away(why)) => (job.report)(Event::Trouble(why)),
            other => return other,
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// The manifest that the next one follows: what the hub was told while the run went on.
#[derive(Debug, Clone, Copy)]
struct Before {
    number: u32,
    digest: Digest,
}

impl Before {
    fn read(job: &Job, signed: SignedStatement) -> Result<Self, BrokerError> {
        match open_statement::<Manifest>(&signed) {
            Ok((manifest, signer))
                if manifest.dataset == job.state.dataset() && signer == job.signer.public() =>
            {
                Ok(Self { number: manifest.number, digest: digest_of(&signed) })
            }
            _ => Err(BrokerError::Refused {
                sentence: "the manifest that it has of the run is not this machine's".to_owned(),
                hint: Some("send the folder as another run: --again".to_owned()),
            }),
        }
    }
}

/// How often the hub is told what is whole so far before a stage is left out: the run closes all the same.
const MOST_NOT_TOLD: u32 = 5;

struct Drive {
    job: Job,
    machine: Machine,
    journal: Journal<Record>,
    open: Arc<OpenDataset>,
    folder: PathBuf,
    slots: Slots,
    work: Sender<Work>,
    to: mpsc::UnboundedSender<Note>,
    /// Sealed objects until they are acknowledged: what is sent again is these very bytes.
    waiting: HashMap<ObjectRef, ObjectBytes>,
    started: Instant,
    sent_bytes: u64,
    told_at: Option<Instant>,
    before: Option<Before>,
    not_told: u32,
    tally: Tally,
}

impl Drive {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    async fn run(
        mut self,
        mut notes: mpsc::UnboundedReceiver<Note>,
    ) -> Result<Outcome, BrokerError> {
        loop {
            let mut rehash = Vec::new();
            for decision in self.machine.decide(self.now_ms()) {
                match decision {
                    Decision::Rehash { path, stamp } => rehash.push((path, stamp)),
                    Decision::TellSoFar => self.tell_so_far().await?,
                    Decision::Close => {
                        if let Some(outcome) = self.close().await? {
                            return Ok(outcome);
                        }
                    }
                    Decision::Attention(reason) => {
                        persist(&self.job, || self.job.uplink.attention(reason)).await?;
                        (self.job.report)(Event::Attention(reason));
                        if self.job.ends_on_attention {
                            return Ok(Outcome::Attention(reason));
                        }
                    }
                    other => self.carry_out(other)?,
                }
            }
            self.rehash(rehash);
            self.tell();
            let wait = self.machine.wakes_ms().saturating_sub(self.now_ms()).min(3_600_000);
            tokio::select! {
                note = notes.recv() => self.hear(note.ok_or(BrokerError::Thread("reading thread"))?)?,
                () = tokio::time::sleep(Duration::from_millis(wait)) => {}
            }
            // Whatever else has come is heard before the next decision.
            while let Ok(note) = notes.try_recv() {
                self.hear(note)?;
            }
        }
    }

    fn carry_out(&mut self, decision: Decision) -> Result<(), BrokerError> {
        match decision {
            Decision::Scan => {
                let (folder, to) = (self.folder.clone(), self.to.clone());
                tokio::task::spawn_blocking(move || {
                    let _the_run_may_have_ended = to.send(Note::Scanned(scan(&folder)));
                });
            }
            Decision::Read { path, stamp, attempt, kept } => {
                self.ask(Work::Read { path, stamp, attempt, kept })?;
            }
            Decision::Flush => self.ask(Work::Flush)?,
            Decision::Record(records) => self.journal.append(self.open.key(), &records)?,
            Decision::Send(object) => self.send(object),
            Decision::Rehash { .. }
            | Decision::TellSoFar
            | Decision::Close
            | Decision::Attention(_) => {}
        }
        Ok(())
    }

    fn ask(&self, work: Work) -> Result<(), BrokerError> {
        self.work.send(work).map_err(|_| BrokerError::Thread("reading thread"))
    }

    /// Seals a pack on a thread of its own, as soon as there is a buffer to seal it into.
    fn seal(&self, object: ObjectId, plain: Plain, pieces: Vec<Piece>) {
        let (open, to, slots) = (Arc::clone(&self.open), self.to.clone(), self.slots.clone());
        tokio::spawn(async move {
            let Ok(slot) = Arc::clone(&slots.free).acquire_owned().await else { return };
            let mut buffer = slots.take(slot);
            tokio::task::spawn_blocking(move || {
                let sealed = dataset::seal_into(&open, object, plain.bytes(), &mut buffer.sealed);
                drop(plain);
                let sealed = sealed.map(|(fact, wrapped_key)| {
                    let (object, hash) = (fact.object, fact.hash);
                    let sealed = bytes::Bytes::from_owner(buffer);
                    let (wrapped_key, epoch) = (wrapped_key.to_vec(), open.epoch());
                    (fact, ObjectBytes { object, sealed, hash, wrapped_key, epoch })
                });
                let _the_run_may_have_ended = to.send(Note::Sealed(sealed, pieces));
            });
        });
    }

    fn send(&self, object: ObjectRef) {
        let Some(bytes) = self.waiting.get(&object) else { return };
        let (uplink, to, bytes) = (Arc::clone(&self.job.uplink), self.to.clone(), bytes.clone());
        let throttle = Arc::clone(&self.job.throttle);
        tokio::spawn(async move {
            let sent = bytes.sealed.len() as u64;
            throttle.until_it_may_go(sent).await;
            let put = uplink.put(&bytes).await.map(|_acknowledged| ());
            let _the_run_may_have_ended = to.send(Note::Put(object, sent, put));
        });
    }

    /// Hashes files once more, on as many threads as there are workers.
    fn rehash(&self, files: Vec<(FilePath, Stamp)>) {
        let share = files.len().div_ceil(self.job.resources.workers.max(1)).max(1);
        for files in files.chunks(share) {
            let (folder, to, files) = (self.folder.clone(), self.to.clone(), files.to_vec());
            tokio::task::spawn_blocking(move || {
                let mut buffer = fill::rehash_buffer();
                for files in files.chunks(64) {
                    let mut hashed = |(path, stamp): &(FilePath, Stamp)| {
                        (path.clone(), *stamp, fill::rehash(&folder, path, *stamp, &mut buffer))
                    };
                    if to.send(Note::Rehashed(files.iter().map(&mut hashed).collect())).is_err() {
                        return;
                    }
                }
            });
        }
    }

    fn hear(&mut self, note: Note) -> Result<(), BrokerError> {
        let now_ms = self.now_ms();
        match note {
            Note::Scanned(Ok(seen)) => self.machine.take(now_ms, Message::Scanned(seen)),
            Note::Scanned(Err(error @ ScanError::Name { .. })) => return Err(error.into()),
            Note::Scanned(Err(error)) => {
                self.tally.troubles += 1;
                (self.job.report)(Event::Trouble(error.to_string()));
                self.machine.take(now_ms, Message::NotScanned);
            }
            Note::Filled(Filled::Read { path, attempt, reading }) => {
                self.machine.take(now_ms, Message::Read { path, attempt, reading });
            }
            Note::Filled(Filled::Pack(object, plain, pieces)) => self.seal(object, plain, pieces),
            Note::Filled(Filled::NoRandomness) => {
                return Err(BrokerError::Dataset(seal::NoRandomness.into()));
            }
            Note::Sealed(sealed, pieces) => {
                let (fact, bytes) = sealed?;
                self.waiting.insert(bytes.object, bytes);
                self.machine.take(now_ms, Message::Sealed { fact, pieces });
            }
            Note::Put(object, bytes, Ok(())) => {
                self.sent_bytes += bytes;
                self.waiting.remove(&object);
                self.machine.take(now_ms, Message::Acknowledged(object));
            }
            Note::Put(object, bytes, Err(UplinkError::Away(why))) => {
                self.sent_bytes += bytes;
                self.tally.troubles += 1;
                (self.job.report)(Event::Trouble(why));
                self.machine.take(now_ms, Message::NotSent(object));
            }
            Note::Put(_, _, Err(error)) => return Err(error.into()),
            Note::Rehashed(files) => {
                for (path, stamp, reading) in files {
                    self.machine.take(now_ms, Message::Rehashed { path, reading, stamp });
                }
            }
        }
        Ok(())
    }

    /// Tells how far the run is, five times a second at most.
    fn tell(&mut self) {
        let now = Instant::now();
        if self.told_at.is_none_or(|at| now.duration_since(at) >= Duration::from_millis(200)) {
            self.told_at = Some(now);
            let standing = self.machine.standing();
            self.tally.write(self.job.state.folder(), &standing, self.sent_bytes);
            if let Some(progress) = self.tally.for_hub(&standing, self.sent_bytes) {
                let uplink = Arc::clone(&self.job.uplink);
                // Beside the work, and not again: what it says is old by then.
                tokio::spawn(async move {
                    if let Err(error) = uplink.progress(&progress).await {
                        tracing::debug!(%error, "the hub was not told how far the run is");
                    }
                });
            }
            (self.job.report)(Event::Progress(standing));
        }
    }

    /// Seals and sends the index, signs the manifest and hands it in. `None` if the run goes on instead.
    async fn close(&mut self) -> Result<Option<Outcome>, BrokerError> {
        (self.job.report)(Event::Progress(self.machine.standing()));
        if let Some(to) = self.job.keep.clone() {
            keep(&self.folder, to).await?;
        }
        let signed = self.signed(false).await?;
        self.job.state.set_manifest(Some(signed.clone()))?;
        let put = PutManifest { manifest: signed, reads: None };
        match self.hand_in(&put).await? {
            None => {
                self.machine.take(self.now_ms(), Message::Closed);
                self.done(&put).map(Some)
            }
            Some(why) => {
                self.job.state.set_manifest(None)?;
                self.reconcile(why).await?;
                Ok(None)
            }
        }
    }

    /// Tells the hub what is whole so far, so that demultiplexing can begin. That is of use and never needed: where the hub
    /// does not take it, the run goes on and is closed as any other.
    async fn tell_so_far(&mut self) -> Result<(), BrokerError> {
        let signed = self.signed(true).await?;
        let put = PutManifest { manifest: signed, reads: None };
        let demultiplex = self.job.state.demultiplex();
        let told = match persist(&self.job, || self.job.uplink.so_far(&put, demultiplex)).await {
            Ok(()) => {
                let number = self.before.map_or(0, |before| before.number) + 1;
                self.before = Some(Before { number, digest: digest_of(&put.manifest) });
                Message::ToldSoFar
            }
            Err(error @ UplinkError::Rights { .. }) => return Err(error.into()),
            // An object whose acknowledgement was lost: it is sent again, and then both sides know of it.
            Err(UplinkError::Mismatch(_)) if self.not_told < MOST_NOT_TOLD => {
                self.not_told += 1;
                Message::NotToldSoFar
            }
            Err(error) => {
                (self.job.report)(Event::Trouble(error.to_string()));
                Message::ToldSoFar
            }
        };
        self.machine.take(self.now_ms(), told);
        Ok(())
    }

    /// The next manifest, of all that there is or of what is whole so far. Its index is sealed and sent while it is written, and lies at
    /// the hub then.
    async fn signed(&mut self, so_far: bool) -> Result<SignedStatement, BrokerError> {
        let at = jiff::Timestamp::now();
        let number = self.before.map_or(0, |before| before.number) + 1;
        let previous = self.before.map(|before| before.digest);
        let (open, objects) = (Arc::clone(&self.open), self.machine.objects());
        let mut index = IndexSealer::new(&open, self.machine.listed(so_far));
        let mut facts = Vec::new();
        for file in self.machine.listed(so_far) {
            for part in index.add(&file)? {
                facts.push(put_index(&self.job, &mut self.journal, &open, part).await?);
            }
        }
        let (rest, listed) = index.end()?;
        for part in rest {
            facts.push(put_index(&self.job, &mut self.journal, &open, part).await?);
        }
        self.sent_bytes += facts.iter().map(|fact| fact.sealed_bytes).sum::<u64>();
        self.machine.take(self.now_ms(), Message::Adopted(facts));
        let hub = self.job.state.hub();
        let manifest = listed.manifest(&open, hub, objects, number, previous, at);
        Ok(sign_statement(&manifest, &self.job.signer))
    }

    /// Hands in a manifest: `None` if the hub has it now, else why it wants the contents compared again.
    async fn hand_in(&self, put: &PutManifest) -> Result<Option<String>, BrokerError> {
        let demultiplex = self.job.state.demultiplex();
        match persist(&self.job, || self.job.uplink.close(put, demultiplex)).await {
            Ok(()) => Ok(None),
            Err(UplinkError::Mismatch(why)) => Ok(Some(why)),
            Err(error @ UplinkError::Conflict { .. }) => {
                // Perhaps taken already, by a call whose answer we never heard.
                let taken = persist(&self.job, || self.job.uplink.manifest()).await;
                if taken.is_ok_and(|taken| taken.as_ref() == Some(&put.manifest)) {
                    Ok(None)
                } else {
                    Err(error.into())
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    fn done(&mut self, put: &PutManifest) -> Result<Outcome, BrokerError> {
        self.job.state.set_done()?;
        let manifest = digest_of(&put.manifest);
        (self.job.report)(Event::Closed(manifest));
        Ok(Outcome::Closed { manifest, sent_bytes: self.sent_bytes })
    }

    /// Compares what the hub holds with what we believe: what it has lost is sent anew, what only it knows is counted.
    async fn reconcile(&mut self, why: String) -> Result<(), BrokerError> {
        let held = persist(&self.job, || self.job.uplink.held()).await?;
        let held: HashMap<_, _> = held.into_iter().map(|object| (object.object, object)).collect();
        let lost: Vec<_> = self
            .machine
            .believed()
            .filter(|(fact, acknowledged)| {
                *acknowledged
                    && held.get(&fact.object).is_none_or(|object| object.hash != fact.hash)
            })
            .map(|(fact, _)| fact.object)
            .collect();
        let known: HashSet<_> = self.machine.believed().map(|(fact, _)| fact.object).collect();
        let adopted: Vec<_> = held
            .values()
            .filter(|object| !known.contains(&object.object))
            .map(|object| SealedFact {
                object: object.object,
                hash: object.hash,
                // No file lies in it, so nothing will ever ask for it.
                commitment: Digest([0; 32]),
                sealed_bytes: object.sealed_bytes,
            })
            .collect();
        if lost.is_empty() && adopted.is_empty() {
            return Err(BrokerError::Disagree(why));
        }
        (self.job.report)(Event::Reconciled { lost: lost.len(), adopted: adopted.len() });
        let now_ms = self.now_ms();
        self.machine.take(now_ms, Message::Lost(lost));
        self.machine.take(now_ms, Message::Adopted(adopted));
        self.machine.take(now_ms, Message::NotClosed);
        Ok(())
    }
}

/// Sends a part of an index; written down before and after, like every object.
async fn put_index(
    job: &Job,
    journal: &mut Journal<Record>,
    open: &OpenDataset,
    part: SealedPart,
) -> Result<SealedFact, BrokerError> {
    let fact = SealedFact::from(&part);
    let SealedFact { object, hash, commitment, sealed_bytes } = fact;
    let record = Record::Sealed { object, hash, commitment, sealed_bytes };
    journal.append(open.key(), &[record])?;
    let bytes = octets(part, open.epoch());
    persist(job, || job.uplink.put(&bytes)).await?;
    journal.append(open.key(), &[Record::Acknowledged { object }])?;
    Ok(fact)
}

async fn keep(folder: &Path, to: PathBuf) -> Result<(), BrokerError> {
    let folder = folder.to_owned();
    tokio::task::spawn_blocking(move || keep_verified(&folder, &to))
        .await
        .map_err(|_| BrokerError::Thread("copying thread"))??;
    Ok(())
}

fn octets(part: SealedPart, epoch: u32) -> ObjectBytes {
    ObjectBytes {
        object: part.object,
        hash: part.hash,
        wrapped_key: part.wrapped_key.to_vec(),
        epoch,
        sealed: part.sealed.into(),
    }
}
