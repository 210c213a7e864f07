//! The bytes of a key file: a header, then records, each with its own checksum (`spec/store.md` section 6).
//!
//! ```text
//! header   0  16  `chorion.keys/1` LF NUL
//!         16  16  dataset id
//!         32   8  first 8 bytes of SHA-256 over the 32 before
//!
//! record   0   2  payload length n, big-endian
//!          2   1  kind: 1 dataset key, 2 object key, 3 part of a description, 4 key of a record, others kept as they are
//!          3   1  0 holds a payload, 1 says that it was destroyed
//!          4   8  sequence, big-endian
//!         12  16  id: the object's or the record's, or the epoch in the first four bytes
//!         28   n  payload, opaque
//!       28+n   8  first 8 bytes of SHA-256 over (dataset id, the record so far)
//! ```
//!
//! The sequence orders records of one kind and id; the highest counts, and a destruction beats what is equal. So two files
//! can be joined in any order, and a file with a hole in it still gives every record that is whole.

use std::collections::BTreeMap;

use crate::blob::BlobHash;

const MAGIC: &[u8; 16] = b"chorion.keys/1\n\0";
pub(super) const HEADER_BYTES: usize = 40;
const RECORD_HEAD_BYTES: usize = 28;
const CHECKSUM_BYTES: usize = 8;

/// The longest payload. A dataset key wrapped to an X-Wing recipient has 1,168 bytes.
pub(super) const MAX_PAYLOAD_BYTES: usize = 4_096;

pub(super) const DATASET_KEY: u8 = 1;
pub(super) const OBJECT_KEY: u8 = 2;
pub(super) const DESCRIPTION: u8 = 3;
pub(super) const RECORD_KEY: u8 = 4;

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot {
    pub(super) kind: u8,
    pub(super) id: [u8; 16],
}

impl Slot {
    pub(super) fn epoch(epoch: u32) -> Self {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&epoch.to_be_bytes());
        Self { kind: DATASET_KEY, id }
    }

    pub(super) const fn object(id: [u8; 16]) -> Self {
        Self { kind: OBJECT_KEY, id }
    }

    pub(super) const fn record(id: [u8; 16]) -> Self {
        Self { kind: RECORD_KEY, id }
    }

    pub(super) fn description(bank: u8, part: u32) -> Self {
        let mut id = [0; 16];
        id[0] = bank;
        id[1..5].copy_from_slice(&part.to_be_bytes());
        Self { kind: DESCRIPTION, id }
    }
}

/// The state of a slot: wrapped bytes, or nothing once they were destroyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) sequence: u64,
    pub(super) payload: Option<Vec<u8>>,
}

/// The latest record of every slot.
pub(super) type Records = BTreeMap<Slot, Record>;

/// What a file held.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Parsed {
    pub(super) records: Records,
    /// Bytes that belong to no whole record: a torn end, or damage.
    pub(super) lost_bytes: usize,
}

/// The bytes that a record takes in a file.
pub(super) fn size(record: &Record) -> usize {
    RECORD_HEAD_BYTES + record.payload.as_ref().map_or(0, Vec::len) + CHECKSUM_BYTES
}

/// Takes a record in, if it is later than what is there.
pub(super) fn join(records: &mut Records, slot: Slot, record: Record) {
    let rank = |record: &Record| (record.sequence, record.payload.is_none());
    match records.get(&slot) {
        Some(known) if rank(known) >= rank(&record) => {}
        _ => {
            records.insert(slot, record);
        }
    }
}

fn checksum(parts: &[&[u8]]) -> [u8; CHECKSUM_BYTES] {
    let mut checksum = [0; CHECKSUM_BYTES];
    checksum.copy_from_slice(&BlobHash::of(&parts.concat()).as_bytes()[..CHECKSUM_BYTES]);
    checksum
}

fn header(dataset: &[u8; 16]) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..16].copy_from_slice(MAGIC);
    header[16..32].copy_from_slice(dataset);
    let sum = checksum(&[&header[..32]]);
    header[32..].copy_from_slice(&sum);
    header
}

/// Adds a record's bytes. The payload is at most [`MAX_PAYLOAD_BYTES`]; the key store refuses longer ones at its door.
pub(super) fn encode(dataset: &[u8; 16], slot: Slot, record: &Record, out: &mut Vec<u8>) {
    let payload = record.payload.as_deref().unwrap_or_default();
    let length = u16::try_from(payload.len())
        .expect("a payload fits because the key store takes none above 4,096 bytes");
    let from = out.len();
    out.extend_from_slice(&length.to_be_bytes());
    out.push(slot.kind);
    out.push(u8::from(record.payload.is_none()));
    out.extend_from_slice(&record.sequence.to_be_bytes());
    out.extend_from_slice(&slot.id);
    out.extend_from_slice(payload);
    let sum = checksum(&[dataset, &out[from..]]);
    out.extend_from_slice(&sum);
}

/// A whole file, records in the order of their sequence.
pub(super) fn encode_file(dataset: &[u8; 16], records: &Records) -> Vec<u8> {
    let mut ordered: Vec<(&Slot, &Record)> = records.iter().collect();
    ordered.sort_unstable_by_key(|(_, record)| record.sequence);
    let mut out = Vec::with_capacity(HEADER_BYTES + 96 * ordered.len());
    out.extend_from_slice(&header(dataset));
    for (slot, record) in ordered {
        encode(dataset, *slot, record, &mut out);
    }
    out
}

/// Every whole record of a file. After damage it goes on byte by byte until a record checks again.
pub(super) fn parse(dataset: &[u8; 16], file: &[u8]) -> Parsed {
    let mut parsed = Parsed::default();
    let mut at = 0;
    if file.starts_with(&header(dataset)) {
        at = HEADER_BYTES;
    }
    while at < file.len() {
        match record_at(dataset, &file[at..]) {
            Some((slot, record, bytes)) => {
                join(&mut parsed.records, slot, record);
                at += bytes;
            }
            None => {
                parsed.lost_bytes += 1;
                at += 1;
            }
        }
    }
    if !file.starts_with(&header(dataset)) {
        parsed.lost_bytes = parsed.lost_bytes.max(1);
    }
    parsed
}

fn record_at(dataset: &[u8; 16], bytes: &[u8]) -> Option<(Slot, Record, usize)> {
    let (head, rest) = bytes.split_first_chunk::<RECORD_HEAD_BYTES>()?;
    let length = usize::from(u16::from_be_bytes([head[0], head[1]]));
    let gone = match head[3] {
        0 => false,
        1 if length == 0 => true,
        _ => return None,
    };
    if length > MAX_PAYLOAD_BYTES || rest.len() < length + CHECKSUM_BYTES {
        return None;
    }
    let (payload, rest) = rest.split_at(length);
    if checksum(&[dataset, head, payload]) != rest[..CHECKSUM_BYTES] {
        return None;
    }
    let mut sequence = [0; 8];
    sequence.copy_from_slice(&head[4..12]);
    let mut id = [0; 16];
    id.copy_from_slice(&head[12..28]);
    let record = Record {
        sequence: u64::from_be_bytes(sequence),
        payload: (!gone).then(|| payload.to_vec()),
    };
    Some((Slot { kind: head[2], id }, record, RECORD_HEAD_BYTES + length + CHECKSUM_BYTES))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DATASET: [u8; 16] = [7; 16];

    fn some_records() -> impl Strategy<Value = Records> {
        let slot = (1..4_u8, 0..6_u8).prop_map(|(kind, id)| Slot { kind, id: [id; 16] });
        let payload = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..80));
        let record =
            (1..50_u64, payload).prop_map(|(sequence, payload)| Record { sequence, payload });
        proptest::collection::btree_map(slot, record, 0..12)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(records in some_records()) {
            let parsed = parse(&DATASET, &encode_file(&DATASET, &records));
            prop_assert_eq!(parsed, Parsed { records, lost_bytes: 0 });
        }

        #[test]
        fn a_torn_end_costs_only_the_record_that_it_tears(
            records in some_records(), cut in 0..2_000_usize
        ) {
            let file = encode_file(&DATASET, &records);
            let cut = cut.min(file.len());
            let parsed = parse(&DATASET, &file[..cut]);
            let mut whole = Records::new();
            let mut ends = HEADER_BYTES;
            let mut ordered: Vec<_> = records.iter().collect();
            ordered.sort_by_key(|(_, record)| record.sequence);
            for (slot, record) in ordered {
                ends += RECORD_HEAD_BYTES + record.payload.as_ref().map_or(0, Vec::len) + CHECKSUM_BYTES;
                if ends <= cut {
                    whole.insert(*slot, record.clone());
                }
            }
            prop_assert_eq!(parsed.records, whole);
        }

        #[test]
        fn a_flipped_bit_is_noticed_and_costs_at_most_one_record(
            records in some_records(), at in any::<prop::sample::Index>(), bit in 0..8_u8
        ) {
            let mut file = encode_file(&DATASET, &records);
            let at = at.index(file.len());
            file[at] ^= 1 << bit;
            let parsed = parse(&DATASET, &file);
            prop_assert!(parsed.lost_bytes > 0);
            prop_assert!(parsed.records.len() + 1 >= records.len());
            prop_assert!(parsed.records.iter().all(|(slot, record)| records[slot] == *record));
        }

        #[test]
        fn joining_does_not_depend_on_the_order(one in some_records(), other in some_records()) {
            let joined = |first: &Records, second: &Records| {
                let mut records = first.clone();
                for (slot, record) in second {
                    join(&mut records, *slot, record.clone());
                }
                records.into_iter().map(|(slot, record)| (slot, record.sequence, record.payload.is_none()))
                    .collect::<Vec<_>>()
            };
            prop_assert_eq!(joined(&one, &other), joined(&other, &one));
        }
    }

    #[test]
    fn a_record_of_another_dataset_is_not_taken() {
        let mut records = Records::new();
        let record = Record { sequence: 1, payload: Some(vec![9; 60]) };
        join(&mut records, Slot::object([1; 16]), record);
        assert!(parse(&[8; 16], &encode_file(&DATASET, &records)).records.is_empty());
    }

    #[test]
    fn an_object_key_takes_96_bytes() {
        let mut out = Vec::new();
        let record = Record { sequence: 1, payload: Some(vec![9; 60]) };
        encode(&DATASET, Slot::object([1; 16]), &record, &mut out);
        assert_eq!(out.len(), 96);
    }
}
