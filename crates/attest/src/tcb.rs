//! Versions of the trusted computing base: which firmware a chip ran, part by part.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::generation::Generation;

/// Eight bytes of a report whose meaning depends on the generation (`spec/evidence.md` section 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawTcb(pub [u8; 8]);

/// A TCB version, part by part. Turin alone has an FMC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tcb {
    /// Firmware of the FMC; `None` before Turin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fmc: Option<u8>,
    /// The security processor's boot loader.
    pub boot_loader: u8,
    /// The security processor's operating system.
    pub tee: u8,
    /// The SNP firmware.
    pub snp: u8,
    /// Microcode of the cores.
    pub microcode: u8,
}

impl RawTcb {
    /// Reads the parts as `generation` lays them out; `None` if a reserved byte is not zero.
    #[must_use]
    pub const fn read(self, generation: Generation) -> Option<Tcb> {
        match (generation, self.0) {
            (
                Generation::Milan | Generation::Genoa,
                [boot_loader, tee, 0, 0, 0, 0, snp, microcode],
            ) => Some(Tcb { fmc: None, boot_loader, tee, snp, microcode }),
            (Generation::Turin, [fmc, boot_loader, tee, snp, 0, 0, 0, microcode]) => {
                Some(Tcb { fmc: Some(fmc), boot_loader, tee, snp, microcode })
            }
            _ => None,
        }
    }
}

impl Tcb {
    /// The first part in which this is below `floor`, with both values; `None` if none is.
    #[must_use]
    pub fn first_below(&self, floor: &Self) -> Option<(&'static str, u8, u8)> {
        self.parts()
            .into_iter()
            .zip(floor.parts())
            .find(|((_, have), (_, least))| have < least)
            .map(|((part, have), (_, least))| (part, have.unwrap_or(0), least.unwrap_or(0)))
    }

    /// A missing part is below any that is there.
    const fn parts(&self) -> [(&'static str, Option<u8>); 5] {
        [
            ("FMC", self.fmc),
            ("boot loader", Some(self.boot_loader)),
            ("TEE", Some(self.tee)),
            ("SNP", Some(self.snp)),
            ("microcode", Some(self.microcode)),
        ]
    }
}

impl fmt::Display for Tcb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (part, value) in self.parts() {
            if let Some(value) = value {
                write!(f, "{separator}{part} {value}")?;
                separator = ", ";
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENOA: Tcb = Tcb { fmc: None, boot_loader: 10, tee: 0, snp: 23, microcode: 84 };

    #[test]
    fn each_generation_lays_its_parts_out_differently() {
        let raw = RawTcb([1, 2, 3, 4, 0, 0, 0, 8]);
        let turin = Tcb { fmc: Some(1), boot_loader: 2, tee: 3, snp: 4, microcode: 8 };
        assert_eq!(raw.read(Generation::Turin), Some(turin));
        assert_eq!(raw.read(Generation::Genoa), None);
        assert_eq!(RawTcb([10, 0, 0, 0, 0, 0, 23, 84]).read(Generation::Genoa), Some(GENOA));
        assert_eq!(RawTcb([10, 0, 0, 0, 0, 0, 23, 84]).read(Generation::Turin), None);
        assert_eq!(RawTcb([10, 0, 0, 0, 1, 0, 23, 84]).read(Generation::Milan), None);
    }

    #[test]
    fn one_part_below_is_below() {
        assert_eq!(GENOA.first_below(&GENOA), None);
        let floor = Tcb { microcode: 85, boot_loader: 0, ..GENOA };
        assert_eq!(GENOA.first_below(&floor), Some(("microcode", 84, 85)));
        let floor = Tcb { tee: 1, ..GENOA };
        assert_eq!(GENOA.first_below(&floor), Some(("TEE", 0, 1)));
        let floor = Tcb { fmc: Some(0), ..GENOA };
        assert_eq!(GENOA.first_below(&floor), Some(("FMC", 0, 0)));
    }

    #[test]
    fn a_tcb_is_told_in_words() {
        assert_eq!(GENOA.to_string(), "boot loader 10, TEE 0, SNP 23, microcode 84");
    }
}
