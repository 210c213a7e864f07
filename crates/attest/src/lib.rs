//! Evidence of AMD SEV-SNP guests: parse a report, verify it up to AMD's pinned roots, appraise it against a policy.
//!
//! A report of the security processor says what was loaded into an encrypted guest, on which firmware, and which 64 bytes the guest
//! wanted to have said with it. It is worth something only if it was signed by a key that AMD certified for that chip at that
//! firmware, and if the one who reads it has decided beforehand what to accept (`spec/evidence.md`). [`appraise`] makes every check
//! of that page and gives each its own line, so that a refusal names its reasons and an acceptance its weaknesses.
//!
//! The crate opens no file, socket or clock: bytes and the time come in, an [`Appraisal`] goes out. There is one source of
//! cryptography, `RustCrypto`, natively and in a browser; only public keys and signatures pass through it, nothing secret.
//!
//! ```
//! use attest::{Endorsement, Policy, appraise};
//!
//! let endorsements = [Endorsement { name: "vek.der", der: b"not a certificate" }];
//! let now = "2026-11-21T00:00:00Z".parse()?;
//! let appraisal = appraise(b"not a report", &endorsements, &Policy::default(), now);
//! assert!(!appraisal.accepted);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod appraisal;
mod certificate;
mod chain;
mod checks;
mod der;
mod endorsement;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod generation;
mod hex;
mod measurement;
mod policy;
mod primitives;
mod report;
mod report_data;
mod revocation;
mod tcb;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;

pub use appraisal::{Appraisal, Check, CheckName, Meaning, Outcome, ReportFacts, appraise};
pub use certificate::CertificateError;
pub use chain::Endorsement;
pub use generation::Generation;
pub use hex::Hex;
pub use measurement::{Launch, MeasureError, measure};
pub use policy::{ChipId, Floors, Policy, PolicyError, Purpose, Revocation, Weakening};
pub use report::{
    CpuId, Firmware, GuestPolicy, REPORT_BYTES, Report, ReportError, SIGNED_BYTES, SigningKey,
};
pub use report_data::report_data;
pub use tcb::{RawTcb, Tcb};
