//! What a vault asks of the hub, and nothing else: it opens no port and knows no other address.

use std::ops::Range;
use std::sync::Arc;

use api::{
    BeginReseal, ClaimTask, ClaimedTask, CreateDataset, DatasetId, EndTask, ObjectRef, ProjectId,
    SealedObject, SignedStatement, TaskApproval, TaskId,
};
use dataset::SealedPart;

/// The hub as a task sees it. Calls block: a task has threads of its own and waits for nothing else.
///
/// An implementation tries again by itself whatever may be tried again; an error here is final for the task.
pub trait Hub: Send + Sync {
    /// Shows evidence and takes the task.
    fn claim(&self, task: TaskId, claim: &ClaimTask) -> Result<ClaimedTask, HubError>;
    /// What owners have answered so far; an implementation may wait some seconds for an answer.
    fn approvals(&self, task: TaskId) -> Result<Vec<TaskApproval>, HubError>;
    /// Says how far it is, 0 to 100.
    fn progress(&self, task: TaskId, percent: u8) -> Result<(), HubError>;
    /// Every sealed object of a dataset.
    fn objects(&self, dataset: DatasetId) -> Result<Vec<SealedObject>, HubError>;
    /// The sealed bytes of one.
    fn object(&self, dataset: DatasetId, object: ObjectRef) -> Result<Vec<u8>, HubError>;
    /// Some of the sealed bytes of one, exactly as many as asked for.
    fn object_range(
        &self,
        dataset: DatasetId,
        object: ObjectRef,
        range: Range<u64>,
    ) -> Result<Vec<u8>, HubError> {
        let sealed = self.object(dataset, object)?;
        let (Ok(from), Ok(to)) = (usize::try_from(range.start), usize::try_from(range.end)) else {
            return Err(HubError::past(object));
        };
        sealed.get(from..to).map(<[u8]>::to_vec).ok_or_else(|| HubError::past(object))
    }
    /// The card in force of a project that outputs go to.
    fn card(&self, project: ProjectId) -> Result<SignedStatement, HubError>;
    /// Makes an output.
    fn create(&self, dataset: &CreateDataset) -> Result<(), HubError>;
    /// Sends a sealed object; returns once it is acknowledged.
    fn put(&self, dataset: DatasetId, epoch: u32, part: &SealedPart) -> Result<(), HubError>;
    /// Closes an output; `reads` where that is known.
    fn close(
        &self,
        dataset: DatasetId,
        manifest: &SignedStatement,
        reads: Option<u64>,
    ) -> Result<(), HubError>;
    /// Opens the next key epoch of the dataset that is written anew.
    fn begin_reseal(&self, task: TaskId, reseal: &BeginReseal) -> Result<(), HubError>;
    /// Ends the task with its receipt.
    fn end(&self, task: TaskId, end: &EndTask) -> Result<(), HubError>;
}

/// The hub did not do it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{sentence}")]
pub struct HubError {
    /// What it said, or what failed on the way.
    pub sentence: String,
    /// The step that is next, where it said one.
    pub hint: Option<String>,
}

impl HubError {
    fn past(object: ObjectRef) -> Self {
        Self { sentence: format!("object {object} is shorter than it was said to be"), hint: None }
    }
}

/// A hub that threads share.
pub(crate) type SharedHub = Arc<dyn Hub>;
