//! Searchable fields: switched on, off and rotated in the background, with right answers all the while
//! (`spec/cases.md` section 5).
//!
//! A version of an index is `building`, then `live`, then `ending`. From the moment it is begun every write hashes under it, and
//! what was there before is hashed in the order of the rows, with the place kept in the transaction of the hashes. So a stop at
//! any moment loses nothing, and a version that becomes live misses nothing.

use std::time::Duration;

use api::{
    CaseDocument, ErrorCode, FieldIndex, IndexMode, IndexState, OrganizationId, ProjectId,
    SearchField, SetField,
};
use cases::{Normal, Refused, Token};
use custody::organization::{IndexKey, Keys};

use super::sealing;
use crate::HubError;
use crate::app::Caller;
use crate::app::caller::object;
use crate::data::case_indexes::KeptIndex;
use crate::data::cases::KeptCase;
use crate::data::seen::Seen;
use crate::data::{self, Connection};
use crate::policy::Action;
use crate::state::Hub;

/// How many cases are hashed in one transaction: short enough that nobody waits for it long.
const BATCH: i64 = 500;
/// How many hashes are deleted in one.
const DELETED: i64 = 5_000;
/// Others come in between.
const BREATH: Duration = Duration::from_millis(2);

/// The field as index keys and salts know it.
pub(crate) fn name(field: SearchField) -> String {
    format!("cases.{}", field.as_str())
}

/// Why a field is not searched.
pub(super) fn refusal(field: SearchField, no: Refused) -> HubError {
    HubError::new(ErrorCode::BadRequest, format!("`{}` is not searchable: {no}", field.as_str()))
}

/// The indexes that a write must keep up.
pub(crate) struct Writing(Vec<(KeptIndex, IndexKey)>);

impl Writing {
    /// Hashes what is said in cases, given with their rows.
    pub(crate) async fn put<'a>(
        &self,
        at: &mut Connection,
        documents: impl IntoIterator<Item = (i64, &'a CaseDocument)>,
    ) -> Result<(), HubError> {
        let mut hashes = Vec::new();
        for (number, document) in documents {
            for (index, key) in &self.0 {
                if let Some(value) = cases::values(document, index.shown.field) {
                    let token = Token::of(index.shown.mode, key.blind(value.as_bytes()));
                    hashes.push((index.id, token, number));
                }
            }
        }
        data::case_indexes::put_hashes(at, &hashes).await
    }
}

/// The indexes that are live or being built, with their keys.
pub(crate) async fn writing(at: &mut Connection, keys: &Keys) -> Result<Writing, HubError> {
    let mut all = data::case_indexes::of_organization(at, keys.organization()).await?;
    all.retain(|index| index.shown.state != IndexState::Ending);
    let mut writing = Vec::with_capacity(all.len());
    for index in all {
        let key = keys.index_key(&name(index.shown.field), index.shown.version)?;
        writing.push((index, key));
    }
    Ok(Writing(writing))
}

/// The version of a field's index that answers.
async fn answering(
    at: &mut Connection,
    organization: OrganizationId,
    field: SearchField,
) -> Result<KeptIndex, HubError> {
    let all = data::case_indexes::of_organization(at, organization).await?;
    let of_field = || all.iter().filter(|index| index.shown.field == field);
    if let Some(live) = of_field().find(|index| index.shown.state == IndexState::Live) {
        return Ok(live.clone());
    }
    let word = field.as_str();
    Err(match of_field().find(|index| index.shown.state == IndexState::Building) {
        Some(index) => HubError::conflict(format!(
            "the index of `{word}` is being built: {} of {} cases",
            index.shown.done, index.shown.total
        ))
        .hint("search again when it is whole: `chorion org fields list` says how far it is"),
        None => HubError::conflict(format!("`{word}` is not searchable in this organization"))
            .hint("an administrator turns it on: `chorion org fields on`"),
    })
}

/// Cases of a project after a row whose field has this value, as the index says. The version that answered last is asked first, together
/// with whether it still does.
pub(crate) async fn hits(
    (seen, at): (&Seen, &mut Connection),
    keys: &Keys,
    (field, value): (SearchField, &Normal),
    project: ProjectId,
    page: (i64, i64),
) -> Result<Vec<KeptCase>, HubError> {
    let organization = keys.organization();
    if let Some(index) = seen.answered(organization, field)
        && let Ok(hash) = hash(keys, &index, value)
        && let Some(found) =
            data::cases::with_hash(at, index.id, hash.as_bytes(), project, page).await?
    {
        return Ok(found);
    }
    let index = answering(at, organization, field).await?;
    let hash = hash(keys, &index, value)?;
    let found = data::cases::with_hash(at, index.id, hash.as_bytes(), project, page).await?;
    seen.answers(index);
    found.ok_or_else(|| {
        HubError::conflict("the index of this field has changed just now").hint("search again")
    })
}

/// What stands in the index for a value.
fn hash(keys: &Keys, index: &KeptIndex, value: &Normal) -> Result<Token, HubError> {
    let key = keys.index_key(&name(index.shown.field), index.shown.version)?;
    Ok(Token::of(index.shown.mode, key.blind(value.as_bytes())))
}

/// Versions of the indexes of an organization.
pub(crate) async fn list(
    hub: &Hub,
    caller: &Caller,
    id: OrganizationId,
) -> Result<Vec<FieldIndex>, HubError> {
    let mut reader = hub.db.read().await?;
    crate::app::organizations::may(&mut reader, caller, Action::FieldSee, id).await?;
    let all = data::case_indexes::of_organization(&mut reader, id).await?;
    Ok(all.into_iter().map(|index| index.shown).collect())
}

/// Turns a field on, or begins the next version of its index beside the one that answers.
pub(crate) async fn set(
    hub: &Hub,
    caller: &Caller,
    id: OrganizationId,
    field: SearchField,
    body: SetField,
) -> Result<FieldIndex, HubError> {
    let mut reader = hub.db.read().await?;
    crate::app::organizations::may(&mut reader, caller, Action::FieldSet, id).await?;
    let all = data::case_indexes::of_organization(&mut reader, id).await?;
    drop(reader);
    let of_field: Vec<&KeptIndex> = all.iter().filter(|one| one.shown.field == field).collect();
    not_twice(field, &of_field)?;
    let live = of_field.iter().find(|index| index.shown.state == IndexState::Live);
    let asked = body.mode.or_else(|| live.map(|index| index.shown.mode));
    let mode: IndexMode = cases::judge(field, asked).map_err(|no| refusal(field, no))?.mode;
    let version = of_field.iter().map(|index| index.shown.version).max().unwrap_or(0) + 1;
    // The salt first: a salt without an index is harmless, an index without a salt would be none. One that a stop left is
    // of no use to anybody.
    crate::app::organization_keys::drop_salt(hub, id, &name(field), version).await?;
    crate::app::organization_keys::make_salt(hub, id, &name(field), version).await?;
    let mut tx = hub.db.write().await?;
    crate::app::organizations::may(&mut tx, caller, Action::FieldSet, id).await?;
    let all = data::case_indexes::of_organization(&mut tx, id).await?;
    let of_field: Vec<&KeptIndex> = all.iter().filter(|one| one.shown.field == field).collect();
    not_twice(field, &of_field)?;
    data::case_indexes::insert(&mut tx, id, field, version, mode, caller.at).await?;
    let act = if live.is_some() { "field.rotate" } else { "field.on" };
    let event = caller.event(act, object("organization", id), None);
    data::events::record_for(&mut tx, id, &event).await?;
    let all = data::case_indexes::of_organization(&mut tx, id).await?;
    tx.commit().await?;
    crate::app::descriptions::keep_after(hub).await;
    behind(hub);
    all.into_iter()
        .map(|index| index.shown)
        .find(|index| index.field == field && index.version == version)
        .ok_or_else(|| HubError::not_found("index of field", field.as_str()))
}

fn not_twice(field: SearchField, of_field: &[&KeptIndex]) -> Result<(), HubError> {
    match of_field.iter().find(|index| index.shown.state == IndexState::Building) {
        Some(index) => Err(HubError::conflict(format!(
            "version {} of the index of `{}` is being built",
            index.shown.version,
            field.as_str()
        ))
        .hint("wait until it is whole, or turn the field off")),
        None => Ok(()),
    }
}

/// Turns a field off: it answers no more from this moment on.
pub(crate) async fn off(
    hub: &Hub,
    caller: &Caller,
    id: OrganizationId,
    field: SearchField,
) -> Result<Vec<FieldIndex>, HubError> {
    let mut tx = hub.db.write().await?;
    crate::app::organizations::may(&mut tx, caller, Action::FieldSet, id).await?;
    if data::case_indexes::end(&mut tx, id, field, None, caller.at).await? > 0 {
        let event = caller.event("field.off", object("organization", id), None);
        data::events::record_for(&mut tx, id, &event).await?;
    }
    let all = data::case_indexes::of_organization(&mut tx, id).await?;
    tx.commit().await?;
    behind(hub);
    Ok(all.into_iter().map(|index| index.shown).filter(|index| index.field == field).collect())
}

/// Goes on with what is unfinished, behind the calls.
pub(crate) fn behind(hub: &Hub) {
    let hub = hub.clone();
    hub.background.clone().spawn(async move {
        if let Err(error) = go_on(&hub).await {
            tracing::warn!(cause = error.causes(), "an index waits: {error}");
        }
    });
}

/// Builds what is being built and deletes what ends, until nothing is left to do or the hub stops. An index whose
/// organization has taken its key away waits. One hand does it at a time: two would wait for each other's readers.
pub(crate) async fn go_on(hub: &Hub) -> Result<(), HubError> {
    let _one_hand = hub.indexing.lock().await;
    let mut waits = None;
    // The connection goes back before the work begins: who is at work waits for others.
    let unfinished = data::case_indexes::unfinished(&mut *hub.db.read().await?).await?;
    for index in unfinished {
        if let Err(error) = finish(hub, &index).await {
            waits = Some(error);
        }
    }
    waits.map_or(Ok(()), Err)
}

async fn finish(hub: &Hub, index: &KeptIndex) -> Result<(), HubError> {
    while !hub.stopping.is_cancelled() && step(hub, index.id).await? {
        tokio::time::sleep(BREATH).await;
    }
    // Which fields are searched outlives the database; their hashes are made anew.
    crate::app::descriptions::keep_after(hub).await;
    Ok(())
}

/// One transaction of work; says whether there is more.
pub(crate) async fn step(hub: &Hub, id: i64) -> Result<bool, HubError> {
    let Some(index) = data::case_indexes::find(&mut *hub.db.read().await?, id).await? else {
        return Ok(false);
    };
    match index.shown.state {
        IndexState::Live => Ok(false),
        IndexState::Building => build(hub, &index).await,
        IndexState::Ending => take_away(hub, &index).await,
    }
}

async fn build(hub: &Hub, index: &KeptIndex) -> Result<bool, HubError> {
    let keys = sealing::keys(hub, index.organization).await?;
    let key = keys.index_key(&name(index.shown.field), index.shown.version)?;
    let mut tx = hub.db.write().await?;
    // It may have been turned off, or have been built by another hand, since.
    let Some(index) = data::case_indexes::find(&mut tx, index.id).await? else { return Ok(false) };
    if index.shown.state != IndexState::Building {
        return Ok(true);
    }
    let organization = index.organization;
    let rows = data::cases::of_organization(&mut tx, organization, index.cursor, BATCH).await?;
    let Some(last) = rows.last() else {
        data::case_indexes::go_live(&mut tx, &index, hub.now()).await?;
        tx.commit().await?;
        tracing::info!(%organization, field = index.shown.field.as_str(), version = index.shown.version, "an index answers");
        behind(hub);
        return Ok(false);
    };
    let mut hashes = Vec::new();
    for kept in rows.iter().filter(|kept| kept.key.is_some()) {
        let document = match sealing::open(&keys, kept) {
            Ok(document) => document,
            // The lease has ended meanwhile: the next step asks anew. A damaged row is found by nobody, and hides no other.
            Err(error) if error.code() == ErrorCode::Internal => {
                tracing::error!(case = %kept.case.id, cause = error.causes(), "a case is not hashed: {error}");
                continue;
            }
            Err(error) => return Err(error),
        };
        if let Some(value) = cases::values(&document, index.shown.field) {
            let token = Token::of(index.shown.mode, key.blind(value.as_bytes()));
            hashes.push((index.id, token, kept.number));
        }
    }
    data::case_indexes::put_hashes(&mut tx, &hashes).await?;
    data::case_indexes::advance(&mut tx, index.id, last.number, rows.len()).await?;
    tx.commit().await?;
    Ok(true)
}

async fn take_away(hub: &Hub, index: &KeptIndex) -> Result<bool, HubError> {
    let mut tx = hub.db.write().await?;
    let deleted = data::case_indexes::remove_some(&mut tx, index.id, DELETED).await?;
    if deleted > 0 {
        data::case_indexes::advance(&mut tx, index.id, index.cursor, deleted).await?;
        tx.commit().await?;
        return Ok(true);
    }
    tx.commit().await?;
    let shown = &index.shown;
    crate::app::organization_keys::drop_salt(
        hub,
        index.organization,
        &name(shown.field),
        shown.version,
    )
    .await?;
    // Before the row goes, so that a log which cannot be emptied now is emptied at the next try.
    hub.db.forget().await?;
    let mut tx = hub.db.write().await?;
    data::case_indexes::remove(&mut tx, index.id).await?;
    tx.commit().await?;
    Ok(false)
}
