//! Manifests and the lists of files they name.

use api::{Dataset, DatasetId, ErrorCode, File, Page, PutManifest, SignedStatement};
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Id, Ids, Params};
use super::page::{PageParams, Paging};
use crate::HubError;
use crate::app::{self, Caller};
use crate::state::Hub;

/// The routes of this noun.
pub(crate) fn routes() -> OpenApiRouter<Hub> {
    OpenApiRouter::default()
        .routes(routes!(show, put))
        .routes(routes!(numbered))
        .routes(routes!(files))
}

/// The manifest in force.
#[utoipa::path(get, path = "/datasets/{id}/manifest", tag = "manifest",
    params(("id" = DatasetId, Path)), responses((status = 200, body = SignedStatement)))]
async fn show(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<DatasetId>,
) -> Result<Json<SignedStatement>, HubError> {
    app::manifests::show(&hub, &caller, id, None).await.map(Json)
}

/// What goes on with a run once its manifest is there.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct Then {
    /// Queue its demultiplexing.
    #[serde(default)]
    demultiplex: bool,
    /// The run goes on arriving: the manifest lists what is whole so far, and another one closes it.
    #[serde(default)]
    more: bool,
}

/// Closes the dataset's content, if everything that the manifest lists is here. The same manifest again is a success.
#[utoipa::path(post, path = "/datasets/{id}/manifest", tag = "manifest",
    params(("id" = DatasetId, Path), Then), request_body = PutManifest,
    responses((status = 200, body = Dataset)))]
async fn put(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<DatasetId>,
    Params(then): Params<Then>,
    Body(body): Body<PutManifest>,
) -> Result<Json<Dataset>, HubError> {
    let Then { demultiplex, more } = then;
    app::manifests::put(&hub, &caller, id, body, demultiplex, more).await.map(Json)
}

/// An earlier manifest.
#[utoipa::path(get, path = "/datasets/{id}/manifests/{number}", tag = "manifest",
    params(("id" = DatasetId, Path), ("number" = u32, Path)),
    responses((status = 200, body = SignedStatement)))]
async fn numbered(
    State(hub): State<Hub>,
    caller: Caller,
    Ids(id, number): Ids<DatasetId, u32>,
) -> Result<Json<SignedStatement>, HubError> {
    app::manifests::show(&hub, &caller, id, Some(number)).await.map(Json)
}

/// The files, where the custodian lets the hub open their list.
#[utoipa::path(get, path = "/datasets/{id}/files", tag = "manifest",
    params(("id" = DatasetId, Path), PageParams), responses((status = 200, body = Page<File>)))]
async fn files(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<DatasetId>,
    paging: Paging,
) -> Result<Json<Page<File>>, HubError> {
    // The list is in the order of paths and changes only with the manifest; a page goes on after so many of them.
    let skip: usize = match paging.after.as_str() {
        "" => 0,
        text => text.parse().map_err(|_no_number| {
            HubError::new(ErrorCode::BadRequest, "the cursor is none of this list's")
        })?,
    };
    let take = usize::try_from(paging.rows()).unwrap_or(usize::MAX);
    let files = app::manifests::files(&hub, &caller, id).await?;
    let rows = files.into_iter().zip(1_usize..).skip(skip).take(take).collect();
    let page: Page<(File, usize)> = paging.page(rows, |(_, place)| place.to_string());
    let items = page.items.into_iter().map(|(file, _)| file).collect();
    Ok(Json(Page { items, next: page.next }))
}
