//! A case as a FHIR R4 bundle (`http://hl7.org/fhir/R4`): what leaves for the clinic's own system.
//!
//! A `collection` of Patient, `ServiceRequest`, an Observation per phenotype, `FamilyMemberHistory` per relative, a Specimen per linked
//! sample and a `DiagnosticReport` with the conclusion. Ids are ours, so that two exports name the same things alike.

use api::{Case, CaseDocument, CaseStatus, Phenotype, Relation, Relative, Sex};
use serde_json::{Value, json};

const HPO: &str = "http://human-phenotype-ontology.org";
const ROLES: &str = "http://terminology.hl7.org/CodeSystem/v3-RoleCode";

/// The bundle.
#[must_use]
pub fn bundle(case: &Case, document: &CaseDocument) -> Value {
    let mut entries = vec![patient(case, document), request(case, document)];
    entries.extend((1..).zip(&document.phenotypes).map(|(at, one)| observation(case, at, one)));
    entries.extend((1..).zip(&document.relatives).map(|(at, one)| relative(case, at, one)));
    entries.extend(case.datasets.iter().map(|dataset| {
        resource(json!({
            "resourceType": "Specimen", "id": dataset,
            "identifier": [{"system": "urn:ietf:rfc:3986", "value": format!("urn:uuid:{dataset}")}],
            "subject": subject(case),
        }))
    }));
    if document.conclusion.is_some() || case.status != CaseStatus::Open {
        entries.push(report(case, document));
    }
    json!({
        "resourceType": "Bundle", "type": "collection",
        "identifier": {"system": "urn:ietf:rfc:3986", "value": format!("urn:uuid:{}", case.id)},
        "timestamp": case.changed.to_string(),
        "entry": entries,
    })
}

fn resource(resource: Value) -> Value {
    let kind = resource["resourceType"].as_str().unwrap_or_default().to_owned();
    let id = resource["id"].as_str().unwrap_or_default().to_owned();
    json!({"fullUrl": format!("urn:chorion:{kind}:{id}"), "resource": resource})
}

fn subject(case: &Case) -> Value {
    json!({"reference": format!("urn:chorion:Patient:{}", case.id)})
}

/// Only what is there: FHIR has no empty members.
fn put(to: &mut Value, member: &str, value: Option<Value>) {
    if let Some(value) = value {
        to[member] = value;
    }
}

const fn sex(sex: Sex) -> &'static str {
    sex.as_str()
}

fn name(family: Option<&String>, given: Option<&String>) -> Option<Value> {
    let mut name = json!({});
    put(&mut name, "family", family.map(|family| json!(family)));
    put(&mut name, "given", given.map(|given| json!([given])));
    (family.is_some() || given.is_some()).then(|| json!([name]))
}

fn patient(case: &Case, document: &CaseDocument) -> Value {
    let from = &document.patient;
    let mut patient = json!({"resourceType": "Patient", "id": case.id});
    let number = from.record_number.as_ref();
    put(
        &mut patient,
        "identifier",
        number.map(|number| {
            json!([{
                "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}]},
                "value": number,
            }])
        }),
    );
    put(&mut patient, "name", name(from.family_name.as_ref(), from.given_name.as_ref()));
    put(&mut patient, "gender", from.sex.map(|of| json!(sex(of))));
    put(&mut patient, "birthDate", from.birth_date.map(|date| json!(date.to_string())));
    let telecom: Vec<Value> = [("email", &from.email), ("phone", &from.telephone)]
        .into_iter()
        .filter_map(|(system, value)| Some(json!({"system": system, "value": value.as_ref()?})))
        .collect();
    put(&mut patient, "telecom", (!telecom.is_empty()).then(|| json!(telecom)));
    let code = from.postal_code.as_ref();
    put(&mut patient, "address", code.map(|code| json!([{"postalCode": code}])));
    resource(patient)
}

fn request(case: &Case, document: &CaseDocument) -> Value {
    let status = if case.status == CaseStatus::Closed { "completed" } else { "active" };
    let mut request = json!({
        "resourceType": "ServiceRequest", "id": case.id, "status": status, "intent": "order",
        "code": {"text": "genetic test"}, "subject": subject(case),
        "authoredOn": case.created.to_string(),
    });
    let number = document.order_number.as_ref();
    put(&mut request, "identifier", number.map(|number| json!([{"value": number}])));
    let why = document.indication.as_ref();
    put(&mut request, "reasonCode", why.map(|why| json!([{"text": why}])));
    let notes: Vec<Value> = document
        .notes
        .iter()
        .map(|note| {
            let mut annotation = json!({"text": note.text});
            put(&mut annotation, "time", note.at.map(|at| json!(at.to_string())));
            annotation
        })
        .collect();
    put(&mut request, "note", (!notes.is_empty()).then(|| json!(notes)));
    resource(request)
}

fn observation(case: &Case, at: u32, phenotype: &Phenotype) -> Value {
    let mut coding = json!({"system": HPO, "code": phenotype.term.as_str()});
    put(&mut coding, "display", phenotype.label.as_ref().map(|label| json!(label)));
    let mut observation = json!({
        "resourceType": "Observation", "id": format!("{}-p{at}", case.id), "status": "final",
        "code": {"coding": [coding]}, "subject": subject(case), "valueBoolean": !phenotype.excluded,
    });
    let onset = phenotype.onset.as_ref();
    put(&mut observation, "note", onset.map(|onset| json!([{"text": format!("onset: {onset}")}])));
    resource(observation)
}

fn relative(case: &Case, at: u32, relative: &Relative) -> Value {
    let (code, words) = match relative.relation {
        Relation::Mother => ("MTH", "mother"),
        Relation::Father => ("FTH", "father"),
        Relation::Sibling => ("SIB", "sibling"),
        Relation::Child => ("CHILD", "child"),
        Relation::Partner => ("DOMPART", "partner"),
        Relation::Other => ("FAMMEMB", "family member"),
    };
    let mut history = json!({
        "resourceType": "FamilyMemberHistory", "id": format!("{}-r{at}", case.id),
        "status": "partial", "patient": subject(case),
        "relationship": {"coding": [{"system": ROLES, "code": code}], "text": words},
    });
    let names = [&relative.given_name, &relative.family_name];
    let name = names.into_iter().flatten().cloned().collect::<Vec<_>>().join(" ");
    put(&mut history, "name", (!name.is_empty()).then(|| json!(name)));
    put(&mut history, "bornDate", relative.birth_date.map(|date| json!(date.to_string())));
    let affected = relative.affected.map(|yes| if yes { "affected" } else { "not affected" });
    put(&mut history, "note", affected.map(|words| json!([{"text": words}])));
    resource(history)
}

fn report(case: &Case, document: &CaseDocument) -> Value {
    let status = if case.status == CaseStatus::Closed { "final" } else { "preliminary" };
    let mut report = json!({
        "resourceType": "DiagnosticReport", "id": case.id, "status": status,
        "code": {"text": "genetic test"}, "subject": subject(case),
        "basedOn": [{"reference": format!("urn:chorion:ServiceRequest:{}", case.id)}],
    });
    put(&mut report, "conclusion", document.conclusion.as_ref().map(|text| json!(text)));
    put(&mut report, "issued", case.closed.map(|at| json!(at.to_string())));
    resource(report)
}

#[cfg(test)]
mod tests {
    use api::{AccountId, CaseId, DatasetId, OrganizationId, ProjectId, Time};

    use super::*;

    #[test]
    fn a_bundle_holds_the_case_and_no_empty_member() {
        let case = Case {
            id: CaseId::from_bytes([1; 16]),
            project: ProjectId::from_bytes([2; 16]),
            organization: OrganizationId::from_bytes([3; 16]),
            status: CaseStatus::Closed,
            version: 2,
            made_by: AccountId::from_bytes([4; 16]),
            concluded_by: None,
            created: Time::UNIX_EPOCH,
            changed: Time::UNIX_EPOCH,
            closed: Some(Time::UNIX_EPOCH),
            datasets: vec![DatasetId::from_bytes([5; 16])],
        };
        let document: CaseDocument = serde_json::from_value(json!({
            "patient": {"record_number": "17", "family_name": "Rossi", "sex": "female", "birth_date": "1987-03-09"},
            "phenotypes": [{"term": "HP:0001250", "label": "Seizure"}, {"term": "HP:0000252", "excluded": true}],
            "relatives": [{"relation": "mother", "affected": false}],
            "conclusion": "a variant that explains it",
        }))
        .unwrap();
        let bundle = bundle(&case, &document);
        let kinds: Vec<&str> = bundle["entry"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["resource"]["resourceType"].as_str().unwrap())
            .collect();
        assert_eq!(
            kinds,
            [
                "Patient",
                "ServiceRequest",
                "Observation",
                "Observation",
                "FamilyMemberHistory",
                "Specimen",
                "DiagnosticReport"
            ]
        );
        assert_eq!(bundle["entry"][0]["resource"]["birthDate"], "1987-03-09");
        assert_eq!(bundle["entry"][3]["resource"]["valueBoolean"], false);
        assert_eq!(bundle["entry"][6]["resource"]["status"], "final");
        let text = bundle.to_string();
        assert!(!text.contains("null") && !text.contains("[]") && !text.contains("{}"));
    }
}
