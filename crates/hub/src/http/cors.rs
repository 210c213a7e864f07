//! Calls from a page elsewhere: of the authenticators whose origins the operator named, and of no other (Fetch Standard, CORS).
//!
//! An owner's authenticator is served apart from the hub, so its browser asks before it calls. What it is told gives it no right: its
//! calls are signed like anybody's, and no cookie goes with them. To every other origin the hub answers as if there were none.

use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ORIGIN, VARY,
};
use axum::http::{HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;

use crate::StartError;
use crate::state::Hub;

/// What a page may send: the headers of a signed call.
const HEADERS: HeaderValue = HeaderValue::from_static(
    "content-type, content-digest, signature, signature-input, range, chorion-epoch, chorion-wrapped-key",
);
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, DELETE");
/// What it may read of an answer.
const EXPOSED: HeaderValue = HeaderValue::from_static("retry-after, x-request-id, content-range");
/// For how many seconds a browser need not ask again.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// The origins of authenticators, each as browsers spell it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Authenticators(Vec<HeaderValue>);

impl Authenticators {
    /// `https://HOST[:PORT]` each, or on this machine `http://localhost[:PORT]`.
    pub(crate) fn new(origins: &[String]) -> Result<Self, StartError> {
        origins.iter().map(|origin| spelled(origin)).collect::<Result<_, _>>().map(Self)
    }

    /// The origins, as they are written.
    pub(crate) fn origins(&self) -> Vec<String> {
        self.0.iter().filter_map(|origin| origin.to_str().ok()).map(ToOwned::to_owned).collect()
    }
}

fn spelled(origin: &str) -> Result<HeaderValue, StartError> {
    let refuse = |why| StartError::AuthenticatorOrigin { origin: origin.to_owned(), why };
    let (secure, rest) = match (origin.strip_prefix("https://"), origin.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => return Err(refuse("it does not begin with https://")),
    };
    let (host, port) =
        rest.rsplit_once(':').map_or((rest, None), |(host, port)| (host, Some(port)));
    if !secure && !matches!(host, "localhost" | "127.0.0.1") {
        return Err(refuse("without TLS it must be on this machine"));
    }
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-');
    if host.is_empty() || !host.chars().all(is_name) {
        return Err(refuse("it is not a host in small letters, with nothing after it but a port"));
    }
    let own = if secure { "443" } else { "80" };
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|n| n > 0 && n.to_string() == port);
    if port.is_some_and(|port| port == own || !is_port(port)) {
        return Err(refuse("its port is none, or the usual one, which browsers leave out"));
    }
    HeaderValue::from_str(origin).map_err(|_| refuse("it is no header"))
}

pub(super) async fn layer(State(hub): State<Hub>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    // The website answers its own pages alone.
    let is_call = path.starts_with("/api/") || path == "/health";
    let origin = request.headers().get(ORIGIN).cloned().filter(|_| is_call);
    let known = origin.filter(|origin| hub.authenticators.0.contains(origin));
    let asks = request.method() == Method::OPTIONS;
    let mut response = next.run(request).await;
    if is_call && !hub.authenticators.0.is_empty() {
        response.headers_mut().append(VARY, HeaderValue::from_static("Origin"));
    }
    let Some(origin) = known else { return response };
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    if asks {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    } else {
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_one_spelling() {
        for good in ["https://keys.example", "https://keys.example:8443", "http://localhost:8471"] {
            assert!(spelled(good).is_ok(), "{good}");
        }
        for bad in [
            "*",
            "null",
            "keys.example",
            "http://keys.example",
            "https://",
            "https://Keys.example",
            "https://keys.example/",
            "https://keys.example:443",
            "https://keys.example:0443",
            "https://a@keys.example",
            "http://localhost:80",
        ] {
            assert!(spelled(bad).is_err(), "{bad}");
        }
    }
}
