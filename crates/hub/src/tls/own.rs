//! A certificate of the operator's own, for people who know an authority already.
//!
//! It is shown to whoever calls the hub by a name; who calls it as `localhost` or by an address sees the built-in
//! authority's, which vaults on this machine pin. The two files are looked at every minute: what a renewal put there is shown to
//! connections from then on, without a restart. A pair that cannot be used, half-written or not fitting, is
//! told of and changes nothing.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use api::{Digest, Time};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use super::{not_after, provider};
use crate::StartError;

/// Where a certificate of the operator's own lies.
#[derive(Debug, Clone)]
pub struct CertificateFiles {
    /// The chain, PEM, the hub's own certificate first.
    pub certificate: PathBuf,
    /// Its key, PEM; readable by the hub alone.
    pub key: PathBuf,
}

/// A certificate that is shown, and replaced when its files change.
#[derive(Debug)]
pub(crate) struct OwnCertificate {
    files: CertificateFiles,
    current: RwLock<Shown>,
}

#[derive(Debug, Clone)]
struct Shown {
    certified: Arc<CertifiedKey>,
    ends: Option<Time>,
    /// Of both files together.
    digest: Digest,
}

impl OwnCertificate {
    /// Reads both files.
    pub(crate) fn open(files: CertificateFiles, now: Time) -> Result<Arc<Self>, StartError> {
        let (certificate, key, digest) = read(&files)?;
        let current = RwLock::new(shown(&files.certificate, &certificate, &key, digest, now)?);
        Ok(Arc::new(Self { files, current }))
    }

    /// What connections see from now on.
    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).certified)
    }

    /// Until when it counts, where it says so.
    pub(crate) fn ends(&self) -> Option<Time> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).ends
    }

    /// Takes over what the files hold now; says whether that was anything new.
    pub(crate) fn look(&self, now: Time) -> Result<bool, StartError> {
        let (certificate, key, digest) = read(&self.files)?;
        if self.current.read().unwrap_or_else(PoisonError::into_inner).digest == digest {
            return Ok(false);
        }
        let new = shown(&self.files.certificate, &certificate, &key, digest, now)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(true)
    }
}

/// A certificate, its key, and the digest of both as they are now.
type Read = (Vec<u8>, Zeroizing<Vec<u8>>, Digest);

fn read(files: &CertificateFiles) -> Result<Read, StartError> {
    use std::os::unix::fs::PermissionsExt as _;
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| StartError::File { act: "read", path, source }
    };
    let mode = std::fs::metadata(&files.key).map_err(failed(&files.key))?.permissions().mode();
    if mode & 0o007 != 0 {
        return Err(StartError::KeyFileOpen { key_file: files.key.clone(), mode: mode & 0o7777 });
    }
    let certificate = std::fs::read(&files.certificate).map_err(failed(&files.certificate))?;
    let key = Zeroizing::new(std::fs::read(&files.key).map_err(failed(&files.key))?);
    let mut hasher = proof::Hasher::new();
    hasher.update(proof::sha256(&certificate).0.as_slice());
    hasher.update(proof::sha256(&key).0.as_slice());
    Ok((certificate, key, hasher.finish()))
}

fn shown(
    file: &Path,
    certificate: &[u8],
    key: &[u8],
    digest: Digest,
    now: Time,
) -> Result<Shown, StartError> {
    let refused =
        |why: String| StartError::Certificate { why: format!("{}: {why}", file.display()) };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<_, _>>()
        .map_err(|e| refused(e.to_string()))?;
    let ends = match chain.first() {
        Some(leaf) => not_after(leaf),
        None => return Err(refused("it holds no certificate".to_owned())),
    };
    if ends.is_some_and(|ends| ends <= now) {
        return Err(refused("it has ended".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| refused(format!("its key: {e}")))?;
    let certified = CertifiedKey::from_der(chain, key, &provider())
        .map_err(|e| refused(format!("its key does not fit: {e}")))?;
    Ok(Shown { certified: Arc::new(certified), ends, digest })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn write(files: &CertificateFiles, name: &str, with_its_key: bool) {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        std::fs::write(&files.certificate, made.cert.pem()).unwrap();
        if with_its_key {
            std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
            std::fs::set_permissions(&files.key, PermissionsExt::from_mode(0o600)).unwrap();
        }
    }

    #[test]
    fn a_renewed_certificate_is_shown_without_a_restart_and_one_that_does_not_fit_never() {
        let root = tempfile::tempdir().unwrap();
        let files = CertificateFiles {
            certificate: root.path().join("hub.pem"),
            key: root.path().join("hub.key"),
        };
        assert!(OwnCertificate::open(files.clone(), Time::now()).is_err());
        write(&files, "hub.example.org", true);
        let own = OwnCertificate::open(files.clone(), Time::now()).unwrap();
        let first = own.certified().cert[0].clone();
        assert!(!own.look(Time::now()).unwrap());

        // Half of a renewal: the certificate is new, the key is not there yet.
        write(&files, "hub.example.org", false);
        assert!(own.look(Time::now()).is_err());
        assert_eq!(own.certified().cert[0], first);

        write(&files, "hub.example.org", true);
        assert!(own.look(Time::now()).unwrap());
        assert_ne!(own.certified().cert[0], first);

        std::fs::set_permissions(&files.key, PermissionsExt::from_mode(0o644)).unwrap();
        assert!(matches!(own.look(Time::now()), Err(StartError::KeyFileOpen { .. })));
        // A certificate of rcgen counts until 4096.
        let late = "9000-01-01T00:00:00Z".parse().unwrap();
        std::fs::set_permissions(&files.key, PermissionsExt::from_mode(0o600)).unwrap();
        assert!(OwnCertificate::open(files, late).is_err());
    }
}
