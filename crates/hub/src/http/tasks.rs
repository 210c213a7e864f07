//! Tasks of vaults.

use api::{
    BeginReseal, ClaimTask, ClaimedTask, Dataset, DatasetId, EndTask, Page, SignedApproval, Task,
    TaskId, TaskProgress,
};
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Presented;
use super::extract::{Body, Id, Params};
use super::page::{PageParams, Paging};
use crate::HubError;
use crate::app::tasks::Claimant;
use crate::app::{self, Caller};
use crate::state::Hub;

/// The routes of this noun.
pub(crate) fn routes() -> OpenApiRouter<Hub> {
    OpenApiRouter::default()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(boot))
        .routes(routes!(claim))
        .routes(routes!(progress))
        .routes(routes!(reseal))
        .routes(routes!(end))
}

/// To what a list of tasks is narrowed.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// Tasks about this dataset.
    subject: Option<DatasetId>,
}

/// Tasks of the caller's projects.
#[utoipa::path(get, path = "/tasks", tag = "task", params(Filter, PageParams),
    responses((status = 200, body = Page<Task>)))]
async fn list(
    State(hub): State<Hub>,
    caller: Caller,
    Params(filter): Params<Filter>,
    paging: Paging,
) -> Result<Json<Page<Task>>, HubError> {
    let rows =
        app::tasks::list(&hub, &caller, filter.subject, &paging.after, paging.rows()).await?;
    Ok(Json(paging.page(rows, |task| task.id.to_string())))
}

/// One task, with its receipt once it has ended.
#[utoipa::path(get, path = "/tasks/{id}", tag = "task", params(("id" = TaskId, Path)),
    responses((status = 200, body = Task)))]
async fn show(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<TaskId>,
) -> Result<Json<Task>, HubError> {
    app::tasks::show(&hub, &caller, id).await.map(Json)
}

/// The owner of a project lets a vault start for the task: an approval of kind `boot`.
#[utoipa::path(post, path = "/tasks/{id}/boot", tag = "task", params(("id" = TaskId, Path)),
    request_body = SignedApproval, responses((status = 200, body = Task)))]
async fn boot(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<TaskId>,
    Body(body): Body<SignedApproval>,
) -> Result<Json<Task>, HubError> {
    app::boots::give(&hub, &caller, id, body).await.map(Json)
}

/// A vault takes the task. The call is signed by the key that its evidence binds.
#[utoipa::path(post, path = "/tasks/{id}/claim", tag = "vault", params(("id" = TaskId, Path)),
    request_body = ClaimTask, responses((status = 200, body = ClaimedTask)))]
async fn claim(
    State(hub): State<Hub>,
    presented: Presented,
    Id(id): Id<TaskId>,
    Body(body): Body<ClaimTask>,
) -> Result<Json<ClaimedTask>, HubError> {
    let by = Claimant { key: presented.key, request: presented.request, at: presented.at };
    app::tasks::claim(&hub, &by, id, body).await.map(Json)
}

/// The vault is alive, and so far.
#[utoipa::path(post, path = "/tasks/{id}/progress", tag = "vault", params(("id" = TaskId, Path)),
    request_body = TaskProgress, responses((status = 200, body = Task)))]
async fn progress(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<TaskId>,
    Body(body): Body<TaskProgress>,
) -> Result<Json<Task>, HubError> {
    app::tasks::progress(&hub, &caller, id, body.percent).await.map(Json)
}

/// Opens the next key epoch of the dataset that the task writes anew.
#[utoipa::path(post, path = "/tasks/{id}/reseal", tag = "vault", params(("id" = TaskId, Path)),
    request_body = BeginReseal, responses((status = 200, body = Dataset)))]
async fn reseal(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<TaskId>,
    Body(body): Body<BeginReseal>,
) -> Result<Json<Dataset>, HubError> {
    app::tasks::begin_reseal(&hub, &caller, id, body).await.map(Json)
}

/// Ends the task with the vault's receipt. The same end again is a success.
#[utoipa::path(post, path = "/tasks/{id}/end", tag = "vault", params(("id" = TaskId, Path)),
    request_body = EndTask, responses((status = 200, body = Task)))]
async fn end(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<TaskId>,
    Body(body): Body<EndTask>,
) -> Result<Json<Task>, HubError> {
    app::tasks::end(&hub, &caller, id, body).await.map(Json)
}
