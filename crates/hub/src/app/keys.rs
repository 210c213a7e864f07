//! The keys of the caller's account.

use api::{AddKey, Key, KeyId};
use proof::PublicKey;

use crate::HubError;
use crate::app::accounts::name;
use crate::app::caller::{Caller, object};
use crate::data;
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

/// Adds a key. The same key with the same name and kind again is a success.
pub(crate) async fn add(hub: &Hub, caller: &Caller, body: AddKey) -> Result<Key, HubError> {
    caller.may_here(Action::KeyAdd)?;
    let public = PublicKey::from_bytes(&body.public_key.0)
        .map_err(|e| HubError::bad_request(e.to_string()))?;
    let key = Key {
        id: public.id(),
        account: caller.account(),
        kind: body.kind,
        name: name(&body.name, "key")?,
        public_key: body.public_key,
        created: caller.at,
        revoked: None,
    };
    let mut tx = hub.db.write().await?;
    if let Some(there) = data::keys::find(&mut tx, key.id, key.account).await?
        && there.revoked.is_none()
        && (there.kind, &there.name) == (key.kind, &key.name)
    {
        return Ok(there);
    }
    data::keys::insert(&mut tx, &key).await.map_err(|e| taken(e, key.id))?;
    let event = caller.event(Action::KeyAdd.act(), object("key", key.id), None);
    data::events::record(&mut tx, &event).await?;
    tx.commit().await?;
    Ok(key)
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
