//! The append-only log as callers see it: checkpoints, tiles, cosignatures (`spec/audit-log.md`).
//!
//! A checkpoint is signed when somebody asks, over what is committed, and says nothing that the rows do not say: whatever
//! stops the hub between a leaf and its checkpoint loses neither, and the same tree always has the same note.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use api::{Cosigned, Digest, KeyId, LogState};
use proof::SigningKey;
use proof::log::{
    Checkpoint, Node, SignatureKind, SignedNote, TilePath, VerifierKey, nodes_for_root, origin_of,
    pseudonym, root,
};

use super::Caller;
use super::caller::object;
use crate::HubError;
use crate::data::audit::{self, NewCosignature};
use crate::data::{self, Connection};
use crate::policy::Action;
use crate::state::Hub;

/// How many witnesses one account may speak for.
const WITNESSES: i64 = 4;

/// The log's key and its newest checkpoint.
pub(crate) struct Log {
    key: SigningKey,
    verifier: VerifierKey,
    newest: Mutex<Option<Signed>>,
}

/// A checkpoint, and the note that says so.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    /// How many leaves.
    pub(crate) size: u64,
    /// The note.
    pub(crate) note: Arc<str>,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Log({})", self.verifier)
    }
}

impl Log {
    /// The log of this hub.
    pub(crate) fn new(hub: &str, key: SigningKey) -> Result<Self, HubError> {
        let verifier = VerifierKey::new(&origin_of(hub), SignatureKind::Log, key.public())
            .map_err(|e| HubError::internal("the hub's id is no name for a log", e))?;
        Ok(Self { key, verifier, newest: Mutex::new(None) })
    }

    /// Any checkpoint with this log's signature, as a hub that lies would give it.
    #[cfg(test)]
    pub(crate) fn sign_for_tests(&self, checkpoint: &Checkpoint) -> String {
        checkpoint.sign(&self.key).to_string()
    }

    /// Its public key.
    pub(crate) const fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The checkpoint over what is committed.
    pub(crate) async fn checkpoint(&self, at: &mut Connection) -> Result<Signed, HubError> {
        let size = audit::size(at).await?;
        if let Some(newest) = &*self.newest.lock().unwrap_or_else(PoisonError::into_inner)
            && newest.size == size
        {
            return Ok(newest.clone());
        }
        let root = root_of(at, size).await?;
        let checkpoint = Checkpoint { origin: self.verifier.name().to_owned(), size, root };
        let signed = Signed { size, note: checkpoint.sign(&self.key).to_string().into() };
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(signed.clone());
        Ok(signed)
    }
}

/// The root of the first `size` leaves.
async fn root_of(at: &mut Connection, size: u64) -> Result<Digest, HubError> {
    let mut hashes: HashMap<Node, Digest> = HashMap::new();
    for node in nodes_for_root(size) {
        if let Some(hash) = audit::hash(at, node).await? {
            hashes.insert(node, hash);
        }
    }
    root(size, &|node| hashes.get(&node).copied()).ok_or_else(|| {
        HubError::internal(
            "the audit log lacks a hash of its tree",
            format!("a subtree of its {size} leaves is not in the database"),
        )
    })
}

/// Where the log stands, and under which pseudonym it names the caller.
pub(crate) async fn show(hub: &Hub, caller: &Caller) -> Result<LogState, HubError> {
    caller.may_here(Action::LogSee)?;
    let mut reader = hub.db.read().await?;
    let signed = hub.log.checkpoint(&mut reader).await?;
    let key = data::meta::find(&mut reader, audit::PSEUDONYM_KEY).await?.unwrap_or_default();
    let key: Digest = data::parsed(&key)?;
    Ok(LogState {
        key: hub.log.verifier().to_string(),
        checkpoint: signed.note.to_string(),
        you: pseudonym(&key.0, caller.account()),
    })
}

/// The newest checkpoint as a note.
pub(crate) async fn checkpoint(hub: &Hub, caller: &Caller) -> Result<String, HubError> {
    caller.may_here(Action::LogSee)?;
    Ok(hub.log.checkpoint(&mut *hub.db.read().await?).await?.note.to_string())
}

/// A tile of hashes or of entries.
pub(crate) async fn tile(hub: &Hub, caller: &Caller, path: &str) -> Result<Vec<u8>, HubError> {
    caller.may_here(Action::LogSee)?;
    let none = || HubError::not_found("tile", path.chars().take(80).collect::<String>());
    let tile: TilePath = path.parse().map_err(|_no_tile| none())?;
    audit::tile(&mut *hub.db.read().await?, tile).await?.ok_or_else(none)
}

/// Keeps a checkpoint that a witness cosigned. Whose word that is worth anything is the reader's to say.
pub(crate) async fn cosign(
    hub: &Hub,
    caller: &Caller,
    body: Cosigned,
) -> Result<Cosigned, HubError> {
    caller.may_here(Action::LogCosign)?;
    let bad = |what: String| {
        HubError::bad_request(format!("the cosignature does not count: {what}"))
            .hint("send the checkpoint as this hub signed it, with the witness's line below")
    };
    let witness: VerifierKey = body.witness.parse().map_err(|e| bad(format!("{e}")))?;
    let note: SignedNote = body.note.parse().map_err(|e| bad(format!("{e}")))?;
    let note = note.only(hub.log.verifier(), &witness).map_err(|e| bad(e.to_string()))?;
    let at = note.cosigned(&witness).map_err(|e| bad(e.to_string()))?;
    let checkpoint = note.checkpoint(hub.log.verifier()).map_err(|e| bad(e.to_string()))?;
    let account = caller.account();
    let mut tx = hub.db.write().await?;
    if checkpoint.size > audit::size(&mut tx).await?
        || root_of(&mut tx, checkpoint.size).await? != checkpoint.root
    {
        return Err(HubError::conflict(format!(
            "the cosigned checkpoint of {} leaves is not of the log that this hub keeps",
            checkpoint.size
        ))
        .hint("one of the two is a fork: keep both notes, and ask the hub's operator"));
    }
    let id = witness.key().id();
    if audit::other_witnesses(&mut tx, account, id).await? >= WITNESSES {
        return Err(HubError::conflict(format!(
            "your account speaks for {WITNESSES} witnesses already"
        )));
    }
    let cosigned = Cosigned { witness: witness.to_string(), note: note.to_string() };
    let new = NewCosignature {
        witness: id,
        account,
        size: checkpoint.size,
        at: at.as_second(),
        cosigned: &cosigned,
    };
    audit::keep_cosignature(&mut tx, &new).await?;
    tx.commit().await?;
    tracing::debug!(witness = %object("key", id), size = checkpoint.size, "the log was cosigned");
    Ok(cosigned)
}

/// The newest checkpoint that this witness cosigned.
pub(crate) async fn cosigned(
    hub: &Hub,
    caller: &Caller,
    witness: KeyId,
) -> Result<Cosigned, HubError> {
    caller.may_here(Action::LogSee)?;
    let found = audit::cosignature(&mut *hub.db.read().await?, witness).await?;
    found.ok_or_else(|| {
        HubError::not_found("cosignature by witness", witness)
            .hint("it cosigns with `chorion audit witness`, and has not done so here")
    })
}

/// Whether a receipt names the leaves that announced the releases to its vault, and a checkpoint of this log that has them.
pub(crate) async fn receipt_holds(
    hub: &Hub,
    at: &mut Connection,
    vault: &str,
    log: &api::ReleaseLog,
) -> Result<bool, HubError> {
    let checkpoint =
        log.checkpoint.parse::<SignedNote>().and_then(|note| note.checkpoint(hub.log.verifier()));
    let Ok(checkpoint) = checkpoint else { return Ok(false) };
    for leaf in &log.leaves {
        if leaf.leaf >= checkpoint.size
            || !audit::announces(at, leaf.leaf, vault, &object("dataset", leaf.dataset)).await?
        {
            return Ok(false);
        }
    }
    Ok(true)
}
