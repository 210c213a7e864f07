//! Device codes: asked for by a machine, answered by a person.

use api::{
    ApproveDevice, BeginDevice, DeviceCode, DevicePending, DeviceStanding, NameDevice, PollDevice,
};
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{Peer, Presented};
use super::extract::Body;
use crate::HubError;
use crate::app::accounts::Enrolling;
use crate::app::{self, Caller};
use crate::state::Hub;

/// The routes of this noun.
pub(crate) fn routes() -> OpenApiRouter<Hub> {
    OpenApiRouter::default()
        .routes(routes!(begin))
        .routes(routes!(poll))
        .routes(routes!(pending))
        .routes(routes!(approve))
        .routes(routes!(refuse))
}

fn enrolling(presented: Presented) -> Enrolling {
    Enrolling { key: presented.key, request: presented.request, at: presented.at }
}

/// Asks for a key's approval by a person. Signed by the key it brings.
#[utoipa::path(post, path = "/device", tag = "device", request_body = BeginDevice,
    responses((status = 200, body = DeviceCode)))]
async fn begin(
    State(hub): State<Hub>,
    presented: Presented,
    peer: Option<Extension<Peer>>,
    Body(body): Body<BeginDevice>,
) -> Result<Json<DeviceCode>, HubError> {
    let address = peer.map(|Extension(Peer(address))| address);
    app::device::begin(&hub, &enrolling(presented), address, body).await.map(Json)
}

/// Asks whether a person has answered. Signed by the key it brings.
#[utoipa::path(post, path = "/device/poll", tag = "device", request_body = PollDevice,
    responses((status = 200, body = DeviceStanding)))]
async fn poll(
    State(hub): State<Hub>,
    presented: Presented,
    Body(body): Body<PollDevice>,
) -> Result<Json<DeviceStanding>, HubError> {
    // The layer read the key out of the body already.
    let PollDevice { public_key: _ } = body;
    app::device::poll(&hub, &enrolling(presented)).await.map(Json)
}

/// What the request of a code asks, and which machine made it.
#[utoipa::path(post, path = "/device/pending", tag = "device", request_body = NameDevice,
    responses((status = 200, body = DevicePending)))]
async fn pending(
    State(hub): State<Hub>,
    caller: Caller,
    Body(body): Body<NameDevice>,
) -> Result<Json<DevicePending>, HubError> {
    app::device::pending(&hub, &caller, &body.code).await.map(Json)
}

/// Approves it: the key signs for the caller's account from now on, or the caller is signed on at the instrument.
#[utoipa::path(post, path = "/device/approve", tag = "device", request_body = ApproveDevice,
    responses((status = 200, body = DevicePending)))]
async fn approve(
    State(hub): State<Hub>,
    caller: Caller,
    Body(body): Body<ApproveDevice>,
) -> Result<Json<DevicePending>, HubError> {
    app::device::approve(&hub, &caller, body).await.map(Json)
}

/// Refuses it.
#[utoipa::path(post, path = "/device/refuse", tag = "device", request_body = NameDevice,
    responses((status = 204)))]
async fn refuse(
    State(hub): State<Hub>,
    caller: Caller,
    Body(body): Body<NameDevice>,
) -> Result<StatusCode, HubError> {
    app::device::refuse(&hub, &caller, &body.code).await?;
    Ok(StatusCode::NO_CONTENT)
}
