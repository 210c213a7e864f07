//! Azure Key Vault.
//!
//! `wrapKey` and `unwrapKey`, or `encrypt` and `decrypt` where the customer's policy grants only those, by RSA-OAEP-256, with a
//! token that an application of the customer's tenant gets for its secret.
//!
//! RSA binds nothing to a ciphertext, so what is wrapped is the key and the SHA-256 of its context, compared after unwrapping. The answer
//! names the version of the key that wrapped, and that one is asked to unwrap. Wrapping asks the vault each time, though a public key would
//! do: a key that was taken away must not go on wrapping here.
//!
//! The secret goes to the sign-in service that was configured and nowhere else, whatever the vault's challenge says; the token goes to the
//! vault that was configured, and only after its challenge named a resource that is a parent domain of it. A token is kept for five
//! minutes at most, because it outlives the secret it was given for.

use std::fmt;
use std::path::PathBuf;

use api::{Secret, Time};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64URL_NOPAD;
use jiff::SignedDuration;
use reqwest::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{RequestBuilder, StatusCode, Url};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::aws::Clock;
use super::http::{Answer, call, client, endpoint, odd};
use super::{
    CustomerKey, KeyContext, KeyDescription, KeyState, KmsError, OrganizationKey, Provider,
    WrappedKey,
};

const API: &str = "api-version=7.4";
const ALGORITHM: &str = "RSA-OAEP-256";
const LOGIN: &str = "https://login.microsoftonline.com";
/// How long a token is kept, whatever it says of itself.
const TOKEN_LIFE: SignedDuration = SignedDuration::from_secs(300);
/// How long before its end it is not used any more.
const MARGIN: SignedDuration = SignedDuration::from_secs(60);
/// The largest ciphertext: RSA with 4096 bits.
const BLOB_BYTES: usize = 512;

/// Which pair of acts wraps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AzureOperations {
    /// `wrapKey` and `unwrapKey`.
    #[default]
    Wrap,
    /// `encrypt` and `decrypt`, where a policy grants only these.
    Encrypt,
}

impl AzureOperations {
    const fn wraps(self) -> &'static str {
        match self {
            Self::Wrap => "wrapkey",
            Self::Encrypt => "encrypt",
        }
    }

    const fn unwraps(self) -> &'static str {
        match self {
            Self::Wrap => "unwrapkey",
            Self::Encrypt => "decrypt",
        }
    }

    /// As a wrapped key names them.
    fn algorithm(self) -> String {
        format!("{ALGORITHM} {}", self.wraps())
    }

    fn of(algorithm: &str) -> Option<Self> {
        [Self::Wrap, Self::Encrypt].into_iter().find(|pair| pair.algorithm() == algorithm)
    }
}

/// A key in Azure Key Vault and how to reach it.
#[derive(Debug, Clone)]
pub struct AzureConfig {
    /// The key: `https://VAULT.vault.azure.net/keys/NAME`, with a version or without.
    pub key: String,
    /// The tenant's id.
    pub tenant: String,
    /// The application's id.
    pub client_id: String,
    /// The application's secret: its value, not its id.
    pub client_secret: Secret,
    /// Where the tenant signs in; Microsoft's own address if absent.
    pub login: Option<String>,
    /// Which acts wrap: [`AzureKeyVault::choose`] finds out.
    pub operations: AzureOperations,
    /// The authority of the certificates, PEM; those of the system if absent.
    pub ca_file: Option<PathBuf>,
}

/// A key in Azure Key Vault.
pub struct AzureKeyVault {
    vault: Url,
    name: String,
    version: Option<String>,
    tenant: String,
    client_id: String,
    client_secret: Secret,
    login: Url,
    operations: AzureOperations,
    http: reqwest::Client,
    token: Mutex<Option<Token>>,
    clock: Clock,
}

struct Token {
    value: Secret,
    end: Time,
}

impl fmt::Debug for AzureKeyVault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AzureKeyVault({})", self.address())
    }
}

/// Name and version in the address of a key of this vault.
fn parts(vault: &Url, key: &str) -> Option<(String, Option<String>)> {
    let url = Url::parse(key).ok()?;
    if url.origin() != vault.origin() {
        return None;
    }
    let plain = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let parts: Vec<&str> = url.path().trim_matches('/').split('/').collect();
    match parts[..] {
        ["keys", name] if plain(name) => Some((name.to_owned(), None)),
        ["keys", name, version] if plain(name) && plain(version) => {
            Some((name.to_owned(), Some(version.to_owned())))
        }
        _ => None,
    }
}

impl AzureKeyVault {
    /// Takes up the key; nothing is asked yet.
    ///
    /// # Errors
    /// [`KmsError::Configuration`] says what cannot be used.
    pub fn new(config: AzureConfig, clock: Clock) -> Result<Self, KmsError> {
        let http = client(config.ca_file.as_deref())?;
        Self::with_client(config, http, clock)
    }

    pub(super) fn with_client(
        config: AzureConfig,
        http: reqwest::Client,
        clock: Clock,
    ) -> Result<Self, KmsError> {
        let mut vault = endpoint(&config.key)?;
        let (name, version) = parts(&vault, &config.key).ok_or_else(|| {
            KmsError::Configuration(format!(
                "`{}` is no key: write https://VAULT.vault.azure.net/keys/NAME, with a version or without",
                config.key
            ))
        })?;
        vault.set_path("/");
        let plain = |text: &str| {
            (1..=256).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        };
        if !plain(&config.tenant) || !plain(&config.client_id) {
            return Err(KmsError::Configuration(
                "the tenant or the application is no id".to_owned(),
            ));
        }
        Ok(Self {
            vault,
            name,
            version,
            tenant: config.tenant,
            client_id: config.client_id,
            client_secret: config.client_secret,
            login: endpoint(config.login.as_deref().unwrap_or(LOGIN))?,
            operations: config.operations,
            http,
            token: Mutex::default(),
            clock,
        })
    }

    /// Whether a secret's address, `VAULT/secrets/NAME/VERSION`, is of this vault: the token goes nowhere else.
    fn is_ours(&self, place: &str) -> Result<(), KmsError> {
        let closed = || KmsError::NoSuchKey { key: place.to_owned() };
        let url = Url::parse(place).map_err(|_| closed())?;
        let plain = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        let parts: Vec<&str> = url.path().trim_matches('/').split('/').collect();
        let whole = url.query().is_none() && url.fragment().is_none();
        match parts[..] {
            ["secrets", name, version]
                if whole
                    && url.origin() == self.vault.origin()
                    && plain(name)
                    && plain(version) =>
            {
                Ok(())
            }
            _ => Err(closed()),
        }
    }

    fn address(&self) -> String {
        let version = self.version.as_ref().map(|v| format!("/{v}")).unwrap_or_default();
        format!("{}keys/{}{version}", self.vault, self.name)
    }

    /// Finds out which acts the customer's policy grants, by wrapping and unwrapping a canary with each.
    ///
    /// # Errors
    /// What the service said of `wrapKey`, if it grants neither pair.
    pub async fn choose(&self, of: &KeyContext) -> Result<AzureOperations, KmsError> {
        let canary = OrganizationKey::generate().map_err(|e| KmsError::Away(Box::new(e)))?;
        let mut first = None;
        for pair in [AzureOperations::Wrap, AzureOperations::Encrypt] {
            let tried = async {
                let wrapped = self.wrap_by(pair, of, &canary).await?;
                self.unwrap(of, &wrapped).await
            };
            match tried.await {
                Ok(_) => return Ok(pair),
                Err(error @ KmsError::Denied { .. }) => {
                    first.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(first.unwrap_or(KmsError::Misuse { key: self.address() }))
    }

    async fn wrap_by(
        &self,
        pair: AzureOperations,
        of: &KeyContext,
        key: &OrganizationKey,
    ) -> Result<WrappedKey, KmsError> {
        let mut text = Zeroizing::new(key.expose().to_vec());
        text.reserve_exact(32);
        text.extend_from_slice(digest(&SHA256, &of.bytes()).as_ref());
        let value = Zeroizing::new(BASE64URL_NOPAD.encode(&text));
        let done: Done = self.act(&self.address(), pair.wraps(), &value).await?;
        let blob = BASE64URL_NOPAD
            .decode(done.value.as_bytes())
            .ok()
            .filter(|blob| (1..=BLOB_BYTES).contains(&blob.len()))
            .ok_or_else(|| odd("its ciphertext is none"))?;
        match parts(&self.vault, &done.kid) {
            Some((name, Some(_))) if name == self.name => {}
            _ => return Err(odd("it wrapped with another key than the one that was named")),
        }
        Ok(WrappedKey {
            provider: Provider::AzureKeyVault,
            key: done.kid,
            algorithm: pair.algorithm(),
            blob: api::Bytes(blob),
        })
    }

    async fn act(&self, key: &str, act: &'static str, value: &str) -> Result<Done, KmsError> {
        let url = format!("{key}/{act}?{API}");
        let body = Zeroizing::new(json!({"alg": ALGORITHM, "value": value}).to_string());
        let answer = self
            .ask(act, key, || {
                self.http
                    .post(&url)
                    .header("content-type", "application/json")
                    .body(body.as_str().to_owned())
            })
            .await?;
        serde_json::from_slice(&answer.body)
            .map_err(|_| odd("its answer is not the JSON it should be"))
    }

    /// Makes a call with a token; its answer is a success.
    async fn ask(
        &self,
        act: &'static str,
        key: &str,
        request: impl Fn() -> RequestBuilder + Sync,
    ) -> Result<Answer, KmsError> {
        let now = (self.clock)();
        let mut token = self.token.lock().await;
        if token.as_ref().is_none_or(|token| token.end.duration_since(now) <= MARGIN) {
            *token = None;
            // The vault says who gives tokens for it: asked without one, and without a body.
            let challenge = call(self.http.get(format!("{key}?{API}"))).await?;
            let scope = self.scope(&challenge)?;
            *token = Some(self.fetch(&scope, now).await?);
        }
        let value = match &*token {
            Some(token) => Zeroizing::new(format!("Bearer {}", token.value.reveal())),
            None => return Err(odd("there is no token")),
        };
        let mut value = HeaderValue::try_from(value.as_str())
            .map_err(|_| odd("its token is no header's value"))?;
        value.set_sensitive(true);
        let answer = call(request().header(AUTHORIZATION, value)).await?;
        if answer.status == StatusCode::OK {
            return Ok(answer);
        }
        let error = refusal(&answer, key, act);
        if matches!(error, KmsError::Credentials { .. } | KmsError::Denied { .. }) {
            *token = None;
        }
        Err(error)
    }

    /// For what a token must be, as the vault's challenge says.
    fn scope(&self, answer: &Answer) -> Result<String, KmsError> {
        if answer.status != StatusCode::UNAUTHORIZED {
            return Err(odd(format!("it answered {} to a call without a token", answer.status)));
        }
        let header = answer.headers.get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
        let header = header.ok_or_else(|| odd("it does not say who gives tokens for it"))?;
        let asks = |name: &str| {
            let rest = header.split_once(&format!("{name}=\""))?.1;
            rest.split_once('"').map(|(value, _)| value.to_owned())
        };
        let resource = asks("resource").or_else(|| asks("scope")).unwrap_or_default();
        let resource = resource.trim_end_matches("/.default").trim_end_matches('/').to_owned();
        let parent = Url::parse(&resource).ok().filter(|url| url.scheme() == "https");
        let parent = parent.and_then(|url| url.host_str().map(str::to_owned));
        let own = self.vault.host_str().unwrap_or_default();
        if !parent.is_some_and(|parent| own.ends_with(&format!(".{parent}"))) {
            return Err(odd("its challenge is for a domain that is not its own"));
        }
        let authority = asks("authorization").or_else(|| asks("authorization_uri"));
        let wanted = format!("{}/{}", self.login.as_str().trim_end_matches('/'), self.tenant);
        if authority.as_deref().map(|url| url.trim_end_matches('/')) != Some(wanted.as_str()) {
            return Err(KmsError::Credentials { why: "the vault belongs to another tenant" });
        }
        Ok(format!("{resource}/.default"))
    }

    async fn fetch(&self, scope: &str, now: Time) -> Result<Token, KmsError> {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &self.client_id),
            ("client_secret", self.client_secret.reveal()),
            ("scope", scope),
        ];
        let body = serde_urlencoded::to_string(form)
            .map(Zeroizing::new)
            .map_err(|e| KmsError::Configuration(e.to_string()))?;
        let base = self.login.as_str().trim_end_matches('/');
        let url = format!("{base}/{}/oauth2/v2.0/token", self.tenant);
        let request = self
            .http
            .post(url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body.as_str().to_owned());
        let answer = call(request).await?;
        if answer.status != StatusCode::OK {
            return Err(no_token(&answer));
        }
        let given: Given = serde_json::from_slice(&answer.body)
            .map_err(|_| odd("the tenant's answer is not the JSON it should be"))?;
        let life = SignedDuration::from_secs(given.expires_in).min(TOKEN_LIFE);
        let end = now.checked_add(life).map_err(|e| KmsError::Away(Box::new(e)))?;
        Ok(Token { value: Secret::new(given.access_token), end })
    }
}

#[derive(Deserialize)]
struct Given {
    access_token: Zeroizing<String>,
    expires_in: i64,
}

#[derive(Deserialize)]
struct Done {
    kid: String,
    value: Zeroizing<String>,
}

#[derive(Deserialize)]
struct KeptSecret {
    id: String,
}

#[derive(Deserialize)]
struct GivenSecret {
    value: Secret,
}

#[derive(Deserialize)]
struct Described {
    key: DescribedKey,
    attributes: Attributes,
}

#[derive(Deserialize)]
struct DescribedKey {
    kid: String,
}

#[derive(Deserialize)]
struct Attributes {
    enabled: bool,
    exp: Option<i64>,
    nbf: Option<i64>,
}

/// Why the tenant gives no token.
fn no_token(answer: &Answer) -> KmsError {
    #[derive(Deserialize)]
    struct Refused {
        #[serde(default)]
        error_codes: Vec<u32>,
    }
    if answer.status == StatusCode::TOO_MANY_REQUESTS {
        return KmsError::Throttled { after: answer.retry_after() };
    }
    if answer.status.is_server_error() {
        return odd(format!("the tenant answered {}", answer.status));
    }
    let codes = serde_json::from_slice::<Refused>(&answer.body).map(|refused| refused.error_codes);
    let why = match codes.unwrap_or_default().first() {
        Some(7_000_222) => "the application's secret has expired",
        Some(7_000_215) => {
            "the application's secret is wrong: perhaps its id was given, not its value"
        }
        Some(700_016) => "the tenant does not know this application",
        Some(90_002) => "there is no such tenant",
        Some(53_003) => "a conditional access policy of the tenant refuses them",
        _ => "the tenant refuses them",
    };
    KmsError::Credentials { why }
}

/// What a refusal of the vault means.
fn refusal(answer: &Answer, key: &str, act: &'static str) -> KmsError {
    let key = key.to_owned();
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = |path: &str| body.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let inner = text("/error/innererror/code");
    match (answer.status.as_u16(), text("/error/code"), inner) {
        (401, ..) => KmsError::Credentials { why: "the vault does not take the token" },
        (403, _, "KeyDisabled") => KmsError::Disabled { key },
        (403, _, "KeyNotYetValidOrExpired") => KmsError::Unusable { key },
        (403, ..) => KmsError::Denied { key, act },
        (404, ..) => KmsError::NoSuchKey { key },
        (409, "ObjectIsDeletedButRecoverable", _) | (409, _, "ObjectIsDeletedButRecoverable") => {
            KmsError::PendingDeletion { key }
        }
        (429, ..) => KmsError::Throttled { after: answer.retry_after() },
        (400, ..) if act == "unwrapkey" || act == "decrypt" => KmsError::DoesNotOpen { key },
        (400, ..) => KmsError::Misuse { key },
        (status, ..) => odd(format!("it answered {status}")),
    }
}

#[async_trait::async_trait]
impl CustomerKey for AzureKeyVault {
    fn provider(&self) -> Provider {
        Provider::AzureKeyVault
    }

    async fn wrap(
        &self,
        context: &KeyContext,
        key: &OrganizationKey,
    ) -> Result<WrappedKey, KmsError> {
        self.wrap_by(self.operations, context, key).await
    }

    async fn unwrap(
        &self,
        context: &KeyContext,
        wrapped: &WrappedKey,
    ) -> Result<OrganizationKey, KmsError> {
        if wrapped.provider != Provider::AzureKeyVault {
            return Err(KmsError::OtherProvider { provider: wrapped.provider });
        }
        let closed = || KmsError::DoesNotOpen { key: wrapped.key.clone() };
        let pair = AzureOperations::of(&wrapped.algorithm).ok_or_else(closed)?;
        // Another vault, or no version: nothing goes there.
        let Some((_, Some(_))) = parts(&self.vault, &wrapped.key) else { return Err(closed()) };
        let value = BASE64URL_NOPAD.encode(&wrapped.blob.0);
        let done = self.act(&wrapped.key, pair.unwraps(), &value).await?;
        let text = BASE64URL_NOPAD
            .decode(done.value.as_bytes())
            .map(Zeroizing::new)
            .map_err(|_| odd("what it opened is no key"))?;
        let (key, bound) = text.split_at_checked(32).ok_or_else(closed)?;
        verify_slices_are_equal(bound, digest(&SHA256, &context.bytes()).as_ref())
            .map_err(|_| closed())?;
        OrganizationKey::from_slice(key).ok_or_else(closed)
    }

    async fn describe(&self) -> Result<KeyDescription, KmsError> {
        let address = self.address();
        let url = format!("{address}?{API}");
        let answer = self.ask("describe", &address, || self.http.get(&url)).await?;
        let found: Described = serde_json::from_slice(&answer.body)
            .map_err(|_| odd("its answer is not the JSON it should be"))?;
        let (now, of) = ((self.clock)().as_second(), found.attributes);
        let in_time = of.exp.is_none_or(|exp| now < exp) && of.nbf.is_none_or(|nbf| now >= nbf);
        let state = match (of.enabled, in_time) {
            (false, _) => KeyState::Disabled,
            (true, false) => KeyState::Unavailable,
            (true, true) => KeyState::Enabled,
        };
        Ok(KeyDescription { key: found.key.kid, state, deleted_on: None })
    }

    async fn keep_secret(&self, name: &str, secret: &Secret) -> Result<String, KmsError> {
        let place = format!("{}secrets/chorion-{name}", self.vault);
        let url = format!("{place}?{API}");
        let body = Zeroizing::new(json!({"value": secret.reveal()}).to_string());
        let answer = self
            .ask("set secrets beside", &place, || {
                self.http
                    .put(&url)
                    .header("content-type", "application/json")
                    .body(body.as_str().to_owned())
            })
            .await?;
        let kept: KeptSecret = serde_json::from_slice(&answer.body)
            .map_err(|_| odd("its answer is not the JSON it should be"))?;
        self.is_ours(&kept.id)?;
        Ok(kept.id)
    }

    async fn secret(&self, place: &str) -> Result<Secret, KmsError> {
        self.is_ours(place)?;
        let url = format!("{place}?{API}");
        let answer = self.ask("get secrets beside", place, || self.http.get(&url)).await?;
        serde_json::from_slice::<GivenSecret>(&answer.body)
            .map(|given| given.value)
            .map_err(|_| odd("its answer is not the JSON it should be"))
    }

    async fn drop_secret(&self, place: &str) -> Result<(), KmsError> {
        self.is_ours(place)?;
        // A secret is deleted with all its versions.
        let whole = place.rsplit_once('/').map_or(place, |(whole, _version)| whole);
        let url = format!("{whole}?{API}");
        match self.ask("delete secrets beside", whole, || self.http.delete(&url)).await {
            Ok(_) | Err(KmsError::NoSuchKey { .. } | KmsError::PendingDeletion { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
