//! Requests for owners' approvals: made when a vault claims a task, shown to the owner, answered once, handed to that vault.
//!
//! The hub opens nothing of it. It checks what it can (who signed, for which card, until when, whether it was used) so that
//! what cannot count is refused early; the vault checks everything again, because the hub's word is not asked for.

use std::collections::BTreeSet;
use std::time::Duration;

use api::{
    ApprovalDetail, ApprovalId, ApprovalRequest, ApprovalState, AskedDataset, Dataset, DatasetId,
    ErrorCode, ExportDataset, GiveApproval, OwnerKey, ProjectId, PutCard, RefuseApproval, Release,
    ReleaseLeaf, ReleaseLog, ShareDataset, SignedApproval, SignedStatement, TaskApproval, TaskId,
    TaskKind, Time, WrittenUnder,
};
use custody::Appraised;
use proof::{Act, Approval, CodeUpdate, Manifest, OwnerCard, ProjectCard, open_statement};
use seal::wrap::DatasetContext;

use super::caller::object;
use super::tasks::permitted;
use super::{Caller, Purpose, Who};
use crate::HubError;
use crate::data::approvals::{Kept, NewApproval};
use crate::data::audit::Bound;
use crate::data::intents::{self, RELEASE};
use crate::data::{self, Connection};
use crate::policy::Action;
use crate::state::Hub;

/// For how long an owner may think about a request.
const ANSWER_SECONDS: i64 = proof::APPROVAL_SECONDS;

/// Has the owners of these projects asked, within the caller's transaction.
pub(super) async fn ask(
    at: &mut Connection,
    task: TaskId,
    projects: &BTreeSet<ProjectId>,
    appraised: &Appraised,
    evidence: &SignedStatement,
    now: Time,
) -> Result<(), HubError> {
    let expires = Time::from_second(now.as_second() + ANSWER_SECONDS)
        .map_err(|e| HubError::internal("the clock stands at the end of time", e))?;
    for project in projects {
        let new = NewApproval {
            id: ApprovalId::generate(),
            task,
            project: *project,
            vault_key: appraised.receipt_key().id(),
            evidence,
            created: now,
            expires,
        };
        data::approvals::insert(at, &new).await?;
        super::notices::asked(at, &new).await?;
    }
    Ok(())
}

/// The owner's card in force, for a project that an owner holds.
pub(super) async fn owner_card(
    at: &mut Connection,
    project: ProjectId,
) -> Result<(OwnerCard, SignedStatement), HubError> {
    let signed = super::projects::in_force(at, project).await?.signed;
    match ProjectCard::open(&signed, project) {
        Ok((ProjectCard::Owner(card), _)) => Ok((card, signed)),
        Ok((ProjectCard::Hub(_), _)) => Err(HubError::conflict(format!(
            "the key of project {project} is not held by its owner"
        ))
        .hint("projects in other custody ask for no approval")),
        Err(error) => Err(HubError::internal("a card in the database does not hold", error)),
    }
}

/// The request, if the caller may do `action` to it.
async fn asked(
    at: &mut Connection,
    caller: &Caller,
    id: ApprovalId,
    action: Action,
) -> Result<Kept, HubError> {
    let Some(kept) = data::approvals::find(at, id).await? else {
        return Err(HubError::not_found("approval", id));
    };
    let project = kept.request.project;
    let standing = super::projects::standing(at, caller, project).await?;
    caller.may(action, standing, "approval", id, Some(project))?;
    Ok(kept)
}

/// Requests to the caller as the owner of projects.
pub(crate) async fn list(
    hub: &Hub,
    caller: &Caller,
    after: &str,
    rows: i64,
) -> Result<Vec<ApprovalRequest>, HubError> {
    caller.may_here(Action::ListOwn)?;
    let kept =
        data::approvals::list(&mut *hub.db.read().await?, caller.viewer(), after, rows).await?;
    Ok(kept.into_iter().map(|kept| now_is(kept.request, caller.at)).collect())
}

/// The request as it stands now: one whose time has passed is over, whatever the row still says.
fn now_is(mut request: ApprovalRequest, now: Time) -> ApprovalRequest {
    if request.state == ApprovalState::Pending && request.expires <= now {
        request.state = ApprovalState::Expired;
    }
    request
}

/// A request with everything that the owner's device needs to judge it.
pub(crate) async fn show(
    hub: &Hub,
    caller: &Caller,
    id: ApprovalId,
) -> Result<ApprovalDetail, HubError> {
    let mut reader = hub.db.read().await?;
    let kept = asked(&mut reader, caller, id, Action::ApprovalSee).await?;
    let owner = kept.request.project;
    let task = data::tasks::find(&mut reader, kept.request.task).await?;
    let task = task.ok_or_else(|| HubError::not_found("approval", id))?;
    let (_, card) = owner_card(&mut reader, owner).await?;
    let mut inputs = Vec::new();
    let mut settings = task.settings.clone();
    for input in data::tasks::inputs(&mut reader, task.task.id).await? {
        let Some(found) = data::datasets::find(&mut reader, input.dataset).await? else {
            return Err(HubError::not_found("dataset", input.dataset));
        };
        if task.task.kind != TaskKind::App && settings.is_none() {
            settings = found.settings.clone();
        }
        inputs.push(describe(hub, &mut reader, owner, input.name, found.dataset).await?);
    }
    let (mut app, mut result) = (None, None);
    if let Some(session) = task.task.session
        && let Some(session) = data::sessions::find(&mut reader, session).await?
    {
        app = data::apps::find(&mut reader, session.session.app).await?.map(|(app, _)| app);
        settings = Some(session.settings);
        if let Some(made) = data::datasets::find(&mut reader, session.session.result).await? {
            let name = "result".to_owned();
            result = Some(describe(hub, &mut reader, owner, name, made.dataset).await?);
        }
    }
    Ok(ApprovalDetail {
        request: now_is(kept.request, caller.at),
        card,
        handovers: data::handovers::of_project(&mut reader, owner).await?,
        evidence: kept.evidence,
        app,
        session: task.task.session,
        inputs,
        result,
        settings,
    })
}

/// A dataset as an owner's device judges it.
async fn describe(
    hub: &Hub,
    at: &mut Connection,
    owner: ProjectId,
    name: String,
    dataset: Dataset,
) -> Result<AskedDataset, HubError> {
    let card = data::cards::find(at, dataset.project, dataset.card_digest).await?;
    let card = card.ok_or_else(|| HubError::not_found("dataset", dataset.id))?.signed;
    let manifest = data::manifests::find(at, dataset.id, dataset.manifest_number).await?;
    let manifest = manifest.map(|kept| kept.signed);
    let written_under = written_under(at, &dataset, manifest.as_ref()).await?;
    let key = if dataset.project == owner { Some(relayed(hub, &dataset).await?) } else { None };
    Ok(AskedDataset {
        name,
        kind: dataset.kind,
        key,
        dataset: dataset.id,
        project: dataset.project,
        manifest,
        card,
        written_under,
        label: dataset.label,
    })
}

/// The approval that made the signer of a manifest a writer, where a vault signed it.
async fn written_under(
    at: &mut Connection,
    dataset: &Dataset,
    manifest: Option<&SignedStatement>,
) -> Result<Option<WrittenUnder>, HubError> {
    let Some(manifest) = manifest else { return Ok(None) };
    let taken = data::approvals::writer(at, dataset.id, proof::digest_of(manifest)).await?;
    if let Some((approval, card)) = taken {
        return Ok(Some(WrittenUnder { approval, card }));
    }
    // Of one that was written before that was remembered.
    let Ok((_, signer)) = open_statement::<Manifest>(manifest) else { return Ok(None) };
    let found = data::approvals::of_writer(at, dataset.project, signer.id()).await?;
    Ok(found.map(|(approval, card)| WrittenUnder { approval, card }))
}

/// A dataset's key as its owner can open it.
async fn relayed(hub: &Hub, dataset: &Dataset) -> Result<Release, HubError> {
    let context = super::datasets::context(dataset);
    relay(hub, dataset.id, dataset.project, dataset.custodian, &context).await
}

async fn relay(
    hub: &Hub,
    dataset: DatasetId,
    project: ProjectId,
    custodian: api::Custodian,
    context: &DatasetContext,
) -> Result<Release, HubError> {
    let kept = hub.keys.dataset_key(context.dataset, context.epoch).await?;
    let wrapped = hub.custodian(custodian)?.relay(context, &kept)?.ok_or_else(|| {
        HubError::conflict(format!("the key of dataset {dataset} is not held by an owner"))
            .hint("ask for it to be released: `POST /datasets/{id}/release`")
    })?;
    Ok(Release {
        dataset,
        project,
        card_digest: api::Digest(context.card_digest),
        epoch: context.epoch,
        wrapped_key: api::Bytes(wrapped),
        // Wrapped to its owner as it lies here: nothing was released.
        leaf: None,
    })
}

/// A dataset's key, wrapped to its owner: whoever else asks gets bytes that open nothing for them.
pub(crate) async fn dataset_key(
    hub: &Hub,
    caller: &Caller,
    id: DatasetId,
) -> Result<OwnerKey, HubError> {
    let mut tx = hub.db.write().await?;
    let dataset =
        super::datasets::permitted(&mut tx, caller, id, Action::OwnerKeyGet).await?.dataset;
    let (_, card) = owner_card(&mut tx, dataset.project).await?;
    let manifest = data::manifests::find(&mut tx, id, dataset.manifest_number).await?;
    let manifest = manifest.map(|kept| kept.signed);
    let written_under = written_under(&mut tx, &dataset, manifest.as_ref()).await?;
    let act = Action::OwnerKeyGet.act();
    let event = caller.event(act, object("dataset", id), Some(dataset.project));
    data::events::record(&mut tx, &event).await?;
    let handovers = data::handovers::of_project(&mut tx, dataset.project).await?;
    tx.commit().await?;
    Ok(OwnerKey { release: relayed(hub, &dataset).await?, card, handovers, written_under })
}

/// The project's own key, wrapped to its owner.
pub(crate) async fn project_key(
    hub: &Hub,
    caller: &Caller,
    id: ProjectId,
) -> Result<OwnerKey, HubError> {
    let mut reader = hub.db.read().await?;
    let standing = super::projects::standing(&mut reader, caller, id).await?;
    caller.may(Action::OwnerKeyGet, standing, "project", id, Some(id))?;
    let (_, card) = owner_card(&mut reader, id).await?;
    let handovers = data::handovers::of_project(&mut reader, id).await?;
    drop(reader);
    let context = super::projects::own_context(id);
    let dataset = DatasetId::from_bytes(context.dataset);
    let release = relay(hub, dataset, id, api::Custodian::Owner, &context).await?;
    Ok(OwnerKey { release, card, handovers, written_under: None })
}

/// Takes an approval that a call needs, once: a device of the card in force signed it, now, for what `fits`. Gives its digest,
/// for the leaf of what it allows.
pub(super) async fn spend(
    at: &mut Connection,
    caller: &Caller,
    project: ProjectId,
    given: Option<&SignedApproval>,
    fits: impl Fn(&Act) -> bool,
) -> Result<api::Digest, HubError> {
    let refuse = |why: String| {
        HubError::new(ErrorCode::KeyRefused, why)
            .hint("approve it on the owner's device: the command line asks for the identity file")
            .refusing(Action::ApprovalAnswer.act(), object("project", project), Some(project))
    };
    let given = given.ok_or_else(|| refuse("the owner's approval is missing".into()))?;
    let (card, _) = owner_card(at, project).await?;
    let verified = Approval::open(given, &card).map_err(|error| refuse(error.to_string()))?;
    verified.in_force(caller.at).map_err(|error| refuse(error.to_string()))?;
    let approval = verified.approval();
    if !fits(&approval.act) {
        return Err(refuse("the approval is for something else".into()));
    }
    if !data::approvals::use_nonce(at, project, approval.nonce).await? {
        return Err(refuse("the approval was used before".into()));
    }
    Ok(verified.digest())
}

/// Remembers that the owner takes what a vault wrote as their own.
pub(crate) async fn set_writer(
    hub: &Hub,
    caller: &Caller,
    id: DatasetId,
    given: SignedApproval,
) -> Result<OwnerKey, HubError> {
    let mut tx = hub.db.write().await?;
    let kept = super::datasets::permitted(&mut tx, caller, id, Action::ApprovalAnswer).await?;
    let project = kept.dataset.project;
    let (_, card) = owner_card(&mut tx, project).await?;
    let number = kept.dataset.manifest_number;
    let manifest = data::manifests::find(&mut tx, id, number).await?;
    let manifest = manifest.ok_or_else(|| {
        HubError::conflict(format!("dataset {id} has no manifest yet"))
            .hint("wait until it is complete")
    })?;
    let names = |act: &Act| {
        matches!(act, Act::Writer(writer) if writer.dataset == id
            && writer.manifest == manifest.digest
            && writer.key == manifest.signed.signer)
    };
    let digest = spend(&mut tx, caller, project, Some(&given), names).await?;
    data::approvals::set_writer(&mut tx, id, manifest.digest, (&given, &card)).await?;
    let event = caller.event("approval.writer", object("dataset", id), Some(project));
    let bound = Bound { approval: Some(digest), ..Bound::default() };
    data::events::record_bound(&mut tx, &event, &bound).await?;
    tx.commit().await?;
    dataset_key(hub, caller, id).await
}

/// Keeps a dataset's key for somebody whom the owner's approval names. The hub cannot see whether it opens; whom it is for
/// can, and the approval says which key was meant.
pub(crate) async fn share(
    hub: &Hub,
    caller: &Caller,
    id: DatasetId,
    body: ShareDataset,
) -> Result<Dataset, HubError> {
    let mut tx = hub.db.write().await?;
    let kept = super::datasets::permitted(&mut tx, caller, id, Action::ApprovalAnswer).await?;
    let (project, number) = (kept.dataset.project, kept.dataset.manifest_number);
    owner_card(&mut tx, project).await?;
    let manifest = data::manifests::find(&mut tx, id, number).await?.map(|kept| kept.digest);
    let (given, _) = open_statement::<Approval>(&body.approval.approval)
        .map_err(|e| HubError::bad_request(e.to_string()))?;
    let Act::Share(share) = given.act else {
        return Err(HubError::bad_request("the approval is of another kind than `share`"));
    };
    let place = super::datasets::context(&kept.dataset);
    let fits = body.key.dataset == id
        && body.key.project == project
        && body.key.card_digest.0 == place.card_digest
        && body.key.epoch == place.epoch
        && share.input.dataset == id
        && Some(share.input.manifest) == manifest;
    if !fits {
        return Err(HubError::conflict(format!(
            "the approval or the key is not for dataset {id} as it is now"
        ))
        .hint("share it again: its content or its key has changed since"));
    }
    data::accounts::find(&mut tx, share.account)
        .await?
        .ok_or_else(|| HubError::not_found("account", share.account))?;
    let account = share.account;
    let names = |act: &Act| matches!(act, Act::Share(named) if *named == share);
    let digest = spend(&mut tx, caller, project, Some(&body.approval), names).await?;
    data::approvals::share(&mut tx, id, account, &body.key, &body.approval, caller.at).await?;
    let event = caller.event("approval.share", object("dataset", id), Some(project));
    let bound = Bound { approval: Some(digest), ..Bound::default() };
    data::events::record_bound(&mut tx, &event, &bound).await?;
    tx.commit().await?;
    super::datasets::show(hub, caller, id).await
}

/// A dataset's key as its owner wrapped it to the caller.
pub(crate) async fn shared_key(
    hub: &Hub,
    caller: &Caller,
    id: DatasetId,
) -> Result<OwnerKey, HubError> {
    let mut tx = hub.db.write().await?;
    let dataset =
        super::datasets::permitted(&mut tx, caller, id, Action::OwnerKeyGet).await?.dataset;
    let (_, card) = owner_card(&mut tx, dataset.project).await?;
    let shared = data::approvals::shared(&mut tx, id, caller.account()).await?;
    let release = shared.filter(|key| key.epoch == dataset.epoch).ok_or_else(|| {
        HubError::new(ErrorCode::NotFound, format!("dataset {id} is not shared with you"))
            .hint("ask its owner: `chorion approve share`")
    })?;
    let manifest = data::manifests::find(&mut tx, id, dataset.manifest_number).await?;
    let manifest = manifest.map(|kept| kept.signed);
    let written_under = written_under(&mut tx, &dataset, manifest.as_ref()).await?;
    let act = Action::OwnerKeyGet.act();
    let event = caller.event(act, object("dataset", id), Some(dataset.project));
    data::events::record(&mut tx, &event).await?;
    let handovers = data::handovers::of_project(&mut tx, dataset.project).await?;
    tx.commit().await?;
    Ok(OwnerKey { release, card, handovers, written_under })
}

/// Takes the owner's word that a dataset goes into custody that others hold: it says which, at which version, and the dataset that
/// it becomes there. Whose device can open it could also have done it unasked; the approval is what the log keeps of it.
pub(crate) async fn export(
    hub: &Hub,
    caller: &Caller,
    id: DatasetId,
    body: ExportDataset,
) -> Result<Dataset, HubError> {
    let mut tx = hub.db.write().await?;
    let kept = super::datasets::permitted(&mut tx, caller, id, Action::ApprovalAnswer).await?;
    let (project, number) = (kept.dataset.project, kept.dataset.manifest_number);
    let (given, _) = open_statement::<Approval>(&body.approval.approval)
        .map_err(|e| HubError::bad_request(e.to_string()))?;
    let Act::Export(export) = given.act else {
        return Err(HubError::bad_request("the approval is of another kind than `export`"));
    };
    let manifest = data::manifests::find(&mut tx, id, number).await?.map(|kept| kept.digest);
    if export.input.dataset != id || Some(export.input.manifest) != manifest {
        return Err(HubError::conflict(format!(
            "the approval is not for dataset {id} as it is now"
        ))
        .hint("export it again: its content has changed since"));
    }
    let output = &export.output;
    let into = super::projects::standing(&mut tx, caller, output.project).await?;
    caller.may(Action::SampleCreate, into, "project", output.project, Some(output.project))?;
    let card = super::projects::in_force(&mut tx, output.project).await?;
    let custodian = data::projects::custodian(&mut tx, output.project).await?;
    if card.digest != output.card || custodian != Some(output.custodian) {
        return Err(HubError::conflict(format!(
            "the approval names another card or custodian than project {} has",
            output.project
        )));
    }
    let names = |act: &Act| matches!(act, Act::Export(named) if *named == export);
    let digest = spend(&mut tx, caller, project, Some(&body.approval), names).await?;
    let event = caller.event("approval.export", object("dataset", id), Some(project));
    let bound = Bound { approval: Some(digest), ..Bound::default() };
    data::events::record_bound(&mut tx, &event, &bound).await?;
    tx.commit().await?;
    super::datasets::show(hub, caller, id).await
}

/// Puts an owner's next card in force. What waits for an answer under the old one is over: a device that the new card
/// leaves out approves nothing from here on.
pub(crate) async fn put_card(
    hub: &Hub,
    caller: &Caller,
    id: ProjectId,
    body: PutCard,
) -> Result<SignedStatement, HubError> {
    let PutCard { card: signed, approval } = body;
    let mut tx = hub.db.write().await?;
    let standing = super::projects::standing(&mut tx, caller, id).await?;
    caller.may(Action::CardPut, standing, "project", id, Some(id))?;
    let (seen, in_force) = owner_card(&mut tx, id).await?;
    if signed == in_force {
        return Ok(signed);
    }
    let unfit = |error: proof::CardError| HubError::bad_request(error.to_string());
    let (card, _owner) = ProjectCard::open(&signed, id).map_err(unfit)?;
    card.may_follow(&ProjectCard::Owner(seen.clone())).map_err(unfit)?;
    if card.number() != seen.number + 1 {
        return Err(HubError::conflict(format!(
            "card {} does not follow number {}, which is in force in project {id}",
            card.number(),
            seen.number
        ))
        .hint("get the card in force, change that, and sign it again"));
    }
    let mut bound = Bound::default();
    if let ProjectCard::Owner(next) = &card
        && next.measurements != seen.measurements
    {
        let names =
            |act: &Act| matches!(act, Act::CodeUpdate(update) if changes(update, &seen, next));
        bound.approval = Some(spend(&mut tx, caller, id, approval.as_ref(), names).await?);
    }
    super::projects::keep_card(&mut tx, id, &card, &signed).await?;
    data::approvals::expire_project(&mut tx, id).await?;
    let event = caller.event(Action::CardPut.act(), object("project", id), Some(id));
    data::events::record_bound(&mut tx, &event, &bound).await?;
    tx.commit().await?;
    hub.changes.made();
    Ok(signed)
}

/// Whether an approved code update is what lies between two cards' measurements: all of it, and nothing else.
fn changes(update: &CodeUpdate, seen: &OwnerCard, next: &OwnerCard) -> bool {
    let of = |list: &[api::Bytes]| -> BTreeSet<Vec<u8>> {
        list.iter().map(|measurement| measurement.0.clone()).collect()
    };
    let (before, after) = (of(&seen.measurements), of(&next.measurements));
    of(&update.remove) == &before - &after && of(&update.add) == &after - &before
}

/// Takes an owner's approval, once. Of many calls with one approval, or for one request, exactly one is first.
pub(crate) async fn approve(
    hub: &Hub,
    caller: &Caller,
    id: ApprovalId,
    body: GiveApproval,
) -> Result<ApprovalRequest, HubError> {
    let mut tx = hub.db.write().await?;
    let kept = asked(&mut tx, caller, id, Action::ApprovalAnswer).await?;
    let project = kept.request.project;
    data::approvals::expire(&mut tx, caller.at).await?;
    let refuse = |why: String| {
        HubError::new(ErrorCode::KeyRefused, why).refusing(
            Action::ApprovalAnswer.act(),
            object("approval", id),
            Some(project),
        )
    };
    let (card, signed_card) = owner_card(&mut tx, project).await?;
    let verified =
        Approval::open(&body.approval, &card).map_err(|error| refuse(error.to_string()))?;
    verified.in_force(caller.at).map_err(|error| refuse(error.to_string()))?;
    let approval = verified.approval();
    if approval.act.task() != Some(kept.request.task) {
        return Err(refuse(format!("the approval is not for task {}", kept.request.task)));
    }
    let names_vault = approval.act.vault().is_some_and(|vault| {
        proof::PublicKey::from_bytes(&vault.receipt_key.0)
            .is_ok_and(|key| key.id() == kept.vault_key)
    });
    if !names_vault {
        return Err(refuse("the approval is for another vault than the one that waits".into()));
    }
    for key in &body.keys {
        let found = data::datasets::find(&mut tx, key.dataset).await?;
        if found.is_none_or(|found| found.dataset.project != project) {
            return Err(refuse(format!("dataset {} is none of project {project}", key.dataset)));
        }
    }
    if !data::approvals::use_nonce(&mut tx, project, approval.nonce).await? {
        return Err(refuse("the approval was used before".into()));
    }
    let both = (&body.approval, &signed_card);
    let digest = verified.digest();
    if !data::approvals::approve(&mut tx, id, both, digest, &body.keys, caller.at).await? {
        return Err(HubError::conflict(format!("request {id} waits for no answer any more"))
            .hint("it was answered, it expired, or its vault is gone: `chorion approve list`"));
    }
    let mut event =
        caller.event(Action::ApprovalAnswer.act(), object("approval", id), Some(project));
    event.purpose = Some(approval.act.kind().to_owned());
    let bound = Bound { approval: Some(digest), ..Bound::default() };
    data::events::record_bound(&mut tx, &event, &bound).await?;
    let kept = data::approvals::find(&mut tx, id).await?;
    tx.commit().await?;
    hub.engine.owner_answered();
    hub.changes.made();
    kept.map(|kept| kept.request).ok_or_else(|| HubError::not_found("approval", id))
}

/// The owner does not want it.
pub(crate) async fn refuse(
    hub: &Hub,
    caller: &Caller,
    id: ApprovalId,
    body: &RefuseApproval,
) -> Result<ApprovalRequest, HubError> {
    let reason = Purpose::parse(&body.reason)?;
    let mut tx = hub.db.write().await?;
    let kept = asked(&mut tx, caller, id, Action::ApprovalAnswer).await?;
    let ended =
        data::approvals::end(&mut tx, id, ApprovalState::Refused, Some(reason.as_str()), caller.at);
    if ended.await? {
        let project = Some(kept.request.project);
        let event = caller.event("approval.refuse", object("approval", id), project);
        data::events::record(&mut tx, &event).await?;
        super::notices::refused(&mut tx, &kept.request, caller.at).await?;
    } else if kept.request.state != ApprovalState::Refused {
        return Err(HubError::conflict(format!("request {id} waits for no answer any more")));
    }
    let kept = data::approvals::find(&mut tx, id).await?;
    tx.commit().await?;
    hub.engine.owner_answered();
    hub.changes.made();
    kept.map(|kept| kept.request).ok_or_else(|| HubError::not_found("approval", id))
}

/// What the vault of a task waits for, as far as it came; answered when something has come, and after `wait` in any case.
pub(crate) async fn of_task(
    hub: &Hub,
    caller: &Caller,
    id: TaskId,
    wait: Duration,
) -> Result<Vec<TaskApproval>, HubError> {
    let until = tokio::time::Instant::now() + wait;
    loop {
        let told = hub.engine.answers().notified();
        tokio::pin!(told);
        // From here on no answer is missed.
        told.as_mut().enable();
        let found = as_it_stands(hub, caller, id).await?;
        let pending = |one: &TaskApproval| one.state == ApprovalState::Pending;
        if !found.iter().all(pending) || found.is_empty() {
            return Ok(found);
        }
        tokio::select! {
            () = told => {}
            () = tokio::time::sleep_until(until) => return Ok(found),
            () = hub.stopping.cancelled() => return Ok(found),
        }
    }
}

/// What the vault of a task waits for, as far as it came. The leaves are on the disk before a released key leaves, and an
/// approval goes to the vault that asked for it and to no other; until its task has ended that vault may ask again.
async fn as_it_stands(
    hub: &Hub,
    caller: &Caller,
    id: TaskId,
) -> Result<Vec<TaskApproval>, HubError> {
    let mut tx = hub.db.write().await?;
    permitted(&mut tx, caller, id, Action::TaskRun).await?;
    let Who::Vault { key, .. } = &caller.who else {
        return Err(HubError::not_found("task", id));
    };
    let (mut found, mut announced) = (Vec::new(), Vec::new());
    let evidence = data::tasks::find(&mut tx, id).await?.and_then(|kept| kept.evidence);
    for kept in data::approvals::of_vault(&mut tx, id, key.id()).await? {
        let request = now_is(kept.request, caller.at);
        let bound = Bound { approval: kept.digest, evidence, ..Bound::default() };
        let (given, card) = match (request.state, kept.approved, kept.keys) {
            (ApprovalState::Approved | ApprovalState::Used, Some((approval, card)), Some(keys)) => {
                (Some(GiveApproval { approval, keys }), Some(card))
            }
            _ => (None, None),
        };
        if let (ApprovalState::Approved, Some(given)) = (request.state, &given) {
            for release in &given.keys {
                let thing = object("dataset", release.dataset);
                let mut event = caller.event(RELEASE, thing, Some(request.project));
                event.purpose = Some(request.kind.as_str().to_owned());
                announced.push(intents::announce(&mut tx, event, bound).await?);
            }
            data::approvals::set_used(&mut tx, request.id).await?;
        }
        found.push(TaskApproval {
            handovers: data::handovers::of_project(&mut tx, request.project).await?,
            id: request.id,
            project: request.project,
            state: request.state,
            reason: request.reason,
            given,
            card,
            log: None,
        });
    }
    let intents = hub.releases.commit(tx, announced).await?;
    hub.changes.made();
    // The key was released by its owner's device; what is left to do is to hand it on.
    let ends = intents.into_iter().map(|intent| hub.releases.close(intent, None, hub.now()));
    for ended in futures_util::future::join_all(ends).await {
        ended?;
    }
    let mut reader = hub.db.read().await?;
    for approval in &mut found {
        let Some(given) = &approval.given else { continue };
        let mut leaves = Vec::new();
        for dataset in given.keys.iter().map(|release| release.dataset) {
            let thing = object("dataset", dataset);
            let leaf = data::audit::announced(&mut reader, &caller.name(), &thing).await?;
            leaves.extend(leaf.map(|leaf| ReleaseLeaf { dataset, leaf }));
        }
        let checkpoint = hub.log.checkpoint(&mut reader).await?.note.to_string();
        approval.log = Some(ReleaseLog { checkpoint, leaves });
    }
    Ok(found)
}
