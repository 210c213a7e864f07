//! Organizations: roles, what an administrator may, and what an auditor never sees.

use std::collections::BTreeSet;

use api::{
    AuditedAccount, AuditedKey, AuditedProject, AuditedRight, Custodian, DatasetKind, ErrorCode,
    Event, Invitation, Organization, OrganizationCustody, OrganizationId, OrganizationMember,
    OwnKey, Page, Plan, Project, ProjectId, Right, Role, Whoami,
};
use serde_json::{Value, json};

use super::material::{at, sent};
use super::refusals::operations;
use crate::testing::{Person, TestHub, signing_key};

pub(super) async fn organization(hub: &TestHub, operator: &Person, name: &str) -> OrganizationId {
    let body = json!({"name": name});
    let made: Organization =
        hub.call(&operator.key, "POST", "/api/v1/organizations", body).await.ok();
    made.id
}

/// A new account of the organization.
pub(super) async fn member(hub: &TestHub, by: &Person, id: OrganizationId, role: Role) -> Person {
    let path = format!("/api/v1/organizations/{id}/members");
    let body = json!({"name": "somebody", "role": role});
    let invited: Invitation = hub.call(&by.key, "POST", &path, body).await.ok();
    let key = signing_key();
    let who: Whoami = hub.enrol(&key, &invited.code, "").await.ok();
    assert_eq!(who.account.belongs.map(|b| (b.organization, b.role)), Some((id, role)));
    Person { key, account: who.account.id }
}

/// A project of the organization.
async fn project(hub: &TestHub, by: &Person, id: OrganizationId) -> ProjectId {
    let project = ProjectId::generate();
    let mut body = hub.new_project(project, "panel");
    body.organization = Some(id);
    let made: Project = hub.call(&by.key, "POST", "/api/v1/projects", body).await.ok();
    assert_eq!(made.organization, Some(id));
    project
}

#[tokio::test]
async fn an_administrator_invites_and_disables_accounts_of_the_organization_and_of_no_other() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let (clinic, other) =
        (organization(&hub, &operator, "clinic").await, organization(&hub, &operator, "b").await);
    let admin = member(&hub, &operator, clinic, Role::Administrator).await;
    let lab = member(&hub, &admin, clinic, Role::Lab).await;
    let theirs = member(&hub, &operator, other, Role::Lab).await;
    let disable = |id: OrganizationId, who: &Person| {
        format!("/api/v1/organizations/{id}/members/{}/disable", who.account)
    };
    for path in [disable(other, &theirs), disable(clinic, &theirs), disable(clinic, &operator)] {
        assert_eq!(hub.call(&admin.key, "POST", &path, ()).await.code(), ErrorCode::NotFound);
    }
    let own = hub.call(&admin.key, "POST", &disable(clinic, &admin), ()).await;
    assert_eq!(own.code(), ErrorCode::Conflict);
    let by_lab = hub.call(&lab.key, "POST", &disable(clinic, &admin), ()).await;
    assert_eq!(by_lab.code(), ErrorCode::Forbidden);
    hub.call(&admin.key, "POST", &disable(clinic, &lab), ()).await.ok::<OrganizationMember>();
    assert_eq!(hub.get(&lab.key, "/api/v1/whoami").await.code(), ErrorCode::UnknownKey);
    hub.get(&theirs.key, "/api/v1/whoami").await.ok::<Whoami>();
    // Running an organization is not running the hub.
    assert_eq!(hub.get(&admin.key, "/api/v1/accounts").await.code(), ErrorCode::Forbidden);
    let mine: Page<Organization> = hub.get(&admin.key, "/api/v1/organizations").await.ok();
    assert_eq!(mine.items.iter().map(|one| one.id).collect::<Vec<_>>(), [clinic]);
}

#[tokio::test]
async fn an_administrator_brings_nobody_in_who_is_not_of_the_organization() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let clinic = organization(&hub, &operator, "clinic").await;
    let admin = member(&hub, &operator, clinic, Role::Administrator).await;
    let grace = hub.person(&operator, "Grace").await;
    let path = format!("/api/v1/organizations/{clinic}/members/{}", grace.account);
    let lab = json!({"role": "lab"});
    assert_eq!(hub.call(&admin.key, "PUT", &path, &lab).await.code(), ErrorCode::Forbidden);
    hub.call(&operator.key, "PUT", &path, &lab).await.ok::<OrganizationMember>();
    let other = organization(&hub, &operator, "other").await;
    let path = format!("/api/v1/organizations/{other}/members/{}", grace.account);
    assert_eq!(hub.call(&operator.key, "PUT", &path, &lab).await.code(), ErrorCode::Conflict);
}

#[tokio::test]
async fn the_last_administrator_stays() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let clinic = organization(&hub, &operator, "clinic").await;
    let admin = member(&hub, &operator, clinic, Role::Administrator).await;
    let path = format!("/api/v1/organizations/{clinic}/members/{}", admin.account);
    let lab = json!({"role": "lab"});
    for by in [&admin, &operator] {
        assert_eq!(hub.call(&by.key, "PUT", &path, &lab).await.code(), ErrorCode::Conflict);
        assert_eq!(hub.call(&by.key, "DELETE", &path, ()).await.code(), ErrorCode::Conflict);
    }
    let disable = hub.call(&operator.key, "POST", &format!("{path}/disable"), ()).await;
    assert_eq!(disable.code(), ErrorCode::Conflict);
    let second = member(&hub, &admin, clinic, Role::Administrator).await;
    hub.call(&admin.key, "DELETE", &path, ()).await.ok::<OrganizationMember>();
    // It has left, with its account, and finds the organization no more.
    let who: Whoami = hub.get(&admin.key, "/api/v1/whoami").await.ok();
    assert_eq!(who.account.belongs, None);
    let show = hub.get(&admin.key, &format!("/api/v1/organizations/{clinic}")).await;
    assert_eq!(show.code(), ErrorCode::NotFound);
    let path = format!("/api/v1/organizations/{clinic}/members/{}", second.account);
    assert_eq!(hub.call(&second.key, "DELETE", &path, ()).await.code(), ErrorCode::Conflict);
}

#[tokio::test]
async fn who_leaves_an_organization_leaves_its_projects_and_owns_none_of_them() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let clinic = organization(&hub, &operator, "clinic").await;
    let admin = member(&hub, &operator, clinic, Role::Administrator).await;
    let lab = member(&hub, &admin, clinic, Role::Lab).await;
    let clinician = member(&hub, &admin, clinic, Role::Clinician).await;
    let theirs = project(&hub, &lab, clinic).await;
    let private = hub.project(&lab, "private").await;
    for project in [theirs, private] {
        let path = format!("/api/v1/projects/{project}/members/{}", clinician.account);
        hub.call(&lab.key, "PUT", &path, json!({"right": "read"})).await.ok::<api::Member>();
    }
    let path = |who: &Person| format!("/api/v1/organizations/{clinic}/members/{}", who.account);
    let owner = hub.call(&admin.key, "DELETE", &path(&lab), ()).await;
    assert_eq!(owner.code(), ErrorCode::Conflict);
    // An offer that was made before the taker left is not accepted after.
    let offer = json!({"to": clinician.account, "reseal": false});
    let offers = format!("/api/v1/projects/{theirs}/transfer");
    let offer: api::Transfer = hub.call(&lab.key, "POST", &offers, offer).await.ok();
    hub.call(&admin.key, "DELETE", &path(&clinician), ()).await.ok::<OrganizationMember>();
    let accept = format!("/api/v1/transfers/{}/accept", offer.id);
    let accepted = hub.call(&clinician.key, "POST", &accept, ()).await;
    assert_eq!(accepted.code(), ErrorCode::Conflict);
    let seen = hub.get(&clinician.key, &format!("/api/v1/projects/{theirs}")).await;
    assert_eq!(seen.code(), ErrorCode::NotFound);
    hub.get(&clinician.key, &format!("/api/v1/projects/{private}")).await.ok::<Project>();
    // What they did while they belonged to it is still the organization's to read.
    let path = format!("/api/v1/organizations/{clinic}/events");
    let events: Page<Event> = hub.get(&admin.key, &path).await.ok();
    let actor = format!("account:{}", clinician.account);
    assert!(events.items.iter().any(|e| e.actor == actor && e.act == "account.enrol"));
    let left = format!("account:{}", clinician.account);
    assert!(events.items.iter().any(|e| e.act == "organization.remove" && e.object == left));
}

#[tokio::test]
async fn bring_your_own_key_needs_the_plan_and_a_key() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let clinic = organization(&hub, &operator, "clinic").await;
    let admin = member(&hub, &operator, clinic, Role::Administrator).await;
    let lab = member(&hub, &admin, clinic, Role::Lab).await;
    let mut body = hub.new_project(ProjectId::generate(), "hers");
    body.custodian = Custodian::Organization;
    let nowhere = hub.call(&lab.key, "POST", "/api/v1/projects", &body).await;
    assert_eq!(nowhere.code(), ErrorCode::BadRequest);
    body.organization = Some(clinic);
    let refused = hub.call(&lab.key, "POST", "/api/v1/projects", &body).await.problem();
    assert_eq!(refused.code, ErrorCode::NotInPlan);
    assert!(refused.title.contains("needs the enterprise plan"), "{}", refused.title);
    let custody = format!("/api/v1/organizations/{clinic}/custody");
    let state: OrganizationCustody = hub.get(&admin.key, &custody).await.ok();
    assert_eq!((state.plan, state.own_key), (Plan::Standard, OwnKey::NotInPlan));
    let plan = format!("/api/v1/organizations/{clinic}/plan");
    let enterprise = json!({"plan": "enterprise"});
    let own = hub.call(&admin.key, "PUT", &plan, &enterprise).await;
    assert_eq!(own.code(), ErrorCode::Forbidden);
    let set: Organization = hub.call(&operator.key, "PUT", &plan, &enterprise).await.ok();
    assert_eq!(set.plan, Plan::Enterprise);
    let refused = hub.call(&lab.key, "POST", "/api/v1/projects", &body).await.problem();
    assert_eq!(refused.code, ErrorCode::Conflict);
    assert!(refused.title.contains("has no key of its own yet"), "{}", refused.title);
    let state: OrganizationCustody = hub.get(&admin.key, &custody).await.ok();
    assert_eq!(state.own_key, OwnKey::NotSet);
}

#[tokio::test]
async fn an_auditor_sees_what_was_done_and_never_data() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let clinic = organization(&hub, &operator, "clinic").await;
    let lab = member(&hub, &operator, clinic, Role::Lab).await;
    let auditor = member(&hub, &operator, clinic, Role::Auditor).await;
    let theirs = project(&hub, &lab, clinic).await;
    let private = hub.project(&lab, "private").await;
    let data = sent(&hub, &lab.key, theirs, DatasetKind::Run, &[("x", b"ACGT")]).await;
    sent(&hub, &lab.key, private, DatasetKind::Run, &[("x", b"ACGT")]).await;

    let path = format!("/api/v1/organizations/{clinic}/events");
    let events: Page<Event> = hub.get(&auditor.key, &path).await.ok();
    let made: Vec<_> = events.items.iter().filter(|e| e.act == "project.create").collect();
    assert_eq!(
        made.iter().map(|e| e.object.clone()).collect::<Vec<_>>(),
        [format!("project:{theirs}")]
    );
    assert_eq!(hub.get(&lab.key, &path).await.code(), ErrorCode::Forbidden);
    for path in
        [format!("/api/v1/projects/{theirs}"), at(data.dataset(), ""), at(data.dataset(), "/files")]
    {
        assert_eq!(hub.get(&auditor.key, &path).await.code(), ErrorCode::NotFound, "{path}");
    }
    let member = format!("/api/v1/projects/{theirs}/members/{}", auditor.account);
    let set = hub.call(&lab.key, "PUT", &member, json!({"right": "browse"})).await;
    assert_eq!(set.code(), ErrorCode::Conflict);
    let offer = json!({"to": auditor.account, "reseal": false});
    let offered =
        hub.call(&lab.key, "POST", &format!("/api/v1/projects/{theirs}/transfer"), offer).await;
    assert_eq!(offered.code(), ErrorCode::Conflict);
    let own = hub.new_project(ProjectId::generate(), "own");
    let made = hub.call(&auditor.key, "POST", "/api/v1/projects", own).await;
    assert_eq!(made.code(), ErrorCode::Forbidden);
    let lists: Page<Value> = hub.get(&auditor.key, "/api/v1/datasets").await.ok();
    assert!(lists.items.is_empty());
    // And who has projects does not become an auditor.
    let path = format!("/api/v1/organizations/{clinic}/members/{}", lab.account);
    let set = hub.call(&operator.key, "PUT", &path, json!({"role": "auditor"})).await;
    assert_eq!(set.code(), ErrorCode::Conflict);
}

#[tokio::test]
async fn a_project_of_an_organization_is_made_and_handed_over_within_it() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let clinic = organization(&hub, &operator, "clinic").await;
    let lab = member(&hub, &operator, clinic, Role::Lab).await;
    let clinician = member(&hub, &operator, clinic, Role::Clinician).await;
    let grace = hub.person(&operator, "Grace").await;
    let mut body = hub.new_project(ProjectId::generate(), "hers");
    body.organization = Some(clinic);
    let by_stranger = hub.call(&grace.key, "POST", "/api/v1/projects", &body).await;
    assert_eq!(by_stranger.code(), ErrorCode::NotFound);
    // An operator cares for accounts, and makes no project there.
    let by_operator = hub.call(&operator.key, "POST", "/api/v1/projects", &body).await;
    assert_eq!(by_operator.code(), ErrorCode::Forbidden);
    let theirs = project(&hub, &lab, clinic).await;
    let path = format!("/api/v1/projects/{theirs}/transfer");
    for (to, fits) in [(grace.account, false), (clinician.account, true)] {
        let offered = hub.call(&lab.key, "POST", &path, json!({"to": to, "reseal": false})).await;
        if fits {
            offered.ok::<api::Transfer>();
        } else {
            assert_eq!(offered.code(), ErrorCode::Conflict);
        }
    }
}

/// Every call that reads, with ids of real things where it takes some.
fn reads(things: &[(&str, String)]) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for (method, template) in operations() {
        if method != "GET" {
            continue;
        }
        for (noun, id) in things {
            let about = template.split('/').nth(3) == Some(noun);
            if about || !template.contains('{') {
                let path = template.replace("{id}", id).replace("{number}", "1");
                paths.insert(path.replace("{account}", id).replace("{object}", "x"));
            }
        }
    }
    paths
}

#[tokio::test]
async fn no_answer_to_an_auditor_holds_a_name_of_a_project_sample_or_file_or_a_purpose() {
    const CANARIES: [&str; 4] =
        ["fernweh-project", "240611_A01234", "fernweh-reads.fastq", "fernweh-why"];
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let clinic = organization(&hub, &operator, "clinic").await;
    let lab = member(&hub, &operator, clinic, Role::Lab).await;
    let auditor = member(&hub, &operator, clinic, Role::Auditor).await;
    let project = ProjectId::generate();
    let mut body = hub.new_project(project, CANARIES[0]);
    body.organization = Some(clinic);
    hub.call(&lab.key, "POST", "/api/v1/projects", body).await.ok::<Project>();
    let files: &[(&str, &[u8])] = &[(CANARIES[2], b"ACGT")];
    let sample = sent(&hub, &lab.key, project, DatasetKind::Sample, files).await;
    let recipient = seal::recipient::RecipientSecret::generate().unwrap().public().to_bytes();
    let release = json!({"recipient": api::Bytes(recipient), "purpose": CANARIES[3]});
    let path = at(sample.dataset(), "/release");
    hub.call(&lab.key, "POST", &path, release).await.ok::<api::Release>();

    let (id, p) = (sample.dataset().to_string(), project.to_string());
    let things = [
        ("organizations", clinic.to_string()),
        ("projects", p),
        ("datasets", id.clone()),
        ("samples", id.clone()),
        ("runs", id.clone()),
        ("results", id),
    ];
    let paths = reads(&things);
    let all = async |who: &Person| {
        let (mut text, mut answered) = (String::new(), 0);
        for path in &paths {
            let answer = hub.get(&who.key, path).await;
            answered += usize::from(answer.status.is_success());
            text.push_str(&String::from_utf8_lossy(&answer.body));
        }
        (text, answered)
    };
    let (text, _) = all(&lab).await;
    for name in &CANARIES[..3] {
        assert!(text.contains(name), "the lab reads `{name}`, so the search can find it");
    }
    let owners: Page<Event> = hub.get(&lab.key, "/api/v1/audit/events").await.ok();
    assert!(owners.items.iter().any(|e| e.purpose.as_deref() == Some(CANARIES[3])));
    let (text, answered) = all(&auditor).await;
    assert!(answered >= 12, "the auditor reads something: {answered} of {} calls", paths.len());
    for name in CANARIES {
        assert!(!text.contains(name), "`{name}` reached the auditor");
    }
    assert!(text.contains(&sample.dataset().to_string()), "the act is there, by id");
}

#[tokio::test]
async fn an_auditor_reads_accounts_their_last_use_keys_rights_and_projects() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let clinic = organization(&hub, &operator, "clinic").await;
    let lab = member(&hub, &operator, clinic, Role::Lab).await;
    let auditor = member(&hub, &operator, clinic, Role::Auditor).await;
    let grace = hub.person(&operator, "Grace").await;
    let theirs = project(&hub, &lab, clinic).await;
    hub.project(&lab, "private").await;
    let path = format!("/api/v1/projects/{theirs}/members/{}", grace.account);
    hub.call(&lab.key, "PUT", &path, json!({"right": "read"})).await.ok::<api::Member>();
    hub.pass(3600);
    hub.get(&auditor.key, "/api/v1/whoami").await.ok::<Whoami>();

    let of = |what: &str| format!("/api/v1/organizations/{clinic}/{what}");
    let accounts: Page<AuditedAccount> = hub.get(&auditor.key, &of("accounts")).await.ok();
    let used = |who: &Person| {
        accounts.items.iter().find(|a| a.account == who.account).unwrap().last_used.unwrap()
    };
    assert_eq!(accounts.items.len(), 2);
    assert_eq!(used(&auditor).as_second(), hub.now());
    assert!(used(&lab).as_second() <= hub.now() - 3600, "{}", used(&lab));
    let keys: Page<AuditedKey> = hub.get(&auditor.key, &of("keys")).await.ok();
    assert_eq!(keys.items.len(), 2);
    assert!(keys.items.iter().all(|key| key.last_used.is_some()));
    let projects: Page<AuditedProject> = hub.get(&auditor.key, &of("projects")).await.ok();
    assert_eq!(projects.items.iter().map(|p| p.project).collect::<Vec<_>>(), [theirs]);
    let first: Page<AuditedRight> = hub.get(&auditor.key, &of("rights?limit=1")).await.ok();
    let rest: Page<AuditedRight> = hub.get(&auditor.key, &first.next.unwrap()).await.ok();
    let mut rights: Vec<_> = first.items.iter().chain(&rest.items).collect();
    rights.sort_by_key(|right| right.right);
    let rights: Vec<_> = rights.iter().map(|r| (r.account, r.inside, r.right)).collect();
    assert_eq!(rights, [(grace.account, false, Right::Read), (lab.account, true, Right::Owner)]);
    let table: api::PermissionTable = hub.get(&auditor.key, "/api/v1/permissions").await.ok();
    assert!(table.acts.iter().all(|act| act.cells.len() == table.columns.len()));
    for what in ["accounts", "keys", "projects", "rights", "custody", "events"] {
        assert_eq!(hub.get(&lab.key, &of(what)).await.code(), ErrorCode::Forbidden, "{what}");
        assert_eq!(hub.get(&grace.key, &of(what)).await.code(), ErrorCode::NotFound, "{what}");
    }
}

#[tokio::test]
async fn events_of_an_organization_are_of_a_period_and_outlive_its_projects() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let clinic = organization(&hub, &operator, "clinic").await;
    let lab = member(&hub, &operator, clinic, Role::Lab).await;
    let auditor = member(&hub, &operator, clinic, Role::Auditor).await;
    hub.pass(1000);
    let early = api::Time::from_second(hub.now()).unwrap();
    let theirs = project(&hub, &lab, clinic).await;
    hub.pass(1000);
    let late = api::Time::from_second(hub.now()).unwrap();
    let gone = json!({"confirm": theirs});
    let path = format!("/api/v1/projects/{theirs}");
    hub.call(&lab.key, "DELETE", &path, gone).await.ok::<api::Deletion>();
    let acts = async |query: &str| {
        let path = format!("/api/v1/organizations/{clinic}/events{query}");
        let page: Page<Event> = hub.get(&auditor.key, &path).await.ok();
        page.items.into_iter().map(|event| event.act).collect::<Vec<_>>()
    };
    assert_eq!(acts(&format!("?from={early}&to={late}")).await, ["project.create"]);
    assert_eq!(acts(&format!("?from={late}")).await, ["project.delete"]);
    let before = acts(&format!("?to={early}")).await;
    assert_eq!(before.iter().filter(|act| *act == "organization.invite").count(), 2);
    assert_eq!(before.iter().filter(|act| *act == "account.enrol").count(), 2);
    // Operators' acts about the hub are not the organization's.
    assert!(!before.iter().any(|act| act == "account.invite"));
}
