//! The vectors of `vectors/sealed-object`, made by a second implementation from the pages of `spec/`.
//!
//! Each file has one case; objects and files run through every way there is to open them.

#![expect(clippy::unwrap_used, reason = "a test that meets something unexpected ends there")]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Mutex;

use data_encoding::{BASE64, HEXLOWER};
use flate2::read::ZlibDecoder;
use seal::file::{open_file, open_file_parallel};
use seal::key_file::KeyFile;
use seal::label::open_label;
use seal::recipient::{RecipientKey, RecipientSecret};
use seal::wrap::{DatasetContext, ObjectContext, unwrap_data_key, unwrap_dataset_key};
use seal::{
    Commitment, DataKey, DatasetKey, KeyEncryptionKey, ObjectId, ObjectOpener, OpenError, Opener,
    Workers, WriteAt, open_object, open_parallel, recipient,
};
use serde::Deserialize;
use sha2::{Digest, Sha256};

#[derive(Deserialize)]
struct Case {
    kind: String,
    #[serde(flatten)]
    fields: BTreeMap<String, serde_json::Value>,
    expect: Expect,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Expect {
    Opens { opens: BTreeMap<String, serde_json::Value> },
    Refused { error: String, segment: Option<u64> },
}

impl Case {
    fn text(&self, field: &str) -> &str {
        self.fields[field].as_str().unwrap_or_else(|| panic!("field {field}"))
    }

    fn bytes(&self, field: &str) -> Vec<u8> {
        HEXLOWER.decode(self.text(field).as_bytes()).unwrap()
    }

    fn array<const N: usize>(&self, field: &str) -> [u8; N] {
        self.bytes(field).try_into().unwrap()
    }

    fn epoch(&self) -> u32 {
        self.fields["epoch"].as_u64().unwrap().try_into().unwrap()
    }

    fn sealed(&self) -> Vec<u8> {
        let packed = BASE64.decode(self.text("sealed_zlib").as_bytes()).unwrap();
        let mut sealed = Vec::new();
        ZlibDecoder::new(packed.as_slice()).read_to_end(&mut sealed).unwrap();
        sealed
    }

    /// What came must be what the file says, down to the kind of error and the segment it names.
    fn check<E: Debug>(&self, way: &str, came: Result<BTreeMap<&'static str, String>, E>) {
        match (&self.expect, came) {
            (Expect::Opens { opens }, Ok(came)) => {
                for (what, value) in opens {
                    let expected = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    assert_eq!(came[what.as_str()], expected, "{way}: {what}");
                }
            }
            (Expect::Refused { error, segment }, Err(came)) => {
                let came = format!("{came:?}");
                let came = came.strip_prefix("Object(").unwrap_or(&came);
                let name: String = came.chars().take_while(char::is_ascii_alphanumeric).collect();
                assert_eq!(&name, error, "{way}: {came}");
                if let Some(segment) = segment {
                    assert!(came.contains(&format!("index: {segment} ")), "{way}: {came}");
                }
            }
            (Expect::Opens { .. }, Err(came)) => panic!("{way}: refused with {came:?}"),
            (Expect::Refused { error, .. }, Ok(_)) => panic!("{way}: opened instead of {error}"),
        }
    }
}

fn digest(plaintext: &[u8]) -> BTreeMap<&'static str, String> {
    let sha256 = HEXLOWER.encode(&Sha256::digest(plaintext));
    BTreeMap::from([("bytes", plaintext.len().to_string()), ("sha256", sha256)])
}

#[derive(Default)]
struct Sink(Mutex<Vec<u8>>);

impl WriteAt for Sink {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> std::io::Result<()> {
        let mut all = self.0.lock().unwrap();
        let end = usize::try_from(offset).unwrap() + bytes.len();
        if all.len() < end {
            all.resize(end, 0);
        }
        all[end - bytes.len()..end].copy_from_slice(bytes);
        Ok(())
    }
}

const WORKERS: Workers<'static> =
    Workers { threads: std::num::NonZeroUsize::new(2).unwrap(), progress: &|_| () };

fn object(case: &Case) {
    let key = || DataKey::from_bytes(case.array("key"));
    let id = ObjectId::from_bytes(case.array("id"));
    let sealed = case.sealed();
    case.check("whole", open_object(&key(), id, &sealed).map(|plaintext| digest(&plaintext)));

    let mut out = Vec::new();
    let streamed = Opener::new(&key(), id, sealed.as_slice())
        .and_then(|mut opener| opener.write_to(&mut out, &mut |_| ()));
    case.check("stream", streamed.map(|_| digest(&out)));

    let sink = Sink::default();
    let source = sealed.as_slice();
    let opened = open_parallel(&key(), id, (&source, 0, sealed.len() as u64), &sink, WORKERS);
    case.check("two threads", opened.map(|_| digest(&sink.0.into_inner().unwrap())));

    let by_segments = || -> Result<Vec<u8>, OpenError> {
        let opener =
            ObjectOpener::new(&key(), id, &sealed[..sealed.len().min(128)], sealed.len() as u64)?;
        let mut plaintext = Vec::new();
        for index in 0..opener.segments() {
            let range = opener.segment_range(index);
            let (start, end) =
                (usize::try_from(range.start).unwrap(), usize::try_from(range.end).unwrap());
            opener.open_segment(index, &sealed[start..end], &mut plaintext)?;
        }
        Ok(plaintext)
    };
    case.check("by segments", by_segments().map(|plaintext| digest(&plaintext)));
}

fn file(case: &Case) {
    let secret = RecipientSecret::from_seed(case.array("seed"));
    let sealed = case.sealed();
    let mut out = Vec::new();
    let streamed = open_file(&mut sealed.as_slice(), &mut out, &secret, &mut |_| ());
    case.check("stream", streamed.map(|_| digest(&out)));
    let sink = Sink::default();
    let source = sealed.as_slice();
    let opened = open_file_parallel((&source, sealed.len() as u64), &sink, &secret, WORKERS);
    case.check("two threads", opened.map(|_| digest(&sink.0.into_inner().unwrap())));
}

fn opened_key(bytes: &[u8; 32]) -> BTreeMap<&'static str, String> {
    BTreeMap::from([("key", HEXLOWER.encode(bytes))])
}

fn run(case: &Case) {
    match case.kind.as_str() {
        "object" => object(case),
        "file" => file(case),
        "data-key" => {
            let place = ObjectContext {
                dataset: case.array("dataset"),
                epoch: case.epoch(),
                object: ObjectId::from_bytes(case.array("object")),
                commitment: Commitment::from_bytes(case.array("commitment")),
            };
            let under = DatasetKey::from_bytes(case.array("under"));
            let key = unwrap_data_key(&under, &place, &case.bytes("wrapped"));
            case.check("unwrap", key.map(|key| opened_key(key.expose())));
        }
        "dataset-key" => {
            let place = DatasetContext {
                dataset: case.array("dataset"),
                project: case.array("project"),
                card_digest: case.array("card_digest"),
                epoch: case.epoch(),
            };
            let under = KeyEncryptionKey::from_bytes(case.array("under"));
            let key = unwrap_dataset_key(&under, &place, &case.bytes("wrapped"));
            case.check("unwrap", key.map(|key| opened_key(key.expose())));
        }
        "to-recipient" => {
            let secret = RecipientSecret::from_seed(case.array("seed"));
            let key = recipient::unwrap(&secret, &case.bytes("info"), &case.bytes("wrapped"));
            case.check("unwrap", key.map(|key| opened_key(key.expose())));
        }
        "label" => {
            let key = DatasetKey::from_bytes(case.array("key"));
            let text = open_label(&key, case.text("purpose"), &case.bytes("sealed"));
            case.check(
                "open",
                text.map(|text| BTreeMap::from([("text", String::from_utf8(text).unwrap())])),
            );
        }
        "recipient" => {
            let key = case.text("text").parse::<RecipientKey>();
            if let Ok(key) = &key {
                let secret = RecipientSecret::from_seed(case.array("seed"));
                assert_eq!(&secret.public(), key);
                assert_eq!(key.to_string(), case.text("text"));
            }
            case.check(
                "parse",
                key.map(|key| BTreeMap::from([("sha256", HEXLOWER.encode(&key.fingerprint()))])),
            );
        }
        "key-file" => {
            let passphrase = case.fields["passphrase"].as_str().unwrap_or("").as_bytes();
            let secret = KeyFile::read(case.text("text")).and_then(|file| match file {
                KeyFile::Bare(secret) => Ok(secret),
                KeyFile::Locked(locked) => locked.unlock(passphrase),
            });
            let seed = |secret: RecipientSecret| HEXLOWER.encode(secret.expose_seed());
            case.check("read", secret.map(|secret| BTreeMap::from([("seed", seed(secret))])));
        }
        other => panic!("a kind this test does not know: {other}"),
    }
}

#[test]
fn every_vector_ends_as_its_file_says() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../vectors/sealed-object");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    assert!(files.len() > 120, "only {} vectors are there", files.len());
    let mut failed = Vec::new();
    for path in &files {
        let case: Case = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        if std::panic::catch_unwind(|| run(&case)).is_err() {
            failed.push(path.file_name().unwrap().to_owned());
        }
    }
    assert!(failed.is_empty(), "{} of {} fail: {failed:?}", failed.len(), files.len());
}
