//! A machine that asks for a key, or an instrument for a technician: the code is typed here, what asks is shown, and a person
//! who has just proved to be there answers.

use api::{ApproveDevice, DeviceAsk, DevicePending, KeyLimit};
use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;

use super::guard::{Form, FreshSession, SignedIn};
use super::view::{Frame, Refusal, again, moment, page as draw};
use crate::HubError;
use crate::app::device;
use crate::state::Hub;

/// The longest code that a page takes up from its address.
const CODE_CHARS: usize = 20;

#[derive(Debug, Default, Deserialize)]
pub(super) struct Given {
    #[serde(default)]
    code: String,
}

#[derive(Template)]
#[template(path = "device.html")]
struct CodePage {
    frame: Frame,
    refusal: Option<Refusal>,
    code: String,
}

impl CodePage {
    fn new(person: &SignedIn, refusal: Option<Refusal>, code: &str) -> Self {
        let code = code.chars().filter(|c| !c.is_control()).take(CODE_CHARS).collect();
        Self { frame: Frame::new("A machine asks", &person.visit), refusal, code }
    }
}

/// What asks, as the page shows it.
#[derive(Template)]
#[template(path = "device_asks.html")]
struct AsksPage {
    frame: Frame,
    code: String,
    asks: DevicePending,
    since: String,
    until: String,
    limit: Vec<String>,
}

impl AsksPage {
    fn new(person: &SignedIn, code: String, asks: DevicePending) -> Self {
        Self {
            frame: Frame::new("Is this your machine?", &person.visit),
            code,
            since: moment(asks.created),
            until: moment(asks.expires),
            limit: asks.limit.as_ref().map(limits).unwrap_or_default(),
            asks,
        }
    }
}

/// What a limited key may do, in words.
fn limits(limit: &KeyLimit) -> Vec<String> {
    let scope = serde_json::to_value(limit.scope).ok();
    let scope = scope.as_ref().and_then(|scope| scope.as_str()).unwrap_or("unknown").to_owned();
    let mut words = vec![format!("scope: {scope}")];
    match &limit.projects {
        Some(projects) => {
            words.extend(projects.iter().map(|project| format!("only in project {project}")));
        }
        None => words.push("in every project of yours".to_owned()),
    }
    match limit.expires {
        Some(expires) => words.push(format!("until {}", moment(expires))),
        None => words.push("until it is revoked".to_owned()),
    }
    words
}

#[derive(Template)]
#[template(path = "device_answered.html")]
struct AnsweredPage {
    frame: Frame,
    approved: Option<String>,
}

pub(super) async fn page(
    person: SignedIn,
    Query(given): Query<Given>,
) -> Result<Response, HubError> {
    draw(&person.visit, &CodePage::new(&person, None, &given.code))
}

fn no_such(person: &SignedIn, error: HubError, code: &str) -> Result<Response, HubError> {
    let page = CodePage::new(person, Some(Refusal::of(&error)), code);
    again(&person.visit, error, &page)
}

pub(super) async fn look(
    State(hub): State<Hub>,
    person: FreshSession,
    Form(given): Form<Given>,
) -> Result<Response, HubError> {
    match device::pending(&hub, &person.caller, &given.code).await {
        Ok(asks) => draw(&person.visit, &AsksPage::new(&person, given.code, asks)),
        Err(error) => no_such(&person, error, &given.code),
    }
}

pub(super) async fn approve(
    State(hub): State<Hub>,
    person: FreshSession,
    Form(given): Form<Given>,
) -> Result<Response, HubError> {
    let body = ApproveDevice { code: given.code.clone(), limit: None };
    match device::approve(&hub, &person.caller, body).await {
        Ok(asks) => {
            let frame = Frame::new("It signs for you now", &person.visit);
            draw(&person.visit, &AnsweredPage { frame, approved: Some(asks.machine) })
        }
        Err(error) => no_such(&person, error, &given.code),
    }
}

pub(super) async fn refuse(
    State(hub): State<Hub>,
    person: SignedIn,
    Form(given): Form<Given>,
) -> Result<Response, HubError> {
    match device::refuse(&hub, &person.caller, &given.code).await {
        Ok(()) => {
            let frame = Frame::new("It was refused", &person.visit);
            draw(&person.visit, &AnsweredPage { frame, approved: None })
        }
        Err(error) => no_such(&person, error, &given.code),
    }
}
