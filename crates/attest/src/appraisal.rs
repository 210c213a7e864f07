//! The result of looking at evidence: accepted or refused, and every check with its reason (`spec/evidence.md` section 6).

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use crate::chain::{Chain, Endorsement};
use crate::checks::Examination;
use crate::generation::{AMD, Generation, Roots};
use crate::hex::Hex;
use crate::policy::{Policy, Purpose, Weakening};
use crate::report::{CpuId, Report, SigningKey};
use crate::tcb::Tcb;

/// The checks, in the order in which they are made and told (`spec/evidence.md` section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckName {
    /// Length and zero bytes.
    Form,
    /// A version that says which product signed.
    Version,
    /// ECDSA on P-384.
    SignatureAlgorithm,
    /// Up to one of AMD's roots.
    Chain,
    /// Valid at the time given.
    Dates,
    /// Not taken back.
    Revocation,
    /// Over the signed part.
    Signature,
    /// CPUID, chain and certificate agree.
    Product,
    /// The VCEK is of the chip that the report names.
    HardwareId,
    /// The key was derived for the TCB that the report claims.
    Tcb,
    /// No debugging, no migration.
    GuestPolicy,
    /// The highest privilege level.
    Vmpl,
    /// The chip's own key.
    SigningKey,
    /// One that the policy accepts.
    Generation,
    /// One that the policy lists.
    Chip,
    /// The host cannot roll it back.
    Firmware,
    /// One that the policy lists.
    Measurement,
    /// No TCB below the policy's.
    Floor,
    /// What the policy expects to come back.
    ReportData,
}

impl CheckName {
    /// All of them, in order.
    pub const ALL: [Self; 19] = [
        Self::Form,
        Self::Version,
        Self::SignatureAlgorithm,
        Self::Chain,
        Self::Dates,
        Self::Revocation,
        Self::Signature,
        Self::Product,
        Self::HardwareId,
        Self::Tcb,
        Self::GuestPolicy,
        Self::Vmpl,
        Self::SigningKey,
        Self::Generation,
        Self::Chip,
        Self::Firmware,
        Self::Measurement,
        Self::Floor,
        Self::ReportData,
    ];

    /// As people read it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Version => "version",
            Self::SignatureAlgorithm => "signature algorithm",
            Self::Chain => "chain",
            Self::Dates => "dates",
            Self::Revocation => "revocation",
            Self::Signature => "signature",
            Self::Product => "product",
            Self::HardwareId => "hardware id",
            Self::Tcb => "tcb",
            Self::GuestPolicy => "guest policy",
            Self::Vmpl => "vmpl",
            Self::SigningKey => "signing key",
            Self::Generation => "generation",
            Self::Chip => "chip",
            Self::Firmware => "firmware",
            Self::Measurement => "measurement",
            Self::Floor => "floor",
            Self::ReportData => "report data",
        }
    }
}

impl fmt::Display for CheckName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It holds.
    Passed,
    /// It holds only because the policy accepts a weakening by name.
    Weakened,
    /// It does not hold.
    Refused,
    /// There is nothing to compare with, and the policy does not ask for it.
    NotChecked,
    /// Something before it failed, so that it could not be looked at. Refuses.
    NotReached,
}

impl Outcome {
    /// Whether evidence with this outcome in it is refused.
    #[must_use]
    pub const fn refuses(self) -> bool {
        matches!(self, Self::Refused | Self::NotReached)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passed => "passed",
            Self::Weakened => "weakened",
            Self::Refused => "refused",
            Self::NotChecked => "not checked",
            Self::NotReached => "not reached",
        })
    }
}

/// One check and why it ended as it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Which.
    pub check: CheckName,
    /// How it ended.
    pub outcome: Outcome,
    /// A clause that says why.
    pub reason: String,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.check, self.outcome, self.reason)
    }
}

/// A weakening that the policy accepted, and what that means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Meaning {
    /// The opt-in.
    pub accepted: Weakening,
    /// What is given up.
    pub meaning: &'static str,
}

/// What a report says. True only if the appraisal it stands in is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportFacts {
    /// SHA-384 of the signed part: the report's one name.
    pub digest: Hex<48>,
    /// The layout's version.
    pub version: u32,
    /// The generation, by the chain, or else by CPUID.
    pub generation: Option<Generation>,
    /// The processor.
    pub cpu: Option<CpuId>,
    /// Which key signed.
    pub signing_key: SigningKey,
    /// The privilege level.
    pub vmpl: u32,
    /// The guest policy, as a number in hexadecimal.
    pub guest_policy: String,
    /// The guest's security version.
    pub guest_svn: u32,
    /// The platform's set-up, as a number in hexadecimal.
    pub platform_info: String,
    /// What was loaded.
    pub measurement: Hex<48>,
    /// What the guest had signed with it.
    pub report_data: Hex<64>,
    /// What the host gave at launch.
    pub host_data: Hex<32>,
    /// Digest of the id key.
    pub id_key_digest: Hex<48>,
    /// Digest of the author key.
    pub author_key_digest: Hex<48>,
    /// The chip.
    pub chip_id: Hex<64>,
    /// The TCB the key was derived for.
    pub reported_tcb: Option<Tcb>,
    /// The TCB that cannot be rolled back.
    pub committed_tcb: Option<Tcb>,
    /// The TCB that runs.
    pub current_tcb: Option<Tcb>,
    /// The TCB at launch.
    pub launch_tcb: Option<Tcb>,
    /// The firmware that runs.
    pub current_firmware: String,
    /// The firmware that cannot be rolled back.
    pub committed_firmware: String,
}

impl ReportFacts {
    fn of(report: &Report<'_>, generation: Option<Generation>) -> Self {
        let tcb = |raw: crate::tcb::RawTcb| generation.and_then(|generation| raw.read(generation));
        Self {
            digest: report.digest(),
            version: report.version(),
            generation,
            cpu: report.cpu(),
            signing_key: report.signing_key(),
            vmpl: report.vmpl(),
            guest_policy: format!("{:#x}", report.guest_policy().0),
            guest_svn: report.guest_svn(),
            platform_info: format!("{:#x}", report.platform_info()),
            measurement: report.measurement(),
            report_data: report.report_data(),
            host_data: report.host_data(),
            id_key_digest: report.id_key_digest(),
            author_key_digest: report.author_key_digest(),
            chip_id: report.chip_id(),
            reported_tcb: tcb(report.reported_tcb()),
            committed_tcb: tcb(report.committed_tcb()),
            current_tcb: tcb(report.current_tcb()),
            launch_tcb: tcb(report.launch_tcb()),
            current_firmware: report.current_firmware().to_string(),
            committed_firmware: report.committed_firmware().to_string(),
        }
    }
}

/// Evidence, looked at.
#[must_use = "evidence that was looked at and not judged protects nothing"]
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Appraisal {
    /// Whether no check refused.
    pub accepted: bool,
    /// The time that dates were compared with.
    pub at: Timestamp,
    /// What it was for.
    pub purpose: Purpose,
    /// What the report says; `None` if it cannot be read.
    pub report: Option<ReportFacts>,
    /// Every check, in order.
    pub checks: Vec<Check>,
    /// What the policy accepted that is weaker than it could be.
    pub weakenings: Vec<Meaning>,
}

impl Appraisal {
    /// The checks that refused.
    pub fn refusals(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.outcome.refuses())
    }

    /// One check.
    #[must_use]
    pub fn check(&self, name: CheckName) -> Option<&Check> {
        self.checks.iter().find(|check| check.check == name)
    }
}

/// Makes every check of `spec/evidence.md` section 4 on a report with the certificates and lists that came with it, at the time `now`.
///
/// Nothing that comes in is trusted and no failure ends it early, so that all reasons are told.
pub fn appraise(
    report: &[u8],
    endorsements: &[Endorsement<'_>],
    policy: &Policy,
    now: Timestamp,
) -> Appraisal {
    appraise_under(&AMD, report, endorsements, policy, now)
}

/// The same under other roots: only tests have any.
pub(crate) fn appraise_under(
    roots: &Roots,
    report: &[u8],
    endorsements: &[Endorsement<'_>],
    policy: &Policy,
    now: Timestamp,
) -> Appraisal {
    let chain = Chain::build(endorsements, roots);
    let report = Report::parse(report);
    let examination = Examination::new(report, &chain, policy, now);
    let mut used: BTreeSet<Weakening> = BTreeSet::new();
    // A report does not show whose firmware was measured, so this one is named whenever it was accepted.
    used.extend(policy.accept.get(&Weakening::ProviderFirmware));
    let checks: Vec<Check> = CheckName::ALL
        .into_iter()
        .map(|name| {
            let verdict = examination.check(name);
            used.extend(verdict.weakening);
            Check { check: name, outcome: verdict.outcome, reason: verdict.reason }
        })
        .collect();
    Appraisal {
        accepted: !checks.iter().any(|check| check.outcome.refuses()),
        at: now,
        purpose: policy.purpose,
        report: report.ok().map(|report| ReportFacts::of(&report, examination.generation)),
        checks,
        weakenings: used
            .into_iter()
            .map(|accepted| Meaning { accepted, meaning: accepted.meaning() })
            .collect(),
    }
}
