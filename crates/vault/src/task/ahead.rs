//! What a task will read, fetched while its owner is asked: sealed, as it lies at the hub.
//!
//! A person takes seconds to answer, and from then on every question to the hub is waited for. So a vault that has to wait has the lists
//! of its inputs' objects brought meanwhile, and the first bytes of them. Nothing is opened ahead, because there is no key yet; what
//! is opened later is held against hash and commitment as if it had just come. An answer that comes early waits for none of it.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use api::{
    BeginReseal, ClaimTask, ClaimedInput, ClaimedTask, CreateDataset, DatasetId, EndTask,
    ObjectRef, ProjectId, SealedObject, SignedStatement, TaskApproval, TaskId,
};
use dataset::SealedPart;
use proof::{Manifest, open_statement};

use super::hub::{Hub, HubError, SharedHub};

/// The most that is fetched ahead. Of an input that is larger, the objects of its index alone.
const MOST_BYTES: u64 = 64 << 20;

/// A hub of which some answers are here already.
pub(super) struct Ahead {
    hub: SharedHub,
    lists: Mutex<HashMap<DatasetId, Vec<SealedObject>>>,
    objects: Mutex<HashMap<(DatasetId, ObjectRef), Vec<u8>>>,
    is_over: AtomicBool,
}

impl Ahead {
    pub(super) fn of(hub: SharedHub) -> Self {
        let (lists, objects) = (Mutex::default(), Mutex::default());
        Self { hub, lists, objects, is_over: AtomicBool::new(false) }
    }

    /// From here on nothing more is fetched ahead: what is missing is fetched by whoever needs it.
    pub(super) fn over(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Fetches what these inputs are read from, as far as it is little. What does not come now is asked for again when it is needed.
    pub(super) fn fetch(&self, inputs: &[ClaimedInput]) {
        let mut left = MOST_BYTES;
        for input in inputs {
            if let Err(error) = self.fetch_one(input, &mut left) {
                tracing::debug!(%error, "what a task will read was not fetched ahead");
            }
        }
    }

    fn fetch_one(&self, input: &ClaimedInput, left: &mut u64) -> Result<(), HubError> {
        let dataset = input.key.place().dataset;
        let Ok((manifest, _writer)) = open_statement::<Manifest>(&input.manifest) else {
            return Ok(());
        };
        if self.is_over.load(Ordering::Relaxed) {
            return Ok(());
        }
        let list = self.hub.objects(dataset)?;
        let is_index = |object: &&SealedObject| {
            manifest.index.iter().any(|extent| extent.object == object.object)
        };
        let all = manifest.sealed_bytes <= *left;
        let wanted: Vec<(ObjectRef, u64)> = list
            .iter()
            .filter(|object| all || is_index(object))
            .map(|object| (object.object, object.sealed_bytes))
            .collect();
        kept(&self.lists).insert(dataset, list);
        for (object, bytes) in wanted {
            if self.is_over.load(Ordering::Relaxed) || bytes > *left {
                return Ok(());
            }
            *left -= bytes;
            let sealed = self.hub.object(dataset, object)?;
            kept(&self.objects).insert((dataset, object), sealed);
        }
        Ok(())
    }
}

/// Whoever panicked had changed one entry or none.
fn kept<T>(map: &Mutex<T>) -> MutexGuard<'_, T> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub for Ahead {
    fn objects(&self, dataset: DatasetId) -> Result<Vec<SealedObject>, HubError> {
        let here = kept(&self.lists).remove(&dataset);
        here.map_or_else(|| self.hub.objects(dataset), Ok)
    }

    fn object(&self, dataset: DatasetId, object: ObjectRef) -> Result<Vec<u8>, HubError> {
        // Whoever reads it keeps what they need of it.
        let here = kept(&self.objects).remove(&(dataset, object));
        here.map_or_else(|| self.hub.object(dataset, object), Ok)
    }

    fn object_range(
        &self,
        dataset: DatasetId,
        object: ObjectRef,
        range: Range<u64>,
    ) -> Result<Vec<u8>, HubError> {
        let (from, to) = (usize::try_from(range.start), usize::try_from(range.end));
        if let (Ok(from), Ok(to)) = (from, to)
            && let Some(bytes) = kept(&self.objects).get(&(dataset, object))
            && let Some(bytes) = bytes.get(from..to)
        {
            return Ok(bytes.to_vec());
        }
        self.hub.object_range(dataset, object, range)
    }

    fn claim(&self, task: TaskId, claim: &ClaimTask) -> Result<ClaimedTask, HubError> {
        self.hub.claim(task, claim)
    }

    fn approvals(&self, task: TaskId) -> Result<Vec<TaskApproval>, HubError> {
        self.hub.approvals(task)
    }

    fn progress(&self, task: TaskId, percent: u8) -> Result<(), HubError> {
        self.hub.progress(task, percent)
    }

    fn card(&self, project: ProjectId) -> Result<SignedStatement, HubError> {
        self.hub.card(project)
    }

    fn create(&self, dataset: &CreateDataset) -> Result<(), HubError> {
        self.hub.create(dataset)
    }

    fn put(&self, dataset: DatasetId, epoch: u32, part: &SealedPart) -> Result<(), HubError> {
        self.hub.put(dataset, epoch, part)
    }

    fn close(
        &self,
        dataset: DatasetId,
        manifest: &SignedStatement,
        reads: Option<u64>,
    ) -> Result<(), HubError> {
        self.hub.close(dataset, manifest, reads)
    }

    fn begin_reseal(&self, task: TaskId, reseal: &BeginReseal) -> Result<(), HubError> {
        self.hub.begin_reseal(task, reseal)
    }

    fn end(&self, task: TaskId, end: &EndTask) -> Result<(), HubError> {
        self.hub.end(task, end)
    }
}
