//! The bytes of a tombstone: names that are erased, and a hash over them (`spec/store.md` section 2.3). Directories and
//! buckets keep the same ones.

use std::collections::BTreeSet;

use crate::blob::BlobHash;

const MAGIC: &[u8; 32] = b"chorion.tombstones/1\n\0\0\0\0\0\0\0\0\0\0\0";

/// One tombstone for these names.
pub(crate) fn encode(hashes: &BTreeSet<BlobHash>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64 + 32 * hashes.len());
    bytes.extend_from_slice(MAGIC);
    for hash in hashes {
        bytes.extend_from_slice(hash.as_bytes());
    }
    let checksum = BlobHash::of(&bytes);
    bytes.extend_from_slice(checksum.as_bytes());
    bytes
}

/// The names on a tombstone, and whether it is whole. From a damaged one every name that is left is taken: a name that a
/// flipped bit made erases nothing that exists, and the one it stood for comes back from another facility.
pub(crate) fn decode(bytes: &[u8]) -> (Vec<BlobHash>, bool) {
    let (body, checksum) = bytes.split_at(bytes.len().saturating_sub(32));
    let whole = body.starts_with(MAGIC) && BlobHash::of(body).as_bytes().as_slice() == checksum;
    let names = if whole { &body[32..] } else { bytes.get(32..).unwrap_or_default() };
    let names = names.chunks_exact(32).map(|name| {
        let mut hash = [0; 32];
        hash.copy_from_slice(name);
        BlobHash::from_bytes(hash)
    });
    (names.collect(), whole)
}
