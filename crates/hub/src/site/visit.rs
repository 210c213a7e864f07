//! Around every page: who visits, and under which rules the browser shows what comes back.

use std::sync::Arc;

use api::ErrorCode;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{
    ACCEPT, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, COOKIE, RETRY_AFTER,
    STRICT_TRANSPORT_SECURITY, USER_AGENT,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::guard::FORM_BYTES;
use super::{compressed, view};
use crate::HubError;
use crate::app::Caller;
use crate::app::sign_in::{self, Browser, Token, Visitor};
use crate::gate::{Room, Whose};
use crate::http::auth::{Arrival, Peer, authority, room};
use crate::http::finish::Drawn;
use crate::state::Hub;

/// The cookie of a session. The prefix has browsers take it only over TLS, for this host alone and for every path.
pub(super) const SESSION: &str = "__Host-chorion";
/// The cookie that a browser gets with its first form, before anybody has signed in.
pub(super) const VISIT: &str = "__Host-chorion-visit";

/// What a page may load and do: nothing but what this hub serves, no inline style or script, no frame around it.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'self'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'",
);
/// A page's own rules, in place of [`POLICY`].
#[derive(Debug, Clone)]
pub(super) struct OwnPolicy(pub(super) HeaderValue);

/// Features of browsers that a page may use: passkeys.
const FEATURES: HeaderValue = HeaderValue::from_static(
    "publickey-credentials-get=(self), publickey-credentials-create=(self), camera=(), geolocation=(), \
     microphone=(), payment=(), usb=(), serial=(), bluetooth=(), hid=(), midi=(), display-capture=()",
);

/// Who visits a page.
#[derive(Debug, Clone)]
pub(super) struct Visit(Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    /// The browser and its cookie.
    pub(super) visitor: Visitor,
    /// Who is signed in, and the session.
    pub(super) person: Option<(Caller, Browser)>,
    /// Whether the browser has the cookie already.
    pub(super) is_known: bool,
    /// The host and port by which it calls this hub: one of the hub's own.
    pub(super) authority: String,
    /// The hub's id.
    pub(super) hub: String,
}

impl std::ops::Deref for Visit {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Visit {
    async fn of(hub: &Hub, parts: &Parts) -> Result<Self, HubError> {
        let arrival = parts
            .extensions
            .get::<Arrival>()
            .ok_or_else(|| HubError::internal("the request has no id", "a layer is missing"))?;
        let authority = authority(parts)?.to_owned();
        if !hub.names.is_own(&authority) {
            // Nothing is served under a name that is not ours, as nothing is under a path that is not there.
            return Err(HubError::not_found("site here called", format!("`{authority}`"))
                .hint(format!("this hub is {}", hub.names.authorities().join(", "))));
        }
        let (request, at) = (arrival.request, arrival.at);
        let mut person = None;
        let mut token = None;
        if let Some(held) = cookie(&parts.headers, SESSION) {
            person = sign_in::resume(hub, &held, request, at).await?;
            token = person.is_some().then_some(held);
        }
        let token = token.or_else(|| cookie(&parts.headers, VISIT));
        let is_known = token.is_some();
        let token = match token {
            Some(token) => token,
            None => Token::draw()?,
        };
        let agent = parts.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
        let visitor = Visitor {
            request,
            at,
            address: parts.extensions.get::<Peer>().map(|peer| peer.0),
            agent: agent.unwrap_or_default().to_owned(),
            token,
        };
        Ok(Self(Arc::new(Inner { visitor, person, is_known, authority, hub: hub.id.clone() })))
    }

    /// The host alone, without its port.
    pub(super) fn host(&self) -> &str {
        match self.authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => &self.authority,
        }
    }
}

/// The one cookie of that name, if it is a token.
fn cookie(headers: &HeaderMap, name: &str) -> Option<Token> {
    let mut found = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| value);
    let first = found.next()?;
    // Two of one name: somebody planted one. Neither counts.
    if found.next().is_some() { None } else { Token::parse(first) }
}

/// Finds out who visits, and draws what is no success as a page.
pub(super) async fn layer(State(hub): State<Hub>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path == "/api" || path.starts_with("/api/") {
        // No page: the answer is a problem document.
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    let (path, method) = (parts.uri.path().to_owned(), parts.method.clone());
    let for_program =
        parts.headers.get(ACCEPT).is_some_and(|value| value == "application/problem+json");
    let mut visit = None;
    // Held until the page is there: what a form brings is in memory as long as its handler works.
    let mut _room = None;
    let mut response = match Visit::of(&hub, &parts).await {
        Ok(found) => {
            visit = Some(found.clone());
            parts.extensions.insert(found);
            match room_for_form(&hub, &parts).await {
                Ok(room) => {
                    _room = room;
                    next.run(Request::from_parts(parts, body)).await
                }
                Err(error) => error.into_response(),
            }
        }
        Err(error) => error.into_response(),
    };
    let status = response.status();
    let failed = !status.is_success() && !status.is_redirection();
    // Who asks as a program does gets a problem document, as under the API.
    if failed && !for_program && response.extensions().get::<Drawn>().is_none() {
        let error =
            response.extensions_mut().remove::<HubError>().unwrap_or_else(|| match status {
                StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
                    HubError::not_found("such path as", &path)
                }
                status => HubError::internal("the hub failed at this page", status.to_string()),
            });
        response = view::problem(&error, visit.as_ref());
    }
    if failed && let Some((caller, _)) = visit.as_ref().and_then(|visit| visit.person.clone()) {
        // So that the refusal is known to be theirs.
        response.extensions_mut().insert(caller);
    }
    guard_headers(&mut response, visit.as_ref());
    compressed::mark(&mut response, &method);
    response
}

/// Room in memory for the form that a request may bring.
async fn room_for_form(hub: &Hub, parts: &Parts) -> Result<Option<Room>, HubError> {
    if matches!(parts.method, Method::GET | Method::HEAD) {
        return Ok(None);
    }
    let length = parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let bytes = length.and_then(|length| length.parse().ok()).unwrap_or(FORM_BYTES).min(FORM_BYTES);
    let from = hub.gate.from(parts.extensions.get::<Peer>().map(|peer| peer.0));
    room(hub, Whose::Form(from), bytes).await.map(Some)
}

fn guard_headers(response: &mut Response, visit: Option<&Visit>) {
    let is_busy = response
        .extensions()
        .get::<HubError>()
        .is_some_and(|error| error.code() == ErrorCode::TooManyRequests);
    let policy = response.extensions_mut().remove::<OwnPolicy>().map_or(POLICY, |own| own.0);
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    for (name, value) in [
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-embedder-policy", "require-corp"),
        ("cross-origin-resource-policy", "same-origin"),
        // Not `no-referrer`: then browsers send forms with `Origin: null`, and the hub could not tell its own.
        ("referrer-policy", "same-origin"),
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.insert(HeaderName::from_static("permissions-policy"), FEATURES);
    // On `localhost` the promise would bind every other program of that machine too.
    if visit.is_some_and(|visit| visit.host() != "localhost") {
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    if is_busy {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("30"));
    }
}

impl FromRequestParts<Hub> for Visit {
    type Rejection = HubError;

    async fn from_request_parts(parts: &mut Parts, _hub: &Hub) -> Result<Self, HubError> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| HubError::internal("the page has no visitor", "a layer is missing"))
    }
}
