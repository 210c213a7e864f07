//! The hub: the real store over three facilities, the real key store in two places, and a table of rows that is written last.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use api::{Digest, ObjectRef};
use bytes::Bytes;

use super::{Fault, Tally};
use crate::{
    BlobHash, DirectoryFacility, Facility, FacilityId, KeyStore, KeyStoreError, ScrubOptions,
    Store, StoreError, StoreEvent, StoreOptions, held,
    testing::disk::{Act, Dice, FaultDisk, Loss, Unmounted},
};

const ROOT: &str = "/facility";
const DATASET: [u8; 16] = [0xda; 16];
const COUNT: usize = 3;

/// What became of a blob of somebody else's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    Going,
    Gone,
}

/// What is wrong with a facility, until it is put right. One at a time: the quorum of two in three bears no more.
enum Impaired {
    No,
    /// It is pulled out.
    Vanished(usize, Unmounted),
    /// It takes no writes.
    Unwritable(usize),
}

pub(super) struct Hub {
    disks: [FaultDisk; COUNT],
    ids: [FacilityId; COUNT],
    key_disk: FaultDisk,
    store: Option<Store>,
    keys: Option<KeyStore>,
    rows: BTreeMap<ObjectRef, (BlobHash, Vec<u8>)>,
    others: BTreeMap<u64, (Bytes, Fate)>,
    number: u64,
    impaired: Impaired,
    /// A facility as it was some time ago.
    copy: Option<(usize, FacilityId, Unmounted)>,
    is_closed: bool,
    events: Arc<Mutex<Vec<StoreEvent>>>,
    seed: u64,
}

fn file_of(disk: &FaultDisk, hash: &BlobHash) -> Option<PathBuf> {
    let name = hash.to_string();
    disk.files(&format!("{ROOT}/objects/{}/{}/{name}", &name[..2], &name[2..4])).pop()
}

/// A wrapped key that only this object has.
fn key_of(object: &ObjectRef) -> [u8; 60] {
    let mut key = [0; 60];
    for (at, byte) in key.iter_mut().enumerate() {
        *byte = object.0[at % 16] ^ u8::try_from(at).unwrap();
    }
    key
}

impl Hub {
    pub(super) async fn new(seed: u64) -> Self {
        let disks = [FaultDisk::default(), FaultDisk::default(), FaultDisk::default()];
        let mut ids = Vec::new();
        for disk in &disks {
            let made = DirectoryFacility::create_on(disk.shared(), ROOT.into()).await.unwrap();
            ids.push(made.id());
        }
        let key_disk = FaultDisk::default();
        let places = [(key_disk.shared(), "/a".into()), (key_disk.shared(), "/b".into())];
        let keys = KeyStore::create_on(places).await.unwrap();
        keys.put_dataset_key(DATASET, 1, vec![1; 60]).await.unwrap();
        drop(keys);
        let mut hub = Self {
            disks,
            ids: ids.try_into().unwrap(),
            key_disk,
            store: None,
            keys: None,
            rows: BTreeMap::new(),
            others: BTreeMap::new(),
            number: 0,
            impaired: Impaired::No,
            copy: None,
            is_closed: false,
            events: Arc::default(),
            seed,
        };
        hub.start().await;
        hub
    }

    async fn start(&mut self) {
        let mut facilities = Vec::new();
        for (disk, id) in self.disks.iter().zip(self.ids) {
            let facility = DirectoryFacility::expect_on(disk.shared(), ROOT.into(), id).await;
            facilities.push(Arc::new(facility) as Arc<dyn Facility>);
        }
        let heard = Arc::clone(&self.events);
        let options = StoreOptions {
            recent_bytes: 0,
            on_event: Some(Arc::new(move |event| held(&heard).push(event.clone()))),
            ..StoreOptions::default()
        };
        self.store = Some(Store::open(facilities, options).await.unwrap());
        let places = [(self.key_disk.shared(), "/a".into()), (self.key_disk.shared(), "/b".into())];
        self.keys = Some(KeyStore::open_on(places).await.unwrap());
    }

    /// The process ends, with the power or without, and is started again.
    async fn restart(&mut self, loss: Loss) {
        // No thread of the life before may reach into the one after, as none would.
        if let Some(store) = self.store.take() {
            store.settle().await;
        }
        self.keys = None;
        for (index, disk) in self.disks.iter().enumerate() {
            disk.restart(match loss {
                Loss::Some(seed) => Loss::Some(seed.wrapping_add(index as u64)),
                other => other,
            });
        }
        self.key_disk.restart(loss);
        self.start().await;
    }

    fn store(&self) -> Store {
        self.store.clone().unwrap()
    }

    /// Keeps an object: blob and key first, then the row. Says whether it was acknowledged.
    pub(super) async fn put(&mut self, object: ObjectRef, sealed: Vec<u8>) -> bool {
        let hash = BlobHash::of(&sealed);
        if let Some((before, _)) = self.rows.get(&object) {
            assert_eq!(*before, hash, "an object is sent again as it was, or under another id");
            return true;
        }
        if self.is_closed || !self.put_parts(object, &sealed).await {
            return false;
        }
        self.rows.insert(object, (hash, sealed));
        true
    }

    async fn put_parts(&self, object: ObjectRef, sealed: &[u8]) -> bool {
        let put = self.store().put(Bytes::copy_from_slice(sealed)).await;
        // What the quorum left behind ends before anything else happens, so that a seed gives one life and no other.
        self.store().settle().await;
        let Some(keys) = &self.keys else { return false };
        put.is_ok() && keys.put_wrapped_key(DATASET, object.0, key_of(&object)).await.is_ok()
    }

    pub(super) fn objects(&self) -> BTreeMap<ObjectRef, (Digest, u64)> {
        let row = |(object, (hash, sealed)): (&ObjectRef, &(BlobHash, Vec<u8>))| {
            (*object, (Digest(*hash.as_bytes()), sealed.len() as u64))
        };
        self.rows.iter().map(row).collect()
    }

    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    /// An object as the store gives it back.
    pub(super) async fn get(&self, object: &ObjectRef) -> Vec<u8> {
        let (hash, _) = &self.rows[object];
        self.store().get(hash).await.unwrap().to_vec()
    }

    /// Somebody else puts, or erases.
    pub(super) async fn something_else(&mut self, dice: &mut Dice) {
        let kept: Vec<u64> =
            self.others.iter().filter(|(_, (_, f))| *f == Fate::Kept).map(|(n, _)| *n).collect();
        if dice.below(3) == 0
            && let Some(number) = dice.pick(&kept)
        {
            self.erase_other(number).await;
            return;
        }
        if self.copy.is_none() && matches!(self.impaired, Impaired::No) {
            let index = usize::try_from(dice.below(COUNT as u64)).unwrap();
            self.store().settle().await;
            self.copy = Some((index, self.ids[index], self.disks[index].copy_of(Path::new(ROOT))));
        }
        self.number += 1;
        let bytes = Bytes::from(format!("number {} of life {}", self.number, self.seed));
        let outcome = self.store().put(bytes.clone()).await;
        self.store().settle().await;
        if outcome.is_ok() {
            self.others.insert(self.number, (bytes, Fate::Kept));
        }
    }

    async fn erase_other(&mut self, number: u64) {
        let (bytes, fate) = self.others.get_mut(&number).unwrap();
        let outcome = self.store.as_ref().unwrap().erase(&[BlobHash::of(bytes)]).await;
        *fate = if outcome.is_ok() { Fate::Gone } else { Fate::Going };
    }

    /// Every blob that must be there.
    fn kept(&self) -> Vec<(BlobHash, Vec<u8>)> {
        let others = self.others.values().filter(|(_, fate)| *fate == Fate::Kept);
        let others = others.map(|(bytes, _)| (BlobHash::of(bytes), bytes.to_vec()));
        self.rows.values().cloned().chain(others).collect()
    }

    /// Whether a blob lies whole and durable in a facility besides this one.
    fn is_elsewhere(&self, hash: &BlobHash, bytes: &[u8], besides: usize) -> bool {
        let gone = match &self.impaired {
            Impaired::Vanished(index, _) => Some(*index),
            _ => None,
        };
        (0..COUNT).filter(|index| *index != besides && Some(*index) != gone).any(|index| {
            file_of(&self.disks[index], hash)
                .and_then(|path| self.disks[index].durable_bytes(&path))
                .is_some_and(|found| found == bytes)
        })
    }

    /// Whether the store can do without a facility: all blobs and all erasures are known elsewhere. Whoever has two things
    /// to mend mends the first one first.
    async fn can_do_without(&mut self, index: usize) -> bool {
        self.store().settle().await;
        self.recover().await;
        self.kept().iter().all(|(hash, bytes)| self.is_elsewhere(hash, bytes, index))
    }

    /// A kept blob that has a copy in this facility and a good one elsewhere.
    fn to_damage(&self, dice: &mut Dice) -> Option<(usize, BlobHash, PathBuf)> {
        let kept = self.kept();
        let (hash, bytes) = kept.get(usize::try_from(dice.below(kept.len() as u64)).unwrap())?;
        let index = usize::try_from(dice.below(COUNT as u64)).unwrap();
        let path = file_of(&self.disks[index], hash)?;
        self.is_elsewhere(hash, bytes, index).then_some((index, *hash, path))
    }

    /// A fault on this side; not every one is possible at every moment.
    pub(super) async fn befall(&mut self, fault: Fault, dice: &mut Dice) -> bool {
        let index = usize::try_from(dice.below(COUNT as u64)).unwrap();
        match fault {
            Fault::HubKilled => self.restart(Loss::Nothing).await,
            Fault::HubKilledBeforeTheRow => {
                let object = ObjectRef([0xf0; 16]);
                self.put_parts(object, format!("orphan {}", dice.roll()).as_bytes()).await;
                self.restart(Loss::Some(dice.roll())).await;
            }
            Fault::ScrubberKilled => {
                let stop_after_bytes = std::num::NonZeroU64::new(1 + dice.below(300));
                let options = ScrubOptions { stop_after_bytes, ..ScrubOptions::default() };
                self.store().scrub(options).await;
                self.restart(Loss::Nothing).await;
            }
            Fault::TornWrite | Fault::LostUnsynced => {
                let after = 1 + dice.below(25);
                self.disks.iter().chain([&self.key_disk]).for_each(|disk| disk.cut_power_at(after));
                for _ in 0..40 {
                    self.something_else(dice).await;
                    if self.disks.iter().any(FaultDisk::is_off) {
                        break;
                    }
                }
                // A disk that is off says nothing, so nothing that was acknowledged can be on fewer than the quorum.
                let loss = if fault == Fault::TornWrite {
                    Loss::Some(dice.roll())
                } else {
                    Loss::Everything
                };
                self.restart(loss).await;
            }
            Fault::FailedSync | Fault::FailedRename => {
                let act = match (fault, dice.below(2)) {
                    (Fault::FailedRename, _) => Act::Rename,
                    (_, 0) => Act::SyncFile,
                    _ => Act::SyncDir,
                };
                self.disks[index].fail(act, "", io::ErrorKind::Other, 1);
                self.something_else(dice).await;
            }
            Fault::ReadError => {
                self.disks[index].fail(Act::Read, "/objects/", io::ErrorKind::Other, 1);
            }
            Fault::NoSpace | Fault::ReadOnly => {
                if !matches!(self.impaired, Impaired::No) {
                    self.recover().await;
                }
                if fault == Fault::NoSpace {
                    self.disks[index].set_free_bytes(Some(1));
                } else {
                    self.disks[index].set_read_only(true);
                }
                self.impaired = Impaired::Unwritable(index);
            }
            Fault::FlippedByte | Fault::Truncated | Fault::BlobLost | Fault::Misplaced => {
                let Some((index, _, path)) = self.to_damage(dice) else { return false };
                let (disk, at) = (&self.disks[index], dice.roll());
                match fault {
                    Fault::FlippedByte => disk.damage(&path, |bytes| {
                        let at = usize::try_from(at % bytes.len() as u64).unwrap();
                        bytes[at] ^= 1 << (at % 8);
                    }),
                    Fault::Truncated => disk.damage(&path, |bytes| {
                        bytes.truncate(usize::try_from(at % bytes.len() as u64).unwrap());
                    }),
                    Fault::BlobLost => disk.lose(&path),
                    _ => {
                        let name = path.file_name().unwrap();
                        disk.misplace(&path, &Path::new(ROOT).join("objects/ff/ff").join(name));
                    }
                }
            }
            Fault::Misdirected => {
                let Some((index, _, one)) = self.to_damage(dice) else { return false };
                let Some((at, _, other)) = self.to_damage(dice) else { return false };
                if index != at || one == other {
                    return false;
                }
                let mut bytes = Vec::new();
                self.disks[index].damage(&one, |found| bytes.clone_from(found));
                self.disks[index].damage(&other, |found| *found = bytes);
            }
            Fault::KeyFlipped => {
                let place = if dice.below(2) == 0 { "/a/datasets" } else { "/b/datasets" };
                let Some(path) = self.key_disk.files(place).pop() else { return false };
                let at = dice.roll();
                self.key_disk.damage(&path, |bytes| {
                    let at = usize::try_from(at % bytes.len() as u64).unwrap();
                    bytes[at] ^= 0x20;
                });
                // What one process holds in memory hides it; the next one, and every check, finds it.
                let checked = self.keys.as_ref().unwrap().check().await.unwrap();
                assert!(checked.damaged_in_both.is_empty(), "{checked:?}");
            }
            Fault::KeySyncFailed => self.key_disk.fail(Act::SyncFile, "", io::ErrorKind::Other, 1),
            Fault::Vanished => {
                if !self.can_do_without(index).await {
                    return false;
                }
                let tree = self.disks[index].unmount(Path::new(ROOT));
                self.impaired = Impaired::Vanished(index, tree);
            }
            Fault::Stale => return self.stale().await,
            Fault::ReplacedByAnEmptyOne => {
                if !self.can_do_without(index).await {
                    return false;
                }
                drop(self.disks[index].unmount(Path::new(ROOT)));
                let store = self.store();
                // Whatever is asked meanwhile says that it is missing; then a person gives the old one up and adds a new one.
                for (hash, bytes) in self.kept() {
                    assert_eq!(store.get(&hash).await.unwrap(), bytes);
                }
                store.give_up(self.ids[index]).unwrap();
                self.replace(index, &store).await;
            }
            Fault::Drained => {
                if !self.can_do_without(index).await {
                    return false;
                }
                let store = self.store();
                self.disks.iter().for_each(FaultDisk::heal);
                let drained = store.drain(self.ids[index]).await.unwrap();
                assert!(drained.has_left && drained.left == 0, "{drained:?}");
                drop(self.disks[index].unmount(Path::new(ROOT)));
                for (hash, bytes) in self.kept() {
                    assert_eq!(store.get(&hash).await.unwrap(), bytes);
                }
                self.replace(index, &store).await;
            }
            _ => return false,
        }
        true
    }

    /// A facility comes back as it was some time ago: it lacks blobs, and holds some that are erased.
    async fn stale(&mut self) -> bool {
        self.store().settle().await;
        match self.copy.take() {
            Some((index, id, tree)) if id == self.ids[index] => {
                // The tombstones that it forgets must be known elsewhere, as everything that it lacks.
                if !self.can_do_without(index).await {
                    return false;
                }
                self.disks[index].mount(Path::new(ROOT), &tree);
                // It was away, so the program that used it sees another opening.
                self.restart(Loss::Nothing).await;
                true
            }
            // Of a facility that was replaced since.
            _ => false,
        }
    }

    /// A new facility where one was, filled while the store is used.
    async fn replace(&mut self, index: usize, store: &Store) {
        // Threads of the one that left still hold its lock until they end.
        let disk = FaultDisk::default();
        let made = DirectoryFacility::create_on(disk.shared(), ROOT.into()).await.unwrap();
        self.ids[index] = made.id();
        self.disks[index] = disk;
        self.copy = None;
        store.add(Arc::new(made)).await.unwrap();
        let report = store.scrub(ScrubOptions { read: false, ..ScrubOptions::default() }).await;
        assert!(report.away.is_empty(), "{report:?}");
    }

    /// Puts right what a person would put right: what is pulled out is put back, what is full is emptied.
    pub(super) async fn recover(&mut self) {
        match std::mem::replace(&mut self.impaired, Impaired::No) {
            Impaired::Vanished(index, tree) => self.disks[index].mount(Path::new(ROOT), &tree),
            Impaired::Unwritable(index) => {
                self.disks[index].set_free_bytes(None);
                self.disks[index].set_read_only(false);
            }
            Impaired::No => {}
        }
        self.disks.iter().chain([&self.key_disk]).for_each(FaultDisk::heal);
        self.store().catch_up().await;
    }

    /// Everything that was acknowledged is there and equal, and nothing that was erased is.
    pub(super) async fn check(&mut self, tally: &mut Tally) {
        let store = self.store();
        for (hash, bytes) in self.kept() {
            tally.reads += 1;
            match store.get(&hash).await {
                Ok(found) => assert_eq!(found, bytes, "{hash}"),
                // Its whole copies are away, or a disk failed; it is looked for again when they are back.
                Err(StoreError::Unavailable { .. }) => {
                    tally.unavailable += 1;
                    self.recover().await;
                    let again = store.get(&hash).await;
                    let again = again.unwrap_or_else(|error| panic!("{hash} is lost: {error}"));
                    assert_eq!(again, bytes);
                }
                Err(error) => panic!("{hash} is lost: {error}"),
            }
        }
        for (bytes, fate) in self.others.values() {
            let found = store.get(&BlobHash::of(bytes)).await;
            match fate {
                Fate::Kept => {}
                Fate::Gone => assert!(found.is_err(), "erased, and back"),
                Fate::Going => assert!(found.is_err() || found.unwrap() == bytes),
            }
        }
        let keys = self.keys.as_ref().unwrap();
        for object in self.rows.keys() {
            match keys.wrapped_key(DATASET, object.0).await {
                Ok(key) => assert_eq!(key, key_of(object)),
                Err(KeyStoreError::Io { .. } | KeyStoreError::PlaceAway { .. }) => {}
                Err(error) => panic!("the key of {object:?} is lost: {error}"),
            }
        }
        let lost = held(&self.events).iter().any(|event| matches!(event, StoreEvent::Lost { .. }));
        assert!(!lost, "the store says that it lost a blob");
    }

    /// Nobody knows of orphans, so they go; then the dataset is deleted, and nothing of it is left anywhere.
    pub(super) async fn end(mut self, dice: &mut Dice, tally: &mut Tally) {
        self.recover().await;
        self.restart(Loss::Some(dice.roll())).await;
        let store = self.store();
        store.scrub(ScrubOptions::default()).await;
        let second = store.scrub(ScrubOptions::default()).await;
        assert!(second.is_whole() && second.counts.is_empty(), "{second:?}");
        self.check(tally).await;
        let known: std::collections::BTreeSet<BlobHash> = self
            .rows
            .values()
            .map(|(hash, _)| *hash)
            .chain(self.others.values().map(|(bytes, _)| BlobHash::of(bytes)))
            .collect();
        let mut orphans = Vec::new();
        for shard in 0..=u8::MAX {
            orphans.extend(
                store.names(shard).await.unwrap().into_iter().filter(|name| !known.contains(name)),
            );
        }
        let swept = store.sweep(&orphans, async |orphans| Ok::<_, ()>(orphans)).await.unwrap();
        assert_eq!(swept, orphans.len() as u64);
        self.check(tally).await;

        let keys = self.keys.take().unwrap();
        keys.destroy(DATASET).await.unwrap();
        let hashes: Vec<BlobHash> = known.into_iter().collect();
        store.erase(&hashes).await.unwrap();
        for (index, disk) in self.disks.iter().enumerate() {
            let left = disk.files(&format!("{ROOT}/objects/"));
            assert!(left.is_empty(), "facility {index} holds {left:?}");
        }
        for object in self.rows.keys() {
            assert!(
                !self.key_disk.holds_in_a_file(&key_of(object)),
                "a destroyed key lies in a file"
            );
        }
        let gone = self.others.values().filter(|(_, fate)| *fate == Fate::Gone).count();
        tally.acknowledged += self.rows.len() as u64 + self.number;
        tally.erased += gone as u64 + hashes.len() as u64;
        let healed = |event: &&StoreEvent| matches!(event, StoreEvent::Healed { .. });
        tally.healed += held(&self.events).iter().filter(healed).count() as u64;
    }
}
