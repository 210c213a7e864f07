//! Apps: what can be launched, and what exactly each one is.

use api::{App, AppId};
use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::datasets::ROWS;
use super::guard::SignedIn;
use super::view::{Frame, moment, page as draw};
use crate::HubError;
use crate::app;
use crate::http::extract::Id;
use crate::http::page::Paging;
use crate::state::Hub;

const SECTION: &str = "/apps";

#[derive(Template)]
#[template(path = "apps.html")]
struct ListPage {
    frame: Frame,
    rows: Vec<App>,
    next: Option<String>,
}

pub(super) async fn list(
    State(hub): State<Hub>,
    person: SignedIn,
    paging: Paging,
) -> Result<Response, HubError> {
    let paging = paging.at_most(ROWS);
    let rows = app::apps::list(&hub, &person.caller, &paging.after, paging.rows()).await?;
    let page = paging.page(rows, |app| app.id.to_string());
    let frame = Frame::of("Apps", SECTION, &person.visit);
    draw(&person.visit, &ListPage { frame, rows: page.items, next: page.next })
}

#[derive(Template)]
#[template(path = "app.html")]
struct OnePage {
    frame: Frame,
    app: App,
    created: String,
}

pub(super) async fn page(
    State(hub): State<Hub>,
    person: SignedIn,
    Id(id): Id<AppId>,
) -> Result<Response, HubError> {
    let app = app::apps::show(&hub, &person.caller, id).await?;
    let created = moment(app.created);
    draw(&person.visit, &OnePage { frame: Frame::of("App", SECTION, &person.visit), app, created })
}
