//! Making a project: what it is called, and who shall hold its key.
//!
//! A key that its owner alone holds is made where the twelve words are, so the page says where that is and takes no such project.

use api::{Custodian, OrganizationId, ProjectId};
use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::guard::{Form, SignedIn};
use super::view::{Frame, Refusal, again, page as draw};
use super::words;
use crate::HubError;
use crate::app;
use crate::app::projects::{Holders, Wanted};
use crate::state::Hub;

const SECTION: &str = "/projects";

/// What a form brings.
#[derive(Deserialize)]
pub(super) struct Asked {
    id: ProjectId,
    #[serde(default)]
    name: String,
    custodian: Custodian,
    #[serde(default)]
    belongs: Option<String>,
}

/// The person's organization, as the form offers it.
struct Own {
    id: OrganizationId,
    name: String,
    /// Why its own key cannot hold the project's, if so.
    why_not: Option<Refusal>,
}

impl Own {
    const fn holds(&self) -> bool {
        self.why_not.is_none()
    }
}

impl From<Holders> for Own {
    fn from(holders: Holders) -> Self {
        Self {
            id: holders.organization.id,
            name: holders.organization.name,
            why_not: holders.own_key.err().as_ref().map(Refusal::of),
        }
    }
}

#[derive(Template)]
#[template(path = "new_project.html")]
struct NewPage {
    frame: Frame,
    refusal: Option<Refusal>,
    own: Option<Own>,
    /// Whether the organization's own key is the one that is chosen.
    is_its: bool,
    form: Asked,
    platform: &'static str,
    organization: &'static str,
    owner: &'static str,
    /// Where authenticators are served.
    authenticators: Vec<String>,
}

impl NewPage {
    fn new(hub: &Hub, person: &SignedIn, own: Option<Own>, form: Asked) -> Self {
        let holds = own.as_ref().is_some_and(Own::holds);
        Self {
            frame: Frame::of("Make a project", SECTION, &person.visit),
            refusal: None,
            own,
            is_its: holds && form.custodian == Custodian::Organization,
            form,
            platform: words::holder_sentence(Custodian::Platform),
            organization: words::holder_sentence(Custodian::Organization),
            owner: words::holder_sentence(Custodian::Owner),
            authenticators: hub.authenticators.origins(),
        }
    }
}

async fn own(hub: &Hub, person: &SignedIn) -> Result<Option<Own>, HubError> {
    Ok(app::projects::holders(hub, &person.caller).await?.map(Own::from))
}

pub(super) async fn page(State(hub): State<Hub>, person: SignedIn) -> Result<Response, HubError> {
    let own = own(&hub, &person).await?;
    // The stricter of two is what is proposed: a laxer holder is chosen, never a default.
    let holds = own.as_ref().is_some_and(Own::holds);
    let form = Asked {
        id: ProjectId::generate(),
        name: String::new(),
        custodian: if holds { Custodian::Organization } else { Custodian::Platform },
        belongs: own.as_ref().map(|_| "yes".to_owned()),
    };
    draw(&person.visit, &NewPage::new(&hub, &person, own, form))
}

pub(super) async fn make(
    State(hub): State<Hub>,
    person: SignedIn,
    Form(form): Form<Asked>,
) -> Result<Response, HubError> {
    let own = own(&hub, &person).await?;
    let is_its = form.custodian == Custodian::Organization || form.belongs.is_some();
    let wanted = Wanted {
        id: form.id,
        name: form.name.clone(),
        custodian: form.custodian,
        organization: own.as_ref().filter(|_| is_its).map(|own| own.id),
    };
    match app::projects::create_for(&hub, &person.caller, wanted).await {
        Ok(project) => Ok(Redirect::to(&format!("/projects/{}", project.id)).into_response()),
        Err(error) => {
            let refusal = Some(Refusal::of(&error));
            let page = NewPage { refusal, ..NewPage::new(&hub, &person, own, form) };
            again(&person.visit, error, &page)
        }
    }
}
