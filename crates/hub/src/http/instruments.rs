//! Instruments, and who is signed on at them.

use api::{
    DeviceCode, EnrolInstrument, Instrument, InstrumentId, InstrumentInvitation, Page, Shift,
    SignOn,
};
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
    OpenApiRouter::default()
        .routes(routes!(list, enrol))
        .routes(routes!(revoke))
        .routes(routes!(signed_on, sign_on, sign_off))
        .routes(routes!(shifts))
        .routes(routes!(end_shift))
}

/// All instruments. For operators.
#[utoipa::path(get, path = "/instruments", tag = "instrument", params(PageParams),
    responses((status = 200, body = Page<Instrument>)))]
async fn list(
    State(hub): State<Hub>,
    caller: Caller,
    paging: Paging,
) -> Result<Json<Page<Instrument>>, HubError> {
    let rows = app::instruments::list(&hub, &caller, &paging.after, paging.rows()).await?;
    Ok(Json(paging.page(rows, |instrument| instrument.id.to_string())))
}

/// Makes an instrument and the one-time code that is typed at it. For operators.
#[utoipa::path(post, path = "/instruments", tag = "instrument", request_body = EnrolInstrument,
    responses((status = 200, body = InstrumentInvitation)))]
async fn enrol(
    State(hub): State<Hub>,
    caller: Caller,
    Body(body): Body<EnrolInstrument>,
) -> Result<Json<InstrumentInvitation>, HubError> {
    app::instruments::enrol(&hub, &caller, body).await.map(Json)
}

/// Revokes an instrument: its key signs no more. For operators.
#[utoipa::path(delete, path = "/instruments/{id}", tag = "instrument",
    params(("id" = InstrumentId, Path)), responses((status = 200, body = Instrument)))]
async fn revoke(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<InstrumentId>,
) -> Result<Json<Instrument>, HubError> {
    app::instruments::revoke(&hub, &caller, id).await.map(Json)
}

/// In whose name the calling instrument sends.
#[utoipa::path(get, path = "/sign-on", tag = "instrument", responses((status = 200, body = SignOn)))]
async fn signed_on(State(hub): State<Hub>, caller: Caller) -> Result<Json<SignOn>, HubError> {
    app::instruments::signed_on(&hub, &caller).await.map(Json)
}

/// Asks for a technician: the code is shown on the instrument's screen and answered elsewhere.
#[utoipa::path(post, path = "/sign-on", tag = "instrument",
    responses((status = 200, body = DeviceCode)))]
async fn sign_on(
    State(hub): State<Hub>,
    caller: Caller,
    peer: Option<Extension<Peer>>,
) -> Result<Json<DeviceCode>, HubError> {
    let address = peer.map(|Extension(Peer(address))| address);
    app::device::begin_sign_on(&hub, &caller, address).await.map(Json)
}

/// Signs the technician off. Runs under way go on.
#[utoipa::path(delete, path = "/sign-on", tag = "instrument",
    responses((status = 200, body = SignOn)))]
async fn sign_off(State(hub): State<Hub>, caller: Caller) -> Result<Json<SignOn>, HubError> {
    app::instruments::sign_off(&hub, &caller).await.map(Json)
}

/// The instruments at which the caller is signed on.
#[utoipa::path(get, path = "/sign-ons", tag = "instrument", params(PageParams),
    responses((status = 200, body = Page<Shift>)))]
async fn shifts(
    State(hub): State<Hub>,
    caller: Caller,
    paging: Paging,
) -> Result<Json<Page<Shift>>, HubError> {
    let rows = app::instruments::shifts(&hub, &caller, &paging.after, paging.rows()).await?;
    Ok(Json(paging.page(rows, |shift| shift.instrument.to_string())))
}

/// Signs the caller off at an instrument, from elsewhere. Runs under way go on.
#[utoipa::path(delete, path = "/sign-ons/{id}", tag = "instrument",
    params(("id" = InstrumentId, Path)), responses((status = 200, body = Shift)))]
async fn end_shift(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<InstrumentId>,
) -> Result<Json<Shift>, HubError> {
    app::instruments::end_shift(&hub, &caller, id).await.map(Json)
}
