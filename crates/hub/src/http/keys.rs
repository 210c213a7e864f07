//! The keys of the caller's account.

use api::{AddKey, Key, KeyId, Page};
use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Id};
use super::page::{PageParams, Paging};
use crate::HubError;
use crate::app::{self, Caller};
use crate::state::Hub;

/// The routes of this noun.
pub(crate) fn routes() -> OpenApiRouter<Hub> {
    OpenApiRouter::default().routes(routes!(list, add)).routes(routes!(revoke))
}

/// The keys of the caller's account, revoked ones too.
#[utoipa::path(get, path = "/keys", tag = "key", params(PageParams),
    responses((status = 200, body = Page<Key>)))]
async fn list(
    State(hub): State<Hub>,
    caller: Caller,
    paging: Paging,
) -> Result<Json<Page<Key>>, HubError> {
    let rows = app::keys::list(&hub, &caller, &paging.after, paging.rows()).await?;
    Ok(Json(paging.page(rows, |key| key.id.to_string())))
}

/// Adds a key to the caller's account.
#[utoipa::path(post, path = "/keys", tag = "key", request_body = AddKey,
    responses((status = 200, body = Key)))]
async fn add(
    State(hub): State<Hub>,
    caller: Caller,
    Body(body): Body<AddKey>,
) -> Result<Json<Key>, HubError> {
    app::keys::add(&hub, &caller, body).await.map(Json)
}

/// Revokes a key of the caller's account, from the next call on.
#[utoipa::path(delete, path = "/keys/{id}", tag = "key", params(("id" = KeyId, Path)),
    responses((status = 200, body = Key)))]
async fn revoke(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<KeyId>,
) -> Result<Json<Key>, HubError> {
    app::keys::revoke(&hub, &caller, id).await.map(Json)
}
