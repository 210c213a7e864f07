//! Evidence from the guest's own kernel: the security processor signs 64 bytes that the vault chooses.
//!
//! Two ways lead to it. Linux from 6.7 has configfs-tsm (`/sys/kernel/config/tsm/report`), older kernels `/dev/sev-guest`; the first that
//! is there is used. **A device that is there and fails is an error, and nothing else**: a vault that could prove itself and did not
//! would look like one that cannot. What comes back is parsed, and must hold the bytes that were asked for, before it goes
//! anywhere; whether it counts is for whoever reads it (`spec/evidence.md`).

mod certificates;
mod sev_guest;
mod tsm;

use std::path::PathBuf;

pub use certificates::{Certificate, CertificateKind, certificates};
pub use sev_guest::SevGuest;
pub use tsm::Tsm;

/// A report, and what the host gave along to verify it with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// As the security processor made it: `attest::REPORT_BYTES` bytes.
    pub report: Vec<u8>,
    /// The host's table of certificates; empty if it gave none. Nothing of it is proved.
    pub certificates: Vec<u8>,
}

/// What makes evidence.
pub trait Device: std::fmt::Debug {
    /// A report over these bytes.
    ///
    /// # Errors
    /// The device is there and gives none.
    fn report(&self, report_data: &[u8; 64]) -> Result<Evidence, DeviceError>;

    /// What it is called, for people.
    fn name(&self) -> String;
}

/// A device that is there does not do its work.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The system refused.
    #[error("{device} is there, and {what} failed")]
    System {
        /// Which device.
        device: String,
        /// Which step.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The firmware or the host refused.
    #[error("{device} is there, and its firmware gave status {status:#x}")]
    Firmware {
        /// Which device.
        device: String,
        /// What it said.
        status: u64,
    },
    /// It is of another kind of guest.
    #[error("{device} is there, and is of `{provider}`, not of SEV-SNP")]
    Provider {
        /// Which device.
        device: String,
        /// Of what.
        provider: String,
    },
    /// What it gave is no report, or over other bytes.
    #[error("{device} is there, and what it gave is no report over the bytes that were asked for")]
    Report {
        /// Which device.
        device: String,
    },
    /// Somebody else asked meanwhile.
    #[error("{device} is there, and another program wrote to this report")]
    Meanwhile {
        /// Which device.
        device: String,
    },
}

/// Where the kernel has configfs-tsm.
const TSM: &str = "/sys/kernel/config/tsm/report";
/// Where it has the older device.
const SEV_GUEST: &str = "/dev/sev-guest";

/// The device of this guest; nothing on a machine that is none.
pub fn find() -> Option<Box<dyn Device>> {
    find_in(TSM.into(), SEV_GUEST.into())
}

fn find_in(tsm: PathBuf, sev_guest: PathBuf) -> Option<Box<dyn Device>> {
    // A path that cannot be looked at counts as there: what is found then is an error, not an absence.
    if tsm.try_exists().unwrap_or(true) {
        return Some(Box::new(Tsm::new(tsm)));
    }
    if sev_guest.try_exists().unwrap_or(true) {
        return Some(Box::new(SevGuest::new(sev_guest)));
    }
    None
}

/// Whether it is a report, and over these bytes.
fn checked(
    device: &dyn Device,
    evidence: Evidence,
    data: &[u8; 64],
) -> Result<Evidence, DeviceError> {
    let wrong = || DeviceError::Report { device: device.name() };
    let report = attest::Report::parse(&evidence.report).map_err(|_| wrong())?;
    if report.report_data().0 == *data { Ok(evidence) } else { Err(wrong()) }
}

#[cfg(all(feature = "recorded-device", not(feature = "unattested")))]
compile_error!(
    "a device that plays back a report has no place in a guest: leave out the feature `recorded-device`"
);

/// Plays back a report that was recorded elsewhere. It proves nothing of this machine, and no guest binary can hold it.
#[cfg(any(test, feature = "recorded-device"))]
#[derive(Debug)]
pub struct Recorded(pub Evidence);

#[cfg(any(test, feature = "recorded-device"))]
impl Device for Recorded {
    fn report(&self, report_data: &[u8; 64]) -> Result<Evidence, DeviceError> {
        checked(self, self.0.clone(), report_data)
    }

    fn name(&self) -> String {
        "a recorded device".to_owned()
    }
}

#[cfg(test)]
mod tests;
