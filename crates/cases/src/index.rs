//! What stands in an index for a sealed value (`spec/cases.md` section 5).
//!
//! The keyed hash itself is made where the organization's index key is; here it is cut to what the mode of the index keeps, the
//! values of a document are named, and it is judged which fields may be searchable at all.

use api::{CaseDocument, IndexMode, SearchField};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::normal::{Normal, normal};

/// The fewest bits of a beacon.
pub const LEAST_BITS: u8 = 4;
/// The most bits of a beacon.
pub const MOST_BITS: u8 = 24;

/// What stands in the index for a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(Vec<u8>);

impl Token {
    /// What an index of that mode keeps of a keyed hash of 16 bytes.
    pub fn of(mode: IndexMode, hash: [u8; 16]) -> Self {
        match mode {
            IndexMode::Exact => Self(hash.to_vec()),
            IndexMode::Beacon { bits } => {
                let bits = bits.clamp(LEAST_BITS, MOST_BITS);
                let head = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
                Self((head >> (u32::BITS - u32::from(bits))).to_be_bytes().to_vec())
            }
        }
    }

    /// Its bytes: 16 of an exact index, 4 of a beacon.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The values of a document that an index of this field holds; a document without one is in no answer.
pub fn values(document: &CaseDocument, field: SearchField) -> Option<Normal> {
    let patient = &document.patient;
    let date = patient.birth_date.map(|date| date.to_string());
    let value = match field {
        SearchField::RecordNumber => &patient.record_number,
        SearchField::OrderNumber => &document.order_number,
        SearchField::FamilyName => &patient.family_name,
        SearchField::GivenName => &patient.given_name,
        SearchField::BirthDate => &date,
        SearchField::Email => &patient.email,
        SearchField::Telephone => &patient.telephone,
        SearchField::PostalCode => &patient.postal_code,
        SearchField::Sex | SearchField::Phenotype | SearchField::Genotype => &None,
    };
    value.as_deref().and_then(|value| normal(field, value))
}

/// Why a field is not made searchable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too few values, or being there tells.
    #[error(
        "a hash of it would tell the value: it has too few different ones, or tells by being there"
    )]
    Telling,
    /// Never.
    #[error("genotypes are never hashed: they can be guessed, and families share them")]
    Never,
    /// Not that many bits.
    #[error("a beacon has {LEAST_BITS} to {MOST_BITS} bits")]
    Bits,
}

/// How a field may be hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement {
    /// As is usual for it.
    pub mode: IndexMode,
    /// How many different values are expected of it.
    pub distinct: u32,
}

/// Whether a field may be searchable, and how: as asked for, or as is usual for it.
///
/// # Errors
/// [`Refused`] says why not.
pub fn judge(field: SearchField, asked: Option<IndexMode>) -> Result<Judgement, Refused> {
    let (usual, distinct) = match field {
        SearchField::RecordNumber
        | SearchField::OrderNumber
        | SearchField::Email
        | SearchField::Telephone => (IndexMode::Exact, 1_000_000),
        // log2 of the number of different values, less two: about four of them share a hash.
        SearchField::FamilyName => (IndexMode::Beacon { bits: 13 }, 50_000),
        SearchField::GivenName => (IndexMode::Beacon { bits: 10 }, 5_000),
        SearchField::BirthDate => (IndexMode::Beacon { bits: 13 }, 36_525),
        SearchField::PostalCode => (IndexMode::Beacon { bits: 11 }, 10_000),
        SearchField::Sex | SearchField::Phenotype => return Err(Refused::Telling),
        SearchField::Genotype => return Err(Refused::Never),
    };
    match asked {
        Some(IndexMode::Beacon { bits }) if !(LEAST_BITS..=MOST_BITS).contains(&bits) => {
            Err(Refused::Bits)
        }
        asked => Ok(Judgement { mode: asked.unwrap_or(usual), distinct }),
    }
}

/// What whoever sees the database learns from an index of this field, in a sentence or two.
pub fn leaks(field: SearchField, mode: IndexMode) -> String {
    let guess = match field {
        SearchField::FamilyName | SearchField::GivenName | SearchField::PostalCode => {
            " Frequent values stand out, so common ones can be guessed."
        }
        SearchField::BirthDate => " There are 36,525 days in a century, so they can be guessed.",
        _ => " With the live index key every number could be tried.",
    };
    let shares = match mode {
        IndexMode::Exact => "which cases share a value, and how many share each".to_owned(),
        IndexMode::Beacon { bits } => format!(
            "which cases may share a value: unlike ones share {} hashes",
            1_u32 << bits.clamp(LEAST_BITS, MOST_BITS)
        ),
    };
    format!(
        "who sees the database sees {shares}.{guess} Who can add cases as well can test a guess."
    )
}

/// SHA-256(salt ‖ value) in hex, as published designs store searchable fields (`sha256-salt-v0`): to compare what is
/// brought along, never to be kept.
pub fn plain_salted(salt: &str, value: &str) -> String {
    HEXLOWER.encode(&Sha256::new().chain_update(salt).chain_update(value).finalize())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_published_salted_hash_is_what_other_programs_compute() {
        // echo -n saltRossi | sha256sum
        assert_eq!(
            plain_salted("salt", "Rossi"),
            "87d1651ed115ca7d1e29042d776923cbc3cd1f4031b292dd361ca6be5a3b2a8f"
        );
    }

    #[test]
    fn fields_whose_hash_would_tell_them_are_refused() {
        assert_eq!(judge(SearchField::Sex, None), Err(Refused::Telling));
        assert_eq!(judge(SearchField::Phenotype, Some(IndexMode::Exact)), Err(Refused::Telling));
        assert_eq!(judge(SearchField::Genotype, Some(IndexMode::Exact)), Err(Refused::Never));
        let bits = |bits| judge(SearchField::FamilyName, Some(IndexMode::Beacon { bits }));
        assert_eq!(bits(3), Err(Refused::Bits));
        assert_eq!(bits(25), Err(Refused::Bits));
        assert!(bits(10).is_ok());
    }

    #[test]
    fn every_field_that_may_be_searched_has_a_value_and_says_what_it_leaks() {
        let document: CaseDocument = serde_json::from_value(serde_json::json!({
            "patient": {
                "record_number": "MRN 17", "family_name": "Rossi", "given_name": "Ada", "birth_date": "1987-03-09",
                "sex": "female", "email": "ada@example.test", "telephone": "+39 06 1", "postal_code": "00100",
            },
            "order_number": "A-1",
            "phenotypes": [{"term": "HP:0001250"}],
        }))
        .unwrap();
        for field in SearchField::ALL {
            let judged = judge(*field, None);
            assert_eq!(values(&document, *field).is_some(), judged.is_ok(), "{}", field.as_str());
            if let Ok(judged) = judged {
                assert!(leaks(*field, judged.mode).starts_with("who sees the database sees"));
            }
        }
    }

    proptest! {
        #[test]
        fn a_beacon_has_no_more_bits_than_it_may_and_unlike_ones_are_unlike_hashes(
            one in any::<[u8; 16]>(), other in any::<[u8; 16]>(), bits in 4_u8..=24,
        ) {
            let mode = IndexMode::Beacon { bits };
            let number = |hash| u32::from_be_bytes(Token::of(mode, hash).as_bytes().try_into().unwrap());
            prop_assert!(number(one) < 1 << bits);
            if number(one) != number(other) {
                prop_assert_ne!(one, other);
            }
            let whole = Token::of(IndexMode::Exact, one);
            prop_assert_eq!(whole.as_bytes(), &one[..]);
        }
    }
}
