//! The client against a small hub that verifies every signature, over real TLS on loopback.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::{Client, ClientError, DatasetFilter, ObjectBytes, Options, Patience, Trust};
use api::{DatasetId, Digest, ErrorCode, HubInfo, ObjectRef, Problem, RequestId};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use bytes::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use proof::{Call, ParsedCall, PublicKey, SigningKey, parse_content_digest, sha256};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What the hub saw and how it shall behave.
#[derive(Default)]
struct Script {
    /// What each of the next calls gets; an empty list answers properly.
    moods: Vec<Mood>,
    /// Nonces seen.
    nonces: Vec<String>,
    /// Method and path of every call that verified.
    calls: Vec<String>,
    connections: usize,
    /// How many seconds the hub's clock is ahead of ours.
    ahead: i64,
}

#[derive(Debug, Clone, Copy)]
enum Mood {
    Answer,
    Refuse(ErrorCode, Option<u64>),
    /// Breaks the connection after the call was done.
    Cut,
    /// A proxy's page.
    Html(u16),
}

struct Hub {
    key: PublicKey,
    address: Mutex<String>,
    script: Mutex<Script>,
}

fn problem(code: ErrorCode, hub: &Hub) -> Problem {
    let ahead = hub.script.lock().unwrap().ahead;
    Problem {
        code,
        status: code.status(),
        title: format!("the call is refused: {code:?}"),
        hint: Some("do otherwise".to_owned()),
        key: None,
        request_id: RequestId::generate(),
        time: jiff::Timestamp::now() + jiff::SignedDuration::from_secs(ahead),
    }
}

fn refuse(code: ErrorCode, hub: &Hub) -> Response {
    let status = StatusCode::from_u16(code.status()).unwrap();
    (status, Json(problem(code, hub))).into_response()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |v| v.to_str().unwrap())
}

async fn serve(State(hub): State<Arc<Hub>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 32 << 20).await.unwrap();
    let uri = format!("https://{}{}", text(&parts.headers, "host"), parts.uri);
    assert!(uri.starts_with(&*hub.address.lock().unwrap()), "{uri}");
    let digest = text(&parts.headers, "content-digest");
    assert_eq!(
        parse_content_digest(digest).unwrap(),
        sha256(&body),
        "the body is not the digest's"
    );
    let mut ours: Vec<_> = parts
        .headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("chorion-"))
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    ours.sort_unstable();
    let call = Call {
        method: parts.method.as_str(),
        target_uri: &uri,
        content_digest: digest,
        headers: &ours,
    };
    let parsed = ParsedCall::parse(
        Some(text(&parts.headers, "signature-input")),
        Some(text(&parts.headers, "signature")),
    )
    .unwrap();
    parsed.verify(&call, &hub.key).unwrap();
    let mood = {
        let mut script = hub.script.lock().unwrap();
        assert!(!script.nonces.contains(&parsed.nonce), "a nonce came twice");
        script.nonces.push(parsed.nonce.clone());
        let now = jiff::Timestamp::now().as_second() + script.ahead;
        if parsed.check_time(now).is_err() {
            drop(script);
            return refuse(ErrorCode::ClockSkew, &hub);
        }
        script.calls.push(format!("{} {}", parts.method, parts.uri));
        if script.moods.is_empty() { Mood::Answer } else { script.moods.remove(0) }
    };
    match mood {
        Mood::Answer => {}
        Mood::Refuse(code, retry_after) => {
            let mut response = refuse(code, &hub);
            if let Some(seconds) = retry_after {
                response.headers_mut().insert("retry-after", seconds.into());
            }
            return response;
        }
        Mood::Html(status) => {
            return (StatusCode::from_u16(status).unwrap(), "<html>").into_response();
        }
        // An answer that announces more than it has: the connection breaks under the caller.
        Mood::Cut => {
            let pieces = [Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("cut"))];
            let half = Body::from_stream(futures_util::stream::iter(pieces));
            return Response::builder().header("content-length", "100").body(half).unwrap();
        }
    }
    answer(&hub, &parts, body)
}

fn answer(hub: &Hub, parts: &axum::http::request::Parts, body: Bytes) -> Response {
    let path = parts.uri.path();
    let query = parts.uri.query().unwrap_or("");
    if path == "/api/v1/whoami" {
        let account = api::AccountId::generate();
        let created = jiff::Timestamp::UNIX_EPOCH;
        return Json(api::Whoami {
            account: api::Account {
                id: account,
                name: "ada".into(),
                operator: true,
                created,
                disabled: None,
                belongs: None,
            },
            key: api::Key {
                id: hub.key.id(),
                account,
                kind: api::KeyKind::Person,
                name: "laptop".into(),
                public_key: api::Bytes(hub.key.to_bytes().to_vec()),
                created,
                revoked: None,
                limit: None,
                app: None,
            },
            hub: HubInfo {
                id: "h".into(),
                version: "0".into(),
                card_key: api::Bytes(vec![]),
                custodians: vec![],
                time: created,
            },
        })
        .into_response();
    }
    if path.ends_with("/accounts") && parts.method == "GET" {
        // Three pages of two.
        let n: u32 = query.split("cursor=").nth(1).map_or(0, |c| c.parse().unwrap());
        let next = (n < 2).then(|| format!("/api/v1/accounts?cursor={}", n + 1));
        let account = |letter| api::Account {
            id: api::AccountId::generate(),
            name: format!("{n}{letter}"),
            operator: false,
            created: jiff::Timestamp::UNIX_EPOCH,
            disabled: None,
            belongs: None,
        };
        return Json(api::Page { items: vec![account('a'), account('b')], next }).into_response();
    }
    if path.ends_with("/datasets") {
        let next = Some("https://elsewhere.example/api/v1/datasets".to_owned());
        return Json(api::Page::<u32> { items: vec![], next }).into_response();
    }
    if parts.method == "PUT" && path.contains("/objects/") {
        let object: ObjectRef = path.rsplit('/').next().unwrap().parse().unwrap();
        assert_eq!(text(&parts.headers, "chorion-epoch"), "3");
        assert_eq!(text(&parts.headers, "chorion-wrapped-key").len(), 80);
        let hash = sha256(&body);
        return Json(api::Acknowledged { object, hash, sealed_bytes: body.len() as u64 })
            .into_response();
    }
    if parts.method == "GET" && path.contains("/objects/") {
        let all: Vec<u8> = (0..=255).collect();
        let range = text(&parts.headers, "range");
        let Some(range) = range.strip_prefix("bytes=") else { return all.into_response() };
        let (from, to) = range.split_once('-').unwrap();
        let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap());
        return (StatusCode::PARTIAL_CONTENT, all[from..=to].to_vec()).into_response();
    }
    if parts.method == "DELETE" || path.ends_with("/disable") {
        return StatusCode::NO_CONTENT.into_response();
    }
    refuse(ErrorCode::NotFound, hub)
}

struct Running {
    hub: Arc<Hub>,
    address: SocketAddr,
    authority: String,
    key: SigningKey,
}

/// A certificate authority and a leaf for 127.0.0.1.
fn certificates() -> (
    String,
    Vec<rustls::pki_types::CertificateDer<'static>>,
    rustls::pki_types::PrivateKeyDer<'static>,
) {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::new(params, ca_key);
    let leaf_key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])
        .unwrap()
        .signed_by(&leaf_key, &issuer)
        .unwrap();
    let chain = vec![leaf.der().clone(), ca.der().clone()];
    (ca.pem(), chain, rustls::pki_types::PrivateKeyDer::try_from(leaf_key.serialize_der()).unwrap())
}

async fn start() -> Running {
    let key = SigningKey::from_seed(&[5; 32]);
    let (authority, chain, leaf_key) = certificates();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(crate::crypto_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, leaf_key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let hub = Arc::new(Hub {
        key: key.public(),
        address: Mutex::new(format!("https://{address}/")),
        script: Mutex::default(),
    });
    let router = axum::Router::new().fallback(serve).with_state(Arc::clone(&hub));
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let counted = Arc::clone(&hub);
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            counted.script.lock().unwrap().connections += 1;
            let (acceptor, router) = (acceptor.clone(), router.clone());
            tokio::spawn(async move {
                let Ok(tls) = acceptor.accept(tcp).await else { return };
                let service = TowerToHyperService::new(router);
                let _ended = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(tls), service)
                    .await;
            });
        }
    });
    Running { hub, address, authority, key }
}

impl Running {
    fn client(&self, patience: Patience) -> Client {
        Client::new(Options {
            hub: format!("https://{}", self.address),
            trust: Trust::from_pem(self.authority.as_bytes()).unwrap(),
            signer: Arc::new(self.key.clone()),
            patience,
        })
        .unwrap()
    }

    fn will(&self, moods: &[Mood]) {
        self.hub.script.lock().unwrap().moods = moods.to_vec();
    }

    fn calls(&self) -> usize {
        self.hub.script.lock().unwrap().calls.len()
    }
}

const SOON: Patience = Patience::For(Duration::from_secs(30));

#[tokio::test]
async fn a_call_is_signed_and_answered_and_its_connection_used_again() {
    let running = start().await;
    let client = running.client(Patience::Once);
    for _ in 0..5 {
        assert_eq!(client.whoami().await.unwrap().account.name, "ada");
    }
    assert_eq!(running.hub.script.lock().unwrap().connections, 1);
}

#[tokio::test]
async fn a_list_is_followed_to_its_end() {
    let running = start().await;
    let client = running.client(Patience::Once);
    let names =
        |accounts: Vec<api::Account>| -> Vec<_> { accounts.into_iter().map(|a| a.name).collect() };
    let all = names(client.accounts().all().await.unwrap());
    assert_eq!(all, ["0a", "0b", "1a", "1b", "2a", "2b"]);
    assert_eq!(running.calls(), 3);
    assert_eq!(names(client.accounts().first(3).await.unwrap()), all[..3]);
    assert_eq!(running.calls(), 5);
}

#[tokio::test]
async fn a_next_page_elsewhere_is_not_followed() {
    let running = start().await;
    let client = running.client(Patience::Once);
    let error = client.datasets(DatasetFilter::default()).all().await.unwrap_err();
    assert!(error.to_string().contains("none of this list"), "{error}");
    assert_eq!(running.calls(), 1);
}

#[tokio::test]
async fn a_refusal_bears_code_sentence_hint_and_request_id_and_is_not_repeated() {
    let running = start().await;
    running.will(&[Mood::Refuse(ErrorCode::Forbidden, None)]);
    let error = running.client(SOON).whoami().await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Forbidden));
    assert_eq!(error.to_string(), "the call is refused: Forbidden");
    assert_eq!(error.hint().as_deref(), Some("do otherwise"));
    assert!(error.request_id().is_some() && error.is_about_rights());
    assert_eq!(running.calls(), 1);
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    let running = start().await;
    running.will(&[
        Mood::Refuse(ErrorCode::StorageUnavailable, None),
        Mood::Cut,
        Mood::Html(502),
        Mood::Refuse(ErrorCode::TooManyRequests, Some(0)),
    ]);
    running.client(SOON).whoami().await.unwrap();
    assert_eq!(running.calls(), 5);
}

#[tokio::test]
async fn a_call_that_must_not_arrive_twice_is_not_sent_again_when_in_doubt() {
    let running = start().await;
    let client = running.client(SOON);
    running.will(&[Mood::Cut]);
    let invite = api::Invite { name: "bob".into(), operator: false };
    let error = client.invite(&invite).await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { sent: true, .. }), "{error:?}");
    assert_eq!(running.calls(), 1);
    // Where the hub says that it did nothing, it is.
    running.will(&[Mood::Refuse(ErrorCode::TooManyRequests, None)]);
    let error = client.invite(&invite).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::NotFound));
    assert_eq!(running.calls(), 3);
}

#[tokio::test]
async fn a_clock_that_is_off_is_corrected_once_and_stays_corrected() {
    let running = start().await;
    running.hub.script.lock().unwrap().ahead = 4000;
    let client = running.client(Patience::Once);
    client.whoami().await.unwrap();
    client.whoami().await.unwrap();
    assert_eq!(running.hub.script.lock().unwrap().nonces.len(), 3);
    let ahead = client.now().as_second() - jiff::Timestamp::now().as_second();
    assert!((3998..=4002).contains(&ahead), "{ahead}");
    // A hub whose word on its clock is no use does not make us ask for ever.
    running.will(&[
        Mood::Refuse(ErrorCode::ClockSkew, None),
        Mood::Refuse(ErrorCode::ClockSkew, None),
    ]);
    assert_eq!(client.whoami().await.unwrap_err().code(), Some(ErrorCode::ClockSkew));
}

#[tokio::test]
async fn an_object_goes_and_comes_whole_or_in_part() {
    let running = start().await;
    let client = running.client(SOON);
    let dataset = DatasetId::generate();
    let sealed = Bytes::from(vec![7; 300_000]);
    let object = ObjectBytes {
        object: ObjectRef([9; 16]),
        hash: sha256(&sealed),
        sealed,
        wrapped_key: vec![1; 60],
        epoch: 3,
    };
    running.will(&[Mood::Cut]);
    let acknowledged = client.put_object(dataset, &object).await.unwrap();
    assert_eq!((acknowledged.hash, acknowledged.sealed_bytes), (object.hash, 300_000));
    assert_eq!(client.object(dataset, object.object).await.unwrap().len(), 256);
    let part = client.object_range(dataset, object.object, 3..6).await.unwrap();
    assert_eq!(part.as_ref(), [3, 4, 5]);
    let lying = ObjectBytes { hash: Digest([0; 32]), ..object };
    assert!(running.client(Patience::Once).put_object(dataset, &lying).await.is_err());
}

#[tokio::test]
async fn a_server_with_another_authority_is_not_the_hub() {
    let running = start().await;
    let (other, _, _) = certificates();
    let client = Client::new(Options {
        hub: format!("https://{}", running.address),
        trust: Trust::from_pem(other.as_bytes()).unwrap(),
        signer: Arc::new(running.key.clone()),
        patience: SOON,
    })
    .unwrap();
    let error = client.whoami().await.unwrap_err();
    assert!(matches!(error, ClientError::NotTheHub { .. }), "{error:?}");
    assert_eq!(running.calls(), 0);
}

#[tokio::test]
async fn the_authority_that_a_hub_shows_is_the_one_to_pin() {
    let running = start().await;
    let shown = crate::shown_authority(&format!("https://{}", running.address)).await.unwrap();
    let strip = |pem: &str| pem.replace(['\n', '\r'], "");
    assert_eq!(strip(&shown.to_pem()), strip(&running.authority));
    assert_eq!(shown.fingerprint().len(), 64);
    let trust = Trust::from_pem(shown.to_pem().as_bytes()).unwrap();
    let options = Options {
        hub: format!("https://localhost:{}", running.address.port()),
        trust,
        signer: Arc::new(running.key.clone()),
        patience: Patience::Once,
    };
    *running.hub.address.lock().unwrap() = "https://localhost".to_owned();
    Client::new(options).unwrap().whoami().await.unwrap();
}

#[tokio::test]
async fn an_address_that_no_hub_can_have_is_refused() {
    let (authority, _, _) = certificates();
    for bad in [
        "http://hub.example",
        "hub.example:8443",
        "https://hub.example/path",
        "https://u:p@hub.example",
        "",
    ] {
        let options = Options {
            hub: bad.to_owned(),
            trust: Trust::from_pem(authority.as_bytes()).unwrap(),
            signer: Arc::new(SigningKey::from_seed(&[1; 32])),
            patience: Patience::Once,
        };
        assert!(matches!(Client::new(options), Err(ClientError::Address { .. })), "{bad}");
    }
    assert!(Trust::from_pem(b"no certificate").is_err());
}

#[tokio::test]
async fn a_hub_that_is_away_is_unreachable_and_nothing_was_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (authority, _, _) = certificates();
    let client = Client::new(Options {
        hub: format!("https://{address}"),
        trust: Trust::from_pem(authority.as_bytes()).unwrap(),
        signer: Arc::new(SigningKey::from_seed(&[1; 32])),
        patience: Patience::Once,
    })
    .unwrap();
    let error = client.whoami().await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { sent: false, .. }), "{error:?}");
    assert!(error.hint().is_some());
}
