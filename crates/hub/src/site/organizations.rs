//! Organizations: whose accounts these are and what each is there; inviting, another role, disabling, taking out.
//!
//! What is set here is about accounts alone: a role opens no data. The one-time code of an invitation is shown once, in the answer to
//! the form, and is in no address.

use api::{
    AccountId, ErrorCode, Invitation, InviteMember, Organization, OrganizationId,
    OrganizationMember, Plan, Role,
};
use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::datasets::ROWS;
use super::guard::{Form, FreshSession, SignedIn};
use super::sign_in::Nothing;
use super::view::{Frame, Refusal, again, moment, page as draw};
use super::words;
use crate::HubError;
use crate::app;
use crate::app::sign_in::person as account_of;
use crate::http::extract::{Id, Ids};
use crate::http::page::Paging;
use crate::state::Hub;

pub(super) const SECTION: &str = "/organizations";
/// Every role, as forms offer them.
const ROLES: [Role; 4] = [Role::Administrator, Role::Clinician, Role::Lab, Role::Auditor];

struct OrganizationRow {
    id: OrganizationId,
    name: String,
    detail: String,
}

impl From<Organization> for OrganizationRow {
    fn from(found: Organization) -> Self {
        let detail = format!("{}; since {}", plan(found.plan), moment(found.created));
        Self { id: found.id, name: found.name, detail }
    }
}

const fn plan(plan: Plan) -> &'static str {
    match plan {
        Plan::Standard => "standard plan: keys are held by this hub or by owners",
        Plan::Enterprise => "enterprise plan: it may hold a key of its own",
    }
}

#[derive(Template)]
#[template(path = "organizations.html")]
struct ListPage {
    frame: Frame,
    rows: Vec<OrganizationRow>,
    next: Option<String>,
    operator: bool,
}

/// The caller's organization at once; the list for operators, and for who belongs to none.
pub(super) async fn list(
    State(hub): State<Hub>,
    person: SignedIn,
    paging: Paging,
) -> Result<Response, HubError> {
    let operator = person.caller.is_operator();
    if let (false, Some(belongs)) = (operator, account_of(&person.caller)?.belongs) {
        return Ok(Redirect::to(&at(belongs.organization)).into_response());
    }
    let paging = paging.at_most(ROWS);
    let rows = app::organizations::list(&hub, &person.caller, &paging.after, paging.rows()).await?;
    let page = paging.page(rows, |organization| organization.id.to_string());
    let page = ListPage {
        frame: Frame::of("Organizations", SECTION, &person.visit),
        rows: page.items.into_iter().map(OrganizationRow::from).collect(),
        next: page.next,
        operator,
    };
    draw(&person.visit, &page)
}

fn at(id: OrganizationId) -> String {
    format!("/organizations/{id}")
}

fn first(id: OrganizationId) -> Paging {
    Paging::first(at(id))
}

/// A role that a form offers.
struct Choice {
    value: &'static str,
    words: &'static str,
}

struct Row {
    account: AccountId,
    name: String,
    role: &'static str,
    words: &'static str,
    joined: String,
    disabled: Option<String>,
    is_you: bool,
}

impl Row {
    fn new(member: OrganizationMember, own: AccountId) -> Self {
        Self {
            account: member.account,
            role: member.role.as_str(),
            words: words::role(member.role),
            joined: moment(member.joined),
            disabled: member.disabled.map(moment),
            is_you: member.account == own,
            name: member.name,
        }
    }
}

/// An invitation as it is shown, once.
struct Invited {
    name: String,
    code: String,
    until: String,
}

#[derive(Template)]
#[template(path = "organization.html")]
struct OnePage {
    frame: Frame,
    refusal: Option<Refusal>,
    id: OrganizationId,
    name: String,
    plan: &'static str,
    is_enterprise: bool,
    custody: Option<String>,
    rows: Vec<Row>,
    next: Option<String>,
    choices: Vec<Choice>,
    invited: Option<Invited>,
    typed: String,
    /// Whether the caller invites, gives roles, disables and takes out.
    cares: bool,
    /// Whether the caller is an administrator or auditor of it, who see how its key stands.
    sees_key: bool,
}

/// What came of a form, to be said above the list.
enum Said<'a> {
    Nothing,
    Refused(&'a HubError, String),
    Invited(Invited),
}

async fn page_of(
    hub: &Hub,
    person: &SignedIn,
    id: OrganizationId,
    paging: Paging,
    said: Said<'_>,
) -> Result<OnePage, HubError> {
    let caller = &person.caller;
    let found = app::organizations::show(hub, caller, id).await?;
    let paging = paging.at_most(ROWS);
    let rows = app::organizations::members(hub, caller, id, &paging.after, paging.rows()).await?;
    let page = paging.page(rows, |member| member.account.to_string());
    let custody = match app::organizations::custody(hub, caller, id).await {
        Ok(custody) => Some(custody.sentence),
        // For administrators and auditors alone.
        Err(error) if error.code() == ErrorCode::Forbidden => None,
        Err(error) => return Err(error),
    };
    let belongs = account_of(caller)?.belongs.filter(|belongs| belongs.organization == id);
    let is_administrator = belongs.is_some_and(|belongs| belongs.role == Role::Administrator);
    let (refusal, typed, invited) = match said {
        Said::Nothing => (None, String::new(), None),
        Said::Refused(error, typed) => (Some(Refusal::of(error)), typed, None),
        Said::Invited(invited) => (None, String::new(), Some(invited)),
    };
    Ok(OnePage {
        frame: Frame::of("Organization", SECTION, &person.visit),
        refusal,
        id,
        name: found.name,
        plan: plan(found.plan),
        is_enterprise: found.plan == Plan::Enterprise,
        sees_key: custody.is_some(),
        custody,
        rows: page.items.into_iter().map(|member| Row::new(member, caller.account())).collect(),
        next: page.next,
        choices: ROLES
            .into_iter()
            .map(|role| Choice { value: role.as_str(), words: words::role(role) })
            .collect(),
        invited,
        typed,
        cares: is_administrator || caller.is_operator(),
    })
}

pub(super) async fn page(
    State(hub): State<Hub>,
    person: SignedIn,
    Id(id): Id<OrganizationId>,
    paging: Paging,
) -> Result<Response, HubError> {
    draw(&person.visit, &page_of(&hub, &person, id, paging, Said::Nothing).await?)
}

/// Who is invited, and as what.
#[derive(Deserialize)]
pub(super) struct NewMember {
    name: String,
    role: Role,
}

pub(super) async fn invite(
    State(hub): State<Hub>,
    person: FreshSession,
    Id(id): Id<OrganizationId>,
    Form(NewMember { name, role }): Form<NewMember>,
) -> Result<Response, HubError> {
    let body = InviteMember { name: name.clone(), role };
    match app::organizations::invite(&hub, &person.caller, id, body).await {
        Ok(Invitation { account, code, expires }) => {
            let invited = Invited { name: account.name, code, until: moment(expires) };
            let page = page_of(&hub, &person, id, first(id), Said::Invited(invited)).await?;
            draw(&person.visit, &page)
        }
        Err(error) => refused(&hub, &person, id, error, name).await,
    }
}

/// Another role.
#[derive(Deserialize)]
pub(super) struct OtherRole {
    role: Role,
}

pub(super) async fn set_role(
    State(hub): State<Hub>,
    person: FreshSession,
    Ids(id, account): Ids<OrganizationId, AccountId>,
    Form(OtherRole { role }): Form<OtherRole>,
) -> Result<Response, HubError> {
    let done = app::organizations::set_role(&hub, &person.caller, id, account, role).await;
    changed(&hub, &person, id, done).await
}

pub(super) async fn disable(
    State(hub): State<Hub>,
    person: FreshSession,
    Ids(id, account): Ids<OrganizationId, AccountId>,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Response, HubError> {
    let done = app::organizations::disable(&hub, &person.caller, id, account).await;
    changed(&hub, &person, id, done).await
}

pub(super) async fn remove(
    State(hub): State<Hub>,
    person: FreshSession,
    Ids(id, account): Ids<OrganizationId, AccountId>,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Response, HubError> {
    let done = app::organizations::remove(&hub, &person.caller, id, account).await;
    // Who takes themselves out does not see it any more.
    if done.is_ok() && account == person.caller.account() && !person.caller.is_operator() {
        return Ok(Redirect::to(SECTION).into_response());
    }
    changed(&hub, &person, id, done).await
}

/// Goes back to the organization, or says there why it was not changed.
async fn changed(
    hub: &Hub,
    person: &SignedIn,
    id: OrganizationId,
    done: Result<OrganizationMember, HubError>,
) -> Result<Response, HubError> {
    match done {
        Ok(_) => Ok(Redirect::to(&at(id)).into_response()),
        Err(error) => refused(hub, person, id, error, String::new()).await,
    }
}

async fn refused(
    hub: &Hub,
    person: &SignedIn,
    id: OrganizationId,
    error: HubError,
    typed: String,
) -> Result<Response, HubError> {
    let page = page_of(hub, person, id, first(id), Said::Refused(&error, typed)).await?;
    again(&person.visit, error, &page)
}
