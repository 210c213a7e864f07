//! The list of acts.

use api::Event;

use crate::HubError;
use crate::app::Caller;
use crate::data::events::{self, Scope};
use crate::policy::Action;
use crate::state::Hub;

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
