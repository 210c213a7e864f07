//! The settings of a sample sheet: what is done, what is refused, what is passed over.
//!
//! A version 2 sheet is a contract: a setting that is unknown or not done here is an error that names it, because reads that
//! were meant to be trimmed must not come out untrimmed in silence. A version 1 sheet carries all kinds of fields from all
//! kinds of programs, so there the same is a warning.

use crate::sheet::{SampleSheet, SheetRow, SheetVersion};

/// What the sheet asks for, with defaults where it says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    mismatches: [Option<u8>; 2],
    pub(crate) override_cycles: Option<String>,
    pub(crate) lane_splitting: bool,
    pub(crate) index_fastq: bool,
    pub(crate) trim_umi: bool,
}

/// Why a setting cannot be honoured.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum SettingError {
    /// Not known.
    #[error("setting {0} of the sample sheet is not known")]
    Unknown(String),
    /// Known, not done.
    #[error("setting {0} of the sample sheet asks for adapter trimming, which is not done yet")]
    Trimming(String),
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

/// Settings about adapters and what is left after trimming.
const TRIMMING: [&str; 8] = [
    "Adapter",
    "AdapterRead1",
    "AdapterRead2",
    "AdapterBehavior",
    "AdapterStringency",
    "MinimumAdapterOverlap",
    "MinimumTrimmedReadLength",
    "MaskShortReads",
];

/// Settings that change nothing here.
const WITHOUT_EFFECT: [&str; 5] = [
    "SoftwareVersion",
    "CombinedPhasing",
    "FindAdaptersWithIndels",
    "FastqCompressionLevel",
    "GenerateFastqcMetrics",
];

impl Settings {
    /// The settings of the sheet's own section.
    pub(crate) fn of_sheet(
        sheet: &SampleSheet,
        without_trimming: bool,
        warnings: &mut Vec<String>,
    ) -> Result<Self, SettingError> {
        let mut settings = Self {
            mismatches: [None; 2],
            override_cycles: None,
            lane_splitting: true,
            index_fastq: false,
            trim_umi: true,
        };
        for (name, value) in &sheet.settings {
            match settings.set(name, value) {
                Ok(()) => {}
                Err(error @ SettingError::Value { .. }) => return Err(error),
                Err(SettingError::Trimming(name)) if without_trimming => {
                    warnings
                        .push(format!("setting {name} is passed over: adapters are not trimmed"));
                }
                Err(error) if sheet.version == SheetVersion::V2 => return Err(error),
                Err(error) => warnings.push(format!("{error}; it is passed over")),
            }
        }
        Ok(settings)
    }

    /// These settings with what a row says of its own.
    pub(crate) fn with_row(
        &self,
        row: &SheetRow,
        without_trimming: bool,
        warnings: &mut Vec<String>,
    ) -> Result<Self, SettingError> {
        let mut settings = self.clone();
        for (name, value) in &row.settings {
            match settings.set(name, value) {
                Err(SettingError::Trimming(name)) if without_trimming => {
                    let line = row.line;
                    warnings.push(format!(
                        "{name} on line {line} is passed over: adapters are not trimmed"
                    ));
                }
                other => other?,
            }
        }
        Ok(settings)
    }

    /// Mismatches allowed in i7 and i5.
    pub(crate) fn mismatches(&self) -> [u8; 2] {
        self.mismatches.map(|mismatches| mismatches.unwrap_or(1))
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
        } else if is("FastqCompressionFormat") {
            if !value.eq_ignore_ascii_case("gzip") {
                return Err(wrong(name, value, "gzip"));
            }
        } else if is("ReverseComplement") {
            if flag(name, value)? {
                return Err(SettingError::Unknown(name.to_owned()));
            }
        } else if TRIMMING.iter().any(|known| is(known)) {
            return Err(SettingError::Trimming(name.to_owned()));
        } else if !WITHOUT_EFFECT.iter().any(|known| is(known)) {
            return Err(SettingError::Unknown(name.chars().take(60).collect()));
        }
        Ok(())
    }
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
        (Settings::of_sheet(&sheet, false, &mut warnings), warnings)
    }

    fn v2(settings: &str) -> String {
        format!("[BCLConvert_Settings]\n{settings}\n[BCLConvert_Data]\nSample_ID,Index\nA,ACGT\n")
    }

    #[test]
    fn what_is_not_done_is_refused_by_name_in_version_2_and_told_in_version_1() {
        let (result, _) = of(&v2("AdapterRead1,CTGTCTCTTATACACATCT"));
        let sentence = "setting AdapterRead1 of the sample sheet asks for adapter trimming, which is not done yet";
        assert_eq!(result.unwrap_err().to_string(), sentence);
        let (result, _) = of(&v2("Invented,1"));
        assert_eq!(
            result.unwrap_err().to_string(),
            "setting Invented of the sample sheet is not known"
        );
        let (result, warnings) =
            of("[Settings]\nReverseComplement,0\nAdapter,CTGT\nInvented,1\n[Data]\nSample_ID\nA\n");
        assert!(result.is_ok());
        assert_eq!(warnings.len(), 2, "{warnings:?}");
    }

    #[test]
    fn a_value_out_of_range_is_refused_in_every_version() {
        for text in [
            v2("BarcodeMismatchesIndex1,3"),
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
    }
}
