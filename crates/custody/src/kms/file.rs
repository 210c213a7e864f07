//! A customer's key in a file on this machine: for development and for tests, and named as such wherever it is shown.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use api::Secret;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use seal::fill_random;
use zeroize::Zeroizing;

use super::{
    CustomerKey, KeyContext, KeyDescription, KeyState, KmsError, OrganizationKey, Provider,
    WrappedKey,
};

const ALGORITHM: &str = "AES-256-GCM";
const NONCE_BYTES: usize = 12;

/// A key in a file, which is read anew for every call: taking the file away takes the key away.
#[derive(Debug)]
pub struct LocalFile {
    path: PathBuf,
}

impl LocalFile {
    /// The key in that file; makes the file if it is not there.
    ///
    /// # Errors
    /// [`KmsError::Configuration`] if it cannot be made.
    pub fn open(path: &Path) -> Result<Self, KmsError> {
        let wrong = |e: &dyn std::error::Error| {
            KmsError::Configuration(format!("{} cannot be made: {e}", path.display()))
        };
        if !path.exists() {
            let mut key = Zeroizing::new([0; 32]);
            fill_random(&mut *key).map_err(|e| wrong(&e))?;
            let mut options = std::fs::OpenOptions::new();
            let file = options.write(true).create_new(true).mode(0o600).open(path);
            let done = file.and_then(|mut file| {
                file.write_all(&*key)?;
                file.sync_all()
            });
            done.map_err(|e| wrong(&e))?;
        }
        Ok(Self { path: path.to_owned() })
    }

    /// The key in that file, which is there, or was: none is made.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Where secrets are kept: a directory beside the key.
    fn secrets(&self) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".secrets");
        self.path.with_file_name(name)
    }

    /// The file of a secret; nothing for a place that is none of ours.
    fn secret_file(&self, place: &str) -> Result<PathBuf, KmsError> {
        let plain =
            !place.is_empty() && place.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if plain {
            Ok(self.secrets().join(place))
        } else {
            Err(KmsError::Configuration(format!("`{place}` is no name of a secret")))
        }
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn key(&self) -> Result<LessSafeKey, KmsError> {
        let bytes = std::fs::read(&self.path).map(Zeroizing::new).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => KmsError::NoSuchKey { key: self.name() },
            std::io::ErrorKind::PermissionDenied => {
                KmsError::Denied { key: self.name(), act: "read" }
            }
            _ => KmsError::Away(Box::new(e)),
        })?;
        UnboundKey::new(&AES_256_GCM, &bytes)
            .map(LessSafeKey::new)
            .map_err(|_| KmsError::Misuse { key: self.name() })
    }
}

#[async_trait::async_trait]
impl CustomerKey for LocalFile {
    fn provider(&self) -> Provider {
        Provider::LocalFile
    }

    async fn wrap(
        &self,
        context: &KeyContext,
        key: &OrganizationKey,
    ) -> Result<WrappedKey, KmsError> {
        let wrapping = self.key()?;
        let mut nonce = [0; NONCE_BYTES];
        fill_random(&mut nonce).map_err(|e| KmsError::Away(Box::new(e)))?;
        let mut blob = nonce.to_vec();
        let mut body = Zeroizing::new(key.expose().to_vec());
        let tag = wrapping
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(context.bytes()),
                &mut body,
            )
            .map_err(|_| KmsError::Misuse { key: self.name() })?;
        blob.extend_from_slice(&body);
        blob.extend_from_slice(tag.as_ref());
        Ok(WrappedKey {
            provider: Provider::LocalFile,
            key: self.name(),
            algorithm: ALGORITHM.to_owned(),
            blob: api::Bytes(blob),
        })
    }

    async fn unwrap(
        &self,
        context: &KeyContext,
        wrapped: &WrappedKey,
    ) -> Result<OrganizationKey, KmsError> {
        if wrapped.provider != Provider::LocalFile {
            return Err(KmsError::OtherProvider { provider: wrapped.provider });
        }
        let wrapping = self.key()?;
        let closed = || KmsError::DoesNotOpen { key: self.name() };
        let (nonce, body) = wrapped.blob.0.split_first_chunk().ok_or_else(closed)?;
        let mut body = Zeroizing::new(body.to_vec());
        let opened = wrapping
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(context.bytes()),
                &mut body,
            )
            .map_err(|_| closed())?;
        OrganizationKey::from_slice(opened).ok_or_else(closed)
    }

    async fn describe(&self) -> Result<KeyDescription, KmsError> {
        self.key()?;
        Ok(KeyDescription {
            key: self.name(),
            state: KeyState::Enabled,
            deleted_on: None,
            purgeable: false,
        })
    }

    async fn keep_secret(&self, name: &str, secret: &Secret) -> Result<String, KmsError> {
        let file = self.secret_file(name)?;
        let kept = std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(self.secrets())
            .and_then(|()| {
                let mut options = std::fs::OpenOptions::new();
                options.write(true).create_new(true).mode(0o600).open(&file)
            })
            .and_then(|mut file| {
                file.write_all(secret.reveal().as_bytes())?;
                file.sync_all()
            });
        kept.map_err(|e| KmsError::Away(Box::new(e)))?;
        Ok(name.to_owned())
    }

    async fn secret(&self, place: &str) -> Result<Secret, KmsError> {
        // Taking the key away takes the secrets with it, as a cloud's policy would.
        self.key()?;
        let file = self.secret_file(place)?;
        std::fs::read_to_string(&file).map(|text| Secret::new(text.into())).map_err(|e| {
            match e.kind() {
                std::io::ErrorKind::NotFound => KmsError::NoSuchKey { key: place.to_owned() },
                std::io::ErrorKind::PermissionDenied => {
                    KmsError::Denied { key: place.to_owned(), act: "read" }
                }
                _ => KmsError::Away(Box::new(e)),
            }
        })
    }

    async fn drop_secret(&self, place: &str) -> Result<(), KmsError> {
        match std::fs::remove_file(self.secret_file(place)?) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(KmsError::Away(Box::new(e))),
            _ => Ok(()),
        }
    }
}
