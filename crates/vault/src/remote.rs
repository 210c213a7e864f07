//! The hub over the network: the calls of [`Hub`], signed by the vault's receipt key.
//!
//! Tasks block on their threads; the network has a small runtime of its own.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use api::{
    BeginReseal, ClaimTask, ClaimedTask, CreateDataset, DatasetId, EndTask, ObjectRef, ProjectId,
    PutManifest, SealedObject, SignedStatement, TaskApproval, TaskId,
};
use client::{Client, ClientError, ObjectBytes, Options, Patience, Trust};
use dataset::SealedPart;
use tokio::runtime::Runtime;

use crate::task::{Hub, HubError, VaultKeys};

/// How long a call is tried again while the hub cannot be reached: less than the hub waits before it gives a silent vault up.
const PATIENCE: Duration = Duration::from_secs(90);

/// For how long the hub may leave the question open whether an owner has answered.
const ASK_SECONDS: u64 = 5;

/// A hub that is reached over TLS.
#[derive(Debug)]
pub struct RemoteHub {
    client: Client,
    runtime: Arc<Runtime>,
}

/// The hub cannot be reached at all.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// Its address or certificate authority is not usable.
    #[error("the hub's address or certificate authority is not usable")]
    Client(#[from] ClientError),
    /// The system gave no threads.
    #[error("the vault could not start its network threads")]
    Threads(#[from] std::io::Error),
}

impl RemoteHub {
    /// The hub at `url`, known by `trust`; calls are signed by the vault's receipt key.
    pub fn new(url: &str, trust: Trust, keys: &VaultKeys) -> Result<Self, RemoteError> {
        let signer = Arc::new(keys.receipt_key().clone());
        let options =
            Options { hub: url.to_owned(), trust, signer, patience: Patience::For(PATIENCE) };
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(Self { client: Client::new(options)?, runtime: Arc::new(runtime) })
    }

    /// The same hub, over the same connections, for the keys of another task.
    #[must_use]
    pub fn for_keys(&self, keys: &VaultKeys) -> Self {
        let client = self.client.signed_by(Arc::new(keys.receipt_key().clone()));
        Self { client, runtime: Arc::clone(&self.runtime) }
    }

    fn wait<T>(&self, call: impl Future<Output = Result<T, ClientError>>) -> Result<T, HubError> {
        self.runtime
            .block_on(call)
            .map_err(|error| HubError { sentence: error.to_string(), hint: error.hint() })
    }
}

impl Hub for RemoteHub {
    fn claim(&self, task: TaskId, claim: &ClaimTask) -> Result<ClaimedTask, HubError> {
        self.wait(self.client.claim_task(task, claim))
    }

    fn approvals(&self, task: TaskId) -> Result<Vec<TaskApproval>, HubError> {
        self.wait(self.client.task_approvals(task, ASK_SECONDS))
    }

    fn progress(&self, task: TaskId, percent: u8) -> Result<(), HubError> {
        self.wait(self.client.task_progress(task, percent))
    }

    fn objects(&self, dataset: DatasetId) -> Result<Vec<SealedObject>, HubError> {
        self.wait(self.client.objects(dataset).all())
    }

    fn object(&self, dataset: DatasetId, object: ObjectRef) -> Result<Vec<u8>, HubError> {
        self.wait(self.client.object(dataset, object)).map(Vec::from)
    }

    fn object_range(
        &self,
        dataset: DatasetId,
        object: ObjectRef,
        range: Range<u64>,
    ) -> Result<Vec<u8>, HubError> {
        self.wait(self.client.object_range(dataset, object, range)).map(Vec::from)
    }

    fn card(&self, project: ProjectId) -> Result<SignedStatement, HubError> {
        self.wait(self.client.card(project))
    }

    fn create(&self, dataset: &CreateDataset) -> Result<(), HubError> {
        self.wait(self.client.create_dataset(dataset)).map(drop)
    }

    fn put(&self, dataset: DatasetId, epoch: u32, part: &SealedPart) -> Result<(), HubError> {
        let object = ObjectBytes {
            object: part.object,
            sealed: bytes::Bytes::copy_from_slice(&part.sealed),
            hash: part.hash,
            wrapped_key: part.wrapped_key.to_vec(),
            epoch,
        };
        self.wait(self.client.put_object(dataset, &object)).map(drop)
    }

    fn close(
        &self,
        dataset: DatasetId,
        manifest: &SignedStatement,
        reads: Option<u64>,
    ) -> Result<(), HubError> {
        let manifest = PutManifest { manifest: manifest.clone(), reads };
        self.wait(self.client.put_manifest(dataset, &manifest, false)).map(drop)
    }

    fn begin_reseal(&self, task: TaskId, reseal: &BeginReseal) -> Result<(), HubError> {
        self.wait(self.client.begin_reseal(task, reseal)).map(drop)
    }

    fn end(&self, task: TaskId, end: &EndTask) -> Result<(), HubError> {
        self.wait(self.client.end_task(task, end)).map(drop)
    }
}
