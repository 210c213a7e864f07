//! Cases: what is said of a patient, what stands about it in clear, and which of its fields are searchable
//! (`spec/cases.md`).
//!
//! Whatever holds words about people prints nothing of them (`Debug` shows the name of the type), so that no log and no
//! error can repeat them by accident.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{AccountId, CaseId, DatasetId, EventId, OrganizationId, Outcome, ProjectId, Time};

/// The most bytes of a document as JSON.
pub const MOST_CASE_BYTES: usize = 256 * 1024;
/// The most cases in one call.
pub const MOST_CASES: usize = 1000;

const MOST_LINE: usize = 200;
const MOST_TEXT: usize = 16 * 1024;
const MOST_RELATIVES: usize = 100;
const MOST_NOTES: usize = 200;
const MOST_PHENOTYPES: usize = 500;

macro_rules! unprinted {
    ($($name:ident),+) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    )+};
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
        )]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$of])* $variant,)+ }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Its word on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl FromStr for $name {
            type Err = NoSuchWord;
            fn from_str(text: &str) -> Result<Self, NoSuchWord> {
                Self::ALL.iter().copied().find(|one| one.as_str() == text).ok_or_else(|| NoSuchWord {
                    words: Self::ALL.iter().map(|one| one.as_str()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    };
}

/// A word that is none of a list.
#[derive(Debug, thiserror::Error)]
#[error("not one of: {words}")]
pub struct NoSuchWord {
    words: String,
}

words! {
    /// Administrative sex, as FHIR and Phenopackets have it.
    Sex {
        /// Female.
        Female = "female",
        /// Male.
        Male = "male",
        /// Other.
        Other = "other",
        /// Not known.
        Unknown = "unknown",
    }
}

words! {
    /// What a relative is to the patient.
    Relation {
        /// Mother.
        Mother = "mother",
        /// Father.
        Father = "father",
        /// Sister or brother.
        Sibling = "sibling",
        /// Daughter or son.
        Child = "child",
        /// Partner.
        Partner = "partner",
        /// Another.
        Other = "other",
    }
}

words! {
    /// Where a case stands.
    CaseStatus {
        /// It is worked on.
        Open = "open",
        /// Its conclusion is written.
        Concluded = "concluded",
        /// Nothing is changed any more.
        Closed = "closed",
    }
}

words! {
    /// What somebody reads a patient's information for (after HL7 v3 `PurposeOfUse`).
    CasePurpose {
        /// To treat the patient.
        Treatment = "treatment",
        /// To treat the patient in an emergency.
        EmergencyTreatment = "emergency_treatment",
        /// To run the clinic.
        Operations = "operations",
        /// To look after quality.
        QualityAssurance = "quality_assurance",
        /// To be paid.
        Payment = "payment",
        /// Research.
        Research = "research",
        /// Public health.
        PublicHealth = "public_health",
        /// Because the patient asked.
        PatientRequest = "patient_request",
    }
}

words! {
    /// What of a document a read gives.
    CaseField {
        /// The patient's record number.
        RecordNumber = "record_number",
        /// Family and given name.
        Name = "name",
        /// The date of birth.
        BirthDate = "birth_date",
        /// Sex.
        Sex = "sex",
        /// E-mail, telephone, postal code.
        Contact = "contact",
        /// The number of the test request.
        OrderNumber = "order_number",
        /// Why the test was asked for.
        Indication = "indication",
        /// Relatives.
        Relatives = "relatives",
        /// Phenotypes.
        Phenotypes = "phenotypes",
        /// Notes.
        Notes = "notes",
        /// Attachments.
        Attachments = "attachments",
        /// The conclusion.
        Conclusion = "conclusion",
    }
}

words! {
    /// A field that somebody may want to search.
    SearchField {
        /// The patient's record number.
        RecordNumber = "record_number",
        /// The number of the test request.
        OrderNumber = "order_number",
        /// Family name.
        FamilyName = "family_name",
        /// Given name.
        GivenName = "given_name",
        /// Date of birth.
        BirthDate = "birth_date",
        /// E-mail.
        Email = "email",
        /// Telephone.
        Telephone = "telephone",
        /// Postal code.
        PostalCode = "postal_code",
        /// Sex: refused, a hash would tell it.
        Sex = "sex",
        /// Phenotypes: refused, a hash would tell them.
        Phenotype = "phenotype",
        /// Genotypes: never.
        Genotype = "genotype",
    }
}

words! {
    /// How far a version of an index is.
    IndexState {
        /// What was there before is being hashed.
        Building = "building",
        /// It answers.
        Live = "live",
        /// Its hashes are being deleted.
        Ending = "ending",
    }
}

/// A term of the Human Phenotype Ontology: `HP:` and seven digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, utoipa::ToSchema)]
#[schema(value_type = String, example = "HP:0001250")]
pub struct HpoTerm(String);

unprinted!(HpoTerm);

impl HpoTerm {
    /// The term as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that is no HPO term. It does not repeat the text.
#[derive(Debug, thiserror::Error)]
#[error("not an HPO term: it has the form HP:0001250")]
pub struct NotATerm;

impl FromStr for HpoTerm {
    type Err = NotATerm;
    fn from_str(text: &str) -> Result<Self, NotATerm> {
        match text.strip_prefix("HP:") {
            Some(digits) if digits.len() == 7 && digits.bytes().all(|b| b.is_ascii_digit()) => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(NotATerm),
        }
    }
}

impl Serialize for HpoTerm {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for HpoTerm {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Whom a case is about.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Patient {
    /// The number of the patient's record at the clinic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_number: Option<String>,
    /// Family name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family_name: Option<String>,
    /// Given name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_name: Option<String>,
    /// Date of birth, ISO 8601.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Date)]
    pub birth_date: Option<jiff::civil::Date>,
    /// Administrative sex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sex: Option<Sex>,
    /// E-mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Telephone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telephone: Option<String>,
    /// Postal code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postal_code: Option<String>,
}

/// A relative of the patient.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Relative {
    /// What they are to the patient.
    pub relation: Relation,
    /// Whether they have the condition, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affected: Option<bool>,
    /// Family name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family_name: Option<String>,
    /// Given name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_name: Option<String>,
    /// Date of birth, ISO 8601.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Date)]
    pub birth_date: Option<jiff::civil::Date>,
    /// The number of their own record at the clinic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_number: Option<String>,
    /// Their sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<DatasetId>,
}

/// A phenotype that was looked for.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Phenotype {
    /// The HPO term.
    pub term: HpoTerm,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Whether it was looked for and not found.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub excluded: bool,
    /// When it began: an age, a date, an HPO term, as it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub onset: Option<String>,
}

/// A note. Who wrote it and when is the hub's to say: what a caller writes there counts only for notes that were there.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// What was noted.
    pub text: String,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<Time>,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<AccountId>,
}

/// A file of a dataset that is linked to the case.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Attachment {
    /// The file's name in that dataset.
    pub name: String,
    /// The dataset.
    pub dataset: DatasetId,
    /// What kind of file it is, as `application/pdf`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
}

/// What is said in a case. It is sealed whole.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseDocument {
    /// Whom it is about.
    pub patient: Patient,
    /// The number of the test request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_number: Option<String>,
    /// Why the test was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub indication: Option<String>,
    /// Relatives.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relatives: Vec<Relative>,
    /// Phenotypes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phenotypes: Vec<Phenotype>,
    /// Notes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
    /// Files of linked datasets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    /// What was concluded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conclusion: Option<String>,
}

unprinted!(Patient, Relative, Phenotype, Note, Attachment, CaseDocument);

/// What is wrong with a document: the field and why, never what stands there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {why}")]
pub struct WrongDocument {
    /// The field.
    pub field: &'static str,
    /// Why.
    pub why: String,
}

fn line(field: &'static str, text: Option<&str>) -> Result<(), WrongDocument> {
    let good = |text: &str| {
        !text.trim().is_empty()
            && text.chars().count() <= MOST_LINE
            && !text.chars().any(char::is_control)
    };
    if text.is_none_or(good) {
        return Ok(());
    }
    let why = format!("is not one line of 1 to {MOST_LINE} characters");
    Err(WrongDocument { field, why })
}

fn text(field: &'static str, text: Option<&str>) -> Result<(), WrongDocument> {
    let good = |text: &str| {
        !text.trim().is_empty()
            && text.chars().count() <= MOST_TEXT
            && !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
    };
    if text.is_none_or(good) {
        return Ok(());
    }
    let why = format!("is not a text of 1 to {MOST_TEXT} characters");
    Err(WrongDocument { field, why })
}

fn at_most(field: &'static str, found: usize, most: usize) -> Result<(), WrongDocument> {
    if found <= most {
        return Ok(());
    }
    Err(WrongDocument { field, why: format!("has {found} entries, and {most} are taken") })
}

impl CaseDocument {
    /// Checks what the types leave open (`spec/cases.md` section 2).
    ///
    /// # Errors
    /// Names the field and why, and never what stands there.
    pub fn check(&self) -> Result<(), WrongDocument> {
        let patient = &self.patient;
        let named = [&patient.record_number, &patient.family_name, &self.order_number];
        if named.into_iter().all(Option::is_none) {
            let why = "has no record number and no family name, and the case no order number";
            return Err(WrongDocument { field: "patient", why: why.to_owned() });
        }
        line("patient.record_number", patient.record_number.as_deref())?;
        line("patient.family_name", patient.family_name.as_deref())?;
        line("patient.given_name", patient.given_name.as_deref())?;
        line("patient.email", patient.email.as_deref())?;
        line("patient.telephone", patient.telephone.as_deref())?;
        line("patient.postal_code", patient.postal_code.as_deref())?;
        line("order_number", self.order_number.as_deref())?;
        text("indication", self.indication.as_deref())?;
        text("conclusion", self.conclusion.as_deref())?;
        at_most("relatives", self.relatives.len(), MOST_RELATIVES)?;
        at_most("phenotypes", self.phenotypes.len(), MOST_PHENOTYPES)?;
        at_most("notes", self.notes.len(), MOST_NOTES)?;
        at_most("attachments", self.attachments.len(), MOST_RELATIVES)?;
        for relative in &self.relatives {
            line("relatives.family_name", relative.family_name.as_deref())?;
            line("relatives.given_name", relative.given_name.as_deref())?;
            line("relatives.record_number", relative.record_number.as_deref())?;
        }
        for phenotype in &self.phenotypes {
            line("phenotypes.label", phenotype.label.as_deref())?;
            line("phenotypes.onset", phenotype.onset.as_deref())?;
        }
        self.notes.iter().try_for_each(|note| text("notes.text", Some(&note.text)))?;
        for attachment in &self.attachments {
            line("attachments.name", Some(&attachment.name))?;
            line("attachments.media_type", attachment.media_type.as_deref())?;
        }
        Ok(())
    }

    /// These fields of it and no other.
    #[must_use]
    pub fn only(mut self, fields: &[CaseField]) -> Self {
        let mut kept = Self::default();
        for field in fields {
            let (to, from) = (&mut kept.patient, &mut self.patient);
            match field {
                CaseField::RecordNumber => to.record_number = from.record_number.take(),
                CaseField::Name => {
                    to.family_name = from.family_name.take();
                    to.given_name = from.given_name.take();
                }
                CaseField::BirthDate => to.birth_date = from.birth_date.take(),
                CaseField::Sex => to.sex = from.sex.take(),
                CaseField::Contact => {
                    to.email = from.email.take();
                    to.telephone = from.telephone.take();
                    to.postal_code = from.postal_code.take();
                }
                CaseField::OrderNumber => kept.order_number = self.order_number.take(),
                CaseField::Indication => kept.indication = self.indication.take(),
                CaseField::Relatives => kept.relatives = std::mem::take(&mut self.relatives),
                CaseField::Phenotypes => kept.phenotypes = std::mem::take(&mut self.phenotypes),
                CaseField::Notes => kept.notes = std::mem::take(&mut self.notes),
                CaseField::Attachments => kept.attachments = std::mem::take(&mut self.attachments),
                CaseField::Conclusion => kept.conclusion = self.conclusion.take(),
            }
        }
        kept
    }
}

/// A case as it stands in clear.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Its id.
    pub id: CaseId,
    /// The project.
    pub project: ProjectId,
    /// The organization that holds its key.
    pub organization: OrganizationId,
    /// Where it stands.
    pub status: CaseStatus,
    /// How often its document was written: 1 for a new case.
    pub version: u32,
    /// Who made it.
    pub made_by: AccountId,
    /// Who wrote the conclusion, if it is written.
    pub concluded_by: Option<AccountId>,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub created: Time,
    /// When it was last changed.
    #[schema(value_type = String, format = DateTime)]
    pub changed: Time,
    /// When it was closed, if it was.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub closed: Option<Time>,
    /// Samples and results that are linked to it.
    pub datasets: Vec<DatasetId>,
}

/// A case about to be added. The caller draws the id, so that the same call again adds nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCase {
    /// Its id.
    pub id: CaseId,
    /// What is said in it.
    pub document: CaseDocument,
}

/// `POST /projects/{id}/cases`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddCases {
    /// 1 to 1000 of them: all are added, or none.
    pub cases: Vec<NewCase>,
}

/// The answer to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddedCases {
    /// How many were added; those that were there from the same call are not counted again.
    pub added: u32,
}

/// `POST /cases/{id}/read`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadCase {
    /// What for.
    pub purpose: CasePurpose,
    /// Which fields; none means all.
    #[serde(default)]
    pub fields: Vec<CaseField>,
}

/// The answer to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenedCase {
    /// What stands in clear.
    pub case: Case,
    /// The fields that were read.
    pub fields: Vec<CaseField>,
    /// Those fields and no other.
    pub document: CaseDocument,
}

/// `PUT /cases/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateCase {
    /// The version that was read; another one meanwhile is refused.
    pub version: u32,
    /// The whole document as it is to be.
    pub document: CaseDocument,
}

/// `POST /cases/{id}/conclusion`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConcludeCase {
    /// What was concluded.
    pub conclusion: String,
}

unprinted!(ConcludeCase);

/// `POST /projects/{id}/cases/search`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SearchCases {
    /// Which field.
    pub field: SearchField,
    /// Which value: equal after normalisation.
    pub value: String,
    /// What for.
    pub purpose: CasePurpose,
}

unprinted!(SearchCases);

/// The answer to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FoundCases {
    /// The cases whose field has that value, oldest first; 1000 at most.
    pub cases: Vec<Case>,
    /// Whether there are more.
    pub more: bool,
}

/// How a field is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum IndexMode {
    /// 16 bytes: equal hashes are equal values.
    Exact,
    /// So many bits: unlike values share a hash, and hits are opened before they are shown.
    Beacon {
        /// 4 to 24.
        bits: u8,
    },
}

/// `PUT /organizations/{id}/fields/{field}`: turns a field on, or begins its next version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetField {
    /// How it is hashed; as is usual for the field where absent.
    #[serde(default)]
    pub mode: Option<IndexMode>,
}

/// A version of a field's index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldIndex {
    /// The field.
    pub field: SearchField,
    /// Which version.
    pub version: u32,
    /// How it is hashed.
    pub mode: IndexMode,
    /// How far it is.
    pub state: IndexState,
    /// How many cases were gone through while it was built, or hashes deleted while it ends.
    pub done: u64,
    /// Of how many.
    pub total: u64,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Time,
    /// What whoever sees the database learns from it.
    pub leaks: String,
}

/// `PUT /organizations/{id}/case-rules`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseRules {
    /// Whether another person than the one who concluded a case closes it.
    pub second_person: bool,
}

/// Who read what of which case, and why: for auditors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditedRead {
    /// The event in the audit list.
    pub event: EventId,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// Who, as in events.
    pub actor: String,
    /// `case.read` or `case.search`.
    pub act: String,
    /// What it was about: `case:ID` or `project:ID`.
    pub object: String,
    /// What for.
    pub purpose: CasePurpose,
    /// Which fields, as words; the searched one for a search.
    pub fields: Vec<String>,
    /// How it ended.
    pub outcome: Outcome,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn someone() -> CaseDocument {
        let text = r#"{"patient": {"record_number": "MRN 12", "family_name": "Rossi", "birth_date": "1987-03-09"},
            "phenotypes": [{"term": "HP:0001250"}], "notes": [{"text": "seen"}]}"#;
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_document_is_closed_and_prints_nothing() {
        let document = someone();
        document.check().unwrap();
        assert_eq!(format!("{document:?} {:?}", document.patient), "CaseDocument(..) Patient(..)");
        let unknown = r#"{"patient": {"nickname": "x"}}"#;
        assert!(serde_json::from_str::<CaseDocument>(unknown).is_err());
        assert!("HP:12".parse::<HpoTerm>().is_err());
        let told = "HP:Rossi12".parse::<HpoTerm>().unwrap_err().to_string();
        assert!(!told.contains("Rossi"));
    }

    #[test]
    fn a_document_that_names_nobody_or_says_too_much_is_refused_without_repeating_it() {
        let mut document = CaseDocument::default();
        assert_eq!(document.check().unwrap_err().field, "patient");
        document.patient.family_name = Some("Ro\nssi".into());
        let wrong = document.check().unwrap_err();
        assert_eq!(wrong.field, "patient.family_name");
        assert!(!wrong.to_string().contains("ssi"));
        document.patient.family_name = Some("é".repeat(200));
        document.check().unwrap();
        document.patient.family_name = Some("é".repeat(201));
        assert!(document.check().is_err());
    }

    #[test]
    fn a_read_gives_the_fields_it_named_and_no_other() {
        let document = someone();
        let part = document.clone().only(&[CaseField::Phenotypes]);
        assert_eq!(part.patient, Patient::default());
        assert!(part.notes.is_empty());
        assert_eq!(part.phenotypes, document.phenotypes);
        assert_eq!(document.clone().only(CaseField::ALL), document);
    }

    #[test]
    fn a_word_on_the_wire_is_the_word_of_the_type() {
        for field in SearchField::ALL {
            let word = serde_json::to_value(field).unwrap();
            assert_eq!(word, field.as_str());
            assert_eq!(field.as_str().parse::<SearchField>().unwrap(), *field);
        }
        for field in CaseField::ALL {
            assert_eq!(serde_json::to_value(field).unwrap(), field.as_str());
        }
        for purpose in CasePurpose::ALL {
            assert_eq!(serde_json::to_value(purpose).unwrap(), purpose.as_str());
        }
        assert!("eye colour".parse::<SearchField>().is_err());
    }
}
