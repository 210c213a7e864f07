//! Datasets from the first object to the last trace of them.

use api::{
    Acknowledged, Bytes, CreateDataset, Dataset, DatasetId, DatasetKind, Deletion, ErrorCode,
    Event, ExecutionState, File, HaveAnswer, HaveQuery, ObjectRef, Outcome, Page, QualityState,
    ReleaseRequest, Right, SealedObject,
};
use dataset::OpenDataset;
use proof::ObjectSet;
use seal::recipient::RecipientSecret;
use serde_json::json;

use super::material::{
    at, card, close, content, creation, make, on_disk, put, put_all, put_call, read, released, sent,
};
use crate::testing::{Person, TestHub, signing_key};

const READS: &[u8] = b"@A01234:7:HXXX:1:1101:1000:2000 1:N:0:ACGT\nGATTACA\n+\nFFFFFFF\n";

async fn one_project() -> (TestHub, Person, api::ProjectId) {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let project = hub.project(&ada, "cancer panel").await;
    (hub, ada, project)
}

async fn add_member(hub: &TestHub, owner: &Person, id: api::ProjectId, who: &Person, right: Right) {
    let path = format!("/api/v1/projects/{id}/members/{}", who.account);
    hub.call(&owner.key, "PUT", &path, json!({"right": right})).await.ok::<api::Member>();
}

#[tokio::test]
async fn what_an_instrument_sends_a_person_lists_and_opens() {
    let (hub, ada, project) = one_project().await;
    let instrument = hub.instrument(&ada).await;
    let long = vec![7; 2500];
    let files: [(&str, &[u8]); 2] = [("RunInfo.xml", b"<RunInfo/>"), ("Data/L001/c1.cbcl", &long)];
    let sealed = sent(&hub, &instrument, project, DatasetKind::Run, &files).await;
    let id = sealed.dataset();

    let run: Dataset = hub.get(&ada.key, &format!("/api/v1/runs/{id}")).await.ok();
    assert_eq!(run.name.as_deref(), Some("240611_A01234"));
    assert_eq!((run.execution, run.manifest_number), (ExecutionState::Complete, 1));
    assert_eq!((run.objects, run.epoch, run.owner), (4, 0, ada.account));
    let listed: Page<Dataset> = hub.get(&ada.key, "/api/v1/runs").await.ok();
    assert_eq!(listed.items, [run]);
    let none: Page<Dataset> = hub.get(&ada.key, "/api/v1/samples").await.ok();
    assert!(none.items.is_empty());
    assert_eq!(
        hub.get(&ada.key, &format!("/api/v1/samples/{id}")).await.code(),
        ErrorCode::NotFound
    );

    let open = released(&hub, &ada.key, id).await;
    let mut expected: Vec<_> =
        files.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec())).collect();
    expected.sort();
    assert_eq!(read(&hub, &ada.key, &open).await, expected);

    let events: Page<Event> =
        hub.get(&ada.key, &format!("/api/v1/audit/events?object=dataset:{id}")).await.ok();
    let releases: Vec<_> = events
        .items
        .iter()
        .filter(|event| event.act == "key.release")
        .map(|event| (event.purpose.as_deref(), event.outcome))
        .collect();
    let download = Some("download");
    assert_eq!(releases, [(download, Outcome::Intended), (download, Outcome::Done)]);
}

#[tokio::test]
async fn files_are_listed_page_by_page_from_the_signed_index() {
    let (hub, ada, project) = one_project().await;
    let names: Vec<String> = (0..5).map(|i| format!("Data/c{i}.cbcl")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), READS)).collect();
    let open = sent(&hub, &ada.key, project, DatasetKind::Run, &files).await;
    let mut next = Some(at(open.dataset(), "/files?limit=2"));
    let mut found = Vec::new();
    let mut pages = 0;
    while let Some(path) = next {
        let page: Page<File> = hub.get(&ada.key, &path).await.ok();
        found.extend(page.items.into_iter().map(|file| (file.path, file.bytes, file.sha256)));
        next = page.next;
        pages += 1;
    }
    let digest = proof::sha256(READS);
    let expected: Vec<_> = names.iter().map(|n| (n.clone(), READS.len() as u64, digest)).collect();
    assert_eq!((found, pages), (expected, 3));
}

#[tokio::test]
async fn an_object_sent_again_is_a_success_and_other_bytes_under_its_name_are_a_conflict() {
    let (hub, ada, project) = one_project().await;
    let open = make(&hub, &ada.key, project, DatasetKind::Run, "run").await;
    let part = content(&open, &[("a", READS)]).parts.remove(0);
    let first: Acknowledged = put(&hub, &ada.key, &open, &part).await.ok();
    assert_eq!((first.object, first.hash), (part.object, part.hash));
    let again: Acknowledged = put(&hub, &ada.key, &open, &part).await.ok();
    assert_eq!(first, again);
    let shown: Dataset = hub.get(&ada.key, &at(open.dataset(), "")).await.ok();
    assert_eq!((shown.objects, shown.sealed_bytes), (1, part.sealed.len() as u64));

    let mut other = content(&open, &[("a", b"other")]).parts.remove(0);
    let mut call = put_call(&open, &other);
    call.path = at(open.dataset(), &format!("/objects/{}", part.object));
    assert_eq!(hub.send(call.by(&ada.key, hub.now())).await.code(), ErrorCode::Conflict);

    // The prefix must name the object that the path names; and these must be sealed bytes at all.
    other.object = ObjectRef([9; 16]);
    assert_eq!(put(&hub, &ada.key, &open, &other).await.code(), ErrorCode::BadRequest);
    other.sealed = READS.to_vec();
    assert_eq!(put(&hub, &ada.key, &open, &other).await.code(), ErrorCode::BadRequest);
    let mut call = put_call(&open, &content(&open, &[("b", READS)]).parts[0]);
    call.headers.retain(|(name, _)| name != "chorion-epoch");
    call.headers.push(("chorion-epoch".into(), "1".into()));
    call.headers.sort();
    assert_eq!(hub.send(call.by(&ada.key, hub.now())).await.code(), ErrorCode::Conflict);

    let query = HaveQuery { objects: vec![part.object, ObjectRef([9; 16])] };
    let have: HaveAnswer =
        hub.call(&ada.key, "POST", &at(open.dataset(), "/objects/have"), query).await.ok();
    assert_eq!(have.objects, [first]);
}

#[tokio::test]
async fn the_bytes_of_one_dataset_are_not_taken_into_another() {
    let (hub, ada, project) = one_project().await;
    let one = make(&hub, &ada.key, project, DatasetKind::Run, "one").await;
    let two = make(&hub, &ada.key, project, DatasetKind::Run, "two").await;
    let part = content(&one, &[("a", READS)]).parts.remove(0);
    put(&hub, &ada.key, &one, &part).await.ok::<Acknowledged>();
    assert_eq!(put(&hub, &ada.key, &two, &part).await.code(), ErrorCode::Conflict);
}

#[tokio::test]
async fn objects_that_come_at_the_same_time_are_all_kept_and_counted() {
    let (hub, ada, project) = one_project().await;
    let open = make(&hub, &ada.key, project, DatasetKind::Run, "run").await;
    let files: Vec<(String, Vec<u8>)> =
        (0..40).map(|i| (format!("{i:02}"), vec![i; 999])).collect();
    let borrowed: Vec<(&str, &[u8])> =
        files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let parts = content(&open, &borrowed).parts;
    let puts = parts.iter().map(|part| put(&hub, &ada.key, &open, part));
    for answer in futures_util::future::join_all(puts).await {
        answer.ok::<Acknowledged>();
    }
    let shown: Dataset = hub.get(&ada.key, &at(open.dataset(), "")).await.ok();
    let bytes: usize = parts.iter().map(|part| part.sealed.len()).sum();
    assert_eq!((shown.objects, shown.sealed_bytes), (parts.len() as u64, bytes as u64));
    let mut listed: Vec<SealedObject> = Vec::new();
    let mut next = Some(at(open.dataset(), "/objects?limit=7"));
    while let Some(path) = next {
        let page: Page<SealedObject> = hub.get(&ada.key, &path).await.ok();
        listed.extend(page.items);
        next = page.next;
    }
    let mut expected: Vec<_> =
        parts.iter().map(|p| (p.object, p.hash, p.wrapped_key.to_vec())).collect();
    expected.sort();
    assert_eq!(
        listed.into_iter().map(|o| (o.object, o.hash, o.wrapped_key.0)).collect::<Vec<_>>(),
        expected
    );
}

#[tokio::test]
async fn a_range_of_an_object_is_that_range() {
    let (hub, ada, project) = one_project().await;
    let open = make(&hub, &ada.key, project, DatasetKind::Run, "run").await;
    let part = content(&open, &[("a", READS)]).parts.remove(0);
    put(&hub, &ada.key, &open, &part).await.ok::<Acknowledged>();
    let path = at(open.dataset(), &format!("/objects/{}", part.object));
    let whole = hub.get(&ada.key, &path).await;
    assert_eq!(whole.body, part.sealed);
    assert_eq!(whole.headers["etag"], format!("\"{}\"", part.hash));
    assert_eq!(whole.headers["content-digest"], proof::content_digest_of(&part.hash));
    let ranged = |range: &str| {
        let mut request =
            crate::testing::Signed::new("GET", &path, Vec::new()).by(&ada.key, hub.now());
        request.headers_mut().insert("range", range.parse().unwrap());
        hub.send(request)
    };
    let part_of = ranged("bytes=128-199").await;
    assert_eq!(part_of.status, 206);
    assert_eq!(part_of.body, part.sealed[128..200]);
    assert_eq!(part_of.headers["content-range"], format!("bytes 128-199/{}", part.sealed.len()));
    assert_eq!(ranged("bytes=99999-").await.code(), ErrorCode::BadRequest);
}

#[tokio::test]
async fn a_manifest_counts_from_its_writer_for_what_is_here_and_in_its_turn() {
    let (hub, ada, project) = one_project().await;
    let open = make(&hub, &ada.key, project, DatasetKind::Run, "run").await;
    let id = open.dataset();
    let mut first = put_all(&hub, &ada.key, &open, content(&open, &[("a", READS)]), 1, None).await;

    let stranger = signing_key();
    let answer = close(&hub, &ada.key, &stranger, &first, "").await;
    assert_eq!(answer.code(), ErrorCode::Forbidden);

    let true_digest = first.objects_digest;
    first.objects_digest = ObjectSet::default().digest();
    assert_eq!(close(&hub, &ada.key, &ada.key, &first, "").await.code(), ErrorCode::DigestMismatch);
    first.objects_digest = true_digest;
    let missing = ObjectRef([7; 16]);
    let mut lacking = first.clone();
    lacking.index[0].object = missing;
    let problem = close(&hub, &ada.key, &ada.key, &lacking, "").await.problem();
    assert_eq!(problem.code, ErrorCode::DigestMismatch);
    assert!(problem.title.contains(&missing.to_string()), "{}", problem.title);
    for wrong in [
        proof::Manifest { hub: "another".into(), ..first.clone() },
        proof::Manifest { project: api::ProjectId::generate(), ..first.clone() },
    ] {
        assert_eq!(close(&hub, &ada.key, &ada.key, &wrong, "").await.code(), ErrorCode::BadRequest);
    }
    for wrong in [
        proof::Manifest { epoch: 1, ..first.clone() },
        proof::Manifest { card: proof::sha256(b"another card"), ..first.clone() },
        proof::Manifest { number: 2, ..first.clone() },
        proof::Manifest { previous: Some(proof::sha256(b"none")), ..first.clone() },
    ] {
        assert_eq!(close(&hub, &ada.key, &ada.key, &wrong, "").await.code(), ErrorCode::Conflict);
    }

    let closed: Dataset = close(&hub, &ada.key, &ada.key, &first, "").await.ok();
    assert_eq!((closed.execution, closed.manifest_number), (ExecutionState::Complete, 1));
    let again: Dataset = close(&hub, &ada.key, &ada.key, &first, "").await.ok();
    assert_eq!(again.manifest_number, 1);

    // A late file: number 2 follows number 1; after it number 1 is a roll-back.
    let previous = proof::digest_of(&proof::sign_statement(&first, &ada.key));
    let mut both = content(&open, &[("late", b"late")]);
    let held: Page<SealedObject> = hub.get(&ada.key, &at(id, "/objects")).await.ok();
    for object in held.items {
        if !first.index.iter().any(|extent| extent.object == object.object) {
            both.objects.insert(object.object, object.hash, object.sealed_bytes);
        }
    }
    let second = put_all(&hub, &ada.key, &open, both, 2, Some(previous)).await;
    let closed: Dataset = close(&hub, &ada.key, &ada.key, &second, "").await.ok();
    assert_eq!(closed.manifest_number, 2);
    assert_eq!(close(&hub, &ada.key, &ada.key, &first, "").await.code(), ErrorCode::Conflict);
    let old: api::SignedStatement = hub.get(&ada.key, &at(id, "/manifests/1")).await.ok();
    assert_eq!(proof::digest_of(&old), previous);
    assert_eq!(hub.get(&ada.key, &at(id, "/manifests/3")).await.code(), ErrorCode::NotFound);
}

#[tokio::test]
async fn a_dataset_is_made_under_the_card_in_force_and_once() {
    let (hub, ada, project) = one_project().await;
    let digest = card(&hub, &ada.key, project).await;
    let open = OpenDataset::create(DatasetId::generate(), project, digest).unwrap();
    let body = creation(&hub, &open, DatasetKind::Run, "run", None);
    let made: Dataset = hub.call(&ada.key, "POST", "/api/v1/datasets", &body).await.ok();
    let again: Dataset = hub.call(&ada.key, "POST", "/api/v1/datasets", &body).await.ok();
    assert_eq!(made, again);
    let other = creation(&hub, &open, DatasetKind::Run, "other", None);
    assert_eq!(
        hub.call(&ada.key, "POST", "/api/v1/datasets", &other).await.code(),
        ErrorCode::Conflict
    );

    let old =
        OpenDataset::create(DatasetId::generate(), project, proof::sha256(b"old card")).unwrap();
    let body = creation(&hub, &old, DatasetKind::Run, "run", None);
    assert_eq!(
        hub.call(&ada.key, "POST", "/api/v1/datasets", &body).await.code(),
        ErrorCode::Conflict
    );

    // A key that was wrapped for another dataset is not adopted.
    let fresh = OpenDataset::create(DatasetId::generate(), project, digest).unwrap();
    let mut body = creation(&hub, &fresh, DatasetKind::Run, "run", None);
    body.wrapped_key = open.wrap_to(&hub.recipient().to_bytes()).unwrap();
    assert_eq!(
        hub.call(&ada.key, "POST", "/api/v1/datasets", &body).await.code(),
        ErrorCode::KeyRefused
    );

    let instrument = hub.instrument(&ada).await;
    let body = creation(&hub, &fresh, DatasetKind::Sample, "sample", None);
    assert_eq!(
        hub.call(&instrument, "POST", "/api/v1/datasets", &body).await.code(),
        ErrorCode::Forbidden
    );
}

#[tokio::test]
async fn a_person_who_may_create_brings_samples_and_names_only_a_parent_that_they_may_see() {
    let (hub, ada, project) = one_project().await;
    let (bob, eve) = (hub.person(&ada, "Bob").await, hub.person(&ada, "Eve").await);
    add_member(&hub, &ada, project, &bob, Right::Read).await;
    let digest = card(&hub, &ada.key, project).await;
    let fresh = || OpenDataset::create(DatasetId::generate(), project, digest).unwrap();
    let (theirs, kind) = (fresh(), DatasetKind::Sample);
    let body = creation(&hub, &theirs, kind, "NA12878", None);
    let make = async |who: &Person, body: &CreateDataset| {
        hub.call(&who.key, "POST", "/api/v1/datasets", body).await
    };
    assert_eq!(make(&bob, &body).await.code(), ErrorCode::Forbidden);
    assert_eq!(make(&eve, &body).await.code(), ErrorCode::NotFound);
    add_member(&hub, &ada, project, &bob, Right::Create).await;
    let sample: Dataset = make(&bob, &body).await.ok();
    assert_eq!((sample.kind, sample.owner), (DatasetKind::Sample, bob.account));
    let part = content(&theirs, &[("NA12878_R1.fastq", READS)]).parts.remove(0);
    put(&hub, &bob.key, &theirs, &part).await.ok::<Acknowledged>();

    let others = hub.project(&eve, "elsewhere").await;
    let hidden = sent(&hub, &eve.key, others, DatasetKind::Run, &[("a", READS)]).await;
    for (parent, known) in [(hidden.dataset(), false), (theirs.dataset(), true)] {
        let open = fresh();
        let body = creation(&hub, &open, DatasetKind::Result, "made of it", Some(parent));
        let answer = make(&bob, &body).await;
        if known {
            assert_eq!(answer.ok::<Dataset>().parent, Some(parent));
        } else {
            assert_eq!(answer.code(), ErrorCode::NotFound);
        }
    }
}

#[tokio::test]
async fn browse_is_not_read_and_a_stranger_finds_nothing() {
    let (hub, ada, project) = one_project().await;
    let bob = hub.person(&ada, "Bob").await;
    let eve = hub.person(&ada, "Eve").await;
    add_member(&hub, &ada, project, &bob, Right::Browse).await;
    let open = sent(&hub, &ada.key, project, DatasetKind::Run, &[("a", READS)]).await;
    let id = open.dataset();
    let release = || ReleaseRequest {
        recipient: Bytes(RecipientSecret::generate().unwrap().public().to_bytes()),
        purpose: "download".into(),
    };

    let seen: Dataset = hub.get(&bob.key, &at(id, "")).await.ok();
    assert_eq!(seen.name.as_deref(), Some("240611_A01234"));
    hub.get(&bob.key, &at(id, "/files")).await.ok::<Page<File>>();
    for path in ["/objects", "/settings"] {
        assert_eq!(hub.get(&bob.key, &at(id, path)).await.code(), ErrorCode::Forbidden, "{path}");
    }
    let refused = hub.call(&bob.key, "POST", &at(id, "/release"), release()).await;
    assert_eq!(refused.code(), ErrorCode::Forbidden);
    let events: Page<Event> =
        hub.get(&ada.key, &format!("/api/v1/audit/events?object=dataset:{id}")).await.ok();
    assert!(
        events.items.iter().any(|e| e.act == "dataset.release" && e.outcome == Outcome::Refused)
    );

    for path in ["", "/files", "/objects", "/manifest", "/settings"] {
        assert_eq!(hub.get(&eve.key, &at(id, path)).await.code(), ErrorCode::NotFound, "{path}");
    }
    assert_eq!(
        hub.call(&eve.key, "POST", &at(id, "/release"), release()).await.code(),
        ErrorCode::NotFound
    );
    let confirm = json!({"confirm": id});
    assert_eq!(
        hub.call(&eve.key, "DELETE", &at(id, ""), &confirm).await.code(),
        ErrorCode::NotFound
    );
    assert_eq!(
        hub.call(&bob.key, "DELETE", &at(id, ""), &confirm).await.code(),
        ErrorCode::Forbidden
    );
    let instrument = hub.instrument(&ada).await;
    let refused = hub.call(&instrument, "POST", &at(id, "/release"), release()).await;
    assert_eq!(refused.code(), ErrorCode::Forbidden);
    let nothing: Page<Dataset> = hub.get(&eve.key, "/api/v1/datasets").await.ok();
    assert!(nothing.items.is_empty());
}

#[tokio::test]
async fn a_run_that_stops_growing_waits_for_a_person() {
    let (hub, ada, project) = one_project().await;
    let open = make(&hub, &ada.key, project, DatasetKind::Run, "run").await;
    let run = |rest: &str| format!("/api/v1/runs/{}{rest}", open.dataset());
    let why = json!({"reason": "the folder has not grown for 3 hours"});
    let waits: Dataset = hub.call(&ada.key, "POST", &run("/attention"), &why).await.ok();
    assert_eq!(waits.execution, ExecutionState::NeedsAttention);
    assert_eq!(waits.reason.as_deref(), Some("the folder has not grown for 3 hours"));
    let failed: Dataset =
        hub.call(&ada.key, "POST", &run("/close"), json!({"as_state": "failed"})).await.ok();
    assert_eq!(failed.execution, ExecutionState::Failed);
    assert_eq!(
        hub.call(&ada.key, "POST", &run("/attention"), &why).await.code(),
        ErrorCode::Conflict
    );
    let part = content(&open, &[("a", READS)]).parts.remove(0);
    assert_eq!(put(&hub, &ada.key, &open, &part).await.code(), ErrorCode::Conflict);
    let judged: Dataset = hub
        .call(&ada.key, "POST", &at(open.dataset(), "/quality"), json!({"state": "failed"}))
        .await
        .ok();
    assert_eq!(judged.quality, QualityState::Failed);
}

#[tokio::test]
async fn a_deleted_dataset_leaves_nothing_in_any_file() {
    let (hub, ada, project) = one_project().await;
    let kept = sent(&hub, &ada.key, project, DatasetKind::Run, &[("stays", READS)]).await;
    let open = sent(&hub, &ada.key, project, DatasetKind::Run, &[("goes", &[1; 3000])]).await;
    let id = open.dataset();
    let objects: Page<SealedObject> = hub.get(&ada.key, &at(id, "/objects")).await.ok();
    let wrapped = hub.hub.keys.dataset_key(id.to_bytes(), 0).await.unwrap();
    let mut traces = vec![wrapped];
    for object in &objects.items {
        let sealed = hub.get(&ada.key, &at(id, &format!("/objects/{}", object.object))).await.body;
        traces.push(object.wrapped_key.0.clone());
        traces.push(sealed[128..200].to_vec());
    }
    let shown: Dataset = hub.get(&ada.key, &at(id, "")).await.ok();
    traces.push(shown.label.0);
    for trace in &traces {
        assert!(!on_disk(&hub, trace).is_empty(), "it is there before");
    }

    let wrong = hub.call(&ada.key, "DELETE", &at(id, ""), json!({"confirm": "yes"})).await;
    assert_eq!(wrong.code(), ErrorCode::BadRequest);
    let gone: Deletion =
        hub.call(&ada.key, "DELETE", &at(id, ""), json!({"confirm": id})).await.ok();
    assert_eq!((gone.datasets, gone.objects), (1, objects.items.len() as u64));
    assert!(gone.facilities_pending.is_empty());

    for trace in &traces {
        assert_eq!(on_disk(&hub, trace), Vec::<std::path::PathBuf>::new());
    }
    assert_eq!(hub.get(&ada.key, &at(id, "")).await.code(), ErrorCode::NotFound);
    let again = creation(&hub, &open, DatasetKind::Run, "again", None);
    assert_eq!(
        hub.call(&ada.key, "POST", "/api/v1/datasets", &again).await.code(),
        ErrorCode::Conflict
    );
    assert_eq!(read(&hub, &ada.key, &kept).await, [("stays".to_owned(), READS.to_vec())]);

    // A project takes its datasets with it.
    let key = hub.hub.keys.dataset_key(kept.dataset().to_bytes(), 0).await.unwrap();
    let path = format!("/api/v1/projects/{project}");
    let gone: Deletion =
        hub.call(&ada.key, "DELETE", &path, json!({"confirm": project})).await.ok();
    assert_eq!(gone.datasets, 1);
    assert_eq!(on_disk(&hub, &key), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn a_deletion_that_was_stopped_is_brought_to_its_end() {
    let (hub, ada, project) = one_project().await;
    let open = sent(&hub, &ada.key, project, DatasetKind::Run, &[("goes", READS)]).await;
    let id = open.dataset();
    let key = hub.hub.keys.dataset_key(id.to_bytes(), 0).await.unwrap();
    let mut tx = hub.hub.db.write().await.unwrap();
    crate::data::datasets::begin_deletion(&mut tx, id, hub.hub.now()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(hub.get(&ada.key, &at(id, "")).await.code(), ErrorCode::NotFound);
    crate::engine::bring_to_an_end(&hub.hub).await.unwrap();
    assert_eq!(on_disk(&hub, &key), Vec::<std::path::PathBuf>::new());
}
