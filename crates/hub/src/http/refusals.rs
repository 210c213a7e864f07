//! Why a call was refused.

use api::{Explanation, RequestId};
use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::Id;
use crate::HubError;
use crate::app::{self, Caller};
use crate::state::Hub;

/// The routes of this noun.
pub(crate) fn routes() -> OpenApiRouter<Hub> {
    OpenApiRouter::default().routes(routes!(why))
}

/// Why a call was refused: what was needed, what the caller has, who can give it.
///
/// For the caller itself, the owner and the admins of the project, and for acts about the hub its operators.
#[utoipa::path(get, path = "/refusals/{id}", tag = "refusal", params(("id" = RequestId, Path)),
    responses((status = 200, body = Explanation)))]
async fn why(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<RequestId>,
) -> Result<Json<Explanation>, HubError> {
    app::refusals::why(&hub, &caller, id).await.map(Json)
}
