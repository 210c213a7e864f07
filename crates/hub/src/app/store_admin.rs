//! The store, as an operator looks at it.

use std::time::Instant;

use api::{AddFacility, Digest, DrainFacility, FacilityStatus, ScrubOutcome, StoreStatus};
use store::{FacilityAddress, FacilityState, FindingKind, ScrubOptions};

use super::Caller;
use crate::HubError;
use crate::data;
use crate::policy::Action;
use crate::state::Hub;

/// Every facility and how it is.
pub(crate) async fn status(hub: &Hub, caller: &Caller) -> Result<StoreStatus, HubError> {
    caller.may_here(Action::StoreSee)?;
    Ok(standing(hub).await)
}

async fn standing(hub: &Hub) -> StoreStatus {
    let facilities = hub.store.status().await.into_iter().map(|status| FacilityStatus {
        id: status.id.to_string(),
        location: status.location,
        state: word(status.state).to_owned(),
        blobs: status.blobs,
        bytes: status.bytes,
        free_bytes: status.free_bytes,
    });
    StoreStatus {
        write_quorum: u32::try_from(hub.store.write_quorum()).unwrap_or(u32::MAX),
        facilities: facilities.collect(),
    }
}

/// One word for a facility.
const fn word(state: FacilityState) -> &'static str {
    match state {
        FacilityState::Healthy => "healthy",
        FacilityState::Behind => "behind",
        FacilityState::Missing => "missing",
        FacilityState::ReadOnly => "read_only",
        FacilityState::Full => "full",
        FacilityState::Draining => "draining",
    }
}

/// Reads every copy of every blob now, heals what is bad, and says what was found; checks the key store too.
pub(crate) async fn scrub(hub: &Hub, caller: &Caller) -> Result<ScrubOutcome, HubError> {
    pass(hub, caller, ScrubOptions::default()).await
}

/// Compares what the facilities list and fills gaps; checks the key store too.
pub(crate) async fn repair(hub: &Hub, caller: &Caller) -> Result<ScrubOutcome, HubError> {
    pass(hub, caller, ScrubOptions { read: false, ..ScrubOptions::default() }).await
}

async fn pass(hub: &Hub, caller: &Caller, options: ScrubOptions) -> Result<ScrubOutcome, HubError> {
    caller.may_here(Action::StoreScrub)?;
    let mut tx = hub.db.write().await?;
    data::events::record(&mut tx, &caller.event(Action::StoreScrub.act(), "store", None)).await?;
    tx.commit().await?;
    let began = Instant::now();
    let keys = hub.keys.check().await?;
    if !keys.damaged_in_both.is_empty() || !keys.in_one_place.is_empty() {
        tracing::error!(?keys, "the key store is not whole");
    }
    hub.store.catch_up().await;
    let report = hub.store.scrub(options).await;
    let count = |kind| report.counts.get(&kind).copied().unwrap_or_default();
    let lost = report
        .findings
        .iter()
        .filter(|finding| finding.kind == FindingKind::Lost)
        .filter_map(|finding| finding.hash.map(|hash| Digest(*hash.as_bytes())))
        .collect();
    let facilities = hub.store.status().await.len().saturating_sub(report.away.len());
    let copies = report.blobs.saturating_mul(facilities as u64);
    Ok(ScrubOutcome {
        copies_checked: copies.saturating_sub(count(FindingKind::Missing)),
        bytes_checked: report.read_bytes,
        corrupt: count(FindingKind::Corrupt) + count(FindingKind::Unreadable),
        missing: count(FindingKind::Missing),
        misplaced: count(FindingKind::Misplaced) + count(FindingKind::Foreign),
        healed: report.healed,
        lost,
        elapsed_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
    })
}

/// Makes a facility part of the store, now and at every later start, and begins to fill it.
pub(crate) async fn add(
    hub: &Hub,
    caller: &Caller,
    body: AddFacility,
) -> Result<StoreStatus, HubError> {
    caller.may_here(Action::StoreChange)?;
    let address: FacilityAddress = body
        .address
        .parse()
        .map_err(|e: store::BucketAddressError| HubError::bad_request(e.to_string()))?;
    if address.directory().is_some_and(std::path::Path::is_relative) {
        return Err(HubError::bad_request(format!("`{address}` is not a whole path"))
            .hint("name the directory from the root of the hub's machine"));
    }
    let refused = |error: &dyn std::error::Error| {
        HubError::conflict(format!("{address} does not become a facility: {error}")).hint(
            "a new facility is an empty directory, or a prefix of a bucket with nothing under it",
        )
    };
    let facility = address.open_or_create().await.map_err(|error| refused(&error))?;
    let id = facility.id();
    hub.store.add(facility).await.map_err(|error| refused(&error))?;
    let mut tx = hub.db.write().await?;
    let name = |of: &str| format!("{of}{address}");
    data::meta::set(&mut tx, &name(data::meta::FACILITY), &id.as_uuid().to_string()).await?;
    // With its settings, which its name leaves out; no secret is among them.
    data::meta::set(&mut tx, &name(data::meta::FACILITY_ADDED), &body.address).await?;
    data::meta::remove(&mut tx, &name(data::meta::FACILITY_LEFT)).await?;
    let thing = super::caller::object("facility", id);
    data::events::record(&mut tx, &caller.event(Action::StoreChange.act(), thing, None)).await?;
    tx.commit().await?;
    let filled = hub.clone();
    hub.background.spawn(async move {
        let lists = ScrubOptions { read: false, ..ScrubOptions::default() };
        tokio::select! {
            report = filled.store.scrub(lists) => {
                tracing::info!(facility = %id, healed = report.healed, "a facility was filled");
            }
            // The next start goes on: what it lacks is found by the scrubber.
            () = filled.stopping.cancelled() => {}
        }
    });
    Ok(standing(hub).await)
}

/// Has a facility leave: drained from now on, behind the calls, or given up at once where it is lost.
pub(crate) async fn drain(
    hub: &Hub,
    caller: &Caller,
    body: DrainFacility,
) -> Result<StoreStatus, HubError> {
    caller.may_here(Action::StoreChange)?;
    let status = hub.store.status().await;
    let Some(found) = status.into_iter().find(|status| status.id.to_string() == body.facility)
    else {
        return Err(HubError::bad_request(format!(
            "{} is no facility of this store",
            body.facility
        ))
        .hint("`chorion store status` lists them"));
    };
    let refused = |error: store::StoreError| {
        HubError::conflict(error.to_string()).hint("add another facility first")
    };
    if body.lost {
        hub.store.give_up(found.id).map_err(refused)?;
        forget(hub, &found.location, &body.facility).await?;
    } else {
        hub.store.begin_drain(found.id).map_err(refused)?;
        let mut tx = hub.db.write().await?;
        let name = format!("{}{}", data::meta::FACILITY_DRAINING, found.location);
        data::meta::set(&mut tx, &name, &body.facility).await?;
        tx.commit().await?;
        let drained = hub.clone();
        hub.background.spawn(async move {
            tokio::select! {
                done = go_on_draining(&drained) => if let Err(error) = done {
                    tracing::warn!(cause = error.causes(), "a facility is not drained yet: {error}");
                },
                // The upkeep of the next start goes on.
                () = drained.stopping.cancelled() => {}
            }
        });
    }
    let mut tx = hub.db.write().await?;
    let thing = super::caller::object("facility", &body.facility);
    data::events::record(&mut tx, &caller.event(Action::StoreChange.act(), thing, None)).await?;
    tx.commit().await?;
    Ok(standing(hub).await)
}

/// Drains every facility that is to leave, as far as it goes now.
pub(crate) async fn go_on_draining(hub: &Hub) -> Result<(), HubError> {
    for facility in hub.store.draining() {
        let (id, location) = (facility.id(), facility.location());
        match hub.store.drain(id).await {
            Ok(drained) if drained.has_left => {
                tracing::info!(facility = %id, ?drained, "a facility was drained, and has left");
                forget(hub, &location, &id.to_string()).await?;
            }
            Ok(drained) => {
                tracing::warn!(facility = %id, ?drained, "a facility is not drained yet");
            }
            Err(error) => tracing::warn!(facility = %id, %error, "a facility is not drained yet"),
        }
    }
    Ok(())
}

/// Writes down that a facility has left, so that no later start takes it in again.
async fn forget(hub: &Hub, location: &str, id: &str) -> Result<(), HubError> {
    let mut tx = hub.db.write().await?;
    let name = |of: &str| format!("{of}{location}");
    for of in [data::meta::FACILITY_ADDED, data::meta::FACILITY_DRAINING, data::meta::FACILITY] {
        data::meta::remove(&mut tx, &name(of)).await?;
    }
    data::meta::set(&mut tx, &name(data::meta::FACILITY_LEFT), id).await?;
    Ok(tx.commit().await?)
}
