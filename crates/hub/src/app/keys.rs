//! The keys of the caller's account.

use api::{AddKey, Key, KeyId, KeyKind, KeyLimit, Right, Time};
use proof::PublicKey;

use crate::HubError;
use crate::app::accounts::name;
use crate::app::caller::{Caller, object};
use crate::data::{self, Connection};
use crate::policy::Action;
use crate::state::Hub;

/// The most projects that one key is limited to.
const MOST_PROJECTS: usize = 100;

/// Keys of the caller's account, revoked ones too.
pub(crate) async fn list(
    hub: &Hub,
    caller: &Caller,
    after: &str,
    rows: i64,
) -> Result<Vec<Key>, HubError> {
    caller.may_here(Action::KeyList)?;
    data::keys::list(&mut *hub.db.read().await?, caller.account(), after, rows).await
}

/// So many keys of the caller's account, those in force first: what is shown of many is what matters.
pub(crate) async fn in_force_first(
    hub: &Hub,
    caller: &Caller,
    rows: i64,
) -> Result<Vec<Key>, HubError> {
    caller.may_here(Action::KeyList)?;
    data::keys::in_force_first(&mut *hub.db.read().await?, caller.account(), rows).await
}

/// A key of the caller's account.
pub(crate) async fn own(hub: &Hub, caller: &Caller, id: KeyId) -> Result<Key, HubError> {
    caller.may_here(Action::KeyList)?;
    let key = data::keys::find(&mut *hub.db.read().await?, id, caller.account()).await?;
    key.ok_or_else(|| HubError::not_found("key", id))
}

/// Adds a key. The same key with the same name, kind and limit again is a success.
pub(crate) async fn add(hub: &Hub, caller: &Caller, body: AddKey) -> Result<Key, HubError> {
    caller.may_here(Action::KeyAdd)?;
    let public = PublicKey::from_bytes(&body.public_key.0)
        .map_err(|e| HubError::bad_request(e.to_string()))?;
    let mut key = Key {
        id: public.id(),
        account: caller.account(),
        kind: body.kind,
        name: name(&body.name, "key")?,
        public_key: body.public_key,
        created: caller.at,
        revoked: None,
        limit: body.limit,
        app: None,
    };
    let mut tx = hub.db.write().await?;
    if let Some(limit) = &mut key.limit {
        if key.kind == KeyKind::Instrument {
            return Err(HubError::bad_request("an instrument's key takes no limit of its own")
                .hint("it sends runs and nothing else already"));
        }
        sound(&mut tx, caller, limit, caller.at).await?;
    }
    if let Some(there) = data::keys::find(&mut tx, key.id, key.account).await?
        && there.revoked.is_none()
        && (there.kind, &there.name, &there.limit) == (key.kind, &key.name, &key.limit)
    {
        return Ok(there);
    }
    data::keys::insert(&mut tx, &key).await.map_err(|e| taken(e, key.id))?;
    let event = caller.event(Action::KeyAdd.act(), object("key", key.id), None);
    data::events::record(&mut tx, &event).await?;
    super::notices::key_added(&mut tx, &key).await?;
    tx.commit().await?;
    Ok(key)
}

/// Makes sure that a limit limits: a scope below administration, an end to come, and projects of the caller's, which are
/// put in order so that the same limit always reads the same.
pub(super) async fn sound(
    at: &mut Connection,
    caller: &Caller,
    limit: &mut KeyLimit,
    now: Time,
) -> Result<(), HubError> {
    shape(limit, now)?;
    // As the database keeps it, so that the key reads the same afterwards.
    limit.expires = limit.expires.map(|end| data::time(data::micros(end))).transpose()?;
    if let Some(projects) = &mut limit.projects {
        projects.sort_unstable();
        projects.dedup();
        for project in projects {
            if data::members::right_of(at, *project, caller.account()).await?.is_none() {
                return Err(HubError::not_found("project", *project));
            }
        }
    }
    Ok(())
}

/// What can be said of a limit before it is known whose key it is for.
pub(super) fn shape(limit: &KeyLimit, now: Time) -> Result<(), HubError> {
    if limit.scope > Right::Write {
        return Err(HubError::bad_request(format!(
            "the scope of a limited key is not `{}`",
            data::word(limit.scope)
        ))
        .hint("it is `browse`, `read`, `create` or `write`"));
    }
    if let Some(expires) = limit.expires.filter(|end| *end <= now) {
        return Err(HubError::bad_request(format!("the key's end {expires} has passed")));
    }
    if limit.projects.as_ref().is_some_and(|some| !(1..=MOST_PROJECTS).contains(&some.len())) {
        return Err(HubError::bad_request(format!(
            "a key is limited to 1 to {MOST_PROJECTS} projects, or to none in particular"
        )));
    }
    Ok(())
}

/// Revokes a key, from its next call on.
pub(crate) async fn revoke(hub: &Hub, caller: &Caller, id: KeyId) -> Result<Key, HubError> {
    caller.may_here(Action::KeyRevoke)?;
    let mut tx = hub.db.write().await?;
    let account = caller.account();
    let mut key = data::keys::find(&mut tx, id, account)
        .await?
        .ok_or_else(|| HubError::not_found("key", id))?;
    if data::keys::revoke(&mut tx, id, caller.at).await? {
        key.revoked = Some(caller.at);
        let act = if key.app.is_some() { "consent.withdraw" } else { Action::KeyRevoke.act() };
        let event = caller.event(act, object("key", id), None);
        data::events::record(&mut tx, &event).await?;
        tx.commit().await?;
    }
    Ok(key)
}

/// What a caller reads when a key is known already, whoever has it.
pub(super) fn taken(error: sqlx::Error, id: KeyId) -> HubError {
    if data::is_taken(&error) { known(id) } else { error.into() }
}

/// A key that is enrolled, or was, never asks to be once more.
pub(super) fn known(id: KeyId) -> HubError {
    HubError::conflict(format!("key {id} is enrolled already, or was revoked"))
        .hint("make a new key: a key stands for one account, once")
}
