//! The one thread that changes a key store.
//!
//! It takes whatever puts are waiting, adds them to the files of their datasets in both places at once, syncs each file
//! once, and only then answers: many callers share one sync. Everything else (replacing a file, destroying, healing one
//! place from the other) is done here too, so that no two acts ever meet in one file.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    io,
    sync::{Arc, Mutex},
};

use data_encoding::HEXLOWER;
use tokio::sync::{mpsc, oneshot};

use super::{
    CheckReport, Dataset, DatasetId, Destroyed, KeyStoreError, KeyStoreStatus, Loaded, PlaceStatus,
    Shared, away, destroyed, name_of,
    place::Place,
    record::{self, DATASET_KEY, DESCRIPTION, HEADER_BYTES, Record, Records, Slot, size},
};
use crate::{held, identity::IdentityError};

/// The most requests that one round of syncs serves. Large, because a key is small and a sync is slow.
pub(super) const BATCH_REQUESTS: usize = 1_024;

/// How many records of recently used datasets are kept in memory, those of the size of a key: about 50 MB.
const CACHED_RECORDS: usize = 256 * 1024;
/// The payload of a record that counts as one of them.
const KEY_BYTES: usize = 256;
/// What a file of a description may hold of older ones, beside twice what counts, before it is written anew.
const SUPERSEDED_BYTES: u64 = 64 * 1024;

type Answer<T> = oneshot::Sender<Result<T, KeyStoreError>>;

pub(super) enum Request {
    Put { dataset: DatasetId, puts: Vec<(Slot, Vec<u8>)>, answer: Answer<()> },
    Load { dataset: DatasetId, answer: Answer<Arc<Dataset>> },
    Remove { dataset: DatasetId, slots: Vec<Slot>, answer: Answer<Destroyed> },
    Destroy { dataset: DatasetId, answer: Answer<Destroyed> },
    Datasets { answer: Answer<Vec<DatasetId>> },
    Check { answer: Answer<CheckReport> },
    Status { answer: Answer<KeyStoreStatus> },
}

struct Put {
    puts: Vec<(Slot, Vec<u8>)>,
    answer: Answer<()>,
}

pub(super) struct Writer {
    places: [Place; 2],
    waiting: mpsc::Receiver<Request>,
    shared: Arc<Shared>,
    /// Lengths of the files of every dataset in memory, where both are known to be whole and equal in content.
    lengths: HashMap<DatasetId, [u64; 2]>,
    /// Files in which a write or a sync failed. What reading them back says proves nothing, so they are written anew.
    suspect: HashSet<(DatasetId, usize)>,
    cached_records: usize,
}

/// What a round does to one dataset.
struct Job {
    dataset: DatasetId,
    answers: Vec<Answer<()>>,
    news: Records,
    change: Change,
}

enum Change {
    /// Nothing: what was put is there already.
    None,
    /// Bytes at the end of both files, which have these lengths.
    Append { lengths: [u64; 2], bytes: Vec<u8> },
    /// A whole new file.
    Replace { bytes: Vec<u8> },
}

/// How much of the room in memory a record takes.
fn weight(record: &Record) -> usize {
    1 + record.payload.as_ref().map_or(0, Vec::len) / KEY_BYTES
}

impl Writer {
    pub(super) fn new(
        places: [Place; 2],
        waiting: mpsc::Receiver<Request>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            places,
            waiting,
            shared,
            lengths: HashMap::new(),
            suspect: HashSet::new(),
            cached_records: 0,
        }
    }

    /// Serves requests until nobody can send one.
    pub(super) fn run(mut self) {
        while let Some(first) = self.waiting.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH_REQUESTS
                && let Ok(request) = self.waiting.try_recv()
            {
                batch.push(request);
            }
            self.serve(batch);
        }
    }

    fn serve(&mut self, batch: Vec<Request>) {
        let mut batch = batch.into_iter().peekable();
        while let Some(request) = batch.next() {
            match request {
                Request::Put { dataset, puts, answer } => {
                    let mut round = BTreeMap::from([(dataset, vec![Put { puts, answer }])]);
                    while let Some(Request::Put { dataset, puts, answer }) =
                        batch.next_if(|next| matches!(next, Request::Put { .. }))
                    {
                        round.entry(dataset).or_default().push(Put { puts, answer });
                    }
                    self.put(round);
                }
                Request::Load { dataset, answer } => {
                    self.open_places();
                    let loaded = self.load(dataset);
                    reply(answer, loaded.map(|(found, _)| found));
                }
                Request::Remove { dataset, slots, answer } => {
                    let done = self.remove(dataset, &slots);
                    reply(answer, done);
                }
                Request::Destroy { dataset, answer } => {
                    let done = self.destroy(dataset);
                    reply(answer, done);
                }
                Request::Datasets { answer } => {
                    let listed = self.datasets();
                    reply(answer, listed);
                }
                Request::Check { answer } => {
                    let report = self.check();
                    reply(answer, Ok(report));
                }
                Request::Status { answer } => {
                    let status = self.status();
                    reply(answer, Ok(status));
                }
            }
        }
    }

    /// Confirms both places, opens one that has come back, and makes both remember what either knows to be destroyed.
    /// Gives for each why it cannot be used.
    fn open_places(&mut self) -> [Option<IdentityError>; 2] {
        let store = self.shared.id;
        let mut came_back = false;
        let mut outcome = self.places.each_mut().map(|place| {
            let was_open = place.is_open();
            match place.open(store) {
                Ok(()) => {
                    came_back |= !was_open;
                    None
                }
                Err(error) => {
                    if was_open {
                        tracing::warn!(place = %place.root.display(), %error, "a place of the key store went away");
                        place.close();
                    }
                    Some(error)
                }
            }
        });
        if came_back {
            self.forget_all();
            let mut known = held(&self.shared.destroyed).clone();
            for place in self.places.iter().filter(|place| place.is_open()) {
                known.extend(place.destroyed());
            }
            held(&self.shared.destroyed).extend(&known);
            for (place, outcome) in self.places.iter_mut().zip(&mut outcome) {
                let news: Vec<DatasetId> = known.difference(place.destroyed()).copied().collect();
                if outcome.is_some() || news.is_empty() {
                    continue;
                }
                let told = news.iter().try_for_each(|dataset| {
                    place.mark_destroyed(dataset).and_then(|()| place.destroy(dataset))
                });
                if let Err(error) = told {
                    place.close();
                    *outcome = Some(error.into());
                }
            }
        }
        outcome
    }

    fn put(&mut self, round: BTreeMap<DatasetId, Vec<Put>>) {
        let away = self.open_places();
        let away = away.iter().zip(&self.places).find_map(|(error, place)| {
            error.as_ref().map(|error| (place.root.clone(), error.in_words()))
        });
        let mut jobs = Vec::new();
        for (dataset, puts) in round {
            let planned = match &away {
                Some((place, why)) => {
                    let error =
                        || KeyStoreError::PlaceAway { place: place.clone(), why: why.clone() };
                    puts.into_iter().for_each(|put| reply(put.answer, Err(error())));
                    continue;
                }
                None => self.plan(dataset, puts),
            };
            jobs.extend(planned);
        }
        let outcomes = self.carry_out(&jobs);
        for (job, failures) in jobs.into_iter().zip(outcomes) {
            let failed = failures.iter().position(Option::is_some);
            for (index, failure) in failures.iter().enumerate() {
                if failure.is_some() {
                    self.suspect.insert((job.dataset, index));
                }
            }
            match failed.and_then(|index| failures[index].as_ref().map(|error| (index, error))) {
                Some((index, error)) => {
                    // What each file holds is not known any more; the next use reads and heals.
                    self.forget(&job.dataset);
                    for answer in job.answers {
                        reply(answer, Err(self.failed(index, "write wrapped keys", copied(error))));
                    }
                }
                None => {
                    self.remember(&job);
                    job.answers.into_iter().for_each(|answer| reply(answer, Ok(())));
                }
            }
        }
    }

    /// What the puts of one dataset come to. Those that cannot be are answered at once.
    fn plan(&mut self, dataset: DatasetId, puts: Vec<Put>) -> Option<Job> {
        let (known, lengths) = match self.load_or_begin(dataset) {
            Ok((known, Some(lengths))) => (known, lengths),
            Ok((_, None)) => {
                for put in puts {
                    reply(put.answer, Err(self.unhealed(dataset)));
                }
                return None;
            }
            Err(error) => {
                let mut error = Some(error);
                for put in puts {
                    let told = error.take().unwrap_or_else(|| self.unhealed(dataset));
                    reply(put.answer, Err(told));
                }
                return None;
            }
        };
        let known = held(&known.records);
        let mut news = Records::new();
        let mut answers = Vec::new();
        let mut replaces = lengths == [0, 0];
        let mut bytes = Vec::new();
        let last = known.values().map(|record| record.sequence).max().unwrap_or(0);
        let mut sequence = last.max(micros());
        for put in puts {
            let gone = put
                .puts
                .iter()
                .find(|(slot, _)| known.get(slot).is_some_and(|record| record.payload.is_none()));
            if let Some((slot, _)) = gone {
                reply(put.answer, Err(destroyed(dataset, name_of(*slot))));
                continue;
            }
            for (slot, payload) in put.puts {
                let before = news.get(&slot).or_else(|| known.get(&slot));
                let before = before.and_then(|record| record.payload.as_deref());
                if before == Some(&payload) {
                    continue;
                }
                // A dataset key that is wrapped anew leaves no byte of the old wrapping behind.
                replaces |= slot.kind == DATASET_KEY && before.is_some();
                sequence += 1;
                let record = Record { sequence, payload: Some(payload) };
                record::encode(&dataset, slot, &record, &mut bytes);
                news.insert(slot, record);
            }
            answers.push(put.answer);
        }
        // Each new description makes an old one worthless, and nothing else ever replaces its file.
        replaces |= news.keys().any(|slot| slot.kind == DESCRIPTION) && {
            let kept = known.iter().filter(|(slot, _)| !news.contains_key(*slot));
            let live: usize = kept.chain(&news).map(|(_, record)| size(record)).sum();
            lengths[0] + bytes.len() as u64 > 2 * live as u64 + SUPERSEDED_BYTES
        };
        let change = if news.is_empty() {
            Change::None
        } else if replaces {
            let mut all = known.clone();
            all.extend(news.clone());
            Change::Replace { bytes: record::encode_file(&dataset, &all) }
        } else {
            Change::Append { lengths, bytes }
        };
        Some(Job { dataset, answers, news, change })
    }

    /// Does the jobs in both places side by side, and gives for each job what failed in each place.
    fn carry_out(&self, jobs: &[Job]) -> Vec<[Option<io::Error>; 2]> {
        let [one, other] = &self.places;
        let (first, second) = std::thread::scope(|scope| {
            let second = scope.spawn(|| carry_out_at(other, 1, jobs));
            let first = carry_out_at(one, 0, jobs);
            (first, second.join())
        });
        let second = second.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        first.into_iter().zip(second).map(|(a, b)| [a, b]).collect()
    }

    /// Takes what a job wrote into memory.
    fn remember(&mut self, job: &Job) {
        let added = match &job.change {
            Change::None => return,
            Change::Append { bytes, .. } => bytes.len() as u64,
            Change::Replace { .. } => 0,
        };
        let known = held(&self.shared.cache).find(&job.dataset);
        let Some(known) = known else { return };
        let mut records = held(&known.records);
        for (slot, record) in job.news.clone() {
            self.cached_records += weight(&record);
            if let Some(before) = records.insert(slot, record) {
                self.cached_records = self.cached_records.saturating_sub(weight(&before));
            }
        }
        drop(records);
        let lengths = match &job.change {
            Change::Replace { bytes } => [bytes.len() as u64; 2],
            _ => self.lengths.get(&job.dataset).copied().unwrap_or_default().map(|was| was + added),
        };
        self.lengths.insert(job.dataset, lengths);
        self.make_room(&job.dataset);
    }

    fn forget(&mut self, dataset: &DatasetId) {
        if let Some(gone) = held(&self.shared.cache).datasets.remove(dataset) {
            let records: usize = held(&gone.dataset.records).values().map(weight).sum();
            self.cached_records = self.cached_records.saturating_sub(records);
        }
        self.lengths.remove(dataset);
    }

    fn forget_all(&mut self) {
        held(&self.shared.cache).datasets.clear();
        self.lengths.clear();
        self.cached_records = 0;
    }

    /// Drops what was not used for the longest until the rest fits, except what is in use now.
    fn make_room(&mut self, in_use: &DatasetId) {
        while self.cached_records > CACHED_RECORDS {
            let oldest = held(&self.shared.cache)
                .datasets
                .iter()
                .filter(|(dataset, _)| *dataset != in_use)
                .min_by_key(|(_, loaded)| loaded.tick)
                .map(|(dataset, _)| *dataset);
            match oldest {
                Some(oldest) => self.forget(&oldest),
                None => return,
            }
        }
    }

    /// The dataset, read from both places if it is not in memory, healed if it has to be, and the lengths of its files if
    /// both are whole now.
    fn load(
        &mut self,
        dataset: DatasetId,
    ) -> Result<(Arc<Dataset>, Option<[u64; 2]>), KeyStoreError> {
        let (found, lengths) = self.load_or_begin(dataset)?;
        if held(&found.records).is_empty() {
            self.forget(&dataset);
            return Err(KeyStoreError::NoDataset { dataset: HEXLOWER.encode(&dataset) });
        }
        Ok((found, lengths))
    }

    /// As [`load`](Self::load), and where nothing is known of the dataset, an empty one to begin with.
    fn load_or_begin(
        &mut self,
        dataset: DatasetId,
    ) -> Result<(Arc<Dataset>, Option<[u64; 2]>), KeyStoreError> {
        if held(&self.shared.destroyed).contains(&dataset) {
            return Err(destroyed(dataset, "everything".into()));
        }
        if let Some(found) = held(&self.shared.cache).find(&dataset) {
            return Ok((found, self.lengths.get(&dataset).copied()));
        }
        let read = self.read(dataset, &mut CheckReport::default())?;
        let (found, lengths) =
            (Arc::new(Dataset { records: Mutex::new(read.records) }), read.lengths);
        self.cached_records += held(&found.records).values().map(weight).sum::<usize>();
        {
            let mut cache = held(&self.shared.cache);
            let tick = cache.tick;
            let loaded = Loaded { dataset: Arc::clone(&found), tick };
            cache.datasets.insert(dataset, loaded);
        }
        if let Some(lengths) = lengths {
            self.lengths.insert(dataset, lengths);
        }
        self.make_room(&dataset);
        Ok((found, lengths))
    }

    /// Reads a dataset in every place that is open, joins what they say, and writes anew what differs from that.
    fn read(
        &mut self,
        dataset: DatasetId,
        report: &mut CheckReport,
    ) -> Result<Read, KeyStoreError> {
        let files = self
            .places
            .each_ref()
            .map(|place| if place.is_open() { Some(place.read(&dataset)) } else { None });
        let mut records = Records::new();
        let mut parsed = [None, None];
        let mut refusal = None;
        for (index, file) in files.into_iter().enumerate() {
            match file {
                Some(Ok(file)) => {
                    let there =
                        file.map(|bytes| (record::parse(&dataset, &bytes), bytes.len() as u64));
                    for (slot, record) in there.iter().flat_map(|(parsed, _)| &parsed.records) {
                        record::join(&mut records, *slot, record.clone());
                    }
                    parsed[index] = Some(there);
                }
                Some(Err(error)) => {
                    refusal = Some(self.failed(index, "read wrapped keys", error));
                }
                None => {
                    refusal.get_or_insert_with(|| self.is_away(index));
                }
            }
        }
        if let (true, Some(refusal)) = (records.is_empty(), refusal) {
            return Err(refusal);
        }
        // Without its counterpart a damaged file is left as it is: what it lost may be in the other.
        let [Some(one), Some(other)] = parsed else {
            report.in_one_place.push(HEXLOWER.encode(&dataset));
            return Ok(Read { records, lengths: None });
        };
        let files = [one, other];
        let is_damaged = |file: &Option<(record::Parsed, u64)>| {
            file.as_ref().is_some_and(|(parsed, _)| parsed.lost_bytes > 0)
        };
        if files.iter().all(is_damaged) {
            tracing::error!(
                dataset = HEXLOWER.encode(&dataset),
                "wrapped keys are damaged in both places"
            );
            report.damaged_in_both.push(HEXLOWER.encode(&dataset));
        }
        if files.iter().all(Option::is_none) {
            return Ok(Read { records, lengths: Some([0, 0]) });
        }
        let mut lengths = [0; 2];
        for (index, file) in files.iter().enumerate() {
            let is_suspect = self.suspect.contains(&(dataset, index));
            lengths[index] = match file {
                Some((parsed, bytes))
                    if !is_suspect && parsed.lost_bytes == 0 && parsed.records == records =>
                {
                    *bytes
                }
                _ => {
                    let whole = record::encode_file(&dataset, &records);
                    let place = &self.places[index];
                    if let Err(error) = place.replace(&dataset, &whole) {
                        tracing::error!(place = %place.root.display(), %error, "wrapped keys could not be healed");
                        self.suspect.insert((dataset, index));
                        report.in_one_place.push(HEXLOWER.encode(&dataset));
                        return Ok(Read { records, lengths: None });
                    }
                    self.suspect.remove(&(dataset, index));
                    report.healed += 1;
                    whole.len() as u64
                }
            };
        }
        Ok(Read { records, lengths: Some(lengths) })
    }

    fn remove(&mut self, dataset: DatasetId, slots: &[Slot]) -> Result<Destroyed, KeyStoreError> {
        self.open_places();
        let (known, _) = self.load(dataset)?;
        let mut records = held(&known.records).clone();
        let last = records.values().map(|record| record.sequence).max().unwrap_or(0);
        let mut sequence = last.max(micros());
        for slot in slots {
            // Marked even if nothing is known of it: the other place may know, and a late put must not bring it.
            if records.get(slot).is_none_or(|record| record.payload.is_some()) {
                sequence += 1;
                records.insert(*slot, Record { sequence, payload: None });
            }
        }
        let bytes = record::encode_file(&dataset, &records);
        self.forget(&dataset);
        let outcomes = self
            .places
            .each_ref()
            .map(|place| place.is_open().then(|| place.replace(&dataset, &bytes)));
        self.destruction(outcomes, Some(dataset), "replace a file of wrapped keys")
    }

    fn destroy(&mut self, dataset: DatasetId) -> Result<Destroyed, KeyStoreError> {
        self.open_places();
        // The marks first, in both places: from here on a crash ends with the keys gone.
        let marked = self
            .places
            .each_mut()
            .map(|place| place.is_open().then(|| place.mark_destroyed(&dataset)));
        self.destruction(marked, None, "mark keys as destroyed")?;
        held(&self.shared.destroyed).insert(dataset);
        self.forget(&dataset);
        let wiped =
            self.places.each_ref().map(|place| place.is_open().then(|| place.destroy(&dataset)));
        self.destruction(wiped, None, "overwrite wrapped keys")
    }

    /// What acts of destruction in the places come to: one must have done it, and none that is there may have failed.
    fn destruction(
        &mut self,
        outcomes: [Option<io::Result<()>>; 2],
        suspect: Option<DatasetId>,
        act: &'static str,
    ) -> Result<Destroyed, KeyStoreError> {
        let mut done = Destroyed { gone_from: Vec::new(), waiting_for: Vec::new() };
        let mut refusal = None;
        for (index, outcome) in outcomes.into_iter().enumerate() {
            let root = self.places[index].root.clone();
            match outcome {
                Some(Ok(())) => done.gone_from.push(root),
                Some(Err(error)) => {
                    self.suspect.extend(suspect.map(|dataset| (dataset, index)));
                    // Opened anew it sweeps, and carries out what it is marked for.
                    self.places[index].close();
                    refusal = Some(self.failed(index, act, error));
                }
                None => done.waiting_for.push(root),
            }
        }
        match refusal {
            Some(refusal) => Err(refusal),
            None if done.gone_from.is_empty() => Err(self.is_away(0)),
            None => Ok(done),
        }
    }

    fn datasets(&mut self) -> Result<Vec<DatasetId>, KeyStoreError> {
        self.open_places();
        let mut all = BTreeSet::new();
        let mut listed = false;
        for index in 0..2 {
            if !self.places[index].is_open() {
                continue;
            }
            let found = self.places[index].datasets();
            all.extend(found.map_err(|error| self.failed(index, "list datasets", error))?);
            listed = true;
        }
        if listed { Ok(all.into_iter().collect()) } else { Err(self.is_away(0)) }
    }

    pub(super) fn check(&mut self) -> CheckReport {
        let mut report = CheckReport::default();
        self.open_places();
        self.forget_all();
        let datasets = match self.datasets() {
            Ok(datasets) => datasets,
            Err(error) => {
                tracing::error!(%error, "the key store cannot be checked");
                return report;
            }
        };
        for dataset in datasets {
            report.datasets += 1;
            if let Err(error) = self.read(dataset, &mut report) {
                tracing::error!(dataset = HEXLOWER.encode(&dataset), %error, "wrapped keys cannot be read");
                report.in_one_place.push(HEXLOWER.encode(&dataset));
            }
        }
        report
    }

    fn status(&mut self) -> KeyStoreStatus {
        let away = self.open_places();
        let mut away = away.into_iter();
        let places = self.places.each_ref().map(|place| {
            let mut why = away.next().flatten().map(|error| error.in_words());
            let datasets = match place.datasets() {
                Ok(datasets) => datasets.len() as u64,
                Err(error) => {
                    why.get_or_insert_with(|| format!("it cannot be listed: {error}"));
                    0
                }
            };
            PlaceStatus { location: place.root.clone(), away: why, datasets }
        });
        KeyStoreStatus { id: self.shared.id, places }
    }

    fn failed(&self, index: usize, act: &'static str, source: io::Error) -> KeyStoreError {
        KeyStoreError::Io { place: self.places[index].root.clone(), act, source }
    }

    fn is_away(&self, index: usize) -> KeyStoreError {
        let place = &self.places[index];
        match place.identity() {
            Err(error) => away(&place.root, error),
            Ok(_) => KeyStoreError::PlaceAway {
                place: place.root.clone(),
                why: "it could not be opened".into(),
            },
        }
    }

    /// The dataset can be read and not written, because one of its files could not be healed.
    fn unhealed(&self, dataset: DatasetId) -> KeyStoreError {
        let index = usize::from(self.suspect.contains(&(dataset, 1)));
        let why = format!("dataset {} is whole in one place only", HEXLOWER.encode(&dataset));
        self.failed(index, "heal a file of wrapped keys", io::Error::other(why))
    }
}

/// A dataset as it was read.
struct Read {
    records: Records,
    /// The lengths of both files, if both are whole.
    lengths: Option<[u64; 2]>,
}

fn carry_out_at(place: &Place, index: usize, jobs: &[Job]) -> Vec<Option<io::Error>> {
    let appends: Vec<(DatasetId, u64, &[u8])> = jobs
        .iter()
        .filter_map(|job| match &job.change {
            Change::Append { lengths, bytes } => Some((job.dataset, lengths[index], &bytes[..])),
            _ => None,
        })
        .collect();
    let replaces: Vec<(DatasetId, &[u8])> = jobs
        .iter()
        .filter_map(|job| match &job.change {
            Change::Replace { bytes } => Some((job.dataset, &bytes[..])),
            _ => None,
        })
        .collect();
    let mut appended = place.append(&appends).into_iter();
    let mut replaced = place.replace_many(&replaces).into_iter();
    jobs.iter()
        .map(|job| match &job.change {
            Change::None => None,
            Change::Append { .. } => appended.next().and_then(Result::err),
            Change::Replace { .. } => replaced.next().and_then(Result::err),
        })
        .collect()
}

/// The order of records is a clock's, never going back, so that a destruction made while one place was away is later than
/// anything that place holds.
fn micros() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_microsecond()).unwrap_or(0)
}

/// An `io::Error` cannot be cloned; its kind and words can.
fn copied(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

/// Answers, unless the caller has gone.
fn reply<T>(answer: Answer<T>, outcome: Result<T, KeyStoreError>) {
    if answer.send(outcome).is_err() {
        tracing::trace!("nobody waits for this answer any more");
    }
}

const _: () = assert!(HEADER_BYTES == 40, "spec/store.md section 6 says so");
