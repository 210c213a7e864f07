//! Who releases a dataset key, and on what grounds: the one thing that differs between the three custodians.
//!
//! A dataset key exists at rest only as its project's [`Custodian`] wrapped it, and crosses a wire only wrapped to a
//! recipient that somebody named. So a custodian has five verbs: it *adopts* a key that an outsider wrapped to it, it
//! *releases* the key to a recipient on [`Grounds`], it *rewraps* it for another context, and, where the hub may read, it
//! *opens* it for the hub as an [`Opened`], which reads names and lists of files and does not hand out the key; what one custodian
//! opened so, another *keeps*.
//! `spec/custody.md` has the bytes and the rules; [`Custodian`] has the contract, and one suite of tests runs on every
//! implementation.
//!
//! There are the platform's custody, the organization's ([`organization`], under a key that the customer holds: [`kms`]), and the
//! owner's, which keeps what it cannot open ([`OwnerCustodian`]). A custodian that a hub does not offer is named by [`Custodians`],
//! which says so, rather than by something that pretends.

mod custodian;
mod evidence;
pub mod kms;
mod opened;
pub mod organization;
mod owner;
mod platform;

#[cfg(test)]
mod conformance;

pub use custodian::{Custodian, Custodians, CustodyError, Grounds, kept_by};
pub use evidence::{Appraised, EVIDENCE_SECONDS, EvidenceError, appraise};
pub use opened::{OpenIndexError, Opened, SHOWN};
pub use owner::OwnerCustodian;
pub use platform::{KeyFileError, PlatformCustodian};
