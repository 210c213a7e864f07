//! Organizations: whose accounts these are, what each is there, and what an auditor reads.

use serde::{Deserialize, Serialize};

use crate::{AccountId, Custodian, KeyId, KeyKind, OrganizationId, ProjectId, Right, Time};

/// What an account is in its organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Invites, disables, gives roles; no data by that alone.
    Administrator,
    /// Makes projects and reads results where it is a member.
    Clinician,
    /// Makes projects and runs instruments.
    Lab,
    /// Reads what was done and who may do what, and never data.
    Auditor,
}

impl Role {
    /// Its word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Administrator => "administrator",
            Self::Clinician => "clinician",
            Self::Lab => "lab",
            Self::Auditor => "auditor",
        }
    }
}

/// What an organization has agreed on with the operator.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Plan {
    /// Everything but a key of one's own.
    #[default]
    Standard,
    /// Bring-your-own-key besides.
    Enterprise,
}

impl Plan {
    /// Its word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Enterprise => "enterprise",
        }
    }
}

/// Where an account belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Belongs {
    /// The organization.
    pub organization: OrganizationId,
    /// As what.
    pub role: Role,
}

/// An organization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Organization {
    /// Its id.
    pub id: OrganizationId,
    /// What it is called.
    pub name: String,
    /// What it has agreed on with the operator.
    pub plan: Plan,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub created: Time,
    /// The X-Wing key to which outsiders wrap the keys of its datasets, where it has a key of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<crate::Bytes>,
}

/// `POST /organizations`.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateOrganization {
    /// What it is called.
    pub name: String,
    /// What it has agreed on with the operator.
    #[serde(default)]
    pub plan: Plan,
}

/// `PUT /organizations/{id}/plan`.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetPlan {
    /// The plan from now on.
    pub plan: Plan,
}

/// An account of an organization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrganizationMember {
    /// Who.
    pub account: AccountId,
    /// By what name.
    pub name: String,
    /// As what.
    pub role: Role,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub joined: Time,
    /// When it was disabled, if it was.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub disabled: Option<Time>,
}

/// `PUT /organizations/{id}/members/{account}`.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetRole {
    /// As what from now on.
    pub role: Role,
}

/// `POST /organizations/{id}/members`: makes an account of the organization.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InviteMember {
    /// The account's name.
    pub name: String,
    /// As what.
    pub role: Role,
}

/// An account of an organization as its auditor sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditedAccount {
    /// Who.
    pub account: AccountId,
    /// By what name.
    pub name: String,
    /// As what.
    pub role: Role,
    /// Since when it belongs to the organization.
    #[schema(value_type = String, format = DateTime)]
    pub joined: Time,
    /// When it was disabled, if it was.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub disabled: Option<Time>,
    /// When a key or a browser of it last called, to within ten minutes; `null` for never.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used: Option<Time>,
    /// How many keys sign for it now.
    pub keys: u32,
    /// With how many passkeys it signs in.
    pub passkeys: u32,
    /// Whether it has a password.
    pub password: bool,
}

/// A key of an account of an organization as its auditor sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditedKey {
    /// The key.
    pub key: KeyId,
    /// For whom it signs.
    pub account: AccountId,
    /// The kind.
    pub kind: KeyKind,
    /// The most that it may do; `null` for everything that its kind may.
    pub scope: Option<Right>,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub created: Time,
    /// Until when, if it has an end.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires: Option<Time>,
    /// When it was revoked, if it was.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked: Option<Time>,
    /// When it last signed a call, to within ten minutes; `null` for never.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used: Option<Time>,
}

/// A project of an organization as its auditor sees it: no name, and nothing of what is in it but how much.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditedProject {
    /// The project.
    pub project: ProjectId,
    /// Who releases its keys.
    pub custodian: Custodian,
    /// The account that owns it.
    pub owner: AccountId,
    /// The number of the card in force: it rises when the custodian or its key changes.
    pub card_number: u32,
    /// How many datasets it holds, each with a key of its own.
    pub datasets: u64,
    /// How many of them were written anew under new keys.
    pub resealed: u64,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub created: Time,
    /// Whether it is being deleted.
    pub deleting: bool,
}

/// Who may do what in a project of an organization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditedRight {
    /// The project.
    pub project: ProjectId,
    /// Who.
    pub account: AccountId,
    /// Whether the account belongs to the organization.
    pub inside: bool,
    /// What it may do; the table says what that means.
    pub right: Right,
}

/// Whether an organization has a key of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OwnKey {
    /// Its plan has none.
    NotInPlan,
    /// It has none yet.
    NotSet,
    /// It has one, which serves.
    InForce,
    /// It has taken its key away.
    TakenAway,
    /// The service of its key does not answer.
    Unreachable,
}

/// `GET /organizations/{id}/custody`: how the keys of an organization are held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrganizationCustody {
    /// Its plan.
    pub plan: Plan,
    /// Whether it has a key of its own.
    pub own_key: OwnKey,
    /// The same in a sentence.
    pub sentence: String,
}

/// `GET /permissions`: the one table of who may do what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PermissionTable {
    /// What kinds of caller there are, and what they are to the thing.
    pub columns: Vec<String>,
    /// The acts.
    pub acts: Vec<PermissionRow>,
}

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PermissionRow {
    /// The act, as events name it.
    pub act: String,
    /// For each column `yes`, `no` (refused), or `-` (there is no such thing for this caller).
    pub cells: Vec<String>,
}
