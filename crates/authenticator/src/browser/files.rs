//! Datasets of one's own: opened and made with the words, while their bytes go through the browser's own cipher.
//!
//! The module makes and opens keys, prefixes, indexes and manifests; segments are AES-256-GCM by WebCrypto, which is many times as fast
//! as anything here (`spec/sealed-object.md` section 5). What comes out is a key for one object, which the page imports so that it
//! cannot be exported again.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::Read;
use std::rc::Rc;

use api::{
    CreateDataset, Dataset, DatasetId, DatasetKind, Digest, ObjectRef, OwnerKey, Release,
    SealedObject, SignedStatement,
};
use data_encoding::{BASE64, HEXLOWER};
use dataset::{NewObject, OpenDataset};
use proof::{Act, FileEntry, Hasher, ObjectSet, PublicKey, unsigned_statement};
use seal::crypt4gh::{KeyFile, Reader, SecretKey};
use seal::recipient::RecipientKey;
use serde_json::{Value, json};
use wasm_bindgen::prelude::*;

use super::acts::hub_public_key;
use super::{Own, Person, Told, id, moment, plain, public_key, read, refused, told};
use crate::{Content, NewCopy, Seen, add_writer, whole};

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

/// A dataset of this person's, opened, whose writer was checked.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Opened {
    content: Content,
    index: Vec<(SealedObject, Vec<u8>)>,
}

#[wasm_bindgen]
impl Opened {
    /// Which content it is, to be remembered: a [`Seen`].
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn seen(&self) -> String {
        json!(self.content.seen).to_string()
    }

    /// The ids of the objects that hold the list of files.
    #[must_use]
    pub fn index_objects(&self) -> Vec<String> {
        self.content.manifest.index.iter().map(|extent| extent.object.to_string()).collect()
    }

    /// Takes one of them, with its bytes.
    ///
    /// # Errors
    /// The hub's list does not read.
    pub fn take_index(&mut self, object: &str, sealed: Vec<u8>) -> Told<()> {
        self.index.push((read("the object", object)?, sealed));
        Ok(())
    }

    /// The list of files: path, bytes, SHA-256, extents.
    ///
    /// # Errors
    /// It is not the one that the manifest names.
    pub fn files(&self) -> Told<String> {
        let Content { open, manifest, .. } = &self.content;
        let index = dataset::open_index(open, manifest, &self.index).map_err(told)?;
        Ok(json!(index.files).to_string())
    }

    /// What opens the segments of an object that begins with `prefix`: key and base nonce, 44 bytes, to be wiped when they are imported.
    ///
    /// # Errors
    /// The object is not the one of that commitment, or its key does not open.
    pub fn segments(&self, object: &str, prefix: &[u8], commitment: &str) -> Told<Vec<u8>> {
        let object: SealedObject = read("the object", object)?;
        let commitment: Digest = read("the commitment", &json!(commitment).to_string())?;
        let key = self.content.open.segment_key(&object, prefix, commitment).map_err(told)?;
        Ok(key.expose().to_vec())
    }

    /// The dataset's key, wrapped to somebody's `chorion1…` key: what a share sends beside its approval.
    ///
    /// # Errors
    /// It is no key.
    pub fn wrap_to(&self, key: &str) -> Told<String> {
        let to: RecipientKey = key.trim().parse().map_err(told)?;
        let open = &self.content.open;
        let release = Release {
            dataset: open.dataset(),
            project: open.project(),
            card_digest: open.card_digest(),
            epoch: open.epoch(),
            wrapped_key: open.wrap_to(&to.to_bytes()).map_err(told)?,
            leaf: None,
        };
        Ok(json!(release).to_string())
    }

    pub(super) const fn content(&self) -> &Content {
        &self.content
    }
}

/// A dataset that is being made here: a sample of one's own, or a copy that others hold the key of.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Making {
    open: OpenDataset,
    create: CreateDataset,
    copy: Option<NewCopy>,
}

/// An object that is about to be sealed by the page.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Head(NewObject);

#[wasm_bindgen]
impl Head {
    /// Its id.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn object(&self) -> String {
        self.0.object.to_string()
    }

    /// Its first 128 bytes.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn prefix(&self) -> Vec<u8> {
        self.0.prefix.to_vec()
    }

    /// Its commitment, hexadecimal.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn commitment(&self) -> String {
        HEXLOWER.encode(&self.0.commitment.0)
    }

    /// Its data key under the dataset key, in base64.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn wrapped_key(&self) -> String {
        BASE64.encode(&self.0.wrapped_key)
    }

    /// What seals its segments: key and base nonce, 44 bytes, to be wiped when they are imported. After this the object is the page's.
    #[must_use]
    pub fn segments(self) -> Vec<u8> {
        self.0.segments.expose().to_vec()
    }
}

#[wasm_bindgen]
impl Making {
    /// The call that creates it at the hub; of a sample of one's own it is also what it is gone on with after a stop.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn create(&self) -> String {
        json!(self.create).to_string()
    }

    pub(super) fn export_of(&self, opened: &Opened) -> Option<Act> {
        self.copy.as_ref().map(|copy| copy.act(opened.content.input()))
    }

    /// The next object.
    ///
    /// # Errors
    /// The browser gives no randomness.
    pub fn object(&self) -> Told<Head> {
        NewObject::create(&self.open).map(Head).map_err(told)
    }

    /// What closes the dataset: the manifest's text, for the key that signs calls, and the sealed parts of the index, which the hub
    /// must have before. `files` is a list of path, bytes, SHA-256 and extents; `objects` a list of object, hash and sealed bytes.
    ///
    /// # Errors
    /// The lists do not read, or no index can be made of them.
    pub fn close(&self, hub: &str, files: &str, objects: &str, now: &str) -> Told<String> {
        let files: Vec<FileEntry> = read("the list of files", files)?;
        let listed: Vec<(ObjectRef, Digest, u64)> = read("the list of objects", objects)?;
        let mut objects = ObjectSet::default();
        for (object, hash, sealed_bytes) in listed {
            objects.insert(object, hash, sealed_bytes);
        }
        let at = whole(moment(now)?);
        let (manifest, parts) =
            dataset::manifest(&self.open, hub, files, objects, 1, None, at).map_err(told)?;
        let parts: Vec<Value> = parts
            .iter()
            .map(|part| {
                json!({
                    "object": part.object, "wrapped_key": BASE64.encode(&part.wrapped_key),
                    "sealed": BASE64.encode(&part.sealed),
                })
            })
            .collect();
        Ok(json!({ "statement": unsigned_statement(&manifest), "parts": parts }).to_string())
    }
}

#[wasm_bindgen]
impl Person {
    /// Opens a dataset of this person's. `card` and `before` are the card and the content that were seen last, or `null`.
    ///
    /// # Errors
    /// It is another's, does not open, or was written by somebody whom the card does not know.
    pub fn open_dataset(
        &self,
        hub: &str,
        dataset: &str,
        key: &str,
        manifest: &str,
        card: &str,
        before: &str,
    ) -> Told<Opened> {
        let key: OwnerKey = read("the key", key)?;
        let manifest: SignedStatement = read("the manifest", manifest)?;
        let card: Option<SignedStatement> = read("the card that was seen", card)?;
        let before: Option<Seen> = read("the content that was seen", before)?;
        let content = self
            .at(hub)?
            .content(id(dataset)?, key, &manifest, card.as_ref(), before.as_ref())
            .map_err(refused)?;
        Ok(Opened { content, index: Vec::new() })
    }

    /// Begins a dataset in a project of this person's, whose card is verified first.
    ///
    /// # Errors
    /// The card is another's, or the browser gives no randomness.
    pub fn make_dataset(&self, own: &str, name: &str) -> Told<Making> {
        let own: Own = read("the card", own)?;
        let device = self.at(&own.hub)?;
        let card = device.card(own.project, &own.card, own.seen.as_ref()).map_err(refused)?;
        let open = OpenDataset::create(DatasetId::generate(), own.project, card.digest());
        let open = open.map_err(told)?;
        let create = CreateDataset {
            id: open.dataset(),
            kind: DatasetKind::Sample,
            project: own.project,
            card_digest: open.card_digest(),
            wrapped_key: open.wrap_to(&card.recipient.0).map_err(told)?,
            label: open.seal_label("dataset name", name.as_bytes()).map_err(told)?,
            settings: None,
            parent: None,
            reads: None,
        };
        Ok(Making { open, create, copy: None })
    }

    /// Begins a copy of a dataset of this person's in a project whose key others hold: `card` is that project's, `hub_key` the key, in
    /// base64, that signs such cards.
    ///
    /// # Errors
    /// The card is another's, the project an owner's, or the dataset neither a sample nor a result.
    pub fn make_copy(
        &self,
        hub: &str,
        hub_key: &str,
        source: &str,
        project: &str,
        card: &str,
        name: &str,
    ) -> Told<Making> {
        let source: Dataset = read("the dataset", source)?;
        let card: SignedStatement = read("the card", card)?;
        let key = hub_public_key(hub_key)?;
        let copy = self.at(hub)?.copy_into(&source, id(project)?, &card, &key).map_err(refused)?;
        let create = copy.create(name.as_bytes()).map_err(refused)?;
        Ok(Making { open: copy.open().clone(), create, copy: Some(copy) })
    }

    /// What a copy is gone on with after a stop: the call that creates it, with its key wrapped to this person's words. It never goes to
    /// the hub.
    ///
    /// # Errors
    /// The browser gives no randomness.
    pub fn keep_copy(&self, making: &Making) -> Told<String> {
        let to = self.identity.sealing().public().to_bytes();
        let wrapped_key = making.open.wrap_to(&to).map_err(told)?;
        Ok(json!(CreateDataset { wrapped_key, ..making.create.clone() }).to_string())
    }

    /// Goes on with one that was begun.
    ///
    /// # Errors
    /// Its key does not open with these words.
    pub fn go_on(&self, create: &str) -> Told<Making> {
        let create: CreateDataset = read("what was begun", create)?;
        let release = Release {
            dataset: create.id,
            project: create.project,
            card_digest: create.card_digest,
            epoch: 0,
            wrapped_key: create.wrapped_key.clone(),
            leaf: None,
        };
        let open = OpenDataset::from_release(&release, &self.identity.sealing()).map_err(told)?;
        Ok(Making { open, create, copy: None })
    }

    /// The next card, by which a key may add data, as it is sent to the hub; empty if it may already.
    ///
    /// # Errors
    /// The passphrase is another, the card is not this person's, or the key has another role in it.
    pub fn let_write(
        &self,
        own: &str,
        key: &str,
        identity: &str,
        passphrase: &str,
    ) -> Told<String> {
        let own: Own = read("the card", own)?;
        self.still_there(identity, passphrase)?;
        let device = self.at(&own.hub)?;
        let card = device.card(own.project, &own.card, own.seen.as_ref()).map_err(refused)?;
        let next = add_writer(&device, &own.card, &card, &public_key(key)?).map_err(refused)?;
        let put = |card| json!(api::PutCard { card, approval: None }).to_string();
        Ok(next.map(put).unwrap_or_default())
    }

    /// Whether a key may add data under a card of this person's.
    ///
    /// # Errors
    /// The card is not this person's.
    pub fn may_write(&self, own: &str, key: &[u8]) -> Told<bool> {
        let own: Own = read("the card", own)?;
        let card =
            self.at(&own.hub)?.card(own.project, &own.card, own.seen.as_ref()).map_err(refused)?;
        Ok(card.is_writer(&PublicKey::from_bytes(key).map_err(told)?))
    }
}

/// A Crypt4GH secret key.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Crypt4ghKey(SecretKey);

#[wasm_bindgen]
impl Crypt4ghKey {
    /// Reads a key file, and opens it where it is locked.
    ///
    /// # Errors
    /// It is no key file, or the passphrase is another one.
    pub fn read(text: &str, passphrase: &str) -> Told<Crypt4ghKey> {
        Ok(Self(match KeyFile::read(text).map_err(told)? {
            KeyFile::Bare(key) => key,
            KeyFile::Locked(locked) => locked.unlock(passphrase.as_bytes()).map_err(told)?,
        }))
    }
}

/// Bytes that came and were not read yet.
#[derive(Debug, Clone, Default)]
struct Feed(Rc<RefCell<VecDeque<u8>>>);

impl Read for Feed {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().read(buffer)
    }
}

/// A Crypt4GH file whose bytes come piece by piece.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Crypt4ghFile {
    reader: Reader<Feed>,
    feed: Feed,
}

/// Nonce, 64 KiB and tag.
const CRYPT4GH_BLOCK: usize = 12 + 64 * 1024 + 16;

#[wasm_bindgen]
impl Crypt4ghFile {
    /// Reads its header, which must lie whole in `head`; what comes after it is kept for [`Crypt4ghFile::open`].
    ///
    /// # Errors
    /// It is none, or not for this key.
    #[wasm_bindgen(constructor)]
    pub fn new(head: &[u8], key: &Crypt4ghKey) -> Told<Crypt4ghFile> {
        let feed = Feed::default();
        feed.0.borrow_mut().extend(head);
        let reader = Reader::new(feed.clone(), &key.0).map_err(told)?;
        Ok(Self { reader, feed })
    }

    /// Takes the next bytes, and gives the plaintext of all blocks that are whole now; `last` says that no more will come.
    ///
    /// # Errors
    /// A block does not open.
    pub fn open(&mut self, bytes: &[u8], last: bool) -> Told<Vec<u8>> {
        self.feed.0.borrow_mut().extend(bytes);
        let mut plaintext = Vec::with_capacity(bytes.len());
        let mut block = vec![0; CRYPT4GH_BLOCK];
        loop {
            let waiting = self.feed.0.borrow().len();
            // A block that is short is the last one, so none is looked at before it is whole.
            if waiting == 0 || (waiting < CRYPT4GH_BLOCK && !last) {
                return Ok(plaintext);
            }
            match self.reader.read(&mut block).map_err(told)? {
                0 => return Ok(plaintext),
                read => plaintext.extend_from_slice(&block[..read]),
            }
        }
    }
}

/// The six words of somebody's `chorion1…` key.
///
/// # Errors
/// It is none.
#[wasm_bindgen]
pub fn phrase_of_key(key: &str) -> Told<String> {
    let key: RecipientKey = key.trim().parse().map_err(told)?;
    Ok(proof::phrase(&Digest(key.fingerprint())))
}

/// The modules of a QR code of `text`: its width, then row by row 1 for a dark one.
///
/// # Errors
/// The text is too long.
#[wasm_bindgen]
pub fn qr_code(text: &str) -> Told<Vec<u8>> {
    let code = qrcodegen::QrCode::encode_text(text, qrcodegen::QrCodeEcc::Medium)
        .map_err(|_| plain("the text is too long for a QR code"))?;
    let side = code.size();
    let mut modules = vec![u8::try_from(side).map_err(told)?];
    for y in 0..side {
        modules.extend((0..side).map(|x| u8::from(code.get_module(x, y))));
    }
    Ok(modules)
}
