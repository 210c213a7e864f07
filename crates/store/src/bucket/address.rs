//! The address of a facility in a bucket: `s3://BUCKET/PREFIX?endpoint=…`, which may be logged, because no secret is ever in it.
//!
//! Credentials come from the environment (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`), from a file in
//! the form that the AWS tools share, or from what the machine runs on (a container's or an instance's role). An address
//! that carries a key, a password or an unknown setting is refused (`spec/store.md` section 7).

use std::{fmt, fs, net::IpAddr, os::unix::fs::PermissionsExt as _, path::PathBuf, time::Duration};

use object_store::{
    BackoffConfig, Certificate, ClientOptions, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, Checksum},
    path::Path as Key,
};

/// Why an address does not name a facility in a bucket, or the bucket cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{address} does not name a facility in a bucket: {why}")]
pub struct BucketAddressError {
    address: String,
    why: String,
}

/// Where a facility in an S3-compatible object store is.
#[derive(Clone, PartialEq, Eq)]
pub struct BucketAddress {
    bucket: String,
    prefix: Key,
    region: Option<String>,
    endpoint: Option<String>,
    credentials: Option<PathBuf>,
    profile: Option<String>,
    ca: Option<PathBuf>,
}

impl BucketAddress {
    /// Reads an address: `s3://BUCKET[/PREFIX][?SETTING=VALUE&…]` with the settings `region`, `endpoint`, `credentials` (a
    /// file), `profile` (of that file) and `ca` (a file of certificates to trust, PEM).
    ///
    /// # Errors
    /// [`BucketAddressError`], which repeats nothing of a setting's value.
    pub fn parse(text: &str) -> Result<Self, BucketAddressError> {
        let shown = text.split(['?', '#']).next().unwrap_or_default();
        // What stands before an `@` may be a password.
        let shown = match shown.rsplit_once('@') {
            Some((_, after)) => format!("s3://…@{after}"),
            None => shown.to_owned(),
        };
        let refused = |why: String| BucketAddressError { address: format!("`{shown}`"), why };
        let rest = text
            .strip_prefix("s3://")
            .ok_or_else(|| refused("it does not begin with s3://".into()))?;
        let (place, settings) = rest.split_once('?').unwrap_or((rest, ""));
        if place.contains('@') {
            return Err(refused(
                "a name or password does not belong there; credentials come from the environment or a file".into(),
            ));
        }
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let is_name = (3..=63).contains(&bucket.len())
            && bucket.bytes().all(|c| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'));
        if !is_name {
            return Err(refused(
                "a bucket's name has 3 to 63 lower-case letters, digits, dots and hyphens".into(),
            ));
        }
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        let is_empty = |part: &str| part.is_empty() && !prefix.is_empty();
        let prefix = match Key::parse(prefix) {
            Ok(key) if !prefix.split('/').any(is_empty) => key,
            _ => return Err(refused("its prefix has an empty part".into())),
        };
        let mut address = Self {
            bucket: bucket.to_owned(),
            prefix,
            region: None,
            endpoint: None,
            credentials: None,
            profile: None,
            ca: None,
        };
        for setting in settings.split('&').filter(|setting| !setting.is_empty()) {
            let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
            if value.is_empty() {
                return Err(refused("a setting has no value".into()));
            }
            match name {
                "region" => address.region = Some(value.to_owned()),
                "endpoint" => address.endpoint = Some(endpoint(value).map_err(refused)?),
                "credentials" => address.credentials = Some(value.into()),
                "profile" => address.profile = Some(value.to_owned()),
                "ca" => address.ca = Some(value.into()),
                _ => {
                    return Err(refused(
                        "it may set region, endpoint, credentials, profile and ca, and nothing else; \
                         keys come from the environment or the file that `credentials` names"
                            .into(),
                    ));
                }
            }
        }
        Ok(address)
    }

    /// What all names in it begin with.
    pub(super) fn prefix(&self) -> Key {
        self.prefix.clone()
    }

    /// A client of the bucket, with credentials from where they are kept.
    pub(super) fn client(&self) -> Result<AmazonS3, BucketAddressError> {
        let refused = |why: String| BucketAddressError { address: self.to_string(), why };
        // What is asked of the environment is named here: a setting that nobody knows of could switch encryption off.
        let mut builder = AmazonS3Builder::new();
        for (variable, key) in [
            ("AWS_ACCESS_KEY_ID", AmazonS3ConfigKey::AccessKeyId),
            ("AWS_SECRET_ACCESS_KEY", AmazonS3ConfigKey::SecretAccessKey),
            ("AWS_SESSION_TOKEN", AmazonS3ConfigKey::Token),
            ("AWS_REGION", AmazonS3ConfigKey::Region),
            ("AWS_DEFAULT_REGION", AmazonS3ConfigKey::DefaultRegion),
            (
                "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                AmazonS3ConfigKey::ContainerCredentialsRelativeUri,
            ),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", AmazonS3ConfigKey::ContainerCredentialsFullUri),
            (
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
                AmazonS3ConfigKey::ContainerAuthorizationTokenFile,
            ),
        ] {
            if let Ok(value) = std::env::var(variable)
                && !value.is_empty()
            {
                builder = builder.with_config(key, value);
            }
        }
        if let Some(path) = &self.credentials {
            let profile = self.profile.as_deref().unwrap_or("default");
            let found = Credentials::read(path, profile).map_err(refused)?;
            builder = builder
                .with_access_key_id(found.access_key)
                .with_secret_access_key(found.secret_key);
            if let Some(token) = found.token {
                builder = builder.with_token(token);
            }
        }
        if let Some(region) = &self.region {
            builder = builder.with_region(region);
        }
        let mut options = ClientOptions::new()
            .with_connect_timeout(Duration::from_secs(10))
            // One blob is 16 MiB at most: a service that takes longer than this for one is as good as away.
            .with_timeout(Duration::from_secs(60));
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint);
            // Only to this machine itself, which `parse` made sure of.
            options = options.with_allow_http(endpoint.starts_with("http://"));
        }
        if let Some(path) = &self.ca {
            let failed = |e: &dyn fmt::Display| refused(format!("{}: {e}", path.display()));
            let pem = fs::read(path).map_err(|e| failed(&e))?;
            for certificate in Certificate::from_pem_bundle(&pem).map_err(|e| failed(&e))? {
                options = options.with_root_certificate(certificate);
            }
        }
        provide_cryptography();
        builder
            .with_bucket_name(&self.bucket)
            .with_client_options(options)
            // The service checks what arrived against this before it says that it has it.
            .with_checksum_algorithm(Checksum::SHA256)
            .with_retry(RetryConfig {
                backoff: BackoffConfig {
                    init_backoff: Duration::from_millis(100),
                    max_backoff: Duration::from_secs(5),
                    base: 2.0,
                },
                // Few: the store has other facilities, and comes back to this one by itself.
                max_retries: 4,
                retry_timeout: Duration::from_secs(30),
            })
            .build()
            .map_err(|error| refused(error.to_string()))
    }
}

/// The client asks for the process's provider of TLS. A program that has chosen one keeps it.
fn provide_cryptography() {
    if rustls::crypto::CryptoProvider::get_default().is_none()
        && rustls::crypto::aws_lc_rs::default_provider().install_default().is_err()
    {
        tracing::trace!("another thread chose the provider of TLS a moment earlier");
    }
}

/// An endpoint without a user, and without TLS only on this machine.
fn endpoint(value: &str) -> Result<String, String> {
    let (scheme, rest) = value.split_once("://").unwrap_or(("", value));
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.contains('@') || authority.is_empty() {
        return Err("its endpoint is not a plain https:// address".into());
    }
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let is_here = host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    match scheme {
        "https" => Ok(value.to_owned()),
        "http" if is_here => Ok(value.to_owned()),
        "http" => Err("its endpoint speaks no TLS and is not on this machine".into()),
        _ => Err("its endpoint is not a plain https:// address".into()),
    }
}

/// What a file of credentials says.
struct Credentials {
    access_key: String,
    secret_key: String,
    token: Option<String>,
}

impl Credentials {
    /// One profile of a file in the form of `~/.aws/credentials`.
    fn read(path: &std::path::Path, profile: &str) -> Result<Self, String> {
        let failed = |why: &dyn fmt::Display| format!("credentials in {}: {why}", path.display());
        let mode = fs::metadata(path).map_err(|e| failed(&e))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(failed(&"others may read it; run chmod 600 on it"));
        }
        let text = fs::read_to_string(path).map_err(|e| failed(&e))?;
        let (mut access_key, mut secret_key, mut token) = (None, None, None);
        let mut is_wanted = false;
        for line in text.lines().map(str::trim) {
            if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                is_wanted = section.trim() == profile;
            } else if is_wanted && let Some((name, value)) = line.split_once('=') {
                let value = Some(value.trim().to_owned());
                match name.trim() {
                    "aws_access_key_id" => access_key = value,
                    "aws_secret_access_key" => secret_key = value,
                    "aws_session_token" => token = value,
                    _ => {}
                }
            }
        }
        match (access_key, secret_key) {
            (Some(access_key), Some(secret_key)) => Ok(Self { access_key, secret_key, token }),
            _ => Err(failed(&format!(
                "the profile {profile} has no aws_access_key_id and aws_secret_access_key"
            ))),
        }
    }
}

impl fmt::Display for BucketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.bucket)?;
        if !self.prefix.as_ref().is_empty() {
            write!(f, "/{}", self.prefix)?;
        }
        // Two services may each have a bucket of this name.
        if let Some(endpoint) = &self.endpoint {
            write!(f, "?endpoint={endpoint}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for BucketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BucketAddress({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_where_and_never_with_what_key() {
        for (text, shown) in [
            ("s3://reads", "s3://reads"),
            ("s3://reads/hub-1/", "s3://reads/hub-1"),
            ("s3://reads/a/b?region=eu-central-1&credentials=/etc/chorion/s3", "s3://reads/a/b"),
            (
                "s3://reads?endpoint=http://127.0.0.1:5000",
                "s3://reads?endpoint=http://127.0.0.1:5000",
            ),
            ("s3://reads?endpoint=http://[::1]:5000", "s3://reads?endpoint=http://[::1]:5000"),
            (
                "s3://reads/x?endpoint=https://s3.example.org",
                "s3://reads/x?endpoint=https://s3.example.org",
            ),
        ] {
            assert_eq!(BucketAddress::parse(text).unwrap().to_string(), shown);
        }
        for text in [
            "gs://reads",
            "s3://",
            "s3://Reads",
            "s3://reads//x",
            "s3://AKIA:hunter2@reads/x",
            "s3://reads?secret_access_key=hunter2",
            "s3://reads?endpoint=http://s3.example.org",
            "s3://reads?endpoint=https://me:hunter2@s3.example.org",
            "s3://reads?endpoint=ftp://s3.example.org",
            "s3://reads?endpoint=hunter2",
            "s3://reads?region=",
        ] {
            let refused = BucketAddress::parse(text).unwrap_err().to_string();
            assert!(!refused.contains("hunter2") && !refused.contains("AKIA"), "{refused}");
        }
    }

    #[test]
    fn a_file_of_credentials_is_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credentials");
        let text = "[default]\naws_access_key_id = one\naws_secret_access_key = hunter2\n\n\
                    [backup]\naws_access_key_id=two\naws_secret_access_key=three\naws_session_token=four\n[half]\naws_access_key_id=five\n";
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let refused = Credentials::read(&path, "default").err().unwrap();
        assert!(refused.contains("chmod 600") && !refused.contains("hunter2"), "{refused}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let found = Credentials::read(&path, "default").unwrap();
        assert_eq!((&*found.access_key, &*found.secret_key, found.token), ("one", "hunter2", None));
        let found = Credentials::read(&path, "backup").unwrap();
        assert_eq!((&*found.access_key, found.token.as_deref()), ("two", Some("four")));
        for profile in ["half", "none"] {
            assert!(Credentials::read(&path, profile).is_err());
        }
    }
}
