//! The store, for operators.

use api::{ScrubOutcome, StoreStatus};
use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::HubError;
use crate::app::{self, Caller};
use crate::state::Hub;

/// The routes of this noun.
pub(crate) fn routes() -> OpenApiRouter<Hub> {
    OpenApiRouter::default().routes(routes!(status)).routes(routes!(scrub))
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
