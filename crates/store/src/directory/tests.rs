//! The directory on real disks and on one that fails.

use std::{io, path::Path, sync::Arc};

use bytes::Bytes;
use futures_util::{FutureExt, future::join_all};

use super::DirectoryFacility;
use crate::{
    BlobHash, Facility, FacilityError, FacilityState,
    testing::{
        conformance::{blob, conformance},
        disk::{Act, FaultDisk, Loss},
        memory::MemoryFacility,
        run,
    },
};

const ROOT: &str = "/facility";

async fn create(disk: &FaultDisk) -> DirectoryFacility {
    DirectoryFacility::create_on(disk.shared(), ROOT.into()).await.unwrap()
}

async fn open(disk: &FaultDisk) -> Result<DirectoryFacility, FacilityError> {
    DirectoryFacility::open_on(disk.shared(), ROOT.into()).await
}

fn object(disk: &FaultDisk, hash: &BlobHash) -> std::path::PathBuf {
    let found = disk.files(&format!("objects/{}", &hash.to_string()[..2]));
    found.into_iter().find(|path| path.to_string_lossy().contains(&hash.to_string())).unwrap()
}

#[test]
fn a_directory_is_a_facility() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("facility");
    run(async {
        drop(DirectoryFacility::create(&root).await.unwrap());
        conformance(&|| {
            let root = root.clone();
            async move { Arc::new(DirectoryFacility::open(root).await.unwrap()) as Arc<dyn Facility> }
                .boxed()
        })
        .await;
    });
}

#[test]
fn a_directory_on_the_disk_that_fails_is_a_facility() {
    let disk = FaultDisk::default();
    run(async {
        drop(create(&disk).await);
        conformance(&|| {
            let disk = disk.clone();
            async move { Arc::new(open(&disk).await.unwrap()) as Arc<dyn Facility> }.boxed()
        })
        .await;
    });
}

#[test]
fn memory_is_a_facility() {
    let memory = Arc::new(MemoryFacility::new());
    run(conformance(&|| {
        let memory = Arc::clone(&memory);
        async move { memory as Arc<dyn Facility> }.boxed()
    }));
}

#[test]
fn creating_and_opening_are_different_acts() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let (empty, other) = (dir.path().join("empty"), dir.path().join("other"));
        std::fs::create_dir(&empty).unwrap();
        for root in [&empty, &other] {
            let refused = DirectoryFacility::open(root).await;
            assert!(matches!(refused, Err(FacilityError::Missing { .. })));
        }
        assert!(std::fs::read_dir(&empty).unwrap().next().is_none() && !other.exists());
        std::fs::write(empty.join("letter"), "somebody's").unwrap();
        assert!(DirectoryFacility::create(&empty).await.is_err());
        let facility = DirectoryFacility::create(&other).await.unwrap();
        assert!(DirectoryFacility::create(&other).await.is_err());
        // One process at a time.
        let refused = DirectoryFacility::open(&other).await.err().unwrap().to_string();
        assert!(refused.ends_with("another process has it open"), "{refused}");
        drop(facility);
        DirectoryFacility::open(&other).await.unwrap();
    });
}

#[test]
fn an_emptied_directory_and_another_facility_are_noticed_and_left_alone() {
    let disk = FaultDisk::default();
    run(async {
        let facility = create(&disk).await;
        let (hash, bytes) = blob("kept");
        facility.put(hash, bytes.clone()).await.unwrap();
        let ours = disk.unmount(Path::new(ROOT));

        let check_away = async |facility: &DirectoryFacility| {
            let missing = |refused: FacilityError| matches!(refused, FacilityError::Missing { .. });
            let (other, other_bytes) = blob("other");
            assert!(missing(facility.put(other, other_bytes).await.unwrap_err()));
            assert!(missing(facility.get(&hash).await.unwrap_err()));
            assert!(missing(facility.contains(&hash).await.unwrap_err()));
            assert!(missing(facility.list(0).await.unwrap_err()));
            assert!(missing(facility.erase(&[hash]).await.unwrap_err()));
            assert_eq!(facility.status().await.state, FacilityState::Missing);
        };
        check_away(&facility).await;
        assert!(disk.files(ROOT).is_empty());

        let stranger = DirectoryFacility::create_on(disk.shared(), ROOT.into()).await.unwrap();
        drop(stranger);
        check_away(&facility).await;
        assert!(disk.files(&format!("{ROOT}/objects")).is_empty());

        // And when it is back, it is back.
        disk.mount(Path::new(ROOT), &ours);
        assert_eq!(facility.get(&hash).await.unwrap(), Some(bytes));
        assert_eq!(facility.status().await.state, FacilityState::Healthy);
    });
}

#[test]
fn a_disk_that_cannot_be_read_is_never_not_found() {
    let disk = FaultDisk::default();
    run(async {
        let facility = create(&disk).await;
        let (hash, bytes) = blob("kept");
        facility.put(hash, bytes).await.unwrap();
        for (act, path) in [(Act::Read, "objects"), (Act::Read, "facility.json")] {
            disk.fail(act, path, io::ErrorKind::Other, 1);
            if path == "facility.json" {
                disk.lose(&object(&disk, &hash));
            }
            assert!(matches!(facility.get(&hash).await, Err(FacilityError::Io { .. })));
        }
        // The writer counts shards while nothing waits, and would use up a fault that happens once.
        disk.fail(Act::Look, "objects", io::ErrorKind::Other, u32::MAX);
        assert!(facility.contains(&hash).await.is_err());
        disk.heal();
        disk.fail(Act::List, "objects", io::ErrorKind::Other, u32::MAX);
        assert!(facility.list(hash.shard()).await.is_err());
        disk.heal();
        assert_eq!(facility.get(&hash).await.unwrap(), None);
    });
}

#[test]
fn what_is_acknowledged_was_synced_and_concurrent_puts_share_syncs() {
    let many: Vec<_> = (0..300).map(|number| blob(&format!("number {number}"))).collect();
    let dir_syncs_of = |at_once: bool| {
        let disk = FaultDisk::default();
        let dir_syncs = run(async {
            let facility = create(&disk).await;
            let (_, before) = disk.syncs();
            if at_once {
                let puts = many.iter().map(|(hash, bytes)| facility.put(*hash, bytes.clone()));
                assert!(join_all(puts).await.iter().all(Result::is_ok));
            } else {
                for (hash, bytes) in &many {
                    facility.put(*hash, bytes.clone()).await.unwrap();
                }
            }
            disk.syncs().1 - before
        });
        // The strictest disk there is: nothing survives that was not synced.
        disk.restart(Loss::Everything);
        run(async {
            let facility = open(&disk).await.unwrap();
            for (hash, bytes) in &many {
                assert_eq!(facility.get(hash).await.unwrap().as_ref(), Some(bytes));
            }
        });
        dir_syncs
    };
    assert!(dir_syncs_of(true) < dir_syncs_of(false));
}

#[test]
fn a_put_whose_sync_fails_is_not_acknowledged_and_can_be_put_again() {
    let (hash, bytes) = blob("kept");
    for (act, path) in [
        (Act::Create, "tmp"),
        (Act::Append, "tmp"),
        (Act::SyncFile, "tmp"),
        (Act::CreateDir, "objects"),
        (Act::Rename, "objects"),
        (Act::SyncDir, "objects"),
    ] {
        let disk = FaultDisk::default();
        run(async {
            let facility = create(&disk).await;
            disk.fail(act, path, io::ErrorKind::Other, 2);
            assert!(facility.put(hash, bytes.clone()).await.is_err(), "{act:?}");
            disk.heal();
            facility.put(hash, bytes.clone()).await.unwrap();
            drop(facility);
            disk.restart(Loss::Everything);
            let facility = open(&disk).await.unwrap();
            assert_eq!(facility.get(&hash).await.unwrap(), Some(bytes.clone()), "{act:?}");
        });
        assert!(disk.files("tmp/").is_empty());
    }
}

#[test]
fn a_full_or_read_only_disk_says_so_and_a_full_one_can_still_be_deleted_from() {
    let disk = FaultDisk::default();
    run(async {
        let facility = create(&disk).await;
        let ((one, one_bytes), (two, two_bytes)) = (blob("one"), blob("two"));
        facility.put(one, one_bytes).await.unwrap();
        disk.set_free_bytes(Some(1_000_000));
        let refused = facility.put(two, two_bytes.clone()).await;
        assert!(matches!(refused, Err(FacilityError::Full { .. })));
        assert_eq!(facility.status().await.state, FacilityState::Full);
        facility.erase(&[one]).await.unwrap();
        disk.set_free_bytes(None);
        for act in [Act::Append, Act::SyncFile] {
            disk.fail(act, "tmp", io::ErrorKind::StorageFull, 1);
            let refused = facility.put(two, two_bytes.clone()).await;
            assert!(matches!(refused, Err(FacilityError::Full { .. })));
        }
        disk.set_read_only(true);
        let refused = facility.put(two, two_bytes).await;
        assert!(matches!(refused, Err(FacilityError::ReadOnly { .. })));
        assert_eq!(facility.status().await.state, FacilityState::ReadOnly);
        assert_eq!(facility.get(&two).await.unwrap(), None);
    });
}

#[test]
fn what_lies_in_the_wrong_place_is_listed_as_a_stray() {
    let disk = FaultDisk::default();
    run(async {
        let facility = create(&disk).await;
        let (hash, bytes) = blob("kept");
        facility.put(hash, bytes.clone()).await.unwrap();
        let wrong = format!("{ROOT}/objects/{:02x}/00/{hash}", hash.shard() ^ 1);
        disk.misplace(&object(&disk, &hash), Path::new(&wrong));
        assert!(facility.list(hash.shard()).await.unwrap().blobs.is_empty());
        let listing = facility.list(hash.shard() ^ 1).await.unwrap();
        let [stray] = &listing.strays[..] else { panic!("{listing:?}") };
        assert_eq!(stray.hash, Some(hash));
        assert_eq!(facility.read_stray(stray).await.unwrap(), Some(bytes));
        facility.quarantine_stray(stray).await.unwrap();
        assert!(facility.list(hash.shard() ^ 1).await.unwrap().strays.is_empty());
        assert_eq!(facility.status().await.quarantined, 1);
        // Erasing reaches quarantine.
        facility.erase(&[hash]).await.unwrap();
        assert!(disk.files("quarantine/").is_empty());
    });
}

#[test]
fn a_damaged_tombstone_gives_every_name_that_is_left() {
    let disk = FaultDisk::default();
    run(async {
        let facility = create(&disk).await;
        let ((one, _), (two, two_bytes)) = (blob("one"), blob("two"));
        facility.erase(&[one, two]).await.unwrap();
        drop(facility);
        let tombstone = disk.files("tombstones/").remove(0);
        let first = one.min(two);
        disk.damage(&tombstone, |bytes| {
            let at = bytes.windows(32).position(|name| name == first.as_bytes()).unwrap();
            bytes[at] ^= 1;
        });
        let facility = open(&disk).await.unwrap();
        let second = one.max(two);
        let refused = facility.put(second, two_bytes).await;
        assert!(matches!(refused, Err(FacilityError::Erased { .. })));
    });
}

#[test]
fn an_erasure_that_failed_halfway_lets_no_put_be_acknowledged_that_it_could_undo() {
    let disk = FaultDisk::default();
    run(async {
        let facility = create(&disk).await;
        let (hash, bytes) = blob("doubtful");
        disk.fail(Act::SyncDir, "tombstones", io::ErrorKind::Other, 1);
        assert!(facility.erase(&[hash]).await.is_err());
        assert!(facility.put(hash, bytes).await.is_err());
        assert_eq!(facility.erased_count().await.unwrap(), 0);
        // Asked again it is carried out.
        facility.erase(&[hash]).await.unwrap();
        drop(facility);
        disk.restart(Loss::Everything);
        assert_eq!(open(&disk).await.unwrap().erased().await.unwrap(), [hash]);
    });
}

/// Puts, an erasure, a quarantine and a put again; what was acknowledged before the power went is what must hold after.
async fn story(
    facility: &DirectoryFacility,
    kept: &mut Vec<(BlobHash, Bytes)>,
    gone: &mut Vec<BlobHash>,
) {
    let blobs: Vec<_> = (0..4).map(|number| blob(&format!("power {number}"))).collect();
    for (hash, bytes) in &blobs {
        if facility.put(*hash, bytes.clone()).await.is_err() {
            return;
        }
        kept.push((*hash, bytes.clone()));
    }
    let (erased, _) = kept.remove(1);
    if facility.erase(&[erased]).await.is_err() {
        return;
    }
    gone.push(erased);
    let (again, bytes) = kept.remove(0);
    if facility.quarantine(&again).await.is_ok() && facility.put(again, bytes.clone()).await.is_ok()
    {
        kept.push((again, bytes));
    }
}

#[test]
fn a_power_cut_at_any_step_takes_nothing_back_that_was_acknowledged() {
    let changes = {
        let disk = FaultDisk::default();
        run(async {
            let facility = create(&disk).await;
            let before = disk.changes();
            story(&facility, &mut Vec::new(), &mut Vec::new()).await;
            disk.changes() - before
        })
    };
    assert!(changes > 30);
    for cut in 1..=changes {
        for loss in [Loss::Everything, Loss::Some(cut), Loss::Some(cut + 7_919), Loss::Nothing] {
            let disk = FaultDisk::default();
            let (mut kept, mut gone) = (Vec::new(), Vec::new());
            run(async {
                let facility = create(&disk).await;
                disk.cut_power_at(cut);
                story(&facility, &mut kept, &mut gone).await;
                assert!(disk.is_off());
                drop(facility);
                disk.restart(loss);
                let facility = open(&disk).await.unwrap();
                assert!(disk.files("tmp/").is_empty());
                for (hash, bytes) in &kept {
                    let found = facility.get(hash).await.unwrap();
                    assert_eq!(found.as_ref(), Some(bytes), "cut {cut}, {loss:?}");
                }
                for hash in &gone {
                    assert_eq!(facility.get(hash).await.unwrap(), None, "cut {cut}, {loss:?}");
                }
                // Whatever was not acknowledged is whole or not there.
                for shard in 0..=u8::MAX {
                    for listed in facility.list(shard).await.unwrap().blobs {
                        let bytes = facility.get(&listed.hash).await.unwrap().unwrap();
                        assert!(listed.hash.names(&bytes), "cut {cut}, {loss:?}");
                    }
                }
            });
        }
    }
}

#[test]
fn a_create_that_was_interrupted_can_be_made_again() {
    for cut in 1..=12 {
        let disk = FaultDisk::default();
        run(async {
            disk.cut_power_at(cut);
            let made = DirectoryFacility::create_on(disk.shared(), ROOT.into()).await;
            drop(made);
            disk.restart(Loss::Some(cut));
            if open(&disk).await.is_err() {
                create(&disk).await;
            }
        });
    }
}
