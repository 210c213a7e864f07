//! Cases: what is said of a patient is sealed before it is kept, and every read leaves an event with the fields
//! (`spec/cases.md`).
//!
//! Each act asks the table first, then opens the organization's keys, then does its work in one transaction with its event. So
//! without the customer's key nothing is written and nothing half-read, and lists go on, because they need no key.

pub(crate) mod fields;
pub(crate) mod sealing;

use std::collections::BTreeMap;

use api::{
    AddCases, AddedCases, AuditedRead, Case, CaseDocument, CaseField, CaseId, CaseRules,
    CaseStatus, ConcludeCase, ConfirmDeletion, DatasetId, FoundCases, MOST_CASES, Note, OpenedCase,
    OrganizationId, ProjectId, ReadCase, Role, SearchCases, UpdateCase,
};

use custody::organization::Keys;

use super::caller::object;
use super::{Caller, descriptions};
use crate::HubError;
use crate::data::cases::{KeptCase, NewRow};
use crate::data::events::Period;
use crate::data::{self, Connection};
use crate::policy::{Action, Standing};
use crate::state::Hub;

/// How many case keys are wrapped anew in one transaction.
const KEYS: i64 = 1000;
/// How many candidates of a search are opened at once.
const CANDIDATES: i64 = 1000;

/// What the caller is to the cases of a project, and the organization that holds their keys.
async fn standing(
    at: &mut Connection,
    caller: &Caller,
    project: ProjectId,
) -> Result<(Standing, Option<OrganizationId>), HubError> {
    let organization = data::organizations::of_project(at, project).await?;
    let standing = match super::projects::standing(at, caller, project).await? {
        Standing::Member { right, .. } => {
            let belongs = data::organizations::belongs(at, caller.account()).await?;
            let treats = belongs.is_some_and(|belongs| {
                Some(belongs.organization) == organization
                    && matches!(belongs.role, Role::Administrator | Role::Clinician)
            });
            Standing::Case { right, treats }
        }
        other => other,
    };
    Ok((standing, organization))
}

/// Asks the table whether the caller may do `action` to cases of the project, which an organization must hold.
async fn may(
    at: &mut Connection,
    caller: &Caller,
    action: Action,
    project: ProjectId,
) -> Result<OrganizationId, HubError> {
    let (standing, organization) = standing(at, caller, project).await?;
    caller.may(action, standing, "project", project, Some(project))?;
    let none = || {
        HubError::conflict(format!("project {project} is not in custody of an organization"))
            .hint("cases lie under an organization's own key: make a project with `--custodian organization`")
    };
    if data::cases::can_be_in(at, project).await? {
        organization.ok_or_else(none)
    } else {
        Err(none())
    }
}

/// Whether cases can be in a project that the caller sees.
pub(crate) async fn can_be_in(hub: &Hub, project: ProjectId) -> Result<bool, HubError> {
    data::cases::can_be_in(&mut *hub.db.read().await?, project).await
}

/// The case, if the caller may do `action` to it.
async fn find(
    at: &mut Connection,
    caller: &Caller,
    action: Action,
    id: CaseId,
) -> Result<KeptCase, HubError> {
    let gone = || HubError::not_found("case", id);
    let kept = data::cases::find(at, id).await?.filter(|kept| kept.key.is_some());
    let mut kept = kept.ok_or_else(gone)?;
    let (standing, _) = standing(at, caller, kept.case.project).await?;
    caller.may(action, standing, "case", id, Some(kept.case.project))?;
    kept.case.datasets = data::cases::datasets(at, kept.number).await?;
    Ok(kept)
}

fn checked(document: &CaseDocument) -> Result<(), HubError> {
    document.check().map_err(|wrong| HubError::bad_request(wrong.to_string()))
}

/// Says of notes that are new who wrote them and when; what a caller says of others counts only if it stood there.
fn signed(document: &mut CaseDocument, old: &[Note], caller: &Caller) {
    for note in document.notes.iter_mut().filter(|note| !old.contains(note)) {
        note.at = Some(caller.at);
        note.author = Some(caller.account());
    }
}

/// Whether the caller adds cases to the project, before anything is typed of a patient.
pub(crate) async fn may_add(
    hub: &Hub,
    caller: &Caller,
    project: ProjectId,
) -> Result<(), HubError> {
    may(&mut *hub.db.read().await?, caller, Action::CaseAdd, project).await?;
    Ok(())
}

/// Adds cases: all of them or none.
pub(crate) async fn add(
    hub: &Hub,
    caller: &Caller,
    project: ProjectId,
    body: AddCases,
) -> Result<AddedCases, HubError> {
    let organization = may(&mut *hub.db.read().await?, caller, Action::CaseAdd, project).await?;
    if !(1..=MOST_CASES).contains(&body.cases.len()) {
        return Err(HubError::bad_request(format!(
            "{} cases in one call, and it takes 1 to {MOST_CASES}",
            body.cases.len()
        )));
    }
    let keys = sealing::keys(hub, organization).await?;
    let mut sealed = Vec::with_capacity(body.cases.len());
    for mut new in body.cases {
        checked(&new.document)?;
        signed(&mut new.document, &[], caller);
        sealed.push((new.id, sealing::new(&keys, project, new.id, &new.document)?, new.document));
    }
    let mut tx = hub.db.write().await?;
    // Once more, now that nobody can be put out of the project meanwhile.
    may(&mut tx, caller, Action::CaseAdd, project).await?;
    let indexes = fields::writing(&mut tx, &keys).await?;
    let mut added = Vec::with_capacity(sealed.len());
    for (id, case, document) in &sealed {
        let row = NewRow {
            id: *id,
            project,
            organization,
            made_by: caller.account(),
            key: &case.key,
            document: &case.document,
            created: caller.at,
        };
        let Some(number) = data::cases::insert(&mut tx, &row).await? else {
            let there = data::cases::find(&mut tx, *id).await?.map(|kept| kept.case);
            if there.is_some_and(|it| it.project == project && it.made_by == caller.account()) {
                continue;
            }
            return Err(HubError::conflict(format!("the id {id} is taken"))
                .hint("choose a new one: ids are never used twice"));
        };
        let event = caller.event(Action::CaseAdd.act(), object("case", id), Some(project));
        data::events::record(&mut tx, &event).await?;
        added.push((number, document));
    }
    let count = u32::try_from(added.len()).unwrap_or(u32::MAX);
    indexes.put(&mut tx, added).await?;
    tx.commit().await?;
    descriptions::keep_after(hub).await;
    Ok(AddedCases { added: count })
}

/// Cases of a project as they stand in clear: no key is asked for.
pub(crate) async fn list(
    hub: &Hub,
    caller: &Caller,
    project: ProjectId,
    after: &str,
    rows: i64,
) -> Result<Vec<Case>, HubError> {
    let mut reader = hub.db.read().await?;
    may(&mut reader, caller, Action::CaseSee, project).await?;
    data::cases::list(&mut reader, project, after, rows).await
}

/// One case as it stands in clear.
pub(crate) async fn show(hub: &Hub, caller: &Caller, id: CaseId) -> Result<Case, HubError> {
    Ok(find(&mut *hub.db.read().await?, caller, Action::CaseSee, id).await?.case)
}

/// Reads fields of a case. The event is on the disk before the answer leaves.
pub(crate) async fn read(
    hub: &Hub,
    caller: &Caller,
    id: CaseId,
    body: &ReadCase,
) -> Result<OpenedCase, HubError> {
    let kept = find(&mut *hub.db.read().await?, caller, Action::CaseRead, id).await?;
    let mut fields =
        if body.fields.is_empty() { CaseField::ALL.to_vec() } else { body.fields.clone() };
    fields.sort_unstable();
    fields.dedup();
    let keys = sealing::keys(hub, kept.case.organization).await?;
    let document = sealing::open(&keys, &kept)?;
    let words: Vec<&str> = fields.iter().map(|field| field.as_str()).collect();
    let mut event =
        caller.event(Action::CaseRead.act(), object("case", id), Some(kept.case.project));
    event.purpose = Some(body.purpose.as_str().to_owned());
    let mut tx = hub.db.write().await?;
    find(&mut tx, caller, Action::CaseRead, id).await?;
    data::cases::record_read(&mut tx, kept.case.organization, &event, body.purpose, &words).await?;
    tx.commit().await?;
    Ok(OpenedCase { case: kept.case, document: document.only(&fields), fields })
}

/// Cases of a project whose field has this value after normalisation. What is found is opened and compared before it is shown.
pub(crate) async fn search(
    hub: &Hub,
    caller: &Caller,
    project: ProjectId,
    body: &SearchCases,
) -> Result<FoundCases, HubError> {
    let mut reader = hub.db.read().await?;
    let organization = may(&mut reader, caller, Action::CaseSearch, project).await?;
    drop(reader);
    cases::judge(body.field, None).map_err(|no| fields::refusal(body.field, no))?;
    let value = cases::normal(body.field, &body.value).ok_or_else(|| {
        HubError::bad_request(format!("the value is none that `{}` can have", body.field.as_str()))
    })?;
    let keys = sealing::keys(hub, organization).await?;
    let mut found = FoundCases { cases: Vec::new(), more: false };
    let mut reader = hub.db.read().await?;
    // One view of the database, so that a version which ends meanwhile still has all of its hashes.
    let mut view = sqlx::Connection::begin(&mut *reader).await?;
    let mut after = 0;
    'pages: loop {
        let (asked, at) = ((body.field, &value), (hub.db.seen(), &mut *view));
        let page = fields::hits(at, &keys, asked, project, (after, CANDIDATES)).await?;
        let Some(last) = page.last() else { break };
        after = last.number;
        let is_last = page.len() < usize::try_from(CANDIDATES).unwrap_or(usize::MAX);
        for mut kept in page.into_iter().filter(|kept| kept.key.is_some()) {
            let document = sealing::open(&keys, &kept)?;
            if cases::values(&document, body.field).as_ref() != Some(&value) {
                continue;
            }
            if found.cases.len() == MOST_CASES {
                found.more = true;
                break 'pages;
            }
            kept.case.datasets = data::cases::datasets(&mut view, kept.number).await?;
            found.cases.push(kept.case);
        }
        if is_last {
            break;
        }
    }
    drop(view);
    drop(reader);
    let mut event =
        caller.event(Action::CaseSearch.act(), object("project", project), Some(project));
    event.purpose = Some(body.purpose.as_str().to_owned());
    let mut tx = hub.db.write().await?;
    let words = [body.field.as_str()];
    data::cases::record_read(&mut tx, organization, &event, body.purpose, &words).await?;
    tx.commit().await?;
    Ok(found)
}

/// Writes a document anew, with what else becomes of the case.
async fn write(
    hub: &Hub,
    caller: &Caller,
    action: Action,
    id: CaseId,
    change: impl Fn(&mut Case, &mut CaseDocument) -> Result<(), HubError>,
) -> Result<Case, HubError> {
    let organization =
        find(&mut *hub.db.read().await?, caller, action, id).await?.case.organization;
    let keys = sealing::keys(hub, organization).await?;
    let mut tx = hub.db.write().await?;
    let mut kept = find(&mut tx, caller, action, id).await?;
    let indexes = fields::writing(&mut tx, &keys).await?;
    let mut document = sealing::open(&keys, &kept)?;
    let notes = document.notes.clone();
    change(&mut kept.case, &mut document)?;
    checked(&document)?;
    signed(&mut document, &notes, caller);
    kept.case.version += 1;
    kept.case.changed = caller.at;
    let sealed = sealing::again(&keys, &kept, &document)?;
    data::cases::update(&mut tx, kept.number, &kept.case, &sealed).await?;
    data::case_indexes::remove_hashes_of(&mut tx, kept.number).await?;
    indexes.put(&mut tx, [(kept.number, &document)]).await?;
    let event = caller.event(action.act(), object("case", id), Some(kept.case.project));
    data::events::record(&mut tx, &event).await?;
    tx.commit().await?;
    descriptions::keep_after(hub).await;
    Ok(kept.case)
}

fn is_closed(case: &Case) -> Result<(), HubError> {
    if case.status == CaseStatus::Closed {
        return Err(HubError::conflict(format!("case {} is closed", case.id))
            .hint("add another case for what is new"));
    }
    Ok(())
}

/// Replaces the document by one that was made from the version that is named.
pub(crate) async fn update(
    hub: &Hub,
    caller: &Caller,
    id: CaseId,
    body: &UpdateCase,
) -> Result<Case, HubError> {
    write(hub, caller, Action::CaseUpdate, id, |case, document| {
        is_closed(case)?;
        if case.version != body.version {
            return Err(HubError::conflict(format!(
                "case {id} is at version {}, and this change was made from version {}",
                case.version, body.version
            ))
            .hint("read it again and make the change there"));
        }
        let concluded = document.conclusion.take();
        *document = body.document.clone();
        // A conclusion is written by its own act; a change of what it rests on opens the case again.
        document.conclusion = concluded;
        case.status = CaseStatus::Open;
        case.concluded_by = None;
        Ok(())
    })
    .await
}

/// Writes the conclusion.
pub(crate) async fn conclude(
    hub: &Hub,
    caller: &Caller,
    id: CaseId,
    body: &ConcludeCase,
) -> Result<Case, HubError> {
    write(hub, caller, Action::CaseConclude, id, |case, document| {
        is_closed(case)?;
        document.conclusion = Some(body.conclusion.clone());
        case.status = CaseStatus::Concluded;
        case.concluded_by = Some(caller.account());
        Ok(())
    })
    .await
}

/// Closes a case whose conclusion is written; by another person, where the organization wants that.
pub(crate) async fn close(hub: &Hub, caller: &Caller, id: CaseId) -> Result<Case, HubError> {
    let found = find(&mut *hub.db.read().await?, caller, Action::CaseClose, id).await?.case;
    // Nothing is opened for it, and still it is a write: without the customer's key there is none.
    sealing::keys(hub, found.organization).await?;
    let mut tx = hub.db.write().await?;
    let mut kept = find(&mut tx, caller, Action::CaseClose, id).await?;
    let case = &mut kept.case;
    match (case.status, case.concluded_by) {
        (CaseStatus::Closed, _) => return Ok(kept.case),
        (CaseStatus::Concluded, Some(by)) => {
            let rules = data::cases::rules(&mut tx, case.organization).await?;
            if rules.second_person && by == caller.account() {
                return Err(HubError::new(
                    api::ErrorCode::Forbidden,
                    format!("case {id} was concluded by the same person"),
                )
                .hint("this organization wants a second person to close a case")
                .refusing(
                    Action::CaseClose.act(),
                    object("case", id),
                    Some(case.project),
                ));
            }
        }
        _ => {
            return Err(HubError::conflict(format!("case {id} has no conclusion yet"))
                .hint("write one first: `chorion case conclude`"));
        }
    }
    case.status = CaseStatus::Closed;
    case.closed = Some(caller.at);
    case.changed = caller.at;
    data::cases::update(&mut tx, kept.number, &kept.case, &kept.document).await?;
    let event = caller.event(Action::CaseClose.act(), object("case", id), Some(kept.case.project));
    data::events::record(&mut tx, &event).await?;
    tx.commit().await?;
    descriptions::keep_after(hub).await;
    Ok(kept.case)
}

/// Links a sample or result of an organization's project that the caller may see.
pub(crate) async fn link(
    hub: &Hub,
    caller: &Caller,
    id: CaseId,
    dataset: DatasetId,
) -> Result<Case, HubError> {
    change_link(hub, caller, id, dataset, true).await
}

/// Takes the link away.
pub(crate) async fn unlink(
    hub: &Hub,
    caller: &Caller,
    id: CaseId,
    dataset: DatasetId,
) -> Result<Case, HubError> {
    change_link(hub, caller, id, dataset, false).await
}

async fn change_link(
    hub: &Hub,
    caller: &Caller,
    id: CaseId,
    dataset: DatasetId,
    linked: bool,
) -> Result<Case, HubError> {
    let found = find(&mut *hub.db.read().await?, caller, Action::CaseLink, id).await?.case;
    sealing::keys(hub, found.organization).await?;
    let mut tx = hub.db.write().await?;
    let mut kept = find(&mut tx, caller, Action::CaseLink, id).await?;
    is_closed(&kept.case)?;
    let (act, changed) = if linked {
        let gone = || HubError::not_found("dataset", dataset);
        let of = data::datasets::find(&mut tx, dataset).await?.ok_or_else(gone)?.dataset;
        let seen = super::projects::member(&mut tx, caller, of.project, false).await?;
        caller.may(Action::DatasetSee, seen, "dataset", dataset, Some(of.project))?;
        let organization = data::organizations::of_project(&mut tx, of.project).await?;
        let kinds = [api::DatasetKind::Sample, api::DatasetKind::Result];
        if organization != Some(kept.case.organization) || !kinds.contains(&of.kind) {
            return Err(HubError::conflict(format!(
                "dataset {dataset} is no sample or result of the case's organization"
            )));
        }
        ("case.link", data::cases::link(&mut tx, kept.number, dataset).await?)
    } else {
        ("case.unlink", data::cases::unlink(&mut tx, kept.number, dataset).await?)
    };
    if changed {
        let event = caller.event(act, object("case", id), Some(kept.case.project));
        data::events::record(&mut tx, &event).await?;
        kept.case.datasets = data::cases::datasets(&mut tx, kept.number).await?;
    }
    tx.commit().await?;
    descriptions::keep_after(hub).await;
    Ok(kept.case)
}

/// Deletes a case for ever, whether or not the customer's key is there: what cannot be opened can still be destroyed.
pub(crate) async fn delete(
    hub: &Hub,
    caller: &Caller,
    id: CaseId,
    body: &ConfirmDeletion,
) -> Result<Case, HubError> {
    let mut tx = hub.db.write().await?;
    let kept = find(&mut tx, caller, Action::CaseDelete, id).await?;
    if body.confirm != id.to_string() {
        return Err(HubError::bad_request(format!("the deletion of case {id} is not confirmed"))
            .hint("send its id once more as `confirm`: nothing brings a deleted case back"));
    }
    data::cases::destroy_key(&mut tx, kept.number).await?;
    let event = caller.event(Action::CaseDelete.act(), object("case", id), Some(kept.case.project));
    data::events::record(&mut tx, &event).await?;
    tx.commit().await?;
    // A caller that hangs up does not stop it half-way, and a stop of the hub is made good behind the calls.
    let work = hub.background.spawn({
        let hub = hub.clone();
        async move { finish_deletions(&hub, None).await }
    });
    work.await.map_err(|e| HubError::internal(format!("deleting case {id} was stopped"), e))??;
    Ok(kept.case)
}

/// Removes what is left of cases whose key is destroyed: their keys beside the descriptions, then, by a mark in every facility, what a
/// database from before has of them, then their rows and hashes; and empties the database's log of it.
pub(crate) async fn finish_deletions(
    hub: &Hub,
    project: Option<ProjectId>,
) -> Result<(), HubError> {
    let mut gone = 0;
    loop {
        // Nobody puts a key back meanwhile that was read before.
        let alone = hub.describing.lock().await;
        let some = data::cases::keyless(&mut *hub.db.read().await?, project, KEYS).await?;
        if some.is_empty() {
            break;
        }
        let mut sheets = BTreeMap::<_, Vec<_>>::new();
        for (number, id) in &some {
            sheets.entry(descriptions::sheet_of(*number)).or_default().push(id.to_bytes());
        }
        for (sheet, ids) in sheets {
            match hub.keys.destroy_record_keys(sheet.into_bytes(), &ids).await {
                // One that was never described has nothing to destroy.
                Ok(_) | Err(store::KeyStoreError::NoDataset { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        drop(alone);
        if project.is_none() {
            let marks: Vec<_> =
                some.iter().map(|(_, id)| super::datasets::deletion_mark(id.to_bytes())).collect();
            let pending = super::datasets::erase(hub, &marks).await?;
            if !pending.is_empty() {
                tracing::warn!(
                    ?pending,
                    "facilities are away and learn of deleted cases when they come back"
                );
            }
        }
        let mut tx = hub.db.write().await?;
        for (number, _) in &some {
            gone += data::cases::remove_keyless(&mut tx, *number).await?;
        }
        tx.commit().await?;
    }
    if gone > 0 {
        hub.db.forget().await?;
        descriptions::keep_after(hub).await;
    }
    Ok(())
}

/// Wraps case keys anew that lie under an older version of the organization data key than `to`; says how many there were.
pub(crate) async fn rewrap_keys(hub: &Hub, id: OrganizationId, to: u32) -> Result<u64, HubError> {
    let (mut after, mut anew) = (0, 0);
    loop {
        let keys = sealing::keys(hub, id).await?;
        let Some((last, some)) = rewrap_portion(&hub.db, &keys, after, to).await? else {
            // The version before goes when this is done: what is kept beside the descriptions must not be under it any more.
            descriptions::keep(hub).await?;
            return Ok(anew);
        };
        after = last;
        anew += some;
    }
}

/// The same for one portion of them, after the row of that number: the last row that was looked at, and how many keys it was.
pub(crate) async fn rewrap_portion(
    db: &data::Db,
    keys: &Keys,
    after: i64,
    to: u32,
) -> Result<Option<(i64, u64)>, HubError> {
    let mut tx = db.write().await?;
    let rows = data::cases::keys(&mut tx, keys.organization(), after, KEYS).await?;
    let Some(last) = rows.last().map(|row| row.0) else { return Ok(None) };
    let mut anew = Vec::with_capacity(rows.len());
    for (number, case, project, kept) in &rows {
        if let Some(key) = sealing::rewrapped(keys, *project, *case, kept, to)? {
            anew.push((*number, key));
        }
    }
    data::cases::set_keys(&mut tx, &anew).await?;
    tx.commit().await?;
    Ok(Some((last, anew.len() as u64)))
}

/// What an organization wants of its cases.
pub(crate) async fn rules(
    hub: &Hub,
    caller: &Caller,
    id: OrganizationId,
) -> Result<CaseRules, HubError> {
    let mut reader = hub.db.read().await?;
    super::organizations::may(&mut reader, caller, Action::FieldSee, id).await?;
    data::cases::rules(&mut reader, id).await
}

/// Changes that.
pub(crate) async fn set_rules(
    hub: &Hub,
    caller: &Caller,
    id: OrganizationId,
    rules: CaseRules,
) -> Result<CaseRules, HubError> {
    let mut tx = hub.db.write().await?;
    super::organizations::may(&mut tx, caller, Action::CaseRulesSet, id).await?;
    if data::cases::rules(&mut tx, id).await? != rules {
        data::cases::set_rules(&mut tx, id, rules).await?;
        let event = caller.event(Action::CaseRulesSet.act(), object("organization", id), None);
        data::events::record_for(&mut tx, id, &event).await?;
    }
    tx.commit().await?;
    Ok(rules)
}

/// Who read which fields of which case, and why: for those who audit.
pub(crate) async fn reads(
    hub: &Hub,
    caller: &Caller,
    id: OrganizationId,
    period: Period,
    after: &str,
    rows: i64,
) -> Result<Vec<AuditedRead>, HubError> {
    let mut reader = hub.db.read().await?;
    super::organizations::may(&mut reader, caller, Action::OrganizationAudit, id).await?;
    data::cases::reads(&mut reader, id, period, after, rows).await
}
