//! Rotations: of the customer's key, under which an organization's keys are wrapped anew, and of the organization data key, under
//! which dataset keys are.
//!
//! Neither rewrites data. The first takes one unwrapping and one wrapping for each key of the organization, whatever lies under
//! them. The second makes a new version, which wraps what is new from then on, and re-wraps what is there in the background; where
//! it stands is kept, so that a stop loses nothing. The old version goes when two looks, a minute apart, found nothing under it.

use std::sync::Arc;

use api::{Digest, KeyPurpose, OrganizationId, RotateOrganizationKey, Rotation, RotationKind};
use custody::kms::KeyContext;
use custody::organization::{KeptKey, Keys, kept_version, make_key};
use jiff::SignedDuration;
use seal::recipient::RecipientKey;
use seal::wrap::DatasetContext;
use store::KeyStore;

use super::set_up::recovery_copy;
use super::{holder, leaving, newest};
use crate::HubError;
use crate::app::Caller;
use crate::app::caller::object;
use crate::app::organizations::may;
use crate::data::organization_keys::Under;
use crate::data::{self, Connection};
use crate::policy::Action;
use crate::state::Hub;

/// How many dataset keys are wrapped anew before it is remembered where the rotation stands: as many as share their syncs.
pub(crate) const PORTION: i64 = 1024;
/// How long after its beginning a rotation ends at the earliest: longer than any call may go on with keys of before.
const SETTLED: SignedDuration = SignedDuration::from_secs(60);

/// Begins a rotation.
pub(crate) async fn rotate(
    hub: &Hub,
    caller: &Caller,
    id: OrganizationId,
    body: RotateOrganizationKey,
) -> Result<Rotation, HubError> {
    may(&mut *hub.db.read().await?, caller, Action::OrganizationKeySet, id).await?;
    let rotation = match body.kind {
        RotationKind::CustomerKey => customer_key(hub, caller, id).await?,
        RotationKind::DataKey => data_key(hub, caller, id).await?,
        RotationKind::Leave => {
            return Err(HubError::bad_request("leaving is an act of its own")
                .hint("`chorion org kms leave` says what it means"));
        }
    };
    hub.organization_keys.forget(id);
    crate::app::descriptions::keep_after(hub).await;
    Ok(rotation)
}

/// Has the newest version of the customer's key wrap every key of the organization.
async fn customer_key(
    hub: &Hub,
    caller: &Caller,
    id: OrganizationId,
) -> Result<Rotation, HubError> {
    let holder = holder(hub, id).await?;
    let (set, customer) = (holder.lease.set(), holder.lease.customer());
    let failed = |error| holder.error(&Arc::new(error));
    let mut rewrapped = Vec::with_capacity(set.keys.len());
    for KeptKey { purpose, version, wrapped } in &set.keys {
        let of = KeyContext { organization: id, purpose: *purpose, version: *version };
        let key = customer.unwrap(&of, wrapped).await.map_err(failed)?;
        let wrapped = customer.wrap(&of, &key).await.map_err(failed)?;
        rewrapped.push(KeptKey { purpose: *purpose, version: *version, wrapped });
    }
    let total = u64::try_from(rewrapped.len()).unwrap_or(u64::MAX);
    let mut tx = hub.db.write().await?;
    for kept in &rewrapped {
        data::organization_keys::rewrap_key(&mut tx, id, kept).await?;
    }
    let rotation = Rotation {
        kind: RotationKind::CustomerKey,
        to: 0,
        done: total,
        total,
        began: caller.at,
        ended: Some(hub.now()),
    };
    data::organization_keys::begin_rotation(&mut tx, id, &rotation).await?;
    let event = caller.event("organization.key.rotate", object("organization", id), None);
    data::events::record_for(&mut tx, id, &event).await?;
    tx.commit().await?;
    Ok(rotation)
}

/// Refuses while dataset keys of the organization are being wrapped anew already.
pub(super) async fn at_work(at: &mut Connection, id: OrganizationId) -> Result<(), HubError> {
    let open = data::organization_keys::open_rotations(at).await?;
    let Some(open) = open.iter().find(|open| open.organization == id) else { return Ok(()) };
    let is = match open.kind {
        RotationKind::Leave => format!("organization {id} is leaving its own key"),
        _ => format!("the data key of organization {id} is being rotated already"),
    };
    Err(HubError::conflict(is).hint("`chorion org kms status` shows how far it is"))
}

/// Makes a new version of the organization data key.
async fn data_key(hub: &Hub, caller: &Caller, id: OrganizationId) -> Result<Rotation, HubError> {
    // Before the service is asked for anything, and once more when nobody else can begin one.
    at_work(&mut *hub.db.read().await?, id).await?;
    let holder = holder(hub, id).await?;
    let last = newest(holder.lease.set().keys.iter(), KeyPurpose::Data).unwrap_or(0);
    let of = KeyContext { organization: id, purpose: KeyPurpose::Data, version: last + 1 };
    let made = make_key(&**holder.lease.customer(), &of).await;
    let made = made.map_err(|error| holder.error(&Arc::new(error)))?;
    let mut tx = hub.db.write().await?;
    at_work(&mut tx, id).await?;
    let service = data::organization_keys::service(&mut tx, id).await?;
    let recovery = service.and_then(|service| service.recovery);
    let recovery = recovery.map(|text| text.parse::<RecipientKey>()).transpose();
    let recovery =
        recovery.map_err(|e| HubError::internal("the offline key that is kept is none", e))?;
    let copy = recovery.map(|to| recovery_copy(&to, &of, &made.key)).transpose()?;
    data::organization_keys::put_key(&mut tx, id, &made, copy.as_deref(), hub.now()).await?;
    let rotation = Rotation {
        kind: RotationKind::DataKey,
        to: of.version,
        done: 0,
        total: data::organization_keys::dataset_keys(&mut tx, id).await?
            + u64::try_from(data::cases::count(&mut tx, id).await?).unwrap_or(0),
        began: caller.at,
        ended: None,
    };
    data::organization_keys::begin_rotation(&mut tx, id, &rotation).await?;
    let event = caller.event("organization.key.rotate", object("organization", id), None);
    data::events::record_for(&mut tx, id, &event).await?;
    tx.commit().await?;
    Ok(rotation)
}

/// Goes on with every rotation that has not ended.
pub(crate) async fn go_on(hub: &Hub) -> Result<(), HubError> {
    let open = data::organization_keys::open_rotations(&mut *hub.db.read().await?).await?;
    for rotation in open {
        let id = rotation.organization;
        let is_left = rotation.kind == RotationKind::Leave;
        let done = match is_left {
            true => leaving::go_on(hub, rotation).await,
            false => rewrap(hub, rotation).await,
        };
        if let Err(error) = done {
            tracing::warn!(organization = %id, cause = error.causes(), "dataset keys are not all wrapped anew yet: {error}");
        }
    }
    Ok(())
}

/// Wraps what lies under older data keys anew, portion by portion.
async fn rewrap(
    hub: &Hub,
    mut rotation: data::organization_keys::OpenRotation,
) -> Result<(), HubError> {
    let id = rotation.organization;
    // Where it stood at the end, it looks once more from the beginning when nobody holds older keys any more.
    let settled = hub.now().duration_since(rotation.began) >= SETTLED;
    if rotation.position == END {
        if !settled {
            return Ok(());
        }
        rotation.position.clear();
    }
    let mut stale = false;
    loop {
        let keys = super::open(hub, id).await?;
        let under = data::organization_keys::under(
            &mut *hub.db.read().await?,
            id,
            api::Custodian::Organization,
            &rotation.position,
            PORTION,
        )
        .await?;
        let Some(last) = under.last().map(|under| under.id.clone()) else { break };
        let all = under.iter().map(|under| one(&hub.keys, &keys, rotation.to, under));
        let mut anew = 0;
        for done in futures_util::future::join_all(all).await {
            anew += u64::from(done?);
        }
        stale |= anew > 0;
        rotation.position = last;
        rotation.done += anew;
        rotation.total = rotation.total.max(rotation.done);
        let mut tx = hub.db.write().await?;
        data::organization_keys::step(&mut tx, &rotation).await?;
        tx.commit().await?;
    }
    // Case keys lie in the rows of their cases.
    let anew = crate::app::cases::rewrap_keys(hub, id, rotation.to).await?;
    stale |= anew > 0;
    rotation.done += anew;
    rotation.total = rotation.total.max(rotation.done);
    let mut tx = hub.db.write().await?;
    if stale || !settled {
        END.clone_into(&mut rotation.position);
        data::organization_keys::step(&mut tx, &rotation).await?;
        return Ok(tx.commit().await?);
    }
    for row in data::organization_keys::keys(&mut tx, id).await? {
        let KeptKey { purpose, version, .. } = row.kept;
        if purpose == KeyPurpose::Data && version < rotation.to {
            data::organization_keys::remove_key(&mut tx, id, purpose, version).await?;
        }
    }
    data::organization_keys::end_rotation(&mut tx, &rotation, hub.now()).await?;
    tx.commit().await?;
    hub.organization_keys.forget(id);
    Ok(())
}

/// The position of a rotation that has been through everything once.
const END: &str = "~";

/// Where the keys of a project or dataset belong, by epoch.
pub(super) fn places(under: &Under) -> impl Iterator<Item = DatasetContext> + '_ {
    under.epochs.iter().map(|(epoch, card)| DatasetContext {
        dataset: under.dataset,
        project: under.project,
        card_digest: card.unwrap_or(Digest([0; 32])).0,
        epoch: *epoch,
    })
}

/// The dataset key that belongs there, as it is kept; nothing where it was deleted meanwhile.
pub(super) async fn kept(
    store: &KeyStore,
    place: &DatasetContext,
) -> Result<Option<Vec<u8>>, HubError> {
    match store.dataset_key(place.dataset, place.epoch).await {
        Ok(kept) => Ok(Some(kept)),
        Err(
            store::KeyStoreError::Destroyed { .. }
            | store::KeyStoreError::NoDataset { .. }
            | store::KeyStoreError::NoKey { .. },
        ) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Puts the key there as it is wrapped now; says whether there was one to replace.
pub(super) async fn replace(
    store: &KeyStore,
    place: &DatasetContext,
    wrapped: Vec<u8>,
) -> Result<bool, HubError> {
    match store.put_dataset_key(place.dataset, place.epoch, wrapped).await {
        Ok(()) => Ok(true),
        Err(store::KeyStoreError::Destroyed { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Wraps one dataset key anew if it lies under an older version; says whether it did.
pub(crate) async fn one(
    store: &KeyStore,
    keys: &Keys,
    to: u32,
    under: &Under,
) -> Result<bool, HubError> {
    let mut anew = false;
    for place in places(under) {
        let Some(kept) = kept(store, &place).await? else { continue };
        if kept_version(keys.organization(), &kept)? < to {
            let key = keys.unwrap(&place, &kept)?;
            anew |= replace(store, &place, keys.wrap(&place, &key)?).await?;
        }
    }
    Ok(anew)
}
