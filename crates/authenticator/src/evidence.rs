//! The vault that waits, by what it showed: appraised on this device, by the owner's policy and card (`spec/approval.md`, section 5).
//!
//! An unattested vault counts under a test mark alone. A report counts when AMD's roots lead to it, when the policy that the person
//! keeps accepts it, when the card lists its measurement, and when it is over both keys of the vault and the challenge of a boot
//! that this owner approved for this task. Nothing that the hub says of it is asked for.

use api::{Bytes, Digest, SignedStatement, TaskId, Time};
use attest::{Appraisal, Endorsement, Hex, Policy, PolicyError, Purpose};
use proof::{
    Act, AnyEvidence, Approval, Boot, Mode, OwnerCard, PublicKey, SnpEvidence, VaultKeys,
    boot_nonce, digest_of, sha256,
};
use seal::recipient::RecipientKey;

use crate::act::random;
use crate::card::Device;
use crate::error::Refusal;

/// A vault that may be given keys.
#[derive(Debug)]
pub(crate) struct Vault {
    /// As approvals name it.
    pub(crate) keys: VaultKeys,
    /// To what keys are sealed.
    pub(crate) recipient: RecipientKey,
    /// What its evidence is weakened by, in sentences.
    pub(crate) weakenings: Vec<String>,
}

impl Vault {
    /// Whether whoever runs its machine is kept out.
    pub(crate) const fn is_confidential(&self) -> bool {
        matches!(self.keys.mode, Mode::Snp { .. })
    }
}

/// What the owner accepts, and the digest of how it is written.
#[derive(Debug, Clone)]
pub struct OwnPolicy {
    policy: Policy,
    digest: Digest,
}

impl OwnPolicy {
    /// Reads a policy as its owner wrote it (`spec/evidence.md` section 5).
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &[u8]) -> Result<Self, PolicyError> {
        Ok(Self { policy: Policy::parse(text)?, digest: sha256(text) })
    }

    /// The digest of the text, as approvals of a start name it.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }
}

impl Device<'_> {
    /// The act that lets a vault start for a task, to be appraised by `policy`: one with a measurement that the card lists.
    ///
    /// # Errors
    /// The card lists no vault program.
    pub fn boot(&self, card: &OwnerCard, task: TaskId, policy: &OwnPolicy) -> Result<Act, Refusal> {
        if card.measurements.is_empty() {
            return Err(Refusal::NoVaultProgram { project: card.project });
        }
        Ok(Act::Boot(Boot {
            task,
            measurements: card.measurements.clone(),
            policy: policy.digest,
            challenge: random()?,
        }))
    }
}

/// Whether a report counts: AMD's roots, unless a test has others.
pub(crate) type Appraise = fn(&[u8], &[Endorsement<'_>], &Policy, Time) -> Appraisal;

/// The vault that showed `signed` for `task`, if keys of a project with this card may go to it.
pub(crate) fn appraised(
    signed: &SignedStatement,
    task: TaskId,
    card: &OwnerCard,
    policy: Option<&OwnPolicy>,
    now: Time,
    appraise: Appraise,
) -> Result<Vault, String> {
    let (evidence, signer) = AnyEvidence::open(signed).map_err(|e| e.to_string())?;
    if evidence.task() != task {
        return Err("the vault's evidence is for another task".into());
    }
    let recipient = RecipientKey::from_bytes(&evidence.recipient().0).map_err(|e| e.to_string())?;
    let (mode, weakenings) = match &evidence {
        AnyEvidence::Unattested(_) if !card.test => {
            return Err("the vault is unattested, and the project bears no test mark: whoever runs its machine could read everything".into());
        }
        AnyEvidence::Unattested(_) => (Mode::Unattested { evidence: digest_of(signed) }, vec![]),
        AnyEvidence::Snp(evidence) => {
            let policy = policy.ok_or_else(|| {
                "the vault shows a report, and there is no policy on this device to appraise it by: the command line reads `evidence-policy.json`, a browser keeps one under Device".to_owned()
            })?;
            let appraisal = look(evidence, &signer, &recipient, card, policy, now, appraise)?;
            let facts = appraisal.report.as_ref().ok_or("the report does not read")?;
            let mode = Mode::Snp {
                measurement: Bytes(facts.measurement.0.to_vec()),
                policy: policy.digest,
                report: Bytes(facts.digest.0.to_vec()),
            };
            let weakenings = appraisal.weakenings.iter();
            let said =
                weakenings.map(|one| format!("weakened by `{}`: {}", one.accepted, one.meaning));
            (mode, said.collect())
        }
    };
    let keys = VaultKeys {
        recipient: Digest(recipient.fingerprint()),
        receipt_key: Bytes(signer.to_bytes().to_vec()),
        mode,
    };
    Ok(Vault { keys, recipient, weakenings })
}

/// The appraisal of a report for the release of a key.
fn look(
    evidence: &SnpEvidence,
    signer: &PublicKey,
    recipient: &RecipientKey,
    card: &OwnerCard,
    own: &OwnPolicy,
    now: Time,
    appraise: Appraise,
) -> Result<Appraisal, String> {
    let nonce = boot_nonce(&evidence.boots).ok_or("what let the vault start is no approval")?;
    let measurements = booted(evidence, card, own.digest)?;
    let report_data =
        attest::report_data(&nonce.0, &recipient.fingerprint(), &signer.to_bytes(), &[0; 32]);
    let policy = Policy {
        purpose: Purpose::KeyRelease,
        measurements: Some(measurements.into_iter().map(Hex).collect()),
        report_data: Some(Hex(report_data)),
        ..own.policy.clone()
    };
    let endorsements: Vec<Endorsement<'_>> = evidence
        .certificates
        .iter()
        .map(|der| Endorsement { name: "the host's", der: &der.0 })
        .collect();
    let appraisal = appraise(&evidence.report.0, &endorsements, &policy, now);
    if appraisal.accepted {
        return Ok(appraisal);
    }
    let why: Vec<String> = appraisal.refusals().map(ToString::to_string).collect();
    Err(format!("the vault's evidence is refused: {}", why.join("; ")))
}

/// The measurements that this owner let start, for this task: those of the approval that the card still lists.
fn booted(
    evidence: &SnpEvidence,
    card: &OwnerCard,
    policy: Digest,
) -> Result<Vec<[u8; 48]>, String> {
    for given in &evidence.boots {
        let Ok(verified) = Approval::open(&given.approval, card) else { continue };
        let Act::Boot(boot) = &verified.approval().act else { continue };
        if boot.task != evidence.task {
            return Err("you let a vault start for another task".into());
        }
        if boot.policy != policy {
            return Err("you let a vault start under another policy than the one here".into());
        }
        // Made within the approval's time: an old report over an old challenge is no start of now.
        verified.in_force(evidence.at).map_err(|e| e.to_string())?;
        let listed = boot.measurements.iter().filter(|one| card.measurements.contains(one));
        return Ok(listed.filter_map(|one| one.0.as_slice().try_into().ok()).collect());
    }
    Err("no device of yours let this vault start".into())
}

#[cfg(test)]
mod tests {
    use api::{BootGiven, ProjectId};
    use proof::{CardDevice, EvidenceKind, SigningKey, sign_statement};
    use seal::recipient::RecipientSecret;

    use super::*;

    const MEASUREMENT: [u8; 48] = [0x77; 48];
    const POLICY_TEXT: &str = r#"{"format": "chorion evidence policy v1", "floors": {"genoa": {"boot_loader": 10, "tee": 0, "snp": 23, "microcode": 84}}}"#;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32])
    }

    fn public(seed: u8) -> Bytes {
        Bytes(key(seed).public().to_bytes().to_vec())
    }

    fn now() -> Time {
        "2026-11-21T12:00:00Z".parse().unwrap()
    }

    /// An owner (words 1, device 2) without a test mark, a vault (receipt key 5), and a chip whose key everybody knows.
    struct World {
        card: OwnerCard,
        policy: OwnPolicy,
        task: TaskId,
        boot: Boot,
        vault: RecipientSecret,
        measurement: [u8; 48],
        booted_by: u8,
        boot_at: Time,
        /// What the report is over, where it is not what it should be.
        over: Option<[u8; 64]>,
        certificates: Vec<Bytes>,
    }

    impl World {
        fn new() -> Self {
            let task = TaskId::from_bytes([7; 16]);
            let policy = OwnPolicy::parse(POLICY_TEXT.as_bytes()).unwrap();
            let listed = vec![Bytes(MEASUREMENT.to_vec())];
            let boot = Boot {
                task,
                measurements: listed.clone(),
                policy: policy.digest,
                challenge: sha256(b"challenge"),
            };
            let card = OwnerCard {
                hub: "hub".into(),
                project: ProjectId::from_bytes([5; 16]),
                number: 1,
                previous: None,
                owner: public(1),
                recipient: Bytes(vec![1; 1216]),
                test: false,
                devices: vec![CardDevice { key: public(2), since: Time::UNIX_EPOCH }],
                second_signer: None,
                writers: vec![],
                measurements: listed,
            };
            let certificates = attest::testing::GENOA.map(|der| Bytes(der.to_vec())).to_vec();
            Self {
                card,
                policy,
                task,
                boot,
                vault: RecipientSecret::from_seed([9; 32]),
                measurement: MEASUREMENT,
                booted_by: 2,
                boot_at: now(),
                over: None,
                certificates,
            }
        }

        fn boots(&self) -> Vec<BootGiven> {
            let later = Time::from_second(self.boot_at.as_second() + 900).unwrap();
            let approval = Approval {
                hub: "hub".into(),
                project: self.card.project,
                owner: self.card.owner.clone(),
                card: self.card.digest(),
                purpose: sha256(b"purpose"),
                requester: api::AccountId::from_bytes([3; 16]),
                nonce: sha256(b"nonce"),
                not_before: self.boot_at,
                expires: later,
                checkpoint: None,
                act: Act::Boot(self.boot.clone()),
            };
            let card = sign_statement(&self.card, &key(1));
            vec![BootGiven { approval: approval.sign(&key(self.booted_by), None), card }]
        }

        fn evidence(&self) -> SignedStatement {
            let boots = self.boots();
            let nonce = boot_nonce(&boots).unwrap();
            let data = attest::report_data(
                &nonce.0,
                &self.vault.public().fingerprint(),
                &key(5).public().to_bytes(),
                &[0; 32],
            );
            let report =
                attest::testing::genoa_report(&self.measurement, &self.over.unwrap_or(data));
            let evidence = SnpEvidence {
                kind: EvidenceKind::Snp,
                task: self.boot.task,
                recipient: Bytes(self.vault.public().to_bytes()),
                boots,
                report: Bytes(report),
                certificates: self.certificates.clone(),
                program: "chorion".into(),
                at: now(),
            };
            sign_statement(&evidence, &key(5))
        }

        fn look(&self, evidence: &SignedStatement, by: Appraise) -> Result<Vault, String> {
            appraised(evidence, self.task, &self.card, Some(&self.policy), now(), by)
        }

        fn refused(&self) -> String {
            self.look(&self.evidence(), attest::testing::appraise).unwrap_err()
        }
    }

    #[test]
    fn a_vault_that_this_owner_let_start_gets_keys_on_its_report_and_no_other_way() {
        let world = World::new();
        let evidence = world.evidence();
        let vault = world.look(&evidence, attest::testing::appraise).unwrap();
        assert!(vault.is_confidential() && vault.weakenings.is_empty());
        assert_eq!(vault.keys.recipient.0, world.vault.public().fingerprint());
        let Mode::Snp { measurement, policy, report } = &vault.keys.mode else { panic!() };
        assert_eq!((&measurement.0[..], *policy), (&MEASUREMENT[..], world.policy.digest));
        assert_eq!(report.0.len(), 48);
        // AMD signed nothing of it.
        let said = world.look(&evidence, attest::appraise).unwrap_err();
        assert!(said.contains("chain: refused"), "{said}");
        // Without a policy nothing is appraised, and nothing less will do.
        let none =
            appraised(&evidence, world.task, &world.card, None, now(), attest::testing::appraise);
        assert!(none.unwrap_err().contains("no policy"));
    }

    #[test]
    fn what_is_wrong_with_a_start_or_its_report_is_named() {
        type Change = fn(&mut World);
        let cases: [(&str, &str, Change); 11] = [
            ("another program", "measurement: refused", |w| w.measurement = [0x78; 48]),
            ("a program that the card lists no more", "measurement", |w| {
                w.card.measurements = vec![Bytes(vec![0x78; 48])];
            }),
            ("one that was not let start", "measurement", |w| {
                w.boot.measurements = vec![Bytes(vec![0x78; 48])];
            }),
            ("another task's start", "another task", |w| w.task = TaskId::from_bytes([8; 16])),
            ("a start by no device of the card", "no device of yours", |w| w.booted_by = 3),
            ("a start by the words", "no device of yours", |w| w.booted_by = 1),
            ("a start that is over", "counts from", |w| {
                w.boot_at = Time::from_second(now().as_second() - 901).unwrap();
            }),
            ("another policy", "another policy", |w| w.boot.policy = sha256(b"laxer")),
            ("a report over other keys or another challenge", "report data: refused", |w| {
                w.over = Some([0; 64]);
            }),
            ("no certificates", "chain", |w| w.certificates.clear()),
            ("a chip of a generation that is not accepted", "floor", |w| {
                w.policy.policy.floors = attest::Floors::default();
            }),
        ];
        for (what, expected, change) in cases {
            let mut world = World::new();
            change(&mut world);
            let said = world.refused();
            assert!(said.contains(expected), "{what}: {said}");
        }
    }

    #[test]
    fn evidence_of_another_genuine_vault_is_of_no_use_with_other_keys() {
        // The attacker's vault is genuine and was let start; its evidence comes under the name of another.
        let world = World::new();
        let (evidence, _) = proof::open_statement::<SnpEvidence>(&world.evidence()).unwrap();
        let proxied = sign_statement(&evidence, &key(6));
        let said = world.look(&proxied, attest::testing::appraise).unwrap_err();
        assert!(said.contains("report data: refused"), "{said}");
        let other = RecipientSecret::from_seed([10; 32]).public();
        let turned = SnpEvidence { recipient: Bytes(other.to_bytes()), ..evidence.clone() };
        let said = world.look(&sign_statement(&turned, &key(5)), attest::testing::appraise);
        assert!(said.unwrap_err().contains("report data: refused"));
        // A report that is said to be none, and the reverse.
        let lesser = SnpEvidence { kind: EvidenceKind::Unattested, ..evidence };
        assert!(world.look(&sign_statement(&lesser, &key(5)), attest::testing::appraise).is_err());
    }
}
