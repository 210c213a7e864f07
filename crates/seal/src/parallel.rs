//! Large objects sealed and opened by several cores (`spec/sealed-object.md`, section 6).
//!
//! A segment's place follows from its index, so the cores share nothing but a counter: each takes the next batch of segments,
//! reads it where it lies, seals or opens it, and writes it where it belongs. One core seals at about 10 GB/s; what is
//! divided here is above all the system's copying into fresh pages.

use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::cobblestone::{Body, MAX_SEGMENTS};
use crate::object::{GEOMETRY, PREFIX_BYTES, Prefix, SEALED_SEGMENT_BYTES, SEGMENT_BYTES};
use crate::stream::BATCH_SEGMENTS;
use crate::{Commitment, DataKey, ObjectId, OpenError, Plaintext, SealError};

const BATCH_BYTES: usize = BATCH_SEGMENTS * SEGMENT_BYTES;
const SEALED_BATCH_BYTES: usize = BATCH_SEGMENTS * SEALED_SEGMENT_BYTES;

/// Something read at any place, by several threads at a time: a file, or bytes in memory.
pub trait ReadAt: Sync {
    /// Reads into `out` what stands from `offset` on; fewer bytes than asked for are no end, none are.
    ///
    /// # Errors
    /// As the source says.
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize>;
}

/// Something written at any place, by several threads at a time.
pub trait WriteAt: Sync {
    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// As the sink says.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
}

impl ReadAt for &[u8] {
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest =
            usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or(&[]);
        let taken = rest.len().min(out.len());
        out[..taken].copy_from_slice(&rest[..taken]);
        Ok(taken)
    }
}

/// How the work is divided, and who is told how far it is.
#[derive(Clone, Copy)]
pub struct Workers<'a> {
    /// Threads at work, the calling one among them.
    pub threads: NonZeroUsize,
    /// Told the plaintext bytes done since it was told last, from any thread.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

impl std::fmt::Debug for Workers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workers").field("threads", &self.threads).finish_non_exhaustive()
    }
}

/// Seals `plain_len` bytes of `source` as one object, written from `sink_offset` on. `key` is for this one body.
///
/// # Errors
/// No randomness, the source has another length than announced, or reading or writing fails.
pub fn seal_parallel(
    key: &DataKey,
    id: ObjectId,
    (source, plain_len): (&impl ReadAt, u64),
    (sink, sink_offset): (&impl WriteAt, u64),
    workers: Workers<'_>,
) -> Result<Commitment, SealError> {
    let (prefix, body) = Prefix::create(key, id)?;
    sink.write_all_at(&prefix, sink_offset).map_err(SealError::Write)?;
    seal_segments(&body, (source, plain_len), (sink, sink_offset), workers)?;
    Ok(Commitment::from_bytes(*body.commitment()))
}

/// Seals the segments of an object whose prefix stands at `sink_offset`.
pub(crate) fn seal_segments(
    body: &Body,
    (source, plain_len): (&impl ReadAt, u64),
    (sink, sink_offset): (&impl WriteAt, u64),
    workers: Workers<'_>,
) -> Result<(), SealError> {
    let segments = GEOMETRY.segments(plain_len);
    if segments > MAX_SEGMENTS {
        let most = MAX_SEGMENTS * SEGMENT_BYTES as u64 - 1;
        return Err(SealError::TooLong { plain_bytes: plain_len, most });
    }
    let changed = || SealError::SourceChanged { expected: plain_len };
    in_batches(segments, workers.threads, || {
        let mut slots = Plaintext::zeroed(SEALED_BATCH_BYTES);
        move |first: u64| {
            let start = first * SEGMENT_BYTES as u64;
            let plain = BATCH_BYTES.min(usize::try_from(plain_len - start).unwrap_or(usize::MAX));
            let mut left = plain;
            let mut end = 0;
            let count = usize::try_from((segments - first).min(BATCH_SEGMENTS as u64))
                .expect("a batch fits because it has at most 16 segments");
            for (index, slot) in (first..).zip(slots.chunks_mut(SEALED_SEGMENT_BYTES)).take(count) {
                let text = left.min(SEGMENT_BYTES);
                let place = start + (plain - left) as u64;
                let read =
                    read_full_at(source, &mut slot[..text], place).map_err(SealError::Read)?;
                if read != text {
                    return Err(changed());
                }
                let slot = &mut slot[..text + SEALED_SEGMENT_BYTES - SEGMENT_BYTES];
                body.seal_in_place(index, slot);
                left -= text;
                end += slot.len();
            }
            let place = sink_offset + GEOMETRY.sealed_before(first);
            sink.write_all_at(&slots[..end], place).map_err(SealError::Write)?;
            (workers.progress)(plain as u64);
            Ok(())
        }
    })?;
    // A file that grew meanwhile would be sealed without its end and look whole.
    match read_full_at(source, &mut [0], plain_len).map_err(SealError::Read)? {
        0 => Ok(()),
        _ => Err(changed()),
    }
}

/// Opens the object of `sealed_len` bytes that stands at `source_offset`, writing its plaintext from 0 on; gives its length.
///
/// The caller keeps what was written to itself until this returns: the segments are verified each by itself, the whole only
/// at the end.
///
/// # Errors
/// The prefix is no valid one or names another object, the key is another, a segment does not open, no object has that
/// length, or reading or writing fails.
pub fn open_parallel(
    key: &DataKey,
    id: ObjectId,
    (source, source_offset, sealed_len): (&impl ReadAt, u64, u64),
    sink: &impl WriteAt,
    workers: Workers<'_>,
) -> Result<u64, OpenError> {
    let mut prefix = [0; PREFIX_BYTES];
    let read = read_full_at(source, &mut prefix, source_offset).map_err(OpenError::Read)?;
    let body = Prefix::read(&prefix[..read])?.body_of(key, id)?;
    open_segments(&body, (source, source_offset, sealed_len), sink, workers)
}

/// Opens the segments of an object whose prefix has been read.
pub(crate) fn open_segments(
    body: &Body,
    (source, source_offset, sealed_len): (&impl ReadAt, u64, u64),
    sink: &impl WriteAt,
    workers: Workers<'_>,
) -> Result<u64, OpenError> {
    let plain_len = crate::plain_bytes(sealed_len)?;
    let segments = GEOMETRY.segments(plain_len);
    in_batches(segments, workers.threads, || {
        let mut slots = vec![0; SEALED_BATCH_BYTES];
        let mut opened = Plaintext::zeroed(BATCH_BYTES);
        move |first: u64| {
            let start = GEOMETRY.sealed_before(first);
            let sealed =
                SEALED_BATCH_BYTES.min(usize::try_from(sealed_len - start).unwrap_or(usize::MAX));
            let slots = &mut slots[..sealed];
            let read =
                read_full_at(source, slots, source_offset + start).map_err(OpenError::Read)?;
            if read != sealed {
                return Err(OpenError::CutShort { sealed_bytes: start + read as u64 });
            }
            let tags =
                sealed.div_ceil(SEALED_SEGMENT_BYTES) * (SEALED_SEGMENT_BYTES - SEGMENT_BYTES);
            let opened = &mut opened[..sealed - tags];
            body.open_run(first, slots, opened)
                .map_err(|index| OpenError::BrokenSegment { index })?;
            sink.write_all_at(opened, first * SEGMENT_BYTES as u64).map_err(OpenError::Write)?;
            (workers.progress)(opened.len() as u64);
            Ok(())
        }
    })?;
    Ok(plain_len)
}

/// Calls a worker of each thread with the first segment of every batch, in about rising order; the error of the lowest batch
/// counts, so that the answer does not depend on which thread was faster.
fn in_batches<E: Send, F: FnMut(u64) -> Result<(), E>>(
    segments: u64,
    threads: NonZeroUsize,
    worker: impl Fn() -> F + Sync,
) -> Result<(), E> {
    let next = AtomicU64::new(0);
    let failed = AtomicBool::new(false);
    let work = || -> Result<(), (u64, E)> {
        let mut step = worker();
        loop {
            let first = next.fetch_add(BATCH_SEGMENTS as u64, Ordering::Relaxed);
            if first >= segments || failed.load(Ordering::Relaxed) {
                return Ok(());
            }
            step(first).map_err(|error| {
                failed.store(true, Ordering::Relaxed);
                (first, error)
            })?;
        }
    };
    let batches = usize::try_from(segments.div_ceil(BATCH_SEGMENTS as u64)).unwrap_or(usize::MAX);
    let others = threads.get().min(batches) - 1;
    let results: Vec<_> = std::thread::scope(|scope| {
        let others: Vec<_> = (0..others).map(|_| scope.spawn(work)).collect();
        let mine = work();
        others
            .into_iter()
            .map(|thread| match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .chain(std::iter::once(mine))
            .collect()
    });
    let lowest = results.into_iter().filter_map(Result::err).min_by_key(|(first, _)| *first);
    lowest.map_or(Ok(()), |(_, error)| Err(error))
}

/// Reads until `out` is full or the source has ended, however small its pieces.
pub(crate) fn read_full_at(source: &impl ReadAt, out: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < out.len() {
        match source.read_at(&mut out[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests;
