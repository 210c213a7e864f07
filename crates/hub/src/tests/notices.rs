//! What people are told, once and in time, and what a mail about it does not say.

use api::{DatasetKind, ErrorCode, Notice, NoticeKind, NoticeMail, Page, ProjectId, Transfer};
use serde_json::json;

use super::material::{make, sent};
use crate::app::notices::keep_up;
use crate::mail::send_due;
use crate::mail::smtp::tests::{Manner, loopback};
use crate::testing::{Person, TestHub, signing_key};

const DAY: i64 = 24 * 3600;

async fn notices(hub: &TestHub, who: &Person, query: &str) -> Vec<Notice> {
    hub.get(&who.key, &format!("/api/v1/notices{query}")).await.ok::<Page<Notice>>().items
}

async fn offer(hub: &TestHub, from: &Person, to: &Person) -> (ProjectId, Transfer) {
    let project = hub.project(from, "cancer panel").await;
    let path = format!("/api/v1/projects/{project}/transfer");
    let body = json!({"to": to.account, "reseal": false});
    (project, hub.call(&from.key, "POST", &path, body).await.ok())
}

#[tokio::test]
async fn both_sides_of_a_transfer_are_told_and_nobody_else() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let (grace, eve) = (hub.person(&ada, "Grace").await, hub.person(&ada, "Eve").await);
    let (project, transfer) = offer(&hub, &ada, &grace).await;
    let [told] = &notices(&hub, &grace, "?unread=true").await[..] else { panic!("one notice") };
    assert_eq!((told.kind, told.project), (NoticeKind::TransferOffered, Some(project)));
    assert_eq!(told.subject, format!("transfer:{}", transfer.id));
    assert!(notices(&hub, &ada, "").await.is_empty() && notices(&hub, &eve, "").await.is_empty());

    let path = format!("/api/v1/notices/{}/read", told.id);
    assert_eq!(hub.call(&eve.key, "POST", &path, ()).await.code(), ErrorCode::NotFound);
    let read: Notice = hub.call(&grace.key, "POST", &path, ()).await.ok();
    hub.pass(60);
    let again: Notice = hub.call(&grace.key, "POST", &path, ()).await.ok();
    assert!(read.read.is_some() && read == again);
    assert!(notices(&hub, &grace, "?unread=true").await.is_empty());
    assert_eq!(notices(&hub, &grace, "").await, [read]);

    let accept = format!("/api/v1/transfers/{}/accept", transfer.id);
    hub.call(&grace.key, "POST", &accept, ()).await.ok::<Transfer>();
    assert_eq!(notices(&hub, &ada, "").await[0].kind, NoticeKind::TransferAccepted);
}

#[tokio::test]
async fn who_owns_a_run_or_gets_a_key_is_told() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let project = hub.project(&ada, "cancer panel").await;
    let instrument = hub.instrument(&ada).await;
    let run = sent(&hub, &instrument, project, DatasetKind::Run, &[("a", b"x")]).await;
    let waiting = make(&hub, &instrument, project, DatasetKind::Run, "240611").await;
    let attention = format!("/api/v1/runs/{}/attention", waiting.dataset());
    for _again in 0..2 {
        let body = json!({"reason": "it grows no more"});
        hub.call(&instrument, "POST", &attention, body).await.ok::<serde_json::Value>();
    }
    let told: Vec<_> =
        notices(&hub, &ada, "").await.into_iter().map(|n| (n.kind, n.subject)).collect();
    let dataset = |id| format!("dataset:{id}");
    assert_eq!(
        told,
        [
            (NoticeKind::KeyAdded, format!("key:{}", instrument.public().id())),
            (NoticeKind::RunFinished, dataset(run.dataset())),
            (NoticeKind::RunNeedsAttention, dataset(waiting.dataset())),
        ]
    );
    // An instrument's key sends runs and reads nobody's notices.
    let refused = hub.get(&instrument, "/api/v1/notices").await;
    assert_eq!(refused.code(), ErrorCode::Forbidden);
}

#[tokio::test]
async fn a_mail_says_that_something_waits_and_nothing_else() {
    let (relay, taken) = loopback(Manner::Kind).await;
    let hub = TestHub::with_relay(relay).await;
    let ada = hub.operator().await;
    let grace = hub.person(&ada, "Grace Hopper").await;
    let path = "/api/v1/notices/mail";
    let bad = hub.call(&grace.key, "PUT", path, json!({"address": "a@b\r\nRCPT"})).await;
    assert_eq!(bad.code(), ErrorCode::BadRequest);
    let body = json!({"address": "grace@example.test"});
    let mail: NoticeMail = hub.call(&grace.key, "PUT", path, body).await.ok();
    assert!(mail.offered && mail.address.as_deref() == Some("grace@example.test"));

    let (project, transfer) = offer(&hub, &ada, &grace).await;
    offer(&hub, &ada, &grace).await;
    send_due(&hub.hub).await.unwrap();
    send_due(&hub.hub).await.unwrap();
    let [text] = &taken.lock().unwrap().clone()[..] else { panic!("one mail for two notices") };
    assert!(text.contains("https://localhost:8470"), "{text}");
    let ids = [project.to_string(), transfer.id.to_string(), grace.account.to_string()];
    for secret in
        ["cancer", "panel", "Grace", "Ada", "operator"].map(str::to_owned).iter().chain(&ids)
    {
        assert!(!text.contains(secret), "{secret} stands in {text}");
    }

    // What was read meanwhile needs no mail, and an address that was taken back gets none.
    offer(&hub, &ada, &grace).await;
    for notice in notices(&hub, &grace, "?unread=true").await {
        let read = format!("/api/v1/notices/{}/read", notice.id);
        hub.call(&grace.key, "POST", &read, ()).await.ok::<Notice>();
    }
    send_due(&hub.hub).await.unwrap();
    offer(&hub, &ada, &grace).await;
    hub.call(&grace.key, "PUT", path, json!({"address": null})).await.ok::<NoticeMail>();
    send_due(&hub.hub).await.unwrap();
    assert_eq!(taken.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_busy_relay_is_asked_again_later_and_an_unknown_recipient_is_given_up() {
    for (manner, tries) in [(Manner::Busy, [1, 1, 2]), (Manner::Unknown, [0, 0, 0])] {
        let (relay, taken) = loopback(manner).await;
        let hub = TestHub::with_relay(relay).await;
        let ada = hub.operator().await;
        let grace = hub.person(&ada, "Grace").await;
        let body = json!({"address": "grace@example.test"});
        hub.call(&grace.key, "PUT", "/api/v1/notices/mail", body).await.ok::<NoticeMail>();
        offer(&hub, &ada, &grace).await;
        for (seconds, expected) in [0, 59, 2].into_iter().zip(tries) {
            hub.pass(seconds);
            send_due(&hub.hub).await.unwrap();
            let mut reader = hub.hub.db.read().await.unwrap();
            let found: Option<i64> = sqlx::query_scalar("SELECT tries FROM mails")
                .fetch_optional(&mut *reader)
                .await
                .unwrap();
            assert_eq!(found.unwrap_or(0), expected, "{manner:?}");
        }
        assert!(taken.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn the_owner_of_a_key_hears_once_that_it_ends_soon() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let public = api::Bytes(signing_key().public().to_bytes().to_vec());
    let expires = api::Time::from_second(hub.now() + 20 * DAY).unwrap();
    let limit = json!({"projects": null, "scope": "read", "expires": expires});
    let body = json!({"kind": "person", "name": "a script", "public_key": public, "limit": limit});
    let key: api::Key = hub.call(&ada.key, "POST", "/api/v1/keys", body).await.ok();
    keep_up(&hub.hub).await.unwrap();
    assert_eq!(notices(&hub, &ada, "").await.len(), 1);
    hub.pass(7 * DAY);
    keep_up(&hub.hub).await.unwrap();
    keep_up(&hub.hub).await.unwrap();
    let told = notices(&hub, &ada, "").await;
    assert_eq!(told.len(), 2);
    assert_eq!(
        (told[1].kind, &told[1].subject),
        (NoticeKind::KeyExpiring, &format!("key:{}", key.id))
    );
}

#[tokio::test]
async fn old_notices_are_forgotten_and_operators_hear_once_of_a_certificate_that_ends() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let grace = hub.person(&ada, "Grace").await;
    offer(&hub, &ada, &grace).await;
    keep_up(&hub.hub).await.unwrap();
    assert!(notices(&hub, &ada, "").await.is_empty());
    hub.pass(364 * DAY);
    keep_up(&hub.hub).await.unwrap();
    assert_eq!(notices(&hub, &grace, "").await.len(), 1);
    hub.pass(2 * DAY);
    keep_up(&hub.hub).await.unwrap();
    assert!(notices(&hub, &grace, "").await.is_empty());

    hub.pass((10 * 365 - 366 - 170) * DAY);
    keep_up(&hub.hub).await.unwrap();
    keep_up(&hub.hub).await.unwrap();
    let [told] = &notices(&hub, &ada, "").await[..] else { panic!("one notice") };
    assert_eq!(told.kind, NoticeKind::CertificateExpiring);
    assert!(notices(&hub, &grace, "").await.is_empty());
}
