//! How customers' keys stand: what their services said last, the probes that ask them, and what runs beside the calls.
//!
//! A key is asked for by itself while anything of it is in memory or it does not serve, more rarely otherwise, and when somebody looks. So
//! its loss is noticed also where nobody uses it, and its return where nobody asks.

use std::sync::Arc;

use api::{ErrorCode, KeyStanding, OrganizationId, Outcome, Time};
use custody::kms::{Effect, KmsError};
use jiff::SignedDuration;

use super::rotation::go_on;
use super::{Holder, Standing, holder};
use crate::HubError;
use crate::app::caller::object;
use crate::data;
use crate::data::events::NewEvent;
use crate::state::Hub;

/// How often a key is asked for by itself, while anything is held or it is away.
pub(super) const PROBE_SECONDS: i64 = 30;
/// How often otherwise: a key that nobody uses is missed all the same.
pub(super) const IDLE_PROBE_SECONDS: i64 = 300;
/// How old an answer may be that somebody is shown who looks how the key stands.
const LOOK_SECONDS: i64 = 5;

/// Remembers what a key service just said, and makes it an event when that is news.
pub(super) async fn stands(
    hub: &Hub,
    holder: &Holder,
    said: Result<(), Arc<KmsError>>,
) -> Result<(), HubError> {
    let now = hub.now();
    let (standing, trouble) = match &said {
        Ok(()) => (KeyStanding::InForce, None),
        Err(error) => match error.effect() {
            Effect::Drop => (KeyStanding::TakenAway, error.trouble()),
            Effect::Hold => (KeyStanding::Unreachable, None),
            Effect::Refuse => return Ok(()),
        },
    };
    let (was, is) = {
        let mut at = holder.standing();
        let was = *at;
        let since = if was.standing == standing { was.since } else { now };
        // What was only remembered is no new answer.
        let checked = holder.lease.asked().or(was.checked);
        *at = Standing { standing, trouble, since, checked };
        (was, *at)
    };
    let news = was.standing != standing || was.trouble != trouble;
    if !news && is.checked == was.checked {
        return Ok(());
    }
    let id = holder.lease.set().organization;
    let mut tx = hub.db.write().await?;
    data::organization_keys::set_standing(&mut tx, id, standing, trouble, is.since, is.checked)
        .await?;
    // A service that was not reached is no act of the customer's.
    let act = match (was.standing, standing) {
        (_, KeyStanding::TakenAway) => Some("organization.key.away"),
        (KeyStanding::TakenAway, KeyStanding::InForce) => Some("organization.key.back"),
        _ => None,
    };
    if let Some(act) = act.filter(|_| news) {
        let event = NewEvent {
            at: now,
            actor: "hub".to_owned(),
            act,
            object: object("organization", id),
            project: None,
            purpose: None,
            outcome: Outcome::Done,
            reason: trouble.map(data::word),
            request: None,
        };
        data::events::record_for(&mut tx, id, &event).await?;
    }
    tx.commit().await?;
    if news {
        tracing::warn!(organization = %id, standing = standing.as_str(), "a customer's key stands otherwise");
        // What waits for the key goes on, or is left waiting.
        hub.engine.wake();
        crate::app::cases::fields::behind(hub);
    }
    Ok(())
}

/// Asks an organization's key whether it answers, in both directions, and says how it stands from now on.
async fn probe(hub: &Hub, id: OrganizationId) -> Result<(), HubError> {
    let holder = holder(hub, id).await?;
    let said = holder.lease.probe(|| hub.now()).await;
    stands(hub, &holder, said.as_ref().copied().map_err(Arc::clone)).await?;
    said.map_err(|error| holder.error(&error))
}

/// Whether a task that needs this organization's keys can start: they are held, or nobody has heard that they do not open.
pub(crate) async fn serves(hub: &Hub, id: OrganizationId) -> Result<bool, HubError> {
    let holder = match holder(hub, id).await {
        Ok(holder) => holder,
        Err(error) if error.code() == ErrorCode::Conflict => return Ok(false),
        Err(error) => return Err(error),
    };
    let standing = holder.standing().standing;
    Ok(holder.lease.held(hub.now()).is_some() || standing == KeyStanding::InForce)
}

/// When a key is asked for by itself next.
pub(super) fn next_probe(hub: &Hub, holder: &Holder) -> Time {
    let Standing { standing, checked, .. } = *holder.standing();
    let busy = holder.lease.held(hub.now()).is_some() || standing != KeyStanding::InForce;
    let every = if busy { PROBE_SECONDS } else { IDLE_PROBE_SECONDS };
    // One that was never asked for is asked for now.
    let from = checked.unwrap_or(Time::MIN);
    from.checked_add(SignedDuration::from_secs(every)).unwrap_or(Time::MAX)
}

/// Asks once more, where the last answer is older than what somebody should be shown who looks. What it says is remembered.
pub(super) async fn look(hub: &Hub, id: OrganizationId) -> Result<(), HubError> {
    let holder = holder(hub, id).await?;
    let old = SignedDuration::from_secs(LOOK_SECONDS);
    let checked = holder.standing().checked;
    if checked.is_none_or(|at| hub.now().duration_since(at) >= old) {
        probe_once(hub, id, &holder).await;
    }
    Ok(())
}

/// Probes a key, unless somebody does so already.
async fn probe_once(hub: &Hub, id: OrganizationId, holder: &Holder) {
    let Ok(_mine) = holder.probing.try_lock() else { return };
    if let Err(error) = probe(hub, id).await {
        tracing::warn!(organization = %id, cause = error.causes(), "a customer's key does not serve: {error}");
    }
}

/// Probes an organization's key if its time has come.
async fn probe_if_due(hub: &Hub, id: OrganizationId) {
    match holder(hub, id).await {
        Ok(holder) if next_probe(hub, &holder) <= hub.now() => probe_once(hub, id, &holder).await,
        Ok(_) => {}
        Err(error) => {
            tracing::warn!(organization = %id, cause = error.causes(), "a customer's key is not asked for: {error}");
        }
    }
}

/// The organizations that hold a key.
async fn holding(hub: &Hub) -> Result<Vec<OrganizationId>, HubError> {
    data::organization_keys::organizations(&mut *hub.db.read().await?).await
}

/// What a second does, all of it in a row: wipes what leases have ended, probes the keys whose time has come, goes on with rotations.
#[cfg(test)]
pub(crate) async fn keep_up(hub: &Hub) -> Result<(), HubError> {
    hub.organization_keys.sweep(hub.now());
    let due = holding(hub).await?.into_iter().map(|id| probe_if_due(hub, id));
    futures_util::future::join_all(due).await;
    go_on(hub).await
}

/// Keeps leases and probes, while the hub runs. A service that does not answer and a rotation that takes its time keep neither the
/// end of a lease nor another organization's probe waiting.
pub(crate) fn start(hub: &Hub) {
    let (seconds, rotations) = (hub.clone(), hub.clone());
    hub.background.spawn(async move {
        while another_second(&seconds).await {
            seconds.organization_keys.sweep(seconds.now());
            match holding(&seconds).await {
                Ok(all) => all.into_iter().for_each(|id| {
                    let hub = seconds.clone();
                    seconds.background.spawn(async move { probe_if_due(&hub, id).await });
                }),
                Err(error) => {
                    tracing::warn!(
                        cause = error.causes(),
                        "customers' keys were not seen to: {error}"
                    );
                }
            }
        }
        seconds.organization_keys.sweep(Time::MAX);
    });
    hub.background.spawn(async move {
        if let Err(error) = describe_all(&rotations).await {
            tracing::warn!(
                cause = error.causes(),
                "what customers' keys wrapped is not described: {error}"
            );
        }
        while another_second(&rotations).await {
            if let Err(error) = go_on(&rotations).await {
                tracing::warn!(cause = error.causes(), "data keys were not rotated: {error}");
            }
        }
    });
}

/// Has what the keys of organizations wrapped described once more beside the wrapped keys: a program of before did not.
async fn describe_all(hub: &Hub) -> Result<(), HubError> {
    let mut tx = hub.db.write().await?;
    for id in data::organization_keys::organizations(&mut tx).await? {
        data::undescribed::add(&mut tx, &id.to_string(), "organization").await?;
    }
    Ok(tx.commit().await?)
}

/// Waits a second; false once the hub is stopping.
async fn another_second(hub: &Hub) -> bool {
    tokio::select! {
        () = tokio::time::sleep(std::time::Duration::from_secs(1)) => true,
        () = hub.stopping.cancelled() => false,
    }
}
