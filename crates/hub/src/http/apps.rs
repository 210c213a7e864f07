//! Apps.

use api::{App, AppId, Page, RegisterApp};
use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::VerifiedBody;
use super::extract::{Body, Id};
use super::page::{PageParams, Paging};
use crate::HubError;
use crate::app::{self, Caller};
use crate::state::Hub;

/// The routes of this noun.
pub(crate) fn routes() -> OpenApiRouter<Hub> {
    OpenApiRouter::default().routes(routes!(list, register)).routes(routes!(show))
}

/// Apps whose packages lie in projects of the caller.
#[utoipa::path(get, path = "/apps", tag = "app", params(PageParams),
    responses((status = 200, body = Page<App>)))]
async fn list(
    State(hub): State<Hub>,
    caller: Caller,
    paging: Paging,
) -> Result<Json<Page<App>>, HubError> {
    let rows = app::apps::list(&hub, &caller, &paging.after, paging.rows()).await?;
    Ok(Json(paging.page(rows, |app| app.id.to_string())))
}

/// Registers an app whose package lies here. The same call again is a success.
#[utoipa::path(post, path = "/apps", tag = "app", request_body = RegisterApp,
    responses((status = 200, body = App)))]
async fn register(
    State(hub): State<Hub>,
    caller: Caller,
    verified: VerifiedBody,
    Body(body): Body<RegisterApp>,
) -> Result<Json<App>, HubError> {
    app::apps::register(&hub, &caller, body, verified.digest).await.map(Json)
}

/// One app.
#[utoipa::path(get, path = "/apps/{id}", tag = "app", params(("id" = AppId, Path)),
    responses((status = 200, body = App)))]
async fn show(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<AppId>,
) -> Result<Json<App>, HubError> {
    app::apps::show(&hub, &caller, id).await.map(Json)
}
