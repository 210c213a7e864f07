//! Files become packs: one thread reads the folder, file after file, straight into the pack that is being filled.
//!
//! A file is read between two looks at its stamp. Small files share a pack and, where that wastes little, are not cut; a large
//! file fills one pack after the other. How many packs there may be between being filled and being acknowledged is counted
//! in permits, which is what bounds a broker's memory: when the network is slow, reading waits.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use api::{Digest, ObjectRef};
use dataset::Pack;
use proof::Hasher;
use seal::ObjectId;
use tokio::sync::mpsc::UnboundedSender;
use zeroize::Zeroizing;

use crate::folder::Stamp;
use crate::machine::{Kept, Piece, Reading};

/// How much is read and hashed at a time: it stays in the cache between the two.
const CHUNK_BYTES: usize = 128 * 1024;
/// Files below this are not cut if the pack is reasonably full without them.
const SMALL_BYTES: u64 = 1024 * 1024;
/// A pack with so much in it is full enough to be closed before a small file that does not fit.
const ENOUGH_BYTES: usize = 4 * 1024 * 1024;
/// A pack that nothing is added to for so long is sent as it is.
const IDLE: Duration = Duration::from_secs(2);

/// Leave to hold one pack in memory; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit(Sender<()>);

impl Drop for Permit {
    fn drop(&mut self) {
        // Nobody waits for permits any more when the reader has ended.
        let _reader_has_ended = self.0.send(());
    }
}

/// What the reading thread is asked for.
#[derive(Debug)]
pub(crate) enum Work {
    /// Read a file.
    Read {
        /// Which file.
        path: String,
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
    /// A pack to seal.
    Pack(Pack, Vec<Piece>, Permit),
    /// A file came to its end.
    Read {
        /// Which file.
        path: String,
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
    packs: usize,
    to: UnboundedSender<T>,
) -> io::Result<Sender<Work>> {
    let (work, todo) = mpsc::channel();
    let (permit, permits) = mpsc::channel();
    for _ in 0..packs {
        let _the_receiver_is_here = permit.send(());
    }
    let mut filler = Filler {
        folder,
        pack_bytes,
        give: Box::new(move |filled| to.send(T::from(filled)).is_ok()),
        permit,
        permits,
        filling: None,
    };
    thread::Builder::new().name("broker-reader".to_owned()).spawn(move || filler.work(&todo))?;
    Ok(work)
}

struct Filling {
    object: ObjectId,
    plaintext: Zeroizing<Vec<u8>>,
    pieces: Vec<Piece>,
    permit: Permit,
}

struct Filler {
    folder: PathBuf,
    pack_bytes: usize,
    /// Hands something on; false when nobody takes it.
    give: Box<dyn Fn(Filled) -> bool + Send>,
    permit: Sender<()>,
    permits: Receiver<()>,
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
        path: String,
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
            Some(Filling { object, plaintext, pieces, permit }) => {
                self.give(Filled::Pack(Pack::of(object, plaintext), pieces, permit))
            }
            None => Ok(()),
        }
    }

    /// The pack that is being filled; a new one waits for a permit.
    fn filling(&mut self) -> Result<&mut Filling, Ended> {
        if self.filling.is_none() {
            self.permits.recv().map_err(|_| Ended)?;
            let permit = Permit(self.permit.clone());
            let Ok(object) = ObjectId::generate() else {
                let _ends_anyway = (self.give)(Filled::NoRandomness);
                return Err(Ended);
            };
            let plaintext = Zeroizing::new(Vec::with_capacity(self.pack_bytes));
            self.filling = Some(Filling { object, plaintext, pieces: Vec::new(), permit });
        }
        self.filling.as_mut().ok_or(Ended)
    }

    /// Room in the pack that is being filled.
    fn room(&self) -> usize {
        self.filling.as_ref().map_or(self.pack_bytes, |f| self.pack_bytes - f.plaintext.len())
    }

    fn read_file(
        &mut self,
        path: &str,
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
            // A file that is one piece need not be hashed twice.
            let alone = at == 0 && bytes as u64 == stamp.bytes;
            let filling = self.filling()?;
            let offset = filling.plaintext.len();
            let own = read_into(&mut file, &mut filling.plaintext, bytes, &mut whole, alone)?;
            let sha256 = own.unwrap_or_else(|| whole.clone().finish());
            let object = ObjectRef(*filling.object.as_bytes());
            let (offset, bytes) = (offset as u64, bytes as u64);
            let path = path.to_owned();
            filling.pieces.push(Piece {
                path,
                stamp,
                attempt,
                file_offset: at,
                object,
                offset,
                bytes,
                sha256,
            });
            at += bytes;
            if self.room() == 0 {
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

/// Reads `bytes` bytes to the end of `plaintext`; gives their own digest unless they are `alone` in `whole`.
fn read_into(
    file: &mut File,
    plaintext: &mut Vec<u8>,
    bytes: usize,
    whole: &mut Hasher,
    alone: bool,
) -> Result<Option<Digest>, Stopped> {
    let mut own = (!alone).then(Hasher::new);
    let mut left = bytes;
    while left > 0 {
        let from = plaintext.len();
        let ask = left.min(CHUNK_BYTES);
        // Within the capacity, so the bytes never move and leave no copy behind.
        let read = file.take(ask as u64).read_to_end(plaintext)?;
        if read == 0 {
            return Err(Stopped::Changed);
        }
        whole.update(&plaintext[from..]);
        if let Some(own) = &mut own {
            own.update(&plaintext[from..]);
        }
        left -= read;
    }
    Ok(own.map(Hasher::finish))
}

/// Reads over a piece that the hub holds already, and checks that it is still what the file has there.
fn skim(file: &mut File, whole: &mut Hasher, kept: Kept) -> Result<(), Stopped> {
    let mut own = Hasher::new();
    let mut chunk = Zeroizing::new(vec![0; CHUNK_BYTES]);
    let mut left = kept.bytes;
    while left > 0 {
        let ask = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
        let read = file.read(&mut chunk[..ask])?;
        if read == 0 {
            return Err(Stopped::Changed);
        }
        whole.update(&chunk[..read]);
        own.update(&chunk[..read]);
        left -= read as u64;
    }
    if own.finish() == kept.sha256 { Ok(()) } else { Err(Stopped::Changed) }
}

/// The SHA-256 of a file, if it has this stamp before and after; for the comparison at the end.
pub(crate) fn rehash(folder: &Path, path: &str, stamp: Stamp) -> Reading {
    let full = inside(folder, path);
    let hash = || -> io::Result<Reading> {
        let mut file = File::open(&full)?;
        if Stamp::of(&file.metadata()?) != stamp {
            return Ok(Reading::Changed);
        }
        let mut hasher = Hasher::new();
        let most = usize::try_from(stamp.bytes.saturating_add(1)).unwrap_or(usize::MAX);
        let mut chunk = Zeroizing::new(vec![0; most.min(CHUNK_BYTES)]);
        loop {
            let read = file.read(&mut chunk)?;
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
    fn fill(folder: &Path, path: &str, kept: Vec<Kept>) -> (Vec<(Pack, Vec<Piece>)>, Reading) {
        let stamp = Stamp::of(&fs::metadata(folder.join(path)).unwrap());
        fill_stamped(folder, path, stamp, kept)
    }

    fn fill_stamped(
        folder: &Path,
        path: &str,
        stamp: Stamp,
        kept: Vec<Kept>,
    ) -> (Vec<(Pack, Vec<Piece>)>, Reading) {
        let (to, mut from) = tokio::sync::mpsc::unbounded_channel::<Filled>();
        let work = start(folder.to_owned(), PACK, 8, to).unwrap();
        work.send(Work::Read { path: path.to_owned(), stamp, attempt: 1, kept }).unwrap();
        work.send(Work::Flush).unwrap();
        drop(work);
        let (mut packs, mut end) = (Vec::new(), None);
        while let Some(filled) = from.blocking_recv() {
            match filled {
                Filled::Pack(pack, pieces, _permit) => packs.push((pack, pieces)),
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
        assert_eq!(
            packs.iter().map(|(pack, _)| pack.len()).collect::<Vec<_>>(),
            [PACK, PACK, 12345]
        );
        let mut at = 0;
        for (_, pieces) in &packs {
            for piece in pieces {
                assert_eq!(piece.file_offset, at);
                let (from, to) =
                    (usize::try_from(at).unwrap(), usize::try_from(at + piece.bytes).unwrap());
                assert_eq!(piece.sha256, proof::sha256(&content[from..to]));
                at += piece.bytes;
            }
        }
        assert_eq!(at, content.len() as u64);
    }

    #[test]
    fn what_is_kept_is_checked_and_not_packed_again() {
        let folder = tempfile::tempdir().unwrap();
        let content = bytes(PACK + 100_000);
        fs::write(folder.path().join("big"), &content).unwrap();
        let kept = Kept { offset: 0, bytes: PACK as u64, sha256: proof::sha256(&content[..PACK]) };
        let (packs, reading) = fill(folder.path(), "big", vec![kept]);
        assert_eq!(reading, Reading::Whole(proof::sha256(&content)));
        assert_eq!(packs.len(), 1);
        assert_eq!((packs[0].1[0].file_offset, packs[0].1[0].bytes), (PACK as u64, 100_000));
        let other = Kept { sha256: Digest([0; 32]), ..kept };
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
        assert_eq!(rehash(folder.path(), "x", stamp), Reading::Changed);
        fs::remove_file(&path).unwrap();
        assert_eq!(fill_stamped(folder.path(), "x", stamp, vec![]).1, Reading::Failed);
    }

    #[test]
    fn a_file_that_grows_while_it_is_read_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        // One permit and a file of two packs: the reader stops in the middle of the file until the permit comes back.
        fs::write(&path, bytes(PACK + 1)).unwrap();
        let stamp = Stamp::of(&fs::metadata(&path).unwrap());
        let (to, mut from) = tokio::sync::mpsc::unbounded_channel::<Filled>();
        let work = start(folder.path().to_owned(), PACK, 1, to).unwrap();
        work.send(Work::Read { path: "x".to_owned(), stamp, attempt: 7, kept: vec![] }).unwrap();
        let Some(Filled::Pack(_, _, permit)) = from.blocking_recv() else {
            panic!("a pack comes first")
        };
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(b"more", PACK as u64 + 1).unwrap();
        drop(permit);
        let Some(Filled::Read { attempt: 7, reading, .. }) = from.blocking_recv() else {
            panic!("then the end of the file")
        };
        assert_eq!(reading, Reading::Changed);
    }
}
