//! What outlives the database: beside the wrapped keys stands what each account, project and dataset is (`spec/store.md`
//! section 6.5), as rows of the database, from which [`crate::rebuild_index`] makes a new one; of an organization that holds its key
//! itself, where that is and what it wrapped; and cases, sealed as they are, many to a sheet, with their wrapped keys beside them as
//! records that are destroyed one by one.
//!
//! Rows are written first; triggers list what has changed, and [`keep`] brings the descriptions after them: before the calls that
//! make something are answered, and behind the calls for everything else. Nothing is described that the database does not
//! hold in clear, and no key that the platform's opens but the one that seals an organization's credentials: names, settings and
//! sample sheets are sealed here as there, and an organization's keys are wrapped under the customer's.

use std::collections::{BTreeMap, HashMap};

use api::CaseId;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::KeyStore;
use uuid::Uuid;

use crate::HubError;
use crate::data::rows::{self, Row};
use crate::data::undescribed::{self, Undescribed};
use crate::data::{self, Connection, Db};
use crate::state::Hub;

/// Format and version of a description.
pub(crate) const FORMAT: &str = "chorion.description/1";
/// How many are read at once.
const SOME: i64 = 256;

/// The id of a case, and its key as it is wrapped.
type CaseKey = ([u8; 16], Vec<u8>);

/// A table, and which of its rows belong to the thing whose id is `$1`. The order is one in which they can be put back.
type Tables = &'static [(&'static str, &'static str)];

const OF_ORGANIZATION: Tables = &[
    ("organizations", "id = $1"),
    ("organization_services", "organization = $1"),
    ("organization_keys", "organization = $1"),
    ("organization_salts", "organization = $1"),
    ("case_rules", "organization = $1"),
    ("case_indexes", "organization = $1"),
];
const OF_ACCOUNT: Tables = &[
    ("organizations", "id IN (SELECT organization FROM organization_members WHERE account = $1)"),
    ("accounts", "id = $1"),
    ("account_keys", "account = $1"),
    ("organization_members", "account = $1"),
];
const OF_PROJECT: Tables = &[
    ("organizations", "id IN (SELECT organization FROM organization_projects WHERE project = $1)"),
    ("projects", "id = $1"),
    ("organization_projects", "project = $1"),
    ("cards", "project = $1"),
    ("members", "project = $1"),
    ("key_projects", "project = $1"),
];
const OF_DATASET: Tables = &[
    ("datasets", "id = $1"),
    ("manifests", "dataset = $1"),
    ("dataset_writers", "dataset = $1"),
    ("apps", "package = $1"),
    ("sessions", "result = $1"),
    ("tasks", "subject = $1 AND statement IS NOT NULL"),
    ("task_inputs", "task IN (SELECT id FROM tasks WHERE subject = $1 AND statement IS NOT NULL)"),
];

/// So many rows of cases that one sheet holds them: a file for each case would be too many files.
const OF_CASES: Tables = &[
    (
        "cases",
        "key IS NOT NULL AND number >= 500 * CAST(substr($1, 25) AS INTEGER)
             AND number < 500 * (CAST(substr($1, 25) AS INTEGER) + 1)",
    ),
    (
        "case_datasets",
        "number >= 500 * CAST(substr($1, 25) AS INTEGER) AND number < 500 * (CAST(substr($1, 25) AS INTEGER) + 1)",
    ),
];

/// The kinds, in an order in which they can be put back.
pub(crate) const KINDS: [&str; 5] = ["organization", "account", "project", "dataset", "cases"];

/// On which sheet the case of that row stands.
pub(crate) fn sheet_of(number: i64) -> Uuid {
    sheet(number / 500)
}

/// The id of a sheet.
pub(crate) fn sheet(number: i64) -> Uuid {
    // Decimal digits are hexadecimal ones too; the triggers of migration 28 write the same.
    let digits = u64::from_str_radix(&number.to_string(), 16).unwrap_or(u64::MAX >> 16);
    Uuid::from_u64_pair(0xca5e_5000_0000_4000, 0x8000_0000_0000_0000 | digits)
}

fn tables_of(kind: &str) -> Tables {
    match kind {
        "organization" => OF_ORGANIZATION,
        "account" => OF_ACCOUNT,
        "project" => OF_PROJECT,
        "cases" => OF_CASES,
        _ => OF_DATASET,
    }
}

/// What an organization, an account, a project or a dataset is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Description {
    /// [`FORMAT`].
    pub(crate) format: String,
    /// The hub's id.
    pub(crate) hub: String,
    /// One of [`KINDS`].
    pub(crate) kind: String,
    /// Its id.
    pub(crate) subject: String,
    /// Its rows, by table.
    pub(crate) rows: BTreeMap<String, Vec<Row>>,
}

impl Description {
    /// What stands in the database now; nothing where it is gone or going.
    async fn read(
        at: &mut Connection,
        hub: &str,
        what: &Undescribed,
    ) -> Result<Option<Self>, HubError> {
        let mut found = BTreeMap::new();
        for (table, condition) in tables_of(&what.kind) {
            found.insert(
                (*table).to_owned(),
                rows::read(at, table, condition, &what.subject).await?,
            );
        }
        // Of a thing that is being deleted nothing is kept: its keys go first.
        let own = match what.kind.as_str() {
            "organization" => "organization_services",
            "account" => "accounts",
            "project" => "projects",
            "cases" => "cases",
            _ => "datasets",
        };
        let stands = what.kind == "cases"
            || found[own]
                .first()
                .is_some_and(|row| row.get("deleting").is_none_or(serde_json::Value::is_null));
        Ok(stands.then(|| Self {
            format: FORMAT.to_owned(),
            hub: hub.to_owned(),
            kind: what.kind.clone(),
            subject: what.subject.clone(),
            rows: found,
        }))
    }

    /// Takes the wrapped keys of cases out of their rows: a case and its key.
    fn take_keys(&mut self) -> Result<Vec<CaseKey>, HubError> {
        let rows = self.rows.get_mut("cases").map(Vec::as_mut_slice).unwrap_or_default();
        let key = |row: &mut Row| {
            let id: CaseId = data::parsed(row.get("id")?.as_str()?).ok()?;
            let key = row.remove("key")?;
            Some((id.to_bytes(), HEXLOWER.decode(key.get("hex")?.as_str()?.as_bytes()).ok()?))
        };
        rows.iter_mut()
            .map(|row| {
                key(row).ok_or_else(|| HubError::internal("a case cannot be described", "its row"))
            })
            .collect()
    }

    /// Puts the wrapped keys of cases into their rows, and leaves out those whose key was destroyed.
    pub(crate) fn put_keys(&mut self, keys: &HashMap<[u8; 16], Vec<u8>>) {
        let key_of = |row: &Row| {
            let id: CaseId = data::parsed(row.get("id")?.as_str()?).ok()?;
            keys.get(&id.to_bytes())
        };
        let mut gone = Vec::new();
        if let Some(rows) = self.rows.get_mut("cases") {
            rows.retain_mut(|row| {
                let Some(key) = key_of(row) else {
                    gone.extend(row.get("number").cloned());
                    return false;
                };
                row.insert("key".to_owned(), json!({ "hex": HEXLOWER.encode(key) }));
                true
            });
        }
        if let Some(links) = self.rows.get_mut("case_datasets") {
            links.retain(|link| link.get("number").is_some_and(|number| !gone.contains(number)));
        }
    }

    /// Puts its rows into the database.
    pub(crate) async fn write(&self, at: &mut Connection) -> Result<(), HubError> {
        for (table, _) in tables_of(&self.kind) {
            if let Some(found) = self.rows.get(*table) {
                rows::write(at, table, found).await?;
            }
        }
        Ok(())
    }
}

/// Brings every description that is older than its rows up to them.
pub(crate) async fn keep(hub: &Hub) -> Result<(), HubError> {
    // One at a time: two descriptions of one thing must not cross.
    let _alone = hub.describing.lock().await;
    bring_up(&hub.db, &hub.keys, &hub.id).await
}

/// The same without a hub around it; the caller sees to it that nobody else does it meanwhile.
pub(crate) async fn bring_up(db: &Db, keys: &KeyStore, hub: &str) -> Result<(), HubError> {
    loop {
        let mut reader = db.read().await?;
        let some = undescribed::some(&mut reader, SOME).await?;
        let mut done = Vec::with_capacity(some.len());
        for what in &some {
            let description = Description::read(&mut reader, hub, what).await?;
            let Some(mut description) = description else {
                done.push(what);
                continue;
            };
            let id: Uuid = data::parsed(&what.subject)?;
            if what.kind == "cases" {
                // Without its key a case would be left out of a rebuilt index, so the keys come first.
                let wrapped = description.take_keys()?;
                if !wrapped.is_empty() {
                    keys.put_record_keys(id.into_bytes(), wrapped).await?;
                }
            }
            let text = serde_json::to_vec(&description)
                .map_err(|e| HubError::internal("a description cannot be written", e))?;
            match keys.describe(id.into_bytes(), &text).await {
                Ok(()) | Err(store::KeyStoreError::Destroyed { .. }) => done.push(what),
                Err(error) => return Err(error.into()),
            }
        }
        drop(reader);
        if done.is_empty() {
            return Ok(());
        }
        let mut tx = db.write().await?;
        for what in done {
            undescribed::described(&mut tx, what).await?;
        }
        tx.commit().await?;
        if some.len() < usize::try_from(SOME).unwrap_or(usize::MAX) {
            return Ok(());
        }
    }
}

/// As [`keep`], after an act that stands already: what cannot be described now is described behind the calls.
pub(crate) async fn keep_after(hub: &Hub) {
    if let Err(error) = keep(hub).await {
        tracing::warn!(
            cause = error.causes(),
            "the index beside the wrapped keys is behind: {error}"
        );
    }
}
