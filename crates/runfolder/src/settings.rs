//! The settings of a sample sheet: what is done, what is refused, what is passed over.
//!
//! A version 2 sheet is a contract: a setting that is unknown is an error that names it, because reads that were meant to be
//! treated in some way must not come out otherwise in silence. A version 1 sheet carries all kinds of fields from all kinds of
//! programs, so there the same is a warning. A value that cannot be is an error in every version.

use std::sync::Arc;

use crate::adapter::{Adapters, Behaviour, Trimming, WHOLE};
use crate::limits;
use crate::sheet::{SampleSheet, SheetRow, SheetVersion};

/// What the sheet asks for, with defaults where it says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    mismatches: [Option<u8>; 2],
    pub(crate) override_cycles: Option<String>,
    pub(crate) lane_splitting: bool,
    pub(crate) index_fastq: bool,
    pub(crate) trim_umi: bool,
    /// Adapters of read 1 and of read 2.
    adapters: [Option<Adapters>; 2],
    /// Version 1's `Adapter`, which read 2 takes over where it has none of its own.
    adapter_of_both: Option<Adapters>,
    behaviour: Option<Behaviour>,
    stringency: u32,
    least_overlap: usize,
    least_length: usize,
    least_kept: usize,
}

/// Why a setting cannot be honoured.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum SettingError {
    /// Not known.
    #[error("setting {0} of the sample sheet is not known")]
    Unknown(String),
    /// What to do with adapters, but no adapter.
    #[error(
        "setting AdapterBehavior of the sample sheet says what to do with adapters, but names none"
    )]
    NoAdapter,
    /// A value out of range.
    #[error("setting {name} of the sample sheet is `{value}`; it can be {allowed}")]
    Value {
        /// The setting.
        name: String,
        /// What stands there.
        value: String,
        /// What could stand there.
        allowed: &'static str,
    },
}

/// Settings that change nothing here.
const WITHOUT_EFFECT: [&str; 4] =
    ["SoftwareVersion", "CombinedPhasing", "FastqCompressionLevel", "GenerateFastqcMetrics"];

impl Settings {
    /// The settings of the sheet's own section.
    pub(crate) fn of_sheet(
        sheet: &SampleSheet,
        warnings: &mut Vec<String>,
    ) -> Result<Self, SettingError> {
        let mut settings = Self {
            mismatches: [None; 2],
            override_cycles: None,
            lane_splitting: true,
            index_fastq: false,
            trim_umi: true,
            adapters: [None, None],
            adapter_of_both: None,
            behaviour: None,
            stringency: WHOLE / 10 * 9,
            least_overlap: 1,
            least_length: 35,
            least_kept: 22,
        };
        for (name, value) in &sheet.settings {
            match settings.set(name, value) {
                Ok(()) => {}
                Err(error @ SettingError::Unknown(_)) if sheet.version != SheetVersion::V2 => {
                    warnings.push(format!("{error}; it is passed over"));
                }
                Err(error) => return Err(error),
            }
        }
        if sheet.version == SheetVersion::V2
            && settings.behaviour.is_some()
            && !sheet.rows.iter().any(|row| settings.with_row(row).is_ok_and(|own| own.trims()))
        {
            return Err(SettingError::NoAdapter);
        }
        Ok(settings)
    }

    /// These settings with what a row says of its own.
    pub(crate) fn with_row(&self, row: &SheetRow) -> Result<Self, SettingError> {
        let mut settings = self.clone();
        for (name, value) in &row.settings {
            settings.set(name, value)?;
        }
        Ok(settings)
    }

    /// Mismatches allowed in i7 and i5.
    pub(crate) fn mismatches(&self) -> [u8; 2] {
        self.mismatches.map(|mismatches| mismatches.unwrap_or(1))
    }

    /// Whether some read has an adapter to look for.
    pub(crate) fn trims(&self) -> bool {
        (1..=2).any(|read| self.trimming(read).is_some())
    }

    /// Looks for no adapter, whatever the sheet says.
    pub(crate) fn forget_adapters(&mut self) {
        self.adapters = [None, None];
        self.adapter_of_both = None;
    }

    /// What is done with adapters in a sequence read, counted from 1.
    pub(crate) fn trimming(&self, read: u32) -> Option<Trimming> {
        let own = self.adapters.get(usize::try_from(read).ok()?.checked_sub(1)?)?;
        let adapters = own.as_ref().or(self.adapter_of_both.as_ref())?;
        Some(Trimming {
            adapters: Arc::clone(adapters),
            behaviour: self.behaviour.unwrap_or(Behaviour::Trim),
            stringency: self.stringency,
            least_overlap: self.least_overlap,
            least_length: self.least_length,
            least_kept: self.least_kept,
        })
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), SettingError> {
        let is = |known: &str| known.eq_ignore_ascii_case(name);
        // An empty value, or the `na` that planning tools write, says nothing.
        if value.is_empty() || value.eq_ignore_ascii_case("na") {
            return Ok(());
        }
        if is("BarcodeMismatchesIndex1") {
            self.mismatches[0] = Some(small(name, value)?);
        } else if is("BarcodeMismatchesIndex2") {
            self.mismatches[1] = Some(small(name, value)?);
        } else if is("OverrideCycles") {
            self.override_cycles = Some(value.to_owned());
        } else if is("NoLaneSplitting") {
            self.lane_splitting = !flag(name, value)?;
        } else if is("CreateFastqForIndexReads") {
            self.index_fastq = flag(name, value)?;
        } else if is("TrimUMI") {
            self.trim_umi = flag(name, value)?;
        } else if is("AdapterRead1") {
            self.adapters[0] = Some(adapters(name, value)?);
        } else if is("AdapterRead2") || is("TrimAdapterRead2") {
            self.adapters[1] = Some(adapters(name, value)?);
        } else if is("Adapter") || is("TrimAdapter") {
            self.adapter_of_both = Some(adapters(name, value)?);
        } else if is("MaskAdapter") || is("MaskAdapterRead2") {
            let adapters = Some(adapters(name, value)?);
            self.behaviour = Some(Behaviour::Mask);
            if is("MaskAdapter") {
                self.adapter_of_both = adapters;
            } else {
                self.adapters[1] = adapters;
            }
        } else if is("AdapterBehavior") {
            self.behaviour = Some(match value.to_ascii_lowercase().as_str() {
                "trim" => Behaviour::Trim,
                "mask" => Behaviour::Mask,
                _ => return Err(wrong(name, value, "trim or mask")),
            });
        } else if is("AdapterStringency") {
            self.stringency = stringency(name, value)?;
        } else if is("MinimumAdapterOverlap") {
            self.least_overlap = match value {
                "1" => 1,
                "2" => 2,
                "3" => 3,
                _ => return Err(wrong(name, value, "1, 2 or 3")),
            };
        } else if is("MinimumTrimmedReadLength") {
            self.least_length = bases(name, value)?;
        } else if is("MaskShortReads") {
            self.least_kept = bases(name, value)?;
        } else if is("FindAdaptersWithIndels") {
            if flag(name, value)? {
                return Err(wrong(
                    name,
                    value,
                    "false: adapters are looked for without insertions and deletions",
                ));
            }
        } else if is("FastqCompressionFormat") {
            if !value.eq_ignore_ascii_case("gzip") {
                return Err(wrong(name, value, "gzip"));
            }
        } else if is("ReverseComplement") {
            if flag(name, value)? {
                return Err(SettingError::Unknown(name.to_owned()));
            }
        } else if !WITHOUT_EFFECT.iter().any(|known| is(known)) {
            return Err(SettingError::Unknown(name.chars().take(60).collect()));
        }
        Ok(())
    }
}

/// Adapters joined with `+`.
fn adapters(name: &str, value: &str) -> Result<Adapters, SettingError> {
    let sequences: Vec<Box<[u8]>> =
        value.split('+').map(|one| one.trim().to_ascii_uppercase().into_bytes().into()).collect();
    let sound = |one: &[u8]| {
        (1..=limits::MAX_ADAPTER_BASES).contains(&one.len())
            && one.iter().all(|letter| b"ACGT".contains(letter))
    };
    if sequences.len() > limits::MAX_ADAPTERS || !sequences.iter().all(|one| sound(one)) {
        return Err(wrong(name, value, "sequences of A, C, G and T, joined with `+`"));
    }
    Ok(sequences.into())
}

/// A share between 0.5 and 1 with at most six decimals, in parts of [`WHOLE`].
fn stringency(name: &str, value: &str) -> Result<u32, SettingError> {
    let refused = || wrong(name, value, "a number from 0.5 to 1");
    let (whole, decimals) = value.split_once('.').unwrap_or((value, ""));
    let sound = decimals.len() <= 6 && decimals.bytes().all(|digit| digit.is_ascii_digit());
    let parts = match whole {
        _ if !sound => None,
        "0" | "" => format!("{decimals:0<6}").parse().ok(),
        "1" if decimals.bytes().all(|digit| digit == b'0') => Some(WHOLE),
        _ => None,
    };
    parts.filter(|parts| (WHOLE / 2..=WHOLE).contains(parts)).ok_or_else(refused)
}

fn bases(name: &str, value: &str) -> Result<usize, SettingError> {
    let refused = || wrong(name, value, "a number of bases");
    value.parse().ok().filter(|bases| *bases <= limits::MAX_CYCLES).ok_or_else(refused)
}

fn small(name: &str, value: &str) -> Result<u8, SettingError> {
    match value {
        "0" => Ok(0),
        "1" => Ok(1),
        "2" => Ok(2),
        _ => Err(wrong(name, value, "0, 1 or 2")),
    }
}

fn flag(name: &str, value: &str) -> Result<bool, SettingError> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(wrong(name, value, "0, 1, true or false")),
    }
}

fn wrong(name: &str, value: &str, allowed: &'static str) -> SettingError {
    let value = value.chars().take(40).collect();
    SettingError::Value { name: name.to_owned(), value, allowed }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (Result<Settings, SettingError>, Vec<String>) {
        let mut warnings = Vec::new();
        let sheet = SampleSheet::parse(text.as_bytes()).unwrap();
        (Settings::of_sheet(&sheet, &mut warnings), warnings)
    }

    fn v2(settings: &str) -> String {
        format!("[BCLConvert_Settings]\n{settings}\n[BCLConvert_Data]\nSample_ID,Index\nA,ACGT\n")
    }

    #[test]
    fn what_is_not_known_is_refused_by_name_in_version_2_and_told_in_version_1() {
        let (result, _) = of(&v2("Invented,1"));
        assert_eq!(
            result.unwrap_err().to_string(),
            "setting Invented of the sample sheet is not known"
        );
        let (result, warnings) =
            of("[Settings]\nReverseComplement,0\nAdapter,CTGT\nInvented,1\n[Data]\nSample_ID\nA\n");
        assert!(result.unwrap().trims());
        assert_eq!(
            warnings,
            ["setting Invented of the sample sheet is not known; it is passed over"]
        );
    }

    #[test]
    fn an_adapter_of_version_1_is_both_reads_until_read_2_has_its_own() {
        let of_reads = |text: &str| {
            let settings = of(&format!("[Settings]\n{text}\n[Data]\nSample_ID\nA\n")).0.unwrap();
            [1, 2, 3].map(|read| {
                settings
                    .trimming(read)
                    .map(|t| (String::from_utf8(t.adapters[0].to_vec()).unwrap(), t.behaviour))
            })
        };
        let trimmed = |adapter: &str| Some((adapter.to_owned(), Behaviour::Trim));
        assert_eq!(of_reads("Adapter,ACGT"), [trimmed("ACGT"), trimmed("ACGT"), None]);
        assert_eq!(
            of_reads("Adapter,ACGT\nAdapterRead2,TTTT"),
            [trimmed("ACGT"), trimmed("TTTT"), None]
        );
        let masked = Some(("ACGT".to_owned(), Behaviour::Mask));
        assert_eq!(of_reads("MaskAdapter,acgt"), [masked.clone(), masked, None]);
    }

    #[test]
    fn a_behaviour_without_an_adapter_is_refused() {
        assert_eq!(of(&v2("AdapterBehavior,mask")).0, Err(SettingError::NoAdapter));
        assert!(of(&v2("AdapterBehavior,mask\nAdapterRead2,ACGT")).0.is_ok());
        let of_a_row = "[BCLConvert_Settings]\nAdapterBehavior,mask\n[BCLConvert_Data]\nSample_ID,Index,AdapterRead1\nA,ACGT,TTTT\n";
        assert!(of(of_a_row).0.is_ok());
    }

    #[test]
    fn a_value_out_of_range_is_refused_in_every_version() {
        for text in [
            v2("BarcodeMismatchesIndex1,3"),
            v2("AdapterRead1,ACNT"),
            v2("AdapterRead1,ACGT++"),
            v2("AdapterRead1,ACGT\nAdapterStringency,0.4"),
            v2("AdapterRead1,ACGT\nAdapterStringency,1.1"),
            v2("AdapterRead1,ACGT\nAdapterStringency,0.-9"),
            v2("AdapterRead1,ACGT\nAdapterBehavior,cut"),
            v2("AdapterRead1,ACGT\nMinimumAdapterOverlap,4"),
            v2("MinimumTrimmedReadLength,many"),
            v2("MaskShortReads,-1"),
            v2("FindAdaptersWithIndels,true"),
            "[Settings]\nNoLaneSplitting,maybe\n[Data]\nSample_ID\nA\n".to_owned(),
        ] {
            assert!(matches!(of(&text).0, Err(SettingError::Value { .. })), "{text}");
        }
    }

    #[test]
    fn settings_have_the_vendor_s_defaults() {
        let (result, warnings) =
            of(&v2("SoftwareVersion,4.1.5\nFastqCompressionFormat,gzip\nAdapterRead1,"));
        let settings = result.unwrap();
        assert_eq!(settings.mismatches(), [1, 1]);
        assert!(settings.lane_splitting && settings.trim_umi && !settings.index_fastq);
        assert_eq!(warnings, [] as [&str; 0]);
        assert!(!settings.trims());
        let settings = of(&v2("AdapterRead1,ACGT+TTTT")).0.unwrap();
        assert_eq!(settings.trimming(2), None);
        let trimming = settings.trimming(1).unwrap();
        assert_eq!((trimming.adapters.len(), trimming.behaviour), (2, Behaviour::Trim));
        assert_eq!((trimming.stringency, trimming.least_overlap), (900_000, 1));
        assert_eq!((trimming.least_length, trimming.least_kept), (35, 22));
        for (text, parts) in [("0.5", 500_000), ("1", WHOLE), ("1.0", WHOLE), (".75", 750_000)] {
            assert_eq!(stringency("AdapterStringency", text), Ok(parts), "{text}");
        }
    }
}
