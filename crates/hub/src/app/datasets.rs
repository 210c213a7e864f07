//! Datasets: made, shown, judged, released, destroyed.

use api::{
    ConfirmDeletion, CreateDataset, Custodian, Dataset, DatasetId, DatasetKind, Deletion,
    DeliveryState, Digest, ErrorCode, Outcome, ProjectId, QualityState, Release, ReleaseRequest,
    Right, Sealed, SealedObject, TaskKind, Time,
};
use custody::{Grounds, Opened};
use proof::Act;
use seal::recipient::RecipientKey;
use seal::wrap::DatasetContext;

use super::caller::object;
use super::{Caller, Purpose, Who, tasks};
use crate::HubError;
use crate::data::audit::Bound;
use crate::data::datasets::{Kept, Narrowed, NewDataset};
use crate::data::events::NewEvent;
use crate::data::intents::{Intent, RELEASE};
use crate::data::{self, Connection};
use crate::policy::{Action, Standing};
use crate::state::Hub;

/// What the log says of a dataset that is destroyed.
const DELETE: &str = "dataset.delete";
/// The purpose under which a dataset's name is sealed.
const NAME: &str = "dataset name";
/// The most that is sealed into a name or into settings.
const MAX_SEALED_BYTES: usize = 128 * 1024;
/// How many blobs are erased with one call of the store.
const ERASED_AT_ONCE: usize = 1000;

/// Where a dataset's key belongs.
pub(crate) const fn context(dataset: &Dataset) -> DatasetContext {
    DatasetContext {
        dataset: dataset.id.to_bytes(),
        project: dataset.project.to_bytes(),
        card_digest: dataset.card_digest.0,
        epoch: dataset.epoch,
    }
}

/// What the caller is to the dataset.
pub(crate) async fn standing(
    at: &mut Connection,
    caller: &Caller,
    dataset: &Dataset,
) -> Result<Standing, HubError> {
    match &caller.who {
        Who::Account { account, .. } | Who::Browser { account, .. } => {
            let maker = dataset.owner == account.id;
            super::projects::member(at, caller, dataset.project, maker).await
        }
        // It finds the runs that it writes, and nothing else of whoever is signed on; they are their owner's, who may have
        // signed off since.
        Who::Instrument { key, .. } => {
            if data::datasets::writer(at, dataset.id).await? != Some(key.id) {
                return Ok(Standing::Stranger);
            }
            let right = data::members::right_of(at, dataset.project, dataset.owner).await?;
            Ok(right.map_or(Standing::Stranger, |right| Standing::Member { right, maker: true }))
        }
        Who::Vault { task, .. } if dataset.task == Some(*task) => Ok(Standing::TaskOutput),
        Who::Vault { task, .. } if data::tasks::reads(at, *task, dataset.id).await? => {
            Ok(Standing::TaskInput)
        }
        Who::Vault { .. } => Ok(Standing::Stranger),
    }
}

/// The dataset, if the caller may do `action` to it.
pub(crate) async fn permitted(
    at: &mut Connection,
    caller: &Caller,
    id: DatasetId,
    action: Action,
) -> Result<Kept, HubError> {
    let Some(kept) = data::datasets::find(at, id).await? else {
        return Err(HubError::not_found("dataset", id));
    };
    let standing = standing(at, caller, &kept.dataset).await?;
    caller.may(action, standing, "dataset", id, Some(kept.dataset.project))?;
    Ok(kept)
}

/// The dataset key, opened for what the hub reads; nothing where the custodian lets it read nothing.
pub(crate) async fn opened(hub: &Hub, dataset: &Dataset) -> Result<Option<Opened>, HubError> {
    let kept = hub.keys.dataset_key(dataset.id.to_bytes(), dataset.epoch).await?;
    let custodian = hub.custodian_of(dataset.custodian, dataset.project, &kept).await?;
    Ok(custodian.open_for_hub(&context(dataset), &kept).await?)
}

/// The dataset with its name opened, where the custodian lets the hub and a person or an instrument asks. A name that
/// does not open is no reason to hide the dataset: it stays sealed, and the log says so.
pub(crate) async fn named(hub: &Hub, caller: &Caller, mut dataset: Dataset) -> Dataset {
    if matches!(caller.who, Who::Account { .. } | Who::Browser { .. } | Who::Instrument { .. }) {
        match opened(hub, &dataset).await {
            Ok(Some(key)) => {
                let name = key.open_label(NAME, &dataset.label.0).ok();
                dataset.name = name.and_then(|name| String::from_utf8(name).ok());
            }
            Ok(None) => {}
            Err(error) => {
                let (id, cause) = (dataset.id, error.causes());
                tracing::warn!(dataset = %id, cause, "the name of a dataset was not opened");
            }
        }
    }
    dataset
}

/// Makes a dataset; the same call again gives the same dataset.
pub(crate) async fn create(
    hub: &Hub,
    caller: &Caller,
    body: CreateDataset,
    made_by: Digest,
) -> Result<Dataset, HubError> {
    let action = match body.kind {
        DatasetKind::Run => Action::RunCreate,
        DatasetKind::App => Action::AppPackageCreate,
        DatasetKind::Sample => Action::SampleCreate,
        DatasetKind::Result => Action::ResultCreate,
    };
    let mut reader = hub.db.read().await?;
    let standing = tasks::project_standing(&mut reader, caller, body.project).await?;
    caller.may(action, standing, "project", body.project, Some(body.project))?;
    if let Some(task) = caller.task() {
        let kept = data::tasks::find(&mut reader, task).await?;
        let run = kept.filter(|kept| kept.task.kind == TaskKind::Demultiplex);
        if body.parent.is_none() || body.parent != run.map(|kept| kept.task.subject) {
            return Err(HubError::bad_request(format!(
                "a task makes datasets of the run that it demultiplexes alone; task {task} has another"
            )));
        }
    } else if let Some(parent) = body.parent {
        permitted(&mut reader, caller, parent, Action::DatasetSee).await?;
    }
    drop(reader);
    let new = NewDataset {
        id: body.id,
        kind: body.kind,
        project: body.project,
        owner: caller.account(),
        writer: super::manifests::signing_key(caller)?,
        label: &body.label,
        settings: body.settings.as_ref(),
        parent: body.parent,
        session: None,
        task: caller.task(),
        reads: body.reads,
        card_digest: body.card_digest,
        made_by,
        created: caller.at,
    };
    hub.open_keys_of(body.project).await?;
    let mut tx = hub.db.write().await?;
    let dataset = match make(hub, &mut tx, caller, &new, &body.wrapped_key.0).await? {
        Made::New(dataset) => {
            let act = action.act();
            let event = caller.event(act, object("dataset", body.id), Some(body.project));
            data::events::record(&mut tx, &event).await?;
            tx.commit().await?;
            super::descriptions::keep_after(hub).await;
            dataset
        }
        Made::Before(dataset) => dataset,
    };
    Ok(named(hub, caller, dataset).await)
}

/// What [`make`] found.
pub(crate) enum Made {
    /// A dataset that was not there.
    New(Dataset),
    /// The dataset that the same call made before.
    Before(Dataset),
}

/// Makes a dataset within the caller's transaction, which keeps others from making one of the same id meanwhile. Its key
/// is in both places of the key store before this returns. The keys of the project's organization must be open already.
pub(crate) async fn make(
    hub: &Hub,
    at: &mut Connection,
    caller: &Caller,
    new: &NewDataset<'_>,
    wrapped_key: &[u8],
) -> Result<Made, HubError> {
    let (id, project) = (new.id, new.project);
    let taken =
        || HubError::conflict(format!("the dataset id {id} is taken")).hint("choose another id");
    if let Some(before) = data::datasets::find(at, id).await? {
        // The same instrument asks again, though another technician may be signed on by now.
        let by_writer = data::datasets::writer(at, id).await? == Some(new.writer);
        let same =
            before.made_by == new.made_by && (by_writer || before.dataset.owner == new.owner);
        return if same { Ok(Made::Before(before.dataset)) } else { Err(taken()) };
    }
    let longest = new.settings.map_or(0, |settings| settings.0.len()).max(new.label.0.len());
    if longest > MAX_SEALED_BYTES {
        return Err(HubError::new(
            ErrorCode::TooLarge,
            format!("a sealed text of {longest} bytes is longer than {MAX_SEALED_BYTES}"),
        ));
    }
    let Some(custodian) = data::projects::custodian(at, project).await? else {
        return Err(HubError::not_found("project", project));
    };
    card_is_in_force(at, project, new.card_digest).await?;
    let place = DatasetContext {
        dataset: id.to_bytes(),
        project: project.to_bytes(),
        card_digest: new.card_digest.0,
        epoch: 0,
    };
    let custodian = hub.custodian_within(at, custodian, project).await?;
    let kept = custodian.adopt(&place, wrapped_key).await?;
    match hub.keys.put_dataset_key(id.to_bytes(), 0, kept).await {
        Ok(()) => {}
        Err(store::KeyStoreError::Destroyed { .. }) => {
            return Err(HubError::conflict(format!("dataset {id} was deleted, for ever"))
                .hint("choose another id"));
        }
        Err(error) => return Err(error.into()),
    }
    match data::datasets::insert(at, new).await {
        Ok(()) => {}
        Err(error) if data::is_taken(&error) => return Err(taken()),
        Err(error) => return Err(error.into()),
    }
    let Some(made) = data::datasets::find(at, id).await? else {
        return Err(HubError::not_found("project", project));
    };
    tracing::debug!(dataset = %id, by = caller.name(), "a dataset was made");
    Ok(Made::New(made.dataset))
}

/// Refuses a card that is not the one in force: its custodian might be another.
pub(crate) async fn card_is_in_force(
    at: &mut Connection,
    project: ProjectId,
    digest: Digest,
) -> Result<(), HubError> {
    match data::cards::in_force(at, project).await? {
        Some(card) if card.digest == digest => Ok(()),
        _ => Err(HubError::conflict(format!(
            "the card {digest} is not the one in force in project {project}"
        ))
        .hint("get the project's card again, compare its words, and wrap the key under it")),
    }
}

/// The dataset as the caller sees it.
pub(crate) async fn show(hub: &Hub, caller: &Caller, id: DatasetId) -> Result<Dataset, HubError> {
    let mut reader = hub.db.read().await?;
    let kept = permitted(&mut reader, caller, id, Action::DatasetSee).await?;
    drop(reader);
    Ok(named(hub, caller, kept.dataset).await)
}

/// As [`show`], for one of this kind; another kind is not found under this name.
pub(crate) async fn show_kind(
    hub: &Hub,
    caller: &Caller,
    id: DatasetId,
    kind: DatasetKind,
) -> Result<Dataset, HubError> {
    let dataset = show(hub, caller, id).await?;
    if dataset.kind == kind { Ok(dataset) } else { Err(HubError::not_found(kind.as_str(), id)) }
}

/// Datasets of the caller's projects, after `after`.
pub(crate) async fn list(
    hub: &Hub,
    caller: &Caller,
    narrowed: Narrowed,
    after: &str,
    rows: i64,
) -> Result<Vec<Dataset>, HubError> {
    caller.may_here(Action::ListOwn)?;
    let mut reader = hub.db.read().await?;
    let kept = data::datasets::list(&mut reader, caller.viewer(), narrowed, after, rows).await?;
    drop(reader);
    let mut datasets = Vec::with_capacity(kept.len());
    for kept in kept {
        datasets.push(named(hub, caller, kept.dataset).await);
    }
    Ok(datasets)
}

/// The sealed settings.
pub(crate) async fn settings(
    hub: &Hub,
    caller: &Caller,
    id: DatasetId,
) -> Result<Option<Sealed>, HubError> {
    let mut reader = hub.db.read().await?;
    Ok(permitted(&mut reader, caller, id, Action::SettingsGet).await?.settings)
}

/// Judges a dataset's quality.
pub(crate) async fn set_quality(
    hub: &Hub,
    caller: &Caller,
    id: DatasetId,
    state: QualityState,
) -> Result<Dataset, HubError> {
    let mut tx = hub.db.write().await?;
    let kept = permitted(&mut tx, caller, id, Action::StateSet).await?;
    data::datasets::set_quality(&mut tx, id, state, caller.at).await?;
    let event = caller.event("dataset.quality", object("dataset", id), Some(kept.dataset.project));
    data::events::record(&mut tx, &event).await?;
    tx.commit().await?;
    show(hub, caller, id).await
}

/// Says whether a dataset was handed on.
pub(crate) async fn set_delivery(
    hub: &Hub,
    caller: &Caller,
    id: DatasetId,
    state: DeliveryState,
) -> Result<Dataset, HubError> {
    let mut tx = hub.db.write().await?;
    let kept = permitted(&mut tx, caller, id, Action::StateSet).await?;
    data::datasets::set_delivery(&mut tx, id, state, caller.at).await?;
    let event = caller.event("dataset.delivery", object("dataset", id), Some(kept.dataset.project));
    data::events::record(&mut tx, &event).await?;
    tx.commit().await?;
    show(hub, caller, id).await
}

/// Wraps the dataset key to the recipient that the caller names.
pub(crate) async fn release(
    hub: &Hub,
    caller: &Caller,
    id: DatasetId,
    body: ReleaseRequest,
) -> Result<Release, HubError> {
    let purpose = Purpose::parse(&body.purpose)?;
    let mut reader = hub.db.read().await?;
    let kept = permitted(&mut reader, caller, id, Action::DatasetRelease).await?;
    drop(reader);
    let to = RecipientKey::from_bytes(&body.recipient.0)
        .map_err(|e| HubError::bad_request(format!("the recipient is not usable: {e}")))?;
    let project = Some(kept.dataset.project);
    let mut event = caller.event(RELEASE, object("dataset", id), project);
    event.purpose = Some(purpose.as_str().to_owned());
    let intent = hub.releases.intend(event, Bound::default()).await?;
    let grounds = Grounds::Policy { purpose: purpose.as_str() };
    release_to(hub, intent, &kept.dataset, &to, grounds).await
}

/// Has the custodian wrap a dataset's key to `to`. The caller of this has decided, and has announced it; what comes back
/// may leave, because its outcome is in the log.
pub(crate) async fn release_to(
    hub: &Hub,
    intent: Intent,
    dataset: &Dataset,
    to: &RecipientKey,
    grounds: Grounds<'_>,
) -> Result<Release, HubError> {
    release_at(hub, intent, dataset.custodian, &context(dataset), to, grounds).await
}

/// As [`release_to`], for the key that belongs to this context: the one place from which a key leaves.
pub(crate) async fn release_at(
    hub: &Hub,
    intent: Intent,
    custodian: Custodian,
    place: &DatasetContext,
    to: &RecipientKey,
    grounds: Grounds<'_>,
) -> Result<Release, HubError> {
    let leaf = intent.leaf();
    let wrapped = async {
        let kept = hub.keys.dataset_key(place.dataset, place.epoch).await?;
        let project = ProjectId::from_bytes(place.project);
        let custodian = hub.custodian_of(custodian, project, &kept).await?;
        Ok::<_, HubError>(custodian.release(place, &kept, to, grounds).await?)
    }
    .await;
    hub.releases.close(intent, wrapped.as_ref().err(), hub.now()).await?;
    Ok(Release {
        dataset: DatasetId::from_bytes(place.dataset),
        project: ProjectId::from_bytes(place.project),
        card_digest: Digest(place.card_digest),
        epoch: place.epoch,
        wrapped_key: api::Bytes(wrapped?),
        leaf: Some(leaf),
    })
}

/// An object with the wrapped key beside it.
pub(crate) async fn with_key(
    hub: &Hub,
    dataset: DatasetId,
    kept: data::objects::Kept,
) -> Result<SealedObject, HubError> {
    let key = hub.keys.wrapped_key(dataset.to_bytes(), kept.object.0).await?;
    Ok(SealedObject {
        object: kept.object,
        hash: kept.hash,
        sealed_bytes: kept.bytes,
        epoch: kept.epoch,
        wrapped_key: api::Bytes(key.to_vec()),
    })
}

/// Deletes a dataset: its keys, then its bytes, then its rows. What stops half-way goes on at the next start.
pub(crate) async fn delete(
    hub: &Hub,
    caller: &Caller,
    id: DatasetId,
    body: &ConfirmDeletion,
) -> Result<Deletion, HubError> {
    let mut tx = hub.db.write().await?;
    let kept = permitted(&mut tx, caller, id, Action::DatasetDelete).await?;
    if body.confirm != id.to_string() {
        return Err(HubError::bad_request(format!("`{}` is not dataset {id}", body.confirm))
            .hint("deleting is for ever: repeat the id of what is to go"));
    }
    let mut bound = Bound::default();
    if kept.dataset.custodian == Custodian::Owner {
        let names = |act: &Act| matches!(act, Act::Delete(delete) if delete.dataset == Some(id));
        let (project, given) = (kept.dataset.project, body.approval.as_ref());
        let approval = super::approvals::spend(&mut tx, caller, project, given, names).await?;
        bound.approval = Some(approval);
    }
    data::datasets::begin_deletion(&mut tx, id, caller.at).await?;
    tasks::cancel_all_of(hub, &mut tx, id, caller.at).await?;
    let project = kept.dataset.project;
    let event = caller.event(DELETE, object("dataset", id), Some(project));
    data::events::record_bound(&mut tx, &event, &bound).await?;
    tx.commit().await?;
    hub.engine.stop_cancelled();
    hub.changes.made();
    // A caller that hangs up does not stop it half-way.
    let work = hub.background.spawn({
        let hub = hub.clone();
        async move { finish_deletion(&hub, id).await }
    });
    work.await.map_err(|e| HubError::internal(format!("deleting dataset {id} was stopped"), e))?
}

/// Begins the deletion of what a vault made and nobody shall keep, by the hub's own hand: the log says so, as of every deletion.
pub(super) async fn take_back(
    at: &mut Connection,
    dataset: &Dataset,
    now: Time,
) -> Result<(), HubError> {
    data::datasets::begin_deletion(at, dataset.id, now).await?;
    let event = NewEvent {
        at: now,
        actor: "hub".to_owned(),
        act: DELETE,
        object: object("dataset", dataset.id),
        project: Some(dataset.project),
        purpose: None,
        outcome: Outcome::Done,
        reason: None,
        request: None,
    };
    data::events::record(at, &event).await
}

/// Brings a deletion that began to its end.
pub(crate) async fn finish_deletion(hub: &Hub, id: DatasetId) -> Result<Deletion, HubError> {
    let deletion = destroy(hub, id).await?;
    let mut tx = hub.db.write().await?;
    data::tasks::remove_of(&mut tx, id).await?;
    data::datasets::remove(&mut tx, id).await?;
    tx.commit().await?;
    hub.db.forget().await?;
    Ok(deletion)
}

/// Destroys the keys of a dataset, then its blobs; the rows stay for whoever goes on after a stop.
async fn destroy(hub: &Hub, id: DatasetId) -> Result<Deletion, HubError> {
    hub.keys.destroy(id.to_bytes()).await?;
    let mut reader = hub.db.read().await?;
    let objects = data::objects::all(&mut reader, id).await?;
    drop(reader);
    let mut names = names_of(&objects);
    names.push(deletion_mark(id.to_bytes()));
    let facilities_pending = erase(hub, &names).await?;
    Ok(Deletion {
        datasets: 1,
        objects: objects.len() as u64,
        sealed_bytes: objects.iter().map(|kept| kept.bytes).sum(),
        facilities_pending,
        snapshots_until: hub.snapshots_until(),
    })
}

/// The name that is erased with a dataset or a project: no blob has it, and every facility remembers it. By it a database
/// from before the deletion learns that the thing is gone.
pub(crate) fn deletion_mark(id: [u8; 16]) -> Digest {
    proof::sha256(&[&b"chorion deleted\n"[..], &id].concat())
}

fn names_of(objects: &[data::objects::Kept]) -> Vec<Digest> {
    objects.iter().map(|kept| kept.hash).collect()
}

/// Erases these blobs in every facility; says which facilities were away. That they are erased is on the disk of the database
/// before the first facility is told, and stays there until every one has confirmed it: so the answer depends on no
/// facility, and on none that is lost afterwards.
pub(super) async fn erase(hub: &Hub, names: &[Digest]) -> Result<Vec<String>, HubError> {
    let mut all = Vec::new();
    for some in names.chunks(ERASED_AT_ONCE) {
        let mut tx = hub.db.write().await?;
        data::erasures::insert(&mut tx, some, hub.now()).await?;
        tx.commit().await?;
        let pending = tell_facilities(hub, some).await?;
        if pending.is_empty() {
            let mut tx = hub.db.write().await?;
            data::erasures::remove(&mut tx, some).await?;
            tx.commit().await?;
        }
        all.extend(pending);
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// As [`erase`], within the caller's transaction, which also removes the rows that say what is to be erased.
async fn erase_within(
    hub: &Hub,
    at: &mut Connection,
    names: &[Digest],
) -> Result<Vec<String>, HubError> {
    let mut all = Vec::new();
    for some in names.chunks(ERASED_AT_ONCE) {
        let pending = tell_facilities(hub, some).await?;
        if !pending.is_empty() {
            data::erasures::insert(at, some, hub.now()).await?;
        }
        all.extend(pending);
    }
    Ok(all)
}

/// Tells every facility to erase, and gives those that did not confirm it.
async fn tell_facilities(hub: &Hub, names: &[Digest]) -> Result<Vec<String>, HubError> {
    let hashes: Vec<_> = names.iter().map(|name| store::BlobHash::from_bytes(name.0)).collect();
    match hub.store.erase(&hashes).await {
        Ok(erasure) => Ok(erasure.waiting_for.iter().map(ToString::to_string).collect()),
        // Not one of them answers: all are told when they come back.
        Err(store::StoreError::NotErased { source }) => {
            tracing::warn!("no facility took an erasure: {source}");
            let all = hub.store.status().await;
            Ok(all.iter().map(|facility| facility.id.to_string()).collect())
        }
        Err(error) => Err(error.into()),
    }
}

/// Tells facilities once more what some of them have not confirmed.
pub(crate) async fn erase_again(hub: &Hub) -> Result<(), HubError> {
    let mut after = Vec::new();
    loop {
        let limit = i64::try_from(ERASED_AT_ONCE).unwrap_or(i64::MAX);
        let some = data::erasures::some(&mut *hub.db.read().await?, &after, limit).await?;
        let Some(last) = some.last() else { return Ok(()) };
        after = last.0.to_vec();
        if tell_facilities(hub, &some).await?.is_empty() {
            let mut tx = hub.db.write().await?;
            data::erasures::remove(&mut tx, &some).await?;
            tx.commit().await?;
        }
    }
}

/// Destroys what counts no more in a dataset: objects of an older epoch, or of one to come that was given up.
pub(crate) async fn destroy_remains(hub: &Hub, id: DatasetId) -> Result<(), HubError> {
    let mut tx = hub.db.write().await?;
    let Some(kept) = data::datasets::find(&mut tx, id).await? else { return Ok(()) };
    destroy_remains_within(hub, &mut tx, &kept.dataset).await?;
    tx.commit().await?;
    if let Err(error) = hub.db.forget().await {
        tracing::warn!(dataset = %id, "old rows stay in the log for now: {error}");
    }
    Ok(())
}

/// As [`destroy_remains`], within the caller's transaction, which keeps a new epoch from being opened meanwhile. Keys go
/// first, then bytes, then rows.
pub(crate) async fn destroy_remains_within(
    hub: &Hub,
    at: &mut Connection,
    dataset: &Dataset,
) -> Result<(), HubError> {
    let (id, epoch) = (dataset.id, dataset.epoch);
    let coming = data::datasets::reseal(at, id).await?.map(|reseal| reseal.epoch);
    let counts = |of: u32| of == epoch || Some(of) == coming;
    let mut remains = data::objects::all(at, id).await?;
    remains.retain(|kept| !counts(kept.epoch));
    destroy_objects_within(hub, at, id, &remains).await?;
    for old in hub.keys.wrapped_keys(id.to_bytes()).await?.dataset_keys.into_keys() {
        // An epoch that was given up stays open: the next attempt puts its own key there.
        if old < epoch {
            hub.keys.destroy_epoch(id.to_bytes(), old).await?;
        }
    }
    let mut epochs: Vec<u32> = remains.iter().map(|kept| kept.epoch).collect();
    epochs.sort_unstable();
    epochs.dedup();
    for old in epochs {
        data::objects::remove_epoch(at, id, old).await?;
    }
    Ok(())
}

/// Destroys the keys of these objects, then erases their bytes.
pub(crate) async fn destroy_objects(
    hub: &Hub,
    id: DatasetId,
    objects: &[data::objects::Kept],
) -> Result<(), HubError> {
    if objects.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = objects.iter().map(|kept| kept.object.0).collect();
    hub.keys.destroy_objects(id.to_bytes(), &names).await?;
    let pending = erase(hub, &names_of(objects)).await?;
    if !pending.is_empty() {
        tracing::warn!(dataset = %id, ?pending, "facilities are away and erase when they come back");
    }
    Ok(())
}

/// As [`destroy_objects`], within the caller's transaction.
async fn destroy_objects_within(
    hub: &Hub,
    at: &mut Connection,
    id: DatasetId,
    objects: &[data::objects::Kept],
) -> Result<(), HubError> {
    if objects.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = objects.iter().map(|kept| kept.object.0).collect();
    hub.keys.destroy_objects(id.to_bytes(), &names).await?;
    let pending = erase_within(hub, at, &names_of(objects)).await?;
    if !pending.is_empty() {
        tracing::warn!(dataset = %id, ?pending, "facilities are away and erase when they come back");
    }
    Ok(())
}

/// Destroys the keys of every dataset of `project`, then erases its blobs, as part of deleting the project: the rows go
/// with the project's own. Safe to call again after it was stopped half-way.
pub(crate) async fn destroy_all(hub: &Hub, project: ProjectId) -> Result<Deletion, HubError> {
    let mut tx = hub.db.write().await?;
    let ids = data::datasets::of_project(&mut tx, project).await?;
    let now = hub.now();
    for id in &ids {
        data::datasets::begin_deletion(&mut tx, *id, now).await?;
        tasks::cancel_all_of(hub, &mut tx, *id, now).await?;
    }
    tx.commit().await?;
    hub.engine.stop_cancelled();
    hub.changes.made();
    let mut all = Deletion {
        datasets: 0,
        objects: 0,
        sealed_bytes: 0,
        facilities_pending: Vec::new(),
        snapshots_until: hub.snapshots_until(),
    };
    // Every key first: once they are gone nothing opens, however far the erasing comes.
    for id in &ids {
        hub.keys.destroy(id.to_bytes()).await?;
    }
    for id in ids {
        let one = destroy(hub, id).await?;
        all.datasets += one.datasets;
        all.objects += one.objects;
        all.sealed_bytes += one.sealed_bytes;
        all.facilities_pending.extend(one.facilities_pending);
    }
    all.facilities_pending.sort_unstable();
    all.facilities_pending.dedup();
    Ok(all)
}

/// Whether a right is enough to put something into a project.
pub(crate) fn may_create(right: Option<Right>) -> bool {
    right.is_some_and(|right| right >= Right::Create)
}
