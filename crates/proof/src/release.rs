//! Which vault programs are genuine (`spec/evidence.md`, section 7): a list that whoever releases them signs, and that an owner's
//! device compares with the key it went by before.

use std::collections::BTreeSet;

use api::{Bytes, Time};
use serde::{Deserialize, Serialize};

use crate::Statement;

const MEASUREMENT_BYTES: usize = 48;
const MOST: usize = 64;

/// The measurements of the vault programs that count, all of them: one that is not in the newest list counts no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseList {
    /// Rises by one with each list; a lower number than one seen before is refused.
    pub number: u32,
    /// The program's version that the newest of them is of.
    pub version: String,
    /// Launch measurements, 48 bytes each.
    pub measurements: Vec<Bytes>,
    /// When it was signed.
    pub at: Time,
}

impl Statement for ReleaseList {
    const KIND: &'static str = "chorion release list v1";
}

impl ReleaseList {
    /// Refuses a list that says something impossible.
    pub fn check(&self) -> Result<(), &'static str> {
        let distinct: BTreeSet<_> = self.measurements.iter().map(|bytes| &bytes.0).collect();
        if self.number == 0 || self.measurements.is_empty() || self.measurements.len() > MOST {
            return Err("it has no number, no measurement, or more than 64");
        }
        if distinct.len() != self.measurements.len()
            || self.measurements.iter().any(|bytes| bytes.0.len() != MEASUREMENT_BYTES)
        {
            return Err("a measurement has not 48 bytes, or stands in it twice");
        }
        Ok(())
    }
}
