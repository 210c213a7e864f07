//! Genuine reports of three generations, and what was made of them: each is accepted or refused for exactly the reasons listed here.
//!
//! Another verifier, the `sev` crate, judges the signatures beside ours. Where the files come from: `vectors/evidence/SOURCES.md`.

#![expect(clippy::unwrap_used, reason = "a test that meets something unexpected ends there")]

use std::path::PathBuf;

use attest::{
    Appraisal, CheckName, Endorsement, Outcome, Policy, Report, SIGNED_BYTES, Weakening, appraise,
};
use jiff::Timestamp;
use sev::certs::snp::{Certificate, Chain, Verifiable, ca};
use sev::firmware::guest::AttestationReport;
use sev::parser::ByteParser;

use attest::CheckName::{
    Chain as ChainCheck, Dates, Firmware, Form, GuestPolicy, HardwareId, Product, Revocation,
    Signature, SignatureAlgorithm, SigningKey, Tcb, Version, Vmpl,
};

/// Everything that needs the report's fields.
const UNREADABLE: &[CheckName] = &[
    SignatureAlgorithm,
    Signature,
    Product,
    HardwareId,
    Tcb,
    GuestPolicy,
    Vmpl,
    SigningKey,
    Firmware,
];

struct Case {
    path: &'static str,
    chain: &'static str,
    /// What refuses under a policy that accepts Milan and nothing else.
    refused: &'static [&'static [CheckName]],
}

const fn case(
    path: &'static str,
    chain: &'static str,
    refused: &'static [&'static [CheckName]],
) -> Case {
    Case { path, chain, refused }
}

const CASES: &[Case] = &[
    case("genoa-v3-azure-msft", "genoa", &[]),
    case("turin-v5-oak", "turin", &[]),
    case("milan-v3-azure-msft", "milan", &[]),
    case("milan-v3-dstack", "milan", &[]),
    case("milan-v3-oak-cb", "milan", &[]),
    case("milan-v2-debug-gosevguest", "milan", &[&[Version, Product, GuestPolicy]]),
    case("milan-v2-virtee", "milan", &[&[Version, Product]]),
    case("milan-v2-azure-trustee", "milan", &[&[Version, Product, Firmware]]),
    case("milan-v2-azure-aci-sidecar", "milan", &[&[Version, Product]]),
    case(
        "milan-v3-vlek-vmpl1-trustee",
        "milan",
        &[&[Dates, HardwareId, Vmpl, SigningKey, Firmware]],
    ),
    case("negatives/malleated-signature-n-minus-s", "milan", &[]),
    case("negatives/unsigned-tail-changed", "milan", &[&[Form]]),
    case("negatives/debug-bit-flipped-unsigned", "milan", &[&[Signature, GuestPolicy]]),
    case("negatives/measurement-bit-flipped", "milan", &[&[Signature]]),
    case("negatives/report-data-flipped", "milan", &[&[Signature]]),
    case("negatives/signed-reserved-changed", "milan", &[&[Form, Signature]]),
    case("negatives/zero-signature", "milan", &[&[Signature]]),
    case("negatives/unknown-signature-algorithm", "milan", &[&[SignatureAlgorithm, Signature]]),
    case("negatives/unknown-version-9", "milan", &[&[Form, Version], UNREADABLE]),
    case("negatives/truncated-1183", "milan", &[&[Form, Version], UNREADABLE]),
    case("negatives/trailing-byte-1185", "milan", &[&[Form, Version], UNREADABLE]),
    case("negatives/other-machines-vek", "milan", &[&[Signature, HardwareId, Tcb]]),
    case(
        "negatives/forged-chain-amd-names",
        "",
        &[&[ChainCheck, Dates, Revocation, Product, HardwareId, Tcb]],
    ),
    case(
        "real-negatives/lit-report-bad-sig",
        "milan",
        &[&[Version, ChainCheck, Dates, Revocation, Signature, Product, HardwareId, Tcb, Firmware]],
    ),
    case(
        "real-negatives/lit-report-no-vek",
        "milan",
        &[&[Version, ChainCheck, Dates, Revocation, Signature, Product, HardwareId, Tcb, Firmware]],
    ),
    case(
        "real-negatives/trustee-report-with-other-vcek-legacy",
        "milan",
        &[&[Version, ChainCheck, Signature, Product, HardwareId, Tcb, Firmware]],
    ),
    case(
        "real-negatives/trustee-report-with-other-vcek-new",
        "milan",
        &[&[Version, ChainCheck, Signature, Product, HardwareId, Tcb, Firmware]],
    ),
];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../vectors/evidence/real")
}

#[expect(clippy::disallowed_methods, reason = "vectors are files")]
fn read(path: &str) -> Option<Vec<u8>> {
    std::fs::read(folder().join(path)).ok()
}

/// A report with the certificates that belong to it.
struct Evidence {
    report: Vec<u8>,
    files: Vec<(String, Vec<u8>)>,
}

impl Evidence {
    fn load(path: &str, chain: &str) -> Self {
        // A case may bring its own ARK and ASK; otherwise all of the generation's are given, the ASVK too.
        let names = [
            ("vek.der", path.to_owned()),
            ("ark.der", path.to_owned()),
            ("ask.der", path.to_owned()),
            ("ark.der", format!("chains/{chain}")),
            ("ask.der", format!("chains/{chain}")),
            ("asvk.der", format!("chains/{chain}")),
        ];
        let files = names.into_iter().filter_map(|(name, folder)| {
            read(&format!("{folder}/{name}")).map(|der| (name.to_owned(), der))
        });
        Self { report: read(&format!("{path}/report.bin")).unwrap(), files: files.collect() }
    }

    fn appraise(&self, policy: &Policy, at: &str) -> Appraisal {
        self.appraise_report(&self.report, policy, at)
    }

    fn appraise_report(&self, report: &[u8], policy: &Policy, at: &str) -> Appraisal {
        let files: Vec<Endorsement<'_>> =
            self.files.iter().map(|(name, der)| Endorsement { name, der }).collect();
        appraise(report, &files, policy, at.parse::<Timestamp>().unwrap())
    }

    fn file(&self, name: &str) -> Option<&[u8]> {
        self.files.iter().find(|(found, _)| found == name).map(|(_, der)| der.as_slice())
    }
}

const TODAY: &str = "2026-11-21T00:00:00Z";

fn accepting<const N: usize>(weakenings: [Weakening; N]) -> Policy {
    Policy { accept: weakenings.into(), ..Policy::default() }
}

fn refused(appraisal: &Appraisal) -> Vec<CheckName> {
    appraisal.refusals().map(|check| check.check).collect()
}

#[test]
fn every_case_is_refused_for_its_reasons_and_accepted_without_any() {
    let milan = accepting([Weakening::Milan]);
    let mut wrong = Vec::new();
    for case in CASES {
        let evidence = Evidence::load(case.path, case.chain);
        let mut expected: Vec<CheckName> = case.refused.concat();
        expected.sort_unstable();
        let appraisal = evidence.appraise(&milan, TODAY);
        if refused(&appraisal) != expected || appraisal.accepted != expected.is_empty() {
            let told: Vec<String> =
                appraisal.refusals().map(|check| format!("\n  {check}")).collect();
            wrong.push(format!("{}:{}\n", case.path, told.concat()));
        }
        // What is accepted of Milan is accepted only with its name on it.
        let named: Vec<_> = appraisal.weakenings.iter().map(|meaning| meaning.accepted).collect();
        let is_milan = !case.path.starts_with("genoa") && !case.path.starts_with("turin");
        assert_eq!(named, [Weakening::Milan][..usize::from(is_milan)], "{}", case.path);

        // And with nothing accepted, every Milan case is refused by that rule as well, whatever else is wrong.
        let strict = evidence.appraise(&Policy::default(), TODAY);
        let rule = strict.check(CheckName::Generation).unwrap();
        assert_eq!(rule.outcome == Outcome::Refused, is_milan, "{}", case.path);
        assert_eq!(rule.reason.contains("Milan"), is_milan, "{}", case.path);
        if is_milan {
            expected.push(CheckName::Generation);
            expected.sort_unstable();
        }
        let of_strict: Vec<_> = refused(&strict);
        assert!(of_strict == expected || !wrong.is_empty(), "{}: {of_strict:?}", case.path);
        assert_eq!(strict.accepted, expected.is_empty(), "{}", case.path);
    }
    assert!(wrong.is_empty(), "{}", wrong.concat());
}

#[test]
fn nothing_to_compare_with_is_said_and_does_not_refuse() {
    let evidence = Evidence::load("genoa-v3-azure-msft", "genoa");
    let appraisal = evidence.appraise(&Policy::default(), TODAY);
    assert!(appraisal.accepted);
    for name in [CheckName::Measurement, CheckName::Floor, CheckName::ReportData] {
        let line = appraisal.check(name).unwrap().to_string();
        assert_eq!(line, format!("{name}: not checked: no reference value"));
    }
    let line = appraisal.check(Revocation).unwrap().to_string();
    assert_eq!(line, "revocation: not checked: no revocation list is given");
}

#[test]
fn turin_of_oak_falls_under_a_floor_of_snp_4() {
    let evidence = Evidence::load("turin-v5-oak", "turin");
    for (snp, accepted) in [(2, true), (3, false), (4, false)] {
        let policy = format!(
            r#"{{"format": "chorion evidence policy v1", "floors": {{"turin":
               {{"fmc": 0, "boot_loader": 1, "tee": 0, "snp": {snp}, "microcode": 71}}}}}}"#
        );
        let appraisal = evidence.appraise(&Policy::parse(policy.as_bytes()).unwrap(), TODAY);
        assert_eq!(appraisal.accepted, accepted, "{snp}");
        let floor = appraisal.check(CheckName::Floor).unwrap();
        if !accepted {
            assert_eq!(floor.reason, format!("reported SNP is 2, the floor {snp}"));
        }
    }
}

#[test]
fn a_vlek_at_vmpl_1_needs_every_opt_in_and_a_clock_before_its_end() {
    let evidence = Evidence::load("milan-v3-vlek-vmpl1-trustee", "milan");
    let all = [Weakening::Milan, Weakening::Vlek, Weakening::ProviderFirmware];
    let before = "2025-12-10T22:14:21Z";
    let appraisal = evidence.appraise(&accepting(all), before);
    assert!(appraisal.accepted, "{:?}", refused(&appraisal));
    assert_eq!(appraisal.weakenings.len(), 3);
    assert_eq!(refused(&evidence.appraise(&accepting(all), "2025-12-10T22:14:22Z")), [Dates]);
    assert_eq!(refused(&evidence.appraise(&accepting(all), "2024-12-10T22:14:20Z")), [Dates]);
    for missing in all {
        let mut policy = accepting(all);
        policy.accept.remove(&missing);
        assert!(!evidence.appraise(&policy, before).accepted, "{missing}");
    }
}

#[test]
fn a_report_signed_twice_is_one_report() {
    let genuine = read("milan-v3-azure-msft/report.bin").unwrap();
    let turned = read("negatives/malleated-signature-n-minus-s/report.bin").unwrap();
    assert_ne!(genuine, turned);
    assert_eq!(Report::parse(&genuine).unwrap().digest(), Report::parse(&turned).unwrap().digest());
}

#[test]
fn the_order_of_files_and_their_names_mean_nothing() {
    let mut evidence = Evidence::load("genoa-v3-azure-msft", "genoa");
    for turn in 0..evidence.files.len() {
        evidence.files.rotate_left(1);
        for (index, (name, _)) in evidence.files.iter_mut().enumerate() {
            *name = format!("{turn}-{index}.der");
        }
        assert!(evidence.appraise(&Policy::default(), TODAY).accepted);
    }
}

#[test]
fn the_chain_of_another_generation_does_not_stand_in() {
    let mut evidence = Evidence::load("genoa-v3-azure-msft", "turin");
    assert!(refused(&evidence.appraise(&Policy::default(), TODAY)).contains(&ChainCheck));
    // Genoa's certificates with a report of Turin: signature, product and chip disagree.
    evidence = Evidence::load("genoa-v3-azure-msft", "genoa");
    let other = read("turin-v5-oak/report.bin").unwrap();
    let appraisal = evidence.appraise_report(&other, &Policy::default(), TODAY);
    for name in [Signature, Product, HardwareId, Tcb] {
        assert!(refused(&appraisal).contains(&name), "{name}");
    }
}

#[test]
fn flipped_bits_refuse_and_those_of_the_signed_part_make_another_report() {
    // A sample through the whole appraisal; every single bit is tried beside the code, where the chain is verified once.
    let evidence = Evidence::load("genoa-v3-azure-msft", "genoa");
    let digest = Report::parse(&evidence.report).unwrap().digest();
    let mut report = evidence.report.clone();
    for bit in (0..report.len() * 8).step_by(131) {
        report[bit / 8] ^= 1 << (bit % 8);
        let appraisal = evidence.appraise_report(&report, &Policy::default(), TODAY);
        assert!(!appraisal.accepted, "bit {bit}");
        if let Some(facts) = appraisal.report {
            assert_eq!(facts.digest == digest, bit >= SIGNED_BYTES * 8, "bit {bit}");
        }
        report[bit / 8] ^= 1 << (bit % 8);
    }
}

/// Whether the `sev` crate finds chain and signature good. It knows no policy, and takes the roots it is given.
fn sev_agrees(evidence: &Evidence) -> Option<bool> {
    let is_vlek = Report::parse(&evidence.report)
        .is_ok_and(|report| report.signing_key() == attest::SigningKey::Vlek);
    let issuer = if is_vlek { "asvk.der" } else { "ask.der" };
    let certificate = |name| Certificate::from_der(evidence.file(name)?).ok();
    let chain = Chain {
        ca: ca::Chain { ark: certificate("ark.der")?, ask: certificate(issuer)? },
        vek: certificate("vek.der")?,
    };
    let Ok(report) = AttestationReport::from_bytes(&evidence.report) else { return Some(false) };
    Some((&chain, &report).verify().is_ok())
}

#[test]
fn the_sev_crate_agrees_on_chains_and_signatures() {
    let mut compared = 0;
    for case in CASES {
        let evidence = Evidence::load(case.path, case.chain);
        let Some(theirs) = sev_agrees(&evidence) else { continue };
        let appraisal = evidence.appraise(&Policy::default(), TODAY);
        let passed = |name| {
            appraisal
                .check(name)
                .is_some_and(|check: &attest::Check| check.outcome == Outcome::Passed)
        };
        let ours = passed(ChainCheck) && passed(Signature);
        // Where it is laxer: it takes the root from the evidence, as its callers ask it to, and looks at no tail.
        let forged = case.path == "negatives/forged-chain-amd-names";
        assert_eq!(ours || forged, theirs, "{}", case.path);
        compared += 1;
    }
    assert_eq!(compared, CASES.len() - 2, "all but the two that have no certificate");
}
