//! What is known of one version of a file: where its bytes lie, and when they are all there.

use api::{Digest, ObjectRef};

use crate::folder::Stamp;
use crate::machine::Piece;

/// A version of a file that was read, or is being read.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) stamp: Stamp,
    /// Known once it was read whole.
    pub(crate) sha256: Option<Digest>,
    /// Whether it was read, or hashed once more, after the run was over, and is still what was sent.
    pub(crate) verified: bool,
    /// By file offset. Nearly always it is one: a run may have half a million files.
    pub(crate) pieces: Vec<Held>,
}

/// A piece of a version: where it lies.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) file_offset: u64,
    pub(crate) object: ObjectRef,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    pub(crate) sha256_so_far: Digest,
}

impl Version {
    pub(crate) const fn new(stamp: Stamp) -> Self {
        Self { stamp, sha256: None, verified: false, pieces: Vec::new() }
    }

    /// Takes a piece, unless it would overlap one that is there.
    pub(crate) fn add(&mut self, piece: &Piece) {
        let &Piece { file_offset, object, offset, bytes, sha256_so_far, .. } = piece;
        let end = file_offset.saturating_add(bytes);
        let place = self.pieces.partition_point(|held| held.file_offset < end);
        let before = place.checked_sub(1).map(|before| &self.pieces[before]);
        if bytes == 0 || before.is_some_and(|held| held.file_offset + held.bytes > file_offset) {
            return;
        }
        if self.pieces.is_empty() {
            self.pieces.reserve_exact(1);
        }
        self.pieces.insert(place, Held { file_offset, object, offset, bytes, sha256_so_far });
    }

    /// Whether the pieces cover the file from beginning to end.
    pub(crate) fn is_covered(&self) -> bool {
        let mut at = 0;
        for held in &self.pieces {
            if held.file_offset != at {
                return false;
            }
            at += held.bytes;
        }
        at == self.stamp.bytes
    }
}
