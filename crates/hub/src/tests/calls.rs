//! Signed calls: what counts, what does not, and what the caller reads.

use api::ErrorCode;
use axum::body::Body;
use axum::http::Request;
use serde_json::json;

use crate::testing::{AUTHORITY, Answer, Signed, TestHub, signing_key};

fn whoami() -> Signed {
    Signed::new("GET", "/api/v1/whoami", Vec::new())
}

#[tokio::test]
async fn a_signed_call_counts_once_also_after_a_restart() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let call = whoami();
    let now = hub.now();
    hub.send(call.by(&operator.key, now)).await.ok::<api::Whoami>();
    let again = hub.send(call.by(&operator.key, now)).await;
    assert_eq!(again.code(), ErrorCode::Replay);

    let hub = hub.restart().await;
    let again = hub.send(call.by(&operator.key, now)).await;
    assert_eq!(again.code(), ErrorCode::Replay);
    // As long as its signature would count by its age, the nonce is remembered; after that the age refuses it.
    hub.pass(proof::MAX_SKEW_SECONDS);
    hub.send(whoami().by(&operator.key, hub.now())).await.ok::<api::Whoami>();
    assert_eq!(hub.send(call.by(&operator.key, now)).await.code(), ErrorCode::Replay);
    hub.pass(1);
    assert_eq!(hub.send(call.by(&operator.key, now)).await.code(), ErrorCode::ClockSkew);
}

#[tokio::test]
async fn nonces_of_a_program_that_kept_them_in_the_database_count_on() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let call = whoami();
    let now = hub.now();
    let signed = call.by(&operator.key, now);
    // As the program before wrote it when it had accepted this call.
    let mut tx = hub.hub.db.write().await.unwrap();
    sqlx::query("INSERT INTO nonces (key, nonce, expires) VALUES ($1, $2, $3), ($1, 'old', 5)")
        .bind(operator.key.public().id().to_string())
        .bind(&call.nonce)
        .bind((now + 301) * 1_000_000)
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let hub = hub.restart().await;
    assert_eq!(hub.send(signed).await.code(), ErrorCode::Replay);
    let mut reader = hub.hub.db.read().await.unwrap();
    let left: i64 =
        sqlx::query_scalar("SELECT count(*) FROM nonces").fetch_one(&mut *reader).await.unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn the_same_nonce_is_another_keys_own() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let other = hub.person(&operator, "other").await;
    let call = whoami();
    hub.send(call.by(&operator.key, hub.now())).await.ok::<api::Whoami>();
    hub.send(call.by(&other.key, hub.now())).await.ok::<api::Whoami>();
}

#[tokio::test]
async fn calls_at_the_same_time_with_one_nonce_count_once() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let call = whoami();
    let sent = (0..8).map(|_| hub.send(call.by(&operator.key, hub.now())));
    let answers = futures_util::future::join_all(sent).await;
    assert_eq!(answers.iter().filter(|answer| answer.status.is_success()).count(), 1);
}

#[tokio::test]
async fn a_clock_that_is_off_is_told_so_with_the_hubs_time() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    for (off, word) in [(-301, "ago"), (301, "ahead")] {
        let refused = hub.send(whoami().by(&operator.key, hub.now() + off)).await.problem();
        assert_eq!(refused.code, ErrorCode::ClockSkew);
        assert!(refused.title.contains("301 seconds") && refused.title.contains(word));
        assert_eq!(refused.time.as_second(), hub.now());
    }
    for off in [-300, 300] {
        hub.send(whoami().by(&operator.key, hub.now() + off)).await.ok::<api::Whoami>();
    }
}

#[tokio::test]
async fn a_call_for_another_hub_does_not_count_here() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    for authority in ["localhost:8471", "localhost", "other.example:8470"] {
        let call = Signed { authority: authority.into(), ..whoami() };
        let refused = hub.send(call.by(&operator.key, hub.now())).await.problem();
        assert_eq!(refused.code, ErrorCode::BadSignature);
        assert!(refused.hint.unwrap().contains(AUTHORITY));
    }
}

#[tokio::test]
async fn a_call_whose_parts_were_changed_does_not_count() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let signed =
        || Signed::new("POST", "/api/v1/keys", b"{}".to_vec()).by(&operator.key, hub.now());

    let mut other_method = signed();
    *other_method.method_mut() = "PUT".parse().unwrap();
    let mut other_path = signed();
    *other_path.uri_mut() = "/api/v1/accounts".parse().unwrap();
    let mut other_query = signed();
    *other_query.uri_mut() = "/api/v1/keys?limit=1".parse().unwrap();
    let mut other_digest = signed();
    let digest = proof::content_digest(b"[]").parse().unwrap();
    other_digest.headers_mut().insert("content-digest", digest);
    let mut no_digest = signed();
    no_digest.headers_mut().remove("content-digest");
    let mut added = signed();
    added.headers_mut().insert("chorion-epoch", "1".parse().unwrap());
    let mut twice = signed();
    let value = twice.headers().get("signature").unwrap().clone();
    twice.headers_mut().append("signature", value);
    for request in [other_method, other_path, other_query, other_digest, no_digest, added, twice] {
        assert_eq!(hub.send(request).await.code(), ErrorCode::BadSignature);
    }

    let mut other_body = signed();
    *other_body.body_mut() = Body::from("[]");
    assert_eq!(hub.send(other_body).await.code(), ErrorCode::DigestMismatch);
}

#[tokio::test]
async fn a_key_that_is_not_known_is_told_so() {
    let hub = TestHub::start().await;
    hub.operator().await;
    let refused = hub.send(whoami().by(&signing_key(), hub.now())).await;
    assert_eq!(refused.code(), ErrorCode::UnknownKey);
}

#[tokio::test]
async fn a_stranger_cannot_make_the_hub_read_a_body() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let endless = || {
        Body::from_stream(futures_util::stream::unfold((), async |()| {
            panic!("the body was asked for") as Option<(Result<bytes::Bytes, std::io::Error>, ())>
        }))
    };
    let path =
        format!("/api/v1/datasets/{}/objects/{}", api::DatasetId::generate(), "0".repeat(32));
    let unsigned = Request::put(&path).header("host", AUTHORITY).body(endless()).unwrap();
    assert_eq!(hub.send(unsigned).await.code(), ErrorCode::Unsigned);
    let mut unknown = Signed::new("PUT", &path, Vec::new()).by(&signing_key(), hub.now());
    *unknown.body_mut() = endless();
    assert_eq!(hub.send(unknown).await.code(), ErrorCode::UnknownKey);
    let mut wrong = Signed::new("PUT", &path, Vec::new()).by(&operator.key, hub.now());
    wrong.headers_mut().insert("chorion-epoch", "0".parse().unwrap());
    *wrong.body_mut() = endless();
    assert_eq!(hub.send(wrong).await.code(), ErrorCode::BadSignature);
}

#[tokio::test]
async fn a_body_is_bounded_by_what_the_call_takes() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let large = vec![b' '; 1024 * 1024 + 1];
    let call = Signed::new("POST", "/api/v1/keys", large.clone()).by(&operator.key, hub.now());
    assert_eq!(hub.send(call).await.code(), ErrorCode::TooLarge);
    // Announced and stopped before a byte is read, or counted as it arrives: the same.
    let mut announced = Signed::new("POST", "/api/v1/keys", large).by(&operator.key, hub.now());
    announced.headers_mut().insert("content-length", "1048577".parse().unwrap());
    assert_eq!(hub.send(announced).await.code(), ErrorCode::TooLarge);
    let enrolment = vec![b' '; 64 * 1024 + 1];
    let call = Signed::new("POST", "/api/v1/enrol", enrolment).by(&signing_key(), hub.now());
    assert_eq!(hub.send(call).await.code(), ErrorCode::TooLarge);
}

#[tokio::test]
async fn an_unknown_path_under_api_is_refused_before_it_is_said_to_be_unknown() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    for path in ["/api", "/api/", "/api/v1", "/api/v1/nothing", "/api/v2/whoami"] {
        let request = Request::get(path).header("host", AUTHORITY).body(Body::empty()).unwrap();
        let refused = hub.send(request).await.problem();
        assert_eq!((refused.status, refused.code), (401, ErrorCode::Unsigned), "{path}");
        assert!(refused.hint.is_some());
        assert_eq!(hub.get(&operator.key, path).await.code(), ErrorCode::NotFound, "{path}");
    }
    // A path that only looks like one outside is none of ours.
    for path in ["//api/v1/whoami", "/%61pi/v1/whoami", "/x/../api/v1/whoami", "/API/v1/whoami"] {
        let request = Request::get(path).header("host", AUTHORITY).body(Body::empty()).unwrap();
        let status = hub.send(request).await.status.as_u16();
        assert!(matches!(status, 404 | 401), "{path}: {status}");
    }
}

#[tokio::test]
async fn the_open_calls_answer_unsigned() {
    let hub = TestHub::start().await;
    for open in crate::http::open::OPEN {
        let path = if open.path == "*" { "/api/v1/whoami" } else { open.path };
        let request = Request::builder().method(open.method).uri(path).body(Body::empty()).unwrap();
        let answer = hub.send(request).await;
        assert!(answer.status.is_success(), "{} {path}", open.method);
    }
    let request = Request::get("/health").body(Body::empty()).unwrap();
    let health: api::Health = hub.send(request).await.ok();
    assert_eq!((health.hub.as_str(), health.time.as_second()), (hub.hub.id.as_str(), hub.now()));
}

#[tokio::test]
async fn a_method_that_a_path_does_not_take_and_a_body_that_does_not_read_are_explained() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let refused = hub.call(&operator.key, "PUT", "/api/v1/whoami", json!({})).await.problem();
    assert_eq!(refused.code, ErrorCode::NotFound);
    assert!(refused.title.contains("PUT /api/v1/whoami"));
    let refused =
        hub.call(&operator.key, "POST", "/api/v1/keys", json!({"kind": 1})).await.problem();
    assert_eq!(refused.code, ErrorCode::BadRequest);
    let refused = hub.get(&operator.key, "/api/v1/projects?limit=0").await.problem();
    assert_eq!(refused.code, ErrorCode::BadRequest);
    let refused = hub.get(&operator.key, "/api/v1/projects?cursor=%21").await.problem();
    assert_eq!(refused.code, ErrorCode::BadRequest);
    let refused = hub.get(&operator.key, "/api/v1/projects/not-an-id").await.problem();
    assert_eq!(refused.code, ErrorCode::NotFound);
}

#[tokio::test]
async fn pages_of_named_authenticators_may_call_and_no_other_page() {
    let hub = TestHub::start().await;
    let ask = |method: &str, path: &str, origin: &str| {
        Request::builder()
            .method(method)
            .uri(path)
            .header("host", AUTHORITY)
            .header("origin", origin)
            .body(Body::empty())
            .unwrap()
    };
    let keys = "https://keys.example";
    let asked = hub.send(ask("OPTIONS", "/api/v1/approvals", keys)).await;
    assert_eq!(asked.status, 204);
    let header = |answer: &Answer, name: &str| {
        answer.headers.get(name).map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(header(&asked, "access-control-allow-origin").as_deref(), Some(keys));
    assert!(header(&asked, "access-control-allow-headers").unwrap().contains("signature-input"));
    // A refusal can be read there too, and is still a refusal.
    let refused = hub.send(ask("GET", "/api/v1/approvals", keys)).await;
    assert_eq!(header(&refused, "access-control-allow-origin").as_deref(), Some(keys));
    assert_eq!(refused.code(), ErrorCode::Unsigned);
    for (path, origin) in [
        ("/api/v1/approvals", "https://keys.example.evil"),
        ("/api/v1/approvals", "null"),
        ("/account", keys),
    ] {
        for method in ["OPTIONS", "GET"] {
            let answer = hub.send(ask(method, path, origin)).await;
            assert_eq!(header(&answer, "access-control-allow-origin"), None, "{method} {path}");
        }
    }
    assert_eq!(header(&asked, "access-control-allow-credentials"), None);
}
