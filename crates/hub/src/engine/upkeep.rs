//! What goes on behind the calls: deletions and re-seals that a stop interrupted are brought to their end, facilities that
//! came back catch up, and a scrubber reads everything again and again, slowly.

use std::num::NonZeroU64;
use std::time::Duration;

use store::{ScrubCursor, ScrubOptions};

use crate::HubError;
use crate::state::Hub;
use crate::{app, data};

/// How often what was left undone is tried again.
const AGAIN: Duration = Duration::from_secs(300);
/// How much the scrubber reads before it looks whether the hub stops.
const PORTION_BYTES: NonZeroU64 = NonZeroU64::new(256 * 1024 * 1024).expect("it is not zero");
/// How fast it reads: 8 MiB a second is 20 TiB in 30 days, and leaves the disks to those who call.
const BYTES_PER_SECOND: NonZeroU64 = NonZeroU64::new(8 * 1024 * 1024).expect("it is not zero");
/// How long it rests between two passes.
const REST: Duration = Duration::from_secs(6 * 3600);
/// Where in the store the scrubber stands, in `meta`.
const CURSOR: &str = "scrub cursor";

/// Starts both.
pub(super) fn start(hub: &Hub) {
    let ends = hub.clone();
    hub.background.spawn(async move {
        loop {
            if let Err(error) = bring_to_an_end(&ends).await {
                tracing::warn!(cause = error.causes(), "something is left undone: {error}");
            }
            if let Err(error) = app::notices::keep_up(&ends).await {
                tracing::warn!(cause = error.causes(), "notices were not kept up: {error}");
            }
            let caught_up = ends.store.catch_up().await;
            if caught_up.written > 0 || caught_up.behind > 0 {
                tracing::info!(?caught_up, "facilities caught up");
            }
            tokio::select! {
                () = tokio::time::sleep(AGAIN) => {}
                () = ends.stopping.cancelled() => return,
            }
        }
    });
    let scrubbed = hub.clone();
    hub.background.spawn(async move {
        tokio::select! {
            () = scrub(&scrubbed) => {}
            () = scrubbed.stopping.cancelled() => {}
        }
    });
}

/// Deletions of datasets, and what an old epoch left. Deletions of projects are their own noun's.
pub(crate) async fn bring_to_an_end(hub: &Hub) -> Result<(), HubError> {
    let mut reader = hub.db.read().await?;
    let deletions = data::datasets::being_deleted(&mut reader).await?;
    let remains = data::datasets::with_remains(&mut reader).await?;
    drop(reader);
    for id in deletions {
        app::datasets::finish_deletion(hub, id).await?;
        tracing::info!(dataset = %id, "a deletion that was stopped is finished");
    }
    for id in remains {
        app::datasets::destroy_remains(hub, id).await?;
        tracing::info!(dataset = %id, "what counted no more was destroyed");
    }
    Ok(())
}

/// Reads every copy of every blob, heals what is bad, and begins again; goes on where it was after a restart.
async fn scrub(hub: &Hub) {
    loop {
        let from = match cursor(hub).await {
            Ok(from) => from,
            Err(error) => {
                tracing::warn!(cause = error.causes(), "the scrubber begins anew: {error}");
                ScrubCursor::default()
            }
        };
        let options = ScrubOptions {
            from,
            stop_after_bytes: Some(PORTION_BYTES),
            bytes_per_second: Some(BYTES_PER_SECOND),
            ..ScrubOptions::default()
        };
        let report = hub.store.scrub(options).await;
        if !report.is_whole() {
            tracing::warn!(counts = ?report.counts, healed = report.healed, "the scrubber found something");
        }
        if let Err(error) = set_cursor(hub, report.next).await {
            tracing::warn!(cause = error.causes(), "the scrubber's place was not kept: {error}");
        }
        let rest = if report.next.is_none() { REST } else { Duration::from_secs(1) };
        tokio::time::sleep(rest).await;
    }
}

async fn cursor(hub: &Hub) -> Result<ScrubCursor, HubError> {
    let text = data::meta::find(&mut *hub.db.read().await?, CURSOR).await?;
    text.as_deref().map_or_else(|| Ok(ScrubCursor::default()), data::parsed)
}

async fn set_cursor(hub: &Hub, next: Option<ScrubCursor>) -> Result<(), HubError> {
    let mut tx = hub.db.write().await?;
    data::meta::set(&mut tx, CURSOR, &next.unwrap_or_default().to_string()).await?;
    Ok(tx.commit().await?)
}
