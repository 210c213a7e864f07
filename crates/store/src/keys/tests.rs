//! The key store on disks that fail, and its two real directories.

use std::{collections::BTreeMap, io, path::Path};

use futures_util::future::join_all;
use proptest::prelude::*;

use data_encoding::HEXLOWER;

use super::{DatasetId, KeptKey, KeyPlace, KeyStore, KeyStoreError, ObjectKeyId};
use crate::blob::BlobHash;
use crate::testing::{
    disk::{Act, Dice, FaultDisk, Loss},
    run,
};

const DATASET: DatasetId = [0xd5; 16];

fn object(number: u8) -> ObjectKeyId {
    [number; 16]
}

/// Bytes that are found on a disk only if this key was written there.
fn key(number: u64) -> [u8; 60] {
    let mut dice = Dice(number ^ 0x5eed);
    let mut key = [0; 60];
    key.fill_with(|| dice.roll().to_le_bytes()[0]);
    key
}

/// Both places on one machine, so that one power cut takes both.
async fn create(disk: &FaultDisk) -> Result<KeyStore, KeyStoreError> {
    KeyStore::create_on([(disk.shared(), "/a".into()), (disk.shared(), "/b".into())]).await
}

async fn open(disk: &FaultDisk) -> Result<KeyStore, KeyStoreError> {
    KeyStore::open_on([(disk.shared(), "/a".into()), (disk.shared(), "/b".into())]).await
}

fn files(disk: &FaultDisk) -> [Vec<u8>; 2] {
    ["/a/datasets", "/b/datasets"].map(|place| {
        let mut bytes = Vec::new();
        disk.damage(&disk.files(place)[0], |found| bytes.clone_from(found));
        bytes
    })
}

fn is_destroyed<T>(outcome: Result<T, KeyStoreError>) -> bool {
    matches!(outcome, Err(KeyStoreError::Destroyed { .. }))
}

#[test]
fn what_is_put_is_read_also_after_a_closing() {
    let dir = tempfile::tempdir().unwrap();
    let places = [dir.path().join("a"), dir.path().join("b")];
    run(async {
        let keys = KeyStore::create(places.clone()).await.unwrap();
        keys.put_dataset_key(DATASET, 1, vec![1; 1_168]).await.unwrap();
        keys.put_dataset_key(DATASET, 7, vec![7; 60]).await.unwrap();
        let puts = (0..200).map(|n| keys.put_wrapped_key(DATASET, object(n), key(n.into())));
        assert!(join_all(puts).await.iter().all(Result::is_ok));
        keys.put_wrapped_keys([9; 16], &[(object(1), key(1)), (object(2), key(2))]).await.unwrap();
        for keys in [keys.clone(), {
            drop(keys);
            KeyStore::open(places.clone()).await.unwrap()
        }] {
            let found = keys.wrapped_keys(DATASET).await.unwrap();
            assert_eq!(found.dataset_keys.keys().copied().collect::<Vec<_>>(), [1, 7]);
            assert_eq!(found.objects.len(), 200);
            assert_eq!(keys.dataset_key(DATASET, 1).await.unwrap(), [1; 1_168]);
            assert_eq!(keys.wrapped_key(DATASET, object(9)).await.unwrap(), key(9));
            assert_eq!(keys.datasets().await.unwrap(), [[9; 16], DATASET]);
            let no_key = keys.wrapped_key(DATASET, object(201)).await;
            assert!(matches!(no_key, Err(KeyStoreError::NoKey { .. })));
            let no_dataset = keys.wrapped_keys([3; 16]).await;
            assert!(matches!(no_dataset, Err(KeyStoreError::NoDataset { .. })));
        }
    });
    let read = |place: &Path| {
        let mut files: Vec<_> =
            std::fs::read_dir(place.join("datasets")).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        files.into_iter().map(|path| std::fs::read(path).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(read(&places[0]), read(&places[1]));
}

#[test]
fn puts_that_wait_together_share_a_sync() {
    let disk = FaultDisk::default();
    run(async {
        let keys = create(&disk).await.unwrap();
        keys.put_dataset_key(DATASET, 1, vec![1; 60]).await.unwrap();
        let (before, _) = disk.syncs();
        let puts = (0..250).map(|n| keys.put_wrapped_key(DATASET, object(n), key(n.into())));
        assert!(join_all(puts).await.iter().all(Result::is_ok));
        let (after, _) = disk.syncs();
        // On one thread every put waits before the writer is first woken, or joins one of very few rounds.
        assert!(after - before < 2 * 250 / 4, "{}", after - before);
        disk.restart(Loss::Everything);
    });
    run(async {
        let keys = open(&disk).await.unwrap();
        assert_eq!(keys.wrapped_keys(DATASET).await.unwrap().objects.len(), 250);
    });
}

#[test]
fn a_put_that_one_place_does_not_sync_is_not_acknowledged_and_can_be_put_again() {
    for (act, path) in [
        (Act::Append, "/b/datasets"),
        (Act::SyncFile, "/b/datasets"),
        (Act::Open, "/a/datasets"),
        (Act::SyncFile, "/a/datasets"),
    ] {
        let disk = FaultDisk::default();
        run(async {
            let keys = create(&disk).await.unwrap();
            keys.put_wrapped_key(DATASET, object(1), key(1)).await.unwrap();
            disk.fail(act, path, io::ErrorKind::Other, 1);
            assert!(keys.put_wrapped_key(DATASET, object(2), key(2)).await.is_err(), "{act:?}");
            keys.put_wrapped_key(DATASET, object(3), key(3)).await.unwrap();
            keys.put_wrapped_key(DATASET, object(2), key(2)).await.unwrap();
            drop(keys);
            disk.restart(Loss::Everything);
            let keys = open(&disk).await.unwrap();
            assert_eq!(keys.wrapped_keys(DATASET).await.unwrap().objects.len(), 3, "{act:?}");
            let [one, other] = files(&disk);
            assert_eq!(one, other);
        });
    }
}

#[test]
fn a_torn_end_is_cut_and_any_damage_in_one_place_is_healed_from_the_other() {
    let damages: [fn(&mut Vec<u8>); 7] = [
        |file| file.truncate(file.len() - 1),
        |file| file.truncate(50),
        Vec::clear,
        |file| file.extend([0; 70]),
        |file| file[3] ^= 1,
        |file| file[60] ^= 1,
        |file| file[41] ^= 0x40,
    ];
    for (number, damage) in damages.into_iter().enumerate() {
        for place in ["/a/datasets", "/b/datasets"] {
            for reopens in [true, false] {
                let disk = FaultDisk::default();
                run(async {
                    let mut keys = create(&disk).await.unwrap();
                    for n in 0..5 {
                        keys.put_wrapped_key(DATASET, object(n), key(n.into())).await.unwrap();
                    }
                    let [whole, _] = files(&disk);
                    disk.damage(&disk.files(place)[0], damage);
                    if reopens {
                        drop(keys);
                        keys = open(&disk).await.unwrap();
                    } else {
                        let report = keys.check().await.unwrap();
                        assert_eq!((report.datasets, report.healed), (1, 1), "damage {number}");
                        assert!(report.damaged_in_both.is_empty());
                    }
                    assert_eq!(files(&disk), [whole.clone(), whole], "damage {number} in {place}");
                    assert_eq!(keys.wrapped_keys(DATASET).await.unwrap().objects.len(), 5);
                    keys.put_wrapped_key(DATASET, object(9), key(9)).await.unwrap();
                });
            }
        }
    }
}

#[test]
fn different_damage_in_both_places_costs_nothing_and_the_same_is_said() {
    let disk = FaultDisk::default();
    run(async {
        let keys = create(&disk).await.unwrap();
        for n in 0..5 {
            keys.put_wrapped_key(DATASET, object(n), key(n.into())).await.unwrap();
        }
        disk.damage(&disk.files("/a/datasets")[0], |file| file[60] ^= 1);
        disk.damage(&disk.files("/b/datasets")[0], |file| file[60 + 96] ^= 1);
        let report = keys.check().await.unwrap();
        assert_eq!((report.healed, report.damaged_in_both.len()), (2, 1));
        assert_eq!(keys.wrapped_keys(DATASET).await.unwrap().objects.len(), 5);
    });
}

#[test]
fn a_destroyed_dataset_is_in_no_file_and_cannot_be_begun_again() {
    let disk = FaultDisk::default();
    run(async {
        let keys = create(&disk).await.unwrap();
        keys.put_dataset_key(DATASET, 1, key(100).to_vec()).await.unwrap();
        keys.put_wrapped_key(DATASET, object(1), key(1)).await.unwrap();
        keys.put_wrapped_key([2; 16], object(2), key(2)).await.unwrap();
        assert!(disk.holds_anywhere(&key(1)));
        let done = keys.destroy(DATASET).await.unwrap();
        assert_eq!((done.gone_from.len(), done.waiting_for.len()), (2, 0));
        for number in [1, 100] {
            assert!(!disk.holds_anywhere(&key(number)), "not even in a file that is gone");
        }
        for keys in [keys.clone(), {
            drop(keys);
            open(&disk).await.unwrap()
        }] {
            assert!(is_destroyed(keys.wrapped_keys(DATASET).await));
            assert!(is_destroyed(keys.put_wrapped_key(DATASET, object(1), key(1)).await));
            assert_eq!(keys.datasets().await.unwrap(), [[2; 16]]);
            // Twice is once.
            keys.destroy(DATASET).await.unwrap();
        }
    });
}

#[test]
fn destroyed_objects_epochs_and_replaced_wrappings_leave_no_byte() {
    for cannot_exchange in [false, true] {
        let disk = FaultDisk::default();
        if cannot_exchange {
            disk.set_cannot_exchange();
        }
        run(async {
            let keys = create(&disk).await.unwrap();
            keys.put_dataset_key(DATASET, 1, key(101).to_vec()).await.unwrap();
            for n in 0..4 {
                keys.put_wrapped_key(DATASET, object(n), key(n.into())).await.unwrap();
            }
            keys.destroy_objects(DATASET, &[object(1), object(77)]).await.unwrap();
            assert!(!disk.holds_anywhere(&key(1)));
            assert!(is_destroyed(keys.wrapped_key(DATASET, object(1)).await));
            for gone in [1, 77] {
                assert!(is_destroyed(keys.put_wrapped_key(DATASET, object(gone), key(1)).await));
            }
            // A new epoch, everything wrapped anew under it, the old epoch destroyed.
            keys.put_dataset_key(DATASET, 2, key(102).to_vec()).await.unwrap();
            for n in [0, 2, 3] {
                keys.put_wrapped_key(DATASET, object(n), key(u64::from(n) + 50)).await.unwrap();
            }
            keys.destroy_epoch(DATASET, 1).await.unwrap();
            for number in [101, 0, 2, 3] {
                assert!(!disk.holds_anywhere(&key(number)), "{number}");
            }
            assert!(is_destroyed(keys.dataset_key(DATASET, 1).await));
            // The dataset key wrapped anew for another custodian.
            keys.put_dataset_key(DATASET, 2, key(103).to_vec()).await.unwrap();
            assert!(!disk.holds_anywhere(&key(102)));
            let found = keys.wrapped_keys(DATASET).await.unwrap();
            assert_eq!(found.dataset_keys, BTreeMap::from([(2, key(103).to_vec())]));
            assert_eq!(found.objects.len(), 3);
            assert_eq!(found.objects[&object(3)], key(53));
        });
    }
}

#[test]
fn a_place_that_was_away_brings_nothing_back() {
    let disk = FaultDisk::default();
    run(async {
        let keys = create(&disk).await.unwrap();
        let (whole, partly) = (DATASET, [2; 16]);
        keys.put_wrapped_key(whole, object(1), key(1)).await.unwrap();
        keys.put_dataset_key(partly, 1, key(100).to_vec()).await.unwrap();
        for n in 2..5 {
            keys.put_wrapped_key(partly, object(n), key(n.into())).await.unwrap();
        }
        let away = disk.unmount(Path::new("/b"));
        let done = keys.destroy(whole).await.unwrap();
        assert_eq!(done.waiting_for, [Path::new("/b")]);
        keys.destroy_objects(partly, &[object(2)]).await.unwrap();
        // With one place away nothing is put, and everything is read.
        let refused = keys.put_wrapped_key(partly, object(9), key(9)).await;
        assert!(matches!(refused, Err(KeyStoreError::PlaceAway { .. })), "{refused:?}");
        assert_eq!(keys.wrapped_key(partly, object(3)).await.unwrap(), key(3));
        assert!(keys.status().await.unwrap().places[1].away.is_some());
        assert!(disk.files("/b").is_empty());
        assert!(disk.holds_anywhere(&key(1)) && disk.holds_anywhere(&key(2)));

        disk.mount(Path::new("/b"), &away);
        keys.check().await.unwrap();
        for number in [1, 2] {
            assert!(!disk.holds_anywhere(&key(number)), "{number}");
        }
        assert!(is_destroyed(keys.wrapped_keys(whole).await));
        assert!(is_destroyed(keys.wrapped_key(partly, object(2)).await));
        keys.put_wrapped_key(partly, object(9), key(9)).await.unwrap();
        let [one, other] = files(&disk);
        assert_eq!(one, other);
    });
}

#[test]
fn an_old_copy_of_a_place_brings_nothing_back() {
    let disk = FaultDisk::default();
    run(async {
        let keys = create(&disk).await.unwrap();
        keys.put_wrapped_key(DATASET, object(1), key(1)).await.unwrap();
        let old = disk.copy_of(Path::new("/a"));
        keys.destroy(DATASET).await.unwrap();
        drop(keys);
        disk.mount(Path::new("/a"), &old);
        assert!(disk.holds_in_a_file(&key(1)));
        let keys = open(&disk).await.unwrap();
        assert!(!disk.holds_anywhere(&key(1)));
        assert!(is_destroyed(keys.wrapped_keys(DATASET).await));
    });
}

#[test]
fn places_of_different_key_stores_or_twice_the_same_do_not_open() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b, c, d, e] = ["a", "b", "c", "d", "e"].map(|name| dir.path().join(name));
    run(async {
        let keys = KeyStore::create([a.clone(), b.clone()]).await.unwrap();
        keys.put_wrapped_key(DATASET, object(1), key(1)).await.unwrap();
        drop(keys);
        drop(KeyStore::create([c.clone(), d.clone()]).await.unwrap());
        assert!(KeyStore::open([a.clone(), c.clone()]).await.is_err());
        assert!(KeyStore::open([a.clone(), a.clone()]).await.is_err());
        assert!(KeyStore::open([e.clone(), dir.path().join("f")]).await.is_err());
        assert!(KeyStore::create([a.clone(), e.clone()]).await.is_err());
        assert!(!e.exists());
        // A lost place is replaced by a stated act, and filled at the next opening.
        std::fs::remove_dir_all(&b).unwrap();
        KeyStore::replace_place(a.clone(), e.clone()).await.unwrap();
        drop(KeyStore::open([a.clone(), e.clone()]).await.unwrap());
        std::fs::remove_dir_all(&a).unwrap();
        let keys = KeyStore::open([a, e]).await.unwrap();
        assert_eq!(keys.wrapped_key(DATASET, object(1)).await.unwrap(), key(1));
    });
}

/// What was acknowledged in the story so far.
#[derive(Default)]
struct Said {
    kept: BTreeMap<u8, u64>,
    gone: Vec<(u8, u64)>,
    epoch_is_gone: bool,
    other_is_gone: bool,
}

/// Every kind of act once; stops at the first that is not acknowledged.
async fn story(keys: &KeyStore, said: &mut Said) -> Result<(), KeyStoreError> {
    let other = [2; 16];
    keys.put_dataset_key(DATASET, 1, key(100).to_vec()).await?;
    for n in 0..3 {
        keys.put_wrapped_key(DATASET, object(n), key(n.into())).await?;
        said.kept.insert(n, n.into());
    }
    keys.put_wrapped_key(other, object(9), key(9)).await?;
    let taken = said.kept.remove(&1).unwrap();
    keys.destroy_objects(DATASET, &[object(1)]).await?;
    said.gone.push((1, taken));
    keys.put_dataset_key(DATASET, 2, key(102).to_vec()).await?;
    said.kept.remove(&0);
    keys.put_wrapped_key(DATASET, object(0), key(50)).await?;
    said.kept.insert(0, 50);
    keys.destroy_epoch(DATASET, 1).await?;
    said.epoch_is_gone = true;
    keys.destroy(other).await?;
    said.other_is_gone = true;
    Ok(())
}

#[test]
fn a_power_cut_at_any_step_loses_no_key_that_was_acknowledged_and_brings_none_back() {
    let changes = run(async {
        let disk = FaultDisk::default();
        let keys = create(&disk).await.unwrap();
        let before = disk.changes();
        story(&keys, &mut Said::default()).await.unwrap();
        disk.changes() - before
    });
    assert!(changes > 60);
    for cut in 1..=changes {
        for loss in [Loss::Everything, Loss::Some(cut), Loss::Some(cut + 7_919), Loss::Nothing] {
            let disk = FaultDisk::default();
            let mut said = Said::default();
            run(async {
                let keys = create(&disk).await.unwrap();
                disk.cut_power_at(cut);
                assert!(story(&keys, &mut said).await.is_err() || disk.is_off());
                drop(keys);
                disk.restart(loss);
                let keys = open(&disk).await.unwrap();
                let context = format!("cut {cut}, {loss:?}");
                for (number, expected) in &said.kept {
                    let found = keys.wrapped_key(DATASET, object(*number)).await.unwrap();
                    assert_eq!(found, key(*expected), "{context}");
                }
                for (number, taken) in &said.gone {
                    assert!(
                        is_destroyed(keys.wrapped_key(DATASET, object(*number)).await),
                        "{context}"
                    );
                    assert!(!disk.holds_anywhere(&key(*taken)), "{context}");
                }
                if said.epoch_is_gone {
                    assert!(
                        !disk.holds_anywhere(&key(100)) && !disk.holds_anywhere(&key(0)),
                        "{context}"
                    );
                }
                if said.other_is_gone {
                    assert!(is_destroyed(keys.wrapped_keys([2; 16]).await), "{context}");
                    assert!(!disk.holds_anywhere(&key(9)), "{context}");
                }
                // Whatever was interrupted can be carried to its end.
                keys.destroy(DATASET).await.unwrap();
                keys.destroy([2; 16]).await.unwrap();
                for number in [0, 1, 2, 9, 50, 100, 102] {
                    assert!(!disk.holds_in_a_file(&key(number)), "{number} after {context}");
                }
            });
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8, u8),
    PutMany(u8),
    DestroyObject(u8, u8),
    Destroy(u8),
    Damage(bool, u16),
    Fail(Act, bool),
    Restart(Option<u64>),
    Check,
}

fn step() -> impl Strategy<Value = Step> {
    let (dataset, number) = (0..3_u8, 0..6_u8);
    prop_oneof![
        6 => (dataset.clone(), number.clone()).prop_map(|(d, n)| Step::Put(d, n)),
        2 => dataset.clone().prop_map(Step::PutMany),
        2 => (dataset.clone(), number).prop_map(|(d, n)| Step::DestroyObject(d, n)),
        1 => dataset.prop_map(Step::Destroy),
        2 => (any::<bool>(), any::<u16>()).prop_map(|(p, at)| Step::Damage(p, at)),
        2 => (
            prop::sample::select(vec![Act::Append, Act::SyncFile, Act::Rename, Act::Exchange, Act::SyncDir, Act::Read]),
            any::<bool>()
        ).prop_map(|(act, place)| Step::Fail(act, place)),
        1 => proptest::option::of(any::<u64>()).prop_map(Step::Restart),
        1 => Just(Step::Check),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_every_acknowledged_key_is_there_and_every_destroyed_one_is_not(
        steps in proptest::collection::vec(step(), 1..50)
    ) {
        run(async {
            let disk = FaultDisk::default();
            let mut keys = create(&disk).await.unwrap();
            let dataset = |number: u8| [number + 1; 16];
            let secret = |d: u8, n: u8| key(u64::from(d) * 100 + u64::from(n));
            // True for kept, false for destroyed; nothing is said of what was not acknowledged.
            let mut said: BTreeMap<(u8, u8), bool> = BTreeMap::new();
            let mut gone: Vec<u8> = Vec::new();
            for step in steps {
                match step {
                    Step::Put(d, n) => {
                        let put = keys.put_wrapped_key(dataset(d), object(n), secret(d, n)).await;
                        if put.is_ok() {
                            assert!(!gone.contains(&d) && said.get(&(d, n)) != Some(&false));
                            said.insert((d, n), true);
                        }
                    }
                    Step::PutMany(d) => {
                        let puts = (0..6).map(|n| keys.put_wrapped_key(dataset(d), object(n), secret(d, n)));
                        for (n, put) in join_all(puts).await.into_iter().enumerate() {
                            if put.is_ok() {
                                said.insert((d, u8::try_from(n).unwrap()), true);
                            }
                        }
                    }
                    Step::DestroyObject(d, n) => {
                        let before = said.remove(&(d, n));
                        match keys.destroy_objects(dataset(d), &[object(n)]).await {
                            Ok(_) => drop(said.insert((d, n), false)),
                            Err(_) if before == Some(false) => drop(said.insert((d, n), false)),
                            Err(_) => {}
                        }
                    }
                    Step::Destroy(d) => {
                        said.retain(|(of, _), _| *of != d);
                        if keys.destroy(dataset(d)).await.is_ok() {
                            gone.push(d);
                        }
                    }
                    Step::Damage(first, at) => {
                        // Healed before the next, so that never both places are damaged.
                        disk.heal();
                        keys.check().await.unwrap();
                        let files = disk.files(if first { "/a/datasets" } else { "/b/datasets" });
                        if !files.is_empty() {
                            disk.damage(&files[usize::from(at) % files.len()], |file| {
                                if !file.is_empty() {
                                    let at = usize::from(at) % file.len();
                                    if at % 3 == 0 { file.truncate(at) } else { file[at] ^= 0x20 }
                                }
                            });
                        }
                        keys.check().await.unwrap();
                    }
                    Step::Fail(act, first) => {
                        disk.fail(act, if first { "/a/" } else { "/b/" }, io::ErrorKind::Other, 1);
                    }
                    Step::Restart(seed) => {
                        drop(keys);
                        disk.restart(seed.map_or(Loss::Everything, Loss::Some));
                        keys = open(&disk).await.unwrap();
                    }
                    Step::Check => drop(keys.check().await.unwrap()),
                }
            }
            disk.heal();
            keys.check().await.unwrap();
            for ((d, n), is_kept) in said {
                let found = keys.wrapped_key(dataset(d), object(n)).await;
                if is_kept {
                    assert_eq!(found.unwrap(), secret(d, n), "{d} {n}");
                } else {
                    assert!(is_destroyed(found), "{d} {n}");
                    assert!(!disk.holds_in_a_file(&secret(d, n)), "{d} {n}");
                }
            }
            for d in gone {
                assert!(is_destroyed(keys.wrapped_keys(dataset(d)).await));
                for n in 0..6 {
                    assert!(!disk.holds_in_a_file(&secret(d, n)));
                }
            }
        });
    }
}

#[test]
fn a_description_is_replaced_as_a_whole_and_a_torn_one_leaves_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let places = [dir.path().join("a"), dir.path().join("b")];
    let text = |n: u8, bytes: usize| vec![n; bytes];
    run(async {
        {
            let keys = KeyStore::create(places.clone()).await.unwrap();
            assert!(matches!(
                keys.description(DATASET).await,
                Err(KeyStoreError::NoDataset { .. })
            ));
            keys.describe(DATASET, &text(1, 20_000)).await.unwrap();
            keys.put_wrapped_key(DATASET, object(1), key(1)).await.unwrap();
            keys.describe(DATASET, &text(2, 9_000)).await.unwrap();
            keys.describe(DATASET, &text(3, 5)).await.unwrap();
            assert_eq!(keys.description(DATASET).await.unwrap(), Some(text(3, 5)));
            keys.describe(DATASET, &text(4, 30_000)).await.unwrap();
        }
        // The last bytes of the last part never reached either disk.
        for place in &places {
            let file = place.join("datasets").join(format!("{}.keys", HEXLOWER.encode(&DATASET)));
            let bytes = std::fs::read(&file).unwrap();
            std::fs::write(&file, &bytes[..bytes.len() - 3]).unwrap();
        }
        let keys = KeyStore::open(places).await.unwrap();
        assert_eq!(keys.description(DATASET).await.unwrap(), Some(text(3, 5)));
        assert_eq!(keys.wrapped_key(DATASET, object(1)).await.unwrap(), key(1));
        keys.describe(DATASET, b"").await.unwrap();
        assert_eq!(keys.description(DATASET).await.unwrap(), Some(Vec::new()));
        keys.destroy(DATASET).await.unwrap();
        assert!(is_destroyed(keys.description(DATASET).await));
        assert!(is_destroyed(keys.describe(DATASET, b"again").await));
    });
}

#[test]
fn a_key_with_its_place_is_read_like_one_without() {
    let dir = tempfile::tempdir().unwrap();
    let places = [dir.path().join("a"), dir.path().join("b")];
    run(async {
        let keys = KeyStore::create(places).await.unwrap();
        let place = KeyPlace { epoch: 7, hash: BlobHash::of(b"sealed"), bytes: 6 };
        keys.put_placed_key(DATASET, object(1), key(1), place).await.unwrap();
        keys.put_wrapped_key(DATASET, object(2), key(2)).await.unwrap();
        assert_eq!(keys.wrapped_key(DATASET, object(1)).await.unwrap(), key(1));
        assert_eq!(keys.wrapped_keys(DATASET).await.unwrap().objects.len(), 2);
        let kept = keys.kept_keys(DATASET).await.unwrap();
        assert_eq!(kept[0], (object(1), KeptKey { wrapped: key(1), place: Some(place) }));
        assert_eq!(kept[1], (object(2), KeptKey { wrapped: key(2), place: None }));
    });
}

#[test]
fn a_file_of_descriptions_does_not_grow_with_each_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let places = [dir.path().join("a"), dir.path().join("b")];
    run(async {
        let keys = KeyStore::create(places.clone()).await.unwrap();
        keys.put_record_keys(DATASET, vec![(object(1), key(1).to_vec())]).await.unwrap();
        for n in 0..40_u8 {
            keys.describe(DATASET, &vec![n; 50_000]).await.unwrap();
        }
        assert_eq!(keys.description(DATASET).await.unwrap(), Some(vec![39; 50_000]));
        assert_eq!(keys.record_keys(DATASET).await.unwrap(), [(object(1), key(1).to_vec())]);
        for place in &places {
            let file = place.join("datasets").join(format!("{}.keys", HEXLOWER.encode(&DATASET)));
            let bytes = std::fs::metadata(file).unwrap().len();
            assert!(bytes < 6 * 50_000, "{bytes} bytes for one description and the one before");
        }
    });
}

#[test]
fn keys_of_records_are_wrapped_anew_together_and_destroyed_one_by_one() {
    let disk = FaultDisk::default();
    run(async {
        let keys = create(&disk).await.unwrap();
        let of =
            |from: u64| (0..5).map(|n| (object(n), key(from + u64::from(n)).to_vec())).collect();
        keys.put_record_keys(DATASET, of(0)).await.unwrap();
        keys.put_record_keys(DATASET, of(100)).await.unwrap();
        assert_eq!(keys.record_keys(DATASET).await.unwrap().len(), 5);
        keys.destroy_record_keys(DATASET, &[object(1), object(77)]).await.unwrap();
        for gone in [1, 101, 0, 2] {
            assert!(!disk.holds_anywhere(&key(gone)), "{gone}: destroyed, or wrapped anew since");
        }
        let left: Vec<_> = keys.record_keys(DATASET).await.unwrap();
        assert_eq!(left.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [0, 2, 3, 4].map(object));
        for back in [1, 77] {
            let again = vec![(object(back), key(7).to_vec())];
            assert!(is_destroyed(keys.put_record_keys(DATASET, again).await));
        }
        keys.destroy(DATASET).await.unwrap();
        assert!(is_destroyed(keys.record_keys(DATASET).await));
    });
}

/// More datasets than a round replaces one by one.
const MANY: u8 = 70;

async fn wrap_all(keys: &KeyStore, from: u64) -> Vec<Result<(), KeyStoreError>> {
    let puts =
        (0..MANY).map(|n| keys.put_dataset_key([n; 16], 0, key(from + u64::from(n)).to_vec()));
    join_all(puts).await
}

#[test]
fn many_dataset_keys_that_are_wrapped_anew_together_leave_no_byte_of_before() {
    for cannot_exchange in [false, true] {
        let disk = FaultDisk::default();
        if cannot_exchange {
            disk.set_cannot_exchange();
        }
        run(async {
            let keys = create(&disk).await.unwrap();
            assert!(wrap_all(&keys, 1000).await.iter().all(Result::is_ok));
            assert!(wrap_all(&keys, 2000).await.iter().all(Result::is_ok));
            for n in 0..MANY {
                assert!(!disk.holds_anywhere(&key(1000 + u64::from(n))), "{n}");
                let found = keys.dataset_key([n; 16], 0).await.unwrap();
                assert_eq!(found, key(2000 + u64::from(n)));
            }
        });
    }
}

#[test]
fn a_power_cut_while_many_are_wrapped_anew_loses_no_key() {
    let changes = run(async {
        let disk = FaultDisk::default();
        let keys = create(&disk).await.unwrap();
        wrap_all(&keys, 1000).await;
        let before = disk.changes();
        wrap_all(&keys, 2000).await;
        disk.changes() - before
    });
    for cut in (1..=changes).step_by(23) {
        for loss in [Loss::Everything, Loss::Some(cut), Loss::Nothing] {
            let disk = FaultDisk::default();
            run(async {
                let keys = create(&disk).await.unwrap();
                wrap_all(&keys, 1000).await;
                disk.cut_power_at(cut);
                let said = wrap_all(&keys, 2000).await;
                drop(keys);
                disk.restart(loss);
                let keys = open(&disk).await.unwrap();
                for (n, said) in (0..MANY).zip(said) {
                    let found = keys.dataset_key([n; 16], 0).await.unwrap();
                    let [old, new] = [1000, 2000].map(|from| key(from + u64::from(n)).to_vec());
                    let is_there = found == new || (said.is_err() && found == old);
                    assert!(is_there, "dataset {n}, cut {cut}, {loss:?}");
                    assert!(said.is_err() || !disk.holds_in_a_file(&old), "{n}, {cut}, {loss:?}");
                }
            });
        }
    }
}
