//! Which answers are sent compressed: pages that were asked for by their address, and what they load.
//!
//! Decided so: an answer to a form is sent as it is, since it may show a secret (a one-time code, what was read of a case) beside
//! words that the form brought; what pages carry themselves, the form token, lies under a mask drawn for each page (BREACH).
//! Answers under `/api/` are sealed data or small, and are sent as they are.

use axum::http::header::CONTENT_TYPE;
use axum::http::{Extensions, HeaderMap, Method, StatusCode, Version};
use axum::response::Response;
use tower_http::compression::CompressionLayer;

/// Marks an answer to `GET`.
#[derive(Debug, Clone, Copy)]
struct ByAddress;

/// Marks an answer that may be compressed.
pub(super) fn mark(response: &mut Response, method: &Method) {
    if matches!(*method, Method::GET | Method::HEAD) {
        response.extensions_mut().insert(ByAddress);
    }
}

fn may_be(status: StatusCode, _: Version, headers: &HeaderMap, extensions: &Extensions) -> bool {
    const TEXTS: [&str; 4] = ["text/html", "text/css", "text/javascript", "image/svg+xml"];
    let media_type = headers.get(CONTENT_TYPE).and_then(|text| text.to_str().ok());
    let is_text = media_type.is_some_and(|of| TEXTS.iter().any(|text| of.starts_with(text)));
    status == StatusCode::OK && extensions.get::<ByAddress>().is_some() && is_text
}

/// What is asked before an answer is compressed.
pub(super) type May = fn(StatusCode, Version, &HeaderMap, &Extensions) -> bool;

/// The layer around all pages.
pub(super) fn layer() -> CompressionLayer<May> {
    CompressionLayer::new().compress_when(may_be as May)
}
