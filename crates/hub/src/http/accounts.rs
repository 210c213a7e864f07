//! Enrolment, accounts and who one is.

use api::{Account, AccountId, Enrol, Invitation, Invite, Page, SetPassword, Whoami};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Presented;
use super::extract::{Body, Id};
use super::page::{PageParams, Paging};
use crate::HubError;
use crate::app::{self, Caller};
use crate::state::Hub;

/// The routes of this noun.
pub(crate) fn routes() -> OpenApiRouter<Hub> {
    OpenApiRouter::default()
        .routes(routes!(enrol))
        .routes(routes!(whoami))
        .routes(routes!(list, invite))
        .routes(routes!(disable))
        .routes(routes!(set_password))
}

/// Enrols the first key of an account against a one-time code. Signed by the key it enrols.
#[utoipa::path(post, path = "/enrol", tag = "account", request_body = Enrol,
    responses((status = 200, body = Whoami)))]
async fn enrol(
    State(hub): State<Hub>,
    presented: Presented,
    Body(body): Body<Enrol>,
) -> Result<Json<Whoami>, HubError> {
    let call = app::accounts::Enrolling {
        key: presented.key,
        request: presented.request,
        at: presented.at,
    };
    app::accounts::enrol(&hub, &call, body).await.map(Json)
}

/// Who signs, and which hub this is.
#[utoipa::path(get, path = "/whoami", tag = "account", responses((status = 200, body = Whoami)))]
async fn whoami(State(hub): State<Hub>, caller: Caller) -> Result<Json<Whoami>, HubError> {
    app::accounts::whoami(&hub, &caller).map(Json)
}

/// All accounts. For operators.
#[utoipa::path(get, path = "/accounts", tag = "account", params(PageParams),
    responses((status = 200, body = Page<Account>)))]
async fn list(
    State(hub): State<Hub>,
    caller: Caller,
    paging: Paging,
) -> Result<Json<Page<Account>>, HubError> {
    let rows = app::accounts::list(&hub, &caller, &paging.after, paging.rows()).await?;
    Ok(Json(paging.page(rows, |account| account.id.to_string())))
}

/// Invites somebody: makes the account and the one-time code for its first key. For operators.
#[utoipa::path(post, path = "/accounts", tag = "account", request_body = Invite,
    responses((status = 200, body = Invitation)))]
async fn invite(
    State(hub): State<Hub>,
    caller: Caller,
    Body(body): Body<Invite>,
) -> Result<Json<Invitation>, HubError> {
    app::accounts::invite(&hub, &caller, body).await.map(Json)
}

/// Disables an account: none of its keys signs any more. For operators.
#[utoipa::path(post, path = "/accounts/{id}/disable", tag = "account",
    params(("id" = AccountId, Path)), responses((status = 200, body = Account)))]
async fn disable(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<AccountId>,
) -> Result<Json<Account>, HubError> {
    app::accounts::disable(&hub, &caller, id).await.map(Json)
}

/// Sets by which name and password the caller's account signs in with a browser. Every signed-in browser is signed out.
#[utoipa::path(put, path = "/account/password", tag = "account", request_body = SetPassword,
    responses((status = 204)))]
async fn set_password(
    State(hub): State<Hub>,
    caller: Caller,
    Body(body): Body<SetPassword>,
) -> Result<StatusCode, HubError> {
    app::sign_in::password::set(&hub, &caller, body).await?;
    Ok(StatusCode::NO_CONTENT)
}
