//! Organizations: accounts that belong together, each with one role, and the projects that are the organization's.
//!
//! A role alone opens no data: data is a matter of projects, and of who is a member there. An administrator cares for the
//! accounts; an auditor reads what was done, who may do what, and how keys are held, and can be a member of no project. What
//! an auditor reads has ids, words of ours, moments and counts, and the names of accounts: never a name that somebody gave to
//! a project, a sample or a file, and never what callers wrote as their purpose.

use api::{
    Account, AccountId, AuditedAccount, AuditedKey, AuditedProject, AuditedRight, Belongs,
    CreateOrganization, Custodian, ErrorCode, Event, Invitation, InviteMember, KeyService,
    KeyStanding, NoticeKind, Organization, OrganizationCustody, OrganizationId, OrganizationMember,
    OwnKey, PermissionTable, Plan, Role,
};

use super::Caller;
use super::accounts::{NewCode, name, new_code};
use super::caller::object;
use crate::HubError;
use crate::data::events::Period;
use crate::data::{self, Connection};
use crate::policy::{self, Action, Standing};
use crate::state::Hub;

/// Whether the caller may make a project of this organization with this custodian.
pub(super) async fn may_make_project(
    at: &mut Connection,
    caller: &Caller,
    id: OrganizationId,
    custodian: Custodian,
) -> Result<(), HubError> {
    let found = may(at, caller, Action::OrganizationProject, id).await?;
    if custodian == Custodian::Organization && found.plan != Plan::Enterprise {
        return Err(not_in_plan(&found, Action::OrganizationProject));
    }
    if custodian == Custodian::Organization {
        super::organization_keys::holds_its_own(at, id).await?;
    }
    Ok(())
}

/// What an organization's plan does not have.
pub(super) fn not_in_plan(found: &Organization, action: Action) -> HubError {
    HubError::new(
        ErrorCode::NotInPlan,
        format!(
            "bring-your-own-key needs the enterprise plan, and organization {} has the {} plan",
            found.id,
            found.plan.as_str()
        ),
    )
    .hint("the operator of this hub changes it: `chorion org plan`")
    .refusing(action.act(), object("organization", found.id), None)
}

/// Asks the table whether the caller may do `action` to the organization.
pub(super) async fn may(
    at: &mut Connection,
    caller: &Caller,
    action: Action,
    id: OrganizationId,
) -> Result<Organization, HubError> {
    let found = data::organizations::find(at, id).await?;
    let found = found.ok_or_else(|| HubError::not_found("organization", id))?;
    let belongs = data::organizations::belongs(at, caller.account()).await?;
    let standing = match belongs.filter(|belongs| belongs.organization == id) {
        Some(belongs) => Standing::Organization { role: Some(belongs.role) },
        None if caller.is_operator() => Standing::Organization { role: None },
        None => Standing::Stranger,
    };
    caller.may(action, standing, "organization", id, None)?;
    Ok(found)
}

/// Makes an organization.
pub(crate) async fn create(
    hub: &Hub,
    caller: &Caller,
    body: CreateOrganization,
) -> Result<Organization, HubError> {
    caller.may_here(Action::OrganizationCreate)?;
    let new = Organization {
        id: OrganizationId::generate(),
        name: name(&body.name, "organization")?,
        plan: body.plan,
        created: caller.at,
        recipient: None,
    };
    let mut tx = hub.db.write().await?;
    data::organizations::insert(&mut tx, &new).await?;
    let act = Action::OrganizationCreate.act();
    let event = caller.event(act, object("organization", new.id), None);
    data::events::record_for(&mut tx, new.id, &event).await?;
    tx.commit().await?;
    Ok(new)
}

/// The caller's organization; all of them for an operator.
pub(crate) async fn list(
    hub: &Hub,
    caller: &Caller,
    after: &str,
    rows: i64,
) -> Result<Vec<Organization>, HubError> {
    caller.may_here(Action::OrganizationList)?;
    let of = (!caller.is_operator()).then(|| caller.account());
    data::organizations::list(&mut *hub.db.read().await?, of, after, rows).await
}

/// One organization.
pub(crate) async fn show(
    hub: &Hub,
    caller: &Caller,
    id: OrganizationId,
) -> Result<Organization, HubError> {
    may(&mut *hub.db.read().await?, caller, Action::OrganizationSee, id).await
}

/// Changes what an organization has agreed on with the operator.
pub(crate) async fn set_plan(
    hub: &Hub,
    caller: &Caller,
    id: OrganizationId,
    plan: Plan,
) -> Result<Organization, HubError> {
    let mut tx = hub.db.write().await?;
    let mut found = may(&mut tx, caller, Action::OrganizationPlan, id).await?;
    if found.plan != plan {
        data::organizations::set_plan(&mut tx, id, plan).await?;
        found.plan = plan;
        let act = Action::OrganizationPlan.act();
        let event = caller.event(act, object("organization", id), None);
        data::events::record_for(&mut tx, id, &event).await?;
    }
    tx.commit().await?;
    Ok(found)
}

/// Its accounts.
pub(crate) async fn members(
    hub: &Hub,
    caller: &Caller,
    id: OrganizationId,
    after: &str,
    rows: i64,
) -> Result<Vec<OrganizationMember>, HubError> {
    let mut reader = hub.db.read().await?;
    may(&mut reader, caller, Action::OrganizationSee, id).await?;
    data::organizations::members(&mut reader, id, after, rows).await
}

/// Makes an account of the organization, and the code that enrols its first key.
pub(crate) async fn invite(
    hub: &Hub,
    caller: &Caller,
    id: OrganizationId,
    body: InviteMember,
) -> Result<Invitation, HubError> {
    let mut tx = hub.db.write().await?;
    may(&mut tx, caller, Action::OrganizationInvite, id).await?;
    let account = Account {
        id: AccountId::generate(),
        name: name(&body.name, "account")?,
        operator: false,
        created: caller.at,
        disabled: None,
        belongs: Some(Belongs { organization: id, role: body.role }),
    };
    data::accounts::insert(&mut tx, &account).await?;
    data::organizations::set(&mut tx, id, account.id, body.role, caller.at).await?;
    let NewCode { code, expires } = new_code(&mut tx, Some(account.id), caller.at).await?;
    let act = Action::OrganizationInvite.act();
    let event = caller.event(act, object("account", account.id), None);
    data::events::record_for(&mut tx, id, &event).await?;
    tx.commit().await?;
    Ok(Invitation { account, code, expires })
}

/// Gives an account of the organization another role. An account of nobody's comes in by an operator alone, who answers for
/// its having agreed: an administrator can disable what belongs to the organization.
pub(crate) async fn set_role(
    hub: &Hub,
    caller: &Caller,
    id: OrganizationId,
    account: AccountId,
    role: Role,
) -> Result<OrganizationMember, HubError> {
    let mut tx = hub.db.write().await?;
    let belongs = data::organizations::belongs(&mut tx, account).await?;
    let inside = belongs.is_some_and(|belongs| belongs.organization == id);
    let action = if inside { Action::OrganizationRole } else { Action::OrganizationAdd };
    may(&mut tx, caller, action, id).await?;
    let gone = || HubError::not_found("account", account);
    let found = data::accounts::find(&mut tx, account).await?.ok_or_else(gone)?;
    if belongs.is_some() && !inside {
        return Err(HubError::conflict(format!(
            "account {account} belongs to another organization"
        ))
        .hint("an account belongs to one at most: invite the person anew"));
    }
    if role == Role::Auditor && data::organizations::has_projects(&mut tx, account).await? {
        return Err(HubError::conflict(format!(
            "account {account} has projects, and an auditor has none"
        ))
        .hint("hand its projects over and take it out of those of others first"));
    }
    let counts = inside && found.disabled.is_none();
    let was = belongs.filter(|_| counts).map(|belongs| belongs.role);
    stays_administered(&mut tx, id, was, Some(role)).await?;
    data::organizations::set(&mut tx, id, account, role, caller.at).await?;
    let event = caller.event(action.act(), object("account", account), None);
    data::events::record_for(&mut tx, id, &event).await?;
    if belongs.map(|belongs| belongs.role) != Some(role) {
        let kind = NoticeKind::RoleChanged;
        super::notices::of_organization(&mut tx, kind, account, id, caller).await?;
    }
    let member = data::organizations::member(&mut tx, id, account).await?.ok_or_else(gone)?;
    tx.commit().await?;
    tracing::info!(account = %found.id, role = role.as_str(), "an account has a role in an organization");
    Ok(member)
}

/// Disables an account of the organization, from its next call on.
pub(crate) async fn disable(
    hub: &Hub,
    caller: &Caller,
    id: OrganizationId,
    account: AccountId,
) -> Result<OrganizationMember, HubError> {
    let mut tx = hub.db.write().await?;
    may(&mut tx, caller, Action::OrganizationDisable, id).await?;
    let gone = || HubError::not_found("account", account);
    let mut member = data::organizations::member(&mut tx, id, account).await?.ok_or_else(gone)?;
    let found = data::accounts::find(&mut tx, account).await?.ok_or_else(gone)?;
    if account == caller.account() || found.operator {
        return Err(HubError::conflict(format!("account {account} is not disabled from here"))
            .hint("nobody disables themselves, and operators are disabled by operators"));
    }
    if member.disabled.is_none() {
        stays_administered(&mut tx, id, Some(member.role), None).await?;
        data::accounts::disable(&mut tx, account, caller.at).await?;
        member.disabled = Some(caller.at);
        data::codes::remove_for(&mut tx, account).await?;
        data::browsers::end_all(&mut tx, account).await?;
        let act = Action::OrganizationDisable.act();
        let event = caller.event(act, object("account", account), None);
        data::events::record_for(&mut tx, id, &event).await?;
    }
    tx.commit().await?;
    Ok(member)
}

/// Takes an account out of the organization and out of its projects. The account itself stays its person's.
pub(crate) async fn remove(
    hub: &Hub,
    caller: &Caller,
    id: OrganizationId,
    account: AccountId,
) -> Result<OrganizationMember, HubError> {
    let mut tx = hub.db.write().await?;
    may(&mut tx, caller, Action::OrganizationRemove, id).await?;
    let gone = || HubError::not_found("account", account);
    let member = data::organizations::member(&mut tx, id, account).await?.ok_or_else(gone)?;
    if member.disabled.is_none() {
        stays_administered(&mut tx, id, Some(member.role), None).await?;
    }
    let owned = data::organizations::owned(&mut tx, id, account).await?;
    if owned > 0 {
        return Err(HubError::conflict(format!(
            "account {account} owns {owned} projects of organization {id}"
        ))
        .hint("it hands them over first: `chorion project transfer offer`"));
    }
    data::events::keep_acts_of_leaver(&mut tx, id, account).await?;
    data::organizations::remove(&mut tx, id, account).await?;
    let event = caller.event(Action::OrganizationRemove.act(), object("account", account), None);
    data::events::record_for(&mut tx, id, &event).await?;
    let kind = NoticeKind::OrganizationLeft;
    super::notices::of_organization(&mut tx, kind, account, id, caller).await?;
    tx.commit().await?;
    Ok(member)
}

/// An organization that has an administrator keeps one.
async fn stays_administered(
    at: &mut Connection,
    id: OrganizationId,
    was: Option<Role>,
    becomes: Option<Role>,
) -> Result<(), HubError> {
    let ends = was == Some(Role::Administrator) && becomes != Some(Role::Administrator);
    if ends && data::organizations::administrators(at, id).await? <= 1 {
        return Err(HubError::conflict(format!("organization {id} would have no administrator"))
            .hint("make somebody else administrator first"));
    }
    Ok(())
}

/// What was done in the organization.
pub(crate) async fn events(
    hub: &Hub,
    caller: &Caller,
    id: OrganizationId,
    period: Period,
    after: &str,
    rows: i64,
) -> Result<Vec<Event>, HubError> {
    let mut reader = hub.db.read().await?;
    may(&mut reader, caller, Action::OrganizationEvents, id).await?;
    data::events::of_organization(&mut reader, id, period, after, rows).await
}

/// Its accounts and when each was last used.
pub(crate) async fn accounts(
    hub: &Hub,
    caller: &Caller,
    id: OrganizationId,
    after: &str,
    rows: i64,
) -> Result<Vec<AuditedAccount>, HubError> {
    let mut reader = hub.db.read().await?;
    may(&mut reader, caller, Action::OrganizationAudit, id).await?;
    data::organizations::accounts(&mut reader, id, after, rows, caller.at).await
}

/// The keys that sign for its accounts.
pub(crate) async fn keys(
    hub: &Hub,
    caller: &Caller,
    id: OrganizationId,
    after: &str,
    rows: i64,
) -> Result<Vec<AuditedKey>, HubError> {
    let mut reader = hub.db.read().await?;
    may(&mut reader, caller, Action::OrganizationAudit, id).await?;
    data::organizations::keys(&mut reader, id, after, rows).await
}

/// Its projects: who holds their keys, and nothing of what is in them but how much.
pub(crate) async fn projects(
    hub: &Hub,
    caller: &Caller,
    id: OrganizationId,
    after: &str,
    rows: i64,
) -> Result<Vec<AuditedProject>, HubError> {
    let mut reader = hub.db.read().await?;
    may(&mut reader, caller, Action::OrganizationAudit, id).await?;
    data::organizations::projects(&mut reader, id, after, rows).await
}

/// Who may do what in its projects.
pub(crate) async fn rights(
    hub: &Hub,
    caller: &Caller,
    id: OrganizationId,
    after: &str,
    rows: i64,
) -> Result<Vec<AuditedRight>, HubError> {
    let mut reader = hub.db.read().await?;
    may(&mut reader, caller, Action::OrganizationAudit, id).await?;
    data::organizations::rights(&mut reader, id, after, rows).await
}

/// Whether it has a key of its own.
pub(crate) async fn custody(
    hub: &Hub,
    caller: &Caller,
    id: OrganizationId,
) -> Result<OrganizationCustody, HubError> {
    let mut reader = hub.db.read().await?;
    let found = may(&mut reader, caller, Action::OrganizationAudit, id).await?;
    let service = data::organization_keys::service(&mut reader, id).await?;
    let plan = found.plan;
    let (own_key, sentence) = match (plan, service) {
        (Plan::Standard, None) => (
            OwnKey::NotInPlan,
            "bring-your-own-key needs the enterprise plan: this organization's keys are held by the platform"
                .to_owned(),
        ),
        (Plan::Enterprise, None) => (
            OwnKey::NotSet,
            "this organization has no key of its own yet, and its keys are held by the platform: `chorion org kms set`"
                .to_owned(),
        ),
        (_, Some(service)) if service.service == KeyService::Platform => (
            OwnKey::NotSet,
            format!(
                "this organization has left its own key at {}, and its keys are held by the platform",
                service.since
            ),
        ),
        (_, Some(service)) => {
            let (held, since) = (service.service.provider().words(), service.since);
            match service.standing {
                KeyStanding::InForce => (
                    OwnKey::InForce,
                    format!("projects in custody of the organization are under its own key, held by {held}, in force since {since}"),
                ),
                KeyStanding::TakenAway => (
                    OwnKey::TakenAway,
                    format!("the organization has taken its key away, held by {held}, since {since}: nothing under it opens"),
                ),
                KeyStanding::Unreachable => (
                    OwnKey::Unreachable,
                    format!("the service of the organization's key, {held}, does not answer since {since}"),
                ),
            }
        }
    };
    Ok(OrganizationCustody { plan, own_key, sentence })
}

/// The table of who may do what, which is the same for everybody.
pub(crate) fn permissions(caller: &Caller) -> Result<PermissionTable, HubError> {
    caller.may_here(Action::PermissionSee)?;
    Ok(policy::table())
}
