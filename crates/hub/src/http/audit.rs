//! The list of acts, and the append-only log that they are in.

use api::{Cosigned, Event, KeyId, LogState, Page};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Id, Params};
use super::page::{PageParams, Paging};
use crate::HubError;
use crate::app::{self, Caller};
use crate::state::Hub;

/// The routes of this noun.
pub(crate) fn routes() -> OpenApiRouter<Hub> {
    OpenApiRouter::default()
        .routes(routes!(list))
        .routes(routes!(log))
        .routes(routes!(checkpoint))
        .routes(routes!(tile))
        .routes(routes!(cosign))
        .routes(routes!(cosigned))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// Only acts on this thing, as `kind:id`.
    object: Option<String>,
}

/// Acts, oldest first, each with what opens its leaf: all for operators; for everybody else those in their projects, and
/// those about what was theirs.
#[utoipa::path(get, path = "/audit/events", tag = "audit", params(Filter, PageParams),
    responses((status = 200, body = Page<Event>)))]
async fn list(
    State(hub): State<Hub>,
    caller: Caller,
    Params(filter): Params<Filter>,
    paging: Paging,
) -> Result<Json<Page<Event>>, HubError> {
    let object = filter.object.as_deref();
    let rows = app::events::list(&hub, &caller, object, &paging.after, paging.rows()).await?;
    Ok(Json(paging.page(rows, |event| event.id.to_string())))
}

/// Where the log stands: its key, its newest checkpoint, and under which pseudonym its leaves name the caller.
#[utoipa::path(get, path = "/audit/log", tag = "audit", responses((status = 200, body = LogState)))]
async fn log(State(hub): State<Hub>, caller: Caller) -> Result<Json<LogState>, HubError> {
    app::log::show(&hub, &caller).await.map(Json)
}

/// The newest checkpoint: a C2SP signed note.
#[utoipa::path(get, path = "/audit/log/checkpoint", tag = "audit",
    responses((status = 200, content_type = "text/plain")))]
async fn checkpoint(State(hub): State<Hub>, caller: Caller) -> Result<Response, HubError> {
    let note = app::log::checkpoint(&hub, &caller).await?;
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], note).into_response())
}

/// A tile of hashes (`LEVEL/INDEX`) or of entries (`entries/INDEX`), as C2SP tlog-tiles spells it; `.p/WIDTH` behind it for a
/// part of one.
#[utoipa::path(get, path = "/audit/log/tile/{*path}", tag = "audit",
    params(("path" = String, Path)),
    responses((status = 200, content_type = "application/octet-stream")))]
async fn tile(
    State(hub): State<Hub>,
    caller: Caller,
    Path(path): Path<String>,
) -> Result<Response, HubError> {
    let bytes = app::log::tile(&hub, &caller, &path).await?;
    let mut response = bytes.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    // A tile never changes.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, max-age=31536000, immutable"));
    Ok(response)
}

/// Keeps a checkpoint that a witness cosigned, in place of an older one of the same witness.
#[utoipa::path(put, path = "/audit/log/cosignatures", tag = "audit", request_body = Cosigned,
    responses((status = 200, body = Cosigned)))]
async fn cosign(
    State(hub): State<Hub>,
    caller: Caller,
    Body(body): Body<Cosigned>,
) -> Result<Json<Cosigned>, HubError> {
    app::log::cosign(&hub, &caller, body).await.map(Json)
}

/// The newest checkpoint that the witness with this key cosigned.
#[utoipa::path(get, path = "/audit/log/cosignatures/{key}", tag = "audit",
    params(("key" = KeyId, Path)), responses((status = 200, body = Cosigned)))]
async fn cosigned(
    State(hub): State<Hub>,
    caller: Caller,
    Id(key): Id<KeyId>,
) -> Result<Json<Cosigned>, HubError> {
    app::log::cosigned(&hub, &caller, key).await.map(Json)
}
