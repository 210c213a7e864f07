//! From sealed objects at the hub to files here: the key is released to this person, everything is checked, and a file gets
//! its name when its SHA-256 is the one that its writer signed.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use api::{DatasetId, Digest, ObjectRef, SealedObject};
use authenticator::Writers;
use dataset::{OpenDataset, Slice};
use proof::{FileEntry, Hasher, Index, Manifest, digest_of, open_statement};
use seal::Plaintext;
use serde::Serialize;
use tokio::task::JoinHandle;

use crate::config::{ClientContext, Seen};
use crate::report::{CliError, CliResult, Ui};

/// Objects that are fetched and opened ahead of the one that is being written: with 8 MiB each, a bound on memory.
const AHEAD: usize = 3;
/// The most room that is made before a file is read whole: what it says of itself is not its length yet.
const MOST_ROOM: usize = 64 << 20;

/// A dataset whose key was released here and whose manifest was checked.
pub(crate) struct Contents {
    open: Arc<OpenDataset>,
    index: Index,
    objects: Arc<HashMap<ObjectRef, SealedObject>>,
}

/// A file that is here now.
#[derive(Debug, Serialize)]
pub(crate) struct Got {
    /// Its path inside the dataset.
    pub(crate) path: String,
    /// Its length.
    pub(crate) bytes: u64,
    /// The SHA-256 that was signed and that it has.
    pub(crate) sha256: Digest,
    /// It was here before, whole.
    pub(crate) already_here: bool,
}

impl Contents {
    /// Asks for the key, and checks manifest and index.
    pub(crate) async fn open(ctx: &ClientContext, dataset: DatasetId) -> CliResult<Self> {
        if ctx.client.dataset(dataset).await?.custodian != api::Custodian::Owner {
            return Self::with(ctx, ctx.open(dataset, "download").await?, None).await;
        }
        let (open, writers) = ctx.open_owned(dataset).await?;
        Self::with(ctx, open, Some(writers)).await
    }

    /// The same with a key that is here already; `writers` says who may have signed the content, where an owner says it.
    pub(crate) async fn with(
        ctx: &ClientContext,
        open: OpenDataset,
        writers: Option<Writers>,
    ) -> CliResult<Self> {
        let dataset = open.dataset();
        let signed = ctx.client.manifest(dataset).await?;
        let (manifest, writer) = open_statement::<Manifest>(&signed).map_err(|e| {
            CliError::new(format!("the manifest of dataset {dataset} does not hold")).caused_by(e)
        })?;
        let same = manifest.dataset == dataset
            && manifest.project == open.project()
            && manifest.card == open.card_digest()
            && manifest.epoch == open.epoch();
        if !same {
            return Err(CliError::new(format!(
                "the manifest of dataset {dataset} speaks of something else"
            ))
            .hint("the dataset may be written anew at this moment: try again"));
        }
        if let Some(writers) = &writers
            && !writers.may_write(&manifest, &writer)
        {
            return Err(CliError::new(format!(
                "dataset {dataset} was written by a key that the owner's card does not know"
            ))
            .hint("it may be made up: open it only after you know who sent it"));
        }
        ctx.remember(dataset, Seen { number: manifest.number, digest: digest_of(&signed) })?;
        let objects: HashMap<_, _> =
            ctx.client.objects(dataset).all().await?.into_iter().map(|o| (o.object, o)).collect();
        let mut sealed = Vec::new();
        for extent in &manifest.index {
            let object = listed(&objects, dataset, extent.object)?;
            let bytes = ctx.client.object(dataset, extent.object).await?;
            sealed.push((object.clone(), Vec::from(bytes)));
        }
        let index = dataset::open_index(&open, &manifest, &sealed)?;
        Ok(Self { open: Arc::new(open), index, objects: Arc::new(objects) })
    }

    /// Its files.
    pub(crate) const fn index(&self) -> &Index {
        &self.index
    }

    /// Its key and place.
    pub(crate) fn key(&self) -> &OpenDataset {
        &self.open
    }

    /// A small file whole.
    pub(crate) async fn read(&self, ctx: &ClientContext, path: &str) -> CliResult<Plaintext> {
        let file = self.index.file(path).ok_or_else(|| {
            CliError::new(format!("dataset {} has no file {path}", self.open.dataset()))
        })?;
        let room = usize::try_from(file.bytes).unwrap_or(0).min(MOST_ROOM);
        let mut bytes = Plaintext::with_capacity(room);
        let slices = dataset::slices(file, 0, u64::MAX);
        let mut ahead = self.ahead(ctx, slices.iter());
        for slice in &slices {
            bytes.extend_from_slice(slice.of(&ahead.opened(slice).await?)?);
        }
        if proof::sha256(&bytes) == file.sha256 { Ok(bytes) } else { Err(self.not_as_signed(path)) }
    }

    /// Gives a file's bytes in order to `take`; fails at the end if they are not those that were signed.
    pub(crate) async fn read_through(
        &self,
        ctx: &ClientContext,
        path: &str,
        bar: &indicatif::ProgressBar,
        take: impl FnMut(&[u8]) -> CliResult,
    ) -> CliResult {
        let file = self.index.file(path).ok_or_else(|| {
            CliError::new(format!("dataset {} has no file {path}", self.open.dataset()))
        })?;
        let slices = dataset::slices(file, 0, u64::MAX);
        let mut ahead = self.ahead(ctx, slices.iter());
        self.stream(&mut ahead, file, &slices, bar, take).await
    }

    fn not_as_signed(&self, path: &str) -> CliError {
        CliError::new(format!(
            "{path} of dataset {} is not the file that its writer signed",
            self.open.dataset()
        ))
        .hint("nothing of it was kept; ask the operator to scrub the store, and try again")
    }

    /// Downloads the files that `wanted` takes below `to`.
    pub(crate) async fn save(
        &self,
        ctx: &ClientContext,
        ui: Ui,
        to: &Path,
        wanted: impl Fn(&str) -> bool,
    ) -> CliResult<Vec<Got>> {
        let files: Vec<_> = self.index.files.iter().filter(|f| wanted(&f.path)).collect();
        let bar = ui.progress(files.iter().map(|f| f.bytes).sum(), "downloading");
        let mut got = Vec::with_capacity(files.len());
        let mut lacking = Vec::new();
        for file in files {
            let target = to.join(&file.path);
            let already_here = is_here(&target, file)?;
            if already_here {
                bar.inc(file.bytes);
            } else {
                lacking.push((file, target, dataset::slices(file, 0, u64::MAX)));
            }
            let FileEntry { ref path, bytes, sha256, .. } = *file;
            got.push(Got { path: path.clone(), bytes, sha256, already_here });
        }
        // Files that share an object follow one another, so that it is fetched once for all of them.
        lacking
            .sort_by_key(|(_, _, slices)| slices.first().map(|first| (first.object, first.offset)));
        let mut ahead = self.ahead(ctx, lacking.iter().flat_map(|(_, _, slices)| slices));
        for (file, target, slices) in &lacking {
            self.save_file(&mut ahead, file, slices, target, &bar).await?;
        }
        bar.finish_and_clear();
        Ok(got)
    }

    async fn save_file(
        &self,
        ahead: &mut Ahead,
        file: &FileEntry,
        slices: &[Slice],
        target: &Path,
        bar: &indicatif::ProgressBar,
    ) -> CliResult {
        let unwritable =
            |e| CliError::new(format!("{} cannot be written", target.display())).caused_by(e);
        let folder = target.parent().unwrap_or_else(|| Path::new("."));
        fs::create_dir_all(folder).map_err(unwritable)?;
        let mut partial = tempfile::NamedTempFile::new_in(folder).map_err(unwritable)?;
        let write = |bytes: &[u8]| partial.write_all(bytes).map_err(unwritable);
        self.stream(ahead, file, slices, bar, write).await?;
        partial.as_file().sync_all().map_err(unwritable)?;
        partial.persist(target).map_err(|e| unwritable(e.error))?;
        Ok(())
    }

    /// Gives a file's bytes in order to `take`; fails at the end if they are not those that were signed.
    async fn stream(
        &self,
        ahead: &mut Ahead,
        file: &FileEntry,
        slices: &[Slice],
        bar: &indicatif::ProgressBar,
        mut take: impl FnMut(&[u8]) -> CliResult,
    ) -> CliResult {
        let mut hasher = Hasher::new();
        for slice in slices {
            let opened = ahead.opened(slice).await?;
            let bytes = slice.of(&opened)?;
            hasher.update(bytes);
            take(bytes)?;
            bar.inc(bytes.len() as u64);
        }
        if hasher.finish() == file.sha256 { Ok(()) } else { Err(self.not_as_signed(&file.path)) }
    }

    /// Reads everything back and compares it with the hashes that were signed; keeps nothing.
    pub(crate) async fn verify(&self, ctx: &ClientContext, ui: Ui) -> CliResult {
        let mut files: Vec<_> =
            self.index.files.iter().map(|f| (f, dataset::slices(f, 0, u64::MAX))).collect();
        files.sort_by_key(|(_, slices)| slices.first().map(|first| (first.object, first.offset)));
        let bar = ui.progress(files.iter().map(|(file, _)| file.bytes).sum(), "reading back");
        let mut ahead = self.ahead(ctx, files.iter().flat_map(|(_, slices)| slices));
        for (file, slices) in &files {
            self.stream(&mut ahead, file, slices, &bar, |_bytes| Ok(())).await?;
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// Fetches what these slices lie in, in their order.
    fn ahead<'a>(&self, ctx: &ClientContext, slices: impl Iterator<Item = &'a Slice>) -> Ahead {
        let mut needed: VecDeque<Slice> = VecDeque::new();
        for slice in slices {
            if needed.back().is_none_or(|last| last.object != slice.object) {
                needed.push_back(slice.clone());
            }
        }
        Ahead {
            open: Arc::clone(&self.open),
            objects: Arc::clone(&self.objects),
            client: ctx.client.clone(),
            needed,
            flying: VecDeque::new(),
            at: None,
        }
    }
}

/// The plaintext of an object.
type Opened = Arc<Plaintext>;

/// Objects opened in the order in which they are needed, a few of them ahead.
struct Ahead {
    open: Arc<OpenDataset>,
    objects: Arc<HashMap<ObjectRef, SealedObject>>,
    client: client::Client,
    /// One slice for each object to come.
    needed: VecDeque<Slice>,
    flying: VecDeque<JoinHandle<CliResult<Opened>>>,
    at: Option<(ObjectRef, Opened)>,
}

impl Ahead {
    /// The object that a slice lies in: the last one again, or the next one.
    async fn opened(&mut self, slice: &Slice) -> CliResult<Opened> {
        if let Some((object, opened)) = &self.at
            && *object == slice.object
        {
            return Ok(Arc::clone(opened));
        }
        // Let go before the next one is fetched.
        self.at = None;
        while self.flying.len() <= AHEAD {
            let Some(next) = self.needed.pop_front() else { break };
            let (open, objects) = (Arc::clone(&self.open), Arc::clone(&self.objects));
            let client = self.client.clone();
            self.flying.push_back(tokio::spawn(async move {
                fetch(&open, &objects, &client, next.object, next.commitment).await
            }));
        }
        let next = self.flying.pop_front().expect(
            "an object is on its way because slices are asked for in the order they were announced in",
        );
        let opened = next.await.map_err(|e| CliError::new("a download ended").caused_by(e))??;
        self.at = Some((slice.object, Arc::clone(&opened)));
        Ok(opened)
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        for flying in &self.flying {
            flying.abort();
        }
    }
}

fn listed(
    objects: &HashMap<ObjectRef, SealedObject>,
    dataset: DatasetId,
    object: ObjectRef,
) -> CliResult<&SealedObject> {
    objects.get(&object).ok_or_else(|| {
        CliError::new(format!("the hub does not list object {object} of dataset {dataset}"))
    })
}

/// An object: fetched whole, checked, opened.
async fn fetch(
    open: &Arc<OpenDataset>,
    objects: &HashMap<ObjectRef, SealedObject>,
    client: &client::Client,
    object: ObjectRef,
    commitment: Digest,
) -> CliResult<Opened> {
    let listed = listed(objects, open.dataset(), object)?.clone();
    let sealed = client.object(open.dataset(), object).await?;
    let open = Arc::clone(open);
    tokio::task::spawn_blocking(move || {
        let opened = open.open_object(&listed, &sealed, Some(commitment))?;
        Ok(Arc::new(Plaintext::from(opened)))
    })
    .await
    .map_err(|e| CliError::new("an object could not be opened").caused_by(e))?
}

/// Whether the file is here already, whole: a download that was stopped goes on where it was.
fn is_here(path: &Path, file: &FileEntry) -> CliResult<bool> {
    let Ok(mut here) = File::open(path) else { return Ok(false) };
    let unreadable = |e| CliError::new(format!("{} cannot be read", path.display())).caused_by(e);
    if here.metadata().map_err(unreadable)?.len() != file.bytes {
        return Err(CliError::new(format!("{} is there and is another file", path.display()))
            .hint("choose another directory with -o"));
    }
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match here.read(&mut buffer).map_err(unreadable)? {
            0 => break,
            n => hasher.update(&buffer[..n]),
        }
    }
    if hasher.finish() == file.sha256 {
        return Ok(true);
    }
    Err(CliError::new(format!("{} is there and is another file", path.display()))
        .hint("choose another directory with -o"))
}

/// Where downloads of a dataset go when nothing else was said.
pub(crate) fn default_folder(dataset: DatasetId) -> PathBuf {
    PathBuf::from(dataset.to_string())
}
