//! Evidence made for one fault each, under roots of our own (`vectors/evidence/made`, by `vectors/evidence/generate.py`).
//!
//! No genuine report has a masked chip, a migration agent or a revoked ASK. The key of these VEKs is known to everybody, so that
//! a test signs the report it needs; what the certificates say was signed by keys that are gone.

mod made;
mod mutations;

use jiff::Timestamp;
use p384::ecdsa::signature::hazmat::PrehashSigner;
use p384::ecdsa::{Signature, SigningKey};

use crate::appraisal::{Appraisal, CheckName, appraise_under};
use crate::generation::Roots;
use crate::policy::Policy;
use crate::primitives::sha384;
use crate::report::{REPORT_BYTES, SIGNED_BYTES};
use crate::{Endorsement, Generation};

const ROOTS: Roots = Roots::for_tests(
    include_bytes!("../../../vectors/evidence/made/ark-milan.der"),
    include_bytes!("../../../vectors/evidence/made/ark-genoa.der"),
    include_bytes!("../../../vectors/evidence/made/ark-turin.der"),
);

fn now() -> Timestamp {
    "2026-11-21T00:00:00Z".parse().unwrap()
}

#[expect(clippy::disallowed_methods, reason = "vectors are files")]
fn file(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/evidence/made");
    std::fs::read(format!("{folder}/{name}.der")).unwrap()
}

/// Bytes of a report that is good under `vcek-genoa` (or `-milan`, `-turin`), not yet signed.
fn report(generation: Generation) -> [u8; REPORT_BYTES] {
    let mut report = [0; REPORT_BYTES];
    let mut put = |at: usize, bytes: &[u8]| report[at..at + bytes.len()].copy_from_slice(bytes);
    let tcb: [u8; 8] = match generation {
        Generation::Milan | Generation::Genoa => [10, 0, 0, 0, 0, 0, 23, 84],
        Generation::Turin => [0, 1, 0, 4, 0, 0, 0, 81],
    };
    put(0x000, &[3]);
    put(0x008, &0x3_0000_u64.to_le_bytes());
    put(0x034, &[1]);
    for at in [0x038, 0x180, 0x1E0, 0x1F0] {
        put(at, &tcb);
    }
    put(0x050, &[0x55; 64]);
    put(0x090, &[0x99; 48]);
    put(
        0x188,
        match generation {
            Generation::Milan => &[0x19, 0x01, 1],
            Generation::Genoa => &[0x19, 0x11, 1],
            Generation::Turin => &[0x1A, 0x02, 1],
        },
    );
    let chip: Vec<u8> = (1..=64).collect();
    put(0x1A0, &chip[..if generation == Generation::Turin { 8 } else { 64 }]);
    put(0x1E8, &[40, 55, 1]);
    put(0x1EC, &[40, 55, 1]);
    report
}

/// Signs with the key that everybody knows.
fn sign(report: &mut [u8; REPORT_BYTES]) {
    let secret = sha384(b"chorion test VEK, known to everybody");
    let key = SigningKey::from_slice(&secret).unwrap();
    let signature: Signature = key.sign_prehash(&sha384(&report[..SIGNED_BYTES])).unwrap();
    let (r, s) = signature.split_bytes();
    for (at, scalar) in [(0x2A0, r), (0x2E8, s)] {
        let mut little = scalar;
        little.reverse();
        report[at..at + 48].copy_from_slice(&little);
    }
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
