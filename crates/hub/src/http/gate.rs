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

use super::auth::{Arrival, OnlyKnown, Peer};
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

/// Turns away who is blocked or in debt, and counts what the others are refused for. A call that names a key is looked at
/// even then: whoever shares an address with somebody who misbehaves is served by what they sign.
pub(super) async fn layer(State(hub): State<Hub>, mut request: Request, next: Next) -> Response {
    let now = request.extensions().get::<Arrival>().map_or_else(|| hub.now(), |arrival| arrival.at);
    let place = request.extensions().get::<Peer>().map(|peer| Place::from(peer.0));
    let mut turned_away = false;
    if let Some(place) = place
        && let Err(error) = hub.gate.admit(place, now)
    {
        let known = request.extensions().get::<Connection>().is_some_and(Connection::is_known);
        if !may_be_known(&request) || !hub.gate.may_show_a_key(place, known, now) {
            return ending(error);
        }
        turned_away = true;
        request.extensions_mut().insert(OnlyKnown(error));
    }
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let call = Call {
        place,
        brings_its_key: open::brings_its_key(request.method(), request.uri().path()),
        bears_a_signature: bears_a_signature(&request),
    };
    let mut unanswered = Unanswered { hub: &hub, call, now };
    let response = if target > TARGET_BYTES {
        ending(HubError::new(
            ErrorCode::TooLarge,
            format!("the path and query are longer than {TARGET_BYTES} bytes"),
        ))
    } else {
        next.run(request).await
    };
    unanswered.call.place = None;
    if turned_away && response.extensions().get::<Caller>().is_none() {
        // It is blocked or in debt already.
        return response;
    }
    count(&hub, call, &response, now);
    response
}

/// What is counted of a call.
#[derive(Debug, Clone, Copy)]
struct Call {
    place: Option<Place>,
    brings_its_key: bool,
    bears_a_signature: bool,
}

/// Whether a call says that something signed it. No page of somebody else's can have a browser say so: it would have to ask
/// first (`OPTIONS`), and the answer allows nothing but to the authenticators that the operator named.
fn bears_a_signature(request: &Request) -> bool {
    request.headers().contains_key("signature-input") && request.headers().contains_key("signature")
}

/// Whether a call may turn out to be signed by a key that is known.
fn may_be_known(request: &Request) -> bool {
    let (method, path) = (request.method(), request.uri().path());
    bears_a_signature(request) && path.starts_with("/api/") && !open::brings_its_key(method, path)
}

/// A call that its caller may drop before the answer is there: it costs the address what it would have, so that giving up early
/// is no way around the limits.
struct Unanswered<'a> {
    hub: &'a Hub,
    call: Call,
    now: Time,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.call.place {
            self.hub.gate.charge(place, stranger_tokens(self.call.brings_its_key), self.now);
        }
    }
}

/// What a call costs an address under which it did not verify.
const fn stranger_tokens(brings_its_key: bool) -> u32 {
    if brings_its_key { 4 } else { 1 }
}

/// A refusal after which the connection ends.
pub(super) fn ending(error: HubError) -> Response {
    let mut response = error.into_response();
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Counts an answer: on the key if the call verified, on the address if it did not. What a person in a signed-in browser is
/// refused is theirs, and leaves nothing on the address that others have too.
fn count(hub: &Hub, call: Call, response: &Response, now: Time) {
    let code = response.extensions().get::<HubError>().map(HubError::code);
    let caller = response.extensions().get::<Caller>();
    if let Some(key) = caller.and_then(key_of) {
        if let Some(code) = code {
            hub.gate.strike(Subject::Key(key), of_key(code), code, now);
        }
        return;
    }
    let Some(place) = call.place else { return };
    hub.gate.charge(place, stranger_tokens(call.brings_its_key), now);
    if let (Some(code), None) = (code, caller) {
        let milli = of_address(code, call.bears_a_signature);
        hub.gate.strike(Subject::Address(place), milli, code, now);
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

/// What a refusal leaves on the address that it went to: something only where no page that a browser shows can have caused
/// it, since whoever makes such a page is not at that address.
const fn of_address(code: ErrorCode, bears_a_signature: bool) -> i64 {
    match code {
        // Behind a signature, or a form of ours.
        ErrorCode::BadCode => 5 * STRIKE,
        _ if !bears_a_signature => 0,
        ErrorCode::BadSignature
        | ErrorCode::UnknownKey
        | ErrorCode::Replay
        | ErrorCode::DigestMismatch
        | ErrorCode::TooLarge => STRIKE,
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

/// A known key signed the call. Where its place is blocked or in debt, that costs the place nothing.
pub(super) fn showed_a_key(hub: &Hub, parts: &Parts) {
    if parts.extensions.get::<OnlyKnown>().is_none() {
        return;
    }
    if let Some(peer) = parts.extensions.get::<Peer>() {
        let known = parts.extensions.get::<Connection>().is_some_and(Connection::is_known);
        if !known {
            hub.gate.showed_a_key(Place::from(peer.0));
        }
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
        (&Method::POST, "store", Some("scrub" | "repair")) => 20_000,
        (&Method::GET, "datasets", Some("files")) => 100,
        (&Method::POST, _, Some("release")) => 10,
        (&Method::GET, "datasets", Some("objects" | "members")) => 10,
        (&Method::GET, "audit", Some("events")) => 10,
        (&Method::GET, noun, None) if noun != "whoami" => 10,
        _ if objects || method == Method::GET || method == Method::HEAD => 1,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_page_elsewhere_can_have_a_browser_do_leaves_nothing_on_its_address() {
        for code in [ErrorCode::Unsigned, ErrorCode::TooLarge, ErrorCode::BadRequest] {
            assert_eq!(of_address(code, false), 0, "{code:?}");
            assert!(of_address(code, true) > 0, "{code:?}");
        }
        assert_eq!(of_address(ErrorCode::BadCode, false), 5 * STRIKE);
    }

    #[test]
    fn a_call_costs_by_what_it_makes_the_hub_do() {
        for (method, path, cost) in [
            ("GET", "/api/v1/whoami", 1),
            ("GET", "/api/v1/projects/0", 1),
            ("GET", "/api/v1/projects", 10),
            ("GET", "/api/v1/datasets/0/objects", 10),
            ("GET", "/api/v1/datasets/0/files", 100),
            ("GET", "/api/v1/audit/events", 10),
            ("GET", "/api/v1/audit/log/tile/0/000", 1),
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
