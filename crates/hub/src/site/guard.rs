//! What a page takes before it acts: a form from a page of ours, a person who is signed in, a person who is there now.

use api::ErrorCode;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::{ORIGIN, REFERER};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse, Redirect, Response};
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::view;
use super::visit::Visit;
use crate::HubError;
use crate::app::Caller;
use crate::app::sign_in::{self, Browser};
use crate::http::auth::SMALL_BODY;
use crate::state::Hub;

/// The largest form.
pub(super) const FORM_BYTES: usize = 64 * 1024;

/// A person who is signed in. Who is not is sent to the sign-in page and comes back.
#[derive(Debug, Clone)]
pub(super) struct SignedIn {
    /// The person, as the functions of `app` want it.
    pub(super) caller: Caller,
    /// The session.
    pub(super) browser: Browser,
    /// The browser.
    pub(super) visit: Visit,
}

impl FromRequestParts<Hub> for SignedIn {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, hub: &Hub) -> Result<Self, Response> {
        let visit =
            Visit::from_request_parts(parts, hub).await.map_err(IntoResponse::into_response)?;
        match visit.person.clone() {
            Some((caller, browser)) => Ok(Self { caller, browser, visit }),
            None => Err(elsewhere("/sign-in", parts, &visit)),
        }
    }
}

/// A person who proved within minutes to be there. Transfer, deletion and every change of keys and of ways to sign in take it,
/// so that a browser left alone, or a stolen cookie, does none of them.
#[derive(Debug, Clone)]
pub(super) struct FreshSession(SignedIn);

impl std::ops::Deref for FreshSession {
    type Target = SignedIn;

    fn deref(&self) -> &SignedIn {
        &self.0
    }
}

impl FromRequestParts<Hub> for FreshSession {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, hub: &Hub) -> Result<Self, Response> {
        let signed_in = SignedIn::from_request_parts(parts, hub).await?;
        if sign_in::is_fresh(&signed_in.browser, signed_in.caller.at) {
            Ok(Self(signed_in))
        } else {
            Err(elsewhere("/confirm", parts, &signed_in.visit))
        }
    }
}

/// To another page, which sends the person back here afterwards. Where here is a form's address, that is the page with the form,
/// as the browser names it; else the account page.
fn elsewhere(page: &str, parts: &Parts, visit: &Visit) -> Response {
    let here = match parts.method {
        Method::GET | Method::HEAD => parts.uri.path_and_query().map_or("/", |here| here.as_str()),
        // The code has to be typed once more: it is in no address.
        _ if parts.uri.path().starts_with("/device") => "/device",
        _ => page_before(&parts.headers, &visit.authority).unwrap_or("/account"),
    };
    Redirect::to(&view::with_next(page, here)).into_response()
}

/// The path of the page of ours that a form was sent from, if the browser tells it.
fn page_before<'a>(headers: &'a HeaderMap, authority: &str) -> Option<&'a str> {
    let whole = headers.get(REFERER)?.to_str().ok()?.strip_prefix("https://")?;
    let (host, path) = whole.split_at(whole.find('/')?);
    let path = path.split(['?', '#']).next().unwrap_or(path);
    host.eq_ignore_ascii_case(authority).then_some(path)
}

/// What a form of ours brings. It is taken only from a page of this hub: the browser says so (`Sec-Fetch-Site`, `Origin`), and
/// the form carries the token that follows from the browser's cookie.
pub(super) struct Form<T>(pub(super) T);

#[derive(Deserialize)]
struct FormToken {
    #[serde(default)]
    form_token: String,
}

impl<T: DeserializeOwned> FromRequest<Hub> for Form<T> {
    type Rejection = HubError;

    async fn from_request(request: Request, hub: &Hub) -> Result<Self, HubError> {
        let (mut parts, body) = request.into_parts();
        let visit = Visit::from_request_parts(&mut parts, hub).await?;
        let foreign = || {
            HubError::new(ErrorCode::Forbidden, "this form was not sent from a page of this hub")
                .hint("go back, load the page anew, and send it again")
        };
        if !is_own(&parts.headers, &visit.authority) || !visit.is_known {
            return Err(foreign());
        }
        let whole = tokio::time::timeout(SMALL_BODY, Limited::new(body, FORM_BYTES).collect());
        let bytes = whole
            .await
            .map_err(|_elapsed| HubError::bad_request("the form did not arrive in time"))?
            .map_err(|_| {
                HubError::new(
                    ErrorCode::TooLarge,
                    format!("the form is larger than {FORM_BYTES} bytes, or was cut off"),
                )
            })?
            .to_bytes();
        // What does not read is not quoted back: it may hold a password.
        let unread = |_| HubError::bad_request("the form lacks a field, or has one twice");
        let FormToken { form_token } = serde_urlencoded::from_bytes(&bytes).map_err(unread)?;
        if !visit.visitor.token.is_form_token(&form_token) {
            return Err(foreign());
        }
        serde_urlencoded::from_bytes(&bytes).map(Self).map_err(unread)
    }
}

/// Whether the browser says that a page of this very hub sent it. One that says nothing at all is not believed.
fn is_own(headers: &HeaderMap, authority: &str) -> bool {
    let text = |name: &str| {
        let mut values = headers.get_all(name).iter();
        let first = values.next().map(|value| value.to_str().unwrap_or_default());
        if values.next().is_some() { Some("") } else { first }
    };
    let (origin, site) = (text(ORIGIN.as_str()), text("sec-fetch-site"));
    let origin_fits = origin.is_none_or(|origin| {
        origin.strip_prefix("https://").is_some_and(|origin| origin.eq_ignore_ascii_case(authority))
    });
    let site_fits = site.is_none_or(|site| site == "same-origin");
    origin_fits && site_fits && (origin.is_some() || site.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_fresh_sign_in_a_person_is_back_at_the_form_of_this_hub_and_of_no_other() {
        let cases: &[(&str, Option<&str>)] = &[
            ("https://hub.example:8470/projects/7/members?cursor=x", Some("/projects/7/members")),
            ("https://HUB.example:8470/projects", Some("/projects")),
            ("https://hub.example:8470", None),
            ("http://hub.example:8470/projects", None),
            ("https://hub.example/projects", None),
            ("https://evil.example/hub.example:8470/", None),
            ("https://hub.example:8470@evil.example/projects", None),
        ];
        for (referer, page) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(REFERER, referer.parse().unwrap());
            assert_eq!(page_before(&headers, "hub.example:8470"), *page, "{referer}");
        }
    }

    #[test]
    fn a_form_is_ours_only_if_the_browser_says_so_and_nothing_says_otherwise() {
        let cases: &[(Option<&str>, Option<&str>, bool)] = &[
            (Some("https://hub.example:8470"), Some("same-origin"), true),
            (Some("https://hub.example:8470"), None, true),
            (None, Some("same-origin"), true),
            (None, None, false),
            (Some("null"), Some("same-origin"), false),
            (Some("null"), None, false),
            (Some("http://hub.example:8470"), None, false),
            (Some("https://hub.example"), None, false),
            (Some("https://evil.example"), Some("same-origin"), false),
            (Some("https://hub.example:8470"), Some("cross-site"), false),
            (Some("https://hub.example:8470"), Some("same-site"), false),
            (None, Some("none"), false),
        ];
        for (origin, site, own) in cases {
            let mut headers = HeaderMap::new();
            if let Some(origin) = origin {
                headers.insert("origin", origin.parse().unwrap());
            }
            if let Some(site) = site {
                headers.insert("sec-fetch-site", site.parse().unwrap());
            }
            assert_eq!(is_own(&headers, "hub.example:8470"), *own, "{origin:?} {site:?}");
        }
    }
}
