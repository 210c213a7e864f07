//! The first page: what this is, who is signed in, and where to go.

use askama::Template;
use axum::response::Response;

use super::view::{Frame, page as draw};
use super::visit::Visit;
use crate::HubError;

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    frame: Frame,
    authority: String,
}

pub(super) async fn page(visit: Visit) -> Result<Response, HubError> {
    let authority = visit.authority.clone();
    draw(&visit, &Home { frame: Frame::new("Chorion", &visit), authority })
}
