//! How the hub is, for whoever runs it: counts, states and times. No name and no id of anybody's.

use api::Time;

use super::Caller;
use crate::HubError;
use crate::data::{self, counts::Counts};
use crate::policy::Action;
use crate::state::Hub;

/// How the hub is.
#[derive(Debug)]
pub(crate) struct Health {
    /// How much there is, and what waits.
    pub(crate) counts: Counts,
    /// Places of the key store that can be used, of all of them.
    pub(crate) key_places: (usize, usize),
    /// How much of its pass the scrubber has read, in percent.
    pub(crate) scrubbed_percent: u8,
    /// Copies that were set aside because they are not what their name says.
    pub(crate) quarantined: u64,
    /// Copies that facilities are known to lack.
    pub(crate) behind: u64,
    /// When the newest backup was made.
    pub(crate) backup: Option<Time>,
    /// When the certificate that callers see ends, where its end is known.
    pub(crate) certificate_ends: Option<Time>,
    /// Open connections.
    pub(crate) connections: usize,
}

/// Looks.
pub(crate) async fn look(hub: &Hub, caller: &Caller) -> Result<Health, HubError> {
    caller.may_here(Action::StoreSee)?;
    let counts = data::counts::read(&mut *hub.db.read().await?).await?;
    let keys = hub.keys.status().await?;
    let facilities = hub.store.status().await;
    let own = hub.own_certificate.as_ref().and_then(|own| own.ends());
    Ok(Health {
        counts,
        key_places: (
            keys.places.iter().filter(|place| place.away.is_none()).count(),
            keys.places.len(),
        ),
        scrubbed_percent: crate::engine::scrubbed_percent(hub).await?,
        quarantined: facilities.iter().map(|facility| facility.quarantined).sum(),
        behind: facilities.iter().map(|facility| facility.behind).sum(),
        backup: crate::backup::newest(&hub.snapshot_keys),
        certificate_ends: own.or(hub.authority_ends),
        connections: hub.gate.connections.count(),
    })
}
