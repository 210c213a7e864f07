//! Manifests (`spec/manifest.md`): what a dataset holds, signed by its writer.
//!
//! Two layers. The [`Index`] lists names, lengths and extents; it is sealed like data, in objects of the dataset. The
//! [`Manifest`] is what the hub sees: which objects hold the index, how many objects there are, and one digest over
//! all of them. So the hub can compare what arrived with what was sent, and reads no name.

use std::collections::BTreeMap;
use std::io;

use api::{DatasetId, Digest, ObjectRef, ProjectId, Time};
use serde::{Deserialize, Serialize};

use crate::{Hasher, Statement, sha256};

/// A dataset's content at one version, as its writer signed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The hub.
    pub hub: String,
    /// The dataset.
    pub dataset: DatasetId,
    /// Its project.
    pub project: ProjectId,
    /// The digest of the card its key is wrapped under.
    pub card: Digest,
    /// The key epoch.
    pub epoch: u32,
    /// 1 for the first, then one more each time; a reader remembers the highest.
    pub number: u32,
    /// The digest of the manifest before, `null` for the first.
    pub previous: Option<Digest>,
    /// How many files the index lists.
    pub files: u64,
    /// The SHA-256 of the index in clear, so that whoever opens it knows that it is the one that was signed.
    pub index_digest: Digest,
    /// Where the sealed index lies, in order.
    pub index: Vec<Extent>,
    /// How many sealed objects, those of the index included.
    pub objects: u64,
    /// Their size.
    pub sealed_bytes: u64,
    /// One digest over every object ([`ObjectSet::digest`]).
    pub objects_digest: Digest,
    /// When it was signed.
    pub at: Time,
}

impl Statement for Manifest {
    const KIND: &'static str = "chorion manifest v1";
}

/// A piece of a file: so many bytes of one object's plaintext.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extent {
    /// The sealed object.
    pub object: ObjectRef,
    /// Its commitment, so that the hub cannot put another object in its place.
    pub commitment: Digest,
    /// Where in the object's plaintext.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// A file of a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Its path: relative, `/` between names, no `.` or `..`.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// The SHA-256 of its content.
    pub sha256: Digest,
    /// Its pieces, in order.
    pub extents: Vec<Extent>,
}

/// The list of files, sealed like data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// The dataset.
    pub dataset: DatasetId,
    /// The files, sorted by path.
    pub files: Vec<FileEntry>,
}

/// Why an index does not count.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// It is not the one that was signed.
    #[error("the index of dataset {0} is not the one that its manifest names")]
    Digest(DatasetId),
    /// It is no index.
    #[error("the index of dataset {dataset} cannot be read: {why}")]
    Form {
        /// The dataset.
        dataset: DatasetId,
        /// What is wrong with it.
        why: String,
    },
    /// A path that would lead out of a folder, or stands twice.
    #[error("the index of dataset {dataset} lists a path that is not allowed: {path:?}")]
    Path {
        /// The dataset.
        dataset: DatasetId,
        /// The path.
        path: String,
    },
}

impl Index {
    /// An index of these files; sorts them.
    pub fn new(dataset: DatasetId, mut files: Vec<FileEntry>) -> Result<Self, IndexError> {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let index = Self { dataset, files };
        index.check_paths()?;
        Ok(index)
    }

    /// Writes the bytes that are sealed and whose digest the manifest bears.
    pub fn write(&self, to: impl io::Write) -> io::Result<()> {
        Ok(serde_json::to_writer(to, self)?)
    }

    /// The bytes that are sealed and whose digest the manifest bears, as a whole.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(&mut bytes)
            .expect("an index is written to memory because its fields are texts and integers");
        bytes
    }

    /// The index in `bytes`, if it is the one that `manifest` names.
    pub fn open(bytes: &[u8], manifest: &Manifest) -> Result<Self, IndexError> {
        let dataset = manifest.dataset;
        if sha256(bytes) != manifest.index_digest {
            return Err(IndexError::Digest(dataset));
        }
        let index: Self = serde_json::from_slice(bytes)
            .map_err(|e| IndexError::Form { dataset, why: e.to_string() })?;
        if index.dataset != dataset || u64::try_from(index.files.len()) != Ok(manifest.files) {
            return Err(IndexError::Digest(dataset));
        }
        index.check_paths()?;
        for file in &index.files {
            let sum = file.extents.iter().try_fold(0_u64, |sum, e| sum.checked_add(e.bytes));
            if sum != Some(file.bytes) {
                let why = format!("the pieces of {:?} do not add up to its length", file.path);
                return Err(IndexError::Form { dataset, why });
            }
        }
        Ok(index)
    }

    /// The file at `path`.
    pub fn file(&self, path: &str) -> Option<&FileEntry> {
        self.files.binary_search_by(|f| f.path.as_str().cmp(path)).ok().map(|i| &self.files[i])
    }

    fn check_paths(&self) -> Result<(), IndexError> {
        let mut text = IndexText::new(self.dataset);
        self.files.iter().try_for_each(|file| text.check(file))
    }
}

/// The text of an index, written file by file: the bytes of [`Index::to_bytes`], by whoever never holds all of it.
#[derive(Debug)]
pub struct IndexText {
    dataset: DatasetId,
    last: Option<String>,
    files: u64,
}

impl IndexText {
    /// Of a dataset, with no file yet.
    pub const fn new(dataset: DatasetId) -> Self {
        Self { dataset, last: None, files: 0 }
    }

    /// Whether a file may come next: its path leads nowhere else, and comes after the one before.
    pub fn check(&mut self, file: &FileEntry) -> Result<(), IndexError> {
        let path = file.path.as_str();
        let bad_part = |part: &str| {
            part.is_empty()
                || part == "."
                || part == ".."
                || part.contains(['\\', '\0', '\n', '\r'])
        };
        let follows = |last: &String| {
            let is_inside =
                path.strip_prefix(last.as_str()).is_some_and(|rest| rest.starts_with('/'));
            last.as_str() < path && !is_inside
        };
        if path.len() > 4096
            || path.split('/').any(bad_part)
            || !self.last.as_ref().is_none_or(follows)
        {
            return Err(IndexError::Path { dataset: self.dataset, path: path.to_owned() });
        }
        let last = self.last.get_or_insert_default();
        path.clone_into(last);
        Ok(())
    }

    /// Writes a file that was checked.
    pub fn write(&mut self, file: &FileEntry, mut to: impl io::Write) -> io::Result<()> {
        self.lead(&mut to)?;
        self.files += 1;
        Ok(serde_json::to_writer(to, file)?)
    }

    /// Writes the end, and says how many files there are.
    pub fn end(self, mut to: impl io::Write) -> io::Result<u64> {
        if self.files == 0 {
            self.lead(&mut to)?;
        }
        to.write_all(b"]}")?;
        Ok(self.files)
    }

    /// What stands before the next file.
    fn lead(&self, to: &mut impl io::Write) -> io::Result<()> {
        if self.files > 0 {
            return to.write_all(b",");
        }
        write!(to, "{{\"dataset\":\"{}\",\"files\":[", self.dataset)
    }
}

/// The set of a dataset's sealed objects, and one digest over it that sender and hub compute alike.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectSet(BTreeMap<ObjectRef, (Digest, u64)>);

impl ObjectSet {
    /// Takes an object: its id, the SHA-256 of its sealed bytes and their number.
    pub fn insert(&mut self, object: ObjectRef, hash: Digest, sealed_bytes: u64) {
        self.0.insert(object, (hash, sealed_bytes));
    }

    /// Forgets an object.
    pub fn remove(&mut self, object: &ObjectRef) {
        self.0.remove(object);
    }

    /// How many objects.
    pub fn len(&self) -> u64 {
        self.0.len() as u64
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their size together.
    pub fn sealed_bytes(&self) -> u64 {
        self.0.values().map(|(_, bytes)| bytes).sum()
    }

    /// SHA-256 over `id ‖ hash ‖ length (u64, big endian)` of every object, in the order of their ids.
    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::new();
        for (object, (hash, bytes)) in &self.0 {
            hasher.update(&object.0);
            hasher.update(&hash.0);
            hasher.update(&bytes.to_be_bytes());
        }
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> FileEntry {
        FileEntry { path: path.to_owned(), bytes: 0, sha256: sha256(b""), extents: vec![] }
    }

    #[test]
    fn a_path_that_leads_out_is_refused() {
        let id = DatasetId::generate();
        for bad in ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", "a\\b", "a\0b", "./a"] {
            assert!(Index::new(id, vec![file(bad)]).is_err(), "{bad:?}");
        }
        assert!(Index::new(id, vec![file("a"), file("a")]).is_err());
        assert!(Index::new(id, vec![file("a"), file("a/b")]).is_err());
        let index = Index::new(id, vec![file("b"), file("a/x"), file("a.txt")]).unwrap();
        assert!(index.file("a/x").is_some() && index.file("a").is_none());
    }

    #[test]
    fn an_index_that_is_written_file_by_file_has_the_bytes_of_the_whole() {
        let id = DatasetId::generate();
        let extent =
            Extent { object: ObjectRef([1; 16]), commitment: sha256(b"c"), offset: 0, bytes: 3 };
        let large = FileEntry { bytes: 6, extents: vec![extent; 2], ..file("b \" \u{e4}/c") };
        for files in [vec![], vec![file("a")], vec![file("a"), large, file("c")]] {
            let index = Index::new(id, files).unwrap();
            let (mut text, mut bytes) = (IndexText::new(id), Vec::new());
            for file in &index.files {
                text.check(file).unwrap();
                text.write(file, &mut bytes).unwrap();
            }
            assert!(index.files.last().is_none_or(|last| text.check(last).is_err()));
            assert_eq!(text.end(&mut bytes).unwrap(), index.files.len() as u64);
            assert_eq!(bytes, index.to_bytes());
        }
    }

    #[test]
    fn the_digest_of_objects_does_not_depend_on_the_order_of_arrival() {
        let mut one = ObjectSet::default();
        let mut two = ObjectSet::default();
        let objects: Vec<_> =
            (0..9).map(|i| (ObjectRef([i; 16]), sha256(&[i]), u64::from(i))).collect();
        for (o, h, n) in &objects {
            one.insert(*o, *h, *n);
        }
        for (o, h, n) in objects.iter().rev() {
            two.insert(*o, *h, *n);
        }
        assert_eq!(one.digest(), two.digest());
        two.insert(objects[0].0, objects[0].1, 1);
        assert_ne!(one.digest(), two.digest());
    }
}
