//! Manifests: what a dataset holds, signed by its writer and compared with what arrived.

use std::sync::Arc;

use api::{
    Dataset, DatasetId, DatasetKind, Digest, ErrorCode, ExecutionState, File, KeyId, NoticeKind,
    PutManifest, SealedObject, SignedStatement, TaskKind, TaskState,
};
use bytes::Bytes;
use custody::Opened;
use proof::{Extent, Index, Manifest, ObjectSet, digest_of, open_statement};

use super::caller::object;
use super::datasets::{named, opened, permitted, with_key};
use super::objects::writable;
use super::{Caller, Who, tasks};
use crate::HubError;
use crate::data::audit::Bound;
use crate::data::datasets::Kept;
use crate::data::notices::NewNotice;
use crate::data::{self, Connection};
use crate::policy::Action;
use crate::state::Hub;

/// How many objects of an index are read into memory at most: an index of a million files is a few of them.
const MOST_INDEX_BYTES: u64 = 512 * 1024 * 1024;
/// The largest file that a page is made from.
const MOST_SHOWN_BYTES: u64 = 8 * 1024 * 1024;

/// The key that signed the call: the one whose manifests count, because policy let it write. A browser signs nothing.
pub(crate) fn signing_key(caller: &Caller) -> Result<KeyId, HubError> {
    match &caller.who {
        Who::Account { key, .. } | Who::Instrument { key, .. } => Ok(key.id),
        Who::Vault { key, .. } => Ok(key.id()),
        Who::Browser { .. } => {
            Err(HubError::bad_request("a browser has no key that writes datasets")
                .hint("use the command line: its key signs what it writes"))
        }
    }
}

/// Puts a manifest in force. The same manifest again is a success. `more` says that the run goes on arriving: the manifest lists
/// what is whole so far, and closes nothing.
pub(crate) async fn put(
    hub: &Hub,
    caller: &Caller,
    id: DatasetId,
    body: PutManifest,
    demultiplex: bool,
    more: bool,
) -> Result<Dataset, HubError> {
    let signed = body.manifest;
    let mut tx = hub.db.write().await?;
    let kept = writable(&mut tx, caller, id, Action::ManifestPut).await?;
    let before = data::manifests::find(&mut tx, id, kept.dataset.manifest_number).await?;
    if before.as_ref().is_some_and(|before| before.signed == signed) {
        tx.rollback().await?;
        return Ok(named(hub, caller, kept.dataset).await);
    }
    if more && (kept.dataset.kind != DatasetKind::Run || kept.is_closed()) {
        return Err(HubError::conflict(format!("dataset {id} is no run that is arriving"))
            .hint("a manifest without `more` closes a dataset, or follows the one that did"));
    }
    let reseal = data::datasets::reseal(&mut tx, id).await?;
    let swap = match (&reseal, caller.task()) {
        (Some(reseal), Some(task)) if reseal.task == task => Some(reseal),
        (Some(_), _) => {
            return Err(HubError::conflict(format!("dataset {id} is being written anew"))
                .hint("try again when its task has ended"));
        }
        (None, _) => None,
    };
    let (epoch, card) = swap.map_or((kept.dataset.epoch, kept.dataset.card_digest), |reseal| {
        (reseal.epoch, reseal.card_digest)
    });
    let manifest = open(hub, caller, &kept, &signed)?;
    fits(&kept, before.as_ref().map(|before| before.digest), epoch, card, &manifest)?;
    arrived(&mut tx, &manifest).await?;

    let keep = data::manifests::Kept { digest: digest_of(&signed), signed };
    match data::manifests::insert(&mut tx, &manifest, &keep, caller.at).await {
        Ok(()) => {}
        Err(error) if data::is_taken(&error) => return Err(number(&kept, manifest.number)),
        Err(error) => return Err(error.into()),
    }
    if caller.task().is_some() {
        // Requests end with their tasks; by whose yes a vault wrote is known for as long as what it wrote is there.
        let key = signing_key(caller)?;
        let yes = data::approvals::of_writer(&mut tx, kept.dataset.project, key).await?;
        if let Some((approval, card)) = yes {
            let under = (&approval, &card);
            data::approvals::set_writer(&mut tx, id, keep.digest, under).await?;
        }
    }
    if let Some(reseal) = swap {
        data::datasets::swap_epoch(&mut tx, id, reseal, caller.at).await?;
    }
    let (reads, now) = (body.reads, caller.at);
    data::datasets::set_manifest(&mut tx, id, manifest.number, reads, more, now).await?;
    if more && demultiplex {
        tasks::queue_early(hub, &mut tx, caller, &kept.dataset).await?;
    }
    if swap.is_none() && !more {
        let state = after_manifest(hub, &mut tx, caller, &kept.dataset, demultiplex).await?;
        data::datasets::set_execution(&mut tx, id, state, None, caller.at).await?;
        if (kept.dataset.kind, state) == (DatasetKind::Run, ExecutionState::Complete) {
            let notice = NewNotice {
                account: kept.dataset.owner,
                kind: NoticeKind::RunFinished,
                subject: object("dataset", id),
                project: Some(kept.dataset.project),
                once: None,
                at: caller.at,
            };
            data::notices::tell(&mut tx, &notice).await?;
        }
    }
    let event = caller.event("manifest.put", object("dataset", id), Some(kept.dataset.project));
    data::events::record_bound(&mut tx, &event, &Bound::to_statement(keep.digest)).await?;
    let dataset = data::datasets::find(&mut tx, id).await?;
    tx.commit().await?;
    if swap.is_some() {
        // From here on the old key opens nothing: what it wrapped is destroyed before the vault hears that it is done.
        super::datasets::destroy_remains(hub, id).await?;
    }
    super::descriptions::keep_after(hub).await;
    hub.engine.wake();
    match dataset {
        Some(kept) => Ok(named(hub, caller, kept.dataset).await),
        None => Err(HubError::not_found("dataset", id)),
    }
}

/// The manifest inside, if the key that signs the call signed it for this hub.
fn open(
    hub: &Hub,
    caller: &Caller,
    kept: &Kept,
    signed: &SignedStatement,
) -> Result<Manifest, HubError> {
    let id = kept.dataset.id;
    let (manifest, signer) = open_statement::<Manifest>(signed)
        .map_err(|e| HubError::bad_request(format!("the manifest does not count: {e}")))?;
    if signer.id() != signing_key(caller)? {
        return Err(HubError::new(
            ErrorCode::Forbidden,
            format!(
                "the manifest of dataset {id} is signed by key {}, which does not sign this call",
                signer.id()
            ),
        )
        .hint(
            "a manifest counts when its writer sends it: sign it with the key that signs the call",
        )
        .refusing("manifest.put", object("dataset", id), Some(kept.dataset.project)));
    }
    if manifest.hub != hub.id || manifest.dataset != id || manifest.project != kept.dataset.project
    {
        return Err(HubError::bad_request(format!(
            "the manifest speaks of dataset {} of project {} at hub {}",
            manifest.dataset, manifest.project, manifest.hub
        )));
    }
    Ok(manifest)
}

/// Whether the manifest follows the one in force, under the card and the epoch that it must have.
fn fits(
    kept: &Kept,
    previous: Option<Digest>,
    epoch: u32,
    card: Digest,
    manifest: &Manifest,
) -> Result<(), HubError> {
    let id = kept.dataset.id;
    if manifest.card != card || manifest.epoch != epoch {
        return Err(HubError::conflict(format!(
            "the manifest of dataset {id} is of card {} and epoch {}; {card} and {epoch} are in force",
            manifest.card, manifest.epoch
        ))
        .hint("seal under the card and the epoch in force"));
    }
    if manifest.number != kept.dataset.manifest_number + 1 {
        return Err(number(kept, manifest.number));
    }
    if manifest.previous != previous {
        return Err(HubError::conflict(format!(
            "the manifest of dataset {id} does not follow the one in force"
        ))
        .hint("get the manifest in force and name its digest as the previous one"));
    }
    Ok(())
}

fn number(kept: &Kept, found: u32) -> HubError {
    let Dataset { id, manifest_number, .. } = kept.dataset;
    HubError::conflict(format!(
        "manifest {found} of dataset {id} does not follow number {manifest_number}, which is in force"
    ))
    .hint("get the manifest in force: somebody wrote one since, or this is an old one")
}

/// Compares what the manifest says with what is here.
///
/// Objects that held the index of an earlier manifest are of no file, and a writer may leave them out of its set.
async fn arrived(at: &mut Connection, manifest: &Manifest) -> Result<(), HubError> {
    let id = manifest.dataset;
    let mut held = data::objects::set_of(at, id, manifest.epoch).await?;
    let mut missing = Vec::new();
    for extent in &manifest.index {
        if data::objects::find(at, id, extent.object)
            .await?
            .is_none_or(|o| o.epoch != manifest.epoch)
        {
            missing.push(extent.object.to_string());
        }
    }
    missing.dedup();
    if missing.is_empty() && says(manifest, &held) {
        return Ok(());
    }
    for earlier in data::manifests::of_epoch(at, id, manifest.epoch).await? {
        if let Ok((earlier, _)) = open_statement::<Manifest>(&earlier.signed) {
            for extent in &earlier.index {
                if !manifest.index.iter().any(|now| now.object == extent.object) {
                    held.remove(&extent.object);
                }
            }
        }
    }
    if missing.is_empty() && says(manifest, &held) {
        return Ok(());
    }
    let here = format!("{} objects of {} bytes", held.len(), held.sealed_bytes());
    let listed = format!("{} objects of {} bytes", manifest.objects, manifest.sealed_bytes);
    let what = if missing.is_empty() {
        format!("the manifest of dataset {id} lists {listed}; here are {here}, with another digest")
    } else {
        let names = missing.join(", ");
        format!("the manifest of dataset {id} lists {listed}; here are {here}, without {names}")
    };
    Err(HubError::new(ErrorCode::DigestMismatch, what)
        .hint("ask `objects/have` or list the objects, and send what is missing"))
}

fn says(manifest: &Manifest, held: &ObjectSet) -> bool {
    manifest.objects == held.len()
        && manifest.sealed_bytes == held.sealed_bytes()
        && manifest.objects_digest == held.digest()
}

/// Where a dataset stands once its content is closed. What a vault made is whole when its task has ended.
async fn after_manifest(
    hub: &Hub,
    at: &mut Connection,
    caller: &Caller,
    dataset: &Dataset,
    demultiplex: bool,
) -> Result<ExecutionState, HubError> {
    if caller.task().is_some() {
        return Ok(ExecutionState::Processing);
    }
    if dataset.kind != DatasetKind::Run {
        if demultiplex {
            return Err(HubError::bad_request(format!("dataset {} is no run", dataset.id)));
        }
        return Ok(ExecutionState::Complete);
    }
    let mut busy = false;
    for kept in data::tasks::unfinished_of(at, dataset.id).await? {
        if kept.task.kind != TaskKind::Demultiplex || kept.task.subject != dataset.id {
            continue;
        }
        // One that runs already saw less than there is now: another one takes up what it makes. One that still waits for an owner has
        // made nothing: the owner is asked once, for all of it.
        if kept.early && kept.task.state == TaskState::Running {
            if data::approvals::is_awaited(at, kept.task.id).await? {
                let (state, why) =
                    (TaskState::Cancelled, Some("the run was closed before it began"));
                tasks::close(hub, at, &kept, state, why, None, caller.at).await?;
            }
            continue;
        }
        if kept.early {
            data::tasks::set_not_early(at, kept.task.id).await?;
        }
        busy = true;
    }
    if demultiplex && !busy {
        tasks::queue_demultiplex(hub, at, caller, dataset, None).await?;
    }
    Ok(if demultiplex || busy { ExecutionState::Processing } else { ExecutionState::Complete })
}

/// The manifest in force, or the one of that number.
pub(crate) async fn show(
    hub: &Hub,
    caller: &Caller,
    id: DatasetId,
    number: Option<u32>,
) -> Result<SignedStatement, HubError> {
    let mut reader = hub.db.read().await?;
    let kept = permitted(&mut reader, caller, id, Action::ManifestGet).await?;
    let number = number.unwrap_or(kept.dataset.manifest_number);
    let found = data::manifests::find(&mut reader, id, number).await?;
    found.map(|kept| kept.signed).ok_or_else(|| {
        HubError::new(ErrorCode::NotFound, format!("dataset {id} has no manifest {number}"))
            .hint("it has one once its writer has closed it")
    })
}

/// The files of a dataset, opened through its custodian and checked against the signed manifest.
pub(crate) async fn files(
    hub: &Hub,
    caller: &Caller,
    id: DatasetId,
) -> Result<Vec<File>, HubError> {
    let mut reader = hub.db.read().await?;
    let kept = permitted(&mut reader, caller, id, Action::FileList).await?;
    drop(reader);
    let file = |entry: proof::FileEntry| File {
        path: entry.path,
        bytes: entry.bytes,
        sha256: entry.sha256,
    };
    let contents = Contents::open(hub, &kept).await?;
    Ok(contents.map_or_else(Vec::new, |found| found.index.files.into_iter().map(file).collect()))
}

/// What a dataset holds, as far as the hub may see it: its list of files, and the key that opens those that pages show.
pub(crate) struct Contents {
    dataset: DatasetId,
    key: Arc<Opened>,
    index: Index,
}

impl Contents {
    /// Opened through the custodian; nothing of a dataset without a manifest. Who may see it was asked before.
    pub(crate) async fn open(hub: &Hub, kept: &Kept) -> Result<Option<Self>, HubError> {
        let (id, number) = (kept.dataset.id, kept.dataset.manifest_number);
        let mut reader = hub.db.read().await?;
        let signed = data::manifests::find(&mut reader, id, number).await?;
        drop(reader);
        let Some(signed) = signed else { return Ok(None) };
        let (manifest, _) = open_statement::<Manifest>(&signed.signed)
            .map_err(|e| HubError::internal("a manifest in the database does not read", e))?;
        let Some(key) = opened(hub, &kept.dataset).await?.map(Arc::new) else {
            return Err(HubError::new(
                ErrorCode::KeyRefused,
                format!("the hub cannot open the list of files of dataset {id}"),
            )
            .hint("its owner's device can, and the command line with a released key"));
        };
        let objects = sealed(hub, id, &manifest.index, MOST_INDEX_BYTES).await?;
        let Some(objects) = objects else {
            return Err(HubError::new(
                ErrorCode::TooLarge,
                format!("the list of files of dataset {id} is larger than the hub opens"),
            )
            .hint("get its key and open the list yourself: `chorion run show`"));
        };
        let opener = Arc::clone(&key);
        let opening = move || opener.open_index(&manifest, &objects);
        let index = tokio::task::spawn_blocking(opening)
            .await
            .map_err(|e| HubError::internal("opening a list of files was stopped", e))?
            .map_err(|e| {
                HubError::internal(format!("the list of files of dataset {id} does not open"), e)
            })?;
        Ok(Some(Self { dataset: id, key, index }))
    }

    /// A file that pages show (`custody::SHOWN`), whole; nothing where there is none of this name.
    pub(crate) async fn shown(&self, hub: &Hub, path: &str) -> Result<Option<Vec<u8>>, HubError> {
        let Some(file) = self.index.file(path).cloned() else { return Ok(None) };
        let id = self.dataset;
        let large = || {
            HubError::new(
                ErrorCode::TooLarge,
                format!("`{}` of dataset {id} is larger than the hub shows", file.path),
            )
            .hint("download it: `chorion result download`")
        };
        if file.bytes > MOST_SHOWN_BYTES {
            return Err(large());
        }
        let objects = sealed(hub, id, &file.extents, MOST_INDEX_BYTES).await?.ok_or_else(large)?;
        let key = Arc::clone(&self.key);
        let opening = move || key.open_shown(&file, &objects);
        tokio::task::spawn_blocking(opening)
            .await
            .map_err(|e| HubError::internal("opening a file was stopped", e))?
            .map(Some)
            .map_err(|e| HubError::internal(format!("a file of dataset {id} does not open"), e))
    }
}

/// The sealed objects that hold these extents, each once; nothing where they have more bytes than `most`.
async fn sealed(
    hub: &Hub,
    id: DatasetId,
    extents: &[Extent],
    most: u64,
) -> Result<Option<Vec<(SealedObject, Bytes)>>, HubError> {
    let mut reader = hub.db.read().await?;
    let mut found: Vec<data::objects::Kept> = Vec::new();
    for extent in extents {
        if found.iter().any(|kept| kept.object == extent.object) {
            continue;
        }
        if let Some(kept) = data::objects::find(&mut reader, id, extent.object).await? {
            found.push(kept);
        }
    }
    drop(reader);
    if found.iter().map(|kept| kept.bytes).sum::<u64>() > most {
        return Ok(None);
    }
    let mut objects = Vec::with_capacity(found.len());
    for kept in found {
        let sealed = super::objects::bytes(hub, &kept, 0..kept.bytes).await?;
        objects.push((with_key(hub, id, kept).await?, sealed));
    }
    Ok(Some(objects))
}
