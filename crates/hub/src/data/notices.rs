//! Notices, where mail about them goes, and the mail that waits.

use api::{AccountId, KeyId, Notice, NoticeId, NoticeKind, OrganizationId, ProjectId, Time};
use sqlx::FromRow;

use super::{
    Connection, from_word, micros, parsed, parsed_or_none, small, time, time_or_none, word,
};
use crate::HubError;

/// A notice about to be told.
#[derive(Debug)]
pub(crate) struct NewNotice<'a> {
    /// To whom.
    pub(crate) account: AccountId,
    /// What happened.
    pub(crate) kind: NoticeKind,
    /// To which thing, as `kind:id`.
    pub(crate) subject: String,
    /// The thing's project.
    pub(crate) project: Option<ProjectId>,
    /// A name under which it is told once.
    pub(crate) once: Option<&'a str>,
    /// When.
    pub(crate) at: Time,
}

/// Tells it, within the transaction of what happened; a mail waits from then on for who wants any.
pub(crate) async fn tell(at: &mut Connection, new: &NewNotice<'_>) -> Result<(), HubError> {
    let told = sqlx::query(
        "INSERT INTO notices (id, account, kind, subject, project, at, once)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (once) DO NOTHING",
    )
    .bind(NoticeId::generate().to_string())
    .bind(new.account.to_string())
    .bind(word(new.kind))
    .bind(&new.subject)
    .bind(new.project.map(|id| id.to_string()))
    .bind(micros(new.at))
    .bind(new.once)
    .execute(&mut *at)
    .await?;
    if told.rows_affected() == 0 {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO mails (account, due, tries) SELECT account, $2, 0 FROM mail_addresses WHERE account = $1
         ON CONFLICT (account) DO NOTHING",
    )
    .bind(new.account.to_string())
    .bind(micros(new.at))
    .execute(at)
    .await?;
    Ok(())
}

/// Notices of an account after `after`, the unread alone if so asked.
pub(crate) async fn list(
    at: &mut Connection,
    account: AccountId,
    unread: bool,
    after: &str,
    limit: i64,
) -> Result<Vec<Notice>, HubError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, kind, subject, project, at, read FROM notices
         WHERE account = $1 AND id > $2 AND (read IS NULL OR NOT $3) ORDER BY id LIMIT $4",
    )
    .bind(account.to_string())
    .bind(after)
    .bind(unread)
    .bind(limit)
    .fetch_all(at)
    .await?;
    rows.into_iter().map(Row::notice).collect()
}

/// Marks a notice of this account as read; gives it, if there is one.
pub(crate) async fn set_read(
    at: &mut Connection,
    account: AccountId,
    id: NoticeId,
    now: Time,
) -> Result<Option<Notice>, HubError> {
    let row: Option<Row> = sqlx::query_as(
        "UPDATE notices SET read = coalesce(read, $3) WHERE id = $1 AND account = $2
         RETURNING id, kind, subject, project, at, read",
    )
    .bind(id.to_string())
    .bind(account.to_string())
    .bind(micros(now))
    .fetch_optional(at)
    .await?;
    row.map(Row::notice).transpose()
}

/// Forgets notices that were read before `read`, and all from before `told`.
pub(crate) async fn forget(at: &mut Connection, read: Time, told: Time) -> Result<u64, HubError> {
    let gone = sqlx::query("DELETE FROM notices WHERE read < $1 OR at < $2")
        .bind(micros(read))
        .bind(micros(told))
        .execute(at)
        .await?;
    Ok(gone.rows_affected())
}

/// Keys in force that end between `now` and `until`, with their accounts.
pub(crate) async fn ending_keys(
    at: &mut Connection,
    now: Time,
    until: Time,
) -> Result<Vec<(KeyId, AccountId)>, HubError> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT id, account FROM account_keys WHERE revoked IS NULL AND expires > $1 AND expires <= $2",
    )
    .bind(micros(now))
    .bind(micros(until))
    .fetch_all(at)
    .await?;
    rows.iter().map(|(key, account)| Ok((parsed(key)?, parsed(account)?))).collect()
}

/// Accounts that run this hub.
pub(crate) async fn operators(at: &mut Connection) -> Result<Vec<AccountId>, HubError> {
    let ids: Vec<String> =
        sqlx::query_scalar("SELECT id FROM accounts WHERE operator = 1 AND disabled IS NULL")
            .fetch_all(at)
            .await?;
    ids.iter().map(|id| parsed(id)).collect()
}

/// Organizations whose key is asked for with credentials that end before `soon`, or have ended, and each of their administrators.
pub(crate) async fn ending_credentials(
    at: &mut Connection,
    soon: Time,
) -> Result<Vec<(OrganizationId, AccountId)>, HubError> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT s.organization, a.id FROM organization_services s
         JOIN organization_members m ON m.organization = s.organization AND m.role = 'administrator'
         JOIN accounts a ON a.id = m.account AND a.disabled IS NULL
         WHERE s.secret_expires < $1",
    )
    .bind(micros(soon))
    .fetch_all(at)
    .await?;
    rows.iter()
        .map(|(organization, account)| Ok((parsed(organization)?, parsed(account)?)))
        .collect()
}

/// Accounts that count.
pub(crate) async fn everybody(at: &mut Connection) -> Result<Vec<AccountId>, HubError> {
    let ids: Vec<String> =
        sqlx::query_scalar("SELECT id FROM accounts WHERE kind = 'person' AND disabled IS NULL")
            .fetch_all(at)
            .await?;
    ids.iter().map(|id| parsed(id)).collect()
}

/// Where mail for an account goes.
pub(crate) async fn address(
    at: &mut Connection,
    account: AccountId,
) -> Result<Option<String>, HubError> {
    let query = sqlx::query_scalar("SELECT address FROM mail_addresses WHERE account = $1");
    Ok(query.bind(account.to_string()).fetch_optional(at).await?)
}

/// Sets where mail goes, or that none does; mail that waits goes with the old address.
pub(crate) async fn set_address(
    at: &mut Connection,
    account: AccountId,
    address: Option<&str>,
) -> Result<(), HubError> {
    sqlx::query("DELETE FROM mail_addresses WHERE account = $1")
        .bind(account.to_string())
        .execute(&mut *at)
        .await?;
    if let Some(address) = address {
        sqlx::query("INSERT INTO mail_addresses (account, address) VALUES ($1, $2)")
            .bind(account.to_string())
            .bind(address)
            .execute(at)
            .await?;
    }
    Ok(())
}

/// A mail that waits.
#[derive(Debug)]
pub(crate) struct Mail {
    /// For whom.
    pub(crate) account: AccountId,
    /// Where it goes.
    pub(crate) address: String,
    /// How often it was tried.
    pub(crate) tries: u32,
}

/// The mail that is due, if there is any; what nobody needs any more, since all was read meanwhile, is put away before.
pub(crate) async fn due(at: &mut Connection, now: Time) -> Result<Option<Mail>, HubError> {
    sqlx::query(
        "DELETE FROM mails WHERE due <= $1 AND (
             NOT EXISTS (SELECT 1 FROM notices n WHERE n.account = mails.account AND n.read IS NULL)
             OR EXISTS (SELECT 1 FROM accounts a WHERE a.id = mails.account AND a.disabled IS NOT NULL))",
    )
    .bind(micros(now))
    .execute(&mut *at)
    .await?;
    let row: Option<(String, String, i64)> = sqlx::query_as(
        "SELECT m.account, a.address, m.tries FROM mails m JOIN mail_addresses a ON a.account = m.account
         WHERE m.due <= $1 ORDER BY m.due LIMIT 1",
    )
    .bind(micros(now))
    .fetch_optional(at)
    .await?;
    row.map(|(account, address, tries)| {
        Ok(Mail { account: parsed(&account)?, address, tries: small(tries)? })
    })
    .transpose()
}

/// Puts a mail off until `due`, after one more try.
pub(crate) async fn put_off(
    at: &mut Connection,
    account: AccountId,
    due: Time,
) -> Result<(), HubError> {
    sqlx::query("UPDATE mails SET due = $2, tries = tries + 1 WHERE account = $1")
        .bind(account.to_string())
        .bind(micros(due))
        .execute(at)
        .await?;
    Ok(())
}

/// Takes a mail from those that wait: it was sent, or never will be.
pub(crate) async fn take(at: &mut Connection, account: AccountId) -> Result<(), HubError> {
    sqlx::query("DELETE FROM mails WHERE account = $1")
        .bind(account.to_string())
        .execute(at)
        .await?;
    Ok(())
}

#[derive(FromRow)]
struct Row {
    id: String,
    kind: String,
    subject: String,
    project: Option<String>,
    at: i64,
    read: Option<i64>,
}

impl Row {
    fn notice(self) -> Result<Notice, HubError> {
        Ok(Notice {
            id: parsed(&self.id)?,
            kind: from_word(self.kind)?,
            subject: self.subject,
            project: parsed_or_none(self.project)?,
            at: time(self.at)?,
            read: time_or_none(self.read)?,
        })
    }
}
