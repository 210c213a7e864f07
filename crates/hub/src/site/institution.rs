//! Signing in through an institution: out there, back again, and the one-time code of whoever is new here.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::guard::{Form, SignedIn};
use super::sign_in::Next;
use super::view::{Frame, local, page as draw, signed_in, with_next};
use super::visit::Visit;
use crate::HubError;
use crate::app::sign_in::institution::{self, Back, Ended};
use crate::state::Hub;

pub(super) async fn set_out(
    State(hub): State<Hub>,
    visit: Visit,
    Query(next): Query<Next>,
) -> Result<Response, HubError> {
    let next = local(next.path());
    if !visit.is_known {
        // The sign-in page gives the browser the cookie that the way back needs.
        return Ok(Redirect::to(&with_next("/sign-in", next)).into_response());
    }
    let address = institution::set_out(&hub, &visit.visitor, &visit.authority, next, None).await?;
    Ok(Redirect::to(&address).into_response())
}

pub(super) async fn confirm(
    State(hub): State<Hub>,
    person: SignedIn,
    Query(next): Query<Next>,
) -> Result<Response, HubError> {
    let (visit, next) = (&person.visit, local(next.path()));
    let address =
        institution::set_out(&hub, &visit.visitor, &visit.authority, next, Some(&person.caller))
            .await?;
    Ok(Redirect::to(&address).into_response())
}

#[derive(Deserialize)]
pub(super) struct Returned {
    #[serde(default)]
    state: String,
    #[serde(default)]
    code: String,
    iss: Option<String>,
    error: Option<String>,
}

#[derive(Template)]
#[template(path = "institution_link.html")]
struct LinkPage {
    frame: Frame,
    ticket: String,
}

/// What an institution's error code (RFC 6749, section 4.1.2.1; `OpenID` Connect Core, section 3.1.2.6) means for the person. Its own
/// words are not shown: the address is open to all, so they may be anybody's.
fn said(code: &str) -> HubError {
    let (title, hint) = match code {
        "access_denied" => (
            "the institution did not sign you in, or you did not agree",
            "try again, or sign in another way",
        ),
        "login_required"
        | "interaction_required"
        | "consent_required"
        | "account_selection_required" => {
            ("the institution has to ask you something first", "sign in there, then try again here")
        }
        "temporarily_unavailable" | "server_error" => {
            ("the institution has a problem of its own", "try again in a few minutes")
        }
        "invalid_request"
        | "invalid_scope"
        | "unauthorized_client"
        | "unsupported_response_type" => (
            "the institution does not take this hub as it is set up",
            "tell the people who run this hub, or sign in another way",
        ),
        _ => ("the institution did not sign you in", "try again, or sign in another way"),
    };
    HubError::new(api::ErrorCode::Forbidden, title).hint(hint)
}

pub(super) async fn come_back(
    State(hub): State<Hub>,
    visit: Visit,
    Query(returned): Query<Returned>,
) -> Result<Response, HubError> {
    if let Some(error) = &returned.error {
        return super::sign_in::refused(&hub, &visit, said(error), "/");
    }
    let back =
        Back { state: &returned.state, code: &returned.code, issuer: returned.iss.as_deref() };
    match institution::come_back(&hub, &visit.visitor, &visit.authority, back).await {
        Ok(Ended::SignedIn(token, next)) => signed_in(&token, &next),
        Ok(Ended::Unknown { ticket }) => {
            let frame = Frame::new("Your one-time code", &visit);
            draw(&visit, &LinkPage { frame, ticket })
        }
        Err(error) => super::sign_in::refused(&hub, &visit, error, "/"),
    }
}

#[derive(Deserialize)]
pub(super) struct LinkByCode {
    ticket: String,
    code: String,
}

pub(super) async fn link_by_code(
    State(hub): State<Hub>,
    visit: Visit,
    Form(form): Form<LinkByCode>,
) -> Result<Response, HubError> {
    let code = zeroize::Zeroizing::new(form.code);
    match institution::link_by_code(&hub, &visit.visitor, &form.ticket, &code).await {
        Ok(token) => signed_in(&token, "/account"),
        Err(error) => super::sign_in::refused(&hub, &visit, error, "/"),
    }
}
