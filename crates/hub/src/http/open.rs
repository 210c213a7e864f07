//! What answers without a signature: this list, the pages of `site`, `spec/unsigned.md`, and nothing else. A test compares them.

use std::sync::LazyLock;

use api::{Health, TaskId};
use axum::Json;
use axum::extract::State;
use axum::http::header::{ALLOW, CONTENT_TYPE};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::state::Hub;

/// An unsigned call and why it may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Open {
    /// The method.
    pub(crate) method: &'static str,
    /// The path, with its variable parts in braces; `*` is any.
    pub(crate) path: &'static str,
    /// Why.
    pub(crate) because: &'static str,
}

/// The list.
pub(crate) const OPEN: &[Open] = &[
    Open {
        method: "GET",
        path: "/health",
        because: "a probe has no key; it learns the hub's id, version and clock",
    },
    Open {
        method: "GET",
        path: "/openapi.json",
        because: "the description of the calls is the same for everybody",
    },
    Open {
        method: "OPTIONS",
        path: "*",
        because: "a browser asks before it signs; the answer is the same for every path",
    },
];

/// Whether a call may come without a signature. `HEAD` is `GET` without the body.
pub(crate) fn is_open(method: &Method, path: &str) -> bool {
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    OPEN.iter().any(|open| open.method == method && (open.path == "*" || open.path == path))
}

/// Calls that are signed by a key which the body itself brings, because the hub does not know it yet. What makes them
/// count is the one-time code or ticket beside it, or for a device the person who approves the key elsewhere.
pub(crate) fn brings_its_key(method: &Method, path: &str) -> bool {
    let Some(rest) = path.strip_prefix(api::API_PREFIX) else { return false };
    let segments: Vec<&str> = rest.split('/').skip(1).collect();
    method == Method::POST
        && matches!(
            segments[..],
            ["enrol"] | ["device"] | ["device", "poll"] | ["tasks", _, "claim"]
        )
}

/// The task that a call claims, if it is a claim.
pub(crate) fn claimed(method: &Method, path: &str) -> Option<TaskId> {
    let segments: Vec<&str> = path.strip_prefix(api::API_PREFIX)?.split('/').skip(1).collect();
    match (method, &segments[..]) {
        (&Method::POST, ["tasks", id, "claim"]) => id.parse().ok(),
        _ => None,
    }
}

pub(super) fn routes() -> OpenApiRouter<Hub> {
    OpenApiRouter::default()
        .routes(routes!(health))
        .route("/openapi.json", axum::routing::get(document))
}

#[utoipa::path(get, path = "/health", tag = "hub", responses((status = 200, body = Health)))]
async fn health(State(hub): State<Hub>) -> Json<Health> {
    Json(Health {
        hub: hub.id.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        time: hub.now(),
    })
}

async fn document() -> Response {
    // Made once: it is the same for everybody, and anybody may ask for it.
    static DOCUMENT: LazyLock<String> = LazyLock::new(super::openapi);
    ([(CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}

/// The answer to `OPTIONS`, whatever the path.
pub(super) fn options() -> Response {
    let allow = [(ALLOW, "GET, HEAD, POST, PUT, DELETE, OPTIONS")];
    (StatusCode::NO_CONTENT, allow).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_the_specification_has_the_same_list() {
        let page = include_str!("../../../../spec/unsigned.md");
        // All tables but that of the calls which bring their key.
        let (calls, rest) = page.split_once("Four calls").unwrap();
        let (_, pages) = rest.split_once("## Pages").unwrap();
        let rows: Vec<(String, String)> = calls
            .lines()
            .chain(pages.lines())
            .filter_map(|line| line.strip_prefix("| `"))
            .filter_map(|line| {
                let (call, because) = line.split_once("` | ")?;
                Some((call.to_owned(), because.trim_end_matches(" |").to_owned()))
            })
            .collect();
        let list: Vec<(String, String)> = OPEN
            .iter()
            .chain(crate::site::PAGES)
            .map(|open| (format!("{} {}", open.method, open.path), open.because.to_owned()))
            .collect();
        assert_eq!(rows, list);
    }

    #[test]
    fn the_calls_that_bring_their_key_are_those_of_the_page() {
        let page = include_str!("../../../../spec/unsigned.md");
        let document: serde_json::Value = serde_json::from_str(&crate::openapi()).unwrap();
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys().map(|method| method.to_uppercase()) {
                assert_eq!(
                    brings_its_key(&method.parse().unwrap(), path),
                    page.contains(&format!("| `{method} {path}` | "))
                        && path.starts_with(api::API_PREFIX),
                    "{method} {path}"
                );
            }
        }
    }

    #[test]
    fn nothing_under_api_is_open_but_options() {
        for method in [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE] {
            for path in ["/api/v1/whoami", "/api/v1/enrol", "/api/", "/api", "/health/", "//health"]
            {
                assert!(!is_open(&method, path), "{method} {path}");
            }
        }
        assert!(is_open(&Method::OPTIONS, "/api/v1/whoami"));
    }
}
