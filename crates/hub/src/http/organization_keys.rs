//! Keys that organizations hold themselves.

use api::{
    KeyPolicy, KeyPolicyForm, KeyTest, LeaveOrganizationKey, OrganizationId, OrganizationKeyStatus,
    RecoveryCopy, RecoveryStored, RotateOrganizationKey, Rotation, SetOrganizationKey,
    TestOrganizationKey,
};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Id, Params};
use crate::HubError;
use crate::app::{self, Caller};
use crate::state::Hub;

/// The routes of this noun.
pub(crate) fn routes() -> OpenApiRouter<Hub> {
    OpenApiRouter::default()
        .routes(routes!(status, set))
        .routes(routes!(policy))
        .routes(routes!(test))
        .routes(routes!(rotate))
        .routes(routes!(leave))
        .routes(routes!(use_once))
        .routes(routes!(recovery))
        .routes(routes!(recovery_stored))
}

/// How the organization's key stands: for its administrators and auditors.
#[utoipa::path(get, path = "/organizations/{id}/key", tag = "organization",
    params(("id" = OrganizationId, Path)), responses((status = 200, body = OrganizationKeyStatus)))]
async fn status(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<OrganizationId>,
) -> Result<Json<OrganizationKeyStatus>, HubError> {
    app::organization_keys::status(&hub, &caller, id).await.map(Json)
}

/// What is granted, to whom, and in which form that is wanted.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Granted {
    /// In which form; `aws-json` if absent.
    pub(crate) form: Option<KeyPolicyForm>,
    /// The key: its ARN, or its URL in a vault of Azure's.
    pub(crate) key: Option<String>,
    /// Who is granted it: the ARN of a user or role, or the object id of an application in Azure.
    pub(crate) principal: Option<String>,
}

/// The least that the hub's identity must be granted at the key service, to paste there.
#[utoipa::path(get, path = "/organizations/{id}/key/policy", tag = "organization",
    params(("id" = OrganizationId, Path), Granted), responses((status = 200, body = KeyPolicy)))]
async fn policy(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<OrganizationId>,
    Params(Granted { form, key, principal }): Params<Granted>,
) -> Result<Json<KeyPolicy>, HubError> {
    let (form, key, principal) =
        (form.unwrap_or_default(), key.unwrap_or_default(), principal.unwrap_or_default());
    app::organization_keys::policy(&hub, &caller, id, form, &key, &principal).await.map(Json)
}

/// Tests a key and takes it in use: the first one, or another instead of the one before, by wrapping anew what that one opens. For
/// administrators of an organization with the enterprise plan.
#[utoipa::path(put, path = "/organizations/{id}/key", tag = "organization",
    params(("id" = OrganizationId, Path)), request_body = SetOrganizationKey,
    responses((status = 200, body = KeyTest)))]
async fn set(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<OrganizationId>,
    Body(body): Body<SetOrganizationKey>,
) -> Result<Json<KeyTest>, HubError> {
    app::organization_keys::set(&hub, &caller, id, body).await.map(Json)
}

/// Tests a key, the one in use or another, and changes nothing.
#[utoipa::path(post, path = "/organizations/{id}/key/test", tag = "organization",
    params(("id" = OrganizationId, Path)), request_body = TestOrganizationKey,
    responses((status = 200, body = KeyTest)))]
async fn test(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<OrganizationId>,
    Body(body): Body<TestOrganizationKey>,
) -> Result<Json<KeyTest>, HubError> {
    app::organization_keys::test(&hub, &caller, id, body).await.map(Json)
}

/// Begins a rotation, of the customer's key or of the organization data key.
#[utoipa::path(post, path = "/organizations/{id}/key/rotate", tag = "organization",
    params(("id" = OrganizationId, Path)), request_body = RotateOrganizationKey,
    responses((status = 200, body = Rotation)))]
async fn rotate(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<OrganizationId>,
    Body(body): Body<RotateOrganizationKey>,
) -> Result<Json<Rotation>, HubError> {
    app::organization_keys::rotate(&hub, &caller, id, body).await.map(Json)
}

/// Leaves the customer's key: the platform holds the organization's keys from then on, and the operator can read what is under them.
/// Dataset keys are wrapped anew in the background; nothing else is rewritten, and everything answers meanwhile. For administrators.
#[utoipa::path(post, path = "/organizations/{id}/key/leave", tag = "organization",
    params(("id" = OrganizationId, Path)), request_body = LeaveOrganizationKey,
    responses((status = 200, body = Rotation)))]
async fn leave(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<OrganizationId>,
    Body(body): Body<LeaveOrganizationKey>,
) -> Result<Json<Rotation>, HubError> {
    app::organization_keys::leave(&hub, &caller, id, body).await.map(Json)
}

/// Uses the key once, as a read would: nothing is given, and 423 says that the key was taken away.
#[utoipa::path(post, path = "/organizations/{id}/key/use", tag = "organization",
    params(("id" = OrganizationId, Path)), responses((status = 204)))]
async fn use_once(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<OrganizationId>,
) -> Result<StatusCode, HubError> {
    app::organization_keys::use_once(&hub, &caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The recovery copy: the organization's keys, sealed to the customer's offline key. For administrators.
#[utoipa::path(get, path = "/organizations/{id}/key/recovery", tag = "organization",
    params(("id" = OrganizationId, Path)), responses((status = 200, body = RecoveryCopy)))]
async fn recovery(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<OrganizationId>,
) -> Result<Json<RecoveryCopy>, HubError> {
    app::organization_keys::recovery(&hub, &caller, id).await.map(Json)
}

/// Says that the newest recovery copy is in the customer's hands.
#[utoipa::path(post, path = "/organizations/{id}/key/recovery/stored", tag = "organization",
    params(("id" = OrganizationId, Path)), request_body = RecoveryStored, responses((status = 204)))]
async fn recovery_stored(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<OrganizationId>,
    Body(body): Body<RecoveryStored>,
) -> Result<StatusCode, HubError> {
    app::organization_keys::recovery_stored(&hub, &caller, id, body).await?;
    Ok(StatusCode::NO_CONTENT)
}
