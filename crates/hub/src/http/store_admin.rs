//! The store, for operators.

use api::{AddFacility, DrainFacility, ScrubOutcome, StoreStatus};
use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::Body;
use crate::HubError;
use crate::app::{self, Caller};
use crate::state::Hub;

/// The routes of this noun.
pub(crate) fn routes() -> OpenApiRouter<Hub> {
    OpenApiRouter::default()
        .routes(routes!(status))
        .routes(routes!(scrub))
        .routes(routes!(repair))
        .routes(routes!(add))
        .routes(routes!(drain))
}

/// Every facility and how it is.
#[utoipa::path(get, path = "/store", tag = "store",
    responses((status = 200, body = StoreStatus)))]
async fn status(State(hub): State<Hub>, caller: Caller) -> Result<Json<StoreStatus>, HubError> {
    app::store_admin::status(&hub, &caller).await.map(Json)
}

/// Reads every copy of every blob now, and heals what is bad.
#[utoipa::path(post, path = "/store/scrub", tag = "store",
    responses((status = 200, body = ScrubOutcome)))]
async fn scrub(State(hub): State<Hub>, caller: Caller) -> Result<Json<ScrubOutcome>, HubError> {
    app::store_admin::scrub(&hub, &caller).await.map(Json)
}

/// Compares what the facilities list, and fills gaps from one another; reads nothing else.
#[utoipa::path(post, path = "/store/repair", tag = "store",
    responses((status = 200, body = ScrubOutcome)))]
async fn repair(State(hub): State<Hub>, caller: Caller) -> Result<Json<ScrubOutcome>, HubError> {
    app::store_admin::repair(&hub, &caller).await.map(Json)
}

/// Makes a facility part of the store; it is filled while everything else goes on.
#[utoipa::path(post, path = "/store/facilities", tag = "store", request_body = AddFacility,
    responses((status = 200, body = StoreStatus)))]
async fn add(
    State(hub): State<Hub>,
    caller: Caller,
    Body(body): Body<AddFacility>,
) -> Result<Json<StoreStatus>, HubError> {
    app::store_admin::add(&hub, &caller, body).await.map(Json)
}

/// Writes nothing new to a facility, and has it leave once the others hold what it holds; or gives up one that is lost.
#[utoipa::path(post, path = "/store/drain", tag = "store", request_body = DrainFacility,
    responses((status = 200, body = StoreStatus)))]
async fn drain(
    State(hub): State<Hub>,
    caller: Caller,
    Body(body): Body<DrainFacility>,
) -> Result<Json<StoreStatus>, HubError> {
    app::store_admin::drain(&hub, &caller, body).await.map(Json)
}
