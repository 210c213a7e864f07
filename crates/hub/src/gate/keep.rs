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

/// What was taken to be written. Whatever keeps it from being written (an error, a caller that went away and with it this
/// work) puts it back, for the next time.
struct Taken<'a> {
    gate: &'a Gate,
    changed: Vec<(Subject, Option<Counters>)>,
    unsaid: Vec<(Subject, Block)>,
    written: bool,
}

impl<'a> Taken<'a> {
    fn from(gate: &'a Gate) -> Self {
        let mut state = gate.state();
        let dirty = std::mem::take(&mut state.dirty);
        let changed = dirty
            .into_iter()
            .map(|subject| (subject, state.callers.get(&subject).cloned()))
            .collect();
        Self { gate, changed, unsaid: std::mem::take(&mut state.unsaid), written: false }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if !self.written {
            let mut state = self.gate.state();
            state.dirty.extend(self.changed.iter().map(|(subject, _)| *subject));
            state.unsaid.append(&mut self.unsaid);
        }
    }
}

/// Writes what changed, in one transaction. What cannot be written waits for the next time.
pub(crate) async fn flush(hub: &Hub) -> Result<(), HubError> {
    let now = hub.now();
    let mut taken = Taken::from(&hub.gate);
    if taken.changed.is_empty() {
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
    write(hub, &taken.changed, &taken.unsaid, sweep, now).await?;
    taken.written = true;
    Ok(())
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

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::task::{Context, Waker};

    use api::ErrorCode;

    use super::*;
    use crate::testing::TestHub;

    #[tokio::test]
    async fn what_was_taken_to_be_written_is_put_back_when_the_caller_goes_away() {
        let hub = TestHub::start().await;
        let subject: Subject = "address:192.0.2.7".parse().unwrap();
        while !hub.hub.gate.strike(subject, 1000, ErrorCode::BadSignature, hub.hub.now()) {}
        // Somebody else writes, so this work waits; and then it is dropped.
        let writing = hub.hub.db.write().await.unwrap();
        {
            let mut flushing = std::pin::pin!(flush(&hub.hub));
            let waits = flushing.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(waits.is_pending());
        }
        drop(writing);
        flush(&hub.hub).await.unwrap();
        let mut reader = hub.hub.db.read().await.unwrap();
        assert_eq!(data::blocks::all(&mut reader).await.unwrap().len(), 1);
        let events: i64 = sqlx::query_scalar("SELECT count(*) FROM events WHERE act = 'block.add'")
            .fetch_one(&mut *reader)
            .await
            .unwrap();
        assert_eq!(events, 1);
    }
}
