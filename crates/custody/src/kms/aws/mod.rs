//! AWS Key Management Service: `Encrypt`, `Decrypt` and `DescribeKey` over its JSON protocol, signed by our own hand.
//!
//! The encryption context is [`KeyContext::pairs`]: AWS binds it to the ciphertext, writes it into the customer's `CloudTrail`, and lets
//! the customer's policy ask for it. Credentials are static, or what a role gives: assumed with an external id per organization, or with
//! the web identity token of this machine. What a role gave is kept until a minute before it expires, and dropped at once when the
//! service says that it does not count.

mod roles;
mod sign;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use api::{Secret, Time};
use data_encoding::BASE64;
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{StatusCode, Url};
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::http::{Answer, call, client, endpoint, odd};
use super::{
    CustomerKey, KeyContext, KeyDescription, KeyState, KmsError, OrganizationKey, Provider,
    WrappedKey,
};
use roles::Roles;

pub use roles::{AwsCredentials, AwsRole};

const ALGORITHM: &str = "SYMMETRIC_DEFAULT";
const JSON: &str = "application/x-amz-json-1.1";
/// The largest ciphertext that KMS gives.
const BLOB_BYTES: usize = 6144;

/// An access key.
#[derive(Debug, Clone)]
pub struct AwsKeys {
    /// Its id.
    pub id: String,
    /// What signs.
    pub secret: Secret,
    /// What goes with a temporary one.
    pub session: Option<Secret>,
    /// When a temporary one ends.
    pub expires: Option<Time>,
}

/// A key in AWS KMS and how to reach it.
#[derive(Debug, Clone)]
pub struct AwsConfig {
    /// The key: an ARN, or an id or `alias/NAME` of the account whose credentials these are.
    pub key: String,
    /// Its region.
    pub region: String,
    /// Where KMS answers; AWS's own address for the region if absent.
    pub endpoint: Option<String>,
    /// Where the Security Token Service answers; AWS's own address for the region if absent.
    pub sts_endpoint: Option<String>,
    /// Where Secrets Manager answers; AWS's own address for the region if absent.
    pub secrets_endpoint: Option<String>,
    /// Who asks.
    pub credentials: AwsCredentials,
    /// The customer's role that is assumed with them, if any.
    pub role: Option<AwsRole>,
    /// The authority of the certificates, PEM; those of the system if absent.
    pub ca_file: Option<PathBuf>,
}

/// The clock, so that a test can set it.
pub type Clock = Arc<dyn Fn() -> Time + Send + Sync>;

/// A key in AWS KMS.
pub struct AwsKms {
    key: String,
    region: String,
    endpoint: Url,
    secrets: Url,
    http: reqwest::Client,
    roles: Roles,
    clock: Clock,
}

impl fmt::Debug for AwsKms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AwsKms({})", self.key)
    }
}

impl AwsKms {
    /// Takes up the key; nothing is asked yet.
    ///
    /// # Errors
    /// [`KmsError::Configuration`] says what cannot be used.
    pub fn new(config: AwsConfig, clock: Clock) -> Result<Self, KmsError> {
        let plain = |text: &str, more: &[u8]| {
            let fits = |b: u8| b.is_ascii_alphanumeric() || more.contains(&b);
            (1..=2048).contains(&text.len()) && text.bytes().all(fits)
        };
        if !plain(&config.region, b"-") {
            return Err(KmsError::Configuration(format!("`{}` is no region", config.region)));
        }
        if !plain(&config.key, b"-_/:") {
            return Err(KmsError::Configuration(format!("`{}` is no key", config.key)));
        }
        // arn:PARTITION:kms:REGION:ACCOUNT:key/ID
        let region = config.key.starts_with("arn:").then(|| config.key.split(':').nth(3));
        if region.is_some_and(|named| named != Some(config.region.as_str())) {
            return Err(KmsError::Configuration(format!(
                "key {} is in another region than {}",
                config.key, config.region
            )));
        }
        let address = |given: Option<&str>, service: &str| match given {
            Some(given) => endpoint(given),
            None => endpoint(&format!("https://{service}.{}.amazonaws.com", config.region)),
        };
        let http = client(config.ca_file.as_deref())?;
        let kms = address(config.endpoint.as_deref(), "kms")?;
        let secrets = address(config.secrets_endpoint.as_deref(), "secretsmanager")?;
        let sts = address(config.sts_endpoint.as_deref(), "sts")?;
        let roles =
            Roles::new(config.credentials, config.role, sts, config.region.clone(), http.clone());
        let (key, region) = (config.key, config.region);
        Ok(Self { key, region, endpoint: kms, secrets, http, roles, clock })
    }

    /// Makes a call of KMS, and gives its answer.
    async fn ask<T: for<'de> Deserialize<'de>>(
        &self,
        act: &'static str,
        operation: &str,
        key: &str,
        body: &Value,
    ) -> Result<T, KmsError> {
        let target = format!("TrentService.{operation}");
        self.ask_at((&self.endpoint, "kms"), act, &target, key, body).await
    }

    /// Makes a call of Secrets Manager, and gives its answer.
    async fn ask_secrets<T: for<'de> Deserialize<'de>>(
        &self,
        act: &'static str,
        operation: &str,
        place: &str,
        body: &Value,
    ) -> Result<T, KmsError> {
        let target = format!("secretsmanager.{operation}");
        self.ask_at((&self.secrets, "secretsmanager"), act, &target, place, body).await
    }

    async fn ask_at<T: for<'de> Deserialize<'de>>(
        &self,
        (endpoint, service): (&Url, &str),
        act: &'static str,
        target: &str,
        key: &str,
        body: &Value,
    ) -> Result<T, KmsError> {
        let now = (self.clock)();
        let keys = self.roles.keys(now).await?;
        let body = Zeroizing::new(body.to_string());
        let headers = [("content-type", JSON), ("x-amz-target", target)];
        let request =
            signed(&self.http, endpoint, &self.region, service, &headers, &body, &keys, now)?;
        let answer = call(request).await?;
        if answer.status == StatusCode::OK {
            // The reason is not kept: it may quote what was read.
            return serde_json::from_slice(&answer.body)
                .map_err(|_| odd("its answer is not the JSON it should be"));
        }
        let error = refusal(&answer, key, act);
        if matches!(error, KmsError::Credentials { .. } | KmsError::Denied { .. }) {
            self.roles.forget().await;
        }
        Err(error)
    }
}

/// A signed call, ready to be sent.
#[expect(clippy::too_many_arguments, reason = "each is one part of what is signed")]
fn signed(
    http: &reqwest::Client,
    endpoint: &Url,
    region: &str,
    service: &str,
    headers: &[(&str, &str)],
    body: &str,
    keys: &AwsKeys,
    now: Time,
) -> Result<reqwest::RequestBuilder, KmsError> {
    let host = match (endpoint.host_str(), endpoint.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => return Err(KmsError::Configuration("the address names no host".to_owned())),
    };
    let date = sign::date(now);
    let mut covered = headers.to_vec();
    covered.extend([("host", host.as_str()), ("x-amz-date", date.as_str())]);
    if let Some(session) = &keys.session {
        covered.push(("x-amz-security-token", session.reveal()));
    }
    let call = sign::Call { region, service, headers: &covered, body: body.as_bytes() };
    let authorization = sign::authorization(&call, keys, &date);
    covered.push(("authorization", &authorization));
    let mut request = http.post(endpoint.clone()).body(body.to_owned());
    for (name, value) in covered.iter().filter(|(name, _)| *name != "host") {
        let wrong = || KmsError::Configuration(format!("the value of `{name}` is no header's"));
        let name = HeaderName::try_from(*name).map_err(|_| wrong())?;
        let mut value = HeaderValue::try_from(*value).map_err(|_| wrong())?;
        value.set_sensitive(name != CONTENT_TYPE);
        request = request.header(name, value);
    }
    Ok(request)
}

/// The body of a refusal.
#[derive(Deserialize)]
struct Refused {
    #[serde(rename = "__type", default)]
    kind: String,
    #[serde(alias = "Message", default)]
    message: String,
}

/// What a refusal means.
fn refusal(answer: &Answer, key: &str, act: &'static str) -> KmsError {
    let key = key.to_owned();
    let refused = serde_json::from_slice::<Refused>(&answer.body);
    let Ok(Refused { kind, message }) = refused else {
        return match answer.status {
            StatusCode::TOO_MANY_REQUESTS => KmsError::Throttled { after: answer.retry_after() },
            status => odd(format!("it answered {status}")),
        };
    };
    // `com.amazonaws.kms#DisabledException`, or the last part alone.
    let kind = kind.rsplit('#').next().unwrap_or_default();
    match kind.trim_end_matches("Exception") {
        "Disabled" => KmsError::Disabled { key },
        "KMSInvalidState" => {
            let said: String = message.chars().filter(|c| c.is_alphanumeric()).collect();
            match said.to_ascii_lowercase() {
                said if said.contains("pendingdeletion") => KmsError::PendingDeletion { key },
                said if said.contains("pendingimport") => KmsError::PendingImport { key },
                _ => KmsError::Unusable { key },
            }
        }
        "NotFound" | "ResourceNotFound" => KmsError::NoSuchKey { key },
        // Of Secrets Manager: a secret that is to be deleted, and one whose own key is off.
        "InvalidRequest" => KmsError::PendingDeletion { key },
        "DecryptionFailure" | "EncryptionFailure" => KmsError::Unusable { key },
        "InvalidCiphertext" | "IncorrectKey" => KmsError::DoesNotOpen { key },
        "InvalidKeyUsage" | "UnsupportedOperation" => KmsError::Misuse { key },
        "AccessDenied" | "InvalidGrantToken" => KmsError::Denied { key, act },
        code => common(code, &message, answer),
    }
}

/// What a refusal means that any service of AWS's gives.
fn common(code: &str, message: &str, answer: &Answer) -> KmsError {
    let expired = message.contains("Signature expired") || message.contains("not yet current");
    match code {
        "RequestExpired" | "RequestTimeTooSkewed" => KmsError::Clock,
        "InvalidSignature" | "SignatureDoesNotMatch" if expired => KmsError::Clock,
        "InvalidSignature" | "SignatureDoesNotMatch" | "IncompleteSignature" => {
            KmsError::Credentials { why: "the secret is wrong" }
        }
        "ExpiredToken" => KmsError::Credentials { why: "they have expired" },
        "UnrecognizedClient" | "InvalidClientTokenId" | "MissingAuthenticationToken" => {
            KmsError::Credentials { why: "the access key is not known, or was revoked" }
        }
        "Throttling" | "ThrottlingException" | "LimitExceeded" | "TooManyRequests" => {
            KmsError::Throttled { after: answer.retry_after() }
        }
        // The code is one of the service's words, and no part of what was sent.
        code => odd(format!(
            "it answered {} {}",
            answer.status,
            code.chars().filter(char::is_ascii_alphanumeric).take(60).collect::<String>()
        )),
    }
}

fn context(of: &KeyContext) -> Value {
    of.pairs().into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Encrypted {
    ciphertext_blob: String,
    key_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Decrypted {
    plaintext: Zeroizing<String>,
    key_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    key_metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    arn: String,
    key_state: String,
    deletion_date: Option<f64>,
}

#[derive(Deserialize)]
struct Kept {
    #[serde(rename = "ARN")]
    arn: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Got {
    secret_string: Secret,
}

#[async_trait::async_trait]
impl CustomerKey for AwsKms {
    fn provider(&self) -> Provider {
        Provider::AwsKms
    }

    async fn wrap(&self, of: &KeyContext, key: &OrganizationKey) -> Result<WrappedKey, KmsError> {
        let plaintext = Zeroizing::new(BASE64.encode(key.expose()));
        let body = json!({
            "KeyId": self.key, "Plaintext": *plaintext, "EncryptionContext": context(of),
        });
        let done: Encrypted = self.ask("encrypt", "Encrypt", &self.key, &body).await?;
        let blob = BASE64
            .decode(done.ciphertext_blob.as_bytes())
            .ok()
            .filter(|blob| (1..=BLOB_BYTES).contains(&blob.len()))
            .ok_or_else(|| odd("its ciphertext is none"))?;
        Ok(WrappedKey {
            provider: Provider::AwsKms,
            key: done.key_id,
            algorithm: ALGORITHM.to_owned(),
            blob: api::Bytes(blob),
        })
    }

    async fn unwrap(
        &self,
        of: &KeyContext,
        wrapped: &WrappedKey,
    ) -> Result<OrganizationKey, KmsError> {
        if wrapped.provider != Provider::AwsKms {
            return Err(KmsError::OtherProvider { provider: wrapped.provider });
        }
        // KMS finds the key by the ciphertext; naming it refuses a ciphertext of somebody else's key.
        let body = json!({
            "KeyId": wrapped.key,
            "CiphertextBlob": BASE64.encode(&wrapped.blob.0),
            "EncryptionContext": context(of),
        });
        let done: Decrypted = self.ask("decrypt", "Decrypt", &wrapped.key, &body).await?;
        if done.key_id != wrapped.key {
            return Err(odd("it opened with another key than the one that was named"));
        }
        let bytes = BASE64.decode(done.plaintext.as_bytes()).map(Zeroizing::new);
        bytes
            .ok()
            .and_then(|bytes| OrganizationKey::from_slice(&bytes))
            .ok_or_else(|| odd("what it opened is no key"))
    }

    async fn describe(&self) -> Result<KeyDescription, KmsError> {
        let body = json!({"KeyId": self.key});
        let Described { key_metadata } =
            self.ask("describe", "DescribeKey", &self.key, &body).await?;
        let state = match key_metadata.key_state.as_str() {
            "Enabled" => KeyState::Enabled,
            "Disabled" => KeyState::Disabled,
            "PendingDeletion" | "PendingReplicaDeletion" => KeyState::PendingDeletion,
            "PendingImport" => KeyState::PendingImport,
            _ => KeyState::Unavailable,
        };
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it saturates, and such a moment is none"
        )]
        let deleted_on =
            key_metadata.deletion_date.and_then(|at| Time::from_second(at as i64).ok());
        Ok(KeyDescription { key: key_metadata.arn, state, deleted_on, purgeable: false })
    }

    async fn keep_secret(&self, name: &str, secret: &Secret) -> Result<String, KmsError> {
        let name = format!("chorion/{name}");
        // The token is the service's own guard against doing this twice; the name is used once.
        let token = format!("{:0<32}", name.rsplit('/').next().unwrap_or_default());
        let body = json!({
            "Name": name,
            "ClientRequestToken": token.chars().take(64).collect::<String>(),
            "Description": "A salt of searchable fields in Chorion: without it nothing is found",
            "SecretString": secret.reveal(),
        });
        let done: Kept =
            self.ask_secrets("create the secret", "CreateSecret", &name, &body).await?;
        Ok(done.arn)
    }

    async fn secret(&self, place: &str) -> Result<Secret, KmsError> {
        let body = json!({"SecretId": place, "VersionStage": "AWSCURRENT"});
        let got: Got = self.ask_secrets("read the secret", "GetSecretValue", place, &body).await?;
        Ok(got.secret_string)
    }

    async fn drop_secret(&self, place: &str) -> Result<(), KmsError> {
        let body = json!({"SecretId": place, "ForceDeleteWithoutRecovery": true});
        let gone =
            self.ask_secrets::<Value>("delete the secret", "DeleteSecret", place, &body).await;
        match gone {
            Ok(_) | Err(KmsError::NoSuchKey { .. } | KmsError::PendingDeletion { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Signs as a call would, for the judge.
#[cfg(test)]
pub(super) fn signature_for_tests(
    keys: &AwsKeys,
    region: &str,
    service: &str,
    headers: &[(String, String)],
    body: &[u8],
    date: &str,
) -> String {
    let headers: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    sign::authorization(&sign::Call { region, service, headers: &headers, body }, keys, date)
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;

    use super::super::Effect;
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", HeaderValue::from_static("7"));
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            body: body.as_bytes().to_vec().into(),
        }
    }

    #[test]
    fn every_refusal_becomes_one_situation() {
        let cases = [
            ("DisabledException", "", "key k is disabled", Effect::Drop),
            ("com.amazonaws.kms#DisabledException", "", "key k is disabled", Effect::Drop),
            (
                "KMSInvalidStateException",
                "arn:aws:kms:eu:1:key/k is pending deletion.",
                "key k is scheduled for deletion",
                Effect::Drop,
            ),
            (
                "KMSInvalidStateException",
                "k is PendingImport",
                "key k has no material: it has expired or was taken away",
                Effect::Drop,
            ),
            (
                "KMSInvalidStateException",
                "k is Unavailable",
                "key k is in a state in which it cannot be used",
                Effect::Drop,
            ),
            ("NotFoundException", "", "there is no key k", Effect::Drop),
            (
                "AccessDeniedException",
                "",
                "the credentials may not decrypt with key k",
                Effect::Drop,
            ),
            (
                "ExpiredTokenException",
                "",
                "the credentials do not count: they have expired",
                Effect::Drop,
            ),
            (
                "InvalidSignatureException",
                "Signature expired: 2026 is now earlier than",
                "this machine's clock is not the key management service's",
                Effect::Hold,
            ),
            (
                "InvalidSignatureException",
                "The request signature we calculated does not match",
                "the credentials do not count: the secret is wrong",
                Effect::Drop,
            ),
            (
                "ThrottlingException",
                "",
                "the key management service takes no more calls now",
                Effect::Hold,
            ),
            (
                "KMSInternalException",
                "",
                "the key management service does not answer as it should",
                Effect::Hold,
            ),
            (
                "InvalidCiphertextException",
                "",
                "the wrapped key does not open under key k for this organization, purpose and version",
                Effect::Refuse,
            ),
        ];
        for (kind, message, sentence, effect) in cases {
            for name in ["message", "Message"] {
                let body = json!({"__type": kind, name: message}).to_string();
                let error = refusal(&answer(400, &body), "k", "decrypt");
                assert_eq!(error.to_string(), sentence, "{kind}");
                assert_eq!(error.effect(), effect, "{kind}");
            }
        }
        let throttled = refusal(&answer(429, "<html>"), "k", "decrypt");
        let KmsError::Throttled { after: Some(after) } = throttled else { panic!("{throttled}") };
        assert_eq!(after.as_secs(), 7);
        assert_eq!(refusal(&answer(503, ""), "k", "decrypt").effect(), Effect::Hold);
    }
}
