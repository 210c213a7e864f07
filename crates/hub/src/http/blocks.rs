//! Blocks of keys and addresses, for operators.

use api::{AddBlock, Block, BlockId, Page};
use axum::extract::State;
use axum::{Extension, Json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Peer;
use super::extract::{Body, Id};
use super::page::{PageParams, Paging};
use crate::HubError;
use crate::app::{self, Caller};
use crate::state::Hub;

/// The routes of this noun.
pub(crate) fn routes() -> OpenApiRouter<Hub> {
    OpenApiRouter::default().routes(routes!(list, add)).routes(routes!(lift))
}

/// Blocks in force, oldest first.
#[utoipa::path(get, path = "/blocks", tag = "block", params(PageParams),
    responses((status = 200, body = Page<Block>)))]
async fn list(
    State(hub): State<Hub>,
    caller: Caller,
    paging: Paging,
) -> Result<Json<Page<Block>>, HubError> {
    let rows = app::blocks::list(&hub, &caller, &paging.after, paging.rows())?;
    Ok(Json(paging.page(rows, |block| block.id.to_string())))
}

/// Blocks an address or a key from now on.
#[utoipa::path(post, path = "/blocks", tag = "block", request_body = AddBlock,
    responses((status = 200, body = Block)))]
async fn add(
    State(hub): State<Hub>,
    caller: Caller,
    peer: Option<Extension<Peer>>,
    Body(body): Body<AddBlock>,
) -> Result<Json<Block>, HubError> {
    let from = peer.map(|Extension(Peer(address))| address);
    app::blocks::add(&hub, &caller, from, &body).await.map(Json)
}

/// Lifts a block: the caller begins anew.
#[utoipa::path(delete, path = "/blocks/{id}", tag = "block", params(("id" = BlockId, Path)),
    responses((status = 200, body = Block)))]
async fn lift(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<BlockId>,
) -> Result<Json<Block>, HubError> {
    app::blocks::lift(&hub, &caller, id).await.map(Json)
}
