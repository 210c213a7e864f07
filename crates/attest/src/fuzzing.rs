//! What a fuzzer feeds: one plain function per target, each with an oracle of its own.
//!
//! `fuzz/` calls them under libFuzzer; `cargo test` runs them over a small corpus and seeded mutations of it.

use jiff::Timestamp;

use crate::certificate::Certificate;
use crate::chain::Chain;
use crate::generation::AMD;
use crate::policy::Policy;
use crate::report::{REPORT_BYTES, Report, SIGNED_BYTES};
use crate::revocation::RevocationList;
use crate::{Endorsement, appraise};

pub(crate) const REPORT: &[u8] =
    include_bytes!("../../../vectors/evidence/real/genoa-v3-azure-msft/report.bin");
pub(crate) const VCEK: &[u8] =
    include_bytes!("../../../vectors/evidence/real/genoa-v3-azure-msft/vek.der");
const ASK: &[u8] = include_bytes!("../../../vectors/evidence/real/chains/genoa/ask.der");

pub(crate) fn endorsements(vcek: &[u8]) -> [Endorsement<'_>; 2] {
    [Endorsement { name: "vek.der", der: vcek }, Endorsement { name: "ask.der", der: ASK }]
}

/// Any bytes as a report: it is read if it has the length and a known version, and accepted only if its signed part is that of the
/// genuine one.
pub fn report(data: &[u8]) {
    let known = data.len() == REPORT_BYTES && matches!(data[..4], [2..=5, 0, 0, 0]);
    assert_eq!(Report::parse(data).is_ok(), known, "a report was misread");
    let now = Timestamp::from_second(1_795_000_000)
        .expect("this second exists because it lies in the year 2026");
    let appraisal = appraise(data, &endorsements(VCEK), &Policy::default(), now);
    assert_eq!(appraisal.report.is_some(), known);
    if appraisal.accepted {
        assert_eq!(data[..SIGNED_BYTES], REPORT[..SIGNED_BYTES], "an altered report was accepted");
    }
    if data == REPORT {
        assert!(appraisal.accepted);
    }
}

/// Any bytes as a certificate and as a revocation list: nothing panics, what is read was there, and only what AMD signed makes a
/// chain.
pub fn certificate(data: &[u8]) {
    if let Ok(certificate) = Certificate::parse("x", data) {
        let inside = |part: &[u8]| data.windows(part.len().max(1)).any(|window| window == part);
        assert!(inside(certificate.signed) && inside(certificate.subject));
        assert!(RevocationList::parse("x", data).is_err(), "a certificate reads as a list too");
    }
    let chain = Chain::build(&endorsements(data), &AMD);
    if chain.broken.is_none() {
        assert_eq!(data, VCEK, "an altered certificate was taken for AMD's");
    }
}

/// Any bytes as a policy: one that is read can be written, and means the same then.
pub fn policy(data: &[u8]) {
    if let Ok(policy) = Policy::parse(data) {
        let again = Policy::parse(policy.to_json().as_bytes());
        assert!(again.is_ok_and(|again| again == policy), "a policy changed when it was written");
    }
}
