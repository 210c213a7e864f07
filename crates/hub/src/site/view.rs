//! How a page is put together and sent: its frame, its cookies, and what it says when something was refused.

use std::borrow::Cow;

use api::ErrorCode;
use askama::Template;
use axum::http::header::{CONTENT_TYPE, SET_COOKIE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use data_encoding::HEXLOWER;

use super::assets;
use super::visit::{SESSION, VISIT, Visit};
use crate::HubError;
use crate::app::sign_in::{Token, person};
use crate::http::finish::Drawn;

/// The longest path that a person is sent back to.
const NEXT_BYTES: usize = 500;

/// What stands around every page.
#[derive(Debug)]
pub(super) struct Frame {
    /// The page's title.
    pub(super) title: &'static str,
    /// Who is signed in.
    pub(super) who: Option<String>,
    /// What every form carries.
    pub(super) form_token: String,
    /// The hub's id.
    pub(super) hub: String,
    /// The program's version.
    pub(super) version: &'static str,
    /// The style.
    pub(super) style: &'static str,
    /// The icon.
    pub(super) icon: &'static str,
    /// The script, on pages that need it.
    pub(super) script: Option<Cow<'static, str>>,
    /// Which entry of the menu this page belongs to: its path.
    pub(super) section: &'static str,
    /// Whether it is loaded anew by itself where there are no scripts.
    pub(super) follows: bool,
    /// Whether who is signed in runs this hub.
    pub(super) operator: bool,
    /// Whether who is signed in belongs to an organization.
    pub(super) belongs: bool,
}

impl Frame {
    /// The frame of a page for this visitor.
    pub(super) fn new(title: &'static str, visit: &Visit) -> Self {
        let who = visit.person.as_ref().and_then(|(caller, _)| person(caller).ok());
        Self {
            title,
            operator: who.is_some_and(|account| account.operator),
            belongs: who.is_some_and(|account| account.belongs.is_some()),
            who: who.map(|account| account.name.clone()),
            // A page without one can be read; its forms are refused.
            form_token: visit.visitor.token.form_token().unwrap_or_default(),
            hub: visit.hub.clone(),
            ..Self::bare(title)
        }
    }

    fn bare(title: &'static str) -> Self {
        Self {
            title,
            who: None,
            form_token: String::new(),
            hub: String::new(),
            version: env!("CARGO_PKG_VERSION"),
            style: &assets::STYLE.path,
            icon: &assets::ICON.path,
            script: None,
            section: "",
            follows: false,
            operator: false,
            belongs: false,
        }
    }
}

impl Frame {
    /// Under this entry of the menu.
    pub(super) fn of(title: &'static str, section: &'static str, visit: &Visit) -> Self {
        Self { section, ..Self::new(title, visit) }
    }

    /// The menu: path and word of each entry.
    pub(super) fn menu(&self) -> Vec<(&'static str, &'static str)> {
        let mut menu = vec![
            ("/runs", "Runs"),
            ("/samples", "Samples"),
            ("/sessions", "Sessions"),
            ("/results", "Results"),
            ("/projects", "Projects"),
            ("/apps", "Apps"),
            ("/vaults", "Vaults"),
            ("/notices", "Notices"),
        ];
        if self.belongs || self.operator {
            let word = if self.operator { "Organizations" } else { "Organization" };
            menu.push(("/organizations", word));
        }
        if self.operator {
            menu.push(("/hub", "This hub"));
        }
        menu
    }

    /// The entry of the menu that this page belongs to, as the closed menu of a narrow screen says it.
    pub(super) fn here(&self) -> Option<&'static str> {
        self.menu().into_iter().find(|(path, _)| *path == self.section).map(|(_, word)| word)
    }

    /// Of something that goes on: with the script that follows it, and loaded anew by itself where there are no scripts.
    pub(super) fn following(mut self) -> Self {
        self.script = Some(Cow::Borrowed(&assets::LIVE.path));
        self.follows = true;
        self
    }

    /// With the script.
    pub(super) fn with_script(mut self) -> Self {
        self.script = Some(Cow::Borrowed(&assets::SCRIPT.path));
        self
    }

    /// With the script that reads a file into a field.
    pub(super) fn with_files(mut self) -> Self {
        self.script = Some(Cow::Borrowed(&assets::FILES.path));
        self
    }

    /// With a script that was built, if it was.
    pub(super) fn with_built(mut self, path: Option<String>) -> Self {
        self.script = path.map(Cow::Owned);
        self
    }

    /// With no form and no form token in it.
    pub(super) fn without_forms(mut self) -> Self {
        self.form_token.clear();
        self
    }
}

/// What was refused, above a form that can be sent again.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The sentence.
    pub(super) title: String,
    /// The next step.
    pub(super) hint: Option<String>,
}

impl Refusal {
    /// As a person reads an error.
    pub(super) fn of(error: &HubError) -> Self {
        Self { title: sentence(error.title()), hint: error.hint_text().map(sentence) }
    }
}

/// An error's words as a sentence: a capital letter and a full stop.
pub(super) fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    let end = if words.ends_with(['.', '?', '!']) { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

/// A page, with the cookie that its forms need.
pub(super) fn page(visit: &Visit, template: &impl Template) -> Result<Response, HubError> {
    let text = template.render().map_err(|e| HubError::internal("the page cannot be drawn", e))?;
    let mut response = html(StatusCode::OK, text);
    if !visit.is_known {
        set_cookie(&mut response, VISIT, Some(&visit.visitor.token))?;
    }
    Ok(response)
}

/// A page whose form was refused: drawn once more, with the reason, under the reason's status. A fault of ours is none.
pub(super) fn again(
    visit: &Visit,
    error: HubError,
    template: &impl Template,
) -> Result<Response, HubError> {
    if error.code() == ErrorCode::Internal {
        return Err(error);
    }
    let mut response = page(visit, template)?;
    *response.status_mut() = status(&error);
    response.extensions_mut().insert(error);
    response.extensions_mut().insert(Drawn);
    Ok(response)
}

fn status(error: &HubError) -> StatusCode {
    StatusCode::from_u16(error.code().status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn html(status: StatusCode, text: String) -> Response {
    (status, [(CONTENT_TYPE, "text/html; charset=utf-8")], text).into_response()
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage {
    frame: Frame,
    refusal: Refusal,
    request: String,
}

/// The page that says what went wrong.
pub(super) fn problem(error: &HubError, visit: Option<&Visit>) -> Response {
    let title = match error.code() {
        ErrorCode::NotFound => "There is no such page",
        ErrorCode::Forbidden => "This is not allowed",
        ErrorCode::TooManyRequests => "Too much at once",
        ErrorCode::Internal => "Something failed here",
        _ => "This was not done",
    };
    let page = ProblemPage {
        frame: visit.map_or_else(|| Frame::bare(title), |visit| Frame::new(title, visit)),
        refusal: Refusal::of(error),
        request: visit.map(|visit| visit.visitor.request.to_string()).unwrap_or_default(),
    };
    let mut response = match page.render() {
        Ok(text) => html(status(error), text),
        Err(_) => status(error).into_response(),
    };
    response.extensions_mut().insert(error.clone());
    response.extensions_mut().insert(Drawn);
    response
}

/// To `next`, signed in with this token.
pub(super) fn signed_in(token: &Token, next: &str) -> Result<Response, HubError> {
    let mut response = Redirect::to(local(next)).into_response();
    set_cookie(&mut response, SESSION, Some(token))?;
    set_cookie(&mut response, VISIT, None)?;
    Ok(response)
}

/// To the first page, signed out.
pub(super) fn signed_out() -> Result<Response, HubError> {
    let mut response = Redirect::to("/").into_response();
    set_cookie(&mut response, SESSION, None)?;
    set_cookie(&mut response, VISIT, None)?;
    Ok(response)
}

fn set_cookie(response: &mut Response, name: &str, token: Option<&Token>) -> Result<(), HubError> {
    let text = match token {
        Some(token) => token.reveal(),
        None => String::new().into(),
    };
    let life = if token.is_some() { "" } else { "; Max-Age=0" };
    let cookie = format!("{name}={}; Path=/; Secure; HttpOnly; SameSite=Lax{life}", *text);
    let mut value = HeaderValue::try_from(cookie)
        .map_err(|e| HubError::internal("the hub cannot write a cookie", e))?;
    value.set_sensitive(true);
    response.headers_mut().append(SET_COOKIE, value);
    Ok(())
}

/// A path of this hub to go on to: whatever else was given leads to the first page, so that nobody is sent away by a link.
pub(super) fn local(next: &str) -> &str {
    let plain = next.len() <= NEXT_BYTES
        && next.starts_with('/')
        && !next.starts_with("//")
        && next.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    if plain { next } else { "/" }
}

/// A page of ours that goes on to `next` afterwards.
pub(super) fn with_next(page: &str, next: &str) -> String {
    let next = local(next);
    if next == "/" {
        return page.to_owned();
    }
    let mut path = format!("{page}?next=");
    for byte in next.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            path.push('%');
            path.push_str(&HEXLOWER.encode(&[byte]).to_uppercase());
        }
    }
    path
}

/// A moment as pages write it.
pub(super) fn moment(time: api::Time) -> String {
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_to_another_site() {
        for good in ["/", "/account", "/device?code=ABCD-EFGH"] {
            assert_eq!(local(good), good);
        }
        for bad in [
            "",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "account",
            "/\t/evil.example",
            "/a b",
            "/ä",
            &format!("/{}", "a".repeat(NEXT_BYTES)),
        ] {
            assert_eq!(local(bad), "/", "{bad}");
        }
        assert_eq!(
            with_next("/sign-in", "/device?code=AB CD"),
            "/sign-in",
            "what is no path is left out"
        );
        assert_eq!(
            with_next("/sign-in", "/device?code=AB&x=1"),
            "/sign-in?next=/device%3Fcode%3DAB%26x%3D1"
        );
    }

    #[test]
    fn errors_are_sentences_on_a_page() {
        assert_eq!(sentence("the code is wrong"), "The code is wrong.");
        assert_eq!(sentence("is it?"), "Is it?");
    }
}
