//! App sessions.

use api::{AppSession, Launch, ListOrder, Page, ProjectId, SessionId};
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::VerifiedBody;
use super::extract::{Body, Id, Params};
use super::page::{PageParams, Paging};
use crate::HubError;
use crate::app::{self, Caller};
use crate::state::Hub;

/// The routes of this noun.
pub(crate) fn routes() -> OpenApiRouter<Hub> {
    OpenApiRouter::default()
        .routes(routes!(list, launch))
        .routes(routes!(show))
        .routes(routes!(cancel))
}

/// To what a list of sessions is narrowed.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// Sessions whose result goes into this project.
    project: Option<ProjectId>,
    /// In which direction; the oldest first if absent.
    order: Option<ListOrder>,
}

/// Sessions into projects of the caller.
#[utoipa::path(get, path = "/appsessions", tag = "app session", params(Filter, PageParams),
    responses((status = 200, body = Page<AppSession>)))]
async fn list(
    State(hub): State<Hub>,
    caller: Caller,
    Params(filter): Params<Filter>,
    paging: Paging,
) -> Result<Json<Page<AppSession>>, HubError> {
    let Filter { project, order } = filter;
    let order = order.unwrap_or_default();
    let rows =
        app::sessions::list(&hub, &caller, project, order, &paging.after, paging.rows()).await?;
    Ok(Json(paging.page(rows, |session| session.id.to_string())))
}

/// Launches an app. The same call again is a success.
#[utoipa::path(post, path = "/appsessions", tag = "app session", request_body = Launch,
    responses((status = 200, body = AppSession)))]
async fn launch(
    State(hub): State<Hub>,
    caller: Caller,
    verified: VerifiedBody,
    Body(body): Body<Launch>,
) -> Result<Json<AppSession>, HubError> {
    app::sessions::launch(&hub, &caller, body, verified.digest).await.map(Json)
}

/// One session.
#[utoipa::path(get, path = "/appsessions/{id}", tag = "app session",
    params(("id" = SessionId, Path)), responses((status = 200, body = AppSession)))]
async fn show(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<SessionId>,
) -> Result<Json<AppSession>, HubError> {
    app::sessions::show(&hub, &caller, id).await.map(Json)
}

/// Stops a session.
#[utoipa::path(post, path = "/appsessions/{id}/cancel", tag = "app session",
    params(("id" = SessionId, Path)), responses((status = 200, body = AppSession)))]
async fn cancel(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<SessionId>,
) -> Result<Json<AppSession>, HubError> {
    app::sessions::cancel(&hub, &caller, id).await.map(Json)
}
