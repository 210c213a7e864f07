//! An organization leaves its own key: the platform holds its keys from then on, and nothing stands still meanwhile.

use std::collections::BTreeSet;

use api::{
    Custodian, Dataset, DatasetId, ErrorCode, FieldIndex, KeyProvider, KeyPurpose, OpenedCase,
    Organization, OrganizationKeyStatus, Page, Project, ProjectId, Rotation, RotationKind,
};
use custody::kept_by;
use proof::ProjectCard;
use serde_json::{Value, json};

use super::cases::{Clinic, patient};
use super::material::{at, card, released};
use crate::app::organization_keys::{go_on, keep_up, open};
use crate::app::projects::own_context;
use crate::testing::Answer;

async fn leave(clinic: &Clinic, confirm: &str) -> Answer {
    let path = clinic.path("/leave");
    clinic.hub.call(&clinic.admin.key, "POST", &path, json!({"confirm": confirm})).await
}

async fn holder(clinic: &Clinic, id: [u8; 16]) -> Option<Custodian> {
    kept_by(&clinic.hub.hub.keys.dataset_key(id, 0).await.unwrap())
}

async fn project(clinic: &Clinic, id: ProjectId) -> Project {
    clinic.hub.get(&clinic.lab.key, &format!("/api/v1/projects/{id}")).await.ok()
}

/// Everything that a clinic does goes on, and opens to what it was.
async fn goes_on(clinic: &Clinic, run: DatasetId, case: api::CaseId) {
    let hub = &clinic.hub;
    let shown: Dataset = hub.get(&clinic.lab.key, &at(run, "")).await.ok();
    assert_eq!(shown.name.as_deref(), Some("240611_A01234"));
    assert_eq!(released(hub, &clinic.lab.key, run).await.dataset(), run);
    assert_eq!(project(clinic, clinic.project).await.name.as_deref(), Some("ward"));
    let opened: OpenedCase = clinic.read(&clinic.doctor, case, &[]).await.ok();
    assert_eq!(opened.document.patient.family_name.as_deref(), Some("Rossi"));
    assert!(clinic.found("family_name", "Rossi").await.contains(&case));
}

#[tokio::test]
async fn an_organization_leaves_its_own_key_and_nothing_stands_still_not_even_across_a_stop() {
    let mut clinic = Clinic::new().await;
    let run = clinic.run(clinic.project).await.dataset();
    clinic.set_field("family_name", json!({})).await.ok::<FieldIndex>();
    clinic.settle().await;
    let [case] = clinic.add(&[patient(0)]).await[..] else { panic!("one case") };
    goes_on(&clinic, run, case).await;
    let old_card = card(&clinic.hub, &clinic.lab.key, clinic.project).await;

    // Nobody leaves by mistake, and nobody who may not.
    let unsure = leave(&clinic, "yes").await.problem();
    assert!(unsure.hint.unwrap().contains("the operator can read"), "what it means is said");
    let by_lab = json!({"confirm": clinic.id});
    let refused = clinic.hub.call(&clinic.lab.key, "POST", &clinic.path("/leave"), by_lab).await;
    assert_eq!(refused.code(), ErrorCode::Forbidden);
    let calls = clinic.events("kms.unwrap").await.len();
    let begun: Rotation = leave(&clinic, &clinic.id.to_string()).await.ok();
    assert_eq!(
        (begun.kind, begun.done, begun.total, begun.ended),
        (RotationKind::Leave, 0, 2, None)
    );
    assert_eq!(leave(&clinic, &clinic.id.to_string()).await.code(), ErrorCode::Conflict);
    let uses = clinic.events("kms.unwrap").await;
    assert_eq!((uses.len() - calls) / 2, 3, "each key is unwrapped once more, and never again");

    // From this moment on the customer's key is not needed, and what is said of the project is so.
    std::fs::remove_file(clinic.file("first")).unwrap();
    let card_now = card(&clinic.hub, &clinic.lab.key, clinic.project).await;
    assert_ne!(card_now, old_card, "a card that brokers must be told of");
    let path = format!("/api/v1/projects/{}/card", clinic.project);
    let signed: api::SignedStatement = clinic.hub.get(&clinic.lab.key, &path).await.ok();
    let (said, _) = ProjectCard::open(&signed, clinic.project).unwrap();
    assert_eq!((said.custodian(), said.number()), (Custodian::Platform, 2));
    assert_eq!(project(&clinic, clinic.project).await.custodian, Custodian::Platform);
    assert_eq!(holder(&clinic, run.to_bytes()).await, Some(Custodian::Organization));
    goes_on(&clinic, run, case).await;
    let [late] = clinic.add(&[patient(4)]).await[..] else { panic!("one case") };

    // A stop among it loses nothing.
    clinic.with_key.hub = clinic.with_key.hub.restart().await;
    goes_on(&clinic, run, case).await;
    go_on(&clinic.hub.hub).await.unwrap();
    for id in [run.to_bytes(), clinic.project.to_bytes()] {
        assert_eq!(holder(&clinic, id).await, Some(Custodian::Platform));
    }
    let status: OrganizationKeyStatus = clinic.status().await;
    let last = status.rotations.last().unwrap();
    assert_eq!((last.kind, last.done, last.total), (RotationKind::Leave, 2, 2));
    assert!(last.ended.is_some());
    assert_eq!(status.service.provider(), KeyProvider::Platform);
    assert!(status.warnings.iter().any(|line| line.contains("the operator of this hub can read")));
    assert!(status.versions.iter().all(|key| key.provider == KeyProvider::Platform), "{status:?}");
    // Long after every lease of before, and with probes in between.
    clinic.hub.pass(3600);
    keep_up(&clinic.hub.hub).await.unwrap();
    goes_on(&clinic, run, case).await;
    goes_on(&clinic, run, late).await;
    assert_eq!(clinic.events("kms.unwrap").await.len(), uses.len(), "no service was asked since");
    assert_eq!(clinic.events("organization.key.leave").await.len(), 1);

    // An index is turned on, and the data key rotated, under the platform's key as before.
    clinic.set_field("record_number", json!({})).await.ok::<FieldIndex>();
    clinic.settle().await;
    assert_eq!(clinic.found("record_number", "mrn 000004").await, BTreeSet::from([late]));
    let rotate = json!({"kind": "data_key"});
    clinic.hub.call(&clinic.admin.key, "POST", &clinic.path("/rotate"), rotate).await.ok::<Value>();
    for _ in 0..3 {
        go_on(&clinic.hub.hub).await.unwrap();
        clinic.hub.pass(61);
    }
    goes_on(&clinic, run, case).await;
}

#[tokio::test]
async fn who_has_left_makes_projects_of_the_platform_and_can_take_a_key_in_use_again() {
    let clinic = Clinic::new().await;
    clinic.set_field("family_name", json!({})).await.ok::<FieldIndex>();
    clinic.settle().await;
    let run = clinic.run(clinic.project).await.dataset();
    let [case] = clinic.add(&[patient(0)]).await[..] else { panic!("one case") };
    leave(&clinic, &clinic.id.to_string()).await.ok::<Rotation>();
    let path = format!("/api/v1/organizations/{}", clinic.id);
    let shown: Organization = clinic.hub.get(&clinic.lab.key, &path).await.ok();
    assert_eq!(shown.recipient, None, "nothing is wrapped to it any more");
    let mut new = clinic.hub.new_project(ProjectId::generate(), "second ward");
    new.organization = Some(clinic.id);
    let own = api::CreateProject { custodian: Custodian::Organization, ..new.clone() };
    let refused = clinic.hub.call(&clinic.lab.key, "POST", "/api/v1/projects", own).await.problem();
    assert!(refused.title.contains("has left its own key"), "{}", refused.title);
    clinic.hub.call(&clinic.lab.key, "POST", "/api/v1/projects", &new).await.ok::<Project>();
    let cases = format!("/api/v1/projects/{}/cases", new.id);
    clinic.hub.get(&clinic.lab.key, &cases).await.ok::<Page<api::Case>>();

    // Another key is not set while keys are on their way.
    let body = json!({
        "service": {"provider": "local_file", "name": "second"}, "confirm": clinic.id,
    });
    let busy = clinic.hub.call(&clinic.admin.key, "PUT", &clinic.path(""), &body).await.problem();
    assert!(busy.title.contains("is leaving its own key"), "{}", busy.title);
    go_on(&clinic.hub.hub).await.unwrap();
    let set = clinic.hub.call(&clinic.admin.key, "PUT", &clinic.path(""), &body).await;
    set.ok::<api::KeyTest>();
    goes_on(&clinic, run, case).await;
    let status = clinic.status().await;
    let mut held = status.versions.iter().filter(|key| key.purpose == KeyPurpose::Data);
    assert!(held.all(|key| key.provider == KeyProvider::LocalFile), "{status:?}");
    // Projects that left stay as their cards say; cases are under the key that is in use.
    std::fs::remove_file(clinic.file("second")).unwrap();
    clinic.hub.pass(301);
    assert_eq!(clinic.read(&clinic.doctor, case, &[]).await.code(), ErrorCode::KeyAway);
    assert_eq!(released(&clinic.hub, &clinic.lab.key, run).await.dataset(), run);
}

#[tokio::test]
async fn a_key_that_was_taken_away_is_not_left_behind() {
    let clinic = Clinic::new().await;
    let run = clinic.run(clinic.project).await;
    clinic.take_away();
    clinic.hub.pass(301);
    let refused = leave(&clinic, &clinic.id.to_string()).await.problem();
    assert_eq!((refused.status, refused.code), (423, ErrorCode::KeyAway), "{}", refused.title);
    assert_eq!(project(&clinic, clinic.project).await.custodian, Custodian::Organization);
    assert_eq!(holder(&clinic, run.dataset().to_bytes()).await, Some(Custodian::Organization));
    clinic.give_back();
    clinic.hub.pass(31);
    open(&clinic.hub.hub, clinic.id).await.unwrap();
    let own = own_context(clinic.project);
    assert_eq!(holder(&clinic, own.dataset).await, Some(Custodian::Organization));
}
