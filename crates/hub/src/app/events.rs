//! The list of acts.

use api::{Event, ProjectId};

use crate::HubError;
use crate::app::Caller;
use crate::data::events::{self, Scope};
use crate::policy::Action;
use crate::state::Hub;

/// The newest events of these projects of the caller's own, the newest first.
pub(crate) async fn newest_of(
    hub: &Hub,
    caller: &Caller,
    projects: &[ProjectId],
    most: usize,
) -> Result<Vec<Event>, HubError> {
    caller.may_here(Action::EventList)?;
    let mut reader = hub.db.read().await?;
    let mut all = Vec::new();
    for project in projects {
        all.extend(events::newest(&mut reader, caller.account(), *project, most).await?);
    }
    all.sort_by_key(|event| std::cmp::Reverse(event.id));
    all.truncate(most);
    Ok(all)
}

/// Events that the caller may see.
pub(crate) async fn list(
    hub: &Hub,
    caller: &Caller,
    object: Option<&str>,
    after: &str,
    rows: i64,
) -> Result<Vec<Event>, HubError> {
    caller.may_here(Action::EventList)?;
    let scope =
        if caller.is_operator() { Scope::Everything } else { Scope::OwnedBy(caller.account()) };
    events::list(&mut *hub.db.read().await?, scope, object, after, rows).await
}
