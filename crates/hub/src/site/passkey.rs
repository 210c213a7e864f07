//! Passkeys on pages: signing in with one, proving with one to be there, adding and removing them.

use askama::Template;
use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use uuid::Uuid;

use super::guard::{Form, FreshSession, SignedIn};
use super::sign_in::Nothing;
use super::view::{Frame, Refusal, again, moment, page as draw, signed_in};
use super::visit::Visit;
use crate::HubError;
use crate::app::sign_in::passkey::{self, Answer, Made, Options, Place};
use crate::data::passkeys::Passkey;
use crate::state::Hub;

fn place(visit: &Visit) -> Place<'_> {
    Place { authority: &visit.authority, host: visit.host() }
}

/// A passkey as pages show it.
pub(super) struct PasskeyRow {
    pub(super) id: Uuid,
    pub(super) name: String,
    pub(super) host: String,
    pub(super) created: String,
    pub(super) used: String,
}

impl From<Passkey> for PasskeyRow {
    fn from(passkey: Passkey) -> Self {
        Self {
            id: passkey.id,
            name: passkey.name,
            host: passkey.host,
            created: moment(passkey.created),
            used: passkey.used.map_or_else(|| "never".to_owned(), moment),
        }
    }
}

pub(super) async fn options(
    State(hub): State<Hub>,
    visit: Visit,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Json<Options>, HubError> {
    passkey::options_to_sign_in(&hub, &visit.visitor, place(&visit)).map(Json)
}

#[derive(Deserialize)]
pub(super) struct Answered {
    credential: String,
    client_data: String,
    data: String,
    signature: String,
    #[serde(default)]
    next: String,
}

impl Answered {
    fn answer(&self) -> Answer<'_> {
        Answer {
            credential: &self.credential,
            client_data: &self.client_data,
            data: &self.data,
            signature: &self.signature,
        }
    }
}

pub(super) async fn sign_in(
    State(hub): State<Hub>,
    visit: Visit,
    Form(form): Form<Answered>,
) -> Result<Response, HubError> {
    let caller = visit.person.as_ref().map(|(caller, _)| caller);
    let done = passkey::sign_in(&hub, &visit.visitor, caller, place(&visit), form.answer()).await;
    match done {
        Ok(token) => signed_in(&token, &form.next),
        Err(error) => super::sign_in::refused(&hub, &visit, error, &form.next),
    }
}

pub(super) async fn confirm(
    State(hub): State<Hub>,
    person: SignedIn,
    Form(form): Form<Answered>,
) -> Result<Response, HubError> {
    let visit = &person.visit;
    let caller = Some(&person.caller);
    match passkey::sign_in(&hub, &visit.visitor, caller, place(visit), form.answer()).await {
        Ok(token) => signed_in(&token, &form.next),
        Err(error) => super::sign_in::not_confirmed(&hub, &person, error, &form.next).await,
    }
}

#[derive(Template)]
#[template(path = "add_passkey.html")]
struct AddPage {
    frame: Frame,
    refusal: Option<Refusal>,
    name: String,
    host: String,
}

impl AddPage {
    fn new(visit: &Visit, refusal: Option<Refusal>, name: String) -> Self {
        let frame = Frame::new("Add a passkey", visit).with_script();
        Self { frame, refusal, name, host: visit.host().to_owned() }
    }
}

pub(super) async fn add_page(person: FreshSession) -> Result<Response, HubError> {
    draw(&person.visit, &AddPage::new(&person.visit, None, String::new()))
}

pub(super) async fn options_to_add(
    State(hub): State<Hub>,
    person: FreshSession,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Json<Options>, HubError> {
    let visit = &person.visit;
    passkey::options_to_add(&hub, &visit.visitor, &person.caller, place(visit)).await.map(Json)
}

#[derive(Deserialize)]
pub(super) struct Added {
    name: String,
    client_data: String,
    attestation: String,
}

pub(super) async fn add(
    State(hub): State<Hub>,
    person: FreshSession,
    Form(form): Form<Added>,
) -> Result<Response, HubError> {
    let visit = &person.visit;
    let made =
        Made { name: &form.name, client_data: &form.client_data, attestation: &form.attestation };
    match passkey::add(&hub, &visit.visitor, &person.caller, place(visit), made).await {
        Ok(()) => Ok(Redirect::to("/account").into_response()),
        Err(error) => {
            let refusal = Some(Refusal::of(&error));
            again(visit, error, &AddPage::new(visit, refusal, form.name))
        }
    }
}

#[derive(Template)]
#[template(path = "remove_passkey.html")]
struct RemovePage {
    frame: Frame,
    refusal: Option<Refusal>,
    passkey: PasskeyRow,
}

impl RemovePage {
    async fn new(
        hub: &Hub,
        person: &SignedIn,
        id: Uuid,
        refusal: Option<Refusal>,
    ) -> Result<Self, HubError> {
        let passkey = passkey::list(hub, &person.caller)
            .await?
            .into_iter()
            .find(|passkey| passkey.id == id)
            .ok_or_else(|| HubError::not_found("passkey", id))?;
        let frame = Frame::new("Remove a passkey", &person.visit);
        Ok(Self { frame, refusal, passkey: passkey.into() })
    }
}

fn passkey_id(text: &str) -> Result<Uuid, HubError> {
    text.parse().map_err(|_| HubError::not_found("passkey", "of this name"))
}

pub(super) async fn remove_page(
    State(hub): State<Hub>,
    person: FreshSession,
    Path(id): Path<String>,
) -> Result<Response, HubError> {
    draw(&person.visit, &RemovePage::new(&hub, &person, passkey_id(&id)?, None).await?)
}

pub(super) async fn remove(
    State(hub): State<Hub>,
    person: FreshSession,
    Path(id): Path<String>,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Response, HubError> {
    let id = passkey_id(&id)?;
    match passkey::remove(&hub, &person.caller, id).await {
        Ok(()) => Ok(Redirect::to("/account").into_response()),
        Err(error) if error.code() == api::ErrorCode::Conflict => {
            let refusal = Some(Refusal::of(&error));
            let page = RemovePage::new(&hub, &person, id, refusal).await?;
            again(&person.visit, error, &page)
        }
        Err(error) => Err(error),
    }
}
