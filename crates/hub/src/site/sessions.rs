//! App sessions: what was launched on what, where it stands, and what it was stopped by.

use api::{AppSession, Custodian, ErrorCode, ListOrder, ProjectId, SessionId, Task, TaskState};
use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::datasets::ROWS;
use super::guard::{Form, SignedIn};
use super::runs::{Fact, Live, Now};
use super::sign_in::Nothing;
use super::view::{Frame, Refusal, moment, page as draw};
use super::words::{self, Mark};
use crate::HubError;
use crate::app;
use crate::http::extract::{Id, Params};
use crate::http::page::Paging;
use crate::state::Hub;

const SECTION: &str = "/sessions";

struct Row {
    id: SessionId,
    app: String,
    state: Mark,
    detail: String,
    reason: Option<String>,
    holder: Option<Mark>,
}

impl Row {
    fn of(session: AppSession, custodian: Option<Custodian>) -> Self {
        let inputs = session.inputs.len();
        let inputs = if inputs == 1 { "1 input".to_owned() } else { format!("{inputs} inputs") };
        Self {
            id: session.id,
            app: format!("{} {}", session.app_name, session.app_version),
            state: words::task(session.state),
            detail: format!("{}, {inputs}", moment(session.created)),
            reason: session.reason,
            holder: custodian.map(words::holder),
        }
    }
}

/// What the list is narrowed to.
#[derive(Deserialize)]
pub(super) struct Filter {
    project: Option<ProjectId>,
}

#[derive(Template)]
#[template(path = "sessions.html")]
struct ListPage {
    frame: Frame,
    rows: Vec<Row>,
    next: Option<String>,
    is_narrowed: bool,
}

pub(super) async fn list(
    State(hub): State<Hub>,
    person: SignedIn,
    Params(Filter { project }): Params<Filter>,
    paging: Paging,
) -> Result<Response, HubError> {
    let paging = paging.at_most(ROWS);
    let order = ListOrder::Newest;
    let (caller, rows) = (&person.caller, paging.rows());
    let rows = app::sessions::list(&hub, caller, project, order, &paging.after, rows).await?;
    let page = paging.page(rows, |session| session.id.to_string());
    let projects: Vec<ProjectId> = page.items.iter().map(|session| session.project).collect();
    let holders = app::projects::custodians(&hub, &projects).await?;
    let row = |session: AppSession| {
        let custodian = holders.get(&session.project).copied();
        Row::of(session, custodian)
    };
    let page = ListPage {
        frame: Frame::of("App sessions", SECTION, &person.visit),
        rows: page.items.into_iter().map(row).collect(),
        next: page.next,
        is_narrowed: project.is_some(),
    };
    draw(&person.visit, &page)
}

#[derive(Template)]
#[template(path = "session.html")]
struct OnePage {
    frame: Frame,
    session: AppSession,
    state: Mark,
    holder: Option<Mark>,
    live: Option<Live>,
    live_path: String,
    live_title: &'static str,
    log: Vec<(&'static str, String)>,
    log_refused: Option<Refusal>,
    created: String,
    started: Option<String>,
    ended: Option<String>,
    has_receipt: bool,
    may_cancel: bool,
}

pub(super) async fn page(
    State(hub): State<Hub>,
    person: SignedIn,
    Id(id): Id<SessionId>,
) -> Result<Response, HubError> {
    let session = app::sessions::show(&hub, &person.caller, id).await?;
    let task = app::tasks::show(&hub, &person.caller, session.task).await?;
    let holders = app::projects::custodians(&hub, &[session.project]).await?;
    let live = goes_on(&session).then(|| live(&session, &task));
    let (mut log, mut log_refused) = (Vec::new(), None);
    if live.is_none() {
        match app::sessions::log(&hub, &person.caller, id).await {
            Ok(found) => log = found,
            Err(error) if error.code() == ErrorCode::Internal => return Err(error),
            Err(error) => log_refused = Some(Refusal::of(&error)),
        }
    }
    let frame = Frame::of("App session", SECTION, &person.visit);
    let page = OnePage {
        frame: if live.is_some() { frame.following() } else { frame },
        state: words::task(session.state),
        holder: holders.get(&session.project).copied().map(words::holder),
        live,
        live_path: format!("/sessions/{id}/live"),
        live_title: "On its way",
        log,
        log_refused,
        created: moment(session.created),
        started: session.started.map(moment),
        ended: session.ended.map(moment),
        has_receipt: task.receipt.is_some(),
        may_cancel: goes_on(&session),
        session,
    };
    draw(&person.visit, &page)
}

const fn goes_on(session: &AppSession) -> bool {
    matches!(session.state, TaskState::Queued | TaskState::Running)
}

fn live(session: &AppSession, task: &Task) -> Live {
    let is_running = session.state == TaskState::Running;
    let words = if is_running {
        format!("{} % done", task.percent)
    } else {
        "no vault has begun yet".to_owned()
    };
    let state = serde_json::to_value(session.state).ok();
    Live {
        state: state.and_then(|word| word.as_str().map(ToOwned::to_owned)).unwrap_or_default(),
        percent: is_running.then_some(task.percent),
        facts: vec![Fact { key: "vault", name: "The vault", words }],
    }
}

/// What the script of the page asks.
pub(super) async fn now(
    State(hub): State<Hub>,
    person: SignedIn,
    Id(id): Id<SessionId>,
) -> Result<Json<Now>, HubError> {
    let session = app::sessions::show(&hub, &person.caller, id).await?;
    let task = app::tasks::show(&hub, &person.caller, session.task).await?;
    Ok(Json(live(&session, &task).into()))
}

pub(super) async fn cancel(
    State(hub): State<Hub>,
    person: SignedIn,
    Id(id): Id<SessionId>,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Response, HubError> {
    app::sessions::cancel(&hub, &person.caller, id).await?;
    Ok(Redirect::to(&format!("/sessions/{id}")).into_response())
}
