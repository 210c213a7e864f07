//! Organizations, their accounts, and what was done in their projects.

use api::{
    AccountId, AuditedAccount, AuditedKey, AuditedProject, AuditedRight, CreateOrganization, Event,
    Invitation, InviteMember, Organization, OrganizationCustody, OrganizationId,
    OrganizationMember, Page, PermissionTable, SetPlan, SetRole, Time,
};
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Id, Ids, Params};
use super::page::{PageParams, Paging};
use crate::HubError;
use crate::app::{self, Caller};
use crate::data::events::Period;
use crate::state::Hub;

/// The routes of this noun.
pub(crate) fn routes() -> OpenApiRouter<Hub> {
    OpenApiRouter::default()
        .routes(routes!(list, create))
        .routes(routes!(show))
        .routes(routes!(members, invite))
        .routes(routes!(set_role, remove))
        .routes(routes!(disable))
        .routes(routes!(set_plan))
        .routes(routes!(events))
        .routes(routes!(accounts))
        .routes(routes!(keys))
        .routes(routes!(projects))
        .routes(routes!(rights))
        .routes(routes!(custody))
        .routes(routes!(permissions))
}

/// The caller's organization; all of them for operators.
#[utoipa::path(get, path = "/organizations", tag = "organization", params(PageParams),
    responses((status = 200, body = Page<Organization>)))]
async fn list(
    State(hub): State<Hub>,
    caller: Caller,
    paging: Paging,
) -> Result<Json<Page<Organization>>, HubError> {
    let rows = app::organizations::list(&hub, &caller, &paging.after, paging.rows()).await?;
    Ok(Json(paging.page(rows, |organization| organization.id.to_string())))
}

/// Makes an organization. For operators.
#[utoipa::path(post, path = "/organizations", tag = "organization",
    request_body = CreateOrganization, responses((status = 200, body = Organization)))]
async fn create(
    State(hub): State<Hub>,
    caller: Caller,
    Body(body): Body<CreateOrganization>,
) -> Result<Json<Organization>, HubError> {
    app::organizations::create(&hub, &caller, body).await.map(Json)
}

/// One organization.
#[utoipa::path(get, path = "/organizations/{id}", tag = "organization",
    params(("id" = OrganizationId, Path)), responses((status = 200, body = Organization)))]
async fn show(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<OrganizationId>,
) -> Result<Json<Organization>, HubError> {
    app::organizations::show(&hub, &caller, id).await.map(Json)
}

/// Its accounts.
#[utoipa::path(get, path = "/organizations/{id}/members", tag = "organization",
    params(("id" = OrganizationId, Path), PageParams),
    responses((status = 200, body = Page<OrganizationMember>)))]
async fn members(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<OrganizationId>,
    paging: Paging,
) -> Result<Json<Page<OrganizationMember>>, HubError> {
    let rows = app::organizations::members(&hub, &caller, id, &paging.after, paging.rows()).await?;
    Ok(Json(paging.page(rows, |member| member.account.to_string())))
}

/// Makes an account of the organization and the one-time code for its first key.
#[utoipa::path(post, path = "/organizations/{id}/members", tag = "organization",
    params(("id" = OrganizationId, Path)), request_body = InviteMember,
    responses((status = 200, body = Invitation)))]
async fn invite(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<OrganizationId>,
    Body(body): Body<InviteMember>,
) -> Result<Json<Invitation>, HubError> {
    app::organizations::invite(&hub, &caller, id, body).await.map(Json)
}

/// Gives an account another role; operators also bring in an account that belongs nowhere.
#[utoipa::path(put, path = "/organizations/{id}/members/{account}", tag = "organization",
    params(("id" = OrganizationId, Path), ("account" = AccountId, Path)), request_body = SetRole,
    responses((status = 200, body = OrganizationMember)))]
async fn set_role(
    State(hub): State<Hub>,
    caller: Caller,
    Ids(id, account): Ids<OrganizationId, AccountId>,
    Body(body): Body<SetRole>,
) -> Result<Json<OrganizationMember>, HubError> {
    app::organizations::set_role(&hub, &caller, id, account, body.role).await.map(Json)
}

/// Disables an account of the organization: none of its keys signs any more.
#[utoipa::path(post, path = "/organizations/{id}/members/{account}/disable", tag = "organization",
    params(("id" = OrganizationId, Path), ("account" = AccountId, Path)),
    responses((status = 200, body = OrganizationMember)))]
async fn disable(
    State(hub): State<Hub>,
    caller: Caller,
    Ids(id, account): Ids<OrganizationId, AccountId>,
) -> Result<Json<OrganizationMember>, HubError> {
    app::organizations::disable(&hub, &caller, id, account).await.map(Json)
}

/// Takes an account out of the organization and out of its projects; the account itself stays.
#[utoipa::path(delete, path = "/organizations/{id}/members/{account}", tag = "organization",
    params(("id" = OrganizationId, Path), ("account" = AccountId, Path)),
    responses((status = 200, body = OrganizationMember)))]
async fn remove(
    State(hub): State<Hub>,
    caller: Caller,
    Ids(id, account): Ids<OrganizationId, AccountId>,
) -> Result<Json<OrganizationMember>, HubError> {
    app::organizations::remove(&hub, &caller, id, account).await.map(Json)
}

/// Changes the plan. For operators.
#[utoipa::path(put, path = "/organizations/{id}/plan", tag = "organization",
    params(("id" = OrganizationId, Path)), request_body = SetPlan,
    responses((status = 200, body = Organization)))]
async fn set_plan(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<OrganizationId>,
    Body(body): Body<SetPlan>,
) -> Result<Json<Organization>, HubError> {
    app::organizations::set_plan(&hub, &caller, id, body.plan).await.map(Json)
}

/// A stretch of time, as queries name it.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Between {
    /// From this moment on.
    #[param(value_type = Option<String>, format = DateTime)]
    pub(super) from: Option<Time>,
    /// Before this moment.
    #[param(value_type = Option<String>, format = DateTime)]
    pub(super) to: Option<Time>,
}

/// What was done in the organization, oldest first: in its projects, about its membership, and by its members about their
/// own accounts. For its administrators and auditors, as are the lists below.
#[utoipa::path(get, path = "/organizations/{id}/events", tag = "organization",
    params(("id" = OrganizationId, Path), Between, PageParams),
    responses((status = 200, body = Page<Event>)))]
async fn events(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<OrganizationId>,
    Params(Between { from, to }): Params<Between>,
    paging: Paging,
) -> Result<Json<Page<Event>>, HubError> {
    let (after, rows) = (&paging.after, paging.rows());
    let rows =
        app::organizations::events(&hub, &caller, id, Period { from, to }, after, rows).await?;
    Ok(Json(paging.page(rows, |event| event.id.to_string())))
}

/// Its accounts and when each was last used.
#[utoipa::path(get, path = "/organizations/{id}/accounts", tag = "organization",
    params(("id" = OrganizationId, Path), PageParams),
    responses((status = 200, body = Page<AuditedAccount>)))]
async fn accounts(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<OrganizationId>,
    paging: Paging,
) -> Result<Json<Page<AuditedAccount>>, HubError> {
    let rows =
        app::organizations::accounts(&hub, &caller, id, &paging.after, paging.rows()).await?;
    Ok(Json(paging.page(rows, |row| row.account.to_string())))
}

/// The keys that sign for its accounts.
#[utoipa::path(get, path = "/organizations/{id}/keys", tag = "organization",
    params(("id" = OrganizationId, Path), PageParams),
    responses((status = 200, body = Page<AuditedKey>)))]
async fn keys(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<OrganizationId>,
    paging: Paging,
) -> Result<Json<Page<AuditedKey>>, HubError> {
    let rows = app::organizations::keys(&hub, &caller, id, &paging.after, paging.rows()).await?;
    Ok(Json(paging.page(rows, |row| row.key.to_string())))
}

/// Its projects: who holds their keys, and how much is in them; no names.
#[utoipa::path(get, path = "/organizations/{id}/projects", tag = "organization",
    params(("id" = OrganizationId, Path), PageParams),
    responses((status = 200, body = Page<AuditedProject>)))]
async fn projects(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<OrganizationId>,
    paging: Paging,
) -> Result<Json<Page<AuditedProject>>, HubError> {
    let rows =
        app::organizations::projects(&hub, &caller, id, &paging.after, paging.rows()).await?;
    Ok(Json(paging.page(rows, |row| row.project.to_string())))
}

/// Who may do what in its projects.
#[utoipa::path(get, path = "/organizations/{id}/rights", tag = "organization",
    params(("id" = OrganizationId, Path), PageParams),
    responses((status = 200, body = Page<AuditedRight>)))]
async fn rights(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<OrganizationId>,
    paging: Paging,
) -> Result<Json<Page<AuditedRight>>, HubError> {
    let rows = app::organizations::rights(&hub, &caller, id, &paging.after, paging.rows()).await?;
    Ok(Json(paging.page(rows, |row| format!("{}{}", row.project, row.account))))
}

/// How its keys are held.
#[utoipa::path(get, path = "/organizations/{id}/custody", tag = "organization",
    params(("id" = OrganizationId, Path)), responses((status = 200, body = OrganizationCustody)))]
async fn custody(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<OrganizationId>,
) -> Result<Json<OrganizationCustody>, HubError> {
    app::organizations::custody(&hub, &caller, id).await.map(Json)
}

/// The table of who may do what.
#[utoipa::path(get, path = "/permissions", tag = "organization",
    responses((status = 200, body = PermissionTable)))]
async fn permissions(caller: Caller) -> Result<Json<PermissionTable>, HubError> {
    app::organizations::permissions(&caller).map(Json)
}
