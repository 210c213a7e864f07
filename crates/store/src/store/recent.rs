//! Blobs that were verified a moment ago, so that reading one in ranges reads and hashes it once. Bounded in bytes; the
//! one that was not asked for the longest goes first.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use crate::blob::BlobHash;

pub(super) struct Recent {
    limit_bytes: usize,
    held_bytes: usize,
    tick: u64,
    blobs: HashMap<BlobHash, (u64, Bytes)>,
    by_age: BTreeMap<u64, BlobHash>,
}

impl Recent {
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self { limit_bytes, held_bytes: 0, tick: 0, blobs: HashMap::new(), by_age: BTreeMap::new() }
    }

    pub(super) fn find(&mut self, hash: &BlobHash) -> Option<Bytes> {
        let (age, bytes) = self.blobs.get_mut(hash)?;
        self.tick += 1;
        self.by_age.remove(age);
        self.by_age.insert(self.tick, *hash);
        *age = self.tick;
        Some(bytes.clone())
    }

    pub(super) fn keep(&mut self, hash: BlobHash, bytes: Bytes) {
        self.forget(&hash);
        if bytes.len() > self.limit_bytes {
            return;
        }
        self.held_bytes += bytes.len();
        self.tick += 1;
        self.by_age.insert(self.tick, hash);
        self.blobs.insert(hash, (self.tick, bytes));
        while self.held_bytes > self.limit_bytes
            && let Some((_, oldest)) = self.by_age.first_key_value()
        {
            let oldest = *oldest;
            self.forget(&oldest);
        }
    }

    pub(super) fn forget(&mut self, hash: &BlobHash) {
        if let Some((age, bytes)) = self.blobs.remove(hash) {
            self.by_age.remove(&age);
            self.held_bytes -= bytes.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_blob_not_asked_for_the_longest_goes_first_and_the_bound_holds() {
        let [a, b, c] = [b"a", b"b", b"c"].map(|name| BlobHash::of(name));
        let mut recent = Recent::new(10);
        recent.keep(a, Bytes::from_static(b"aaaa"));
        recent.keep(b, Bytes::from_static(b"bbbb"));
        assert!(recent.find(&a).is_some());
        recent.keep(c, Bytes::from_static(b"cccc"));
        assert!(
            recent.find(&a).is_some() && recent.find(&b).is_none() && recent.find(&c).is_some()
        );
        recent.keep(b, Bytes::from(vec![0; 11]));
        assert!(recent.find(&b).is_none());
        assert_eq!(recent.held_bytes, 8);
        recent.forget(&a);
        recent.forget(&c);
        assert_eq!((recent.held_bytes, recent.by_age.len()), (0, 0));
    }
}
