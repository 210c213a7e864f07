//! Tasks: what a vault does with keys that were released to it, from claim to receipt.
//!
//! For each task a vault makes two keys, shows evidence that binds them, and gets the inputs' dataset keys
//! wrapped to one of them. It opens only what the inputs' signed manifests list, seals every output to the project that
//! it goes to, and signs a receipt with the other key; both keys end with the task. Then the vault ends, or stays for another
//! task of the same owners ([`Vault`]). All of it runs on the [`Hub`] trait, so that a test is a hub in memory.

mod ahead;
mod approved;
mod demultiplex;
mod evidence;
mod hub;
mod input;
mod output;
mod query;
mod reseal;
mod run_app;
mod states;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use api::{ClaimedKey, ClaimedTask, DatasetId, Digest, ProjectId, TaskId};
use dataset::OpenDataset;
use proof::{ReceiptOutput, SigningKey, StatementError};
use seal::recipient::RecipientSecret;

use crate::memory::Guarded;
use approved::Approved;
pub use hub::{Hub, HubError};
use states::Booting;

/// Why a task did not make its outputs.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// The hub refused, or could not be reached.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// Something of a dataset does not open, or could not be sealed.
    #[error(transparent)]
    Dataset(#[from] dataset::DatasetError),
    /// An input's card does not hold.
    #[error("the card of dataset {dataset}'s project does not hold")]
    Card {
        /// The input.
        dataset: DatasetId,
        /// Why.
        source: proof::CardError,
    },
    /// An input's manifest does not hold.
    #[error("the manifest of dataset {dataset} does not hold")]
    Manifest {
        /// The input.
        dataset: DatasetId,
        /// Why.
        source: StatementError,
    },
    /// Two things that the hub gave do not belong together.
    #[error("{what} of dataset {dataset} do not belong together")]
    Mismatch {
        /// The input.
        dataset: DatasetId,
        /// Which two.
        what: &'static str,
    },
    /// The hub gave keys without a checkpoint that says so.
    #[error("the hub's checkpoint does not have the leaves of the keys that it released")]
    Log,
    /// A file is not the one that its writer signed.
    #[error("a file of dataset {dataset} is not the one that its writer signed")]
    Content {
        /// The input.
        dataset: DatasetId,
        /// Its path; not part of the sentence, which leaves the vault in clear.
        path: String,
    },
    /// The task's own description is not readable.
    #[error("the {what} of the task cannot be read")]
    Settings {
        /// Which part.
        what: &'static str,
    },
    /// The run cannot be demultiplexed.
    #[error("the run cannot be demultiplexed: {class}")]
    Demultiplex {
        /// What is wrong, in words that carry no data.
        class: &'static str,
        /// The whole story, which stays in the vault and in the sealed outputs.
        detail: String,
    },
    /// A sample's project maps nowhere.
    #[error("{count} names of projects in the sample sheet map to no project")]
    Unmapped {
        /// How many.
        count: usize,
        /// Which; not part of the sentence.
        names: Vec<String>,
    },
    /// The app did not do its work.
    #[error("the app did not complete: {class}")]
    App {
        /// What is wrong, in words that carry no data.
        class: String,
        /// The whole story, which is sealed with what it printed.
        detail: String,
    },
    /// The query has no answer.
    #[error("the query was refused: {class}")]
    Query {
        /// What is wrong, in words that carry no data.
        class: &'static str,
        /// The whole story, which is sealed to the asker.
        detail: String,
    },
    /// The private scratch folder failed.
    #[error("{what} could not be written to or read from the vault's scratch folder")]
    Scratch {
        /// Which thing.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// This build may not go unattested, and there is no device that attests.
    #[error("this machine has no device of SEV-SNP, and this vault does not go unattested")]
    NoEvidence,
    /// What makes evidence is there and fails.
    #[error(transparent)]
    Device(#[from] crate::device::DeviceError),
    /// An owner refused.
    #[error("the owner refused{reason}")]
    Refused {
        /// Colon and reason, where the owner gave one: small letters and digits alone.
        reason: String,
    },
    /// No owner answered.
    #[error("the owner did not answer in time")]
    Unanswered,
    /// An approval that does not count here.
    #[error("an approval does not count: {0}")]
    Approval(#[from] proof::ApprovalError),
    /// The card that came with an approval does not hold.
    #[error("the card of project {project}, whose owner approved, does not hold")]
    OwnerCard {
        /// The project.
        project: ProjectId,
        /// Why.
        source: proof::CardError,
    },
    /// The system gave no random bytes.
    #[error(transparent)]
    Random(#[from] seal::NoRandomness),
    /// Keys cannot be kept from the rest of the machine.
    #[error(transparent)]
    Memory(#[from] crate::memory::Unprotected),
    /// A vault that stayed for some owners was handed a task of others.
    #[error("this vault stayed for other owners than those of the task")]
    OtherOwners,
    /// Unattested, and the owner's card bears no test mark.
    #[error("an owner's project without a test mark is not opened by an unattested vault")]
    NotATest,
    /// The threads that send have ended.
    #[error("the task was stopped")]
    Stopped,
}

/// What a vault is given by the engine that started it.
#[derive(Debug)]
pub struct TaskConfig {
    /// Which task.
    pub task: TaskId,
    /// The one-time ticket.
    pub ticket: zeroize::Zeroizing<String>,
    /// The owners' approvals of this boot; none for a vault that nobody need let start.
    pub boots: Vec<api::BootGiven>,
    /// Where checked app roots are kept, by digest; public files, nothing of a person.
    pub app_cache: PathBuf,
    /// Threads to compute with.
    pub threads: std::num::NonZeroUsize,
}

/// Longer than any ticket with the approvals of a boot.
pub const MOST_TICKET_BYTES: u64 = 1 << 20;

/// The ticket of a vault and the approvals of its boot, as an engine hands them in: a line, and a line of JSON or none.
pub fn ticket(
    text: &str,
) -> Result<(zeroize::Zeroizing<String>, Vec<api::BootGiven>), serde_json::Error> {
    let mut lines = text.lines();
    let ticket = zeroize::Zeroizing::new(lines.next().unwrap_or_default().trim().to_owned());
    let boots = lines.next().filter(|line| !line.trim().is_empty());
    Ok((ticket, boots.map(serde_json::from_str).transpose()?.unwrap_or_default()))
}

/// A task as an engine hands it to a vault that stays: one line with its id, the one-time ticket, and the approvals of its boot as
/// JSON where there are some.
pub fn handed(line: &str) -> Option<(TaskId, zeroize::Zeroizing<String>, Vec<api::BootGiven>)> {
    let mut words = line.trim_end().splitn(3, ' ');
    let task = words.next()?.parse().ok()?;
    let ticket = zeroize::Zeroizing::new(words.next()?.to_owned());
    let boots = words.next().map(serde_json::from_str).transpose().ok()?;
    Some((task, ticket, boots.unwrap_or_default()))
}

/// The two keys of a vault, made for one task.
#[derive(Debug)]
pub struct VaultKeys {
    secret: Guarded<Secrets>,
    /// Nonces of approvals that these keys were released for.
    spent: Mutex<HashSet<Digest>>,
    /// Since when they are there.
    born: Instant,
}

/// The secret halves: they lie in pages that the system keeps to itself.
#[derive(Debug)]
struct Secrets {
    receipt: SigningKey,
    recipient: RecipientSecret,
}

/// For how long the keys of a vault count.
const KEYS_LIVE: Duration = Duration::from_secs(24 * 60 * 60);

impl VaultKeys {
    /// New keys, in locked memory.
    pub fn generate() -> Result<Self, TaskError> {
        let mut seed = zeroize::Zeroizing::new([0; 32]);
        seal::fill_random(&mut *seed)?;
        let secrets = Secrets {
            receipt: SigningKey::from_seed(&seed),
            recipient: RecipientSecret::generate()?,
        };
        Ok(Self { secret: Guarded::new(secrets)?, spent: Mutex::default(), born: Instant::now() })
    }

    /// Uses an approval up: `true` for the first who asks, and for nobody after, however many ask at once.
    pub(crate) fn spend(&self, nonce: Digest) -> bool {
        self.born.elapsed() < KEYS_LIVE
            && self.spent.lock().unwrap_or_else(PoisonError::into_inner).insert(nonce)
    }

    /// What evidence of this vault must be over: both keys, and the nonce of whoever asked for it. No boot manifest is checked
    /// before a vault of this version starts: its part is zeros.
    pub fn report_data(&self, nonce: &[u8; 32]) -> [u8; 64] {
        let recipient = self.recipient().public().fingerprint();
        attest::report_data(nonce, &recipient, &self.receipt_key().public().to_bytes(), &[0; 32])
    }

    /// The key that dataset keys come to.
    pub(crate) fn recipient(&self) -> &RecipientSecret {
        &self.secret.recipient
    }

    /// The key that signs this vault's calls, manifests and receipt.
    pub fn receipt_key(&self) -> &SigningKey {
        &self.secret.receipt
    }
}

/// How often the hub hears of a vault at least, whatever its task does. With the patience of one call (90 s) it stays below
/// what the hub waits before it gives a silent vault up.
const HEARTBEAT: Duration = Duration::from_secs(20);

/// How soon the hub hears how far a task is.
const SOON: Duration = Duration::from_millis(300);

/// Everything that the kinds of task share.
pub(crate) struct Work<'a> {
    hub: hub::SharedHub,
    keys: &'a VaultKeys,
    config: &'a TaskConfig,
    claimed: ClaimedTask,
    approved: Approved,
    percent: AtomicU8,
    /// Wakes who tells the hub.
    news: mpsc::Sender<Word>,
}

/// Opens the dataset keys of a task, whoever released them.
pub(crate) struct DatasetKeys<'a> {
    recipient: &'a RecipientSecret,
    approved: &'a Approved,
}

impl DatasetKeys<'_> {
    /// The dataset of a claimed key.
    pub(crate) fn open(&self, key: &ClaimedKey) -> Result<OpenDataset, TaskError> {
        match key {
            ClaimedKey::Released(release) => {
                Ok(OpenDataset::from_release(release, self.recipient)?)
            }
            ClaimedKey::Awaited(place) => self.approved.key(place),
        }
    }
}

impl Work<'_> {
    /// Has the hub told how far the task is, soon, by another thread and only when it is news: no work waits for it.
    pub(crate) fn progress(&self, percent: u8) {
        if self.percent.swap(percent, Ordering::Relaxed) != percent {
            let _who_tells_may_have_ended = self.news.send(Word::News);
        }
    }

    fn tell(&self) {
        tell(&self.hub, self.config.task, self.percent.load(Ordering::Relaxed));
    }

    /// What opens the inputs and the result.
    pub(crate) fn dataset_keys(&self) -> DatasetKeys<'_> {
        DatasetKeys { recipient: self.keys.recipient(), approved: &self.approved }
    }
}

fn tell(hub: &hub::SharedHub, task: TaskId, percent: u8) {
    if let Err(error) = hub.progress(task, percent) {
        tracing::debug!(%error, "the hub did not take the progress");
    }
}

/// What is said to the thread that tells the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    /// There is something to tell.
    News,
    /// The work is over, and nobody need hear of it any more.
    Over,
}

/// Says that the work is over when it is dropped, also when the work panics.
struct AtWork(mpsc::Sender<Word>);

impl Drop for AtWork {
    fn drop(&mut self) {
        let _who_tells_may_have_ended = self.0.send(Word::Over);
    }
}

/// Does `work`, and meanwhile calls `tell` from a thread of its own: soon after there is news, and whenever `every` has passed.
fn heard_of<T>(
    every: Duration,
    (say, words): (mpsc::Sender<Word>, mpsc::Receiver<Word>),
    tell: impl Fn() + Send,
    work: impl FnOnce() -> T,
) -> T {
    std::thread::scope(|scope| {
        scope.spawn(move || {
            loop {
                let is_over = match words.recv_timeout(every) {
                    Ok(Word::News) => is_over_within(&words, SOON),
                    Ok(Word::Over) | Err(mpsc::RecvTimeoutError::Disconnected) => true,
                    Err(mpsc::RecvTimeoutError::Timeout) => false,
                };
                if is_over {
                    return;
                }
                tell();
            }
        });
        let _at_work = AtWork(say);
        work()
    })
}

/// Whether the work is over before so long has passed. Older news is told with the newest, and of a task that is over at once none: the
/// hub would write it down while it is waited for.
fn is_over_within(words: &mpsc::Receiver<Word>, soon: Duration) -> bool {
    let until = Instant::now() + soon;
    loop {
        match words.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Word::News) => {}
            Ok(Word::Over) | Err(mpsc::RecvTimeoutError::Disconnected) => return true,
            Err(mpsc::RecvTimeoutError::Timeout) => return false,
        }
    }
}

/// What came of it, for the receipt.
#[derive(Debug, Default)]
pub(crate) struct Made {
    inputs: Vec<ReceiptOutput>,
    outputs: Vec<ReceiptOutput>,
    app: Option<Digest>,
}

/// Runs one task from claim to receipt. The error, if there is one, was told to the hub in words that carry no data.
pub fn run(hub: Arc<dyn Hub>, config: &TaskConfig, keys: &VaultKeys) -> Result<(), TaskError> {
    Vault::default().run(hub, config, keys)
}

/// A vault that does one task after the other without being started anew, each with keys of its own.
///
/// Of what a task had nothing is left when it ends but the app roots, which are public, and for whom it was: both keys of the vault,
/// the keys of datasets and what was opened are wiped, and every further task takes its own evidence and its own approval. A vault
/// that has worked for some owners' projects opens nothing of any other's: a fault in it, or in an app, meets one person's data.
#[derive(Debug, Default)]
pub struct Vault {
    /// The owners' projects of its first task; nothing before that.
    owners: Option<BTreeSet<ProjectId>>,
}

impl Vault {
    /// Runs one task from claim to receipt, with keys that were made for it. The error, if there is one, was told to the hub in
    /// words that carry no data; a vault whose task did not complete had better end.
    pub fn run(
        &mut self,
        hub: Arc<dyn Hub>,
        config: &TaskConfig,
        keys: &VaultKeys,
    ) -> Result<(), TaskError> {
        // Where there is a device, nothing less than its evidence is shown.
        self.run_with(hub, config, keys, crate::device::find().as_deref())
    }

    /// The same with the device given.
    fn run_with(
        &mut self,
        hub: Arc<dyn Hub>,
        config: &TaskConfig,
        keys: &VaultKeys,
        device: Option<&dyn crate::device::Device>,
    ) -> Result<(), TaskError> {
        let attested = Booting { hub, config, keys }.attest(device)?;
        let owners = attested.owners();
        let opened = if *self.owners.get_or_insert_with(|| owners.clone()) == owners {
            attested.open()
        } else {
            Err(attested.halt(TaskError::OtherOwners))
        };
        match opened {
            Ok(open) => open.work().end(),
            Err(halted) => halted.end(),
        }
    }
}
