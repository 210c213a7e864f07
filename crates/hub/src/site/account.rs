//! One's own account: how one signs in, where one is signed in, and which keys sign.

use api::{InstrumentId, Key, KeyId, KeyKind, SetPassword, Shift};
use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use uuid::Uuid;

use super::guard::{Form, FreshSession, SignedIn};
use super::passkey::PasskeyRow;
use super::sign_in::Nothing;
use super::view::{Frame, Refusal, again, moment, page as draw, signed_in};
use crate::HubError;
use crate::app::sign_in::work::Password;
use crate::app::sign_in::{Browser, account, passkey, password};
use crate::app::{instruments, keys};
use crate::state::Hub;

/// How many keys the page shows.
const KEYS: i64 = 200;
/// How many instruments.
const SHIFTS: i64 = 200;

struct KeyRow {
    id: KeyId,
    name: String,
    kind: &'static str,
    created: String,
    revoked: Option<String>,
}

impl From<Key> for KeyRow {
    fn from(key: Key) -> Self {
        Self {
            id: key.id,
            name: key.name,
            kind: match (key.kind, &key.limit) {
                (KeyKind::Instrument, _) => "instrument",
                (KeyKind::Person, Some(_)) => "limited",
                (KeyKind::Person, None) => "person",
            },
            created: moment(key.created),
            revoked: key.revoked.map(moment),
        }
    }
}

struct BrowserRow {
    id: Uuid,
    is_this: bool,
    agent: String,
    address: String,
    way: &'static str,
    created: String,
    seen: String,
}

impl BrowserRow {
    fn new(browser: Browser, own: Uuid) -> Self {
        Self {
            id: browser.id,
            is_this: browser.id == own,
            agent: agent_words(&browser.agent),
            address: browser.address.map_or_else(|| "unknown".to_owned(), |a| a.to_string()),
            way: browser.way.words(),
            created: moment(browser.created),
            seen: moment(browser.seen),
        }
    }
}

/// What a browser calls itself, in two words where they are known: the string itself is written for machines.
fn agent_words(agent: &str) -> String {
    let browser = [
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome or Chromium"),
        ("Safari/", "Safari"),
    ]
    .into_iter()
    .find(|(mark, _)| agent.contains(mark));
    let system = [
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Windows", "Windows"),
        ("Mac OS", "macOS"),
        ("Linux", "Linux"),
    ]
    .into_iter()
    .find(|(mark, _)| agent.contains(mark));
    match (browser, system) {
        (Some((_, browser)), Some((_, system))) => format!("{browser} on {system}"),
        (Some((_, browser)), None) => browser.to_owned(),
        _ if agent.is_empty() => "a browser without a name".to_owned(),
        _ => agent.chars().take(60).collect(),
    }
}

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    frame: Frame,
    id: api::AccountId,
    operator: bool,
    since: String,
    sign_in_name: Option<String>,
    has_password: bool,
    passkeys: Vec<PasskeyRow>,
    browsers: Vec<BrowserRow>,
    keys: Vec<KeyRow>,
    shifts: Vec<ShiftRow>,
}

/// An instrument at which the person is signed on.
struct ShiftRow {
    instrument: InstrumentId,
    name: String,
    until: String,
}

impl From<Shift> for ShiftRow {
    fn from(shift: Shift) -> Self {
        Self { instrument: shift.instrument, name: shift.name, until: moment(shift.until) }
    }
}

pub(super) async fn page(State(hub): State<Hub>, person: SignedIn) -> Result<Response, HubError> {
    let account = crate::app::sign_in::person(&person.caller)?.clone();
    let overview = account::overview(&hub, &person.caller).await?;
    let keys = keys::in_force_first(&hub, &person.caller, KEYS).await?;
    let shifts = instruments::shifts(&hub, &person.caller, "", SHIFTS).await?;
    let passkeys = passkey::list(&hub, &person.caller).await?;
    let page = AccountPage {
        frame: Frame::new("Your account", &person.visit),
        id: account.id,
        operator: account.operator,
        since: moment(account.created),
        sign_in_name: overview.sign_in_name,
        has_password: overview.has_password,
        passkeys: passkeys.into_iter().map(PasskeyRow::from).collect(),
        browsers: overview
            .browsers
            .into_iter()
            .map(|browser| BrowserRow::new(browser, person.browser.id))
            .collect(),
        keys: keys.into_iter().map(KeyRow::from).collect(),
        shifts: shifts.into_iter().map(ShiftRow::from).collect(),
    };
    draw(&person.visit, &page)
}

fn back() -> Response {
    Redirect::to("/account").into_response()
}

#[derive(Template)]
#[template(path = "password.html")]
struct PasswordPage {
    frame: Frame,
    refusal: Option<Refusal>,
    name: String,
    has_password: bool,
}

impl PasswordPage {
    async fn new(
        hub: &Hub,
        person: &SignedIn,
        refusal: Option<Refusal>,
        name: Option<String>,
    ) -> Result<Self, HubError> {
        let overview = account::overview(hub, &person.caller).await?;
        let title = if overview.has_password { "Change your password" } else { "Set a password" };
        Ok(Self {
            frame: Frame::new(title, &person.visit),
            refusal,
            name: name.or(overview.sign_in_name).unwrap_or_default(),
            has_password: overview.has_password,
        })
    }
}

pub(super) async fn password_page(
    State(hub): State<Hub>,
    person: FreshSession,
) -> Result<Response, HubError> {
    draw(&person.visit, &PasswordPage::new(&hub, &person, None, None).await?)
}

#[derive(Deserialize)]
pub(super) struct NewPassword {
    name: String,
    password: Password,
    again: Password,
}

pub(super) async fn password(
    State(hub): State<Hub>,
    person: FreshSession,
    Form(form): Form<NewPassword>,
) -> Result<Response, HubError> {
    let NewPassword { name, password, again: repeated } = form;
    let done = if password.is_same(&repeated) {
        let body = SetPassword { sign_in_name: name.clone(), password: password.into_secret() };
        password::change(&hub, &person.visit.visitor, &person.caller, body).await
    } else {
        Err(HubError::bad_request("the two passwords are not the same"))
    };
    match done {
        Ok(token) => signed_in(&token, "/account"),
        Err(error) => {
            let refusal = Some(Refusal::of(&error));
            let page = PasswordPage::new(&hub, &person, refusal, Some(name)).await?;
            again(&person.visit, error, &page)
        }
    }
}

fn browser_id(text: &str) -> Result<Uuid, HubError> {
    text.parse().map_err(|_| HubError::not_found("signed-in browser", "of this name"))
}

pub(super) async fn end_browser(
    State(hub): State<Hub>,
    person: SignedIn,
    Path(id): Path<String>,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Response, HubError> {
    account::end(&hub, &person.caller, browser_id(&id)?).await?;
    Ok(back())
}

pub(super) async fn end_others(
    State(hub): State<Hub>,
    person: SignedIn,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Response, HubError> {
    account::end_others(&hub, &person.caller).await?;
    Ok(back())
}

pub(super) async fn end_shift(
    State(hub): State<Hub>,
    person: SignedIn,
    Path(id): Path<String>,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Response, HubError> {
    let id = id.parse().map_err(|_| HubError::not_found("instrument", "of this name"))?;
    instruments::end_shift(&hub, &person.caller, id).await?;
    Ok(back())
}

#[derive(Template)]
#[template(path = "revoke_key.html")]
struct RevokePage {
    frame: Frame,
    key: KeyRow,
}

fn key_id(text: &str) -> Result<KeyId, HubError> {
    text.parse().map_err(|_| HubError::not_found("key", "of this name"))
}

pub(super) async fn revoke_page(
    State(hub): State<Hub>,
    person: FreshSession,
    Path(id): Path<String>,
) -> Result<Response, HubError> {
    let id = key_id(&id)?;
    let key = keys::own(&hub, &person.caller, id).await?;
    let frame = Frame::new("Revoke a key", &person.visit);
    draw(&person.visit, &RevokePage { frame, key: key.into() })
}

pub(super) async fn revoke(
    State(hub): State<Hub>,
    person: FreshSession,
    Path(id): Path<String>,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Response, HubError> {
    keys::revoke(&hub, &person.caller, key_id(&id)?).await?;
    Ok(back())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_called_by_what_people_call_it() {
        let chromium = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
                        Chrome/156.0.0.0 Safari/537.36";
        assert_eq!(agent_words(chromium), "Chrome or Chromium on Linux");
        let iphone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 \
                      (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1";
        assert_eq!(agent_words(iphone), "Safari on iPhone");
        assert_eq!(agent_words(""), "a browser without a name");
        assert_eq!(agent_words("curl/8.0"), "curl/8.0");
    }
}
