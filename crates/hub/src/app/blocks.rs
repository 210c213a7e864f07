//! Blocks, as an operator looks at them and sets them.

use std::net::IpAddr;

use api::{AddBlock, Block, BlockId};
use jiff::SignedDuration;

use super::Caller;
use super::caller::Who;
use crate::HubError;
use crate::data;
use crate::gate::{self, Place, Subject};
use crate::policy::Action;
use crate::state::Hub;

/// The longest reason.
const MOST_REASON_BYTES: usize = 200;

/// Blocks in force, after `after`.
pub(crate) fn list(
    hub: &Hub,
    caller: &Caller,
    after: &str,
    rows: i64,
) -> Result<Vec<Block>, HubError> {
    caller.may_here(Action::BlockList)?;
    let mut blocks = hub.gate.blocks(hub.now());
    blocks.retain(|block| block.id.to_string().as_str() > after);
    blocks.truncate(usize::try_from(rows).unwrap_or(usize::MAX));
    Ok(blocks)
}

/// Blocks somebody. In force at once, and on the disk when this returns. Not the place from which it is asked for (`from`, where
/// the server knows it): whoever is there could not lift it again.
pub(crate) async fn add(
    hub: &Hub,
    caller: &Caller,
    from: Option<IpAddr>,
    body: &AddBlock,
) -> Result<Block, HubError> {
    caller.may_here(Action::BlockAdd)?;
    let subject: Subject = body.subject.parse().map_err(|e: gate::NotASubject| {
        HubError::bad_request(e.to_string())
            .hint("as `address:192.0.2.7`, `address:2001:db8::/64` or `key:` with a key id")
    })?;
    let reason = body.reason.trim();
    if !(1..=MOST_REASON_BYTES).contains(&reason.len()) || reason.chars().any(char::is_control) {
        return Err(HubError::bad_request(format!(
            "the reason is not one line of 1 to {MOST_REASON_BYTES} bytes"
        ))
        .hint("say what happened: the blocked caller reads it"));
    }
    let own_key = matches!((&caller.who, subject), (Who::Account { key, .. }, Subject::Key(id)) if key.id == id);
    let shared = matches!(subject, Subject::Address(place) if hub.gate.is_shared(place));
    let own_place = from.map(|from| Subject::Address(Place::from(from))) == Some(subject);
    let refuse = |why: &str, hint: &str| {
        Err(HubError::conflict(format!("{subject} is not blocked: {why}")).hint(hint))
    };
    if own_key {
        return refuse("it signs this call", "another operator can block it");
    }
    if shared {
        return refuse("it stands for many callers", "block the keys behind it");
    }
    if own_place {
        return refuse(
            "you call from there, and could not lift it",
            "block the keys that misbehave there, or block it from elsewhere",
        );
    }
    let until = body
        .seconds
        .map(|seconds| caller.at.checked_add(SignedDuration::from_secs(i64::from(seconds))))
        .transpose()
        .map_err(|_| HubError::bad_request("the block would last beyond the end of time"))?;
    let event = caller.event(Action::BlockAdd.act(), subject.to_string(), None);
    let mut tx = hub.db.write().await?;
    data::events::record(&mut tx, &event).await?;
    tx.commit().await?;
    let block = hub.gate.block(subject, until, reason, caller.account(), caller.at);
    gate::flush(hub).await?;
    Ok(block)
}

/// Lifts a block. In force at once, and on the disk when this returns.
pub(crate) async fn lift(hub: &Hub, caller: &Caller, id: BlockId) -> Result<Block, HubError> {
    caller.may_here(Action::BlockLift)?;
    let Some((subject, block)) = hub.gate.lift(id, hub.now()) else {
        return Err(HubError::not_found("block", id));
    };
    let event = caller.event(Action::BlockLift.act(), subject.to_string(), None);
    let mut tx = hub.db.write().await?;
    data::events::record(&mut tx, &event).await?;
    tx.commit().await?;
    gate::flush(hub).await?;
    Ok(block)
}
