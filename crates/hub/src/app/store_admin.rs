//! The store, as an operator looks at it.

use std::time::Instant;

use api::{Digest, FacilityStatus, ScrubOutcome, StoreStatus};
use store::{FacilityState, FindingKind, ScrubOptions};

use super::Caller;
use crate::HubError;
use crate::data;
use crate::policy::Action;
use crate::state::Hub;

/// Every facility and how it is.
pub(crate) async fn status(hub: &Hub, caller: &Caller) -> Result<StoreStatus, HubError> {
    caller.may_here(Action::StoreSee)?;
    let facilities = hub.store.status().await.into_iter().map(|status| FacilityStatus {
        id: status.id.to_string(),
        location: status.location,
        state: word(status.state).to_owned(),
        blobs: status.blobs,
        bytes: status.bytes,
        free_bytes: status.free_bytes,
    });
    Ok(StoreStatus {
        write_quorum: u32::try_from(hub.store.write_quorum()).unwrap_or(u32::MAX),
        facilities: facilities.collect(),
    })
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
    let report = hub.store.scrub(ScrubOptions::default()).await;
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
