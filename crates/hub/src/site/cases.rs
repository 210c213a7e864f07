//! Cases: what stands in clear, what somebody reads of a patient for a purpose, a search, and which fields are searchable.
//!
//! A page of a patient is drawn from a form that names the purpose, never from an address: whoever goes back or forward reads
//! nothing anew, and no address holds a word of a patient.

use api::{
    Case, CaseDocument, CaseField, CaseId, CasePurpose, CaseStatus, ConcludeCase, ConfirmDeletion,
    DatasetId, FieldIndex, IndexMode, IndexState, OrganizationId, ProjectId, ReadCase, SearchCases,
    SearchField, SetField,
};
use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::datasets::{Confirmed, DeletePage, ROWS, not_confirmed};
use super::guard::{Form, FreshSession, SignedIn};
use super::sign_in::Nothing;
use super::view::{Frame, Refusal, again, moment, page as draw};
use super::words::{self, Mark};
use crate::HubError;
use crate::app;
use crate::http::extract::{Id, Ids};
use crate::http::page::Paging;
use crate::state::Hub;

const SECTION: &str = "/projects";

struct Row {
    id: CaseId,
    status: Mark,
    detail: String,
}

impl From<Case> for Row {
    fn from(case: Case) -> Self {
        let datasets = match case.datasets.len() {
            1 => "1 dataset".to_owned(),
            many => format!("{many} datasets"),
        };
        Self {
            id: case.id,
            status: words::case(case.status),
            detail: format!(
                "{datasets}; since {}, changed {}",
                moment(case.created),
                moment(case.changed)
            ),
        }
    }
}

/// A choice of a form: its value on the wire and in words.
struct Choice {
    value: &'static str,
    words: String,
}

impl Choice {
    fn of(value: &'static str) -> Self {
        Self { value, words: value.replace('_', " ") }
    }
}

fn purposes() -> Vec<Choice> {
    CasePurpose::ALL.iter().map(|purpose| Choice::of(purpose.as_str())).collect()
}

#[derive(Template)]
#[template(path = "cases.html")]
struct ListPage {
    frame: Frame,
    refusal: Option<Refusal>,
    project: ProjectId,
    rows: Vec<Row>,
    next: Option<String>,
    /// The field that was searched, where these are the hits.
    searched: Option<String>,
    more: bool,
    fields: Vec<Choice>,
    purposes: Vec<Choice>,
    may_add: bool,
}

impl ListPage {
    async fn new(hub: &Hub, person: &SignedIn, project: ProjectId) -> Result<Self, HubError> {
        let searchable = |field: &&SearchField| cases::judge(**field, None).is_ok();
        let may_add = match app::cases::may_add(hub, &person.caller, project).await {
            Err(error) if error.code() == api::ErrorCode::Internal => return Err(error),
            asked => asked.is_ok(),
        };
        Ok(Self {
            may_add,
            frame: Frame::of("Cases", SECTION, &person.visit),
            refusal: None,
            project,
            rows: Vec::new(),
            next: None,
            searched: None,
            more: false,
            fields: SearchField::ALL
                .iter()
                .filter(searchable)
                .map(|field| Choice::of(field.as_str()))
                .collect(),
            purposes: purposes(),
        })
    }
}

pub(super) async fn list(
    State(hub): State<Hub>,
    person: SignedIn,
    Id(project): Id<ProjectId>,
    paging: Paging,
) -> Result<Response, HubError> {
    let paging = paging.at_most(ROWS);
    let rows =
        app::cases::list(&hub, &person.caller, project, &paging.after, paging.rows()).await?;
    let page = paging.page(rows, |case| case.id.to_string());
    let page = ListPage {
        rows: page.items.into_iter().map(Row::from).collect(),
        next: page.next,
        ..ListPage::new(&hub, &person, project).await?
    };
    draw(&person.visit, &page)
}

/// What is searched for.
#[derive(Deserialize)]
pub(super) struct Searched {
    field: SearchField,
    value: String,
    purpose: CasePurpose,
}

pub(super) async fn search(
    State(hub): State<Hub>,
    person: SignedIn,
    Id(project): Id<ProjectId>,
    Form(Searched { field, value, purpose }): Form<Searched>,
) -> Result<Response, HubError> {
    let body = SearchCases { field, value, purpose };
    match app::cases::search(&hub, &person.caller, project, &body).await {
        Ok(found) => {
            let page = ListPage {
                rows: found.cases.into_iter().map(Row::from).collect(),
                searched: Some(field.as_str().replace('_', " ")),
                more: found.more,
                ..ListPage::new(&hub, &person, project).await?
            };
            draw(&person.visit, &page)
        }
        Err(error) => {
            let refusal = Some(Refusal::of(&error));
            let page = ListPage::new(&hub, &person, project).await?;
            again(&person.visit, error, &ListPage { refusal, ..page })
        }
    }
}

/// A line of a document.
struct Fact {
    name: &'static str,
    value: String,
}

/// What a document says, a line each: only what there is.
fn facts(document: CaseDocument) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut put = |name, value: Option<String>| {
        facts.extend(value.map(|value| Fact { name, value }));
    };
    let patient = document.patient;
    put("Record number", patient.record_number);
    put("Family name", patient.family_name);
    put("Given name", patient.given_name);
    put("Born", patient.birth_date.map(|date| date.to_string()));
    put("Sex", patient.sex.map(|sex| sex.as_str().to_owned()));
    put("E-mail", patient.email);
    put("Telephone", patient.telephone);
    put("Postal code", patient.postal_code);
    put("Order number", document.order_number);
    put("Indication", document.indication);
    for relative in document.relatives {
        let names = [relative.given_name, relative.family_name];
        let name = names.into_iter().flatten().collect::<Vec<_>>().join(" ");
        let affected = match relative.affected {
            Some(true) => "affected",
            Some(false) => "not affected",
            None => "not known whether affected",
        };
        put("Relative", Some(format!("{}: {name} ({affected})", relative.relation.as_str())));
    }
    for phenotype in document.phenotypes {
        let not = if phenotype.excluded { "not found: " } else { "" };
        let label = phenotype.label.unwrap_or_default();
        put("Phenotype", Some(format!("{not}{} {label}", phenotype.term.as_str())));
    }
    for note in document.notes {
        let at = note.at.map(|at| format!("{}: ", moment(at))).unwrap_or_default();
        put("Note", Some(format!("{at}{}", note.text)));
    }
    for attachment in document.attachments {
        let (name, dataset) = (attachment.name, attachment.dataset);
        put("Attachment", Some(format!("{name}, in dataset {dataset}")));
    }
    put("Conclusion", document.conclusion);
    facts
}

#[derive(Template)]
#[template(path = "case.html")]
struct OnePage {
    frame: Frame,
    refusal: Option<Refusal>,
    status: Mark,
    created: String,
    changed: String,
    closed: Option<String>,
    is_closed: bool,
    is_concluded: bool,
    /// What was read, and what for.
    read: Option<(Vec<Fact>, String)>,
    fields: Vec<Choice>,
    purposes: Vec<Choice>,
    /// The id of a dataset that was typed and not linked.
    typed: String,
    case: Case,
}

impl OnePage {
    fn new(person: &SignedIn, case: Case) -> Self {
        Self {
            frame: Frame::of("Case", SECTION, &person.visit),
            refusal: None,
            status: words::case(case.status),
            created: moment(case.created),
            changed: moment(case.changed),
            closed: case.closed.map(moment),
            is_closed: case.status == CaseStatus::Closed,
            is_concluded: case.status == CaseStatus::Concluded,
            read: None,
            fields: CaseField::ALL.iter().map(|field| Choice::of(field.as_str())).collect(),
            purposes: purposes(),
            typed: String::new(),
            case,
        }
    }
}

pub(super) async fn page(
    State(hub): State<Hub>,
    person: SignedIn,
    Id(id): Id<CaseId>,
) -> Result<Response, HubError> {
    let case = app::cases::show(&hub, &person.caller, id).await?;
    draw(&person.visit, &OnePage::new(&person, case))
}

/// What somebody wants to read, and what for.
#[derive(Deserialize)]
pub(super) struct Wanted {
    purpose: CasePurpose,
    /// One field, or an empty text for all.
    field: String,
}

pub(super) async fn read(
    State(hub): State<Hub>,
    person: SignedIn,
    Id(id): Id<CaseId>,
    Form(Wanted { purpose, field }): Form<Wanted>,
) -> Result<Response, HubError> {
    let fields = match field.as_str() {
        "" => Vec::new(),
        field => vec![field.parse().map_err(|_| HubError::bad_request("there is no such field"))?],
    };
    match app::cases::read(&hub, &person.caller, id, &ReadCase { purpose, fields }).await {
        Ok(opened) => {
            let read = Some((facts(opened.document), purpose.as_str().replace('_', " ")));
            draw(&person.visit, &OnePage { read, ..OnePage::new(&person, opened.case) })
        }
        Err(error) => {
            let case = app::cases::show(&hub, &person.caller, id).await?;
            let refusal = Some(Refusal::of(&error));
            again(&person.visit, error, &OnePage { refusal, ..OnePage::new(&person, case) })
        }
    }
}

/// A sample or result that belongs to the case, by its id as it was typed.
#[derive(Deserialize)]
pub(super) struct Linked {
    dataset: String,
}

pub(super) async fn link(
    State(hub): State<Hub>,
    person: SignedIn,
    Id(id): Id<CaseId>,
    Form(Linked { dataset: typed }): Form<Linked>,
) -> Result<Response, HubError> {
    let linked = match typed.trim().parse() {
        Ok(dataset) => app::cases::link(&hub, &person.caller, id, dataset).await,
        Err(_) => Err(HubError::bad_request("what was typed is the id of no sample or result")
            .hint("the id stands on the page of the sample or result")),
    };
    changed(&hub, &person, id, linked, typed).await
}

pub(super) async fn unlink(
    State(hub): State<Hub>,
    person: SignedIn,
    Ids(id, dataset): Ids<CaseId, DatasetId>,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Response, HubError> {
    let unlinked = app::cases::unlink(&hub, &person.caller, id, dataset).await;
    changed(&hub, &person, id, unlinked, String::new()).await
}

/// What somebody concludes.
#[derive(Deserialize)]
pub(super) struct Concluded {
    conclusion: String,
}

pub(super) async fn conclude(
    State(hub): State<Hub>,
    person: SignedIn,
    Id(id): Id<CaseId>,
    Form(Concluded { conclusion }): Form<Concluded>,
) -> Result<Response, HubError> {
    // Browsers end lines as RFC 7578 says.
    let conclusion = conclusion.replace("\r\n", "\n").trim_end().to_owned();
    let body = ConcludeCase { conclusion };
    let concluded = app::cases::conclude(&hub, &person.caller, id, &body).await;
    changed(&hub, &person, id, concluded, String::new()).await
}

pub(super) async fn close(
    State(hub): State<Hub>,
    person: SignedIn,
    Id(id): Id<CaseId>,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Response, HubError> {
    let closed = app::cases::close(&hub, &person.caller, id).await;
    changed(&hub, &person, id, closed, String::new()).await
}

fn delete_page_of(person: &SignedIn, refusal: Option<Refusal>, case: &Case) -> DeletePage {
    DeletePage {
        frame: Frame::of("Delete for ever", SECTION, &person.visit),
        refusal,
        name: format!("case {}", case.id),
        id: case.id.to_string(),
        back: format!("/cases/{}", case.id),
        what: vec![
            "what is said of the patient: its key first, in every place".to_owned(),
            "the hashes by which it is found".to_owned(),
            "the case alone: its samples and results stay".to_owned(),
        ],
    }
}

pub(super) async fn delete_page(
    State(hub): State<Hub>,
    person: FreshSession,
    Id(id): Id<CaseId>,
) -> Result<Response, HubError> {
    let case = app::cases::show(&hub, &person.caller, id).await?;
    draw(&person.visit, &delete_page_of(&person, None, &case))
}

pub(super) async fn delete(
    State(hub): State<Hub>,
    person: FreshSession,
    Id(id): Id<CaseId>,
    Form(given): Form<Confirmed>,
) -> Result<Response, HubError> {
    let case = app::cases::show(&hub, &person.caller, id).await?;
    let done = if given.names(&id.to_string(), None) {
        let body = ConfirmDeletion { confirm: id.to_string(), approval: None };
        app::cases::delete(&hub, &person.caller, id, &body).await
    } else {
        Err(not_confirmed())
    };
    match done {
        Ok(_) => Ok(Redirect::to(&format!("/projects/{}/cases", case.project)).into_response()),
        Err(error) => {
            let page = delete_page_of(&person, Some(Refusal::of(&error)), &case);
            again(&person.visit, error, &page)
        }
    }
}

/// Goes back to the case, or says there why it was not changed.
async fn changed(
    hub: &Hub,
    person: &SignedIn,
    id: CaseId,
    done: Result<Case, HubError>,
    typed: String,
) -> Result<Response, HubError> {
    match done {
        Ok(_) => Ok(Redirect::to(&format!("/cases/{id}")).into_response()),
        Err(error) => {
            let case = app::cases::show(hub, &person.caller, id).await?;
            let refusal = Some(Refusal::of(&error));
            again(&person.visit, error, &OnePage { refusal, typed, ..OnePage::new(person, case) })
        }
    }
}

struct IndexRow {
    field: String,
    state: Mark,
    detail: String,
    leaks: String,
    value: &'static str,
    is_ending: bool,
}

impl From<FieldIndex> for IndexRow {
    fn from(index: FieldIndex) -> Self {
        let mode = match index.mode {
            IndexMode::Exact => "whole hashes".to_owned(),
            IndexMode::Beacon { bits } => format!("{bits} bits of each hash"),
        };
        Self {
            field: index.field.as_str().replace('_', " "),
            state: words::index(index.state),
            detail: format!(
                "version {}, {mode}; {} of {} done; since {}",
                index.version,
                words::count(index.done),
                words::count(index.total),
                moment(index.since)
            ),
            leaks: index.leaks,
            value: index.field.as_str(),
            is_ending: index.state == IndexState::Ending,
        }
    }
}

/// A field that can be turned on, and what that would leak.
struct Offered {
    value: &'static str,
    words: String,
    leaks: String,
}

#[derive(Template)]
#[template(path = "fields.html")]
struct FieldsPage {
    frame: Frame,
    organization: OrganizationId,
    rows: Vec<IndexRow>,
    offered: Vec<Offered>,
}

pub(super) async fn fields(
    State(hub): State<Hub>,
    person: SignedIn,
    Id(id): Id<OrganizationId>,
) -> Result<Response, HubError> {
    let all = app::cases::fields::list(&hub, &person.caller, id).await?;
    let is_off = |field: &&SearchField| all.iter().all(|index| index.field != **field);
    let offered = SearchField::ALL.iter().filter(is_off).filter_map(|field| {
        let judged = cases::judge(*field, None).ok()?;
        Some(Offered {
            value: field.as_str(),
            words: field.as_str().replace('_', " "),
            leaks: cases::leaks(*field, judged.mode),
        })
    });
    let page = FieldsPage {
        frame: Frame::of("Searchable fields", SECTION, &person.visit),
        organization: id,
        offered: offered.collect(),
        rows: all.into_iter().map(IndexRow::from).collect(),
    };
    draw(&person.visit, &page)
}

fn back(id: OrganizationId) -> Response {
    Redirect::to(&format!("/organizations/{id}/fields")).into_response()
}

pub(super) async fn field_on(
    State(hub): State<Hub>,
    person: FreshSession,
    Ids(id, field): Ids<OrganizationId, SearchField>,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Response, HubError> {
    app::cases::fields::set(&hub, &person.caller, id, field, SetField { mode: None }).await?;
    Ok(back(id))
}

pub(super) async fn field_off(
    State(hub): State<Hub>,
    person: FreshSession,
    Ids(id, field): Ids<OrganizationId, SearchField>,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Response, HubError> {
    app::cases::fields::off(&hub, &person.caller, id, field).await?;
    Ok(back(id))
}
