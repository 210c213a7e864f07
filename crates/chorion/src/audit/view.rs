//! The log of a hub as this machine sees it: a checkpoint that verifies, tiles as they are needed, and what was seen before.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use api::{Digest, ErrorCode, LogState};
use client::Client;
use proof::log::{
    Alarm, Checkpoint, Node, Nodes, SignedNote, Tile, TilePath, Tiles, VerifierKey,
    consistency_proof, nodes_for_consistency, verify_consistency,
};
use serde::{Deserialize, Serialize};

use crate::config::{ClientContext, read_if_there, write_private};
use crate::report::{CliError, CliResult};

/// What this machine remembers of a hub's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Remembered {
    /// The log's key.
    pub(super) key: String,
    /// The newest checkpoint that was verified.
    pub(super) checkpoint: String,
    /// Leaf hashes of own events, by index.
    pub(super) leaves: BTreeMap<u64, Digest>,
}

impl Remembered {
    /// What the file holds; nothing before the first time.
    pub(super) fn read(path: &Path) -> CliResult<Option<Self>> {
        let Some(bytes) = read_if_there(path)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|e| {
            CliError::new(format!("{} is no memory of an audit log", path.display()))
                .caused_by(e)
                .hint("without it nothing shows whether the log was changed before today: take it from a backup, or remove it to begin anew")
        })
    }

    pub(super) fn write(&self, path: &Path) -> CliResult {
        let text = serde_json::to_vec_pretty(self)
            .expect("what is remembered serializes because it holds texts and digests");
        write_private(path, &text)
    }
}

/// A hub's log at one checkpoint.
pub(super) struct View<'a> {
    client: &'a Client,
    tiles: Tiles,
    /// Tiles that the checkpoint promises and the hub does not have.
    missing: BTreeSet<Tile>,
    pub(super) log: VerifierKey,
    pub(super) state: LogState,
    pub(super) checkpoint: Checkpoint,
}

impl<'a> View<'a> {
    /// The newest checkpoint, if the key that is expected signed it, or the key that the hub names where none is.
    pub(super) async fn open(
        client: &'a Client,
        hub: &str,
        expected: Option<&str>,
    ) -> CliResult<Result<Self, Alarm>> {
        let state = client.log_state().await?;
        let key = expected.unwrap_or(&state.key);
        if key != state.key {
            return Ok(Err(Alarm::OtherKey { then: key.to_owned(), now: state.key }));
        }
        let checkpoint = || -> Result<(VerifierKey, Checkpoint), Alarm> {
            let log: VerifierKey = key.parse()?;
            let note: SignedNote = state.checkpoint.parse()?;
            let checkpoint = note.checkpoint(&log)?;
            let ours = proof::log::origin_of(hub);
            if checkpoint.origin == ours {
                Ok((log, checkpoint))
            } else {
                let found = checkpoint.origin;
                Err(proof::log::NoteError::Origin { found, expected: ours }.into())
            }
        };
        Ok(checkpoint().map(|(log, checkpoint)| Self {
            client,
            tiles: Tiles::default(),
            missing: BTreeSet::new(),
            log,
            state,
            checkpoint,
        }))
    }

    /// Fetches the tiles that these nodes are computed from, as far as the hub has them.
    pub(super) async fn fetch(&mut self, nodes: impl IntoIterator<Item = Node>) -> CliResult {
        for tile in Tile::for_nodes(nodes, self.checkpoint.size) {
            if self.tiles.has(&tile) || self.missing.contains(&tile) {
                continue;
            }
            match self.client.log_tile(TilePath::Hashes(tile)).await {
                Ok(bytes) => {
                    if self.tiles.insert(&tile, &bytes).is_err() {
                        self.missing.insert(tile);
                    }
                }
                Err(error) if error.code() == Some(ErrorCode::NotFound) => {
                    self.missing.insert(tile);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The hash of a node, if its tile was fetched.
    pub(super) fn hash(&self, node: Node) -> Option<Digest> {
        self.tiles.hash(node)
    }

    /// The tiles that were fetched.
    pub(super) const fn tiles(&self) -> &Tiles {
        &self.tiles
    }

    /// One alarm for each tile that the checkpoint promises and that is not there.
    pub(super) fn missing(&self) -> impl Iterator<Item = Alarm> {
        self.missing.iter().map(|tile| Alarm::Missing { tile: TilePath::Hashes(*tile).to_string() })
    }

    /// Whether the log of the newest checkpoint begins with that of an earlier one.
    pub(super) async fn continues(
        &mut self,
        then: &Checkpoint,
        whom: &'static str,
    ) -> CliResult<Result<(), Alarm>> {
        Ok(self.proof(then, whom).await?.map(|_proof| ()))
    }

    /// The proof that the log of the newest checkpoint begins with that of an earlier one.
    pub(super) async fn proof(
        &mut self,
        then: &Checkpoint,
        whom: &'static str,
    ) -> CliResult<Result<Vec<Digest>, Alarm>> {
        let (old, new) = (then.size, self.checkpoint.size);
        if new < old {
            return Ok(Err(Alarm::Truncated { then: old, now: new }));
        }
        self.fetch(nodes_for_consistency(old, new)).await?;
        let forked = Alarm::Forked { then: old, now: new, whom };
        let Some(proof) = consistency_proof(old, new, &self.tiles) else {
            return Ok(Err(self.missing().next().unwrap_or(forked)));
        };
        let root = self.checkpoint.root;
        Ok(if verify_consistency(old, new, &then.root, &root, &proof) {
            Ok(proof)
        } else {
            Err(forked)
        })
    }
}

/// The keys that were released to this machine, and the leaves that the hub said announce them: one line each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReleasedKey {
    /// The thing, as events write it.
    pub(crate) object: String,
    /// The leaf.
    pub(crate) leaf: u64,
}

impl ReleasedKey {
    /// All of them. A last line that was cut off by a stop counts for nothing.
    pub(super) fn read(path: &Path) -> CliResult<BTreeSet<(u64, String)>> {
        let bytes = read_if_there(path)?.unwrap_or_default();
        let lines = bytes.split(|byte| *byte == b'\n').filter_map(|line| {
            let Self { object, leaf } = serde_json::from_slice(line).ok()?;
            Some((leaf, object))
        });
        Ok(lines.collect())
    }

    /// Adds one.
    pub(crate) fn append(&self, path: &Path) -> CliResult {
        let failed = |e: std::io::Error| {
            CliError::new(format!("{} cannot be written", path.display())).caused_by(e)
        };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let mut line = serde_json::to_vec(self)
            .expect("a released key serializes because it is a text and a number");
        line.push(b'\n');
        let mut file =
            fs::OpenOptions::new().create(true).append(true).open(path).map_err(failed)?;
        std::io::Write::write_all(&mut file, &line).map_err(failed)
    }
}

/// The digest of the newest checkpoint that this machine verified, for approvals: the text that the log signed.
pub(crate) fn seen(ctx: &ClientContext) -> CliResult<Option<Digest>> {
    let Some(remembered) = Remembered::read(&memory(ctx.home(), &ctx.hub_id, "json"))? else {
        return Ok(None);
    };
    let note = remembered.checkpoint.parse::<SignedNote>().map_err(|e| {
        CliError::new("what this machine remembers of the log is damaged").caused_by(e)
    })?;
    Ok(Some(proof::sha256(note.text().as_bytes())))
}

/// Where this machine remembers a hub's log.
pub(crate) fn memory(home: &Path, hub: &str, what: &str) -> PathBuf {
    home.join("audit").join(format!("{hub}.{what}"))
}
