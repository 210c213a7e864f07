//! The keys of an organization, opened for the length of a lease.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use api::{KeyPurpose, OrganizationId, Secret, Time};
use seal::recipient::{RecipientKey, RecipientSecret, unwrap as unwrap_sent};
use seal::wrap::{DatasetContext, WRAPPED_BYTES, unwrap_dataset_key, wrap_dataset_key};
use seal::{DatasetKey, KeyEncryptionKey, WrapError};

use super::IndexKey;
use crate::kms::{CustomerKey, KeyContext, KmsError, OrganizationKey, WrappedKey};
use crate::{CustodyError, custodian::refused};

/// The first bytes of a dataset key as it is kept: this layout, and whose it is.
const HEADER: [u8; 2] = [1, 2];
/// Layout, custodian, organization 16, version of the data key 4.
const HEADER_BYTES: usize = 22;

/// A key of an organization as it is kept: wrapped under the customer's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptKey {
    /// What it is for.
    pub purpose: KeyPurpose,
    /// Which one of them.
    pub version: u32,
    /// It.
    pub wrapped: WrappedKey,
}

/// Where the salt of a field's index lies, and which index key goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptSalt {
    /// The field.
    pub field: String,
    /// The version of its index.
    pub version: u32,
    /// The version of the organization index key.
    pub index_key: u32,
    /// Where in the customer's store of secrets.
    pub place: String,
}

/// Everything that a lease opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySet {
    /// Whose.
    pub organization: OrganizationId,
    /// The keys in use.
    pub keys: Vec<KeptKey>,
    /// The salts in use.
    pub salts: Vec<KeptSalt>,
}

/// A key that was just made, with what is kept of it.
#[derive(Debug)]
pub struct NewKey {
    /// As it is kept.
    pub kept: KeptKey,
    /// It, for a recovery copy; drop it soon.
    pub key: OrganizationKey,
    /// To what outsiders wrap, if it is a recipient key.
    pub recipient: Option<RecipientKey>,
}

/// Makes a key of an organization, and has the customer's key wrap it.
///
/// # Errors
/// [`KmsError`] says what the service said.
pub async fn make_key(
    customer: &dyn CustomerKey,
    context: &KeyContext,
) -> Result<NewKey, KmsError> {
    let key = OrganizationKey::generate().map_err(|e| KmsError::Away(Box::new(e)))?;
    let wrapped = customer.wrap(context, &key).await?;
    let recipient = (context.purpose == KeyPurpose::Recipient)
        .then(|| RecipientSecret::from_seed(*key.expose()).public());
    let kept = KeptKey { purpose: context.purpose, version: context.version, wrapped };
    Ok(NewKey { kept, key, recipient })
}

/// The version of the data key under which a dataset key is kept.
///
/// # Errors
/// [`CustodyError::OtherCustodian`] if these are no bytes that this organization keeps.
pub fn kept_version(organization: OrganizationId, kept: &[u8]) -> Result<u32, CustodyError> {
    split(organization, kept).map(|(version, _)| version)
}

fn split(organization: OrganizationId, kept: &[u8]) -> Result<(u32, &[u8]), CustodyError> {
    let other = CustodyError::OtherCustodian { kind: api::Custodian::Organization };
    let Some((header, wrapped)) = kept.split_first_chunk::<HEADER_BYTES>() else {
        return Err(other);
    };
    if header[..2] != HEADER || header[2..18] != organization.to_bytes() {
        return Err(other);
    }
    Ok((u32::from_be_bytes([header[18], header[19], header[20], header[21]]), wrapped))
}

/// The keys of an organization, as long as their lease lasts. Every act fails with [`CustodyError::LeaseEnded`] from the moment
/// they are wiped, whoever still holds this.
pub struct Keys {
    organization: OrganizationId,
    ends: Time,
    open: RwLock<Option<Open>>,
}

/// The version of the index key that a salt goes with, and the salt or why there is none.
type SaltOf = (u32, Result<Secret, Arc<KmsError>>);

struct Open {
    data: BTreeMap<u32, KeyEncryptionKey>,
    index: BTreeMap<u32, OrganizationKey>,
    recipients: BTreeMap<u32, RecipientSecret>,
    salts: HashMap<(String, u32), SaltOf>,
}

impl Keys {
    /// Opens what is kept, with one call of the service for each key and each salt. A salt that does not come keeps its field
    /// from being searched, and nothing else.
    pub(super) async fn open(
        set: &KeySet,
        customer: &dyn CustomerKey,
        ends: Time,
    ) -> Result<Self, KmsError> {
        let mut open = Open {
            data: BTreeMap::new(),
            index: BTreeMap::new(),
            recipients: BTreeMap::new(),
            salts: HashMap::new(),
        };
        for KeptKey { purpose, version, wrapped } in &set.keys {
            let of =
                KeyContext { organization: set.organization, purpose: *purpose, version: *version };
            if *purpose == KeyPurpose::Canary {
                continue;
            }
            let key = customer.unwrap(&of, wrapped).await?;
            match purpose {
                KeyPurpose::Data => {
                    open.data.insert(*version, KeyEncryptionKey::from_bytes(*key.expose()));
                }
                KeyPurpose::Recipient => {
                    open.recipients.insert(*version, RecipientSecret::from_seed(*key.expose()));
                }
                KeyPurpose::Index => {
                    open.index.insert(*version, key);
                }
                KeyPurpose::Canary => {}
            }
        }
        for salt in &set.salts {
            let got = customer.secret(&salt.place).await.map_err(Arc::new);
            open.salts.insert((salt.field.clone(), salt.version), (salt.index_key, got));
        }
        Ok(Self { organization: set.organization, ends, open: RwLock::new(Some(open)) })
    }

    /// Whose they are.
    #[must_use]
    pub const fn organization(&self) -> OrganizationId {
        self.organization
    }

    /// When they are wiped at the latest.
    #[must_use]
    pub const fn ends(&self) -> Time {
        self.ends
    }

    /// Wipes them, for everybody who holds this.
    pub fn end(&self) {
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether they were wiped.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.open.read().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    fn with<T>(
        &self,
        act: impl FnOnce(&Open) -> Result<T, CustodyError>,
    ) -> Result<T, CustodyError> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        act(open.as_ref().ok_or(CustodyError::LeaseEnded)?)
    }

    /// The newest version of the data key: new dataset keys are wrapped under it.
    ///
    /// # Errors
    /// The lease has ended.
    pub fn data_version(&self) -> Result<u32, CustodyError> {
        self.with(|open| newest(&open.data).map(|(version, _)| version))
    }

    /// Wraps a dataset key under the newest data key: 82 bytes, which name the organization and the version.
    ///
    /// # Errors
    /// The lease has ended, or no randomness.
    pub fn wrap(
        &self,
        context: &DatasetContext,
        key: &DatasetKey,
    ) -> Result<Vec<u8>, CustodyError> {
        self.with(|open| {
            let (version, under) = newest(&open.data)?;
            let wrapped = wrap_dataset_key(under, context, key).map_err(refused)?;
            let mut kept = Vec::with_capacity(HEADER_BYTES + WRAPPED_BYTES);
            kept.extend_from_slice(&HEADER);
            kept.extend_from_slice(&self.organization.to_bytes());
            kept.extend_from_slice(&version.to_be_bytes());
            kept.extend_from_slice(&wrapped);
            Ok(kept)
        })
    }

    /// Opens a dataset key as it is kept.
    ///
    /// # Errors
    /// The lease has ended; the bytes are not this organization's; or they do not open for this context.
    pub fn unwrap(
        &self,
        context: &DatasetContext,
        kept: &[u8],
    ) -> Result<DatasetKey, CustodyError> {
        let (version, wrapped) = split(self.organization, kept)?;
        self.with(|open| {
            let under = open
                .data
                .get(&version)
                .ok_or(CustodyError::UnknownVersion { purpose: KeyPurpose::Data, version })?;
            unwrap_dataset_key(under, context, wrapped).map_err(refused)
        })
    }

    /// Opens a dataset key that was wrapped to the organization's recipient key.
    ///
    /// # Errors
    /// The lease has ended, or it was wrapped to another key or for another context.
    pub fn unwrap_sent(
        &self,
        context: &DatasetContext,
        sent: &[u8],
    ) -> Result<DatasetKey, CustodyError> {
        self.with(|open| {
            let mut last = CustodyError::DoesNotOpen(WrapError::DoesNotOpen);
            for secret in open.recipients.values().rev() {
                match unwrap_sent(secret, &context.bytes(), sent) {
                    Ok(key) => return Ok(key),
                    Err(error) => last = refused(error),
                }
            }
            Err(last)
        })
    }

    /// The index key of that version of that field.
    ///
    /// # Errors
    /// The lease has ended; there is no such index; or its salt did not come ([`CustodyError::NoSalt`]).
    pub fn index_key(&self, field: &str, version: u32) -> Result<IndexKey, CustodyError> {
        self.with(|open| {
            let missing = |cause| CustodyError::NoSalt { field: field.to_owned(), version, cause };
            let Some((index_key, salt)) = open.salts.get(&(field.to_owned(), version)) else {
                return Err(missing(None));
            };
            let salt = salt.as_ref().map_err(|error| missing(Some(Arc::clone(error))))?;
            let key = open.index.get(index_key).ok_or(CustodyError::UnknownVersion {
                purpose: KeyPurpose::Index,
                version: *index_key,
            })?;
            Ok(IndexKey::derive(key, salt, self.organization.to_bytes(), field, version))
        })
    }
}

fn newest<T>(versions: &BTreeMap<u32, T>) -> Result<(u32, &T), CustodyError> {
    versions
        .last_key_value()
        .map(|(version, key)| (*version, key))
        .ok_or(CustodyError::UnknownVersion { purpose: KeyPurpose::Data, version: 0 })
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("organization", &self.organization).finish_non_exhaustive()
    }
}
