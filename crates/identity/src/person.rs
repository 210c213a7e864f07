//! One person: the words, the seed, and the key of each role.

use std::fmt;

use proof::SigningKey;
use seal::recipient::RecipientSecret;

use crate::derive::{NoSuchKey, Role, ethereum_secret};
use crate::ethereum::EthereumAccount;
use crate::memory::{NoSecretMemory, Secret, SecretMemory};
use crate::openpgp::OpenPgpKeys;
use crate::ssh::SshKey;
use crate::words::{SEED_BYTES, Words};
use crate::x509::ClientCertificate;

/// The longest passphrase of the words.
pub const MOST_PASSPHRASE_BYTES: usize = 1_024;

/// Why words and passphrase give no person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The passphrase is too long.
    #[error("the passphrase of the words has more than {MOST_PASSPHRASE_BYTES} bytes")]
    LongPassphrase,
    /// No memory to keep the seed in.
    #[error(transparent)]
    Memory(#[from] NoSecretMemory),
}

/// A person's keys. What is kept is words and seed; each role's key is derived when it is asked for, and wiped after its use.
pub struct Identity {
    words: Words,
    seed: Secret<SEED_BYTES>,
    has_passphrase: bool,
}

impl Identity {
    /// The person of these words and this passphrase, which is empty for most.
    ///
    /// # Errors
    /// The passphrase is too long, or there is no memory for secrets.
    pub fn from_words(
        words: Words,
        passphrase: &str,
        memory: &dyn SecretMemory,
    ) -> Result<Self, IdentityError> {
        if passphrase.len() > MOST_PASSPHRASE_BYTES {
            return Err(IdentityError::LongPassphrase);
        }
        let seed = words.seed(passphrase, memory)?;
        Ok(Self { words, seed, has_passphrase: !passphrase.is_empty() })
    }

    /// The words.
    #[must_use]
    pub const fn words(&self) -> &Words {
        &self.words
    }

    /// Whether the words alone do not give these keys.
    #[must_use]
    pub const fn has_passphrase(&self) -> bool {
        self.has_passphrase
    }

    /// Signs cards and certifies devices.
    #[must_use]
    pub fn card_key(&self) -> SigningKey {
        self.ed25519(Role::Card)
    }

    /// Opens what was sealed to this person.
    #[must_use]
    pub fn sealing(&self) -> RecipientSecret {
        RecipientSecret::from_seed(*Role::Sealing.secret(self.seed.expose()))
    }

    /// The Ethereum account.
    ///
    /// # Errors
    /// These words have none, which befalls one seed in 2^127.
    pub fn ethereum(&self) -> Result<EthereumAccount, NoSuchKey> {
        EthereumAccount::from_secret(&ethereum_secret(self.seed.expose())?)
    }

    /// The OpenPGP keys. Another user id than the usual one changes the certificate, not its fingerprint.
    #[must_use]
    pub fn openpgp(&self, user_id: Option<&str>) -> OpenPgpKeys {
        let decrypt = Role::OpenPgpDecrypt.secret(self.seed.expose());
        OpenPgpKeys::new(self.ed25519(Role::OpenPgpSign), &decrypt, user_id)
    }

    /// The certificate for mutual TLS.
    #[must_use]
    pub fn client_certificate(&self) -> ClientCertificate {
        ClientCertificate::new(self.ed25519(Role::X509Client))
    }

    /// The SSH key.
    #[must_use]
    pub fn ssh(&self) -> SshKey {
        SshKey::new(self.ed25519(Role::Ssh))
    }

    fn ed25519(&self, role: Role) -> SigningKey {
        SigningKey::from_seed(&role.secret(self.seed.expose()))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(..)")
    }
}
