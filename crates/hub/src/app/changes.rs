//! Word to owners' devices that something changed for them, and never what (`spec/authenticator.md`, section 4).
//!
//! Whoever hears it asks as they would have asked anyway, and believes the answer no more than before: a word that is lost or made up
//! costs one question. So a device need not ask every second, and nothing of a request stands in a line that stays open.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use api::{AccountId, ErrorCode};
use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::Caller;
use crate::HubError;
use crate::data;
use crate::data::approvals::Standing;
use crate::data::members::Viewer;
use crate::policy::Action;
use crate::state::Hub;

/// How many devices of one account may listen at once.
const MOST_OF_ONE: usize = 8;
/// How many devices in all: each may hold a connection, and most of those are for calls.
const MOST: usize = 256;
/// How often something is said where there is nothing to say, so that both sides know of a line that is gone.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a device listens on one signature: a key that was revoked meanwhile hears no more than that.
const LONGEST: Duration = Duration::from_secs(5 * 60);
/// What changes within this time is one word.
const CALM: Duration = Duration::from_millis(100);

/// The word, as an event of `text/event-stream` (HTML, section 9.2).
const CHANGED: Bytes = Bytes::from_static(b"data: changed\n\n");
/// A comment, which no listener takes for an event.
const STILL_HERE: Bytes = Bytes::from_static(b":\n\n");

/// Who listens, and that there is something to look for.
#[derive(Debug)]
pub(crate) struct Changes {
    made: watch::Sender<u64>,
    listening: Mutex<HashMap<AccountId, usize>>,
}

impl Default for Changes {
    fn default() -> Self {
        Self { made: watch::Sender::new(0), listening: Mutex::default() }
    }
}

impl Changes {
    /// Something was committed that may stand in an owner's list: whoever listens looks.
    pub(crate) fn made(&self) {
        self.made.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn listen(self: &Arc<Self>, account: AccountId) -> Option<Listening> {
        let mut listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = listening.values().sum();
        let own = listening.get(&account).copied().unwrap_or_default();
        if own >= MOST_OF_ONE || all >= MOST {
            return None;
        }
        listening.insert(account, own + 1);
        Some(Listening { changes: Arc::clone(self), account })
    }
}

/// A place among those who listen, free again when it is dropped.
#[derive(Debug)]
struct Listening {
    changes: Arc<Changes>,
    account: AccountId,
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut listening = self.changes.listening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = listening.get_mut(&self.account) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                listening.remove(&self.account);
            }
        }
    }
}

/// One device that listens.
struct Line {
    hub: Hub,
    viewer: Viewer,
    made: watch::Receiver<u64>,
    told: Option<Standing>,
    until: Instant,
    _place: Listening,
}

/// What a device hears: the word at once, since it may have missed one before, and again whenever its list is another. It ends with the
/// hub, and after a while in any case.
pub(crate) fn listen(
    hub: &Hub,
    caller: &Caller,
) -> Result<impl Stream<Item = Result<Bytes, std::convert::Infallible>> + Send + use<>, HubError> {
    caller.may_here(Action::ListOwn)?;
    let place = hub.changes.listen(caller.account()).ok_or_else(|| {
        HubError::new(
            ErrorCode::TooManyRequests,
            format!("{MOST_OF_ONE} devices of your account listen already, or too many in all"),
        )
        .hint("ask from time to time instead: `GET /approvals`")
    })?;
    let line = Line {
        hub: hub.clone(),
        viewer: caller.viewer(),
        made: hub.changes.made.subscribe(),
        told: None,
        until: Instant::now() + LONGEST,
        _place: place,
    };
    Ok(futures_util::stream::unfold(line, |mut line| async move {
        let word = line.next().await?;
        Some((Ok(word), line))
    }))
}

impl Line {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            // From here on no change is missed.
            self.made.borrow_and_update();
            let stands = self.stands().await.inspect_err(|error| {
                tracing::warn!(cause = error.causes(), "a device hears no more: {error}");
            });
            let stands = stands.ok()?;
            if self.told.as_ref() != Some(&stands) {
                self.told = Some(stands);
                return Some(CHANGED);
            }
            tokio::select! {
                biased;
                () = self.hub.stopping.cancelled() => return None,
                () = sleep_until(self.until) => return None,
                Ok(()) = self.made.changed() => sleep(CALM).await,
                () = sleep(HEARTBEAT) => return Some(STILL_HERE),
            }
        }
    }

    async fn stands(&self) -> Result<Standing, HubError> {
        data::approvals::standing(&mut *self.hub.db.read().await?, self.viewer).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_so_many_places_and_gets_back_what_it_leaves() {
        let changes = Arc::new(Changes::default());
        let (ada, eve) = (AccountId::generate(), AccountId::generate());
        let mut hers: Vec<_> = (0..MOST_OF_ONE).map(|_| changes.listen(ada).unwrap()).collect();
        assert!(changes.listen(ada).is_none());
        let others = changes.listen(eve);
        assert!(others.is_some(), "one account's devices take no place of another's");
        hers.pop();
        assert!(changes.listen(ada).is_some());
        drop((hers, others));
        assert!(changes.listening.lock().unwrap().is_empty());
    }
}
