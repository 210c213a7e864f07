//! Devices: each has an approval key of its own, random and never derived, which the card key certifies
//! (`spec/key-derivation.md`, section 8).

use api::Bytes;
use proof::Statement;
use serde::{Deserialize, Serialize};

/// The card key's word that a device may approve for its owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceCertificate {
    /// The device's Ed25519 approval key, 32 bytes.
    pub device: Bytes,
    /// As the person calls it.
    pub name: String,
    /// Since when, RFC 3339 in UTC.
    pub since: String,
}

impl Statement for DeviceCertificate {
    const KIND: &'static str = "chorion device certificate v1";
}
