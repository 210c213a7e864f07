//! The worker's side, in WASM: keys stay in here, and what goes in and out is text (JSON of `api`'s types) and bytes.

use api::{Bytes, DatasetId, Digest, SealedObject, SignedStatement};
use data_encoding::HEXLOWER;
use proof::Hasher;
use seal::recipient::RecipientSecret;
use serde::de::DeserializeOwned;
use serde_json::json;
use wasm_bindgen::prelude::*;

use crate::Contents;

type Told<T> = Result<T, JsError>;

/// An error as a page shows it: the sentence and its causes.
fn told(error: impl std::error::Error) -> JsError {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        said.push_str(": ");
        said.push_str(&next.to_string());
        cause = next.source();
    }
    JsError::new(&said)
}

/// What the hub answered. A field that is not known is an error.
fn read<T: DeserializeOwned>(what: &str, text: &str) -> Told<T> {
    serde_json::from_str(text).map_err(|e| JsError::new(&format!("{what} does not read: {e}")))
}

/// A SHA-256 over bytes that come one after the other.
#[wasm_bindgen]
#[derive(Debug, Default)]
pub struct Hash(Hasher);

#[wasm_bindgen]
impl Hash {
    /// Of nothing yet.
    #[wasm_bindgen(constructor)]
    #[must_use]
    pub fn new() -> Hash {
        Self::default()
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all of them, hexadecimal.
    #[must_use]
    pub fn finish(self) -> String {
        HEXLOWER.encode(&self.0.finish().0)
    }
}

/// An X-Wing key of this worker's: one dataset's key is released to it, and it is gone with the worker.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Recipient(RecipientSecret);

#[wasm_bindgen]
impl Recipient {
    /// A new one.
    ///
    /// # Errors
    /// The browser gives no randomness.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Told<Recipient> {
        RecipientSecret::generate().map(Self).map_err(told)
    }

    /// Its public half, as `Release` requests name it: base64.
    #[must_use]
    pub fn public(&self) -> String {
        json!(Bytes(self.0.public().to_bytes())).as_str().unwrap_or_default().to_owned()
    }

    /// Opens what was released to it, and uses it up.
    ///
    /// # Errors
    /// Key or manifest do not read, do not open, or speak of another dataset.
    pub fn open(self, hub: &str, dataset: &str, release: &str, manifest: &str) -> Told<Opened> {
        let dataset: DatasetId = dataset.parse().map_err(told)?;
        let manifest: SignedStatement = read("the manifest", manifest)?;
        let release = read("the key", release)?;
        Contents::open(hub, dataset, &release, &self.0, &manifest).map(Opened).map_err(told)
    }
}

/// A dataset, opened.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Opened(Contents);

#[wasm_bindgen]
impl Opened {
    /// The ids of the objects that hold the list of files.
    #[must_use]
    pub fn index_objects(&self) -> Vec<String> {
        self.0.index_objects().map(|object| object.to_string()).collect()
    }

    /// Takes one of them, with its bytes.
    ///
    /// # Errors
    /// What the hub says of it does not read.
    pub fn take_index(&mut self, object: &str, sealed: Vec<u8>) -> Told<()> {
        self.0.take_index(read("the object", object)?, sealed);
        Ok(())
    }

    /// The list of files: path, bytes, SHA-256, extents.
    ///
    /// # Errors
    /// It is not the one that the manifest names.
    pub fn files(&self) -> Told<String> {
        Ok(json!(self.0.files().map_err(told)?).to_string())
    }

    /// What opens the segments of an object that begins with `prefix`: key and base nonce, 44 bytes, to be wiped when they are imported.
    ///
    /// # Errors
    /// The object is not the one of that commitment, or its key does not open.
    pub fn segments(&self, object: &str, prefix: &[u8], commitment: &str) -> Told<Vec<u8>> {
        let object: SealedObject = read("the object", object)?;
        let commitment: Digest = read("the commitment", &json!(commitment).to_string())?;
        let key = self.0.segment_key(&object, prefix, commitment).map_err(told)?;
        Ok(key.expose().to_vec())
    }
}
