//! Streams give what was sealed, whatever the size of reads and writes, and nothing that was not verified.

#![expect(clippy::cast_possible_truncation, reason = "bytes are the remainder")]

use proptest::prelude::*;

use super::*;
use crate::object::{SEALED_SEGMENT_BYTES, SEGMENT_BYTES};
use crate::{open_object, seal_object, sealed_bytes};

const BATCH: usize = BATCH_SEGMENTS * SEGMENT_BYTES;

fn key() -> DataKey {
    DataKey::from_bytes([7; 32])
}

fn id() -> ObjectId {
    ObjectId::from_bytes([8; 16])
}

fn text(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 253) as u8).collect()
}

/// Gives at most `most` bytes a read, and is interrupted now and then, as pipes are.
struct Pipe<'a> {
    left: &'a [u8],
    most: usize,
    reads: usize,
}

impl<'a> Pipe<'a> {
    fn of(left: &'a [u8], most: usize) -> Self {
        Self { left, most, reads: 0 }
    }
}

impl Read for Pipe<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.reads += 1;
        if self.reads.is_multiple_of(5) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let taken = self.left.len().min(self.most).min(out.len());
        out[..taken].copy_from_slice(&self.left[..taken]);
        self.left = &self.left[taken..];
        Ok(taken)
    }
}

fn seal(plaintext: &[u8], most: usize) -> Vec<u8> {
    let mut sealer = Sealer::new(&key(), id(), Vec::new()).unwrap();
    sealer.read_from(&mut Pipe::of(plaintext, most), &mut |_| ()).unwrap();
    sealer.finish().unwrap().0
}

fn open(sealed: &[u8], most: usize) -> (Vec<u8>, Result<u64, OpenError>) {
    let mut out = Vec::new();
    let result = Opener::new(&key(), id(), Pipe::of(sealed, most))
        .and_then(|mut opener| opener.write_to(&mut out, &mut |_| ()));
    (out, result)
}

#[test]
fn a_stream_is_sealed_and_opened_at_every_length_that_matters() {
    for length in [
        0,
        1,
        SEGMENT_BYTES - 1,
        SEGMENT_BYTES,
        SEGMENT_BYTES + 1,
        BATCH - 1,
        BATCH,
        BATCH + 1,
        2 * BATCH,
    ] {
        let plaintext = text(length);
        let sealed = seal(&plaintext, 40_000);
        assert_eq!(sealed.len() as u64, sealed_bytes(length as u64));
        assert!(open_object(&key(), id(), &sealed).unwrap() == plaintext, "{length} bytes, whole");
        let (opened, result) = open(&sealed, 50_000);
        assert_eq!(result.unwrap(), length as u64);
        assert!(opened == plaintext, "{length} bytes, as a stream");
    }
}

#[test]
fn reads_of_one_byte_lose_nothing() {
    let plaintext = text(SEGMENT_BYTES + 300);
    let sealed = seal(&plaintext, 1);
    assert!(open(&sealed, 1).0 == plaintext);
}

#[test]
fn written_in_pieces_is_sealed_as_read_at_once() {
    for piece in [1_000, SEGMENT_BYTES, BATCH + 5] {
        let plaintext = text(BATCH + 3 * SEGMENT_BYTES + 5);
        let mut sealer = Sealer::new(&key(), id(), Vec::new()).unwrap();
        plaintext.chunks(piece).for_each(|piece| sealer.write_all(piece).unwrap());
        let (sealed, commitment) = sealer.finish().unwrap();
        assert_eq!(Prefix::read(&sealed).unwrap().commitment(), commitment);
        assert!(open_object(&key(), id(), &sealed).unwrap() == plaintext);
        let mut read = Vec::new();
        Opener::new(&key(), id(), sealed.as_slice()).unwrap().read_to_end(&mut read).unwrap();
        assert!(read == plaintext);
    }
}

#[test]
fn a_stream_cut_anywhere_gives_a_true_beginning_and_an_error() {
    let plaintext = text(BATCH + 2 * SEGMENT_BYTES + 5);
    let sealed = seal(&plaintext, usize::MAX);
    let boundaries = (0..=18).map(|index| PREFIX_BYTES + index * SEALED_SEGMENT_BYTES);
    for at in boundaries.flat_map(|at| [at - 1, at, at + 1, at + 15, at + 16, at + 17]) {
        let (given, result) = open(&sealed[..at.min(sealed.len() - 1)], usize::MAX);
        let error = result.expect_err("a cut stream opened");
        assert!(
            matches!(error, OpenError::CutShort { .. } | OpenError::BrokenSegment { .. }),
            "{error:?}"
        );
        assert!(plaintext.starts_with(&given), "{at} bytes");
        assert!(given.len().is_multiple_of(SEGMENT_BYTES), "{at} bytes");
    }
}

#[test]
fn a_reader_that_failed_goes_on_failing() {
    let mut sealed = seal(&text(BATCH + 5), usize::MAX);
    *sealed.last_mut().unwrap() ^= 1;
    let mut opener = Opener::new(&key(), id(), sealed.as_slice()).unwrap();
    let mut out = Vec::new();
    let error = opener.read_to_end(&mut out).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(matches!(
        error.get_ref().and_then(|inner| inner.downcast_ref()),
        Some(OpenError::BrokenSegment { index: 16 })
    ));
    assert_eq!(out.len(), BATCH);
    assert!(opener.read(&mut [0; 8]).is_err());
    assert!(opener.write_to(&mut out, &mut |_| ()).is_err());
    assert_eq!(out.len(), BATCH);
}

/// Fails after so many bytes.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_object_whose_writing_failed_is_never_ended() {
    let mut sealer = Sealer::new(&key(), id(), Full(PREFIX_BYTES + 1000)).unwrap();
    let error = sealer.read_from(&mut text(BATCH + 1).as_slice(), &mut |_| ()).unwrap_err();
    assert!(matches!(error, SealError::Write(_)));
    assert!(sealer.write(b"more").is_err());
    assert!(sealer.finish().is_err());
}

#[test]
fn an_object_whose_source_failed_is_never_ended() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
    let mut sealer = Sealer::new(&key(), id(), Vec::new()).unwrap();
    sealer.write_all(b"a beginning").unwrap();
    assert!(matches!(sealer.read_from(&mut Failing, &mut |_| ()), Err(SealError::Read(_))));
    assert!(sealer.finish().is_err());
}

#[test]
fn progress_ends_at_the_length() {
    let plaintext = text(3 * BATCH + 11);
    let mut told = Vec::new();
    let mut sealer = Sealer::new(&key(), id(), Vec::new()).unwrap();
    sealer.read_from(&mut plaintext.as_slice(), &mut |done| told.push(done)).unwrap();
    assert!(told.is_sorted());
    assert_eq!(told.last(), Some(&(plaintext.len() as u64)));
    let sealed = sealer.finish().unwrap().0;
    told.clear();
    let mut opener = Opener::new(&key(), id(), sealed.as_slice()).unwrap();
    opener.write_to(&mut io::sink(), &mut |done| told.push(done)).unwrap();
    assert_eq!(told.last(), Some(&(plaintext.len() as u64)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_altered_stream_gives_a_true_beginning_and_an_error(at: prop::sample::Index, bit in 0..8u32, length in 0..(BATCH + SEGMENT_BYTES)) {
        let plaintext = text(length);
        let mut sealed = seal_object(&key(), id(), &plaintext).unwrap().0;
        let at = at.index(sealed.len());
        sealed[at] ^= 1 << bit;
        let (given, result) = open(&sealed, 100_000);
        prop_assert!(result.is_err());
        prop_assert!(plaintext.starts_with(&given));
        // Nothing of the altered segment, nor of what comes after it.
        prop_assert!(given.len() <= at.saturating_sub(PREFIX_BYTES) / SEALED_SEGMENT_BYTES * SEGMENT_BYTES);
    }
}
