//! A bucket behind a service that fails: requests that never arrive, answers that are lost, refusals, and no room. Whatever
//! it says, what was acknowledged is there, and what was erased does not come back.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, memory::InMemory,
    path::Path as Key,
};

use super::BucketFacility;
use crate::{
    BlobHash, Facility, FacilityError, held,
    testing::{conformance::blob, disk::Dice, run},
};

/// How a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Through,
    /// It never arrives.
    Lost,
    /// It arrives, and its answer does not.
    AnswerLost,
    Denied,
    NoRoom,
}

#[derive(Debug)]
struct FaultBucket {
    inner: InMemory,
    dice: Mutex<Dice>,
    is_on: AtomicBool,
}

impl fmt::Display for FaultBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a bucket that fails")
    }
}

fn broken(what: &'static str) -> Error {
    Error::Generic { store: "fault", source: what.into() }
}

impl FaultBucket {
    fn new(seed: u64) -> Self {
        Self { inner: InMemory::new(), dice: Mutex::new(Dice(seed)), is_on: AtomicBool::new(false) }
    }

    fn way(&self) -> Way {
        if !self.is_on.load(Ordering::SeqCst) {
            return Way::Through;
        }
        match held(&self.dice).roll() % 24 {
            0 | 1 => Way::Lost,
            2 | 3 => Way::AnswerLost,
            4 => Way::Denied,
            5 => Way::NoRoom,
            _ => Way::Through,
        }
    }

    /// What comes of a request that was carried out unless it never arrived.
    async fn goes<T>(&self, key: &Key, act: impl Future<Output = Result<T>>) -> Result<T> {
        match self.way() {
            Way::Through => act.await,
            Way::Lost => Err(broken("the line was cut")),
            Way::AnswerLost => {
                drop(act.await);
                Err(broken("the line was cut"))
            }
            Way::Denied => {
                Err(Error::PermissionDenied { path: key.to_string(), source: "denied".into() })
            }
            Way::NoRoom => Err(broken("507 Insufficient Storage")),
        }
    }
}

#[async_trait]
impl ObjectStore for FaultBucket {
    async fn put_opts(
        &self,
        key: &Key,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        self.goes(key, self.inner.put_opts(key, payload, opts)).await
    }

    async fn put_multipart_opts(
        &self,
        key: &Key,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.goes(key, self.inner.put_multipart_opts(key, opts)).await
    }

    async fn get_opts(&self, key: &Key, options: GetOptions) -> Result<GetResult> {
        self.goes(key, self.inner.get_opts(key, options)).await
    }

    fn delete_stream(
        &self,
        keys: BoxStream<'static, Result<Key>>,
    ) -> BoxStream<'static, Result<Key>> {
        match self.way() {
            Way::Through => self.inner.delete_stream(keys),
            // It deletes the first few, and says so of none.
            Way::AnswerLost => {
                let deleted = self.inner.delete_stream(keys.take(1).boxed());
                deleted.map(|_| Err(broken("the line was cut"))).boxed()
            }
            _ => stream::iter([Err(broken("the line was cut"))]).boxed(),
        }
    }

    fn list(&self, prefix: Option<&Key>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.way() {
            Way::Through => self.inner.list(prefix),
            // It breaks off after the first.
            _ => {
                let first = self.inner.list(prefix).take(1);
                first.chain(stream::iter([Err(broken("the line was cut"))])).boxed()
            }
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Key>) -> Result<ListResult> {
        self.goes(&Key::default(), self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Key, to: &Key, options: CopyOptions) -> Result<()> {
        self.goes(from, self.inner.copy_opts(from, to, options)).await
    }
}

/// What a blob of this number must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Open,
    Kept,
    Going,
    Gone,
}

struct Life {
    bucket: Arc<FaultBucket>,
    facility: Option<BucketFacility>,
    fates: BTreeMap<u64, Fate>,
}

fn numbered(number: u64) -> (BlobHash, Bytes) {
    blob(&format!("blob {number} in a bucket that fails"))
}

impl Life {
    fn fate(&self, number: u64) -> Fate {
        self.fates.get(&number).copied().unwrap_or(Fate::Open)
    }

    /// Opens it again, as often as it takes.
    async fn reopen(&mut self) {
        self.facility = None;
        let mut last = None;
        // Opening takes a dozen requests and more, each of which may fail.
        for _ in 0..10_000 {
            let bucket = Arc::clone(&self.bucket) as Arc<dyn ObjectStore>;
            let opened = BucketFacility::open_in(bucket, Key::from("prefix"), "fault".into()).await;
            match opened {
                Ok(opened) => {
                    self.facility = Some(opened);
                    return;
                }
                Err(error) => last = Some(error),
            }
        }
        panic!("a bucket that fails now and then does not open: {last:?}");
    }

    async fn step(&mut self, dice: &mut Dice) {
        let number = dice.roll() % 12;
        let (hash, bytes) = numbered(number);
        let fate = self.fate(number);
        let facility = self.facility.as_ref().unwrap();
        let next = match dice.roll() % 12 {
            0..=3 => match facility.put(hash, bytes).await {
                Ok(()) => {
                    assert_ne!(fate, Fate::Gone, "{number} was put though it was erased");
                    Fate::Kept
                }
                Err(FacilityError::Erased { .. }) => {
                    assert!(matches!(fate, Fate::Gone | Fate::Going), "{number} was {fate:?}");
                    fate
                }
                Err(_) => fate,
            },
            4..=6 => {
                match facility.get(&hash).await {
                    Ok(Some(found)) => {
                        assert_eq!(found, bytes);
                        assert_ne!(fate, Fate::Gone, "{number} came back");
                    }
                    Ok(None) => assert_ne!(fate, Fate::Kept, "{number} is not found"),
                    Err(_) => {}
                }
                fate
            }
            7 => {
                if let Ok(is_there) = facility.contains(&hash).await {
                    assert!(is_there || fate != Fate::Kept, "{number} is not found");
                    assert!(!is_there || fate != Fate::Gone, "{number} came back");
                }
                fate
            }
            8 => match facility.erase(&[hash]).await {
                Ok(()) => Fate::Gone,
                Err(_) if fate == Fate::Gone => Fate::Gone,
                Err(_) => Fate::Going,
            },
            9 => {
                let set_aside = facility.quarantine(&hash).await;
                if fate == Fate::Kept || set_aside.is_err() && fate == Fate::Open {
                    Fate::Open
                } else {
                    fate
                }
            }
            10 => {
                let listed = facility.list(hash.shard()).await;
                if let Ok(listing) = listed {
                    let is_listed = listing.blobs.iter().any(|blob| blob.hash == hash);
                    assert!(is_listed || fate != Fate::Kept, "{number} is not listed");
                    assert!(!is_listed || fate != Fate::Gone, "{number} is listed");
                }
                fate
            }
            _ => {
                self.reopen().await;
                fate
            }
        };
        self.fates.insert(number, next);
    }
}

#[test]
fn whatever_a_bucket_s_service_does_what_was_kept_is_kept_and_what_was_erased_is_gone() {
    for seed in 0..40 {
        run(async {
            let bucket = Arc::new(FaultBucket::new(seed));
            let made = BucketFacility::create_in(
                Arc::clone(&bucket) as _,
                Key::from("prefix"),
                "fault".into(),
            );
            let mut life = Life {
                facility: Some(made.await.unwrap()),
                bucket: Arc::clone(&bucket),
                fates: BTreeMap::new(),
            };
            bucket.is_on.store(true, Ordering::SeqCst);
            let mut dice = Dice(seed ^ 0xb0c4e7);
            for _ in 0..200 {
                life.step(&mut dice).await;
            }
            bucket.is_on.store(false, Ordering::SeqCst);
            life.reopen().await;
            let facility = life.facility.unwrap();
            let erased = facility.erased().await.unwrap();
            for (number, fate) in life.fates {
                let (hash, bytes) = numbered(number);
                let found = facility.get(&hash).await.unwrap();
                match fate {
                    Fate::Kept => assert_eq!(found, Some(bytes), "seed {seed}, {number}"),
                    Fate::Gone => {
                        assert_eq!(found, None, "seed {seed}, {number}");
                        assert!(erased.contains(&hash));
                    }
                    Fate::Going | Fate::Open => assert!(found.is_none_or(|found| found == bytes)),
                }
            }
        });
    }
}
