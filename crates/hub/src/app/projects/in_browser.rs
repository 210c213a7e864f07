//! Projects that people make in a browser, which has no key: the hub draws the project's own key and seals its name, as it may
//! where it could open both anyway. Never where the owner alone holds the key: that card is signed on a device of theirs.

use api::{
    Bytes, CreateProject, Custodian, ErrorCode, Organization, OrganizationId, Project, ProjectId,
};
use seal::DatasetKey;
use seal::label::seal_label;
use seal::recipient::wrap_to;

use super::{NAME, create, custodian_for, own_context};
use crate::HubError;
use crate::app::accounts::name;
use crate::app::{Caller, organizations};
use crate::data;
use crate::policy::Action;
use crate::state::Hub;

/// What a person asks for on a page.
pub(crate) struct Wanted {
    /// The id that the page drew: the same form sent twice makes one project.
    pub(crate) id: ProjectId,
    /// What it is called.
    pub(crate) name: String,
    /// Who shall hold the key.
    pub(crate) custodian: Custodian,
    /// The organization that it shall belong to, if any.
    pub(crate) organization: Option<OrganizationId>,
}

/// The organization of a person who makes a project.
pub(crate) struct Holders {
    /// The organization.
    pub(crate) organization: Organization,
    /// Whether its own key can hold the project's, or why it cannot.
    pub(crate) own_key: Result<(), HubError>,
}

/// Whether the caller makes projects at all: an auditor does not.
pub(crate) fn may_create(caller: &Caller) -> Result<(), HubError> {
    caller.may_here(Action::ProjectCreate)
}

/// Who beside the platform can hold the key of a project that the caller makes: the caller's organization, if there is one.
pub(crate) async fn holders(hub: &Hub, caller: &Caller) -> Result<Option<Holders>, HubError> {
    may_create(caller)?;
    let mut reader = hub.db.read().await?;
    let Some(belongs) = data::organizations::belongs(&mut reader, caller.account()).await? else {
        return Ok(None);
    };
    let id = belongs.organization;
    let found = data::organizations::find(&mut reader, id).await?;
    let organization = found.ok_or_else(|| HubError::not_found("organization", id))?;
    let asked =
        organizations::may_make_project(&mut reader, caller, id, Custodian::Organization).await;
    match asked {
        Err(error) if error.code() == ErrorCode::Internal => Err(error),
        own_key => Ok(Some(Holders { organization, own_key })),
    }
}

/// Makes a project for a person in a browser.
pub(crate) async fn create_for(
    hub: &Hub,
    caller: &Caller,
    wanted: Wanted,
) -> Result<Project, HubError> {
    let Wanted { id, name: called, custodian, organization } = wanted;
    may_create(caller)?;
    let called = name(&called, "project")?;
    if custodian == Custodian::Owner {
        return Err(HubError::new(
            ErrorCode::KeyRefused,
            "the card of a project whose owner alone holds the key is signed on the owner's device",
        )
        .hint("make it in the authenticator, or with `chorion project create --custodian owner`"));
    }
    let holder = custodian_for(hub, caller, custodian, organization).await?;
    let recipient = holder.recipient().ok_or_else(|| {
        HubError::internal("a project was not made", "its custodian names no recipient")
    })?;
    let failed = |e: &dyn std::error::Error| {
        HubError::internal("the name of a project was not sealed", e.to_string())
    };
    let key = DatasetKey::generate().map_err(|e| failed(&e))?;
    let wrapped = wrap_to(recipient, &own_context(id).bytes(), &key).map_err(|e| failed(&e))?;
    let label = seal_label(&key, NAME, called.as_bytes()).map_err(|e| failed(&e))?;
    // The key is another each time; what was asked for says whether it is the same form.
    let asked = serde_json::to_vec(&(id, &called, custodian, organization));
    let made_by = proof::sha256(&asked.map_err(|e| failed(&e))?);
    let body = CreateProject {
        id,
        custodian,
        wrapped_key: Bytes(wrapped),
        label: Bytes(label),
        card: None,
        organization,
    };
    create(hub, caller, body, made_by).await
}
