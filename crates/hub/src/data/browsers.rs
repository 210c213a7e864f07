//! Signed-in browsers: by the SHA-256 of what the browser holds, never by what it holds.

use std::net::IpAddr;

use api::{Account, AccountId, Digest, Time};
use sqlx::FromRow;
use uuid::Uuid;

use super::{Connection, from_word, micros, parsed, time, word};
use crate::HubError;

/// How a person showed who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Way {
    /// A sign-in name and a password.
    Password,
    /// A passkey.
    Passkey,
    /// The institution they belong to.
    Institution,
    /// The one-time code of an invitation.
    Code,
}

impl Way {
    /// As a page says it.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Passkey => "passkey",
            Self::Institution => "institution",
            Self::Code => "one-time code",
        }
    }
}

/// A signed-in browser.
#[derive(Debug, Clone)]
pub(crate) struct Browser {
    /// What pages call it by.
    pub(crate) id: Uuid,
    /// Who is signed in.
    pub(crate) account: AccountId,
    /// How.
    pub(crate) way: Way,
    /// What the browser calls itself.
    pub(crate) agent: String,
    /// From where.
    pub(crate) address: Option<IpAddr>,
    /// Since when.
    pub(crate) created: Time,
    /// When the person last proved to be there.
    pub(crate) proved: Time,
    /// When it last asked for something.
    pub(crate) seen: Time,
}

/// Keeps a new one.
pub(crate) async fn insert(
    at: &mut Connection,
    hash: Digest,
    browser: &Browser,
) -> Result<(), HubError> {
    sqlx::query(
        "INSERT INTO browsers (hash, id, account, way, agent, address, created, proved, seen)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(hash.to_string())
    .bind(browser.id.to_string())
    .bind(browser.account.to_string())
    .bind(word(browser.way))
    .bind(&browser.agent)
    .bind(browser.address.map(|address| address.to_string()))
    .bind(micros(browser.created))
    .bind(micros(browser.proved))
    .bind(micros(browser.seen))
    .execute(&mut *at)
    .await?;
    super::accounts::note_use(at, browser.account, browser.seen).await
}

/// The browser with this cookie and its account, if the account is in force and the browser was made after `created_after`
/// and seen after `seen_after`.
pub(crate) async fn find(
    at: &mut Connection,
    hash: Digest,
    created_after: Time,
    seen_after: Time,
) -> Result<Option<(Browser, Account)>, HubError> {
    let row: Option<AccountRow> = sqlx::query_as(
        "SELECT b.id, b.account, b.way, b.agent, b.address, b.created, b.proved, b.seen,
                a.name AS account_name, a.operator, a.created AS account_created,
                m.organization, m.role
         FROM browsers b JOIN accounts a ON a.id = b.account
         LEFT JOIN organization_members m ON m.account = a.id
         WHERE b.hash = $1 AND b.created > $2 AND b.seen > $3 AND a.disabled IS NULL
             AND a.kind = 'person'",
    )
    .bind(hash.to_string())
    .bind(micros(created_after))
    .bind(micros(seen_after))
    .fetch_optional(at)
    .await?;
    row.map(AccountRow::both).transpose()
}

/// Browsers of an account that still count, the newest first.
pub(crate) async fn list(
    at: &mut Connection,
    account: AccountId,
    created_after: Time,
    seen_after: Time,
) -> Result<Vec<Browser>, HubError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, account, way, agent, address, created, proved, seen FROM browsers
         WHERE account = $1 AND created > $2 AND seen > $3 ORDER BY created DESC, id LIMIT 200",
    )
    .bind(account.to_string())
    .bind(micros(created_after))
    .bind(micros(seen_after))
    .fetch_all(at)
    .await?;
    rows.into_iter().map(Row::browser).collect()
}

/// Notes that a browser asked for something.
pub(crate) async fn see(at: &mut Connection, id: Uuid, now: Time) -> Result<(), HubError> {
    sqlx::query("UPDATE browsers SET seen = $2 WHERE id = $1")
        .bind(id.to_string())
        .bind(micros(now))
        .execute(&mut *at)
        .await?;
    let account: Option<String> = sqlx::query_scalar("SELECT account FROM browsers WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(&mut *at)
        .await?;
    match account {
        Some(account) => super::accounts::note_use(at, parsed(&account)?, now).await,
        None => Ok(()),
    }
}

/// Ends every browser of an account but one.
pub(crate) async fn end_others(
    at: &mut Connection,
    account: AccountId,
    own: Uuid,
) -> Result<(), HubError> {
    sqlx::query("DELETE FROM browsers WHERE account = $1 AND id <> $2")
        .bind(account.to_string())
        .bind(own.to_string())
        .execute(at)
        .await?;
    Ok(())
}

/// Ends one browser of an account; says whether it was there.
pub(crate) async fn end(
    at: &mut Connection,
    account: AccountId,
    id: Uuid,
) -> Result<bool, HubError> {
    let done = sqlx::query("DELETE FROM browsers WHERE id = $1 AND account = $2")
        .bind(id.to_string())
        .bind(account.to_string())
        .execute(at)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends every browser of an account.
pub(crate) async fn end_all(at: &mut Connection, account: AccountId) -> Result<(), HubError> {
    sqlx::query("DELETE FROM browsers WHERE account = $1")
        .bind(account.to_string())
        .execute(at)
        .await?;
    Ok(())
}

/// Forgets browsers that count no more.
pub(crate) async fn sweep(
    at: &mut Connection,
    created_after: Time,
    seen_after: Time,
) -> Result<(), HubError> {
    sqlx::query("DELETE FROM browsers WHERE created <= $1 OR seen <= $2")
        .bind(micros(created_after))
        .bind(micros(seen_after))
        .execute(at)
        .await?;
    Ok(())
}

#[derive(FromRow)]
struct Row {
    id: String,
    account: String,
    way: String,
    agent: String,
    address: Option<String>,
    created: i64,
    proved: i64,
    seen: i64,
}

impl Row {
    fn browser(self) -> Result<Browser, HubError> {
        Ok(Browser {
            id: parsed(&self.id)?,
            account: parsed(&self.account)?,
            way: from_word(self.way)?,
            agent: self.agent,
            address: self.address.as_deref().map(parsed).transpose()?,
            created: time(self.created)?,
            proved: time(self.proved)?,
            seen: time(self.seen)?,
        })
    }
}

#[derive(FromRow)]
struct AccountRow {
    #[sqlx(flatten)]
    browser: Row,
    account_name: String,
    operator: bool,
    account_created: i64,
    organization: Option<String>,
    role: Option<String>,
}

impl AccountRow {
    fn both(self) -> Result<(Browser, Account), HubError> {
        let browser = self.browser.browser()?;
        let account = Account {
            id: browser.account,
            name: self.account_name,
            operator: self.operator,
            created: time(self.account_created)?,
            disabled: None,
            belongs: super::accounts::belongs(self.organization, self.role)?,
        };
        Ok((browser, account))
    }
}
