//! The platform's custody: what it wraps opens for the named recipient, and for nobody else.

use std::os::unix::fs::PermissionsExt;

use data_encoding::HEXLOWER;
use proof::{Extent, Index, Manifest, sha256};
use seal::label::seal_label;
use seal::recipient::wrap_to as hpke_wrap;
use seal::wrap::{ObjectContext, wrap_data_key};
use seal::{DataKey, ObjectId, seal_object};

use super::*;
use crate::conformance::{conforms, context};
use crate::{Custodians, OpenIndexError};

fn made() -> (tempfile::TempDir, std::path::PathBuf, PlatformCustodian) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("platform.key");
    let custodian = PlatformCustodian::create(&path).unwrap();
    (dir, path, custodian)
}

async fn adopted(custodian: &PlatformCustodian, key: &DatasetKey) -> Vec<u8> {
    let sent = hpke_wrap(custodian.recipient(), &context().bytes(), key).unwrap();
    custodian.adopt(&context(), &sent).await.unwrap()
}

#[tokio::test]
async fn the_platform_keeps_the_contract() {
    let (_dir, _path, custodian) = made();
    conforms(&custodian, true).await;
}

#[tokio::test]
async fn a_key_file_read_again_opens_what_it_wrapped() {
    let (_dir, path, before) = made();
    let kept = adopted(&before, &DatasetKey::generate().unwrap()).await;
    assert_eq!(kept.len(), 82);
    let after = PlatformCustodian::open(&path).unwrap();
    assert_eq!(before.recipient(), after.recipient());
    assert!(after.open_for_hub(&context(), &kept).await.unwrap().is_some());
}

#[tokio::test]
async fn another_key_file_opens_nothing_and_is_named() {
    let (_dir, _path, ours) = made();
    let (_other_dir, _other_path, theirs) = made();
    let kept = adopted(&ours, &DatasetKey::generate().unwrap()).await;
    let refusal = theirs.open_for_hub(&context(), &kept).await.unwrap_err();
    let id = HEXLOWER.encode(&ours.file.id);
    assert!(matches!(refusal, CustodyError::UnknownKey { id: named, epoch: 0 } if named == id));
}

#[tokio::test]
async fn after_a_rotation_the_new_epoch_wraps_and_the_old_one_still_opens() {
    let (_dir, path, before) = made();
    let key = DatasetKey::generate().unwrap();
    let kept = adopted(&before, &key).await;
    let after = PlatformCustodian::rotate(&path).unwrap();
    assert_eq!(before.recipient(), after.recipient());
    let label = seal_label(&key, "dataset name", b"x").unwrap();
    let anew = after.rewrap(&context(), &kept, &context()).await.unwrap();
    for kept in [&kept, &anew] {
        let opened = after.open_for_hub(&context(), kept).await.unwrap().unwrap();
        assert_eq!(opened.open_label("dataset name", &label).unwrap(), b"x");
    }
    let refusal = before.open_for_hub(&context(), &anew).await.unwrap_err();
    assert!(matches!(refusal, CustodyError::UnknownKey { epoch: 1, .. }));
    assert_eq!(PlatformCustodian::open(&path).unwrap().file.newest().0, 1);
}

#[test]
fn a_key_file_is_for_its_owner_alone_and_never_written_over() {
    let (_dir, path, _custodian) = made();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert!(matches!(PlatformCustodian::create(&path), Err(KeyFileError::Exists { .. })));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let refusal = PlatformCustodian::open(&path).unwrap_err();
    assert!(matches!(refusal, KeyFileError::Mode { mode: 0o640, .. }));
}

#[test]
fn a_key_file_that_was_cut_or_edited_is_refused_without_showing_it() {
    let (_dir, path, _custodian) = made();
    let whole = std::fs::read_to_string(&path).unwrap();
    let mut damaged: Vec<String> = (0..whole.len()).map(|n| whole[..n].to_owned()).collect();
    damaged.push(format!("{whole}\n"));
    damaged.push(whole.replacen("file v1", "file v2", 1));
    for place in (0..whole.len()).step_by(7) {
        let mut bytes = whole.clone().into_bytes();
        bytes[place] ^= 1;
        damaged.push(String::from_utf8(bytes).unwrap());
    }
    let secrets: Vec<&str> = whole.split_whitespace().filter(|word| word.len() == 64).collect();
    assert_eq!(secrets.len(), 3);
    for text in damaged {
        std::fs::write(&path, &text).unwrap();
        let refusal = PlatformCustodian::open(&path).unwrap_err();
        assert!(matches!(refusal, KeyFileError::Form { .. }), "{refusal:?}");
        let printed = format!("{refusal} {refusal:?}");
        assert!(!secrets.iter().any(|secret| printed.contains(secret)));
    }
}

#[test]
fn what_prints_a_custodian_shows_no_key() {
    let (_dir, path, custodian) = made();
    let text = std::fs::read_to_string(&path).unwrap();
    let secrets: Vec<&str> =
        text.lines().skip(2).filter_map(|line| line.split_once(' ')).map(|l| l.1).collect();
    let custodians =
        Custodians::new([std::sync::Arc::new(custodian) as std::sync::Arc<dyn Custodian>]);
    assert_eq!(custodians.offered().count(), 1);
    let printed = format!("{custodians:?}");
    assert!(!secrets.iter().any(|secret| printed.contains(secret)), "{printed}");
}

/// A dataset with one file, whose index lies in one sealed object.
struct Sample {
    manifest: Manifest,
    object: api::SealedObject,
    sealed: Vec<u8>,
}

fn sample(key: &DatasetKey) -> Sample {
    let dataset = api::DatasetId::from_bytes(context().dataset);
    let file = proof::FileEntry {
        path: "Data/x.fastq.gz".to_owned(),
        bytes: 0,
        sha256: sha256(b""),
        extents: vec![],
    };
    let index = Index::new(dataset, vec![file]).unwrap().to_bytes();
    let (data_key, id) = (DataKey::generate().unwrap(), ObjectId::generate().unwrap());
    let padded = [b"..", index.as_slice()].concat();
    let (sealed, commitment) = seal_object(&data_key, id, &padded).unwrap();
    let place = ObjectContext {
        dataset: context().dataset,
        epoch: context().epoch,
        object: id,
        commitment,
    };
    let wrapped = wrap_data_key(key, &place, &data_key).unwrap();
    let object = api::ObjectRef(*id.as_bytes());
    let extent = |offset: u64, bytes: u64| Extent {
        object,
        commitment: api::Digest(*commitment.as_bytes()),
        offset,
        bytes,
    };
    let half = index.len() as u64 / 2;
    let manifest = Manifest {
        hub: "hub".to_owned(),
        dataset,
        project: api::ProjectId::from_bytes(context().project),
        card: api::Digest(context().card_digest),
        epoch: context().epoch,
        number: 1,
        previous: None,
        files: 1,
        index_digest: sha256(&index),
        index: vec![extent(2, half), extent(2 + half, index.len() as u64 - half)],
        objects: 1,
        sealed_bytes: sealed.len() as u64,
        objects_digest: sha256(b""),
        at: api::Time::UNIX_EPOCH,
    };
    let object = api::SealedObject {
        object,
        hash: sha256(&sealed),
        sealed_bytes: sealed.len() as u64,
        epoch: context().epoch,
        wrapped_key: api::Bytes(wrapped.to_vec()),
    };
    Sample { manifest, object, sealed }
}

#[tokio::test]
async fn the_hub_lists_the_files_that_the_manifest_names_and_no_others() {
    let (_dir, _path, custodian) = made();
    let key = DatasetKey::generate().unwrap();
    let kept = adopted(&custodian, &key).await;
    let opened = custodian.open_for_hub(&context(), &kept).await.unwrap().unwrap();
    let Sample { manifest, object, sealed } = sample(&key);

    let index = opened.open_index(&manifest, &[(object.clone(), &sealed)]).unwrap();
    assert_eq!(index.files[0].path, "Data/x.fastq.gz");

    let none: [(api::SealedObject, Vec<u8>); 0] = [];
    let refusal = opened.open_index(&manifest, &none);
    assert!(matches!(refusal, Err(OpenIndexError::Object(_))));
    let mut swapped = sealed.clone();
    swapped[200] ^= 1;
    let refusal = opened.open_index(&manifest, &[(object.clone(), &swapped)]);
    assert!(matches!(refusal, Err(OpenIndexError::Object(_))));
    let mut elsewhere = manifest.clone();
    elsewhere.epoch += 1;
    let refusal = opened.open_index(&elsewhere, &[(object.clone(), &sealed)]);
    assert!(matches!(refusal, Err(OpenIndexError::OtherDataset)));
    let mut beyond = manifest.clone();
    beyond.index[1].offset = u64::MAX;
    let refusal = opened.open_index(&beyond, &[(object.clone(), &sealed)]);
    assert!(matches!(refusal, Err(OpenIndexError::Extent(_))));
    let mut unsigned = manifest;
    unsigned.index_digest = sha256(b"another index");
    let refusal = opened.open_index(&unsigned, &[(object, &sealed)]);
    assert!(matches!(refusal, Err(OpenIndexError::Index(_))));
}
