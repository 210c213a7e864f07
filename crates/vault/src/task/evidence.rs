//! What a vault shows of itself, and what an approval must name of it to count here.
//!
//! A machine that has a device of SEV-SNP shows its report, or nothing: a device that is there and fails is an error. The report
//! binds both keys of the vault and the challenges of the approvals of its boot, which are judged before it is asked for.

use api::{BootGiven, Bytes, SignedStatement, TaskId, Time};
use proof::{
    Act, Approval, ApprovalError, EvidenceKind, Mode, ProjectCard, SnpEvidence, boot_nonce,
    sign_statement,
};
#[cfg(feature = "unattested")]
use proof::{UnattestedEvidence, digest_of};

use super::{TaskError, VaultKeys};
use crate::device::{CertificateKind, Device, certificates};

const PROGRAM: &str = concat!("chorion ", env!("CARGO_PKG_VERSION"));

/// Evidence of this vault.
pub(super) struct Shown {
    /// As it goes to the hub and from there to owners.
    pub(super) signed: SignedStatement,
    /// What it proves.
    pub(super) own: Own,
}

/// What this vault can say of itself, for approvals to be compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Own {
    /// Nothing but what it said.
    #[cfg_attr(
        all(not(feature = "unattested"), not(test)),
        expect(
            dead_code,
            reason = "a guest's program judges approvals, and makes no such evidence"
        )
    )]
    Unattested(api::Digest),
    /// Its measurement and its report, by their 48 bytes.
    Snp {
        /// The launch measurement.
        measurement: Vec<u8>,
        /// SHA-384 of the report's signed part.
        report: Vec<u8>,
    },
}

impl Own {
    pub(super) const fn kind(&self) -> EvidenceKind {
        match self {
            Self::Unattested(_) => EvidenceKind::Unattested,
            Self::Snp { .. } => EvidenceKind::Snp,
        }
    }

    /// Whether an approval means this vault and no other; by which policy its report was appraised is for its owner to say.
    pub(super) fn is(&self, mode: &Mode) -> bool {
        match (self, mode) {
            (Self::Unattested(own), Mode::Unattested { evidence }) => own == evidence,
            (Self::Snp { measurement, report }, Mode::Snp { measurement: m, report: r, .. }) => {
                *measurement == m.0 && *report == r.0
            }
            _ => false,
        }
    }
}

/// Makes the evidence: by the device where there is one.
pub(super) fn show(
    task: TaskId,
    keys: &VaultKeys,
    boots: &[BootGiven],
    device: Option<&dyn Device>,
    at: Time,
) -> Result<Shown, TaskError> {
    match device {
        Some(device) => attested(task, keys, boots, device, at),
        None => unattested(task, keys, at),
    }
}

fn attested(
    task: TaskId,
    keys: &VaultKeys,
    boots: &[BootGiven],
    device: &dyn Device,
    at: Time,
) -> Result<Shown, TaskError> {
    let nonce = boot_nonce(boots).ok_or(TaskError::Settings { what: "approval of the boot" })?;
    let evidence = device.report(&keys.report_data(&nonce.0))?;
    let no_report = || crate::device::DeviceError::Report { device: device.name() };
    let report = attest::Report::parse(&evidence.report).map_err(|_| no_report())?;
    let measurement = report.measurement().0.to_vec();
    for boot in boots {
        booted(boot, task, &measurement, at)?;
    }
    let own = Own::Snp { measurement, report: report.digest().0.to_vec() };
    let wanted = [CertificateKind::Vcek, CertificateKind::Vlek, CertificateKind::Ask];
    let found = certificates(&evidence.certificates).into_iter();
    let statement = SnpEvidence {
        kind: EvidenceKind::Snp,
        task,
        recipient: Bytes(keys.recipient().public().to_bytes()),
        boots: boots.to_vec(),
        certificates: found
            .filter(|found| wanted.contains(&found.kind))
            .map(|found| Bytes(found.bytes))
            .collect(),
        report: Bytes(evidence.report),
        program: PROGRAM.to_owned(),
        at,
    };
    Ok(Shown { signed: sign_statement(&statement, keys.receipt_key()), own })
}

/// Refuses the approval of a boot that is not of this task, not of this program, over, or signed by nobody whom its card certifies.
fn booted(given: &BootGiven, task: TaskId, measurement: &[u8], now: Time) -> Result<(), TaskError> {
    let other = |what| Err(TaskError::Approval(ApprovalError::Other { what }));
    let (approval, _) =
        proof::open_statement::<Approval>(&given.approval.approval).map_err(ApprovalError::from)?;
    let project = approval.project;
    let (card, _) = ProjectCard::open(&given.card, project)
        .map_err(|source| TaskError::OwnerCard { project, source })?;
    let ProjectCard::Owner(card) = card else { return other("custodian") };
    let verified = Approval::open(&given.approval, &card)?;
    verified.in_force(now)?;
    let Act::Boot(boot) = &verified.approval().act else { return other("kind of act") };
    if boot.task != task {
        return other("task");
    }
    let listed = |list: &[Bytes]| list.iter().any(|one| one.0 == measurement);
    if !listed(&boot.measurements) || !listed(&card.measurements) {
        return other("measurement");
    }
    Ok(())
}

#[cfg(feature = "unattested")]
fn unattested(task: TaskId, keys: &VaultKeys, at: Time) -> Result<Shown, TaskError> {
    let evidence = UnattestedEvidence {
        kind: EvidenceKind::Unattested,
        task,
        recipient: Bytes(keys.recipient().public().to_bytes()),
        program: PROGRAM.to_owned(),
        at,
    };
    let signed = sign_statement(&evidence, keys.receipt_key());
    let own = Own::Unattested(digest_of(&signed));
    Ok(Shown { signed, own })
}

/// What a guest without a device shows of itself: nothing, so it gets no key.
#[cfg(not(feature = "unattested"))]
fn unattested(_: TaskId, _: &VaultKeys, _: Time) -> Result<Shown, TaskError> {
    Err(TaskError::NoEvidence)
}

#[cfg(test)]
mod tests {
    use proof::{Boot, CardDevice, OwnerCard, SigningKey, sha256};

    use super::*;
    use crate::device::{DeviceError, Evidence};

    const MEASUREMENT: [u8; 48] = [0x77; 48];

    /// A security processor that everybody has (`attest::testing`): it is linked into tests alone.
    #[derive(Debug)]
    struct Fake {
        fails: bool,
    }

    impl Device for Fake {
        fn report(&self, report_data: &[u8; 64]) -> Result<Evidence, DeviceError> {
            if self.fails {
                return Err(DeviceError::Firmware { device: self.name(), status: 7 });
            }
            let report = attest::testing::genoa_report(&MEASUREMENT, report_data);
            Ok(Evidence { report, certificates: Vec::new() })
        }

        fn name(&self) -> String {
            "a fake device".to_owned()
        }
    }

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32])
    }

    fn public(seed: u8) -> Bytes {
        Bytes(key(seed).public().to_bytes().to_vec())
    }

    fn at(second: i64) -> Time {
        Time::from_second(second).unwrap()
    }

    /// The start that an owner (words 1, device 2) approves.
    struct Start {
        card: OwnerCard,
        boot: Boot,
        by: u8,
    }

    impl Start {
        fn new() -> Self {
            let measurements = vec![Bytes(MEASUREMENT.to_vec())];
            let card = OwnerCard {
                hub: "hub".into(),
                project: api::ProjectId::from_bytes([5; 16]),
                number: 1,
                previous: None,
                owner: public(1),
                recipient: Bytes(vec![1; 1216]),
                test: false,
                devices: vec![CardDevice { key: public(2), since: at(0) }],
                second_signer: None,
                writers: vec![],
                measurements: measurements.clone(),
            };
            let task = TaskId::from_bytes([7; 16]);
            let boot =
                Boot { task, measurements, policy: sha256(b"policy"), challenge: sha256(b"once") };
            Self { card, boot, by: 2 }
        }

        fn given(&self) -> BootGiven {
            let approval = Approval {
                hub: "hub".into(),
                project: self.card.project,
                owner: self.card.owner.clone(),
                card: self.card.digest(),
                purpose: sha256(b"purpose"),
                requester: api::AccountId::from_bytes([3; 16]),
                nonce: sha256(b"nonce"),
                not_before: at(1_000),
                expires: at(1_900),
                checkpoint: None,
                act: Act::Boot(self.boot.clone()),
            };
            let card = sign_statement(&self.card, &key(1));
            BootGiven { approval: approval.sign(&key(self.by), None), card }
        }

        fn shown(&self, device: &Fake, now: i64) -> Result<(VaultKeys, Shown), TaskError> {
            let (keys, task) = (VaultKeys::generate().unwrap(), TaskId::from_bytes([7; 16]));
            let shown = show(task, &keys, &[self.given()], Some(device), at(now))?;
            Ok((keys, shown))
        }
    }

    #[test]
    fn a_vault_with_a_device_shows_a_report_over_its_keys_and_the_owners_challenge() {
        let start = Start::new();
        let (keys, shown) = start.shown(&Fake { fails: false }, 1_500).unwrap();
        let (evidence, signer) = proof::open_statement::<SnpEvidence>(&shown.signed).unwrap();
        assert_eq!(signer, keys.receipt_key().public());
        let report = attest::Report::parse(&evidence.report.0).unwrap();
        let nonce = boot_nonce(&[start.given()]).unwrap();
        assert_eq!(report.report_data().0, keys.report_data(&nonce.0));
        // An approval counts here that names this measurement and this report, and no other.
        let mode = |measurement: &[u8], report: &[u8]| Mode::Snp {
            measurement: Bytes(measurement.to_vec()),
            policy: sha256(b"the owner's"),
            report: Bytes(report.to_vec()),
        };
        let digest = report.digest().0;
        assert!(shown.own.is(&mode(&MEASUREMENT, &digest)));
        assert!(!shown.own.is(&mode(&[0; 48], &digest)));
        assert!(!shown.own.is(&mode(&MEASUREMENT, &[0; 48])));
        let evidence = digest_of(&shown.signed);
        assert!(!shown.own.is(&Mode::Unattested { evidence }), "never as the lesser one");
        assert!(!Own::Unattested(evidence).is(&mode(&MEASUREMENT, &digest)));
    }

    #[test]
    fn a_device_that_fails_is_an_error_and_never_a_lesser_vault() {
        let failed = Start::new().shown(&Fake { fails: true }, 1_500);
        assert!(matches!(failed, Err(TaskError::Device(_))));
    }

    #[test]
    fn a_start_that_its_owner_did_not_mean_ends_before_anything_is_shown() {
        type Change = fn(&mut Start);
        let cases: [(&str, i64, Change); 6] = [
            ("another task", 1_500, |s| s.boot.task = TaskId::from_bytes([8; 16])),
            ("another program", 1_500, |s| s.boot.measurements = vec![Bytes(vec![1; 48])]),
            ("a program that the card lists no more", 1_500, |s| s.card.measurements.clear()),
            ("by no device", 1_500, |s| s.by = 3),
            ("over", 1_900, |_| ()),
            ("not yet", 900, |_| ()),
        ];
        for (what, now, change) in cases {
            let mut start = Start::new();
            change(&mut start);
            assert!(start.shown(&Fake { fails: false }, now).is_err(), "{what}");
        }
    }
}
