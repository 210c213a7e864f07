//! Notices for the caller.

use api::{Notice, NoticeId, NoticeMail, Page, SetNoticeMail};
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Id, Params};
use super::page::{PageParams, Paging};
use crate::HubError;
use crate::app::{self, Caller};
use crate::state::Hub;

/// The routes of this noun.
pub(crate) fn routes() -> OpenApiRouter<Hub> {
    OpenApiRouter::default()
        .routes(routes!(list))
        .routes(routes!(read))
        .routes(routes!(mail, set_mail))
}

/// Which notices.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Only those that were not read.
    #[serde(default)]
    unread: bool,
}

/// Notices for the caller, oldest first.
#[utoipa::path(get, path = "/notices", tag = "notice", params(Which, PageParams),
    responses((status = 200, body = Page<Notice>)))]
async fn list(
    State(hub): State<Hub>,
    caller: Caller,
    Params(which): Params<Which>,
    paging: Paging,
) -> Result<Json<Page<Notice>>, HubError> {
    let rows =
        app::notices::list(&hub, &caller, which.unread, &paging.after, paging.rows()).await?;
    Ok(Json(paging.page(rows, |notice| notice.id.to_string())))
}

/// Marks a notice as read.
#[utoipa::path(post, path = "/notices/{id}/read", tag = "notice",
    params(("id" = NoticeId, Path)), responses((status = 200, body = Notice)))]
async fn read(
    State(hub): State<Hub>,
    caller: Caller,
    Id(id): Id<NoticeId>,
) -> Result<Json<Notice>, HubError> {
    app::notices::read(&hub, &caller, id).await.map(Json)
}

/// Where mail goes that says that notices wait.
#[utoipa::path(get, path = "/notices/mail", tag = "notice", responses((status = 200, body = NoticeMail)))]
async fn mail(State(hub): State<Hub>, caller: Caller) -> Result<Json<NoticeMail>, HubError> {
    app::notices::mail(&hub, &caller).await.map(Json)
}

/// Sets where that mail goes, or that there is none.
#[utoipa::path(put, path = "/notices/mail", tag = "notice", request_body = SetNoticeMail,
    responses((status = 200, body = NoticeMail)))]
async fn set_mail(
    State(hub): State<Hub>,
    caller: Caller,
    Body(body): Body<SetNoticeMail>,
) -> Result<Json<NoticeMail>, HubError> {
    app::notices::set_mail(&hub, &caller, &body).await.map(Json)
}
