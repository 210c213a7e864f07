//! Apps: a package that lies here as a dataset, registered under a name and a version.

use api::{App, AppId, DatasetKind, Digest, ErrorCode, ExecutionState, RegisterApp};

use super::Caller;
use super::caller::object;
use super::datasets::permitted;
use crate::HubError;
use crate::data;
use crate::policy::{Action, Standing};
use crate::state::Hub;

/// The longest manifest: forms are made from it, so it is a page of text.
const MOST_MANIFEST_BYTES: usize = 256 * 1024;
/// The longest name, version or title.
const MOST_TEXT_BYTES: usize = 200;

/// Registers an app whose package the caller may change. The same call again gives the same app.
pub(crate) async fn register(
    hub: &Hub,
    caller: &Caller,
    body: RegisterApp,
    made_by: Digest,
) -> Result<App, HubError> {
    let mut tx = hub.db.write().await?;
    let package = permitted(&mut tx, caller, body.package, Action::AppRegister).await?.dataset;
    let taken =
        || HubError::conflict(format!("the app id {} is taken", body.id)).hint("choose another id");
    if let Some((app, before)) = data::apps::find(&mut tx, body.id).await? {
        return if before == made_by && app.owner == caller.account() {
            Ok(app)
        } else {
            Err(taken())
        };
    }
    if package.kind != DatasetKind::App || package.execution != ExecutionState::Complete {
        return Err(HubError::conflict(format!(
            "dataset {} is no whole package of an app",
            package.id
        ))
        .hint("send the package first: `chorion app register` does both"));
    }
    for (what, text) in [("name", &body.name), ("version", &body.version), ("title", &body.title)] {
        if text.is_empty() || text.len() > MOST_TEXT_BYTES || text.chars().any(char::is_control) {
            return Err(HubError::bad_request(format!(
                "the app's {what} is not one line of 1 to {MOST_TEXT_BYTES} bytes"
            )));
        }
    }
    if body.manifest.len() > MOST_MANIFEST_BYTES {
        return Err(HubError::new(
            ErrorCode::TooLarge,
            format!("the app's manifest is longer than {MOST_MANIFEST_BYTES} bytes"),
        ));
    }
    let app = App {
        id: body.id,
        name: body.name,
        version: body.version,
        title: body.title,
        digest: body.digest,
        package: body.package,
        manifest: body.manifest,
        owner: caller.account(),
        created: caller.at,
    };
    match data::apps::insert(&mut tx, &app, made_by).await {
        Ok(()) => {}
        Err(error) if data::is_taken(&error) => {
            return Err(HubError::conflict(format!("the app id {} is taken", app.id)));
        }
        Err(error) => return Err(error.into()),
    }
    let event = caller.event("app.register", object("app", app.id), Some(package.project));
    data::events::record(&mut tx, &event).await?;
    tx.commit().await?;
    Ok(app)
}

/// Apps whose packages lie in projects of the caller.
pub(crate) async fn list(
    hub: &Hub,
    caller: &Caller,
    after: &str,
    rows: i64,
) -> Result<Vec<App>, HubError> {
    caller.may_here(Action::AppSee)?;
    let mut reader = hub.db.read().await?;
    data::apps::list(&mut reader, caller.viewer(), after, rows).await
}

/// One app, for whoever may see its package.
pub(crate) async fn show(hub: &Hub, caller: &Caller, id: AppId) -> Result<App, HubError> {
    caller.may_here(Action::AppSee)?;
    let mut reader = hub.db.read().await?;
    let Some((app, _)) = data::apps::find(&mut reader, id).await? else {
        return Err(HubError::not_found("app", id));
    };
    let found = data::datasets::find(&mut reader, app.package).await?;
    let package = found.ok_or_else(|| HubError::not_found("app", id))?.dataset;
    let standing = super::datasets::standing(&mut reader, caller, &package).await?;
    if standing == Standing::Stranger {
        return Err(HubError::not_found("app", id));
    }
    Ok(app)
}
