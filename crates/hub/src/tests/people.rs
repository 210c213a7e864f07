//! Enrolment, invitations, keys and accounts.

use api::{ErrorCode, Invitation, Key, Page, Whoami};
use serde_json::json;

use crate::data;
use crate::data::browsers::{Browser, Way};
use crate::testing::{TestHub, signing_key};

#[tokio::test]
async fn the_code_of_the_first_start_makes_one_operator_and_then_counts_no_more() {
    let hub = TestHub::start().await;
    let code = hub.code.clone().unwrap();
    let key = signing_key();
    let who: Whoami = hub.enrol(&key, &code, " Ada ").await.ok();
    assert!(who.account.operator);
    assert_eq!((who.account.name.as_str(), who.key.id), ("Ada", key.public().id()));
    assert_eq!(hub.enrol(&signing_key(), &code, "Eve").await.code(), ErrorCode::BadCode);
    let same: Whoami = hub.get(&key, "/api/v1/whoami").await.ok();
    assert_eq!(same.account, who.account);
    let hub = hub.restart().await;
    assert_eq!(hub.code, None);
}

#[tokio::test]
async fn a_new_start_without_an_operator_replaces_the_code() {
    let hub = TestHub::start().await;
    let first = hub.code.clone().unwrap();
    let hub = hub.restart().await;
    let second = hub.code.clone().unwrap();
    assert_ne!(first, second);
    assert_eq!(hub.enrol(&signing_key(), &first, "Eve").await.code(), ErrorCode::BadCode);
    hub.enrol(&signing_key(), &second.to_lowercase(), "Ada").await.ok::<Whoami>();
}

#[tokio::test]
async fn a_code_expires() {
    let hub = TestHub::start().await;
    hub.pass(72 * 3600);
    let code = hub.code.clone().unwrap();
    assert_eq!(hub.enrol(&signing_key(), &code, "late").await.code(), ErrorCode::BadCode);
}

#[tokio::test]
async fn an_enrolment_that_is_refused_does_not_use_up_the_code() {
    let hub = TestHub::start().await;
    let code = hub.code.clone().unwrap();
    assert_eq!(hub.enrol(&signing_key(), &code, "").await.code(), ErrorCode::BadRequest);
    hub.enrol(&signing_key(), &code, "Ada").await.ok::<Whoami>();
}

#[tokio::test]
async fn an_enrolment_is_signed_by_the_key_it_enrols() {
    let hub = TestHub::start().await;
    let (mine, other) = (signing_key(), signing_key());
    let body = json!({
        "code": hub.code, "account_name": "Ada", "key_name": "laptop",
        "public_key": api::Bytes(other.public().to_bytes().to_vec()),
    });
    let refused = hub.call(&mine, "POST", "/api/v1/enrol", body).await;
    assert_eq!(refused.code(), ErrorCode::BadSignature);
}

#[tokio::test]
async fn a_code_is_kept_as_its_hash_alone() {
    let hub = TestHub::start().await;
    let code = hub.code.clone().unwrap();
    hub.hub.db.forget().await.unwrap();
    let bytes = std::fs::read(hub.directory().join("data/hub.db")).unwrap();
    assert!(!contains(&bytes, code.as_bytes()));
    let hash = proof::sha256(code.as_bytes()).to_string();
    assert!(contains(&bytes, hash.as_bytes()));
}

pub(super) fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

#[tokio::test]
async fn operators_invite_and_others_do_not() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let invited: Invitation =
        hub.call(&operator.key, "POST", "/api/v1/accounts", json!({"name": "Grace"})).await.ok();
    let key = signing_key();
    let who: Whoami = hub.enrol(&key, &invited.code, "not Grace").await.ok();
    assert_eq!((who.account.name.as_str(), who.account.operator), ("Grace", false));
    assert_eq!(hub.enrol(&signing_key(), &invited.code, "").await.code(), ErrorCode::BadCode);

    let refused = hub.call(&key, "POST", "/api/v1/accounts", json!({"name": "Eve"})).await;
    assert_eq!(refused.code(), ErrorCode::Forbidden);
    assert_eq!(hub.get(&key, "/api/v1/accounts").await.code(), ErrorCode::Forbidden);
    let all: Page<api::Account> = hub.get(&operator.key, "/api/v1/accounts").await.ok();
    assert_eq!(all.items.len(), 2);
}

#[tokio::test]
async fn a_revoked_key_is_unknown_at_the_next_call_and_never_enrols_again() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let second = signing_key();
    let add = json!({
        "kind": "person", "name": "phone",
        "public_key": api::Bytes(second.public().to_bytes().to_vec()),
    });
    let added: Key = hub.call(&operator.key, "POST", "/api/v1/keys", &add).await.ok();
    // The same call again is a success.
    let again: Key = hub.call(&operator.key, "POST", "/api/v1/keys", &add).await.ok();
    assert_eq!(added, again);
    hub.get(&second, "/api/v1/whoami").await.ok::<Whoami>();

    let path = format!("/api/v1/keys/{}", added.id);
    let revoked: Key = hub.call(&operator.key, "DELETE", &path, ()).await.ok();
    assert!(revoked.revoked.is_some());
    assert_eq!(hub.get(&second, "/api/v1/whoami").await.code(), ErrorCode::UnknownKey);
    let back = hub.call(&operator.key, "POST", "/api/v1/keys", &add).await;
    assert_eq!(back.code(), ErrorCode::Conflict);
    let keys: Page<Key> = hub.get(&operator.key, "/api/v1/keys").await.ok();
    assert_eq!(keys.items.iter().filter(|key| key.revoked.is_some()).count(), 1);
}

#[tokio::test]
async fn a_disabled_account_is_nobody_at_its_next_call() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let person = hub.person(&operator, "Grace").await;
    let path = format!("/api/v1/accounts/{}/disable", person.account);
    assert_eq!(hub.call(&person.key, "POST", &path, ()).await.code(), ErrorCode::Forbidden);
    hub.call(&operator.key, "POST", &path, ()).await.ok::<api::Account>();
    assert_eq!(hub.get(&person.key, "/api/v1/whoami").await.code(), ErrorCode::UnknownKey);
    // The hub is never left without an operator by a slip.
    let own = format!("/api/v1/accounts/{}/disable", operator.account);
    assert_eq!(hub.call(&operator.key, "POST", &own, ()).await.code(), ErrorCode::Conflict);
}

#[tokio::test]
async fn an_instruments_key_sends_runs_and_nothing_else() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let project = hub.project(&operator, "runs").await;
    let instrument = hub.instrument(&operator).await;
    hub.get(&instrument, "/api/v1/whoami").await.ok::<Whoami>();
    hub.get(&instrument, &format!("/api/v1/projects/{project}/card"))
        .await
        .ok::<api::SignedStatement>();
    let project_path = format!("/api/v1/projects/{project}");
    let refused = [
        ("GET", "/api/v1/keys".to_owned(), json!(null)),
        ("GET", "/api/v1/accounts".to_owned(), json!(null)),
        ("GET", "/api/v1/projects".to_owned(), json!(null)),
        ("GET", "/api/v1/audit/events".to_owned(), json!(null)),
        ("GET", format!("{project_path}/members"), json!(null)),
        ("DELETE", project_path, json!({"confirm": project})),
    ];
    for (method, path, body) in refused {
        let answer = hub.call(&instrument, method, &path, body).await;
        assert_eq!(answer.code(), ErrorCode::Forbidden, "{method} {path}");
    }
}

#[tokio::test]
async fn an_operator_with_a_password_and_no_key_runs_the_hub_all_the_same() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let body = json!({"sign_in_name": "operator", "password": "copper vein harbour seven"});
    let set = hub.call(&operator.key, "PUT", "/api/v1/account/password", body).await;
    assert!(set.status.is_success());
    let path = format!("/api/v1/keys/{}", operator.key.public().id());
    hub.call(&operator.key, "DELETE", &path, ()).await.ok::<Key>();
    let hub = hub.restart().await;
    assert_eq!(hub.code, None, "nobody is let in as a first operator");
}

#[tokio::test]
async fn an_instrument_is_nobody_who_signs_in() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let made: api::InstrumentInvitation = hub
        .call(&operator.key, "POST", "/api/v1/instruments", json!({"name": "NovaSeq 1"}))
        .await
        .ok();
    let account = made.instrument.id.account();
    let now = hub.hub.now();
    let (hash, before) = (proof::sha256(b"a cookie"), api::Time::UNIX_EPOCH);
    let browser = Browser {
        id: uuid::Uuid::new_v4(),
        account,
        way: Way::Code,
        agent: String::new(),
        address: None,
        created: now,
        proved: now,
        seen: now,
    };
    let mut tx = hub.hub.db.write().await.unwrap();
    assert!(data::accounts::is_in_force(&mut tx, operator.account).await.unwrap());
    assert!(!data::accounts::is_in_force(&mut tx, account).await.unwrap());
    data::browsers::insert(&mut tx, hash, &browser).await.unwrap();
    let found = data::browsers::find(&mut tx, hash, before, before).await.unwrap();
    assert!(found.is_none());
}
