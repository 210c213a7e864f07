//! Sealed objects: put, asked for, listed, got. The hub reads their prefix and nothing after it.

use api::{
    Acknowledged, DatasetId, Digest, ErrorCode, ExecutionState, HaveQuery, ObjectRef, SealedObject,
    TaskKind,
};
use bytes::Bytes;
use seal::Prefix;

use super::datasets::{permitted, with_key};
use super::{Caller, Who};
use crate::HubError;
use crate::data::datasets::Kept as Dataset;
use crate::data::objects::{Kept, other_bytes};
use crate::data::{self, Connection};
use crate::policy::{Action, Standing};
use crate::state::Hub;

/// How many objects may be asked for at once.
const MOST_ASKED: usize = 1000;

/// What comes with the bytes of an object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Envelope {
    /// The key epoch it is sealed under.
    pub(crate) epoch: u32,
    /// Its data key under the dataset key.
    pub(crate) wrapped_key: [u8; 60],
    /// The SHA-256 of the bytes, as it was verified when they arrived.
    pub(crate) hash: Digest,
}

/// Keeps a sealed object. When this returns, enough facilities and both places of the key store have synced it, and its row
/// is on the disk. The same bytes again are a success.
pub(crate) async fn put(
    hub: &Hub,
    caller: &Caller,
    id: DatasetId,
    object: ObjectRef,
    envelope: Envelope,
    body: Bytes,
) -> Result<Acknowledged, HubError> {
    let mut reader = hub.db.read().await?;
    let dataset = writable(&mut reader, caller, id, Action::ObjectPut).await?;
    epoch_is_open(&mut reader, caller, &dataset, envelope.epoch).await?;
    let before = data::objects::find(&mut reader, id, object).await?;
    drop(reader);
    let kept =
        Kept { object, epoch: envelope.epoch, hash: envelope.hash, bytes: body.len() as u64 };
    match before {
        Some(before) if before == kept => return Ok(kept.acknowledged()),
        Some(_) => return Err(other_bytes(object)),
        None => {}
    }
    is_sealed_object(object, &body)?;
    let hash = store::BlobHash::from_bytes(envelope.hash.0);
    let place = store::KeyPlace { epoch: kept.epoch, hash, bytes: kept.bytes };
    // Until its row is there, nobody knows of it.
    let _held = hub.store.hold(hash).await;
    let (stored, keyed) = tokio::join!(
        hub.store.put_verified(hash, body),
        hub.keys.put_placed_key(id.to_bytes(), object.0, envelope.wrapped_key, place),
    );
    stored.map_err(|error| match error {
        store::StoreError::Erased { .. } => {
            HubError::conflict(format!("the bytes of object {object} were erased, for ever"))
                .hint("seal the content anew under a new key and a new id")
        }
        error => error.into(),
    })?;
    keyed.map_err(|error| match error {
        store::KeyStoreError::Destroyed { .. } => HubError::not_found("dataset", id),
        error => error.into(),
    })?;
    hub.objects.keep(id, kept).await?;
    hub.counters.received(kept.bytes);
    Ok(kept.acknowledged())
}

/// The dataset, if the caller may do `action` to it now: also a vault to the dataset that its task writes anew.
pub(super) async fn writable(
    at: &mut Connection,
    caller: &Caller,
    id: DatasetId,
    action: Action,
) -> Result<Dataset, HubError> {
    let Some(kept) = data::datasets::find(at, id).await? else {
        return Err(HubError::not_found("dataset", id));
    };
    let mut standing = super::datasets::standing(at, caller, &kept.dataset).await?;
    if let Who::Vault { task, .. } = &caller.who
        && let Some(kept) = data::tasks::find(at, *task).await?
        && kept.task.kind == TaskKind::Reseal
        && kept.task.subject == id
    {
        standing = Standing::TaskOutput;
    }
    caller.may(action, standing, "dataset", id, Some(kept.dataset.project))?;
    match kept.dataset.execution {
        ExecutionState::Failed | ExecutionState::Superseded if caller.task().is_none() => {
            let state = data::word(kept.dataset.execution);
            Err(HubError::conflict(format!("dataset {id} is {state} and takes nothing any more"))
                .hint("make a new dataset"))
        }
        _ => Ok(kept),
    }
}

/// Objects go under the epoch in force, or under the one to come from the vault that writes the dataset anew.
async fn epoch_is_open(
    at: &mut Connection,
    caller: &Caller,
    dataset: &Dataset,
    epoch: u32,
) -> Result<(), HubError> {
    let (id, in_force) = (dataset.dataset.id, dataset.dataset.epoch);
    let reseal = data::datasets::reseal(at, id).await?;
    let open = match (&reseal, caller.task()) {
        (Some(reseal), Some(task)) if reseal.task == task => epoch == reseal.epoch,
        // What comes now would not be written anew, and would be lost with the old epoch.
        (Some(_), _) => {
            return Err(HubError::conflict(format!("dataset {id} is being written anew"))
                .hint("try again when its task has ended"));
        }
        (None, _) => epoch == in_force,
    };
    if open {
        Ok(())
    } else {
        Err(HubError::conflict(format!(
            "epoch {epoch} of dataset {id} is not open: {in_force} is in force"
        ))
        .hint("get the dataset's key again and seal under its epoch"))
    }
}

/// Checks what can be seen without a key: that these are the bytes of a sealed object of that name and of a possible length.
fn is_sealed_object(object: ObjectRef, body: &[u8]) -> Result<(), HubError> {
    let refuse = |why: String| {
        HubError::new(
            ErrorCode::BadRequest,
            format!("the body is not sealed object {object}: {why}"),
        )
        .hint("seal before sending: spec/sealed-object.md has the format")
    };
    let prefix = Prefix::read(body).map_err(|e| refuse(e.to_string()))?;
    if prefix.id().as_bytes() != &object.0 {
        return Err(refuse(format!("its prefix names {}", prefix.id())));
    }
    seal::plain_bytes(body.len() as u64).map_err(|e| refuse(e.to_string()))?;
    Ok(())
}

/// Which of these objects are acknowledged.
pub(crate) async fn have(
    hub: &Hub,
    caller: &Caller,
    id: DatasetId,
    asked: HaveQuery,
) -> Result<Vec<Acknowledged>, HubError> {
    if asked.objects.len() > MOST_ASKED {
        return Err(HubError::bad_request(format!(
            "{} objects were asked for; at most {MOST_ASKED} go into one call",
            asked.objects.len()
        )));
    }
    let mut reader = hub.db.read().await?;
    writable(&mut reader, caller, id, Action::ObjectHave).await?;
    let mut found = Vec::new();
    for object in asked.objects {
        if let Some(kept) = data::objects::find(&mut reader, id, object).await? {
            found.push(kept.acknowledged());
        }
    }
    Ok(found)
}

/// Objects of the epoch in force with their wrapped keys, after `after` (hex).
pub(crate) async fn list(
    hub: &Hub,
    caller: &Caller,
    id: DatasetId,
    after: &str,
    rows: i64,
) -> Result<Vec<SealedObject>, HubError> {
    let after = match after {
        "" => Vec::new(),
        text => data::parsed::<ObjectRef>(text)
            .map_err(|_| HubError::bad_request("the cursor is none of this list's"))?
            .0
            .to_vec(),
    };
    let mut reader = hub.db.read().await?;
    let epoch = permitted(&mut reader, caller, id, Action::ObjectGet).await?.dataset.epoch;
    let kept = data::objects::list(&mut reader, id, epoch, &after, rows).await?;
    drop(reader);
    let mut objects = Vec::with_capacity(kept.len());
    for kept in kept {
        objects.push(with_key(hub, id, kept).await?);
    }
    Ok(objects)
}

/// One object of the dataset, if the caller may get it.
pub(crate) async fn find(
    hub: &Hub,
    caller: &Caller,
    id: DatasetId,
    object: ObjectRef,
) -> Result<Kept, HubError> {
    let mut reader = hub.db.read().await?;
    let dataset = permitted(&mut reader, caller, id, Action::ObjectGet).await?.dataset;
    data::objects::find(&mut reader, id, object)
        .await?
        .filter(|kept| kept.epoch == dataset.epoch)
        .ok_or_else(|| HubError::not_found("object", object))
}

/// One object with its wrapped key.
pub(crate) async fn key(
    hub: &Hub,
    caller: &Caller,
    id: DatasetId,
    object: ObjectRef,
) -> Result<SealedObject, HubError> {
    let kept = find(hub, caller, id, object).await?;
    with_key(hub, id, kept).await
}

/// A part of an object's sealed bytes, verified against its hash by the store.
pub(crate) async fn bytes(
    hub: &Hub,
    kept: &Kept,
    range: std::ops::Range<u64>,
) -> Result<Bytes, HubError> {
    let hash = store::BlobHash::from_bytes(kept.hash.0);
    let whole = range == (0..kept.bytes);
    let read =
        if whole { hub.store.get(&hash).await } else { hub.store.get_range(&hash, range).await };
    read.map_err(|cause| match cause {
        store::StoreError::Unavailable { .. } => HubError::new(
            ErrorCode::StorageUnavailable,
            format!("no facility that answers holds object {}", kept.object),
        )
        .hint("try again when all facilities are back")
        .caused_by(cause),
        cause => HubError::internal(format!("object {} could not be read", kept.object), cause),
    })
}
