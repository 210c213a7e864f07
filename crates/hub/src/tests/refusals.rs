//! Every call that the document lists is refused without a signature, and finds nothing of somebody else's.

use std::collections::BTreeSet;

use api::{
    App, AppId, AppSession, Dataset, DatasetId, DatasetKind, ErrorCode, Launch, Page, RegisterApp,
    SealedObject, SessionId, SessionInput, Task, Transfer,
};
use axum::body::Body;
use axum::http::Request;
use dataset::OpenDataset;
use seal::recipient::RecipientSecret;
use serde_json::{Value, json};

use super::material::{card, close, content, make, put_all, sent};
use crate::testing::{AUTHORITY, Person, Signed, TestHub, compare_snapshot};

/// Every call of the document: method and path.
fn operations() -> Vec<(String, String)> {
    let document: Value = serde_json::from_str(&crate::openapi()).unwrap();
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            if ["get", "put", "post", "delete", "patch", "head"].contains(&method.as_str()) {
                all.push((method.to_uppercase(), path.clone()));
            }
        }
    }
    all
}

#[test]
fn the_openapi_document_is_the_one_that_is_kept() {
    let document: Value = serde_json::from_str(&crate::openapi()).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    compare_snapshot("openapi.json", &crate::openapi());
}

#[tokio::test]
async fn every_call_but_the_open_ones_is_refused_unsigned_with_a_reason() {
    let hub = TestHub::start().await;
    let mut refused = 0;
    for (method, path) in operations() {
        let filled = path
            .split('/')
            .map(|part| if part.starts_with('{') { "0" } else { part })
            .collect::<Vec<_>>()
            .join("/");
        let request = Request::builder()
            .method(method.as_str())
            .uri(&filled)
            .header("host", AUTHORITY)
            .body(Body::empty())
            .unwrap();
        let answer = hub.send(request).await;
        if crate::http::open::is_open(&method.parse().unwrap(), &path) {
            assert!(answer.status.is_success(), "{method} {path}");
            continue;
        }
        let problem = answer.problem();
        assert_eq!((problem.status, problem.code), (401, ErrorCode::Unsigned), "{method} {path}");
        assert!(!problem.title.is_empty() && problem.hint.is_some());
        refused += 1;
    }
    assert!(refused > 50, "the document lists the calls");
}

#[test]
fn every_call_of_a_noun_has_one_id_in_the_document() {
    let document: Value = serde_json::from_str(&crate::openapi()).unwrap();
    let mut seen = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if let Some(id) = operation["operationId"].as_str() {
                assert!(seen.insert(id.to_owned()), "{method} {path}: `{id}` is there twice");
            }
        }
    }
}

/// Calls that are about no thing of somebody else's, and why a stranger does not read "not found" there.
const NOBODYS: &[(&str, &str)] = &[
    ("POST /api/v1/accounts/{id}/disable", "operators only: refused whatever the id"),
    ("GET /api/v1/apps/{id}", "an app is there for everybody with an account"),
    ("POST /api/v1/tasks/{id}/claim", "signed by a key nobody knows; the ticket decides"),
];

/// Somebody's things, one of each kind.
struct Things {
    project: api::ProjectId,
    transfer: api::TransferId,
    key: api::KeyId,
    owner: api::AccountId,
    run: DatasetId,
    sample: DatasetId,
    result: DatasetId,
    object: api::ObjectRef,
    session: SessionId,
    task: api::TaskId,
}

impl Things {
    async fn of(hub: &TestHub, ada: &Person, grace: &Person) -> Self {
        let project = hub.project(ada, "panel").await;
        let offer = json!({"to": grace.account, "reseal": false});
        let path = format!("/api/v1/projects/{project}/transfer");
        let transfer: Transfer = hub.call(&ada.key, "POST", &path, offer).await.ok();
        let reads: &[(&str, &[u8])] = &[("RunInfo.xml", b"<xml/>")];
        let run = make(hub, &ada.key, project, DatasetKind::Run, "run").await;
        let manifest = put_all(hub, &ada.key, &run, content(&run, reads), 1, None).await;
        close(hub, &ada.key, &ada.key, &manifest, "?demultiplex=true").await.ok::<Dataset>();
        let objects = format!("/api/v1/datasets/{}/objects", run.dataset());
        let objects: Page<SealedObject> = hub.get(&ada.key, &objects).await.ok();
        let tasks: Page<Task> = hub.get(&ada.key, "/api/v1/tasks").await.ok();
        // Samples are made by vaults alone; what a stranger finds depends on the row, not on who made it.
        let sample = sent(hub, &ada.key, project, DatasetKind::App, reads).await;
        let package =
            sent(hub, &ada.key, project, DatasetKind::App, &[("package.chorionapp", b"p")]).await;
        let mut tx = hub.hub.db.write().await.unwrap();
        let turned = sqlx::query("UPDATE datasets SET kind = 'sample' WHERE id = $1")
            .bind(sample.dataset().to_string())
            .execute(&mut *tx)
            .await
            .unwrap();
        assert_eq!(turned.rows_affected(), 1);
        tx.commit().await.unwrap();
        let app = RegisterApp {
            id: AppId::generate(),
            name: "align".into(),
            version: "1.0.0".into(),
            title: "Aligns reads".into(),
            digest: proof::sha256(b"app"),
            package: package.dataset(),
            manifest: "{}".into(),
        };
        hub.call(&ada.key, "POST", "/api/v1/apps", &app).await.ok::<App>();
        let card = card(hub, &ada.key, project).await;
        let result = OpenDataset::create(DatasetId::generate(), project, card).unwrap();
        let launch = Launch {
            id: SessionId::generate(),
            app: app.id,
            inputs: vec![SessionInput { name: "reads".into(), dataset: sample.dataset() }],
            project,
            wrapped_key: result.wrap_to(&hub.recipient().to_bytes()).unwrap(),
            result: result.dataset(),
            card_digest: card,
            settings: result.seal_label("launch settings", b"{}").unwrap(),
            label: result.seal_label("dataset name", b"aligned").unwrap(),
        };
        hub.call(&ada.key, "POST", "/api/v1/appsessions", &launch).await.ok::<AppSession>();
        Self {
            project,
            transfer: transfer.id,
            key: ada.key.public().id(),
            owner: ada.account,
            run: run.dataset(),
            sample: sample.dataset(),
            result: result.dataset(),
            object: objects.items[0].object,
            session: launch.id,
            task: tasks.items[0].id,
        }
    }

    /// The path of a call about one of these things.
    fn path(&self, template: &str) -> String {
        let noun = template.split('/').nth(3).unwrap();
        let id = match noun {
            "projects" => self.project.to_string(),
            "transfers" => self.transfer.to_string(),
            "keys" => self.key.to_string(),
            "datasets" | "runs" => self.run.to_string(),
            "samples" => self.sample.to_string(),
            "results" => self.result.to_string(),
            "appsessions" => self.session.to_string(),
            "tasks" => self.task.to_string(),
            other => panic!("`{other}` is a new noun: give the test one of its things"),
        };
        template
            .replace("{id}", &id)
            .replace("{object}", &self.object.to_string())
            .replace("{account}", &self.owner.to_string())
            .replace("{number}", "1")
    }

    /// A body that the call would take from somebody who may.
    fn body(&self, call: &str) -> Value {
        let recipient = api::Bytes(RecipientSecret::generate().unwrap().public().to_bytes());
        let statement = json!({"statement": "", "signature": "", "signer": ""});
        match call.strip_prefix("/api/v1").unwrap() {
            "/projects/{id}" => json!({"confirm": self.project}),
            "/projects/{id}/members/{account}" => json!({"right": "browse"}),
            "/projects/{id}/transfer" => json!({"to": self.owner, "reseal": false}),
            "/projects/{id}/release" | "/datasets/{id}/release" => {
                json!({"recipient": recipient, "purpose": "list"})
            }
            "/datasets/{id}" => json!({"confirm": self.run}),
            "/datasets/{id}/delivery" => json!({"state": "delivered"}),
            "/datasets/{id}/quality" => json!({"state": "passed"}),
            "/datasets/{id}/manifest" => json!({"manifest": statement}),
            "/datasets/{id}/objects/have" => json!({"objects": [self.object]}),
            "/runs/{id}/attention" => json!({"reason": "it grows no more"}),
            "/runs/{id}/close" => json!({"as_state": "failed"}),
            "/runs/{id}/requeue" => json!({"settings": ""}),
            "/tasks/{id}/progress" => json!({"percent": 1}),
            "/tasks/{id}/end" => json!({"complete": true, "reason": null, "receipt": statement}),
            "/tasks/{id}/reseal" => json!({
                "epoch": 1, "card_digest": "0".repeat(64), "wrapped_key": "", "label": "",
                "settings": null,
            }),
            _ => Value::Null,
        }
    }
}

#[tokio::test]
async fn to_a_stranger_no_call_finds_what_belongs_to_somebody_else() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let ada = hub.person(&operator, "Ada").await;
    let grace = hub.person(&operator, "Grace").await;
    let eve = hub.person(&operator, "Eve").await;
    let things = Things::of(&hub, &ada, &grace).await;
    let mut asked = 0;
    for (method, path) in operations() {
        let call = format!("{method} {path}");
        if !path.contains('{') || NOBODYS.iter().any(|(nobodys, _)| *nobodys == call) {
            continue;
        }
        // Running the hub makes nobody less of a stranger.
        for stranger in [&eve, &operator] {
            let mut signed = Signed::new(
                &method,
                &things.path(&path),
                serde_json::to_vec(&things.body(&path)).unwrap(),
            );
            if method == "PUT" && path.ends_with("/objects/{object}") {
                let key = data_encoding::BASE64.encode(&[0; 60]);
                signed = signed.header("chorion-epoch", "0").header("chorion-wrapped-key", &key);
            }
            let answer = hub.send(signed.by(&stranger.key, hub.now())).await;
            assert_eq!(answer.code(), ErrorCode::NotFound, "{call}");
        }
        asked += 1;
    }
    assert!(asked > 30, "the document lists the calls: {asked}");
    // And lists are empty.
    for noun in
        ["projects", "datasets", "runs", "samples", "results", "appsessions", "tasks", "transfers"]
    {
        let page: Page<Value> = hub.get(&eve.key, &format!("/api/v1/{noun}")).await.ok();
        assert!(page.items.is_empty(), "{noun}");
        let own: Page<Value> = hub.get(&ada.key, &format!("/api/v1/{noun}")).await.ok();
        assert!(!own.items.is_empty(), "{noun}: the test has one");
    }
}
