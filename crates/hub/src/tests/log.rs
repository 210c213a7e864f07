//! The append-only log: every event is a leaf, no key leaves before its leaf is on the disk, and what was signed stays true.

use std::collections::BTreeMap;

use api::{
    Bytes, Cosigned, Dataset, DatasetKind, ErrorCode, Event, LogState, Outcome, Page, Release,
    ReleaseRequest, Time,
};
use proof::log::{
    Checkpoint, LeafFields, Nodes, SignatureKind, SignedNote, Tile, TilePath, Tiles, VerifierKey,
    Witness, commitment, consistency_proof, entries_of, leaf_hash, nodes_for_consistency,
    nodes_for_root, root,
};
use proof::{SigningKey, digest_of};
use seal::recipient::RecipientSecret;
use serde_json::json;

use super::material::{at, sent};
use crate::data::audit::Bound;
use crate::data::events::NewEvent;
use crate::testing::{Answer, Person, TestHub, signing_key};

const READS: &[(&str, &[u8])] = &[("a.txt", b"ACGT")];

async fn state(hub: &TestHub, key: &SigningKey) -> (LogState, Checkpoint) {
    let state: LogState = hub.get(key, "/api/v1/audit/log").await.ok();
    let log: VerifierKey = state.key.parse().unwrap();
    let checkpoint = state.checkpoint.parse::<SignedNote>().unwrap().checkpoint(&log).unwrap();
    assert_eq!(checkpoint.origin, proof::log::origin_of(&hub.hub.id));
    (state, checkpoint)
}

async fn tile(hub: &TestHub, key: &SigningKey, path: TilePath) -> Answer {
    hub.get(key, &format!("/api/v1/audit/log/tile/{path}")).await
}

/// The tiles that these nodes are computed from.
async fn tiles(hub: &TestHub, key: &SigningKey, nodes: Vec<proof::log::Node>, size: u64) -> Tiles {
    let mut tiles = Tiles::default();
    for needed in Tile::for_nodes(nodes, size) {
        let answer = tile(hub, key, TilePath::Hashes(needed)).await;
        assert!(answer.status.is_success(), "{needed:?}");
        tiles.insert(&needed, &answer.body).unwrap();
    }
    tiles
}

async fn events(hub: &TestHub, person: &Person) -> Vec<Event> {
    hub.get(&person.key, "/api/v1/audit/events?limit=1000").await.ok::<Page<Event>>().items
}

fn release(person: &RecipientSecret) -> ReleaseRequest {
    ReleaseRequest { recipient: Bytes(person.public().to_bytes()), purpose: "download".to_owned() }
}

async fn sql(hub: &TestHub, statement: &'static str) {
    let mut tx = hub.hub.db.write().await.unwrap();
    sqlx::query(statement).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
}

/// A hub with somebody and a dataset of theirs.
async fn with_data() -> (TestHub, Person, api::DatasetId) {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    let project = hub.project(&ada, "panel").await;
    let data = sent(&hub, &ada.key, project, DatasetKind::App, READS).await;
    (hub, ada, data.dataset())
}

#[tokio::test]
async fn every_event_is_the_leaf_that_it_says_under_a_signed_root() {
    let (hub, ada, id) = with_data().await;
    let bob = hub.person(&ada, "Bob").await;
    hub.get(&bob.key, "/api/v1/store").await.code();
    let reader = RecipientSecret::generate().unwrap();
    hub.call(&ada.key, "POST", &at(id, "/release"), release(&reader)).await.ok::<Release>();

    let (said, checkpoint) = state(&hub, &ada.key).await;
    let all = events(&hub, &ada).await;
    assert_eq!(all.len() as u64, checkpoint.size, "one leaf for each event");
    let size = u16::try_from(checkpoint.size).unwrap();
    let whole = Tile { level: 0, index: 0, width: size };
    let bundle = tile(&hub, &ada.key, TilePath::Entries(whole)).await;
    let entries = entries_of(&whole, &bundle.body).unwrap();
    let mut seen = BTreeMap::new();
    for event in &all {
        let leaf = event.leaf.as_ref().unwrap();
        let opened = commitment(&LeafFields::of(event).unwrap());
        assert_eq!(opened.0, entries[usize::try_from(leaf.index).unwrap()], "{event:?}");
        assert_eq!(seen.insert(leaf.index, event.id), None);
    }
    let hashes = tiles(&hub, &ada.key, nodes_for_root(checkpoint.size), checkpoint.size).await;
    assert_eq!(root(checkpoint.size, &hashes), Some(checkpoint.root));
    assert_eq!(hashes.hash(proof::log::Node { level: 0, index: 0 }), Some(leaf_hash(&entries[0])));
    // What is theirs is under their pseudonym, and the manifest is bound to its leaf.
    let put = all.iter().find(|event| event.act == "manifest.put").unwrap();
    let manifest: api::SignedStatement = hub.get(&ada.key, &at(id, "/manifest")).await.ok();
    let leaf = put.leaf.as_ref().unwrap();
    assert_eq!((leaf.owner, leaf.statement), (Some(said.you), Some(digest_of(&manifest))));
    // Somebody else sees what is theirs and no more, under another pseudonym.
    let (theirs, _) = state(&hub, &bob.key).await;
    assert_ne!(theirs.you, said.you);
    let list = events(&hub, &bob).await;
    assert!(!list.is_empty());
    for event in &list {
        assert_eq!(event.leaf.as_ref().unwrap().owner, Some(theirs.you), "{event:?}");
    }
    let note = hub.get(&bob.key, "/api/v1/audit/log/checkpoint").await;
    assert_eq!(note.headers.get("content-type").unwrap(), "text/plain; charset=utf-8");
    assert_eq!(String::from_utf8(note.body).unwrap(), theirs.checkpoint);
}

#[tokio::test]
async fn a_release_is_announced_before_it_happens_and_has_an_outcome() {
    let (hub, ada, id) = with_data().await;
    let reader = RecipientSecret::generate().unwrap();
    let path = at(id, "/release");
    let given: Release = hub.call(&ada.key, "POST", &path, release(&reader)).await.ok();
    hub.hub.keys.destroy(id.to_bytes()).await.unwrap();
    hub.call(&ada.key, "POST", &path, release(&reader)).await.problem();

    let all = events(&hub, &ada).await;
    let ours: Vec<&Event> = all.iter().filter(|event| event.act == "key.release").collect();
    let outcomes: Vec<Outcome> = ours.iter().map(|event| event.outcome).collect();
    use Outcome::{Done, Failed, Intended};
    assert_eq!(outcomes, [Intended, Done, Intended, Failed]);
    let index = |event: &Event| event.leaf.as_ref().unwrap().index;
    assert_eq!(given.leaf, Some(index(ours[0])));
    assert!(ours.windows(2).all(|pair| index(pair[0]) < index(pair[1])));
    assert!(ours.iter().all(|event| event.purpose.as_deref() == Some("download")));
    assert!(ours[3].reason.is_some());
}

#[tokio::test]
async fn no_key_leaves_when_the_log_does_not_take_its_leaf() {
    let (hub, ada, id) = with_data().await;
    let reader = RecipientSecret::generate().unwrap();
    let dataset: Dataset = hub.get(&ada.key, &at(id, "")).await.ok();
    let calls = [at(id, "/release"), format!("/api/v1/projects/{}/release", dataset.project)];
    // First the announcement fails, then the outcome.
    for (trigger, drop) in [
        (
            "CREATE TRIGGER full BEFORE INSERT ON audit_leaves BEGIN SELECT RAISE(ABORT, 'full'); END",
            "DROP TRIGGER full",
        ),
        (
            "CREATE TRIGGER full BEFORE DELETE ON audit_intents BEGIN SELECT RAISE(ABORT, 'full'); END",
            "DROP TRIGGER full",
        ),
    ] {
        sql(&hub, trigger).await;
        for path in &calls {
            let answer = hub.call(&ada.key, "POST", path, release(&reader)).await;
            assert_eq!(answer.code(), ErrorCode::Internal, "{trigger}");
            assert!(!String::from_utf8_lossy(&answer.body).contains("wrapped_key"));
        }
        sql(&hub, drop).await;
        for path in &calls {
            hub.call(&ada.key, "POST", path, release(&reader)).await.ok::<Release>();
        }
    }
}

#[tokio::test]
async fn what_a_stop_interrupted_has_an_outcome_after_the_next_start() {
    let (hub, ada, id) = with_data().await;
    let event = NewEvent {
        at: Time::from_second(hub.now()).unwrap(),
        actor: format!("account:{}", ada.account),
        act: "key.release",
        object: format!("dataset:{id}"),
        project: None,
        purpose: Some("download".into()),
        outcome: Outcome::Done,
        reason: None,
        request: None,
    };
    let intent = hub.hub.releases.intend(event, Bound::default()).await.unwrap();
    let (leaf, (_, before)) = (intent.leaf(), state(&hub, &ada.key).await);
    // As a kill would: nobody says how it ended.
    std::mem::forget(intent);
    let hub = hub.restart().await;
    let all = events(&hub, &ada).await;
    let ours: Vec<&Event> = all.iter().filter(|event| event.act == "key.release").collect();
    assert_eq!(ours.len(), 2);
    assert_eq!(ours[0].leaf.as_ref().unwrap().index, leaf);
    assert_eq!(
        (ours[1].outcome, ours[1].reason.as_deref()),
        (Outcome::Failed, Some("interrupted"))
    );
    // The tree went on where it was, and once is enough.
    let (_, now) = state(&hub, &ada.key).await;
    assert_eq!(now.size, before.size + 1);
    let nodes = nodes_for_consistency(before.size, now.size);
    let hashes = tiles(&hub, &ada.key, nodes, now.size).await;
    let proof = consistency_proof(before.size, now.size, &hashes).unwrap();
    assert!(proof::log::verify_consistency(before.size, now.size, &before.root, &now.root, &proof));
    let hub = hub.restart().await;
    assert_eq!(state(&hub, &ada.key).await.1, now);
}

#[tokio::test]
async fn a_release_whose_caller_went_away_has_an_outcome() {
    let (hub, ada, id) = with_data().await;
    let reader = RecipientSecret::generate().unwrap();
    let path = at(id, "/release");
    // Dropped after more and more steps, until it comes through.
    for steps in 1.. {
        let mut call = std::pin::pin!(hub.call(&ada.key, "POST", &path, release(&reader)));
        let mut through = false;
        for _ in 0..steps {
            let wait = tokio::time::timeout(std::time::Duration::from_micros(200), &mut call);
            if wait.await.is_ok() {
                through = true;
                break;
            }
        }
        if through {
            break;
        }
    }
    // Whatever was announced ends, also where nobody heard that it was: nothing stays open.
    for _ in 0..1000 {
        let mut reader = hub.hub.db.read().await.unwrap();
        let open = crate::data::audit::open_intents(&mut reader).await.unwrap();
        drop(reader);
        let all = events(&hub, &ada).await;
        let ours: Vec<Outcome> = all
            .iter()
            .filter(|event| event.act == "key.release")
            .map(|event| event.outcome)
            .collect();
        let intended = ours.iter().filter(|outcome| **outcome == Outcome::Intended).count();
        if open.is_empty() && ours.len() == 2 * intended {
            return;
        }
    }
    panic!("a release stays without an outcome");
}

#[tokio::test]
async fn events_of_a_time_before_the_log_get_their_leaves_at_the_first_start() {
    let (hub, ada, _) = with_data().await;
    let before = events(&hub, &ada).await;
    for statement in [
        "DROP TRIGGER audit_leaves_stay",
        "DROP TRIGGER audit_nodes_stay",
        "DELETE FROM audit_leaves",
        "DELETE FROM audit_nodes",
        "DELETE FROM meta WHERE name = 'audit log begun'",
    ] {
        sql(&hub, statement).await;
    }
    let hub = hub.restart().await;
    let after = events(&hub, &ada).await;
    assert_eq!(after.len(), before.len());
    for (at, event) in after.iter().enumerate() {
        assert_eq!(event.leaf.as_ref().unwrap().index, at as u64);
        assert!(LeafFields::of(event).is_some());
    }
}

#[tokio::test]
async fn a_purpose_that_is_forgotten_leaves_its_leaf_whole() {
    let (hub, ada, id) = with_data().await;
    let reader = RecipientSecret::generate().unwrap();
    hub.call(&ada.key, "POST", &at(id, "/release"), release(&reader)).await.ok::<Release>();
    let dataset: Dataset = hub.get(&ada.key, &at(id, "")).await.ok();
    let of = |events: Vec<Event>| -> Vec<(Option<String>, api::Digest)> {
        let ours = events.into_iter().filter(|event| event.act == "key.release");
        ours.map(|event| {
            let fields = LeafFields::of(&event).unwrap();
            assert!(fields.purpose.is_some());
            (event.purpose, commitment(&fields))
        })
        .collect()
    };
    let before = of(events(&hub, &ada).await);
    let path = format!("/api/v1/projects/{}", dataset.project);
    hub.call(&ada.key, "DELETE", &path, json!({"confirm": dataset.project}))
        .await
        .ok::<api::Deletion>();
    let after = of(events(&hub, &ada).await);
    assert_eq!(before.len(), after.len());
    for ((said, commitment), (forgotten, same)) in before.into_iter().zip(after) {
        assert_eq!((said.as_deref(), forgotten), (Some("download"), None));
        assert_eq!(commitment, same);
    }
}

#[tokio::test]
async fn releases_that_come_at_once_share_their_syncs() {
    let (hub, ada, id) = with_data().await;
    let reader = RecipientSecret::generate().unwrap();
    let before = hub.hub.releases.groups();
    let path = at(id, "/release");
    let calls = (0..100).map(|_| hub.call(&ada.key, "POST", &path, release(&reader)));
    let mut leaves: Vec<Option<u64>> = futures_util::future::join_all(calls)
        .await
        .into_iter()
        .map(|answer| answer.ok::<Release>().leaf)
        .collect();
    let groups = hub.hub.releases.groups() - before;
    leaves.sort_unstable();
    leaves.dedup();
    assert_eq!(leaves.len(), 100, "each has a leaf of its own");
    assert!(groups <= 100, "200 leaves in {groups} groups");
}

#[tokio::test]
async fn a_cosignature_is_kept_if_it_is_of_this_log_and_newer() {
    let (hub, ada, _) = with_data().await;
    let bob = hub.person(&ada, "Bob").await;
    let key = signing_key();
    let name = "witness.example/w1";
    let witness = VerifierKey::new(name, SignatureKind::Witness, key.public()).unwrap();
    let (said, first) = state(&hub, &bob.key).await;
    let log: VerifierKey = said.key.parse().unwrap();
    let path = "/api/v1/audit/log/cosignatures";
    let shown = format!("{path}/{}", key.public().id());
    assert_eq!(hub.get(&ada.key, &shown).await.code(), ErrorCode::NotFound);

    let cosign = |state: &mut Witness, note: &str, proof: &[api::Digest], second| {
        let now = Time::from_second(second).unwrap();
        let note = note.parse().unwrap();
        let cosigned = state.cosign(&note, proof, name, &key, now).unwrap();
        Cosigned { witness: witness.to_string(), note: cosigned.to_string() }
    };
    let mut state_of_witness = Witness::new(log.clone());
    let old = cosign(&mut state_of_witness, &said.checkpoint, &[], hub.now());
    hub.call(&bob.key, "PUT", path, &old).await.ok::<Cosigned>();
    hub.project(&ada, "another").await;
    let (said, now) = state(&hub, &ada.key).await;
    let nodes = nodes_for_consistency(first.size, now.size);
    let hashes = tiles(&hub, &bob.key, nodes, now.size).await;
    let proof = consistency_proof(first.size, now.size, &hashes).unwrap();
    let new = cosign(&mut state_of_witness, &said.checkpoint, &proof, hub.now() + 1);
    hub.call(&bob.key, "PUT", path, &new).await.ok::<Cosigned>();
    // The older one does not come back.
    hub.call(&ada.key, "PUT", path, &old).await.ok::<Cosigned>();
    let found: Cosigned = hub.get(&ada.key, &shown).await.ok();
    assert_eq!(found, new);
    let note: SignedNote = found.note.parse().unwrap();
    assert_eq!(note.checkpoint(&log).unwrap(), now);
    assert_eq!(note.cosigned(&witness).unwrap().as_second(), hub.now() + 1);

    // A cosignature of a log that this hub's key signed and that is not its log: a fork, shown by its witness.
    let fork = Checkpoint { root: proof::sha256(b"fork"), ..now.clone() };
    let fork = hub.hub.log.sign_for_tests(&fork);
    let fork = cosign(&mut Witness::new(log.clone()), &fork, &[], hub.now() + 2);
    assert_eq!(hub.call(&bob.key, "PUT", path, &fork).await.code(), ErrorCode::Conflict);
    let mut unsigned = new.clone();
    unsigned.note = said.checkpoint.clone();
    let mut changed = new.clone();
    changed.note = changed.note.replace(&format!("\n{}\n", now.size), "\n1\n");
    let mut other_key = new.clone();
    other_key.witness =
        VerifierKey::new(name, SignatureKind::Witness, signing_key().public()).unwrap().to_string();
    for bad in [unsigned, changed, other_key] {
        assert_eq!(hub.call(&bob.key, "PUT", path, &bad).await.code(), ErrorCode::BadRequest);
    }
    assert_eq!(hub.get(&ada.key, &shown).await.ok::<Cosigned>(), new);
}

#[tokio::test]
async fn tiles_that_the_log_has_not_are_not_there() {
    let (hub, ada, _) = with_data().await;
    let (_, now) = state(&hub, &ada.key).await;
    for path in [
        "0/000".to_owned(),
        format!("0/000.p/{}", now.size + 1),
        "0/001.p/1".to_owned(),
        "1/000.p/1".to_owned(),
        "entries/000".to_owned(),
        "7/x999/999".to_owned(),
        "nonsense".to_owned(),
        "0/../../store".to_owned(),
    ] {
        let answer = hub.get(&ada.key, &format!("/api/v1/audit/log/tile/{path}")).await;
        assert_eq!(answer.code(), ErrorCode::NotFound, "{path}");
    }
}
