//! One hub, one caller: signing, sending, waiting, trying again.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use api::{Digest, ErrorCode, Problem};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use proof::{Call, CallSignature, SigningKey, content_digest, content_digest_of};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RANGE, RETRY_AFTER};
use reqwest::{Method, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::retry::pause;
use crate::{ClientError, Patience, Refusal, Trust};

/// The most bytes of an answer that are taken: a page of a thousand items has some two megabytes, an object sixteen.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;
/// The slowest line that is put up with, in bytes a second: what a call may take beyond its first minute.
const SLOWEST_LINE: u64 = 16 * 1024;

/// Whoever signs calls: a key in memory, or something that has one.
pub trait Signer: Send + Sync {
    /// Signs `call` as made at `created` (Unix seconds) with `nonce`.
    fn sign_call(&self, call: &Call<'_>, created: i64, nonce: &str) -> CallSignature;
}

impl Signer for SigningKey {
    fn sign_call(&self, call: &Call<'_>, created: i64, nonce: &str) -> CallSignature {
        call.sign(self, created, nonce)
    }
}

/// What a client needs to know.
#[derive(Clone)]
pub struct Options {
    /// Where the hub is: `https://host:port`.
    pub hub: String,
    /// By which certificate authority it is known.
    pub trust: Trust,
    /// Who signs.
    pub signer: Arc<dyn Signer>,
    /// How long to keep trying.
    pub patience: Patience,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("hub", &self.hub)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

/// A caller's way to a hub. Clones share their connections.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    http: reqwest::Client,
    /// Scheme and authority, without a slash at the end.
    hub: String,
    signer: Arc<dyn Signer>,
    patience: Patience,
    /// What is added to our clock to get the hub's.
    skew_seconds: AtomicI64,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("hub", &self.0.hub).finish_non_exhaustive()
    }
}

/// The address of a hub, if it is one.
pub(crate) fn hub_url(address: &str) -> Result<Url, ClientError> {
    let refuse =
        |why: &str| ClientError::Address { address: address.to_owned(), why: why.to_owned() };
    let url = Url::parse(address).map_err(|e| refuse(&e.to_string()))?;
    if url.scheme() != "https" {
        return Err(refuse("it does not begin with https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("it names a user"));
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(refuse("something stands after host and port"));
    }
    Ok(url)
}

/// Whether a call may arrive twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Twice {
    /// It does the same the second time.
    Harmless,
    /// It would be done twice.
    Never,
}

/// A call before it is signed; every try signs it anew, because a nonce counts once.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    method: Method,
    /// Path and query.
    path: String,
    body: Bytes,
    digest: String,
    content_type: Option<&'static str>,
    /// Headers of ours, in the order of their names; covered by the signature.
    headers: Vec<(&'static str, String)>,
    range: Option<std::ops::Range<u64>>,
    twice: Twice,
}

impl Request {
    /// A call without a body; `path` begins after the prefix of the API.
    pub(crate) fn bare(method: Method, path: impl fmt::Display) -> Self {
        let twice = if method == Method::POST { Twice::Never } else { Twice::Harmless };
        Self {
            method,
            path: format!("{}{path}", api::API_PREFIX),
            body: Bytes::new(),
            digest: content_digest(b""),
            content_type: None,
            headers: Vec::new(),
            range: None,
            twice,
        }
    }

    pub(crate) fn get(path: impl fmt::Display) -> Self {
        Self::bare(Method::GET, path)
    }

    pub(crate) fn put(path: impl fmt::Display, body: &impl Serialize) -> Self {
        Self::bare(Method::PUT, path).json(body)
    }

    pub(crate) fn post(path: impl fmt::Display, body: &impl Serialize) -> Self {
        Self::bare(Method::POST, path).json(body)
    }

    pub(crate) fn json(mut self, body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body).expect(
            "a wire type serializes because it holds only texts, numbers, lists and records",
        );
        self.digest = content_digest(&body);
        self.body = body.into();
        self.content_type = Some("application/json");
        self
    }

    /// Octets whose SHA-256 is known already.
    pub(crate) fn octets(mut self, body: Bytes, digest: &Digest) -> Self {
        self.digest = content_digest_of(digest);
        self.body = body;
        self.content_type = Some("application/octet-stream");
        self
    }

    /// Adds a header of ours; names must come sorted.
    pub(crate) fn header(mut self, name: &'static str, value: String) -> Self {
        debug_assert!(self.headers.last().is_none_or(|(last, _)| *last < name));
        self.headers.push((name, value));
        self
    }

    pub(crate) fn range(mut self, range: std::ops::Range<u64>) -> Self {
        self.range = Some(range);
        self
    }

    /// Says that a second arrival does no harm.
    pub(crate) fn repeatable(mut self) -> Self {
        self.twice = Twice::Harmless;
        self
    }

    fn name(&self) -> (&'static str, String) {
        let method = match self.method {
            Method::GET => "GET",
            Method::PUT => "PUT",
            Method::DELETE => "DELETE",
            _ => "POST",
        };
        let path = self.path.split('?').next().unwrap_or_default().to_owned();
        (method, path)
    }
}

/// What the hub answered when it did not refuse.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

impl Client {
    /// A client; connects when it is first used.
    pub fn new(options: Options) -> Result<Self, ClientError> {
        let url = hub_url(&options.hub)?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(options.trust.config())
            .https_only(true)
            .http1_only()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(Duration::from_secs(20))
            .read_timeout(Duration::from_secs(120))
            .pool_idle_timeout(Duration::from_secs(50))
            .tcp_nodelay(true)
            .user_agent(concat!("chorion/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| ClientError::Address { address: options.hub.clone(), why: chain(&e) })?;
        Ok(Self(Arc::new(Inner {
            http,
            hub: url.as_str().trim_end_matches('/').to_owned(),
            signer: options.signer,
            patience: options.patience,
            skew_seconds: AtomicI64::new(0),
        })))
    }

    /// The same way to the hub, over the same connections, for another caller.
    #[must_use]
    pub fn signed_by(&self, signer: Arc<dyn Signer>) -> Self {
        Self(Arc::new(Inner {
            http: self.0.http.clone(),
            hub: self.0.hub.clone(),
            signer,
            patience: self.0.patience,
            skew_seconds: AtomicI64::new(self.0.skew_seconds.load(Ordering::Relaxed)),
        }))
    }

    /// The hub's address, as it stands in signatures.
    pub fn hub(&self) -> &str {
        &self.0.hub
    }

    /// The moment by the hub's clock, as far as it is known: ours until the hub has corrected us.
    pub fn now(&self) -> api::Time {
        let skew = self.0.skew_seconds.load(Ordering::Relaxed);
        let now = jiff::Timestamp::now();
        now.checked_add(jiff::SignedDuration::from_secs(skew)).unwrap_or(now)
    }

    /// Sends a call and reads its JSON answer.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        request: Request,
    ) -> Result<T, ClientError> {
        let answer = self.send(&request).await?;
        serde_json::from_slice(&answer.body).map_err(|e| self.unreadable(&request, e.to_string()))
    }

    /// Sends a call whose answer is empty.
    pub(crate) async fn call_empty(&self, request: Request) -> Result<(), ClientError> {
        self.send(&request).await.map(|_empty| ())
    }

    pub(crate) fn unreadable(&self, request: &Request, why: String) -> ClientError {
        let (method, path) = request.name();
        ClientError::Unreadable { hub: self.0.hub.clone(), method, path, why }
    }

    /// Sends a call until it is answered, refused for good, or patience ends.
    pub(crate) async fn send(&self, request: &Request) -> Result<Answer, ClientError> {
        let first = Instant::now();
        let mut failed: u32 = 0;
        let mut clock_was_corrected = false;
        loop {
            let error = match self.send_once(request).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if !clock_was_corrected && self.correct_clock(&error) {
                clock_was_corrected = true;
                continue;
            }
            let again = match request.twice {
                Twice::Harmless => error.may_pass(),
                Twice::Never => error.did_nothing(),
            };
            failed = failed.saturating_add(1);
            let wait = pause(failed, error.retry_after(), random()?);
            if !again || !self.0.patience.allows(first.elapsed(), wait) {
                return Err(error);
            }
            let (method, path) = request.name();
            tracing::info!(method, path, failed, wait_ms = wait.as_millis(), %error, "trying again");
            tokio::time::sleep(wait).await;
        }
    }

    /// Takes over the hub's clock if that is why it refused.
    fn correct_clock(&self, error: &ClientError) -> bool {
        let ClientError::Refused(refusal) = error else { return false };
        if refusal.problem.code != ErrorCode::ClockSkew {
            return false;
        }
        let skew = refusal.problem.time.as_second() - jiff::Timestamp::now().as_second();
        tracing::warn!(
            skew_seconds = skew,
            "our clock differs from the hub's; calls are signed by the hub's"
        );
        self.0.skew_seconds.store(skew, Ordering::Relaxed);
        true
    }

    /// Signs a call and sends it, once; a `limit` is for all of the answer.
    async fn fire(
        &self,
        request: &Request,
        limit: Option<Duration>,
    ) -> Result<reqwest::Response, ClientError> {
        let uri = format!("{}{}", self.0.hub, request.path);
        let url = Url::parse(&uri)
            .map_err(|e| ClientError::Address { address: uri, why: e.to_string() })?;
        let headers: Vec<_> = request.headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let call = Call {
            method: request.method.as_str(),
            target_uri: url.as_str(),
            content_digest: &request.digest,
            headers: &headers,
        };
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(|_| ClientError::NoRandomness)?;
        let created = self.now().as_second();
        let signature = self.0.signer.sign_call(&call, created, &HEXLOWER.encode(&nonce));

        let mut map = HeaderMap::new();
        let mut put = |name: &'static str, value: &str| {
            HeaderValue::from_str(value)
                .map(|value| map.insert(name, value))
                .map_err(|e| self.unreadable(request, format!("header {name}: {e}")))
        };
        put("content-digest", &request.digest)?;
        put("signature-input", &signature.signature_input)?;
        put("signature", &signature.signature)?;
        for (name, value) in &request.headers {
            put(name, value)?;
        }
        if let Some(content_type) = request.content_type {
            map.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        if let Some(range) = &request.range {
            let text = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
            map.insert(RANGE, HeaderValue::try_from(text).map_err(|_| ClientError::NoRandomness)?);
        }
        let call = self.0.http.request(request.method.clone(), url).headers(map);
        let call = match limit {
            Some(limit) => call.timeout(limit),
            None => call,
        };
        call.body(request.body.clone()).send().await.map_err(|e| self.broken(e))
    }

    /// An answer that goes on: its pieces as they come. Tried once.
    pub(crate) async fn listen(&self, request: &Request) -> Result<reqwest::Response, ClientError> {
        let response = self.fire(request, None).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        match self.read(request, response).await {
            Err(error) => Err(error),
            Ok(_) => Err(self.unreadable(request, "it ended at once".to_owned())),
        }
    }

    /// What came on a line that was open.
    pub(crate) fn cut(&self, error: reqwest::Error) -> ClientError {
        self.broken(error)
    }

    async fn send_once(&self, request: &Request) -> Result<Answer, ClientError> {
        let length = u64::try_from(request.body.len()).unwrap_or(u64::MAX);
        let limit = Duration::from_secs(120 + (length + (16 << 20)) / SLOWEST_LINE);
        let response = self.fire(request, Some(limit)).await?;
        self.read(request, response).await
    }

    /// Reads an answer whole, or what the hub refuses.
    async fn read(
        &self,
        request: &Request,
        response: reqwest::Response,
    ) -> Result<Answer, ClientError> {
        let status = response.status();
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.parse().ok())
            .map(Duration::from_secs);
        let body = self.body(request, response).await?;
        if status.is_success() {
            return Ok(Answer { status, body });
        }
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => Err(ClientError::Refused(Box::new(Refusal { problem, retry_after }))),
            Err(_not_a_problem) => {
                let (method, path) = request.name();
                let hub = self.0.hub.clone();
                Err(ClientError::NoExplanation {
                    hub,
                    method,
                    path,
                    status: status.as_u16(),
                    retry_after,
                })
            }
        }
    }

    /// Reads an answer whole, but never more than an answer may have.
    async fn body(
        &self,
        request: &Request,
        mut response: reqwest::Response,
    ) -> Result<Bytes, ClientError> {
        let too_long =
            || self.unreadable(request, format!("it has more than {MAX_ANSWER_BYTES} bytes"));
        let announced =
            usize::try_from(response.content_length().unwrap_or(0)).unwrap_or(usize::MAX);
        if announced > MAX_ANSWER_BYTES {
            return Err(too_long());
        }
        let mut body = bytes::BytesMut::with_capacity(announced);
        while let Some(chunk) = response.chunk().await.map_err(|e| self.broken(e))? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(too_long());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    /// Sorts what the network said: the wrong server is not the same as no server.
    fn broken(&self, error: reqwest::Error) -> ClientError {
        let hub = self.0.hub.clone();
        let sent = !error.is_connect();
        let error = error.without_url();
        if is_about_certificate(&error) {
            ClientError::NotTheHub { hub, source: Box::new(error) }
        } else {
            ClientError::Unreachable { hub, sent, source: Box::new(error) }
        }
    }
}

/// Whether a certificate did not verify anywhere down the chain of causes.
fn is_about_certificate(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        // An I/O error hides what it wraps: its `source` is the source of that.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(inner) = inner
            && is_about_certificate(inner)
        {
            return true;
        }
        if matches!(error.downcast_ref(), Some(rustls::Error::InvalidCertificate(_))) {
            return true;
        }
        next = error.source();
    }
    false
}

/// An error and its causes in one line.
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

fn random() -> Result<u64, ClientError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|_| ClientError::NoRandomness)?;
    Ok(u64::from_be_bytes(bytes))
}
