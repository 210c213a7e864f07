//! What a person sees and ends of their own: the browsers that are signed in.

use uuid::Uuid;

use super::{Browser, IDLE, LONGEST, before, person};
use crate::HubError;
use crate::app::caller::{Caller, Who, object};
use crate::data;
use crate::state::Hub;

/// How the caller can sign in, and where they are signed in.
#[derive(Debug)]
pub(crate) struct Overview {
    /// The name for a password.
    pub(crate) sign_in_name: Option<String>,
    /// Whether there is a password.
    pub(crate) has_password: bool,
    /// Signed-in browsers, the newest first.
    pub(crate) browsers: Vec<Browser>,
}

/// The caller's own.
pub(crate) async fn overview(hub: &Hub, caller: &Caller) -> Result<Overview, HubError> {
    let account = person(caller)?.id;
    let mut reader = hub.db.read().await?;
    let (created, seen) = (before(caller.at, LONGEST)?, before(caller.at, IDLE)?);
    Ok(Overview {
        sign_in_name: data::passwords::name_of(&mut reader, account).await?,
        has_password: data::passwords::has(&mut reader, account).await?,
        browsers: data::browsers::list(&mut reader, account, created, seen).await?,
    })
}

/// Signs a browser of the caller's out.
pub(crate) async fn end(hub: &Hub, caller: &Caller, id: Uuid) -> Result<(), HubError> {
    let account = person(caller)?.id;
    let mut tx = hub.db.write().await?;
    if !data::browsers::end(&mut tx, account, id).await? {
        return Err(HubError::not_found("signed-in browser", id));
    }
    let event = caller.event("browser.sign-out", object("account", account), None);
    data::events::record(&mut tx, &event).await?;
    Ok(tx.commit().await?)
}

/// Signs every other browser of the caller's out.
pub(crate) async fn end_others(hub: &Hub, caller: &Caller) -> Result<(), HubError> {
    let account = person(caller)?.id;
    let Who::Browser { browser: own, .. } = &caller.who else { return Ok(()) };
    let mut tx = hub.db.write().await?;
    data::browsers::end_others(&mut tx, account, *own).await?;
    let event = caller.event("browser.sign-out", object("account", account), None);
    data::events::record(&mut tx, &event).await?;
    Ok(tx.commit().await?)
}
