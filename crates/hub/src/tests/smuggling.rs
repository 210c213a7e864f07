//! What is written on the wire so that two readers would see two calls: over real TLS, byte by byte.

use std::net::SocketAddr;
use std::sync::Arc;

use proof::{Call, SigningKey, content_digest};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::testing::signing_key;
use crate::{HubConfig, Limits, Ready, StartError, serve};

pub(super) struct Serving {
    pub(super) ready: Ready,
    ended: tokio::task::JoinHandle<Result<(), StartError>>,
    connector: TlsConnector,
    key: SigningKey,
    _directory: tempfile::TempDir,
}

impl Serving {
    pub(super) async fn start(limits: Limits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = HubConfig {
            // Every address of this machine, so that callers can have addresses of their own.
            listen: SocketAddr::from(([0, 0, 0, 0], 0)),
            limits,
            ..HubConfig::new(directory.path().join("data"))
        };
        let (ready, started) = oneshot::channel();
        let ended = tokio::spawn(serve(config, ready));
        let ready = started.await.unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&ready.ca_file).unwrap()).unwrap();
        let client = rustls::ClientConfig::builder_with_provider(Arc::new(crate::tls::provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(client));
        let this = Self { ready, ended, connector, key: signing_key(), _directory: directory };
        let enrol = json!({
            "code": this.ready.code.as_ref().unwrap().0, "account_name": "Ada", "key_name": "a test",
            "public_key": api::Bytes(this.key.public().to_bytes().to_vec()),
        });
        let enrol = this.signed("POST", "/api/v1/enrol", &serde_json::to_vec(&enrol).unwrap());
        let said = this.say(&enrol).await;
        assert!(said.starts_with("HTTP/1.1 200"), "{said}");
        this
    }

    fn authority(&self) -> String {
        format!("localhost:{}", self.ready.address.port())
    }

    /// The signed call as it stands on the wire.
    fn signed(&self, method: &str, path: &str, body: &[u8]) -> Vec<u8> {
        let head = self.head(method, path, body);
        let mut wire = format!("{head}content-length: {}\r\n\r\n", body.len()).into_bytes();
        wire.extend_from_slice(body);
        wire
    }

    /// The lines of a signed call without a length.
    fn head(&self, method: &str, path: &str, body: &[u8]) -> String {
        let (authority, digest) = (self.authority(), content_digest(body));
        let call = Call {
            method,
            target_uri: &format!("https://{authority}{path}"),
            content_digest: &digest,
            headers: &[],
        };
        let nonce = uuid::Uuid::new_v4().simple().to_string();
        let signature = call.sign(&self.key, api::Time::now().as_second(), &nonce);
        format!(
            "{method} {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\ncontent-digest: {digest}\r\n\
             signature-input: {}\r\nsignature: {}\r\n",
            signature.signature_input, signature.signature
        )
    }

    pub(super) async fn connect_from(
        &self,
        from: [u8; 4],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((from, 0)))?;
        let to = SocketAddr::from(([127, 0, 0, 1], self.ready.address.port()));
        let stream = socket.connect(to).await?;
        let name = ServerName::try_from("localhost").unwrap();
        self.connector.connect(name, stream).await
    }

    /// Sends these bytes and gives everything that comes back until the hub ends the connection.
    async fn say(&self, wire: &[u8]) -> String {
        self.say_from([127, 0, 0, 1], wire).await
    }

    async fn say_from(&self, from: [u8; 4], wire: &[u8]) -> String {
        let mut stream = self.connect_from(from).await.unwrap();
        // The hub may end the connection before it has taken everything.
        let _refused_before_the_end = stream.write_all(wire).await;
        let mut said = Vec::new();
        let _ended_without_a_word = stream.read_to_end(&mut said).await;
        String::from_utf8_lossy(&said).into_owned()
    }

    pub(super) async fn stop(self) {
        self.ready.stop.stop();
        self.ended.await.unwrap().unwrap();
    }
}

fn statuses(said: &str) -> Vec<u16> {
    said.split("HTTP/1.1 ").skip(1).filter_map(|rest| rest.get(..3)?.parse().ok()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_call_is_never_read_as_two() {
    let hub = Serving::start(Limits::default()).await;
    let head = hub.head("GET", "/api/v1/whoami", b"");
    let inner = "GET /health HTTP/1.1\r\nhost: x\r\n\r\n";
    // Two lengths that differ, or that are none: refused, and nothing after them is read.
    for lengths in [
        format!("content-length: 0\r\ncontent-length: {}\r\n", inner.len()),
        "content-length: -1\r\n".to_owned(),
        "content-length: +0\r\n".to_owned(),
        "content-length: 0, 7\r\n".to_owned(),
        "transfer-encoding: chunked, identity\r\n".to_owned(),
        "transfer-encoding: xchunked\r\n".to_owned(),
        "transfer-encoding : chunked\r\n".to_owned(),
        " transfer-encoding: chunked\r\n".to_owned(),
    ] {
        let said = hub.say(format!("{head}{lengths}\r\n{inner}").as_bytes()).await;
        assert_eq!(statuses(&said), [400], "{lengths:?}: {said}");
    }
    // A length beside chunks: the chunks count, as RFC 9112 6.3 wants it, and the signature is over what they hold.
    let head = hub.head("GET", "/api/v1/whoami", b"");
    let wire = format!(
        "{head}content-length: {}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        inner.len()
    );
    let said = hub.say(wire.as_bytes()).await;
    assert_eq!(statuses(&said), [200], "{said}");
    // Chunks that are none.
    for chunk in ["zz\r\n", "-1\r\n", "ffffffffffffffffff\r\n", "2\r\nabc\r\n"] {
        let head = hub.head("GET", "/api/v1/whoami", b"");
        let said =
            hub.say(format!("{head}transfer-encoding: chunked\r\n\r\n{chunk}").as_bytes()).await;
        assert!(!said.contains("HTTP/1.1 200"), "{chunk:?}: {said}");
    }
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_has_one_spelling_and_a_method_one_place() {
    let hub = Serving::start(Limits::default()).await;
    // Signed as they stand: the signature is good, and there is no such call. Nothing is folded, decoded or merged.
    for path in [
        "//api/v1/whoami",
        "/api/v1//whoami",
        "/api/v1/./whoami",
        "/api/v1/x/../whoami",
        "/api/v1/%2e%2e/v1/whoami",
        "/api/v1/%77hoami",
        "/api/v1/whoami/",
        "/api/v1/whoami;x",
        "/api/v1%2fwhoami",
        "/API/v1/whoami",
        "/health/../api/v1/whoami",
        "/health/..%2fapi/v1/whoami",
        "/api/v1/projects/..%2fwhoami",
        "/api/v1/projects/%2e%2e%2fwhoami",
        "/api/v1/projects/%00",
    ] {
        let said = hub.say(&hub.signed("GET", path, b"")).await;
        assert!(matches!(statuses(&said)[..], [400 | 401 | 404]), "{path}: {said}");
        // And unsigned, none of them is open.
        let said = hub
            .say(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())
            .await;
        assert!(matches!(statuses(&said)[..], [400 | 401 | 404]), "{path}: {said}");
    }
    // What some servers take for another method is only a header.
    for header in ["x-http-method-override", "x-http-method", "x-method-override"] {
        let head = hub.head("GET", "/api/v1/keys", b"");
        let said = hub
            .say(format!("{head}{header}: DELETE\r\nconnection: close\r\n\r\n").as_bytes())
            .await;
        assert_eq!(statuses(&said), [200], "{header}: {said}");
        assert!(said.contains("\"items\""), "{said}");
    }
    // Headers that proxies believe change nothing.
    let head = hub.head("GET", "/api/v1/whoami", b"");
    let said = hub
        .say(format!("{head}x-forwarded-host: evil.example\r\nx-original-url: /health\r\nx-rewrite-url: /\r\nconnection: close\r\n\r\n").as_bytes())
        .await;
    assert_eq!(statuses(&said), [200], "{said}");
    assert!(said.contains("\"account\""));
    // A signed header twice is refused, and so is a host twice.
    for header in [
        "host: evil.example",
        "content-digest: sha-256=:AAAA:",
        "signature: sig1=:AAAA:",
        "signature-input: sig1=()",
    ] {
        let head = hub.head("GET", "/api/v1/whoami", b"");
        let said = hub.say(format!("{head}{header}\r\nconnection: close\r\n\r\n").as_bytes()).await;
        assert!(matches!(statuses(&said)[..], [400 | 401]), "{header}: {said}");
    }
    // A line that ends inside a header, an older version, no version.
    for wire in [
        "GET /health HTTP/1.1\r\nhost: x\r\nx: a\rb\r\n\r\n",
        "GET /health HTTP/3.0\r\nhost: x\r\n\r\n",
        "GET /health\r\n\r\n",
        "\0\0\0\0",
    ] {
        let said = hub.say(wire.as_bytes()).await;
        assert!(!said.contains("HTTP/1.1 200"), "{wire:?}: {said}");
    }
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_are_bounded_in_number_and_bytes() {
    let hub = Serving::start(Limits::default()).await;
    let many: String = (0..100).map(|n| format!("x-{n}: y\r\n")).collect();
    let long = format!("x: {}\r\n", "y".repeat(64 * 1024));
    for headers in [many, long] {
        let said =
            hub.say(format!("GET /health HTTP/1.1\r\nhost: x\r\n{headers}\r\n").as_bytes()).await;
        assert!(matches!(statuses(&said)[..], [431] | []), "{said}");
    }
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_only_holds_connections_open_makes_room_for_who_calls() {
    let limits = Limits { connections: 8, connections_per_address: 6, ..Limits::default() };
    let hub = Serving::start(limits).await;
    // Slow callers from two addresses take every place.
    let mut slow = Vec::new();
    for n in 0..12 {
        if let Ok(mut stream) = hub.connect_from([127, 0, 0, 2 + n / 6]).await {
            stream.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\nx-slow: ").await.ok();
            slow.push(stream);
        }
    }
    // From a third one every call is answered.
    for _ in 0..10 {
        let said = hub.say_from([127, 0, 0, 9], &hub.signed("GET", "/api/v1/whoami", b"")).await;
        assert_eq!(statuses(&said), [200], "{said}");
    }
    drop(slow);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_takes_only_its_share_of_connections() {
    let limits = Limits { connections: 100, connections_per_address: 3, ..Limits::default() };
    let hub = Serving::start(limits).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(hub.connect_from([127, 0, 0, 2]).await.unwrap());
    }
    // The fourth is closed before TLS begins.
    assert!(hub.connect_from([127, 0, 0, 2]).await.is_err());
    drop(hub.connect_from([127, 0, 0, 3]).await.unwrap());
    drop(held);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_address_is_told_and_then_not_even_greeted() {
    let hub = Serving::start(Limits::default()).await;
    let stranger = |n: usize| {
        let mut wire = String::new();
        for _ in 0..n {
            wire.push_str("GET /api/v1/whoami HTTP/1.1\r\nhost: x\r\nsignature: a\r\nsignature-input: b\r\n\r\n");
        }
        wire
    };
    // Some more than block: strikes wear off while they come.
    let refused = statuses(&hub.say_from([127, 0, 0, 2], stranger(120).as_bytes()).await);
    assert!(refused.iter().all(|status| [401, 429].contains(status)), "{refused:?}");
    assert!(refused.iter().filter(|status| **status == 429).count() <= 1, "the connection ends");
    let said = hub.say_from([127, 0, 0, 2], b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(statuses(&said), [429], "{said}");
    assert!(said.contains("retry-after: ") && said.contains("127.0.0.2"), "{said}");
    let mut greeted = 0;
    for _ in 0..20 {
        greeted += usize::from(hub.connect_from([127, 0, 0, 2]).await.is_ok());
    }
    assert!(greeted < 20, "{greeted}");
    // Everybody else is served.
    let said = hub.say_from([127, 0, 0, 3], &hub.signed("GET", "/api/v1/whoami", b"")).await;
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    hub.stop().await;
}
