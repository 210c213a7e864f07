//! Projects: who holds the key is their choice, said in a card that the hub signs for platform projects.

mod in_browser;

use std::collections::BTreeMap;
use std::sync::Arc;

use api::{
    AccountId, Belongs, ConfirmDeletion, CreateProject, Custodian, Deletion, Digest, ErrorCode,
    Member, NoticeKind, OrganizationId, Project, ProjectId, Release, ReleaseRequest, Right, Role,
    SignedStatement,
};
use custody::Grounds;
use proof::{Act, Card, ProjectCard, digest_of, sign_statement};
use seal::recipient::RecipientKey;
use seal::wrap::DatasetContext;

use crate::HubError;
use crate::app::caller::{Caller, Purpose, object};
use crate::data::audit::Bound;
use crate::data::cards::KeptCard;
use crate::data::intents::PROJECT_RELEASE;
use crate::data::projects::NewProject;
use crate::data::{self, Connection};
use crate::policy::{Action, Actor, Standing};
use crate::state::Hub;
pub(crate) use in_browser::{Holders, Wanted, create_for, holders, may_create};

/// The purpose under which a project's name is sealed.
const NAME: &str = "project name";
/// The longest sealed name.
const LABEL_BYTES: usize = 4096;

/// The context of a project's own key: the project as its own dataset, before any card.
pub(crate) fn own_context(id: ProjectId) -> DatasetContext {
    DatasetContext {
        dataset: id.to_bytes(),
        project: id.to_bytes(),
        card_digest: [0; 32],
        epoch: 0,
    }
}

/// What the caller is to a project. Vaults have a standing of their own: see `tasks`.
pub(crate) async fn standing(
    at: &mut Connection,
    caller: &Caller,
    project: ProjectId,
) -> Result<Standing, HubError> {
    if caller.task().is_some() {
        return Ok(Standing::Stranger);
    }
    member(at, caller, project, false).await
}

/// What the caller's account is to a project, as far as its key reaches; `maker` says whether it made the thing at hand.
pub(super) async fn member(
    at: &mut Connection,
    caller: &Caller,
    project: ProjectId,
    maker: bool,
) -> Result<Standing, HubError> {
    if !caller.reaches(project) {
        return Ok(Standing::Stranger);
    }
    let (state, account) = (caller.seen.calm(), caller.account());
    let right = match state.and_then(|state| caller.seen.right(state, project, account)) {
        Some(right) => right,
        None => {
            let right = data::members::right_of(at, project, account).await?;
            if let Some(state) = state {
                caller.seen.has_right(state, project, account, right);
            }
            right
        }
    };
    Ok(right.map_or(Standing::Stranger, |right| Standing::Member { right, maker }))
}

/// Asks the table whether the caller may do `action` to the project.
async fn may(
    at: &mut Connection,
    caller: &Caller,
    action: Action,
    project: ProjectId,
) -> Result<(), HubError> {
    let standing = standing(at, caller, project).await?;
    caller.may(action, standing, "project", project, Some(project))
}

/// Makes a project, or says again what the same call made before.
pub(crate) async fn create(
    hub: &Hub,
    caller: &Caller,
    body: CreateProject,
    made_by: Digest,
) -> Result<Project, HubError> {
    let custodian = custodian_for(hub, caller, body.custodian, body.organization).await?;
    if body.label.0.len() > LABEL_BYTES {
        return Err(HubError::bad_request(format!(
            "the project's sealed name is longer than {LABEL_BYTES} bytes"
        )));
    }
    let (id, owner) = (body.id, caller.account());
    let (card, signed) = first_card(hub, &*custodian, &body)?;
    if let Some(maker) = data::projects::maker(&mut *hub.db.read().await?, id).await? {
        return again(hub, caller, id, made_by, maker).await;
    }
    let context = own_context(id);
    let kept = custodian.adopt(&context, &body.wrapped_key.0).await?;
    if let Some(opened) = custodian.open_for_hub(&context, &kept).await? {
        opened.open_label(NAME, &body.label.0).map_err(|e| {
            HubError::bad_request("the project's sealed name does not open under its key")
                .hint("seal it with purpose `project name`")
                .caused_by(e)
        })?;
    }
    // The key first: a row without a key would be a project whose name nobody reads, a key without a row is harmless.
    hub.keys.put_dataset_key(id.to_bytes(), 0, kept).await.map_err(|e| taken(id, e))?;
    let mut tx = hub.db.write().await?;
    let row = NewProject {
        id,
        custodian: body.custodian,
        owner,
        label: &body.label.0,
        made_by,
        created: caller.at,
    };
    match data::projects::insert(&mut tx, &row).await {
        Ok(()) => {}
        // The same call twice at the same time: the other one was first.
        Err(error) if data::is_taken(&error) => {
            let maker = data::projects::maker(&mut tx, id).await?;
            drop(tx);
            let maker = maker.ok_or_else(|| HubError::from(error))?;
            return again(hub, caller, id, made_by, maker).await;
        }
        Err(error) => return Err(error.into()),
    }
    if let Some(organization) = body.organization {
        // Once more, now that nobody can be taken out of the organization meanwhile.
        super::organizations::may_make_project(&mut tx, caller, organization, body.custodian)
            .await?;
        data::organizations::insert_project(&mut tx, organization, id).await?;
    }
    keep_card(&mut tx, id, &card, &signed).await?;
    let event = caller.event(Action::ProjectCreate.act(), object("project", id), Some(id));
    data::events::record(&mut tx, &event).await?;
    tx.commit().await?;
    super::descriptions::keep_after(hub).await;
    find(hub, caller, id).await
}

/// Who shall hold the keys of a project that the caller wants to make, if the caller may make such a one.
async fn custodian_for(
    hub: &Hub,
    caller: &Caller,
    custodian: Custodian,
    organization: Option<OrganizationId>,
) -> Result<Arc<dyn custody::Custodian>, HubError> {
    caller.may_here(Action::ProjectCreate)?;
    if let Some(organization) = organization {
        let mut reader = hub.db.read().await?;
        super::organizations::may_make_project(&mut reader, caller, organization, custodian)
            .await?;
    } else if custodian == Custodian::Organization {
        return Err(HubError::bad_request(
            "custody by an organization is for projects that belong to one",
        )
        .hint("name the organization: `chorion project create --organization`"));
    }
    match organization {
        Some(organization) if custodian == Custodian::Organization => {
            super::organization_keys::custodian(hub, organization).await
        }
        _ => Ok(Arc::clone(hub.custodian(custodian)?)),
    }
}

/// The first card of a project: the hub's own, or the one that its owner made, which the hub can only take or leave.
fn first_card(
    hub: &Hub,
    custodian: &dyn custody::Custodian,
    body: &CreateProject,
) -> Result<(ProjectCard, SignedStatement), HubError> {
    let id = body.id;
    let Some(signed) = &body.card else {
        let recipient = custodian.recipient().ok_or_else(|| {
            HubError::bad_request("the owner's card of the project is missing")
                .hint("sign it with the key of the twelve words: `chorion project create --custodian owner`")
        })?;
        let card = Card {
            hub: hub.id.clone(),
            project: id,
            custodian: body.custodian,
            recipient: api::Bytes(recipient.to_bytes()),
            number: 1,
            test: false,
            writers: Vec::new(),
        };
        let signed = sign_statement(&card, &hub.card_key);
        return Ok((ProjectCard::Hub(card), signed));
    };
    let (card, _owner) =
        ProjectCard::open(signed, id).map_err(|error| HubError::bad_request(error.to_string()))?;
    let fits = body.custodian == Custodian::Owner
        && card.custodian() == Custodian::Owner
        && card.hub() == hub.id
        && card.number() == 1
        && RecipientKey::from_bytes(card.recipient()).is_ok();
    if !fits {
        return Err(HubError::bad_request(format!(
            "the card is not the first of project {id} at hub {}, in custody of its owner",
            hub.id
        )));
    }
    Ok((card, signed.clone()))
}

/// Keeps a card, which is in force from then on.
pub(super) async fn keep_card(
    at: &mut Connection,
    id: ProjectId,
    card: &ProjectCard,
    signed: &SignedStatement,
) -> Result<(), HubError> {
    let kept =
        KeptCard { number: card.number(), digest: digest_of(signed), signed: signed.clone() };
    data::cards::insert(at, id, &kept).await
}

/// The answer to a call whose id is known: the same again for the same call, a refusal for another.
async fn again(
    hub: &Hub,
    caller: &Caller,
    id: ProjectId,
    made_by: Digest,
    (owner, first): (AccountId, Digest),
) -> Result<Project, HubError> {
    if owner == caller.account() && made_by == first {
        find(hub, caller, id).await
    } else {
        Err(taken_id(id))
    }
}

fn taken_id(id: ProjectId) -> HubError {
    HubError::conflict(format!("the id {id} is taken"))
        .hint("choose a new one: ids are never used twice")
}

fn taken(id: ProjectId, error: store::KeyStoreError) -> HubError {
    match error {
        store::KeyStoreError::Destroyed { .. } => taken_id(id),
        other => other.into(),
    }
}

/// Projects of the caller.
pub(crate) async fn list(
    hub: &Hub,
    caller: &Caller,
    after: &str,
    rows: i64,
) -> Result<Vec<Project>, HubError> {
    caller.may_here(Action::ListOwn)?;
    let mut projects =
        data::projects::list(&mut *hub.db.read().await?, caller.viewer(), after, rows).await?;
    for project in &mut projects {
        project.right = caller.lesser(project.right);
        project.name = name(hub, project).await;
    }
    Ok(projects)
}

/// One project.
pub(crate) async fn show(hub: &Hub, caller: &Caller, id: ProjectId) -> Result<Project, HubError> {
    may(&mut *hub.db.read().await?, caller, Action::ProjectSee, id).await?;
    find(hub, caller, id).await
}

async fn find(hub: &Hub, caller: &Caller, id: ProjectId) -> Result<Project, HubError> {
    let found = data::projects::find(&mut *hub.db.read().await?, id, caller.account()).await?;
    let mut project = found.ok_or_else(|| HubError::not_found("project", id))?;
    project.right = caller.lesser(project.right);
    project.name = name(hub, &project).await;
    Ok(project)
}

/// The project's name, where the custodian opens it for the hub. A list is not refused because one name does not open.
async fn name(hub: &Hub, project: &Project) -> Option<String> {
    let opened = async {
        let context = own_context(project.id);
        let kept = hub.keys.dataset_key(context.dataset, context.epoch).await?;
        let custodian = hub.custodian_of(project.custodian, project.id, &kept).await?;
        let opened = custodian.open_for_hub(&context, &kept).await?;
        let open = |opened: custody::Opened| opened.open_label(NAME, &project.label.0);
        opened.map(open).transpose().map_err(|e| HubError::internal("a name does not open", e))
    };
    match opened.await {
        Ok(name) => name.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) => {
            let (project, cause) = (project.id, error.causes());
            tracing::warn!(%project, cause, "the name of a project was not opened: {error}");
            None
        }
    }
}

/// Projects of the caller's whose owners alone hold the key.
pub(crate) async fn held_by_owners(
    hub: &Hub,
    caller: &Caller,
    most: usize,
) -> Result<Vec<Project>, HubError> {
    const SOME: i64 = 1000;
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let some = list(hub, caller, &after, SOME).await?;
        let is_last = some.len() < usize::try_from(SOME).unwrap_or(usize::MAX);
        after = some.last().map(|project| project.id.to_string()).unwrap_or_default();
        found.extend(some.into_iter().filter(|project| project.custodian == Custodian::Owner));
        if is_last || found.len() >= most {
            found.truncate(most);
            return Ok(found);
        }
    }
}

/// How many datasets these projects have, and their sealed bytes; of projects that the caller sees.
pub(crate) async fn sizes(
    hub: &Hub,
    projects: &[ProjectId],
) -> Result<BTreeMap<ProjectId, (u64, u64)>, HubError> {
    let mut reader = hub.db.read().await?;
    let mut found = BTreeMap::new();
    for &project in projects {
        found.insert(project, data::datasets::size_of_project(&mut reader, project).await?);
    }
    Ok(found)
}

/// Who holds the keys of these projects, of which the caller sees something already.
pub(crate) async fn custodians(
    hub: &Hub,
    projects: &[ProjectId],
) -> Result<BTreeMap<ProjectId, Custodian>, HubError> {
    let mut reader = hub.db.read().await?;
    let mut found = BTreeMap::new();
    for &project in projects {
        if !found.contains_key(&project)
            && let Some(custodian) = data::projects::custodian(&mut reader, project).await?
        {
            found.insert(project, custodian);
        }
    }
    Ok(found)
}

/// The card in force.
pub(crate) async fn card(
    hub: &Hub,
    caller: &Caller,
    id: ProjectId,
) -> Result<SignedStatement, HubError> {
    let mut reader = hub.db.read().await?;
    let standing = super::tasks::project_standing(&mut reader, caller, id).await?;
    caller.may(Action::ProjectCard, standing, "project", id, Some(id))?;
    Ok(in_force(&mut reader, id).await?.signed)
}

/// The card in force, whoever asks.
pub(crate) async fn in_force(at: &mut Connection, id: ProjectId) -> Result<KeptCard, HubError> {
    data::cards::in_force(at, id).await?.ok_or_else(|| HubError::not_found("project", id))
}

/// The project's own key, wrapped to the named recipient.
pub(crate) async fn release(
    hub: &Hub,
    caller: &Caller,
    id: ProjectId,
    body: &ReleaseRequest,
) -> Result<Release, HubError> {
    let mut reader = hub.db.read().await?;
    may(&mut reader, caller, Action::ProjectRelease, id).await?;
    let custodian: Custodian = data::projects::custodian(&mut reader, id)
        .await?
        .ok_or_else(|| HubError::not_found("project", id))?;
    drop(reader);
    let purpose = Purpose::parse(&body.purpose)?;
    let to = RecipientKey::from_bytes(&body.recipient.0)
        .map_err(|e| HubError::bad_request(e.to_string()))?;
    let mut event = caller.event(PROJECT_RELEASE, object("project", id), Some(id));
    event.purpose = Some(purpose.as_str().to_owned());
    let intent = hub.releases.intend(event, Bound::default()).await?;
    let grounds = Grounds::Policy { purpose: purpose.as_str() };
    super::datasets::release_at(hub, intent, custodian, &own_context(id), &to, grounds).await
}

/// The owner and the members.
pub(crate) async fn members(
    hub: &Hub,
    caller: &Caller,
    id: ProjectId,
    after: &str,
    rows: i64,
) -> Result<Vec<Member>, HubError> {
    let mut reader = hub.db.read().await?;
    may(&mut reader, caller, Action::MemberList, id).await?;
    data::members::list(&mut reader, id, after, rows).await
}

/// Adds a member or changes one.
pub(crate) async fn set_member(
    hub: &Hub,
    caller: &Caller,
    id: ProjectId,
    account: AccountId,
    right: Right,
) -> Result<Member, HubError> {
    let mut tx = hub.db.write().await?;
    may(&mut tx, caller, Action::MemberSet, id).await?;
    if right == Right::Owner {
        return Err(HubError::bad_request("nobody becomes owner by being made a member")
            .hint("offer the project: `chorion project transfer`"));
    }
    not_the_owner(&mut tx, id, account).await?;
    let member = data::accounts::find(&mut tx, account)
        .await?
        .ok_or_else(|| HubError::not_found("account", account))?;
    no_auditor(&member)?;
    let before = data::members::right_of(&mut tx, id, account).await?;
    data::members::set(&mut tx, id, account, right).await?;
    let event = caller.event(Action::MemberSet.act(), object("account", account), Some(id));
    data::events::record(&mut tx, &event).await?;
    let told = match before {
        None => Some(NoticeKind::MemberAdded),
        Some(before) => (before != right).then_some(NoticeKind::MemberChanged),
    };
    if let Some(kind) = told {
        super::notices::of_member(&mut tx, kind, account, id, caller).await?;
    }
    tx.commit().await?;
    Ok(Member { account, name: member.name, right })
}

/// Removes a member, whose next call finds nothing. Everybody may take themselves out, whatever they may do otherwise.
pub(crate) async fn remove_member(
    hub: &Hub,
    caller: &Caller,
    id: ProjectId,
    account: AccountId,
) -> Result<Member, HubError> {
    let leaves = account == caller.account() && !matches!(caller.actor(), Actor::Limited { .. });
    let action = if leaves { Action::MemberLeave } else { Action::MemberSet };
    let mut tx = hub.db.write().await?;
    may(&mut tx, caller, action, id).await?;
    not_the_owner(&mut tx, id, account).await?;
    let gone = || HubError::not_found("member", account);
    let right = data::members::right_of(&mut tx, id, account).await?.ok_or_else(gone)?;
    let member = data::accounts::find(&mut tx, account).await?.ok_or_else(gone)?;
    data::members::remove(&mut tx, id, account).await?;
    let act = if leaves { action.act() } else { "member.remove" };
    let event = caller.event(act, object("account", account), Some(id));
    data::events::record(&mut tx, &event).await?;
    if leaves {
        if let Some((owner, _)) = data::projects::maker(&mut tx, id).await? {
            let kind = NoticeKind::MemberLeft;
            super::notices::of_member(&mut tx, kind, owner, id, caller).await?;
        }
    } else {
        let kind = NoticeKind::MemberRemoved;
        super::notices::of_member(&mut tx, kind, account, id, caller).await?;
    }
    tx.commit().await?;
    Ok(Member { account, name: member.name, right })
}

/// An auditor sees what was done, and never data.
pub(super) fn no_auditor(account: &api::Account) -> Result<(), HubError> {
    match account.belongs {
        Some(Belongs { role: Role::Auditor, .. }) => Err(HubError::conflict(format!(
            "account {} is an auditor, and an auditor has no projects",
            account.id
        ))
        .hint("an administrator of its organization can give it another role")),
        _ => Ok(()),
    }
}

async fn not_the_owner(
    at: &mut Connection,
    id: ProjectId,
    account: AccountId,
) -> Result<(), HubError> {
    match data::members::right_of(at, id, account).await? {
        Some(Right::Owner) => {
            Err(HubError::conflict(format!("account {account} owns the project"))
                .hint("the owner changes by transfer alone"))
        }
        _ => Ok(()),
    }
}

/// Deletes a project for ever. Every key is destroyed before the first byte is erased; rows go last, so that a deletion
/// which was stopped can be finished by the same call, and is finished at the next start.
pub(crate) async fn delete(
    hub: &Hub,
    caller: &Caller,
    id: ProjectId,
    body: &ConfirmDeletion,
) -> Result<Deletion, HubError> {
    let mut tx = hub.db.write().await?;
    may(&mut tx, caller, Action::ProjectDelete, id).await?;
    if body.confirm != id.to_string() {
        return Err(HubError::bad_request(format!(
            "the deletion of project {id} is not confirmed"
        ))
        .hint("send its id once more as `confirm`: nothing brings a deleted project back"));
    }
    let mut bound = Bound::default();
    if data::projects::custodian(&mut tx, id).await? == Some(Custodian::Owner) {
        let names = |act: &Act| matches!(act, Act::Delete(delete) if delete.dataset.is_none());
        let given = body.approval.as_ref();
        bound.approval = Some(super::approvals::spend(&mut tx, caller, id, given, names).await?);
    }
    data::projects::begin_deletion(&mut tx, id, caller.at).await?;
    data::cases::destroy_keys_of(&mut tx, id).await?;
    let event = caller.event(Action::ProjectDelete.act(), object("project", id), Some(id));
    data::events::record_bound(&mut tx, &event, &bound).await?;
    tx.commit().await?;
    // A caller that hangs up does not stop it half-way.
    let hub = hub.clone();
    let work = hub.background.spawn({
        let hub = hub.clone();
        async move { finish_deletion(&hub, id).await }
    });
    work.await.map_err(|e| HubError::internal(format!("deleting project {id} was stopped"), e))?
}

/// Carries a deletion to its end, from wherever it was stopped.
pub(crate) async fn finish_deletion(hub: &Hub, id: ProjectId) -> Result<Deletion, HubError> {
    let mut tx = hub.db.write().await?;
    data::cases::destroy_keys_of(&mut tx, id).await?;
    tx.commit().await?;
    super::cases::finish_deletions(hub, Some(id)).await?;
    let mut deletion = super::datasets::destroy_all(hub, id).await?;
    let destroyed = hub.keys.destroy(id.to_bytes()).await?;
    deletion
        .facilities_pending
        .extend(destroyed.waiting_for.iter().map(|place| place.display().to_string()));
    let mark = super::datasets::deletion_mark(id.to_bytes());
    deletion.facilities_pending.extend(super::datasets::erase(hub, &[mark]).await?);
    deletion.facilities_pending.sort_unstable();
    deletion.facilities_pending.dedup();
    let mut tx = hub.db.write().await?;
    data::events::forget_purposes(&mut tx, id).await?;
    data::projects::remove(&mut tx, id).await?;
    tx.commit().await?;
    hub.db.forget().await?;
    Ok(deletion)
}

/// Finishes deletions that a stop of the hub interrupted.
pub(crate) async fn finish_deletions(hub: &Hub) -> Result<(), HubError> {
    let ids = data::projects::being_deleted(&mut *hub.db.read().await?).await?;
    for id in ids {
        match finish_deletion(hub, id).await {
            Ok(_) => tracing::info!(project = %id, "a deletion that was stopped is finished"),
            Err(error) if error.code() == ErrorCode::Internal => return Err(error),
            Err(error) => tracing::warn!(project = %id, "a deletion waits: {error}"),
        }
    }
    Ok(())
}
