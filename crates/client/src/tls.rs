//! TLS as every program of ours speaks it: version 1.3, AES-256, post-quantum key exchange preferred, and one pinned
//! certificate authority instead of the hundred that an operating system trusts.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use data_encoding::HEXLOWER;
use proof::sha256;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::ClientError;

/// AWS-LC with the one suite we speak. Key exchange prefers X25519 with ML-KEM-768 (`prefer-post-quantum`).
pub fn crypto_provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384],
        ..aws_lc_rs::default_provider()
    }
}

/// Why certificates cannot be trusted as they were given.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The text holds no certificate.
    #[error("there is no certificate in PEM form")]
    Empty,
    /// One of them is damaged.
    #[error("a certificate cannot be read")]
    Damaged(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The certificate authority by which a hub is known.
#[derive(Debug, Clone)]
pub struct Trust(Arc<RootCertStore>);

impl Trust {
    /// Trusts the certificates in a PEM text and no others.
    pub fn from_pem(pem: &[u8]) -> Result<Self, TrustError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|e| TrustError::Damaged(Box::new(e)))?;
            roots.add(certificate).map_err(|e| TrustError::Damaged(Box::new(e)))?;
        }
        if roots.is_empty() { Err(TrustError::Empty) } else { Ok(Self(Arc::new(roots))) }
    }

    pub(crate) fn config(&self) -> ClientConfig {
        builder().with_root_certificates(Arc::clone(&self.0)).with_no_client_auth()
    }
}

fn builder() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    ClientConfig::builder_with_provider(Arc::new(crypto_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3 is possible because the provider has one of its suites")
}

/// The certificate authority that a server shows of itself: nothing is proved before a person has compared it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    certificate: Vec<u8>,
}

impl Authority {
    /// The SHA-256 of its DER form, as 64 hex digits.
    pub fn fingerprint(&self) -> String {
        HEXLOWER.encode(&sha256(&self.certificate).0)
    }

    /// The certificate as PEM.
    pub fn to_pem(&self) -> String {
        let text = data_encoding::BASE64.encode(&self.certificate);
        let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
        for start in (0..text.len()).step_by(64) {
            pem.push_str(&text[start..text.len().min(start + 64)]);
            pem.push('\n');
        }
        pem.push_str("-----END CERTIFICATE-----\n");
        pem
    }
}

/// Asks the server at `address` for the last certificate of its chain: its certificate authority.
///
/// The connection is closed at once and nothing is sent over it. Whoever pins what comes back must first compare its
/// fingerprint with what the operator says; every later connection is verified against it.
pub async fn shown_authority(address: &str) -> Result<Authority, ClientError> {
    let url = crate::connection::hub_url(address)?;
    let refuse =
        |why: &str| ClientError::Address { address: address.to_owned(), why: why.to_owned() };
    let host = url.host_str().ok_or_else(|| refuse("it names no host"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = url.port_or_known_default().ok_or_else(|| refuse("it names no port"))?;
    let name = ServerName::try_from(host.to_owned()).map_err(|_| refuse("its host is no name"))?;
    let unreachable = |source: std::io::Error| ClientError::Unreachable {
        hub: address.to_owned(),
        sent: false,
        source: Box::new(source),
    };
    let seen = Arc::new(Witness { chain: Mutex::default(), provider: crypto_provider() });
    let config = builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::<Witness>::clone(&seen))
        .with_no_client_auth();
    let handshake = async {
        let tcp = TcpStream::connect((host, port)).await?;
        TlsConnector::from(Arc::new(config)).connect(name, tcp).await
    };
    tokio::time::timeout(Duration::from_secs(20), handshake)
        .await
        .map_err(|_elapsed| unreachable(std::io::ErrorKind::TimedOut.into()))?
        .map_err(unreachable)?;
    let chain = seen.chain.lock().map(|mut chain| std::mem::take(&mut *chain)).unwrap_or_default();
    match chain.into_iter().next_back() {
        Some(certificate) => Ok(Authority { certificate }),
        None => Err(refuse("the server shows no certificate")),
    }
}

/// Writes down the chain that it is shown, and checks only that the server holds the key of the first certificate.
#[derive(Debug)]
struct Witness {
    chain: Mutex<Vec<Vec<u8>>>,
    provider: CryptoProvider,
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let all = std::iter::once(end_entity).chain(intermediates).map(|c| c.to_vec()).collect();
        if let Ok(mut chain) = self.chain.lock() {
            *chain = all;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
