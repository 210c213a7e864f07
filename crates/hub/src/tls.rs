//! TLS from the first start: 1.3, AES-256 only, post-quantum key exchange preferred, under a certificate authority of the
//! hub's own.
//!
//! The authority is made at the first start and is what clients pin. Its key stays in the data directory, readable by its
//! owner alone: who has it can pretend to be this hub to its clients, and still opens nothing. The certificate that
//! connections see is made at each start and again in time while the hub runs, and its key never touches a disk.

mod own;

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use api::Time;
use data_encoding::HEXLOWER;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, ToSpan};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

pub use own::CertificateFiles;
pub(crate) use own::OwnCertificate;

use crate::StartError;

/// For how long the authority counts.
const AUTHORITY_YEARS: i64 = 10;
/// For how long a certificate counts.
const LEAF_DAYS: i64 = 90;
/// When a certificate is made anew while the hub runs.
pub(crate) const RENEW_AFTER: SignedDuration = SignedDuration::from_hours(60 * 24);

/// The one provider of cryptography: a single suite, and the hybrid key exchange first. Among those, the client's order
/// decides; every client of ours has the hybrid first too.
pub(crate) fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384],
        kx_groups: vec![
            aws_lc_rs::kx_group::X25519MLKEM768,
            aws_lc_rs::kx_group::X25519,
            aws_lc_rs::kx_group::SECP384R1,
        ],
        ..aws_lc_rs::default_provider()
    }
}

/// The hub's certificate authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    /// Where its certificate lies, for clients.
    pub(crate) file: PathBuf,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({})", self.file.display())
    }
}

impl Authority {
    /// Opens the authority in `directory`, or makes it for the hub of this id.
    pub(crate) fn open(directory: &Path, hub: &str, now: Time) -> Result<Self, StartError> {
        let (file, key_file) = (directory.join("ca.pem"), directory.join("ca.key"));
        let failed = |act, path: &Path| {
            let path = path.to_owned();
            move |source| StartError::File { act, path, source }
        };
        let key = match std::fs::read_to_string(&key_file) {
            Ok(text) => KeyPair::from_pem(&text).map_err(certificate)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = KeyPair::generate().map_err(certificate)?;
                write_new(&key_file, 0o600, key.serialize_pem().as_bytes())
                    .map_err(failed("write", &key_file))?;
                key
            }
            Err(error) => return Err(failed("read", &key_file)(error)),
        };
        let params = authority_params(hub, now)?;
        if !file.exists() {
            let made = params.self_signed(&key).map_err(certificate)?;
            write_new(&file, 0o644, made.pem().as_bytes()).map_err(failed("write", &file))?;
        }
        let certificate = CertificateDer::from_pem_file(&file)
            .map_err(|e| StartError::Certificate { why: format!("{}: {e}", file.display()) })?;
        Ok(Self { issuer: Issuer::new(params, key), certificate, file })
    }

    /// The SHA-256 of its certificate, as tools print it: pairs of hex digits with colons.
    pub(crate) fn fingerprint(&self) -> String {
        let hex = HEXLOWER.encode(&proof::sha256(&self.certificate).0).to_uppercase();
        let pairs: Vec<&str> =
            hex.as_bytes().chunks(2).filter_map(|p| str::from_utf8(p).ok()).collect();
        pairs.join(":")
    }

    /// Until when its certificate counts.
    pub(crate) fn ends(&self) -> Option<Time> {
        not_after(&self.certificate)
    }

    /// A new certificate for these hosts, with a new key.
    fn issue(&self, hosts: &[String], now: Time) -> Result<CertifiedKey, StartError> {
        let mut params = CertificateParams::new(hosts.to_vec()).map_err(certificate)?;
        params.distinguished_name.push(DnType::CommonName, "Chorion hub");
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        set_validity(&mut params, now, LEAF_DAYS)?;
        let key = KeyPair::generate().map_err(certificate)?;
        let leaf = params.signed_by(&key, &self.issuer).map_err(certificate)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        CertifiedKey::from_der(vec![leaf.der().clone(), self.certificate.clone()], key, &provider())
            .map_err(|e| StartError::Certificate { why: e.to_string() })
    }
}

/// What the authority's certificate says; the same each time but for its dates, so that what it signs names it.
fn authority_params(hub: &str, now: Time) -> Result<CertificateParams, StartError> {
    let mut params = CertificateParams::new(Vec::<String>::new()).map_err(certificate)?;
    params.distinguished_name.push(DnType::CommonName, format!("Chorion hub {hub}"));
    // It signs leaves and no further authority.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut params, now, AUTHORITY_YEARS * 365)?;
    Ok(params)
}

/// The certificate that connections see, replaced while the hub runs.
#[derive(Debug)]
pub(crate) struct Leaf {
    authority: Authority,
    hosts: Vec<String>,
    current: RwLock<Arc<CertifiedKey>>,
    /// The operator's own, for who calls by a name.
    own: Option<Arc<OwnCertificate>>,
}

impl Leaf {
    /// A first certificate for these hosts.
    pub(crate) fn new(
        authority: Authority,
        hosts: &[String],
        own: Option<Arc<OwnCertificate>>,
        now: Time,
    ) -> Result<Arc<Self>, StartError> {
        let current = RwLock::new(Arc::new(authority.issue(hosts, now)?));
        Ok(Arc::new(Self { authority, hosts: hosts.to_vec(), current, own }))
    }

    /// Makes a new one; connections from now on see it.
    pub(crate) fn renew(&self, now: Time) -> Result<(), StartError> {
        let new = Arc::new(self.authority.issue(&self.hosts, now)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }
}

impl ResolvesServerCert for Leaf {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let Some(own) = &self.own
            && hello.server_name().is_some_and(|name| name != "localhost")
        {
            return Some(own.certified());
        }
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// How the hub speaks TLS.
pub(crate) fn server_config(leaf: Arc<Leaf>) -> Result<ServerConfig, StartError> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| StartError::Certificate { why: e.to_string() })?
        .with_no_client_auth()
        .with_cert_resolver(leaf);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// A file that was not there, with its mode from the first byte, on the disk before this returns.
pub(crate) fn write_new(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Good from yesterday, because clocks differ, and for `days`.
fn set_validity(params: &mut CertificateParams, now: Time, days: i64) -> Result<(), StartError> {
    let date = |days: i64| {
        let day = now
            .to_zoned(TimeZone::UTC)
            .checked_add(days.days())
            .map_err(|e| StartError::Certificate { why: e.to_string() })?;
        let part = |number: i8| u8::try_from(number).unwrap_or(1);
        Ok::<_, StartError>((i32::from(day.year()), part(day.month()), part(day.day())))
    };
    let ((year, month, day), (last_year, last_month, last_day)) = (date(-1)?, date(days)?);
    params.not_before = rcgen::date_time_ymd(year, month, day);
    params.not_after = rcgen::date_time_ymd(last_year, last_month, last_day);
    Ok(())
}

/// When the first certificate of a PEM file ends.
///
/// # Errors
/// If the file cannot be read, or holds no certificate.
pub fn certificate_ends(file: &Path) -> Result<Time, StartError> {
    let refused = |why: String| StartError::Certificate { why };
    let first = CertificateDer::from_pem_file(file)
        .map_err(|e| refused(format!("{}: {e}", file.display())))?;
    not_after(&first).ok_or_else(|| refused(format!("{} does not say its end", file.display())))
}

/// When a certificate ends (RFC 5280, section 4.1): the second moment of the fifth part of what is signed, after its version.
fn not_after(der: &[u8]) -> Option<Time> {
    let (certificate, _) = element(der)?;
    let (mut signed, _) = element(certificate)?;
    // Version, serial number, algorithm, issuer.
    for _ in 0..4 {
        signed = element(signed)?.1;
    }
    let (validity, _) = element(signed)?;
    let (_, rest) = element(validity)?;
    let text = str::from_utf8(element(rest)?.0).ok()?;
    let year = match text.len() {
        13 if text < "5" => format!("20{text}"),
        13 => format!("19{text}"),
        _ => text.to_owned(),
    };
    let civil = jiff::civil::DateTime::strptime("%Y%m%d%H%M%SZ", &year).ok()?;
    Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// The content of the first DER element, and what follows it.
fn element(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let [_tag, first, rest @ ..] = der else { return None };
    let (bytes, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81 => (usize::from(*rest.first()?), &rest[1..]),
        0x82 => (usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?])), &rest[2..]),
        _ => return None,
    };
    rest.split_at_checked(bytes)
}

fn certificate(error: rcgen::Error) -> StartError {
    StartError::Certificate { why: error.to_string() }
}
