//! The append-only log as rows: leaves, hashes of subtrees, intents, cosignatures (`spec/audit-log.md`).
//!
//! A leaf is written by [`super::events`], in the transaction of the act that it is about. There is one writer, so the
//! order of commits is the order of leaves, and a tree that a checkpoint signs is a prefix of every later one.

use api::{AccountId, Cosigned, Digest, EventId, EventLeaf, KeyId};
use proof::log::{Node, Tile, TilePath, completed_by, entry_bundle, leaf_hash};
use sqlx::FromRow;

use super::{Connection, parsed, signed, unsigned};
use crate::HubError;

/// The name under which the key of pseudonyms is remembered.
pub(crate) const PSEUDONYM_KEY: &str = "audit pseudonym key";

/// What an act is bound to, beside what every event says.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bound {
    /// The approval that it is done on.
    pub(crate) approval: Option<Digest>,
    /// The evidence that a vault showed before.
    pub(crate) evidence: Option<Digest>,
    /// The signed statement that it is about: a manifest, a card, a receipt.
    pub(crate) statement: Option<Digest>,
    /// The organization whose affair it is, where it is about no project.
    pub(crate) organization: Option<api::OrganizationId>,
}

impl Bound {
    /// An act about this statement.
    pub(crate) fn to_statement(digest: Digest) -> Self {
        Self { statement: Some(digest), ..Self::default() }
    }
}

/// What a new leaf needs to know.
pub(super) struct Place {
    /// Its index.
    pub(super) index: u64,
    /// The key of pseudonyms.
    pub(super) pseudonyms: [u8; 32],
    /// The owner of the project, if there is one.
    pub(super) owner: Option<AccountId>,
}

/// Where the next leaf goes, about a project if named.
pub(super) async fn place(
    at: &mut Connection,
    project: Option<api::ProjectId>,
) -> Result<Place, HubError> {
    let (next, key, owner): (i64, Option<String>, Option<String>) = sqlx::query_as(
        "SELECT (SELECT coalesce(max(idx) + 1, 0) FROM audit_leaves),
                (SELECT value FROM meta WHERE name = $1),
                (SELECT owner FROM projects WHERE id = $2)",
    )
    .bind(PSEUDONYM_KEY)
    .bind(project.map(|id| id.to_string()))
    .fetch_one(at)
    .await?;
    let key: Digest = match key {
        Some(key) => parsed(&key)?,
        None => return Err(HubError::internal("the audit log has no key", "it was not opened")),
    };
    let owner = owner.as_deref().map(parsed).transpose()?;
    Ok(Place { index: unsigned(next)?, pseudonyms: key.0, owner })
}

/// Writes a leaf and the hashes of the subtrees that it completes.
pub(super) async fn append(
    at: &mut Connection,
    event: EventId,
    account: Option<AccountId>,
    leaf: &EventLeaf,
    commitment: Digest,
) -> Result<(), HubError> {
    let blob = |digest: Option<Digest>| digest.map(|digest| digest.0.to_vec());
    sqlx::query(
        "INSERT INTO audit_leaves
             (idx, event, commitment, salt, account, owner, purpose, purpose_salt, approval, evidence, statement)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(signed(leaf.index)?)
    .bind(event.to_string())
    .bind(commitment.0.as_slice())
    .bind(leaf.salt.0.as_slice())
    .bind(account.map(|account| account.to_string()))
    .bind(blob(leaf.owner))
    .bind(blob(leaf.purpose))
    .bind(blob(leaf.purpose_salt))
    .bind(blob(leaf.approval))
    .bind(blob(leaf.evidence))
    .bind(blob(leaf.statement))
    .execute(&mut *at)
    .await?;
    let mut left = Vec::new();
    for level in 0..leaf.index.trailing_ones() {
        let level = u8::try_from(level).unwrap_or(u8::MAX);
        let sibling = Node { level, index: (leaf.index >> level) - 1 };
        left.push(hash(at, sibling).await?.ok_or_else(|| {
            HubError::internal("the audit log lacks a hash of its tree", format!("{sibling:?}"))
        })?);
    }
    for (node, hash) in completed_by(leaf.index, leaf_hash(&commitment.0), &left).iter().skip(1) {
        sqlx::query("INSERT INTO audit_nodes (level, idx, hash) VALUES ($1, $2, $3)")
            .bind(node.level)
            .bind(signed(node.index)?)
            .bind(hash.0.as_slice())
            .execute(&mut *at)
            .await?;
    }
    Ok(())
}

/// How many leaves there are.
pub(crate) async fn size(at: &mut Connection) -> Result<u64, HubError> {
    let next: i64 = sqlx::query_scalar("SELECT coalesce(max(idx) + 1, 0) FROM audit_leaves")
        .fetch_one(at)
        .await?;
    unsigned(next)
}

/// The hash of a complete subtree, if it is here.
pub(crate) async fn hash(at: &mut Connection, node: Node) -> Result<Option<Digest>, HubError> {
    let (sql, level) = if node.level == 0 {
        ("SELECT commitment FROM audit_leaves WHERE idx = $1 AND $2 = 0", 0)
    } else {
        ("SELECT hash FROM audit_nodes WHERE idx = $1 AND level = $2", node.level)
    };
    let found: Option<Vec<u8>> =
        sqlx::query_scalar(sql).bind(signed(node.index)?).bind(level).fetch_optional(at).await?;
    let Some(bytes) = found else { return Ok(None) };
    let hash = digest(bytes)?;
    Ok(Some(if node.level == 0 { leaf_hash(&hash.0) } else { hash }))
}

/// The bytes of a tile; nothing if the tree has not all of it.
pub(crate) async fn tile(at: &mut Connection, path: TilePath) -> Result<Option<Vec<u8>>, HubError> {
    let (TilePath::Hashes(tile) | TilePath::Entries(tile)) = path;
    let rows = rows_of(at, &tile).await?;
    if rows.len() != usize::from(tile.width) {
        return Ok(None);
    }
    Ok(Some(match path {
        TilePath::Entries(_) => entry_bundle(rows.iter().map(|hash| &hash.0)),
        TilePath::Hashes(tile) if tile.level == 0 => {
            rows.iter().flat_map(|entry| leaf_hash(&entry.0).0).collect()
        }
        TilePath::Hashes(_) => rows.iter().flat_map(|hash| hash.0).collect(),
    }))
}

/// The commitments of a tile of leaves, or the hashes of a higher one, as far as they are here.
async fn rows_of(at: &mut Connection, tile: &Tile) -> Result<Vec<Digest>, HubError> {
    let mut nodes = tile.nodes();
    let Some(first) = nodes.next() else { return Ok(Vec::new()) };
    let end = first.index.saturating_add(u64::from(tile.width));
    let sql = if tile.level == 0 {
        "SELECT commitment FROM audit_leaves WHERE idx >= $1 AND idx < $2 AND $3 = 0 ORDER BY idx"
    } else {
        "SELECT hash FROM audit_nodes WHERE idx >= $1 AND idx < $2 AND level = $3 ORDER BY idx"
    };
    let rows: Vec<Vec<u8>> = sqlx::query_scalar(sql)
        .bind(signed(first.index)?)
        .bind(signed(end)?)
        .bind(first.level)
        .fetch_all(at)
        .await?;
    rows.into_iter().map(digest).collect()
}

fn digest(bytes: Vec<u8>) -> Result<Digest, HubError> {
    let bytes = bytes.try_into().map_err(|_length| {
        HubError::internal("a row of the audit log does not read", "not a digest of 32 bytes")
    })?;
    Ok(Digest(bytes))
}

/// The leaves of these events, in the same order.
pub(crate) async fn leaves_of(
    at: &mut Connection,
    events: &[EventId],
) -> Result<Vec<Option<EventLeaf>>, HubError> {
    let mut leaves = Vec::with_capacity(events.len());
    for event in events {
        let row: Option<LeafRow> = sqlx::query_as(
            "SELECT idx, salt, owner, purpose, purpose_salt, approval, evidence, statement
             FROM audit_leaves WHERE event = $1",
        )
        .bind(event.to_string())
        .fetch_optional(&mut *at)
        .await?;
        leaves.push(row.map(LeafRow::leaf).transpose()?);
    }
    Ok(leaves)
}

#[derive(FromRow)]
struct LeafRow {
    idx: i64,
    salt: Vec<u8>,
    owner: Option<Vec<u8>>,
    purpose: Option<Vec<u8>>,
    purpose_salt: Option<Vec<u8>>,
    approval: Option<Vec<u8>>,
    evidence: Option<Vec<u8>>,
    statement: Option<Vec<u8>>,
}

impl LeafRow {
    fn leaf(self) -> Result<EventLeaf, HubError> {
        let some = |bytes: Option<Vec<u8>>| bytes.map(digest).transpose();
        Ok(EventLeaf {
            index: unsigned(self.idx)?,
            salt: digest(self.salt)?,
            owner: some(self.owner)?,
            purpose: some(self.purpose)?,
            purpose_salt: some(self.purpose_salt)?,
            approval: some(self.approval)?,
            evidence: some(self.evidence)?,
            statement: some(self.statement)?,
        })
    }
}

/// Forgets what would let a purpose of this project be guessed.
pub(super) async fn forget_purposes(
    at: &mut Connection,
    project: api::ProjectId,
) -> Result<(), HubError> {
    sqlx::query(
        "UPDATE audit_leaves SET purpose_salt = NULL
         WHERE event IN (SELECT id FROM events WHERE project = $1)",
    )
    .bind(project.to_string())
    .execute(at)
    .await?;
    Ok(())
}

/// Remembers that this event announces a release.
pub(super) async fn open_intent(at: &mut Connection, event: EventId) -> Result<(), HubError> {
    sqlx::query("INSERT INTO audit_intents (event) VALUES ($1)")
        .bind(event.to_string())
        .execute(at)
        .await?;
    Ok(())
}

/// The release that this event announced has an outcome.
pub(super) async fn close_intent(at: &mut Connection, event: EventId) -> Result<(), HubError> {
    sqlx::query("DELETE FROM audit_intents WHERE event = $1")
        .bind(event.to_string())
        .execute(at)
        .await?;
    Ok(())
}

/// Events that announced a release which has no outcome.
pub(crate) async fn open_intents(at: &mut Connection) -> Result<Vec<EventId>, HubError> {
    let ids: Vec<String> =
        sqlx::query_scalar("SELECT event FROM audit_intents ORDER BY event").fetch_all(at).await?;
    ids.iter().map(|id| parsed(id)).collect()
}

/// Whether leaf `index` announces the release of `object`'s key to `actor`.
pub(crate) async fn announces(
    at: &mut Connection,
    index: u64,
    actor: &str,
    object: &str,
) -> Result<bool, HubError> {
    Ok(sqlx::query_scalar(
        "SELECT count(*) > 0 FROM audit_leaves JOIN events ON events.id = audit_leaves.event
         WHERE idx = $1 AND actor = $2 AND object = $3 AND act = 'key.release' AND outcome = 'intended'",
    )
    .bind(signed(index)?)
    .bind(actor)
    .bind(object)
    .fetch_one(at)
    .await?)
}

/// The newest leaf that announces the release of `object`'s key to `actor`.
pub(crate) async fn announced(
    at: &mut Connection,
    actor: &str,
    object: &str,
) -> Result<Option<u64>, HubError> {
    let found: Option<i64> = sqlx::query_scalar(
        "SELECT max(idx) FROM audit_leaves JOIN events ON events.id = audit_leaves.event
         WHERE actor = $1 AND object = $2 AND act = 'key.release' AND outcome = 'intended'",
    )
    .bind(actor)
    .bind(object)
    .fetch_one(at)
    .await?;
    found.map(unsigned).transpose()
}

/// A witness's name under a checkpoint, about to be kept.
#[derive(Debug)]
pub(crate) struct NewCosignature<'a> {
    /// The witness.
    pub(crate) witness: KeyId,
    /// The account that sent it.
    pub(crate) account: AccountId,
    /// The size of the checkpoint.
    pub(crate) size: u64,
    /// When the witness signed, in seconds.
    pub(crate) at: i64,
    /// What is shown.
    pub(crate) cosigned: &'a Cosigned,
}

/// Keeps it in place of an older one of the same witness.
pub(crate) async fn keep_cosignature(
    at: &mut Connection,
    new: &NewCosignature<'_>,
) -> Result<(), HubError> {
    sqlx::query(
        "INSERT INTO audit_cosignatures (witness, account, key, size, at, note) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (witness) DO UPDATE
         SET account = excluded.account, size = excluded.size, at = excluded.at, note = excluded.note
         WHERE excluded.size > size OR (excluded.size = size AND excluded.at > at)",
    )
    .bind(new.witness.to_string())
    .bind(new.account.to_string())
    .bind(&new.cosigned.witness)
    .bind(signed(new.size)?)
    .bind(new.at)
    .bind(&new.cosigned.note)
    .execute(at)
    .await?;
    Ok(())
}

/// How many other witnesses' names this account sent.
pub(crate) async fn other_witnesses(
    at: &mut Connection,
    account: AccountId,
    witness: KeyId,
) -> Result<i64, HubError> {
    Ok(sqlx::query_scalar(
        "SELECT count(*) FROM audit_cosignatures WHERE account = $1 AND witness <> $2",
    )
    .bind(account.to_string())
    .bind(witness.to_string())
    .fetch_one(at)
    .await?)
}

/// The newest checkpoint that this witness cosigned.
pub(crate) async fn cosignature(
    at: &mut Connection,
    witness: KeyId,
) -> Result<Option<Cosigned>, HubError> {
    let row: Option<(String, String)> =
        sqlx::query_as("SELECT key, note FROM audit_cosignatures WHERE witness = $1")
            .bind(witness.to_string())
            .fetch_optional(at)
            .await?;
    Ok(row.map(|(witness, note)| Cosigned { witness, note }))
}
