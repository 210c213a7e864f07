//! An organization leaves its own key: the platform's wraps what the customer's wrapped, while everything goes on.
//!
//! It begins in one transaction. The organization's keys and salts are wrapped by the platform's custodian, so that the customer's key is
//! asked for nothing more; every project that the organization held gets the hub's card of platform custody, so that nobody is told
//! otherwise; new dataset keys are the platform's. Dataset keys of before are wrapped anew in the background: what is kept says by
//! its first bytes who opens it, so both kinds are read meanwhile. Cases and their indexes stay under the organization's data and
//! index keys, which the platform's key opens from now on. Nothing is rewritten but keys, and nothing becomes a secret again:
//! from the beginning on the operator can read what only the customer's key opened before.

use std::sync::Arc;

use api::{
    Custodian, KeyCredentials, KeyService, KeyStanding, LeaveOrganizationKey, OrganizationId,
    Rotation, RotationKind,
};
use custody::kept_by;
use custody::kms::azure::AzureOperations;
use custody::kms::{CustomerKey, PlatformKey};
use proof::{ProjectCard, sign_statement};

use super::rotation::{PORTION, at_work, places};
use super::set_up::{Moved, moved, put_moved, sealed};
use super::{none_set, open};
use crate::HubError;
use crate::app::caller::object;
use crate::app::organizations::may;
use crate::app::{Caller, descriptions, handovers, projects};
use crate::data;
use crate::data::organization_keys::{OpenRotation, Service, Under};
use crate::policy::Action;
use crate::state::Hub;

/// The platform's key, asked as a customer's is.
pub(super) fn platform_key(hub: &Hub) -> Result<Arc<dyn CustomerKey>, HubError> {
    Ok(Arc::new(PlatformKey::of(Arc::clone(hub.custodian(Custodian::Platform)?))))
}

/// Leaves the customer's key. What is answered has begun, and goes on by itself, also after a stop.
pub(crate) async fn leave(
    hub: &Hub,
    caller: &Caller,
    id: OrganizationId,
    body: LeaveOrganizationKey,
) -> Result<Rotation, HubError> {
    let mut reader = hub.db.read().await?;
    may(&mut reader, caller, Action::OrganizationKeySet, id).await?;
    let before = data::organization_keys::service(&mut reader, id).await?;
    let before = before.ok_or_else(|| none_set(id))?;
    at_work(&mut reader, id).await?;
    drop(reader);
    if body.confirm != id.to_string() {
        return Err(HubError::bad_request(format!("`{}` is not organization {id}", body.confirm))
            .hint("from then on the operator can read what only the customer's key opened before: repeat the organization's id"));
    }
    if before.service == KeyService::Platform {
        return Err(HubError::conflict(format!("organization {id} has left its own key already"))
            .hint("`chorion org kms status` shows how far it is"));
    }
    // Three unwrappings by the customer's key, the last that it is asked for.
    let moved: Moved = moved(hub, id, &*platform_key(hub)?).await?;
    let (sealed_key, credentials) = sealed(hub, id, &KeyCredentials::None).await?;
    let service = Service {
        service: KeyService::Platform,
        operations: AzureOperations::default(),
        sealed_key,
        credentials,
        secret_expires: None,
        recovery: None,
        warnings: Vec::new(),
        standing: KeyStanding::InForce,
        trouble: None,
        since: caller.at,
        checked: Some(caller.at),
        ..before.clone()
    };
    let mut tx = hub.db.write().await?;
    may(&mut tx, caller, Action::OrganizationKeySet, id).await?;
    at_work(&mut tx, id).await?;
    let now = data::organization_keys::service(&mut tx, id).await?;
    if now.map(|service| service.sealed_key) != Some(before.sealed_key) {
        return Err(HubError::conflict(format!(
            "the key of organization {id} was changed by somebody else meanwhile"
        )));
    }
    let rotation = Rotation {
        kind: RotationKind::Leave,
        to: 0,
        done: 0,
        total: data::organization_keys::dataset_keys(&mut tx, id).await?,
        began: caller.at,
        ended: None,
    };
    data::organization_keys::set(&mut tx, id, &service, caller.at).await?;
    put_moved(&mut tx, id, &moved, caller.at).await?;
    for project in data::organization_keys::held(&mut tx, id).await? {
        let number = projects::in_force(&mut tx, project).await?.number + 1;
        let card = handovers::of_hub(hub, project, Custodian::Platform, number)?;
        let signed = sign_statement(&card, &hub.card_key);
        projects::keep_card(&mut tx, project, &ProjectCard::Hub(card), &signed).await?;
        data::projects::set_custodian(&mut tx, project, Custodian::Platform).await?;
        let event =
            caller.event("project.custodian_change", object("project", project), Some(project));
        data::events::record(&mut tx, &event).await?;
    }
    data::organization_keys::begin_rotation(&mut tx, id, &rotation).await?;
    let event = caller.event("organization.key.leave", object("organization", id), None);
    data::events::record_for(&mut tx, id, &event).await?;
    tx.commit().await?;
    hub.organization_keys.forget(id);
    hub.changes.made();
    hub.engine.wake();
    descriptions::keep_after(hub).await;
    Ok(rotation)
}

/// Wraps dataset keys anew, portion by portion, from where it stood. It has ended when none is under the organization's key and the
/// descriptions beside the wrapped keys say so too: then nothing anywhere needs the customer's key.
pub(super) async fn go_on(hub: &Hub, mut leaving: OpenRotation) -> Result<(), HubError> {
    let id = leaving.organization;
    loop {
        let mut reader = hub.db.read().await?;
        let (custodian, after) = (Custodian::Platform, &leaving.position);
        let under =
            data::organization_keys::under(&mut reader, id, custodian, after, PORTION).await?;
        drop(reader);
        let Some(last) = under.last().map(|under| under.id.clone()) else { break };
        let all = under.iter().map(|under| one(hub, id, under));
        for done in futures_util::future::join_all(all).await {
            leaving.done += u64::from(done?);
        }
        leaving.position = last;
        leaving.total = leaving.total.max(leaving.done);
        let mut tx = hub.db.write().await?;
        data::organization_keys::step(&mut tx, &leaving).await?;
        tx.commit().await?;
    }
    descriptions::keep(hub).await?;
    let mut tx = hub.db.write().await?;
    data::organization_keys::end_rotation(&mut tx, &leaving, hub.now()).await?;
    tx.commit().await?;
    tracing::info!(organization = %id, keys = leaving.done, "an organization has left its own key");
    Ok(())
}

/// Wraps the keys of one project or dataset anew, where an organization's key wrapped them; says whether it did.
async fn one(hub: &Hub, id: OrganizationId, under: &Under) -> Result<bool, HubError> {
    let platform = hub.custodian(Custodian::Platform)?;
    let mut anew = false;
    for place in places(under) {
        let Some(kept) = super::rotation::kept(&hub.keys, &place).await? else { continue };
        if kept_by(&kept) != Some(Custodian::Organization) {
            continue;
        }
        // The platform's key opens them, so no service is asked.
        let keys = open(hub, id).await?;
        let opened = super::custodian_of(hub, id, keys)?.open_for_hub(&place, &kept).await?;
        let opened = opened.ok_or_else(|| {
            HubError::internal("a dataset key does not open", "the organization opens nothing")
        })?;
        let wrapped = platform.keep(&opened).await?;
        anew |= super::rotation::replace(&hub.keys, &place, wrapped).await?;
    }
    Ok(anew)
}
