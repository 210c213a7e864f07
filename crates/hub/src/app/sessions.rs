//! App sessions: launched, shown, cancelled. What happens in between is a task of a vault.

use std::collections::BTreeMap;

use api::{
    AppSession, Bytes, Custodian, DatasetId, DatasetKind, Digest, ErrorCode, ExecutionState,
    Launch, LaunchSettings, ListOrder, ProjectId, SessionId, SessionInput, TaskId, TaskKind,
    TaskState,
};
use custody::SHOWN;
use proof::ProjectCard;
use seal::DatasetKey;
use seal::label::seal_label;
use seal::recipient::{RecipientKey, wrap_to};
use seal::wrap::DatasetContext;

use super::caller::object;
use super::datasets::{Made, make, permitted};
use super::manifests::Contents;
use super::{Caller, Who, tasks};
use crate::HubError;
use crate::data::datasets::NewDataset;
use crate::data::sessions::Kept;
use crate::data::tasks::NewTask;
use crate::data::{self, Connection};
use crate::policy::{Action, Standing};
use crate::state::Hub;

/// How many inputs a session has at most.
const MOST_INPUTS: usize = 100;

/// Launches an app: makes the result, which is empty until the vault fills it, and queues the task. The same call again
/// gives the same session.
pub(crate) async fn launch(
    hub: &Hub,
    caller: &Caller,
    body: Launch,
    made_by: Digest,
) -> Result<AppSession, HubError> {
    let mut reader = hub.db.read().await?;
    let standing = tasks::project_standing(&mut reader, caller, body.project).await?;
    caller.may(Action::LaunchInto, standing, "project", body.project, Some(body.project))?;
    drop(reader);
    hub.open_keys_of(body.project).await?;
    let mut tx = hub.db.write().await?;
    let standing = tasks::project_standing(&mut tx, caller, body.project).await?;
    caller.may(Action::LaunchInto, standing, "project", body.project, Some(body.project))?;
    if let Some(before) = data::sessions::find(&mut tx, body.id).await? {
        let same = before.made_by == made_by && before.session.owner == caller.account();
        return if same {
            Ok(before.session)
        } else {
            Err(HubError::conflict(format!("the session id {} is taken", body.id))
                .hint("choose another id"))
        };
    }
    let asked = asked(&mut tx, body.app).await?;
    if body.inputs.is_empty() || body.inputs.len() > MOST_INPUTS {
        return Err(HubError::bad_request(format!("a session has 1 to {MOST_INPUTS} inputs")));
    }
    let mut inputs = Vec::with_capacity(body.inputs.len() + 1);
    for input in &body.inputs {
        if input.name == tasks::package_name() {
            return Err(HubError::bad_request("no input of an app is named `package`"));
        }
        inputs.push((input.name.clone(), readable(&mut tx, caller, input.dataset).await?));
    }
    match asked.package {
        Some(package) => {
            inputs.push((tasks::package_name(), readable(&mut tx, caller, package).await?));
        }
        None if inputs.len() == 1 => {}
        None => return Err(HubError::bad_request("a query is asked of one dataset")),
    }

    let task = TaskId::generate();
    let new = NewDataset {
        id: body.result,
        kind: DatasetKind::Result,
        project: body.project,
        owner: caller.account(),
        writer: launching_key(hub, caller)?,
        label: &body.label,
        settings: None,
        parent: body.inputs.first().map(|input| input.dataset),
        session: Some(body.id),
        task: Some(task),
        reads: None,
        card_digest: body.card_digest,
        made_by,
        created: caller.at,
    };
    if let Made::Before(result) = make(hub, &mut tx, caller, &new, &body.wrapped_key.0).await? {
        return Err(HubError::conflict(format!("the dataset id {} is taken", result.id))
            .hint("choose another id for the result"));
    }
    data::tasks::insert(
        &mut tx,
        &NewTask {
            id: task,
            kind: asked.kind,
            subject: inputs[0].1,
            session: Some(body.id),
            project: body.project,
            owner: caller.account(),
            key: launching_key(hub, caller)?,
            settings: None,
            requeue: false,
            early: false,
            inputs: &inputs,
            created: caller.at,
        },
    )
    .await?;
    let kept = Kept {
        settings: body.settings,
        made_by,
        session: AppSession {
            id: body.id,
            app: body.app,
            app_name: asked.name,
            app_version: asked.version,
            app_digest: asked.digest,
            owner: caller.account(),
            inputs: body.inputs,
            project: body.project,
            result: body.result,
            state: TaskState::Queued,
            reason: None,
            task,
            created: caller.at,
            started: None,
            ended: None,
        },
    };
    data::sessions::insert(&mut tx, &kept).await?;
    let event = caller.event("session.launch", object("session", body.id), Some(body.project));
    data::events::record(&mut tx, &event).await?;
    tx.commit().await?;
    hub.engine.wake();
    Ok(kept.session)
}

/// What a person asks for on a page; everything that is sealed is sealed here.
pub(crate) struct Wanted {
    /// Which app.
    pub(crate) app: api::AppId,
    /// Its inputs.
    pub(crate) inputs: Vec<SessionInput>,
    /// Values of its form.
    pub(crate) params: BTreeMap<String, String>,
    /// Into which project.
    pub(crate) project: ProjectId,
    /// What the result is called.
    pub(crate) name: String,
}

/// Launches an app for a person in a browser, which has no key: the hub draws the result's key and seals what the person said,
/// as it may where it could open both anyway. Not for a project whose owner alone holds the key: there only a device of
/// the person's own may see what is asked.
pub(crate) async fn launch_for(
    hub: &Hub,
    caller: &Caller,
    wanted: Wanted,
) -> Result<AppSession, HubError> {
    let project = wanted.project;
    let mut reader = hub.db.read().await?;
    let standing = tasks::project_standing(&mut reader, caller, project).await?;
    caller.may(Action::LaunchInto, standing, "project", project, Some(project))?;
    let card = super::projects::in_force(&mut reader, project).await?;
    drop(reader);
    let (facts, _signer) = ProjectCard::open(&card.signed, project)
        .map_err(|e| HubError::internal("a card in the database does not read", e))?;
    if facts.custodian() == Custodian::Owner {
        return Err(HubError::new(
            ErrorCode::KeyRefused,
            format!("the owner of project {project} alone may read what is asked of it"),
        )
        .hint("launch it from your machine: `chorion app launch`, with --purpose"));
    }
    let failed = |e: &dyn std::error::Error| {
        HubError::internal("the settings of a session were not sealed", e.to_string())
    };
    let (id, result) = (SessionId::generate(), DatasetId::generate());
    let place = DatasetContext {
        dataset: result.to_bytes(),
        project: project.to_bytes(),
        card_digest: card.digest.0,
        epoch: 0,
    };
    let settings = LaunchSettings { params: wanted.params, ..LaunchSettings::default() };
    let settings = serde_json::to_vec(&settings).map_err(|e| failed(&e))?;
    let key = DatasetKey::generate().map_err(|e| failed(&e))?;
    let recipient = RecipientKey::from_bytes(facts.recipient()).map_err(|e| failed(&e))?;
    let wrapped = wrap_to(&recipient, &place.bytes(), &key).map_err(|e| failed(&e))?;
    let seal = |purpose: &str, text: &[u8]| {
        seal_label(&key, purpose, text).map(Bytes).map_err(|e| failed(&e))
    };
    let launched = Launch {
        id,
        app: wanted.app,
        inputs: wanted.inputs,
        project,
        wrapped_key: Bytes(wrapped),
        result,
        card_digest: card.digest,
        settings: seal("launch settings", &settings)?,
        label: seal("dataset name", wanted.name.as_bytes())?,
    };
    // A new id each time: there is no call of which this could be the repetition.
    launch(hub, caller, launched, proof::sha256(&id.to_bytes())).await
}

/// Under which key what is launched stands: the one that signs the call; for a person in a browser this hub's own, which
/// sealed it for them.
fn launching_key(hub: &Hub, caller: &Caller) -> Result<api::KeyId, HubError> {
    match &caller.who {
        Who::Browser { .. } => Ok(hub.card_key.public().id()),
        _ => super::manifests::signing_key(caller),
    }
}

/// What a session printed, and what stopped it: the files of its result that pages show, each with its path, opened through
/// the custodian. Recorded, as every reading of content is.
pub(crate) async fn log(
    hub: &Hub,
    caller: &Caller,
    id: SessionId,
) -> Result<Vec<(&'static str, String)>, HubError> {
    let mut reader = hub.db.read().await?;
    let result = session(&mut reader, caller, id, Action::SessionSee).await?.session.result;
    let kept = permitted(&mut reader, caller, result, Action::LogRead).await?;
    drop(reader);
    let mut found = Vec::new();
    let Some(contents) = Contents::open(hub, &kept).await? else { return Ok(found) };
    for path in SHOWN.into_iter().filter(|path| path.starts_with("log/")) {
        let bytes = contents.shown(hub, path).await?.unwrap_or_default();
        if !bytes.is_empty() {
            found.push((path, String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
    if !found.is_empty() {
        let mut tx = hub.db.write().await?;
        let project = Some(kept.dataset.project);
        let event = caller.event(Action::LogRead.act(), object("dataset", result), project);
        data::events::record(&mut tx, &event).await?;
        tx.commit().await?;
    }
    Ok(found)
}

/// What is launched: a registered app, or the vault's own answering of queries.
struct Asked {
    kind: TaskKind,
    name: String,
    version: String,
    digest: Digest,
    /// What is in no package needs none.
    package: Option<DatasetId>,
}

async fn asked(at: &mut Connection, app: api::AppId) -> Result<Asked, HubError> {
    if app == api::query::APP {
        return Ok(Asked {
            kind: TaskKind::Query,
            name: "query".to_owned(),
            version: "1".to_owned(),
            digest: proof::sha256(api::query::APP_DIGEST_OF.as_bytes()),
            package: None,
        });
    }
    let Some((app, _)) = data::apps::find(at, app).await? else {
        return Err(HubError::not_found("app", app));
    };
    Ok(Asked {
        kind: TaskKind::App,
        name: app.name,
        version: app.version,
        digest: app.digest,
        package: Some(app.package),
    })
}

/// A dataset that the caller may give to an app: whole, and readable by the caller.
async fn readable(
    at: &mut Connection,
    caller: &Caller,
    id: DatasetId,
) -> Result<DatasetId, HubError> {
    let kept = permitted(at, caller, id, Action::LaunchInput).await?;
    let whole =
        matches!(kept.dataset.execution, ExecutionState::Complete | ExecutionState::Superseded);
    if whole && kept.dataset.manifest_number > 0 {
        return Ok(id);
    }
    let state = data::word(kept.dataset.execution);
    Err(HubError::conflict(format!("dataset {id} is {state} and no input for an app"))
        .hint("wait until it is complete"))
}

/// The session, if the caller may do `action` to it.
async fn session(
    at: &mut Connection,
    caller: &Caller,
    id: SessionId,
    action: Action,
) -> Result<Kept, HubError> {
    let Some(kept) = data::sessions::find(at, id).await? else {
        return Err(HubError::not_found("session", id));
    };
    let standing = match super::projects::standing(at, caller, kept.session.project).await? {
        Standing::Member { right, .. } => {
            Standing::Member { right, maker: kept.session.owner == caller.account() }
        }
        other => other,
    };
    caller.may(action, standing, "session", id, Some(kept.session.project))?;
    Ok(kept)
}

/// One session.
pub(crate) async fn show(
    hub: &Hub,
    caller: &Caller,
    id: SessionId,
) -> Result<AppSession, HubError> {
    let mut reader = hub.db.read().await?;
    Ok(session(&mut reader, caller, id, Action::SessionSee).await?.session)
}

/// Sessions into projects of the caller.
pub(crate) async fn list(
    hub: &Hub,
    caller: &Caller,
    project: Option<ProjectId>,
    order: ListOrder,
    after: &str,
    rows: i64,
) -> Result<Vec<AppSession>, HubError> {
    caller.may_here(Action::ListOwn)?;
    let mut reader = hub.db.read().await?;
    data::sessions::list(&mut reader, caller.viewer(), project, order, after, rows).await
}

/// Stops a session: its vault is ended, and nothing that it still sends counts. A session that has ended stays as it is.
pub(crate) async fn cancel(
    hub: &Hub,
    caller: &Caller,
    id: SessionId,
) -> Result<AppSession, HubError> {
    let mut tx = hub.db.write().await?;
    let kept = session(&mut tx, caller, id, Action::SessionCancel).await?;
    let Some(task) = data::tasks::find(&mut tx, kept.session.task).await? else {
        return Err(HubError::not_found("session", id));
    };
    if !matches!(task.task.state, TaskState::Queued | TaskState::Running) {
        return Ok(kept.session);
    }
    let why = Some("cancelled by a person");
    tasks::close(hub, &mut tx, &task, TaskState::Cancelled, why, None, caller.at).await?;
    let event = caller.event("session.cancel", object("session", id), Some(kept.session.project));
    data::events::record(&mut tx, &event).await?;
    let session = data::sessions::find(&mut tx, id).await?;
    tx.commit().await?;
    hub.engine.stop_cancelled();
    hub.changes.made();
    session.map(|kept| kept.session).ok_or_else(|| HubError::not_found("session", id))
}
