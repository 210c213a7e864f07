//! What calls ask for, one file per noun: policy first, then the act and its event in one transaction.

pub(crate) mod accounts;
pub(crate) mod caller;
pub(crate) mod device;
pub(crate) mod events;
pub(crate) mod instruments;
pub(crate) mod keys;
pub(crate) mod organization_keys;
pub(crate) mod organizations;
pub(crate) mod projects;
pub(crate) mod transfers;

// The other nouns.
pub(crate) mod approvals;
pub(crate) mod apps;
pub(crate) mod blocks;
pub(crate) mod boots;
pub(crate) mod cases;
pub(crate) mod changes;
pub(crate) mod datasets;
pub(crate) mod descriptions;
pub(crate) mod handovers;
pub(crate) mod health;
pub(crate) mod log;
pub(crate) mod manifests;
pub(crate) mod notices;
pub(crate) mod objects;
pub(crate) mod progress;
pub(crate) mod receipts;
pub(crate) mod refusals;
pub(crate) mod restored;
pub(crate) mod runs;
pub(crate) mod sessions;
pub(crate) mod sign_in;
pub(crate) mod store_admin;
pub(crate) mod tasks;

pub(crate) use caller::{Caller, Purpose, Who};
