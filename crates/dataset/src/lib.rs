//! What the holder of a dataset key does with sealed objects: pack files into them, say what they hold, and open them.
//!
//! The broker, the vault and the command line all do this, each with its own transport, so the work stands here once and
//! without I/O. Bytes of files go into a [`Packer`], which gives full [`Pack`]s; a pack is sealed on whatever thread the
//! caller likes and becomes a [`SealedPart`] to send. When all parts are acknowledged, [`manifest`] says what the dataset
//! holds. The way back: [`OpenDataset::from_release`], [`open_index`], [`OpenDataset::open_object`], and [`slices`] to know
//! which objects a range of a file needs.

mod contents;
mod open;
mod pack;
mod ranged;

pub use contents::{IndexSealer, Listed, Slice, manifest, open_index, slices};
pub use open::{DatasetError, OpenDataset};
pub use pack::{NewObject, OpenFile, Pack, Packer, SealedFact, SealedPart, seal_into};
pub use ranged::Ranged;

/// How many plaintext bytes a pack holds at most when the caller has no better number: 8 MiB less the prefix and tags,
/// so that a sealed pack stays within 8 MiB.
pub const PACK_BYTES: usize = 8 * 1024 * 1024 - 128 - 128 * 16;
