//! A key that the customer holds elsewhere, and never gives away: it wraps an organization's keys and unwraps them again.
//!
//! One trait over every service, and a small client of our own for each, so that an answer of a service becomes exactly one of
//! [`KmsError`]'s situations, no call is repeated behind anybody's back, and no key or token is kept longer than is said here.
//! What crosses is a 32-byte key of an organization and a context of opaque ids; nobody's data ever goes to a key management
//! service.
//!
//! [`Services`] is what an operator allows of it, and connects what an organization names. What is built on it is
//! [`crate::organization`].

pub mod aws;
pub mod azure;
mod file;
mod http;
mod pkcs11;
mod platform;
pub mod policy;
mod settings;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod states;

use std::fmt;
use std::time::Duration;

use api::{KeyTrouble, OrganizationId, Secret};
use seal::{NoRandomness, fill_random};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use api::{KeyProvider as Provider, KeyPurpose};

pub use file::LocalFile;
pub use pkcs11::Token;
pub use platform::PlatformKey;
pub use settings::Services;

/// To what a wrapped key is bound: opaque ids alone, because services write it into their logs in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyContext {
    /// The organization.
    pub organization: OrganizationId,
    /// What the key is for.
    pub purpose: KeyPurpose,
    /// Which one of them.
    pub version: u32,
}

impl KeyContext {
    /// Name and value of each part, in the order of the names.
    pub fn pairs(&self) -> [(&'static str, String); 3] {
        [
            ("chorion:org", self.organization.to_string()),
            ("chorion:purpose", self.purpose.as_str().to_owned()),
            ("chorion:version", self.version.to_string()),
        ]
    }

    /// The same as bytes that no other context has.
    pub fn bytes(&self) -> Vec<u8> {
        let mut text = "chorion key context v1\n".to_owned();
        for (name, value) in self.pairs() {
            text.push_str(&format!("{name}={value}\n"));
        }
        text.into_bytes()
    }
}

/// A key of an organization, in the clear: 32 bytes that are wiped when it is dropped.
pub struct OrganizationKey(Zeroizing<[u8; 32]>);

impl OrganizationKey {
    /// A new one.
    ///
    /// # Errors
    /// [`NoRandomness`] if the system gives none.
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut bytes = Zeroizing::new([0; 32]);
        fill_random(&mut *bytes)?;
        Ok(Self(bytes))
    }

    /// Its bytes, for whoever wraps or derives with it.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// From bytes that a service gave; nothing if they are not 32.
    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        Some(Self(Zeroizing::new(bytes.try_into().ok()?)))
    }
}

impl fmt::Debug for OrganizationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OrganizationKey(..)")
    }
}

/// An organization's key as it is kept: wrapped, with all that is needed to ask for it again but credentials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrappedKey {
    /// Who wrapped it.
    pub provider: Provider,
    /// Under which of the customer's keys, with its version where it has one, as the service names it.
    pub key: String,
    /// How.
    pub algorithm: String,
    /// What the service gave.
    pub blob: api::Bytes,
}

/// Whether a customer's key can be used, as the service says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// It can.
    Enabled,
    /// Somebody has disabled it.
    Disabled,
    /// Somebody has scheduled its deletion.
    PendingDeletion,
    /// Its material has expired or was taken away; importing it again brings it back.
    PendingImport,
    /// The service names another state, in which it cannot be used.
    Unavailable,
}

/// A customer's key as the service describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDescription {
    /// The key as the service names it.
    pub key: String,
    /// Its state.
    pub state: KeyState,
    /// When it will be deleted, where that is scheduled.
    pub deleted_on: Option<api::Time>,
    /// Whether the service says that who deletes it can destroy it for good at once.
    pub purgeable: bool,
}

/// A key that the customer holds.
///
/// # Contract
/// 1. [`unwrap`](Self::unwrap) gives what [`wrap`](Self::wrap) was given, for the same context and no other; bytes that were
///    changed, cut or lengthened, and another organization's, purpose's or version's, are [`KmsError::DoesNotOpen`].
/// 2. A wrapped key names the customer's key and version that wrapped it, and is unwrapped by that one. One of another provider is
///    [`KmsError::OtherProvider`], before anything is sent.
/// 3. Every call that succeeds has asked the service: nothing is answered from memory, because the customer's right to take
///    the key away is the point. (An RSA public key wraps without being asked; such a provider asks all the same.)
/// 4. A denial is not an outage: [`KmsError::effect`] tells them apart, and nothing is ever wrapped under another key instead.
/// 5. A call ends in time, by itself, and is not repeated.
/// 6. No key, credential or token stands in an error, a `Debug` text or a log line.
#[async_trait::async_trait]
pub trait CustomerKey: Send + Sync + fmt::Debug {
    /// Where it is held.
    fn provider(&self) -> Provider;

    /// Wraps a key of an organization.
    ///
    /// # Errors
    /// [`KmsError`] says what the service said.
    async fn wrap(
        &self,
        context: &KeyContext,
        key: &OrganizationKey,
    ) -> Result<WrappedKey, KmsError>;

    /// Unwraps it.
    ///
    /// # Errors
    /// [`KmsError`] says what the service said.
    async fn unwrap(
        &self,
        context: &KeyContext,
        wrapped: &WrappedKey,
    ) -> Result<OrganizationKey, KmsError>;

    /// Describes the customer's key.
    ///
    /// # Errors
    /// [`KmsError`] says what the service said.
    async fn describe(&self) -> Result<KeyDescription, KmsError>;

    /// Keeps a new secret of that name in the customer's own store of secrets; gives the place where it is asked for again.
    /// `name` has letters, digits and hyphens, and is used once.
    ///
    /// # Errors
    /// [`KmsError`] says what the service said.
    async fn keep_secret(&self, name: &str, secret: &Secret) -> Result<String, KmsError>;

    /// The secret that is kept at that place.
    ///
    /// # Errors
    /// [`KmsError`] says what the service said; a secret that is not there is [`KmsError::NoSuchKey`] with its place.
    async fn secret(&self, place: &str) -> Result<Secret, KmsError>;

    /// Takes it away. One that is gone already is a success.
    ///
    /// # Errors
    /// [`KmsError`] says what the service said.
    async fn drop_secret(&self, place: &str) -> Result<(), KmsError>;
}

/// What an error means for keys that are in memory under a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The customer has taken the key away, or the right to it: drop what is in memory, at once.
    Drop,
    /// The service is away: what is in memory serves to the end of its lease.
    Hold,
    /// This one wrapped key does not open; others may.
    Refuse,
}

/// What a key management service said, or why it was not asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KmsError {
    /// The customer has disabled the key.
    #[error("key {key} is disabled")]
    Disabled {
        /// The key.
        key: String,
    },
    /// The customer has scheduled its deletion.
    #[error("key {key} is scheduled for deletion")]
    PendingDeletion {
        /// The key.
        key: String,
    },
    /// Its material has expired or was taken away.
    #[error("key {key} has no material: it has expired or was taken away")]
    PendingImport {
        /// The key.
        key: String,
    },
    /// It is in another state in which it cannot be used.
    #[error("key {key} is in a state in which it cannot be used")]
    Unusable {
        /// The key.
        key: String,
    },
    /// There is none.
    #[error("there is no key {key}")]
    NoSuchKey {
        /// The key.
        key: String,
    },
    /// These credentials may not do that.
    #[error("the credentials may not {act} with key {key}")]
    Denied {
        /// The key, or the role.
        key: String,
        /// What was asked.
        act: &'static str,
    },
    /// The credentials do not count: wrong, expired, revoked.
    #[error("the credentials do not count: {why}")]
    Credentials {
        /// Why.
        why: &'static str,
    },
    /// The wrapped key was changed, or is for another organization, purpose or version.
    #[error(
        "the wrapped key does not open under key {key} for this organization, purpose and version"
    )]
    DoesNotOpen {
        /// The key.
        key: String,
    },
    /// Another provider wrapped it.
    #[error("the key was wrapped by {}", provider.words())]
    OtherProvider {
        /// Which.
        provider: Provider,
    },
    /// The key is not made for this.
    #[error("key {key} is not made for wrapping: choose one for symmetric encryption")]
    Misuse {
        /// The key.
        key: String,
    },
    /// Too many calls.
    #[error("the key management service takes no more calls now")]
    Throttled {
        /// After how long to try again, where it says so.
        after: Option<Duration>,
    },
    /// It does not answer as it should.
    #[error("the key management service does not answer as it should")]
    Away(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// This machine's clock is not the service's.
    #[error("this machine's clock is not the key management service's")]
    Clock,
    /// What was configured cannot be used.
    #[error("the key management service cannot be used as it was named: {0}")]
    Configuration(String),
}

impl KmsError {
    /// What the customer did to the key, where it is that.
    pub const fn trouble(&self) -> Option<KeyTrouble> {
        Some(match self {
            Self::Disabled { .. } => KeyTrouble::Disabled,
            Self::PendingDeletion { .. } => KeyTrouble::PendingDeletion,
            Self::PendingImport { .. } => KeyTrouble::NoMaterial,
            Self::Unusable { .. } => KeyTrouble::Unusable,
            Self::NoSuchKey { .. } => KeyTrouble::NoSuchKey,
            Self::Denied { .. } => KeyTrouble::Denied,
            Self::Credentials { .. } => KeyTrouble::Credentials,
            Self::Misuse { .. } => KeyTrouble::Misuse,
            _ => return None,
        })
    }

    /// What it means for keys in memory.
    pub const fn effect(&self) -> Effect {
        match self {
            Self::Disabled { .. }
            | Self::PendingDeletion { .. }
            | Self::PendingImport { .. }
            | Self::Unusable { .. }
            | Self::NoSuchKey { .. }
            | Self::Denied { .. }
            | Self::Credentials { .. }
            | Self::Misuse { .. } => Effect::Drop,
            Self::Throttled { .. } | Self::Away(_) | Self::Clock | Self::Configuration(_) => {
                Effect::Hold
            }
            Self::DoesNotOpen { .. } | Self::OtherProvider { .. } => Effect::Refuse,
        }
    }
}

/// Whether the customer's key answers: unwraps a canary that was kept and wraps a new one, because a service may allow the one
/// and refuse the other.
///
/// # Errors
/// [`KmsError`] says what the service said.
pub async fn probe(
    key: &dyn CustomerKey,
    context: &KeyContext,
    canary: &WrappedKey,
) -> Result<(), KmsError> {
    let opened = key.unwrap(context, canary).await?;
    key.wrap(context, &opened).await.map(drop)
}
