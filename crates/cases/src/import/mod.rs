//! Other people's formats, read into documents: our own JSON, CSV, and GA4GH Phenopackets version 2.
//!
//! A reader gives what it took and says by name what it left out; an error names the place and never what stands there.

mod phenopacket;
mod table;

use api::{CaseDocument, WrongDocument};
use serde_json::Value;

pub use phenopacket::phenopackets;
pub use table::{COLUMNS, table};

/// What was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Read {
    /// The documents, in the order of the file.
    pub documents: Vec<CaseDocument>,
    /// Members of the file that no document has a place for, by name, each once.
    pub left_out: Vec<String>,
}

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// It is not JSON, or not of this form.
    #[error("line {line}, column {column}: not the JSON that is taken here")]
    Json {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// It is not CSV.
    #[error("record {record} is not CSV of as many cells as the heading has")]
    Csv {
        /// The record, from 1; the heading is 0.
        record: u64,
    },
    /// A column has a name that is not taken.
    #[error("column {column} of the heading has a name that is not taken; the columns are: {}", COLUMNS.join(", "))]
    Column {
        /// The column, from 1.
        column: usize,
    },
    /// A member or cell cannot be used.
    #[error("case {case}: `{member}` {why}")]
    Value {
        /// The case, from 1.
        case: usize,
        /// The member or column.
        member: &'static str,
        /// Why.
        why: String,
    },
    /// The document is not one that is taken.
    #[error("case {case}: {wrong}")]
    Document {
        /// The case, from 1.
        case: usize,
        /// What is wrong.
        #[source]
        wrong: WrongDocument,
    },
}

impl ImportError {
    fn json(error: &serde_json::Error) -> Self {
        Self::Json { line: error.line(), column: error.column() }
    }

    fn value(case: usize, member: &'static str, why: &str) -> Self {
        Self::Value { case, member, why: why.to_owned() }
    }
}

/// Reads documents of our own form: one, or a list of them.
///
/// # Errors
/// Names the place.
pub fn json(bytes: &[u8]) -> Result<Read, ImportError> {
    let list = serde_json::from_slice::<Vec<CaseDocument>>(bytes);
    let first = bytes.iter().find(|b| !b.is_ascii_whitespace());
    let documents = match (list, first) {
        (Ok(documents), _) => documents,
        (Err(error), Some(b'[')) => return Err(ImportError::json(&error)),
        _ => vec![serde_json::from_slice(bytes).map_err(|e| ImportError::json(&e))?],
    };
    checked(Read { documents, left_out: Vec::new() })
}

/// Reads JSON of either form: Phenopackets are known by their `subject` or `proband`.
///
/// # Errors
/// Names the place.
pub fn any_json(bytes: &[u8]) -> Result<Read, ImportError> {
    let value: Value = serde_json::from_slice(bytes).map_err(|e| ImportError::json(&e))?;
    let one = value.get(0).unwrap_or(&value);
    let theirs = ["subject", "proband", "phenotypicFeatures", "phenopackets", "members"];
    if theirs.iter().any(|member| one.get(member).is_some()) {
        phenopackets(bytes)
    } else {
        json(bytes)
    }
}

fn checked(read: Read) -> Result<Read, ImportError> {
    for (case, document) in (1..).zip(&read.documents) {
        document.check().map_err(|wrong| ImportError::Document { case, wrong })?;
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn our_own_json_is_one_document_or_a_list() {
        let one = br#"{"patient": {"record_number": "1"}}"#;
        assert_eq!(any_json(one).unwrap().documents.len(), 1);
        let two =
            br#"[{"patient": {"record_number": "1"}}, {"patient": {"family_name": "Rossi"}}]"#;
        assert_eq!(any_json(two).unwrap().documents.len(), 2);
    }

    #[test]
    fn an_error_says_where_and_not_what() {
        let wrong = br#"[{"patient": {"record_number": "1", "nickname": "Rossi"}}]"#;
        let told = any_json(wrong).unwrap_err();
        assert!(matches!(told, ImportError::Json { line: 1, .. }));
        assert!(!format!("{told} {told:?}").contains("Rossi"));
        let wrong = br#"{"patient": {"record_number": "1", "birth_date": "Rossi"}}"#;
        let told = any_json(wrong).unwrap_err();
        assert!(!format!("{told} {told:?}").contains("Rossi"));
        let nobody = br#"{"patient": {"given_name": "Rossi"}}"#;
        let told = any_json(nobody).unwrap_err();
        assert!(!format!("{told} {told:?}").contains("Rossi"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            any_json(&bytes).ok();
            phenopackets(&bytes).ok();
            table(&bytes).ok();
        }

        #[test]
        fn what_is_written_is_read_again(name in "[^\\p{C}\\s][^\\p{C}]{0,30}", number in "[0-9]{1,9}") {
            let mut document = CaseDocument::default();
            document.patient.family_name = Some(name);
            document.patient.record_number = Some(number);
            let bytes = serde_json::to_vec(&[&document]).unwrap();
            prop_assert_eq!(json(&bytes).unwrap().documents, vec![document]);
        }
    }
}
