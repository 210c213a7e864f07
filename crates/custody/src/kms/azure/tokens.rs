//! Who asks a vault: an application of the customer's tenant, known by a secret or by a certificate (RFC 7523, as Microsoft's identity
//! platform reads it), and the token that it gets for that.
//!
//! The proof goes to the sign-in service that was configured and nowhere else, whatever the vault's challenge says; and there is no token
//! before the challenge named a resource that is a parent domain of the vault. A token is kept for five minutes at most, because it
//! outlives what it was given for.

use api::{Secret, Time};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RSA_PSS_SHA256;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use jiff::SignedDuration;
use reqwest::header::{HeaderValue, WWW_AUTHENTICATE};
use reqwest::{StatusCode, Url};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::kms::KmsError;
use crate::kms::http::{Answer, call, odd};

/// How long a token is kept, whatever it says of itself.
const TOKEN_LIFE: SignedDuration = SignedDuration::from_secs(300);
/// How long before its end it is not used any more.
const MARGIN: SignedDuration = SignedDuration::from_secs(60);
/// How long what a certificate's key signed counts.
const ASSERTION_LIFE: SignedDuration = SignedDuration::from_secs(300);
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// By what the tenant knows the application.
#[derive(Debug, Clone)]
pub enum AzureCredentials {
    /// A secret: its value, not its id.
    Secret(Secret),
    /// A certificate and its RSA key, PEM: it has no value that could be pasted elsewhere, and what it signs counts for minutes.
    Certificate(Secret),
}

/// A certificate's key, and how the tenant knows it.
struct Certificate {
    key: KeyPair,
    thumbprint: String,
}

enum Proof {
    Secret(Secret),
    Certificate(Box<Certificate>),
}

struct Token {
    value: Secret,
    end: Time,
}

pub(super) struct Tokens {
    tenant: String,
    client_id: String,
    proof: Proof,
    login: Url,
    http: reqwest::Client,
    kept: Mutex<Option<Token>>,
}

impl Certificate {
    fn read(pem: &Secret) -> Result<Self, KmsError> {
        // Why it does not read is not kept: it may quote the key.
        let wrong = |what: &str| {
            KmsError::Configuration(format!(
                "the application's certificate {what}: give one file with the certificate and its RSA key, PEM, without a passphrase"
            ))
        };
        let text = pem.reveal().as_bytes();
        let certificate =
            CertificateDer::from_pem_slice(text).map_err(|_| wrong("is not there"))?;
        let key = PrivateKeyDer::from_pem_slice(text).map_err(|_| wrong("has no key"))?;
        let key = match &key {
            PrivateKeyDer::Pkcs8(key) => KeyPair::from_pkcs8(key.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(key) => KeyPair::from_der(key.secret_pkcs1_der()),
            _ => return Err(wrong("has another key than RSA's")),
        };
        let key = key.map_err(|_| wrong("has a key that does not read"))?;
        let thumbprint = BASE64URL_NOPAD.encode(digest(&SHA256, &certificate).as_ref());
        Ok(Self { key, thumbprint })
    }

    /// Says who asks, for `audience`, from `now` on: a JWT signed by RSASSA-PSS.
    fn assertion(
        &self,
        client_id: &str,
        audience: &str,
        now: Time,
    ) -> Result<Zeroizing<String>, KmsError> {
        let mut id = [0; 16];
        seal::fill_random(&mut id).map_err(|e| KmsError::Away(Box::new(e)))?;
        let from = now.as_second();
        let header = json!({"alg": "PS256", "typ": "JWT", "x5t#S256": self.thumbprint});
        let claims = json!({
            "aud": audience, "iss": client_id, "sub": client_id, "jti": HEXLOWER.encode(&id),
            "nbf": from, "iat": from, "exp": from.saturating_add(ASSERTION_LIFE.as_secs()),
        });
        let part = |value: &serde_json::Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let text = format!("{}.{}", part(&header), part(&claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(&RSA_PSS_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
            .map_err(|e| KmsError::Away(Box::new(e)))?;
        Ok(Zeroizing::new(format!("{text}.{}", BASE64URL_NOPAD.encode(&signature))))
    }
}

impl Tokens {
    pub(super) fn new(
        tenant: String,
        client_id: String,
        credentials: AzureCredentials,
        login: Url,
        http: reqwest::Client,
    ) -> Result<Self, KmsError> {
        let proof = match credentials {
            AzureCredentials::Secret(secret) => Proof::Secret(secret),
            AzureCredentials::Certificate(pem) => {
                Proof::Certificate(Box::new(Certificate::read(&pem)?))
            }
        };
        Ok(Self { tenant, client_id, proof, login, http, kept: Mutex::default() })
    }

    /// The header that a call of the vault bears. `challenge` asks the vault, without a token and without a body, who gives tokens for it.
    pub(super) async fn header(
        &self,
        vault: &Url,
        challenge: impl Future<Output = Result<Answer, KmsError>> + Send,
        now: Time,
    ) -> Result<HeaderValue, KmsError> {
        let mut kept = self.kept.lock().await;
        if kept.as_ref().is_none_or(|token| token.end.duration_since(now) <= MARGIN) {
            *kept = None;
            let scope = self.scope(vault, &challenge.await?)?;
            *kept = Some(self.fetch(&scope, now).await?);
        }
        let value = match &*kept {
            Some(token) => Zeroizing::new(format!("Bearer {}", token.value.reveal())),
            None => return Err(odd("there is no token")),
        };
        let mut value = HeaderValue::try_from(value.as_str())
            .map_err(|_| odd("its token is no header's value"))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// Forgets the token, because the vault does not take it.
    pub(super) async fn forget(&self) {
        *self.kept.lock().await = None;
    }

    fn authority(&self) -> String {
        format!("{}/{}", self.login.as_str().trim_end_matches('/'), self.tenant)
    }

    /// For what a token must be, as the vault's challenge says.
    fn scope(&self, vault: &Url, answer: &Answer) -> Result<String, KmsError> {
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            return Err(KmsError::Throttled { after: answer.retry_after() });
        }
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
        let own = vault.host_str().unwrap_or_default();
        if !parent.is_some_and(|parent| own.ends_with(&format!(".{parent}"))) {
            return Err(odd("its challenge is for a domain that is not its own"));
        }
        let authority = asks("authorization").or_else(|| asks("authorization_uri"));
        if authority.as_deref().map(|url| url.trim_end_matches('/')) != Some(&self.authority()) {
            return Err(KmsError::Credentials { why: "the vault belongs to another tenant" });
        }
        Ok(format!("{resource}/.default"))
    }

    async fn fetch(&self, scope: &str, now: Time) -> Result<Token, KmsError> {
        let url = format!("{}/oauth2/v2.0/token", self.authority());
        let assertion = match &self.proof {
            Proof::Secret(_) => None,
            Proof::Certificate(certificate) => {
                Some(certificate.assertion(&self.client_id, &url, now)?)
            }
        };
        let mut form = vec![
            ("grant_type", "client_credentials"),
            ("client_id", self.client_id.as_str()),
            ("scope", scope),
        ];
        match (&self.proof, &assertion) {
            (Proof::Secret(secret), _) => form.push(("client_secret", secret.reveal())),
            (Proof::Certificate(_), assertion) => {
                let text = assertion.as_ref().map_or("", |text| text.as_str());
                form.extend([
                    ("client_assertion_type", ASSERTION_TYPE),
                    ("client_assertion", text),
                ]);
            }
        }
        let body = serde_urlencoded::to_string(form)
            .map(Zeroizing::new)
            .map_err(|e| KmsError::Configuration(e.to_string()))?;
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
        // What the certificate's key signed is not valid yet, or not any more, by the tenant's clock.
        Some(700_024) => return KmsError::Clock,
        Some(700_027) => "the application's certificate is not known to the tenant",
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
