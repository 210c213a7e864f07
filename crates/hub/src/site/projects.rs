//! Projects: who holds the key, who belongs to them, offers of them, and their deletion.

use api::{
    ConfirmDeletion, Custodian, ErrorCode, Member, Project, ProjectId, Right, Transfer, TransferId,
    TransferState,
};
use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use proof::ProjectCard;

use super::datasets::{Confirmed, DeletePage, ROWS, not_confirmed};
use super::guard::{Form, FreshSession, SignedIn};
use super::sign_in::Nothing;
use super::view::{Frame, Refusal, again, moment, page as draw};
use super::words::{self, Mark};
use crate::HubError;
use crate::app::{self, Caller};
use crate::http::extract::Id;
use crate::http::page::Paging;
use crate::state::Hub;

/// How many offers a page shows.
const PARTS: i64 = 200;
/// How many members the page of a project shows; all of them have a page of their own.
const MEMBERS: i64 = 5;
const SECTION: &str = "/projects";

pub(super) fn called(project: &Project) -> String {
    project.name.clone().unwrap_or_else(|| format!("sealed name, {}", project.id))
}

struct Row {
    id: ProjectId,
    name: String,
    holder: Mark,
    detail: String,
}

impl From<Project> for Row {
    fn from(project: Project) -> Self {
        Self {
            id: project.id,
            name: called(&project),
            holder: words::holder(project.custodian),
            detail: format!("{}; since {}", words::right(project.right), moment(project.created)),
        }
    }
}

struct OfferRow {
    id: TransferId,
    project: ProjectId,
    is_mine: bool,
    reseal: bool,
    when: String,
    /// Whether it comes with an owner's keys, which a device alone takes.
    by_device: bool,
}

/// Offers that wait for an answer, from or to this account.
async fn offers(hub: &Hub, caller: &Caller) -> Result<Vec<OfferRow>, HubError> {
    let mut waiting = app::transfers::list(hub, caller, "", PARTS).await?;
    waiting.retain(|transfer| transfer.state == TransferState::Offered);
    let by_device = app::transfers::by_device(hub, &waiting).await?;
    let row = |transfer: Transfer| OfferRow {
        id: transfer.id,
        project: transfer.project,
        is_mine: transfer.from == caller.account(),
        reseal: transfer.reseal,
        when: moment(transfer.created),
        by_device: by_device.contains(&transfer.id),
    };
    Ok(waiting.into_iter().map(row).collect())
}

#[derive(Template)]
#[template(path = "projects.html")]
struct ListPage {
    frame: Frame,
    rows: Vec<Row>,
    offers: Vec<OfferRow>,
    authenticators: Vec<String>,
    next: Option<String>,
    may_make: bool,
}

pub(super) async fn list(
    State(hub): State<Hub>,
    person: SignedIn,
    paging: Paging,
) -> Result<Response, HubError> {
    let caller = &person.caller;
    let paging = paging.at_most(ROWS);
    let rows = app::projects::list(&hub, caller, &paging.after, paging.rows()).await?;
    let page = paging.page(rows, |project| project.id.to_string());
    let page = ListPage {
        frame: Frame::of("Projects", SECTION, &person.visit),
        rows: page.items.into_iter().map(Row::from).collect(),
        offers: offers(&hub, caller).await?,
        authenticators: hub.authenticators.origins(),
        next: page.next,
        may_make: app::projects::may_create(caller).is_ok(),
    };
    draw(&person.visit, &page)
}

struct MemberRow {
    name: String,
    right: &'static str,
}

impl From<Member> for MemberRow {
    fn from(member: Member) -> Self {
        Self { name: member.name, right: words::right(member.right) }
    }
}

#[derive(Template)]
#[template(path = "project.html")]
struct OnePage {
    frame: Frame,
    project: Project,
    name: String,
    holder: &'static str,
    right: &'static str,
    created: String,
    readable_until: Option<String>,
    phrase: String,
    digest: String,
    members: Option<Vec<MemberRow>>,
    may_delete: bool,
    has_cases: bool,
    is_owner: bool,
    may_import: bool,
    may_leave: bool,
}

pub(super) async fn page(
    State(hub): State<Hub>,
    person: SignedIn,
    Id(id): Id<ProjectId>,
) -> Result<Response, HubError> {
    let caller = &person.caller;
    let project = app::projects::show(&hub, caller, id).await?;
    let card = app::projects::card(&hub, caller, id).await?;
    let (digest, phrase) = ProjectCard::fingerprint(&card);
    let members = match app::projects::members(&hub, caller, id, "", MEMBERS).await {
        Ok(members) => Some(members.into_iter().map(MemberRow::from).collect()),
        Err(error) if error.code() == ErrorCode::Forbidden => None,
        Err(error) => return Err(error),
    };
    let page = OnePage {
        frame: Frame::of("Project", SECTION, &person.visit),
        name: called(&project),
        holder: words::holder_sentence(project.custodian),
        right: words::right(project.right),
        created: moment(project.created),
        readable_until: project.readable_by_operator_until.map(moment),
        phrase,
        digest: digest.to_string(),
        members,
        may_delete: project.right == Right::Owner,
        has_cases: app::cases::can_be_in(&hub, id).await?,
        is_owner: project.right == Right::Owner,
        may_import: project.right >= Right::Create,
        may_leave: project.right != Right::Owner,
        project,
    };
    draw(&person.visit, &page)
}

fn delete_page_of(person: &SignedIn, refusal: Option<Refusal>, project: &Project) -> DeletePage {
    let mut what = vec![
        "every run, sample and result in it, in every facility".to_owned(),
        "its members' access, and its card".to_owned(),
    ];
    if project.custodian == Custodian::Owner {
        what.push("what your twelve words opened here: they open it no more".to_owned());
    }
    DeletePage {
        frame: Frame::of("Delete for ever", SECTION, &person.visit),
        refusal,
        name: called(project),
        id: project.id.to_string(),
        back: format!("/projects/{}", project.id),
        what,
    }
}

pub(super) async fn delete_page(
    State(hub): State<Hub>,
    person: FreshSession,
    Id(id): Id<ProjectId>,
) -> Result<Response, HubError> {
    let project = app::projects::show(&hub, &person.caller, id).await?;
    draw(&person.visit, &delete_page_of(&person, None, &project))
}

pub(super) async fn delete(
    State(hub): State<Hub>,
    person: FreshSession,
    Id(id): Id<ProjectId>,
    Form(given): Form<Confirmed>,
) -> Result<Response, HubError> {
    let project = app::projects::show(&hub, &person.caller, id).await?;
    if !given.names(&id.to_string(), project.name.as_deref()) {
        let error = not_confirmed();
        let page = delete_page_of(&person, Some(Refusal::of(&error)), &project);
        return again(&person.visit, error, &page);
    }
    let body = ConfirmDeletion { confirm: id.to_string(), approval: None };
    app::projects::delete(&hub, &person.caller, id, &body).await?;
    Ok(Redirect::to(SECTION).into_response())
}

#[derive(Template)]
#[template(path = "accept_transfer.html")]
struct AcceptPage {
    frame: Frame,
    offer: OfferRow,
    authenticators: Vec<String>,
}

pub(super) async fn accept_page(
    State(hub): State<Hub>,
    person: FreshSession,
    Id(id): Id<TransferId>,
) -> Result<Response, HubError> {
    let caller = &person.caller;
    let offer = offers(&hub, caller)
        .await?
        .into_iter()
        .find(|offer| offer.id == id && !offer.is_mine)
        .ok_or_else(|| HubError::not_found("offer", id))?;
    let frame = Frame::of("Take over a project", SECTION, &person.visit);
    let authenticators = hub.authenticators.origins();
    draw(&person.visit, &AcceptPage { frame, offer, authenticators })
}

pub(super) async fn accept(
    State(hub): State<Hub>,
    person: FreshSession,
    Id(id): Id<TransferId>,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Response, HubError> {
    let transfer = app::transfers::accept(&hub, &person.caller, id).await?;
    Ok(Redirect::to(&format!("/projects/{}", transfer.project)).into_response())
}

pub(super) async fn refuse(
    State(hub): State<Hub>,
    person: SignedIn,
    Id(id): Id<TransferId>,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Response, HubError> {
    app::transfers::refuse(&hub, &person.caller, id).await?;
    Ok(Redirect::to(SECTION).into_response())
}

pub(super) async fn withdraw(
    State(hub): State<Hub>,
    person: SignedIn,
    Id(id): Id<TransferId>,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Response, HubError> {
    app::transfers::withdraw(&hub, &person.caller, id).await?;
    Ok(Redirect::to(SECTION).into_response())
}
