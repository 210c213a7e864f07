//! Projects whose owner holds the key: the hub keeps, relays, refuses early, and opens nothing.

use api::{
    AccountId, AppSession, ApprovalDetail, ApprovalRequest, ApprovalState, Bytes, ClaimedKey,
    CreateDataset, CreateProject, Custodian, Dataset, DatasetId, DatasetKind, Digest, EndTask,
    ErrorCode, GiveApproval, Launch, OwnerKey, Page, Project, ProjectId, PutCard, Release,
    SessionId, SessionInput, SignedStatement, Task, TaskApproval, TaskState,
};
use dataset::OpenDataset;
use http_body_util::BodyExt;
use proof::{
    Act, Approval, Boot, CardDevice, Delete, EvidenceKind, Input, Mode, Output, OwnerCard,
    OwnerReceipt, Program, ReceiptOutput, RunApp, Share, SigningKey, VaultKeys, digest_of, sha256,
    sign_statement,
};
use seal::recipient::RecipientSecret;
use seal::wrap::DatasetContext;
use serde_json::json;

use super::material::{at, close, content, on_disk, put_all};
use super::tasks::{Story, Vault, registered};
use crate::testing::{Answer, Person, TestHub, signing_key};

const READS: &[u8] = b"@r1\nGATTACAGATTACAGATTACA\n+\nFFFFFFFFFFFFFFFFFFFFF\n";

/// What is wrong with a card.
type Change = fn(&mut OwnerCard);

/// Somebody with words: a card key, a sealing key, one device.
pub(super) struct Owner {
    pub(super) words: SigningKey,
    pub(super) sealing: RecipientSecret,
    pub(super) device: SigningKey,
    pub(super) account: AccountId,
}

pub(super) fn bytes(key: &SigningKey) -> Bytes {
    Bytes(key.public().to_bytes().to_vec())
}

impl Owner {
    pub(super) fn new(person: &Person) -> Self {
        Self {
            words: signing_key(),
            sealing: RecipientSecret::generate().unwrap(),
            device: signing_key(),
            account: person.account,
        }
    }

    fn card(&self, hub: &TestHub, project: ProjectId, writer: &SigningKey) -> OwnerCard {
        let since = api::Time::from_second(hub.now()).unwrap();
        OwnerCard {
            hub: hub.hub.id.clone(),
            project,
            number: 1,
            previous: None,
            owner: bytes(&self.words),
            recipient: Bytes(self.sealing.public().to_bytes()),
            test: true,
            devices: vec![CardDevice { key: bytes(&self.device), since }],
            second_signer: None,
            writers: vec![bytes(writer)],
            measurements: vec![],
        }
    }

    fn create(&self, card: &OwnerCard) -> CreateProject {
        let id = card.project;
        let own = DatasetId::from_bytes(id.to_bytes());
        let open = OpenDataset::create(own, id, Digest([0; 32])).unwrap();
        CreateProject {
            id,
            custodian: Custodian::Owner,
            wrapped_key: open.wrap_to(&self.sealing.public().to_bytes()).unwrap(),
            label: open.seal_label("project name", b"my genome").unwrap(),
            card: Some(sign_statement(card, &self.words)),
            organization: None,
        }
    }
}

/// A hub with a project of an owner, a sample in it, an app, and a vault that claimed its launch.
pub(super) struct Owned {
    pub(super) story: Story,
    pub(super) owner: Owner,
    pub(super) card: OwnerCard,
    pub(super) input: OpenDataset,
    result: OpenDataset,
}

impl Owned {
    pub(super) async fn begin() -> Self {
        let story = Story::begin().await;
        let owner = Owner::new(&story.ada);
        let card = owner.card(&story.hub, ProjectId::generate(), &story.ada.key);
        let create = owner.create(&card);
        let made: Project =
            story.hub.call(&story.ada.key, "POST", "/api/v1/projects", &create).await.ok();
        assert_eq!((made.custodian, made.name), (Custodian::Owner, None));
        let open =
            || OpenDataset::create(DatasetId::generate(), card.project, card.digest()).unwrap();
        let (input, result) = (open(), open());
        let owned = Self { story, owner, card, input, result };
        owned.import(&owned.input).await;
        owned
    }

    pub(super) fn hub(&self) -> &TestHub {
        &self.story.hub
    }

    pub(super) fn ada(&self) -> &SigningKey {
        &self.story.ada.key
    }

    async fn import(&self, open: &OpenDataset) {
        let create = CreateDataset {
            id: open.dataset(),
            kind: DatasetKind::Sample,
            project: self.card.project,
            card_digest: open.card_digest(),
            wrapped_key: open.wrap_to(&self.card.recipient.0).unwrap(),
            label: open.seal_label("dataset name", b"NA12878 of Ada").unwrap(),
            settings: None,
            parent: None,
            reads: Some(1),
        };
        let (hub, ada) = (self.hub(), self.ada());
        hub.call(ada, "POST", "/api/v1/datasets", create).await.ok::<Dataset>();
        let files = [("reads.fastq", READS)];
        let manifest = put_all(hub, ada, open, content(open, &files), 1, None).await;
        close(hub, ada, ada, &manifest, "").await.ok::<Dataset>();
    }

    pub(super) async fn launch(&self) -> AppSession {
        self.launch_as(self.ada()).await
    }

    async fn launch_as(&self, key: &SigningKey) -> AppSession {
        let app = registered(&self.story).await;
        let body = Launch {
            id: SessionId::generate(),
            app: app.id,
            inputs: vec![SessionInput { name: "reads".into(), dataset: self.input.dataset() }],
            project: self.card.project,
            wrapped_key: self.result.wrap_to(&self.card.recipient.0).unwrap(),
            result: self.result.dataset(),
            card_digest: self.card.digest(),
            settings: self.result.seal_label("launch settings", b"{}").unwrap(),
            label: self.result.seal_label("dataset name", b"trimmed").unwrap(),
        };
        self.hub().call(key, "POST", "/api/v1/appsessions", &body).await.ok()
    }

    async fn requests(&self) -> Vec<ApprovalRequest> {
        self.hub().get(self.ada(), "/api/v1/approvals").await.ok::<Page<_>>().items
    }

    async fn detail(&self) -> ApprovalDetail {
        let id = self.requests().await.last().unwrap().id;
        self.hub().get(self.ada(), &format!("/api/v1/approvals/{id}")).await.ok()
    }

    fn approval(&self, detail: &ApprovalDetail, vault: &Vault) -> Approval {
        let inputs = detail
            .inputs
            .iter()
            .filter(|input| input.kind != DatasetKind::App)
            .map(|input| Input {
                name: input.name.clone(),
                dataset: input.dataset,
                manifest: digest_of(input.manifest.as_ref().unwrap()),
            })
            .collect();
        let now = self.hub().now();
        let app = detail.app.as_ref().unwrap();
        Approval {
            hub: self.hub().hub.id.clone(),
            project: self.card.project,
            owner: self.card.owner.clone(),
            card: self.card.digest(),
            purpose: sha256(b"purpose"),
            requester: detail.request.requester,
            nonce: sha256(&now.to_be_bytes()),
            not_before: api::Time::from_second(now).unwrap(),
            expires: api::Time::from_second(now + 900).unwrap(),
            checkpoint: None,
            act: Act::App(RunApp {
                task: detail.request.task,
                request: sha256(b"request"),
                program: Program::App { digest: app.digest, manifest: app.manifest.clone() },
                settings: Some(sha256(b"{}")),
                inputs,
                outputs: vec![Output {
                    project: self.card.project,
                    card: self.card.digest(),
                    custodian: Custodian::Owner,
                    dataset: Some(self.result.dataset()),
                }],
                vault: VaultKeys {
                    recipient: Digest(vault.secret.public().fingerprint()),
                    receipt_key: bytes(&vault.key),
                    mode: Mode::Unattested { evidence: digest_of(&vault.evidence) },
                },
                grant: None,
            }),
        }
    }

    fn given(&self, approval: &Approval, vault: &Vault) -> GiveApproval {
        let release = |open: &OpenDataset| Release {
            dataset: open.dataset(),
            project: open.project(),
            card_digest: open.card_digest(),
            epoch: 0,
            wrapped_key: open
                .wrap_approved(&vault.secret.public().to_bytes(), approval.digest())
                .unwrap(),
            leaf: None,
        };
        GiveApproval {
            approval: approval.sign(&self.owner.device, None),
            keys: vec![release(&self.input), release(&self.result)],
        }
    }

    async fn approve(&self, detail: &ApprovalDetail, given: &GiveApproval) -> Answer {
        let path = format!("/api/v1/approvals/{}/approve", detail.request.id);
        self.hub().call(self.ada(), "POST", &path, given).await
    }

    async fn waiting(&self, vault: &Vault) -> Answer {
        let path = format!("/api/v1/tasks/{}/approvals", vault.task);
        self.hub().get(&vault.key, &path).await
    }

    async fn put_card(&self, change: impl FnOnce(&mut OwnerCard)) -> Answer {
        let mut next = self.card.clone();
        next.number += 1;
        next.previous = Some(self.card.digest());
        change(&mut next);
        let path = format!("/api/v1/projects/{}/card", self.card.project);
        let card = sign_statement(&next, &self.owner.words);
        self.hub().call(self.ada(), "PUT", &path, PutCard { card, approval: None }).await
    }
}

#[tokio::test]
async fn the_hub_keeps_what_is_an_owners_and_opens_none_of_it() {
    let owned = Owned::begin().await;
    let (hub, ada, id) = (owned.hub(), owned.ada(), owned.input.dataset());
    let shown: Dataset = hub.get(ada, &at(id, "")).await.ok();
    assert_eq!((shown.custodian, shown.name), (Custodian::Owner, None));
    assert_eq!(hub.get(ada, &at(id, "/files")).await.code(), ErrorCode::KeyRefused);
    // Nobody gets the key from the hub, the owner's own account included: it has none.
    let reader = RecipientSecret::generate().unwrap();
    let body = json!({"recipient": Bytes(reader.public().to_bytes()), "purpose": "download"});
    let refused = hub.call(ada, "POST", &at(id, "/release"), body).await;
    assert_eq!(refused.code(), ErrorCode::KeyRefused);
    // What it relays opens with the words, and with nothing that is here.
    let key: OwnerKey = hub.get(ada, &at(id, "/key")).await.ok();
    let open = OpenDataset::from_release(&key.release, &owned.owner.sealing).unwrap();
    assert_eq!(open.key().expose(), owned.input.key().expose());
    assert!(OpenDataset::from_release(&key.release, &reader).is_err());
    for text in [&READS[4..20], b"NA12878 of Ada", b"my genome", &owned.input.key().expose()[..]] {
        assert_eq!(on_disk(hub, text), Vec::<std::path::PathBuf>::new());
    }
    // The project's own key likewise.
    let path = format!("/api/v1/projects/{}", owned.card.project);
    let key: OwnerKey = hub.get(ada, &format!("{path}/key")).await.ok();
    assert!(OpenDataset::from_release(&key.release, &owned.owner.sealing).is_ok());
    let bert = hub.person(&owned.story.ada, "Bert").await;
    assert_eq!(hub.get(&bert.key, &at(id, "/key")).await.code(), ErrorCode::NotFound);
}

#[tokio::test]
async fn a_hub_takes_only_a_first_card_that_its_owner_signed_and_later_ones_that_follow() {
    let owned = Owned::begin().await;
    let (hub, ada, owner) = (owned.hub(), owned.ada(), &owned.owner);
    let cases: [(&str, Change); 4] = [
        ("another hub", |c| c.hub = "other".into()),
        ("a second card", |c| (c.number, c.previous) = (2, Some(Digest([1; 32])))),
        ("no recipient", |c| c.recipient = Bytes(vec![0xff; 1216])),
        ("one key in two roles", |c| c.writers.push(c.owner.clone())),
    ];
    for (what, change) in cases {
        let mut card = owner.card(hub, ProjectId::generate(), ada);
        change(&mut card);
        let refused = hub.call(ada, "POST", "/api/v1/projects", owner.create(&card)).await;
        assert_eq!(refused.code(), ErrorCode::BadRequest, "{what}");
    }
    let card = owner.card(hub, ProjectId::generate(), ada);
    let without = CreateProject { card: None, ..owner.create(&card) };
    let refused = hub.call(ada, "POST", "/api/v1/projects", without).await;
    assert_eq!(refused.code(), ErrorCode::BadRequest);
    let others = CreateProject { card: Some(sign_statement(&card, ada)), ..owner.create(&card) };
    let refused = hub.call(ada, "POST", "/api/v1/projects", others).await;
    assert_eq!(refused.code(), ErrorCode::BadRequest);

    // A later card: the test mark stays as it was, the owner and the key too, and the number is the next.
    let cases: [(&str, Change); 4] = [
        ("the test mark", |c| c.test = false),
        ("the recipient", |c| c.recipient = Bytes(vec![1; 1216])),
        ("another card before", |c| c.previous = Some(Digest([1; 32]))),
        ("a number left out", |c| c.number = 3),
    ];
    for (what, change) in cases {
        let code = owned.put_card(change).await.code();
        assert!(matches!(code, ErrorCode::BadRequest | ErrorCode::Conflict), "{what}: {code:?}");
    }
    owned.put_card(|c| c.devices.clear()).await.ok::<SignedStatement>();
    let path = format!("/api/v1/projects/{}/card", owned.card.project);
    let now: SignedStatement = hub.get(ada, &path).await.ok();
    assert_ne!(digest_of(&now), owned.card.digest());
    let old = PutCard { card: sign_statement(&owned.card, &owner.words), approval: None };
    assert_eq!(hub.call(ada, "PUT", &path, old).await.code(), ErrorCode::BadRequest);
}

#[tokio::test]
async fn an_approval_releases_keys_to_the_vault_that_waits_and_closes_with_a_receipt() {
    let mut owned = Owned::begin().await;
    let session = owned.launch().await;
    let started = owned.story.next().await;
    let (vault, claimed) = Vault::of(owned.hub(), &started).await;
    let (hub, ada) = (owned.hub(), owned.ada());
    // The app's package is the platform's, and released; what is the owner's is not.
    let awaited = |key: &ClaimedKey| matches!(key, ClaimedKey::Awaited(_));
    let kinds: Vec<bool> = claimed.inputs.iter().map(|input| awaited(&input.key)).collect();
    assert_eq!(kinds, [true, false]);
    assert!(awaited(&claimed.result.as_ref().unwrap().key));

    let detail = owned.detail().await;
    assert_eq!(detail.request.state, ApprovalState::Pending);
    assert_eq!(detail.evidence, vault.evidence);
    assert_eq!(detail.request.requester, owned.owner.account);
    let key = detail.inputs[0].key.as_ref().unwrap();
    assert!(OpenDataset::from_release(key, &owned.owner.sealing).is_ok());
    assert!(detail.inputs[1].key.is_none());
    let before: Vec<TaskApproval> = owned.waiting(&vault).await.ok();
    assert!(before[0].given.is_none() && before[0].state == ApprovalState::Pending);

    let approval = owned.approval(&detail, &vault);
    let given = owned.given(&approval, &vault);
    let answered: ApprovalRequest = owned.approve(&detail, &given).await.ok();
    assert_eq!(answered.state, ApprovalState::Approved);
    let (mut log, mut checkpoint) = (None, String::new());
    for _ in 0..2 {
        // An answer that was lost is given again, to this vault.
        let after: Vec<TaskApproval> = owned.waiting(&vault).await.ok();
        assert_eq!(after[0].given.as_ref(), Some(&given));
        let released = after[0].log.as_ref().unwrap();
        assert_eq!(released.leaves.len(), given.keys.len(), "a leaf for each key");
        assert_eq!(log.get_or_insert_with(|| released.leaves.clone()), &released.leaves);
        checkpoint = released.checkpoint.clone();
    }
    assert_eq!(owned.requests().await[0].state, ApprovalState::Used);
    let open =
        OpenDataset::from_approved(&given.keys[0], &vault.secret, approval.digest()).unwrap();
    assert_eq!(open.key().expose(), owned.input.key().expose());

    let result = &owned.result;
    let files = [("trimmed.fastq", READS)];
    let manifest = put_all(hub, &vault.key, result, content(result, &files), 1, None).await;
    close(hub, &vault.key, &vault.key, &manifest, "").await.ok::<Dataset>();
    let at = claimed.task.started.unwrap();
    let log = api::ReleaseLog { checkpoint, leaves: log.unwrap() };
    let receipt = OwnerReceipt {
        hub: claimed.hub.clone(),
        task: vault.task,
        kind: claimed.task.kind,
        approvals: vec![approval.digest()],
        evidence: EvidenceKind::Unattested,
        evidence_digest: digest_of(&vault.evidence),
        app: claimed.app.as_ref().map(|app| app.digest),
        inputs: claimed
            .inputs
            .iter()
            .map(|input| ReceiptOutput {
                dataset: input.key.place().dataset,
                manifest: digest_of(&input.manifest),
            })
            .collect(),
        outputs: vec![ReceiptOutput {
            dataset: result.dataset(),
            manifest: digest_of(&sign_statement(&manifest, &vault.key)),
        }],
        log: proof::receipt_log(&claimed, &[&log]).unwrap(),
        complete: true,
        started: at,
        ended: at,
    };
    let end = |receipt: &OwnerReceipt| EndTask {
        complete: true,
        reason: None,
        receipt: sign_statement(receipt, &vault.key),
    };
    let path = format!("/api/v1/tasks/{}/end", vault.task);
    for approvals in [vec![], vec![sha256(b"other")], vec![approval.digest(), approval.digest()]] {
        let wrong = OwnerReceipt { approvals, ..receipt.clone() };
        let refused = hub.call(&vault.key, "POST", &path, end(&wrong)).await;
        assert_eq!(refused.code(), ErrorCode::DigestMismatch);
    }
    let attested = OwnerReceipt { evidence: EvidenceKind::Snp, ..receipt.clone() };
    let refused = hub.call(&vault.key, "POST", &path, end(&attested)).await;
    assert_eq!(refused.code(), ErrorCode::DigestMismatch, "it showed no report");
    let task: Task = hub.call(&vault.key, "POST", &path, end(&receipt)).await.ok();
    assert_eq!(task.state, TaskState::Complete);

    // The result's manifest is signed by the vault's key: the approval says that it may.
    let key: OwnerKey = hub.get(ada, &super::material::at(session.result, "/key")).await.ok();
    assert_eq!(key.written_under.unwrap().approval, given.approval);
    // Keys that were released are forgotten with the task.
    let mut reader = hub.hub.db.read().await.unwrap();
    let kept = crate::data::approvals::find(&mut reader, detail.request.id).await.unwrap();
    assert!(kept.unwrap().keys.is_none());
}

#[tokio::test]
async fn of_many_answers_exactly_one_is_first_and_no_approval_counts_twice() {
    let mut owned = Owned::begin().await;
    owned.launch().await;
    let started = owned.story.next().await;
    let (vault, _) = Vault::of(owned.hub(), &started).await;
    let detail = owned.detail().await;
    let approval = owned.approval(&detail, &vault);
    let given = owned.given(&approval, &vault);
    let tries = (0..32).map(|_| owned.approve(&detail, &given));
    let answers = futures_util::future::join_all(tries).await;
    assert_eq!(answers.iter().filter(|answer| answer.status.is_success()).count(), 1);

    // And once more, later: its nonce is used up.
    assert_eq!(owned.approve(&detail, &given).await.code(), ErrorCode::KeyRefused);
}

#[tokio::test]
async fn what_cannot_count_is_refused_before_a_vault_sees_it() {
    let mut owned = Owned::begin().await;
    owned.launch().await;
    let started = owned.story.next().await;
    let (vault, _) = Vault::of(owned.hub(), &started).await;
    let detail = owned.detail().await;
    let good = owned.approval(&detail, &vault);
    let hub = owned.hub();
    let late = |second| api::Time::from_second(hub.now() + second).unwrap();
    let mut cases: Vec<(&str, GiveApproval)> = Vec::new();
    let mut changed = |what, change: &dyn Fn(&mut Approval)| {
        let mut approval = good.clone();
        change(&mut approval);
        cases.push((what, owned.given(&approval, &vault)));
    };
    changed("another hub", &|a| a.hub = "other".into());
    changed("another card", &|a| a.card = sha256(b"other"));
    changed("over", &|a| (a.not_before, a.expires) = (late(-900), late(0)));
    changed("not yet", &|a| (a.not_before, a.expires) = (late(600), late(900)));
    let run = |change: &dyn Fn(&mut RunApp), a: &mut Approval| {
        if let Act::App(run) = &mut a.act {
            change(run);
        }
    };
    changed("another task", &|a| run(&|r| r.task = api::TaskId::generate(), a));
    changed("another vault", &|a| run(&|r| r.vault.receipt_key = bytes(&signing_key()), a));
    let by = |key: &SigningKey| GiveApproval {
        approval: good.sign(key, None),
        keys: owned.given(&good, &vault).keys,
    };
    cases.push(("the words themselves", by(&owned.owner.words)));
    cases.push(("a writer", by(owned.ada())));
    cases.push(("the vault", by(&vault.key)));
    let mut foreign = owned.given(&good, &vault);
    foreign.keys[0].dataset = DatasetId::generate();
    cases.push(("a key of elsewhere", foreign));
    for (what, given) in cases {
        assert_eq!(owned.approve(&detail, &given).await.code(), ErrorCode::KeyRefused, "{what}");
    }
    // Only the owner answers, and only the vault that waits gets the answer.
    let bert = hub.person(&owned.story.ada, "Bert").await;
    let path = format!("/api/v1/approvals/{}", detail.request.id);
    assert_eq!(hub.get(&bert.key, &path).await.code(), ErrorCode::NotFound);
    let given = owned.given(&good, &vault);
    let refused = hub.call(&bert.key, "POST", &format!("{path}/approve"), &given).await;
    assert_eq!(refused.code(), ErrorCode::NotFound);
    owned.approve(&detail, &given).await.ok::<ApprovalRequest>();
    let tasks = format!("/api/v1/tasks/{}/approvals", vault.task);
    assert_eq!(hub.get(owned.ada(), &tasks).await.code(), ErrorCode::Forbidden);
}

#[tokio::test]
async fn a_revoked_device_approves_nothing_and_what_it_gave_expires() {
    let mut owned = Owned::begin().await;
    owned.launch().await;
    let started = owned.story.next().await;
    let (vault, _) = Vault::of(owned.hub(), &started).await;
    let detail = owned.detail().await;
    let given = owned.given(&owned.approval(&detail, &vault), &vault);
    owned.approve(&detail, &given).await.ok::<ApprovalRequest>();
    // Given, not yet fetched: the new card is quicker.
    owned.put_card(|card| card.devices.clear()).await.ok::<SignedStatement>();
    let after: Vec<TaskApproval> = owned.waiting(&vault).await.ok();
    assert_eq!((after[0].state, after[0].given.is_none()), (ApprovalState::Expired, true));
    let refused = owned.approve(&detail, &given).await;
    assert_eq!(refused.code(), ErrorCode::KeyRefused);
}

#[tokio::test]
async fn a_request_is_refused_or_expires_and_stays_so() {
    let mut owned = Owned::begin().await;
    owned.launch().await;
    let started = owned.story.next().await;
    let (vault, _) = Vault::of(owned.hub(), &started).await;
    let detail = owned.detail().await;
    let given = owned.given(&owned.approval(&detail, &vault), &vault);
    let path = format!("/api/v1/approvals/{}/refuse", detail.request.id);
    let (hub, ada) = (owned.hub(), owned.ada());
    let told = json!({"reason": "NA12878 is mine"});
    assert_eq!(hub.call(ada, "POST", &path, told).await.code(), ErrorCode::BadRequest);
    let refused: ApprovalRequest =
        hub.call(ada, "POST", &path, json!({"reason": "not now"})).await.ok();
    assert_eq!(
        (refused.state, refused.reason.as_deref()),
        (ApprovalState::Refused, Some("not now"))
    );
    assert_eq!(owned.approve(&detail, &given).await.code(), ErrorCode::Conflict);
    let told: Vec<TaskApproval> = owned.waiting(&vault).await.ok();
    assert_eq!(told[0].state, ApprovalState::Refused);
    assert_eq!(told[0].reason.as_deref(), Some("not now"));

    let mut owned = Owned::begin().await;
    owned.launch().await;
    let started = owned.story.next().await;
    let (vault, _) = Vault::of(owned.hub(), &started).await;
    let detail = owned.detail().await;
    let mut approval = owned.approval(&detail, &vault);
    approval.expires = api::Time::from_second(owned.hub().now() + 7_200).unwrap();
    let given = owned.given(&approval, &vault);
    owned.hub().pass(proof::APPROVAL_SECONDS);
    assert_eq!(owned.requests().await[0].state, ApprovalState::Expired);
    assert_eq!(owned.approve(&detail, &given).await.code(), ErrorCode::Conflict);
}

#[tokio::test]
async fn a_vault_starts_where_the_owner_let_it_and_an_unattested_one_gets_nothing() {
    let mut owned = Owned::begin().await;
    // A second project of the same owner, which is no trial.
    let mut card = owned.owner.card(owned.hub(), ProjectId::generate(), owned.ada());
    card.test = false;
    let create = owned.owner.create(&card);
    owned.hub().call(owned.ada(), "POST", "/api/v1/projects", &create).await.ok::<Project>();
    let open = || OpenDataset::create(DatasetId::generate(), card.project, card.digest()).unwrap();
    (owned.input, owned.result) = (open(), open());
    owned.card = card;
    owned.import(&owned.input).await;
    let session = owned.launch().await;
    let task = session.task;
    let (hub, ada) = (owned.hub(), owned.ada());
    let told = async || -> usize {
        let page: Page<api::Notice> = hub.get(ada, "/api/v1/notices").await.ok();
        let asked = page.items.iter().filter(|one| one.kind == api::NoticeKind::ApprovalAsked);
        asked.filter(|one| one.subject == format!("task:{task}")).count()
    };
    while told().await == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }

    let now = api::Time::from_second(hub.now()).unwrap();
    let boot = |nonce: &[u8], change: &dyn Fn(&mut Approval, &mut Boot)| {
        let mut boot = Boot {
            task,
            measurements: vec![Bytes(vec![1; 48])],
            policy: sha256(b"policy"),
            challenge: sha256(nonce),
        };
        let mut approval = Approval {
            hub: hub.hub.id.clone(),
            project: owned.card.project,
            owner: owned.card.owner.clone(),
            card: owned.card.digest(),
            purpose: sha256(b"purpose"),
            requester: owned.owner.account,
            nonce: sha256(nonce),
            not_before: now,
            expires: api::Time::from_second(hub.now() + 900).unwrap(),
            checkpoint: None,
            act: Act::Boot(boot.clone()),
        };
        change(&mut approval, &mut boot);
        approval.act = Act::Boot(boot);
        approval
    };
    let path = format!("/api/v1/tasks/{task}/boot");
    let device = &owned.owner.device;
    let good = boot(b"1", &|_, _| {});
    for (what, given) in [
        ("another task", boot(b"2", &|_, b| b.task = api::TaskId::generate()).sign(device, None)),
        ("another card", boot(b"3", &|a, _| a.card = sha256(b"other")).sign(device, None)),
        (
            "over",
            boot(b"4", &|a, _| {
                a.not_before = api::Time::from_second(now.as_second() - 900).unwrap();
                a.expires = now;
            })
            .sign(device, None),
        ),
        ("signed by the words", good.sign(&owned.owner.words, None)),
        ("signed by the account", good.sign(ada, None)),
    ] {
        let refused = hub.call(ada, "POST", &path, given).await;
        assert_eq!(refused.code(), ErrorCode::KeyRefused, "{what}");
    }
    let bert = hub.person(&owned.story.ada, "Bert").await;
    let given = good.sign(device, None);
    assert_eq!(hub.call(&bert.key, "POST", &path, &given).await.code(), ErrorCode::NotFound);
    hub.call(ada, "POST", &path, &given).await.ok::<Task>();
    assert_eq!(hub.call(ada, "POST", &path, &given).await.code(), ErrorCode::KeyRefused, "once");

    let started = owned.story.next().await;
    let hub = owned.hub();
    let vault = Vault::new(hub, started.task);
    let refused = vault.claim(hub, &started.ticket).await;
    assert_eq!(refused.code(), ErrorCode::KeyRefused);
    assert!(owned.requests().await.is_empty(), "nobody is asked for what cannot be");

    // A vault that shows a report is for the owner's device to appraise: the hub relays, and releases nothing.
    let card = sign_statement(&owned.card, &owned.owner.words);
    let evidence = proof::SnpEvidence {
        kind: EvidenceKind::Snp,
        task,
        recipient: Bytes(vault.secret.public().to_bytes()),
        boots: vec![api::BootGiven { approval: given, card }],
        report: Bytes(vec![0; 1184]),
        certificates: vec![],
        program: "a test".into(),
        at: now,
    };
    let claim = |key: &SigningKey| api::ClaimTask {
        ticket: started.ticket.clone(),
        evidence: sign_statement(&evidence, key),
    };
    let path = format!("/api/v1/tasks/{task}/claim");
    let proxied = hub.call(&vault.key, "POST", &path, claim(&signing_key())).await;
    assert_eq!(proxied.code(), ErrorCode::BadSignature, "another vault's evidence");
    let claimed: api::ClaimedTask =
        hub.call(&vault.key, "POST", &path, claim(&vault.key)).await.ok();
    let own = claimed.inputs.iter().filter(|input| input.kind != DatasetKind::App);
    assert!(own.map(|input| &input.key).all(|key| matches!(key, ClaimedKey::Awaited(_))));
    assert_eq!(owned.requests().await[0].state, ApprovalState::Pending);
}

#[tokio::test]
async fn a_key_that_is_moved_to_another_place_is_not_relayed() {
    let owned = Owned::begin().await;
    let place = DatasetContext {
        dataset: owned.input.dataset().to_bytes(),
        project: owned.card.project.to_bytes(),
        card_digest: owned.card.digest().0,
        epoch: 0,
    };
    let kept = owned.hub().hub.keys.dataset_key(place.dataset, 0).await.unwrap();
    let custodian = owned.hub().hub.custodian(Custodian::Owner).unwrap();
    assert!(custodian.relay(&place, &kept).unwrap().is_some());
    let moved = DatasetContext { dataset: [7; 16], ..place };
    assert!(custodian.relay(&moved, &kept).is_err());
}

#[tokio::test]
async fn what_is_an_owners_is_deleted_on_the_owners_approval_alone() {
    let owned = Owned::begin().await;
    let (hub, ada, id) = (owned.hub(), owned.ada(), owned.input.dataset());
    let now = hub.now();
    let approval = |act: Act, nonce: &[u8]| Approval {
        hub: hub.hub.id.clone(),
        project: owned.card.project,
        owner: owned.card.owner.clone(),
        card: owned.card.digest(),
        purpose: sha256(b"purpose"),
        requester: owned.owner.account,
        nonce: sha256(nonce),
        not_before: api::Time::from_second(now).unwrap(),
        expires: api::Time::from_second(now + 900).unwrap(),
        checkpoint: None,
        act,
    };
    let good = approval(Act::Delete(Delete { dataset: Some(id) }), b"1");
    let body = |given: Option<&Approval>, by: &SigningKey| json!({"confirm": id, "approval": given.map(|given| given.sign(by, None))});
    let device = &owned.owner.device;
    let project = approval(Act::Delete(Delete { dataset: None }), b"2");
    let other = approval(Act::Delete(Delete { dataset: Some(DatasetId::generate()) }), b"3");
    for (what, body) in [
        ("none", body(None, device)),
        ("the whole project's", body(Some(&project), device)),
        ("another dataset's", body(Some(&other), device)),
        ("signed by the words", body(Some(&good), &owned.owner.words)),
    ] {
        let refused = hub.call(ada, "DELETE", &at(id, ""), body).await;
        assert_eq!(refused.code(), ErrorCode::KeyRefused, "{what}");
    }
    hub.call(ada, "DELETE", &at(id, ""), body(Some(&good), device)).await.ok::<api::Deletion>();
    assert_eq!(hub.get(ada, &at(id, "")).await.code(), ErrorCode::NotFound);

    // The leaf names the approval, so that no device of the owner's takes it for the hub's own doing.
    let of = |object: String| format!("/api/v1/audit/events?object={object}");
    let told = |events: Page<api::Event>, act: &str| {
        let done = |event: &api::Event| event.act == act && event.outcome == api::Outcome::Done;
        let event = events.items.into_iter().find(done).unwrap();
        event.leaf.unwrap().approval
    };
    let events = hub.get(ada, &of(format!("dataset:{id}"))).await.ok();
    assert_eq!(told(events, "dataset.delete"), Some(good.digest()));
    let at = format!("/api/v1/projects/{}", owned.card.project);
    let all = json!({"confirm": owned.card.project, "approval": project.sign(device, None)});
    hub.call(ada, "DELETE", &at, all).await.ok::<api::Deletion>();
    let events = hub.get(ada, &of(format!("project:{}", owned.card.project))).await.ok();
    assert_eq!(told(events, "project.delete"), Some(project.digest()));
}

#[tokio::test]
async fn a_dataset_is_shared_with_whom_the_approval_names_and_nobody_else() {
    let owned = Owned::begin().await;
    let (hub, ada, id) = (owned.hub(), owned.ada(), owned.input.dataset());
    let bert = hub.person(&owned.story.ada, "Bert").await;
    let eve = hub.person(&owned.story.ada, "Eve").await;
    for member in [&bert, &eve] {
        let path = format!("/api/v1/projects/{}/members/{}", owned.card.project, member.account);
        hub.call(ada, "PUT", &path, json!({"right": "read"})).await.ok::<api::Member>();
    }
    let words = RecipientSecret::generate().unwrap();
    let manifest: SignedStatement = hub.get(ada, &at(id, "/manifest")).await.ok();
    let key = Release {
        dataset: id,
        project: owned.card.project,
        card_digest: owned.card.digest(),
        epoch: 0,
        wrapped_key: owned.input.wrap_to(&words.public().to_bytes()).unwrap(),
        leaf: None,
    };
    let share = |manifest: Digest, nonce: &[u8]| Approval {
        hub: hub.hub.id.clone(),
        project: owned.card.project,
        owner: owned.card.owner.clone(),
        card: owned.card.digest(),
        purpose: sha256(b"purpose"),
        requester: owned.owner.account,
        nonce: sha256(nonce),
        not_before: api::Time::from_second(hub.now()).unwrap(),
        expires: api::Time::from_second(hub.now() + 900).unwrap(),
        checkpoint: None,
        act: Act::Share(Share {
            input: Input { name: "dataset".into(), dataset: id, manifest },
            account: bert.account,
            recipient: Digest(words.public().fingerprint()),
        }),
    };
    let body = |approval: &Approval, by: &SigningKey| json!({"approval": approval.sign(by, None), "key": key});
    let device = &owned.owner.device;
    let good = share(digest_of(&manifest), b"1");
    let path = at(id, "/share");
    let stale = share(sha256(b"older content"), b"2");
    assert_eq!(
        hub.call(ada, "POST", &path, body(&stale, device)).await.code(),
        ErrorCode::Conflict
    );
    let forged = hub.call(ada, "POST", &path, body(&good, ada)).await;
    assert_eq!(forged.code(), ErrorCode::KeyRefused);
    assert_eq!(hub.get(&bert.key, &at(id, "/shared")).await.code(), ErrorCode::NotFound);
    hub.call(ada, "POST", &path, body(&good, device)).await.ok::<Dataset>();
    let twice = hub.call(ada, "POST", &path, body(&good, device)).await;
    assert_eq!(twice.code(), ErrorCode::KeyRefused);

    let theirs: OwnerKey = hub.get(&bert.key, &at(id, "/shared")).await.ok();
    let open = OpenDataset::from_release(&theirs.release, &words).unwrap();
    assert_eq!(open.key().expose(), owned.input.key().expose());
    assert_eq!(hub.get(&eve.key, &at(id, "/shared")).await.code(), ErrorCode::NotFound);
}

#[tokio::test]
async fn the_owner_hears_of_a_request_once_and_the_asker_of_a_refusal() {
    let mut owned = Owned::begin().await;
    let bert = owned.hub().person(&owned.story.ada, "Bert").await;
    let ada = owned.ada().clone();
    // The app's package lies in another project.
    for project in [owned.card.project, owned.story.project] {
        let path = format!("/api/v1/projects/{project}/members/{}", bert.account);
        owned.hub().call(&ada, "PUT", &path, json!({"right": "write"})).await.ok::<api::Member>();
    }
    let session = owned.launch_as(&bert.key).await;
    let started = owned.story.next().await;
    let (_vault, _) = Vault::of(owned.hub(), &started).await;
    let hub = owned.hub();
    let notices = async |key: &SigningKey| -> Vec<(api::NoticeKind, String)> {
        let page: Page<api::Notice> = hub.get(key, "/api/v1/notices").await.ok();
        page.items.into_iter().map(|notice| (notice.kind, notice.subject)).collect()
    };
    let id = owned.detail().await.request.id;
    let asked = (api::NoticeKind::ApprovalAsked, format!("approval:{id}"));
    let told = notices(&ada).await;
    assert_eq!(told.iter().filter(|one| one.0 == asked.0).collect::<Vec<_>>(), [&asked]);
    let path = format!("/api/v1/approvals/{id}/refuse");
    hub.call(&ada, "POST", &path, json!({"reason": "not now"})).await.ok::<ApprovalRequest>();
    let refused = (api::NoticeKind::ApprovalRefused, format!("session:{}", session.id));
    assert!(notices(&bert.key).await.contains(&refused));
    assert!(!notices(&ada).await.iter().any(|one| one.0 == refused.0));
}

/// What is said next on a line that stays open; nothing if it ended.
async fn said(words: &mut axum::body::Body) -> Option<String> {
    let next = tokio::time::timeout(std::time::Duration::from_secs(60), words.frame());
    let frame = next.await.expect("a line that is open says something at least now and then")?;
    Some(String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap())
}

#[tokio::test]
async fn a_device_hears_that_something_changed_and_never_what() {
    const PATH: &str = "/api/v1/approvals/changes";
    const WORD: &str = "data: changed\n\n";
    let mut owned = Owned::begin().await;
    let bert = owned.hub().person(&owned.story.ada, "Bert").await;
    let mut hers = owned.hub().words(owned.ada(), PATH).await;
    let mut stranger = owned.hub().words(&bert.key, PATH).await;
    assert_eq!(said(&mut hers).await.as_deref(), Some(WORD));
    assert_eq!(said(&mut stranger).await.as_deref(), Some(WORD));
    owned.launch().await;
    let started = owned.story.next().await;
    let (vault, _) = Vault::of(owned.hub(), &started).await;
    assert_eq!(said(&mut hers).await.as_deref(), Some(WORD), "a request came");
    let detail = owned.detail().await;
    let given = owned.given(&owned.approval(&detail, &vault), &vault);
    owned.approve(&detail, &given).await.ok::<ApprovalRequest>();
    assert_eq!(said(&mut hers).await.as_deref(), Some(WORD), "it was answered");
    // Whose list stays as it is hears that the line is there, and nothing else; with the hub every line ends.
    owned.hub().hub.stopping.cancel();
    while let Some(word) = said(&mut stranger).await {
        assert_eq!(word, ":\n\n");
    }
    while let Some(word) = said(&mut hers).await {
        assert!([WORD, ":\n\n"].contains(&word.as_str()), "{word}");
    }
}

#[tokio::test]
async fn so_many_devices_of_an_account_listen_and_no_more() {
    const PATH: &str = "/api/v1/approvals/changes";
    let owned = Owned::begin().await;
    let mut lines = Vec::new();
    for _ in 0..8 {
        lines.push(owned.hub().words(owned.ada(), PATH).await);
    }
    let refused = owned.hub().get(owned.ada(), PATH).await;
    assert_eq!(refused.code(), ErrorCode::TooManyRequests);
    lines.pop();
    assert!(owned.hub().get(owned.ada(), PATH).await.status.is_success());
}
