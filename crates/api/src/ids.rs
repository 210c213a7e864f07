//! The ids of every noun: UUID version 7 on the wire, one type each so that two cannot be swapped.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
        #[serde(transparent)]
        #[schema(value_type = String, format = Uuid)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id; the moment is in its first bytes, so ids sort by age.
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }
            /// The id with these bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }
            /// The sixteen bytes, as formats bind them.
            pub const fn to_bytes(self) -> [u8; 16] {
                self.0.into_bytes()
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
        impl FromStr for $name {
            type Err = NotAnId;
            fn from_str(text: &str) -> Result<Self, NotAnId> {
                // Only the hyphenated form: one id has one spelling, so that it is one row and one signature.
                match Uuid::try_parse(text) {
                    Ok(id) if id.hyphenated().to_string() == text => Ok(Self(id)),
                    _ => Err(NotAnId { text: text.chars().take(64).collect() }),
                }
            }
        }
    )+};
}

ids! {
    /// A person or a script with an account at the hub.
    AccountId,
    /// A project: who holds the key is its choice.
    ProjectId,
    /// A dataset: a run, a sample, an app result or an app's package; what one dataset key opens.
    DatasetId,
    /// A case: a test request with a patient behind it; a dataset with a key of its own.
    CaseId,
    /// An app session: one launch of an app.
    SessionId,
    /// An app at one version.
    AppId,
    /// A task of a vault.
    TaskId,
    /// A request for an owner's approval.
    ApprovalId,
    /// An instrument that sends runs.
    InstrumentId,
    /// An organization: accounts that belong together.
    OrganizationId,
    /// An offer to transfer a project.
    TransferId,
    /// A notice for one account.
    NoticeId,
    /// An event of the audit list.
    EventId,
    /// A block of a key or an address.
    BlockId,
    /// One call, named in every error so that the log can be searched for it.
    RequestId,
}

/// A text that is no id.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is no id: an id has the form 01890a5d-ac96-774b-bcce-b302099a8057")]
pub struct NotAnId {
    text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling() {
        let id = DatasetId::generate();
        assert_eq!(id.to_string().parse::<DatasetId>().unwrap(), id);
        assert!(id.to_string().to_uppercase().parse::<DatasetId>().is_err());
        assert!(id.to_string().replace('-', "").parse::<DatasetId>().is_err());
        assert!("../../etc/passwd".parse::<DatasetId>().is_err());
    }
}
