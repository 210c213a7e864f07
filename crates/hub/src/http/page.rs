//! Lists in pages. A page names the next one by path and query, so that whoever follows it needs to know nothing.
//!
//! The cursor is the id of the last item, made opaque: a list is in the order of ids, and what is added or removed
//! meanwhile neither repeats an item nor hides one.

use api::{Page, PageQuery};
use axum::extract::{FromRequestParts, OriginalUri};
use axum::http::request::Parts;
use data_encoding::BASE64URL_NOPAD;

use super::extract::Params;
use crate::HubError;

const MOST: u32 = 1000;
const USUAL: u32 = 200;

/// Where a list goes on and how far.
#[derive(Debug, Clone)]
pub(crate) struct Paging {
    /// The id after which it goes on; empty at the start, which is before every id.
    pub(crate) after: String,
    limit: u32,
    path: String,
    /// The query without cursor and limit, as it was written.
    query: String,
}

/// How the parameters of a list stand in the document of all calls.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it is read by the derive, for the document")]
pub(crate) struct PageParams {
    /// Where to go on: opaque, from `next` of the page before.
    cursor: Option<String>,
    /// At most so many items, 1 to 1000; 200 if absent.
    limit: Option<u32>,
}

impl<S: Send + Sync> FromRequestParts<S> for Paging {
    type Rejection = HubError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HubError> {
        let Params(asked) = Params::<PageQuery>::from_request_parts(parts, state).await?;
        let limit = asked.limit.unwrap_or(USUAL);
        if !(1..=MOST).contains(&limit) {
            return Err(HubError::bad_request(format!("the limit {limit} is not 1 to {MOST}")));
        }
        let after = match asked.cursor {
            None => String::new(),
            Some(cursor) => BASE64URL_NOPAD
                .decode(cursor.as_bytes())
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .filter(|id| id.len() <= 72)
                .ok_or_else(|| {
                    HubError::bad_request("the cursor is none of this hub's")
                        .hint("follow `next` of the page before, as it is")
                })?,
        };
        let uri = parts
            .extensions
            .get::<OriginalUri>()
            .map_or_else(|| parts.uri.clone(), |original| original.0.clone());
        let kept = |part: &&str| !part.starts_with("cursor=") && !part.starts_with("limit=");
        let query: Vec<&str> = uri.query().unwrap_or("").split('&').filter(kept).collect();
        Ok(Self { after, limit, path: uri.path().to_owned(), query: query.join("&") })
    }
}

impl Paging {
    /// The beginning of the list at a path: for a page that is drawn in answer to a form.
    pub(crate) fn first(path: String) -> Self {
        Self { after: String::new(), limit: USUAL, path, query: String::new() }
    }

    /// At most so many items, however many were asked for.
    pub(crate) fn at_most(self, limit: u32) -> Self {
        Self { limit: self.limit.min(limit), ..self }
    }

    /// How many rows to ask the database for: one more than a page holds, to know whether there is another.
    pub(crate) fn rows(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// The page of these rows, each named by its id.
    pub(crate) fn page<T>(self, mut rows: Vec<T>, id: impl Fn(&T) -> String) -> Page<T> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|last| {
            let cursor = BASE64URL_NOPAD.encode(id(last).as_bytes());
            let and = if self.query.is_empty() { "" } else { "&" };
            format!("{}?{}{and}limit={}&cursor={cursor}", self.path, self.query, self.limit)
        });
        Page { items: rows, next }
    }
}
