//! Keys that organizations hold themselves: opened for a lease, and told apart when they do not open.
//!
//! [`open`] is how everything here comes by an organization's keys, and [`custodian`] is the custody that is built on them. A key
//! that the customer took away is a refusal of its own (423, with the provider, the key, since when, and what to do); a service that
//! does not answer is another (503, and when to try again), after the lease has served to its end. Every call of a key service is
//! announced in the audit log before it is made and has its outcome there after (`recorded`).
//!
//! A key service is never asked within a transaction that writes: the log that announces the call is written by the same one
//! connection. Whoever needs keys inside a transaction opens them before, and takes what is [`held`] inside.

mod leaving;
mod recorded;
mod rotation;
mod set_up;
mod standing;
mod status;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api::{
    ErrorCode, KeyAway, KeyCredentials, KeyProvider, KeyPurpose, KeyService, KeyStanding,
    KeyTrouble, OrganizationId, ProjectId, Time,
};
use custody::kms::{CustomerKey, KmsError, Services};
use custody::organization::{
    KeptKey, KeptSalt, KeySet, Keys, Lease, OrganizationCustodian, new_salt,
};
use custody::{Custodian, CustodyError};
use seal::recipient::RecipientKey;

use crate::HubError;
use crate::data::organization_keys::Service;
use crate::data::{self, Connection};
use crate::error::Wait;
use crate::state::Hub;
pub(crate) use leaving::leave;
pub(crate) use recorded::{ACTS, Recorded};
#[cfg(test)]
pub(crate) use rotation::go_on;
pub(crate) use rotation::{PORTION, one, rotate};
use set_up::unsealed;
pub(crate) use set_up::{set, test};
#[cfg(test)]
pub(crate) use standing::keep_up;
use standing::stands;
pub(crate) use standing::{serves, start};
pub(crate) use status::{policy, recovery, recovery_stored, status, use_once};

/// How long a lease is where nobody says otherwise.
pub(crate) const LEASE_SECONDS: u32 = 300;
/// After how long a caller tries again whose service does not answer.
const RETRY_SECONDS: u32 = 5;

/// The organizations whose keys this hub has asked for since it started.
#[derive(Debug, Default)]
pub(crate) struct Holders {
    /// What the operator allows of key services.
    pub(crate) services: Services,
    holders: Mutex<HashMap<OrganizationId, Arc<Holder>>>,
    /// Counted up when what is kept changes, so that nobody puts a holder there that read what was before.
    changes: AtomicU64,
}

/// One organization's keys, held or not, and how its key stands.
#[derive(Debug)]
pub(crate) struct Holder {
    lease: Lease,
    provider: KeyProvider,
    key: String,
    recipient: RecipientKey,
    standing: Mutex<Standing>,
    /// Whoever has this probes the key.
    probing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone, Copy)]
struct Standing {
    standing: KeyStanding,
    trouble: Option<KeyTrouble>,
    since: Time,
    checked: Option<Time>,
}

impl Holders {
    /// With what the operator allows.
    pub(crate) fn new(services: Services) -> Self {
        Self { services, ..Self::default() }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<OrganizationId, Arc<Holder>>> {
        // Every change under this lock is one insertion or removal, so a panic leaves it whole.
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wipes what is held of an organization and reads anew what is kept, because it changed.
    pub(crate) fn forget(&self, id: OrganizationId) {
        let mut all = self.all();
        self.changes.fetch_add(1, Ordering::SeqCst);
        if let Some(holder) = all.remove(&id) {
            holder.lease.close();
        }
    }

    /// Wipes what leases have ended.
    pub(crate) fn sweep(&self, now: Time) {
        for holder in self.all().values() {
            holder.lease.sweep(now);
        }
    }
}

impl Holder {
    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, error: &Arc<KmsError>) -> HubError {
        let id = self.lease.set().organization;
        let since = self.standing().since;
        if let Some(trouble) = error.trouble() {
            let away = KeyAway { provider: self.provider, key: self.key.clone(), trouble, since };
            return HubError::new(
                ErrorCode::KeyAway,
                format!(
                    "organization {id} has taken its key away: {} says that {error}, since {since}",
                    self.provider.words()
                ),
            )
            .hint(trouble.advice())
            .key(away)
            .caused_by(Arc::clone(error));
        }
        match &**error {
            KmsError::DoesNotOpen { .. } | KmsError::OtherProvider { .. } => HubError::internal(
                format!("a key of organization {id} does not open under the customer's key"),
                Arc::clone(error),
            ),
            error_text => {
                let seconds = match error_text {
                    KmsError::Throttled { after: Some(after) } => {
                        u32::try_from(after.as_secs()).unwrap_or(RETRY_SECONDS).max(1)
                    }
                    _ => RETRY_SECONDS,
                };
                HubError::new(
                    ErrorCode::Unavailable,
                    format!(
                        "{} does not open the keys of organization {id} now, and their lease has ended",
                        self.provider.words()
                    ),
                )
                .hint("its key was not taken away: the same call again works when the service answers")
                .wait(Wait { seconds, policy: None })
                .caused_by(Arc::clone(error))
            }
        }
    }
}

/// Refuses what only an organization with a key of its own can have.
pub(crate) async fn holds_its_own(at: &mut Connection, id: OrganizationId) -> Result<(), HubError> {
    match data::organization_keys::service(at, id).await? {
        Some(service) if service.service == KeyService::Platform => {
            Err(HubError::conflict(format!("organization {id} has left its own key"))
                .hint("its projects are in custody of the platform; `chorion org kms set` takes a key in use again"))
        }
        Some(_) => Ok(()),
        None => Err(none_set(id)),
    }
}

/// The sentence for an organization without a key of its own.
fn none_set(id: OrganizationId) -> HubError {
    HubError::conflict(format!("organization {id} has no key of its own yet"))
        .hint("an administrator of the organization sets it up: `chorion org kms set`")
}

/// The holder of an organization's keys; read from the database where this hub has not asked for them yet.
pub(crate) async fn holder(hub: &Hub, id: OrganizationId) -> Result<Arc<Holder>, HubError> {
    if let Some(holder) = hub.organization_keys.all().get(&id) {
        return Ok(Arc::clone(holder));
    }
    let changes = hub.organization_keys.changes.load(Ordering::SeqCst);
    let mut reader = hub.db.read().await?;
    let service = data::organization_keys::service(&mut reader, id).await?;
    let service = service.ok_or_else(|| none_set(id))?;
    let keys = data::organization_keys::keys(&mut reader, id).await?;
    let salts = data::organization_keys::salts(&mut reader, id).await?;
    drop(reader);
    let credentials = unsealed(hub, id, &service).await?;
    let customer: Arc<dyn CustomerKey> = match service.service {
        // The platform's own key is asked for nothing outside, so there is nothing to lay beside the log.
        KeyService::Platform => leaving::platform_key(hub)?,
        _ => {
            let customer = connect(hub, id, &service, &credentials)?;
            Arc::new(Recorded::new(hub, id, customer, "lease"))
        }
    };
    let recipient = keys.iter().filter_map(|row| row.recipient.as_deref()).next_back();
    let recipient = recipient.map(RecipientKey::from_bytes).transpose();
    let recipient = recipient
        .map_err(|e| HubError::internal("a recipient key does not read", e))?
        .ok_or_else(|| HubError::internal("an organization has no recipient key", "no row"))?;
    let keys = keys.into_iter().map(|row| row.kept).collect();
    let lease =
        Lease::new(KeySet { organization: id, keys, salts }, customer, service.lease_seconds)
            .map_err(|e| HubError::internal("a lease that is kept is too long", e))?;
    let standing = Standing {
        standing: service.standing,
        trouble: service.trouble,
        since: service.since,
        checked: service.checked,
    };
    let holder = Holder {
        lease,
        provider: service.service.provider(),
        key: service.service.key().to_owned(),
        recipient,
        standing: Mutex::new(standing),
        probing: tokio::sync::Mutex::default(),
    };
    let mut all = hub.organization_keys.all();
    if hub.organization_keys.changes.load(Ordering::SeqCst) != changes {
        return Err(lease_ended(Some(id)));
    }
    Ok(Arc::clone(all.entry(id).or_insert_with(|| Arc::new(holder))))
}

/// The customer's key as it was set up; nothing is asked yet.
fn connect(
    hub: &Hub,
    id: OrganizationId,
    service: &Service,
    credentials: &KeyCredentials,
) -> Result<Arc<dyn CustomerKey>, HubError> {
    let (services, clock) = (&hub.organization_keys.services, Arc::clone(&hub.clock));
    services
        .connect(id, &service.service, credentials, service.operations, false, clock)
        .map_err(|e| refused_set_up(&e))
}

/// What an administrator reads when a key cannot be used as it was named, or does not do what it should.
fn refused_set_up(error: &KmsError) -> HubError {
    let sentence = HubError::bad_request(format!("the key cannot be used: {error}"));
    match error.trouble() {
        Some(trouble) => sentence.hint(trouble.advice()),
        None => sentence,
    }
}

/// An organization's keys, open: those that are held, or new ones from the customer's key service. Not within a transaction.
///
/// # Errors
/// `key_away` (423) if the customer has taken the key away, `unavailable` (503) if its service does not answer, `conflict` if the
/// organization has no key of its own.
pub(crate) async fn open(hub: &Hub, id: OrganizationId) -> Result<Arc<Keys>, HubError> {
    // What was changed meanwhile is read anew.
    for _ in 0..2 {
        match open_once(hub, id).await {
            Err(error) if error.code() == ErrorCode::Unavailable => {}
            other => return other,
        }
    }
    open_once(hub, id).await
}

async fn open_once(hub: &Hub, id: OrganizationId) -> Result<Arc<Keys>, HubError> {
    let holder = holder(hub, id).await?;
    let was_held = holder.lease.held(hub.now());
    if let Some(keys) = was_held {
        return Ok(keys);
    }
    let opened = holder.lease.open(|| hub.now()).await;
    stands(hub, &holder, opened.as_ref().map(|_| ()).map_err(Arc::clone)).await?;
    opened.map_err(|error| holder.error(&error))
}

/// The keys that are held now, for use inside a transaction: open them before it begins.
///
/// # Errors
/// `unavailable` (503) if none are held, because their lease ended in between.
pub(crate) fn held(hub: &Hub, id: OrganizationId) -> Result<Arc<Keys>, HubError> {
    let holder = hub.organization_keys.all().get(&id).cloned();
    holder.and_then(|holder| holder.lease.held(hub.now())).ok_or_else(|| lease_ended(Some(id)))
}

/// A lease that ended while a call was at work.
pub(crate) fn lease_ended(id: Option<OrganizationId>) -> HubError {
    let whose = id.map_or_else(String::new, |id| format!(" of organization {id}"));
    HubError::new(ErrorCode::Unavailable, format!("the lease on the keys{whose} has just ended"))
        .hint("send the same call again")
        .wait(Wait { seconds: 1, policy: None })
}

/// The organization's custody, with its keys open.
///
/// # Errors
/// As for [`open`].
pub(crate) async fn custodian(
    hub: &Hub,
    id: OrganizationId,
) -> Result<Arc<dyn Custodian>, HubError> {
    let keys = open(hub, id).await?;
    let recipient = holder(hub, id).await?.recipient.clone();
    Ok(Arc::new(OrganizationCustodian::new(keys, recipient)))
}

/// As [`custodian`], with keys that somebody opened already.
fn custodian_of(
    hub: &Hub,
    id: OrganizationId,
    keys: Arc<Keys>,
) -> Result<Arc<dyn Custodian>, HubError> {
    let holder = hub.organization_keys.all().get(&id).cloned();
    let recipient = holder.ok_or_else(|| lease_ended(Some(id)))?.recipient.clone();
    Ok(Arc::new(OrganizationCustodian::new(keys, recipient)))
}

impl Hub {
    /// The custodian who opens what is kept of a project's keys. An organization's keys are opened; so not within a transaction.
    pub(crate) async fn custodian_of(
        &self,
        kind: api::Custodian,
        project: ProjectId,
        kept: &[u8],
    ) -> Result<Arc<dyn Custodian>, HubError> {
        // While an organization leaves its own key, what is kept says which of the two wrapped it.
        let kind = match (kind, custody::kept_by(kept)) {
            (
                api::Custodian::Platform | api::Custodian::Organization,
                Some(by @ (api::Custodian::Platform | api::Custodian::Organization)),
            ) => by,
            (kind, _) => kind,
        };
        if kind != api::Custodian::Organization {
            return self.custodian(kind).cloned();
        }
        let id = whose(&mut *self.db.read().await?, project).await?;
        custodian(self, id).await
    }

    /// The custodian of a project inside a transaction: an organization's keys must be open already.
    pub(crate) async fn custodian_within(
        &self,
        at: &mut Connection,
        kind: api::Custodian,
        project: ProjectId,
    ) -> Result<Arc<dyn Custodian>, HubError> {
        if kind != api::Custodian::Organization {
            return self.custodian(kind).cloned();
        }
        let id = whose(at, project).await?;
        custodian_of(self, id, held(self, id)?)
    }

    /// Opens the keys of a project's organization, if an organization holds them, so that they are there inside a transaction.
    pub(crate) async fn open_keys_of(&self, project: ProjectId) -> Result<(), HubError> {
        let mut reader = self.db.read().await?;
        let kind = data::projects::custodian(&mut reader, project).await?;
        if kind != Some(api::Custodian::Organization) {
            return Ok(());
        }
        let id = whose(&mut reader, project).await?;
        drop(reader);
        open(self, id).await.map(drop)
    }
}

async fn whose(at: &mut Connection, project: ProjectId) -> Result<OrganizationId, HubError> {
    data::organization_keys::of_project(at, project)
        .await?
        .ok_or_else(|| HubError::internal("a project is no organization's", project.to_string()))
}

/// Makes the salt of a new version of a field's index in the customer's store of secrets, bound to the newest index key. What
/// is held is opened anew, so that the next [`open`] has it.
pub(crate) async fn make_salt(
    hub: &Hub,
    id: OrganizationId,
    field: &str,
    version: u32,
) -> Result<(), HubError> {
    let holder = holder(hub, id).await?;
    let index_key = newest(holder.lease.set().keys.iter(), KeyPurpose::Index)
        .ok_or_else(|| HubError::internal("an organization has no index key", "no row"))?;
    let no_salt = |e| HubError::internal("the system gives no randomness for a salt", e);
    let salt = new_salt().map_err(no_salt)?;
    let name = salt_name(id, field, version);
    let kept = holder.lease.customer().keep_secret(&name, &salt).await.map_err(Arc::new);
    let place = kept.map_err(|error| holder.error(&error))?;
    let mut tx = hub.db.write().await?;
    let salt = KeptSalt { field: field.to_owned(), version, index_key, place };
    data::organization_keys::put_salt(&mut tx, id, &salt, hub.now()).await?;
    tx.commit().await?;
    hub.organization_keys.forget(id);
    Ok(())
}

/// A name for a salt that was never used before.
fn salt_name(id: OrganizationId, field: &str, version: u32) -> String {
    let field: String = field.chars().filter(char::is_ascii_alphanumeric).take(32).collect();
    format!("{id}-{field}-{version}-{}", uuid::Uuid::new_v4().simple())
}

/// Destroys the salt of a version of a field's index, in the customer's store and here: what it made findable is not any more.
pub(crate) async fn drop_salt(
    hub: &Hub,
    id: OrganizationId,
    field: &str,
    version: u32,
) -> Result<(), HubError> {
    let holder = holder(hub, id).await?;
    let is = |salt: &&KeptSalt| salt.field == field && salt.version == version;
    let Some(salt) = holder.lease.set().salts.iter().find(is) else { return Ok(()) };
    let dropped = holder.lease.customer().drop_secret(&salt.place).await.map_err(Arc::new);
    dropped.map_err(|error| holder.error(&error))?;
    let mut tx = hub.db.write().await?;
    data::organization_keys::remove_salt(&mut tx, id, field, version).await?;
    tx.commit().await?;
    hub.organization_keys.forget(id);
    Ok(())
}

/// The newest version for a purpose.
fn newest<'a>(keys: impl Iterator<Item = &'a KeptKey>, purpose: KeyPurpose) -> Option<u32> {
    keys.filter(|key| key.purpose == purpose).map(|key| key.version).max()
}

/// What a custodian's refusal means where an organization's keys may be the reason.
pub(crate) fn custody_error(cause: CustodyError) -> HubError {
    match cause {
        CustodyError::LeaseEnded => lease_ended(None),
        CustodyError::NoSalt { field, version, cause } => {
            let error = HubError::new(
                ErrorCode::Unavailable,
                format!(
                    "field {field} cannot be searched: the salt of version {version} of its index did not come from the customer's store of secrets"
                ),
            )
            .hint("give the hub's identity the secret again, or rotate the field's index")
            .wait(Wait { seconds: RETRY_SECONDS, policy: None });
            match cause {
                Some(cause) => error.caused_by(cause),
                None => error,
            }
        }
        other => HubError::internal("the custodian did not do what it was asked", other),
    }
}
