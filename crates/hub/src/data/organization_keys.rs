//! Keys that organizations hold themselves, as they are kept: wrapped, and where they are asked for.

use api::{
    Custodian, Digest, KeyProvider, KeyPurpose, KeyService, KeyStanding, KeyTrouble,
    OrganizationId, OrganizationKeyVersion, ProjectId, Rotation, RotationKind, TaskId, Time,
};
use custody::kms::WrappedKey;
use custody::kms::azure::AzureOperations;
use custody::organization::{KeptKey, KeptSalt, NewKey};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::FromRow;

use super::{
    Connection, from_word, micros, parsed, parsed_or_none, signed, small, time, time_or_none,
    undescribed, unsigned, word,
};
use crate::HubError;

/// An organization's key service as it is kept.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    /// The key and where it is.
    pub(crate) service: KeyService,
    /// Which pair of acts wraps in Azure.
    pub(crate) operations: AzureOperations,
    /// A key under the operator's.
    pub(crate) sealed_key: Vec<u8>,
    /// The credentials sealed under it.
    pub(crate) credentials: Vec<u8>,
    /// How long a released key may stay in memory.
    pub(crate) lease_seconds: u32,
    /// Whether vaults that prove nothing of themselves get keys.
    pub(crate) unattested: bool,
    /// When the credentials expire.
    pub(crate) secret_expires: Option<Time>,
    /// The customer's offline key.
    pub(crate) recovery: Option<String>,
    /// What set-up saw that should be seen to.
    pub(crate) warnings: Vec<String>,
    /// How the key stands.
    pub(crate) standing: KeyStanding,
    /// Why not, where it was taken away.
    pub(crate) trouble: Option<KeyTrouble>,
    /// Since when.
    pub(crate) since: Time,
    /// When that was seen last.
    pub(crate) checked: Option<Time>,
}

fn json(value: &impl Serialize) -> Result<String, HubError> {
    serde_json::to_string(value).map_err(|e| HubError::internal("a row cannot be written", e))
}

fn of_json<T: DeserializeOwned>(text: &str) -> Result<T, HubError> {
    serde_json::from_str(text)
        .map_err(|e| HubError::internal("a row of the hub's database does not read", e))
}

/// The service of an organization that has left its own key, as it is kept.
pub(crate) const LEFT: &str = r#"{"provider":"platform"}"#;

/// Keeps an organization's key service, instead of the one before.
pub(crate) async fn set(
    at: &mut Connection,
    id: OrganizationId,
    new: &Service,
    now: Time,
) -> Result<(), HubError> {
    sqlx::query(
        "INSERT OR REPLACE INTO organization_services
             (organization, service, operations, sealed_key, credentials, lease_seconds, unattested, secret_expires,
              recovery, warnings, standing, trouble, since, checked, changed)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
    )
    .bind(id.to_string())
    .bind(json(&new.service)?)
    .bind(word(new.operations))
    .bind(&new.sealed_key)
    .bind(&new.credentials)
    .bind(new.lease_seconds)
    .bind(new.unattested)
    .bind(new.secret_expires.map(micros))
    .bind(&new.recovery)
    .bind(json(&new.warnings)?)
    .bind(word(new.standing))
    .bind(new.trouble.map(word))
    .bind(micros(new.since))
    .bind(new.checked.map(micros))
    .bind(micros(now))
    .execute(&mut *at)
    .await?;
    undescribed::add(at, &id.to_string(), "organization").await
}

/// Says how a key stands.
pub(crate) async fn set_standing(
    at: &mut Connection,
    id: OrganizationId,
    standing: KeyStanding,
    trouble: Option<KeyTrouble>,
    since: Time,
    checked: Option<Time>,
) -> Result<(), HubError> {
    sqlx::query(
        "UPDATE organization_services SET standing = $2, trouble = $3, since = $4, checked = $5 WHERE organization = $1",
    )
    .bind(id.to_string())
    .bind(word(standing))
    .bind(trouble.map(word))
    .bind(micros(since))
    .bind(checked.map(micros))
    .execute(at)
    .await?;
    Ok(())
}

#[derive(FromRow)]
struct ServiceRow {
    service: String,
    operations: String,
    sealed_key: Vec<u8>,
    credentials: Vec<u8>,
    lease_seconds: i64,
    unattested: bool,
    secret_expires: Option<i64>,
    recovery: Option<String>,
    warnings: String,
    standing: String,
    trouble: Option<String>,
    since: i64,
    checked: Option<i64>,
}

/// The key service of an organization, if it has one.
pub(crate) async fn service(
    at: &mut Connection,
    id: OrganizationId,
) -> Result<Option<Service>, HubError> {
    let row: Option<ServiceRow> =
        sqlx::query_as("SELECT * FROM organization_services WHERE organization = $1")
            .bind(id.to_string())
            .fetch_optional(at)
            .await?;
    row.map(|row| {
        Ok(Service {
            service: of_json(&row.service)?,
            operations: from_word(row.operations)?,
            sealed_key: row.sealed_key,
            credentials: row.credentials,
            lease_seconds: small(row.lease_seconds)?,
            unattested: row.unattested,
            secret_expires: time_or_none(row.secret_expires)?,
            recovery: row.recovery,
            warnings: of_json(&row.warnings)?,
            standing: from_word(row.standing)?,
            trouble: row.trouble.map(from_word).transpose()?,
            since: time(row.since)?,
            checked: time_or_none(row.checked)?,
        })
    })
    .transpose()
}

/// Every organization that holds a key itself.
pub(crate) async fn organizations(at: &mut Connection) -> Result<Vec<OrganizationId>, HubError> {
    let ids: Vec<String> =
        sqlx::query_scalar("SELECT organization FROM organization_services ORDER BY organization")
            .fetch_all(at)
            .await?;
    ids.iter().map(|id| parsed(id)).collect()
}

/// Whether the organization of a project gives keys to vaults that prove nothing of themselves.
pub(crate) async fn takes_unattested(
    at: &mut Connection,
    project: ProjectId,
) -> Result<bool, HubError> {
    Ok(sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM organization_projects p
                        JOIN organization_services s ON s.organization = p.organization
                        WHERE p.project = $1 AND s.unattested = 1)",
    )
    .bind(project.to_string())
    .fetch_one(at)
    .await?)
}

/// Whose project this is.
pub(crate) async fn of_project(
    at: &mut Connection,
    project: ProjectId,
) -> Result<Option<OrganizationId>, HubError> {
    let id: Option<String> =
        sqlx::query_scalar("SELECT organization FROM organization_projects WHERE project = $1")
            .bind(project.to_string())
            .fetch_optional(at)
            .await?;
    parsed_or_none(id)
}

/// Keeps a new key, or the same one wrapped anew.
pub(crate) async fn put_key(
    at: &mut Connection,
    id: OrganizationId,
    new: &NewKey,
    recovery: Option<&[u8]>,
    now: Time,
) -> Result<(), HubError> {
    sqlx::query(
        "INSERT INTO organization_keys (organization, purpose, version, wrapped, recipient, made, recovery)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(id.to_string())
    .bind(word(new.kept.purpose))
    .bind(new.kept.version)
    .bind(json(&new.kept.wrapped)?)
    .bind(new.recipient.as_ref().map(seal::recipient::RecipientKey::to_bytes))
    .bind(micros(now))
    .bind(recovery)
    .execute(&mut *at)
    .await?;
    undescribed::add(at, &id.to_string(), "organization").await
}

/// Keeps a key that was wrapped anew.
pub(crate) async fn rewrap_key(
    at: &mut Connection,
    id: OrganizationId,
    kept: &KeptKey,
) -> Result<(), HubError> {
    sqlx::query(
        "UPDATE organization_keys SET wrapped = $4 WHERE organization = $1 AND purpose = $2 AND version = $3",
    )
    .bind(id.to_string())
    .bind(word(kept.purpose))
    .bind(kept.version)
    .bind(json(&kept.wrapped)?)
    .execute(&mut *at)
    .await?;
    undescribed::add(at, &id.to_string(), "organization").await
}

/// Keeps what recovers a key: it sealed to the customer's offline key. Whether the customer has that copy is not known yet.
pub(crate) async fn set_recovery(
    at: &mut Connection,
    id: OrganizationId,
    purpose: KeyPurpose,
    version: u32,
    recovery: Option<&[u8]>,
) -> Result<(), HubError> {
    sqlx::query(
        "UPDATE organization_keys SET recovery = $4, stored = NULL
         WHERE organization = $1 AND purpose = $2 AND version = $3",
    )
    .bind(id.to_string())
    .bind(word(purpose))
    .bind(version)
    .bind(recovery)
    .execute(&mut *at)
    .await?;
    undescribed::add(at, &id.to_string(), "organization").await
}

/// The customer has the recovery copy of every key.
pub(crate) async fn recovery_stored(
    at: &mut Connection,
    id: OrganizationId,
    now: Time,
) -> Result<(), HubError> {
    sqlx::query(
        "UPDATE organization_keys SET stored = $2 WHERE organization = $1 AND recovery IS NOT NULL AND stored IS NULL",
    )
    .bind(id.to_string())
    .bind(micros(now))
    .execute(&mut *at)
    .await?;
    undescribed::add(at, &id.to_string(), "organization").await
}

/// Takes a key away, under which nothing is any more.
pub(crate) async fn remove_key(
    at: &mut Connection,
    id: OrganizationId,
    purpose: KeyPurpose,
    version: u32,
) -> Result<(), HubError> {
    sqlx::query(
        "DELETE FROM organization_keys WHERE organization = $1 AND purpose = $2 AND version = $3",
    )
    .bind(id.to_string())
    .bind(word(purpose))
    .bind(version)
    .execute(&mut *at)
    .await?;
    undescribed::add(at, &id.to_string(), "organization").await
}

/// A key as it is kept.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// The key.
    pub(crate) kept: KeptKey,
    /// To what outsiders wrap, of a recipient key.
    pub(crate) recipient: Option<Vec<u8>>,
    /// When it was made.
    pub(crate) made: Time,
    /// It sealed to the customer's offline key.
    pub(crate) recovery: Option<Vec<u8>>,
    /// When the customer had that copy.
    pub(crate) stored: Option<Time>,
}

impl Row {
    /// As administrators see it.
    pub(crate) fn shown(&self, recovers: bool) -> OrganizationKeyVersion {
        let WrappedKey { provider, key, .. } = &self.kept.wrapped;
        let provider: KeyProvider = *provider;
        OrganizationKeyVersion {
            purpose: self.kept.purpose,
            version: self.kept.version,
            provider,
            key: key.clone(),
            made: self.made,
            recoverable: (recovers && self.kept.purpose != KeyPurpose::Canary)
                .then_some(self.stored.is_some()),
        }
    }
}

#[derive(FromRow)]
struct KeyRow {
    purpose: String,
    version: i64,
    wrapped: String,
    recipient: Option<Vec<u8>>,
    made: i64,
    recovery: Option<Vec<u8>>,
    stored: Option<i64>,
}

/// Its keys, by purpose and version.
pub(crate) async fn keys(at: &mut Connection, id: OrganizationId) -> Result<Vec<Row>, HubError> {
    let rows: Vec<KeyRow> = sqlx::query_as(
        "SELECT * FROM organization_keys WHERE organization = $1 ORDER BY purpose, version",
    )
    .bind(id.to_string())
    .fetch_all(at)
    .await?;
    let row = |row: KeyRow| {
        let (purpose, version) = (from_word(row.purpose)?, small(row.version)?);
        Ok(Row {
            kept: KeptKey { purpose, version, wrapped: of_json(&row.wrapped)? },
            recipient: row.recipient,
            made: time(row.made)?,
            recovery: row.recovery,
            stored: time_or_none(row.stored)?,
        })
    };
    rows.into_iter().map(row).collect()
}

/// Keeps where a salt lies.
pub(crate) async fn put_salt(
    at: &mut Connection,
    id: OrganizationId,
    salt: &KeptSalt,
    now: Time,
) -> Result<(), HubError> {
    sqlx::query(
        "INSERT INTO organization_salts (organization, field, version, index_key, place, made)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(id.to_string())
    .bind(&salt.field)
    .bind(salt.version)
    .bind(salt.index_key)
    .bind(&salt.place)
    .bind(micros(now))
    .execute(&mut *at)
    .await?;
    undescribed::add(at, &id.to_string(), "organization").await
}

/// Forgets where a salt lay.
pub(crate) async fn remove_salt(
    at: &mut Connection,
    id: OrganizationId,
    field: &str,
    version: u32,
) -> Result<(), HubError> {
    sqlx::query(
        "DELETE FROM organization_salts WHERE organization = $1 AND field = $2 AND version = $3",
    )
    .bind(id.to_string())
    .bind(field)
    .bind(version)
    .execute(&mut *at)
    .await?;
    undescribed::add(at, &id.to_string(), "organization").await
}

/// Where its salts lie.
pub(crate) async fn salts(
    at: &mut Connection,
    id: OrganizationId,
) -> Result<Vec<KeptSalt>, HubError> {
    let rows: Vec<(String, i64, i64, String)> = sqlx::query_as(
        "SELECT field, version, index_key, place FROM organization_salts
         WHERE organization = $1 ORDER BY field, version",
    )
    .bind(id.to_string())
    .fetch_all(at)
    .await?;
    rows.into_iter()
        .map(|(field, version, index_key, place)| {
            Ok(KeptSalt { field, version: small(version)?, index_key: small(index_key)?, place })
        })
        .collect()
}

/// A rotation of a data key, or the leaving of a customer's key, that has not ended.
#[derive(Debug, Clone)]
pub(crate) struct OpenRotation {
    /// Whose.
    pub(crate) organization: OrganizationId,
    number: i64,
    /// What it is about.
    pub(crate) kind: RotationKind,
    /// The version that takes over.
    pub(crate) to: u32,
    /// Keys wrapped anew so far.
    pub(crate) done: u64,
    /// Keys in all.
    pub(crate) total: u64,
    /// After which id it goes on.
    pub(crate) position: String,
    /// When it began.
    pub(crate) began: Time,
}

/// Keeps a rotation that begins, or that is over already.
pub(crate) async fn begin_rotation(
    at: &mut Connection,
    id: OrganizationId,
    new: &Rotation,
) -> Result<(), HubError> {
    sqlx::query(
        "INSERT INTO organization_rotations (organization, number, kind, target, done, total, began, ended)
         VALUES ($1, (SELECT coalesce(max(number), 0) + 1 FROM organization_rotations WHERE organization = $1),
                 $2, $3, $4, $5, $6, $7)",
    )
    .bind(id.to_string())
    .bind(word(new.kind))
    .bind(new.to)
    .bind(signed(new.done)?)
    .bind(signed(new.total)?)
    .bind(micros(new.began))
    .bind(new.ended.map(micros))
    .execute(at)
    .await?;
    Ok(())
}

#[derive(FromRow)]
struct RotationRow {
    organization: String,
    number: i64,
    kind: String,
    target: i64,
    done: i64,
    total: i64,
    position: String,
    began: i64,
    ended: Option<i64>,
}

/// Rotations of an organization, the newest last.
pub(crate) async fn rotations(
    at: &mut Connection,
    id: OrganizationId,
) -> Result<Vec<Rotation>, HubError> {
    let rows: Vec<RotationRow> = sqlx::query_as(
        "SELECT * FROM organization_rotations WHERE organization = $1 ORDER BY number",
    )
    .bind(id.to_string())
    .fetch_all(at)
    .await?;
    let rotation = |row: RotationRow| {
        Ok(Rotation {
            kind: from_word(row.kind)?,
            to: small(row.target)?,
            done: unsigned(row.done)?,
            total: unsigned(row.total)?,
            began: time(row.began)?,
            ended: time_or_none(row.ended)?,
        })
    };
    rows.into_iter().map(rotation).collect()
}

/// Rotations of data keys, and leavings, that have not ended.
pub(crate) async fn open_rotations(at: &mut Connection) -> Result<Vec<OpenRotation>, HubError> {
    let rows: Vec<RotationRow> = sqlx::query_as(
        "SELECT * FROM organization_rotations WHERE ended IS NULL ORDER BY organization, number",
    )
    .fetch_all(at)
    .await?;
    let open = |row: RotationRow| {
        Ok(OpenRotation {
            organization: parsed(&row.organization)?,
            number: row.number,
            kind: from_word(row.kind)?,
            to: small(row.target)?,
            done: unsigned(row.done)?,
            total: unsigned(row.total)?,
            position: row.position,
            began: time(row.began)?,
        })
    };
    rows.into_iter().map(open).collect()
}

/// Remembers where a rotation stands.
pub(crate) async fn step(at: &mut Connection, now: &OpenRotation) -> Result<(), HubError> {
    sqlx::query(
        "UPDATE organization_rotations SET done = $3, total = $4, position = $5
         WHERE organization = $1 AND number = $2",
    )
    .bind(now.organization.to_string())
    .bind(now.number)
    .bind(signed(now.done)?)
    .bind(signed(now.total)?)
    .bind(&now.position)
    .execute(at)
    .await?;
    Ok(())
}

/// Ends a rotation.
pub(crate) async fn end_rotation(
    at: &mut Connection,
    of: &OpenRotation,
    now: Time,
) -> Result<(), HubError> {
    sqlx::query(
        "UPDATE organization_rotations SET ended = $3 WHERE organization = $1 AND number = $2",
    )
    .bind(of.organization.to_string())
    .bind(of.number)
    .bind(micros(now))
    .execute(at)
    .await?;
    Ok(())
}

/// The projects that an organization holds the keys of, but for those that are being deleted.
pub(crate) async fn held(
    at: &mut Connection,
    id: OrganizationId,
) -> Result<Vec<ProjectId>, HubError> {
    let ids: Vec<String> = sqlx::query_scalar(
        "SELECT p.id FROM projects p JOIN organization_projects o ON o.project = p.id
         WHERE o.organization = $1 AND p.custodian = 'organization' AND p.deleting IS NULL ORDER BY p.id",
    )
    .bind(id.to_string())
    .fetch_all(at)
    .await?;
    ids.iter().map(|id| parsed(id)).collect()
}

/// Whether an organization has left its own key since a task that reads or writes in its projects was claimed.
pub(crate) async fn left_meanwhile(at: &mut Connection, task: TaskId) -> Result<bool, HubError> {
    Ok(sqlx::query_scalar(
        "SELECT EXISTS (
             SELECT 1 FROM tasks t
             JOIN organization_rotations r ON r.kind = 'leave' AND r.began >= t.started
             JOIN organization_projects o ON o.organization = r.organization
             WHERE t.id = $1 AND (o.project = t.project OR o.project IN
                 (SELECT d.project FROM task_inputs i JOIN datasets d ON d.id = i.dataset WHERE i.task = t.id)))",
    )
    .bind(task.to_string())
    .fetch_one(at)
    .await?)
}

/// How many projects and datasets have their keys under the organization's data key.
pub(crate) async fn dataset_keys(at: &mut Connection, id: OrganizationId) -> Result<u64, HubError> {
    let all: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM projects p JOIN organization_projects o ON o.project = p.id
                 WHERE o.organization = $1 AND p.custodian = 'organization')
              + (SELECT count(*) FROM datasets d JOIN projects p ON p.id = d.project
                 JOIN organization_projects o ON o.project = p.id
                 WHERE o.organization = $1 AND p.custodian = 'organization')",
    )
    .bind(id.to_string())
    .fetch_one(at)
    .await?;
    unsigned(all)
}

/// What has its key under an organization's data key: a project or a dataset.
#[derive(Debug, Clone)]
pub(crate) struct Under {
    /// Its id, as text.
    pub(crate) id: String,
    /// Its id.
    pub(crate) dataset: [u8; 16],
    /// Its project's; a project's own key is its own dataset's.
    pub(crate) project: [u8; 16],
    /// Its key epochs with the card of each; a project's own key is under none.
    pub(crate) epochs: Vec<(u32, Option<Digest>)>,
}

#[derive(FromRow)]
struct UnderRow {
    id: String,
    project: String,
    epoch: i64,
    card: Option<String>,
    next_epoch: Option<i64>,
    next_card: Option<String>,
}

/// So many of them in the organization's projects under this custodian, in the order of their ids, after `after`.
pub(crate) async fn under(
    at: &mut Connection,
    id: OrganizationId,
    custodian: Custodian,
    after: &str,
    limit: i64,
) -> Result<Vec<Under>, HubError> {
    let rows: Vec<UnderRow> = sqlx::query_as(
        "SELECT * FROM (
             SELECT p.id, p.id AS project, 0 AS epoch, NULL AS card, NULL AS next_epoch, NULL AS next_card
             FROM projects p JOIN organization_projects o ON o.project = p.id
             WHERE o.organization = $1 AND p.custodian = $4 AND p.id > $2
             UNION ALL
             SELECT d.id, d.project, d.epoch, d.card_digest, r.epoch, r.card_digest
             FROM datasets d JOIN projects p ON p.id = d.project
             JOIN organization_projects o ON o.project = p.id
             LEFT JOIN reseals r ON r.dataset = d.id
             WHERE o.organization = $1 AND p.custodian = $4 AND d.id > $2
         ) ORDER BY id LIMIT $3",
    )
    .bind(id.to_string())
    .bind(after)
    .bind(limit)
    .bind(word(custodian))
    .fetch_all(at)
    .await?;
    rows.into_iter()
        .map(|row| {
            let project: ProjectId = parsed(&row.project)?;
            // The two kinds of ids have one spelling.
            let dataset: api::DatasetId = parsed(&row.id)?;
            let mut epochs = vec![(small(row.epoch)?, parsed_or_none(row.card)?)];
            if let Some(next) = row.next_epoch {
                epochs.push((small(next)?, parsed_or_none(row.next_card)?));
            }
            Ok(Under {
                id: row.id,
                dataset: dataset.to_bytes(),
                project: project.to_bytes(),
                epochs,
            })
        })
        .collect()
}
