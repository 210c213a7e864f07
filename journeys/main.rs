//! Whole-system stories, one file each: the real programs as processes of their own, on loopback, over TLS.
//!
//! A story ends what it started, by its process id, also when it fails.

#![expect(clippy::unwrap_used, reason = "a stage that cannot be set up is a story that failed")]

mod arriving;
mod attacked;
mod audited;
mod authenticator;
mod canary;
mod cases;
mod filled;
mod handed_over;
mod imported;
mod instrument;
mod killed;
mod organization;
mod own_cloud;
mod own_key;
mod owner;
mod queried;
mod recovered;
mod refused;
mod revoked;
mod rotated;
mod stage;
mod staying;
mod upgraded;
mod vault_killed;
mod withheld;
