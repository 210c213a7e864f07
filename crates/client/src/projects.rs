//! Projects, their members, cards and transfers.

use api::{
    AccountId, ConfirmDeletion, CreateProject, Deletion, Member, OfferTransfer, Project, ProjectId,
    Release, ReleaseRequest, Right, SetMember, SignedStatement, Transfer, TransferId,
};
use reqwest::Method;

use crate::connection::Request;
use crate::{Client, ClientError, Listing};

impl Client {
    /// The projects that the caller may see.
    pub fn projects(&self) -> Listing<Project> {
        Listing::new(self, "/projects")
    }

    /// Creates a project.
    pub async fn create_project(&self, create: &CreateProject) -> Result<Project, ClientError> {
        self.call(Request::post("/projects", create).repeatable()).await
    }

    /// A project.
    pub async fn project(&self, project: ProjectId) -> Result<Project, ClientError> {
        self.call(Request::get(format!("/projects/{project}"))).await
    }

    /// Deletes a project and all it holds, for ever.
    pub async fn delete_project(
        &self,
        project: ProjectId,
        confirm: &ConfirmDeletion,
    ) -> Result<Deletion, ClientError> {
        self.call(Request::bare(Method::DELETE, format!("/projects/{project}")).json(confirm)).await
    }

    /// The signed card in force: the caller checks it (`proof::Card`).
    pub async fn card(&self, project: ProjectId) -> Result<SignedStatement, ClientError> {
        self.call(Request::get(format!("/projects/{project}/card"))).await
    }

    /// The project's own key, for its name.
    pub async fn release_project(
        &self,
        project: ProjectId,
        request: &ReleaseRequest,
    ) -> Result<Release, ClientError> {
        let path = format!("/projects/{project}/release");
        self.call(Request::post(path, request).repeatable()).await
    }

    /// Who belongs to a project.
    pub fn members(&self, project: ProjectId) -> Listing<Member> {
        Listing::new(self, format!("/projects/{project}/members"))
    }

    /// Adds a member, or changes what a member may do.
    pub async fn set_member(
        &self,
        project: ProjectId,
        account: AccountId,
        right: Right,
    ) -> Result<Member, ClientError> {
        let path = format!("/projects/{project}/members/{account}");
        self.call(Request::bare(Method::PUT, path).json(&SetMember { right })).await
    }

    /// Removes a member.
    pub async fn remove_member(
        &self,
        project: ProjectId,
        account: AccountId,
    ) -> Result<(), ClientError> {
        let path = format!("/projects/{project}/members/{account}");
        self.call_empty(Request::bare(Method::DELETE, path)).await
    }

    /// Offers a project to another account.
    pub async fn offer_transfer(
        &self,
        project: ProjectId,
        offer: &OfferTransfer,
    ) -> Result<Transfer, ClientError> {
        self.call(Request::post(format!("/projects/{project}/transfer"), offer)).await
    }

    /// The offers that the caller made or got.
    pub fn transfers(&self) -> Listing<Transfer> {
        Listing::new(self, "/transfers")
    }

    /// Takes an offered project.
    pub async fn accept_transfer(&self, transfer: TransferId) -> Result<Transfer, ClientError> {
        self.answer_transfer(transfer, "accept").await
    }

    /// Declines an offered project.
    pub async fn refuse_transfer(&self, transfer: TransferId) -> Result<Transfer, ClientError> {
        self.answer_transfer(transfer, "refuse").await
    }

    /// Takes an offer back.
    pub async fn withdraw_transfer(&self, transfer: TransferId) -> Result<Transfer, ClientError> {
        self.answer_transfer(transfer, "withdraw").await
    }

    async fn answer_transfer(&self, id: TransferId, answer: &str) -> Result<Transfer, ClientError> {
        self.call(Request::bare(Method::POST, format!("/transfers/{id}/{answer}"))).await
    }
}
