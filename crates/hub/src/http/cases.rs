//! Cases, and the fields of theirs that an organization makes searchable.

use api::{
    AddCases, AddedCases, AuditedRead, Case, CaseId, CaseRules, ConcludeCase, ConfirmDeletion,
    DatasetId, FieldIndex, FoundCases, OpenedCase, OrganizationId, Page, ProjectId, ReadCase,
    SearchCases, SearchField, SetField, UpdateCase,
};
use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Id, Ids, Params, Private};
use super::organizations::Between;
use super::page::{PageParams, Paging};
use crate::HubError;
use crate::app::{self, Caller};
use crate::data::events::Period;
use crate::state::Hub;

/// The routes of this noun.
pub(crate) fn routes() -> OpenApiRouter<Hub> {
    OpenApiRouter::default()
        .routes(routes!(list, add))
        .routes(routes!(search))
        .routes(routes!(show, update, delete))
        .routes(routes!(read))
        .routes(routes!(conclude))
        .routes(routes!(close))
        .routes(routes!(link, unlink))
        .routes(routes!(fields))
        .routes(routes!(set_field, end_field))
        .routes(routes!(rules, set_rules))
        .routes(routes!(reads))
}

/// Cases of a project as they stand in clear: id, status, dates. They are listed also while the customer's key is away.
#[utoipa::path(get, path = "/projects/{id}/cases", tag = "case",
    params(("id" = ProjectId, Path), PageParams), responses((status = 200, body = Page<Case>)))]
async fn list(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<ProjectId>,
    paging: Paging,
) -> Result<Json<Page<Case>>, HubError> {
    let rows = app::cases::list(&hub, &caller, id, &paging.after, paging.rows()).await?;
    Ok(Json(paging.page(rows, |case| case.id.to_string())))
}

/// Adds cases, all of them or none. The same call again adds nothing.
#[utoipa::path(post, path = "/projects/{id}/cases", tag = "case", params(("id" = ProjectId, Path)),
    request_body = AddCases, responses((status = 200, body = AddedCases)))]
async fn add(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<ProjectId>,
    Private(body): Private<AddCases>,
) -> Result<Json<AddedCases>, HubError> {
    app::cases::add(&hub, &caller, id, body).await.map(Json)
}

/// Cases whose field has this value, after normalisation.
#[utoipa::path(post, path = "/projects/{id}/cases/search", tag = "case",
    params(("id" = ProjectId, Path)), request_body = SearchCases,
    responses((status = 200, body = FoundCases)))]
async fn search(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<ProjectId>,
    Private(body): Private<SearchCases>,
) -> Result<Json<FoundCases>, HubError> {
    app::cases::search(&hub, &caller, id, &body).await.map(Json)
}

/// One case as it stands in clear.
#[utoipa::path(get, path = "/cases/{id}", tag = "case", params(("id" = CaseId, Path)),
    responses((status = 200, body = Case)))]
async fn show(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<CaseId>,
) -> Result<Json<Case>, HubError> {
    app::cases::show(&hub, &caller, id).await.map(Json)
}

/// Replaces the document by one that was made from the version that is named.
#[utoipa::path(put, path = "/cases/{id}", tag = "case", params(("id" = CaseId, Path)),
    request_body = UpdateCase, responses((status = 200, body = Case)))]
async fn update(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<CaseId>,
    Private(body): Private<UpdateCase>,
) -> Result<Json<Case>, HubError> {
    app::cases::update(&hub, &caller, id, &body).await.map(Json)
}

/// Deletes a case for ever: its key first. It goes also while the customer's key is away.
#[utoipa::path(delete, path = "/cases/{id}", tag = "case", params(("id" = CaseId, Path)),
    request_body = ConfirmDeletion, responses((status = 200, body = Case)))]
async fn delete(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<CaseId>,
    Body(body): Body<ConfirmDeletion>,
) -> Result<Json<Case>, HubError> {
    app::cases::delete(&hub, &caller, id, &body).await.map(Json)
}

/// Reads fields of a case, for a purpose. The event with both is on the disk before the answer leaves.
#[utoipa::path(post, path = "/cases/{id}/read", tag = "case", params(("id" = CaseId, Path)),
    request_body = ReadCase, responses((status = 200, body = OpenedCase)))]
async fn read(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<CaseId>,
    Private(body): Private<ReadCase>,
) -> Result<Json<OpenedCase>, HubError> {
    app::cases::read(&hub, &caller, id, &body).await.map(Json)
}

/// Writes the conclusion.
#[utoipa::path(post, path = "/cases/{id}/conclusion", tag = "case", params(("id" = CaseId, Path)),
    request_body = ConcludeCase, responses((status = 200, body = Case)))]
async fn conclude(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<CaseId>,
    Private(body): Private<ConcludeCase>,
) -> Result<Json<Case>, HubError> {
    app::cases::conclude(&hub, &caller, id, &body).await.map(Json)
}

/// Closes a case whose conclusion is written; by a second person, where the organization wants that.
#[utoipa::path(post, path = "/cases/{id}/close", tag = "case", params(("id" = CaseId, Path)),
    responses((status = 200, body = Case)))]
async fn close(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<CaseId>,
) -> Result<Json<Case>, HubError> {
    app::cases::close(&hub, &caller, id).await.map(Json)
}

/// Links a sample or result to a case.
#[utoipa::path(put, path = "/cases/{id}/datasets/{dataset}", tag = "case",
    params(("id" = CaseId, Path), ("dataset" = DatasetId, Path)),
    responses((status = 200, body = Case)))]
async fn link(
    State(hub): State<Hub>,
    caller: Caller,
    Ids(id, dataset): Ids<CaseId, DatasetId>,
) -> Result<Json<Case>, HubError> {
    app::cases::link(&hub, &caller, id, dataset).await.map(Json)
}

/// Takes the link away; the dataset stays.
#[utoipa::path(delete, path = "/cases/{id}/datasets/{dataset}", tag = "case",
    params(("id" = CaseId, Path), ("dataset" = DatasetId, Path)),
    responses((status = 200, body = Case)))]
async fn unlink(
    State(hub): State<Hub>,
    caller: Caller,
    Ids(id, dataset): Ids<CaseId, DatasetId>,
) -> Result<Json<Case>, HubError> {
    app::cases::unlink(&hub, &caller, id, dataset).await.map(Json)
}

/// Which fields of cases are searchable, how, how far, and what that leaks.
#[utoipa::path(get, path = "/organizations/{id}/fields", tag = "case",
    params(("id" = OrganizationId, Path)), responses((status = 200, body = Vec<FieldIndex>)))]
async fn fields(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<OrganizationId>,
) -> Result<Json<Vec<FieldIndex>>, HubError> {
    app::cases::fields::list(&hub, &caller, id).await.map(Json)
}

/// Turns a field on, or begins the next version of its index. For administrators of the organization.
#[utoipa::path(put, path = "/organizations/{id}/fields/{field}", tag = "case",
    params(("id" = OrganizationId, Path), ("field" = SearchField, Path)),
    request_body = SetField, responses((status = 200, body = FieldIndex)))]
async fn set_field(
    State(hub): State<Hub>,
    caller: Caller,
    Ids(id, field): Ids<OrganizationId, SearchField>,
    Body(body): Body<SetField>,
) -> Result<Json<FieldIndex>, HubError> {
    app::cases::fields::set(&hub, &caller, id, field, body).await.map(Json)
}

/// Turns a field off: it answers no more, and its hashes are deleted. For administrators of the organization.
#[utoipa::path(delete, path = "/organizations/{id}/fields/{field}", tag = "case",
    params(("id" = OrganizationId, Path), ("field" = SearchField, Path)),
    responses((status = 200, body = Vec<FieldIndex>)))]
async fn end_field(
    State(hub): State<Hub>,
    caller: Caller,
    Ids(id, field): Ids<OrganizationId, SearchField>,
) -> Result<Json<Vec<FieldIndex>>, HubError> {
    app::cases::fields::off(&hub, &caller, id, field).await.map(Json)
}

/// What an organization wants of its cases.
#[utoipa::path(get, path = "/organizations/{id}/case-rules", tag = "case",
    params(("id" = OrganizationId, Path)), responses((status = 200, body = CaseRules)))]
async fn rules(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<OrganizationId>,
) -> Result<Json<CaseRules>, HubError> {
    app::cases::rules(&hub, &caller, id).await.map(Json)
}

/// Changes that. For administrators of the organization.
#[utoipa::path(put, path = "/organizations/{id}/case-rules", tag = "case",
    params(("id" = OrganizationId, Path)), request_body = CaseRules,
    responses((status = 200, body = CaseRules)))]
async fn set_rules(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<OrganizationId>,
    Body(body): Body<CaseRules>,
) -> Result<Json<CaseRules>, HubError> {
    app::cases::set_rules(&hub, &caller, id, body).await.map(Json)
}

/// Who read which fields of which case, and why. For administrators and auditors of the organization.
#[utoipa::path(get, path = "/organizations/{id}/case-reads", tag = "case",
    params(("id" = OrganizationId, Path), Between, PageParams),
    responses((status = 200, body = Page<AuditedRead>)))]
async fn reads(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<OrganizationId>,
    Params(between): Params<Between>,
    paging: Paging,
) -> Result<Json<Page<AuditedRead>>, HubError> {
    let period = Period { from: between.from, to: between.to };
    let rows = app::cases::reads(&hub, &caller, id, period, &paging.after, paging.rows()).await?;
    Ok(Json(paging.page(rows, |read| read.event.to_string())))
}
