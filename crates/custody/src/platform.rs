//! Custody by the platform: dataset keys are wrapped under the operator's key-encryption key, and released when the hub's
//! policy allows the caller. The hub can read such projects, and every page says so.
//!
//! The key-encryption key is in a file that lies outside the data directory and every facility, so that a thief of disks
//! or of backups holds nothing. What is kept at rest names the key and its epoch (`spec/custody.md`, section 3), so that a
//! new epoch can take over while the old one still opens what it wrapped.

mod key_file;

use std::fmt;
use std::path::Path;

use data_encoding::HEXLOWER;
use seal::DatasetKey;
use seal::recipient::{RecipientKey, unwrap, wrap_to};
use seal::wrap::{DatasetContext, WRAPPED_BYTES, unwrap_dataset_key, wrap_dataset_key};

use key_file::KeyFile;
pub use key_file::KeyFileError;

use crate::custodian::refused;
use crate::{Custodian, CustodyError, Grounds, Opened};

/// The first byte of what is kept at rest: this layout.
const LAYOUT: u8 = 1;
/// The second byte: whose layout. Others are taken by other custodians, so that none mistakes another's bytes for its own.
const PLATFORM: u8 = 1;
/// Layout, custodian, key id 16, epoch 4.
const HEADER_BYTES: usize = 22;

/// The operator's custody, with its key file read.
pub struct PlatformCustodian {
    file: KeyFile,
    recipient: RecipientKey,
}

impl PlatformCustodian {
    /// Makes a key file at `path`, readable by this user alone, and opens it. Whoever loses the file loses every platform
    /// project; whoever copies it reads them.
    ///
    /// # Errors
    /// Something is there already, or the file cannot be written and synced.
    pub fn create(path: &Path) -> Result<Self, KeyFileError> {
        KeyFile::create(path).map(Self::with)
    }

    /// Reads the key file at `path`.
    ///
    /// # Errors
    /// It is not there, others than its owner may read it, or it is not whole.
    pub fn open(path: &Path) -> Result<Self, KeyFileError> {
        KeyFile::open(path).map(Self::with)
    }

    /// Adds a new epoch to the key file: from the next opening on it wraps, and the older ones go on opening what they
    /// wrapped until everything was [rewrapped](Custodian::rewrap).
    ///
    /// # Errors
    /// As for [`open`](Self::open), or the new file cannot be written and synced; then the old one stands.
    pub fn rotate(path: &Path) -> Result<Self, KeyFileError> {
        let mut file = KeyFile::open(path)?;
        file.add_epoch()?;
        file.replace(path)?;
        Ok(Self::with(file))
    }

    /// The X-Wing key that stands in the cards of all its projects.
    #[must_use]
    pub const fn recipient(&self) -> &RecipientKey {
        &self.recipient
    }

    fn with(file: KeyFile) -> Self {
        let recipient = file.recipient.public();
        Self { file, recipient }
    }

    fn wrap(&self, context: &DatasetContext, key: &DatasetKey) -> Result<Vec<u8>, CustodyError> {
        let (epoch, under) = self.file.newest();
        let wrapped = wrap_dataset_key(under, context, key).map_err(refused)?;
        let mut kept = Vec::with_capacity(HEADER_BYTES + WRAPPED_BYTES);
        kept.extend_from_slice(&[LAYOUT, PLATFORM]);
        kept.extend_from_slice(&self.file.id);
        kept.extend_from_slice(&epoch.to_be_bytes());
        kept.extend_from_slice(&wrapped);
        Ok(kept)
    }

    fn key(&self, context: &DatasetContext, kept: &[u8]) -> Result<DatasetKey, CustodyError> {
        let other = CustodyError::OtherCustodian { kind: api::Custodian::Platform };
        let Some((header, wrapped)) = kept.split_first_chunk::<HEADER_BYTES>() else {
            return Err(other);
        };
        if header[..2] != [LAYOUT, PLATFORM] {
            return Err(other);
        }
        let epoch = u32::from_be_bytes([header[18], header[19], header[20], header[21]]);
        let under = (header[2..18] == self.file.id).then(|| self.file.epoch(epoch)).flatten();
        let Some(under) = under else {
            return Err(CustodyError::UnknownKey { id: HEXLOWER.encode(&header[2..18]), epoch });
        };
        unwrap_dataset_key(under, context, wrapped).map_err(refused)
    }
}

impl fmt::Debug for PlatformCustodian {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlatformCustodian")
            .field("id", &HEXLOWER.encode(&self.file.id))
            .field("epoch", &self.file.newest().0)
            .finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl Custodian for PlatformCustodian {
    fn kind(&self) -> api::Custodian {
        api::Custodian::Platform
    }

    fn recipient(&self) -> Option<&RecipientKey> {
        Some(&self.recipient)
    }

    async fn adopt(&self, context: &DatasetContext, sent: &[u8]) -> Result<Vec<u8>, CustodyError> {
        let key = unwrap(&self.file.recipient, &context.bytes(), sent).map_err(refused)?;
        self.wrap(context, &key)
    }

    async fn release(
        &self,
        context: &DatasetContext,
        kept: &[u8],
        to: &RecipientKey,
        grounds: Grounds<'_>,
    ) -> Result<Vec<u8>, CustodyError> {
        match grounds {
            // The hub has decided; under this custody its word is all there is, and the documents say so.
            Grounds::Policy { .. } => {}
            Grounds::Vault(appraised) if appraised.recipient() == to => {}
            Grounds::Vault(_) => return Err(CustodyError::OtherRecipient),
        }
        let key = self.key(context, kept)?;
        wrap_to(to, &context.bytes(), &key).map_err(refused)
    }

    async fn rewrap(
        &self,
        from: &DatasetContext,
        kept: &[u8],
        to: &DatasetContext,
    ) -> Result<Vec<u8>, CustodyError> {
        self.wrap(to, &self.key(from, kept)?)
    }

    async fn open_for_hub(
        &self,
        context: &DatasetContext,
        kept: &[u8],
    ) -> Result<Option<Opened>, CustodyError> {
        Ok(Some(Opened::new(self.key(context, kept)?, *context)))
    }

    async fn keep(&self, opened: &Opened) -> Result<Vec<u8>, CustodyError> {
        let (key, context) = opened.parts();
        self.wrap(context, key)
    }
}

#[cfg(test)]
mod tests;
