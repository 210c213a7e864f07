//! The key that an organization holds itself: how it stands, what follows when it is taken away, and a test of it now. It is set
//! up from a machine of the administrator's, where credentials need not pass a browser.

use api::{
    KeyCredentials, KeyService, KeyStanding, KeyTest, OrganizationId, OrganizationKeyStatus,
    Rotation, TestOrganizationKey,
};
use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::guard::{Form, FreshSession, SignedIn};
use super::sign_in::Nothing;
use super::view::{Frame, Refusal, again, moment, page as draw};
use super::words::Mark;
use crate::HubError;
use crate::app;
use crate::data;
use crate::http::extract::Id;
use crate::state::Hub;

const SECTION: &str = "/projects";

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
    /// What is being wrapped anew, and how far it is.
    at_work: Vec<String>,
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
        at_work: status
            .rotations
            .iter()
            .filter(|rotation| rotation.ended.is_none())
            .map(|rotation| {
                let Rotation { kind, done, total, .. } = rotation;
                format!("{}: {done} of {total} keys are wrapped anew.", kind.words())
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
    draw(&person.visit, &page_of(&hub, &person, id, Ok(None)).await?)
}

pub(super) async fn test(
    State(hub): State<Hub>,
    person: FreshSession,
    Id(id): Id<OrganizationId>,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Response, HubError> {
    let asked = TestOrganizationKey { service: None, credentials: KeyCredentials::None };
    match app::organization_keys::test(&hub, &person.caller, id, asked).await {
        Ok(tested) => draw(&person.visit, &page_of(&hub, &person, id, Ok(Some(tested))).await?),
        Err(error) => {
            let page = page_of(&hub, &person, id, Err(&error)).await?;
            again(&person.visit, error, &page)
        }
    }
}
