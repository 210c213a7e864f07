//! Signing in, the first password, proving to be there, and signing out.

use api::ErrorCode;
use askama::Template;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::guard::{Form, SignedIn};
use super::view::{Frame, Refusal, again, local, page as draw, signed_in, signed_out, with_next};
use super::visit::Visit;
use crate::HubError;
use crate::app::sign_in::work::Password;
use crate::app::sign_in::{self, account, institution, passkey, password};
use crate::state::Hub;

/// Where to go on to, from the address of a page.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Next {
    #[serde(default)]
    next: String,
}

impl Next {
    /// The path, as it was given.
    pub(super) fn path(&self) -> &str {
        &self.next
    }
}

/// The institution whose people may sign in: how it is called, and the page of ours that sends there.
struct Through {
    shown: String,
    page: String,
}

impl Through {
    fn of(hub: &Hub, page: &str, next: &str) -> Option<Self> {
        let shown = hub.institution.as_ref()?.shown().to_owned();
        Some(Self { shown, page: with_next(page, next) })
    }
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    frame: Frame,
    refusal: Option<Refusal>,
    name: String,
    next: String,
    through: Option<Through>,
}

pub(super) async fn page(
    State(hub): State<Hub>,
    visit: Visit,
    Query(next): Query<Next>,
) -> Result<Response, HubError> {
    let next = local(&next.next).to_owned();
    if visit.person.is_some() {
        return Ok(Redirect::to(&next).into_response());
    }
    let frame = Frame::new("Sign in", &visit).with_script();
    let through = Through::of(&hub, "/sign-in/institution", &next);
    draw(&visit, &SignInPage { frame, refusal: None, name: String::new(), next, through })
}

#[derive(Deserialize)]
pub(super) struct WithPassword {
    name: String,
    password: Password,
    #[serde(default)]
    next: String,
}

pub(super) async fn with_password(
    State(hub): State<Hub>,
    visit: Visit,
    Form(form): Form<WithPassword>,
) -> Result<Response, HubError> {
    let WithPassword { name, password, next } = form;
    match password::sign_in(&hub, &visit.visitor, &name, password).await {
        Ok(token) => signed_in(&token, &next),
        Err(error) => refused(&hub, &visit, error, &next),
    }
}

/// The sign-in page once more, with the reason. The name is not written back: somebody may have typed the password there.
pub(super) fn refused(
    hub: &Hub,
    visit: &Visit,
    error: HubError,
    next: &str,
) -> Result<Response, HubError> {
    let frame = Frame::new("Sign in", visit).with_script();
    let refusal = Some(Refusal::of(&error));
    let next = local(next).to_owned();
    let through = Through::of(hub, "/sign-in/institution", &next);
    let page = SignInPage { frame, refusal, name: String::new(), next, through };
    again(visit, error, &page)
}

#[derive(Template)]
#[template(path = "first_password.html")]
struct FirstPage {
    frame: Frame,
    refusal: Option<Refusal>,
    name: String,
}

pub(super) async fn first_page(visit: Visit) -> Result<Response, HubError> {
    let frame = Frame::new("Set your first password", &visit);
    draw(&visit, &FirstPage { frame, refusal: None, name: String::new() })
}

#[derive(Deserialize)]
pub(super) struct First {
    code: String,
    name: String,
    password: Password,
    again: Password,
}

pub(super) async fn first(
    State(hub): State<Hub>,
    visit: Visit,
    Form(form): Form<First>,
) -> Result<Response, HubError> {
    let First { code, name, password, again: repeated } = form;
    let code = zeroize::Zeroizing::new(code);
    let done = if password.is_same(&repeated) {
        password::first(&hub, &visit.visitor, &code, &name, password).await
    } else {
        Err(HubError::bad_request("the two passwords are not the same"))
    };
    match done {
        Ok(token) => signed_in(&token, "/account"),
        Err(error) => {
            let frame = Frame::new("Set your first password", &visit);
            let refusal = Some(Refusal::of(&error));
            again(&visit, error, &FirstPage { frame, refusal, name })
        }
    }
}

#[derive(Template)]
#[template(path = "confirm.html")]
struct ConfirmPage {
    frame: Frame,
    refusal: Option<Refusal>,
    has_password: bool,
    has_passkey: bool,
    through: Option<Through>,
    next: String,
}

impl ConfirmPage {
    async fn new(
        hub: &Hub,
        signed_in: &SignedIn,
        refusal: Option<Refusal>,
        next: &str,
    ) -> Result<Self, HubError> {
        let overview = account::overview(hub, &signed_in.caller).await?;
        let linked = institution::is_linked(hub, &signed_in.caller).await?;
        Ok(Self {
            frame: Frame::new("Is it still you?", &signed_in.visit).with_script(),
            refusal,
            has_password: overview.has_password,
            has_passkey: !passkey::list(hub, &signed_in.caller).await?.is_empty(),
            through: Through::of(hub, "/confirm/institution", next).filter(|_| linked),
            next: local(next).to_owned(),
        })
    }
}

pub(super) async fn confirm_page(
    State(hub): State<Hub>,
    person: SignedIn,
    Query(next): Query<Next>,
) -> Result<Response, HubError> {
    if sign_in::is_fresh(&person.browser, person.caller.at) {
        return Ok(Redirect::to(local(&next.next)).into_response());
    }
    draw(&person.visit, &ConfirmPage::new(&hub, &person, None, &next.next).await?)
}

#[derive(Deserialize)]
pub(super) struct Confirm {
    password: Password,
    #[serde(default)]
    next: String,
}

pub(super) async fn confirm(
    State(hub): State<Hub>,
    person: SignedIn,
    Form(form): Form<Confirm>,
) -> Result<Response, HubError> {
    let done = password::prove(&hub, &person.visit.visitor, &person.caller, form.password).await;
    match done {
        Ok(token) => signed_in(&token, &form.next),
        Err(error) => not_confirmed(&hub, &person, error, &form.next).await,
    }
}

/// The question once more, with the reason why the answer did not count.
pub(super) async fn not_confirmed(
    hub: &Hub,
    person: &SignedIn,
    error: HubError,
    next: &str,
) -> Result<Response, HubError> {
    let page = ConfirmPage::new(hub, person, Some(Refusal::of(&error)), next).await?;
    again(&person.visit, error, &page)
}

/// A form that brings nothing but its token.
#[derive(Deserialize)]
pub(super) struct Nothing {}

pub(super) async fn sign_out(
    State(hub): State<Hub>,
    person: SignedIn,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Response, HubError> {
    match account::end(&hub, &person.caller, person.browser.id).await {
        // Signed out in the same moment somewhere else.
        Err(error) if error.code() != ErrorCode::NotFound => Err(error),
        _ => signed_out(),
    }
}
