//! Owners' projects that go into other hands.

use api::{
    BeginHandover, FinishHandover, Handover, HandoverKeys, ProjectId, SignedStatement, Transfer,
    TransferId,
};
use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Id};
use crate::HubError;
use crate::app::{self, Caller};
use crate::state::Hub;

/// The routes of this noun.
pub(crate) fn routes() -> OpenApiRouter<Hub> {
    OpenApiRouter::default()
        .routes(routes!(begin, put_keys))
        .routes(routes!(finish))
        .routes(routes!(offered))
        .routes(routes!(take))
}

/// Begins a change of words, of the owner or of the custodian. The same call again is a success.
#[utoipa::path(post, path = "/projects/{id}/handover", tag = "project",
    params(("id" = ProjectId, Path)), request_body = BeginHandover,
    responses((status = 200, body = Handover)))]
async fn begin(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<ProjectId>,
    Body(body): Body<BeginHandover>,
) -> Result<Json<Handover>, HubError> {
    app::handovers::begin(&hub, &caller, id, body).await.map(Json)
}

/// Brings dataset keys, each wrapped to whoever holds it next.
#[utoipa::path(put, path = "/projects/{id}/handover", tag = "project",
    params(("id" = ProjectId, Path)), request_body = HandoverKeys,
    responses((status = 200, body = Handover)))]
async fn put_keys(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<ProjectId>,
    Body(body): Body<HandoverKeys>,
) -> Result<Json<Handover>, HubError> {
    app::handovers::put_keys(&hub, &caller, id, body).await.map(Json)
}

/// Finishes a change of words or of the custodian: the next card is in force.
#[utoipa::path(post, path = "/projects/{id}/handover/finish", tag = "project",
    params(("id" = ProjectId, Path)), request_body = FinishHandover,
    responses((status = 200, body = SignedStatement)))]
async fn finish(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<ProjectId>,
    Body(body): Body<FinishHandover>,
) -> Result<Json<SignedStatement>, HubError> {
    app::handovers::finish(&hub, &caller, id, body).await.map(Json)
}

/// The card with which an offered project of an owner would be the caller's, and whether its keys are there.
#[utoipa::path(get, path = "/transfers/{id}/handover", tag = "transfer",
    params(("id" = TransferId, Path)), responses((status = 200, body = Handover)))]
async fn offered(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<TransferId>,
) -> Result<Json<Handover>, HubError> {
    app::handovers::offered(&hub, &caller, id).await.map(Json)
}

/// Takes an offered project of an owner, with that card as the caller's words signed it.
#[utoipa::path(post, path = "/transfers/{id}/take", tag = "transfer",
    params(("id" = TransferId, Path)), request_body = FinishHandover,
    responses((status = 200, body = Transfer)))]
async fn take(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<TransferId>,
    Body(body): Body<FinishHandover>,
) -> Result<Json<Transfer>, HubError> {
    app::handovers::take(&hub, &caller, id, body).await.map(Json)
}
