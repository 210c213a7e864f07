//! The first start on a database from a backup: what happened since is learnt from what outlived it.
//!
//! In this order. What was deleted since is deleted again: every facility remembers the names that were erased, those of
//! deleted datasets and projects among them, and their keys, which the backup brought back, are destroyed before anybody is
//! answered. What waited for an answer expires: approvals, one-time codes, sign-ins, sign-ons. Everybody is told, because the
//! log goes back, and a key that was revoked since counts again until it is revoked again.

use api::{ExecutionState, NoticeKind, Outcome};
use store::BlobHash;

use crate::HubError;
use crate::app::caller::object;
use crate::app::{cases, datasets, projects, tasks};
use crate::data;
use crate::data::events::NewEvent;
use crate::data::notices::NewNotice;
use crate::state::Hub;

/// Kept in `meta` from the restoring until every facility has said what was erased.
pub(crate) const RESTORED: &str = "restored from backup";
/// Its value once people were told.
const TOLD: &str = "told";

/// Brings a restored database up to what the facilities know. Nothing happens where none was restored.
pub(crate) async fn settle(hub: &Hub) -> Result<(), HubError> {
    let Some(backup) = data::meta::find(&mut *hub.db.read().await?, RESTORED).await? else {
        return Ok(());
    };
    let all_answered = hub.store.agree_on_erasures().await;
    delete_again(hub).await?;
    if backup != TOLD {
        end_and_tell(hub, &backup).await?;
    }
    if all_answered {
        let mut tx = hub.db.write().await?;
        data::meta::remove(&mut tx, RESTORED).await?;
        tx.commit().await?;
    } else {
        tracing::warn!(
            "a facility is away: what only it knows to be deleted is deleted when it is back"
        );
    }
    Ok(())
}

async fn delete_again(hub: &Hub) -> Result<(), HubError> {
    let is_marked = |id: [u8; 16]| {
        let mark = datasets::deletion_mark(id);
        hub.store.is_erased(&[BlobHash::from_bytes(mark.0)]) == [true]
    };
    let all = data::projects::all(&mut *hub.db.read().await?).await?;
    for id in all.into_iter().filter(|id| is_marked(id.to_bytes())) {
        let mut tx = hub.db.write().await?;
        data::projects::begin_deletion(&mut tx, id, hub.now()).await?;
        tx.commit().await?;
        projects::finish_deletion(hub, id).await?;
        tracing::warn!(project = %id, "it was deleted after the backup, and is deleted again");
    }
    let all = data::datasets::everything(&mut *hub.db.read().await?).await?;
    for id in all {
        if is_marked(id.to_bytes()) {
            let mut tx = hub.db.write().await?;
            data::datasets::begin_deletion(&mut tx, id, hub.now()).await?;
            tasks::cancel_all_of(hub, &mut tx, id, hub.now()).await?;
            tx.commit().await?;
            datasets::finish_deletion(hub, id).await?;
            tracing::warn!(dataset = %id, "it was deleted after the backup, and is deleted again");
            continue;
        }
        // Written anew since: what the backup knows of is erased, and what replaced it has no key here.
        let objects = data::objects::all(&mut *hub.db.read().await?, id).await?;
        let names: Vec<_> = objects.iter().map(|kept| BlobHash::from_bytes(kept.hash.0)).collect();
        let erased = hub.store.is_erased(&names);
        let gone: Vec<_> = objects
            .into_iter()
            .zip(erased)
            .filter_map(|(kept, erased)| erased.then_some(kept))
            .collect();
        if gone.is_empty() {
            continue;
        }
        datasets::destroy_objects(hub, id, &gone).await?;
        let mut tx = hub.db.write().await?;
        for kept in &gone {
            data::objects::remove(&mut tx, id, kept.object).await?;
        }
        data::datasets::recount(&mut tx, id).await?;
        let reason = "its bytes were erased after the backup that this hub was restored from";
        data::datasets::set_execution(&mut tx, id, ExecutionState::Failed, Some(reason), hub.now())
            .await?;
        tx.commit().await?;
        tracing::error!(dataset = %id, objects = gone.len(), "it was written anew after the backup: what the backup knows is gone");
    }
    delete_cases_again(hub, is_marked).await
}

/// The same for cases: each was marked by its id when it was deleted.
async fn delete_cases_again(
    hub: &Hub,
    is_marked: impl Fn([u8; 16]) -> bool,
) -> Result<(), HubError> {
    const SOME: i64 = 10_000;
    let mut after = 0;
    loop {
        let some = data::cases::everything(&mut *hub.db.read().await?, after, SOME).await?;
        let Some((last, _)) = some.last() else { break };
        after = *last;
        let marked: Vec<_> = some.into_iter().filter(|(_, id)| is_marked(id.to_bytes())).collect();
        let mut tx = hub.db.write().await?;
        for (number, id) in marked {
            data::cases::destroy_key(&mut tx, number).await?;
            tracing::warn!(case = %id, "it was deleted after the backup, and is deleted again");
        }
        tx.commit().await?;
    }
    cases::finish_deletions(hub, None).await
}

async fn end_and_tell(hub: &Hub, backup: &str) -> Result<(), HubError> {
    let now = hub.now();
    let mut tx = hub.db.write().await?;
    data::approvals::expire_all(&mut tx).await?;
    data::meta::end_what_waits(&mut tx).await?;
    let event = NewEvent {
        at: now,
        actor: "hub".to_owned(),
        act: "hub.restore",
        object: object("backup", backup),
        project: None,
        purpose: None,
        outcome: Outcome::Done,
        reason: None,
        request: None,
    };
    data::events::record(&mut tx, &event).await?;
    for account in data::notices::everybody(&mut tx).await? {
        let notice = NewNotice {
            account,
            kind: NoticeKind::HubRestored,
            subject: format!("hub:{}", hub.id),
            project: None,
            once: None,
            at: now,
        };
        data::notices::tell(&mut tx, &notice).await?;
    }
    data::meta::set(&mut tx, RESTORED, TOLD).await?;
    Ok(tx.commit().await?)
}
