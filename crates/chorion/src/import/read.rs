//! One pass over the files: every byte that is packed has also gone to the check of its file.
//!
//! Mates are read side by side, a pack of each in turn, so that their names meet while few of them wait. Each file's check has
//! a thread of its own, because inflating is what takes longest. The order in which packs are filled hangs on the files alone:
//! a second pass after a stop fills the same packs again.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use api::Digest;
use dataset::{OpenFile, PACK_BYTES, Pack, Packer};
use genome::{Fault, Found, Mates, Side};
use indicatif::ProgressBar;
use seal::Plaintext;
use tokio::sync::mpsc::Sender;
use zeroize::Zeroizing;

use super::look::{Source, Stamp, unreadable};
use crate::report::{CliError, CliResult};

/// How much is read at a time.
const CHUNK_BYTES: usize = 256 * 1024;
/// How many chunks may wait for a check.
const WAITING_CHUNKS: usize = 16;

/// A file that was read to its end.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) source: Source,
    pub(super) found: Option<Found>,
    pub(super) bytes: u64,
    pub(super) sha256: Digest,
}

/// Reads every set; gives the packer with all files closed.
pub(super) fn read_all(
    sets: Vec<Vec<Source>>,
    to: &Sender<Pack>,
    bar: &ProgressBar,
) -> CliResult<(Packer, Vec<Looked>)> {
    let mut packer = Packer::new(PACK_BYTES);
    let mut looked = Vec::new();
    for set in sets {
        looked.extend(read_set(set, &mut packer, to, bar)?);
    }
    if let Some(pack) = packer.flush() {
        give(to, pack)?;
    }
    Ok((packer, looked))
}

/// Hands a pack on. Nobody takes it when sending has failed, and then sending says why.
fn give(to: &Sender<Pack>, pack: Pack) -> CliResult {
    to.blocking_send(pack).map_err(|_| CliError::new("the sending has ended"))
}

fn read_set(
    set: Vec<Source>,
    packer: &mut Packer,
    to: &Sender<Pack>,
    bar: &ProgressBar,
) -> CliResult<Vec<Looked>> {
    let (mates, sides) = Mates::new(set.len());
    let mut files = Vec::with_capacity(set.len());
    for (source, side) in set.into_iter().zip(sides) {
        files.push(Reading::start(source, side, packer)?);
    }
    let mut buffer = Zeroizing::new(vec![0; CHUNK_BYTES]);
    // The file that is least far is next: names of mates then come in at about the same pace.
    while let Some(file) = files.iter_mut().filter(|f| !f.ended).min_by_key(|f| f.thousandths()) {
        let mut left = PACK_BYTES;
        while left > 0 && !file.ended {
            let most = left.min(CHUNK_BYTES);
            let read = file.next(&mut buffer[..most])?;
            bar.inc(read as u64);
            for pack in packer.write(file.packed, &buffer[..read])? {
                give(to, pack)?;
            }
            left -= read;
        }
    }
    let mut looked = Vec::with_capacity(files.len());
    for file in files {
        looked.push(file.end(packer)?);
    }
    let counts = mates.counts();
    let differs = counts.iter().zip(&looked).find(|(count, _)| **count != counts[0]);
    if let (Some((count, other)), [first, ..]) = (differs, looked.as_slice()) {
        return Err(other.source.wrong(format!(
            "it has {count} reads, and {} has {}",
            first.source.path.display(),
            counts[0]
        )));
    }
    Ok(looked)
}

type Chunk = Arc<Plaintext>;

/// A file that is being read.
struct Reading {
    source: Source,
    file: File,
    from: Box<dyn Read + Send>,
    packed: OpenFile,
    done: u64,
    ended: bool,
    check: Option<Checking>,
}

struct Checking {
    to: Option<SyncSender<Chunk>>,
    thread: JoinHandle<Result<Found, Fault>>,
}

impl Reading {
    fn start(source: Source, mut side: Side, packer: &mut Packer) -> CliResult<Self> {
        let (file, from) = source.open()?;
        let check = source.format.map(|format| {
            let (to, fed) = sync_channel(WAITING_CHUNKS);
            thread::Builder::new()
                .name("import-check".to_owned())
                .spawn(move || genome::check(Fed::new(fed), format, Some(&mut side)))
                .map(|thread| Checking { to: Some(to), thread })
                .map_err(|e| CliError::new("a thread could not be started").caused_by(e))
        });
        let check = check.transpose()?;
        let packed = packer.begin(&source.inside);
        Ok(Self { source, file, from, packed, done: 0, ended: false, check })
    }

    /// How far it is.
    fn thousandths(&self) -> u64 {
        let of = u128::from(self.source.stamp.bytes.max(1));
        u64::try_from(u128::from(self.done) * 1000 / of).unwrap_or(u64::MAX)
    }

    fn next(&mut self, buffer: &mut [u8]) -> CliResult<usize> {
        let read = loop {
            match self.from.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(self.source.fault(&Fault::Damaged {
                        record: 1,
                        why: "its last Crypt4GH block is cut off".to_owned(),
                    }));
                }
                other => break other.map_err(|e| unreadable(&self.source.path, e))?,
            }
        };
        self.done += read as u64;
        self.ended = read == 0;
        if let Some(check) = &mut self.check
            && let Some(to) = &check.to
        {
            let gone =
                read > 0 && to.send(Arc::new(Plaintext::from(buffer[..read].to_vec()))).is_err();
            if gone || self.ended {
                check.to = None;
            }
            if gone {
                self.checked()?;
            }
        }
        Ok(read)
    }

    /// What the check found, once it has everything or has stopped.
    fn checked(&mut self) -> CliResult<Option<Found>> {
        let Some(Checking { to, thread }) = self.check.take() else { return Ok(None) };
        drop(to);
        match thread.join() {
            Ok(Ok(found)) => Ok(Some(found)),
            Ok(Err(fault)) => Err(self.source.fault(&fault)),
            Err(_) => Err(self.source.wrong("its check broke down")),
        }
    }

    fn end(mut self, packer: &mut Packer) -> CliResult<Looked> {
        let found = self.checked()?;
        let now = Stamp::of(&self.file).map_err(|e| unreadable(&self.source.path, e))?;
        if now != self.source.stamp {
            return Err(self
                .source
                .wrong("it changed while it was read")
                .hint("give the command again when it is at rest"));
        }
        let (sha256, bytes) = packer.end(self.packed);
        Ok(Looked { source: self.source, found, bytes, sha256 })
    }
}

/// What a check reads: chunks as they are fed to it.
struct Fed {
    from: Receiver<Chunk>,
    chunk: Chunk,
    at: usize,
}

impl Fed {
    fn new(from: Receiver<Chunk>) -> Self {
        Self { from, chunk: Arc::default(), at: 0 }
    }
}

impl Read for Fed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.chunk.len() {
            let Ok(next) = self.from.recv() else { return Ok(0) };
            (self.chunk, self.at) = (next, 0);
        }
        let take = buffer.len().min(self.chunk.len() - self.at);
        buffer[..take].copy_from_slice(&self.chunk[self.at..self.at + take]);
        self.at += take;
        Ok(take)
    }
}
