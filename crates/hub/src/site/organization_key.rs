//! The key that an organization holds itself: how it stands, what follows when it is taken away, a test of it now, rotations, the
//! recovery copy, and the rehearsal of a revocation. It is set up in `key_set_up`.

use api::{
    Digest, ErrorCode, KeyCredentials, KeyService, KeyStanding, KeyTest, OrganizationId,
    OrganizationKeyStatus, RecoveryStored, RotateOrganizationKey, RotationKind,
    TestOrganizationKey, Time,
};
use askama::Template;
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::guard::{Form, FreshSession, SignedIn};
use super::sign_in::Nothing;
use super::view::{Frame, Refusal, again, moment, page as draw};
use super::words::Mark;
use crate::HubError;
use crate::app;
use crate::data;
use crate::http::extract::Id;
use crate::state::Hub;

pub(super) const SECTION: &str = super::organizations::SECTION;

#[derive(Template)]
#[template(path = "organization_key.html")]
struct KeyPage {
    frame: Frame,
    organization: OrganizationId,
    refusal: Option<Refusal>,
    tested: Option<KeyTest>,
    status: OrganizationKeyStatus,
    standing: Mark,
    held: String,
    since: String,
    checked: Option<String>,
    expires: Option<String>,
    versions: Vec<(String, String)>,
    rotations: Vec<String>,
}

fn held(service: &KeyService) -> String {
    match service {
        KeyService::AwsKms { key, region, .. } => format!("AWS KMS, {key} in {region}"),
        KeyService::AzureKeyVault { key, .. } => format!("Azure Key Vault, {key}"),
        KeyService::Pkcs11 { token, key } => format!("PKCS #11 token {token}, {key}"),
        KeyService::LocalFile { name } => format!("a file on this machine, {name}: for trials"),
        KeyService::Platform => "the platform: the organization has left its own key".to_owned(),
    }
}

async fn page_of(
    hub: &Hub,
    person: &SignedIn,
    id: OrganizationId,
    outcome: Result<Option<KeyTest>, &HubError>,
) -> Result<KeyPage, HubError> {
    let status = app::organization_keys::status(hub, &person.caller, id).await?;
    let (refusal, tested) = match outcome {
        Ok(tested) => (None, tested),
        Err(error) => (Some(Refusal::of(error)), None),
    };
    Ok(KeyPage {
        frame: Frame::of("The organization's key", SECTION, &person.visit),
        organization: id,
        refusal,
        tested,
        standing: match status.standing {
            KeyStanding::InForce => Mark { class: "ok", word: "in force" },
            KeyStanding::TakenAway => Mark { class: "danger", word: "taken away" },
            KeyStanding::Unreachable => Mark { class: "danger", word: "does not answer" },
        },
        held: held(&status.service),
        since: moment(status.since),
        checked: status.checked.map(moment),
        expires: status.secret_expires.map(moment),
        versions: status
            .versions
            .iter()
            .map(|key| {
                (format!("{}, version {}", data::word(key.purpose), key.version), key.key.clone())
            })
            .collect(),
        rotations: status
            .rotations
            .iter()
            .rev()
            .take(5)
            .map(|rotation| {
                let ended = rotation
                    .ended
                    .map_or_else(|| "at work".to_owned(), |at| format!("done {}", moment(at)));
                format!(
                    "{}: {} of {} keys, since {}, {ended}",
                    rotation.kind.words(),
                    rotation.done,
                    rotation.total,
                    moment(rotation.began)
                )
            })
            .collect(),
        status,
    })
}

pub(super) async fn page(
    State(hub): State<Hub>,
    person: SignedIn,
    Id(id): Id<OrganizationId>,
) -> Result<Response, HubError> {
    match page_of(&hub, &person, id, Ok(None)).await {
        Ok(page) => draw(&person.visit, &page),
        // There is none yet: the page says how it is set up.
        Err(error) if error.code() == ErrorCode::Conflict => {
            Ok(Redirect::to(&format!("/organizations/{id}/key/set")).into_response())
        }
        Err(error) => Err(error),
    }
}

/// The page once more, with what came of a form.
async fn said(
    hub: &Hub,
    person: &SignedIn,
    id: OrganizationId,
    done: Result<Option<KeyTest>, HubError>,
) -> Result<Response, HubError> {
    match done {
        Ok(tested) => draw(&person.visit, &page_of(hub, person, id, Ok(tested)).await?),
        Err(error) => {
            let page = page_of(hub, person, id, Err(&error)).await?;
            again(&person.visit, error, &page)
        }
    }
}

pub(super) async fn test(
    State(hub): State<Hub>,
    person: FreshSession,
    Id(id): Id<OrganizationId>,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Response, HubError> {
    let asked = TestOrganizationKey { service: None, credentials: KeyCredentials::None };
    let tested = app::organization_keys::test(&hub, &person.caller, id, asked).await;
    said(&hub, &person, id, tested.map(Some)).await
}

/// What is rotated.
#[derive(Deserialize)]
pub(super) struct Rotate {
    kind: RotationKind,
}

pub(super) async fn rotate(
    State(hub): State<Hub>,
    person: FreshSession,
    Id(id): Id<OrganizationId>,
    Form(Rotate { kind }): Form<Rotate>,
) -> Result<Response, HubError> {
    let body = RotateOrganizationKey { kind };
    match app::organization_keys::rotate(&hub, &person.caller, id, body).await {
        Ok(_) => Ok(back(id)),
        Err(error) => said(&hub, &person, id, Err(error)).await,
    }
}

fn back(id: OrganizationId) -> Response {
    Redirect::to(&format!("/organizations/{id}/key")).into_response()
}

/// The recovery copy as a file: every key in it is sealed to the customer's offline key.
pub(super) async fn recovery(
    State(hub): State<Hub>,
    person: FreshSession,
    Id(id): Id<OrganizationId>,
) -> Result<Response, HubError> {
    let copy = app::organization_keys::recovery(&hub, &person.caller, id).await?;
    let bytes = serde_json::to_vec(&copy)
        .map_err(|e| HubError::internal("the recovery copy was not written", e))?;
    let headers = [
        (CONTENT_TYPE, "application/json".to_owned()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"recovery-{id}.json\"")),
    ];
    Ok((headers, bytes).into_response())
}

/// What names the file that somebody has in hand.
#[derive(Deserialize)]
pub(super) struct Stored {
    sha256: String,
}

pub(super) async fn recovery_stored(
    State(hub): State<Hub>,
    person: FreshSession,
    Id(id): Id<OrganizationId>,
    Form(Stored { sha256 }): Form<Stored>,
) -> Result<Response, HubError> {
    let digest = sha256.trim().to_ascii_lowercase().parse::<Digest>().map_err(|_| {
        HubError::bad_request("what you typed is no SHA-256")
            .hint("`sha256sum FILE` prints that of the file, 64 letters and digits")
    });
    let done = match digest {
        Ok(digest) => {
            let body = RecoveryStored { digest };
            app::organization_keys::recovery_stored(&hub, &person.caller, id, body).await
        }
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => Ok(back(id)),
        Err(error) => said(&hub, &person, id, Err(error)).await,
    }
}

/// Where a drill stands. Nothing of it is kept: the form carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    /// Nothing was done yet.
    Begin,
    /// The key is being taken away.
    Away,
    /// It is being given back.
    Back,
    /// It serves again.
    Done,
}

impl Step {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::Away => "away",
            Self::Back => "back",
            Self::Done => "done",
        }
    }
}

#[derive(Template)]
#[template(path = "key_drill.html")]
struct DrillPage {
    frame: Frame,
    organization: OrganizationId,
    refusal: Option<Refusal>,
    step: Step,
    since: i64,
    /// What was found by the last press.
    found: Vec<String>,
    effect_seconds: u32,
}

impl DrillPage {
    fn new(person: &SignedIn, organization: OrganizationId, effect_seconds: u32) -> Self {
        Self {
            frame: Frame::of("Rehearse a revocation", SECTION, &person.visit),
            organization,
            refusal: None,
            step: Step::Begin,
            since: person.caller.at.as_millisecond(),
            found: Vec::new(),
            effect_seconds,
        }
    }
}

pub(super) async fn drill_page(
    State(hub): State<Hub>,
    person: SignedIn,
    Id(id): Id<OrganizationId>,
) -> Result<Response, HubError> {
    let status = app::organization_keys::status(&hub, &person.caller, id).await?;
    draw(&person.visit, &DrillPage::new(&person, id, status.effect_seconds))
}

/// A press of the drill's button.
#[derive(Deserialize)]
pub(super) struct Pressed {
    step: Step,
    /// Milliseconds since 1970 when this step began.
    since: i64,
}

/// The key as one use of it found it.
enum Used {
    Served,
    Refused(String),
}

pub(super) async fn drill(
    State(hub): State<Hub>,
    person: SignedIn,
    Id(id): Id<OrganizationId>,
    Form(Pressed { step, since }): Form<Pressed>,
) -> Result<Response, HubError> {
    let status = app::organization_keys::status(&hub, &person.caller, id).await?;
    let page = DrillPage::new(&person, id, status.effect_seconds);
    let used = match app::organization_keys::use_once(&hub, &person.caller, id).await {
        Ok(()) => Used::Served,
        Err(error) if error.code() == ErrorCode::KeyAway => Used::Refused(error.title().to_owned()),
        // Neither the one nor the other: its service does not answer.
        Err(error) => {
            let page = DrillPage { refusal: Some(Refusal::of(&error)), step, since, ..page };
            return again(&person.visit, error, &page);
        }
    };
    let began = Time::from_millisecond(since).unwrap_or(person.caller.at);
    let seconds = person.caller.at.duration_since(began).as_secs_f64().max(0.0);
    let (step, since, found) = match (step, used) {
        (Step::Begin | Step::Done, Used::Served) => {
            (Step::Away, page.since, vec!["The key serves: it was used once.".to_owned()])
        }
        (Step::Begin | Step::Done, Used::Refused(why)) => (
            Step::Begin,
            page.since,
            vec![format!("A drill begins with a key that serves: {why}.")],
        ),
        (Step::Away, Used::Served) => (
            Step::Away,
            since,
            vec![format!("It still serves, {seconds:.0} s after the drill began.")],
        ),
        (Step::Away, Used::Refused(why)) => (
            Step::Back,
            page.since,
            vec![
                format!("Refused, {seconds:.0} s after the drill began: {why}."),
                format!(
                    "What is stated: at most {} s after it was taken away.",
                    page.effect_seconds
                ),
            ],
        ),
        (Step::Back, Used::Refused(_)) => {
            (Step::Back, since, vec![format!("Still refused, {seconds:.0} s after that.")])
        }
        (Step::Back, Used::Served) => (
            Step::Done,
            page.since,
            vec![format!("It serves again, {seconds:.0} s after the refusal: the drill is done.")],
        ),
    };
    draw(&person.visit, &DrillPage { step, since, found, ..page })
}
