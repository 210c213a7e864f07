//! From what an organization names to a connected key, within what the operator allows.
//!
//! Whoever administers an organization names a key and credentials; where this machine then connects to, which files it opens
//! and which module it loads is the operator's affair. So addresses come from the clouds' own names or from [`Services`], a
//! local file lies in the one directory that the operator named, and a PKCS #11 module is never named by a caller.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use api::{KeyCredentials, KeyService, OrganizationId};

use super::aws::{AwsConfig, AwsCredentials, AwsKeys, AwsKms, AwsRole, Clock};
use super::azure::{AzureConfig, AzureCredentials, AzureKeyVault, AzureOperations};
use super::{CustomerKey, KmsError, LocalFile, Token};

/// The domains under which Azure's clouds have vaults and managed HSMs.
const AZURE_DOMAINS: [&str; 6] = [
    ".vault.azure.net",
    ".managedhsm.azure.net",
    ".vault.azure.cn",
    ".vault.usgovcloudapi.net",
    ".managedhsm.usgovcloudapi.net",
    ".vault.microsoftazure.de",
];

/// What the operator of a hub allows of key services.
#[derive(Debug, Clone, Default)]
pub struct Services {
    /// The directory of keys in local files; there are none if absent.
    pub files: Option<PathBuf>,
    /// The PKCS #11 module; tokens are not offered if absent.
    pub pkcs11_module: Option<PathBuf>,
    /// Where AWS's services answer, all of them; AWS's own addresses if absent.
    pub aws_endpoint: Option<String>,
    /// The file with the token by which this machine is known to AWS.
    pub aws_token_file: Option<PathBuf>,
    /// Where Azure's tenants sign in; Microsoft's own address if absent.
    pub azure_login: Option<String>,
    /// Further domains of vaults, each with its dot.
    pub azure_domains: Vec<String>,
    /// Hosts that are at these addresses, whatever the system's resolver says.
    pub hosts: Vec<(String, std::net::SocketAddr)>,
    /// The authority of the certificates, PEM; those of the system if absent.
    pub ca_file: Option<PathBuf>,
}

impl Services {
    /// The external id that a customer's role must ask for, so that nobody has this hub use another organization's role.
    pub fn external_id(organization: OrganizationId) -> String {
        format!("chorion-{organization}")
    }

    /// Connects a key; nothing is asked yet. With `make`, a local file that is not there is made.
    ///
    /// # Errors
    /// [`KmsError::Configuration`] says what cannot be used, or is not allowed here.
    pub fn connect(
        &self,
        organization: OrganizationId,
        service: &KeyService,
        credentials: &KeyCredentials,
        operations: AzureOperations,
        make: bool,
        clock: Clock,
    ) -> Result<Arc<dyn CustomerKey>, KmsError> {
        let wrong = |why: &str| KmsError::Configuration(why.to_owned());
        match service {
            KeyService::LocalFile { name } => {
                let path = self.file(organization, name)?;
                let key = if make { LocalFile::open(&path)? } else { LocalFile::at(&path) };
                Ok(Arc::new(key))
            }
            KeyService::AwsKms { key, region, role } => {
                let credentials = match credentials {
                    KeyCredentials::AccessKey { id, secret } => AwsCredentials::Static(AwsKeys {
                        id: id.clone(),
                        secret: secret.clone(),
                        session: None,
                        expires: None,
                    }),
                    KeyCredentials::WebIdentity { role } => AwsCredentials::WebIdentity {
                        role: role.clone(),
                        token_file: self.aws_token_file.clone().ok_or_else(|| {
                            wrong("this hub has no token of its own for AWS: give an access key")
                        })?,
                    },
                    _ => return Err(wrong("AWS KMS is asked with an access key or a role")),
                };
                let role = role.as_ref().map(|arn| AwsRole {
                    arn: arn.clone(),
                    external_id: Self::external_id(organization),
                });
                let config = AwsConfig {
                    key: key.clone(),
                    region: region.clone(),
                    endpoint: self.aws_endpoint.clone(),
                    sts_endpoint: self.aws_endpoint.clone(),
                    secrets_endpoint: self.aws_endpoint.clone(),
                    credentials,
                    role,
                    ca_file: self.ca_file.clone(),
                };
                Ok(Arc::new(AwsKms::new(config, clock)?))
            }
            KeyService::AzureKeyVault { .. } => {
                Ok(Arc::new(self.azure(service, credentials, operations, clock)?))
            }
            KeyService::Pkcs11 { token, key } => {
                let module = self.pkcs11_module.as_deref().ok_or_else(|| {
                    wrong("this hub has no PKCS #11 module: its operator configures one")
                })?;
                let KeyCredentials::Pin { pin } = credentials else {
                    return Err(wrong("a token is asked with its PIN"));
                };
                Ok(Arc::new(Token::new(module, token, key, pin.clone())?))
            }
            KeyService::Platform => Err(wrong(
                "the platform's key is none that a customer names: it takes over where an organization leaves its own",
            )),
        }
    }

    /// A vault of Azure's, by itself, so that set-up can find out which acts are granted.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
    pub fn azure(
        &self,
        service: &KeyService,
        credentials: &KeyCredentials,
        operations: AzureOperations,
        clock: Clock,
    ) -> Result<AzureKeyVault, KmsError> {
        let wrong = |why: &str| KmsError::Configuration(why.to_owned());
        let KeyService::AzureKeyVault { key, tenant, client_id } = service else {
            return Err(wrong("the key is not in Azure Key Vault"));
        };
        let credentials = match credentials {
            KeyCredentials::ClientSecret { secret } => AzureCredentials::Secret(secret.clone()),
            KeyCredentials::ClientCertificate { pem } => AzureCredentials::Certificate(pem.clone()),
            _ => {
                return Err(wrong(
                    "Azure Key Vault is asked with an application's secret or certificate",
                ));
            }
        };
        let host = reqwest::Url::parse(key).ok().and_then(|url| url.host_str().map(str::to_owned));
        let host = host.unwrap_or_default();
        let known = AZURE_DOMAINS.iter().copied();
        let known = known.chain(self.azure_domains.iter().map(String::as_str));
        if !known.into_iter().any(|domain| host.ends_with(domain)) {
            return Err(KmsError::Configuration(format!("`{host}` is no vault of Azure's")));
        }
        let config = AzureConfig {
            key: key.clone(),
            tenant: tenant.clone(),
            client_id: client_id.clone(),
            credentials,
            login: self.azure_login.clone(),
            operations,
            ca_file: self.ca_file.clone(),
        };
        let hosts: Vec<_> = self.hosts.iter().map(|(host, at)| (host.as_str(), *at)).collect();
        let http = super::http::client_with(self.ca_file.as_deref(), &hosts)?;
        AzureKeyVault::with_client(config, http, clock)
    }

    /// The file of a local key: in the operator's directory, in a folder of the organization's own.
    fn file(&self, organization: OrganizationId, name: &str) -> Result<PathBuf, KmsError> {
        let Some(files) = &self.files else {
            return Err(KmsError::Configuration(
                "this hub takes no keys in local files: they are for development".to_owned(),
            ));
        };
        let plain = (1..=64).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !plain {
            return Err(KmsError::Configuration(format!(
                "`{name}` is no name of a key: letters, digits and hyphens, 64 at most"
            )));
        }
        let folder = files.join(organization.to_string());
        make_directory(&folder)?;
        Ok(folder.join(name))
    }
}

fn make_directory(path: &Path) -> Result<(), KmsError> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|e| KmsError::Configuration(format!("{} cannot be made: {e}", path.display())))
}
