//! Lists that come in pages: whoever reads on gets them all.

use std::collections::VecDeque;
use std::fmt;

use api::{API_PREFIX, Page};
use serde::de::DeserializeOwned;

use crate::connection::Request;
use crate::{Client, ClientError};

/// A list of the hub's, page after page.
pub struct Listing<T> {
    client: Client,
    /// Path and query of the next page, after the prefix of the API.
    next: Option<String>,
    ready: VecDeque<T>,
}

impl<T> fmt::Debug for Listing<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listing").field("next", &self.next).finish_non_exhaustive()
    }
}

impl<T: DeserializeOwned> Listing<T> {
    pub(crate) fn new(client: &Client, path: impl Into<String>) -> Self {
        Self { client: client.clone(), next: Some(path.into()), ready: VecDeque::new() }
    }

    /// The next item, `None` after the last.
    pub async fn next(&mut self) -> Result<Option<T>, ClientError> {
        while self.ready.is_empty() {
            let Some(path) = self.next.take() else { return Ok(None) };
            let request = Request::get(&path);
            let page: Page<T> = self.client.call(request.clone()).await?;
            self.ready = page.items.into();
            if let Some(next) = page.next {
                // Only further down the same API, and never the page we come from: a list must end.
                match next.strip_prefix(API_PREFIX) {
                    Some(next) if next.starts_with('/') && next != path => {
                        self.next = Some(next.to_owned());
                    }
                    _ => {
                        let why = format!("its next page `{next}` is none of this list");
                        return Err(self.client.unreadable(&request, why));
                    }
                }
            }
        }
        Ok(self.ready.pop_front())
    }

    /// All items.
    pub async fn all(mut self) -> Result<Vec<T>, ClientError> {
        let mut items = Vec::new();
        while let Some(item) = self.next().await? {
            items.push(item);
        }
        Ok(items)
    }

    /// At most the first `count` items.
    pub async fn first(mut self, count: usize) -> Result<Vec<T>, ClientError> {
        let mut items = Vec::new();
        while items.len() < count
            && let Some(item) = self.next().await?
        {
            items.push(item);
        }
        Ok(items)
    }
}

/// A path with those of the parts of a query that are there; values must need no escape.
pub(crate) fn with_query(path: &str, parts: &[(&str, Option<String>)]) -> String {
    let mut text = path.to_owned();
    let mut mark = '?';
    for (name, value) in parts {
        if let Some(value) = value {
            text.push(mark);
            text.push_str(name);
            text.push('=');
            text.push_str(value);
            mark = '&';
        }
    }
    text
}
