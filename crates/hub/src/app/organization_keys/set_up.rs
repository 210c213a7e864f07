//! Taking a customer's key in use: it is tested first, and what it opens is made.

use std::sync::Arc;

use api::{
    KeyCredentials, KeyPurpose, KeyService, KeyStanding, KeyTest, OrganizationId, Plan,
    SetOrganizationKey, TestOrganizationKey, Time,
};
use custody::kms::azure::AzureOperations;
use custody::kms::{CustomerKey, KeyContext, KeyState, KmsError, OrganizationKey};
use custody::organization::{KeptKey, KeptSalt, MAX_LEASE_SECONDS, NewKey, make_key};
use proof::sha256;
use seal::DatasetKey;
use seal::label::seal_label;
use seal::recipient::{RecipientKey, wrap_to};
use seal::wrap::DatasetContext;
use zeroize::Zeroizing;

use super::{LEASE_SECONDS, Recorded, refused_set_up};
use crate::HubError;
use crate::app::Caller;
use crate::app::caller::object;
use crate::data::organization_keys::Service;
use crate::data::{self, Connection};
use crate::policy::Action;
use crate::state::Hub;

/// The purpose under which credentials are sealed.
const CREDENTIALS: &str = "key service credentials";

/// Where the key belongs that seals an organization's credentials, under the operator's.
fn place(id: OrganizationId) -> DatasetContext {
    DatasetContext {
        dataset: id.to_bytes(),
        project: id.to_bytes(),
        card_digest: sha256(CREDENTIALS.as_bytes()).0,
        epoch: 0,
    }
}

/// Seals credentials under the operator's key: a new key as the platform keeps it, and the text under that.
pub(crate) async fn sealed(
    hub: &Hub,
    id: OrganizationId,
    credentials: &KeyCredentials,
) -> Result<(Vec<u8>, Vec<u8>), HubError> {
    let failed = |e| HubError::internal("the credentials were not sealed", e);
    let platform = hub.custodian(api::Custodian::Platform)?;
    let recipient = platform.recipient().ok_or_else(|| {
        HubError::internal("the credentials were not sealed", "the platform has no recipient")
    })?;
    let key = DatasetKey::generate()
        .map_err(|e| HubError::internal("the system gives no randomness for a key", e))?;
    let wrapped = wrap_to(recipient, &place(id).bytes(), &key).map_err(failed)?;
    let kept = platform.adopt(&place(id), &wrapped).await?;
    let text = serde_json::to_vec(credentials)
        .map(Zeroizing::new)
        .map_err(|e| HubError::internal("the credentials were not sealed", e))?;
    Ok((kept, seal_label(&key, CREDENTIALS, &text).map_err(failed)?))
}

/// The credentials of an organization's key service, opened.
pub(crate) async fn unsealed(
    hub: &Hub,
    id: OrganizationId,
    service: &Service,
) -> Result<KeyCredentials, HubError> {
    let failed = "the credentials of a key service do not open under the operator's key";
    let platform = hub.custodian(api::Custodian::Platform)?;
    let opened = platform.open_for_hub(&place(id), &service.sealed_key).await?;
    let opened = opened.ok_or_else(|| HubError::internal(failed, "the platform opens nothing"))?;
    let text = opened
        .open_label(CREDENTIALS, &service.credentials)
        .map(Zeroizing::new)
        .map_err(|e| HubError::internal(failed, e))?;
    // What does not read may be quoted by its error.
    serde_json::from_slice(&text).map_err(|_| HubError::internal(failed, "they do not read"))
}

/// A key that was tested, connected.
pub(super) struct Tested {
    pub(super) customer: Arc<dyn CustomerKey>,
    pub(super) operations: AzureOperations,
    pub(super) test: KeyTest,
}

/// Tests a key: reaches its service, wraps a canary with it, unwraps it again, and looks at its state.
pub(super) async fn tested(
    hub: &Hub,
    id: OrganizationId,
    service: &KeyService,
    credentials: &KeyCredentials,
    make: bool,
) -> Result<Tested, HubError> {
    let services = &hub.organization_keys.services;
    let clock = || Arc::clone(&hub.clock);
    let of = KeyContext { organization: id, purpose: KeyPurpose::Canary, version: 0 };
    let mut operations = AzureOperations::default();
    let mut done = Vec::new();
    let canary = OrganizationKey::generate()
        .map_err(|e| HubError::internal("the system gives no randomness for a key", e))?;
    let connect = |operations| {
        let connected = services
            .connect(id, service, credentials, operations, make, clock())
            .map_err(|e| refused_set_up(&e))?;
        Ok::<_, HubError>(Arc::new(Recorded::new(hub, id, connected, "set-up")))
    };
    let mut customer: Arc<dyn CustomerKey> = connect(operations)?;
    if matches!(service, KeyService::AzureKeyVault { .. }) {
        // A policy may grant one pair of acts and not the other: the published set-up grants encrypt and decrypt alone.
        let granted = async |held: &dyn CustomerKey| {
            let wrapped = held.wrap(&of, &canary).await?;
            held.unwrap(&of, &wrapped).await.map(drop)
        };
        match granted(&*customer).await {
            Err(first @ KmsError::Denied { .. }) => {
                operations = AzureOperations::Encrypt;
                customer = connect(operations)?;
                // What is asked for is the first pair; the second is what an older policy may have.
                granted(&*customer).await.map_err(|e| match e {
                    KmsError::Denied { .. } => refused_set_up(&first),
                    other => refused_set_up(&other),
                })?;
                done.push("the vault grants encrypt and decrypt, which are used".to_owned());
            }
            // A symmetric key of a managed HSM wraps by AES alone.
            Err(first @ KmsError::Misuse { .. }) => {
                operations = AzureOperations::KeyWrap;
                customer = connect(operations)?;
                granted(&*customer).await.map_err(|_| refused_set_up(&first))?;
                done.push("the key is a symmetric one: it wraps by AES key wrap".to_owned());
            }
            Err(other) => return Err(refused_set_up(&other)),
            Ok(()) => {
                done.push("the vault grants wrapKey and unwrapKey, which are used".to_owned());
            }
        }
    }
    let wrapped = customer.wrap(&of, &canary).await.map_err(|e| refused_set_up(&e))?;
    done.push(format!("a canary was wrapped under {}", wrapped.key));
    let began = std::time::Instant::now();
    let opened = customer.unwrap(&of, &wrapped).await.map_err(|e| refused_set_up(&e))?;
    let unwrap_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    if opened.expose() != canary.expose() {
        return Err(HubError::bad_request("the key gave back another canary than it was given"));
    }
    done.push("the canary was unwrapped again, and is the same".to_owned());
    let mut warnings = Vec::new();
    match customer.describe().await {
        Ok(found) if found.state == KeyState::Enabled => {
            done.push("the key's state was read: it is enabled".to_owned());
            if found.purgeable {
                warnings.push(
                    "purge protection is off: who deletes the key can purge it at once, and the data with it"
                        .to_owned(),
                );
            }
        }
        Ok(found) => warnings.push(format!("the service says that the key is {:?}", found.state)),
        // Nothing depends on it: wrapping and unwrapping tell what counts.
        Err(error) => warnings.push(format!(
            "the key's state cannot be read ({error}): grant it, so that a deletion that was scheduled is seen before its date"
        )),
    }
    if matches!(service, KeyService::LocalFile { .. }) {
        warnings.push(
            "a local file is for development: whoever has this machine has the key".to_owned(),
        );
    }
    let test = KeyTest {
        provider: service.provider(),
        key: wrapped.key,
        algorithm: wrapped.algorithm,
        done,
        warnings,
        unwrap_ms,
    };
    Ok(Tested { customer, operations, test })
}

/// Tests a customer's key and takes it in use. The first time, what it opens is made.
pub(crate) async fn set(
    hub: &Hub,
    caller: &Caller,
    id: OrganizationId,
    body: SetOrganizationKey,
) -> Result<KeyTest, HubError> {
    let mut reader = hub.db.read().await?;
    let found =
        crate::app::organizations::may(&mut reader, caller, Action::OrganizationKeySet, id).await?;
    let before = data::organization_keys::service(&mut reader, id).await?;
    drop(reader);
    if body.confirm != id.to_string() {
        return Err(HubError::bad_request(format!("`{}` is not organization {id}", body.confirm))
            .hint("who loses the key loses the data, for ever, unless there is a recovery copy: repeat the organization's id"));
    }
    if found.plan != Plan::Enterprise {
        return Err(crate::app::organizations::not_in_plan(&found, Action::OrganizationKeySet));
    }
    let lease_seconds = body
        .lease_seconds
        .or_else(|| before.as_ref().map(|service| service.lease_seconds))
        .unwrap_or(LEASE_SECONDS);
    if lease_seconds > MAX_LEASE_SECONDS {
        return Err(HubError::bad_request(format!(
            "a lease of {lease_seconds} seconds is longer than {MAX_LEASE_SECONDS}"
        )));
    }
    let recovery = body.recovery.as_deref().map(str::parse::<RecipientKey>).transpose();
    let recovery = recovery.map_err(|e| HubError::bad_request(format!("recovery: {e}")))?;
    let Tested { customer, operations, test } =
        tested(hub, id, &body.service, &body.credentials, true).await?;
    let (sealed_key, credentials) = sealed(hub, id, &body.credentials).await?;
    let made = match &before {
        None => Made::First(first_keys(id, &*customer, recovery.as_ref()).await?),
        Some(_) => Made::Moved(moved(hub, id, &*customer).await?),
    };
    // A copy for another offline key is made of what is in use now.
    let other_recovery = before.as_ref().is_some_and(|before| before.recovery != body.recovery);
    let copies = match (&made, &recovery) {
        (Made::Moved(moved), Some(to)) if other_recovery => copies(id, to, &moved.opened)?,
        _ => Vec::new(),
    };
    let service = Service {
        service: body.service,
        operations,
        sealed_key,
        credentials,
        lease_seconds,
        unattested: body
            .unattested
            .or_else(|| before.as_ref().map(|service| service.unattested))
            .unwrap_or(false),
        secret_expires: body.secret_expires,
        recovery: body.recovery,
        warnings: test.warnings.clone(),
        standing: KeyStanding::InForce,
        trouble: None,
        since: hub.now(),
        checked: Some(hub.now()),
    };
    let mut tx = hub.db.write().await?;
    let now = data::organization_keys::service(&mut tx, id).await?;
    let changed = now.as_ref().map(|service| &service.sealed_key)
        != before.as_ref().map(|service| &service.sealed_key);
    if changed {
        return Err(HubError::conflict(format!(
            "the key of organization {id} was changed by somebody else meanwhile"
        )));
    }
    data::organization_keys::set(&mut tx, id, &service, hub.now()).await?;
    match &made {
        Made::First(made) => {
            for (new, copy) in made {
                data::organization_keys::put_key(&mut tx, id, new, copy.as_deref(), hub.now())
                    .await?;
            }
        }
        Made::Moved(moved) => {
            super::rotation::at_work(&mut tx, id).await?;
            put_moved(&mut tx, id, moved, hub.now()).await?;
            if other_recovery {
                for (purpose, version, _) in &moved.opened {
                    let copy = copies.iter().find(|copy| (copy.0, copy.1) == (*purpose, *version));
                    let copy = copy.map(|copy| copy.2.as_slice());
                    data::organization_keys::set_recovery(&mut tx, id, *purpose, *version, copy)
                        .await?;
                }
            }
        }
    }
    let event = caller.event(Action::OrganizationKeySet.act(), object("organization", id), None);
    data::events::record_for(&mut tx, id, &event).await?;
    tx.commit().await?;
    hub.organization_keys.forget(id);
    hub.engine.wake();
    // What is made under these keys must not be lost with the database alone.
    crate::app::descriptions::keep_after(hub).await;
    Ok(test)
}

/// What is written with a customer's key that is taken in use.
enum Made {
    /// Everything, the first time; each with its recovery copy.
    First(Vec<(NewKey, Option<Vec<u8>>)>),
    /// What was there, wrapped anew.
    Moved(Moved),
}

/// The organization's keys, wrapped by another of the customer's keys or asked for with other credentials.
pub(super) struct Moved {
    keys: Vec<KeptKey>,
    salts: Vec<KeptSalt>,
    opened: Vec<(KeyPurpose, u32, OrganizationKey)>,
}

async fn first_keys(
    id: OrganizationId,
    customer: &dyn CustomerKey,
    recovery: Option<&RecipientKey>,
) -> Result<Vec<(NewKey, Option<Vec<u8>>)>, HubError> {
    let mut made = Vec::new();
    for purpose in [KeyPurpose::Data, KeyPurpose::Index, KeyPurpose::Recipient, KeyPurpose::Canary]
    {
        let of = KeyContext { organization: id, purpose, version: 1 };
        let new = make_key(customer, &of).await.map_err(|e| refused_set_up(&e))?;
        let copy = match recovery {
            Some(to) if purpose != KeyPurpose::Canary => Some(recovery_copy(to, &of, &new.key)?),
            _ => None,
        };
        made.push((new, copy));
    }
    Ok(made)
}

/// Has the new key of the customer wrap what the old one opens: one call of each for each key, whatever lies under it. Where the
/// old one does not open any more, because only its credentials ended, the new one is asked to.
pub(super) async fn moved(
    hub: &Hub,
    id: OrganizationId,
    customer: &dyn CustomerKey,
) -> Result<Moved, HubError> {
    let holder = super::holder(hub, id).await?;
    let (set, old) = (holder.lease.set().clone(), holder.lease.customer());
    let mut moved = Moved { keys: Vec::new(), salts: Vec::new(), opened: Vec::new() };
    for kept in set.keys {
        let KeptKey { purpose, version, wrapped } = kept;
        let of = KeyContext { organization: id, purpose, version };
        let key = if purpose == KeyPurpose::Canary {
            OrganizationKey::generate()
                .map_err(|e| HubError::internal("the system gives no randomness for a key", e))?
        } else {
            match old.unwrap(&of, &wrapped).await {
                Ok(key) => key,
                Err(error) => customer.unwrap(&of, &wrapped).await.map_err(|_| {
                    holder.error(&Arc::new(error)).hint(
                        "what the old key wrapped is opened once more to move: give it back, or give credentials that may use both",
                    )
                })?,
            }
        };
        let wrapped = customer.wrap(&of, &key).await.map_err(|e| refused_set_up(&e))?;
        moved.keys.push(KeptKey { purpose, version, wrapped });
        if purpose != KeyPurpose::Canary {
            moved.opened.push((purpose, version, key));
        }
    }
    for salt in set.salts {
        // One that the new credentials read where it lies stays there; another provider's place says nothing to this one.
        if customer.provider() == old.provider() && customer.secret(&salt.place).await.is_ok() {
            moved.salts.push(salt);
            continue;
        }
        let text = old.secret(&salt.place).await.map_err(Arc::new);
        let text = text.map_err(|error| holder.error(&error))?;
        let name = super::salt_name(id, &salt.field, salt.version);
        let place = customer.keep_secret(&name, &text).await.map_err(|e| refused_set_up(&e))?;
        moved.salts.push(KeptSalt { place, ..salt });
    }
    Ok(moved)
}

/// Keeps what was moved, instead of what was there.
pub(super) async fn put_moved(
    at: &mut Connection,
    id: OrganizationId,
    moved: &Moved,
    now: Time,
) -> Result<(), HubError> {
    for kept in &moved.keys {
        data::organization_keys::rewrap_key(at, id, kept).await?;
    }
    for salt in &moved.salts {
        data::organization_keys::remove_salt(at, id, &salt.field, salt.version).await?;
        data::organization_keys::put_salt(at, id, salt, now).await?;
    }
    Ok(())
}

fn copies(
    id: OrganizationId,
    to: &RecipientKey,
    opened: &[(KeyPurpose, u32, OrganizationKey)],
) -> Result<Vec<(KeyPurpose, u32, Vec<u8>)>, HubError> {
    let copy = |(purpose, version, key): &(KeyPurpose, u32, OrganizationKey)| {
        let of = KeyContext { organization: id, purpose: *purpose, version: *version };
        Ok((*purpose, *version, recovery_copy(to, &of, key)?))
    };
    opened.iter().map(copy).collect()
}

/// Tests a customer's key, that in use or another one, and changes nothing.
pub(crate) async fn test(
    hub: &Hub,
    caller: &Caller,
    id: OrganizationId,
    body: TestOrganizationKey,
) -> Result<KeyTest, HubError> {
    let mut reader = hub.db.read().await?;
    let found =
        crate::app::organizations::may(&mut reader, caller, Action::OrganizationKeySet, id).await?;
    let kept = data::organization_keys::service(&mut reader, id).await?;
    drop(reader);
    let (service, credentials) = match body.service {
        Some(service) => (service, body.credentials),
        None => {
            let kept = kept.ok_or_else(|| super::none_set(id))?;
            let credentials = unsealed(hub, id, &kept).await?;
            (kept.service, credentials)
        }
    };
    if found.plan != Plan::Enterprise {
        return Err(crate::app::organizations::not_in_plan(&found, Action::OrganizationKeySet));
    }
    Ok(tested(hub, id, &service, &credentials, false).await?.test)
}

/// A key sealed to the customer's offline key, for its context.
pub(super) fn recovery_copy(
    to: &RecipientKey,
    of: &KeyContext,
    key: &OrganizationKey,
) -> Result<Vec<u8>, HubError> {
    wrap_to(to, &of.bytes(), &DatasetKey::from_bytes(*key.expose()))
        .map_err(|e| HubError::internal("the recovery copy was not sealed", e))
}
