//! Files become packs: one thread reads the folder, file after file, straight into the pack that is being filled.
//!
//! A file is read between two looks at its stamp. Small files share a pack and, where that wastes little, are not cut; a large
//! file fills one pack after the other. Packs are filled in a few buffers that go round and are never given back to the system,
//! which is what bounds a broker's memory: when sealing and sending are slow, reading waits for a buffer.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use api::{Digest, ObjectRef};
use proof::Hasher;
use seal::ObjectId;
use tokio::sync::mpsc::UnboundedSender;
use zeroize::Zeroizing;

use crate::folder::{FilePath, Stamp};
use crate::machine::{Kept, Piece, Reading};

/// How much is read and hashed at a time: it stays in the cache between the two.
const CHUNK_BYTES: usize = 128 * 1024;
/// Files below this are not cut if the pack is reasonably full without them.
const SMALL_BYTES: u64 = 1024 * 1024;
/// A pack with so much in it is full enough to be closed before a small file that does not fit.
const ENOUGH_BYTES: usize = 4 * 1024 * 1024;
/// A pack with pieces of so many files is closed too: what is known of them waits in memory until it is sealed.
const MOST_PIECES: usize = 4096;
/// A pack that nothing is added to for so long is sent as it is.
const IDLE: Duration = Duration::from_secs(2);

/// A buffer for the plaintext of one pack. Dropped, it goes back to be filled again; it is wiped when nobody fills any more.
pub(crate) struct Plain {
    /// Initialised from end to end, so that files are read into it as it is.
    buffer: Zeroizing<Vec<u8>>,
    filled: usize,
    back: Sender<Zeroizing<Vec<u8>>>,
}

impl Plain {
    /// What was filled in.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[..self.filled]
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        // If nobody fills any more, the buffer comes back in the error and is wiped.
        let _reader_has_ended = self.back.send(std::mem::take(&mut self.buffer));
    }
}

impl std::fmt::Debug for Plain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Plain({} bytes)", self.filled)
    }
}

/// What the reading thread is asked for.
#[derive(Debug)]
pub(crate) enum Work {
    /// Read a file.
    Read {
        /// Which file.
        path: FilePath,
        /// At which version.
        stamp: Stamp,
        /// Which reading this is.
        attempt: u32,
        /// What need not be packed again.
        kept: Vec<Kept>,
    },
    /// Close the pack that is being filled.
    Flush,
}

/// What the reading thread gives.
#[derive(Debug)]
pub(crate) enum Filled {
    /// A pack to seal, under this id.
    Pack(ObjectId, Plain, Vec<Piece>),
    /// A file came to its end.
    Read {
        /// Which file.
        path: FilePath,
        /// Which reading.
        attempt: u32,
        /// How.
        reading: Reading,
    },
    /// No id for an object could be drawn.
    NoRandomness,
}

/// Starts the reading thread; it ends when the sender of its work is dropped.
pub(crate) fn start<T: From<Filled> + Send + 'static>(
    folder: PathBuf,
    pack_bytes: usize,
    buffers: usize,
    to: UnboundedSender<T>,
) -> io::Result<Sender<Work>> {
    let (work, todo) = mpsc::channel();
    let (back, free) = mpsc::channel();
    let mut filler = Filler {
        folder,
        pack_bytes,
        give: Box::new(move |filled| to.send(T::from(filled)).is_ok()),
        back,
        free,
        unmade: buffers,
        filling: None,
    };
    thread::Builder::new().name("broker-reader".to_owned()).spawn(move || filler.work(&todo))?;
    Ok(work)
}

struct Filling {
    object: ObjectId,
    plain: Plain,
    pieces: Vec<Piece>,
}

struct Filler {
    folder: PathBuf,
    pack_bytes: usize,
    /// Hands something on; false when nobody takes it.
    give: Box<dyn Fn(Filled) -> bool + Send>,
    back: Sender<Zeroizing<Vec<u8>>>,
    free: Receiver<Zeroizing<Vec<u8>>>,
    /// Buffers that may still be made.
    unmade: usize,
    filling: Option<Filling>,
}

/// Nobody takes what is read any more, or there is no randomness: the thread ends.
struct Ended;

/// Why a file could not be read to its end.
enum Stopped {
    Changed,
    Io,
    Ended,
}

impl From<io::Error> for Stopped {
    fn from(_error: io::Error) -> Self {
        Self::Io
    }
}

impl From<Ended> for Stopped {
    fn from(_ended: Ended) -> Self {
        Self::Ended
    }
}

impl Filler {
    fn work(&mut self, todo: &Receiver<Work>) {
        loop {
            let next = if self.filling.is_some() {
                todo.recv_timeout(IDLE)
            } else {
                todo.recv().map_err(|_| RecvTimeoutError::Disconnected)
            };
            let goes_on = match next {
                Ok(Work::Read { path, stamp, attempt, kept }) => {
                    self.read(path, stamp, attempt, &kept)
                }
                Ok(Work::Flush) | Err(RecvTimeoutError::Timeout) => self.close(),
                Err(RecvTimeoutError::Disconnected) => Err(Ended),
            };
            if goes_on.is_err() {
                return;
            }
        }
    }

    fn read(
        &mut self,
        path: FilePath,
        stamp: Stamp,
        attempt: u32,
        kept: &[Kept],
    ) -> Result<(), Ended> {
        let reading = match self.read_file(&path, stamp, attempt, kept) {
            Ok(sha256) => Reading::Whole(sha256),
            Err(Stopped::Changed) => Reading::Changed,
            Err(Stopped::Io) => Reading::Failed,
            Err(Stopped::Ended) => return Err(Ended),
        };
        self.give(Filled::Read { path, attempt, reading })
    }

    fn give(&self, filled: Filled) -> Result<(), Ended> {
        if (self.give)(filled) { Ok(()) } else { Err(Ended) }
    }

    /// Seals off the pack that is being filled.
    fn close(&mut self) -> Result<(), Ended> {
        match self.filling.take() {
            Some(Filling { object, plain, pieces }) => {
                self.give(Filled::Pack(object, plain, pieces))
            }
            None => Ok(()),
        }
    }

    /// The pack that is being filled; a new one waits for a buffer.
    fn filling(&mut self) -> Result<&mut Filling, Ended> {
        if self.filling.is_none() {
            let buffer = match self.free.try_recv() {
                Ok(buffer) => buffer,
                Err(_) if self.unmade > 0 => {
                    self.unmade -= 1;
                    Zeroizing::new(vec![0; self.pack_bytes])
                }
                Err(_) => self.free.recv().map_err(|_| Ended)?,
            };
            let plain = Plain { buffer, filled: 0, back: self.back.clone() };
            let Ok(object) = ObjectId::generate() else {
                let _ends_anyway = (self.give)(Filled::NoRandomness);
                return Err(Ended);
            };
            self.filling = Some(Filling { object, plain, pieces: Vec::new() });
        }
        self.filling.as_mut().ok_or(Ended)
    }

    /// Room in the pack that is being filled.
    fn room(&self) -> usize {
        self.pack_bytes - self.filling.as_ref().map_or(0, |filling| filling.plain.filled)
    }

    fn read_file(
        &mut self,
        path: &FilePath,
        stamp: Stamp,
        attempt: u32,
        kept: &[Kept],
    ) -> Result<Digest, Stopped> {
        let full = inside(&self.folder, path);
        let mut file = File::open(&full)?;
        if Stamp::of(&file.metadata()?) != stamp {
            return Err(Stopped::Changed);
        }
        let filled = self.pack_bytes - self.room();
        if stamp.bytes < SMALL_BYTES && stamp.bytes > self.room() as u64 && filled >= ENOUGH_BYTES {
            self.close()?;
        }
        let mut whole = Hasher::new();
        let mut at = 0;
        let mut kept = kept.iter().copied().peekable();
        while at < stamp.bytes {
            if let Some(next) = kept.next_if(|next| next.offset == at) {
                skim(&mut file, &mut whole, next)?;
                at += next.bytes;
                continue;
            }
            let until = kept.peek().map_or(stamp.bytes, |next| next.offset);
            let bytes = usize::try_from(until - at).unwrap_or(usize::MAX).min(self.room());
            let filling = self.filling()?;
            let offset = filling.plain.filled;
            read_into(&mut file, &mut filling.plain, bytes, &mut whole)?;
            let object = ObjectRef(*filling.object.as_bytes());
            let (offset, bytes) = (offset as u64, bytes as u64);
            let path = path.clone();
            filling.pieces.push(Piece {
                path,
                stamp,
                attempt,
                file_offset: at,
                object,
                offset,
                bytes,
                sha256_so_far: whole.clone().finish(),
            });
            let is_full = filling.pieces.len() >= MOST_PIECES;
            at += bytes;
            if is_full || self.room() == 0 {
                self.close()?;
            }
        }
        // Neither longer than it was, nor another file under the same name by now.
        if file.read(&mut [0])? != 0 || Stamp::of(&fs::metadata(&full)?) != stamp {
            return Err(Stopped::Changed);
        }
        Ok(whole.finish())
    }
}

/// Reads `bytes` bytes behind what is filled.
fn read_into(
    file: &mut File,
    plain: &mut Plain,
    bytes: usize,
    whole: &mut Hasher,
) -> Result<(), Stopped> {
    let end = plain.filled + bytes;
    while plain.filled < end {
        let until = end.min(plain.filled + CHUNK_BYTES);
        let read = file.read(&mut plain.buffer[plain.filled..until])?;
        if read == 0 {
            return Err(Stopped::Changed);
        }
        whole.update(&plain.buffer[plain.filled..plain.filled + read]);
        plain.filled += read;
    }
    Ok(())
}

/// Reads over a piece that the hub holds already, and checks that the file is up to its end what it was.
fn skim(file: &mut File, whole: &mut Hasher, kept: Kept) -> Result<(), Stopped> {
    let mut chunk = Zeroizing::new(vec![0; CHUNK_BYTES]);
    let mut left = kept.bytes;
    while left > 0 {
        let ask = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
        let read = file.read(&mut chunk[..ask])?;
        if read == 0 {
            return Err(Stopped::Changed);
        }
        whole.update(&chunk[..read]);
        left -= read as u64;
    }
    if whole.clone().finish() == kept.sha256_so_far { Ok(()) } else { Err(Stopped::Changed) }
}

/// A buffer for [`rehash`], to be used for one file after the other.
pub(crate) fn rehash_buffer() -> Zeroizing<Vec<u8>> {
    Zeroizing::new(vec![0; CHUNK_BYTES])
}

/// The SHA-256 of a file, if it has this stamp before and after; for the comparison at the end.
pub(crate) fn rehash(folder: &Path, path: &str, stamp: Stamp, chunk: &mut [u8]) -> Reading {
    let full = inside(folder, path);
    let mut hash = || -> io::Result<Reading> {
        let mut file = File::open(&full)?;
        if Stamp::of(&file.metadata()?) != stamp {
            return Ok(Reading::Changed);
        }
        let mut hasher = Hasher::new();
        loop {
            let read = file.read(chunk)?;
            if read == 0 {
                break;
            }
            hasher.update(&chunk[..read]);
        }
        let same = Stamp::of(&fs::metadata(&full)?) == stamp;
        Ok(if same { Reading::Whole(hasher.finish()) } else { Reading::Changed })
    };
    hash().unwrap_or(Reading::Failed)
}

/// The place of a path inside a folder.
pub(crate) fn inside(folder: &Path, path: &str) -> PathBuf {
    path.split('/').fold(folder.to_owned(), |folder, name| folder.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    const PACK: usize = 6 * 1024 * 1024;

    /// Reads one file with a filler of its own and gives what came out of it.
    fn fill(folder: &Path, path: &str, kept: Vec<Kept>) -> (Vec<(usize, Vec<Piece>)>, Reading) {
        let stamp = Stamp::of(&fs::metadata(folder.join(path)).unwrap());
        fill_stamped(folder, path, stamp, kept)
    }

    fn fill_stamped(
        folder: &Path,
        path: &str,
        stamp: Stamp,
        kept: Vec<Kept>,
    ) -> (Vec<(usize, Vec<Piece>)>, Reading) {
        let (to, mut from) = tokio::sync::mpsc::unbounded_channel::<Filled>();
        let work = start(folder.to_owned(), PACK, 8, to).unwrap();
        work.send(Work::Read { path: path.into(), stamp, attempt: 1, kept }).unwrap();
        work.send(Work::Flush).unwrap();
        drop(work);
        let (mut packs, mut end) = (Vec::new(), None);
        while let Some(filled) = from.blocking_recv() {
            match filled {
                Filled::Pack(_, plain, pieces) => packs.push((plain.bytes().len(), pieces)),
                Filled::Read { reading, .. } => end = Some(reading),
                Filled::NoRandomness => panic!("there is randomness"),
            }
        }
        (packs, end.unwrap())
    }

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|i| u8::try_from((i * 31 + i / 251) % 251).unwrap()).collect()
    }

    #[test]
    fn a_large_file_fills_packs_and_its_pieces_follow_one_another() {
        let folder = tempfile::tempdir().unwrap();
        let content = bytes(2 * PACK + 12345);
        fs::write(folder.path().join("big"), &content).unwrap();
        let (packs, reading) = fill(folder.path(), "big", vec![]);
        assert_eq!(reading, Reading::Whole(proof::sha256(&content)));
        assert_eq!(packs.iter().map(|(bytes, _)| *bytes).collect::<Vec<_>>(), [PACK, PACK, 12345]);
        let mut at = 0;
        for (_, pieces) in &packs {
            for piece in pieces {
                assert_eq!(piece.file_offset, at);
                at += piece.bytes;
                let so_far = proof::sha256(&content[..usize::try_from(at).unwrap()]);
                assert_eq!(piece.sha256_so_far, so_far);
            }
        }
        assert_eq!(at, content.len() as u64);
    }

    #[test]
    fn a_pack_of_very_many_small_files_is_closed_before_it_is_full() {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<_> = (0..=MOST_PIECES).map(|n| FilePath::from(n.to_string())).collect();
        let (to, mut from) = tokio::sync::mpsc::unbounded_channel::<Filled>();
        let work = start(folder.path().to_owned(), PACK, 2, to).unwrap();
        for path in &paths {
            fs::write(folder.path().join(&**path), b"x").unwrap();
            let stamp = Stamp::of(&fs::metadata(folder.path().join(&**path)).unwrap());
            work.send(Work::Read { path: path.clone(), stamp, attempt: 1, kept: vec![] }).unwrap();
        }
        work.send(Work::Flush).unwrap();
        drop(work);
        let mut packs = Vec::new();
        while let Some(filled) = from.blocking_recv() {
            if let Filled::Pack(_, _, pieces) = filled {
                packs.push(pieces.len());
            }
        }
        assert_eq!(packs, [MOST_PIECES, 1]);
    }

    #[test]
    fn what_is_kept_is_checked_and_not_packed_again() {
        let folder = tempfile::tempdir().unwrap();
        let content = bytes(PACK + 100_000);
        fs::write(folder.path().join("big"), &content).unwrap();
        let sha256_so_far = proof::sha256(&content[..PACK]);
        let kept = Kept { offset: 0, bytes: PACK as u64, sha256_so_far };
        let (packs, reading) = fill(folder.path(), "big", vec![kept]);
        assert_eq!(reading, Reading::Whole(proof::sha256(&content)));
        assert_eq!(packs.len(), 1);
        assert_eq!((packs[0].1[0].file_offset, packs[0].1[0].bytes), (PACK as u64, 100_000));
        let other = Kept { sha256_so_far: Digest([0; 32]), ..kept };
        assert_eq!(fill(folder.path(), "big", vec![other]).1, Reading::Changed);
    }

    #[test]
    fn a_file_that_is_not_what_was_seen_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        fs::write(&path, b"four").unwrap();
        let stamp = Stamp::of(&fs::metadata(&path).unwrap());
        fs::write(&path, b"longer").unwrap();
        assert_eq!(fill_stamped(folder.path(), "x", stamp, vec![]).1, Reading::Changed);
        assert_eq!(rehash(folder.path(), "x", stamp, &mut rehash_buffer()), Reading::Changed);
        fs::remove_file(&path).unwrap();
        assert_eq!(fill_stamped(folder.path(), "x", stamp, vec![]).1, Reading::Failed);
    }

    #[test]
    fn a_file_that_grows_while_it_is_read_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        // One buffer and a file of two packs: the reader stops in the middle of the file until the buffer comes back.
        fs::write(&path, bytes(PACK + 1)).unwrap();
        let stamp = Stamp::of(&fs::metadata(&path).unwrap());
        let (to, mut from) = tokio::sync::mpsc::unbounded_channel::<Filled>();
        let work = start(folder.path().to_owned(), PACK, 1, to).unwrap();
        work.send(Work::Read { path: "x".into(), stamp, attempt: 7, kept: vec![] }).unwrap();
        let Some(Filled::Pack(_, plain, _)) = from.blocking_recv() else {
            panic!("a pack comes first")
        };
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(b"more", PACK as u64 + 1).unwrap();
        drop(plain);
        let Some(Filled::Read { attempt: 7, reading, .. }) = from.blocking_recv() else {
            panic!("then the end of the file")
        };
        assert_eq!(reading, Reading::Changed);
    }
}
