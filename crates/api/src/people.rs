//! Accounts and the keys that sign for them.

use serde::{Deserialize, Serialize};

use crate::{AccountId, Belongs, Bytes, KeyApp, KeyId, ProjectId, Right, Time};

/// A person or a script with an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// How it calls itself; what the operator and fellow members see.
    pub name: String,
    /// Whether it runs this hub: store, audit list and invitations.
    pub operator: bool,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub created: Time,
    /// When it was disabled, if it was: none of its keys signs any more.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub disabled: Option<Time>,
    /// The organization that it belongs to, and as what.
    #[serde(default)]
    pub belongs: Option<Belongs>,
}

/// What a key may do at all, before any project is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// A person's key: everything its account may do.
    Person,
    /// An instrument's key: sends runs and nothing else.
    Instrument,
}

/// What a key is limited to, for a script or an outside app: never more than its account may do, and usually less.
///
/// A limited key makes no projects, adds no keys, invites nobody, and neither transfers nor deletes a project, whatever its
/// account may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyLimit {
    /// The only projects that it finds; `null` for every project of its account, also those to come.
    pub projects: Option<Vec<ProjectId>>,
    /// The most that it may do in them: `browse`, `read`, `create` or `write`.
    pub scope: Right,
    /// Until when it signs; `null` until it is revoked.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires: Option<Time>,
}

/// A public key that signs calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Its id, computed from the key.
    pub id: KeyId,
    /// For whom it signs.
    pub account: AccountId,
    /// The kind.
    pub kind: KeyKind,
    /// Where it lies, in its owner's words.
    pub name: String,
    /// The Ed25519 public key, 32 bytes.
    pub public_key: Bytes,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub created: Time,
    /// When it was revoked, if it was.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked: Option<Time>,
    /// What it is limited to; `null` for everything that its kind may.
    #[serde(default)]
    pub limit: Option<KeyLimit>,
    /// The outside app that it was given to, by consent; revoking the key withdraws it.
    #[serde(default)]
    pub app: Option<KeyApp>,
}

/// `POST /enrol`: the first key of an account, against a one-time code. The call is signed by the key it enrols.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Enrol {
    /// The one-time code.
    pub code: String,
    /// The account's name; an invitation may have set it already.
    pub account_name: String,
    /// Where the key lies: "laptop", "the `NovaSeq`".
    pub key_name: String,
    /// The Ed25519 public key, 32 bytes.
    pub public_key: Bytes,
}

/// `POST /accounts`: an operator invites.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Invite {
    /// The account's name.
    pub name: String,
    /// Whether it shall run this hub too.
    #[serde(default)]
    pub operator: bool,
}

/// The answer to an invitation: shown once, kept hashed.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Invitation {
    /// The account, already there and without a key.
    pub account: Account,
    /// The one-time code that enrols its first key.
    pub code: String,
    /// Until when.
    #[schema(value_type = String, format = DateTime)]
    pub expires: Time,
}

/// `POST /keys`: one more key for the caller's account.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddKey {
    /// The kind.
    pub kind: KeyKind,
    /// Where it lies.
    pub name: String,
    /// The Ed25519 public key, 32 bytes.
    pub public_key: Bytes,
    /// What it shall be limited to; `null` for everything that its kind may.
    #[serde(default)]
    pub limit: Option<KeyLimit>,
}

/// `PUT /account/password`: by which name and password the caller's account signs in with a browser.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetPassword {
    /// The name: 2 to 64 letters, digits and `. _ @ + -`; small and capital letters are one.
    pub sign_in_name: String,
    /// The password: at least 12 characters, of any kind.
    pub password: crate::Secret,
}

/// `GET /whoami`.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Whoami {
    /// The account.
    pub account: Account,
    /// The key that signed this call.
    pub key: Key,
    /// The hub.
    pub hub: HubInfo,
}

/// What a hub says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HubInfo {
    /// Its id: made at first start, stands in cards, manifests and receipts.
    pub id: String,
    /// The program's version.
    pub version: String,
    /// The Ed25519 key that signs platform cards, 32 bytes.
    pub card_key: Bytes,
    /// To which X-Wing key each custodian it offers takes dataset keys.
    pub custodians: Vec<CustodianKey>,
    /// Its clock.
    #[schema(value_type = String, format = DateTime)]
    pub time: Time,
}

/// A custodian and the key to which dataset keys are wrapped for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CustodianKey {
    /// Which custodian.
    pub custodian: crate::Custodian,
    /// Its X-Wing public key, 1216 bytes; `null` where the card of each project names its own.
    pub recipient: Option<Bytes>,
}
