//! What operators see: the store, the audit list and blocks; and why a call was refused.

use api::{
    AddBlock, AddFacility, Block, BlockId, DrainFacility, Event, Explanation, RequestId,
    ScrubOutcome, StoreStatus,
};
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

    /// Compares what the facilities list, and fills gaps; reads nothing else.
    pub async fn repair_store(&self) -> Result<ScrubOutcome, ClientError> {
        self.call(Request::bare(Method::POST, "/store/repair").repeatable()).await
    }

    /// Makes a facility part of the store; it is filled while the hub goes on.
    pub async fn add_facility(&self, add: &AddFacility) -> Result<StoreStatus, ClientError> {
        self.call(Request::post("/store/facilities", add)).await
    }

    /// Has a facility leave the store once the others hold what it holds.
    pub async fn drain_facility(&self, drain: &DrainFacility) -> Result<StoreStatus, ClientError> {
        self.call(Request::post("/store/drain", drain)).await
    }

    /// Blocks in force (operators).
    pub fn blocks(&self) -> Listing<Block> {
        Listing::new(self, "/blocks")
    }

    /// Blocks an address or a key (operators).
    pub async fn add_block(&self, add: &AddBlock) -> Result<Block, ClientError> {
        self.call(Request::post("/blocks", add).repeatable()).await
    }

    /// Lifts a block (operators).
    pub async fn lift_block(&self, block: BlockId) -> Result<Block, ClientError> {
        self.call(Request::bare(Method::DELETE, format!("/blocks/{block}"))).await
    }

    /// Why a call was refused.
    pub async fn why(&self, call: RequestId) -> Result<Explanation, ClientError> {
        self.call(Request::get(format!("/refusals/{call}"))).await
    }

    /// The audit list, newest last.
    pub fn events(&self, filter: &EventFilter) -> Listing<Event> {
        Listing::new(self, with_query("/audit/events", &[("object", filter.object.clone())]))
    }
}
