//! Tasks: what a vault does with keys that were released to it, from claim to receipt.
//!
//! A vault lives for one task. It makes two keys, shows evidence that binds them, and gets the inputs' dataset keys
//! wrapped to one of them. It opens only what the inputs' signed manifests list, seals every output to the project that
//! it goes to, signs a receipt with the other key, and ends; both keys end with it. All of it runs on the [`Hub`] trait,
//! so that a test is a hub in memory.

mod approved;
mod demultiplex;
mod hub;
mod input;
mod output;
mod query;
mod reseal;
mod run_app;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use api::{
    ClaimTask, ClaimedKey, ClaimedTask, Custodian, DatasetId, Digest, EndTask, SignedStatement,
    TaskId, TaskKind, Time,
};
use dataset::OpenDataset;
#[cfg(feature = "unattested")]
use proof::UnattestedEvidence;
use proof::{
    EvidenceKind, OwnerReceipt, Receipt, ReceiptOutput, Released, SigningKey, StatementError,
    digest_of, receipt_log, sign_statement,
};
use seal::recipient::RecipientSecret;

use approved::Approved;
pub use hub::{Hub, HubError};

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
    /// This build may not go unattested, and attested evidence is missing in this version.
    #[error("this vault has no attested evidence: attestation is missing in this version")]
    NoEvidence,
    /// What makes evidence is there and fails.
    #[error(transparent)]
    Device(#[from] crate::device::DeviceError),
    /// What makes evidence is there and works.
    #[error(
        "this machine can prove what it is, and no hub of this version takes that: a vault here does not go unattested"
    )]
    CouldAttest,
    /// An owner refused.
    #[error("the owner refused")]
    Refused,
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
        project: api::ProjectId,
        /// Why.
        source: proof::CardError,
    },
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
    /// Where checked app roots are kept, by digest; public files, nothing of a person.
    pub app_cache: PathBuf,
    /// Threads to compute with.
    pub threads: std::num::NonZeroUsize,
}

/// The two keys of a vault, made for one task.
#[derive(Debug)]
pub struct VaultKeys {
    receipt: SigningKey,
    recipient: RecipientSecret,
    /// Nonces of approvals that these keys were released for.
    spent: Mutex<HashSet<Digest>>,
    /// Since when they are there.
    born: Instant,
}

/// For how long the keys of a vault count.
const KEYS_LIVE: Duration = Duration::from_secs(24 * 60 * 60);

impl VaultKeys {
    /// New keys.
    pub fn generate() -> Result<Self, seal::NoRandomness> {
        let mut seed = zeroize::Zeroizing::new([0; 32]);
        seal::fill_random(&mut *seed)?;
        Ok(Self {
            receipt: SigningKey::from_seed(&seed),
            recipient: RecipientSecret::generate()?,
            spent: Mutex::default(),
            born: Instant::now(),
        })
    }

    /// Uses an approval up: `true` for the first who asks, and for nobody after, however many ask at once.
    pub(crate) fn spend(&self, nonce: Digest) -> bool {
        self.born.elapsed() < KEYS_LIVE
            && self.spent.lock().unwrap_or_else(PoisonError::into_inner).insert(nonce)
    }

    /// What evidence of this vault must be over: both keys, and the nonce of whoever asked for it. No boot manifest is checked
    /// before a vault of this version starts: its part is zeros.
    pub fn report_data(&self, nonce: &[u8; 32]) -> [u8; 64] {
        let recipient = proof::sha256(&self.recipient.public().to_bytes());
        attest::report_data(nonce, &recipient.0, &self.receipt.public().to_bytes(), &[0; 32])
    }

    /// The key that signs this vault's calls, manifests and receipt.
    pub const fn receipt_key(&self) -> &SigningKey {
        &self.receipt
    }
}

/// How often the hub hears of a vault at least, whatever its task does. With the patience of one call (90 s) it stays below
/// what the hub waits before it gives a silent vault up.
const HEARTBEAT: Duration = Duration::from_secs(20);

/// Everything that the kinds of task share.
pub(crate) struct Work<'a> {
    hub: hub::SharedHub,
    keys: &'a VaultKeys,
    config: &'a TaskConfig,
    claimed: ClaimedTask,
    approved: Approved,
    percent: AtomicU8,
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
    /// Tells the hub how far the task is; only when it is news, and a failure to tell is no failure of the task.
    pub(crate) fn progress(&self, percent: u8) {
        if self.percent.swap(percent, Ordering::Relaxed) != percent {
            self.tell();
        }
    }

    fn tell(&self) {
        tell(&self.hub, self.config.task, self.percent.load(Ordering::Relaxed));
    }

    /// What opens the inputs and the result.
    pub(crate) const fn dataset_keys(&self) -> DatasetKeys<'_> {
        DatasetKeys { recipient: &self.keys.recipient, approved: &self.approved }
    }
}

fn tell(hub: &hub::SharedHub, task: TaskId, percent: u8) {
    if let Err(error) = hub.progress(task, percent) {
        tracing::debug!(%error, "the hub did not take the progress");
    }
}

/// Does `work`, and meanwhile calls `tell` from a thread of its own whenever `every` has passed.
fn heard_of<T>(every: Duration, tell: impl Fn() + Send, work: impl FnOnce() -> T) -> T {
    std::thread::scope(|scope| {
        let (at_work, ends) = mpsc::channel::<std::convert::Infallible>();
        scope.spawn(move || {
            while ends.recv_timeout(every) == Err(mpsc::RecvTimeoutError::Timeout) {
                tell();
            }
        });
        // Dropped before the scope waits for the thread, also when the work panics.
        let _at_work = at_work;
        work()
    })
}

/// What came of it, for the receipt.
#[derive(Debug, Default)]
pub(crate) struct Made {
    inputs: Vec<ReceiptOutput>,
    outputs: Vec<ReceiptOutput>,
    app: Option<Digest>,
}

/// What this vault shows of itself: without SEV-SNP, that it can prove nothing.
#[cfg(feature = "unattested")]
fn evidence(task: TaskId, keys: &VaultKeys, at: Time) -> Result<SignedStatement, TaskError> {
    // Where there is a device, nothing less than its evidence is shown: whether it fails or works, this is no unattested vault.
    if let Some(device) = crate::device::find() {
        device.report(&keys.report_data(&[0; 32]))?;
        return Err(TaskError::CouldAttest);
    }
    let evidence = UnattestedEvidence {
        kind: EvidenceKind::Unattested,
        task,
        recipient: api::Bytes(keys.recipient.public().to_bytes()),
        program: concat!("chorion ", env!("CARGO_PKG_VERSION")).to_owned(),
        at,
    };
    Ok(sign_statement(&evidence, &keys.receipt))
}

/// What a guest shows of itself: nothing yet, so it gets no key.
#[cfg(not(feature = "unattested"))]
fn evidence(_: TaskId, _: &VaultKeys, _: Time) -> Result<SignedStatement, TaskError> {
    Err(TaskError::NoEvidence)
}

/// Runs one task from claim to receipt. The error, if there is one, was told to the hub in words that carry no data.
pub fn run(hub: Arc<dyn Hub>, config: &TaskConfig, keys: &VaultKeys) -> Result<(), TaskError> {
    let started = Time::now();
    let evidence = evidence(config.task, keys, started)?;
    let evidence_digest = digest_of(&evidence);
    let claim = ClaimTask { ticket: config.ticket.to_string(), evidence };
    let claimed = hub.claim(config.task, &claim)?;
    // Without it there is no receipt, so nothing is opened.
    let mut log = receipt_log(&claimed, &[]).ok_or(TaskError::Log)?;
    let (name, kind) = (claimed.hub.clone(), claimed.task.kind);
    let by_owners = approved::is_awaited(&claimed);
    let waited = heard_of(
        HEARTBEAT,
        || tell(&hub, config.task, 0),
        || Approved::wait(&hub, config, keys, &claimed, evidence_digest),
    );

    let mut made = Made::default();
    let mut approvals = Vec::new();
    let result = waited.and_then(|approved| {
        approvals = approved.digests();
        let held = approved.logs();
        log = receipt_log(&claimed, &held).ok_or(TaskError::Log)?;
        let (hub, percent) = (Arc::clone(&hub), AtomicU8::new(0));
        let work = Work { hub, keys, config, claimed, approved, percent };
        heard_of(
            HEARTBEAT,
            || work.tell(),
            || match kind {
                TaskKind::Demultiplex => demultiplex::run(&work, &mut made),
                TaskKind::App => run_app::run(&work, &mut made),
                TaskKind::Reseal => reseal::run(&work, &mut made),
                TaskKind::Query => query::run(&work, &mut made),
            },
        )
    });

    let (complete, ended) = (result.is_ok(), Time::now());
    let Made { inputs, outputs, app } = made;
    let (task, evidence) = (config.task, EvidenceKind::Unattested);
    let receipt = if by_owners {
        let receipt = OwnerReceipt {
            hub: name,
            task,
            kind,
            approvals,
            evidence,
            evidence_digest,
            app,
            inputs,
            outputs,
            log,
            complete,
            started,
            ended,
        };
        sign_statement(&receipt, &keys.receipt)
    } else {
        let receipt = Receipt {
            hub: name,
            task,
            kind,
            custodian: Custodian::Platform,
            released: Released::Policy,
            evidence,
            evidence_digest,
            app,
            inputs,
            outputs,
            log,
            complete,
            started,
            ended,
        };
        sign_statement(&receipt, &keys.receipt)
    };
    let reason = result.as_ref().err().map(ToString::to_string);
    let end = EndTask { complete, reason, receipt };
    hub.end(config.task, &end)?;
    result
}
