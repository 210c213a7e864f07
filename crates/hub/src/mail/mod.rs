//! Mail that says that something waits, and nothing else: no name, no project, no data, only where the hub is.
//!
//! What waits to be sent stands in the database and is tried again, later each time, for some days. A relay that takes no mail
//! holds up nothing: notices are in the hub's own list whatever becomes of the mail about them.

pub(crate) mod smtp;

use std::time::Duration;

use api::Time;
use jiff::SignedDuration;

pub use smtp::{Relay, RelayError};

use crate::HubError;
use crate::data;
use crate::serve::until_stop;
use crate::state::Hub;

/// How often the queue is looked at.
const LOOK: Duration = Duration::from_secs(10);
/// How long the first try waits for the second; each wait is twice the one before.
const FIRST_WAIT: SignedDuration = SignedDuration::from_mins(1);
/// The longest wait.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(12);
/// How often a mail is tried: over about a week.
const MOST_TRIES: u32 = 24;

/// Whether a text is an address that a mail can go to, and nothing besides: no blanks, brackets or control characters.
pub(crate) fn is_address(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_graphic() && !b"<>()[]\\,;:\"".contains(&b);
    text.len() <= 254
        && text.bytes().all(plain)
        && text.split_once('@').is_some_and(|(name, host)| {
            (1..=64).contains(&name.len()) && !host.is_empty() && !host.contains('@')
        })
}

/// Sends what waits while the hub runs.
pub(crate) fn start(hub: &Hub) {
    if hub.relay.is_none() {
        return;
    }
    let hub = hub.clone();
    let background = hub.background.clone();
    background.spawn(async move {
        while until_stop(&hub, tokio::time::sleep(LOOK)).await.is_some() {
            if let Err(error) = send_due(&hub).await {
                tracing::warn!(cause = error.causes(), "mail was left for later: {error}");
            }
        }
    });
}

/// Sends every mail that is due, one after the other.
pub(crate) async fn send_due(hub: &Hub) -> Result<(), HubError> {
    let Some(relay) = &hub.relay else { return Ok(()) };
    loop {
        let now = hub.now();
        let mut tx = hub.db.write().await?;
        let due = data::notices::due(&mut tx, now).await?;
        let Some(mail) = due else { return Ok(tx.commit().await?) };
        // Put off before it is tried: whatever happens to this process, it is not tried in a circle.
        let wait = FIRST_WAIT * 2_i32.saturating_pow(mail.tries.min(16));
        let again = now.checked_add(wait.min(LONGEST_WAIT)).unwrap_or(now);
        data::notices::put_off(&mut tx, mail.account, again).await?;
        tx.commit().await?;

        let sent = relay.send(&mail.address, &text(hub, relay, &mail.address, now)).await;
        let over = match &sent {
            Ok(()) => true,
            // The address may be wrong, and stands in the relay's sentence: the log tells only whose it is.
            Err(error) if error.is_final() || mail.tries + 1 >= MOST_TRIES => {
                tracing::warn!(account = %mail.account, "a mail is given up: {}", error.summary());
                true
            }
            Err(error) => {
                tracing::info!(account = %mail.account, "a mail waits: {}", error.summary());
                false
            }
        };
        if over {
            let mut tx = hub.db.write().await?;
            data::notices::take(&mut tx, mail.account).await?;
            tx.commit().await?;
        }
    }
}

/// The whole mail.
fn text(hub: &Hub, relay: &Relay, to: &str, now: Time) -> String {
    let date = now.strftime("%a, %d %b %Y %H:%M:%S +0000");
    let id = uuid::Uuid::new_v4();
    let (from, host, url) = (relay.from(), relay.sender_host(), &hub.url);
    format!(
        "Date: {date}\r\nFrom: Chorion <{from}>\r\nTo: <{to}>\r\nMessage-ID: <{id}@{host}>\r\n\
         Subject: Something waits for you\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=us-ascii\r\n\r\n\
         Something waits for you at {url}\r\n\r\nSee what: chorion notice list --unread\r\n"
    )
}
