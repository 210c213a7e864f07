//! Device codes: a machine asks for a key, or an instrument for a technician, and a signed-in person answers elsewhere.
//!
//! The machine makes its own key and signs with it from the first call on, so that nothing secret is typed or shown: the
//! short code only says which request a person means (RFC 8628, with the key in place of its device code).

use serde::{Deserialize, Serialize};

use crate::{AccountId, Bytes, InstrumentId, KeyLimit, Time, Whoami};

/// An outside app, in its own words: nobody has checked them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyApp {
    /// What it is called.
    pub name: String,
    /// Who publishes it.
    pub publisher: String,
}

/// `POST /device`: a key that nobody knows asks to sign for somebody. The call is signed by the key it brings.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BeginDevice {
    /// The Ed25519 public key, 32 bytes.
    pub public_key: Bytes,
    /// Which machine asks, in its own words.
    pub machine: String,
    /// The outside app that the key is for; `null` for a person's own machine.
    #[serde(default)]
    pub app: Option<KeyApp>,
    /// What the key shall be limited to; an app must say so, and whoever consents may give less.
    #[serde(default)]
    pub limit: Option<KeyLimit>,
}

/// The short code that a person types elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceCode {
    /// The code: eight letters in two groups. It counts once.
    pub code: String,
    /// The page where it is typed.
    pub page: String,
    /// Until when it counts.
    #[schema(value_type = String, format = DateTime)]
    pub expires: Time,
    /// How many seconds to let pass between two questions whether it was answered.
    pub interval_seconds: u32,
}

/// `POST /device/poll`: asks whether a person has answered. Signed by the key it brings.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PollDevice {
    /// The Ed25519 public key, 32 bytes.
    pub public_key: Bytes,
}

/// Where a request of a device stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeviceState {
    /// Nobody has answered.
    Pending,
    /// The key signs from now on.
    Approved,
    /// A person does not want it.
    Refused,
}

/// The answer to a poll.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceStanding {
    /// Where the request stands.
    pub state: DeviceState,
    /// For whom the key signs, once it was approved.
    pub who: Option<Whoami>,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum DeviceAsk {
    /// A key for a machine of the person's own.
    Login,
    /// A limited key for an outside app.
    App {
        /// The app, in its own words.
        app: KeyApp,
    },
    /// That the runs of an instrument be the person's for a while.
    SignOn {
        /// Which instrument.
        instrument: InstrumentId,
    },
}

/// A request as the person who may answer sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DevicePending {
    /// Which machine asks, in its own words; for an instrument, the name it was enrolled under.
    pub machine: String,
    /// The address it asks from, as the hub sees it.
    pub address: Option<String>,
    /// What it asks.
    pub asks: DeviceAsk,
    /// What the key is to be limited to.
    pub limit: Option<KeyLimit>,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub created: Time,
    /// Until when it can be answered.
    #[schema(value_type = String, format = DateTime)]
    pub expires: Time,
}

/// `POST /device/pending` and `POST /device/refuse`: names a request. In a body, because what is in a URL ends in logs.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NameDevice {
    /// The code.
    pub code: String,
}

/// `POST /device/approve`.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApproveDevice {
    /// The code.
    pub code: String,
    /// What the key shall be limited to: no more than was asked; `null` for exactly that.
    #[serde(default)]
    pub limit: Option<KeyLimit>,
}

/// An instrument: its key sends runs, in the name of the technician who is signed on there, and does nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Instrument {
    /// Its id.
    pub id: InstrumentId,
    /// What it is called.
    pub name: String,
    /// Whether its key is enrolled: the one-time code was used.
    pub enrolled: bool,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub created: Time,
    /// When it was revoked, if it was.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked: Option<Time>,
}

/// `POST /instruments`.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnrolInstrument {
    /// What it is called.
    pub name: String,
}

/// The answer: shown once, kept hashed.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InstrumentInvitation {
    /// The instrument, already there and without a key.
    pub instrument: Instrument,
    /// The one-time code that is typed at the instrument.
    pub code: String,
    /// Until when.
    #[schema(value_type = String, format = DateTime)]
    pub expires: Time,
}

/// `GET /sign-on`: in whose name an instrument sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignOn {
    /// The technician; `null` while nobody is signed on, and new runs are refused.
    pub technician: Option<AccountId>,
    /// By what name.
    pub name: Option<String>,
    /// Until when.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Time>,
}

/// `GET /sign-ons`: an instrument at which the caller is signed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Shift {
    /// The instrument.
    pub instrument: InstrumentId,
    /// What it is called.
    pub name: String,
    /// Until when its runs are the caller's.
    #[schema(value_type = String, format = DateTime)]
    pub until: Time,
}

impl InstrumentId {
    /// The account that stands for the instrument.
    pub const fn account(self) -> AccountId {
        AccountId::from_bytes(self.to_bytes())
    }
}
