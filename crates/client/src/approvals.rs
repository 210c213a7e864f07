//! Owners' approvals, their cards, and keys that the owner alone opens.

use api::{
    ApprovalDetail, ApprovalId, ApprovalRequest, BeginHandover, Dataset, DatasetId, ExportDataset,
    FinishHandover, GiveApproval, Handover, HandoverKeys, OwnerKey, ProjectId, PutCard,
    RefuseApproval, ShareDataset, SignedApproval, SignedStatement, Task, TaskApproval, TaskId,
    Transfer, TransferId,
};
use reqwest::Method;

use crate::connection::Request;
use crate::{Client, ClientError, Listing};

/// The word of a hub that something changed for an owner, each time it does (`spec/authenticator.md`, section 4).
#[derive(Debug)]
pub struct Changes {
    client: Client,
    answer: reqwest::Response,
    /// What came of a line that has not ended.
    line: Vec<u8>,
}

/// The longest line of an event that is taken.
const MOST_LINE_BYTES: usize = 1024;

impl Changes {
    /// Waits for the next word; says no when the hub has ended the line. What a word says is not looked at: it may be lost, doubled
    /// or made up, and whoever hears it asks.
    pub async fn next(&mut self) -> Result<bool, ClientError> {
        loop {
            let Some(bytes) = self.answer.chunk().await.map_err(|e| self.client.cut(e))? else {
                return Ok(false);
            };
            let mut word = false;
            for byte in bytes {
                if byte == b'\n' {
                    word |= self.line.starts_with(b"data:");
                    self.line.clear();
                } else if self.line.len() < MOST_LINE_BYTES {
                    self.line.push(byte);
                }
            }
            if word {
                return Ok(true);
            }
        }
    }
}

impl Client {
    /// What the caller is asked for as the owner of projects.
    pub fn approvals(&self) -> Listing<ApprovalRequest> {
        Listing::new(self, "/approvals")
    }

    /// Listens for the word that [`Client::approvals`] are others than before. The first comes at once; the hub ends the line after
    /// five minutes, and then one listens again.
    pub async fn approval_changes(&self) -> Result<Changes, ClientError> {
        let request = Request::get("/approvals/changes");
        let answer = self.listen(&request).await?;
        Ok(Changes { client: self.clone(), answer, line: Vec::new() })
    }

    /// A request with everything that a device needs to judge it.
    pub async fn approval(&self, id: ApprovalId) -> Result<ApprovalDetail, ClientError> {
        self.call(Request::get(format!("/approvals/{id}"))).await
    }

    /// Gives an approval; it is taken once, so an answer that was lost is not asked for again.
    pub async fn approve(
        &self,
        id: ApprovalId,
        given: &GiveApproval,
    ) -> Result<ApprovalRequest, ClientError> {
        self.call(Request::post(format!("/approvals/{id}/approve"), given)).await
    }

    /// Refuses a request.
    pub async fn refuse_approval(
        &self,
        id: ApprovalId,
        refuse: &RefuseApproval,
    ) -> Result<ApprovalRequest, ClientError> {
        self.call(Request::post(format!("/approvals/{id}/refuse"), refuse).repeatable()).await
    }

    /// What the vault of a task waits for; the hub answers when an owner has, or after `wait` seconds.
    pub async fn task_approvals(
        &self,
        task: TaskId,
        wait: u64,
    ) -> Result<Vec<TaskApproval>, ClientError> {
        self.call(Request::get(format!("/tasks/{task}/approvals?wait={wait}"))).await
    }

    /// A dataset's key as it is wrapped to its owner.
    pub async fn dataset_key(&self, dataset: DatasetId) -> Result<OwnerKey, ClientError> {
        self.call(Request::get(format!("/datasets/{dataset}/key"))).await
    }

    /// A project's own key as it is wrapped to its owner.
    pub async fn project_key(&self, project: ProjectId) -> Result<OwnerKey, ClientError> {
        self.call(Request::get(format!("/projects/{project}/key"))).await
    }

    /// Takes what a vault wrote as the owner's own.
    pub async fn set_writer(
        &self,
        dataset: DatasetId,
        approval: &SignedApproval,
    ) -> Result<OwnerKey, ClientError> {
        self.call(Request::post(format!("/datasets/{dataset}/writer"), approval)).await
    }

    /// Shares a dataset with somebody.
    pub async fn share(
        &self,
        dataset: DatasetId,
        share: &ShareDataset,
    ) -> Result<Dataset, ClientError> {
        self.call(Request::post(format!("/datasets/{dataset}/share"), share)).await
    }

    /// A dataset's key as its owner wrapped it to the caller.
    pub async fn shared_key(&self, dataset: DatasetId) -> Result<OwnerKey, ClientError> {
        self.call(Request::get(format!("/datasets/{dataset}/shared"))).await
    }

    /// Puts an owner's next card in force.
    pub async fn put_card(
        &self,
        project: ProjectId,
        card: &PutCard,
    ) -> Result<SignedStatement, ClientError> {
        self.call(Request::bare(Method::PUT, format!("/projects/{project}/card")).json(card)).await
    }

    /// Says that a dataset goes into custody that others hold.
    pub async fn export(
        &self,
        dataset: DatasetId,
        export: &ExportDataset,
    ) -> Result<Dataset, ClientError> {
        self.call(Request::post(format!("/datasets/{dataset}/export"), export)).await
    }

    /// Lets a vault start for a task.
    pub async fn approve_boot(
        &self,
        task: TaskId,
        approval: &SignedApproval,
    ) -> Result<Task, ClientError> {
        self.call(Request::post(format!("/tasks/{task}/boot"), approval)).await
    }

    /// Begins a change of words, of the owner or of the custodian.
    pub async fn begin_handover(
        &self,
        project: ProjectId,
        begin: &BeginHandover,
    ) -> Result<Handover, ClientError> {
        let path = format!("/projects/{project}/handover");
        self.call(Request::post(path, begin).repeatable()).await
    }

    /// Brings keys, each wrapped to whoever holds it next.
    pub async fn put_handover_keys(
        &self,
        project: ProjectId,
        keys: &HandoverKeys,
    ) -> Result<Handover, ClientError> {
        let path = format!("/projects/{project}/handover");
        self.call(Request::bare(Method::PUT, path).json(keys)).await
    }

    /// Finishes a change of words or of the custodian.
    pub async fn finish_handover(
        &self,
        project: ProjectId,
        finish: &FinishHandover,
    ) -> Result<SignedStatement, ClientError> {
        self.call(Request::post(format!("/projects/{project}/handover/finish"), finish)).await
    }

    /// The card with which an offered project of an owner would be the caller's.
    pub async fn offered_handover(&self, transfer: TransferId) -> Result<Handover, ClientError> {
        self.call(Request::get(format!("/transfers/{transfer}/handover"))).await
    }

    /// Takes an offered project of an owner.
    pub async fn take_transfer(
        &self,
        transfer: TransferId,
        finish: &FinishHandover,
    ) -> Result<Transfer, ClientError> {
        self.call(Request::post(format!("/transfers/{transfer}/take"), finish)).await
    }
}
