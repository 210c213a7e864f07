//! Runs, samples and results: lists of them, one of them, and its deletion.

use api::{
    ConfirmDeletion, Dataset, DatasetId, DatasetKind, ErrorCode, ExecutionState, ListOrder, Right,
    Task,
};
use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::guard::{Form, FreshSession, SignedIn};
use super::open;
use super::runs::{self, Live, Metrics};
use super::view::{Frame, Refusal, again, moment, page as draw};
use super::words::{self, Mark};
use crate::HubError;
use crate::app;
use crate::data::datasets::Narrowed;
use crate::http::datasets::Filter;
use crate::http::extract::{Id, Params};
use crate::http::page::Paging;
use crate::state::Hub;

/// How many rows a page shows.
pub(super) const ROWS: u32 = 50;
/// How many files, tasks or children the page of one dataset shows.
const PARTS: usize = 200;

/// A dataset as a row.
pub(super) struct Row {
    pub(super) id: DatasetId,
    pub(super) name: String,
    pub(super) state: Mark,
    pub(super) holder: Mark,
    pub(super) detail: String,
    pub(super) reason: Option<String>,
}

/// What people call it: its name, where the hub may open it.
pub(super) fn called(dataset: &Dataset) -> String {
    dataset.name.clone().unwrap_or_else(|| format!("sealed name, {}", dataset.id))
}

impl From<Dataset> for Row {
    fn from(dataset: Dataset) -> Self {
        let mut detail =
            format!("{}, {}", moment(dataset.created), words::size(dataset.sealed_bytes));
        if let Some(reads) = dataset.reads {
            detail = format!("{detail}, {} reads", words::count(reads));
        }
        Self {
            id: dataset.id,
            name: called(&dataset),
            state: words::execution(dataset.execution),
            holder: words::holder(dataset.custodian),
            detail,
            reason: dataset.reason,
        }
    }
}

#[derive(Template)]
#[template(path = "datasets.html")]
struct ListPage {
    frame: Frame,
    rows: Vec<Row>,
    next: Option<String>,
    is_narrowed: bool,
    /// The project into which files can be brought, where the list is of one, and not of runs.
    imports: Option<api::ProjectId>,
    empty: &'static str,
    /// What brings the first, into the project that the list is of, if it is of one.
    command: String,
    is_of_project: bool,
}

async fn list(
    hub: &Hub,
    person: &SignedIn,
    kind: DatasetKind,
    filter: Filter,
    paging: Paging,
) -> Result<Response, HubError> {
    let (title, section, empty, command) = match kind {
        DatasetKind::Sample => (
            "Samples",
            "/samples",
            "No sample yet. A run becomes samples when it is demultiplexed; or bring files that you have:",
            "chorion sample import FILES… --name NAME --project PROJECT",
        ),
        DatasetKind::Result => (
            "Results",
            "/results",
            "No result yet. An app makes one from samples:",
            "chorion app launch APP --input reads=SAMPLE --project PROJECT",
        ),
        DatasetKind::Run | DatasetKind::App => (
            "Runs",
            "/runs",
            "No run yet. Beside the instrument, send a folder, or have every new one sent:",
            "chorion run send FOLDER --project PROJECT",
        ),
    };
    let narrowed = Narrowed { order: ListOrder::Newest, ..filter.of_kind(kind) };
    let paging = paging.at_most(ROWS);
    let rows =
        app::datasets::list(hub, &person.caller, narrowed, &paging.after, paging.rows()).await?;
    let page = paging.page(rows, |dataset| dataset.id.to_string());
    let page = ListPage {
        frame: Frame::of(title, section, &person.visit),
        rows: page.items.into_iter().map(Row::from).collect(),
        next: page.next,
        imports: narrowed.project.filter(|_| kind != DatasetKind::Run),
        is_narrowed: narrowed.project.is_some() || narrowed.parent.is_some(),
        empty,
        command: match narrowed.project {
            Some(project) => command.replace("PROJECT", &project.to_string()),
            None => command.to_owned(),
        },
        is_of_project: narrowed.project.is_some(),
    };
    draw(&person.visit, &page)
}

pub(super) async fn runs(
    State(hub): State<Hub>,
    person: SignedIn,
    Params(filter): Params<Filter>,
    paging: Paging,
) -> Result<Response, HubError> {
    list(&hub, &person, DatasetKind::Run, filter, paging).await
}

pub(super) async fn samples(
    State(hub): State<Hub>,
    person: SignedIn,
    Params(filter): Params<Filter>,
    paging: Paging,
) -> Result<Response, HubError> {
    list(&hub, &person, DatasetKind::Sample, filter, paging).await
}

pub(super) async fn results(
    State(hub): State<Hub>,
    person: SignedIn,
    Params(filter): Params<Filter>,
    paging: Paging,
) -> Result<Response, HubError> {
    list(&hub, &person, DatasetKind::Result, filter, paging).await
}

struct FileRow {
    path: String,
    size: String,
    sha256: String,
    /// The pages that open it in the browser.
    download: Option<String>,
    view: Option<String>,
}

struct TaskRow {
    kind: &'static str,
    state: Mark,
    percent: Option<u8>,
    when: String,
    reason: Option<String>,
    has_receipt: bool,
}

impl From<Task> for TaskRow {
    fn from(task: Task) -> Self {
        Self {
            kind: task.kind.as_str(),
            state: words::task(task.state),
            percent: (task.state == api::TaskState::Running).then_some(task.percent),
            when: moment(task.ended.or(task.started).unwrap_or(task.created)),
            reason: task.reason,
            has_receipt: task.receipt.is_some(),
        }
    }
}

#[derive(Template)]
#[template(path = "dataset.html")]
struct OnePage {
    frame: Frame,
    dataset: Dataset,
    name: String,
    kind: &'static str,
    state: Mark,
    quality: Mark,
    delivery: Mark,
    holder: &'static str,
    size: String,
    reads: Option<String>,
    created: String,
    changed: String,
    parts: Vec<Row>,
    tasks: Vec<TaskRow>,
    files: Vec<FileRow>,
    more_files: usize,
    unread: Option<Refusal>,
    may_delete: bool,
    holder_mark: Mark,
    live: Option<Live>,
    live_path: String,
    live_title: &'static str,
    metrics: Option<Metrics>,
}

pub(super) fn section(kind: DatasetKind) -> &'static str {
    match kind {
        DatasetKind::Run => "/runs",
        DatasetKind::Sample => "/samples",
        DatasetKind::Result => "/results",
        DatasetKind::App => "/apps",
    }
}

pub(super) async fn page(
    State(hub): State<Hub>,
    person: SignedIn,
    Id(id): Id<DatasetId>,
) -> Result<Response, HubError> {
    let caller = &person.caller;
    let dataset = app::datasets::show(&hub, caller, id).await?;
    let rows = i64::try_from(PARTS).unwrap_or(i64::MAX);
    let made = Narrowed { parent: Some(id), order: ListOrder::Newest, ..Narrowed::default() };
    let parts = app::datasets::list(&hub, caller, made, "", rows).await?;
    let tasks = app::tasks::list(&hub, caller, Some(id), "", rows).await?;
    let project = app::projects::show(&hub, caller, dataset.project).await?;
    let (files, unread) = match app::manifests::files(&hub, caller, id).await {
        Ok(files) => (files, None),
        // Who only browses sees no files, and who asks what the custodian keeps from the hub is told so: the rest stands.
        Err(error) if error.code() != ErrorCode::Internal => {
            (Vec::new(), Some(Refusal::of(&error)))
        }
        Err(error) => return Err(error),
    };
    let is_run = dataset.kind == DatasetKind::Run;
    let mut live = None;
    if is_run && runs::goes_on(&dataset) {
        let progress = app::progress::show(&hub, caller, id).await?;
        live = Some(runs::live(&dataset, &progress, &tasks));
    }
    let metrics = if is_run { Some(runs::metrics(&hub, &person, id).await?) } else { None };
    let frame = Frame::of(words::kind(dataset.kind), section(dataset.kind), &person.visit);
    let more_files = files.len().saturating_sub(PARTS);
    let opens = open::offered(&hub, &dataset, project.right);
    let file_rows = files.iter().take(PARTS).map(|file| FileRow {
        path: file.path.clone(),
        size: words::size(file.bytes),
        sha256: file.sha256.to_string(),
        download: opens.then(|| open::download_path(id, &file.path)),
        view: open::viewed(&files, &file.path)
            .filter(|_| opens)
            .map(|_| open::view_path(id, &file.path)),
    });
    let file_rows = file_rows.collect();
    let page = OnePage {
        frame: if live.is_some() { frame.following() } else { frame },
        name: called(&dataset),
        kind: words::kind(dataset.kind),
        state: words::execution(dataset.execution),
        quality: words::quality(dataset.quality),
        delivery: words::delivery(dataset.delivery),
        holder: words::holder_sentence(dataset.custodian),
        size: words::size(dataset.sealed_bytes),
        reads: dataset.reads.map(words::count),
        created: moment(dataset.created),
        changed: moment(dataset.changed),
        parts: parts.into_iter().map(Row::from).collect(),
        tasks: tasks.into_iter().map(TaskRow::from).collect(),
        files: file_rows,
        more_files,
        unread,
        may_delete: project.right >= Right::Write,
        holder_mark: words::holder(dataset.custodian),
        live,
        live_path: format!("/datasets/{id}/live"),
        live_title: if dataset.execution == ExecutionState::Processing {
            "Being worked on"
        } else {
            "Arriving"
        },
        metrics,
        dataset,
    };
    draw(&person.visit, &page)
}

/// What a person types to have a thing deleted.
#[derive(Deserialize)]
pub(super) struct Confirmed {
    confirm: String,
}

impl Confirmed {
    /// The id, if what was typed is the thing's name or id.
    pub(super) fn names(&self, id: &str, name: Option<&str>) -> bool {
        let typed = self.confirm.trim();
        typed == id || name.is_some_and(|name| typed == name.trim() && !typed.is_empty())
    }
}

/// The page before anything is deleted.
#[derive(Template)]
#[template(path = "delete.html")]
pub(super) struct DeletePage {
    pub(super) frame: Frame,
    pub(super) refusal: Option<Refusal>,
    pub(super) name: String,
    pub(super) id: String,
    pub(super) back: String,
    pub(super) what: Vec<String>,
}

impl DeletePage {
    fn new(person: &SignedIn, refusal: Option<Refusal>, dataset: &Dataset) -> Self {
        let (objects, size) = (words::count(dataset.objects), words::size(dataset.sealed_bytes));
        let mut what = vec![format!("its {objects} sealed objects, {size}, in every facility")];
        if dataset.kind == DatasetKind::Run {
            what.push("the run alone: samples that were made from it stay".to_owned());
        }
        Self {
            frame: Frame::of("Delete for ever", section(dataset.kind), &person.visit),
            refusal,
            name: called(dataset),
            id: dataset.id.to_string(),
            back: format!("/datasets/{}", dataset.id),
            what,
        }
    }
}

pub(super) fn not_confirmed() -> HubError {
    HubError::bad_request("what you typed is neither its name nor its id")
        .hint("nothing was deleted: type it once more, or go back")
}

pub(super) async fn delete_page(
    State(hub): State<Hub>,
    person: FreshSession,
    Id(id): Id<DatasetId>,
) -> Result<Response, HubError> {
    let dataset = app::datasets::show(&hub, &person.caller, id).await?;
    draw(&person.visit, &DeletePage::new(&person, None, &dataset))
}

pub(super) async fn delete(
    State(hub): State<Hub>,
    person: FreshSession,
    Id(id): Id<DatasetId>,
    Form(given): Form<Confirmed>,
) -> Result<Response, HubError> {
    let dataset = app::datasets::show(&hub, &person.caller, id).await?;
    if !given.names(&id.to_string(), dataset.name.as_deref()) {
        let error = not_confirmed();
        let page = DeletePage::new(&person, Some(Refusal::of(&error)), &dataset);
        return again(&person.visit, error, &page);
    }
    let body = ConfirmDeletion { confirm: id.to_string(), approval: None };
    app::datasets::delete(&hub, &person.caller, id, &body).await?;
    Ok(Redirect::to(section(dataset.kind)).into_response())
}
