//! What owners are asked for, and their answers.

use std::time::Duration;

use api::{
    ApprovalDetail, ApprovalId, ApprovalRequest, Dataset, DatasetId, ExportDataset, GiveApproval,
    OwnerKey, Page, ProjectId, PutCard, RefuseApproval, ShareDataset, SignedApproval,
    SignedStatement, TaskApproval, TaskId,
};
use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Id, Params};
use super::page::{PageParams, Paging};
use crate::HubError;
use crate::app::{self, Caller};
use crate::state::Hub;

/// The routes of this noun.
pub(crate) fn routes() -> OpenApiRouter<Hub> {
    OpenApiRouter::default()
        .routes(routes!(list))
        .routes(routes!(changes))
        .routes(routes!(show))
        .routes(routes!(approve))
        .routes(routes!(refuse))
        .routes(routes!(of_task))
        .routes(routes!(dataset_key))
        .routes(routes!(project_key))
        .routes(routes!(put_card))
        .routes(routes!(set_writer))
        .routes(routes!(share))
        .routes(routes!(export))
        .routes(routes!(shared_key))
}

/// What the caller is asked for as the owner of projects.
#[utoipa::path(get, path = "/approvals", tag = "approval", params(PageParams),
    responses((status = 200, body = Page<ApprovalRequest>)))]
async fn list(
    State(hub): State<Hub>,
    caller: Caller,
    paging: Paging,
) -> Result<Json<Page<ApprovalRequest>>, HubError> {
    let rows = app::approvals::list(&hub, &caller, &paging.after, paging.rows()).await?;
    Ok(Json(paging.page(rows, |request| request.id.to_string())))
}

/// Says that this list changed, and not how, for as long as the caller listens: `text/event-stream`, one event at once and one after
/// each change. It ends after five minutes, and with the hub.
#[utoipa::path(get, path = "/approvals/changes", tag = "approval",
    responses((status = 200, content_type = "text/event-stream", body = String)))]
async fn changes(State(hub): State<Hub>, caller: Caller) -> Result<Response, HubError> {
    let words = app::changes::listen(&hub, &caller)?;
    Ok(([(CONTENT_TYPE, api::EVENT_STREAM)], axum::body::Body::from_stream(words)).into_response())
}

/// A request with everything that a device needs to judge it.
#[utoipa::path(get, path = "/approvals/{id}", tag = "approval", params(("id" = ApprovalId, Path)),
    responses((status = 200, body = ApprovalDetail)))]
async fn show(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<ApprovalId>,
) -> Result<Json<ApprovalDetail>, HubError> {
    app::approvals::show(&hub, &caller, id).await.map(Json)
}

/// Takes an approval, once.
#[utoipa::path(post, path = "/approvals/{id}/approve", tag = "approval",
    params(("id" = ApprovalId, Path)), request_body = GiveApproval,
    responses((status = 200, body = ApprovalRequest)))]
async fn approve(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<ApprovalId>,
    Body(body): Body<GiveApproval>,
) -> Result<Json<ApprovalRequest>, HubError> {
    app::approvals::approve(&hub, &caller, id, body).await.map(Json)
}

/// The owner does not want it.
#[utoipa::path(post, path = "/approvals/{id}/refuse", tag = "approval",
    params(("id" = ApprovalId, Path)), request_body = RefuseApproval,
    responses((status = 200, body = ApprovalRequest)))]
async fn refuse(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<ApprovalId>,
    Body(body): Body<RefuseApproval>,
) -> Result<Json<ApprovalRequest>, HubError> {
    app::approvals::refuse(&hub, &caller, id, &body).await.map(Json)
}

/// For how long a vault's question may stay open.
const MOST_WAIT_SECONDS: u64 = 10;

/// How a vault asks.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct Patience {
    /// Answer when an owner has answered, or after so many seconds, 10 at most; at once if absent.
    wait: Option<u64>,
}

/// What the vault of a task waits for, as far as it came.
#[utoipa::path(get, path = "/tasks/{id}/approvals", tag = "vault",
    params(("id" = TaskId, Path), Patience),
    responses((status = 200, body = Vec<TaskApproval>)))]
async fn of_task(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<TaskId>,
    Params(patience): Params<Patience>,
) -> Result<Json<Vec<TaskApproval>>, HubError> {
    let wait = Duration::from_secs(patience.wait.unwrap_or(0).min(MOST_WAIT_SECONDS));
    app::approvals::of_task(&hub, &caller, id, wait).await.map(Json)
}

/// A dataset's key as it is wrapped to its owner, whose device alone opens it.
#[utoipa::path(get, path = "/datasets/{id}/key", tag = "dataset", params(("id" = DatasetId, Path)),
    responses((status = 200, body = OwnerKey)))]
async fn dataset_key(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<DatasetId>,
) -> Result<Json<OwnerKey>, HubError> {
    app::approvals::dataset_key(&hub, &caller, id).await.map(Json)
}

/// The project's own key, which opens its name, as it is wrapped to the owner.
#[utoipa::path(get, path = "/projects/{id}/key", tag = "project", params(("id" = ProjectId, Path)),
    responses((status = 200, body = OwnerKey)))]
async fn project_key(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<ProjectId>,
) -> Result<Json<OwnerKey>, HubError> {
    app::approvals::project_key(&hub, &caller, id).await.map(Json)
}

/// Puts an owner's next card in force.
#[utoipa::path(put, path = "/projects/{id}/card", tag = "project", params(("id" = ProjectId, Path)),
    request_body = PutCard, responses((status = 200, body = SignedStatement)))]
async fn put_card(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<ProjectId>,
    Body(body): Body<PutCard>,
) -> Result<Json<SignedStatement>, HubError> {
    app::approvals::put_card(&hub, &caller, id, body).await.map(Json)
}

/// The owner takes what a vault wrote as their own: an approval of kind `writer`.
#[utoipa::path(post, path = "/datasets/{id}/writer", tag = "dataset",
    params(("id" = DatasetId, Path)), request_body = SignedApproval,
    responses((status = 200, body = OwnerKey)))]
async fn set_writer(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<DatasetId>,
    Body(body): Body<SignedApproval>,
) -> Result<Json<OwnerKey>, HubError> {
    app::approvals::set_writer(&hub, &caller, id, body).await.map(Json)
}

/// Keeps a dataset's key for somebody: an approval of kind `share`, and the key that the owner's device wrapped.
#[utoipa::path(post, path = "/datasets/{id}/share", tag = "dataset",
    params(("id" = DatasetId, Path)), request_body = ShareDataset,
    responses((status = 200, body = Dataset)))]
async fn share(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<DatasetId>,
    Body(body): Body<ShareDataset>,
) -> Result<Json<Dataset>, HubError> {
    app::approvals::share(&hub, &caller, id, body).await.map(Json)
}

/// A dataset goes into custody that others hold: an approval of kind `export`.
#[utoipa::path(post, path = "/datasets/{id}/export", tag = "dataset",
    params(("id" = DatasetId, Path)), request_body = ExportDataset,
    responses((status = 200, body = Dataset)))]
async fn export(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<DatasetId>,
    Body(body): Body<ExportDataset>,
) -> Result<Json<Dataset>, HubError> {
    app::approvals::export(&hub, &caller, id, body).await.map(Json)
}

/// A dataset's key as its owner wrapped it to the caller.
#[utoipa::path(get, path = "/datasets/{id}/shared", tag = "dataset",
    params(("id" = DatasetId, Path)), responses((status = 200, body = OwnerKey)))]
async fn shared_key(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<DatasetId>,
) -> Result<Json<OwnerKey>, HubError> {
    app::approvals::shared_key(&hub, &caller, id).await.map(Json)
}
