//! Notices: what happened that somebody should see.

use serde::{Deserialize, Serialize};

use crate::{NoticeId, ProjectId, Time};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// Somebody offers a project to you.
    TransferOffered,
    /// Your offer was taken: the project is somebody else's now.
    TransferAccepted,
    /// Your offer was refused.
    TransferRefused,
    /// You were made a member of a project.
    MemberAdded,
    /// What you may do in a project was changed.
    MemberChanged,
    /// You are no member of a project any more.
    MemberRemoved,
    /// A member of a project of yours left it.
    MemberLeft,
    /// You have another role in your organization.
    RoleChanged,
    /// You belong to an organization no more.
    OrganizationLeft,
    /// A run is whole, and demultiplexed where that was asked for.
    RunFinished,
    /// A run grows no more, or could not be demultiplexed: a person decides.
    RunNeedsAttention,
    /// An app session is complete.
    SessionFinished,
    /// An app session has failed.
    SessionFailed,
    /// A key was added to your account. If it was not you: revoke it, and the key that added it.
    KeyAdded,
    /// A passkey was added to your account. If it was not you: remove it, and change your password.
    PasskeyAdded,
    /// The password of your account was set or changed. If it was not you: set it anew, and end the other browsers.
    PasswordChanged,
    /// You are signed on at an instrument: its runs are yours for a shift. If it was not you: end it.
    SignedOn,
    /// A task waits for your approval, as the owner of a project that it reads or writes.
    ApprovalAsked,
    /// An owner refused what you asked for; the session says why.
    ApprovalRefused,
    /// A key of your account will not count for long.
    KeyExpiring,
    /// The credentials with which your organization's own key is asked for will not count for long, or count no more (administrators, each
    /// week).
    CredentialsExpiring,
    /// The hub's certificate authority will not count for long (operators).
    CertificateExpiring,
    /// The hub was brought back from a backup, or its index was made anew: look whether what you did last still stands, and
    /// revoke once more what you had revoked.
    HubRestored,
}

/// A notice for the caller's account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// Its id.
    pub id: NoticeId,
    /// What happened.
    pub kind: NoticeKind,
    /// To which thing, as `kind:id`: `dataset:…`, `session:…`, `transfer:…`, `key:…`, `account:…`, `project:…`, `organization:…`, `instrument:…`, `approval:…`, `task:…`.
    pub subject: String,
    /// The project that the thing belongs to.
    pub project: Option<ProjectId>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// Since when it counts as read.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub read: Option<Time>,
}

/// Whether mail says that notices wait, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NoticeMail {
    /// The address; without one no mail is sent.
    pub address: Option<String>,
    /// Whether this hub sends mail at all.
    pub offered: bool,
}

/// `PUT /notices/mail`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetNoticeMail {
    /// Where mail goes; `null` for no mail.
    pub address: Option<String>,
}
