//! What somebody keeps under twelve words: projects whose key they alone hold, what waits for their answer, and who used them.
//!
//! The hub cannot open names or contents, so it shows none: they are drawn by the authenticator, on a device of the owner's.

use api::{ApprovalRequest, ApprovalState, Custodian, Event, Outcome, Project, ProjectId, Right};
use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::guard::SignedIn;
use super::qr::QrCode;
use super::view::{Frame, moment, page as draw};
use super::words::{self, Mark};
use crate::HubError;
use crate::app;
use crate::state::Hub;

const SECTION: &str = "/vaults";
/// How many projects, requests and uses the page shows.
const PARTS: usize = 100;

struct VaultRow {
    id: ProjectId,
    detail: String,
    datasets: u64,
    size: String,
    until: Option<String>,
    is_mine: bool,
}

struct RequestRow {
    id: String,
    project: ProjectId,
    detail: String,
    state: Mark,
}

struct UseRow {
    act: String,
    detail: String,
    outcome: Mark,
}

/// What a device is paired by: the address of an authenticator with this hub's in it.
struct PairRow {
    address: String,
    code: QrCode,
}

fn pair(origin: &str, hub: &str) -> Option<PairRow> {
    let address = format!("{origin}/#pair={hub}");
    QrCode::of(&address).map(|code| PairRow { address, code })
}

#[derive(Template)]
#[template(path = "vaults.html")]
struct VaultsPage {
    frame: Frame,
    rows: Vec<VaultRow>,
    requests: Vec<RequestRow>,
    uses: Vec<UseRow>,
    authenticators: Vec<String>,
    devices: Vec<PairRow>,
}

fn request(request: ApprovalRequest) -> RequestRow {
    let state = match request.state {
        ApprovalState::Pending => Mark { class: "wait", word: "waits for your device" },
        ApprovalState::Approved | ApprovalState::Used => Mark { class: "ok", word: "approved" },
        ApprovalState::Refused => Mark { class: "", word: "refused" },
        ApprovalState::Expired => Mark { class: "", word: "too late" },
    };
    let (kind, created) = (request.kind.as_str(), moment(request.created));
    RequestRow {
        id: request.id.to_string(),
        project: request.project,
        detail: format!("{kind}, asked for by {} at {created}", request.requester),
        state,
    }
}

fn used(event: Event) -> UseRow {
    let outcome = match event.outcome {
        Outcome::Done => Mark { class: "ok", word: "done" },
        Outcome::Refused => Mark { class: "", word: "refused" },
        Outcome::Failed => Mark { class: "danger", word: "failed" },
        Outcome::Intended => Mark { class: "wait", word: "announced" },
    };
    let purpose = event.purpose.map(|purpose| format!(", for {purpose}")).unwrap_or_default();
    let leaf = event.leaf.map(|leaf| format!(", leaf {}", leaf.index)).unwrap_or_default();
    let (actor, object, at) = (event.actor, event.object, moment(event.at));
    UseRow { act: event.act, detail: format!("{at}: {actor} on {object}{purpose}{leaf}"), outcome }
}

pub(super) async fn page(State(hub): State<Hub>, person: SignedIn) -> Result<Response, HubError> {
    let caller = &person.caller;
    let projects = app::projects::held_by_owners(&hub, caller, PARTS).await?;
    let ids: Vec<ProjectId> = projects.iter().map(|project| project.id).collect();
    let mut sizes = app::projects::sizes(&hub, &ids).await?;
    let row = |project: Project| {
        let (datasets, bytes) = sizes.remove(&project.id).unwrap_or_default();
        VaultRow {
            id: project.id,
            detail: format!("{}; since {}", words::right(project.right), moment(project.created)),
            datasets,
            size: words::size(bytes),
            until: project.readable_by_operator_until.map(moment),
            is_mine: project.right == Right::Owner && project.custodian == Custodian::Owner,
        }
    };
    let rows: Vec<VaultRow> = projects.into_iter().map(row).collect();
    let mine: Vec<ProjectId> = rows.iter().filter(|row| row.is_mine).map(|row| row.id).collect();
    let uses = app::events::newest_of(&hub, caller, &mine, PARTS).await?;
    let mut requests = app::approvals::list(&hub, caller, "", 1000).await?;
    requests.reverse();
    requests.truncate(PARTS);
    let authenticators = hub.authenticators.origins();
    let page = VaultsPage {
        frame: Frame::of("Vaults", SECTION, &person.visit),
        rows,
        requests: requests.into_iter().map(request).collect(),
        uses: uses.into_iter().map(used).collect(),
        devices: authenticators.iter().filter_map(|origin| pair(origin, &hub.url)).collect(),
        authenticators,
    };
    draw(&person.visit, &page)
}
