//! Calls to a key management service: over TLS, or on this machine in the clear for tests; no redirect is followed, no answer is
//! read beyond a bound, and a call ends in time.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{RequestBuilder, StatusCode, Url};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use zeroize::Zeroizing;

use super::KmsError;

/// How long a call may take, from its first byte to its last.
const CALL: Duration = Duration::from_secs(if cfg!(test) { 4 } else { 10 });
/// How long the connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// The largest answer: a wrapped key is a kilobyte at most.
const ANSWER_BYTES: usize = 64 * 1024;
/// The longest wait that a service is believed to ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// Where Debian and its kin keep the authorities that the system trusts.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What came back.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// It may hold a key or a token.
    pub(super) body: Zeroizing<Vec<u8>>,
}

impl Answer {
    /// After how long to try again, in whole seconds, where it says so.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let seconds = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds).min(LONGEST_WAIT))
    }
}

/// Why an answer is not what it should be; it never quotes the answer.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Odd(pub(super) String);

/// The service is away, and this is what the log says of it.
pub(super) fn odd(why: impl Into<String>) -> KmsError {
    KmsError::Away(Box::new(Odd(why.into())))
}

/// Reads an address that may be asked.
pub(super) fn endpoint(text: &str) -> Result<Url, KmsError> {
    let wrong = || {
        KmsError::Configuration(format!(
            "`{text}` is no https:// address (plain http:// is for this machine alone)"
        ))
    };
    let url = Url::parse(text).map_err(|_| wrong())?;
    let here = match url.host_str() {
        Some("localhost" | "[::1]") => true,
        Some(host) => host.parse::<std::net::Ipv4Addr>().is_ok_and(|host| host.is_loopback()),
        None => return Err(wrong()),
    };
    let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    match url.scheme() {
        "https" if plain => Ok(url),
        "http" if plain && here => Ok(url),
        _ => Err(wrong()),
    }
}

/// A client that trusts the authorities of `ca_file`, or the system's.
pub(super) fn client(ca_file: Option<&Path>) -> Result<reqwest::Client, KmsError> {
    client_with(ca_file, &[])
}

/// As [`client`], with these hosts at these addresses, whatever the system's resolver says.
pub(super) fn client_with(
    ca_file: Option<&Path>,
    hosts: &[(&str, SocketAddr)],
) -> Result<reqwest::Client, KmsError> {
    let wrong = |why: String| KmsError::Configuration(why);
    let file = ca_file.unwrap_or_else(|| Path::new(SYSTEM_ROOTS));
    let certificates = CertificateDer::pem_file_iter(file)
        .map_err(|e| wrong(format!("{} does not read: {e}", file.display())))?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates.filter_map(Result::ok));
    if roots.is_empty() {
        return Err(wrong(format!("{} holds no certificate authority", file.display())));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| wrong(e.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let builder = hosts.iter().fold(reqwest::Client::builder(), |builder, (host, address)| {
        builder.resolve(host, *address)
    });
    builder
        .tls_backend_preconfigured(tls)
        .http1_only()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(CONNECT)
        .timeout(CALL)
        .user_agent(concat!("chorion/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|e| wrong(e.to_string()))
}

/// Makes a call, once.
pub(super) async fn call(request: RequestBuilder) -> Result<Answer, KmsError> {
    let away = |error: reqwest::Error| KmsError::Away(Box::new(error.without_url()));
    let mut response = request.send().await.map_err(away)?;
    let (status, headers) = (response.status(), response.headers().clone());
    // Room for all of it at once: what grows leaves copies behind that nobody wipes.
    let mut body = Zeroizing::new(Vec::with_capacity(ANSWER_BYTES));
    while let Some(part) = response.chunk().await.map_err(away)? {
        if body.len() + part.len() > ANSWER_BYTES {
            return Err(odd("its answer is too long"));
        }
        body.extend_from_slice(&part);
    }
    if status.is_redirection() {
        return Err(odd(format!("it answered {status}, and nobody is followed elsewhere")));
    }
    Ok(Answer { status, headers, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tls_is_asked_or_this_very_machine() {
        for good in [
            "https://kms.eu-central-1.amazonaws.com",
            "http://127.0.0.1:5000",
            "http://[::1]:1",
            "http://localhost:1",
        ] {
            assert!(endpoint(good).is_ok(), "{good}");
        }
        for bad in [
            "http://kms.eu-central-1.amazonaws.com",
            "http://127.0.0.1.evil.example",
            "http://localhost@evil.example",
            "https://name@kms.example",
            "https://kms.example/?x=1",
            "ftp://127.0.0.1",
            "kms.example",
            "",
        ] {
            assert!(matches!(endpoint(bad), Err(KmsError::Configuration(_))), "{bad}");
        }
    }
}
