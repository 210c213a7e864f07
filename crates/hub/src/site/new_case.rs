//! Adding a case: what is typed of a patient becomes a document, which is sealed before it is kept.
//!
//! It is sent by a form, so that no address holds a word of it. What is not taken is said beside its field, with the place and
//! never the words, and what was typed is there still. Who adds a case reads it afterwards as everybody does, for a purpose.
//!
//! A document that somebody has already, of our own form or a phenopacket, is pasted, or read from a file by the browser, and read
//! into the same fields, where it is looked at before it is kept; nothing is kept by reading it.

use std::collections::BTreeMap;

use api::{
    AddCases, CaseDocument, CaseId, HpoTerm, NewCase, Note, Patient, Phenotype, ProjectId, Sex,
};
use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};

use super::guard::{Form, SignedIn};
use super::view::{Frame, Refusal, again, page as draw, sentence};
use crate::HubError;
use crate::app;
use crate::http::extract::Id;
use crate::state::Hub;

const SECTION: &str = "/projects";
/// The longest line that a case takes (`spec/cases.md` section 2).
const LINE: u32 = 200;
/// The longest text of this form: half of what a case takes, so that all of them together are no larger than a form may be.
const TEXT: u32 = 8 * 1024;

/// What a form brings, by the names of its fields.
type Given = BTreeMap<String, String>;
/// What is wrong, by the names of fields.
type Wrong = BTreeMap<&'static str, String>;

/// How a field looks.
#[derive(Clone, Copy)]
enum Control {
    Line,
    Date,
    Sex,
    Text,
}

/// A field that the form has: its name, label and hint.
struct Asked(&'static str, &'static str, &'static str, Control);

/// The fields, under a heading each.
static ASKED: [(&str, &[Asked]); 2] = [
    (
        "The patient",
        &[
            Asked(
                "record_number",
                "Record number",
                "Of the patient's record at the clinic.",
                Control::Line,
            ),
            Asked("family_name", "Family name", "", Control::Line),
            Asked("given_name", "Given name", "", Control::Line),
            Asked("birth_date", "Date of birth", "", Control::Date),
            Asked("sex", "Sex", "", Control::Sex),
            Asked("email", "E-mail", "", Control::Line),
            Asked("telephone", "Telephone", "", Control::Line),
            Asked("postal_code", "Postal code", "", Control::Line),
        ],
    ),
    (
        "The test request",
        &[
            Asked("order_number", "Order number", "", Control::Line),
            Asked("indication", "Why the test is asked for", "", Control::Text),
            Asked(
                "phenotypes",
                "Phenotypes",
                "HPO terms, one on a line, with a name behind if you like: HP:0001250 Seizure. Write not before what was looked for and not found.",
                Control::Text,
            ),
            Asked("notes", "Note", "Your name and the time are added.", Control::Text),
        ],
    ),
];

/// A field as it is drawn.
struct Field {
    name: &'static str,
    label: &'static str,
    hint: &'static str,
    control: Control,
    value: String,
    wrong: Option<String>,
}

impl Field {
    /// Which sentences describe it, for whoever does not see that they stand beside it.
    fn described_by(&self) -> Option<String> {
        let hint = (!self.hint.is_empty()).then(|| format!("{}-hint", self.name));
        let wrong = self.wrong.as_ref().map(|_| format!("{}-wrong", self.name));
        let all: Vec<String> = hint.into_iter().chain(wrong).collect();
        (!all.is_empty()).then(|| all.join(" "))
    }

    /// What can be chosen as sex, and what was.
    fn sexes(&self) -> Vec<(&'static str, bool)> {
        Sex::ALL.iter().map(|sex| (sex.as_str(), sex.as_str() == self.value)).collect()
    }
}

/// Fields under their heading.
struct Part {
    id: &'static str,
    heading: &'static str,
    fields: Vec<Field>,
}

#[derive(Template)]
#[template(path = "new_case.html")]
struct NewPage {
    frame: Frame,
    refusal: Option<Refusal>,
    project: ProjectId,
    id: CaseId,
    parts: Vec<Part>,
    /// The longest line and the longest text.
    line: u32,
    text: u32,
    /// A document that was pasted and could not be read.
    pasted: String,
    /// What of a document that was read has no field here, by name.
    left_out: Option<Vec<String>>,
}

impl NewPage {
    fn new(
        person: &SignedIn,
        project: ProjectId,
        id: CaseId,
        given: &Given,
        wrong: &Wrong,
    ) -> Self {
        let field = |&Asked(name, label, hint, control): &Asked| Field {
            name,
            label,
            hint,
            control,
            value: given.get(name).cloned().unwrap_or_default(),
            wrong: wrong.get(name).cloned(),
        };
        let parts = ASKED.iter().zip(["patient", "request"]);
        Self {
            frame: Frame::of("Add a case", SECTION, &person.visit).with_files(),
            refusal: None,
            project,
            id,
            parts: parts
                .map(|(&(heading, asked), id)| Part {
                    id,
                    heading,
                    fields: asked.iter().map(field).collect(),
                })
                .collect(),
            line: LINE,
            text: TEXT,
            pasted: String::new(),
            left_out: None,
        }
    }
}

pub(super) async fn page(
    State(hub): State<Hub>,
    person: SignedIn,
    Id(project): Id<ProjectId>,
) -> Result<Response, HubError> {
    app::cases::may_add(&hub, &person.caller, project).await?;
    let (given, wrong) = (Given::new(), Wrong::new());
    draw(&person.visit, &NewPage::new(&person, project, CaseId::generate(), &given, &wrong))
}

pub(super) async fn add(
    State(hub): State<Hub>,
    person: SignedIn,
    Id(project): Id<ProjectId>,
    Form(given): Form<Given>,
) -> Result<Response, HubError> {
    app::cases::may_add(&hub, &person.caller, project).await?;
    // The page drew it, so that the same form sent twice adds one case.
    let id = given.get("id").and_then(|id| id.parse().ok()).unwrap_or_else(CaseId::generate);
    if let Some(pasted) = given.get("document") {
        return read_in(&person, project, id, pasted);
    }
    let again = |error: HubError, wrong: &Wrong| {
        let refusal = Some(Refusal::of(&error));
        let page = NewPage::new(&person, project, id, &given, wrong);
        again(&person.visit, error, &NewPage { refusal, ..page })
    };
    let document = match document(&given) {
        Ok(document) => document,
        Err(wrong) => {
            let error =
                HubError::bad_request("some of what was typed is not taken, and nothing was kept")
                    .hint("what is wrong stands beside each field");
            return again(error, &wrong);
        }
    };
    let body = AddCases { cases: vec![NewCase { id, document }] };
    match app::cases::add(&hub, &person.caller, project, body).await {
        Ok(_) => Ok(Redirect::to(&format!("/cases/{id}")).into_response()),
        Err(error) => again(error, &Wrong::new()),
    }
}

/// The page with its fields filled in from a document, or with the document and why it was not read.
fn read_in(
    person: &SignedIn,
    project: ProjectId,
    id: CaseId,
    pasted: &str,
) -> Result<Response, HubError> {
    let one = cases::import::any_json(pasted.as_bytes())
        .map_err(|error| HubError::bad_request(format!("the document was not read: {error}")))
        .and_then(|read| match <[CaseDocument; 1]>::try_from(read.documents) {
            Ok([document]) => Ok((document, read.left_out)),
            Err(several) => Err(HubError::bad_request(format!(
                "the document holds {} cases, and this page takes one",
                several.len()
            ))
            .hint("many are brought from your machine: `chorion case import`")),
        });
    match one {
        Ok((document, mut left_out)) => {
            let (given, besides) = typed(document);
            left_out.extend(besides.into_iter().map(str::to_owned));
            let page = NewPage::new(person, project, id, &given, &Wrong::new());
            draw(&person.visit, &NewPage { left_out: Some(left_out), ..page })
        }
        Err(error) => {
            let page = NewPage::new(person, project, id, &Given::new(), &Wrong::new());
            let (refusal, pasted) = (Some(Refusal::of(&error)), pasted.to_owned());
            again(&person.visit, error, &NewPage { refusal, pasted, ..page })
        }
    }
}

/// A document as somebody would type it, and what of it has no field here.
fn typed(document: CaseDocument) -> (Given, Vec<&'static str>) {
    let mut left_out = Vec::new();
    for (name, is_there) in [
        ("relatives", !document.relatives.is_empty()),
        ("attachments", !document.attachments.is_empty()),
        ("conclusion", document.conclusion.is_some()),
        ("phenotypes.onset", document.phenotypes.iter().any(|one| one.onset.is_some())),
    ] {
        if is_there {
            left_out.push(name);
        }
    }
    let phenotype = |one: &Phenotype| {
        let not = if one.excluded { "not " } else { "" };
        let label = one.label.as_deref().unwrap_or_default();
        format!("{not}{} {label}", one.term.as_str()).trim_end().to_owned()
    };
    let lines: Vec<String> = document.phenotypes.iter().map(phenotype).collect();
    let notes: Vec<String> = document.notes.into_iter().map(|note| note.text).collect();
    let patient = document.patient;
    let given = [
        ("record_number", patient.record_number),
        ("family_name", patient.family_name),
        ("given_name", patient.given_name),
        ("birth_date", patient.birth_date.map(|date| date.to_string())),
        ("sex", patient.sex.map(|sex| sex.as_str().to_owned())),
        ("email", patient.email),
        ("telephone", patient.telephone),
        ("postal_code", patient.postal_code),
        ("order_number", document.order_number),
        ("indication", document.indication),
        ("phenotypes", Some(lines.join("\n"))),
        ("notes", Some(notes.join("\n\n"))),
    ];
    let given = given.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?)));
    (given.collect(), left_out)
}

/// The document that was typed, or what of it is not taken.
fn document(given: &Given) -> Result<CaseDocument, Wrong> {
    let own = |name: &str| {
        // Browsers end lines as RFC 7578 says.
        let text = given.get(name)?.replace("\r\n", "\n").trim().to_owned();
        (!text.is_empty()).then_some(text)
    };
    let mut wrong = Wrong::new();
    let birth_date = own("birth_date").and_then(|date| {
        let read = date.parse::<jiff::civil::Date>().ok();
        if read.is_none() {
            wrong.insert("birth_date", "This is no date: write YEAR-MONTH-DAY.".to_owned());
        }
        read
    });
    let sex = own("sex").and_then(|sex| {
        let read = sex.parse::<Sex>();
        read.map_err(|no| wrong.insert("sex", sentence(&no.to_string()))).ok()
    });
    let phenotypes = phenotypes(&own("phenotypes").unwrap_or_default());
    let document = CaseDocument {
        patient: Patient {
            record_number: own("record_number"),
            family_name: own("family_name"),
            given_name: own("given_name"),
            birth_date,
            sex,
            email: own("email"),
            telephone: own("telephone"),
            postal_code: own("postal_code"),
        },
        order_number: own("order_number"),
        indication: own("indication"),
        phenotypes: phenotypes
            .map_err(|line| {
                let told = format!("Line {line} does not begin with an HPO term, as HP:0001250.");
                wrong.insert("phenotypes", told)
            })
            .unwrap_or_default(),
        notes: own("notes").map(|text| Note { text, at: None, author: None }).into_iter().collect(),
        ..CaseDocument::default()
    };
    if let Err(found) = document.check() {
        let (field, told) = match found.field.strip_prefix("patient.").unwrap_or(found.field) {
            "patient" => (
                "record_number",
                "One of three is wanted: the record number, the family name, or the order number."
                    .to_owned(),
            ),
            field => (field.split('.').next().unwrap_or(field), format!("It {}.", found.why)),
        };
        let all = ASKED.iter().flat_map(|(_, asked)| asked.iter());
        let name = all.map(|asked| asked.0).find(|name| *name == field);
        wrong.entry(name.unwrap_or("record_number")).or_insert(told);
    }
    if wrong.is_empty() { Ok(document) } else { Err(wrong) }
}

/// Terms as they are typed, one on a line; or the number of the first line that has none.
fn phenotypes(text: &str) -> Result<Vec<Phenotype>, usize> {
    let lines = (1_usize..).zip(text.lines().map(str::trim)).filter(|(_, line)| !line.is_empty());
    lines
        .map(|(number, line)| {
            let not = line.strip_prefix("not ").or_else(|| line.strip_prefix("Not "));
            let said = not.unwrap_or(line).trim_start();
            let (term, label) = said.split_once(char::is_whitespace).unwrap_or((said, ""));
            let term: HpoTerm = term
                .trim_end_matches([',', ';', ':'])
                .to_ascii_uppercase()
                .parse()
                .map_err(|_| number)?;
            let label = label.trim();
            Ok(Phenotype {
                term,
                label: (!label.is_empty()).then(|| label.to_owned()),
                excluded: not.is_some(),
                onset: None,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(fields: &[(&str, &str)]) -> Given {
        fields.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn terms_are_read_as_people_write_them() {
        let read = phenotypes("HP:0001250 Seizure\n\n  hp:0001263,\nnot HP:0000252  Small head\n")
            .unwrap();
        let told: Vec<_> =
            read.iter().map(|p| (p.term.as_str(), p.label.as_deref(), p.excluded)).collect();
        assert_eq!(
            told,
            [
                ("HP:0001250", Some("Seizure"), false),
                ("HP:0001263", None, false),
                ("HP:0000252", Some("Small head"), true),
            ]
        );
        for (text, line) in
            [("Seizure", 1), ("HP:0001250\n\nHP:125", 3), ("not", 1), ("HP:0001250Seizure", 1)]
        {
            assert_eq!(phenotypes(text).map(|_| ()), Err(line), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_of_its_field_and_never_repeated() {
        let long = "Canarini".repeat(40);
        type Typed<'a> = &'a [(&'a str, &'a str)];
        let cases: [(Typed<'_>, &[&str]); 5] = [
            (&[("given_name", "Canarini")], &["record_number"]),
            (&[("family_name", &long)], &["family_name"]),
            (&[("family_name", "Canarini"), ("birth_date", "Canarini")], &["birth_date"]),
            (
                &[("birth_date", "2020-02-30"), ("sex", "Canarini"), ("phenotypes", "Canarini")],
                &["birth_date", "phenotypes", "record_number", "sex"],
            ),
            (
                &[("order_number", "7"), ("phenotypes", &format!("HP:0001250 {long}"))],
                &["phenotypes"],
            ),
        ];
        for (fields, names) in cases {
            let wrong = document(&given(fields)).unwrap_err();
            assert_eq!(wrong.keys().copied().collect::<Vec<_>>(), names);
            assert!(wrong.values().all(|sentence| !sentence.contains("Canarini")), "{names:?}");
        }
    }

    #[test]
    fn a_document_is_read_into_the_fields_and_out_of_them_again() {
        let text = br#"{
            "patient": {"record_number": "7", "family_name": "Canarini", "birth_date": "1987-03-09", "sex": "male"},
            "indication": "first\nsecond", "notes": [{"text": "one"}, {"text": "two"}],
            "phenotypes": [{"term": "HP:0001250", "label": "Seizure"}, {"term": "HP:0000252", "excluded": true, "onset": "P3Y"}]
        }"#;
        let read = cases::import::any_json(text).unwrap().documents.remove(0);
        let (given, left_out) = typed(read.clone());
        assert_eq!(left_out, ["phenotypes.onset"]);
        let again = document(&given).unwrap();
        assert!(again.patient == read.patient && again.indication == read.indication);
        assert_eq!(again.notes[0].text, "one\n\ntwo");
        let terms = |of: &CaseDocument| {
            let one = |p: &Phenotype| (p.term.as_str().to_owned(), p.label.clone(), p.excluded);
            of.phenotypes.iter().map(one).collect::<Vec<_>>()
        };
        assert_eq!(terms(&again), terms(&read));
    }

    #[test]
    fn what_is_left_empty_is_not_in_the_document() {
        let typed = given(&[
            ("record_number", " 770041993 "),
            ("family_name", ""),
            ("birth_date", "1987-03-09"),
            ("sex", "female"),
            ("indication", "first\r\nsecond"),
            ("notes", " "),
        ]);
        let document = document(&typed).unwrap();
        assert_eq!(document.patient.record_number.as_deref(), Some("770041993"));
        assert_eq!(document.patient.family_name, None);
        assert_eq!(document.patient.birth_date, Some(jiff::civil::date(1987, 3, 9)));
        assert_eq!(document.patient.sex, Some(Sex::Female));
        assert_eq!(document.indication.as_deref(), Some("first\nsecond"));
        assert!(document.notes.is_empty() && document.phenotypes.is_empty());
    }
}
