//! Signing in with a browser: a password, a passkey or an institution shows who is there, and a session remembers it.
//!
//! A session is a row here and a random token in a cookie there; the row holds the token's SHA-256 alone. It ends after 30
//! idle minutes or 12 hours, when its account is disabled, and when the password changes. Its token is drawn anew whenever
//! the person proves again to be there, so that a token from before is worth nothing after.

pub(crate) mod account;
mod halfway;
pub(crate) mod institution;
pub(crate) mod passkey;
pub(crate) mod password;
mod slow_down;
pub(crate) mod work;

use std::fmt;
use std::net::IpAddr;

use api::{Account, AccountId, Digest, Outcome, RequestId, Time};
use aws_lc_rs::hmac;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use jiff::SignedDuration;
use proof::sha256;
use uuid::Uuid;
use zeroize::Zeroizing;

pub(crate) use crate::data::browsers::{Browser, Way};
pub(crate) use halfway::Challenges;
pub(crate) use slow_down::SlowDown;

use crate::HubError;
use crate::app::caller::{Caller, Who, object};
use crate::data::events::NewEvent;
use crate::data::{self, Connection};
use crate::state::Hub;

/// After how long without a request a session ends.
pub(crate) const IDLE: SignedDuration = SignedDuration::from_mins(30);
/// After how long it ends in any case.
pub(crate) const LONGEST: SignedDuration = SignedDuration::from_hours(12);
/// How long a proof counts as fresh: before transfer, deletion and changes of keys.
pub(crate) const FRESH: SignedDuration = SignedDuration::from_mins(5);
/// How old the note of the last request may be before it is written again.
const SEE_EVERY: SignedDuration = SignedDuration::from_secs(60);
/// Of what the mark of forms is the HMAC, and how long that is.
const FORM: &[u8] = b"chorion form";
const FORM_BYTES: usize = 32;
/// How much of what a browser calls itself is kept.
const AGENT_CHARS: usize = 200;

/// 256 random bits in a cookie: whoever holds it is the browser it was given to.
#[derive(Clone)]
pub(crate) struct Token(Zeroizing<[u8; 32]>);

impl Token {
    /// A new one.
    pub(crate) fn draw() -> Result<Self, HubError> {
        let mut bytes = Zeroizing::new([0; 32]);
        seal::fill_random(&mut *bytes)
            .map_err(|e| HubError::internal("the hub has no randomness for a token", e))?;
        Ok(Self(bytes))
    }

    /// Reads what a cookie says.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(BASE64URL_NOPAD.decode(text.as_bytes()).ok()?);
        Some(Self(Zeroizing::new(bytes.as_slice().try_into().ok()?)))
    }

    /// As the cookie says it.
    pub(crate) fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64URL_NOPAD.encode(&*self.0))
    }

    /// Its bytes, for what follows from them.
    fn expose(&self) -> &[u8] {
        &*self.0
    }

    /// By what it is kept.
    pub(crate) fn hash(&self) -> Digest {
        sha256(&*self.0)
    }

    /// What the forms of one page of this browser carry. It follows from the cookie, which another site can neither read nor set,
    /// and lies under a mask drawn for this page, so that the length of pages that are sent compressed tells nothing of it (BREACH).
    pub(crate) fn form_token(&self) -> Result<String, HubError> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &*self.0);
        let mark = hmac::sign(&key, FORM);
        let mut mask = [0; FORM_BYTES];
        seal::fill_random(&mut mask)
            .map_err(|e| HubError::internal("the hub has no randomness for a form", e))?;
        let masked = mark.as_ref().iter().zip(mask).map(|(byte, under)| byte ^ under);
        Ok(HEXLOWER.encode(&mask.into_iter().chain(masked).collect::<Vec<u8>>()))
    }

    /// Whether a form carries what it should, without telling by time how much of it is right.
    pub(crate) fn is_form_token(&self, text: &str) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &*self.0);
        let Ok(bytes) = HEXLOWER.decode(text.as_bytes()) else { return false };
        let Some((mask, masked)) = bytes.split_first_chunk::<FORM_BYTES>() else { return false };
        let mark: Vec<u8> = masked.iter().zip(mask).map(|(byte, under)| byte ^ under).collect();
        masked.len() == FORM_BYTES && hmac::verify(&key, FORM, &mark).is_ok()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Who is at the other end before anybody has signed in.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    /// The request's id.
    pub(crate) request: RequestId,
    /// When it arrived.
    pub(crate) at: Time,
    /// From where, where the server knows.
    pub(crate) address: Option<IpAddr>,
    /// What the browser calls itself.
    pub(crate) agent: String,
    /// The browser's cookie: that of its session, or the one every browser gets with its first form.
    pub(crate) token: Token,
}

impl Visitor {
    /// An event of this request that was done; `who` did it.
    fn event(&self, who: AccountId, act: &'static str) -> NewEvent {
        let name = object("account", who);
        NewEvent {
            at: self.at,
            actor: name.clone(),
            act,
            object: name,
            project: None,
            purpose: None,
            outcome: Outcome::Done,
            reason: None,
            request: Some(self.request),
        }
    }
}

fn before(now: Time, life: SignedDuration) -> Result<Time, HubError> {
    now.checked_sub(life)
        .map_err(|e| HubError::internal("the hub's clock is at the beginning of time", e))
}

/// Begins a session for `account` and gives its token. One that this browser had before ends.
pub(crate) async fn begin(
    hub: &Hub,
    at: &mut Connection,
    visitor: &Visitor,
    account: AccountId,
    way: Way,
) -> Result<Token, HubError> {
    begin_proved(hub, at, visitor, account, way, visitor.at).await
}

/// As [`begin`], for somebody who proved to be there at another moment.
async fn begin_proved(
    hub: &Hub,
    at: &mut Connection,
    visitor: &Visitor,
    account: AccountId,
    way: Way,
    proved: Time,
) -> Result<Token, HubError> {
    let (created, seen) = (before(visitor.at, LONGEST)?, before(visitor.at, IDLE)?);
    data::browsers::sweep(at, created, seen).await?;
    if let Some((old, _)) = data::browsers::find(at, visitor.token.hash(), created, seen).await? {
        data::browsers::end(at, old.account, old.id).await?;
    }
    let token = Token::draw()?;
    let browser = Browser {
        id: Uuid::new_v4(),
        account,
        way,
        agent: visitor.agent.chars().filter(|c| !c.is_control()).take(AGENT_CHARS).collect(),
        address: visitor.address,
        created: visitor.at,
        proved,
        seen: visitor.at,
    };
    data::browsers::insert(at, token.hash(), &browser).await?;
    data::events::record(at, &visitor.event(account, "browser.sign-in")).await?;
    hub.slow_down.forget(account);
    Ok(token)
}

/// Who this token signs in, and the session; nothing if it counts no more.
pub(crate) async fn resume(
    hub: &Hub,
    token: &Token,
    request: RequestId,
    now: Time,
) -> Result<Option<(Caller, Browser)>, HubError> {
    let (created, seen) = (before(now, LONGEST)?, before(now, IDLE)?);
    let mut reader = hub.db.read().await?;
    let found = data::browsers::find(&mut reader, token.hash(), created, seen).await?;
    drop(reader);
    let Some((browser, account)) = found else { return Ok(None) };
    if now.duration_since(browser.seen) > SEE_EVERY {
        let mut tx = hub.db.write().await?;
        data::browsers::see(&mut tx, browser.id, now).await?;
        tx.commit().await?;
    }
    let who = Who::Browser { account, browser: browser.id };
    let seen = hub.db.seen().clone();
    Ok(Some((Caller { who, request, at: now, seen }, browser)))
}

/// Whether the person proved to be there just now.
pub(crate) fn is_fresh(browser: &Browser, now: Time) -> bool {
    let since = now.duration_since(browser.proved);
    (SignedDuration::ZERO..=FRESH).contains(&since)
}

/// The account of a session's caller.
pub(crate) fn person(caller: &Caller) -> Result<&Account, HubError> {
    match &caller.who {
        Who::Browser { account, .. } | Who::Account { account, .. } => Ok(account),
        Who::Instrument { id, .. } => Err(HubError::not_found("person at instrument", id)),
        Who::Vault { task, .. } => Err(HubError::not_found("account of the vault of task", task)),
    }
}
