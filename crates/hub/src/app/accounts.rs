//! Accounts: enrolled by a one-time code, made by invitation, disabled by an operator.

use api::{
    Account, AccountId, Enrol, ErrorCode, Invitation, Invite, Key, KeyKind, Outcome, RequestId,
    Time, Whoami,
};
use data_encoding::BASE32_NOPAD;
use jiff::SignedDuration;
use proof::{PublicKey, sha256};

use crate::HubError;
use crate::app::caller::{Caller, Who, object};
use crate::data::events::NewEvent;
use crate::data::{self, Connection};
use crate::policy::Action;
use crate::state::Hub;

/// How long a one-time code counts.
const CODE_LIFE: SignedDuration = SignedDuration::from_hours(72);
/// The longest name of an account or a key.
const NAME_CHARS: usize = 100;

/// A one-time code as it is shown, once.
pub(crate) struct NewCode {
    /// The code: 25 letters and digits in groups of five, 125 bits.
    pub(crate) code: String,
    /// Until when it counts.
    pub(crate) expires: Time,
}

/// Makes a code for `account`, or for a first operator, and keeps its hash.
pub(super) async fn new_code(
    at: &mut Connection,
    account: Option<AccountId>,
    now: Time,
) -> Result<NewCode, HubError> {
    let mut random = [0; 16];
    seal::fill_random(&mut random)
        .map_err(|e| HubError::internal("the hub has no randomness for a code", e))?;
    let letters = BASE32_NOPAD.encode(&random);
    let groups: Vec<&str> =
        (0..5).map(|group| letters.get(group * 5..group * 5 + 5).unwrap_or_default()).collect();
    let code = groups.join("-");
    let expires = now
        .checked_add(CODE_LIFE)
        .map_err(|e| HubError::internal("the hub's clock is at the end of time", e))?;
    data::codes::insert(at, sha256(code.as_bytes()), account, expires).await?;
    Ok(NewCode { code, expires })
}

/// Makes a new code for a first operator if nobody can run this hub; one from an earlier start counts no more.
pub(crate) async fn first_code(hub: &Hub) -> Result<Option<NewCode>, HubError> {
    let mut tx = hub.db.write().await?;
    let now = hub.now();
    if data::accounts::working_operators(&mut tx, now).await? > 0 {
        return Ok(None);
    }
    data::codes::sweep(&mut tx, now).await?;
    let code = new_code(&mut tx, None, now).await?;
    tx.commit().await?;
    Ok(Some(code))
}

/// A call by a key that is not known yet.
#[derive(Debug)]
pub(crate) struct Enrolling {
    /// The key that signed it.
    pub(crate) key: PublicKey,
    /// Its id.
    pub(crate) request: RequestId,
    /// When it arrived.
    pub(crate) at: Time,
}

/// Enrols the first key of an account.
pub(crate) async fn enrol(hub: &Hub, call: &Enrolling, body: Enrol) -> Result<Whoami, HubError> {
    let key_name = name(&body.key_name, "key")?;
    let bad_code = || {
        HubError::new(ErrorCode::BadCode, "the one-time code is wrong, used or expired")
            .hint("ask an operator for a new invitation; the first one is printed when the hub starts")
            .refusing("account.enrol", object("key", call.key.id()), None)
    };
    let code = body.code.trim().to_ascii_uppercase();
    let mut tx = hub.db.write().await?;
    let Some(for_whom) = data::codes::take(&mut tx, sha256(code.as_bytes()), call.at).await? else {
        return Err(bad_code());
    };
    let mut kind = KeyKind::Person;
    let account = match for_whom {
        Some(id) => match data::accounts::find(&mut tx, id).await? {
            Some(person) => person,
            None => {
                kind = KeyKind::Instrument;
                data::instruments::account(&mut tx, id).await?.ok_or_else(bad_code)?
            }
        },
        None => {
            let account = Account {
                id: AccountId::generate(),
                name: name(&body.account_name, "account")?,
                operator: true,
                created: call.at,
                disabled: None,
                belongs: None,
            };
            data::accounts::insert(&mut tx, &account).await?;
            account
        }
    };
    let key = Key {
        id: call.key.id(),
        account: account.id,
        kind,
        name: key_name,
        public_key: body.public_key,
        created: call.at,
        revoked: None,
        limit: None,
        app: None,
    };
    data::keys::insert(&mut tx, &key).await.map_err(|e| super::keys::taken(e, key.id))?;
    let event = NewEvent {
        at: call.at,
        actor: object("account", account.id),
        act: "account.enrol",
        object: object("key", key.id),
        project: None,
        purpose: None,
        outcome: Outcome::Done,
        reason: None,
        request: Some(call.request),
    };
    data::events::record(&mut tx, &event).await?;
    tx.commit().await?;
    super::descriptions::keep_after(hub).await;
    Ok(Whoami { account, key, hub: hub.info() })
}

/// Who signs.
pub(crate) fn whoami(hub: &Hub, caller: &Caller) -> Result<Whoami, HubError> {
    caller.may_here(Action::Whoami)?;
    match &caller.who {
        Who::Account { account, key } | Who::Instrument { account, key, .. } => {
            Ok(Whoami { account: account.clone(), key: key.clone(), hub: hub.info() })
        }
        Who::Browser { .. } => Err(HubError::bad_request("a browser has no key to tell of")),
        Who::Vault { task, .. } => Err(HubError::not_found("account of the vault of task", task)),
    }
}

/// All accounts.
pub(crate) async fn list(
    hub: &Hub,
    caller: &Caller,
    after: &str,
    rows: i64,
) -> Result<Vec<Account>, HubError> {
    caller.may_here(Action::AccountList)?;
    data::accounts::list(&mut *hub.db.read().await?, after, rows).await
}

/// Makes an account and the code that enrols its first key.
pub(crate) async fn invite(
    hub: &Hub,
    caller: &Caller,
    body: Invite,
) -> Result<Invitation, HubError> {
    caller.may_here(Action::AccountInvite)?;
    let account = Account {
        id: AccountId::generate(),
        name: name(&body.name, "account")?,
        operator: body.operator,
        created: caller.at,
        disabled: None,
        belongs: None,
    };
    let mut tx = hub.db.write().await?;
    data::accounts::insert(&mut tx, &account).await?;
    let NewCode { code, expires } = new_code(&mut tx, Some(account.id), caller.at).await?;
    let event = caller.event(Action::AccountInvite.act(), object("account", account.id), None);
    data::events::record(&mut tx, &event).await?;
    tx.commit().await?;
    Ok(Invitation { account, code, expires })
}

/// Disables an account, from its next call on.
pub(crate) async fn disable(
    hub: &Hub,
    caller: &Caller,
    id: AccountId,
) -> Result<Account, HubError> {
    caller.may_here(Action::AccountDisable)?;
    if id == caller.account() {
        return Err(HubError::conflict("an account does not disable itself")
            .hint("another operator can, so that somebody always runs this hub"));
    }
    let mut tx = hub.db.write().await?;
    let mut account = data::accounts::find(&mut tx, id)
        .await?
        .ok_or_else(|| HubError::not_found("account", id))?;
    if data::accounts::disable(&mut tx, id, caller.at).await? {
        account.disabled = Some(caller.at);
        data::codes::remove_for(&mut tx, id).await?;
        data::browsers::end_all(&mut tx, id).await?;
        let event = caller.event(Action::AccountDisable.act(), object("account", id), None);
        data::events::record(&mut tx, &event).await?;
    }
    tx.commit().await?;
    Ok(account)
}

/// A name that people give: not empty, not long, one line.
pub(crate) fn name(text: &str, of: &str) -> Result<String, HubError> {
    let text = text.trim();
    let chars = text.chars().count();
    if (1..=NAME_CHARS).contains(&chars) && !text.chars().any(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err(HubError::bad_request(format!(
            "the name of the {of} is not one line of 1 to {NAME_CHARS} characters"
        )))
    }
}
