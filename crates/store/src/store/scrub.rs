//! The scrubber: what nobody has asked for is looked at too.
//!
//! It goes through the 256 shards in order, and in each compares what the facilities list with one another and every copy
//! with its name. A copy that is missing, corrupt or misplaced is healed from a good one; a copy of something erased is
//! taken away; what is no blob is set aside. It can be paced, it can stop after so many bytes and go on later from a
//! cursor, and it says what it found (`spec/store.md` section 5).

use std::{
    collections::BTreeMap,
    fmt,
    num::NonZeroU64,
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use super::{Shared, Slots, Store, StoreEvent, name_of};
use crate::{
    blob::{BlobHash, BlobHashError},
    facility::{FacilityError, FacilityId, Listing},
    held,
};

/// How many findings one report names; all are counted.
const FINDINGS_NAMED: usize = 1_000;

/// Where a scrub goes on. Opaque text to whoever keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScrubCursor {
    /// The last name that was looked at; nothing at the beginning.
    after: Option<BlobHash>,
}

impl fmt::Display for ScrubCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.after.map_or(Ok(()), |hash| hash.fmt(f))
    }
}

impl FromStr for ScrubCursor {
    type Err = BlobHashError;

    fn from_str(text: &str) -> Result<Self, BlobHashError> {
        let after = if text.is_empty() { None } else { Some(text.parse()?) };
        Ok(Self { after })
    }
}

impl Serialize for ScrubCursor {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ScrubCursor {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// How a scrub is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScrubOptions {
    /// Where to go on; the default is the beginning.
    pub from: ScrubCursor,
    /// Whether every copy is read and verified. Without, only lists are compared, and copies whose sizes differ are read:
    /// quick enough for every start.
    pub read: bool,
    /// Stop after about this many bytes were read, and say where to go on.
    pub stop_after_bytes: Option<NonZeroU64>,
    /// Read no faster than this on average.
    pub bytes_per_second: Option<NonZeroU64>,
}

impl Default for ScrubOptions {
    fn default() -> Self {
        Self {
            from: ScrubCursor::default(),
            read: true,
            stop_after_bytes: None,
            bytes_per_second: None,
        }
    }
}

/// What was wrong with a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// Another facility has the blob, this one does not.
    Missing,
    /// The copy is not what its name says.
    Corrupt,
    /// A whole copy lay under another path than its own.
    Misplaced,
    /// Something that is no blob lay among them.
    Foreign,
    /// A copy of a blob that is erased.
    Erased,
    /// The copy is there and could not be read.
    Unreadable,
    /// All facilities answer, and none has a whole copy.
    Lost,
}

/// One thing that was wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What.
    pub kind: FindingKind,
    /// In which facility.
    pub facility: FacilityId,
    /// Of which blob, where it has a name.
    pub hash: Option<BlobHash>,
    /// Whether it was put right.
    pub healed: bool,
}

/// What a scrub did and found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScrubReport {
    /// Blobs that were looked at.
    pub blobs: u64,
    /// Bytes that were read and verified, all copies together.
    pub read_bytes: u64,
    /// How many findings of each kind.
    pub counts: BTreeMap<FindingKind, u64>,
    /// How many of all findings were put right.
    pub healed: u64,
    /// The findings, the first thousand of them.
    pub findings: Vec<Finding>,
    /// Facilities that could not be listed; nothing is said about their copies.
    pub away: Vec<FacilityId>,
    /// Where to go on; nothing once everything was looked at.
    pub next: Option<ScrubCursor>,
}

impl ScrubReport {
    /// Whether everything that was looked at was, or now is, as it should be.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.away.is_empty() && self.healed == self.counts.values().sum::<u64>()
    }

    fn note(
        &mut self,
        kind: FindingKind,
        facility: FacilityId,
        hash: Option<BlobHash>,
        healed: bool,
    ) {
        *self.counts.entry(kind).or_default() += 1;
        self.healed += u64::from(healed);
        if self.findings.len() < FINDINGS_NAMED {
            self.findings.push(Finding { kind, facility, hash, healed });
        }
    }

    fn is_away(&mut self, facility: FacilityId) {
        if !self.away.contains(&facility) {
            self.away.push(facility);
        }
    }
}

/// One copy as a facility lists it.
#[derive(Clone, Copy)]
struct Copy {
    slot: usize,
    bytes: u64,
}

/// One blob as the facilities list it.
#[derive(Clone, Copy)]
struct Looked<'a> {
    hash: BlobHash,
    copies: &'a [Copy],
    /// The facilities that were listed.
    present: &'a [usize],
}

impl Store {
    /// Looks at every blob in every facility from the cursor on, heals what can be healed, and reports.
    ///
    /// It may run beside puts, reads and erasures. Dropping it stops it between two acts; nothing is left half done.
    pub async fn scrub(&self, options: ScrubOptions) -> ScrubReport {
        let shared = &self.shared;
        let mut report = ScrubReport {
            blobs: 0,
            read_bytes: 0,
            counts: BTreeMap::new(),
            healed: 0,
            findings: Vec::new(),
            away: Vec::new(),
            next: None,
        };
        shared.spread_erasures().await;
        let slots = shared.slots();
        let began = Instant::now();
        let mut last = options.from.after;
        for shard in last.map_or(0, |hash| hash.shard())..=u8::MAX {
            let listings = shared.list(&slots, shard, &mut report).await;
            for (index, listing) in &listings {
                shared.scrub_strays(&slots, *index, listing, &mut report).await;
            }
            for (hash, copies) in copies(&listings) {
                if last.is_some_and(|last| hash <= last) {
                    continue;
                }
                let present: Vec<usize> = listings.iter().map(|(index, _)| *index).collect();
                let blob = Looked { hash, copies: &copies, present: &present };
                shared.scrub_blob(&slots, blob, options.read, &mut report).await;
                report.blobs += 1;
                last = Some(hash);
                if options.stop_after_bytes.is_some_and(|stop| report.read_bytes >= stop.get()) {
                    report.next = Some(ScrubCursor { after: last });
                    return report;
                }
                if let Some(rate) = options.bytes_per_second {
                    pace(began, report.read_bytes, rate).await;
                }
            }
        }
        report
    }
}

/// Sleeps until reading so much since then is no faster than the rate.
async fn pace(began: Instant, bytes: u64, rate: NonZeroU64) {
    let micros = u128::from(bytes) * 1_000_000 / u128::from(rate.get());
    let due = Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
    if let Some(wait) = due.checked_sub(began.elapsed()) {
        tokio::time::sleep(wait).await;
    }
}

/// Which facilities list which blobs, in the order of names.
fn copies(listings: &[(usize, Listing)]) -> BTreeMap<BlobHash, Vec<Copy>> {
    let mut copies: BTreeMap<BlobHash, Vec<Copy>> = BTreeMap::new();
    for (slot, listing) in listings {
        for blob in &listing.blobs {
            copies.entry(blob.hash).or_default().push(Copy { slot: *slot, bytes: blob.bytes });
        }
    }
    copies
}

impl Shared {
    /// The shard in every facility that answers.
    async fn list(
        &self,
        slots: &Slots,
        shard: u8,
        report: &mut ScrubReport,
    ) -> Vec<(usize, Listing)> {
        let listed = join_all(slots.iter().map(|slot| slot.facility.list(shard))).await;
        let mut listings = Vec::with_capacity(listed.len());
        for (index, listing) in listed.into_iter().enumerate() {
            match listing {
                Ok(listing) => listings.push((index, listing)),
                Err(error) => {
                    let facility = slots[index].facility.id();
                    tracing::warn!(%facility, %error, "a facility cannot be listed");
                    report.is_away(facility);
                }
            }
        }
        listings
    }

    /// What lies among the blobs and is none: a whole blob goes to its place, the rest is set aside.
    async fn scrub_strays(
        &self,
        slots: &Slots,
        index: usize,
        listing: &Listing,
        report: &mut ScrubReport,
    ) {
        let facility = &slots[index].facility;
        for stray in &listing.strays {
            let mut kind = FindingKind::Foreign;
            let outcome = async {
                if let Some(hash) = stray.hash
                    && !held(&self.erased).contains(&hash)
                    && let Some(bytes) = facility.read_stray(stray).await?
                    && name_of(&bytes).await == hash
                {
                    kind = FindingKind::Misplaced;
                    facility.put(hash, bytes).await?;
                }
                facility.quarantine_stray(stray).await
            };
            let outcome = outcome.await;
            if let Err(error) = &outcome {
                tracing::warn!(facility = %facility.id(), path = stray.path, %error, "a stray stays where it is");
            }
            report.note(kind, facility.id(), stray.hash, outcome.is_ok());
        }
    }

    async fn scrub_blob(
        self: &Arc<Self>,
        slots: &Slots,
        blob: Looked<'_>,
        read: bool,
        report: &mut ScrubReport,
    ) {
        let Looked { hash, copies, present } = blob;
        if held(&self.erased).contains(&hash) {
            // Erasing again takes away what a facility should no longer have.
            for copy in copies {
                let facility = &slots[copy.slot].facility;
                let healed = facility.erase(&[hash]).await.is_ok();
                report.note(FindingKind::Erased, facility.id(), Some(hash), healed);
            }
            return;
        }
        let mut lacking = Vec::new();
        for &slot in present {
            let is_listed = copies.iter().any(|copy| copy.slot == slot);
            if !is_listed && !slots[slot].is_draining() && self.lacks(slots, slot, hash).await {
                lacking.push(slot);
            }
        }
        let sizes_differ = copies.windows(2).any(|pair| pair[0].bytes != pair[1].bytes);
        if !read && !sizes_differ && lacking.is_empty() {
            return;
        }
        let (mut good, mut bad, mut gone) = (None, Vec::new(), 0);
        for copy in copies {
            let facility = &slots[copy.slot].facility;
            match facility.get(&hash).await {
                Ok(Some(bytes)) => {
                    report.read_bytes += bytes.len() as u64;
                    if name_of(&bytes).await == hash {
                        good = Some(bytes);
                        // To fill a gap one good copy is enough.
                        if !read && !sizes_differ {
                            break;
                        }
                    } else {
                        self.tell(StoreEvent::Corrupt { facility: facility.id(), hash });
                        bad.push((copy.slot, FindingKind::Corrupt));
                    }
                }
                // Erased or set aside since it was listed.
                Ok(None) => gone += 1,
                Err(error @ FacilityError::Io { .. }) => {
                    tracing::warn!(facility = %facility.id(), %hash, %error, "a copy cannot be read");
                    bad.push((copy.slot, FindingKind::Unreadable));
                }
                Err(error) => {
                    tracing::warn!(facility = %facility.id(), %error, "a facility went away");
                    report.is_away(facility.id());
                }
            }
        }
        if held(&self.erased).contains(&hash) || gone == copies.len() {
            return;
        }
        if good.is_none() {
            // Perhaps in a facility whose list was late; a lost blob is too grave a word for a race.
            good = self.find(slots, hash).await.good;
        }
        let Some(good) = good else {
            // Where a facility is away, a whole copy may be away with it.
            let is_lost = !bad.is_empty() && report.away.is_empty();
            if is_lost {
                self.tell(StoreEvent::Lost { hash });
            }
            for (slot, kind) in bad {
                let kind = if is_lost { FindingKind::Lost } else { kind };
                report.note(kind, slots[slot].facility.id(), Some(hash), false);
            }
            return;
        };
        for (slot, kind) in bad {
            let healed = self.heal(slots, hash, &good, &[slot], &[]).await == 1;
            report.note(kind, slots[slot].facility.id(), Some(hash), healed);
        }
        for slot in lacking {
            let healed = self.heal(slots, hash, &good, &[], &[slot]).await == 1;
            report.note(FindingKind::Missing, slots[slot].facility.id(), Some(hash), healed);
        }
    }

    /// Whether a facility lacks a blob now, and no put is about to bring it.
    async fn lacks(&self, slots: &Slots, slot: usize, hash: BlobHash) -> bool {
        // In this order: a put that ends between the two looks is seen by the second.
        !held(&self.in_flight).contains_key(&hash)
            && matches!(slots[slot].facility.contains(&hash).await, Ok(false))
    }
}
