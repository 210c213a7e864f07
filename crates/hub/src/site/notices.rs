//! Notices: what happened that this person should see.

use api::{Notice, NoticeId, NoticeKind};
use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};

use super::datasets::ROWS;
use super::guard::{Form, SignedIn};
use super::sign_in::Nothing;
use super::view::{Frame, moment, page as draw};
use crate::HubError;
use crate::app;
use crate::http::extract::Id;
use crate::http::page::Paging;
use crate::state::Hub;

const SECTION: &str = "/notices";

/// What happened, in a sentence.
const fn sentence(kind: NoticeKind) -> &'static str {
    match kind {
        NoticeKind::TransferOffered => "A project is offered to you",
        NoticeKind::TransferAccepted => "Your offer was taken: the project is somebody else’s now",
        NoticeKind::TransferRefused => "Your offer was refused",
        NoticeKind::MemberAdded => "You are a member of a project now",
        NoticeKind::MemberChanged => "What you may do in a project was changed",
        NoticeKind::MemberRemoved => "You are no member of a project any more",
        NoticeKind::MemberLeft => "A member left a project of yours",
        NoticeKind::RoleChanged => "You have another role in your organization",
        NoticeKind::OrganizationLeft => "You belong to an organization no more",
        NoticeKind::RunFinished => "A run is whole",
        NoticeKind::RunNeedsAttention => "A run needs you to decide",
        NoticeKind::SessionFinished => "An app session is complete",
        NoticeKind::SessionFailed => "An app session has failed",
        NoticeKind::KeyAdded => "A key was added to your account. If it was not you, revoke it",
        NoticeKind::PasskeyAdded => {
            "A passkey was added to your account. If it was not you, remove it and change your password"
        }
        NoticeKind::PasswordChanged => {
            "The password of your account was changed. If it was not you, set it anew and end the other browsers"
        }
        NoticeKind::SignedOn => {
            "You are signed on at an instrument: its runs are yours for a shift. If it was not you, end it"
        }
        NoticeKind::ApprovalAsked => {
            "Something waits for your approval, on the device that holds your words"
        }
        NoticeKind::ApprovalRefused => "An owner refused what you asked for",
        NoticeKind::KeyExpiring => "A key of your account will not count for long",
        NoticeKind::CredentialsExpiring => {
            "The credentials that ask for your organization’s key will not count for long: give new ones"
        }
        NoticeKind::CertificateExpiring => {
            "This hub’s certificate authority will not count for long"
        }
        NoticeKind::HubRestored => {
            "The hub was brought back from a backup: look whether what you did last still stands"
        }
    }
}

/// The page of the thing that a notice is about.
fn link(told: NoticeKind, subject: &str) -> Option<String> {
    if matches!(told, NoticeKind::MemberRemoved | NoticeKind::OrganizationLeft) {
        return None;
    }
    let (kind, id) = subject.split_once(':')?;
    match kind {
        "project" if told == NoticeKind::MemberLeft => Some(format!("/projects/{id}/members")),
        "organization" => Some(format!("/organizations/{id}")),
        "dataset" => Some(format!("/datasets/{id}")),
        "session" => Some(format!("/sessions/{id}")),
        "project" => Some(format!("/projects/{id}")),
        "transfer" => Some("/projects".to_owned()),
        "account" | "instrument" | "key" => Some("/account".to_owned()),
        _ => None,
    }
}

struct Row {
    id: NoticeId,
    sentence: &'static str,
    link: Option<String>,
    when: String,
    is_read: bool,
}

impl From<Notice> for Row {
    fn from(notice: Notice) -> Self {
        Self {
            id: notice.id,
            sentence: sentence(notice.kind),
            link: link(notice.kind, &notice.subject),
            when: moment(notice.at),
            is_read: notice.read.is_some(),
        }
    }
}

#[derive(Template)]
#[template(path = "notices.html")]
struct ListPage {
    frame: Frame,
    rows: Vec<Row>,
    next: Option<String>,
}

pub(super) async fn list(
    State(hub): State<Hub>,
    person: SignedIn,
    paging: Paging,
) -> Result<Response, HubError> {
    let paging = paging.at_most(ROWS);
    let rows =
        app::notices::list(&hub, &person.caller, false, &paging.after, paging.rows()).await?;
    let page = paging.page(rows, |notice| notice.id.to_string());
    let page = ListPage {
        frame: Frame::of("Notices", SECTION, &person.visit),
        rows: page.items.into_iter().map(Row::from).collect(),
        next: page.next,
    };
    draw(&person.visit, &page)
}

pub(super) async fn read(
    State(hub): State<Hub>,
    person: SignedIn,
    Id(id): Id<NoticeId>,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Response, HubError> {
    app::notices::read(&hub, &person.caller, id).await?;
    Ok(Redirect::to(SECTION).into_response())
}
