//! Signing in with a name and a password; setting, changing and first setting of passwords.

use api::{AccountId, ErrorCode, SetPassword};
use proof::sha256;
use zeroize::Zeroizing;

use super::work::Password;
use super::{Token, Visitor, Way, begin, person};
use crate::HubError;
use crate::app::caller::{Caller, Who, object};
use crate::app::notices;
use crate::data::passwords::Kept;
use crate::data::{self, Connection};
use crate::gate::Subject;
use crate::policy::Action;
use crate::state::Hub;

/// What a failed sign-in leaves on its address, in thousandths of a strike (`spec/limits.md`).
const STRIKE: i64 = 1000;
/// The longest sign-in name.
const NAME_BYTES: usize = 64;

/// A name to sign in by, in the one spelling that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SignInName(String);

impl SignInName {
    /// Reads a name: letters, digits and `. _ @ + -`, beginning with a letter or digit; small and capital letters are one.
    pub(crate) fn parse(text: &str) -> Result<Self, HubError> {
        let text = text.trim().to_ascii_lowercase();
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let fits = (2..=NAME_BYTES).contains(&text.len())
            && text.bytes().next().is_some_and(plain)
            && text.bytes().all(|b| plain(b) || b"._@+-".contains(&b));
        if fits {
            Ok(Self(text))
        } else {
            Err(HubError::bad_request(format!(
                "the sign-in name is not 2 to {NAME_BYTES} letters, digits and `. _ @ + -`"
            ))
            .hint("an e-mail address is one"))
        }
    }

    /// The name.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

fn wrong() -> HubError {
    HubError::new(ErrorCode::Forbidden, "the sign-in name or the password is wrong")
        .hint("an operator can invite you anew, if you do not remember them")
}

/// Signs in. Whether the name, the password or both were wrong is not told, by words or by time.
pub(crate) async fn sign_in(
    hub: &Hub,
    visitor: &Visitor,
    name: &str,
    password: Password,
) -> Result<Token, HubError> {
    let shown = check(hub, visitor, name, password).await?;
    let mut tx = hub.db.write().await?;
    let account = shown.still(&mut tx).await?;
    let token = begin(hub, &mut tx, visitor, account, Way::Password).await?;
    tx.commit().await?;
    Ok(token)
}

/// Lets the person who is signed in prove again to be there. The session gets a new token.
pub(crate) async fn prove(
    hub: &Hub,
    visitor: &Visitor,
    caller: &Caller,
    password: Password,
) -> Result<Token, HubError> {
    let account = person(caller)?.id;
    let name = data::passwords::name_of(&mut *hub.db.read().await?, account).await?;
    let Some(name) = name else { return Err(wrong()) };
    let shown = check(hub, visitor, &name, password).await?;
    if shown.account != account {
        return Err(wrong());
    }
    let mut tx = hub.db.write().await?;
    let account = shown.still(&mut tx).await?;
    let token = begin(hub, &mut tx, visitor, account, Way::Password).await?;
    tx.commit().await?;
    Ok(token)
}

/// A password that was right when it was looked at, and whose it was.
struct Shown {
    account: AccountId,
    kept: Kept,
}

impl Shown {
    /// Once more, inside the transaction that lets somebody in: the work took a while, and the password may have been changed
    /// by somebody who knew that it was known to others, or the account disabled.
    async fn still(self, at: &mut Connection) -> Result<AccountId, HubError> {
        in_force(at, self.account).await?;
        match data::passwords::kept(at, self.account).await? {
            Some(kept) if kept == self.kept => Ok(self.account),
            _ => Err(wrong()),
        }
    }
}

async fn check(
    hub: &Hub,
    visitor: &Visitor,
    name: &str,
    password: Password,
) -> Result<Shown, HubError> {
    let hash = sha256(name.trim().to_ascii_lowercase().as_bytes());
    let found = match SignInName::parse(name) {
        Ok(name) => data::passwords::find(&mut *hub.db.read().await?, name.as_str()).await?,
        Err(_) => None,
    };
    let account = found.as_ref().map(|(account, _)| *account);
    let kept = found.and_then(|(account, kept)| Some(Shown { account, kept: kept? }));
    let origin = hub.gate.from(visitor.address);
    let begun = hub.slow_down.begin(hash, origin, account, visitor.at)?;
    match hub.passwords.is_right(password, kept.as_ref().map(|shown| &shown.kept)).await {
        Ok(true) => hub.slow_down.give_back(begun),
        Ok(false) => {
            if let Some(place) = origin.place {
                // Who fails on and on is blocked in the end, whatever else they ask for.
                let subject = Subject::Address(place);
                hub.gate.strike(subject, STRIKE, ErrorCode::Forbidden, visitor.at);
            }
            return Err(match account {
                Some(account) => wrong()
                    .refusing("browser.sign-in", object("account", account), None)
                    // Otherwise the time of the answer would tell whose name it is.
                    .behind(),
                None => wrong(),
            });
        }
        Err(error) => {
            hub.slow_down.give_back(begun);
            return Err(error);
        }
    }
    kept.ok_or_else(wrong)
}

async fn in_force(at: &mut Connection, account: AccountId) -> Result<(), HubError> {
    if data::accounts::is_in_force(at, account).await? { Ok(()) } else { Err(wrong()) }
}

/// Sets name and password of an account against the one-time code of an invitation, and signs in.
pub(crate) async fn first(
    hub: &Hub,
    visitor: &Visitor,
    code: &str,
    name: &str,
    password: Password,
) -> Result<Token, HubError> {
    let bad_code = || {
        HubError::new(ErrorCode::BadCode, "the one-time code is wrong, used or expired")
            .hint("ask an operator for a new invitation; the code that the hub prints at its first start is for `chorion login`")
    };
    let name = SignInName::parse(name)?;
    password.is_fit(&[name.as_str(), "chorion"])?;
    let code = Zeroizing::new(code.trim().to_ascii_uppercase());
    let hash = sha256(code.as_bytes());
    // A code has 125 bits: nobody guesses one. It is looked at first, so that a stranger cannot have the work done.
    let mut reader = hub.db.read().await?;
    let known = data::codes::is_for_somebody(&mut reader, hash, visitor.at).await?;
    drop(reader);
    if !known {
        return Err(bad_code());
    }
    let kept = hub.passwords.keep(password).await?;
    let mut tx = hub.db.write().await?;
    let Some(Some(account)) = data::codes::take(&mut tx, hash, visitor.at).await? else {
        return Err(bad_code());
    };
    in_force(&mut tx, account).await.map_err(|_| bad_code())?;
    set_name(&mut tx, account, &name).await?;
    data::passwords::set(&mut tx, account, &kept, visitor.at).await?;
    data::events::record(&mut tx, &visitor.event(account, Action::PasswordSet.act())).await?;
    let token = begin(hub, &mut tx, visitor, account, Way::Code).await?;
    tx.commit().await?;
    Ok(token)
}

async fn set_name(
    at: &mut Connection,
    account: AccountId,
    name: &SignInName,
) -> Result<(), HubError> {
    if data::passwords::set_name(at, account, name.as_str()).await? {
        Ok(())
    } else {
        Err(HubError::conflict("this sign-in name is taken").hint("take another one"))
    }
}

/// Sets name and password of the caller's account: by a signed call, or in a browser that signed in just now. Every browser
/// that was signed in is signed out.
pub(crate) async fn set(hub: &Hub, caller: &Caller, body: SetPassword) -> Result<(), HubError> {
    caller.may_here(Action::PasswordSet)?;
    let account = person(caller)?;
    let name = SignInName::parse(&body.sign_in_name)?;
    let password = Password::new(body.password.into_inner());
    password.is_fit(&[name.as_str(), account.name.as_str(), "chorion"])?;
    let kept = hub.passwords.keep(password).await?;
    let mut tx = hub.db.write().await?;
    set_name(&mut tx, account.id, &name).await?;
    data::passwords::set(&mut tx, account.id, &kept, caller.at).await?;
    data::browsers::end_all(&mut tx, account.id).await?;
    let event = caller.event(Action::PasswordSet.act(), object("account", account.id), None);
    data::events::record(&mut tx, &event).await?;
    notices::password_changed(&mut tx, account.id, caller.at).await?;
    tx.commit().await?;
    Ok(())
}

/// As [`set`], from a browser, which stays signed in under a new token.
pub(crate) async fn change(
    hub: &Hub,
    visitor: &Visitor,
    caller: &Caller,
    body: SetPassword,
) -> Result<Token, HubError> {
    let Who::Browser { account, .. } = &caller.who else {
        return Err(HubError::bad_request("only a browser changes its password here"));
    };
    set(hub, caller, body).await?;
    let mut tx = hub.db.write().await?;
    in_force(&mut tx, account.id).await?;
    let token = begin(hub, &mut tx, visitor, account.id, Way::Password).await?;
    tx.commit().await?;
    Ok(token)
}

#[cfg(test)]
mod tests {
    use api::RequestId;
    use serde_json::json;

    use super::*;
    use crate::testing::TestHub;

    const OLD: &str = "copper vein harbour seven";

    #[tokio::test]
    async fn an_old_password_that_was_right_a_moment_ago_lets_nobody_in() {
        let hub = TestHub::start().await;
        let ada = hub.operator().await;
        let set = async |password: &str| {
            let body = json!({"sign_in_name": "ada", "password": password});
            let set = hub.call(&ada.key, "PUT", "/api/v1/account/password", body).await;
            assert!(set.status.is_success());
        };
        set(OLD).await;
        let visitor = Visitor {
            request: RequestId::generate(),
            at: hub.hub.now(),
            address: None,
            agent: String::new(),
            token: Token::draw().unwrap(),
        };
        let typed = || Password::new(Zeroizing::new(OLD.to_owned()));
        let shown = async || check(&hub.hub, &visitor, "ada", typed()).await.unwrap();
        let (before, in_time) = (shown().await, shown().await);
        let mut tx = hub.hub.db.write().await.unwrap();
        assert_eq!(in_time.still(&mut tx).await.unwrap(), ada.account);
        drop(tx);
        // It was looked at, and before the session is made somebody changes it.
        set("seven harbours of copper").await;
        let mut tx = hub.hub.db.write().await.unwrap();
        assert_eq!(before.still(&mut tx).await.unwrap_err().code(), ErrorCode::Forbidden);
    }

    #[test]
    fn a_sign_in_name_has_one_spelling() {
        assert_eq!(SignInName::parse(" Ada@Lab.Example ").unwrap().as_str(), "ada@lab.example");
        for wrong in ["", "a", "-ada", "ada lovelace", "ädä", "a\nb", "<script>", &"a".repeat(65)]
        {
            assert!(SignInName::parse(wrong).is_err(), "{wrong}");
        }
    }
}
