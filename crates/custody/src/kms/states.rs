//! What a customer or a service does to a key, on every provider: what is said of it, and that all is as before when it is undone.
//!
//! The table is that of `spec/organization-keys.md`, section 9, read from the page: each of its cells is tried here, so the page cannot say
//! what is not so. AWS and Azure are the stand-ins of `testing/kms`, which the clouds' own SDKs walk through too.

use std::time::Duration;

use serde_json::{Value, json};

use super::aws::{AwsConfig, AwsCredentials, AwsKeys, AwsKms, AwsRole};
use super::conformance::{
    Moto, Process, REGION, Vault, clock, conforms, context, judge, keeps_secrets, root, stand_in,
};
use super::{
    CustomerKey, Effect, KeyContext, KmsError, LocalFile, OrganizationKey, WrappedKey, probe,
};

const ROLE: &str = "arn:aws:iam::123456789012:role/chorion";

/// What the page says of each case, for one provider: the case, and a word.
pub(super) fn said_of(provider: &str) -> Vec<(String, String)> {
    let page = std::fs::read_to_string(root().join("spec/organization-keys.md")).unwrap();
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let mut rows = page.lines().skip_while(|line| !line.starts_with("| what is done |"));
    let heading = cells(rows.next().expect("the page has the table"));
    let column = heading.iter().position(|name| name == provider).expect("it has the provider");
    let rows = rows.skip(1).take_while(|line| line.starts_with('|')).map(cells);
    rows.map(|row| (row[0].clone(), row[column].trim_matches('`').to_owned())).collect()
}

/// What is said of a key now, in the words of the page.
pub(super) async fn word(held: &dyn CustomerKey, of: &KeyContext, wrapped: &WrappedKey) -> String {
    let Err(error) = probe(held, of, wrapped).await else { return "serves".to_owned() };
    let word = match (error.trouble(), &error) {
        (Some(trouble), _) => {
            assert_eq!(error.effect(), Effect::Drop, "{error}");
            let Value::String(word) = json!(trouble) else { panic!("{error}") };
            return word;
        }
        (_, KmsError::Throttled { .. }) => "throttled",
        (_, KmsError::Away(_)) => "away",
        (_, KmsError::Clock) => "clock",
        _ => panic!("{error:?}"),
    };
    assert_eq!(error.effect(), Effect::Hold, "{error}");
    word.to_owned()
}

/// The stand-in for AWS; it ends with the test.
struct Aws {
    _process: Process,
    url: String,
    key: String,
}

impl Aws {
    async fn start() -> Option<Self> {
        super::conformance::python("moto_server")?;
        let (process, port) = stand_in("aws.py", &[]);
        let mut aws =
            Self { _process: process, url: format!("http://127.0.0.1:{port}"), key: String::new() };
        let made = aws.tell(json!({"make": "customer"})).await;
        made["arn"].as_str().unwrap().clone_into(&mut aws.key);
        aws.tell(json!({"role": [ROLE, "org-1"]})).await;
        Some(aws)
    }

    async fn tell(&self, what: Value) -> Value {
        let url = format!("{}/stand-in", self.url);
        let answer = super::http::client(None)
            .unwrap()
            .post(url)
            .body(what.to_string())
            .send()
            .await
            .unwrap();
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }

    fn config(&self) -> AwsConfig {
        AwsConfig {
            key: self.key.clone(),
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
            role: Some(AwsRole { arn: ROLE.into(), external_id: "org-1".into() }),
            ca_file: None,
        }
    }
}

/// What is told to AWS's stand-in for a case, and what undoes it.
fn in_aws(case: &str, key: &str) -> Option<(Value, Value)> {
    let state = |state: &str| (json!({"state": [key, state]}), json!({"state": [key, "Enabled"]}));
    let fault = |fault: Value| (json!({"faults": fault}), json!({"faults": {}}));
    Some(match case {
        "the key is disabled" => state("Disabled"),
        "its deletion is scheduled" => state("PendingDeletion"),
        "its material is gone" => state("PendingImport"),
        "the right to use it is taken away" => fault(json!({"denied": ["Encrypt", "Decrypt"]})),
        "the grant is revoked" => (json!({"revoke": [key, true]}), json!({"revoke": [key, false]})),
        "the access key or the token is revoked" => fault(json!({"revoked": true})),
        "the credentials have expired" => fault(json!({"expired": true})),
        "too many calls" => fault(json!({"throttled": true})),
        "the service fails" => fault(json!({"away": true})),
        "it does not answer in time" => fault(json!({"slow": 30})),
        "its answer breaks off" => fault(json!({"cut": true})),
        "its clock is another" => fault(json!({"skew": -3600})),
        _ => return None,
    })
}

/// What is told to Azure's for a case; `{}` undoes it.
fn in_azure(case: &str) -> Option<Value> {
    Some(match case {
        "the key is disabled" => json!({"disabled": true}),
        "it is deleted, and can be recovered" => json!({"deleted": "soft"}),
        "a key of its name is deleted" => json!({"exists": true}),
        "it is purged" => json!({"deleted": "purged"}),
        "its time is over" => json!({"expired": true}),
        "the version that wrapped is disabled" => json!({"old": true, "rotate": true}),
        "the right to use it is taken away" => json!({"forbidden": ["wrapkey", "unwrapkey"]}),
        "the access key or the token is revoked" => json!({"revoked": true}),
        "too many calls" => json!({"throttled": true}),
        "the service fails" => json!({"away": true}),
        "it does not answer in time" => json!({"slow": 30}),
        "its answer breaks off" => json!({"cut": true}),
        _ => return None,
    })
}

#[tokio::test]
async fn what_is_done_to_a_key_in_aws_is_told_as_the_page_says() {
    let Some(aws) = Aws::start().await else { return };
    let held = AwsKms::new(aws.config(), clock()).unwrap();
    conforms(&held).await;
    keeps_secrets(&held).await;
    let of = context();
    let wrapped = held.wrap(&of, &OrganizationKey::generate().unwrap()).await.unwrap();
    for (case, said) in said_of("AWS KMS") {
        let Some((told, undone)) = in_aws(&case, &aws.key) else {
            assert!(
                said == "–" || case == "it is purged" || is_of_credentials(&case),
                "{case}: {said}"
            );
            continue;
        };
        aws.tell(told).await;
        assert_eq!(word(&held, &of, &wrapped).await, said, "{case}");
        aws.tell(undone).await;
        assert_eq!(word(&held, &of, &wrapped).await, "serves", "after: {case}");
    }
    // A wrong secret, another organization's role, and a key that is no more.
    let mut wrong = aws.config();
    wrong.role = None;
    wrong.credentials = AwsCredentials::Static(AwsKeys {
        id: "AKIAIOSFODNN7EXAMPLE".into(),
        secret: api::Secret::new("another".to_owned().into()),
        session: None,
        expires: None,
    });
    let wrong = AwsKms::new(wrong, clock()).unwrap();
    assert_eq!(word(&wrong, &of, &wrapped).await, said("AWS KMS", "the secret is wrong"));
    let role = Some(AwsRole { arn: ROLE.into(), external_id: "org-2".into() });
    let other = AwsKms::new(AwsConfig { role, ..aws.config() }, clock()).unwrap();
    assert_eq!(word(&other, &of, &wrapped).await, "denied", "the external id is another's");
    aws.tell(json!({"state": [aws.key, "Deleted"]})).await;
    assert_eq!(word(&held, &of, &wrapped).await, said("AWS KMS", "it is purged"));
}

/// Cases that are about another caller than the one the others are tried with.
fn is_of_credentials(case: &str) -> bool {
    case == "the secret is wrong"
}

fn said(provider: &str, case: &str) -> String {
    let rows = said_of(provider);
    rows.into_iter().find(|(name, _)| name == case).expect("the page has the case").1
}

#[tokio::test]
async fn what_is_done_to_a_key_in_azure_is_told_as_the_page_says() {
    let Some(vault) = Vault::start() else { return };
    let of = context();
    let provider = "Azure Key Vault";
    for (case, said) in said_of(provider) {
        let held = vault.held();
        let wrapped = held.wrap(&of, &OrganizationKey::generate().unwrap()).await.unwrap();
        let Some(told) = in_azure(&case) else {
            let by_others = ["the credentials have expired", "its clock is another"];
            let elsewhere = is_of_credentials(&case) || by_others.contains(&&*case);
            assert!(said == "–" || elsewhere, "{case}: {said}");
            continue;
        };
        vault.set(told).await;
        assert_eq!(word(&held, &of, &wrapped).await, said, "{case}");
        vault.set(json!({})).await;
        assert_eq!(word(&held, &of, &wrapped).await, "serves", "after: {case}");
    }
    let of_credentials = async |fault: Value, change: &dyn Fn(&mut super::azure::AzureConfig)| {
        let wrapped = vault.held().wrap(&of, &OrganizationKey::generate().unwrap()).await.unwrap();
        vault.set(fault).await;
        let mut config = vault.config();
        change(&mut config);
        let word = word(&vault.held_by(config), &of, &wrapped).await;
        vault.set(json!({})).await;
        word
    };
    let expired = of_credentials(json!({"secret": 7_000_222}), &|_| {}).await;
    assert_eq!(expired, said(provider, "the credentials have expired"));
    let another = |config: &mut super::azure::AzureConfig| {
        let another = api::Secret::new("another".to_owned().into());
        config.credentials = super::azure::AzureCredentials::Secret(another);
    };
    let wrong = of_credentials(json!({}), &another).await;
    assert_eq!(wrong, said(provider, "the secret is wrong"));
    let by_certificate =
        |config: &mut super::azure::AzureConfig| config.credentials = vault.certificate();
    let skewed = of_credentials(json!({"skew": -3600}), &by_certificate).await;
    assert_eq!(skewed, said(provider, "its clock is another"));
    // How long to wait is what the vault asks for.
    let held = vault.held();
    let wrapped = held.wrap(&of, &OrganizationKey::generate().unwrap()).await.unwrap();
    vault.set(json!({"throttled": true})).await;
    let KmsError::Throttled { after } = held.unwrap(&of, &wrapped).await.unwrap_err() else {
        panic!("it is throttled");
    };
    assert_eq!(after, Some(Duration::from_secs(2)));
}

#[tokio::test]
async fn what_is_done_to_a_local_file_is_told_as_the_page_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("customer");
    let held = LocalFile::open(&path).unwrap();
    let of = context();
    let wrapped = held.wrap(&of, &OrganizationKey::generate().unwrap()).await.unwrap();
    for (case, said) in said_of("local file") {
        if case == "it is purged" {
            std::fs::rename(&path, folder.path().join("away")).unwrap();
            assert_eq!(word(&held, &of, &wrapped).await, said, "{case}");
            std::fs::rename(folder.path().join("away"), &path).unwrap();
            assert_eq!(word(&held, &of, &wrapped).await, "serves", "after: {case}");
        } else {
            assert_eq!(said, "–", "{case}");
        }
    }
}

#[tokio::test]
async fn boto3_walks_through_the_stand_in_as_through_moto_but_where_moto_forgives() {
    let (Some(aws), Some(moto)) = (Aws::start().await, Moto::start().await) else { return };
    let ours = judge(&json!({"do": "walk", "endpoint": aws.url}));
    let theirs = moto.judge(json!({"do": "walk"}));
    let (ours, theirs) = (ours.as_array().unwrap(), theirs.as_array().unwrap());
    assert_eq!(ours.len(), theirs.len());
    assert!(ours.len() > 35, "the walk was cut: {}", ours.len());
    let other: Vec<_> = ours.iter().zip(theirs).filter(|(one, other)| one != other).collect();
    let other: Vec<_> = other.iter().map(|(one, _)| (&one[0], &one[1])).collect();
    // By AWS's documentation, each of these is as the stand-in has it.
    let stricter = [
        ("decrypt with another key", "IncorrectKeyException"),
        ("dry run", "DryRunOperationException"),
        ("decrypt, disabled (Disabled)", "DisabledException"),
        ("decrypt, to be deleted (PendingDeletion)", "KMSInvalidStateException"),
        ("decrypt, deletion cancelled (Disabled)", "DisabledException"),
        ("encrypt without material", "KMSInvalidStateException"),
        ("encrypt, grant revoked", "AccessDeniedException"),
        ("ask with a wrong secret", "InvalidSignatureException"),
    ];
    let stricter = stricter.map(|(step, code)| (json!(step), json!(code)));
    assert_eq!(other, stricter.iter().map(|(step, code)| (step, code)).collect::<Vec<_>>());
}

#[tokio::test]
async fn azures_sdk_walks_through_the_stand_in_to_a_purged_key() {
    let Some(vault) = Vault::start() else { return };
    let came = vault.judge(json!({"walk": true})).await;
    let came = came.as_array().unwrap();
    let refused: Vec<_> = came.iter().filter(|step| step[1] != "done").collect();
    assert_eq!(came.len(), 13);
    let gone = [
        "get what is deleted",
        "unwrap with what is deleted",
        "recover what is purged",
        "unwrap with what is purged",
    ];
    assert_eq!(refused, gone.map(|step| json!([step, "KeyNotFound"])).iter().collect::<Vec<_>>());
}
