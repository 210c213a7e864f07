//! App sessions: what was launched on what, where it stands, and what it was stopped by.

use api::{AppSession, ListOrder, ProjectId, SessionId, TaskState};
use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::datasets::ROWS;
use super::guard::{Form, SignedIn};
use super::sign_in::Nothing;
use super::view::{Frame, moment, page as draw};
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
}

impl From<AppSession> for Row {
    fn from(session: AppSession) -> Self {
        let inputs = session.inputs.len();
        let inputs = if inputs == 1 { "1 input".to_owned() } else { format!("{inputs} inputs") };
        Self {
            id: session.id,
            app: format!("{} {}", session.app_name, session.app_version),
            state: words::task(session.state),
            detail: format!("{}, {inputs}", moment(session.created)),
            reason: session.reason,
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
    let page = ListPage {
        frame: Frame::of("App sessions", SECTION, &person.visit),
        rows: page.items.into_iter().map(Row::from).collect(),
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
    percent: Option<u8>,
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
    let page = OnePage {
        frame: Frame::of("App session", SECTION, &person.visit),
        state: words::task(session.state),
        percent: (session.state == TaskState::Running).then_some(task.percent),
        created: moment(session.created),
        started: session.started.map(moment),
        ended: session.ended.map(moment),
        has_receipt: task.receipt.is_some(),
        may_cancel: matches!(session.state, TaskState::Queued | TaskState::Running),
        session,
    };
    draw(&person.visit, &page)
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
