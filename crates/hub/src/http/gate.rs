//! What each call costs, what a refused one leaves, and who is turned away before anything is looked at (`spec/limits.md`).
//!
//! Calls that come without a peer, because no connection is under them, are limited by key alone.

use api::{ErrorCode, KeyId, Time};
use axum::extract::{Request, State};
use axum::http::header::CONNECTION;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::auth::{Arrival, Peer};
use super::open;
use crate::HubError;
use crate::app::{Caller, Who};
use crate::gate::{Connection, Place, Subject};
use crate::state::Hub;

/// The longest path with its query.
const TARGET_BYTES: usize = 8 * 1024;
/// Thousandths of a strike.
const STRIKE: i64 = 1000;
const QUARTER: i64 = STRIKE / 4;

/// Turns away who is blocked or in debt, and counts what the others are refused for.
pub(super) async fn layer(State(hub): State<Hub>, request: Request, next: Next) -> Response {
    let now = request.extensions().get::<Arrival>().map_or_else(|| hub.now(), |arrival| arrival.at);
    let place = request.extensions().get::<Peer>().map(|peer| Place::from(peer.0));
    if let Some(place) = place
        && let Err(error) = hub.gate.admit(place, now)
    {
        return ending(error);
    }
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let brings_its_key = open::brings_its_key(request.method(), request.uri().path());
    let mut unanswered = Unanswered { hub: &hub, place, brings_its_key, now };
    let response = if target > TARGET_BYTES {
        ending(HubError::new(
            ErrorCode::TooLarge,
            format!("the path and query are longer than {TARGET_BYTES} bytes"),
        ))
    } else {
        next.run(request).await
    };
    unanswered.place = None;
    count(&hub, place, brings_its_key, &response, now);
    response
}

/// A call that its caller may drop before the answer is there: it costs the address what it would have, so that giving up early
/// is no way around the limits.
struct Unanswered<'a> {
    hub: &'a Hub,
    place: Option<Place>,
    brings_its_key: bool,
    now: Time,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.hub.gate.charge(place, stranger_tokens(self.brings_its_key), self.now);
        }
    }
}

/// What a call costs an address under which it did not verify.
const fn stranger_tokens(brings_its_key: bool) -> u32 {
    if brings_its_key { 4 } else { 1 }
}

/// A refusal after which the connection ends.
fn ending(error: HubError) -> Response {
    let mut response = error.into_response();
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Counts an answer: on the key if the call verified, on the address if it did not.
fn count(hub: &Hub, place: Option<Place>, brings_its_key: bool, response: &Response, now: Time) {
    let code = response.extensions().get::<HubError>().map(HubError::code);
    if let Some(caller) = response.extensions().get::<Caller>() {
        if let (Some(code), Some(key)) = (code, key_of(caller)) {
            hub.gate.strike(Subject::Key(key), of_key(code), code, now);
        }
        return;
    }
    let Some(place) = place else { return };
    hub.gate.charge(place, stranger_tokens(brings_its_key), now);
    if let Some(code) = code {
        hub.gate.strike(Subject::Address(place), of_address(code), code, now);
    }
}

/// The key that a call verified under.
fn key_of(caller: &Caller) -> Option<KeyId> {
    match &caller.who {
        Who::Account { key, .. } | Who::Instrument { key, .. } => Some(key.id),
        Who::Vault { key, .. } => Some(key.id()),
        Who::Browser { .. } => None,
    }
}

/// What a refusal leaves on the address that it went to.
const fn of_address(code: ErrorCode) -> i64 {
    match code {
        ErrorCode::BadSignature
        | ErrorCode::UnknownKey
        | ErrorCode::Replay
        | ErrorCode::DigestMismatch
        | ErrorCode::TooLarge => STRIKE,
        ErrorCode::BadCode => 5 * STRIKE,
        ErrorCode::Unsigned | ErrorCode::BadRequest => QUARTER,
        _ => 0,
    }
}

/// What a refusal leaves on the key that signed the call.
const fn of_key(code: ErrorCode) -> i64 {
    match code {
        ErrorCode::Forbidden | ErrorCode::KeyRefused | ErrorCode::BadCode => STRIKE,
        ErrorCode::NotFound => QUARTER,
        _ => 0,
    }
}

/// A call verified under `key`, and its nonce is new: its connection is known from now on, and the key pays.
pub(super) fn verified(hub: &Hub, parts: &Parts, key: KeyId, now: Time) {
    if let Some(connection) = parts.extensions.get::<Connection>()
        && connection.is_known_now()
    {
        hub.gate.refund(connection.place(), 1);
    }
    hub.gate.take(key, tokens(&parts.method, parts.uri.path()), now);
}

/// What a signed call costs.
fn tokens(method: &Method, path: &str) -> u32 {
    let rest = path.strip_prefix(api::API_PREFIX).unwrap_or(path);
    let mut segments = rest.trim_start_matches('/').split('/');
    let (noun, last) = (segments.next().unwrap_or_default(), segments.next_back());
    let objects = noun == "datasets" && rest.contains("/objects");
    match (method, noun, last) {
        (&Method::POST, "store", Some("scrub")) => 20_000,
        (&Method::GET, "datasets", Some("files")) => 100,
        (&Method::POST, _, Some("release")) => 10,
        (&Method::GET, "datasets", Some("objects" | "members")) => 10,
        (&Method::GET, noun, None) if noun != "whoami" => 10,
        _ if objects || method == Method::GET || method == Method::HEAD => 1,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_costs_by_what_it_makes_the_hub_do() {
        for (method, path, cost) in [
            ("GET", "/api/v1/whoami", 1),
            ("GET", "/api/v1/projects/0", 1),
            ("GET", "/api/v1/projects", 10),
            ("GET", "/api/v1/datasets/0/objects", 10),
            ("GET", "/api/v1/datasets/0/files", 100),
            ("GET", "/api/v1/datasets/0/objects/0", 1),
            ("PUT", "/api/v1/datasets/0/objects/0", 1),
            ("POST", "/api/v1/datasets/0/objects/have", 1),
            ("POST", "/api/v1/datasets/0/release", 10),
            ("POST", "/api/v1/projects", 4),
            ("DELETE", "/api/v1/projects/0", 4),
            ("POST", "/api/v1/store/scrub", 20_000),
        ] {
            assert_eq!(tokens(&method.parse().unwrap(), path), cost, "{method} {path}");
        }
    }
}
