//! Instruments: enrolled by an operator with a one-time code that is typed at them, and used in the name of the technician
//! who is signed on.
//!
//! An instrument's key alone finds no project. While a technician is signed on, it makes runs where that technician may, and
//! those runs are the technician's; the instrument is their writer, and goes on sending them after the technician has left.

use api::{EnrolInstrument, Instrument, InstrumentId, InstrumentInvitation, Shift, SignOn};

use super::accounts::{NewCode, name, new_code};
use super::caller::object;
use super::{Caller, Who};
use crate::HubError;
use crate::data;
use crate::policy::Action;
use crate::state::Hub;

/// Makes an instrument and the code that enrols its key.
pub(crate) async fn enrol(
    hub: &Hub,
    caller: &Caller,
    body: EnrolInstrument,
) -> Result<InstrumentInvitation, HubError> {
    caller.may_here(Action::InstrumentEnrol)?;
    let instrument = Instrument {
        id: InstrumentId::generate(),
        name: name(&body.name, "instrument")?,
        enrolled: false,
        created: caller.at,
        revoked: None,
    };
    let mut tx = hub.db.write().await?;
    data::instruments::insert(&mut tx, &instrument).await?;
    let NewCode { code, expires } =
        new_code(&mut tx, Some(instrument.id.account()), caller.at).await?;
    let thing = object("instrument", instrument.id);
    let event = caller.event(Action::InstrumentEnrol.act(), thing, None);
    data::events::record(&mut tx, &event).await?;
    tx.commit().await?;
    Ok(InstrumentInvitation { instrument, code, expires })
}

/// All instruments.
pub(crate) async fn list(
    hub: &Hub,
    caller: &Caller,
    after: &str,
    rows: i64,
) -> Result<Vec<Instrument>, HubError> {
    caller.may_here(Action::InstrumentList)?;
    data::instruments::list(&mut *hub.db.read().await?, after, rows).await
}

/// Revokes an instrument: its key signs no more, and its code counts no more.
pub(crate) async fn revoke(
    hub: &Hub,
    caller: &Caller,
    id: InstrumentId,
) -> Result<Instrument, HubError> {
    caller.may_here(Action::InstrumentRevoke)?;
    let mut tx = hub.db.write().await?;
    let mut instrument = data::instruments::find(&mut tx, id)
        .await?
        .ok_or_else(|| HubError::not_found("instrument", id))?;
    if data::accounts::disable(&mut tx, id.account(), caller.at).await? {
        instrument.revoked = Some(caller.at);
        data::codes::remove_for(&mut tx, id.account()).await?;
        data::instruments::sign_off(&mut tx, id).await?;
        let event = caller.event(Action::InstrumentRevoke.act(), object("instrument", id), None);
        data::events::record(&mut tx, &event).await?;
    }
    tx.commit().await?;
    Ok(instrument)
}

/// The calling instrument.
pub(super) fn calling(caller: &Caller, action: Action) -> Result<InstrumentId, HubError> {
    caller.may_here(action)?;
    match &caller.who {
        Who::Instrument { id, .. } => Ok(*id),
        Who::Account { .. } | Who::Browser { .. } | Who::Vault { .. } => {
            Err(HubError::conflict("nobody signs on here: this key is no enrolled instrument's")
                .hint("an operator enrols one: `chorion instrument enrol NAME`"))
        }
    }
}

/// In whose name the calling instrument sends now.
pub(crate) async fn signed_on(hub: &Hub, caller: &Caller) -> Result<SignOn, HubError> {
    let id = calling(caller, Action::SignOn)?;
    data::instruments::signed_on(&mut *hub.db.read().await?, id, caller.at).await
}

/// Signs off whoever is signed on at the calling instrument. Runs under way go on.
pub(crate) async fn sign_off(hub: &Hub, caller: &Caller) -> Result<SignOn, HubError> {
    let id = calling(caller, Action::SignOn)?;
    let mut tx = hub.db.write().await?;
    if data::instruments::sign_off(&mut tx, id).await? {
        let event = caller.event("instrument.sign_off", object("instrument", id), None);
        data::events::record(&mut tx, &event).await?;
    }
    tx.commit().await?;
    Ok(SignOn { technician: None, name: None, until: None })
}

/// Instruments at which the caller is signed on.
pub(crate) async fn shifts(
    hub: &Hub,
    caller: &Caller,
    after: &str,
    rows: i64,
) -> Result<Vec<Shift>, HubError> {
    caller.may_here(Action::ShiftList)?;
    let mut reader = hub.db.read().await?;
    data::instruments::shifts(&mut reader, caller.account(), caller.at, after, rows).await
}

/// Signs the caller off at an instrument, from elsewhere. Runs under way go on.
pub(crate) async fn end_shift(
    hub: &Hub,
    caller: &Caller,
    id: InstrumentId,
) -> Result<Shift, HubError> {
    caller.may_here(Action::ShiftEnd)?;
    let mut tx = hub.db.write().await?;
    let ended = data::instruments::end_shift(&mut tx, caller.account(), id, caller.at).await?;
    let ended = ended.ok_or_else(|| HubError::not_found("sign-on of yours at instrument", id))?;
    let event = caller.event("instrument.sign_off", object("instrument", id), None);
    data::events::record(&mut tx, &event).await?;
    tx.commit().await?;
    Ok(ended)
}
