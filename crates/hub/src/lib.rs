//! The operator's server: accounts, projects, datasets and tasks behind one signed HTTP API.
//!
//! It points one way. `http` parses a call and chooses the status code, one file per noun; `app` does what the call asks,
//! one file per noun; `policy` says who may do what, in one table; `data` is the SQL. `site` is the website, and uses `app` as
//! `http` does. Nothing here parses a genomic file,
//! and nothing here opens a dataset key by itself: keys come and go through the custodian, objects stay sealed.
//!
//! [`serve`] opens everything that lasts (database, store, key store, certificate authority, platform key file), answers
//! over TLS until it is told to stop, and ends what it began.

mod app;
mod backup;
mod closing;
mod config;
mod data;
mod engine;
mod error;
#[doc(hidden)]
pub mod figures;
mod gate;
mod http;
mod institution;
mod mail;
mod metrics;
mod names;
mod open;
mod policy;
mod rebuild;
mod serve;
mod site;
mod state;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tls;

pub use backup::{BackupReport, backup_create, backup_restore, backup_verify, newest_backup};
pub use config::{HubConfig, StartError};
pub use custody::kms::Services as KeyServices;
pub use error::HubError;
pub use gate::Limits;
pub use http::openapi;
pub use institution::InstitutionConfig;
pub use mail::{Relay, RelayError};
pub use policy::permissions;
pub use rebuild::{Rebuilt, rebuild_index};
pub use serve::{Ready, StopHandle, serve};
pub use store::FacilityAddress;
pub use tls::{CertificateFiles, certificate_ends};
