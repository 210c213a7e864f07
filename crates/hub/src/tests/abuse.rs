//! Callers that ask for too much or are refused too often, through the real router, with and without a restart.

use std::net::IpAddr;

use api::{Block, ErrorCode, Event, Explanation, Page, Right, Whoami};
use axum::body::Body;
use axum::http::Request;
use serde_json::json;

use crate::gate;
use crate::http::auth::Peer;
use crate::testing::{AUTHORITY, Answer, Signed, TestHub, signing_key};

pub(super) const HOSTILE: &str = "192.0.2.7";
const GOOD: &str = "192.0.2.8";

/// A request that comes from that address.
pub(super) fn from(address: &str, mut request: Request<Body>) -> Request<Body> {
    let address: IpAddr = address.parse().unwrap();
    request.extensions_mut().insert(Peer(address));
    request
}

fn whoami() -> Signed {
    Signed::new("GET", "/api/v1/whoami", Vec::new())
}

/// Calls with a key that nobody enrolled until the hub says that it is too much, or `most` were made.
pub(super) async fn knock(hub: &TestHub, address: &str, most: usize) -> Option<Answer> {
    let key = signing_key();
    for _ in 0..most {
        let answer = hub.send(from(address, whoami().by(&key, hub.now()))).await;
        match answer.code() {
            ErrorCode::UnknownKey => {}
            ErrorCode::TooManyRequests => return Some(answer),
            other => panic!("{other:?}"),
        }
    }
    None
}

#[tokio::test]
async fn an_address_that_is_refused_too_often_is_blocked_until_a_stated_time_also_after_a_restart()
{
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    assert!(knock(&hub, HOSTILE, 100).await.is_none());
    let told = knock(&hub, HOSTILE, 1).await.unwrap();
    let problem = told.problem();
    assert_eq!(problem.status, 429);
    assert!(
        problem.title.contains(HOSTILE) && problem.title.contains("unknown_key"),
        "{problem:?}"
    );
    assert_eq!(told.headers["retry-after"], "60");
    assert_eq!(told.headers["connection"], "close");
    assert!(!told.headers.contains_key("ratelimit"));
    // A known key is heard from there all the same; what needs no signature is not answered.
    hub.send(from(HOSTILE, whoami().by(&operator.key, hub.now()))).await.ok::<Whoami>();
    let open = Request::get("/health").body(Body::empty()).unwrap();
    assert_eq!(hub.send(from(HOSTILE, open)).await.code(), ErrorCode::TooManyRequests);
    hub.send(from(GOOD, whoami().by(&operator.key, hub.now()))).await.ok::<Whoami>();

    gate::flush(&hub.hub).await.unwrap();
    let hub = hub.restart().await;
    hub.pass(59);
    assert_eq!(knock(&hub, HOSTILE, 1).await.unwrap().headers["retry-after"], "1");
    let events: Page<Event> = hub
        .get(&operator.key, &format!("/api/v1/audit/events?object=address:{HOSTILE}"))
        .await
        .ok();
    assert_eq!(
        (events.items[0].act.as_str(), events.items[0].actor.as_str()),
        ("block.add", "hub")
    );
    hub.pass(1);
    hub.send(from(HOSTILE, whoami().by(&operator.key, hub.now()))).await.ok::<Whoami>();
    // The next one is longer.
    assert!(knock(&hub, HOSTILE, 100).await.is_none());
    assert_eq!(knock(&hub, HOSTILE, 1).await.unwrap().headers["retry-after"], "240");
}

#[tokio::test]
async fn what_does_not_verify_is_slowed_and_the_debt_outlives_a_restart() {
    let hub = TestHub::start().await;
    let ask = async |hub: &TestHub| {
        let request = Request::get("/health").body(Body::empty()).unwrap();
        hub.send(from(HOSTILE, request)).await
    };
    for _ in 0..=200 {
        assert!(ask(&hub).await.status.is_success());
    }
    let told = ask(&hub).await;
    assert_eq!(told.code(), ErrorCode::TooManyRequests);
    assert_eq!(told.headers["retry-after"], "1");
    assert_eq!(told.headers["ratelimit-policy"], "\"address\";q=200;w=10");
    assert_eq!(told.headers["ratelimit"], "\"address\";r=0;t=1");
    gate::flush(&hub.hub).await.unwrap();
    let hub = hub.restart().await;
    assert_eq!(ask(&hub).await.code(), ErrorCode::TooManyRequests);
    hub.pass(1);
    assert!(ask(&hub).await.status.is_success());
}

#[tokio::test]
async fn nobody_has_another_ones_key_blocked() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let ada = hub.person(&operator, "Ada").await;
    // Calls that name Ada's key and were signed by another, from ever new addresses.
    for n in 0..400 {
        let mut forged = whoami().by(&ada.key, hub.now());
        let other = whoami().by(&signing_key(), hub.now());
        forged.headers_mut().insert("signature", other.headers()["signature"].clone());
        let answer = hub.send(from(&format!("198.51.100.{}", n % 50), forged)).await;
        assert_eq!(answer.code(), ErrorCode::BadSignature);
    }
    // Replays of a call of hers count against the address that sends them.
    let call = whoami();
    let now = hub.now();
    for n in 0..400 {
        hub.send(from(&format!("203.0.113.{}", n % 50), call.by(&ada.key, now))).await;
    }
    hub.send(from(GOOD, whoami().by(&ada.key, hub.now()))).await.ok::<Whoami>();
}

#[tokio::test]
async fn a_key_that_is_refused_too_often_is_blocked_and_its_neighbours_are_not() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let (eve, ada) = (hub.person(&operator, "Eve").await, hub.person(&operator, "Ada").await);
    let ask = async |key: &proof::SigningKey| {
        let call = Signed::new("GET", "/api/v1/accounts", Vec::new()).by(key, hub.now());
        hub.send(from(GOOD, call)).await
    };
    for _ in 0..300 {
        assert_eq!(ask(&eve.key).await.code(), ErrorCode::Forbidden);
    }
    let told = ask(&eve.key).await.problem();
    assert_eq!(told.code, ErrorCode::TooManyRequests);
    assert!(told.title.contains(&eve.key.public().id().to_string()), "{}", told.title);
    assert_eq!(ask(&ada.key).await.code(), ErrorCode::Forbidden);
    // It has signed nothing that was acted upon: the same key may call again when the block is over.
    hub.pass(60);
    assert_eq!(ask(&eve.key).await.code(), ErrorCode::Forbidden);
}

#[tokio::test]
async fn an_operator_lists_sets_and_lifts_blocks() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let ada = hub.person(&operator, "Ada").await;
    let add = async |subject: &str, seconds: Option<u32>| {
        let body = json!({"subject": subject, "seconds": seconds, "reason": "it scans"});
        hub.call(&operator.key, "POST", "/api/v1/blocks", body).await
    };
    let week: Block = add("address:2001:db8::1", Some(7 * 24 * 3600)).await.ok();
    assert_eq!(week.subject, "address:2001:db8::/64");
    assert_eq!((week.by, week.times), (Some(operator.account), 1));
    let key = format!("key:{}", ada.key.public().id());
    let ever: Block = add(&key, None).await.ok();
    assert_eq!(ever.until, None);
    let told = hub.get(&ada.key, "/api/v1/whoami").await.problem();
    assert!(told.title.contains("it scans"), "{}", told.title);
    let own = format!("key:{}", operator.key.public().id());
    for (wrong, code) in [
        (own.as_str(), ErrorCode::Conflict),
        ("address:127.0.0.1", ErrorCode::Conflict),
        ("address:10.0.0.0/8", ErrorCode::BadRequest),
        ("ada", ErrorCode::BadRequest),
    ] {
        assert_eq!(add(wrong, None).await.code(), code, "{wrong}");
    }
    let hub = hub.restart().await;
    let page: Page<Block> = hub.get(&operator.key, "/api/v1/blocks?limit=1").await.ok();
    assert_eq!(page.items, [week]);
    let page: Page<Block> = hub.get(&operator.key, &page.next.unwrap()).await.ok();
    assert_eq!((page.items.as_slice(), page.next), ([ever.clone()].as_slice(), None));
    let path = format!("/api/v1/blocks/{}", ever.id);
    hub.call(&operator.key, "DELETE", &path, ()).await.ok::<Block>();
    assert_eq!(hub.call(&operator.key, "DELETE", &path, ()).await.code(), ErrorCode::NotFound);
    hub.get(&ada.key, "/api/v1/whoami").await.ok::<Whoami>();
    let hub = hub.restart().await;
    let left: Page<Block> = hub.get(&operator.key, "/api/v1/blocks").await.ok();
    assert_eq!(left.items.len(), 1);
}

#[tokio::test]
async fn a_call_that_is_too_long_or_grows_is_not_taken() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let long = format!("/api/v1/projects?cursor={}", "a".repeat(8 * 1024));
    assert_eq!(hub.get(&operator.key, &long).await.code(), ErrorCode::TooLarge);
    // A small body that says it is a packed large one is what it is: nothing unpacks it.
    let bomb = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    for encoding in ["gzip", "br", "zstd", "deflate, gzip"] {
        let mut call =
            Signed::new("POST", "/api/v1/keys", bomb.clone()).by(&operator.key, hub.now());
        call.headers_mut().insert("content-encoding", encoding.parse().unwrap());
        assert_eq!(hub.send(call).await.code(), ErrorCode::BadRequest);
    }
}

#[tokio::test]
async fn a_refusal_is_explained_to_those_who_may_know_and_to_nobody_else() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let mut people = Vec::new();
    for name in ["Ada", "Grace", "Bob", "Eve"] {
        people.push(hub.person(&operator, name).await);
    }
    let [ada, grace, bob, eve] = people.as_slice() else { unreachable!() };
    let project = hub.project(ada, "panel").await;
    for (who, right) in [(grace, "admin"), (bob, "browse")] {
        let path = format!("/api/v1/projects/{project}/members/{}", who.account);
        hub.call(&ada.key, "PUT", &path, json!({"right": right})).await.ok::<api::Member>();
    }
    let path = format!("/api/v1/projects/{project}");
    let body = json!({"confirm": project});
    let refused = hub.call(&bob.key, "DELETE", &path, &body).await.problem();
    assert_eq!(refused.code, ErrorCode::Forbidden);
    let path = format!("/api/v1/refusals/{}", refused.request_id);
    for who in [bob, grace, ada] {
        let told: Explanation = hub.get(&who.key, &path).await.ok();
        assert_eq!((told.act.as_str(), told.code.as_str()), ("project.delete", "forbidden"));
        assert_eq!(told.actor, format!("account:{}", bob.account));
        assert!(told.needed.contains("`owner`"), "{}", told.needed);
        assert_eq!(told.has, Some(Right::Browse));
        let giving: Vec<_> = told.granted_by.iter().map(|member| member.account).collect();
        assert!(giving.len() == 2 && giving.contains(&ada.account), "{giving:?}");
    }
    for who in [eve, &operator] {
        assert_eq!(hub.get(&who.key, &path).await.code(), ErrorCode::NotFound);
    }
    // What is about the hub is explained to its operators, and to the caller.
    let refused = hub.get(&eve.key, "/api/v1/accounts").await.problem();
    let path = format!("/api/v1/refusals/{}", refused.request_id);
    for who in [eve, &operator] {
        let told: Explanation = hub.get(&who.key, &path).await.ok();
        assert!(told.needed.contains("runs this hub") && told.granted_by.is_empty());
    }
    assert_eq!(hub.get(&bob.key, &path).await.code(), ErrorCode::NotFound);
    // Where existence is private, nothing was recorded: there is no difference to a call that never was.
    let hidden = hub.get(&eve.key, &format!("/api/v1/projects/{project}")).await.problem();
    let path = format!("/api/v1/refusals/{}", hidden.request_id);
    assert_eq!(hub.get(&ada.key, &path).await.code(), ErrorCode::NotFound);
    assert_eq!(hub.get(&eve.key, &path).await.code(), ErrorCode::NotFound);
}

#[tokio::test]
async fn a_call_that_names_two_hosts_or_another_one_does_not_count() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let signed = || whoami().by(&operator.key, hub.now());
    // The absolute form with the hub's own name is the same call.
    let mut absolute = signed();
    *absolute.uri_mut() = format!("https://{AUTHORITY}/api/v1/whoami").parse().unwrap();
    hub.send(absolute).await.ok::<Whoami>();
    for other in ["evil.example", "user@localhost:8470", "127.0.0.1:8470"] {
        let mut two = signed();
        *two.uri_mut() = format!("https://{other}/api/v1/whoami").parse().unwrap();
        assert_eq!(hub.send(two).await.code(), ErrorCode::BadSignature, "{other}");
    }
}

#[tokio::test]
async fn no_page_that_a_browser_shows_gets_its_address_blocked() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let long = format!("/?{}", "a".repeat(9 * 1024));
    for n in 0..1200 {
        // What a form or an image on a page elsewhere can have a browser ask for.
        let (method, path) = match n % 4 {
            0 => ("GET", "/api/v1/projects"),
            1 => ("POST", "/api/v1/projects"),
            2 => ("GET", long.as_str()),
            _ => ("POST", "/sign-in"),
        };
        let request = Request::builder().method(method).uri(path).header("host", AUTHORITY);
        let request = request.header("origin", "https://evil.example").body(Body::empty()).unwrap();
        assert!(hub.send(from(HOSTILE, request)).await.status.is_client_error());
    }
    let blocks: Page<Block> = hub.get(&operator.key, "/api/v1/blocks").await.ok();
    assert!(blocks.items.is_empty());
    // The address is in debt, and whoever signs there is served.
    let open = Request::get("/health").body(Body::empty()).unwrap();
    assert_eq!(hub.send(from(HOSTILE, open)).await.code(), ErrorCode::TooManyRequests);
    for _ in 0..50 {
        hub.send(from(HOSTILE, whoami().by(&operator.key, hub.now()))).await.ok::<Whoami>();
    }
}

#[tokio::test]
async fn only_a_known_key_is_heard_from_a_blocked_address_and_trying_costs_the_hub_little() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    assert!(knock(&hub, HOSTILE, 100).await.is_none());
    // Forged calls in the name of a known key: each of the first costs a look, then none is looked at.
    for _ in 0..50 {
        let mut forged = whoami().by(&operator.key, hub.now());
        let other = whoami().by(&signing_key(), hub.now());
        forged.headers_mut().insert("signature", other.headers()["signature"].clone());
        let told = hub.send(from(HOSTILE, forged)).await;
        assert_eq!(told.code(), ErrorCode::TooManyRequests);
        assert_eq!(told.headers["connection"], "close");
    }
    let good = || from(HOSTILE, whoami().by(&operator.key, hub.now()));
    assert_eq!(hub.send(good()).await.code(), ErrorCode::TooManyRequests);
    hub.pass(2);
    hub.send(good()).await.ok::<Whoami>();
    // What an operator blocks is blocked.
    let body =
        json!({"subject": format!("address:{HOSTILE}"), "seconds": 60, "reason": "it scans"});
    hub.call(&operator.key, "POST", "/api/v1/blocks", body).await.ok::<Block>();
    assert!(hub.send(good()).await.problem().title.contains("it scans"));
}

#[tokio::test]
async fn a_call_that_waited_for_room_too_long_is_too_old() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let mut held = Vec::new();
    for n in 1..=2 {
        let whose = gate::Whose::Key(api::KeyId([n; 16]));
        held.push(hub.hub.gate.bodies.room(whose, 128 << 20).await.unwrap());
    }
    let call = hub.send(whoami().by(&ada.key, hub.now()));
    let waited = async {
        while !hub.hub.gate.bodies.holds(ada.key.public().id()) {
            tokio::task::yield_now().await;
        }
        // Longer than its nonce would be kept: it could be sent again.
        hub.pass(400);
        drop(held);
    };
    let (answer, ()) = tokio::join!(call, waited);
    assert_eq!(answer.code(), ErrorCode::ClockSkew);
}

#[tokio::test]
async fn a_refusal_names_no_members_to_an_instrument_whoever_is_signed_on_there() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let ada = hub.person(&operator, "Ada").await;
    let project = hub.project(&ada, "panel").await;
    let (instrument, _) = super::devices::enrolled(&hub, &operator).await;
    super::devices::sign_on(&hub, &instrument, &ada).await;
    let path = format!("/api/v1/projects/{project}/members");
    let refused = hub.get(&instrument, &path).await.problem();
    assert_eq!(refused.code, ErrorCode::Forbidden);
    let path = format!("/api/v1/refusals/{}", refused.request_id);
    let told: Explanation = hub.get(&instrument, &path).await.ok();
    assert!(told.granted_by.is_empty(), "{told:?}");
    let told: Explanation = hub.get(&ada.key, &path).await.ok();
    assert_eq!(told.granted_by.len(), 1);
}
