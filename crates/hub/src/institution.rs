//! The institution whose people may sign in here: a client of `OpenID` Connect (authorization code with PKCE, RFC 7636).
//!
//! Its description and keys are fetched when they are first needed, again after an hour, and at once when a token names a key
//! that is not among them, but for that at most every minute. Connections are TLS with the system's authorities, or with the one that the
//! operator names; plain HTTP is for an institution on this machine alone. No redirect is followed, a call ends after ten
//! seconds, and no answer is read beyond a bound. After a failure nobody asks again for some seconds, so that people who
//! wait for an institution that is away do not queue behind each other.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use api::{ErrorCode, Secret, Time};
use credential::id_token::{Expected, Keys, Person, TokenError, verify};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use futures_util::StreamExt;
use jiff::SignedDuration;
use reqwest::header::AUTHORIZATION;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::{HubError, StartError};

/// How long a description and its keys are believed.
const FRESH: SignedDuration = SignedDuration::from_hours(1);
/// How often at most keys are fetched anew for one that is not among them.
const KEYS_AGAIN: SignedDuration = SignedDuration::from_mins(1);
/// How long after a failure nobody asks again.
const REST: SignedDuration = SignedDuration::from_secs(5);
/// How long a call may take, from its first byte to its last.
const CALL: Duration = Duration::from_secs(10);
/// How old a sign-in at the institution may be: as old as a session here.
pub(crate) const LONGEST_SECONDS: i64 = 12 * 60 * 60;
/// Where Debian and its kin keep the authorities that the system trusts.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";
/// The largest answer.
const ANSWER_BYTES: usize = 256 * 1024;

/// An institution whose people may sign in, as the operator names it.
#[derive(Debug, Clone)]
pub struct InstitutionConfig {
    /// Its issuer: `https://login.example`, exactly as it writes it.
    pub issuer: String,
    /// Who this hub is to it.
    pub client_id: String,
    /// What proves that.
    pub client_secret: Secret,
    /// The authority of its certificate, PEM; those of the system if absent.
    pub ca_file: Option<PathBuf>,
}

/// The institution, with what was fetched of it.
pub(crate) struct Institution {
    config: InstitutionConfig,
    http: reqwest::Client,
    state: Mutex<State>,
}

/// What was learnt of the institution so far.
#[derive(Default)]
struct State {
    known: Option<Arc<Known>>,
    /// When it last failed, and how.
    failed: Option<(Time, HubError)>,
    /// When keys were last fetched anew because a token named another one.
    again: Option<Time>,
}

struct Known {
    described: Described,
    keys: Keys,
    fetched: Time,
}

/// What an institution says of itself (`OpenID` Connect Discovery 1.0).
#[derive(Debug, Deserialize)]
struct Described {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

#[derive(Deserialize)]
struct Tokens {
    id_token: Zeroizing<String>,
}

/// A sign-in that was begun there: what the address carries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asking<'a> {
    /// Where the browser comes back to.
    pub(crate) redirect: &'a str,
    /// What must come back with it.
    pub(crate) state: &'a str,
    /// What must stand in the token.
    pub(crate) nonce: &'a str,
    /// What only this hub can show when it fetches the token.
    pub(crate) verifier: &'a str,
    /// Whether the person must show there once more who they are, signed in or not.
    pub(crate) anew: bool,
}

/// The body of a refusal at the token endpoint (RFC 6749, section 5.2).
#[derive(Deserialize)]
struct Refused {
    error: String,
}

impl fmt::Debug for Institution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Institution({})", self.config.issuer)
    }
}

fn away(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> HubError {
    HubError::new(ErrorCode::Unavailable, "the institution does not answer as it should")
        .hint("try again in a minute, or sign in another way")
        .caused_by(cause)
}

impl Institution {
    /// Takes up the institution; connects when it is first needed.
    pub(crate) fn new(config: InstitutionConfig) -> Result<Self, StartError> {
        let wrong = |why: String| StartError::Institution { issuer: config.issuer.clone(), why };
        if !may_ask(&config.issuer, is_here(&config.issuer)) || config.issuer.contains(['?', '#']) {
            return Err(wrong(
                "its issuer is no https:// address without a query (plain http:// is for this machine alone)"
                    .to_owned(),
            ));
        }
        let mut roots = RootCertStore::empty();
        let file = config.ca_file.as_deref().unwrap_or_else(|| Path::new(SYSTEM_ROOTS));
        let certificates = CertificateDer::pem_file_iter(file)
            .map_err(|e| wrong(format!("{} does not read: {e}", file.display())))?;
        roots.add_parsable_certificates(certificates.filter_map(Result::ok));
        if roots.is_empty() {
            return Err(wrong("no certificate authority is trusted".to_owned()));
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| wrong(e.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .https_only(!is_here(&config.issuer))
            .http1_only()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CALL / 2)
            .timeout(CALL)
            .user_agent(concat!("chorion/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| wrong(e.to_string()))?;
        Ok(Self { config, http, state: Mutex::default() })
    }

    /// Its issuer.
    pub(crate) fn issuer(&self) -> &str {
        &self.config.issuer
    }

    /// The institution as people read it: its address without what every address has.
    pub(crate) fn shown(&self) -> &str {
        let issuer = self.config.issuer.trim_end_matches('/');
        issuer.split_once("://").map_or(issuer, |(_, rest)| rest)
    }

    /// The address to which the browser is sent.
    pub(crate) async fn address(&self, now: Time, asking: Asking<'_>) -> Result<String, HubError> {
        let known = self.known(now, false).await?;
        let challenge = BASE64URL_NOPAD.encode(&proof::sha256(asking.verifier.as_bytes()).0);
        let longest = LONGEST_SECONDS.to_string();
        let mut parameters = vec![
            ("response_type", "code"),
            ("client_id", &self.config.client_id),
            ("redirect_uri", asking.redirect),
            ("scope", "openid"),
            ("state", asking.state),
            ("nonce", asking.nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            // It is also what makes the institution say when the person signed in there.
            ("max_age", &longest),
        ];
        if asking.anew {
            parameters.push(("prompt", "login"));
        }
        let query = serde_urlencoded::to_string(&parameters)
            .map_err(|e| HubError::internal("the institution's address cannot be written", e))?;
        let endpoint = &known.described.authorization_endpoint;
        let mark = if endpoint.contains('?') { '&' } else { '?' };
        Ok(format!("{endpoint}{mark}{query}"))
    }

    /// Exchanges the code that came back for a token, and says who signed in.
    pub(crate) async fn person(
        &self,
        now: Time,
        asking: Asking<'_>,
        code: &str,
        issuer: Option<&str>,
    ) -> Result<Person, HubError> {
        let known = self.known(now, false).await?;
        // RFC 9207: an answer of another institution is not taken for this one's.
        let needs = known.described.authorization_response_iss_parameter_supported;
        if issuer.map_or(needs, |issuer| issuer != self.config.issuer) {
            return Err(HubError::new(ErrorCode::Forbidden, "another institution answered")
                .hint("begin again on the sign-in page"));
        }
        let token = self.exchange(&known.described, asking, code).await?;
        let expected = |nonce| Expected {
            issuer: &self.config.issuer,
            client_id: &self.config.client_id,
            nonce,
            now: now.as_second(),
        };
        let found = match verify(&token, &known.keys, &expected(asking.nonce)) {
            // Its keys may have been changed since they were fetched.
            Err(TokenError::UnknownKey) => {
                let known = self.known(now, true).await?;
                verify(&token, &known.keys, &expected(asking.nonce))
            }
            found => found,
        };
        found.map_err(|error| {
            HubError::new(ErrorCode::Forbidden, error.to_string())
                .hint("begin again; if it stays so, tell the people who run this hub")
        })
    }

    async fn exchange(
        &self,
        described: &Described,
        asking: Asking<'_>,
        code: &str,
    ) -> Result<Zeroizing<String>, HubError> {
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", asking.redirect),
            ("code_verifier", asking.verifier),
        ];
        let secret = self.config.client_secret.reveal();
        let methods = &described.token_endpoint_auth_methods_supported;
        let is_basic = methods.is_empty() || methods.iter().any(|m| m == "client_secret_basic");
        if !is_basic {
            form.extend([("client_id", self.config.client_id.as_str()), ("client_secret", secret)]);
        }
        let body = serde_urlencoded::to_string(&form)
            .map_err(|e| HubError::internal("the call to the institution cannot be written", e))?;
        let mut call = self
            .http
            .post(&described.token_endpoint)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        if is_basic {
            // Both are form-encoded first (RFC 6749, section 2.3.1).
            let encode = |text: &str| {
                serde_urlencoded::to_string([("", text)])
                    .map(|pair| Zeroizing::new(pair.trim_start_matches('=').to_owned()))
            };
            let (Ok(id), Ok(secret)) = (encode(&self.config.client_id), encode(secret)) else {
                return Err(away("the secret cannot be written"));
            };
            let pair = Zeroizing::new(format!("{}:{}", *id, *secret));
            let mut value = reqwest::header::HeaderValue::try_from(format!(
                "Basic {}",
                BASE64.encode(pair.as_bytes())
            ))
            .map_err(away)?;
            value.set_sensitive(true);
            call = call.header(AUTHORIZATION, value);
        }
        let (status, bytes) = Self::bytes(call).await?;
        let bytes = Zeroizing::new(bytes);
        if status.is_success() {
            return Self::read::<Tokens>(&bytes).map(|tokens| tokens.id_token);
        }
        let refused = serde_json::from_slice::<Refused>(&bytes).ok();
        Err(match refused.as_ref().map(|refused| refused.error.as_str()) {
            Some("invalid_client" | "unauthorized_client") => HubError::new(
                ErrorCode::Forbidden,
                "the institution does not take this hub's client id and secret",
            )
            .hint("tell the people who run this hub: the secret may have been changed or have expired"),
            Some("invalid_grant") => HubError::new(
                ErrorCode::Forbidden,
                "the institution does not know this sign-in any more",
            )
            .hint("begin again on the sign-in page"),
            _ => away(format!("its token endpoint answered {status}")),
        })
    }

    /// What is known of the institution: fetched anew if it is older than it may be, or `again`, but not always.
    async fn known(&self, now: Time, again: bool) -> Result<Arc<Known>, HubError> {
        let mut state = self.state.lock().await;
        let young = |at: Time, life: SignedDuration| now.duration_since(at) < life;
        if again && state.again.is_none_or(|at| !young(at, KEYS_AGAIN)) {
            state.again = Some(now);
        } else if let Some(known) = &state.known
            && (again || young(known.fetched, FRESH))
        {
            return Ok(Arc::clone(known));
        }
        if let Some((at, error)) = &state.failed
            && young(*at, REST)
        {
            return Err(error.clone());
        }
        match self.fetch(now).await {
            Ok(known) => {
                let known = Arc::new(known);
                (state.known, state.failed) = (Some(Arc::clone(&known)), None);
                Ok(known)
            }
            Err(error) => {
                state.failed = Some((now, error.clone()));
                Err(error)
            }
        }
    }

    async fn fetch(&self, now: Time) -> Result<Known, HubError> {
        let base = self.config.issuer.trim_end_matches('/');
        let address = format!("{base}/.well-known/openid-configuration");
        let described: Described = Self::answer(self.http.get(address)).await?;
        if described.issuer != self.config.issuer {
            return Err(away(format!("it calls itself {}", described.issuer)));
        }
        let here = is_here(&self.config.issuer);
        for endpoint in
            [&described.authorization_endpoint, &described.token_endpoint, &described.jwks_uri]
        {
            if !may_ask(endpoint, here) {
                return Err(away(format!("{endpoint} is not https")));
            }
        }
        let (status, keys) = Self::bytes(self.http.get(&described.jwks_uri)).await?;
        if !status.is_success() {
            return Err(away(format!("its keys: it answered {status}")));
        }
        let keys = Keys::parse(&keys).map_err(away)?;
        Ok(Known { described, keys, fetched: now })
    }

    async fn answer<T: DeserializeOwned>(call: reqwest::RequestBuilder) -> Result<T, HubError> {
        let (status, bytes) = Self::bytes(call).await?;
        if status.is_success() {
            Self::read(&bytes)
        } else {
            // A redirect too: nobody is followed to another host.
            Err(away(format!("it answered {status}")))
        }
    }

    fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, HubError> {
        // The reason is not kept: it may quote what was read.
        serde_json::from_slice(bytes).map_err(|_| away("its answer is not the JSON it should be"))
    }

    async fn bytes(
        call: reqwest::RequestBuilder,
    ) -> Result<(reqwest::StatusCode, Vec<u8>), HubError> {
        let response = call.send().await.map_err(|e| away(e.without_url()))?;
        let status = response.status();
        let mut bytes = Vec::new();
        let mut body = response.bytes_stream();
        while let Some(part) = body.next().await {
            let part = part.map_err(|e| away(e.without_url()))?;
            if bytes.len() + part.len() > ANSWER_BYTES {
                return Err(away("its answer is too long"));
            }
            bytes.extend_from_slice(&part);
        }
        Ok((status, bytes))
    }
}

/// Whether an address is plain HTTP on this very machine.
fn is_here(address: &str) -> bool {
    let Ok(address) = reqwest::Url::parse(address) else { return false };
    let loopback = match address.host_str() {
        Some("localhost" | "[::1]") => true,
        Some(host) => host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback()),
        None => false,
    };
    address.scheme() == "http" && loopback
}

/// Whether an address may be asked: over TLS, or, where the institution itself is `here`, on this machine.
fn may_ask(address: &str, here: bool) -> bool {
    let https = reqwest::Url::parse(address)
        .is_ok_and(|address| address.scheme() == "https" && address.has_host());
    https || (here && is_here(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tls_is_asked_or_this_very_machine() {
        for (address, here, may) in [
            ("https://login.example", false, true),
            ("https://login.example:8443/a", true, true),
            ("http://login.example", false, false),
            ("http://login.example", true, false),
            ("http://127.0.0.1:9", true, true),
            ("http://127.0.0.1:9", false, false),
            ("http://[::1]:9/x", true, true),
            ("http://localhost:9", true, true),
            ("http://127.0.0.1.evil.example", true, false),
            ("http://localhost@evil.example", true, false),
            ("http://10.0.0.1", true, false),
            ("file:///etc/passwd", true, false),
            ("login.example", true, false),
        ] {
            assert_eq!(may_ask(address, here), may, "{address} {here}");
        }
    }
}
