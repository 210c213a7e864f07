//! Who is slowed and who is blocked (`spec/limits.md`): buckets and strikes of keys and addresses, in memory.
//!
//! It decides and knows neither sockets nor SQL: `serve` asks it about connections, `http::gate` about calls, and `keep`
//! carries what must last to the database, behind the calls. A key is counted only for calls that verified under it, so
//! that nobody uses up somebody else's share; everything else is counted on the address it came from.

mod bodies;
mod bucket;
mod connections;
mod keep;
mod place;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api::{AccountId, Block, BlockId, ErrorCode, KeyId, Time};
use tokio::sync::Notify;

pub(crate) use bodies::{Bodies, NoRoom, Origin, Room, Whose};
pub(crate) use connections::{Connection, Connections};
pub(crate) use keep::{flush, load, start};
pub(crate) use place::{Network, NotASubject, Place, Subject};

use crate::HubError;
use crate::error::Wait;
use bucket::{Bucket, HOLDS_SECONDS, ONE, Rate, Strikes};

/// How many addresses are remembered one by one.
const MOST_ADDRESSES: usize = 65_536;
/// In how many seconds a caller may do what its bucket holds, again and again.
pub(crate) const WINDOW_SECONDS: u32 = HOLDS_SECONDS;
/// How much more a shared address may do.
const SHARED: u32 = 10;
/// After how long without a block the ones before are forgotten, and the longest block that the hub sets itself.
const DAY_SECONDS: i64 = 24 * 3600;
/// How much longer each further block is.
const LONGER: i64 = 4;
/// How many connections a second an address that is blocked or in debt may still make, to be told or to show a known key.
const TOLD: Rate = Rate(1);
/// One part in so many of what is remembered is forgotten when there is room for no more.
const FORGET: usize = 8;
const SECOND: i64 = 1_000_000;

/// What the hub takes from a caller; `Limits::default()` is what `spec/limits.md` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Tokens a second of a key whose calls verify.
    pub key_rate: u32,
    /// Tokens a second of an address, for what does not verify.
    pub address_rate: u32,
    /// Addresses that stand for many callers: slowed later, never blocked. Loopback is always one.
    pub shared: Vec<IpAddr>,
    /// How long a first block lasts.
    pub block_seconds: u32,
    /// Connections at once.
    pub connections: usize,
    /// Connections at once from one address.
    pub connections_per_address: usize,
    /// MiB of bodies in memory at once.
    pub body_mebibytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            key_rate: 10_000,
            address_rate: 20,
            shared: Vec::new(),
            block_seconds: 60,
            connections: 1024,
            connections_per_address: 128,
            body_mebibytes: 256,
        }
    }
}

/// What counts against a caller when it is refused.
struct Rule {
    /// Seconds in which one strike wears off.
    one_in_seconds: i64,
    /// Thousandths of strikes that block.
    most: i64,
}

const ADDRESS: Rule = Rule { one_in_seconds: 6, most: 100 * ONE };
const KEY: Rule = Rule { one_in_seconds: 1, most: 300 * ONE };

/// One caller's counters.
#[derive(Debug, Clone)]
struct Counters {
    bucket: Bucket,
    strikes: Strikes,
    block: Option<InForce>,
    /// Connections that a blocked address may still make.
    told: Bucket,
}

/// A block, in force or over; one that is over makes the next longer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct InForce {
    id: BlockId,
    since: Time,
    /// Absent until somebody lifts it.
    until: Option<Time>,
    times: u32,
    reason: String,
    by: Option<AccountId>,
}

impl InForce {
    fn counts(&self, now: Time) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    fn is_forgotten(&self, now: Time) -> bool {
        self.until.is_some_and(|until| now.as_second() - until.as_second() > DAY_SECONDS)
    }

    fn shown(&self, subject: Subject) -> Block {
        Block {
            id: self.id,
            subject: subject.to_string(),
            reason: self.reason.clone(),
            by: self.by,
            since: self.since,
            until: self.until,
            times: self.times,
        }
    }
}

#[derive(Debug)]
struct State {
    callers: HashMap<Subject, Counters>,
    /// Addresses beyond those that are remembered, together.
    rest: Bucket,
    /// What `keep` has to write.
    dirty: HashSet<Subject>,
    /// Blocks of which there is no event yet.
    unsaid: Vec<(Subject, Block)>,
    swept: Time,
    /// When rows of callers that did not come back were last swept.
    rows_swept: Time,
}

/// Limits and blocks of this hub.
#[derive(Debug)]
pub(crate) struct Gate {
    limits: Limits,
    state: Mutex<State>,
    /// Connections that are open.
    pub(crate) connections: Arc<Connections>,
    /// Room for bodies in memory.
    pub(crate) bodies: Bodies,
    /// Wakes `keep` when there is a new block.
    news: Notify,
}

impl Gate {
    /// A gate that nobody passed yet.
    pub(crate) fn new(limits: Limits, now: Time) -> Self {
        let rest = Bucket::full(Rate(limits.address_rate.saturating_mul(SHARED)), micros(now));
        Self {
            state: Mutex::new(State {
                callers: HashMap::new(),
                rest,
                dirty: HashSet::new(),
                unsaid: Vec::new(),
                swept: now,
                // At the first flush after a start.
                rows_swept: Time::MIN,
            }),
            connections: Connections::new(limits.connections, limits.connections_per_address),
            bodies: Bodies::new(limits.body_mebibytes),
            news: Notify::new(),
            limits,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Counters have no state in between: what a panic left is as good as any.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a place stands for many callers.
    pub(crate) fn is_shared(&self, place: Place) -> bool {
        let is = |address: &IpAddr| Place::from(*address) == place;
        matches!(place, Place::V4(address) if address == std::net::Ipv4Addr::LOCALHOST)
            || place == Place::V6([0; 8])
            || self.limits.shared.iter().any(is)
    }

    fn rate(&self, subject: Subject) -> Rate {
        match subject {
            Subject::Key(_) => Rate(self.limits.key_rate),
            Subject::Address(place) if self.is_shared(place) => {
                Rate(self.limits.address_rate.saturating_mul(SHARED))
            }
            Subject::Address(_) => Rate(self.limits.address_rate),
        }
    }

    /// Whether a call from there is looked at at all.
    pub(crate) fn admit(&self, place: Place, now: Time) -> Result<(), HubError> {
        self.admit_subject(Subject::Address(place), now)
    }

    fn admit_subject(&self, subject: Subject, now: Time) -> Result<(), HubError> {
        let rate = self.rate(subject);
        let mut state = self.state();
        // Who was never counted costs a look into the map.
        let Some(counters) = state.callers.get_mut(&subject) else { return Ok(()) };
        if let Some(block) = counters.block.as_ref().filter(|block| block.counts(now)) {
            return Err(blocked(subject, block, now));
        }
        counters.bucket.fill(rate, micros(now));
        counters.bucket.wait_seconds(rate).map_or(Ok(()), |wait| Err(slowed(subject, rate, wait)))
    }

    /// Whether a call from there, which is not admitted, may show that it comes from a known key: unless an operator
    /// blocked the place. `known` says that one did so before on its connection; whoever has not may try now and then.
    pub(crate) fn may_show_a_key(&self, place: Place, known: bool, now: Time) -> bool {
        let mut state = self.state();
        let Some(counters) = state.callers.get_mut(&Subject::Address(place)) else { return true };
        let block = counters.block.as_ref().filter(|block| block.counts(now));
        if block.is_some_and(|block| block.by.is_some()) {
            return false;
        }
        counters.told.fill(TOLD, micros(now));
        if !known {
            if counters.told.milli < ONE {
                return false;
            }
            counters.told.take(1);
        }
        true
    }

    /// Gives back what it cost to show a key, and the connection to show it on: it was a known one.
    pub(crate) fn showed_a_key(&self, place: Place) {
        if let Some(counters) = self.state().callers.get_mut(&Subject::Address(place)) {
            counters.told.put_back(2, TOLD);
        }
    }

    /// From where a body or a try comes, as far as it is counted.
    pub(crate) fn from(&self, address: Option<IpAddr>) -> Origin {
        let place = address.map(Place::from);
        Origin { place, shared: place.is_some_and(|place| self.is_shared(place)) }
    }

    /// Whether a call that verified under `key` is looked at.
    pub(crate) fn admit_key(&self, key: KeyId, now: Time) -> Result<(), HubError> {
        self.admit_subject(Subject::Key(key), now)
    }

    /// Takes the cost of a call that verified, and is the first of its nonce, out of its key's bucket.
    pub(crate) fn take(&self, key: KeyId, tokens: u32, now: Time) {
        let subject = Subject::Key(key);
        let rate = self.rate(subject);
        let mut state = self.state();
        state.sweep(self, now);
        let counters = state.counters(subject, rate, now);
        counters.bucket.fill(rate, micros(now));
        counters.bucket.take(tokens);
        if counters.bucket.is_low(rate) {
            state.dirty.insert(subject);
        }
    }

    /// Takes the cost of what did not verify out of its address's bucket.
    pub(crate) fn charge(&self, place: Place, tokens: u32, now: Time) {
        let subject = Subject::Address(place);
        let rate = self.rate(subject);
        let mut state = self.state();
        state.sweep(self, now);
        state.make_room_for(subject, now);
        if state.is_full_for(subject) {
            let rest = Rate(self.limits.address_rate.saturating_mul(SHARED));
            state.rest.fill(rest, micros(now));
            state.rest.take(tokens);
            return;
        }
        let counters = state.counters(subject, rate, now);
        counters.bucket.fill(rate, micros(now));
        counters.bucket.take(tokens);
        if counters.bucket.is_low(rate) {
            state.dirty.insert(subject);
        }
    }

    /// Gives back what a connection from there cost: a call on it verified.
    pub(crate) fn refund(&self, place: Place, tokens: u32) {
        let subject = Subject::Address(place);
        let rate = self.rate(subject);
        if let Some(counters) = self.state().callers.get_mut(&subject) {
            counters.bucket.put_back(tokens, rate);
        }
    }

    /// Whether a connection from there is taken. From an address that is blocked or in debt one is taken now and then: to be
    /// told, or to show a known key.
    pub(crate) fn may_connect(&self, place: Place, now: Time) -> bool {
        let subject = Subject::Address(place);
        let rate = self.rate(subject);
        let mut state = self.state();
        if state.is_full_for(subject) {
            let rest = Rate(self.limits.address_rate.saturating_mul(SHARED));
            state.rest.fill(rest, micros(now));
            return state.rest.wait_seconds(rest).is_none();
        }
        let Some(counters) = state.callers.get_mut(&subject) else { return true };
        counters.bucket.fill(rate, micros(now));
        let blocked = counters.block.as_ref().is_some_and(|block| block.counts(now));
        if blocked || counters.bucket.wait_seconds(rate).is_some() {
            counters.told.fill(TOLD, micros(now));
            // Five at once is half of what such a bucket holds; the other half is for calls that show a key.
            if counters.told.milli < i64::from(HOLDS_SECONDS / 2) * ONE {
                return false;
            }
            counters.told.take(1);
        }
        true
    }

    /// Counts a refusal: strikes in thousandths, for this reason. Says whether the caller is blocked by it.
    pub(crate) fn strike(
        &self,
        subject: Subject,
        milli: i64,
        reason: ErrorCode,
        now: Time,
    ) -> bool {
        let rule = match subject {
            Subject::Address(place) if self.is_shared(place) => return false,
            Subject::Address(_) => ADDRESS,
            Subject::Key(_) => KEY,
        };
        if milli == 0 {
            return false;
        }
        let rate = self.rate(subject);
        let mut state = self.state();
        state.make_room_for(subject, now);
        if state.is_full_for(subject) {
            return false;
        }
        let first = i64::from(self.limits.block_seconds);
        let counters = state.counters(subject, rate, now);
        counters.strikes.wear_off(rule.one_in_seconds, micros(now));
        counters.strikes.add(milli);
        let in_force = counters.block.as_ref().is_some_and(|block| block.counts(now));
        let blocks = counters.strikes.milli >= rule.most && !in_force;
        if blocks {
            let before = counters.block.as_ref().filter(|block| !block.is_forgotten(now));
            let times = before.map_or(0, |block| block.times);
            let seconds =
                first.saturating_mul(LONGER.saturating_pow(times.min(16))).min(DAY_SECONDS);
            let reason = format!("refused too often, the last time for `{}`", word(reason));
            let block = InForce {
                id: BlockId::generate(),
                since: now,
                until: Time::from_second(now.as_second().saturating_add(seconds)).ok(),
                times: times.saturating_add(1),
                reason,
                by: None,
            };
            tracing::warn!(%subject, seconds, "blocked: {}", block.reason);
            let shown = block.shown(subject);
            counters.block = Some(block);
            counters.strikes.milli = 0;
            state.unsaid.push((subject, shown));
            self.news.notify_one();
        }
        state.dirty.insert(subject);
        blocks
    }

    /// Blocks in force, oldest first.
    pub(crate) fn blocks(&self, now: Time) -> Vec<Block> {
        let state = self.state();
        let in_force = state.callers.iter().filter_map(|(subject, counters)| {
            let block = counters.block.as_ref().filter(|block| block.counts(now))?;
            Some(block.shown(*subject))
        });
        let mut blocks: Vec<Block> = in_force.collect();
        blocks.sort_by_key(|block| block.id);
        blocks
    }

    /// Sets a block by hand. It is in force at once, and on the disk when the caller has [`flush`]ed.
    pub(crate) fn block(
        &self,
        subject: Subject,
        until: Option<Time>,
        reason: &str,
        by: AccountId,
        now: Time,
    ) -> Block {
        let rate = self.rate(subject);
        let mut state = self.state();
        let counters = state.counters(subject, rate, now);
        let times = counters.block.as_ref().map_or(0, |block| block.times).saturating_add(1);
        let block = InForce {
            id: BlockId::generate(),
            since: now,
            until,
            times,
            reason: reason.to_owned(),
            by: Some(by),
        };
        let shown = block.shown(subject);
        counters.block = Some(block);
        state.dirty.insert(subject);
        shown
    }

    /// Lifts a block: the caller begins anew, with a full bucket and no strikes.
    pub(crate) fn lift(&self, id: BlockId, now: Time) -> Option<(Subject, Block)> {
        let mut state = self.state();
        let (subject, block) = state.callers.iter().find_map(|(subject, counters)| {
            let block = counters.block.as_ref()?;
            (block.id == id && block.counts(now)).then(|| (*subject, block.shown(*subject)))
        })?;
        state.callers.remove(&subject);
        state.dirty.insert(subject);
        Some((subject, block))
    }
}

impl State {
    /// Whether another address would be one too many.
    fn is_full_for(&self, subject: Subject) -> bool {
        matches!(subject, Subject::Address(_))
            && self.callers.len() >= MOST_ADDRESSES
            && !self.callers.contains_key(&subject)
    }

    /// Forgets some where there is room for no more: first those of whom there is least to remember, and of those the ones
    /// from networks that fill the table, so that whoever has a network full of addresses forgets itself. Blocks go last, keys
    /// and what an operator set never.
    fn make_room_for(&mut self, subject: Subject, now: Time) {
        if !self.is_full_for(subject) {
            return;
        }
        let mut crowds: HashMap<Network, usize> = HashMap::new();
        for subject in self.callers.keys() {
            if let Subject::Address(place) = subject {
                *crowds.entry(place.network()).or_default() += 1;
            }
        }
        let mut all: Vec<_> = self
            .callers
            .iter_mut()
            .filter_map(|(subject, counters)| {
                let Subject::Address(place) = subject else { return None };
                counters.strikes.wear_off(ADDRESS.one_in_seconds, micros(now));
                let block = counters.block.as_ref().filter(|block| block.counts(now));
                if block.is_some_and(|block| block.by.is_some()) {
                    return None;
                }
                let crowd = crowds.get(&place.network()).copied().unwrap_or_default();
                let is_finished = counters.strikes.milli == 0 && counters.bucket.milli >= 0;
                let worth = (block.is_some(), !is_finished, usize::MAX - crowd);
                Some((worth, counters.strikes.milli, *subject))
            })
            .collect();
        let part = (MOST_ADDRESSES / FORGET).min(all.len());
        if part == 0 {
            return;
        }
        all.select_nth_unstable(part - 1);
        for (_, _, subject) in &all[..part] {
            self.callers.remove(subject);
        }
    }

    fn counters(&mut self, subject: Subject, rate: Rate, now: Time) -> &mut Counters {
        self.callers.entry(subject).or_insert_with(|| Counters {
            bucket: Bucket::full(rate, micros(now)),
            strikes: Strikes { milli: 0, at: micros(now) },
            block: None,
            told: Bucket::full(TOLD, micros(now)),
        })
    }

    /// Forgets callers of whom there is nothing to remember, at most once a second, and only when there are many.
    fn sweep(&mut self, gate: &Gate, now: Time) {
        if self.callers.len() < MOST_ADDRESSES / 2 || now.as_second() == self.swept.as_second() {
            return;
        }
        self.swept = now;
        let dirty = &self.dirty;
        self.callers.retain(|subject, counters| {
            let rate = gate.rate(*subject);
            counters.bucket.fill(rate, micros(now));
            let rule = if matches!(subject, Subject::Key(_)) { KEY } else { ADDRESS };
            counters.strikes.wear_off(rule.one_in_seconds, micros(now));
            let block = counters.block.as_ref().is_some_and(|block| !block.is_forgotten(now));
            let full = counters.bucket == Bucket::full(rate, counters.bucket.at);
            block || counters.strikes.milli > 0 || !full || dirty.contains(subject)
        });
    }
}

fn micros(time: Time) -> i64 {
    time.as_microsecond()
}

fn word(code: ErrorCode) -> String {
    crate::data::word(code)
}

fn blocked(subject: Subject, block: &InForce, now: Time) -> HubError {
    let (until, seconds) = match block.until {
        Some(until) => {
            let left = until.as_microsecond().saturating_sub(micros(now));
            let seconds = u32::try_from(left.saturating_add(SECOND - 1) / SECOND);
            (format!("until {until}"), seconds.unwrap_or(u32::MAX).max(1))
        }
        None => ("until an operator lifts it".to_owned(), 3600),
    };
    HubError::new(
        ErrorCode::TooManyRequests,
        format!("{} is blocked {until}: {}", named(subject), block.reason),
    )
    .hint("mend what was refused before; an operator lifts a block with `chorion block lift`")
    .wait(Wait { seconds, policy: None })
}

fn slowed(subject: Subject, rate: Rate, seconds: u32) -> HubError {
    let (name, what) = match subject {
        Subject::Key(_) => ("key", "too many calls with this key"),
        Subject::Address(_) => ("address", "too many calls from this address that do not verify"),
    };
    HubError::new(ErrorCode::TooManyRequests, format!("{what}: wait {seconds} s"))
        .hint("nothing was done: send it again after `Retry-After`, with a new nonce")
        .wait(Wait { seconds, policy: Some((name, rate.0.saturating_mul(HOLDS_SECONDS))) })
}

fn named(subject: Subject) -> String {
    match subject {
        Subject::Address(place) => format!("address {place}"),
        Subject::Key(key) => format!("key {key}"),
    }
}

#[cfg(test)]
mod tests;
