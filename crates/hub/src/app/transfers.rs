//! A project changes hands: offered by its owner, accepted or refused by the other, withdrawn until then.

use std::collections::HashSet;

use api::{
    AccountId, Custodian, ErrorCode, NoticeKind, OfferTransfer, ProjectId, Time, Transfer,
    TransferId, TransferState,
};

use crate::HubError;
use crate::app::caller::{Caller, object};
use crate::app::projects::{no_auditor, standing};
use crate::data::notices::NewNotice;
use crate::data::{self, Connection};
use crate::policy::Action;
use crate::state::Hub;

/// Offers the project.
pub(crate) async fn offer(
    hub: &Hub,
    caller: &Caller,
    project: ProjectId,
    body: &OfferTransfer,
) -> Result<Transfer, HubError> {
    let mut tx = hub.db.write().await?;
    let standing = standing(&mut tx, caller, project).await?;
    caller.may(Action::ProjectTransfer, standing, "project", project, Some(project))?;
    if body.to == caller.account() {
        return Err(HubError::conflict(format!("project {project} is yours already")));
    }
    let taker = data::accounts::find(&mut tx, body.to)
        .await?
        .ok_or_else(|| HubError::not_found("account", body.to))?;
    no_auditor(&taker)?;
    fits(&mut tx, project, &taker).await?;
    if data::projects::custodian(&mut tx, project).await? == Some(Custodian::Owner) {
        return Err(HubError::new(
            ErrorCode::NotOffered,
            format!(
                "project {project} is held by its owner's words: only the owner's device hands its keys over"
            ),
        )
        .hint("hand it over from the owner's device: `chorion approve transfer`"));
    }
    let transfer = insert(&mut tx, caller, project, body.to, body.reseal).await?;
    let event = caller.event("project.transfer.offer", object("project", project), Some(project));
    data::events::record(&mut tx, &event).await?;
    tell(&mut tx, &transfer, NoticeKind::TransferOffered, transfer.to, caller.at).await?;
    tx.commit().await?;
    Ok(transfer)
}

async fn insert(
    at: &mut Connection,
    caller: &Caller,
    project: ProjectId,
    to: AccountId,
    reseal: bool,
) -> Result<Transfer, HubError> {
    let transfer = Transfer {
        id: TransferId::generate(),
        project,
        from: caller.account(),
        to,
        reseal,
        state: TransferState::Offered,
        created: caller.at,
    };
    data::transfers::insert(at, &transfer).await.map_err(|error| {
        if data::is_taken(&error) {
            HubError::conflict(format!("project {project} is offered already"))
                .hint("withdraw that offer first")
        } else {
            error.into()
        }
    })?;
    Ok(transfer)
}

/// Offers a project whose key its owner holds, within the hand-over that the owner approved.
pub(super) async fn of_owner(
    at: &mut Connection,
    caller: &Caller,
    project: ProjectId,
    to: AccountId,
    reseal: bool,
) -> Result<Transfer, HubError> {
    if to == caller.account() {
        return Err(HubError::conflict(format!("project {project} is yours already")));
    }
    let taker = data::accounts::find(at, to).await?;
    let taker = taker.ok_or_else(|| HubError::not_found("account", to))?;
    no_auditor(&taker)?;
    fits(at, project, &taker).await?;
    insert(at, caller, project, to, reseal).await
}

/// Every key waits for the taker now.
pub(super) async fn tell_taker(
    at: &mut Connection,
    id: TransferId,
    caller: &Caller,
) -> Result<(), HubError> {
    let found = data::transfers::find(at, id, caller.account()).await?;
    let transfer = found.ok_or_else(|| HubError::not_found("transfer", id))?;
    tell(at, &transfer, NoticeKind::TransferOffered, transfer.to, caller.at).await
}

/// An owner's project was taken, within the transaction that hands its keys over.
pub(super) async fn taken(
    at: &mut Connection,
    id: TransferId,
    caller: &Caller,
    to: AccountId,
) -> Result<(), HubError> {
    let gone = || HubError::not_found("transfer", id);
    let transfer = data::transfers::find(at, id, to).await?.ok_or_else(gone)?;
    if !data::transfers::end(at, id, TransferState::Accepted, caller.at).await? {
        return Err(HubError::conflict(format!("transfer {id} waits for nobody any more")));
    }
    let taker = data::accounts::find(at, to).await?.ok_or_else(gone)?;
    fits(at, transfer.project, &taker).await?;
    data::members::remove(at, transfer.project, to).await?;
    data::projects::set_owner(at, transfer.project, to).await?;
    tell(at, &transfer, NoticeKind::TransferAccepted, transfer.from, caller.at).await
}

/// Offers that the caller made or got.
pub(crate) async fn list(
    hub: &Hub,
    caller: &Caller,
    after: &str,
    rows: i64,
) -> Result<Vec<Transfer>, HubError> {
    caller.may_here(Action::ListOwn)?;
    data::transfers::list(&mut *hub.db.read().await?, caller.viewer(), after, rows).await
}

/// Which of these offers hand over keys that an owner's device wrapped: the other's device takes them.
pub(crate) async fn by_device(
    hub: &Hub,
    offers: &[Transfer],
) -> Result<HashSet<TransferId>, HubError> {
    let mut reader = hub.db.read().await?;
    let mut found = HashSet::new();
    for offer in offers {
        let custodian = data::projects::custodian(&mut reader, offer.project).await?;
        if custodian == Some(Custodian::Owner) {
            found.insert(offer.id);
        }
    }
    Ok(found)
}

/// How an offer ends, and who may end it so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Accept,
    Refuse,
    Withdraw,
}

/// Takes the project: it has a new owner, and the old one is nobody there. With re-seal, every dataset is queued to be
/// written anew under new keys.
pub(crate) async fn accept(
    hub: &Hub,
    caller: &Caller,
    id: TransferId,
) -> Result<Transfer, HubError> {
    end(hub, caller, id, End::Accept).await
}

/// Does not take it.
pub(crate) async fn refuse(
    hub: &Hub,
    caller: &Caller,
    id: TransferId,
) -> Result<Transfer, HubError> {
    end(hub, caller, id, End::Refuse).await
}

/// Takes the offer back.
pub(crate) async fn withdraw(
    hub: &Hub,
    caller: &Caller,
    id: TransferId,
) -> Result<Transfer, HubError> {
    end(hub, caller, id, End::Withdraw).await
}

/// A project of an organization stays within it.
async fn fits(
    at: &mut Connection,
    project: ProjectId,
    taker: &api::Account,
) -> Result<(), HubError> {
    let Some(organization) = data::organizations::of_project(at, project).await? else {
        return Ok(());
    };
    if taker.belongs.is_some_and(|belongs| belongs.organization == organization) {
        return Ok(());
    }
    Err(HubError::conflict(format!(
        "project {project} belongs to organization {organization}, and account {} does not",
        taker.id
    ))
    .hint("it is handed over to accounts of the organization alone"))
}

async fn end(hub: &Hub, caller: &Caller, id: TransferId, end: End) -> Result<Transfer, HubError> {
    caller.may_here(Action::TransferEnd)?;
    let mut tx = hub.db.write().await?;
    let gone = || HubError::not_found("transfer", id);
    let mut transfer =
        data::transfers::find(&mut tx, id, caller.account()).await?.ok_or_else(gone)?;
    let (state, act, whose) = match end {
        End::Accept => (TransferState::Accepted, "project.transfer.accept", transfer.to),
        End::Refuse => (TransferState::Refused, "project.transfer.refuse", transfer.to),
        End::Withdraw => (TransferState::Withdrawn, "project.transfer.withdraw", transfer.from),
    };
    let project = transfer.project;
    let of_owner = data::handovers::find(&mut tx, project).await?;
    let of_owner = of_owner.is_some_and(|kept| kept.transfer == Some(id));
    if whose != caller.account() {
        return Err(HubError::new(
            ErrorCode::Forbidden,
            match end {
                End::Withdraw => "only who made the offer takes it back",
                End::Accept | End::Refuse => "only who got the offer accepts or refuses it",
            },
        )
        .refusing(act, object("project", project), Some(project)));
    }
    let owners = data::projects::custodian(&mut tx, project).await? == Some(Custodian::Owner);
    if owners && end == End::Accept {
        return Err(HubError::conflict(format!("project {project} comes with its owner's keys"))
            .hint("take it with your own words: `chorion project transfer accept`"));
    }
    if !data::transfers::end(&mut tx, id, state, caller.at).await? {
        let was = data::word(transfer.state);
        return if transfer.state == state {
            Ok(transfer)
        } else {
            Err(HubError::conflict(format!("transfer {id} is {was} already")))
        };
    }
    if of_owner {
        data::handovers::forget(&mut tx, project).await?;
    }
    if end == End::Accept {
        // The taker may have left the organization since the offer.
        let taker = data::accounts::find(&mut tx, transfer.to).await?.ok_or_else(gone)?;
        fits(&mut tx, project, &taker).await?;
        data::members::remove(&mut tx, project, transfer.to).await?;
        data::projects::set_owner(&mut tx, project, transfer.to).await?;
        if transfer.reseal {
            super::tasks::queue_reseal(hub, &mut tx, caller, project).await?;
        }
    }
    let event = caller.event(act, object("project", project), Some(project));
    data::events::record(&mut tx, &event).await?;
    let (giver, now) = (transfer.from, caller.at);
    match end {
        End::Accept => {
            tell(&mut tx, &transfer, NoticeKind::TransferAccepted, giver, now).await?;
        }
        End::Refuse => tell(&mut tx, &transfer, NoticeKind::TransferRefused, giver, now).await?,
        End::Withdraw => {}
    }
    tx.commit().await?;
    transfer.state = state;
    Ok(transfer)
}

/// Tells the other side.
async fn tell(
    at: &mut Connection,
    transfer: &Transfer,
    kind: NoticeKind,
    account: AccountId,
    now: Time,
) -> Result<(), HubError> {
    let subject = object("transfer", transfer.id);
    let project = Some(transfer.project);
    data::notices::tell(at, &NewNotice { account, kind, subject, project, once: None, at: now })
        .await
}
