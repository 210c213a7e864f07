//! The style, the scripts and the icon, compiled in. Their names hold the hash of their bytes, so a browser may keep them for
//! ever and never shows a page with the style of another version.

use std::sync::LazyLock;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use crate::HubError;
use crate::state::Hub;

/// A file that pages name.
#[derive(Debug)]
pub(super) struct Asset {
    /// Its path, hash included.
    pub(super) path: String,
    media_type: &'static str,
    bytes: &'static [u8],
}

impl Asset {
    fn new(stem: &str, end: &str, media_type: &'static str, bytes: &'static [u8]) -> Self {
        let hash = proof::sha256(bytes).to_string();
        let short = hash.get(..16).unwrap_or(&hash);
        Self { path: format!("/assets/{stem}-{short}.{end}"), media_type, bytes }
    }
}

/// The style.
pub(super) static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("site", "css", "text/css; charset=utf-8", include_bytes!("../../assets/site.css"))
});
/// The script: what passkeys need, and nothing else.
pub(super) static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    let bytes = include_bytes!("../../assets/passkey.js");
    Asset::new("passkey", "js", "text/javascript; charset=utf-8", bytes)
});
/// The script of pages on which something goes on.
pub(super) static LIVE: LazyLock<Asset> = LazyLock::new(|| {
    let bytes = include_bytes!("../../assets/live.js");
    Asset::new("live", "js", "text/javascript; charset=utf-8", bytes)
});
/// The script of pages that take a file's text.
pub(super) static FILES: LazyLock<Asset> = LazyLock::new(|| {
    let bytes = include_bytes!("../../assets/files.js");
    Asset::new("files", "js", "text/javascript; charset=utf-8", bytes)
});
/// The icon.
pub(super) static ICON: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("icon", "svg", "image/svg+xml", include_bytes!("../../assets/icon.svg"))
});

/// Serves one of them under its own name.
pub(super) async fn file(
    State(hub): State<Hub>,
    Path(name): Path<String>,
    asked: HeaderMap,
) -> Result<Response, HubError> {
    if let Some(built) = hub.built.answer(&name, &asked) {
        return Ok(built);
    }
    let path = format!("/assets/{name}");
    let all = [&*STYLE, &*SCRIPT, &*LIVE, &*FILES, &*ICON];
    let asset = all
        .into_iter()
        .find(|asset| asset.path == path)
        .ok_or_else(|| HubError::not_found("such path as", &path))?;
    let headers =
        [(CONTENT_TYPE, asset.media_type), (CACHE_CONTROL, "public, max-age=31536000, immutable")];
    Ok((headers, asset.bytes).into_response())
}
