//! The bucket in memory, and in a real S3 server: moto, a process of its own on loopback, where it is installed.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use object_store::{ObjectStore, ObjectStoreExt as _, memory::InMemory, path::Path as Key};

use super::{BEGUN, BucketAddress, BucketFacility};
use crate::{
    DirectoryFacility, Facility, FacilityError, FacilityState, ScrubOptions, Store, StoreOptions,
    testing::{
        conformance::{blob, conformance},
        run,
    },
    tombstone,
};

const AT: &str = "memory://bucket/prefix";

fn prefix() -> Key {
    Key::from("prefix")
}

async fn create(bucket: &Arc<InMemory>) -> BucketFacility {
    BucketFacility::create_in(Arc::clone(bucket) as _, prefix(), AT.into()).await.unwrap()
}

async fn open(bucket: &Arc<InMemory>) -> Result<BucketFacility, FacilityError> {
    BucketFacility::open_in(Arc::clone(bucket) as _, prefix(), AT.into()).await
}

async fn empty(bucket: &InMemory) {
    use futures_util::TryStreamExt as _;
    let keys: Vec<_> =
        bucket.list(None).map_ok(|found| found.location).try_collect().await.unwrap();
    for key in keys {
        bucket.delete(&key).await.unwrap();
    }
}

/// A server of S3 in a process of its own; it ends with this.
struct Server {
    process: Child,
    address: String,
    dir: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl Server {
    /// Starts one with an empty bucket; nothing where moto is not installed.
    fn start() -> Option<Self> {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/venv/bin");
        let program = root.join("moto_server");
        if !program.exists() {
            eprintln!("skipped: not here: {} (testing/setup.sh test)", program.display());
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let mut process = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("it says where it listens before it ends").unwrap();
            if let Some((_, address)) = line.split_once("Running on http://") {
                break address.trim().to_owned();
            }
        };
        // It writes a line for each request, and would wait for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        let server = Self { process, address, dir };
        server.ask("PUT /reads");
        let mut options = std::fs::OpenOptions::new();
        let path = server.dir.path().join("credentials");
        let mut file = options.write(true).create_new(true).mode(0o600).open(path).unwrap();
        file.write_all(b"[default]\naws_access_key_id=me\naws_secret_access_key=hunter2\n")
            .unwrap();
        Some(server)
    }

    /// One request of a kind that the store itself never makes.
    fn ask(&self, what: &str) -> String {
        let mut line = TcpStream::connect(&self.address).unwrap();
        let key = "AWS4-HMAC-SHA256 Credential=me/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
        let request = format!(
            "{what} HTTP/1.1\r\nHost: {}\r\nAuthorization: {key}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            self.address
        );
        line.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        line.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 2"), "{answer}");
        answer
    }

    fn facility(&self, prefix: &str) -> BucketAddress {
        let address = format!(
            "s3://reads/{prefix}?region=us-east-1&endpoint=http://{}&credentials={}",
            self.address,
            self.dir.path().join("credentials").display()
        );
        BucketAddress::parse(&address).unwrap()
    }
}

#[test]
fn a_bucket_is_a_facility() {
    let bucket = Arc::new(InMemory::new());
    run(async {
        drop(create(&bucket).await);
        conformance(&|| {
            let bucket = Arc::clone(&bucket);
            async move { Arc::new(open(&bucket).await.unwrap()) as Arc<dyn Facility> }.boxed()
        })
        .await;
    });
}

#[test]
fn a_bucket_in_an_s3_server_is_a_facility() {
    let Some(server) = Server::start() else { return };
    let address = server.facility("hub/one");
    run(async {
        drop(BucketFacility::create(&address).await.unwrap());
        conformance(&|| {
            let address = address.clone();
            async move { Arc::new(BucketFacility::open(&address).await.unwrap()) as Arc<dyn Facility> }
                .boxed()
        })
        .await;
        // The two names of a blob that went up in parts are one object, and no upload is left half done.
        assert!(!server.ask("GET /reads?uploads").contains("<UploadId>"));
    });
}

#[test]
fn of_two_programs_that_make_a_facility_in_an_s3_server_one_wins_and_the_later_holder_counts() {
    let Some(server) = Server::start() else { return };
    run(async {
        let address = server.facility("hub");
        let (one, two) =
            tokio::join!(BucketFacility::create(&address), BucketFacility::create(&address));
        assert_eq!(u8::from(one.is_ok()) + u8::from(two.is_ok()), 1);
        let first = one.or(two).unwrap();
        assert!(BucketFacility::create(&address).await.is_err());
        assert!(BucketFacility::is_used(&address).await.unwrap());
        assert!(!BucketFacility::is_used(&server.facility("other")).await.unwrap());
        let second = BucketFacility::open(&address).await.unwrap();
        assert_eq!(first.id(), second.id());
        let refused = first.get(&blob("never").0).await.unwrap_err().to_string();
        assert!(refused.contains("another process took it over"), "{refused}");
        assert_eq!(second.get(&blob("never").0).await.unwrap(), None);
    });
}

#[test]
fn a_store_over_a_directory_and_an_s3_server_outlives_the_server_and_heals_in_both_directions() {
    let Some(mut server) = Server::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let directory = Arc::new(DirectoryFacility::create(dir.path().join("a")).await.unwrap());
        let bucket = Arc::new(BucketFacility::create(&server.facility("b")).await.unwrap());
        let options =
            || StoreOptions { recent_bytes: 0, write_quorum: Some(1), ..StoreOptions::default() };
        let facilities: Vec<Arc<dyn Facility>> =
            vec![Arc::clone(&bucket) as _, Arc::clone(&directory) as _];
        let store = Store::open(facilities, options()).await.unwrap();
        let (hash, bytes) = blob("kept in both");
        let (other, other_bytes) = blob("erased in both");
        store.put(bytes.clone()).await.unwrap();
        store.put(other_bytes).await.unwrap();
        store.settle().await;

        // A copy in the bucket that is not what its name says, and one that the directory has not.
        bucket.put(hash, Bytes::from_static(b"something else")).await.unwrap();
        assert_eq!(store.get(&hash).await.unwrap(), bytes);
        assert_eq!(bucket.get(&hash).await.unwrap().as_ref(), Some(&bytes));
        directory.quarantine(&hash).await.unwrap();
        let report = store.scrub(ScrubOptions::default()).await;
        assert_eq!((report.healed, report.is_whole()), (1, true));
        assert_eq!(directory.get(&hash).await.unwrap().as_ref(), Some(&bytes));
        store.erase(&[other]).await.unwrap();
        assert!(bucket.get(&other).await.unwrap().is_none());

        // The server goes: reads come from the directory, and no one says "not found" for it.
        server.process.kill().unwrap();
        server.process.wait().unwrap();
        assert_eq!(store.get(&hash).await.unwrap(), bytes);
        assert!(
            store.get(&blob("never").0).await.is_err_and(|e| e.to_string().contains("does not"))
        );
        let status = store.status().await;
        assert_eq!(status[0].state, FacilityState::Missing);
        let why = status[0].why.clone().unwrap();
        assert!(!why.contains("hunter2"), "{why}");
    });
}

#[test]
fn a_bucket_that_was_emptied_or_is_another_s_is_missing_and_never_says_not_found() {
    let bucket = Arc::new(InMemory::new());
    run(async {
        let facility = create(&bucket).await;
        let (hash, bytes) = blob("kept");
        facility.put(hash, bytes).await.unwrap();
        empty(&bucket).await;
        assert!(matches!(facility.get(&hash).await, Err(FacilityError::Missing { .. })));
        assert!(matches!(facility.contains(&hash).await, Err(FacilityError::Missing { .. })));
        assert!(matches!(facility.list(3).await, Err(FacilityError::Missing { .. })));
        assert_eq!(facility.status().await.state, FacilityState::Missing);
        // Another one in its place is left alone.
        drop(create(&bucket).await);
        let refused = facility.put(hash, blob("kept").1).await.unwrap_err().to_string();
        assert!(refused.contains("belongs to"), "{refused}");
    });
}

#[test]
fn an_erasure_that_was_interrupted_is_finished_at_the_next_opening() {
    let bucket = Arc::new(InMemory::new());
    run(async {
        let facility = create(&bucket).await;
        let (hash, bytes) = blob("gone");
        facility.put(hash, bytes.clone()).await.unwrap();
        facility.quarantine(&hash).await.unwrap();
        facility.put(hash, bytes.clone()).await.unwrap();
        drop(facility);
        let begun = Key::from(format!("prefix/tombstones/x{BEGUN}"));
        let names = [hash].into_iter().collect();
        bucket.put(&begun, tombstone::encode(&names).into()).await.unwrap();
        let facility = open(&bucket).await.unwrap();
        assert_eq!(facility.get(&hash).await.unwrap(), None);
        assert!(matches!(facility.put(hash, bytes).await, Err(FacilityError::Erased { .. })));
        let status = facility.status().await;
        assert_eq!((status.blobs, status.quarantined), (0, 0));
        assert!(bucket.get(&begun).await.is_err());
        assert!(bucket.get(&Key::from("prefix/tombstones/x")).await.is_ok());
    });
}

#[test]
fn what_lies_among_the_blobs_is_found_and_can_be_set_aside() {
    let bucket = Arc::new(InMemory::new());
    run(async {
        let facility = create(&bucket).await;
        let (hash, bytes) = blob("whole");
        for path in ["prefix/objects/readme", "prefix/objects/zz/1", "prefix/objects/00/x"] {
            bucket.put(&Key::from(path), Bytes::from_static(b"x").into()).await.unwrap();
        }
        let misplaced = format!("prefix/objects/00/{hash}");
        bucket.put(&Key::from(misplaced), bytes.clone().into()).await.unwrap();
        let listing = facility.list(0).await.unwrap();
        assert_eq!(listing.strays.len(), 4);
        let whole = listing.strays.iter().find(|stray| stray.hash == Some(hash)).unwrap();
        assert_eq!(facility.read_stray(whole).await.unwrap().as_ref(), Some(&bytes));
        for stray in &listing.strays {
            facility.quarantine_stray(stray).await.unwrap();
        }
        assert!(facility.list(0).await.unwrap().strays.is_empty());
        assert_eq!(facility.status().await.quarantined, 4);
    });
}
