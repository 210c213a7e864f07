//! An approval counts for one vault, one task and what it names; everything else is refused here, whatever a hub let through.

use std::sync::Arc;

use api::{
    AccountId, App, AppId, Bytes, ClaimedInput, ClaimedResult, Custodian, ProjectId, Release,
    SignedApproval, SignedStatement, Task, TaskId, TaskState,
};
use proof::{
    CardDevice, Delete, Input, Mode, SigningKey, VaultKeys as Named, sha256, sign_statement,
};
use seal::recipient::RecipientSecret;

use super::*;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

fn public(seed: u8) -> Bytes {
    Bytes(key(seed).public().to_bytes().to_vec())
}

/// An owner (words 1, device 2, writer 3), a project of theirs, and a vault that claimed a task in it.
struct World {
    card: OwnerCard,
    keys: VaultKeys,
    config: TaskConfig,
    claimed: ClaimedTask,
    input: OpenDataset,
    result: OpenDataset,
    evidence: Digest,
}

fn at(second: i64) -> Time {
    Time::from_second(second).unwrap()
}

impl World {
    fn new() -> Self {
        let owner = RecipientSecret::generate().unwrap();
        let project = ProjectId::generate();
        let card = OwnerCard {
            hub: "hub".into(),
            project,
            number: 1,
            previous: None,
            owner: public(1),
            recipient: Bytes(owner.public().to_bytes()),
            test: true,
            devices: vec![CardDevice { key: public(2), since: at(0) }],
            second_signer: None,
            writers: vec![public(3)],
            measurements: vec![],
        };
        let signed = sign_statement(&card, &key(1));
        let open = || OpenDataset::create(DatasetId::generate(), project, card.digest()).unwrap();
        let (input, result) = (open(), open());
        let place = |open: &OpenDataset| KeyPlace {
            dataset: open.dataset(),
            project,
            card_digest: open.card_digest(),
            epoch: 0,
        };
        let task = TaskId::generate();
        let manifest = SignedStatement {
            statement: "a manifest".into(),
            signature: Bytes(vec![]),
            signer: Bytes(vec![]),
        };
        let claimed = ClaimedTask {
            task: Task {
                id: task,
                kind: TaskKind::App,
                state: TaskState::Running,
                subject: input.dataset(),
                session: None,
                owner: AccountId::generate(),
                reason: None,
                percent: 0,
                receipt: None,
                created: at(0),
                started: None,
                ended: None,
            },
            hub: "hub".into(),
            inputs: vec![ClaimedInput {
                name: "reads".into(),
                kind: DatasetKind::Sample,
                key: ClaimedKey::Awaited(place(&input)),
                manifest,
                card: signed,
                label: Bytes(vec![]),
            }],
            app: Some(App {
                id: AppId::generate(),
                name: "fastp".into(),
                version: "1".into(),
                title: String::new(),
                digest: sha256(b"app"),
                package: DatasetId::generate(),
                manifest: "{}".into(),
                owner: AccountId::generate(),
                created: at(0),
            }),
            result: Some(ClaimedResult {
                key: ClaimedKey::Awaited(place(&result)),
                settings: Bytes(vec![]),
            }),
            settings: None,
            requeue: false,
            early: false,
            checkpoint: String::new(),
        };
        let config = TaskConfig {
            task,
            ticket: String::new().into(),
            boots: Vec::new(),
            app_cache: std::path::PathBuf::new(),
            threads: std::num::NonZeroUsize::MIN,
        };
        let keys = VaultKeys::generate().unwrap();
        Self { card, keys, config, claimed, input, result, evidence: sha256(b"evidence") }
    }

    fn run(&self) -> RunApp {
        RunApp {
            task: self.config.task,
            request: sha256(b"request"),
            program: Program::App { digest: sha256(b"app"), manifest: "{}".into() },
            settings: Some(sha256(b"settings")),
            inputs: vec![Input {
                name: "reads".into(),
                dataset: self.input.dataset(),
                manifest: digest_of(&self.claimed.inputs[0].manifest),
            }],
            outputs: vec![Output {
                project: self.card.project,
                card: self.card.digest(),
                custodian: Custodian::Owner,
                dataset: Some(self.result.dataset()),
            }],
            vault: Named {
                recipient: Digest(self.keys.recipient().public().fingerprint()),
                receipt_key: Bytes(self.keys.receipt_key().public().to_bytes().to_vec()),
                mode: Mode::Unattested { evidence: self.evidence },
            },
            grant: None,
        }
    }

    fn approval(&self, act: Act) -> Approval {
        Approval {
            hub: "hub".into(),
            project: self.card.project,
            owner: self.card.owner.clone(),
            card: self.card.digest(),
            purpose: sha256(b"purpose"),
            requester: AccountId::generate(),
            nonce: sha256(b"nonce"),
            not_before: at(1_000),
            expires: at(1_900),
            checkpoint: None,
            act,
        }
    }

    fn good(&self) -> Approval {
        self.approval(Act::App(self.run()))
    }

    fn given(&self, approval: &Approval) -> GiveApproval {
        let release = |open: &OpenDataset| Release {
            dataset: open.dataset(),
            project: open.project(),
            card_digest: open.card_digest(),
            epoch: 0,
            wrapped_key: open
                .wrap_approved(&self.keys.recipient().public().to_bytes(), approval.digest())
                .unwrap(),
            leaf: None,
        };
        GiveApproval {
            approval: approval.sign(&key(2), None),
            keys: vec![release(&self.input), release(&self.result)],
        }
    }

    fn signed_card(&self) -> SignedStatement {
        sign_statement(&self.card, &key(1))
    }

    fn judge(&self, approval: SignedApproval, now: i64) -> Result<Verified, TaskError> {
        let Self { config, keys, claimed, evidence, .. } = self;
        let (own, now) = (&Own::Unattested(*evidence), at(now));
        let judge = Judge { config, keys, claimed, handovers: &[], own, now };
        let given = GiveApproval { approval, keys: vec![] };
        judge.judge(&given, &self.signed_card(), self.card.project)
    }

    fn places(&self) -> Vec<KeyPlace> {
        awaited(&self.claimed)
    }
}

#[test]
fn an_approval_that_names_all_of_it_opens_the_keys_it_came_with() {
    let world = World::new();
    let given = world.given(&world.good());
    let verified = world.judge(given.approval.clone(), 1_500).unwrap();
    let mut approved = Approved::default();
    approved.open(&world.keys, &given, &verified, &world.places()).unwrap();
    let place = world.claimed.inputs[0].key.place();
    assert_eq!(approved.key(&place).unwrap().key().expose(), world.input.key().expose());
    approved.verified.push(verified);
    assert!(approved.settings(Some(b"settings")).is_ok());
    assert!(approved.manifest(b"{}").is_ok() && approved.manifest(b"{ }").is_err());
    assert!(approved.settings(Some(b"others")).is_err() && approved.settings(None).is_err());
    let digest = world.card.digest();
    assert!(approved.may_write(world.card.project, digest).is_ok());
    assert!(approved.may_write(ProjectId::generate(), digest).is_err());
    assert!(approved.may_write(world.card.project, sha256(b"other card")).is_err());
}

#[test]
fn whatever_an_approval_says_otherwise_is_refused_by_the_vault_itself() {
    let world = World::new();
    let run = |change: fn(&mut RunApp)| {
        let mut run = world.run();
        change(&mut run);
        world.approval(Act::App(run))
    };
    let all = |change: fn(&mut Approval)| {
        let mut approval = world.good();
        change(&mut approval);
        approval
    };
    let cases = [
        ("hub", all(|a| a.hub = "other".into())),
        ("project", all(|a| a.project = ProjectId::generate())),
        ("owner", all(|a| a.owner = public(9))),
        ("card", all(|a| a.card = sha256(b"other"))),
        ("kind", all(|a| a.act = Act::Delete(Delete { dataset: None }))),
        ("task", run(|r| r.task = TaskId::generate())),
        (
            "app",
            run(|r| {
                r.program = Program::App { digest: sha256(b"swapped"), manifest: "{}".into() };
            }),
        ),
        ("program", run(|r| r.program = Program::Reseal {})),
        ("input version", run(|r| r.inputs[0].manifest = sha256(b"older"))),
        ("input name", run(|r| r.inputs[0].name = "reference".into())),
        ("input dataset", run(|r| r.inputs[0].dataset = DatasetId::generate())),
        (
            "one input more",
            run(|r| {
                let more = Input { dataset: DatasetId::generate(), ..r.inputs[0].clone() };
                r.inputs.push(more);
            }),
        ),
        ("output dataset", run(|r| r.outputs[0].dataset = Some(DatasetId::generate()))),
        ("output project", run(|r| r.outputs[0].project = ProjectId::generate())),
        ("output card", run(|r| r.outputs[0].card = sha256(b"other"))),
        ("output custodian", run(|r| r.outputs[0].custodian = Custodian::Platform)),
        ("one output more", run(|r| r.outputs.push(r.outputs[0].clone()))),
        ("recipient", run(|r| r.vault.recipient = sha256(b"another vault"))),
        ("receipt key", run(|r| r.vault.receipt_key = public(9))),
        ("evidence", run(|r| r.vault.mode = Mode::Unattested { evidence: sha256(b"other") })),
        (
            "attested",
            run(|r| {
                let bytes = || Bytes(vec![0; 48]);
                let policy = sha256(b"policy");
                r.vault.mode = Mode::Snp { measurement: bytes(), policy, report: bytes() };
            }),
        ),
    ];
    for (what, approval) in cases {
        let judged = world.judge(approval.sign(&key(2), None), 1_500);
        assert!(matches!(judged, Err(TaskError::Approval(_))), "{what}: {judged:?}");
    }
    let good = world.good();
    // The owner's words, a writer, the vault's own receipt key, a stranger: none of them is a device.
    for other in [&key(1), &key(3), world.keys.receipt_key(), &key(9)] {
        assert!(world.judge(good.sign(other, None), 1_500).is_err());
    }
    for now in [0, 1_900, 5_000] {
        assert!(world.judge(good.sign(&key(2), None), now).is_err(), "{now}");
    }
}

#[test]
fn a_card_that_another_owner_signed_or_that_is_older_or_no_test_brings_nothing() {
    let mut world = World::new();
    // Unattested, and no test mark.
    world.card.test = false;
    world.claimed.inputs[0].card = world.signed_card();
    let judged = world.judge(world.good().sign(&key(2), None), 1_500);
    // The result's card is not the one of this card any more either; what refuses first is enough.
    assert!(judged.is_err());

    let mut world = World::new();
    world.claimed.inputs[0].card = sign_statement(&world.card, &key(1));
    world.card.owner = public(7);
    let other = sign_statement(&world.card, &key(7));
    let judged = with_card(&world, &other);
    assert!(matches!(judged, Err(TaskError::OwnerCard { .. })), "{judged:?}");

    // A revoked device: the card in force leaves it out, and the hub brings the old card, which is older than the one
    // that the dataset's key is wrapped under.
    let mut world = World::new();
    let old = world.signed_card();
    world.card.number = 2;
    world.card.previous = Some(digest_of(&old));
    world.claimed.inputs[0].card = world.signed_card();
    let judged = with_card(&world, &old);
    assert!(matches!(judged, Err(TaskError::OwnerCard { .. })), "{judged:?}");
}

/// What a vault says of a good approval that comes with this card.
fn with_card(world: &World, card: &SignedStatement) -> Result<Verified, TaskError> {
    let World { config, keys, claimed, evidence, .. } = world;
    let (own, now) = (&Own::Unattested(*evidence), at(1_500));
    let judge = Judge { config, keys, claimed, handovers: &[], own, now };
    judge.judge(&world.given(&world.good()), card, world.card.project)
}

#[test]
fn of_thirty_two_tries_at_once_exactly_one_wins() {
    let world = World::new();
    let given = Arc::new(world.given(&world.good()));
    let verified = world.judge(given.approval.clone(), 1_500).unwrap();
    let places = world.places();
    let start = std::sync::Barrier::new(32);
    let won: usize = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..32)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    let mut approved = Approved::default();
                    approved.open(&world.keys, &given, &verified, &places).is_ok()
                })
            })
            .collect();
        tries.into_iter().map(|one| usize::from(one.join().unwrap())).sum()
    });
    assert_eq!(won, 1);
}

#[test]
fn keys_that_were_released_for_another_approval_or_another_vault_do_not_open() {
    let world = World::new();
    let verified = world.judge(world.given(&world.good()).approval, 1_500).unwrap();
    let mut other = world.good();
    other.nonce = sha256(b"another");
    let of_other = world.given(&other);
    let mut approved = Approved::default();
    assert!(approved.open(&world.keys, &of_other, &verified, &world.places()).is_err());

    let stranger = World { keys: VaultKeys::generate().unwrap(), ..World::new() };
    let given = world.given(&world.good());
    let opened = Approved::default().open(&stranger.keys, &given, &verified, &world.places());
    assert!(opened.is_err());

    // One that is listed is missing.
    let fresh = World::new();
    let mut less_of_fresh = fresh.given(&fresh.good());
    less_of_fresh.keys.pop();
    let verified = fresh.judge(less_of_fresh.approval.clone(), 1_500).unwrap();
    let opened = Approved::default().open(&fresh.keys, &less_of_fresh, &verified, &fresh.places());
    assert!(matches!(opened, Err(TaskError::Mismatch { .. })));
}
