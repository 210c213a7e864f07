//! Setting a customer's key up, or another in its place: chosen by where it is held, tested, and taken in use when the test was good.
//!
//! A secret that is typed here goes to the test and, sealed, into the database; no page shows one again, a form that was refused
//! neither. What the hub's identity must be granted is shown to be copied.

use api::{
    KeyCredentials, KeyPolicyForm, KeyProvider, KeyService, KeyTest, OrganizationId, Plan, Secret,
    SetOrganizationKey, TestOrganizationKey, Time,
};
use askama::Template;
use axum::extract::State;
use axum::response::Response;
use custody::kms::Services;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::guard::{Form, FreshSession, SignedIn};
use super::organization_key::SECTION;
use super::view::{Frame, Refusal, again, page as draw};
use crate::HubError;
use crate::app;
use crate::http::extract::{Id, Params};
use crate::http::organization_keys::Granted;
use crate::state::Hub;

/// Where keys are held, in the order in which they are offered.
const PROVIDERS: [KeyProvider; 4] =
    [KeyProvider::AwsKms, KeyProvider::AzureKeyVault, KeyProvider::Pkcs11, KeyProvider::LocalFile];

const fn word(provider: KeyProvider) -> &'static str {
    match provider {
        KeyProvider::AwsKms => "aws_kms",
        KeyProvider::AzureKeyVault => "azure_key_vault",
        KeyProvider::Pkcs11 => "pkcs11",
        KeyProvider::LocalFile => "local_file",
        KeyProvider::Platform => "platform",
    }
}

/// A provider that the page offers.
struct Offered {
    value: &'static str,
    words: &'static str,
    is_chosen: bool,
}

/// What a form brings. What a provider does not ask for is empty.
#[derive(Deserialize)]
pub(super) struct SetUp {
    provider: KeyProvider,
    #[serde(default)]
    key: String,
    #[serde(default)]
    region: String,
    #[serde(default)]
    role: String,
    #[serde(default)]
    access_key: String,
    #[serde(default)]
    web_identity: String,
    #[serde(default)]
    tenant: String,
    #[serde(default)]
    client: String,
    #[serde(default)]
    token: String,
    #[serde(default)]
    secret: Option<Secret>,
    #[serde(default)]
    certificate: Option<Secret>,
    #[serde(default)]
    expires: String,
    #[serde(default)]
    lease: String,
    #[serde(default)]
    unattested: Option<String>,
    #[serde(default)]
    recovery: String,
    #[serde(default)]
    confirm: String,
    #[serde(rename = "do")]
    what: What,
}

/// Which button was pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Test,
    Save,
}

fn given(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

impl SetUp {
    fn none(provider: KeyProvider) -> Self {
        let empty = String::new;
        Self {
            provider,
            key: empty(),
            region: empty(),
            role: empty(),
            access_key: empty(),
            web_identity: empty(),
            tenant: empty(),
            client: empty(),
            token: empty(),
            secret: None,
            certificate: None,
            expires: empty(),
            lease: empty(),
            unattested: None,
            recovery: empty(),
            confirm: empty(),
            what: What::Test,
        }
    }

    const fn word(&self) -> &'static str {
        word(self.provider)
    }

    fn service(&self) -> Result<KeyService, HubError> {
        let wanted = |text: &str, what: &str| {
            given(text).ok_or_else(|| HubError::bad_request(format!("{what} is missing")))
        };
        Ok(match self.provider {
            KeyProvider::AwsKms => KeyService::AwsKms {
                key: wanted(&self.key, "the key")?,
                region: wanted(&self.region, "the region")?,
                role: given(&self.role),
            },
            KeyProvider::AzureKeyVault => KeyService::AzureKeyVault {
                key: wanted(&self.key, "the key's URL")?,
                tenant: wanted(&self.tenant, "the tenant's id")?,
                client_id: wanted(&self.client, "the application's id")?,
            },
            KeyProvider::Pkcs11 => KeyService::Pkcs11 {
                token: wanted(&self.token, "the token's label")?,
                key: wanted(&self.key, "the key's label")?,
            },
            KeyProvider::LocalFile => {
                KeyService::LocalFile { name: wanted(&self.key, "the file's name")? }
            }
            KeyProvider::Platform => {
                return Err(HubError::bad_request("the platform's key is none of the organization")
                    .hint("`chorion org kms leave` gives the keys to the platform, and says what that means"));
            }
        })
    }

    /// The secrets leave the form: it has none when it is drawn again.
    fn credentials(&mut self) -> Result<KeyCredentials, HubError> {
        let typed = |secret: Option<Secret>| secret.filter(|it| !it.reveal().trim().is_empty());
        let (secret, certificate) = (typed(self.secret.take()), typed(self.certificate.take()));
        let wanted = |secret: Option<Secret>, what: &str| {
            secret.ok_or_else(|| HubError::bad_request(format!("{what} is missing")))
        };
        Ok(match self.provider {
            KeyProvider::AwsKms => match (given(&self.access_key), given(&self.web_identity)) {
                (Some(id), None) => KeyCredentials::AccessKey {
                    id,
                    secret: wanted(secret, "the access key's secret")?,
                },
                (None, Some(role)) => KeyCredentials::WebIdentity { role },
                _ => {
                    return Err(HubError::bad_request("nothing says who asks AWS, or two things do")
                        .hint("give an access key with its secret, or a role that trusts this hub's machine"));
                }
            },
            KeyProvider::AzureKeyVault => match (secret, certificate) {
                (Some(secret), None) => KeyCredentials::ClientSecret { secret },
                // Browsers end lines as RFC 7578 says.
                (None, Some(pem)) => KeyCredentials::ClientCertificate {
                    pem: Secret::new(Zeroizing::new(pem.reveal().replace("\r\n", "\n"))),
                },
                _ => {
                    return Err(HubError::bad_request(
                        "the application has neither a secret nor a certificate here, or both",
                    )
                    .hint("give one of them: the value of the secret, not its id"));
                }
            },
            KeyProvider::Pkcs11 => KeyCredentials::Pin { pin: wanted(secret, "the token's PIN")? },
            KeyProvider::LocalFile | KeyProvider::Platform => KeyCredentials::None,
        })
    }

    fn expires(&self) -> Result<Option<Time>, HubError> {
        let Some(date) = given(&self.expires) else { return Ok(None) };
        let time = format!("{date}T00:00:00Z").parse();
        time.map(Some).map_err(|_| {
            HubError::bad_request(format!("`{date}` is no date")).hint("write YEAR-MONTH-DAY")
        })
    }

    fn lease(&self) -> Result<Option<u32>, HubError> {
        let Some(seconds) = given(&self.lease) else { return Ok(None) };
        seconds
            .parse()
            .map(Some)
            .map_err(|_| HubError::bad_request(format!("`{seconds}` is no number of seconds")))
    }
}

#[derive(Template)]
#[template(path = "key_set.html")]
struct SetPage {
    frame: Frame,
    organization: OrganizationId,
    refusal: Option<Refusal>,
    tested: Option<KeyTest>,
    is_set: bool,
    in_plan: bool,
    offered: Vec<Offered>,
    form: Option<SetUp>,
    external_id: String,
    grant: &'static str,
}

async fn page_of(
    hub: &Hub,
    person: &SignedIn,
    id: OrganizationId,
    form: Option<SetUp>,
) -> Result<SetPage, HubError> {
    let custody = app::organizations::custody(hub, &person.caller, id).await?;
    let chosen = form.as_ref().map(|form| form.provider);
    let is_set =
        custody.own_key != api::OwnKey::NotSet && custody.own_key != api::OwnKey::NotInPlan;
    Ok(SetPage {
        frame: Frame::of("Set the organization's key", SECTION, &person.visit),
        organization: id,
        refusal: None,
        tested: None,
        is_set,
        in_plan: custody.plan == Plan::Enterprise,
        offered: PROVIDERS
            .into_iter()
            .map(|provider| Offered {
                value: word(provider),
                words: provider.words(),
                is_chosen: chosen == Some(provider),
            })
            .collect(),
        grant: match chosen {
            Some(KeyProvider::AzureKeyVault) => "az-cli",
            _ => "aws-json",
        },
        form,
        external_id: Services::external_id(id),
    })
}

/// Where the key is held, as a link says it.
#[derive(Deserialize)]
pub(super) struct Chosen {
    #[serde(default)]
    provider: Option<KeyProvider>,
}

pub(super) async fn page(
    State(hub): State<Hub>,
    person: FreshSession,
    Id(id): Id<OrganizationId>,
    Params(Chosen { provider }): Params<Chosen>,
) -> Result<Response, HubError> {
    let chosen = provider.filter(|provider| PROVIDERS.contains(provider));
    draw(&person.visit, &page_of(&hub, &person, id, chosen.map(SetUp::none)).await?)
}

pub(super) async fn set(
    State(hub): State<Hub>,
    person: FreshSession,
    Id(id): Id<OrganizationId>,
    Form(mut form): Form<SetUp>,
) -> Result<Response, HubError> {
    let what = form.what;
    let done = carried_out(&hub, &person, id, &mut form).await;
    if done.is_ok() && what == What::Save {
        form = SetUp::none(form.provider);
    }
    let page = page_of(&hub, &person, id, Some(form)).await?;
    match done {
        Ok(tested) => draw(&person.visit, &SetPage { tested: Some(tested), ..page }),
        Err(error) => {
            let refusal = Some(Refusal::of(&error));
            again(&person.visit, error, &SetPage { refusal, ..page })
        }
    }
}

async fn carried_out(
    hub: &Hub,
    person: &SignedIn,
    id: OrganizationId,
    form: &mut SetUp,
) -> Result<KeyTest, HubError> {
    let credentials = form.credentials()?;
    let service = form.service()?;
    if form.what == What::Test {
        let body = TestOrganizationKey { service: Some(service), credentials };
        return app::organization_keys::test(hub, &person.caller, id, body).await;
    }
    let body = SetOrganizationKey {
        service,
        credentials,
        lease_seconds: form.lease()?,
        unattested: Some(form.unattested.is_some()),
        secret_expires: form.expires()?,
        recovery: given(&form.recovery),
        confirm: form.confirm.trim().to_owned(),
    };
    app::organization_keys::set(hub, &person.caller, id, body).await
}

/// A form of a policy as people read it.
const fn form_words(form: KeyPolicyForm) -> &'static str {
    match form {
        KeyPolicyForm::AwsJson => "AWS: a statement of the key's policy and of a role, JSON",
        KeyPolicyForm::AwsTerraform => "AWS: Terraform",
        KeyPolicyForm::AzCli => "Azure: role assignments, command line",
        KeyPolicyForm::AzureTerraform => "Azure: Terraform",
    }
}

#[derive(Template)]
#[template(path = "key_policy.html")]
struct PolicyPage {
    frame: Frame,
    organization: OrganizationId,
    refusal: Option<Refusal>,
    forms: Vec<Offered>,
    key: String,
    principal: String,
    policy: Option<String>,
}

pub(super) async fn grants(
    State(hub): State<Hub>,
    person: SignedIn,
    Id(id): Id<OrganizationId>,
    Params(asked): Params<Granted>,
) -> Result<Response, HubError> {
    app::organizations::show(&hub, &person.caller, id).await?;
    let form = asked.form.unwrap_or_default();
    let (key, principal) = (asked.key.unwrap_or_default(), asked.principal.unwrap_or_default());
    let mut page = PolicyPage {
        frame: Frame::of("What the hub must be granted", SECTION, &person.visit),
        organization: id,
        refusal: None,
        forms: KeyPolicyForm::ALL
            .into_iter()
            .map(|one| Offered {
                value: one.as_str(),
                words: form_words(one),
                is_chosen: one == form,
            })
            .collect(),
        policy: None,
        key: key.clone(),
        principal: principal.clone(),
    };
    if key.trim().is_empty() && principal.trim().is_empty() {
        return draw(&person.visit, &page);
    }
    match app::organization_keys::policy(&hub, &person.caller, id, form, &key, &principal).await {
        Ok(made) => draw(&person.visit, &PolicyPage { policy: Some(made.policy), ..page }),
        Err(error) => {
            page.refusal = Some(Refusal::of(&error));
            again(&person.visit, error, &page)
        }
    }
}
