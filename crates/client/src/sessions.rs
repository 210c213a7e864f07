//! App sessions, and the tasks that vaults run.

use api::{
    AppSession, BeginReseal, ClaimTask, ClaimedTask, Dataset, DatasetId, EndTask, Launch,
    SessionId, Task, TaskId, TaskProgress,
};
use reqwest::Method;

use crate::connection::Request;
use crate::listing::with_query;
use crate::{Client, ClientError, Listing};

impl Client {
    /// The app sessions that the caller may see.
    pub fn sessions(&self) -> Listing<AppSession> {
        Listing::new(self, "/appsessions")
    }

    /// Launches an app; the same call again is the same session.
    pub async fn launch(&self, launch: &Launch) -> Result<AppSession, ClientError> {
        self.call(Request::post("/appsessions", launch).repeatable()).await
    }

    /// An app session.
    pub async fn session(&self, session: SessionId) -> Result<AppSession, ClientError> {
        self.call(Request::get(format!("/appsessions/{session}"))).await
    }

    /// Stops an app session.
    pub async fn cancel_session(&self, session: SessionId) -> Result<AppSession, ClientError> {
        let path = format!("/appsessions/{session}/cancel");
        self.call(Request::bare(Method::POST, path).repeatable()).await
    }

    /// Tasks, of one dataset or all that the caller may see.
    pub fn tasks(&self, subject: Option<DatasetId>) -> Listing<Task> {
        Listing::new(self, with_query("/tasks", &[("subject", subject.map(|id| id.to_string()))]))
    }

    /// A task, with its receipt once it has ended.
    pub async fn task(&self, task: TaskId) -> Result<Task, ClientError> {
        self.call(Request::get(format!("/tasks/{task}"))).await
    }

    /// Takes a task (vaults): the ticket counts once, so the call is never repeated by itself.
    pub async fn claim_task(
        &self,
        task: TaskId,
        claim: &ClaimTask,
    ) -> Result<ClaimedTask, ClientError> {
        self.call(Request::post(format!("/tasks/{task}/claim"), claim)).await
    }

    /// Says that a vault is alive.
    pub async fn task_progress(&self, task: TaskId, percent: u8) -> Result<(), ClientError> {
        let path = format!("/tasks/{task}/progress");
        self.call_empty(Request::post(path, &TaskProgress { percent }).repeatable()).await
    }

    /// Opens the next key epoch of a dataset for its objects written anew (vaults).
    pub async fn begin_reseal(
        &self,
        task: TaskId,
        begin: &BeginReseal,
    ) -> Result<Dataset, ClientError> {
        self.call(Request::post(format!("/tasks/{task}/reseal"), begin).repeatable()).await
    }

    /// Ends a task with its receipt (vaults).
    pub async fn end_task(&self, task: TaskId, end: &EndTask) -> Result<Task, ClientError> {
        self.call(Request::post(format!("/tasks/{task}/end"), end).repeatable()).await
    }
}
