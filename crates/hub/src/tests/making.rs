//! What people make by forms: projects, cases, links of cases, blocks; and what a page shows of a key's policy, by a call.

use api::{
    Block, Case, CaseId, Custodian, DatasetKind, ErrorCode, Event, KeyPolicy, KeyPolicyForm,
    Member, OpenedCase, Page, Project, ProjectId, Sex,
};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::abuse::{HOSTILE, from};
use super::cases::Clinic;
use super::forms::signed_in;
use super::material::sent;
use super::pages::{Page as _, TestBrowser};
use crate::testing::{Answer, Person, Signed, TestHub};

const NEW: &str = "/projects/new";

/// The id that a page drew for what its form makes.
async fn drawn(browser: &mut TestBrowser<'_>, page: &str) -> String {
    let text = browser.get(page).await.text();
    let mark = "name=\"id\" value=\"";
    text.split(mark).nth(1).unwrap().split('"').next().unwrap().to_owned()
}

async fn project(hub: &TestHub, who: &Person, path: &str) -> Project {
    hub.get(&who.key, &format!("/api/v1{path}")).await.ok()
}

async fn projects(hub: &TestHub, who: &Person) -> usize {
    hub.get(&who.key, "/api/v1/projects").await.ok::<Page<Project>>().items.len()
}

async fn acts(hub: &TestHub, who: &Person, act: &str) -> Vec<String> {
    let events: Page<Event> = hub.get(&who.key, "/api/v1/audit/events?limit=1000").await.ok();
    events.items.into_iter().filter(|e| e.act == act).map(|e| e.actor).collect()
}

#[tokio::test]
async fn a_project_is_made_on_a_page_once_and_none_there_whose_owner_alone_holds_the_key() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let ada = hub.person(&operator, "Ada").await;
    let mut browser = signed_in(&hub, &ada, "ada").await;
    let empty = browser.get("/projects").await.text();
    assert!(empty.contains("No project yet") && empty.contains(r#"href="/projects/new""#));
    let shown = browser.get(NEW).await.text();
    assert!(shown.contains("https://keys.example") && shown.contains("--custodian owner"));
    assert!(!shown.contains(r#"value="organization""#), "she belongs to none");

    let id = drawn(&mut browser, NEW).await;
    let fields = |name: &'static str, custodian: &'static str| {
        [("id", id.clone()), ("name", name.to_owned()), ("custodian", custodian.to_owned())]
    };
    let mut make = async |name: &'static str, custodian: &'static str| -> Answer {
        let fields = fields(name, custodian);
        let fields: Vec<_> = fields.iter().map(|(name, text)| (*name, text.as_str())).collect();
        browser.post(NEW, NEW, &fields).await
    };
    for (name, custodian, status, says) in [
        (" ", "platform", 422, "is not one line of 1 to 100 characters"),
        ("Panel", "organization", 422, "is for projects that belong to one"),
        ("Panel", "owner", 403, "signed on the owner&#39;s device"),
    ] {
        let refused = make(name, custodian).await;
        assert_eq!(refused.status.as_u16(), status, "{custodian}");
        let text = refused.text();
        assert!(text.contains("role=\"alert\"") && text.contains(says), "{text}");
        assert!(text.contains(&id) && text.contains(&format!("value=\"{name}\"")), "it is kept");
    }
    assert_eq!(projects(&hub, &ada).await, 0);

    let there = format!("/projects/{id}");
    assert_eq!(make("Panel <1>", "platform").await.to(), there);
    assert_eq!(make("Panel <1>", "platform").await.to(), there, "the same form once more");
    assert_eq!(make("Another", "platform").await.status, StatusCode::CONFLICT);
    let made = project(&hub, &ada, &there).await;
    assert_eq!((made.name.as_deref(), made.owner), (Some("Panel <1>"), ada.account));
    assert_eq!((made.custodian, made.organization), (Custodian::Platform, None));
    assert_eq!(projects(&hub, &ada).await, 1);
    let by = format!("account:{}", ada.account);
    assert_eq!(acts(&hub, &ada, "project.create").await, [by]);
    let page = browser.get(&there).await.text();
    assert!(page.contains("Panel &#60;1&#62;") && page.contains("Who holds the key"));
    // Somebody else's form with her id finds nothing out and makes nothing.
    let mut other = signed_in(&hub, &operator, "operator").await;
    let fields = [("id", id.as_str()), ("name", "Panel <1>"), ("custodian", "platform")];
    assert_eq!(other.post(NEW, NEW, &fields).await.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn in_an_organization_a_project_is_made_under_its_own_key_or_the_reason_why_not_is_said() {
    let clinic = super::organization_keys::Clinic::new().await;
    let hub = &clinic.hub;
    let mut browser = signed_in(hub, &clinic.lab, "lab").await;
    let shown = browser.get(NEW).await.text();
    assert!(shown.contains("The key of clinic cannot hold it"), "{shown}");
    assert!(
        shown.contains("has no key of its own yet") && !shown.contains(r#"value="organization""#)
    );
    let id = drawn(&mut browser, NEW).await;
    let fields = [("id", id.as_str()), ("name", "ward"), ("custodian", "organization")];
    assert_eq!(browser.post(NEW, NEW, &fields).await.status, StatusCode::CONFLICT);

    clinic.set("first", None).await;
    let shown = browser.get(NEW).await.text();
    assert!(shown.contains(r#"value="organization" checked"#), "the stricter one is proposed");
    let made = browser.post(NEW, NEW, &fields).await;
    let ward = project(hub, &clinic.lab, made.to()).await;
    assert_eq!((ward.custodian, ward.organization), (Custodian::Organization, Some(clinic.id)));
    assert_eq!(ward.name.as_deref(), Some("ward"));
    for (belongs, organization) in [(true, Some(clinic.id)), (false, None)] {
        let id = drawn(&mut browser, NEW).await;
        let mut fields = vec![("id", id.as_str()), ("name", "shelf"), ("custodian", "platform")];
        if belongs {
            fields.push(("belongs", "yes"));
        }
        let made = browser.post(NEW, NEW, &fields).await;
        let shelf = project(hub, &clinic.lab, made.to()).await;
        assert_eq!((shelf.custodian, shelf.organization), (Custodian::Platform, organization));
    }

    // Without the customer's key none is made, and what was typed is still there.
    clinic.take_away();
    hub.pass(301);
    let id = drawn(&mut browser, NEW).await;
    let fields = [("id", id.as_str()), ("name", "second ward"), ("custodian", "organization")];
    let refused = browser.post(NEW, NEW, &fields).await;
    assert_eq!(refused.status, StatusCode::LOCKED);
    assert!(refused.text().contains("second ward"));
    assert_eq!(projects(hub, &clinic.lab).await, 3);

    let mut auditor = signed_in(hub, &clinic.auditor, "auditor").await;
    assert_eq!(auditor.get(NEW).await.status, StatusCode::FORBIDDEN);
    let seen = auditor.get("/projects").await.text();
    assert!(!seen.contains(NEW) && seen.contains("An auditor has no project"));
    let refused = auditor.post("/account", NEW, &fields).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
}

const NAME: &str = "Canarini-Finch";

#[tokio::test]
async fn a_case_is_typed_on_a_page_and_what_is_not_taken_is_said_beside_its_field() {
    let clinic = Clinic::new().await;
    let hub = &clinic.hub;
    let list = format!("/projects/{}/cases", clinic.project);
    let new = format!("{list}/new");
    let mut browser = signed_in(hub, &clinic.doctor, "doctor").await;
    assert!(browser.get(&list).await.text().contains(&new));
    let id = drawn(&mut browser, &new).await;
    let wrong = [
        ("id", id.as_str()),
        ("family_name", NAME),
        ("birth_date", "31.12.1987"),
        ("phenotypes", "HP:0001250\r\nit sings"),
        ("notes", "yellow feathers"),
    ];
    let refused = browser.post(&new, &new, &wrong).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let text = refused.text();
    for said in [
        "nothing was kept",
        "This is no date",
        "aria-describedby=\"phenotypes-hint phenotypes-wrong\" aria-invalid=\"true\"",
        "Line 2 does not begin with an HPO term",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    for kept in [NAME, "it sings", "yellow feathers", id.as_str()] {
        assert!(text.contains(kept), "{kept}");
    }
    let cases = async || {
        let path = format!("/api/v1{list}");
        hub.get(&clinic.doctor.key, &path).await.ok::<Page<Case>>().items
    };
    assert!(cases().await.is_empty());

    let right = [
        ("id", id.as_str()),
        ("record_number", "770041993"),
        ("family_name", NAME),
        ("birth_date", "1987-03-09"),
        ("sex", "female"),
        ("phenotypes", "HP:0001250 Seizure\r\nnot HP:0000252\r\n"),
        ("notes", "yellow feathers"),
    ];
    let there = format!("/cases/{id}");
    for _once_and_once_more in 0..2 {
        assert_eq!(browser.post(&new, &new, &right).await.to(), there);
    }
    assert_eq!(cases().await.len(), 1);
    let shown = browser.get(&there).await.text();
    assert!(!shown.contains(NAME), "reading names a purpose");
    let id: CaseId = id.parse().unwrap();
    let opened: OpenedCase = clinic.read(&clinic.second, id, &[]).await.ok();
    let document = opened.document;
    assert_eq!(document.patient.family_name.as_deref(), Some(NAME));
    assert_eq!(document.patient.sex, Some(Sex::Female));
    assert_eq!(document.patient.birth_date, Some(jiff::civil::date(1987, 3, 9)));
    let terms: Vec<_> = document.phenotypes.iter().map(|p| (p.term.as_str(), p.excluded)).collect();
    assert_eq!(terms, [("HP:0001250", false), ("HP:0000252", true)]);
    assert_eq!(document.notes[0].author, Some(clinic.doctor.account));

    // Without the customer's key nothing is kept, and what was typed is still there.
    clinic.take_away();
    hub.pass(301);
    let another = drawn(&mut browser, &new).await;
    let fields = [("id", another.as_str()), ("family_name", "Serinus")];
    let refused = browser.post(&new, &new, &fields).await;
    assert_eq!(refused.status, StatusCode::LOCKED);
    assert!(refused.text().contains("Serinus"));
    assert_eq!(cases().await.len(), 1);
}

#[tokio::test]
async fn a_phenopacket_is_read_into_the_fields_and_kept_only_when_it_is_added() {
    let clinic = Clinic::new().await;
    let new = format!("/projects/{}/cases/new", clinic.project);
    let mut browser = signed_in(&clinic.hub, &clinic.doctor, "doctor").await;
    let packet = json!({
        "id": "case-7", "subject": {"id": "770041993", "sex": "FEMALE", "dateOfBirth": "1987-03-09T00:00:00Z"},
        "phenotypicFeatures": [{"type": {"id": "HP:0001250", "label": "Seizure"}, "onset": {"age": {"iso8601duration": "P3Y"}}}],
        "diseases": [{"term": {"id": "OMIM:1", "label": "none"}}],
    });
    // A file is read into the field by a script of the hub's own; without one it is pasted.
    let shown = browser.get(&new).await.text();
    let script = shown.split('"').find(|part| part.starts_with("/assets/files-")).unwrap();
    assert!(browser.get(script).await.text().contains("data-into"));
    assert!(shown.contains(r#"type="file" accept=".json,application/json" data-into="document""#));
    let read = browser.post(&new, &new, &[("document", &packet.to_string())]).await;
    assert!(read.status.is_success());
    let text = read.text();
    for said in [
        "nothing is kept yet",
        "diseases, phenotypes.onset",
        "value=\"770041993\"",
        "value=\"1987-03-09\"",
        "value=\"female\" selected",
        "HP:0001250 Seizure</textarea>",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let two = json!([{"patient": {"record_number": "1"}}, {"patient": {"record_number": "2"}}]);
    for (pasted, says) in [
        ("{\"patient\": {\"nickname\": \"Serinus\"}}".to_owned(), "line 1, column"),
        (two.to_string(), "holds 2 cases"),
    ] {
        let refused = browser.post(&new, &new, &[("document", &pasted)]).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(refused.text().contains(says) && refused.text().contains("&#34;patient&#34;"));
    }
    let path = format!("/api/v1/projects/{}/cases", clinic.project);
    let kept: Page<Case> = clinic.hub.get(&clinic.doctor.key, &path).await.ok();
    assert!(kept.items.is_empty());
}

#[tokio::test]
async fn who_does_not_treat_adds_no_case_and_is_not_asked_for_one() {
    let clinic = Clinic::new().await;
    let hub = &clinic.hub;
    let list = format!("/projects/{}/cases", clinic.project);
    let new = format!("{list}/new");
    let fields = [("family_name", NAME)];
    let mut lab = signed_in(hub, &clinic.lab, "lab").await;
    let seen = lab.get(&list).await;
    assert!(seen.status.is_success() && !seen.text().contains(&new));
    assert_eq!(lab.get(&new).await.status, StatusCode::FORBIDDEN);
    let refused = lab.post(&list, &new, &fields).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(!refused.text().contains(NAME));
    let mut auditor = signed_in(hub, &clinic.auditor, "auditor").await;
    assert_eq!(auditor.get(&new).await.status, StatusCode::NOT_FOUND);
    assert_eq!(auditor.post("/account", &new, &fields).await.status, StatusCode::NOT_FOUND);
    // Where no organization holds the key no case is kept.
    let shelf = ProjectId::generate();
    let mut body = hub.new_project(shelf, "shelf");
    body.organization = Some(clinic.id);
    hub.call(&clinic.doctor.key, "POST", "/api/v1/projects", body).await.ok::<Project>();
    let mut doctor = signed_in(hub, &clinic.doctor, "doctor").await;
    let new = format!("/projects/{shelf}/cases/new");
    assert_eq!(doctor.get(&new).await.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn samples_are_linked_to_a_case_on_its_page_and_taken_away() {
    let clinic = Clinic::new().await;
    let hub = &clinic.hub;
    let [id] = clinic.add(&[super::cases::patient(0)]).await[..] else { panic!("one case") };
    let (page, path) = (format!("/cases/{id}"), format!("/api/v1/cases/{id}"));
    let links = format!("{page}/datasets");
    let linked = async || hub.get(&clinic.doctor.key, &path).await.ok::<Case>().datasets;
    let shelf = ProjectId::generate();
    let mut body = hub.new_project(shelf, "shelf");
    body.organization = Some(clinic.id);
    hub.call(&clinic.doctor.key, "POST", "/api/v1/projects", body).await.ok::<Project>();
    let files: [(&str, &[u8]); 1] = [("a.vcf", b"x")];
    let sample = sent(hub, &clinic.doctor.key, shelf, DatasetKind::Sample, &files).await.dataset();
    let run = sent(hub, &clinic.doctor.key, shelf, DatasetKind::Run, &files).await.dataset();
    let (sample_id, run_id) = (sample.to_string(), run.to_string());
    let mut browser = signed_in(hub, &clinic.doctor, "doctor").await;
    for (typed, status, says) in [
        ("the left one", StatusCode::UNPROCESSABLE_ENTITY, "the id of no sample or result"),
        (run_id.as_str(), StatusCode::CONFLICT, "is no sample or result"),
    ] {
        let refused = browser.post(&page, &links, &[("dataset", typed)]).await;
        assert_eq!(refused.status, status);
        let text = refused.text();
        assert!(text.contains(says) && text.contains(&format!("value=\"{typed}\"")), "{text}");
    }
    assert!(linked().await.is_empty());
    assert_eq!(browser.post(&page, &links, &[("dataset", &sample_id)]).await.to(), page);
    assert_eq!(linked().await, [sample]);
    // Somebody who may not change cases sees it and changes nothing.
    let away = format!("{links}/{sample}/remove");
    let reader = format!("/api/v1/projects/{}/members/{}", clinic.project, clinic.second.account);
    let right = json!({"right": "read"});
    hub.call(&clinic.lab.key, "PUT", &reader, right).await.ok::<Member>();
    let mut second = signed_in(hub, &clinic.second, "second").await;
    assert_eq!(second.post(&page, &away, &[]).await.status, StatusCode::FORBIDDEN);
    assert_eq!(linked().await, [sample]);
    assert_eq!(browser.post(&page, &away, &[]).await.to(), page);
    assert!(linked().await.is_empty());
}

#[tokio::test]
async fn a_case_is_deleted_on_its_page_by_who_types_its_id_also_while_the_key_is_away() {
    let clinic = Clinic::new().await;
    let hub = &clinic.hub;
    let [id] = clinic.add(&[super::cases::patient(0)]).await[..] else { panic!("one case") };
    let (page, typed) = (format!("/cases/{id}/delete"), id.to_string());
    let mut lab = signed_in(hub, &clinic.lab, "lab").await;
    let refused = lab.post(&page, &page, &[("confirm", &typed)]).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    clinic.take_away();
    hub.pass(301);
    let mut browser = signed_in(hub, &clinic.doctor, "doctor").await;
    let refused = browser.post(&page, &page, &[("confirm", "it")]).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let list = format!("/projects/{}/cases", clinic.project);
    assert_eq!(browser.post(&page, &page, &[("confirm", &typed)]).await.to(), list);
    assert_eq!(browser.get(&format!("/cases/{id}")).await.status, StatusCode::NOT_FOUND);
    assert!(browser.get(&list).await.text().contains("No cases yet"));
}

#[tokio::test]
async fn an_operator_blocks_on_a_page_for_a_time_and_nobody_blocks_where_they_call_from() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let bob = hub.person(&operator, "Bob").await;
    let mut browser = signed_in(&hub, &operator, "operator").await;
    let (page, form) = ("/hub", "/hub/blocks");
    let fields = |what: &'static str, subject: &'static str, hours: &'static str, reason| {
        [("what", what), ("subject", subject), ("hours", hours), ("reason", reason)]
    };
    for (wrong, status, says) in [
        (fields("address", "192.0.2", "1", "scans"), 422, "is neither"),
        (fields("address", "203.0.113.7", "1", " "), 422, "reason is not one line"),
        (fields("address", "203.0.113.7", "soon", "scans"), 422, "no number of hours"),
        (fields("address", "127.0.0.1", "1", "scans"), 409, "stands for many callers"),
        (fields("key", "203.0.113.7", "", "scans"), 422, "is neither"),
    ] {
        let refused = browser.post(page, form, &wrong).await;
        assert_eq!(refused.status.as_u16(), status, "{says}");
        let text = refused.text();
        assert!(text.contains(says) && text.contains(wrong[1].1), "{says}: {text}");
    }
    let blocks = async || hub.get(&operator.key, "/api/v1/blocks").await.ok::<Page<Block>>().items;
    assert!(blocks().await.is_empty());
    let right = fields("address", "203.0.113.7", "24", "knocked all night");
    assert_eq!(browser.post(page, form, &right).await.to(), page);
    let id = bob.key.public().id().to_string();
    let key =
        [("what", "key"), ("subject", id.as_str()), ("hours", ""), ("reason", "a script ran wild")];
    assert_eq!(browser.post(page, form, &key).await.to(), page);
    let all = blocks().await;
    let of = |subject: &str| all.iter().find(|block| block.subject == subject).unwrap();
    let address = of("address:203.0.113.7");
    assert_eq!(
        (address.reason.as_str(), address.by),
        ("knocked all night", Some(operator.account))
    );
    assert_eq!(address.until.map(|until| until.as_second()), Some(hub.now() + 86_400));
    let key = of(&format!("key:{id}"));
    assert_eq!((all.len(), key.until), (2, None));
    assert_eq!(hub.get(&bob.key, "/api/v1/whoami").await.code(), ErrorCode::TooManyRequests);
    let by = format!("account:{}", operator.account);
    assert_eq!(acts(&hub, &operator, "block.add").await, [by.clone(), by]);
    assert!(browser.get(page).await.text().contains("knocked all night"));
    let lift = format!("{form}/{}/lift", key.id);
    assert_eq!(browser.post(page, &lift, &[]).await.to(), page);
    hub.get(&bob.key, "/api/v1/whoami").await.ok::<Value>();

    // From an address that an operator blocks nobody is heard: not even the one who would lift it.
    browser.address = Some(HOSTILE.parse().unwrap());
    let own = fields("address", HOSTILE, "1", "scans");
    let refused = browser.post(page, form, &own).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(refused.text().contains("you call from there"));
    let body = json!({"subject": format!("address:{HOSTILE}"), "reason": "scans"});
    let body = serde_json::to_vec(&body).unwrap();
    let call = Signed::new("POST", "/api/v1/blocks", body).by(&operator.key, hub.now());
    assert_eq!(hub.send(from(HOSTILE, call)).await.code(), ErrorCode::Conflict);
    assert_eq!(blocks().await.len(), 1);

    let eve = hub.person(&operator, "Eve").await;
    let mut other = signed_in(&hub, &eve, "eve").await;
    let refused = other.post("/account", form, &right).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(blocks().await.len(), 1);
}

#[tokio::test]
async fn a_keys_policy_is_given_by_a_call_as_the_page_shows_it() {
    let clinic = super::organization_keys::Clinic::new().await;
    let hub = &clinic.hub;
    let vault = "https%3A%2F%2Fclinic.vault.azure.net%2Fkeys%2Fcustomer";
    let asked = format!("policy?form=az-cli&key={vault}&principal=4711");
    let path = clinic.path(&format!("/{asked}"));
    let given: KeyPolicy = hub.get(&clinic.lab.key, &path).await.ok();
    assert_eq!(given.form, KeyPolicyForm::AzCli);
    assert!(given.policy.contains("Key Vault Crypto Service Encryption User"));
    let mut browser = signed_in(hub, &clinic.lab, "lab").await;
    let page = browser.get(&format!("/organizations/{}/key/{asked}", clinic.id)).await.text();
    let shown = page.split("<pre>").nth(1).unwrap().split("</pre>").next().unwrap();
    let plain = shown.replace("&#39;", "'").replace("&#34;", "\"").replace("&#38;", "&");
    assert_eq!(plain, given.policy);
    for wrong in ["", "?form=az-cli&key=x&principal=y", "?form=none&key=x&principal=y", "?key=x"] {
        let refused = hub.get(&clinic.lab.key, &clinic.path(&format!("/policy{wrong}"))).await;
        assert_eq!(refused.code(), ErrorCode::BadRequest, "{wrong}");
    }
    let words: Vec<String> = KeyPolicyForm::ALL
        .iter()
        .map(|form| serde_json::to_value(form).unwrap().as_str().unwrap().to_owned())
        .collect();
    assert_eq!(words, KeyPolicyForm::ALL.map(KeyPolicyForm::as_str));
}
