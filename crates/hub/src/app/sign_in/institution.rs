//! Signing in through the institution one belongs to.
//!
//! Nobody gets an account by being known elsewhere: an institution's subject is linked to an account by the one-time code of an
//! invitation, and by nothing else. The hub keeps nothing of a sign-in while the browser is away: the state is a challenge of
//! `halfway` and, sealed under the browser's cookie, what the sign-in was begun for; nonce and verifier follow from both.
//!
//! Being signed in at the institution is not being there: what counts as the proof is the moment at which the institution says
//! that the person showed who they are, and before acts that ask for a fresh proof it must ask anew.

use api::{AccountId, ErrorCode, Time};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use credential::id_token::{Person, SKEW_SECONDS};
use data_encoding::BASE64URL_NOPAD;
use proof::sha256;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::halfway::{Answered, CHALLENGE, unknown};
use super::{FRESH, Token, Visitor, Way, begin_proved, person};
use crate::HubError;
use crate::app::caller::Caller;
use crate::data;
use crate::institution::{Asking, Institution, LONGEST_SECONDS};
use crate::policy::Action;
use crate::state::Hub;

/// For what a state was sent out.
const SIGN_IN: &str = "institution.sign-in";
/// For what a ticket was given: somebody whom the institution knows and this hub does not.
const LINK: &str = "institution.link";

const NONCE: usize = 12;

/// What a sign-in was begun for.
#[derive(Serialize, Deserialize)]
struct Begun {
    next: String,
    /// The account that is signed in and has to show once more who it is.
    confirm: Option<AccountId>,
}

/// Whom the institution knows, while they look for their one-time code.
#[derive(Serialize, Deserialize)]
struct Stranger {
    issuer: String,
    subject: String,
    proved: Time,
}

/// How a sign-in ends.
pub(crate) enum Ended {
    /// Signed in; go on there.
    SignedIn(Token, String),
    /// Known there and not here: the ticket goes with the one-time code.
    Unknown {
        /// What must come back with the code.
        ticket: String,
    },
}

fn institution(hub: &Hub) -> Result<&Institution, HubError> {
    hub.institution.as_ref().ok_or_else(|| {
        HubError::new(ErrorCode::NotOffered, "this hub knows no institution")
            .hint("`chorion serve --oidc-issuer` names one")
    })
}

/// What follows from the browser's cookie and the state, and from nothing else.
fn derived(token: &Token, what: &str, state: &str) -> Zeroizing<String> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, token.expose());
    let tag = hmac::sign(&key, format!("chorion {what}\n{state}").as_bytes());
    Zeroizing::new(BASE64URL_NOPAD.encode(tag.as_ref()))
}

/// The key under which this browser carries what nobody between may read.
fn carrying(token: &Token) -> Result<LessSafeKey, HubError> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, token.expose());
    UnboundKey::new(&AES_256_GCM, hmac::sign(&key, b"chorion carried").as_ref())
        .map(LessSafeKey::new)
        .map_err(|e| HubError::internal("a sign-in cannot be sealed", e))
}

/// A challenge to this browser that carries `what`, sealed: the institution, through which it goes, learns nothing of it.
fn send_out(
    hub: &Hub,
    visitor: &Visitor,
    kind: &str,
    what: &impl Serialize,
) -> Result<String, HubError> {
    let mut sent = hub.challenges.send_out(visitor, kind)?;
    let mut body = serde_json::to_vec(what)
        .map_err(|e| HubError::internal("a sign-in cannot be written", e))?;
    let mut nonce = [0; NONCE];
    seal::fill_random(&mut nonce)
        .map_err(|e| HubError::internal("the hub has no randomness for a sign-in", e))?;
    carrying(&visitor.token)?
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(&sent[..]),
            &mut body,
        )
        .map_err(|e| HubError::internal("a sign-in cannot be sealed", e))?;
    sent.extend(nonce);
    sent.extend(body);
    Ok(BASE64URL_NOPAD.encode(&sent))
}

/// What came back. What it lets in must use it up.
fn look<T: DeserializeOwned>(
    hub: &Hub,
    visitor: &Visitor,
    kind: &str,
    back: &str,
) -> Result<(Answered, T), HubError> {
    let back = BASE64URL_NOPAD.decode(back.as_bytes()).map_err(|_| unknown())?;
    let (challenge, carried) = back.split_at_checked(CHALLENGE).ok_or_else(unknown)?;
    let answered = hub.challenges.look(visitor, kind, challenge)?;
    let (nonce, body) = carried.split_first_chunk::<NONCE>().ok_or_else(unknown)?;
    let mut body = body.to_vec();
    let opened = carrying(&visitor.token)?
        .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(challenge), &mut body)
        .map_err(|_| unknown())?;
    serde_json::from_slice(opened).map(|what| (answered, what)).map_err(|_| unknown())
}

/// Where the browser comes back to.
fn redirect(authority: &str) -> String {
    format!("https://{authority}/sign-in/institution/return")
}

/// Begins a sign-in, and gives the address at the institution.
pub(crate) async fn set_out(
    hub: &Hub,
    visitor: &Visitor,
    authority: &str,
    next: &str,
    confirm: Option<&Caller>,
) -> Result<String, HubError> {
    let institution = institution(hub)?;
    let confirm = confirm.map(|caller| person(caller).map(|account| account.id)).transpose()?;
    let anew = confirm.is_some();
    let state = send_out(hub, visitor, SIGN_IN, &Begun { next: next.to_owned(), confirm })?;
    let (nonce, verifier) =
        (derived(&visitor.token, "nonce", &state), derived(&visitor.token, "verifier", &state));
    let redirect = redirect(authority);
    let asking =
        Asking { redirect: &redirect, state: &state, nonce: &nonce, verifier: &verifier, anew };
    institution.address(visitor.at, asking).await
}

/// What the browser brings back from the institution.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Back<'a> {
    /// The state that was sent.
    pub(crate) state: &'a str,
    /// The code for a token.
    pub(crate) code: &'a str,
    /// Which institution answers (RFC 9207).
    pub(crate) issuer: Option<&'a str>,
}

/// When the person showed at the institution who they are: a moment that it vouches for, or else long ago.
fn proved(known: &Person, now: Time) -> Result<Time, HubError> {
    let now = now.as_second();
    let said = known.signed_in.unwrap_or(now - LONGEST_SECONDS);
    if said < now - LONGEST_SECONDS - SKEW_SECONDS {
        return Err(HubError::new(
            ErrorCode::Forbidden,
            "the institution asked you too long ago who you are",
        )
        .hint("sign out there, and begin again"));
    }
    Time::from_second(said.min(now))
        .map_err(|e| HubError::internal("a moment of the institution's is none", e))
}

/// Ends a sign-in.
pub(crate) async fn come_back(
    hub: &Hub,
    visitor: &Visitor,
    authority: &str,
    back: Back<'_>,
) -> Result<Ended, HubError> {
    let institution = institution(hub)?;
    let (answered, begun): (_, Begun) = look(hub, visitor, SIGN_IN, back.state)?;
    let (nonce, verifier) = (
        derived(&visitor.token, "nonce", back.state),
        derived(&visitor.token, "verifier", back.state),
    );
    let redirect = redirect(authority);
    let asking = Asking {
        redirect: &redirect,
        state: back.state,
        nonce: &nonce,
        verifier: &verifier,
        anew: begun.confirm.is_some(),
    };
    let known = institution.person(visitor.at, asking, back.code, back.issuer).await?;
    let proved = proved(&known, visitor.at)?;
    let issuer = institution.issuer();
    let mut tx = hub.db.write().await?;
    answered.use_up(&mut tx).await?;
    let found = data::institutions::find(&mut tx, issuer, &known.subject).await?;
    if let Some(account) = begun.confirm {
        if found != Some(account) {
            return Err(HubError::new(
                ErrorCode::Forbidden,
                "somebody else signed in at the institution",
            )
            .hint("go on as the person who is signed in here, or sign out first"));
        }
        if visitor.at.duration_since(proved) > FRESH {
            return Err(HubError::new(
                ErrorCode::Forbidden,
                "the institution did not ask you once more who you are",
            )
            .hint("set a password or add a passkey after you have signed in anew"));
        }
    }
    let Some(account) = found else {
        tx.commit().await?;
        let stranger = Stranger { issuer: issuer.to_owned(), subject: known.subject, proved };
        return Ok(Ended::Unknown { ticket: send_out(hub, visitor, LINK, &stranger)? });
    };
    let token = begin_proved(hub, &mut tx, visitor, account, Way::Institution, proved).await?;
    tx.commit().await?;
    Ok(Ended::SignedIn(token, begun.next))
}

async fn link(
    tx: &mut data::Connection,
    issuer: &str,
    subject: &str,
    account: AccountId,
    visitor: &Visitor,
) -> Result<(), HubError> {
    if !data::institutions::link(tx, issuer, subject, account, visitor.at).await? {
        return Err(HubError::conflict(
            "this person of the institution has an account here already",
        )
        .hint("sign in through the institution"));
    }
    let event = visitor.event(account, Action::InstitutionLink.act());
    data::events::record(tx, &event).await
}

/// Links whom the institution knows to the account of a one-time code, and signs in.
pub(crate) async fn link_by_code(
    hub: &Hub,
    visitor: &Visitor,
    ticket: &str,
    code: &str,
) -> Result<Token, HubError> {
    let bad_code = || {
        HubError::new(ErrorCode::BadCode, "the one-time code is wrong, used or expired")
            .hint("sign in through the institution once more, and type the code of your invitation")
    };
    let code = Zeroizing::new(code.trim().to_ascii_uppercase());
    let hash = sha256(code.as_bytes());
    let (answered, stranger): (_, Stranger) = look(hub, visitor, LINK, ticket)?;
    let mut tx = hub.db.write().await?;
    answered.use_up(&mut tx).await?;
    if !data::codes::is_for_somebody(&mut tx, hash, visitor.at).await? {
        return Err(bad_code());
    }
    let Some(Some(account)) = data::codes::take(&mut tx, hash, visitor.at).await? else {
        return Err(bad_code());
    };
    if !data::accounts::is_in_force(&mut tx, account).await? {
        return Err(bad_code());
    }
    link(&mut tx, &stranger.issuer, &stranger.subject, account, visitor).await?;
    let proved = stranger.proved;
    let token = begin_proved(hub, &mut tx, visitor, account, Way::Institution, proved).await?;
    tx.commit().await?;
    Ok(token)
}

/// Whether the institution can show who the caller is.
pub(crate) async fn is_linked(hub: &Hub, caller: &Caller) -> Result<bool, HubError> {
    let Some(institution) = &hub.institution else { return Ok(false) };
    let account = person(caller)?.id;
    data::institutions::knows(&mut *hub.db.read().await?, institution.issuer(), account).await
}
