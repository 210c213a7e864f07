//! Datasets as brokers and vaults send them, sealed for real.

use api::{
    Acknowledged, Bytes, CreateDataset, Dataset, DatasetId, DatasetKind, Digest, ProjectId,
    PutManifest, Release, ReleaseRequest, SealedObject, SignedStatement,
};
use dataset::{OpenDataset, Packer, SealedPart};
use proof::{FileEntry, Manifest, ObjectSet, SigningKey, digest_of, sign_statement};
use seal::recipient::RecipientSecret;

use crate::testing::{Answer, Signed, TestHub};

/// The path of a dataset's calls.
pub(super) fn at(id: DatasetId, rest: &str) -> String {
    format!("/api/v1/datasets/{id}{rest}")
}

/// The digest of the card in force.
pub(super) async fn card(hub: &TestHub, key: &SigningKey, project: ProjectId) -> Digest {
    let path = format!("/api/v1/projects/{project}/card");
    digest_of(&hub.get(key, &path).await.ok::<SignedStatement>())
}

/// What makes a dataset of this kind.
pub(super) fn creation(
    hub: &TestHub,
    open: &OpenDataset,
    kind: DatasetKind,
    name: &str,
    parent: Option<DatasetId>,
) -> CreateDataset {
    CreateDataset {
        id: open.dataset(),
        kind,
        project: open.project(),
        card_digest: open.card_digest(),
        wrapped_key: open.wrap_to(&hub.recipient().to_bytes()).unwrap(),
        label: open.seal_label("dataset name", name.as_bytes()).unwrap(),
        settings: Some(open.seal_label("dataset settings", b"{}").unwrap()),
        parent,
        reads: None,
    }
}

/// A new dataset in `project`, made by `key`.
pub(super) async fn make(
    hub: &TestHub,
    key: &SigningKey,
    project: ProjectId,
    kind: DatasetKind,
    name: &str,
) -> OpenDataset {
    let card = card(hub, key, project).await;
    let open = OpenDataset::create(DatasetId::generate(), project, card).unwrap();
    let body = creation(hub, &open, kind, name, None);
    hub.call(key, "POST", "/api/v1/datasets", body).await.ok::<Dataset>();
    open
}

/// Files packed and sealed, with what a manifest says of them.
pub(super) struct Content {
    pub(super) files: Vec<FileEntry>,
    pub(super) objects: ObjectSet,
    pub(super) parts: Vec<SealedPart>,
}

/// Seals these files into packs of 1000 bytes.
pub(super) fn content(open: &OpenDataset, files: &[(&str, &[u8])]) -> Content {
    let mut packer = Packer::new(1000);
    let mut packs = Vec::new();
    for (path, bytes) in files {
        let file = packer.begin(path);
        packs.extend(packer.write(file, bytes).unwrap());
        packer.end(file);
    }
    packs.extend(packer.flush());
    let mut parts = Vec::new();
    for pack in packs {
        let part = pack.seal(open).unwrap();
        packer.sealed(&part);
        parts.push(part);
    }
    let (files, objects) = packer.finish().unwrap();
    Content { files, objects, parts }
}

/// A call that puts a sealed object, to be changed or signed.
pub(super) fn put_call(open: &OpenDataset, part: &SealedPart) -> Signed {
    let path = at(open.dataset(), &format!("/objects/{}", part.object));
    Signed::new("PUT", &path, part.sealed.clone())
        .header("chorion-epoch", &open.epoch().to_string())
        .header("chorion-wrapped-key", &data_encoding::BASE64.encode(&part.wrapped_key))
}

/// Puts a sealed object.
pub(super) async fn put(
    hub: &TestHub,
    key: &SigningKey,
    open: &OpenDataset,
    part: &SealedPart,
) -> Answer {
    hub.send(put_call(open, part).by(key, hub.now())).await
}

/// Puts everything, the index too, and gives the manifest that closes it.
pub(super) async fn put_all(
    hub: &TestHub,
    key: &SigningKey,
    open: &OpenDataset,
    content: Content,
    number: u32,
    previous: Option<Digest>,
) -> Manifest {
    let at = api::Time::from_second(hub.now()).unwrap();
    let Content { files, objects, parts } = content;
    let (manifest, index) =
        dataset::manifest(open, &hub.hub.id, files, objects, number, previous, at).unwrap();
    for part in parts.iter().chain(&index) {
        put(hub, key, open, part).await.ok::<Acknowledged>();
    }
    manifest
}

/// Posts a manifest signed by `signer`, in a call signed by `key`.
pub(super) async fn close(
    hub: &TestHub,
    key: &SigningKey,
    signer: &SigningKey,
    manifest: &Manifest,
    query: &str,
) -> Answer {
    let body = PutManifest { manifest: sign_statement(manifest, signer), reads: None };
    hub.call(key, "POST", &at(manifest.dataset, &format!("/manifest{query}")), body).await
}

/// A dataset with these files, sent and closed.
pub(super) async fn sent(
    hub: &TestHub,
    key: &SigningKey,
    project: ProjectId,
    kind: DatasetKind,
    files: &[(&str, &[u8])],
) -> OpenDataset {
    let open = make(hub, key, project, kind, "240611_A01234").await;
    let content = content(&open, files);
    let manifest = put_all(hub, key, &open, content, 1, None).await;
    close(hub, key, key, &manifest, "").await.ok::<Dataset>();
    open
}

/// The dataset, released to somebody new and opened.
pub(super) async fn released(hub: &TestHub, key: &SigningKey, id: DatasetId) -> OpenDataset {
    let person = RecipientSecret::generate().unwrap();
    let body = ReleaseRequest {
        recipient: Bytes(person.public().to_bytes()),
        purpose: "download".to_owned(),
    };
    let release: Release = hub.call(key, "POST", &at(id, "/release"), body).await.ok();
    OpenDataset::from_release(&release, &person).unwrap()
}

/// Reads every file of a dataset with its key, through the hub's calls alone.
pub(super) async fn read(
    hub: &TestHub,
    key: &SigningKey,
    open: &OpenDataset,
) -> Vec<(String, Vec<u8>)> {
    let id = open.dataset();
    let signed: SignedStatement = hub.get(key, &at(id, "/manifest")).await.ok();
    let (manifest, _) = proof::open_statement::<Manifest>(&signed).unwrap();
    let mut index = Vec::new();
    for extent in &manifest.index {
        index.push(object(hub, key, id, extent.object).await);
    }
    let index = dataset::open_index(open, &manifest, &index).unwrap();
    let mut files = Vec::new();
    for file in &index.files {
        let mut bytes = Vec::new();
        for slice in dataset::slices(file, 0, u64::MAX) {
            let (kept, sealed) = object(hub, key, id, slice.object).await;
            let plaintext = open.open_object(&kept, &sealed, Some(slice.commitment)).unwrap();
            bytes.extend_from_slice(slice.of(&plaintext).unwrap());
        }
        assert_eq!(proof::sha256(&bytes), file.sha256);
        files.push((file.path.clone(), bytes));
    }
    files
}

/// One object and its wrapped key, through the hub's calls.
pub(super) async fn object(
    hub: &TestHub,
    key: &SigningKey,
    id: DatasetId,
    object: api::ObjectRef,
) -> (SealedObject, Vec<u8>) {
    let kept = hub.get(key, &at(id, &format!("/objects/{object}/key"))).await.ok();
    let answer = hub.get(key, &at(id, &format!("/objects/{object}"))).await;
    assert!(answer.status.is_success());
    (kept, answer.body)
}

/// Whether any file under the hub's directory holds these bytes.
pub(super) fn on_disk(hub: &TestHub, bytes: &[u8]) -> Vec<std::path::PathBuf> {
    let mut holds = Vec::new();
    let mut open = vec![hub.directory().to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if std::fs::read(&path).unwrap().windows(bytes.len()).any(|part| part == bytes) {
                holds.push(path);
            }
        }
    }
    holds
}
