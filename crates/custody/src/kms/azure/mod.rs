//! Azure Key Vault.
//!
//! `wrapKey` and `unwrapKey`, or `encrypt` and `decrypt` where the customer's policy grants only those, by RSA-OAEP-256; in a managed
//! HSM whose key is a symmetric one, `wrapKey` and `unwrapKey` by AES key wrap (RFC 3394).
//!
//! Neither binds anything to a ciphertext, so what is wrapped is the key and the SHA-256 of its context, compared after unwrapping; AES
//! key wrap draws nothing either, so 16 random bytes go with it. The answer names the version of the key that wrapped, and that one is asked
//! to unwrap. Wrapping asks the vault each time, though a public key would do: a key that was taken away must not go on wrapping here.
//!
//! The token (`tokens`) goes to the vault that was configured and nowhere else.

mod tokens;

use std::fmt;
use std::path::PathBuf;

use api::Secret;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64URL_NOPAD;
use reqwest::header::AUTHORIZATION;
use reqwest::{RequestBuilder, StatusCode, Url};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::aws::Clock;
use super::http::{Answer, call, client, endpoint, odd};
use super::{
    CustomerKey, KeyContext, KeyDescription, KeyState, KmsError, OrganizationKey, Provider,
    WrappedKey,
};
use tokens::Tokens;

pub use tokens::AzureCredentials;

const API: &str = "api-version=7.4";
const RSA: &str = "RSA-OAEP-256";
const AES: &str = "A256KW";
const LOGIN: &str = "https://login.microsoftonline.com";
/// The largest ciphertext: RSA with 4096 bits.
const BLOB_BYTES: usize = 512;
/// What AES key wrap is given to be never the same twice.
const DRAWN_BYTES: usize = 16;
/// The longest text that is wrapped: key, context, what was drawn.
const TEXT_BYTES: usize = 64 + DRAWN_BYTES;

/// Which pair of acts wraps, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AzureOperations {
    /// `wrapKey` and `unwrapKey`.
    #[default]
    Wrap,
    /// `encrypt` and `decrypt`, where a policy grants only these.
    Encrypt,
    /// `wrapKey` and `unwrapKey` by AES key wrap, where the key is a symmetric one of a managed HSM.
    KeyWrap,
}

impl AzureOperations {
    const fn wraps(self) -> &'static str {
        match self {
            Self::Wrap | Self::KeyWrap => "wrapkey",
            Self::Encrypt => "encrypt",
        }
    }

    const fn unwraps(self) -> &'static str {
        match self {
            Self::Wrap | Self::KeyWrap => "unwrapkey",
            Self::Encrypt => "decrypt",
        }
    }

    const fn by(self) -> &'static str {
        match self {
            Self::Wrap | Self::Encrypt => RSA,
            Self::KeyWrap => AES,
        }
    }

    /// As a wrapped key names them.
    fn algorithm(self) -> String {
        format!("{} {}", self.by(), self.wraps())
    }

    fn of(algorithm: &str) -> Option<Self> {
        let all = [Self::Wrap, Self::Encrypt, Self::KeyWrap];
        all.into_iter().find(|pair| pair.algorithm() == algorithm)
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
    /// By what the tenant knows the application.
    pub credentials: AzureCredentials,
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
    operations: AzureOperations,
    http: reqwest::Client,
    tokens: Tokens,
    clock: Clock,
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
        let login = endpoint(config.login.as_deref().unwrap_or(LOGIN))?;
        let http_of_tokens = http.clone();
        let tokens = Tokens::new(
            config.tenant,
            config.client_id,
            config.credentials,
            login,
            http_of_tokens,
        )?;
        Ok(Self { vault, name, version, operations: config.operations, http, tokens, clock })
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

    /// Finds out which acts the customer's policy grants and the key is made for, by wrapping and unwrapping a canary with each.
    ///
    /// # Errors
    /// What the service said of `wrapKey` by RSA, if none serves.
    pub async fn choose(&self, of: &KeyContext) -> Result<AzureOperations, KmsError> {
        let canary = OrganizationKey::generate().map_err(|e| KmsError::Away(Box::new(e)))?;
        let mut first = None;
        for pair in [AzureOperations::Wrap, AzureOperations::Encrypt, AzureOperations::KeyWrap] {
            let tried = async {
                let wrapped = self.wrap_by(pair, of, &canary).await?;
                self.unwrap(of, &wrapped).await
            };
            match tried.await {
                Ok(_) => return Ok(pair),
                Err(error @ (KmsError::Denied { .. } | KmsError::Misuse { .. })) => {
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
        let mut text = Zeroizing::new(Vec::with_capacity(TEXT_BYTES));
        text.extend_from_slice(key.expose());
        text.extend_from_slice(digest(&SHA256, &of.bytes()).as_ref());
        if pair == AzureOperations::KeyWrap {
            let mut drawn = [0; DRAWN_BYTES];
            seal::fill_random(&mut drawn).map_err(|e| KmsError::Away(Box::new(e)))?;
            text.extend_from_slice(&drawn);
        }
        let value = Zeroizing::new(BASE64URL_NOPAD.encode(&text));
        let done: Done = self.act(&self.address(), pair, pair.wraps(), &value).await?;
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

    async fn act(
        &self,
        key: &str,
        pair: AzureOperations,
        act: &'static str,
        value: &str,
    ) -> Result<Done, KmsError> {
        let url = format!("{key}/{act}?{API}");
        let body = Zeroizing::new(json!({"alg": pair.by(), "value": value}).to_string());
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
        let challenge = call(self.http.get(format!("{key}?{API}")));
        let value = self.tokens.header(&self.vault, challenge, (self.clock)()).await?;
        let answer = call(request().header(AUTHORIZATION, value)).await?;
        if answer.status == StatusCode::OK {
            return Ok(answer);
        }
        let error = refusal(&answer, key, act);
        if matches!(error, KmsError::Credentials { .. } | KmsError::Denied { .. }) {
            self.tokens.forget().await;
        }
        Err(error)
    }
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
    #[serde(rename = "recoveryLevel", default)]
    recovery_level: String,
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
        let done = self.act(&wrapped.key, pair, pair.unwraps(), &value).await?;
        let text = BASE64URL_NOPAD
            .decode(done.value.as_bytes())
            .map(Zeroizing::new)
            .map_err(|_| odd("what it opened is no key"))?;
        let (key, bound) = text.split_at_checked(32).ok_or_else(closed)?;
        let drawn = if pair == AzureOperations::KeyWrap { DRAWN_BYTES } else { 0 };
        let bound = bound.len().checked_sub(drawn).and_then(|end| bound.get(..end));
        let bound = bound.ok_or_else(closed)?;
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
        let purgeable = of.recovery_level.contains("Purgeable");
        let in_time = of.exp.is_none_or(|exp| now < exp) && of.nbf.is_none_or(|nbf| now >= nbf);
        let state = match (of.enabled, in_time) {
            (false, _) => KeyState::Disabled,
            (true, false) => KeyState::Unavailable,
            (true, true) => KeyState::Enabled,
        };
        Ok(KeyDescription { key: found.key.kid, state, deleted_on: None, purgeable })
    }

    async fn keep_secret(&self, name: &str, secret: &Secret) -> Result<String, KmsError> {
        if self.vault.host_str().is_some_and(|host| host.contains(".managedhsm.")) {
            return Err(KmsError::Configuration(
                "a managed HSM keeps no secrets, and a searchable field needs one: use a key of a vault".to_owned(),
            ));
        }
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
