//! The attestation report: 1,184 bytes of which the first 672 are signed (`spec/evidence.md` section 2).
//!
//! Reading does not judge: a [`Report`] is any 1,184 bytes of a known version, with the fields where AMD put them. It borrows the
//! bytes, because what was signed is those and not a copy written anew from parsed fields.

use std::fmt;

use serde::Serialize;

use crate::hex::Hex;
use crate::primitives;
use crate::tcb::RawTcb;

/// Bytes of a report.
pub const REPORT_BYTES: usize = 0x4A0;
/// Bytes of a report that the signature is over.
pub const SIGNED_BYTES: usize = 0x2A0;
/// Bytes of each half of the signature that are used.
const SCALAR_BYTES: usize = 48;

/// Why bytes are no report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// Cut short, extended, or something else.
    #[error("{bytes} bytes; a report has {REPORT_BYTES}")]
    Length {
        /// How many there are.
        bytes: usize,
    },
    /// A layout that is not known, so no field has a place.
    #[error("version {0} is not known; known are 2 to 5")]
    Version(u32),
}

/// A report of a known version. Nothing about it is verified.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a>(&'a [u8; REPORT_BYTES]);

/// Family, model and stepping of the processor that made a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CpuId {
    /// Family, the extended one added.
    pub family: u8,
    /// Model, with the extended one.
    pub model: u8,
    /// Stepping.
    pub stepping: u8,
}

/// A version of the security processor's firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Firmware {
    /// Major version.
    pub major: u8,
    /// Minor version.
    pub minor: u8,
    /// Build.
    pub build: u8,
}

impl fmt::Display for Firmware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.build)
    }
}

/// Which key signed, as the report has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SigningKey {
    /// The chip's own key.
    Vcek,
    /// A key that AMD lends to a cloud provider.
    Vlek,
    /// No key: the report is not signed.
    Absent,
    /// A number without a meaning.
    Unknown,
}

impl fmt::Display for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vcek => "VCEK",
            Self::Vlek => "VLEK",
            Self::Absent => "no key",
            Self::Unknown => "an unknown key",
        })
    }
}

/// What the guest's owner let the host do, as bits (`spec/evidence.md` section 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestPolicy(pub u64);

impl GuestPolicy {
    const ALWAYS: u64 = 1 << 17;
    const MIGRATION_AGENT: u64 = 1 << 18;
    const DEBUG: u64 = 1 << 19;
    const KNOWN: u64 = (1 << 26) - 1;

    /// A migration agent may be associated with the guest, and take its memory elsewhere.
    #[must_use]
    pub const fn allows_migration(self) -> bool {
        self.0 & Self::MIGRATION_AGENT != 0
    }

    /// The host may read and write the guest's memory.
    #[must_use]
    pub const fn allows_debugging(self) -> bool {
        self.0 & Self::DEBUG != 0
    }

    /// Whether the reserved bits are as they must be.
    #[must_use]
    pub const fn is_well_formed(self) -> bool {
        self.0 & Self::ALWAYS != 0 && self.0 & !Self::KNOWN == 0
    }
}

impl<'a> Report<'a> {
    /// Reads a report.
    ///
    /// # Errors
    /// Another length, or a version whose layout is not known.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ReportError> {
        let whole = bytes.try_into().map_err(|_| ReportError::Length { bytes: bytes.len() })?;
        let report = Self(whole);
        match report.version() {
            2..=5 => Ok(report),
            other => Err(ReportError::Version(other)),
        }
    }

    fn at<const N: usize>(&self, offset: usize) -> [u8; N] {
        let mut field = [0; N];
        field.copy_from_slice(&self.0[offset..offset + N]);
        field
    }

    fn is_zero(&self, from: usize, to: usize) -> bool {
        self.0[from..to].iter().all(|byte| *byte == 0)
    }

    /// The layout's version.
    #[must_use]
    pub fn version(&self) -> u32 {
        u32::from_le_bytes(self.at(0x000))
    }

    /// Version of the guest's security, as its owner numbered it.
    #[must_use]
    pub fn guest_svn(&self) -> u32 {
        u32::from_le_bytes(self.at(0x004))
    }

    /// What the guest's owner let the host do.
    #[must_use]
    pub fn guest_policy(&self) -> GuestPolicy {
        GuestPolicy(u64::from_le_bytes(self.at(0x008)))
    }

    /// The privilege level that asked for the report; 0 is the highest.
    #[must_use]
    pub fn vmpl(&self) -> u32 {
        u32::from_le_bytes(self.at(0x030))
    }

    /// How it is signed; 1 is ECDSA on P-384 with SHA-384.
    #[must_use]
    pub fn signature_algorithm(&self) -> u32 {
        u32::from_le_bytes(self.at(0x034))
    }

    /// The TCB that runs.
    #[must_use]
    pub fn current_tcb(&self) -> RawTcb {
        RawTcb(self.at(0x038))
    }

    /// How the platform is set up, as bits.
    #[must_use]
    pub fn platform_info(&self) -> u64 {
        u64::from_le_bytes(self.at(0x040))
    }

    fn key_info(&self) -> u32 {
        u32::from_le_bytes(self.at(0x048))
    }

    /// Whether the chip's key was masked by the host.
    #[must_use]
    pub fn masks_chip_key(&self) -> bool {
        self.key_info() & 2 != 0
    }

    /// Which key signed.
    #[must_use]
    pub fn signing_key(&self) -> SigningKey {
        match self.key_info() >> 2 & 7 {
            0 => SigningKey::Vcek,
            1 => SigningKey::Vlek,
            7 => SigningKey::Absent,
            _ => SigningKey::Unknown,
        }
    }

    /// What the guest had signed with it.
    #[must_use]
    pub fn report_data(&self) -> Hex<64> {
        Hex(self.at(0x050))
    }

    /// Digest of what was loaded into the guest before it started.
    #[must_use]
    pub fn measurement(&self) -> Hex<48> {
        Hex(self.at(0x090))
    }

    /// What the host gave at launch.
    #[must_use]
    pub fn host_data(&self) -> Hex<32> {
        Hex(self.at(0x0C0))
    }

    /// Digest of the key that signed the guest's id block; zero without one.
    #[must_use]
    pub fn id_key_digest(&self) -> Hex<48> {
        Hex(self.at(0x0E0))
    }

    /// Digest of the key that certified the id key; zero without one.
    #[must_use]
    pub fn author_key_digest(&self) -> Hex<48> {
        Hex(self.at(0x110))
    }

    /// The TCB for which the signing key was derived.
    #[must_use]
    pub fn reported_tcb(&self) -> RawTcb {
        RawTcb(self.at(0x180))
    }

    /// The processor; `None` before version 3.
    #[must_use]
    pub fn cpu(&self) -> Option<CpuId> {
        let [family, model, stepping] = self.at(0x188);
        (self.version() >= 3).then_some(CpuId { family, model, stepping })
    }

    /// The chip; all zero where the host masks it.
    #[must_use]
    pub fn chip_id(&self) -> Hex<64> {
        Hex(self.at(0x1A0))
    }

    /// The TCB below which the host can no longer go.
    #[must_use]
    pub fn committed_tcb(&self) -> RawTcb {
        RawTcb(self.at(0x1E0))
    }

    /// The firmware that runs.
    #[must_use]
    pub fn current_firmware(&self) -> Firmware {
        let [build, minor, major] = self.at(0x1E8);
        Firmware { major, minor, build }
    }

    /// The firmware below which the host can no longer go.
    #[must_use]
    pub fn committed_firmware(&self) -> Firmware {
        let [build, minor, major] = self.at(0x1EC);
        Firmware { major, minor, build }
    }

    /// The TCB that ran when the guest was started.
    #[must_use]
    pub fn launch_tcb(&self) -> RawTcb {
        RawTcb(self.at(0x1F0))
    }

    /// The first bytes that must be zero and are not, in words.
    #[must_use]
    pub fn first_stray(&self) -> Option<&'static str> {
        const SIGNED: &str = "a reserved byte of the signed part is not zero";
        // What a version adds is reserved in those before it.
        let cpu_end = if self.version() >= 3 { 0x18B } else { 0x188 };
        let launch_end = if self.version() >= 5 { 0x208 } else { 0x1F8 };
        let reserved = [
            (0x04C, 0x050, SIGNED),
            (cpu_end, 0x1A0, SIGNED),
            (0x1EB, 0x1EC, SIGNED),
            (0x1EF, 0x1F0, SIGNED),
            (launch_end, SIGNED_BYTES, SIGNED),
            (SIGNED_BYTES + SCALAR_BYTES, 0x2E8, "an unused byte of R is not zero"),
            (0x2E8 + SCALAR_BYTES, 0x330, "an unused byte of S is not zero"),
            (0x330, REPORT_BYTES, "a byte of the unsigned tail is not zero"),
        ];
        if self.key_info() >> 5 != 0 {
            return Some(SIGNED);
        }
        reserved.into_iter().find(|(from, to, _)| !self.is_zero(*from, *to)).map(|(.., said)| said)
    }

    /// SHA-384 of the signed part: what is signed, and the one name of a report.
    #[must_use]
    pub fn digest(&self) -> Hex<48> {
        Hex(primitives::sha384(&self.0[..SIGNED_BYTES]))
    }

    /// R and S, little-endian.
    pub(crate) fn signature(&self) -> ([u8; 48], [u8; 48]) {
        (self.at(SIGNED_BYTES), self.at(0x2E8))
    }
}
