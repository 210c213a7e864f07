//! An import's state file: what was agreed before the first byte left, and the key, sealed to the person who imports.
//!
//! Written whole (a new file, synced, renamed) for its owner alone. The dataset key stands in it wrapped to this person's own
//! receiving key, so that the file gives nothing to whoever reads it without that. It is kept after the end, without the key,
//! so that the same command given twice does not import twice.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use api::{CreateDataset, DatasetId, DatasetKind, ProjectId, Release, SignedStatement};
use dataset::OpenDataset;
use proof::digest_of;
use serde::{Deserialize, Serialize};

use crate::config::ClientContext;
use crate::report::{CliError, CliResult};

const FILE: &str = "state.json";
const VERSION: u32 = 1;

/// What is to be imported.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewImport<'a> {
    pub(super) kind: DatasetKind,
    pub(super) project: ProjectId,
    pub(super) name: &'a str,
    pub(super) parent: Option<DatasetId>,
}

/// The file's form.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    hub: String,
    name: String,
    files: Vec<PathBuf>,
    create: CreateDataset,
    key: Option<Release>,
    manifest: Option<Closing>,
}

/// A manifest that was signed and perhaps taken.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Closing {
    pub(super) manifest: SignedStatement,
    pub(super) reads: Option<u64>,
}

/// An import that goes on, or has ended.
#[derive(Debug)]
pub(super) struct State {
    folder: PathBuf,
    stored: Stored,
}

impl State {
    /// The newest import of just these files under this name from here, if there is one.
    pub(super) fn find(
        ctx: &ClientContext,
        new: &NewImport<'_>,
        files: &[PathBuf],
    ) -> CliResult<Option<Self>> {
        let states = ctx.imports();
        let unreadable =
            |e| CliError::new(format!("{} cannot be read", states.display())).caused_by(e);
        let entries = match fs::read_dir(&states) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let folder = entry.map_err(unreadable)?.path();
            let Ok(bytes) = fs::read(folder.join(FILE)) else { continue };
            let stored: Stored = serde_json::from_slice(&bytes).map_err(|e| {
                CliError::new(format!("{} is no state of an import", folder.display()))
                    .caused_by(e)
                    .hint("remove the folder: the import then begins anew")
            })?;
            let same = stored.version == VERSION
                && stored.hub == ctx.hub_id
                && stored.create.kind == new.kind
                && stored.create.project == new.project
                && stored.create.parent == new.parent
                && stored.name == new.name
                && stored.files == files;
            if same {
                found.push(Self { folder, stored });
            }
        }
        // Ids sort by age.
        found.sort_by_key(|state| state.stored.create.id);
        Ok(found.pop())
    }

    /// Makes the key of a new dataset and writes everything down before anything is sent.
    pub(super) async fn create(
        ctx: &ClientContext,
        new: &NewImport<'_>,
        files: Vec<PathBuf>,
    ) -> CliResult<Self> {
        let project = new.project;
        let (card, facts) = ctx.card_to_seal(project).await?;
        let open = OpenDataset::create(DatasetId::generate(), project, digest_of(&card))?;
        let create = CreateDataset {
            id: open.dataset(),
            kind: new.kind,
            project,
            card_digest: open.card_digest(),
            wrapped_key: open.wrap_to(facts.recipient())?,
            label: open.seal_label("dataset name", new.name.as_bytes())?,
            settings: None,
            parent: new.parent,
            reads: None,
        };
        let key = Release {
            dataset: open.dataset(),
            project,
            card_digest: open.card_digest(),
            epoch: open.epoch(),
            wrapped_key: open.wrap_to(&ctx.recipient.public().to_bytes())?,
            leaf: None,
        };
        let stored = Stored {
            version: VERSION,
            hub: ctx.hub_id.clone(),
            name: new.name.to_owned(),
            files,
            create,
            key: Some(key),
            manifest: None,
        };
        let state = Self { folder: ctx.imports().join(open.dataset().to_string()), stored };
        state.save()?;
        Ok(state)
    }

    fn save(&self) -> CliResult {
        let path = self.folder.join(FILE);
        let write = || -> io::Result<()> {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true);
            #[cfg(unix)]
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            builder.create(&self.folder)?;
            let mut file = tempfile::Builder::new().prefix(".state").tempfile_in(&self.folder)?;
            serde_json::to_writer_pretty(&mut file, &self.stored)?;
            file.flush()?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            File::open(&self.folder)?.sync_all()
        };
        write().map_err(|e| {
            CliError::new(format!("{} cannot be written", path.display())).caused_by(e)
        })
    }

    /// Which dataset.
    pub(super) const fn dataset(&self) -> DatasetId {
        self.stored.create.id
    }

    /// Whether it has come to its end.
    pub(super) const fn is_done(&self) -> bool {
        self.stored.key.is_none()
    }

    /// The call that makes the dataset: the same each time.
    pub(super) const fn create_call(&self) -> &CreateDataset {
        &self.stored.create
    }

    /// The dataset with its key.
    pub(super) fn open(&self, ctx: &ClientContext) -> CliResult<OpenDataset> {
        let key = self.stored.key.as_ref().ok_or_else(|| {
            CliError::new(format!("the import of dataset {} has ended", self.dataset()))
        })?;
        Ok(OpenDataset::from_release(key, &ctx.recipient)?)
    }

    /// Where what was sealed is written down.
    pub(super) fn journal(&self) -> PathBuf {
        self.folder.join("journal")
    }

    /// The manifest that was signed before a stop.
    pub(super) fn closing(&self) -> Option<&Closing> {
        self.stored.manifest.as_ref()
    }

    /// Writes down the manifest that is about to be sent, or that it does not count.
    pub(super) fn set_closing(&mut self, closing: Option<Closing>) -> CliResult {
        self.stored.manifest = closing;
        self.save()
    }

    /// Everything is at the hub: the key goes, and what only a resumption needs.
    pub(super) fn set_done(&mut self) -> CliResult {
        self.stored.key = None;
        self.save()?;
        remove(&self.journal())
    }
}

fn remove(path: &Path) -> CliResult {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(CliError::new(format!("{} cannot be removed", path.display())).caused_by(error))
        }
        _ => Ok(()),
    }
}
