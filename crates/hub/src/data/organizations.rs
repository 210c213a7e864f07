//! Organizations, who belongs to them, which projects are theirs, and what their auditors read.

use api::{
    AccountId, AuditedAccount, AuditedKey, AuditedProject, AuditedRight, Belongs, Organization,
    OrganizationId, OrganizationMember, Plan, ProjectId, Role, Time,
};
use sqlx::FromRow;

use super::{Connection, from_word, micros, parsed, small, time, time_or_none, unsigned, word};
use crate::HubError;

/// Keeps a new organization.
pub(crate) async fn insert(at: &mut Connection, new: &Organization) -> Result<(), HubError> {
    sqlx::query("INSERT INTO organizations (id, name, plan, created) VALUES ($1, $2, $3, $4)")
        .bind(new.id.to_string())
        .bind(&new.name)
        .bind(word(new.plan))
        .bind(micros(new.created))
        .execute(at)
        .await?;
    Ok(())
}

/// The organization of that id.
pub(crate) async fn find(
    at: &mut Connection,
    id: OrganizationId,
) -> Result<Option<Organization>, HubError> {
    let row: Option<Row> =
        sqlx::query_as("SELECT id, name, plan, created, (SELECT recipient FROM organization_keys WHERE organization = id AND purpose = 'recipient' AND NOT EXISTS (SELECT 1 FROM organization_services s WHERE s.organization = id AND s.service = $2) ORDER BY version DESC LIMIT 1) AS recipient FROM organizations WHERE id = $1")
            .bind(id.to_string())
            .bind(super::organization_keys::LEFT)
            .fetch_optional(at)
            .await?;
    row.map(Row::organization).transpose()
}

/// Organizations in the order of their ids, after `after`: all, or the one of an account.
pub(crate) async fn list(
    at: &mut Connection,
    of: Option<AccountId>,
    after: &str,
    limit: i64,
) -> Result<Vec<Organization>, HubError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, name, plan, created, (SELECT recipient FROM organization_keys WHERE organization = id AND purpose = 'recipient' AND NOT EXISTS (SELECT 1 FROM organization_services s WHERE s.organization = id AND s.service = $4) ORDER BY version DESC LIMIT 1) AS recipient FROM organizations WHERE id > $1
             AND ($2 IS NULL OR id IN (SELECT organization FROM organization_members WHERE account = $2))
         ORDER BY id LIMIT $3",
    )
    .bind(after)
    .bind(of.map(|id| id.to_string()))
    .bind(limit)
    .bind(super::organization_keys::LEFT)
    .fetch_all(at)
    .await?;
    rows.into_iter().map(Row::organization).collect()
}

/// Where an account belongs, if anywhere.
pub(crate) async fn belongs(
    at: &mut Connection,
    account: AccountId,
) -> Result<Option<Belongs>, HubError> {
    let row: Option<(String, String)> =
        sqlx::query_as("SELECT organization, role FROM organization_members WHERE account = $1")
            .bind(account.to_string())
            .fetch_optional(at)
            .await?;
    row.map(|(organization, role)| {
        Ok(Belongs { organization: parsed(&organization)?, role: from_word(role)? })
    })
    .transpose()
}

/// Changes what an organization has agreed on.
pub(crate) async fn set_plan(
    at: &mut Connection,
    id: OrganizationId,
    plan: Plan,
) -> Result<(), HubError> {
    sqlx::query("UPDATE organizations SET plan = $2 WHERE id = $1")
        .bind(id.to_string())
        .bind(word(plan))
        .execute(at)
        .await?;
    Ok(())
}

/// Gives an account a role in an organization, which it joins `now` if it does not belong to it.
pub(crate) async fn set(
    at: &mut Connection,
    id: OrganizationId,
    account: AccountId,
    role: Role,
    now: Time,
) -> Result<(), HubError> {
    sqlx::query(
        "INSERT INTO organization_members (account, organization, role, joined) VALUES ($1, $2, $3, $4)
         ON CONFLICT (account) DO UPDATE SET role = excluded.role, organization = excluded.organization,
             joined = CASE WHEN organization = excluded.organization THEN joined ELSE excluded.joined END",
    )
    .bind(account.to_string())
    .bind(id.to_string())
    .bind(word(role))
    .bind(micros(now))
    .execute(at)
    .await?;
    Ok(())
}

/// Takes an account out of an organization and out of its projects, none of which it owns.
pub(crate) async fn remove(
    at: &mut Connection,
    id: OrganizationId,
    account: AccountId,
) -> Result<(), HubError> {
    sqlx::query(
        "DELETE FROM members WHERE account = $1
             AND project IN (SELECT project FROM organization_projects WHERE organization = $2)",
    )
    .bind(account.to_string())
    .bind(id.to_string())
    .execute(&mut *at)
    .await?;
    sqlx::query("DELETE FROM organization_members WHERE account = $1 AND organization = $2")
        .bind(account.to_string())
        .bind(id.to_string())
        .execute(at)
        .await?;
    Ok(())
}

/// One member.
pub(crate) async fn member(
    at: &mut Connection,
    id: OrganizationId,
    account: AccountId,
) -> Result<Option<OrganizationMember>, HubError> {
    let row: Option<MemberRow> = sqlx::query_as(
        "SELECT a.id, a.name, m.role, m.joined, a.disabled FROM organization_members m
         JOIN accounts a ON a.id = m.account WHERE m.organization = $1 AND a.id = $2",
    )
    .bind(id.to_string())
    .bind(account.to_string())
    .fetch_optional(at)
    .await?;
    row.map(MemberRow::member).transpose()
}

/// Members in the order of their accounts, after `after`.
pub(crate) async fn members(
    at: &mut Connection,
    id: OrganizationId,
    after: &str,
    limit: i64,
) -> Result<Vec<OrganizationMember>, HubError> {
    let rows: Vec<MemberRow> = sqlx::query_as(
        "SELECT a.id, a.name, m.role, m.joined, a.disabled FROM organization_members m
         JOIN accounts a ON a.id = m.account
         WHERE m.organization = $1 AND a.id > $2 ORDER BY a.id LIMIT $3",
    )
    .bind(id.to_string())
    .bind(after)
    .bind(limit)
    .fetch_all(at)
    .await?;
    rows.into_iter().map(MemberRow::member).collect()
}

/// How many administrators of an organization are not disabled.
pub(crate) async fn administrators(
    at: &mut Connection,
    id: OrganizationId,
) -> Result<i64, HubError> {
    Ok(sqlx::query_scalar(
        "SELECT count(*) FROM organization_members m JOIN accounts a ON a.id = m.account
         WHERE m.organization = $1 AND m.role = 'administrator' AND a.disabled IS NULL",
    )
    .bind(id.to_string())
    .fetch_one(at)
    .await?)
}

/// Whether an account owns a project, or is a member of one.
pub(crate) async fn has_projects(
    at: &mut Connection,
    account: AccountId,
) -> Result<bool, HubError> {
    Ok(sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM projects WHERE owner = $1)
             OR EXISTS (SELECT 1 FROM members WHERE account = $1)",
    )
    .bind(account.to_string())
    .fetch_one(at)
    .await?)
}

/// How many projects of an organization an account owns.
pub(crate) async fn owned(
    at: &mut Connection,
    id: OrganizationId,
    account: AccountId,
) -> Result<i64, HubError> {
    Ok(sqlx::query_scalar(
        "SELECT count(*) FROM organization_projects o JOIN projects p ON p.id = o.project
         WHERE o.organization = $1 AND p.owner = $2",
    )
    .bind(id.to_string())
    .bind(account.to_string())
    .fetch_one(at)
    .await?)
}

/// Makes a project an organization's.
pub(crate) async fn insert_project(
    at: &mut Connection,
    id: OrganizationId,
    project: ProjectId,
) -> Result<(), HubError> {
    sqlx::query("INSERT INTO organization_projects (project, organization) VALUES ($1, $2)")
        .bind(project.to_string())
        .bind(id.to_string())
        .execute(at)
        .await?;
    Ok(())
}

/// The organization that a project belongs to.
pub(crate) async fn of_project(
    at: &mut Connection,
    project: ProjectId,
) -> Result<Option<OrganizationId>, HubError> {
    let id: Option<String> =
        sqlx::query_scalar("SELECT organization FROM organization_projects WHERE project = $1")
            .bind(project.to_string())
            .fetch_optional(at)
            .await?;
    id.as_deref().map(parsed).transpose()
}

/// Accounts and their last use, in the order of their ids, after `after`.
pub(crate) async fn accounts(
    at: &mut Connection,
    id: OrganizationId,
    after: &str,
    limit: i64,
    now: Time,
) -> Result<Vec<AuditedAccount>, HubError> {
    let rows: Vec<AccountRow> = sqlx::query_as(
        "SELECT a.id, a.name, m.role, m.joined, a.disabled, a.used,
                (SELECT count(*) FROM account_keys k WHERE k.account = a.id AND k.revoked IS NULL
                     AND (k.expires IS NULL OR k.expires > $4)) AS keys,
                (SELECT count(*) FROM passkeys k WHERE k.account = a.id) AS passkeys,
                EXISTS (SELECT 1 FROM passwords w WHERE w.account = a.id) AS password
         FROM organization_members m JOIN accounts a ON a.id = m.account
         WHERE m.organization = $1 AND a.id > $2 ORDER BY a.id LIMIT $3",
    )
    .bind(id.to_string())
    .bind(after)
    .bind(limit)
    .bind(micros(now))
    .fetch_all(at)
    .await?;
    rows.into_iter().map(AccountRow::account).collect()
}

/// Keys of its accounts, in the order of their ids, after `after`.
pub(crate) async fn keys(
    at: &mut Connection,
    id: OrganizationId,
    after: &str,
    limit: i64,
) -> Result<Vec<AuditedKey>, HubError> {
    let rows: Vec<KeyRow> = sqlx::query_as(
        "SELECT k.id, k.account, k.kind, k.scope, k.created, k.expires, k.revoked, k.used
         FROM account_keys k JOIN organization_members m ON m.account = k.account
         WHERE m.organization = $1 AND k.id > $2 ORDER BY k.id LIMIT $3",
    )
    .bind(id.to_string())
    .bind(after)
    .bind(limit)
    .fetch_all(at)
    .await?;
    rows.into_iter().map(KeyRow::key).collect()
}

/// Its projects, in the order of their ids, after `after`.
pub(crate) async fn projects(
    at: &mut Connection,
    id: OrganizationId,
    after: &str,
    limit: i64,
) -> Result<Vec<AuditedProject>, HubError> {
    let rows: Vec<ProjectRow> = sqlx::query_as(
        "SELECT p.id, p.custodian, p.owner, p.created, p.deleting IS NOT NULL AS deleting,
                coalesce((SELECT max(number) FROM cards WHERE project = p.id), 0) AS card_number,
                (SELECT count(*) FROM datasets WHERE project = p.id) AS datasets,
                (SELECT count(*) FROM datasets WHERE project = p.id AND epoch > 0) AS resealed
         FROM organization_projects o JOIN projects p ON p.id = o.project
         WHERE o.organization = $1 AND p.id > $2 ORDER BY p.id LIMIT $3",
    )
    .bind(id.to_string())
    .bind(after)
    .bind(limit)
    .fetch_all(at)
    .await?;
    rows.into_iter().map(ProjectRow::project).collect()
}

/// Who may do what in its projects, in the order of project and account, after `after`, which is both.
pub(crate) async fn rights(
    at: &mut Connection,
    id: OrganizationId,
    after: &str,
    limit: i64,
) -> Result<Vec<AuditedRight>, HubError> {
    let rows: Vec<(String, String, String, bool)> = sqlx::query_as(
        "SELECT held.project, held.account, held.right,
                EXISTS (SELECT 1 FROM organization_members m
                        WHERE m.account = held.account AND m.organization = $1)
         FROM (SELECT id AS project, owner AS account, 'owner' AS right FROM projects
               UNION ALL SELECT project, account, right FROM members) held
         JOIN organization_projects o ON o.project = held.project
         WHERE o.organization = $1 AND held.project || held.account > $2
         ORDER BY held.project || held.account LIMIT $3",
    )
    .bind(id.to_string())
    .bind(after)
    .bind(limit)
    .fetch_all(at)
    .await?;
    rows.into_iter()
        .map(|(project, account, right, inside)| {
            let (project, account) = (parsed(&project)?, parsed(&account)?);
            Ok(AuditedRight { project, account, inside, right: from_word(right)? })
        })
        .collect()
}

#[derive(FromRow)]
struct Row {
    id: String,
    name: String,
    plan: String,
    created: i64,
    recipient: Option<Vec<u8>>,
}

impl Row {
    fn organization(self) -> Result<Organization, HubError> {
        Ok(Organization {
            id: parsed(&self.id)?,
            name: self.name,
            plan: from_word(self.plan)?,
            created: time(self.created)?,
            recipient: self.recipient.map(api::Bytes),
        })
    }
}

#[derive(FromRow)]
struct MemberRow {
    id: String,
    name: String,
    role: String,
    joined: i64,
    disabled: Option<i64>,
}

impl MemberRow {
    fn member(self) -> Result<OrganizationMember, HubError> {
        Ok(OrganizationMember {
            account: parsed(&self.id)?,
            name: self.name,
            role: from_word(self.role)?,
            joined: time(self.joined)?,
            disabled: time_or_none(self.disabled)?,
        })
    }
}

#[derive(FromRow)]
struct AccountRow {
    #[sqlx(flatten)]
    member: MemberRow,
    used: Option<i64>,
    keys: i64,
    passkeys: i64,
    password: bool,
}

impl AccountRow {
    fn account(self) -> Result<AuditedAccount, HubError> {
        let member = self.member.member()?;
        Ok(AuditedAccount {
            account: member.account,
            name: member.name,
            role: member.role,
            joined: member.joined,
            disabled: member.disabled,
            last_used: time_or_none(self.used)?,
            keys: small(self.keys)?,
            passkeys: small(self.passkeys)?,
            password: self.password,
        })
    }
}

#[derive(FromRow)]
struct KeyRow {
    id: String,
    account: String,
    kind: String,
    scope: Option<String>,
    created: i64,
    expires: Option<i64>,
    revoked: Option<i64>,
    used: Option<i64>,
}

impl KeyRow {
    fn key(self) -> Result<AuditedKey, HubError> {
        Ok(AuditedKey {
            key: parsed(&self.id)?,
            account: parsed(&self.account)?,
            kind: from_word(self.kind)?,
            scope: self.scope.map(from_word).transpose()?,
            created: time(self.created)?,
            expires: time_or_none(self.expires)?,
            revoked: time_or_none(self.revoked)?,
            last_used: time_or_none(self.used)?,
        })
    }
}

#[derive(FromRow)]
struct ProjectRow {
    id: String,
    custodian: String,
    owner: String,
    created: i64,
    deleting: bool,
    card_number: i64,
    datasets: i64,
    resealed: i64,
}

impl ProjectRow {
    fn project(self) -> Result<AuditedProject, HubError> {
        Ok(AuditedProject {
            project: parsed(&self.id)?,
            custodian: from_word(self.custodian)?,
            owner: parsed(&self.owner)?,
            card_number: small(self.card_number)?,
            datasets: unsigned(self.datasets)?,
            resealed: unsigned(self.resealed)?,
            created: time(self.created)?,
            deleting: self.deleting,
        })
    }
}
