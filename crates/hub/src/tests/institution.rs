//! An institution that answers in ways it should not: nobody is followed elsewhere, nothing long is read, and what people read
//! says what is wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use api::{ErrorCode, Secret, Time};
use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect};
use axum::routing::{get, post};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

use crate::InstitutionConfig;
use crate::institution::{Asking, Institution};

const DESCRIBED: &str = "/.well-known/openid-configuration";
const ASKING: Asking<'_> = Asking {
    redirect: "https://localhost/sign-in/institution/return",
    state: "s",
    nonce: "n",
    verifier: "v",
    anew: false,
};

fn config(issuer: &str) -> InstitutionConfig {
    InstitutionConfig {
        issuer: issuer.to_owned(),
        client_id: "the hub".into(),
        client_secret: Secret::new("a secret".to_owned().into()),
        ca_file: None,
    }
}

/// Serves what `routes` makes of the issuer, and gives the institution.
async fn institution(routes: impl FnOnce(&str) -> Router) -> Institution {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let router = routes(&issuer);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    Institution::new(config(&issuer)).unwrap()
}

fn described(issuer: &str) -> Value {
    json!({
        "issuer": issuer, "authorization_endpoint": format!("{issuer}/auth?x=1"),
        "token_endpoint": format!("{issuer}/token"), "jwks_uri": format!("{issuer}/keys"),
    })
}

fn at(second: i64) -> Time {
    Time::from_second(1_800_000_000 + second).unwrap()
}

/// A description, as it is served.
fn describing(described: &Value) -> Router {
    let text = described.to_string();
    Router::new().route(DESCRIBED, get(async move || text.clone()))
}

const NO_KEYS: &str = r#"{"keys": []}"#;

/// An institution with a right description, no keys, and this at its token endpoint.
async fn with_token<R: IntoResponse + Send + 'static>(
    token: impl Fn() -> R + Clone + Send + Sync + 'static,
) -> Institution {
    institution(|issuer| {
        describing(&described(issuer))
            .route("/keys", get(async || NO_KEYS))
            .route("/token", post(async move || token()))
    })
    .await
}

#[tokio::test]
async fn people_are_sent_there_with_all_that_must_come_back() {
    let institution = with_token(|| StatusCode::OK).await;
    let address = institution.address(at(0), ASKING).await.unwrap();
    let address = reqwest::Url::parse(&address).unwrap();
    assert_eq!(address.path(), "/auth");
    let has =
        |name: &str, value: &str| address.query_pairs().any(|p| p == (name.into(), value.into()));
    let challenge = BASE64URL_NOPAD.encode(&proof::sha256(b"v").0);
    for (name, value) in [
        ("x", "1"),
        ("response_type", "code"),
        ("client_id", "the hub"),
        ("redirect_uri", ASKING.redirect),
        ("scope", "openid"),
        ("state", "s"),
        ("nonce", "n"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        ("max_age", "43200"),
    ] {
        assert!(has(name, value), "{name} in {address}");
    }
    assert!(!has("prompt", "login"));
    let address = institution.address(at(0), Asking { anew: true, ..ASKING }).await.unwrap();
    assert!(address.ends_with("&prompt=login"), "{address}");
    assert!(!address.contains("code_verifier"), "the verifier stays here");
}

#[tokio::test]
async fn a_description_that_is_not_the_institutions_own_is_not_believed() {
    let changed = |field: &'static str, value: Value| {
        institution(move |issuer| {
            let mut described = described(issuer);
            described[field] = value;
            describing(&described).route("/keys", get(async || NO_KEYS))
        })
    };
    let cases = [
        changed("issuer", json!("https://login.example")).await,
        changed("token_endpoint", json!("http://10.0.0.1/token")).await,
        changed("jwks_uri", json!("ftp://127.0.0.1/keys")).await,
        changed("authorization_endpoint", json!("javascript:alert(1)")).await,
        changed("jwks_uri", json!("/keys")).await,
        changed("padding", json!("x".repeat(300 * 1024))).await,
        // What it is sent to would be right.
        institution(|issuer| {
            let right = describing(&described(issuer)).route("/keys", get(async || NO_KEYS));
            Router::new()
                .route(
                    DESCRIBED,
                    get(async || Redirect::to("/there/.well-known/openid-configuration")),
                )
                .nest("/there", right)
                .route("/keys", get(async || NO_KEYS))
        })
        .await,
        institution(|issuer| {
            describing(&described(issuer)).route("/keys", get(async || StatusCode::NOT_FOUND))
        })
        .await,
        institution(|issuer| describing(&described(issuer)).route("/keys", get(async || "<html>")))
            .await,
        Institution::new(config("http://127.0.0.1:1")).unwrap(),
    ];
    for (number, institution) in cases.iter().enumerate() {
        let refused = institution.address(at(0), ASKING).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::Unavailable, "case {number}");
        assert!(refused.causes().is_some(), "case {number}: the log says why");
        assert!(!refused.title().contains("127.0.0.1"), "and the page does not");
    }
}

#[tokio::test]
async fn a_refusal_at_the_token_endpoint_is_said_in_plain_words() {
    let refused = |code: &'static str| {
        with_token(move || {
            (
                StatusCode::BAD_REQUEST,
                json!({"error": code, "error_description": "fernweh"}).to_string(),
            )
        })
    };
    for (code, words, expected) in [
        ("invalid_client", "client id and secret", ErrorCode::Forbidden),
        ("unauthorized_client", "client id and secret", ErrorCode::Forbidden),
        ("invalid_grant", "does not know this sign-in any more", ErrorCode::Forbidden),
        ("made_up", "does not answer as it should", ErrorCode::Unavailable),
    ] {
        let institution = refused(code).await;
        let error = institution.person(at(0), ASKING, "code", None).await.unwrap_err();
        assert_eq!(error.code(), expected, "{code}");
        assert!(error.title().contains(words), "{code}: {}", error.title());
        let said = format!("{} {:?} {:?}", error.title(), error.hint_text(), error.causes());
        assert!(!said.contains("fernweh") && !said.contains("a secret"), "{said}");
    }
    let elsewhere = with_token(|| Redirect::to("http://127.0.0.1:1/token")).await;
    let error = elsewhere.person(at(0), ASKING, "code", None).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unavailable);
    let other = with_token(|| StatusCode::OK).await;
    let error =
        other.person(at(0), ASKING, "code", Some("https://evil.example")).await.unwrap_err();
    assert!(error.title().contains("another institution"), "{}", error.title());
}

#[tokio::test]
async fn keys_are_fetched_anew_for_a_key_that_is_not_there_and_not_for_every_such_token() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let encode = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
    let token = format!("{}.{}.AAAA", encode(r#"{"alg":"ES256","kid":"new"}"#), encode("{}"));
    let answer = json!({"id_token": token}).to_string();
    let institution = institution(|issuer| {
        describing(&described(issuer))
            .route(
                "/keys",
                get(async move || {
                    count.fetch_add(1, Ordering::SeqCst);
                    NO_KEYS
                }),
            )
            .route("/token", post(async move || answer.clone()))
    })
    .await;
    for (second, fetched) in [(0, 2), (1, 2), (59, 2), (61, 3), (62, 3), (3700, 5)] {
        let error = institution.person(at(second), ASKING, "code", None).await.unwrap_err();
        assert!(error.title().contains("no key that signed"), "{}", error.title());
        assert_eq!(asked.load(Ordering::SeqCst), fetched, "after {second} seconds");
    }
}

#[tokio::test]
async fn an_institution_that_failed_is_left_alone_for_some_seconds() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let institution = institution(|_| {
        let failing = async move || {
            count.fetch_add(1, Ordering::SeqCst);
            StatusCode::INTERNAL_SERVER_ERROR
        };
        Router::new().route(DESCRIBED, get(failing))
    })
    .await;
    for (second, times) in [(0, 1), (1, 1), (4, 1), (5, 2), (9, 2), (10, 3)] {
        institution.address(at(second), ASKING).await.unwrap_err();
        assert_eq!(asked.load(Ordering::SeqCst), times, "after {second} seconds");
    }
}

#[test]
fn an_institution_that_cannot_be_asked_safely_stops_the_start() {
    for issuer in
        ["http://login.example", "login.example", "https://login.example?x=1", "http://localhost#a"]
    {
        assert!(Institution::new(config(issuer)).is_err(), "{issuer}");
    }
}
