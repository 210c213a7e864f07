//! The checks themselves, one function each (`spec/evidence.md` section 4).

use jiff::Timestamp;

use crate::appraisal::{CheckName, Outcome};
use crate::chain::{Chain, VekKind};
use crate::endorsement;
use crate::generation::Generation;
use crate::policy::{ChipId, Policy, Purpose, Revocation, Weakening};
use crate::primitives;
use crate::report::{Report, ReportError, SigningKey};
use crate::tcb::{RawTcb, Tcb};

/// How a check ended, and which weakening it took.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) outcome: Outcome,
    pub(crate) reason: String,
    pub(crate) weakening: Option<Weakening>,
}

impl Verdict {
    fn new(outcome: Outcome, reason: impl Into<String>) -> Self {
        Self { outcome, reason: reason.into(), weakening: None }
    }

    fn passed(reason: impl Into<String>) -> Self {
        Self::new(Outcome::Passed, reason)
    }

    fn refused(reason: impl Into<String>) -> Self {
        Self::new(Outcome::Refused, reason)
    }

    fn not_reached(reason: impl Into<String>) -> Self {
        Self::new(Outcome::NotReached, reason)
    }
}

/// What the checks look at.
pub(crate) struct Examination<'e, 'a> {
    report: Result<Report<'a>, ReportError>,
    chain: &'e Chain<'a>,
    policy: &'e Policy,
    now: Timestamp,
    /// By the chain, or else by what CPUID claims.
    pub(crate) generation: Option<Generation>,
}

const NO_CHAIN: &str = "there is no chain to one of AMD's roots";
const NO_VEK: &str = "no VCEK or VLEK is given";

impl<'e, 'a> Examination<'e, 'a> {
    pub(crate) fn new(
        report: Result<Report<'a>, ReportError>,
        chain: &'e Chain<'a>,
        policy: &'e Policy,
        now: Timestamp,
    ) -> Self {
        let claimed = report.ok().and_then(|report| report.cpu()).and_then(Generation::of_cpu);
        Self { report, chain, policy, now, generation: chain.generation.or(claimed) }
    }

    /// Makes one check.
    pub(crate) fn check(&self, name: CheckName) -> Verdict {
        match name {
            CheckName::Form => self.form(),
            CheckName::Version => self.version(),
            CheckName::SignatureAlgorithm => {
                self.with_report(|report| match report.signature_algorithm() {
                    1 => Verdict::passed("ECDSA on P-384 with SHA-384"),
                    other => Verdict::refused(format!("algorithm {other} is not known")),
                })
            }
            CheckName::Chain => self.chain(),
            CheckName::Dates => self.dates(),
            CheckName::Revocation => self.revocation(),
            CheckName::Signature => self.with_report(|report| self.signature(report)),
            CheckName::Product => self.with_report(|report| self.product(report)),
            CheckName::HardwareId => self.with_report(|report| self.hardware_id(report)),
            CheckName::Tcb => self.with_report(|report| self.tcb(report)),
            CheckName::GuestPolicy => self.with_report(guest_policy),
            CheckName::Vmpl => self.with_report(|report| self.vmpl(report)),
            CheckName::SigningKey => self.with_report(|report| self.signing_key(report)),
            CheckName::Generation => self.accepted_generation(),
            CheckName::Chip => self.chip(),
            CheckName::Firmware => self.with_report(|report| self.firmware(report)),
            CheckName::Measurement => self.measurement(),
            CheckName::Floor => self.floor(),
            CheckName::ReportData => self.report_data(),
        }
    }

    fn with_report(&self, check: impl FnOnce(&Report<'a>) -> Verdict) -> Verdict {
        match &self.report {
            Ok(report) => check(report),
            Err(_) => Verdict::not_reached("the report cannot be read"),
        }
    }

    /// Passes with a weakening if the policy accepts it, else refuses.
    fn only_with(&self, weakening: Weakening, reason: impl Into<String>) -> Verdict {
        if self.policy.accepts(weakening) {
            let reason = format!("{}; accepted as `{weakening}`", reason.into());
            Verdict { outcome: Outcome::Weakened, reason, weakening: Some(weakening) }
        } else {
            let reason = reason.into();
            Verdict::refused(format!("{reason}; the policy does not accept `{weakening}`"))
        }
    }

    /// Without a reference value: a key is not released, otherwise it is said.
    fn no_reference(&self, what: &str) -> Verdict {
        match self.policy.purpose {
            Purpose::Appraisal => Verdict::new(Outcome::NotChecked, "no reference value"),
            Purpose::KeyRelease => {
                Verdict::refused(format!("no key is released under a policy without {what}"))
            }
        }
    }

    fn form(&self) -> Verdict {
        match &self.report {
            Ok(report) => match report.first_stray() {
                None => Verdict::passed("1184 bytes, and zero where nothing is said"),
                Some(stray) => Verdict::refused(stray),
            },
            Err(error @ ReportError::Length { .. }) => Verdict::refused(error.to_string()),
            Err(ReportError::Version(_)) => Verdict::not_reached("its layout is not known"),
        }
    }

    fn version(&self) -> Verdict {
        match &self.report {
            Ok(report) if report.version() >= 3 => {
                Verdict::passed(format!("version {}", report.version()))
            }
            Ok(report) => Verdict::refused(format!(
                "version {} has no CPUID, so it does not say which product signed; 3 is the least",
                report.version()
            )),
            Err(error @ ReportError::Version(_)) => Verdict::refused(error.to_string()),
            Err(ReportError::Length { .. }) => Verdict::not_reached("the report cannot be read"),
        }
    }

    fn chain(&self) -> Verdict {
        if let Some(why) = &self.chain.broken {
            return Verdict::refused(why);
        }
        match (&self.chain.vek, &self.chain.intermediate, &self.chain.root) {
            (Some((kind, vek)), Some(issuer), Some(root)) => Verdict::passed(format!(
                "{} ({}) by {} by {}, pinned",
                kind.name(),
                vek.name,
                issuer.common_name,
                root.common_name
            )),
            _ => Verdict::refused(NO_CHAIN),
        }
    }

    fn dates(&self) -> Verdict {
        let (Some((_, vek)), Some(issuer), Some(root)) =
            (&self.chain.vek, &self.chain.intermediate, &self.chain.root)
        else {
            return Verdict::not_reached(NO_CHAIN);
        };
        for certificate in [vek, issuer, root] {
            let name = certificate.common_name;
            if self.now < certificate.not_before {
                let from = certificate.not_before;
                return Verdict::refused(format!("{name} is not valid before {from}"));
            }
            if self.now > certificate.not_after {
                let until = certificate.not_after;
                return Verdict::refused(format!("{name} expired at {until}"));
            }
        }
        let until = vek.not_after.min(issuer.not_after).min(root.not_after);
        Verdict::passed(format!("valid at {} and until {until}", self.now))
    }

    fn revocation(&self) -> Verdict {
        let (Some((_, vek)), Some(issuer), Some(root)) =
            (&self.chain.vek, &self.chain.intermediate, &self.chain.root)
        else {
            return Verdict::not_reached(NO_CHAIN);
        };
        let missing = |reason: String| match self.policy.revocation {
            Revocation::Reported => Verdict::new(Outcome::NotChecked, reason),
            Revocation::Required => Verdict::refused(format!("{reason}; the policy requires one")),
        };
        if self.chain.lists.is_empty() {
            return missing("no revocation list is given".to_owned());
        }
        let mut fresh = None;
        let mut stale = None;
        for list in &self.chain.lists {
            let name = list.name;
            let (by, speaks_of) = if list.is_by(root) {
                (root, issuer)
            } else if list.is_by(issuer) {
                (issuer, vek)
            } else {
                return Verdict::refused(format!("{name} is not by {}", root.common_name));
            };
            if list.names(speaks_of) {
                let (by, of) = (by.common_name, speaks_of.common_name);
                return Verdict::refused(format!("{name}: {by} has revoked {of}"));
            }
            if list.this_update > self.now {
                return Verdict::refused(format!("{name} is of {}, to come", list.this_update));
            }
            if list.is_stale(self.now) {
                stale = Some(list);
            } else if speaks_of.der == issuer.der {
                fresh = Some(list);
            }
        }
        match (fresh, stale) {
            (_, Some(list)) => missing(match list.next_update {
                Some(due) => format!("{} is stale since {due}", list.name),
                None => format!("{} does not say until when it holds", list.name),
            }),
            (Some(list), None) => Verdict::passed(format!(
                "{} of {} names nothing of this chain",
                list.name, list.this_update
            )),
            (None, None) => missing(format!("no list by {} is given", root.common_name)),
        }
    }

    fn signature(&self, report: &Report<'_>) -> Verdict {
        let Some((kind, vek)) = &self.chain.vek else { return Verdict::not_reached(NO_VEK) };
        let (r, s) = report.signature();
        if primitives::verify_p384(&vek.key, &report.digest().0, &r, &s) {
            Verdict::passed(format!("by the {} of {}", kind.name(), vek.name))
        } else {
            Verdict::refused(format!(
                "the report is not signed by the {} of {}",
                kind.name(),
                vek.name
            ))
        }
    }

    fn product(&self, report: &Report<'_>) -> Verdict {
        let (Some((_, vek)), Some(generation)) = (&self.chain.vek, self.chain.generation) else {
            return Verdict::not_reached(NO_CHAIN);
        };
        let Some(cpu) = report.cpu() else {
            return Verdict::not_reached("the report has no CPUID");
        };
        let numbers = format!("family {:#04x}, model {:#04x}", cpu.family, cpu.model);
        match (Generation::of_cpu(cpu), endorsement::product(vek)) {
            (_, Err(error)) => Verdict::refused(format!("{}: {error}", vek.name)),
            (None, _) => Verdict::refused(format!("no generation has {numbers}")),
            (Some(claimed), _) if claimed != generation => {
                Verdict::refused(format!("{numbers} is {claimed}, the chain is {generation}'s"))
            }
            (_, Ok(named)) if named != generation => Verdict::refused(format!(
                "{} is for {named}, the chain is {generation}'s",
                vek.name
            )),
            _ => Verdict::passed(format!("{generation}: {numbers}")),
        }
    }

    fn hardware_id(&self, report: &Report<'_>) -> Verdict {
        let (Some((kind, vek)), Some(generation)) = (&self.chain.vek, self.chain.generation) else {
            return Verdict::not_reached(NO_CHAIN);
        };
        let chip = report.chip_id();
        let id = match endorsement::hardware_id(vek, generation) {
            Ok(id) => id,
            Err(error) => return Verdict::refused(format!("{}: {error}", vek.name)),
        };
        match (kind, id) {
            (VekKind::Vlek, Some(_)) => {
                Verdict::refused(format!("{} is a VLEK and names a chip", vek.name))
            }
            (VekKind::Vlek, None) => match endorsement::provider(vek) {
                Ok(Some(provider)) => self
                    .only_with(Weakening::Vlek, format!("a VLEK names no chip, but `{provider}`")),
                Ok(None) => Verdict::refused(format!("{} names no provider", vek.name)),
                Err(error) => Verdict::refused(format!("{}: {error}", vek.name)),
            },
            (VekKind::Vcek, None) => Verdict::refused(format!("{} names no chip", vek.name)),
            (VekKind::Vcek, Some(_)) if chip.is_zero() => {
                Verdict::refused("the report masks its chip id")
            }
            (VekKind::Vcek, Some(id)) => {
                let (named, rest) = chip.0.split_at(id.len());
                if named == id && rest.iter().all(|byte| *byte == 0) {
                    Verdict::passed("the VCEK's hardware id is the report's chip id")
                } else {
                    Verdict::refused("the VCEK is of another chip than the report names")
                }
            }
        }
    }

    fn tcb(&self, report: &Report<'_>) -> Verdict {
        let (Some((kind, vek)), Some(generation)) = (&self.chain.vek, self.chain.generation) else {
            return Verdict::not_reached(NO_CHAIN);
        };
        let Some(reported) = report.reported_tcb().read(generation) else {
            return Verdict::refused(not_laid_out("reported", generation));
        };
        match endorsement::tcb(vek, generation) {
            Err(error) => Verdict::refused(format!("{}: {error}", vek.name)),
            Ok(certified) if certified == reported => {
                Verdict::passed(format!("the {} is for what is reported: {reported}", kind.name()))
            }
            Ok(certified) => Verdict::refused(format!(
                "the {} is for {certified}, reported is {reported}",
                kind.name()
            )),
        }
    }

    fn vmpl(&self, report: &Report<'_>) -> Verdict {
        match report.vmpl() {
            0 => Verdict::passed("level 0"),
            level @ 1..=3 => self.only_with(
                Weakening::ProviderFirmware,
                format!("asked for at level {level}: something runs above the vault"),
            ),
            other => Verdict::refused(format!("there is no level {other}")),
        }
    }

    fn signing_key(&self, report: &Report<'_>) -> Verdict {
        if report.masks_chip_key() {
            return Verdict::refused("the chip's key is masked");
        }
        let kind = self.chain.vek.as_ref().map(|(kind, _)| *kind);
        let signer = report.signing_key();
        match (signer, kind) {
            (SigningKey::Vcek, None | Some(VekKind::Vcek)) => Verdict::passed("the chip's VCEK"),
            (SigningKey::Vlek, None | Some(VekKind::Vlek)) => {
                self.only_with(Weakening::Vlek, "a VLEK, which a cloud provider is lent")
            }
            (SigningKey::Absent | SigningKey::Unknown, _) => {
                Verdict::refused(format!("the report names {signer}"))
            }
            (_, Some(kind)) => Verdict::refused(format!(
                "the report names a {signer}, the certificate is a {}",
                kind.name()
            )),
        }
    }

    fn accepted_generation(&self) -> Verdict {
        let Some(generation) = self.generation else {
            return Verdict::not_reached("neither chain nor CPUID says which it is");
        };
        let listed = self.policy.generations.as_ref();
        if listed.is_some_and(|listed| !listed.contains(&generation)) {
            return Verdict::refused(format!("the policy does not list {generation}"));
        }
        if generation == Generation::Milan {
            return self.only_with(
                Weakening::Milan,
                "Milan: its reports can be forged since the seed of a chip's key was extracted",
            );
        }
        Verdict::passed(generation.name())
    }

    fn chip(&self) -> Verdict {
        let Some(listed) = &self.policy.chip_ids else {
            let release = self.policy.purpose == Purpose::KeyRelease;
            return if release && self.generation == Some(Generation::Milan) {
                Verdict::refused("no key is released to Milan under a policy without chip ids")
            } else {
                Verdict::new(Outcome::NotChecked, "no reference value")
            };
        };
        self.with_report(|report| {
            if listed.contains(&ChipId(report.chip_id())) {
                Verdict::passed("the policy lists the chip")
            } else {
                Verdict::refused("the policy does not list the chip")
            }
        })
    }

    fn firmware(&self, report: &Report<'_>) -> Verdict {
        let Some(generation) = self.generation else {
            return Verdict::not_reached("neither chain nor CPUID says how a TCB is laid out");
        };
        let read = |name, raw: RawTcb| match raw.read(generation) {
            Some(tcb) => Ok(tcb),
            None => Err(Verdict::refused(not_laid_out(name, generation))),
        };
        let tcbs = || -> Result<[Tcb; 3], Verdict> {
            Ok([
                read("reported", report.reported_tcb())?,
                read("committed", report.committed_tcb())?,
                read("current", report.current_tcb())?,
            ])
        };
        let [reported, committed, current] = match tcbs() {
            Ok(tcbs) => tcbs,
            Err(refused) => return refused,
        };
        let (runs, kept) = (report.current_firmware(), report.committed_firmware());
        for (name, tcb) in [("reported", reported), ("committed", committed)] {
            if let Some((part, have, claimed)) = current.first_below(&tcb) {
                return Verdict::refused(format!("{part} {claimed} is {name}, and {have} runs"));
            }
        }
        if runs < kept {
            return Verdict::refused(format!("firmware {kept} is committed, and {runs} runs"));
        }
        if let Some((part, have, current)) = committed.first_below(&current) {
            return self.only_with(
                Weakening::ProviderFirmware,
                format!("the host can go back from {part} {current} to {have}"),
            );
        }
        if kept < runs {
            return self.only_with(
                Weakening::ProviderFirmware,
                format!("the host can go back from firmware {runs} to {kept}"),
            );
        }
        Verdict::passed(format!("{runs} runs and is committed"))
    }

    fn measurement(&self) -> Verdict {
        let Some(listed) = &self.policy.measurements else {
            return self.no_reference("measurements");
        };
        self.with_report(|report| {
            let measured = report.measurement();
            if listed.contains(&measured) {
                Verdict::passed(format!("the policy lists {measured}"))
            } else {
                Verdict::refused(format!("the policy does not list {measured}"))
            }
        })
    }

    fn floor(&self) -> Verdict {
        let floors = &self.policy.floors;
        let Some(generation) = self.generation else {
            return if Generation::ALL.iter().all(|generation| floors.of(*generation).is_none()) {
                self.no_reference("floors")
            } else {
                Verdict::not_reached("neither chain nor CPUID says which generation it is")
            };
        };
        let Some(floor) = floors.of(generation) else {
            return self.no_reference(&format!("a floor for {generation}"));
        };
        self.with_report(|report| {
            let named = [
                ("reported", report.reported_tcb()),
                ("committed", report.committed_tcb()),
                ("current", report.current_tcb()),
                ("launch", report.launch_tcb()),
            ];
            for (name, raw) in named {
                let Some(tcb) = raw.read(generation) else {
                    return Verdict::refused(not_laid_out(name, generation));
                };
                if let Some((part, have, least)) = tcb.first_below(&floor) {
                    return Verdict::refused(format!("{name} {part} is {have}, the floor {least}"));
                }
            }
            Verdict::passed(format!("reported, committed, current and launch TCB reach {floor}"))
        })
    }

    fn report_data(&self) -> Verdict {
        let Some(expected) = &self.policy.report_data else {
            return self.no_reference("report data");
        };
        self.with_report(|report| {
            if report.report_data() == *expected {
                Verdict::passed("what was asked for came back")
            } else {
                Verdict::refused(format!("{} is not what was asked for", report.report_data()))
            }
        })
    }
}

fn guest_policy(report: &Report<'_>) -> Verdict {
    let policy = report.guest_policy();
    if policy.allows_debugging() {
        Verdict::refused("the host may debug the guest: it can read its memory")
    } else if policy.allows_migration() {
        Verdict::refused("a migration agent may take the guest's memory elsewhere")
    } else if !policy.is_well_formed() {
        Verdict::refused(format!("{:#x} has reserved bits that are not known", policy.0))
    } else {
        Verdict::passed(format!("{:#x}: no debugging, no migration agent", policy.0))
    }
}

fn not_laid_out(name: &str, generation: Generation) -> String {
    format!("the {name} TCB is not laid out as {generation}'s are")
}
