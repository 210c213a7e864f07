//! Values in normal form: what counts as equal in a search (`spec/cases.md` section 5).

use std::fmt;

use api::SearchField;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

/// How often folding is repeated until nothing changes; two rounds are enough for every assigned character.
const ROUNDS: usize = 8;

/// A value in normal form. It prints nothing and is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Normal(Zeroizing<String>);

impl Normal {
    /// Its bytes, for whoever hashes or compares them.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    fn of(text: String) -> Option<Self> {
        (!text.is_empty()).then(|| Self(Zeroizing::new(text)))
    }
}

impl fmt::Debug for Normal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Normal(..)")
    }
}

/// The normal form of a value of that field; `None` where there is nothing to search by: an empty form, a date that is none, or a
/// field that is never hashed.
pub fn normal(field: SearchField, value: &str) -> Option<Normal> {
    match field {
        SearchField::RecordNumber | SearchField::Telephone => Normal::of(number(value)),
        SearchField::OrderNumber
        | SearchField::FamilyName
        | SearchField::GivenName
        | SearchField::Email
        | SearchField::PostalCode => Normal::of(text(value)),
        SearchField::BirthDate => {
            let date: jiff::civil::Date = text(value).parse().ok()?;
            Normal::of(date.to_string())
        }
        SearchField::Sex | SearchField::Phenotype | SearchField::Genotype => None,
    }
}

/// NFKC, full case folding and NFKC again, without invisible characters, with one kind of dash, apostrophe and space.
pub fn text(value: &str) -> String {
    let mut form = folded(value);
    for _ in 0..ROUNDS {
        let next = folded(&form);
        if next == form {
            break;
        }
        form = next;
    }
    form
}

fn folded(value: &str) -> String {
    let composed = value.nfkc().filter(|c| !is_ignorable(*c)).map(one_kind);
    let folded: String = caseless::default_case_fold_str(&composed.collect::<String>());
    let mut form = String::with_capacity(folded.len());
    for c in folded.nfkc() {
        if !c.is_whitespace() {
            form.push(c);
        } else if !form.is_empty() && !form.ends_with(' ') {
            form.push(' ');
        }
    }
    form.truncate(form.trim_end().len());
    form
}

/// The decimal digits of a number in any script as ASCII; the text form of one without a digit.
pub fn number(value: &str) -> String {
    let form = text(value);
    let digits: String = form.chars().filter_map(digit).collect();
    if digits.is_empty() { form } else { digits }
}

/// Dashes and apostrophes of every kind as one.
const fn one_kind(c: char) -> char {
    match c {
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}' => '-',
        '\u{2018}' | '\u{2019}' | '\u{201b}' | '\u{02bc}' | '\u{00b4}' | '`' | '\u{ff07}' => '\'',
        c => c,
    }
}

/// Default ignorable characters (Unicode, `DerivedCoreProperties`): they are not seen, so they do not count.
const fn is_ignorable(c: char) -> bool {
    matches!(c,
        '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// The first digits of the scripts whose digits NFKC leaves as they are; each has ten in a row (Unicode, category Nd).
const ZEROS: [u32; 32] = [
    0x0030, 0x0660, 0x06f0, 0x07c0, 0x0966, 0x09e6, 0x0a66, 0x0ae6, 0x0b66, 0x0be6, 0x0c66, 0x0ce6,
    0x0d66, 0x0de6, 0x0e50, 0x0ed0, 0x0f20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80,
    0x1a90, 0x1b50, 0x1bb0, 0x1c40, 0x1c50, 0xa620, 0xa8d0, 0xabf0,
];

fn digit(c: char) -> Option<char> {
    let code = u32::from(c);
    let zero = ZEROS.iter().rev().find(|zero| **zero <= code)?;
    char::from_digit(code - zero, 10)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_people_take_for_the_same_are_the_same() {
        for (one, other) in [
            ("Müller", "MU\u{308}LLER"),
            ("Straße", "STRASSE"),
            ("Ｒｏｓｓｉ", "rossi"),
            ("O’Brien", "o'brien"),
            ("Anne\u{2011}Marie", "anne-marie"),
            ("  van \u{a0} der\tBerg ", "Van der berg"),
            ("Ros\u{ad}si\u{200b}", "Rossi"),
            ("Παπαδόπουλος", "ΠΑΠΑΔΌΠΟΥΛΟΣ"),
            ("ﬁnch", "Finch"),
        ] {
            assert_eq!(text(one), text(other));
        }
        // The dotless i is another letter: full case folding keeps it, whatever the language.
        assert_ne!(text("Işık"), text("Isik"));
        assert_ne!(text("Rossi"), text("Rosi"));
    }

    #[test]
    fn a_number_is_its_digits_and_a_date_is_iso() {
        for (written, form) in [
            ("MRN 00-12.34", "001234"),
            ("١٢٣", "123"),
            ("１２３", "123"),
            ("+39 06 123", "3906123"),
            ("Proband A", "proband a"),
        ] {
            assert_eq!(number(written), form);
        }
        let date = |text| normal(SearchField::BirthDate, text);
        assert_eq!(date("1987-03-09").unwrap().as_bytes(), b"1987-03-09");
        assert_eq!(date(" １９８７-03-09 "), date("1987-03-09"));
        assert_eq!(date("09.03.1987"), None);
        assert_eq!(date("1987-02-30"), None);
    }

    #[test]
    fn what_must_not_be_hashed_has_no_normal_form() {
        for field in [SearchField::Sex, SearchField::Phenotype, SearchField::Genotype] {
            assert_eq!(normal(field, "HP:0001250"), None);
        }
        assert_eq!(normal(SearchField::FamilyName, " \u{200b} "), None);
        assert_eq!(format!("{:?}", normal(SearchField::FamilyName, "Rossi")), "Some(Normal(..))");
    }

    proptest! {
        #[test]
        fn a_normal_form_is_its_own_normal_form(value in any::<String>()) {
            let form = text(&value);
            prop_assert_eq!(&text(&form), &form);
            let form = number(&value);
            prop_assert_eq!(&number(&form), &form);
        }

        #[test]
        fn case_composition_and_spaces_do_not_count(value in "[\\p{Latin}\\p{Greek}\\p{Cyrillic} ]{0,24}") {
            let decomposed: String = value.nfd().collect();
            prop_assert_eq!(text(&decomposed), text(&value));
            let spaced = format!("  {}\u{a0} ", value.replace(' ', " \t "));
            prop_assert_eq!(text(&spaced), text(&value));
        }
    }
}
