//! The append-only audit log (`spec/audit-log.md`): what is hashed into it, how anyone proves that it only grew, and how
//! its checkpoints are signed, cosigned and checked.
//!
//! Hashes and proofs are RFC 6962's, tiles those of C2SP tlog-tiles, checkpoints are C2SP signed notes, cosignatures those
//! of C2SP tlog-cosignature. Whoever checks trusts nothing but a public key and what it remembers: every proof is made from
//! tiles that a hub gave, and counts because it leads to a root that the hub signed.

mod alarm;
pub mod fuzzing;
mod leaf;
mod merkle;
mod note;
mod tile;
mod witness;

pub use alarm::Alarm;
pub use leaf::{LeafFields, commitment, pseudonym, purpose_digest};
pub use merkle::{
    Node, Nodes, completed_by, consistency_proof, inclusion_proof, leaf_hash, node_hash,
    nodes_for_consistency, nodes_for_inclusion, nodes_for_root, root, verify_consistency,
    verify_inclusion,
};
pub use note::{Checkpoint, NoteError, SignatureKind, SignedNote, VerifierKey, origin_of};
pub use tile::{BadTile, ENTRY_BYTES, TILE_WIDTH, Tile, TilePath, Tiles, entries_of, entry_bundle};
pub use witness::{Witness, WitnessRefusal};
