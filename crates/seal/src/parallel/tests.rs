//! Several threads make and accept the same bytes as one.

#![expect(
    clippy::cast_possible_truncation,
    reason = "lengths here are small, and bytes are the remainder"
)]

use std::sync::Mutex;

use super::*;
use crate::{open_object, plain_bytes, sealed_bytes};

/// A file in memory.
#[derive(Default)]
struct Sink(Mutex<Vec<u8>>);

impl WriteAt for Sink {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut all = self.0.lock().unwrap();
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        if all.len() < end {
            all.resize(end, 0);
        }
        all[start..end].copy_from_slice(bytes);
        Ok(())
    }
}

fn key() -> DataKey {
    DataKey::from_bytes([7; 32])
}

fn id() -> ObjectId {
    ObjectId::from_bytes([8; 16])
}

fn workers(threads: usize) -> Workers<'static> {
    Workers { threads: NonZeroUsize::new(threads).unwrap(), progress: &|_| () }
}

fn text(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 253) as u8).collect()
}

fn seal(plaintext: &[u8], threads: usize, offset: u64) -> Vec<u8> {
    let sink = Sink::default();
    seal_parallel(
        &key(),
        id(),
        (&plaintext, plaintext.len() as u64),
        (&sink, offset),
        workers(threads),
    )
    .unwrap();
    sink.0.into_inner().unwrap().split_off(offset as usize)
}

fn open(sealed: &[u8], threads: usize) -> Result<Vec<u8>, OpenError> {
    let sink = Sink::default();
    open_parallel(&key(), id(), (&sealed, 0, sealed.len() as u64), &sink, workers(threads))?;
    Ok(sink.0.into_inner().unwrap())
}

#[test]
fn several_threads_seal_and_open_what_one_does() {
    for length in
        [0, 1, SEGMENT_BYTES, BATCH_BYTES - 1, BATCH_BYTES, BATCH_BYTES + 1, 3 * BATCH_BYTES + 77]
    {
        let plaintext = text(length);
        for threads in [1, 2, 5] {
            let sealed = seal(&plaintext, threads, 33);
            assert_eq!(sealed.len() as u64, sealed_bytes(length as u64));
            assert!(
                open(&sealed, threads).unwrap() == plaintext,
                "{length} bytes, {threads} threads"
            );
            if length < 2 * BATCH_BYTES {
                assert!(open_object(&key(), id(), &sealed).unwrap() == plaintext);
            }
        }
    }
}

#[test]
fn the_lowest_broken_segment_is_named_whichever_thread_meets_it() {
    let mut sealed = seal(&text(4 * BATCH_BYTES), 2, 0);
    for segment in [20, 40, 60] {
        sealed[PREFIX_BYTES + segment * SEALED_SEGMENT_BYTES] ^= 1;
    }
    assert!(matches!(open(&sealed, 1), Err(OpenError::BrokenSegment { index: 20 })));
    // A thread may have stopped before it met the lowest, but what is named is broken.
    let named = open(&sealed, 2);
    assert!(matches!(named, Err(OpenError::BrokenSegment { index: 20 | 40 | 60 })), "{named:?}");
}

#[test]
fn a_cut_or_extended_object_does_not_open() {
    let sealed = seal(&text(BATCH_BYTES + 2 * SEGMENT_BYTES + 5), 2, 0);
    for length in [
        0,
        5,
        127,
        128,
        129,
        PREFIX_BYTES + SEALED_SEGMENT_BYTES,
        sealed.len() - 21,
        sealed.len() - 1,
    ] {
        assert!(open(&sealed[..length], 2).is_err(), "{length} bytes");
    }
    assert!(open(&[sealed.as_slice(), &[0]].concat(), 2).is_err());
}

#[test]
fn an_object_that_shrinks_while_it_is_opened_is_cut_short() {
    let sealed = seal(&text(2 * BATCH_BYTES), 2, 0);
    let (short, claimed) = (&sealed[..BATCH_BYTES], sealed.len() as u64);
    assert!(plain_bytes(claimed).is_ok());
    let result = open_parallel(&key(), id(), (&short, 0, claimed), &Sink::default(), workers(2));
    assert!(matches!(result, Err(OpenError::CutShort { .. })), "{result:?}");
}

#[test]
fn a_source_of_another_length_than_announced_is_not_sealed() {
    let plaintext = text(BATCH_BYTES + 10);
    for announced in
        [plaintext.len() as u64 - 1, plaintext.len() as u64 + 1, 0, SEGMENT_BYTES as u64]
    {
        let source = plaintext.as_slice();
        let result =
            seal_parallel(&key(), id(), (&source, announced), (&Sink::default(), 0), workers(2));
        assert!(
            matches!(result, Err(SealError::SourceChanged { expected }) if expected == announced)
        );
    }
}

#[test]
fn progress_adds_up_to_the_length() {
    let plaintext = text(3 * BATCH_BYTES + 5);
    let told = AtomicU64::new(0);
    let progress = |more| {
        told.fetch_add(more, Ordering::Relaxed);
    };
    let workers = Workers { threads: NonZeroUsize::new(2).unwrap(), progress: &progress };
    let sink = Sink::default();
    let source = plaintext.as_slice();
    seal_parallel(&key(), id(), (&source, plaintext.len() as u64), (&sink, 0), workers).unwrap();
    assert_eq!(told.swap(0, Ordering::Relaxed), plaintext.len() as u64);
    let sealed = sink.0.into_inner().unwrap();
    let source = sealed.as_slice();
    open_parallel(&key(), id(), (&source, 0, sealed.len() as u64), &Sink::default(), workers)
        .unwrap();
    assert_eq!(told.into_inner(), plaintext.len() as u64);
}
