//! Projects, members, cards, transfers and deletion.

use api::{
    Deletion, ErrorCode, Event, Member, Outcome, Page, Project, ProjectId, Release, Right,
    SignedStatement, Transfer, TransferState,
};
use proof::{Card, open_statement};
use seal::DatasetKey;
use seal::recipient::{RecipientSecret, unwrap};
use serde_json::json;

use super::people::contains;
use crate::app::projects::own_context;
use crate::testing::{Person, TestHub};

fn at(id: ProjectId, rest: &str) -> String {
    format!("/api/v1/projects/{id}{rest}")
}

async fn add_member(hub: &TestHub, owner: &Person, id: ProjectId, who: &Person, right: Right) {
    let path = at(id, &format!("/members/{}", who.account));
    hub.call(&owner.key, "PUT", &path, json!({"right": right})).await.ok::<Member>();
}

#[tokio::test]
async fn a_project_shows_its_name_and_the_same_call_again_is_a_success() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let id = ProjectId::generate();
    let body = hub.new_project(id, "Café 7");
    let made: Project = hub.call(&ada.key, "POST", "/api/v1/projects", &body).await.ok();
    assert_eq!((made.name.as_deref(), made.right), (Some("Café 7"), Right::Owner));
    assert_eq!((made.card_number, made.owner), (1, ada.account));
    let again: Project = hub.call(&ada.key, "POST", "/api/v1/projects", &body).await.ok();
    assert_eq!(made, again);
    let shown: Project = hub.get(&ada.key, &at(id, "")).await.ok();
    assert_eq!(made, shown);
    // Another call under the same id, by the same caller or another one, is refused.
    let other = hub.new_project(id, "other");
    assert_eq!(
        hub.call(&ada.key, "POST", "/api/v1/projects", &other).await.code(),
        ErrorCode::Conflict
    );
    let eve = hub.person(&ada, "Eve").await;
    assert_eq!(
        hub.call(&eve.key, "POST", "/api/v1/projects", &body).await.code(),
        ErrorCode::Conflict
    );
}

#[tokio::test]
async fn a_project_made_twice_at_the_same_time_is_made_once() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let body = hub.new_project(ProjectId::generate(), "once");
    let calls = (0..6).map(|_| hub.call(&ada.key, "POST", "/api/v1/projects", &body));
    for answer in futures_util::future::join_all(calls).await {
        answer.ok::<Project>();
    }
    let all: Page<Project> = hub.get(&ada.key, "/api/v1/projects").await.ok();
    assert_eq!(all.items.len(), 1);
}

#[tokio::test]
async fn a_project_key_for_another_place_is_refused() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let mut body = hub.new_project(ProjectId::generate(), "x");
    body.id = ProjectId::generate();
    let refused = hub.call(&ada.key, "POST", "/api/v1/projects", &body).await;
    assert_eq!(refused.code(), ErrorCode::KeyRefused);
    let mut body = hub.new_project(ProjectId::generate(), "x");
    body.label = api::Bytes(vec![0; 64]);
    let refused = hub.call(&ada.key, "POST", "/api/v1/projects", &body).await;
    assert_eq!(refused.code(), ErrorCode::BadRequest);
}

#[tokio::test]
async fn the_card_is_signed_by_the_hub_and_names_the_custodians_key() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let id = hub.project(&ada, "p").await;
    let signed: SignedStatement = hub.get(&ada.key, &at(id, "/card")).await.ok();
    let (card, signer) = open_statement::<Card>(&signed).unwrap();
    let who: api::Whoami = hub.get(&ada.key, "/api/v1/whoami").await.ok();
    assert_eq!(signer.to_bytes().to_vec(), who.hub.card_key.0);
    assert_eq!(Some(card.recipient), who.hub.custodians[0].recipient);
    assert_eq!((card.hub, card.number, card.test), (who.hub.id, 1, false));
    // Both keys and the hub's id outlive a restart.
    let hub = hub.restart().await;
    let again: SignedStatement = hub.get(&ada.key, &at(id, "/card")).await.ok();
    assert_eq!(signed, again);
    let later: api::Whoami = hub.get(&ada.key, "/api/v1/whoami").await.ok();
    assert_eq!((later.hub.card_key, later.hub.custodians), (who.hub.card_key, who.hub.custodians));
}

#[tokio::test]
async fn lists_come_in_pages_that_lead_to_the_end() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let mut made = Vec::new();
    for n in 0..7 {
        made.push(hub.project(&ada, &n.to_string()).await);
    }
    let mut seen = Vec::new();
    let mut next = Some("/api/v1/projects?limit=3".to_owned());
    let mut pages = 0;
    while let Some(path) = next {
        let page: Page<Project> = hub.get(&ada.key, &path).await.ok();
        seen.extend(page.items.iter().map(|project| project.id));
        next = page.next;
        pages += 1;
    }
    made.sort_unstable();
    assert_eq!((seen, pages), (made, 3));
}

#[tokio::test]
async fn a_project_is_there_for_its_members_only_and_browse_is_not_admin() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let grace = hub.person(&ada, "Grace").await;
    let eve = hub.person(&ada, "Eve").await;
    let id = hub.project(&grace, "p").await;
    // Running the hub does not open it.
    assert_eq!(hub.get(&ada.key, &at(id, "")).await.code(), ErrorCode::NotFound);
    add_member(&hub, &grace, id, &eve, Right::Browse).await;
    let seen: Project = hub.get(&eve.key, &at(id, "")).await.ok();
    assert_eq!((seen.right, seen.name.as_deref()), (Right::Browse, Some("p")));
    let path = at(id, &format!("/members/{}", ada.account));
    let refused = hub.call(&eve.key, "PUT", &path, json!({"right": "browse"})).await;
    assert_eq!(refused.code(), ErrorCode::Forbidden);
    // Nobody becomes owner by membership, and the owner does not become less.
    let refused = hub.call(&grace.key, "PUT", &path, json!({"right": "owner"})).await;
    assert_eq!(refused.code(), ErrorCode::BadRequest);
    let own = at(id, &format!("/members/{}", grace.account));
    let refused = hub.call(&grace.key, "PUT", &own, json!({"right": "browse"})).await;
    assert_eq!(refused.code(), ErrorCode::Conflict);
    assert_eq!(hub.call(&grace.key, "DELETE", &own, ()).await.code(), ErrorCode::Conflict);

    let members: Page<Member> = hub.get(&grace.key, &at(id, "/members")).await.ok();
    let rights: Vec<Right> = members.items.iter().map(|member| member.right).collect();
    assert_eq!(rights, [Right::Owner, Right::Browse]);
    let gone = at(id, &format!("/members/{}", eve.account));
    hub.call(&grace.key, "DELETE", &gone, ()).await.ok::<Member>();
    assert_eq!(hub.get(&eve.key, &at(id, "")).await.code(), ErrorCode::NotFound);
    assert_eq!(hub.call(&grace.key, "DELETE", &gone, ()).await.code(), ErrorCode::NotFound);
}

#[tokio::test]
async fn the_projects_key_goes_to_the_named_recipient_and_the_event_says_so() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let id = hub.project(&ada, "p").await;
    let mine = RecipientSecret::generate().unwrap();
    let recipient = api::Bytes(mine.public().to_bytes());
    let body = json!({"recipient": recipient, "purpose": "list"});
    let release: Release = hub.call(&ada.key, "POST", &at(id, "/release"), body).await.ok();
    let key = unwrap(&mine, &own_context(id).bytes(), &release.wrapped_key.0).unwrap();
    let project: Project = hub.get(&ada.key, &at(id, "")).await.ok();
    let name = seal::label::open_label(&key, "project name", &project.label.0).unwrap();
    assert_eq!(name, b"p");

    let events: Page<Event> =
        hub.get(&ada.key, &format!("/api/v1/audit/events?object=project:{id}")).await.ok();
    let last = events.items.last().unwrap();
    assert_eq!((last.act.as_str(), last.purpose.as_deref()), ("project.release", Some("list")));
    assert_eq!(last.actor, format!("account:{}", ada.account));
    // What stands in the audit list cannot carry data.
    for purpose in ["", "Patient Smith", &"x".repeat(65)] {
        let body = json!({"recipient": recipient, "purpose": purpose});
        let refused = hub.call(&ada.key, "POST", &at(id, "/release"), body).await;
        assert_eq!(refused.code(), ErrorCode::BadRequest);
    }
}

#[tokio::test]
async fn a_project_changes_hands_when_the_other_accepts() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let grace = hub.person(&ada, "Grace").await;
    let eve = hub.person(&ada, "Eve").await;
    let id = hub.project(&ada, "p").await;
    add_member(&hub, &ada, id, &grace, Right::Browse).await;
    let offer = json!({"to": grace.account, "reseal": false});
    let refused = hub.call(&grace.key, "POST", &at(id, "/transfer"), &offer).await;
    assert_eq!(refused.code(), ErrorCode::Forbidden);
    let offered: Transfer = hub.call(&ada.key, "POST", &at(id, "/transfer"), &offer).await.ok();
    let twice = hub.call(&ada.key, "POST", &at(id, "/transfer"), &offer).await;
    assert_eq!(twice.code(), ErrorCode::Conflict);
    let path = |act: &str| format!("/api/v1/transfers/{}/{act}", offered.id);
    // To a stranger there is no such offer; who gives does not accept, who takes does not withdraw.
    for act in ["accept", "refuse", "withdraw"] {
        let refused = hub.call(&eve.key, "POST", &path(act), ()).await;
        assert_eq!(refused.code(), ErrorCode::NotFound);
    }
    let refused = hub.call(&ada.key, "POST", &path("accept"), ()).await;
    assert_eq!(refused.code(), ErrorCode::Forbidden);
    let refused = hub.call(&grace.key, "POST", &path("withdraw"), ()).await;
    assert_eq!(refused.code(), ErrorCode::Forbidden);

    let taken: Transfer = hub.call(&grace.key, "POST", &path("accept"), ()).await.ok();
    assert_eq!(taken.state, TransferState::Accepted);
    let again: Transfer = hub.call(&grace.key, "POST", &path("accept"), ()).await.ok();
    assert_eq!(again, taken);
    let late = hub.call(&ada.key, "POST", &path("withdraw"), ()).await;
    assert_eq!(late.code(), ErrorCode::Conflict);
    // The old owner is nobody there; the new one may do everything.
    assert_eq!(hub.get(&ada.key, &at(id, "")).await.code(), ErrorCode::NotFound);
    let confirm = json!({"confirm": id});
    let refused = hub.call(&ada.key, "DELETE", &at(id, ""), &confirm).await;
    assert_eq!(refused.code(), ErrorCode::NotFound);
    let project: Project = hub.get(&grace.key, &at(id, "")).await.ok();
    assert_eq!((project.owner, project.right), (grace.account, Right::Owner));
    hub.call(&grace.key, "DELETE", &at(id, ""), &confirm).await.ok::<Deletion>();
}

#[tokio::test]
async fn an_offer_that_was_refused_or_withdrawn_changes_nothing() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let grace = hub.person(&ada, "Grace").await;
    let id = hub.project(&ada, "p").await;
    let offer = json!({"to": grace.account, "reseal": false});
    for (who, act, state) in
        [(&grace, "refuse", TransferState::Refused), (&ada, "withdraw", TransferState::Withdrawn)]
    {
        let offered: Transfer = hub.call(&ada.key, "POST", &at(id, "/transfer"), &offer).await.ok();
        let path = format!("/api/v1/transfers/{}/{act}", offered.id);
        let ended: Transfer = hub.call(&who.key, "POST", &path, ()).await.ok();
        assert_eq!(ended.state, state);
        let accept = format!("/api/v1/transfers/{}/accept", offered.id);
        let late = hub.call(&grace.key, "POST", &accept, ()).await;
        assert_eq!(late.code(), ErrorCode::Conflict);
        assert_eq!(hub.get(&grace.key, &at(id, "")).await.code(), ErrorCode::NotFound);
    }
    let listed: Page<Transfer> = hub.get(&grace.key, "/api/v1/transfers").await.ok();
    assert_eq!(listed.items.len(), 2);
}

#[tokio::test]
async fn a_deleted_project_leaves_nothing_in_any_file() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let id = ProjectId::generate();
    let body = hub.new_project(id, "canary");
    hub.call(&ada.key, "POST", "/api/v1/projects", &body).await.ok::<Project>();
    let kept = hub.hub.keys.dataset_key(id.to_bytes(), 0).await.unwrap();
    let card: SignedStatement = hub.get(&ada.key, &at(id, "/card")).await.ok();
    let needles = [body.label.0.clone(), kept, card.signature.0.clone()];
    let places = |needle: &[u8]| files(hub.directory()).filter(|b| contains(b, needle)).count();
    for needle in &needles {
        assert!(places(needle) > 0, "the search finds what is there");
    }

    let refused = hub.call(&ada.key, "DELETE", &at(id, ""), json!({"confirm": "p"})).await;
    assert_eq!(refused.code(), ErrorCode::BadRequest);
    let confirm = json!({"confirm": id});
    let gone: Deletion = hub.call(&ada.key, "DELETE", &at(id, ""), &confirm).await.ok();
    assert!(gone.facilities_pending.is_empty());
    for needle in &needles {
        assert_eq!(places(needle), 0);
    }
    assert_eq!(hub.get(&ada.key, &at(id, "")).await.code(), ErrorCode::NotFound);
    assert!(hub.hub.keys.dataset_key(id.to_bytes(), 0).await.is_err());
    // An id is never used twice, also not by the same call.
    let back = hub.call(&ada.key, "POST", "/api/v1/projects", &body).await;
    assert_eq!(back.code(), ErrorCode::Conflict);
}

fn files(directory: &std::path::Path) -> impl Iterator<Item = Vec<u8>> + use<> {
    let mut waiting = vec![directory.to_owned()];
    let mut found = Vec::new();
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                found.push(std::fs::read(path).unwrap());
            }
        }
    }
    found.into_iter()
}

#[tokio::test]
async fn a_deletion_that_was_stopped_is_finished_at_the_next_start() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let id = hub.project(&ada, "p").await;
    let mut tx = hub.hub.db.write().await.unwrap();
    crate::data::projects::begin_deletion(&mut tx, id, hub.hub.now()).await.unwrap();
    tx.commit().await.unwrap();
    // Meanwhile it is nowhere to be seen.
    assert_eq!(hub.get(&ada.key, &at(id, "")).await.code(), ErrorCode::NotFound);
    let hub = hub.restart().await;
    let left = crate::data::projects::maker(&mut hub.hub.db.read().await.unwrap(), id).await;
    assert!(left.unwrap().is_none());
    assert!(hub.hub.keys.dataset_key(id.to_bytes(), 0).await.is_err());
}

#[tokio::test]
async fn every_act_and_every_refusal_is_an_event_that_its_owner_sees() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let grace = hub.person(&ada, "Grace").await;
    let eve = hub.person(&ada, "Eve").await;
    let id = hub.project(&grace, "p").await;
    add_member(&hub, &grace, id, &eve, Right::Browse).await;
    let refused = hub.call(&eve.key, "DELETE", &at(id, ""), json!({"confirm": id})).await.problem();
    let list = async |who: &Person| -> Vec<Event> {
        hub.get(&who.key, "/api/v1/audit/events").await.ok::<Page<Event>>().items
    };
    let own = list(&grace).await;
    let acts: Vec<&str> = own.iter().map(|event| event.act.as_str()).collect();
    assert_eq!(acts, ["account.enrol", "project.create", "member.set", "project.delete"]);
    let last = own.last().unwrap();
    assert_eq!((last.outcome, last.reason.as_deref()), (Outcome::Refused, Some("forbidden")));
    assert_eq!(last.request_id, Some(refused.request_id));
    assert_eq!(last.actor, format!("account:{}", eve.account));
    // Eve sees what she did herself, and nothing of what others did in Grace's project.
    let of_eve = list(&eve).await;
    assert!(of_eve.iter().all(|event| event.actor == last.actor), "{of_eve:?}");
    let all = list(&ada).await;
    let enrolments = all.iter().filter(|event| event.act == "account.enrol").count();
    assert_eq!((enrolments, all.iter().filter(|e| e.act == "account.invite").count()), (3, 2));
    hub.enrol(&crate::testing::signing_key(), "WRONG", "x").await.problem();
    let last = list(&ada).await.pop().unwrap();
    assert_eq!((last.actor.as_str(), last.reason.as_deref()), ("nobody", Some("bad_code")));
}

#[tokio::test]
async fn a_name_that_does_not_open_does_not_hide_the_list() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let id = hub.project(&ada, "p").await;
    let other = DatasetKey::generate().unwrap();
    let label = seal::label::seal_label(&other, "project name", b"p").unwrap();
    let mut tx = hub.hub.db.write().await.unwrap();
    sqlx::query("UPDATE projects SET label = $1").bind(label).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    let all: Page<Project> = hub.get(&ada.key, "/api/v1/projects").await.ok();
    assert_eq!((all.items[0].id, all.items[0].name.as_deref()), (id, None));
}
