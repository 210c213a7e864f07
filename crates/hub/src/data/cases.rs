//! Cases as rows: what stands in clear, the sealed document and its wrapped key, and who read what.

use api::{
    AccountId, AuditedRead, Case, CaseId, CasePurpose, CaseRules, DatasetId, EventId,
    OrganizationId, ProjectId, Time,
};
use sqlx::FromRow;

use super::audit::Bound;
use super::case_indexes::MOST_IN_ONE;
use super::events::{self, NewEvent, Period};
use super::{
    Connection, from_word, micros, parsed, parsed_or_none, small, time, time_or_none, word,
};
use crate::HubError;

/// A case with what is sealed of it.
#[derive(Debug)]
pub(crate) struct KeptCase {
    /// Its row.
    pub(crate) number: i64,
    /// What stands in clear, without the datasets.
    pub(crate) case: Case,
    /// Its key as the organization keeps it; nothing once it is destroyed.
    pub(crate) key: Option<Vec<u8>>,
    /// Its document as it is sealed.
    pub(crate) document: Vec<u8>,
}

/// A case about to be kept.
#[derive(Debug)]
pub(crate) struct NewRow<'a> {
    /// Its id.
    pub(crate) id: CaseId,
    /// The project.
    pub(crate) project: ProjectId,
    /// The organization that holds its key.
    pub(crate) organization: OrganizationId,
    /// Who makes it.
    pub(crate) made_by: AccountId,
    /// Its key as the organization keeps it.
    pub(crate) key: &'a [u8],
    /// Its document as it is sealed.
    pub(crate) document: &'a [u8],
    /// Now.
    pub(crate) created: Time,
}

/// Keeps a new case; gives its row, or nothing if the id is taken.
pub(crate) async fn insert(at: &mut Connection, new: &NewRow<'_>) -> Result<Option<i64>, HubError> {
    Ok(sqlx::query_scalar(
        "INSERT INTO cases (id, project, organization, status, version, made_by, key, document, created, changed)
         VALUES ($1, $2, $3, 'open', 1, $4, $5, $6, $7, $7) ON CONFLICT (id) DO NOTHING RETURNING number",
    )
    .bind(new.id.to_string())
    .bind(new.project.to_string())
    .bind(new.organization.to_string())
    .bind(new.made_by.to_string())
    .bind(new.key)
    .bind(new.document)
    .bind(micros(new.created))
    .fetch_optional(at)
    .await?)
}

/// The case of that id, whoever asks; one whose project is being deleted is not there any more.
pub(crate) async fn find(at: &mut Connection, id: CaseId) -> Result<Option<KeptCase>, HubError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT c.* FROM cases c JOIN projects p ON p.id = c.project
         WHERE c.id = $1 AND p.deleting IS NULL",
    )
    .bind(id.to_string())
    .fetch_optional(at)
    .await?;
    row.map(Row::kept).transpose()
}

/// Whether cases can be in a project: its organization holds the keys, or did so until it left its own key.
pub(crate) async fn can_be_in(at: &mut Connection, project: ProjectId) -> Result<bool, HubError> {
    Ok(sqlx::query_scalar(
        "SELECT EXISTS (
             SELECT 1 FROM projects p JOIN organization_projects o ON o.project = p.id
             WHERE p.id = $1 AND p.deleting IS NULL
                 AND (p.custodian = 'organization'
                      OR (p.custodian = 'platform'
                          AND (EXISTS (SELECT 1 FROM cases c WHERE c.project = p.id)
                               OR EXISTS (SELECT 1 FROM organization_services s
                                          WHERE s.organization = o.organization AND s.service = $2)))))",
    )
    .bind(project.to_string())
    .bind(super::organization_keys::LEFT)
    .fetch_one(at)
    .await?)
}

/// Cases of a project in the order of their ids, after `after`, without what is sealed.
pub(crate) async fn list(
    at: &mut Connection,
    project: ProjectId,
    after: &str,
    limit: i64,
) -> Result<Vec<Case>, HubError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT number, id, project, organization, status, version, made_by, concluded_by,
                NULL AS key, x'' AS document, created, changed, closed
         FROM cases WHERE project = $1 AND id > $2 ORDER BY id LIMIT $3",
    )
    .bind(project.to_string())
    .bind(after)
    .bind(limit)
    .fetch_all(&mut *at)
    .await?;
    let mut cases = Vec::with_capacity(rows.len());
    for row in rows {
        let number = row.number;
        cases.push(Case { datasets: datasets(at, number).await?, ..row.kept()?.case });
    }
    Ok(cases)
}

/// Cases of an organization in the order of their rows, after `after`.
pub(crate) async fn of_organization(
    at: &mut Connection,
    id: OrganizationId,
    after: i64,
    limit: i64,
) -> Result<Vec<KeptCase>, HubError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT * FROM cases WHERE organization = $1 AND number > $2 ORDER BY number LIMIT $3",
    )
    .bind(id.to_string())
    .bind(after)
    .bind(limit)
    .fetch_all(at)
    .await?;
    rows.into_iter().map(Row::kept).collect()
}

/// Keys of cases of an organization in the order of their rows, after `after`: row, case, project, key.
pub(crate) async fn keys(
    at: &mut Connection,
    id: OrganizationId,
    after: i64,
    limit: i64,
) -> Result<Vec<(i64, CaseId, ProjectId, Vec<u8>)>, HubError> {
    let rows: Vec<(i64, String, String, Vec<u8>)> = sqlx::query_as(
        "SELECT number, id, project, key FROM cases
         WHERE organization = $1 AND number > $2 AND key IS NOT NULL ORDER BY number LIMIT $3",
    )
    .bind(id.to_string())
    .bind(after)
    .bind(limit)
    .fetch_all(at)
    .await?;
    rows.into_iter()
        .map(|(number, id, project, key)| Ok((number, parsed(&id)?, parsed(&project)?, key)))
        .collect()
}

/// How many cases an organization has.
pub(crate) async fn count(at: &mut Connection, id: OrganizationId) -> Result<i64, HubError> {
    Ok(sqlx::query_scalar("SELECT count(*) FROM cases WHERE organization = $1")
        .bind(id.to_string())
        .fetch_one(at)
        .await?)
}

/// Cases of a project after a row whose hash in a version of an index is this, oldest first; nothing if that version does not answer.
pub(crate) async fn with_hash(
    at: &mut Connection,
    index: i64,
    hash: &[u8],
    project: ProjectId,
    (after, limit): (i64, i64),
) -> Result<Option<Vec<KeptCase>>, HubError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT c.* FROM case_hashes h JOIN cases c ON c.number = h.number
         WHERE h.idx = $1 AND h.hash = $2 AND h.number > $4 AND c.project = $3
             AND EXISTS (SELECT 1 FROM case_indexes WHERE id = $1 AND state = 'live')
         ORDER BY h.number LIMIT $5",
    )
    .bind(index)
    .bind(hash)
    .bind(project.to_string())
    .bind(after)
    .bind(limit)
    .fetch_all(&mut *at)
    .await?;
    // Only where nothing is found it is asked for which reason.
    if rows.is_empty() && !super::case_indexes::is_live(at, index).await? {
        return Ok(None);
    }
    rows.into_iter().map(Row::kept).collect::<Result<_, _>>().map(Some)
}

/// Writes the document and what is in clear about it.
pub(crate) async fn update(
    at: &mut Connection,
    number: i64,
    case: &Case,
    document: &[u8],
) -> Result<(), HubError> {
    sqlx::query(
        "UPDATE cases SET status = $2, version = $3, concluded_by = $4, document = $5, changed = $6, closed = $7
         WHERE number = $1",
    )
    .bind(number)
    .bind(word(case.status))
    .bind(i64::from(case.version))
    .bind(case.concluded_by.map(|id| id.to_string()))
    .bind(document)
    .bind(micros(case.changed))
    .bind(case.closed.map(micros))
    .execute(at)
    .await?;
    Ok(())
}

/// Keeps keys of cases, given by their rows, as they are wrapped now; one that was destroyed meanwhile stays destroyed.
pub(crate) async fn set_keys(at: &mut Connection, keys: &[(i64, Vec<u8>)]) -> Result<(), HubError> {
    for some in keys.chunks(MOST_IN_ONE) {
        let mut query = sqlx::QueryBuilder::new("UPDATE cases SET key = now.column2 FROM (");
        query.push_values(some, |mut row, (number, key)| {
            row.push_bind(*number).push_bind(key.as_slice());
        });
        query.push(") AS now WHERE number = now.column1 AND key IS NOT NULL");
        query.build().execute(&mut *at).await?;
    }
    Ok(())
}

/// Empties the key: from now on nobody opens the case.
pub(crate) async fn destroy_key(at: &mut Connection, number: i64) -> Result<(), HubError> {
    sqlx::query("UPDATE cases SET key = NULL WHERE number = $1").bind(number).execute(at).await?;
    Ok(())
}

/// Empties the keys of all cases of a project.
pub(crate) async fn destroy_keys_of(
    at: &mut Connection,
    project: ProjectId,
) -> Result<(), HubError> {
    sqlx::query("UPDATE cases SET key = NULL WHERE project = $1")
        .bind(project.to_string())
        .execute(at)
        .await?;
    Ok(())
}

/// Cases without a key, of this project if named: their rows and ids.
pub(crate) async fn keyless(
    at: &mut Connection,
    project: Option<ProjectId>,
    limit: i64,
) -> Result<Vec<(i64, CaseId)>, HubError> {
    let rows: Vec<(i64, String)> = sqlx::query_as(
        "SELECT number, id FROM cases WHERE key IS NULL AND ($1 IS NULL OR project = $1)
         ORDER BY number LIMIT $2",
    )
    .bind(project.map(|id| id.to_string()))
    .bind(limit)
    .fetch_all(at)
    .await?;
    rows.into_iter().map(|(number, id)| Ok((number, parsed(&id)?))).collect()
}

/// Removes hashes and row of a case without a key; says how many rows that was.
pub(crate) async fn remove_keyless(at: &mut Connection, number: i64) -> Result<u64, HubError> {
    sqlx::query("DELETE FROM case_hashes WHERE number = $1").bind(number).execute(&mut *at).await?;
    let gone = sqlx::query("DELETE FROM cases WHERE key IS NULL AND number = $1")
        .bind(number)
        .execute(at)
        .await?;
    Ok(gone.rows_affected())
}

/// The numbers of the sheets that have cases without a key.
pub(crate) async fn sheets_without_keys(at: &mut Connection) -> Result<Vec<i64>, HubError> {
    Ok(sqlx::query_scalar("SELECT DISTINCT number / 500 FROM cases WHERE key IS NULL ORDER BY 1")
        .fetch_all(at)
        .await?)
}

/// Puts the key of a case into its row, where a backup left it out.
pub(crate) async fn restore_key(
    at: &mut Connection,
    id: CaseId,
    key: &[u8],
) -> Result<(), HubError> {
    sqlx::query("UPDATE cases SET key = $2 WHERE id = $1 AND key IS NULL")
        .bind(id.to_string())
        .bind(key)
        .execute(at)
        .await?;
    Ok(())
}

/// Every case, whatever becomes of it, in the order of their rows after `after`: row and id.
pub(crate) async fn everything(
    at: &mut Connection,
    after: i64,
    limit: i64,
) -> Result<Vec<(i64, CaseId)>, HubError> {
    let rows: Vec<(i64, String)> =
        sqlx::query_as("SELECT number, id FROM cases WHERE number > $1 ORDER BY number LIMIT $2")
            .bind(after)
            .bind(limit)
            .fetch_all(at)
            .await?;
    rows.into_iter().map(|(number, id)| Ok((number, parsed(&id)?))).collect()
}

/// Datasets that belong to a case.
pub(crate) async fn datasets(at: &mut Connection, number: i64) -> Result<Vec<DatasetId>, HubError> {
    let rows: Vec<String> =
        sqlx::query_scalar("SELECT dataset FROM case_datasets WHERE number = $1 ORDER BY dataset")
            .bind(number)
            .fetch_all(at)
            .await?;
    rows.iter().map(|id| parsed(id)).collect()
}

/// Links a dataset; says whether it was not linked before.
pub(crate) async fn link(
    at: &mut Connection,
    number: i64,
    dataset: DatasetId,
) -> Result<bool, HubError> {
    let done = sqlx::query("INSERT OR IGNORE INTO case_datasets (number, dataset) VALUES ($1, $2)")
        .bind(number)
        .bind(dataset.to_string())
        .execute(at)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Unlinks a dataset; says whether it was linked.
pub(crate) async fn unlink(
    at: &mut Connection,
    number: i64,
    dataset: DatasetId,
) -> Result<bool, HubError> {
    let done = sqlx::query("DELETE FROM case_datasets WHERE number = $1 AND dataset = $2")
        .bind(number)
        .bind(dataset.to_string())
        .execute(at)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Writes that somebody read fields of a case, or searched by one.
pub(crate) async fn record_read(
    at: &mut Connection,
    organization: OrganizationId,
    event: &NewEvent,
    purpose: CasePurpose,
    fields: &[&str],
) -> Result<(), HubError> {
    let mut sorted = fields.to_vec();
    sorted.sort_unstable();
    let mut text = "chorion case fields v1\n".to_owned();
    sorted.iter().for_each(|field| text.extend([field, "\n"]));
    let bound = Bound::to_statement(proof::sha256(text.as_bytes()));
    let id = EventId::generate();
    events::keep(at, id, event, &bound).await?;
    sqlx::query(
        "INSERT INTO case_reads (event, organization, purpose, fields) VALUES ($1, $2, $3, $4)",
    )
    .bind(id.to_string())
    .bind(organization.to_string())
    .bind(word(purpose))
    .bind(sorted.join(" "))
    .execute(at)
    .await?;
    Ok(())
}

/// Who read what, in the order it was read, after `after`.
pub(crate) async fn reads(
    at: &mut Connection,
    id: OrganizationId,
    period: Period,
    after: &str,
    limit: i64,
) -> Result<Vec<AuditedRead>, HubError> {
    let rows: Vec<ReadRow> = sqlx::query_as(
        "SELECT e.id, e.at, e.actor, e.act, e.object, e.outcome, r.purpose, r.fields
         FROM case_reads r JOIN events e ON e.id = r.event
         WHERE r.organization = $1 AND r.event > $2
             AND ($3 IS NULL OR e.at >= $3) AND ($4 IS NULL OR e.at < $4)
         ORDER BY r.event LIMIT $5",
    )
    .bind(id.to_string())
    .bind(after)
    .bind(period.from.map(micros))
    .bind(period.to.map(micros))
    .bind(limit)
    .fetch_all(at)
    .await?;
    rows.into_iter().map(ReadRow::read).collect()
}

/// What an organization wants of its cases.
pub(crate) async fn rules(at: &mut Connection, id: OrganizationId) -> Result<CaseRules, HubError> {
    let second: Option<bool> =
        sqlx::query_scalar("SELECT second_person FROM case_rules WHERE organization = $1")
            .bind(id.to_string())
            .fetch_optional(at)
            .await?;
    Ok(CaseRules { second_person: second.unwrap_or(false) })
}

/// Changes that.
pub(crate) async fn set_rules(
    at: &mut Connection,
    id: OrganizationId,
    rules: CaseRules,
) -> Result<(), HubError> {
    sqlx::query(
        "INSERT INTO case_rules (organization, second_person) VALUES ($1, $2)
         ON CONFLICT (organization) DO UPDATE SET second_person = excluded.second_person",
    )
    .bind(id.to_string())
    .bind(rules.second_person)
    .execute(at)
    .await?;
    Ok(())
}

#[derive(FromRow)]
struct Row {
    number: i64,
    id: String,
    project: String,
    organization: String,
    status: String,
    version: i64,
    made_by: String,
    concluded_by: Option<String>,
    key: Option<Vec<u8>>,
    document: Vec<u8>,
    created: i64,
    changed: i64,
    closed: Option<i64>,
}

impl Row {
    fn kept(self) -> Result<KeptCase, HubError> {
        let case = Case {
            id: parsed(&self.id)?,
            project: parsed(&self.project)?,
            organization: parsed(&self.organization)?,
            status: from_word(self.status)?,
            version: small(self.version)?,
            made_by: parsed(&self.made_by)?,
            concluded_by: parsed_or_none(self.concluded_by)?,
            created: time(self.created)?,
            changed: time(self.changed)?,
            closed: time_or_none(self.closed)?,
            datasets: Vec::new(),
        };
        Ok(KeptCase { number: self.number, case, key: self.key, document: self.document })
    }
}

#[derive(FromRow)]
struct ReadRow {
    id: String,
    at: i64,
    actor: String,
    act: String,
    object: String,
    outcome: String,
    purpose: String,
    fields: String,
}

impl ReadRow {
    fn read(self) -> Result<AuditedRead, HubError> {
        Ok(AuditedRead {
            event: parsed(&self.id)?,
            at: time(self.at)?,
            actor: self.actor,
            act: self.act,
            object: self.object,
            purpose: from_word(self.purpose)?,
            fields: self.fields.split(' ').map(str::to_owned).collect(),
            outcome: from_word(self.outcome)?,
        })
    }
}
