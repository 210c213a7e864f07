//! Objects sealed and opened as streams, in bounded memory (`spec/sealed-object.md`, section 6).
//!
//! [`Sealer`] is a writer, [`Opener`] a reader; each also takes a whole stream at once, which saves a copy. Both work on a batch of
//! segments, so that the system is asked for a mebibyte at a time. A short read is not the end of anything: a segment is
//! sealed when it is full or when the source says that it has ended.

use std::fmt;
use std::io::{self, Read, Write};

use crate::cobblestone::{Body, Geometry, MAX_SEGMENTS};
use crate::object::{Commitment, PREFIX_BYTES, Prefix, TAG_BYTES};
use crate::{DataKey, ObjectId, OpenError, Plaintext, SealError};

/// Segments handled at a time.
pub(crate) const BATCH_SEGMENTS: usize = 16;

/// Seals what is written to it; [`Sealer::finish`] ends the object.
///
/// An object that was not finished has no last segment and does not open.
pub struct Sealer<W: Write> {
    body: Body,
    writer: W,
    /// Room for a batch of sealed segments. The first of it is sealed; then, in the slot that is being filled, plaintext lies
    /// where its ciphertext will.
    slots: Plaintext,
    /// Sealed bytes in `slots`, whole segments.
    sealed: usize,
    /// Plaintext bytes after them, fewer than a segment.
    filled: usize,
    /// Index of the segment that is being filled.
    next: u64,
    /// Reading or writing failed before: the object is never ended, and nothing is sealed twice.
    broken: bool,
}

impl<W: Write> Sealer<W> {
    /// Begins an object: writes its prefix. `key` is for this one body.
    ///
    /// # Errors
    /// No randomness, or the writer fails.
    pub fn new(key: &DataKey, id: ObjectId, writer: W) -> Result<Self, SealError> {
        let (prefix, body) = Prefix::create(key, id)?;
        Self::begin(&prefix, body, writer)
    }

    pub(crate) fn begin(prefix: &[u8], body: Body, mut writer: W) -> Result<Self, SealError> {
        writer.write_all(prefix).map_err(SealError::Write)?;
        let slots = Plaintext::zeroed(BATCH_SEGMENTS * body.geometry().slot_bytes());
        Ok(Self { body, writer, slots, sealed: 0, filled: 0, next: 0, broken: false })
    }

    /// What binds the body to its key.
    pub fn commitment(&self) -> Commitment {
        Commitment::from_bytes(*self.body.commitment())
    }

    /// Seals all that `reader` gives, calling `progress` with the bytes read so far, batch by batch.
    ///
    /// # Errors
    /// The reader or the writer fails.
    pub fn read_from(
        &mut self,
        reader: &mut impl Read,
        progress: &mut dyn FnMut(u64),
    ) -> Result<u64, SealError> {
        let mut total = 0;
        if self.broken {
            return Err(SealError::Write(already_broken()));
        }
        loop {
            let room = self.room();
            let read = match reader.read(&mut self.slots[room]) {
                Ok(0) => {
                    progress(total);
                    return Ok(total);
                }
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    // Ended here, the object would pass for the whole of a source that was not.
                    self.broken = true;
                    return Err(SealError::Read(error));
                }
            };
            total += read as u64;
            if self.fill(read)? {
                progress(total);
            }
        }
    }

    /// Seals and writes the last segment and gives back the writer.
    ///
    /// # Errors
    /// The writer fails, or something failed before.
    pub fn finish(mut self) -> Result<(W, Commitment), SealError> {
        if self.broken {
            return Err(SealError::Write(already_broken()));
        }
        let end = self.sealed + self.filled + TAG_BYTES;
        self.body.seal_in_place(self.next, &mut self.slots[self.sealed..end]);
        let commitment = self.commitment();
        let Self { mut writer, slots, .. } = self;
        writer.write_all(&slots[..end]).and_then(|()| writer.flush()).map_err(SealError::Write)?;
        Ok((writer, commitment))
    }

    /// The free part of the slot that is being filled.
    fn room(&self) -> std::ops::Range<usize> {
        self.sealed + self.filled..self.sealed + self.body.geometry().segment_bytes
    }

    /// Counts plaintext that was put into the room; a segment that is full is sealed while it is still in the cache. `true` when
    /// a batch was written.
    fn fill(&mut self, plain: usize) -> Result<bool, SealError> {
        self.filled += plain;
        if self.filled < self.body.geometry().segment_bytes {
            return Ok(false);
        }
        self.check_room_for_more()?;
        let end = self.sealed + self.body.geometry().slot_bytes();
        self.body.seal_in_place(self.next, &mut self.slots[self.sealed..end]);
        self.filled = 0;
        self.sealed_one()
    }

    /// Moves on to the next slot, writing the batch when this was its last.
    fn sealed_one(&mut self) -> Result<bool, SealError> {
        self.next += 1;
        self.sealed += self.body.geometry().slot_bytes();
        if self.sealed < self.slots.len() {
            return Ok(false);
        }
        self.sealed = 0;
        self.writer.write_all(&self.slots).map_err(|error| {
            self.broken = true;
            SealError::Write(error)
        })?;
        Ok(true)
    }

    /// After a full segment there must be an index for the last.
    fn check_room_for_more(&mut self) -> Result<(), SealError> {
        if self.next + 1 < MAX_SEGMENTS {
            return Ok(());
        }
        self.broken = true;
        let Geometry { segment_bytes, .. } = self.body.geometry();
        let plain_bytes = MAX_SEGMENTS * segment_bytes as u64;
        Err(SealError::TooLong { plain_bytes, most: plain_bytes - 1 })
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.broken {
            return Err(already_broken());
        }
        let Geometry { segment_bytes, .. } = self.body.geometry();
        if self.filled == 0 && bytes.len() >= segment_bytes {
            // A whole segment at hand is sealed on its way into the slot, without a copy of its plaintext.
            self.check_room_for_more().map_err(io::Error::other)?;
            let slot = self.sealed..self.sealed + self.body.geometry().slot_bytes();
            self.body.seal(self.next, &bytes[..segment_bytes], &mut self.slots[slot]);
            self.sealed_one().map_err(io::Error::other)?;
            return Ok(segment_bytes);
        }
        let room = self.room();
        let taken = bytes.len().min(room.len());
        self.slots[room.start..room.start + taken].copy_from_slice(&bytes[..taken]);
        self.fill(taken).map_err(io::Error::other)?;
        Ok(taken)
    }

    /// Passes on to the writer what is sealed already; a segment that is not full stays here until it is.
    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl<W: Write> fmt::Debug for Sealer<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("next", &self.next).finish_non_exhaustive()
    }
}

fn already_broken() -> io::Error {
    io::Error::other("reading or writing failed before, so the object is not ended")
}

/// Opens a stream; what it gives has been verified, segment by segment, and its end has been proved when it gives no more.
///
/// As a reader it reports an [`OpenError`] inside an [`io::Error`] of kind `InvalidData`.
pub struct Opener<R: Read> {
    body: Body,
    reader: R,
    id: ObjectId,
    slots: Vec<u8>,
    opened: Plaintext,
    /// Plaintext in `opened` not yet given, for [`Read`].
    given: usize,
    /// Index of the next segment.
    next: u64,
    ended: bool,
    failed: bool,
}

impl<R: Read> Opener<R> {
    /// Reads the prefix and checks that `key` is the one it commits to.
    ///
    /// # Errors
    /// The prefix is no valid one or names another object, the key is another, or the reader fails.
    pub fn new(key: &DataKey, id: ObjectId, mut reader: R) -> Result<Self, OpenError> {
        let mut prefix = [0; PREFIX_BYTES];
        let read = read_full(&mut reader, &mut prefix).map_err(OpenError::Read)?;
        let body = Prefix::read(&prefix[..read])?.body_of(key, id)?;
        Ok(Self::begin(body, id, reader))
    }

    pub(crate) fn begin(body: Body, id: ObjectId, reader: R) -> Self {
        let slots = vec![0; BATCH_SEGMENTS * body.geometry().slot_bytes()];
        Self {
            body,
            reader,
            id,
            slots,
            opened: Plaintext::default(),
            given: 0,
            next: 0,
            ended: false,
            failed: false,
        }
    }

    /// The id of the object.
    pub const fn id(&self) -> ObjectId {
        self.id
    }

    /// Opens all that is left into `writer`, calling `progress` with the plaintext bytes written so far, batch by batch.
    ///
    /// On an error, what was written is a verified beginning and nothing more.
    ///
    /// # Errors
    /// A segment does not open, the stream ends where an object cannot, or the reader or writer fails.
    pub fn write_to(
        &mut self,
        writer: &mut impl Write,
        progress: &mut dyn FnMut(u64),
    ) -> Result<u64, OpenError> {
        let mut total = 0;
        loop {
            let opened = &self.opened[self.given..];
            writer.write_all(opened).map_err(OpenError::Write)?;
            total += opened.len() as u64;
            progress(total);
            self.given = self.opened.len();
            if !self.open_batch()? {
                writer.flush().map_err(OpenError::Write)?;
                return Ok(total);
            }
        }
    }

    /// Opens the next batch into `opened`; `false` when the object has ended, as it should.
    fn open_batch(&mut self) -> Result<bool, OpenError> {
        if self.ended {
            return Ok(false);
        }
        if self.failed {
            return Err(OpenError::BrokenSegment { index: self.next });
        }
        self.failed = true;
        self.given = 0;
        self.opened.clear();
        let read = read_full(&mut self.reader, &mut self.slots).map_err(OpenError::Read)?;
        let ended = read < self.slots.len();
        let geometry = self.body.geometry();
        let sealed_bytes = geometry.sealed_before(self.next) + read as u64;
        if self.next >= MAX_SEGMENTS {
            return Err(OpenError::TooLong { sealed_bytes });
        }
        if ended && read % geometry.slot_bytes() < TAG_BYTES {
            return Err(OpenError::CutShort { sealed_bytes });
        }
        self.opened.resize(read - read.div_ceil(geometry.slot_bytes()) * TAG_BYTES, 0);
        let slots = &self.slots[..read];
        if let Err(index) = self.body.open_run(self.next, slots, &mut self.opened) {
            self.opened.clear();
            return Err(OpenError::BrokenSegment { index });
        }
        self.next += BATCH_SEGMENTS as u64;
        self.ended = ended;
        self.failed = false;
        Ok(true)
    }
}

impl<R: Read> Read for Opener<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        while self.given == self.opened.len() {
            let more = self.open_batch().map_err(|error| match error {
                OpenError::Read(error) => error,
                other => io::Error::new(io::ErrorKind::InvalidData, other),
            })?;
            if !more {
                return Ok(0);
            }
        }
        let opened = &self.opened[self.given..];
        let taken = opened.len().min(out.len());
        out[..taken].copy_from_slice(&opened[..taken]);
        self.given += taken;
        Ok(taken)
    }
}

impl<R: Read> fmt::Debug for Opener<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener")
            .field("id", &self.id)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

/// Reads until `out` is full or the source has ended, however small its pieces.
pub(crate) fn read_full(reader: &mut impl Read, out: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < out.len() {
        match reader.read(&mut out[filled..]) {
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
