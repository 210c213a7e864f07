//! A key that an organization holds itself: how it is named, what may be wrong with it, and what an administrator sees of it.

use serde::{Deserialize, Serialize};

use crate::{Bytes, OrganizationId, Secret, Time};

/// Where a customer's key is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyProvider {
    /// AWS Key Management Service.
    AwsKms,
    /// Azure Key Vault.
    AzureKeyVault,
    /// A hardware security module, by PKCS #11.
    Pkcs11,
    /// A file on the hub's machine: for development, and no protection from whoever has the machine.
    LocalFile,
    /// Nobody outside: the organization has left its own key, and the platform's wraps what that one wrapped.
    Platform,
}

impl KeyProvider {
    /// As people read it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::AwsKms => "AWS KMS",
            Self::AzureKeyVault => "Azure Key Vault",
            Self::Pkcs11 => "PKCS #11",
            Self::LocalFile => "a local file (development only)",
            Self::Platform => "the platform",
        }
    }
}

/// What an organization's key is for.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum KeyPurpose {
    /// It wraps dataset keys.
    Data,
    /// Index keys follow from it.
    Index,
    /// To it, outsiders wrap the keys of what they send.
    Recipient,
    /// It is nobody's: unwrapping it shows that the customer's key answers.
    Canary,
}

impl KeyPurpose {
    /// Its word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Index => "index",
            Self::Recipient => "recipient",
            Self::Canary => "canary",
        }
    }
}

/// Why a customer's key does not serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyTrouble {
    /// The customer has disabled it.
    Disabled,
    /// The customer has scheduled its deletion.
    PendingDeletion,
    /// Its material has expired or was taken away.
    NoMaterial,
    /// It is in another state in which it cannot be used.
    Unusable,
    /// There is none of that name.
    NoSuchKey,
    /// The credentials may not use it.
    Denied,
    /// The credentials do not count: wrong, expired, revoked.
    Credentials,
    /// It is not made for wrapping.
    Misuse,
}

impl KeyTrouble {
    /// What whoever holds the key can do.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Disabled => "enable the key again at the key service",
            Self::PendingDeletion => "cancel the deletion at the key service, before its date",
            Self::NoMaterial => "import the key's material again",
            Self::Unusable => {
                "look at the key's state at the key service: expired, or not yet valid"
            }
            Self::NoSuchKey => {
                "recover the key at the key service; a purged key is gone, and what it wrapped with it"
            }
            Self::Denied => {
                "grant the hub's identity the key again: `chorion org kms policy` prints what it needs"
            }
            Self::Credentials => "give the hub new credentials: `chorion org kms set`",
            Self::Misuse => {
                "name a key for symmetric encryption (AWS) or for wrapping (Azure): `chorion org kms set`"
            }
        }
    }
}

/// A customer's key that was taken away: in the problem document of every call that needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyAway {
    /// Where it is held.
    pub provider: KeyProvider,
    /// The key, as its service names it.
    pub key: String,
    /// Why it does not serve.
    pub trouble: KeyTrouble,
    /// Since when this hub knows.
    #[schema(value_type = String, format = DateTime)]
    pub since: Time,
}

/// A customer's key and where it is, without credentials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "provider", rename_all = "snake_case", deny_unknown_fields)]
pub enum KeyService {
    /// AWS KMS.
    AwsKms {
        /// The key: an ARN, or an id or `alias/NAME` of the account whose credentials these are.
        key: String,
        /// Its region.
        region: String,
        /// The customer's role that is assumed, with this organization's external id.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        role: Option<String>,
    },
    /// Azure Key Vault.
    AzureKeyVault {
        /// The key's URL, with a version or without.
        key: String,
        /// The tenant's id.
        tenant: String,
        /// The application's id.
        client_id: String,
    },
    /// A token behind the PKCS #11 module that the operator has configured.
    Pkcs11 {
        /// The token's label.
        token: String,
        /// The key's label.
        key: String,
    },
    /// A file in the directory that the operator has named for it.
    LocalFile {
        /// Its name there.
        name: String,
    },
    /// The platform's own: what is shown of an organization that has left its own key. It is not set, it is what leaving leads to.
    Platform,
}

impl KeyService {
    /// Who holds the key.
    pub const fn provider(&self) -> KeyProvider {
        match self {
            Self::AwsKms { .. } => KeyProvider::AwsKms,
            Self::AzureKeyVault { .. } => KeyProvider::AzureKeyVault,
            Self::Pkcs11 { .. } => KeyProvider::Pkcs11,
            Self::LocalFile { .. } => KeyProvider::LocalFile,
            Self::Platform => KeyProvider::Platform,
        }
    }

    /// The key as it was named.
    pub fn key(&self) -> &str {
        match self {
            Self::AwsKms { key, .. }
            | Self::AzureKeyVault { key, .. }
            | Self::Pkcs11 { key, .. }
            | Self::LocalFile { name: key } => key,
            Self::Platform => "platform",
        }
    }
}

/// With what the key is asked for. It is kept sealed, and shown to nobody.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum KeyCredentials {
    /// Nothing: a local file.
    #[default]
    None,
    /// An access key of AWS.
    AccessKey {
        /// Its id.
        id: String,
        /// Its secret.
        secret: Secret,
    },
    /// A role of AWS's that trusts the token of the hub's machine.
    WebIdentity {
        /// The role.
        role: String,
    },
    /// The secret of an application in Azure: its value, not its id.
    ClientSecret {
        /// The secret.
        secret: Secret,
    },
    /// The certificate of an application in Azure, and its RSA key.
    ClientCertificate {
        /// Both, PEM.
        pem: Secret,
    },
    /// The PIN of a token.
    Pin {
        /// The PIN.
        pin: Secret,
    },
}

/// `PUT /organizations/{id}/key`: tests the key, and takes it in use.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetOrganizationKey {
    /// The key.
    pub service: KeyService,
    /// With what it is asked for.
    #[serde(default)]
    pub credentials: KeyCredentials,
    /// How long a released key may stay in memory, in seconds, 0 to 3600; 300 if absent, or as it was.
    #[serde(default)]
    pub lease_seconds: Option<u32>,
    /// Whether vaults that prove nothing of themselves get keys of the organization's; no if absent, or as it was.
    #[serde(default)]
    pub unattested: Option<bool>,
    /// When the credentials expire, where they do.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub secret_expires: Option<Time>,
    /// The public string `chorion1…` of the customer's own offline key, to which a recovery copy is sealed; none if absent.
    #[serde(default)]
    pub recovery: Option<String>,
    /// The organization's id once more: who loses the key loses the data, unless there is a recovery copy.
    pub confirm: String,
}

/// `POST /organizations/{id}/key/test`: tests a key, and changes nothing.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TestOrganizationKey {
    /// The key; the one in use, with its credentials, if absent.
    #[serde(default)]
    pub service: Option<KeyService>,
    /// With what it is asked for.
    #[serde(default)]
    pub credentials: KeyCredentials,
}

/// What a test of a key came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyTest {
    /// Where it is held.
    pub provider: KeyProvider,
    /// The key and version that wrapped the canary, as the service names it.
    pub key: String,
    /// How it wraps.
    pub algorithm: String,
    /// What was tried, in order, each in a sentence.
    pub done: Vec<String>,
    /// What is no hindrance, and should be known.
    pub warnings: Vec<String>,
    /// How long one unwrapping took, in milliseconds.
    pub unwrap_ms: u64,
}

/// Whether a customer's key serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyStanding {
    /// It does.
    InForce,
    /// The customer has taken it away.
    TakenAway,
    /// Its service does not answer, or takes no more calls.
    Unreachable,
}

impl KeyStanding {
    /// Its word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InForce => "in_force",
            Self::TakenAway => "taken_away",
            Self::Unreachable => "unreachable",
        }
    }
}

/// A key of an organization, as its administrators and auditors see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrganizationKeyVersion {
    /// What it is for.
    pub purpose: KeyPurpose,
    /// Which one of them.
    pub version: u32,
    /// Who wrapped it.
    pub provider: KeyProvider,
    /// Under which of the customer's keys, with its version.
    pub key: String,
    /// Since when it is there.
    #[schema(value_type = String, format = DateTime)]
    pub made: Time,
    /// Whether the recovery copy in the customer's hands holds it; nothing where there is no recovery copy.
    pub recoverable: Option<bool>,
}

/// What a rotation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RotationKind {
    /// The customer's key: the organization's keys are wrapped anew.
    CustomerKey,
    /// The organization data key: dataset keys are wrapped anew.
    DataKey,
    /// Leaving the customer's key: dataset keys are wrapped anew by the platform.
    Leave,
}

impl RotationKind {
    /// As people read it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::CustomerKey => "rotation of the customer's key",
            Self::DataKey => "rotation of the data key",
            Self::Leave => "leaving the customer's key",
        }
    }
}

/// How far a rotation is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// What it is about.
    pub kind: RotationKind,
    /// The version that takes over.
    pub to: u32,
    /// Keys wrapped anew so far.
    pub done: u64,
    /// Keys in all, as far as is known.
    pub total: u64,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub began: Time,
    /// When it ended, if it has.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended: Option<Time>,
}

/// `POST /organizations/{id}/key/rotate`.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateOrganizationKey {
    /// What is rotated.
    pub kind: RotationKind,
}

/// `POST /organizations/{id}/key/leave`: the platform holds the organization's keys from then on.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LeaveOrganizationKey {
    /// The organization's id once more: from then on the operator can read what only the customer's key opened before.
    pub confirm: String,
}

/// `GET /organizations/{id}/key`: how the organization's key stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrganizationKeyStatus {
    /// Whose.
    pub organization: OrganizationId,
    /// The key, without credentials.
    pub service: KeyService,
    /// Whether it serves.
    pub standing: KeyStanding,
    /// Why not, where it was taken away.
    pub trouble: Option<KeyTrouble>,
    /// Since when it stands as it does.
    #[schema(value_type = String, format = DateTime)]
    pub since: Time,
    /// When it was last asked.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub checked: Option<Time>,
    /// When it is asked again.
    #[schema(value_type = String, format = DateTime)]
    pub next_probe: Time,
    /// How often it is asked while nothing of it is in memory.
    pub idle_probe_seconds: u32,
    /// How long a released key may stay in memory.
    pub lease_seconds: u32,
    /// How many seconds at most pass from the key's being taken away to the last use of what it released, while its service
    /// answers.
    pub effect_seconds: u32,
    /// The same where its service cannot be reached any more.
    pub effect_unreachable_seconds: u32,
    /// When the credentials expire, where that is known.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub secret_expires: Option<Time>,
    /// The external id that a customer's role in AWS must ask for.
    pub external_id: String,
    /// The public string of the offline key to which recovery copies are sealed.
    pub recovery: Option<String>,
    /// Whether the newest recovery copy is in the customer's hands; nothing where there is none.
    pub recovery_stored: Option<bool>,
    /// What should be seen to.
    pub warnings: Vec<String>,
    /// The organization's keys.
    pub versions: Vec<OrganizationKeyVersion>,
    /// Rotations, the newest last.
    pub rotations: Vec<Rotation>,
}

/// In which form the least that a hub must be granted is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeyPolicyForm {
    /// A statement of a key policy and of a role, as AWS's JSON.
    #[default]
    AwsJson,
    /// The same for Terraform.
    AwsTerraform,
    /// Role assignments by the command line of Azure.
    AzCli,
    /// The same for Terraform.
    AzureTerraform,
}

impl KeyPolicyForm {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::AwsJson, Self::AwsTerraform, Self::AzCli, Self::AzureTerraform];

    /// Its word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AwsJson => "aws-json",
            Self::AwsTerraform => "aws-terraform",
            Self::AzCli => "az-cli",
            Self::AzureTerraform => "azure-terraform",
        }
    }
}

/// `GET /organizations/{id}/key/policy`: the least that the hub's identity must be granted, to paste at the key service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyPolicy {
    /// In which form.
    pub form: KeyPolicyForm,
    /// The text.
    pub policy: String,
}

/// The keys of an organization, each sealed to the customer's offline key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecoveryCopy {
    /// Whose.
    pub organization: OrganizationId,
    /// To which offline key: its public string.
    pub recipient: String,
    /// Each key.
    pub keys: Vec<RecoveryKey>,
}

/// One key of a recovery copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecoveryKey {
    /// What it is for.
    pub purpose: KeyPurpose,
    /// Which one of them.
    pub version: u32,
    /// It, by HPKE to the offline key, with the key's context as `info`.
    pub sealed: Bytes,
}

/// `POST /organizations/{id}/key/recovery/stored`: the customer has the copy.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecoveryStored {
    /// The SHA-256 of the copy's JSON, as it was given.
    pub digest: crate::Digest,
}
