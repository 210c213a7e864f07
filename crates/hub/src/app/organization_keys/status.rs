//! How an organization's key stands, and the recovery copy of what it opens.

use api::{
    Digest, ErrorCode, KeyPolicy, KeyPolicyForm, KeyPurpose, KeyService, KeyStanding,
    OrganizationId, OrganizationKeyStatus, RecoveryCopy, RecoveryKey, RecoveryStored,
};
use custody::kms::{Services, policy as least};
use proof::sha256;

use super::standing::{IDLE_PROBE_SECONDS, PROBE_SECONDS, look, next_probe};
use super::{holder, none_set};
use crate::HubError;
use crate::app::Caller;
use crate::app::caller::object;
use crate::app::organizations::may;
use crate::data;
use crate::policy::Action;
use crate::state::Hub;

/// The longest that a call of a key service takes.
const CALL_SECONDS: u32 = 10;
/// How long before the credentials expire it is said.
const WARN_SECONDS: i64 = 30 * 24 * 3600;

/// The least that the hub's identity must be granted at the key service, to paste there. It says nothing of the organization but
/// its id, and is for everybody in it.
pub(crate) async fn policy(
    hub: &Hub,
    caller: &Caller,
    id: OrganizationId,
    form: KeyPolicyForm,
    key: &str,
    principal: &str,
) -> Result<KeyPolicy, HubError> {
    may(&mut *hub.db.read().await?, caller, Action::OrganizationSee, id).await?;
    let (key, principal) = (key.trim(), principal.trim());
    if key.is_empty() || principal.is_empty() {
        return Err(HubError::bad_request("the key, or who is granted it, is missing")
            .hint("`key` is an ARN or a vault's URL of it, `principal` an ARN of AWS or an object id of Azure"));
    }
    let policy = least::print(id, form, key, principal)
        .map_err(|error| HubError::bad_request(error.to_string()))?;
    Ok(KeyPolicy { form, policy })
}

/// How the key stands.
pub(crate) async fn status(
    hub: &Hub,
    caller: &Caller,
    id: OrganizationId,
) -> Result<OrganizationKeyStatus, HubError> {
    let mut reader = hub.db.read().await?;
    may(&mut reader, caller, Action::OrganizationKeySee, id).await?;
    drop(reader);
    // Who looks is told how it stands now, also where nobody uses it.
    look(hub, id).await?;
    let mut reader = hub.db.read().await?;
    let service = data::organization_keys::service(&mut reader, id).await?;
    let service = service.ok_or_else(|| none_set(id))?;
    let keys = data::organization_keys::keys(&mut reader, id).await?;
    let rotations = data::organization_keys::rotations(&mut reader, id).await?;
    drop(reader);
    let recovers = service.recovery.is_some();
    let held_by_customer =
        |row: &data::organization_keys::Row| row.recovery.is_none() || row.stored.is_some();
    let recovery_stored = recovers.then(|| keys.iter().all(held_by_customer));
    let mut warnings = service.warnings.clone();
    if let Some(expires) = service.secret_expires {
        let left = expires.duration_since(hub.now()).as_secs();
        if left <= 0 {
            warnings.push(format!("the credentials expired at {expires}"));
        } else if left < WARN_SECONDS {
            warnings.push(format!(
                "the credentials expire in {} days, at {expires}: `chorion org kms set` takes new ones",
                left / 86_400
            ));
        }
    }
    let has_left = service.service == KeyService::Platform;
    match recovery_stored {
        None if has_left => warnings.push(
            "the organization has left its own key: the operator of this hub can read what is under its keys".to_owned(),
        ),
        None => warnings.push(
            "there is no recovery copy: who loses the key loses the data, for ever".to_owned(),
        ),
        Some(false) => warnings.push(
            "the newest recovery copy is not stored yet: `chorion org kms recovery`".to_owned(),
        ),
        Some(true) => {}
    }
    if service.standing == KeyStanding::Unreachable {
        warnings.push("the key service does not answer".to_owned());
    }
    let lease = service.lease_seconds;
    // While a lease lasts the key is probed; without a lease every call asks.
    let seen = u32::try_from(PROBE_SECONDS).unwrap_or(u32::MAX) + CALL_SECONDS + 1;
    // A local file has no call that could take long, but the bound is the same for all.
    let effect_seconds = lease.min(seen);
    let holder = holder(hub, id).await?;
    Ok(OrganizationKeyStatus {
        organization: id,
        service: service.service,
        standing: service.standing,
        trouble: service.trouble,
        since: service.since,
        checked: service.checked,
        next_probe: next_probe(hub, &holder),
        lease_seconds: lease,
        effect_seconds,
        effect_unreachable_seconds: lease,
        secret_expires: service.secret_expires,
        external_id: Services::external_id(id),
        recovery: service.recovery,
        recovery_stored,
        warnings,
        versions: keys.iter().map(|row| row.shown(recovers)).collect(),
        rotations,
        idle_probe_seconds: u32::try_from(IDLE_PROBE_SECONDS).unwrap_or(u32::MAX),
    })
}

/// Uses the key once, as any read would: what holds is opened, or refused.
pub(crate) async fn use_once(
    hub: &Hub,
    caller: &Caller,
    id: OrganizationId,
) -> Result<(), HubError> {
    may(&mut *hub.db.read().await?, caller, Action::OrganizationKeySee, id).await?;
    super::open(hub, id).await.map(drop)
}

/// The recovery copy: every key of the organization, sealed to the customer's offline key.
pub(crate) async fn recovery(
    hub: &Hub,
    caller: &Caller,
    id: OrganizationId,
) -> Result<RecoveryCopy, HubError> {
    let mut reader = hub.db.read().await?;
    may(&mut reader, caller, Action::OrganizationKeySet, id).await?;
    let service = data::organization_keys::service(&mut reader, id).await?;
    let service = service.ok_or_else(|| none_set(id))?;
    let keys = data::organization_keys::keys(&mut reader, id).await?;
    let recipient = service.recovery.ok_or_else(|| {
        HubError::new(ErrorCode::NotFound, format!("organization {id} has no recovery copy")).hint(
            "name an offline key: `chorion keygen -o FILE`, then `chorion org kms set --recovery`",
        )
    })?;
    let keys = keys.into_iter().filter(|row| row.kept.purpose != KeyPurpose::Canary);
    let keys = keys.filter_map(|row| {
        let (purpose, version) = (row.kept.purpose, row.kept.version);
        row.recovery.map(|sealed| RecoveryKey { purpose, version, sealed: api::Bytes(sealed) })
    });
    Ok(RecoveryCopy { organization: id, recipient, keys: keys.collect() })
}

/// What names a recovery copy: the SHA-256 of its JSON.
fn digest(copy: &RecoveryCopy) -> Result<Digest, HubError> {
    serde_json::to_vec(copy)
        .map(|bytes| sha256(&bytes))
        .map_err(|e| HubError::internal("the recovery copy was not written", e))
}

/// The customer says that the copy is in hand.
pub(crate) async fn recovery_stored(
    hub: &Hub,
    caller: &Caller,
    id: OrganizationId,
    body: RecoveryStored,
) -> Result<(), HubError> {
    let copy = recovery(hub, caller, id).await?;
    if digest(&copy)? != body.digest {
        return Err(HubError::conflict("that is not the newest recovery copy")
            .hint("fetch it again: `chorion org kms recovery`"));
    }
    let mut tx = hub.db.write().await?;
    data::organization_keys::recovery_stored(&mut tx, id, hub.now()).await?;
    let event = caller.event("organization.key.recovery", object("organization", id), None);
    data::events::record_for(&mut tx, id, &event).await?;
    Ok(tx.commit().await?)
}
