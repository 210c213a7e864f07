//! Offers to hand over a project.

use api::{Page, Transfer, TransferId};
use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::Id;
use super::page::{PageParams, Paging};
use crate::HubError;
use crate::app::{self, Caller};
use crate::state::Hub;

/// The routes of this noun.
pub(crate) fn routes() -> OpenApiRouter<Hub> {
    OpenApiRouter::default()
        .routes(routes!(list))
        .routes(routes!(accept))
        .routes(routes!(refuse))
        .routes(routes!(withdraw))
}

/// Offers that the caller made or got.
#[utoipa::path(get, path = "/transfers", tag = "transfer", params(PageParams),
    responses((status = 200, body = Page<Transfer>)))]
async fn list(
    State(hub): State<Hub>,
    caller: Caller,
    paging: Paging,
) -> Result<Json<Page<Transfer>>, HubError> {
    let rows = app::transfers::list(&hub, &caller, &paging.after, paging.rows()).await?;
    Ok(Json(paging.page(rows, |transfer| transfer.id.to_string())))
}

/// Takes the project.
#[utoipa::path(post, path = "/transfers/{id}/accept", tag = "transfer",
    params(("id" = TransferId, Path)), responses((status = 200, body = Transfer)))]
async fn accept(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<TransferId>,
) -> Result<Json<Transfer>, HubError> {
    app::transfers::accept(&hub, &caller, id).await.map(Json)
}

/// Does not take it.
#[utoipa::path(post, path = "/transfers/{id}/refuse", tag = "transfer",
    params(("id" = TransferId, Path)), responses((status = 200, body = Transfer)))]
async fn refuse(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<TransferId>,
) -> Result<Json<Transfer>, HubError> {
    app::transfers::refuse(&hub, &caller, id).await.map(Json)
}

/// Takes the offer back.
#[utoipa::path(post, path = "/transfers/{id}/withdraw", tag = "transfer",
    params(("id" = TransferId, Path)), responses((status = 200, body = Transfer)))]
async fn withdraw(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<TransferId>,
) -> Result<Json<Transfer>, HubError> {
    app::transfers::withdraw(&hub, &caller, id).await.map(Json)
}
