//! What crosses the wire: ids, the JSON of every call under `/api/v1`, and the error codes.
//!
//! No cryptography and no I/O: the hub, the broker, the vault, the command line and the authenticator all speak through
//! these types, and each of them is all it knows of the others. Units stand in the names (`sealed_bytes`), times are
//! RFC 3339 in UTC, and whatever the hub may not read is a [`Sealed`] string.

mod app;
mod approval;
mod audit;
mod block;
mod bytes;
mod case;
mod dataset;
mod device;
mod error;
mod handover;
mod ids;
mod metrics;
mod notice;
mod organization;
mod organization_keys;
mod people;
mod project;
pub mod query;
mod secret;
mod session;

pub use app::*;
pub use approval::*;
pub use audit::*;
pub use block::*;
pub use bytes::*;
pub use case::*;
pub use dataset::*;
pub use device::*;
pub use error::*;
pub use handover::*;
pub use ids::*;
pub use metrics::*;
pub use notice::*;
pub use organization::*;
pub use organization_keys::*;
pub use people::*;
pub use project::*;
pub use query::{Query, QueryRequest};
pub use secret::*;
pub use session::*;

/// The prefix under which every call is signed.
pub const API_PREFIX: &str = "/api/v1";

/// The media type of answers that go on (HTML, section 9.2).
pub const EVENT_STREAM: &str = "text/event-stream";

/// The header that carries a wrapped data key beside the sealed object it opens; covered by the call's signature.
///
/// A header rather than a query: what is in a URL ends in logs, and a wrapped key in a log would outlive its destruction.
pub const WRAPPED_KEY_HEADER: &str = "chorion-wrapped-key";

/// The header that names the vault's key epoch a sealed object belongs to; covered by the call's signature.
pub const EPOCH_HEADER: &str = "chorion-epoch";

/// One page of a list. `next` is the path and query of the following page; whoever lists follows it to the end.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Page<T> {
    /// The items of this page, oldest first unless the call says otherwise.
    pub items: Vec<T>,
    /// Where the next page is, `null` on the last one.
    pub next: Option<String>,
}

/// How a list is cut into pages.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub struct PageQuery {
    /// Where to go on: opaque, from `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// At most so many items, 1 to 1000; 200 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// In which direction a list goes.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ListOrder {
    /// What was made first comes first.
    #[default]
    Oldest,
    /// What was made last comes first.
    Newest,
}

/// A moment, as RFC 3339 in UTC on the wire.
pub type Time = jiff::Timestamp;
