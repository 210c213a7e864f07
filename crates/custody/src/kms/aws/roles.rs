//! Who asks: static credentials, or temporary ones that the Security Token Service gives for a role (its Query protocol: a form in,
//! XML out).

use std::path::PathBuf;

use api::{Secret, Time};
use jiff::SignedDuration;
use quick_xml::Reader;
use quick_xml::events::Event;
use reqwest::{StatusCode, Url};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::{AwsKeys, common, signed};
use crate::kms::KmsError;
use crate::kms::http::{Answer, call, odd};

const FORM: &str = "application/x-www-form-urlencoded";
const VERSION: &str = "2011-06-15";
/// How long temporary credentials count: the least that AWS gives, because this is how long a role that was taken away may go on.
const LIFE_SECONDS: &str = "900";
/// How long before their end they are not used any more.
const MARGIN: SignedDuration = SignedDuration::from_secs(60);

/// Who asks.
#[derive(Debug, Clone)]
pub enum AwsCredentials {
    /// An access key.
    Static(AwsKeys),
    /// A role that trusts the token of this machine (of a Kubernetes service account, say), read anew each time.
    WebIdentity {
        /// The role.
        role: String,
        /// The file with the token.
        token_file: PathBuf,
    },
}

/// A customer's role.
#[derive(Debug, Clone)]
pub struct AwsRole {
    /// Its ARN.
    pub arn: String,
    /// What the customer's trust policy asks for: one per organization, so that nobody has this hub use another's role.
    pub external_id: String,
}

pub(super) struct Roles {
    credentials: AwsCredentials,
    role: Option<AwsRole>,
    endpoint: Url,
    region: String,
    http: reqwest::Client,
    kept: Mutex<Option<AwsKeys>>,
}

impl Roles {
    pub(super) fn new(
        credentials: AwsCredentials,
        role: Option<AwsRole>,
        endpoint: Url,
        region: String,
        http: reqwest::Client,
    ) -> Self {
        Self { credentials, role, endpoint, region, http, kept: Mutex::default() }
    }

    /// The credentials that sign now.
    pub(super) async fn keys(&self, now: Time) -> Result<AwsKeys, KmsError> {
        if let (AwsCredentials::Static(keys), None) = (&self.credentials, &self.role) {
            return Ok(keys.clone());
        }
        let mut kept = self.kept.lock().await;
        if let Some(keys) = &*kept
            && keys.expires.is_none_or(|end| end.duration_since(now) > MARGIN)
        {
            return Ok(keys.clone());
        }
        let keys = match &self.credentials {
            AwsCredentials::Static(keys) => keys.clone(),
            AwsCredentials::WebIdentity { role, token_file } => {
                let token =
                    std::fs::read_to_string(token_file).map(Zeroizing::new).map_err(|_| {
                        KmsError::Credentials {
                            why: "the file with this machine's token does not read",
                        }
                    })?;
                let form = [
                    ("Action", "AssumeRoleWithWebIdentity"),
                    ("Version", VERSION),
                    ("RoleArn", role),
                    ("RoleSessionName", "chorion"),
                    ("WebIdentityToken", token.trim()),
                    ("DurationSeconds", LIFE_SECONDS),
                ];
                // The token is the proof: this call is not signed.
                let request = self.http.post(self.endpoint.clone());
                let request =
                    request.header("content-type", FORM).body(encoded(&form)?.to_string());
                given(&call(request).await?, role)?
            }
        };
        let keys = match &self.role {
            None => keys,
            Some(role) => {
                let form = [
                    ("Action", "AssumeRole"),
                    ("Version", VERSION),
                    ("RoleArn", &role.arn),
                    ("RoleSessionName", "chorion"),
                    ("ExternalId", &role.external_id),
                    ("DurationSeconds", LIFE_SECONDS),
                ];
                let body = encoded(&form)?;
                let headers = [("content-type", FORM)];
                let request = signed(
                    &self.http,
                    &self.endpoint,
                    &self.region,
                    "sts",
                    &headers,
                    &body,
                    &keys,
                    now,
                )?;
                given(&call(request).await?, &role.arn)?
            }
        };
        *kept = Some(keys.clone());
        Ok(keys)
    }

    /// Forgets temporary credentials, because the service does not take them.
    pub(super) async fn forget(&self) {
        *self.kept.lock().await = None;
    }
}

fn encoded(form: &[(&str, &str)]) -> Result<Zeroizing<String>, KmsError> {
    serde_urlencoded::to_string(form)
        .map(Zeroizing::new)
        .map_err(|e| KmsError::Configuration(e.to_string()))
}

/// The credentials in an answer, or what its refusal means.
fn given(answer: &Answer, role: &str) -> Result<AwsKeys, KmsError> {
    if answer.status != StatusCode::OK {
        let code = element(&answer.body, "Code").unwrap_or_default();
        let message = element(&answer.body, "Message").unwrap_or_default();
        return Err(match code.trim_end_matches("Exception") {
            "AccessDenied" | "RegionDisabled" | "InvalidIdentityToken" | "IDPRejectedClaim" => {
                KmsError::Denied { key: role.to_owned(), act: "assume the role, and so not work" }
            }
            code => common(code, &message, answer),
        });
    }
    let odd_answer = || odd("its answer names no credentials");
    let text = |name| element(&answer.body, name).ok_or_else(odd_answer);
    let expires: Time = text("Expiration")?.parse().map_err(|_| odd_answer())?;
    Ok(AwsKeys {
        id: text("AccessKeyId")?.to_string(),
        secret: Secret::new(text("SecretAccessKey")?),
        session: Some(Secret::new(text("SessionToken")?)),
        expires: Some(expires),
    })
}

/// The text of the first element of that name.
fn element(xml: &[u8], name: &str) -> Option<Zeroizing<String>> {
    let mut reader = Reader::from_str(std::str::from_utf8(xml).ok()?);
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) if start.local_name().as_ref() == name => {
                return Some(Zeroizing::new(
                    reader.read_text(start.name()).ok()?.trim().to_owned(),
                ));
            }
            Event::Eof => return None,
            _ => {}
        }
    }
}
