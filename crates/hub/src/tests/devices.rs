//! Device codes, outside apps, and instruments with a technician signed on.

use api::{
    ApproveDevice, Dataset, DatasetKind, DeviceAsk, DeviceCode, DevicePending, DeviceStanding,
    DeviceState, ErrorCode, Instrument, InstrumentInvitation, Key, KeyApp, KeyKind, KeyLimit,
    Member, Notice, NoticeKind, Page, Right, Shift, SignOn, Whoami,
};
use proof::SigningKey;
use serde_json::{Value, json};

use super::material::{at, close, content, make, put_all, sent};
use super::people::contains;
use crate::data;
use crate::data::devices::{Asker, Kept};
use crate::testing::{Answer, Person, Signed, TestHub, signing_key};

fn public(key: &SigningKey) -> api::Bytes {
    api::Bytes(key.public().to_bytes().to_vec())
}

/// A machine asks with a new key.
async fn begin(hub: &TestHub, more: Value) -> (SigningKey, DeviceCode) {
    let key = signing_key();
    let mut body = json!({"public_key": public(&key), "machine": "workstation 7"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let code = hub.call(&key, "POST", "/api/v1/device", body).await.ok();
    (key, code)
}

async fn poll(hub: &TestHub, key: &SigningKey) -> Answer {
    hub.call(key, "POST", "/api/v1/device/poll", json!({"public_key": public(key)})).await
}

async fn approve(hub: &TestHub, by: &Person, code: &str, limit: Option<KeyLimit>) -> Answer {
    let body = ApproveDevice { code: code.to_owned(), limit };
    hub.call(&by.key, "POST", "/api/v1/device/approve", body).await
}

#[tokio::test]
async fn a_machine_signs_once_a_person_has_approved_the_code_that_it_shows() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let (key, code) = begin(&hub, json!({})).await;
    assert_eq!(code.page, "https://localhost:8470/device");
    let standing: DeviceStanding = poll(&hub, &key).await.ok();
    assert!(matches!((standing.state, standing.who), (DeviceState::Pending, None)));
    assert_eq!(hub.get(&key, "/api/v1/whoami").await.code(), ErrorCode::UnknownKey);

    // As people type it.
    let typed = code.code.to_lowercase().replace('-', " ");
    let pending: DevicePending =
        hub.call(&ada.key, "POST", "/api/v1/device/pending", json!({"code": typed})).await.ok();
    assert_eq!((pending.machine.as_str(), &pending.asks), ("workstation 7", &DeviceAsk::Login));
    approve(&hub, &ada, &typed, None).await.ok::<DevicePending>();
    // It counts once.
    assert_eq!(approve(&hub, &ada, &code.code, None).await.code(), ErrorCode::BadCode);
    for _ in 0..2 {
        let standing: DeviceStanding = poll(&hub, &key).await.ok();
        assert_eq!(standing.who.unwrap().account.id, ada.account);
    }
    let who: Whoami = hub.get(&key, "/api/v1/whoami").await.ok();
    assert_eq!((who.key.name.as_str(), who.key.limit), ("workstation 7", None));
}

#[tokio::test]
async fn a_machine_that_is_refused_or_too_late_signs_for_nobody() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let (refused, code) = begin(&hub, json!({})).await;
    let answer =
        hub.call(&ada.key, "POST", "/api/v1/device/refuse", json!({"code": code.code})).await;
    assert_eq!(answer.status, http::StatusCode::NO_CONTENT);
    assert_eq!(poll(&hub, &refused).await.ok::<DeviceStanding>().state, DeviceState::Refused);
    assert_eq!(approve(&hub, &ada, &code.code, None).await.code(), ErrorCode::BadCode);
    let (late, code) = begin(&hub, json!({})).await;
    hub.pass(600);
    assert_eq!(approve(&hub, &ada, &code.code, None).await.code(), ErrorCode::BadCode);
    assert_eq!(poll(&hub, &late).await.code(), ErrorCode::BadCode);
    for key in [refused, late] {
        assert_eq!(hub.get(&key, "/api/v1/whoami").await.code(), ErrorCode::UnknownKey);
    }
}

#[tokio::test]
async fn a_device_is_answered_only_to_the_key_that_began() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let (key, code) = begin(&hub, json!({})).await;
    approve(&hub, &ada, &code.code, None).await.ok::<DevicePending>();
    let other = signing_key();
    assert_eq!(poll(&hub, &other).await.code(), ErrorCode::BadCode);
    let body = json!({"public_key": public(&key)});
    let forged = hub.call(&other, "POST", "/api/v1/device/poll", body).await;
    assert_eq!(forged.code(), ErrorCode::BadSignature);
}

#[tokio::test]
async fn who_names_ten_wrong_codes_names_no_more_for_an_hour_not_even_after_a_restart() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let (_key, code) = begin(&hub, json!({})).await;
    for _ in 0..10 {
        assert_eq!(approve(&hub, &ada, "BBBB-BBBB", None).await.code(), ErrorCode::BadCode);
    }
    let hub = hub.restart().await;
    let right = approve(&hub, &ada, &code.code, None).await;
    assert_eq!(right.code(), ErrorCode::TooManyRequests);
    hub.pass(3600);
    let (_key, code) = begin(&hub, json!({})).await;
    approve(&hub, &ada, &code.code, None).await.ok::<DevicePending>();
}

#[tokio::test]
async fn a_devices_code_is_kept_as_its_hash_alone() {
    let hub = TestHub::start().await;
    let (_key, code) = begin(&hub, json!({})).await;
    hub.hub.db.forget().await.unwrap();
    let bytes = std::fs::read(hub.directory().join("data/hub.db")).unwrap();
    let letters = code.code.replace('-', "");
    assert!(!contains(&bytes, code.code.as_bytes()) && !contains(&bytes, letters.as_bytes()));
    assert!(contains(&bytes, proof::sha256(letters.as_bytes()).to_string().as_bytes()));
}

#[tokio::test]
async fn an_outside_app_gets_what_a_person_consents_to_and_loses_it_at_the_next_call() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let (mine, other) = (hub.project(&ada, "mine").await, hub.project(&ada, "other").await);
    let app = KeyApp { name: "Viewer".into(), publisher: "Example Ltd".into() };
    let everything = json!({"app": app, "public_key": public(&signing_key()), "machine": "m"});
    let refused = hub.call(&signing_key(), "POST", "/api/v1/device", everything).await;
    assert_eq!(refused.code(), ErrorCode::BadSignature);

    let asked = KeyLimit { projects: None, scope: Right::Read, expires: None };
    let (key, code) = begin(&hub, json!({"app": app, "limit": asked})).await;
    let wider = KeyLimit { scope: Right::Write, ..asked.clone() };
    assert_eq!(approve(&hub, &ada, &code.code, Some(wider)).await.code(), ErrorCode::BadRequest);
    let given = KeyLimit { projects: Some(vec![mine]), ..asked };
    approve(&hub, &ada, &code.code, Some(given.clone())).await.ok::<DevicePending>();
    let who: Whoami = hub.get(&key, "/api/v1/whoami").await.ok();
    assert_eq!((who.key.app, who.key.limit), (Some(app), Some(given)));
    hub.get(&key, &format!("/api/v1/projects/{mine}")).await.ok::<api::Project>();
    let beyond = hub.get(&key, &format!("/api/v1/projects/{other}")).await;
    assert_eq!(beyond.code(), ErrorCode::NotFound);

    let path = format!("/api/v1/keys/{}", key.public().id());
    hub.call(&ada.key, "DELETE", &path, ()).await.ok::<Key>();
    assert_eq!(hub.get(&key, "/api/v1/whoami").await.code(), ErrorCode::UnknownKey);
    let events: Page<api::Event> = hub.get(&ada.key, "/api/v1/audit/events").await.ok();
    for act in ["consent.give", "consent.withdraw"] {
        assert!(events.items.iter().any(|event| event.act == act), "{act}");
    }
}

#[tokio::test]
async fn an_app_does_not_ask_for_everything() {
    let hub = TestHub::start().await;
    let key = signing_key();
    let body = json!({
        "public_key": public(&key), "machine": "m",
        "app": {"name": "Viewer", "publisher": "Example Ltd"},
    });
    let refused = hub.call(&key, "POST", "/api/v1/device", body).await;
    assert_eq!(refused.code(), ErrorCode::BadRequest);
}

/// An instrument that is enrolled with its code, as `chorion login` does at it.
pub(super) async fn enrolled(hub: &TestHub, operator: &Person) -> (SigningKey, Instrument) {
    let made: InstrumentInvitation = hub
        .call(&operator.key, "POST", "/api/v1/instruments", json!({"name": "NovaSeq 1"}))
        .await
        .ok();
    let key = signing_key();
    let who: Whoami = hub.enrol(&key, &made.code, "ignored").await.ok();
    assert_eq!((who.key.kind, who.account.name.as_str()), (KeyKind::Instrument, "NovaSeq 1"));
    assert_eq!(hub.enrol(&signing_key(), &made.code, "").await.code(), ErrorCode::BadCode);
    (key, made.instrument)
}

/// Signs `technician` on at the instrument.
pub(super) async fn sign_on(hub: &TestHub, instrument: &SigningKey, technician: &Person) {
    let code: DeviceCode = hub.call(instrument, "POST", "/api/v1/sign-on", ()).await.ok();
    let pending: DevicePending = approve(hub, technician, &code.code, None).await.ok();
    assert_eq!(pending.machine, "NovaSeq 1");
    let standing: SignOn = hub.get(instrument, "/api/v1/sign-on").await.ok();
    assert_eq!(standing.technician, Some(technician.account));
}

#[tokio::test]
async fn a_run_belongs_to_the_technician_who_is_signed_on_and_its_instrument_goes_on_without_them()
{
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let ada = hub.person(&operator, "Ada").await;
    let grace = hub.person(&operator, "Grace").await;
    let project = hub.project(&ada, "runs").await;
    let (key, _) = enrolled(&hub, &operator).await;
    let card = format!("/api/v1/projects/{project}/card");
    let alone = hub.get(&key, &card).await.problem();
    assert_eq!(alone.code, ErrorCode::Forbidden);
    assert!(alone.title.contains("nobody is signed on"), "{}", alone.title);

    sign_on(&hub, &key, &ada).await;
    let run = make(&hub, &key, project, DatasetKind::Run, "run").await;
    let shown: Dataset = hub.get(&ada.key, &at(run.dataset(), "")).await.ok();
    assert_eq!(shown.owner, ada.account);

    // The next shift: another technician, who has no part in the project. The run goes on, a new one does not begin.
    sign_on(&hub, &key, &grace).await;
    assert_eq!(hub.get(&key, &card).await.code(), ErrorCode::NotFound);
    hub.call(&key, "DELETE", "/api/v1/sign-on", ()).await.ok::<SignOn>();
    let files: &[(&str, &[u8])] = &[("RunInfo.xml", b"<xml/>")];
    let manifest = put_all(&hub, &key, &run, content(&run, files), 1, None).await;
    close(&hub, &key, &key, &manifest, "?demultiplex=true").await.ok::<Dataset>();
    let tasks: Page<api::Task> = hub.get(&ada.key, "/api/v1/tasks").await.ok();
    assert_eq!(tasks.items[0].owner, ada.account);
}

#[tokio::test]
async fn an_instrument_finds_what_it_sends_and_nothing_else_of_whoever_is_signed_on() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let project = hub.project(&ada, "runs").await;
    let hers = sent(&hub, &ada.key, project, DatasetKind::Run, &[("x", b"ACGT")]).await;
    let (key, _) = enrolled(&hub, &ada).await;
    sign_on(&hub, &key, &ada).await;
    let own = make(&hub, &key, project, DatasetKind::Run, "run").await;
    hub.get(&key, &at(own.dataset(), "")).await.ok::<Dataset>();
    for rest in ["", "/manifest", "/objects"] {
        let answer = hub.get(&key, &at(hers.dataset(), rest)).await;
        assert_eq!(answer.code(), ErrorCode::NotFound, "{rest}");
    }
    for path in ["keys", "projects", "datasets", "accounts", "instruments", "audit/events"] {
        let answer = hub.get(&key, &format!("/api/v1/{path}")).await;
        assert_eq!(answer.code(), ErrorCode::Forbidden, "{path}");
    }
    let release = json!({"recipient": "", "purpose": "download"});
    let answer = hub.call(&key, "POST", &at(own.dataset(), "/release"), release).await;
    assert_eq!(answer.code(), ErrorCode::Forbidden);
}

#[tokio::test]
async fn a_shift_ends_by_itself_and_with_the_technicians_account() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let grace = hub.person(&ada, "Grace").await;
    let (key, _) = enrolled(&hub, &ada).await;
    sign_on(&hub, &key, &grace).await;
    let path = format!("/api/v1/accounts/{}/disable", grace.account);
    hub.call(&ada.key, "POST", &path, ()).await.ok::<api::Account>();
    assert_eq!(hub.get(&key, "/api/v1/sign-on").await.ok::<SignOn>().technician, None);
    sign_on(&hub, &key, &ada).await;
    hub.pass(12 * 3600);
    assert_eq!(hub.get(&key, "/api/v1/sign-on").await.ok::<SignOn>().technician, None);
}

#[tokio::test]
async fn a_revoked_instrument_stops_at_its_next_call_and_is_nobody_to_a_project() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let project = hub.project(&ada, "runs").await;
    let (key, instrument) = enrolled(&hub, &ada).await;
    let member = format!("/api/v1/projects/{project}/members/{}", instrument.id);
    let set = hub.call(&ada.key, "PUT", &member, json!({"right": "read"})).await;
    assert_eq!(set.code(), ErrorCode::NotFound);
    let accounts: Page<api::Account> = hub.get(&ada.key, "/api/v1/accounts").await.ok();
    assert_eq!(accounts.items.len(), 1);
    let path = format!("/api/v1/instruments/{}", instrument.id);
    let gone: Instrument = hub.call(&ada.key, "DELETE", &path, ()).await.ok();
    assert!(gone.revoked.is_some());
    assert_eq!(hub.get(&key, "/api/v1/whoami").await.code(), ErrorCode::UnknownKey);
    let all: Page<Instrument> = hub.get(&ada.key, "/api/v1/instruments").await.ok();
    assert_eq!(all.items, [Instrument { enrolled: true, ..gone }]);
    let members: Page<Member> =
        hub.get(&ada.key, &format!("/api/v1/projects/{project}/members")).await.ok();
    assert_eq!(members.items.len(), 1);
}

/// A machine asks from that address.
async fn begin_from(hub: &TestHub, address: &str) -> Answer {
    let key = signing_key();
    let body = json!({"public_key": public(&key), "machine": "workstation 7"});
    let body = serde_json::to_vec(&body).unwrap();
    let call = Signed::new("POST", "/api/v1/device", body).by(&key, hub.now());
    hub.send(super::abuse::from(address, call)).await
}

#[tokio::test]
async fn an_address_has_its_share_of_requests_and_answered_ones_and_instruments_do_not_count() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let mut codes = Vec::new();
    for n in 0..20 {
        // Every address of a /64 is the same caller's.
        codes.push(begin_from(&hub, &format!("2001:db8::{n}")).await.ok::<DeviceCode>());
    }
    assert_eq!(begin_from(&hub, "2001:db8::99").await.code(), ErrorCode::TooManyRequests);
    begin_from(&hub, "2001:db8:0:1::1").await.ok::<DeviceCode>();
    approve(&hub, &ada, &codes[0].code, None).await.ok::<DevicePending>();
    begin_from(&hub, "2001:db8::99").await.ok::<DeviceCode>();
    // An instrument at that address asks for a technician all the same.
    let (key, _) = enrolled(&hub, &ada).await;
    let call = Signed::new("POST", "/api/v1/sign-on", Vec::new()).by(&key, hub.now());
    hub.send(super::abuse::from("2001:db8::7", call)).await.ok::<DeviceCode>();
}

#[tokio::test]
async fn when_all_places_are_taken_the_network_that_has_most_gives_one_up() {
    let hub = TestHub::start().await;
    let asks = |n: i64, network: &str| {
        let key = signing_key().public();
        let asks = DevicePending {
            machine: "m".into(),
            address: None,
            asks: DeviceAsk::Login,
            limit: None,
            created: api::Time::from_second(hub.now() + n).unwrap(),
            expires: api::Time::from_second(hub.now() + 600).unwrap(),
        };
        let asker = Asker { place: format!("{network}{n}"), network: network.to_owned() };
        let hash = proof::sha256(&key.to_bytes());
        let (key, public_key) = (key.id(), api::Bytes(key.to_bytes().to_vec()));
        (Kept { hash, key, public_key, state: DeviceState::Pending, asks }, asker)
    };
    let mut tx = hub.hub.db.write().await.unwrap();
    let mut all = vec![asks(0, "a lab"), asks(9, "a lab")];
    all.extend((1..5).map(|n| asks(n, "a flood")));
    for (kept, asker) in &all {
        data::devices::insert(&mut tx, kept, Some(asker)).await.unwrap();
    }
    data::devices::forget_one(&mut tx).await.unwrap();
    let mut left = Vec::new();
    for (kept, asker) in &all {
        let found = data::devices::pending(&mut tx, kept.hash, hub.hub.now()).await.unwrap();
        left.extend(found.map(|_| asker.place.clone()));
    }
    assert_eq!(left, ["a lab0", "a lab9", "a flood2", "a flood3", "a flood4"]);
    assert_eq!(data::devices::waiting(&mut tx, "a lab0").await.unwrap(), (5, 1));
}

#[tokio::test]
async fn a_request_is_answered_once_whoever_was_first() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let (key, code) = begin(&hub, json!({})).await;
    // Both have looked at it; one approves, and then the other refuses.
    let mut reader = hub.hub.db.read().await.unwrap();
    let kept = data::devices::of_key(&mut reader, key.public().id(), hub.hub.now()).await.unwrap();
    drop(reader);
    approve(&hub, &ada, &code.code, None).await.ok::<DevicePending>();
    let mut tx = hub.hub.db.write().await.unwrap();
    let refused = DeviceState::Refused;
    let (hash, now) = (kept.unwrap().hash, hub.hub.now());
    assert!(!data::devices::answer(&mut tx, hash, refused, now).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(poll(&hub, &key).await.ok::<DeviceStanding>().state, DeviceState::Approved);
}

#[tokio::test]
async fn a_technician_is_told_of_a_sign_on_and_ends_it_from_elsewhere() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let (ada, eve) = (hub.person(&operator, "Ada").await, hub.person(&operator, "Eve").await);
    let (key, instrument) = enrolled(&hub, &operator).await;
    sign_on(&hub, &key, &ada).await;
    let notices: Page<Notice> = hub.get(&ada.key, "/api/v1/notices").await.ok();
    assert_eq!(notices.items[0].kind, NoticeKind::SignedOn);
    assert_eq!(notices.items[0].subject, format!("instrument:{}", instrument.id));
    let shifts: Page<Shift> = hub.get(&ada.key, "/api/v1/sign-ons").await.ok();
    let [shift] = &shifts.items[..] else { panic!("one: {shifts:?}") };
    assert_eq!((shift.instrument, shift.name.as_str()), (instrument.id, "NovaSeq 1"));

    let path = format!("/api/v1/sign-ons/{}", instrument.id);
    for other in [&eve, &operator] {
        assert!(hub.get(&other.key, "/api/v1/sign-ons").await.ok::<Page<Shift>>().items.is_empty());
        assert_eq!(hub.call(&other.key, "DELETE", &path, ()).await.code(), ErrorCode::NotFound);
    }
    assert!(hub.get(&key, "/api/v1/sign-on").await.ok::<SignOn>().technician.is_some());
    hub.call(&ada.key, "DELETE", &path, ()).await.ok::<Shift>();
    assert_eq!(hub.get(&key, "/api/v1/sign-on").await.ok::<SignOn>().technician, None);
    assert_eq!(hub.call(&ada.key, "DELETE", &path, ()).await.code(), ErrorCode::NotFound);
}
