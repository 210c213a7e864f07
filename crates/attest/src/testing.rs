//! A chip that everybody has: reports under roots of our own (`vectors/evidence/made`), for tests of those who appraise evidence.
//!
//! What it signs is refused by [`crate::appraise`], which knows AMD's roots alone. The certificates were signed by keys that are gone; the
//! key of their VEKs is known to everybody, so that a test signs the report it needs.

use jiff::Timestamp;
use p384::ecdsa::signature::hazmat::PrehashSigner;
use p384::ecdsa::{Signature, SigningKey};

use crate::appraisal::{Appraisal, appraise_under};
use crate::generation::Roots;
use crate::policy::Policy;
use crate::primitives::sha384;
use crate::report::{REPORT_BYTES, SIGNED_BYTES};
use crate::{Endorsement, Generation};

pub(crate) const ROOTS: Roots = Roots::for_tests(
    include_bytes!("../../../vectors/evidence/made/ark-milan.der"),
    include_bytes!("../../../vectors/evidence/made/ark-genoa.der"),
    include_bytes!("../../../vectors/evidence/made/ark-turin.der"),
);

/// Bytes of a report that is good under `vcek-genoa` (or `-milan`, `-turin`), not yet signed.
pub(crate) fn report(generation: Generation) -> [u8; REPORT_BYTES] {
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
pub(crate) fn sign(report: &mut [u8; REPORT_BYTES]) {
    let secret = sha384(b"chorion test VEK, known to everybody");
    let key = SigningKey::from_slice(&secret)
        .expect("a hash of that text is a scalar of P-384, as it was before");
    let signature: Signature = key
        .sign_prehash(&sha384(&report[..SIGNED_BYTES]))
        .expect("a prehash of 48 bytes is signed");
    let (r, s) = signature.split_bytes();
    for (at, scalar) in [(0x2A0, r), (0x2E8, s)] {
        let mut little = scalar;
        little.reverse();
        report[at..at + 48].copy_from_slice(&little);
    }
}

/// The certificates of the Genoa chip, DER: its VCEK and its ASK.
pub const GENOA: [&[u8]; 2] = [
    include_bytes!("../../../vectors/evidence/made/vcek-genoa.der"),
    include_bytes!("../../../vectors/evidence/made/ask-genoa.der"),
];

/// A report of that chip with this measurement, over these bytes.
#[must_use]
pub fn genoa_report(measurement: &[u8; 48], report_data: &[u8; 64]) -> Vec<u8> {
    let mut bytes = report(Generation::Genoa);
    bytes[0x50..0x90].copy_from_slice(report_data);
    bytes[0x90..0xC0].copy_from_slice(measurement);
    sign(&mut bytes);
    bytes.to_vec()
}

/// As [`crate::appraise`], under the roots of this chip and no other.
pub fn appraise(
    report: &[u8],
    endorsements: &[Endorsement<'_>],
    policy: &Policy,
    now: Timestamp,
) -> Appraisal {
    appraise_under(&ROOTS, report, endorsements, policy, now)
}
