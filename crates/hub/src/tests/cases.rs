//! Cases over the real router: what is sealed, who reads what, what is found, and what happens while the customer's key is away.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use api::{
    AddedCases, AuditedRead, Case, CaseId, CaseStatus, Event, FieldIndex, FoundCases, IndexState,
    OpenedCase, Page, ProjectId, Role,
};
use data_encoding::{BASE64, HEXLOWER, HEXUPPER};
use serde_json::{Value, json};

use super::organizations::member;
use super::pages::TestBrowser;
use crate::app;
use crate::data;
use crate::testing::{Answer, Person};

/// Words about a patient that must stand nowhere in clear.
const CANARIES: [&str; 6] = [
    "Canarini-Finch",
    "Serinus-Given",
    "MRN-770041993",
    "canary.bird@example.test",
    "a note about yellow feathers",
    "conclusion: it sings at night",
];

/// A clinic with a key of its own and a ward, which the lab has made, and people of every role.
pub(super) struct Clinic {
    pub(super) with_key: super::organization_keys::Clinic,
    pub(super) project: ProjectId,
    pub(super) doctor: Person,
    pub(super) second: Person,
}

impl std::ops::Deref for Clinic {
    type Target = super::organization_keys::Clinic;

    fn deref(&self) -> &Self::Target {
        &self.with_key
    }
}

impl Clinic {
    pub(super) async fn new() -> Self {
        let with_key = super::organization_keys::Clinic::with_key().await;
        let project = with_key.project("ward").await;
        let (hub, admin, id) = (&with_key.hub, &with_key.admin, with_key.id);
        let doctor = member(hub, admin, id, Role::Clinician).await;
        let second = member(hub, admin, id, Role::Clinician).await;
        for person in [&doctor, &second] {
            let path = format!("/api/v1/projects/{project}/members/{}", person.account);
            let right = json!({"right": "write"});
            hub.call(&with_key.lab.key, "PUT", &path, right).await.ok::<Value>();
        }
        Self { with_key, project, doctor, second }
    }

    /// The customer takes the key away, and its lease ends.
    fn take_the_key_away(&self) {
        self.take_away();
        self.hub.pass(301);
    }

    fn give_it_back(&self) {
        self.give_back();
        self.hub.pass(31);
    }

    pub(super) async fn add(&self, documents: &[Value]) -> Vec<CaseId> {
        let ids: Vec<CaseId> = documents.iter().map(|_| CaseId::generate()).collect();
        let cases: Vec<Value> = ids
            .iter()
            .zip(documents)
            .map(|(id, document)| json!({"id": id, "document": document}))
            .collect();
        let path = format!("/api/v1/projects/{}/cases", self.project);
        let body = json!({"cases": cases});
        let added: AddedCases = self.hub.call(&self.doctor.key, "POST", &path, body).await.ok();
        assert_eq!(usize::try_from(added.added).unwrap(), documents.len());
        ids
    }

    pub(super) async fn read(&self, by: &Person, id: CaseId, fields: &[&str]) -> Answer {
        let body = json!({"purpose": "treatment", "fields": fields});
        self.hub.call(&by.key, "POST", &format!("/api/v1/cases/{id}/read"), body).await
    }

    pub(super) async fn search(&self, field: &str, value: &str) -> Answer {
        let path = format!("/api/v1/projects/{}/cases/search", self.project);
        let body = json!({"field": field, "value": value, "purpose": "treatment"});
        self.hub.call(&self.doctor.key, "POST", &path, body).await
    }

    pub(super) async fn found(&self, field: &str, value: &str) -> BTreeSet<CaseId> {
        let found: FoundCases = self.search(field, value).await.ok();
        found.cases.into_iter().map(|case| case.id).collect()
    }

    pub(super) async fn set_field(&self, field: &str, body: Value) -> Answer {
        let path = format!("/api/v1/organizations/{}/fields/{field}", self.id);
        self.hub.call(&self.admin.key, "PUT", &path, body).await
    }

    pub(super) async fn fields(&self) -> Vec<FieldIndex> {
        self.hub
            .get(&self.admin.key, &format!("/api/v1/organizations/{}/fields", self.id))
            .await
            .ok()
    }

    /// Brings to an end whatever the background has begun.
    pub(super) async fn settle(&self) {
        app::cases::fields::go_on(&self.hub.hub).await.unwrap();
    }
}

fn canary() -> Value {
    json!({
        "patient": {
            "record_number": CANARIES[2], "family_name": CANARIES[0], "given_name": CANARIES[1],
            "birth_date": "1987-03-09", "email": CANARIES[3],
        },
        "phenotypes": [{"term": "HP:0001250"}],
        "notes": [{"text": CANARIES[4]}],
    })
}

pub(super) fn patient(number: usize) -> Value {
    let names = ["Rossi", "Bianchi", "Verdi", "Müller"];
    json!({"patient": {"record_number": format!("MRN {number:06}"), "family_name": names[number % 4]}})
}

#[tokio::test]
async fn a_case_is_read_by_those_who_treat_and_every_read_says_who_why_and_which_fields() {
    let clinic = Clinic::new().await;
    let [id] = clinic.add(&[canary()]).await[..] else { panic!("one case") };
    let opened: OpenedCase = clinic.read(&clinic.doctor, id, &["phenotypes", "name"]).await.ok();
    assert_eq!(opened.document.patient.family_name.as_deref(), Some(CANARIES[0]));
    assert_eq!(opened.document.patient.record_number, None, "it was not asked for");
    assert!(opened.document.notes.is_empty());
    assert_eq!(opened.document.phenotypes.len(), 1);
    let whole: OpenedCase = clinic.read(&clinic.second, id, &[]).await.ok();
    let [note] = &whole.document.notes[..] else { panic!("one note") };
    assert_eq!(note.author, Some(clinic.doctor.account), "the hub says who wrote a note");

    // The lab and the auditor see no patient; the lab sees that the case is there.
    assert_eq!(clinic.read(&clinic.lab, id, &[]).await.problem().status, 403);
    assert_eq!(clinic.read(&clinic.auditor, id, &[]).await.problem().status, 404);
    let path = format!("/api/v1/cases/{id}");
    let seen: Case = clinic.hub.get(&clinic.lab.key, &path).await.ok();
    assert_eq!((seen.status, seen.version), (CaseStatus::Open, 1));
    assert_eq!(clinic.hub.get(&clinic.auditor.key, &path).await.problem().status, 404);

    let path = format!("/api/v1/organizations/{}/case-reads", clinic.id);
    let reads: Page<AuditedRead> = clinic.hub.get(&clinic.auditor.key, &path).await.ok();
    let told: Vec<(String, Vec<String>)> =
        reads.items.iter().map(|read| (read.actor.clone(), read.fields.clone())).collect();
    assert_eq!(told[0].0, format!("account:{}", clinic.doctor.account));
    assert_eq!(told[0].1, ["name", "phenotypes"]);
    assert_eq!((told.len(), told[1].1.len()), (2, 12), "no fields means all");
    // The leaf binds the fields: their digest is the event's statement.
    let events = format!("/api/v1/organizations/{}/events", clinic.id);
    let events: Page<Event> = clinic.hub.get(&clinic.auditor.key, &events).await.ok();
    let read = events.items.iter().find(|event| event.id == reads.items[0].event).unwrap();
    let digest = proof::sha256(b"chorion case fields v1\nname\nphenotypes\n");
    assert_eq!(read.leaf.as_ref().unwrap().statement, Some(digest));
}

#[tokio::test]
async fn nothing_that_an_auditor_can_get_holds_a_word_of_a_patient() {
    let clinic = Clinic::new().await;
    clinic.set_field("family_name", json!({})).await.ok::<FieldIndex>();
    clinic.settle().await;
    let [id] = clinic.add(&[canary()]).await[..] else { panic!("one case") };
    clinic.read(&clinic.doctor, id, &[]).await.ok::<OpenedCase>();
    assert_eq!(clinic.found("family_name", CANARIES[0]).await.len(), 1);
    let calls = super::refusals::operations();
    let mut answered = 0;
    for (method, template) in calls.iter().filter(|(method, _)| method == "GET") {
        let path = template
            .replace(
                "{id}",
                &if template.contains("organizations") {
                    clinic.id.to_string()
                } else if template.contains("projects") {
                    clinic.project.to_string()
                } else {
                    id.to_string()
                },
            )
            .replace("{account}", &clinic.auditor.account.to_string());
        if path.contains('{') {
            continue;
        }
        let answer = clinic.hub.call(&clinic.auditor.key, method, &path, ()).await;
        answered += usize::from(answer.status.is_success());
        let text = String::from_utf8_lossy(&answer.body);
        assert!(CANARIES.iter().all(|word| !text.contains(word)), "{path}: {text}");
    }
    assert!(answered > 8, "the auditor has answers to search");
}

#[tokio::test]
async fn equal_values_are_found_however_they_are_written_and_no_others() {
    let clinic = Clinic::new().await;
    let before = clinic.search("family_name", "Rossi").await.problem();
    assert_eq!(before.status, 409, "a field that is off is not searched: {}", before.title);
    let many: Vec<Value> = (0..40).map(patient).collect();
    let ids = clinic.add(&many).await;
    for (field, body) in [
        ("record_number", json!({})),
        ("family_name", json!({"mode": {"kind": "beacon", "bits": 4}})),
    ] {
        let index: FieldIndex = clinic.set_field(field, body).await.ok();
        assert_eq!(index.state, IndexState::Building);
        assert!(index.leaks.contains("who sees the database sees"), "{}", index.leaks);
    }
    clinic.settle().await;
    assert!(clinic.fields().await.iter().all(|index| index.state == IndexState::Live));
    let of = |name: usize| ids.iter().skip(name).step_by(4).copied().collect::<BTreeSet<_>>();
    // Sixteen hashes for four names and forty numbers: what is shown was opened and compared.
    assert_eq!(clinic.found("family_name", " rossi").await, of(0));
    assert_eq!(clinic.found("family_name", "MU\u{308}LLER").await, of(3));
    assert_eq!(clinic.found("family_name", "Neri").await, BTreeSet::new());
    assert_eq!(clinic.found("record_number", "00-00 07").await, BTreeSet::from([ids[7]]));
    for field in ["sex", "phenotype", "genotype"] {
        assert_eq!(clinic.set_field(field, json!({})).await.problem().status, 422);
        assert_eq!(clinic.search(field, "female").await.problem().status, 422);
    }
    // What changes is found by what it is now.
    let document = json!({"patient": {"record_number": "MRN 000007", "family_name": "Neri"}});
    let path = format!("/api/v1/cases/{}", ids[7]);
    let body = json!({"version": 1, "document": document});
    let case: Case = clinic.hub.call(&clinic.doctor.key, "PUT", &path, &body).await.ok();
    assert_eq!(case.version, 2);
    let stale = clinic.hub.call(&clinic.doctor.key, "PUT", &path, &body).await.problem();
    assert_eq!(stale.status, 409, "the version had changed meanwhile");
    assert_eq!(clinic.found("family_name", "neri").await, BTreeSet::from([ids[7]]));
    assert!(!clinic.found("family_name", "müller").await.contains(&ids[7]));
    // What is deleted is found no more, and nothing of it is left.
    let gone = json!({"confirm": ids[7]});
    clinic.hub.call(&clinic.doctor.key, "DELETE", &path, gone).await.ok::<Case>();
    assert_eq!(clinic.found("family_name", "neri").await, BTreeSet::new());
    let left: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM cases) * 1000 + (SELECT count(*) FROM case_hashes)",
    )
    .fetch_one(&mut *clinic.hub.hub.db.read().await.unwrap())
    .await
    .unwrap();
    assert_eq!(left, 39 * 1000 + 78);
}

#[tokio::test]
async fn an_index_that_is_stopped_half_way_goes_on_and_misses_nothing() {
    let mut clinic = Clinic::new().await;
    for hundred in 0..25 {
        let some: Vec<Value> = (hundred * 100..hundred * 100 + 100).map(patient).collect();
        clinic.add(&some).await;
    }
    // A hub that stops goes on with no index, so that exactly this one step is done.
    clinic.hub.hub.stopping.cancel();
    clinic.set_field("family_name", json!({})).await.ok::<FieldIndex>();
    let index =
        data::case_indexes::unfinished(&mut clinic.hub.hub.db.read().await.unwrap()).await.unwrap();
    app::cases::fields::step(&clinic.hub.hub, index[0].id).await.unwrap();
    clinic.with_key.hub = clinic.with_key.hub.restart().await;
    clinic.hub.hub.stopping.cancel();
    let [index] = &clinic.fields().await[..] else { panic!("one version") };
    assert_eq!((index.state, index.total, index.done), (IndexState::Building, 2500, 500));
    // What comes while it is built is in it, and until it is whole nobody is given half an answer.
    let late = clinic.add(&[patient(0)]).await[0];
    let answer = clinic.search("family_name", "Rossi").await.problem();
    assert_eq!(answer.status, 409);
    assert!(answer.title.contains("is being built"), "{}", answer.title);
    clinic.with_key.hub = clinic.with_key.hub.restart().await;
    clinic.settle().await;
    let found: FoundCases = clinic.search("family_name", "Rossi").await.ok();
    assert_eq!(found.cases.len(), 626);
    assert!(found.cases.iter().any(|case| case.id == late));

    // While the next version is built the one before answers, and then it is gone with its salt.
    clinic.set_field("family_name", json!({})).await.ok::<FieldIndex>();
    let newest = clinic.add(&[patient(0)]).await[0];
    let while_built: FoundCases = clinic.search("family_name", "Rossi").await.ok();
    assert_eq!(while_built.cases.len(), 627);
    assert!(while_built.cases.iter().any(|case| case.id == newest));
    clinic.settle().await;
    clinic.settle().await;
    let [index] = &clinic.fields().await[..] else { panic!("the older version is gone") };
    assert_eq!((index.version, index.state), (2, IndexState::Live));
    let after: FoundCases = clinic.search("family_name", "Rossi").await.ok();
    assert_eq!(after.cases.len(), 627);

    let path = format!("/api/v1/organizations/{}/fields/family_name", clinic.id);
    clinic.hub.call(&clinic.admin.key, "DELETE", &path, ()).await.ok::<Value>();
    assert_eq!(clinic.search("family_name", "Rossi").await.problem().status, 409);
    clinic.settle().await;
    assert!(clinic.fields().await.is_empty());
    let hashes: i64 = sqlx::query_scalar("SELECT count(*) FROM case_hashes")
        .fetch_one(&mut *clinic.hub.hub.db.read().await.unwrap())
        .await
        .unwrap();
    assert_eq!(hashes, 0);
}

#[tokio::test]
async fn without_the_customers_key_lists_go_on_and_nothing_else_until_it_is_back() {
    let clinic = Clinic::new().await;
    clinic.set_field("family_name", json!({})).await.ok::<FieldIndex>();
    clinic.settle().await;
    let ids = clinic.add(&[patient(0), patient(1)]).await;
    clinic.take_the_key_away();
    let path = format!("/api/v1/projects/{}/cases", clinic.project);
    let add = json!({"cases": [{"id": CaseId::generate(), "document": patient(2)}]});
    let case = format!("/api/v1/cases/{}", ids[0]);
    let update = json!({"version": 1, "document": patient(3)});
    let conclusion = json!({"conclusion": "nothing was found"});
    let hub = &clinic.hub;
    for (what, answer) in [
        ("read", clinic.read(&clinic.doctor, ids[0], &[]).await),
        ("search", clinic.search("family_name", "Rossi").await),
        ("add", hub.call(&clinic.doctor.key, "POST", &path, add).await),
        ("update", hub.call(&clinic.doctor.key, "PUT", &case, update).await),
        (
            "conclude",
            hub.call(&clinic.doctor.key, "POST", &format!("{case}/conclusion"), conclusion).await,
        ),
    ] {
        let problem = answer.problem();
        assert_eq!((problem.status, problem.code), (423, api::ErrorCode::KeyAway), "{what}");
        let key = problem.key.expect("it says which key");
        assert_eq!(key.provider, api::KeyProvider::LocalFile, "{what}");
        assert!(problem.hint.is_some(), "{what}");
    }
    let listed: Page<Case> = hub.get(&clinic.doctor.key, &path).await.ok();
    assert_eq!(listed.items.len(), 2, "nothing was written");
    assert!(listed.items.iter().all(|case| case.version == 1));
    // What cannot be opened can still be destroyed.
    let gone = json!({"confirm": ids[1]});
    let second = format!("/api/v1/cases/{}", ids[1]);
    hub.call(&clinic.doctor.key, "DELETE", &second, gone).await.ok::<Case>();
    clinic.give_it_back();
    assert_eq!(clinic.found("family_name", "Rossi").await, BTreeSet::from([ids[0]]));
    clinic.read(&clinic.doctor, ids[0], &[]).await.ok::<OpenedCase>();
}

#[tokio::test]
async fn a_new_data_key_takes_case_keys_over_before_the_old_one_goes() {
    let clinic = Clinic::new().await;
    let ids = clinic.add(&[patient(0), patient(1)]).await;
    let path = format!("/api/v1/organizations/{}/key/rotate", clinic.id);
    let rotate = json!({"kind": "data_key"});
    clinic.hub.call(&clinic.admin.key, "POST", &path, rotate).await.ok::<api::Rotation>();
    let late = clinic.add(&[patient(2)]).await[0];
    for _ in 0..3 {
        app::organization_keys::go_on(&clinic.hub.hub).await.unwrap();
        clinic.hub.pass(61);
    }
    let path = format!("/api/v1/organizations/{}/key", clinic.id);
    let status: api::OrganizationKeyStatus = clinic.hub.get(&clinic.admin.key, &path).await.ok();
    let data: Vec<u32> = status
        .versions
        .iter()
        .filter(|key| key.purpose == api::KeyPurpose::Data)
        .map(|key| key.version)
        .collect();
    assert_eq!(data, [2], "the old version is gone");
    for id in [ids[0], ids[1], late] {
        clinic.read(&clinic.doctor, id, &[]).await.ok::<OpenedCase>();
    }
}

/// The keys that stand beside the wrapped keys for the sheet of a case, with their cases.
async fn beside(clinic: &Clinic, id: CaseId) -> std::collections::BTreeMap<CaseId, Vec<u8>> {
    let kept = data::cases::find(&mut clinic.hub.hub.db.read().await.unwrap(), id).await.unwrap();
    let sheet = app::descriptions::sheet_of(kept.map_or(1, |kept| kept.number));
    let keys = clinic.hub.hub.keys.record_keys(sheet.into_bytes()).await.unwrap();
    keys.into_iter().map(|(id, key)| (CaseId::from_bytes(id), key)).collect()
}

#[tokio::test]
async fn a_case_stands_beside_the_wrapped_keys_sealed_until_it_is_deleted_with_a_mark_everywhere() {
    let clinic = Clinic::new().await;
    let hub = &clinic.hub.hub;
    let ids = clinic.add(&[canary(), patient(1)]).await;
    let version = |key: &[u8]| custody::organization::kept_version(clinic.id, key).unwrap();
    let keys = beside(&clinic, ids[0]).await;
    assert_eq!(keys.keys().copied().collect::<Vec<_>>(), ids);
    assert!(keys.values().all(|key| version(key) == 1));
    let sheet = app::descriptions::sheet_of(1).into_bytes();
    let text = hub.keys.description(sheet).await.unwrap().unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains(&ids[0].to_string()) && !text.contains("\"key\":"), "{text}");
    assert!(CANARIES.iter().all(|word| !text.contains(word)));

    // A new data key takes them over here too before the old one goes.
    let path = clinic.path("/rotate");
    let rotate = json!({"kind": "data_key"});
    clinic.hub.call(&clinic.admin.key, "POST", &path, rotate).await.ok::<api::Rotation>();
    app::organization_keys::go_on(hub).await.unwrap();
    assert!(beside(&clinic, ids[0]).await.values().all(|key| version(key) == 2));

    let mark = |id: CaseId| {
        let mark = app::datasets::deletion_mark(id.to_bytes());
        hub.store.is_erased(&[store::BlobHash::from_bytes(mark.0)])
    };
    assert_eq!(mark(ids[0]), [false]);
    let gone = json!({"confirm": ids[0]});
    let path = format!("/api/v1/cases/{}", ids[0]);
    clinic.hub.call(&clinic.doctor.key, "DELETE", &path, gone).await.ok::<Case>();
    assert_eq!((mark(ids[0]), mark(ids[1])), (vec![true], vec![false]));
    assert_eq!(beside(&clinic, ids[1]).await.keys().copied().collect::<Vec<_>>(), [ids[1]]);
    let text = hub.keys.description(sheet).await.unwrap().unwrap();
    assert!(!String::from_utf8(text).unwrap().contains(&ids[0].to_string()));
}

#[tokio::test]
async fn a_case_is_concluded_and_closed_by_a_second_person_where_that_is_wanted() {
    let clinic = Clinic::new().await;
    let hub = &clinic.hub;
    let rules = format!("/api/v1/organizations/{}/case-rules", clinic.id);
    let wanted = json!({"second_person": true});
    assert_eq!(hub.call(&clinic.doctor.key, "PUT", &rules, &wanted).await.problem().status, 403);
    hub.call(&clinic.admin.key, "PUT", &rules, &wanted).await.ok::<Value>();
    let [id] = clinic.add(&[canary()]).await[..] else { panic!("one case") };
    let path = format!("/api/v1/cases/{id}");
    let close = format!("{path}/close");
    let early = hub.call(&clinic.doctor.key, "POST", &close, ()).await.problem();
    assert_eq!(early.status, 409, "{}", early.title);
    let body = json!({"conclusion": CANARIES[5]});
    let concluded: Case =
        hub.call(&clinic.doctor.key, "POST", &format!("{path}/conclusion"), body).await.ok();
    assert_eq!(concluded.status, CaseStatus::Concluded);
    assert_eq!(hub.call(&clinic.doctor.key, "POST", &close, ()).await.problem().status, 403);
    assert_eq!(hub.call(&clinic.lab.key, "POST", &close, ()).await.problem().status, 403);
    let closed: Case = hub.call(&clinic.second.key, "POST", &close, ()).await.ok();
    assert_eq!(closed.status, CaseStatus::Closed);
    let update = json!({"version": closed.version, "document": canary()});
    assert_eq!(hub.call(&clinic.doctor.key, "PUT", &path, update).await.problem().status, 409);
    let opened: OpenedCase = clinic.read(&clinic.doctor, id, &["conclusion"]).await.ok();
    assert_eq!(opened.document.conclusion.as_deref(), Some(CANARIES[5]));
}

#[tokio::test]
async fn a_sealed_case_opens_in_its_own_row_alone() {
    let clinic = Clinic::new().await;
    let ids = clinic.add(&[patient(0), patient(1)]).await;
    let mut tx = clinic.hub.hub.db.write().await.unwrap();
    sqlx::query(
        "UPDATE cases SET (key, document) = (SELECT key, document FROM cases WHERE id = $1) WHERE id = $2",
    )
    .bind(ids[0].to_string())
    .bind(ids[1].to_string())
    .execute(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
    clinic.read(&clinic.doctor, ids[0], &[]).await.ok::<OpenedCase>();
    let moved = clinic.read(&clinic.doctor, ids[1], &[]).await.problem();
    assert!(moved.status >= 400 && !moved.title.contains("Rossi"), "{}", moved.title);
}

#[tokio::test]
async fn pages_show_a_patient_after_a_form_with_a_purpose_alone_and_say_what_a_field_leaks() {
    let clinic = Clinic::new().await;
    clinic.set_field("family_name", json!({})).await.ok::<FieldIndex>();
    clinic.settle().await;
    let [id] = clinic.add(&[canary()]).await[..] else { panic!("one case") };
    let mut browsers = Vec::new();
    for (person, name) in [(&clinic.doctor, "doc"), (&clinic.lab, "lab")] {
        let body = json!({"sign_in_name": name, "password": "copper vein in slate"});
        let kept = clinic.hub.call(&person.key, "PUT", "/api/v1/account/password", body).await;
        assert!(kept.status.is_success(), "{}", kept.status);
        let mut browser = TestBrowser::new(&clinic.hub);
        browser.sign_in(name, "copper vein in slate").await;
        browsers.push(browser);
    }
    let text = |answer: Answer| String::from_utf8(answer.body).unwrap();
    let silent = |text: &str| CANARIES.iter().all(|word| !text.contains(word));
    let [doctor, lab] = &mut browsers[..] else { panic!("two browsers") };
    let (case, cases) = (format!("/cases/{id}"), format!("/projects/{}/cases", clinic.project));
    let listed = text(doctor.get(&cases).await);
    assert!(listed.contains(&case) && silent(&listed), "{listed}");
    let shown = text(doctor.get(&case).await);
    assert!(shown.contains("What for") && silent(&shown), "{shown}");
    let form = [("field", "name"), ("purpose", "treatment")];
    let read = text(doctor.post(&case, &format!("{case}/read"), &form).await);
    assert!(read.contains(CANARIES[0]) && !read.contains(CANARIES[2]), "{read}");
    let refused = lab.post(&case, &format!("{case}/read"), &form).await;
    assert_eq!(refused.status.as_u16(), 403);
    assert!(silent(&text(refused)));
    let search = [("field", "family_name"), ("value", "CANARINI-finch"), ("purpose", "treatment")];
    let found = text(doctor.post(&cases, &format!("{cases}/search"), &search).await);
    assert!(found.contains(&case) && silent(&found), "{found}");
    let off = [("field", "email"), ("value", "x@example.test"), ("purpose", "treatment")];
    let off = doctor.post(&cases, &format!("{cases}/search"), &off).await;
    assert_eq!(off.status.as_u16(), 409);
    let fields = text(doctor.get(&format!("/organizations/{}/fields", clinic.id)).await);
    assert!(fields.contains("who sees the database sees"), "{fields}");
    let path = format!("/api/v1/organizations/{}/case-reads", clinic.id);
    let reads: Page<AuditedRead> = clinic.hub.get(&clinic.auditor.key, &path).await.ok();
    let acts: Vec<&str> = reads.items.iter().map(|read| read.act.as_str()).collect();
    assert_eq!(acts, ["case.read", "case.search"]);

    // It is concluded and closed on its page; a page shows no conclusion unless it is read.
    let conclusion = [("conclusion", "one finding\r\nof no meaning\r\n")];
    let conclude = format!("{case}/conclude");
    assert_eq!(lab.post(&case, &conclude, &conclusion).await.status.as_u16(), 403);
    assert_eq!(doctor.post(&case, &conclude, &conclusion).await.status.as_u16(), 303);
    let concluded = text(doctor.get(&case).await);
    assert!(concluded.contains("Close the case") && !concluded.contains("one finding"));
    let closed = doctor.post(&case, &format!("{case}/close"), &[]).await;
    assert_eq!(closed.status.as_u16(), 303);
    assert!(!text(doctor.get(&case).await).contains("Close the case"));
    let opened: OpenedCase = clinic.read(&clinic.doctor, id, &["conclusion"]).await.ok();
    assert_eq!(opened.document.conclusion.as_deref(), Some("one finding\nof no meaning"));
    assert_eq!(doctor.post(&case, &conclude, &conclusion).await.status.as_u16(), 409);
}

/// How a word may be spelled in a file.
fn spelled(word: &str) -> Vec<Vec<u8>> {
    let mut all = vec![
        word.as_bytes().to_vec(),
        HEXLOWER.encode(word.as_bytes()).into_bytes(),
        HEXUPPER.encode(word.as_bytes()).into_bytes(),
    ];
    // In base64 the letters depend on how many bytes stand before: those that depend on a neighbour are left out.
    for before in 0..3 {
        let padded = [vec![0; before], word.as_bytes().to_vec()].concat();
        let first = (before * 8_usize).div_ceil(6);
        let last = padded.len() * 8 / 6;
        all.push(BASE64.encode(&padded).as_bytes()[first..last].to_vec());
    }
    all
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

#[tokio::test]
async fn no_file_of_the_hub_holds_a_word_of_a_patient_in_any_spelling() {
    let clinic = Clinic::new().await;
    let mut texts = Vec::new();
    for field in ["record_number", "family_name", "given_name", "email"] {
        clinic.set_field(field, json!({})).await.ok::<FieldIndex>();
    }
    clinic.settle().await;
    let [id] = clinic.add(&[canary()]).await[..] else { panic!("one case") };
    let hub = &clinic.hub;
    clinic.read(&clinic.doctor, id, &[]).await.ok::<OpenedCase>();
    assert_eq!(clinic.found("record_number", CANARIES[2]).await.len(), 1);
    assert_eq!(clinic.found("email", CANARIES[3]).await.len(), 1);
    let path = format!("/api/v1/cases/{id}");
    let body = json!({"conclusion": CANARIES[5]});
    hub.call(&clinic.doctor.key, "POST", &format!("{path}/conclusion"), body).await.ok::<Case>();
    // Every way of getting it wrong, whose answers are searched too.
    let add = format!("/api/v1/projects/{}/cases", clinic.project);
    let case =
        |document: Value| json!({"cases": [{"id": CaseId::generate(), "document": document}]});
    for wrong in [
        case(json!({"patient": {"record_number": CANARIES[2], "birth_date": CANARIES[0]}})),
        case(json!({"patient": {"record_number": CANARIES[2], "sex": CANARIES[1]}})),
        case(json!({"patient": {"family_name": format!("{}\n", CANARIES[0])}})),
        case(
            json!({"patient": {"family_name": CANARIES[0]}, "phenotypes": [{"term": CANARIES[4]}]}),
        ),
        case(json!({"patient": {"given_name": CANARIES[1]}})),
        json!({"cases": CANARIES[0]}),
        json!({CANARIES[0]: CANARIES[1]}),
    ] {
        let answer = hub.call(&clinic.doctor.key, "POST", &add, wrong).await;
        assert_eq!(answer.status.as_u16(), 422);
        texts.push(answer.body.to_vec());
    }
    texts.push(clinic.search("birth_date", CANARIES[0]).await.body.to_vec());
    texts.push(clinic.search("postal_code", CANARIES[0]).await.body.to_vec());
    // A backup is what SQLite copies out of a running database.
    let backup = hub.directory().join("backup.db");
    let database = format!("sqlite://{}", hub.directory().join("data/hub.db").display());
    let mut other = <sqlx::SqliteConnection as sqlx::Connection>::connect(&database).await.unwrap();
    sqlx::query("VACUUM INTO $1").bind(backup.to_str().unwrap()).execute(&mut other).await.unwrap();
    let mut paths = Vec::new();
    files(hub.directory(), &mut paths);
    let named = |end: &str| paths.iter().any(|path| path.to_string_lossy().ends_with(end));
    assert!(named("hub.db") && named("hub.db-wal") && named("backup.db"), "{paths:?}");
    texts.extend(paths.iter().map(|path| std::fs::read(path).unwrap()));
    let mut searched = 0;
    for word in CANARIES {
        for spelling in spelled(word) {
            for text in &texts {
                let found = text.windows(spelling.len()).any(|at| at == spelling);
                assert!(!found, "`{word}` stands in clear");
                searched += 1;
            }
        }
    }
    assert!(searched > 100);
    // The search finds what is there: the id of the case stands in clear.
    let there = spelled(&id.to_string())[0].clone();
    assert!(texts.iter().any(|text| text.windows(there.len()).any(|at| at == there)));
}
