//! The generations of processors that sign reports, how a report names them, and the root AMD certifies each with.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::report::CpuId;

/// A generation of EPYC processors: one root key each (`spec/evidence.md` section 2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Generation {
    /// Zen 3. Its root can no longer be relied upon alone.
    Milan,
    /// Zen 4, with Bergamo and Siena.
    Genoa,
    /// Zen 5.
    Turin,
}

impl Generation {
    /// Each of them, the oldest first.
    pub const ALL: [Self; 3] = [Self::Milan, Self::Genoa, Self::Turin];

    /// The name that AMD's certificates use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Milan => "Milan",
            Self::Genoa => "Genoa",
            Self::Turin => "Turin",
        }
    }

    /// The generation with this name in AMD's certificates.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|generation| generation.name() == name)
    }

    /// The generation of a processor; `None` for one that signs no report or is not known.
    #[must_use]
    pub const fn of_cpu(cpu: CpuId) -> Option<Self> {
        match (cpu.family, cpu.model) {
            (0x19, 0x00..=0x0F) => Some(Self::Milan),
            (0x19, 0x10..=0x1F | 0xA0..=0xAF) => Some(Self::Genoa),
            (0x1A, 0x00..=0x11) => Some(Self::Turin),
            _ => None,
        }
    }

    /// How many bytes a hardware id has.
    pub(crate) const fn hardware_id_bytes(self) -> usize {
        match self {
            Self::Milan | Self::Genoa => 64,
            Self::Turin => 8,
        }
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The roots that chains may end in: one certificate per generation, in DER.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Roots {
    milan: &'static [u8],
    genoa: &'static [u8],
    turin: &'static [u8],
}

/// AMD's own. `spec/evidence.md` section 3 has their digests; nothing that comes with evidence can take their place.
pub(crate) const AMD: Roots = Roots {
    milan: include_bytes!("../roots/milan.der"),
    genoa: include_bytes!("../roots/genoa.der"),
    turin: include_bytes!("../roots/turin.der"),
};

impl Roots {
    pub(crate) const fn of(&self, generation: Generation) -> &'static [u8] {
        match generation {
            Generation::Milan => self.milan,
            Generation::Genoa => self.genoa,
            Generation::Turin => self.turin,
        }
    }

    /// The roots of a test chain in `vectors/evidence/`, whose key nobody has any more.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) const fn for_tests(
        milan: &'static [u8],
        genoa: &'static [u8],
        turin: &'static [u8],
    ) -> Self {
        Self { milan, genoa, turin }
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::certificate::Certificate;
    use crate::primitives;

    #[test]
    fn the_pinned_roots_are_those_of_the_specification_and_sign_themselves() {
        let page = include_str!("../../../spec/evidence.md");
        for generation in Generation::ALL {
            let der = AMD.of(generation);
            let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(der));
            assert!(page.contains(&format!("| ARK-{generation} | `{digest}` |")), "{generation}");
            let root = Certificate::parse("root", der).unwrap();
            assert_eq!(root.common_name, format!("ARK-{generation}"));
            assert_eq!(root.issuer, root.subject);
            assert!(primitives::verify_pss(&root.key, root.signed, root.signature));
        }
    }

    #[test]
    fn a_processor_belongs_to_the_generation_amd_serves_it_under() {
        let of = |family, model| Generation::of_cpu(CpuId { family, model, stepping: 1 });
        for (family, model, expected) in [
            (0x19, 0x00, Some(Generation::Milan)),
            (0x19, 0x0F, Some(Generation::Milan)),
            (0x19, 0x10, Some(Generation::Genoa)),
            (0x19, 0x1F, Some(Generation::Genoa)),
            (0x19, 0x20, None),
            (0x19, 0x9F, None),
            (0x19, 0xA0, Some(Generation::Genoa)),
            (0x19, 0xAF, Some(Generation::Genoa)),
            (0x19, 0xB0, None),
            (0x1A, 0x00, Some(Generation::Turin)),
            (0x1A, 0x11, Some(Generation::Turin)),
            (0x1A, 0x12, None),
            (0x17, 0x01, None),
            (0, 0, None),
        ] {
            assert_eq!(of(family, model), expected, "{family:x} {model:x}");
        }
    }
}
