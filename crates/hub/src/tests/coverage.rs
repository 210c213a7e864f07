//! Every call of the document, made by every role, against things of its own: what is refused stands in `spec/refusals.txt`.
//!
//! The list of calls is the document's, so a call that is new and has no case here fails the test by name; and so does one
//! that refuses nobody, unless it stands below with the reason. Each role has a project of its own with one of
//! everything, so that what one role destroys another does not miss.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use api::{
    App, AppId, AppSession, Dataset, DatasetId, DatasetKind, Key, KeyLimit, Launch, Notice, Page,
    RegisterApp, Right, SealedObject, SessionId, SessionInput, Task, Transfer,
};
use axum::body::Body;
use axum::http::Request;
use dataset::OpenDataset;
use proof::SigningKey;
use seal::recipient::RecipientSecret;
use serde_json::{Value, json};

use super::material::{card, close, content, creation, make, put_all, sent};
use super::refusals::operations;
use crate::data;
use crate::testing::{AUTHORITY, Answer, Person, Signed, TestHub, compare_snapshot, signing_key};

/// Calls that every account may make, and why there is nobody with an account to refuse.
const EVERYBODYS: &[(&str, &str)] = &[
    ("GET /api/v1/whoami", "says who signs, whoever signs"),
    ("POST /api/v1/device", "asks for a person's approval, and gives nothing before"),
];

/// Calls that are signed by a key which the body brings: what refuses is the code or the ticket, not the key.
const BY_CODE: &[&str] =
    &["POST /api/v1/enrol", "POST /api/v1/device/poll", "POST /api/v1/tasks/{id}/claim"];

/// Calls about things that are not hidden from strangers, and why.
const NOT_HIDDEN: &[(&str, &str)] = &[
    ("POST /api/v1/accounts/{id}/disable", "operators only: refused whatever the id"),
    ("DELETE /api/v1/blocks/{id}", "operators only: refused whatever the id"),
    ("DELETE /api/v1/instruments/{id}", "operators only: refused whatever the id"),
    (
        "GET /api/v1/audit/log/tile/{path}",
        "a tile names nobody: it is there for everybody with an account",
    ),
    (
        "GET /api/v1/audit/log/cosignatures/{key}",
        "what a witness says is for everybody with an account",
    ),
    ("GET /api/v1/apps/{id}", "an app is there for everybody with an account"),
    ("POST /api/v1/tasks/{id}/claim", "signed by a key nobody knows; the ticket decides"),
];

/// Who calls, in the order of the table.
const ROLES: [&str; 18] = [
    "unsigned",
    "revoked",
    "stranger",
    "operator",
    "offered",
    "browse",
    "read",
    "create",
    "write",
    "admin",
    "owner",
    "limited",
    "instrument",
    "vault",
    "o-admin",
    "o-clinic",
    "o-lab",
    "o-audit",
];

/// Roles of the organization that the project belongs to, of which none is a member of the project.
const INSIDE: [(&str, api::Role); 4] = [
    ("o-admin", api::Role::Administrator),
    ("o-clinic", api::Role::Clinician),
    ("o-lab", api::Role::Lab),
    ("o-audit", api::Role::Auditor),
];

/// Roles that are members, lowest first: none may do less than the one before.
const MEMBERS: [(&str, Right); 5] = [
    ("browse", Right::Browse),
    ("read", Right::Read),
    ("create", Right::Create),
    ("write", Right::Write),
    ("admin", Right::Admin),
];

/// Somebody's things, one of each kind.
struct Things {
    project: api::ProjectId,
    transfer: api::TransferId,
    /// A key of the owner's that no role signs with.
    spare_key: api::KeyId,
    /// An account that is nobody's role.
    spare_account: api::AccountId,
    owner: api::AccountId,
    run: DatasetId,
    sample: DatasetId,
    result: DatasetId,
    package: DatasetId,
    app: AppId,
    object: api::ObjectRef,
    session: SessionId,
    task: api::TaskId,
    /// What an owner is asked for the task.
    approval: api::ApprovalId,
    notice: api::NoticeId,
    card: api::Digest,
    /// A call of somebody else's that was refused.
    refused: api::RequestId,
    block: api::BlockId,
    instrument: api::InstrumentId,
    organization: api::OrganizationId,
    case: api::CaseId,
    /// A witness that cosigned the log.
    witness: api::KeyId,
    /// Codes of two devices that wait for an answer.
    codes: [String; 2],
}

impl Things {
    async fn of(hub: &TestHub, ada: &Person, offered: &Person, spare: &Person) -> Self {
        let project = hub.project(ada, "panel").await;
        let offer = json!({"to": offered.account, "reseal": false});
        let path = format!("/api/v1/projects/{project}/transfer");
        let transfer: Transfer = hub.call(&ada.key, "POST", &path, offer).await.ok();
        let reads: &[(&str, &[u8])] = &[("RunInfo.xml", b"<xml/>")];
        let run = make(hub, &ada.key, project, DatasetKind::Run, "run").await;
        let manifest = put_all(hub, &ada.key, &run, content(&run, reads), 1, None).await;
        close(hub, &ada.key, &ada.key, &manifest, "?demultiplex=true").await.ok::<Dataset>();
        let objects = format!("/api/v1/datasets/{}/objects", run.dataset());
        let objects: Page<SealedObject> = hub.get(&ada.key, &objects).await.ok();
        let tasks = format!("/api/v1/tasks?subject={}", run.dataset());
        let tasks: Page<Task> = hub.get(&ada.key, &tasks).await.ok();
        let sample = sent(hub, &ada.key, project, DatasetKind::Sample, reads).await;
        let package =
            sent(hub, &ada.key, project, DatasetKind::App, &[("package.chorionapp", b"p")]).await;
        let card = card(hub, &ada.key, project).await;
        let add = new_key();
        let spare_key: Key = hub.call(&ada.key, "POST", "/api/v1/keys", &add).await.ok();
        // Adding it is what the notice is about.
        let notices: Page<Notice> = hub.get(&ada.key, "/api/v1/notices").await.ok();
        let result = OpenDataset::create(DatasetId::generate(), project, card).unwrap();
        let mut this = Self {
            project,
            transfer: transfer.id,
            spare_key: spare_key.id,
            spare_account: spare.account,
            owner: ada.account,
            run: run.dataset(),
            sample: sample.dataset(),
            result: result.dataset(),
            package: package.dataset(),
            app: AppId::generate(),
            object: objects.items[0].object,
            session: SessionId::generate(),
            task: tasks.items[0].id,
            approval: api::ApprovalId::generate(),
            notice: notices.items[0].id,
            card,
            refused: api::RequestId::generate(),
            block: api::BlockId::generate(),
            instrument: api::InstrumentId::generate(),
            organization: api::OrganizationId::generate(),
            case: api::CaseId::generate(),
            witness: signing_key().public().id(),
            codes: [waiting(hub).await, waiting(hub).await],
        };
        let mut tx = hub.hub.db.write().await.unwrap();
        let instrument = api::Instrument {
            id: this.instrument,
            name: "a sequencer".into(),
            enrolled: false,
            created: hub.hub.now(),
            revoked: None,
        };
        data::instruments::insert(&mut tx, &instrument).await.unwrap();
        let until = api::Time::from_second(hub.now() + 3600).unwrap();
        data::instruments::sign_on(&mut tx, instrument.id, ada.account, until).await.unwrap();
        let nobodys = api::SignedStatement {
            statement: String::new(),
            signature: api::Bytes(Vec::new()),
            signer: api::Bytes(Vec::new()),
        };
        let asked = data::approvals::NewApproval {
            id: this.approval,
            task: this.task,
            project,
            vault_key: signing_key().public().id(),
            evidence: &nobodys,
            created: hub.hub.now(),
            expires: hub.hub.now(),
        };
        data::approvals::insert(&mut tx, &asked).await.unwrap();
        let organization = api::Organization {
            id: this.organization,
            name: "a clinic".into(),
            plan: api::Plan::Standard,
            created: hub.hub.now(),
            recipient: None,
        };
        data::organizations::insert(&mut tx, &organization).await.unwrap();
        // The owner is its administrator. Each belongs to the newest one alone: an account belongs to one at most.
        let members = [
            (ada.account, api::Role::Administrator),
            (offered.account, api::Role::Clinician),
            (spare.account, api::Role::Lab),
        ];
        for (account, role) in members {
            let now = hub.hub.now();
            data::organizations::set(&mut tx, this.organization, account, role, now).await.unwrap();
        }
        data::organizations::insert_project(&mut tx, this.organization, project).await.unwrap();
        let case = data::cases::NewRow {
            id: this.case,
            project,
            organization: this.organization,
            made_by: ada.account,
            key: b"wrapped",
            document: b"sealed",
            created: hub.hub.now(),
        };
        data::cases::insert(&mut tx, &case).await.unwrap().unwrap();
        let cosigned = api::Cosigned { witness: "w".into(), note: "n".into() };
        let new = data::audit::NewCosignature {
            witness: this.witness,
            account: ada.account,
            size: 1,
            at: 1,
            cosigned: &cosigned,
        };
        data::audit::keep_cosignature(&mut tx, &new).await.unwrap();
        tx.commit().await.unwrap();
        let registered = this.new_app(this.app);
        hub.call(&ada.key, "POST", "/api/v1/apps", &registered).await.ok::<App>();
        let launch = this.launch(hub, this.session, &result);
        hub.call(&ada.key, "POST", "/api/v1/appsessions", &launch).await.ok::<AppSession>();
        // In the owner's project, by its instrument: the owner may know why, and the instrument, which is the same account.
        let instrument = hub.instrument(ada).await;
        let path = format!("/api/v1/projects/{project}/members");
        this.refused = hub.get(&instrument, &path).await.problem().request_id;
        let subject = "address:203.0.113.9".parse().unwrap();
        this.block = hub.hub.gate.block(subject, None, "a test", ada.account, hub.hub.now()).id;
        this
    }

    fn new_app(&self, id: AppId) -> RegisterApp {
        RegisterApp {
            id,
            name: "align".into(),
            version: "1.0.0".into(),
            title: "Aligns reads".into(),
            digest: proof::sha256(b"app"),
            package: self.package,
            manifest: "{}".into(),
        }
    }

    fn launch(&self, hub: &TestHub, id: SessionId, result: &OpenDataset) -> Launch {
        Launch {
            id,
            app: self.app,
            inputs: vec![SessionInput { name: "reads".into(), dataset: self.sample }],
            project: self.project,
            wrapped_key: result.wrap_to(&hub.recipient().to_bytes()).unwrap(),
            result: result.dataset(),
            card_digest: self.card,
            settings: result.seal_label("launch settings", b"{}").unwrap(),
            label: result.seal_label("dataset name", b"aligned").unwrap(),
        }
    }

    /// The path of a call about one of these things.
    fn path(&self, template: &str) -> String {
        if !template.contains('{') {
            return template.to_owned();
        }
        let noun = template.split('/').nth(3).unwrap();
        let id = match noun {
            "accounts" => self.spare_account.to_string(),
            "approvals" => self.approval.to_string(),
            "apps" => self.app.to_string(),
            "cases" => self.case.to_string(),
            "projects" => self.project.to_string(),
            "transfers" => self.transfer.to_string(),
            "keys" => self.spare_key.to_string(),
            "datasets" | "runs" => self.run.to_string(),
            "samples" => self.sample.to_string(),
            "results" => self.result.to_string(),
            "appsessions" => self.session.to_string(),
            "refusals" => self.refused.to_string(),
            "blocks" => self.block.to_string(),
            "tasks" => self.task.to_string(),
            "instruments" | "sign-ons" => self.instrument.to_string(),
            "notices" => self.notice.to_string(),
            "organizations" => self.organization.to_string(),
            "audit" => self.witness.to_string(),
            other => panic!("`{other}` is a new noun: give `Things` one and its path here"),
        };
        // Somebody who may be put out there, and whom nobody misses.
        let account = if noun == "organizations" { self.spare_account } else { self.owner };
        template
            .replace("{id}", &id)
            .replace("{object}", &self.object.to_string())
            .replace("{account}", &account.to_string())
            .replace("{dataset}", &self.sample.to_string())
            .replace("{field}", "family_name")
            .replace("{number}", "1")
            .replace("{key}", &id)
            .replace("{path}", "0/000.p/1")
    }

    /// A body that the call would take from somebody who may, where it takes one.
    fn body(&self, hub: &TestHub, key: &SigningKey, call: &str) -> Option<Value> {
        let recipient = api::Bytes(RecipientSecret::generate().unwrap().public().to_bytes());
        let signer = api::Bytes(key.public().to_bytes().to_vec());
        let statement = json!({"statement": "", "signature": "", "signer": signer});
        let fresh = || OpenDataset::create(DatasetId::generate(), self.project, self.card).unwrap();
        let value = |value: Value| Some(value);
        match call {
            "POST /accounts" => value(json!({"name": "Grace"})),
            // Too short for the work of a real one, and seen to be so only by who may.
            "PUT /account/password" => value(json!({"sign_in_name": "ada", "password": "short"})),
            "POST /approvals/{id}/approve" => value(json!({
                "approval": {"approval": statement, "second": null}, "keys": [],
            })),
            "POST /approvals/{id}/refuse" => value(json!({"reason": "not now"})),
            "PUT /projects/{id}/card" => value(json!({"card": statement, "approval": null})),
            "POST /projects/{id}/handover" => value(json!({
                "approval": {"approval": statement, "second": null}, "card": statement,
            })),
            "POST /tasks/{id}/boot" => value(json!({"approval": statement, "second": null})),
            "PUT /projects/{id}/handover" => value(json!({"keys": []})),
            "POST /projects/{id}/handover/finish" | "POST /transfers/{id}/take" => {
                value(json!({"card": null}))
            }
            "POST /datasets/{id}/export" => value(json!({
                "approval": {"approval": statement, "second": null},
            })),
            "POST /datasets/{id}/share" => value(json!({
                "approval": {"approval": statement, "second": null},
                "key": {
                    "dataset": self.run, "project": self.project, "card_digest": self.card, "epoch": 0,
                    "wrapped_key": "",
                },
            })),
            "POST /datasets/{id}/writer" => value(json!({"approval": statement, "second": null})),
            "POST /apps" => value(json!(self.new_app(AppId::generate()))),
            "POST /appsessions" => value(json!(self.launch(hub, SessionId::generate(), &fresh()))),
            "POST /projects/{id}/cases" => value(json!({
                "cases": [{"id": api::CaseId::generate(), "document": {"patient": {"record_number": "17"}}}],
            })),
            "POST /projects/{id}/cases/search" => value(json!({
                "field": "record_number", "value": "17", "purpose": "treatment",
            })),
            "PUT /cases/{id}" => value(json!({
                "version": 1, "document": {"patient": {"record_number": "17"}},
            })),
            "DELETE /cases/{id}" => value(json!({"confirm": self.case})),
            "POST /cases/{id}/read" => value(json!({"purpose": "treatment"})),
            "POST /cases/{id}/conclusion" => value(json!({"conclusion": "nothing was found"})),
            "PUT /organizations/{id}/fields/{field}" => value(json!({"mode": null})),
            "PUT /organizations/{id}/case-rules" => value(json!({"second_person": true})),
            "POST /blocks" => value(json!({
                "subject": "address:203.0.113.10", "seconds": 1, "reason": "a test",
            })),
            // Places that cannot be, so that nothing changes for whoever may.
            "POST /store/facilities" => value(json!({"address": "s3://no?such=setting"})),
            "POST /store/drain" => {
                value(json!({"facility": api::ProjectId::generate(), "lost": false}))
            }
            "POST /datasets" => {
                value(json!(creation(hub, &fresh(), DatasetKind::Run, "another run", None)))
            }
            "POST /enrol" => value(json!({
                "code": "WRONG", "account_name": "Eve", "key_name": "a test", "public_key": signer,
            })),
            "POST /device" => value(json!({"public_key": signer, "machine": "a test"})),
            "POST /device/poll" => value(json!({"public_key": signer})),
            "POST /device/approve" | "POST /device/pending" => {
                value(json!({"code": self.codes[0]}))
            }
            "POST /device/refuse" => value(json!({"code": self.codes[1]})),
            "POST /organizations" => value(json!({"name": "another clinic"})),
            "POST /organizations/{id}/members" => value(json!({"name": "Grace", "role": "lab"})),
            "PUT /organizations/{id}/plan" => value(json!({"plan": "enterprise"})),
            "PUT /organizations/{id}/members/{account}" => value(json!({"role": "administrator"})),
            // Not confirmed, so that nobody gets a key by it who may.
            "PUT /organizations/{id}/key" => value(json!({
                "service": {"provider": "local_file", "name": "first"}, "confirm": "no",
            })),
            "POST /organizations/{id}/key/test" => value(json!({})),
            // Not confirmed, so that nobody leaves by it who may.
            "POST /organizations/{id}/key/leave" => value(json!({"confirm": "no"})),
            "POST /organizations/{id}/key/rotate" => value(json!({"kind": "data_key"})),
            "POST /organizations/{id}/key/recovery/stored" => {
                value(json!({"digest": "0".repeat(64)}))
            }
            "POST /instruments" => value(json!({"name": "another sequencer"})),
            "POST /keys" => value(json!(new_key())),
            "PUT /audit/log/cosignatures" => value(json!({"witness": "", "note": ""})),
            "PUT /notices/mail" => value(json!({"address": "ada@example.test"})),
            "POST /projects" => {
                value(json!(hub.new_project(api::ProjectId::generate(), "another")))
            }
            "DELETE /projects/{id}" => value(json!({"confirm": self.project})),
            "PUT /projects/{id}/members/{account}" => value(json!({"right": "browse"})),
            "POST /projects/{id}/transfer" => {
                value(json!({"to": self.spare_account, "reseal": false}))
            }
            "POST /projects/{id}/release" | "POST /datasets/{id}/release" => {
                value(json!({"recipient": recipient, "purpose": "list"}))
            }
            "DELETE /datasets/{id}" => value(json!({"confirm": self.run})),
            "POST /datasets/{id}/delivery" => value(json!({"state": "delivered"})),
            "POST /datasets/{id}/quality" => value(json!({"state": "passed"})),
            "POST /datasets/{id}/manifest" => value(json!({"manifest": statement})),
            "POST /datasets/{id}/objects/have" => value(json!({"objects": [self.object]})),
            "POST /runs/{id}/attention" => value(json!({"reason": "it grows no more"})),
            "PUT /runs/{id}/progress" => value(json!({
                "files": 1, "files_whole": 0, "bytes": 1, "bytes_held": 0, "verifying": false,
                "bytes_per_second": 0, "faults_survived": 0, "seconds_left": null,
            })),
            "POST /runs/{id}/close" => value(json!({"as_state": "failed"})),
            "POST /runs/{id}/requeue" => value(json!({"settings": ""})),
            "POST /tasks/{id}/claim" => value(json!({"ticket": "WRONG", "evidence": statement})),
            "POST /tasks/{id}/progress" => value(json!({"percent": 1})),
            "POST /tasks/{id}/end" => {
                value(json!({"complete": true, "reason": null, "receipt": statement}))
            }
            "POST /tasks/{id}/reseal" => value(json!({
                "epoch": 1, "card_digest": "0".repeat(64), "wrapped_key": "", "label": "",
                "settings": null,
            })),
            _ => None,
        }
    }
}

/// The code of a device that waits for an answer.
async fn waiting(hub: &TestHub) -> String {
    let key = signing_key();
    let public_key = api::Bytes(key.public().to_bytes().to_vec());
    let body = json!({"public_key": public_key, "machine": "a laptop"});
    hub.call(&key, "POST", "/api/v1/device", body).await.ok::<api::DeviceCode>().code
}

fn new_key() -> Value {
    let public = api::Bytes(signing_key().public().to_bytes().to_vec());
    json!({"kind": "person", "name": "a spare", "public_key": public})
}

/// Calls of a role in an order in which none takes away what a later one needs, or gives what none before had.
fn in_order(role: &str) -> Vec<(String, String)> {
    let mut all = operations();
    all.sort_by_key(|(method, path)| {
        let last = match (method.as_str(), path.as_str()) {
            ("GET", _) => 0,
            // Who accepts an offer is the owner from then on.
            (_, path) if path.starts_with("/api/v1/transfers/") && role == "offered" => 5,
            (_, path) if path.starts_with("/api/v1/transfers/") => 2,
            ("DELETE", "/api/v1/projects/{id}") => 4,
            ("POST", "/api/v1/device/approve") => 3,
            ("DELETE", _) => 3,
            _ => 1,
        };
        (last, path.clone(), method.clone())
    });
    all
}

/// Which calls of the document take a body of JSON.
fn with_json() -> Vec<String> {
    let document: Value = serde_json::from_str(&crate::openapi()).unwrap();
    let mut all = Vec::new();
    for (method, path) in operations() {
        let operation = &document["paths"][&path][method.to_lowercase()];
        if operation["requestBody"]["content"]["application/json"].is_object() {
            all.push(format!("{method} {path}"));
        }
    }
    all
}

/// Makes one call as `key`, or unsigned.
async fn make_call(
    hub: &TestHub,
    things: &Things,
    key: Option<&SigningKey>,
    method: &str,
    template: &str,
    takes_json: bool,
) -> Answer {
    let path = things.path(template);
    let call = format!("{method} {}", template.trim_start_matches(api::API_PREFIX));
    let stand_in = signing_key();
    let body = things.body(hub, key.unwrap_or(&stand_in), &call);
    assert_eq!(body.is_some(), takes_json, "`{call}` is new: give `Things::body` what it takes");
    let body = body.map_or_else(Vec::new, |body| serde_json::to_vec(&body).unwrap());
    let Some(key) = key else {
        let request = Request::builder().method(method).uri(path).header("host", AUTHORITY);
        return hub.send(request.body(Body::from(body)).unwrap()).await;
    };
    let mut signed = Signed::new(method, &path, body);
    if method == "PUT" && template.ends_with("/objects/{object}") {
        let wrapped = data_encoding::BASE64.encode(&[0; 60]);
        signed = signed.header("chorion-epoch", "0").header("chorion-wrapped-key", &wrapped);
    }
    hub.send(signed.by(key, hub.now())).await
}

/// What the table says of an answer: that the role may, or the status of its refusal. A state that does not allow the act,
/// or a body that is not usable after all, is seen only by who may.
fn mark(answer: &Answer, call: &str) -> String {
    let status = answer.status.as_u16();
    match status {
        200..=299 | 409 | 422 => "yes".to_owned(),
        401 | 403 | 404 => status.to_string(),
        other => panic!("{call}: {other}: {}", String::from_utf8_lossy(&answer.body)),
    }
}

#[tokio::test]
async fn every_call_refuses_every_role_that_may_not() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let ada = hub.person(&operator, "Ada").await;
    let grace = hub.person(&operator, "Grace").await;
    let eve = hub.person(&operator, "Eve").await;
    let spare = hub.person(&operator, "nobody").await;
    let revoked = signing_key();
    let add = json!({
        "kind": "person", "name": "lost",
        "public_key": api::Bytes(revoked.public().to_bytes().to_vec()),
    });
    let lost: Key = hub.call(&ada.key, "POST", "/api/v1/keys", add).await.ok();
    hub.call(&ada.key, "DELETE", &format!("/api/v1/keys/{}", lost.id), ()).await.ok::<Key>();
    let with_json = with_json();

    let mut table: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for role in ROLES {
        let things = Things::of(&hub, &ada, &grace, &spare).await;
        let key = match role {
            "unsigned" => None,
            "revoked" => Some(revoked.clone()),
            "stranger" => Some(eve.key.clone()),
            "operator" => Some(operator.key.clone()),
            "offered" => Some(grace.key.clone()),
            "owner" => Some(ada.key.clone()),
            // The owner's account, and no more than `write` in this one project.
            "limited" => {
                let projects = Some(vec![things.project]);
                let limit = KeyLimit { projects, scope: Right::Write, expires: None };
                Some(hub.limited(&ada, &limit).await)
            }
            "instrument" => Some(hub.instrument(&ada).await),
            "vault" => {
                let key = signing_key();
                let until = api::Time::from_second(hub.now() + 3600).unwrap();
                let mut tx = hub.hub.db.write().await.unwrap();
                data::keys::insert_vault(&mut tx, &key.public(), things.task, ada.account, until)
                    .await
                    .unwrap();
                tx.commit().await.unwrap();
                Some(key)
            }
            inside if INSIDE.iter().any(|(name, _)| *name == inside) => {
                let role = INSIDE.iter().find(|(name, _)| *name == inside).unwrap().1;
                let person = hub.person(&operator, inside).await;
                let mut tx = hub.hub.db.write().await.unwrap();
                let (id, now) = (things.organization, hub.hub.now());
                data::organizations::set(&mut tx, id, person.account, role, now).await.unwrap();
                tx.commit().await.unwrap();
                Some(person.key)
            }
            member => {
                let right = MEMBERS.iter().find(|(name, _)| *name == member).unwrap().1;
                let person = hub.person(&operator, member).await;
                let path =
                    format!("/api/v1/projects/{}/members/{}", things.project, person.account);
                hub.call(&ada.key, "PUT", &path, json!({"right": right})).await.ok::<api::Member>();
                Some(person.key)
            }
        };
        for (method, path) in &in_order(role) {
            let call = format!("{method} {path}");
            let takes_json = with_json.contains(&call);
            let answer = make_call(&hub, &things, key.as_ref(), method, path, takes_json).await;
            let mark = mark(&answer, &format!("{call} by {role}"));
            if !answer.status.is_success() {
                answer.problem();
            }
            table.entry((path.clone(), method.clone())).or_default().push(mark);
        }
    }
    hold(&table);
    compare_snapshot("../../spec/refusals.txt", &text(&table));
}

/// What must be true of the table, whatever is in it.
fn hold(table: &BTreeMap<(String, String), Vec<String>>) {
    let column = |name: &str| ROLES.iter().position(|role| *role == name).unwrap();
    for ((path, method), marks) in table {
        let call = format!("{method} {path}");
        if crate::http::open::is_open(&method.parse().unwrap(), path) {
            assert!(marks.iter().all(|mark| mark == "yes"), "{call} answers everybody");
            continue;
        }
        let at = |name| marks[column(name)].as_str();
        assert_eq!(at("unsigned"), "401", "{call} unsigned");
        let by_code = BY_CODE.contains(&call.as_str());
        let revoked = match call.as_str() {
            // It hears that it is no new key.
            "POST /api/v1/device" => "yes",
            _ if by_code => "403",
            _ => "401",
        };
        assert_eq!(at("revoked"), revoked, "{call} by a revoked key");
        let hidden = !NOT_HIDDEN.iter().any(|(shown, _)| *shown == call);
        if path.contains('{') && hidden {
            assert_eq!(at("stranger"), "404", "{call} by a stranger");
            // Running the hub makes nobody less of a stranger, but to organizations, for whose accounts operators care.
            if !call.contains("/organizations/") {
                assert_eq!(at("operator"), "404", "{call} by an operator");
            }
        }
        let known = &marks[column("stranger")..];
        if !EVERYBODYS.iter().any(|(everybodys, _)| *everybodys == call) {
            let refused = known.iter().any(|mark| mark != "yes");
            assert!(refused, "{call} refuses nobody: say why in `EVERYBODYS`");
        }
        let somebody = known.iter().any(|mark| mark == "yes");
        assert!(somebody || by_code, "{call} is done by no role: give the test one that may");
        if path.contains('{') && hidden && !call.contains("/organizations/") {
            // A role in the organization opens none of its projects; some acts an auditor is refused whatever the id.
            for (inside, role) in INSIDE {
                let whatever = role == api::Role::Auditor && at(inside) == "403";
                assert!(
                    at(inside) == "404" || whatever,
                    "{call} by {inside}, no member of the project"
                );
            }
        }
        let members: Vec<bool> = MEMBERS.iter().map(|(name, _)| at(name) == "yes").collect();
        assert!(members.is_sorted(), "{call}: a higher right allows less: {marks:?}");
    }
}

fn text(table: &BTreeMap<(String, String), Vec<String>>) -> String {
    let mut text = format!("{:<52}", "call");
    for role in ROLES {
        write!(text, "{role:<11}").unwrap();
    }
    text = text.trim_end().to_owned() + "\n";
    for ((path, method), marks) in table {
        let mut row = format!("{:<52}", format!("{method:<6} {path}"));
        for mark in marks {
            write!(row, "{mark:<11}").unwrap();
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

#[tokio::test]
async fn lists_show_a_stranger_nothing_of_somebody_elses() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let ada = hub.person(&operator, "Ada").await;
    let grace = hub.person(&operator, "Grace").await;
    let eve = hub.person(&operator, "Eve").await;
    Things::of(&hub, &ada, &grace, &eve).await;
    for noun in
        ["projects", "datasets", "runs", "samples", "results", "appsessions", "tasks", "transfers"]
    {
        let page: Page<Value> = hub.get(&eve.key, &format!("/api/v1/{noun}")).await.ok();
        assert!(page.items.is_empty(), "{noun}");
        let own: Page<Value> = hub.get(&ada.key, &format!("/api/v1/{noun}")).await.ok();
        assert!(!own.items.is_empty(), "{noun}: the test has one");
    }
}
