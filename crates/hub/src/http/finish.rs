//! The outermost layer: every call gets an id, and every answer that is no success becomes a problem document.
//!
//! Here alone the cause of a failure goes to the log, and here a refusal becomes an event, so that neither is forgotten
//! nor done twice. A handler that panics is answered like any other fault of ours.

use std::panic::AssertUnwindSafe;

use api::{ErrorCode, Outcome, Problem, RequestId};
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;

use super::auth::Arrival;
use super::rest::Rest;
use crate::HubError;
use crate::app::Caller;
use crate::data;
use crate::data::events::NewEvent;
use crate::error::Wait;
use crate::state::Hub;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const NO_SNIFF: HeaderName = HeaderName::from_static("x-content-type-options");
const RATE_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATE: HeaderName = HeaderName::from_static("ratelimit");
/// How many seconds a caller waits before it tries again what storage could not take.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// Marks an answer that is no success and has its words already: a page. The error is beside it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Drawn;

pub(super) async fn layer(State(hub): State<Hub>, mut request: Request, next: Next) -> Response {
    let arrival = Arrival { request: RequestId::generate(), at: hub.now() };
    request.extensions_mut().insert(arrival);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let rest = Rest::watch(&mut request);
    let mut response = match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => {
            HubError::internal("the hub failed at this call", words_of(&panic)).into_response()
        }
    };
    if !response.status().is_success() && !response.status().is_redirection() {
        let error = response
            .extensions_mut()
            .remove::<HubError>()
            .unwrap_or_else(|| bare(response.status(), &method, &path));
        let caller = response.extensions_mut().remove::<Caller>();
        refuse(&hub, &error, caller.as_ref(), arrival, &method, &path).await;
        if response.extensions_mut().remove::<Drawn>().is_none() {
            let ends = response.headers().contains_key(CONNECTION);
            response = problem(&error, arrival.request, &hub);
            if ends {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
        }
    }
    let status = response.status();
    let headers = response.headers_mut();
    if let Some(rest) = rest
        && !headers.contains_key(CONNECTION)
        && !rest.read().await
    {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if let Ok(id) = HeaderValue::from_str(&arrival.request.to_string()) {
        headers.insert(REQUEST_ID, id);
    }
    hub.counters.answered(status);
    headers.insert(NO_SNIFF, HeaderValue::from_static("nosniff"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// An answer of the framework, which has a status and no words.
fn bare(status: StatusCode, method: &Method, path: &str) -> HubError {
    match status {
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            HubError::not_found("call", format!("`{method} {path}`"))
                .hint("/openapi.json lists every call")
        }
        status if status.is_client_error() => {
            HubError::bad_request(format!("`{method} {path}` does not take this call"))
        }
        status => HubError::internal("the hub failed at this call", status.to_string()),
    }
}

/// Logs what went wrong, once, and writes the event of a refusal.
async fn refuse(
    hub: &Hub,
    error: &HubError,
    caller: Option<&Caller>,
    arrival: Arrival,
    method: &Method,
    path: &str,
) {
    let request = arrival.request;
    if error.code() == ErrorCode::Internal {
        let cause = error.causes().unwrap_or_default();
        tracing::error!(%request, %method, path, cause, "{error}");
    } else {
        tracing::debug!(%request, %method, path, cause = error.causes(), "{error}");
    }
    let Some(refused) = error.refused() else { return };
    let event = NewEvent {
        at: arrival.at,
        actor: caller.map_or_else(|| "nobody".to_owned(), Caller::name),
        act: refused.act,
        object: refused.object.clone(),
        project: refused.project,
        purpose: None,
        outcome: Outcome::Refused,
        reason: Some(data::word(error.code())),
        request: Some(request),
    };
    if refused.behind {
        let hub_too = hub.clone();
        hub.background.spawn(async move { keep(&hub_too, &event, request).await });
    } else {
        keep(hub, &event, request).await;
    }
}

async fn keep(hub: &Hub, event: &NewEvent, request: RequestId) {
    if let Err(error) = write(hub, event).await {
        tracing::error!(%request, cause = error.causes(), "the event of a refusal was not written");
    }
}

async fn write(hub: &Hub, event: &NewEvent) -> Result<(), HubError> {
    let mut tx = hub.db.write().await?;
    data::events::record(&mut tx, event).await?;
    Ok(tx.commit().await?)
}

fn problem(error: &HubError, request_id: RequestId, hub: &Hub) -> Response {
    let problem = Problem {
        code: error.code(),
        status: error.code().status(),
        title: error.title().to_owned(),
        hint: error.hint_text().map(str::to_owned),
        key: error.key_away().cloned(),
        request_id,
        time: hub.now(),
    };
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::to_vec(&problem)
        .expect("a problem serializes because it holds texts and numbers");
    let mut response = (status, [(CONTENT_TYPE, "application/problem+json")], body).into_response();
    if let Some(Wait { seconds, policy }) = error.wait_for() {
        let headers = response.headers_mut();
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        if let Some((name, quota)) = policy {
            let window = crate::gate::WINDOW_SECONDS;
            let mut put = |name, text: String| {
                if let Ok(text) = HeaderValue::try_from(text) {
                    headers.insert(name, text);
                }
            };
            put(RATE_POLICY, format!("\"{name}\";q={quota};w={window}"));
            put(RATE, format!("\"{name}\";r=0;t={seconds}"));
        }
    } else if matches!(problem.code, ErrorCode::StorageUnavailable | ErrorCode::TooManyRequests) {
        response.headers_mut().insert(RETRY_AFTER, RETRY_SECONDS);
    }
    response
}

fn words_of(panic: &Box<dyn std::any::Any + Send>) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|words| (*words).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".to_owned())
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;
    use crate::testing::TestHub;

    #[tokio::test]
    async fn a_panic_and_a_bare_status_become_problems_that_say_nothing_of_the_cause() {
        let hub = TestHub::start().await;
        let router: Router = Router::new()
            .route("/panic", get(async || -> () { panic!("secret cause") }))
            .route("/fault", get(async || HubError::internal("it failed", "secret cause")))
            .route("/bare", get(async || StatusCode::BAD_GATEWAY))
            .layer(from_fn_with_state(hub.hub.clone(), layer));
        for path in ["/panic", "/fault", "/bare"] {
            let request = Request::get(path).body(Body::empty()).unwrap();
            let response = router.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let problem: Problem = serde_json::from_slice(&body).unwrap();
            assert_eq!(problem.code, ErrorCode::Internal, "{path}");
            assert!(!String::from_utf8_lossy(&body).contains("secret"), "{path}");
        }
    }
}
