//! The list of acts.

use api::{Event, Page};
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::Params;
use super::page::{PageParams, Paging};
use crate::HubError;
use crate::app::{self, Caller};
use crate::state::Hub;

/// The routes of this noun.
pub(crate) fn routes() -> OpenApiRouter<Hub> {
    OpenApiRouter::default().routes(routes!(list))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// Only acts on this thing, as `kind:id`.
    object: Option<String>,
}

/// Acts, oldest first: all for operators, those in their own projects for everybody else.
#[utoipa::path(get, path = "/audit/events", tag = "audit", params(Filter, PageParams),
    responses((status = 200, body = Page<Event>)))]
async fn list(
    State(hub): State<Hub>,
    caller: Caller,
    Params(filter): Params<Filter>,
    paging: Paging,
) -> Result<Json<Page<Event>>, HubError> {
    let object = filter.object.as_deref();
    let rows = app::events::list(&hub, &caller, object, &paging.after, paging.rows()).await?;
    Ok(Json(paging.page(rows, |event| event.id.to_string())))
}
