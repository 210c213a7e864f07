//! Tasks of vaults: queued, claimed against a one-time ticket and evidence, kept alive, ended by a signed receipt.

use std::collections::BTreeSet;

use api::{
    BeginReseal, ClaimTask, ClaimedInput, ClaimedKey, ClaimedResult, ClaimedTask, Custodian,
    Dataset, DatasetId, EndTask, ErrorCode, ExecutionState, KeyPlace, Outcome, ProjectId,
    RequestId, Right, Sealed, SignedStatement, Task, TaskId, TaskKind, TaskState, Time,
};
use custody::{Appraised, EvidenceError, Grounds, appraise};
use proof::{EvidenceKind, PublicKey, digest_of, sha256};

use super::caller::object;
use super::datasets::{card_is_in_force, context, release_to};
use super::{Caller, Who};
use crate::HubError;
use crate::data::audit::Bound;
use crate::data::events::NewEvent;
use crate::data::intents::{self, Intent, RELEASE};
use crate::data::sessions::PACKAGE;
use crate::data::tasks::{Kept, NewTask};
use crate::data::{self, Connection};
use crate::policy::{Action, Standing};
use crate::state::Hub;

/// For how long a vault's receipt key is a caller at most.
const VAULT_SECONDS: i64 = 24 * 60 * 60;
/// How often a vault may be lost before its task has failed.
const MOST_LOST: u32 = 1;
/// The name under which a demultiplexing gets what the one before it made while the run was arriving.
const SO_FAR: &str = "so far";

/// What the caller is to a project: a member or nothing; for a vault, the target of its task where the task's owner may
/// create, or nothing.
pub(crate) async fn project_standing(
    at: &mut Connection,
    caller: &Caller,
    project: ProjectId,
) -> Result<Standing, HubError> {
    let Who::Vault { task, owner, .. } = &caller.who else {
        return super::projects::standing(at, caller, project).await;
    };
    let Some(kept) = data::tasks::find(at, *task).await? else { return Ok(Standing::Stranger) };
    let allowed = match kept.task.kind {
        // A sheet names projects by what their people call them; those the task's owner may not put into stay hidden, and
        // so do those that the key which queued the task does not reach.
        TaskKind::Demultiplex => {
            let right = data::members::right_of(at, project, *owner).await?;
            right.is_some_and(|right| right >= Right::Create)
                && data::keys::reaches(at, kept.key, project).await?
        }
        TaskKind::App | TaskKind::Reseal | TaskKind::Query => kept.project == project,
    };
    Ok(if allowed { Standing::TaskTarget } else { Standing::Stranger })
}

/// What the caller is to a task.
async fn standing(at: &mut Connection, caller: &Caller, kept: &Kept) -> Result<Standing, HubError> {
    match &caller.who {
        Who::Account { account, .. } | Who::Browser { account, .. } => {
            let maker = kept.task.owner == account.id;
            super::projects::member(at, caller, kept.project, maker).await
        }
        Who::Vault { task, .. } if *task == kept.task.id => Ok(Standing::TaskInput),
        Who::Instrument { .. } | Who::Vault { .. } => Ok(Standing::Stranger),
    }
}

/// The task, if the caller may do `action` to it.
pub(super) async fn permitted(
    at: &mut Connection,
    caller: &Caller,
    id: TaskId,
    action: Action,
) -> Result<Kept, HubError> {
    let Some(kept) = data::tasks::find(at, id).await? else {
        return Err(HubError::not_found("task", id));
    };
    let standing = standing(at, caller, &kept).await?;
    caller.may(action, standing, "task", id, Some(kept.project))?;
    Ok(kept)
}

/// One task.
pub(crate) async fn show(hub: &Hub, caller: &Caller, id: TaskId) -> Result<Task, HubError> {
    let mut reader = hub.db.read().await?;
    Ok(permitted(&mut reader, caller, id, Action::TaskSee).await?.task)
}

/// Tasks of the caller's projects, of one dataset if named.
pub(crate) async fn list(
    hub: &Hub,
    caller: &Caller,
    subject: Option<DatasetId>,
    after: &str,
    rows: i64,
) -> Result<Vec<Task>, HubError> {
    caller.may_here(Action::ListOwn)?;
    let mut reader = hub.db.read().await?;
    let kept = data::tasks::list(&mut reader, caller.viewer(), subject, after, rows).await?;
    Ok(kept.into_iter().map(|kept| kept.task).collect())
}

/// Queues the demultiplexing of a run within the caller's transaction; `settings` are those of a person who asks again.
pub(crate) async fn queue_demultiplex(
    _hub: &Hub,
    at: &mut Connection,
    caller: &Caller,
    run: &Dataset,
    settings: Option<&Sealed>,
) -> Result<TaskId, HubError> {
    let early = false;
    queue_demultiplexing(at, caller, run, settings, early).await
}

/// Queues what can be done of a run that goes on arriving, unless something works on it already. Where a person holds the key, each
/// such task waits for an approval of its own; one that gets none leaves its work to the next (decision 0022).
pub(crate) async fn queue_early(
    _hub: &Hub,
    at: &mut Connection,
    caller: &Caller,
    run: &Dataset,
) -> Result<(), HubError> {
    let busy = data::tasks::unfinished_of(at, run.id).await?;
    let busy = busy.iter().any(|kept| kept.task.kind == TaskKind::Demultiplex);
    if !busy && run.custodian != Custodian::Organization {
        queue_demultiplexing(at, caller, run, None, true).await?;
    }
    Ok(())
}

async fn queue_demultiplexing(
    at: &mut Connection,
    caller: &Caller,
    run: &Dataset,
    settings: Option<&Sealed>,
    early: bool,
) -> Result<TaskId, HubError> {
    let new = NewTask {
        id: TaskId::generate(),
        kind: TaskKind::Demultiplex,
        subject: run.id,
        session: None,
        project: run.project,
        // Whoever is signed on at the instrument when its last byte arrives need not be the one whose run it is.
        owner: match &caller.who {
            Who::Instrument { .. } => run.owner,
            Who::Account { .. } | Who::Browser { .. } | Who::Vault { .. } => caller.account(),
        },
        key: super::manifests::signing_key(caller)?,
        settings,
        requeue: settings.is_some(),
        early,
        inputs: &[("run".to_owned(), run.id)],
        created: caller.at,
    };
    data::tasks::insert(at, &new).await?;
    Ok(new.id)
}

/// Queues a task that writes anew every dataset of `project` that holds data, on behalf of the caller's account, within the
/// caller's transaction. Gives the tasks.
pub(crate) async fn queue_reseal(
    _hub: &Hub,
    at: &mut Connection,
    caller: &Caller,
    project: ProjectId,
) -> Result<Vec<TaskId>, HubError> {
    let mut tasks = Vec::new();
    for id in data::datasets::of_project(at, project).await? {
        let Some(kept) = data::datasets::find(at, id).await? else { continue };
        if !kept.is_closed() {
            continue;
        }
        let new = NewTask {
            id: TaskId::generate(),
            kind: TaskKind::Reseal,
            subject: id,
            session: None,
            project,
            owner: caller.account(),
            key: super::manifests::signing_key(caller)?,
            settings: None,
            requeue: false,
            early: false,
            inputs: &[("dataset".to_owned(), id)],
            created: caller.at,
        };
        data::tasks::insert(at, &new).await?;
        tasks.push(new.id);
    }
    Ok(tasks)
}

/// Cancels every unfinished task that is about a dataset, reads it or writes it, within the caller's transaction. The
/// engine is told by [`crate::engine::Engine::stop_cancelled`] once that is committed.
pub(crate) async fn cancel_all_of(
    hub: &Hub,
    at: &mut Connection,
    dataset: DatasetId,
    now: Time,
) -> Result<(), HubError> {
    for kept in data::tasks::unfinished_of(at, dataset).await? {
        close(hub, at, &kept, TaskState::Cancelled, Some("a dataset of it was deleted"), None, now)
            .await?;
    }
    Ok(())
}

/// What a vault shows with its claim.
pub(crate) struct Claimant {
    /// The key that signs the call, and that the evidence must bind.
    pub(crate) key: PublicKey,
    /// The call.
    pub(crate) request: RequestId,
    /// When it arrived.
    pub(crate) at: Time,
}

/// A vault takes a task: against the ticket that the engine gave it, and evidence that binds the key which signs this call
/// and the recipient that keys go to. The same claim again, by the same vault, is the same claim.
pub(crate) async fn claim(
    hub: &Hub,
    by: &Claimant,
    id: TaskId,
    body: ClaimTask,
) -> Result<ClaimedTask, HubError> {
    let refuse =
        |error: HubError, project| error.refusing("task.claim", object("task", id), project);
    // A stranger who guesses learns nothing: a task that is not there and a wrong ticket sound the same.
    let bad_ticket = || {
        HubError::new(ErrorCode::BadCode, format!("the ticket for task {id} is wrong or was used"))
            .hint("a ticket counts once: the engine gives a new one to each vault it starts")
    };
    let ticket = sha256(body.ticket.as_bytes());
    let known = data::tasks::find(&mut *hub.db.read().await?, id).await?;
    if known.is_some_and(|kept| kept.ticket == Some(ticket)) {
        // Before anything changes: a task whose keys cannot be had waits on.
        open_keys(hub, id).await?;
    }
    let mut tx = hub.db.write().await?;
    let Some(kept) = data::tasks::find(&mut tx, id).await? else {
        return Err(refuse(bad_ticket(), None));
    };
    let project = Some(kept.project);
    let again = kept.task.state == TaskState::Running && kept.vault_key == Some(by.key.id());
    if kept.ticket != Some(ticket) || !(kept.task.state == TaskState::Queued || again) {
        return Err(refuse(bad_ticket(), project));
    }
    let appraised = appraise(&body.evidence, id, by.key.id(), by.at)
        .map_err(|error| refuse(evidence(id, error), project))?;
    if again && kept.evidence != Some(appraised.digest()) {
        return Err(refuse(bad_ticket(), project));
    }
    take_up(&mut tx, &kept).await?;
    let plan = plan(hub, &mut tx, &kept, appraised.kind())
        .await
        .map_err(|error| refuse(error, project))?;
    if !again {
        let key = by.key.id();
        let evidence = (appraised.digest(), appraised.kind());
        if !data::tasks::claim(&mut tx, id, ticket, key, evidence, by.at).await? {
            return Err(refuse(bad_ticket(), project));
        }
        let until = Time::from_second(by.at.as_second() + VAULT_SECONDS)
            .map_err(|e| HubError::internal("the clock stands at the end of time", e))?;
        data::keys::insert_vault(&mut tx, appraised.receipt_key(), id, kept.task.owner, until)
            .await?;
    }
    // The events are on the disk before the custodian is asked for a key.
    let event = |act, object: String, project| NewEvent {
        at: by.at,
        actor: super::caller::object("vault", id),
        act,
        object,
        project,
        purpose: Some(kept.task.kind.as_str().to_owned()),
        outcome: Outcome::Done,
        reason: None,
        request: Some(by.request),
    };
    data::events::record(&mut tx, &event("task.claim", object("task", id), project)).await?;
    let bound = Bound { evidence: Some(appraised.digest()), ..Bound::default() };
    let all = || plan.inputs.iter().map(|input| &input.dataset).chain(&plan.result);
    let mut announced = Vec::new();
    // Where a device releases the key, that is announced when its approval is handed over.
    for dataset in all().filter(|dataset| dataset.custodian != Custodian::Owner) {
        let release = event(RELEASE, object("dataset", dataset.id), Some(dataset.project));
        announced.push(intents::announce(&mut tx, release, bound).await?);
    }
    for input in &plan.inputs {
        let manifest = digest_of(&input.manifest);
        data::tasks::set_input_manifest(&mut tx, id, input.dataset.id, manifest).await?;
    }
    let owners = all().filter(|dataset| dataset.custodian == Custodian::Owner);
    let owners: BTreeSet<ProjectId> = owners.map(|dataset| dataset.project).collect();
    super::approvals::ask(&mut tx, id, &owners, &appraised, &body.evidence, by.at).await?;
    let task = data::tasks::find(&mut tx, id).await?.map_or(kept.task, |kept| kept.task);
    let intents = hub.releases.commit(tx, announced).await?;
    hub.changes.made();
    hand_over(hub, task, plan, intents, &appraised).await
}

/// Gives a demultiplexing what the one before it made while the run was arriving, where there is such. What a person asks
/// for again is made anew.
async fn take_up(at: &mut Connection, kept: &Kept) -> Result<(), HubError> {
    let id = kept.task.id;
    let is_one = kept.task.kind == TaskKind::Demultiplex && !kept.requeue;
    let known = data::tasks::inputs(at, id).await?;
    if !is_one || known.iter().any(|input| input.name == SO_FAR) {
        return Ok(());
    }
    let Some(before) = data::tasks::early_of(at, kept.task.subject).await?.into_iter().next()
    else {
        return Ok(());
    };
    for made in data::datasets::made_by_task(at, before).await? {
        data::tasks::add_input(at, id, SO_FAR, made.dataset.id).await?;
    }
    Ok(())
}

fn evidence(task: TaskId, error: EvidenceError) -> HubError {
    HubError::new(
        ErrorCode::KeyRefused,
        format!("the evidence for task {task} does not count: {error}"),
    )
    .hint("make it anew for this task, with the key that signs the call; compare the clocks")
}

/// What a task needs, all of it found and allowed.
struct Plan {
    inputs: Vec<PlannedInput>,
    app: Option<api::App>,
    result: Option<Dataset>,
    launch: Option<Sealed>,
    settings: Option<Sealed>,
    requeue: bool,
    early: bool,
}

struct PlannedInput {
    name: String,
    dataset: Dataset,
    manifest: SignedStatement,
    card: SignedStatement,
}

/// Finds what a task needs, and asks once more whether its owner may still have it: rights change while tasks wait.
async fn plan(
    hub: &Hub,
    at: &mut Connection,
    kept: &Kept,
    kind: EvidenceKind,
) -> Result<Plan, HubError> {
    let owner = kept.task.owner;
    let gone = |dataset: DatasetId| {
        HubError::new(
            ErrorCode::KeyRefused,
            format!("task {} may not read dataset {dataset} any more", kept.task.id),
        )
        .hint("it was deleted, or the one who queued the task lost the right to read it")
    };
    let mut inputs = Vec::new();
    let mut settings = kept.settings.clone();
    for input in data::tasks::inputs(at, kept.task.id).await? {
        let is_so_far = input.name == SO_FAR;
        let found = data::datasets::find(at, input.dataset).await?;
        let found = found.ok_or_else(|| gone(input.dataset))?;
        let dataset = found.dataset;
        let right = data::members::right_of(at, dataset.project, owner).await?;
        if right.is_none_or(|right| right < Right::Read) {
            return Err(gone(dataset.id));
        }
        unattested_is_enough(at, &dataset, kind).await?;
        let number = dataset.manifest_number;
        let manifest = data::manifests::find(at, dataset.id, number).await?;
        let manifest = manifest.ok_or_else(|| gone(dataset.id))?.signed;
        let card = data::cards::find(at, dataset.project, dataset.card_digest).await?;
        let card = card.ok_or_else(|| gone(dataset.id))?.signed;
        if kept.task.session.is_none() && settings.is_none() && !is_so_far {
            settings = found.settings;
        }
        inputs.push(PlannedInput { name: input.name, dataset, manifest, card });
    }
    let (mut app, mut result, mut launch) = (None, None, None);
    if let Some(session) = kept.task.session {
        let session =
            data::sessions::find(at, session).await?.ok_or_else(|| gone(kept.task.subject))?;
        let found = data::apps::find(at, session.session.app).await?;
        app = found.map(|(app, _)| app);
        let made = data::datasets::find(at, session.session.result).await?;
        let made = made.ok_or_else(|| gone(session.session.result))?.dataset;
        let right = data::members::right_of(at, made.project, owner).await?;
        if !super::datasets::may_create(right) {
            return Err(gone(made.id));
        }
        unattested_is_enough(at, &made, kind).await?;
        result = Some(made);
        launch = Some(session.settings);
    }
    let _offered = hub.custodian(Custodian::Platform)?;
    let (requeue, early) = (kept.requeue, kept.early);
    Ok(Plan { inputs, app, result, launch, settings, requeue, early })
}

/// Evidence that proves nothing is enough where the hub's word is all there is, and where an owner tries things out.
async fn unattested_is_enough(
    at: &mut Connection,
    dataset: &Dataset,
    kind: EvidenceKind,
) -> Result<(), HubError> {
    match dataset.custodian {
        Custodian::Platform => Ok(()),
        // A report is for the owner's device to appraise: nothing of the owner's is released before.
        Custodian::Owner if kind == EvidenceKind::Snp => Ok(()),
        Custodian::Organization
            if data::organization_keys::takes_unattested(at, dataset.project).await? =>
        {
            Ok(())
        }
        Custodian::Owner if super::approvals::owner_card(at, dataset.project).await?.0.test => {
            Ok(())
        }
        other => Err(HubError::new(
            ErrorCode::KeyRefused,
            format!(
                "dataset {} is in custody of the {}, who releases no key to an unattested vault",
                dataset.id,
                other.as_str()
            ),
        )),
    }
}

/// Has every key released to the recipient in the evidence: `intents` announced those of the inputs and then that of the
/// result.
async fn hand_over(
    hub: &Hub,
    task: Task,
    plan: Plan,
    intents: Vec<Intent>,
    appraised: &Appraised,
) -> Result<ClaimedTask, HubError> {
    let grounds = Grounds::Vault(appraised);
    let mut intents = intents.into_iter();
    // All at once, so that their outcomes share a sync; and each to its end, so that each has one.
    let keys = plan.inputs.iter().map(|input| &input.dataset).chain(&plan.result).map(|dataset| {
        let awaited = dataset.custodian == Custodian::Owner;
        let intent = if awaited { None } else { intents.next() };
        key_for(hub, dataset, intent, appraised, grounds)
    });
    let keys = futures_util::future::join_all(keys).await;
    let mut keys = keys.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter();
    let missing = || HubError::internal("a key was not released", "it was not announced");
    let mut inputs = Vec::with_capacity(plan.inputs.len());
    for PlannedInput { name, dataset, manifest, card } in plan.inputs {
        let key = keys.next().ok_or_else(missing)?;
        inputs.push(ClaimedInput {
            name,
            kind: dataset.kind,
            key,
            manifest,
            card,
            label: dataset.label,
        });
    }
    let mut result = None;
    if let (Some(_), Some(settings)) = (plan.result, plan.launch) {
        let key = keys.next().ok_or_else(missing)?;
        result = Some(ClaimedResult { key, settings });
    }
    Ok(ClaimedTask {
        task,
        hub: hub.id.clone(),
        inputs,
        app: plan.app,
        result,
        settings: plan.settings,
        requeue: plan.requeue,
        early: plan.early,
        checkpoint: hub.log.checkpoint(&mut *hub.db.read().await?).await?.note.to_string(),
    })
}

/// A dataset's key as the hub has it released, or where it is that the owner's device releases one for.
async fn key_for(
    hub: &Hub,
    dataset: &Dataset,
    intent: Option<Intent>,
    appraised: &Appraised,
    grounds: Grounds<'_>,
) -> Result<ClaimedKey, HubError> {
    if dataset.custodian == Custodian::Owner {
        return Ok(ClaimedKey::Awaited(KeyPlace {
            dataset: dataset.id,
            project: dataset.project,
            card_digest: dataset.card_digest,
            epoch: dataset.epoch,
        }));
    }
    let intent = intent.ok_or_else(|| {
        HubError::internal("a key was not released", "its release was not announced")
    })?;
    let to = appraised.recipient();
    release_to(hub, intent, dataset, to, grounds).await.map(ClaimedKey::Released)
}

/// The vault is alive, and so far.
pub(crate) async fn progress(
    hub: &Hub,
    caller: &Caller,
    id: TaskId,
    percent: u8,
) -> Result<Task, HubError> {
    if percent > 100 {
        return Err(HubError::bad_request(format!("{percent} is no percentage")));
    }
    let mut tx = hub.db.write().await?;
    let kept = permitted(&mut tx, caller, id, Action::TaskRun).await?;
    running(&kept)?;
    data::tasks::set_progress(&mut tx, id, percent, caller.at).await?;
    tx.commit().await?;
    Ok(Task { percent: percent.max(kept.task.percent), ..kept.task })
}

fn running(kept: &Kept) -> Result<(), HubError> {
    if kept.task.state == TaskState::Running {
        return Ok(());
    }
    let state = data::word(kept.task.state);
    Err(HubError::conflict(format!("task {} is {state}", kept.task.id))
        .hint("stop: nothing that it writes counts any more"))
}

/// Opens the keys of every organization that holds those of what the task reads or writes.
async fn open_keys(hub: &Hub, id: TaskId) -> Result<(), HubError> {
    let all = data::tasks::organizations(&mut *hub.db.read().await?, id).await?;
    for organization in all {
        super::organization_keys::open(hub, organization).await?;
    }
    Ok(())
}

/// Whether the keys of every organization that the task needs can be had, as far as anybody knows.
pub(crate) async fn keys_serve(hub: &Hub, id: TaskId) -> Result<bool, HubError> {
    let all = data::tasks::organizations(&mut *hub.db.read().await?, id).await?;
    for organization in all {
        if !super::organization_keys::serves(hub, organization).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Opens the next key epoch of the dataset that the task writes anew. The new key is in both places of the key store when
/// this returns; the old epoch stays in force until the manifest of the new one is there.
pub(crate) async fn begin_reseal(
    hub: &Hub,
    caller: &Caller,
    id: TaskId,
    body: BeginReseal,
) -> Result<Dataset, HubError> {
    open_keys(hub, id).await?;
    let mut tx = hub.db.write().await?;
    let kept = permitted(&mut tx, caller, id, Action::ResealBegin).await?;
    running(&kept)?;
    if kept.task.kind != TaskKind::Reseal {
        return Err(HubError::conflict(format!("task {id} writes nothing anew")));
    }
    let Some(found) = data::datasets::find(&mut tx, kept.task.subject).await? else {
        return Err(HubError::not_found("dataset", kept.task.subject));
    };
    let dataset = found.dataset;
    if body.epoch != dataset.epoch + 1 {
        return Err(HubError::conflict(format!(
            "epoch {} does not follow epoch {} of dataset {}",
            body.epoch, dataset.epoch, dataset.id
        )));
    }
    card_is_in_force(&mut tx, dataset.project, body.card_digest).await?;
    if found.settings.is_some() != body.settings.is_some() {
        return Err(HubError::bad_request(format!(
            "dataset {} keeps its settings when it is written anew, and gets none",
            dataset.id
        )));
    }
    let reseal = data::datasets::Reseal {
        task: id,
        epoch: body.epoch,
        card_digest: body.card_digest,
        label: body.label,
        settings: body.settings,
    };
    let place = seal::wrap::DatasetContext {
        card_digest: body.card_digest.0,
        epoch: body.epoch,
        ..context(&dataset)
    };
    let custodian = hub.custodian_within(&mut tx, dataset.custodian, dataset.project).await?;
    let key = custodian.adopt(&place, &body.wrapped_key.0).await?;
    // What an earlier attempt left under this epoch must not be counted with what comes now.
    if data::datasets::reseal(&mut tx, dataset.id).await?.is_none() {
        super::datasets::destroy_remains_within(hub, &mut tx, &dataset).await?;
    }
    hub.keys.put_dataset_key(dataset.id.to_bytes(), body.epoch, key).await?;
    data::datasets::begin_reseal(&mut tx, dataset.id, &reseal).await?;
    let event =
        caller.event("dataset.reseal", object("dataset", dataset.id), Some(dataset.project));
    data::events::record(&mut tx, &event).await?;
    tx.commit().await?;
    Ok(dataset)
}

/// Ends a task with the vault's receipt. The same end again is a success.
pub(crate) async fn end(
    hub: &Hub,
    caller: &Caller,
    id: TaskId,
    body: EndTask,
) -> Result<Task, HubError> {
    let why = body.reason.as_deref().map(super::runs::reason).transpose()?;
    let mut reader = hub.db.read().await?;
    let kept = permitted(&mut reader, caller, id, Action::TaskRun).await?;
    drop(reader);
    if kept.task.kind == TaskKind::Reseal && body.complete {
        // A receipt for a re-seal is taken when nothing of the old epoch is left.
        super::datasets::destroy_remains(hub, kept.task.subject).await?;
    }
    let waits = async || {
        let left = data::organization_keys::left_meanwhile(&mut *hub.db.read().await?, id).await?;
        Ok::<_, HubError>(left || !keys_serve(hub, id).await?)
    };
    if !body.complete && kept.task.state == TaskState::Running && waits().await? {
        // It failed because its keys were taken away, or because its projects have other cards than when it began: that is no
        // failure of the task, which waits until they are back and is begun anew.
        wait_again(hub, id).await?;
        let task = data::tasks::find(&mut *hub.db.read().await?, id).await?;
        return task.map(|kept| kept.task).ok_or_else(|| HubError::not_found("task", id));
    }
    let mut tx = hub.db.write().await?;
    let kept = permitted(&mut tx, caller, id, Action::TaskRun).await?;
    if kept.task.receipt.as_ref() == Some(&body.receipt) {
        return Ok(kept.task);
    }
    running(&kept)?;
    super::receipts::check(hub, &mut tx, caller, &kept, &body).await?;
    let (state, why) = if body.complete {
        (TaskState::Complete, None)
    } else {
        (TaskState::Failed, Some(why.unwrap_or("the vault gave no reason")))
    };
    close(hub, &mut tx, &kept, state, why, Some(&body.receipt), caller.at).await?;
    let mut event = caller.event("task.end", object("task", id), Some(kept.project));
    if !body.complete {
        event.outcome = Outcome::Failed;
        event.reason = Some(data::word(ErrorCode::TaskFailed));
    }
    let bound = Bound { evidence: kept.evidence, ..Bound::to_statement(digest_of(&body.receipt)) };
    data::events::record_bound(&mut tx, &event, &bound).await?;
    let task = data::tasks::find(&mut tx, id).await?;
    let of_use_no_more = match (kept.task.kind, state) {
        (TaskKind::Demultiplex, TaskState::Complete) if !kept.early => {
            forget_early(&mut tx, kept.task.subject, caller.at).await?
        }
        _ => Vec::new(),
    };
    tx.commit().await?;
    hub.changes.made();
    hub.engine.wake();
    // What a stop leaves of this is finished by the upkeep.
    for dataset in of_use_no_more {
        super::datasets::finish_deletion(hub, dataset).await?;
    }
    task.map(|kept| kept.task).ok_or_else(|| HubError::not_found("task", id))
}

/// Begins the deletion of what early demultiplexings of a run made: the samples hold it now.
async fn forget_early(
    at: &mut Connection,
    run: DatasetId,
    now: Time,
) -> Result<Vec<DatasetId>, HubError> {
    let mut begun = Vec::new();
    for task in data::tasks::early_of(at, run).await? {
        for made in data::datasets::made_by_task(at, task).await? {
            super::datasets::take_back(at, &made.dataset, now).await?;
            begun.push(made.dataset.id);
        }
    }
    Ok(begun)
}

/// Ends a task within the caller's transaction, and says of every dataset that hangs on it where that stands now.
pub(super) async fn close(
    _hub: &Hub,
    at: &mut Connection,
    kept: &Kept,
    state: TaskState,
    why: Option<&str>,
    receipt: Option<&SignedStatement>,
    now: Time,
) -> Result<(), HubError> {
    let (id, subject) = (kept.task.id, kept.task.subject);
    if !data::tasks::end(at, id, state, why, receipt, now).await? {
        return Ok(());
    }
    data::keys::remove_vaults(at, id).await?;
    data::approvals::close_task(at, id).await?;
    super::notices::task_ended(at, kept, state, now).await?;
    let complete = state == TaskState::Complete;
    for made in data::datasets::made_by_task(at, id).await? {
        let (state, why) = if complete {
            (ExecutionState::Complete, None)
        } else {
            (ExecutionState::Failed, Some(why.unwrap_or("its task was stopped")))
        };
        data::datasets::set_execution(at, made.dataset.id, state, why, now).await?;
    }
    match kept.task.kind {
        // The run goes on arriving: all that is said of it is that it needs a person, if it does.
        TaskKind::Demultiplex if kept.early => {
            let found = data::datasets::find(at, subject).await?;
            // An owner who did not let it begin early is asked again: for the next part, and once it is closed.
            let not_let = data::approvals::none_came(at, id).await?;
            if let (TaskState::Failed, Some(found)) = (state, found)
                && !found.is_closed()
                && !not_let
            {
                let why = why.unwrap_or("its demultiplexing was stopped");
                let state = ExecutionState::NeedsAttention;
                data::datasets::set_execution(at, subject, state, Some(why), now).await?;
            }
        }
        TaskKind::Demultiplex => {
            if complete {
                data::datasets::supersede(at, subject, id, now).await?;
            }
            let (state, why) = if complete {
                (ExecutionState::Complete, None)
            } else {
                (
                    ExecutionState::NeedsAttention,
                    Some(why.unwrap_or("its demultiplexing was stopped")),
                )
            };
            if data::datasets::find(at, subject).await?.is_some() {
                data::datasets::set_execution(at, subject, state, why, now).await?;
            }
        }
        TaskKind::Reseal => {
            let pending = data::datasets::reseal(at, subject).await?;
            if pending.is_some_and(|pending| pending.task == id) {
                data::datasets::end_reseal(at, subject).await?;
            }
        }
        TaskKind::App | TaskKind::Query => {}
    }
    Ok(())
}

/// The vault of a running or waiting task is gone: the task waits once more, or has failed. What it had begun is deleted where
/// the next vault makes its own, and stays, failed, where there is no next. `lost` is how many vaults were lost before this one, so that one counts once.
pub(crate) async fn lost(hub: &Hub, id: TaskId, lost: u32, why: &str) -> Result<(), HubError> {
    gone(hub, id, Some(lost), why).await
}

/// The vault of a running or waiting task was ended by the hub's own stop: the task waits, and no vault counts as lost.
pub(crate) async fn wait_again(hub: &Hub, id: TaskId) -> Result<(), HubError> {
    gone(hub, id, None, "the hub was stopped").await
}

async fn gone(hub: &Hub, id: TaskId, lost: Option<u32>, why: &str) -> Result<(), HubError> {
    let now = hub.now();
    // A vault that ended because an organization has taken its key away is not lost: its task waits until the key is back.
    let counts = lost.is_some() && keys_serve(hub, id).await?;
    let mut tx = hub.db.write().await?;
    let Some(kept) = data::tasks::find(&mut tx, id).await? else { return Ok(()) };
    let ended = !matches!(kept.task.state, TaskState::Queued | TaskState::Running);
    if ended || lost.is_some_and(|lost| lost != kept.lost) {
        return Ok(());
    }
    let mut event = NewEvent {
        at: now,
        actor: "hub".to_owned(),
        act: "task.lost",
        object: object("task", id),
        project: Some(kept.project),
        purpose: None,
        outcome: Outcome::Failed,
        reason: Some(data::word(ErrorCode::TaskFailed)),
        request: None,
    };
    let (mut emptied, mut begun) = (Vec::new(), Vec::new());
    if counts && kept.lost >= MOST_LOST {
        close(hub, &mut tx, &kept, TaskState::Failed, Some(why), None, now).await?;
        event.act = "task.end";
    } else {
        data::keys::remove_vaults(&mut tx, id).await?;
        for made in data::datasets::made_by_task(&mut tx, id).await? {
            let dataset = made.dataset.id;
            if made.dataset.session.is_some() {
                // The result of an app is the same dataset for the next vault, which begins it anew.
                emptied.push((dataset, data::objects::all(&mut tx, dataset).await?));
                data::datasets::empty(&mut tx, dataset, now).await?;
            } else {
                super::datasets::take_back(&mut tx, &made.dataset, now).await?;
                begun.push(dataset);
            }
        }
        if kept.task.kind == TaskKind::Reseal {
            data::datasets::end_reseal(&mut tx, kept.task.subject).await?;
        }
        data::approvals::close_task(&mut tx, id).await?;
        data::tasks::set_waiting_again(&mut tx, id, counts).await?;
    }
    data::events::record(&mut tx, &event).await?;
    tx.commit().await?;
    hub.changes.made();
    for (dataset, objects) in emptied {
        super::datasets::destroy_objects(hub, dataset, &objects).await?;
    }
    // What a stop leaves of this is finished by the upkeep.
    for dataset in begun {
        super::datasets::finish_deletion(hub, dataset).await?;
    }
    Ok(())
}

/// The name under which an app's package is an input of its task.
pub(super) fn package_name() -> String {
    PACKAGE.to_owned()
}
