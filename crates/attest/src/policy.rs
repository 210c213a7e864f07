//! What somebody has decided to accept before looking: reference values, floors, opt-ins (`spec/evidence.md` section 5).
//!
//! A field that is not known is refused: a floor with a slip in its name would otherwise be no floor.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::generation::Generation;
use crate::hex::Hex;
use crate::tcb::Tcb;

const MOST_BYTES: usize = 1024 * 1024;
const FORMAT: &str = "chorion evidence policy v1";

/// Why a policy is none.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Larger than any policy.
    #[error("{0} bytes are more than a policy has")]
    TooLarge(usize),
    /// Not JSON, an unknown, doubled or missing field, or a value of another form.
    #[error("it is not what a policy says")]
    Form(#[source] serde_json::Error),
    /// Something else, or another version.
    #[error("its format is `{0}`, not `{FORMAT}`")]
    Format(String),
    /// A list that names nothing accepts nothing; left out it would mean something else.
    #[error("`{0}` is empty: leave it out, or name something")]
    Empty(&'static str),
    /// FMC is a part of Turin's TCB and of no other.
    #[error("the floor of {0} {1}")]
    Fmc(Generation, &'static str),
}

/// What the appraisal is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// To know: a reference value that is not there is said to be missing.
    #[default]
    Appraisal,
    /// To release a key: a reference value that is not there refuses.
    KeyRelease,
}

/// What is asked of revocation lists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Revocation {
    /// That there is none, or a stale one, is reported.
    #[default]
    Reported,
    /// Without a list that is not stale the evidence is refused.
    Required,
}

/// Something that is refused unless a policy accepts it by name (`spec/evidence.md` section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weakening {
    /// A chip of the Milan generation.
    Milan,
    /// A key that AMD lends to a cloud provider.
    Vlek,
    /// Firmware of the provider beneath the vault, or firmware that the host can roll back.
    ProviderFirmware,
}

impl Weakening {
    /// As policies and JSON spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Milan => "milan",
            Self::Vlek => "vlek",
            Self::ProviderFirmware => "provider_firmware",
        }
    }

    /// What somebody who accepts it gives up.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Milan => {
                "the seed of a Milan chip's key can be extracted by software alone: whoever has done so forges reports for any TCB"
            }
            Self::Vlek => {
                "the key is lent to a cloud provider and names no chip: the provider's key service answers for where the guest runs"
            }
            Self::ProviderFirmware => {
                "firmware of the cloud provider runs beneath the vault or is not committed: the provider could read the guest's memory"
            }
        }
    }
}

impl fmt::Display for Weakening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The least TCB of each generation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Floors {
    /// Of Milan, where no floor helps against a forger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub milan: Option<Tcb>,
    /// Of Genoa.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub genoa: Option<Tcb>,
    /// Of Turin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turin: Option<Tcb>,
}

impl Floors {
    /// The floor of a generation.
    #[must_use]
    pub const fn of(&self, generation: Generation) -> Option<Tcb> {
        match generation {
            Generation::Milan => self.milan,
            Generation::Genoa => self.genoa,
            Generation::Turin => self.turin,
        }
    }
}

/// A chip, as reports name it: 64 bytes; Turin's are 8 and then zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ChipId(pub Hex<64>);

impl FromStr for ChipId {
    type Err = crate::hex::NotHex;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut whole = [0; 64];
        if text.len() == 16 {
            whole[..8].copy_from_slice(&text.parse::<Hex<8>>()?.0);
            return Ok(Self(Hex(whole)));
        }
        text.parse().map(Self)
    }
}

impl TryFrom<String> for ChipId {
    type Error = crate::hex::NotHex;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ChipId> for String {
    fn from(id: ChipId) -> Self {
        id.0.to_string()
    }
}

/// What is accepted. The default accepts no opt-in and compares with no reference value: it judges the evidence alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// What the appraisal is for.
    pub purpose: Purpose,
    /// The generations accepted; all if `None`, and Milan only with its opt-in in either case.
    pub generations: Option<BTreeSet<Generation>>,
    /// The opt-ins.
    pub accept: BTreeSet<Weakening>,
    /// The measurements accepted.
    pub measurements: Option<BTreeSet<Hex<48>>>,
    /// The least TCB.
    pub floors: Floors,
    /// The `REPORT_DATA` that must come back.
    pub report_data: Option<Hex<64>>,
    /// The chips accepted.
    pub chip_ids: Option<BTreeSet<ChipId>>,
    /// What is asked of revocation lists.
    pub revocation: Revocation,
}

/// A policy as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    format: String,
    #[serde(default)]
    purpose: Purpose,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    generations: Option<BTreeSet<Generation>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    accept: Option<BTreeSet<Weakening>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    measurements: Option<BTreeSet<Hex<48>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    floors: Option<Floors>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    report_data: Option<Hex<64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chip_ids: Option<BTreeSet<ChipId>>,
    #[serde(default)]
    revocation: Revocation,
}

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// Anything that `spec/evidence.md` section 5 does not describe.
    pub fn parse(json: &[u8]) -> Result<Self, PolicyError> {
        if json.len() > MOST_BYTES {
            return Err(PolicyError::TooLarge(json.len()));
        }
        let written: Written = serde_json::from_slice(json).map_err(PolicyError::Form)?;
        if written.format != FORMAT {
            return Err(PolicyError::Format(written.format));
        }
        let policy = Self {
            purpose: written.purpose,
            generations: some(written.generations, "generations")?,
            accept: some(written.accept, "accept")?.unwrap_or_default(),
            measurements: some(written.measurements, "measurements")?,
            floors: written.floors.unwrap_or_default(),
            report_data: written.report_data,
            chip_ids: some(written.chip_ids, "chip_ids")?,
            revocation: written.revocation,
        };
        for generation in Generation::ALL {
            match (generation, policy.floors.of(generation)) {
                (Generation::Turin, Some(Tcb { fmc: None, .. })) => {
                    return Err(PolicyError::Fmc(generation, "lacks `fmc`"));
                }
                (Generation::Milan | Generation::Genoa, Some(Tcb { fmc: Some(_), .. })) => {
                    return Err(PolicyError::Fmc(generation, "has `fmc`, which its TCB does not"));
                }
                _ => {}
            }
        }
        if written.floors.is_some_and(|floors| floors == Floors::default()) {
            return Err(PolicyError::Empty("floors"));
        }
        Ok(policy)
    }

    /// Writes the policy as a file that [`Policy::parse`] reads back.
    #[must_use]
    pub fn to_json(&self) -> String {
        let written = Written {
            format: FORMAT.to_owned(),
            purpose: self.purpose,
            generations: self.generations.clone(),
            accept: (!self.accept.is_empty()).then(|| self.accept.clone()),
            measurements: self.measurements.clone(),
            floors: (self.floors != Floors::default()).then_some(self.floors),
            report_data: self.report_data,
            chip_ids: self.chip_ids.clone(),
            revocation: self.revocation,
        };
        serde_json::to_string_pretty(&written)
            .expect("a policy serializes because it holds only JSON types")
    }

    pub(crate) fn accepts(&self, weakening: Weakening) -> bool {
        self.accept.contains(&weakening)
    }
}

/// A list that names something, or none.
fn some<T>(
    list: Option<BTreeSet<T>>,
    name: &'static str,
) -> Result<Option<BTreeSet<T>>, PolicyError> {
    match list {
        Some(list) if list.is_empty() => Err(PolicyError::Empty(name)),
        list => Ok(list),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(fields: &str) -> Result<Policy, String> {
        Policy::parse(format!("{{\"format\": \"{FORMAT}\"{fields}}}").as_bytes()).map_err(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            format!("{error}: {}", cause.unwrap_or_default())
        })
    }

    #[test]
    fn the_example_of_the_specification_is_a_policy() {
        let page = include_str!("../../../spec/evidence.md");
        let example = page.split("```json\n").nth(1).and_then(|rest| rest.split("```").next());
        let policy = Policy::parse(example.unwrap().as_bytes()).unwrap();
        assert_eq!(policy.generations.as_ref().unwrap().len(), 2);
        assert_eq!(policy.floors.of(Generation::Turin).unwrap().snp, 4);
        assert_eq!(policy.floors.of(Generation::Milan), None);
        assert_eq!(Policy::parse(policy.to_json().as_bytes()).unwrap(), policy);
    }

    #[test]
    fn what_is_left_out_is_not_compared() {
        assert_eq!(parse("").unwrap(), Policy::default());
        assert_eq!(
            Policy::parse(Policy::default().to_json().as_bytes()).unwrap(),
            Policy::default()
        );
    }

    #[test]
    fn a_policy_with_a_slip_is_none() {
        for (fields, because) in [
            (r#", "measurement": []"#, "unknown field `measurement`"),
            (r#", "purpose": "appraisal", "purpose": "key_release""#, "duplicate field `purpose`"),
            (r#", "measurements": []"#, "`measurements` is empty"),
            (r#", "generations": []"#, "`generations` is empty"),
            (r#", "accept": []"#, "`accept` is empty"),
            (r#", "floors": {}"#, "`floors` is empty"),
            (r#", "generations": ["rome"]"#, "unknown variant `rome`"),
            (r#", "accept": ["debug"]"#, "unknown variant `debug`"),
            (r#", "measurements": ["00"]"#, "not 48 bytes in hexadecimal"),
            (r#", "report_data": "zz""#, "not 64 bytes in hexadecimal"),
            (r#", "chip_ids": ["0011"]"#, "not 64 bytes in hexadecimal"),
            (
                r#", "floors": {"genoa": {"boot_loader": 1, "tee": 0, "snp": 1}}"#,
                "missing field `microcode`",
            ),
            (
                r#", "floors": {"genoa": {"boot_loader": 256, "tee": 0, "snp": 1, "microcode": 0}}"#,
                "invalid value",
            ),
            (r#", "floors": {"rome": {}}"#, "unknown field `rome`"),
            (
                r#", "floors": {"turin": {"boot_loader": 1, "tee": 0, "snp": 1, "microcode": 0}}"#,
                "lacks `fmc`",
            ),
            (
                r#", "floors": {"genoa": {"fmc": 0, "boot_loader": 1, "tee": 0, "snp": 1, "microcode": 0}}"#,
                "has `fmc`",
            ),
            (
                r#", "floors": {"genoa": {"boot_loader": 1, "boot_loader": 2, "tee": 0, "snp": 1, "microcode": 0}}"#,
                "duplicate field",
            ),
        ] {
            let said = parse(fields).unwrap_err();
            assert!(said.contains(because), "{fields}: {said}");
        }
        assert!(matches!(Policy::parse(b"{\"format\": \"v2\"}"), Err(PolicyError::Format(_))));
        assert!(matches!(Policy::parse(b"{}"), Err(PolicyError::Form(_))));
        assert!(matches!(Policy::parse(b""), Err(PolicyError::Form(_))));
        assert!(matches!(
            Policy::parse(&vec![b' '; MOST_BYTES + 1]),
            Err(PolicyError::TooLarge(_))
        ));
    }

    #[test]
    fn a_chip_of_turin_is_its_eight_bytes_and_zeros() {
        let short: ChipId = "3b42092f69c656d3".parse().unwrap();
        let long: ChipId = format!("3B42092F69C656D3{}", "0".repeat(112)).parse().unwrap();
        assert_eq!(short, long);
    }
}
