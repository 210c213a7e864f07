//! What stands beside the wrapped keys, so that a lost database loses no data (`spec/store.md` section 6.5).
//!
//! The key of an object says which blob it opens and under which epoch; and a dataset has a **description**, opaque to the store,
//! in parts of a record's size. There are two banks of parts: a new description goes into the one that is not in force, so
//! that a write which is torn leaves the old one whole. Both go with the keys when the dataset is destroyed.

use std::collections::BTreeMap;

use super::record::{DESCRIPTION, MAX_PAYLOAD_BYTES, Records, Slot};
use super::writer::Request;
use super::{DatasetId, Destroyed, KeyStore, KeyStoreError, ObjectKeyId, WRAPPED_KEY_BYTES};
use crate::blob::BlobHash;
use crate::held;

/// Generation 8, number of parts 4, both big-endian; then the text.
const PART_HEAD_BYTES: usize = 12;
const PART_BYTES: usize = MAX_PAYLOAD_BYTES - PART_HEAD_BYTES;
/// A wrapped key, epoch 4, hash 32, length 8.
const PLACED_BYTES: usize = WRAPPED_KEY_BYTES + 44;

/// Which blob an object's key opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyPlace {
    /// The epoch of the dataset key that it is wrapped under.
    pub epoch: u32,
    /// The blob.
    pub hash: BlobHash,
    /// Its length in bytes.
    pub bytes: u64,
}

/// The key of an object as it is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeptKey {
    /// The wrapped key.
    pub wrapped: [u8; WRAPPED_KEY_BYTES],
    /// Which blob it opens, where that was said.
    pub place: Option<KeyPlace>,
}

impl std::fmt::Debug for KeptKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeptKey({:?})", self.place)
    }
}

impl KeptKey {
    /// What a record holds: the wrapped key alone, or with its place behind.
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let (wrapped, rest) = payload.split_first_chunk::<WRAPPED_KEY_BYTES>()?;
        if rest.is_empty() {
            return Some(Self { wrapped: *wrapped, place: None });
        }
        let (epoch, rest) = rest.split_first_chunk::<4>()?;
        let (hash, rest) = rest.split_first_chunk::<32>()?;
        let place = KeyPlace {
            epoch: u32::from_be_bytes(*epoch),
            hash: BlobHash::from_bytes(*hash),
            bytes: u64::from_be_bytes(rest.try_into().ok()?),
        };
        Some(Self { wrapped: *wrapped, place: Some(place) })
    }

    fn write(&self) -> Vec<u8> {
        let mut payload = Vec::with_capacity(PLACED_BYTES);
        payload.extend_from_slice(&self.wrapped);
        if let Some(place) = &self.place {
            payload.extend_from_slice(&place.epoch.to_be_bytes());
            payload.extend_from_slice(place.hash.as_bytes());
            payload.extend_from_slice(&place.bytes.to_be_bytes());
        }
        payload
    }
}

/// A generation of a description, and of how many parts it is.
type Of = (u64, u32);
/// The parts that are there, by their numbers.
type Parts<'a> = BTreeMap<u32, &'a [u8]>;

/// The description in force and its generation; nothing where none is whole.
fn in_force(records: &Records) -> Option<(u64, Vec<u8>)> {
    let mut banks: [BTreeMap<Of, Parts<'_>>; 2] = Default::default();
    for (slot, record) in records {
        let (DESCRIPTION, [bank @ 0..=1, a, b, c, d, ..]) = (slot.kind, slot.id) else { continue };
        let Some(payload) = &record.payload else { continue };
        let Some((generation, rest)) = payload.split_first_chunk::<8>() else { continue };
        let Some((parts, text)) = rest.split_first_chunk::<4>() else { continue };
        let of = (u64::from_be_bytes(*generation), u32::from_be_bytes(*parts));
        let part = u32::from_be_bytes([a, b, c, d]);
        banks[usize::from(bank)].entry(of).or_default().insert(part, text);
    }
    let whole =
        banks.iter().flatten().filter(|((_, parts), found)| found.keys().copied().eq(0..*parts));
    let ((generation, _), found) = whole.max_by_key(|((generation, _), _)| *generation)?;
    Some((*generation, found.values().copied().flatten().copied().collect()))
}

impl KeyStore {
    /// As [`put_wrapped_key`](Self::put_wrapped_key), with the blob that the key opens: so much of the index outlives the
    /// database.
    ///
    /// # Errors
    /// As there.
    pub async fn put_placed_key(
        &self,
        dataset: DatasetId,
        object: ObjectKeyId,
        wrapped: [u8; WRAPPED_KEY_BYTES],
        place: KeyPlace,
    ) -> Result<(), KeyStoreError> {
        let payload = KeptKey { wrapped, place: Some(place) }.write();
        let puts = vec![(Slot::object(object), payload)];
        self.ask(|answer| Request::Put { dataset, puts, answer }).await
    }

    /// Every object of a dataset that has a key here, with what is known of its place.
    ///
    /// # Errors
    /// As for [`wrapped_keys`](Self::wrapped_keys).
    pub async fn kept_keys(
        &self,
        dataset: DatasetId,
    ) -> Result<Vec<(ObjectKeyId, KeptKey)>, KeyStoreError> {
        let found = self.dataset(dataset).await?;
        let records = held(&found.records);
        let objects = records.iter().filter(|(slot, _)| slot.kind == super::OBJECT_KEY);
        let kept = objects.filter_map(|(slot, record)| {
            Some((slot.id, KeptKey::read(record.payload.as_deref()?)?))
        });
        Ok(kept.collect())
    }

    /// Keeps the keys of records that lie in a database, as their custodian wrapped them, in the file of what describes those records;
    /// both places have synced them when this returns. One that is wrapped anew counts instead of the one before, whose bytes stay until
    /// the file is replaced.
    ///
    /// # Errors
    /// If either place does not take them, or one of them or the whole was destroyed.
    pub async fn put_record_keys(
        &self,
        dataset: DatasetId,
        keys: Vec<(ObjectKeyId, Vec<u8>)>,
    ) -> Result<(), KeyStoreError> {
        if let Some((_, long)) = keys.iter().find(|(_, key)| key.len() > MAX_PAYLOAD_BYTES) {
            return Err(KeyStoreError::TooLong { bytes: long.len() });
        }
        let puts = keys.into_iter().map(|(record, key)| (Slot::record(record), key)).collect();
        self.ask(|answer| Request::Put { dataset, puts, answer }).await
    }

    /// The keys of records that were put there and not destroyed.
    ///
    /// # Errors
    /// As for [`wrapped_keys`](Self::wrapped_keys).
    pub async fn record_keys(
        &self,
        dataset: DatasetId,
    ) -> Result<Vec<(ObjectKeyId, Vec<u8>)>, KeyStoreError> {
        let found = self.dataset(dataset).await?;
        let records = held(&found.records);
        let keys = records.iter().filter(|(slot, _)| slot.kind == super::RECORD_KEY);
        Ok(keys.filter_map(|(slot, record)| Some((slot.id, record.payload.clone()?))).collect())
    }

    /// Destroys the keys of single records, for ever, and whatever older wrapping of them the files still held.
    ///
    /// # Errors
    /// As for [`destroy_objects`](Self::destroy_objects).
    pub async fn destroy_record_keys(
        &self,
        dataset: DatasetId,
        records: &[ObjectKeyId],
    ) -> Result<Destroyed, KeyStoreError> {
        let slots = records.iter().map(|record| Slot::record(*record)).collect();
        self.ask(|answer| Request::Remove { dataset, slots, answer }).await
    }

    /// Keeps a description of the dataset, opaque here, in the place of the one before; both places have synced it when
    /// this returns. It stands beside wrapped keys and must say nothing that is sealed elsewhere. One call at a time for one
    /// dataset: the later of two that cross may lose.
    ///
    /// # Errors
    /// If either place does not take it, or the dataset was destroyed.
    pub async fn describe(
        &self,
        dataset: DatasetId,
        description: &[u8],
    ) -> Result<(), KeyStoreError> {
        let before = match self.dataset(dataset).await {
            Ok(found) => in_force(&held(&found.records)),
            Err(KeyStoreError::NoDataset { .. }) => None,
            Err(error) => return Err(error),
        };
        if before.as_ref().is_some_and(|(_, text)| text == description) {
            return Ok(());
        }
        let generation = before.map_or(1, |(generation, _)| generation + 1);
        let bank = u8::from(generation % 2 == 0);
        let mut chunks: Vec<&[u8]> = description.chunks(PART_BYTES).collect();
        if chunks.is_empty() {
            chunks.push(&[]);
        }
        let parts = u32::try_from(chunks.len())
            .map_err(|_| KeyStoreError::TooLong { bytes: description.len() })?;
        let puts = (0..parts).zip(chunks).map(|(part, text)| {
            let head = [&generation.to_be_bytes()[..], &parts.to_be_bytes(), text];
            (Slot::description(bank, part), head.concat())
        });
        let puts = puts.collect();
        self.ask(|answer| Request::Put { dataset, puts, answer }).await
    }

    /// The description in force, if the dataset has one.
    ///
    /// # Errors
    /// As for [`wrapped_keys`](Self::wrapped_keys).
    pub async fn description(&self, dataset: DatasetId) -> Result<Option<Vec<u8>>, KeyStoreError> {
        let found = self.dataset(dataset).await?;
        let text = in_force(&held(&found.records)).map(|(_, text)| text);
        Ok(text)
    }
}
