//! Errors on the wire: problem documents (RFC 9457) with a stable code, one sentence, a hint and the request's id.

use serde::{Deserialize, Serialize};

use crate::{KeyAway, RequestId, Time};

/// What went wrong, for a program to act on. The codes are stable; new ones may be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The call bears no signature.
    Unsigned,
    /// The signature does not verify, or covers too little.
    BadSignature,
    /// The key is not known here, or was revoked.
    UnknownKey,
    /// The call was made too long ago or too far ahead: compare the clocks.
    ClockSkew,
    /// The nonce was used before.
    Replay,
    /// The caller may see the thing and may not do this to it.
    Forbidden,
    /// There is no such thing, or none that the caller may know of.
    NotFound,
    /// The body, the query or a header is not what the call takes.
    BadRequest,
    /// The body is larger than the call takes.
    TooLarge,
    /// The thing is in a state that does not allow this.
    Conflict,
    /// What was sent is not what its digest or its manifest says.
    DigestMismatch,
    /// The one-time code is wrong, used or expired.
    BadCode,
    /// The custodian did not release the key.
    KeyRefused,
    /// The organization has taken its key away: `key` of the problem says which, since when and why.
    KeyAway,
    /// This hub does not offer it.
    NotOffered,
    /// The organization's plan does not have it.
    NotInPlan,
    /// Too few facilities hold the bytes; nothing was acknowledged.
    StorageUnavailable,
    /// Another service that this hub has to ask does not answer: try again.
    Unavailable,
    /// A task of a vault failed.
    TaskFailed,
    /// Too many calls: wait for `Retry-After`.
    TooManyRequests,
    /// A fault of ours; the request id finds it in the log.
    Internal,
}

impl ErrorCode {
    /// The HTTP status, chosen by what the reader will do.
    pub const fn status(self) -> u16 {
        match self {
            Self::Unsigned
            | Self::BadSignature
            | Self::UnknownKey
            | Self::ClockSkew
            | Self::Replay => 401,
            Self::Forbidden | Self::KeyRefused | Self::BadCode | Self::NotInPlan => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::BadRequest | Self::DigestMismatch | Self::TaskFailed => 422,
            Self::KeyAway => 423,
            Self::NotOffered => 501,
            Self::TooManyRequests => 429,
            Self::StorageUnavailable | Self::Unavailable => 503,
            Self::Internal => 500,
        }
    }
}

/// The body of every refusal, as `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Problem {
    /// The stable code.
    pub code: ErrorCode,
    /// The HTTP status once more, as RFC 9457 wants it.
    pub status: u16,
    /// One sentence that names the thing.
    pub title: String,
    /// The next step, where there is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<String>,
    /// The customer's key that was taken away, where that is why.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key: Option<KeyAway>,
    /// The call's id in the hub's log.
    pub request_id: RequestId,
    /// The hub's clock, so that a caller with a skewed one can correct itself.
    #[schema(value_type = String, format = DateTime)]
    pub time: Time,
}
