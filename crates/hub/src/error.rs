//! What a call ends with when it does not end well.
//!
//! A [`HubError`] is what the caller reads (a stable code, one sentence, perhaps a hint) and, apart from it, the cause that
//! only the log shows. It does not know the call's id: the outermost layer (`http::finish`) takes it out of the response,
//! logs the cause once, writes the refusal's event, and makes the problem document. So no handler can answer bare.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use api::{ErrorCode, KeyAway, ProjectId};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

/// What `SQLite` says when the disk is full.
const SQLITE_FULL: &str = "13";

/// Why a call was not done.
#[derive(Debug, Clone)]
pub struct HubError(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    code: ErrorCode,
    title: String,
    hint: Option<String>,
    refused: Option<Refused>,
    wait: Option<Wait>,
    key: Option<KeyAway>,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

/// The act that was refused, for the event row.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    /// The act, as in `api::Event`.
    pub(crate) act: &'static str,
    /// The thing, as `kind:id`.
    pub(crate) object: String,
    /// The project whose owner sees the event.
    pub(crate) project: Option<ProjectId>,
    /// Whether the event is written behind the answer.
    pub(crate) behind: bool,
}

/// How long a caller waits before it tries again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wait {
    /// Whole seconds.
    pub(crate) seconds: u32,
    /// The limit that was passed: its name, and how much it lets through in ten seconds. A block has none.
    pub(crate) policy: Option<(&'static str, u32)>,
}

impl HubError {
    /// An error with this code and sentence: lower case, no full stop, the thing named.
    pub(crate) fn new(code: ErrorCode, title: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            code,
            title: title.into(),
            hint: None,
            refused: None,
            wait: None,
            key: None,
            cause: None,
        }))
    }

    /// There is no such thing, or none that the caller may know of: both sound the same.
    pub(crate) fn not_found(what: &str, id: impl fmt::Display) -> Self {
        Self::new(ErrorCode::NotFound, format!("there is no {what} {id}"))
    }

    /// The body, the query or a header is not what the call takes.
    pub(crate) fn bad_request(title: impl Into<String>) -> Self {
        Self::new(ErrorCode::BadRequest, title)
    }

    /// The thing is in a state that does not allow this.
    pub(crate) fn conflict(title: impl Into<String>) -> Self {
        Self::new(ErrorCode::Conflict, title)
    }

    /// A fault of ours: `title` says what the hub could not do, `cause` goes to the log alone.
    pub(crate) fn internal(
        title: impl Into<String>,
        cause: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::new(ErrorCode::Internal, title)
            .hint("the hub's log says why, under this request id")
            .caused_by(cause)
    }

    /// Adds the next step.
    /// The disk of database and nonces takes no more: a caller comes again, and the operator makes room.
    pub(crate) fn disk_full(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(ErrorCode::StorageUnavailable, "the hub's disk is full, so nothing can be kept")
            .hint("the operator makes room; nothing was acknowledged: send it again")
            .caused_by(cause)
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        self.change(|inner| inner.hint = Some(hint.into()))
    }

    /// Adds the cause, which the log shows and the caller does not see.
    pub(crate) fn caused_by(self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.change(|inner| inner.cause = Some(cause.into()))
    }

    /// Says that an act was refused, so that the refusal becomes an event.
    pub(crate) fn refusing(
        self,
        act: &'static str,
        object: impl Into<String>,
        project: Option<ProjectId>,
    ) -> Self {
        let refused = Refused { act, object: object.into(), project, behind: false };
        self.change(|inner| inner.refused = Some(refused))
    }

    /// Has the event of the refusal written behind the answer, where the time it takes would tell something.
    pub(crate) fn behind(self) -> Self {
        self.change(|inner| {
            if let Some(refused) = &mut inner.refused {
                refused.behind = true;
            }
        })
    }

    /// Says after how long another try may end otherwise.
    pub(crate) fn wait(self, wait: Wait) -> Self {
        self.change(|inner| inner.wait = Some(wait))
    }

    /// Says which customer's key was taken away.
    pub(crate) fn key(self, key: KeyAway) -> Self {
        self.change(|inner| inner.key = Some(key))
    }

    fn change(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            change(inner);
        }
        self
    }

    /// The stable code.
    pub fn code(&self) -> ErrorCode {
        self.0.code
    }

    /// The sentence.
    pub fn title(&self) -> &str {
        &self.0.title
    }

    pub(crate) fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    pub(crate) fn key_away(&self) -> Option<&KeyAway> {
        self.0.key.as_ref()
    }

    pub(crate) fn refused(&self) -> Option<&Refused> {
        self.0.refused.as_ref()
    }

    /// After how long to try again, where that is known.
    pub(crate) fn wait_for(&self) -> Option<Wait> {
        self.0.wait
    }

    /// The whole chain of causes, for the log.
    pub(crate) fn causes(&self) -> Option<String> {
        let first = self.0.cause.as_deref()?;
        let mut chain = first.to_string();
        let mut next = first.source();
        while let Some(cause) = next {
            chain.push_str(": ");
            chain.push_str(&cause.to_string());
            next = cause.source();
        }
        Some(chain)
    }
}

impl fmt::Display for HubError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.title)
    }
}

impl Error for HubError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.cause.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}

impl From<sqlx::Error> for HubError {
    fn from(cause: sqlx::Error) -> Self {
        let code = cause.as_database_error().and_then(sqlx::error::DatabaseError::code);
        if code.as_deref() == Some(SQLITE_FULL) {
            return Self::disk_full(cause);
        }
        Self::internal("the hub's database did not do what it was asked", cause)
    }
}

impl From<store::KeyStoreError> for HubError {
    fn from(cause: store::KeyStoreError) -> Self {
        match cause {
            store::KeyStoreError::PlaceAway { .. } => Self::new(
                ErrorCode::StorageUnavailable,
                "a place of the key store is away, so no key can be kept",
            )
            .hint("ask the operator; nothing was acknowledged")
            .caused_by(cause),
            cause => Self::internal("the key store did not do what it was asked", cause),
        }
    }
}

impl From<store::StoreError> for HubError {
    fn from(cause: store::StoreError) -> Self {
        Self::new(ErrorCode::StorageUnavailable, "too few facilities answered")
            .hint("nothing was acknowledged: send it again")
            .caused_by(cause)
    }
}

impl IntoResponse for HubError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code().status())
            .expect("every code has a status between 400 and 599 because its table says so");
        let mut response = status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
