//! Who belongs to a project: adding, changing and removing members, leaving it, and offering it to somebody else.
//!
//! Accounts are named by their ids, which stand on everybody's account page; of an organization's project its accounts are offered.

use api::{
    AccountId, Custodian, Member, OfferTransfer, OrganizationMember, Project, ProjectId, Right,
    Role,
};
use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::datasets::ROWS;
use super::guard::{Form, FreshSession, SignedIn};
use super::projects::called;
use super::sign_in::Nothing;
use super::view::{Frame, Refusal, again, page as draw};
use super::words::{self, Mark};
use crate::HubError;
use crate::app;
use crate::data;
use crate::http::extract::{Id, Ids};
use crate::http::page::Paging;
use crate::state::Hub;

const SECTION: &str = "/projects";
/// How many of an organization's accounts a form offers; others are named by their id.
const OFFERED: i64 = 200;
/// What a member can be given, lowest first.
const GIVEN: [Right; 5] = [Right::Browse, Right::Read, Right::Create, Right::Write, Right::Admin];

/// A right that a form offers.
struct Choice {
    value: String,
    words: &'static str,
}

fn choices() -> Vec<Choice> {
    let choice = |right| Choice { value: data::word(right), words: words::right(right) };
    GIVEN.into_iter().map(choice).collect()
}

struct Row {
    account: AccountId,
    name: String,
    right: String,
    words: &'static str,
    is_owner: bool,
    is_you: bool,
}

impl Row {
    fn new(member: Member, own: AccountId) -> Self {
        Self {
            account: member.account,
            right: data::word(member.right),
            words: words::right(member.right),
            is_owner: member.right == Right::Owner,
            is_you: member.account == own,
            name: member.name,
        }
    }
}

/// Accounts that a form offers.
struct Colleague {
    account: AccountId,
    words: String,
}

/// The accounts of the project's organization that can be members, where the caller may know them.
async fn colleagues(
    hub: &Hub,
    person: &SignedIn,
    project: &Project,
) -> Result<Vec<Colleague>, HubError> {
    let Some(organization) = project.organization else { return Ok(Vec::new()) };
    let all = app::organizations::members(hub, &person.caller, organization, "", OFFERED).await;
    let all: Vec<OrganizationMember> = match all {
        Ok(all) => all,
        // A member from elsewhere does not see whose project it is.
        Err(error) if error.code() != api::ErrorCode::Internal => Vec::new(),
        Err(error) => return Err(error),
    };
    let can = |member: &OrganizationMember| {
        member.role != Role::Auditor
            && member.disabled.is_none()
            && member.account != person.caller.account()
    };
    Ok(all
        .into_iter()
        .filter(can)
        .map(|member| Colleague {
            account: member.account,
            words: format!("{}, {}", member.name, member.role.as_str()),
        })
        .collect())
}

#[derive(Template)]
#[template(path = "members.html")]
struct ListPage {
    frame: Frame,
    refusal: Option<Refusal>,
    project: ProjectId,
    name: String,
    holder: Mark,
    rows: Vec<Row>,
    next: Option<String>,
    choices: Vec<Choice>,
    colleagues: Vec<Colleague>,
    typed: String,
    may_set: bool,
    may_leave: bool,
    is_owner: bool,
}

async fn page_of(
    hub: &Hub,
    person: &SignedIn,
    id: ProjectId,
    paging: Paging,
    refused: Option<(&HubError, String)>,
) -> Result<ListPage, HubError> {
    let caller = &person.caller;
    let project = app::projects::show(hub, caller, id).await?;
    let paging = paging.at_most(ROWS);
    let rows = app::projects::members(hub, caller, id, &paging.after, paging.rows()).await?;
    let page = paging.page(rows, |member| member.account.to_string());
    let (refusal, typed) = match refused {
        Some((error, typed)) => (Some(Refusal::of(error)), typed),
        None => (None, String::new()),
    };
    Ok(ListPage {
        frame: Frame::of("Members", SECTION, &person.visit),
        refusal,
        project: id,
        name: called(&project),
        holder: words::holder(project.custodian),
        rows: page.items.into_iter().map(|member| Row::new(member, caller.account())).collect(),
        next: page.next,
        choices: choices(),
        colleagues: colleagues(hub, person, &project).await?,
        typed,
        may_set: project.right >= Right::Admin,
        may_leave: project.right != Right::Owner,
        is_owner: project.right == Right::Owner,
    })
}

fn first(id: ProjectId) -> Paging {
    Paging::first(format!("/projects/{id}/members"))
}

pub(super) async fn list(
    State(hub): State<Hub>,
    person: SignedIn,
    Id(id): Id<ProjectId>,
    paging: Paging,
) -> Result<Response, HubError> {
    draw(&person.visit, &page_of(&hub, &person, id, paging, None).await?)
}

/// Whom a form adds, and what they may do.
#[derive(Deserialize)]
pub(super) struct Added {
    account: String,
    right: Right,
}

fn account_id(text: &str) -> Result<AccountId, HubError> {
    text.trim().parse().map_err(|_| {
        HubError::bad_request("what you typed is the id of no account")
            .hint("everybody finds their own on their account page")
    })
}

pub(super) async fn add(
    State(hub): State<Hub>,
    person: FreshSession,
    Id(id): Id<ProjectId>,
    Form(Added { account, right }): Form<Added>,
) -> Result<Response, HubError> {
    let done = match account_id(&account) {
        Ok(account) => app::projects::set_member(&hub, &person.caller, id, account, right).await,
        Err(error) => Err(error),
    };
    changed(&hub, &person, id, done, account).await
}

/// What a member may do from now on.
#[derive(Deserialize)]
pub(super) struct Changed {
    right: Right,
}

pub(super) async fn change(
    State(hub): State<Hub>,
    person: FreshSession,
    Ids(id, account): Ids<ProjectId, AccountId>,
    Form(Changed { right }): Form<Changed>,
) -> Result<Response, HubError> {
    let done = app::projects::set_member(&hub, &person.caller, id, account, right).await;
    changed(&hub, &person, id, done, String::new()).await
}

pub(super) async fn remove(
    State(hub): State<Hub>,
    person: FreshSession,
    Ids(id, account): Ids<ProjectId, AccountId>,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Response, HubError> {
    let done = app::projects::remove_member(&hub, &person.caller, id, account).await;
    changed(&hub, &person, id, done, String::new()).await
}

/// Goes back to the list, or says there why it was not changed.
async fn changed(
    hub: &Hub,
    person: &SignedIn,
    id: ProjectId,
    done: Result<Member, HubError>,
    typed: String,
) -> Result<Response, HubError> {
    match done {
        Ok(_) => Ok(Redirect::to(&format!("/projects/{id}/members")).into_response()),
        Err(error) => {
            let page = page_of(hub, person, id, first(id), Some((&error, typed))).await?;
            again(&person.visit, error, &page)
        }
    }
}

#[derive(Template)]
#[template(path = "leave.html")]
struct LeavePage {
    frame: Frame,
    project: ProjectId,
    name: String,
}

pub(super) async fn leave_page(
    State(hub): State<Hub>,
    person: SignedIn,
    Id(id): Id<ProjectId>,
) -> Result<Response, HubError> {
    let project = app::projects::show(&hub, &person.caller, id).await?;
    let frame = Frame::of("Leave a project", SECTION, &person.visit);
    draw(&person.visit, &LeavePage { frame, project: id, name: called(&project) })
}

pub(super) async fn leave(
    State(hub): State<Hub>,
    person: SignedIn,
    Id(id): Id<ProjectId>,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Response, HubError> {
    let own = person.caller.account();
    app::projects::remove_member(&hub, &person.caller, id, own).await?;
    Ok(Redirect::to(SECTION).into_response())
}

#[derive(Template)]
#[template(path = "offer.html")]
struct OfferPage {
    frame: Frame,
    refusal: Option<Refusal>,
    project: ProjectId,
    name: String,
    colleagues: Vec<Colleague>,
    typed: String,
    /// Whether its owner's device alone hands its keys over.
    by_device: bool,
    authenticators: Vec<String>,
}

async fn offer_page_of(
    hub: &Hub,
    person: &SignedIn,
    id: ProjectId,
    refused: Option<(&HubError, String)>,
) -> Result<OfferPage, HubError> {
    let project = app::projects::show(hub, &person.caller, id).await?;
    let (refusal, typed) = match refused {
        Some((error, typed)) => (Some(Refusal::of(error)), typed),
        None => (None, String::new()),
    };
    Ok(OfferPage {
        frame: Frame::of("Hand a project over", SECTION, &person.visit),
        refusal,
        project: id,
        name: called(&project),
        colleagues: colleagues(hub, person, &project).await?,
        typed,
        by_device: project.custodian == Custodian::Owner,
        authenticators: hub.authenticators.origins(),
    })
}

pub(super) async fn offer_page(
    State(hub): State<Hub>,
    person: FreshSession,
    Id(id): Id<ProjectId>,
) -> Result<Response, HubError> {
    draw(&person.visit, &offer_page_of(&hub, &person, id, None).await?)
}

/// To whom a project is offered, and how.
#[derive(Deserialize)]
pub(super) struct Offered {
    account: String,
    how: How,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum How {
    Reseal,
    Rewrap,
}

pub(super) async fn offer(
    State(hub): State<Hub>,
    person: FreshSession,
    Id(id): Id<ProjectId>,
    Form(Offered { account, how }): Form<Offered>,
) -> Result<Response, HubError> {
    let done = match account_id(&account) {
        Ok(to) => {
            let body = OfferTransfer { to, reseal: how == How::Reseal };
            app::transfers::offer(&hub, &person.caller, id, &body).await
        }
        Err(error) => Err(error),
    };
    match done {
        Ok(_) => Ok(Redirect::to(SECTION).into_response()),
        Err(error) => {
            let page = offer_page_of(&hub, &person, id, Some((&error, account))).await?;
            again(&person.visit, error, &page)
        }
    }
}
