//! Carries blocks, strikes and low buckets to the database and back, behind the calls that caused them.

use std::time::Duration;

use api::{Block, Outcome, Time};

use super::{
    Bucket, Counters, DAY_SECONDS, Gate, InForce, Limits, SECOND, Strikes, Subject, micros,
};
use crate::HubError;
use crate::data::blocks::{KeptBlock, KeptLimit};
use crate::data::events::NewEvent;
use crate::data::{self, Db};
use crate::serve::until_stop;
use crate::state::Hub;

/// How often what changed is written.
const EVERY: Duration = Duration::from_secs(5);

/// How often rows of callers that did not come back are swept.
const SWEEP_SECONDS: i64 = 3600;

/// Reads what an earlier start left.
pub(crate) async fn load(db: &Db, limits: Limits, now: Time) -> Result<Gate, HubError> {
    let gate = Gate::new(limits, now);
    let mut reader = db.read().await?;
    let (blocks, kept) =
        (data::blocks::all(&mut reader).await?, data::blocks::limits(&mut reader).await?);
    drop(reader);
    let mut state = gate.state();
    for KeptLimit { subject, milli_tokens, milli_strikes, at } in kept {
        let Ok(subject) = subject.parse::<Subject>() else { continue };
        let counters = state.counters(subject, gate.rate(subject), now);
        // A moment that lies ahead would fill nothing until it comes.
        let at = at.min(micros(now));
        counters.bucket = Bucket { milli: milli_tokens, at };
        counters.strikes = Strikes { milli: milli_strikes, at };
    }
    for KeptBlock { subject, block } in blocks {
        let Ok(subject) = subject.parse::<Subject>() else { continue };
        let Block { id, reason, by, since, until, times, .. } = block;
        let block = InForce { id, since, until, times, reason, by };
        if !block.is_forgotten(now) {
            state.counters(subject, gate.rate(subject), now).block = Some(block);
        }
    }
    drop(state);
    Ok(gate)
}

/// Writes what changed every few seconds, at once when there is a new block, and once more at the stop.
pub(crate) fn start(hub: &Hub) {
    let hub = hub.clone();
    hub.clone().background.spawn(async move {
        loop {
            let waited = until_stop(&hub, async {
                tokio::select! {
                    () = tokio::time::sleep(EVERY) => {}
                    () = hub.gate.news.notified() => {}
                }
            });
            let stops = waited.await.is_none();
            if let Err(error) = flush(&hub).await {
                tracing::error!(
                    cause = error.causes(),
                    "blocks and limits were not written: {error}"
                );
            }
            if stops {
                return;
            }
        }
    });
}

/// Writes what changed, in one transaction. What cannot be written waits for the next time.
pub(crate) async fn flush(hub: &Hub) -> Result<(), HubError> {
    let now = hub.now();
    let (changed, unsaid) = {
        let mut state = hub.gate.state();
        let dirty = std::mem::take(&mut state.dirty);
        let changed: Vec<(Subject, Option<Counters>)> = dirty
            .into_iter()
            .map(|subject| (subject, state.callers.get(&subject).cloned()))
            .collect();
        (changed, std::mem::take(&mut state.unsaid))
    };
    if changed.is_empty() {
        return Ok(());
    }
    let sweep = {
        let mut state = hub.gate.state();
        let due = now.as_second().saturating_sub(state.rows_swept.as_second()) > SWEEP_SECONDS;
        if due {
            state.rows_swept = now;
        }
        due
    };
    let written = write(hub, &changed, &unsaid, sweep, now).await;
    if written.is_err() {
        let mut state = hub.gate.state();
        state.dirty.extend(changed.iter().map(|(subject, _)| *subject));
        state.unsaid.extend(unsaid);
    }
    written
}

async fn write(
    hub: &Hub,
    changed: &[(Subject, Option<Counters>)],
    unsaid: &[(Subject, Block)],
    sweep: bool,
    now: Time,
) -> Result<(), HubError> {
    let mut tx = hub.db.write().await?;
    for (subject, counters) in changed {
        let name = subject.to_string();
        let block = counters.as_ref().and_then(|counters| counters.block.as_ref());
        match block.filter(|block| !block.is_forgotten(now)) {
            Some(block) => data::blocks::set(&mut tx, &block.shown(*subject)).await?,
            None => data::blocks::remove(&mut tx, &name).await?,
        }
        let worth = counters.as_ref().filter(|counters| {
            counters.strikes.milli > 0 || counters.bucket.is_low(hub.gate.rate(*subject))
        });
        match worth {
            Some(Counters { bucket, strikes, .. }) => {
                let kept = KeptLimit {
                    subject: name,
                    milli_tokens: bucket.milli,
                    milli_strikes: strikes.milli,
                    // The later of the two: neither fills nor wears off for time that has passed already.
                    at: bucket.at.max(strikes.at),
                };
                data::blocks::set_limit(&mut tx, &kept).await?;
            }
            None => data::blocks::remove_limit(&mut tx, &name).await?,
        }
    }
    if sweep {
        data::blocks::sweep(&mut tx, micros(now).saturating_sub(DAY_SECONDS * SECOND)).await?;
    }
    for (subject, block) in unsaid {
        let event = NewEvent {
            at: block.since,
            actor: "hub".to_owned(),
            act: "block.add",
            object: subject.to_string(),
            project: None,
            purpose: None,
            outcome: Outcome::Done,
            reason: None,
            request: None,
        };
        data::events::record(&mut tx, &event).await?;
    }
    Ok(tx.commit().await?)
}
