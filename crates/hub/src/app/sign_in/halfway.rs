//! Sign-ins half-way: a challenge that went to a browser, or a state that went through it to an institution. It must come back
//! once, in time, and from the browser that began, or it counts for nothing.

use api::{ErrorCode, Time};
use jiff::SignedDuration;
use proof::sha256;

use super::Visitor;
use crate::HubError;
use crate::data::{self, tries::Sent};
use crate::state::Hub;

/// How long a sign-in may stay half-way.
const TRY: SignedDuration = SignedDuration::from_mins(10);
/// How many sign-ins may be half-way at once.
const TRIES: i64 = 10_000;
fn after(now: Time, life: SignedDuration) -> Result<Time, HubError> {
    now.checked_add(life)
        .map_err(|e| HubError::internal("the hub's clock is at the end of time", e))
}

/// Keeps what was sent to this browser, or through it to an institution, until it comes back. `secret` is what comes back.
pub(crate) async fn send_out(
    hub: &Hub,
    visitor: &Visitor,
    kind: &str,
    secret: &[u8],
    body: &str,
) -> Result<(), HubError> {
    let sent = Sent { hash: sha256(secret), kind, browser: visitor.token.hash() };
    let expires = after(visitor.at, TRY)?;
    let mut tx = hub.db.write().await?;
    data::tries::sweep(&mut tx, visitor.at).await?;
    if !data::tries::begin(&mut tx, sent, body, expires, TRIES).await? {
        return Err(HubError::new(
            ErrorCode::TooManyRequests,
            "too many people are signing in at once",
        )
        .hint("try again in a minute"));
    }
    Ok(tx.commit().await?)
}

/// Takes back what was sent out, once.
pub(crate) async fn take_back(
    hub: &Hub,
    visitor: &Visitor,
    kind: &str,
    secret: &[u8],
) -> Result<String, HubError> {
    let sent = Sent { hash: sha256(secret), kind, browser: visitor.token.hash() };
    let mut tx = hub.db.write().await?;
    let body = data::tries::take(&mut tx, sent, visitor.at).await?;
    tx.commit().await?;
    body.ok_or_else(|| {
        HubError::new(
            ErrorCode::Forbidden,
            "this sign-in was not begun in this browser, took longer than ten minutes, or was made before",
        )
        .hint("begin again on the sign-in page")
    })
}
