//! Passkeys: added by somebody who has just proved to be there, and then enough to sign in.
//!
//! A passkey is made for a host name, so that no other site can have it used (`credential::passkey` checks that). It is kept by the
//! authenticator with the account's id, so nobody types a name; and it signs in the account that this hub keeps it for,
//! whatever the authenticator says of itself.

use api::AccountId;
use credential::passkey::{ALGORITHMS, Asked, PasskeyError, challenge_of, register, verify};
use data_encoding::BASE64URL_NOPAD;
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::{Token, Visitor, Way, begin, person};
use crate::HubError;
use crate::app::accounts::name;
use crate::app::caller::{Caller, object};
use crate::app::notices;
use crate::data;
use crate::data::passkeys::Passkey;
use crate::policy::Action;
use crate::state::Hub;

/// How many passkeys an account may have.
const MOST: usize = 20;
/// How long a browser asks for a passkey, in milliseconds.
const TIMEOUT_MS: u32 = 300_000;
/// For what a challenge was sent: a sign-in.
const SIGN_IN: &str = "passkey.sign-in";

/// Where a page is, as passkeys see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// `host:port`, one of the hub's own.
    pub(crate) authority: &'a str,
    /// The host alone.
    pub(crate) host: &'a str,
}

impl Place<'_> {
    fn origin(&self) -> String {
        format!("https://{}", self.authority)
    }

    /// Passkeys are made for names; an address is none.
    fn check(&self) -> Result<(), HubError> {
        if self.host.starts_with('[') || self.host.parse::<std::net::IpAddr>().is_ok() {
            return Err(HubError::bad_request(format!(
                "a passkey is made for a host name, and `{}` is an address",
                self.host
            ))
            .hint("open this hub by its name; `chorion serve --name` gives it one"));
        }
        Ok(())
    }
}

/// What a page hands to the browser's own dialogue, and the challenge inside.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Options(serde_json::Value);

fn challenge(hub: &Hub, visitor: &Visitor, kind: &str) -> Result<String, HubError> {
    Ok(BASE64URL_NOPAD.encode(&hub.challenges.send_out(visitor, kind)?))
}

fn adding(account: AccountId) -> String {
    format!("passkey.add:{account}")
}

/// What the browser needs to make a passkey for the caller.
pub(crate) async fn options_to_add(
    hub: &Hub,
    visitor: &Visitor,
    caller: &Caller,
    place: Place<'_>,
) -> Result<Options, HubError> {
    caller.may_here(Action::PasskeyAdd)?;
    place.check()?;
    let account = person(caller)?;
    let mut reader = hub.db.read().await?;
    let there = data::passkeys::list(&mut reader, account.id).await?;
    let sign_in_name = data::passwords::name_of(&mut reader, account.id).await?;
    drop(reader);
    let exclude: Vec<_> = there
        .iter()
        .map(|passkey| {
            json!({"type": "public-key", "id": BASE64URL_NOPAD.encode(&passkey.credential)})
        })
        .collect();
    let kinds: Vec<_> =
        ALGORITHMS.iter().map(|alg| json!({"type": "public-key", "alg": alg})).collect();
    Ok(Options(json!({
        "challenge": challenge(hub, visitor, &adding(account.id))?,
        "rp": {"id": place.host, "name": "Chorion"},
        "user": {
            "id": BASE64URL_NOPAD.encode(account.id.to_bytes().as_ref()),
            "name": sign_in_name.as_deref().unwrap_or(&account.name),
            "displayName": account.name,
        },
        "pubKeyCredParams": kinds,
        "timeout": TIMEOUT_MS,
        "excludeCredentials": exclude,
        "authenticatorSelection": {
            "residentKey": "required", "requireResidentKey": true, "userVerification": "required",
        },
        "attestation": "none",
    })))
}

fn decoded(text: &str) -> Result<Vec<u8>, HubError> {
    BASE64URL_NOPAD
        .decode(text.as_bytes())
        .map_err(|_| HubError::bad_request("the passkey's answer is not base64url"))
}

fn refused(error: PasskeyError) -> HubError {
    HubError::new(api::ErrorCode::Forbidden, error.to_string()).hint(match error {
        PasskeyError::Copied { .. } => {
            "remove this passkey from your account and make a new one: somebody else may have it"
        }
        PasskeyError::NotVerified => "use a device with a PIN, a fingerprint or a face",
        _ => "load the page anew and try again",
    })
}

/// What a browser brings back from making a passkey, base64url.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Made<'a> {
    /// Where it lies, in its owner's words.
    pub(crate) name: &'a str,
    /// The client data.
    pub(crate) client_data: &'a str,
    /// The attestation object.
    pub(crate) attestation: &'a str,
}

/// Adds a passkey.
pub(crate) async fn add(
    hub: &Hub,
    visitor: &Visitor,
    caller: &Caller,
    place: Place<'_>,
    made: Made<'_>,
) -> Result<(), HubError> {
    caller.may_here(Action::PasskeyAdd)?;
    let account = person(caller)?.id;
    let words = name(made.name, "passkey")?;
    let client_data = decoded(made.client_data)?;
    let challenge = challenge_of(&client_data).map_err(refused)?;
    let answered = hub.challenges.look(visitor, &adding(account), &challenge)?;
    let origin = place.origin();
    let asked = Asked { challenge: &challenge, origin: &origin, host: place.host };
    let registered =
        register(&asked, &client_data, &decoded(made.attestation)?).map_err(refused)?;
    let passkey = Passkey {
        id: Uuid::new_v4(),
        account,
        credential: registered.credential,
        host: place.host.to_owned(),
        public_key: registered.public_key,
        counter: registered.counter,
        name: words,
        created: caller.at,
        used: None,
    };
    let mut tx = hub.db.write().await?;
    answered.use_up(&mut tx).await?;
    if data::passkeys::list(&mut tx, account).await?.len() >= MOST {
        return Err(HubError::conflict(format!("an account has at most {MOST} passkeys"))
            .hint("remove one that you no longer use"));
    }
    if !data::passkeys::insert(&mut tx, &passkey).await? {
        return Err(HubError::conflict("this passkey is known already"));
    }
    let event = caller.event(Action::PasskeyAdd.act(), object("account", account), None);
    data::events::record(&mut tx, &event).await?;
    notices::passkey_added(&mut tx, account, caller.at).await?;
    Ok(tx.commit().await?)
}

/// What the browser needs to sign in with any passkey that it has for this host.
pub(crate) fn options_to_sign_in(
    hub: &Hub,
    visitor: &Visitor,
    place: Place<'_>,
) -> Result<Options, HubError> {
    place.check()?;
    Ok(Options(json!({
        "challenge": challenge(hub, visitor, SIGN_IN)?,
        "rpId": place.host,
        "timeout": TIMEOUT_MS,
        "userVerification": "required",
    })))
}

/// What a browser brings back from a passkey, base64url.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer<'a> {
    /// The credential's id.
    pub(crate) credential: &'a str,
    /// The client data.
    pub(crate) client_data: &'a str,
    /// The authenticator data.
    pub(crate) data: &'a str,
    /// The signature.
    pub(crate) signature: &'a str,
}

/// Signs in with a passkey; if somebody is signed in already, only with one of theirs.
pub(crate) async fn sign_in(
    hub: &Hub,
    visitor: &Visitor,
    signed_in: Option<&Caller>,
    place: Place<'_>,
    answer: Answer<'_>,
) -> Result<Token, HubError> {
    let client_data = decoded(answer.client_data)?;
    let challenge = challenge_of(&client_data).map_err(refused)?;
    let answered = hub.challenges.look(visitor, SIGN_IN, &challenge)?;
    let mut reader = hub.db.read().await?;
    let known = data::passkeys::find(&mut reader, &decoded(answer.credential)?).await?;
    drop(reader);
    let unknown = || {
        HubError::new(api::ErrorCode::Forbidden, "this passkey is not known here, or was removed")
            .hint("sign in another way and add it on your account page")
    };
    let passkey = known.filter(|passkey| passkey.host == place.host).ok_or_else(unknown)?;
    if let Some(caller) = signed_in
        && person(caller)?.id != passkey.account
    {
        return Err(HubError::new(api::ErrorCode::Forbidden, "this passkey is somebody else's")
            .hint("sign out first to sign in as somebody else"));
    }
    let refuse = |error| {
        refused(error).refusing("browser.sign-in", object("account", passkey.account), None)
    };
    let origin = place.origin();
    let asked = Asked { challenge: &challenge, origin: &origin, host: place.host };
    let counter = verify(
        &asked,
        &passkey.public_key,
        passkey.counter,
        &client_data,
        &decoded(answer.data)?,
        &decoded(answer.signature)?,
    )
    .map_err(refuse)?;
    let mut tx = hub.db.write().await?;
    answered.use_up(&mut tx).await?;
    if !data::accounts::is_in_force(&mut tx, passkey.account).await? {
        return Err(unknown());
    }
    if !data::passkeys::note_use(&mut tx, passkey.id, passkey.counter, counter, visitor.at).await? {
        return Err(refuse(PasskeyError::Copied { kept: counter, shown: counter }));
    }
    let token = begin(hub, &mut tx, visitor, passkey.account, Way::Passkey).await?;
    tx.commit().await?;
    Ok(token)
}

/// The caller's passkeys.
pub(crate) async fn list(hub: &Hub, caller: &Caller) -> Result<Vec<Passkey>, HubError> {
    data::passkeys::list(&mut *hub.db.read().await?, person(caller)?.id).await
}

/// Removes a passkey of the caller's. The last one stays where there is no password: nobody would get in any more.
pub(crate) async fn remove(hub: &Hub, caller: &Caller, id: Uuid) -> Result<(), HubError> {
    caller.may_here(Action::PasskeyRemove)?;
    let account = person(caller)?.id;
    let mut tx = hub.db.write().await?;
    if !data::passkeys::remove(&mut tx, account, id).await? {
        return Err(HubError::not_found("passkey", id));
    }
    if data::passkeys::list(&mut tx, account).await?.is_empty()
        && !data::passwords::has(&mut tx, account).await?
    {
        return Err(HubError::conflict("this is the only way in: you have no password")
            .hint("set a password first"));
    }
    let event = caller.event(Action::PasskeyRemove.act(), object("account", account), None);
    data::events::record(&mut tx, &event).await?;
    Ok(tx.commit().await?)
}
