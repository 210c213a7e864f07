//! What whoever runs this hub sees of it: facilities and who is blocked. No data, no names.

use api::{Block, BlockId, FacilityStatus};
use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};

use super::guard::{Form, FreshSession, SignedIn};
use super::sign_in::Nothing;
use super::view::{Frame, moment, page as draw};
use super::words::{self, Mark};
use crate::HubError;
use crate::app;
use crate::http::extract::Id;
use crate::state::Hub;

const SECTION: &str = "/hub";
/// How many blocks the page shows.
const BLOCKS: i64 = 200;

struct FacilityRow {
    location: String,
    state: Mark,
    holds: String,
    free: Option<String>,
}

impl From<FacilityStatus> for FacilityRow {
    fn from(facility: FacilityStatus) -> Self {
        let (class, word) = match facility.state.as_str() {
            "healthy" => ("ok", "healthy"),
            "behind" => ("wait", "behind, being filled"),
            "read_only" => ("danger", "read-only"),
            "full" => ("danger", "full"),
            _ => ("danger", "missing"),
        };
        let (blobs, bytes) = (words::count(facility.blobs), words::size(facility.bytes));
        Self {
            location: facility.location,
            state: Mark { class, word },
            holds: format!("{blobs} blobs, {bytes}"),
            free: facility.free_bytes.map(words::size),
        }
    }
}

struct BlockRow {
    id: BlockId,
    subject: String,
    reason: String,
    by: &'static str,
    until: String,
}

impl From<Block> for BlockRow {
    fn from(block: Block) -> Self {
        Self {
            id: block.id,
            subject: block.subject,
            reason: block.reason,
            by: if block.by.is_some() { "an operator" } else { "this hub" },
            until: block.until.map_or_else(|| "it is lifted".to_owned(), moment),
        }
    }
}

#[derive(Template)]
#[template(path = "hub.html")]
struct HubPage {
    frame: Frame,
    write_quorum: u32,
    facilities: Vec<FacilityRow>,
    blocks: Vec<BlockRow>,
}

pub(super) async fn page(State(hub): State<Hub>, person: SignedIn) -> Result<Response, HubError> {
    let store = app::store_admin::status(&hub, &person.caller).await?;
    let blocks = app::blocks::list(&hub, &person.caller, "", BLOCKS)?;
    let page = HubPage {
        frame: Frame::of("This hub", SECTION, &person.visit),
        write_quorum: store.write_quorum,
        facilities: store.facilities.into_iter().map(FacilityRow::from).collect(),
        blocks: blocks.into_iter().map(BlockRow::from).collect(),
    };
    draw(&person.visit, &page)
}

pub(super) async fn lift(
    State(hub): State<Hub>,
    person: FreshSession,
    Id(id): Id<BlockId>,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Response, HubError> {
    app::blocks::lift(&hub, &person.caller, id).await?;
    Ok(Redirect::to(SECTION).into_response())
}
