//! What a dataset holds: its index sealed, its manifest to sign, and the way from a range of a file to objects.

use std::borrow::Borrow;
use std::io;

use api::{Digest, ObjectRef, SealedObject, Time};
use proof::{Extent, FileEntry, Index, IndexText, Manifest, ObjectSet};
use seal::Plaintext;

use crate::{DatasetError, OpenDataset, OpenFile, Pack, Packer, SealedFact, SealedPart};

/// How much of an index waits to be packed.
const CHUNK_BYTES: usize = 64 * 1024;
/// The plaintext of a part of an index: small, because it is sealed when all other buffers are still there. Sealed it is 1 MiB at most.
const INDEX_PACK_BYTES: usize = 1024 * 1024 - 128 - 16 * 16;

/// The manifest of these files and the sealed parts of its index, which must be acknowledged before it is signed and sent.
///
/// `objects` are those that hold the files; the manifest counts the index's own as well.
pub fn manifest(
    open: &OpenDataset,
    hub: &str,
    files: Vec<FileEntry>,
    objects: ObjectSet,
    number: u32,
    previous: Option<Digest>,
    at: Time,
) -> Result<(Manifest, Vec<SealedPart>), DatasetError> {
    let files = Index::new(open.dataset(), files)?.files;
    let mut index = IndexSealer::new(open, files.iter());
    let mut parts = Vec::new();
    for file in &files {
        parts.extend(index.add(file)?);
    }
    let (rest, listed) = index.end()?;
    parts.extend(rest);
    Ok((listed.manifest(open, hub, objects, number, previous, at), parts))
}

/// Seals an index while it is written, file by file in the order of their paths: it is as long as a run has files, and lies whole nowhere.
#[derive(Debug)]
pub struct IndexSealer<'a> {
    text: IndexText,
    to: Sealing<'a>,
}

impl<'a> IndexSealer<'a> {
    /// For these files, which are only measured; then they are added.
    pub fn new<F: Borrow<FileEntry>>(
        open: &'a OpenDataset,
        files: impl Iterator<Item = F>,
    ) -> Self {
        let mut text = IndexText::new(open.dataset());
        let mut length = Length(0);
        for file in files {
            text.write(file.borrow(), &mut length).expect(NEVER_FAILS);
        }
        text.end(&mut length).expect(NEVER_FAILS);
        let mut packer = Packer::new(length.0.clamp(1, INDEX_PACK_BYTES));
        let file = packer.begin("index");
        let waiting = Plaintext::with_capacity(2 * CHUNK_BYTES);
        let to = Sealing { open, packer, file, waiting, parts: Vec::new(), sealed: Vec::new() };
        Self { text: IndexText::new(open.dataset()), to }
    }

    /// Takes the next file, and gives the parts that became full.
    pub fn add(&mut self, file: &FileEntry) -> Result<Vec<SealedPart>, DatasetError> {
        self.text.check(file)?;
        self.text.write(file, &mut self.to).map_err(while_packing)?;
        Ok(std::mem::take(&mut self.to.parts))
    }

    /// The last part, and what the manifest says of all of them.
    pub fn end(self) -> Result<(Vec<SealedPart>, Listed), DatasetError> {
        let Self { text, mut to } = self;
        let files = text.end(&mut to).map_err(while_packing)?;
        to.pack()?;
        if let Some(last) = to.packer.flush() {
            to.seal(last)?;
        }
        let Sealing { mut packer, file, parts, sealed, .. } = to;
        let (digest, _) = packer.end(file);
        sealed.iter().for_each(|fact| packer.sealed(*fact));
        let (listed, _) = packer.finish()?;
        let extents = listed.into_iter().flat_map(|file| file.extents).collect();
        Ok((parts, Listed { files, digest, extents, sealed }))
    }
}

/// An index that was sealed.
#[derive(Debug)]
pub struct Listed {
    files: u64,
    digest: Digest,
    extents: Vec<Extent>,
    sealed: Vec<SealedFact>,
}

impl Listed {
    /// The manifest that names it, of a dataset whose files lie in `objects`.
    pub fn manifest(
        self,
        open: &OpenDataset,
        hub: &str,
        mut objects: ObjectSet,
        number: u32,
        previous: Option<Digest>,
        at: Time,
    ) -> Manifest {
        for SealedFact { object, hash, sealed_bytes, .. } in self.sealed {
            objects.insert(object, hash, sealed_bytes);
        }
        Manifest {
            hub: hub.to_owned(),
            dataset: open.dataset(),
            project: open.project(),
            card: open.card_digest(),
            epoch: open.epoch(),
            number,
            previous,
            files: self.files,
            index_digest: self.digest,
            index: self.extents,
            objects: objects.len(),
            sealed_bytes: objects.sealed_bytes(),
            objects_digest: objects.digest(),
            at,
        }
    }
}

const NEVER_FAILS: &str = "its length is counted because counting never fails";

/// Why an index could not be written on.
fn while_packing(error: io::Error) -> DatasetError {
    error.downcast().expect("nothing else fails because all is in memory")
}

/// How long what is written would be.
struct Length(usize);

impl io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Packs and seals what is written to it.
#[derive(Debug)]
struct Sealing<'a> {
    open: &'a OpenDataset,
    packer: Packer,
    file: OpenFile,
    waiting: Plaintext,
    /// Those that nobody took yet, and what is known of all of them.
    parts: Vec<SealedPart>,
    sealed: Vec<SealedFact>,
}

impl Sealing<'_> {
    fn pack(&mut self) -> Result<(), DatasetError> {
        for pack in self.packer.write(self.file, &self.waiting)? {
            self.seal(pack)?;
        }
        self.waiting.clear();
        Ok(())
    }

    fn seal(&mut self, pack: Pack) -> Result<(), DatasetError> {
        let part = pack.seal(self.open)?;
        self.sealed.push(SealedFact::from(&part));
        self.parts.push(part);
        Ok(())
    }
}

impl io::Write for Sealing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= CHUNK_BYTES {
            self.pack().map_err(io::Error::other)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The index that `manifest` names, from the sealed objects that it says hold it, in its order.
pub fn open_index(
    open: &OpenDataset,
    manifest: &Manifest,
    objects: &[(SealedObject, Vec<u8>)],
) -> Result<Index, DatasetError> {
    let mut bytes = Plaintext::default();
    for extent in &manifest.index {
        let missing = DatasetError::Extent { object: extent.object };
        let (object, sealed) =
            objects.iter().find(|(o, _)| o.object == extent.object).ok_or(missing)?;
        let plaintext =
            Plaintext::from(open.open_object(object, sealed, Some(extent.commitment))?);
        bytes.extend_from_slice(piece(&plaintext, extent)?);
    }
    Ok(Index::open(&bytes, manifest)?)
}

/// The bytes of an object's plaintext that `extent` names.
fn piece<'a>(plaintext: &'a [u8], extent: &Extent) -> Result<&'a [u8], DatasetError> {
    let past = DatasetError::Extent { object: extent.object };
    let (Ok(from), Ok(bytes)) = (usize::try_from(extent.offset), usize::try_from(extent.bytes))
    else {
        return Err(past);
    };
    from.checked_add(bytes).and_then(|to| plaintext.get(from..to)).ok_or(past)
}

/// A part of an object that a range of a file needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// The object.
    pub object: ObjectRef,
    /// The commitment it must have.
    pub commitment: Digest,
    /// Where in its plaintext.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
}

impl Slice {
    /// The slice's bytes out of the object's plaintext.
    pub fn of<'a>(&self, plaintext: &'a [u8]) -> Result<&'a [u8], DatasetError> {
        let Self { object, commitment, offset, bytes } = *self;
        piece(plaintext, &Extent { object, commitment, offset, bytes })
    }
}

/// The slices that hold `bytes` bytes of `file` from `from` on, in order; what lies past its end is left out.
pub fn slices(file: &FileEntry, from: u64, bytes: u64) -> Vec<Slice> {
    let to = from.saturating_add(bytes).min(file.bytes);
    let mut start = 0;
    let mut found = Vec::new();
    for extent in &file.extents {
        let end = start + extent.bytes;
        let (first, last) = (from.max(start), to.min(end));
        if first < last {
            found.push(Slice {
                object: extent.object,
                commitment: extent.commitment,
                offset: extent.offset + (first - start),
                bytes: last - first,
            });
        }
        start = end;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::{Bytes, DatasetId, ProjectId, Release};
    use proptest::prelude::*;
    use seal::recipient::RecipientSecret;
    use std::collections::HashMap;

    type Stored = HashMap<ObjectRef, (SealedObject, Vec<u8>)>;

    fn keep(stored: &mut Stored, part: &SealedPart, epoch: u32) {
        let object = SealedObject {
            object: part.object,
            hash: part.hash,
            sealed_bytes: part.sealed.len() as u64,
            epoch,
            wrapped_key: Bytes(part.wrapped_key.to_vec()),
        };
        stored.insert(part.object, (object, part.sealed.clone()));
    }

    fn store(open: &OpenDataset, files: &[(&str, Vec<u8>)], pack: usize) -> (Manifest, Stored) {
        let mut packer = Packer::new(pack);
        let mut stored = Stored::new();
        let mut packs = Vec::new();
        for (path, bytes) in files {
            let file = packer.begin(path);
            for chunk in bytes.chunks(777) {
                packs.extend(packer.write(file, chunk).unwrap());
            }
            packer.end(file);
        }
        packs.extend(packer.flush());
        for pack in packs {
            let part = pack.seal(open).unwrap();
            packer.sealed(&part);
            keep(&mut stored, &part, open.epoch());
        }
        let (entries, objects) = packer.finish().unwrap();
        let (manifest, parts) =
            manifest(open, "hub", entries, objects, 1, None, Time::UNIX_EPOCH).unwrap();
        parts.iter().for_each(|part| keep(&mut stored, part, open.epoch()));
        (manifest, stored)
    }

    fn index(
        open: &OpenDataset,
        manifest: &Manifest,
        stored: &Stored,
    ) -> Result<Index, DatasetError> {
        let objects: Vec<_> = manifest.index.iter().map(|e| stored[&e.object].clone()).collect();
        open_index(open, manifest, &objects)
    }

    fn read(
        open: &OpenDataset,
        stored: &Stored,
        file: &FileEntry,
        from: u64,
        bytes: u64,
    ) -> Vec<u8> {
        let mut out = Vec::new();
        for slice in slices(file, from, bytes) {
            let (object, sealed) = &stored[&slice.object];
            let plaintext = open.open_object(object, sealed, Some(slice.commitment)).unwrap();
            out.extend_from_slice(slice.of(&plaintext).unwrap());
        }
        out
    }

    fn dataset() -> OpenDataset {
        OpenDataset::create(DatasetId::generate(), ProjectId::generate(), Digest([9; 32])).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn what_goes_in_comes_out(
            lengths in prop::collection::vec(0_usize..5000, 0..6),
            pack in 1000_usize..4000,
            from in 0_usize..6000,
            bytes in 0_usize..6000,
        ) {
            let open = dataset();
            let names = ["a", "b/c", "b/d", "e", "f", "g"];
            let files: Vec<(&str, Vec<u8>)> = lengths.iter().enumerate()
                .map(|(i, n)| (names[i], (0..*n).map(|x| u8::try_from((x * 7 + i) % 251).unwrap()).collect())).collect();
            let (manifest, stored) = store(&open, &files, pack);
            let index = index(&open, &manifest, &stored).unwrap();
            for (path, content) in &files {
                let entry = index.file(path).unwrap();
                let whole = read(&open, &stored, entry, 0, u64::MAX);
                prop_assert_eq!(&whole, content);
                let range = read(&open, &stored, entry, from as u64, bytes as u64);
                let from = from.min(content.len());
                let to = (from + bytes).min(content.len());
                prop_assert_eq!(&range, &content[from..to]);
            }
        }
    }

    #[test]
    fn a_released_key_opens_what_was_sealed_and_no_other_dataset() {
        let open = dataset();
        let (manifest, stored) = store(&open, &[("x", vec![1; 10])], 4096);
        let person = RecipientSecret::generate().unwrap();
        let wrapped_key = open.wrap_to(&person.public().to_bytes()).unwrap();
        let release = Release {
            dataset: open.dataset(),
            project: open.project(),
            card_digest: open.card_digest(),
            epoch: open.epoch(),
            wrapped_key,
            leaf: None,
        };
        let theirs = OpenDataset::from_release(&release, &person).unwrap();
        assert!(index(&theirs, &manifest, &stored).is_ok());
        let moved = Release { dataset: DatasetId::generate(), ..release };
        assert!(matches!(
            OpenDataset::from_release(&moved, &person),
            Err(DatasetError::Release { .. })
        ));
    }

    #[test]
    fn an_object_in_the_place_of_another_does_not_open() {
        let open = dataset();
        let (manifest, mut stored) =
            store(&open, &[("x", vec![1; 3000]), ("y", vec![2; 3000])], 3000);
        let index = index(&open, &manifest, &stored).unwrap();
        let x = index.file("x").unwrap().extents[0].clone();
        let y = index.file("y").unwrap().extents[0].clone();
        let swapped = stored[&y.object].clone();
        let (object, sealed) = &swapped;
        let error = open.open_object(object, sealed, Some(x.commitment)).unwrap_err();
        assert!(matches!(error, DatasetError::Commitment { .. }));
        let (object, sealed) = stored.get_mut(&x.object).unwrap();
        sealed[500] ^= 1;
        assert!(matches!(open.open_object(object, sealed, None), Err(DatasetError::Hash { .. })));
    }

    #[test]
    fn after_a_re_seal_the_old_key_opens_nothing() {
        let old = dataset();
        let new = old.next_epoch(Digest([8; 32])).unwrap();
        let (manifest, stored) = store(&new, &[("x", vec![1; 10])], 4096);
        assert!(matches!(index(&old, &manifest, &stored), Err(DatasetError::ObjectKey { .. })));
        assert!(index(&new, &manifest, &stored).is_ok());
    }
}
