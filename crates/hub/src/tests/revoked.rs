//! A key that is taken away at a lease of 300 s, a hundred times, with a clock that the test moves: when its effect is there, it is there on
//! every surface, and never later than what is promised. The worst time measured is printed beside the one promised.

use api::{CaseId, DatasetId, ErrorCode, FieldIndex, OpenedCase, OrganizationKeyStatus};
use seal::recipient::RecipientSecret;
use serde_json::json;

use super::cases::{Clinic, patient};
use super::material::at;
use crate::app::organization_keys::{keep_up, open, serves};
use crate::testing::Answer;

const TRIALS: i64 = 100;

/// What the surfaces answer, each to a call that needs the key.
async fn surfaces(clinic: &Clinic, run: DatasetId, case: CaseId) -> Vec<(&'static str, Answer)> {
    let (hub, lab, doctor) = (&clinic.hub, &clinic.lab.key, &clinic.doctor.key);
    let to = RecipientSecret::generate().unwrap().public().to_bytes();
    let release = json!({"recipient": api::Bytes(to), "purpose": "download"});
    let add = json!({"cases": [{"id": CaseId::generate(), "document": patient(7)}]});
    let cases = format!("/api/v1/projects/{}/cases", clinic.project);
    // What a broker sends first of a run.
    let (_, begin) = clinic.creation(clinic.project).await;
    vec![
        ("read", clinic.read(&clinic.doctor, case, &[]).await),
        ("search", clinic.search("family_name", "Rossi").await),
        ("write", hub.call(doctor, "POST", &cases, add).await),
        ("download", hub.call(lab, "POST", &at(run, "/release"), &release).await),
        ("broker", hub.call(lab, "POST", "/api/v1/datasets", &begin).await),
    ]
}

/// The name of the run as a list shows it.
async fn listed(clinic: &Clinic, run: DatasetId) -> Option<String> {
    clinic.hub.get(&clinic.lab.key, &at(run, "")).await.ok::<api::Dataset>().name
}

#[tokio::test]
async fn in_a_hundred_trials_a_revocation_has_its_effect_on_every_surface_within_the_promised_time()
{
    let clinic = Clinic::new().await;
    let hub = &clinic.hub.hub;
    let run = clinic.run(clinic.project).await.dataset();
    clinic.set_field("family_name", json!({})).await.ok::<FieldIndex>();
    clinic.settle().await;
    let [case] = clinic.add(&[patient(0)]).await[..] else { panic!("one case") };
    let status: OrganizationKeyStatus = clinic.status().await;
    assert_eq!(status.lease_seconds, 300);
    let promised = i64::from(status.effect_seconds);
    let mut worst = 0;
    for trial in 0..TRIALS {
        let held = open(hub, clinic.id).await.unwrap();
        // Wherever in the lease and between two probes it happens.
        clinic.hub.pass(trial % 29);
        keep_up(hub).await.unwrap();
        clinic.read(&clinic.doctor, case, &[]).await.ok::<OpenedCase>();
        clinic.take_away();
        let mut passed = 0;
        while !held.is_ended() {
            clinic.hub.pass(1);
            passed += 1;
            assert!(passed <= promised, "trial {trial}: {passed} s are more than {promised}");
            keep_up(hub).await.unwrap();
        }
        worst = worst.max(passed);
        for (surface, answer) in surfaces(&clinic, run, case).await {
            let problem = answer.problem();
            assert_eq!(
                problem.code,
                ErrorCode::KeyAway,
                "trial {trial}: {surface}: {}",
                problem.title
            );
        }
        assert_eq!(listed(&clinic, run).await, None, "trial {trial}: a list shows a name");
        assert!(!serves(hub, clinic.id).await.unwrap(), "trial {trial}: a task would start");
        clinic.give_back();
        clinic.hub.pass(30);
        keep_up(hub).await.unwrap();
        assert!(listed(&clinic, run).await.is_some() && serves(hub, clinic.id).await.unwrap());
    }
    println!(
        "{TRIALS} of {TRIALS} revocations on read, list, search, write, download, task and broker: effect after {worst} s at most, promised are {promised} s"
    );
}
