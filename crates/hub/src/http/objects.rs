//! Sealed objects of a dataset.

use api::{
    Acknowledged, DatasetId, EPOCH_HEADER, HaveAnswer, HaveQuery, ObjectRef, Page, SealedObject,
    WRAPPED_KEY_HEADER,
};
use axum::Json;
use axum::extract::State;
use axum::http::header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE, ETAG, RANGE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use data_encoding::BASE64;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::VerifiedBody;
use super::extract::{Body, Id, Ids};
use super::page::{PageParams, Paging};
use crate::HubError;
use crate::app::objects::Envelope;
use crate::app::{self, Caller};
use crate::data::objects::Kept;
use crate::state::Hub;

/// The routes of this noun.
pub(crate) fn routes() -> OpenApiRouter<Hub> {
    OpenApiRouter::default()
        .routes(routes!(list))
        .routes(routes!(have))
        .routes(routes!(get, put))
        .routes(routes!(key))
}

/// Objects of the epoch in force, with their wrapped keys.
#[utoipa::path(get, path = "/datasets/{id}/objects", tag = "object",
    params(("id" = DatasetId, Path), PageParams),
    responses((status = 200, body = Page<SealedObject>)))]
async fn list(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<DatasetId>,
    paging: Paging,
) -> Result<Json<Page<SealedObject>>, HubError> {
    let rows = app::objects::list(&hub, &caller, id, &paging.after, paging.rows()).await?;
    Ok(Json(paging.page(rows, |object| object.object.to_string())))
}

/// Which of these objects are acknowledged.
#[utoipa::path(post, path = "/datasets/{id}/objects/have", tag = "object",
    params(("id" = DatasetId, Path)), request_body = HaveQuery,
    responses((status = 200, body = HaveAnswer)))]
async fn have(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<DatasetId>,
    Body(body): Body<HaveQuery>,
) -> Result<Json<HaveAnswer>, HubError> {
    let objects = app::objects::have(&hub, &caller, id, body).await?;
    Ok(Json(HaveAnswer { objects }))
}

/// Keeps a sealed object of at most 16 MiB. The same bytes again are a success.
#[utoipa::path(put, path = "/datasets/{id}/objects/{object}", tag = "object",
    params(("id" = DatasetId, Path), ("object" = ObjectRef, Path),
        ("chorion-wrapped-key" = String, Header, description = "the data key under the dataset key, 60 bytes in base64"),
        ("chorion-epoch" = u32, Header, description = "the key epoch it is sealed under")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, body = Acknowledged)))]
async fn put(
    State(hub): State<Hub>,
    caller: Caller,
    verified: VerifiedBody,
    Ids(id, object): Ids<DatasetId, ObjectRef>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Acknowledged>, HubError> {
    let envelope = Envelope {
        epoch: epoch(&headers)?,
        wrapped_key: wrapped_key(&headers)?,
        hash: verified.digest,
    };
    app::objects::put(&hub, &caller, id, object, envelope, body).await.map(Json)
}

fn epoch(headers: &HeaderMap) -> Result<u32, HubError> {
    let text = headers.get(EPOCH_HEADER).and_then(|value| value.to_str().ok());
    text.and_then(|text| text.parse().ok()).ok_or_else(|| {
        HubError::bad_request(format!(
            "the header `{EPOCH_HEADER}` is not the number of a key epoch"
        ))
    })
}

fn wrapped_key(headers: &HeaderMap) -> Result<[u8; 60], HubError> {
    headers
        .get(WRAPPED_KEY_HEADER)
        .and_then(|value| BASE64.decode(value.as_bytes()).ok())
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| {
            HubError::bad_request(format!(
                "the header `{WRAPPED_KEY_HEADER}` is not 60 bytes in base64"
            ))
        })
}

/// The sealed bytes, or the part that `Range` names.
#[utoipa::path(get, path = "/datasets/{id}/objects/{object}", tag = "object",
    params(("id" = DatasetId, Path), ("object" = ObjectRef, Path)),
    responses((status = 200, content_type = "application/octet-stream"),
        (status = 206, content_type = "application/octet-stream")))]
async fn get(
    State(hub): State<Hub>,
    caller: Caller,
    Ids(id, object): Ids<DatasetId, ObjectRef>,
    headers: HeaderMap,
) -> Result<Response, HubError> {
    let kept = app::objects::find(&hub, &caller, id, object).await?;
    sent(&hub, &kept, &headers).await
}

/// The sealed bytes of an object that the caller may get, or the part that `Range` names.
pub(crate) async fn sent(
    hub: &Hub,
    kept: &Kept,
    headers: &HeaderMap,
) -> Result<Response, HubError> {
    let (object, total) = (kept.object, kept.bytes);
    let range = match headers.get(RANGE) {
        None => None,
        Some(value) => Some(parse_range(value, total).ok_or_else(|| {
            HubError::bad_request(format!(
                "the range is not one within the {total} bytes of object {object}"
            ))
            .hint("ask for one range, as `bytes=0-65535`")
        })?),
    };
    let bytes = app::objects::bytes(hub, kept, range.clone().unwrap_or(0..total)).await?;
    let mut response = bytes.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // A sealed object never changes, and is the caller's alone.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, max-age=31536000, immutable"));
    let mut put = |name, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    };
    put(ETAG, format!("\"{}\"", kept.hash));
    if let Some(range) = range {
        put(CONTENT_RANGE, format!("bytes {}-{}/{total}", range.start, range.end - 1));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    } else {
        put(HeaderName::from_static("content-digest"), proof::content_digest_of(&kept.hash));
    }
    Ok(response)
}

/// One range of RFC 9110 section 14.1.2: `bytes=A-B`, `bytes=A-` or `bytes=-N`.
fn parse_range(value: &HeaderValue, total: u64) -> Option<std::ops::Range<u64>> {
    let (first, last) = value.to_str().ok()?.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (first, last) {
        ("", last) => total.saturating_sub(last.parse().ok()?)..total,
        (first, "") => first.parse().ok()?..total,
        (first, last) => {
            first.parse().ok()?..last.parse::<u64>().ok()?.saturating_add(1).min(total)
        }
    };
    (range.start < range.end && range.end <= total).then_some(range)
}

/// What is kept beside an object: its hash, its epoch and its wrapped key.
#[utoipa::path(get, path = "/datasets/{id}/objects/{object}/key", tag = "object",
    params(("id" = DatasetId, Path), ("object" = ObjectRef, Path)),
    responses((status = 200, body = SealedObject)))]
async fn key(
    State(hub): State<Hub>,
    caller: Caller,
    Ids(id, object): Ids<DatasetId, ObjectRef>,
) -> Result<Json<SealedObject>, HubError> {
    app::objects::key(&hub, &caller, id, object).await.map(Json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_one_within_the_object_or_none() {
        let parse = |text: &'static str| parse_range(&HeaderValue::from_static(text), 100);
        assert_eq!(parse("bytes=0-0"), Some(0..1));
        assert_eq!(parse("bytes=10-19"), Some(10..20));
        assert_eq!(parse("bytes=90-"), Some(90..100));
        assert_eq!(parse("bytes=-5"), Some(95..100));
        assert_eq!(parse("bytes=-500"), Some(0..100));
        assert_eq!(parse("bytes=99-1000"), Some(99..100));
        for none in [
            "bytes=100-",
            "bytes=5-4",
            "bytes=-0",
            "bytes=",
            "bytes=-",
            "bytes=0-1,3-4",
            "lines=0-1",
        ] {
            assert_eq!(parse(none), None, "{none}");
        }
    }
}
