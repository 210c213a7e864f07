//! The log of a hub as a device sees it: the newest checkpoint continues what was seen before, and what receipts name
//! (`spec/audit-log.md` section 7). Tiles are asked of the caller.

use std::collections::{BTreeMap, BTreeSet};

use api::{Digest, Event, LogState, SignedStatement};
use proof::log::{
    Alarm, Checkpoint, Node, Nodes, NoteError, SignedNote, TILE_WIDTH, Tile, TilePath, Tiles,
    VerifierKey, consistency_proof, inclusion_proof, nodes_for_consistency, nodes_for_inclusion,
    origin_of, verify_consistency, verify_inclusion,
};
use proof::{Act, AnyReceipt, Approval, OwnerReceipt, open_statement, sha256};
use serde::{Deserialize, Serialize};

/// What a device remembers of a hub's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeenLog {
    /// The log's key.
    pub key: String,
    /// The newest checkpoint that was verified.
    pub checkpoint: String,
}

/// A log that was verified up to its newest checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifiedLog {
    /// What to remember.
    pub seen: SeenLog,
    /// How many leaves it has.
    pub leaves: u64,
    /// How many it had when it was verified before; `null` at the first time.
    pub continues: Option<u64>,
    /// The digest of the checkpoint, as approvals name it.
    pub digest: Digest,
}

/// How far a verification came.
#[derive(Debug)]
pub enum LogStep {
    /// These tiles are lacking: verify again with them.
    Needs(Vec<TilePath>),
    /// It continues everything that was asked for.
    Holds(VerifiedLog),
}

/// The digest of a checkpoint, as approvals name it.
///
/// # Errors
/// It is no note.
pub fn checkpoint_digest(note: &str) -> Result<Digest, Alarm> {
    Ok(sha256(note.parse::<SignedNote>()?.text().as_bytes()))
}

/// Verifies that the newest checkpoint is the log's of this hub, and that the log continues the one that was seen before and those
/// that `receipts` name.
///
/// # Errors
/// It does not: the alarm says what.
pub fn verify_log(
    hub: &str,
    state: &LogState,
    before: Option<&SeenLog>,
    receipts: &[&str],
    tiles: &[(TilePath, Vec<u8>)],
) -> Result<LogStep, Alarm> {
    let key = before.map_or(&state.key, |before| &before.key);
    if *key != state.key {
        return Err(Alarm::OtherKey { then: key.clone(), now: state.key.clone() });
    }
    let log: VerifierKey = key.parse()?;
    let read = |note: &str| checkpoint_of(hub, &log, note);
    let now = read(&state.checkpoint)?;
    let here = laid_out(tiles, now.size)?;
    let then: Vec<(Checkpoint, &'static str)> = before
        .map(|before| read(&before.checkpoint).map(|then| (then, "were")))
        .into_iter()
        .chain(receipts.iter().map(|note| read(note).map(|then| (then, "its vault has"))))
        .collect::<Result<_, _>>()?;
    let mut lacking = Vec::new();
    for (then, whom) in &then {
        let (old, new) = (then.size, now.size);
        if new < old {
            return Err(Alarm::Truncated { then: old, now: new });
        }
        let needed = Tile::for_nodes(nodes_for_consistency(old, new), new);
        let missing: Vec<_> = needed.into_iter().filter(|tile| !here.has(tile)).collect();
        if !missing.is_empty() {
            lacking.extend(missing.into_iter().map(TilePath::Hashes));
            continue;
        }
        let proof = consistency_proof(old, new, &here);
        let holds =
            proof.is_some_and(|proof| verify_consistency(old, new, &then.root, &now.root, &proof));
        if !holds {
            return Err(Alarm::Forked { then: old, now: new, whom });
        }
    }
    if !lacking.is_empty() {
        lacking.sort_by_key(ToString::to_string);
        lacking.dedup();
        return Ok(LogStep::Needs(lacking));
    }
    Ok(LogStep::Holds(VerifiedLog {
        seen: SeenLog { key: key.clone(), checkpoint: state.checkpoint.clone() },
        leaves: now.size,
        continues: before.and_then(|_| then.first()).map(|(then, _)| then.size),
        digest: checkpoint_digest(&state.checkpoint)?,
    }))
}

fn checkpoint_of(hub: &str, log: &VerifierKey, note: &str) -> Result<Checkpoint, Alarm> {
    let checkpoint = note.parse::<SignedNote>()?.checkpoint(log)?;
    let expected = origin_of(hub);
    if checkpoint.origin == expected {
        Ok(checkpoint)
    } else {
        Err(NoteError::Origin { found: checkpoint.origin, expected }.into())
    }
}

/// The tiles of a tree of this size.
fn laid_out(tiles: &[(TilePath, Vec<u8>)], size: u64) -> Result<Tiles, Alarm> {
    let mut here = Tiles::default();
    for (path, bytes) in tiles {
        let TilePath::Hashes(tile) = path else { continue };
        if tile.is_in(size) && here.insert(tile, bytes).is_err() {
            return Err(Alarm::Missing { tile: path.to_string() });
        }
    }
    Ok(here)
}

/// Verifies that every event is what its leaf commits to, in the log whose newest checkpoint was verified before.
///
/// Gives the tiles that are lacking for it; none where all of it holds.
///
/// # Errors
/// It does not: the alarm says what.
pub fn verify_events(
    hub: &str,
    log: &SeenLog,
    events: &[Event],
    tiles: &[(TilePath, Vec<u8>)],
) -> Result<Vec<TilePath>, Alarm> {
    let key: VerifierKey = log.key.parse()?;
    let now = checkpoint_of(hub, &key, &log.checkpoint)?;
    let here = laid_out(tiles, now.size)?;
    let mut leaves: BTreeMap<u64, (Digest, &Event)> = BTreeMap::new();
    for event in events {
        let (index, hash) = Alarm::leaf_of(event, now.size)?;
        if let Some((_, first)) = leaves.insert(index, (hash, event)) {
            return Err(Alarm::Twice { first: first.id, second: event.id, index });
        }
    }
    // The proof of one leaf has every other hash of its tile in it, so that one for each tile proves all.
    let firsts: BTreeSet<u64> =
        leaves.keys().map(|index| index / TILE_WIDTH * TILE_WIDTH).collect();
    let nodes = firsts.iter().flat_map(|first| {
        nodes_for_inclusion(*first, now.size).into_iter().chain([Node { level: 0, index: *first }])
    });
    let needed = Tile::for_nodes(nodes, now.size);
    let lacking: Vec<_> = needed.into_iter().filter(|tile| !here.has(tile)).collect();
    if !lacking.is_empty() {
        return Ok(lacking.into_iter().map(TilePath::Hashes).collect());
    }
    for first in firsts {
        let node = Node { level: 0, index: first };
        let proved = here.hash(node).zip(inclusion_proof(first, now.size, &here)).is_some_and(
            |(leaf, proof)| verify_inclusion(first, now.size, &leaf, &now.root, &proof),
        );
        if !proved {
            let tile = TilePath::Hashes(Tile::of(node, now.size)).to_string();
            return Err(Alarm::Tile { tile });
        }
    }
    for (index, (hash, event)) in leaves {
        if here.hash(Node { level: 0, index }) != Some(hash) {
            let (act, object) = (event.act.clone(), event.object.clone());
            return Err(Alarm::Changed { event: event.id, act, object, index });
        }
    }
    Ok(Vec::new())
}

/// The receipt of a task, if the vault that the device gave an approval to signed it for that approval.
///
/// # Errors
/// What does not fit.
pub fn receipt_of(
    approval: &SignedStatement,
    receipt: &SignedStatement,
) -> Result<OwnerReceipt, String> {
    let (approval, _) = open_statement::<Approval>(approval).map_err(|e| e.to_string())?;
    let (receipt, signer) = match AnyReceipt::open(receipt).map_err(|e| e.to_string())? {
        (AnyReceipt::Owner(receipt), signer) => (receipt, signer),
        (AnyReceipt::Policy(_), _) => {
            return Err("it says that the hub's policy released the keys".to_owned());
        }
    };
    let (task, vault) = match &approval.act {
        Act::App(run) => (run.task, &run.vault),
        Act::Query(query) => (query.task, &query.vault),
        _ => return Err("the approval is for no task".to_owned()),
    };
    if receipt.hub != approval.hub || receipt.task != task {
        return Err("it is of another task".to_owned());
    }
    if signer.to_bytes() != *vault.receipt_key.0 {
        return Err("another vault signed it than the one that was approved".to_owned());
    }
    if !receipt.approvals.contains(&approval.digest()) {
        return Err("it does not name the approval".to_owned());
    }
    Ok(receipt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::{EventLeaf, Outcome, Time};
    use proof::SigningKey;
    use proof::log::{LeafFields, commitment, leaf_hash, root};

    fn key() -> SigningKey {
        SigningKey::from_seed(&[7; 32])
    }

    /// The tile of the first leaves, each a hash of its number and `fork` from leaf 3 on.
    fn tile(size: u64, fork: u8) -> (TilePath, Vec<u8>) {
        let hash =
            |n: u64| leaf_hash(&[&n.to_be_bytes()[..], &[if n < 3 { 0 } else { fork }]].concat());
        let path = format!("0/000.p/{size}").parse().unwrap();
        (path, (0..size).flat_map(|n| hash(n).0).collect())
    }

    fn state(size: u64, fork: u8, by: &SigningKey) -> LogState {
        let (path, bytes) = tile(size, fork);
        let TilePath::Hashes(first) = path else { panic!("a tile of hashes") };
        let mut tiles = Tiles::default();
        tiles.insert(&first, &bytes).unwrap();
        let origin = origin_of("h");
        let verifier = VerifierKey::new(&origin, proof::log::SignatureKind::Log, by.public());
        let checkpoint = Checkpoint { origin, size, root: root(size, &tiles).unwrap() };
        LogState {
            key: verifier.unwrap().to_string(),
            checkpoint: checkpoint.sign(by).to_string(),
            you: Digest([0; 32]),
        }
    }

    fn seen(size: u64) -> SeenLog {
        let LogState { key: log, checkpoint, .. } = state(size, 0, &key());
        SeenLog { key: log, checkpoint }
    }

    #[test]
    fn a_log_that_continues_is_verified_with_the_tiles_that_it_asks_for() {
        let now = state(9, 0, &key());
        let LogStep::Holds(first) = verify_log("h", &now, None, &[], &[]).unwrap() else {
            panic!("the first time needs nothing")
        };
        assert_eq!((first.leaves, first.continues), (9, None));
        let LogStep::Needs(paths) = verify_log("h", &now, Some(&seen(5)), &[], &[]).unwrap() else {
            panic!("a proof needs tiles")
        };
        assert_eq!(paths, [tile(9, 0).0]);
        let before = seen(5);
        let step = verify_log("h", &now, Some(&before), &[&seen(4).checkpoint], &[tile(9, 0)]);
        let LogStep::Holds(log) = step.unwrap() else { panic!("nothing is lacking") };
        assert_eq!((log.leaves, log.continues), (9, Some(5)));
        assert_eq!(log.digest, checkpoint_digest(&now.checkpoint).unwrap());
    }

    #[test]
    fn a_forked_a_shorter_and_another_log_are_alarms() {
        let alarm = |state: &LogState, receipts: &[&str], fork| {
            verify_log("h", state, Some(&seen(5)), receipts, &[tile(9, fork)]).unwrap_err()
        };
        let forked = state(9, 1, &key());
        assert!(matches!(alarm(&forked, &[], 1), Alarm::Forked { then: 5, now: 9, .. }));
        assert!(matches!(
            alarm(&state(4, 0, &key()), &[], 0),
            Alarm::Truncated { then: 5, now: 4 }
        ));
        let stranger = SigningKey::from_seed(&[8; 32]);
        assert!(matches!(alarm(&state(9, 0, &stranger), &[], 0), Alarm::OtherKey { .. }));
        let later = seen(12).checkpoint;
        assert!(matches!(alarm(&state(9, 0, &key()), &[&later], 0), Alarm::Truncated { .. }));
        let other_hub = verify_log("another", &state(9, 0, &key()), None, &[], &[]);
        assert!(other_hub.is_err());
    }
    fn event(index: u64) -> Event {
        Event {
            id: format!("018f0000-0000-7000-8000-{index:012}").parse().unwrap(),
            at: Time::UNIX_EPOCH,
            actor: "hub".into(),
            act: "manifest.put".into(),
            object: "dataset:018f0000-0000-7000-8000-000000000003".into(),
            purpose: None,
            outcome: Outcome::Done,
            reason: None,
            request_id: None,
            leaf: Some(EventLeaf {
                index,
                salt: Digest([1; 32]),
                owner: None,
                purpose: None,
                purpose_salt: None,
                approval: None,
                evidence: None,
                statement: Some(Digest([2; 32])),
            }),
        }
    }

    #[test]
    fn an_event_that_no_leaf_commits_to_is_an_alarm() {
        let all: Vec<Event> = (0..5).map(event).collect();
        let hash = |event| leaf_hash(&commitment(&LeafFields::of(event).unwrap()).0);
        let path: TilePath = "0/000.p/5".parse().unwrap();
        let bytes: Vec<u8> = all.iter().flat_map(|event| hash(event).0).collect();
        let TilePath::Hashes(first) = path else { panic!("a tile of hashes") };
        let mut tiles = Tiles::default();
        tiles.insert(&first, &bytes).unwrap();
        let origin = origin_of("h");
        let verifier =
            VerifierKey::new(&origin, proof::log::SignatureKind::Log, key().public()).unwrap();
        let checkpoint = Checkpoint { origin, size: 5, root: root(5, &tiles).unwrap() };
        let checkpoint = checkpoint.sign(&key()).to_string();
        let log = SeenLog { key: verifier.to_string(), checkpoint };
        // Some of them, as whoever owns some is shown.
        let own = [all[1].clone(), all[4].clone()];
        assert_eq!(verify_events("h", &log, &own, &[]).unwrap(), [path]);
        let tiles = [(path, bytes.clone())];
        assert_eq!(verify_events("h", &log, &own, &tiles).unwrap(), []);
        let alarm = |events: &[Event], bytes: Vec<u8>| {
            verify_events("h", &log, events, &[(path, bytes)]).unwrap_err()
        };
        let mut changed = own.clone();
        changed[1].leaf.as_mut().unwrap().statement = Some(Digest([3; 32]));
        assert!(matches!(alarm(&changed, bytes.clone()), Alarm::Changed { index: 4, .. }));
        let mut twice = own.clone();
        twice[1].leaf.as_mut().unwrap().index = 1;
        assert!(matches!(alarm(&twice, bytes.clone()), Alarm::Twice { index: 1, .. }));
        let beyond = [event(5)];
        assert!(matches!(alarm(&beyond, bytes.clone()), Alarm::Beyond { index: 5, .. }));
        let mut other = bytes;
        other[0] ^= 1;
        assert!(matches!(alarm(&own, other), Alarm::Tile { .. }));
    }
}
