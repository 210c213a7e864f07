//! Keys that may less than their account: what they find, what they may, and when they end.

use api::{Dataset, DatasetKind, ErrorCode, Key, KeyLimit, Page, Project, Right};
use proof::SigningKey;
use serde_json::{Value, json};

use super::material::sent;
use crate::testing::{Answer, Person, TestHub, signing_key};

/// Adds a new key of this person with a limit.
async fn add(hub: &TestHub, person: &Person, limit: &KeyLimit) -> (SigningKey, Answer) {
    let key = signing_key();
    let body = json!({
        "kind": "person", "name": "a script",
        "public_key": api::Bytes(key.public().to_bytes().to_vec()),
        "limit": limit,
    });
    let answer = hub.call(&person.key, "POST", "/api/v1/keys", body).await;
    (key, answer)
}

fn scope(scope: Right) -> KeyLimit {
    KeyLimit { projects: None, scope, expires: None }
}

#[tokio::test]
async fn a_key_that_is_limited_to_a_project_finds_nothing_of_the_others() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let (mine, other) = (hub.project(&ada, "mine").await, hub.project(&ada, "other").await);
    let reads: &[(&str, &[u8])] = &[("a.txt", b"ACGT")];
    let here = sent(&hub, &ada.key, mine, DatasetKind::App, reads).await;
    let there = sent(&hub, &ada.key, other, DatasetKind::App, reads).await;
    let limit = KeyLimit { projects: Some(vec![mine]), ..scope(Right::Read) };
    let key = hub.limited(&ada, &limit).await;

    let projects: Page<Project> = hub.get(&key, "/api/v1/projects").await.ok();
    assert_eq!(
        projects.items.iter().map(|p| (p.id, p.right)).collect::<Vec<_>>(),
        [(mine, Right::Read)]
    );
    let shown: Project = hub.get(&key, &format!("/api/v1/projects/{mine}")).await.ok();
    assert_eq!(shown.right, Right::Read);
    let datasets: Page<Dataset> = hub.get(&key, "/api/v1/datasets").await.ok();
    assert_eq!(datasets.items.iter().map(|d| d.id).collect::<Vec<_>>(), [here.dataset()]);
    for path in [
        format!("/api/v1/projects/{other}"),
        format!("/api/v1/projects/{other}/card"),
        format!("/api/v1/datasets/{}", there.dataset()),
        format!("/api/v1/datasets/{}/manifest", there.dataset()),
    ] {
        assert_eq!(hub.get(&key, &path).await.code(), ErrorCode::NotFound, "{path}");
    }
    hub.get(&key, &format!("/api/v1/datasets/{}/manifest", here.dataset()))
        .await
        .ok::<api::SignedStatement>();
    // When its project is gone, the key finds none: it does not grow into the others.
    let confirm = json!({"confirm": mine});
    hub.call(&ada.key, "DELETE", &format!("/api/v1/projects/{mine}"), confirm)
        .await
        .ok::<api::Deletion>();
    let projects: Page<Project> = hub.get(&key, "/api/v1/projects").await.ok();
    assert!(projects.items.is_empty());
    let who: api::Whoami = hub.get(&key, "/api/v1/whoami").await.ok();
    assert_eq!(who.key.limit.unwrap().projects, Some(vec![]));
}

#[tokio::test]
async fn a_key_may_no_more_than_its_scope_and_no_more_than_its_account() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let grace = hub.person(&ada, "Grace").await;
    let project = hub.project(&ada, "panel").await;
    let set = format!("/api/v1/projects/{project}/members/{}", grace.account);
    hub.call(&ada.key, "PUT", &set, json!({"right": "browse"})).await.ok::<api::Member>();
    let data = sent(&hub, &ada.key, project, DatasetKind::App, &[("a.txt", b"ACGT")]).await;
    let objects = format!("/api/v1/datasets/{}/objects", data.dataset());
    let manifest = format!("/api/v1/datasets/{}/manifest", data.dataset());

    let browse = hub.limited(&ada, &scope(Right::Browse)).await;
    hub.get(&browse, &manifest).await.ok::<api::SignedStatement>();
    let release = json!({"recipient": "", "purpose": "download"});
    let path = format!("/api/v1/datasets/{}/release", data.dataset());
    assert_eq!(hub.call(&browse, "POST", &path, &release).await.code(), ErrorCode::Forbidden);
    assert_eq!(hub.get(&browse, &objects).await.code(), ErrorCode::Forbidden);

    let read = hub.limited(&ada, &scope(Right::Read)).await;
    hub.get(&read, &objects).await.ok::<Page<Value>>();
    let quality = format!("/api/v1/datasets/{}/quality", data.dataset());
    let passed = json!({"state": "passed"});
    assert_eq!(hub.call(&read, "POST", &quality, &passed).await.code(), ErrorCode::Forbidden);
    let write = hub.limited(&ada, &scope(Right::Write)).await;
    hub.call(&write, "POST", &quality, &passed).await.ok::<Dataset>();

    // Grace may browse, so no key of hers reads.
    let hers = hub.limited(&grace, &scope(Right::Write)).await;
    hub.get(&hers, &manifest).await.ok::<api::SignedStatement>();
    assert_eq!(hub.get(&hers, &objects).await.code(), ErrorCode::Forbidden);
}

#[tokio::test]
async fn a_limited_key_of_an_operator_does_nothing_to_the_hub_its_accounts_and_its_owners() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let grace = hub.person(&ada, "Grace").await;
    let project = hub.project(&ada, "panel").await;
    let key = hub.limited(&ada, &scope(Right::Write)).await;
    let new = api::Bytes(signing_key().public().to_bytes().to_vec());
    let of = format!("/api/v1/projects/{project}");
    let calls = [
        (
            "POST",
            "/api/v1/keys".to_owned(),
            json!({"kind": "person", "name": "x", "public_key": new}),
        ),
        ("GET", "/api/v1/keys".to_owned(), json!(null)),
        ("DELETE", format!("/api/v1/keys/{}", ada.key.public().id()), json!(null)),
        ("GET", "/api/v1/accounts".to_owned(), json!(null)),
        ("POST", "/api/v1/accounts".to_owned(), json!({"name": "Eve"})),
        ("POST", format!("/api/v1/accounts/{}/disable", grace.account), json!(null)),
        ("GET", "/api/v1/audit/events".to_owned(), json!(null)),
        ("GET", "/api/v1/store".to_owned(), json!(null)),
        ("PUT", format!("{of}/members/{}", grace.account), json!({"right": "read"})),
        ("POST", format!("{of}/transfer"), json!({"to": grace.account, "reseal": false})),
        ("DELETE", of.clone(), json!({"confirm": project})),
    ];
    for (method, path, body) in calls {
        let answer = hub.call(&key, method, &path, body).await;
        assert_eq!(answer.code(), ErrorCode::Forbidden, "{method} {path}");
    }
    let own = hub.new_project(api::ProjectId::generate(), "its own");
    let answer = hub.call(&key, "POST", "/api/v1/projects", own).await;
    assert_eq!(answer.code(), ErrorCode::Forbidden);
}

#[tokio::test]
async fn a_key_that_has_expired_is_unknown_at_the_next_call() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let expires = Some(api::Time::from_second(hub.now() + 60).unwrap());
    let key = hub.limited(&ada, &KeyLimit { expires, ..scope(Right::Read) }).await;
    hub.pass(59);
    hub.get(&key, "/api/v1/whoami").await.ok::<api::Whoami>();
    hub.pass(1);
    assert_eq!(hub.get(&key, "/api/v1/whoami").await.code(), ErrorCode::UnknownKey);
}

#[tokio::test]
async fn a_limit_that_does_not_limit_is_refused() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let grace = hub.person(&ada, "Grace").await;
    let hers = hub.project(&grace, "hers").await;
    let past = Some(api::Time::from_second(hub.now()).unwrap());
    let cases = [
        (scope(Right::Admin), ErrorCode::BadRequest),
        (scope(Right::Owner), ErrorCode::BadRequest),
        (KeyLimit { expires: past, ..scope(Right::Read) }, ErrorCode::BadRequest),
        (KeyLimit { projects: Some(vec![]), ..scope(Right::Read) }, ErrorCode::BadRequest),
        (KeyLimit { projects: Some(vec![hers]), ..scope(Right::Read) }, ErrorCode::NotFound),
    ];
    for (limit, code) in cases {
        assert_eq!(add(&hub, &ada, &limit).await.1.code(), code, "{limit:?}");
    }
}

#[tokio::test]
async fn a_hub_whose_operators_have_limited_keys_alone_makes_a_new_first_code() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    hub.limited(&ada, &scope(Right::Write)).await;
    let path = format!("/api/v1/keys/{}", ada.key.public().id());
    hub.call(&ada.key, "DELETE", &path, ()).await.ok::<Key>();
    assert!(hub.restart().await.code.is_some());
}
