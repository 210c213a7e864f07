//! What operators see: the store and the audit list.

use api::{Event, ScrubOutcome, StoreStatus};
use reqwest::Method;

use crate::connection::Request;
use crate::listing::with_query;
use crate::{Client, ClientError, Listing};

/// Which events to list.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Only those about this thing: `dataset:ID`, `project:ID`, …
    pub object: Option<String>,
}

impl Client {
    /// The state of the facilities.
    pub async fn store_status(&self) -> Result<StoreStatus, ClientError> {
        self.call(Request::get("/store")).await
    }

    /// Reads and checks every copy once, and heals what can be healed.
    pub async fn scrub_store(&self) -> Result<ScrubOutcome, ClientError> {
        self.call(Request::bare(Method::POST, "/store/scrub").repeatable()).await
    }

    /// The audit list, newest last.
    pub fn events(&self, filter: &EventFilter) -> Listing<Event> {
        Listing::new(self, with_query("/audit/events", &[("object", filter.object.clone())]))
    }
}
