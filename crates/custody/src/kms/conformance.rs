//! One suite over every provider: a local file; AWS KMS as moto and our own stand-in (`testing/kms/aws.py`) speak it, with boto3 as the
//! judge of all three; Azure Key Vault as our own stand-in speaks it (`testing/kms/key_vault.py`), with Azure's SDK as the judge of both.
//!
//! `testing/setup.sh kms` installs them; where they are not, the tests that need them say so and judge nothing. moto neither
//! checks signatures nor keeps key states, so what a customer does to a key is in `states`, on the stand-ins. No cloud was asked.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use api::OrganizationId;
use serde_json::{Value, json};

use super::aws::{AwsConfig, AwsCredentials, AwsKeys, AwsKms, AwsRole, Clock};
use super::azure::{AzureConfig, AzureCredentials, AzureKeyVault, AzureOperations};
use super::http::client_with;
use super::{
    CustomerKey, Effect, KeyContext, KeyPurpose, KeyState, KmsError, LocalFile, OrganizationKey,
    Provider, WrappedKey, probe,
};

pub(super) const REGION: &str = "eu-central-1";

pub(super) fn context() -> KeyContext {
    KeyContext { organization: OrganizationId::generate(), purpose: KeyPurpose::Data, version: 7 }
}

/// What [`CustomerKey`]'s contract says, on any of them.
pub(super) async fn conforms(held: &dyn CustomerKey) {
    let of = context();
    let key = OrganizationKey::generate().unwrap();
    let wrapped = held.wrap(&of, &key).await.unwrap();
    assert_eq!(wrapped.provider, held.provider());
    assert!(!wrapped.blob.0.windows(32).any(|part| part == key.expose()), "it is wrapped");
    let opened = held.unwrap(&of, &wrapped).await.unwrap();
    assert_eq!(opened.expose(), key.expose());
    assert_ne!(held.wrap(&of, &key).await.unwrap().blob, wrapped.blob, "never the same twice");

    // For no other context.
    let others = [
        KeyContext { organization: OrganizationId::generate(), ..of },
        KeyContext { purpose: KeyPurpose::Index, ..of },
        KeyContext { version: 8, ..of },
    ];
    for other in others {
        let refused = held.unwrap(&other, &wrapped).await.unwrap_err();
        assert!(matches!(refused, KmsError::DoesNotOpen { .. }), "{other:?}: {refused:?}");
        assert_eq!(refused.effect(), Effect::Refuse);
    }
    // Nor changed, cut or lengthened.
    let bytes = &wrapped.blob.0;
    let mut changed = vec![bytes[..bytes.len() - 1].to_vec(), [&bytes[..], &[0]].concat()];
    for at in [0, bytes.len() / 2, bytes.len() - 1] {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        changed.push(flipped);
    }
    for blob in changed {
        let blob = WrappedKey { blob: api::Bytes(blob), ..wrapped.clone() };
        let refused = held.unwrap(&of, &blob).await.unwrap_err();
        // A service may read the key's name in what was changed, and say of another key that it is not ours.
        let is_refused = matches!(refused, KmsError::DoesNotOpen { .. } | KmsError::Denied { .. });
        assert!(is_refused, "{refused:?}");
    }
    // Nor of another provider, whose bytes are not sent anywhere.
    let other = match held.provider() {
        Provider::AwsKms => Provider::LocalFile,
        Provider::LocalFile | Provider::AzureKeyVault | Provider::Pkcs11 | Provider::Platform => {
            Provider::AwsKms
        }
    };
    let foreign = WrappedKey { provider: other, ..wrapped.clone() };
    let refused = held.unwrap(&of, &foreign).await.unwrap_err();
    assert!(matches!(refused, KmsError::OtherProvider { .. }), "{refused:?}");

    // What is kept reads again, and the canary answers.
    let kept: WrappedKey = serde_json::from_str(&serde_json::to_string(&wrapped).unwrap()).unwrap();
    assert_eq!(kept, wrapped);
    probe(held, &of, &kept).await.unwrap();
    let described = held.describe().await.unwrap();
    assert_eq!(described.state, KeyState::Enabled);
    assert_eq!(described.key, wrapped.key);
    let shown = format!("{held:?} {key:?} {opened:?}");
    assert!(shown.contains("OrganizationKey(..)") && !shown.contains("secret"), "{shown}");
}

/// The customer's store of secrets: what was kept comes back from its place, and is gone when it was dropped.
pub(super) async fn keeps_secrets(held: &dyn CustomerKey) {
    let salt = crate::organization::new_salt().unwrap();
    let name = format!("{}-mrn-1", OrganizationId::generate());
    let place = held.keep_secret(&name, &salt).await.unwrap();
    assert_eq!(held.secret(&place).await.unwrap().reveal(), salt.reveal());
    let other = format!("{}-mrn-2", OrganizationId::generate());
    let second = held.keep_secret(&other, &crate::organization::new_salt().unwrap()).await.unwrap();
    assert_ne!(second, place);
    held.drop_secret(&place).await.unwrap();
    held.drop_secret(&place).await.unwrap();
    let gone = held.secret(&place).await.unwrap_err();
    assert!(gone.trouble().is_some() && !format!("{gone:?}").contains(salt.reveal()), "{gone:?}");
    assert!(held.secret(&second).await.is_ok(), "nobody else's went with it");
}

#[tokio::test]
async fn a_local_file_conforms_and_is_gone_when_it_is_taken_away() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("customer.key");
    let held = LocalFile::open(&path).unwrap();
    conforms(&held).await;
    keeps_secrets(&held).await;
    let wrapped = held.wrap(&context(), &OrganizationKey::generate().unwrap()).await.unwrap();
    std::fs::remove_file(&path).unwrap();
    let refused = held.unwrap(&context(), &wrapped).await.unwrap_err();
    assert!(matches!(refused, KmsError::NoSuchKey { .. }), "{refused:?}");
    assert_eq!(refused.effect(), Effect::Drop);
    assert!(held.wrap(&context(), &OrganizationKey::generate().unwrap()).await.is_err());
}

pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A program of the Python environment, if it is here.
pub(super) fn python(program: &str) -> Option<PathBuf> {
    let path = root().join("target/venv/bin").join(program);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none(), "{program} is not here: testing/setup.sh kms");
    println!("skipped: not here: {program} (testing/setup.sh kms)");
    None
}

/// A program that ends with the test.
pub(super) struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// moto on loopback; it ends with the test.
pub(super) struct Moto {
    _process: Process,
    url: String,
}

impl Moto {
    pub(super) async fn start() -> Option<Self> {
        python("moto_server")?;
        let python = python("python")?;
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let mut command = Command::new(python);
        command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()]);
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let moto = Self { _process: Process(process), url: format!("http://127.0.0.1:{port}") };
        for _ in 0..600 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return Some(moto);
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("moto did not start in a minute");
    }

    fn config(&self, key: &str) -> AwsConfig {
        AwsConfig {
            key: key.to_owned(),
            region: REGION.to_owned(),
            endpoint: Some(self.url.clone()),
            sts_endpoint: Some(self.url.clone()),
            secrets_endpoint: Some(self.url.clone()),
            credentials: AwsCredentials::Static(AwsKeys {
                id: "AKIAIOSFODNN7EXAMPLE".into(),
                secret: api::Secret::new("a secret".to_owned().into()),
                session: None,
                expires: None,
            }),
            role: None,
            ca_file: None,
        }
    }

    fn held(&self, key: &str) -> AwsKms {
        AwsKms::new(self.config(key), clock()).unwrap()
    }

    pub(super) fn judge(&self, ask: Value) -> Value {
        let mut ask = ask;
        ask["endpoint"] = json!(self.url);
        judge(&ask)
    }
}

pub(super) fn clock() -> Clock {
    Arc::new(api::Time::now)
}

/// What boto3 says.
pub(super) fn judge(ask: &Value) -> Value {
    judge_trusting(ask, None)
}

/// What an SDK says that trusts this authority.
fn judge_trusting(ask: &Value, authority: Option<&Path>) -> Value {
    let mut child = Command::new(root().join("target/venv/bin/python"))
        .arg(root().join("testing/kms/judge.py"))
        .envs(authority.map(|file| ("REQUESTS_CA_BUNDLE", file)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(ask.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "the judge failed on {ask}");
    serde_json::from_slice(&output.stdout).unwrap()
}

pub(super) fn pairs(of: &KeyContext) -> Value {
    of.pairs().into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect()
}

#[tokio::test]
async fn aws_kms_conforms_on_moto_and_boto3_opens_what_it_wrapped() {
    let Some(moto) = Moto::start().await else { return };
    let made = moto.judge(json!({"do": "create"}));
    let arn = made["arn"].as_str().unwrap();
    let held = moto.held(arn);
    conforms(&held).await;
    conforms(&moto.held("alias/customer")).await;
    keeps_secrets(&held).await;

    // Each opens what the other wrapped.
    let (of, key) = (context(), OrganizationKey::generate().unwrap());
    let wrapped = held.wrap(&of, &key).await.unwrap();
    assert_eq!(wrapped.key, arn);
    let opened = moto.judge(json!({
        "do": "decrypt", "key": arn, "blob": wrapped.blob, "context": pairs(&of),
    }));
    assert_eq!(opened["plaintext"], json!(api::Bytes(key.expose().to_vec())));
    let theirs = moto.judge(json!({
        "do": "encrypt", "key": arn, "context": pairs(&of),
        "plaintext": api::Bytes(key.expose().to_vec()),
    }));
    let blob: api::Bytes = serde_json::from_value(theirs["blob"].clone()).unwrap();
    let opened = held.unwrap(&of, &WrappedKey { blob, ..wrapped }).await.unwrap();
    assert_eq!(opened.expose(), key.expose());

    // What the customer does to the key is seen; that a real KMS then refuses to open is in the table of refusals.
    for (act, state) in [
        ("disable", KeyState::Disabled),
        ("enable", KeyState::Enabled),
        ("delete", KeyState::PendingDeletion),
    ] {
        moto.judge(json!({"do": act, "key": arn}));
        let described = held.describe().await.unwrap();
        assert_eq!(described.state, state, "{act}");
        assert_eq!(described.deleted_on.is_some(), state == KeyState::PendingDeletion);
    }
    let absent = moto.held(&arn.replace("key/", "key/0"));
    let refused = absent.describe().await.unwrap_err();
    assert!(matches!(refused, KmsError::NoSuchKey { .. }), "{refused:?}");
}

#[tokio::test]
async fn a_customers_role_and_this_machines_token_give_credentials_that_are_kept_until_they_end() {
    let Some(moto) = Moto::start().await else { return };
    let made = moto.judge(json!({"do": "create"}));
    let key = made["arn"].as_str().unwrap();
    let role = "arn:aws:iam::123456789012:role/chorion";
    let seconds = Arc::new(std::sync::atomic::AtomicI64::new(api::Time::now().as_second()));
    let clock: Clock = {
        let seconds = Arc::clone(&seconds);
        Arc::new(move || {
            api::Time::from_second(seconds.load(std::sync::atomic::Ordering::SeqCst)).unwrap()
        })
    };
    let assumed = AwsConfig {
        role: Some(AwsRole { arn: role.into(), external_id: "org-1".into() }),
        ..moto.config(key)
    };
    let assumed = AwsKms::new(assumed, Arc::clone(&clock)).unwrap();
    conforms(&assumed).await;
    // Beyond their end they are asked for again.
    seconds.fetch_add(3600, std::sync::atomic::Ordering::SeqCst);
    conforms(&assumed).await;

    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, "a.b.c\n").unwrap();
    let credentials =
        AwsCredentials::WebIdentity { role: role.into(), token_file: token_file.clone() };
    let by_token = || AwsConfig { credentials: credentials.clone(), ..moto.config(key) };
    conforms(&AwsKms::new(by_token(), Arc::clone(&clock)).unwrap()).await;
    std::fs::remove_file(&token_file).unwrap();
    let refused = AwsKms::new(by_token(), clock).unwrap().describe().await.unwrap_err();
    assert!(matches!(refused, KmsError::Credentials { .. }), "{refused:?}");
}

#[tokio::test]
async fn a_service_that_is_away_is_no_denial() {
    let config = |endpoint: &str, region: &str, key: &str| AwsConfig {
        key: key.to_owned(),
        region: region.to_owned(),
        endpoint: Some(endpoint.to_owned()),
        sts_endpoint: None,
        secrets_endpoint: None,
        credentials: AwsCredentials::Static(AwsKeys {
            id: "A".into(),
            secret: api::Secret::new("s".to_owned().into()),
            session: None,
            expires: None,
        }),
        role: None,
        ca_file: None,
    };
    let nobody = AwsKms::new(config("http://127.0.0.1:1", REGION, "alias/a"), clock()).unwrap();
    let away = nobody.describe().await.unwrap_err();
    assert!(matches!(away, KmsError::Away(_)), "{away:?}");
    assert_eq!(away.effect(), Effect::Hold);
    for (endpoint, region, key) in [
        ("http://kms.example", REGION, "alias/a"),
        ("https://kms.example", "eu central", "alias/a"),
        ("https://kms.example", REGION, "alias/a b"),
        ("https://kms.example", REGION, "arn:aws:kms:us-east-1:1:key/k"),
    ] {
        let refused = AwsKms::new(config(endpoint, region, key), clock()).unwrap_err();
        assert!(matches!(refused, KmsError::Configuration(_)), "{endpoint} {region} {key}");
    }
}

#[test]
fn botocore_signs_as_we_do() {
    if python("python").is_none() || python("moto_server").is_none() {
        return;
    }
    let signed = judge(&json!({"do": "sign", "count": 500}));
    let signed = signed.as_array().unwrap();
    assert_eq!(signed.len(), 500);
    for one in signed {
        let text = |name: &str| one[name].as_str().unwrap().to_owned();
        let headers: Vec<(String, String)> =
            serde_json::from_value(one["headers"].clone()).unwrap();
        let ours = super::aws::signature_for_tests(
            &AwsKeys {
                id: text("id"),
                secret: api::Secret::new(text("secret").into()),
                session: None,
                expires: None,
            },
            &text("region"),
            &text("service"),
            &headers,
            text("body").as_bytes(),
            &text("date"),
        );
        assert_eq!(ours, text("authorization"), "{one}");
    }
}

/// A stand-in of `testing/kms`, and its port.
pub(super) fn stand_in(name: &str, words: &[PathBuf]) -> (Process, u16) {
    use std::io::{BufRead, BufReader};
    let mut command = Command::new(root().join("target/venv/bin/python"));
    command.arg(root().join("testing/kms").join(name)).args(words).stdout(Stdio::piped());
    let mut process = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (Process(process), line.trim().parse().unwrap())
}

/// A certificate with an RSA key, both in one file.
fn rsa_certificate() -> String {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let parameters = rcgen::CertificateParams::new(["application".to_owned()]).unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    format!("{}{}", certificate.pem(), key.serialize_pem())
}

/// The stand-in for Azure Key Vault, with a certificate authority of its own; it ends with the test.
pub(super) struct Vault {
    _process: Process,
    folder: tempfile::TempDir,
    port: u16,
}

const VAULT: &str = "clinic.vault.stand-in.test";
const LOGIN: &str = "login.vault.stand-in.test";

impl Vault {
    pub(super) fn start() -> Option<Self> {
        python("moto_server")?;
        python("python")?;
        let folder = tempfile::tempdir().unwrap();
        let names = [VAULT, LOGIN, "localhost"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let file = |name: &str| folder.path().join(name);
        std::fs::write(file("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(file("key.pem"), made.signing_key.serialize_pem()).unwrap();
        // What the tenant knows the application by, where it has no secret.
        let made = rsa_certificate();
        std::fs::write(file("application.pem"), &made).unwrap();
        let files = [file("cert.pem"), file("key.pem"), file("application.pem")];
        let (process, port) = stand_in("key_vault.py", &files);
        Some(Self { _process: process, folder, port })
    }

    pub(super) fn certificate(&self) -> AzureCredentials {
        let pem = std::fs::read_to_string(self.folder.path().join("application.pem")).unwrap();
        AzureCredentials::Certificate(api::Secret::new(pem.into()))
    }

    pub(super) fn config(&self) -> AzureConfig {
        AzureConfig {
            key: format!("https://{VAULT}:{}/keys/customer", self.port),
            tenant: "a-tenant".into(),
            client_id: "an-application".into(),
            credentials: AzureCredentials::Secret(api::Secret::new("a secret".to_owned().into())),
            login: Some(format!("https://{LOGIN}:{}", self.port)),
            operations: AzureOperations::Wrap,
            ca_file: None,
        }
    }

    fn client(&self) -> reqwest::Client {
        let here = std::net::SocketAddr::from(([127, 0, 0, 1], self.port));
        let authority = self.folder.path().join("cert.pem");
        client_with(Some(&authority), &[(VAULT, here), (LOGIN, here)]).unwrap()
    }

    pub(super) fn held_by(&self, config: AzureConfig) -> AzureKeyVault {
        AzureKeyVault::with_client(config, self.client(), clock()).unwrap()
    }

    pub(super) fn held(&self) -> AzureKeyVault {
        self.held_by(self.config())
    }

    /// Sets what the stand-in does wrong from now on, and gives what it was asked so far.
    pub(super) async fn set(&self, faults: Value) -> Value {
        let url = format!("https://{VAULT}:{}/stand-in", self.port);
        let answer = self.client().post(url).body(faults.to_string()).send().await.unwrap();
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }

    /// What Azure's own SDK says.
    pub(super) async fn judge(&self, ask: Value) -> Value {
        let (mut ask, authority) = (ask, self.folder.path().join("cert.pem"));
        ask["do"] = json!("azure");
        ask["port"] = json!(self.port);
        tokio::task::spawn_blocking(move || judge_trusting(&ask, Some(&authority))).await.unwrap()
    }
}

#[tokio::test]
async fn azure_key_vault_conforms_and_azures_sdk_opens_what_it_wrapped() {
    let Some(vault) = Vault::start() else { return };
    let held = vault.held();
    conforms(&held).await;
    keeps_secrets(&held).await;
    let encrypting = AzureConfig { operations: AzureOperations::Encrypt, ..vault.config() };
    conforms(&vault.held_by(encrypting)).await;

    let (of, key) = (context(), OrganizationKey::generate().unwrap());
    let wrapped = held.wrap(&of, &key).await.unwrap();
    let version = wrapped.key.rsplit('/').next().unwrap().to_owned();
    let opened = vault.judge(json!({"blob": wrapped.blob, "version": version})).await;
    let opened: api::Bytes = serde_json::from_value(opened["plaintext"].clone()).unwrap();
    assert_eq!((opened.0.len(), &opened.0[..32]), (64, &key.expose()[..]));
    let theirs = vault.judge(json!({"plaintext": opened})).await;
    let blob: api::Bytes = serde_json::from_value(theirs["blob"].clone()).unwrap();
    let again = held.unwrap(&of, &WrappedKey { blob, ..wrapped.clone() }).await.unwrap();
    assert_eq!(again.expose(), key.expose());

    // A new version wraps; what an old one wrapped is asked of the old one.
    vault.set(json!({"rotate": true})).await;
    let newer = held.wrap(&of, &key).await.unwrap();
    assert_ne!(newer.key, wrapped.key);
    for one in [&wrapped, &newer] {
        assert_eq!(held.unwrap(&of, one).await.unwrap().expose(), key.expose());
    }
    // A key of another vault is not asked for, wherever its address leads.
    for elsewhere in
        ["https://evil.example/keys/customer/1", "https://clinic.vault.stand-in.test/keys/customer"]
    {
        let foreign = WrappedKey { key: elsewhere.to_owned(), ..wrapped.clone() };
        let refused = held.unwrap(&of, &foreign).await.unwrap_err();
        assert!(matches!(refused, KmsError::DoesNotOpen { .. }), "{refused:?}");
    }
}

#[tokio::test]
async fn a_key_in_azure_serves_an_application_with_a_certificate_and_a_managed_hsm_wraps_by_aes() {
    let Some(vault) = Vault::start() else { return };
    let by_certificate = AzureConfig { credentials: vault.certificate(), ..vault.config() };
    conforms(&vault.held_by(by_certificate.clone())).await;
    // Another certificate is another application; a clock that is wrong is no denial.
    let other = AzureCredentials::Certificate(api::Secret::new(rsa_certificate().into()));
    let other = vault.held_by(AzureConfig { credentials: other, ..vault.config() });
    let refused = other.describe().await.unwrap_err();
    assert!(refused.to_string().contains("certificate is not known"), "{refused}");
    vault.set(json!({"skew": -3600})).await;
    let early = vault.held_by(by_certificate.clone()).describe().await.unwrap_err();
    assert!(matches!(early, KmsError::Clock), "{early:?}");
    vault.set(json!({})).await;
    let secret = api::Secret::new("no certificate".to_owned().into());
    let credentials = AzureCredentials::Certificate(secret);
    let config = AzureConfig { credentials, ..vault.config() };
    let refused = AzureKeyVault::with_client(config, vault.client(), clock()).unwrap_err();
    assert!(matches!(refused, KmsError::Configuration(_)), "{refused:?}");
    assert!(!format!("{refused:?}").contains("no certificate\""), "{refused:?}");

    let hsm = AzureConfig {
        key: format!("https://{VAULT}:{}/keys/customer-hsm", vault.port),
        ..vault.config()
    };
    let found = vault.held_by(hsm.clone()).choose(&context()).await.unwrap();
    assert_eq!(found, AzureOperations::KeyWrap);
    conforms(&vault.held_by(AzureConfig { operations: found, ..hsm })).await;
    assert!(vault.held().describe().await.unwrap().purgeable, "purge protection is off there");
}

#[tokio::test]
async fn set_up_in_azure_finds_the_acts_that_are_granted_and_names_what_is_wrong() {
    let Some(vault) = Vault::start() else { return };
    let of = context();
    assert_eq!(vault.held().choose(&of).await.unwrap(), AzureOperations::Wrap);
    vault.set(json!({"forbidden": ["wrapkey", "unwrapkey"]})).await;
    assert_eq!(vault.held().choose(&of).await.unwrap(), AzureOperations::Encrypt);
    vault.set(json!({"forbidden": ["unwrapkey"]})).await;
    assert_eq!(vault.held().choose(&of).await.unwrap(), AzureOperations::Encrypt);
    vault.set(json!({"forbidden": ["wrapkey", "encrypt"]})).await;
    let neither = vault.held().choose(&of).await.unwrap_err();
    assert!(neither.to_string().contains("may not wrapkey"), "{neither}");
    vault.set(json!({})).await;

    let wrong = |change: fn(&mut AzureConfig)| {
        let mut config = vault.config();
        change(&mut config);
        vault.held_by(config)
    };
    let secret = |config: &mut AzureConfig| {
        let another = api::Secret::new("another".to_owned().into());
        config.credentials = AzureCredentials::Secret(another);
    };
    for (held, words) in [
        (wrong(secret), "the application's secret is wrong"),
        (wrong(|config| config.client_id = "another".into()), "does not know this application"),
        (wrong(|config| config.tenant = "another".into()), "belongs to another tenant"),
        (wrong(|config| config.key.push_str("/abc")), "there is no key"),
        (wrong(|config| config.key.push('s')), "there is no key"),
    ] {
        let refused = held.describe().await.unwrap_err();
        assert!(refused.to_string().contains(words), "{refused}");
        assert_eq!(refused.effect(), Effect::Drop);
        assert!(!format!("{refused:?} {held:?}").contains("another secret"));
    }
    vault.set(json!({"secret": 7_000_222})).await;
    let expired = vault.held().describe().await.unwrap_err();
    assert!(expired.to_string().contains("the application's secret has expired"), "{expired}");
    for key in
        ["https://clinic.vault.azure.net", "https://clinic.vault.azure.net/secrets/a", "clinic"]
    {
        let config = AzureConfig { key: key.to_owned(), ..vault.config() };
        let refused = AzureKeyVault::with_client(config, vault.client(), clock()).unwrap_err();
        assert!(matches!(refused, KmsError::Configuration(_)), "{key}: {refused}");
    }
}

#[tokio::test]
async fn a_false_vault_gets_neither_the_token_nor_the_secret() {
    let Some(vault) = Vault::start() else { return };
    for fault in [
        json!({"resource": "https://vault.azure.net"}),
        json!({"resource": "https://in.test"}),
        json!({"resource": "http://vault.stand-in.test"}),
        json!({"login": "https://evil.example/a-tenant"}),
        json!({"login": format!("https://{LOGIN}:{}/another", vault.port)}),
    ] {
        vault.set(fault.clone()).await;
        vault.held().describe().await.unwrap_err();
        let tokens = vault.set(json!({})).await["tokens"].clone();
        assert_eq!(tokens, 0, "{fault}: nobody was given a token, so nobody was shown the secret");
    }
    vault.held().describe().await.unwrap();
}
