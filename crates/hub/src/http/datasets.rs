//! Datasets, whatever their kind.

use api::{
    ConfirmDeletion, CreateDataset, Dataset, DatasetId, DatasetKind, Deletion, DeliveryState,
    ListOrder, Page, ProjectId, QualityState, Release, ReleaseRequest, Sealed,
};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::VerifiedBody;
use super::extract::{Body, Id, Params};
use super::page::{PageParams, Paging};
use crate::HubError;
use crate::app::{self, Caller};
use crate::data::datasets::Narrowed;
use crate::state::Hub;

/// The routes of this noun.
pub(crate) fn routes() -> OpenApiRouter<Hub> {
    OpenApiRouter::default()
        .routes(routes!(list, create))
        .routes(routes!(show, delete))
        .routes(routes!(settings))
        .routes(routes!(release))
        .routes(routes!(quality))
        .routes(routes!(delivery))
        .routes(routes!(samples))
        .routes(routes!(sample))
        .routes(routes!(results))
        .routes(routes!(result))
}

/// To what a list of datasets is narrowed.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// Datasets of this kind.
    kind: Option<DatasetKind>,
    /// Datasets of this project.
    project: Option<ProjectId>,
    /// Datasets made from this one.
    parent: Option<DatasetId>,
    /// In which direction; the oldest first if absent.
    order: Option<ListOrder>,
}

impl Filter {
    /// What it narrows a list of this kind to.
    pub(crate) fn of_kind(self, kind: DatasetKind) -> Narrowed {
        Narrowed { kind: Some(kind), ..self.narrowed() }
    }

    fn narrowed(self) -> Narrowed {
        let Self { kind, project, parent, order } = self;
        Narrowed { kind, project, parent, order: order.unwrap_or_default() }
    }
}

pub(super) async fn page(
    hub: &Hub,
    caller: &Caller,
    narrowed: Narrowed,
    paging: Paging,
) -> Result<Json<Page<Dataset>>, HubError> {
    let rows = app::datasets::list(hub, caller, narrowed, &paging.after, paging.rows()).await?;
    Ok(Json(paging.page(rows, |dataset| dataset.id.to_string())))
}

/// Datasets of the caller's projects.
#[utoipa::path(get, path = "/datasets", tag = "dataset", params(Filter, PageParams),
    responses((status = 200, body = Page<Dataset>)))]
async fn list(
    State(hub): State<Hub>,
    caller: Caller,
    Params(filter): Params<Filter>,
    paging: Paging,
) -> Result<Json<Page<Dataset>>, HubError> {
    page(&hub, &caller, filter.narrowed(), paging).await
}

/// Makes a dataset. The same call again is a success.
#[utoipa::path(post, path = "/datasets", tag = "dataset", request_body = CreateDataset,
    responses((status = 200, body = Dataset)))]
async fn create(
    State(hub): State<Hub>,
    caller: Caller,
    verified: VerifiedBody,
    Body(body): Body<CreateDataset>,
) -> Result<Json<Dataset>, HubError> {
    app::datasets::create(&hub, &caller, body, verified.digest).await.map(Json)
}

/// One dataset.
#[utoipa::path(get, path = "/datasets/{id}", tag = "dataset", params(("id" = DatasetId, Path)),
    responses((status = 200, body = Dataset)))]
async fn show(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<DatasetId>,
) -> Result<Json<Dataset>, HubError> {
    app::datasets::show(&hub, &caller, id).await.map(Json)
}

/// Deletes the dataset for ever: keys first, then bytes, then rows.
#[utoipa::path(delete, path = "/datasets/{id}", tag = "dataset",
    params(("id" = DatasetId, Path)), request_body = ConfirmDeletion,
    responses((status = 200, body = Deletion)))]
async fn delete(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<DatasetId>,
    Body(body): Body<ConfirmDeletion>,
) -> Result<Json<Deletion>, HubError> {
    app::datasets::delete(&hub, &caller, id, &body).await.map(Json)
}

/// Sealed settings, `null` where there are none.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Settings {
    /// Sealed under the dataset key with purpose `dataset settings`.
    settings: Option<Sealed>,
}

/// The sealed settings.
#[utoipa::path(get, path = "/datasets/{id}/settings", tag = "dataset",
    params(("id" = DatasetId, Path)), responses((status = 200, body = Settings)))]
async fn settings(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<DatasetId>,
) -> Result<Json<Settings>, HubError> {
    let settings = app::datasets::settings(&hub, &caller, id).await?;
    Ok(Json(Settings { settings }))
}

/// Wraps the dataset key to the named recipient, if its custodian agrees.
#[utoipa::path(post, path = "/datasets/{id}/release", tag = "dataset",
    params(("id" = DatasetId, Path)), request_body = ReleaseRequest,
    responses((status = 200, body = Release)))]
async fn release(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<DatasetId>,
    Body(body): Body<ReleaseRequest>,
) -> Result<Json<Release>, HubError> {
    app::datasets::release(&hub, &caller, id, body).await.map(Json)
}

/// A state that a person sets.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct SetQuality {
    /// What is said of the quality.
    state: QualityState,
}

/// Judges the quality.
#[utoipa::path(post, path = "/datasets/{id}/quality", tag = "dataset",
    params(("id" = DatasetId, Path)), request_body = SetQuality,
    responses((status = 200, body = Dataset)))]
async fn quality(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<DatasetId>,
    Body(body): Body<SetQuality>,
) -> Result<Json<Dataset>, HubError> {
    app::datasets::set_quality(&hub, &caller, id, body.state).await.map(Json)
}

/// A state that a person sets.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct SetDelivery {
    /// Whether it was handed on.
    state: DeliveryState,
}

/// Says whether it was handed on.
#[utoipa::path(post, path = "/datasets/{id}/delivery", tag = "dataset",
    params(("id" = DatasetId, Path)), request_body = SetDelivery,
    responses((status = 200, body = Dataset)))]
async fn delivery(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<DatasetId>,
    Body(body): Body<SetDelivery>,
) -> Result<Json<Dataset>, HubError> {
    app::datasets::set_delivery(&hub, &caller, id, body.state).await.map(Json)
}

/// Samples of the caller's projects.
#[utoipa::path(get, path = "/samples", tag = "sample", params(Filter, PageParams),
    responses((status = 200, body = Page<Dataset>)))]
async fn samples(
    State(hub): State<Hub>,
    caller: Caller,
    Params(filter): Params<Filter>,
    paging: Paging,
) -> Result<Json<Page<Dataset>>, HubError> {
    page(&hub, &caller, filter.of_kind(DatasetKind::Sample), paging).await
}

/// One sample.
#[utoipa::path(get, path = "/samples/{id}", tag = "sample", params(("id" = DatasetId, Path)),
    responses((status = 200, body = Dataset)))]
async fn sample(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<DatasetId>,
) -> Result<Json<Dataset>, HubError> {
    app::datasets::show_kind(&hub, &caller, id, DatasetKind::Sample).await.map(Json)
}

/// App results of the caller's projects.
#[utoipa::path(get, path = "/results", tag = "result", params(Filter, PageParams),
    responses((status = 200, body = Page<Dataset>)))]
async fn results(
    State(hub): State<Hub>,
    caller: Caller,
    Params(filter): Params<Filter>,
    paging: Paging,
) -> Result<Json<Page<Dataset>>, HubError> {
    page(&hub, &caller, filter.of_kind(DatasetKind::Result), paging).await
}

/// One app result.
#[utoipa::path(get, path = "/results/{id}", tag = "result", params(("id" = DatasetId, Path)),
    responses((status = 200, body = Dataset)))]
async fn result(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<DatasetId>,
) -> Result<Json<Dataset>, HubError> {
    app::datasets::show_kind(&hub, &caller, id, DatasetKind::Result).await.map(Json)
}
