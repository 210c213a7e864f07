//! Evidence made for one fault each, under roots of our own (`vectors/evidence/made`, by `vectors/evidence/generate.py`).
//!
//! No genuine report has a masked chip, a migration agent or a revoked ASK. The key of these VEKs is known to everybody, so that
//! a test signs the report it needs; what the certificates say was signed by keys that are gone.

mod made;
mod mutations;

use jiff::Timestamp;

use crate::appraisal::{Appraisal, CheckName, appraise_under};
use crate::policy::Policy;
use crate::report::REPORT_BYTES;
use crate::testing::{ROOTS, report, sign};
use crate::{Endorsement, Generation};

fn now() -> Timestamp {
    "2026-11-21T00:00:00Z".parse().unwrap()
}

#[expect(clippy::disallowed_methods, reason = "vectors are files")]
fn file(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/evidence/made");
    std::fs::read(format!("{folder}/{name}.der")).unwrap()
}

/// A signed report of `generation` after `change`.
fn signed(
    generation: Generation,
    change: impl FnOnce(&mut [u8; REPORT_BYTES]),
) -> [u8; REPORT_BYTES] {
    let mut report = report(generation);
    change(&mut report);
    sign(&mut report);
    report
}

fn look(report: &[u8], files: &[&str], policy: &Policy) -> Appraisal {
    look_at(report, files, policy, now())
}

fn look_at(report: &[u8], files: &[&str], policy: &Policy, at: Timestamp) -> Appraisal {
    let ders: Vec<Vec<u8>> = files.iter().map(|name| file(name)).collect();
    let endorsements: Vec<Endorsement<'_>> =
        files.iter().zip(&ders).map(|(name, der)| Endorsement { name, der }).collect();
    appraise_under(&ROOTS, report, &endorsements, policy, at)
}

fn refused(appraisal: &Appraisal) -> Vec<CheckName> {
    appraisal.refusals().map(|check| check.check).collect()
}

fn reason(appraisal: &Appraisal, name: CheckName) -> String {
    appraisal.check(name).unwrap().to_string()
}
