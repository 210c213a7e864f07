//! Blocks of keys and addresses that were refused too often, and why a call was refused.

use serde::{Deserialize, Serialize};

use crate::{AccountId, BlockId, Member, ProjectId, RequestId, Right, Time};

/// Who is not answered, why, and until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// Its id.
    pub id: BlockId,
    /// Who: `address:192.0.2.7`, `address:2001:db8::/64` or `key:ID`.
    pub subject: String,
    /// Why.
    pub reason: String,
    /// The operator who set it; absent if the hub did.
    pub by: Option<AccountId>,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Time,
    /// Until when; absent until somebody lifts it.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Time>,
    /// How many blocks in a row this is.
    pub times: u32,
}

/// `POST /blocks`: an operator blocks somebody.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddBlock {
    /// Who: `address:192.0.2.7`, `address:2001:db8::/64` or `key:ID`.
    pub subject: String,
    /// For how long; until it is lifted if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u32>,
    /// Why, in one line: the blocked caller reads it.
    pub reason: String,
}

/// `GET /refusals/{call}`: why a call was refused, for those who may know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Explanation {
    /// The call.
    pub call: RequestId,
    /// When it came.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// Who made it: `account:ID`, `vault:ID` or `nobody`.
    pub actor: String,
    /// What it wanted to do.
    pub act: String,
    /// To what: `dataset:ID`, `project:ID`, …
    pub object: String,
    /// The project that the thing belongs to.
    pub project: Option<ProjectId>,
    /// The code of the refusal.
    pub code: String,
    /// What is needed to do it, in one sentence.
    pub needed: String,
    /// The right of the caller's account in the project, as it is now.
    pub has: Option<Right>,
    /// Who can give the right: the owner and the admins of the project.
    pub granted_by: Vec<Member>,
    /// The next step, in one sentence.
    pub hint: String,
}
