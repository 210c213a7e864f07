//! Public keys that sign calls: those of accounts, and those of vaults for the length of one task.

use api::{AccountId, Bytes, Key, KeyApp, KeyId, KeyLimit, ProjectId, TaskId, Time};
use proof::PublicKey;
use sqlx::FromRow;

use super::{Connection, Db, from_word, micros, parsed, parsed_or_none, time, time_or_none, word};
use crate::HubError;

/// A key that may sign calls now, and for whom.
#[derive(Debug, Clone)]
pub(crate) enum Signer {
    /// A key of an account.
    Account {
        /// The key.
        key: Box<Key>,
        /// Its point, which verifies.
        point: PublicKey,
        /// The account's name and standing.
        account: api::Account,
    },
    /// The key of an enrolled instrument.
    Instrument {
        /// The key.
        key: Box<Key>,
        /// Its point, which verifies.
        point: PublicKey,
        /// The account that stands for it.
        account: api::Account,
        /// Who is signed on there.
        technician: Option<AccountId>,
    },
    /// The receipt key of a vault.
    Vault {
        /// The key's point, which verifies.
        point: PublicKey,
        /// The task it was accepted for.
        task: TaskId,
        /// On whose behalf the task runs.
        owner: AccountId,
    },
}

impl Signer {
    /// Whether a key that is limited in time is still in it.
    fn is_in_time(&self, now: Time) -> bool {
        match self {
            Self::Account { key, .. } | Self::Instrument { key, .. } => {
                let expires = key.limit.as_ref().and_then(|limit| limit.expires);
                expires.is_none_or(|expires| expires > now)
            }
            Self::Vault { .. } => true,
        }
    }
}

/// As [`signer`], and remembered as long as nobody writes.
pub(crate) async fn signer_seen(db: &Db, id: KeyId, now: Time) -> Result<Option<Signer>, HubError> {
    let state = db.seen().calm();
    if let Some(signer) = state.and_then(|state| db.seen().signer(state, id)) {
        // What nobody writes down is that its time is over.
        return Ok(Some(signer).filter(|signer| signer.is_in_time(now)));
    }
    let signer = signer(&mut *db.read().await?, id, now).await?;
    if let (Some(state), Some(signer)) = (state, &signer) {
        db.seen().signs(state, id, signer);
    }
    Ok(signer)
}

/// Who signs with this key: a key in force of an account in force, or of a vault whose time is not over.
pub(crate) async fn signer(
    at: &mut Connection,
    id: KeyId,
    now: Time,
) -> Result<Option<Signer>, HubError> {
    let row: Option<SignerRow> = sqlx::query_as(
        "SELECT k.*, (SELECT group_concat(project) FROM key_projects WHERE key = k.id) AS projects,
                a.name AS account_name, a.operator, a.created AS account_created,
                a.kind AS account_kind, o.organization, o.role,
                (SELECT s.technician FROM sign_ons s JOIN accounts t ON t.id = s.technician
                 WHERE s.instrument = a.id AND s.until > $2 AND t.disabled IS NULL) AS technician
         FROM account_keys k JOIN accounts a ON a.id = k.account
         LEFT JOIN organization_members o ON o.account = a.id
         WHERE k.id = $1 AND k.revoked IS NULL AND a.disabled IS NULL
             AND (k.expires IS NULL OR k.expires > $2)",
    )
    .bind(id.to_string())
    .bind(micros(now))
    .fetch_optional(&mut *at)
    .await?;
    if let Some(row) = row {
        return row.signer().map(Some);
    }
    let row: Option<(Vec<u8>, String, String)> = sqlx::query_as(
        "SELECT public_key, task, owner FROM vault_keys WHERE id = $1 AND until > $2",
    )
    .bind(id.to_string())
    .bind(micros(now))
    .fetch_optional(at)
    .await?;
    row.map(|(public_key, task, owner)| {
        let point = point(&public_key)?;
        Ok(Signer::Vault { point, task: parsed(&task)?, owner: parsed(&owner)? })
    })
    .transpose()
}

/// The point of a key that was kept: looked at when it was added, and once for all calls of a calm hub.
fn point(bytes: &[u8]) -> Result<PublicKey, HubError> {
    PublicKey::from_bytes(bytes).map_err(|e| HubError::internal("a key in the database is none", e))
}

/// Keeps a new key of an account.
pub(crate) async fn insert(at: &mut Connection, key: &Key) -> Result<(), sqlx::Error> {
    let limit = key.limit.as_ref();
    let projects = limit.and_then(|limit| limit.projects.as_ref());
    sqlx::query(
        "INSERT INTO account_keys (id, account, kind, name, public_key, created, scope, some_projects, expires,
             app_name, app_publisher)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(key.id.to_string())
    .bind(key.account.to_string())
    .bind(word(key.kind))
    .bind(&key.name)
    .bind(&key.public_key.0)
    .bind(micros(key.created))
    .bind(limit.map(|limit| word(limit.scope)))
    .bind(projects.is_some())
    .bind(limit.and_then(|limit| limit.expires).map(micros))
    .bind(key.app.as_ref().map(|app| &app.name))
    .bind(key.app.as_ref().map(|app| &app.publisher))
    .execute(&mut *at)
    .await?;
    for project in projects.into_iter().flatten() {
        sqlx::query("INSERT INTO key_projects (key, project) VALUES ($1, $2)")
            .bind(key.id.to_string())
            .bind(project.to_string())
            .execute(&mut *at)
            .await?;
    }
    Ok(())
}

/// Whether a key stands for an account, or once did.
pub(crate) async fn is_known(at: &mut Connection, id: KeyId) -> Result<bool, HubError> {
    Ok(sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM account_keys WHERE id = $1)")
        .bind(id.to_string())
        .fetch_one(at)
        .await?)
}

/// Whether a key, in force or not, finds this project if its account does. A key of no account (a vault's) is not limited.
pub(crate) async fn reaches(
    at: &mut Connection,
    key: Option<KeyId>,
    project: ProjectId,
) -> Result<bool, HubError> {
    let Some(key) = key else { return Ok(true) };
    Ok(sqlx::query_scalar(
        "SELECT NOT EXISTS (SELECT 1 FROM account_keys WHERE id = $1 AND some_projects = 1)
             OR EXISTS (SELECT 1 FROM key_projects WHERE key = $1 AND project = $2)",
    )
    .bind(key.to_string())
    .bind(project.to_string())
    .fetch_one(at)
    .await?)
}

/// The key of that id if it is this account's, revoked or not.
pub(crate) async fn find(
    at: &mut Connection,
    id: KeyId,
    account: AccountId,
) -> Result<Option<Key>, HubError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT k.*, (SELECT group_concat(project) FROM key_projects WHERE key = k.id) AS projects
         FROM account_keys k WHERE k.id = $1 AND k.account = $2",
    )
    .bind(id.to_string())
    .bind(account.to_string())
    .fetch_optional(at)
    .await?;
    row.map(Row::key).transpose()
}

/// Keys of an account in the order of their ids, after `after`.
pub(crate) async fn list(
    at: &mut Connection,
    account: AccountId,
    after: &str,
    limit: i64,
) -> Result<Vec<Key>, HubError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT k.*, (SELECT group_concat(project) FROM key_projects WHERE key = k.id) AS projects
         FROM account_keys k WHERE k.account = $1 AND k.id > $2 ORDER BY k.id LIMIT $3",
    )
    .bind(account.to_string())
    .bind(after)
    .bind(limit)
    .fetch_all(at)
    .await?;
    rows.into_iter().map(Row::key).collect()
}

/// So many keys of an account, those in force first and of those the newest.
pub(crate) async fn in_force_first(
    at: &mut Connection,
    account: AccountId,
    limit: i64,
) -> Result<Vec<Key>, HubError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT k.*, (SELECT group_concat(project) FROM key_projects WHERE key = k.id) AS projects
         FROM account_keys k WHERE k.account = $1
         ORDER BY k.revoked IS NOT NULL, k.created DESC, k.id LIMIT $2",
    )
    .bind(account.to_string())
    .bind(limit)
    .fetch_all(at)
    .await?;
    rows.into_iter().map(Row::key).collect()
}

/// Revokes a key; says whether it was in force.
pub(crate) async fn revoke(at: &mut Connection, id: KeyId, now: Time) -> Result<bool, HubError> {
    let done =
        sqlx::query("UPDATE account_keys SET revoked = $2 WHERE id = $1 AND revoked IS NULL")
            .bind(id.to_string())
            .bind(micros(now))
            .execute(at)
            .await?;
    Ok(done.rows_affected() == 1)
}

/// Makes a vault's receipt key a caller, for one task.
pub(crate) async fn insert_vault(
    at: &mut Connection,
    public_key: &PublicKey,
    task: TaskId,
    owner: AccountId,
    until: Time,
) -> Result<(), HubError> {
    sqlx::query(
        "INSERT INTO vault_keys (id, task, owner, public_key, until) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(public_key.id().to_string())
    .bind(task.to_string())
    .bind(owner.to_string())
    .bind(public_key.to_bytes().to_vec())
    .bind(micros(until))
    .execute(at)
    .await?;
    Ok(())
}

/// Ends what vaults of a task may do.
pub(crate) async fn remove_vaults(at: &mut Connection, task: TaskId) -> Result<(), HubError> {
    sqlx::query("DELETE FROM vault_keys WHERE task = $1")
        .bind(task.to_string())
        .execute(at)
        .await?;
    Ok(())
}

#[derive(FromRow)]
struct Row {
    id: String,
    account: String,
    kind: String,
    name: String,
    public_key: Vec<u8>,
    created: i64,
    revoked: Option<i64>,
    scope: Option<String>,
    some_projects: bool,
    expires: Option<i64>,
    projects: Option<String>,
    app_name: Option<String>,
    app_publisher: Option<String>,
}

impl Row {
    fn key(self) -> Result<Key, HubError> {
        let limit = match self.scope {
            None => None,
            Some(scope) => {
                let ids = self.projects.as_deref().unwrap_or_default().split(',');
                let ids = ids.filter(|id| !id.is_empty()).map(parsed::<ProjectId>);
                let mut projects = ids.collect::<Result<Vec<_>, _>>()?;
                projects.sort_unstable();
                Some(KeyLimit {
                    projects: self.some_projects.then_some(projects),
                    scope: from_word(scope)?,
                    expires: time_or_none(self.expires)?,
                })
            }
        };
        Ok(Key {
            id: parsed(&self.id)?,
            account: parsed(&self.account)?,
            kind: from_word(self.kind)?,
            name: self.name,
            public_key: Bytes(self.public_key),
            created: time(self.created)?,
            revoked: time_or_none(self.revoked)?,
            limit,
            app: self
                .app_name
                .zip(self.app_publisher)
                .map(|(name, publisher)| KeyApp { name, publisher }),
        })
    }
}

#[derive(FromRow)]
struct SignerRow {
    #[sqlx(flatten)]
    key: Row,
    account_name: String,
    operator: bool,
    account_created: i64,
    account_kind: String,
    organization: Option<String>,
    role: Option<String>,
    technician: Option<String>,
}

impl SignerRow {
    fn signer(self) -> Result<Signer, HubError> {
        let key = self.key.key()?;
        let account = api::Account {
            id: key.account,
            name: self.account_name,
            operator: self.operator,
            created: time(self.account_created)?,
            disabled: None,
            belongs: super::accounts::belongs(self.organization, self.role)?,
        };
        let (point, key) = (point(&key.public_key.0)?, Box::new(key));
        if self.account_kind == "instrument" {
            let technician = parsed_or_none(self.technician)?;
            return Ok(Signer::Instrument { key, point, account, technician });
        }
        Ok(Signer::Account { key, point, account })
    }
}
