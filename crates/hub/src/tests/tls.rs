//! The real server on loopback, judged by programs that are not ours.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::{HubConfig, Ready, StartError, serve};

pub(super) struct Serving {
    pub(super) ready: Ready,
    ended: tokio::task::JoinHandle<Result<(), StartError>>,
    _directory: tempfile::TempDir,
}

/// A connection as a client of rustls has it.
type Tls = tokio_rustls::client::TlsStream<TcpStream>;

impl Serving {
    pub(super) async fn start() -> Self {
        Self::with(crate::Limits::default()).await
    }

    pub(super) async fn with(limits: crate::Limits) -> Self {
        Self::start_with(0, limits, None).await
    }

    pub(super) async fn start_with(
        port: u16,
        limits: crate::Limits,
        institution: Option<crate::InstitutionConfig>,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = HubConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], port)),
            institution,
            names: vec!["hub.example".into()],
            limits,
            ..HubConfig::new(directory.path().join("data"))
        };
        let (ready, started) = oneshot::channel();
        let ended = tokio::spawn(serve(config, ready));
        Self { ready: started.await.unwrap(), ended, _directory: directory }
    }

    async fn connect(&self) -> Tls {
        self.connect_from(1).await
    }

    /// From `127.0.0.LAST`; the first of them stands for many callers, the others do not.
    async fn connect_from(&self, last: u8) -> Tls {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.ready.ca_file).unwrap()).unwrap();
        // The order is the client's, as everywhere in rustls: one that knows the hybrid and prefers it gets it.
        let client = rustls::ClientConfig::builder_with_provider(Arc::new(crate::tls::provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, last], 0))).unwrap();
        let stream = socket.connect(self.ready.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
        connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap()
    }

    pub(super) async fn stop(self) {
        self.ready.stop.stop();
        self.ended.await.unwrap().unwrap();
    }
}

/// What a program says, on both its outputs.
async fn said(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_1_3_with_aes_256_and_nothing_else() {
    let serving = Serving::start().await;
    let address = serving.ready.address.to_string();
    let ca = serving.ready.ca_file.to_str().unwrap();
    let s_client = |more: &'static [&'static str]| {
        let mut arguments = vec!["s_client", "-connect", address.as_str(), "-CAfile", ca];
        arguments.extend(["-verify_return_error", "-verify_hostname", "hub.example"]);
        arguments.extend(more);
        async move { said("openssl", &arguments).await }
    };
    let good = s_client(&[]).await;
    assert!(good.contains("TLS_AES_256_GCM_SHA384"), "{good}");
    assert!(good.contains("TLSv1.3") && good.contains("Verify return code: 0"), "{good}");
    for older in [&["-tls1_2"][..], &["-tls1_1"]] {
        let refused = s_client(older).await;
        assert!(refused.contains("SSL alert number") && !refused.contains("TLSv1.3,"), "{refused}");
    }
    for suite in [
        &["-ciphersuites", "TLS_AES_128_GCM_SHA256"][..],
        &["-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"],
    ] {
        let refused = s_client(suite).await;
        assert!(refused.contains("SSL alert number") && !refused.contains("TLSv1.3,"), "{refused}");
    }
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_with_the_printed_authority_is_answered_and_without_it_is_not() {
    let serving = Serving::start().await;
    let health = format!("{}/health", serving.ready.url);
    let ca = serving.ready.ca_file.to_str().unwrap();
    for version in ["--http1.1", "--http2"] {
        let answer = said("curl", &["-sS", version, "--cacert", ca, &health]).await;
        let health: api::Health = serde_json::from_str(&answer).unwrap();
        assert_eq!(health.hub, serving.ready.hub);
    }
    let refused = said("curl", &["-sS", &health]).await;
    assert!(refused.contains("certificate"), "{refused}");
    let shown = said("openssl", &["x509", "-in", ca, "-noout", "-fingerprint", "-sha256"]).await;
    assert!(shown.contains(&serving.ready.ca_fingerprint), "{shown}");
    let whoami = format!("{}/api/v1/whoami", serving.ready.url);
    let answer = said("curl", &["-sS", "--cacert", ca, &whoami]).await;
    let problem: api::Problem = serde_json::from_str(&answer).unwrap();
    assert_eq!(problem.code, api::ErrorCode::Unsigned);
    serving.stop().await;
}

#[tokio::test]
async fn a_client_that_prefers_the_post_quantum_key_exchange_gets_it() {
    let serving = Serving::start().await;
    let stream = serving.connect().await;
    let group = stream.get_ref().1.negotiated_key_exchange_group().unwrap();
    assert_eq!(group.name(), rustls::NamedGroup::X25519MLKEM768);
    drop(stream);
    serving.stop().await;
}

#[tokio::test]
async fn a_stop_ends_the_hub_though_a_connection_is_idle() {
    let serving = Serving::start().await;
    let idle = TcpStream::connect(serving.ready.address).await.unwrap();
    serving.stop().await;
    drop(idle);
}

/// Reads an answer to its end: the head, and as much as it says that follows.
async fn answer(stream: &mut Tls) -> String {
    let mut said = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&said);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let mut lengths = head.lines().filter_map(|line| line.strip_prefix("content-length: "));
            let length: usize = lengths.next().unwrap_or("0").parse().unwrap();
            if body.len() >= length {
                return head.to_owned();
            }
        }
        let read = stream.read_buf(&mut said).await.unwrap();
        assert!(read > 0, "it ended before its answer was whole");
    }
}

#[tokio::test]
async fn a_call_that_is_refused_before_its_body_came_leaves_a_connection_that_can_be_used() {
    let serving = Serving::start().await;
    let authority = serving.ready.url.trim_start_matches("https://").to_owned();
    let head = |length: usize| {
        format!(
            "POST /api/v1/projects HTTP/1.1\r\nhost: {authority}\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    let mut stream = serving.connect().await;
    for _ in 0..20 {
        // The head goes first and the body a moment later, as many clients send it; unsigned, so that nobody reads it.
        stream.write_all(head(8).as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        tokio::task::yield_now().await;
        stream.write_all(b"{\"a\": 1}").await.unwrap();
        stream.flush().await.unwrap();
        let head = answer(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 401") && !head.contains("connection: close"), "{head}");
    }
    // A body that is too large to be read for nothing: the answer arrives, it says that the connection ends, and it ends in order.
    stream.write_all(head(10 << 20).as_bytes()).await.unwrap();
    let body = vec![b' '; 10 << 20];
    let (mut reads, mut writes) = tokio::io::split(stream);
    let sending = tokio::spawn(async move {
        // The hub may have heard enough before all of it was sent.
        let _cut = writes.write_all(&body).await;
        writes
    });
    let mut said = Vec::new();
    reads.read_to_end(&mut said).await.expect("it ends with `close_notify`");
    let said = String::from_utf8_lossy(&said);
    assert!(said.starts_with("HTTP/1.1 401") && said.contains("connection: close"), "{said}");
    drop((reads, sending.await.unwrap()));
    serving.stop().await;
}

#[tokio::test]
async fn a_connection_that_is_cut_off_is_told_that_it_ends() {
    let serving = Serving::with(crate::Limits { connections: 2, ..Default::default() }).await;
    let mut first = serving.connect_from(2).await;
    let others = [serving.connect_from(3).await, serving.connect_from(4).await];
    // It made room for a later one, since nobody had shown a key on it.
    let mut said = Vec::new();
    let read = first.read_to_end(&mut said).await;
    assert_eq!(read.expect("it ends with `close_notify`"), 0);
    drop(others);
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_own_certificate_is_shown_to_who_calls_by_name_and_figures_to_this_machine() {
    use std::os::unix::fs::PermissionsExt;
    let root = tempfile::tempdir().unwrap();
    let (certificate, key) = (root.path().join("hub.pem"), root.path().join("hub.key"));
    let made = rcgen::generate_simple_self_signed(vec!["hub.example".to_owned()]).unwrap();
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = HubConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        names: vec!["hub.example".into()],
        certificate: Some(crate::CertificateFiles { certificate: certificate.clone(), key }),
        metrics: Some(free),
        ..HubConfig::new(root.path().join("data"))
    };
    let (ready, started) = oneshot::channel();
    let ended = tokio::spawn(serve(config, ready));
    let ready = started.await.unwrap();
    let port = ready.address.port();
    let (own, built_in) = (certificate.to_str().unwrap(), ready.ca_file.to_str().unwrap());
    let resolve = format!("hub.example:{port}:127.0.0.1");
    for (name, right, wrong) in [("hub.example", own, built_in), ("localhost", built_in, own)] {
        let health = format!("https://{name}:{port}/health");
        let with = ["-sS", "--resolve", &resolve, &health, "--cacert"];
        let answer = said("curl", &[&with[..], &[right]].concat()).await;
        assert!(answer.contains(&ready.hub), "{name}: {answer}");
        let refused = said("curl", &[&with[..], &[wrong]].concat()).await;
        assert!(refused.contains("certificate"), "{name}: {refused}");
    }
    let figures = said("curl", &["-sS", &format!("http://{free}/metrics")]).await;
    assert!(figures.contains("chorion_certificate_ends_seconds "), "{figures}");
    let nothing = said("curl", &["-sS", &format!("http://{free}/health")]).await;
    assert!(!nothing.contains(&ready.hub), "{nothing}");
    ready.stop.stop();
    ended.await.unwrap().unwrap();
}
