//! The store over facilities in memory, which come and go, and over directories on disks that fail.

use std::{
    collections::BTreeMap,
    io,
    num::NonZeroU64,
    path::Path,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use proptest::prelude::*;

use super::{FindingKind, ScrubCursor, ScrubOptions, Store, StoreError, StoreEvent, StoreOptions};
use crate::{
    BlobHash, DirectoryFacility, Facility, FacilityState, MAX_BLOB_BYTES, held,
    testing::{
        conformance::blob,
        disk::{Act, FaultDisk, Loss},
        memory::MemoryFacility,
        run,
    },
};

const ROOT: &str = "/facility";

/// A store over facilities in memory, which the test keeps hold of, and what it said.
struct Bench {
    memories: Vec<Arc<MemoryFacility>>,
    store: Store,
    events: Arc<Mutex<Vec<StoreEvent>>>,
}

async fn bench(count: usize) -> Bench {
    let memories: Vec<_> = (0..count).map(|_| Arc::new(MemoryFacility::new())).collect();
    let events = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&events);
    let options = StoreOptions {
        recent_bytes: 0,
        on_event: Some(Arc::new(move |event| held(&heard).push(event.clone()))),
        ..StoreOptions::default()
    };
    let facilities = memories.iter().map(|memory| Arc::clone(memory) as Arc<dyn Facility>);
    let store = Store::open(facilities.collect(), options).await.unwrap();
    Bench { memories, store, events }
}

impl Bench {
    fn copies(&self, hash: &BlobHash) -> usize {
        let has = |memory: &&Arc<MemoryFacility>| {
            held(&memory.contents).blobs.get(hash).is_some_and(|bytes| hash.names(bytes))
        };
        self.memories.iter().filter(has).count()
    }

    fn damage(&self, facility: usize, hash: &BlobHash) {
        let bytes = Bytes::from_static(b"not what the name says");
        held(&self.memories[facility].contents).blobs.insert(*hash, bytes);
    }
}

#[test]
fn one_or_two_facilities_must_all_sync_and_of_more_a_majority() {
    run(async {
        for (count, quorum) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)] {
            assert_eq!(bench(count).await.store.write_quorum(), quorum);
        }
        let memory = Arc::new(MemoryFacility::new()) as Arc<dyn Facility>;
        for (facilities, write_quorum) in [
            (vec![], None),
            (vec![memory.clone(); 2], None),
            (vec![memory.clone()], Some(2)),
            (vec![memory], Some(0)),
        ] {
            let options = StoreOptions { write_quorum, ..StoreOptions::default() };
            assert!(matches!(
                Store::open(facilities, options).await,
                Err(StoreError::Facilities { .. })
            ));
        }
    });
}

#[test]
fn a_put_is_not_acknowledged_before_enough_facilities_have_it() {
    run(async {
        let two = bench(2).await;
        two.memories[1].set_away(true);
        let refused = two.store.put(Bytes::from_static(b"x")).await;
        assert!(matches!(refused, Err(StoreError::TooFewSynced { synced: 1, needed: 2, .. })));

        let three = bench(3).await;
        three.memories[2].set_away(true);
        let hash = three.store.put(Bytes::from_static(b"x")).await.unwrap();
        three.store.settle().await;
        assert_eq!(three.copies(&hash), 2);
        let status = three.store.status().await;
        assert_eq!((status[2].state, status[2].behind), (FacilityState::Missing, 1));
        three.memories[2].set_away(false);
        assert_eq!(three.store.status().await[2].state, FacilityState::Behind);
        let done = three.store.catch_up().await;
        assert_eq!((done.written, done.behind), (1, 0));
        assert_eq!(three.copies(&hash), 3);
        assert_eq!(three.store.status().await[2].state, FacilityState::Healthy);
    });
}

#[test]
fn a_slow_facility_does_not_hold_up_a_majority_and_gets_its_copy_in_the_end() {
    run(async {
        let three = bench(3).await;
        let slow = three.memories[1].gate.write().await;
        let hash = three.store.put(Bytes::from_static(b"x")).await.unwrap();
        assert_eq!(three.copies(&hash), 2);
        // A scrub meanwhile does not call the copy missing that is on its way.
        assert!(three.store.scrub(ScrubOptions::default()).await.counts.is_empty());
        drop(slow);
        three.store.settle().await;
        assert_eq!(three.copies(&hash), 3);
    });
}

#[test]
fn a_blob_is_refused_that_is_too_large_or_is_not_what_its_name_says() {
    run(async {
        let one = bench(1).await;
        let large = Bytes::from(vec![0; MAX_BLOB_BYTES + 1]);
        assert!(matches!(one.store.put(large).await, Err(StoreError::TooLarge { .. })));
        one.store.put(Bytes::from(vec![0; MAX_BLOB_BYTES])).await.unwrap();
        let (hash, bytes) = blob("x");
        let refused = one.store.put_named(hash, Bytes::from_static(b"y")).await;
        assert!(matches!(refused, Err(StoreError::NotThatBlob { .. })));
        one.store.put_named(hash, bytes).await.unwrap();
    });
}

#[test]
fn a_bad_or_lacking_copy_is_served_from_another_facility_and_written_anew() {
    run(async {
        let three = bench(3).await;
        let (hash, bytes) = blob("kept");
        three.store.put(bytes.clone()).await.unwrap();
        three.store.settle().await;
        three.damage(0, &hash);
        held(&three.memories[1].contents).blobs.remove(&hash);
        assert_eq!(three.store.get(&hash).await.unwrap(), bytes);
        assert_eq!(three.copies(&hash), 3);
        assert_eq!(three.store.status().await[0].quarantined, 1);
        let ids: Vec<_> = three.memories.iter().map(|memory| memory.id()).collect();
        assert_eq!(
            *held(&three.events),
            [
                StoreEvent::Corrupt { facility: ids[0], hash },
                StoreEvent::Healed { facility: ids[0], hash },
                StoreEvent::Healed { facility: ids[1], hash },
            ]
        );
    });
}

#[test]
fn not_found_damaged_and_unavailable_are_three_answers() {
    run(async {
        let two = bench(2).await;
        let (hash, bytes) = blob("kept");
        assert!(matches!(two.store.get(&hash).await, Err(StoreError::NotFound { .. })));
        two.memories[1].set_away(true);
        assert!(matches!(two.store.get(&hash).await, Err(StoreError::Unavailable { .. })));
        assert!(two.store.contains_many(&[hash]).await.is_err());
        two.memories[1].set_away(false);
        two.store.put(bytes).await.unwrap();
        assert_eq!(two.store.contains_many(&[hash, blob("other").0]).await.unwrap(), [true, false]);
        two.damage(0, &hash);
        two.damage(1, &hash);
        assert!(matches!(two.store.get(&hash).await, Err(StoreError::Damaged { .. })));
        // The only copies there are stay where they are.
        assert_eq!(two.store.status().await[0].quarantined, 0);
    });
}

#[test]
fn a_range_gives_no_byte_of_a_blob_that_is_not_verified() {
    run(async {
        let one = bench(1).await;
        let (hash, bytes) = blob("0123456789");
        one.store.put(bytes).await.unwrap();
        assert_eq!(one.store.get_range(&hash, 2..5).await.unwrap(), "234");
        assert_eq!(one.store.get_range(&hash, 10..10).await.unwrap(), "");
        #[expect(clippy::reversed_empty_ranges, reason = "it is what a caller may not ask")]
        for range in [0..11, 5..2, 11..11, 0..u64::MAX] {
            let refused = one.store.get_range(&hash, range).await;
            assert!(matches!(refused, Err(StoreError::OutOfRange { .. })));
        }
        held(&one.memories[0].contents).blobs.insert(hash, Bytes::from_static(b"012345678X"));
        assert!(matches!(one.store.get_range(&hash, 2..5).await, Err(StoreError::Damaged { .. })));
    });
}

#[test]
fn what_was_erased_does_not_come_back_with_a_facility_that_was_away() {
    run(async {
        let three = bench(3).await;
        let (hash, bytes) = blob("gone");
        three.store.put(bytes.clone()).await.unwrap();
        three.store.settle().await;
        three.memories[2].set_away(true);
        let erasure = three.store.erase(&[hash]).await.unwrap();
        assert_eq!((erasure.gone_from.len(), erasure.waiting_for.len()), (2, 1));
        three.memories[2].set_away(false);
        // Before anyone told it, and after.
        for _ in 0..2 {
            assert!(matches!(three.store.get(&hash).await, Err(StoreError::Erased { .. })));
            let refused = three.store.put(bytes.clone()).await;
            assert!(matches!(refused, Err(StoreError::Erased { .. })));
            assert_eq!(three.store.contains_many(&[hash]).await.unwrap(), [false]);
            three.store.catch_up().await;
            assert_eq!(three.copies(&hash), 0);
        }
        let facility = three.memories[2].id();
        assert!(held(&three.events).contains(&StoreEvent::ErasedLate { facility, blobs: 1 }));
    });
}

#[test]
fn a_store_that_is_opened_anew_learns_from_every_facility_what_is_erased() {
    run(async {
        let two = bench(2).await;
        let (hash, bytes) = blob("gone");
        two.store.put(bytes.clone()).await.unwrap();
        two.memories[1].set_away(true);
        two.store.erase(&[hash]).await.unwrap();
        two.memories[1].set_away(false);
        let facilities = two.memories.iter().map(|memory| Arc::clone(memory) as Arc<dyn Facility>);
        let store = Store::open(facilities.collect(), StoreOptions::default()).await.unwrap();
        assert_eq!(two.copies(&hash), 0);
        assert!(matches!(store.get(&hash).await, Err(StoreError::Erased { .. })));
    });
}

#[test]
fn an_erasure_that_no_facility_takes_is_not_acknowledged() {
    run(async {
        let two = bench(2).await;
        two.memories.iter().for_each(|memory| memory.set_away(true));
        let refused = two.store.erase(&[blob("x").0]).await;
        assert!(matches!(refused, Err(StoreError::NotErased { .. })));
    });
}

#[test]
fn a_scrub_finds_and_heals_what_is_missing_corrupt_misplaced_foreign_or_erased() {
    run(async {
        let two = bench(2).await;
        let blobs: Vec<_> = (0..6).map(|number| blob(&format!("blob {number}"))).collect();
        for (_, bytes) in &blobs {
            two.store.put(bytes.clone()).await.unwrap();
        }
        let hashes: Vec<_> = blobs.iter().map(|(hash, _)| *hash).collect();
        held(&two.memories[0].contents).blobs.remove(&hashes[0]);
        two.damage(1, &hashes[1]);
        {
            let mut contents = held(&two.memories[1].contents);
            let moved = contents.blobs.remove(&hashes[2]).unwrap();
            contents.strays.insert(format!("00/00/{}", hashes[2]), moved);
            contents.strays.insert("notes.txt".into(), Bytes::from_static(b"foreign"));
        }
        two.store.erase(&[hashes[3]]).await.unwrap();
        held(&two.memories[0].contents).blobs.insert(hashes[3], blobs[3].1.clone());
        two.damage(0, &hashes[4]);
        two.damage(1, &hashes[4]);

        let report = two.store.scrub(ScrubOptions::default()).await;
        let counts: Vec<_> = report.counts.iter().map(|(kind, count)| (*kind, *count)).collect();
        assert_eq!(
            counts,
            [
                (FindingKind::Missing, 1),
                (FindingKind::Corrupt, 1),
                (FindingKind::Misplaced, 1),
                (FindingKind::Foreign, 1),
                (FindingKind::Erased, 1),
                (FindingKind::Lost, 2),
            ]
        );
        assert_eq!((report.healed, report.is_whole(), report.next), (5, false, None));
        for hash in [0, 1, 2, 5].map(|index| hashes[index]) {
            assert_eq!(two.copies(&hash), 2);
        }
        assert_eq!(two.copies(&hashes[3]), 0);
        // What is healed stays healed; what is lost is said again.
        let again = two.store.scrub(ScrubOptions::default()).await;
        assert_eq!(again.counts, BTreeMap::from([(FindingKind::Lost, 2)]));
    });
}

#[test]
fn comparing_lists_reads_only_what_the_lists_disagree_on() {
    run(async {
        let two = bench(2).await;
        let blobs: Vec<_> = (0..3).map(|number| blob(&format!("blob {number}"))).collect();
        for (_, bytes) in &blobs {
            two.store.put(bytes.clone()).await.unwrap();
        }
        held(&two.memories[0].contents).blobs.remove(&blobs[0].0);
        two.damage(1, &blobs[1].0);
        let report = two.store.scrub(ScrubOptions { read: false, ..ScrubOptions::default() }).await;
        let kinds: Vec<_> = report.counts.keys().copied().collect();
        assert_eq!((kinds, report.healed), (vec![FindingKind::Missing, FindingKind::Corrupt], 2));
        assert_eq!(report.read_bytes, 6 + 6 + 22);
        assert!(two.store.scrub(ScrubOptions::default()).await.is_whole());
    });
}

#[test]
fn a_scrub_goes_on_where_it_stopped_and_looks_at_everything_once() {
    run(async {
        let one = bench(1).await;
        for number in 0..50 {
            one.store.put(blob(&format!("blob {number}")).1).await.unwrap();
        }
        let (mut cursor, mut blobs, mut steps) = (ScrubCursor::default(), 0, 0);
        loop {
            let report = one
                .store
                .scrub(ScrubOptions {
                    from: cursor,
                    stop_after_bytes: NonZeroU64::new(40),
                    bytes_per_second: NonZeroU64::new(u64::MAX),
                    ..ScrubOptions::default()
                })
                .await;
            (blobs, steps) = (blobs + report.blobs, steps + 1);
            let Some(next) = report.next else { break };
            // As a database would keep it.
            cursor = next.to_string().parse().unwrap();
        }
        assert_eq!((blobs, steps), (50, 9));
    });
}

#[test]
fn a_scrub_says_which_facility_it_could_not_look_at_and_calls_nothing_there_missing() {
    run(async {
        let two = bench(2).await;
        let (hash, bytes) = blob("kept");
        two.store.put(bytes).await.unwrap();
        two.memories[1].set_away(true);
        two.damage(0, &hash);
        let report = two.store.scrub(ScrubOptions::default()).await;
        assert_eq!(report.away, [two.memories[1].id()]);
        assert_eq!(report.counts, BTreeMap::from([(FindingKind::Corrupt, 1)]));
        two.memories[1].set_away(false);
        assert!(two.store.scrub(ScrubOptions::default()).await.is_whole());
        assert_eq!(two.copies(&hash), 2);
    });
}

async fn open_on(disks: &[FaultDisk], roots_exist: bool) -> Store {
    let mut facilities = Vec::new();
    for disk in disks {
        let facility = if roots_exist {
            DirectoryFacility::open_on(disk.shared(), ROOT.into()).await
        } else {
            DirectoryFacility::create_on(disk.shared(), ROOT.into()).await
        };
        facilities.push(Arc::new(facility.unwrap()) as Arc<dyn Facility>);
    }
    Store::open(facilities, StoreOptions { recent_bytes: 0, ..StoreOptions::default() })
        .await
        .unwrap()
}

fn file_of(disk: &FaultDisk, hash: &BlobHash) -> Option<std::path::PathBuf> {
    let name = hash.to_string();
    disk.files(&format!("objects/{}/{}/{name}", &name[..2], &name[2..4])).pop()
}

#[test]
fn every_kind_of_damage_to_a_file_is_healed_by_reading_and_by_scrubbing() {
    let damages: [fn(&FaultDisk, &Path); 6] = [
        |disk, path| disk.damage(path, |bytes| bytes[0] ^= 1),
        |disk, path| disk.damage(path, |bytes| bytes.truncate(3)),
        |disk, path| disk.damage(path, Vec::clear),
        |disk, path| disk.damage(path, |bytes| bytes.push(0)),
        |disk, path| disk.lose(path),
        |disk, path| disk.fail(Act::Read, &path.to_string_lossy(), io::ErrorKind::Other, 1),
    ];
    run(async {
        for (number, damage) in damages.iter().enumerate() {
            for scrubs in [false, true] {
                let disks = [FaultDisk::default(), FaultDisk::default()];
                let store = open_on(&disks, false).await;
                let (hash, bytes) = blob("kept");
                store.put(bytes.clone()).await.unwrap();
                damage(&disks[0], &file_of(&disks[0], &hash).unwrap());
                if scrubs {
                    let report = store.scrub(ScrubOptions::default()).await;
                    assert_eq!((report.is_whole(), report.healed), (true, 1), "damage {number}");
                } else {
                    assert_eq!(store.get(&hash).await.unwrap(), bytes, "damage {number}");
                }
                // The other one goes, so this one has to be whole.
                disks[1].lose(&file_of(&disks[1], &hash).unwrap());
                assert_eq!(store.get(&hash).await.unwrap(), bytes, "damage {number}");
            }
        }
    });
}

#[test]
fn two_files_written_to_each_others_place_are_both_healed() {
    run(async {
        let disks = [FaultDisk::default(), FaultDisk::default()];
        let store = open_on(&disks, false).await;
        let ((one, one_bytes), (two, two_bytes)) = (blob("one"), blob("two"));
        store.put(one_bytes.clone()).await.unwrap();
        store.put(two_bytes.clone()).await.unwrap();
        disks[0].damage(&file_of(&disks[0], &one).unwrap(), |bytes| *bytes = two_bytes.to_vec());
        disks[0].damage(&file_of(&disks[0], &two).unwrap(), |bytes| *bytes = one_bytes.to_vec());
        let report = store.scrub(ScrubOptions::default()).await;
        assert_eq!(
            (report.counts, report.healed),
            (BTreeMap::from([(FindingKind::Corrupt, 2)]), 2)
        );
    });
}

/// One step of a random life of a store.
#[derive(Debug, Clone)]
enum Step {
    Put(u8),
    PutManyAtOnce(u8),
    Get(u8),
    Erase(u8),
    /// Damage the copy in one facility, if the other's is whole.
    Flip(usize, u8),
    Truncate(usize, u8),
    Lose(usize, u8),
    Unmount(usize),
    Mount,
    FailSync(usize),
    FailName(usize),
    RunFull(usize),
    MakeRoom,
    CatchUp,
    Scrub,
    /// Cut the power of both after so many changes, and let the next steps run into it.
    CutPower(u8),
    Restart(Option<u64>),
}

fn step() -> impl Strategy<Value = Step> {
    let (number, facility) = (0..12_u8, 0..2_usize);
    prop_oneof![
        6 => number.clone().prop_map(Step::Put),
        2 => number.clone().prop_map(Step::PutManyAtOnce),
        4 => number.clone().prop_map(Step::Get),
        2 => number.clone().prop_map(Step::Erase),
        1 => (facility.clone(), number.clone()).prop_map(|(f, n)| Step::Flip(f, n)),
        1 => (facility.clone(), number.clone()).prop_map(|(f, n)| Step::Truncate(f, n)),
        1 => (facility.clone(), number).prop_map(|(f, n)| Step::Lose(f, n)),
        1 => facility.clone().prop_map(Step::Unmount),
        2 => Just(Step::Mount),
        1 => facility.clone().prop_map(Step::FailSync),
        1 => facility.clone().prop_map(Step::FailName),
        1 => facility.prop_map(Step::RunFull),
        1 => Just(Step::MakeRoom),
        1 => Just(Step::CatchUp),
        1 => Just(Step::Scrub),
        1 => (1..40_u8).prop_map(Step::CutPower),
        2 => proptest::option::of(any::<u64>()).prop_map(Step::Restart),
    ]
}

/// What a blob of this number must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Nothing was acknowledged about it; it is whole or not there.
    Open,
    /// Its put was acknowledged.
    Kept,
    /// Its erasure was acknowledged.
    Gone,
    /// An erasure was asked for and not acknowledged: it is whole, or gone.
    Going,
}

struct Life {
    disks: [FaultDisk; 2],
    unmounted: Option<(usize, crate::testing::disk::Unmounted)>,
    store: Option<Store>,
    fates: BTreeMap<u8, Fate>,
}

impl Life {
    fn blob(number: u8) -> (BlobHash, Bytes) {
        blob(&format!("the life of number {number}, told at some length"))
    }

    fn fate(&self, number: u8) -> Fate {
        self.fates.get(&number).copied().unwrap_or(Fate::Open)
    }

    /// Damages one copy, unless it is the last whole one that is durable.
    fn damage(&self, facility: usize, number: u8, damage: impl FnOnce(&FaultDisk, &Path)) {
        let (hash, bytes) = Self::blob(number);
        let Some(path) = file_of(&self.disks[facility], &hash) else { return };
        // A copy that a power cut would take is not one to rely on.
        let other = file_of(&self.disks[1 - facility], &hash);
        let other = other.and_then(|path| self.disks[1 - facility].durable_bytes(&path));
        if other.is_some_and(|found| found == bytes) {
            damage(&self.disks[facility], &path);
        }
    }

    fn mount(&mut self) {
        if let Some((facility, tree)) = self.unmounted.take() {
            self.disks[facility].mount(Path::new(ROOT), &tree);
        }
    }

    async fn restart(&mut self, loss: Loss) {
        self.mount();
        // No thread of the life before may reach into the one after, as none would.
        if let Some(store) = self.store.take() {
            store.settle().await;
        }
        self.disks.iter().for_each(|disk| disk.restart(loss));
        self.store = Some(open_on(&self.disks, true).await);
    }

    fn put_ended(&mut self, number: u8, outcome: &Result<BlobHash, StoreError>) {
        let fate = self.fate(number);
        match outcome {
            Ok(_) => {
                // An erasure that nobody acknowledged may have left no trace after a restart.
                assert_ne!(fate, Fate::Gone, "{number} was put though it was erased");
                self.fates.insert(number, Fate::Kept);
            }
            Err(StoreError::Erased { .. }) => {
                assert!(
                    matches!(fate, Fate::Gone | Fate::Going),
                    "{number} was refused though it was {fate:?}"
                );
            }
            Err(_) => {}
        }
    }

    async fn take(&mut self, step: &Step) {
        let store = self.store.clone().unwrap();
        match *step {
            Step::Put(number) => {
                let outcome = store.put(Self::blob(number).1).await;
                self.put_ended(number, &outcome);
            }
            Step::PutManyAtOnce(from) => {
                let numbers: Vec<u8> = (from..12).collect();
                let puts = numbers.iter().map(|number| store.put(Self::blob(*number).1));
                let outcomes = futures_util::future::join_all(puts).await;
                for (number, outcome) in numbers.into_iter().zip(&outcomes) {
                    self.put_ended(number, outcome);
                }
            }
            Step::Get(number) => {
                let (hash, bytes) = Self::blob(number);
                match store.get(&hash).await {
                    Ok(found) => {
                        assert_eq!(found, bytes);
                        assert_ne!(self.fate(number), Fate::Gone, "{number} came back");
                    }
                    Err(StoreError::NotFound { .. }) => {
                        assert_ne!(self.fate(number), Fate::Kept, "{number} is not found");
                    }
                    Err(StoreError::Erased { .. }) => {
                        assert!(matches!(self.fate(number), Fate::Gone | Fate::Going));
                    }
                    // Possible only while something is away, full, or off.
                    Err(StoreError::Unavailable { .. }) => {}
                    Err(other) => panic!("{number}: {other}"),
                }
            }
            Step::Erase(number) => {
                let outcome = store.erase(&[Self::blob(number).0]).await;
                let fate = if outcome.is_ok() || self.fate(number) == Fate::Gone {
                    Fate::Gone
                } else {
                    Fate::Going
                };
                self.fates.insert(number, fate);
            }
            Step::Flip(facility, number) => self.damage(facility, number, |disk, path| {
                disk.damage(path, |bytes| bytes[7] ^= 0x10);
            }),
            Step::Truncate(facility, number) => self.damage(facility, number, |disk, path| {
                disk.damage(path, |bytes| bytes.truncate(9));
            }),
            Step::Lose(facility, number) => self.damage(facility, number, FaultDisk::lose),
            Step::Unmount(facility) => {
                // A disk that is pulled out takes along only what it had; the model keeps unsynced names out of this.
                store.settle().await;
                if self.unmounted.is_none() && !self.disks[0].is_off() {
                    self.unmounted =
                        Some((facility, self.disks[facility].unmount(Path::new(ROOT))));
                }
            }
            Step::Mount => self.mount(),
            Step::FailSync(facility) => {
                self.disks[facility].fail(Act::SyncFile, "", io::ErrorKind::Other, 1);
            }
            Step::FailName(facility) => {
                self.disks[facility].fail(Act::Rename, "", io::ErrorKind::Other, 1);
            }
            Step::RunFull(facility) => self.disks[facility].set_free_bytes(Some(1)),
            Step::MakeRoom => self.disks.iter().for_each(|disk| disk.set_free_bytes(None)),
            Step::CatchUp => {
                store.catch_up().await;
            }
            Step::Scrub => {
                store.scrub(ScrubOptions::default()).await;
            }
            Step::CutPower(after) => {
                self.disks.iter().for_each(|disk| disk.cut_power_at(u64::from(after)));
            }
            Step::Restart(seed) => {
                drop(store);
                self.restart(seed.map_or(Loss::Everything, Loss::Some)).await;
            }
        }
    }

    /// When all is back, everything kept is in both facilities, whole, and nothing gone is anywhere.
    async fn end(mut self) {
        self.disks.iter().for_each(|disk| disk.set_free_bytes(None));
        self.restart(Loss::Nothing).await;
        let store = self.store.take().unwrap();
        store.scrub(ScrubOptions::default()).await;
        let second = store.scrub(ScrubOptions::default()).await;
        assert!(second.is_whole() && second.counts.is_empty(), "{second:?}");
        for (number, fate) in self.fates {
            let (hash, bytes) = Self::blob(number);
            match fate {
                Fate::Kept => {
                    assert_eq!(store.get(&hash).await.unwrap(), bytes, "{number}");
                    assert!(self.disks.iter().all(|disk| file_of(disk, &hash).is_some()));
                }
                Fate::Gone => {
                    assert!(store.get(&hash).await.is_err());
                    for disk in &self.disks {
                        assert!(disk.files(&hash.to_string()).is_empty(), "{number}");
                    }
                }
                Fate::Open | Fate::Going => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_what_was_kept_is_kept_and_what_was_erased_is_gone(
        steps in proptest::collection::vec(step(), 1..60)
    ) {
        run(async {
            let disks = [FaultDisk::default(), FaultDisk::default()];
            let store = open_on(&disks, false).await;
            let mut life =
                Life { disks, unmounted: None, store: Some(store), fates: BTreeMap::new() };
            for step in &steps {
                life.take(step).await;
            }
            life.end().await;
        });
    }
}

#[test]
fn a_facility_that_is_slow_is_not_waited_for() {
    run(async {
        let two = bench(2).await;
        let (hash, bytes) = blob("kept");
        two.store.put(bytes.clone()).await.unwrap();
        let slow = two.memories[0].reads.write().await;
        assert_eq!(two.store.get(&hash).await.unwrap(), bytes);
        // It is asked last from now on, so the next read does not even wait a moment.
        assert_eq!(two.store.get(&hash).await.unwrap(), bytes);
        drop(slow);
        // And what it holds still counts where the other has nothing.
        held(&two.memories[1].contents).blobs.remove(&hash);
        assert_eq!(two.store.get(&hash).await.unwrap(), bytes);
        assert_eq!(two.copies(&hash), 2);
    });
}

#[test]
fn a_facility_that_is_added_gets_what_was_there_and_learns_what_is_erased() {
    run(async {
        let one = bench(1).await;
        let ((old, old_bytes), (gone, gone_bytes)) = (blob("old"), blob("gone"));
        one.store.put(old_bytes).await.unwrap();
        one.store.put(gone_bytes.clone()).await.unwrap();
        one.store.erase(&[gone]).await.unwrap();
        let added = Arc::new(MemoryFacility::new());
        held(&added.contents).blobs.insert(gone, gone_bytes);
        one.store.add(Arc::clone(&added) as _).await.unwrap();
        assert!(one.store.add(Arc::clone(&added) as _).await.is_err());
        assert_eq!(one.store.write_quorum(), 2);
        assert!(!held(&added.contents).blobs.contains_key(&gone));
        let new = one.store.put(Bytes::from_static(b"new")).await.unwrap();
        assert!(held(&added.contents).blobs.contains_key(&new));
        let lists = ScrubOptions { read: false, ..ScrubOptions::default() };
        let report = one.store.scrub(lists).await;
        assert_eq!(
            (report.counts, report.healed),
            (BTreeMap::from([(FindingKind::Missing, 1)]), 1)
        );
        assert!(held(&added.contents).blobs.contains_key(&old));
    });
}

#[test]
fn a_facility_leaves_when_the_others_hold_whole_copies_of_all_it_holds() {
    run(async {
        let two = bench(2).await;
        let ids = [two.memories[0].id(), two.memories[1].id()];
        let (hash, bytes) = blob("kept");
        let (lacking, lacking_bytes) = blob("lacking in the other");
        two.store.put(bytes.clone()).await.unwrap();
        two.store.put(lacking_bytes.clone()).await.unwrap();
        // The other one's copies: one is bad, one is gone.
        two.damage(1, &hash);
        held(&two.memories[1].contents).blobs.remove(&lacking);
        // While the other is away nothing leaves, and nothing new is written to the one that shall.
        two.memories[1].set_away(true);
        let drained = two.store.drain(ids[0]).await.unwrap();
        assert_eq!((drained.blobs, drained.left, drained.has_left), (2, 2, false));
        assert_eq!(two.store.status().await[0].state, FacilityState::Draining);
        assert!(two.store.put(Bytes::from_static(b"new")).await.is_err());
        two.memories[1].set_away(false);
        let new = two.store.put(Bytes::from_static(b"new")).await.unwrap();
        assert!(!held(&two.memories[0].contents).blobs.contains_key(&new));
        assert!(
            two.store
                .scrub(ScrubOptions { read: false, ..ScrubOptions::default() })
                .await
                .is_whole()
        );
        two.damage(1, &hash);
        held(&two.memories[1].contents).blobs.remove(&lacking);
        let drained = two.store.drain(ids[0]).await.unwrap();
        assert_eq!((drained.copied, drained.left, drained.has_left), (2, 0, true));
        assert_eq!(two.store.status().await.len(), 1);
        two.memories[0].set_away(true);
        assert_eq!(two.store.get(&hash).await.unwrap(), bytes);
        assert_eq!(two.store.get(&lacking).await.unwrap(), lacking_bytes);
        // The last one stays, and nobody can drain what is not there.
        for id in ids {
            assert!(two.store.drain(id).await.is_err());
            assert!(two.store.give_up(id).is_err());
        }
    });
}

#[test]
fn a_facility_that_is_lost_is_given_up_and_what_only_it_held_is_then_not_found() {
    run(async {
        let two = bench(2).await;
        let (hash, bytes) = blob("only here");
        held(&two.memories[0].contents).blobs.insert(hash, bytes);
        two.memories[0].set_away(true);
        assert!(matches!(two.store.get(&hash).await, Err(StoreError::Unavailable { .. })));
        assert!(matches!(
            two.store.drain(two.memories[0].id()).await,
            Err(StoreError::NotDrained { .. })
        ));
        two.store.give_up(two.memories[0].id()).unwrap();
        assert!(matches!(two.store.get(&hash).await, Err(StoreError::NotFound { .. })));
        assert_eq!(two.store.write_quorum(), 1);
    });
}

#[test]
fn a_blob_that_nobody_was_told_of_goes_and_can_be_put_again() {
    run(async {
        let two = bench(2).await;
        let (orphan, bytes) = blob("orphan");
        two.store.put(bytes.clone()).await.unwrap();
        assert_eq!(two.store.names(orphan.shard()).await.unwrap(), [orphan]);
        let sweep = async |hashes: &[BlobHash]| {
            two.store.sweep(hashes, async |hashes| Ok::<_, ()>(hashes)).await.unwrap()
        };
        // One that has become known meanwhile stays, and so does one that is about to.
        assert_eq!(two.store.sweep(&[orphan], async |_| Ok::<_, ()>(vec![])).await, Ok(0));
        let about_to_be_known = two.store.hold(orphan).await;
        assert_eq!(sweep(&[orphan]).await, 0);
        drop(about_to_be_known);
        assert_eq!(two.copies(&orphan), 2);
        assert_eq!(sweep(&[orphan]).await, 1);
        assert_eq!(two.copies(&orphan), 0);
        two.store.put(bytes).await.unwrap();
        // One that is being put is not taken away.
        let gate = two.memories[1].gate.write().await;
        let (coming, coming_bytes) = blob("coming");
        let put = tokio::spawn({
            let store = two.store.clone();
            async move { store.put(coming_bytes).await }
        });
        while two.copies(&coming) == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(sweep(&[coming]).await, 0);
        drop(gate);
        put.await.unwrap().unwrap();
        assert_eq!(two.copies(&coming), 2);
    });
}

/// One flipped bit, anywhere in any copy, a thousand times: a read finds and heals it, and so does a scrub. Where all copies
/// are bad, the blob is named and no byte of it is served.
#[test]
fn one_flipped_bit_anywhere_is_found_by_a_read_and_by_a_scrub_and_healed() {
    let seed = std::env::var("CHORION_FAULTS_SEED").ok().and_then(|text| text.parse().ok());
    let mut dice = crate::testing::disk::Dice(seed.unwrap_or(0x0b17_0f07));
    run(async {
        let disks = [FaultDisk::default(), FaultDisk::default(), FaultDisk::default()];
        let store = open_on(&disks, false).await;
        let mut blobs = Vec::new();
        for number in 0..40_u64 {
            let bytes: Vec<u8> =
                (0..1 + dice.roll() % 5_000).map(|_| dice.roll().to_le_bytes()[0]).collect();
            let bytes = Bytes::from([number.to_le_bytes().as_slice(), &bytes].concat());
            blobs.push((store.put(bytes.clone()).await.unwrap(), bytes));
        }
        store.settle().await;
        let flip = |disk: &FaultDisk, hash: &BlobHash, bit: u64| {
            disk.damage(&file_of(disk, hash).unwrap(), |bytes| {
                let bit = usize::try_from(bit % (8 * bytes.len() as u64)).unwrap();
                bytes[bit / 8] ^= 1 << (bit % 8);
            });
        };
        let is_whole = |(hash, bytes): &(BlobHash, Bytes)| {
            let durable = |disk: &FaultDisk| disk.durable_bytes(&file_of(disk, hash).unwrap());
            disks.iter().all(|disk| durable(disk).as_deref() == Some(&bytes[..]))
        };
        for trial in 0..500 {
            let one = &blobs[usize::try_from(dice.roll() % 40).unwrap()];
            let disk = usize::try_from(dice.roll() % 2).unwrap();
            flip(&disks[disk], &one.0, dice.roll());
            // A read asks the facilities in turn, so it meets the bad copy when those before it have none.
            for before in &disks[..disk] {
                before.lose(&file_of(before, &one.0).unwrap());
            }
            assert_eq!(store.get(&one.0).await.unwrap(), one.1, "trial {trial}");
            assert!(is_whole(one), "trial {trial}");
        }
        for round in 0..20 {
            // One bit each of 25 blobs, in whichever facility.
            let first = usize::try_from(dice.roll() % 40).unwrap();
            let flipped: Vec<_> = (0..25).map(|n| &blobs[(first + n) % 40]).collect();
            for (hash, _) in &flipped {
                flip(&disks[usize::try_from(dice.roll() % 3).unwrap()], hash, dice.roll());
            }
            let report = store.scrub(ScrubOptions::default()).await;
            let found = (report.counts, report.healed);
            assert_eq!(found, (BTreeMap::from([(FindingKind::Corrupt, 25)]), 25), "round {round}");
            assert!(flipped.into_iter().all(is_whole), "round {round}");
        }
        for (hash, bytes) in &blobs[..10] {
            disks.iter().for_each(|disk| flip(disk, hash, dice.roll()));
            let refused = store.get(hash).await;
            assert!(matches!(refused, Err(StoreError::Damaged { hash: told }) if told == *hash));
            let report = store.scrub(ScrubOptions::default()).await;
            assert_eq!(report.counts, BTreeMap::from([(FindingKind::Lost, 3)]));
            assert!(report.findings.iter().all(|finding| finding.hash == Some(*hash)));
            // One whole copy comes back, from a backup for example, and heals the others.
            let path = file_of(&disks[1], hash).unwrap();
            disks[1].damage(&path, |found| *found = bytes.to_vec());
            assert_eq!(store.scrub(ScrubOptions::default()).await.healed, 2);
        }
    });
}
