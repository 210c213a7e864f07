//! What can go wrong with a call, sorted by who can act on it.

use std::error::Error as StdError;
use std::time::Duration;

use api::{ErrorCode, Problem, RequestId};

/// A refusal in the hub's own words.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", .problem.title)]
pub struct Refusal {
    /// The problem document.
    pub problem: Problem,
    /// How long to wait before another try, where the hub says so.
    pub retry_after: Option<Duration>,
}

/// Why a call gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The hub answered, and said no.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// Nobody answered, or the connection broke.
    #[error("the hub at {hub} does not answer")]
    Unreachable {
        /// Which hub.
        hub: String,
        /// Whether the call may have arrived all the same.
        sent: bool,
        /// What the network said.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// Somebody answered who is not the hub that was pinned.
    #[error("the server at {hub} is not the hub whose certificate authority was pinned")]
    NotTheHub {
        /// Which hub.
        hub: String,
        /// What is wrong with its certificate.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// Something between us and the hub answered, not the hub.
    #[error("{hub} answers {method} {path} with status {status} and no explanation")]
    NoExplanation {
        /// Which hub.
        hub: String,
        /// The call's method.
        method: &'static str,
        /// The call's path.
        path: String,
        /// The HTTP status.
        status: u16,
        /// How long to wait before another try, where it says so.
        retry_after: Option<Duration>,
    },
    /// The answer is not what the call gives.
    #[error("the answer of {hub} to {method} {path} cannot be read: {why}")]
    Unreadable {
        /// Which hub.
        hub: String,
        /// The call's method.
        method: &'static str,
        /// The call's path.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The address is not one that a hub can have.
    #[error("`{address}` is no address of a hub: {why}")]
    Address {
        /// What was given.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// The system's generator gave no randomness for a nonce.
    #[error("the system gives no randomness, so no call can be signed")]
    NoRandomness,
}

impl ClientError {
    /// The hub's error code, where the hub refused.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused(refusal) => Some(refusal.problem.code),
            _ => None,
        }
    }

    /// The call's id in the hub's log, where the hub answered.
    pub fn request_id(&self) -> Option<RequestId> {
        match self {
            Self::Refused(refusal) => Some(refusal.problem.request_id),
            _ => None,
        }
    }

    /// The next step for a person.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Refused(refusal) => {
                refusal.problem.hint.clone().or_else(|| match refusal.problem.code {
                    ErrorCode::Internal => Some(format!(
                        "ask the hub's operator, naming request {}",
                        refusal.problem.request_id
                    )),
                    _ => None,
                })
            }
            Self::Unreachable { .. } => {
                Some("check the address and the network, and that the hub runs".to_owned())
            }
            Self::NotTheHub { .. } => Some(
                "if the hub's operator has set up a new certificate authority, log in again with its file or fingerprint; if not, somebody stands between you and the hub"
                    .to_owned(),
            ),
            Self::NoExplanation { .. } => {
                Some("check what stands between you and the hub: a proxy, or another server at this address".to_owned())
            }
            Self::Unreadable { .. } => {
                Some("compare the versions of this program and of the hub".to_owned())
            }
            Self::Address { .. } => {
                Some("give it as https://host:port".to_owned())
            }
            Self::NoRandomness => None,
        }
    }

    /// Whether the caller's key is refused: no repetition helps, a person must act.
    pub fn is_about_rights(&self) -> bool {
        matches!(
            self.code(),
            Some(
                ErrorCode::Unsigned
                    | ErrorCode::BadSignature
                    | ErrorCode::UnknownKey
                    | ErrorCode::ClockSkew
                    | ErrorCode::Forbidden
                    | ErrorCode::KeyRefused
            )
        )
    }

    /// Whether another try may end otherwise, for a call that may arrive twice.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::NoExplanation { status, .. } => matches!(status, 408 | 429 | 500..=599),
            Self::Refused(refusal) => {
                self.did_nothing()
                    || matches!(refusal.problem.code, ErrorCode::Internal | ErrorCode::Replay)
            }
            _ => false,
        }
    }

    /// Whether it is sure that the hub did nothing, so that even a call that must not arrive twice may be sent again.
    pub(crate) fn did_nothing(&self) -> bool {
        match self {
            Self::Unreachable { sent, .. } => !sent,
            Self::Refused(refusal) => matches!(
                refusal.problem.code,
                ErrorCode::TooManyRequests | ErrorCode::StorageUnavailable | ErrorCode::Unavailable
            ),
            Self::NoExplanation { status, .. } => *status == 429,
            _ => false,
        }
    }

    /// How long the hub asks us to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refusal) => refusal.retry_after,
            Self::NoExplanation { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
