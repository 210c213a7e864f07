//! Tasks from the queue to the receipt, with vaults that sign and seal like real ones.

use api::{
    Acknowledged, App, AppId, AppSession, BeginReseal, Bytes, ClaimTask, ClaimedKey, ClaimedTask,
    Custodian, Dataset, DatasetId, DatasetKind, EndTask, ErrorCode, ExecutionState, KeyLimit,
    Launch, Page, ProjectId, RegisterApp, Requeue, Right, SessionId, SessionInput, Task, TaskId,
    TaskKind, TaskState,
};
use dataset::OpenDataset;
use proof::{
    EvidenceKind, Manifest, Receipt, ReceiptOutput, Released, SigningKey, UnattestedEvidence,
    digest_of, sign_statement,
};
use seal::recipient::RecipientSecret;
use serde_json::json;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::material::{
    at, card, close, content, creation, make, on_disk, put, put_all, read, released, sent,
};
use crate::engine::{self, SILENCE_SECONDS, Start, Ticket};
use crate::gate::{Origin, Place, Whose};
use crate::testing::{Answer, Person, TestHub, signing_key};

const READS: &[u8] = b"@A01234:7:HXXX:1:1101:1000:2000 1:N:0:ACGT\nGATTACA\n+\nFFFFFFF\n";

/// Stands in for what starts vaults: hands the ticket to the test, and ends when the test says or when it is stopped.
struct Handing(mpsc::UnboundedSender<Started>);

pub(super) struct Started {
    pub(super) task: TaskId,
    pub(super) ticket: String,
    /// Dropping it ends the process.
    process: oneshot::Sender<()>,
    stopped: CancellationToken,
}

#[async_trait::async_trait]
impl Start for Handing {
    async fn run(&self, task: TaskId, ticket: Ticket, stop: CancellationToken) {
        let (process, ended) = oneshot::channel();
        let ticket = ticket.expose().to_owned();
        self.0.send(Started { task, ticket, process, stopped: stop.clone() }).unwrap();
        tokio::select! {
            _ = ended => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Starts the queue of this hub; gives what it starts.
pub(super) fn queue(hub: &TestHub) -> mpsc::UnboundedReceiver<Started> {
    let (handing, started) = mpsc::unbounded_channel();
    engine::start_with(&hub.hub, Arc::new(Handing(handing)));
    started
}

pub(super) struct Story {
    pub(super) hub: TestHub,
    pub(super) ada: Person,
    pub(super) project: ProjectId,
    pub(super) started: mpsc::UnboundedReceiver<Started>,
}

impl Story {
    pub(super) async fn begin() -> Self {
        let hub = TestHub::start().await;
        let ada = hub.operator().await;
        let project = hub.project(&ada, "panel").await;
        let started = queue(&hub);
        Self { hub, ada, project, started }
    }

    pub(super) async fn next(&mut self) -> Started {
        self.started.recv().await.unwrap()
    }

    /// A run that is sent, closed and waits for its demultiplexing.
    pub(super) async fn run(&self) -> OpenDataset {
        self.run_by(&self.ada.key).await
    }

    /// As [`run`](Self::run), sent with this key.
    async fn run_by(&self, key: &SigningKey) -> OpenDataset {
        let open = make(&self.hub, key, self.project, DatasetKind::Run, "run").await;
        let files: [(&str, &[u8]); 1] = [("RunInfo.xml", READS)];
        let content = content(&open, &files);
        let manifest = put_all(&self.hub, key, &open, content, 1, None).await;
        let run: Dataset = close(&self.hub, key, key, &manifest, "?demultiplex=true").await.ok();
        assert_eq!(run.execution, ExecutionState::Processing);
        open
    }

    async fn dataset(&self, id: DatasetId) -> Dataset {
        self.hub.get(&self.ada.key, &at(id, "")).await.ok()
    }

    async fn task(&self, id: TaskId) -> Task {
        self.hub.get(&self.ada.key, &format!("/api/v1/tasks/{id}")).await.ok()
    }

    /// Waits until a task is in a state, by the engine's own doing.
    async fn until(&self, id: TaskId, state: TaskState) -> Task {
        loop {
            let task = self.task(id).await;
            if task.state == state {
                return task;
            }
            tokio::task::yield_now().await;
        }
    }
}

pub(super) struct Vault {
    pub(super) key: SigningKey,
    pub(super) secret: RecipientSecret,
    pub(super) evidence: api::SignedStatement,
    pub(super) task: TaskId,
}

impl Vault {
    pub(super) fn new(hub: &TestHub, task: TaskId) -> Self {
        let (key, secret) = (signing_key(), RecipientSecret::generate().unwrap());
        let evidence = UnattestedEvidence {
            kind: EvidenceKind::Unattested,
            task,
            recipient: Bytes(secret.public().to_bytes()),
            program: "test".into(),
            at: hub.hub.now(),
        };
        Self { evidence: sign_statement(&evidence, &key), key, secret, task }
    }

    pub(super) async fn claim(&self, hub: &TestHub, ticket: &str) -> Answer {
        let body = ClaimTask { ticket: ticket.into(), evidence: self.evidence.clone() };
        hub.call(&self.key, "POST", &format!("/api/v1/tasks/{}/claim", self.task), body).await
    }

    /// A vault that claimed what was started.
    pub(super) async fn of(hub: &TestHub, started: &Started) -> (Self, ClaimedTask) {
        let vault = Self::new(hub, started.task);
        let claimed = vault.claim(hub, &started.ticket).await.ok();
        (vault, claimed)
    }

    pub(super) fn open(&self, key: &ClaimedKey) -> OpenDataset {
        let ClaimedKey::Released(release) = key else { panic!("the key is an owner's") };
        OpenDataset::from_release(release, &self.secret).unwrap()
    }

    pub(super) fn receipt(
        &self,
        claimed: &ClaimedTask,
        outputs: &[&Manifest],
        complete: bool,
    ) -> Receipt {
        let at = claimed.task.started.unwrap();
        let named = |manifest: &&Manifest| ReceiptOutput {
            dataset: manifest.dataset,
            manifest: digest_of(&sign_statement(*manifest, &self.key)),
        };
        Receipt {
            hub: claimed.hub.clone(),
            task: self.task,
            kind: claimed.task.kind,
            custodian: Custodian::Platform,
            released: Released::Policy,
            evidence: EvidenceKind::Unattested,
            evidence_digest: digest_of(&self.evidence),
            app: match claimed.task.kind {
                TaskKind::Query => Some(proof::sha256(api::query::APP_DIGEST_OF.as_bytes())),
                _ => claimed.app.as_ref().map(|app| app.digest),
            },
            inputs: claimed
                .inputs
                .iter()
                .map(|input| ReceiptOutput {
                    dataset: input.key.place().dataset,
                    manifest: digest_of(&input.manifest),
                })
                .collect(),
            outputs: outputs.iter().map(named).collect(),
            log: proof::receipt_log(claimed, &[]).unwrap(),
            complete,
            started: at,
            ended: at,
        }
    }

    pub(super) async fn end(&self, hub: &TestHub, receipt: &Receipt) -> Answer {
        let body = EndTask {
            complete: receipt.complete,
            reason: (!receipt.complete)
                .then(|| "the sheet names a project that maps nowhere".into()),
            receipt: sign_statement(receipt, &self.key),
        };
        hub.call(&self.key, "POST", &format!("/api/v1/tasks/{}/end", self.task), body).await
    }

    /// Makes a sample of `run`, fills and closes it.
    pub(super) async fn sample(
        &self,
        hub: &TestHub,
        project: ProjectId,
        run: DatasetId,
    ) -> Manifest {
        let card = card(hub, &self.key, project).await;
        let open = OpenDataset::create(DatasetId::generate(), project, card).unwrap();
        let body = creation(hub, &open, DatasetKind::Sample, "sample 1", Some(run));
        let made: Dataset = hub.call(&self.key, "POST", "/api/v1/datasets", body).await.ok();
        assert_eq!((made.task, made.name), (Some(self.task), None));
        let manifest =
            put_all(hub, &self.key, &open, content(&open, &[("s1_R1.fastq.gz", READS)]), 1, None)
                .await;
        let closed: Dataset = close(hub, &self.key, &self.key, &manifest, "").await.ok();
        assert_eq!(closed.execution, ExecutionState::Processing);
        manifest
    }
}

#[tokio::test]
async fn a_task_is_claimed_with_its_ticket_once_and_by_one_vault() {
    let mut story = Story::begin().await;
    let run = story.run().await;
    let started = story.next().await;
    let hub = &story.hub;
    let vault = Vault::new(hub, started.task);
    assert_eq!(vault.claim(hub, "0000").await.code(), ErrorCode::BadCode);
    let elsewhere = Vault::new(hub, TaskId::generate());
    assert_eq!(elsewhere.claim(hub, &started.ticket).await.code(), ErrorCode::BadCode);
    let other_evidence = Vault { task: started.task, ..elsewhere };
    assert_eq!(other_evidence.claim(hub, &started.ticket).await.code(), ErrorCode::KeyRefused);

    let claimed: ClaimedTask = vault.claim(hub, &started.ticket).await.ok();
    assert_eq!(
        (claimed.task.state, claimed.task.kind),
        (TaskState::Running, TaskKind::Demultiplex)
    );
    assert_eq!(claimed.inputs[0].name, "run");
    let open = vault.open(&claimed.inputs[0].key);
    assert_eq!(read(hub, &vault.key, &open).await, [("RunInfo.xml".to_owned(), READS.to_vec())]);
    assert_eq!(
        open.open_label("dataset settings", claimed.settings.as_ref().unwrap()).unwrap(),
        b"{}"
    );
    assert_eq!(open.key().expose(), run.key().expose());

    // An answer that was lost may be asked for again; nobody else gets it.
    vault.claim(hub, &started.ticket).await.ok::<ClaimedTask>();
    assert_eq!(
        Vault::new(hub, started.task).claim(hub, &started.ticket).await.code(),
        ErrorCode::BadCode
    );
    let events: Page<api::Event> = hub
        .get(&story.ada.key, &format!("/api/v1/audit/events?object=dataset:{}", run.dataset()))
        .await
        .ok();
    let actor = format!("vault:{}", started.task);
    assert!(events.items.iter().any(|event| event.act == "key.release" && event.actor == actor));
    drop(started.process);
}

#[tokio::test]
async fn a_vault_that_is_expected_does_not_wait_behind_strangers() {
    let mut story = Story::begin().await;
    story.run().await;
    let started = story.next().await;
    let hub = &story.hub;
    let mut held = Vec::new();
    for n in 0..=255 {
        let place = Place::V4([192, 0, n, 1].into());
        let from = Origin { place: Some(place), shared: false };
        held.push(hub.hub.gate.bodies.room(Whose::Stranger(from), 64 << 10).await.unwrap());
    }
    let vault = Vault::new(hub, started.task);
    let claim = vault.claim(hub, &started.ticket);
    let answer = tokio::time::timeout(std::time::Duration::from_secs(5), claim).await;
    answer.expect("it does not wait").ok::<ClaimedTask>();
    drop((started.process, held));
}

#[tokio::test]
async fn a_vault_makes_nothing_in_a_project_that_the_key_which_queued_its_task_does_not_find() {
    for is_limited in [true, false] {
        let mut story = Story::begin().await;
        let (hub, ada) = (&story.hub, &story.ada);
        let other = hub.project(ada, "other").await;
        let limit =
            KeyLimit { projects: Some(vec![story.project]), scope: Right::Create, expires: None };
        let script = hub.limited(ada, &limit).await;
        story.run_by(if is_limited { &script } else { &story.ada.key }).await;
        let started = story.next().await;
        let (vault, _claimed) = Vault::of(&story.hub, &started).await;
        let card = |project| format!("/api/v1/projects/{project}/card");
        story.hub.get(&vault.key, &card(story.project)).await.ok::<api::SignedStatement>();
        let beyond = story.hub.get(&vault.key, &card(other)).await;
        if is_limited {
            assert_eq!(beyond.code(), ErrorCode::NotFound);
        } else {
            beyond.ok::<api::SignedStatement>();
        }
        drop(started.process);
    }
}

#[tokio::test]
async fn a_vault_reaches_what_its_task_names_and_nothing_else() {
    let mut story = Story::begin().await;
    let run = story.run().await;
    let started = story.next().await;
    let (hub, ada) = (&story.hub, &story.ada);
    let (vault, _claimed) = Vault::of(hub, &started).await;
    let other = sent(hub, &ada.key, story.project, DatasetKind::Run, &[("x", READS)]).await;
    for rest in ["", "/manifest", "/objects", "/settings", "/files"] {
        let path = at(other.dataset(), rest);
        assert_eq!(hub.get(&vault.key, &path).await.code(), ErrorCode::NotFound, "{path}");
    }
    let release =
        json!({"recipient": Bytes(vault.secret.public().to_bytes()), "purpose": "download"});
    for (id, code) in
        [(other.dataset(), ErrorCode::NotFound), (run.dataset(), ErrorCode::Forbidden)]
    {
        let answer = hub.call(&vault.key, "POST", &at(id, "/release"), &release).await;
        assert_eq!(answer.code(), code);
    }
    // It reads its input and does not write it.
    let part = content(&run, &[("y", READS)]).parts.remove(0);
    assert_eq!(put(hub, &vault.key, &run, &part).await.code(), ErrorCode::Forbidden);
    for path in ["/api/v1/datasets", "/api/v1/projects", "/api/v1/accounts", "/api/v1/store"] {
        assert_eq!(hub.get(&vault.key, path).await.code(), ErrorCode::Forbidden, "{path}");
    }
    // Nor does it make anything that is no part of the run it works on, or in a project its owner may not fill.
    let digest = card(hub, &vault.key, story.project).await;
    let open = OpenDataset::create(DatasetId::generate(), story.project, digest).unwrap();
    let alien = creation(hub, &open, DatasetKind::Sample, "s", Some(other.dataset()));
    let answer = hub.call(&vault.key, "POST", "/api/v1/datasets", alien).await;
    assert_eq!(answer.code(), ErrorCode::BadRequest);
    let bob = hub.person(ada, "Bob").await;
    let theirs = hub.project(&bob, "theirs").await;
    let open = OpenDataset::create(DatasetId::generate(), theirs, digest).unwrap();
    let body = creation(hub, &open, DatasetKind::Sample, "s", Some(run.dataset()));
    let answer = hub.call(&vault.key, "POST", "/api/v1/datasets", body).await;
    assert_eq!(answer.code(), ErrorCode::NotFound);
    let path = format!("/api/v1/projects/{theirs}/card");
    assert_eq!(hub.get(&vault.key, &path).await.code(), ErrorCode::NotFound);
}

#[tokio::test]
async fn samples_are_whole_when_the_receipt_holds_and_older_ones_are_superseded() {
    let mut story = Story::begin().await;
    let run = story.run().await;
    let id = run.dataset();
    let started = story.next().await;
    let (vault, claimed) = Vault::of(&story.hub, &started).await;
    let first = vault.sample(&story.hub, story.project, id).await;
    let hub = &story.hub;

    let good = vault.receipt(&claimed, &[&first], true);
    let other = proof::sha256(b"other");
    let changed = ReceiptOutput { dataset: first.dataset, manifest: other };
    let (mut other_leaf, mut other_checkpoint) = (good.log.clone(), good.log.clone());
    other_leaf.leaves[0].leaf -= 1;
    let ours = proof::log::origin_of(&story.hub.hub.id);
    let checkpoint = proof::log::Checkpoint { origin: ours, size: 1 << 20, root: other };
    other_checkpoint.checkpoint = checkpoint.sign(&vault.key).to_string();
    let wrong = [
        Receipt { hub: "another".into(), ..good.clone() },
        Receipt { task: TaskId::generate(), ..good.clone() },
        Receipt { kind: TaskKind::App, ..good.clone() },
        Receipt { evidence_digest: other, ..good.clone() },
        Receipt { evidence: EvidenceKind::Snp, ..good.clone() },
        Receipt { app: Some(other), ..good.clone() },
        Receipt { inputs: vec![], ..good.clone() },
        Receipt { outputs: vec![], ..good.clone() },
        Receipt { custodian: Custodian::Owner, ..good.clone() },
        Receipt { log: other_leaf, ..good.clone() },
        Receipt { log: other_checkpoint, ..good.clone() },
        Receipt { outputs: vec![changed], ..good.clone() },
    ];
    for receipt in wrong {
        assert_eq!(vault.end(hub, &receipt).await.code(), ErrorCode::DigestMismatch, "{receipt:?}");
    }
    let body =
        EndTask { complete: true, reason: None, receipt: sign_statement(&good, &signing_key()) };
    let answer =
        hub.call(&vault.key, "POST", &format!("/api/v1/tasks/{}/end", vault.task), body).await;
    assert_eq!(answer.code(), ErrorCode::DigestMismatch);

    let ended: Task = vault.end(hub, &good).await.ok();
    assert_eq!((ended.state, ended.percent), (TaskState::Complete, 100));
    assert!(ended.receipt.is_some());
    drop(started.process);
    assert_eq!(story.dataset(first.dataset).await.execution, ExecutionState::Complete);
    assert_eq!(story.dataset(id).await.execution, ExecutionState::Complete);
    // With the task its vault is nobody.
    assert_eq!(hub.get(&vault.key, &at(id, "")).await.code(), ErrorCode::UnknownKey);

    let settings = run.seal_label("requeue settings", b"{}").unwrap();
    let requeued: Task = hub
        .call(&story.ada.key, "POST", &format!("/api/v1/runs/{id}/requeue"), Requeue { settings })
        .await
        .ok();
    assert_eq!(requeued.state, TaskState::Queued);
    let again = hub
        .call(
            &story.ada.key,
            "POST",
            &format!("/api/v1/runs/{id}/requeue"),
            Requeue { settings: run.seal_label("requeue settings", b"{}").unwrap() },
        )
        .await;
    assert_eq!(again.code(), ErrorCode::Conflict);
    let started = story.next().await;
    let (vault, claimed) = Vault::of(&story.hub, &started).await;
    assert!(claimed.requeue);
    let opened = vault.open(&claimed.inputs[0].key);
    assert_eq!(
        opened.open_label("requeue settings", claimed.settings.as_ref().unwrap()).unwrap(),
        b"{}"
    );
    let second = vault.sample(&story.hub, story.project, id).await;
    assert_eq!(story.dataset(first.dataset).await.execution, ExecutionState::Complete);
    vault.end(&story.hub, &vault.receipt(&claimed, &[&second], true)).await.ok::<Task>();
    assert_eq!(story.dataset(first.dataset).await.execution, ExecutionState::Superseded);
    assert_eq!(story.dataset(second.dataset).await.execution, ExecutionState::Complete);
    let samples: Page<Dataset> =
        story.hub.get(&story.ada.key, &format!("/api/v1/samples?parent={id}")).await.ok();
    assert_eq!(samples.items.len(), 2);
}

#[tokio::test]
async fn what_is_made_of_a_run_while_it_arrives_is_taken_up_at_its_end_and_then_deleted() {
    let mut story = Story::begin().await;
    let open = make(&story.hub, &story.ada.key, story.project, DatasetKind::Run, "run").await;
    let (id, key) = (open.dataset(), story.ada.key.clone());
    let files: [(&str, &[u8]); 1] = [("RunInfo.xml", READS)];
    let content = content(&open, &files);
    let first = put_all(&story.hub, &key, &open, content, 1, None).await;
    let told = "?demultiplex=true&more=true";
    let run: Dataset = close(&story.hub, &key, &key, &first, told).await.ok();
    assert_eq!((run.execution, run.manifest_number), (ExecutionState::Receiving, 1));
    let requeue = Requeue { settings: Bytes(vec![1]) };
    let path = format!("/api/v1/runs/{id}/requeue");
    let again = story.hub.call(&key, "POST", &path, requeue).await;
    assert_eq!(again.code(), ErrorCode::Conflict, "it is not closed");

    let started = story.next().await;
    let (vault, claimed) = Vault::of(&story.hub, &started).await;
    assert!(claimed.early && claimed.inputs.len() == 1);
    let so_far = vault.sample(&story.hub, story.project, id).await;
    vault.end(&story.hub, &vault.receipt(&claimed, &[&so_far], true)).await.ok::<Task>();
    assert_eq!(story.dataset(id).await.execution, ExecutionState::Receiving);

    let previous = Some(digest_of(&sign_statement(&first, &key)));
    let last = Manifest { number: 2, previous, ..first.clone() };
    let run: Dataset = close(&story.hub, &key, &key, &last, "?demultiplex=true").await.ok();
    assert_eq!(run.execution, ExecutionState::Processing);
    let previous = Some(digest_of(&sign_statement(&last, &key)));
    let more = Manifest { number: 3, previous, ..last.clone() };
    let after = close(&story.hub, &key, &key, &more, "?more=true").await;
    assert_eq!(after.code(), ErrorCode::Conflict, "it is closed");

    let started = story.next().await;
    let (vault, claimed) = Vault::of(&story.hub, &started).await;
    assert!(!claimed.early);
    let names: Vec<_> = claimed.inputs.iter().map(|input| input.name.as_str()).collect();
    assert_eq!(names, ["run", "so far"]);
    assert_eq!(claimed.inputs[1].key.place().dataset, so_far.dataset);
    let sample = vault.sample(&story.hub, story.project, id).await;
    vault.end(&story.hub, &vault.receipt(&claimed, &[&sample], true)).await.ok::<Task>();
    assert_eq!(story.dataset(id).await.execution, ExecutionState::Complete);
    assert_eq!(story.dataset(sample.dataset).await.execution, ExecutionState::Complete);
    let gone = story.hub.get(&key, &at(so_far.dataset, "")).await;
    assert_eq!(gone.code(), ErrorCode::NotFound);
    // The log says so, as of everything that a hub destroys.
    let events = format!("/api/v1/audit/events?object=dataset:{}", so_far.dataset);
    let events: Page<api::Event> = story.hub.get(&key, &events).await.ok();
    let told = events.items.last().unwrap();
    assert_eq!((told.act.as_str(), told.actor.as_str()), ("dataset.delete", "hub"));
}

#[tokio::test]
async fn a_task_that_fails_leaves_a_run_that_needs_attention() {
    let mut story = Story::begin().await;
    let run = story.run().await;
    let started = story.next().await;
    let (vault, claimed) = Vault::of(&story.hub, &started).await;
    let sample = vault.sample(&story.hub, story.project, run.dataset()).await;
    vault.end(&story.hub, &vault.receipt(&claimed, &[], false)).await.ok::<Task>();
    let task = story.task(started.task).await;
    assert_eq!(task.state, TaskState::Failed);
    let reason = "the sheet names a project that maps nowhere";
    for (id, state) in
        [(run.dataset(), ExecutionState::NeedsAttention), (sample.dataset, ExecutionState::Failed)]
    {
        let shown = story.dataset(id).await;
        assert_eq!((shown.execution, shown.reason.as_deref()), (state, Some(reason)));
    }
}

#[tokio::test]
async fn a_task_whose_vault_is_lost_waits_once_more_and_then_has_failed() {
    let mut story = Story::begin().await;
    let run = story.run().await;
    let first = story.next().await;
    let (vault, _) = Vault::of(&story.hub, &first).await;
    let sample = vault.sample(&story.hub, story.project, run.dataset()).await;
    drop(first.process);
    let second = story.next().await;
    assert_eq!(second.task, first.task);
    assert_ne!(second.ticket, first.ticket);
    // What the lost one made is gone, since the next one makes its own, and it is nobody now.
    let gone = story.hub.get(&story.ada.key, &format!("/api/v1/datasets/{}", sample.dataset)).await;
    assert_eq!(gone.code(), ErrorCode::NotFound);
    assert_eq!(vault.claim(&story.hub, &first.ticket).await.code(), ErrorCode::BadCode);
    drop(second.process);
    let task = story.until(first.task, TaskState::Failed).await;
    assert_eq!(task.reason.as_deref(), Some("its vault ended without a receipt"));
    assert_eq!(story.dataset(run.dataset()).await.execution, ExecutionState::NeedsAttention);
}

#[tokio::test]
async fn a_vault_that_an_earlier_start_left_behind_is_given_up_when_it_is_silent() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let project = hub.project(&ada, "panel").await;
    let story = Story { hub, ada, project, started: mpsc::unbounded_channel().1 };
    let run = story.run().await;
    let tasks: Page<Task> = story
        .hub
        .get(&story.ada.key, &format!("/api/v1/tasks?subject={}", run.dataset()))
        .await
        .ok();
    let id = tasks.items[0].id;
    let mut tx = story.hub.hub.db.write().await.unwrap();
    crate::data::tasks::set_ticket(&mut tx, id, proof::sha256(b"left behind")).await.unwrap();
    tx.commit().await.unwrap();
    let vault = Vault::new(&story.hub, id);
    vault.claim(&story.hub, "left behind").await.ok::<ClaimedTask>();

    story.hub.pass(SILENCE_SECONDS);
    let alive = json!({"percent": 40});
    let path = format!("/api/v1/tasks/{id}/progress");
    let told: Task = story.hub.call(&vault.key, "POST", &path, alive).await.ok();
    assert_eq!(told.percent, 40);
    let (handing, mut started) = mpsc::unbounded_channel();
    story.hub.pass(SILENCE_SECONDS + 1);
    engine::start_with(&story.hub.hub, Arc::new(Handing(handing)));
    let again = started.recv().await.unwrap();
    assert_eq!(again.task, id);
    assert_ne!(again.ticket, "left behind");
}

pub(super) async fn registered(story: &Story) -> App {
    let package = sent(
        &story.hub,
        &story.ada.key,
        story.project,
        DatasetKind::App,
        &[("package.chorionapp", b"a package")],
    )
    .await;
    let body = RegisterApp {
        id: AppId::generate(),
        name: "align".into(),
        version: "1.0.0".into(),
        title: "Aligns reads".into(),
        digest: proof::sha256(b"app"),
        package: package.dataset(),
        manifest: "{}".into(),
    };
    let app: App = story.hub.call(&story.ada.key, "POST", "/api/v1/apps", &body).await.ok();
    let again: App = story.hub.call(&story.ada.key, "POST", "/api/v1/apps", &body).await.ok();
    assert_eq!(app, again);
    app
}

async fn launch(story: &Story, app: &App, input: DatasetId) -> (Launch, OpenDataset) {
    let digest = card(&story.hub, &story.ada.key, story.project).await;
    let open = OpenDataset::create(DatasetId::generate(), story.project, digest).unwrap();
    let body = Launch {
        id: SessionId::generate(),
        app: app.id,
        inputs: vec![SessionInput { name: "reads".into(), dataset: input }],
        project: story.project,
        wrapped_key: open.wrap_to(&story.hub.recipient().to_bytes()).unwrap(),
        result: open.dataset(),
        card_digest: digest,
        settings: open.seal_label("launch settings", b"{}").unwrap(),
        label: open.seal_label("dataset name", b"aligned").unwrap(),
    };
    (body, open)
}

#[tokio::test]
async fn an_app_turns_an_input_into_a_result() {
    let mut story = Story::begin().await;
    let app = registered(&story).await;
    let input =
        sent(&story.hub, &story.ada.key, story.project, DatasetKind::Run, &[("r", READS)]).await;
    let (body, _) = launch(&story, &app, input.dataset()).await;
    let session: AppSession =
        story.hub.call(&story.ada.key, "POST", "/api/v1/appsessions", &body).await.ok();
    let again: AppSession =
        story.hub.call(&story.ada.key, "POST", "/api/v1/appsessions", &body).await.ok();
    assert_eq!(session.task, again.task);
    assert_eq!(session.inputs, body.inputs);

    let started = story.next().await;
    let (vault, claimed) = Vault::of(&story.hub, &started).await;
    let names: Vec<&str> = claimed.inputs.iter().map(|input| input.name.as_str()).collect();
    assert_eq!(names, ["reads", "package"]);
    assert_eq!(claimed.app.as_ref(), Some(&app));
    let result = claimed.result.as_ref().unwrap();
    let open = vault.open(&result.key);
    assert_eq!(open.open_label("launch settings", &result.settings).unwrap(), b"{}");
    let files: [(&str, &[u8]); 2] = [("a.bam", READS), ("log/stdout.txt", b"")];
    let manifest = put_all(&story.hub, &vault.key, &open, content(&open, &files), 1, None).await;
    close(&story.hub, &vault.key, &vault.key, &manifest, "").await.ok::<Dataset>();
    vault.end(&story.hub, &vault.receipt(&claimed, &[&manifest], true)).await.ok::<Task>();

    let path = format!("/api/v1/appsessions/{}", session.id);
    let ended: AppSession = story.hub.get(&story.ada.key, &path).await.ok();
    assert_eq!(ended.state, TaskState::Complete);
    let shown = story.dataset(body.result).await;
    assert_eq!(
        (shown.execution, shown.name.as_deref()),
        (ExecutionState::Complete, Some("aligned"))
    );
    assert_eq!(shown.session, Some(session.id));
    let mine = released(&story.hub, &story.ada.key, body.result).await;
    assert_eq!(
        read(&story.hub, &story.ada.key, &mine).await[0],
        ("a.bam".to_owned(), READS.to_vec())
    );
    let cancelled: AppSession =
        story.hub.call(&story.ada.key, "POST", &format!("{path}/cancel"), ()).await.ok();
    assert_eq!(cancelled.state, TaskState::Complete);
}

#[tokio::test]
async fn a_query_is_a_session_of_the_vaults_own_app_with_one_input() {
    let mut story = Story::begin().await;
    let app = registered(&story).await;
    let input =
        sent(&story.hub, &story.ada.key, story.project, DatasetKind::Run, &[("r", READS)]).await;
    let (mut body, _) = launch(&story, &app, input.dataset()).await;
    body.app = api::query::APP;
    let two = vec![
        body.inputs[0].clone(),
        SessionInput { name: "more".into(), ..body.inputs[0].clone() },
    ];
    let several = Launch { inputs: two, ..body.clone() };
    let refused = story.hub.call(&story.ada.key, "POST", "/api/v1/appsessions", &several).await;
    assert_eq!(refused.code(), ErrorCode::BadRequest, "it asks one dataset");
    let session: AppSession =
        story.hub.call(&story.ada.key, "POST", "/api/v1/appsessions", &body).await.ok();
    assert_eq!((session.app_name.as_str(), session.app), ("query", api::query::APP));

    let started = story.next().await;
    let (vault, claimed) = Vault::of(&story.hub, &started).await;
    assert_eq!(claimed.task.kind, TaskKind::Query);
    assert_eq!((claimed.inputs.len(), claimed.app.is_none()), (1, true));
    let open = vault.open(&claimed.result.as_ref().unwrap().key);
    let files: [(&str, &[u8]); 1] = [("answer.json.chorion", b"sealed")];
    let manifest = put_all(&story.hub, &vault.key, &open, content(&open, &files), 1, None).await;
    close(&story.hub, &vault.key, &vault.key, &manifest, "").await.ok::<Dataset>();
    let path = format!("/api/v1/appsessions/{}", session.id);
    vault.end(&story.hub, &vault.receipt(&claimed, &[&manifest], true)).await.ok::<Task>();
    let ended: AppSession = story.hub.get(&story.ada.key, &path).await.ok();
    assert_eq!(ended.state, TaskState::Complete);
}

#[tokio::test]
async fn a_cancelled_session_ends_its_vault_and_its_result() {
    let mut story = Story::begin().await;
    let app = registered(&story).await;
    let input =
        sent(&story.hub, &story.ada.key, story.project, DatasetKind::Run, &[("r", READS)]).await;
    let (body, _) = launch(&story, &app, input.dataset()).await;
    let session: AppSession =
        story.hub.call(&story.ada.key, "POST", "/api/v1/appsessions", &body).await.ok();
    let started = story.next().await;
    let (vault, claimed) = Vault::of(&story.hub, &started).await;
    let path = format!("/api/v1/appsessions/{}/cancel", session.id);
    let cancelled: AppSession = story.hub.call(&story.ada.key, "POST", &path, ()).await.ok();
    assert_eq!(cancelled.state, TaskState::Cancelled);
    started.stopped.cancelled().await;
    let refused = vault.end(&story.hub, &vault.receipt(&claimed, &[], false)).await;
    assert_eq!(refused.code(), ErrorCode::UnknownKey);
    assert_eq!(story.dataset(body.result).await.execution, ExecutionState::Failed);
}

#[tokio::test]
async fn the_next_vault_of_a_session_begins_the_result_anew() {
    let mut story = Story::begin().await;
    let app = registered(&story).await;
    let input =
        sent(&story.hub, &story.ada.key, story.project, DatasetKind::Run, &[("r", READS)]).await;
    let (body, _) = launch(&story, &app, input.dataset()).await;
    story.hub.call(&story.ada.key, "POST", "/api/v1/appsessions", &body).await.ok::<AppSession>();
    let first = story.next().await;
    let (vault, claimed) = Vault::of(&story.hub, &first).await;
    let open = vault.open(&claimed.result.as_ref().unwrap().key);
    let half = content(&open, &[("a.bam", b"half of it")]).parts.remove(0);
    put(&story.hub, &vault.key, &open, &half).await.ok::<Acknowledged>();
    drop(first.process);

    let second = story.next().await;
    let (vault, claimed) = Vault::of(&story.hub, &second).await;
    let open = vault.open(&claimed.result.as_ref().unwrap().key);
    let whole = content(&open, &[("a.bam", READS)]);
    let manifest = put_all(&story.hub, &vault.key, &open, whole, 1, None).await;
    close(&story.hub, &vault.key, &vault.key, &manifest, "").await.ok::<Dataset>();
    vault.end(&story.hub, &vault.receipt(&claimed, &[&manifest], true)).await.ok::<Task>();
    let mine = released(&story.hub, &story.ada.key, body.result).await;
    assert_eq!(
        read(&story.hub, &story.ada.key, &mine).await,
        [("a.bam".to_owned(), READS.to_vec())]
    );
    assert_eq!(on_disk(&story.hub, &half.wrapped_key), Vec::<std::path::PathBuf>::new());
}

/// Queues a re-seal as a transfer does.
async fn reseal(story: &Story) {
    let caller = crate::app::Caller {
        who: crate::app::Who::Account {
            account: api::Account {
                id: story.ada.account,
                name: "ada".into(),
                operator: true,
                created: story.hub.hub.now(),
                disabled: None,
                belongs: None,
            },
            key: api::Key {
                id: story.ada.key.public().id(),
                account: story.ada.account,
                kind: api::KeyKind::Person,
                name: "laptop".into(),
                public_key: Bytes(story.ada.key.public().to_bytes().to_vec()),
                created: story.hub.hub.now(),
                revoked: None,
                limit: None,
                app: None,
            },
        },
        request: api::RequestId::generate(),
        at: story.hub.hub.now(),
        seen: story.hub.hub.db.seen().clone(),
    };
    let hub = &story.hub.hub;
    let mut tx = hub.db.write().await.unwrap();
    let tasks =
        crate::app::tasks::queue_reseal(hub, &mut tx, &caller, story.project).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(tasks.len(), 1);
    hub.engine.wake();
}

#[tokio::test]
async fn after_a_re_seal_the_old_key_opens_nothing_that_is_left() {
    let mut story = Story::begin().await;
    let old =
        sent(&story.hub, &story.ada.key, story.project, DatasetKind::Run, &[("x", READS)]).await;
    let id = old.dataset();
    let before: Page<api::SealedObject> =
        story.hub.get(&story.ada.key, &at(id, "/objects")).await.ok();
    let old_key = story.hub.hub.keys.dataset_key(id.to_bytes(), 0).await.unwrap();
    reseal(&story).await;
    let started = story.next().await;
    let (vault, claimed) = Vault::of(&story.hub, &started).await;
    assert_eq!(claimed.task.kind, TaskKind::Reseal);
    let hub = &story.hub;
    let input = vault.open(&claimed.inputs[0].key);
    let new = input.next_epoch(card(hub, &vault.key, story.project).await).unwrap();
    let begin = |epoch| BeginReseal {
        epoch,
        card_digest: new.card_digest(),
        wrapped_key: new.wrap_to(&hub.recipient().to_bytes()).unwrap(),
        label: new.seal_label("dataset name", b"240611_A01234").unwrap(),
        settings: Some(new.seal_label("dataset settings", b"{}").unwrap()),
    };
    let path = format!("/api/v1/tasks/{}/reseal", started.task);
    assert_eq!(hub.call(&vault.key, "POST", &path, begin(2)).await.code(), ErrorCode::Conflict);
    hub.call(&vault.key, "POST", &path, begin(1)).await.ok::<Dataset>();

    // Meanwhile the old epoch is in force, and takes nothing that would be lost with it.
    let late = content(&old, &[("late", READS)]).parts.remove(0);
    assert_eq!(put(hub, &story.ada.key, &old, &late).await.code(), ErrorCode::Conflict);
    assert_eq!(read(hub, &story.ada.key, &old).await, [("x".to_owned(), READS.to_vec())]);

    let previous = Some(digest_of(&claimed.inputs[0].manifest));
    let manifest =
        put_all(hub, &vault.key, &new, content(&new, &[("x", READS)]), 2, previous).await;
    let swapped: Dataset = close(hub, &vault.key, &vault.key, &manifest, "").await.ok();
    assert_eq!((swapped.epoch, swapped.manifest_number, swapped.objects), (1, 2, 2));
    vault.end(hub, &vault.receipt(&claimed, &[&manifest], true)).await.ok::<Task>();
    drop(started.process);

    let shown = story.dataset(id).await;
    assert_eq!((shown.epoch, shown.name.as_deref()), (1, Some("240611_A01234")));
    assert_eq!(shown.execution, ExecutionState::Complete);
    let mine = released(hub, &story.ada.key, id).await;
    assert_eq!(read(hub, &story.ada.key, &mine).await, [("x".to_owned(), READS.to_vec())]);
    assert_ne!(mine.key().expose(), old.key().expose());
    assert!(old.open_label("dataset name", &shown.label).is_err());
    for object in &before.items {
        let path = at(id, &format!("/objects/{}", object.object));
        assert_eq!(hub.get(&story.ada.key, &path).await.code(), ErrorCode::NotFound);
        assert_eq!(on_disk(hub, &object.wrapped_key.0), Vec::<std::path::PathBuf>::new());
    }
    assert_eq!(on_disk(hub, &old_key), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn a_re_seal_that_was_lost_can_be_done_again() {
    let mut story = Story::begin().await;
    let old =
        sent(&story.hub, &story.ada.key, story.project, DatasetKind::Run, &[("x", READS)]).await;
    reseal(&story).await;
    let path = |task: TaskId| format!("/api/v1/tasks/{task}/reseal");
    for attempt in 0..2 {
        let started = story.next().await;
        let (vault, claimed) = Vault::of(&story.hub, &started).await;
        let hub = &story.hub;
        let input = vault.open(&claimed.inputs[0].key);
        let new = input.next_epoch(card(hub, &vault.key, story.project).await).unwrap();
        let begin = BeginReseal {
            epoch: 1,
            card_digest: new.card_digest(),
            wrapped_key: new.wrap_to(&hub.recipient().to_bytes()).unwrap(),
            label: new.seal_label("dataset name", b"run").unwrap(),
            settings: Some(new.seal_label("dataset settings", b"{}").unwrap()),
        };
        hub.call(&vault.key, "POST", &path(started.task), begin).await.ok::<Dataset>();
        let previous = Some(digest_of(&claimed.inputs[0].manifest));
        let content = content(&new, &[("x", READS)]);
        let manifest = put_all(hub, &vault.key, &new, content, 2, previous).await;
        if attempt == 0 {
            // It dies before the manifest: the old epoch stays in force.
            drop(started.process);
            continue;
        }
        close(hub, &vault.key, &vault.key, &manifest, "").await.ok::<Dataset>();
        vault.end(hub, &vault.receipt(&claimed, &[&manifest], true)).await.ok::<Task>();
    }
    let mine = released(&story.hub, &story.ada.key, old.dataset()).await;
    assert_eq!(mine.epoch(), 1);
    assert_eq!(read(&story.hub, &story.ada.key, &mine).await, [("x".to_owned(), READS.to_vec())]);
}
