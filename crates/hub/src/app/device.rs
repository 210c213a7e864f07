//! Device codes: a machine, an outside app or an instrument asks, and a signed-in person answers elsewhere.
//!
//! The short code says which request is meant and nothing more: what is approved is the key that made the request, which
//! signs every question for the answer. So a code that is seen gives its finder nothing but the chance to approve, and
//! what must not happen is that somebody tries all codes, or approves a request unseen. Codes are short-lived, count
//! once, are kept as hashes, and an account that names ten wrong ones in an hour names no more for a while.

use std::net::IpAddr;

use api::{
    ApproveDevice, BeginDevice, DeviceAsk, DeviceCode, DevicePending, DeviceStanding, DeviceState,
    ErrorCode, Key, KeyApp, KeyKind, KeyLimit, Right, Time, Whoami,
};
use jiff::SignedDuration;
use proof::sha256;

use super::accounts::{Enrolling, name};
use super::caller::object;
use super::{Caller, Who, instruments, keys};
use crate::HubError;
use crate::data::devices::{Asker, Kept};
use crate::data::{self, Connection};
use crate::policy::Action;
use crate::state::Hub;

/// How long a code counts.
const CODE_LIFE: SignedDuration = SignedDuration::from_mins(10);
/// How long wrong codes count.
const GUESS_LIFE: SignedDuration = SignedDuration::from_hours(1);
/// How many wrong codes an account names in that time.
const MOST_GUESSES: i64 = 10;
/// How long a technician is signed on: a shift.
const SHIFT: SignedDuration = SignedDuration::from_hours(12);
/// How many requests of strangers wait at once. One more takes the place of another, from where most wait.
const MOST_WAITING: i64 = 10_000;
/// How many of them from one place, and from one that stands for many.
const MOST_FROM_ONE: (i64, i64) = (20, 500);
/// Letters of codes: no vowels, so that no word comes about, and nothing that looks like a digit (RFC 8628 section 6.1).
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
/// Between two questions of a device.
const INTERVAL_SECONDS: u32 = 2;

fn later(now: Time, by: SignedDuration) -> Result<Time, HubError> {
    now.checked_add(by).map_err(|e| HubError::internal("the hub's clock is at the end of time", e))
}

/// A new code: eight letters, 34 bits, in two groups.
fn new_code() -> Result<String, HubError> {
    let mut code = String::with_capacity(9);
    while code.len() < 9 {
        let mut random = [0; 16];
        seal::fill_random(&mut random)
            .map_err(|e| HubError::internal("the hub has no randomness for a code", e))?;
        // Bytes from 240 on would make the first letters likelier.
        let letters = random.iter().filter(|byte| **byte < 240);
        for letter in letters.map(|byte| LETTERS[usize::from(byte % 20)]) {
            match code.len() {
                4 => code.extend(['-', char::from(letter)]),
                9 => break,
                _ => code.push(char::from(letter)),
            }
        }
    }
    Ok(code)
}

/// The hash of a code as people type it: small letters, spaces and a missing hyphen are all the same.
fn hash(code: &str) -> api::Digest {
    let letters = code.chars().filter(char::is_ascii_alphabetic);
    sha256(letters.map(|letter| letter.to_ascii_uppercase()).collect::<String>().as_bytes())
}

/// A key that nobody knows asks to sign for somebody.
pub(crate) async fn begin(
    hub: &Hub,
    call: &Enrolling,
    address: Option<IpAddr>,
    body: BeginDevice,
) -> Result<DeviceCode, HubError> {
    let machine = name(&body.machine, "machine")?;
    let asks = match body.app {
        None => DeviceAsk::Login,
        Some(app) => DeviceAsk::App {
            app: KeyApp {
                name: name(&app.name, "app")?,
                publisher: name(&app.publisher, "publisher")?,
            },
        },
    };
    if let Some(limit) = &body.limit {
        keys::shape(limit, call.at)?;
    } else if matches!(asks, DeviceAsk::App { .. }) {
        return Err(HubError::bad_request("an app does not ask for everything")
            .hint("name a scope, and projects and an end where you can: `limit`"));
    }
    let mut tx = hub.db.write().await?;
    data::devices::sweep(&mut tx, call.at, later(call.at, -GUESS_LIFE)?).await?;
    if data::keys::is_known(&mut tx, call.key.id()).await? {
        return Err(keys::known(call.key.id()));
    }
    let asked = DevicePending {
        machine,
        address: address.map(|address| address.to_string()),
        asks,
        limit: body.limit,
        created: call.at,
        expires: later(call.at, CODE_LIFE)?,
    };
    let asker = room_for_one(hub, &mut tx, address).await?;
    let code = keep(hub, &mut tx, call.key.id(), body.public_key, asked, Some(&asker)).await?;
    tx.commit().await?;
    Ok(code)
}

/// Makes room for the request of a stranger, and says from where it is.
async fn room_for_one(
    hub: &Hub,
    at: &mut Connection,
    address: Option<IpAddr>,
) -> Result<Asker, HubError> {
    let from = hub.gate.from(address);
    let asker = Asker {
        place: from.place.map_or_else(|| "unknown".to_owned(), |place| place.to_string()),
        network: from
            .place
            .map_or_else(|| "unknown".to_owned(), |place| place.network().to_string()),
    };
    let (all, here) = data::devices::waiting(at, &asker.place).await?;
    let most = if from.shared { MOST_FROM_ONE.1 } else { MOST_FROM_ONE.0 };
    if from.place.is_some() && here >= most {
        return Err(HubError::new(
            ErrorCode::TooManyRequests,
            "too many devices at this address wait for an answer",
        )
        .hint("answer one of them, or wait ten minutes"));
    }
    if all >= MOST_WAITING {
        data::devices::forget_one(at).await?;
    }
    Ok(asker)
}

/// The calling instrument asks for a technician.
pub(crate) async fn begin_sign_on(
    hub: &Hub,
    caller: &Caller,
    address: Option<IpAddr>,
) -> Result<DeviceCode, HubError> {
    let instrument = instruments::calling(caller, Action::SignOn)?;
    let Who::Instrument { account, key, .. } = &caller.who else {
        return Err(HubError::not_found("instrument", instrument));
    };
    let asked = DevicePending {
        machine: account.name.clone(),
        address: address.map(|address| address.to_string()),
        asks: DeviceAsk::SignOn { instrument },
        limit: None,
        created: caller.at,
        expires: later(caller.at, CODE_LIFE)?,
    };
    let mut tx = hub.db.write().await?;
    data::devices::sweep(&mut tx, caller.at, later(caller.at, -GUESS_LIFE)?).await?;
    // Not counted with those of strangers: it is an enrolled instrument, which has one request at a time.
    let code = keep(hub, &mut tx, key.id, key.public_key.clone(), asked, None).await?;
    tx.commit().await?;
    Ok(code)
}

async fn keep(
    hub: &Hub,
    at: &mut Connection,
    key: api::KeyId,
    public_key: api::Bytes,
    asks: DevicePending,
    asker: Option<&Asker>,
) -> Result<DeviceCode, HubError> {
    let code = new_code()?;
    let shown = DeviceCode {
        page: format!("{}/device", hub.url),
        expires: asks.expires,
        interval_seconds: INTERVAL_SECONDS,
        code,
    };
    let state = DeviceState::Pending;
    let kept = Kept { hash: hash(&shown.code), key, public_key, state, asks };
    data::devices::insert(at, &kept, asker).await?;
    Ok(shown)
}

/// Whether somebody has answered the request of the calling key.
pub(crate) async fn poll(hub: &Hub, call: &Enrolling) -> Result<DeviceStanding, HubError> {
    let mut reader = hub.db.read().await?;
    let found = data::devices::of_key(&mut reader, call.key.id(), call.at).await?;
    let Some(kept) = found.filter(|kept| !matches!(kept.asks.asks, DeviceAsk::SignOn { .. }))
    else {
        return Err(HubError::new(ErrorCode::BadCode, "the code has expired, or there was none")
            .hint("begin again: the key asks for a new code"));
    };
    let who = match (kept.state, data::keys::signer(&mut reader, kept.key, call.at).await?) {
        (DeviceState::Approved, Some(data::keys::Signer::Account { key, account, .. })) => {
            Some(Whoami { account, key: *key, hub: hub.info() })
        }
        _ => None,
    };
    // Approved and revoked since: whoever did that does not want it.
    let state = match kept.state {
        DeviceState::Approved if who.is_none() => DeviceState::Refused,
        state => state,
    };
    Ok(DeviceStanding { state, who })
}

/// The request of a code, for a person who may answer it. A wrong code is counted.
async fn named(hub: &Hub, caller: &Caller, code: &str) -> Result<Kept, HubError> {
    caller.may_here(Action::DeviceAnswer)?;
    let mut tx = hub.db.write().await?;
    let since = later(caller.at, -GUESS_LIFE)?;
    let refuse = |error: HubError| error.refusing(Action::DeviceAnswer.act(), "device", None);
    if data::devices::guesses(&mut tx, caller.account(), since).await? >= MOST_GUESSES {
        return Err(refuse(
            HubError::new(ErrorCode::TooManyRequests, "too many wrong codes came from you")
                .hint("wait an hour"),
        ));
    }
    if let Some(kept) = data::devices::pending(&mut tx, hash(code), caller.at).await? {
        return Ok(kept);
    }
    data::devices::guessed(&mut tx, caller.account(), caller.at).await?;
    tx.commit().await?;
    Err(refuse(
        HubError::new(ErrorCode::BadCode, "the code is wrong, answered or expired")
            .hint("read it again where it is shown: it counts ten minutes, and once"),
    ))
}

/// What the request of a code asks.
pub(crate) async fn pending(
    hub: &Hub,
    caller: &Caller,
    code: &str,
) -> Result<DevicePending, HubError> {
    Ok(named(hub, caller, code).await?.asks)
}

fn answered() -> HubError {
    HubError::conflict("the request was answered meanwhile, or has expired")
        .hint("`chorion key list` shows whether it was you, on another machine")
}

/// Does not want it.
pub(crate) async fn refuse(hub: &Hub, caller: &Caller, code: &str) -> Result<(), HubError> {
    let kept = named(hub, caller, code).await?;
    let mut tx = hub.db.write().await?;
    // What somebody else approved meanwhile stays approved, and is not said to be refused.
    if !data::devices::answer(&mut tx, kept.hash, DeviceState::Refused, caller.at).await? {
        return Err(answered());
    }
    let event = caller.event("device.refuse", object("key", kept.key), None);
    data::events::record(&mut tx, &event).await?;
    tx.commit().await?;
    Ok(())
}

/// Lets the key that asks sign for the caller's account, or signs the caller on at the instrument that asks.
pub(crate) async fn approve(
    hub: &Hub,
    caller: &Caller,
    body: ApproveDevice,
) -> Result<DevicePending, HubError> {
    let mut kept = named(hub, caller, &body.code).await?;
    let mut tx = hub.db.write().await?;
    // Once more within this transaction: two people may answer at the same time.
    if !data::devices::answer(&mut tx, kept.hash, DeviceState::Approved, caller.at).await? {
        return Err(answered());
    }
    let (act, thing) = match &kept.asks.asks {
        DeviceAsk::SignOn { instrument } => {
            let until = later(caller.at, SHIFT)?;
            data::instruments::sign_on(&mut tx, *instrument, caller.account(), until).await?;
            super::notices::signed_on(&mut tx, caller.account(), *instrument, caller.at).await?;
            ("instrument.sign_on", object("instrument", instrument))
        }
        asks => {
            let app = match asks {
                DeviceAsk::App { app } => Some(app.clone()),
                DeviceAsk::Login | DeviceAsk::SignOn { .. } => None,
            };
            let act = if app.is_some() { "consent.give" } else { "device.approve" };
            let mut limit = narrowed(kept.asks.limit.take(), body.limit)?;
            if let Some(limit) = &mut limit {
                keys::sound(&mut tx, caller, limit, caller.at).await?;
            }
            kept.asks.limit.clone_from(&limit);
            let key = Key {
                id: kept.key,
                account: caller.account(),
                kind: KeyKind::Person,
                name: kept.asks.machine.clone(),
                public_key: kept.public_key.clone(),
                created: caller.at,
                revoked: None,
                limit,
                app,
            };
            data::keys::insert(&mut tx, &key).await.map_err(|e| keys::taken(e, key.id))?;
            super::notices::key_added(&mut tx, &key).await?;
            (act, object("key", key.id))
        }
    };
    let event = caller.event(act, thing, None);
    data::events::record(&mut tx, &event).await?;
    tx.commit().await?;
    Ok(kept.asks)
}

/// The limit to give: what was asked, or what a person made of it, which is never more.
fn narrowed(
    asked: Option<KeyLimit>,
    given: Option<KeyLimit>,
) -> Result<Option<KeyLimit>, HubError> {
    let (Some(asked), Some(given)) = (&asked, &given) else { return Ok(given.or(asked)) };
    let within = |some: &[api::ProjectId]| match &given.projects {
        Some(projects) => projects.iter().all(|project| some.contains(project)),
        None => false,
    };
    let is_less = given.scope.min(Right::Write) <= asked.scope
        && asked.projects.as_deref().is_none_or(within)
        && asked.expires.is_none_or(|end| given.expires.is_some_and(|given| given <= end));
    if is_less {
        Ok(Some(given.clone()))
    } else {
        Err(HubError::bad_request("the limit is wider than what was asked")
            .hint("narrow it, or approve what was asked"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_eight_letters_without_vowels_and_reads_the_same_however_it_is_typed() {
        for _ in 0..200 {
            let code = new_code().unwrap();
            let (front, back) = code.split_once('-').unwrap();
            assert_eq!((front.len(), back.len()), (4, 4), "{code}");
            assert!(front.bytes().chain(back.bytes()).all(|letter| LETTERS.contains(&letter)));
            let typed = format!(" {front}{back} ").to_lowercase();
            assert_eq!(hash(&typed), hash(&code));
        }
        assert_ne!(new_code().unwrap(), new_code().unwrap());
    }
}
