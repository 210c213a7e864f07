//! What only tests use: a hub in a directory of its own with a clock that stands still, and callers that sign.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use api::{AccountId, KeyKind, KeyLimit, Problem, ProjectId, Time};
use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use proof::{Call, SigningKey, content_digest};
use seal::DatasetKey;
use seal::recipient::{RecipientKey, wrap_to};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tower::ServiceExt;

use crate::app::projects::own_context;
use crate::state::Hub;
use crate::{HubConfig, app, http, serve, site};

/// The name by which tests call the hub.
pub(crate) const AUTHORITY: &str = "localhost:8470";

/// Compares `text` with the file at `path` (from the crate's folder); with `UPDATE=1` writes the file instead.
pub(crate) fn compare_snapshot(path: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, text).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        kept == text,
        "{} is not as kept; run with UPDATE=1 and read the difference",
        file.display()
    );
}

/// A hub with a clock that a test moves.
pub(crate) struct TestHub {
    pub(crate) hub: Hub,
    pub(crate) code: Option<String>,
    clock: Arc<AtomicI64>,
    router: Router,
    directory: tempfile::TempDir,
}

impl TestHub {
    pub(crate) async fn start() -> Self {
        let clock = Arc::new(AtomicI64::new(1_800_000_000));
        Self::start_in(tempfile::tempdir().unwrap(), clock, None, None).await
    }

    /// A hub with these built pages.
    pub(crate) async fn with_pages(folder: &Path) -> Self {
        let clock = Arc::new(AtomicI64::new(1_800_000_000));
        Self::start_in(tempfile::tempdir().unwrap(), clock, None, Some(folder)).await
    }

    /// A hub that hands mail to this relay.
    pub(crate) async fn with_relay(relay: crate::Relay) -> Self {
        let clock = Arc::new(AtomicI64::new(1_800_000_000));
        Self::start_in(tempfile::tempdir().unwrap(), clock, Some(relay), None).await
    }

    async fn start_in(
        directory: tempfile::TempDir,
        clock: Arc<AtomicI64>,
        relay: Option<crate::Relay>,
        pages: Option<&Path>,
    ) -> Self {
        let key_services = crate::KeyServices {
            files: Some(directory.path().join("customers")),
            ..crate::KeyServices::default()
        };
        let data = directory.path().join("data");
        let config = HubConfig {
            relay,
            key_services,
            pages: pages.map(Path::to_owned),
            authenticator_origins: vec!["https://keys.example".to_owned()],
            ..HubConfig::new(data)
        };
        let seconds = Arc::clone(&clock);
        let now = move || Time::from_second(seconds.load(Ordering::SeqCst)).unwrap();
        let (hub, ..) = serve::start(&config, config.listen, Arc::new(now)).await.unwrap();
        let code = app::accounts::first_code(&hub).await.unwrap().map(|code| code.code);
        app::projects::finish_deletions(&hub).await.unwrap();
        Self { router: http::service(hub.clone(), site::pages(&hub)), hub, code, clock, directory }
    }

    /// Stops the hub and starts it again on the same data.
    pub(crate) async fn restart(self) -> Self {
        let Self { hub, clock, router, directory, .. } = self;
        drop(router);
        hub.background.close();
        hub.background.wait().await;
        hub.store.settle().await;
        hub.db.close().await;
        drop(hub);
        Self::start_in(directory, clock, None, None).await
    }

    /// Lets so many seconds pass, or go back.
    pub(crate) fn pass(&self, seconds: i64) {
        self.clock.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(crate) fn now(&self) -> i64 {
        self.clock.load(Ordering::SeqCst)
    }

    /// The directory that holds everything of this hub.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What answers, for a test that puts a real connection in front of it.
    pub(crate) fn router(&self) -> Router {
        self.router.clone()
    }

    /// Sends a request as it is.
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        Answer::of(response).await
    }

    /// The words of an answer that goes on, each as it comes.
    pub(crate) async fn words(&self, key: &SigningKey, path: &str) -> Body {
        let request = Signed::new("GET", path, Vec::new()).by(key, self.now());
        let response = self.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.headers()["content-type"], api::EVENT_STREAM);
        response.into_body()
    }

    /// A signed call with a JSON body.
    pub(crate) async fn call(
        &self,
        key: &SigningKey,
        method: &str,
        path: &str,
        body: impl Serialize,
    ) -> Answer {
        let body = serde_json::to_vec(&body).unwrap();
        self.send(Signed::new(method, path, body).by(key, self.now())).await
    }

    /// A signed `GET`.
    pub(crate) async fn get(&self, key: &SigningKey, path: &str) -> Answer {
        self.send(Signed::new("GET", path, Vec::new()).by(key, self.now())).await
    }

    /// Enrols `key` with a code.
    pub(crate) async fn enrol(&self, key: &SigningKey, code: &str, name: &str) -> Answer {
        let body = json!({
            "code": code, "account_name": name, "key_name": "a test",
            "public_key": api::Bytes(key.public().to_bytes().to_vec()),
        });
        self.call(key, "POST", "/api/v1/enrol", body).await
    }

    /// The first operator.
    pub(crate) async fn operator(&self) -> Person {
        let key = signing_key();
        let code = self.code.as_deref().unwrap();
        let who: api::Whoami = self.enrol(&key, code, "operator").await.ok();
        Person { key, account: who.account.id }
    }

    /// Somebody else, invited by `operator`.
    pub(crate) async fn person(&self, operator: &Person, name: &str) -> Person {
        let invited: api::Invitation =
            self.call(&operator.key, "POST", "/api/v1/accounts", json!({"name": name})).await.ok();
        let key = signing_key();
        self.enrol(&key, &invited.code, "").await.ok::<api::Whoami>();
        Person { key, account: invited.account.id }
    }

    /// A key of an instrument, for this person's account.
    pub(crate) async fn instrument(&self, person: &Person) -> SigningKey {
        let key = signing_key();
        let body = api::AddKey {
            kind: KeyKind::Instrument,
            name: "the sequencer".into(),
            public_key: api::Bytes(key.public().to_bytes().to_vec()),
            limit: None,
        };
        self.call(&person.key, "POST", "/api/v1/keys", body).await.ok::<api::Key>();
        key
    }

    /// A key of this person with a limit.
    pub(crate) async fn limited(&self, person: &Person, limit: &KeyLimit) -> SigningKey {
        let key = signing_key();
        let body = api::AddKey {
            kind: KeyKind::Person,
            name: "a script".into(),
            public_key: api::Bytes(key.public().to_bytes().to_vec()),
            limit: Some(limit.clone()),
        };
        let added: api::Key = self.call(&person.key, "POST", "/api/v1/keys", body).await.ok();
        assert_eq!(added.limit.as_ref(), Some(limit));
        key
    }

    /// To which key outsiders wrap.
    pub(crate) fn recipient(&self) -> RecipientKey {
        self.hub.custodian(api::Custodian::Platform).unwrap().recipient().unwrap().clone()
    }

    /// What makes a platform project with this name.
    pub(crate) fn new_project(&self, id: ProjectId, name: &str) -> api::CreateProject {
        let key = DatasetKey::generate().unwrap();
        let wrapped = wrap_to(&self.recipient(), &own_context(id).bytes(), &key).unwrap();
        let label = seal::label::seal_label(&key, "project name", name.as_bytes()).unwrap();
        api::CreateProject {
            id,
            custodian: api::Custodian::Platform,
            wrapped_key: api::Bytes(wrapped),
            label: api::Bytes(label),
            card: None,
            organization: None,
        }
    }

    /// A project of this person.
    pub(crate) async fn project(&self, owner: &Person, name: &str) -> ProjectId {
        let id = ProjectId::generate();
        let body = self.new_project(id, name);
        self.call(&owner.key, "POST", "/api/v1/projects", body).await.ok::<api::Project>();
        id
    }
}

/// Somebody with an account.
pub(crate) struct Person {
    pub(crate) key: SigningKey,
    pub(crate) account: AccountId,
}

/// A key nobody had before.
pub(crate) fn signing_key() -> SigningKey {
    let mut seed = [0; 32];
    seal::fill_random(&mut seed).unwrap();
    SigningKey::from_seed(&seed)
}

/// A call about to be signed, of which a test can change every part.
pub(crate) struct Signed {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) authority: String,
    pub(crate) body: Vec<u8>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) nonce: String,
}

impl Signed {
    pub(crate) fn new(method: &str, path: &str, body: Vec<u8>) -> Self {
        Self {
            method: method.into(),
            path: path.into(),
            authority: AUTHORITY.into(),
            body,
            headers: Vec::new(),
            nonce: uuid::Uuid::new_v4().simple().to_string(),
        }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self.headers.sort();
        self
    }

    /// The request, signed at `now`.
    pub(crate) fn by(&self, key: &SigningKey, now: i64) -> Request<Body> {
        let digest = content_digest(&self.body);
        let headers: Vec<(&str, &str)> =
            self.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let call = Call {
            method: &self.method,
            target_uri: &format!("https://{}{}", self.authority, self.path),
            content_digest: &digest,
            headers: &headers,
        };
        let signature = call.sign(key, now, &self.nonce);
        let mut request = Request::builder()
            .method(self.method.as_str())
            .uri(&self.path)
            .header("host", &self.authority)
            .header("content-digest", digest)
            .header("signature-input", signature.signature_input)
            .header("signature", signature.signature);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(Body::from(self.body.clone())).unwrap()
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: axum::http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    async fn of(response: Response<Body>) -> Self {
        let (parts, mut body) = response.into_parts();
        // An answer that goes on is read to its first word.
        let body = if parts.headers.get("content-type").is_some_and(|v| v == api::EVENT_STREAM) {
            body.frame().await.unwrap().unwrap().into_data().unwrap().to_vec()
        } else {
            body.collect().await.unwrap().to_bytes().to_vec()
        };
        Self { status: parts.status, headers: parts.headers, body }
    }

    /// The body of a success.
    #[track_caller]
    pub(crate) fn ok<T: DeserializeOwned>(&self) -> T {
        let text = String::from_utf8_lossy(&self.body);
        assert!(self.status.is_success(), "{}: {text}", self.status);
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The problem document of a refusal.
    #[track_caller]
    pub(crate) fn problem(&self) -> Problem {
        let text = String::from_utf8_lossy(&self.body);
        assert!(!self.status.is_success(), "{}: {text}", self.status);
        assert_eq!(self.headers.get("content-type").unwrap(), "application/problem+json");
        let problem: Problem = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem.status, self.status.as_u16());
        assert_eq!(problem.status, problem.code.status());
        assert_eq!(self.headers.get("x-request-id").unwrap(), &problem.request_id.to_string());
        problem
    }

    /// The code of a refusal.
    #[track_caller]
    pub(crate) fn code(&self) -> api::ErrorCode {
        self.problem().code
    }
}
