//! Hostile callers and good ones, as bytes on real connections: what the bench runs for minutes and a test for a moment.
//!
//! Each caller has a loopback address of its own, so the hub tells them apart as it tells machines apart.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use proof::{Call, SigningKey, content_digest};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The hub that is called.
#[derive(Clone)]
pub(crate) struct Target {
    address: SocketAddr,
    http1: TlsConnector,
    http2: TlsConnector,
    /// Set when everybody is to go home.
    pub(crate) over: Arc<AtomicBool>,
}

/// What came of a caller's calls.
#[derive(Default)]
pub(crate) struct Tally {
    /// Answered with success.
    pub(crate) good: AtomicU64,
    /// Refused, in any way.
    pub(crate) refused: AtomicU64,
}

fn connector(roots: rustls::RootCertStore, protocol: &[u8]) -> TlsConnector {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3 is possible because the provider has its suites")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    TlsConnector::from(Arc::new(config))
}

impl Target {
    /// The hub on this port of loopback, known by its authority's certificate.
    pub(crate) fn new(port: u16, ca: &Path) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        let certificate = CertificateDer::from_pem_file(ca).expect("the hub wrote its certificate");
        roots.add(certificate).expect("the hub's certificate is one");
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            http1: connector(roots.clone(), b"http/1.1"),
            http2: connector(roots, b"h2"),
            over: Arc::default(),
        }
    }

    fn authority(&self) -> String {
        format!("localhost:{}", self.address.port())
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    async fn tcp(&self, from: [u8; 4]) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::from((from, 0)))?;
        let stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn tls(
        &self,
        from: [u8; 4],
        connector: &TlsConnector,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from("localhost").expect("it is a host name");
        connector.connect(name, self.tcp(from).await?).await
    }

    /// A connection for HTTP/1.1.
    pub(crate) async fn connect(&self, from: [u8; 4]) -> io::Result<TlsStream<TcpStream>> {
        self.tls(from, &self.http1).await
    }

    /// A signed call as bytes.
    pub(crate) fn signed(
        &self,
        key: &SigningKey,
        method: &str,
        path: &str,
        body: &[u8],
        more: &str,
    ) -> Vec<u8> {
        let (authority, digest) = (self.authority(), content_digest(body));
        let call = Call {
            method,
            target_uri: &format!("https://{authority}{path}"),
            content_digest: &digest,
            headers: &[],
        };
        let nonce = uuid::Uuid::new_v4().simple().to_string();
        let signature = call.sign(key, api::Time::now().as_second(), &nonce);
        let mut wire = format!(
            "{method} {path} HTTP/1.1\r\nhost: {authority}\r\ncontent-digest: {digest}\r\nsignature-input: {}\r\n\
             signature: {}\r\n{more}content-length: {}\r\n\r\n",
            signature.signature_input,
            signature.signature,
            body.len()
        )
        .into_bytes();
        wire.extend_from_slice(body);
        wire
    }

    /// An unsigned call without a body.
    pub(crate) fn unsigned(&self, path: &str) -> Vec<u8> {
        format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", self.authority()).into_bytes()
    }
}

/// Sends a call and reads its whole answer; gives the status.
pub(crate) async fn ask(stream: &mut TlsStream<TcpStream>, wire: &[u8]) -> io::Result<u16> {
    stream.write_all(wire).await?;
    let mut read = Vec::with_capacity(8192);
    let head = loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let text = String::from_utf8_lossy(&read[..head]).to_ascii_lowercase();
    let length = text
        .split_once("content-length: ")
        .and_then(|(_, rest)| rest.split("\r\n").next()?.parse::<usize>().ok())
        .unwrap_or(0);
    while read.len() < head + length {
        if stream.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    text.get(9..12)
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// A good caller: small signed calls one after the other, on a connection that stays.
pub(crate) async fn good(target: Target, key: SigningKey, from: [u8; 4], tally: Arc<Tally>) {
    while !target.is_over() {
        let Ok(mut stream) = target.connect(from).await else {
            tally.refused.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        while !target.is_over() {
            let wire = target.signed(&key, "GET", "/api/v1/whoami", b"", "");
            match ask(&mut stream, &wire).await {
                Ok(200) => tally.good.fetch_add(1, Ordering::Relaxed),
                Ok(_) | Err(_) => {
                    tally.refused.fetch_add(1, Ordering::Relaxed);
                    break;
                }
            };
        }
    }
}

/// The ways to be hostile.
pub(crate) const WAYS: [&str; 9] = [
    "bad signatures",
    "replays",
    "slow headers",
    "slow bodies",
    "oversized",
    "path tricks",
    "decompression bombs",
    "rapid resets",
    "handshakes",
];

/// One hostile caller; `key` is one that the hub knows, of which calls were overheard.
pub(crate) async fn hostile(
    target: Target,
    way: &'static str,
    from: [u8; 4],
    key: SigningKey,
    tally: Arc<Tally>,
) {
    while !target.is_over() {
        let ended = match way {
            "slow headers" | "slow bodies" => slow(&target, way, from).await,
            "rapid resets" => rapid_resets(&target, from).await,
            "handshakes" => target.connect(from).await.map(|_closed_at_once| ()),
            _ => calls(&target, way, from, &key, &tally).await,
        };
        if ended.is_err() {
            tally.refused.fetch_add(1, Ordering::Relaxed);
        }
        // A refused connection is made again at once, but not in a loop that only burns this side's own time.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn calls(
    target: &Target,
    way: &str,
    from: [u8; 4],
    key: &SigningKey,
    tally: &Tally,
) -> io::Result<()> {
    let mut seed = [0; 32];
    seed[..4].copy_from_slice(&from);
    let own = SigningKey::from_seed(&seed);
    let overheard = target.signed(key, "GET", "/api/v1/whoami", b"", "");
    let mut stream = target.connect(from).await?;
    for n in 0_usize.. {
        if target.is_over() {
            return Ok(());
        }
        let wire = match way {
            "bad signatures" => target.signed(&own, "GET", "/api/v1/whoami", b"", ""),
            "replays" => overheard.clone(),
            "oversized" => {
                let head = format!("PUT /api/v1/datasets/{n}/objects/0 HTTP/1.1\r\nhost: x\r\n");
                let long = "y".repeat(30_000);
                format!("{head}x-long: {long}\r\ncontent-length: 1000000000000\r\n\r\n{long}")
                    .into_bytes()
            }
            "path tricks" => {
                const PATHS: [&str; 6] = [
                    "//api/v1/whoami",
                    "/health/../api/v1/accounts",
                    "/api/v1/%2e%2e/%2e%2e/etc/passwd",
                    "/api/v1/projects/..%2f..%2fstore",
                    "/api/v1/accounts?x=%00",
                    "/..;/api/v1/store",
                ];
                target.unsigned(PATHS[n % PATHS.len()])
            }
            _ => {
                let bomb = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3].repeat(5000);
                target.signed(
                    &own,
                    "POST",
                    "/api/v1/enrol",
                    &bomb,
                    "content-encoding: gzip, gzip, gzip\r\n",
                )
            }
        };
        let status = ask(&mut stream, &wire).await?;
        let count = if status < 300 { &tally.good } else { &tally.refused };
        count.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Many connections, each of which says a byte now and then.
async fn slow(target: &Target, way: &str, from: [u8; 4]) -> io::Result<()> {
    let mut held = Vec::new();
    for n in 0..256_u32 {
        let Ok(mut stream) = target.connect(from).await else { continue };
        let begin = if way == "slow bodies" {
            format!(
                "POST /api/v1/enrol HTTP/1.1\r\nhost: {}\r\ncontent-length: 60000\r\n\r\n{{",
                target.authority()
            )
        } else {
            format!("GET /health HTTP/1.1\r\nhost: {}\r\nx-{n}: ", target.authority())
        };
        stream.write_all(begin.as_bytes()).await?;
        held.push(stream);
    }
    while !target.is_over() && !held.is_empty() {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let mut still = Vec::with_capacity(held.len());
        for mut stream in held {
            if stream.write_all(b"a").await.is_ok() {
                still.push(stream);
            }
        }
        held = still;
    }
    Ok(())
}

/// HTTP/2 streams that are opened and reset at once.
async fn rapid_resets(target: &Target, from: [u8; 4]) -> io::Result<()> {
    let mut stream = target.tls(from, &target.http2).await?;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await?;
    let authority = target.authority();
    // Indexed fields of the static table (RFC 7541): GET, https, `/`; `:authority` as a literal.
    let mut block = vec![0x82, 0x87, 0x84, 0x41];
    block.push(u8::try_from(authority.len()).map_err(|_| io::ErrorKind::InvalidInput)?);
    block.extend_from_slice(authority.as_bytes());
    let length = u8::try_from(block.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    for id in (1..u32::MAX / 2).step_by(2) {
        if target.is_over() {
            return Ok(());
        }
        let id = id.to_be_bytes();
        // HEADERS with END_STREAM and END_HEADERS, then RST_STREAM: CANCEL.
        let mut wire = vec![0, 0, length, 1, 5];
        wire.extend_from_slice(&id);
        wire.extend_from_slice(&block);
        wire.extend_from_slice(&[0, 0, 4, 3, 0]);
        wire.extend_from_slice(&id);
        wire.extend_from_slice(&[0, 0, 0, 8]);
        stream.write_all(&wire).await?;
    }
    Ok(())
}
