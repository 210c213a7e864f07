//! The keys of the caller's account.

use api::{AddKey, Key, KeyId, KeyKind, KeyLimit, Right, Time};
use proof::PublicKey;

use crate::HubError;
use crate::app::accounts::name;
use crate::app::caller::{Caller, object};
use crate::data::{self, Connection};
use crate::policy::Action;
use crate::state::Hub;

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

/// The most projects that one key is limited to.
const MOST_PROJECTS: usize = 100;

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
    if limit.scope > Right::Write {
        return Err(HubError::bad_request(format!(
            "the scope of a limited key is not `{}`",
            data::word(limit.scope)
        ))
        .hint("it is `browse`, `read`, `create` or `write`"));
    }
    if let Some(expires) = limit.expires {
        if expires <= now {
            return Err(HubError::bad_request(format!("the key's end {expires} has passed")));
        }
        // As the database keeps it, so that the key reads the same afterwards.
        limit.expires = Some(data::time(data::micros(expires))?);
    }
    if let Some(projects) = &mut limit.projects {
        projects.sort_unstable();
        projects.dedup();
        if projects.is_empty() || projects.len() > MOST_PROJECTS {
            return Err(HubError::bad_request(format!(
                "a key is limited to 1 to {MOST_PROJECTS} projects, or to none in particular"
            )));
        }
        for project in projects {
            if data::members::right_of(at, *project, caller.account()).await?.is_none() {
                return Err(HubError::not_found("project", *project));
            }
        }
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
        let event = caller.event(Action::KeyRevoke.act(), object("key", id), None);
        data::events::record(&mut tx, &event).await?;
        tx.commit().await?;
    }
    Ok(key)
}

/// What a caller reads when a key is known already, whoever has it.
pub(super) fn taken(error: sqlx::Error, id: KeyId) -> HubError {
    if data::is_taken(&error) {
        HubError::conflict(format!("key {id} is enrolled already, or was revoked"))
            .hint("make a new key: a key stands for one account, once")
    } else {
        error.into()
    }
}
