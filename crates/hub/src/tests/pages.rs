//! The website as a browser meets it: cookies, forms, sessions and what ends them.

use std::collections::BTreeMap;

use api::{ErrorCode, Invitation};
use axum::body::Body;
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::http::{Request, StatusCode};
use serde_json::json;

use super::people::contains;
use crate::http::auth::Peer;
use crate::site::PAGES;
use crate::testing::{AUTHORITY, Answer, Person, TestHub, signing_key};

pub(super) const PASSWORD: &str = "copper vein harbour seven";

/// A browser: keeps cookies, follows no redirect by itself, and sends what browsers send.
pub(super) struct TestBrowser<'a> {
    hub: &'a TestHub,
    pub(super) cookies: BTreeMap<String, String>,
    pub(super) origin: String,
    /// From where it comes, where that matters.
    pub(super) address: Option<std::net::IpAddr>,
}

impl<'a> TestBrowser<'a> {
    pub(super) fn new(hub: &'a TestHub) -> Self {
        let origin = format!("https://{AUTHORITY}");
        Self { hub, cookies: BTreeMap::new(), origin, address: None }
    }

    pub(super) async fn send(&mut self, method: &str, path: &str, form: Option<&str>) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", AUTHORITY);
        if !self.cookies.is_empty() {
            let pairs: Vec<String> = self.cookies.iter().map(|(k, v)| format!("{k}={v}")).collect();
            request = request.header("cookie", pairs.join("; "));
        }
        if form.is_some() {
            request = request
                .header("origin", &self.origin)
                .header("content-type", "application/x-www-form-urlencoded");
        }
        let body = Body::from(form.unwrap_or_default().to_owned());
        let mut request = request.body(body).unwrap();
        if let Some(address) = self.address {
            request.extensions_mut().insert(Peer(address));
        }
        let answer = self.hub.send(request).await;
        for cookie in answer.headers.get_all(SET_COOKIE) {
            let text = cookie.to_str().unwrap();
            assert!(text.contains("; Path=/; Secure; HttpOnly; SameSite=Lax"), "{text}");
            assert!(text.starts_with("__Host-") && !text.contains("Domain"), "{text}");
            let (name, rest) = text.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            if text.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    pub(super) async fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, None).await
    }

    /// Fills the form of the page at `page` and sends it to `path`.
    pub(super) async fn post(&mut self, page: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let form_token = self.form_token(page).await;
        let mut all = vec![("form_token", form_token.as_str())];
        all.extend(fields);
        self.send("POST", path, Some(&serde_urlencoded::to_string(all).unwrap())).await
    }

    pub(super) async fn form_token(&mut self, page: &str) -> String {
        let answer = self.get(page).await;
        let text = answer.text();
        let mark = "name=\"form_token\" value=\"";
        let Some(start) = text.find(mark) else { panic!("{page} has no form: {text}") };
        text[start + mark.len()..].split('"').next().unwrap().to_owned()
    }

    pub(super) async fn sign_in(&mut self, name: &str, password: &str) -> Answer {
        self.post("/sign-in", "/sign-in", &[("name", name), ("password", password)]).await
    }

    /// Who the first page greets.
    pub(super) async fn who(&mut self) -> Option<String> {
        let text = self.get("/").await.text();
        let greeting = text.split("Good day, ").nth(1)?;
        Some(greeting.split('<').next().unwrap().to_owned())
    }
}

/// A page as a test reads it.
pub(super) trait Page {
    fn text(&self) -> String;
    fn to(&self) -> &str;
}

impl Page for Answer {
    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// Where a redirect leads.
    #[track_caller]
    fn to(&self) -> &str {
        assert_eq!(self.status, StatusCode::SEE_OTHER, "{}", self.text());
        self.headers.get(LOCATION).unwrap().to_str().unwrap()
    }
}

/// Somebody who was invited and set a name and a password, in a browser that is signed in.
pub(super) async fn ada<'a>(hub: &'a TestHub, operator: &Person) -> (TestBrowser<'a>, String) {
    let invited: Invitation =
        hub.call(&operator.key, "POST", "/api/v1/accounts", json!({"name": "Ada"})).await.ok();
    let mut browser = TestBrowser::new(hub);
    let fields = [
        ("code", invited.code.as_str()),
        ("name", "Ada@Lab.example"),
        ("password", PASSWORD),
        ("again", PASSWORD),
    ];
    let answer = browser.post("/first-password", "/first-password", &fields).await;
    assert_eq!(answer.to(), "/account");
    (browser, invited.account.id.to_string())
}

#[tokio::test]
async fn every_page_of_the_list_answers_under_a_strict_policy_and_no_other_path_does() {
    let hub = TestHub::start().await;
    let mut browser = TestBrowser::new(&hub);
    for page in PAGES {
        let path = page
            .path
            .replace("{id}", "0")
            .replace("{account}", "0")
            .replace("{file}", "none.css")
            .replace("{object}", "0")
            .replace("{dataset}", "0")
            .replace("{*path}", "x");
        let form = (page.method == "POST").then_some("");
        let answer = browser.send(page.method, &path, form).await;
        let is_there = answer.status != StatusCode::NOT_FOUND || page.path == "/assets/{file}";
        assert!(is_there, "{} {path}: {}", page.method, answer.status);
        let header = |name: &str| answer.headers.get(name).unwrap().to_str().unwrap().to_owned();
        let policy = header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("x-frame-options"), "DENY");
        assert_eq!(header("referrer-policy"), "same-origin");
        assert_eq!(header("cross-origin-opener-policy"), "same-origin");
        assert_eq!(header("cache-control"), "no-store");
    }
    for path in ["/index.html", "/account/", "/Account", "/assets/", "/sign-in/x", "/.env"] {
        let answer = browser.get(path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert!(answer.text().contains("There is no such path as"), "{path}");
        assert_eq!(answer.headers.get("content-type").unwrap(), "text/html; charset=utf-8");
    }
    // Under the API it is a problem document, and unsigned before anything else.
    assert_eq!(
        hub.send(Request::get("/api/x").body(Body::empty()).unwrap()).await.code(),
        ErrorCode::Unsigned
    );
}

#[tokio::test]
async fn what_is_asked_for_by_its_address_is_compressed_and_no_two_pages_have_one_form_token() {
    use std::io::Read;
    let hub = TestHub::start().await;
    let mut browser = TestBrowser::new(&hub);
    let plain = browser.get("/sign-in").await;
    assert!(!plain.headers.contains_key("content-encoding"));
    let style = plain.text().split('"').find(|part| part.ends_with(".css")).unwrap().to_owned();
    let ask = |method: &str, path: &str, form: String| {
        let cookies: Vec<String> =
            browser.cookies.iter().map(|(k, v)| format!("{k}={v}")).collect();
        Request::builder()
            .method(method)
            .uri(path)
            .header("host", AUTHORITY)
            .header("cookie", cookies.join("; "))
            .header("origin", format!("https://{AUTHORITY}"))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("accept-encoding", "gzip, br")
            .body(Body::from(form))
            .unwrap()
    };
    let opened = |answer: &Answer| {
        assert_eq!(answer.headers.get("content-encoding").unwrap(), "gzip");
        assert!(answer.headers.get("vary").unwrap().to_str().unwrap().contains("accept-encoding"));
        let mut text = String::new();
        flate2::read::GzDecoder::new(answer.body.as_slice()).read_to_string(&mut text).unwrap();
        assert!(answer.body.len() * 3 < text.len() * 2, "{} of {}", answer.body.len(), text.len());
        text
    };
    opened(&hub.send(ask("GET", &style, String::new())).await);
    let token = |text: &str| {
        let mark = "name=\"form_token\" value=\"";
        text.split(mark).nth(1).unwrap().split('"').next().unwrap().to_owned()
    };
    let mut seen = vec![token(&plain.text())];
    for _ in 0..3 {
        let page = opened(&hub.send(ask("GET", "/sign-in", String::new())).await);
        assert!(!seen.contains(&token(&page)));
        seen.push(token(&page));
    }
    // Each of them is taken, and the answer to a form is sent as it is.
    for token in seen {
        let form = format!("form_token={token}&name=nobody&password=wrong+horse+battery");
        let refused = hub.send(ask("POST", "/sign-in", form)).await;
        assert!(refused.text().contains("The sign-in name or the password"), "{}", refused.text());
        assert!(!refused.headers.contains_key("content-encoding"));
    }
}

#[tokio::test]
async fn pages_name_assets_by_their_hash_and_load_nothing_from_elsewhere() {
    let hub = TestHub::start().await;
    let mut browser = TestBrowser::new(&hub);
    let text = browser.get("/sign-in").await.text();
    for outside in ["http://", "https://", "<style", "style=", "onclick", "javascript:"] {
        assert!(!text.contains(outside), "{outside}");
    }
    let mut assets = 0;
    for part in text.split('"').filter(|part| part.starts_with("/assets/")) {
        let asset = browser.get(part).await;
        assert!(asset.status.is_success(), "{part}");
        let hash = proof::sha256(&asset.body).to_string();
        assert!(part.contains(&hash[..16]), "{part}");
        let keep = asset.headers.get("cache-control").unwrap();
        assert_eq!(keep, "public, max-age=31536000, immutable");
        assets += 1;
    }
    assert!(assets >= 2);
}

#[tokio::test]
async fn an_invitation_becomes_a_name_and_a_password_and_its_code_counts_once() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let invited: Invitation =
        hub.call(&operator.key, "POST", "/api/v1/accounts", json!({"name": "Ada"})).await.ok();
    let mut browser = TestBrowser::new(&hub);
    let code = invited.code.to_lowercase();
    let fields = |code, password, again| {
        [("code", code), ("name", "ada"), ("password", password), ("again", again)]
    };
    for (wrong, words) in [
        (fields("AAAAA-AAAAA-AAAAA-AAAAA-AAAAA", PASSWORD, PASSWORD), "The one-time code is wrong"),
        (fields(&code, "short", "short"), "shorter than 12"),
        (fields(&code, PASSWORD, "another one than that"), "not the same"),
        (fields(&code, "password1234", "password1234"), "guessed first"),
    ] {
        let answer = browser.post("/first-password", "/first-password", &wrong).await;
        assert!(answer.status.is_client_error() && answer.text().contains(words), "{words}");
        assert!(!answer.text().contains(PASSWORD) && !answer.text().contains(&code));
    }
    let right = fields(&code, PASSWORD, PASSWORD);
    let answer = browser.post("/first-password", "/first-password", &right).await;
    assert_eq!(answer.to(), "/account");
    assert_eq!(browser.who().await.as_deref(), Some("Ada"));
    let mut other = TestBrowser::new(&hub);
    let again = other.post("/first-password", "/first-password", &right).await;
    assert_eq!(again.status, StatusCode::FORBIDDEN);
    // The code enrols no key any more either.
    assert_eq!(hub.enrol(&signing_key(), &invited.code, "").await.code(), ErrorCode::BadCode);
    // And the first operator's code is not for this page.
    let fresh = TestHub::start().await;
    let first = fresh.code.clone().unwrap();
    let mut browser = TestBrowser::new(&fresh);
    let right = fields(&first, PASSWORD, PASSWORD);
    let answer = browser.post("/first-password", "/first-password", &right).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    fresh.operator().await;
}

#[tokio::test]
async fn a_sign_in_draws_a_new_token_and_goes_where_the_person_was() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    ada(&hub, &operator).await;
    let mut browser = TestBrowser::new(&hub);
    assert_eq!(browser.get("/account").await.to(), "/sign-in?next=/account");
    let next = browser.get("/sign-in?next=/account").await.text();
    assert!(next.contains(r#"name="next" value="/account""#));
    let before = browser.cookies.clone();
    let fields = [("name", " ADA@lab.example"), ("password", PASSWORD), ("next", "/account")];
    let answer = browser.post("/sign-in", "/sign-in", &fields).await;
    assert_eq!(answer.to(), "/account");
    assert!(!browser.cookies.values().any(|value| before.values().any(|old| old == value)));
    assert!(!browser.cookies.contains_key("__Host-chorion-visit"));
    let page = browser.get("/account").await;
    assert!(page.text().contains("ada@lab.example"));
    // A link cannot send anybody away.
    let evil = [("name", "ada@lab.example"), ("password", PASSWORD), ("next", "//evil.example")];
    let mut other = TestBrowser::new(&hub);
    assert_eq!(other.post("/sign-in", "/sign-in", &evil).await.to(), "/");
}

#[tokio::test]
async fn a_wrong_name_and_a_wrong_password_look_alike_and_then_wait() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    ada(&hub, &operator).await;
    let mut browser = TestBrowser::new(&hub);
    let mut pages = Vec::new();
    for name in ["ada@lab.example", "nobody@lab.example"] {
        let answer = browser.sign_in(name, "copper vein harbour eight").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        assert!(!answer.text().contains(name) && !answer.text().contains("harbour eight"));
        pages.push(answer.text());
    }
    // But for the form token, which no two pages have alike.
    let bare = |page: &String| -> String {
        let mark = "name=\"form_token\" value=\"";
        let parts = page.split(mark).enumerate();
        parts
            .map(|(at, part)| {
                if at == 0 {
                    part
                } else {
                    part.trim_start_matches(|c: char| c.is_ascii_hexdigit())
                }
            })
            .collect()
    };
    assert_eq!(bare(&pages[0]), bare(&pages[1]));
    for _ in 0..4 {
        browser.sign_in("ada@lab.example", "copper vein harbour nine!").await;
    }
    // Now even the right one waits, and says so.
    let slowed = browser.sign_in("ada@lab.example", PASSWORD).await;
    assert_eq!(slowed.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(slowed.headers.contains_key("retry-after"));
    hub.pass(2);
    assert_eq!(browser.sign_in("ada@lab.example", PASSWORD).await.to(), "/");
}

#[tokio::test]
async fn a_form_from_elsewhere_or_without_its_token_does_nothing() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let (mut browser, _) = ada(&hub, &operator).await;
    let token = browser.form_token("/account").await;
    let good = format!("form_token={token}");
    for (origin, form) in [
        ("https://evil.example", good.as_str()),
        ("null", &good),
        ("https://localhost:8470", ""),
        ("https://localhost:8470", "form_token="),
        ("https://localhost:8470", &format!("form_token={}", "0".repeat(128))),
        ("https://localhost:8470", &good[..good.len() - 2]),
    ] {
        browser.origin = origin.to_owned();
        let answer = browser.send("POST", "/sign-out", Some(form)).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{origin} {form}");
        assert!(answer.text().contains("not sent from a page of this hub"));
    }
    browser.origin = "https://localhost:8470".to_owned();
    // The token of another browser is none of this one's.
    let mut other = TestBrowser::new(&hub);
    other.sign_in("ada@lab.example", PASSWORD).await;
    let others = format!("form_token={}", other.form_token("/account").await);
    assert_eq!(
        browser.send("POST", "/sign-out", Some(&others)).await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(browser.who().await.as_deref(), Some("Ada"));
    assert_eq!(browser.send("POST", "/sign-out", Some(&good)).await.to(), "/");
    assert_eq!(browser.who().await, None);
    // A name that is not the hub's own gets no page at all.
    let request = Request::get("/").header("host", "evil.example").body(Body::empty()).unwrap();
    assert!(hub.send(request).await.status.is_client_error());
}

#[tokio::test]
async fn a_session_ends_when_it_is_idle_and_in_any_case_after_half_a_day() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let (mut browser, _) = ada(&hub, &operator).await;
    for _ in 0..10 {
        hub.pass(29 * 60);
        assert_eq!(browser.who().await.as_deref(), Some("Ada"));
    }
    hub.pass(30 * 60);
    assert_eq!(browser.who().await, None);
    browser.sign_in("ada@lab.example", PASSWORD).await;
    for _ in 0..24 {
        assert_eq!(browser.who().await.as_deref(), Some("Ada"));
        hub.pass(29 * 60);
    }
    // Eleven hours and 36 minutes.
    assert_eq!(browser.who().await.as_deref(), Some("Ada"));
    hub.pass(25 * 60);
    assert_eq!(browser.who().await, None, "used every half hour, and twelve hours old");
}

#[tokio::test]
async fn a_disabled_account_is_signed_out_at_its_next_page() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let (mut browser, id) = ada(&hub, &operator).await;
    let path = format!("/api/v1/accounts/{id}/disable");
    hub.call(&operator.key, "POST", &path, ()).await.ok::<api::Account>();
    assert_eq!(browser.get("/account").await.to(), "/sign-in?next=/account");
    let refused = browser.sign_in("ada@lab.example", PASSWORD).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_changed_password_signs_every_other_browser_out() {
    const NEW: &str = "seven harbours of copper";
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let (mut browser, _) = ada(&hub, &operator).await;
    let mut other = TestBrowser::new(&hub);
    other.sign_in("ada@lab.example", PASSWORD).await;
    let before = browser.cookies.clone();
    let fields = [("name", "ada"), ("password", NEW), ("again", NEW)];
    let answer = browser.post("/account/password", "/account/password", &fields).await;
    assert_eq!(answer.to(), "/account");
    assert_ne!(browser.cookies, before, "the session has a new token");
    assert_eq!(browser.who().await.as_deref(), Some("Ada"));
    assert_eq!(other.who().await, None);
    let mut old = TestBrowser::new(&hub);
    old.cookies = before;
    assert_eq!(old.who().await, None, "the old token counts no more");
    assert_eq!(old.sign_in("ada@lab.example", PASSWORD).await.status, StatusCode::FORBIDDEN);
    assert_eq!(old.sign_in("ada", NEW).await.to(), "/");
}

#[tokio::test]
async fn what_changes_keys_asks_for_a_fresh_sign_in() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let (mut browser, _) = ada(&hub, &operator).await;
    browser.get("/account/password").await.text();
    hub.pass(5 * 60 + 1);
    assert_eq!(browser.get("/account/password").await.to(), "/confirm?next=/account/password");
    let token = browser.form_token("/account").await;
    let form = serde_urlencoded::to_string([
        ("form_token", token.as_str()),
        ("name", "eve"),
        ("password", "taken over by somebody"),
        ("again", "taken over by somebody"),
    ])
    .unwrap();
    let refused = browser.send("POST", "/account/password", Some(&form)).await;
    assert_eq!(refused.to(), "/confirm?next=/account");
    let before = browser.cookies.clone();
    let wrong = [("password", "copper vein harbour eight"), ("next", "/account/password")];
    assert_eq!(browser.post("/confirm", "/confirm", &wrong).await.status, StatusCode::FORBIDDEN);
    let right = [("password", PASSWORD), ("next", "/account/password")];
    let answer = browser.post("/confirm", "/confirm", &right).await;
    assert_eq!(answer.to(), "/account/password");
    assert_ne!(browser.cookies, before, "the proof draws a new token");
    assert!(browser.get("/account/password").await.status.is_success());
}

#[tokio::test]
async fn browsers_and_keys_are_listed_and_ended_by_their_owner_alone() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let body = json!({"sign_in_name": "operator", "password": PASSWORD});
    let set = hub.call(&operator.key, "PUT", "/api/v1/account/password", body).await;
    assert_eq!(set.status, StatusCode::NO_CONTENT);
    let mut browser = TestBrowser::new(&hub);
    assert_eq!(browser.sign_in("operator", PASSWORD).await.to(), "/");
    let mut second = TestBrowser::new(&hub);
    second.sign_in("operator", PASSWORD).await;
    let key = operator.key.public().id().to_string();
    let page = browser.get("/account").await.text();
    assert!(page.contains(&key) && page.contains("this browser"));
    let mark = "/account/browsers/";
    let other = page.split(mark).nth(1).unwrap().split('/').next().unwrap().to_owned();

    // Somebody else finds neither.
    let (mut ada, _) = ada(&hub, &operator).await;
    let end = format!("{mark}{other}/end");
    assert_eq!(ada.post("/account", &end, &[]).await.status, StatusCode::NOT_FOUND);
    let revoke = format!("/account/keys/{key}/revoke");
    assert_eq!(ada.get(&revoke).await.status, StatusCode::NOT_FOUND);
    assert_eq!(ada.post("/account", &revoke, &[]).await.status, StatusCode::NOT_FOUND);
    assert!(second.who().await.is_some());

    assert_eq!(browser.post("/account", &end, &[]).await.to(), "/account");
    assert_eq!(second.who().await, None);
    second.sign_in("operator", PASSWORD).await;
    assert_eq!(
        browser.post("/account", "/account/browsers/end-others", &[]).await.to(),
        "/account"
    );
    assert_eq!(second.who().await, None);
    assert!(browser.get(&revoke).await.text().contains("Its next call is refused"));
    assert_eq!(browser.post("/account", &revoke, &[]).await.to(), "/account");
    assert_eq!(hub.get(&operator.key, "/api/v1/whoami").await.code(), ErrorCode::UnknownKey);
    assert!(browser.get("/account").await.text().contains("revoked"));
}

#[tokio::test]
async fn a_name_is_one_accounts_and_a_bad_password_is_refused_over_the_api_too() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    ada(&hub, &operator).await;
    for (name, password, code) in [
        ("ada@lab.example", PASSWORD, ErrorCode::Conflict),
        ("operator", "short", ErrorCode::BadRequest),
        ("not a name", PASSWORD, ErrorCode::BadRequest),
    ] {
        let body = json!({"sign_in_name": name, "password": password});
        let answer = hub.call(&operator.key, "PUT", "/api/v1/account/password", body).await;
        assert_eq!(answer.code(), code, "{name}");
    }
}

/// What may stand nowhere: not in the database in clear, not on a page, not in an address.
#[tokio::test]
async fn no_password_code_or_cookie_is_kept_in_clear() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let invited: Invitation =
        hub.call(&operator.key, "POST", "/api/v1/accounts", json!({"name": "Grace"})).await.ok();
    let (mut browser, _) = ada(&hub, &operator).await;
    let mut other = TestBrowser::new(&hub);
    other.sign_in("ada@lab.example", "wrong but secret all the same").await;
    other.sign_in("a password in the wrong field", PASSWORD).await;
    let form_token = browser.form_token("/account").await;
    let mut secrets = vec![
        PASSWORD.to_owned(),
        invited.code.clone(),
        "wrong but secret all the same".to_owned(),
        "a password in the wrong field".to_owned(),
        form_token,
    ];
    secrets.extend(browser.cookies.values().cloned());
    let raw: Vec<Vec<u8>> = browser
        .cookies
        .values()
        .map(|value| data_encoding::BASE64URL_NOPAD.decode(value.as_bytes()).unwrap())
        .collect();
    hub.hub.db.forget().await.unwrap();
    for file in ["hub.db", "hub.db-wal"] {
        let bytes = std::fs::read(hub.directory().join("data").join(file)).unwrap_or_default();
        for secret in secrets.iter().map(String::as_bytes).chain(raw.iter().map(Vec::as_slice)) {
            assert!(!contains(&bytes, secret), "{file}: {}", String::from_utf8_lossy(secret));
        }
    }
    let kept = std::fs::read(hub.directory().join("data/hub.db")).unwrap();
    assert!(contains(&kept, b"ada@lab.example"), "the name is there, so the look-up looks");
}

#[tokio::test]
async fn a_form_is_in_memory_within_a_bound_until_its_page_is_there() {
    let hub = TestHub::start().await;
    let mut browser = TestBrowser::new(&hub);
    browser.form_token("/sign-in").await;
    let cookie = browser.cookies.iter().map(|(k, v)| format!("{k}={v}")).collect::<String>();
    // It never ends, so it is counted as the largest there may be.
    let body =
        Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let request = Request::post("/sign-in")
        .header("host", AUTHORITY)
        .header("origin", format!("https://{AUTHORITY}"))
        .header("cookie", cookie)
        .body(body)
        .unwrap();
    let taken = async {
        while hub.hub.gate.bodies.of_forms() != 64 * 1024 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        answer = hub.send(request) => panic!("{answer:?}"),
        () = taken => {}
    }
    assert_eq!(hub.hub.gate.bodies.of_forms(), 0, "and given back when it is gone");
}

#[tokio::test]
async fn whether_a_name_is_somebodys_is_not_told_by_the_time_of_the_answer() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let (_, ada) = ada(&hub, &operator).await;
    let mut browser = TestBrowser::new(&hub);
    // Nothing can be written: an answer that waits for the event of its refusal would not come.
    let writing = hub.hub.db.write().await.unwrap();
    for name in ["ada@lab.example", "nobody@lab.example"] {
        let tried = browser.sign_in(name, "copper vein harbour eight");
        let answer = tokio::time::timeout(std::time::Duration::from_secs(20), tried).await;
        assert_eq!(answer.expect(name).status, StatusCode::FORBIDDEN);
    }
    drop(writing);
    let hub = hub.restart().await;
    let events = format!("/api/v1/audit/events?object=account:{ada}");
    let events: api::Page<api::Event> = hub.get(&operator.key, &events).await.ok();
    let refused = events.items.iter().filter(|event| event.act == "browser.sign-in");
    let refused = refused.filter(|event| event.outcome == api::Outcome::Refused);
    assert_eq!(refused.count(), 1, "and it is written all the same");
}

#[tokio::test]
async fn challenges_that_are_out_are_kept_nowhere() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    ada(&hub, &operator).await;
    let mut browser = TestBrowser::new(&hub);
    let token = browser.form_token("/sign-in").await;
    let mut challenges = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let form = format!("form_token={token}");
        let answer = browser.send("POST", "/sign-in/passkey/options", Some(&form)).await;
        let options: serde_json::Value = answer.ok();
        challenges.insert(options["challenge"].as_str().unwrap().to_owned());
    }
    assert_eq!(challenges.len(), 100);
    let mut reader = hub.hub.db.read().await.unwrap();
    let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM answered_challenges")
        .fetch_one(&mut *reader)
        .await
        .unwrap();
    assert_eq!(kept, 0);
}

#[tokio::test]
async fn what_a_signed_in_person_is_refused_is_theirs_and_leaves_nothing_on_the_address() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let (mut browser, ada) = ada(&hub, &operator).await;
    browser.address = Some(super::abuse::HOSTILE.parse().unwrap());
    for _ in 0..10 {
        let wrong = browser.post("/device", "/device", &[("code", "BBBB-BBBB")]).await;
        assert_eq!(wrong.status, StatusCode::FORBIDDEN, "{}", wrong.text());
    }
    let events: api::Page<api::Event> =
        hub.get(&operator.key, "/api/v1/audit/events?object=device").await.ok();
    assert_eq!(events.items.len(), 10);
    for event in events.items {
        assert_eq!(event.actor, format!("account:{ada}"));
    }
    hub.pass(60);
    assert!(super::abuse::knock(&hub, super::abuse::HOSTILE, 99).await.is_none());
}

#[tokio::test]
async fn the_account_page_shows_keys_in_force_first_and_ends_a_sign_on() {
    let hub = TestHub::start().await;
    let operator = hub.operator().await;
    let body = json!({"sign_in_name": "operator", "password": PASSWORD});
    hub.call(&operator.key, "PUT", "/api/v1/account/password", body).await;
    let notices: api::Page<api::Notice> = hub.get(&operator.key, "/api/v1/notices").await.ok();
    assert_eq!(notices.items[0].kind, api::NoticeKind::PasswordChanged);
    for n in 0..20 {
        let public = api::Bytes(signing_key().public().to_bytes().to_vec());
        let add = json!({"kind": "person", "name": format!("lost {n}"), "public_key": public});
        let key: api::Key = hub.call(&operator.key, "POST", "/api/v1/keys", add).await.ok();
        let path = format!("/api/v1/keys/{}", key.id);
        hub.call(&operator.key, "DELETE", &path, ()).await.ok::<api::Key>();
    }
    let (key, instrument) = super::devices::enrolled(&hub, &operator).await;
    super::devices::sign_on(&hub, &key, &operator).await;
    let mut browser = TestBrowser::new(&hub);
    browser.sign_in("operator", PASSWORD).await;
    let page = browser.get("/account").await.text();
    let own = page.find(&operator.key.public().id().to_string()).unwrap();
    assert!(
        own < page.find("lost ").unwrap(),
        "the one that signs stands before those that do not"
    );
    let end = format!("/account/sign-ons/{}/end", instrument.id);
    assert!(page.contains(&end) && page.contains("NovaSeq 1"));
    assert_eq!(browser.post("/account", &end, &[]).await.to(), "/account");
    assert!(!browser.get("/account").await.text().contains("NovaSeq 1"));
    let standing: api::SignOn = hub.get(&key, "/api/v1/sign-on").await.ok();
    assert_eq!(standing.technician, None);
}
