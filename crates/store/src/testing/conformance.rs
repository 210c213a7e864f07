//! What every facility does, whatever it is made of.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all};

use crate::{BlobHash, Facility, FacilityError, FacilityState, MAX_BLOB_BYTES};

/// A blob of this text, and its name.
pub(crate) fn blob(text: &str) -> (BlobHash, Bytes) {
    let bytes = Bytes::from(text.as_bytes().to_vec());
    (BlobHash::of(&bytes), bytes)
}

async fn listed(facility: &dyn Facility) -> Vec<BlobHash> {
    let mut all = Vec::new();
    for shard in 0..=u8::MAX {
        let listing = facility.list(shard).await.unwrap();
        assert!(listing.strays.is_empty(), "{:?}", listing.strays);
        assert!(listing.blobs.is_sorted());
        assert!(listing.blobs.iter().all(|blob| blob.hash.shard() == shard));
        all.extend(listing.blobs.into_iter().map(|blob| blob.hash));
    }
    all
}

/// The suite. `open` opens one and the same empty place each time it is called; what it gave before was dropped.
pub(crate) async fn conformance(open: &dyn Fn() -> BoxFuture<'static, Arc<dyn Facility>>) {
    let facility = open().await;
    let id = facility.id();
    let (one, one_bytes) = blob("one");
    let (two, two_bytes) = blob("two");
    let (never, never_bytes) = blob("never");

    // An empty place holds nothing, and says so.
    assert_eq!(facility.get(&one).await.unwrap(), None);
    assert!(!facility.contains(&one).await.unwrap());
    assert!(listed(&*facility).await.is_empty());
    assert!(facility.erased().await.unwrap().is_empty());

    // What is put is there, twice the same as once, and an empty blob and the largest are blobs too.
    facility.put(one, one_bytes.clone()).await.unwrap();
    facility.put(one, one_bytes.clone()).await.unwrap();
    facility.put(two, two_bytes.clone()).await.unwrap();
    let (empty, empty_bytes) = blob("");
    facility.put(empty, empty_bytes.clone()).await.unwrap();
    let largest_bytes = Bytes::from(vec![7; MAX_BLOB_BYTES]);
    let largest = BlobHash::of(&largest_bytes);
    facility.put(largest, largest_bytes.clone()).await.unwrap();
    assert_eq!(facility.get(&one).await.unwrap(), Some(one_bytes.clone()));
    assert_eq!(facility.get(&empty).await.unwrap(), Some(empty_bytes.clone()));
    assert_eq!(facility.get(&largest).await.unwrap(), Some(largest_bytes.clone()));
    assert!(facility.contains(&two).await.unwrap());
    let mut expected = vec![one, two, empty, largest];
    expected.sort();
    assert_eq!(listed(&*facility).await, expected);
    let status = facility.status().await;
    assert_eq!((status.state, status.blobs), (FacilityState::Healthy, 4));
    assert_eq!(status.bytes, 6 + MAX_BLOB_BYTES as u64);

    // It gives back what it holds and does not judge: a put under a name that is not the bytes' own is served as it is.
    facility.put(two, never_bytes.clone()).await.unwrap();
    assert_eq!(facility.get(&two).await.unwrap(), Some(never_bytes.clone()));

    // Set aside is not served, and can be put again.
    facility.quarantine(&two).await.unwrap();
    facility.quarantine(&never).await.unwrap();
    assert_eq!(facility.get(&two).await.unwrap(), None);
    assert_eq!(facility.status().await.quarantined, 1);
    facility.put(two, two_bytes.clone()).await.unwrap();
    assert_eq!(facility.get(&two).await.unwrap(), Some(two_bytes.clone()));

    // Erased is gone, from quarantine too, is remembered even of what was never here, and does not come back.
    facility.erase(&[two, never]).await.unwrap();
    facility.erase(&[two]).await.unwrap();
    facility.erase(&[]).await.unwrap();
    assert_eq!(facility.get(&two).await.unwrap(), None);
    let status = facility.status().await;
    assert_eq!((status.blobs, status.quarantined), (3, 0));
    for (hash, bytes) in [(two, two_bytes.clone()), (never, never_bytes.clone())] {
        let refused = facility.put(hash, bytes).await;
        assert!(matches!(refused, Err(FacilityError::Erased { .. })), "{refused:?}");
    }

    // Discarded is gone and not remembered: it can be put again.
    let (passing, passing_bytes) = blob("passing");
    facility.put(passing, passing_bytes.clone()).await.unwrap();
    facility.discard(&[passing, never]).await.unwrap();
    assert_eq!(facility.get(&passing).await.unwrap(), None);
    facility.put(passing, passing_bytes).await.unwrap();
    assert!(facility.contains(&passing).await.unwrap());
    facility.discard(&[passing]).await.unwrap();

    // Many at once.
    let many: Vec<_> = (0..200).map(|number| blob(&format!("number {number}"))).collect();
    let puts = join_all(many.iter().map(|(hash, bytes)| facility.put(*hash, bytes.clone()))).await;
    assert!(puts.iter().all(Result::is_ok));
    for (hash, bytes) in &many {
        assert_eq!(facility.get(hash).await.unwrap().as_ref(), Some(bytes));
    }

    // All of this outlives a closing.
    drop(facility);
    let facility = open().await;
    assert_eq!(facility.id(), id);
    assert_eq!(facility.get(&one).await.unwrap(), Some(one_bytes));
    assert_eq!(facility.get(&two).await.unwrap(), None);
    assert!(matches!(facility.put(two, two_bytes).await, Err(FacilityError::Erased { .. })));
    let mut erased = facility.erased().await.unwrap();
    erased.sort();
    let mut expected = [two, never];
    expected.sort();
    assert_eq!(erased, expected);
    assert_eq!(facility.erased_count().await.unwrap(), 2);
    assert_eq!(listed(&*facility).await.len(), 203);
    assert_eq!(facility.status().await.blobs, 203);
}
