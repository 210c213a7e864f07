//! What goes on behind the calls: deletions and re-seals that a stop interrupted are brought to their end, facilities that
//! came back catch up, those that shall leave are drained, and a scrubber reads everything again and again, slowly, and takes
//! away what nobody knows of.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use api::Digest;
use store::{BlobHash, ScrubCursor, ScrubOptions};

use crate::HubError;
use crate::state::Hub;
use crate::{app, data};

/// How often what was left undone is tried again.
const AGAIN: Duration = Duration::from_secs(300);
/// How much the scrubber reads before it looks whether the hub stops.
const PORTION_BYTES: NonZeroU64 = NonZeroU64::new(256 * 1024 * 1024).expect("it is not zero");
/// How fast it reads at least: 8 MiB a second leaves the disks to those who call. More where there is more to read.
const BYTES_PER_SECOND: u64 = 8 * 1024 * 1024;
/// In how long it reads everything at most. Everything is to be read within 30 days, stops and rests included.
const PASS: Duration = Duration::from_secs(20 * 24 * 3600);
/// How long it rests between two passes; as much again by chance, so that hubs on one disk do not go in step.
const REST: Duration = Duration::from_secs(6 * 3600);
/// How long a blob must have been unknown before it is taken away: longer than any call takes to make it known.
const UNKNOWN_FOR: Duration = Duration::from_secs(24 * 3600);
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
            app::descriptions::keep_after(&ends).await;
            ends.destroy_ended_snapshots();
            if let Err(error) = app::cases::fields::go_on(&ends).await {
                tracing::warn!(cause = error.causes(), "an index of cases waits: {error}");
            }
            if let Err(error) = app::notices::keep_up(&ends).await {
                tracing::warn!(cause = error.causes(), "notices were not kept up: {error}");
            }
            if let Err(error) = app::store_admin::go_on_draining(&ends).await {
                tracing::warn!(cause = error.causes(), "a facility is not drained yet: {error}");
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
    app::restored::settle(hub).await?;
    app::datasets::erase_again(hub).await?;
    app::cases::finish_deletions(hub, None).await?;
    for id in remains {
        app::datasets::destroy_remains(hub, id).await?;
        tracing::info!(dataset = %id, "what counted no more was destroyed");
    }
    Ok(())
}

/// Reads every copy of every blob, heals what is bad, and begins again; goes on where it was after a restart.
async fn scrub(hub: &Hub) {
    let mut unknown = HashMap::new();
    loop {
        let from = match cursor(hub).await {
            Ok(from) => from,
            Err(error) => {
                tracing::warn!(cause = error.causes(), "the scrubber begins anew: {error}");
                ScrubCursor::default()
            }
        };
        let held = hub.store.status().await.iter().map(|facility| facility.bytes).sum();
        let options = ScrubOptions {
            from,
            stop_after_bytes: Some(PORTION_BYTES),
            bytes_per_second: NonZeroU64::new(pace(held)),
            ..ScrubOptions::default()
        };
        let report = hub.store.scrub(options).await;
        if !report.is_whole() {
            tracing::warn!(counts = ?report.counts, healed = report.healed, "the scrubber found something");
        }
        if let Err(error) = set_cursor(hub, report.next).await {
            tracing::warn!(cause = error.causes(), "the scrubber's place was not kept: {error}");
        }
        if report.next.is_some() {
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        }
        match sweep(hub, &mut unknown, UNKNOWN_FOR).await {
            Ok(0) => {}
            Ok(swept) => tracing::info!(swept, "blobs that nobody knew of were taken away"),
            Err(error) => {
                tracing::warn!(
                    cause = error.causes(),
                    "what nobody knows of stays for now: {error}"
                );
            }
        }
        let chance = u32::from(uuid::Uuid::now_v7().as_bytes()[15]);
        tokio::time::sleep(REST + REST * chance / 256).await;
    }
}

/// How many bytes a second read all copies within a pass.
const fn pace(held: u64) -> u64 {
    let needed = held / PASS.as_secs();
    if needed > BYTES_PER_SECOND { needed } else { BYTES_PER_SECOND }
}

/// Takes away blobs that have been without a row for as long as `unknown_for`: a stop between a blob and its row leaves one.
/// `unknown` remembers between two passes since when; a restart only begins to count anew.
pub(crate) async fn sweep(
    hub: &Hub,
    unknown: &mut HashMap<BlobHash, Instant>,
    unknown_for: Duration,
) -> Result<u64, HubError> {
    let mut seen = HashMap::new();
    for shard in 0..=u8::MAX {
        // One that is away is looked at when it is back.
        let Ok(names) = hub.store.names(shard).await else { continue };
        for hash in without_row(hub, names).await? {
            seen.insert(hash, unknown.get(&hash).copied().unwrap_or_else(Instant::now));
        }
    }
    let due: Vec<BlobHash> = seen
        .iter()
        .filter(|(_, since)| since.elapsed() >= unknown_for)
        .map(|(hash, _)| *hash)
        .collect();
    *unknown = seen;
    hub.store.sweep(&due, |hashes| without_row(hub, hashes)).await
}

async fn without_row(hub: &Hub, hashes: Vec<BlobHash>) -> Result<Vec<BlobHash>, HubError> {
    if hashes.is_empty() {
        return Ok(hashes);
    }
    let names: Vec<Digest> = hashes.iter().map(|hash| Digest(*hash.as_bytes())).collect();
    let unknown = data::objects::unknown(&mut *hub.db.read().await?, &names).await?;
    Ok(unknown.into_iter().map(|name| BlobHash::from_bytes(name.0)).collect())
}

/// How much of its pass the scrubber has behind it: it goes by names, and names are hashes.
pub(crate) async fn scrubbed_percent(hub: &Hub) -> Result<u8, HubError> {
    let place = cursor(hub).await?.to_string();
    let first = place.get(..2).and_then(|byte| u8::from_str_radix(byte, 16).ok()).unwrap_or(0);
    Ok(u8::try_from(u16::from(first) * 100 / 256).unwrap_or(100))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestHub;

    #[test]
    fn a_pass_over_any_amount_ends_within_thirty_days() {
        assert_eq!(pace(0), BYTES_PER_SECOND);
        for held in [1_u64 << 40, 1 << 45, 1 << 50] {
            let pass = Duration::from_secs(held / pace(held)) + 2 * REST;
            assert!(pass < Duration::from_secs(30 * 24 * 3600), "{held}");
        }
    }

    #[tokio::test]
    async fn a_blob_whose_row_was_never_written_is_taken_away_and_can_be_put_again() {
        let hub = TestHub::start().await;
        let orphan = hub.hub.store.put(bytes::Bytes::from_static(b"no row")).await.unwrap();
        let mut unknown = HashMap::new();
        assert_eq!(sweep(&hub.hub, &mut unknown, UNKNOWN_FOR).await.unwrap(), 0);
        assert_eq!(unknown.keys().collect::<Vec<_>>(), [&orphan]);
        assert_eq!(sweep(&hub.hub, &mut unknown, Duration::ZERO).await.unwrap(), 1);
        assert_eq!(hub.hub.store.contains_many(&[orphan]).await.unwrap(), [false]);
        hub.hub.store.put(bytes::Bytes::from_static(b"no row")).await.unwrap();
    }
}
