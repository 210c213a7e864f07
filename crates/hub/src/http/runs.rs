//! Runs.

use api::{
    CloseRun, Dataset, DatasetId, DatasetKind, Page, Requeue, RunAttention, RunMetrics,
    RunProgress, Task, TransferProgress,
};
use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::datasets::{Filter, page};
use super::extract::{Body, Id, Params};
use super::page::{PageParams, Paging};
use crate::HubError;
use crate::app::{self, Caller};
use crate::state::Hub;

/// The routes of this noun.
pub(crate) fn routes() -> OpenApiRouter<Hub> {
    OpenApiRouter::default()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(progress, tell_progress))
        .routes(routes!(metrics))
        .routes(routes!(attention))
        .routes(routes!(close))
        .routes(routes!(requeue))
}

/// Runs of the caller's projects.
#[utoipa::path(get, path = "/runs", tag = "run", params(Filter, PageParams),
    responses((status = 200, body = Page<Dataset>)))]
async fn list(
    State(hub): State<Hub>,
    caller: Caller,
    Params(filter): Params<Filter>,
    paging: Paging,
) -> Result<Json<Page<Dataset>>, HubError> {
    page(&hub, &caller, filter.of_kind(DatasetKind::Run), paging).await
}

/// One run.
#[utoipa::path(get, path = "/runs/{id}", tag = "run", params(("id" = DatasetId, Path)),
    responses((status = 200, body = Dataset)))]
async fn show(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<DatasetId>,
) -> Result<Json<Dataset>, HubError> {
    app::datasets::show_kind(&hub, &caller, id, DatasetKind::Run).await.map(Json)
}

/// How far the run has arrived.
#[utoipa::path(get, path = "/runs/{id}/progress", tag = "run", params(("id" = DatasetId, Path)),
    responses((status = 200, body = RunProgress)))]
async fn progress(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<DatasetId>,
) -> Result<Json<RunProgress>, HubError> {
    app::progress::show(&hub, &caller, id).await.map(Json)
}

/// Says how far the run is that the caller sends: shown to people, and kept by nobody.
#[utoipa::path(put, path = "/runs/{id}/progress", tag = "run",
    params(("id" = DatasetId, Path)), request_body = TransferProgress,
    responses((status = 200, body = RunProgress)))]
async fn tell_progress(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<DatasetId>,
    Body(body): Body<TransferProgress>,
) -> Result<Json<RunProgress>, HubError> {
    app::progress::tell(&hub, &caller, id, body).await.map(Json)
}

/// The run's metrics, as a vault made them: where the custodian lets the hub open them.
#[utoipa::path(get, path = "/runs/{id}/metrics", tag = "run", params(("id" = DatasetId, Path)),
    responses((status = 200, body = RunMetrics)))]
async fn metrics(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<DatasetId>,
) -> Result<Json<RunMetrics>, HubError> {
    app::progress::metrics(&hub, &caller, id).await.map(Json)
}

/// Says that the run grows no more: a person decides.
#[utoipa::path(post, path = "/runs/{id}/attention", tag = "run",
    params(("id" = DatasetId, Path)), request_body = RunAttention,
    responses((status = 200, body = Dataset)))]
async fn attention(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<DatasetId>,
    Body(body): Body<RunAttention>,
) -> Result<Json<Dataset>, HubError> {
    app::runs::attention(&hub, &caller, id, body).await.map(Json)
}

/// Takes the run as it is, or gives it up.
#[utoipa::path(post, path = "/runs/{id}/close", tag = "run",
    params(("id" = DatasetId, Path)), request_body = CloseRun,
    responses((status = 200, body = Dataset)))]
async fn close(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<DatasetId>,
    Body(body): Body<CloseRun>,
) -> Result<Json<Dataset>, HubError> {
    app::runs::close(&hub, &caller, id, body).await.map(Json)
}

/// Demultiplexes the run again without sending it again.
#[utoipa::path(post, path = "/runs/{id}/requeue", tag = "run",
    params(("id" = DatasetId, Path)), request_body = Requeue,
    responses((status = 200, body = Task)))]
async fn requeue(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<DatasetId>,
    Body(body): Body<Requeue>,
) -> Result<Json<Task>, HubError> {
    app::runs::requeue(&hub, &caller, id, body).await.map(Json)
}
