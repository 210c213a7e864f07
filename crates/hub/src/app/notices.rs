//! Notices: told in the transaction of what happened, listed and put away by whom they are for.

use api::{
    AccountId, ApprovalRequest, InstrumentId, Key, Notice, NoticeId, NoticeKind, NoticeMail,
    OrganizationId, ProjectId, SetNoticeMail, Task, TaskKind, TaskState, Time,
};
use jiff::SignedDuration;

use super::Caller;
use super::caller::object;
use crate::HubError;
use crate::data::notices::NewNotice;
use crate::data::{self, Connection};
use crate::policy::Action;
use crate::state::Hub;

/// For how long a notice is kept once it was read.
const KEPT_READ: SignedDuration = SignedDuration::from_hours(90 * 24);
/// For how long it is kept at all.
const KEPT: SignedDuration = SignedDuration::from_hours(365 * 24);
/// How long before its end the owner of a key hears of it.
const KEY_NOTICE: SignedDuration = SignedDuration::from_hours(14 * 24);
/// How long before their end administrators hear of the credentials of their organization's key, and how often.
const CREDENTIALS_NOTICE: SignedDuration = SignedDuration::from_hours(30 * 24);
const WEEK_SECONDS: i64 = 7 * 24 * 3600;
/// How long before its end operators hear of the certificate authority.
const AUTHORITY_NOTICE: SignedDuration = SignedDuration::from_hours(180 * 24);
/// How long before its end operators hear of a certificate of their own.
const OWN_NOTICE: SignedDuration = SignedDuration::from_hours(21 * 24);

/// Notices of the caller's account.
pub(crate) async fn list(
    hub: &Hub,
    caller: &Caller,
    unread: bool,
    after: &str,
    rows: i64,
) -> Result<Vec<Notice>, HubError> {
    caller.may_here(Action::NoticeList)?;
    let mut reader = hub.db.read().await?;
    data::notices::list(&mut reader, caller.account(), unread, after, rows).await
}

/// Marks one as read.
pub(crate) async fn read(hub: &Hub, caller: &Caller, id: NoticeId) -> Result<Notice, HubError> {
    caller.may_here(Action::NoticeRead)?;
    let mut tx = hub.db.write().await?;
    let notice = data::notices::set_read(&mut tx, caller.account(), id, caller.at).await?;
    let notice = notice.ok_or_else(|| HubError::not_found("notice", id))?;
    tx.commit().await?;
    Ok(notice)
}

/// Where mail for the caller goes.
pub(crate) async fn mail(hub: &Hub, caller: &Caller) -> Result<NoticeMail, HubError> {
    caller.may_here(Action::NoticeMail)?;
    let address = data::notices::address(&mut *hub.db.read().await?, caller.account()).await?;
    Ok(NoticeMail { address, offered: hub.relay.is_some() })
}

/// Sets where mail for the caller goes.
pub(crate) async fn set_mail(
    hub: &Hub,
    caller: &Caller,
    body: &SetNoticeMail,
) -> Result<NoticeMail, HubError> {
    caller.may_here(Action::NoticeMail)?;
    if let Some(address) = &body.address
        && !crate::mail::is_address(address)
    {
        return Err(HubError::bad_request("the mail address is none")
            .hint("write NAME@HOST, in ASCII, without the person's name before it"));
    }
    let mut tx = hub.db.write().await?;
    data::notices::set_address(&mut tx, caller.account(), body.address.as_deref()).await?;
    let event = caller.event(Action::NoticeMail.act(), object("account", caller.account()), None);
    data::events::record(&mut tx, &event).await?;
    tx.commit().await?;
    Ok(NoticeMail { address: body.address.clone(), offered: hub.relay.is_some() })
}

/// Tells whose account got a key.
pub(super) async fn key_added(at: &mut Connection, key: &Key) -> Result<(), HubError> {
    let notice = NewNotice {
        account: key.account,
        kind: NoticeKind::KeyAdded,
        subject: object("key", key.id),
        project: None,
        once: None,
        at: key.created,
    };
    data::notices::tell(at, &notice).await
}

/// Tells whose account got a passkey.
pub(super) async fn passkey_added(
    at: &mut Connection,
    account: AccountId,
    now: Time,
) -> Result<(), HubError> {
    of_account(at, NoticeKind::PasskeyAdded, account, object("account", account), now).await
}

/// Tells whose password was set or changed.
pub(super) async fn password_changed(
    at: &mut Connection,
    account: AccountId,
    now: Time,
) -> Result<(), HubError> {
    of_account(at, NoticeKind::PasswordChanged, account, object("account", account), now).await
}

/// Tells in whose name an instrument makes runs from now on.
pub(super) async fn signed_on(
    at: &mut Connection,
    technician: AccountId,
    instrument: InstrumentId,
    now: Time,
) -> Result<(), HubError> {
    let thing = object("instrument", instrument);
    of_account(at, NoticeKind::SignedOn, technician, thing, now).await
}

async fn of_account(
    at: &mut Connection,
    kind: NoticeKind,
    account: AccountId,
    subject: String,
    now: Time,
) -> Result<(), HubError> {
    data::notices::tell(
        at,
        &NewNotice { account, kind, subject, project: None, once: None, at: now },
    )
    .await
}

/// Tells somebody what became of their membership, or the owner that a member left. Nobody is told what they did themselves.
pub(super) async fn of_member(
    at: &mut Connection,
    kind: NoticeKind,
    account: AccountId,
    project: ProjectId,
    by: &Caller,
) -> Result<(), HubError> {
    if account == by.account() {
        return Ok(());
    }
    let notice = NewNotice {
        account,
        kind,
        subject: object("project", project),
        // Who is no member any more hears of it all the same.
        project: Some(project),
        once: None,
        at: by.at,
    };
    data::notices::tell(at, &notice).await
}

/// Tells somebody what became of their place in an organization.
pub(super) async fn of_organization(
    at: &mut Connection,
    kind: NoticeKind,
    account: AccountId,
    organization: OrganizationId,
    by: &Caller,
) -> Result<(), HubError> {
    if account == by.account() {
        return Ok(());
    }
    of_account(at, kind, account, object("organization", organization), by.at).await
}

/// Tells the owner of a project that a vault waits for an approval: once, however often it claims its task.
pub(super) async fn asked(
    at: &mut Connection,
    new: &data::approvals::NewApproval<'_>,
) -> Result<(), HubError> {
    let Some((account, _)) = data::projects::maker(at, new.project).await? else { return Ok(()) };
    let once = format!("approval:{}:{}:{}", new.task, new.project, new.vault_key);
    let notice = NewNotice {
        account,
        kind: NoticeKind::ApprovalAsked,
        subject: object("approval", new.id),
        project: Some(new.project),
        once: Some(&once),
        at: new.created,
    };
    data::notices::tell(at, &notice).await
}

/// Tells whoever asked that the owner does not want it. Owners need not be told what they did themselves.
pub(super) async fn refused(
    at: &mut Connection,
    request: &ApprovalRequest,
    now: Time,
) -> Result<(), HubError> {
    let owner = data::projects::maker(at, request.project).await?.map(|(owner, _)| owner);
    if owner == Some(request.requester) {
        return Ok(());
    }
    let task = data::tasks::find(at, request.task).await?.map(|kept| kept.task);
    let subject = match task.and_then(|task| task.session) {
        Some(session) => object("session", session),
        None => object("task", request.task),
    };
    let notice = NewNotice {
        account: request.requester,
        kind: NoticeKind::ApprovalRefused,
        subject,
        // The asker need not be a member of the owner's project.
        project: None,
        once: None,
        at: now,
    };
    data::notices::tell(at, &notice).await
}

/// Tells who is behind a task how it ended. A stop by a person tells nothing new.
pub(super) async fn task_ended(
    at: &mut Connection,
    kept: &data::tasks::Kept,
    state: TaskState,
    now: Time,
) -> Result<(), HubError> {
    if kept.early && state == TaskState::Complete {
        return Ok(());
    }
    let Task { kind, session, subject, id, .. } = kept.task;
    let (kind, subject) = match (kind, session, state) {
        (TaskKind::Demultiplex, _, TaskState::Complete) => {
            (NoticeKind::RunFinished, object("dataset", subject))
        }
        (TaskKind::Demultiplex, _, TaskState::Failed) => {
            (NoticeKind::RunNeedsAttention, object("dataset", subject))
        }
        (TaskKind::App | TaskKind::Query, Some(session), TaskState::Complete) => {
            (NoticeKind::SessionFinished, object("session", session))
        }
        (TaskKind::App | TaskKind::Query, Some(session), TaskState::Failed) => {
            (NoticeKind::SessionFailed, object("session", session))
        }
        _ => return Ok(()),
    };
    let account = data::tasks::owner(at, id).await?;
    let project = Some(kept.project);
    data::notices::tell(at, &NewNotice { account, kind, subject, project, once: None, at: now })
        .await
}

/// Tells what comes by itself with time, and forgets what is old.
pub(crate) async fn keep_up(hub: &Hub) -> Result<(), HubError> {
    let now = hub.now();
    let before = |age: SignedDuration| now.checked_sub(age).unwrap_or(Time::UNIX_EPOCH);
    let mut tx = hub.db.write().await?;
    data::notices::forget(&mut tx, before(KEPT_READ), before(KEPT)).await?;
    let soon = now.checked_add(KEY_NOTICE).unwrap_or(now);
    for (key, account) in data::notices::ending_keys(&mut tx, now, soon).await? {
        let notice = NewNotice {
            account,
            kind: NoticeKind::KeyExpiring,
            subject: object("key", key),
            project: None,
            once: Some(&format!("key:{key}")),
            at: now,
        };
        data::notices::tell(&mut tx, &notice).await?;
    }
    let soon = now.checked_add(CREDENTIALS_NOTICE).unwrap_or(now);
    for (organization, account) in data::notices::ending_credentials(&mut tx, soon).await? {
        // Once a week, from the first look of the week on.
        let week = now.as_second() / WEEK_SECONDS;
        let once = format!("credentials:{organization}:{account}:{week}");
        let notice = NewNotice {
            account,
            kind: NoticeKind::CredentialsExpiring,
            subject: object("organization", organization),
            project: None,
            once: Some(&once),
            at: now,
        };
        data::notices::tell(&mut tx, &notice).await?;
    }
    let own = hub.own_certificate.as_ref().and_then(|own| own.ends());
    let ends = [(hub.authority_ends, AUTHORITY_NOTICE, "authority"), (own, OWN_NOTICE, "own")];
    for (ends, before, which) in ends {
        let Some(ends) = ends.filter(|ends| ends.duration_since(now) < before) else { continue };
        for account in data::notices::operators(&mut tx).await? {
            let once = format!("certificate:{account}:{ends}");
            let notice = NewNotice {
                account,
                kind: NoticeKind::CertificateExpiring,
                subject: object("certificate", which),
                project: None,
                once: Some(&once),
                at: now,
            };
            data::notices::tell(&mut tx, &notice).await?;
        }
    }
    Ok(tx.commit().await?)
}
