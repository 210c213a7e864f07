//! What people do by forms about people and keys: members of projects, accounts of organizations, an organization's key, and what is
//! typed to bring files.

use api::{
    DatasetKind, ErrorCode, KeyLimit, Member, Notice, NoticeKind, OrganizationId,
    OrganizationKeyStatus, Page, ProjectId, RecoveryCopy, Right, Role, Transfer, Whoami,
};
use axum::http::StatusCode;
use seal::recipient::RecipientSecret;

use super::organization_keys::Clinic;
use super::organizations::{member, organization};
use super::pages::{PASSWORD, Page as _, TestBrowser};
use super::website::with_password;
use crate::testing::{Person, TestHub, signing_key};

async fn told(hub: &TestHub, who: &Person) -> Vec<NoticeKind> {
    let notices: Page<Notice> = hub.get(&who.key, "/api/v1/notices").await.ok();
    notices.items.into_iter().map(|notice| notice.kind).collect()
}

pub(super) async fn signed_in<'a>(hub: &'a TestHub, who: &Person, name: &str) -> TestBrowser<'a> {
    with_password(hub, who, name).await;
    let mut browser = TestBrowser::new(hub);
    assert_eq!(browser.sign_in(name, PASSWORD).await.to(), "/");
    browser
}

async fn rights(hub: &TestHub, who: &Person, project: ProjectId) -> Vec<(String, Right)> {
    let path = format!("/api/v1/projects/{project}/members");
    let members: Page<Member> = hub.get(&who.key, &path).await.ok();
    members.items.into_iter().map(|member| (member.name, member.right)).collect()
}

#[tokio::test]
async fn members_are_added_changed_and_removed_on_a_page_hear_of_it_and_may_leave() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let (bob, eve) = (hub.person(&ada, "Bob").await, hub.person(&ada, "Eve").await);
    let project = hub.project(&ada, "panel").await;
    let mut browser = signed_in(&hub, &ada, "ada").await;
    let page = format!("/projects/{project}/members");
    let (bobs, eves) = (bob.account.to_string(), eve.account.to_string());

    let wrong = [("account", "<nobody>"), ("right", "read")];
    let refused = browser.post(&page, &page, &wrong).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.text().contains("id of no account") && refused.text().contains("&#60;nobody"));
    let owner = [("account", bobs.as_str()), ("right", "owner")];
    assert_eq!(browser.post(&page, &page, &owner).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    for account in [&bobs, &eves] {
        let fields = [("account", account.as_str()), ("right", "browse")];
        assert_eq!(browser.post(&page, &page, &fields).await.to(), page);
    }
    let write = format!("{page}/{bobs}");
    assert_eq!(browser.post(&page, &write, &[("right", "write")]).await.to(), page);
    assert_eq!(browser.post(&page, &write, &[("right", "write")]).await.to(), page);
    let mut all = rights(&hub, &ada, project).await;
    all.sort();
    let named = |name: &str, right| (name.to_owned(), right);
    assert_eq!(
        all,
        [named("Bob", Right::Write), named("Eve", Right::Browse), named("operator", Right::Owner)]
    );
    assert_eq!(told(&hub, &bob).await, [NoticeKind::MemberAdded, NoticeKind::MemberChanged]);
    assert!(browser.get(&page).await.text().contains("Bob"));

    // Who may not see to members sees them and no form, and a form that is sent all the same does nothing.
    let mut other = signed_in(&hub, &bob, "bob").await;
    let seen = other.get(&page).await.text();
    assert!(seen.contains("Eve") && !seen.contains("Add a member"));
    let leave = format!("/projects/{project}/leave");
    let fields = [("account", bobs.as_str()), ("right", "admin")];
    assert_eq!(other.post(&leave, &page, &fields).await.status, StatusCode::FORBIDDEN);
    let out = format!("{page}/{eves}/remove");
    assert_eq!(other.post(&leave, &out, &[]).await.status, StatusCode::FORBIDDEN);

    assert_eq!(browser.post(&page, &out, &[]).await.to(), page);
    assert_eq!(told(&hub, &eve).await, [NoticeKind::MemberAdded, NoticeKind::MemberRemoved]);
    assert_eq!(other.post(&leave, &leave, &[]).await.to(), "/projects");
    assert_eq!(told(&hub, &ada).await, [NoticeKind::PasswordChanged, NoticeKind::MemberLeft]);
    assert_eq!(other.get(&page).await.status, StatusCode::NOT_FOUND);
    assert_eq!(rights(&hub, &ada, project).await, [named("operator", Right::Owner)]);
    // A project has an owner: that one hands it over instead.
    assert_eq!(browser.post(&page, &leave, &[]).await.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn everybody_may_leave_a_project_by_a_call_and_no_limited_key_takes_anybody_out() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let bob = hub.person(&ada, "Bob").await;
    let project = hub.project(&ada, "panel").await;
    let path = format!("/api/v1/projects/{project}/members/{}", bob.account);
    let body = serde_json::json!({"right": "browse"});
    hub.call(&ada.key, "PUT", &path, body).await.ok::<Member>();
    let limit = KeyLimit { projects: None, scope: Right::Write, expires: None };
    let script = hub.limited(&bob, &limit).await;
    assert_eq!(hub.call(&script, "DELETE", &path, ()).await.code(), ErrorCode::Forbidden);
    let of_ada = format!("/api/v1/projects/{project}/members/{}", ada.account);
    assert_eq!(hub.call(&bob.key, "DELETE", &of_ada, ()).await.code(), ErrorCode::Forbidden);
    hub.call(&bob.key, "DELETE", &path, ()).await.ok::<Member>();
    assert_eq!(hub.call(&bob.key, "DELETE", &path, ()).await.code(), ErrorCode::NotFound);
}

#[tokio::test]
async fn a_project_is_offered_on_a_page_to_an_account_that_takes_it() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let bob = hub.person(&ada, "Bob").await;
    let project = hub.project(&ada, "panel").await;
    let mut browser = signed_in(&hub, &ada, "ada").await;
    let page = format!("/projects/{project}/transfer");
    let (own, bobs) = (ada.account.to_string(), bob.account.to_string());
    let fields = [("account", own.as_str()), ("how", "rewrap")];
    let refused = browser.post(&page, &page, &fields).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    let fields = [("account", bobs.as_str()), ("how", "rewrap")];
    let offered = browser.post(&page, &page, &fields).await;
    assert_eq!(offered.to(), "/projects");
    let transfers: Page<Transfer> = hub.get(&bob.key, "/api/v1/transfers").await.ok();
    let [offer] = &transfers.items[..] else { panic!("one offer") };
    assert!(offer.project == project && !offer.reseal);
    assert_eq!(told(&hub, &bob).await, [NoticeKind::TransferOffered]);
}

#[tokio::test]
async fn an_organizations_accounts_are_cared_for_on_its_page_by_administrators_alone() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let id: OrganizationId = organization(&hub, &operator, "clinic").await;
    let admin = member(&hub, &operator, id, Role::Administrator).await;
    let lab = member(&hub, &admin, id, Role::Lab).await;
    let mut browser = signed_in(&hub, &admin, "admin").await;
    let page = format!("/organizations/{id}");
    assert_eq!(browser.get("/organizations").await.to(), page);
    let members = format!("{page}/members");
    let invited = browser.post(&page, &members, &[("name", "Grace"), ("role", "clinician")]).await;
    let text = invited.text();
    assert!(invited.status.is_success() && text.contains("Grace is invited"), "{text}");
    let code = text.split("<pre>").nth(1).unwrap().split('<').next().unwrap().to_owned();
    assert!(!browser.get(&page).await.text().contains(&code), "it is shown once");
    let key = signing_key();
    let who: Whoami = hub.enrol(&key, &code, "").await.ok();
    assert_eq!(who.account.belongs.map(|belongs| belongs.role), Some(Role::Clinician));
    let grace = Person { key, account: who.account.id };

    let hers = format!("{members}/{}", grace.account);
    assert_eq!(browser.post(&page, &hers, &[("role", "auditor")]).await.to(), page);
    assert_eq!(told(&hub, &grace).await, [NoticeKind::RoleChanged]);
    let own = format!("{members}/{}", admin.account);
    for (path, fields) in [
        (own.clone(), &[("role", "lab")][..]),
        (format!("{own}/remove"), &[][..]),
        (format!("{own}/disable"), &[][..]),
    ] {
        let refused = browser.post(&page, &path, fields).await;
        assert_eq!(refused.status, StatusCode::CONFLICT, "{path}");
        assert!(refused.text().contains("role=\"alert\""));
    }
    let mut other = signed_in(&hub, &lab, "lab").await;
    let seen = other.get(&page).await.text();
    assert!(seen.contains("Grace") && !seen.contains("Invite somebody"));
    let refused = other.post(&page, &format!("{hers}/remove"), &[]).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(browser.post(&page, &format!("{hers}/remove"), &[]).await.to(), page);
    let notices = [NoticeKind::RoleChanged, NoticeKind::OrganizationLeft];
    assert_eq!(told(&hub, &grace).await, notices);
    let disable = format!("{members}/{}/disable", lab.account);
    assert_eq!(browser.post(&page, &disable, &[]).await.to(), page);
    assert!(other.get(&page).await.to().starts_with("/sign-in"));
    // Somebody from elsewhere finds no such organization.
    let eve = hub.person(&operator, "Eve").await;
    let mut outside = signed_in(&hub, &eve, "eve").await;
    assert_eq!(outside.get(&page).await.status, StatusCode::NOT_FOUND);
    assert!(outside.get("/organizations").await.text().contains("You belong to no organization"));
}

#[tokio::test]
async fn an_organizations_key_is_tested_set_copied_rotated_and_rehearsed_on_pages() {
    let clinic = Clinic::new().await;
    let hub = &clinic.hub;
    let mut browser = signed_in(hub, &clinic.admin, "admin").await;
    let (page, id) = (format!("/organizations/{}/key", clinic.id), clinic.id.to_string());
    let set = format!("{page}/set");
    assert_eq!(browser.get(&page).await.to(), set, "there is none yet");
    let chosen = browser.get(&format!("{set}?provider=azure_key_vault")).await.text();
    assert!(chosen.contains("A lost key is lost data") && chosen.contains("Tenant id"));

    // What was typed comes back, but for secrets.
    const SECRET: &str = "the value of a secret";
    let azure = [
        ("provider", "azure_key_vault"),
        ("key", "https://clinic.vault.azure.net/keys/customer"),
        ("client", "4711"),
        ("secret", SECRET),
        ("do", "test"),
    ];
    let refused = browser.post(&set, &set, &azure).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let text = refused.text();
    assert!(text.contains("tenant&#39;s id is missing") || text.contains("is missing"), "{text}");
    assert!(text.contains("keys/customer") && !text.contains(SECRET));

    let offline = RecipientSecret::generate().unwrap();
    let recovery = offline.public().to_string();
    let local = |what: &'static str, confirm| {
        [
            ("provider", "local_file"),
            ("key", "first"),
            ("recovery", recovery.as_str()),
            ("lease", "60"),
            ("confirm", confirm),
            ("do", what),
        ]
    };
    let refused = browser.post(&set, &set, &local("save", "another")).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.text().contains("is not organization"));
    let path = format!("/api/v1/organizations/{id}/key");
    assert_eq!(hub.get(&clinic.admin.key, &path).await.code(), ErrorCode::Conflict);
    let taken = browser.post(&set, &set, &local("save", id.as_str())).await;
    assert!(taken.status.is_success(), "{}", taken.text());
    let status: OrganizationKeyStatus = hub.get(&clinic.admin.key, &path).await.ok();
    assert_eq!((status.lease_seconds, status.recovery_stored), (60, Some(false)));
    let tested = browser.post(&set, &set, &local("test", "")).await;
    assert!(tested.text().contains("The test was good"), "{}", tested.text());

    // The copy is a file of sealed keys; that it is in hand is believed of its SHA-256.
    let file = browser.get(&format!("{page}/recovery")).await;
    let disposition = file.headers.get("content-disposition").unwrap().to_str().unwrap();
    assert!(disposition.starts_with("attachment; filename=\"recovery-"));
    let copy: RecoveryCopy = serde_json::from_slice(&file.body).unwrap();
    assert_eq!((copy.recipient.as_str(), copy.keys.len()), (recovery.as_str(), 3));
    let stored = format!("{page}/recovery/stored");
    let other = proof::sha256(b"another file").to_string();
    for (sha256, status) in
        [("abc", StatusCode::UNPROCESSABLE_ENTITY), (other.as_str(), StatusCode::CONFLICT)]
    {
        let refused = browser.post(&page, &stored, &[("sha256", sha256)]).await;
        assert_eq!(refused.status, status);
    }
    let sum = proof::sha256(&file.body).to_string();
    assert_eq!(browser.post(&page, &stored, &[("sha256", &sum)]).await.to(), page);
    assert!(browser.get(&page).await.text().contains("in your hands"));
    let rotate = format!("{page}/rotate");
    assert_eq!(browser.post(&page, &rotate, &[("kind", "customer_key")]).await.to(), page);
    assert!(browser.get(&page).await.text().contains("4 of 4 keys"));

    // A rehearsal: it serves, is taken away, is refused, is given back, serves.
    let drill = format!("{page}/drill");
    let mut press = async |step: &str, since: i64, says: &str| {
        let since = since.to_string();
        let answer =
            browser.post(&drill, &drill, &[("step", step), ("since", since.as_str())]).await;
        assert!(answer.text().contains(says), "{says}: {}", answer.text());
        let text = answer.text();
        let mark = "name=\"since\" value=\"";
        text.split(mark).nth(1).unwrap().split('"').next().unwrap().parse::<i64>().unwrap()
    };
    let began = press("begin", 0, "The key serves").await;
    hub.pass(5);
    assert_eq!(press("away", began, "It still serves, 5 s").await, began);
    clinic.take_away();
    hub.pass(61);
    let away = press("away", began, "Refused, 66 s").await;
    assert!(away > began);
    press("back", away, "Still refused").await;
    clinic.give_back();
    hub.pass(30);
    press("back", away, "It serves again, 30 s").await;

    let policy = format!("{page}/policy?form=az-cli&key=x&principal=y");
    assert_eq!(browser.get(&policy).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let vault = "https%3A%2F%2Fclinic.vault.azure.net%2Fkeys%2Fcustomer";
    let policy = format!("{page}/policy?form=az-cli&key={vault}&principal=4711");
    assert!(browser.get(&policy).await.text().contains("Key Vault Crypto Service Encryption User"));
    // An auditor sees how it stands and sets nothing.
    let mut auditor = signed_in(hub, &clinic.auditor, "auditor").await;
    assert!(auditor.get(&page).await.text().contains("in force"));
    let refused = auditor.post(&set, &set, &local("save", id.as_str())).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let recovery = auditor.get(&format!("{page}/recovery")).await;
    assert_eq!(recovery.status, StatusCode::FORBIDDEN);
    assert!(clinic.file("first").is_file());
}

#[tokio::test]
async fn what_brings_files_is_filled_in_for_who_may_bring_them() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let bob = hub.person(&ada, "Bob").await;
    let project = hub.project(&ada, "panel").await;
    let mut browser = signed_in(&hub, &ada, "ada").await;
    let page = format!("/projects/{project}/import");
    let kind = DatasetKind::Sample.as_str();
    let fields = [("what", kind), ("name", "NA 12878"), ("files", "a b.bam"), ("parent", "")];
    let text = browser.post(&page, &page, &fields).await.text();
    let line = format!(
        "chorion sample import &#39;a b.bam&#39; --project {project} --name=&#39;NA 12878&#39;"
    );
    assert!(text.contains(&line), "{text}");
    assert!(!text.contains("chorion login"), "a key signs for her");
    let nameless = [("what", "result"), ("name", " "), ("files", ""), ("parent", "")];
    assert_eq!(
        browser.post(&page, &page, &nameless).await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    let path = format!("/api/v1/projects/{project}/members/{}", bob.account);
    let body = serde_json::json!({"right": "read"});
    hub.call(&ada.key, "PUT", &path, body).await.ok::<Member>();
    let mut other = signed_in(&hub, &bob, "bob").await;
    assert_eq!(other.get(&page).await.status, StatusCode::FORBIDDEN);
}
