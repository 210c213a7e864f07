//! What people make by forms: projects, cases, links of cases, blocks; and what a page shows of a key's policy, by a call.

use api::{Block, Custodian, ErrorCode, Event, KeyPolicy, KeyPolicyForm, Page, Project};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::abuse::{HOSTILE, from};
use super::forms::signed_in;
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
