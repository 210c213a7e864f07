//! A dataset that this vault makes: bytes are sealed as they come, and sent while more are made.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use api::{Digest, Time};
use dataset::{OpenDataset, OpenFile, PACK_BYTES, Pack, Packer, SealedFact};
use proof::{FileEntry, ObjectSet, SigningKey, digest_of, sign_statement};

use super::TaskError;
use super::hub::SharedHub;

/// Threads that seal and send for one task, and so how many packs are on their way at once. More than the machine has
/// cores, since a thread waits for the hub's disks most of the time.
const SENDERS: NonZeroUsize = NonZeroUsize::new(4).expect("four is not zero");

/// Seals and sends packs on threads of its own; the first failure stops everything.
pub(crate) struct Senders {
    queue: Option<SyncSender<Job>>,
    threads: Vec<JoinHandle<()>>,
    failure: Arc<Mutex<Option<TaskError>>>,
}

struct Job {
    pack: Pack,
    to: Arc<OpenDataset>,
    sent: Sender<SealedFact>,
}

impl Senders {
    /// Starts the threads.
    pub(crate) fn start(hub: &SharedHub) -> Self {
        let (queue, jobs) = sync_channel::<Job>(SENDERS.get());
        let jobs = Arc::new(Mutex::new(jobs));
        let failure = Arc::new(Mutex::new(None));
        let threads = (0..SENDERS.get())
            .map(|_| {
                let (hub, jobs, failure) =
                    (Arc::clone(hub), Arc::clone(&jobs), Arc::clone(&failure));
                std::thread::spawn(move || send_all(&hub, &jobs, &failure))
            })
            .collect();
        Self { queue: Some(queue), threads, failure }
    }

    fn failed(&self) -> Option<TaskError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn send(&self, job: Job) -> Result<(), TaskError> {
        if let Some(failure) = self.failed() {
            return Err(failure);
        }
        let queue = self.queue.as_ref().expect("the queue is open until the senders are dropped");
        queue.send(job).map_err(|_all_threads_ended| self.failed().unwrap_or(TaskError::Stopped))
    }
}

impl Drop for Senders {
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            let _a_panic_was_reported_by_its_thread = thread.join();
        }
    }
}

fn send_all(hub: &SharedHub, jobs: &Mutex<Receiver<Job>>, failure: &Mutex<Option<TaskError>>) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { pack, to, sent }) = job else { return };
        let done = pack.seal(&to).map_err(TaskError::from).and_then(|part| {
            hub.put(to.dataset(), to.epoch(), &part)?;
            Ok(SealedFact::from(&part))
        });
        match done {
            // Whoever packs may have stopped already; the part is acknowledged all the same.
            Ok(fact) => drop(sent.send(fact)),
            Err(error) => {
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                return;
            }
        }
    }
}

/// An output under construction.
pub(crate) struct Output {
    open: Arc<OpenDataset>,
    packer: Packer,
    /// What was acknowledged comes back here.
    sent: (Sender<SealedFact>, Receiver<SealedFact>),
    on_their_way: usize,
}

impl Output {
    /// An output under this key.
    pub(crate) fn new(open: OpenDataset) -> Self {
        Self::of_packs(open, PACK_BYTES)
    }

    /// An output under this key, of packs of so many bytes at most.
    pub(crate) fn of_packs(open: OpenDataset, pack_bytes: usize) -> Self {
        Self {
            open: Arc::new(open),
            packer: Packer::new(pack_bytes),
            sent: channel(),
            on_their_way: 0,
        }
    }

    /// The key and its place.
    pub(crate) fn key(&self) -> &OpenDataset {
        &self.open
    }

    /// Opens a file.
    pub(crate) fn begin(&mut self, path: &str) -> OpenFile {
        self.packer.begin(path)
    }

    /// Takes bytes of a file.
    pub(crate) fn write(
        &mut self,
        senders: &Senders,
        file: OpenFile,
        bytes: &[u8],
    ) -> Result<(), TaskError> {
        for pack in self.packer.write(file, bytes)? {
            self.send(senders, pack)?;
        }
        Ok(())
    }

    /// Bytes of the pack that is not full yet.
    pub(crate) fn filling_bytes(&self) -> usize {
        self.packer.filling_bytes()
    }

    /// Seals the pack that is being filled as it is.
    pub(crate) fn flush(&mut self, senders: &Senders) -> Result<(), TaskError> {
        match self.packer.flush() {
            Some(pack) => self.send(senders, pack),
            None => Ok(()),
        }
    }

    /// Closes a file.
    pub(crate) fn end(&mut self, file: OpenFile) -> (Digest, u64) {
        self.packer.end(file)
    }

    /// Takes a whole file.
    pub(crate) fn file(
        &mut self,
        senders: &Senders,
        path: &str,
        bytes: &[u8],
    ) -> Result<(), TaskError> {
        let file = self.begin(path);
        self.write(senders, file, bytes)?;
        self.end(file);
        Ok(())
    }

    /// Takes a whole file from a reader.
    pub(crate) fn copy(
        &mut self,
        senders: &Senders,
        path: &str,
        from: &mut dyn io::Read,
    ) -> Result<(), TaskError> {
        let file = self.begin(path);
        let mut buffer = seal::Plaintext::zeroed(1 << 20);
        loop {
            match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => self.write(senders, file, &buffer[..n])?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(TaskError::Scratch { what: "an output", source }),
            }
        }
        self.end(file);
        Ok(())
    }

    fn send(&mut self, senders: &Senders, pack: Pack) -> Result<(), TaskError> {
        self.on_their_way += 1;
        senders.send(Job { pack, to: Arc::clone(&self.open), sent: self.sent.0.clone() })?;
        while let Ok(fact) = self.sent.1.try_recv() {
            self.arrived(fact);
        }
        Ok(())
    }

    fn arrived(&mut self, fact: SealedFact) {
        self.on_their_way -= 1;
        self.packer.sealed(fact);
    }

    /// Waits until everything is acknowledged, then closes the output with a signed manifest. Its digest is for the receipt.
    pub(crate) fn close(
        mut self,
        hub: &SharedHub,
        senders: &Senders,
        version: Version<'_>,
    ) -> Result<Digest, TaskError> {
        if let Some(pack) = self.packer.flush() {
            self.send(senders, pack)?;
        }
        while self.on_their_way > 0 {
            match self.sent.1.recv_timeout(std::time::Duration::from_millis(200)) {
                Ok(fact) => self.arrived(fact),
                Err(_) => {
                    if let Some(failure) = senders.failed() {
                        return Err(failure);
                    }
                }
            }
        }
        let (files, objects) = self.packer.finish()?;
        close(hub, &self.open, files, objects, version)
    }
}

/// What a manifest says beside the files.
#[derive(Clone, Copy)]
pub(crate) struct Version<'a> {
    /// The hub's id.
    pub(crate) hub: &'a str,
    /// The manifest's number.
    pub(crate) number: u32,
    /// The digest of the one before.
    pub(crate) previous: Option<Digest>,
    /// When it is signed.
    pub(crate) at: Time,
    /// The vault's receipt key.
    pub(crate) key: &'a SigningKey,
    /// How many reads, for samples.
    pub(crate) reads: Option<u64>,
}

impl<'a> Version<'a> {
    /// The first manifest of a new dataset.
    pub(crate) fn first(hub: &'a str, key: &'a SigningKey) -> Self {
        Self { hub, number: 1, previous: None, at: Time::now(), key, reads: None }
    }
}

fn close(
    hub: &SharedHub,
    open: &OpenDataset,
    files: Vec<FileEntry>,
    objects: ObjectSet,
    version: Version<'_>,
) -> Result<Digest, TaskError> {
    let Version { hub: name, number, previous, at, key, reads } = version;
    let (manifest, parts) = dataset::manifest(open, name, files, objects, number, previous, at)?;
    for part in &parts {
        hub.put(open.dataset(), open.epoch(), part)?;
    }
    let signed = sign_statement(&manifest, key);
    hub.close(open.dataset(), &signed, reads)?;
    Ok(digest_of(&signed))
}
