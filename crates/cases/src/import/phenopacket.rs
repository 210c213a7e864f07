//! GA4GH Phenopackets, version 2, as JSON (ISO 4454): one, a list, a `Family` or a `Cohort`.
//!
//! Taken are the subject's id, sex and date of birth, phenotypic features with their HPO terms, the pedigree's relations of a
//! family, and a description of interpretations. Diseases, measurements, biosamples and files have no place in a document and
//! are named in what was left out.

use std::collections::BTreeSet;

use api::{CaseDocument, Phenotype, Relation, Relative, Sex};
use serde_json::{Map, Value};

use super::{ImportError, Read, checked};

/// Members that carry nothing a document has a place for, and nothing that anybody misses.
const SILENT: &[&str] = &["metaData", "id", "subject", "phenotypicFeatures"];

/// Reads phenopackets.
///
/// # Errors
/// Names the case and the member.
pub fn phenopackets(bytes: &[u8]) -> Result<Read, ImportError> {
    let value: Value = serde_json::from_slice(bytes).map_err(|e| ImportError::json(&e))?;
    let all = match value {
        Value::Array(all) => all,
        one => vec![one],
    };
    let mut reader = Reader::default();
    for one in &all {
        reader.message(one)?;
    }
    let left_out = reader.left_out.into_iter().collect();
    checked(Read { documents: reader.documents, left_out })
}

#[derive(Default)]
struct Reader {
    documents: Vec<CaseDocument>,
    left_out: BTreeSet<String>,
}

impl Reader {
    fn case(&self) -> usize {
        self.documents.len() + 1
    }

    fn message(&mut self, value: &Value) -> Result<(), ImportError> {
        let packets = value.get("members").or_else(|| value.get("phenopackets"));
        if let Some(Value::Array(members)) = packets {
            return members.iter().try_for_each(|member| self.message(member));
        }
        let Some(proband) = value.get("proband") else {
            let document = self.packet(value)?;
            self.documents.push(document);
            return Ok(());
        };
        let mut document = self.packet(proband)?;
        let relatives = value.get("relatives").and_then(Value::as_array);
        for relative in relatives.into_iter().flatten() {
            let relation = relation(value, proband, relative);
            let read = self.packet(relative)?.patient;
            document.relatives.push(Relative {
                relation,
                affected: affected(value, relative),
                family_name: None,
                given_name: None,
                birth_date: read.birth_date,
                record_number: read.record_number,
                sample: None,
            });
        }
        self.documents.push(document);
        Ok(())
    }

    fn packet(&mut self, value: &Value) -> Result<CaseDocument, ImportError> {
        let case = self.case();
        let wrong = |member, why: &str| ImportError::value(case, member, why);
        let packet = value.as_object().ok_or_else(|| wrong("phenopacket", "is no record"))?;
        for (member, value) in packet {
            let empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
            // Names of members are theirs: one that the format does not have could be anything.
            if !SILENT.contains(&member.as_str()) && !empty {
                self.left_out.insert(known(member).to_owned());
            }
        }
        let mut document = CaseDocument::default();
        let nothing = Map::new();
        let subject = packet.get("subject").and_then(Value::as_object).unwrap_or(&nothing);
        let id = subject.get("id").or_else(|| packet.get("id")).and_then(Value::as_str);
        document.patient.record_number = id.map(str::to_owned);
        document.patient.sex = match subject.get("sex").and_then(Value::as_str) {
            Some("FEMALE") => Some(Sex::Female),
            Some("MALE") => Some(Sex::Male),
            Some("OTHER_SEX") => Some(Sex::Other),
            Some("UNKNOWN_SEX") | None => None,
            Some(_) => return Err(wrong("subject.sex", "is none of the format's words")),
        };
        if let Some(born) = subject.get("dateOfBirth").and_then(Value::as_str) {
            // A timestamp, of which the day counts.
            let day = born.get(..10).unwrap_or(born).parse();
            let day = day.map_err(|_| wrong("subject.dateOfBirth", "is no date"))?;
            document.patient.birth_date = Some(day);
        }
        let features = packet.get("phenotypicFeatures").and_then(Value::as_array);
        for feature in features.into_iter().flatten() {
            match self.feature(feature) {
                Some(phenotype) => document.phenotypes.push(phenotype),
                None => {
                    self.left_out.insert("phenotypicFeatures without an HPO term".to_owned());
                }
            }
        }
        Ok(document)
    }

    fn feature(&mut self, feature: &Value) -> Option<Phenotype> {
        let of = feature.get("type")?;
        let term = of.get("id").and_then(Value::as_str)?.parse().ok()?;
        let label = of.get("label").and_then(Value::as_str).map(str::to_owned);
        let excluded = feature.get("excluded").and_then(Value::as_bool).unwrap_or(false);
        for member in ["modifiers", "severity", "resolution", "evidence", "description"] {
            if feature.get(member).is_some() {
                self.left_out.insert(format!("phenotypicFeatures.{member}"));
            }
        }
        Some(Phenotype { term, label, excluded, onset: feature.get("onset").and_then(onset) })
    }
}

/// When a feature began, as one line: an age (ISO 8601), a time, or an ontology class.
fn onset(value: &Value) -> Option<String> {
    let age = value.get("age").and_then(|age| age.get("iso8601duration"));
    let class = value.get("ontologyClass").and_then(|class| class.get("id"));
    let moment = value.get("timestamp");
    age.or(class).or(moment).and_then(Value::as_str).map(str::to_owned)
}

/// The name of a member of the format; anything else is not repeated.
fn known(member: &str) -> &str {
    const MEMBERS: &[&str] =
        &["measurements", "biosamples", "interpretations", "diseases", "medicalActions", "files"];
    MEMBERS.iter().copied().find(|known| *known == member).unwrap_or("members of no phenopacket")
}

fn persons(family: &Value) -> impl Iterator<Item = &Value> {
    family
        .get("pedigree")
        .and_then(|pedigree| pedigree.get("persons"))
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn subject_id(packet: &Value) -> Option<&str> {
    packet.get("subject").and_then(|subject| subject.get("id")).and_then(Value::as_str)
}

fn person<'a>(family: &'a Value, packet: &Value) -> Option<&'a Value> {
    let id = subject_id(packet)?;
    persons(family).find(|person| person.get("individualId").and_then(Value::as_str) == Some(id))
}

/// What a relative is to the proband, by the pedigree.
fn relation(family: &Value, proband: &Value, relative: &Value) -> Relation {
    let parent = |of: Option<&Value>, which: &str| {
        of.and_then(|person| person.get(which)).and_then(Value::as_str).map(str::to_owned)
    };
    let (child, other) = (person(family, proband), person(family, relative));
    let (id, own) = (subject_id(relative), subject_id(proband));
    let (mother, father) = (parent(child, "maternalId"), parent(child, "paternalId"));
    if id.is_some() && id == mother.as_deref() {
        return Relation::Mother;
    }
    if id.is_some() && id == father.as_deref() {
        return Relation::Father;
    }
    let parents = [parent(other, "maternalId"), parent(other, "paternalId")];
    if own.is_some() && parents.iter().any(|parent| parent.as_deref() == own) {
        return Relation::Child;
    }
    let shared = parents.iter().flatten().any(|parent| {
        parent != "0" && (Some(parent) == mother.as_ref() || Some(parent) == father.as_ref())
    });
    if shared { Relation::Sibling } else { Relation::Other }
}

fn affected(family: &Value, relative: &Value) -> Option<bool> {
    match person(family, relative)?.get("affectedStatus").and_then(Value::as_str) {
        Some("AFFECTED") => Some(true),
        Some("UNAFFECTED") => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: &str = r#"{
        "id": "case-7", "subject": {"id": "patient 7", "sex": "FEMALE", "dateOfBirth": "1987-03-09T00:00:00Z"},
        "phenotypicFeatures": [
            {"type": {"id": "HP:0001250", "label": "Seizure"}, "onset": {"age": {"iso8601duration": "P6M"}}},
            {"type": {"id": "HP:0000252", "label": "Microcephaly"}, "excluded": true},
            {"type": {"id": "SNOMED:1"}}
        ],
        "diseases": [{"term": {"id": "OMIM:1"}}],
        "metaData": {"phenopacketSchemaVersion": "2.0"}
    }"#;

    #[test]
    fn a_phenopacket_is_read_and_what_is_left_out_is_named() {
        let read = phenopackets(PACKET.as_bytes()).unwrap();
        let [document] = &read.documents[..] else { panic!("one case") };
        assert_eq!(document.patient.record_number.as_deref(), Some("patient 7"));
        assert_eq!(document.patient.birth_date.unwrap().to_string(), "1987-03-09");
        assert_eq!(document.phenotypes.len(), 2);
        assert_eq!(document.phenotypes[0].onset.as_deref(), Some("P6M"));
        assert!(document.phenotypes[1].excluded);
        assert_eq!(read.left_out, ["diseases", "phenotypicFeatures without an HPO term"]);
        assert_eq!(super::super::any_json(PACKET.as_bytes()).unwrap(), read);
    }

    #[test]
    fn a_family_is_one_case_with_relatives() {
        let family = r#"{"id": "f", "proband": {"subject": {"id": "kid"}},
            "relatives": [{"subject": {"id": "mum"}}, {"subject": {"id": "dad"}}, {"subject": {"id": "sis"}}],
            "pedigree": {"persons": [
                {"individualId": "kid", "maternalId": "mum", "paternalId": "dad", "affectedStatus": "AFFECTED"},
                {"individualId": "mum", "maternalId": "0", "paternalId": "0", "affectedStatus": "UNAFFECTED"},
                {"individualId": "sis", "maternalId": "mum", "paternalId": "dad", "affectedStatus": "AFFECTED"}]}}"#;
        let read = phenopackets(family.as_bytes()).unwrap();
        let relatives = &read.documents[0].relatives;
        let told: Vec<_> = relatives.iter().map(|one| (one.relation, one.affected)).collect();
        assert_eq!(
            told,
            [
                (Relation::Mother, Some(false)),
                (Relation::Father, None),
                (Relation::Sibling, Some(true))
            ]
        );
    }

    #[test]
    fn a_word_that_the_format_does_not_have_is_refused_and_not_repeated() {
        let wrong = r#"{"subject": {"id": "1", "sex": "Rossi"}}"#;
        let told = phenopackets(wrong.as_bytes()).unwrap_err().to_string();
        assert_eq!(told, "case 1: `subject.sex` is none of the format's words");
        let odd = r#"{"subject": {"id": "1"}, "Rossi": {"x": 1}}"#;
        assert_eq!(phenopackets(odd.as_bytes()).unwrap().left_out, ["members of no phenopacket"]);
    }
}
