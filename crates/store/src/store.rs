//! N facilities as one store.
//!
//! A put is acknowledged once W facilities hold the blob *and have synced it*; the others go on in the background and are
//! known to be behind until they have it. Every read is verified against the name; a copy that fails is served from
//! another facility and written anew. An erasure is final: it is remembered in every facility, and one that was away is
//! told when it comes back (`spec/store.md` section 4).

mod change;
mod recent;
mod scrub;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, future::join_all, stream::FuturesUnordered};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::task::TaskTracker;

use crate::{
    blob::{BlobHash, MAX_BLOB_BYTES},
    blocking,
    facility::{Facility, FacilityError, FacilityId, FacilityState, FacilityStatus},
    held,
};
pub use change::{Drained, Held};
use recent::Recent;
pub use scrub::{Finding, FindingKind, ScrubCursor, ScrubOptions, ScrubReport};

/// Blobs below this size are hashed where they are; larger ones on a thread for blocking work.
const HASHED_IN_PLACE_BYTES: usize = 64 * 1024;

/// For how long a facility that failed or was slow is asked last.
const DOUBTED_FOR: Duration = Duration::from_secs(10);

/// Why the store did not do what it was told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Every facility was there, and none has it.
    #[error("there is no blob {hash}")]
    NotFound {
        /// The blob.
        hash: BlobHash,
    },
    /// It was erased, for ever.
    #[error("blob {hash} was erased")]
    Erased {
        /// The blob.
        hash: BlobHash,
    },
    /// Copies exist, and none is what its name says.
    #[error("no copy of blob {hash} is whole")]
    Damaged {
        /// The blob.
        hash: BlobHash,
    },
    /// No facility that answered has it, and not all answered.
    #[error("blob {hash} is not in the facilities that answer, and {away} does not")]
    Unavailable {
        /// The blob.
        hash: BlobHash,
        /// A facility that did not answer.
        away: FacilityId,
        /// What it said.
        source: FacilityError,
    },
    /// Too few facilities have synced it. It may exist in some; nobody may rely on it.
    #[error("blob {hash} was synced by {synced} facilities where {needed} are needed")]
    TooFewSynced {
        /// The blob.
        hash: BlobHash,
        /// How many have synced it.
        synced: usize,
        /// How many must.
        needed: usize,
        /// What one of the others said.
        source: FacilityError,
    },
    /// No facility could be told to erase.
    #[error("no facility took the erasure")]
    NotErased {
        /// What one of them said.
        source: FacilityError,
    },
    /// A facility that was to be drained does not answer, so nobody knows what only it holds.
    #[error("facility {facility} was not drained: it does not answer")]
    NotDrained {
        /// The facility.
        facility: FacilityId,
        /// What it said.
        source: FacilityError,
    },
    /// The bytes are not what the name says.
    #[error("the bytes sent as blob {hash} are not that blob")]
    NotThatBlob {
        /// The name that came with them.
        hash: BlobHash,
    },
    /// More than one blob may hold.
    #[error("a blob of {bytes} bytes is larger than the {MAX_BLOB_BYTES} a blob may have")]
    TooLarge {
        /// The size that was offered.
        bytes: usize,
    },
    /// A range that is not within the blob.
    #[error("blob {hash} has {bytes} bytes, and {start}..{end} is not within them")]
    OutOfRange {
        /// The blob.
        hash: BlobHash,
        /// Its size.
        bytes: u64,
        /// The range's start.
        start: u64,
        /// The range's end.
        end: u64,
    },
    /// The facilities do not make a store.
    #[error("these facilities do not make a store: {why}")]
    Facilities {
        /// What is wrong with them.
        why: String,
    },
}

/// What happens in a store that a person may want to see.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreEvent {
    /// A copy was not what its name says.
    Corrupt {
        /// Where.
        facility: FacilityId,
        /// Which blob.
        hash: BlobHash,
    },
    /// A copy that was bad or lacking was written anew from a good one.
    Healed {
        /// Where.
        facility: FacilityId,
        /// Which blob.
        hash: BlobHash,
    },
    /// A copy could not be written; the facility is behind.
    Behind {
        /// Where.
        facility: FacilityId,
        /// Which blob.
        hash: BlobHash,
        /// What the facility said.
        why: String,
    },
    /// No whole copy of a blob was found in any facility.
    Lost {
        /// Which blob.
        hash: BlobHash,
    },
    /// A facility that was behind has everything again that it was known to lack.
    CaughtUp {
        /// Where.
        facility: FacilityId,
        /// How many blobs it was given.
        blobs: u64,
    },
    /// A facility came back holding blobs that had been erased meanwhile; they were taken away.
    ErasedLate {
        /// Where.
        facility: FacilityId,
        /// How many names it was told.
        blobs: u64,
    },
}

/// Called with every event, on the task where it happens; it must not block.
pub type OnEvent = Arc<dyn Fn(&StoreEvent) + Send + Sync>;

/// How a store is to be.
#[derive(Clone)]
pub struct StoreOptions {
    /// How many facilities must have synced a blob before a put returns. By default all of one or two, a majority of more.
    pub write_quorum: Option<usize>,
    /// How many bytes of recently verified blobs are kept in memory, so that ranges of one blob read it once.
    pub recent_bytes: usize,
    /// How long a read waits for one facility before it asks the next one as well.
    pub hedge_after: Duration,
    /// Called with every event.
    pub on_event: Option<OnEvent>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            write_quorum: None,
            recent_bytes: 64 * 1024 * 1024,
            hedge_after: Duration::from_millis(300),
            on_event: None,
        }
    }
}

/// Where an erasure has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// Facilities from which the blobs are gone.
    pub gone_from: Vec<FacilityId>,
    /// Facilities that did not answer; they are told when they come back.
    pub waiting_for: Vec<FacilityId>,
}

/// What catching up did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CaughtUp {
    /// Copies that were written.
    pub written: u64,
    /// Copies that facilities are still known to lack.
    pub behind: u64,
}

/// N facilities as one store. Cloning gives another handle on the same store.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

/// The facilities as they are at one moment. They change as a whole, so whoever works on them keeps what it began with.
type Slots = Arc<Vec<Arc<Slot>>>;

struct Shared {
    slots: Mutex<Slots>,
    /// As it was asked for.
    write_quorum: Option<usize>,
    hedge_after: Duration,
    on_event: Option<OnEvent>,
    /// Every name known to be erased, from all facilities that ever answered.
    erased: Mutex<HashSet<BlobHash>>,
    recent: Mutex<Recent>,
    /// Blobs being put right now, with how many puts: the scrubber does not call those missing.
    in_flight: Mutex<HashMap<BlobHash, usize>>,
    /// Blobs that a sweep is about to take away. Locked after `in_flight`.
    swept: Mutex<HashSet<BlobHash>>,
    background: TaskTracker,
}

/// A facility and what the store knows about it.
struct Slot {
    facility: Arc<dyn Facility>,
    /// Blobs that others have synced and this one lacks.
    behind: Mutex<BTreeSet<BlobHash>>,
    /// Nothing new goes there.
    is_draining: AtomicBool,
    /// When it last failed a read, or was overtaken by another.
    doubted: Mutex<Option<Instant>>,
}

impl Slot {
    fn new(facility: Arc<dyn Facility>) -> Arc<Self> {
        Arc::new(Self {
            facility,
            behind: Mutex::default(),
            is_draining: AtomicBool::new(false),
            doubted: Mutex::default(),
        })
    }

    fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::SeqCst)
    }

    fn doubt(&self) {
        *held(&self.doubted) = Some(Instant::now());
    }

    fn is_doubted(&self) -> bool {
        held(&self.doubted).is_some_and(|at| at.elapsed() < DOUBTED_FOR)
    }
}

/// Of so many facilities, how many must have synced a blob by default: all of one or two, a majority of more.
const fn majority(count: usize) -> usize {
    if count <= 2 { count } else { count / 2 + 1 }
}

impl Store {
    /// Opens a store over these facilities, and makes them agree on what is erased as far as they answer.
    ///
    /// # Errors
    /// [`StoreError::Facilities`] if there is none, one is named twice, or the quorum cannot be met.
    pub async fn open(
        facilities: Vec<Arc<dyn Facility>>,
        options: StoreOptions,
    ) -> Result<Self, StoreError> {
        let refused = |why: String| Err(StoreError::Facilities { why });
        let count = facilities.len();
        let ids: HashSet<_> = facilities.iter().map(|facility| facility.id()).collect();
        if count == 0 {
            return refused("there is none".into());
        }
        if ids.len() < count {
            return refused("the same one is named twice".into());
        }
        let write_quorum = options.write_quorum.unwrap_or_else(|| majority(count));
        if write_quorum == 0 || write_quorum > count {
            return refused(format!("{write_quorum} of {count} cannot sync a blob"));
        }
        let slots = facilities.into_iter().map(Slot::new).collect();
        let store = Self {
            shared: Arc::new(Shared {
                slots: Mutex::new(Arc::new(slots)),
                write_quorum: options.write_quorum,
                hedge_after: options.hedge_after,
                on_event: options.on_event,
                erased: Mutex::default(),
                recent: Mutex::new(Recent::new(options.recent_bytes)),
                in_flight: Mutex::default(),
                swept: Mutex::default(),
                background: TaskTracker::new(),
            }),
        };
        store.shared.spread_erasures().await;
        Ok(store)
    }

    /// How many facilities must have synced a blob before a put returns.
    #[must_use]
    pub fn write_quorum(&self) -> usize {
        self.shared.quorum(&self.shared.slots())
    }

    /// Keeps a blob and returns its name once enough facilities have synced it. Putting the same bytes again is harmless.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`], [`StoreError::Erased`], or [`StoreError::TooFewSynced`].
    pub async fn put(&self, bytes: Bytes) -> Result<BlobHash, StoreError> {
        let hash = name_of(&bytes).await;
        self.put_verified(hash, bytes).await?;
        Ok(hash)
    }

    /// As [`put`](Self::put), for a caller who has computed the name from these very bytes. A wrong name is noticed only
    /// when the blob is read, so this is not for names that came from somebody else: that is [`put_named`](Self::put_named).
    ///
    /// # Errors
    /// As for [`put`](Self::put).
    pub async fn put_verified(&self, hash: BlobHash, bytes: Bytes) -> Result<(), StoreError> {
        let shared = &self.shared;
        if bytes.len() > MAX_BLOB_BYTES {
            return Err(StoreError::TooLarge { bytes: bytes.len() });
        }
        if held(&shared.erased).contains(&hash) {
            return Err(StoreError::Erased { hash });
        }
        // No sweep takes away what is being put, and none that takes it away is overtaken.
        let _held = self.hold(hash).await;
        // A task per facility, which the caller's going away does not stop: half of a put is worth finishing.
        let (report, mut reports) = mpsc::unbounded_channel();
        let slots = shared.slots();
        let quorum = shared.quorum(&slots);
        for slot in slots.iter().filter(|slot| !slot.is_draining()) {
            let (shared, bytes, report) = (Arc::clone(shared), bytes.clone(), report.clone());
            let (slot, in_flight) = (Arc::clone(slot), InFlight::new(Arc::clone(&shared), hash));
            self.shared.background.spawn(async move {
                let outcome = slot.facility.put(hash, bytes).await;
                match &outcome {
                    Ok(()) => {
                        held(&slot.behind).remove(&hash);
                    }
                    Err(FacilityError::Erased { .. }) => {}
                    Err(error) => shared.fell_behind(&slot, hash, error),
                }
                drop(in_flight);
                // The caller may have heard enough and left.
                report.send(outcome).ok();
            });
        }
        drop(report);
        let (mut synced, mut refusal) = (0, None);
        while let Some(outcome) = reports.recv().await {
            match outcome {
                Ok(()) => synced += 1,
                Err(FacilityError::Erased { .. }) => return Err(StoreError::Erased { hash }),
                Err(error) => refusal = Some(error),
            }
            if synced == quorum {
                return Ok(());
            }
        }
        let id = slots[0].facility.id();
        let source = refusal.unwrap_or(FacilityError::Closed { facility: id });
        Err(StoreError::TooFewSynced { hash, synced, needed: quorum, source })
    }

    /// As [`put`](Self::put), for bytes that came with a name: refused unless the name is theirs.
    ///
    /// # Errors
    /// [`StoreError::NotThatBlob`], and as for [`put`](Self::put).
    pub async fn put_named(&self, hash: BlobHash, bytes: Bytes) -> Result<(), StoreError> {
        if bytes.len() <= MAX_BLOB_BYTES && name_of(&bytes).await != hash {
            return Err(StoreError::NotThatBlob { hash });
        }
        self.put_verified(hash, bytes).await
    }

    /// The blob of this name, verified. A bad or lacking copy met on the way is healed from the good one.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Erased`], [`StoreError::Damaged`] or [`StoreError::Unavailable`].
    pub async fn get(&self, hash: &BlobHash) -> Result<Bytes, StoreError> {
        let shared = &self.shared;
        let hash = *hash;
        if held(&shared.erased).contains(&hash) {
            return Err(StoreError::Erased { hash });
        }
        if let Some(bytes) = held(&shared.recent).find(&hash) {
            return Ok(bytes);
        }
        let slots = shared.slots();
        let found = shared.find(&slots, hash).await;
        match found.good {
            Some(bytes) => {
                // A put that is still under way brings the copy itself.
                let coming = held(&shared.in_flight).contains_key(&hash);
                let lacking = if coming { &[][..] } else { &found.lacking };
                shared.heal(&slots, hash, &bytes, &found.bad, lacking).await;
                // An erasure during the read wins.
                if held(&shared.erased).contains(&hash) {
                    return Err(StoreError::Erased { hash });
                }
                held(&shared.recent).keep(hash, bytes.clone());
                Ok(bytes)
            }
            None => Err(match found.away {
                Some((away, source)) => StoreError::Unavailable { hash, away, source },
                None if found.bad.is_empty() => StoreError::NotFound { hash },
                None => {
                    shared.tell(StoreEvent::Lost { hash });
                    StoreError::Damaged { hash }
                }
            }),
        }
    }

    /// Part of a blob. The whole blob is read and verified first, or was recently: no byte of an unverified one is given.
    ///
    /// # Errors
    /// [`StoreError::OutOfRange`], and as for [`get`](Self::get).
    pub async fn get_range(&self, hash: &BlobHash, range: Range<u64>) -> Result<Bytes, StoreError> {
        let bytes = self.get(hash).await?;
        let within = usize::try_from(range.start)
            .ok()
            .zip(usize::try_from(range.end).ok())
            .filter(|(start, end)| start <= end && *end <= bytes.len());
        match within {
            Some((start, end)) => Ok(bytes.slice(start..end)),
            None => Err(StoreError::OutOfRange {
                hash: *hash,
                bytes: bytes.len() as u64,
                start: range.start,
                end: range.end,
            }),
        }
    }

    /// Which of these blobs the store has, in the order asked: at least one facility holds a copy, unverified.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if a facility does not answer and the others do not have it.
    pub async fn contains_many(&self, hashes: &[BlobHash]) -> Result<Vec<bool>, StoreError> {
        let shared = &self.shared;
        let mut answers = Vec::with_capacity(hashes.len());
        for asked in hashes.chunks(64) {
            let found = join_all(asked.iter().map(|hash| shared.contains(*hash))).await;
            for answer in found {
                answers.push(answer?);
            }
        }
        Ok(answers)
    }

    /// Which of these names are known to be erased, in the order asked, by every facility that ever answered.
    #[must_use]
    pub fn is_erased(&self, hashes: &[BlobHash]) -> Vec<bool> {
        let erased = held(&self.shared.erased);
        hashes.iter().map(|hash| erased.contains(hash)).collect()
    }

    /// Makes all facilities agree on what is erased, and says whether every one of them answered.
    pub async fn agree_on_erasures(&self) -> bool {
        self.shared.spread_erasures().await;
        let slots = self.shared.slots();
        let told = join_all(slots.iter().map(|slot| slot.facility.erased_count())).await;
        told.iter().all(Result::is_ok)
    }

    /// Erases blobs for ever. Returns once every facility that answers has remembered it durably and taken them away;
    /// those that are away are named, and are told when they come back.
    ///
    /// # Errors
    /// [`StoreError::NotErased`] if no facility answers.
    pub async fn erase(&self, hashes: &[BlobHash]) -> Result<Erasure, StoreError> {
        let shared = &self.shared;
        // First here, so that no read begins after this and no late put is counted.
        held(&shared.erased).extend(hashes);
        {
            let mut recent = held(&shared.recent);
            hashes.iter().for_each(|hash| recent.forget(hash));
        }
        let slots = shared.slots();
        let outcomes = join_all(slots.iter().map(|slot| slot.facility.erase(hashes))).await;
        let mut erasure = Erasure { gone_from: Vec::new(), waiting_for: Vec::new() };
        let mut refusal = None;
        for (slot, outcome) in slots.iter().zip(outcomes) {
            {
                let mut behind = held(&slot.behind);
                hashes.iter().for_each(|hash| {
                    behind.remove(hash);
                });
            }
            match outcome {
                Ok(()) => erasure.gone_from.push(slot.facility.id()),
                Err(error) => {
                    tracing::warn!(facility = %slot.facility.id(), %error, "an erasure waits for this facility");
                    erasure.waiting_for.push(slot.facility.id());
                    refusal = Some(error);
                }
            }
        }
        match refusal {
            Some(source) if erasure.gone_from.is_empty() => Err(StoreError::NotErased { source }),
            _ => Ok(erasure),
        }
    }

    /// Tells facilities that came back what was erased, and gives those that are behind what they lack. Cheap when there
    /// is nothing to do, so it can run every minute. What nobody noticed is found by [`scrub`](Self::scrub).
    pub async fn catch_up(&self) -> CaughtUp {
        let shared = &self.shared;
        if !shared.agree_on_erasures().await {
            shared.spread_erasures().await;
        }
        let mut done = CaughtUp::default();
        let slots = shared.slots();
        for slot in slots.iter() {
            let lacking: Vec<BlobHash> = held(&slot.behind).iter().copied().collect();
            let mut written = 0;
            for hash in lacking {
                let found = shared.find(&slots, hash).await;
                match found.good {
                    Some(bytes) => match slot.facility.put(hash, bytes).await {
                        Ok(()) => written += 1,
                        Err(FacilityError::Erased { .. }) => {}
                        Err(error) => {
                            tracing::debug!(facility = %slot.facility.id(), %error, "still behind");
                            break;
                        }
                    },
                    // Synced nowhere, so never acknowledged: the put failed everywhere.
                    None if found.bad.is_empty() && found.away.is_none() => {}
                    None => continue,
                }
                held(&slot.behind).remove(&hash);
            }
            let behind = held(&slot.behind).len() as u64;
            if written > 0 && behind == 0 {
                let facility = slot.facility.id();
                shared.tell(StoreEvent::CaughtUp { facility, blobs: written });
            }
            done.written += written;
            done.behind += behind;
        }
        done
    }

    /// How each facility is, in the order they were given.
    pub async fn status(&self) -> Vec<FacilityStatus> {
        let slots = self.shared.slots();
        join_all(slots.iter().map(|slot| async {
            let mut status = slot.facility.status().await;
            status.behind = held(&slot.behind).len() as u64;
            if slot.is_draining() && status.state == FacilityState::Healthy {
                status.state = FacilityState::Draining;
            }
            if status.behind > 0 && status.state == FacilityState::Healthy {
                status.state = FacilityState::Behind;
                status.why = Some(format!("{} blobs are known to be lacking", status.behind));
            }
            status
        }))
        .await
    }

    /// Waits until every put that was begun has ended in every facility: for an orderly stop.
    pub async fn settle(&self) {
        self.shared.background.close();
        self.shared.background.wait().await;
        self.shared.background.reopen();
    }
}

/// What reading one blob everywhere gave.
#[derive(Default)]
struct Found {
    good: Option<Bytes>,
    /// Slots whose copy is not what its name says.
    bad: Vec<usize>,
    /// Slots that were there and have no copy.
    lacking: Vec<usize>,
    /// A facility that did not answer.
    away: Option<(FacilityId, FacilityError)>,
}

impl Shared {
    fn tell(&self, event: StoreEvent) {
        match &event {
            StoreEvent::Lost { .. } => tracing::error!(?event, "the store lost a blob"),
            StoreEvent::Corrupt { .. } | StoreEvent::Behind { .. } => {
                tracing::warn!(?event, "a facility is not as it should be");
            }
            _ => tracing::info!(?event, "the store put something right"),
        }
        if let Some(on_event) = &self.on_event {
            on_event(&event);
        }
    }

    fn fell_behind(&self, slot: &Slot, hash: BlobHash, error: &FacilityError) {
        held(&slot.behind).insert(hash);
        let facility = slot.facility.id();
        self.tell(StoreEvent::Behind { facility, hash, why: error.to_string() });
    }

    fn slots(&self) -> Slots {
        Arc::clone(&held(&self.slots))
    }

    /// How many of these facilities must have synced a blob before a put returns. Those that are being drained take none.
    fn quorum(&self, slots: &Slots) -> usize {
        let taking = slots.iter().filter(|slot| !slot.is_draining()).count();
        self.write_quorum.unwrap_or_else(|| majority(taking)).min(taking).max(1)
    }

    /// Reads facility after facility until a copy is what its name says. Those that failed or were slow a moment ago come
    /// last; one that takes long is not waited for before the next is asked too.
    async fn find(&self, slots: &Slots, hash: BlobHash) -> Found {
        let mut order: Vec<usize> = (0..slots.len()).collect();
        order.sort_by_key(|index| slots[*index].is_doubted());
        let mut order = order.into_iter();
        let read = |index: usize| {
            let slot = Arc::clone(&slots[index]);
            async move { (index, slot.facility.get(&hash).await) }
        };
        let mut asked = Vec::new();
        let mut reading: FuturesUnordered<_> = FuturesUnordered::new();
        let mut found = Found::default();
        let mut ask_next = true;
        loop {
            if std::mem::take(&mut ask_next)
                && let Some(index) = order.next()
            {
                asked.push(index);
                reading.push(read(index));
            }
            let (index, outcome) = tokio::select! {
                biased;
                done = reading.next() => match done {
                    Some(done) => done,
                    None => break,
                },
                () = tokio::time::sleep(self.hedge_after), if order.len() > 0 => {
                    ask_next = true;
                    continue;
                }
            };
            asked.retain(|other| *other != index);
            // The next is asked where this one does not help.
            ask_next = true;
            let facility = slots[index].facility.id();
            match outcome {
                Ok(Some(bytes)) if name_of(&bytes).await == hash => {
                    asked.iter().for_each(|slow| slots[*slow].doubt());
                    found.good = Some(bytes);
                    break;
                }
                Ok(Some(_)) => {
                    self.tell(StoreEvent::Corrupt { facility, hash });
                    found.bad.push(index);
                }
                Ok(None) => found.lacking.push(index),
                Err(error) => {
                    tracing::warn!(%facility, %error, "a facility did not answer a read");
                    slots[index].doubt();
                    found.away = Some((facility, error));
                }
            }
        }
        found
    }

    /// Writes a good copy where it is bad or lacking; a bad one is set aside first. Says in how many places that went well.
    async fn heal(
        &self,
        slots: &Slots,
        hash: BlobHash,
        good: &Bytes,
        bad: &[usize],
        lacking: &[usize],
    ) -> u64 {
        let mut healed = 0;
        let lacking = lacking.iter().filter(|index| !slots[**index].is_draining());
        for (&index, is_bad) in bad.iter().map(|i| (i, true)).chain(lacking.map(|i| (i, false))) {
            let slot = &slots[index];
            let facility = slot.facility.id();
            let outcome = async {
                if is_bad {
                    slot.facility.quarantine(&hash).await?;
                }
                slot.facility.put(hash, good.clone()).await
            };
            match outcome.await {
                Ok(()) => {
                    held(&slot.behind).remove(&hash);
                    self.tell(StoreEvent::Healed { facility, hash });
                    healed += 1;
                }
                Err(FacilityError::Erased { .. }) => {}
                Err(error) => self.fell_behind(slot, hash, &error),
            }
        }
        healed
    }

    async fn contains(&self, hash: BlobHash) -> Result<bool, StoreError> {
        if held(&self.erased).contains(&hash) {
            return Ok(false);
        }
        let mut away = None;
        for slot in self.slots().iter() {
            match slot.facility.contains(&hash).await {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) => away = Some((slot.facility.id(), error)),
            }
        }
        match away {
            Some((away, source)) => Err(StoreError::Unavailable { hash, away, source }),
            None => Ok(false),
        }
    }

    /// Whether every facility that answers remembers as many erasures as this store knows of. After the names themselves
    /// were compared at opening, sets only grow together, so a facility that missed some has fewer.
    async fn agree_on_erasures(&self) -> bool {
        let slots = self.slots();
        let counts = join_all(slots.iter().map(|slot| slot.facility.erased_count())).await;
        let known = held(&self.erased).len() as u64;
        counts.into_iter().flatten().all(|count| count == known)
    }

    /// Makes every facility that answers remember every erasure that any of them, or this store, knows of. Says how many
    /// facilities had to be told something.
    async fn spread_erasures(&self) -> u64 {
        let slots = self.slots();
        let known = join_all(slots.iter().map(|slot| slot.facility.erased())).await;
        let mut union = held(&self.erased).clone();
        for erased in known.iter().flatten() {
            union.extend(erased);
        }
        held(&self.erased).extend(&union);
        let mut told = 0;
        for (slot, known) in slots.iter().zip(known) {
            let Ok(known) = known else { continue };
            if known.len() == union.len() {
                continue;
            }
            let known: HashSet<BlobHash> = known.into_iter().collect();
            let news: Vec<BlobHash> = union.difference(&known).copied().collect();
            let facility = slot.facility.id();
            match slot.facility.erase(&news).await {
                Ok(()) => {
                    told += 1;
                    self.tell(StoreEvent::ErasedLate { facility, blobs: news.len() as u64 });
                }
                Err(error) => {
                    tracing::warn!(%facility, %error, "an erasure waits for this facility");
                }
            }
        }
        told
    }
}

/// Marks a blob as being put for as long as it lives.
struct InFlight {
    shared: Arc<Shared>,
    hash: BlobHash,
}

impl InFlight {
    fn new(shared: Arc<Shared>, hash: BlobHash) -> Self {
        *held(&shared.in_flight).entry(hash).or_default() += 1;
        Self { shared, hash }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut in_flight = held(&self.shared.in_flight);
        if let Some(puts) = in_flight.get_mut(&self.hash) {
            *puts -= 1;
            if *puts == 0 {
                in_flight.remove(&self.hash);
            }
        }
    }
}

/// The name of these bytes, computed off the async workers where that takes a while.
async fn name_of(bytes: &Bytes) -> BlobHash {
    if bytes.len() <= HASHED_IN_PLACE_BYTES {
        return BlobHash::of(bytes);
    }
    let bytes = bytes.clone();
    blocking(move || BlobHash::of(&bytes)).await
}

#[cfg(test)]
mod tests;
