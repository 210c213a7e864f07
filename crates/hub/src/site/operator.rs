//! What whoever runs this hub sees of it: how it is, jobs, facilities and the scrubber, organizations' key services by how they
//! stand, who is blocked, versions. No data, and no name or id of anybody's but of whom the hub blocks. Blocks are set and lifted here.

use api::{AddBlock, Block, BlockId, FacilityStatus, Time};
use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use jiff::SignedDuration;
use serde::Deserialize;

use super::guard::{Form, FreshSession, SignedIn};
use super::sign_in::Nothing;
use super::view::{Frame, Refusal, again, moment, page as draw};
use super::words::{self, Mark};
use crate::HubError;
use crate::app;
use crate::app::health::Health;
use crate::http::extract::Id;
use crate::state::Hub;

const SECTION: &str = "/hub";
/// A backup older than this is wanting.
const BACKUP_AGE: SignedDuration = SignedDuration::from_hours(7 * 24);
/// A certificate that ends within this is wanting.
const CERTIFICATE_LEFT: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How many blocks the page shows.
const BLOCKS: i64 = 200;
/// For how long somebody is blocked, in hours and words; until it is lifted where no hours are said.
const LASTING: [(&str, &str); 5] = [
    ("1", "one hour"),
    ("24", "one day"),
    ("168", "one week"),
    ("720", "thirty days"),
    ("", "until it is lifted"),
];

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
            "draining" => ("wait", "draining"),
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
    refusal: Option<Refusal>,
    form: Blocked,
    health: Vec<Fact>,
    jobs: Vec<Fact>,
    kept: Vec<Fact>,
    key_services: Vec<Fact>,
    scrubbed_percent: u8,
    scrubber: String,
}

/// A line of the page; a mark where somebody should look.
struct Fact {
    name: String,
    words: String,
    mark: Option<Mark>,
}

impl Fact {
    fn new(name: impl Into<String>, words: impl Into<String>) -> Self {
        Self { name: name.into(), words: words.into(), mark: None }
    }

    fn wanting(self, is_wanting: bool, word: &'static str) -> Self {
        let mark = is_wanting.then_some(Mark { class: "danger", word });
        Self { mark, ..self }
    }
}

/// A word of the wire as people read it.
fn spelled(word: &str) -> String {
    word.replace('_', " ")
}

fn health(found: &Health, now: Time) -> Vec<Fact> {
    let (usable, all) = found.key_places;
    let backup = found.backup.map_or_else(|| "none yet".to_owned(), moment);
    let is_old = found.backup.is_none_or(|made| now.duration_since(made) > BACKUP_AGE);
    let mut facts = vec![
        Fact::new("Version", env!("CARGO_PKG_VERSION")),
        Fact::new("Places of the key store", format!("{usable} of {all} usable"))
            .wanting(usable < all, "away"),
        Fact::new("Newest backup", backup).wanting(is_old, "make one"),
        Fact::new("Connections", found.connections.to_string()),
        Fact::new("Leaves of the audit log", words::count(found.counts.leaves)),
    ];
    if let Some(ends) = found.certificate_ends {
        let is_near = ends.duration_since(now) < CERTIFICATE_LEFT;
        facts.push(Fact::new("Certificate ends", moment(ends)).wanting(is_near, "soon"));
    }
    facts
}

fn jobs(found: &Health) -> Vec<Fact> {
    let counts = &found.counts;
    let of = |state: &str| {
        let found = counts.tasks.iter().find(|(word, _)| word == state);
        words::count(found.map_or(0, |(_, count)| *count))
    };
    vec![
        Fact::new("Tasks that wait for a vault", of("queued")),
        Fact::new("Tasks that run", of("running")),
        Fact::new("Tasks that failed", words::count(counts.failed_tasks)),
        Fact::new("Erasures that a facility has not confirmed", words::count(counts.erasures)),
        Fact::new("Rows newer than the index beside the keys", words::count(counts.undescribed)),
    ]
}

fn kept(found: &Health) -> Vec<Fact> {
    let counts = &found.counts;
    let mut facts = vec![Fact::new(
        "Sealed objects",
        format!(
            "{}, {} in one copy",
            words::count(counts.objects),
            words::size(counts.sealed_bytes)
        ),
    )];
    facts.extend(counts.datasets.iter().map(|(kind, state, count)| {
        Fact::new(format!("{}, {}", spelled(kind), spelled(state)), words::count(*count))
    }));
    facts
}

/// Who shall be blocked, as a form says it.
#[derive(Default, Deserialize)]
pub(super) struct Blocked {
    #[serde(default)]
    what: What,
    #[serde(default)]
    subject: String,
    #[serde(default)]
    hours: String,
    #[serde(default)]
    reason: String,
}

/// What is blocked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    /// Whoever calls from an address, or from the 64 bits of one of IPv6.
    #[default]
    Address,
    /// Whoever signs with a key.
    Key,
}

impl Blocked {
    fn body(&self) -> Result<AddBlock, HubError> {
        let kind = match self.what {
            What::Address => "address",
            What::Key => "key",
        };
        let hours = match self.hours.trim() {
            "" => None,
            hours => Some(hours.parse::<u32>().map_err(|_| {
                HubError::bad_request("the time of the block is no number of hours")
            })?),
        };
        Ok(AddBlock {
            subject: format!("{kind}:{}", self.subject.trim()),
            seconds: hours.map(|hours| hours.saturating_mul(3600)),
            reason: self.reason.clone(),
        })
    }

    /// For how long, with what was chosen.
    fn lasting(&self) -> Vec<(&'static str, &'static str, bool)> {
        LASTING.iter().map(|&(hours, words)| (hours, words, hours == self.hours)).collect()
    }
}

async fn page_of(
    hub: &Hub,
    person: &SignedIn,
    form: Blocked,
    refusal: Option<Refusal>,
) -> Result<HubPage, HubError> {
    let store = app::store_admin::status(hub, &person.caller).await?;
    let blocks = app::blocks::list(hub, &person.caller, "", BLOCKS)?;
    let found = app::health::look(hub, &person.caller).await?;
    let key_services = found.counts.key_services.iter().map(|(standing, count)| {
        Fact::new(spelled(standing), words::count(*count)).wanting(standing != "in_force", "look")
    });
    Ok(HubPage {
        refusal,
        form,
        health: health(&found, person.caller.at),
        jobs: jobs(&found),
        kept: kept(&found),
        key_services: key_services.collect(),
        scrubbed_percent: found.scrubbed_percent,
        scrubber: format!(
            "{} copies were set aside, {} are missing somewhere",
            words::count(found.quarantined),
            words::count(found.behind)
        ),
        frame: Frame::of("This hub", SECTION, &person.visit),
        write_quorum: store.write_quorum,
        facilities: store.facilities.into_iter().map(FacilityRow::from).collect(),
        blocks: blocks.into_iter().map(BlockRow::from).collect(),
    })
}

pub(super) async fn page(State(hub): State<Hub>, person: SignedIn) -> Result<Response, HubError> {
    let form = Blocked { hours: "1".to_owned(), ..Blocked::default() };
    draw(&person.visit, &page_of(&hub, &person, form, None).await?)
}

pub(super) async fn block(
    State(hub): State<Hub>,
    person: FreshSession,
    Form(form): Form<Blocked>,
) -> Result<Response, HubError> {
    let done = match form.body() {
        Ok(body) => {
            let from = person.visit.visitor.address;
            app::blocks::add(&hub, &person.caller, from, &body).await
        }
        Err(error) => Err(error),
    };
    match done {
        Ok(_) => Ok(Redirect::to(SECTION).into_response()),
        Err(error) => {
            let refusal = Some(Refusal::of(&error));
            let page = page_of(&hub, &person, form, refusal).await?;
            again(&person.visit, error, &page)
        }
    }
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
