//! Projects, their cards and members.

use api::{
    AccountId, ConfirmDeletion, CreateProject, Deletion, Member, OfferTransfer, Page, Project,
    ProjectId, Release, ReleaseRequest, SetMember, SignedStatement, Transfer,
};
use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::VerifiedBody;
use super::extract::{Body, Id, Ids};
use super::page::{PageParams, Paging};
use crate::HubError;
use crate::app::{self, Caller};
use crate::state::Hub;

/// The routes of this noun.
pub(crate) fn routes() -> OpenApiRouter<Hub> {
    OpenApiRouter::default()
        .routes(routes!(list, create))
        .routes(routes!(show, delete))
        .routes(routes!(card))
        .routes(routes!(members))
        .routes(routes!(set_member, remove_member))
        .routes(routes!(release))
        .routes(routes!(offer))
}

/// The caller's projects.
#[utoipa::path(get, path = "/projects", tag = "project", params(PageParams),
    responses((status = 200, body = Page<Project>)))]
async fn list(
    State(hub): State<Hub>,
    caller: Caller,
    paging: Paging,
) -> Result<Json<Page<Project>>, HubError> {
    let rows = app::projects::list(&hub, &caller, &paging.after, paging.rows()).await?;
    Ok(Json(paging.page(rows, |project| project.id.to_string())))
}

/// Makes a project. The same call again is a success.
#[utoipa::path(post, path = "/projects", tag = "project", request_body = CreateProject,
    responses((status = 200, body = Project)))]
async fn create(
    State(hub): State<Hub>,
    caller: Caller,
    verified: VerifiedBody,
    Body(body): Body<CreateProject>,
) -> Result<Json<Project>, HubError> {
    app::projects::create(&hub, &caller, body, verified.digest).await.map(Json)
}

/// One project.
#[utoipa::path(get, path = "/projects/{id}", tag = "project", params(("id" = ProjectId, Path)),
    responses((status = 200, body = Project)))]
async fn show(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<ProjectId>,
) -> Result<Json<Project>, HubError> {
    app::projects::show(&hub, &caller, id).await.map(Json)
}

/// Deletes the project for ever: keys first, then bytes, then rows.
#[utoipa::path(delete, path = "/projects/{id}", tag = "project",
    params(("id" = ProjectId, Path)), request_body = ConfirmDeletion,
    responses((status = 200, body = Deletion)))]
async fn delete(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<ProjectId>,
    Body(body): Body<ConfirmDeletion>,
) -> Result<Json<Deletion>, HubError> {
    app::projects::delete(&hub, &caller, id, &body).await.map(Json)
}

/// The card in force, signed.
#[utoipa::path(get, path = "/projects/{id}/card", tag = "project",
    params(("id" = ProjectId, Path)), responses((status = 200, body = SignedStatement)))]
async fn card(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<ProjectId>,
) -> Result<Json<SignedStatement>, HubError> {
    app::projects::card(&hub, &caller, id).await.map(Json)
}

/// The owner and the members.
#[utoipa::path(get, path = "/projects/{id}/members", tag = "project",
    params(("id" = ProjectId, Path), PageParams),
    responses((status = 200, body = Page<Member>)))]
async fn members(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<ProjectId>,
    paging: Paging,
) -> Result<Json<Page<Member>>, HubError> {
    let rows = app::projects::members(&hub, &caller, id, &paging.after, paging.rows()).await?;
    Ok(Json(paging.page(rows, |member| member.account.to_string())))
}

/// Adds a member, or changes what one may do.
#[utoipa::path(put, path = "/projects/{id}/members/{account}", tag = "project",
    params(("id" = ProjectId, Path), ("account" = AccountId, Path)), request_body = SetMember,
    responses((status = 200, body = Member)))]
async fn set_member(
    State(hub): State<Hub>,
    caller: Caller,
    Ids(id, account): Ids<ProjectId, AccountId>,
    Body(body): Body<SetMember>,
) -> Result<Json<Member>, HubError> {
    app::projects::set_member(&hub, &caller, id, account, body.right).await.map(Json)
}

/// Removes a member.
#[utoipa::path(delete, path = "/projects/{id}/members/{account}", tag = "project",
    params(("id" = ProjectId, Path), ("account" = AccountId, Path)),
    responses((status = 200, body = Member)))]
async fn remove_member(
    State(hub): State<Hub>,
    caller: Caller,
    Ids(id, account): Ids<ProjectId, AccountId>,
) -> Result<Json<Member>, HubError> {
    app::projects::remove_member(&hub, &caller, id, account).await.map(Json)
}

/// The project's own key, which opens its name, wrapped to the named recipient.
#[utoipa::path(post, path = "/projects/{id}/release", tag = "project",
    params(("id" = ProjectId, Path)), request_body = ReleaseRequest,
    responses((status = 200, body = Release)))]
async fn release(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<ProjectId>,
    Body(body): Body<ReleaseRequest>,
) -> Result<Json<Release>, HubError> {
    app::projects::release(&hub, &caller, id, &body).await.map(Json)
}

/// Offers the project to another account.
#[utoipa::path(post, path = "/projects/{id}/transfer", tag = "transfer",
    params(("id" = ProjectId, Path)), request_body = OfferTransfer,
    responses((status = 200, body = Transfer)))]
async fn offer(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<ProjectId>,
    Body(body): Body<OfferTransfer>,
) -> Result<Json<Transfer>, HubError> {
    app::transfers::offer(&hub, &caller, id, &body).await.map(Json)
}
