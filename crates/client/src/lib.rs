//! Calls to a hub, for every native program of ours: the command line, the broker and the vault.
//!
//! A [`Client`] signs each call with its caller's key (`spec/signed-calls.md`), speaks only to the hub whose certificate
//! authority was pinned, waits and tries again where that can help, corrects a clock that is off, and follows lists to
//! their end. What a call takes and gives are the types of `api`; what goes wrong is a [`ClientError`] that names the
//! thing, the next step and the request id.
//!
//! One file per noun. A call is tried again only where a second arrival does no harm: reads, `PUT`s, and `POST`s whose
//! id the caller chose. Anything else is sent again only if the hub said that it did nothing.

mod approvals;
mod apps;
mod cases;
mod connection;
mod datasets;
mod devices;
mod error;
mod listing;
mod log;
mod notices;
mod objects;
mod organizations;
mod people;
mod projects;
mod retry;
mod runs;
mod sessions;
mod store;
#[cfg(test)]
mod tests;
mod tls;

pub use approvals::Changes;
pub use connection::{Client, Options, Signer};
pub use datasets::DatasetFilter;
pub use error::{ClientError, Refusal};
pub use listing::Listing;
pub use objects::ObjectBytes;
pub use retry::Patience;
pub use store::EventFilter;
pub use tls::{Authority, Trust, TrustError, crypto_provider, shown_authority};
